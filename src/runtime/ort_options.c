/* ort_options.c: what can be chosen of a session. An option is the session's when its name is in
 * the table below; any other belongs to the execution provider, which knows its own; "provider.KEY"
 * always does. */
#include "runtime/ort.h"

#include "runtime/adapters.h"

#include "base/text.h"

#include <stdio.h>
#include <string.h>

enum { INTER_OP_MAX = 1024, SPIN_MAX_US = 1000000, SEQUENTIAL = 0, PARALLEL = 1 };
#define PROVIDER_PREFIX "provider."

int ort_pairs_add(struct ort_pairs *p, const char *key, const char *value, struct error *e)
{
    if (!key || !value)
        return error_memory(e);
    if (p->count == ORT_PAIRS_MAX)
        return error_set(e, ERROR_USAGE, "more than %d options for ONNX Runtime", ORT_PAIRS_MAX);
    p->keys[p->count] = key;
    p->values[p->count++] = value;
    return 0;
}

const char *ort_pairs_find(const struct ort_pairs *p, const char *key)
{
    for (size_t i = 0; i < p->count; i++)
        if (!strcmp(p->keys[i], key))
            return p->values[i];
    return NULL;
}

/* One of two words: 1 for the second. */
static int set_word(int *member, const char *name, const char *value, const char *first,
                    const char *second, struct error *e)
{
    *member = !strcmp(value, second);
    if (*member || !strcmp(value, first))
        return 0;
    return error_set(e, ERROR_USAGE, "option %s of runtime 'onnxruntime' is %s or %s, not '%.60s'",
                     name, first, second, value);
}

#define WORD(function, member, first, second)                                                      \
    static int function(void *target, const char *name, const char *value, struct error *e)        \
    {                                                                                              \
        return set_word(&((struct ort_options *)target)->member, name, value, first, second, e);   \
    }
/* A session entry of the library, "1" when the word is the second. */
#define ENTRY(function, key, first, second)                                                        \
    static int function(void *target, const char *name, const char *value, struct error *e)        \
    {                                                                                              \
        int is_second;                                                                             \
        int code = set_word(&is_second, name, value, first, second, e);                            \
        return code ? code                                                                         \
                    : ort_pairs_add(&((struct ort_options *)target)->entries, key,                 \
                                    is_second ? "1" : "0", e);                                     \
    }

WORD(set_parallel, is_parallel, "sequential", "parallel")
WORD(set_arena, no_arena, "on", "off")
WORD(set_pattern, no_pattern, "on", "off")
WORD(set_deterministic, is_deterministic, "off", "on")
ENTRY(set_denormals, "session.set_denormal_as_zero", "kept", "zero")
ENTRY(set_prepacking, "session.disable_prepacking", "on", "off")
ENTRY(set_spin_stop, "session.force_spinning_stop", "off", "on")

static int set_outputs(void *target, const char *name, const char *value, struct error *e)
{
    struct ort_options *o = target;
    o->host_outputs = !strcmp(value, "host");
    o->dynamic_outputs = !strcmp(value, "dynamic");
    if (o->host_outputs || o->dynamic_outputs || !strcmp(value, "prepared"))
        return 0;
    return error_set(e, ERROR_USAGE, "option %s of runtime 'onnxruntime' is prepared, dynamic or "
                     "host, not '%.60s'", name, value);
}

static int set_inter_op(void *target, const char *name, const char *value, struct error *e)
{
    int64_t n;
    int code = text_to_int(value, name, 1, INTER_OP_MAX, &n, e);
    if (!code)
        ((struct ort_options *)target)->inter_op_threads = (int)n;
    return code;
}

static int set_affinities(void *target, const char *name, const char *value, struct error *e)
{
    (void)name;
    return ort_pairs_add(&((struct ort_options *)target)->entries,
                         "session.intra_op_thread_affinities", value, e);
}

static const struct {
    const char *name;
    int level;
} levels[] = {{"off", 0}, {"basic", 1}, {"extended", 2}, {"layout", 3}, {"all", 99}};
enum { LEVELS = sizeof levels / sizeof *levels };

static int set_optimization(void *target, const char *name, const char *value, struct error *e)
{
    for (size_t i = 0; i < LEVELS; i++)
        if (!strcmp(value, levels[i].name)) {
            ((struct ort_options *)target)->optimization = levels[i].name;
            return 0;
        }
    return error_set(e, ERROR_USAGE, "option %s of runtime 'onnxruntime' is off, basic, extended, "
                     "layout or all, not '%.60s'", name, value);
}

