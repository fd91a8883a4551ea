/* Rotary position embedding, as Llama and others have it, becomes one node: x * cos + turn(x) * sin,
 * where turn(x) is x's second half negated and then its first half; or the same half by half. */
#include "engine/passes/passes.h"

struct found {
    int x, cosine, sine;
};

/* The value is the first or second half of a value along its last axis: which value, or -1. */
static int half_of(const struct graph *g, int value, int second)
{
    int node = value == NO_VALUE ? -1 : g->values[value].producer;
    if (node < 0)
        return -1;
    const struct node *n = &g->nodes[node];
    const struct shape *x = &g->values[n->inputs[0]].shape, *part = &g->values[value].shape;
    int last = x->rank - 1;
    for (int i = 0; i < x->rank; i++)
        if (part->rank != x->rank || part->dims[i] * (i == last ? 2 : 1) != x->dims[i])
            return -1;
    if (match_slice(g, node))
        return last >= 0 && n->a.starts[last] == (second ? part->dims[last] : 0) ? n->inputs[0]
                                                                                 : -1;
    return match_is(g, node, "Split") && n->output_count == 2 && n->outputs[second] == value
               ? n->inputs[0] : -1;
}

/* What the Concat turns, or -1. */
static int turned(const struct graph *g, int concat)
{
    if (concat < 0)
        return -1;
    const struct node *n = &g->nodes[concat];
    int negated = n->input_count == 2 ? match_inner(g, n->inputs[0], "Neg") : -1;
    if (negated < 0 || n->a.axis != g->values[n->outputs[0]].shape.rank - 1)
        return -1;
    int x = half_of(g, g->nodes[negated].inputs[0], 1);
    return x >= 0 && half_of(g, n->inputs[1], 0) == x ? x : -1;
}

/* `width` numbers along the last axis; the other dimensions broadcast to x's. */
static int is_table(const struct graph *g, int value, const struct shape *x, int64_t width)
{
    if (!match_is_f32(g, value))
        return 0;
    const struct shape *s = &g->values[value].shape;
    if (s->rank < 1 || s->rank > x->rank || s->dims[s->rank - 1] != width)
        return 0;
    for (int i = 2; i <= s->rank; i++)
        if (s->dims[s->rank - i] != 1 && s->dims[s->rank - i] != x->dims[x->rank - i])
            return 0;
    return 1;
}

/* x and the tables go together; each of them serves both halves, or has numbers for each. */
static int tables_fit(const struct graph *g, const struct found *f, int serves_both)
{
    const struct shape *x = &g->values[f->x].shape;
    int64_t width = x->dims[x->rank - 1] / (serves_both ? 2 : 1);
    return match_is_f32(g, f->x) && is_table(g, f->cosine, x, width) &&
           is_table(g, f->sine, x, width);
}

/* straight = x * cos, crossed = turn(x) * sin */
static int match_products(const struct graph *g, int straight, int crossed, struct found *f)
{
    int a = match_inner(g, straight, "Mul"), b = match_inner(g, crossed, "Mul");
    if (a < 0 || b < 0)
        return 0;
    for (int i = 0; i < 2; i++) {
        f->x = turned(g, match_inner(g, g->nodes[b].inputs[i], "Concat"));
        f->sine = g->nodes[b].inputs[1 - i];
        f->cosine = f->x < 0 ? NO_VALUE : match_other(g, a, f->x);
        if (f->cosine != NO_VALUE)
            return tables_fit(g, f, 0);
    }
    return 0;
}

/* The product of a half and a table: the value halved, or -1. */
static int half_times(const struct graph *g, int product, int second, int *table)
{
    int mul = match_inner(g, product, "Mul");
    for (int i = 0; mul >= 0 && i < 2; i++) {
        int x = half_of(g, g->nodes[mul].inputs[i], second);
        *table = g->nodes[mul].inputs[1 - i];
        if (x >= 0)
            return x;
    }
    return -1;
}

/* second half * cos + first half * sin */
static int is_second(const struct graph *g, int straight, int crossed, const struct found *f)
{
    int cosine = NO_VALUE, sine = NO_VALUE;
    return half_times(g, straight, 1, &cosine) == f->x && cosine == f->cosine &&
           half_times(g, crossed, 0, &sine) == f->x && sine == f->sine;
}

/* Concat(first * cos - second * sin, second * cos + first * sin) */
static int match_halves(const struct graph *g, int concat, struct found *f)
{
    const struct node *n = &g->nodes[concat];
    int sub = n->input_count == 2 ? match_inner(g, n->inputs[0], "Sub") : -1;
    int add = sub < 0 ? -1 : match_inner(g, n->inputs[1], "Add");
    if (add < 0 || n->a.axis != g->values[n->outputs[0]].shape.rank - 1)
        return 0;
    const int *difference = g->nodes[sub].inputs, *sum = g->nodes[add].inputs;
    f->x = half_times(g, difference[0], 0, &f->cosine);
    return f->x >= 0 && half_times(g, difference[1], 1, &f->sine) == f->x &&
           (is_second(g, sum[0], sum[1], f) || is_second(g, sum[1], sum[0], f)) &&
           tables_fit(g, f, 1);
}

static void replace(struct graph *g, int node, const struct found *f)
{
    int first = g->nodes[node].inputs[0], second = g->nodes[node].inputs[1];
    if (!shape_equal(&g->values[f->x].shape, &g->values[g->nodes[node].outputs[0]].shape))
        return;
    graph_rewrite(g, node, &op_rotary, "Rotary");
    graph_read(g, node, f->x);
    graph_read(g, node, f->cosine);
    graph_read(g, node, f->sine);
    fuse_prune(g, first);
    fuse_prune(g, second);
}

int pass_rotary(struct graph *g, struct error *e)
{
    (void)e;
    for (int i = 0; i < g->node_count; i++) {
        struct found f = {0};
        const int *in = g->nodes[i].inputs;
        if ((match_is(g, i, "Add") && (match_products(g, in[0], in[1], &f) ||
                                       match_products(g, in[1], in[0], &f))) ||
            (match_is(g, i, "Concat") && match_halves(g, i, &f)))
            replace(g, i, &f);
    }
    return 0;
}
