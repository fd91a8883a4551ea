/* Attention spelled out over heads, softmax(q k^T scale + mask) v, becomes the Attention operator:
 * scale and mask go into the softmax, k need not be transposed, and keys and values that are
 * repeated for several heads of queries need not be copied. */
#include "engine/passes/passes.h"

#include <string.h>

struct found {
    int q, k, v, mask;  /* mask: or NO_VALUE */
    int64_t heads, groups; /* of queries; of keys and values */
    int flip;           /* the Transpose that makes k and must not turn it; or -1 */
    int wide, flat;     /* the Reshape that makes k's transpose, and what it may make k of; or -1 */
    int last;           /* the product with v */
    double scale;
};

/* k from its transpose [B, H, D, S]; -1 when it is none. */
static int match_keys(const struct graph *g, int value, struct found *f)
{
    static const int64_t swap[4] = {0, 1, 3, 2};
    f->flip = -1;
    value = match_scaled(g, value, &f->scale);
    f->flat = match_flat_transpose(g, value, &f->wide);
    if (f->flat >= 0)
        return value;
    int turn = match_inner(g, value, "Transpose");
    if (turn < 0 || g->nodes[turn].a.axis_count != 4)
        return -1;
    if (memcmp(g->nodes[turn].a.axes, swap, sizeof swap) == 0)
        return match_scaled(g, g->nodes[turn].inputs[0], &f->scale);
    f->flip = turn;
    return value;
}

static int match_scores(const struct graph *g, int softmax, struct found *f)
{
    int value = g->nodes[softmax].inputs[0], add = match_inner(g, value, "Add");
    f->mask = NO_VALUE;
    f->scale = 1;
    for (int i = 0; add >= 0 && i < 2 && f->mask == NO_VALUE; i++) {
        double ignored = 1;
        int scores = g->nodes[add].inputs[i];
        if (match_inner(g, match_scaled(g, scores, &ignored), "MatMul") < 0)
            continue;
        f->mask = g->nodes[add].inputs[1 - i];
        value = scores;
    }
    value = match_scaled(g, value, &f->scale);
    int product = match_inner(g, value, "MatMul");
    if (product < 0)
        return 0;
    f->q = match_scaled(g, g->nodes[product].inputs[0], &f->scale);
    f->k = match_keys(g, g->nodes[product].inputs[1], f);
    return f->k >= 0 && f->scale > 0;
}

/* What is repeated for several heads: [B, G, S, D] as [B, G, 1, S, D], expanded, as
 * [B, G * r, S, D]; or -1. */
static int match_repeat(const struct graph *g, int value)
{
    int merge = match_inner(g, value, "Reshape");
    int expand = merge < 0 ? -1 : match_inner(g, g->nodes[merge].inputs[0], "Expand");
    int wide = expand < 0 ? NO_VALUE : g->nodes[expand].inputs[0];
    int spread = wide == NO_VALUE ? -1 : g->values[wide].producer;
    if (spread < 0 || g->nodes[spread].op->copy != OP_RESHAPES)
        return -1;
    int x = g->nodes[spread].inputs[0];
    const struct shape *from = &g->values[x].shape, *one = &g->values[wide].shape;
    const struct shape *many = &g->values[g->nodes[expand].outputs[0]].shape;
    int fits = from->rank == 4 && one->rank == 5 && many->rank == 5 && one->dims[2] == 1;
    for (int i = 0; i < 5 && fits; i++)
        fits = i == 2 || (one->dims[i] == many->dims[i] && one->dims[i] == from->dims[i - (i > 2)]);
    return fits ? x : -1;
}

/* Keys and values of fewer heads than they are written with. The transpose of k stays if that is
 * where k comes from. */
static void match_groups(const struct graph *g, struct found *f)
{
    int k = f->flip >= 0 || f->flat >= 0 ? -1 : match_repeat(g, f->k), v = match_repeat(g, f->v);
    f->groups = f->heads;
    if (k < 0 || v < 0 || g->values[k].shape.dims[1] != g->values[v].shape.dims[1])
        return;
    f->k = k;
    f->v = v;
    f->groups = g->values[k].shape.dims[1];
}

/* [B, H, S, D] of one B and one H; keys as many as values, as deep as queries. */
static int fit_together(const struct graph *g, struct found *f)
{
    const struct shape *q = &g->values[f->q].shape, *v = &g->values[f->v].shape;
    struct shape k = g->values[f->k].shape;
    if (q->rank != 4 || k.rank != 4 || v->rank != 4)
        return 0;
    if (f->flip >= 0 || f->flat >= 0) {
        int64_t depth = k.dims[2];
        k.dims[2] = k.dims[3];
        k.dims[3] = depth;
    }
    f->heads = q->dims[1];
    return k.dims[0] == q->dims[0] && v->dims[0] == q->dims[0] && k.dims[1] == q->dims[1] &&
           v->dims[1] == q->dims[1] && k.dims[3] == q->dims[3] && v->dims[2] == k.dims[2] &&
           match_is_f32(g, f->q) && match_is_f32(g, f->k) && match_is_f32(g, f->v);
}

