/* The ONNX Runtime adapter against a library that only looks like it (tests/tools/fake_ort.c): what
 * it does with versions, with each function failing in turn, and with providers and devices that
 * this machine does not have. Nothing it made may be left over. */
#include "test.h"

#include "runtime/adapters.h"
#include "runtime/ort_api.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const no_names[] = {"none", NULL};
const struct adapter adapter_builtin = {
    .name = "builtin", .providers = no_names, .precisions = no_names};

static struct error err;
static char folder[64], library[128], not_library[128], site_library[160], nvml_library[128];
static const float x[6] = {1, 2, 3, 4, 5, 6};
static const void *const inputs[] = {x};

#define assert_in(text, part)                                                                      \
    do {                                                                                           \
        if (!strstr(text, part))                                                                   \
            fail_msg("'%s' is not in '%s'", part, text);                                           \
    } while (0)

static struct adapter_request request(const char *provider)
{
    return (struct adapter_request){.model = "m.onnx", .library = library, .provider = provider,
                                    .provider_library = "", .precision = "f32", .spin = "off",
                                    .threads = 1, .batch = 2};
}

static int counter(const char *name)
{
    int (*count)(void);
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(handle);
    void *symbol = dlsym(handle, name);
    memcpy(&count, &symbol, sizeof count);
    return count();
}

static int load(struct adapter_request *r, void **state, struct adapter_loaded *loaded)
{
    memset(loaded, 0, sizeof *loaded);
    *state = NULL;
    int code = adapter_onnxruntime.load(r, state, loaded, &err);
    json_decref(r->options);
    r->options = NULL;
    return code;
}

/* A load that must fail, and must leave nothing behind. */
static void refuse_request(struct adapter_request r, int code, const char *part)
{
    void *state;
    struct adapter_loaded loaded;
    int got = load(&r, &state, &loaded);
    if (got != code)
        fail_msg("%s instead of %s: %s", error_code_name((enum error_code)got),
                 error_code_name((enum error_code)code), got ? err.text : "loaded");
    assert_in(err.text, part);
    assert_int_equal(counter("fake_ort_live"), 0);
}

static void refuse(const char *provider, const char *name, const char *value, int code,
                   const char *part)
{
    setenv(name, value, 1);
    refuse_request(request(provider), code, part);
    unsetenv(name);
}

static void runs_and_counts(void **context)
{
    (void)context;
    void *state;
    struct adapter_loaded loaded;
    struct adapter_tensor t;
    struct adapter_request r = request("cpu");
    assert_int_equal(load(&r, &state, &loaded), 0);
    assert_string_equal(loaded.version, "1.32.0");
    assert_string_equal(loaded.provider, "cpu");
    assert_int_equal(loaded.outputs[0].bytes, sizeof x);
    int before = counter("fake_ort_copies");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(adapter_onnxruntime.bind(state, inputs, &err), 0);
        assert_int_equal(adapter_onnxruntime.run(state, &err), 0);
    }
    assert_int_equal(counter("fake_ort_copies"), before + 1); /* the input was bound once */
    const float *y = adapter_onnxruntime.output(state, 0, &t);
    assert_true(y[0] == 2 && y[5] == 12);
    adapter_onnxruntime.unload(state);
    assert_int_equal(counter("fake_ort_live"), 0);
}

/* More sets than there is room for at first, in order and then all over the place. */
static void many_sets(void **context)
{
    (void)context;
    enum { MANY = 40 };
    static float many[MANY][6];
    void *state;
    struct adapter_loaded loaded;
    struct adapter_tensor t;
    struct adapter_request r = request("cpu");
    assert_int_equal(load(&r, &state, &loaded), 0);
    int before = counter("fake_ort_copies");
    for (int i = 0; i < 3 * MANY; i++) {
        int set = i < MANY ? i : i * 7 % MANY;
        const void *const data[] = {many[set]};
        many[set][3] = (float)set;
        assert_int_equal(adapter_onnxruntime.bind(state, data, &err), 0);
        assert_int_equal(adapter_onnxruntime.run(state, &err), 0);
        const float *y = adapter_onnxruntime.output(state, 0, &t);
        assert_true(y[3] == 2 * (float)set);
    }
    assert_int_equal(counter("fake_ort_copies"), before + MANY);
    adapter_onnxruntime.unload(state);
    assert_int_equal(counter("fake_ort_live"), 0);
}

