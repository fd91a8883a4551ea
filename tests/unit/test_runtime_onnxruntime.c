/* ONNX Runtime as a runtime, in a worker: results against the built-in reference, every type we
 * pass, settings as they really are, no telemetry, and errors with their reason. Needs a library:
 * WATTLE_TEST_ONNXRUNTIME names it, or one is installed below $WATTLE_HOME/runtimes. The tests of
 * the OpenVINO provider likewise: WATTLE_TEST_ONNXRUNTIME_OPENVINO. */
#include "base/file.h"
#include "test.h"

#include "base/clock.h"
#include "model/write.h"
#include "runtime/adapters.h"
#include "runtime/ort_api.h"
#include "worker/worker.h"

#include "installed.h"
#include "window_probe.h"

#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>

#define PATIENCE_NS (60 * NS_PER_S)
#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NO_DIMS ((const char *const[]){NULL})
enum { BATCH = 3, CHANNELS = 4, SIDE = 8, CLASSES = 5, RUNS = 20, SETS = 2, OUTPUT_MAX = 4096 };
enum { IMAGE = CHANNELS * SIDE * SIDE, INPUT_BYTES = BATCH * IMAGE * 4 };

static struct error err;
static char ort_library[PATH_MAX], openvino_library[PATH_MAX];
static char home[64], net_path[128], types_path[128], text_path[128], shape_path[128];
static char broken_path[128], mixed_path[128];

/* --- models ----------------------------------------------------------------------------------- */

static void weights(const void *context, uint64_t first, size_t count, void *out)
{
    (void)context;
    for (size_t i = 0; i < count; i++)
        ((float *)out)[i] = (float)((first + i) * 2654435761u % 1000) / 2000 - 0.25f;
}

static int finish(struct onnx_writer *w, const char *path)
{
    char hex[65];
    FILE *f = fopen(path, "wb");
    int failed = !f || onnx_writer_finish(w, f, hex, &err);
    if (f)
        fclose(f);
    onnx_writer_free(w);
    return failed;
}

/* Conv, Relu, GlobalAveragePool, Flatten, Gemm: five nodes. */
static int write_net(void)
{
    struct onnx_writer *w = onnx_writer_new("net");
    const struct shape kernel = {4, {6, CHANNELS, 3, 3}}, matrix = {2, {CLASSES, 6}};
    onnx_writer_input(w, "x", DTYPE_F32, NAMES("N", "4", "8", "8"));
    onnx_writer_initializer(w, "k", DTYPE_F32, &kernel, weights, NULL, 0);
    onnx_writer_initializer(w, "m", DTYPE_F32, &matrix, weights, NULL, 0);
    onnx_writer_node(w, "Conv", "conv", NAMES("x", "k"), "a");
    onnx_writer_ints(w, "pads", (const int64_t[]){1, 1, 1, 1}, 4);
    onnx_writer_node(w, "Relu", "relu", NAMES("a"), "b");
    onnx_writer_node(w, "GlobalAveragePool", "pool", NAMES("b"), "c");
    onnx_writer_node(w, "Flatten", "flatten", NAMES("c"), "d");
    onnx_writer_node(w, "Gemm", "gemm", NAMES("d", "m"), "y");
    onnx_writer_int(w, "transB", 1);
    onnx_writer_output(w, "y", DTYPE_F32, NAMES("N", "5"));
    return finish(w, net_path);
}

static const struct {
    enum dtype type;
    const char *name;
    size_t size;
} all_types[] = {
    {DTYPE_F32, "float32", 4}, {DTYPE_U8, "uint8", 1},    {DTYPE_I8, "int8", 1},
    {DTYPE_U16, "uint16", 2},  {DTYPE_I16, "int16", 2},   {DTYPE_I32, "int32", 4},
    {DTYPE_I64, "int64", 8},   {DTYPE_BOOL, "bool", 1},   {DTYPE_F16, "float16", 2},
    {DTYPE_F64, "float64", 8}, {DTYPE_U32, "uint32", 4},  {DTYPE_U64, "uint64", 8},
    {DTYPE_BF16, "bfloat16", 2},
};
enum { TYPES = sizeof all_types / sizeof *all_types, INPUTS = TYPES + 2 };

