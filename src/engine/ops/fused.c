/* The internal operators that the passes make. Their kernels are the plain ones plus an epilogue. */
#include "engine/ops/ops.h"

#include <math.h>
#include <string.h>

static double activate(const struct attributes *a, double x)
{
    double low = (double)a->low, high = (double)a->high;
    switch ((enum activation)a->activation) {
    case ACT_RELU: return x < 0 ? 0 : x;
    case ACT_CLIP: return x < low ? low : x > high ? high : x;
    case ACT_GELU_ERF: return gelu(x);
    case ACT_TANH: return tanh(x);
    case ACT_SIGMOID: return 1 / (1 + exp(-x));
    case ACT_LEAKY_RELU: return x < 0 ? low * x : x;
    case ACT_ELU: return x < 0 ? low * expm1(x) : x;
    case ACT_SWISH: return x / (1 + exp(-low * x));
    case ACT_HARD_SWISH: return x * fmax(0, fmin(1, x / 6 + 0.5));
    case ACT_HARD_SIGMOID: return fmax(0, fmin(1, low * x + high));
    case ACT_MISH: return mish(x);
    case ACT_GELU_TANH: return gelu_tanh(x);
    default: return x;
    }
}

/* The residual is added first, then the activation. */
static void epilogue(const struct node *n, const struct tensor *residual, struct tensor *out)
{
    float *y = out->data;
    const float *r = n->a.has_residual && residual ? residual->data : NULL;
    int64_t total = shape_elements(&out->shape);
    if (!r && n->a.activation == ACT_NONE)
        return;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < total; i++) {
        float x = r ? y[i] + r[i] : y[i];
        y[i] = n->a.activation == ACT_NONE ? x : (float)activate(&n->a, (double)x);
    }
}

/* Inputs are f32, the bias has one number per output channel, the residual the output's shape. */
static int check_epilogue(const struct infer_context *c, int64_t channels, const struct shape *out,
                          struct error *e)
{
    const struct value *bias = infer_input(c, 2), *residual = infer_input(c, 3);
    const struct attributes *a = &c->node->a;
    int code = 0;
    for (int i = 0; i < c->node->input_count && !code; i++)
        code = infer_type(c, i, TYPES_F32, e);
    if (!code && a->has_bias != (bias != NULL))
        code = infer_fail(c, e, "has_bias does not tell the truth");
    if (!code && a->has_residual != (residual != NULL))
        code = infer_fail(c, e, "has_residual does not tell the truth");
    if (!code && bias && (bias->shape.rank != 1 || bias->shape.dims[0] != channels))
        code = infer_fail(c, e, "the bias does not fit the output");
    if (!code && residual && !shape_equal(&residual->shape, out))
        code = infer_fail(c, e, "the residual does not fit the output");
    return code ? code : infer_output(c, 0, DTYPE_F32, out, e);
}

/* The window was checked when the ONNX node was; here only the shapes must hang together. */
static int infer_fused_conv(const struct infer_context *c, struct error *e)
{
    const struct shape *x = &infer_input(c, 0)->shape, *w = &infer_input(c, 1)->shape;
    const struct attributes *a = &c->node->a;
    struct shape out = {x->rank, {x->dims[0], w->dims[0]}};
    if (x->rank != a->spatial + 2 || w->rank != x->rank ||
        w->dims[1] * a->group != x->dims[1])
        return infer_fail(c, e, "the weight does not fit the input");
    for (int i = 0; i < a->spatial; i++) {
        int64_t room = x->dims[2 + i] + a->pads_begin[i] + a->pads_end[i] -
                       ((a->kernel[i] - 1) * a->dilations[i] + 1);
        if (room < 0 || w->dims[2 + i] != a->kernel[i])
            return infer_fail(c, e, "the window does not fit the input");
        out.dims[2 + i] = room / a->strides[i] + 1;
    }
    return check_epilogue(c, w->dims[0], &out, e);
}

static int run_fused_conv(const struct node *n, const struct tensor *in, struct tensor *out,
                          struct error *e)
{
    int code = run_conv(n, in, out, e);
    if (!code)
        epilogue(n, &in[3], out);
    return code;
}

static int infer_linear(const struct infer_context *c, struct error *e)
{
    const struct shape *x = &infer_input(c, 0)->shape, *w = &infer_input(c, 1)->shape;
    int trans = c->node->a.trans_b;
    char s[96], t[96];
    if (x->rank < 1 || w->rank != 2 || x->dims[x->rank - 1] != w->dims[trans])
        return infer_fail(c, e, "%s and %s cannot be multiplied", shape_text(x, s, sizeof s),
                          shape_text(w, t, sizeof t));
    struct shape out = *x;
    out.dims[out.rank - 1] = w->dims[!trans];
    return check_epilogue(c, w->dims[!trans], &out, e);
}

static int64_t macs_linear(const struct graph *g, const struct node *n)
{
    int64_t y = shape_elements(&g->values[n->outputs[0]].shape);
    int64_t k = g->values[n->inputs[1]].shape.dims[n->a.trans_b];
    return __builtin_mul_overflow(y, k, &y) ? -1 : y;
}

