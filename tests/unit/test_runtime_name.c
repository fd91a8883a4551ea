/* -r RUNTIME[:VARIANT][@VERSION] taken apart, and what does not name a runtime. */
#include "runtime/found.h"
#include "runtime/locate.h"

#include "test.h"

#include <string.h>

static struct error e;

static void check(const char *text, const char *runtime, const char *variant, const char *version)
{
    struct runtime_name n;
    assert_int_equal(runtime_name_parse(text, &n, &e), 0);
    assert_string_equal(n.runtime, runtime);
    assert_string_equal(n.variant, variant);
    assert_string_equal(n.version, version);
}

static void parts_may_be_left_out(void **state)
{
    (void)state;
    check("onnxruntime", "onnxruntime", "", "");
    check("onnxruntime:openvino", "onnxruntime", "openvino", "");
    check("onnxruntime@1.31.1", "onnxruntime", "", "1.31.1");
    check("onnxruntime:gpu@1.31", "onnxruntime", "gpu", "1.31");
    check("a:ep-nv-tensorrt-rtx@0.5.0+cu13", "a", "ep-nv-tensorrt-rtx", "0.5.0+cu13");
}

static void other_texts_are_refused(void **state)
{
    static const char *const wrong[] = {
        "", ":", "@", "a:", "a@", ":a", "@1", "a:b@", "a@1:b", "a:b:c", "a@1@2", "a b", "a/b", "../a",
        "-a", ".a", "a:-b", "a@.1", "a\n", "a\x1b[m", "\xc3\xa9", "a:b/c", "a@1/../2", "a=1",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", /* 32 */
        "a:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "a@11111111111111111111111111111111",
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct runtime_name n;
        if (runtime_name_parse(wrong[i], &n, &e) != ERROR_USAGE)
            fail_msg("'%s' was taken", wrong[i]);
        assert_true(strstr(e.hint, "RUNTIME[:VARIANT][@VERSION]") != NULL);
    }
}

static void versions_compare_by_number(void **state)
{
    static const char *const sorted[] = {"unknown", "1.9",    "1.9.1",    "1.21.0",
                                         "1.31.0",  "1.31.1", "2024.6.0", "2026.4.1"};
    (void)state;
    for (size_t i = 0; i < sizeof sorted / sizeof *sorted; i++)
        for (size_t j = 0; j < sizeof sorted / sizeof *sorted; j++) {
            int c = locate_compare(sorted[i], sorted[j]);
            assert_int_equal((c > 0) - (c < 0), (i > j) - (i < j));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_may_be_left_out),
        cmocka_unit_test(other_texts_are_refused),
        cmocka_unit_test(versions_compare_by_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
