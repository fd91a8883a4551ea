/* Every allocation of opening a meter fails in turn: an error, and nothing leaked. */
#include "base/error.h"

#include "test.h"
#include "meter_tree.h"
#include "failing_alloc.h"

static void test_open(void **state)
{
    (void)state;
    static const char *const names[] = {"powercap", "estimate", "fake"};
    tree_zone("intel-rapl:0", "package-0", TREE_INTEL_NJ, 5);
    tree_zone("intel-rapl:0:0", "dram", TREE_INTEL_NJ, 5);
    tree_write("/proc/stat", "cpu 1 2 3 4 5 6 7\n");
    for (size_t i = 0; i < 3; i++) {
        int failures = 0;
        for (int n = 0; n < 50; n++) {
            struct wattle_meter_options options = {.size = sizeof options, .sysroot = tree_root,
                                                   .now_ns = tree_clock};
            char error[WATTLE_ERROR_MAX] = "";
            struct wattle_meter *meter = NULL;
            until_failure = n;
            int code = wattle_meter_open(names[i], &options, &meter, error);
            until_failure = -1;
            assert_true((code == 0) == (meter != NULL));
            if (code) {
                assert_int_equal(code, ERROR_MEMORY);
                assert_non_null(strstr(error, "out of memory"));
                failures++;
            }
            wattle_meter_close(meter);
        }
        assert_int_equal(failures, 3); /* the meter, its root, its driver's state */
    }
}

/* Reading is cheap: it never allocates. */
static void test_reading_does_not_allocate(void **state)
{
    (void)state;
    struct tree_counter c = tree_zone("intel-rapl:0", "package-0", TREE_INTEL_NJ, 5);
    tree_write("/proc/stat", "cpu 1 2 3 4 5 6 7\n");
    static const char *const names[] = {"powercap", "estimate"};
    for (size_t i = 0; i < 2; i++) {
        struct wattle_meter *meter = tree_open(names[i]);
        struct wattle_reading begin[WATTLE_DOMAIN_MAX], end[WATTLE_DOMAIN_MAX];
        struct wattle_energy energy;
        tree_now_ns += 1000000;
        tree_joules(&c, 0.1);
        long before = allocation_count;
        wattle_meter_read(meter, begin);
        wattle_meter_edge(meter, 1000000, end);
        wattle_meter_energy(meter, begin, end, &energy);
        assert_int_equal(allocation_count - before, 0);
        wattle_meter_close(meter);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, tree_begin, tree_end)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_open), TEST(test_reading_does_not_allocate)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
