/* program.h: what the engine executes: steps in order, over slots of memory.
 *
 * A slot is a stretch of memory that holds one value in one layout, or scratch. Whoever adds a step
 * names the slots it touches, and that alone says how long each must live: program_plan lays all
 * slots into one block so that those alive at the same time never overlap, and hands every step the
 * addresses. Constants, packed weights and the caller's own inputs are slots with a fixed address.
 */
#ifndef WATTLE_ENGINE_PROGRAM_H
#define WATTLE_ENGINE_PROGRAM_H

#include "base/arena.h"
#include "base/error.h"
#include "engine/graph.h"
#include "engine/memory.h"
#include "engine/onednn.h"

#include <stddef.h>

enum { NO_SLOT = -1, STEP_SLOTS = NODE_INPUT_MAX + NODE_OUTPUT_MAX };

struct slot {
    size_t bytes;
    int first, last;        /* the steps that touch it first and last; -1 while none does */
    int from_start, to_end; /* inputs, which the caller fills, have both; outputs the second */
    size_t offset;   /* in the block, once planned */
    void *fixed;     /* the address when it is not in the block, else NULL */
};

struct step {
    int (*run)(struct step *s, struct error *e);
    const struct node *node; /* what the step computes, or a part of it */
    const char *op;          /* for the profile */
    const char *kernel;
    int is_reorder, is_reference;
    int computes; /* does (a share of) the node's multiply-adds */
    struct primitive *primitive; /* owned; operand i is slots[i]. NULL for kernels of our own */
    int slots[STEP_SLOTS];       /* NO_SLOT where unused */
    size_t shift[STEP_SLOTS];    /* bytes into the slot */
    void *data[STEP_SLOTS];      /* addresses, once planned */
    void *state;                 /* of the kernel, in the program's arena */
};

struct program {
    struct arena arena;
    struct step *steps;
    int step_count, step_capacity;
    struct slot *slots;
    int slot_count, slot_capacity;
    struct memory_pool weights;
    struct memory_block memory;
    size_t memory_bytes;
};

void program_init(struct program *p, uint64_t memory_limit);
void program_release(struct program *p);

/* The new slot's number, or NO_SLOT without memory. */
int program_slot(struct program *p, size_t bytes);
int program_slot_fixed(struct program *p, const void *data, size_t bytes);
/* Appended, with nothing filled in but NO_SLOT; valid until the next one is added. NULL without
 * memory. */
struct step *program_step(struct program *p);

/* Offsets for slots that are not fixed; returns the bytes needed in all. */
size_t plan_offsets(struct slot *slots, int count);

/* Plans, maps the block and hands out addresses. limit is of block and weights together. */
int program_plan(struct program *p, uint64_t limit, struct error *e);
void *program_address(const struct program *p, int slot);
/* Moves a slot to other memory, or with NULL back to its own. */
void program_move(struct program *p, int slot, void *data);

int program_run(struct program *p, struct error *e);

#endif
