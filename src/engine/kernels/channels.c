/* What treats a channel as a whole, in any layout: Mul, Add and PRelu with a number for each
 * channel, BatchNormalization, means over all positions, and Split into channels. Squeeze and
 * excitation is made of these. */
#include "engine/kernels/channels.h"

#include "engine/activation.h"
#include "engine/kernel.h"
#include "engine/op.h"
#include "engine/simd.h"

#if defined(__GNUC__) && !defined(__clang__)
/* As in rows.c: with room for a floating-point trap a selection is a branch, and not vectorised. */
#pragma GCC optimize("no-trapping-math")
#endif

#include <math.h>
#include <string.h>

/* ---- the view ---- */

const struct layout *channel_layout(struct builder *b, const struct shape *s, int64_t lanes)
{
    if (lanes == 1)
        return layout_plain(b->onednn, s);
    if (s->dims[1] % lanes)
        return NULL;
    return lanes == 8 || lanes == 16 ? layout_blocked(b->onednn, s, (int)lanes)
                                     : layout_channels_last(b->onednn, s);
}

int channel_view(struct builder *b, const struct shape *s, const struct layout *layout,
                 struct channel_view *v)
{
    const int64_t lanes[] = {1, 8, 16, s->rank > 1 ? s->dims[1] : 1};
    if (s->rank < 3 || s->rank > 5 || !shape_elements(s))
        return -1;
    for (size_t i = 0; i < sizeof lanes / sizeof *lanes; i++) {
        const struct layout *candidate = i == 3 ? layout_channels_last(b->onednn, s)
                                                : channel_layout(b, s, lanes[i]);
        if (!candidate || !layout_same_places(layout, candidate))
            continue;
        *v = (struct channel_view){.images = s->dims[0], .groups = s->dims[1] / lanes[i],
                                   .positions = shape_elements(s) / s->dims[0] / s->dims[1],
                                   .lanes = lanes[i]};
        return 0;
    }
    return -1;
}

/* ---- a number for each channel ---- */

enum channel_kind { SCALE, SHIFT, SLOPE, AFFINE };

struct channel_job {
    struct channel_view v;
    enum channel_kind kind;
    struct epilogue after; /* for AFFINE */
    int64_t other_image; /* numbers from one image to the next: 0 when all have the same */
    int64_t second;      /* floats from a channel's first number to its second: for AFFINE */
    int64_t part, parts; /* positions worked on at a time */
};

#define CHANNEL_ROWS(name, expression) \
    SIMD_CLONES \
    static void name(const float *x, const float *restrict first, const float *restrict second, \
                     float *y, int64_t positions, int64_t lanes) \
    { \
        if (lanes == 1) { \
            float f = *first, g = *second; \
            (void)g; \
            _Pragma("omp simd") \
            for (int64_t i = 0; i < positions; i++) { \
                float v = x[i]; \
                y[i] = (expression); \
            } \
            return; \
        } \
        if (lanes == 8) { \
            for (int64_t p = 0; p < 8 * positions; p += 8) \
                _Pragma("omp simd") \
                for (int64_t k = 0; k < 8; k++) { \
                    float v = x[p + k], f = first[k], g = second[k]; \
                    (void)g; \
                    y[p + k] = (expression); \
                } \
            return; \
        } \
        for (int64_t p = 0; p < lanes * positions; p += lanes) \
            _Pragma("omp simd") \
            for (int64_t k = 0; k < lanes; k++) { \
                float v = x[p + k], f = first[k], g = second[k]; \
                (void)g; \
                y[p + k] = (expression); \
            } \
    }

CHANNEL_ROWS(scale_rows, v * f)
CHANNEL_ROWS(shift_rows, v + f)
CHANNEL_ROWS(slope_rows, v < 0 ? v * f : v)
CHANNEL_ROWS(affine_rows, v * f + g)

enum { WORTH_THREADS = 16384 }; /* floats */
enum { SLOT_X, SLOT_OTHER, SLOT_Y };

