/* ConvTranspose. pads_begin and pads_end are final when infer is done; the window is placed over
 * the OUTPUT: input position i adds to output positions i * stride + k * dilation - pad. */
#include "engine/ops/ops.h"

#include <inttypes.h>
#include <string.h>

static const int64_t window_max = (int64_t)1 << 30;
static const char *const auto_pad_names[] = {"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", NULL};
enum { PAD_NOTSET, PAD_SAME_UPPER, PAD_SAME_LOWER };

/* One list of numbers, each at least `low`; absent ones are `fallback`. *given: the list is there. */
static int read_list(const struct infer_context *c, const char *name, int count, int64_t low,
                     int64_t fallback, int64_t *out, int *given, struct error *e)
{
    const int64_t *list;
    size_t n;
    int code = infer_attribute_ints(c, name, (size_t)count, (size_t)count, &list, &n, e);
    *given = list != NULL;
    for (int i = 0; i < count && !code; i++) {
        out[i] = list ? list[i] : fallback;
        if (list && (list[i] < low || list[i] > window_max))
            code = infer_fail(c, e, "attribute '%s' has the entry %" PRId64, name, list[i]);
    }
    return code;
}

struct numbers {
    int64_t pads[6], extra[3], wanted[3];
    int has_wanted, auto_pad;
};

static int read_all(const struct infer_context *c, const struct shape *w, struct numbers *m,
                    struct error *e)
{
    struct attributes *a = &c->node->a;
    int given, n = a->spatial;
    int code = read_list(c, "kernel_shape", n, 1, 1, a->kernel, &given, e);
    for (int i = 0; i < n && !code; i++)
        if (given && a->kernel[i] != w->dims[2 + i])
            code = infer_fail(c, e, "attribute 'kernel_shape' differs from the weight");
    memcpy(a->kernel, w->dims + 2, (size_t)n * sizeof *a->kernel);
    if (!code)
        code = read_list(c, "strides", n, 1, 1, a->strides, &given, e);
    if (!code)
        code = read_list(c, "dilations", n, 1, 1, a->dilations, &given, e);
    if (!code)
        code = read_list(c, "pads", 2 * n, 0, 0, m->pads, &given, e);
    if (!code)
        code = read_list(c, "output_padding", n, 0, 0, m->extra, &given, e);
    if (!code)
        code = read_list(c, "output_shape", n, 0, 0, m->wanted, &m->has_wanted, e);
    return code ? code
                : infer_attribute_name(c, "auto_pad", auto_pad_names, PAD_NOTSET, &m->auto_pad, e);
}

/* The output's size; when that is given, the padding follows from it. */
static int64_t size_of(struct attributes *a, const struct numbers *m, int i, int64_t x)
{
    int64_t extent = (a->kernel[i] - 1) * a->dilations[i] + 1;
    int64_t full = (x - 1) * a->strides[i] + extent + m->extra[i];
    int same = m->auto_pad == PAD_SAME_UPPER || m->auto_pad == PAD_SAME_LOWER;
    a->pads_begin[i] = m->pads[i];
    a->pads_end[i] = m->pads[a->spatial + i];
    if (!m->has_wanted && !same)
        return full - (m->auto_pad == PAD_NOTSET ? a->pads_begin[i] + a->pads_end[i] : 0);
    int64_t y = m->has_wanted ? m->wanted[i] : x * a->strides[i];
    int64_t total = full - y > 0 ? full - y : 0;
    a->pads_begin[i] = m->auto_pad == PAD_SAME_UPPER ? total / 2 : total - total / 2;
    a->pads_end[i] = total - a->pads_begin[i];
    return y;
}

