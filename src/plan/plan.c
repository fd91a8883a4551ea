#include "plan/plan.h"

#include <stdlib.h>

/* splitmix64 (Steele, Lea, Flood 2014): enough for shuffling, the same on every machine. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Fisher-Yates over one round. */
static void shuffle(struct plan_block *blocks, size_t count, uint64_t *state)
{
    for (size_t i = count; i > 1; i--) {
        size_t j = (size_t)(next_random(state) % i);
        struct plan_block held = blocks[i - 1];
        blocks[i - 1] = blocks[j];
        blocks[j] = held;
    }
}

int plan_make(struct plan *p, struct cell *cells, size_t cell_count, int blocks, uint64_t seed,
              struct error *e)
{
    *p = (struct plan){.seed = seed};
    if (cell_count == 0 || cell_count > PLAN_CELL_MAX)
        return error_set(e, ERROR_USAGE, "%zu cells to measure; 1..%d are possible", cell_count,
                         PLAN_CELL_MAX);
    p->block_count = cell_count * (size_t)blocks;
    p->blocks = calloc(p->block_count, sizeof *p->blocks);
    if (!p->blocks)
        return error_memory(e);
    uint64_t state = seed;
    for (int round = 0; round < blocks; round++) {
        struct plan_block *first = p->blocks + (size_t)round * cell_count;
        for (size_t i = 0; i < cell_count; i++)
            first[i] = (struct plan_block){.cell = i, .number = round + 1};
        shuffle(first, cell_count, &state);
    }
    p->cells = cells;
    p->cell_count = cell_count;
    return 0;
}

void plan_release(struct plan *p)
{
    free(p->cells);
    free(p->blocks);
    *p = (struct plan){0};
}
