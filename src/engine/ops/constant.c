/* Constant, ConstantOfShape, Range, NonZero. */
#include "engine/ops/ops.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static int set_constant(const struct infer_context *c, enum dtype type, const struct shape *shape,
                        const void *data, struct error *e)
{
    static const double nothing;
    if (type >= 32 || !(TYPES_ANY & TYPE_BIT(type)))
        return infer_unsupported(c, e, "a constant of type %s", dtype_name(type));
    int code = infer_output(c, 0, type, shape, e);
    if (!code)
        c->graph->values[c->node->outputs[0]].constant = data ? data : &nothing;
    return code;
}

/* The attribute's data lives as long as the model. */
static int infer_constant(const struct infer_context *c, struct error *e)
{
    static const char *const names[] = {"value", "value_float", "value_floats", "value_int",
                                        "value_ints"};
    const struct onnx_attribute *a = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && !a; i++)
        a = infer_attribute(c, names[i]);
    if (!a)
        return infer_unsupported(c, e, "none of the attributes value, value_float, value_floats, "
                                 "value_int and value_ints");
    const struct shape list = {1, {(int64_t)a->count}}, scalar = {0};
    switch (a->type) {
    case ONNX_TENSOR: return set_constant(c, a->tensor.type, &a->tensor.shape, a->tensor.data, e);
    case ONNX_FLOAT: return set_constant(c, DTYPE_F32, &scalar, &a->f, e);
    case ONNX_FLOATS: return set_constant(c, DTYPE_F32, &list, a->floats, e);
    case ONNX_INT: return set_constant(c, DTYPE_I64, &scalar, &a->i, e);
    case ONNX_INTS: return set_constant(c, DTYPE_I64, &list, a->ints, e);
    default: return infer_fail(c, e, "attribute '%s' is of type %d", a->name, a->type);
    }
}

static int run_constant(const struct node *n, const struct tensor *in, struct tensor *out,
                        struct error *e)
{
    (void)n, (void)in, (void)out;
    return error_set(e, ERROR_FORMAT, "a Constant is known when the graph is built");
}

/* One element's bytes are kept in steps[0]. */
static int infer_constant_of_shape(const struct infer_context *c, struct error *e)
{
    const struct onnx_attribute *a = infer_attribute(c, "value");
    struct shape out = {0};
    size_t count;
    enum dtype type = DTYPE_F32;
    c->node->a.steps[0] = 0;
    if (a) {
        type = a->tensor.type;
        if (a->type != ONNX_TENSOR || type >= 32 || !(TYPES_ANY & TYPE_BIT(type)) ||
            shape_elements(&a->tensor.shape) != 1)
            return infer_fail(c, e, "attribute 'value' is not a tensor of one number");
        memcpy(c->node->a.steps, a->tensor.data, dtype_size(type));
    }
    int code = infer_constant_ints(c, 0, "input", out.dims, RANK_MAX, &count, e);
    out.rank = (int)count;
    return code ? code : infer_output(c, 0, type, &out, e);
}

static int run_constant_of_shape(const struct node *n, const struct tensor *in, struct tensor *out,
                                 struct error *e)
{
    (void)in, (void)e;
    int64_t total = shape_elements(&out->shape), size = (int64_t)dtype_size(out->type);
    for (int64_t i = 0; i < total; i++)
        memcpy((char *)out->data + i * size, n->a.steps, (size_t)size);
    return 0;
}

#define TYPES_RANGE (TYPE_BIT(DTYPE_F32) | TYPE_BIT(DTYPE_F64) | TYPE_BIT(DTYPE_I16) | \
                     TYPE_BIT(DTYPE_I32) | TYPE_BIT(DTYPE_I64))

static int64_t real_count(const double v[3])
{
    double n = ceil((v[1] - v[0]) / v[2]);
    return isnan(n) || n > 9e15 ? INT64_MAX : n < 0 ? 0 : (int64_t)n;
}

/* The distance as unsigned, which cannot overflow. */
static int64_t int_count(const int64_t v[3])
{
    int up = v[2] > 0;
    if (up ? v[0] >= v[1] : v[0] <= v[1])
        return 0;
    uint64_t span = up ? (uint64_t)v[1] - (uint64_t)v[0] : (uint64_t)v[0] - (uint64_t)v[1];
    uint64_t step = up ? (uint64_t)v[2] : 0 - (uint64_t)v[2];
    uint64_t n = (span - 1) / step + 1;
    return n > INT64_MAX ? INT64_MAX : (int64_t)n;
}

