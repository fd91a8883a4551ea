/* check_time.c: the rules of warmup, window and go: what is measured must be what is told. */
#include "worker/check_parts.h"

#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RING_KEPT = 1 << 20, STATUS_MAX = 8192, GAP_RUNS = 4, WRAP_RUNS = 5 };
/* Of a window without rests, inferring is at least 1/PART_LEAST: a clock of other units shows. */
enum { PART_LEAST = 100 };
#define MIN_NS (300 * NS_PER_MS)
#define GAP_NS (20 * NS_PER_MS)
/* Of any warm-up or window: a model that is slower has its window cut, as the protocol allows. */
#define LONGEST_NS (60 * NS_PER_S)

/* What the ring holds since the last "warmup" or "go". */
struct ring_sum {
    uint64_t runs, kept, sum_ns, longest_ns, least_ns;
};

static int read_ring(struct check *c, struct ring_sum *s)
{
    uint64_t *latency_ns = malloc(RING_KEPT * sizeof *latency_ns);
    *s = (struct ring_sum){0};
    if (!latency_ns) {
        error_memory(&c->stop);
        return 0;
    }
    s->kept = worker_latencies(c->w, latency_ns, RING_KEPT, &s->runs);
    for (uint64_t i = 0; i < s->kept; i++) {
        s->sum_ns += latency_ns[i];
        if (i == 0 || latency_ns[i] < s->least_ns)
            s->least_ns = latency_ns[i];
        if (latency_ns[i] > s->longest_ns)
            s->longest_ns = latency_ns[i];
    }
    free(latency_ns);
    return 1;
}

/* Those that were not kept took about as long: not less than half of the least, each. */
static double all_ns(const struct ring_sum *s)
{
    double all = (double)s->least_ns / 2 * (double)s->runs, kept = (double)s->sum_ns;
    return s->kept < s->runs && all > kept ? all : kept;
}

/* The ring against what the reply says: as many, and not longer than all together. */
static int check_ring(struct check *c, const char *what, uint64_t runs, uint64_t wall_ns,
                      struct ring_sum *s)
{
    char rule[96];
    if (!read_ring(c, s))
        return 0;
    snprintf(rule, sizeof rule, "%s: one latency a run", what);
    if (!check_that(c, s->runs == runs, rule,
                    s->runs ? "set the ring's count to 0 first, and to i + 1 after run i"
                            : "map descriptor 5 and store latencies there, or send "
                              "\"latencies_ns\":[...]",
                    "expected %llu; came %llu", (unsigned long long)runs,
                    (unsigned long long)s->runs))
        return 1;
    snprintf(rule, sizeof rule, "%s: latencies are plausible", what);
    uint64_t least_ns = s->kept == runs && wall_ns > CHECK_SLACK_NS ? wall_ns / PART_LEAST : 1;
    double sum_ns = all_ns(s);
    check_that(c, s->sum_ns >= least_ns &&
                      sum_ns <= (double)(wall_ns + wall_ns / 50 + CHECK_SLACK_NS), rule,
               "store nanoseconds of each inference alone, and count what was inferred",
               "expected a good part of the wall time %.6f s; those of %llu runs are %.6f s",
               (double)wall_ns / 1e9, (unsigned long long)runs, sum_ns / 1e9);
    return 1;
}

/* One warm-up, held against its bounds. */
static int warm_up(struct check *c, const char *what, const char *rule, uint64_t min_runs,
                   uint64_t min_ns, uint64_t max_ns, struct ring_sum *s)
{
    uint64_t runs, wall_ns, begin_ns = clock_monotonic_ns();
    json_t *reply = check_ask(c, rule, check_window("warmup", min_runs, min_ns, max_ns, 0), max_ns);
    uint64_t took_ns = clock_monotonic_ns() - begin_ns;
    int sound = reply && check_number(c, rule, reply, "runs", &runs) &&
                check_number(c, rule, reply, "wall_ns", &wall_ns);
    json_decref(reply);
    if (!sound)
        return reply && !c->w->exit.ended;
    int enough = (runs >= min_runs && wall_ns >= min_ns) || wall_ns >= max_ns;
    check_that(c, enough && runs > 0 && wall_ns <= took_ns + CHECK_SLACK_NS, rule,
               "run on until \"min_runs\" and \"min_ns\" are both reached, or \"max_ns\" is",
               "expected at least %llu runs and %.3f s, of the %.3f s that it took; came %llu and "
               "%.3f s", (unsigned long long)min_runs, (double)min_ns / 1e9, (double)took_ns / 1e9,
               (unsigned long long)runs, (double)wall_ns / 1e9);
    return check_ring(c, what, runs, wall_ns, s);
}

