/* The built-in engine as a runtime, in a worker: what it asks of the environment, what it reports,
 * and that nothing of ours allocates, reads or writes inside the window. */
#include "test.h"

#include "base/clock.h"
#include "model/zoo.h"
#include "runtime/adapters.h"
#include "worker/worker.h"

#include "window_probe.h"

#include <string.h>
#include <sys/stat.h>

#define PATIENCE_NS (120 * NS_PER_S)
enum { INPUT_BYTES = 3 * 224 * 224 * 4, OUTPUT_CLASSES = 1000, RUNS = 10 };

static struct error err;
static char model_path[PATH_MAX];

static const char *variable(json_t *variables, const char *name)
{
    const char *value = json_string_value(json_object_get(variables, name));
    return value ? value : "unset";
}

static int environment_for(const char *spin, json_t **variables)
{
    struct adapter_request r = {.spin = spin, .threads = 3};
    struct adapter_environment environment = {.variables = json_object()};
    int code = adapter_builtin.environment(&r, &environment, &err);
    *variables = environment.variables;
    return code;
}

static void environment_by_spin(void **context)
{
    (void)context;
    const struct {
        const char *spin, *policy, *count;
    } cases[] = {{"short", "passive", NULL}, {"default", "unset", "unset"}, {"1000", "passive", NULL},
                 {"off", "passive", "0"}};
    long counts[4] = {0};
    for (size_t i = 0; i < 4; i++) {
        json_t *variables;
        assert_int_equal(environment_for(cases[i].spin, &variables), 0);
        assert_string_equal(variable(variables, "OMP_NUM_THREADS"), "3");
        assert_string_equal(variable(variables, "OMP_DYNAMIC"), "false");
        assert_string_equal(variable(variables, "OMP_WAIT_POLICY"), cases[i].policy);
        if (cases[i].count)
            assert_string_equal(variable(variables, "GOMP_SPINCOUNT"), cases[i].count);
        else
            counts[i] = strtol(variable(variables, "GOMP_SPINCOUNT"), NULL, 10);
        json_decref(variables);
    }
    assert_true(counts[0] > 0 && counts[0] < counts[2]);
    const char *const bad[] = {"on", "-1", "2000000", ""};
    for (size_t i = 0; i < 4; i++) {
        json_t *variables;
        assert_int_equal(environment_for(bad[i], &variables), ERROR_USAGE);
        json_decref(variables);
    }
}

static int call(struct worker *w, json_t *command, json_t **reply)
{
    return worker_call(w, command, PATIENCE_NS, reply, &err);
}

static void done(struct worker *w, json_t *command)
{
    json_t *reply;
    if (call(w, command, &reply))
        fail_msg("%s", err.text);
    json_decref(reply);
}

static json_t *load_command(const char *path, int batch, json_t *options)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:i,s:i,s:{s:i},s:o}", "op", "load", "runtime", "builtin",
                     "provider", "cpu", "model", path, "threads", 2, "batch", batch, "dims", "N",
                     batch, "options", options);
}

static struct worker *start(json_t *extra)
{
    struct worker *w;
    json_t *variables;
    assert_int_equal(environment_for("off", &variables), 0);
    json_object_update(variables, extra);
    json_decref(extra);
    struct worker_spec spec = {.environment = variables};
    assert_int_equal(worker_start(&spec, &w, &err), 0);
    json_decref(variables);
    return w;
}

static void refusals_carry_the_reason(void **context)
{
    (void)context;
    struct worker *w = start(json_object());
    json_t *reply;
    assert_true(call(w, load_command("/no/such.onnx", 1, json_object()), &reply));
    assert_non_null(strstr(err.text, "/no/such.onnx"));
    assert_int_equal(call(w, load_command(model_path, 1, json_pack("{s:s}", "tuning", "perhaps")),
                          &reply), ERROR_USAGE);
    assert_int_equal(call(w, load_command(model_path, 1, json_pack("{s:s}", "speed", "9")), &reply),
                     ERROR_USAGE);
    assert_non_null(strstr(err.hint, "tuning, memory_limit_bytes"));
    assert_int_equal(call(w, load_command(model_path, 1, json_pack("{s:s}", "memory_limit_bytes",
                                                                   "1000")), &reply), ERROR_MEMORY);
    worker_free(w);
}

/* "batch" says 4 but "dims" does not carry it to the model. */
static void batch_that_reaches_nothing(void **context)
{
    (void)context;
    struct worker *w = start(json_object());
    json_t *reply, *command = load_command(model_path, 4, json_pack("{s:s}", "tuning", "off"));
    json_object_set_new(command, "dims", json_object());
    assert_int_equal(call(w, command, &reply), ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "batch 4"));
    worker_free(w);
}

