/* Element by element, two inputs or more, broadcast: a table of loops over chunks. */
#include "engine/ops/ops.h"

#include <math.h>
#include <string.h>

typedef void real_loop(const double *a, const double *b, double *y, int64_t n);
typedef void int_loop(const int64_t *a, const int64_t *b, int64_t *y, int64_t n);

struct binary {
    real_loop *real;
    int_loop *integer, *wide; /* wide: for uint64 where it differs from int64 */
    unsigned types;
    int to_bool; /* the output is bool, not the first input's type */
};

#define REAL(name, expression) \
    static void name(const double *a, const double *b, double *y, int64_t n) \
    { \
        for (int64_t i = 0; i < n; i++) \
            y[i] = (expression); \
    }
/* Unsigned arithmetic wraps, as integer tensors do; p and q are a[i] and b[i] as uint64. */
#define INTEGER(name, expression) \
    static void name(const int64_t *a, const int64_t *b, int64_t *y, int64_t n) \
    { \
        for (int64_t i = 0; i < n; i++) { \
            uint64_t p = (uint64_t)a[i], q = (uint64_t)b[i]; \
            y[i] = (int64_t)(expression); \
            (void)p, (void)q; \
        } \
    }

/* x^y by squaring; a negative exponent leaves only 1 and -1 different from 0. */
static uint64_t int_power(int64_t x, int64_t exponent)
{
    uint64_t result = 1, square = (uint64_t)x;
    if (exponent < 0)
        return x == 1 ? 1 : x == -1 ? (exponent & 1 ? UINT64_MAX : 1) : 0;
    for (; exponent; exponent >>= 1, square *= square)
        if (exponent & 1)
            result *= square;
    return result;
}

/* Division by zero is undefined in ONNX; here it gives 0, and never a trap. */
static int64_t int_quotient(int64_t x, int64_t y)
{
    return y == 0 ? 0 : y == -1 ? (int64_t)(0 - (uint64_t)x) : x / y;
}

static int64_t int_remainder(int64_t x, int64_t y)
{
    return y == 0 || y == -1 ? 0 : x % y;
}

/* The remainder with the divisor's sign. */
static int64_t int_modulo(int64_t x, int64_t y)
{
    int64_t r = int_remainder(x, y);
    return r && (r < 0) != (y < 0) ? r + y : r;
}

REAL(real_add, a[i] + b[i])
REAL(real_sub, a[i] - b[i])
REAL(real_mul, a[i] * b[i])
REAL(real_div, a[i] / b[i])
REAL(real_pow, pow(a[i], b[i]))
REAL(real_min, a[i] < b[i] || isnan(a[i]) ? a[i] : b[i])
REAL(real_max, a[i] > b[i] || isnan(a[i]) ? a[i] : b[i])
REAL(real_fmod, fmod(a[i], b[i]))
REAL(real_prelu, a[i] < 0 ? a[i] * b[i] : a[i])
REAL(real_equal, a[i] == b[i])
REAL(real_less, a[i] < b[i])
REAL(real_greater, a[i] > b[i])
REAL(real_less_equal, a[i] <= b[i])
REAL(real_greater_equal, a[i] >= b[i])
INTEGER(int_add, p + q)
INTEGER(int_sub, p - q)
INTEGER(int_mul, p * q)
INTEGER(int_div, int_quotient(a[i], b[i]))
INTEGER(wide_div, q ? p / q : 0)
INTEGER(int_pow, int_power(a[i], b[i]))
INTEGER(int_min, a[i] < b[i] ? a[i] : b[i])
INTEGER(wide_min, p < q ? p : q)
INTEGER(int_max, a[i] > b[i] ? a[i] : b[i])
INTEGER(wide_max, p > q ? p : q)
INTEGER(int_mod, int_modulo(a[i], b[i]))
INTEGER(int_fmod, int_remainder(a[i], b[i]))
INTEGER(wide_mod, q ? p % q : 0)
INTEGER(int_prelu, a[i] < 0 ? p * q : p)
INTEGER(wide_prelu, p + 0 * q)
INTEGER(int_equal, a[i] == b[i])
INTEGER(int_less, a[i] < b[i])
INTEGER(wide_less, p < q)
INTEGER(int_greater, a[i] > b[i])
INTEGER(wide_greater, p > q)
INTEGER(int_less_equal, a[i] <= b[i])
INTEGER(wide_less_equal, p <= q)
INTEGER(int_greater_equal, a[i] >= b[i])
INTEGER(wide_greater_equal, p >= q)
INTEGER(int_and, a[i] && b[i])
INTEGER(int_or, a[i] || b[i])
INTEGER(int_xor, !a[i] != !b[i])
INTEGER(int_bits_and, p & q)
INTEGER(int_bits_or, p | q)
INTEGER(int_bits_xor, p ^ q)
INTEGER(int_shift_left, q < 64 ? p << q : 0)
INTEGER(int_shift_right, q < 64 ? p >> q : 0)

