#include "engine/activation.h"

#include "engine/exp.h"
#include "engine/op.h"
#include "engine/simd.h"

#include <string.h>

/* ---- which node is which ---- */

enum numbers { NOTHING, BOUNDS, ALPHA, ALPHA_BETA };

static const struct row {
    const char *op;
    enum activation activation;
    enum numbers numbers;
} rows[] = {
    {"Relu", ACT_RELU, NOTHING},
    {"Clip", ACT_CLIP, BOUNDS},
    {"Tanh", ACT_TANH, NOTHING},
    {"Sigmoid", ACT_SIGMOID, NOTHING},
    {"LeakyRelu", ACT_LEAKY_RELU, ALPHA},
    {"Elu", ACT_ELU, ALPHA},
    {"Swish", ACT_SWISH, ALPHA},
    {"HardSwish", ACT_HARD_SWISH, NOTHING},
    {"HardSigmoid", ACT_HARD_SIGMOID, ALPHA_BETA},
    {"Mish", ACT_MISH, NOTHING},
    {"Selu", ACT_SELU, ALPHA_BETA},
    {"Celu", ACT_CELU, ALPHA},
    {"Softplus", ACT_SOFTPLUS, NOTHING},
    {"Softsign", ACT_SOFTSIGN, NOTHING},
    {"ThresholdedRelu", ACT_THRESHOLDED_RELU, ALPHA},
};

static int others_are_constant(const struct graph *g, const struct node *n)
{
    for (int i = 1; i < n->input_count; i++)
        if (n->inputs[i] != NO_VALUE && !g->values[n->inputs[i]].constant)
            return 0;
    return 1;
}

static void fill(const struct row *r, const struct attributes *a, struct epilogue *out)
{
    *out = (struct epilogue){.activation = r->activation};
    if (r->numbers == BOUNDS) {
        out->low = a->low;
        out->high = a->high;
    } else if (r->numbers != NOTHING) {
        out->low = a->alpha;
        out->high = r->numbers == ALPHA_BETA ? a->beta : 0;
    }
}

/* With one slope for all channels it is a LeakyRelu. */
static int one_slope(const struct graph *g, const struct node *n, struct epilogue *out)
{
    const struct value *slope = &g->values[n->inputs[1]];
    if (slope->type != DTYPE_F32 || !slope->constant || shape_elements(&slope->shape) != 1)
        return -1;
    *out = (struct epilogue){.activation = ACT_LEAKY_RELU, .low = *(const float *)slope->constant};
    return 0;
}

int activation_of(const struct graph *g, const struct node *n, struct epilogue *out)
{
    const char *op = n->op->name;
    if (n->input_count < 1 || n->inputs[0] == NO_VALUE ||
        g->values[n->inputs[0]].type != DTYPE_F32 || !others_are_constant(g, n))
        return -1;
    if (!strcmp(op, "PRelu"))
        return one_slope(g, n, out);
    if (!strcmp(op, "Gelu")) {
        *out = (struct epilogue){.activation = n->a.mode ? ACT_GELU_TANH : ACT_GELU_ERF};
        return 0;
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(op, rows[i].op)) {
            fill(&rows[i], &n->a, out);
            return 0;
        }
    return -1;
}

/* ---- rows ---- */

/* e^x - 1 for x < 0. */
EXP_INLINE float exp_minus_one(float x)
{
    float rest, power = exp_parts(x < 0 ? x : 0, &rest);
    return rest * power + (power - 1.0f);
}

EXP_INLINE float clamp(float x, float low, float high)
{
    float at_least = x < low ? low : x;
    return at_least > high ? high : at_least;
}

/* Exponentials are never quite 0: times what is larger than this it would show. */
EXP_INLINE float not_vast(float x)
{
    return x < -1e20f ? -1e20f : x;
}

EXP_INLINE float swish(float x, float factor)
{
    return not_vast(x) * exp_sigmoid(factor * x);
}

