/* Products of 8-bit integers in 32-bit ones: MatMulInteger, ConvInteger, QLinearMatMul, QLinearConv.
 * Sums wrap, as they do on every processor that has such instructions. */
#include "engine/ops/ops.h"
#include "engine/simd.h"

#include <string.h>

#define TYPES_BYTE (TYPE_BIT(DTYPE_U8) | TYPE_BIT(DTYPE_I8))

/* Where the inputs of an operator are; -1: it has no such input. */
struct places {
    int a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero, bias;
};
static const struct places of_integer = {0, -1, 2, 1, -1, 3, -1, -1, -1};
static const struct places of_linear = {0, 1, 2, 3, 4, 5, 6, 7, 8};

static const struct places *places_of(const struct node *n)
{
    return n->op->detail;
}

static int check_types(const struct infer_context *c, const struct places *p, struct error *e)
{
    const int bytes[] = {p->a, p->a_zero, p->b, p->b_zero, p->y_zero};
    const int scales[] = {p->a_scale, p->b_scale, p->y_scale};
    int code = 0;
    for (int i = 0; i < 5 && !code; i++)
        code = bytes[i] < 0 ? 0 : infer_type(c, bytes[i], TYPES_BYTE, e);
    for (int i = 0; i < 3 && !code; i++)
        code = scales[i] < 0 ? 0 : infer_type(c, scales[i], TYPES_F32, e);
    const struct value *a = infer_input(c, p->a), *a_zero = infer_input(c, p->a_zero);
    const struct value *b = infer_input(c, p->b), *b_zero = infer_input(c, p->b_zero);
    if (!code && ((a_zero && a_zero->type != a->type) || (b_zero && b_zero->type != b->type)))
        code = infer_fail(c, e, "a zero point of another type than what it belongs to");
    return code;
}

/* One number, or `size` of them in that dimension, counted from the end, of a tensor that has 1
 * where x has others; or just a list of them. */
static int check_spread(const struct infer_context *c, int index, const struct shape *x,
                        int from_end, int64_t size, struct error *e)
{
    const struct value *v = index < 0 ? NULL : infer_input(c, index);
    if (!v || shape_elements(&v->shape) == 1 || (v->shape.rank == 1 && v->shape.dims[0] == size))
        return 0;
    int fits = x && v->shape.rank == x->rank && x->rank >= 2;
    for (int i = 0; i < v->shape.rank && fits; i++)
        fits = v->shape.dims[i] ==
               (i < x->rank - 2 || i == x->rank - from_end ? x->dims[i] : 1);
    char s[96];
    return fits ? 0 : infer_fail(c, e, "input %d of shape %s fits neither the whole nor %lld parts",
                                 index, shape_text(&v->shape, s, sizeof s), (long long)size);
}

static int check_single(const struct infer_context *c, int index, struct error *e)
{
    const struct value *v = index < 0 ? NULL : infer_input(c, index);
    return !v || shape_elements(&v->shape) == 1
               ? 0 : infer_fail(c, e, "input %d is not one number", index);
}

static enum dtype output_type(const struct infer_context *c, const struct places *p)
{
    return p->y_zero < 0 ? DTYPE_I32 : infer_input(c, p->y_zero)->type;
}

/* ---- numbers ---- */

static int32_t byte_at(const struct tensor *t, int64_t i)
{
    return t->type == DTYPE_I8 ? ((const int8_t *)t->data)[i] : ((const uint8_t *)t->data)[i];
}

/* Entry i of what check_spread let pass; 0 when there is none. */
static int32_t zero_at(const struct tensor *in, int index, int64_t i)
{
    const struct tensor *t = &in[index];
    if (!t->data)
        return 0;
    return byte_at(t, shape_elements(&t->shape) == 1 ? 0 : i);
}

static float scale_at(const struct tensor *in, int index, int64_t i)
{
    const struct tensor *t = &in[index];
    return ((const float *)t->data)[shape_elements(&t->shape) == 1 ? 0 : i];
}

/* sum += weight * (x[i * stride] - zero) */
SIMD_CLONES
static void add_signed(int32_t *restrict sum, const int8_t *restrict x, int32_t weight,
                       int32_t zero, int64_t stride, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        sum[i] = (int32_t)((uint32_t)sum[i] + (uint32_t)(weight * (x[i * stride] - zero)));
}

