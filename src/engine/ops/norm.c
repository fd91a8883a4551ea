/* Normalisations. */
#include "engine/ops/ops.h"

#include <inttypes.h>
#include <math.h>

static int check_types(const struct infer_context *c, int count, unsigned types, struct error *e)
{
    int code = 0;
    for (int i = 0; i < count && !code; i++)
        code = infer_type(c, i, types, e);
    return code;
}

/* Inputs first.. are one number per channel. */
static int check_channels(const struct infer_context *c, int first, int count, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    char s[96], t[96];
    for (int i = first; i < count; i++) {
        const struct value *p = infer_input(c, i);
        if (p->shape.rank != 1 || x->shape.rank < 2 || p->shape.dims[0] != x->shape.dims[1])
            return infer_fail(c, e, "input %d of shape %s does not fit the channels of %s", i,
                              shape_text(&p->shape, s, sizeof s),
                              shape_text(&x->shape, t, sizeof t));
    }
    return 0;
}

static int infer_batch_norm(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    int64_t training, spatial;
    infer_ignore(c, "momentum");
    infer_ignore(c, "is_test");
    int code = check_types(c, 5, TYPES_F32, e);
    if (!code)
        code = check_channels(c, 1, 5, e);
    if (!code)
        code = infer_attribute_float(c, "epsilon", 1e-5f, &c->node->a.epsilon, e);
    if (!code)
        code = infer_attribute_int(c, "training_mode", 0, &training, e);
    if (!code)
        code = infer_attribute_int(c, "spatial", 1, &spatial, e);
    if (!code && training)
        code = infer_unsupported(c, e, "attribute 'training_mode' is %" PRId64
                                 "; only inference (0) is supported", training);
    if (!code && spatial != 1)
        code = infer_unsupported(c, e, "attribute 'spatial' is %" PRId64 "; only 1 is supported",
                                 spatial);
    return code ? code : infer_output(c, 0, DTYPE_F32, &x->shape, e);
}

int run_batch_norm(const struct node *n, const struct tensor *in, struct tensor *out,
                   struct error *e)
{
    (void)e;
    const float *scale = in[1].data, *bias = in[2].data, *mean = in[3].data, *var = in[4].data;
    int64_t channels = in->shape.dims[1], planes = in->shape.dims[0] * channels;
    int64_t size = planes ? shape_elements(&in->shape) / planes : 0;
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < planes; p++) {
        int64_t c = p % channels;
        const float *x = (const float *)in->data + p * size;
        float *y = (float *)out->data + p * size;
        double factor = scale[c] / sqrt((double)var[c] + (double)n->a.epsilon);
        double shift = bias[c] - mean[c] * factor;
        for (int64_t i = 0; i < size; i++)
            y[i] = (float)(x[i] * factor + shift);
    }
    return 0;
}

void layer_norm_f32(int64_t outer, int64_t inner, const float *x, const float *scale,
                    const float *bias, double epsilon, float *y, float *mean, float *inverse)
{
#pragma omp parallel for schedule(static)
    for (int64_t o = 0; o < outer; o++) {
        const float *row = x + o * inner;
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < inner; i++)
            sum += row[i];
        double m = sum / (double)inner;
        for (int64_t i = 0; i < inner; i++)
            squares += (row[i] - m) * (row[i] - m);
        double factor = 1 / sqrt(squares / (double)inner + epsilon);
        for (int64_t i = 0; i < inner; i++) {
            double normal = (row[i] - m) * factor * (scale ? scale[i] : 1);
            y[o * inner + i] = (float)(normal + (bias ? bias[i] : 0));
        }
        if (mean)
            mean[o] = (float)m;
        if (inverse)
            inverse[o] = (float)factor;
    }
}

/* Scale and bias have the shape of the normalised dimensions. */
static int check_tail(const struct infer_context *c, int index, int axis, struct error *e)
{
    const struct value *x = infer_input(c, 0), *p = infer_input(c, index);
    char s[96], t[96];
    int fits = !p || p->shape.rank == x->shape.rank - axis;
    for (int i = axis; p && i < x->shape.rank && fits; i++)
        fits = p->shape.dims[i - axis] == x->shape.dims[i];
    if (fits)
        return 0;
    return infer_unsupported(c, e, "input %d of shape %s over %s from axis %d", index,
                             shape_text(&p->shape, s, sizeof s),
                             shape_text(&x->shape, t, sizeof t), axis);
}

