/* The real OpenVINO as a runtime, in a worker, on small models: its outputs are those of the
 * built-in reference, and its settings are what was asked for. Skipped without OpenVINO. */
#include "test.h"

#include "base/clock.h"
#include "base/file.h"
#include "model/tensor.h"
#include "model/write.h"
#include "runtime/adapters.h"
#include "worker/worker.h"

#include "installed.h"
#include "window_probe.h"

#include <glob.h>
#include <math.h>
#include <sched.h>
#include <string.h>

#define PATIENCE_NS (120 * NS_PER_S)
enum { SKIPPED = 77, ROOM = 1 << 16, OUTPUT_AT = 1 << 15, RUNS = 20 };

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})
#define SHAPE(...)                                                                                 \
    (&(struct shape){.rank = sizeof((int[]){__VA_ARGS__}) / sizeof(int), .dims = {__VA_ARGS__}})

static struct error err;
static char library[PATH_MAX];

/* --- models ----------------------------------------------------------------------------------- */

static char *path_of(const char *name, char path[256])
{
    snprintf(path, 256, "%s/%s", probe_folder, name);
    return path;
}

static void finish(struct onnx_writer *w, const char *name)
{
    char path[256], hex[65];
    FILE *f = fopen(path_of(name, path), "wb");
    assert_non_null(f);
    if (onnx_writer_finish(w, f, hex, &err))
        fail_msg("%s", err.text);
    fclose(f);
    onnx_writer_free(w);
}

/* y = relu(x w + b) */
static void write_linear(const char *name, const char *batch)
{
    float weights[8 * 4], bias[4] = {0.5f, -0.25f, 0, 1};
    for (int i = 0; i < 32; i++)
        weights[i] = (float)(i % 7 - 3) / 4;
    struct onnx_writer *w = onnx_writer_new("linear");
    onnx_writer_input(w, "x", DTYPE_F32, NAMES(batch, "8"));
    onnx_writer_constant(w, "w", DTYPE_F32, SHAPE(8, 4), weights);
    onnx_writer_constant(w, "b", DTYPE_F32, SHAPE(4), bias);
    onnx_writer_node(w, "MatMul", "m", NAMES("x", "w"), "p");
    onnx_writer_node(w, "Add", "a", NAMES("p", "b"), "q");
    onnx_writer_node(w, "Relu", "r", NAMES("q"), "y");
    onnx_writer_output(w, "y", DTYPE_F32, NAMES(batch, "4"));
    finish(w, name);
}

/* y = table[ids] scale, twice = ids + ids: an int64 input and output, a scalar, two symbols */
static void write_lookup(const char *name)
{
    float table[5 * 4];
    for (int i = 0; i < 20; i++)
        table[i] = (float)i / 8;
    struct onnx_writer *w = onnx_writer_new("lookup");
    onnx_writer_input(w, "ids", DTYPE_I64, NAMES("N", "S"));
    onnx_writer_input(w, "scale", DTYPE_F32, (const char *const[]){NULL});
    onnx_writer_constant(w, "table", DTYPE_F32, SHAPE(5, 4), table);
    onnx_writer_node(w, "Gather", "g", NAMES("table", "ids"), "rows");
    onnx_writer_node(w, "Mul", "s", NAMES("rows", "scale"), "y");
    onnx_writer_node(w, "Add", "t", NAMES("ids", "ids"), "twice");
    onnx_writer_output(w, "y", DTYPE_F32, NAMES("N", "S", "4"));
    onnx_writer_output(w, "twice", DTYPE_I64, NAMES("N", "S"));
    finish(w, name);
}

/* One node with one input. */
static void write_unary(const char *name, const char *op, enum dtype from, enum dtype to)
{
    struct onnx_writer *w = onnx_writer_new("unary");
    const char *x = strcmp(op, "Identity") ? "x" : "z"; /* after "y" in the alphabet */
    onnx_writer_input(w, x, from, NAMES("N", "4"));
    onnx_writer_node(w, op, "n", NAMES(x), "y");
    if (!strcmp(op, "Cast"))
        onnx_writer_int(w, "to", to);
    onnx_writer_output(w, "y", to, NAMES("A", "B"));
    finish(w, name);
}

/* --- workers ---------------------------------------------------------------------------------- */

static int call(struct worker *w, json_t *command, json_t **reply)
{
    return worker_call(w, command, PATIENCE_NS, reply, &err);
}

