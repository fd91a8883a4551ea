/* Softmax, LogSoftmax. Before opset 13 the dimensions from `axis` on were taken as one. */
#include "engine/ops/ops.h"

#include <math.h>

static int infer_softmax(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    struct attributes *a = &c->node->a;
    int64_t axis;
    int coerced = c->opset < 13, rank = x->shape.rank;
    int code = infer_type(c, 0, TYPES_REAL, e);
    if (!code)
        code = infer_attribute_int(c, "axis", coerced ? 1 : -1, &axis, e);
    if (!code && coerced && axis == rank) {
        /* Legal there: every element is a row of its own. */
        a->axis = rank;
        a->axis_count = 0;
        return infer_output(c, 0, x->type, &x->shape, e);
    }
    if (!code)
        code = infer_axis(c, "attribute 'axis'", axis, rank, &a->axis, e);
    if (code)
        return code;
    a->axis_count = coerced ? rank - (int)a->axis : 1;
    return infer_output(c, 0, x->type, &x->shape, e);
}

/* One row: n elements `stride` apart. Two passes over the input, none needs memory. */
static void softmax_row(const struct tensor *x, struct tensor *y, int64_t offset, int64_t n,
                        int64_t stride, int logarithm)
{
    double chunk[CHUNK], best = -INFINITY, sum = 0, result;
    for (int64_t i = 0; i < n; i += CHUNK) {
        int64_t count = n - i < CHUNK ? n - i : CHUNK;
        load_real(x->type, x->data, offset + i * stride, stride, count, chunk);
        for (int64_t k = 0; k < count; k++)
            best = chunk[k] > best ? chunk[k] : best;
    }
    for (int64_t i = 0; i < n; i += CHUNK) {
        int64_t count = n - i < CHUNK ? n - i : CHUNK;
        load_real(x->type, x->data, offset + i * stride, stride, count, chunk);
        for (int64_t k = 0; k < count; k++)
            sum += exp(chunk[k] - best);
    }
    for (int64_t i = 0; i < n; i += CHUNK) {
        int64_t count = n - i < CHUNK ? n - i : CHUNK;
        load_real(x->type, x->data, offset + i * stride, stride, count, chunk);
        for (int64_t k = 0; k < count; k++) {
            result = chunk[k] - best;
            result = logarithm ? result - log(sum) : exp(result) / sum;
            store_real(y->type, y->data, offset + (i + k) * stride, 1, &result);
        }
    }
}

static void run(const struct node *n, const struct tensor *in, struct tensor *out, int logarithm)
{
    int64_t outer = 1, size = 1, inner = 1;
    for (int i = 0; i < in->shape.rank; i++) {
        int64_t *part = i < n->a.axis ? &outer : i < n->a.axis + n->a.axis_count ? &size : &inner;
        *part *= in->shape.dims[i];
    }
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < outer * inner; row++)
        softmax_row(in, out, row / inner * size * inner + row % inner, size, inner, logarithm);
}

static int run_softmax(const struct node *n, const struct tensor *in, struct tensor *out,
                       struct error *e)
{
    (void)e;
    run(n, in, out, 0);
    return 0;
}

static int run_log_softmax(const struct node *n, const struct tensor *in, struct tensor *out,
                           struct error *e)
{
    (void)e;
    run(n, in, out, 1);
    return 0;
}

static const struct op ops[] = {
    {OP("Softmax", 1, 1, 1, infer_softmax, run_softmax)},
    {OP("LogSoftmax", 1, 1, 1, infer_softmax, run_log_softmax)},
};
const struct op_family family_softmax = OP_FAMILY(ops);