/* One input of two elements for each type, then a scalar and an input without elements. */
static int write_types(void)
{
    struct onnx_writer *w = onnx_writer_new("types");
    char in[INPUTS][16], out[INPUTS][16];
    for (size_t i = 0; i < INPUTS; i++) {
        const char *const *dims = i < TYPES ? NAMES("2") : i == TYPES ? NO_DIMS : NAMES("0", "4");
        enum dtype type = i < TYPES ? all_types[i].type : DTYPE_F32;
        snprintf(in[i], sizeof in[i], "in%zu", i);
        snprintf(out[i], sizeof out[i], "out%zu", i);
        onnx_writer_input(w, in[i], type, dims);
        onnx_writer_node(w, "Identity", out[i], NAMES(in[i]), out[i]);
        onnx_writer_output(w, out[i], type, dims);
    }
    return finish(w, types_path);
}

static int write_text(void)
{
    struct onnx_writer *w = onnx_writer_new("text");
    onnx_writer_input(w, "words", DTYPE_STRING, NAMES("2"));
    onnx_writer_node(w, "Identity", "i", NAMES("words"), "same");
    onnx_writer_output(w, "same", DTYPE_STRING, NAMES("2"));
    return finish(w, text_path);
}

/* How many elements the output has depends on the input's values. */
static int write_shape(void)
{
    struct onnx_writer *w = onnx_writer_new("shape");
    onnx_writer_input(w, "x", DTYPE_F32, NAMES("N", "S"));
    onnx_writer_node(w, "NonZero", "where", NAMES("x"), "places");
    onnx_writer_output(w, "places", DTYPE_I64, NAMES("2", "found"));
    return finish(w, shape_path);
}

/* OpenVINO knows no determinant. */
static int write_mixed(void)
{
    struct onnx_writer *w = onnx_writer_new("mixed");
    onnx_writer_input(w, "x", DTYPE_F32, NAMES("N", "2", "2"));
    onnx_writer_node(w, "Relu", "relu", NAMES("x"), "a");
    onnx_writer_node(w, "Det", "det", NAMES("a"), "y");
    onnx_writer_output(w, "y", DTYPE_F32, NAMES("N"));
    return finish(w, mixed_path);
}

static int write_broken(void)
{
    FILE *f = fopen(broken_path, "wb");
    if (!f)
        return -1;
    fputs("this is no model", f);
    return fclose(f);
}

/* --- a worker --------------------------------------------------------------------------------- */

static int call(struct worker *w, json_t *command, json_t **reply)
{
    return worker_call(w, command, PATIENCE_NS, reply, &err);
}

static json_t *ask(struct worker *w, json_t *command)
{
    json_t *reply;
    if (call(w, command, &reply))
        fail_msg("%s", err.text);
    return reply;
}

static void done(struct worker *w, json_t *command)
{
    json_decref(ask(w, command));
}

static struct worker *start(const struct adapter *a, const char *provider, json_t *extra)
{
    struct worker *w;
    struct adapter_request r = {.library = ort_library, .provider = provider,
                                .provider_library = "", .spin = "off", .threads = 2};
    struct adapter_environment environment = {json_object()};
    assert_int_equal(a->environment(&r, &environment, &err), 0);
    json_object_update(environment.variables, extra);
    json_decref(extra);
    struct worker_spec spec = {.environment = environment.variables};
    assert_int_equal(worker_start(&spec, &w, &err), 0);
    json_decref(environment.variables);
    return w;
}

static struct worker *start_ort(void)
{
    return start(&adapter_onnxruntime, "cpu", json_object());
}

/* "threads" 2, spin "off", N 3; change what the test is about. */
static json_t *load_command(const char *path)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:i,s:i,s:s,s:{s:i},s:{}}", "op", "load", "runtime",
                     "onnxruntime", "library", ort_library, "model", path, "threads", 2, "batch",
                     BATCH, "spin", "off", "dims", "N", BATCH, "options");
}

