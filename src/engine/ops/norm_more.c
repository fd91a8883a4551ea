/* Normalisations over groups of channels, over a vector's length, and without a mean. */
#include "engine/ops/ops.h"

#include <inttypes.h>
#include <math.h>

/* GroupNormalization: scale and bias are of each group (opset 18) or of each channel (21). */
static int infer_group_norm(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    struct attributes *a = &c->node->a;
    int code = 0;
    for (int i = 0; i < 3 && !code; i++)
        code = infer_type(c, i, TYPES_F32, e);
    if (!code)
        code = infer_attribute_float(c, "epsilon", 1e-5f, &a->epsilon, e);
    if (!code)
        code = infer_attribute_int(c, "num_groups", 0, &a->group, e);
    infer_ignore(c, "stash_type");
    if (!code && (x->shape.rank < 3 || a->group < 1 || x->shape.dims[1] % a->group))
        code = infer_fail(c, e, "%" PRId64 " groups do not divide the channels", a->group);
    int64_t width = code ? 0 : c->opset < 21 ? a->group : x->shape.dims[1];
    for (int i = 1; i < 3 && !code; i++) {
        const struct shape *p = &infer_input(c, i)->shape;
        if (p->rank != 1 || p->dims[0] != width)
            code = infer_fail(c, e, "input %d does not hold %" PRId64 " numbers", i, width);
    }
    return code ? code : infer_output(c, 0, DTYPE_F32, &x->shape, e);
}

int run_group_norm(const struct node *n, const struct tensor *in, struct tensor *out,
                   struct error *e)
{
    (void)e;
    const float *scale = in[1].data, *bias = in[2].data;
    float *y = out->data;
    int64_t groups = n->a.group, channels = in->shape.dims[1], each = channels / groups;
    int64_t planes = in->shape.dims[0] * channels, rows = in->shape.dims[0] * groups;
    int64_t size = planes ? shape_elements(&in->shape) / planes : 0;
    int per_group = in[1].shape.dims[0] == groups;
    layer_norm_f32(rows, each * size, in->data, NULL, NULL, (double)n->a.epsilon, y, NULL, NULL);
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < planes; p++) {
        int64_t at = per_group ? p / each % groups : p % channels;
        for (int64_t i = 0; i < size; i++)
            y[p * size + i] = y[p * size + i] * scale[at] + bias[at];
    }
    return 0;
}

/* RMSNormalization: x / sqrt(mean of squares + epsilon) * scale over the dimensions from axis. */
static int infer_rms_norm(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    struct attributes *a = &c->node->a;
    struct shape both;
    int64_t axis;
    int code = infer_type(c, 0, TYPES_F32, e);
    if (!code)
        code = infer_type(c, 1, TYPES_F32, e);
    if (!code)
        code = infer_attribute_int(c, "axis", -1, &axis, e);
    if (!code)
        code = infer_axis(c, "attribute 'axis'", axis, x->shape.rank, &a->axis, e);
    if (!code)
        code = infer_attribute_float(c, "epsilon", 1e-5f, &a->epsilon, e);
    infer_ignore(c, "stash_type");
    if (!code)
        code = infer_broadcast(c, 0, 2, &both, e);
    if (!code && !shape_equal(&both, &x->shape))
        code = infer_fail(c, e, "the scale does not broadcast to the input's shape");
    return code ? code : infer_output(c, 0, DTYPE_F32, &x->shape, e);
}

static int run_rms_norm(const struct node *n, const struct tensor *in, struct tensor *out,
                        struct error *e)
{
    (void)e;
    const float *x = in->data, *scale = in[1].data;
    float *y = out->data;
    int64_t outer = 1, inner = 1;
    struct walk w;
    for (int i = 0; i < in->shape.rank; i++)
        *(i < n->a.axis ? &outer : &inner) *= in->shape.dims[i];
#pragma omp parallel for schedule(static)
    for (int64_t o = 0; o < outer; o++) {
        double squares = 0;
        for (int64_t i = 0; i < inner; i++)
            squares += (double)x[o * inner + i] * (double)x[o * inner + i];
        double factor = 1 / sqrt(squares / (double)inner + (double)n->a.epsilon);
        for (int64_t i = 0; i < inner; i++)
            y[o * inner + i] = (float)((double)x[o * inner + i] * factor);
    }
    walk_init(&w, &out->shape);
    walk_operand(&w, &out->shape);
    walk_operand(&w, &in[1].shape);
    for (int more = walk_begin(&w); more; more = walk_next(&w))
        for (int64_t i = 0; i < w.count; i++)
            y[w.offset[0] + i * w.step[0]] *= scale[w.offset[1] + i * w.step[1]];
    return 0;
}