static void what_is_no_library(void **context)
{
    (void)context;
    struct adapter_request r = request("cpu");
    r.library = "";
    refuse_request(r, ERROR_USAGE, "needs an installation");
    assert_in(err.hint, "runtimes install");
    r.library = NULL;
    refuse_request(r, ERROR_USAGE, "needs an installation");
    r.library = "/no/such/library.so";
    refuse_request(r, ERROR_IO, "/no/such/library.so");
    r.library = not_library;
    refuse_request(r, ERROR_UNSUPPORTED, "it has no OrtGetApiBase");
    refuse("cpu", "FAKE_ORT_BASE", "null", ERROR_UNSUPPORTED, "OrtGetApiBase gives nothing");
    refuse("cpu", "FAKE_ORT_BASE", "no_table", ERROR_UNSUPPORTED, "no functions for version 32");
    refuse("cpu", "FAKE_ORT_EMPTY", "133", ERROR_UNSUPPORTED, "nothing in slot 133");
    r = request("nonsense");
    refuse_request(r, ERROR_USAGE, "no provider 'nonsense'");
}

static void versions(void **context)
{
    (void)context;
    const char *const bad[] = {"2.0.0", "1.13.1", "1.", "1.x", "", "1.32x", "null", "1.99999.0"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        refuse("cpu", "FAKE_ORT_VERSION", bad[i], ERROR_UNSUPPORTED, "is ONNX Runtime");
        assert_in(err.hint, "1.14 and later");
    }
    /* what an old release lacks is asked for by name and version */
    setenv("FAKE_ORT_VERSION", "1.14.0", 1);
    refuse_request(request("openvino"), ERROR_UNSUPPORTED, "1.14.0 has no provider 'openvino'");
    assert_in(err.hint, "1.17");
    refuse_request(request("dnnl"), ERROR_UNSUPPORTED, "has no provider 'dnnl'");
    struct adapter_request r = request("cpu");
    r.provider_library = "/plugin.so";
    refuse_request(r, ERROR_UNSUPPORTED, "has no plug-in providers");
    r = request("cpu");
    r.options = json_pack("{s:s}", "deterministic", "on");
    refuse_request(r, ERROR_UNSUPPORTED, "has no option 'deterministic'");
    unsetenv("FAKE_ORT_VERSION");
    setenv("FAKE_ORT_VERSION", "1.25.0", 1);
    r = request("cpu");
    r.spin = "100";
    refuse_request(r, ERROR_UNSUPPORTED, "no time limit for spinning");
    unsetenv("FAKE_ORT_VERSION");
}

/* An old release says nothing of nodes; then the library itself must refuse a fallback. */
static void old_release_runs(void **context)
{
    (void)context;
    void *state;
    struct adapter_loaded loaded;
    struct adapter_request r = request("cpu");
    r.require_provider = 1;
    setenv("FAKE_ORT_VERSION", "1.14.1", 1);
    int code = load(&r, &state, &loaded);
    unsetenv("FAKE_ORT_VERSION");
    assert_int_equal(code, 0);
    assert_true(json_is_null(json_object_get(loaded.settings, "nodes")));
    assert_non_null(json_object_get(loaded.settings, "nodes_reason"));
    assert_non_null(json_object_get(json_object_get(loaded.settings, "session_entries"),
                                    "session.disable_cpu_ep_fallback"));
    adapter_onnxruntime.unload(state);
    assert_int_equal(counter("fake_ort_live"), 0);
}

