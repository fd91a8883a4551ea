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

static void differences_are_summed_up(void **state)
{
    (void)state;
    float a[6] = {1, 2, 3, 4, 5, 10}, b[6] = {1, 2, 3, 4, 5.5f, 11}, c[6] = {1, 2, NAN, 4, 5, 10};
    struct measure_output r = output(a), x = output(b), nan = output(c);
    double max, mean;
    measure_difference(&r.tensor, &x.tensor, &max, &mean);
    assert_true(fabs(max - 0.1) < 1e-6);
    assert_true(fabs(mean - (0.05 + 0.1) / 6) < 1e-6);
    measure_difference(&r.tensor, &r.tensor, &max, &mean);
    assert_true(max == 0 && mean == 0);
    measure_difference(&r.tensor, &nan.tensor, &max, &mean);
    assert_true(isinf(max) && isinf(mean));
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
    struct measure_output odd = output(b);
    assert_int_equal(measure_not_finite(&odd.tensor), 1);
    assert_int_equal(agree(output(a), output(b)).ok, 0);
}

static void integers_must_be_equal(void **state)
{
    (void)state;
    int64_t a[2] = {1, (int64_t)1 << 60}, b[2] = {1, ((int64_t)1 << 60) + 1};
    struct measure_output x = {"ids", {DTYPE_I64, {1, {2}}, a}}, y = {"ids", {DTYPE_I64, {1, {2}}, b}};
    assert_int_equal(agree(x, x).ok, 1);
    assert_int_equal(agree(x, y).ok, 0);
    assert_int_equal(measure_not_finite(&x.tensor), 0);
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

/* Half the tolerance of a 16-bit type is nothing, twice of it is a difference. */
static void sixteen_bits_have_their_own_tolerance(void **state)
{
    (void)state;
    static const struct {
        enum dtype type;
        uint16_t one, near, far;
    } types[] = {{DTYPE_F16, 0x3c00, 0x3c01, 0x3c04}, {DTYPE_BF16, 0x3f80, 0x3f81, 0x3f84}};
    for (size_t i = 0; i < 2; i++) {
        uint16_t one = types[i].one, near = types[i].near, far = types[i].far;
        struct measure_output a = {.name = "y", .tensor = {types[i].type, {0}, &one}};
        struct measure_output b = {.name = "y", .tensor = {types[i].type, {0}, &near}};
        struct measure_output c = {.name = "y", .tensor = {types[i].type, {0}, &far}};
        assert_int_equal(agree(a, b).ok, 1);
        assert_int_equal(agree(a, c).ok, 0);
        assert_true(agree(a, b).max_rel_error > 0);
    }
}

static void expected_tensors_are_found_by_name_or_position(void **state)
{
    (void)state;
    float right[6] = {1, 2, 3, 4, 5, 10}, wrong[6] = {1, 2, 3, 4, 6, 10};
    struct measure_output outputs[] = {output(wrong), output(right)};
    strcpy(outputs[0].name, "hidden");
    const struct measure_outputs x = {2, outputs};
    struct data_item items[2] = {{.name = "logits", .strict = 1, .tensor = outputs[1].tensor}};
    const struct data by_name = {.items = items, .count = 1};
    const struct measure_limits plain = measure_limits_of(&(struct cell){.precision = "f32"});
    struct agreement out = {0};
    measure_expect(&by_name, &x, &plain, &out);
    assert_int_equal(out.ok, 1); /* of "hidden" nothing is expected */

    items[0] = (struct data_item){.position = 1, .tensor = outputs[1].tensor};
    measure_expect(&by_name, &x, &plain, &out);
    assert_int_equal(out.ok, 1);
    items[0].position = 0;
    measure_expect(&by_name, &x, &plain, &out);
    assert_int_equal(out.ok, 0);
    assert_string_equal(out.detail, "hidden[1,1] is 6, the reference has 5");
    assert_true(fabs(out.max_rel_error - 0.1) < 1e-6);

    items[0] = (struct data_item){.name = "other", .strict = 1, .tensor = outputs[1].tensor};
    measure_expect(&by_name, &x, &plain, &out);
    assert_int_equal(out.ok, 0);
    assert_string_equal(out.detail, "no output matches the expected 'other'");
    items[0] = (struct data_item){.position = 2, .tensor = outputs[1].tensor};
    measure_expect(&by_name, &x, &plain, &out);
    assert_int_equal(out.ok, 0);
}

static struct agreement agree_quantised(struct measure_output a, struct measure_output b)
{
    struct measure_outputs r = {1, &a}, x = {1, &b};
    const struct cell cell = {.precision = "quantised"};
    const struct measure_limits limits = measure_limits_of(&cell);
    struct agreement out = {.ok = 1};
    measure_agree_within(&r, &x, &limits, &out);
    return out;
}

/* A step of 1/127 here and there is rounding; all of them by some, or one by many, are not. */
static void quantised_outputs_may_be_a_step_off(void **state)
{
    (void)state;
    float a[6] = {0, 20, -30, 40, 50, 127}, b[6] = {1, 20, -31, 40, 51, 127};
    assert_int_equal(agree_quantised(output(a), output(b)).ok, 1);
    assert_int_equal(agree(output(a), output(b)).ok, 0);
    for (int i = 0; i < 6; i++)
        b[i] = a[i] + 9;
    struct agreement out = agree_quantised(output(a), output(b));
    assert_int_equal(out.ok, 0);
    assert_string_equal(out.detail, "logits is off by 0.15 of its root mean square, more than "
                        "rounding makes (0.12)");
    assert_true(fabs(out.max_rel_error - 9 / 127.0) < 1e-6);
    float many[1000] = {[999] = 127}, one[1000] = {[7] = 26, [999] = 127};
    struct measure_output r = {"y", {DTYPE_F32, {1, {1000}}, many}};
    struct measure_output x = {"y", {DTYPE_F32, {1, {1000}}, one}};
    out = agree_quantised(r, x);
    assert_int_equal(out.ok, 0);
    assert_string_equal(out.detail, "y[7] is 26, the reference has 0");
    one[7] = NAN;
    assert_int_equal(agree_quantised(r, x).ok, 0);
    one[7] = many[7];
    assert_int_equal(agree_quantised(r, x).ok, 1);
    many[999] = one[999] = 0; /* nothing but zeros */
    assert_int_equal(agree_quantised(r, x).ok, 1);
    one[0] = 0.1f;
    assert_int_equal(agree_quantised(r, x).ok, 0);
}

/* Of a model that gives its last layer's integers themselves; classes and counts stay exact. */
static void quantised_integers_may_be_a_step_off(void **state)
{
    (void)state;
    uint8_t a[2] = {100, 255}, b[2] = {101, 255}, far[2] = {140, 255};
    struct measure_output x = {"q", {DTYPE_U8, {1, {2}}, a}}, y = {"q", {DTYPE_U8, {1, {2}}, b}};
    struct measure_output z = {"q", {DTYPE_U8, {1, {2}}, far}};
    assert_int_equal(agree_quantised(x, y).ok, 1);
    assert_int_equal(agree_quantised(x, z).ok, 0);
    assert_int_equal(agree(x, y).ok, 0);
    int64_t c[2] = {100, 255}, d[2] = {101, 255};
    struct measure_output i = {"n", {DTYPE_I64, {1, {2}}, c}}, k = {"n", {DTYPE_I64, {1, {2}}, d}};
    assert_int_equal(agree_quantised(i, k).ok, 0);
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
        cmocka_unit_test(differences_are_summed_up),
        cmocka_unit_test(sixteen_bits_have_their_own_tolerance),
        cmocka_unit_test(quantised_outputs_may_be_a_step_off),
        cmocka_unit_test(quantised_integers_may_be_a_step_off),
        cmocka_unit_test(expected_tensors_are_found_by_name_or_position),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
