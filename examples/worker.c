/* worker.c: a whole worker in C, with libc and wattle's protocol header alone. Its model is one
 * dense layer with ReLU; with a number of microseconds as its argument it also sleeps in each
 * inference, as if it waited for a device.
 *
 *     gcc -O2 -Iinclude -o worker examples/worker.c
 *     wattle run --worker './worker 2000' -b 1,8
 *
 * It looks for numbers in commands by their names only, which does for one input. A worker with
 * more should use a JSON library.
 */
#include <wattle/worker.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { IN = 64, OUT = 32, BATCH_MAX = 1024, REPLY_MAX = 1024, SETS_MAX = 64 };

static float weights[IN][OUT], result[BATCH_MAX][OUT];
static long batch, sets, set_bytes, sleep_us;
static const char *inputs;
static struct wattle_ring *ring;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void rest(uint64_t ns)
{
    struct timespec t = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
    nanosleep(&t, NULL);
}

static void infer(long set)
{
    const float (*x)[IN] = (const float (*)[IN])(const void *)(inputs + set * set_bytes);
    memset(result, 0, (size_t)batch * sizeof *result);
    for (long b = 0; b < batch; b++) {
        for (int i = 0; i < IN; i++)
            for (int o = 0; o < OUT; o++)
                result[b][o] += x[b][i] * weights[i][o];
        for (int o = 0; o < OUT; o++)
            result[b][o] = result[b][o] > 0 ? result[b][o] : 0;
    }
    if (sleep_us)
        rest((uint64_t)sleep_us * 1000);
}

/* --- commands and replies --------------------------------------------------------------------- */

static void reply(const char *text)
{
    dprintf(WATTLE_FD_REPLIES, "%s\n", text);
}

static void refuse(const char *code, const char *why)
{
    dprintf(WATTLE_FD_REPLIES, "{\"ok\":false,\"code\":\"%s\",\"error\":\"%s\"}\n", code, why);
}

static int is(const char *command, const char *op)
{
    char wanted[32];
    snprintf(wanted, sizeof wanted, "\"op\":\"%s\"", op);
    return strstr(command, wanted) != NULL;
}

static long long number(const char *command, const char *name, long long fallback)
{
    char wanted[32];
    snprintf(wanted, sizeof wanted, "\"%s\":", name);
    const char *at = strstr(command, wanted);
    return at ? strtoll(at + strlen(wanted), NULL, 10) : fallback;
}

static void load(const char *command)
{
    long long wanted = number(command, "batch", 1);
    if (wanted < 1 || wanted > BATCH_MAX) {
        refuse("unsupported", "a batch of 1 to 1024, please");
        return;
    }
    batch = (long)wanted;
    for (int i = 0; i < IN; i++)
        for (int o = 0; o < OUT; o++)
            weights[i][o] = (float)((i * 7 + o * 3) % 11 - 5) / 16;
    dprintf(WATTLE_FD_REPLIES,
            "{\"ok\":true,\"load_ns\":0,\"runtime\":\"c-example\",\"version\":\"1\","
            "\"library\":\"\",\"provider\":\"cpu\",\"settings\":{\"threads\":1},"
            "\"inputs\":[{\"name\":\"x\",\"type\":\"float32\",\"shape\":[%ld,%d]}],"
            "\"outputs\":[{\"name\":\"y\",\"type\":\"float32\",\"shape\":[%ld,%d]}]}\n",
            batch, IN, batch, OUT);
}

static void take_inputs(const char *command)
{
    long long count = number(command, "sets", 0), bytes = number(command, "set_bytes", 0);
    if (!batch || count < 1 || count > SETS_MAX || bytes < batch * IN * (long)sizeof(float)) {
        refuse("usage", "these inputs are not for this model");
        return;
    }
    void *p = mmap(NULL, (size_t)(count * bytes), PROT_READ, MAP_SHARED | MAP_POPULATE,
                   WATTLE_FD_TENSORS, 0);
    if (p == MAP_FAILED) {
        refuse("io", "cannot map the inputs");
        return;
    }
    inputs = p;
    sets = (long)count;
    set_bytes = (long)bytes;
    reply("{\"ok\":true}");
}

static void write_outputs(const char *command)
{
    off_t offset = (off_t)number(command, "offset", 0);
    size_t bytes = (size_t)batch * sizeof *result;
    if ((long long)bytes > number(command, "limit", 0)) {
        refuse("memory", "the outputs are larger than the limit");
        return;
    }
    infer((long)number(command, "set", 0) % sets);
    if (pwrite(WATTLE_FD_TENSORS, result, bytes, offset) != (ssize_t)bytes) {
        refuse("io", "cannot write the outputs");
        return;
    }
    dprintf(WATTLE_FD_REPLIES,
            "{\"ok\":true,\"outputs\":[{\"name\":\"y\",\"type\":\"float32\",\"shape\":[%ld,%d],"
            "\"offset\":%lld,\"bytes\":%zu}]}\n", batch, OUT, (long long)offset, bytes);
}

/* --- what is measured ------------------------------------------------------------------------- */

