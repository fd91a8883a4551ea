#include "measure/measure.h"

#include "test.h"

#include <math.h>
#include <string.h>

/* One float output of 2x3, on the stack. */
static struct measure_output output(float *data)
{
    struct measure_output o = {.name = "logits",
                               .tensor = {DTYPE_F32, {2, {2, 3}}, data}};
    return o;
}

static struct agreement agree(struct measure_output a, struct measure_output b)
{
    struct measure_outputs r = {1, &a}, x = {1, &b};
    struct agreement out = {.reference = "builtin:reference"};
    measure_agree(&r, &x, 1e-4, &out);
    return out;
}

static void equal_outputs_agree(void **state)
{
    (void)state;
    float a[6] = {1, 2, 3, 4, 5, 10}, b[6] = {1, 2, 3, 4, 5, 10};
    struct agreement out = agree(output(a), output(b));
    assert_int_equal(out.ok, 1);
    assert_true(out.max_rel_error == 0);
}

static void error_is_relative_to_the_largest_value(void **state)
{
    (void)state;
    float a[6] = {0, 2, 3, 4, 5, 10}, b[6] = {0.0009f, 2, 3, 4, 5, 10};
    struct agreement out = agree(output(a), output(b));
    assert_int_equal(out.ok, 1);
    assert_true(fabs(out.max_rel_error - 9e-5) < 1e-9);
    b[0] = 0.0011f;
    assert_int_equal(agree(output(a), output(b)).ok, 0);
}

static void the_first_differing_element_is_named(void **state)
{
    (void)state;
    float a[6] = {1, 2, 3, 4, 5, 10}, b[6] = {1, 2, 3, 4, 5.5f, 11};
    struct agreement out = agree(output(a), output(b));
    assert_int_equal(out.ok, 0);
    assert_string_equal(out.detail, "logits[1,1] is 5.5, the reference has 5");
    assert_true(fabs(out.max_rel_error - 0.1) < 1e-6); /* the largest, not the first */
}

static void nan_and_infinity_are_not_hidden(void **state)
{
    (void)state;
    float a[6] = {1, 2, 3, 4, 5, 10}, b[6] = {1, 2, NAN, 4, 5, 10};
    assert_int_equal(agree(output(a), output(b)).ok, 0);
    assert_true(isinf(agree(output(a), output(b)).max_rel_error));
    assert_int_equal(agree(output(b), output(a)).ok, 0);
    assert_int_equal(agree(output(b), output(b)).ok, 1);
    b[2] = INFINITY;
    assert_int_equal(agree(output(b), output(b)).ok, 1);
    assert_int_equal(agree(output(a), output(b)).ok, 0);
}

static void integers_must_be_equal(void **state)
{
    (void)state;
    int64_t a[2] = {1, (int64_t)1 << 60}, b[2] = {1, ((int64_t)1 << 60) + 1};
    struct measure_output x = {"ids", {DTYPE_I64, {1, {2}}, a}}, y = {"ids", {DTYPE_I64, {1, {2}}, b}};
    assert_int_equal(agree(x, x).ok, 1);
    assert_int_equal(agree(x, y).ok, 0);
}

static void shapes_types_and_counts_must_match(void **state)
{
    (void)state;
    float a[6] = {0};
    struct measure_output x = output(a), y = output(a);
    y.tensor.shape.dims[1] = 2;
    struct agreement out = agree(x, y);
    assert_int_equal(out.ok, 0);
    assert_string_equal(out.detail, "logits is float32 2x2, the reference has float32 2x3");
    struct measure_outputs none = {0, NULL}, one = {1, &x};
    measure_agree(&one, &none, 1e-4, &out);
    assert_int_equal(out.ok, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_outputs_agree),
        cmocka_unit_test(error_is_relative_to_the_largest_value),
        cmocka_unit_test(the_first_differing_element_is_named),
        cmocka_unit_test(nan_and_infinity_are_not_hidden),
        cmocka_unit_test(integers_must_be_equal),
        cmocka_unit_test(shapes_types_and_counts_must_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
