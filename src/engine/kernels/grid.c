/* GridSample of images, nearest or bilinear: which pixels a place takes and with which weights is
 * worked out once for all channels. */
#include "engine/kernel.h"
#include "engine/ops/ops.h"
#include "engine/rows.h"

enum { SLOT_X, SLOT_GRID, SLOT_Y };
enum { PLACES = 256, PARALLEL_MIN = 4 * 1024 };

struct grid {
    const struct attributes *a;
    int64_t images, channels, height, width, places;
};

/* The pixels of `count` places and their weights; tap t of place i at [t * PLACES + i]. Returns the
 * number of taps. */
static int choose_pixels(const struct grid *g, const float *where, int64_t count, int32_t *at,
                         float *weights)
{
    int taps = 0;
    for (int64_t i = 0; i < count; i++) {
        struct grid_taps x, y;
        grid_choose(g->a, (double)where[2 * i], g->width, &x);
        grid_choose(g->a, (double)where[2 * i + 1], g->height, &y);
        taps = x.count * y.count;
        for (int t = 0; t < taps; t++) {
            int64_t column = x.index[t % x.count], row = y.index[t / x.count];
            int inside = column >= 0 && row >= 0;
            at[t * PLACES + i] = inside ? (int32_t)(row * g->width + column) : 0;
            weights[t * PLACES + i] =
                inside ? (float)(x.weight[t % x.count] * y.weight[t / x.count]) : 0;
        }
    }
    return taps;
}

static int run_grid(struct step *s, struct error *e)
{
    (void)e;
    const struct grid *g = s->state;
    int64_t blocks = (g->places + PLACES - 1) / PLACES, plane = g->height * g->width;
#pragma omp parallel for schedule(static) if (g->images * g->places * g->channels >= PARALLEL_MIN)
    for (int64_t job = 0; job < g->images * blocks; job++) {
        int32_t at[GRID_TAPS * PLACES];
        float weights[GRID_TAPS * PLACES];
        int64_t image = job / blocks, first = job % blocks * PLACES;
        int64_t count = g->places - first < PLACES ? g->places - first : PLACES;
        const float *x = (const float *)s->data[SLOT_X] + image * g->channels * plane;
        float *y = (float *)s->data[SLOT_Y] + image * g->channels * g->places + first;
        const float *where = (const float *)s->data[SLOT_GRID] + (image * g->places + first) * 2;
        int taps = choose_pixels(g, where, count, at, weights);
        for (int64_t c = 0; c < g->channels; c++)
            row_blend(x + c * plane, at, weights, taps, PLACES, y + c * g->places, count);
    }
    return 0;
}

int kernel_grid(struct builder *b, const struct node *n, struct error *e)
{
    const struct shape *x = &b->graph->values[n->inputs[0]].shape;
    const struct shape *y = &b->graph->values[n->outputs[0]].shape;
    int slots[3];
    if (n->a.spatial != 2 || (n->a.mode != GRID_NEAREST && n->a.mode != GRID_LINEAR) ||
        x->dims[2] * x->dims[3] > INT32_MAX)
        return error_set(e, ERROR_UNSUPPORTED, "not nearest or bilinear over images");
    const struct grid g = {.a = &n->a, .images = x->dims[0], .channels = x->dims[1],
                           .height = x->dims[2], .width = x->dims[3],
                           .places = y->dims[2] * y->dims[3]};
    int code = builder_read_plain(b, n->inputs[0], &slots[SLOT_X], e);
    if (!code)
        code = builder_read_plain(b, n->inputs[1], &slots[SLOT_GRID], e);
    if (!code)
        code = builder_write(b, n->outputs[0], NULL, &slots[SLOT_Y], e);
    struct step *s;
    if (!code)
        code = builder_step_with(b, run_grid, "grid:blend", &g, sizeof g, &s, e);
    for (int i = 0; !code && i < 3; i++)
        s->slots[i] = slots[i];
    return code;
}
