/* DFT and STFT, and what goes with them: HannWindow, HammingWindow, BlackmanWindow, MelWeightMatrix.
 */
#include "engine/ops/ops.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const double pi = 3.14159265358979323846;

/* The one number of an input that must be known at load. */
static int read_number(const struct infer_context *c, int index, const char *what, int64_t *out,
                       struct error *e)
{
    size_t count = 0;
    const struct value *v = infer_input(c, index);
    if (v && shape_elements(&v->shape) != 1)
        return infer_fail(c, e, "input '%s' is not one number", what);
    return infer_constant_ints(c, index, what, out, 1, &count, e);
}

static int read_type(const struct infer_context *c, enum dtype *type, struct error *e)
{
    int64_t given;
    int code = infer_attribute_int(c, "output_datatype", DTYPE_F32, &given, e);
    if (!code && (given < 1 || given >= 32 || !(TYPES_NUMBER & TYPE_BIT(given))))
        code = infer_unsupported(c, e, "attribute 'output_datatype' is %" PRId64, given);
    *type = code ? DTYPE_NONE : (enum dtype)given;
    return code;
}

/* ---- windows ---- */

/* weights[0] + weights[1] cos(t) + weights[2] cos(2t), t once around. */
static const double hann[] = {0.5, -0.5, 0}, hamming[] = {25.0 / 46, -21.0 / 46, 0},
                    blackman[] = {0.42, -0.5, 0.08};

static int infer_window(const struct infer_context *c, struct error *e)
{
    struct shape out = {.rank = 1};
    enum dtype type = DTYPE_NONE;
    int64_t periodic = 1;
    int code = infer_attribute_int(c, "periodic", 1, &periodic, e);
    if (!code)
        code = read_type(c, &type, e);
    if (!code)
        code = read_number(c, 0, "size", &out.dims[0], e);
    if (!code && out.dims[0] < 0)
        code = infer_fail(c, e, "a window of size %" PRId64, out.dims[0]);
    c->node->a.mode = periodic != 0;
    return code ? code : infer_output(c, 0, type, &out, e);
}

static int run_window(const struct node *n, const struct tensor *in, struct tensor *out,
                      struct error *e)
{
    (void)in, (void)e;
    const double *weights = n->op->detail;
    int64_t size = out->shape.dims[0], around = n->a.mode ? size : size - 1;
    for (int64_t i = 0; i < size; i++) {
        double t = around ? 2 * pi * (double)i / (double)around : pi; /* one alone is the top */
        double y = weights[0] + weights[1] * cos(t) + weights[2] * cos(2 * t);
        store_real(out->type, out->data, i, 1, &y);
    }
    return 0;
}

/* ---- MelWeightMatrix ---- */

static int infer_mel(const struct infer_context *c, struct error *e)
{
    int64_t bins = 0, length = 0;
    enum dtype type = DTYPE_NONE;
    int code = read_type(c, &type, e);
    if (!code)
        code = read_number(c, 0, "num_mel_bins", &bins, e);
    if (!code)
        code = read_number(c, 1, "dft_length", &length, e);
    for (int i = 2; i < 5 && !code; i++) {
        code = infer_type(c, i, i == 2 ? TYPES_INDEX : TYPES_REAL, e);
        if (!code && shape_elements(&infer_input(c, i)->shape) != 1)
            code = infer_fail(c, e, "input %d is not one number", i);
    }
    if (!code && (bins < 0 || length < 0 || bins > INT32_MAX || length > INT32_MAX))
        code = infer_fail(c, e, "%" PRId64 " bands of a transform of %" PRId64, bins, length);
    return code ? code : infer_output(c, 0, type, &(struct shape){2, {length / 2 + 1, bins}}, e);
}

struct mel {
    double low, step; /* in mels */
    double length, rate;
};

/* The frequency bin where band edge i lies. */
static double edge(const struct mel *m, int64_t i)
{
    double hertz = 700 * (pow(10, (m->low + (double)i * m->step) / 2595) - 1);
    return floor((m->length + 1) * hertz / m->rate);
}

