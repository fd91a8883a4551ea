#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"

#include "test.h"

#include <errno.h>
#include <string.h>

static void buffer_grows_to_its_maximum_and_no_further(void **state)
{
    (void)state;
    struct buffer b;
    buffer_init(&b, 100);
    assert_string_equal(buffer_string(&b), "");
    for (int i = 0; i < 10; i++)
        assert_int_equal(buffer_text(&b, "0123456789"), 0);
    assert_int_equal(b.size, 100);
    assert_int_equal(buffer_text(&b, "x"), -1);
    assert_true(b.failed);
    assert_int_equal(b.size, 100);
    buffer_clear(&b);
    assert_int_equal(buffer_format(&b, "%d-%s", 7, "seven"), 0);
    assert_string_equal(buffer_string(&b), "7-seven");
    buffer_release(&b);
    assert_string_equal(buffer_string(&b), "");
}

static void arena_aligns_zeroes_and_is_bounded(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 1 << 20);
    for (size_t size = 0; size < 300; size++) {
        unsigned char *p = arena_alloc(&a, size);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xff, size);
    }
    assert_string_equal(arena_text(&a, "resnet50", 6), "resnet");
    assert_string_equal(arena_format(&a, "%s #%d", "Conv", 12), "Conv #12");
    assert_null(arena_alloc(&a, 2 << 20));
    assert_null(arena_array(&a, SIZE_MAX / 2, 4));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_non_null(arena_alloc(&a, 200000)); /* larger than a block */
    arena_release(&a);
    assert_int_equal(a.used, 0);
}

static void errors_say_what_then_why(void **state)
{
    (void)state;
    struct error e;
    assert_int_equal(error_errno(&e, EACCES, "cannot read '%s'", "x"), ERROR_PERMISSION);
    assert_string_equal(e.text, "cannot read 'x': Permission denied");
    error_hint(&e, "try %s", "sudo");
    assert_int_equal(error_context(&e, "meter %s", "powercap"), ERROR_PERMISSION);
    assert_string_equal(e.text, "meter powercap: cannot read 'x': Permission denied");
    assert_string_equal(e.hint, "try sudo");
    assert_int_equal(error_set(NULL, ERROR_FORMAT, "nobody listens"), ERROR_FORMAT);
    assert_string_equal(error_code_name(ERROR_CRASH), "crash");
    assert_string_equal(error_code_name((enum error_code)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffer_grows_to_its_maximum_and_no_further),
        cmocka_unit_test(arena_aligns_zeroes_and_is_bounded),
        cmocka_unit_test(errors_say_what_then_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