static json_t *with(json_t *command, const char *name, json_t *value)
{
    json_object_set_new(command, name, value);
    return command;
}

static json_t *with_option(json_t *command, const char *name, const char *value)
{
    json_object_set_new(json_object_get(command, "options"), name, json_string(value));
    return command;
}

static void refuse(json_t *command, int code, const char *part)
{
    struct worker *w = start_ort();
    json_t *reply;
    int got = call(w, command, &reply);
    if (got != code || !strstr(err.text, part))
        fail_msg("%s, '%s': not %s with '%s'", error_code_name((enum error_code)got),
                 got ? err.text : "", error_code_name((enum error_code)code), part);
    worker_free(w);
}

static const char *text_of(json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "none";
}

static long long number_of(json_t *object, const char *name)
{
    json_t *value = json_object_get(object, name);
    if (!json_is_integer(value))
        fail_msg("no number '%s'", name);
    return json_integer_value(value);
}

static json_t *settings_of(struct worker *w, json_t *command, json_t **reply)
{
    *reply = ask(w, command);
    json_t *settings = json_object_get(*reply, "settings");
    assert_non_null(settings);
    return settings;
}

static void give_images(struct worker *w)
{
    uint8_t *data;
    assert_int_equal(worker_tensors(w, SETS * INPUT_BYTES, &data, &err), 0);
    for (size_t i = 0; i < SETS * INPUT_BYTES / sizeof(float); i++)
        ((float *)(void *)data)[i] = (float)(i * 2246822519u % 1000) / 500 - 1;
    done(w, json_pack("{s:s,s:i,s:i,s:[{s:i,s:i}]}", "op", "inputs", "sets", SETS, "set_bytes",
                      INPUT_BYTES, "tensors", "offset", 0, "bytes", INPUT_BYTES));
}

/* Output `index` of set `set`; its bytes are copied, the description is the caller's. */
static json_t *take_output(struct worker *w, int set, int inputs_end, size_t index, void *bytes,
                           size_t size)
{
    uint8_t *data;
    json_t *reply = ask(w, json_pack("{s:s,s:i,s:i,s:i}", "op", "outputs", "set", set, "offset",
                                     inputs_end, "limit", 1 << 20));
    json_t *output = json_array_get(json_object_get(reply, "outputs"), index);
    assert_int_equal(number_of(output, "bytes"), size);
    size_t offset = (size_t)number_of(output, "offset");
    assert_int_equal(worker_tensors(w, offset + size, &data, &err), 0);
    memcpy(bytes, data + offset, size);
    json_incref(output);
    json_decref(reply);
    return output;
}

static void run_net(const struct adapter *a, json_t *command, float y[SETS][BATCH * CLASSES])
{
    struct worker *w = start(a, a == &adapter_onnxruntime ? "cpu" : "reference", json_object());
    done(w, command);
    give_images(w);
    for (int set = 0; set < SETS; set++)
        json_decref(take_output(w, set, SETS * INPUT_BYTES, 0, y[set], sizeof y[set]));
    worker_free(w);
}

static void assert_same(float a[SETS][BATCH * CLASSES], float b[SETS][BATCH * CLASSES])
{
    for (int set = 0; set < SETS; set++)
        for (int i = 0; i < BATCH * CLASSES; i++)
            if (!(fabsf(a[set][i] - b[set][i]) <= 1e-5f * (1 + fabsf(b[set][i]))))
                fail_msg("set %d element %d: %.8g and %.8g", set, i, (double)a[set][i],
                         (double)b[set][i]);
}

static void reference(float y[SETS][BATCH * CLASSES])
{
    json_t *command = load_command(net_path);
    json_object_del(command, "library");
    with(command, "runtime", json_string("builtin"));
    run_net(&adapter_builtin, with(command, "provider", json_string("reference")), y);
    assert_true(memcmp(y[0], y[1], sizeof y[0]) != 0);
}

/* --- tests ------------------------------------------------------------------------------------ */

