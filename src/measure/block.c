/* block.c: the order of one block: load, first inference, warm-up, window, judgement. */
#include "measure/measure.h"

#include "base/clock.h"
#include "measure/meters.h"
#include "measure/notes.h"
#include "measure/session.h"
#include "stats/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    WARMUP_RUNS = 3,
    TREND_POINTS = 40,   /* a warm-up round is judged by the medians of this many equal parts */
    LATENCY_MAX = 1 << 20,
};
#define PAUSES_MAX_NS (7 * 24 * 3600 * NS_PER_S)

/* A slope is one when it is significant and moves the latency by more than this over a round. */
static const double TREND_P = 0.05, TREND_CHANGE = 0.02;

static void copy_text(char *to, size_t size, json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    snprintf(to, size, "%s", text ? text : "");
}

/* Keeps what the worker said about itself. */
static int keep_loaded(struct session *s, struct record *r, struct error *e)
{
    uint64_t load_ns;
    int result = reply_u64(s->loaded, "load_ns", &load_ns, e);
    if (result)
        return result;
    r->load_ms = (double)load_ns / 1e6;
    copy_text(r->runtime_version, sizeof r->runtime_version, s->loaded, "version");
    copy_text(r->library, sizeof r->library, s->loaded, "library");
    copy_text(r->provider, sizeof r->provider, s->loaded, "provider");
    json_t *settings = json_object_get(s->loaded, "settings");
    if (json_is_object(settings))
        json_object_update(r->settings, settings);
    json_object_set(r->shapes, "inputs", json_object_get(s->loaded, "inputs"));
    json_object_set(r->shapes, "outputs", json_object_get(s->loaded, "outputs"));
    return 0;
}

static int first_inference(struct session *s, struct record *r, struct error *e)
{
    json_t *command = json_pack("{s:s}", "op", "first"), *reply = NULL;
    uint64_t first_ns = 0;
    int result = command ? session_call(s, command, 0, &reply, e) : error_memory(e);
    if (!result)
        result = reply_u64(reply, "first_ns", &first_ns, e);
    if (!result)
        r->first_ms = (double)first_ns / 1e6;
    json_decref(reply);
    return result;
}

/* --- warm-up ---------------------------------------------------------------------------------- */

/* Medians of up to TREND_POINTS equal parts of the latencies, in time order. */
static size_t part_medians(uint64_t *latency_ns, size_t n, double *points)
{
    size_t parts = n < TREND_POINTS ? n : TREND_POINTS;
    for (size_t i = 0; i < parts; i++) {
        size_t begin = i * n / parts, end = (i + 1) * n / parts;
        size_t middle = begin + (end - begin) / 2;
        stats_sort_u64(latency_ns + begin, end - begin);
        points[i] = (double)latency_ns[middle];
    }
    return parts;
}

static int has_trend(uint64_t *latency_ns, size_t n)
{
    double points[TREND_POINTS], scratch[TREND_POINTS * (TREND_POINTS - 1) / 2];
    size_t parts = part_medians(latency_ns, n, points);
    if (parts < 4 || !(stats_trend_p(points, parts) < TREND_P))
        return 0;
    double change = stats_slope(points, parts, scratch) * (double)parts;
    double level = points[parts / 2];
    return fabs(change) > TREND_CHANGE * level;
}

static int warmup_round(struct session *s, uint64_t min_ns, struct record *r, uint64_t *latency_ns,
                        int *trend, struct error *e)
{
    uint64_t max_ns = s->options->warmup_max_ns;
    json_t *command = json_pack("{s:s, s:i, s:I, s:I, s:I}", "op", "warmup", "min_runs",
                                WARMUP_RUNS, "min_ns", (json_int_t)min_ns, "max_ns",
                                (json_int_t)(max_ns > min_ns ? max_ns : min_ns), "gap_ns",
                                (json_int_t)s->cell->gap_ns);
    json_t *reply = NULL;
    uint64_t wall_ns = 0, runs = 0;
    int result = command ? session_call(s, command, max_ns + s->cell->gap_ns, &reply, e)
                         : error_memory(e);
    if (!result)
        result = reply_u64(reply, "wall_ns", &wall_ns, e);
    json_decref(reply);
    if (result)
        return result;
    size_t n = worker_latencies(s->worker, latency_ns, LATENCY_MAX, &runs);
    r->warmup_runs += runs;
    r->warmup_s += (double)wall_ns / 1e9;
    *trend = has_trend(latency_ns, n);
    return 0;
}

