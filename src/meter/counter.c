#include "meter/counter.h"

#include <math.h>

/* An update may arrive late: this much time's worth of energy more than the clock allows is still
 * believed, because two reads a microsecond apart may straddle the update of a millisecond. */
#define SLACK_NS 100000000ull

/* A package, memory or platform that is switched on draws more than this, so a counter with a
 * coarse step (1 J for psys of some servers) must move within step / 0.5 W. */
#define LEAST_POWER_W 0.5

void counter_init(struct counter *c, uint64_t range_uj, double unit_uj, double limit_w)
{
    uint64_t coarse_ns = (uint64_t)(unit_uj * 1000 / LEAST_POWER_W);
    *c = (struct counter){
        .range_uj = range_uj,
        .span_uj = range_uj ? range_uj + (uint64_t)llround(unit_uj) : 0,
        .stuck_ns = coarse_ns > COUNTER_STUCK_NS ? coarse_ns : COUNTER_STUCK_NS,
        .limit_w = limit_w,
    };
}

uint64_t counter_safe_ns(const struct counter *c)
{
    return c->span_uj ? (uint64_t)((double)c->span_uj * 1000 / c->limit_w) : 0;
}

static void fill(const struct counter *c, uint64_t now_ns, enum wattle_status status,
                 struct wattle_reading *out)
{
    *out = (struct wattle_reading){.status = status,
                                   .time_ns = now_ns,
                                   .total_uj = c->total_uj,
                                   .low_uj = c->total_uj,
                                   .high_uj = c->total_uj,
                                   .wraps = c->wraps,
                                   .gaps = c->gaps};
}

void counter_fail(const struct counter *c, uint64_t now_ns, enum wattle_status status,
                  struct wattle_reading *out)
{
    fill(c, now_ns, status, out);
}

void counter_interrupt(struct counter *c, enum counter_gap gap)
{
    if (!c->primed && c->gap != COUNTER_GAP_NONE)
        return; /* already waiting for a new base: one gap, not two */
    c->primed = 0;
    c->gaps++;
    c->gap = gap;
}

static void rebase(struct counter *c, uint64_t now_ns, uint64_t raw_uj)
{
    c->primed = 1;
    c->raw_uj = raw_uj;
    c->good_ns = now_ns;
    c->moved_ns = now_ns;
}

static enum wattle_status drop(struct counter *c, uint64_t now_ns, uint64_t raw_uj,
                               enum counter_gap gap)
{
    counter_interrupt(c, gap);
    rebase(c, now_ns, raw_uj);
    c->moves++;
    return WATTLE_RESET;
}

/* The counter differs from its last good value: an advance, a wrap, or nonsense. */
static enum wattle_status advance(struct counter *c, uint64_t now_ns, uint64_t raw_uj,
                                  uint64_t elapsed_ns)
{
    uint64_t safe_ns = counter_safe_ns(c);
    int back = raw_uj < c->raw_uj;
    if (safe_ns && elapsed_ns > safe_ns)
        return drop(c, now_ns, raw_uj, COUNTER_GAP_LATE);
    if (back && !c->span_uj)
        return drop(c, now_ns, raw_uj, COUNTER_GAP_BACK);
    uint64_t delta_uj = back ? raw_uj + c->span_uj - c->raw_uj : raw_uj - c->raw_uj;
    if ((double)delta_uj * 1000 > c->limit_w * ((double)elapsed_ns + SLACK_NS))
        return drop(c, now_ns, raw_uj, back ? COUNTER_GAP_BACK : COUNTER_GAP_JUMP);
    c->wraps += (uint32_t)back;
    c->total_uj += delta_uj;
    c->moves++;
    rebase(c, now_ns, raw_uj);
    return WATTLE_OK;
}

void counter_read(struct counter *c, uint64_t now_ns, uint64_t raw_uj, struct wattle_reading *out)
{
    enum wattle_status status = WATTLE_OK;
    if (c->range_uj && raw_uj > c->range_uj) {
        status = WATTLE_ERROR;
    } else if (!c->primed) {
        /* The interval before a new base was dropped: say so once more if it was a gap. */
        status = c->gaps ? WATTLE_RESET : WATTLE_OK;
        rebase(c, now_ns, raw_uj);
    } else {
        uint64_t elapsed_ns = now_ns > c->good_ns ? now_ns - c->good_ns : 0;
        if (raw_uj != c->raw_uj)
            status = advance(c, now_ns, raw_uj, elapsed_ns);
        else if (c->stuck_ns && now_ns >= c->moved_ns + c->stuck_ns)
            status = WATTLE_STUCK;
        c->good_ns = now_ns;
    }
    fill(c, now_ns, status, out);
}

const char *counter_gap_text(enum counter_gap gap)
{
    static const char *const texts[] = {
        [COUNTER_GAP_NONE] = "an interval was dropped",
        [COUNTER_GAP_BACK] = "the counter went back, as after a reset",
        [COUNTER_GAP_JUMP] = "the counter jumped by more than any such part can use",
        [COUNTER_GAP_LATE] = "the counter was not read for so long that it may have wrapped unseen",
        [COUNTER_GAP_SUSPEND] = "the machine was suspended",
        [COUNTER_GAP_UNREAD] = "the counter could not be read at first",
    };
    unsigned i = (unsigned)gap;
    return texts[i < sizeof texts / sizeof *texts ? i : 0];
}