static void outputs_equal_the_reference(void **context)
{
    (void)context;
    float want[SETS][BATCH * CLASSES], got[SETS][BATCH * CLASSES];
    reference(want);
    run_net(&adapter_onnxruntime, load_command(net_path), got);
    assert_same(got, want);
    run_net(&adapter_onnxruntime, with_option(load_command(net_path), "outputs", "dynamic"), got);
    assert_same(got, want);
    json_t *plain = with_option(load_command(net_path), "optimization", "off");
    with_option(plain, "memory_arena", "off");
    with_option(plain, "memory_pattern", "off");
    with_option(plain, "prepacking", "off");
    with_option(plain, "deterministic", "on");
    with_option(plain, "denormals", "zero");
    with_option(plain, "execution_mode", "parallel");
    run_net(&adapter_onnxruntime, with_option(plain, "inter_op_threads", "2"), got);
    assert_same(got, want);
}

static void settings_are_what_is(void **context)
{
    (void)context;
    json_t *reply;
    struct worker *w = start_ort();
    json_t *s = settings_of(w, load_command(net_path), &reply);
    assert_string_equal(text_of(reply, "provider"), "cpu");
    assert_non_null(strstr(ort_library, text_of(reply, "version")));
    assert_int_equal(number_of(s, "threads"), 2);
    assert_int_equal(number_of(s, "started_threads"), 1);
    assert_int_equal(number_of(json_object_get(s, "nodes"), "cpu"), 5);
    assert_string_equal(text_of(s, "optimization"), "all");
    assert_string_equal(text_of(s, "denormals"), "kept");
    assert_string_equal(text_of(s, "outputs"), "prepared");
    json_t *entries = json_object_get(s, "session_entries");
    assert_string_equal(text_of(entries, "session.intra_op.allow_spinning"), "0");
    assert_string_equal(text_of(entries, "session.inter_op.allow_spinning"), "0");
    json_t *output = json_array_get(json_object_get(reply, "outputs"), 0);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(output, "shape"), 0)),
                     BATCH);
    json_decref(reply);
    worker_free(w);
    w = start_ort();
    json_t *command = with_option(load_command(net_path), "denormals", "zero");
    with_option(with_option(command, "optimization", "basic"), "memory_arena", "off");
    s = settings_of(w, with(command, "threads", json_integer(1)), &reply);
    assert_string_equal(text_of(s, "denormals"), "zero");
    assert_string_equal(text_of(s, "optimization"), "basic");
    assert_string_equal(text_of(s, "memory_arena"), "off");
    assert_int_equal(number_of(s, "started_threads"), 0);
    json_decref(reply);
    worker_free(w);
}

static void spin_settings(void **context)
{
    (void)context;
    json_t *reply;
    struct worker *w = start_ort();
    json_t *command = with(load_command(net_path), "spin", json_string("default"));
    json_t *s = settings_of(w, command, &reply);
    json_t *entries = json_object_get(s, "session_entries");
    assert_null(json_object_get(entries, "session.intra_op.allow_spinning"));
    long long release = number_of(s, "api_version");
    json_decref(reply);
    worker_free(w);
    w = start_ort();
    s = settings_of(w, with(load_command(net_path), "spin", json_string("short")), &reply);
    entries = json_object_get(s, "session_entries");
    int limited = release >= ORT_SPIN_DURATION; /* before, short is none */
    assert_string_equal(text_of(entries, "session.intra_op.allow_spinning"), limited ? "1" : "0");
    assert_string_equal(text_of(s, "spin"), limited ? "short" : "off");
    if (limited)
        assert_string_equal(text_of(entries, "session.intra_op.spin_duration_us"), "250");
    json_decref(reply);
    worker_free(w);
    command = with(load_command(net_path), "spin", json_string("250"));
    if (release < ORT_SPIN_DURATION) {
        refuse(command, ERROR_UNSUPPORTED, "no time limit for spinning");
        return;
    }
    w = start_ort();
    s = settings_of(w, command, &reply);
    entries = json_object_get(s, "session_entries");
    assert_string_equal(text_of(entries, "session.intra_op.allow_spinning"), "1");
    assert_string_equal(text_of(entries, "session.intra_op.spin_duration_us"), "250");
    json_decref(reply);
    worker_free(w);
}

