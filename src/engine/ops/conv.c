/* Conv. */
#include "engine/ops/ops.h"
#include "engine/simd.h"

#include <inttypes.h>
#include <string.h>

int infer_conv_shape(const struct infer_context *c, const struct value *x, const struct value *w,
                     struct shape *out, struct error *e)
{
    struct attributes *a = &c->node->a;
    char s[96], t[96];
    int code = infer_attribute_int(c, "group", 1, &a->group, e);
    if (code)
        return code;
    if (x->shape.rank < 3 || w->shape.rank != x->shape.rank || a->group < 1 ||
        a->group > w->shape.dims[0] || w->shape.dims[0] % a->group ||
        w->shape.dims[1] != x->shape.dims[1] / a->group || x->shape.dims[1] % a->group)
        return infer_fail(c, e, "input %s does not fit weight %s with group %" PRId64,
                          shape_text(&x->shape, s, sizeof s), shape_text(&w->shape, t, sizeof t),
                          a->group);
    code = window_infer(c, &x->shape, w->shape.dims + 2, out, e);
    out->dims[0] = x->shape.dims[0];
    out->dims[1] = w->shape.dims[0];
    return code;
}

int infer_conv(const struct infer_context *c, struct error *e)
{
    const struct value *w = infer_input(c, 1), *bias = infer_input(c, 2);
    struct shape out = {0};
    char s[96], t[96];
    int code = 0;
    for (int i = 0; i < 3 && !code; i++)
        code = infer_type(c, i, TYPES_F32, e);
    if (!code)
        code = infer_conv_shape(c, infer_input(c, 0), w, &out, e);
    if (!code && bias && (bias->shape.rank != 1 || bias->shape.dims[0] != w->shape.dims[0]))
        code = infer_fail(c, e, "bias %s does not fit weight %s",
                          shape_text(&bias->shape, s, sizeof s),
                          shape_text(&w->shape, t, sizeof t));
    c->node->a.has_bias = bias != NULL;
    return code ? code : infer_output(c, 0, DTYPE_F32, &out, e);
}

int64_t macs_conv(const struct graph *g, const struct node *n)
{
    const struct shape *w = &g->values[n->inputs[1]].shape;
    int64_t y = shape_elements(&g->values[n->outputs[0]].shape), each = 1;
    for (int i = 1; i < w->rank; i++)
        if (__builtin_mul_overflow(each, w->dims[i], &each))
            return -1;
    return __builtin_mul_overflow(y, each, &y) ? -1 : y;
}

void conv_range(const struct window *w, int64_t k, int64_t *first, int64_t *last)
{
    int64_t shift = k * w->dilation[2] - w->pad[2]; /* input = output * stride + shift */
    int64_t stride = w->stride[2], room = w->x[2] - 1 - shift;
    *first = shift < 0 ? (-shift + stride - 1) / stride : 0;
    *last = room < 0 ? 0 : room / stride + 1;
    if (*last > w->y[2])
        *last = w->y[2];
}

/* Rows of up to BLOCK output channels that are computed together, so that the input is read once
 * for all of them. Strides count elements. */
enum { BLOCK = 4 };
struct block {
    float *y;
    const float *weights;
    int64_t y_stride, weight_stride;
    int64_t channels;
};

SIMD_CLONES
static void add_row(float *restrict y, const float *restrict x, float weight, int64_t stride,
                    int64_t n)
{
    if (stride == 1)
        for (int64_t i = 0; i < n; i++)
            y[i] += weight * x[i];
    else
        for (int64_t i = 0; i < n; i++)
            y[i] += weight * x[i * stride];
}

SIMD_CLONES
static void add_rows(float *restrict y0, float *restrict y1, float *restrict y2,
                     float *restrict y3, const float *restrict x, const float *weights,
                     int64_t stride, int64_t n)
{
    float w0 = weights[0], w1 = weights[1], w2 = weights[2], w3 = weights[3];
    for (int64_t i = 0; i < n; i++) {
        float value = x[i * stride];
        y0[i] += w0 * value;
        y1[i] += w1 * value;
        y2[i] += w2 * value;
        y3[i] += w3 * value;
    }
}