static json_t *must(struct worker *w, json_t *command)
{
    json_t *reply;
    if (call(w, command, &reply))
        fail_msg("%s (%s)\n%s", err.text, err.hint, worker_log(w));
    return reply;
}

static struct worker *start(json_t *environment)
{
    struct worker *w;
    struct worker_spec spec = {.environment = environment};
    assert_int_equal(worker_start(&spec, &w, &err), 0);
    json_decref(environment);
    return w;
}

/* A "load" that the caller may change before it is sent. */
static json_t *load_command(const char *runtime, const char *model, int batch)
{
    char path[256];
    int own = !strcmp(runtime, "builtin");
    json_t *c = json_pack("{s:s,s:s,s:s,s:s,s:i,s:i,s:{s:i}}", "op", "load", "runtime", runtime,
                          "provider", own ? "reference" : "cpu", "model", path_of(model, path),
                          "threads", 1, "batch", batch, "dims", "N", batch);
    if (!own)
        json_object_set_new(c, "library", json_string(library));
    return c;
}

static json_t *with_option(json_t *command, const char *name, const char *value)
{
    json_object_set_new(command, "options", json_pack("{s:s}", name, value));
    return command;
}

/* The whole of the worker's inputs, laid out one after the other from 0. */
static void give(struct worker *w, const void *const *data, const size_t *bytes, size_t count)
{
    uint8_t *memory;
    size_t offset = 0;
    json_t *tensors = json_array();
    assert_int_equal(worker_tensors(w, ROOM, &memory, &err), 0);
    for (size_t i = 0; i < count; i++) {
        memcpy(memory + offset, data[i], bytes[i]);
        json_array_append_new(tensors, json_pack("{s:I,s:I}", "offset", (json_int_t)offset, "bytes",
                                                 (json_int_t)bytes[i]));
        offset += (bytes[i] + 63) / 64 * 64;
    }
    json_decref(must(w, json_pack("{s:s,s:i,s:I,s:o}", "op", "inputs", "sets", 1, "set_bytes",
                                  (json_int_t)offset, "tensors", tensors)));
}

/* Copies output i of one run; its size is returned. */
static size_t take(struct worker *w, size_t i, void *out, json_t **shape)
{
    uint8_t *memory;
    json_t *reply = must(w, json_pack("{s:s,s:i,s:i,s:i}", "op", "outputs", "set", 0, "offset",
                                      OUTPUT_AT, "limit", ROOM - OUTPUT_AT));
    json_t *item = json_array_get(json_object_get(reply, "outputs"), i);
    size_t bytes = (size_t)json_integer_value(json_object_get(item, "bytes"));
    size_t offset = (size_t)json_integer_value(json_object_get(item, "offset"));
    assert_int_equal(worker_tensors(w, ROOM, &memory, &err), 0);
    memcpy(out, memory + offset, bytes);
    if (shape)
        *shape = json_incref(json_object_get(item, "shape"));
    json_decref(reply);
    return bytes;
}

/* --- tests ------------------------------------------------------------------------------------ */

static void outputs_are_the_references(void **context)
{
    (void)context;
    float x[3 * 8], y[2][64];
    const void *data[] = {x};
    for (int i = 0; i < 24; i++)
        x[i] = (float)(i % 5) - 1.75f;
    const char *const runtimes[] = {"openvino", "builtin"};
    for (size_t r = 0; r < 2; r++) {
        struct worker *w = start(json_object());
        json_t *reply = must(w, load_command(runtimes[r], "linear.onnx", 3));
        json_t *input = json_array_get(json_object_get(reply, "inputs"), 0);
        assert_string_equal(json_string_value(json_object_get(input, "name")), "x");
        assert_string_equal(json_string_value(json_object_get(input, "type")), "float32");
        json_decref(reply);
        give(w, data, (size_t[]){sizeof x}, 1);
        assert_int_equal(take(w, 0, y[r], NULL), 3 * 4 * sizeof(float));
        worker_free(w);
    }
    int zeros = 0;
    for (int i = 0; i < 12; i++) {
        assert_true(fabsf(y[0][i] - y[1][i]) <= 1e-5f);
        zeros += y[1][i] == 0;
    }
    assert_in_range(zeros, 1, 11);
}