static void every_type_passes(void **context)
{
    (void)context;
    uint8_t *data, bytes[16];
    size_t offsets[INPUTS + 1] = {0};
    json_t *tensors = json_array(), *reply;
    struct worker *w = start_ort();
    json_t *command = with(load_command(types_path), "batch", json_integer(1));
    json_object_clear(json_object_get(command, "dims"));
    settings_of(w, command, &reply);
    for (size_t i = 0; i < INPUTS; i++) {
        size_t size = i < TYPES ? 2 * all_types[i].size : i == TYPES ? 4 : 0;
        json_t *t = json_array_get(json_object_get(reply, "inputs"), i);
        assert_string_equal(text_of(t, "type"), i < TYPES ? all_types[i].name : "float32");
        assert_int_equal(json_array_size(json_object_get(t, "shape")),
                         i < TYPES ? 1 : i == TYPES ? 0 : 2);
        offsets[i + 1] = offsets[i] + 64;
        json_array_append_new(tensors, json_pack("{s:i,s:i}", "offset", (int)offsets[i], "bytes",
                                                 (int)size));
    }
    json_decref(reply);
    int end = (int)offsets[INPUTS];
    assert_int_equal(worker_tensors(w, (size_t)end, &data, &err), 0);
    for (int i = 0; i < end; i++)
        data[i] = (uint8_t)(i / 64 == 7 ? 1 : i * 7 + 1); /* the eighth is bool */
    done(w, json_pack("{s:s,s:i,s:i,s:o}", "op", "inputs", "sets", 1, "set_bytes", end, "tensors",
                      tensors));
    for (size_t i = 0; i < INPUTS; i++) {
        size_t size = i < TYPES ? 2 * all_types[i].size : i == TYPES ? 4 : 0;
        json_decref(take_output(w, 0, end, i, bytes, size));
        assert_int_equal(worker_tensors(w, (size_t)end, &data, &err), 0);
        assert_memory_equal(bytes, data + offsets[i], size);
    }
    worker_free(w);
}

/* A shape of its own for each set and back again: nothing of one run is taken for the next. */
static void shape_by_value(void **context)
{
    (void)context;
    uint8_t *data;
    int64_t places[2 * BATCH * 2];
    struct worker *w = start_ort();
    done(w, with(load_command(shape_path), "dims", json_pack("{s:i,s:i}", "N", BATCH, "S", 2)));
    assert_int_equal(worker_tensors(w, 2 * 24, &data, &err), 0);
    const float x[2][6] = {{0, 1, 0, 0, 0, 0}, {1, 1, 0, 1, 0, 1}};
    memcpy(data, x, sizeof x);
    done(w, json_pack("{s:s,s:i,s:i,s:[{s:i,s:i}]}", "op", "inputs", "sets", 2, "set_bytes", 24,
                      "tensors", "offset", 0, "bytes", 24));
    for (int round = 0; round < 2; round++) {
        json_t *o = take_output(w, 0, 48, 0, places, 2 * sizeof *places);
        assert_string_equal(text_of(o, "type"), "int64");
        assert_true(places[0] == 0 && places[1] == 1);
        json_decref(o);
        o = take_output(w, 1, 48, 0, places, 8 * sizeof *places);
        assert_int_equal(json_integer_value(json_array_get(json_object_get(o, "shape"), 1)), 4);
        assert_true(places[3] == 2 && places[7] == 1);
        json_decref(o);
    }
    assert_int_equal(worker_tensors(w, 2 * 24, &data, &err), 0);
    memcpy(data, x[1], sizeof x[1]); /* other values in the same place */
    json_decref(take_output(w, 0, 48, 0, places, 8 * sizeof *places));
    done(w, json_pack("{s:s,s:i,s:i}", "op", "warmup", "min_runs", 9, "max_ns", 2000000000));
    worker_free(w);
}