SIMD_CLONES
static void add_unsigned(int32_t *restrict sum, const uint8_t *restrict x, int32_t weight,
                         int32_t zero, int64_t stride, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        sum[i] = (int32_t)((uint32_t)sum[i] + (uint32_t)(weight * (x[i * stride] - zero)));
}

static void add_scaled(int32_t *sum, const struct tensor *x, int64_t at, int32_t weight,
                       int32_t zero, int64_t stride, int64_t n)
{
    if (x->type == DTYPE_I8)
        add_signed(sum, (const int8_t *)x->data + at, weight, zero, stride, n);
    else
        add_unsigned(sum, (const uint8_t *)x->data + at, weight, zero, stride, n);
}

/* ---- matrices ---- */

static int infer_matmul(const struct infer_context *c, struct error *e)
{
    const struct places *p = places_of(c->node);
    const struct shape *a = &infer_input(c, p->a)->shape, *b = &infer_input(c, p->b)->shape;
    struct matmul_shape s;
    struct shape out;
    char t[96], u[96];
    int code = check_types(c, p, e);
    if (code)
        return code;
    if (a->rank < 1 || b->rank < 1 || matmul_shape(a, b, &s))
        return infer_fail(c, e, "%s and %s cannot be multiplied", shape_text(a, t, sizeof t),
                          shape_text(b, u, sizeof u));
    code = check_spread(c, p->a_zero, a, 2, s.m, e);
    if (!code)
        code = check_spread(c, p->a_scale, a, 2, s.m, e);
    if (!code)
        code = check_spread(c, p->b_zero, b, 1, s.n, e);
    if (!code)
        code = check_spread(c, p->b_scale, b, 1, s.n, e);
    if (!code)
        code = check_single(c, p->y_scale, e);
    if (!code)
        code = check_single(c, p->y_zero, e);
    matmul_output(a, b, &s, &out);
    return code ? code : infer_output(c, 0, output_type(c, p), &out, e);
}

static int64_t macs_matmul(const struct graph *g, const struct node *n)
{
    const struct shape *a = &g->values[n->inputs[places_of(n)->a]].shape;
    int64_t y = shape_elements(&g->values[n->outputs[0]].shape);
    return y < 0 || __builtin_mul_overflow(y, a->dims[a->rank - 1], &y) ? -1 : y;
}

/* The product of one pair of matrices: which they are, and where they begin. */
struct product {
    const struct matmul_shape *s;
    int64_t a_batch, b_batch, y;
};

/* Whether entries of scale or zero point differ between matrices of a batch. */
static int is_per_batch(const struct tensor *t)
{
    return t->data && t->shape.rank > 1 && shape_elements(&t->shape) > 1;
}

static void write_row(const struct places *p, const struct tensor *in, struct tensor *out,
                      const struct product *m, const int32_t *sum, int64_t i, int64_t j, int64_t n)
{
    int64_t at = m->y + i * m->s->n + j;
    if (p->y_scale < 0) {
        memcpy((int32_t *)out->data + at, sum, (size_t)n * sizeof *sum);
        return;
    }
    double y[CHUNK], zero = zero_at(in, p->y_zero, 0);
    int64_t row = i + (is_per_batch(&in[p->a_scale]) ? m->a_batch * m->s->m : 0);
    int64_t column = j + (is_per_batch(&in[p->b_scale]) ? m->b_batch * m->s->n : 0);
    float a_scale = scale_at(in, p->a_scale, row), y_scale = scale_at(in, p->y_scale, 0);
    for (int64_t k = 0; k < n; k++) {
        float scale = a_scale * scale_at(in, p->b_scale, column + k) / y_scale;
        y[k] = quantized(out->type, (double)((float)sum[k] * scale), zero);
    }
    store_real(out->type, out->data, at, n, y);
}

