/* GridSample and AffineGrid: an image read at places given as coordinates from -1 to 1. */
#include "engine/ops/ops.h"

#include <inttypes.h>
#include <math.h>

enum { NEAREST = GRID_NEAREST, LINEAR = GRID_LINEAR, CUBIC };
enum { ZEROS, BORDER, REFLECTION };
enum { AXES = 3 };

static int read_modes(const struct infer_context *c, struct error *e)
{
    static const char *const old[] = {"nearest", "bilinear", "bicubic", NULL};
    static const char *const modes[] = {"nearest", "linear", "cubic", NULL};
    static const char *const paddings[] = {"zeros", "border", "reflection", NULL};
    struct attributes *a = &c->node->a;
    int padding = ZEROS;
    int64_t align = 0;
    int code = infer_attribute_name(c, "mode", c->opset < 20 ? old : modes, LINEAR, &a->mode, e);
    if (!code)
        code = infer_attribute_name(c, "padding_mode", paddings, ZEROS, &padding, e);
    if (!code)
        code = infer_attribute_int(c, "align_corners", 0, &align, e);
    a->axis = padding;
    a->keepdims = align != 0;
    return code;
}

static int infer_grid_sample(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0), *grid = infer_input(c, 1);
    int spatial = x->shape.rank - 2;
    int code = infer_type(c, 0, TYPES_F32, e);
    if (!code)
        code = infer_type(c, 1, TYPES_F32, e);
    if (!code)
        code = read_modes(c, e);
    if (code)
        return code;
    if (spatial < 1 || spatial > AXES || grid->shape.rank != spatial + 2 ||
        grid->shape.dims[0] != x->shape.dims[0] || grid->shape.dims[spatial + 1] != spatial)
        return infer_unsupported(c, e, "a grid of rank %d for an input of rank %d",
                                 grid->shape.rank, x->shape.rank);
    struct shape out = grid->shape;
    out.dims[1] = x->shape.dims[1];
    for (int i = 0; i < spatial; i++) {
        out.dims[2 + i] = grid->shape.dims[1 + i];
        if (x->shape.dims[2 + i] == 0)
            return infer_fail(c, e, "an empty image cannot be sampled");
    }
    c->node->a.spatial = spatial;
    return infer_output(c, 0, DTYPE_F32, &out, e);
}

/* Mirrors a position at the image's borders: those of its outer pixels or their centres. */
static double reflect(double at, int64_t size, int align)
{
    double low = align ? 0 : -0.5, high = align ? (double)(size - 1) : (double)size - 0.5;
    double span = high - low;
    if (span <= 0)
        return 0;
    double beyond = fmod(fabs(at - low), 2 * span);
    return low + (beyond > span ? 2 * span - beyond : beyond);
}

/* The pixel at a position, or -1 for one that counts as zero. */
static int64_t pixel(const struct attributes *a, double at, int64_t size)
{
    if (a->axis == REFLECTION)
        at = rint(reflect(at, size, a->keepdims));
    if (!(at >= 0)) /* NaN too */
        return a->axis == ZEROS ? -1 : 0;
    if (at > (double)(size - 1))
        return a->axis == ZEROS ? -1 : size - 1;
    return (int64_t)at;
}