static void free_dimensions(void **context)
{
    (void)context;
    refuse(load_command(shape_path), ERROR_USAGE, "dimension 1, 'S'");
    assert_non_null(strstr(err.hint, "--dim S=N"));
    json_t *reply;
    struct worker *w = start_ort();
    json_t *command = with(load_command(shape_path), "shapes", json_pack("{s:[i,i]}", "x", BATCH,
                                                                         7));
    settings_of(w, command, &reply);
    json_t *input = json_array_get(json_object_get(reply, "inputs"), 0);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(input, "shape"), 1)), 7);
    json_decref(reply);
    worker_free(w);
    command = with(load_command(net_path), "shapes", json_pack("{s:[i,i,i,i]}", "x", BATCH, 5, 8,
                                                               8));
    refuse(command, ERROR_USAGE, "size 4 in dimension 1, not 5");
    command = with(load_command(types_path), "dims", json_object());
    refuse(command, ERROR_UNSUPPORTED, "batch 3");
}

static void refusals_carry_the_reason(void **context)
{
    (void)context;
    refuse(load_command("/no/such.onnx"), ERROR_IO, "/no/such.onnx");
    refuse(load_command(broken_path), ERROR_FORMAT, "broken");
    refuse(with(load_command(text_path), "dims", json_object()), ERROR_UNSUPPORTED,
           "input 'words' holds strings");
    refuse(with_option(load_command(net_path), "speed", "9"), ERROR_USAGE, "no option 'speed'");
    assert_non_null(strstr(err.hint, "denormals"));
    refuse(with(load_command(net_path), "library", json_string("")), ERROR_USAGE,
           "needs an installation");
    refuse(with(load_command(net_path), "library", json_string("/no/ort.so")), ERROR_IO,
           "/no/ort.so");
}

/* Other builds may have it, as a library beside their own. */
static int is_there(const char *provider)
{
    char path[PATH_MAX];
    const char *slash = strrchr(ort_library, '/');
    snprintf(path, sizeof path, "%.*s/libonnxruntime_providers_%s.so",
             slash ? (int)(slash - ort_library) : 0, ort_library, provider);
    return access(path, F_OK) == 0;
}

/* None of these is in the library of the plain package; each says so in its own words. */
static void absent_providers(void **context)
{
    (void)context;
    const struct {
        const char *provider, *part;
    } cases[] = {{"cuda", "not enabled in this build"}, {"tensorrt", "not enabled in this build"},
                 {"dnnl", "not enabled in this build"}, {"xnnpack", "not supported in this build"},
                 {"openvino", "libonnxruntime_providers_openvino.so"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (!is_there(cases[i].provider))
            refuse(with(load_command(net_path), "provider", json_string(cases[i].provider)),
                   ERROR_UNSUPPORTED, cases[i].part);
    json_t *command = with(load_command(net_path), "provider", json_string("plugin"));
    refuse(with(command, "provider_library", json_string("/no/plugin.so")), ERROR_UNSUPPORTED,
           "/no/plugin.so");
}

static size_t count_entries(const char *path)
{
    DIR *folder = opendir(path);
    assert_non_null(folder);
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(folder));)
        count += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
    closedir(folder);
    return count;
}

/* Official builds would start a thread and write below $HOME/.cache; also when somebody asked for
 * it, and when the worker was started by other hands. */
