/* activation.h: functions of one element: which node is which, and rows of them, fast. */
#ifndef WATTLE_ENGINE_ACTIVATION_H
#define WATTLE_ENGINE_ACTIVATION_H

#include "engine/graph.h"
#include "engine/onednn.h"

/* 0, with *out filled, when the node is a float32 activation whose numbers are known at load. */
int activation_of(const struct graph *g, const struct node *n, struct epilogue *out);

/* y[i] = f(x[i]); y may be x. Errors are below 2e-6 of the result, those of ACT_GELU_ERF below 1e-7 of x.
 * what->sum is not looked at. */
void activation_row(const struct epilogue *what, const float *x, float *y, int64_t n);

#endif