/* Slots that a load on the CPU goes through, and what the error then says was being done. */
static void each_function_fails(void **context)
{
    (void)context;
    const struct {
        const char *slot, *part;
    } cases[] = {
        {"4", "cannot start"},           {"7", "cannot load 'm.onnx'"},
        {"10", "cannot start"},          {"13", "execution mode"},
        {"16", "memory pattern"},        {"18", "memory arena"},
        {"23", "optimization"},          {"24", "threads"},
        {"25", "inter-op"},              {"30", "count the inputs"},
        {"31", "count the outputs"},     {"33", "type of input 0"},
        {"34", "type of output 0"},      {"36", "name of input 0"},
        {"37", "name of output 0"},      {"39", "cannot start"},
        {"49", "wrap 'y'"},              {"55", "a type"},
        {"56", "type of 'x'"},           {"60", "a type"},
        {"61", "a shape"},               {"62", "shape of 'x'"},
        {"63", "dimensions of 'x'"},     {"68", "cannot start"},
        {"78", "cannot start"},          {"130", "session.intra_op.allow_spinning"},
        {"238", "read back session."},   {"407", "which provider runs which node"},
        {"408", "provider's name"},      {"409", "provider's nodes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        refuse("cpu", "FAKE_ORT_FAIL", cases[i].slot, ERROR_UNSUPPORTED, cases[i].part);
        assert_in(err.text, "failed as asked");
        if (strcmp(cases[i].slot, "4")) /* before there is a log */
            assert_in(err.text, "the real reason is in the log");
    }
}

static void run_fails(const char *slot, int at_bind, const char *part)
{
    void *state;
    struct adapter_loaded loaded;
    struct adapter_request r = request("cpu");
    setenv("FAKE_ORT_FAIL", slot, 1);
    assert_int_equal(load(&r, &state, &loaded), 0);
    int code = adapter_onnxruntime.bind(state, inputs, &err);
    if (!at_bind) {
        assert_int_equal(code, 0);
        code = adapter_onnxruntime.run(state, &err);
    }
    unsetenv("FAKE_ORT_FAIL");
    assert_int_equal(code, ERROR_UNSUPPORTED);
    assert_in(err.text, part);
    adapter_onnxruntime.unload(state);
    assert_int_equal(counter("fake_ort_live"), 0);
}

static void binding_and_run_fail(void **context)
{
    (void)context;
    run_fails("134", 1, "make a binding");
    run_fails("136", 1, "bind input 'x'");
    run_fails("137", 1, "bind output 'y'");
    run_fails("133", 0, "the run failed");
}

static void types_and_shapes(void **context)
{
    (void)context;
    refuse("cpu", "FAKE_ORT_TYPE", "8", ERROR_UNSUPPORTED, "input 'x' holds strings");
    refuse("cpu", "FAKE_ORT_TYPE", "14", ERROR_UNSUPPORTED, "ONNX type 14");
    refuse("cpu", "FAKE_ORT_TYPE", "-3", ERROR_UNSUPPORTED, "ONNX type -3");
    refuse("cpu", "FAKE_ORT_KIND", "2", ERROR_UNSUPPORTED, "not a tensor");
    refuse("cpu", "FAKE_ORT_RANK", "9", ERROR_UNSUPPORTED, "9 dimensions");
    refuse("cpu", "FAKE_ORT_DIM", "5", ERROR_UNSUPPORTED, "batch 2");
    struct adapter_request r = request("cpu");
    const struct adapter_shape rank = {.name = "x", .rank = 1, .dims = {2}};
    const struct adapter_shape size = {.name = "x", .rank = 2, .dims = {2, 4}};
    r.shape_count = 1;
    r.shapes = &rank;
    refuse_request(r, ERROR_USAGE, "has 2 dimensions, not 1");
    r.shapes = &size;
    refuse_request(r, ERROR_USAGE, "size 3 in dimension 1, not 4");
}

/* A free first dimension is the batch; the output's is not known before the run. */
static void free_dimension(void **context)
{
    (void)context;
    void *state;
    struct adapter_loaded loaded;
    struct adapter_tensor t;
    struct adapter_request r = request("cpu");
    setenv("FAKE_ORT_DIM", "-1", 1);
    assert_int_equal(load(&r, &state, &loaded), 0);
    assert_int_equal(loaded.inputs[0].dims[0], 2);
    assert_int_equal(loaded.outputs[0].dims[0], 0);
    setenv("FAKE_ORT_DIM", "2", 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(adapter_onnxruntime.bind(state, inputs, &err), 0);
        assert_int_equal(adapter_onnxruntime.run(state, &err), 0);
        const float *y = adapter_onnxruntime.output(state, 0, &t);
        assert_non_null(y);
        assert_true(y[5] == 12 && t.bytes == sizeof x && t.dims[0] == 2);
    }
    unsetenv("FAKE_ORT_DIM");
    adapter_onnxruntime.unload(state);
    assert_int_equal(counter("fake_ort_live"), 0);
}

/* CUDA's way through the table: bound anew each time, fetched by a run of its own, no TF32. */
static void device_provider(void **context)
{
    (void)context;
    void *state;
    struct adapter_loaded loaded;
    struct adapter_tensor t;
    struct adapter_request r = request("cuda");
    setenv("FAKE_ORT_NODES", "cuda:7", 1);
    int before = counter("fake_ort_copies");
    assert_int_equal(load(&r, &state, &loaded), 0);
    assert_string_equal(loaded.provider, "cuda");
    json_t *options = json_object_get(loaded.settings, "provider_options");
    assert_string_equal(json_string_value(json_object_get(options, "use_tf32")), "0");
    assert_true(json_is_integer(json_object_get(loaded.settings, "copy_in_ns")));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(adapter_onnxruntime.bind(state, inputs, &err), 0);
        assert_int_equal(adapter_onnxruntime.run(state, &err), 0);
    }
    assert_int_equal(counter("fake_ort_copies"), before + 2 + 3); /* two to time the copy */
    const float *y = adapter_onnxruntime.output(state, 0, &t);
    assert_true(y && y[5] == 12);
    adapter_onnxruntime.unload(state);
    unsetenv("FAKE_ORT_NODES");
    assert_int_equal(counter("fake_ort_live"), 0);
}

