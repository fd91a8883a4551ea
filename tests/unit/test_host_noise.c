/* Verdicts on a window: each disturbance on its own, below and above its limit. */
#include "host/host.h"

#include "test.h"
#include "meter_tree.h"

#include <math.h>

#define S 1000000000ull
#define FIXTURES "tests/fixtures/sysroot/"

static struct host_noise before, after;
static uint64_t worker_ns;
static char text[512];

/* A quiet window of 10 s on two cores with one thread of work. */
static void quiet(void)
{
    before = (struct host_noise){.time_ns = 100 * S, .boottime_ns = 150 * S, .busy_ns = 50 * S,
                                 .idle_ns = 60 * S, .steal_ns = 7 * S, .throttle_count = 4,
                                 .swap_in_pages = 10, .frequency_mhz = 3000, .temperature_c = 60};
    after = before;
    after.time_ns += 10 * S;
    after.boottime_ns += 10 * S;
    after.busy_ns += 10 * S;
    after.idle_ns += 10 * S;
    worker_ns = 10 * S;
}

/* The verdict, with the one reason in text ("" for none). */
static enum verdict judge(void)
{
    json_t *reasons = json_array();
    enum verdict verdict = host_noise_judge(&before, &after, worker_ns, reasons);
    assert_true(json_array_size(reasons) <= 1);
    const char *reason = json_string_value(json_array_get(reasons, 0));
    snprintf(text, sizeof text, "%s", reason ? reason : "");
    json_decref(reasons);
    if (text[0])
        print_message("%s: %s\n", verdict_name(verdict), text);
    assert_true((verdict == VERDICT_VALID) == !text[0]);
    return verdict;
}

static void expect(enum verdict verdict, const char *part)
{
    assert_int_equal(judge(), verdict);
    assert_non_null(strstr(text, part));
    if (verdict != VERDICT_VALID) { /* value, limit and remedy */
        assert_non_null(strstr(text, "(limit"));
        assert_non_null(strstr(text, ": "));
        assert_true(strlen(text) < 250);
    }
}

static void test_quiet(void **state)
{
    (void)state;
    quiet();
    expect(VERDICT_VALID, "");
    after = before; /* an empty window */
    worker_ns = 0;
    expect(VERDICT_VALID, "");
}

static void test_steal(void **state)
{
    (void)state;
    quiet();
    after.steal_ns += S / 11; /* 0.9 % of what was wanted */
    expect(VERDICT_VALID, "");
    after.steal_ns += S / 9;
    expect(VERDICT_SUSPECT, "stolen by the hypervisor: 2.0 %");
    after.steal_ns += S;
    expect(VERDICT_INVALID, "limit 10 %");
    /* Short window: one tick of 10 ms is no evidence. */
    quiet();
    after.busy_ns = before.busy_ns + S / 10;
    worker_ns = S / 10;
    after.steal_ns += S / 100;
    expect(VERDICT_VALID, "");
}

static void test_foreign_load(void **state)
{
    (void)state;
    quiet();
    after.busy_ns += S / 2; /* 4.8 % */
    expect(VERDICT_VALID, "");
    after.busy_ns += S; /* 1.5 of 11.5, 0.15 cores */
    expect(VERDICT_SUSPECT, "other programs used 13.0 %");
    after.busy_ns += 5 * S; /* 6.5 of 16.5, 0.65 cores */
    expect(VERDICT_INVALID, "other programs used 39.4 %");
    /* One short request on a large machine: 0.09 cores of housekeeping are no fault. */
    quiet();
    after.busy_ns = before.busy_ns + 19 * S / 10;
    worker_ns = S;
    expect(VERDICT_VALID, "");
    /* Sampled ticks may say less than the worker's exact time. */
    worker_ns = 20 * S;
    expect(VERDICT_VALID, "");
}

static void test_swap(void **state)
{
    (void)state;
    uint64_t mib = 1048576 / (uint64_t)sysconf(_SC_PAGESIZE);
    quiet();
    after.swap_in_pages += mib / 2;
    after.swap_out_pages += mib / 2;
    expect(VERDICT_VALID, "");
    after.swap_out_pages += mib;
    expect(VERDICT_SUSPECT, "swapped 2.0 MiB");
    after.swap_out_pages += 300 * mib;
    expect(VERDICT_INVALID, "limit 256 MiB");
}

static void test_suspend(void **state)
{
    (void)state;
    quiet();
    after.boottime_ns += S / 20;
    expect(VERDICT_VALID, "");
    after.boottime_ns += S / 10;
    expect(VERDICT_INVALID, "suspended for 0.1 s");
}

