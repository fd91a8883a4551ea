#include "cmd/request.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "runtime/packages.h"

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
    int result = parse_integers(text, "threads", r->host.threads, hint, values, &r->thread_count,
                                e);
    for (size_t i = 0; !result && i < r->thread_count; i++)
        r->threads[i] = (int)values[i];
    return result;
}

static int parse_batches(struct request *r, const struct option_list *options, struct error *e)
{
    const char *text = options_last(options, OPTION_BATCH, NULL);
    r->batch_count = 1; /* of 0: what the model makes of it */
    return text ? parse_integers(text, "batch", BATCH_MAX, NULL, r->batches, &r->batch_count, e)
                : 0;
}

int request_has_name(const char *const *names, const char *name)
{
    for (; names && *names; names++)
        if (!strcmp(*names, name))
            return 1;
    return 0;
}

/* --- runtimes and providers ------------------------------------------------------------------- */

static int parse_names(struct request *r, const char *text, struct error *e)
{
    char **names;
    int result = text_split(text, "runtime", REQUEST_LIST_MAX, &names, &r->name_count, e);
    if (result)
        return result;
    r->names = calloc(r->name_count, sizeof *r->names);
    result = r->names ? 0 : error_memory(e);
    for (size_t i = 0; i < r->name_count && !result; i++)
        result = runtime_name_parse(names[i], &r->names[i], e);
    free(names);
    return result;
}

/* The way to run it: the one that -r names (name may be NULL), or the adapter's first. */
static int add_target(struct request *r, const struct found *found, const struct runtime_name *name,
                      const char *provider, struct error *e)
{
    int named = name && found_has_variant(found, name->variant);
    const char *variant = named                      ? name->variant
                          : found->adapter->variants ? found->adapter->variants[0]
                                                     : found_variant(found);
    for (size_t i = 0; i < r->target_count; i++)
        if (r->targets[i].found == found && !strcmp(r->targets[i].provider, provider) &&
            !strcmp(r->targets[i].variant, variant))
            return 0;
    if (r->target_count == REQUEST_LIST_MAX)
        return error_set(e, ERROR_USAGE, "more than %d runtimes and providers", REQUEST_LIST_MAX);
    r->targets[r->target_count++] = (struct request_target){found, variant, named, provider, "{}"};
    return 0;
}

static int is_chosen(const struct request *r, const struct found *f, const char *provider)
{
    for (size_t i = 0; i < r->target_count; i++)
        if (r->targets[i].found->adapter == f->adapter &&
            !strcmp(r->targets[i].provider, provider))
            return 1;
    return 0;
}

/* The newest installation of each runtime and provider that is measured unasked. */
static int all_targets(struct request *r, struct error *e)
{
    int result = 0;
    for (size_t i = 0; i < r->found.count && !result; i++) {
        const struct found *f = &r->found.items[i];
        const struct package *p = package_find(f->package);
        if (f->adapter->hidden || (p && (p->plugin || p->named_only)))
            continue;
        if (!f->usable)
            log_detail("runtime %s %s left out: %s", f->adapter->name, f->version, f->reason);
        for (size_t k = 0; k < f->default_count && f->usable && !result; k++)
            if (!is_chosen(r, f, f->providers[k]))
                result = add_target(r, f, NULL, f->providers[k], e);
    }
    return result;
}

/* A variant that no package is called by is a provider. */
static const char *meant_provider(const struct found *f, const struct runtime_name *name)
{
    int is_provider = name->variant[0] && strcmp(found_variant(f), name->variant) != 0 &&
                      !found_has_variant(f, name->variant);
    return is_provider ? name->variant : NULL;
}