/* Rounds of growing length until one shows no slope, or the time is over: by the worker's word (it may
 * have a clock of its own) and by ours. */
static int warm_up(struct session *s, struct record *r, struct error *e)
{
    uint64_t *latency_ns = malloc(LATENCY_MAX * sizeof *latency_ns);
    if (!latency_ns)
        return error_memory(e);
    uint64_t min_ns = s->options->warmup_min_ns, max_ns = s->options->warmup_max_ns;
    uint64_t begin_ns = clock_monotonic_ns();
    int result = 0, trend = 1;
    r->warmup_s = 0;
    while (!result && trend && r->warmup_s < (double)max_ns / 1e9 &&
           clock_monotonic_ns() - begin_ns <= max_ns) {
        result = warmup_round(s, min_ns, r, latency_ns, &trend, e);
        min_ns += min_ns < max_ns ? min_ns / 2 : 0;
    }
    r->warmup_stable = !result && !trend;
    free(latency_ns);
    return result;
}

/* --- the window ------------------------------------------------------------------------------- */

struct done_field {
    const char *name;
    uint64_t *out;
    int optional;     /* what a worker in a script cannot know: missing leaves `unknown` */
    uint64_t unknown;
};

static int keep_fields(json_t *reply, const struct done_field *fields, size_t count,
                       struct error *e)
{
    for (size_t i = 0; i < count; i++) {
        *fields[i].out = fields[i].unknown;
        if (fields[i].optional && !json_object_get(reply, fields[i].name))
            continue;
        int result = reply_u64(reply, fields[i].name, fields[i].out, e);
        if (result)
            return result;
    }
    return 0;
}

static double seconds_or_nan(uint64_t ns)
{
    return ns == RECORD_UNKNOWN ? NAN : (double)ns / 1e9;
}

static int keep_done(json_t *reply, struct record *r, struct error *e)
{
    uint64_t begin_ns, end_ns, user_ns, system_ns;
    const struct done_field fields[] = {
        {"runs", &r->runs, 0, 0},
        {"begin_ns", &begin_ns, 0, 0},
        {"end_ns", &end_ns, 0, 0},
        {"user_ns", &user_ns, 1, RECORD_UNKNOWN},
        {"system_ns", &system_ns, 1, RECORD_UNKNOWN},
        {"minor_faults", &r->minor_faults, 1, RECORD_UNKNOWN},
        {"major_faults", &r->major_faults, 1, RECORD_UNKNOWN},
        {"voluntary_switches", &r->voluntary_switches, 1, RECORD_UNKNOWN},
        {"involuntary_switches", &r->involuntary_switches, 1, RECORD_UNKNOWN},
        {"rss_peak_bytes", &r->rss_peak_bytes, 1, 0},
    };
    int result = keep_fields(reply, fields, sizeof fields / sizeof *fields, e);
    if (result)
        return result;
    if (end_ns <= begin_ns || r->runs == 0)
        return error_set(e, ERROR_FORMAT, "worker reports %llu runs in a window of %lld ns",
                         (unsigned long long)r->runs, (long long)(end_ns - begin_ns));
    r->wall_s = (double)(end_ns - begin_ns) / 1e9;
    r->user_s = seconds_or_nan(user_ns);
    r->system_s = seconds_or_nan(system_ns);
    return 0;
}

/* Most workers have no accelerator and say nothing of one. */
static int keep_device_memory(json_t *reply, struct record *r, struct error *e)
{
    if (json_object_get(reply, "device_memory_peak_bytes"))
        return reply_u64(reply, "device_memory_peak_bytes", &r->device_memory_peak_bytes, e);
    copy_text(r->device_memory_reason, sizeof r->device_memory_reason, reply,
              "device_memory_reason");
    return 0;
}

static int keep_latencies(struct worker *w, struct record *r, struct error *e)
{
    size_t capacity = r->runs < LATENCY_MAX ? (size_t)r->runs : LATENCY_MAX;
    uint64_t runs;
    r->latency_ns = malloc(capacity * sizeof *r->latency_ns);
    if (!r->latency_ns)
        return error_memory(e);
    r->latency_count = worker_latencies(w, r->latency_ns, capacity, &runs);
    if (runs == r->runs && r->latency_count > 0)
        return 0;
    return error_set(e, ERROR_FORMAT, "worker reports %llu runs but stored %llu latencies",
                     (unsigned long long)r->runs, (unsigned long long)runs);
}

