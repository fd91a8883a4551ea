/* onnxruntime.c: ONNX Runtime and its execution providers as a runtime. */
#include "runtime/adapters.h"
#include "runtime/nvml.h"
#include "runtime/ort.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXTS_MAX = 1 << 20, SEVERITY_WARNING = 2, DEVICE_MEMORY = 0, DEFAULT_MEMORY = 0 };

/* Loading the library is not for this process; installations are looked for elsewhere. */
static void probe(struct adapter_probe *out)
{
    *out = (struct adapter_probe){0};
    snprintf(out->reason, sizeof out->reason, "no installation known");
}

/* Threads of this process; -1 when /proc does not say. */
static int count_threads(void)
{
    DIR *folder = opendir("/proc/self/task");
    if (!folder)
        return -1;
    int count = 0;
    for (struct dirent *entry; (entry = readdir(folder));)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

/* Every object may be missing: load ends here from any point. The order is the library's. */
static void unload(void *state)
{
    struct ort *o = state;
    if (!o)
        return;
    const struct ort_api *a = &o->api;
    ort_bindings_release(o);
    if (o->run_options)
        a->release_run_options(o->run_options);
    if (o->session)
        a->release_session(o->session);
    if (o->session_options)
        a->release_options(o->session_options);
    if (o->device)
        a->release_memory_info(o->device);
    if (o->cpu)
        a->release_memory_info(o->cpu);
    ort_provider_release(o);
    if (o->env)
        a->release_env(o->env);
    json_decref(o->nodes);
    json_decref(o->settings);
    arena_release(&o->texts);
    free(o);
}

static int open_library(struct ort *o, const struct adapter_request *r, struct error *e)
{
    if (!r->library || !r->library[0]) {
        error_set(e, ERROR_USAGE, "runtime 'onnxruntime' needs an installation");
        return error_hint(e, "`wattle runtimes install onnxruntime` makes one");
    }
    int code = ort_telemetry_off(e);
    return code ? code : ort_api_open(&o->api, r->library, e);
}

static int create_objects(struct ort *o, struct error *e)
{
    struct ort_api *a = &o->api;
    int code = ort_check(a, a->create_env(ort_log_write, &a->log, SEVERITY_WARNING, "wattle",
                                          &o->env), e, "cannot start");
    if (!code)
        code = ort_check(a, a->default_allocator(&o->allocator), e, "cannot start");
    if (!code)
        code = ort_check(a, a->create_memory_info("Cpu", DEVICE_MEMORY, 0, DEFAULT_MEMORY,
                                                  &o->cpu), e, "cannot start");
    if (!code)
        code = ort_check(a, a->create_run_options(&o->run_options), e, "cannot start");
    return code ? code
                : ort_check(a, a->create_options(&o->session_options), e, "cannot start");
}

/* The device's memory by the name its provider gave it, on the device that was chosen. */
static int describe_device(struct ort *o, struct error *e)
{
    if (!o->provider->device)
        return 0;
    const char *id = ort_pairs_find(&o->options.provider, "device_id");
    return ort_check(&o->api,
                     o->api.create_memory_info(o->provider->device, DEVICE_MEMORY,
                                               id ? (int)strtol(id, NULL, 10) : 0, DEFAULT_MEMORY,
                                               &o->device), e, "cannot use the device's memory");
}

static int create_session(struct ort *o, const struct adapter_request *r, struct error *e)
{
    int before = count_threads();
    int code = ort_check(&o->api, o->api.create_session(o->env, r->model, o->session_options,
                                                        &o->session), e,
                         "cannot load '%.150s'", r->model);
    int after = count_threads();
    o->started_threads = before < 0 || after < 0 ? -1 : after - before;
    return code;
}

static int prepare(struct ort *o, const struct adapter_request *r, struct error *e)
{
    int code = ort_options_read(o, r, e);
    if (!code)
        code = ort_provider_check(o, e);
    if (!code)
        code = create_objects(o, e);
    if (!code)
        code = ort_options_apply(o, r, e);
    if (!code)
        code = ort_provider_append(o, r, e);
    if (!code)
        code = create_session(o, r, e);
    if (!code)
        code = ort_provider_place(o, r, e);
    if (!code)
        code = describe_device(o, e);
    if (!code)
        code = ort_tensors_read(o, r, e);
    if (!code)
        code = adapter_check_batch(r->batch, o->inputs, o->input_count, e);
    if (!code)
        code = ort_outputs_prepare(o, e);
    if (!code)
        code = ort_measure_copy(o, e);
    return code ? code : ort_settings_make(o, r, e);
}

static void describe(const struct ort *o, const struct adapter_request *r,
                     struct adapter_loaded *out)
{
    out->version = o->api.version;
    out->library = r->library;
    out->provider = o->runs_on;
    out->settings = o->settings;
    out->input_count = o->input_count;
    out->output_count = o->output_count;
    memcpy(out->inputs, o->inputs, sizeof o->inputs);
    memcpy(out->outputs, o->outputs, sizeof o->outputs);
}

static int no_provider(const struct adapter_request *r, struct error *e)
{
    return error_set(e, ERROR_USAGE, "runtime 'onnxruntime' has no provider '%.60s'", r->provider);
}

/* A plug-in alone knows its options, and a version that is not known is taken for a new one. */
static int check(const struct adapter_request *r, struct error *e)
{
    struct ort *o = calloc(1, sizeof *o);
    if (!o)
        return error_memory(e);
    arena_init(&o->texts, TEXTS_MAX);
    o->provider = ort_provider_find(r);
    o->api.version = r->version;
    o->api.release = ort_release_of(r->version);
    if (o->api.release < 0)
        o->api.release = INT_MAX;
    int code = o->provider ? ort_options_read(o, r, e) : no_provider(r, e);
    if (!code)
        code = ort_provider_check(o, e);
    arena_release(&o->texts);
    free(o);
    return code;
}

static int load(const struct adapter_request *r, void **state, struct adapter_loaded *out,
                struct error *e)
{
    struct ort *o = calloc(1, sizeof *o);
    if (!o)
        return error_memory(e);
    arena_init(&o->texts, TEXTS_MAX);
    o->provider = ort_provider_find(r);
    o->threads = o->provider && o->provider->own_threads ? 1 : r->threads;
    int code = o->provider ? open_library(o, r, e) : no_provider(r, e);
    if (!code)
        code = prepare(o, r, e);
    if (code) {
        unload(o);
        return code;
    }
    describe(o, r, out);
    *state = o;
    return 0;
}

static int bind(void *state, const void *const *data, struct error *e)
{
    return ort_bind(state, data, e);
}

static int run(void *state, struct error *e)
{
    return ort_run(state, e);
}

static const void *output(void *state, size_t index, struct adapter_tensor *tensor)
{
    return ort_output(state, index, tensor);
}

_Static_assert((int)ADAPTER_REASON_MAX >= (int)NVML_REASON_MAX, "reasons fit");

/* Tensors on a device here mean CUDA's or TensorRT's. */
static int device_memory(void *state, uint64_t *bytes, char reason[ADAPTER_REASON_MAX])
{
    const struct ort *o = state;
    reason[0] = '\0';
    return o->device ? nvml_own_memory(bytes, reason) : -1;
}

static const char *const precisions[] = {"f32", NULL};

const struct adapter adapter_onnxruntime = {
    .name = "onnxruntime",
    .title = "ONNX Runtime and its execution providers",
    .providers = ort_provider_names,
    .precisions = precisions,
    .takes_devices = 1,
    .probe = probe,
    .check = check,
    .environment = ort_environment,
    .load = load,
    .bind = bind,
    .run = run,
    .output = output,
    .unload = unload,
    .device_memory = device_memory,
};
