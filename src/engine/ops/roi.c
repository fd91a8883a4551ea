/* RoiAlign: regions of an image, each sampled to the same size. */
#include "engine/ops/ops.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Samples across one output; a region of 1024 times the output's size is no region of an image. */
enum { SAMPLES_MAX = 1024, SIDE_MAX = 1 << 20 };

/* a.kernel: output height and width; a.group: samples across, 0 for as many as fit; a.mode: the
 * largest instead of the mean; a.scale: of coordinates; a.keepdims: half a pixel is taken off. */
static int read_attributes(const struct infer_context *c, struct error *e)
{
    static const char *const modes[] = {"avg", "max", NULL};
    static const char *const transforms[] = {"output_half_pixel", "half_pixel", NULL};
    struct attributes *a = &c->node->a;
    int code = infer_attribute_name(c, "mode", modes, 0, &a->mode, e);
    if (!code && c->opset >= 16)
        code = infer_attribute_name(c, "coordinate_transformation_mode", transforms, 1,
                                    &a->keepdims, e);
    if (!code)
        code = infer_attribute_int(c, "output_height", 1, &a->kernel[0], e);
    if (!code)
        code = infer_attribute_int(c, "output_width", 1, &a->kernel[1], e);
    if (!code)
        code = infer_attribute_int(c, "sampling_ratio", 0, &a->group, e);
    if (!code)
        code = infer_attribute_float(c, "spatial_scale", 1, &a->scale, e);
    a->group = a->group < 0 ? 0 : a->group;
    if (!code && (a->kernel[0] < 1 || a->kernel[0] > SIDE_MAX || a->kernel[1] < 1 ||
                  a->kernel[1] > SIDE_MAX || a->group > SAMPLES_MAX))
        code = infer_fail(c, e, "outputs of %" PRId64 "x%" PRId64 " from %" PRId64 " samples across",
                          a->kernel[0], a->kernel[1], a->group);
    return code;
}

static int infer_roi_align(const struct infer_context *c, struct error *e)
{
    const struct shape *x = &infer_input(c, 0)->shape, *rois = &infer_input(c, 1)->shape;
    const struct shape *images = &infer_input(c, 2)->shape;
    int code = infer_type(c, 0, TYPES_F32, e);
    if (!code)
        code = infer_type(c, 1, TYPES_F32, e);
    if (!code)
        code = infer_type(c, 2, TYPE_BIT(DTYPE_I64), e);
    if (!code)
        code = read_attributes(c, e);
    if (!code && (x->rank != 4 || x->dims[2] > SIDE_MAX || x->dims[3] > SIDE_MAX ||
                  rois->rank != 2 || rois->dims[1] != 4 || images->rank != 1 ||
                  images->dims[0] != rois->dims[0]))
        code = infer_fail(c, e, "not images, regions of 4 numbers, and an image for each");
    const struct shape out = {4, {rois->dims[0], x->dims[1], c->node->a.kernel[0],
                                  c->node->a.kernel[1]}};
    return code ? code : infer_output(c, 0, DTYPE_F32, &out, e);
}

/* One axis of a region. */
struct span {
    float start, bin; /* in the image; the size of one output */
    int64_t samples;  /* across one output */
};

static struct span span_of(const struct attributes *a, const float *roi, int axis)
{
    float offset = a->keepdims ? 0.5f : 0;
    float start = roi[1 - axis] * a->scale - offset, end = roi[3 - axis] * a->scale - offset;
    float size = end - start;
    if (!a->keepdims && !(size >= 1))
        size = 1;
    float bin = size / (float)a->kernel[axis], across = ceilf(bin);
    int64_t samples = a->group;
    if (!samples)
        samples = across > 0 ? across > SAMPLES_MAX ? SAMPLES_MAX + 1 : (int64_t)across : 0;
    return (struct span){start, bin, samples};
}

/* Where a sample falls between two pixels of an axis; 0 when outside. */
struct between {
    int64_t low, high;
    float weight; /* of high */
};