static int run_channels(struct step *s, struct error *e)
{
    typedef void rows(const float *, const float *, const float *, float *, int64_t, int64_t);
    static rows *const kinds[] = {[SCALE] = scale_rows, [SHIFT] = shift_rows, [SLOPE] = slope_rows,
                                  [AFFINE] = affine_rows};
    const struct channel_job *job = s->state;
    const struct channel_view *v = &job->v;
    const float *x = s->data[SLOT_X], *other = s->data[SLOT_OTHER];
    float *y = s->data[SLOT_Y];
    int64_t jobs = v->images * v->groups * job->parts;
    (void)e;
#pragma omp parallel for schedule(static) \
    if (v->images * v->groups * v->positions * v->lanes > WORTH_THREADS)
    for (int64_t i = 0; i < jobs; i++) {
        int64_t group = i / job->parts, first = i % job->parts * job->part;
        int64_t count = v->positions - first < job->part ? v->positions - first : job->part;
        int64_t at = (group * v->positions + first) * v->lanes;
        const float *numbers =
            other + group / v->groups * job->other_image + group % v->groups * v->lanes;
        kinds[job->kind](x + at, numbers, numbers + job->second, y + at, count, v->lanes);
        if (job->after.activation != ACT_NONE)
            activation_row(&job->after, y + at, y + at, count * v->lanes);
    }
    return 0;
}

/* other has a number for each channel of y, the same for all images or not. */
static int is_per_channel(const struct shape *other, const struct shape *y, int *each_image)
{
    int missing = y->rank - other->rank;
    if (y->rank < 3 || missing < 0 || missing > 1 || shape_equal(other, y))
        return 0;
    for (int i = missing; i < y->rank; i++)
        if (other->dims[i - missing] != (i == 1 ? y->dims[1] : 1) &&
            !(i == 0 && other->dims[0] == y->dims[0]))
            return 0;
    *each_image = missing == 0 && other->dims[0] == y->dims[0] && y->dims[0] > 1;
    return 1;
}

static int kind_of(const struct node *n)
{
    return !strcmp(n->op->name, "Mul") ? SCALE : !strcmp(n->op->name, "Add") ? SHIFT : SLOPE;
}

/* For padded layouts oneDNN has sums and products; the others are done row-major then. */
static int find_view(struct builder *b, int x, struct channel_job *job, const struct layout **layout)
{
    const struct shape *s = &b->graph->values[x].shape;
    *layout = builder_layout(b, x);
    if (!channel_view(b, s, *layout, &job->v))
        return 0;
    *layout = builder_plain(b, x);
    return job->kind >= SLOPE ? channel_view(b, s, *layout, &job->v) : -1;
}

static int describe(struct builder *b, const struct node *n, struct channel_job *job, int *x,
                    int *other, const struct layout **layout, struct error *e)
{
    const struct value *v = b->graph->values;
    const struct shape *y = &v[n->outputs[0]].shape;
    int each_image = 0;
    *job = (struct channel_job){.kind = (enum channel_kind)kind_of(n)};
    *x = n->inputs[0];
    *other = n->inputs[1];
    if (job->kind != SLOPE && !shape_equal(&v[*x].shape, y)) {
        *x = n->inputs[1];
        *other = n->inputs[0];
    }
    if (v[*x].type != DTYPE_F32 || v[*other].type != DTYPE_F32 || v[*x].constant ||
        !shape_equal(&v[*x].shape, y) || !is_per_channel(&v[*other].shape, y, &each_image) ||
        find_view(b, *x, job, layout))
        return error_set(e, ERROR_UNSUPPORTED, "not a number for each channel");
    job->other_image = each_image ? y->dims[1] : 0;
    return 0;
}

/* Parts of about 32 KiB, so that threads have something to share. */
static void divide(struct channel_job *job)
{
    enum { PART_FLOATS = 8192 };
    int64_t fit = PART_FLOATS / job->v.lanes;
    job->part = fit < 1 ? 1 : fit;
    job->parts = (job->v.positions + job->part - 1) / job->part;
}

static int add_channel_step(struct builder *b, const struct channel_job *job, const int *slots,
                            struct error *e)
{
    struct step *s;
    int code = builder_step_with(b, run_channels, "rows:channels", job, sizeof *job, &s, e);
    if (!code)
        memcpy(s->slots, slots, 3 * sizeof *slots);
    return code;
}

