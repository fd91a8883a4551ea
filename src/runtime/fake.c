/* fake.c: a runtime without a model, whose time and failures are written in its options. It exists
 * so that tests of everything around a runtime know the right answer beforehand.
 *
 * The clock: with work=none time is virtual and passes only inside run, so that the number of runs
 * in a window is exact as well as each latency. With work=sleep (default) or burn the run really
 * takes its time; its latency is still the exact figure, and between runs real time passes.
 */
#include "runtime/adapters.h"

#include "base/clock.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WIDTH = 8, WRONG_ELEMENT = 7, EXIT_STATUS = 3 };

/* The script: one member for each option. Times in us, run numbers count from 1 over the whole life
 * of the process; 0 is never. */
struct script {
    int64_t latency_us, drift_us, slow_first_us, jitter_us, load_us;
    int64_t crash_at_run, hang_at_run, kill_at_run, exit_at_run, fail_at_run, spoil_at_run;
    int64_t moody_output; /* added to an output once more in each run */
    int64_t grow_bytes;   /* of memory, kept in each run */
    int64_t allocate_in_run, write_in_run, int_input, log_bytes;
    int64_t int_high; /* the highest value that the integer input says it takes; 0: says nothing */
    int64_t device_bytes; /* memory on an accelerator that it does not have; -1: unknown */
    double wrong_output;
    char work[8];  /* none, sleep, burn */
    char oom[8];   /* "", load, run */
    char crash[8]; /* segv, abort; stray: a write where no memory is */
    char log[256];
};

/* What grow_bytes makes. */
struct kept {
    struct kept *next;
};

struct fake {
    struct script script;
    const float *x;
    float *y;
    int64_t batch;
    uint64_t run;    /* the number of the run under way */
    uint64_t now_ns; /* the fake clock's last value */
    int just_ran;    /* the next look at the clock gives exactly the run's end */
    uint64_t random;
    int null_fd;
    double int_range[2];
    struct kept *kept;
    json_t *settings;
};

static int set_integer(int64_t *member, const char *name, const char *value, int64_t low,
                       int64_t high, struct error *e)
{
    char what[64];
    snprintf(what, sizeof what, "fake option %s", name);
    return text_to_int(value, what, low, high, member, e);
}

static int set_text(char *member, size_t size, const char *name, const char *value,
                    const char *allowed, struct error *e)
{
    char word[16];
    snprintf(word, sizeof word, " %.12s ", value);
    if (strlen(value) >= size || (allowed && !strstr(allowed, word)))
        return error_set(e, ERROR_USAGE, "fake option %s: '%.60s' is not one of:%s", name, value,
                         allowed ? allowed : " shorter texts");
    snprintf(member, size, "%s", value);
    return 0;
}

#define INTEGER(member, low, high)                                                                 \
    static int set_##member(void *s, const char *name, const char *value, struct error *e)         \
    {                                                                                              \
        return set_integer(&((struct script *)s)->member, name, value, low, high, e);              \
    }
#define TEXT(member, allowed)                                                                      \
    static int set_##member(void *s, const char *name, const char *value, struct error *e)         \
    {                                                                                              \
        struct script *script = s;                                                                 \
        return set_text(script->member, sizeof script->member, name, value, allowed, e);           \
    }

INTEGER(latency_us, 0, 3600000000)
INTEGER(drift_us, -1000000, 1000000)
INTEGER(slow_first_us, 0, 3600000000)
INTEGER(jitter_us, 0, 1000000)
INTEGER(load_us, 0, 3600000000)
INTEGER(crash_at_run, 0, INT64_MAX)
INTEGER(hang_at_run, 0, INT64_MAX)
INTEGER(kill_at_run, 0, INT64_MAX)
INTEGER(exit_at_run, 0, INT64_MAX)
INTEGER(fail_at_run, 0, INT64_MAX)
INTEGER(spoil_at_run, 0, INT64_MAX)
INTEGER(moody_output, 0, 1000)
INTEGER(grow_bytes, 0, 1 << 30)
INTEGER(allocate_in_run, 0, 1)
INTEGER(write_in_run, 0, 1)
INTEGER(int_input, 0, 1)
INTEGER(int_high, 0, INT32_MAX)
INTEGER(log_bytes, 0, 1 << 20)
INTEGER(device_bytes, -1, INT64_MAX)
TEXT(work, " none sleep burn ")
TEXT(oom, " load run ")
TEXT(crash, " segv abort stray ")
TEXT(log, NULL)

static int set_wrong_output(void *s, const char *name, const char *value, struct error *e)
{
    return text_to_double(value, name, -1e30, 1e30, &((struct script *)s)->wrong_output, e);
}

#define OPTION(member) {#member, set_##member}
static const struct adapter_option known[] = {
    OPTION(latency_us),   OPTION(drift_us),        OPTION(slow_first_us), OPTION(jitter_us),
    OPTION(load_us),      OPTION(crash_at_run),    OPTION(hang_at_run),   OPTION(kill_at_run),
    OPTION(exit_at_run),  OPTION(fail_at_run),     OPTION(oom),           OPTION(wrong_output),
    OPTION(work),         OPTION(allocate_in_run), OPTION(write_in_run),  OPTION(int_input),
    OPTION(log),          OPTION(log_bytes),       OPTION(crash),         OPTION(device_bytes),
    OPTION(int_high),     OPTION(spoil_at_run),    OPTION(moody_output),  OPTION(grow_bytes),
};

