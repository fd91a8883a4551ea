#include "engine/builder.h"

#include "engine/kernel.h"
#include "engine/op.h"

#include <stdlib.h>
#include <string.h>

enum { FORMS = 2 };

/* Where a value is at this point of building. */
struct home {
    struct form forms[FORMS]; /* the one it was written in, and a reordered copy */
    int form_count;
    int root;    /* the value whose memory it shares, or itself */
    int pending; /* reads still to come, kept at the root */
    int raw;     /* a constant that some step reads where it lies */
};

struct packed {
    const void *data;
    const struct layout *from, *to;
    int slot;
};

static struct home *home_of(const struct builder *b, int value)
{
    return &b->homes[value];
}

static const struct value *value_of(const struct builder *b, int value)
{
    return &b->graph->values[value];
}


/* ---- where values are ---- */

const struct layout *builder_plain(struct builder *b, int value)
{
    const struct value *v = value_of(b, value);
    return v->type == DTYPE_F32 ? layout_plain(b->onednn, &v->shape) : NULL;
}

static void add_form(struct builder *b, int value, int slot, const struct layout *layout)
{
    struct home *h = home_of(b, value);
    int at = h->form_count < FORMS ? h->form_count++ : FORMS - 1;
    h->forms[at] = (struct form){slot, layout};
}

/* Constants get a slot when they are first read. */
static int settle(struct builder *b, int value, struct error *e)
{
    struct home *h = home_of(b, value);
    const struct value *v = value_of(b, value);
    if (h->form_count)
        return 0;
    if (!v->constant)
        return error_set(e, ERROR_FORMAT, "value '%s' is read before it is written", v->name);
    int slot;
    int code = builder_fixed(b, v->constant, (size_t)shape_bytes(&v->shape, v->type), &slot, e);
    if (!code)
        add_form(b, value, slot, builder_plain(b, value));
    return code;
}

const struct layout *builder_layout(struct builder *b, int value)
{
    if (settle(b, value, NULL))
        return NULL;
    return home_of(b, value)->forms[0].layout;
}

/* A step that changes layouts; op: what the profile calls it. */
static int move_step(struct builder *b, struct form from, struct form to, const char *op,
                     struct error *e)
{
    struct primitive *p;
    int slots[OPERAND_SCRATCH] = {from.slot, NO_SLOT, NO_SLOT, to.slot};
    int code = primitive_reorder(b->onednn, from.layout, to.layout, &p, e);
    if (!code)
        code = builder_primitive(b, p, slots, e);
    if (code)
        return code;
    struct step *s = &b->program->steps[b->program->step_count - 1];
    s->op = op;
    s->is_reorder = 1;
    s->computes = 0;
    return 0;
}

static int reorder(struct builder *b, int value, const struct layout *wanted, int *slot,
                   struct error *e)
{
    if (!wanted)
        return error_memory(e);
    int code = builder_scratch(b, layout_bytes(wanted), slot, e);
    struct form to = {*slot, wanted};
    if (!code)
        code = move_step(b, home_of(b, value)->forms[0], to, "Reorder", e);
    if (!code)
        add_form(b, value, *slot, wanted);
    return code;
}

int builder_copy(struct builder *b, int source, int value, const struct layout *layout, int *slot,
                 struct error *e)
{
    int code = builder_write(b, value, layout, slot, e);
    if (code)
        return code;
    return move_step(b, (struct form){source, layout}, (struct form){*slot, layout}, "Copy", e);
}

static int read_constant(struct builder *b, int value, const struct layout *wanted, int *slot,
                         struct error *e)
{
    const struct layout *plain = builder_plain(b, value);
    if (!wanted || layout_same_places(plain, wanted)) {
        home_of(b, value)->raw = 1;
        *slot = home_of(b, value)->forms[0].slot;
        return 0;
    }
    return builder_pack(b, value_of(b, value)->constant, plain, wanted, slot, e);
}

int builder_read(struct builder *b, int value, const struct layout *wanted, int *slot,
                 struct error *e)
{
    struct home *h = home_of(b, value);
    int code = settle(b, value, e);
    if (code)
        return code;
    if (value_of(b, value)->constant)
        return read_constant(b, value, wanted, slot, e);
    if (value_of(b, value)->type != DTYPE_F32) {
        *slot = h->forms[0].slot;
        return 0;
    }
    for (int i = 0; i < h->form_count; i++)
        if (layout_same_places(h->forms[i].layout, wanted)) {
            *slot = h->forms[i].slot;
            return 0;
        }
    return reorder(b, value, wanted, slot, e);
}

int builder_read_plain(struct builder *b, int value, int *slot, struct error *e)
{
    return builder_read(b, value, builder_plain(b, value), slot, e);
}

int builder_may_overwrite(const struct builder *b, int value)
{
    int root = home_of(b, value)->root, reads = 0;
    for (int i = 0; i < b->node->input_count; i++)
        if (b->node->inputs[i] != NO_VALUE && home_of(b, b->node->inputs[i])->root == root)
            reads++;
    const struct value *v = value_of(b, root);
    return reads == 1 && home_of(b, root)->pending == 1 && !v->is_input && !v->constant;
}

