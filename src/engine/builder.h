/* builder.h: from a graph to a program. Kernels (kernel.h) turn one node each into steps and ask
 * the builder where values are, in which layout, and where results may go.
 *
 * A value is written once, in the layout its kernel likes. Readers that want another layout get a
 * reorder step in front of theirs; the reordered copy is kept for the next reader. Memory of a
 * value whose last reader is being built may be written over in place.
 */
#ifndef WATTLE_ENGINE_BUILDER_H
#define WATTLE_ENGINE_BUILDER_H

#include "engine/graph.h"
#include "engine/onednn.h"
#include "engine/program.h"
#include "engine/tuner.h"

struct form {
    int slot;
    const struct layout *layout; /* NULL for types other than float32: always row-major */
};

struct builder {
    struct graph *graph;
    struct program *program;
    struct onednn *onednn;
    struct tuner tuner;
    uint64_t limit;              /* of one slot, so that sums of sizes cannot overflow */
    int keep_constants;          /* somebody will read them again: tests */
    const struct node *node;     /* being built */
    struct home *homes;          /* of each value */
    struct packed *packed;       /* weights packed so far */
    int packed_count, packed_capacity;
};

/* Builds all nodes into program; reference: by their reference kernels only. */
int builder_run(struct builder *b, int reference, struct error *e);
void builder_release(struct builder *b);

/* After builder_run: the slots of a graph's inputs, and of its outputs, row-major. */
int builder_input(const struct builder *b, int value);
int builder_output(struct builder *b, int value, int *slot, struct error *e);

/* The slot that holds value row-major, or in that layout; adds a reorder step where needed. */
int builder_read_plain(struct builder *b, int value, int *slot, struct error *e);
int builder_read(struct builder *b, int value, const struct layout *wanted, int *slot,
                 struct error *e);
/* The layout value lies in now; NULL when it isn't float32 or memory is short. */
const struct layout *builder_layout(struct builder *b, int value);
const struct layout *builder_plain(struct builder *b, int value);
/* Whether the node being built is the last to read value and may write over it. */
int builder_may_overwrite(const struct builder *b, int value);

/* A new slot for value, row-major when layout is NULL. */
int builder_write(struct builder *b, int value, const struct layout *layout, int *slot,
                  struct error *e);
/* value is written over what slot held. */
void builder_write_over(struct builder *b, int value, const struct layout *layout, int slot);
/* A slot for value in that layout: the one that holds source, which was read in it, if nobody else
 * needs that, else a new one. */
int builder_reuse(struct builder *b, int value, int source, int source_slot,
                  const struct layout *layout, int *slot, struct error *e);
/* value is from's memory under another shape. */
int builder_alias(struct builder *b, int value, int from, struct error *e);
/* The same in an order of its own: what lies as `as` for from lies as `seen` for value. */
int builder_view(struct builder *b, int value, int from, const struct layout *as,
                 const struct layout *seen, struct error *e);

/* A copy of constant data in another layout, made now. */
int builder_pack(struct builder *b, const void *data, const struct layout *from,
                 const struct layout *to, int *slot, struct error *e);
int builder_fixed(struct builder *b, const void *data, size_t bytes, int *slot, struct error *e);
int builder_scratch(struct builder *b, size_t bytes, int *slot, struct error *e);

/* A step of our own kernel for the node being built. */
int builder_step(struct builder *b, int (*run)(struct step *, struct error *), const char *kernel,
                 struct step **out, struct error *e);
/* One that finds a copy of the state in its own. */
int builder_step_with(struct builder *b, int (*run)(struct step *, struct error *),
                      const char *kernel, const void *state, size_t bytes, struct step **out,
                      struct error *e);
/* A step that runs p, which it takes over (even on failure). slots: of the operands SRC to DST;
 * scratch memory is added. */
int builder_primitive(struct builder *b, struct primitive *p, const int slots[OPERAND_SCRATCH],
                      struct error *e);
/* A step that copies a slot to a new one for value, both in that layout. */
int builder_copy(struct builder *b, int source, int value, const struct layout *layout, int *slot,
                 struct error *e);

#endif
