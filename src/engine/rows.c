#include "engine/rows.h"

#include "engine/simd.h"

#if defined(__GNUC__) && !defined(__clang__)
/* A floating-point trap is of no use to us, and room for one makes a selection a branch, which is
 * not vectorised. */
#pragma GCC optimize("no-trapping-math")
#elif defined(__clang__)
#pragma clang diagnostic ignored "-Wpass-failed" /* not vectorised for every target: still right */
#endif

#include <math.h>

/* e^x for x <= 0 with a relative error below 2e-7: 2^n * e^r with |r| <= ln(2)/2, e^r by its
 * series. Never below the smallest normal number. */
static inline float exp_negative(float x)
{
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    const float low = -87.3365f;
    float c = x < low ? low : x;
    float n = (c * 1.44269504f + magic) - magic;
    float r = c - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    union {
        int32_t bits;
        float number;
    } power = {.bits = ((int32_t)n + 127) << 23};
    return p * power.number;
}

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
