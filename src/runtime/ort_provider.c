/* ort_provider.c: execution providers: how each is asked for, and where the nodes really went. */
#include "runtime/ort.h"

#include "base/buffer.h"
#include "base/text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define SUFFIX "ExecutionProvider"
#define PLUGIN "wattle-plugin" /* the name under which we register a plug-in's library */
enum { LIST_MAX = 200, PROVIDER_NAME_MAX = 48, LOAD_CONFIG_SINCE = 20 };

static int missing(const struct ort *o, const char *what, int since, struct error *e)
{
    error_set(e, ERROR_UNSUPPORTED, "ONNX Runtime %s has no %s", o->api.version, what);
    return error_hint(e, "version 1.%d brought it", since);
}

static const char *threads_text(struct ort *o, const struct adapter_request *r)
{
    return arena_format(&o->texts, "%d", r->threads);
}

static int add_default(struct ort_pairs *p, const char *key, const char *value, struct error *e)
{
    return ort_pairs_find(p, key) ? 0 : ort_pairs_add(p, key, value, e);
}

/* OpenVINO would pin its threads, and the caller's, which no other runtime does here. */
static int add_unpinned(struct ort *o, struct error *e)
{
    struct ort_pairs *p = &o->options.provider;
    if (o->api.release < LOAD_CONFIG_SINCE || ort_pairs_find(p, "load_config"))
        return 0;
    o->is_unpinned = 1;
    return ort_pairs_add(p, "load_config", "{\"CPU\":{\"ENABLE_CPU_PINNING\":\"NO\"}}", e);
}

/* Left alone it takes all cores, and on a GPU half floats. */
static int append_openvino(struct ort *o, const struct adapter_request *r, struct error *e)
{
    struct ort_pairs *p = &o->options.provider;
    if (!o->api.append_openvino)
        return missing(o, "provider 'openvino' by name", 17, e);
    int code = add_default(p, "device_type", "CPU", e);
    int is_cpu = !code && !strcmp(ort_pairs_find(p, "device_type"), "CPU");
    if (is_cpu)
        code = add_default(p, "num_of_threads", threads_text(o, r), e);
    if (!code && is_cpu)
        code = add_unpinned(o, e);
    if (!code)
        code = add_default(p, "precision", "FP32", e);
    return code ? code
                : ort_check(&o->api, o->api.append_openvino(o->session_options, p->keys, p->values,
                                                            p->count), e,
                            "cannot use provider 'openvino'");
}

/* The three that keep their options in an object: the update tells why the library behind them does
 * not load, where the append only says that it does not. */
struct object_api {
    struct ort_status *(*create)(struct ort_provider_options **);
    struct ort_status *(*update)(struct ort_provider_options *, const char *const *,
                                 const char *const *, size_t);
    struct ort_status *(*append)(struct ort_session_options *, const struct ort_provider_options *);
    void (*release)(struct ort_provider_options *);
};

static int append_object(struct ort *o, const struct object_api *f, const char *name,
                         const struct ort_pairs *p, struct error *e)
{
    struct ort_provider_options *options = NULL;
    int code = ort_check(&o->api, f->create(&options), e, "cannot use provider '%s'", name);
    if (!code)
        code = ort_check(&o->api, f->update(options, p->keys, p->values, p->count), e,
                         "cannot set the options of provider '%s'", name);
    if (!code)
        code = ort_check(&o->api, f->append(o->session_options, options), e,
                         "cannot use provider '%s'", name);
    if (options)
        f->release(options);
    if (code && strstr(e->text, "cannot open shared object file"))
        error_hint(e, "install that library beside the package, or name its folder in "
                   "LD_LIBRARY_PATH");
    return code;
}

static int append_cuda_with(struct ort *o, struct ort_pairs *p, struct error *e)
{
    const struct ort_api *a = &o->api;
    if (!a->append_cuda)
        return missing(o, "provider 'cuda' with options", 11, e);
    int code = add_default(p, "use_tf32", "0", e);
    const struct object_api f = {a->create_cuda, a->update_cuda, a->append_cuda, a->release_cuda};
    return code ? code : append_object(o, &f, "cuda", p, e);
}

static int append_cuda(struct ort *o, const struct adapter_request *r, struct error *e)
{
    (void)r;
    return append_cuda_with(o, &o->options.provider, e);
}

