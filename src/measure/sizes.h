/* sizes.h: the shapes of an ONNX file's inputs and the batch, from what the file says and what the
 * user does. Private to this folder. */
#ifndef WATTLE_MEASURE_SIZES_H
#define WATTLE_MEASURE_SIZES_H

#include "measure/inputs.h"

struct sizes {
    struct input_plan *plan;       /* its batch, dims and the rules' shapes are filled in */
    const struct cell *cell;
    const struct onnx_model *model;
    json_t *shapes;                /* of the cell, parsed */
    const struct data *data;       /* of --input; NULL: none */
    const char *batch_symbol;      /* the dimension that is the batch; NULL: each first one without
                                      a size of its own */
    int batch_comes_first;         /* in some input, and its size is free */
    int has_free_batch;            /* some input's batch is not fixed by the file */
    int64_t fixed_batch;           /* the known first size of all inputs of two and more; 0: they
                                      differ */
};

/* Decides what the batch is and how large: -b, --dim of its symbol, --shape, data, the file, 1. */
int sizes_batch(struct sizes *s, struct error *e);
/* The shape of one input, once r->given is known. */
int sizes_input(struct sizes *s, const struct onnx_value *input, struct input_rule *r,
                struct error *e);
/* A --dim that no input has is a typing error. */
int sizes_check_dims(const struct sizes *s, struct error *e);

/* What --shape or the data of --input say of an input: rank -1 when neither does. */
int sizes_wanted(const struct cell *c, const struct input_rule *r, json_t *shapes,
                 struct shape *out, struct error *e);
/* The "dims" of one of the shapes; NULL when it has none. */
json_t *sizes_entry(json_t *shapes, const char *name);

#endif
