#include "model/tensor.h"

#include "test.h"

#include <string.h>

static void types_have_names_and_sizes(void **state)
{
    (void)state;
    size_t named = 0;
    for (int i = 0; i < 20; i++) {
        enum dtype type = (enum dtype)i;
        const char *name = dtype_name(type);
        if (!strcmp(name, "unknown"))
            continue;
        assert_int_equal(dtype_from_name(name), type);
        assert_int_equal(dtype_size(type) == 0, type == DTYPE_STRING);
        named++;
    }
    assert_int_equal(named, 14);
    assert_int_equal(dtype_size(DTYPE_BF16), 2);
    assert_int_equal(dtype_size(DTYPE_BOOL), 1);
    assert_int_equal(dtype_size(DTYPE_F64), 8);
    assert_int_equal(dtype_size(DTYPE_NONE), 0);
    assert_int_equal(dtype_size((enum dtype)99), 0);
    assert_string_equal(dtype_name((enum dtype)99), "unknown");
    assert_int_equal(dtype_from_name("float33"), DTYPE_NONE);
}

static void products_are_checked(void **state)
{
    (void)state;
    struct shape scalar = {0};
    struct shape s = {.rank = 3, .dims = {2, 3, 4}};
    struct shape huge = {.rank = 2, .dims = {(int64_t)1 << 40, (int64_t)1 << 40}};
    struct shape empty = {.rank = 3, .dims = {(int64_t)1 << 40, (int64_t)1 << 40, 0}};
    struct shape negative = {.rank = 2, .dims = {0, -1}};
    struct shape bytes_overflow = {.rank = 1, .dims = {INT64_MAX / 2}};
    assert_int_equal(shape_elements(&scalar), 1);
    assert_int_equal(shape_bytes(&scalar, DTYPE_I64), 8);
    assert_int_equal(shape_elements(&s), 24);
    assert_int_equal(shape_bytes(&s, DTYPE_F16), 48);
    assert_int_equal(shape_bytes(&s, DTYPE_STRING), -1);
    assert_int_equal(shape_elements(&huge), -1);
    assert_int_equal(shape_elements(&empty), 0);
    assert_int_equal(shape_elements(&negative), -1);
    assert_int_equal(shape_elements(&bytes_overflow), INT64_MAX / 2);
    assert_int_equal(shape_bytes(&bytes_overflow, DTYPE_F32), -1);
}

static void shapes_compare_and_print(void **state)
{
    (void)state;
    struct shape a = {.rank = 2, .dims = {1, 2}}, b = a, c = {.rank = 3, .dims = {1, 2, 1}};
    char text[32], small[5];
    assert_true(shape_equal(&a, &b));
    b.dims[1] = 3;
    assert_false(shape_equal(&a, &b));
    assert_false(shape_equal(&a, &c));
    assert_string_equal(shape_text(&c, text, sizeof text), "1x2x1");
    assert_string_equal(shape_text(&(struct shape){0}, text, sizeof text), "scalar");
    assert_string_equal(shape_text(&c, small, sizeof small), "1x2x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_have_names_and_sizes),
        cmocka_unit_test(products_are_checked),
        cmocka_unit_test(shapes_compare_and_print),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