/* What TensorRT does not take goes to CUDA, on the same device. */
static int append_tensorrt(struct ort *o, const struct adapter_request *r, struct error *e)
{
    (void)r;
    const struct ort_api *a = &o->api;
    const struct object_api f = {a->create_tensorrt, a->update_tensorrt, a->append_tensorrt,
                                 a->release_tensorrt};
    const char *device = ort_pairs_find(&o->options.provider, "device_id");
    struct ort_pairs rest = {0};
    int code = append_object(o, &f, "tensorrt", &o->options.provider, e);
    if (!code && device)
        code = ort_pairs_add(&rest, "device_id", device, e);
    return code ? code : append_cuda_with(o, &rest, e);
}

static int append_dnnl(struct ort *o, const struct adapter_request *r, struct error *e)
{
    (void)r;
    const struct ort_api *a = &o->api;
    const struct object_api f = {a->create_dnnl, a->update_dnnl, a->append_dnnl, a->release_dnnl};
    if (!a->append_dnnl)
        return missing(o, "provider 'dnnl' with options", 15, e);
    return append_object(o, &f, "dnnl", &o->options.provider, e);
}

static int append_xnnpack(struct ort *o, const struct adapter_request *r, struct error *e)
{
    struct ort_pairs *p = &o->options.provider;
    int code = add_default(p, "intra_op_num_threads", threads_text(o, r), e);
    return code ? code
                : ort_check(&o->api, o->api.append_named(o->session_options, "XNNPACK", p->keys,
                                                         p->values, p->count), e,
                            "cannot use provider 'xnnpack'");
}

static int append_nothing(struct ort *o, const struct adapter_request *r, struct error *e)
{
    (void)o;
    (void)r;
    (void)e;
    return 0;
}

static int append_plugin(struct ort *o, const struct adapter_request *r, struct error *e);

static const char *const reduced_openvino[] = {"precision=FP16", "load_config", NULL};
static const char *const reduced_cuda[] = {"use_tf32=1", NULL};
static const char *const reduced_tensorrt[] = {"trt_fp16_enable", "trt_bf16_enable",
                                               "trt_int8_enable", "trt_fp8_enable", NULL};
static const char *const reduced_none[] = {NULL};
static const char *const reduced_plugin[] = {
    "precision=FP16",  "load_config",     "use_tf32=1",      "trt_fp16_enable",
    "trt_bf16_enable", "trt_int8_enable", "trt_fp8_enable", NULL};

/* "cpu" has no options of its own; dnnl and xnnpack would ignore a misspelt one. */
static const struct ort_provider providers[] = {
    {.name = "cpu", .known = " ", .reduced = reduced_none, .append = append_nothing},
    {.name = "openvino", .reduced = reduced_openvino, .own_threads = 1, .append = append_openvino},
    {.name = "cuda", .reduced = reduced_cuda, .device = "Cuda", .append = append_cuda},
    {.name = "tensorrt", .reduced = reduced_tensorrt, .device = "Cuda", .append = append_tensorrt},
    {.name = "dnnl", .known = " use_arena ", .reduced = reduced_none, .append = append_dnnl},
    {.name = "xnnpack", .known = " intra_op_num_threads ", .reduced = reduced_none,
     .own_threads = 1, .append = append_xnnpack},
};
static const struct ort_provider plugin = {
    .name = "plugin", .reduced = reduced_plugin, .append = append_plugin};

const char *const ort_provider_names[] = {"cpu",  "openvino", "cuda",   "tensorrt",
                                          "dnnl", "xnnpack",  "plugin", NULL};

const struct ort_provider *ort_provider_find(const struct adapter_request *r)
{
    if ((r->provider_library && r->provider_library[0]) ||
        (r->provider && !strcmp(r->provider, "plugin")))
        return &plugin;
    for (size_t i = 0; r->provider && i < sizeof providers / sizeof *providers; i++)
        if (!strcmp(providers[i].name, r->provider))
            return &providers[i];
    return NULL;
}

static int is_off(const char *value)
{
    return !strcmp(value, "0") || !strcmp(value, "false") || !strcmp(value, "False");
}

/* "key=value" stands for itself, "key" for any value but a plain no. */
static int lowers(const char *rule, const char *key, const char *value)
{
    size_t size = strcspn(rule, "=");
    if (strncmp(rule, key, size) || key[size])
        return 0;
    return rule[size] ? !strcmp(rule + size + 1, value) || (!strcmp(rule + size + 1, "1") &&
                                                            !is_off(value))
                      : !is_off(value);
}

