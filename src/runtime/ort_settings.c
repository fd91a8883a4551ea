/* ort_settings.c: what is really set, for the record: session entries as the library gives them
 * back, nodes by provider, threads that appeared. What it cannot tell is null, never a guess. */
#include "runtime/ort.h"

#include <stdlib.h>
#include <string.h>

#define AFFINITIES "session.intra_op_thread_affinities"
enum { VALUE_MAX = 256 };

static int put(json_t *object, const char *name, json_t *value, struct error *e)
{
    return json_object_set_new(object, name, value) ? error_memory(e) : 0;
}

/* The session's own word on each entry. */
static int put_entries(struct ort *o, struct error *e)
{
    const struct ort_pairs *p = &o->options.entries;
    json_t *entries = json_object();
    int code = put(o->settings, "session_entries", entries, e);
    for (size_t i = 0; !code && i < p->count; i++) {
        char value[VALUE_MAX] = "";
        size_t size = sizeof value;
        code = ort_check(&o->api, o->api.get_entry(o->session_options, p->keys[i], value, &size),
                         e, "cannot read back %s", p->keys[i]);
        if (!code)
            code = put(entries, p->keys[i], json_string(value), e);
    }
    return code;
}

static int put_pairs(struct ort *o, struct error *e)
{
    const struct ort_pairs *p = &o->options.provider;
    json_t *options = json_object();
    int code = put(o->settings, "provider_options", options, e);
    for (size_t i = 0; !code && i < p->count; i++)
        code = put(options, p->keys[i], json_string(p->values[i]), e);
    return code;
}

static int put_placement(struct ort *o, struct error *e)
{
    if (o->nodes)
        return put(o->settings, "nodes", json_incref(o->nodes), e);
    int code = put(o->settings, "nodes", json_null(), e);
    return code ? code
                : put(o->settings, "nodes_reason",
                      json_string("this version does not tell which provider runs which node"), e);
}

static const char *place_of_outputs(const struct ort *o)
{
    if (o->device)
        return o->options.host_outputs ? "copied to the host" : "on the device";
    return o->dynamic_count ? "dynamic" : "prepared";
}

/* What it came to: the session's spinning is nothing to a provider that has threads of its own. */
static const char *effective_spin(const struct ort *o, const struct adapter_request *r)
{
    if (o->provider->own_threads)
        return "the provider's own";
    int is_cut = !strcmp(r->spin, "short") && o->api.release < ORT_SPIN_DURATION;
    return is_cut ? "off" : r->spin;
}

static int put_words(struct ort *o, const struct adapter_request *r, struct error *e)
{
    const struct ort_options *p = &o->options;
    const char *denormals = ort_pairs_find(&p->entries, "session.set_denormal_as_zero");
    const struct {
        const char *name, *value;
    } words[] = {
        {"provider", o->runs_on},
        {"precision", r->precision},
        {"spin", effective_spin(o, r)},
        {"optimization", p->optimization},
        {"execution_mode", p->is_parallel ? "parallel" : "sequential"},
        {"memory_arena", p->no_arena ? "off" : "on"},
        {"memory_pattern", p->no_pattern ? "off" : "on"},
        {"deterministic", p->is_deterministic ? "on" : "off"},
        {"denormals", denormals && *denormals == '1' ? "zero" : "kept"},
        {"outputs", place_of_outputs(o)},
        {"telemetry", "off"},
    };
    int code = 0;
    for (size_t i = 0; !code && i < sizeof words / sizeof *words; i++)
        code = put(o->settings, words[i].name, json_string(words[i].value), e);
    if (!code && o->api.build_info)
        code = put(o->settings, "build", json_string(o->api.build_info()), e);
    return code;
}

/* The session's own threads are pinned only by that option when their number is given, as it is.
 * What other providers do with theirs is not known. */
static int put_pinning(struct ort *o, struct error *e)
{
    int is_pinned = ort_pairs_find(&o->options.entries, AFFINITIES) != NULL;
    int is_known = o->is_unpinned || o->provider->device || !strcmp(o->provider->name, "cpu");
    return put(o->settings, "pinning",
               is_known ? json_string(is_pinned ? "on" : "off") : json_null(), e);
}

static int put_device(struct ort *o, struct error *e)
{
    if (!o->device)
        return 0;
    const char *tf32 = getenv("NVIDIA_TF32_OVERRIDE");
    int code = put(o->settings, "tf32", json_string(tf32 && !strcmp(tf32, "0") ? "off" : "unknown"),
                   e);
    if (!code)
        code = put(o->settings, "copy_in_ns", json_integer((json_int_t)o->copy_in_ns), e);
    if (!code)
        code = put(o->settings, "copies",
                   json_string(o->options.host_outputs
                                   ? "inputs when bound, outside the latency; outputs inside it"
                                   : "inputs when bound, outside the latency; outputs after the "
                                     "window"), e);
    return code;
}

int ort_settings_make(struct ort *o, const struct adapter_request *r, struct error *e)
{
    o->settings = json_pack("{s:i,s:i,s:i,s:i}", "threads", r->threads, "session_threads",
                            o->threads, "inter_op_threads", o->options.inter_op_threads,
                            "api_version", o->api.release);
    int code = o->settings ? 0 : error_memory(e);
    if (!code)
        code = put(o->settings, "started_threads",
                   o->started_threads < 0 ? json_null() : json_integer(o->started_threads), e);
    if (!code)
        code = put_words(o, r, e);
    if (!code)
        code = put_pinning(o, e);
    if (!code)
        code = put_placement(o, e);
    if (!code)
        code = put_entries(o, e);
    if (!code)
        code = put_pairs(o, e);
    return code ? code : put_device(o, e);
}