/* The pauses between the fewest runs are no reason to cut the window. */
static uint64_t window_max_ns(const struct session *s)
{
    const struct measure_options *o = s->options;
    uint64_t pauses_ns;
    if (o->max_ns)
        return o->max_ns;
    if (__builtin_mul_overflow(o->min_runs, s->cell->gap_ns, &pauses_ns) ||
        pauses_ns > PAUSES_MAX_NS)
        pauses_ns = PAUSES_MAX_NS;
    return pauses_ns +
           (10 * o->duration_ns > 60 * NS_PER_S ? 10 * o->duration_ns : 60 * NS_PER_S);
}

/* From "go" to "done" the parent only sleeps, waking to poll the meters. */
static int go(struct session *s, struct meter_set *meters, struct record *r, struct error *e)
{
    const struct measure_options *o = s->options;
    json_t *reply = NULL;
    uint64_t memory_bytes = note_memory(s->worker);
    host_noise_read(&r->noise_before, o->sysroot ? o->sysroot : "");
    meters_begin(meters);
    json_t *command = json_pack("{s:s}", "op", "go");
    int result = command ? worker_send(s->worker, command, e) : error_memory(e);
    if (!result)
        result = worker_receive(s->worker, window_max_ns(s) + s->cell->gap_ns + o->timeout_ns,
                                meters->tick_ns, meters_sample, meters, &reply, e);
    int unmeasured = meters_end(meters, result ? NULL : e);
    host_noise_read(&r->noise_after, o->sysroot ? o->sysroot : "");
    if (!result)
        result = unmeasured;
    if (!result)
        result = keep_done(reply, r, e);
    if (!result)
        result = keep_device_memory(reply, r, e);
    if (!result)
        result = keep_latencies(s->worker, r, e);
    if (!result)
        note_growth(memory_bytes, note_memory(s->worker), r);
    json_decref(reply);
    return result;
}

static int window(struct session *s, struct record *r, struct error *e)
{
    const struct measure_options *o = s->options;
    json_t *command = json_pack("{s:s, s:I, s:I, s:I, s:I}", "op", "window", "min_runs",
                                (json_int_t)o->min_runs, "min_ns", (json_int_t)o->duration_ns,
                                "max_ns", (json_int_t)window_max_ns(s), "gap_ns",
                                (json_int_t)s->cell->gap_ns);
    int result = command ? session_call(s, command, 0, NULL, e) : error_memory(e);
    if (result)
        return result;
    struct meter_set meters;
    result = meters_open(&meters, o, s->worker, r, e);
    if (!result)
        result = go(s, &meters, r, e);
    meters_close(&meters);
    return result;
}

/* --- judgement -------------------------------------------------------------------------------- */

static void find(struct record *r, enum verdict verdict, const char *text)
{
    json_array_append_new(r->reasons, json_string(text));
    if (verdict > r->verdict)
        r->verdict = verdict;
}

/* The meters must span the window and no more, or the joules are those of something else. Their
 * first reading may wait 50 ms for a counter's edge, and the last comes after a message. */
static void judge_span(struct record *r)
{
    static const double SHARE = 0.02, SLACK_S = 0.1;
    char text[160];
    if (r->energy_meter < 0)
        return;
    double more_s = r->meters[r->energy_meter].energy.seconds - r->wall_s;
    if (fabs(more_s) <= SHARE * r->wall_s + SLACK_S)
        return;
    snprintf(text, sizeof text, "the meters were read %.1f s %s the %.1f s of inference: do not "
             "stop wattle while it measures", fabs(more_s), more_s > 0 ? "beyond" : "short of",
             r->wall_s);
    find(r, VERDICT_INVALID, text);
}

/* Runs come one after another. Where not all latencies are kept, none of the others took less than
 * half of the least that is: enough to find a count of runs that is wrong. */
