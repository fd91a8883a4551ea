/* What was chosen, and how long each step takes. */
#include "engine/engine.h"

#include "base/clock.h"
#include "engine/op.h"

#include <omp.h>
#include <string.h>

static size_t count(const struct program *p, int reference)
{
    size_t n = 0;
    for (int i = 0; i < p->step_count; i++)
        n += (size_t)(reference ? p->steps[i].is_reference : p->steps[i].is_reorder);
    return n;
}

void wattle_engine_info(const struct wattle_engine *g, struct wattle_engine_info *info)
{
    int limit = omp_get_thread_limit();
    *info = (struct wattle_engine_info){
        .provider = g->reference ? "reference" : "cpu",
        .kernels = g->kernels,
        .threads = g->threads < limit ? g->threads : limit,
        .nodes_in_file = g->model->node_count,
        .steps = (size_t)g->program.step_count,
        .steps_reference = count(&g->program, 1),
        .reorders = count(&g->program, 0),
        .macs = graph_macs(&g->graph),
        .arena_bytes = g->program.memory_bytes,
        .weight_bytes = g->program.weights.total,
    };
}

/* A node's multiply-adds, shared by the products it became. */
static int64_t step_macs(const struct wattle_engine *g, const struct step *s)
{
    int64_t sharers = 0;
    if (!s->node || !s->node->op->macs || !s->computes)
        return 0;
    for (int i = 0; i < g->program.step_count; i++)
        sharers += g->program.steps[i].node == s->node && g->program.steps[i].computes;
    return s->node->op->macs(&g->graph, s->node) / sharers;
}

static int time_step(const struct wattle_engine *g, struct step *s, struct wattle_step_time *out,
                     struct error *e)
{
    uint64_t start = clock_monotonic_ns();
    int code = s->run(s, e);
    *out = (struct wattle_step_time){.node = s->node ? s->node->name : "", .op = s->op,
                                     .kernel = s->kernel, .ns = clock_monotonic_ns() - start,
                                     .macs = step_macs(g, s)};
    return code;
}

int wattle_engine_profile(struct wattle_engine *g, struct wattle_step_time *times, size_t capacity,
                          size_t *count_, char *error)
{
    struct error e;
    int code = 0;
    struct engine_thread_state before = engine_enter(g);
    for (int i = 0; !code && i < g->program.step_count; i++) {
        struct wattle_step_time time;
        code = time_step(g, &g->program.steps[i], &time, &e);
        if ((size_t)i < capacity)
            times[i] = time;
    }
    engine_leave(before);
    *count_ = (size_t)g->program.step_count;
    return code ? engine_report(&e, code, error) : 0;
}
