/* The estimate: an interval, monotonic, and the same (a, b) for everything it is asked. */
#include "meter/meter.h"

#include "test.h"
#include "meter_tree.h"

#include <math.h>

static struct wattle_reading begin[1], end[1];
static uint64_t cpu_ns;

static uint64_t cpu_clock(void *context)
{
    return *(uint64_t *)context;
}

static struct wattle_meter *open_estimate(double tdp_w, int with_callback)
{
    struct wattle_meter_options options = {.size = sizeof options, .sysroot = tree_root,
                                           .tdp_w = tdp_w, .now_ns = tree_clock};
    if (with_callback) {
        options.cpu_ns = cpu_clock;
        options.cpu_context = &cpu_ns;
    }
    struct wattle_meter *meter;
    assert_int_equal(wattle_meter_open("estimate", &options, &meter, NULL), 0);
    return meter;
}

static void test_interval(void **state)
{
    (void)state;
    struct wattle_meter *meter = open_estimate(0, 1);
    struct wattle_estimate_box box;
    struct wattle_energy energy;
    assert_int_equal(wattle_meter_estimate_box(meter, &box), 0);
    assert_true(box.a_low_w == 2 && box.a_high_w == 15 && box.b_low_w == 5 && box.b_high_w == 17);
    assert_non_null(strstr(box.source, "generic range"));
    wattle_meter_read(meter, begin);
    tree_now_ns += 10000000000; /* 10 s with 20 CPU-seconds */
    cpu_ns += 20000000000;
    wattle_meter_read(meter, end);
    wattle_meter_energy(meter, begin, end, &energy);
    assert_int_equal(energy.provenance, WATTLE_ESTIMATED);
    assert_true(fabs(energy.low_j - (2 * 10 + 5 * 20)) < 1e-5);
    assert_true(fabs(energy.high_j - (15 * 10 + 17 * 20)) < 1e-5);
    assert_true(fabs(energy.j - (8.5 * 10 + 11 * 20)) < 1e-5);
    assert_non_null(strstr(energy.reason, "generic range"));
    assert_int_equal(wattle_meter_usable(meter), 1);
    assert_int_equal(wattle_meter_poll_ns(meter), 0);
    assert_int_equal(wattle_meter_edge(meter, 1000000000, end), 0); /* continuous: no waiting */
    wattle_meter_close(meter);
}

/* cores 2 with 4 threads in the tree's cpuinfo. */
static void test_tdp(void **state)
{
    (void)state;
    tree_cpuinfo("GenuineIntel", 6, 142, "");
    struct wattle_estimate_box box;
    struct wattle_meter *meter = open_estimate(15, 1);
    assert_int_equal(wattle_meter_estimate_box(meter, &box), 0);
    assert_string_equal(box.source, "--tdp 15 over 2 cores");
    assert_true(fabs(box.a_low_w - 0.75) < 1e-9 && fabs(box.a_high_w - 6) < 1e-9);
    assert_true(fabs(box.b_low_w - 3) < 1e-9 && fabs(box.b_high_w - 17) < 1e-9);
    wattle_meter_close(meter);
    const double wrong[] = {-5, NAN, INFINITY, 0};
    for (size_t i = 0; i < 4; i++) {
        meter = open_estimate(wrong[i], 1);
        wattle_meter_estimate_box(meter, &box);
        assert_non_null(strstr(box.source, "generic range"));
        wattle_meter_close(meter);
    }
    meter = tree_open("powercap");
    assert_int_not_equal(wattle_meter_estimate_box(meter, &box), 0);
    wattle_meter_close(meter);
}

/* Idle power of a large server is not that of two cores. */
static void test_generic_grows_with_cores(void **state)
{
    (void)state;
    char text[4096] = "";
    for (int i = 0; i < 64; i++)
        sprintf(text + strlen(text), "processor\t: %d\n", i);
    tree_write("/proc/cpuinfo", "%s", text);
    struct wattle_estimate_box box;
    struct wattle_meter *meter = open_estimate(0, 1);
    wattle_meter_estimate_box(meter, &box);
    assert_true(box.a_low_w == 2 && box.a_high_w == 96 && box.b_low_w == 5 && box.b_high_w == 17);
    wattle_meter_close(meter);
}