int ort_provider_check(const struct ort *o, struct error *e)
{
    const struct ort_pairs *p = &o->options.provider;
    if (o->options.host_outputs && !o->provider->device)
        return error_set(e, ERROR_USAGE, "option outputs=host is for a provider with a device, "
                         "which '%.40s' is not", o->provider->name);
    for (size_t i = 0; i < p->count; i++)
        for (const char *const *rule = o->provider->reduced; *rule; rule++)
            if (lowers(*rule, p->keys[i], p->values[i]))
                return error_set(e, ERROR_USAGE, "provider option %.60s=%.60s may compute with "
                                 "less than f32, which is the precision asked for", p->keys[i],
                                 p->values[i]);
    return 0;
}

/* "OpenVINOExecutionProvider" -> "openvino" */
static void short_name(const char *name, char *out, size_t size)
{
    size_t length = strlen(name);
    if (text_ends(name, SUFFIX))
        length -= strlen(SUFFIX);
    size_t n = 0;
    for (; n < length && n + 1 < size; n++)
        out[n] = (char)tolower((unsigned char)name[n]);
    out[n] = '\0';
}

/* The plug-in's devices follow those that were known before. */
struct device_list {
    const struct ort_ep_device *const *items;
    size_t first, count;
};

static int list_devices(struct ort *o, struct device_list *l, struct error *e)
{
    return ort_check(&o->api, o->api.ep_devices(o->env, &l->items, &l->count), e,
                     "cannot list devices");
}

static void device_name(const struct ort *o, const struct ort_ep_device *d,
                        char name[PROVIDER_NAME_MAX])
{
    const char *full = o->api.ep_device_name(d);
    short_name(full ? full : "?", name, PROVIDER_NAME_MAX);
}

/* A request that knows the plug-in's own name may say it. "cpu" is one that names no provider: the
 * library's own needs no plug-in. */
static int is_asked_for(const struct ort *o, const struct adapter_request *r,
                        const struct ort_ep_device *d)
{
    char name[PROVIDER_NAME_MAX];
    int kind = o->options.plugin_device;
    device_name(o, d, name);
    int is_any = !strcmp(r->provider, "plugin") || !strcmp(r->provider, "cpu");
    return (is_any || !strcmp(r->provider, name)) &&
           (kind < 0 || kind == o->api.device_type(o->api.ep_device_device(d)));
}

static int refuse_devices(const struct ort *o, const struct adapter_request *r,
                          const struct device_list *l, struct error *e)
{
    char name[PROVIDER_NAME_MAX];
    struct buffer list;
    if (l->count <= l->first) {
        error_set(e, ERROR_UNSUPPORTED, "the plug-in provider finds no device on this machine");
        return error_hint(e, "it was loaded; the hardware it is made for is not here");
    }
    buffer_init(&list, LIST_MAX);
    for (size_t i = l->first; i < l->count; i++) {
        device_name(o, l->items[i], name);
        buffer_format(&list, "%s%s on device kind %d", list.size ? ", " : "", name,
                      o->api.device_type(o->api.ep_device_device(l->items[i])));
    }
    error_set(e, ERROR_USAGE, "the plug-in has no provider '%.40s' on such a device: it brings %s "
              "(0 CPU, 1 GPU, 2 NPU)", r->provider, buffer_string(&list));
    buffer_release(&list);
    return e->code;
}

/* What each would otherwise take on its own: all cores, half floats. */
static int add_plugin_defaults(struct ort *o, const struct adapter_request *r, struct error *e)
{
    struct ort_pairs *p = &o->options.provider;
    if (strcmp(o->runs_on, "openvino"))
        return 0;
    int code = add_default(p, "num_of_threads", threads_text(o, r), e);
    return code ? code : add_default(p, "precision", "FP32", e);
}

static int append_device(struct ort *o, const struct adapter_request *r,
                         const struct device_list *l, struct error *e)
{
    const struct ort_pairs *p = &o->options.provider;
    size_t i = l->first;
    for (int left = o->options.device_index; i < l->count; i++)
        if (is_asked_for(o, r, l->items[i]) && left-- == 0)
            break;
    if (i >= l->count)
        return refuse_devices(o, r, l, e);
    device_name(o, l->items[i], o->runs_on);
    int code = add_plugin_defaults(o, r, e);
    return code ? code
                : ort_check(&o->api, o->api.append_devices(o->session_options, o->env,
                                                           &l->items[i], 1, p->keys, p->values,
                                                           p->count), e,
                            "cannot use the plug-in provider '%s'", o->runs_on);
}

