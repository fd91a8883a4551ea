/* summary.c: every printed number, computed from what the store keeps and from nothing else. */
#include "report/report.h"

#include "stats/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MEMORY_MAX = 256 << 20,
    REASON_MAX = 32, /* distinct ones of one row */
};

/* The shortest window of a result to quote; the tolerance is for windows cut at their duration. */
static const double WINDOW_S = 10, WINDOW_TOLERANCE = 0.995;

const char *report_runtime(const struct cell *c, char text[REPORT_RUNTIME_MAX])
{
    int named = c->variant[0] && strcmp(c->variant, c->provider) != 0;
    snprintf(text, REPORT_RUNTIME_MAX, "%s%s%s", c->runtime, named ? ":" : "",
             named ? c->variant : "");
    return text;
}

struct maker {
    struct report *report;
    struct error *error;
};

static int completed(const struct record *r)
{
    return r->error.code == ERROR_NONE && r->runs > 0;
}

/* --- reasons ---------------------------------------------------------------------------------- */

struct reasons {
    const char *texts[REASON_MAX + 1];
    size_t count;
};

static void add_reason(struct reasons *list, const char *text)
{
    for (size_t i = 0; i < list->count; i++)
        if (!strcmp(list->texts[i], text))
            return;
    if (list->count < REASON_MAX)
        list->texts[list->count++] = text;
}

static void worsen(struct summary *s, enum verdict v)
{
    if (v > s->verdict)
        s->verdict = v;
}

static void judge(struct summary *s, struct reasons *list, enum verdict v, const char *text)
{
    worsen(s, v);
    if (text)
        add_reason(list, text);
}

static void block_reasons(const struct record *r, struct reasons *list)
{
    size_t i;
    json_t *item;
    json_array_foreach(r->reasons, i, item)
        if (json_is_string(item))
            add_reason(list, json_string_value(item));
}

/* --- time ------------------------------------------------------------------------------------- */

static size_t count_latencies(const struct store_cell *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->block_count; i++)
        if (completed(&c->blocks[i]))
            n += c->blocks[i].latency_count;
    return n;
}

static double percentile(const double *sorted, size_t n, double p)
{
    return n < stats_percentile_needs(p) ? NAN : stats_percentile(sorted, n, p);
}

static const char *percentile_reason(struct arena *a, size_t n)
{
    static const double levels[] = {50, 90, 95, 99};
    char text[160] = "";
    size_t used = 0;
    for (size_t i = 0; i < 4; i++)
        if (n < stats_percentile_needs(levels[i]))
            used += (size_t)snprintf(text + used, sizeof text - used, "%sp%.0f needs %zu",
                                     used ? ", " : "", levels[i],
                                     stats_percentile_needs(levels[i]));
    return used ? arena_format(a, "%s inferences; %zu were timed", text, n) : NULL;
}

static void fill_percentiles(struct summary *s, double *ms)
{
    stats_sort(ms, s->n);
    s->min_ms = ms[0];
    s->p50_ms = percentile(ms, s->n, 50);
    s->p90_ms = percentile(ms, s->n, 90);
    s->p95_ms = percentile(ms, s->n, 95);
    s->p99_ms = percentile(ms, s->n, 99);
}

/* Iterations within a block depend on each other, so the interval is over the medians of blocks.
 * part holds the latencies of one block, medians those of all. */
static void fill_ci95(struct summary *s, double *part, double *medians)
{
    const struct store_cell *c = s->cell;
    size_t n = 0;
    for (size_t i = 0; i < c->block_count; i++) {
        const struct record *r = &c->blocks[i];
        if (!completed(r) || r->latency_count == 0)
            continue;
        for (size_t j = 0; j < r->latency_count; j++)
            part[j] = (double)r->latency_ns[j] / 1e6;
        stats_sort(part, r->latency_count);
        medians[n++] = stats_percentile(part, r->latency_count, 50);
    }
    stats_sort(medians, n);
    int done = stats_median_ci95(medians, n, &s->ci95_low_ms, &s->ci95_high_ms);
    s->ci95_reason = done ? NULL : "an interval needs 6 completed blocks";
}

