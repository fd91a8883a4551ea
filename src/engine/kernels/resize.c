/* Resize and Upsample of the spatial dimensions, in the layout the input comes in. What an output
 * row and column read, and with which weights, is worked out when the model is loaded, by the
 * reference kernel's own rule; a Resize of other dimensions, or over more inputs than four in a
 * direction (antialias), stays with that. */
#include "engine/kernel.h"
#include "engine/kernels/channels.h"
#include "engine/ops/ops.h"
#include "engine/simd.h"

#include <string.h>

enum { TAPS_MAX = 4 };

/* Where output i reads: from[taps * i] and the following, in floats from the plane's begin. */
struct axis {
    int64_t out;
    int taps;
    const int64_t *from;
    const float *weights;
};

struct resize_job {
    struct channel_view v; /* of the input */
    int64_t in_plane, out_plane;
    struct axis rows, columns;
    int doubles; /* row-major, and each column is read twice */
};

/* ---- one output row ---- */

static inline __attribute__((always_inline)) void
row_of_8(const struct resize_job *j, const float *x, int64_t row, float *y, int high, int wide)
{
    const int64_t *lines = j->rows.from + row * high, *at = j->columns.from;
    const float *v = j->rows.weights + row * high, *w = j->columns.weights;
    for (int64_t i = 0; i < j->columns.out; i++, at += wide, w += wide) {
        lanes8 sum = {0};
        for (int k = 0; k < high; k++) {
            lanes8 line = {0};
            for (int l = 0; l < wide; l++)
                line += *(const lanes8 *)(x + lines[k] + at[l]) * w[l];
            sum += line * v[k];
        }
        *(lanes8 *)(y + 8 * i) = sum;
    }
}

SIMD_CLONES
static void blocked_row(const struct resize_job *j, const float *x, int64_t row, float *y)
{
    int high = j->rows.taps, wide = j->columns.taps;
    if (high == 1 && wide == 1) {
        x += j->rows.from[row];
        for (int64_t i = 0; i < j->columns.out; i++)
            *(lanes8 *)(y + 8 * i) = *(const lanes8 *)(x + j->columns.from[i]);
    } else if (high == 2 && wide == 2) {
        row_of_8(j, x, row, y, 2, 2);
    } else if (high == 4 && wide == 4) {
        row_of_8(j, x, row, y, 4, 4);
    } else {
        row_of_8(j, x, row, y, high, wide);
    }
}

SIMD_CLONES
static void plain_row(const struct resize_job *j, const float *x, int64_t row, float *y)
{
    const struct axis *c = &j->columns;
    const int64_t *lines = j->rows.from + row * j->rows.taps;
    const float *v = j->rows.weights + row * j->rows.taps;
    if (j->doubles) {
        for (int64_t i = 0; i < c->out / 2; i++)
            y[2 * i] = y[2 * i + 1] = x[lines[0] + i];
        return;
    }
    for (int64_t i = 0; i < c->out; i++) {
        const int64_t *at = c->from + i * c->taps;
        const float *w = c->weights + i * c->taps;
        float sum = 0;
        for (int k = 0; k < j->rows.taps; k++) {
            float line = 0;
            for (int l = 0; l < c->taps; l++)
                line += x[lines[k] + at[l]] * w[l];
            sum += line * v[k];
        }
        y[i] = sum;
    }
}

SIMD_CLONES
static void add_scaled(const float *x, float factor, float *restrict y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] += x[i] * factor;
}

static void lanes_row(const struct resize_job *j, const float *x, int64_t row, float *y)
{
    const struct axis *c = &j->columns;
    size_t bytes = (size_t)j->v.lanes * sizeof *y;
    for (int64_t i = 0; i < c->out; i++, y += j->v.lanes) {
        if (j->rows.taps * c->taps == 1) {
            memcpy(y, x + j->rows.from[row] + c->from[i], bytes);
            continue;
        }
        memset(y, 0, bytes);
        for (int64_t k = row * j->rows.taps; k < (row + 1) * j->rows.taps; k++)
            for (int64_t l = i * c->taps; l < (i + 1) * c->taps; l++)
                add_scaled(x + j->rows.from[k] + c->from[l], j->rows.weights[k] * c->weights[l], y,
                           j->v.lanes);
    }
}

static int run_resize(struct step *s, struct error *e)
{
    enum { WORTH_THREADS = 16384 };
    const struct resize_job *j = s->state;
    const float *x = s->data[0];
    float *y = s->data[1];
    int64_t rows = j->rows.out, width = j->columns.out * j->v.lanes;
    int64_t jobs = j->v.images * j->v.groups * rows;
    (void)e;
#pragma omp parallel for schedule(static) if (jobs * width > WORTH_THREADS)
    for (int64_t i = 0; i < jobs; i++) {
        const float *from = x + i / rows * j->in_plane;
        float *to = y + i / rows * j->out_plane + i % rows * width;
        if (j->v.lanes == 8)
            blocked_row(j, from, i % rows, to);
        else if (j->v.lanes == 1)
            plain_row(j, from, i % rows, to);
        else
            lanes_row(j, from, i % rows, to);
    }
    return 0;
}