static int run_linear(const struct node *n, const struct tensor *in, struct tensor *out,
                      struct error *e)
{
    (void)e;
    int64_t k = in[1].shape.dims[n->a.trans_b], width = in[1].shape.dims[!n->a.trans_b];
    int64_t rows = width ? shape_elements(&out->shape) / width : 0;
    const float *bias = n->a.has_bias ? in[2].data : NULL;
    float *y = out->data;
    gemm_f32(rows, width, k, in[0].data, 0, in[1].data, n->a.trans_b, y);
    for (int64_t i = 0; bias && i < rows; i++)
        for (int64_t j = 0; j < width; j++)
            y[i * width + j] += bias[j];
    epilogue(n, &in[3], out);
    return 0;
}

static int infer_layer_norm(const struct infer_context *c, struct error *e)
{
    const struct shape *x = &infer_input(c, 0)->shape;
    int code = 0;
    for (int i = 0; i < 3 && !code; i++)
        code = infer_type(c, i, TYPES_F32, e);
    for (int i = 1; i < 3 && !code; i++) {
        const struct shape *p = &infer_input(c, i)->shape;
        if (x->rank < 1 || p->rank != 1 || p->dims[0] != x->dims[x->rank - 1])
            code = infer_fail(c, e, "scale or bias does not fit the last axis");
    }
    return code ? code : infer_output(c, 0, DTYPE_F32, x, e);
}

static int run_layer_norm(const struct node *n, const struct tensor *in, struct tensor *out,
                          struct error *e)
{
    (void)e;
    int64_t inner = in->shape.dims[in->shape.rank - 1];
    int64_t outer = inner ? shape_elements(&in->shape) / inner : 0;
    layer_norm_f32(outer, inner, in[0].data, in[1].data, in[2].data, (double)n->a.epsilon,
                   out->data, NULL, NULL);
    return 0;
}

static int infer_function(const struct infer_context *c, struct error *e)
{
    int code = infer_type(c, 0, TYPES_F32, e);
    return code ? code : infer_output(c, 0, DTYPE_F32, &infer_input(c, 0)->shape, e);
}

static int run_gelu(const struct node *n, const struct tensor *in, struct tensor *out,
                    struct error *e)
{
    (void)n, (void)e;
    int64_t total = shape_elements(&in->shape);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < total; i++)
        ((float *)out->data)[i] = (float)gelu((double)((const float *)in->data)[i]);
    return 0;
}

static int run_swish(const struct node *n, const struct tensor *in, struct tensor *out,
                     struct error *e)
{
    const struct attributes a = {.activation = ACT_SWISH, .low = n->a.alpha};
    int64_t total = shape_elements(&in->shape);
    (void)e;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < total; i++)
        ((float *)out->data)[i] =
            (float)activate(&a, (double)((const float *)in->data)[i]);
    return 0;
}

static int run_fused_batch_norm(const struct node *n, const struct tensor *in, struct tensor *out,
                                struct error *e)
{
    int code = run_batch_norm(n, in, out, e);
    if (!code)
        epilogue(n, NULL, out);
    return code;
}

static int infer_attention(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0), *mask = infer_input(c, 1);
    const struct shape *s = &x->shape;
    int64_t heads = c->node->a.heads;
    int code = infer_type(c, 0, TYPES_F32, e);
    if (!code)
        code = infer_type(c, 1, TYPES_F32, e);
    if (!code && (s->rank != 3 || heads < 1 || s->dims[2] % 3 || s->dims[2] / 3 % heads))
        code = infer_fail(c, e, "the merged input does not divide into heads");
    if (code)
        return code;
    const int64_t full[4] = {s->dims[0], heads, s->dims[1], s->dims[1]};
    for (int i = 1; mask && i <= mask->shape.rank; i++)
        if (i > 4 || (mask->shape.dims[mask->shape.rank - i] != 1 &&
                      mask->shape.dims[mask->shape.rank - i] != full[4 - i]))
            return infer_fail(c, e, "the mask does not broadcast to the scores");
    const struct shape out = {3, {s->dims[0], s->dims[1], s->dims[2] / 3}};
    return infer_output(c, 0, DTYPE_F32, &out, e);
}

static int64_t macs_attention(const struct graph *g, const struct node *n)
{
    const struct shape *s = &g->values[n->inputs[0]].shape;
    int64_t y = shape_elements(&g->values[n->outputs[0]].shape);
    return __builtin_mul_overflow(y, 2 * s->dims[1], &y) ? -1 : y;
}

struct attention {
    int64_t length, depth, width; /* of the sequence, of a head, of a row of qkv */
    const float *q, *k, *v;       /* the head's first row */
    const float *mask;            /* the query's row of it, or NULL */
    int64_t mask_step;
    float scale;
};