/* Columns j.. of row i. */
static void multiply_row(const struct places *p, const struct tensor *in, struct tensor *out,
                         const struct product *m, int64_t i, int64_t j)
{
    const struct matmul_shape *s = m->s;
    int64_t n = s->n - j < CHUNK ? s->n - j : CHUNK;
    int64_t row = i + (is_per_batch(&in[p->a_zero]) ? m->a_batch * s->m : 0);
    int64_t column = j + (is_per_batch(&in[p->b_zero]) ? m->b_batch * s->n : 0);
    int32_t sum[CHUNK] = {0}, a_zero = zero_at(in, p->a_zero, row), total = 0;
    int spread = in[p->b_zero].data && shape_elements(&in[p->b_zero].shape) > 1;
    int32_t b_zero = spread ? 0 : zero_at(in, p->b_zero, 0);
    for (int64_t k = 0; k < s->k; k++) {
        int32_t a = byte_at(&in[p->a], (m->a_batch * s->m + i) * s->k + k) - a_zero;
        total = (int32_t)((uint32_t)total + (uint32_t)a);
        add_scaled(sum, &in[p->b], (m->b_batch * s->k + k) * s->n + j, a, b_zero, 1, n);
    }
    for (int64_t k = 0; k < n && spread; k++)
        sum[k] = (int32_t)((uint32_t)sum[k] -
                           (uint32_t)total * (uint32_t)zero_at(in, p->b_zero, column + k));
    write_row(p, in, out, m, sum, i, j, n);
}

static void multiply(const struct places *p, const struct tensor *in, struct tensor *out,
                     const struct product *m)
{
    int64_t across = (m->s->n + CHUNK - 1) / CHUNK;
#pragma omp parallel for schedule(static)
    for (int64_t job = 0; job < m->s->m * across; job++)
        multiply_row(p, in, out, m, job / across, job % across * CHUNK);
}

static int run_matmul(const struct node *node, const struct tensor *in, struct tensor *out,
                      struct error *e)
{
    (void)e;
    const struct places *p = places_of(node);
    struct matmul_shape s;
    struct walk w;
    if (shape_elements(&out->shape) == 0)
        return 0;
    matmul_shape(&in[p->a].shape, &in[p->b].shape, &s);
    matmul_walk(&s, &w);
    for (int more = walk_begin(&w); more; more = walk_next(&w))
        for (int64_t i = 0; i < w.count; i++) {
            const struct product m = {&s, w.offset[1] + i * w.step[1], w.offset[2] + i * w.step[2],
                                      (w.offset[0] + i * w.step[0]) * s.m * s.n};
            multiply(p, in, out, &m);
        }
    return 0;
}

/* ---- convolutions ---- */

static int infer_conv_integer(const struct infer_context *c, struct error *e)
{
    const struct places *p = places_of(c->node);
    const struct value *w = infer_input(c, p->b);
    const struct value *bias = p->bias < 0 ? NULL : infer_input(c, p->bias);
    struct shape out = {0};
    int code = check_types(c, p, e);
    if (!code && p->bias >= 0)
        code = infer_type(c, p->bias, TYPE_BIT(DTYPE_I32), e);
    if (!code)
        code = infer_conv_shape(c, infer_input(c, p->a), w, &out, e);
    const int single[] = {p->a_scale, p->a_zero, p->y_scale, p->y_zero};
    for (int i = 0; i < 4 && !code; i++)
        code = check_single(c, single[i], e);
    if (!code)
        code = check_spread(c, p->b_scale, NULL, 0, w->shape.dims[0], e);
    if (!code)
        code = check_spread(c, p->b_zero, NULL, 0, w->shape.dims[0], e);
    if (!code && bias && (bias->shape.rank != 1 || bias->shape.dims[0] != w->shape.dims[0]))
        code = infer_fail(c, e, "there is not one bias for each output channel");
    return code ? code : infer_output(c, 0, output_type(c, p), &out, e);
}

static int64_t macs_conv_integer(const struct graph *g, const struct node *n)
{
    const struct shape *w = &g->values[n->inputs[places_of(n)->b]].shape;
    int64_t y = shape_elements(&g->values[n->outputs[0]].shape);
    for (int i = 1; i < w->rank && y >= 0; i++)
        if (__builtin_mul_overflow(y, w->dims[i], &y))
            y = -1;
    return y;
}

struct conv {
    const struct places *p;
    const struct tensor *in;
    struct window w;
    int64_t channels; /* of a group */
    int32_t x_zero;
};

/* Adds one row of one input channel, weighted by one row of the window, to outputs first.. of an
 * output row. */
static void add_taps(const struct conv *c, int64_t x, int64_t weight, int32_t w_zero, int64_t first,
                     int64_t n, int32_t *sum)
{
    for (int64_t k = 0; k < c->w.kernel[2]; k++) {
        int64_t begin, end;
        conv_range(&c->w, k, &begin, &end);
        begin = begin > first ? begin : first;
        end = end < first + n ? end : first + n;
        if (begin < end)
            add_scaled(sum + (begin - first), &c->in[c->p->a],
                       x + begin * c->w.stride[2] + k * c->w.dilation[2] - c->w.pad[2],
                       byte_at(&c->in[c->p->b], weight + k) - w_zero, c->x_zero, c->w.stride[2],
                       end - begin);
    }
}