static void probe(struct adapter_probe *out)
{
    *out = (struct adapter_probe){.usable = 1};
    snprintf(out->version, sizeof out->version, "%s", "1");
    snprintf(out->library, sizeof out->library, "%s", "fake");
}

static int environment(const struct adapter_request *r, struct adapter_environment *out,
                       struct error *e)
{
    char threads[16];
    snprintf(threads, sizeof threads, "%d", r->threads);
    if (json_object_set_new(out->variables, "FAKE_THREADS", json_string(threads)))
        return error_memory(e);
    return 0;
}

static void unload(void *state)
{
    struct fake *f = state;
    if (!f)
        return;
    if (f->null_fd > 0)
        close(f->null_fd);
    while (f->kept) {
        struct kept *next = f->kept->next;
        free(f->kept);
        f->kept = next;
    }
    json_decref(f->settings);
    free(f->y);
    free(f);
}

static void describe(struct fake *f, const char *provider, struct adapter_loaded *out)
{
    f->int_range[1] = (double)f->script.int_high;
    out->version = "1";
    out->library = "fake";
    out->provider = provider;
    out->settings = f->settings;
    size_t bytes = (size_t)f->batch * WIDTH * sizeof(float);
    struct adapter_tensor tensor = {
        .name = "x", .type = "float32", .rank = 2, .dims = {f->batch, WIDTH}, .bytes = bytes};
    out->inputs[0] = tensor;
    tensor.name = "y";
    out->outputs[0] = tensor;
    out->inputs[1] = (struct adapter_tensor){.name = "n",
                                             .type = "int64",
                                             .rank = 1,
                                             .dims = {f->batch},
                                             .bytes = (size_t)f->batch * sizeof(int64_t),
                                             .range = f->script.int_high ? f->int_range : NULL};
    out->input_count = f->script.int_input ? 2 : 1;
    out->output_count = 1;
}

static int prepare(struct fake *f, const struct adapter_request *r, struct error *e)
{
    f->batch = r->batch;
    f->random = 88172645463325252u;
    f->y = calloc((size_t)r->batch, WIDTH * sizeof(float));
    f->settings = json_pack("{s:i,s:s,s:s}", "threads", r->threads, "work", f->script.work,
                            "provider", r->provider);
    if (!strcmp(r->provider, "wrong"))
        f->script.wrong_output += 0.5;
    if (!f->y || !f->settings)
        return error_memory(e);
    f->null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (f->null_fd < 0)
        return error_errno(e, errno, "cannot open /dev/null");
    return 0;
}

static int check(const struct adapter_request *r, struct error *e)
{
    struct script s = {0};
    return adapter_options("fake", r->options, known, sizeof known / sizeof *known, &s, e);
}

static int load(const struct adapter_request *r, void **state, struct adapter_loaded *out,
                struct error *e)
{
    struct fake *f = calloc(1, sizeof *f);
    if (!f)
        return error_memory(e);
    f->script = (struct script){.latency_us = 1000, .work = "sleep", .crash = "segv"};
    int code = adapter_options("fake", r->options, known, sizeof known / sizeof *known, &f->script,
                               e);
    if (!code && !strcmp(f->script.oom, "load"))
        code = error_set(e, ERROR_MEMORY, "fake: out of memory while loading, as asked");
    if (!code && !strcmp(r->provider, "broken"))
        code = error_set(e, ERROR_UNSUPPORTED, "fake: the provider is broken, as asked");
    if (!code)
        code = prepare(f, r, e);
    if (code) {
        unload(f);
        return code;
    }
    if (f->script.log[0])
        fprintf(stderr, "%s\n", f->script.log);
    f->now_ns = clock_monotonic_ns() + (uint64_t)f->script.load_us * NS_PER_US;
    clock_sleep_until_ns(f->now_ns);
    describe(f, r->provider, out);
    *state = f;
    return 0;
}

static int bind(void *state, const void *const *data, struct error *e)
{
    (void)e;
    ((struct fake *)state)->x = data[0];
    return 0;
}

static int is_virtual(const struct fake *f)
{
    return !strcmp(f->script.work, "none");
}

static uint64_t now_ns(void *state)
{
    struct fake *f = state;
    uint64_t real = is_virtual(f) || f->just_ran ? 0 : clock_monotonic_ns();
    if (real > f->now_ns)
        f->now_ns = real;
    f->just_ran = 0;
    return f->now_ns;
}

static uint64_t jitter_ns(struct fake *f)
{
    f->random ^= f->random << 13;
    f->random ^= f->random >> 7;
    f->random ^= f->random << 17;
    return f->random % ((uint64_t)f->script.jitter_us * NS_PER_US + 1);
}

