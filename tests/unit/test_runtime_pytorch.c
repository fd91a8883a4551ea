/* PyTorch as a runtime, in a worker: outputs against its own eager mode, settings as they really
 * are, and errors with their reason. Needs a library: WATTLE_TEST_PYTORCH names it, or one is
 * installed below $WATTLE_HOME/runtimes; its Python makes a model first, which takes a compiler
 * half a minute. */
#include "test.h"

#include "base/clock.h"
#include "base/file.h"
#include "runtime/adapters.h"
#include "runtime/found.h"
#include "runtime/pytorch_shim.h"
#include "worker/worker.h"

#include "installed.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_NS (120 * NS_PER_S)
enum { BATCH = 4, WIDTH = 64, CLASSES = 32 };
enum { INPUT_BYTES = BATCH * WIDTH * 4, OUTPUT = BATCH * CLASSES };

static struct error err;
static char library[PATH_MAX], folder[64];
static uint8_t x[INPUT_BYTES];
static float wanted[2][OUTPUT];

/* --- a worker --------------------------------------------------------------------------------- */

static json_t *ask(struct worker *w, json_t *command)
{
    json_t *reply;
    if (worker_call(w, command, PATIENCE_NS, &reply, &err))
        fail_msg("%s", err.text);
    return reply;
}

static void done(struct worker *w, json_t *command)
{
    json_decref(ask(w, command));
}

static struct worker *start(const char *variant, int threads)
{
    struct worker *w;
    struct adapter_request r = {.library = library, .variant = variant, .provider = "cpu",
                                .provider_library = "", .spin = "off", .threads = threads};
    struct adapter_environment environment = {json_object()};
    assert_int_equal(adapter_pytorch.environment(&r, &environment, &err), 0);
    struct worker_spec spec = {.environment = environment.variables};
    assert_int_equal(worker_start(&spec, &w, &err), 0);
    json_decref(environment.variables);
    return w;
}

/* A NULL input: the file tells its own. */
static json_t *load_command(const char *variant, const char *file, int threads, const char *input)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    json_t *command = json_pack("{s:s,s:s,s:s,s:s,s:s,s:i,s:i,s:s,s:{}}", "op", "load", "runtime",
                                "pytorch", "variant", variant, "library", library, "model", path,
                                "threads", threads, "batch", BATCH, "spin", "off", "options");
    if (input)
        json_object_set_new(command, "shapes", json_pack("{s:[i,i]}", input, BATCH, WIDTH));
    return command;
}

static const char *text_of(json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "none";
}

static void give_input(struct worker *w)
{
    uint8_t *data;
    assert_int_equal(worker_tensors(w, INPUT_BYTES, &data, &err), 0);
    memcpy(data, x, INPUT_BYTES);
    done(w, json_pack("{s:s,s:i,s:i,s:[{s:i,s:i}]}", "op", "inputs", "sets", 1, "set_bytes",
                      INPUT_BYTES, "tensors", "offset", 0, "bytes", INPUT_BYTES));
}

static void check_outputs(struct worker *w)
{
    uint8_t *data;
    json_t *reply = ask(w, json_pack("{s:s,s:i,s:i,s:i}", "op", "outputs", "set", 0, "offset",
                                     INPUT_BYTES, "limit", 1 << 20));
    for (size_t k = 0; k < 2; k++) {
        json_t *output = json_array_get(json_object_get(reply, "outputs"), k);
        size_t offset = (size_t)json_integer_value(json_object_get(output, "offset"));
        assert_int_equal(json_integer_value(json_object_get(output, "bytes")), sizeof wanted[k]);
        assert_int_equal(json_integer_value(json_array_get(json_object_get(output, "shape"), 0)),
                         k ? CLASSES : BATCH);
        assert_int_equal(worker_tensors(w, offset + sizeof wanted[k], &data, &err), 0);
        const float *got = (const float *)(const void *)(data + offset);
        for (int i = 0; i < OUTPUT; i++)
            if (!(fabsf(got[i] - wanted[k][i]) <= 1e-5f))
                fail_msg("output %zu, element %d: %.8g, not %.8g", k, i, (double)got[i],
                         (double)wanted[k][i]);
    }
    json_decref(reply);
}