/* "-r onnxruntime" alone is each provider that some installation of it was made for. */
static int named_targets(struct request *r, const struct runtime_name *name, struct error *e)
{
    const struct found *best = found_pick(&r->found, name, "", e);
    size_t before = r->target_count;
    if (!best)
        return (int)e->code;
    const char *meant = meant_provider(best, name);
    if (meant)
        return add_target(r, best, NULL, meant, e);
    int result = 0;
    for (size_t i = 0; i < r->found.count && !result; i++) {
        const struct found *f = name->variant[0] ? best : &r->found.items[i];
        const struct package *p = package_find(f->package);
        if (!found_matches(f, name) || (p && p->named_only && f != best))
            continue;
        for (size_t k = 0; k < f->default_count && !result; k++) {
            int known = 0;
            for (size_t t = before; t < r->target_count; t++)
                known |= !strcmp(r->targets[t].provider, f->providers[k]);
            if (!known)
                result = add_target(r, f, name, f->providers[k], e);
        }
    }
    return result;
}

/* Every name with every provider; a name that has none of them, or a provider that no name has, is
 * an error. */
static int provider_targets(struct request *r, const struct runtime_name *names, size_t count,
                            struct error *e)
{
    for (size_t n = 0; n < r->name_count; n++)
        if (!found_pick(&r->found, &names[n], "", e))
            return (int)e->code;
    for (size_t i = 0; i < r->provider_count; i++) {
        int known = 0;
        for (size_t n = 0; n < count; n++) {
            const struct found *f = found_pick(&r->found, &names[n], r->providers[i], e);
            known |= f != NULL;
            if (f && add_target(r, f, &names[n], r->providers[i], e))
                return (int)e->code;
        }
        if (known)
            continue;
        if (count == 1)
            return (int)e->code; /* found_pick has said why */
        error_set(e, ERROR_USAGE, "no chosen runtime has the provider '%s'", r->providers[i]);
        return error_hint(e, "wattle runtimes lists runtimes and their providers");
    }
    *e = (struct error){0};
    return 0;
}

/* --provider without -r: whatever runtime has it. */
static int any_provider_targets(struct request *r, struct error *e)
{
    struct runtime_name names[REQUEST_LIST_MAX] = {0};
    size_t count, n = 0;
    const struct adapter *const *all = adapter_all(&count);
    for (size_t i = 0; i < count && n < REQUEST_LIST_MAX; i++)
        if (!all[i]->hidden)
            snprintf(names[n++].runtime, sizeof names[0].runtime, "%s", all[i]->name);
    return provider_targets(r, names, n, e);
}

/* A plug-in of ONNX Runtime is told by the function that it exports; loading it is the worker's. */
static int check_plugin(const char *path, struct error *e)
{
    static const char magic[] = "\177ELF", function[] = "CreateEpFactories";
    struct file_map map;
    int result = file_map_open(path, &map, e);
    if (result)
        return result;
    int is_elf = map.size >= sizeof magic && !memcmp(map.data, magic, sizeof magic - 1);
    int is_plugin = is_elf && memmem(map.data, map.size, function, sizeof function);
    file_map_close(&map);
    if (is_plugin)
        return 0;
    if (!is_elf)
        return error_set(e, ERROR_USAGE, "provider library '%.200s' is not a shared library", path);
    error_set(e, ERROR_USAGE, "provider library '%.200s' is not a plug-in of ONNX Runtime: it has "
              "no %s", path, function);
    return error_hint(e, "providers that an installation brings are chosen by --provider");
}

/* --provider-library PATH, or the name of a plug-in package that is installed. */
static int find_plugin(struct request *r, const char *text, struct error *e)
{
    for (size_t i = 0; i < r->found.count; i++) {
        const struct package *p = package_find(r->found.items[i].package);
        if (!p || !p->plugin || strcmp(p->name, text) != 0)
            continue;
        snprintf(r->provider_library, sizeof r->provider_library, "%s", r->found.items[i].library);
        return 0;
    }
    struct stat st;
    if (realpath(text, r->provider_library) && !stat(text, &st) && S_ISREG(st.st_mode))
        return check_plugin(r->provider_library, e);
    error_set(e, ERROR_USAGE, "provider library '%.200s' is neither a file nor an installed "
              "package", text);
    return error_hint(e, "wattle runtimes lists installed packages");
}

