#include "base/clock.h"
#include "measure/inputs.h"

#include <stdio.h>
#include <string.h>

static const char quantised[] = "quantised";

void measure_defaults(struct measure_options *o)
{
    *o = (struct measure_options){
        .duration_ns = 10 * NS_PER_S,
        .min_runs = 10,
        .warmup_min_ns = NS_PER_S,
        .warmup_max_ns = 20 * NS_PER_S,
        .timeout_ns = 300 * NS_PER_S,
        .seed = 1,
        .input_sets = 4,
    };
}

int measure_check(struct cell *c, const struct measure_options *o, struct error *e)
{
    struct input_plan plan;
    int result = input_plan_make(&plan, c, o, e);
    if (result)
        return result;
    c->batch = plan.batch;
    if (plan.quantised)
        snprintf(c->precision, sizeof c->precision, "%s", quantised);
    input_plan_release(&plan);
    return 0;
}

const char *measure_precision(const struct cell *c)
{
    return strcmp(c->precision, quantised) ? c->precision : "f32";
}