/* How much of bin x a triangle between three edges takes. */
static double triangle(double x, double left, double centre, double right)
{
    if (x == centre || x < left || x > right)
        return x == centre;
    return x < centre ? (x - left) / (centre - left) : (right - x) / (right - centre);
}

static int run_mel(const struct node *n, const struct tensor *in, struct tensor *out,
                   struct error *e)
{
    (void)n, (void)e;
    double v[5];
    int64_t rows = out->shape.dims[0], bands = out->shape.dims[1];
    for (int i = 0; i < 5; i++)
        load_real(in[i].type, in[i].data, 0, 1, 1, &v[i]);
    double low = 2595 * log10(1 + v[3] / 700), high = 2595 * log10(1 + v[4] / 700);
    const struct mel m = {low, (high - low) / (double)(bands + 2), v[1], v[2]};
    for (int64_t b = 0; b < bands; b++) {
        double left = edge(&m, b), centre = edge(&m, b + 1), right = edge(&m, b + 2);
        for (int64_t r = 0; r < rows; r++) {
            double y = triangle((double)r, left, centre, right);
            store_real(out->type, out->data, r * bands + b, 1, &y);
        }
    }
    return 0;
}

/* ---- the transform ---- */

/* cos and sin of each of n steps around; in the graph's memory, which bounds n. */
struct circle {
    int64_t n;
    const double *points; /* 2 n */
};

static int make_circle(const struct infer_context *c, int64_t n, struct error *e)
{
    if (n < 1 || n > INT32_MAX)
        return infer_fail(c, e, "a transform of length %" PRId64, n);
    struct circle *circle = arena_alloc(&c->graph->arena, sizeof *circle);
    double *points = graph_memory(c->graph, 2 * (size_t)n * sizeof *points);
    if (!circle || !points || infer_spend(c, n * 16))
        return infer_unsupported(c, e, "a transform of length %" PRId64 ": it takes too much memory "
                                 "or time when the model is loaded", n);
    for (int64_t i = 0; i < n; i++) {
        points[2 * i] = cos(2 * pi * (double)i / (double)n);
        points[2 * i + 1] = sin(2 * pi * (double)i / (double)n);
    }
    *circle = (struct circle){n, points};
    c->node->a.plan = circle;
    return 0;
}

/* One line of samples, and where its transform goes. Counts and steps are in elements. */
struct line {
    const struct tensor *x, *window; /* window: NULL, or one weight for each sample */
    int64_t x_at, x_step, count;     /* samples there are: what is missing up to n is 0 */
    int parts;                       /* 1: real, 2: complex */
    struct tensor *y;
    int64_t y_at, y_step, outputs;
    int inverse;
};

/* Samples first.. as pairs, weighted. */
static void load_samples(const struct line *l, int64_t first, int64_t n, double *re, double *im)
{
    int64_t at = l->x_at + first * l->x_step;
    memset(im, 0, (size_t)n * sizeof *im);
    load_real(l->x->type, l->x->data, at, l->x_step, n, re);
    if (l->parts == 2)
        load_real(l->x->type, l->x->data, at + 1, l->x_step, n, im);
    if (!l->window || !l->window->data)
        return;
    double weights[CHUNK];
    load_real(l->window->type, l->window->data, first, 1, n, weights);
    for (int64_t i = 0; i < n; i++) {
        re[i] *= weights[i];
        im[i] *= weights[i];
    }
}

/* Adds samples first.. to output k. */
static void add_samples(const struct circle *c, int64_t k, int64_t first, int64_t n, int inverse,
                        const double *re, const double *im, double sum[2])
{
    int64_t at = (int64_t)((uint64_t)k * (uint64_t)first % (uint64_t)c->n);
    for (int64_t i = 0; i < n; i++) {
        double x = c->points[2 * at], y = inverse ? c->points[2 * at + 1] : -c->points[2 * at + 1];
        sum[0] += re[i] * x - im[i] * y;
        sum[1] += re[i] * y + im[i] * x;
        at += k;
        at -= at >= c->n ? c->n : 0;
    }
}

