#include "cmd/request.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "model/zoo.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { BATCH_MAX = 65536, BLOCK_MAX = 1000 };

/* --- lists ------------------------------------------------------------------------------------ */

static int parse_integers(const char *text, const char *what, int64_t high, const char *hint,
                          int64_t *out, size_t *count, struct error *e)
{
    char **items;
    int result = text_split(text, what, REQUEST_LIST_MAX, &items, count, e);
    if (result)
        return result;
    for (size_t i = 0; i < *count && !result; i++)
        result = text_to_int(items[i], what, 1, high, &out[i], e);
    free(items);
    if (result && hint)
        error_hint(e, "%s", hint);
    return result;
}

static int parse_threads(struct request *r, const struct option_list *options, struct error *e)
{
    const char *text = options_last(options, OPTION_THREADS, NULL);
    if (!text) {
        r->threads[0] = r->host.threads;
        r->thread_count = 1;
        return 0;
    }
    int64_t values[REQUEST_LIST_MAX];
    char hint[96];
    snprintf(hint, sizeof hint, "this process may use %d CPU%s", r->host.threads,
             r->host.threads == 1 ? "" : "s");
    int result = parse_integers(text, "threads", r->host.threads, hint, values, &r->thread_count, e);
    for (size_t i = 0; !result && i < r->thread_count; i++)
        r->threads[i] = (int)values[i];
    return result;
}

static int parse_batches(struct request *r, const struct option_list *options, struct error *e)
{
    return parse_integers(options_last(options, OPTION_BATCH, "1"), "batch", BATCH_MAX, NULL,
                          r->batches, &r->batch_count, e);
}

static int unknown_runtime(const char *name, struct error *e)
{
    const char *names[REQUEST_LIST_MAX];
    size_t count, n = 0;
    const struct adapter *const *all = adapter_all(&count);
    for (size_t i = 0; i < count && n < REQUEST_LIST_MAX; i++)
        if (!all[i]->hidden)
            names[n++] = all[i]->name;
    const char *nearest = text_nearest(name, names, n);
    error_set(e, ERROR_USAGE, "unknown runtime '%s'", name);
    if (nearest)
        return error_hint(e, "did you mean '%s'?", nearest);
    return error_hint(e, "wattle doctor lists the runtimes");
}

static int named_runtimes(struct request *r, const char *text, struct error *e)
{
    char **names;
    size_t count;
    int result = text_split(text, "runtime", REQUEST_LIST_MAX, &names, &count, e);
    if (result)
        return result;
    for (size_t i = 0; i < count && !result; i++) {
        const struct adapter *adapter = adapter_find(names[i]);
        struct adapter_probe probe = {0};
        if (!adapter) {
            result = unknown_runtime(names[i], e);
            break;
        }
        adapter->probe(&probe);
        if (!probe.usable)
            result = error_set(e, ERROR_UNSUPPORTED, "runtime %s cannot be used: %s", names[i],
                               probe.reason);
        r->runtimes[r->runtime_count++] = adapter;
    }
    free(names);
    return result;
}

static int parse_runtimes(struct request *r, const struct option_list *options, struct error *e)
{
    const char *text = options_last(options, OPTION_RUNTIME, NULL);
    if (text)
        return named_runtimes(r, text, e);
    size_t count;
    const struct adapter *const *all = adapter_all(&count);
    for (size_t i = 0; i < count && r->runtime_count < REQUEST_LIST_MAX; i++) {
        struct adapter_probe probe = {0};
        if (all[i]->hidden)
            continue;
        all[i]->probe(&probe);
        if (probe.usable)
            r->runtimes[r->runtime_count++] = all[i];
        else
            log_detail("runtime %s left out: %s", all[i]->name, probe.reason);
    }
    if (r->runtime_count == 0)
        return error_set(e, ERROR_UNSUPPORTED, "no runtime can be used here");
    return 0;
}

static int has_name(const char *const *names, const char *name)
{
    for (; names && *names; names++)
        if (!strcmp(*names, name))
            return 1;
    return 0;
}