static uint64_t latency_ns(struct fake *f)
{
    const struct script *s = &f->script;
    if (f->run == 1 && s->slow_first_us)
        return (uint64_t)s->slow_first_us * NS_PER_US;
    int64_t us = s->latency_us + s->drift_us * (int64_t)(f->run - 1);
    return (uint64_t)(us > 1 ? us : 1) * NS_PER_US + (s->jitter_us ? jitter_ns(f) : 0);
}

/* The real time of the run: from where the clock stands to where it shall stand after. */
static void work(const struct fake *f, uint64_t until_ns)
{
    if (!strcmp(f->script.work, "sleep"))
        clock_sleep_until_ns(until_ns);
    else if (!strcmp(f->script.work, "burn"))
        while (clock_monotonic_ns() < until_ns)
            continue;
}

/* A signal that nobody catches, so that also a sanitizer's runtime lets the process die of it. */
static void die_of(int signal_number)
{
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void write_astray(void)
{
    volatile uintptr_t nowhere = 16;
    *(volatile char *)nowhere = 0;
}

static void misbehave(struct fake *f)
{
    const struct script *s = &f->script;
    int64_t run = (int64_t)f->run;
    if (run == s->crash_at_run && !strcmp(s->crash, "stray"))
        write_astray();
    if (run == s->crash_at_run)
        die_of(!strcmp(s->crash, "abort") ? SIGABRT : SIGSEGV);
    if (run == s->kill_at_run)
        kill(getpid(), SIGKILL);
    if (run == s->exit_at_run)
        _exit(EXIT_STATUS);
    while (run == s->hang_at_run)
        pause();
    static const char line[] = "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz.\n";
    for (int64_t left = s->log_bytes; left > 0; left -= (int64_t)sizeof line - 1)
        fputs(line, stderr);
}

/* Kept until the end, in a list. */
static void grow(struct fake *f, size_t bytes)
{
    struct kept *kept = malloc(sizeof *kept + bytes);
    if (!kept)
        return;
    memset(kept, 1, sizeof *kept + bytes);
    kept->next = f->kept;
    f->kept = kept;
}

static int offend(struct fake *f, struct error *e)
{
    if ((int64_t)f->run == f->script.spoil_at_run)
        *(volatile float *)(uintptr_t)f->x = 0;
    if (f->script.grow_bytes)
        grow(f, (size_t)f->script.grow_bytes);
    if (f->script.allocate_in_run) {
        void *volatile p = malloc(64);
        free(p);
    }
    if (f->script.write_in_run && write(f->null_fd, "x", 1) != 1)
        return error_errno(e, errno, "fake: cannot write to /dev/null");
    return 0;
}

static void compute(struct fake *f)
{
    for (int64_t i = 0; i < f->batch * WIDTH; i++)
        f->y[i] = 2 * f->x[i] + 1;
    if (f->script.wrong_output != 0)
        f->y[WRONG_ELEMENT] += (float)f->script.wrong_output;
    f->y[WRONG_ELEMENT] += (float)(f->script.moody_output * (int64_t)(f->run - 1));
}

static int run(void *state, struct error *e)
{
    struct fake *f = state;
    f->run++;
    misbehave(f);
    if (!strcmp(f->script.oom, "run"))
        return error_set(e, ERROR_MEMORY, "fake: out of memory in run %llu, as asked",
                         (unsigned long long)f->run);
    if ((int64_t)f->run == f->script.fail_at_run)
        return error_set(e, ERROR_UNSUPPORTED, "fake: run %llu failed, as asked",
                         (unsigned long long)f->run);
    uint64_t until_ns = f->now_ns + latency_ns(f);
    compute(f);
    work(f, until_ns);
    f->now_ns = until_ns;
    f->just_ran = 1;
    return offend(f, e);
}

static const void *output(void *state, size_t index, struct adapter_tensor *tensor)
{
    struct fake *f = state;
    (void)index;
    tensor->dims[0] = f->batch;
    tensor->bytes = (size_t)f->batch * WIDTH * sizeof(float);
    return f->y;
}

/* The reason is as foreign as a driver's may be. */
static int device_memory(void *state, uint64_t *bytes, char reason[ADAPTER_REASON_MAX])
{
    const struct fake *f = state;
    *bytes = (uint64_t)f->script.device_bytes;
    snprintf(reason, ADAPTER_REASON_MAX, "%s",
             f->script.device_bytes < 0 ? "the fake device does not tell: \xff" : "");
    return f->script.device_bytes > 0 ? 0 : -1;
}

/* "wrong" adds 0.5 to one element of its output; "broken" cannot be loaded. */
static const char *const providers[] = {"cpu", "wrong", "broken", NULL};
static const char *const precisions[] = {"f32", NULL};

const struct adapter adapter_fake = {
    .name = "fake",
    .title = "scripted behaviour, for tests",
    .providers = providers,
    .precisions = precisions,
    .hidden = 1,
    .probe = probe,
    .check = check,
    .environment = environment,
    .load = load,
    .bind = bind,
    .run = run,
    .output = output,
    .unload = unload,
    .now_ns = now_ns,
    .device_memory = device_memory,
};