/* n elements of every channel, from output position `at` on, for the tap at `tap`. */
static void add_tap(const struct block *b, int64_t at, const float *x, int64_t tap, int64_t stride,
                    int64_t n)
{
    float weights[BLOCK];
    float *y = b->y + at;
    for (int64_t c = 0; c < b->channels; c++)
        weights[c] = b->weights[c * b->weight_stride + tap];
    if (b->channels == BLOCK && n > 1) {
        add_rows(y, y + b->y_stride, y + 2 * b->y_stride, y + 3 * b->y_stride, x, weights, stride,
                 n);
        return;
    }
    for (int64_t c = 0; c < b->channels; c++)
        add_row(y + c * b->y_stride, x, weights[c], stride, n);
}

/* Adds one input channel's part, for the window row that starts at `tap`, to one output row. */
static void add_taps(const struct window *w, const float *x, int64_t tap, int64_t row,
                     const struct block *b)
{
    for (int64_t k = 0; k < w->kernel[2]; k++) {
        int64_t first, last;
        conv_range(w, k, &first, &last);
        if (first < last)
            add_tap(b, row + first, x + first * w->stride[2] + k * w->dilation[2] - w->pad[2],
                    tap + k, w->stride[2], last - first);
    }
}

/* One output row (od, oh): every input channel and window row of the group. */
static void conv_row(const struct window *w, int64_t channels, const float *x, int64_t od,
                     int64_t oh, const struct block *b)
{
    int64_t plane = w->x[1] * w->x[2], taps = w->kernel[1] * w->kernel[2];
    int64_t row = (od * w->y[1] + oh) * w->y[2];
    for (int64_t c = 0; c < channels; c++, x += w->x[0] * plane)
        for (int64_t kd = 0; kd < w->kernel[0]; kd++) {
            int64_t d = od * w->stride[0] + kd * w->dilation[0] - w->pad[0];
            if (d < 0 || d >= w->x[0])
                continue;
            for (int64_t kh = 0; kh < w->kernel[1]; kh++) {
                int64_t h = oh * w->stride[1] + kh * w->dilation[1] - w->pad[1];
                int64_t tap = (c * w->kernel[0] + kd) * taps + kh * w->kernel[2];
                if (h >= 0 && h < w->x[1])
                    add_taps(w, x + d * plane + h * w->x[2], tap, row, b);
            }
        }
}

/* A 1x1 convolution without strides or padding sees one long row. */
static void flatten_window(struct window *w)
{
    for (int i = 0; i < 3; i++)
        if (w->kernel[i] != 1 || w->stride[i] != 1 || w->pad[i] || w->x[i] != w->y[i])
            return;
    w->x[2] *= w->x[1] * w->x[0];
    w->x[0] = w->x[1] = 1;
    memcpy(w->y, w->x, sizeof w->y);
}

int run_conv(const struct node *n, const struct tensor *in, struct tensor *out, struct error *e)
{
    (void)e;
    const struct shape *ws = &in[1].shape;
    struct window w;
    window_make(n, &in[0].shape, &out->shape, &w);
    flatten_window(&w);
    int64_t channels = ws->dims[1], groups = n->a.group, per_group = ws->dims[0] / groups;
    int64_t x_plane = w.x[0] * w.x[1] * w.x[2], y_plane = w.y[0] * w.y[1] * w.y[2];
    int64_t weight_size = channels * w.kernel[0] * w.kernel[1] * w.kernel[2];
    int64_t blocks = (per_group + BLOCK - 1) / BLOCK;
    const float *bias = n->a.has_bias ? in[2].data : NULL;
#pragma omp parallel for schedule(static)
    for (int64_t job = 0; job < out->shape.dims[0] * groups * blocks; job++) {
        int64_t part = job / blocks, first = job % blocks * BLOCK; /* part: image and group */
        int64_t o = part % groups * per_group + first;
        const float *x = (const float *)in[0].data + part * channels * x_plane;
        struct block b = {(float *)out->data + (part * per_group + first) * y_plane,
                          (const float *)in[1].data + o * weight_size, y_plane, weight_size,
                          per_group - first < BLOCK ? per_group - first : BLOCK};
        for (int64_t i = 0; i < b.channels * y_plane; i++)
            b.y[i] = bias ? bias[o + i / y_plane] : 0;
        for (int64_t row = 0; row < w.y[0] * w.y[1]; row++)
            conv_row(&w, channels, x, row / w.y[1], row % w.y[1], &b);
    }
    return 0;
}

static const struct op ops[] = {
    {OP("Conv", 2, 3, 1, infer_conv, run_conv), .macs = macs_conv},
};
const struct op_family family_conv = OP_FAMILY(ops);