struct window {
    uint64_t min_runs, min_ns, max_ns, gap_ns;
    uint64_t runs, begin_ns, end_ns; /* what came of it */
};

static struct window read_window(const char *command)
{
    return (struct window){.min_runs = (uint64_t)number(command, "min_runs", 1),
                           .min_ns = (uint64_t)number(command, "min_ns", 0),
                           .max_ns = (uint64_t)number(command, "max_ns", 1),
                           .gap_ns = (uint64_t)number(command, "gap_ns", 0)};
}

static void run(struct window *w)
{
    uint64_t capacity = ring->capacity, wall_ns;
    __atomic_store_n(&ring->count, 0, __ATOMIC_RELEASE);
    w->runs = 0;
    w->begin_ns = now_ns();
    for (;;) {
        uint64_t start_ns = now_ns();
        infer((long)(w->runs % (uint64_t)sets));
        w->end_ns = now_ns();
        ring->latency_ns[w->runs % capacity] = w->end_ns - start_ns;
        __atomic_store_n(&ring->count, ++w->runs, __ATOMIC_RELEASE);
        wall_ns = w->end_ns - w->begin_ns;
        if ((wall_ns >= w->min_ns && w->runs >= w->min_runs) || wall_ns >= w->max_ns)
            return;
        if (w->gap_ns)
            rest(w->gap_ns);
    }
}

static long long cpu_ns(struct timeval t)
{
    return t.tv_sec * 1000000000ll + t.tv_usec * 1000ll;
}

static void go(struct window *w)
{
    struct rusage a, b;
    getrusage(RUSAGE_SELF, &a);
    run(w);
    getrusage(RUSAGE_SELF, &b);
    dprintf(WATTLE_FD_REPLIES,
            "{\"ok\":true,\"state\":\"done\",\"runs\":%llu,\"begin_ns\":%llu,\"end_ns\":%llu,"
            "\"user_ns\":%lld,\"system_ns\":%lld,\"minor_faults\":%ld,\"major_faults\":%ld,"
            "\"voluntary_switches\":%ld,\"involuntary_switches\":%ld}\n",
            (unsigned long long)w->runs, (unsigned long long)w->begin_ns,
            (unsigned long long)w->end_ns, cpu_ns(b.ru_utime) - cpu_ns(a.ru_utime),
            cpu_ns(b.ru_stime) - cpu_ns(a.ru_stime), b.ru_minflt - a.ru_minflt,
            b.ru_majflt - a.ru_majflt, b.ru_nvcsw - a.ru_nvcsw, b.ru_nivcsw - a.ru_nivcsw);
}

static void warmup(const char *command)
{
    struct window w = read_window(command);
    run(&w);
    dprintf(WATTLE_FD_REPLIES, "{\"ok\":true,\"runs\":%llu,\"wall_ns\":%llu}\n",
            (unsigned long long)w.runs, (unsigned long long)(w.end_ns - w.begin_ns));
}

static void first(void)
{
    uint64_t begin_ns = now_ns();
    infer(0);
    dprintf(WATTLE_FD_REPLIES, "{\"ok\":true,\"first_ns\":%llu}\n",
            (unsigned long long)(now_ns() - begin_ns));
}

static void serve(const char *command)
{
    static struct window window;
    int infers = is(command, "first") || is(command, "outputs") || is(command, "warmup") ||
                 is(command, "window") || is(command, "go");
    if (infers && !sets)
        refuse("usage", "there are no inputs yet");
    else if (is(command, "hello") && number(command, "protocol", 0) == WATTLE_PROTOCOL)
        reply("{\"ok\":true,\"protocol\":1,\"worker\":\"worker.c 1\"}");
    else if (is(command, "load"))
        load(command);
    else if (is(command, "inputs"))
        take_inputs(command);
    else if (is(command, "first"))
        first();
    else if (is(command, "outputs"))
        write_outputs(command);
    else if (is(command, "warmup"))
        warmup(command);
    else if (is(command, "window")) {
        window = read_window(command);
        reply("{\"ok\":true,\"state\":\"ready\"}");
    } else if (is(command, "go"))
        go(&window);
    else if (is(command, "quit"))
        reply("{\"ok\":true}");
    else
        refuse("unsupported", "this worker does not know that command");
}

static int map_ring(void)
{
    struct stat st;
    if (fstat(WATTLE_FD_RING, &st))
        return -1;
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, WATTLE_FD_RING, 0);
    ring = p == MAP_FAILED ? NULL : p;
    return ring && ring->magic == WATTLE_RING_MAGIC ? 0 : -1;
}

int main(int argc, char **argv)
{
    char *command = NULL;
    size_t size = 0;
    int quit = 0;
    FILE *commands = fdopen(WATTLE_FD_COMMANDS, "r");
    sleep_us = argc > 1 ? strtol(argv[1], NULL, 10) : 0;
    if (!commands || map_ring()) {
        fprintf(stderr, "only wattle starts this program\n");
        return 2;
    }
    while (!quit && getline(&command, &size, commands) > 0) {
        serve(command);
        quit = is(command, "quit");
    }
    free(command);
    return quit ? 0 : 1;
}