/* By definition, a block of outputs at a time so that samples are loaded seldom. */
static void transform(const struct circle *c, const struct line *l)
{
    double re[CHUNK], im[CHUNK], sum[CHUNK][2];
    for (int64_t k = 0; k < l->outputs; k += CHUNK) {
        int64_t outputs = l->outputs - k < CHUNK ? l->outputs - k : CHUNK;
        memset(sum, 0, sizeof sum);
        for (int64_t j = 0; j < l->count; j += CHUNK) {
            int64_t n = l->count - j < CHUNK ? l->count - j : CHUNK;
            load_samples(l, j, n, re, im);
            for (int64_t i = 0; i < outputs; i++)
                add_samples(c, k + i, j, n, l->inverse, re, im, sum[i]);
        }
        for (int64_t i = 0; i < outputs; i++) {
            sum[i][0] /= l->inverse ? (double)c->n : 1;
            sum[i][1] /= l->inverse ? (double)c->n : 1;
            store_real(l->y->type, l->y->data, l->y_at + (k + i) * l->y_step, 2, sum[i]);
        }
    }
}

/* ---- DFT: a.axis, a.mode inverse, a.keepdims one-sided ---- */

static int read_dft(const struct infer_context *c, int64_t *length, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    struct attributes *a = &c->node->a;
    int64_t axis = c->opset < 20 ? 1 : -2, inverse = 0, onesided = 0;
    int code = infer_attribute_int(c, "inverse", 0, &inverse, e);
    if (!code)
        code = infer_attribute_int(c, "onesided", 0, &onesided, e);
    if (!code && c->opset < 20)
        code = infer_attribute_int(c, "axis", 1, &axis, e);
    else if (!code && infer_input(c, 2))
        code = read_number(c, 2, "axis", &axis, e);
    if (!code && (x->shape.rank < 2 || x->shape.dims[x->shape.rank - 1] < 1 ||
                  x->shape.dims[x->shape.rank - 1] > 2))
        code = infer_fail(c, e, "the last dimension is neither 1 (real) nor 2 (complex)");
    if (!code)
        code = infer_axis(c, "axis", axis, x->shape.rank, &a->axis, e);
    if (!code && a->axis == x->shape.rank - 1)
        code = infer_fail(c, e, "the axis is the one of the parts of a number");
    if (!code && inverse && onesided)
        code = infer_unsupported(c, e, "an inverse transform of one side");
    a->mode = inverse != 0;
    a->keepdims = onesided != 0;
    *length = code ? 0 : x->shape.dims[a->axis];
    return code || !infer_input(c, 1) ? code : read_number(c, 1, "dft_length", length, e);
}

static int infer_dft(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    struct shape out = x->shape;
    int64_t length = 0;
    int code = infer_type(c, 0, TYPES_REAL, e);
    if (!code)
        code = read_dft(c, &length, e);
    if (!code)
        code = make_circle(c, length, e);
    if (code)
        return code;
    out.dims[c->node->a.axis] = c->node->a.keepdims ? length / 2 + 1 : length;
    out.dims[out.rank - 1] = 2;
    return infer_output(c, 0, infer_input(c, 0)->type, &out, e);
}

static int run_dft(const struct node *n, const struct tensor *in, struct tensor *out,
                   struct error *e)
{
    (void)e;
    const struct circle *circle = n->a.plan;
    const struct shape *x = &in->shape;
    int64_t samples = x->dims[n->a.axis], outputs = out->shape.dims[n->a.axis], inner = 1, outer = 1;
    int64_t parts = x->dims[x->rank - 1];
    for (int i = 0; i < x->rank - 1; i++) {
        outer *= i < n->a.axis ? x->dims[i] : 1;
        inner *= i > n->a.axis ? x->dims[i] : 1;
    }
#pragma omp parallel for schedule(static)
    for (int64_t job = 0; job < outer * inner; job++) {
        int64_t o = job / inner, i = job % inner;
        const struct line l = {
            .x = &in[0], .x_at = (o * samples * inner + i) * parts, .x_step = inner * parts,
            .count = samples < circle->n ? samples : circle->n, .parts = (int)parts, .y = out,
            .y_at = (o * outputs * inner + i) * 2, .y_step = inner * 2, .outputs = outputs,
            .inverse = n->a.mode};
        transform(circle, &l);
    }
    return 0;
}