static int locate(const struct span *s, int64_t output, int64_t sample, int64_t size,
                  struct between *b)
{
    float at = s->start + (float)output * s->bin +
               ((float)sample + 0.5f) * s->bin / (float)s->samples;
    if (!(at >= -1 && at <= (float)size))
        return 0;
    at = at < 0 ? 0 : at;
    b->low = (int64_t)at;
    b->high = b->low + 1;
    if (b->low >= size - 1) {
        b->low = b->high = size - 1;
        at = (float)b->low;
    }
    b->weight = at - (float)b->low;
    return 1;
}

/* The four parts of a sample: their sum, or the largest of them. Outside: 0. */
static float sample(const float *x, int64_t width, const struct between *v, const struct between *h,
                    int largest)
{
    float up = 1 - v->weight, left = 1 - h->weight;
    float parts[4] = {up * left * x[v->low * width + h->low],
                      up * h->weight * x[v->low * width + h->high],
                      v->weight * left * x[v->high * width + h->low],
                      v->weight * h->weight * x[v->high * width + h->high]};
    if (!largest)
        return parts[0] + parts[1] + parts[2] + parts[3];
    return fmaxf(fmaxf(parts[0], parts[1]), fmaxf(parts[2], parts[3]));
}

static float pool(const struct shape *s, const float *x, const struct span spans[2], int64_t i,
                  int64_t j, int largest)
{
    float result = largest ? -INFINITY : 0;
    int64_t count = spans[0].samples * spans[1].samples;
    for (int64_t k = 0; k < count; k++) {
        struct between v, h;
        int inside = locate(&spans[0], i, k / spans[1].samples, s->dims[2], &v) &&
                     locate(&spans[1], j, k % spans[1].samples, s->dims[3], &h);
        float one = inside ? sample(x, s->dims[3], &v, &h, largest) : 0;
        result = largest ? fmaxf(result, one) : result + one;
    }
    return !count ? 0 : largest ? result : result / (float)count;
}

static int check_regions(const struct node *n, const struct tensor *in, struct error *e)
{
    const int64_t *images = in[2].data;
    for (int64_t r = 0; r < in[1].shape.dims[0]; r++) {
        if (images[r] < 0 || images[r] >= in[0].shape.dims[0])
            return error_set(e, ERROR_FORMAT, "region %" PRId64 " is of image %" PRId64 "; there "
                             "are %" PRId64, r, images[r], in[0].shape.dims[0]);
        for (int axis = 0; axis < 2; axis++)
            if (span_of(&n->a, (const float *)in[1].data + 4 * r, axis).samples > SAMPLES_MAX)
                return error_set(e, ERROR_FORMAT, "region %" PRId64 " is more than %d times as "
                                 "large as the output", r, SAMPLES_MAX);
    }
    return 0;
}

static int run_roi_align(const struct node *n, const struct tensor *in, struct tensor *out,
                         struct error *e)
{
    const struct shape *x = &in[0].shape;
    int64_t channels = x->dims[1], plane = x->dims[2] * x->dims[3];
    int64_t height = n->a.kernel[0], width = n->a.kernel[1];
    int code = check_regions(n, in, e);
    if (code)
        return code;
    if (!plane) {
        memset(out->data, 0, (size_t)shape_bytes(&out->shape, DTYPE_F32));
        return 0;
    }
#pragma omp parallel for schedule(static)
    for (int64_t job = 0; job < in[1].shape.dims[0] * channels; job++) {
        int64_t r = job / channels, image = ((const int64_t *)in[2].data)[r];
        const float *roi = (const float *)in[1].data + 4 * r;
        const struct span spans[2] = {span_of(&n->a, roi, 0), span_of(&n->a, roi, 1)};
        const float *from = (const float *)in[0].data + (image * channels + job % channels) * plane;
        float *to = (float *)out->data + job * height * width;
        for (int64_t i = 0; i < height * width; i++)
            to[i] = pool(x, from, spans, i / width, i % width, n->a.mode);
    }
    return 0;
}

static const struct op ops[] = {
    {OP_SINCE(10, 99, "RoiAlign", 3, 3, 1, infer_roi_align, run_roi_align), .heavy = 1},
};
const struct op_family family_roi = OP_FAMILY(ops);