static int parse_providers(struct request *r, const struct option_list *options, struct error *e)
{
    const char *text = options_last(options, OPTION_PROVIDER, NULL);
    if (!text)
        return 0;
    int result = text_split(text, "provider", REQUEST_LIST_MAX, &r->providers, &r->provider_count, e);
    for (size_t i = 0; !result && r->providers && i < r->provider_count; i++) {
        int known = 0;
        for (size_t k = 0; k < r->runtime_count; k++)
            known |= has_name(r->runtimes[k]->providers, r->providers[i]);
        if (!known) {
            error_set(e, ERROR_USAGE, "no chosen runtime has the provider '%s'", r->providers[i]);
            result = error_hint(e, "wattle doctor lists runtimes and their providers");
        }
    }
    return result;
}

/* --- single values ---------------------------------------------------------------------------- */

/* "NAME=REST" into name; returns REST, or NULL. */
static const char *split_assignment(const char *text, char name[PLAN_NAME_MAX])
{
    size_t size = strcspn(text, "=");
    if (!text[size] || size == 0 || size >= PLAN_NAME_MAX)
        return NULL;
    memcpy(name, text, size);
    name[size] = '\0';
    return text + size + 1;
}

static int parse_dim(struct request *r, const char *text, struct error *e)
{
    struct plan_dim *d = &r->dims[r->dim_count];
    if (r->dim_count == PLAN_DIM_MAX)
        return error_set(e, ERROR_USAGE, "more than %d --dim options", PLAN_DIM_MAX);
    const char *value = split_assignment(text, d->symbol);
    if (!value)
        return error_set(e, ERROR_USAGE, "dimension '%.60s' is not NAME=SIZE", text);
    r->dim_count++;
    return text_to_int(value, d->symbol, 1, INT32_MAX, &d->value, e);
}

static int parse_range(struct request *r, const char *text, struct error *e)
{
    struct measure_range *range = &r->ranges[r->measure.range_count];
    if (r->measure.range_count == REQUEST_LIST_MAX)
        return error_set(e, ERROR_USAGE, "more than %d --range options", REQUEST_LIST_MAX);
    const char *low = split_assignment(text, range->name), *dots = low ? strstr(low, "..") : NULL;
    char number[32];
    if (!dots || (size_t)(dots - low) >= sizeof number)
        return error_set(e, ERROR_USAGE, "range '%.60s' is not INPUT=LOW..HIGH", text);
    snprintf(number, sizeof number, "%.*s", (int)(dots - low), low);
    int result = text_to_double(number, range->name, -1e300, 1e300, &range->low, e);
    if (!result)
        result = text_to_double(dots + 2, range->name, range->low, 1e300, &range->high, e);
    r->measure.range_count++;
    return result;
}

static int parse_provider_option(json_t *object, const char *text, struct error *e)
{
    char name[PLAN_NAME_MAX];
    const char *value = split_assignment(text, name);
    if (!value)
        return error_set(e, ERROR_USAGE, "provider option '%.60s' is not KEY=VALUE", text);
    if (json_object_set_new(object, name, json_string(value)))
        return error_set(e, ERROR_USAGE, "provider option '%.60s' is not UTF-8 text", text);
    return 0;
}

static int parse_repeated(struct request *r, const struct option_list *options, struct error *e)
{
    json_t *object = json_object();
    int result = object ? 0 : error_memory(e);
    for (size_t i = 0; i < options->option_count && !result; i++) {
        const struct option_value *o = &options->options[i];
        if (o->id == OPTION_DIM)
            result = parse_dim(r, o->value, e);
        else if (o->id == OPTION_RANGE)
            result = parse_range(r, o->value, e);
        else if (o->id == OPTION_PROVIDER_OPTION)
            result = parse_provider_option(object, o->value, e);
    }
    size_t size = object ? json_dumpb(object, r->provider_options, sizeof r->provider_options - 1,
                                      JSON_COMPACT | JSON_SORT_KEYS) : 0;
    if (!result && (size == 0 || size >= sizeof r->provider_options))
        result = error_set(e, ERROR_USAGE, "provider options take %zu bytes, at most %zu are kept",
                           size, sizeof r->provider_options - 1);
    json_decref(object);
    return result;
}