/* LpNormalization: a.mode is p. Hardmax: 1 at the first of the largest, else 0. */
static int infer_along_axis(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    int64_t axis, p = 2;
    int is_norm = c->node->op->detail != NULL;
    int code = infer_type(c, 0, TYPES_REAL, e);
    if (!code)
        code = infer_attribute_int(c, "axis", -1, &axis, e);
    if (!code && is_norm)
        code = infer_attribute_int(c, "p", 2, &p, e);
    if (!code && p != 1 && p != 2)
        code = infer_unsupported(c, e, "attribute 'p' is %" PRId64, p);
    c->node->a.mode = (int)p;
    if (!code)
        code = infer_axis(c, "attribute 'axis'", axis, x->shape.rank, &c->node->a.axis, e);
    return code ? code : infer_output(c, 0, x->type, &x->shape, e);
}

struct line {
    int64_t first, size, stride;
};

static void lp_line(const struct node *n, const struct tensor *x, struct tensor *y,
                    const struct line *l)
{
    double value, sum = 0;
    for (int64_t i = 0; i < l->size; i++) {
        load_real(x->type, x->data, l->first + i * l->stride, 1, 1, &value);
        sum += n->a.mode == 1 ? fabs(value) : value * value;
    }
    sum = n->a.mode == 1 ? sum : sqrt(sum);
    for (int64_t i = 0; i < l->size; i++) {
        load_real(x->type, x->data, l->first + i * l->stride, 1, 1, &value);
        value = sum > 0 ? value / sum : 0;
        store_real(y->type, y->data, l->first + i * l->stride, 1, &value);
    }
}

static void hard_line(const struct node *n, const struct tensor *x, struct tensor *y,
                      const struct line *l)
{
    (void)n;
    double best = 0, value;
    int64_t where = 0;
    for (int64_t i = 0; i < l->size; i++) {
        load_real(x->type, x->data, l->first + i * l->stride, 1, 1, &value);
        if (!i || value > best) {
            best = value;
            where = i;
        }
    }
    for (int64_t i = 0; i < l->size; i++) {
        value = i == where;
        store_real(y->type, y->data, l->first + i * l->stride, 1, &value);
    }
}

static void each_line(const struct node *n, const struct tensor *x, struct tensor *y,
                      void (*run)(const struct node *, const struct tensor *, struct tensor *,
                                  const struct line *))
{
    int64_t outer = 1, inner = 1, size = x->shape.dims[n->a.axis];
    for (int i = 0; i < x->shape.rank; i++)
        if (i != n->a.axis)
            *(i < n->a.axis ? &outer : &inner) *= x->shape.dims[i];
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < outer * inner; i++) {
        const struct line l = {i / inner * inner * size + i % inner, size, inner};
        run(n, x, y, &l);
    }
}

static int run_lp(const struct node *n, const struct tensor *in, struct tensor *out,
                  struct error *e)
{
    (void)e;
    each_line(n, in, out, lp_line);
    return 0;
}

static int run_hardmax(const struct node *n, const struct tensor *in, struct tensor *out,
                       struct error *e)
{
    (void)e;
    each_line(n, in, out, hard_line);
    return 0;
}

static const struct op ops[] = {
    {OP_SINCE(18, 99, "GroupNormalization", 3, 3, 1, infer_group_norm, run_group_norm)},
    {OP_SINCE(23, 99, "RMSNormalization", 2, 2, 1, infer_rms_norm, run_rms_norm)},
    {OP("LpNormalization", 1, 1, 1, infer_along_axis, run_lp), .detail = "p"},
    {OP_SINCE(13, 99, "Hardmax", 1, 1, 1, infer_along_axis, run_hardmax)},
};
const struct op_family family_norm_more = OP_FAMILY(ops);
