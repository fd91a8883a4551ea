/* Resize and Upsample: each output element is a product, over the axes, of weighted sums of one
 * (nearest), two (linear) or four (cubic) input positions.
 *
 * In struct attributes: mode is the interpolation, axis the coordinate transformation, keepdims the
 * rounding, alpha the cubic coefficient, beta exclude_outside, ceil_mode antialias, and starts[i] the
 * bits of the scale of axis i, a double. With antialias the taps of an axis that shrinks spread over
 * as many inputs as an output covers; they are worked out as they are needed. */
#include "engine/ops/ops.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { NEAREST, LINEAR, CUBIC };
static const char *const modes[] = {"nearest", "linear", "cubic", NULL};
enum {
    HALF_PIXEL, PYTORCH_HALF_PIXEL, ALIGN_CORNERS, ASYMMETRIC, TF_HALF_PIXEL, NOT_DONE,
    HALF_PIXEL_SYMMETRIC,
};
static const char *const transformations[] = {
    "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_half_pixel_for_nn",
    [NOT_DONE] = "tf_crop_and_resize", [HALF_PIXEL_SYMMETRIC] = "half_pixel_symmetric", NULL};
enum { ROUND_PREFER_FLOOR, ROUND_PREFER_CEIL, FLOOR, CEIL };
static const char *const roundings[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil",
                                        NULL};

static double scale_of(const struct attributes *a, int axis)
{
    double scale;
    memcpy(&scale, &a->starts[axis], sizeof scale);
    return scale;
}

static void keep_scale(struct attributes *a, int64_t axis, double scale)
{
    memcpy(&a->starts[axis], &scale, sizeof scale);
}

/* The axes that scales or sizes are given for, all of them without the attribute, in a.steps. */
static int read_axes(const struct infer_context *c, int rank, int *count, struct error *e)
{
    const int64_t *given = NULL;
    size_t n = 0;
    int code = c->opset < 18 ? 0 : infer_attribute_ints(c, "axes", 0, RANK_MAX, &given, &n, e);
    *count = given ? (int)n : rank;
    for (int i = 0; i < rank; i++)
        keep_scale(&c->node->a, i, 1);
    for (int i = 0; i < *count && !code; i++)
        code = infer_axis(c, "attribute 'axes'", given ? given[i] : i, rank, &c->node->a.steps[i], e);
    return code;
}

/* The output's shape from scales; they are kept. */
static int apply_scales(const struct infer_context *c, const float *scales, size_t given,
                        struct shape *out, struct error *e)
{
    int count, code = read_axes(c, out->rank, &count, e);
    if (!code && given != (size_t)count)
        code = infer_fail(c, e, "%zu scales for %d axes", given, count);
    for (int i = 0; i < count && !code; i++) {
        int64_t axis = c->node->a.steps[i];
        double scale = (double)scales[i], exact = (double)out->dims[axis] * scale;
        double size = floor(exact);
        if (!(scale > 0) || !(size < 1e15))
            return infer_fail(c, e, "a scale of %g", scale);
        /* Implementations differ in whether the length there is rounded. */
        if (c->node->a.axis == ALIGN_CORNERS && size != exact)
            return infer_unsupported(c, e, "align_corners with a scale of %g for a dimension of "
                                     "%" PRId64, scale, out->dims[axis]);
        keep_scale(&c->node->a, axis, scale);
        out->dims[axis] = (int64_t)size;
    }
    return code;
}

enum { STRETCH, NOT_LARGER, NOT_SMALLER };
static const char *const policies[] = {"stretch", "not_larger", "not_smaller", NULL};

/* The smallest or largest of the scales, for all axes: sizes become as near as that comes. */
static void keep_aspect(const struct infer_context *c, int policy, int count, int64_t *sizes,
                        const struct shape *x)
{
    double best = policy == NOT_LARGER ? INFINITY : 0;
    for (int i = 0; i < count; i++) {
        double scale = (double)sizes[i] / (double)x->dims[c->node->a.steps[i]];
        best = policy == NOT_LARGER ? fmin(best, scale) : fmax(best, scale);
    }
    for (int i = 0; i < count; i++) {
        int64_t axis = c->node->a.steps[i];
        sizes[i] = (int64_t)fmin(floor(best * (double)x->dims[axis] + 0.5), 1e15);
        keep_scale(&c->node->a, axis, best);
    }
}

static int apply_sizes(const struct infer_context *c, int index, struct shape *out,
                       struct error *e)
{
    const struct shape x = *out;
    int64_t sizes[RANK_MAX];
    size_t given;
    int count, policy = STRETCH, code = read_axes(c, out->rank, &count, e);
    if (!code)
        code = infer_constant_ints(c, index, "sizes", sizes, RANK_MAX, &given, e);
    if (!code && c->opset >= 18)
        code = infer_attribute_name(c, "keep_aspect_ratio_policy", policies, STRETCH, &policy, e);
    if (!code && given != (size_t)count)
        code = infer_fail(c, e, "%zu sizes for %d axes", given, count);
    for (int i = 0; i < count && !code; i++) {
        int64_t axis = c->node->a.steps[i];
        if (sizes[i] < 0 || (sizes[i] > 0 && x.dims[axis] == 0))
            return infer_fail(c, e, "a size of %" PRId64, sizes[i]);
        keep_scale(&c->node->a, axis, (double)sizes[i] / (double)x.dims[axis]);
    }
    if (!code && policy != STRETCH)
        keep_aspect(c, policy, count, sizes, &x);
    for (int i = 0; i < count && !code; i++)
        out->dims[c->node->a.steps[i]] = sizes[i];
    return code;
}