static int parse_durations(struct request *r, const struct option_list *options, struct error *e)
{
    const struct {
        int id;
        const char *what;
        uint64_t low_ns, high_ns;
        uint64_t *out;
    } table[] = {
        {OPTION_DURATION, "duration", NS_PER_MS, 24 * 3600 * NS_PER_S, &r->measure.duration_ns},
        {OPTION_WARMUP, "warmup", NS_PER_MS, 3600 * NS_PER_S, &r->measure.warmup_max_ns},
        {OPTION_TIMEOUT, "timeout", NS_PER_MS, 24 * 3600 * NS_PER_S, &r->measure.timeout_ns},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const char *text = options_last(options, table[i].id, NULL);
        int result = text ? text_to_ns(text, table[i].what, table[i].low_ns, table[i].high_ns,
                                       table[i].out, e) : 0;
        if (result)
            return result;
    }
    if (r->measure.warmup_min_ns > r->measure.warmup_max_ns)
        r->measure.warmup_min_ns = r->measure.warmup_max_ns;
    return 0;
}

static int parse_numbers(struct request *r, const struct option_list *options, struct error *e)
{
    int64_t blocks = 6, seed = 1, runs = (int64_t)r->measure.min_runs;
    const struct {
        int id;
        const char *what;
        int64_t low, high;
        int64_t *out;
    } table[] = {
        {OPTION_BLOCKS, "blocks", 1, BLOCK_MAX, &blocks},
        {OPTION_SEED, "seed", 0, INT64_MAX, &seed},
        {OPTION_MIN_RUNS, "min-runs", 1, INT32_MAX, &runs},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const char *text = options_last(options, table[i].id, NULL);
        int result = text ? text_to_int(text, table[i].what, table[i].low, table[i].high,
                                        table[i].out, e) : 0;
        if (result)
            return result;
    }
    r->blocks = (int)blocks;
    r->measure.seed = (uint64_t)seed;
    r->measure.min_runs = (uint64_t)runs;
    const char *tdp = options_last(options, OPTION_TDP, NULL);
    return tdp ? text_to_double(tdp, "tdp", 0.1, 100000, &r->measure.tdp_w, e) : 0;
}

static int parse_words(struct request *r, const struct option_list *options, struct error *e)
{
    r->precision = options_last(options, OPTION_PRECISION, "f32");
    r->spin = options_last(options, OPTION_SPIN, "off");
    int64_t usec;
    if (strcmp(r->spin, "off") && strcmp(r->spin, "default") &&
        text_to_int(r->spin, "spin", 0, 10 * 1000 * 1000, &usec, e))
        return error_hint(e, "--spin takes off, default or microseconds");
    int known = 0;
    for (size_t k = 0; k < r->runtime_count; k++)
        known |= has_name(r->runtimes[k]->precisions, r->precision);
    if (!known)
        return error_set(e, ERROR_USAGE, "no chosen runtime computes in precision '%s'",
                         r->precision);
    const char *require = options_last(options, OPTION_REQUIRE, NULL);
    if (require && strcmp(require, "measured"))
        return error_set(e, ERROR_USAGE, "--require '%s' is not known; it takes: measured", require);
    r->require_measured = require != NULL;
    r->verify = options_given(options, OPTION_VERIFY);
    return 0;
}

int request_parse(struct request *r, const struct option_list *options, struct error *e)
{
    typedef int (*parse)(struct request *, const struct option_list *, struct error *);
    static const parse steps[] = {parse_threads,   parse_batches, parse_runtimes, parse_providers,
                                  parse_durations, parse_numbers, parse_words,    parse_repeated};
    *r = (struct request){0};
    measure_defaults(&r->measure);
    r->measure.sysroot = options_last(options, OPTION_SYSROOT, "");
    struct stat st;
    if (*r->measure.sysroot && (stat(r->measure.sysroot, &st) || !S_ISDIR(st.st_mode)))
        return error_set(e, ERROR_USAGE, "sysroot '%s' is not a folder", r->measure.sysroot);
    int result = host_read(&r->host, r->measure.sysroot, e);
    for (size_t i = 0; i < sizeof steps / sizeof *steps && !result; i++)
        result = steps[i](r, options, e);
    r->measure.ranges = r->ranges;
    if (result)
        request_release(r);
    return result;
}

void request_release(struct request *r)
{
    host_release(&r->host);
    free(r->providers);
    r->providers = NULL;
    r->provider_count = 0;
}

/* --- models and cells ------------------------------------------------------------------------- */

