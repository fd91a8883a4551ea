/* Every allocation of the PyTorch adapter fails in turn, jansson's too: an error, no leak. */
#include "runtime/adapters.h"

#include "test.h"
#include "failing_alloc.h"
#include "pt_fake.h"

#include <dlfcn.h>
#include <unistd.h>

static int load_bind_run(const struct adapter_request *r, struct error *e)
{
    static const float x[6] = {1, 2, 3, 4, 5, 6};
    const void *data[] = {x};
    struct adapter_loaded loaded = {0};
    void *state = NULL;
    int code = adapter_pytorch.load(r, &state, &loaded, e);
    if (!code)
        code = adapter_pytorch.bind(state, data, e);
    if (!code)
        code = adapter_pytorch.run(state, e);
    adapter_pytorch.unload(state);
    return code;
}

static int environment(const struct adapter_request *r, struct error *e)
{
    struct adapter_environment out = {.variables = json_object()};
    int code = out.variables ? adapter_pytorch.environment(r, &out, e) : error_memory(e);
    json_decref(out.variables);
    return code;
}

static void each(const struct adapter_request *r,
                 int (*subject)(const struct adapter_request *, struct error *), int least)
{
    void *handle = dlopen(pt_library, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(handle);
    const long *live = dlsym(handle, "fake_torch_live");
    int failures = 0, unseen = 0, is_over = 0;
    for (int n = 0; !is_over && n < 2000; n++) {
        struct error e = {0};
        until_failure = n;
        int code = subject(r, &e);
        is_over = until_failure >= 0; /* there was no such allocation */
        until_failure = -1;
        /* jansson does not always tell text that is none from having no memory for it, and its
         * lexer does not look whether its buffer could grow */
        int is_json = code == ERROR_FORMAT && strstr(e.text, "is not a JSON object");
        if (code && ((code != ERROR_MEMORY && !is_json) || (int)e.code != code))
            fail_msg("allocation %d: %d: %s", n, code, e.text);
        failures += code != 0;
        unseen += !code && !is_over;
        assert_int_equal(*live, 0);
    }
    print_message("%d allocations, %d unseen\n", failures, unseen);
    assert_true(is_over && failures > least && unseen < 12);
    dlclose(handle);
}

static struct adapter_request request(void)
{
    return (struct adapter_request){.model = pt_path, .library = pt_library, .variant = "aoti",
                                    .provider = "cpu", .precision = "f32", .spin = "off",
                                    .threads = 1, .batch = 2};
}

static void test_described(void **context)
{
    (void)context;
    struct adapter_request r = request();
    r.options = json_pack("{s:s}", "denormals", "kept");
    assert_int_equal(pt_package(PT_META, PT_DESCRIPTION), 0);
    each(&r, load_bind_run, 60);
    json_decref(r.options);
}

static void test_foreign(void **context)
{
    (void)context;
    struct adapter_request r = request();
    struct adapter_shape shape = {.name = "arg0_1", .type = "", .rank = 2, .dims = {2, 3}};
    r.shapes = &shape;
    r.shape_count = 1;
    assert_int_equal(pt_package(PT_META, NULL), 0);
    each(&r, load_bind_run, 30);
}

static void test_environment(void **context)
{
    (void)context;
    struct adapter_request r = request();
    each(&r, environment, 6);
}

static int setup(void **context)
{
    (void)context;
    return pt_install();
}

static int teardown(void **context)
{
    (void)context;
    return pt_remove();
}

int main(void)
{
    json_set_alloc_funcs(__wrap_malloc, free);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_described),
        cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_environment),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
