/* Every allocation of the OpenVINO adapter fails in turn, jansson's too: an error, no leak. */
#include "runtime/adapters.h"

#include "test.h"
#include "failing_alloc.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[64], library[128];

static int load_bind_run(const struct adapter_request *r, struct error *e)
{
    static const float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    const void *data[] = {x};
    struct adapter_loaded loaded = {0};
    void *state = NULL;
    int code = adapter_openvino.load(r, &state, &loaded, e);
    if (!code)
        code = adapter_openvino.bind(state, data, e);
    if (!code)
        code = adapter_openvino.run(state, e);
    adapter_openvino.unload(state);
    return code;
}

static void test_load(void **context)
{
    (void)context;
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(handle);
    const long *objects = dlsym(handle, "fake_ov_objects");
    json_t *options = json_pack("{s:s,s:s}", "pinning", "on", "ov.SOMETHING", "1");
    struct adapter_request r = {.model = library, .library = library, .provider = "cpu",
                                .precision = "f32", .spin = "off", .threads = 1, .batch = 2,
                                .options = options};
    int failures = 0, n = 0;
    for (int code = 1; code && n < 2000; n++) {
        struct error e = {0};
        until_failure = n;
        code = load_bind_run(&r, &e);
        until_failure = -1;
        if (code) {
            assert_int_equal(code, ERROR_MEMORY);
            assert_int_equal(e.code, ERROR_MEMORY);
            failures++;
        }
        assert_int_equal(*objects, 0);
    }
    print_message("%d allocations\n", failures);
    assert_true(failures > 50); /* jansson's are among them */
    assert_int_equal(failures, n - 1);
    json_decref(options);
    dlclose(handle);
}

static int setup(void **context)
{
    char command[512];
    (void)context;
    snprintf(folder, sizeof folder, "/tmp/wattle-ov-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(library, sizeof library, "%s/libopenvino_c.so.1", folder);
    snprintf(command, sizeof command, "cc -shared -fPIC -O1 -fvisibility=hidden -o %s "
             "tests/tools/fake_openvino.c", library);
    return system(command);
}

static int teardown(void **context)
{
    (void)context;
    unlink(library);
    return rmdir(folder);
}

int main(void)
{
    json_set_alloc_funcs(__wrap_malloc, free);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_load)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