static void give_inputs(struct worker *w)
{
    uint8_t *data;
    assert_int_equal(worker_tensors(w, 2 * INPUT_BYTES, &data, &err), 0);
    for (size_t i = 0; i < 2 * INPUT_BYTES / sizeof(float); i++)
        ((float *)(void *)data)[i] = (float)(i * 2654435761u % 1000) / 500 - 1;
    done(w, json_pack("{s:s,s:i,s:i,s:[{s:i,s:i}]}", "op", "inputs", "sets", 2, "set_bytes",
                      INPUT_BYTES, "tensors", "offset", 0, "bytes", INPUT_BYTES));
}

static unsigned long long check_loaded(json_t *reply)
{
    json_t *settings = json_object_get(reply, "settings");
    assert_int_equal(json_integer_value(json_object_get(settings, "threads")), 2);
    assert_string_equal(variable(settings, "provider"), "cpu");
    assert_string_equal(variable(settings, "OMP_WAIT_POLICY"), "passive");
    assert_string_equal(variable(settings, "denormals"), "kept");
    assert_true(json_integer_value(json_object_get(settings, "steps")) > 0);
    assert_true(json_integer_value(json_object_get(settings, "arena_bytes")) > 0);
    json_t *input = json_array_get(json_object_get(reply, "inputs"), 0);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(input, "shape"), 2)), 224);
    return (unsigned long long)json_integer_value(json_object_get(settings, "steps"));
}

static void window_is_silent(void **context)
{
    (void)context;
    json_t *watched = json_object();
#ifndef __SANITIZE_ADDRESS__ /* which replaces malloc itself */
    json_decref(watched);
    watched = probe_environment();
#endif
    struct worker *w = start(watched);
    json_t *reply;
    if (call(w, load_command(model_path, 1, json_pack("{s:s}", "tuning", "off")), &reply))
        fail_msg("%s", err.text);
    unsigned long long steps = check_loaded(reply);
    (void)steps;
    json_decref(reply);
    give_inputs(w);
    done(w, json_pack("{s:s}", "op", "first"));
    done(w, json_pack("{s:s,s:i,s:i}", "op", "warmup", "min_runs", 3, "max_ns", 2000000000));
    done(w, json_pack("{s:s,s:i,s:I}", "op", "window", "min_runs", RUNS, "max_ns", PATIENCE_NS));
    if (call(w, json_pack("{s:s}", "op", "go"), &reply))
        fail_msg("%s", err.text);
    assert_int_equal(json_integer_value(json_object_get(reply, "runs")), RUNS);
    assert_true(json_integer_value(json_object_get(reply, "user_ns")) > 0);
    json_decref(reply);
    worker_free(w);
#ifndef __SANITIZE_ADDRESS__
    struct probe_counts c = probe_take();
    assert_int_equal(c.allocations, 0);
    /* oneDNN's C interface builds small hash maps of a primitive's arguments each time it executes
     * one. They are part of that library's cost; more than a handful each would be news. */
    assert_in_range(c.cxx_allocations, 0, 10ull * RUNS * steps);
    assert_int_equal(c.maps, 0);
    assert_int_equal(c.reads, 0);
    assert_int_equal(c.writes, 0);
#endif
}

static void outputs_come_back(void **context)
{
    (void)context;
    struct worker *w = start(json_object());
    json_t *reply;
    done(w, load_command(model_path, 1, json_pack("{s:s}", "tuning", "off")));
    give_inputs(w);
    assert_int_equal(call(w, json_pack("{s:s,s:i,s:i,s:i}", "op", "outputs", "set", 1, "offset",
                                       2 * INPUT_BYTES, "limit", 1 << 20), &reply), 0);
    json_t *output = json_array_get(json_object_get(reply, "outputs"), 0);
    size_t offset = (size_t)json_integer_value(json_object_get(output, "offset"));
    assert_int_equal(json_integer_value(json_object_get(output, "bytes")), OUTPUT_CLASSES * 4);
    uint8_t *data;
    assert_int_equal(worker_tensors(w, offset + OUTPUT_CLASSES * 4, &data, &err), 0);
    const float *y = (const float *)(void *)(data + offset);
    int different = 0;
    for (int i = 1; i < OUTPUT_CLASSES; i++) {
        assert_true(y[i] > -1e6f && y[i] < 1e6f); /* also not NaN */
        different += y[i] != y[i - 1];
    }
    assert_true(different > OUTPUT_CLASSES / 2);
    json_decref(reply);
    worker_free(w);
}

static int setup(void **context)
{
    if (probe_setup(context))
        return -1;
    setenv("WATTLE_HOME", probe_folder, 1);
    return zoo_build(zoo_find("mobilenet_v2"), model_path, &err);
}

static int teardown(void **context)
{
    char folder[128];
    snprintf(folder, sizeof folder, "%s/models", probe_folder);
    unlink(model_path);
    rmdir(folder);
    return probe_teardown(context);
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "worker"))
        return worker_child_main();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(environment_by_spin),
        cmocka_unit_test(refusals_carry_the_reason),
        cmocka_unit_test(batch_that_reaches_nothing),
        cmocka_unit_test(window_is_silent),
        cmocka_unit_test(outputs_come_back),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