/* Keys' piecewise cubic, as PyTorch and ONNX take it. */
static double cubic(double d)
{
    const double a = -0.75;
    d = fabs(d);
    if (d <= 1)
        return ((a + 2) * d - (a + 3)) * d * d + 1;
    return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

void grid_choose(const struct attributes *a, double where, int64_t size, struct grid_taps *t)
{
    double at = a->keepdims ? (where + 1) / 2 * (double)(size - 1)
                            : ((where + 1) * (double)size - 1) / 2;
    /* A border holds the position itself, so that half pixels beyond it do not blend. */
    if (a->axis == BORDER && a->mode != CUBIC)
        at = at < 0 ? 0 : at > (double)(size - 1) ? (double)(size - 1) : at;
    if (a->axis == REFLECTION && a->mode == NEAREST)
        at = reflect(at, size, a->keepdims);
    if (a->mode == NEAREST) {
        *t = (struct grid_taps){1, {pixel(a, rint(at), size)}, {1}};
        return;
    }
    double first = floor(at) - (a->mode == CUBIC);
    t->count = a->mode == CUBIC ? 4 : 2;
    for (int k = 0; k < t->count; k++) {
        t->index[k] = pixel(a, first + k, size);
        t->weight[k] = a->mode == CUBIC ? cubic(at - first - k) : 1 - fabs(at - first - k);
    }
}

/* The missing axes in front have one tap. */
static double sample(const float *plane, const struct grid_taps taps[AXES],
                     const int64_t size[AXES])
{
    double sum = 0;
    for (int i = 0; i < taps[0].count; i++)
        for (int j = 0; j < taps[1].count; j++)
            for (int k = 0; k < taps[2].count; k++) {
                int64_t d = taps[0].index[i], h = taps[1].index[j], w = taps[2].index[k];
                if (d >= 0 && h >= 0 && w >= 0)
                    sum += taps[0].weight[i] * taps[1].weight[j] * taps[2].weight[k] *
                           (double)plane[(d * size[1] + h) * size[2] + w];
            }
    return sum;
}

static int run_grid_sample(const struct node *n, const struct tensor *in, struct tensor *out,
                           struct error *e)
{
    (void)e;
    int spatial = n->a.spatial;
    int64_t size[AXES] = {1, 1, 1}, plane = 1, places = 1, channels = in->shape.dims[1];
    for (int i = 0; i < spatial; i++) {
        size[AXES - spatial + i] = in->shape.dims[2 + i];
        plane *= in->shape.dims[2 + i];
        places *= out->shape.dims[2 + i];
    }
    int64_t jobs = in->shape.dims[0] * places;
#pragma omp parallel for schedule(static)
    for (int64_t job = 0; job < jobs; job++) {
        struct grid_taps taps[AXES] = {{1, {0}, {1}}, {1, {0}, {1}}, {1, {0}, {1}}};
        int64_t image = job / places, place = job % places;
        const float *where = (const float *)in[1].data + job * spatial;
        for (int i = 0; i < spatial; i++) /* x comes first, and is the last dimension */
            grid_choose(&n->a, (double)where[i], size[AXES - 1 - i], &taps[AXES - 1 - i]);
        for (int64_t c = 0; c < channels; c++)
            ((float *)out->data)[(image * channels + c) * places + place] = (float)sample(
                (const float *)in->data + (image * channels + c) * plane, taps, size);
    }
    return 0;
}

static int infer_affine_grid(const struct infer_context *c, struct error *e)
{
    const struct value *theta = infer_input(c, 0);
    int64_t size[5], align;
    size_t count;
    int code = infer_type(c, 0, TYPES_F32, e);
    if (!code)
        code = infer_attribute_int(c, "align_corners", 0, &align, e);
    if (!code)
        code = infer_constant_ints(c, 1, "size", size, 5, &count, e);
    if (code)
        return code;
    int spatial = (int)count - 2;
    const int64_t *t = theta->shape.dims;
    if (spatial < 2 || theta->shape.rank != 3 || t[0] != size[0] || t[1] != spatial ||
        t[2] != spatial + 1)
        return infer_fail(c, e, "matrices that do not fit a size of %zu dimensions", count);
    c->node->a.keepdims = align != 0;
    c->node->a.spatial = spatial;
    struct shape out = {spatial + 2, {size[0]}};
    for (int i = 0; i < spatial; i++)
        out.dims[1 + i] = size[2 + i];
    out.dims[spatial + 1] = spatial;
    return infer_output(c, 0, DTYPE_F32, &out, e);
}

static int run_affine_grid(const struct node *n, const struct tensor *in, struct tensor *out,
                           struct error *e)
{
    (void)e;
    int spatial = n->a.spatial;
    int64_t places = 1, total;
    for (int i = 0; i < spatial; i++)
        places *= out->shape.dims[1 + i];
    total = out->shape.dims[0] * places;
    for (int64_t i = 0; i < total; i++) {
        double at[AXES + 1] = {0};
        const float *matrix = (const float *)in->data + i / places * spatial * (spatial + 1);
        int64_t rest = i % places;
        for (int d = spatial - 1; d >= 0; d--) { /* x is the last dimension */
            int64_t size = out->shape.dims[1 + d], k = rest % size;
            rest /= size;
            at[spatial - 1 - d] = !n->a.keepdims ? (2 * (double)k + 1) / (double)size - 1
                                  : size > 1     ? 2 * (double)k / (double)(size - 1) - 1
                                                 : 0;
        }
        at[spatial] = 1;
        for (int r = 0; r < spatial; r++) {
            double sum = 0;
            for (int k = 0; k <= spatial; k++)
                sum += (double)matrix[r * (spatial + 1) + k] * at[k];
            ((float *)out->data)[i * spatial + r] = (float)sum;
        }
    }
    return 0;
}

static const struct op ops[] = {
    {OP_SINCE(16, 99, "GridSample", 2, 2, 1, infer_grid_sample, run_grid_sample), .heavy = 1},
    {OP_SINCE(20, 99, "AffineGrid", 2, 2, 1, infer_affine_grid, run_affine_grid)},
};
const struct op_family family_grid = OP_FAMILY(ops);
