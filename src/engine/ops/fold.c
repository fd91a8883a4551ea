/* Col2Im: patches added up into an image. EyeLike. ReverseSequence. */
#include "engine/ops/ops.h"

#include <inttypes.h>
#include <string.h>

static int read_block(const struct infer_context *c, int spatial, const int64_t *image,
                      int64_t *places, struct error *e)
{
    struct attributes *a = &c->node->a;
    *places = 1;
    for (int i = 0; i < spatial; i++) {
        int64_t most = (int64_t)1 << 30, reach;
        if (a->kernel[i] < 1 || a->kernel[i] > most || image[i] < 0 || image[i] > most)
            return infer_fail(c, e, "a block of %" PRId64 " in an image of %" PRId64, a->kernel[i],
                              image[i]);
        reach = image[i] + a->pads_begin[i] + a->pads_end[i] - a->dilations[i] * (a->kernel[i] - 1);
        if (reach < 1)
            return infer_fail(c, e, "the block does not fit the image");
        if (__builtin_mul_overflow(*places, (reach - 1) / a->strides[i] + 1, places))
            return infer_fail(c, e, "an image of impossible size");
    }
    return 0;
}

static int read_list(const struct infer_context *c, const char *name, size_t expected, int64_t low,
                     int64_t *out, struct error *e)
{
    const int64_t *given;
    size_t count;
    int code = infer_attribute_ints(c, name, expected, expected, &given, &count, e);
    for (size_t i = 0; i < expected && !code; i++) {
        out[i] = given ? given[i] : low;
        if (out[i] < low || out[i] > (int64_t)1 << 30)
            code = infer_fail(c, e, "attribute '%s' has the entry %" PRId64, name, out[i]);
    }
    return code;
}

/* strides, dilations and pads; the block has been read into a.kernel. */
static int read_steps(const struct infer_context *c, size_t spatial, struct error *e)
{
    struct attributes *a = &c->node->a;
    int64_t pads[6] = {0};
    int code = read_list(c, "strides", spatial, 1, a->strides, e);
    if (!code)
        code = read_list(c, "dilations", spatial, 1, a->dilations, e);
    if (!code)
        code = read_list(c, "pads", 2 * spatial, 0, pads, e);
    memcpy(a->pads_begin, pads, spatial * sizeof *pads);
    memcpy(a->pads_end, pads + spatial, spatial * sizeof *pads);
    return code;
}

static int infer_col2im(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    struct attributes *a = &c->node->a;
    int64_t image[3], places = 0, block = 1;
    size_t spatial, count = 0;
    int code = infer_type(c, 0, TYPES_F32, e);
    if (!code)
        code = infer_constant_ints(c, 1, "image_shape", image, 3, &spatial, e);
    if (!code)
        code = infer_constant_ints(c, 2, "block_shape", a->kernel, 3, &count, e);
    if (!code && (spatial < 1 || count != spatial || x->shape.rank != 3))
        code = infer_fail(c, e, "image_shape and block_shape do not fit each other or the input");
    if (!code)
        code = read_steps(c, spatial, e);
    if (!code)
        code = read_block(c, (int)spatial, image, &places, e);
    if (code)
        return code;
    for (size_t i = 0; i < spatial && block > 0; i++)
        if (__builtin_mul_overflow(block, a->kernel[i], &block))
            block = -1;
    if (block < 1 || x->shape.dims[1] % block || x->shape.dims[2] != places)
        return infer_fail(c, e, "%" PRId64 "x%" PRId64 " columns are not patches of the image",
                          x->shape.dims[1], x->shape.dims[2]);
    a->spatial = (int)spatial;
    struct shape out = {2 + (int)spatial, {x->shape.dims[0], x->shape.dims[1] / block}};
    memcpy(out.dims + 2, image, spatial * sizeof *image);
    return infer_output(c, 0, DTYPE_F32, &out, e);
}

/* One tap of the block in all places: adds a row of columns to the plane. */
static void add_tap(const struct window *w, const int64_t tap[3], const float *from, float *plane)
{
    for (int64_t i = 0; i < w->y[0] * w->y[1] * w->y[2]; i++) {
        int64_t rest = i, at = 0, step = 1, inside = 1;
        for (int d = 2; d >= 0; d--) {
            int64_t k = rest % w->y[d] * w->stride[d] + tap[d] * w->dilation[d] - w->pad[d];
            rest /= w->y[d];
            inside &= k >= 0 && k < w->x[d];
            at += k * step;
            step *= w->x[d];
        }
        if (inside)
            plane[at] += from[i];
    }
}

