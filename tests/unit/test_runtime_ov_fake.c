/* The OpenVINO adapter with a stand-in for the library: every version's numbers, every function's
 * failure, devices this machine has not. */
#include "test.h"

#include "runtime/adapters.h"
#include "runtime/found.h"
#include "runtime/ov_api.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64], library[128], lacking[128];
static struct error err;
static long *objects, *bindings;

/* --- a request and its way through the adapter ------------------------------------------------ */

struct trip {
    struct adapter_request request;
    struct adapter_shape shape;
    struct adapter_loaded loaded;
    void *state;
    int code;        /* of the step that failed, or 0 */
    float y[8];
    struct adapter_tensor told;
};

static void prepare(struct trip *t)
{
    *t = (struct trip){
        .request = {.model = library, .library = library, .provider_library = "", .provider = "cpu",
                    .precision = "f32", .spin = "off", .threads = 2, .batch = 2}};
}

static void load(struct trip *t)
{
    err = (struct error){0};
    t->code = adapter_openvino.load(&t->request, &t->state, &t->loaded, &err);
}

static void leave(struct trip *t)
{
    if (!t->code || t->state)
        adapter_openvino.unload(t->state);
    json_decref(t->request.options);
    assert_int_equal(*objects, 0);
}

/* Load, bind, run and output; y is what came out. */
static void travel(struct trip *t)
{
    static const float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    const void *data[] = {x};
    load(t);
    if (!t->code)
        t->code = adapter_openvino.bind(t->state, data, &err);
    if (!t->code)
        t->code = adapter_openvino.run(t->state, &err);
    const void *y = t->code ? NULL : adapter_openvino.output(t->state, 0, &t->told);
    if (y)
        memcpy(t->y, y, sizeof t->y);
    else if (!t->code)
        t->code = -1;
}

static void set(const char *name, const char *value)
{
    if (value)
        setenv(name, value, 1);
    else
        unsetenv(name);
}

static void refused(struct trip *t, int code, const char *part)
{
    if (t->code != code || !strstr(err.text, part))
        fail_msg("%d, not %d with '%s': %s", t->code, code, part, err.text);
    if (strchr(err.text, '\n'))
        fail_msg("more than one line: %s", err.text);
}

static json_t *setting(const struct trip *t, const char *name)
{
    return json_object_get(t->loaded.settings, name);
}

/* --- tests ------------------------------------------------------------------------------------ */

