/* Pad. */
#include "engine/ops/ops.h"

#include <inttypes.h>
#include <string.h>

static const char *const modes[] = {
    [PAD_CONSTANT] = "constant", [PAD_REFLECT] = "reflect", [PAD_EDGE] = "edge",
    [PAD_WRAP] = "wrap", NULL};

/* begins and ends of `count` axes, as attribute (until opset 10) or input. */
static int read_pads(const struct infer_context *c, int64_t *pads, size_t *count, struct error *e)
{
    const int64_t *given;
    if (c->opset >= 11)
        return infer_constant_ints(c, 1, "pads", pads, 2 * RANK_MAX, count, e);
    int code = infer_attribute_ints(c, "pads", 0, 2 * RANK_MAX, &given, count, e);
    if (!code && given)
        memcpy(pads, given, *count * sizeof *pads);
    return code;
}

static int pad_dim(const struct infer_context *c, int axis, int64_t begin, int64_t end,
                   struct shape *out, struct error *e)
{
    int64_t size = out->dims[axis], most = INT64_MAX / 4;
    if (begin < -size || end < -size || begin > most || end > most || size + begin + end < 0)
        return infer_fail(c, e, "pads %" PRId64 " and %" PRId64 " of a dimension of %" PRId64,
                          begin, end, size);
    out->dims[axis] = size + begin + end;
    c->node->a.starts[axis] = begin;
    if (size == 0 && out->dims[axis] > 0 && c->node->a.mode != PAD_CONSTANT)
        return infer_fail(c, e, "an empty dimension can only be padded with a constant");
    return 0;
}

static int infer_pad(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0), *fill = infer_input(c, 2);
    struct attributes *a = &c->node->a;
    struct shape out = x->shape;
    int64_t pads[2 * RANK_MAX] = {0};
    size_t count;
    int given, code = infer_type(c, 0, TYPES_ANY, e);
    if (!code)
        code = infer_attribute_name(c, "mode", modes, PAD_CONSTANT, &a->mode, e);
    if (!code && c->opset < 11)
        code = infer_attribute_float(c, "value", 0, &a->alpha, e);
    if (!code)
        code = read_pads(c, pads, &count, e);
    if (!code && fill && (fill->type != x->type || shape_elements(&fill->shape) != 1))
        code = infer_fail(c, e, "input 'constant_value' is not one element of the input's type");
    if (!code && c->opset >= 18 && infer_input(c, 3))
        code = infer_axes(c, "axes", 18, 3, out.rank, &given, e);
    else
        for (a->axis_count = 0; a->axis_count < out.rank; a->axis_count++)
            a->axes[a->axis_count] = a->axis_count;
    if (!code && count != 2 * (size_t)a->axis_count)
        code = infer_fail(c, e, "%zu pads for %d axes", count, a->axis_count);
    for (int i = 0; i < a->axis_count && !code; i++)
        code = pad_dim(c, (int)a->axes[i], pads[i], pads[a->axis_count + i], &out, e);
    return code ? code : infer_output(c, 0, x->type, &out, e);
}

static void fill_all(const struct node *n, const struct tensor *fill, struct tensor *out)
{
    uint64_t bits = 0;
    double value = (double)n->a.alpha;
    size_t size = dtype_size(out->type);
    int64_t total = shape_elements(&out->shape);
    if (fill->data)
        memcpy(&bits, fill->data, size);
    else
        store_real(out->type, &bits, 0, 1, &value);
    for (int64_t i = 0; i < total; i++)
        memcpy((char *)out->data + i * (int64_t)size, &bits, size);
}

/* The part of the input that stays, into its place; negative pads cut. */
static void place_input(const struct node *n, const struct tensor *in, struct tensor *out)
{
    struct walk w = {.rank = out->shape.rank, .operands = 2};
    shape_strides(&out->shape, w.strides[0]);
    shape_strides(&in->shape, w.strides[1]);
    for (int i = 0; i < w.rank; i++) {
        int64_t begin = n->a.starts[i], from = begin < 0 ? -begin : 0, to = begin > 0 ? begin : 0;
        int64_t room = out->shape.dims[i] - to, left = in->shape.dims[i] - from;
        w.dims[i] = room < left ? room : left;
        w.offset[0] += to * w.strides[0][i];
        w.offset[1] += from * w.strides[1][i];
    }
    copy_walk(&w, out->data, in->data, dtype_size(in->type));
}

/* Which input index stands at position i of an axis of `size`. */
static int64_t source_index(int mode, int64_t i, int64_t size)
{
    if (mode == PAD_EDGE || size == 1)
        return i < 0 ? 0 : i >= size ? size - 1 : i;
    int64_t period = mode == PAD_WRAP ? size : 2 * (size - 1);
    i %= period;
    if (i < 0)
        i += period;
    return i < size ? i : period - i;
}

static void take_inside(const struct node *n, const struct tensor *in, struct tensor *out)
{
    int64_t x_strides[RANK_MAX], total = shape_elements(&out->shape);
    int64_t size = (int64_t)dtype_size(in->type);
    shape_strides(&in->shape, x_strides);
    for (int64_t i = 0; i < total; i++) {
        int64_t rest = i, from = 0;
        for (int d = out->shape.rank - 1; d >= 0; d--) {
            int64_t at = rest % out->shape.dims[d] - n->a.starts[d];
            rest /= out->shape.dims[d];
            from += x_strides[d] * source_index(n->a.mode, at, in->shape.dims[d]);
        }
        memcpy((char *)out->data + i * size, (const char *)in->data + from * size, (size_t)size);
    }
}

static int run_pad(const struct node *n, const struct tensor *in, struct tensor *out,
                   struct error *e)
{
    (void)e;
    if (n->a.mode == PAD_CONSTANT) {
        fill_all(n, &in[2], out);
        place_input(n, in, out);
    } else {
        take_inside(n, in, out);
    }
    return 0;
}

static const struct op ops[] = {
    {OP_SINCE(1, 10, "Pad", 1, 1, 1, infer_pad, run_pad)},
    {OP_SINCE(11, 99, "Pad", 2, 4, 1, infer_pad, run_pad)},
};
const struct op_family family_pad = OP_FAMILY(ops);
