/* Every allocation of reading a host fails in turn, those of jansson too: an error, no leak. */
#include "host/host.h"

#include "test.h"

#include <stdlib.h>
#include <string.h>

static int countdown = -1;

static int refuse(void)
{
    return countdown >= 0 && countdown-- == 0;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);

void *__wrap_malloc(size_t size)
{
    return refuse() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return refuse() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return refuse() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *text)
{
    return refuse() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t size)
{
    return refuse() ? NULL : __real_strndup(text, size);
}

static void test_read(void **state)
{
    (void)state;
    int failures = 0, n = 0;
    for (int code = 1; code && n < 2000; n++) {
        struct host h;
        struct error e = {0};
        countdown = n;
        code = host_read(&h, "tests/fixtures/sysroot/vm", &e);
        countdown = -1;
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
