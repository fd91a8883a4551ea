/* The same elements in another shape or type, and shapes as data. */
#include "engine/ops/ops.h"

#include <inttypes.h>
#include <string.h>

static int run_copy(const struct node *n, const struct tensor *in, struct tensor *out,
                    struct error *e)
{
    (void)n, (void)e;
    int64_t bytes = shape_bytes(&out->shape, out->type);
    if (bytes > 0)
        memcpy(out->data, in->data, (size_t)bytes);
    return 0;
}

static int infer_identity(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    int code = infer_type(c, 0, TYPES_ANY, e);
    return code ? code : infer_output(c, 0, x->type, &x->shape, e);
}

/* Training is refused; what remains is a copy, and a mask of ones if anybody wants it. */
static int infer_dropout(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0), *training = infer_input(c, 2);
    infer_ignore(c, "ratio");
    infer_ignore(c, "seed");
    if (training && (!training->constant || training->type != DTYPE_BOOL ||
                     shape_elements(&training->shape) != 1 ||
                     *(const uint8_t *)training->constant))
        return infer_unsupported(c, e, "input 'training_mode' is not the constant false");
    int code = infer_type(c, 0, TYPES_REAL, e);
    if (!code)
        code = infer_output(c, 0, x->type, &x->shape, e);
    return code ? code : infer_output(c, 1, c->opset < 10 ? x->type : DTYPE_BOOL, &x->shape, e);
}

static int run_dropout(const struct node *n, const struct tensor *in, struct tensor *out,
                       struct error *e)
{
    const double one = 1;
    for (int64_t i = 0; out[1].data && i < shape_elements(&out[1].shape); i++)
        store_real(out[1].type, out[1].data, i, 1, &one);
    return run_copy(n, in, out, e);
}

static int infer_cast(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    int64_t to, saturate;
    int code = infer_type(c, 0, TYPES_ANY, e);
    if (!code)
        code = infer_attribute_int(c, "saturate", 1, &saturate, e);
    if (!code)
        code = infer_attribute_int(c, "to", 0, &to, e);
    if (code)
        return code;
    if (to < 1 || to >= 32 || !(TYPES_ANY & TYPE_BIT(to)))
        return infer_unsupported(c, e, "attribute 'to' is %" PRId64 " (%s)", to,
                                 to > 0 && to < 32 ? dtype_name((enum dtype)to) : "unknown");
    c->node->a.to = (enum dtype)to;
    return infer_output(c, 0, c->node->a.to, &x->shape, e);
}

static int infer_cast_like(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0), *like = infer_input(c, 1);
    int64_t saturate;
    int code = infer_type(c, 0, TYPES_ANY, e);
    if (!code)
        code = infer_type(c, 1, TYPES_ANY, e);
    if (!code)
        code = infer_attribute_int(c, "saturate", 1, &saturate, e);
    c->node->a.to = like->type;
    return code ? code : infer_output(c, 0, like->type, &x->shape, e);
}

static int run_cast(const struct node *n, const struct tensor *in, struct tensor *out,
                    struct error *e)
{
    (void)n, (void)e;
    int64_t total = shape_elements(&in->shape);
    int real = type_is_real(in->type) || type_is_real(out->type);
    for (int64_t i = 0; i < total; i += CHUNK) {
        int64_t count = total - i < CHUNK ? total - i : CHUNK, whole[CHUNK];
        double x[CHUNK];
        if (real) {
            load_real(in->type, in->data, i, 1, count, x);
            store_real(out->type, out->data, i, count, x);
        } else {
            load_int(in->type, in->data, i, 1, count, whole);
            store_int(out->type, out->data, i, count, whole);
        }
    }
    return 0;
}

/* Shape[start:end]: a.starts[0] and a.axis_count are the slice. */
static int infer_shape(const struct infer_context *c, struct error *e)
{
    struct attributes *a = &c->node->a;
    int64_t rank = infer_input(c, 0)->shape.rank, start, end;
    int code = infer_attribute_int(c, "start", 0, &start, e);
    if (!code)
        code = infer_attribute_int(c, "end", rank, &end, e);
    if (code)
        return code;
    start = start < -rank ? 0 : start < 0 ? start + rank : start > rank ? rank : start;
    end = end < -rank ? 0 : end < 0 ? end + rank : end > rank ? rank : end;
    a->starts[0] = start;
    a->axis_count = end > start ? (int)(end - start) : 0;
    return infer_output(c, 0, DTYPE_I64, &(struct shape){1, {a->axis_count}}, e);
}

static int run_shape(const struct node *n, const struct tensor *in, struct tensor *out,
                     struct error *e)
{
    (void)e;
    for (int i = 0; i < n->a.axis_count; i++)
        ((int64_t *)out->data)[i] = in->shape.dims[n->a.starts[0] + i];
    return 0;
}

static int infer_size(const struct infer_context *c, struct error *e)
{
    return infer_output(c, 0, DTYPE_I64, &(struct shape){0}, e);
}

static int run_size(const struct node *n, const struct tensor *in, struct tensor *out,
                    struct error *e)
{
    (void)n, (void)e;
    *(int64_t *)out->data = shape_elements(&in->shape);
    return 0;
}

static int fail_reshape(const struct infer_context *c, const struct shape *from,
                        const struct shape *to, struct error *e)
{
    char s[96], t[96];
    return infer_fail(c, e, "shape %s cannot become %s", shape_text(from, s, sizeof s),
                      shape_text(to, t, sizeof t));
}

