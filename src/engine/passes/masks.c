/* Constants that are added to the scores of an attention one after the other, with Reshapes in
 * between as Swin's windows want them, become one that is added at once; so do conditions that hide
 * scores. */
#include "engine/ops/ops.h"
#include "engine/passes/passes.h"

enum { LINKS_MAX = 8, MASK_MAX = 1 << 22 };

struct chain {
    int scores;
    int adds[LINKS_MAX], count; /* nodes */
    int reshapes;
};

/* The Add's constant: its number among the inputs, or -1. The sum has the other's shape. */
static int constant_of(const struct graph *g, int add)
{
    const struct node *n = &g->nodes[add];
    for (int i = 0; i < 2; i++)
        if (match_f32(g, n->inputs[i]) && shape_equal(&g->values[n->inputs[1 - i]].shape,
                                                      &g->values[n->outputs[0]].shape))
            return i;
    return -1;
}

static int match(const struct graph *g, int value, struct chain *c)
{
    const struct shape *end = &g->values[value].shape;
    *c = (struct chain){.scores = value};
    for (int i = 0; i < LINKS_MAX; i++) {
        int reshape = match_inner(g, c->scores, "Reshape"), add = match_inner(g, c->scores, "Add");
        int at = add < 0 ? -1 : constant_of(g, add);
        if (reshape < 0 && at < 0)
            break;
        c->scores = g->nodes[reshape >= 0 ? reshape : add].inputs[reshape >= 0 ? 0 : 1 - at];
        c->reshapes += reshape >= 0;
        if (at >= 0)
            c->adds[c->count++] = add;
    }
    return c->count && c->reshapes && shape_elements(end) <= MASK_MAX &&
           match_is_f32(g, c->scores) && shape_equal(&g->values[c->scores].shape, end);
}

/* All of the chain's constants, as often as they are repeated. -1 without memory. */
static int sum(struct graph *g, const struct chain *c)
{
    const struct shape shape = g->values[c->scores].shape;
    float *data = graph_memory(g, (size_t)shape_bytes(&shape, DTYPE_F32));
    for (int k = 0; data && k < c->count; k++) {
        const struct node *n = &g->nodes[c->adds[k]];
        const struct value *v = &g->values[n->inputs[constant_of(g, c->adds[k])]];
        const struct shape *y = &g->values[n->outputs[0]].shape;
        const float *from = v->constant;
        struct walk w;
        walk_init(&w, y);
        walk_operand(&w, y);
        walk_operand(&w, &v->shape);
        for (int more = walk_begin(&w); more; more = walk_next(&w))
            for (int64_t i = 0; i < w.count; i++)
                data[w.offset[0] + i * w.step[0]] += from[w.offset[1] + i * w.step[1]];
    }
    return data ? graph_add_constant(g, "masks", DTYPE_F32, &shape, data) : -1;
}

/* Scores that a constant condition replaces by -inf, or by what is as good: which of the inputs of
 * the Where are they, or -1. */
static int shown_of(const struct graph *g, int where)
{
    const struct node *n = &g->nodes[where];
    double hidden;
    if (!g->values[n->inputs[0]].constant)
        return -1;
    for (int i = 1; i < 3; i++)
        if (!match_scalar(g, n->inputs[i], &hidden) && hidden < -1e30 &&
            shape_equal(&g->values[n->inputs[3 - i]].shape, &g->values[n->outputs[0]].shape))
            return 3 - i;
    return -1;
}

/* Where(constant, scores, -inf) in front of a Softmax adds a constant just as well. */
static void hide_by_adding(struct graph *g, int where, const struct op *add)
{
    int shown = where < 0 ? -1 : shown_of(g, where);
    if (shown < 0)
        return;
    const struct node n = g->nodes[where];
    const struct value seen = g->values[n.inputs[0]];
    int64_t count = shape_elements(&seen.shape);
    float *data = graph_memory(g, (size_t)count * sizeof *data);
    for (int64_t i = 0; data && i < count; i++)
        data[i] = (((const uint8_t *)seen.constant)[i] != 0) == (shown == 1)
                      ? 0 : *match_f32(g, n.inputs[3 - shown]);
    int mask = data ? graph_add_constant(g, "hidden", DTYPE_F32, &seen.shape, data) : -1;
    if (mask < 0)
        return;
    graph_rewrite(g, where, add, "Add");
    graph_read(g, where, n.inputs[shown]);
    graph_read(g, where, mask);
}

int pass_masks(struct graph *g, struct error *e)
{
    (void)e;
    const struct op *add = op_find("", "Add", 17, NULL);
    for (int i = 0; i < g->node_count && add; i++) {
        struct chain c;
        if (!match_is(g, i, "Softmax"))
            continue;
        hide_by_adding(g, match_inner(g, g->nodes[i].inputs[0], "Where"), add);
        if (!match(g, g->nodes[i].inputs[0], &c))
            continue;
        int last = g->values[g->nodes[i].inputs[0]].producer, before = g->nodes[last].inputs[0];
        int mask = sum(g, &c);
        if (mask < 0)
            continue;
        graph_rewrite(g, last, add, "Add");
        graph_read(g, last, c.scores);
        graph_read(g, last, mask);
        fuse_prune(g, before);
    }
    return 0;
}
