#include "stats/stats.h"

#include <math.h>
#include <string.h>

/* Heapsort (Williams 1964): never quadratic, no allocation, no recursion: latencies may be a
 * million and nearly sorted already. */
static void sift(uint64_t *x, size_t root, size_t n)
{
    uint64_t value = x[root];
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && x[child + 1] > x[child])
            child++;
        if (x[child] <= value)
            break;
        x[root] = x[child];
    }
    x[root] = value;
}

void stats_sort_u64(uint64_t *x, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sift(x, i, n);
    for (size_t end = n; end-- > 1;) {
        uint64_t largest = x[0];
        x[0] = x[end];
        x[end] = largest;
        sift(x, 0, end);
    }
}

/* NaN goes last, so that the numbers stay in one piece. */
static int before(double a, double b)
{
    return a < b || (!isnan(a) && isnan(b));
}

static void sift_double(double *x, size_t root, size_t n)
{
    double value = x[root];
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && before(x[child], x[child + 1]))
            child++;
        if (!before(value, x[child]))
            break;
        x[root] = x[child];
    }
    x[root] = value;
}

void stats_sort(double *x, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sift_double(x, i, n);
    for (size_t end = n; end-- > 1;) {
        double largest = x[0];
        x[0] = x[end];
        x[end] = largest;
        sift_double(x, 0, end);
    }
}

double stats_percentile(const double *sorted, size_t n, double p)
{
    if (n == 0 || !(p >= 0 && p <= 100))
        return NAN;
    /* p * n before the division: exact for whole p; p90 of 10 is the 9th and not the 10th. */
    double rank = ceil(p * (double)n / 100 - 1e-9);
    size_t k = rank < 1 ? 1 : (size_t)rank;
    return sorted[(k > n ? n : k) - 1];
}

size_t stats_percentile_needs(double p)
{
    if (!(p > 0))
        return 1;
    if (p >= 100)
        return SIZE_MAX;
    double n = ceil(log(0.01) / log(p / 100) - 1e-9);
    return n < 1 ? 1 : (size_t)n;
}

/* ln of C(n, k) / 2^n */
static double log_binomial_half(size_t n, size_t k)
{
    int sign;
    double a = (double)n, b = (double)k;
    return lgamma_r(a + 1, &sign) - lgamma_r(b + 1, &sign) - lgamma_r(a - b + 1, &sign) -
           a * log(2);
}

int stats_median_ci95(const double *sorted, size_t n, double *low, double *high)
{
    *low = *high = NAN;
    if (n < 6)
        return 0;
    /* The median lies below x[r-1] with probability P(B <= r - 1), B ~ Binomial(n, 1/2) (Conover,
     * Practical Nonparametric Statistics, ch. 3.2): take the largest r for which that is <= 2.5 %.
     * Below the mean by 12 standard deviations the tail is nothing, so the sum starts there. */
    double start = floor((double)n / 2 - 6 * sqrt((double)n));
    size_t k = start > 0 ? (size_t)start : 0;
    double mass = exp(log_binomial_half(n, k)), tail = mass;
    while (tail <= 0.025) {
        mass *= (double)(n - k) / (double)(k + 1);
        tail += mass;
        k++;
    }
    *low = sorted[k - 1];
    *high = sorted[n - k];
    return 1;
}

double stats_mean(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return n ? sum / (double)n : NAN;
}

double stats_sd(const double *x, size_t n)
{
    if (n < 2)
        return NAN;
    double mean = stats_mean(x, n), squares = 0;
    for (size_t i = 0; i < n; i++)
        squares += (x[i] - mean) * (x[i] - mean);
    return sqrt(squares / (double)(n - 1));
}

/* Kendall's S, and sum over groups of t equal values of t (t - 1) (2 t + 5): every member of such a
 * group contributes (t - 1) (2 t + 5). Returns 0 when a value is NaN. */
static int kendall(const double *x, size_t n, double *s, double *ties)
{
    *s = *ties = 0;
    for (size_t i = 0; i < n; i++) {
        double equal = 1;
        if (isnan(x[i]))
            return 0;
        for (size_t j = 0; j < n; j++) {
            if (j != i)
                equal += x[j] == x[i];
            if (j > i)
                *s += (x[j] > x[i]) - (x[j] < x[i]);
        }
        *ties += (equal - 1) * (2 * equal + 5);
    }
    return 1;
}

double stats_trend_p(const double *x, size_t n)
{
    double s, ties;
    if (n < 4 || !kendall(x, n, &s, &ties))
        return NAN;
    double m = (double)n;
    double variance = (m * (m - 1) * (2 * m + 5) - ties) / 18;
    if (variance <= 0 || s == 0)
        return 1;
    double z = (fabs(s) - 1) / sqrt(variance);
    return erfc(z / sqrt(2));
}

double stats_slope(const double *x, size_t n, double *scratch)
{
    if (n < 2)
        return NAN;
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++)
            scratch[count++] = (x[j] - x[i]) / (double)(j - i);
    stats_sort(scratch, count);
    size_t half = count / 2;
    return count % 2 ? scratch[half] : scratch[half - 1] / 2 + scratch[half] / 2;
}

void stats_estimate_ratio(double w1, double c1, double w2, double c2, const double a[2],
                          const double b[2], double *low, double *high)
{
    *low = INFINITY;
    *high = -INFINITY;
    for (int corner = 0; corner < 4; corner++) {
        double x = a[corner & 1], y = b[corner >> 1];
        double below = x * w2 + y * c2;
        double ratio = below > 0 ? (x * w1 + y * c1) / below : NAN;
        if (isnan(ratio)) {
            *low = *high = NAN;
            return;
        }
        *low = fmin(*low, ratio);
        *high = fmax(*high, ratio);
    }
}