/* 0 copies a dimension, -1 takes what is left. */
static int resolve_reshape(const struct infer_context *c, const struct shape *x, int allow_zero,
                           struct shape *out, struct error *e)
{
    int unknown = -1;
    struct shape known = *out;
    for (int i = 0; i < out->rank; i++) {
        if (out->dims[i] == 0 && !allow_zero) {
            if (i >= x->rank)
                return fail_reshape(c, x, out, e);
            known.dims[i] = out->dims[i] = x->dims[i];
        } else if (out->dims[i] == -1 && unknown < 0) {
            unknown = i;
            known.dims[i] = 1;
        } else if (out->dims[i] < 0) {
            return fail_reshape(c, x, out, e);
        }
    }
    int64_t total = shape_elements(x), rest = shape_elements(&known);
    if (unknown >= 0 && (rest < 1 || total % rest))
        return fail_reshape(c, x, out, e);
    if (unknown >= 0)
        out->dims[unknown] = total / rest;
    return shape_elements(out) == total ? 0 : fail_reshape(c, x, out, e);
}

static int infer_reshape(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    int64_t allow_zero = 0;
    struct shape out = {0};
    size_t count;
    int code = infer_type(c, 0, TYPES_ANY, e);
    if (!code)
        code = infer_attribute_int(c, "allowzero", 0, &allow_zero, e);
    if (!code)
        code = infer_constant_ints(c, 1, "shape", out.dims, RANK_MAX, &count, e);
    if (code)
        return code;
    out.rank = (int)count;
    code = resolve_reshape(c, &x->shape, allow_zero != 0, &out, e);
    return code ? code : infer_output(c, 0, x->type, &out, e);
}

static int infer_flatten(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    int64_t axis, rank = x->shape.rank;
    int code = infer_type(c, 0, TYPES_ANY, e);
    if (!code)
        code = infer_attribute_int(c, "axis", 1, &axis, e);
    if (!code && (axis < -rank || axis > rank))
        code = infer_fail(c, e, "attribute 'axis' %" PRId64 " is outside a tensor of rank %d",
                          axis, x->shape.rank);
    if (code)
        return code;
    axis = axis < 0 ? axis + rank : axis;
    struct shape out = {2, {1, 1}};
    for (int i = 0; i < rank; i++)
        out.dims[i >= axis] *= x->shape.dims[i];
    return infer_output(c, 0, x->type, &out, e);
}

static int has_axis(const struct attributes *a, int64_t axis)
{
    for (int i = 0; i < a->axis_count; i++)
        if (a->axes[i] == axis)
            return 1;
    return 0;
}

static int infer_squeeze(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    struct attributes *a = &c->node->a;
    struct shape out = {0};
    int given;
    char s[96];
    int code = infer_type(c, 0, TYPES_ANY, e);
    if (!code)
        code = infer_axes(c, "axes", 13, 1, x->shape.rank, &given, e);
    if (code)
        return code;
    for (int i = 0; i < x->shape.rank; i++) {
        int drop = given ? has_axis(a, i) : x->shape.dims[i] == 1;
        if (drop && x->shape.dims[i] != 1)
            return infer_fail(c, e, "axis %d of shape %s is not 1", i,
                              shape_text(&x->shape, s, sizeof s));
        if (!drop)
            out.dims[out.rank++] = x->shape.dims[i];
    }
    return infer_output(c, 0, x->type, &out, e);
}

static int infer_unsqueeze(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    struct attributes *a = &c->node->a;
    const int64_t *axes = NULL;
    int64_t storage[RANK_MAX];
    size_t count = 0;
    int given, code = infer_type(c, 0, TYPES_ANY, e);
    if (!code && c->opset < 13)
        code = infer_attribute_ints(c, "axes", 0, RANK_MAX, &axes, &count, e);
    else if (!code)
        code = infer_constant_ints(c, 1, "axes", storage, RANK_MAX, &count, e);
    if (!code && c->opset < 13 && !axes)
        code = infer_fail(c, e, "attribute 'axes' is missing");
    if (code)
        return code;
    struct shape out = {.rank = x->shape.rank + (int)count};
    if (out.rank > RANK_MAX)
        return infer_unsupported(c, e, "an output of rank %d", out.rank);
    code = infer_axes(c, "axes", 13, 1, out.rank, &given, e);
    if (code)
        return code;
    for (int i = 0, from = 0; i < out.rank; i++)
        out.dims[i] = has_axis(a, i) ? 1 : x->shape.dims[from++];
    return infer_output(c, 0, x->type, &out, e);
}

static const struct op ops[] = {
    {OP("Identity", 1, 1, 1, infer_identity, run_copy), .copy = OP_COPIES},
    {OP("Dropout", 1, 3, 2, infer_dropout, run_dropout), .copy = OP_COPIES},
    {OP("Cast", 1, 1, 1, infer_cast, run_cast), .copy = OP_COPIES_SAME},
    {OP_SINCE(15, 99, "CastLike", 2, 2, 1, infer_cast_like, run_cast), .copy = OP_COPIES_SAME},
    {OP("Shape", 1, 1, 1, infer_shape, run_shape)},
    {OP("Size", 1, 1, 1, infer_size, run_size)},
    {OP("Reshape", 2, 2, 1, infer_reshape, run_copy), .copy = OP_RESHAPES},
    {OP("Flatten", 1, 1, 1, infer_flatten, run_copy), .copy = OP_RESHAPES},
    {OP("Squeeze", 1, 2, 1, infer_squeeze, run_copy), .copy = OP_RESHAPES},
    {OP("Unsqueeze", 1, 2, 1, infer_unsqueeze, run_copy), .copy = OP_RESHAPES},
};
const struct op_family family_shape = OP_FAMILY(ops);