/* A plug-in brings one provider, which the runtime's adapter calls "plugin". */
static int plugin_targets(struct request *r, struct error *e)
{
    static const struct runtime_name all = {.runtime = "onnxruntime"};
    const struct runtime_name *names = r->names ? r->names : &all;
    size_t count = r->names ? r->name_count : 1;
    if (r->providers && (r->provider_count > 1 || strcmp(r->providers[0], "plugin") != 0))
        return error_set(e, ERROR_USAGE, "with --provider-library the provider is 'plugin'");
    int result = 0;
    for (size_t i = 0; i < count && !result; i++) {
        const struct found *f = found_pick(&r->found, &names[i], "", e);
        if (!f)
            return (int)e->code;
        if (!request_has_name(f->adapter->providers, "plugin"))
            return error_set(e, ERROR_USAGE, "runtime %s takes no provider library",
                             f->adapter->name);
        result = add_target(r, f, &names[i], "plugin", e);
    }
    return result;
}

static int choose_targets(struct request *r, struct error *e)
{
    if (r->worker_count && !r->names)
        return 0; /* only those run */
    if (r->provider_library[0])
        return plugin_targets(r, e);
    if (r->providers)
        return r->names ? provider_targets(r, r->names, r->name_count, e)
                        : any_provider_targets(r, e);
    if (!r->names)
        return all_targets(r, e);
    int result = 0;
    for (size_t i = 0; i < r->name_count && !result; i++)
        result = named_targets(r, &r->names[i], e);
    return result;
}

static int parse_runtimes(struct request *r, const struct option_list *options, struct error *e)
{
    const char *names = options_last(options, OPTION_RUNTIME, NULL);
    const char *providers = options_last(options, OPTION_PROVIDER, NULL);
    const char *library = options_last(options, OPTION_PROVIDER_LIBRARY, NULL);
    int result = found_search(&r->found, e);
    for (size_t i = 0; i < options->option_count && !result; i++)
        if (options->options[i].id == OPTION_WORKER)
            result = own_add_worker(r, options->options[i].value, e);
    if (!result)
        result = own_parse_devices(r, options_last(options, OPTION_DEVICE, NULL), e);
    if (!result && names)
        result = parse_names(r, names, e);
    if (!result && providers)
        result = text_split(providers, "provider", REQUEST_LIST_MAX, &r->providers,
                            &r->provider_count, e);
    if (!result && library)
        result = find_plugin(r, library, e);
    if (!result)
        result = choose_targets(r, e);
    if (!result && r->target_count + r->worker_count == 0)
        result = error_set(e, ERROR_UNSUPPORTED, "no runtime can be used here");
    r->require_provider = options_given(options, OPTION_REQUIRE_PROVIDER);
    return result;
}

/* --- single values ---------------------------------------------------------------------------- */

/* Of two values for one name nobody knows which was meant. */
static int given_twice(const char *option, const char *name, struct error *e)
{
    return error_set(e, ERROR_USAGE, "--%s is given twice for '%s'", option, name);
}

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
    for (size_t i = 0; i < r->dim_count; i++)
        if (!strcmp(r->dims[i].symbol, d->symbol))
            return given_twice("dim", d->symbol, e);
    r->dim_count++;
    return text_to_int(value, d->symbol, 0, INT32_MAX, &d->value, e);
}

static int parse_range(struct request *r, const char *text, struct error *e)
{
    struct measure_range *range = &r->ranges[r->measure.range_count];
    if (r->measure.range_count == REQUEST_RANGE_MAX)
        return error_set(e, ERROR_USAGE, "more than %d --range options", REQUEST_RANGE_MAX);
    const char *low = split_assignment(text, range->name), *dots = low ? strstr(low, "..") : NULL;
    char number[32];
    if (!dots || (size_t)(dots - low) >= sizeof number)
        return error_set(e, ERROR_USAGE, "range '%.60s' is not INPUT=LOW..HIGH", text);
    for (size_t i = 0; i < r->measure.range_count; i++)
        if (!strcmp(r->ranges[i].name, range->name))
            return given_twice("range", range->name, e);
    snprintf(number, sizeof number, "%.*s", (int)(dots - low), low);
    int result = text_to_double(number, range->name, -1e300, 1e300, &range->low, e);
    if (!result)
        result = text_to_double(dots + 2, range->name, -1e300, 1e300, &range->high, e);
    if (!result && range->high < range->low)
        result = error_set(e, ERROR_USAGE, "range '%.60s' ends below its beginning", text);
    r->measure.range_count++;
    return result;
}