static void check(const char *variant, const char *file, int threads, const char *input)
{
    struct worker *w = start(variant, threads);
    json_t *reply = ask(w, load_command(variant, file, threads, input));
    json_t *settings = json_object_get(reply, "settings");
    assert_int_equal(json_integer_value(json_object_get(settings, "threads")), threads);
    assert_int_equal(json_integer_value(json_object_get(settings, "inter_op_threads")), 1);
    assert_string_equal(text_of(settings, "denormals"), "kept");
    assert_true(json_is_false(json_object_get(settings, "gradients")));
    assert_string_equal(text_of(settings, "GOMP_SPINCOUNT"), "0");
    assert_string_equal(text_of(settings, "variant"), variant);
    give_input(w);
    check_outputs(w);
    json_decref(reply);
    done(w, json_pack("{s:s,s:i,s:I}", "op", "warmup", "min_runs", 50, "max_ns",
                      (json_int_t)NS_PER_S));
    check_outputs(w);
    worker_free(w);
}

static void refuse(json_t *command, const char *variant, int code, const char *part)
{
    struct worker *w = start(variant, 1);
    json_t *reply;
    int got = worker_call(w, command, PATIENCE_NS, &reply, &err);
    if (got != code || !strstr(err.text, part))
        fail_msg("%s, '%s': not %s with '%s'", error_code_name((enum error_code)got),
                 got ? err.text : "", error_code_name((enum error_code)code), part);
    worker_free(w);
}

/* --- tests ------------------------------------------------------------------------------------ */

/* The second output is a transposed view: not in rows. */
static void outputs_equal_eager(void **context)
{
    (void)context;
    for (int threads = 1; threads <= 2; threads++) {
        check("aoti", "told.pt2", threads, NULL);
        check("aoti", "net.pt2", threads, "arg2_1");
        check("torchscript", "net.pt", threads, "x");
        check("torchscript-frozen", "net.pt", threads, "x");
        check("torchscript-optimized", "net.pt", threads, "x");
    }
}

static void packages_settings(void **context)
{
    (void)context;
    struct worker *w = start("aoti", 1);
    json_t *reply = ask(w, load_command("aoti", "told.pt2", 1, NULL));
    json_t *settings = json_object_get(reply, "settings");
    assert_string_equal(text_of(settings, "isa"), "AVX2");
    assert_string_equal(text_of(settings, "input_checks"), "off"); /* the description has them */
    assert_string_equal(text_of(settings, "weights"), "in the program");
    assert_string_equal(text_of(settings, "model_how"), "by a test");
    const char *checked = text_of(settings, "code_check");
    assert_true(!strcmp(checked, "no AVX-512") || !strcmp(checked, "no need"));
    json_t *input = json_array_get(json_object_get(reply, "inputs"), 0);
    assert_string_equal(text_of(input, "name"), "x");
    json_decref(reply);
    worker_free(w);
}

static json_t *with_shape(json_t *command, const char *input, int rows, int columns,
                          const char *type)
{
    json_object_set_new(command, "shapes", json_pack("{s:[i,i]}", input, rows, columns));
    if (type)
        json_object_set_new(command, "types", json_pack("{s:s}", input, type));
    return command;
}

static void refusals_carry_the_reason(void **context)
{
    (void)context;
    refuse(load_command("aoti", "other.pt2", 1, NULL), "aoti", ERROR_UNSUPPORTED,
           "built for AVX1024, and this CPU has no AVX1024");
    refuse(load_command("aoti", "net.pt2", 1, NULL), "aoti", ERROR_USAGE, "its inputs: arg");
    refuse(load_command("aoti", "net.pt", 1, NULL), "aoti", ERROR_UNSUPPORTED,
           "no ahead-of-time compiled code");
    refuse(with_shape(load_command("aoti", "net.pt2", 1, NULL), "arg2_1", BATCH, 60, NULL), "aoti",
           ERROR_UNSUPPORTED, "unmatched dim value at 1, expected: 64, but got: 60");
    refuse(with_shape(load_command("aoti", "told.pt2", 1, NULL), "x", BATCH, 60, NULL), "aoti",
           ERROR_UNSUPPORTED, "input 'x' cannot have the shape");
    refuse(with_shape(load_command("torchscript", "net.pt", 1, NULL), "x", BATCH, 60, NULL),
           "torchscript", ERROR_UNSUPPORTED, "mat1 and mat2 shapes cannot be multiplied");
    refuse(load_command("torchscript", "net.pt2", 1, "x"), "torchscript", ERROR_UNSUPPORTED,
           "cannot load");
    json_t *cuda = load_command("torchscript", "net.pt", 1, "x");
    json_object_set_new(cuda, "provider", json_string("cuda"));
    if (!strstr(library, "cuda"))
        refuse(cuda, "torchscript", ERROR_UNSUPPORTED, "provider cuda: ");
    else
        json_decref(cuda);
}