static void test_heat(void **state)
{
    (void)state;
    quiet();
    after.throttle_count++;
    expect(VERDICT_SUSPECT, "throttled 1 times");
    quiet();
    after.temperature_c = 96;
    expect(VERDICT_SUSPECT, "ended at 96 degrees");
    quiet();
    after.temperature_c = NAN;
    expect(VERDICT_VALID, "");
}

static void test_frequency(void **state)
{
    (void)state;
    quiet();
    after.frequency_mhz = 2860; /* -4.7 % */
    expect(VERDICT_VALID, "");
    after.frequency_mhz = 2700;
    expect(VERDICT_SUSPECT, "fell by 10.0 %, from 3000 to 2700 MHz");
    after.idle_ns += 20 * S; /* idle CPUs lower their clocks of themselves */
    expect(VERDICT_VALID, "");
    quiet();
    after.frequency_mhz = NAN;
    expect(VERDICT_VALID, "");
}

/* No counter is not a quiet machine; counters that stand still are a recorded tree's. */
static void test_no_stat(void **state)
{
    (void)state;
    quiet();
    after.busy_ns = after.idle_ns = after.steal_ns = 0;
    assert_int_equal(judge(), VERDICT_SUSPECT);
    assert_string_equal(text, "cannot tell whether other programs ran: no /proc/stat");
    before.busy_ns = before.idle_ns = before.steal_ns = 0;
    assert_int_equal(judge(), VERDICT_SUSPECT);
    quiet();
    after.busy_ns = before.busy_ns;
    after.idle_ns = before.idle_ns;
    assert_int_equal(judge(), VERDICT_VALID);
}

static void test_battery(void **state)
{
    (void)state;
    quiet();
    after.on_battery = 1;
    expect(VERDICT_SUSPECT, "battery");
}

/* Several findings: all are told, and the worst decides. */
static void test_worst_decides(void **state)
{
    (void)state;
    quiet();
    after.steal_ns += 5 * S;
    after.throttle_count++;
    json_t *reasons = json_array();
    assert_int_equal(host_noise_judge(&before, &after, worker_ns, reasons), VERDICT_INVALID);
    assert_int_equal(json_array_size(reasons), 2);
    json_decref(reasons);
    assert_string_equal(verdict_name(VERDICT_VALID), "VALID");
    assert_string_equal(verdict_name(VERDICT_SUSPECT), "SUSPECT");
    assert_string_equal(verdict_name(VERDICT_INVALID), "INVALID");
}

static void test_snapshot(void **state)
{
    (void)state;
    struct host_noise n;
    uint64_t tick_ns = S / (uint64_t)sysconf(_SC_CLK_TCK);
    host_noise_read(&n, FIXTURES "intel-2s");
    assert_true(n.busy_ns == (100000 + 500 + 20000 + 100 + 200) * tick_ns);
    assert_true(n.idle_ns == (4000000 + 3000) * tick_ns);
    assert_int_equal(n.steal_ns, 0);
    assert_int_equal(n.swap_in_pages, 12);
    assert_int_equal(n.swap_out_pages, 34);
    assert_int_equal(n.throttle_count, 28 + 8 * 3);
    assert_true(fabs(n.load_1min - 1.25) < 1e-9);
    assert_true(fabs(n.frequency_mhz - 2970) < 1e-9);
    assert_true(fabs(n.temperature_c - 70) < 1e-9); /* the disk's 99.9 is not the CPU's */
    assert_int_equal(n.on_battery, 0);
    assert_true(n.time_ns > 0 && n.boottime_ns >= n.time_ns);
    host_noise_read(&n, FIXTURES "vm");
    assert_true(n.steal_ns > 0);
    assert_true(isnan(n.frequency_mhz) && isnan(n.temperature_c));
    host_noise_read(&n, FIXTURES "amd-desktop");
    assert_int_equal(n.on_battery, 1);
    assert_true(fabs(n.temperature_c - 96.5) < 1e-9);
    host_noise_read(&n, tree_root);
    assert_true(n.busy_ns == 0 && isnan(n.load_1min) && n.throttle_count == 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, tree_begin, tree_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_quiet), TEST(test_steal), TEST(test_foreign_load), TEST(test_swap),
        TEST(test_suspend), TEST(test_heat), TEST(test_frequency), TEST(test_battery),
        TEST(test_worst_decides), TEST(test_no_stat), TEST(test_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