/* The sizes of "1x3x224x224" as an array; NULL when it is no such text. */
static json_t *parse_sizes(const char *at)
{
    char size[24];
    json_t *sizes = json_array();
    int sound = sizes != NULL;
    for (size_t rank = 0; sound && rank < RANK_MAX; rank++) {
        int64_t value;
        size_t n = strcspn(at, "x");
        snprintf(size, sizeof size, "%.*s", (int)(n < sizeof size ? n : 0), at);
        sound = !text_to_int(size, "size", 0, INT32_MAX, &value, NULL) &&
                !json_array_append_new(sizes, json_integer(value));
        at += n;
        if (*at != 'x')
            break;
        at++;
    }
    if (sound && !*at && at[-1] != 'x')
        return sizes;
    json_decref(sizes);
    return NULL;
}

/* "NAME=1x3x224x224" or "NAME=int64:1x128" into the object. */
static int parse_shape(json_t *object, const char *text, struct error *e)
{
    char name[PLAN_NAME_MAX], type[16] = "";
    const char *at = split_assignment(text, name), *colon = at ? strchr(at, ':') : NULL;
    if (colon) {
        snprintf(type, sizeof type, "%.*s", (int)(colon - at), at);
        at = colon + 1;
    }
    if (colon && dtype_from_name(type) == DTYPE_NONE) {
        error_set(e, ERROR_USAGE, "shape '%.60s': there is no element type '%s'", text, type);
        return error_hint(e, "as in --shape %s=int64:1x128", name);
    }
    if (at && json_object_get(object, name))
        return given_twice("shape", name, e);
    json_t *sizes = at ? parse_sizes(at) : NULL;
    json_t *entry = colon && sizes ? json_pack("{s:s, s:o}", "type", type, "dims", sizes) : sizes;
    if (entry && !json_object_set_new(object, name, entry))
        return 0;
    error_set(e, ERROR_USAGE, "shape '%.60s' is not INPUT=[TYPE:]SIZExSIZE...", text);
    return error_hint(e, "as in --shape input=1x3x224x224, with at most %d sizes", RANK_MAX);
}

static int parse_expect(struct request *r, const char *text, struct error *e)
{
    size_t size = strlen(text);
    while (size > 1 && text[size - 1] == '/')
        size--;
    size_t begin = size;
    while (begin > 0 && text[begin - 1] != '/')
        begin--;
    snprintf(r->expect_name, sizeof r->expect_name, "%.*s", (int)(size - begin), text + begin);
    return data_read(&r->expect, text, "output", e);
}

