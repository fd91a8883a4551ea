/* conv.h: what the ways to run a convolution share. */
#ifndef WATTLE_ENGINE_KERNELS_CONV_H
#define WATTLE_ENGINE_KERNELS_CONV_H

#include "engine/builder.h"

enum { CONV_CANDIDATES = 4, WINOGRAD_CANDIDATES = 2 };

struct conv_candidate {
    enum conv_method method;
    const struct layout *src, *dst;
};

struct conv_job {
    const struct node *node;
    struct attributes a;
    int x, w, bias, residual, y; /* values; NO_VALUE where absent */
    struct shape weights;
    struct epilogue epilogue;
    const struct layout *incoming; /* where x is now */
    struct conv_candidate candidates[CONV_CANDIDATES];
    int candidate_count;
};

/* Our own Winograd kernels, by number: whether that one can do the job, its time with the reorders
 * it needs, and its step. */
int winograd_fits(struct builder *b, const void *job, int number);
uint64_t winograd_ns(struct builder *b, const void *job, int number);
int winograd_step(struct builder *b, const struct conv_job *job, int number, struct error *e);

#endif