/* Copied back by each run: bound ahead in the CPU's memory, and read without another run. */
static void outputs_on_the_host(void **context)
{
    (void)context;
    void *state;
    struct adapter_loaded loaded;
    struct adapter_tensor t;
    struct adapter_request r = request("cuda");
    setenv("FAKE_ORT_NODES", "cuda:7", 1);
    r.options = json_pack("{s:s}", "outputs", "host");
    assert_int_equal(load(&r, &state, &loaded), 0);
    const char *where = json_string_value(json_object_get(loaded.settings, "outputs"));
    assert_string_equal(where, "copied to the host");
    assert_int_equal(adapter_onnxruntime.bind(state, inputs, &err), 0);
    assert_int_equal(adapter_onnxruntime.run(state, &err), 0);
    int before = counter("fake_ort_copies"), live = counter("fake_ort_live");
    const float *y = adapter_onnxruntime.output(state, 0, &t);
    assert_true(y && y[5] == 12);
    assert_int_equal(counter("fake_ort_copies"), before); /* no input was bound for a second run */
    assert_int_equal(counter("fake_ort_live"), live);
    adapter_onnxruntime.unload(state);
    unsetenv("FAKE_ORT_NODES");
    assert_int_equal(counter("fake_ort_live"), 0);
}

static void devices_by_number(void **context)
{
    (void)context;
    static const char *const two[] = {"1", "2"};
    static const char *const word[] = {"one"};
    void *state;
    struct adapter_loaded loaded;
    struct adapter_request r = request("cuda");
    setenv("FAKE_ORT_NODES", "cuda:7", 1);
    r.devices = two;
    r.device_count = 1;
    assert_int_equal(load(&r, &state, &loaded), 0);
    json_t *options = json_object_get(loaded.settings, "provider_options");
    assert_string_equal(json_string_value(json_object_get(options, "device_id")), "1");
    adapter_onnxruntime.unload(state);
    r.options = json_pack("{s:s}", "device_id", "0");
    refuse_request(r, ERROR_USAGE, "device 1 is asked for, and device_id");
    r.options = NULL;
    r.device_count = 2;
    refuse_request(r, ERROR_UNSUPPORTED, "one device, not on 2");
    r.device_count = 1;
    r.devices = word;
    refuse_request(r, ERROR_USAGE, "one");
    r.devices = two;
    r.provider = "cpu";
    refuse_request(r, ERROR_USAGE, "'cpu' of ONNX Runtime takes no device");
    unsetenv("FAKE_ORT_NODES");
    setenv("FAKE_ORT_DEVICES", "1", 1);
    r.provider = "plugin";
    r.provider_library = "/plugin.so";
    refuse_request(r, ERROR_USAGE, "on such a device"); /* it has number 0 alone */
    unsetenv("FAKE_ORT_DEVICES");
}