static void numbers_by_version(void **context)
{
    (void)context;
    const struct {
        const char *build, *first, *version, *refusal;
    } cases[] = {
        {"2024.2.0-1-a-releases/2024/2", "1", "2024.2.0", NULL},
        {"2024.6.0-1-a", "1", "2024.6.0", NULL},
        {"2025.0.0-1-a", "1", "2025.0.0", NULL},
        {"2025.1.0-1-a", "0", "2025.1.0", NULL},
        {"2026.4.1-1-a", "0", "2026.4.1", NULL},
        {"2031.0.0", "0", "2031.0.0", NULL},
        {"2025.0.0-1-a", "0", NULL, "does not number its element types"},
        {"2025.1.0-1-a", "1", NULL, "does not number its element types"},
        {"2031.0.0", "1", NULL, "does not number its element types"},
        {"2024.1.0-1-a", "1", NULL, "not a version wattle knows"},
        {"2023.3.0-1-a", "1", NULL, "not a version wattle knows"},
        {"nightly", "0", NULL, "'nightly'"},
        {"", "0", NULL, "not a version"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trip t;
        set("FAKE_OV_VERSION", cases[i].build);
        set("FAKE_OV_FIRST", cases[i].first);
        prepare(&t);
        travel(&t);
        if (cases[i].refusal) {
            refused(&t, ERROR_UNSUPPORTED, cases[i].refusal);
        } else {
            assert_int_equal(t.code, 0);
            assert_string_equal(t.loaded.version, cases[i].version);
            assert_string_equal(t.loaded.inputs[0].type, "float32");
            assert_int_equal(t.loaded.inputs[0].bytes, 32);
            assert_true(t.y[7] == 8);
        }
        leave(&t);
    }
    set("FAKE_OV_VERSION", NULL);
    set("FAKE_OV_FIRST", NULL);
}

static void types_beyond_ours(void **context)
{
    (void)context;
    const struct {
        const char *type, *part;
    } cases[] = {{"23", "string"}, {"14", "u4"}, {"0", "dynamic"}, {"26", "unknown"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trip t;
        set("FAKE_OV_TYPE", cases[i].type);
        prepare(&t);
        load(&t);
        refused(&t, ERROR_UNSUPPORTED, cases[i].part);
        leave(&t);
    }
    set("FAKE_OV_TYPE", NULL);
}

static void libraries_that_are_none(void **context)
{
    (void)context;
    struct trip t;
    prepare(&t);
    t.request.library = lacking;
    load(&t);
    refused(&t, ERROR_UNSUPPORTED, "ov_tensor_data");
    leave(&t);
    prepare(&t);
    t.request.provider_library = "plugin.so";
    load(&t);
    refused(&t, ERROR_USAGE, "provider library");
    leave(&t);
}

/* The fake counts what is freed, so this also shows that nothing is lost on any way out. */
static void each_function_fails(void **context)
{
    (void)context;
#define NAME(result, name, parameters) #name,
    static const char *const names[] = {OV_FUNCTIONS(NAME)};
#undef NAME
    /* These can fail without harm, are not called here, or cannot fail. */
    static const char harmless[] =
        " version_free get_last_err_msg get_error_info free core_free core_get_available_devices"
        " available_devices_free model_free model_const_input_by_name"
        " model_const_output_by_index port_get_any_name partial_shape_free"
        " output_const_port_free compiled_model_free infer_request_free shape_free tensor_free ";
    int failures = 0;
    for (int unsized = 0; unsized < 2; unsized++) {
        set("FAKE_OV_UNSIZED", unsized ? "1" : NULL);
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            struct trip t;
            char word[80];
            set("FAKE_OV_FAIL", names[i]);
            prepare(&t);
            travel(&t);
            leave(&t);
            snprintf(word, sizeof word, " %s ", names[i]);
            int only_sized = strstr(names[i], "set_output") != NULL;
            int only_unsized = strstr(names[i], "get_output") || strstr(names[i], "tensor_data") ||
                               strstr(names[i], "get_shape");
            int must = !strstr(harmless, word) && !(unsized ? only_sized : only_unsized);
            if (must != (t.code != 0))
                fail_msg("%s%s: code %d: %s", names[i], unsized ? " (unsized)" : "", t.code,
                         err.text);
            failures += t.code != 0;
        }
    }
    assert_true(failures > 40);
    set("FAKE_OV_UNSIZED", NULL);
    set("FAKE_OV_FAIL", "core_read_model");
    struct trip t;
    prepare(&t);
    load(&t);
    refused(&t, ERROR_UNSUPPORTED, ": made to fail ; and told in two lines");
    assert_null(strstr(err.text, "Exception"));
    leave(&t);
    set("FAKE_OV_FAIL", NULL);
}

static void output_sized_by_a_run(void **context)
{
    (void)context;
    struct trip t;
    set("FAKE_OV_UNSIZED", "1");
    prepare(&t);
    travel(&t);
    assert_int_equal(t.code, 0);
    assert_string_equal(t.loaded.outputs[0].name, "y"); /* the file's, not the compiled model's */
    assert_int_equal(t.loaded.outputs[0].rank, 2);
    assert_int_equal(t.loaded.outputs[0].dims[0], 0);
    assert_int_equal(t.told.dims[0], 2);
    assert_int_equal(t.told.bytes, 32);
    assert_true(t.y[0] == 1 && t.y[7] == 8);
    leave(&t);
    set("FAKE_OV_UNSIZED", NULL);
}

static void settings_that_differ(void **context)
{
    (void)context;
    struct trip t;
    set("FAKE_OV_SAYS_INFERENCE_NUM_THREADS", "1");
    set("FAKE_OV_SAYS_OTHER", "something");
    prepare(&t);
    load(&t);
    assert_int_equal(t.code, 0);
    assert_int_equal(json_integer_value(setting(&t, "threads")), 1);
    assert_int_equal(json_integer_value(setting(&t, "threads_asked")), 2);
    json_t *all = setting(&t, "properties");
    assert_string_equal(json_string_value(json_object_get(all, "OTHER")), "something");
    assert_null(json_object_get(all, "CANNOT_BE_READ"));
    leave(&t);
    set("FAKE_OV_SAYS_INFERENCE_NUM_THREADS", "2");
    prepare(&t);
    load(&t);
    assert_null(setting(&t, "threads_asked"));
    leave(&t);
    set("FAKE_OV_SAYS_INFERENCE_NUM_THREADS", NULL);
    set("FAKE_OV_SAYS_INFERENCE_PRECISION_HINT", "bf16");
    prepare(&t);
    load(&t);
    refused(&t, ERROR_UNSUPPORTED, "precision f32: OpenVINO compiled the model for bf16");
    leave(&t);
    set("FAKE_OV_SAYS_INFERENCE_PRECISION_HINT", NULL);
}

static void devices_other_than_the_cpu(void **context)
{
    (void)context;
    struct trip t;
    set("FAKE_OV_DEVICES", "CPU,GPU.0,GPU.1");
    prepare(&t);
    t.request.provider = "gpu";
    t.request.options = json_pack("{s:s}", "device", "GPU.1");
    travel(&t);
    assert_int_equal(t.code, 0);
    assert_string_equal(t.loaded.provider, "gpu");
    assert_true(json_is_null(setting(&t, "threads"))); /* not a property of a GPU */
    assert_null(setting(&t, "pinning"));
    assert_null(json_object_get(setting(&t, "properties"), "ENABLE_CPU_PINNING"));
    assert_string_equal(json_string_value(setting(&t, "precision")), "f32");
    leave(&t);
    static const char *const numbers[] = {"1", "0", "2"};
    prepare(&t);
    t.request.provider = "gpu";
    t.request.devices = numbers;
    t.request.device_count = 1;
    travel(&t);
    assert_int_equal(t.code, 0);
    leave(&t);
    prepare(&t);
    t.request.provider = "gpu";
    t.request.devices = numbers + 2;
    t.request.device_count = 1;
    load(&t);
    refused(&t, ERROR_UNSUPPORTED, "no device GPU.2");
    leave(&t);
    prepare(&t);
    t.request.provider = "gpu";
    t.request.devices = numbers;
    t.request.device_count = 2;
    load(&t);
    refused(&t, ERROR_UNSUPPORTED, "one device, not on 2");
    leave(&t);
    prepare(&t);
    t.request.devices = numbers;
    t.request.device_count = 1;
    load(&t);
    refused(&t, ERROR_USAGE, "'cpu' of OpenVINO takes no device");
    leave(&t);
    prepare(&t);
    t.request.provider = "npu";
    load(&t);
    refused(&t, ERROR_UNSUPPORTED, "no device NPU (it finds: CPU, GPU.0, GPU.1): no driver");
    leave(&t);
    prepare(&t);
    t.request.provider = "gpu";
    t.request.options = json_pack("{s:s}", "device", "GPU.2");
    load(&t);
    refused(&t, ERROR_UNSUPPORTED, "GPU.2");
    leave(&t);
    prepare(&t);
    t.request.provider = "gpu";
    t.request.options = json_pack("{s:s}", "pinning", "on");
    load(&t);
    refused(&t, ERROR_USAGE, "does not apply");
    leave(&t);
    set("FAKE_OV_DEVICES", NULL);
}

/* Asked in a process of its own, which may fail as it likes. */
static void devices_for_people(void **context)
{
    (void)context;
    struct found f = {.adapter = &adapter_openvino, .usable = 1};
    const struct {
        const char *devices, *fail, *text;
    } cases[] = {
        {"CPU,GPU.0", NULL, "CPU (fake device), GPU.0 (fake device)"},
        {"CPU", "core_get_property", "CPU"},
        {",", NULL, "none"},
        {"CPU", "core_get_available_devices", "not known: OpenVINO cannot list its devices"},
        {"CPU", "core_create", "not known: OpenVINO cannot be started"},
        {"crash", NULL, "not known: its library crashes when it is asked"},
    };
    snprintf(f.library, sizeof f.library, "%s", library);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[FOUND_DEVICES_MAX];
        set("FAKE_OV_DEVICES", cases[i].devices);
        set("FAKE_OV_FAIL", cases[i].fail);
        assert_true(found_devices(&f, text));
        if (strncmp(text, cases[i].text, strlen(cases[i].text)) != 0)
            fail_msg("%s, not %s", text, cases[i].text);
    }
    set("FAKE_OV_DEVICES", NULL);
    set("FAKE_OV_FAIL", NULL);
    char text[FOUND_DEVICES_MAX];
    f.usable = 0;
    assert_false(found_devices(&f, text));
}

