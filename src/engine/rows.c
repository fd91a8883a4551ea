#include "engine/rows.h"

#include "engine/exp.h"
#include "engine/simd.h"

#include <string.h>

static inline float scaled_maximum(const float *x, float scale, const float *mask, float *y,
                                   int64_t n)
{
    float maximum = -INFINITY;
    if (mask) {
#pragma omp simd reduction(max : maximum)
        for (int64_t i = 0; i < n; i++) {
            y[i] = x[i] * scale + mask[i];
            maximum = y[i] > maximum ? y[i] : maximum;
        }
    } else {
#pragma omp simd reduction(max : maximum)
        for (int64_t i = 0; i < n; i++) {
            y[i] = x[i] * scale;
            maximum = y[i] > maximum ? y[i] : maximum;
        }
    }
    return maximum;
}

SIMD_CLONES
void row_softmax(const float *x, float scale, const float *mask, float *y, int64_t n)
{
    float maximum = scaled_maximum(x, scale, mask, y, n), sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        y[i] = exp_negative(y[i] - maximum);
        sum += y[i];
    }
    float inverse = 1.0f / sum;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] *= inverse;
}

SIMD_CLONES
void row_layer_norm(const float *x, const float *scale, const float *bias, float epsilon, float *y,
                    int64_t n)
{
    float sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    float mean = sum / (float)n;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < n; i++)
        squares += (x[i] - mean) * (x[i] - mean);
    float inverse = 1.0f / sqrtf(squares / (float)n + epsilon);
    if (bias) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = (x[i] - mean) * inverse * scale[i] + bias[i];
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = (x[i] - mean) * inverse * scale[i];
    }
}

SIMD_CLONES
void row_rms_norm(const float *x, const float *scale, float epsilon, float *y, int64_t n)
{
    float squares = 0;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < n; i++)
        squares += x[i] * x[i];
    float inverse = 1.0f / sqrtf(squares / (float)n + epsilon);
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] * inverse * scale[i];
}

/* ---- mean and spread: exact sums of what fits the first cache, joined in double ---- */

enum { CHUNK = 4096, LANES = 8 };

void moments_join(struct moments *m, const struct moments *more)
{
    double apart = more->mean - m->mean, total = (double)(m->count + more->count);
    if (more->count == 0)
        return;
    m->mean += apart * (double)more->count / total;
    m->spread += more->spread + apart * apart * (double)m->count * (double)more->count / total;
    m->count += more->count;
}

/* From sums of distances from what is nearly the mean. */
static struct moments corrected(int64_t n, double mean, double rest, double squares)
{
    double spread = squares - rest * rest / (double)n; /* not below 0; NaN stays NaN */
    return (struct moments){n, mean + rest / (double)n, spread > 0 ? spread : squares * 0};
}

SIMD_CLONES
static void chunk_moments(const float *x, int64_t n, struct moments *m)
{
    float sum = 0, squares = 0, rest = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    float mean = sum / (float)n;
#pragma omp simd reduction(+ : squares, rest)
    for (int64_t i = 0; i < n; i++) {
        float apart = x[i] - mean;
        squares += apart * apart;
        rest += apart;
    }
    *m = corrected(n, (double)mean, (double)rest, (double)squares);
}

void row_moments(const float *x, int64_t n, struct moments *m)
{
    *m = (struct moments){0};
    for (int64_t i = 0; i < n; i += CHUNK) {
        struct moments part;
        chunk_moments(x + i, n - i < CHUNK ? n - i : CHUNK, &part);
        moments_join(m, &part);
    }
}

static double four(const float *sums)
{
    return (double)sums[0] + (double)sums[LANES] + (double)sums[2 * LANES] +
           (double)sums[3 * LANES];
}