static void inputs_of_several_types(void **context)
{
    (void)context;
    const int64_t ids[2 * 3] = {0, 4, 1, 3, 3, 2};
    const float scale = 2.5f;
    const void *data[] = {ids, &scale};
    float y[2][64];
    int64_t twice[16];
    const char *const runtimes[] = {"openvino", "builtin"};
    for (size_t r = 0; r < 2; r++) {
        struct worker *w = start(json_object());
        json_t *command = load_command(runtimes[r], "lookup.onnx", 2);
        if (r)
            json_object_set_new(json_object_get(command, "dims"), "S", json_integer(3));
        else
            json_object_set_new(command, "shapes",
                                json_pack("{s:[i,i],s:[]}", "ids", 2, 3, "scale"));
        json_decref(must(w, command));
        give(w, data, (size_t[]){sizeof ids, sizeof scale}, 2);
        assert_int_equal(take(w, 0, y[r], NULL), 24 * sizeof(float));
        assert_int_equal(take(w, 1, twice, NULL), sizeof ids);
        for (int i = 0; i < 6; i++)
            assert_int_equal(twice[i], 2 * ids[i]);
        worker_free(w);
    }
    assert_memory_equal(y[0], y[1], 24 * sizeof(float));
}

/* Types the built-in engine need not have: float16, bool, uint8, as what they are known to be. */
static void types_are_named_as_they_are(void **context)
{
    (void)context;
    static const uint16_t halves[4] = {0x3c00, 0xc000, 0x3800, 0x0000}; /* 1 -2 0.5 0 */
    static const uint16_t brains[4] = {0x3f80, 0xc000, 0x3f00, 0x0000};
    static const uint8_t bytes[4] = {1, 0, 1, 200}, truths[4] = {1, 0, 1, 1};
    static const double doubles[4] = {1, -2, 0.5, 0};
    const struct {
        const char *model, *type;
        const void *data;
        size_t size;
        float wanted[4];
    } cases[] = {
        {"from_f16.onnx", "float16", halves, sizeof halves, {1, -2, 0.5f, 0}},
        {"from_bf16.onnx", "bfloat16", brains, sizeof brains, {1, -2, 0.5f, 0}},
        {"from_u8.onnx", "uint8", bytes, sizeof bytes, {1, 0, 1, 200}},
        {"from_bool.onnx", "bool", truths, sizeof truths, {1, 0, 1, 1}},
        {"from_f64.onnx", "float64", doubles, sizeof doubles, {1, -2, 0.5f, 0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float y[16];
        struct worker *w = start(json_object());
        json_t *reply = must(w, load_command("openvino", cases[i].model, 1));
        json_t *input = json_array_get(json_object_get(reply, "inputs"), 0);
        assert_string_equal(json_string_value(json_object_get(input, "type")), cases[i].type);
        json_decref(reply);
        give(w, &cases[i].data, &cases[i].size, 1);
        assert_int_equal(take(w, 0, y, NULL), sizeof cases[i].wanted);
        assert_memory_equal(y, cases[i].wanted, sizeof cases[i].wanted);
        worker_free(w);
    }
}

/* NonZero's output is as long as the data says. */
static void output_of_unknown_size(void **context)
{
    (void)context;
    const float x[2][4] = {{0, 3, 0, 5}, {1, 0, 0, 0}};
    const int64_t wanted[2][4] = {{0, 0, 1, 3}, {0, 0}};
    struct worker *w = start(json_object());
    json_t *reply = must(w, load_command("openvino", "nonzero.onnx", 1));
    json_decref(reply);
    for (int set = 0; set < 2; set++) {
        const void *data[] = {x[set]};
        int64_t y[16];
        json_t *shape;
        give(w, data, (size_t[]){sizeof x[set]}, 1);
        size_t count = set ? 1 : 2;
        assert_int_equal(take(w, 0, y, &shape), 2 * count * sizeof *y);
        assert_memory_equal(y, wanted[set], 2 * count * sizeof *y);
        assert_int_equal(json_integer_value(json_array_get(shape, 1)), count);
        json_decref(shape);
    }
    worker_free(w);
}

/* The graph's output is its input by another name, and the request's name is what counts; the
 * memory of the input is read-only. */
static void names_of_the_graph(void **context)
{
    (void)context;
    const float x[4] = {1, -2, 3, -4};
    const void *data[] = {x};
    float y[4];
    const char *const models[] = {"identity.onnx", "relu.onnx"}, *const names[] = {"z", "x"};
    for (size_t i = 0; i < 2; i++) {
        struct worker *w = start(json_object());
        json_t *command = load_command("openvino", models[i], 1);
        json_object_set_new(command, "shapes", json_pack("{s:[i,i]}", names[i], 1, 4));
        json_t *reply = must(w, command);
        json_t *input = json_array_get(json_object_get(reply, "inputs"), 0);
        assert_string_equal(json_string_value(json_object_get(input, "name")), names[i]);
        json_decref(reply);
        give(w, data, (size_t[]){sizeof x}, 1);
        assert_int_equal(take(w, 0, y, NULL), sizeof y);
        for (int k = 0; k < 4; k++)
            assert_true(y[k] == (i && x[k] < 0 ? 0 : x[k]));
        worker_free(w);
    }
}

/* y = relu(x) as OpenVINO's IR, a TensorFlow SavedModel folder and .tflite: see make.py there. */
static void formats_besides_onnx(void **context)
{
    (void)context;
    const float x[4] = {1, -2, 3, -4}, wanted[4] = {1, 0, 3, 0};
    const void *data[] = {x};
    const char *const files[] = {"relu.xml", "relu", "relu.tflite"};
    for (size_t i = 0; i < 3; i++) {
        char path[256];
        float y[4];
        struct worker *w = start(json_object());
        json_t *command = load_command("openvino", "", 1);
        snprintf(path, sizeof path, "tests/fixtures/openvino/%s", files[i]);
        json_object_set_new(command, "model", json_string(path));
        json_decref(must(w, command));
        give(w, data, (size_t[]){sizeof x}, 1);
        assert_int_equal(take(w, 0, y, NULL), sizeof y);
        assert_memory_equal(y, wanted, sizeof y);
        worker_free(w);
    }
}

static const char *text_of(json_t *settings, const char *name)
{
    const char *text = json_string_value(json_object_get(settings, name));
    return text ? text : "none";
}

static void settings_are_read_back(void **context)
{
    (void)context;
    struct worker *w = start(json_object());
    json_t *reply = must(w, load_command("openvino", "linear.onnx", 1));
    json_t *s = json_object_get(reply, "settings");
    assert_string_equal(text_of(reply, "provider"), "cpu");
    assert_string_equal(text_of(reply, "library"), library);
    assert_true(strtol(text_of(reply, "version"), NULL, 10) >= 2024);
    assert_int_equal(json_integer_value(json_object_get(s, "threads")), 1);
    assert_null(json_object_get(s, "threads_asked"));
    assert_int_equal(json_integer_value(json_object_get(s, "streams")), 1);
    assert_string_equal(text_of(s, "precision"), "f32");
    assert_string_equal(text_of(s, "performance_hint"), "latency");
    assert_string_equal(text_of(s, "execution_mode"), "performance");
    assert_string_equal(text_of(s, "pinning"), "off");
    assert_string_equal(text_of(s, "denormals"), "kept");
    json_t *all = json_object_get(s, "properties");
    assert_string_equal(text_of(all, "INFERENCE_PRECISION_HINT"), "f32");
    assert_string_equal(text_of(all, "ENABLE_CPU_PINNING"), "NO");
    assert_string_equal(text_of(all, "EXECUTION_DEVICES"), "CPU");
    assert_string_equal(text_of(all, "KV_CACHE_PRECISION"), "f32");
    assert_string_equal(text_of(all, "DYNAMIC_QUANTIZATION_GROUP_SIZE"), "0");
    json_decref(reply);
    worker_free(w);
}

static void options_reach_openvino(void **context)
{
    (void)context;
    const struct {
        const char *name, *value, *setting, *wanted;
    } cases[] = {
        {"pinning", "on", "pinning", "on"},
        {"denormals", "zero", "denormals", "zero"},
        {"performance_hint", "throughput", "performance_hint", "throughput"},
        {"execution_mode", "accuracy", "execution_mode", "accuracy"},
        {"ov.ENABLE_HYPER_THREADING", "YES", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct worker *w = start(json_object());
        json_t *reply = must(w, with_option(load_command("openvino", "linear.onnx", 1),
                                            cases[i].name, cases[i].value));
        if (cases[i].setting)
            assert_string_equal(text_of(json_object_get(reply, "settings"), cases[i].setting),
                                cases[i].wanted);
        json_decref(reply);
        worker_free(w);
    }
}

static void threads_beyond_the_mask_are_flagged(void **context)
{
    (void)context;
    cpu_set_t all, one;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE && !CPU_COUNT(&one); cpu++)
        if (CPU_ISSET(cpu, &all))
            CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
    struct worker *w = start(json_object());
    sched_setaffinity(0, sizeof all, &all);
    json_t *command = load_command("openvino", "linear.onnx", 1);
    json_object_set_new(command, "threads", json_integer(2));
    json_t *reply = must(w, command);
    json_t *s = json_object_get(reply, "settings");
    assert_int_equal(json_integer_value(json_object_get(s, "threads")), 1);
    assert_int_equal(json_integer_value(json_object_get(s, "threads_asked")), 2);
    json_decref(reply);
    worker_free(w);
}

static void refused(json_t *command, int code, const char *text, const char *hint)
{
    json_t *reply;
    struct worker *w = start(json_object());
    int got = call(w, command, &reply);
    if (got != code || !strstr(err.text, text) || (hint && !strstr(err.hint, hint)))
        fail_msg("%d, not %d: %s (%s)", got, code, err.text, err.hint);
    if (strchr(err.text, '\n'))
        fail_msg("more than one line: %s", err.text);
    worker_free(w);
}

static json_t *linear(int batch)
{
    return load_command("openvino", "linear.onnx", batch);
}

static json_t *changed(json_t *command, const char *name, json_t *value)
{
    json_object_set_new(command, name, value);
    return command;
}

static void refusals_carry_the_reason(void **context)
{
    (void)context;
    refused(with_option(linear(1), "speed", "9"), ERROR_USAGE, "no option 'speed'", "pinning");
    refused(with_option(linear(1), "pinning", "yes"), ERROR_USAGE, "on or off, not 'yes'", NULL);
    refused(with_option(linear(1), "streams", "0"), ERROR_USAGE, "streams", NULL);
    refused(with_option(linear(1), "device", "GPU.1"), ERROR_USAGE, "provider CPU", NULL);
    refused(with_option(linear(1), "ov.NO_SUCH", "1"), ERROR_UNSUPPORTED, "NO_SUCH", NULL);
    refused(with_option(linear(1), "ov.INFERENCE_PRECISION_HINT", "bf16"), ERROR_USAGE,
            "sets it itself", "--precision");
    refused(with_option(linear(1), "ov.KV_CACHE_PRECISION", "u8"), ERROR_USAGE, "sets it itself",
            "--precision");
    refused(with_option(linear(1), "ov.KEY_CACHE_PRECISION", "u8"), ERROR_USAGE, "precision", NULL);
    refused(changed(linear(1), "spin", json_string("200")), ERROR_UNSUPPORTED, "spin", "default");
    refused(changed(linear(1), "precision", json_string("bf16")), ERROR_USAGE, "bf16", NULL);
    refused(changed(linear(1), "library", json_string("")), ERROR_USAGE, "library", "install");
    refused(changed(linear(1), "library", json_string("/no/such.so")), ERROR_UNSUPPORTED,
            "/no/such.so", NULL);
    refused(load_command("openvino", "no_such.onnx", 1), ERROR_IO, "no_such.onnx", NULL);
    refused(load_command("openvino", "broken.onnx", 1), ERROR_UNSUPPORTED, "broken.onnx", NULL);
}

static void absent_devices(void **context)
{
    (void)context;
    const char *const devices[] = {"gpu", "npu"};
    for (size_t i = 0; i < 2; i++) {
        json_t *reply;
        struct worker *w = start(json_object());
        int code = call(w, changed(linear(1), "provider", json_string(devices[i])), &reply);
        if (code)
            assert_non_null(strstr(err.text, "CPU")); /* the list of what is there */
        else
            json_decref(reply);
        worker_free(w);
    }
}

static void shapes_that_do_not_fit(void **context)
{
    (void)context;
    json_t *none = load_command("openvino", "lookup.onnx", 2);
    refused(none, ERROR_USAGE, "input 'ids' has no size for axis 1", "--shape ids=");
    refused(changed(linear(1), "shapes", json_pack("{s:[i,i]}", "z", 1, 8)), ERROR_USAGE, "'z'",
            NULL);
    refused(changed(linear(1), "shapes", json_pack("{s:[i]}", "x", 8)), ERROR_USAGE, "rank 1",
            NULL);
    refused(changed(linear(1), "shapes", json_pack("{s:[i,i]}", "x", 1, 9)), ERROR_USAGE, "axis 1",
            NULL);
    refused(load_command("openvino", "fixed.onnx", 4), ERROR_UNSUPPORTED, "batch 4", NULL);
    json_t *both = changed(load_command("openvino", "fixed.onnx", 2), "shapes",
                           json_pack("{s:[i,i]}", "x", 2, 8));
    struct worker *w = start(json_object());
    json_decref(must(w, both));
    worker_free(w);
}

static void window_is_silent(void **context)
{
    (void)context;
    const float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    const void *data[] = {x};
    struct worker *w = start(probe_environment());
    json_decref(must(w, linear(1)));
    give(w, data, (size_t[]){sizeof x}, 1);
    json_decref(must(w, json_pack("{s:s}", "op", "first")));
    json_decref(must(w, json_pack("{s:s,s:i,s:i}", "op", "warmup", "min_runs", RUNS, "max_ns",
                                  2000000000)));
    json_decref(must(w, json_pack("{s:s,s:i,s:I}", "op", "window", "min_runs", RUNS, "max_ns",
                                  PATIENCE_NS)));
    json_t *reply = must(w, json_pack("{s:s}", "op", "go"));
    assert_int_equal(json_integer_value(json_object_get(reply, "runs")), RUNS);
    json_decref(reply);
    worker_free(w);
    struct probe_counts c = probe_take();
    print_message("in %d runs: %llu allocations in C, %llu in C++\n", RUNS, c.allocations,
                  c.cxx_allocations);
    assert_int_equal(c.maps, 0);
    assert_int_equal(c.reads, 0);
    assert_int_equal(c.writes, 0);
}

/* --- set up ----------------------------------------------------------------------------------- */

static int setup(void **context)
{
    char path[256];
    if (probe_setup(context))
        return -1;
    write_linear("linear.onnx", "N");
    write_linear("fixed.onnx", "2");
    write_lookup("lookup.onnx");
    write_unary("from_f16.onnx", "Cast", DTYPE_F16, DTYPE_F32);
    write_unary("from_bf16.onnx", "Cast", DTYPE_BF16, DTYPE_F32);
    write_unary("from_u8.onnx", "Cast", DTYPE_U8, DTYPE_F32);
    write_unary("from_bool.onnx", "Cast", DTYPE_BOOL, DTYPE_F32);
    write_unary("from_f64.onnx", "Cast", DTYPE_F64, DTYPE_F32);
    write_unary("nonzero.onnx", "NonZero", DTYPE_F32, DTYPE_I64);
    write_unary("identity.onnx", "Identity", DTYPE_F32, DTYPE_F32);
    write_unary("relu.onnx", "Relu", DTYPE_F32, DTYPE_F32);
    FILE *f = fopen(path_of("broken.onnx", path), "wb");
    return !f || fputs("not a model", f) < 0 || fclose(f);
}

static int teardown(void **context)
{
    char pattern[256];
    glob_t found;
    if (!glob(path_of("*.onnx", pattern), 0, NULL, &found)) {
        for (size_t i = 0; i < found.gl_pathc; i++)
            unlink(found.gl_pathv[i]);
        globfree(&found);
    }
    return probe_teardown(context);
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "worker"))
        return worker_child_main();
#ifdef __SANITIZE_ADDRESS__
    printf("skipped: OpenVINO loads TBB with RTLD_DEEPBIND, which AddressSanitizer refuses\n");
    return SKIPPED;
#endif
    installed_library("WATTLE_TEST_OPENVINO", "openvino", library);
    if (!*library) {
        printf("skipped: no OpenVINO in $WATTLE_HOME/runtimes, nor $WATTLE_TEST_OPENVINO\n");
        return SKIPPED;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_are_the_references),
        cmocka_unit_test(inputs_of_several_types),
        cmocka_unit_test(types_are_named_as_they_are),
        cmocka_unit_test(output_of_unknown_size),
        cmocka_unit_test(names_of_the_graph),
        cmocka_unit_test(formats_besides_onnx),
        cmocka_unit_test(settings_are_read_back),
        cmocka_unit_test(options_reach_openvino),
        cmocka_unit_test(threads_beyond_the_mask_are_flagged),
        cmocka_unit_test(refusals_carry_the_reason),
        cmocka_unit_test(absent_devices),
        cmocka_unit_test(shapes_that_do_not_fit),
        cmocka_unit_test(window_is_silent),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
