/* Statistics against values worked out by hand or published. */
#include "stats/stats.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance))
        fail_msg("got %.17g, want %.17g", got, want);
}

static uint64_t state = 88172645463325252ull;

static uint64_t random_u64(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static double random_unit(void)
{
    return (double)(random_u64() >> 11) * 0x1p-53;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void sorts_as_qsort_does(void **context)
{
    (void)context;
    double x[300], y[300];
    uint64_t u[300];
    for (size_t n = 0; n < 300; n++) {
        for (size_t i = 0; i < n; i++) {
            u[i] = random_u64() % (n / 2 + 1);
            x[i] = y[i] = (double)u[i] - 50;
        }
        stats_sort(x, n);
        stats_sort_u64(u, n);
        qsort(y, n, sizeof *y, compare);
        for (size_t i = 0; i < n; i++) {
            assert_true(x[i] == y[i]);
            assert_true((double)u[i] - 50 == y[i]);
        }
    }
    uint64_t big[] = {UINT64_MAX, 0, 1ull << 63, 1};
    stats_sort_u64(big, 4);
    assert_true(big[0] == 0 && big[1] == 1 && big[2] == 1ull << 63 && big[3] == UINT64_MAX);
}

static void sorts_nan_last(void **context)
{
    (void)context;
    double x[] = {3, NAN, -INFINITY, 1, NAN, INFINITY, 2};
    stats_sort(x, 7);
    assert_true(x[0] == -INFINITY && x[1] == 1 && x[2] == 2 && x[3] == 3 && x[4] == INFINITY);
    assert_true(isnan(x[5]) && isnan(x[6]));
}

static void percentile_is_an_order_statistic(void **context)
{
    (void)context;
    double x[1000];
    for (size_t i = 0; i < 1000; i++)
        x[i] = (double)(i + 1);
    near(stats_percentile(x, 10, 90), 9, 0);
    near(stats_percentile(x, 10, 91), 10, 0);
    near(stats_percentile(x, 10, 50), 5, 0);
    near(stats_percentile(x, 11, 50), 6, 0);
    near(stats_percentile(x, 1000, 99), 990, 0);
    near(stats_percentile(x, 1000, 99.9), 999, 0);
    near(stats_percentile(x, 5, 0), 1, 0);
    near(stats_percentile(x, 5, 100), 5, 0);
    near(stats_percentile(x, 1, 99), 1, 0);
    assert_true(isnan(stats_percentile(x, 0, 50)));
    assert_true(isnan(stats_percentile(x, 5, NAN)) && isnan(stats_percentile(x, 5, 101)));
}

static void percentile_needs_what_the_protocol_says(void **context)
{
    (void)context;
    assert_int_equal(stats_percentile_needs(50), 7);
    assert_int_equal(stats_percentile_needs(90), 44);
    assert_int_equal(stats_percentile_needs(95), 90);
    assert_int_equal(stats_percentile_needs(99), 459);
    assert_int_equal(stats_percentile_needs(99.9), 4603);
    assert_int_equal(stats_percentile_needs(10), 2);
    assert_int_equal(stats_percentile_needs(0), 1);
    assert_true(stats_percentile_needs(100) == SIZE_MAX);
}

/* Ranks (r, n + 1 - r) as in published tables of the sign-test interval (Conover, table A3). */
static void median_interval_has_the_tabulated_ranks(void **context)
{
    (void)context;
    static const struct {
        size_t n, r;
    } table[] = {{6, 1},   {8, 1},   {9, 2},   {10, 2},  {11, 2},  {12, 3}, {15, 4},
                 {17, 5},  {20, 6},  {25, 8},  {30, 10}, {40, 14}, {50, 18}, {100, 40},
                 {1000, 469}};
    static double x[1000000];
    for (size_t i = 0; i < 1000000; i++)
        x[i] = (double)(i + 1);
    double low, high;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        assert_int_equal(stats_median_ci95(x, table[i].n, &low, &high), 1);
        near(low, (double)table[i].r, 0);
        near(high, (double)(table[i].n + 1 - table[i].r), 0);
    }
    assert_int_equal(stats_median_ci95(x, 1000000, &low, &high), 1);
    near(low, 500000 - 980, 1); /* n / 2 - 1.96 sqrt(n) / 2 */
    assert_int_equal(stats_median_ci95(x, 5, &low, &high), 0);
    assert_true(isnan(low) && isnan(high));
}

static void median_interval_covers(void **context)
{
    (void)context;
    int covered = 0;
    double x[25], low, high;
    for (int trial = 0; trial < 4000; trial++) {
        for (size_t i = 0; i < 25; i++)
            x[i] = -log(1 - random_unit());
        stats_sort(x, 25);
        stats_median_ci95(x, 25, &low, &high);
        covered += low <= log(2) && log(2) <= high;
    }
    near(covered / 4000.0, 0.957, 0.015); /* 1 - 2 P(B(25) <= 7) = 0.9567 */
}

static void mean_and_sd(void **context)
{
    (void)context;
    double x[] = {2, 4, 4, 4, 5, 5, 7, 9};
    near(stats_mean(x, 8), 5, 1e-15);
    near(stats_sd(x, 8), sqrt(32.0 / 7), 1e-15);
    assert_true(isnan(stats_mean(x, 0)) && isnan(stats_sd(x, 1)));
    near(stats_mean(x, 1), 2, 0);
}

static void trend_matches_hand_computation(void **context)
{
    (void)context;
    double up[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    /* S = 45, var = 10 * 9 * 25 / 18 = 125, z = 44 / sqrt(125) = 3.9355, p = 8.30e-5 */
    near(stats_trend_p(up, 10), 8.3032e-05, 1e-8);
    /* S = 5 (5 up, 0 down, one tie): ties 2 * 1 * 9 = 18, var = (156 - 18) / 18, z = 4 / 2.7689 */
    double tied[] = {1, 2, 2, 3};
    near(stats_trend_p(tied, 4), erfc(4 / sqrt(138.0 / 18) / sqrt(2)), 1e-12);
    double flat[] = {5, 5, 5, 5, 5};
    near(stats_trend_p(flat, 5), 1, 0);
    double bad[] = {1, 2, NAN, 4};
    assert_true(isnan(stats_trend_p(up, 3)) && isnan(stats_trend_p(bad, 4)));
}

static void trend_is_calibrated_and_symmetric(void **context)
{
    (void)context;
    int rejected = 0;
    double x[30], reversed[30];
    for (int trial = 0; trial < 4000; trial++) {
        for (size_t i = 0; i < 30; i++)
            reversed[29 - i] = x[i] = random_unit();
        double p = stats_trend_p(x, 30);
        assert_true(p >= 0 && p <= 1);
        near(stats_trend_p(reversed, 30), p, 1e-12);
        rejected += p < 0.05;
    }
    near(rejected / 4000.0, 0.05, 0.015);
}

static void slope_is_theil_sen(void **context)
{
    (void)context;
    double scratch[30 * 29 / 2];
    double line[] = {1, 3, 5, 7, 1000, 11, 13};
    near(stats_slope(line, 7, scratch), 2, 0); /* one outlier does not count */
    double even[] = {0, 1, 4}; /* slopes 1, 2, 3 */
    near(stats_slope(even, 3, scratch), 2, 0);
    double four[] = {0, 1, 4, 9}; /* 1 2 3 3 4 5 -> 3 */
    near(stats_slope(four, 4, scratch), 3, 0);
    double three[] = {0, 2, 1, 5}; /* 2, 0.5, 5/3, -1, 1.5, 4 -> (1.5 + 5/3) / 2 */
    near(stats_slope(three, 4, scratch), (1.5 + 5.0 / 3) / 2, 1e-15);
    assert_true(isnan(stats_slope(line, 1, scratch)));
}

static void estimate_ratio_at_corners(void **context)
{
    (void)context;
    double a[] = {10, 40}, b[] = {5, 20}, low, high;
    /* same wall, twice the CPU: (10+5*2)/(10+5), (40+10)/(45), (10+40)/(30), (40+40)/(60) */
    stats_estimate_ratio(1, 2, 1, 1, a, b, &low, &high);
    near(low, 50.0 / 45, 1e-15);
    near(high, 50.0 / 30, 1e-15);
    stats_estimate_ratio(1.5, 3, 0.5, 1, a, b, &low, &high); /* proportional: no doubt left */
    near(low, 3, 1e-12);
    near(high, 3, 1e-12);
    stats_estimate_ratio(1, 1, 0, 0, a, b, &low, &high);
    assert_true(isnan(low) && isnan(high));
    stats_estimate_ratio(NAN, 1, 1, 1, a, b, &low, &high);
    assert_true(isnan(low) && isnan(high));
}

static void estimate_ratio_bounds_hold_inside_the_box(void **context)
{
    (void)context;
    for (int trial = 0; trial < 2000; trial++) {
        double a[] = {random_unit(), 0}, b[] = {random_unit(), 0}, low, high;
        a[1] = a[0] + random_unit();
        b[1] = b[0] + random_unit();
        double w1 = random_unit() + 0.01, c1 = random_unit();
        double w2 = random_unit() + 0.01, c2 = random_unit();
        stats_estimate_ratio(w1, c1, w2, c2, a, b, &low, &high);
        for (int i = 0; i < 20; i++) {
            double x = a[0] + (a[1] - a[0]) * random_unit();
            double y = b[0] + (b[1] - b[0]) * random_unit();
            double ratio = (x * w1 + y * c1) / (x * w2 + y * c2);
            assert_true(ratio >= low - 1e-12 && ratio <= high + 1e-12);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sorts_as_qsort_does),
        cmocka_unit_test(sorts_nan_last),
        cmocka_unit_test(percentile_is_an_order_statistic),
        cmocka_unit_test(percentile_needs_what_the_protocol_says),
        cmocka_unit_test(median_interval_has_the_tabulated_ranks),
        cmocka_unit_test(median_interval_covers),
        cmocka_unit_test(mean_and_sd),
        cmocka_unit_test(trend_matches_hand_computation),
        cmocka_unit_test(trend_is_calibrated_and_symmetric),
        cmocka_unit_test(slope_is_theil_sen),
        cmocka_unit_test(estimate_ratio_at_corners),
        cmocka_unit_test(estimate_ratio_bounds_hold_inside_the_box),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
