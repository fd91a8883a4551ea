#include "engine/program.h"

#include <stdlib.h>
#include <string.h>

enum { STATE_MEMORY_MAX = 256 << 20 };

void program_init(struct program *p, uint64_t memory_limit)
{
    *p = (struct program){.weights.limit = memory_limit};
    arena_init(&p->arena, STATE_MEMORY_MAX);
}

void program_release(struct program *p)
{
    for (int i = 0; i < p->step_count; i++)
        primitive_free(p->steps[i].primitive);
    free(p->steps);
    free(p->slots);
    memory_pool_release(&p->weights);
    memory_block_unmap(&p->memory);
    arena_release(&p->arena);
    *p = (struct program){0};
}

static int grow(void **array, int count, int *capacity, size_t size)
{
    if (count < *capacity)
        return 0;
    int larger = *capacity ? *capacity * 2 : 64;
    void *memory = realloc(*array, (size_t)larger * size);
    if (!memory)
        return -1;
    *array = memory;
    *capacity = larger;
    return 0;
}

int program_slot(struct program *p, size_t bytes)
{
    void *slots = p->slots;
    if (grow(&slots, p->slot_count, &p->slot_capacity, sizeof *p->slots))
        return NO_SLOT;
    p->slots = slots;
    p->slots[p->slot_count] = (struct slot){.bytes = bytes, .first = -1, .last = -1};
    return p->slot_count++;
}

int program_slot_fixed(struct program *p, const void *data, size_t bytes)
{
    static char nothing[64]; /* an address for tensors without elements */
    int slot = program_slot(p, bytes);
    if (slot != NO_SLOT)
        p->slots[slot].fixed = data ? (void *)(uintptr_t)data : nothing;
    return slot;
}

struct step *program_step(struct program *p)
{
    void *steps = p->steps;
    if (grow(&steps, p->step_count, &p->step_capacity, sizeof *p->steps))
        return NULL;
    p->steps = steps;
    struct step *s = &p->steps[p->step_count++];
    memset(s, 0, sizeof *s);
    for (int i = 0; i < STEP_SLOTS; i++)
        s->slots[i] = NO_SLOT;
    return s;
}

/* ---- planning ---- */

static void measure_lives(struct program *p)
{
    for (int i = 0; i < p->step_count; i++)
        for (int k = 0; k < STEP_SLOTS; k++) {
            if (p->steps[i].slots[k] == NO_SLOT)
                continue;
            struct slot *slot = &p->slots[p->steps[i].slots[k]];
            if (slot->first < 0)
                slot->first = i;
            slot->last = i;
        }
}

void *program_address(const struct program *p, int slot)
{
    const struct slot *s = &p->slots[slot];
    return s->fixed ? s->fixed : p->memory.data + s->offset;
}

static void bind(struct program *p, struct step *s, int index)
{
    s->data[index] = (char *)program_address(p, s->slots[index]) + s->shift[index];
    if (s->primitive && index < OPERAND_COUNT)
        primitive_bind(s->primitive, (enum operand)index, s->data[index]);
}

int program_plan(struct program *p, uint64_t limit, struct error *e)
{
    measure_lives(p);
    p->memory_bytes = plan_offsets(p->slots, p->slot_count);
    if (p->memory_bytes > limit || p->weights.total > limit - p->memory_bytes)
        return error_set(e, ERROR_MEMORY,
                         "the model needs %zu bytes for activations and %zu for weights; "
                         "the limit is %llu",
                         p->memory_bytes, p->weights.total, (unsigned long long)limit);
    if (memory_block_map(&p->memory, p->memory_bytes))
        return error_memory(e);
    for (int i = 0; i < p->step_count; i++)
        for (int k = 0; k < STEP_SLOTS; k++)
            if (p->steps[i].slots[k] != NO_SLOT)
                bind(p, &p->steps[i], k);
    return 0;
}

void program_move(struct program *p, int slot, void *data)
{
    p->slots[slot].fixed = data;
    if (p->slots[slot].first < 0)
        return;
    for (int i = p->slots[slot].first; i <= p->slots[slot].last; i++)
        for (int k = 0; k < STEP_SLOTS; k++)
            if (p->steps[i].slots[k] == slot)
                bind(p, &p->steps[i], k);
}

int program_run(struct program *p, struct error *e)
{
    for (int i = 0; i < p->step_count; i++) {
        int code = p->steps[i].run(&p->steps[i], e);
        if (code)
            return code;
    }
    return 0;
}