static int fill_latencies(struct maker *m, struct summary *s)
{
    const struct store_cell *c = s->cell;
    s->n = count_latencies(c);
    s->percentile_reason = percentile_reason(&m->report->memory, s->n);
    s->ci95_reason = "no block completed";
    if (s->n == 0)
        return 0;
    double *ms = malloc((s->n + c->block_count) * sizeof *ms);
    if (!ms)
        return error_memory(m->error);
    fill_ci95(s, ms, ms + s->n);
    size_t n = 0;
    for (size_t i = 0; i < c->block_count; i++)
        for (size_t j = 0; completed(&c->blocks[i]) && j < c->blocks[i].latency_count; j++)
            ms[n++] = (double)c->blocks[i].latency_ns[j] / 1e6;
    fill_percentiles(s, ms);
    free(ms);
    return 0;
}

static double load_of(const struct record *r)
{
    return r->load_ms;
}

static double first_of(const struct record *r)
{
    return r->first_ms;
}

static double wall_of(const struct record *r)
{
    return r->wall_s / (double)r->runs;
}

static double user_of(const struct record *r)
{
    return r->user_s / (double)r->runs;
}

static double system_of(const struct record *r)
{
    return r->system_s / (double)r->runs;
}

/* Of two kinds together, a run; NaN where the worker gave one of them not. */
static double per_run(const struct record *r, uint64_t one, uint64_t other)
{
    if (one == RECORD_UNKNOWN || other == RECORD_UNKNOWN)
        return NAN;
    return ((double)one + (double)other) / (double)r->runs;
}

static double switches_of(const struct record *r)
{
    return per_run(r, r->voluntary_switches, r->involuntary_switches);
}

static double faults_of(const struct record *r)
{
    return per_run(r, r->minor_faults, r->major_faults);
}

/* Mean over completed blocks, each counting once: the block is what is repeated, not the run. */
static double mean_of(const struct store_cell *c, double (*value)(const struct record *))
{
    double sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < c->block_count; i++)
        if (completed(&c->blocks[i])) {
            sum += value(&c->blocks[i]);
            n++;
        }
    return n ? sum / (double)n : NAN;
}

static int median_of(struct maker *m, const struct store_cell *c,
                     double (*value)(const struct record *), double *out)
{
    *out = NAN;
    double *x = malloc((c->block_count + 1) * sizeof *x);
    if (!x)
        return error_memory(m->error);
    size_t n = 0;
    for (size_t i = 0; i < c->block_count; i++)
        if (completed(&c->blocks[i]) && !isnan(value(&c->blocks[i])))
            x[n++] = value(&c->blocks[i]);
    stats_sort(x, n);
    if (n)
        *out = n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
    free(x);
    return 0;
}

/* One block that knows is enough; 0 is not known. */
static void add_device_memory(struct summary *s, const struct record *r)
{
    double bytes = (double)r->device_memory_peak_bytes;
    if (bytes > 0 && !(s->device_memory_peak_bytes >= bytes))
        s->device_memory_peak_bytes = bytes;
    if (isfinite(s->device_memory_peak_bytes))
        s->device_memory_reason = NULL;
    else if (!s->device_memory_reason && r->device_memory_reason[0])
        s->device_memory_reason = r->device_memory_reason;
}

static void fill_rates(struct summary *s)
{
    const struct store_cell *c = s->cell;
    double runs = 0, wall = 0, cpu = 0;
    for (size_t i = 0; i < c->block_count; i++) {
        const struct record *r = &c->blocks[i];
        if (!completed(r))
            continue;
        runs += (double)r->runs;
        wall += r->wall_s;
        cpu += r->user_s + r->system_s;
        if (r->rss_peak_bytes && !(s->rss_peak_bytes >= (double)r->rss_peak_bytes))
            s->rss_peak_bytes = (double)r->rss_peak_bytes;
        add_device_memory(s, r);
    }
    s->throughput_per_s = wall > 0 ? runs * (double)c->cell.batch / wall : NAN;
    s->cpu_percent = wall > 0 ? 100 * cpu / wall : NAN;
    s->wall_s = mean_of(c, wall_of);
    s->cpu_user_s = mean_of(c, user_of);
    s->cpu_system_s = mean_of(c, system_of);
    s->cpu_s = s->cpu_user_s + s->cpu_system_s;
    s->context_switches = mean_of(c, switches_of);
    s->page_faults = mean_of(c, faults_of);
}

/* --- energy ----------------------------------------------------------------------------------- */

/* The meter whose figure is the block's; NULL when it has none. */
static const struct record_meter *figure(const struct record *r)
{
    if (!completed(r) || r->energy_meter < 0 || (size_t)r->energy_meter >= r->meter_count)
        return NULL;
    const struct record_meter *m = &r->meters[r->energy_meter];
    return m->energy.provenance != WATTLE_NONE && isfinite(m->energy.j) ? m : NULL;
}

