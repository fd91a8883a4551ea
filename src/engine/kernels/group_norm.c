/* GroupNorm and InstanceNorm, row-major or with channels in blocks of eight, as convolutions leave
 * them. A pass over memory finds each channel's mean and spread, a second one scales; both are over
 * as few channels as hold whole groups, so that the second finds them in the cache. */
#include "engine/kernel.h"
#include "engine/op.h"
#include "engine/rows.h"

#include <math.h>
#include <omp.h>
#include <string.h>

enum { SLOT_X, SLOT_Y, SLOT_SCALE, SLOT_BIAS, SLOT_SCRATCH, SLOTS };
enum { BLOCK = 8, PARALLEL_MIN = 32 * 1024 };

struct group_norm {
    int64_t images, channels, pixels;
    int64_t each;       /* channels of a group */
    int64_t lanes;      /* channels side by side in memory: 1 or 8 */
    int64_t span;       /* channels of the fewest whole groups that are whole blocks */
    int64_t scale_each; /* channels that share a number of scale and bias */
    float epsilon;
};

/* Of each channel; in scratch memory. */
struct channel {
    struct moments moments;
    float factor, shift;
};

static int64_t whole_blocks(int64_t each, int64_t lanes)
{
    int64_t span = each;
    while (span % lanes)
        span += each;
    return span;
}

static void measure(const struct group_norm *g, const float *x, struct channel *c)
{
    struct moments m[BLOCK];
    if (g->lanes == 1)
        row_moments(x, g->pixels, m);
    else
        row_moments8(x, g->pixels, m);
    for (int64_t i = 0; i < g->lanes; i++)
        c[i].moments = m[i];
}

static void scale(const struct group_norm *g, const float *x, const struct channel *c, float *y)
{
    float factor[BLOCK], shift[BLOCK];
    if (g->lanes == 1) {
        row_affine(x, c->factor, c->shift, y, g->pixels);
        return;
    }
    for (int i = 0; i < BLOCK; i++) {
        factor[i] = c[i].factor;
        shift[i] = c[i].shift;
    }
    row_affine8(x, factor, shift, y, g->pixels);
}

/* What each channel is multiplied by and what is added; first: its number in the image. */
static void settle(const struct group_norm *g, struct channel *c, const float *scales,
                   const float *biases, int64_t first)
{
    struct moments all = {0};
    for (int64_t i = 0; i < g->each; i++)
        moments_join(&all, &c[i].moments);
    double inverse = 1 / sqrt(all.spread / (double)all.count + (double)g->epsilon);
    for (int64_t i = 0; i < g->each; i++) {
        int64_t at = (first + i) / g->scale_each;
        double factor = inverse * (double)scales[at];
        c[i].factor = (float)factor;
        c[i].shift = (float)((double)biases[at] - all.mean * factor);
    }
}

/* first: of the span's channels, counted over all images. */
static void normalise(const struct group_norm *g, const struct step *s, int64_t first)
{
    const float *x = (const float *)s->data[SLOT_X] + first * g->pixels;
    float *y = (float *)s->data[SLOT_Y] + first * g->pixels;
    struct channel *c = (struct channel *)s->data[SLOT_SCRATCH] + first;
    int apart = !omp_in_parallel() && g->span * g->pixels >= PARALLEL_MIN;
#pragma omp parallel for schedule(static) if (apart)
    for (int64_t i = 0; i < g->span; i += g->lanes)
        measure(g, x + i * g->pixels, c + i);
    for (int64_t i = 0; i < g->span; i += g->each)
        settle(g, c + i, s->data[SLOT_SCALE], s->data[SLOT_BIAS], first % g->channels + i);
#pragma omp parallel for schedule(static) if (apart)
    for (int64_t i = 0; i < g->span; i += g->lanes)
        scale(g, x + i * g->pixels, c + i, y + i * g->pixels);
}

static int run_group_norm(struct step *s, struct error *e)
{
    (void)e;
    const struct group_norm *g = s->state;
    int64_t channels = g->images * g->channels, spans = channels / g->span;
    int together = spans >= 2 * omp_get_max_threads() && channels * g->pixels >= PARALLEL_MIN;
#pragma omp parallel for schedule(static) if (together)
    for (int64_t first = 0; first < channels; first += g->span)
        normalise(g, s, first);
    return 0;
}

static int describe(const struct builder *b, const struct node *n, struct group_norm *g,
                    struct error *e)
{
    const struct value *v = b->graph->values;
    const struct shape *x = &v[n->inputs[0]].shape, *scales = &v[n->inputs[1]].shape;
    int instance = strcmp(n->op->name, "InstanceNormalization") == 0;
    if (v[n->inputs[0]].type != DTYPE_F32 || v[n->inputs[1]].type != DTYPE_F32 || x->rank < 3)
        return error_set(e, ERROR_UNSUPPORTED, "not float32 with channels and places");
    int64_t channels = x->dims[1];
    *g = (struct group_norm){.images = x->dims[0], .channels = channels, .lanes = 1,
                             .pixels = shape_elements(x) / (x->dims[0] * channels),
                             .each = instance ? 1 : channels / n->a.group,
                             .scale_each = channels / scales->dims[0], .epsilon = n->a.epsilon};
    g->span = g->each;
    return 0;
}

static int connect(struct builder *b, const struct node *n, const struct group_norm *g,
                   const struct layout *layout, int *slots, struct error *e)
{
    int code = builder_read(b, n->inputs[0], layout, &slots[SLOT_X], e);
    if (!code)
        code = builder_read_plain(b, n->inputs[1], &slots[SLOT_SCALE], e);
    if (!code)
        code = builder_read_plain(b, n->inputs[2], &slots[SLOT_BIAS], e);
    if (!code)
        code = builder_scratch(b, (size_t)(g->images * g->channels) * sizeof(struct channel),
                               &slots[SLOT_SCRATCH], e);
    return code ? code : builder_reuse(b, n->outputs[0], n->inputs[0], slots[SLOT_X], layout,
                                       &slots[SLOT_Y], e);
}

int kernel_group_norm(struct builder *b, const struct node *n, struct error *e)
{
    struct group_norm g;
    struct step *s;
    int slots[SLOTS] = {NO_SLOT, NO_SLOT, NO_SLOT, NO_SLOT, NO_SLOT};
    int code = describe(b, n, &g, e);
    if (code)
        return code;
    const struct shape *x = &b->graph->values[n->inputs[0]].shape;
    const struct layout *layout = builder_plain(b, n->inputs[0]);
    const struct layout *blocked = x->rank == 4 ? layout_blocked(b->onednn, x, 8) : NULL;
    if (g.channels % BLOCK == 0 && layout_equal(builder_layout(b, n->inputs[0]), blocked)) {
        layout = blocked;
        g.lanes = BLOCK;
        g.span = whole_blocks(g.each, BLOCK);
    }
    code = connect(b, n, &g, layout, slots, e);
    if (!code)
        code = builder_step_with(b, run_group_norm, g.lanes == 1 ? "norm:rows" : "norm:blocked8",
                                 &g, sizeof g, &s, e);
    if (!code)
        memcpy(s->slots, slots, sizeof slots);
    return code;
}
