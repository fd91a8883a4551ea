/* inputs.h: what to feed a model: sizes for its symbolic dimensions and seeded random data that is
 * the same bytes for every runtime and on every machine. */
#ifndef WATTLE_MEASURE_INPUTS_H
#define WATTLE_MEASURE_INPUTS_H

#include "measure/measure.h"

enum input_kind { INPUT_NORMAL, INPUT_UNIFORM, INPUT_CONSTANT, INPUT_GIVEN, INPUT_UNKNOWN };

/* The shape of one input and how its elements are made up. */
struct input_rule {
    char name[128];
    enum input_kind kind;
    double a, b; /* mean and sd; low and high, both included; value */
    const struct tensor *given; /* of --input: the elements themselves; borrowed */
    struct shape shape;         /* complete; rank -1 when the file does not tell */
    enum dtype type;            /* DTYPE_NONE when neither the file nor the user tells */
};

struct input_plan {
    int64_t batch;                      /* the cell's, or where that is 0 what sizes.h finds */
    struct plan_dim dims[PLAN_DIM_MAX]; /* a size for every symbolic dimension */
    size_t dim_count;
    struct input_rule *rules;           /* one for each input of the model file */
    size_t rule_count;
    int quantised;                      /* the model file has operators on numbers of few bits */
};

/* Rules in order of preference: --input, --range, the file's metadata (model/zoo.h), the table a
 * Gather node looks the input up in, standard normal for floats, both values for bool. An integer
 * input that none of them covers is ERROR_USAGE, as are a symbolic dimension without a size, a
 * batch that the model or --dim fixes otherwise, and data whose shape or type is another than the
 * model's. A cell without a file (the fake runtime) has an empty plan; one of another format than
 * ONNX has only what the user says, and the runtime knows the rest. */
int input_plan_make(struct input_plan *p, const struct cell *c, const struct measure_options *o,
                    struct error *e);
void input_plan_release(struct input_plan *p);

/* What the runtime says of an input's values: taken where neither the user nor the file says how it
 * is made up. */
int input_plan_range(struct input_plan *p, const char *name, double low, double high,
                     struct error *e);

/* Fills one tensor. Depends on seed, set, name, type and element index only. */
int input_fill(const struct input_plan *p, const char *name, enum dtype type, uint64_t seed,
               int set, void *data, size_t elements, struct error *e);

#endif
