/* Rotary position embedding: each row's halves, or its pairs, turned by the angles of its place.
 * The input may lie with its dimensions in another order, as the heads of an attention do. */
#include "engine/kernel.h"
#include "engine/op.h"
#include "engine/rows.h"

#include <string.h>

enum { SLOT_X, SLOT_COSINE, SLOT_SINE, SLOT_Y, SLOTS };
enum { PARALLEL_MIN = 32 * 1024 };

/* Rows over `rank` dimensions; steps of x, cosines, sines and y along each. */
struct rotary {
    int rank;
    int64_t dims[RANK_MAX], steps[SLOTS][RANK_MAX];
    int64_t half, second; /* second: where the angles of a row's second half are */
    int pairs;
};

static void turn(const struct rotary *r, const float *x, const float *cosine, const float *sine,
                 float *y)
{
    if (r->pairs)
        row_rotary_pairs(x, cosine, sine, r->half, y);
    else
        row_rotary(x, cosine, sine, r->half, r->second, y);
}

/* All rows along the innermost dimension, the others being at `outer`. */
static void turn_line(const struct rotary *r, const struct step *s, int64_t outer)
{
    int64_t at[SLOTS] = {0};
    int inner = r->rank - 1;
    for (int i = inner - 1; i >= 0; i--) {
        for (int o = 0; o < SLOTS; o++)
            at[o] += outer % r->dims[i] * r->steps[o][i];
        outer /= r->dims[i];
    }
    const float *x = (const float *)s->data[SLOT_X] + at[SLOT_X];
    const float *cosine = (const float *)s->data[SLOT_COSINE] + at[SLOT_COSINE];
    const float *sine = (const float *)s->data[SLOT_SINE] + at[SLOT_SINE];
    float *y = (float *)s->data[SLOT_Y] + at[SLOT_Y];
    for (int64_t i = 0; i < r->dims[inner]; i++)
        turn(r, x + i * r->steps[SLOT_X][inner], cosine + i * r->steps[SLOT_COSINE][inner],
             sine + i * r->steps[SLOT_SINE][inner], y + i * r->steps[SLOT_Y][inner]);
}

static int run_rotary(struct step *s, struct error *e)
{
    (void)e;
    const struct rotary *r = s->state;
    int64_t lines = 1;
    for (int i = 0; i < r->rank - 1; i++)
        lines *= r->dims[i];
#pragma omp parallel for schedule(static) \
    if (lines * r->dims[r->rank - 1] * r->half * 2 >= PARALLEL_MIN)
    for (int64_t line = 0; line < lines; line++)
        turn_line(r, s, line);
    return 0;
}

/* Steps along s's dimensions but the last when memory has the shape `table`, broadcast. */
static void broadcast_steps(const struct shape *s, const struct shape *table, int64_t *steps)
{
    int64_t stride = 1;
    int missing = s->rank - table->rank;
    for (int i = s->rank - 1; i >= 0; i--) {
        int64_t dim = i < missing ? 1 : table->dims[i - missing];
        if (i < s->rank - 1)
            steps[i] = dim == 1 ? 0 : stride;
        stride *= dim;
    }
}

static int add_step(struct builder *b, const struct rotary *r, const int slots[SLOTS],
                    struct error *e)
{
    struct step *s;
    int code = builder_step_with(b, run_rotary, "rows:rotary", r, sizeof *r, &s, e);
    if (!code)
        memcpy(s->slots, slots, SLOTS * sizeof *slots);
    return code;
}

