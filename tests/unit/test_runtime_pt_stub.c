/* The PyTorch adapter with a stand-in for the library: every function's failure, packages that are
 * none or that lie, code for other CPUs, a device this machine has not. */
#include "test.h"

#include "runtime/adapters.h"
#include "runtime/pt_api.h"
#include "runtime/pt_isa.h"
#include "runtime/pt_package.h"
#include "runtime/pytorch_shim.h"

#include "pt_fake.h"

#include <dlfcn.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

static struct error err;
static long *live, *copies;
static char lacking[192], other[192]; /* other: the same library in another folder */

/* --- a request and its way through the adapter ------------------------------------------------ */

struct trip {
    struct adapter_request request;
    struct adapter_shape shape;
    struct adapter_loaded loaded;
    void *state;
    int code;        /* of the step that failed, or 0 */
    float y[6], z[6];
    struct adapter_tensor told;
};

static const float x[6] = {1, 2, 3, 4, 5, 6};

static void prepare(struct trip *t)
{
    *t = (struct trip){
        .request = {.model = pt_path, .library = pt_library, .provider_library = "",
                    .variant = "aoti", .provider = "cpu", .precision = "f32", .spin = "off",
                    .threads = 2, .batch = 2}};
}

static void ask(struct trip *t, const char *name, const char *type, int rows)
{
    t->shape = (struct adapter_shape){.name = name, .type = type, .rank = 2, .dims = {rows, 3}};
    t->request.shapes = &t->shape;
    t->request.shape_count = 1;
}

static void load(struct trip *t)
{
    err = (struct error){0};
    t->code = adapter_pytorch.load(&t->request, &t->state, &t->loaded, &err);
}

static void leave(struct trip *t)
{
    if (!t->code || t->state)
        adapter_pytorch.unload(t->state);
    json_decref(t->request.options);
    assert_int_equal(*live, 0);
}

static void run_once(struct trip *t)
{
    const void *data[] = {x};
    t->code = adapter_pytorch.bind(t->state, data, &err);
    if (!t->code)
        t->code = adapter_pytorch.run(t->state, &err);
    const void *y = t->code ? NULL : adapter_pytorch.output(t->state, 0, &t->told);
    if (y && t->told.bytes == sizeof t->y)
        memcpy(t->y, y, sizeof t->y);
    const void *z = y ? adapter_pytorch.output(t->state, 1, &t->told) : NULL;
    if (z)
        memcpy(t->z, z, sizeof t->z);
    else if (!t->code)
        t->code = -1;
}

