#include "engine/engine.h"

#include <omp.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
enum { FLUSH_TO_ZERO = 0x8000, DENORMALS_ARE_ZERO = 0x0040 };
#endif

struct engine_thread_state engine_enter(const struct wattle_engine *g)
{
    struct engine_thread_state before = {.threads = omp_get_max_threads()};
    if (before.threads != g->threads)
        omp_set_num_threads(g->threads);
#if defined(__x86_64__)
    before.mxcsr = _mm_getcsr();
    _mm_setcsr(before.mxcsr | FLUSH_TO_ZERO | DENORMALS_ARE_ZERO);
#endif
    return before;
}

void engine_leave(struct engine_thread_state before)
{
#if defined(__x86_64__)
    _mm_setcsr(before.mxcsr);
#endif
    if (before.threads != omp_get_max_threads())
        omp_set_num_threads(before.threads);
}