/* ---- STFT: a.group is the step ---- */

static int infer_stft(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0), *window = infer_input(c, 2);
    int64_t step = 0, length = 0, onesided = 1;
    int code = infer_type(c, 0, TYPES_REAL, e);
    if (!code)
        code = infer_attribute_int(c, "onesided", 1, &onesided, e);
    if (!code)
        code = read_number(c, 1, "frame_step", &step, e);
    if (!code && (x->shape.rank < 2 || x->shape.rank > 3 ||
                  (x->shape.rank == 3 && x->shape.dims[2] != 1 && x->shape.dims[2] != 2)))
        code = infer_fail(c, e, "not signals of real or complex numbers");
    if (!code && window && (window->type != x->type || window->shape.rank != 1))
        code = infer_fail(c, e, "the window is not a list of the signal's type");
    if (code)
        return code;
    length = window ? window->shape.dims[0] : x->shape.dims[1];
    if (infer_input(c, 3))
        code = read_number(c, 3, "frame_length", &length, e);
    if (code)
        return code;
    if (step < 1 || length < 1 || length > x->shape.dims[1] ||
        (window && window->shape.dims[0] != length))
        return infer_fail(c, e, "frames of %" PRId64 " samples every %" PRId64 " of a signal of "
                          "%" PRId64, length, step, x->shape.dims[1]);
    code = make_circle(c, length, e);
    if (code)
        return code;
    c->node->a.group = step;
    const struct shape out = {4, {x->shape.dims[0], (x->shape.dims[1] - length) / step + 1,
                                  onesided ? length / 2 + 1 : length, 2}};
    return infer_output(c, 0, infer_input(c, 0)->type, &out, e);
}

static int run_stft(const struct node *n, const struct tensor *in, struct tensor *out,
                    struct error *e)
{
    (void)e;
    const struct circle *circle = n->a.plan;
    int64_t frames = out->shape.dims[1], outputs = out->shape.dims[2], samples = in->shape.dims[1];
    int64_t parts = in->shape.rank == 3 ? in->shape.dims[2] : 1;
#pragma omp parallel for schedule(static)
    for (int64_t job = 0; job < out->shape.dims[0] * frames; job++) {
        int64_t first = job / frames * samples + job % frames * n->a.group;
        const struct line l = {
            .x = &in[0], .window = &in[2], .x_at = first * parts, .x_step = parts,
            .count = circle->n, .parts = (int)parts, .y = out, .y_at = job * outputs * 2,
            .y_step = 2, .outputs = outputs};
        transform(circle, &l);
    }
    return 0;
}

static const struct op ops[] = {
    {OP_SINCE(17, 99, "HannWindow", 1, 1, 1, infer_window, run_window), .detail = hann},
    {OP_SINCE(17, 99, "HammingWindow", 1, 1, 1, infer_window, run_window), .detail = hamming},
    {OP_SINCE(17, 99, "BlackmanWindow", 1, 1, 1, infer_window, run_window), .detail = blackman},
    {OP_SINCE(17, 99, "MelWeightMatrix", 5, 5, 1, infer_mel, run_mel)},
    {OP_SINCE(17, 19, "DFT", 1, 2, 1, infer_dft, run_dft), .heavy = 1},
    {OP_SINCE(20, 99, "DFT", 1, 3, 1, infer_dft, run_dft), .heavy = 1},
    {OP_SINCE(17, 99, "STFT", 2, 4, 1, infer_stft, run_stft), .heavy = 1},
};
const struct op_family family_spectral = OP_FAMILY(ops);
