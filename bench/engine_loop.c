/* engine_loop MODEL.onnx [-t threads] [-d SYMBOL=SIZE] [-s seconds] [-g gap_ms] [-i sets] [-r] [-n] [-p]
 *
 * A bare loop over the engine: the load time, then single inferences for some seconds, each timed.
 * -i: input sets that take turns, as `wattle run` does it (1: the engine's own buffers);
 * -r: reference kernels; -n: no tuning; -p: each step's kernel and best time; -g: pause between
 * inferences. Prints one line that bench/engine.sh reads:
 *     min_ms median_ms p99_ms runs load_ms cpu_ms_per_run rss_mib
 */
#include <wattle/engine.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { RUNS_MAX = 100000, STEPS_MAX = 2000, PROFILES = 20, SETS_MAX = 16, INPUTS_MAX = 8 };

struct loop {
    const char *path;
    struct wattle_engine_options options;
    struct wattle_dim dims[4];
    double seconds, gap;
    int profile, verbose, sets;
    void *inputs[SETS_MAX][INPUTS_MAX];
};

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Numbers in [-2, 2) for images; token ids, masks and types for integers. */
static void fill(struct wattle_engine *e, size_t index)
{
    const struct wattle_tensor_info *info = wattle_engine_input(e, index);
    uint32_t random = 1;
    int is_mask = strstr(info->name, "mask") != NULL, is_type = strstr(info->name, "type") != NULL;
    for (size_t i = 0; i < info->bytes / (info->type == 7 ? 8 : 4); i++) {
        random = random * 1664525u + 1013904223u;
        if (info->type == 7)
            ((int64_t *)wattle_engine_input_data(e, index))[i] =
                is_mask ? 1 : is_type ? 0 : random >> 18;
        else if (info->type == 1)
            ((float *)wattle_engine_input_data(e, index))[i] = (float)(random >> 8) / 4194304 - 2;
    }
}

static int add_dim(struct loop *l, char *text)
{
    char *equals = strchr(text, '=');
    if (!equals || l->options.dim_count == 4)
        return -1;
    *equals = '\0';
    l->dims[l->options.dim_count++] = (struct wattle_dim){text, atoi(equals + 1)};
    return 0;
}

static int options(int argc, char **argv, struct loop *l)
{
    int option;
    *l = (struct loop){.seconds = 2, .sets = 1, .options = {.threads = 1}};
    while ((option = getopt(argc, argv, "t:d:s:g:i:rnpv")) != -1)
        switch (option) {
        case 't': l->options.threads = atoi(optarg); break;
        case 'd': if (add_dim(l, optarg)) return -1; break;
        case 's': l->seconds = atof(optarg); break;
        case 'g': l->gap = atof(optarg) * 1e-3; break;
        case 'i': l->sets = atoi(optarg); break;
        case 'r': l->options.provider = "reference"; break;
        case 'n': l->options.flags = WATTLE_ENGINE_NO_TUNING; break;
        case 'p': l->profile = 1; break;
        case 'v': l->verbose = 1; break;
        default: return -1;
        }
    if (optind + 1 != argc || l->sets < 1 || l->sets > SETS_MAX)
        return -1;
    l->path = argv[optind];
    l->options.dims = l->dims;
    return 0;
}

static int profile(struct wattle_engine *e, char *error)
{
    static struct wattle_step_time best[STEPS_MAX], times[STEPS_MAX];
    size_t count = 0;
    for (int i = 0; i < PROFILES; i++) {
        if (wattle_engine_profile(e, times, STEPS_MAX, &count, error))
            return -1;
        for (size_t k = 0; k < count && k < STEPS_MAX; k++)
            if (i == 0 || times[k].ns < best[k].ns)
                best[k] = times[k];
    }
    for (size_t k = 0; k < count && k < STEPS_MAX; k++)
        printf("%8.1f us %6.1f GF/s  %-24s %-30s %s\n", (double)best[k].ns / 1e3,
               2.0 * (double)best[k].macs / (double)best[k].ns, best[k].op, best[k].kernel,
               best[k].node);
    return 0;
}