static int infer_layer_norm(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    struct attributes *a = &c->node->a;
    int64_t axis, stash;
    int code = check_types(c, 3, TYPES_F32, e);
    if (!code)
        code = infer_attribute_int(c, "axis", -1, &axis, e);
    if (!code)
        code = infer_axis(c, "attribute 'axis'", axis, x->shape.rank, &a->axis, e);
    if (!code)
        code = infer_attribute_float(c, "epsilon", 1e-5f, &a->epsilon, e);
    if (!code)
        code = infer_attribute_int(c, "stash_type", 1, &stash, e);
    for (int i = 1; i < 3 && !code; i++)
        code = check_tail(c, i, (int)a->axis, e);
    if (code)
        return code;
    struct shape reduced = x->shape;
    for (int i = (int)a->axis; i < reduced.rank; i++)
        reduced.dims[i] = 1;
    code = infer_output(c, 0, DTYPE_F32, &x->shape, e);
    for (int i = 1; i < 3 && !code; i++)
        code = infer_output(c, i, DTYPE_F32, &reduced, e);
    return code;
}

static int run_layer_norm(const struct node *n, const struct tensor *in, struct tensor *out,
                          struct error *e)
{
    (void)e;
    int64_t outer = 1, inner = 1;
    for (int i = 0; i < in->shape.rank; i++)
        *(i < n->a.axis ? &outer : &inner) *= in->shape.dims[i];
    layer_norm_f32(outer, inner, in[0].data, in[1].data, in[2].data, (double)n->a.epsilon,
                   out[0].data, out[1].data, out[2].data);
    return 0;
}

static int infer_instance_norm(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    int code = check_types(c, 3, TYPES_F32, e);
    if (!code)
        code = check_channels(c, 1, 3, e);
    if (!code)
        code = infer_attribute_float(c, "epsilon", 1e-5f, &c->node->a.epsilon, e);
    return code ? code : infer_output(c, 0, DTYPE_F32, &x->shape, e);
}

static int run_instance_norm(const struct node *n, const struct tensor *in, struct tensor *out,
                             struct error *e)
{
    (void)e;
    const float *scale = in[1].data, *bias = in[2].data, *x = in->data;
    float *y = out->data;
    int64_t channels = in->shape.dims[1], planes = in->shape.dims[0] * channels;
    int64_t size = planes ? shape_elements(&in->shape) / planes : 0;
    layer_norm_f32(planes, size, x, NULL, NULL, (double)n->a.epsilon, y, NULL, NULL);
    for (int64_t p = 0; p < planes; p++)
        for (int64_t i = 0; i < size; i++)
            y[p * size + i] = y[p * size + i] * scale[p % channels] + bias[p % channels];
    return 0;
}

/* Across-channel LRN: alpha, beta, k in a.alpha, a.beta, a.low; the size in a.axis. */
static int infer_lrn(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    struct attributes *a = &c->node->a;
    int code = infer_type(c, 0, TYPES_F32, e);
    if (!code)
        code = infer_attribute_float(c, "alpha", 1e-4f, &a->alpha, e);
    if (!code)
        code = infer_attribute_float(c, "beta", 0.75f, &a->beta, e);
    if (!code)
        code = infer_attribute_float(c, "bias", 1, &a->low, e);
    if (!code)
        code = infer_attribute_int(c, "size", 0, &a->axis, e);
    if (!code && (a->axis < 1 || a->axis > INT32_MAX))
        code = infer_fail(c, e, "attribute 'size' is %" PRId64, a->axis);
    if (!code && x->shape.rank < 3)
        code = infer_fail(c, e, "an input of rank %d; 3 or more are expected", x->shape.rank);
    return code ? code : infer_output(c, 0, DTYPE_F32, &x->shape, e);
}

static int run_lrn(const struct node *n, const struct tensor *in, struct tensor *out,
                   struct error *e)
{
    (void)e;
    const struct attributes *a = &n->a;
    int64_t channels = in->shape.dims[1], planes = in->shape.dims[0] * channels;
    int64_t size = planes ? shape_elements(&in->shape) / planes : 0;
    for (int64_t p = 0; p < planes; p++) {
        int64_t c = p % channels, low = c - (a->axis - 1) / 2, high = c + a->axis / 2;
        low = low < 0 ? 0 : low;
        high = high >= channels ? channels - 1 : high;
        const float *x = (const float *)in->data + p * size;
        for (int64_t i = 0; i < size; i++) {
            double squares = 0;
            for (int64_t k = low; k <= high; k++)
                squares += (double)x[(k - c) * size + i] * x[(k - c) * size + i];
            double base = a->low + a->alpha / (double)a->axis * squares;
            ((float *)out->data)[p * size + i] = (float)(x[i] / pow(base, (double)a->beta));
        }
    }
    return 0;
}

static const struct op ops[] = {
    {OP("BatchNormalization", 5, 5, 1, infer_batch_norm, run_batch_norm)},
    {OP_SINCE(17, 99, "LayerNormalization", 2, 3, 3, infer_layer_norm, run_layer_norm)},
    {OP("InstanceNormalization", 3, 3, 1, infer_instance_norm, run_instance_norm)},
    {OP("LRN", 1, 1, 1, infer_lrn, run_lrn), .heavy = 1},
};
const struct op_family family_norm = OP_FAMILY(ops);
