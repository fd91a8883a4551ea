/* Resize and Upsample: each output element is a product, over the axes, of weighted sums of one
 * (nearest), two (linear) or four (cubic) input positions.
 *
 * In struct attributes: mode is the interpolation, axis the coordinate transformation, keepdims the
 * rounding, alpha the cubic coefficient, beta exclude_outside, and starts[i] the bits of the scale
 * of axis i, a double. */
#include "engine/ops/ops.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { NEAREST, LINEAR, CUBIC };
static const char *const modes[] = {"nearest", "linear", "cubic", NULL};
enum { HALF_PIXEL, PYTORCH_HALF_PIXEL, ALIGN_CORNERS, ASYMMETRIC, TF_HALF_PIXEL, NOT_DONE };
static const char *const transformations[] = {
    "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_half_pixel_for_nn",
    "tf_crop_and_resize", "half_pixel_symmetric", NULL};
enum { ROUND_PREFER_FLOOR, ROUND_PREFER_CEIL, FLOOR, CEIL };
static const char *const roundings[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil",
                                        NULL};

enum { TAPS = 4 };

static double scale_of(const struct attributes *a, int axis)
{
    double scale;
    memcpy(&scale, &a->starts[axis], sizeof scale);
    return scale;
}

/* The output's shape from scales; they are kept. */
static int apply_scales(const struct infer_context *c, const float *scales, size_t count,
                        struct shape *out, struct error *e)
{
    if (count != (size_t)out->rank)
        return infer_fail(c, e, "%zu scales for a tensor of rank %d", count, out->rank);
    for (int i = 0; i < out->rank; i++) {
        double scale = (double)scales[i], exact = (double)out->dims[i] * scale;
        double size = floor(exact);
        if (!(scale > 0) || !(size < 1e15))
            return infer_fail(c, e, "a scale of %g", scale);
        /* Implementations differ in whether the length there is rounded. */
        if (c->node->a.axis == ALIGN_CORNERS && size != exact)
            return infer_unsupported(c, e, "align_corners with a scale of %g for a dimension of "
                                     "%" PRId64, scale, out->dims[i]);
        memcpy(&c->node->a.starts[i], &scale, sizeof scale);
        out->dims[i] = (int64_t)size;
    }
    return 0;
}

static int apply_sizes(const struct infer_context *c, int index, struct shape *out,
                       struct error *e)
{
    int64_t sizes[RANK_MAX];
    size_t count;
    int code = infer_constant_ints(c, index, "sizes", sizes, RANK_MAX, &count, e);
    if (!code && count != (size_t)out->rank)
        code = infer_fail(c, e, "%zu sizes for a tensor of rank %d", count, out->rank);
    for (int i = 0; i < out->rank && !code; i++) {
        double scale = (double)sizes[i] / (double)out->dims[i];
        if (sizes[i] < 0 || (sizes[i] > 0 && out->dims[i] == 0))
            return infer_fail(c, e, "a size of %" PRId64, sizes[i]);
        memcpy(&c->node->a.starts[i], &scale, sizeof scale);
        out->dims[i] = sizes[i];
    }
    return code;
}

static int read_scales(const struct infer_context *c, int index, struct shape *out,
                       struct error *e)
{
    const struct value *v = infer_input(c, index);
    if (v->type != DTYPE_F32 || v->shape.rank != 1)
        return infer_fail(c, e, "input 'scales' is not a list of float32");
    if (!v->constant)
        return infer_unsupported(c, e, "input 'scales' is computed at run time; only one known "
                                 "when the model is loaded is supported");
    return apply_scales(c, v->constant, (size_t)v->shape.dims[0], out, e);
}

/* Settings that would change the result and are not done. */
static int refuse_others(const struct infer_context *c, struct error *e)
{
    int64_t antialias = 0;
    int code = c->opset >= 18 ? infer_attribute_int(c, "antialias", 0, &antialias, e) : 0;
    infer_ignore(c, "extrapolation_value"); /* only tf_crop_and_resize uses it */
    if (!code && antialias)
        code = infer_unsupported(c, e, "attribute 'antialias' is 1");
    return code;
}