/* Busy is user + nice + system + irq + softirq; not idle, iowait or steal. */
static void test_proc_stat(void **state)
{
    (void)state;
    long hz = sysconf(_SC_CLK_TCK);
    tree_write("/proc/stat", "cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 1 2 3\n");
    struct wattle_meter *meter = open_estimate(0, 0);
    struct wattle_energy energy;
    wattle_meter_read(meter, begin);
    tree_now_ns += 10000000000;
    tree_write("/proc/stat", "cpu  %ld %ld %ld %ld %ld %ld %ld %ld 7 7\n", hz, 2 * hz, 3 * hz,
               1000 * hz, 1000 * hz, 4 * hz, 5 * hz, 1000 * hz);
    wattle_meter_read(meter, end);
    wattle_meter_energy(meter, begin, end, &energy);
    double tick_j = 17.0 / (double)hz;
    assert_true(fabs(energy.j - (8.5 * 10 + 11 * 15)) < 1e-5);
    assert_true(fabs(energy.low_j - (2 * 10 + 5 * 15 - tick_j)) < 1e-5);
    assert_true(fabs(energy.high_j - (15 * 10 + 17 * 15 + tick_j)) < 1e-5);
    wattle_meter_close(meter);
}

static void test_no_cpu_time(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "cpu\n", "cpu  \n", "cpu 1 2 x 4\n", "intr 5\n",
                                        "cpu  1 -2 3 4 5 6 7\n",
                                        "cpu  99999999999999999999 2 3 4 5 6 7\n"};
    struct wattle_meter *meter = open_estimate(0, 0);
    assert_int_equal(wattle_meter_domain(meter, 0)->status, WATTLE_ABSENT);
    assert_int_equal(wattle_meter_usable(meter), 0);
    wattle_meter_close(meter);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        tree_write("/proc/stat", "%s", texts[i]);
        meter = open_estimate(0, 0);
        assert_int_equal(wattle_meter_domain(meter, 0)->status, WATTLE_ERROR);
        struct wattle_energy energy;
        wattle_meter_read(meter, begin);
        tree_now_ns += 1000000;
        wattle_meter_read(meter, end);
        wattle_meter_energy(meter, begin, end, &energy);
        assert_int_equal(energy.provenance, WATTLE_NONE);
        assert_true(isnan(energy.j));
        wattle_meter_close(meter);
    }
}

/* A read that fails in the middle is caught up; a CPU clock that goes back never lowers a total. */
static void test_monotonic(void **state)
{
    (void)state;
    tree_write("/proc/stat", "cpu  1000 0 0 0 0 0 0\n");
    struct wattle_meter *meter = open_estimate(0, 0);
    struct wattle_energy energy;
    wattle_meter_read(meter, begin);
    tree_now_ns += 1000000000;
    tree_write("/proc/stat", "broken");
    wattle_meter_read(meter, end);
    assert_int_equal(end[0].status, WATTLE_ERROR);
    tree_now_ns += 1000000000;
    tree_write("/proc/stat", "cpu  1100 0 0 0 0 0 0\n");
    wattle_meter_read(meter, end);
    wattle_meter_energy(meter, begin, end, &energy);
    assert_true(fabs(energy.j - (8.5 * 2 + 11 * 100.0 / (double)sysconf(_SC_CLK_TCK))) < 1e-5);

    struct wattle_reading before = end[0];
    tree_now_ns += 1000000000;
    tree_write("/proc/stat", "cpu  5 0 0 0 0 0 0\n");
    wattle_meter_read(meter, end);
    assert_int_equal(end[0].low_uj - before.low_uj, 2000000); /* 2 W for 1 s, and no CPU time */
    assert_int_equal(end[0].total_uj - before.total_uj, 8500000);
    assert_int_equal(end[0].gaps, 1);
    wattle_meter_energy(meter, &before, end, &energy);
    assert_int_equal(energy.provenance, WATTLE_NONE);
    wattle_meter_close(meter);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, tree_begin, tree_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_interval), TEST(test_tdp), TEST(test_generic_grows_with_cores),
        TEST(test_proc_stat), TEST(test_no_cpu_time), TEST(test_monotonic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
