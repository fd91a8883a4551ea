/* expect.c: outputs against a file's. */
#include "measure/measure.h"

#include <math.h>
#include <string.h>

static void differ(struct agreement *out, const char *format, const char *name)
{
    out->ok = 0;
    out->max_rel_error = NAN;
    snprintf(out->detail, sizeof out->detail, format, name);
}

/* Each expected tensor must meet exactly one output. */
static int all_used(const struct data *expected, const struct measure_outputs *x,
                    struct agreement *out)
{
    for (size_t i = 0; i < expected->count; i++) {
        size_t uses = 0;
        for (size_t k = 0; k < x->count; k++)
            uses += data_find(expected, x->outputs[k].name, k) == &expected->items[i];
        if (uses == 1)
            continue;
        differ(out, uses ? "several outputs match the expected '%.100s'"
                         : "no output matches the expected '%.100s'", expected->items[i].name);
        return 0;
    }
    return 1;
}

void measure_expect(const struct data *expected, const struct measure_outputs *x,
                    const struct measure_limits *limits, struct agreement *out)
{
    double largest = 0;
    out->ok = 1;
    out->max_rel_error = 0;
    out->detail[0] = '\0';
    if (!all_used(expected, x, out))
        return;
    for (size_t i = 0; i < x->count && out->ok; i++) {
        const struct data_item *item = data_find(expected, x->outputs[i].name, i);
        if (!item)
            continue; /* nothing is expected of this one */
        struct measure_output reference = {.tensor = item->tensor};
        snprintf(reference.name, sizeof reference.name, "%s", x->outputs[i].name);
        const struct measure_outputs a = {1, &reference}, b = {1, &x->outputs[i]};
        measure_agree_within(&a, &b, limits, out);
        largest = out->max_rel_error > largest ? out->max_rel_error : largest;
    }
    if (!isnan(out->max_rel_error))
        out->max_rel_error = largest;
}
