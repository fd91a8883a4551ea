/* pass.h: rewrites of the graph for the "cpu" provider, in the order they run. Each leaves a graph
 * that computes the same outputs (up to rounding); the internal operators' reference kernels let a
 * test compare the rewritten graph with the original one without oneDNN. */
#ifndef WATTLE_ENGINE_PASS_H
#define WATTLE_ENGINE_PASS_H

#include "engine/graph.h"

struct pass {
    const char *name; /* "batchnorm", "conv", ...: see pass.c */
    int (*run)(struct graph *g, struct error *e);
};

const struct pass *pass_all(size_t *count);
/* All of them, each followed by graph_sweep. */
int pass_run(struct graph *g, struct error *e);

#endif