static void print_info(const struct wattle_engine *e)
{
    struct wattle_engine_info i;
    wattle_engine_info(e, &i);
    printf("%s, %s, %d threads; %zu nodes -> %zu steps (%zu reference, %zu reorders); %.2f GMAC; "
           "arena %.1f MiB, weights %.1f MiB\n", i.provider, i.kernels, i.threads, i.nodes_in_file,
           i.steps, i.steps_reference, i.reorders, (double)i.macs * 1e-9,
           (double)i.arena_bytes / 1048576, (double)i.weight_bytes / 1048576);
}

/* Copies of the inputs, each in memory of its own. */
static int make_sets(struct wattle_engine *e, struct loop *l)
{
    for (int s = 0; s < l->sets; s++)
        for (size_t i = 0; i < wattle_engine_input_count(e) && i < INPUTS_MAX; i++) {
            size_t bytes = wattle_engine_input(e, i)->bytes;
            l->inputs[s][i] = aligned_alloc(64, (bytes + 63) / 64 * 64);
            if (!l->inputs[s][i])
                return -1;
            memcpy(l->inputs[s][i], wattle_engine_input_data(e, i), bytes);
        }
    return 0;
}

static int bind(struct wattle_engine *e, const struct loop *l, size_t run, char *error)
{
    if (l->sets == 1)
        return 0;
    for (size_t i = 0; i < wattle_engine_input_count(e) && i < INPUTS_MAX; i++)
        if (wattle_engine_bind_input(e, i, l->inputs[run % (size_t)l->sets][i], error))
            return -1;
    return 0;
}

static int loop(struct wattle_engine *e, const struct loop *l, double load, char *error)
{
    static double times[RUNS_MAX];
    size_t n = 0;
    struct timespec gap = {.tv_nsec = (long)(l->gap * 1e9)};
    for (int i = 0; i < 3; i++)
        if (wattle_engine_run(e, error))
            return -1;
    double start = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    while (n < RUNS_MAX && (n < 5 || now(CLOCK_MONOTONIC) - start < l->seconds)) {
        if (bind(e, l, n, error))
            return -1;
        double before = now(CLOCK_MONOTONIC);
        if (wattle_engine_run(e, error))
            return -1;
        times[n++] = now(CLOCK_MONOTONIC) - before;
        if (l->gap > 0)
            nanosleep(&gap, NULL);
    }
    cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    qsort(times, n, sizeof *times, compare);
    printf("%.3f %.6f %.3f %zu %.0f %.3f %.1f\n", times[0] * 1e3, times[n / 2] * 1e3,
           times[n - 1 - n / 100] * 1e3, n, load * 1e3, cpu / (double)n * 1e3,
           (double)usage.ru_maxrss / 1024);
    return 0;
}

int main(int argc, char **argv)
{
    struct loop l;
    struct wattle_engine *e;
    char error[WATTLE_ERROR_MAX];
    if (options(argc, argv, &l)) {
        fprintf(stderr, "usage: engine_loop MODEL.onnx [-t threads] [-d SYMBOL=SIZE] [-s seconds] "
                        "[-g gap_ms] [-i sets] [-r] [-n] [-p] [-v]\n");
        return 2;
    }
    double start = now(CLOCK_MONOTONIC);
    int failed = wattle_engine_load(l.path, &l.options, &e, error);
    double load = now(CLOCK_MONOTONIC) - start;
    if (!failed) {
        for (size_t i = 0; i < wattle_engine_input_count(e); i++)
            fill(e, i);
        if (l.verbose || l.profile)
            print_info(e);
        snprintf(error, sizeof error, "out of memory");
        failed = make_sets(e, &l) || (l.profile && profile(e, error)) || loop(e, &l, load, error);
        wattle_engine_free(e);
    }
    if (failed)
        fprintf(stderr, "engine_loop: %s\n", error);
    return failed != 0;
}