/* Outputs first.. of row (od, oh) of output channel o; x: where the image's group begins. */
static void conv_row(const struct conv *c, int64_t x, int64_t o, int64_t od, int64_t oh,
                     int64_t first, int64_t n, int32_t *sum)
{
    const struct window *w = &c->w;
    int32_t w_zero = zero_at(c->in, c->p->b_zero, o);
    int64_t taps = w->kernel[0] * w->kernel[1];
    for (int64_t i = 0; i < c->channels * taps; i++) {
        int64_t d = od * w->stride[0] + i / w->kernel[1] % w->kernel[0] * w->dilation[0] - w->pad[0];
        int64_t h = oh * w->stride[1] + i % w->kernel[1] * w->dilation[1] - w->pad[1];
        if (d >= 0 && d < w->x[0] && h >= 0 && h < w->x[1])
            add_taps(c, x + ((i / taps * w->x[0] + d) * w->x[1] + h) * w->x[2],
                     (o * c->channels * taps + i) * w->kernel[2], w_zero, first, n, sum);
    }
}

static void write_outputs(const struct conv *c, struct tensor *out, int64_t o, int64_t at, int64_t n,
                          int32_t *sum)
{
    const struct places *p = c->p;
    if (p->y_scale < 0) {
        memcpy((int32_t *)out->data + at, sum, (size_t)n * sizeof *sum);
        return;
    }
    const int32_t *bias = c->in[p->bias].data;
    float scale = scale_at(c->in, p->a_scale, 0) * scale_at(c->in, p->b_scale, o) /
                  scale_at(c->in, p->y_scale, 0);
    double y[CHUNK], zero = zero_at(c->in, p->y_zero, 0);
    for (int64_t i = 0; i < n; i++) {
        int32_t whole = (int32_t)((uint32_t)sum[i] + (uint32_t)(bias ? bias[o] : 0));
        y[i] = quantized(out->type, (double)((float)whole * scale), zero);
    }
    store_real(out->type, out->data, at, n, y);
}

static int run_conv_integer(const struct node *n, const struct tensor *in, struct tensor *out,
                            struct error *e)
{
    (void)e;
    const struct places *p = places_of(n);
    struct conv c = {.p = p, .in = in, .channels = in[p->b].shape.dims[1],
                     .x_zero = zero_at(in, p->a_zero, 0)};
    window_make(n, &in[p->a].shape, &out->shape, &c.w);
    int64_t outputs = out->shape.dims[1], per_group = outputs / n->a.group;
    int64_t rows = c.w.y[0] * c.w.y[1], x_plane = c.w.x[0] * c.w.x[1] * c.w.x[2];
#pragma omp parallel for schedule(static)
    for (int64_t job = 0; job < out->shape.dims[0] * outputs * rows; job++) {
        int64_t row = job % rows, o = job / rows % outputs, image = job / rows / outputs;
        int64_t x = (image * n->a.group + o / per_group) * c.channels * x_plane;
        for (int64_t first = 0; first < c.w.y[2]; first += CHUNK) {
            int64_t count = c.w.y[2] - first < CHUNK ? c.w.y[2] - first : CHUNK;
            int32_t sum[CHUNK] = {0};
            conv_row(&c, x, o, row / c.w.y[1], row % c.w.y[1], first, count, sum);
            write_outputs(&c, out, o, job * c.w.y[2] + first, count, sum);
        }
    }
    return 0;
}

static const struct op ops[] = {
    {OP_SINCE(10, 99, "MatMulInteger", 2, 4, 1, infer_matmul, run_matmul), .macs = macs_matmul,
     .detail = &of_integer},
    {OP_SINCE(10, 99, "QLinearMatMul", 8, 8, 1, infer_matmul, run_matmul), .macs = macs_matmul,
     .detail = &of_linear},
    {OP_SINCE(10, 99, "ConvInteger", 2, 4, 1, infer_conv_integer, run_conv_integer),
     .macs = macs_conv_integer, .detail = &of_integer},
    {OP_SINCE(10, 99, "QLinearConv", 8, 9, 1, infer_conv_integer, run_conv_integer),
     .macs = macs_conv_integer, .detail = &of_linear},
};
const struct op_family family_integer = OP_FAMILY(ops);
