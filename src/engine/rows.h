/* rows.h: our own kernels over one row of float32, vectorised by the compiler (simd.h). */
#ifndef WATTLE_ENGINE_ROWS_H
#define WATTLE_ENGINE_ROWS_H

#include <stdint.h>

/* y = softmax(x * scale + mask); mask may be NULL, y may be x. */
void row_softmax(const float *x, float scale, const float *mask, float *y, int64_t n);
/* y = (x - mean) / sqrt(variance + epsilon) * scale + bias; bias may be NULL, y may be x. */
void row_layer_norm(const float *x, const float *scale, const float *bias, float epsilon, float *y,
                    int64_t n);

/* y = x / sqrt(mean of squares + epsilon) * scale; y may be x. */
void row_rms_norm(const float *x, const float *scale, float epsilon, float *y, int64_t n);

/* Of numbers: how many, their mean, and the sum of their squared distances from it. */
struct moments {
    int64_t count;
    double mean, spread;
};
void moments_join(struct moments *m, const struct moments *more);
void row_moments(const float *x, int64_t n, struct moments *m);
/* Of eight channels that lie side by side, n numbers of each. */
void row_moments8(const float *x, int64_t n, struct moments m[8]);
/* y = x * factor + shift; y may be x. */
void row_affine(const float *x, float factor, float shift, float *y, int64_t n);
void row_affine8(const float *x, const float factor[8], const float shift[8], float *y, int64_t n);

/* Pairs (x[i], x[half + i]) turned by an angle; cosine and sine for the second of a pair are those
 * at second + i. y may be x. */
void row_rotary(const float *x, const float *cosine, const float *sine, int64_t half,
                int64_t second, float *y);
/* The same of pairs side by side. */
void row_rotary_pairs(const float *x, const float *cosine, const float *sine, int64_t half,
                      float *y);

/* y[i] is the sum of `taps` (1 or 4) pixels plane[at[i]], plane[at[stride + i]], ... times their
 * weights. */
void row_blend(const float *plane, const int32_t *at, const float *weights, int taps,
               int64_t stride, float *y, int64_t n);

#endif
