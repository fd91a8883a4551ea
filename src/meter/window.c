/* Windows: where one starts, and what lies between its two readings. */
#include "meter/meter.h"

#include "base/clock.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Short against an update (1 ms), long against the cost of waking up (5 us with the reads). */
#define NAP_NS 60000l

static void nap(void)
{
    struct timespec t = {.tv_nsec = NAP_NS};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

/* Waiting helps where a counter of the sum is readable and steps; the estimate is continuous. */
static int has_edges(const struct wattle_meter *m, const struct wattle_reading *now)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->domains[i].in_total && m->domains[i].period_ns && now[i].status != WATTLE_PERM &&
            now[i].status != WATTLE_ABSENT && now[i].status != WATTLE_MASKED)
            return 1;
    return 0;
}

/* Marks the domains that have advanced between the reading before and this one. */
static int mark_edges(struct wattle_meter *m, const uint64_t *moves, const uint64_t *before_ns,
                      const struct wattle_reading *now)
{
    int seen = 0;
    for (size_t i = 0; i < m->count; i++) {
        if (m->counters[i].moves == moves[i] || now[i].status != WATTLE_OK)
            continue;
        m->edge_ns[i] = now[i].time_ns;
        m->slack_ns[i] = now[i].time_ns - before_ns[i];
        seen |= m->domains[i].in_total;
    }
    return seen;
}

int wattle_meter_edge(struct wattle_meter *m, uint64_t timeout_ns, struct wattle_reading *out)
{
    uint64_t start_ns = clock_monotonic_ns(); /* naps are real even under a caller's own clock */
    uint64_t moves[WATTLE_DOMAIN_MAX], before_ns[WATTLE_DOMAIN_MAX];
    wattle_meter_read(m, out);
    if (!has_edges(m, out))
        return 0;
    while (clock_monotonic_ns() - start_ns < timeout_ns) {
        for (size_t i = 0; i < m->count; i++) {
            moves[i] = m->counters[i].moves;
            before_ns[i] = out[i].time_ns;
        }
        nap();
        wattle_meter_read(m, out);
        if (mark_edges(m, moves, before_ns, out))
            return 1;
    }
    return 0;
}

__attribute__((format(printf, 2, 3)))
static int none(struct wattle_energy *out, const char *format, ...)
{
    *out = (struct wattle_energy){.provenance = WATTLE_NONE, .j = NAN, .low_j = NAN,
                                  .high_j = NAN, .seconds = out->seconds};
    va_list args;
    va_start(args, format);
    vsnprintf(out->reason, sizeof out->reason, format, args);
    va_end(args);
    return -1;
}

static int check_status(const struct wattle_domain *d, const struct wattle_reading *r,
                        const char *when, struct wattle_energy *out)
{
    if (r->status == WATTLE_OK)
        return 0;
    if (d->status == r->status && d->text[0])
        return none(out, "%s: %s", wattle_status_name(d->status), d->text);
    if (r->status == WATTLE_STUCK)
        return none(out, "STUCK: %s does not advance at the %s of the window", d->name, when);
    return none(out, "%s: %s could not be read at the %s of the window",
                wattle_status_name(r->status), d->name, when);
}

static int check_domain(const struct wattle_meter *m, size_t i, const struct wattle_reading *begin,
                        const struct wattle_reading *end, struct wattle_energy *out)
{
    const struct wattle_domain *d = &m->domains[i];
    const struct counter *c = &m->counters[i];
    /* A window may well begin where an interval was just dropped; it must not hold one. */
    if (begin->status != WATTLE_RESET && check_status(d, begin, "begin", out))
        return -1;
    if (end->gaps != begin->gaps)
        return none(out, "RESET: a part of the window was dropped: %s: %s", d->name,
                    counter_gap_text(c->gap));
    if (check_status(d, end, "end", out))
        return -1;
    if (end->time_ns <= begin->time_ns || end->total_uj < begin->total_uj)
        return none(out, "the window is empty");
    if (end->total_uj > begin->total_uj || d->provenance != WATTLE_MEASURED)
        return 0;
    uint64_t window_ns = end->time_ns - begin->time_ns;
    if (c->stuck_ns && window_ns >= c->stuck_ns)
        return none(out, "STUCK: %s did not move in %.3g s: not a working counter (a virtual "
                         "machine?)", d->name, (double)window_ns / 1e9);
    return none(out, "%s did not advance: a window of %.3g ms is shorter than its update", d->name,
                (double)window_ns / 1e6);
}

/* Adds one domain. The value read is that of the last update, so a window begun at a random moment
 * holds up to one update of energy from before it, and lacks up to one at its end. */
static double add_domain(const struct wattle_meter *m, size_t i, const struct wattle_reading *begin,
                         const struct wattle_reading *end, struct wattle_energy *out)
{
    const struct wattle_domain *d = &m->domains[i];
    double window_ns = (double)(end->time_ns - begin->time_ns);
    double begin_ns = (double)d->period_ns, end_ns = (double)d->period_ns;
    if (m->edge_ns[i] && m->edge_ns[i] == begin->time_ns)
        begin_ns = (double)m->slack_ns[i];
    double low = (double)(end->low_uj - begin->low_uj) / 1e6;
    double high = (double)(end->high_uj - begin->high_uj) / 1e6;
    double step = d->resolution_uj / 1e6;
    low = (low * (1 - begin_ns / window_ns) - step) * (1 - d->gain_uncertainty);
    high = (high * (1 + end_ns / window_ns) + step) * (1 + d->gain_uncertainty);
    out->j += (double)(end->total_uj - begin->total_uj) / 1e6;
    out->low_j += low > 0 ? low : 0;
    out->high_j += high;
    if (d->provenance > out->provenance)
        out->provenance = d->provenance;
    return d->period_ns ? window_ns / (double)d->period_ns : INFINITY;
}

/* What weakens the figure: few updates in the window, and what the meter cannot see. */
static void explain(const struct wattle_meter *m, double updates, struct wattle_energy *out)
{
    char few[80] = "";
    if (updates < 100)
        snprintf(few, sizeof few, "only %.0f counter updates in the window: within %+.0f/%+.0f %%",
                 updates, 100 * (out->low_j / out->j - 1), 100 * (out->high_j / out->j - 1));
    snprintf(out->reason, sizeof out->reason, "%s%s%s", few, *few && *m->note ? "; " : "", m->note);
}

void wattle_meter_energy(const struct wattle_meter *m, const struct wattle_reading *begin,
                         const struct wattle_reading *end, struct wattle_energy *out)
{
    *out = (struct wattle_energy){.provenance = WATTLE_NONE};
    double updates = INFINITY;
    int found = 0;
    for (size_t i = 0; i < m->count; i++) {
        if (!m->domains[i].in_total)
            continue;
        if (!found++ && end[i].time_ns > begin[i].time_ns)
            out->seconds = (double)(end[i].time_ns - begin[i].time_ns) / 1e9;
        if (check_domain(m, i, &begin[i], &end[i], out))
            return;
        updates = fmin(updates, add_domain(m, i, &begin[i], &end[i], out));
    }
    if (!found)
        none(out, "%s has no part that belongs to the machine's sum", m->driver->name);
    else if (m->doubt[0])
        none(out, "%s", m->doubt);
    else
        explain(m, updates, out);
}