static void no_telemetry(void **context)
{
    (void)context;
    const char *const asked[] = {NULL, "0", "false"};
    char before[PATH_MAX];
    snprintf(before, sizeof before, "%s", getenv("HOME") ? getenv("HOME") : "/");
    for (size_t i = 0; i < 3; i++) {
        char task[64], quiet[128];
        snprintf(quiet, sizeof quiet, "%s/home", home);
        assert_int_equal(mkdir(quiet, 0700), 0);
        setenv("HOME", quiet, 1);
        json_t *extra = json_object();
        if (asked[i])
            json_object_set_new(extra, "ORT_DISABLE_TELEMETRY", json_string(asked[i]));
        struct worker *w = start(&adapter_onnxruntime, "cpu", extra);
        snprintf(task, sizeof task, "/proc/%d/task", (int)worker_pid(w));
        done(w, json_pack("{s:s,s:i}", "op", "hello", "protocol", 1));
        size_t threads = count_entries(task);
        done(w, with(load_command(net_path), "threads", json_integer(1)));
        give_images(w);
        done(w, json_pack("{s:s}", "op", "first"));
        assert_int_equal(count_entries(task), threads);
        assert_int_equal(count_entries(quiet), 0);
        worker_free(w);
        assert_int_equal(rmdir(quiet), 0);
    }
    setenv("HOME", before, 1);
}

static void window_is_silent(void **context)
{
    (void)context;
#ifndef __SANITIZE_ADDRESS__ /* which replaces malloc itself */
    struct worker *w = start(&adapter_onnxruntime, "cpu", probe_environment());
    done(w, load_command(net_path));
    give_images(w);
    done(w, json_pack("{s:s}", "op", "first"));
    done(w, json_pack("{s:s,s:i,s:i}", "op", "warmup", "min_runs", 4, "max_ns", 2000000000));
    done(w, json_pack("{s:s,s:i,s:I}", "op", "window", "min_runs", RUNS, "max_ns", PATIENCE_NS));
    json_t *reply = ask(w, json_pack("{s:s}", "op", "go"));
    assert_int_equal(number_of(reply, "runs"), RUNS);
    json_decref(reply);
    worker_free(w);
    struct probe_counts c = probe_take();
    assert_int_equal(c.allocations, 0);
    /* the library's own, for each run: about forty for five nodes */
    assert_in_range(c.cxx_allocations, 0, 60 * RUNS);
    assert_int_equal(c.maps, 0);
    assert_int_equal(c.reads, 0);
    assert_int_equal(c.writes, 0);
#endif
}

/* OpenVINO's thread library opens others with RTLD_DEEPBIND, which a sanitizer cannot follow. */
static int has_openvino(void)
{
#ifdef __SANITIZE_ADDRESS__
    return 0;
#else
    return openvino_library[0] != '\0';
#endif
}

static json_t *openvino_command(const char *path)
{
    json_t *command = with(load_command(path), "library", json_string(openvino_library));
    return with(command, "provider", json_string("openvino"));
}

static void openvino_provider(void **context)
{
    (void)context;
    if (!has_openvino())
        skip();
    float want[SETS][BATCH * CLASSES], got[SETS][BATCH * CLASSES];
    json_t *reply;
    reference(want);
    json_t *command = with(openvino_command(net_path), "require_provider", json_integer(1));
    struct worker *w = start_ort();
    json_t *s = settings_of(w, command, &reply);
    assert_string_equal(text_of(reply, "provider"), "openvino");
    assert_int_equal(number_of(json_object_get(s, "nodes"), "openvino"), 5);
    assert_int_equal(number_of(s, "session_threads"), 1);
    json_t *options = json_object_get(s, "provider_options");
    assert_string_equal(text_of(options, "num_of_threads"), "2");
    assert_string_equal(text_of(options, "precision"), "FP32");
    json_decref(reply);
    worker_free(w);
    run_net(&adapter_onnxruntime, openvino_command(net_path), got);
    assert_same(got, want);
}

/* Threads of the worker that may not run on all the CPUs that this process may. */
static int count_pinned(const struct worker *w)
{
    char path[64];
    int count = 0;
    cpu_set_t own, set;
    assert_int_equal(sched_getaffinity(0, sizeof own, &own), 0);
    snprintf(path, sizeof path, "/proc/%d/task", (int)worker_pid(w));
    DIR *folder = opendir(path);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        pid_t id = (pid_t)strtol(entry->d_name, NULL, 10);
        if (id > 0 && !sched_getaffinity(id, sizeof set, &set))
            count += !CPU_EQUAL(&set, &own);
    }
    closedir(folder);
    return count;
}

