/* Element by element, one input: a table of loops over chunks of doubles (or of int64). */
#include "engine/ops/ops.h"

#include <math.h>

typedef void real_loop(const double *x, double *y, int64_t n, const struct attributes *a);
typedef void int_loop(const int64_t *x, int64_t *y, int64_t n);

struct unary {
    real_loop *real;
    int_loop *integer;        /* NULL: integers are refused */
    unsigned types;           /* beyond TYPES_REAL */
    float alpha, beta;        /* defaults of these attributes; NAN: it has none */
    int to_bool;              /* the output is bool, not the input's type */
};

/* The activations that are more than a line are shared with the fused operators. */
double gelu(double x)
{
    return 0.5 * x * (1 + erf(x * 0.70710678118654752440));
}

double gelu_tanh(double x)
{
    return 0.5 * x * (1 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
}

double mish(double x)
{
    return x * tanh(x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)));
}

#define REAL(name, expression) \
    static void name(const double *in, double *out, int64_t n, const struct attributes *a) \
    { \
        double alpha = (double)a->alpha, beta = (double)a->beta; \
        for (int64_t i = 0; i < n; i++) { \
            double x = in[i]; \
            out[i] = (expression); \
        } \
        (void)alpha, (void)beta; \
    }
#define INTEGER(name, expression) \
    static void name(const int64_t *in, int64_t *out, int64_t n) \
    { \
        for (int64_t i = 0; i < n; i++) { \
            int64_t x = in[i]; \
            out[i] = (expression); \
        } \
    }

REAL(real_abs, fabs(x))
REAL(real_neg, -x)
REAL(real_relu, x < 0 ? 0 : x)
REAL(real_leaky, x < 0 ? alpha * x : x)
REAL(real_sigmoid, 1 / (1 + exp(-x)))
REAL(real_hard_sigmoid, fmax(0, fmin(1, alpha * x + beta)))
REAL(real_hard_swish, x * fmax(0, fmin(1, x / 6 + 0.5)))
REAL(real_tanh, tanh(x))
REAL(real_erf, erf(x))
REAL(real_exp, exp(x))
REAL(real_log, log(x))
REAL(real_sqrt, sqrt(x))
REAL(real_reciprocal, 1 / x)
REAL(real_floor, floor(x))
REAL(real_ceil, ceil(x))
REAL(real_round, rint(x))
REAL(real_sign, (x > 0) - (x < 0))
REAL(real_sin, sin(x))
REAL(real_cos, cos(x))
REAL(real_tan, tan(x))
REAL(real_asin, asin(x))
REAL(real_acos, acos(x))
REAL(real_atan, atan(x))
REAL(real_sinh, sinh(x))
REAL(real_cosh, cosh(x))
REAL(real_asinh, asinh(x))
REAL(real_acosh, acosh(x))
REAL(real_atanh, atanh(x))
REAL(real_softplus, x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)))
REAL(real_softsign, x / (1 + fabs(x)))
REAL(real_elu, x < 0 ? alpha * expm1(x) : x)
REAL(real_celu, fmax(0, x) + fmin(0, alpha * expm1(x / alpha)))
REAL(real_selu, beta * (x > 0 ? x : alpha * expm1(x)))
REAL(real_thresholded, x > alpha ? x : 0)
REAL(real_mish, mish(x))
REAL(real_is_nan, isnan(x))
INTEGER(int_abs, x < 0 ? (int64_t)(0 - (uint64_t)x) : x)
INTEGER(int_neg, (int64_t)(0 - (uint64_t)x))
INTEGER(int_relu, x < 0 ? 0 : x)
INTEGER(int_sign, (x > 0) - (x < 0))
INTEGER(int_not, !x)
INTEGER(int_bits_not, ~x)

static void real_gelu(const double *x, double *y, int64_t n, const struct attributes *a)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = a->mode ? gelu_tanh(x[i]) : gelu(x[i]);
}

static const struct unary *row_of(const struct op *op)
{
    return op->detail;
}

static int infer_unary(const struct infer_context *c, struct error *e)
{
    const struct unary *u = row_of(c->node->op);
    const struct value *x = infer_input(c, 0);
    unsigned types = u->types | (u->real ? TYPES_REAL : 0);
    int code = infer_type(c, 0, types, e);
    if (!code && !isnan(u->alpha))
        code = infer_attribute_float(c, "alpha", u->alpha, &c->node->a.alpha, e);
    if (!code && !isnan(u->beta))
        code = infer_attribute_float(c, u->real == real_selu ? "gamma" : "beta", u->beta,
                                     &c->node->a.beta, e);
    return code ? code : infer_output(c, 0, u->to_bool ? DTYPE_BOOL : x->type, &x->shape, e);
}

static int infer_gelu(const struct infer_context *c, struct error *e)
{
    static const char *const forms[] = {"none", "tanh", NULL};
    int code = infer_attribute_name(c, "approximate", forms, 0, &c->node->a.mode, e);
    return code ? code : infer_unary(c, e);
}