int builder_write(struct builder *b, int value, const struct layout *layout, int *slot,
                  struct error *e)
{
    const struct value *v = value_of(b, value);
    size_t bytes = (size_t)shape_bytes(&v->shape, v->type);
    if (!layout)
        layout = builder_plain(b, value);
    if (v->type == DTYPE_F32) {
        if (!layout)
            return error_memory(e);
        bytes = layout_bytes(layout);
    }
    int code = builder_scratch(b, bytes, slot, e);
    if (!code)
        add_form(b, value, *slot, layout);
    return code;
}

void builder_write_over(struct builder *b, int value, const struct layout *layout, int slot)
{
    add_form(b, value, slot, layout);
}

int builder_reuse(struct builder *b, int value, int source, int source_slot,
                  const struct layout *layout, int *slot, struct error *e)
{
    if (!builder_may_overwrite(b, source))
        return builder_write(b, value, layout, slot, e);
    *slot = source_slot;
    builder_write_over(b, value, layout, source_slot);
    return 0;
}

int builder_view(struct builder *b, int value, int from, const struct layout *as,
                 const struct layout *seen, struct error *e)
{
    int slot;
    int code = builder_read(b, from, as, &slot, e);
    if (code)
        return code;
    int root = home_of(b, from)->root;
    home_of(b, value)->root = root;
    home_of(b, root)->pending += home_of(b, value)->pending;
    add_form(b, value, slot, seen);
    return 0;
}

int builder_alias(struct builder *b, int value, int from, struct error *e)
{
    return builder_view(b, value, from, builder_plain(b, from), builder_plain(b, value), e);
}

/* ---- slots and steps ---- */

int builder_scratch(struct builder *b, size_t bytes, int *slot, struct error *e)
{
    if (bytes > b->limit)
        return error_set(e, ERROR_MEMORY, "a tensor of %zu bytes is beyond the memory limit",
                         bytes);
    *slot = program_slot(b->program, bytes);
    return *slot == NO_SLOT ? error_memory(e) : 0;
}

int builder_fixed(struct builder *b, const void *data, size_t bytes, int *slot, struct error *e)
{
    *slot = program_slot_fixed(b->program, data, bytes);
    return *slot == NO_SLOT ? error_memory(e) : 0;
}

int builder_step(struct builder *b, int (*run)(struct step *, struct error *), const char *kernel,
                 struct step **out, struct error *e)
{
    struct step *s = program_step(b->program);
    if (!s)
        return error_memory(e);
    s->run = run;
    s->kernel = kernel;
    s->node = b->node;
    s->op = !b->node ? "" : b->node->fused ? b->node->fused : b->node->op->name;
    *out = s;
    return 0;
}

int builder_step_with(struct builder *b, int (*run)(struct step *, struct error *),
                      const char *kernel, const void *state, size_t bytes, struct step **out,
                      struct error *e)
{
    void *kept = arena_alloc(&b->program->arena, bytes);
    int code = kept ? builder_step(b, run, kernel, out, e) : error_memory(e);
    if (code)
        return code;
    (*out)->state = memcpy(kept, state, bytes);
    return 0;
}

static int run_primitive(struct step *s, struct error *e)
{
    return primitive_run(s->primitive, e);
}

int builder_primitive(struct builder *b, struct primitive *p, const int slots[OPERAND_SCRATCH],
                      struct error *e)
{
    int scratch = NO_SLOT, code = 0;
    struct step *s = NULL;
    const struct layout *need = primitive_layout(p, OPERAND_SCRATCH);
    if (need)
        code = builder_scratch(b, layout_bytes(need), &scratch, e);
    if (!code)
        code = builder_step(b, run_primitive, primitive_kernel(p), &s, e);
    if (code) {
        primitive_free(p);
        return code;
    }
    s->primitive = p;
    s->computes = 1;
    memcpy(s->slots, slots, OPERAND_SCRATCH * sizeof *slots);
    s->slots[OPERAND_SCRATCH] = scratch;
    return 0;
}

/* ---- packing ---- */

static int find_packed(const struct builder *b, const void *data, const struct layout *from,
                       const struct layout *to)
{
    for (int i = 0; i < b->packed_count; i++)
        if (b->packed[i].data == data && layout_equal(b->packed[i].from, from) &&
            layout_equal(b->packed[i].to, to))
            return b->packed[i].slot;
    return NO_SLOT;
}

static int remember_packed(struct builder *b, struct packed packed)
{
    if (b->packed_count == b->packed_capacity) {
        int larger = b->packed_capacity ? b->packed_capacity * 2 : 64;
        struct packed *list = realloc(b->packed, (size_t)larger * sizeof *list);
        if (!list)
            return -1;
        b->packed = list;
        b->packed_capacity = larger;
    }
    b->packed[b->packed_count++] = packed;
    return 0;
}