static int run_col2im(const struct node *n, const struct tensor *in, struct tensor *out,
                      struct error *e)
{
    (void)e;
    struct window w;
    window_make(n, &out->shape, &out->shape, &w);
    for (int d = 0; d < 3; d++) {
        int axis = d - (3 - n->a.spatial);
        int64_t end = axis < 0 ? 0 : n->a.pads_end[axis];
        w.y[d] = (w.x[d] + w.pad[d] + end - w.dilation[d] * (w.kernel[d] - 1) - 1) / w.stride[d] + 1;
    }
    int64_t taps = w.kernel[0] * w.kernel[1] * w.kernel[2], places = in->shape.dims[2];
    int64_t plane = w.x[0] * w.x[1] * w.x[2], planes = out->shape.dims[0] * out->shape.dims[1];
    memset(out->data, 0, (size_t)(plane * planes) * sizeof(float));
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < planes; p++)
        for (int64_t t = 0; t < taps; t++) {
            const int64_t tap[3] = {t / (w.kernel[1] * w.kernel[2]), t / w.kernel[2] % w.kernel[1],
                                    t % w.kernel[2]};
            add_tap(&w, tap, (const float *)in->data + (p * taps + t) * places,
                    (float *)out->data + p * plane);
        }
    return 0;
}

static int infer_eye(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    int64_t type;
    int code = infer_attribute_int(c, "dtype", x->type, &type, e);
    if (!code)
        code = infer_attribute_int(c, "k", 0, &c->node->a.axis, e);
    if (!code && x->shape.rank != 2)
        code = infer_fail(c, e, "an input of rank %d; 2 is expected", x->shape.rank);
    if (!code && (type < 1 || type >= 32 || !(TYPES_ANY & TYPE_BIT(type))))
        code = infer_unsupported(c, e, "attribute 'dtype' is %" PRId64, type);
    return code ? code : infer_output(c, 0, (enum dtype)type, &x->shape, e);
}

static int run_eye(const struct node *n, const struct tensor *in, struct tensor *out,
                   struct error *e)
{
    (void)in, (void)e;
    int64_t rows = out->shape.dims[0], columns = out->shape.dims[1], k = n->a.axis;
    double one = 1;
    memset(out->data, 0, (size_t)shape_bytes(&out->shape, out->type));
    for (int64_t i = 0; i < rows && k > -rows && k < columns; i++)
        if (i + k >= 0 && i + k < columns)
            store_real(out->type, out->data, i * columns + i + k, 1, &one);
    return 0;
}

/* Axes in a.axes: time and batch. */
static int infer_reverse(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0), *lengths = infer_input(c, 1);
    int64_t *axes = c->node->a.axes;
    int code = infer_attribute_int(c, "time_axis", 0, &axes[0], e);
    if (!code)
        code = infer_attribute_int(c, "batch_axis", 1, &axes[1], e);
    if (!code)
        code = infer_type(c, 1, TYPE_BIT(DTYPE_I64), e);
    if (!code && (axes[0] + axes[1] != 1 || axes[0] < 0 || axes[0] > 1 || x->shape.rank < 2))
        code = infer_fail(c, e, "time and batch are not the first two dimensions");
    if (!code && (lengths->shape.rank != 1 || lengths->shape.dims[0] != x->shape.dims[axes[1]]))
        code = infer_fail(c, e, "there is not one length for each sequence");
    if (!code)
        code = infer_type(c, 0, TYPES_ANY, e);
    return code ? code : infer_output(c, 0, x->type, &x->shape, e);
}

static int run_reverse(const struct node *n, const struct tensor *in, struct tensor *out,
                       struct error *e)
{
    int time_first = n->a.axes[0] == 0;
    int64_t steps = in->shape.dims[n->a.axes[0]], batch = in->shape.dims[n->a.axes[1]];
    int64_t size = (int64_t)dtype_size(in->type);
    for (int i = 2; i < in->shape.rank; i++)
        size *= in->shape.dims[i];
    for (int64_t b = 0; b < batch; b++) {
        int64_t length = ((const int64_t *)in[1].data)[b];
        if (length < 0 || length > steps)
            return error_set(e, ERROR_FORMAT, "a sequence of %" PRId64 " in %" PRId64 " steps",
                             length, steps);
        for (int64_t t = 0; t < steps; t++) {
            int64_t from = t < length ? length - 1 - t : t;
            int64_t x = time_first ? from * batch + b : b * steps + from;
            int64_t y = time_first ? t * batch + b : b * steps + t;
            memcpy((char *)out->data + y * size, (const char *)in->data + x * size, (size_t)size);
        }
    }
    return 0;
}

static const struct op ops[] = {
    {OP_SINCE(18, 99, "Col2Im", 3, 3, 1, infer_col2im, run_col2im), .heavy = 1},
    {OP_SINCE(9, 99, "EyeLike", 1, 1, 1, infer_eye, run_eye)},
    {OP_SINCE(10, 99, "ReverseSequence", 2, 2, 1, infer_reverse, run_reverse)},
};
const struct op_family family_fold = OP_FAMILY(ops);