/* Numbered as the library does. */
static int set_plugin_device(void *target, const char *name, const char *value, struct error *e)
{
    static const char *const kinds[] = {"cpu", "gpu", "npu"};
    for (int i = 0; i < 3; i++)
        if (!strcmp(value, kinds[i])) {
            ((struct ort_options *)target)->plugin_device = i;
            return 0;
        }
    return error_set(e, ERROR_USAGE, "option %s of runtime 'onnxruntime' is cpu, gpu or npu, not "
                     "'%.60s'", name, value);
}

static const struct adapter_option known[] = {
    {"inter_op_threads", set_inter_op}, {"execution_mode", set_parallel},
    {"memory_arena", set_arena},        {"memory_pattern", set_pattern},
    {"optimization", set_optimization}, {"denormals", set_denormals},
    {"deterministic", set_deterministic}, {"prepacking", set_prepacking},
    {"spin_stop", set_spin_stop},       {"thread_affinities", set_affinities},
    {"outputs", set_outputs},           {"plugin_device", set_plugin_device},
};
enum { DEVICE_INDEX_MAX = 1023, KNOWN = sizeof known / sizeof *known };

static int is_session_option(const char *name)
{
    for (size_t i = 0; i < KNOWN; i++)
        if (!strcmp(known[i].name, name))
            return 1;
    return 0;
}

static int is_word(const char *list, const char *word)
{
    size_t size = strlen(word);
    for (const char *at = strstr(list, word); size && at; at = strstr(at + 1, word))
        if (at > list && at[-1] == ' ' && at[size] == ' ')
            return 1;
    return 0;
}

static int refuse_provider_option(const struct ort_provider *p, const char *name, struct error *e)
{
    error_set(e, ERROR_USAGE, "provider '%s' of runtime 'onnxruntime' has no option '%.60s'",
              p->name, name);
    size_t size = strlen(p->known);
    return size < 2 ? error_hint(e, "it has none")
                    : error_hint(e, "it knows: %.*s", (int)size - 2, p->known + 1);
}

/* Puts one option where it belongs; `mine` collects the session's. */
static int sort_option(struct ort *o, const char *name, json_t *value, json_t *mine,
                       struct error *e)
{
    const char *text = json_string_value(value), *key = name;
    int is_forced = text_starts(name, PROVIDER_PREFIX);
    int is_mine = !is_forced && (is_session_option(name) || !strcmp(o->provider->name, "cpu"));
    if (is_mine || !text)
        return json_object_set(mine, name, value) ? error_memory(e) : 0;
    if (is_forced)
        key += strlen(PROVIDER_PREFIX);
    if (o->provider->known && !is_word(o->provider->known, key))
        return refuse_provider_option(o->provider, key, e);
    return ort_pairs_add(&o->options.provider, key, text, e);
}

/* "short" as for every runtime: enough between two layers, over before the next request. */
enum { SPIN_SHORT_US = 250 };

int ort_spin_check(const char *spin, int64_t *us, struct error *e)
{
    *us = !strcmp(spin, "default") ? -1 : !strcmp(spin, "short") ? SPIN_SHORT_US : 0;
    if (*us || !strcmp(spin, "off"))
        return 0;
    return text_to_int(spin, "spin (short, off, default or microseconds)", 0, SPIN_MAX_US, us, e);
}

/* Both pools alike: a model that runs in sequence never uses the second one. */
static int add_spin(struct ort *o, const char *spin, struct error *e)
{
    int64_t us;
    struct ort_pairs *p = &o->options.entries;
    int code = ort_spin_check(spin, &us, e);
    if (code || us < 0)
        return code;
    if (!strcmp(spin, "short") && o->api.release < ORT_SPIN_DURATION)
        us = 0; /* no limit can be set: rather none than without end */
    const char *allowed = us ? "1" : "0";
    code = ort_pairs_add(p, "session.intra_op.allow_spinning", allowed, e);
    if (!code)
        code = ort_pairs_add(p, "session.inter_op.allow_spinning", allowed, e);
    if (code || !us)
        return code;
    if (o->api.release < ORT_SPIN_DURATION) {
        error_set(e, ERROR_UNSUPPORTED, "ONNX Runtime %s has no time limit for spinning",
                  o->api.version);
        return error_hint(e, "use spin off or default, or version 1.%d or later",
                          ORT_SPIN_DURATION);
    }
    const char *text = arena_format(&o->texts, "%lld", (long long)us);
    code = ort_pairs_add(p, "session.intra_op.spin_duration_us", text, e);
    return code ? code : ort_pairs_add(p, "session.inter_op.spin_duration_us", text, e);
}