static const struct binary *row_of(const struct op *op)
{
    return op->detail;
}

static int infer_binary(const struct infer_context *c, struct error *e)
{
    const struct binary *r = row_of(c->node->op);
    const struct value *a = infer_input(c, 0), *b = infer_input(c, 1);
    struct shape out;
    int code = infer_type(c, 0, r->types, e);
    if (!code)
        code = infer_type(c, 1, r->types, e);
    if (!code && a->type != b->type)
        code = infer_fail(c, e, "inputs of types %s and %s", dtype_name(a->type),
                          dtype_name(b->type));
    if (!code)
        code = infer_broadcast(c, 0, 2, &out, e);
    return code ? code : infer_output(c, 0, r->to_bool ? DTYPE_BOOL : a->type, &out, e);
}

/* The exponent may have another type. */
static int infer_pow(const struct infer_context *c, struct error *e)
{
    const struct value *a = infer_input(c, 0);
    struct shape out;
    int code = infer_type(c, 0, TYPES_REAL | TYPES_INDEX, e);
    if (!code)
        code = infer_type(c, 1, TYPES_NUMBER, e);
    if (!code)
        code = infer_broadcast(c, 0, 2, &out, e);
    return code ? code : infer_output(c, 0, a->type, &out, e);
}

/* The slope broadcasts to x, not both to each other. */
static int infer_prelu(const struct infer_context *c, struct error *e)
{
    int code = infer_binary(c, e);
    const struct value *x = infer_input(c, 0), *y = &c->graph->values[c->node->outputs[0]];
    if (!code && !shape_equal(&x->shape, &y->shape))
        code = infer_fail(c, e, "the slope does not broadcast to the input's shape");
    return code;
}

static int infer_mod(const struct infer_context *c, struct error *e)
{
    const struct value *a = infer_input(c, 0);
    int64_t fmod_given;
    int code = infer_attribute_int(c, "fmod", 0, &fmod_given, e);
    c->node->a.mode = fmod_given != 0;
    if (!code && !fmod_given && type_is_real(a->type))
        code = infer_fail(c, e, "attribute 'fmod' must be 1 for %s", dtype_name(a->type));
    return code ? code : infer_binary(c, e);
}

static void row_real(const struct walk *w, real_loop *loop, const struct tensor *a,
                     const struct tensor *b, struct tensor *y)
{
    double p[CHUNK], q[CHUNK], r[CHUNK];
    for (int64_t i = 0; i < w->count; i += CHUNK) {
        int64_t n = w->count - i < CHUNK ? w->count - i : CHUNK;
        load_real(a->type, a->data, w->offset[1] + i * w->step[1], w->step[1], n, p);
        load_real(b->type, b->data, w->offset[2] + i * w->step[2], w->step[2], n, q);
        loop(p, q, r, n);
        store_real(y->type, y->data, w->offset[0] + i, n, r);
    }
}