static int unknown_model(const char *operand, struct error *e)
{
    const char *names[REQUEST_LIST_MAX];
    size_t count;
    const struct zoo_model *zoo = zoo_models(&count);
    for (size_t i = 0; i < count; i++)
        names[i] = zoo[i].name;
    if (strchr(operand, '/') || text_ends(operand, ".onnx"))
        return error_set(e, ERROR_USAGE, "model file '%s' is not there", operand);
    const char *nearest = text_nearest(operand, names, count);
    error_set(e, ERROR_USAGE, "unknown model '%s': neither built in nor a file", operand);
    if (nearest)
        return error_hint(e, "did you mean '%s'?", nearest);
    return error_hint(e, "wattle models lists what is built in");
}

static int zoo_model_file(const struct zoo_model *zoo, int build, struct cell *model,
                          struct error *e)
{
    if (zoo_cached(zoo) || !build)
        return zoo_path(zoo, model->path, e);
    log_note("writing built-in model %s", zoo->name);
    return zoo_build(zoo, model->path, e);
}

int request_model(const char *operand, int build, struct cell *model, struct error *e)
{
    *model = (struct cell){.format = "onnx", .instances = 1};
    const struct zoo_model *zoo = zoo_find(operand);
    struct stat st;
    const char *base = strrchr(operand, '/');
    base = base ? base + 1 : operand;
    size_t size = strlen(base) - (text_ends(base, ".onnx") ? strlen(".onnx") : 0);
    snprintf(model->model, sizeof model->model, "%.*s", (int)size, base);
    if (zoo)
        return zoo_model_file(zoo, build, model, e);
    const struct adapter *own = adapter_find(operand);
    if (own && own->hidden)
        return 0; /* the fake runtime brings its own model: no file */
    if (stat(operand, &st))
        return unknown_model(operand, e);
    if (!realpath(operand, model->path))
        return error_set(e, ERROR_USAGE, "model file '%s' cannot be resolved", operand);
    return 0;
}

static int add_cell(const struct request *r, const struct cell *model, const struct adapter *runtime,
                    const char *provider, int64_t batch, int threads, struct cell **cells,
                    size_t *count, struct error *e)
{
    struct cell *more = *count < PLAN_CELL_MAX
                            ? realloc(*cells, (*count + 1) * sizeof **cells) : NULL;
    if (!more)
        return error_set(e, ERROR_MEMORY, "too many cells: %zu", *count + 1);
    *cells = more;
    struct cell *c = &more[(*count)++];
    *c = *model;
    snprintf(c->runtime, sizeof c->runtime, "%s", runtime->name);
    snprintf(c->provider, sizeof c->provider, "%s", provider);
    snprintf(c->precision, sizeof c->precision, "%s", r->precision);
    snprintf(c->spin, sizeof c->spin, "%s", r->spin);
    snprintf(c->options, sizeof c->options, "%s", r->provider_options);
    c->batch = batch;
    c->threads = threads;
    memcpy(c->dims, r->dims, sizeof c->dims);
    c->dim_count = r->dim_count;
    return 0;
}

/* One runtime and provider at every batch and thread count. */
static int provider_cells(const struct request *r, const struct cell *model,
                          const struct adapter *runtime, const char *provider, struct cell **cells,
                          size_t *count, struct error *e)
{
    int result = 0;
    for (size_t b = 0; b < r->batch_count; b++)
        for (size_t t = 0; t < r->thread_count && !result; t++)
            result = add_cell(r, model, runtime, provider, r->batches[b], r->threads[t], cells,
                              count, e);
    return result;
}

int request_cells(const struct request *r, const struct cell *model, struct cell **cells,
                  size_t *count, struct error *e)
{
    int result = 0;
    for (size_t i = 0; i < r->runtime_count && !result; i++) {
        const struct adapter *runtime = r->runtimes[i];
        if (!has_name(runtime->precisions, r->precision))
            continue;
        if (!r->providers)
            result = provider_cells(r, model, runtime, runtime->providers[0], cells, count, e);
        for (size_t p = 0; r->providers && p < r->provider_count && !result; p++)
            if (has_name(runtime->providers, r->providers[p]))
                result = provider_cells(r, model, runtime, r->providers[p], cells, count, e);
    }
    return result;
}