/* OpenVINO by itself pins its threads, and the caller, in the first inference. */
static void openvino_pins_nothing(void **context)
{
    (void)context;
    if (!has_openvino())
        skip();
    for (int threads = 1; threads <= 2; threads++) {
        json_t *reply, *command = with(openvino_command(net_path), "threads", json_integer(threads));
        struct worker *w = start_ort();
        json_t *s = settings_of(w, command, &reply);
        assert_string_equal(text_of(s, "pinning"), "off");
        assert_string_equal(text_of(s, "spin"), "the provider's own");
        give_images(w);
        done(w, json_pack("{s:s}", "op", "first"));
        assert_int_equal(count_pinned(w), 0);
        json_decref(reply);
        worker_free(w);
    }
}

static void openvino_fallback(void **context)
{
    (void)context;
    if (!has_openvino())
        skip();
    json_t *reply;
    struct worker *w = start_ort();
    json_t *nodes = json_object_get(settings_of(w, openvino_command(mixed_path), &reply), "nodes");
    assert_string_equal(text_of(reply, "provider"), "openvino+cpu");
    assert_int_equal(number_of(nodes, "openvino"), 1);
    assert_int_equal(number_of(nodes, "cpu"), 1);
    json_decref(reply);
    worker_free(w);
    refuse(with(openvino_command(mixed_path), "require_provider", json_integer(1)),
           ERROR_UNSUPPORTED, "1 of 2 nodes run on another");
}

/* What the status alone hides is in the error. */
static void openvino_refusals(void **context)
{
    (void)context;
    if (!has_openvino())
        skip();
    refuse(with_option(openvino_command(net_path), "device_type", "NPU"), ERROR_UNSUPPORTED,
           "Device NPU is not available");
    refuse(with_option(openvino_command(net_path), "bogus", "1"), ERROR_UNSUPPORTED,
           "Invalid provider_option key: bogus");
}

/* --- set up ----------------------------------------------------------------------------------- */

static int setup(void **context)
{
    if (probe_setup(context))
        return -1;
    snprintf(home, sizeof home, "%s", probe_folder);
    snprintf(net_path, sizeof net_path, "%s/net.onnx", home);
    snprintf(types_path, sizeof types_path, "%s/types.onnx", home);
    snprintf(text_path, sizeof text_path, "%s/text.onnx", home);
    snprintf(shape_path, sizeof shape_path, "%s/shape.onnx", home);
    snprintf(broken_path, sizeof broken_path, "%s/broken.onnx", home);
    snprintf(mixed_path, sizeof mixed_path, "%s/mixed.onnx", home);
    int failed = write_net() || write_types() || write_text() || write_shape() || write_mixed() ||
                 write_broken();
    return failed ? -1 : 0;
}

static int teardown(void **context)
{
    const char *const paths[] = {net_path, types_path, text_path, shape_path, broken_path,
                                 mixed_path};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        unlink(paths[i]);
    return probe_teardown(context);
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "worker"))
        return worker_child_main();
    installed_library("WATTLE_TEST_ONNXRUNTIME", "onnxruntime", ort_library);
    installed_library("WATTLE_TEST_ONNXRUNTIME_OPENVINO", "onnxruntime-openvino", openvino_library);
    if (!ort_library[0]) {
        puts("no ONNX Runtime: `wattle runtimes install onnxruntime` makes one for these tests");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_equal_the_reference),
        cmocka_unit_test(settings_are_what_is),
        cmocka_unit_test(spin_settings),
        cmocka_unit_test(every_type_passes),
        cmocka_unit_test(shape_by_value),
        cmocka_unit_test(free_dimensions),
        cmocka_unit_test(refusals_carry_the_reason),
        cmocka_unit_test(absent_providers),
        cmocka_unit_test(no_telemetry),
        cmocka_unit_test(window_is_silent),
        cmocka_unit_test(openvino_provider),
        cmocka_unit_test(openvino_pins_nothing),
        cmocka_unit_test(openvino_fallback),
        cmocka_unit_test(openvino_refusals),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