/* A row of numbers for each query, or one for all; it makes no more queries of one. */
static int mask_fits(const struct graph *g, const struct found *f, const struct shape *scores)
{
    for (int i = 0; i < 3; i++)
        if (scores->dims[i] != g->values[f->q].shape.dims[i])
            return 0;
    if (f->mask == NO_VALUE)
        return 1;
    const struct shape *m = &g->values[f->mask].shape;
    int fits = match_is_f32(g, f->mask) && m->rank >= 1 && m->rank <= 4 &&
               m->dims[m->rank - 1] == scores->dims[3];
    for (int i = 1; i <= m->rank && fits; i++)
        fits = m->dims[m->rank - i] == 1 || m->dims[m->rank - i] == scores->dims[4 - i];
    return fits;
}

static int match_softmax(const struct graph *g, int softmax, struct found *f)
{
    const struct node *n = &g->nodes[softmax];
    if (!match_is(g, softmax, "Softmax") || g->values[n->inputs[0]].shape.rank != 4 ||
        n->a.axis != 3 || n->a.axis_count != 1)
        return 0;
    f->last = match_user(g, softmax, "MatMul");
    if (f->last < 0 || g->nodes[f->last].inputs[0] != n->outputs[0])
        return 0;
    f->v = g->nodes[f->last].inputs[1];
    return match_scores(g, softmax, f) && fit_together(g, f) &&
           mask_fits(g, f, &g->values[n->outputs[0]].shape);
}

/* A Transpose that no longer exchanges rows and columns, or a Reshape of what had not yet. */
static void keep_rows(struct graph *g, const struct found *f)
{
    int64_t *dims = g->values[f->k].shape.dims, dim = dims[2];
    if (f->flip < 0 && f->flat < 0)
        return;
    dims[2] = dims[3];
    dims[3] = dim;
    if (f->flat >= 0) {
        int before = g->nodes[f->wide].inputs[0];
        graph_set_input(g, f->wide, 0, f->flat);
        fuse_prune(g, before);
        return;
    }
    int64_t *axes = g->nodes[f->flip].a.axes, axis = axes[2];
    axes[2] = axes[3];
    axes[3] = axis;
}

static void replace(struct graph *g, const struct op *op, const struct found *f)
{
    int before[2] = {g->nodes[f->last].inputs[0], g->nodes[f->last].inputs[1]};
    keep_rows(g, f);
    struct node *n = graph_rewrite(g, f->last, op, "Attention");
    n->a.heads = f->heads;
    n->a.axes[0] = f->groups;
    n->a.scale = (float)f->scale;
    graph_read(g, f->last, f->q);
    graph_read(g, f->last, f->k);
    graph_read(g, f->last, f->v);
    if (f->mask != NO_VALUE)
        graph_read(g, f->last, f->mask);
    for (int i = 0; i < 2; i++)
        fuse_prune(g, before[i]);
}

/* Keys and values of an operator that is there already. */
static void share(struct graph *g, int node)
{
    enum { K = 1, V, MASK };
    const struct node *n = &g->nodes[node];
    int k = n->input_count > MASK + 1 ? -1 : match_repeat(g, n->inputs[K]);
    int v = k < 0 ? -1 : match_repeat(g, n->inputs[V]);
    for (int i = 1; i < n->output_count; i++)
        if (n->outputs[i] != NO_VALUE)
            return;
    if (v < 0 || g->values[k].shape.dims[1] != g->values[v].shape.dims[1])
        return;
    int before[2] = {n->inputs[K], n->inputs[V]};
    graph_set_input(g, node, K, k);
    graph_set_input(g, node, V, v);
    g->nodes[node].a.axes[0] = g->values[k].shape.dims[1];
    fuse_prune(g, before[0]);
    fuse_prune(g, before[1]);
}

int pass_heads(struct graph *g, struct error *e)
{
    (void)e;
    const struct op *op = op_find("", "Attention", 23, NULL);
    for (int i = 0; i < g->node_count && op; i++) {
        struct found f = {0};
        if (match_is(g, i, "Attention"))
            share(g, i);
        if (!match_softmax(g, i, &f))
            continue;
        match_groups(g, &f);
        replace(g, op, &f);
        share(g, f.last);
    }
    return 0;
}