static int read_scales(const struct infer_context *c, int index, struct shape *out,
                       struct error *e)
{
    const struct value *v = infer_input(c, index);
    infer_ignore(c, "keep_aspect_ratio_policy"); /* of sizes */
    if (v->type != DTYPE_F32 || v->shape.rank != 1)
        return infer_fail(c, e, "input 'scales' is not a list of float32");
    if (!v->constant)
        return infer_unsupported(c, e, "input 'scales' is computed at run time; only one known "
                                 "when the model is loaded is supported");
    return apply_scales(c, v->constant, (size_t)v->shape.dims[0], out, e);
}

static int read_antialias(const struct infer_context *c, struct error *e)
{
    int64_t antialias = 0;
    int code = c->opset >= 18 ? infer_attribute_int(c, "antialias", 0, &antialias, e) : 0;
    infer_ignore(c, "extrapolation_value"); /* only tf_crop_and_resize uses it */
    c->node->a.ceil_mode = antialias && c->node->a.mode != NEAREST;
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
    if (!code && transformation == NOT_DONE)
        code = infer_unsupported(c, e, "attribute 'coordinate_transformation_mode' is '%s'",
                                 transformations[transformation]);
    return code ? code : read_antialias(c, e);
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
    case HALF_PIXEL_SYMMETRIC: /* centred even where the exact length is cut */
        return (double)in / 2 * (1 - (double)out / ((double)in * scale)) + (at + 0.5) / scale - 0.5;
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

/* The inputs that one output position reads along one axis: count of them from `first` on. */
struct taps {
    int64_t count, size;
    double first, at;
    double spread, norm; /* of weights: what they are scaled by, and what they are divided by */
};

static int64_t inside(double i, int64_t size)
{
    return i < 0 ? 0 : i > (double)(size - 1) ? size - 1 : (int64_t)i;
}

static double tap_weight(const struct attributes *a, const struct taps *t, int64_t k)
{
    double position = t->first + (double)k, d = fabs(t->at - position) * t->spread;
    if (t->count == 1)
        return 1;
    if (a->beta > 0 && (position < 0 || position > (double)(t->size - 1)))
        return 0;
    return (a->mode == CUBIC ? cubic(d, (double)a->alpha) : fmax(0, 1 - d)) / t->norm;
}

static void make_taps(const struct attributes *a, int axis, int64_t i, int64_t in, int64_t out,
                      struct taps *t)
{
    double at = source_position(a, axis, i, in, out), reach = a->mode == CUBIC ? 2 : 1, sum = 0;
    *t = (struct taps){.count = 1, .size = in, .first = (double)i, .at = at, .spread = 1, .norm = 1};
    if (in == out && scale_of(a, axis) == 1)
        return;
    if (a->mode == NEAREST) {
        t->first = (double)inside(round_position(at, a->keepdims), in);
        return;
    }
    if (a->ceil_mode && scale_of(a, axis) < 1)
        t->spread = scale_of(a, axis);
    double start = fmax(floor(-reach / t->spread) + 1, -(double)in);
    t->first = floor(at) + start;
    t->count = 2 - 2 * (int64_t)start;
    for (int64_t k = 0; k < t->count && (a->beta > 0 || a->ceil_mode); k++)
        sum += tap_weight(a, t, k);
    t->norm = sum != 0 ? sum : 1;
}

int resize_taps(const struct attributes *a, int axis, int64_t i, int64_t in, int64_t out,
                int capacity, int64_t *from, double *weights)
{
    struct taps t;
    make_taps(a, axis, i, in, out, &t);
    if (t.count > capacity)
        return 0;
    for (int64_t k = 0; k < t.count; k++) {
        from[k] = inside(t.first + (double)k, t.size);
        weights[k] = tap_weight(a, &t, k);
    }
    return (int)t.count;
}

/* Sum over every combination of the axes' taps: counting up like a number with a digit an axis. */
static double combine(const struct attributes *a, const struct tensor *x, const struct taps *taps,
                      const int64_t *strides)
{
    int64_t digits[RANK_MAX] = {0};
    int axis;
    double sum = 0;
    do {
        double weight = 1, value;
        int64_t from = 0;
        for (int d = 0; d < x->shape.rank; d++) {
            weight *= tap_weight(a, &taps[d], digits[d]);
            from += inside(taps[d].first + (double)digits[d], taps[d].size) * strides[d];
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
        double value = combine(&n->a, in, taps, strides);
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
