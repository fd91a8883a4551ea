/* Every allocation of reading a host fails in turn, those of jansson too: an error, no leak. */
#include "host/host.h"

#include "test.h"
#include "failing_alloc.h"

#include <stdlib.h>
#include <string.h>

static void test_read(void **state)
{
    (void)state;
    int failures = 0, n = 0;
    for (int code = 1; code && n < 2000; n++) {
        struct host h;
        struct error e = {0};
        until_failure = n;
        code = host_read(&h, "tests/fixtures/sysroot/vm", &e);
        until_failure = -1;
        if (code) {
            assert_int_equal(code, ERROR_MEMORY);
            assert_int_equal(e.code, ERROR_MEMORY);
            assert_null(h.fingerprint);
            failures++;
        }
        host_release(&h);
    }
    print_message("%d allocations\n", failures);
    assert_true(failures > 50); /* jansson's are among them */
    assert_int_equal(failures, n - 1);
}

int main(void)
{
    json_set_alloc_funcs(__wrap_malloc, free);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
