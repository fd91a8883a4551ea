/* counter.h: a raw energy counter that wraps, resets, sticks and fails, made a monotonic total. */
#ifndef WATTLE_METER_COUNTER_H
#define WATTLE_METER_COUNTER_H

#include <wattle/meter.h>

#include <stdint.h>

/* Why an interval was dropped last. */
enum counter_gap {
    COUNTER_GAP_NONE,
    COUNTER_GAP_BACK,     /* it went back, and a wrap would mean impossible power */
    COUNTER_GAP_JUMP,     /* it went forward by impossible power */
    COUNTER_GAP_LATE,     /* not read for so long that a whole wrap may have been missed */
    COUNTER_GAP_SUSPEND,  /* the machine slept */
    COUNTER_GAP_UNREAD,   /* the first read, at open, failed */
};

struct counter {
    /* set before use */
    uint64_t range_uj;  /* largest raw value, 0 unknown: then going back is never a wrap */
    uint64_t span_uj;   /* what a wrap adds: range + unit */
    uint64_t stuck_ns;  /* no advance for so long is STUCK; 0: not judged */
    double limit_w;     /* more is not energy but a reset */

    /* kept by counter_read and counter_fail */
    int primed;
    uint64_t raw_uj, good_ns, moved_ns; /* the last good value, its time, the last advance */
    uint64_t moves;                     /* advances seen */
    uint64_t total_uj;
    uint32_t wraps, gaps;
    enum counter_gap gap;
};

/* Power no package, memory bank or core reaches, and no whole machine. A reset is recognised by the
 * power that a wrap in its place would mean; the largest packages sold draw 0.5 kW, with bursts. */
#define COUNTER_ZONE_LIMIT_W 2000.0
#define COUNTER_PLATFORM_LIMIT_W 20000.0
/* No advance for this long is STUCK: 100 updates. */
#define COUNTER_STUCK_NS 100000000ull

/* Sets range, span, limit and the STUCK time from the counter's largest value (0 unknown) and its
 * step in uJ (0 unknown); coarse counters get longer before they count as stuck. */
void counter_init(struct counter *c, uint64_t range_uj, double unit_uj, double limit_w);

/* The longest time between two reads in which a wrap cannot be missed; 0 no limit. */
uint64_t counter_safe_ns(const struct counter *c);

/* Takes a raw value read at now_ns and fills out: OK, STUCK, RESET (the interval before this read
 * was dropped), or ERROR for a value beyond the range. */
void counter_read(struct counter *c, uint64_t now_ns, uint64_t raw_uj, struct wattle_reading *out);
/* A read that failed: out has the total so far. The next good read carries on from the last good
 * value, so that nothing is lost or counted twice. */
void counter_fail(const struct counter *c, uint64_t now_ns, enum wattle_status status,
                  struct wattle_reading *out);
/* The time since the last good read is dropped: the next read only sets a new base. */
void counter_interrupt(struct counter *c, enum counter_gap gap);

/* "went back, as after a reset"; never NULL. */
const char *counter_gap_text(enum counter_gap gap);

#endif
