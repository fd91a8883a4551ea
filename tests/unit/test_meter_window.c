/* Error bounds and reasons of a window, with counters that do as they are told. */
#include "meter/fake.h"
#include "meter/meter.h"

#include "test.h"
#include "meter_tree.h"

#include <math.h>
#include <time.h>

static struct wattle_reading begin[WATTLE_DOMAIN_MAX], end[WATTLE_DOMAIN_MAX];

static struct wattle_meter *with_domain(const struct meter_fake_step *steps, size_t count)
{
    struct wattle_meter *meter = tree_open("fake");
    assert_non_null(meter);
    assert_int_equal(meter_fake_domain(meter, "package-0", 262143328850, 61.035, steps, count), 0);
    return meter;
}

static struct wattle_energy window(struct wattle_meter *meter, uint64_t ns)
{
    struct wattle_energy energy;
    wattle_meter_read(meter, begin);
    tree_now_ns += ns;
    wattle_meter_read(meter, end);
    wattle_meter_energy(meter, begin, end, &energy);
    return energy;
}

/* 10 J in 1 s: one update (1 ms) at either end is 10 mJ, one step of the counter 61 uJ. */
static void test_bounds(void **state)
{
    (void)state;
    static const struct meter_fake_step steps[] = {{1000000, WATTLE_OK}, {11000000, WATTLE_OK}};
    struct wattle_meter *meter = with_domain(steps, 2);
    struct wattle_energy energy = window(meter, 1000000000);
    assert_int_equal(energy.provenance, WATTLE_MEASURED);
    assert_true(fabs(energy.j - 10) < 1e-9);
    assert_true(fabs(energy.low_j - (10 - 0.01 - 61.035e-6)) < 1e-9);
    assert_true(fabs(energy.high_j - (10 + 0.01 + 61.035e-6)) < 1e-9);
    assert_string_equal(energy.reason, "");

    /* The same window begun 60 us after an edge: only its end is uncertain by a whole update. */
    meter->edge_ns[0] = begin[0].time_ns;
    meter->slack_ns[0] = 60000;
    wattle_meter_energy(meter, begin, end, &energy);
    assert_true(fabs(energy.low_j - (10 - 0.0006 - 61.035e-6)) < 1e-9);
    assert_true(fabs(energy.high_j - (10 + 0.01 + 61.035e-6)) < 1e-9);

    meter->domains[0].gain_uncertainty = 0.05;
    meter->edge_ns[0] = 0;
    wattle_meter_energy(meter, begin, end, &energy);
    assert_true(fabs(energy.low_j - 0.95 * (10 - 0.01 - 61.035e-6)) < 1e-9);
    assert_true(fabs(energy.high_j - 1.05 * (10 + 0.01 + 61.035e-6)) < 1e-9);
    wattle_meter_close(meter);
}

/* True energy lies inside the bounds wherever the window falls between updates. */
static void test_bounds_hold(void **state)
{
    (void)state;
    const double power_w = 37.5;
    for (int phase = 0; phase < 40; phase++)
        for (int length = 2000; length < 30000; length += 777) { /* us */
            double t0 = phase * 25 + 100000, t1 = t0 + length;  /* us since an update */
            struct meter_fake_step steps[2];
            for (int i = 0; i < 2; i++) {
                double shown_us = floor((i ? t1 : t0) / 1000) * 1000;
                uint64_t units = (uint64_t)(shown_us * power_w / 61.035);
                steps[i] = (struct meter_fake_step){units * 61035 / 1000, WATTLE_OK};
            }
            struct wattle_meter *meter = with_domain(steps, 2);
            struct wattle_energy energy = window(meter, (uint64_t)length * 1000);
            double truth_j = power_w * length / 1e6;
            /* The bound takes the window's mean power as the power at its ends. */
            double slack_j = power_w * 1e-3 * 1e3 / length;
            assert_true(energy.low_j <= truth_j + slack_j && truth_j <= energy.high_j + slack_j);
            wattle_meter_close(meter);
        }
}

static void test_short_window_says_so(void **state)
{
    (void)state;
    static const struct meter_fake_step steps[] = {{1000000, WATTLE_OK}, {1200000, WATTLE_OK}};
    struct wattle_meter *meter = with_domain(steps, 2);
    struct wattle_energy energy = window(meter, 20000000);
    assert_int_equal(energy.provenance, WATTLE_MEASURED);
    assert_string_equal(energy.reason, "only 20 counter updates in the window: within -5/+5 %");
    wattle_meter_close(meter);
}