static int infer_range(const struct infer_context *c, struct error *e)
{
    double reals[3];
    int64_t integers[3] = {0};
    enum dtype type = infer_input(c, 0)->type;
    int code = infer_type(c, 0, TYPES_RANGE, e);
    for (int i = 0; i < 3 && !code; i++) {
        const struct value *v = infer_input(c, i);
        if (v->type != type || shape_elements(&v->shape) != 1)
            return infer_fail(c, e, "input %d is not one number of the first one's type", i);
        if (!v->constant)
            return infer_unsupported(c, e, "input %d ('%.60s') is computed at run time; only one "
                                     "known when the model is loaded is supported", i, v->name);
        load_real(type, v->constant, 0, 1, 1, &reals[i]);
        load_int(type, v->constant, 0, 1, 1, &integers[i]);
    }
    if (!code && reals[2] == 0)
        code = infer_fail(c, e, "a delta of 0");
    if (code)
        return code;
    int64_t n = type_is_real(type) ? real_count(reals) : int_count(integers);
    return infer_output(c, 0, type, &(struct shape){1, {n}}, e);
}

static int run_range(const struct node *n, const struct tensor *in, struct tensor *out,
                     struct error *e)
{
    (void)n, (void)e;
    double start, delta;
    int64_t first, step;
    load_real(in[0].type, in[0].data, 0, 1, 1, &start);
    load_real(in[2].type, in[2].data, 0, 1, 1, &delta);
    load_int(in[0].type, in[0].data, 0, 1, 1, &first);
    load_int(in[2].type, in[2].data, 0, 1, 1, &step);
    for (int64_t i = 0; i < out->shape.dims[0]; i++) {
        double real = start + (double)i * delta;
        int64_t integer = (int64_t)((uint64_t)first + (uint64_t)i * (uint64_t)step);
        if (type_is_real(out->type))
            store_real(out->type, out->data, i, 1, &real);
        else
            store_int(out->type, out->data, i, 1, &integer);
    }
    return 0;
}

/* NonZero: the shape of its output depends on data, so the data must be known. */
static int infer_non_zero(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    int64_t total = shape_elements(&x->shape), places = 0;
    double values[CHUNK];
    int code = infer_type(c, 0, TYPES_ANY, e);
    if (!code && (!x->constant || infer_spend(c, total)))
        code = infer_unsupported(c, e, "the shape of the output depends on data ('%.60s'), which is "
                                 "%s", x->name, x->constant ? "too much to look at when the model "
                                 "is loaded" : "computed at run time");
    for (int64_t i = 0; i < total && !code; i += CHUNK) {
        int64_t n = total - i < CHUNK ? total - i : CHUNK;
        load_real(x->type, x->constant, i, 1, n, values);
        for (int64_t k = 0; k < n; k++)
            places += values[k] != 0;
    }
    const struct shape out = {2, {x->shape.rank, places}};
    return code ? code : infer_output(c, 0, DTYPE_I64, &out, e);
}

static int run_non_zero(const struct node *n, const struct tensor *in, struct tensor *out,
                        struct error *e)
{
    (void)n, (void)e;
    int64_t *y = out->data, total = shape_elements(&in->shape), places = out->shape.dims[1], at = 0;
    for (int64_t i = 0; i < total && at < places; i++) {
        double value;
        load_real(in->type, in->data, i, 1, 1, &value);
        if (value == 0)
            continue;
        int64_t rest = i;
        for (int d = in->shape.rank - 1; d >= 0; d--) {
            y[d * places + at] = rest % in->shape.dims[d];
            rest /= in->shape.dims[d];
        }
        at++;
    }
    return 0;
}

static const struct op ops[] = {
    {OP("Constant", 0, 0, 1, infer_constant, run_constant)},
    {OP("ConstantOfShape", 1, 1, 1, infer_constant_of_shape, run_constant_of_shape)},
    {OP_SINCE(11, 99, "Range", 3, 3, 1, infer_range, run_range)},
    {OP_SINCE(9, 99, "NonZero", 1, 1, 1, infer_non_zero, run_non_zero)},
};
const struct op_family family_constant = OP_FAMILY(ops);
