/* Gather, GatherElements. */
#include "engine/ops/ops.h"

#include <inttypes.h>
#include <string.h>

static int infer_common(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    int64_t axis;
    int code = infer_type(c, 0, TYPES_ANY, e);
    if (!code)
        code = infer_type(c, 1, TYPES_INDEX, e);
    if (!code)
        code = infer_attribute_int(c, "axis", 0, &axis, e);
    return code ? code : infer_axis(c, "attribute 'axis'", axis, x->shape.rank, &c->node->a.axis, e);
}

static int infer_gather(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0), *at = infer_input(c, 1);
    int code = infer_common(c, e);
    if (code)
        return code;
    int axis = (int)c->node->a.axis, rank = x->shape.rank + at->shape.rank - 1;
    if (rank > RANK_MAX)
        return infer_unsupported(c, e, "an output of rank %d", rank);
    struct shape out = {.rank = rank};
    for (int i = 0; i < axis; i++)
        out.dims[i] = x->shape.dims[i];
    for (int i = 0; i < at->shape.rank; i++)
        out.dims[axis + i] = at->shape.dims[i];
    for (int i = axis + 1; i < x->shape.rank; i++)
        out.dims[at->shape.rank + i - 1] = x->shape.dims[i];
    return infer_output(c, 0, x->type, &out, e);
}

/* Index i, made non-negative. */
static int read_index(const struct tensor *indices, int64_t i, int64_t size, int64_t *out,
                      struct error *e)
{
    load_int(indices->type, indices->data, i, 1, 1, out);
    if (*out < -size || *out >= size)
        return error_set(e, ERROR_FORMAT, "index %" PRId64 " is outside a dimension of %" PRId64,
                         *out, size);
    if (*out < 0)
        *out += size;
    return 0;
}

static int run_gather(const struct node *n, const struct tensor *in, struct tensor *out,
                      struct error *e)
{
    int64_t outer = 1, size = in->shape.dims[n->a.axis];
    int64_t inner = (int64_t)dtype_size(in->type), count = shape_elements(&in[1].shape);
    if (shape_elements(&out->shape) == 0)
        return 0;
    for (int i = 0; i < in->shape.rank; i++)
        if (i != n->a.axis)
            *(i < n->a.axis ? &outer : &inner) *= in->shape.dims[i];
    for (int64_t i = 0; i < count; i++) {
        int64_t index;
        int code = read_index(&in[1], i, size, &index, e);
        if (code)
            return code;
        for (int64_t o = 0; o < outer; o++)
            memcpy((char *)out->data + (o * count + i) * inner,
                   (const char *)in->data + (o * size + index) * inner, (size_t)inner);
    }
    return 0;
}

static int infer_gather_elements(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0), *at = infer_input(c, 1);
    int code = infer_common(c, e);
    if (code)
        return code;
    int fits = x->shape.rank == at->shape.rank;
    for (int i = 0; i < x->shape.rank && fits; i++)
        fits = i == c->node->a.axis || at->shape.dims[i] <= x->shape.dims[i];
    char s[96], t[96];
    if (!fits)
        return infer_fail(c, e, "indices %s do not fit %s", shape_text(&at->shape, s, sizeof s),
                          shape_text(&x->shape, t, sizeof t));
    return infer_output(c, 0, x->type, &at->shape, e);
}

static int run_gather_elements(const struct node *n, const struct tensor *in, struct tensor *out,
                               struct error *e)
{
    int64_t strides[RANK_MAX], total = shape_elements(&out->shape);
    int64_t size = (int64_t)dtype_size(in->type);
    shape_strides(&in->shape, strides);
    for (int64_t i = 0; i < total; i++) {
        int64_t rest = i, from = 0, index;
        int code = read_index(&in[1], i, in->shape.dims[n->a.axis], &index, e);
        if (code)
            return code;
        for (int d = out->shape.rank - 1; d >= 0; d--) {
            int64_t at = rest % out->shape.dims[d];
            rest /= out->shape.dims[d];
            from += (d == n->a.axis ? index : at) * strides[d];
        }
        memcpy((char *)out->data + i * size, (const char *)in->data + from * size, (size_t)size);
    }
    return 0;
}

static const struct op ops[] = {
    {OP("Gather", 2, 2, 1, infer_gather, run_gather)},
    {OP_SINCE(11, 99, "GatherElements", 2, 2, 1, infer_gather_elements, run_gather_elements)},
};
const struct op_family family_gather = OP_FAMILY(ops);