/* With a minimum that cannot be reached: the maximum must end it, after the run that crosses it. */
static int check_maximum(struct check *c, uint64_t longest_ns)
{
    static const char rule[] = "warmup ends when max_ns is reached";
    uint64_t max_ns = 50 * NS_PER_MS, wall_ns, limit_ns = max_ns + 10 * longest_ns + NS_PER_S;
    json_t *reply = check_ask(c, rule, check_window("warmup", 1000000000, 0, max_ns, 0), max_ns);
    if (reply && check_number(c, rule, reply, "wall_ns", &wall_ns))
        check_that(c, wall_ns <= limit_ns, rule, "compare with \"max_ns\" after each run",
                   "expected at most %.3f s; came %.3f s", (double)limit_ns / 1e9,
                   (double)wall_ns / 1e9);
    json_decref(reply);
    return reply != NULL;
}

int check_warmup(struct check *c)
{
    struct ring_sum s = {0};
    return warm_up(c, "warmup", "warmup does at least min_runs", 3, 0, LONGEST_NS, &s) &&
           warm_up(c, "warmup again", "warmup again lasts at least min_ns", 1, MIN_NS,
                   LONGEST_NS, &s) &&
           check_maximum(c, s.longest_ns);
}

/* --- the window ------------------------------------------------------------------------------- */

/* What wattle itself read around the window. */
struct around {
    uint64_t begin_ns, end_ns, cpu_ns, peak_bytes;
};

struct window {
    uint64_t min_runs, min_ns, gap_ns;
    struct around around;
    json_t *reply;
    uint64_t runs, begin_ns, end_ns;
};

static uint64_t peak_bytes(pid_t pid)
{
    char path[32], text[STATUS_MAX];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    const char *line = file_read_text(path, text, sizeof text) ? NULL : strstr(text, "\nVmHWM:");
    return line ? strtoull(line + sizeof "\nVmHWM:" - 1, NULL, 10) * 1024 : 0;
}

static int go(struct check *c, struct window *w)
{
    json_t *window = check_window("window", w->min_runs, w->min_ns, LONGEST_NS, w->gap_ns);
    json_t *ready = check_ask(c, "window", window, 0);
    json_decref(ready);
    if (!ready)
        return 0;
    check_say(c, CHECK_OK, "window is answered with \"ready\"");
    uint64_t cpu_ns = worker_cpu_ns(c->w);
    w->around.begin_ns = clock_monotonic_ns();
    w->reply = check_ask(c, "go", json_pack("{s:s}", "op", "go"), LONGEST_NS);
    w->around.end_ns = clock_monotonic_ns();
    w->around.cpu_ns = worker_cpu_ns(c->w) - cpu_ns;
    w->around.peak_bytes = peak_bytes(worker_pid(c->w));
    return w->reply && check_number(c, "go", w->reply, "runs", &w->runs) &&
           check_number(c, "go", w->reply, "begin_ns", &w->begin_ns) &&
           check_number(c, "go", w->reply, "end_ns", &w->end_ns);
}

static void check_span(struct check *c, const struct window *w)
{
    const struct around *a = &w->around;
    int inside = w->begin_ns + CHECK_SLACK_NS >= a->begin_ns &&
                 w->end_ns <= a->end_ns + CHECK_SLACK_NS && w->end_ns > w->begin_ns;
    check_that(c, inside, "begin_ns and end_ns are of CLOCK_MONOTONIC, around the runs",
               "read CLOCK_MONOTONIC just before the first run and just after the last (Python: "
               "time.monotonic_ns)",
               "expected within %.3f s..%.3f s; came %.3f s..%.3f s", (double)a->begin_ns / 1e9,
               (double)a->end_ns / 1e9, (double)w->begin_ns / 1e9, (double)w->end_ns / 1e9);
    double wall_s = ((double)w->end_ns - (double)w->begin_ns) / 1e9;
    int enough = w->runs >= w->min_runs && wall_s >= (double)w->min_ns / 1e9;
    check_that(c, enough || wall_s >= (double)LONGEST_NS / 1e9,
               "go runs on for min_runs and min_ns", "end only when both are reached",
               "expected at least %llu runs and %.3f s; came %llu and %.3f s",
               (unsigned long long)w->min_runs, (double)w->min_ns / 1e9,
               (unsigned long long)w->runs, wall_s);
}

