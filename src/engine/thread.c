#include "engine/engine.h"

#include <omp.h>

struct engine_thread_state engine_enter(const struct wattle_engine *g)
{
    struct engine_thread_state before = {.threads = omp_get_max_threads()};
    if (before.threads != g->threads)
        omp_set_num_threads(g->threads);
    return before;
}

void engine_leave(struct engine_thread_state before)
{
    if (before.threads != omp_get_max_threads())
        omp_set_num_threads(before.threads);
}
