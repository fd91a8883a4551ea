#include "engine/tuner.h"

#include "base/clock.h"

#include <stdlib.h>
#include <time.h>

enum { RUNS_MIN = 2, RUNS_MAX = 8, ENOUGH_NS = 600 * 1000, ALIGNMENT = 4096 };
enum { WORKSPACE_MAX = 6 << 20 };

void tuner_release(struct tuner *t)
{
    memory_block_unmap(&t->workspace);
    free(t->choices);
    *t = (struct tuner){0};
}

int tuner_open(const struct tuner *t)
{
    return t->spent_ns < t->budget_ns;
}

/* Filled with ones: pages that were never written would all be the same cached page of zeros. */
void *tuner_memory(struct tuner *t, size_t bytes)
{
    if (bytes <= t->workspace_bytes)
        return t->workspace.data;
    if (bytes > WORKSPACE_MAX)
        return NULL;
    memory_block_unmap(&t->workspace);
    t->workspace_bytes = 0;
    if (memory_block_map(&t->workspace, bytes))
        return NULL;
    for (size_t i = 0; i < bytes / sizeof(float); i++)
        ((float *)(void *)t->workspace.data)[i] = 1.0f;
    t->workspace_bytes = bytes;
    return t->workspace.data;
}

static size_t operand_room(const struct primitive *p, int operand)
{
    const struct layout *l = primitive_layout(p, (enum operand)operand);
    return l ? (layout_bytes(l) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : 0;
}

static int lay_out(struct tuner *t, struct primitive *p)
{
    size_t bytes = 0;
    for (int i = 0; i < OPERAND_COUNT; i++)
        bytes += operand_room(p, i);
    char *memory = tuner_memory(t, bytes);
    if (!memory)
        return -1;
    size_t offset = 0;
    for (int i = 0; i < OPERAND_COUNT; i++) {
        primitive_bind(p, (enum operand)i, memory + offset);
        offset += operand_room(p, i);
    }
    return 0;
}

/* The calling thread's own time: what other processes take of the processor does not count. */
static uint64_t own_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t tuner_measure(struct tuner *t, int (*run)(void *context), void *context)
{
    uint64_t start = clock_monotonic_ns(), best = UINT64_MAX, total = 0;
    if (!tuner_open(t) || run(context))
        return UINT64_MAX;
    for (int i = 0; i < RUNS_MAX && (i < RUNS_MIN || total < ENOUGH_NS); i++) {
        uint64_t before = own_ns();
        if (run(context))
            return UINT64_MAX;
        uint64_t ns = own_ns() - before;
        best = ns < best ? ns : best;
        total += ns;
    }
    t->spent_ns += clock_monotonic_ns() - start;
    return best;
}

static int run_primitive(void *p)
{
    return primitive_run(p, NULL);
}

uint64_t tuner_time(struct tuner *t, struct primitive *p)
{
    return !tuner_open(t) || lay_out(t, p) ? UINT64_MAX : tuner_measure(t, run_primitive, p);
}

/* FNV-1a: a collision would cost speed, not truth, since any choice computes the same. */
uint64_t tuner_key(uint64_t seed, const void *data, size_t size)
{
    uint64_t hash = seed ? seed : 14695981039346656037u;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ ((const unsigned char *)data)[i]) * 1099511628211u;
    return hash;
}

int tuner_recall(const struct tuner *t, uint64_t key)
{
    for (int i = 0; i < t->count; i++)
        if (t->choices[i].key == key)
            return t->choices[i].choice;
    return -1;
}

void tuner_remember(struct tuner *t, uint64_t key, int choice)
{
    if (t->count == t->capacity) {
        int larger = t->capacity ? t->capacity * 2 : 64;
        struct tuner_choice *choices = realloc(t->choices, (size_t)larger * sizeof *choices);
        if (!choices)
            return; /* it will be timed again */
        t->choices = choices;
        t->capacity = larger;
    }
    t->choices[t->count++] = (struct tuner_choice){key, choice};
}