static int copy_now(const void *data, void *packed, struct primitive *p, struct error *e)
{
    struct memory_block scratch = {0};
    const struct layout *need = primitive_layout(p, OPERAND_SCRATCH);
    if (need && memory_block_map(&scratch, layout_bytes(need)))
        return error_memory(e);
    primitive_bind(p, OPERAND_SRC, (void *)(uintptr_t)data);
    primitive_bind(p, OPERAND_DST, packed);
    primitive_bind(p, OPERAND_SCRATCH, scratch.data);
    int code = primitive_run(p, e);
    memory_block_unmap(&scratch);
    return code;
}

int builder_pack(struct builder *b, const void *data, const struct layout *from,
                 const struct layout *to, int *slot, struct error *e)
{
    *slot = find_packed(b, data, from, to);
    if (*slot != NO_SLOT)
        return 0;
    struct primitive *p;
    int code = primitive_reorder(b->onednn, from, to, &p, e);
    if (code)
        return code;
    size_t bytes = layout_bytes(to);
    void *packed = memory_pool_take(&b->program->weights, bytes);
    code = packed ? copy_now(data, packed, p, e)
                  : error_set(e, ERROR_MEMORY, "packed weights are beyond the memory limit");
    primitive_free(p);
    if (!code)
        code = builder_fixed(b, packed, bytes, slot, e);
    if (!code && remember_packed(b, (struct packed){data, from, to, *slot}))
        code = error_memory(e);
    return code;
}

/* ---- the walk over the graph ---- */

/* Weights that were packed and that nobody reads again leave memory. */
static void finish_constant(struct builder *b, int value)
{
    if (b->keep_constants || !value_of(b, value)->constant || home_of(b, value)->raw)
        return;
    b->graph->values[value].uses--;
    graph_forget(b->graph, value);
}

static void finish_node(struct builder *b, const struct node *n)
{
    for (int i = 0; i < n->input_count; i++)
        if (n->inputs[i] != NO_VALUE) {
            home_of(b, home_of(b, n->inputs[i])->root)->pending--;
            finish_constant(b, n->inputs[i]);
        }
}

static int start(struct builder *b, struct error *e)
{
    struct graph *g = b->graph;
    b->homes = calloc((size_t)g->value_count + 1, sizeof *b->homes);
    if (!b->homes)
        return error_memory(e);
    for (int i = 0; i < g->value_count; i++)
        b->homes[i].root = i;
    for (int i = 0; i < g->output_count; i++)
        b->homes[g->outputs[i]].pending++;
    for (int i = 0; i < g->node_count; i++)
        for (int k = 0; !g->nodes[i].dead && k < g->nodes[i].input_count; k++)
            if (g->nodes[i].inputs[k] != NO_VALUE)
                b->homes[g->nodes[i].inputs[k]].pending++;
    for (int i = 0; i < g->input_count; i++) {
        int slot;
        int code = builder_write(b, g->inputs[i], NULL, &slot, e);
        if (code)
            return code;
        b->program->slots[slot].from_start = b->program->slots[slot].to_end = 1;
    }
    return 0;
}

static int run_copy(struct step *s, struct error *e)
{
    (void)e;
    memcpy(s->data[1], s->data[0], *(const size_t *)s->state);
    return 0;
}

/* Outputs that are inputs or constants of the graph are copied: an output's memory is its own. */
static int copy_output(struct builder *b, int value, int *slot, struct error *e)
{
    int from = *slot;
    struct step *s = NULL;
    size_t *bytes = arena_alloc(&b->program->arena, sizeof *bytes);
    if (!bytes)
        return error_memory(e);
    *bytes = (size_t)shape_bytes(&value_of(b, value)->shape, value_of(b, value)->type);
    int code = builder_scratch(b, *bytes, slot, e);
    if (!code)
        code = builder_step(b, run_copy, "memcpy", &s, e);
    if (code)
        return code;
    s->op = "Copy";
    s->slots[0] = from;
    s->slots[1] = *slot;
    s->state = bytes;
    return 0;
}

int builder_output(struct builder *b, int value, int *slot, struct error *e)
{
    int code = builder_read_plain(b, value, slot, e);
    const struct value *root = value_of(b, home_of(b, value)->root);
    if (!code && (root->is_input || root->constant))
        code = copy_output(b, value, slot, e);
    if (!code)
        b->program->slots[*slot].to_end = 1;
    return code;
}

int builder_input(const struct builder *b, int value)
{
    return home_of(b, value)->forms[0].slot;
}

int builder_run(struct builder *b, int reference, struct error *e)
{
    int code = start(b, e);
    for (int i = 0; !code && i < b->graph->node_count; i++) {
        const struct node *n = &b->graph->nodes[i];
        if (n->dead)
            continue;
        b->node = n;
        code = reference ? kernel_reference(b, n, e) : kernel_prepare(b, n, e);
        if (code)
            return error_context(e, "node '%s' (%s)", n->name, n->op->name);
        finish_node(b, n);
    }
    b->node = NULL;
    return code;
}

void builder_release(struct builder *b)
{
    tuner_release(&b->tuner);
    free(b->homes);
    free(b->packed);
    b->homes = NULL;
    b->packed = NULL;
}
