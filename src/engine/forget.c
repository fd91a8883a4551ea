#include "engine/graph.h"

#include "engine/memory.h"

enum { LARGE_BYTES = 64 * 1024 };

static int is_in_map(const struct graph *g, const void *data)
{
    uintptr_t at = (uintptr_t)data, map = g->model ? (uintptr_t)g->model->map : 0;
    return map && at >= map && at - map < g->model->map_bytes;
}

static size_t size_of(const struct value *v)
{
    int64_t bytes = shape_bytes(&v->shape, v->type);
    return bytes > 0 ? (size_t)bytes : 0;
}

/* Another value may be the same data, or a part of it. */
static int is_read(const struct graph *g, const char *data, size_t bytes)
{
    for (int i = 0; i < g->value_count; i++) {
        const struct value *v = &g->values[i];
        const char *other = v->constant;
        if (other && v->uses && other < data + bytes && data < other + size_of(v))
            return 1;
    }
    return 0;
}

void graph_forget(const struct graph *g, int value)
{
    const struct value *v = value == NO_VALUE ? NULL : &g->values[value];
    if (!v || !v->constant || size_of(v) < LARGE_BYTES || is_read(g, v->constant, size_of(v)))
        return;
    if (is_in_map(g, v->constant) || arena_owns(&g->arena, v->constant))
        memory_forget(v->constant, size_of(v));
}
