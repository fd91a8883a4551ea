/* channels.h: one view of the layouts that kernels of our own take: images, each of groups of
 * channels, each of positions, each of the group's channels beside one another (lanes). */
#ifndef WATTLE_ENGINE_KERNELS_CHANNELS_H
#define WATTLE_ENGINE_KERNELS_CHANNELS_H

#include "engine/builder.h"

/* lanes: 1 row-major, 8 or 16 blocked, all channels when they come last. */
struct channel_view {
    int64_t images, groups, positions, lanes;
};

/* Eight floats, anywhere in memory. */
typedef float lanes8 __attribute__((vector_size(32), aligned(4), may_alias));

/* 0, or -1 when the layout is none of these, has padding, or the rank is below 3. */
int channel_view(struct builder *b, const struct shape *s, const struct layout *layout,
                 struct channel_view *v);
/* The layout in which a tensor of another shape is seen with as many lanes; NULL when its channels
 * do not divide. */
const struct layout *channel_layout(struct builder *b, const struct shape *s, int64_t lanes);

#endif
