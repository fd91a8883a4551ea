/* Where and Clip. */
#include "engine/ops/ops.h"

#include <float.h>
#include <math.h>
#include <string.h>

static int infer_where(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 1), *y = infer_input(c, 2);
    struct shape out;
    int code = infer_type(c, 0, TYPES_BOOL, e);
    if (!code)
        code = infer_type(c, 1, TYPES_ANY, e);
    if (!code && x->type != y->type)
        code = infer_fail(c, e, "inputs of types %s and %s", dtype_name(x->type),
                          dtype_name(y->type));
    if (!code)
        code = infer_broadcast(c, 0, 3, &out, e);
    return code ? code : infer_output(c, 0, x->type, &out, e);
}

static int run_where(const struct node *n, const struct tensor *in, struct tensor *out,
                     struct error *e)
{
    (void)n, (void)e;
    struct walk w;
    size_t size = dtype_size(out->type);
    const uint8_t *condition = in[0].data;
    walk_init(&w, &out->shape);
    walk_operand(&w, &out->shape);
    for (int i = 0; i < 3; i++)
        walk_operand(&w, &in[i].shape);
    for (int more = walk_begin(&w); more; more = walk_next(&w))
        for (int64_t i = 0; i < w.count; i++) {
            int from = condition[w.offset[1] + i * w.step[1]] ? 1 : 2;
            int64_t at = w.offset[from + 1] + i * w.step[from + 1];
            memcpy((char *)out->data + (w.offset[0] + i * w.step[0]) * (int64_t)size,
                   (const char *)in[from].data + at * (int64_t)size, size);
        }
    return 0;
}

/* Until opset 10 the bounds are attributes. */
static int infer_clip_attributes(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    int code = infer_type(c, 0, TYPES_REAL, e);
    if (!code)
        code = infer_attribute_float(c, "min", -FLT_MAX, &c->node->a.low, e);
    if (!code)
        code = infer_attribute_float(c, "max", FLT_MAX, &c->node->a.high, e);
    return code ? code : infer_output(c, 0, x->type, &x->shape, e);
}

static int read_bound(const struct infer_context *c, int index, float *bound, struct error *e)
{
    const struct value *x = infer_input(c, 0), *v = infer_input(c, index);
    double value;
    if (!v)
        return 0;
    if (v->type != x->type || shape_elements(&v->shape) != 1)
        return infer_fail(c, e, "input %d is not one element of the input's type", index);
    if (v->constant) {
        load_real(v->type, v->constant, 0, 1, 1, &value);
        *bound = (float)value;
    }
    return 0;
}

static int infer_clip(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    c->node->a.low = -INFINITY;
    c->node->a.high = INFINITY;
    int code = infer_type(c, 0, TYPES_NUMBER, e);
    if (!code)
        code = read_bound(c, 1, &c->node->a.low, e);
    if (!code)
        code = read_bound(c, 2, &c->node->a.high, e);
    return code ? code : infer_output(c, 0, x->type, &x->shape, e);
}

static void clip_real(const struct node *n, const struct tensor *in, struct tensor *out)
{
    double low = (double)n->a.low, high = (double)n->a.high, x[CHUNK];
    int64_t total = shape_elements(&in->shape);
    if (in[1].data)
        load_real(in[1].type, in[1].data, 0, 1, 1, &low);
    if (in[2].data)
        load_real(in[2].type, in[2].data, 0, 1, 1, &high);
    for (int64_t i = 0; i < total; i += CHUNK) {
        int64_t count = total - i < CHUNK ? total - i : CHUNK;
        load_real(in->type, in->data, i, 1, count, x);
        for (int64_t k = 0; k < count; k++) {
            x[k] = x[k] < low ? low : x[k];
            x[k] = x[k] > high ? high : x[k];
        }
        store_real(out->type, out->data, i, count, x);
    }
}

/* uint64 beyond int64 is the one type whose order int64 does not keep: flip the sign bit. */
static void clip_int(const struct tensor *in, struct tensor *out)
{
    int64_t low = INT64_MIN, high = INT64_MAX, x[CHUNK], total = shape_elements(&in->shape);
    int64_t flip = in->type == DTYPE_U64 ? INT64_MIN : 0;
    if (in[1].data) {
        load_int(in[1].type, in[1].data, 0, 1, 1, &low);
        low ^= flip;
    }
    if (in[2].data) {
        load_int(in[2].type, in[2].data, 0, 1, 1, &high);
        high ^= flip;
    }
    for (int64_t i = 0; i < total; i += CHUNK) {
        int64_t count = total - i < CHUNK ? total - i : CHUNK;
        load_int(in->type, in->data, i, 1, count, x);
        for (int64_t k = 0; k < count; k++) {
            int64_t value = x[k] ^ flip;
            value = value < low ? low : value;
            value = value > high ? high : value;
            x[k] = value ^ flip;
        }
        store_int(out->type, out->data, i, count, x);
    }
}

static int run_clip(const struct node *n, const struct tensor *in, struct tensor *out,
                    struct error *e)
{
    (void)e;
    if (type_is_real(in->type))
        clip_real(n, in, out);
    else
        clip_int(in, out);
    return 0;
}

static const struct op ops[] = {
    {OP("Where", 3, 3, 1, infer_where, run_where)},
    {OP_SINCE(1, 10, "Clip", 1, 1, 1, infer_clip_attributes, run_clip)},
    {OP_SINCE(11, 99, "Clip", 1, 3, 1, infer_clip, run_clip)},
};
const struct op_family family_select = OP_FAMILY(ops);
