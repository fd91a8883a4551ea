/* interpret.h: runs a graph node by node on the reference kernels, each value in memory of its own.
 * Slow and simple on purpose: what tests hold everything else against. */
#ifndef WATTLE_ENGINE_INTERPRET_H
#define WATTLE_ENGINE_INTERPRET_H

#include "engine/graph.h"

/* inputs: data of g->inputs, in order, in the inputs' types and shapes. outputs: for each of
 * g->outputs a malloc'ed copy the caller frees; all NULL on failure. */
int interpret(const struct graph *g, const void *const *inputs, void **outputs, struct error *e);

#endif
