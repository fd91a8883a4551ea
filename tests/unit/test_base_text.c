#include "base/text.h"

#include "test.h"

#include <stdlib.h>
#include <string.h>

static void integers_are_strict(void **state)
{
    (void)state;
    struct error e;
    int64_t x = -1;
    assert_int_equal(text_to_int("42", "batch", 1, 100, &x, &e), 0);
    assert_int_equal(x, 42);
    assert_int_equal(text_to_int("-3", "n", -5, 5, &x, &e), 0);
    assert_int_equal(x, -3);
    const char *bad[] = {"", " 1", "1 ", "+1", "0x10", "1.0", "one", "-", "1e3", "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(text_to_int(bad[i], "batch", 0, INT64_MAX, &x, &e), ERROR_USAGE);
    assert_int_equal(text_to_int("0", "batch", 1, 64, &x, &e), ERROR_USAGE);
    assert_string_equal(e.text, "batch 0 is outside 1..64");
}

static void numbers_refuse_what_is_not_decimal(void **state)
{
    (void)state;
    struct error e;
    double x;
    assert_int_equal(text_to_double("0.5", "tdp", 0, 1, &x, &e), 0);
    assert_true(x == 0.5);
    const char *bad[] = {"", "nan", "inf", "0x1p3", "1,5", "1 W", "--1", "."};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(text_to_double(bad[i], "tdp", -1e9, 1e9, &x, &e), ERROR_USAGE);
}

static void durations_have_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = {{"10s", 10000000000u}, {"20ms", 20000000u}, {"1m", 60000000000u}, {"2", 2000000000u},
                {"250us", 250000u},    {"0.5s", 500000000u}, {"1h", 3600000000000u}};
    struct error e;
    uint64_t ns;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(text_to_ns(good[i].text, "duration", 0, UINT64_MAX / 2, &ns, &e), 0);
        assert_int_equal(ns, good[i].ns);
    }
    const char *bad[] = {"", "s", "10 s", "10x", "-1s", "1s1", "1e400s"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(text_to_ns(bad[i], "duration", 0, 1000000000000u, &ns, &e), ERROR_USAGE);
}

static void lists_have_no_empty_items(void **state)
{
    (void)state;
    struct error e;
    char **items;
    size_t count;
    assert_int_equal(text_split("a,bc,d", "list", 8, &items, &count, &e), 0);
    assert_int_equal(count, 3);
    assert_string_equal(items[1], "bc");
    assert_null(items[3]);
    free(items);
    assert_int_equal(text_split("a,,b", "list", 8, &items, &count, &e), ERROR_USAGE);
    assert_int_equal(text_split("", "list", 8, &items, &count, &e), ERROR_USAGE);
    assert_int_equal(text_split("a,b,c", "list", 2, &items, &count, &e), ERROR_USAGE);
}

static void nearest_is_near(void **state)
{
    (void)state;
    const char *names[] = {"resnet50", "mobilenet_v2", "bert_base"};
    assert_string_equal(text_nearest("resnet", names, 3), "resnet50");
    assert_string_equal(text_nearest("mobilenetv2", names, 3), "mobilenet_v2");
    assert_null(text_nearest("yolo", names, 3));
    char longest[200];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_null(text_nearest(longest, names, 3));
}

static void bytes_read_well(void **state)
{
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {{0, "0 B"}, {1023, "1023 B"}, {1536, "1.5 KiB"}, {102400000, "97.7 MiB"},
                 {UINT64_MAX, "16777216 TiB"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[16];
        text_bytes(cases[i].bytes, text);
        assert_string_equal(text, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_strict),       cmocka_unit_test(numbers_refuse_what_is_not_decimal),
        cmocka_unit_test(durations_have_units),      cmocka_unit_test(lists_have_no_empty_items),
        cmocka_unit_test(nearest_is_near),           cmocka_unit_test(bytes_read_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