int kernel_channels(struct builder *b, const struct node *n, struct error *e)
{
    struct channel_job job;
    int x, other, slots[3];
    const struct layout *layout = NULL;
    int code = describe(b, n, &job, &x, &other, &layout, e);
    if (code)
        return code;
    divide(&job);
    code = builder_read(b, x, layout, &slots[SLOT_X], e);
    if (!code)
        code = builder_read_plain(b, other, &slots[SLOT_OTHER], e);
    if (!code)
        code = builder_reuse(b, n->outputs[0], x, slots[SLOT_X], layout, &slots[SLOT_Y], e);
    return code ? code : add_channel_step(b, &job, slots, e);
}

/* The factors of all channels, then the summands; NULL when they are not known. */
static float *affine_of(struct builder *b, const struct node *n, int64_t channels)
{
    const float *p[4];
    for (int i = 0; i < 4; i++)
        if (!(p[i] = b->graph->values[n->inputs[1 + i]].constant))
            return NULL;
    float *both = memory_pool_take(&b->program->weights, 2 * (size_t)channels * sizeof *both);
    for (int64_t c = 0; both && c < channels; c++) {
        double factor = (double)p[0][c] / sqrt((double)p[3][c] + (double)n->a.epsilon);
        both[c] = (float)factor;
        both[channels + c] = (float)((double)p[1][c] - (double)p[2][c] * factor);
    }
    return both;
}

/* A BatchNormalization that no Conv could take in. */
int kernel_batch_norm(struct builder *b, const struct node *n, struct error *e)
{
    const struct shape *s = &b->graph->values[n->inputs[0]].shape;
    struct channel_job job = {.kind = AFFINE,
                              .after = {.activation = (enum activation)n->a.activation,
                                        .low = n->a.low, .high = n->a.high}};
    const struct layout *layout = NULL;
    int slots[3];
    float *both;
    if (find_view(b, n->inputs[0], &job, &layout) || !(both = affine_of(b, n, s->dims[1])))
        return error_set(e, ERROR_UNSUPPORTED, "not a factor and a summand for each channel");
    divide(&job);
    job.second = s->dims[1];
    int code = builder_read(b, n->inputs[0], layout, &slots[SLOT_X], e);
    if (!code)
        code = builder_fixed(b, both, 2 * (size_t)job.second * sizeof *both, &slots[SLOT_OTHER], e);
    if (!code)
        code = builder_reuse(b, n->outputs[0], n->inputs[0], slots[SLOT_X], layout, &slots[SLOT_Y],
                             e);
    return code ? code : add_channel_step(b, &job, slots, e);
}

/* ---- means ---- */

SIMD_CLONES
static void mean_blocked8(const float *x, int64_t positions, float *y)
{
    lanes8 a = {0}, b = {0}, c = {0}, d = {0};
    const lanes8 *p = (const lanes8 *)x;
    int64_t i = 0;
    for (; i + 4 <= positions; i += 4) {
        a += p[i];
        b += p[i + 1];
        c += p[i + 2];
        d += p[i + 3];
    }
    for (; i < positions; i++)
        a += p[i];
    *(lanes8 *)y = ((a + b) + (c + d)) / (float)positions;
}

SIMD_CLONES
static void mean_plain(const float *x, int64_t positions, float *y)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < positions; i++)
        sum += x[i];
    *y = sum / (float)positions;
}

SIMD_CLONES
static void mean_lanes(const float *x, int64_t positions, int64_t lanes, float *restrict y)
{
    memset(y, 0, (size_t)lanes * sizeof *y);
    for (int64_t p = 0; p < positions; p++)
#pragma omp simd
        for (int64_t k = 0; k < lanes; k++)
            y[k] += x[p * lanes + k];
#pragma omp simd
    for (int64_t k = 0; k < lanes; k++)
        y[k] /= (float)positions;
}

static int run_mean(struct step *s, struct error *e)
{
    const struct channel_view *v = s->state;
    const float *x = s->data[0];
    float *y = s->data[1];
    int64_t jobs = v->images * v->groups, each = v->positions * v->lanes;
    (void)e;
#pragma omp parallel for schedule(static) if (jobs * each > WORTH_THREADS)
    for (int64_t i = 0; i < jobs; i++) {
        if (v->lanes == 8)
            mean_blocked8(x + i * each, v->positions, y + i * 8);
        else if (v->lanes == 1)
            mean_plain(x + i * each, v->positions, y + i);
        else
            mean_lanes(x + i * each, v->positions, v->lanes, y + i * v->lanes);
    }
    return 0;
}