static void types_are_checked(void **context)
{
    (void)context;
    struct worker *w = start("aoti", 1);
    json_t *reply;
    json_t *command = with_shape(load_command("aoti", "net.pt2", 1, NULL), "arg2_1", BATCH, WIDTH,
                                 "int64");
    int code = worker_call(w, command, PATIENCE_NS, &reply, &err);
    if (code != ERROR_UNSUPPORTED || !strstr(err.text, "unmatched dtype"))
        fail_msg("%d: %s", code, err.text);
    worker_free(w);
}

static void window_is_silent(void **context)
{
    (void)context;
    struct worker *w = start("aoti", 2);
    done(w, load_command("aoti", "told.pt2", 2, NULL));
    give_input(w);
    done(w, json_pack("{s:s,s:i,s:I}", "op", "warmup", "min_runs", 50, "max_ns",
                      (json_int_t)NS_PER_S));
    json_t *reply = ask(w, json_pack("{s:s,s:i,s:I}", "op", "window", "min_runs", 200, "max_ns",
                                     (json_int_t)NS_PER_S));
    json_decref(reply);
    reply = ask(w, json_pack("{s:s}", "op", "go"));
    assert_true(json_integer_value(json_object_get(reply, "runs")) >= 200);
    assert_true(json_integer_value(json_object_get(reply, "rss_peak_bytes")) > 50 << 20);
    json_decref(reply);
    worker_free(w);
}

/* --- set up ----------------------------------------------------------------------------------- */

static int read_file(const char *name, void *bytes, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(bytes, 1, size, f) : 0;
    if (f)
        fclose(f);
    return n == size ? 0 : -1;
}

/* The models and the shim at the same time. */
static int setup(void **context)
{
    (void)context;
    char command[3 * PATH_MAX], python[PATH_MAX], site[PATH_MAX], shim[PATH_MAX];
    snprintf(folder, sizeof folder, "/tmp/wattle-torch-XXXXXX");
    if (!mkdtemp(folder) || found_python(library, python, site, &err))
        return -1;
    setenv("WATTLE_HOME", folder, 1);
    setenv("TORCHINDUCTOR_CACHE_DIR", folder, 1);
    if (site[0])
        setenv("PYTHONPATH", site, 1);
    snprintf(command, sizeof command, "'%s' -W ignore tests/tools/make_torch.py %s 2>&1", python,
             folder);
    FILE *maker = popen(command, "r");
    int failed = pytorch_shim(library, shim, NULL, NULL, NULL, &err);
    if (failed)
        print_message("%s\n", err.text);
    char line[256];
    while (maker && fgets(line, sizeof line, maker))
        print_message("%s", line);
    failed |= !maker || pclose(maker);
    return failed || read_file("x.bin", x, sizeof x) ||
                   read_file("y0.bin", wanted[0], sizeof wanted[0]) ||
                   read_file("y1.bin", wanted[1], sizeof wanted[1])
               ? -1
               : 0;
}

static int teardown(void **context)
{
    (void)context;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "worker"))
        return worker_child_main();
    installed_library("WATTLE_TEST_PYTORCH", "pytorch", library);
    if (!library[0]) {
        puts("no PyTorch: `wattle runtimes install pytorch` makes one for these tests");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_equal_eager),
        cmocka_unit_test(packages_settings),
        cmocka_unit_test(refusals_carry_the_reason),
        cmocka_unit_test(types_are_checked),
        cmocka_unit_test(window_is_silent),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