static int parse_repeated(struct request *r, const struct option_list *options, struct error *e)
{
    json_t *shapes = json_object();
    int result = shapes ? 0 : error_memory(e);
    for (size_t i = 0; i < options->option_count && !result; i++) {
        const struct option_value *o = &options->options[i];
        if (o->id == OPTION_DIM)
            result = parse_dim(r, o->value, e);
        else if (o->id == OPTION_RANGE)
            result = parse_range(r, o->value, e);
        else if (o->id == OPTION_SHAPE)
            result = parse_shape(shapes, o->value, e);
        else if (o->id == OPTION_INPUT)
            result = data_read(&r->input, o->value, "input", e);
        else if (o->id == OPTION_EXPECT)
            result = parse_expect(r, o->value, e);
    }
    size_t size = sizeof r->shapes - 1;
    size_t used = result ? 0 : json_dumpb(shapes, r->shapes, size, JSON_COMPACT | JSON_SORT_KEYS);
    if (used > size)
        result = error_set(e, ERROR_USAGE, "shapes take %zu bytes, at most %zu are kept", used,
                           size);
    json_decref(shapes);
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
        {OPTION_GAP, "gap", 0, 60 * NS_PER_S, &r->gap_ns},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const char *text = options_last(options, table[i].id, NULL);
        int result = text ? text_to_ns(text, table[i].what, table[i].low_ns, table[i].high_ns,
                                       table[i].out, e) : 0;
        if (result)
            return result;
    }
    const char *gap = options_last(options, OPTION_GAP, "0");
    if (r->gap_ns && strspn(gap, ".0123456789") == strlen(gap)) {
        error_set(e, ERROR_USAGE, "gap '%s' has no unit", gap);
        return error_hint(e, "as in --gap 20ms; a bare number would be seconds");
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

static int parse_forms(struct request *r, const char *text, struct error *e)
{
    char **names;
    size_t count = 0;
    int result = text ? text_split(text, "form", 2, &names, &count, e) : 0;
    if (!text || result)
        return result;
    for (size_t i = 0; i < count && !result; i++) {
        r->form_native |= !strcmp(names[i], "native");
        r->form_converted |= !strcmp(names[i], "converted");
        if (strcmp(names[i], "native") && strcmp(names[i], "converted"))
            result = error_set(e, ERROR_USAGE, "--form '%.60s' is not known; it takes: native, "
                               "converted", names[i]);
    }
    free(names);
    return result;
}

static int parse_words(struct request *r, const struct option_list *options, struct error *e)
{
    r->precision = options_last(options, OPTION_PRECISION, "f32");
    r->spin = options_last(options, OPTION_SPIN, "short");
    int64_t usec;
    if (strcmp(r->spin, "short") && strcmp(r->spin, "off") && strcmp(r->spin, "default") &&
        text_to_int(r->spin, "spin", 0, 10 * 1000 * 1000, &usec, e))
        return error_hint(e, "--spin takes short, off, default or microseconds");
    int known = r->worker_count > 0; /* they may compute in any */
    for (size_t k = 0; k < r->target_count; k++)
        known |= request_has_name(r->targets[k].found->adapter->precisions, r->precision);
    if (!known)
        return error_set(e, ERROR_USAGE, "no chosen runtime computes in precision '%s'",
                         r->precision);
    int result = parse_forms(r, options_last(options, OPTION_FORM, NULL), e);
    if (result)
        return result;
    const char *require = options_last(options, OPTION_REQUIRE, NULL);
    if (require && strcmp(require, "measured"))
        return error_set(e, ERROR_USAGE, "--require '%s' is not known; it takes: measured",
                         require);
    r->require_measured = r->measure.require_measured = require != NULL;
    r->verify = options_given(options, OPTION_VERIFY);
    if (r->verify && options_given(options, OPTION_EXPECT))
        return error_set(e, ERROR_USAGE, "--verify and --expect each say what the outputs are "
                         "compared with: give one of them");
    return 0;
}

int request_parse(struct request *r, const struct option_list *options, struct error *e)
{
    typedef int (*parse)(struct request *, const struct option_list *, struct error *);
    static const parse steps[] = {parse_threads,   parse_batches, parse_runtimes, parse_durations,
                                  parse_numbers,   parse_words,   parse_repeated,
                                  provider_options_parse};
    *r = (struct request){0};
    measure_defaults(&r->measure);
    r->measure.sysroot = options_last(options, OPTION_SYSROOT, "");
    struct stat st;
    if (*r->measure.sysroot && (stat(r->measure.sysroot, &st) || !S_ISDIR(st.st_mode)))
        return error_set(e, ERROR_USAGE, "sysroot '%s' is not a folder", r->measure.sysroot);
    int result = host_read(&r->host, r->measure.sysroot, e);
    for (size_t i = 0; i < sizeof steps / sizeof *steps && !result; i++)
        result = steps[i](r, options, e);
    r->measure.batch_is_asked = r->batches[0] > 0;
    r->measure.ranges = r->ranges;
    r->measure.data = r->input.count ? &r->input : NULL;
    if (result)
        request_release(r);
    return result;
}

void request_release(struct request *r)
{
    host_release(&r->host);
    free(r->providers);
    free(r->names);
    found_release(&r->found);
    data_release(&r->input);
    data_release(&r->expect);
    r->providers = NULL;
    r->names = NULL;
    r->provider_count = r->name_count = r->target_count = 0;
}