/* The one that a session runs on: an option of the provider, or which of a plug-in's devices. */
static int set_device(struct ort *o, const struct adapter_request *r, struct error *e)
{
    struct ort_pairs *p = &o->options.provider;
    int64_t index;
    if (r->device_count == 0)
        return 0;
    if (r->device_count > 1) {
        error_set(e, ERROR_UNSUPPORTED, "a session of ONNX Runtime runs on one device, not on %zu",
                  r->device_count);
        return error_hint(e, "-d 0,1 measures them one after the other");
    }
    if (!o->provider->device && strcmp(o->provider->name, "plugin"))
        return error_set(e, ERROR_USAGE, "provider '%s' of ONNX Runtime takes no device",
                         o->provider->name);
    int code = text_to_int(r->devices[0], "device", 0, DEVICE_INDEX_MAX, &index, e);
    if (code)
        return code;
    o->options.device_index = (int)index;
    if (!o->provider->device)
        return 0;
    if (ort_pairs_find(p, "device_id"))
        return error_set(e, ERROR_USAGE, "device %s is asked for, and device_id by an option",
                         r->devices[0]);
    return ort_pairs_add(p, "device_id", r->devices[0], e);
}

int ort_options_read(struct ort *o, const struct adapter_request *r, struct error *e)
{
    const char *name;
    json_t *value, *mine = json_object();
    int code = mine ? 0 : error_memory(e);
    o->options = (struct ort_options){
        .inter_op_threads = 1, .optimization = "all", .plugin_device = -1};
    json_object_foreach(r->options, name, value) {
        if (!code)
            code = sort_option(o, name, value, mine, e);
    }
    if (!code)
        code = adapter_options("onnxruntime", mine, known, KNOWN, &o->options, e);
    json_decref(mine);
    if (!code)
        code = set_device(o, r, e);
    if (!code)
        code = add_spin(o, r->spin, e);
    if (!code && o->api.assignment)
        code = ort_pairs_add(&o->options.entries, "session.record_ep_graph_assignment_info", "1",
                             e);
    else if (!code && r->require_provider)
        code = ort_pairs_add(&o->options.entries, "session.disable_cpu_ep_fallback", "1", e);
    return code;
}

static int apply_pools(struct ort *o, struct error *e)
{
    struct ort_api *a = &o->api;
    struct ort_session_options *s = o->session_options;
    const struct ort_options *p = &o->options;
    int code = ort_check(a, a->set_intra_threads(s, o->threads), e, "cannot set %d threads",
                         o->threads);
    if (!code)
        code = ort_check(a, a->set_inter_threads(s, p->inter_op_threads), e,
                         "cannot set %d inter-op threads", p->inter_op_threads);
    if (!code)
        code = ort_check(a, a->set_execution_mode(s, p->is_parallel ? PARALLEL : SEQUENTIAL), e,
                         "cannot set the execution mode");
    if (!code)
        code = ort_check(a, p->no_arena ? a->disable_arena(s) : a->enable_arena(s), e,
                         "cannot set the memory arena");
    if (!code)
        code = ort_check(a, p->no_pattern ? a->disable_pattern(s) : a->enable_pattern(s), e,
                         "cannot set the memory pattern");
    return code;
}

static int apply_deterministic(struct ort *o, struct error *e)
{
    if (!o->options.is_deterministic)
        return 0;
    if (!o->api.set_deterministic)
        return error_set(e, ERROR_UNSUPPORTED, "ONNX Runtime %s has no option 'deterministic'",
                         o->api.version);
    return ort_check(&o->api, o->api.set_deterministic(o->session_options, 1), e,
                     "cannot compute deterministically");
}

static int apply_level(struct ort *o, struct error *e)
{
    size_t i = 0;
    while (i + 1 < LEVELS && strcmp(levels[i].name, o->options.optimization))
        i++;
    return ort_check(&o->api, o->api.set_optimization(o->session_options, levels[i].level), e,
                     "cannot set the optimization '%s'", levels[i].name);
}

int ort_options_apply(struct ort *o, const struct adapter_request *r, struct error *e)
{
    struct ort_api *a = &o->api;
    const struct ort_pairs *p = &o->options.entries;
    int code = apply_pools(o, e);
    if (!code)
        code = apply_level(o, e);
    if (!code)
        code = apply_deterministic(o, e);
    for (size_t i = 0; !code && i < p->count; i++)
        code = ort_check(a, a->add_entry(o->session_options, p->keys[i], p->values[i]), e,
                         "cannot set %s to '%.60s'", p->keys[i], p->values[i]);
    for (size_t i = 0; !code && i < r->dim_count; i++)
        code = ort_check(a, a->override_dim(o->session_options, r->dims[i].symbol,
                                            r->dims[i].value), e,
                         "cannot fix dimension '%.60s'", r->dims[i].symbol);
    return code;
}