/* Left out is allowed; a wrong number is not. */
static void check_cpu(struct check *c, const struct window *w)
{
    json_t *user = json_object_get(w->reply, "user_ns");
    json_t *system = json_object_get(w->reply, "system_ns");
    if (!user && !system) {
        check_say(c, CHECK_NOTE, "go tells no user_ns and system_ns: wattle cannot tell whether "
                  "other programs ran, and marks the result as suspect");
        return;
    }
    int64_t cpu_ns = json_integer_value(user) + json_integer_value(system);
    int64_t seen_ns = (int64_t)w->around.cpu_ns, slack_ns = (int64_t)CHECK_SLACK_NS;
    int right = json_is_integer(user) && json_is_integer(system) && cpu_ns >= 0 &&
                (seen_ns == 0 || cpu_ns <= seen_ns + seen_ns / 20 + slack_ns);
    check_that(c, right, "user_ns and system_ns are the CPU time of the window",
               "send the difference of two getrusage calls in nanoseconds, or nothing",
               "expected at most the %.3f s that the process used; came %.3f s",
               (double)seen_ns / 1e9, (double)cpu_ns / 1e9);
}

static void check_peak(struct check *c, const struct window *w)
{
    json_t *peak = json_object_get(w->reply, "rss_peak_bytes");
    if (!peak) {
        check_say(c, CHECK_NOTE, "go tells no rss_peak_bytes: its memory stays unknown");
        return;
    }
    double bytes = (double)json_integer_value(peak), seen = (double)w->around.peak_bytes;
    check_that(c, seen == 0 || (bytes >= seen / 4 && bytes <= seen * 4),
               "rss_peak_bytes is the peak of the worker's memory",
               "send VmHWM of /proc/self/status times 1024, or nothing",
               "expected about %.0f; came %.0f", seen, bytes);
}

static void tell_cost(struct check *c, const struct window *w, const struct ring_sum *s)
{
    double wall_ns = (double)(w->end_ns - w->begin_ns);
    if (s->kept == s->runs && w->runs && wall_ns >= (double)s->sum_ns)
        check_say(c, CHECK_NOTE, "a run takes %.2f us, of which %.2f us are not in its latency",
                  wall_ns / 1e3 / (double)w->runs,
                  (wall_ns - (double)s->sum_ns) / 1e3 / (double)w->runs);
}

int check_go(struct check *c)
{
    struct window w = {.min_runs = 3, .min_ns = MIN_NS};
    struct ring_sum s = {0};
    int going = go(c, &w);
    if (going) {
        check_span(c, &w);
        going = check_ring(c, "go", w.runs, w.end_ns - w.begin_ns, &s);
        check_cpu(c, &w);
        check_peak(c, &w);
        tell_cost(c, &w, &s);
    }
    json_decref(w.reply);
    return going;
}

int check_gap(struct check *c)
{
    static const char rule[] = "go rests for gap_ns between two runs";
    struct window w = {.min_runs = GAP_RUNS, .gap_ns = GAP_NS};
    struct ring_sum s;
    c->quiet = 1;
    int going = go(c, &w);
    c->quiet = 0;
    if (going && read_ring(c, &s)) {
        double rest_ns = (double)w.end_ns - (double)w.begin_ns - (double)s.sum_ns;
        double wanted_ns = (double)((w.runs - 1) * GAP_NS);
        check_that(c, w.runs && rest_ns >= wanted_ns - (double)CHECK_SLACK_NS, rule,
                   "sleep between runs when \"gap_ns\" is not 0",
                   "expected %.3f s of rest in %llu runs; came %.3f s", wanted_ns / 1e9,
                   (unsigned long long)w.runs, rest_ns / 1e9);
    }
    json_decref(w.reply);
    return going;
}

/* --- a ring that is too small ----------------------------------------------------------------- */

/* The page's rest behind the ring, which a worker that does not wrap around writes to. */
static int rest_is_clean(const struct check *c)
{
    const uint8_t *at = (const uint8_t *)c->w->ring + c->w->ring_bytes;
    size_t size = (size_t)sysconf(_SC_PAGESIZE) - c->w->ring_bytes;
    for (size_t i = 0; i < size; i++)
        if (at[i])
            return 0;
    return 1;
}

int check_ring_wraps(struct check *c)
{
    static const char rule[] = "run i is stored at i % capacity of the ring";
    struct ring_sum s;
    uint64_t runs, wall_ns;
    json_t *reply = check_ask(c, rule, check_window("warmup", WRAP_RUNS, 0, LONGEST_NS, 0),
                              LONGEST_NS);
    int sound = reply && check_number(c, rule, reply, "runs", &runs) &&
                check_number(c, rule, reply, "wall_ns", &wall_ns) && read_ring(c, &s);
    json_decref(reply);
    if (!sound)
        return 0;
    uint64_t kept = runs < c->w->ring_capacity ? runs : c->w->ring_capacity;
    int right = s.runs == runs && s.kept == kept && rest_is_clean(c);
    check_that(c, right, rule, "read \"capacity\" from the ring, and let count go on beyond it",
               "expected a count of %llu and nothing behind the ring's %llu entries; came %llu%s",
               (unsigned long long)runs, (unsigned long long)c->w->ring_capacity,
               (unsigned long long)s.runs, rest_is_clean(c) ? "" : " and more");
    return 1;
}
