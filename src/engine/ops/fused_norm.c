/* Internal operators that the passes make of norms and rotations that are spelled out. */
#include "engine/ops/ops.h"

#include <math.h>

static int infer_rms_norm(const struct infer_context *c, struct error *e)
{
    const struct shape *x = &infer_input(c, 0)->shape, *scale = &infer_input(c, 1)->shape;
    int code = infer_type(c, 0, TYPES_F32, e);
    if (!code)
        code = infer_type(c, 1, TYPES_F32, e);
    if (!code && (x->rank < 1 || scale->rank != 1 || scale->dims[0] != x->dims[x->rank - 1]))
        code = infer_fail(c, e, "the scale does not fit the last axis");
    return code ? code : infer_output(c, 0, DTYPE_F32, x, e);
}

static int run_rms_norm(const struct node *n, const struct tensor *in, struct tensor *out,
                        struct error *e)
{
    (void)e;
    const float *scale = in[1].data;
    int64_t size = in[1].shape.dims[0], rows = size ? shape_elements(&in->shape) / size : 0;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const float *x = (const float *)in->data + r * size;
        float *y = (float *)out->data + r * size;
        double squares = 0;
        for (int64_t i = 0; i < size; i++)
            squares += (double)x[i] * (double)x[i];
        double factor = 1 / sqrt(squares / (double)size + (double)n->a.epsilon);
        for (int64_t i = 0; i < size; i++)
            y[i] = (float)((double)x[i] * factor * (double)scale[i]);
    }
    return 0;
}

static int infer_group_norm(const struct infer_context *c, struct error *e)
{
    const struct shape *x = &infer_input(c, 0)->shape;
    int64_t groups = c->node->a.group;
    int code = 0;
    for (int i = 0; i < 3 && !code; i++)
        code = infer_type(c, i, TYPES_F32, e);
    if (!code && (x->rank < 3 || groups < 1 || x->dims[1] % groups))
        code = infer_fail(c, e, "the groups do not divide the channels");
    for (int i = 1; i < 3 && !code; i++) {
        const struct shape *p = &infer_input(c, i)->shape;
        if (p->rank != 1 || p->dims[0] != x->dims[1])
            code = infer_fail(c, e, "scale or bias does not fit the channels");
    }
    return code ? code : infer_output(c, 0, DTYPE_F32, x, e);
}

static int table_fits(const struct shape *t, const struct shape *x)
{
    if (t->rank < 1 || t->rank > x->rank)
        return 0;
    int64_t size = t->dims[t->rank - 1], whole = x->dims[x->rank - 1];
    int fits = size == whole || 2 * size == whole;
    for (int k = 2; k <= t->rank && fits; k++)
        fits = t->dims[t->rank - k] == 1 || t->dims[t->rank - k] == x->dims[x->rank - k];
    return fits;
}

/* y = x * cos + turn(x) * sin over the last axis, where turn swaps its halves and negates what is
 * the first one then. cos and sin broadcast; they have a number for each place, or for each of half
 * the places, which serves both halves. */
static int infer_rotary(const struct infer_context *c, struct error *e)
{
    const struct shape *x = &infer_input(c, 0)->shape;
    const struct shape *cosine = &infer_input(c, 1)->shape, *sine = &infer_input(c, 2)->shape;
    int code = 0;
    for (int i = 0; i < 3 && !code; i++)
        code = infer_type(c, i, TYPES_F32, e);
    if (!code && (x->rank < 1 || x->dims[x->rank - 1] % 2))
        code = infer_fail(c, e, "the last axis has no halves");
    if (!code && (!table_fits(cosine, x) || !table_fits(sine, x) ||
                  cosine->dims[cosine->rank - 1] != sine->dims[sine->rank - 1]))
        code = infer_fail(c, e, "the cosines or sines do not broadcast to the input");
    return code ? code : infer_output(c, 0, DTYPE_F32, x, e);
}

static int run_rotary(const struct node *n, const struct tensor *in, struct tensor *out,
                      struct error *e)
{
    (void)n, (void)e;
    int64_t size = in->shape.dims[in->shape.rank - 1], half = size / 2;
    int64_t second = in[1].shape.dims[in[1].shape.rank - 1] == size ? half : 0;
    struct walk w;
    if (shape_elements(&in->shape) == 0)
        return 0;
    walk_init(&w, &in->shape);
    for (int i = 0; i < 3; i++)
        walk_operand(&w, &in[i].shape);
    w.rank--; /* the last axis is walked by hand */
    for (int more = walk_begin(&w); more; more = walk_next(&w))
        for (int64_t r = 0; r < w.count; r++) {
            int64_t at = w.offset[0] + r * w.step[0];
            const float *x = (const float *)in[0].data + at;
            const float *cosine = (const float *)in[1].data + w.offset[1] + r * w.step[1];
            const float *sine = (const float *)in[2].data + w.offset[2] + r * w.step[2];
            float *y = (float *)out->data + at;
            for (int64_t i = 0; i < half; i++) {
                y[i] = x[i] * cosine[i] - x[half + i] * sine[i];
                y[half + i] = x[half + i] * cosine[second + i] + x[i] * sine[second + i];
            }
        }
    return 0;
}

const struct op op_rms_norm = {
    .name = "RmsNorm", .domain = "wattle", .since = 1, .until = 99, .inputs_min = 2,
    .inputs_max = 2, .outputs_max = 1, .infer = infer_rms_norm, .reference = run_rms_norm};
const struct op op_group_norm = {
    .name = "GroupNorm", .domain = "wattle", .since = 1, .until = 99, .inputs_min = 3,
    .inputs_max = 3, .outputs_max = 1, .infer = infer_group_norm, .reference = run_group_norm};
const struct op op_rotary = {
    .name = "Rotary", .domain = "wattle", .since = 1, .until = 99, .inputs_min = 3,
    .inputs_max = 3, .outputs_max = 1, .infer = infer_rotary, .reference = run_rotary};