static int append_plugin(struct ort *o, const struct adapter_request *r, struct error *e)
{
    struct device_list l = {0};
    if (!r->provider_library || !r->provider_library[0]) {
        error_set(e, ERROR_USAGE, "provider 'plugin' without a library");
        return error_hint(e, "--provider-library PATH names it");
    }
    if (!o->api.register_library)
        return missing(o, "plug-in providers", 22, e);
    int code = list_devices(o, &l, e);
    l.first = l.count;
    if (!code)
        code = ort_check(&o->api, o->api.register_library(o->env, PLUGIN, r->provider_library), e,
                         "cannot load the plug-in provider");
    if (code)
        return code;
    o->is_registered = 1;
    code = list_devices(o, &l, e);
    return code ? code : append_device(o, r, &l, e);
}

int ort_provider_append(struct ort *o, const struct adapter_request *r, struct error *e)
{
    return o->provider->append(o, r, e);
}

void ort_provider_release(struct ort *o)
{
    if (o->is_registered)
        ort_check(&o->api, o->api.unregister_library(o->env, PLUGIN), NULL, "unregister");
    o->is_registered = 0;
}

static int count_subgraph(struct ort *o, const struct ort_subgraph *graph, struct error *e)
{
    const struct ort_node *const *nodes = NULL;
    const char *provider = NULL;
    char name[PROVIDER_NAME_MAX];
    size_t count = 0;
    int code = ort_check(&o->api, o->api.subgraph_provider(graph, &provider), e,
                         "cannot tell a provider's name");
    if (!code)
        code = ort_check(&o->api, o->api.subgraph_nodes(graph, &nodes, &count), e,
                         "cannot tell a provider's nodes");
    if (code)
        return code;
    short_name(provider ? provider : "?", name, sizeof name);
    json_int_t sum = json_integer_value(json_object_get(o->nodes, name)) + (json_int_t)count;
    return json_object_set_new(o->nodes, name, json_integer(sum)) ? error_memory(e) : 0;
}

static int count_nodes(struct ort *o, struct error *e)
{
    const struct ort_subgraph *const *graphs = NULL;
    size_t count = 0;
    int code = ort_check(&o->api, o->api.assignment(o->session, &graphs, &count), e,
                         "cannot tell which provider runs which node");
    if (!code && !(o->nodes = json_object()))
        code = error_memory(e);
    for (size_t i = 0; !code && i < count; i++)
        code = count_subgraph(o, graphs[i], e);
    return code;
}

/* "openvino+cpu": the provider asked for first if it got any node. Returns the others' nodes. */
static json_int_t name_providers(struct ort *o, const char *wanted)
{
    const char *name;
    json_t *value;
    json_int_t others = 0;
    struct buffer list;
    buffer_init(&list, sizeof o->runs_on - 1);
    if (json_object_get(o->nodes, wanted))
        buffer_text(&list, wanted);
    json_object_foreach(o->nodes, name, value) {
        others += strcmp(name, wanted) ? json_integer_value(value) : 0;
        if (strcmp(name, wanted))
            buffer_format(&list, "%s%s", list.size ? "+" : "", name);
    }
    snprintf(o->runs_on, sizeof o->runs_on, "%s", list.size ? buffer_string(&list) : wanted);
    buffer_release(&list);
    return others;
}

static int refuse_fallback(struct ort *o, const char *wanted, json_int_t others, struct error *e)
{
    const char *name;
    json_t *value;
    json_int_t all = 0;
    struct buffer list;
    buffer_init(&list, LIST_MAX);
    json_object_foreach(o->nodes, name, value) {
        all += json_integer_value(value);
        buffer_format(&list, "%s%s %lld", list.size ? ", " : "", name,
                      (long long)json_integer_value(value));
    }
    error_set(e, ERROR_UNSUPPORTED, "provider '%s' was required, but %lld of %lld nodes run on "
              "another (nodes by provider: %s)", wanted, (long long)others, (long long)all,
              buffer_string(&list));
    buffer_release(&list);
    return error_hint(e, "without --require-provider the mixture is measured, under its own name");
}

int ort_provider_place(struct ort *o, const struct adapter_request *r, struct error *e)
{
    char wanted[PROVIDER_NAME_MAX];
    short_name(o->runs_on[0] ? o->runs_on : o->provider->name, wanted, sizeof wanted);
    snprintf(o->runs_on, sizeof o->runs_on, "%s", wanted);
    if (!o->api.assignment)
        return 0;
    int code = count_nodes(o, e);
    if (code)
        return code;
    json_int_t others = name_providers(o, wanted);
    return r->require_provider && others ? refuse_fallback(o, wanted, others, e) : 0;
}