/* The tables, and x as it lies if its rows are whole. */
static int connect(struct builder *b, const struct node *n, struct rotary *r, int slots[SLOTS],
                   struct error *e)
{
    const struct layout *plain = builder_plain(b, n->inputs[0]);
    const struct layout *layout = builder_layout(b, n->inputs[0]);
    int64_t strides[RANK_MAX] = {0};
    int lies = layout && !layout_equal(layout, plain) && !layout_strides(layout, strides) &&
               strides[r->rank] == 1;
    if (lies)
        memcpy(r->steps[SLOT_X], strides, sizeof strides);
    int code = builder_read(b, n->inputs[0], lies ? layout : plain, &slots[SLOT_X], e);
    if (!code)
        code = builder_read_plain(b, n->inputs[1], &slots[SLOT_COSINE], e);
    if (!code)
        code = builder_read_plain(b, n->inputs[2], &slots[SLOT_SINE], e);
    if (code)
        return code;
    return lies ? builder_write(b, n->outputs[0], NULL, &slots[SLOT_Y], e)
                : builder_reuse(b, n->outputs[0], n->inputs[0], slots[SLOT_X], plain,
                                &slots[SLOT_Y], e);
}

int kernel_rotary(struct builder *b, const struct node *n, struct error *e)
{
    const struct value *v = b->graph->values;
    const struct shape *x = &v[n->inputs[0]].shape;
    int slots[SLOTS] = {NO_SLOT, NO_SLOT, NO_SLOT, NO_SLOT};
    if (x->rank < 2)
        return error_set(e, ERROR_UNSUPPORTED, "a single row");
    int64_t half = x->dims[x->rank - 1] / 2;
    const struct shape *cosine = &v[n->inputs[1]].shape;
    struct rotary r = {.rank = x->rank - 1, .half = half};
    r.second = cosine->dims[cosine->rank - 1] == half ? 0 : half;
    memcpy(r.dims, x->dims, sizeof r.dims);
    broadcast_steps(x, x, r.steps[SLOT_X]);
    broadcast_steps(x, x, r.steps[SLOT_Y]);
    broadcast_steps(x, cosine, r.steps[SLOT_COSINE]);
    broadcast_steps(x, &v[n->inputs[2]].shape, r.steps[SLOT_SINE]);
    int code = connect(b, n, &r, slots, e);
    return code ? code : add_step(b, &r, slots, e);
}

/* ONNX's operator, heads apart (batch, heads, rows) or side by side (batch, rows, heads). */
int kernel_rotary_embedding(struct builder *b, const struct node *n, struct error *e)
{
    const struct shape *x = &b->graph->values[n->inputs[0]].shape;
    int slots[SLOTS] = {NO_SLOT, NO_SLOT, NO_SLOT, NO_SLOT};
    int64_t half = n->a.axis / 2, depth = x->rank == 4 ? x->dims[3] : x->dims[2] / n->a.heads;
    if (n->a.axis != depth || (n->input_count > 3 && n->inputs[3] != NO_VALUE))
        return error_set(e, ERROR_UNSUPPORTED, "not whole heads at places in order");
    int side_by_side = x->rank == 3, rows = side_by_side ? 1 : 2, heads = side_by_side ? 2 : 1;
    int64_t length = x->dims[rows];
    struct rotary r = {.rank = 3, .half = half, .pairs = n->a.mode};
    const struct shape spread = {4, {x->dims[0], x->dims[1], side_by_side ? n->a.heads : length,
                                     depth}};
    memcpy(r.dims, spread.dims, sizeof r.dims);
    broadcast_steps(&spread, &spread, r.steps[SLOT_X]);
    broadcast_steps(&spread, &spread, r.steps[SLOT_Y]);
    for (int o = SLOT_COSINE; o <= SLOT_SINE; o++) {
        r.steps[o][0] = length * half;
        r.steps[o][rows] = half;
        r.steps[o][heads] = 0;
    }
    int code = builder_read_plain(b, n->inputs[0], &slots[SLOT_X], e);
    for (int i = 1; i < 3 && !code; i++)
        code = builder_read_plain(b, n->inputs[i], &slots[i], e);
    if (!code)
        code = builder_reuse(b, n->outputs[0], n->inputs[0], slots[SLOT_X],
                             builder_plain(b, n->inputs[0]), &slots[SLOT_Y], e);
    return code ? code : add_step(b, &r, slots, e);
}
