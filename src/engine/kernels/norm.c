/* LayerNorm, RMSNorm and Softmax over rows. */
#include "engine/kernel.h"
#include "engine/op.h"
#include "engine/rows.h"

#include <string.h>

enum { SLOT_X, SLOT_Y, SLOT_SCALE, SLOT_BIAS };
enum { PARALLEL_MIN = 32 * 1024 }; /* elements below which starting threads costs more */

struct rows_state {
    int64_t rows, size;
    float epsilon;
};

static int is_f32(const struct builder *b, int value)
{
    return b->graph->values[value].type == DTYPE_F32;
}

/* Rows made of the dimensions from axis on. */
static struct rows_state rows_from(const struct shape *s, int64_t axis)
{
    struct rows_state state = {.rows = 1, .size = 1};
    for (int i = 0; i < s->rank; i++)
        *(i < axis ? &state.rows : &state.size) *= s->dims[i];
    return state;
}

/* Reads x and gives y x's memory where it may. */
static int in_and_out(struct builder *b, const struct node *n, int slots[2], struct error *e)
{
    int code = builder_read_plain(b, n->inputs[0], &slots[SLOT_X], e);
    if (code)
        return code;
    return builder_reuse(b, n->outputs[0], n->inputs[0], slots[SLOT_X],
                         builder_plain(b, n->outputs[0]), &slots[SLOT_Y], e);
}

static int add_step(struct builder *b, int (*run)(struct step *, struct error *), const char *name,
                    const struct rows_state *state, const int slots[4], struct error *e)
{
    struct step *s;
    int code = builder_step_with(b, run, name, state, sizeof *state, &s, e);
    if (!code)
        memcpy(s->slots, slots, 4 * sizeof *slots);
    return code;
}

static int run_layer_norm(struct step *s, struct error *e)
{
    (void)e;
    const struct rows_state *state = s->state;
    const float *x = s->data[SLOT_X], *scale = s->data[SLOT_SCALE], *bias = s->data[SLOT_BIAS];
    float *y = s->data[SLOT_Y];
    int64_t size = state->size;
#pragma omp parallel for schedule(static) if (state->rows * size >= PARALLEL_MIN)
    for (int64_t row = 0; row < state->rows; row++)
        row_layer_norm(x + row * size, scale, bias, state->epsilon, y + row * size, size);
    return 0;
}

static int wants_statistics(const struct node *n)
{
    for (int i = 1; i < n->output_count; i++)
        if (n->outputs[i] != NO_VALUE)
            return 1;
    return 0;
}

int kernel_layer_norm(struct builder *b, const struct node *n, struct error *e)
{
    const struct shape *x = &b->graph->values[n->inputs[0]].shape;
    int fused = strcmp(n->op->domain, "wattle") == 0;
    struct rows_state state = rows_from(x, fused ? x->rank - 1 : n->a.axis);
    state.epsilon = n->a.epsilon;
    int slots[4] = {NO_SLOT, NO_SLOT, NO_SLOT, NO_SLOT}, code = 0;
    if (!is_f32(b, n->inputs[0]) || wants_statistics(n) || n->inputs[1] == NO_VALUE ||
        shape_elements(&b->graph->values[n->inputs[1]].shape) != state.size)
        return error_set(e, ERROR_UNSUPPORTED, "not a plain layer norm");
    code = in_and_out(b, n, slots, e);
    if (!code)
        code = builder_read_plain(b, n->inputs[1], &slots[SLOT_SCALE], e);
    if (!code && n->input_count > 2 && n->inputs[2] != NO_VALUE)
        code = builder_read_plain(b, n->inputs[2], &slots[SLOT_BIAS], e);
    return code ? code : add_step(b, run_layer_norm, "rows:layer_norm", &state, slots, e);
}

static int run_rms_norm(struct step *s, struct error *e)
{
    (void)e;
    const struct rows_state *state = s->state;
    const float *x = s->data[SLOT_X], *scale = s->data[SLOT_SCALE];
    float *y = s->data[SLOT_Y];
    int64_t size = state->size;
#pragma omp parallel for schedule(static) if (state->rows * size >= PARALLEL_MIN)
    for (int64_t row = 0; row < state->rows; row++)
        row_rms_norm(x + row * size, scale, state->epsilon, y + row * size, size);
    return 0;
}

int kernel_rms_norm(struct builder *b, const struct node *n, struct error *e)
{
    const struct shape *x = &b->graph->values[n->inputs[0]].shape;
    int fused = strcmp(n->op->domain, "wattle") == 0;
    struct rows_state state = rows_from(x, fused ? x->rank - 1 : n->a.axis);
    state.epsilon = n->a.epsilon;
    int slots[4] = {NO_SLOT, NO_SLOT, NO_SLOT, NO_SLOT};
    if (shape_elements(&b->graph->values[n->inputs[1]].shape) != state.size)
        return error_set(e, ERROR_UNSUPPORTED, "the scale is not of a row");
    int code = in_and_out(b, n, slots, e);
    if (!code)
        code = builder_read_plain(b, n->inputs[1], &slots[SLOT_SCALE], e);
    return code ? code : add_step(b, run_rms_norm, "rows:rms_norm", &state, slots, e);
}

static int run_softmax(struct step *s, struct error *e)
{
    (void)e;
    const struct rows_state *state = s->state;
    const float *x = s->data[SLOT_X];
    float *y = s->data[SLOT_Y];
    int64_t size = state->size;
#pragma omp parallel for schedule(static) if (state->rows * size >= PARALLEL_MIN)
    for (int64_t row = 0; row < state->rows; row++)
        row_softmax(x + row * size, 1.0f, NULL, y + row * size, size);
    return 0;
}

int kernel_softmax(struct builder *b, const struct node *n, struct error *e)
{
    const struct shape *x = &b->graph->values[n->inputs[0]].shape;
    if (!is_f32(b, n->inputs[0]) || n->a.axis + n->a.axis_count != x->rank)
        return error_set(e, ERROR_UNSUPPORTED, "not over the last dimensions");
    struct rows_state state = rows_from(x, n->a.axis);
    int slots[4] = {NO_SLOT, NO_SLOT, NO_SLOT, NO_SLOT};
    int code = in_and_out(b, n, slots, e);
    return code ? code : add_step(b, run_softmax, "rows:softmax", &state, slots, e);
}
