/* What adapters refuse in the parent, without their libraries: none is installed here. */
#include "runtime/adapter.h"

#include "test.h"

#include <string.h>

static struct error e;

static int check(const char *runtime, const char *provider, const char *version, const char *spin,
                 const char *options)
{
    struct adapter_request r = {.model = "", .variant = "", .library = "/nowhere.so",
                                .version = version, .provider = provider, .provider_library = "",
                                .precision = "f32", .spin = spin, .threads = 1, .batch = 1};
    r.options = json_loads(options, 0, NULL);
    assert_non_null(r.options);
    e = (struct error){0};
    int result = adapter_find(runtime)->check(&r, &e);
    json_decref(r.options);
    return result;
}

static void options_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *runtime, *provider, *options, *text; /* "": taken */
    } cases[] = {
        {"builtin", "cpu", "{\"tuning\":\"off\"}", ""},
        {"builtin", "cpu", "{\"tuning\":\"maybe\"}", "on or off"},
        {"builtin", "cpu", "{\"latency_us\":\"5\"}", "has no option 'latency_us'"},
        {"fake", "cpu", "{\"latency_us\":\"5\"}", ""},
        {"fake", "cpu", "{\"latency_us\":\"x\"}", "latency_us 'x'"},
        {"onnxruntime", "cpu", "{\"memory_arena\":\"off\"}", ""},
        {"onnxruntime", "cpu", "{\"memory_arena\":\"x\"}", "on or off"},
        {"onnxruntime", "cpu", "{\"device_type\":\"CPU\"}", "has no option 'device_type'"},
        {"onnxruntime", "openvino", "{\"device_type\":\"CPU\"}", ""},
        {"onnxruntime", "dnnl", "{\"nonsense\":\"1\"}", "has no option 'nonsense'"},
        {"onnxruntime", "cuda", "{\"use_tf32\":\"1\"}", "less than f32"},
        {"onnxruntime", "nowhere", "{}", "has no provider 'nowhere'"},
        {"openvino", "cpu", "{\"streams\":\"2\",\"ov.ANYTHING\":\"1\"}", ""},
        {"openvino", "cpu", "{\"streams\":\"x\"}", "streams 'x'"},
        {"openvino", "cpu", "{\"nonsense\":\"1\"}", "has no option 'nonsense'"},
        {"openvino", "cpu", "{\"ov.INFERENCE_PRECISION_HINT\":\"bf16\"}", "sets it itself"},
        {"openvino", "gpu", "{\"pinning\":\"on\"}", "does not apply to device GPU"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int result = check(cases[i].runtime, cases[i].provider, "1.32.0", "short",
                           cases[i].options);
        if (!result != !cases[i].text[0] || !strstr(e.text, cases[i].text))
            fail_msg("%s:%s with %s: %d '%s'", cases[i].runtime, cases[i].provider,
                     cases[i].options, result, e.text);
    }
}

static void spinning_that_cannot_be_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *runtime, *version, *spin;
        int taken;
    } cases[] = {
        {"builtin", "0.1.0", "100", 1},       {"builtin", "0.1.0", "9000000", 0},
        {"builtin", "0.1.0", "soon", 0},      {"openvino", "2026.4.1", "off", 1},
        {"openvino", "2026.4.1", "100", 0},   {"onnxruntime", "1.32.0", "100", 1},
        {"onnxruntime", "1.24.1", "100", 0},  {"onnxruntime", "1.24.1", "short", 1},
        {"onnxruntime", "unknown", "100", 1}, {"onnxruntime", "", "default", 1},
        {"pytorch", "2.13.0", "100", 1},      {"pytorch", "2.13.0", "soon", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(!check(cases[i].runtime, "cpu", cases[i].version, cases[i].spin, "{}"),
                         cases[i].taken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_refused_by_name),
        cmocka_unit_test(spinning_that_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
