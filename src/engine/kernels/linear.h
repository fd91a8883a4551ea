/* linear.h: matrix products with constant weights, also as a part of what other kernels do. */
#ifndef WATTLE_ENGINE_KERNELS_LINEAR_H
#define WATTLE_ENGINE_KERNELS_LINEAR_H

#include "engine/builder.h"

/* y[m, n] = x[m, k] * w + bias[n] */
struct linear_product {
    int64_t m, k, n;
    const void *weights;
    int w_is_nk; /* weights lie as N x K */
    int has_bias;
    struct epilogue epilogue;
};

/* One step that reads the value x row-major, the slot bias where there is one, and writes the slot
 * y. ERROR_UNSUPPORTED with no step added when there is no kernel. */
int linear_step(struct builder *b, const struct linear_product *p, int x, int bias, int y,
                struct error *e);

#endif