/* x tanh(log(1 + e^x)), over e = e^-|x|. */
EXP_INLINE float mish(float x)
{
    float e = exp_negative(-fabsf(x));
    float above = x < 0 ? e * (e + 2.0f) : 1.0f + 2.0f * e;
    return not_vast(x) * (above / (above + (x < 0 ? 2.0f : 2.0f * e * e)));
}

/* x/2 (1 + tanh(u)) = x sigmoid(2u) */
EXP_INLINE float gelu_tanh(float x)
{
    return not_vast(x) * exp_sigmoid(1.59576912f * (x + 0.044715f * x * x * x));
}

/* log(1 + e^x): with u = e^-|x|, log(1 + u) = 2 artanh(u / (2 + u)) by its series. */
EXP_INLINE float softplus(float x)
{
    float u = exp_negative(-fabsf(x)), s = u / (2.0f + u), q = s * s;
    float p = 1.0f / 15;
    p = p * q + 1.0f / 13;
    p = p * q + 1.0f / 11;
    p = p * q + 1.0f / 9;
    p = p * q + 1.0f / 7;
    p = p * q + 1.0f / 5;
    p = p * q + 1.0f / 3;
    p = p * q + 1.0f;
    return (x > 0 ? x : 0) + 2.0f * s * p;
}

/* x/2 (1 + erf(x / sqrt 2)); 1 - erf(z) for z >= 0 by Hastings (Abramowitz and Stegun 7.1.26), within
 * 1.5e-7. */
EXP_INLINE float gelu_erf(float x)
{
    float z = fabsf(x) * 0.707106781f, t = 1.0f / (1.0f + 0.3275911f * z);
    float p = 1.061405429f;
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    float part = 0.5f * x * (p * t * exp_negative(-z * z));
    return x < 0 ? part : x - part;
}

#define EACH(expression) \
    do { \
        _Pragma("omp simd") \
        for (int64_t i = 0; i < n; i++) { \
            float v = x[i]; \
            y[i] = (expression); \
        } \
        return; \
    } while (0)

/* NOLINTBEGIN(bugprone-branch-clone): what differs stands behind EACH's pragma, where it isn't seen */
SIMD_CLONES
void activation_row(const struct epilogue *what, const float *x, float *y, int64_t n)
{
    const float low = what->low, high = what->high;
    switch (what->activation) {
    case ACT_RELU:
        EACH(v < 0 ? 0 : v);
    case ACT_CLIP:
        EACH(clamp(v, low, high));
    case ACT_TANH:
        EACH(exp_tanh(v));
    case ACT_SIGMOID:
        EACH(exp_sigmoid(v));
    case ACT_LEAKY_RELU:
        EACH(v < 0 ? low * v : v);
    case ACT_ELU:
        EACH(v < 0 ? low * exp_minus_one(v) : v);
    case ACT_SWISH:
        EACH(swish(v, low));
    case ACT_HARD_SWISH:
        EACH(v * (clamp(v + 3.0f, 0, 6.0f) * (1.0f / 6)));
    case ACT_HARD_SIGMOID:
        EACH(clamp(low * v + high, 0, 1.0f));
    case ACT_MISH:
        EACH(mish(v));
    case ACT_GELU_TANH:
        EACH(gelu_tanh(v));
    case ACT_SELU:
        EACH(high * (v > 0 ? v : low * exp_minus_one(v)));
    case ACT_CELU:
        EACH(v > 0 ? v : low * exp_minus_one(v / low));
    case ACT_SOFTPLUS:
        EACH(softplus(v));
    case ACT_SOFTSIGN:
        EACH(v / (1.0f + fabsf(v)));
    case ACT_THRESHOLDED_RELU:
        EACH(v > low ? v : 0);
    case ACT_GELU_ERF:
        EACH(gelu_erf(v));
    case ACT_NONE:
        memmove(y, x, (size_t)n * sizeof *y);
    }
}
/* NOLINTEND(bugprone-branch-clone) */