/* One object for each address, made the first time; and no call at all for the same one again. */
static void addresses_are_bound_once(void **context)
{
    (void)context;
    static float sets[40][8];
    struct trip t;
    prepare(&t);
    load(&t);
    assert_int_equal(t.code, 0);
    long before = *objects;
    for (int round = 0; round < 3; round++)
        for (int s = 0; s < 40; s++) {
            const void *data[] = {sets[s]};
            assert_int_equal(adapter_openvino.bind(t.state, data, &err), 0);
        }
    assert_int_equal(*objects - before, 40);
    long calls = *bindings;
    const void *same[] = {sets[39]}, *other[] = {sets[11]};
    assert_int_equal(adapter_openvino.bind(t.state, same, &err), 0);
    assert_int_equal(*bindings, calls);
    sets[11][3] = 42;
    assert_int_equal(adapter_openvino.bind(t.state, other, &err), 0);
    assert_int_equal(adapter_openvino.run(t.state, &err), 0);
    assert_int_equal(*bindings, calls + 1);
    assert_true(((const float *)adapter_openvino.output(t.state, 0, &t.told))[3] == 42);
    leave(&t);
}

/* Old addresses are forgotten at some point, and found anew without mixing them up. */
static void addresses_without_end(void **context)
{
    (void)context;
    enum { ADDRESSES = 9000, LIMIT = 8200 };
    float (*sets)[8] = calloc(ADDRESSES, sizeof *sets);
    struct trip t;
    assert_non_null(sets);
    prepare(&t);
    load(&t);
    assert_int_equal(t.code, 0);
    long before = *objects;
    for (int s = 0; s < ADDRESSES; s++) {
        const void *data[] = {sets[s]};
        sets[s][0] = (float)s;
        assert_int_equal(adapter_openvino.bind(t.state, data, &err), 0);
        assert_int_equal(adapter_openvino.run(t.state, &err), 0);
        assert_true(*(const float *)adapter_openvino.output(t.state, 0, &t.told) == (float)s);
    }
    assert_in_range(*objects - before, 1, LIMIT);
    leave(&t);
    free(sets);
}