/* ---- at load ---- */

/* step: floats from an input to the next. -1 where a position reads too many, or without memory. */
static int fill_axis(struct builder *b, const struct attributes *a, int axis, int64_t in,
                     int64_t out, int64_t step, struct axis *result)
{
    int64_t from[TAPS_MAX];
    double weights[TAPS_MAX];
    int taps = resize_taps(a, axis, 0, in, out, TAPS_MAX, from, weights);
    int64_t *all = taps ? arena_array(&b->program->arena, (size_t)(out * taps), sizeof *all) : NULL;
    float *w = all ? arena_array(&b->program->arena, (size_t)(out * taps), sizeof *w) : NULL;
    if (!w)
        return -1;
    for (int64_t i = 0; i < out; i++) {
        if (resize_taps(a, axis, i, in, out, TAPS_MAX, from, weights) != taps)
            return -1;
        for (int k = 0; k < taps; k++) {
            all[i * taps + k] = from[k] * step;
            w[i * taps + k] = (float)weights[k];
        }
    }
    *result = (struct axis){out, taps, all, w};
    return 0;
}

/* Every position of the axis is the input's at the same place. */
static int is_kept(const struct attributes *a, int axis, const struct shape *x,
                   const struct shape *y)
{
    int64_t from;
    double weight;
    if (x->dims[axis] != y->dims[axis])
        return 0;
    for (int64_t i = 0; i < x->dims[axis]; i++)
        if (resize_taps(a, axis, i, x->dims[axis], x->dims[axis], 1, &from, &weight) != 1 ||
            from != i)
            return 0;
    return 1;
}

static int reads_twice(const struct axis *c)
{
    for (int64_t i = 0; i < c->out; i++)
        if (c->from[i] != i / 2)
            return 0;
    return c->out % 2 == 0;
}

/* A vector is an image of one row. */
static int fill_axes(struct builder *b, const struct attributes *a, const struct shape *x,
                     const struct shape *y, struct resize_job *job)
{
    static const int64_t zero = 0;
    static const float one = 1;
    int last = x->rank - 1;
    int64_t lanes = job->v.lanes, line = x->dims[last] * lanes;
    job->rows = (struct axis){1, 1, &zero, &one};
    if (last == 3 && fill_axis(b, a, 2, x->dims[2], y->dims[2], line, &job->rows))
        return -1;
    if (fill_axis(b, a, last, x->dims[last], y->dims[last], lanes, &job->columns))
        return -1;
    job->in_plane = job->v.positions * lanes;
    job->out_plane = job->rows.out * job->columns.out * lanes;
    job->doubles = lanes == 1 && job->rows.taps * job->columns.taps == 1 &&
                   reads_twice(&job->columns);
    return 0;
}

static int describe(struct builder *b, const struct node *n, struct resize_job *job,
                    const struct layout **layout, struct error *e)
{
    const struct value *x = &b->graph->values[n->inputs[0]];
    const struct shape *y = &b->graph->values[n->outputs[0]].shape;
    *job = (struct resize_job){0};
    *layout = builder_layout(b, n->inputs[0]);
    if (x->type != DTYPE_F32 || x->shape.rank < 3 || x->shape.rank > 4 || !shape_elements(y) ||
        !is_kept(&n->a, 0, &x->shape, y) || !is_kept(&n->a, 1, &x->shape, y))
        return error_set(e, ERROR_UNSUPPORTED, "not a Resize of one or two spatial dimensions");
    if (channel_view(b, &x->shape, *layout, &job->v)) {
        *layout = builder_plain(b, n->inputs[0]);
        if (channel_view(b, &x->shape, *layout, &job->v))
            return error_memory(e);
    }
    if (fill_axes(b, &n->a, &x->shape, y, job))
        return error_set(e, ERROR_UNSUPPORTED, "an output that reads more than four inputs");
    return 0;
}

int kernel_resize(struct builder *b, const struct node *n, struct error *e)
{
    struct resize_job job;
    const struct layout *layout;
    struct step *s;
    int source, slot;
    int code = describe(b, n, &job, &layout, e);
    if (!code)
        code = builder_read(b, n->inputs[0], layout, &source, e);
    if (!code)
        code = builder_write(b, n->outputs[0],
                             channel_layout(b, &b->graph->values[n->outputs[0]].shape,
                                            job.v.lanes),
                             &slot, e);
    if (!code)
        code = builder_step_with(b, run_resize, "rows:resize", &job, sizeof job, &s, e);
    if (code)
        return code;
    s->slots[0] = source;
    s->slots[1] = slot;
    return 0;
}