static const char *text_or_null(const char *text)
{
    return text && *text ? text : NULL;
}

struct energy_sum {
    size_t blocks;
    double j, low, high, wall, cpu;
};

static void add_energy(struct energy_sum *sum, const struct record *r,
                       const struct wattle_energy *energy)
{
    double runs = (double)r->runs;
    sum->blocks++;
    sum->j += energy->j / runs;
    sum->low += energy->low_j / runs;
    sum->high += energy->high_j / runs;
    sum->wall += r->wall_s / runs;
    sum->cpu += (r->user_s + r->system_s) / runs;
}

/* An estimate's bounds: the corners of its box, over the mean wall and CPU seconds. */
static void bound_estimate(struct summary *s, const struct energy_sum *sum)
{
    double n = (double)sum->blocks, wall = sum->wall / n, cpu = sum->cpu / n;
    if (!isfinite(cpu))
        return; /* the worker gave none: the blocks' own bounds stay */
    s->j_low = fmin(s->j, s->box->a_low_w * wall + s->box->b_low_w * cpu);
    s->j_high = fmax(s->j, s->box->a_high_w * wall + s->box->b_high_w * cpu);
}

static void fill_energy(struct summary *s)
{
    struct energy_sum sum = {0};
    const struct store_cell *c = s->cell;
    for (size_t i = 0; i < c->block_count; i++) {
        const struct record_meter *m = figure(&c->blocks[i]);
        if (!m || (sum.blocks && m->energy.provenance != s->provenance))
            continue;
        if (sum.blocks == 0) {
            s->provenance = m->energy.provenance;
            s->meter = m->name;
            s->box = s->provenance == WATTLE_ESTIMATED ? &m->box : NULL;
        }
        if (!s->energy_reason)
            s->energy_reason = text_or_null(m->energy.reason);
        add_energy(&sum, &c->blocks[i], &m->energy);
    }
    if (sum.blocks == 0)
        return;
    s->j = sum.j / (double)sum.blocks;
    s->j_low = sum.low / (double)sum.blocks;
    s->j_high = sum.high / (double)sum.blocks;
    if (s->box && s->box->a_high_w + s->box->b_high_w > 0)
        bound_estimate(s, &sum);
}

static const char *missing_energy(const struct summary *s)
{
    const struct store_cell *c = s->cell;
    for (size_t i = 0; i < c->block_count; i++)
        if (completed(&c->blocks[i]) && !figure(&c->blocks[i]))
            return c->blocks[i].energy_reason[0] ? c->blocks[i].energy_reason : "no meter";
    return NULL;
}

/* --- one row ---------------------------------------------------------------------------------- */

static void count_blocks(struct summary *s)
{
    const struct store_cell *c = s->cell;
    for (size_t i = 0; i < c->block_count; i++) {
        const struct record *r = &c->blocks[i];
        if (completed(r)) {
            s->first = s->first ? s->first : r;
            s->blocks_ok++;
        } else {
            s->failed = s->failed ? s->failed : r;
            s->blocks_failed++;
        }
    }
    if (s->failed)
        s->failure = s->failed->error.text[0] ? s->failed->error.text : "no inference was timed";
    else if (!s->first)
        s->failure = "not measured: the campaign was cut short";
}

static double shortest_window_s(const struct store_cell *c)
{
    double shortest = INFINITY;
    for (size_t i = 0; i < c->block_count; i++)
        if (completed(&c->blocks[i]))
            shortest = fmin(shortest, c->blocks[i].wall_s);
    return shortest;
}

static size_t blocks_with_figure(const struct summary *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->cell->block_count; i++) {
        const struct record_meter *m = figure(&s->cell->blocks[i]);
        n += m && m->energy.provenance == s->provenance;
    }
    return n;
}

static void judge_blocks(struct maker *m, struct summary *s, struct reasons *list)
{
    struct arena *a = &m->report->memory;
    const struct store_cell *c = s->cell;
    size_t asked = (size_t)(m->report->campaign->blocks > 0 ? m->report->campaign->blocks : 0);
    for (size_t i = 0; i < c->block_count; i++)
        if (completed(&c->blocks[i])) {
            worsen(s, c->blocks[i].verdict);
            block_reasons(&c->blocks[i], list);
        }
    if (s->blocks_failed && s->blocks_ok)
        judge(s, list, VERDICT_SUSPECT,
              arena_format(a, "%zu of %zu blocks failed: %s", s->blocks_failed,
                           s->blocks_ok + s->blocks_failed, s->failure));
    else if (s->blocks_ok && s->blocks_ok < asked)
        judge(s, list, VERDICT_SUSPECT,
              arena_format(a, "cut short: %zu of %zu blocks are done", s->blocks_ok, asked));
    if (!s->blocks_ok)
        judge(s, list, VERDICT_INVALID, s->failure);
}