static void judge_latencies(struct record *r)
{
    static const double SHARE = 0.02, SLACK_S = 0.1; /* a worker's clock may tick every 10 ms */
    char text[192];
    double sum_s = 0, least_s = INFINITY;
    for (size_t i = 0; i < r->latency_count; i++) {
        sum_s += (double)r->latency_ns[i] / 1e9;
        least_s = fmin(least_s, (double)r->latency_ns[i] / 1e9);
    }
    if (r->latency_count < r->runs)
        sum_s = fmax(sum_s, least_s / 2 * (double)r->runs);
    if (sum_s <= (1 + SHARE) * r->wall_s + SLACK_S)
        return;
    snprintf(text, sizeof text, "the latencies that the worker tells, %.3g s for %llu runs, do not "
             "fit into its window of %.3g s: hold it against wattle worker --check", sum_s,
             (unsigned long long)r->runs, r->wall_s);
    find(r, VERDICT_INVALID, text);
}

static void judge(const struct measure_options *o, struct record *r)
{
    double cpu_s = r->user_s + r->system_s;
    /* Unknown: all that was busy may be the worker's own. */
    uint64_t cpu_ns = isnan(cpu_s) ? UINT64_MAX : (uint64_t)(cpu_s * 1e9);
    enum verdict noise = host_noise_judge(&r->noise_before, &r->noise_after, cpu_ns, r->reasons);
    if (noise > r->verdict)
        r->verdict = noise;
    if (isnan(cpu_s))
        find(r, VERDICT_SUSPECT, "cannot tell whether other programs ran: the worker gave no CPU "
                                 "time");
    judge_span(r);
    judge_latencies(r);
    if (!r->warmup_stable)
        find(r, VERDICT_SUSPECT, "latency still had a slope after warm-up: use a longer --warmup");
    if (r->runs < o->min_runs)
        find(r, VERDICT_SUSPECT, "window was cut at its maximum duration before enough runs: use a "
                                 "longer --duration");
    if (r->latency_count < r->runs)
        find(r, VERDICT_VALID, "more runs than the latency ring holds: percentiles are of the "
                               "newest ones");
}

static void tell(const struct measure_options *o, const char *phase)
{
    if (o->phase)
        o->phase(o->phase_context, phase);
}

static int run_block(struct session *s, const struct cell *c, const struct measure_options *o,
                     struct record *r, struct error *e)
{
    tell(o, "load");
    int result = session_open(s, c, o, e);
    if (s->worker)
        json_object_update(r->environment, worker_environment(s->worker));
    if (!result)
        result = keep_loaded(s, r, e);
    if (!result)
        result = session_inputs(s, o->input_sets, e);
    if (!result)
        result = first_inference(s, r, e);
    tell(o, "warm-up");
    if (!result)
        result = warm_up(s, r, e);
    tell(o, "window");
    if (!result)
        result = window(s, r, e);
    if (!result && r->number <= 1)
        note_outputs(s, r);
    return result;
}

void measure_failed(const struct error *failure, int number, struct record *r)
{
    record_init(r);
    r->number = number;
    r->started_ns = clock_realtime_ns();
    r->error = *failure;
    r->verdict = VERDICT_INVALID;
}

/* A program that breaks the protocol is its author's to mend. */
static void hint_own(const struct cell *c, struct error *failure)
{
    enum error_code code = failure->code;
    if (c->command[0] && !failure->hint[0] &&
        (code == ERROR_FORMAT || code == ERROR_CRASH || code == ERROR_TIMEOUT))
        error_hint(failure, "wattle worker --check '%.120s' tells more", c->command);
}

/* All that is known of a crash is how it ended; what to do about it depends on that. */
static void hint_crash(struct error *failure)
{
    if (failure->code != ERROR_CRASH || failure->hint[0])
        return;
    if (strstr(failure->text, "want of memory"))
        error_hint(failure, "take a smaller batch (-b), or close other programs");
    else
        error_hint(failure, "code of the runtime or of the model ended the process: try another "
                   "runtime (-r), or make the model file anew");
}

int measure_block(const struct cell *c, int number, const struct measure_options *o,
                  struct record *r, struct error *e)
{
    struct session s = {0};
    struct error failure = {0};
    record_init(r);
    r->number = number;
    r->started_ns = clock_realtime_ns();
    int result = run_block(&s, c, o, r, &failure);
    if (!result)
        judge(o, r);
    else {
        hint_own(c, &failure);
        hint_crash(&failure);
        r->error = failure;
        r->verdict = VERDICT_INVALID;
        if (s.worker)
            snprintf(r->log, sizeof r->log, "%s", worker_log(s.worker));
    }
    session_close(&s);
    if (result != ERROR_INTERRUPTED)
        return 0;
    if (e)
        *e = failure;
    return result;
}