static int read_settings(const struct infer_context *c, struct error *e)
{
    struct attributes *a = &c->node->a;
    int transformation = ASYMMETRIC;
    int64_t exclude = 0;
    int code = infer_attribute_name(c, "mode", modes, NEAREST, &a->mode, e);
    a->keepdims = FLOOR;
    if (!code && c->opset >= 11)
        code = infer_attribute_name(c, "coordinate_transformation_mode", transformations,
                                    HALF_PIXEL, &transformation, e);
    if (!code && c->opset >= 11)
        code = infer_attribute_name(c, "nearest_mode", roundings, ROUND_PREFER_FLOOR,
                                    &a->keepdims, e);
    if (!code && c->opset >= 11)
        code = infer_attribute_float(c, "cubic_coeff_a", -0.75f, &a->alpha, e);
    if (!code && c->opset >= 11)
        code = infer_attribute_int(c, "exclude_outside", 0, &exclude, e);
    a->axis = transformation;
    a->beta = exclude != 0;
    if (!code && transformation >= NOT_DONE)
        code = infer_unsupported(c, e, "attribute 'coordinate_transformation_mode' is '%s'",
                                 transformations[transformation]);
    return code ? code : refuse_others(c, e);
}

static int finish(const struct infer_context *c, const struct shape *out, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    for (int i = 0; i < out->rank; i++)
        if (out->dims[i] > 0 && x->shape.dims[i] == 0)
            return infer_fail(c, e, "an empty axis cannot be resized");
    return infer_output(c, 0, x->type, out, e);
}

static int is_empty(const struct value *v)
{
    return !v || shape_elements(&v->shape) == 0;
}

/* Opset 10: x, scales. Since 11: x, roi, scales, sizes, of which the last two exclude each other. */
static int infer_resize(const struct infer_context *c, struct error *e)
{
    struct shape out = infer_input(c, 0)->shape;
    int scales = c->opset < 11 ? 1 : 2;
    int code = infer_type(c, 0, TYPES_NUMBER, e);
    if (!code)
        code = read_settings(c, e);
    if (code)
        return code;
    if (!is_empty(infer_input(c, scales)))
        code = read_scales(c, scales, &out, e);
    else if (!is_empty(infer_input(c, 3)))
        code = apply_sizes(c, 3, &out, e);
    else
        code = infer_fail(c, e, "neither scales nor sizes are given");
    return code ? code : finish(c, &out, e);
}

static int infer_upsample(const struct infer_context *c, struct error *e)
{
    struct shape out = infer_input(c, 0)->shape;
    struct attributes *a = &c->node->a;
    const struct onnx_attribute *scales = c->opset < 9 ? infer_attribute(c, "scales") : NULL;
    int code = infer_type(c, 0, TYPES_NUMBER, e);
    if (!code)
        code = infer_attribute_name(c, "mode", modes, NEAREST, &a->mode, e);
    a->axis = ASYMMETRIC;
    a->keepdims = FLOOR;
    if (code)
        return code;
    if (c->opset >= 9 && infer_input(c, 1))
        code = read_scales(c, 1, &out, e);
    else if (scales && scales->type == ONNX_FLOATS)
        code = apply_scales(c, scales->floats, scales->count, &out, e);
    else
        code = infer_fail(c, e, "scales are missing");
    return code ? code : finish(c, &out, e);
}

/* Where output position i lies on the input's axis. */
static double source_position(const struct attributes *a, int axis, int64_t i, int64_t in,
                              int64_t out)
{
    double scale = scale_of(a, axis), at = (double)i;
    switch (a->axis) {
    case HALF_PIXEL: return (at + 0.5) / scale - 0.5;
    case PYTORCH_HALF_PIXEL: return out > 1 ? (at + 0.5) / scale - 0.5 : 0;
    case ALIGN_CORNERS: return out > 1 ? at * (double)(in - 1) / (double)(out - 1) : 0;
    case TF_HALF_PIXEL: return (at + 0.5) / scale;
    default: return at / scale;
    }
}