/* Of each lane; four sums of each, so that additions need not wait for one another. */
SIMD_CLONES
static void chunk_moments8(const float *x, int64_t n, struct moments m[LANES])
{
    float sum[4 * LANES] = {0}, squares[4 * LANES] = {0}, rest[4 * LANES] = {0}, mean[4 * LANES];
    int64_t whole = n - n % 4;
    for (int64_t i = 0; i < whole; i += 4)
        for (int k = 0; k < 4 * LANES; k++)
            sum[k] += x[i * LANES + k];
    for (int64_t i = whole * LANES; i < n * LANES; i++)
        sum[i % LANES] += x[i];
    for (int k = 0; k < LANES; k++) {
        float all = (float)(four(sum + k) / (double)n);
        mean[k] = mean[LANES + k] = mean[2 * LANES + k] = mean[3 * LANES + k] = all;
    }
    for (int64_t i = 0; i < whole; i += 4)
        for (int k = 0; k < 4 * LANES; k++) {
            float apart = x[i * LANES + k] - mean[k];
            squares[k] += apart * apart;
            rest[k] += apart;
        }
    for (int64_t i = whole * LANES; i < n * LANES; i++) {
        float apart = x[i] - mean[i % LANES];
        squares[i % LANES] += apart * apart;
        rest[i % LANES] += apart;
    }
    for (int k = 0; k < LANES; k++)
        m[k] = corrected(n, (double)mean[k], four(rest + k), four(squares + k));
}

void row_moments8(const float *x, int64_t n, struct moments m[8])
{
    memset(m, 0, LANES * sizeof *m);
    for (int64_t i = 0; i < n; i += CHUNK / LANES) {
        struct moments part[LANES];
        chunk_moments8(x + i * LANES, n - i < CHUNK / LANES ? n - i : CHUNK / LANES, part);
        for (int k = 0; k < LANES; k++)
            moments_join(&m[k], &part[k]);
    }
}

SIMD_CLONES
void row_affine(const float *x, float factor, float shift, float *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] * factor + shift;
}

SIMD_CLONES
void row_affine8(const float *x, const float factor[8], const float shift[8], float *y, int64_t n)
{
    float f[LANES], s[LANES];
    memcpy(f, factor, sizeof f);
    memcpy(s, shift, sizeof s);
    for (int64_t i = 0; i < n; i++) {
#pragma omp simd
        for (int k = 0; k < LANES; k++)
            y[i * LANES + k] = x[i * LANES + k] * f[k] + s[k];
    }
}

/* ---- turning and sampling ---- */

SIMD_CLONES
void row_rotary(const float *x, const float *cosine, const float *sine, int64_t half,
                int64_t second, float *y)
{
#pragma omp simd
    for (int64_t i = 0; i < half; i++) {
        float a = x[i], b = x[half + i];
        y[i] = a * cosine[i] - b * sine[i];
        y[half + i] = b * cosine[second + i] + a * sine[second + i];
    }
}

SIMD_CLONES
void row_rotary_pairs(const float *x, const float *cosine, const float *sine, int64_t half,
                      float *y)
{
#pragma omp simd
    for (int64_t i = 0; i < half; i++) {
        float a = x[2 * i], b = x[2 * i + 1];
        y[2 * i] = a * cosine[i] - b * sine[i];
        y[2 * i + 1] = b * cosine[i] + a * sine[i];
    }
}

/* What has no weight is not looked at: it may stand for a place outside. */
static inline float weighed(const float *plane, int32_t at, float weight)
{
    float product = plane[at] * weight;
    return weight != 0 ? product : 0;
}

SIMD_CLONES
void row_blend(const float *plane, const int32_t *at, const float *weights, int taps,
               int64_t stride, float *y, int64_t n)
{
    if (taps == 1) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = weighed(plane, at[i], weights[i]);
        return;
    }
    const int32_t *b = at + stride, *c = b + stride, *d = c + stride;
    const float *v = weights + stride, *w = v + stride, *z = w + stride;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = weighed(plane, at[i], weights[i]) + weighed(plane, b[i], v[i]) +
               weighed(plane, c[i], w[i]) + weighed(plane, d[i], z[i]);
}
