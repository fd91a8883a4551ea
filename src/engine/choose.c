#include "engine/choose.h"

#include <string.h>

enum { WORTH_PERCENT = 8 };
#define NS_UNKNOWN UINT64_MAX
#define NS_DEAR (UINT64_MAX / 8)

struct best {
    struct primitive *primitive;
    uint64_t ns;
    int candidate;
};

uint64_t choose_reorder_ns(struct builder *b, const struct layout *from, const struct layout *to)
{
    struct primitive *p;
    if (layout_same_places(from, to))
        return 0;
    if (primitive_reorder(b->onednn, from, to, &p, NULL))
        return NS_DEAR;
    uint64_t ns = tuner_time(&b->tuner, p);
    primitive_free(p);
    return ns == NS_UNKNOWN ? NS_DEAR : ns;
}

static uint64_t cost(struct builder *b, const struct choice *c, struct primitive *p)
{
    uint64_t ns = tuner_time(&b->tuner, p);
    return ns == NS_UNKNOWN || !c->extra_ns ? ns : ns + c->extra_ns(b, c->job, p);
}

static int twins(const struct primitive *a, const struct primitive *b)
{
    for (int i = OPERAND_SRC; i <= OPERAND_DST; i++)
        if (i != OPERAND_BIAS && !layout_equal(primitive_layout(a, (enum operand)i),
                                               primitive_layout(b, (enum operand)i)))
            return 0;
    return strcmp(primitive_kernel(a), primitive_kernel(b)) == 0;
}

/* What is usually fastest comes first and is replaced only by what is clearly faster: noise must
 * not scatter layouts over the model, nor make one load differ from the next. */
static int is_faster(uint64_t ns, const struct best *best)
{
    return ns != NS_UNKNOWN && best->ns != NS_UNKNOWN &&
           ns + ns / 100 * WORTH_PERCENT < best->ns;
}

static void replace(struct best *best, struct primitive *p, uint64_t ns, int candidate)
{
    primitive_free(best->primitive);
    *best = (struct best){p, ns, candidate};
}

static void consider_own(struct builder *b, const struct choice *c, int own, struct best *best)
{
    if (!c->own_exists(b, c->job, own))
        return;
    uint64_t ns = tuner_open(&b->tuner) ? c->own_ns(b, c->job, own) : NS_UNKNOWN;
    if (best->candidate < 0 || is_faster(ns, best))
        replace(best, NULL, ns, c->count + own);
}

/* One of oneDNN's general-purpose fallbacks loses to anything else even untimed. */
static int is_slower_kind(const struct primitive *p, const struct best *best)
{
    return primitive_is_slow(p) && !(best->primitive && primitive_is_slow(best->primitive));
}

static void consider(struct builder *b, const struct choice *c, int candidate, struct best *best)
{
    struct primitive *p;
    if (c->make(b, c->job, candidate, &p, NULL))
        return;
    int first = best->candidate < 0, twin = best->primitive && twins(best->primitive, p);
    int rescue = best->primitive && primitive_is_slow(best->primitive) && !primitive_is_slow(p);
    uint64_t ns = twin || (!first && is_slower_kind(p, best)) ? NS_UNKNOWN : cost(b, c, p);
    if (first || rescue || is_faster(ns, best))
        replace(best, p, ns, candidate);
    else
        primitive_free(p);
}

static int is_wanting(const struct best *best)
{
    return best->candidate < 0 || (best->primitive && primitive_is_slow(best->primitive));
}

/* One that was timed before, or is forced: whether it exists. */
static int take(struct builder *b, const struct choice *c, struct primitive **out, int candidate)
{
    if (candidate >= 0 && candidate < c->count)
        return !c->make(b, c->job, candidate, out, NULL);
    return candidate >= c->count && candidate < c->count + c->own_count &&
           c->own_exists(b, c->job, candidate - c->count);
}

int choose(struct builder *b, const struct choice *c, struct primitive **out, int *candidate,
           struct error *e)
{
    struct best best = {.ns = NS_UNKNOWN, .candidate = -1};
    *out = NULL;
    *candidate = b->tuner.forced ? b->tuner.forced - 1 : tuner_recall(&b->tuner, c->key);
    if (take(b, c, out, *candidate))
        return 0;
    for (int i = 0; i < c->own_count; i++)
        if (is_wanting(&best) || tuner_open(&b->tuner))
            consider_own(b, c, i, &best);
    for (int i = 0; i < c->count; i++)
        if (is_wanting(&best) || (i < c->rivals && tuner_open(&b->tuner)))
            consider(b, c, i, &best);
    if (best.candidate < 0)
        return error_set(e, ERROR_UNSUPPORTED, "oneDNN has no kernel for it");
    tuner_remember(&b->tuner, c->key, best.candidate);
    *out = best.primitive;
    *candidate = best.candidate;
    return 0;
}
