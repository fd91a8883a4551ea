/* stats.h: pure functions over arrays of numbers. No allocation unless said, no global state. */
#ifndef WATTLE_STATS_STATS_H
#define WATTLE_STATS_STATS_H

#include <stddef.h>
#include <stdint.h>

/* Sorts in place, ascending; NaN last. */
void stats_sort(double *x, size_t n);
void stats_sort_u64(uint64_t *x, size_t n);

/* Order statistic for percentile p (0..100) of sorted x, no interpolation: x[ceil(p/100 n) - 1]. */
double stats_percentile(const double *sorted, size_t n, double p);

/* Samples needed before percentile p may be printed at 99 % confidence: the smallest n with
 * 1 - (p/100)^n >= 0.99 (at least one sample lies beyond it): p90 44, p95 90, p99 459, p99.9 4603.
 * For p = 50 it is 7. */
size_t stats_percentile_needs(double p);

/* Distribution-free 95 % confidence interval of the median of sorted x by binomial order
 * statistics (Conover, Practical Nonparametric Statistics); returns 1, or 0 with both NaN when
 * n < 6. */
int stats_median_ci95(const double *sorted, size_t n, double *low, double *high);

double stats_mean(const double *x, size_t n);      /* NaN for n = 0 */
double stats_sd(const double *x, size_t n);        /* sample, n - 1; NaN for n < 2 */

/* Mann-Kendall trend test over x in time order (Kendall, Rank Correlation Methods; ties corrected,
 * normal approximation with continuity): two-sided p; NaN for n < 4 or where a value is NaN.
 * O(n^2): give it at most ~ 500 points. */
double stats_trend_p(const double *x, size_t n);
/* Theil-Sen slope per step (Sen 1968: median of pairwise slopes). scratch holds n*(n-1)/2
 * doubles. */
double stats_slope(const double *x, size_t n, double *scratch);

/* Bounds of (a*w1 + b*c1) / (a*w2 + b*c2) over a in [a0,a1], b in [b0,b1]: the ratio of two
 * estimates whose unknown (a, b) is the same. Extremes lie at corners, the ratio being monotone in
 * a and in b. Both are NaN when the second has no energy at some corner. */
void stats_estimate_ratio(double w1, double c1, double w2, double c2, const double a[2],
                          const double b[2], double *low, double *high);

#endif