static void test_nothing_moved(void **state)
{
    (void)state;
    static const struct meter_fake_step steps[] = {{1000000, WATTLE_OK}};
    struct wattle_meter *meter = with_domain(steps, 1);
    struct wattle_energy energy = window(meter, 500000);
    assert_int_equal(energy.provenance, WATTLE_NONE);
    assert_true(isnan(energy.j));
    assert_non_null(strstr(energy.reason, "shorter than its update"));
    assert_true(fabs(energy.seconds - 0.0005) < 1e-12); /* the time is known all the same */
    wattle_meter_energy(meter, begin, begin, &energy);
    assert_non_null(strstr(energy.reason, "empty"));
    wattle_meter_energy(meter, end, begin, &energy);
    assert_non_null(strstr(energy.reason, "empty"));
    wattle_meter_close(meter);
}

/* A sum with one part that has no figure has none. */
static void test_one_of_two_fails(void **state)
{
    (void)state;
    static const struct meter_fake_step good[] = {{1, WATTLE_OK}, {1000001, WATTLE_OK}};
    static const struct meter_fake_step bad[] = {{1, WATTLE_OK}, {0, WATTLE_ERROR}};
    struct wattle_meter *meter = with_domain(good, 2);
    assert_int_equal(meter_fake_domain(meter, "package-1", 0, 0, bad, 2), 0);
    struct wattle_energy energy = window(meter, 1000000000);
    assert_int_equal(energy.provenance, WATTLE_NONE);
    assert_non_null(strstr(energy.reason, "package-1"));
    meter->domains[1].in_total = 0; /* as information it does no harm */
    wattle_meter_energy(meter, begin, end, &energy);
    assert_true(fabs(energy.j - 1) < 1e-9);
    wattle_meter_close(meter);
}

/* A sum that holds an estimate is an estimate. */
static void test_provenance_is_the_weakest(void **state)
{
    (void)state;
    static const struct meter_fake_step steps[] = {{1, WATTLE_OK}, {1000001, WATTLE_OK}};
    struct wattle_meter *meter = with_domain(steps, 2);
    assert_int_equal(meter_fake_domain(meter, "disk", 0, 0, steps, 2), 0);
    meter->domains[1].provenance = WATTLE_ESTIMATED;
    struct wattle_energy energy = window(meter, 1000000000);
    assert_int_equal(energy.provenance, WATTLE_ESTIMATED);
    assert_true(fabs(energy.j - 2) < 1e-9);
    wattle_meter_close(meter);
}

static uint64_t process_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void test_edge(void **state)
{
    (void)state;
    static const struct meter_fake_step steps[] = {
        {1000, WATTLE_OK}, {1000, WATTLE_OK}, {1000, WATTLE_OK}, {2000, WATTLE_OK}};
    struct wattle_meter *meter = with_domain(steps, 4);
    assert_int_equal(wattle_meter_edge(meter, 1000000000, begin), 1);
    assert_int_equal(begin[0].total_uj, 1000);
    assert_int_equal(meter->edge_ns[0], begin[0].time_ns);

    /* No further edge: it waits the time out, asleep. */
    uint64_t cpu_ns = process_cpu_ns();
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    assert_int_equal(wattle_meter_edge(meter, 200000000, begin), 0);
    clock_gettime(CLOCK_MONOTONIC, &after);
    double waited_s = (double)(after.tv_sec - before.tv_sec) +
                      (double)(after.tv_nsec - before.tv_nsec) / 1e9;
    double used_s = (double)(process_cpu_ns() - cpu_ns) / 1e9;
    print_message("waited %.3f s with %.4f s of CPU\n", waited_s, used_s);
    assert_true(waited_s >= 0.2);
    assert_true(used_s < 0.5 * waited_s); /* spinning would be 1.0; a loaded machine less */
    wattle_meter_close(meter);
}

static void test_names(void **state)
{
    (void)state;
    static const char *const texts[] = {"OK",    "PERM",  "ABSENT", "MASKED",
                                        "STUCK", "RESET", "ERROR"};
    for (int i = 0; i < 7; i++)
        assert_string_equal(wattle_status_name((enum wattle_status)i), texts[i]);
    assert_string_equal(wattle_status_name((enum wattle_status)99), "UNKNOWN");
    assert_string_equal(wattle_provenance_name(WATTLE_ESTIMATED), "estimated");
    assert_string_equal(wattle_provenance_name((enum wattle_provenance)99), "unknown");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, tree_begin, tree_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_bounds), TEST(test_bounds_hold), TEST(test_short_window_says_so),
        TEST(test_nothing_moved), TEST(test_one_of_two_fails),
        TEST(test_provenance_is_the_weakest), TEST(test_edge), TEST(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
