/* child_window.c: the timed loop. Between begin and end it binds, runs, reads the clock and stores
 * one number in memory that was touched before: no allocation, no I/O, no formatting. */
#include "worker/child.h"
#include "worker/field.h"
#include "worker/printable.h"

#include "base/clock.h"
#include "base/file.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PAGE_ENTRIES = 4096 / sizeof(uint64_t), STATUS_MAX = 8192 };
#define NS_MAX (INT64_MAX / 4)

int child_map_ring(struct child *c, struct error *e)
{
    struct stat st;
    if (fstat(WATTLE_FD_RING, &st))
        return error_errno(e, errno, "cannot inspect the ring");
    if (st.st_size < (off_t)sizeof *c->ring)
        return error_set(e, ERROR_FORMAT, "the ring has %lld bytes only", (long long)st.st_size);
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, WATTLE_FD_RING, 0);
    if (p == MAP_FAILED)
        return error_errno(e, errno, "cannot map the ring");
    c->ring = p;
    c->ring_bytes = (size_t)st.st_size;
    c->ring_capacity = c->ring->capacity;
    uint64_t room = (c->ring_bytes - sizeof *c->ring) / sizeof(uint64_t);
    if (c->ring->magic == WATTLE_RING_MAGIC && c->ring->version == WATTLE_PROTOCOL &&
        c->ring_capacity && c->ring_capacity <= room)
        return 0;
    munmap(p, c->ring_bytes);
    return error_set(e, ERROR_FORMAT, "the ring's header is wrong");
}

/* Only a test preloads a library with this function. It counts what happens between its two calls,
 * and so proves what this file's first lines say. */
void child_find_hook(struct child *c)
{
    void *symbol = dlsym(RTLD_DEFAULT, "wattle_window_hook");
    memcpy(&c->hook, &symbol, sizeof symbol); /* ISO C has no cast from void * to a function */
}

static uint64_t now_ns(const struct child *c)
{
    return c->adapter->now_ns ? c->adapter->now_ns(c->state) : clock_monotonic_ns();
}

struct span {
    uint64_t runs, begin_ns, end_ns;
};

static void store(struct wattle_ring *ring, uint64_t capacity, uint64_t i, uint64_t latency_ns)
{
    ring->latency_ns[i % capacity] = latency_ns;
    __atomic_store_n(&ring->count, i + 1, __ATOMIC_RELEASE);
}