/* What comes out is a row of channels for each image in any layout, so row-major. */
static int mean_of_all(struct builder *b, const struct node *n, struct error *e)
{
    const struct value *x = &b->graph->values[n->inputs[0]];
    const struct layout *layout = builder_layout(b, n->inputs[0]);
    struct channel_view v;
    struct step *s;
    int source, slot;
    if (x->type != DTYPE_F32 || channel_view(b, &x->shape, layout, &v))
        return error_set(e, ERROR_UNSUPPORTED, "not a layout to sum up");
    int code = builder_read(b, n->inputs[0], layout, &source, e);
    if (!code)
        code = builder_write(b, n->outputs[0], NULL, &slot, e);
    if (!code)
        code = builder_step_with(b, run_mean, "rows:mean", &v, sizeof v, &s, e);
    if (code)
        return code;
    s->slots[0] = source;
    s->slots[1] = slot;
    return 0;
}

int kernel_mean(struct builder *b, const struct node *n, struct error *e)
{
    int rank = b->graph->values[n->inputs[0]].shape.rank;
    int is_pool = !strcmp(n->op->name, "GlobalAveragePool");
    if (!is_pool && (rank < 3 || n->a.axis_count != rank - 2 || n->a.axes[0] != 2))
        return error_set(e, ERROR_UNSUPPORTED, "not over all of the spatial dimensions");
    return mean_of_all(b, n, e);
}

/* ---- Split ---- */

struct split_job {
    struct channel_view v;
    int parts;
    int64_t groups[NODE_OUTPUT_MAX];
};

/* Slot 0 is the input, slot 1 + i output i. */
static int run_split(struct step *s, struct error *e)
{
    const struct split_job *job = s->state;
    int64_t each = job->v.positions * job->v.lanes, first = 0;
    (void)e;
    for (int i = 0; i < job->parts; i++) {
        int64_t count = job->groups[i];
        const float *x = (const float *)s->data[0] + first * each;
        float *y = s->data[1 + i];
#pragma omp parallel for schedule(static) if (job->v.images * count * each > WORTH_THREADS)
        for (int64_t k = 0; k < job->v.images * count; k++)
            memcpy(y + k * each, x + (k / count * job->v.groups + k % count) * each,
                   (size_t)each * sizeof *y);
        first += count;
    }
    return 0;
}

/* Every output must be made of whole groups. */
static int describe_split(struct builder *b, const struct node *n, struct split_job *job,
                          struct error *e)
{
    const struct value *v = b->graph->values, *x = &v[n->inputs[0]];
    const struct layout *layout = builder_layout(b, n->inputs[0]);
    *job = (struct split_job){.parts = n->output_count};
    if (n->a.axis != 1 || x->type != DTYPE_F32 || channel_view(b, &x->shape, layout, &job->v))
        return error_set(e, ERROR_UNSUPPORTED, "not a Split into channels");
    for (int i = 0; i < n->output_count; i++) {
        int64_t channels = v[n->outputs[i]].shape.dims[1];
        if (channels % job->v.lanes || channels == 0)
            return error_set(e, ERROR_UNSUPPORTED, "a part that cuts through a group of channels");
        job->groups[i] = channels / job->v.lanes;
    }
    return 0;
}

int kernel_split(struct builder *b, const struct node *n, struct error *e)
{
    struct split_job job;
    struct step *s;
    int slots[1 + NODE_OUTPUT_MAX];
    int code = describe_split(b, n, &job, e);
    if (!code)
        code = builder_read(b, n->inputs[0], builder_layout(b, n->inputs[0]), &slots[0], e);
    for (int i = 0; !code && i < n->output_count; i++) {
        const struct shape *y = &b->graph->values[n->outputs[i]].shape;
        code = builder_write(b, n->outputs[i], channel_layout(b, y, job.v.lanes), &slots[1 + i], e);
    }
    if (!code)
        code = builder_step_with(b, run_split, "rows:split", &job, sizeof job, &s, e);
    if (!code)
        memcpy(s->slots, slots, (size_t)(1 + n->output_count) * sizeof *slots);
    return code;
}