static void shapes_by_name(void **context)
{
    (void)context;
    const struct {
        const char *file, *name;
        int64_t rows, columns;
        int code;
        const char *part;
    } cases[] = {
        {"-1,-1", "x", 2, 3, 0, NULL},
        {"-1,-1", "alias", 2, 3, 0, NULL},
        {"-1,-1", "z", 2, 3, ERROR_USAGE, "'x' has no size for axis 1"},
        {"-1,4", "z", 2, 4, ERROR_USAGE, "'z'"},
        {"2,3", "x", 2, 4, ERROR_USAGE, "not within the file's 3..3"},
        {"-1,0", "x", 2, 0, 0, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trip t;
        set("FAKE_OV_SHAPE", cases[i].file);
        prepare(&t);
        t.shape = (struct adapter_shape){cases[i].name, "", 2, {cases[i].rows, cases[i].columns}};
        t.request.shapes = &t.shape;
        t.request.shape_count = 1;
        load(&t);
        if (cases[i].code) {
            refused(&t, cases[i].code, cases[i].part);
        } else {
            assert_int_equal(t.code, 0);
            assert_string_equal(t.loaded.inputs[0].name, cases[i].name);
            assert_int_equal(t.loaded.inputs[0].dims[1], cases[i].columns);
        }
        leave(&t);
    }
    set("FAKE_OV_SHAPE", NULL);
}

static void sizes_without_end(void **context)
{
    (void)context;
    const char *const shapes[] = {"4611686018427387904,4611686018427387904",
                                  "1152921504606846976,1"};
    for (size_t i = 0; i < 2; i++) {
        struct trip t;
        set("FAKE_OV_SHAPE", shapes[i]);
        prepare(&t);
        load(&t);
        refused(&t, ERROR_MEMORY, "more bytes than");
        leave(&t);
    }
    set("FAKE_OV_SHAPE", NULL);
}

static int build(const char *file, const char *flags)
{
    char command[512];
    snprintf(command, sizeof command, "cc -shared -fPIC -O1 -fvisibility=hidden %s -o %s "
             "tests/tools/fake_openvino.c", flags, file);
    return system(command);
}

static int setup(void **context)
{
    (void)context;
    snprintf(folder, sizeof folder, "/tmp/wattle-ov-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(library, sizeof library, "%s/libopenvino_c.so.1", folder);
    snprintf(lacking, sizeof lacking, "%s/libopenvino_c.so.2", folder);
    if (build(library, "") || build(lacking, "-DOMIT"))
        return -1;
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    objects = handle ? dlsym(handle, "fake_ov_objects") : NULL;
    bindings = handle ? dlsym(handle, "fake_ov_bindings") : NULL;
    return objects && bindings ? 0 : -1;
}

static int teardown(void **context)
{
    (void)context;
    unlink(library);
    unlink(lacking);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_by_version),
        cmocka_unit_test(types_beyond_ours),
        cmocka_unit_test(libraries_that_are_none),
        cmocka_unit_test(each_function_fails),
        cmocka_unit_test(output_sized_by_a_run),
        cmocka_unit_test(settings_that_differ),
        cmocka_unit_test(devices_other_than_the_cpu),
        cmocka_unit_test(devices_for_people),
        cmocka_unit_test(addresses_are_bound_once),
        cmocka_unit_test(addresses_without_end),
        cmocka_unit_test(shapes_by_name),
        cmocka_unit_test(sizes_without_end),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