static void rest(uint64_t gap_ns)
{
    struct timespec t = {.tv_sec = (time_t)(gap_ns / NS_PER_S),
                         .tv_nsec = (long)(gap_ns % NS_PER_S)};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

static int is_over(const struct window *w, const struct span *s)
{
    uint64_t ns = s->end_ns - s->begin_ns;
    return (ns >= w->min_ns && s->runs >= w->min_runs) || ns >= w->max_ns;
}

static int loop(struct child *c, const struct window *w, struct span *s, struct error *e)
{
    const void *const *data = c->data;
    const void *const *end = c->data + c->sets * c->loaded.input_count;
    s->runs = 0;
    s->begin_ns = now_ns(c);
    for (;;) {
        int code = c->adapter->bind(c->state, data, e);
        if (code)
            return code;
        uint64_t start_ns = now_ns(c);
        code = c->adapter->run(c->state, e);
        if (code)
            return code;
        s->end_ns = now_ns(c);
        store(c->ring, c->ring_capacity, s->runs++, s->end_ns - start_ns);
        if (is_over(w, s))
            return 0;
        data += c->loaded.input_count;
        if (data == end)
            data = c->data;
        if (w->gap_ns)
            rest(w->gap_ns);
    }
}

static void restart_ring(struct child *c)
{
    __atomic_store_n(&c->ring->count, 0, __ATOMIC_RELEASE);
}

static int check_ready(const struct child *c, const char *op, struct error *e)
{
    return c->sets ? 0 : error_set(e, ERROR_USAGE, "\"%s\" before \"inputs\"", op);
}

int child_first(struct child *c, json_t *command, json_t *reply, struct error *e)
{
    (void)command;
    int code = check_ready(c, "first", e);
    if (!code)
        code = c->adapter->bind(c->state, c->data, e);
    if (code)
        return code;
    uint64_t begin_ns = now_ns(c);
    code = c->adapter->run(c->state, e);
    uint64_t end_ns = now_ns(c);
    return code ? code : child_put(reply, "first_ns", json_integer((json_int_t)(end_ns - begin_ns)),
                                   e);
}

static int read_window(json_t *command, struct window *w, struct error *e)
{
    int64_t runs, min_ns, max_ns, gap_ns;
    int code = field_integer_or(command, "min_runs", 0, NS_MAX, 1, &runs, e);
    if (!code)
        code = field_integer_or(command, "min_ns", 0, NS_MAX, 0, &min_ns, e);
    if (!code)
        code = field_integer(command, "max_ns", 1, NS_MAX, &max_ns, e);
    if (!code)
        code = field_integer_or(command, "gap_ns", 0, NS_MAX, 0, &gap_ns, e);
    if (!code)
        *w = (struct window){(uint64_t)runs, (uint64_t)min_ns, (uint64_t)max_ns, (uint64_t)gap_ns};
    return code;
}

int child_warmup(struct child *c, json_t *command, json_t *reply, struct error *e)
{
    struct window w;
    struct span s;
    int code = check_ready(c, "warmup", e);
    if (!code)
        code = read_window(command, &w, e);
    if (code)
        return code;
    restart_ring(c);
    code = loop(c, &w, &s, e);
    if (!code)
        code = child_put(reply, "runs", json_integer((json_int_t)s.runs), e);
    if (!code)
        code = child_put(reply, "wall_ns", json_integer((json_int_t)(s.end_ns - s.begin_ns)), e);
    return code;
}

static uint64_t fastest_ns(const struct child *c)
{
    uint64_t n = c->ring->count < c->ring_capacity ? c->ring->count : c->ring_capacity;
    uint64_t fastest = UINT64_MAX;
    for (uint64_t i = 0; i < n; i++)
        if (c->ring->latency_ns[i] < fastest)
            fastest = c->ring->latency_ns[i];
    return n && fastest ? fastest : 1;
}

/* Touches the pages of the ring that the window will need by the warm-up's fastest run, and half
 * again. Not all of them: they count as this process's memory. */
static void touch_ring(struct child *c)
{
    const struct window *w = &c->window;
    uint64_t runs = w->min_ns / fastest_ns(c);
    if (runs < w->min_runs)
        runs = w->min_runs;
    uint64_t entries = c->ring_capacity;
    if (runs < entries / 2)
        entries = runs + runs / 2 + 1;
    volatile uint64_t *latency_ns = c->ring->latency_ns;
    for (uint64_t i = 0; i < entries; i += PAGE_ENTRIES)
        latency_ns[i] = 0;
    latency_ns[entries - 1] = 0;
}

int child_window(struct child *c, json_t *command, json_t *reply, struct error *e)
{
    int code = check_ready(c, "window", e);
    if (!code)
        code = read_window(command, &c->window, e);
    if (code)
        return code;
    touch_ring(c);
    c->window_ready = 1;
    return child_put(reply, "state", json_string("ready"), e);
}

static uint64_t timeval_ns(struct timeval t)
{
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_usec * NS_PER_US;
}

/* The peak of this program. Not getrusage's ru_maxrss: that begins with the memory of the process
 * that started us, which may have just built a model. 0 when unknown. */
static uint64_t rss_peak_bytes(void)
{
    char text[STATUS_MAX];
    if (file_read_text("/proc/self/status", text, sizeof text))
        return 0;
    const char *line = strstr(text, "\nVmHWM:");
    return line ? strtoull(line + sizeof "\nVmHWM:" - 1, NULL, 10) * 1024 : 0;
}

static int put_done(json_t *reply, const struct span *s, const struct rusage *a,
                    const struct rusage *b, struct error *e)
{
    const struct {
        const char *name;
        uint64_t value;
    } members[] = {
        {"runs", s->runs},
        {"begin_ns", s->begin_ns},
        {"end_ns", s->end_ns},
        {"user_ns", timeval_ns(b->ru_utime) - timeval_ns(a->ru_utime)},
        {"system_ns", timeval_ns(b->ru_stime) - timeval_ns(a->ru_stime)},
        {"minor_faults", (uint64_t)(b->ru_minflt - a->ru_minflt)},
        {"major_faults", (uint64_t)(b->ru_majflt - a->ru_majflt)},
        {"voluntary_switches", (uint64_t)(b->ru_nvcsw - a->ru_nvcsw)},
        {"involuntary_switches", (uint64_t)(b->ru_nivcsw - a->ru_nivcsw)},
    };
    uint64_t peak = rss_peak_bytes(); /* unknown: left out */
    int code = child_put(reply, "state", json_string("done"), e);
    if (!code && peak)
        code = child_put(reply, "rss_peak_bytes", json_integer((json_int_t)peak), e);
    for (size_t i = 0; !code && i < sizeof members / sizeof *members; i++)
        code = child_put(reply, members[i].name, json_integer((json_int_t)members[i].value), e);
    return code;
}

/* After the window: asking a driver takes time and memory. Foreign texts are made fit for JSON. */
static int put_device_memory(const struct child *c, json_t *reply, struct error *e)
{
    char reason[ADAPTER_REASON_MAX] = "", text[ADAPTER_REASON_MAX];
    uint64_t bytes = 0;
    if (!c->adapter->device_memory)
        return 0;
    if (!c->adapter->device_memory(c->state, &bytes, reason))
        return child_put(reply, "device_memory_peak_bytes", json_integer((json_int_t)bytes), e);
    printable(reason, strnlen(reason, sizeof reason - 1), text);
    return text[0] ? child_put(reply, "device_memory_reason", json_string(text), e) : 0;
}

int child_go(struct child *c, json_t *command, json_t *reply, struct error *e)
{
    (void)command;
    struct span s;
    struct rusage before, after;
    if (!c->window_ready)
        return error_set(e, ERROR_USAGE, "\"go\" before \"window\"");
    c->window_ready = 0;
    restart_ring(c);
    getrusage(RUSAGE_SELF, &before);
    if (c->hook)
        c->hook(1);
    int code = loop(c, &c->window, &s, e);
    if (c->hook)
        c->hook(0);
    getrusage(RUSAGE_SELF, &after);
    if (!code)
        code = put_done(reply, &s, &before, &after, e);
    return code ? code : put_device_memory(c, reply, e);
}