/* Load, bind, run and output; y and z are what came out. */
static void travel(struct trip *t)
{
    load(t);
    if (!t->code)
        run_once(t);
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

static void right(const struct trip *t)
{
    if (t->code)
        fail_msg("%s", err.text);
    for (int i = 0; i < 6; i++) {
        assert_true(t->y[i] == 2 * x[i]);
        assert_true(t->z[i] == x[i] + 1);
    }
}

static const char *word(const struct trip *t, const char *name)
{
    const char *text = json_string_value(json_object_get(t->loaded.settings, name));
    return text ? text : "";
}

static json_int_t number(const struct trip *t, const char *name)
{
    return json_integer_value(json_object_get(t->loaded.settings, name));
}

static void load_refused(int code, const char *part)
{
    struct trip t;
    prepare(&t);
    load(&t);
    refused(&t, code, part);
    leave(&t);
}

/* --- what works ------------------------------------------------------------------------------- */

static void described(void **context)
{
    (void)context;
    struct trip t;
    assert_int_equal(pt_package(PT_META, PT_DESCRIPTION), 0);
    prepare(&t);
    travel(&t);
    right(&t);
    assert_string_equal(t.loaded.version, "2.13.0");
    assert_string_equal(t.loaded.provider, "cpu");
    assert_string_equal(t.loaded.inputs[0].name, "x");
    assert_string_equal(t.loaded.inputs[0].type, "float32");
    assert_int_equal(t.loaded.inputs[0].bytes, 24);
    assert_string_equal(t.loaded.outputs[1].name, "z");
    assert_int_equal(t.loaded.outputs[0].bytes, 24);
    assert_int_equal(t.loaded.outputs[1].bytes, 0); /* open until it ran */
    assert_int_equal(t.told.bytes, 24);
    assert_int_equal(number(&t, "threads"), 2);
    assert_int_equal(number(&t, "inter_op_threads"), 1);
    assert_string_equal(word(&t, "denormals"), "kept");
    assert_string_equal(word(&t, "weights"), "in the program");
    assert_string_equal(word(&t, "model_how"), "by hand");
    assert_string_equal(word(&t, "input_checks"), "off"); /* compared with the description */
    assert_string_equal(getenv("AOTI_RUNTIME_CHECK_INPUTS"), "0");
    assert_true(json_is_false(json_object_get(t.loaded.settings, "gradients")));
    assert_true(json_is_false(json_object_get(t.loaded.settings, "trial_run")));
    for (int i = 0; i < 3; i++)
        run_once(&t); /* the last run's outputs are gone */
    right(&t);
    assert_null(adapter_pytorch.output(t.state, 2, &t.told));
    leave(&t);
}

static void by_somebody_else(void **context)
{
    (void)context;
    struct trip t;
    assert_int_equal(pt_package(PT_META, NULL), 0);
    load_refused(ERROR_USAGE, "input 'arg0_1' (its inputs: arg0_1)");
    assert_non_null(strstr(err.hint, "--shape arg0_1="));
    prepare(&t);
    ask(&t, "x", "", 2);
    load(&t);
    refused(&t, ERROR_USAGE, "no input 'x' (its inputs: arg0_1)");
    leave(&t);
    prepare(&t);
    ask(&t, "arg0_1", "", 2);
    travel(&t);
    right(&t);
    assert_string_equal(t.loaded.outputs[1].name, "output1");
    assert_int_equal(t.loaded.outputs[1].bytes, 24); /* a trial told */
    assert_string_equal(word(&t, "input_checks"), "on");
    assert_string_equal(getenv("AOTI_RUNTIME_CHECK_INPUTS"), "1");
    assert_true(json_is_true(json_object_get(t.loaded.settings, "trial_run")));
    leave(&t);
    prepare(&t);
    ask(&t, "arg0_1", "complex64", 2);
    load(&t);
    refused(&t, ERROR_UNSUPPORTED, "element type 'complex64'");
    leave(&t);
    prepare(&t);
    ask(&t, "arg0_1", "uint16", 2); /* a type this PyTorch has not */
    load(&t);
    refused(&t, ERROR_UNSUPPORTED, "element type 'uint16'");
    leave(&t);
    set("FAKE_TORCH_TYPE", "99");
    prepare(&t);
    ask(&t, "arg0_1", "float32", 2);
    load(&t);
    refused(&t, ERROR_UNSUPPORTED, "element type 99");
    leave(&t);
    set("FAKE_TORCH_TYPE", NULL);
}

static void outputs_not_in_rows(void **context)
{
    (void)context;
    struct trip t;
    assert_int_equal(pt_package(PT_META, PT_DESCRIPTION), 0);
    set("FAKE_TORCH_STRIDED", "1");
    prepare(&t);
    travel(&t);
    right(&t);
    long before = *copies;
    assert_non_null(adapter_pytorch.output(t.state, 0, &t.told)); /* copied once a run */
    assert_int_equal(*copies, before);
    leave(&t);
    set("FAKE_TORCH_STRIDED", NULL);
}

static void shapes_asked_for(void **context)
{
    (void)context;
    const struct {
        const char *shape;
        int rows, batch, code;
        const char *part;
    } cases[] = {
        {"[2,3]", 2, 2, 0, ""},
        {"[2,3]", 4, 4, ERROR_UNSUPPORTED, "input 'x' cannot have the shape"},
        {"[2,3]", 0, 4, ERROR_UNSUPPORTED, "batch 4"},
        {"[2,3]", 0, 1, 0, ""},
        {"[null,3]", 0, 2, 0, ""},
        {"[null,3]", 2, 2, 0, ""},
        {"[null,3]", 4, 2, ERROR_UNSUPPORTED, "batch 2"},
        {"[null,null]", 0, 2, ERROR_USAGE, "size 1 of input 'x' is open"},
        {"[null,null]", 2, 2, 0, ""},
        {"[-1,3]", 0, 2, ERROR_FORMAT, "input 0 has a size"},
        {"[1e3,3]", 0, 2, ERROR_FORMAT, "input 0 has a size"},
        {"[2147483648,3]", 0, 2, ERROR_FORMAT, "input 0 has a size"},
        {"[2147483647,2147483647,2147483647]", 0, 2, ERROR_MEMORY, "more bytes than"},
        {"[1,1,1,1,1,1,1,1,1]", 0, 2, ERROR_FORMAT, "no shape of at most"},
        {"{}", 0, 2, ERROR_FORMAT, "no shape of at most"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        struct trip t;
        snprintf(text, sizeof text, "{\"inputs\":[{\"name\":\"x\",\"type\":\"float32\",\"shape\":%s"
                 "}],\"outputs\":[{\"name\":\"y\",\"type\":\"float32\",\"shape\":[2,3]},"
                 "{\"name\":\"z\",\"type\":\"float32\",\"shape\":[]}]}", cases[i].shape);
        assert_int_equal(pt_package(PT_META, text), 0);
        prepare(&t);
        t.request.batch = cases[i].batch;
        if (cases[i].rows)
            ask(&t, "x", "float32", cases[i].rows);
        travel(&t);
        if (cases[i].code)
            refused(&t, cases[i].code, cases[i].part);
        else
            right(&t);
        leave(&t);
    }
}

#define RANGED(range)                                                                              \
    "{\"inputs\":[{\"name\":\"x\",\"type\":\"float32\",\"shape\":[2,3],\"range\":" range "}],"            \
    "\"outputs\":[{\"name\":\"y\",\"type\":\"float32\",\"shape\":[2,3]},"                              \
    "{\"name\":\"z\",\"type\":\"float32\",\"shape\":[null,3]}]}"

/* Without it wattle makes up no integers. */
static void ranges_of_the_description(void **context)
{
    (void)context;
    struct trip t;
    assert_int_equal(pt_package(PT_META, RANGED("[-2,7]")), 0);
    prepare(&t);
    load(&t);
    assert_int_equal(t.code, 0);
    assert_non_null(t.loaded.inputs[0].range);
    assert_float_equal(t.loaded.inputs[0].range[0], -2, 0);
    assert_float_equal(t.loaded.inputs[0].range[1], 7, 0);
    leave(&t);
    assert_int_equal(pt_package(PT_META, RANGED("null")), 0);
    prepare(&t);
    load(&t);
    assert_int_equal(t.code, 0);
    assert_null(t.loaded.inputs[0].range);
    leave(&t);
    static const char *const bad[] = {RANGED("[7,-2]"), RANGED("[7]"), RANGED("7"), RANGED("{}"),
                                      RANGED("[0,\"9\"]")};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(pt_package(PT_META, bad[i]), 0);
        load_refused(ERROR_FORMAT, "input 0 has a range that is not [LOW, HIGH]");
    }
}

static void descriptions_that_lie(void **context)
{
    (void)context;
    const struct {
        const char *text, *part;
        int code;
    } cases[] = {
        {"{}", "tells of 0 inputs, its code has 1", ERROR_FORMAT},
        {"[]", "is not a JSON object", ERROR_FORMAT},
        {"{\"inputs\"", "is not a JSON object: ", ERROR_FORMAT},
        {"{\"inputs\":[],\"outputs\":[]}", "tells of 0 inputs, its code has 1", ERROR_FORMAT},
        {"{\"inputs\":[{}],\"outputs\":[]}", "input 0 has no name or type", ERROR_FORMAT},
        {"{\"inputs\":[{\"name\":\"x\",\"type\":\"string\",\"shape\":[2]}]}",
         "element type 'string'", ERROR_UNSUPPORTED},
        {"{\"inputs\":[{\"name\":\"x\",\"type\":\"int8\",\"shape\":[2]}]}",
         "tells of 0 outputs, its code has 2", ERROR_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(pt_package(PT_META, cases[i].text), 0);
        load_refused(cases[i].code, cases[i].part);
    }
    struct trip t;
    assert_int_equal(pt_package(PT_META, PT_DESCRIPTION), 0);
    prepare(&t);
    ask(&t, "x", "int64", 2);
    load(&t);
    refused(&t, ERROR_UNSUPPORTED, "input 'x' has element type float32, not int64");
    leave(&t);
}

/* --- the library ------------------------------------------------------------------------------ */

static void each_function_fails(void **context)
{
    (void)context;
    const struct {
        const char *name;
        int strided, foreign; /* what it takes to be called */
    } cases[] = {
        {"aoti_torch_create_tensor_from_blob", 0, 0}, {"aoti_torch_get_data_ptr", 0, 0},
        {"aoti_torch_get_dim", 0, 0},        {"aoti_torch_get_sizes", 0, 0},
        {"aoti_torch_get_dtype", 0, 0},      {"aoti_torch_is_contiguous", 0, 0},
        {"aoti_torch_empty_strided", 0, 0},  {"aoti_torch_copy_", 1, 0},
        {"aoti_torch_get_dtype", 0, 1},      {"CreateWithDevice", 0, 0},
        {"GetNumInputs", 0, 0},              {"GetNumOutputs", 0, 0},
        {"GetInputName", 0, 0},              {"GetOutputName", 0, 0},
        {"GetNumConstants", 0, 0},           {"GetConstantFromFolded", 0, 0},
        {"ExtractConstantsMapEntries", 0, 0}, {"Run", 0, 0}, {"Run", 0, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trip t;
        assert_int_equal(pt_package(PT_META, cases[i].foreign ? NULL : PT_DESCRIPTION), 0);
        set("FAKE_TORCH_FAIL", cases[i].name);
        set("FAKE_TORCH_STRIDED", cases[i].strided ? "1" : NULL);
        prepare(&t);
        if (cases[i].foreign)
            ask(&t, "arg0_1", "float32", 2);
        travel(&t);
        if (!t.code)
            fail_msg("%s did not matter", cases[i].name);
        if (t.code > 0) /* not output's NULL */
            refused(&t, ERROR_UNSUPPORTED, ": made to fail");
        assert_null(strstr(err.text, "Exception raised"));
        leave(&t);
    }
    set("FAKE_TORCH_FAIL", NULL);
    set("FAKE_TORCH_STRIDED", NULL);
}

static void libraries_that_are_none(void **context)
{
    (void)context;
    struct trip t;
    assert_int_equal(pt_package(PT_META, PT_DESCRIPTION), 0);
    prepare(&t);
    t.request.library = lacking;
    load(&t);
    refused(&t, ERROR_UNSUPPORTED, "has no function aoti_torch_copy_");
    leave(&t);
    prepare(&t);
    t.request.library = "/nowhere/libtorch_cpu.so";
    load(&t);
    refused(&t, ERROR_UNSUPPORTED, "cannot load PyTorch");
    leave(&t);
    prepare(&t);
    t.request.library = "";
    load(&t);
    refused(&t, ERROR_USAGE, "needs an installation");
    leave(&t);
    prepare(&t);
    t.request.provider_library = "plugin.so";
    load(&t);
    refused(&t, ERROR_USAGE, "provider library");
    leave(&t);
    prepare(&t);
    t.request.variant = "eager";
    load(&t);
    refused(&t, ERROR_UNSUPPORTED, "worker of its own");
    leave(&t);
}

static void versions(void **context)
{
    (void)context;
    assert_int_equal(pt_package(PT_META, PT_DESCRIPTION), 0);
    set("FAKE_TORCH_VERSION", "0x0301020000000000");
    load_refused(ERROR_UNSUPPORTED, "PyTorch 3.1.2");
    set("FAKE_TORCH_VERSION", "0");
    load_refused(ERROR_UNSUPPORTED, "PyTorch 0.0.0");
    struct trip t;
    set("FAKE_TORCH_VERSION", "0x020e010000000000");
    prepare(&t);
    load(&t);
    assert_int_equal(t.code, 0);
    assert_string_equal(t.loaded.version, "2.14.1");
    leave(&t);
    set("FAKE_TORCH_VERSION", NULL);
}

/* As in the package: torch/version.py beside torch/lib. */
static void tell_build(const char *text)
{
    char path[192];
    snprintf(path, sizeof path, "%s/version.py", pt_torch);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void version_is(const char *version)
{
    struct trip t;
    prepare(&t);
    load(&t);
    assert_int_equal(t.code, 0);
    assert_string_equal(t.loaded.version, version);
    leave(&t);
}

static void build_of_the_version(void **context)
{
    (void)context;
    assert_int_equal(pt_package(PT_META, PT_DESCRIPTION), 0);
    tell_build("import x\n__version__ = '2.13.0+cpu'\n");
    version_is("2.13.0+cpu");
    tell_build("import x\n__version__ = '2.12.0+cpu'\n"); /* of another library */
    version_is("2.13.0");
    tell_build("import x\n__version__ = '2.13.0");
    version_is("2.13.0");
    tell_build("");
    version_is("2.13.0");
}

static void settings_that_differ(void **context)
{
    (void)context;
    struct trip t;
    assert_int_equal(pt_package(PT_META, PT_DESCRIPTION), 0);
    set("FAKE_TORCH_THREADS", "1");
    load_refused(ERROR_UNSUPPORTED, "took 1 threads and 1 between operators, not 2 and 1");
    set("FAKE_TORCH_THREADS", NULL);
    prepare(&t);
    t.request.options = json_pack("{s:s}", "denormals", "zero");
    load(&t);
    assert_int_equal(t.code, 0);
    assert_string_equal(word(&t, "denormals"), "zero");
    volatile float tiny = 1e-39f;
    assert_true(tiny * 1.0f == 0); /* the CPU agrees */
    leave(&t);
    prepare(&t);
    load(&t);
    assert_string_equal(word(&t, "denormals"), "kept");
    assert_true(tiny * 1.0f != 0);
    leave(&t);
    prepare(&t);
    t.request.options = json_pack("{s:s}", "denormals", "maybe");
    load(&t);
    refused(&t, ERROR_USAGE, "kept or zero, not 'maybe'");
    leave(&t);
    prepare(&t);
    t.request.options = json_pack("{s:s}", "speed", "max");
    load(&t);
    refused(&t, ERROR_USAGE, "no option 'speed'");
    leave(&t);
}

static void variables(void **context)
{
    (void)context;
    struct trip t;
    prepare(&t);
    t.request.spin = "short";
    struct adapter_environment out = {.variables = json_object()};
    assert_int_equal(adapter_pytorch.environment(&t.request, &out, &err), 0);
    const char *const wanted[][2] = {{"OMP_NUM_THREADS", "2"},   {"MKL_NUM_THREADS", "2"},
                                     {"GOMP_SPINCOUNT", "10000"}, {"OMP_WAIT_POLICY", "passive"}};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        assert_string_equal(json_string_value(json_object_get(out.variables, wanted[i][0])),
                            wanted[i][1]);
    assert_null(json_object_get(out.variables, "NVIDIA_TF32_OVERRIDE"));
    json_object_clear(out.variables);
    t.request.provider = "cuda";
    t.request.spin = "default";
    t.request.variant = "torchscript";
    assert_int_equal(adapter_pytorch.environment(&t.request, &out, &err), 0);
    assert_null(json_object_get(out.variables, "OMP_WAIT_POLICY"));
    assert_string_equal(json_string_value(json_object_get(out.variables, "NVIDIA_TF32_OVERRIDE")),
                        "0");
    t.request.spin = "fast";
    assert_int_equal(adapter_pytorch.environment(&t.request, &out, &err), ERROR_USAGE);
    t.request.spin = "off";
    t.request.variant = "eager"; /* the stand-in is no part of a Python */
    assert_int_equal(adapter_pytorch.environment(&t.request, &out, &err), ERROR_UNSUPPORTED);
    json_decref(out.variables);
}

/* --- packages --------------------------------------------------------------------------------- */

static void built_for_something_else(void **context)
{
    (void)context;
    struct utsname here;
    char same[256];
    assert_int_equal(uname(&here), 0);
    snprintf(same, sizeof same, "{\"AOTI_MACHINE\":\"%s\",\"AOTI_CPU_ISA\":\"INVALID_VEC_ISA\"}",
             here.machine);
    const struct {
        const char *metadata, *part;
    } cases[] = {
        {"{\"AOTI_DEVICE_KEY\":\"cuda\"}", "device cuda, not for provider cpu"},
        {"{\"AOTI_PLATFORM\":\"win32\"}", "platform win32"},
        {"{\"AOTI_MACHINE\":\"riscv64\"}", "machine riscv64"},
        {"{\"AOTI_CPU_ISA\":\"AVX1024\"}", "built for AVX1024, and this CPU has no AVX1024"},
        {"{\"AOTI_CPU_ISA\":\"INVALID_VEC_ISA  AVX512_FANCY\"}", "has no AVX512_FANCY"},
        {same, NULL},
        {"{}", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trip t;
        assert_int_equal(pt_package(cases[i].metadata, PT_DESCRIPTION), 0);
        prepare(&t);
        load(&t);
        if (cases[i].part)
            refused(&t, ERROR_UNSUPPORTED, cases[i].part);
        else if (t.code)
            fail_msg("%s: %s", cases[i].metadata, err.text);
        leave(&t);
    }
}

static void members_wrong(void **context)
{
    (void)context;
#define SO {PT_MODEL "a.wrapper.so", NULL, pt_program}
#define META {PT_MODEL "a.wrapper_metadata.json", PT_META, NULL}
#define END {NULL, NULL, NULL}
    static char big[(1 << 20) + 2];
    memset(big, ' ', sizeof big - 1);
    const struct {
        struct pt_member members[5];
        int code;
        const char *part;
    } cases[] = {
        {{SO, END}, ERROR_FORMAT, "does not say what it was built for"},
        {{META, END}, ERROR_UNSUPPORTED, "no ahead-of-time compiled code"},
        {{{"a.txt", "x", NULL}, END}, ERROR_FORMAT, "in no folder"},
        {{SO, META, {PT_MODEL "b.wrapper.so", NULL, pt_program}, END}, ERROR_FORMAT,
         "more than one program"},
        {{SO, META, {PT_MODEL "x_weights.blob", "w", NULL}, {PT_MODEL "y_weights.blob", "w", NULL},
          END}, ERROR_FORMAT, "more than one file of weights"},
        {{SO, META, {"p/data/weights/w0", "w", NULL}, END}, ERROR_UNSUPPORTED, "as Python objects"},
        {{SO, META, {PT_MODEL "k.cubin", "k", NULL}, END}, ERROR_UNSUPPORTED, "GPU kernels"},
        {{{"p/x", "x", NULL}, {"p/data/aotinductor/../a.wrapper.so/", "x", NULL},
          {"q/data/aotinductor/model/a.wrapper.so", "x", NULL},
          {"p/data/aotinductor/model/deep/a.wrapper.so", "x", NULL}, END}, ERROR_UNSUPPORTED,
         "no ahead-of-time compiled code"},
        {{{"p/data/aotinductor/one/a.wrapper.so", "x", NULL},
          {"p/data/aotinductor/two/a.wrapper.so", "x", NULL}, END}, ERROR_UNSUPPORTED,
         "several models"},
        {{{PT_MODEL "a.wrapper.so", "not a program", NULL}, META, END}, ERROR_UNSUPPORTED,
         "cannot load the package's program"},
        {{SO, {PT_MODEL "a.wrapper_metadata.json", big, NULL}, END}, ERROR_MEMORY, "at most"},
        {{{"p/constants.pkl", "x", NULL}, END}, ERROR_UNSUPPORTED, "no ahead-of-time compiled"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(pt_write(pt_path, cases[i].members), 0);
        load_refused(cases[i].code, cases[i].part);
    }
    assert_non_null(strstr(err.hint, "pytorch:torchscript"));
}

/* A name that would lead out of a folder leads nowhere: nothing is written under any name. */
static void names_that_lead_away(void **context)
{
    (void)context;
    const struct pt_member members[] = {
        {"p/archive_format", "pt2", NULL},
        {"p/data/aotinductor/../wattle-escaped.so", NULL, pt_program},
        {"p/data/aotinductor/../wattle-escaped.wrapper_metadata.json", PT_META, NULL},
        {"../../wattle-escaped", "x", NULL},
        {"/tmp/wattle-escaped", "x", NULL},
        {NULL, NULL, NULL},
    };
    struct trip t;
    assert_int_equal(pt_write(pt_path, members), 0);
    prepare(&t);
    ask(&t, "arg0_1", "float32", 2);
    load(&t);
    leave(&t);
    assert_int_not_equal(access("/tmp/wattle-escaped", F_OK), 0);
    assert_int_equal(pt_sh("find %s -name '*escaped*' | grep -q .", pt_folder) == 0, 0);
}

static unsigned char *slurp(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    unsigned char *bytes = malloc(*size);
    assert_int_equal(fread(bytes, 1, *size, f), *size);
    fclose(f);
    return bytes;
}

static void spill(const char *path, const unsigned char *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static void files_that_are_none(void **context)
{
    (void)context;
    struct trip t;
    prepare(&t);
    t.request.model = pt_folder;
    load(&t);
    refused(&t, ERROR_USAGE, "not a file");
    leave(&t);
    prepare(&t);
    t.request.model = "/nowhere.pt2";
    load(&t);
    refused(&t, ERROR_IO, "cannot open");
    leave(&t);
    spill(pt_path, (const unsigned char *)"nothing", 7);
    load_refused(ERROR_FORMAT, "not a sound container");
    spill(pt_path, (const unsigned char *)"", 0);
    load_refused(ERROR_FORMAT, "not a sound container");
}

static void cut_and_changed(void **context)
{
    (void)context;
    size_t size, refusals = 0;
    assert_int_equal(pt_package(PT_META, PT_DESCRIPTION), 0);
    unsigned char *bytes = slurp(pt_path, &size);
    for (size_t cut = 0; cut < size; cut += size / 40 + 1) {
        struct trip t;
        spill(pt_path, bytes, cut);
        prepare(&t);
        load(&t);
        assert_int_not_equal(t.code, 0);
        leave(&t);
    }
    /* The directory at the end, byte by byte: sizes, offsets, methods, flags, names. */
    size_t directory = size - 22 - 5 * 46 - 200;
    for (size_t at = directory; at < size; at++)
        for (int bit = 0; bit < 8; bit += 3) {
            struct trip t;
            bytes[at] ^= (unsigned char)(1 << bit);
            spill(pt_path, bytes, size);
            bytes[at] ^= (unsigned char)(1 << bit);
            prepare(&t);
            load(&t);
            refusals += t.code != 0;
            leave(&t);
        }
    assert_true(refusals > 200);
    free(bytes);
}

/* Of the member, in the directory: its size is far beyond the file, as that of a bomb would be. */
static unsigned char *entry_of(unsigned char *bytes, size_t size, const char *name)
{
    size_t length = strlen(name);
    for (size_t i = size - length; i > 46; i--)
        if (!memcmp(bytes + i, name, length) && !memcmp(bytes + i - 46, "PK\1\2", 4))
            return bytes + i - 46;
    fail_msg("no %s", name);
    return NULL;
}

static void sizes_that_lie(void **context)
{
    (void)context;
    size_t size;
    assert_int_equal(pt_package(PT_META, PT_DESCRIPTION), 0);
    unsigned char *bytes = slurp(pt_path, &size);
    unsigned char *e = entry_of(bytes, size, PT_MODEL "a.wrapper.so");
    e[20 + 3] = e[24 + 3] = 0x70; /* both sizes: 1.8 GB */
    spill(pt_path, bytes, size);
    load_refused(ERROR_FORMAT, "");
    free(bytes);
    assert_int_equal(pt_package(PT_META, PT_DESCRIPTION), 0);
    bytes = slurp(pt_path, &size);
    entry_of(bytes, size, PT_MODEL "a.wrapper.so")[16] ^= 1; /* the checksum */
    spill(pt_path, bytes, size);
    load_refused(ERROR_FORMAT, "");
    free(bytes);
}

static void compressed_or_encrypted(void **context)
{
    (void)context;
    int code;
    for (int encrypt = 0; encrypt < 2; encrypt++) {
        assert_int_equal(pt_package(PT_META, PT_DESCRIPTION), 0);
        zip_t *z = zip_open(pt_path, 0, &code);
        assert_non_null(z);
        zip_int64_t i = zip_name_locate(z, PT_MODEL "a.wrapper.so", 0);
        if (encrypt)
            assert_int_equal(zip_file_set_encryption(z, (zip_uint64_t)i, ZIP_EM_AES_256, "secret"),
                             0);
        else
            assert_int_equal(zip_set_file_compression(z, (zip_uint64_t)i, ZIP_CM_DEFLATE, 9), 0);
        assert_int_equal(zip_close(z), 0);
        load_refused(ERROR_UNSUPPORTED, encrypt ? "is encrypted" : "is compressed");
    }
}

static void verify_is(int code, const char *part)
{
    err = (struct error){0};
    if (pt_package_verify(pt_path, &err) != code || !strstr(err.text, part))
        fail_msg("not %d with '%s': %s", code, part, err.text);
}

static unsigned char *find_bytes(unsigned char *bytes, size_t size, const char *text)
{
    unsigned char *at = memmem(bytes, size, text, strlen(text));
    assert_non_null(at);
    return at;
}

/* TorchScript's containers are read by PyTorch itself, which looks at no checksum and believes
 * every size; its code is compressed. */
static void whole_containers(void **context)
{
    (void)context;
    char code[4000];
    memset(code, 'a', sizeof code - 1);
    code[sizeof code - 1] = '\0';
    const struct pt_member members[] = {{"p/code/x.py", code, NULL}, {"p/data/0", "weights", NULL},
                                        {NULL, NULL, NULL}};
    size_t size;
    int why;
    assert_int_equal(pt_write(pt_path, members), 0);
    zip_t *z = zip_open(pt_path, 0, &why);
    assert_non_null(z);
    assert_int_equal(zip_set_file_compression(z, 0, ZIP_CM_DEFLATE, 9), 0);
    assert_int_equal(zip_close(z), 0);
    verify_is(0, "");
    unsigned char *bytes = slurp(pt_path, &size);
    assert_true(size < sizeof code);
    unsigned char *weights = find_bytes(bytes, size, "weights");
    weights[0] ^= 1;
    spill(pt_path, bytes, size);
    verify_is(ERROR_FORMAT, "member 'p/data/0'");
    weights[0] ^= 1;
    unsigned char *e = entry_of(bytes, size, "p/code/x.py");
    e[24 + 3] = 0x70; /* it would unpack to 1.8 GB */
    spill(pt_path, bytes, size);
    verify_is(ERROR_FORMAT, "claims 18");
    e[24 + 3] = 0;
    e = entry_of(bytes, size, "p/data/0");
    e[20 + 1] = e[24 + 1] = 0x70;
    spill(pt_path, bytes, size);
    verify_is(ERROR_FORMAT, "p/data/0");
    spill(pt_path, bytes, size / 2);
    verify_is(ERROR_FORMAT, "not a sound container");
    free(bytes);

    struct trip t;
    struct adapter_command *command = calloc(1, sizeof *command);
    prepare(&t);
    t.request.variant = "torchscript";
    assert_int_equal(adapter_pytorch.command(&t.request, command, &err), ERROR_FORMAT);
    free(command);
}

/* PyTorch would read beyond a member that is shorter than the pickle beside it says. */
static void members_too_short(void **context)
{
    (void)context;
    static const unsigned char pickle[] = "(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"
                                          "0X\3\0\0\0cpuK\2tQ.";
    char file[192];
    snprintf(file, sizeof file, "%s/pickle", pt_folder);
    struct pt_member members[] = {{"p/data.pkl", NULL, file}, {"p/data/0", "weights!", NULL},
                                  {NULL, NULL, NULL}};
    spill(file, pickle, sizeof pickle - 1);
    assert_int_equal(pt_write(pt_path, members), 0);
    verify_is(0, "");
    members[1].text = "weights";
    assert_int_equal(pt_write(pt_path, members), 0);
    verify_is(ERROR_FORMAT, "member 'p/data/0' has 7 bytes, by data.pkl it has 8");
    members[0].name = "p/constants.pkl";
    members[1].name = "p/constants/0";
    assert_int_equal(pt_write(pt_path, members), 0);
    verify_is(ERROR_FORMAT, "member 'p/constants/0' has 7 bytes, by constants.pkl it has 8");
    spill(file, pickle, sizeof pickle - 2);
    members[1].text = "weights!";
    assert_int_equal(pt_write(pt_path, members), 0);
    verify_is(ERROR_FORMAT, "constants.pkl: not a pickle of TorchScript's: it is cut");
}

static void weights_apart(void **context)
{
    (void)context;
    char blob[65];
    memset(blob, 'w', 64);
    blob[64] = '\0';
    const struct pt_member members[] = {
        {PT_MODEL "a.wrapper.so", NULL, pt_program},
        {PT_MODEL "a.wrapper_metadata.json", PT_META, NULL},
        {PT_MODEL "a.wrapper_weights.blob", blob, NULL},
        {"p/extra/wattle.json", PT_DESCRIPTION, NULL},
        {NULL, NULL, NULL},
    };
    struct trip t;
    assert_int_equal(pt_write(pt_path, members), 0);
    prepare(&t);
    travel(&t);
    right(&t);
    assert_string_equal(word(&t, "weights"), "apart");
    leave(&t);
    set("FAKE_TORCH_BLOB", "65");
    load_refused(ERROR_FORMAT, "weights have 64 bytes, its program wants 65");
    set("FAKE_TORCH_BLOB", NULL);
    set("FAKE_TORCH_FAIL", "UpdateConstantsFromBlob");
    load_refused(ERROR_UNSUPPORTED, "cannot load the package's weights: made to fail");
    set("FAKE_TORCH_FAIL", "GetConstantsBlobSize");
    load_refused(ERROR_UNSUPPORTED, "size of the weights: made to fail");
    set("FAKE_TORCH_FAIL", NULL);
    set("FAKE_TORCH_WEIGHTS", "1");
    load_refused(ERROR_UNSUPPORTED, "has 1 of its program's 2 weights");
    set("FAKE_TORCH_WEIGHTS", NULL);
}

static void program_without_functions(void **context)
{
    (void)context;
    char path[192], flags[256];
    snprintf(path, sizeof path, "%s/less.so", pt_folder);
    snprintf(flags, sizeof flags, "-DPROGRAM -DOMIT -L%s/lib -l:libtorch_cpu.so", pt_torch);
    assert_int_equal(pt_build(path, flags), 0);
    const struct pt_member members[] = {
        {PT_MODEL "a.wrapper.so", NULL, path},
        {PT_MODEL "a.wrapper_metadata.json", PT_META, NULL},
        {NULL, NULL, NULL},
    };
    assert_int_equal(pt_write(pt_path, members), 0);
    load_refused(ERROR_UNSUPPORTED, "no function AOTInductorModelContainerRun");
}

/* --- code for another CPU --------------------------------------------------------------------- */

static void code_is_followed(void **context)
{
    (void)context;
    const struct {
        const char *bytes;
        size_t size;
        long count;
    } cases[] = {
        {"\x90\xc3", 2, 0},
        {"\x62\xf1\x7c\x48\x58\xc1", 6, 1},                  /* vaddps zmm0, zmm0, zmm1 */
        {"\x62\xf1\x7c\x48\x58\x44\x24\x01", 8, 1},          /* with an address and disp8 */
        {"\xc5\xfc\x58\xc1\xc5\xf8\x77", 7, 0},              /* vaddps ymm; vzeroupper */
        {"\x48\xb8\x62\xf1\x7c\x48\x58\xc1\x00\x00", 10, 0}, /* the same bytes as a number */
        {"\xb8\x62\xf1\x7c\x48\xc3", 6, 0},
        {"\x0f\x1f\x84\x00\x62\xf1\x7c\x48", 8, 0},          /* a long nop */
        {"\xc4\xe3\x7d\x19\xc1\x01", 6, 0},                  /* vextractf128 */
        {"\xc3\x00\x62\xf1\x7c\x48\x58\xc1", 8, 1},          /* a zero between functions */
        {"\xf7\x05\x62\x62\x62\x62\x01\x00\x00\x00\xf7\xd8", 12, 0},
        {"\x0f\x0b\x62\xf1\x7c\x48", 6, -1},                 /* cut */
        {"\x06", 1, -1},                                     /* no instruction */
        {"\x62\xff\xff\xff\xff\xc1", 6, -1},                 /* not EVEX */
        {"\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x90", 17, -1},
        {"", 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        long count = pt_isa_count_evex((const uint8_t *)cases[i].bytes, cases[i].size);
        if (count != cases[i].count)
            fail_msg("case %zu: %ld, not %ld", i, count, cases[i].count);
    }
    /* Any bytes end somewhere. */
    uint8_t noise[4096];
    uint32_t state = 1;
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < sizeof noise; i++)
            noise[i] = (uint8_t)((state = state * 1664525 + 1013904223) >> 24);
        pt_isa_count_evex(noise, sizeof noise);
        pt_isa_count_program(noise, sizeof noise);
    }
}

#if defined __x86_64__
/* Made for AVX-512 under a name that says nothing of it. */
static void code_for_another_cpu(void **context)
{
    (void)context;
    char path[192], flags[256];
    size_t size;
    snprintf(path, sizeof path, "%s/v4.so", pt_folder);
    assert_int_equal(pt_sh("printf 'void f(float *y, const float *x) { for (int i = 0; i < 4096; "
                           "i++) y[i] += 2 * x[i]; }' >%s/v4.c", pt_folder), 0);
    snprintf(flags, sizeof flags, "-O3 -march=x86-64-v4 -DPROGRAM -L%s/lib -l:libtorch_cpu.so "
             "%s/v4.c", pt_torch, pt_folder);
    assert_int_equal(pt_build(path, flags), 0);
    unsigned char *elf = slurp(path, &size);
    assert_true(pt_isa_count_program(elf, size) > 0);
    for (size_t cut = 0; cut < size; cut += size / 100 + 1)
        pt_isa_count_program(elf, cut);
    free(elf);
    elf = slurp(pt_program, &size);
    assert_int_equal(pt_isa_count_program(elf, size), 0);
    free(elf);
    if (__builtin_cpu_supports("avx512f"))
        return;
    const struct pt_member members[] = {
        {PT_MODEL "a.wrapper.so", NULL, path},
        {PT_MODEL "a.wrapper_metadata.json", "{\"AOTI_CPU_ISA\":\"AVX2\"}", NULL},
        {NULL, NULL, NULL},
    };
    assert_int_equal(pt_write(pt_path, members), 0);
    load_refused(ERROR_UNSUPPORTED, "instructions of AVX-512, which this CPU lacks (it says that "
                 "it was built for AVX2)");
    assert_non_null(strstr(err.hint, "x86-64-v3"));
}
#endif

/* What neither finds ends the worker, with a reason on its stderr. */
static void illegal_instruction(void **context)
{
    (void)context;
    char text[1024] = "";
    int fds[2], status;
    assert_int_equal(pt_package(PT_META, PT_DESCRIPTION), 0);
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (!pid) {
        struct trip t;
        dup2(fds[1], STDERR_FILENO);
        setenv("FAKE_TORCH_FAULT", "1", 1);
        prepare(&t);
        travel(&t);
        _exit(0);
    }
    close(fds[1]);
    waitpid(pid, &status, 0);
    ssize_t n = read(fds[0], text, sizeof text - 1);
    close(fds[0]);
    assert_true(n > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGILL);
    assert_non_null(strstr(text, "has instructions that this CPU lacks"));
    assert_non_null(strstr(text, "p.pt2"));
}

/* --- a device --------------------------------------------------------------------------------- */

static const char cuda_meta[] = "{\"AOTI_DEVICE_KEY\":\"cuda\"}";

static void device_of_a_cpu_build(void **context)
{
    (void)context;
    struct trip t;
    assert_int_equal(pt_package(cuda_meta, PT_DESCRIPTION), 0);
    prepare(&t);
    t.request.provider = "cuda";
    load(&t);
    refused(&t, ERROR_UNSUPPORTED, "provider cuda: this PyTorch is a build for the CPU");
    leave(&t);
}

static void device_of_a_stand_in(void **context)
{
    (void)context;
    struct trip t;
    char path[192];
    const char *const devices[] = {"1", "2"};
    snprintf(path, sizeof path, "%s/lib/libtorch_cuda.so", pt_torch);
    assert_int_equal(pt_build(path, "-DCUDA"), 0);
    assert_int_equal(pt_package(cuda_meta, PT_DESCRIPTION), 0);
    prepare(&t);
    t.request.provider = "cuda";
    t.request.devices = devices;
    t.request.device_count = 1;
    long before = *copies;
    travel(&t);
    right(&t);
    assert_int_equal(*copies - before, 5); /* twice to time it, one in, two out */
    assert_int_equal(number(&t, "device"), 1);
    assert_non_null(json_object_get(t.loaded.settings, "copy_in_ns"));
    leave(&t);
    const char *const names[] = {"aoti_torch_copy_", "torch_cuda_stream_synchronize",
                                 "aoti_torch_empty_strided"};
    for (size_t i = 0; i < 3; i++) {
        set("FAKE_TORCH_FAIL", names[i]);
        prepare(&t);
        t.request.provider = "cuda";
        travel(&t);
        refused(&t, ERROR_UNSUPPORTED, ": made to fail");
        leave(&t);
    }
    set("FAKE_TORCH_FAIL", NULL);
    prepare(&t);
    t.request.provider = "cuda";
    t.request.devices = devices;
    t.request.device_count = 2;
    load(&t);
    refused(&t, ERROR_UNSUPPORTED, "runs on one device, not on 2");
    leave(&t);
    unlink(path);
    snprintf(path, sizeof path, "%s/other/lib/libtorch_cuda.so", pt_folder);
    assert_int_equal(pt_build(path, "-DCUDA -DOMIT"), 0);
    prepare(&t);
    t.request.library = other;
    t.request.provider = "cuda";
    load(&t);
    refused(&t, ERROR_UNSUPPORTED, "no function torch_cuda_stream_synchronize");
    leave(&t);
    unlink(path);
}

/* --- TorchScript ------------------------------------------------------------------------------ */

/* Once for each library: what was opened of a path is what is opened again. */
static void put_shim(const char *library, const char *more)
{
    char path[PATH_MAX], flags[256];
    assert_int_equal(pytorch_shim_path(library, path, &err), 0);
    if (!access(path, F_OK))
        return;
    snprintf(flags, sizeof flags, "-DSHIM %s -L%s/lib -l:libtorch_cpu.so", more, pt_torch);
    assert_int_equal(pt_build(path, flags), 0);
}

static void write_script(const char *description)
{
    const struct pt_member members[] = {
        {"p/data.pkl", "N.", NULL},
        {description ? "p/extra/wattle.json" : NULL, description, NULL},
        {NULL, NULL, NULL},
    };
    assert_int_equal(pt_write(pt_path, members), 0);
}

static void scripts(void **context)
{
    (void)context;
    static const char *const variants[] = {"torchscript", "torchscript-frozen",
                                           "torchscript-optimized"};
    static const char *const names[] = {"plain", "frozen", "optimized"};
    put_shim(pt_library, "");
    for (int i = 0; i < 3; i++) {
        struct trip t;
        struct adapter_command *command = calloc(1, sizeof *command);
        write_script(NULL);
        prepare(&t);
        t.request.variant = variants[i];
        assert_int_equal(adapter_pytorch.command(&t.request, command, &err), 0); /* it is there */
        assert_int_equal(command->count, 0);
        free(command);
        ask(&t, "x", "", 2);
        travel(&t);
        right(&t);
        assert_string_equal(t.loaded.outputs[0].name, names[i]);
        assert_int_equal(t.loaded.input_count, 1); /* the other has a default */
        assert_non_null(strstr(word(&t, "shim"), "/shims/"));
        leave(&t);
    }
    const char *const fails[] = {"load", "run"};
    for (int i = 0; i < 2; i++) {
        struct trip t;
        write_script(PT_DESCRIPTION);
        set("FAKE_TORCH_FAIL", fails[i]);
        prepare(&t);
        t.request.variant = "torchscript";
        travel(&t);
        refused(&t, ERROR_UNSUPPORTED, ": made to fail");
        leave(&t);
    }
    set("FAKE_TORCH_FAIL", NULL);
}

static void scripts_that_tell_little(void **context)
{
    (void)context;
    struct trip t;
    put_shim(pt_library, "");
    set("FAKE_TORCH_UNTOLD", "1");
    write_script(NULL);
    prepare(&t);
    t.request.variant = "torchscript";
    ask(&t, "x", "", 2);
    load(&t);
    refused(&t, ERROR_UNSUPPORTED, "how many outputs");
    leave(&t);
    write_script(PT_DESCRIPTION); /* which counts them */
    prepare(&t);
    t.request.variant = "torchscript";
    travel(&t);
    right(&t);
    assert_string_equal(t.loaded.outputs[0].name, "y");
    leave(&t);
    set("FAKE_TORCH_UNTOLD", NULL);
}

static void shims_that_are_none(void **context)
{
    (void)context;
    char path[PATH_MAX], again[PATH_MAX];
    struct trip t;
    write_script(PT_DESCRIPTION);
    prepare(&t);
    t.request.variant = "torchscript";
    t.request.library = other;
    put_shim(other, "-DOMIT");
    load(&t);
    refused(&t, ERROR_UNSUPPORTED, "no function wattle_pt_run");
    leave(&t);
    assert_int_equal(pytorch_shim_path(pt_library, path, &err), 0);
    unlink(path);
    t.request.library = pt_library;
    load(&t);
    refused(&t, ERROR_UNSUPPORTED, "is not there");
    leave(&t);
    /* Compiled against no headers, without a compiler, and against headers that are wrong. */
    assert_int_equal(pytorch_shim(pt_library, again, NULL, NULL, NULL, &err), ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "headers"));
    assert_int_equal(pt_sh("mkdir -p %s/include/torch/csrc/inductor/aoti_torch && "
                           "echo '#error too old' >%s/include/torch/script.h && "
                           "touch %s/include/torch/csrc/inductor/aoti_torch/utils.h", pt_torch,
                           pt_torch, pt_torch), 0);
    assert_int_equal(pytorch_shim(pt_library, again, NULL, NULL, NULL, &err), ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "cannot compile the interface to TorchScript"));
    assert_non_null(strstr(err.text, "too old"));
    char *paths = strdup(getenv("PATH"));
    setenv("PATH", pt_folder, 1);
    assert_int_equal(pytorch_shim(pt_library, again, NULL, NULL, NULL, &err), ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "needs g++"));
    assert_non_null(strstr(err.hint, "apt-get install g++"));
    setenv("PATH", paths, 1);
    free(paths);
    assert_string_equal(path, again);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(pt_sh("ls %s/shims | grep -q partial", pt_folder) == 0, 0);
}

static int setup(void **context)
{
    (void)context;
    if (pt_install())
        return -1;
    snprintf(other, sizeof other, "%s/other/lib/libtorch_cpu.so", pt_folder);
    if (pt_sh("mkdir -p %s/other/lib && ln %s %s", pt_folder, pt_library, other))
        return -1;
    snprintf(lacking, sizeof lacking, "%s/less_torch.so", pt_folder);
    if (pt_build(lacking, "-DOMIT"))
        return -1;
    void *handle = dlopen(pt_library, RTLD_NOW | RTLD_LOCAL);
    live = handle ? dlsym(handle, "fake_torch_live") : NULL;
    copies = handle ? dlsym(handle, "fake_torch_copies") : NULL;
    return live && copies ? 0 : -1;
}

static int teardown(void **context)
{
    (void)context;
    return pt_remove();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(described),
        cmocka_unit_test(by_somebody_else),
        cmocka_unit_test(outputs_not_in_rows),
        cmocka_unit_test(shapes_asked_for),
        cmocka_unit_test(descriptions_that_lie),
        cmocka_unit_test(ranges_of_the_description),
        cmocka_unit_test(each_function_fails),
        cmocka_unit_test(libraries_that_are_none),
        cmocka_unit_test(versions),
        cmocka_unit_test(build_of_the_version),
        cmocka_unit_test(settings_that_differ),
        cmocka_unit_test(variables),
        cmocka_unit_test(built_for_something_else),
        cmocka_unit_test(members_wrong),
        cmocka_unit_test(names_that_lead_away),
        cmocka_unit_test(files_that_are_none),
        cmocka_unit_test(cut_and_changed),
        cmocka_unit_test(sizes_that_lie),
        cmocka_unit_test(compressed_or_encrypted),
        cmocka_unit_test(whole_containers),
        cmocka_unit_test(members_too_short),
        cmocka_unit_test(weights_apart),
        cmocka_unit_test(program_without_functions),
        cmocka_unit_test(code_is_followed),
#if defined __x86_64__
        cmocka_unit_test(code_for_another_cpu),
#endif
        cmocka_unit_test(illegal_instruction),
        cmocka_unit_test(device_of_a_cpu_build),
        cmocka_unit_test(device_of_a_stand_in),
        cmocka_unit_test(scripts),
        cmocka_unit_test(scripts_that_tell_little),
        cmocka_unit_test(shims_that_are_none),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
