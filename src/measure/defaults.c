#include "base/clock.h"
#include "measure/inputs.h"
#include "model/format.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char quantised[] = "quantised", unknown[] = "unknown";

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
    int has_few_bits = plan.quantised ? 1 : format_is_quantised(c->path, c->format);
    if (has_few_bits)
        snprintf(c->precision, sizeof c->precision, "%s", has_few_bits > 0 ? quantised : unknown);
    input_plan_release(&plan);
    return 0;
}

const char *measure_precision(const struct cell *c)
{
    int is_the_files = !strcmp(c->precision, quantised) || !strcmp(c->precision, unknown);
    return is_the_files ? "f32" : c->precision;
}

struct measure_limits measure_limits_of(const struct cell *c)
{
    if (strcmp(c->precision, quantised) != 0)
        return (struct measure_limits){MEASURE_TOLERANCE, INFINITY, 0};
    return (struct measure_limits){MEASURE_QUANTISED_ELEMENT, MEASURE_QUANTISED_RMS, 1};
}
