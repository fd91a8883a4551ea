/* rows.h: our own kernels over one row of float32, vectorised by the compiler (simd.h). */
#ifndef WATTLE_ENGINE_ROWS_H
#define WATTLE_ENGINE_ROWS_H

#include <stdint.h>

/* y = softmax(x * scale + mask); mask may be NULL, y may be x. */
void row_softmax(const float *x, float scale, const float *mask, float *y, int64_t n);
/* y = (x - mean) / sqrt(variance + epsilon) * scale + bias; bias may be NULL, y may be x. */
void row_layer_norm(const float *x, const float *scale, const float *bias, float epsilon, float *y,
                    int64_t n);

#endif