static void judge_row(struct maker *m, struct summary *s, struct reasons *list)
{
    struct arena *a = &m->report->memory;
    const struct agreement *agreement = &s->cell->agreement;
    judge_blocks(m, s, list);
    if (agreement->ok == 0)
        judge(s, list, VERDICT_INVALID,
              arena_format(a, "outputs differ from those of %s: %s", agreement->reference,
                           agreement->detail));
    if (!s->first)
        return;
    double window = shortest_window_s(s->cell);
    if (window < WINDOW_S * WINDOW_TOLERANCE)
        judge(s, list, VERDICT_SUSPECT,
              arena_format(a, "window of %.2g s is shorter than %.0f s: use --duration %.0fs",
                           window, WINDOW_S, WINDOW_S));
    if (s->first->provider[0] && s->cell->cell.provider[0] &&
        strcmp(s->first->provider, s->cell->cell.provider))
        judge(s, list, VERDICT_SUSPECT,
              arena_format(a, "%s ran it instead of %s", s->first->provider,
                           s->cell->cell.provider));
    if (s->provenance != WATTLE_NONE && blocks_with_figure(s) < s->blocks_ok)
        judge(s, list, VERDICT_SUSPECT,
              arena_format(a, "energy is that of %zu of %zu blocks: %s", blocks_with_figure(s),
                           s->blocks_ok, missing_energy(s) ? missing_energy(s)
                                                           : "the others have another meter"));
}

static int keep_reasons(struct maker *m, struct summary *s, const struct reasons *list)
{
    const char **copy = arena_array(&m->report->memory, list->count + 1, sizeof *copy);
    if (!copy)
        return error_memory(m->error);
    memcpy(copy, list->texts, list->count * sizeof *copy);
    s->reasons = copy;
    return 0;
}

static int summarise(struct maker *m, const struct store_cell *cell, struct summary *s)
{
    *s = (struct summary){.cell = cell};
    double *const missing[] = {&s->min_ms, &s->p50_ms, &s->p90_ms, &s->p95_ms, &s->p99_ms,
                               &s->ci95_low_ms, &s->ci95_high_ms, &s->rss_peak_bytes,
                               &s->device_memory_peak_bytes, &s->j, &s->j_low, &s->j_high,
                               &s->ratio, &s->ratio_low, &s->ratio_high};
    for (size_t i = 0; i < sizeof missing / sizeof *missing; i++)
        *missing[i] = NAN;
    struct reasons list = {.count = 0};
    count_blocks(s);
    int result = fill_latencies(m, s);
    if (!result)
        result = median_of(m, cell, load_of, &s->load_ms);
    if (!result)
        result = median_of(m, cell, first_of, &s->first_ms);
    if (result)
        return result;
    fill_rates(s);
    fill_energy(s);
    if (s->provenance == WATTLE_NONE)
        s->energy_reason = s->first ? missing_energy(s) : s->failure;
    judge_row(m, s, &list);
    return keep_reasons(m, s, &list);
}

/* --- groups and ranks ------------------------------------------------------------------------- */

static int same_dims(const struct cell *a, const struct cell *b)
{
    if (a->dim_count != b->dim_count)
        return 0;
    for (size_t i = 0; i < a->dim_count; i++)
        if (a->dims[i].value != b->dims[i].value || strcmp(a->dims[i].symbol, b->dims[i].symbol))
            return 0;
    return 1;
}

static int compete(const struct store_cell *a, const struct store_cell *b)
{
    return a->model == b->model && a->cell.batch == b->cell.batch &&
           a->cell.threads == b->cell.threads && !strcmp(a->cell.precision, b->cell.precision) &&
           a->cell.gap_ns == b->cell.gap_ns && !strcmp(a->cell.shapes, b->cell.shapes) &&
           same_dims(&a->cell, &b->cell);
}

