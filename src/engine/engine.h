/* engine.h: what the files behind wattle/engine.h share. */
#ifndef WATTLE_ENGINE_ENGINE_H
#define WATTLE_ENGINE_ENGINE_H

#include <wattle/engine.h>

#include "engine/builder.h"
#include "engine/graph.h"
#include "engine/onednn.h"
#include "engine/program.h"

struct engine_port {
    struct wattle_tensor_info info;
    int slot;
};

struct wattle_engine {
    int threads, reference, has_graph;
    char kernels[64];
    struct onnx_model *model;
    struct graph graph;
    struct onednn *onednn;
    struct program program;
    struct engine_port *inputs, *outputs;
};

/* What a run changes in the calling thread, and puts back: the OpenMP thread count. How numbers too
 * small to be normal count is left as the caller has it, like other runtimes do by default. */
struct engine_thread_state {
    int threads;
};
struct engine_thread_state engine_enter(const struct wattle_engine *g);
void engine_leave(struct engine_thread_state before);

/* Puts a failure's text into the caller's buffer, which may be NULL; returns code. */
int engine_report(const struct error *e, int code, char *text);

#endif