static double round_position(double at, int rounding)
{
    switch (rounding) {
    case ROUND_PREFER_FLOOR: return ceil(at - 0.5);
    case ROUND_PREFER_CEIL: return floor(at + 0.5);
    case FLOOR: return floor(at);
    default: return ceil(at);
    }
}

/* The piecewise cubic of Keys (1981), at distance d. */
static double cubic(double d, double a)
{
    d = fabs(d);
    if (d <= 1)
        return ((a + 2) * d - (a + 3)) * d * d + 1;
    return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

struct taps {
    int count;
    int64_t index[TAPS];
    double weight[TAPS];
};

static int64_t inside(double i, int64_t size)
{
    return i < 0 ? 0 : i > (double)(size - 1) ? size - 1 : (int64_t)i;
}

static void make_taps(const struct attributes *a, int axis, int64_t i, int64_t in, int64_t out,
                      struct taps *t)
{
    double at = source_position(a, axis, i, in, out), sum = 0;
    if (in == out && scale_of(a, axis) == 1) {
        *t = (struct taps){1, {i}, {1}};
        return;
    }
    if (a->mode == NEAREST) {
        *t = (struct taps){1, {inside(round_position(at, a->keepdims), in)}, {1}};
        return;
    }
    double first = floor(at) - (a->mode == CUBIC);
    t->count = a->mode == CUBIC ? 4 : 2;
    for (int k = 0; k < t->count; k++) {
        double position = first + k;
        int outside = position < 0 || position > (double)(in - 1);
        t->index[k] = inside(position, in);
        t->weight[k] = a->mode == CUBIC ? cubic(at - position, (double)a->alpha)
                                        : 1 - fabs(at - position);
        if (outside && a->beta > 0)
            t->weight[k] = 0;
        sum += t->weight[k];
    }
    for (int k = 0; k < t->count && a->beta > 0; k++)
        t->weight[k] /= sum;
}

/* Sum over every combination of the axes' taps: counting up like a number with a digit an axis. */
static double combine(const struct tensor *x, const struct taps *taps, const int64_t *strides)
{
    int digits[RANK_MAX] = {0}, axis;
    double sum = 0;
    do {
        double weight = 1, value;
        int64_t from = 0;
        for (int d = 0; d < x->shape.rank; d++) {
            weight *= taps[d].weight[digits[d]];
            from += taps[d].index[digits[d]] * strides[d];
        }
        load_real(x->type, x->data, from, 1, 1, &value);
        sum += weight * value;
        for (axis = x->shape.rank - 1; axis >= 0; axis--) {
            if (++digits[axis] < taps[axis].count)
                break;
            digits[axis] = 0;
        }
    } while (axis >= 0);
    return sum;
}

static int run_resize(const struct node *n, const struct tensor *in, struct tensor *out,
                      struct error *e)
{
    (void)e;
    int64_t strides[RANK_MAX], total = shape_elements(&out->shape);
    shape_strides(&in->shape, strides);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < total; i++) {
        struct taps taps[RANK_MAX];
        int64_t rest = i;
        for (int d = out->shape.rank - 1; d >= 0; d--) {
            make_taps(&n->a, d, rest % out->shape.dims[d], in->shape.dims[d], out->shape.dims[d],
                      &taps[d]);
            rest /= out->shape.dims[d];
        }
        double value = combine(in, taps, strides);
        store_real(out->type, out->data, i, 1, &value);
    }
    return 0;
}

static const struct op ops[] = {
    {OP_SINCE(10, 10, "Resize", 2, 2, 1, infer_resize, run_resize), .heavy = 1},
    {OP_SINCE(11, 99, "Resize", 1, 4, 1, infer_resize, run_resize), .heavy = 1},
    {OP_SINCE(7, 9, "Upsample", 1, 2, 1, infer_upsample, run_resize), .heavy = 1},
};
const struct op_family family_resize = OP_FAMILY(ops);