/* Why a row cannot be compared with others at all; NULL when it can. */
static const char *disqualified(const struct summary *s)
{
    if (!s->first)
        return "failed";
    if (s->cell->agreement.ok == 0)
        return "its outputs differ";
    return s->verdict == VERDICT_INVALID ? "INVALID" : NULL;
}

/* Joules of different provenance do not compare: those of the best kind present are ranked. */
static enum wattle_provenance best_provenance(const struct summary *rows, size_t n)
{
    enum wattle_provenance best = WATTLE_NONE;
    for (size_t i = 0; i < n; i++) {
        enum wattle_provenance p = rows[i].provenance;
        if (!disqualified(&rows[i]) && p != WATTLE_NONE && (best == WATTLE_NONE || p < best))
            best = p;
    }
    return best;
}

static double key(const struct summary *s, int by_time)
{
    return by_time ? s->p50_ms : s->j;
}

/* Ranked rows first (rank is 1 for them here), best first; then the others; failed ones last. */
static int goes_before(const struct summary *a, const struct summary *b, int by_time)
{
    if (a->rank != b->rank)
        return a->rank > b->rank;
    if (a->rank)
        return key(a, by_time) < key(b, by_time);
    return a->first && !b->first;
}

static void sort_rows(struct summary *rows, size_t n, int by_time)
{
    for (size_t i = 1; i < n; i++) {
        struct summary row = rows[i];
        size_t j = i;
        for (; j > 0 && goes_before(&row, &rows[j - 1], by_time); j--)
            rows[j] = rows[j - 1];
        rows[j] = row;
    }
}

static int same_box(const struct wattle_estimate_box *a, const struct wattle_estimate_box *b)
{
    return a->a_low_w == b->a_low_w && a->a_high_w == b->a_high_w && a->b_low_w == b->b_low_w &&
           a->b_high_w == b->b_high_w;
}

static void compare(struct summary *s, const struct summary *best, int by_time)
{
    s->ratio = key(s, by_time) / key(best, by_time);
    if (s == best)
        s->ratio_low = s->ratio_high = 1;
    else if (by_time)
        s->ratio_low = s->ratio_high = NAN;
    else if (s->box && best->box && same_box(s->box, best->box) && isfinite(s->cpu_s) &&
             isfinite(best->cpu_s)) {
        const double a[] = {s->box->a_low_w, s->box->a_high_w};
        const double b[] = {s->box->b_low_w, s->box->b_high_w};
        stats_estimate_ratio(s->wall_s, s->cpu_s, best->wall_s, best->cpu_s, a, b, &s->ratio_low,
                             &s->ratio_high);
        /* The meters' window is a little longer than the worker's: the same for both. */
        if (s->ratio_low <= s->ratio_high)
            s->ratio = fmin(fmax(s->ratio, s->ratio_low), s->ratio_high);
    } else {
        s->ratio_low = best->j_high > 0 ? s->j_low / best->j_high : NAN;
        s->ratio_high = best->j_low > 0 ? s->j_high / best->j_low : NAN;
    }
}

static void rank_group(struct report *r, struct summary_group *g)
{
    struct summary *rows = r->rows + g->begin;
    size_t n = g->end - g->begin;
    enum wattle_provenance provenance = best_provenance(rows, n);
    g->by_time = provenance == WATTLE_NONE;
    for (size_t i = 0; i < n; i++) {
        struct summary *s = &rows[i];
        s->rank_reason = disqualified(s);
        if (!s->rank_reason && s->provenance != provenance)
            s->rank_reason = arena_format(&r->memory, "energy is %s where others' is %s",
                                          wattle_provenance_name(s->provenance),
                                          wattle_provenance_name(provenance));
        if (!s->rank_reason && !(key(s, g->by_time) > 0))
            s->rank_reason = g->by_time ? "too few inferences for a median" : "no joules";
        s->rank = !s->rank_reason;
    }
    sort_rows(rows, n, g->by_time);
    for (size_t i = 0; i < n && rows[i].rank; i++) {
        rows[i].rank = (int)i + 1;
        compare(&rows[i], &rows[0], g->by_time);
        g->ranked++;
    }
}

/* What a row's name may need besides runtime and variant, to be told from the others. */
enum { NAME_PROVIDER = 1, NAME_VERSION = 2, NAME_FORM = 4, NAME_DEVICES = 8, NAME_ALL = 15 };