static int infer_conv_transpose(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0), *w = infer_input(c, 1), *bias = infer_input(c, 2);
    struct attributes *a = &c->node->a;
    struct numbers m = {0};
    char s[96], t[96];
    int code = 0;
    for (int i = 0; i < 3 && !code; i++)
        code = infer_type(c, i, TYPES_F32, e);
    if (!code)
        code = infer_attribute_int(c, "group", 1, &a->group, e);
    if (code)
        return code;
    a->spatial = x->shape.rank - 2;
    a->has_bias = bias != NULL;
    if (a->spatial < 1 || a->spatial > 3 || w->shape.rank != x->shape.rank || a->group < 1 ||
        w->shape.dims[0] != x->shape.dims[1] || w->shape.dims[0] % a->group ||
        a->group > window_max || w->shape.dims[1] > window_max ||
        (bias && (bias->shape.rank != 1 || bias->shape.dims[0] != w->shape.dims[1] * a->group)))
        return infer_fail(c, e, "input %s and bias do not fit weight %s with group %" PRId64,
                          shape_text(&x->shape, s, sizeof s), shape_text(&w->shape, t, sizeof t),
                          a->group);
    struct shape out = {x->shape.rank, {x->shape.dims[0], w->shape.dims[1] * a->group}};
    code = read_all(c, &w->shape, &m, e);
    for (int i = 0; i < a->spatial && !code; i++) {
        int64_t size = x->shape.dims[2 + i];
        if (size > window_max || a->kernel[i] < 1 || a->kernel[i] > window_max)
            return infer_unsupported(c, e, "sizes of this magnitude");
        out.dims[2 + i] = size_of(a, &m, i, size);
        if (out.dims[2 + i] < 0 || out.dims[2 + i] > window_max)
            code = infer_fail(c, e, "an output dimension of %" PRId64, out.dims[2 + i]);
    }
    return code ? code : infer_output(c, 0, DTYPE_F32, &out, e);
}

static int64_t macs(const struct graph *g, const struct node *n)
{
    const struct shape *w = &g->values[n->inputs[1]].shape;
    int64_t x = shape_elements(&g->values[n->inputs[0]].shape), each = 1;
    for (int i = 1; i < w->rank; i++)
        if (__builtin_mul_overflow(each, w->dims[i], &each))
            return -1;
    return __builtin_mul_overflow(x, each, &x) ? -1 : x;
}

/* Adds input element (position `at` in its plane) to one output plane through every tap. */
static void spread(const struct window *w, float value, const float *weights, int64_t at, float *y)
{
    int64_t p[3] = {at / w->x[2] / w->x[1], at / w->x[2] % w->x[1], at % w->x[2]}, q[3];
    for (int64_t tap = 0; tap < w->kernel[0] * w->kernel[1] * w->kernel[2]; tap++) {
        int64_t k[3] = {tap / w->kernel[2] / w->kernel[1], tap / w->kernel[2] % w->kernel[1],
                        tap % w->kernel[2]};
        int inside = 1;
        for (int d = 0; d < 3; d++) {
            q[d] = p[d] * w->stride[d] + k[d] * w->dilation[d] - w->pad[d];
            inside &= q[d] >= 0 && q[d] < w->y[d];
        }
        if (inside)
            y[(q[0] * w->y[1] + q[1]) * w->y[2] + q[2]] += value * weights[tap];
    }
}

static int run_conv_transpose(const struct node *n, const struct tensor *in, struct tensor *out,
                              struct error *e)
{
    (void)e;
    struct window w;
    window_make(n, &in[0].shape, &out->shape, &w);
    int64_t groups = n->a.group, inputs = in[0].shape.dims[1] / groups;
    int64_t outputs = in[1].shape.dims[1], taps = w.kernel[0] * w.kernel[1] * w.kernel[2];
    int64_t x_plane = w.x[0] * w.x[1] * w.x[2], y_plane = w.y[0] * w.y[1] * w.y[2];
    const float *bias = n->a.has_bias ? in[2].data : NULL;
#pragma omp parallel for schedule(static)
    for (int64_t job = 0; job < out->shape.dims[0] * groups * outputs; job++) {
        int64_t o = job % outputs, part = job / outputs, group = part % groups;
        float *y = (float *)out->data + job * y_plane;
        for (int64_t i = 0; i < y_plane; i++)
            y[i] = bias ? bias[group * outputs + o] : 0;
        for (int64_t c = 0; c < inputs; c++) {
            const float *x = (const float *)in[0].data + (part * inputs + c) * x_plane;
            const float *weights = (const float *)in[1].data +
                                   ((group * inputs + c) * outputs + o) * taps;
            for (int64_t i = 0; i < x_plane; i++)
                spread(&w, x[i], weights, i, y);
        }
    }
    return 0;
}

static const struct op ops[] = {
    {OP("ConvTranspose", 2, 3, 1, infer_conv_transpose, run_conv_transpose), .macs = macs},
};
const struct op_family family_conv_transpose = OP_FAMILY(ops);