static void row_int(const struct walk *w, int_loop *loop, const struct tensor *a,
                    const struct tensor *b, struct tensor *y)
{
    int64_t p[CHUNK], q[CHUNK], r[CHUNK];
    for (int64_t i = 0; i < w->count; i += CHUNK) {
        int64_t n = w->count - i < CHUNK ? w->count - i : CHUNK;
        load_int(a->type, a->data, w->offset[1] + i * w->step[1], w->step[1], n, p);
        load_int(b->type, b->data, w->offset[2] + i * w->step[2], w->step[2], n, q);
        loop(p, q, r, n);
        store_int(y->type, y->data, w->offset[0] + i, n, r);
    }
}

/* y = loop(a, b); y may be a itself when it has a's shape. */
static void combine(const struct binary *r, const struct tensor *a, const struct tensor *b,
                    struct tensor *y)
{
    struct walk w;
    int real = type_is_real(a->type) || type_is_real(b->type);
    int_loop *integer = a->type == DTYPE_U64 && r->wide ? r->wide : r->integer;
    walk_init(&w, &y->shape);
    walk_operand(&w, &y->shape);
    walk_operand(&w, &a->shape);
    walk_operand(&w, &b->shape);
    for (int more = walk_begin(&w); more; more = walk_next(&w))
        if (real)
            row_real(&w, r->real, a, b, y);
        else
            row_int(&w, integer, a, b, y);
}

static int run_binary(const struct node *n, const struct tensor *in, struct tensor *out,
                      struct error *e)
{
    (void)e;
    combine(row_of(n->op), &in[0], &in[1], out);
    return 0;
}

static int run_mod(const struct node *n, const struct tensor *in, struct tensor *out,
                   struct error *e)
{
    (void)e;
    struct binary r = *row_of(n->op);
    if (n->a.mode)
        r.integer = int_fmod;
    combine(&r, &in[0], &in[1], out);
    return 0;
}

/* Types without a sign: how others are shifted is not defined. */
static int infer_shift(const struct infer_context *c, struct error *e)
{
    static const char *const directions[] = {"LEFT", "RIGHT", NULL};
    int code = infer_attribute_name(c, "direction", directions, -1, &c->node->a.mode, e);
    if (!code && c->node->a.mode < 0)
        code = infer_fail(c, e, "attribute 'direction' is missing");
    return code ? code : infer_binary(c, e);
}

static int run_shift(const struct node *n, const struct tensor *in, struct tensor *out,
                     struct error *e)
{
    (void)e;
    struct binary r = *row_of(n->op);
    r.integer = n->a.mode ? int_shift_right : int_shift_left;
    combine(&r, &in[0], &in[1], out);
    return 0;
}

/* Sum, Mean, Min, Max of one input or more. */
static int infer_variadic(const struct infer_context *c, struct error *e)
{
    const struct binary *r = row_of(c->node->op);
    const struct value *first = infer_input(c, 0);
    struct shape out;
    int code = 0;
    for (int i = 0; i < c->node->input_count && !code; i++) {
        const struct value *v = infer_input(c, i);
        code = infer_type(c, i, r->types, e);
        if (!code && (!v || v->type != first->type))
            code = infer_fail(c, e, "input %d is missing or of another type than the first", i);
    }
    if (!code)
        code = infer_broadcast(c, 0, c->node->input_count, &out, e);
    return code ? code : infer_output(c, 0, first->type, &out, e);
}

static void copy_broadcast(const struct tensor *x, struct tensor *y)
{
    struct walk w;
    walk_init(&w, &y->shape);
    walk_operand(&w, &y->shape);
    walk_operand(&w, &x->shape);
    copy_walk(&w, y->data, x->data, dtype_size(x->type));
}