static int run_unary(const struct node *n, const struct tensor *in, struct tensor *out,
                     struct error *e)
{
    (void)e;
    const struct unary *u = row_of(n->op);
    int64_t total = shape_elements(&in->shape);
    int real = type_is_real(in->type);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < total; i += CHUNK) {
        int64_t count = total - i < CHUNK ? total - i : CHUNK;
        double x[CHUNK], y[CHUNK];
        int64_t p[CHUNK], q[CHUNK];
        if (real) {
            load_real(in->type, in->data, i, 1, count, x);
            u->real(x, y, count, &n->a);
            store_real(out->type, out->data, i, count, y);
        } else {
            load_int(in->type, in->data, i, 1, count, p);
            u->integer(p, q, count);
            store_int(out->type, out->data, i, count, q);
        }
    }
    return 0;
}

/* IsInf: which signs count. */
static int infer_is_inf(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    int64_t negative, positive;
    int code = infer_type(c, 0, TYPES_REAL, e);
    if (!code)
        code = infer_attribute_int(c, "detect_negative", 1, &negative, e);
    if (!code)
        code = infer_attribute_int(c, "detect_positive", 1, &positive, e);
    if (code)
        return code;
    c->node->a.alpha = negative != 0;
    c->node->a.beta = positive != 0;
    return infer_output(c, 0, DTYPE_BOOL, &x->shape, e);
}
REAL(real_is_inf, isinf(x) && (x < 0 ? alpha : beta) > 0)

/* Shrink: lambd in a.alpha, bias in a.beta. */
static int infer_shrink(const struct infer_context *c, struct error *e)
{
    int code = infer_attribute_float(c, "lambd", 0.5f, &c->node->a.alpha, e);
    if (!code)
        code = infer_attribute_float(c, "bias", 0, &c->node->a.beta, e);
    return code ? code : infer_unary(c, e);
}
REAL(real_shrink, x < -alpha ? x + beta : x > alpha ? x - beta : 0)

#define ROW(...) &(const struct unary){__VA_ARGS__}
#define PLAIN(name, loop) \
    {OP(name, 1, 1, 1, infer_unary, run_unary), .detail = ROW(loop, NULL, 0, NAN, NAN, 0)}
#define SHAPED(name, loop, alpha, beta) \
    {OP(name, 1, 1, 1, infer_unary, run_unary), .detail = ROW(loop, NULL, 0, alpha, beta, 0)}
#define WHOLE(name, loop, integer, types) \
    {OP(name, 1, 1, 1, infer_unary, run_unary), .detail = ROW(loop, integer, types, NAN, NAN, 0)}

static const struct op ops[] = {
    WHOLE("Abs", real_abs, int_abs, TYPES_SIGNED),
    WHOLE("Neg", real_neg, int_neg, TYPES_SIGNED),
    WHOLE("Relu", real_relu, int_relu, TYPES_SIGNED),
    WHOLE("Sign", real_sign, int_sign, TYPES_SIGNED),
    WHOLE("Not", NULL, int_not, TYPES_BOOL),
    PLAIN("Sigmoid", real_sigmoid),
    PLAIN("HardSwish", real_hard_swish),
    PLAIN("Tanh", real_tanh),
    PLAIN("Erf", real_erf),
    PLAIN("Exp", real_exp),
    PLAIN("Log", real_log),
    PLAIN("Sqrt", real_sqrt),
    PLAIN("Reciprocal", real_reciprocal),
    PLAIN("Floor", real_floor),
    PLAIN("Ceil", real_ceil),
    PLAIN("Round", real_round),
    PLAIN("Sin", real_sin),
    PLAIN("Cos", real_cos),
    PLAIN("Tan", real_tan),
    PLAIN("Asin", real_asin),
    PLAIN("Acos", real_acos),
    PLAIN("Atan", real_atan),
    PLAIN("Sinh", real_sinh),
    PLAIN("Cosh", real_cosh),
    PLAIN("Asinh", real_asinh),
    PLAIN("Acosh", real_acosh),
    PLAIN("Atanh", real_atanh),
    PLAIN("Softplus", real_softplus),
    PLAIN("Softsign", real_softsign),
    PLAIN("Mish", real_mish),
    SHAPED("LeakyRelu", real_leaky, 0.01f, NAN),
    SHAPED("HardSigmoid", real_hard_sigmoid, 0.2f, 0.5f),
    SHAPED("Elu", real_elu, 1, NAN),
    SHAPED("Celu", real_celu, 1, NAN),
    SHAPED("Selu", real_selu, 1.67326319217681884765625f, 1.05070102214813232421875f),
    SHAPED("ThresholdedRelu", real_thresholded, 1, NAN),
    {OP_SINCE(18, 99, "BitwiseNot", 1, 1, 1, infer_unary, run_unary),
     .detail = ROW(NULL, int_bits_not, TYPES_SIGNED | TYPES_UNSIGNED, NAN, NAN, 0)},
    {OP("IsNaN", 1, 1, 1, infer_unary, run_unary), .detail = ROW(real_is_nan, NULL, 0, NAN, NAN, 1)},
    {OP("IsInf", 1, 1, 1, infer_is_inf, run_unary), .detail = ROW(real_is_inf, NULL, 0, NAN, NAN, 1)},
    {OP("Shrink", 1, 1, 1, infer_shrink, run_unary), .detail = ROW(real_shrink, NULL, 0, NAN, NAN, 0)},
    {OP_SINCE(20, 99, "Gelu", 1, 1, 1, infer_gelu, run_unary),
     .detail = ROW(real_gelu, NULL, 0, NAN, NAN, 0)},
};
const struct op_family family_unary = OP_FAMILY(ops);
