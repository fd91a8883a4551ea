/* winograd.h: 3x3 convolutions with stride 1 by Winograd's minimal filtering, for processors with
 * AVX2, where oneDNN has none. Each m x m tile of the output needs (m+2)^2 multiplications instead
 * of 9 m^2: 2.25 times fewer for m = 2, 4 times fewer for m = 4, at the price of larger weights.
 *
 * Three phases: input tiles are transformed (V), for each of the (m+2)^2 positions one matrix
 * product with the transformed weights (U) mixes the channels (M), and tiles are transformed back.
 */
#ifndef WATTLE_ENGINE_WINOGRAD_H
#define WATTLE_ENGINE_WINOGRAD_H

#include "engine/graph.h"

#include <stddef.h>
#include <stdint.h>

/* Where channels c .. c+7 of a pixel lie, in floats. */
struct winograd_view {
    int64_t image, channels8, row, pixel;
};

struct winograd {
    int m; /* 2 or 4 */
    int64_t batch, channels, outputs;
    int64_t in_height, in_width, out_height, out_width, pad_top, pad_left;
    struct winograd_view in, out;
    enum activation activation;
    float low, high;
    /* filled by winograd_prepare */
    int64_t tiles_high, tiles_wide, tiles, block; /* block: tiles transformed at a time */
    int64_t v_position, m_position;               /* floats from one position to the next */
};

/* Whether the processor can, and channels are multiples of 8 and outputs of 16. */
int winograd_possible(const struct winograd *w);
void winograd_prepare(struct winograd *w);
size_t winograd_weight_bytes(const struct winograd *w);
size_t winograd_scratch_bytes(const struct winograd *w);
/* weights: outputs x channels x 3 x 3, row-major. */
void winograd_pack(const struct winograd *w, const float *weights, float *packed);
/* bias and residual may be NULL; residual has y's layout and may be y. */
void winograd_run(const struct winograd *w, const float *x, const float *packed, const float *bias,
                  const float *residual, float *y, float *scratch);

#endif