/* Scores of the query row against keys first.. first + n - 1; returns the largest. */
static float score(const struct attention *a, int64_t query, int64_t first, int64_t n, float *out)
{
    float best = -INFINITY;
    for (int64_t j = 0; j < n; j++) {
        const float *q = a->q + query * a->width, *k = a->k + (first + j) * a->width;
        float sum = 0;
        for (int64_t d = 0; d < a->depth; d++)
            sum += q[d] * k[d];
        sum *= a->scale;
        if (a->mask)
            sum += a->mask[(first + j) * a->mask_step];
        out[j] = sum;
        best = sum > best ? sum : best;
    }
    return best;
}

/* One query: keys come in blocks, and what was summed up is rescaled when a larger score turns up,
 * so that no row of scores is needed. */
static void attend(const struct attention *a, int64_t query, float *y)
{
    float scores[CHUNK], best = -INFINITY;
    double sum = 0;
    memset(y, 0, (size_t)a->depth * sizeof *y);
    for (int64_t first = 0; first < a->length; first += CHUNK) {
        int64_t n = a->length - first < CHUNK ? a->length - first : CHUNK;
        float largest = score(a, query, first, n, scores);
        if (largest > best) {
            float factor = best == -INFINITY ? 0 : expf(best - largest);
            sum *= (double)factor;
            for (int64_t d = 0; d < a->depth; d++)
                y[d] *= factor;
            best = largest;
        }
        for (int64_t j = 0; j < n; j++) {
            float weight = expf(scores[j] - best);
            const float *v = a->v + (first + j) * a->width;
            sum += (double)weight;
            for (int64_t d = 0; d < a->depth; d++)
                y[d] += weight * v[d];
        }
    }
    float factor = (float)(1 / sum);
    for (int64_t d = 0; d < a->depth; d++)
        y[d] *= factor;
}

/* Strides of the mask over B, H, S, S; 0 where it broadcasts. */
static void mask_strides(const struct tensor *mask, int64_t strides[4])
{
    int64_t own[RANK_MAX];
    shape_strides(&mask->shape, own);
    memset(strides, 0, 4 * sizeof *strides);
    for (int i = 1; i <= mask->shape.rank; i++)
        if (mask->shape.dims[mask->shape.rank - i] != 1)
            strides[4 - i] = own[mask->shape.rank - i];
}

static int run_attention(const struct node *n, const struct tensor *in, struct tensor *out,
                         struct error *e)
{
    (void)e;
    int64_t batch = out->shape.dims[0], length = out->shape.dims[1], width = out->shape.dims[2];
    int64_t heads = n->a.heads, depth = width / heads, strides[4];
    mask_strides(&in[1], strides);
#pragma omp parallel for schedule(static)
    for (int64_t job = 0; job < batch * heads * length; job++) {
        int64_t b = job / length / heads, h = job / length % heads, s = job % length;
        const float *q = (const float *)in->data + b * length * 3 * width + h * depth;
        const float *mask = in[1].data;
        if (mask)
            mask += b * strides[0] + h * strides[1] + s * strides[2];
        struct attention a = {length, depth, 3 * width, q, q + width, q + 2 * width,
                              mask, strides[3], n->a.scale};
        attend(&a, s, (float *)out->data + (b * length + s) * width + h * depth);
    }
    return 0;
}

const struct op op_fused_conv = {
    .name = "Conv", .domain = "wattle", .since = 1, .until = 99, .inputs_min = 2, .inputs_max = 4,
    .outputs_max = 1, .infer = infer_fused_conv, .reference = run_fused_conv, .macs = macs_conv};
const struct op op_linear = {
    .name = "Linear", .domain = "wattle", .since = 1, .until = 99, .inputs_min = 2,
    .inputs_max = 4, .outputs_max = 1, .infer = infer_linear, .reference = run_linear,
    .macs = macs_linear};
const struct op op_layer_norm = {
    .name = "LayerNorm", .domain = "wattle", .since = 1, .until = 99, .inputs_min = 3,
    .inputs_max = 3, .outputs_max = 1, .infer = infer_layer_norm, .reference = run_layer_norm};
const struct op op_gelu = {
    .name = "Gelu", .domain = "wattle", .since = 1, .until = 99, .inputs_min = 1, .inputs_max = 1,
    .outputs_max = 1, .infer = infer_function, .reference = run_gelu};
const struct op op_swish = {
    .name = "Swish", .domain = "wattle", .since = 1, .until = 99, .inputs_min = 1, .inputs_max = 1,
    .outputs_max = 1, .infer = infer_function, .reference = run_swish};
const struct op op_batch_norm = {
    .name = "BatchNorm", .domain = "wattle", .since = 1, .until = 99, .inputs_min = 5,
    .inputs_max = 5, .outputs_max = 1, .infer = infer_function,
    .reference = run_fused_batch_norm};
const struct op op_attention = {
    .name = "Attention", .domain = "wattle", .since = 1, .until = 99, .inputs_min = 1,
    .inputs_max = 2, .outputs_max = 1, .infer = infer_attention, .reference = run_attention,
    .macs = macs_attention};