static int run_variadic(const struct node *n, const struct tensor *in, struct tensor *out,
                        struct error *e)
{
    (void)e;
    copy_broadcast(&in[0], out);
    for (int i = 1; i < n->input_count; i++)
        combine(row_of(n->op), out, &in[i], out);
    return 0;
}

static int run_mean(const struct node *n, const struct tensor *in, struct tensor *out,
                    struct error *e)
{
    double count = n->input_count;
    const struct tensor divisor = {DTYPE_F64, {0}, &count};
    static const struct binary division = {real_div, NULL, NULL, 0, 0};
    run_variadic(n, in, out, e);
    combine(&division, out, &divisor, out);
    return 0;
}

#define ROW(...) .detail = &(const struct binary){__VA_ARGS__}
#define ARITHMETIC(name, function, wide) \
    {OP(name, 2, 2, 1, infer_binary, run_binary), \
     ROW(real_##function, int_##function, wide, TYPES_NUMBER, 0)}
#define COMPARISON(name, function, wide, types) \
    {OP(name, 2, 2, 1, infer_binary, run_binary), \
     ROW(real_##function, int_##function, wide, types, 1)}
#define LOGIC(name, function) \
    {OP(name, 2, 2, 1, infer_binary, run_binary), ROW(NULL, int_##function, NULL, TYPES_BOOL, 1)}
#define BITS(name, function) \
    {OP_SINCE(18, 99, name, 2, 2, 1, infer_binary, run_binary), \
     ROW(NULL, int_bits_##function, NULL, TYPES_SIGNED | TYPES_UNSIGNED, 0)}

static const struct op ops[] = {
    ARITHMETIC("Add", add, NULL),
    ARITHMETIC("Sub", sub, NULL),
    ARITHMETIC("Mul", mul, NULL),
    ARITHMETIC("Div", div, wide_div),
    {OP("Pow", 2, 2, 1, infer_pow, run_binary), ROW(real_pow, int_pow, NULL, TYPES_NUMBER, 0)},
    {OP("Mod", 2, 2, 1, infer_mod, run_mod), ROW(real_fmod, int_mod, wide_mod, TYPES_NUMBER, 0)},
    {OP("PRelu", 2, 2, 1, infer_prelu, run_binary),
     ROW(real_prelu, int_prelu, wide_prelu, TYPES_NUMBER, 0)},
    COMPARISON("Equal", equal, NULL, TYPES_ANY),
    COMPARISON("Less", less, wide_less, TYPES_NUMBER),
    COMPARISON("Greater", greater, wide_greater, TYPES_NUMBER),
    COMPARISON("LessOrEqual", less_equal, wide_less_equal, TYPES_NUMBER),
    COMPARISON("GreaterOrEqual", greater_equal, wide_greater_equal, TYPES_NUMBER),
    LOGIC("And", and),
    LOGIC("Or", or),
    LOGIC("Xor", xor),
    BITS("BitwiseAnd", and),
    BITS("BitwiseOr", or),
    BITS("BitwiseXor", xor),
    {OP_SINCE(11, 99, "BitShift", 2, 2, 1, infer_shift, run_shift),
     ROW(NULL, NULL, NULL, TYPES_UNSIGNED, 0)},
    {OP("Min", 1, NODE_INPUT_MAX, 1, infer_variadic, run_variadic),
     ROW(real_min, int_min, wide_min, TYPES_NUMBER, 0)},
    {OP("Max", 1, NODE_INPUT_MAX, 1, infer_variadic, run_variadic),
     ROW(real_max, int_max, wide_max, TYPES_NUMBER, 0)},
    {OP("Sum", 1, NODE_INPUT_MAX, 1, infer_variadic, run_variadic),
     ROW(real_add, NULL, NULL, TYPES_REAL, 0)},
    {OP("Mean", 1, NODE_INPUT_MAX, 1, infer_variadic, run_mean),
     ROW(real_add, NULL, NULL, TYPES_REAL, 0)},
};
const struct op_family family_binary = OP_FAMILY(ops);