/* What the adapter tells of the device's memory, with NVIDIA's library played by a stub that is
 * loaded already and so is the one that its name finds. */
static void device_memory(void **context)
{
    (void)context;
    void *state;
    struct adapter_loaded loaded;
    char reason[ADAPTER_REASON_MAX] = "?";
    uint64_t bytes = 0;
    struct adapter_request r = request("cpu");
    void *nvml = dlopen(nvml_library, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(nvml);
    setenv("FAKE_NVML_MEMORY", "1:734003200", 1);
    assert_int_equal(load(&r, &state, &loaded), 0);
    assert_int_equal(adapter_onnxruntime.device_memory(state, &bytes, reason), -1);
    assert_string_equal(reason, ""); /* no device, nothing to explain */
    adapter_onnxruntime.unload(state);
    setenv("FAKE_ORT_NODES", "cuda:7", 1);
    r = request("cuda");
    assert_int_equal(load(&r, &state, &loaded), 0);
    assert_int_equal(adapter_onnxruntime.device_memory(state, &bytes, reason), 0);
    assert_int_equal(bytes, 734003200);
    setenv("FAKE_NVML_MEMORY", "1:-1", 1);
    assert_int_equal(adapter_onnxruntime.device_memory(state, &bytes, reason), -1);
    assert_in(reason, "does not tell the memory");
    adapter_onnxruntime.unload(state);
    unsetenv("FAKE_ORT_NODES");
    unsetenv("FAKE_NVML_MEMORY");
    assert_int_equal(dlclose(nvml), 0);
    assert_int_equal(counter("fake_ort_live"), 0);
}

static void providers_fail_with_the_reason(void **context)
{
    (void)context;
    const struct {
        const char *provider, *slot;
    } cases[] = {{"cuda", "205"},     {"cuda", "206"},     {"cuda", "204"},
                 {"tensorrt", "171"}, {"tensorrt", "172"}, {"tensorrt", "170"},
                 {"tensorrt", "204"}, {"dnnl", "240"},     {"dnnl", "239"},
                 {"xnnpack", "216"},  {"openvino", "275"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse(cases[i].provider, "FAKE_ORT_FAIL", cases[i].slot, ERROR_UNSUPPORTED,
               "the real reason is in the log");
    refuse("cuda", "FAKE_ORT_FAIL", "202", ERROR_UNSUPPORTED, "copy inputs to the device");
}

static void fallback_is_loud(void **context)
{
    (void)context;
    void *state;
    struct adapter_loaded loaded;
    struct adapter_request r = request("openvino");
    setenv("FAKE_ORT_NODES", "cpu:2,openvino:5,cpu:4", 1);
    assert_int_equal(load(&r, &state, &loaded), 0);
    assert_string_equal(loaded.provider, "openvino+cpu");
    json_t *nodes = json_object_get(loaded.settings, "nodes");
    assert_int_equal(json_integer_value(json_object_get(nodes, "cpu")), 6);
    assert_int_equal(json_integer_value(json_object_get(nodes, "openvino")), 5);
    adapter_onnxruntime.unload(state);
    r.require_provider = 1;
    refuse_request(r, ERROR_UNSUPPORTED, "6 of 11 nodes run on another");
    assert_in(err.text, "openvino 5");
    setenv("FAKE_ORT_NODES", "cpu:3", 1);
    r.require_provider = 0;
    assert_int_equal(load(&r, &state, &loaded), 0);
    assert_string_equal(loaded.provider, "cpu"); /* none of it runs where it was asked to */
    adapter_onnxruntime.unload(state);
    unsetenv("FAKE_ORT_NODES");
}

/* What TensorRT leaves to CUDA is on the GPU, but not what was required. */
static void tensorrt_alone_is_tensorrt(void **context)
{
    (void)context;
    void *state;
    struct adapter_loaded loaded;
    struct adapter_request r = request("tensorrt");
    setenv("FAKE_ORT_NODES", "tensorrt:5,cuda:2", 1);
    assert_int_equal(load(&r, &state, &loaded), 0);
    assert_string_equal(loaded.provider, "tensorrt+cuda");
    adapter_onnxruntime.unload(state);
    r.require_provider = 1;
    refuse_request(r, ERROR_UNSUPPORTED, "2 of 7 nodes run on another");
    setenv("FAKE_ORT_NODES", "tensorrt:5", 1);
    assert_int_equal(load(&r, &state, &loaded), 0);
    adapter_onnxruntime.unload(state);
    unsetenv("FAKE_ORT_NODES");
}

/* Said where it is known, and null where it is not. */
static void pinning_is_told(void **context)
{
    (void)context;
    const struct {
        const char *provider, *option, *value, *version, *pinning;
    } cases[] = {
        {"cpu", "memory_arena", "off", "1.32.0", "off"},
        {"cpu", "thread_affinities", "2", "1.32.0", "on"},
        {"openvino", "num_streams", "1", "1.20.0", "off"},
        {"openvino", "num_streams", "1", "1.19.2", NULL},
        {"openvino", "device_type", "GPU", "1.24.1", NULL},
        {"dnnl", "use_arena", "1", "1.32.0", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        void *state;
        struct adapter_loaded loaded;
        struct adapter_request r = request(cases[i].provider);
        r.spin = "off"; /* the only one that old releases take */
        r.options = json_pack("{s:s}", cases[i].option, cases[i].value);
        setenv("FAKE_ORT_VERSION", cases[i].version, 1);
        assert_int_equal(load(&r, &state, &loaded), 0);
        json_t *pinning = json_object_get(loaded.settings, "pinning");
        json_t *options = json_object_get(loaded.settings, "provider_options");
        int is_told = cases[i].pinning && !strcmp(cases[i].provider, "openvino");
        assert_int_equal(json_object_get(options, "load_config") != NULL, is_told);
        if (cases[i].pinning)
            assert_string_equal(json_string_value(pinning), cases[i].pinning);
        else
            assert_true(json_is_null(pinning));
        adapter_onnxruntime.unload(state);
    }
    unsetenv("FAKE_ORT_VERSION");
    assert_int_equal(counter("fake_ort_live"), 0);
}

static void refuse_option(const char *provider, const char *name, const char *value,
                          const char *part, const char *hint)
{
    struct adapter_request r = request(provider);
    r.options = json_pack("{s:s}", name, value);
    refuse_request(r, ERROR_USAGE, part);
    if (hint)
        assert_in(err.hint, hint);
}

static void options_are_refused(void **context)
{
    (void)context;
    refuse_option("cpu", "speed", "9", "no option 'speed'", "memory_arena");
    refuse_option("cpu", "provider.x", "9", "has no option 'x'", "has none");
    refuse_option("dnnl", "use_arenas", "1", "has no option 'use_arenas'", "use_arena");
    refuse_option("dnnl", "arena", "1", "has no option 'arena'", "use_arena");
    refuse_option("cpu", "memory_arena", "maybe", "on or off, not 'maybe'", NULL);
    refuse_option("cpu", "optimization", "max", "not 'max'", NULL);
    refuse_option("cpu", "outputs", "nowhere", "prepared, dynamic or host, not 'nowhere'", NULL);
    refuse_option("cpu", "outputs", "host", "for a provider with a device", NULL);
    refuse_option("cpu", "inter_op_threads", "0", "inter_op_threads", NULL);
    refuse_option("cpu", "plugin_device", "tpu", "not 'tpu'", NULL);
    refuse_option("cuda", "use_tf32", "1", "less than f32", NULL);
    refuse_option("cuda", "provider.use_tf32", "true", "less than f32", NULL);
    refuse_option("tensorrt", "trt_fp16_enable", "1", "less than f32", NULL);
    refuse_option("openvino", "precision", "FP16", "less than f32", NULL);
    refuse_option("openvino", "load_config", "x.json", "less than f32", NULL);
    struct adapter_request r = request("cpu");
    r.spin = "sometimes";
    refuse_request(r, ERROR_USAGE, "spin");
}

static void option_reaches_provider(void **context)
{
    (void)context;
    void *state;
    struct adapter_loaded loaded;
    struct adapter_request r = request("openvino");
    r.options = json_pack("{s:s,s:s,s:s}", "num_streams", "2", "provider.cache_dir", "c",
                          "memory_pattern", "off");
    assert_int_equal(load(&r, &state, &loaded), 0);
    json_t *options = json_object_get(loaded.settings, "provider_options");
    assert_string_equal(json_string_value(json_object_get(options, "num_streams")), "2");
    assert_string_equal(json_string_value(json_object_get(options, "cache_dir")), "c");
    assert_string_equal(json_string_value(json_object_get(options, "precision")), "FP32");
    assert_null(json_object_get(options, "memory_pattern"));
    json_t *pattern = json_object_get(loaded.settings, "memory_pattern");
    assert_string_equal(json_string_value(pattern), "off");
    adapter_onnxruntime.unload(state);
    assert_int_equal(counter("fake_ort_live"), 0);
}

static void plugin(void **context)
{
    (void)context;
    void *state;
    struct adapter_loaded loaded;
    struct adapter_request r = request("plugin");
    refuse_request(r, ERROR_USAGE, "without a library");
    r.provider_library = "/plugin.so";
    refuse_request(r, ERROR_UNSUPPORTED, "finds no device");
    setenv("FAKE_ORT_FAIL", "301", 1);
    refuse_request(r, ERROR_UNSUPPORTED, "cannot load the plug-in");
    unsetenv("FAKE_ORT_FAIL");
    setenv("FAKE_ORT_DEVICES", "1", 1);
    r.provider = "npu_thing";
    refuse_request(r, ERROR_USAGE, "it brings webgpu on device kind 1");
    setenv("FAKE_ORT_NODES", "webgpu:3", 1);
    r.require_provider = 1;
    for (int i = 0; i < 2; i++) {
        r.provider = i ? "webgpu" : "plugin";
        assert_int_equal(load(&r, &state, &loaded), 0);
        assert_string_equal(loaded.provider, "webgpu");
        adapter_onnxruntime.unload(state);
        assert_int_equal(counter("fake_ort_live"), 0);
    }
    r.options = json_pack("{s:s}", "plugin_device", "npu");
    refuse_request(r, ERROR_USAGE, "no provider 'webgpu' on such a device");
    unsetenv("FAKE_ORT_DEVICES");
    unsetenv("FAKE_ORT_NODES");
}

static const char *variable(json_t *variables, const char *name)
{
    const char *value = json_string_value(json_object_get(variables, name));
    return value ? value : "unset";
}

static void environment(void **context)
{
    (void)context;
    struct adapter_request r = request("cpu");
    struct adapter_environment e = {json_object()};
    assert_int_equal(adapter_onnxruntime.environment(&r, &e, &err), 0);
    assert_string_equal(variable(e.variables, "ORT_DISABLE_TELEMETRY"), "1");
    assert_string_equal(variable(e.variables, "LD_LIBRARY_PATH"), "unset");
    assert_string_equal(variable(e.variables, "NVIDIA_TF32_OVERRIDE"), "unset");
    r.provider = "cuda";
    assert_int_equal(adapter_onnxruntime.environment(&r, &e, &err), 0);
    assert_string_equal(variable(e.variables, "NVIDIA_TF32_OVERRIDE"), "0");
    setenv("LD_LIBRARY_PATH", "/old", 1);
    r.provider_library = "/some/where/plugin.so";
    assert_int_equal(adapter_onnxruntime.environment(&r, &e, &err), 0);
    assert_string_equal(variable(e.variables, "LD_LIBRARY_PATH"), "/some/where:/old");
    unsetenv("LD_LIBRARY_PATH");
    r.provider_library = "";
    r.library = site_library;
    assert_int_equal(adapter_onnxruntime.environment(&r, &e, &err), 0);
    assert_in(variable(e.variables, "LD_LIBRARY_PATH"), "/../../nvidia/cublas/lib");
    r.spin = "perhaps";
    assert_int_equal(adapter_onnxruntime.environment(&r, &e, &err), ERROR_USAGE);
    json_decref(e.variables);
}

static void probe_loads_nothing(void **context)
{
    (void)context;
    struct adapter_probe p;
    adapter_onnxruntime.probe(&p);
    assert_false(p.usable);
    assert_string_equal(p.reason, "no installation known");
}

static int setup(void **context)
{
    (void)context;
    char command[1024];
    snprintf(folder, sizeof folder, "/tmp/wattle-ort-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(library, sizeof library, "%s/libonnxruntime.so.1", folder);
    snprintf(nvml_library, sizeof nvml_library, "%s/libnvidia-ml.so.1", folder);
    snprintf(not_library, sizeof not_library, "%s/empty.so", folder);
    snprintf(command, sizeof command,
             "cc -std=c17 -D_GNU_SOURCE -shared -fPIC -o %s tests/tools/fake_ort.c && "
             "cc -std=c17 -D_GNU_SOURCE -shared -fPIC -Wl,-soname,libnvidia-ml.so.1 -o %s "
             "tests/tools/fake_nvml.c && cc -shared -o %s -x c /dev/null && "
             "mkdir -p %s/site/onnxruntime/capi %s/site/nvidia/cublas/lib",
             library, nvml_library, not_library, folder, folder);
    snprintf(site_library, sizeof site_library, "%s/site/onnxruntime/capi/libonnxruntime.so.1",
             folder);
    return system(command);
}

static int teardown(void **context)
{
    (void)context;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_and_counts),
        cmocka_unit_test(many_sets),
        cmocka_unit_test(what_is_no_library),
        cmocka_unit_test(versions),
        cmocka_unit_test(old_release_runs),
        cmocka_unit_test(each_function_fails),
        cmocka_unit_test(binding_and_run_fail),
        cmocka_unit_test(types_and_shapes),
        cmocka_unit_test(free_dimension),
        cmocka_unit_test(device_provider),
        cmocka_unit_test(outputs_on_the_host),
        cmocka_unit_test(devices_by_number),
        cmocka_unit_test(device_memory),
        cmocka_unit_test(providers_fail_with_the_reason),
        cmocka_unit_test(fallback_is_loud),
        cmocka_unit_test(tensorrt_alone_is_tensorrt),
        cmocka_unit_test(pinning_is_told),
        cmocka_unit_test(options_are_refused),
        cmocka_unit_test(option_reaches_provider),
        cmocka_unit_test(plugin),
        cmocka_unit_test(environment),
        cmocka_unit_test(probe_loads_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
