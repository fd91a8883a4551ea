/* ort_loop_c LIBRARY MODEL.onnx [-t threads] [-d SYMBOL=SIZE] [-s seconds] [-i sets] [-e KEY=VALUE]
 *
 * engine_loop.c's bare loop over ONNX Runtime's C functions: inputs and outputs bound ahead in
 * memory of their own, single inferences for some seconds, each timed.
 * -i: input sets that take turns, as `wattle run` does it; -e: an entry of the session's
 * configuration, as wattle records them in settings.session_entries.
 * Prints one line: min_ms median_ms p99_ms runs load_ms cpu_ms_per_run rss_mib
 */
#include "runtime/ort_api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { RUNS_MAX = 100000, SETS_MAX = 16, TENSORS_MAX = 8, PAIRS_MAX = 16, RANK_MAX = 8,
       SEVERITY_ERROR = 3, OPTIMIZE_ALL = 99, FLOAT = 1, INT64 = 7 };

struct pair {
    const char *key, *value;
};

struct loop {
    struct ort_api api;
    const char *library, *path;
    int threads, sets;
    double seconds;
    struct pair dims[PAIRS_MAX], entries[PAIRS_MAX];
    size_t dim_count, entry_count;
    struct ort_env *env;
    struct ort_session_options *options;
    struct ort_session *session;
    struct ort_run_options *run_options;
    struct ort_memory_info *cpu;
    struct ort_allocator *allocator;
    struct ort_binding *bindings[SETS_MAX];
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

static int add_pair(struct pair *list, size_t *count, char *text)
{
    char *equals = strchr(text, '=');
    if (!equals || *count == PAIRS_MAX)
        return -1;
    *equals = '\0';
    list[(*count)++] = (struct pair){text, equals + 1};
    return 0;
}

static int read_options(int argc, char **argv, struct loop *l)
{
    int option, failed = 0;
    *l = (struct loop){.threads = 1, .sets = 1, .seconds = 2};
    while ((option = getopt(argc, argv, "t:d:s:i:e:")) != -1)
        switch (option) {
        case 't': l->threads = atoi(optarg); break;
        case 's': l->seconds = atof(optarg); break;
        case 'i': l->sets = atoi(optarg); break;
        case 'd': failed |= add_pair(l->dims, &l->dim_count, optarg); break;
        case 'e': failed |= add_pair(l->entries, &l->entry_count, optarg); break;
        default: return -1;
        }
    if (failed || optind + 2 != argc || l->sets < 1 || l->sets > SETS_MAX)
        return -1;
    l->library = argv[optind];
    l->path = argv[optind + 1];
    return 0;
}

/* Calls one of the library's functions; what it says against it ends the function that calls. */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        if (ort_check(a, (call), e, "%s", #call))                                                  \
            return -1;                                                                             \
    } while (0)

static int open_session(struct loop *l, struct error *e)
{
    struct ort_api *a = &l->api;
    if (ort_api_open(a, l->library, e))
        return -1;
    TRY(a->create_env(ort_log_write, &a->log, SEVERITY_ERROR, "loop", &l->env));
    TRY(a->default_allocator(&l->allocator));
    TRY(a->create_memory_info("Cpu", 0, 0, 0, &l->cpu));
    TRY(a->create_run_options(&l->run_options));
    TRY(a->create_options(&l->options));
    TRY(a->set_intra_threads(l->options, l->threads));
    TRY(a->set_inter_threads(l->options, 1));
    TRY(a->set_optimization(l->options, OPTIMIZE_ALL));
    for (size_t i = 0; i < l->entry_count; i++)
        TRY(a->add_entry(l->options, l->entries[i].key, l->entries[i].value));
    for (size_t i = 0; i < l->dim_count; i++)
        TRY(a->override_dim(l->options, l->dims[i].key, atoll(l->dims[i].value)));
    TRY(a->create_session(l->env, l->path, l->options, &l->session));
    return 0;
}

struct tensor {
    char *name;
    int type;
    size_t rank, elements, bytes;
    int64_t dims[RANK_MAX];
};

/* Sizes that nobody gave are 1. */
static int describe(struct loop *l, int is_input, size_t index, struct tensor *t, struct error *e)
{
    struct ort_api *a = &l->api;
    struct ort_type_info *info;
    const struct ort_tensor_info *tensor;
    TRY(is_input ? a->input_name(l->session, index, l->allocator, &t->name)
                 : a->output_name(l->session, index, l->allocator, &t->name));
    TRY(is_input ? a->input_type(l->session, index, &info)
                 : a->output_type(l->session, index, &info));
    TRY(a->cast_to_tensor(info, &tensor));
    TRY(a->element_type(tensor, &t->type));
    TRY(a->rank(tensor, &t->rank));
    if (t->rank > RANK_MAX || (t->type != FLOAT && t->type != INT64))
        return error_set(e, ERROR_UNSUPPORTED, "'%s' has another type or rank", t->name);
    TRY(a->dims(tensor, t->dims, t->rank));
    t->elements = 1;
    for (size_t i = 0; i < t->rank; i++) {
        t->dims[i] = t->dims[i] > 0 ? t->dims[i] : 1;
        t->elements *= (size_t)t->dims[i];
    }
    t->bytes = t->elements * (t->type == FLOAT ? sizeof(float) : sizeof(int64_t));
    a->release_type_info(info);
    return 0;
}

/* Numbers in [-2, 2) for images; token ids, masks and types for integers. */
static void fill(const struct tensor *t, void *data)
{
    uint32_t random = 1;
    int is_mask = strstr(t->name, "mask") != NULL, is_type = strstr(t->name, "type") != NULL;
    for (size_t i = 0; i < t->elements; i++) {
        random = random * 1664525u + 1013904223u;
        if (t->type == INT64)
            ((int64_t *)data)[i] = is_mask ? 1 : is_type ? 0 : random >> 18;
        else
            ((float *)data)[i] = (float)(random >> 8) / 4194304 - 2;
    }
}

static int make_value(struct loop *l, const struct tensor *t, struct ort_value **value,
                      struct error *e)
{
    struct ort_api *a = &l->api;
    void *data = aligned_alloc(64, (t->bytes + 64) / 64 * 64);
    if (!data)
        return error_memory(e);
    fill(t, data);
    TRY(a->create_tensor(l->cpu, data, t->bytes, t->dims, t->rank, t->type, value));
    return 0;
}

static int bind_inputs(struct loop *l, size_t set, size_t count, struct error *e)
{
    struct ort_api *a = &l->api;
    for (size_t i = 0; i < count; i++) {
        struct tensor t;
        struct ort_value *value;
        if (describe(l, 1, i, &t, e) || make_value(l, &t, &value, e))
            return -1;
        TRY(a->bind_input(l->bindings[set], t.name, value));
    }
    return 0;
}

/* Outputs are the same for all sets. */
static int bind_all(struct loop *l, struct error *e)
{
    struct ort_api *a = &l->api;
    size_t inputs, outputs;
    TRY(a->input_count(l->session, &inputs));
    TRY(a->output_count(l->session, &outputs));
    for (int s = 0; s < l->sets; s++) {
        TRY(a->create_binding(l->session, &l->bindings[s]));
        if (bind_inputs(l, (size_t)s, inputs, e))
            return -1;
    }
    for (size_t i = 0; i < outputs; i++) {
        struct tensor t;
        struct ort_value *value;
        if (describe(l, 0, i, &t, e) || make_value(l, &t, &value, e))
            return -1;
        for (int s = 0; s < l->sets; s++)
            TRY(a->bind_output(l->bindings[s], t.name, value));
    }
    return 0;
}

static void print(double *times, size_t n, double load, double cpu)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    qsort(times, n, sizeof *times, compare);
    printf("%.3f %.6f %.3f %zu %.0f %.3f %.1f\n", times[0] * 1e3, times[n / 2] * 1e3,
           times[n - 1 - n / 100] * 1e3, n, load * 1e3, cpu / (double)n * 1e3,
           (double)usage.ru_maxrss / 1024);
}

static int loop(struct loop *l, double load, struct error *e)
{
    static double times[RUNS_MAX];
    struct ort_api *a = &l->api;
    size_t n = 0;
    for (int i = 0; i < 3 * l->sets; i++)
        TRY(a->run_binding(l->session, l->run_options, l->bindings[i % l->sets]));
    double start = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    while (n < RUNS_MAX && (n < 5 || now(CLOCK_MONOTONIC) - start < l->seconds)) {
        const struct ort_binding *binding = l->bindings[n % (size_t)l->sets];
        double before = now(CLOCK_MONOTONIC);
        struct ort_status *status = a->run_binding(l->session, l->run_options, binding);
        times[n++] = now(CLOCK_MONOTONIC) - before;
        TRY(status);
    }
    print(times, n, load, now(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    return 0;
}

int main(int argc, char **argv)
{
    static struct loop l;
    struct error e = {0};
    if (read_options(argc, argv, &l)) {
        fprintf(stderr, "usage: ort_loop_c LIBRARY MODEL.onnx [-t threads] [-d SYMBOL=SIZE] "
                        "[-s seconds] [-i sets] [-e KEY=VALUE]\n");
        return 2;
    }
    double start = now(CLOCK_MONOTONIC);
    int failed = open_session(&l, &e);
    double load = now(CLOCK_MONOTONIC) - start;
    if (failed || bind_all(&l, &e) || loop(&l, load, &e)) {
        fprintf(stderr, "ort_loop_c: %s\n", e.text);
        return 1;
    }
    return 0;
}