static const char *name_of(struct report *r, const struct cell *c, int parts)
{
    char runtime[REPORT_RUNTIME_MAX];
    const char *provider = parts & NAME_PROVIDER ? c->provider : "";
    const char *version = parts & NAME_VERSION ? c->version : "";
    const char *form = parts & NAME_FORM ? c->form : "";
    const char *devices = parts & NAME_DEVICES ? c->devices : "";
    return arena_format(&r->memory, "%s%s%s%s%s%s%s%s%s", report_runtime(c, runtime),
                        *provider ? ":" : "", provider, *version ? "@" : "", version,
                        *form ? " " : "", form, *devices ? " " : "", devices);
}

static int same_name(const struct cell *a, const struct cell *b, int parts)
{
    char x[REPORT_RUNTIME_MAX], y[REPORT_RUNTIME_MAX];
    return !strcmp(report_runtime(a, x), report_runtime(b, y)) &&
           (!(parts & NAME_PROVIDER) || !strcmp(a->provider, b->provider)) &&
           (!(parts & NAME_VERSION) || !strcmp(a->version, b->version)) &&
           (!(parts & NAME_FORM) || !strcmp(a->form, b->form)) &&
           (!(parts & NAME_DEVICES) || !strcmp(a->devices, b->devices));
}

static int is_unique(const struct report *r, const struct summary_group *g, size_t row, int parts)
{
    for (size_t i = g->begin; i < g->end; i++)
        if (i != row && same_name(&r->rows[row].cell->cell, &r->rows[i].cell->cell, parts))
            return 0;
    return 1;
}

/* The shortest name, as -r takes it, that says which row is meant. */
static void label_group(struct report *r, const struct summary_group *g)
{
    static const int tries[] = {0, NAME_PROVIDER, NAME_FORM, NAME_DEVICES, NAME_VERSION,
                                NAME_PROVIDER | NAME_VERSION, NAME_PROVIDER | NAME_FORM,
                                NAME_FORM | NAME_DEVICES, NAME_FORM | NAME_VERSION, NAME_ALL};
    const size_t count = sizeof tries / sizeof *tries;
    for (size_t i = g->begin; i < g->end; i++) {
        const struct cell *c = &r->rows[i].cell->cell;
        size_t t = 0;
        while (t < count && ((tries[t] & NAME_VERSION && !c->version[0]) ||
                             !is_unique(r, g, i, tries[t])))
            t++;
        r->rows[i].label = name_of(r, c, t < count ? tries[t] : NAME_PROVIDER);
        if (!r->rows[i].label)
            r->rows[i].label = c->runtime;
    }
}

/* Brings the rows that compete with row `begin` behind it; returns the end of the group. */
static size_t gather(struct summary *rows, size_t begin, size_t n)
{
    size_t end = begin + 1;
    for (size_t i = end; i < n; i++) {
        if (!compete(rows[begin].cell, rows[i].cell))
            continue;
        struct summary row = rows[i];
        memmove(&rows[end + 1], &rows[end], (i - end) * sizeof *rows);
        rows[end++] = row;
    }
    return end;
}

static void make_groups(struct report *r)
{
    for (size_t begin = 0; begin < r->row_count;) {
        size_t end = gather(r->rows, begin, r->row_count);
        struct summary_group *g = &r->groups[r->group_count++];
        *g = (struct summary_group){.begin = begin, .end = end};
        rank_group(r, g);
        label_group(r, g);
        begin = end;
    }
}

static int exit_code(const struct report *r)
{
    int code = 0;
    for (size_t i = 0; i < r->row_count; i++) {
        const struct summary *s = &r->rows[i];
        if (s->cell->agreement.ok == 0)
            return 5;
        if (s->verdict == VERDICT_INVALID || s->blocks_failed)
            code = 3;
    }
    return code;
}

int report_make(struct report *r, const struct store_campaign *c, struct error *e)
{
    *r = (struct report){.campaign = c};
    struct maker m = {.report = r, .error = e};
    arena_init(&r->memory, MEMORY_MAX);
    r->rows = arena_array(&r->memory, c->cell_count, sizeof *r->rows);
    r->groups = arena_array(&r->memory, c->cell_count, sizeof *r->groups);
    int result = r->rows && r->groups ? 0 : error_memory(e);
    for (size_t i = 0; i < c->cell_count && !result; i++)
        result = summarise(&m, &c->cells[i], &r->rows[r->row_count++]);
    if (result) {
        report_release(r);
        return result;
    }
    make_groups(r);
    r->exit_code = exit_code(r);
    return 0;
}

void report_release(struct report *r)
{
    arena_release(&r->memory);
    *r = (struct report){0};
}
