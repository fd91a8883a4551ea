/* Scaled dot-product attention over heads becomes one node that reads q, k and v interleaved: the
 * three Linears in front of it become one, and no Transpose is left. */
#include "engine/ops/ops.h"
#include "engine/passes/passes.h"

#include <math.h>
#include <string.h>

enum part { Q, K, V };
enum { ALL_PACKED = 1 << Q | 1 << K | 1 << V };

struct found {
    int q, k, v;     /* values [B, S, H * D]; or all the same one [B, S, 3 * H * D] */
    unsigned packed; /* bit by bit, which of them are parts of such a one */
    int mask;        /* or NO_VALUE */
    int64_t heads, depth;
    double scale;
    int last;        /* the node whose output is [B, S, H * D] */
};

int match_scaled(const struct graph *g, int value, double *scale)
{
    for (int i = 0; i < 4; i++) {
        int mul = match_inner(g, value, "Mul"), div = match_inner(g, value, "Div"), other;
        double scalar;
        if (mul >= 0 && !match_with_scalar(g, mul, 1, &scalar, &other))
            *scale *= scalar;
        else if (div >= 0 && !match_with_scalar(g, div, 0, &scalar, &other))
            *scale /= scalar;
        else
            break;
        value = other;
    }
    return value;
}

int match_flat_transpose(const struct graph *g, int value, int *wide)
{
    static const int64_t swap[3] = {0, 2, 1};
    *wide = match_inner(g, value, "Reshape");
    int turn = *wide < 0 ? -1 : match_inner(g, g->nodes[*wide].inputs[0], "Transpose");
    int flat = turn < 0 ? -1 : match_inner(g, g->nodes[turn].inputs[0], "Reshape");
    if (flat < 0 || g->nodes[turn].a.axis_count != 3 ||
        memcmp(g->nodes[turn].a.axes, swap, sizeof swap) != 0)
        return -1;
    const struct shape *to = &g->values[value].shape;
    const struct shape *middle = &g->values[g->nodes[turn].inputs[0]].shape;
    return to->rank == 4 && middle->dims[1] == to->dims[3] && middle->dims[2] == to->dims[2]
               ? g->nodes[flat].inputs[0] : -1;
}

/* The same where what goes in has the four axes, perhaps with a 1 in front of them. */
static int strip_flat_transpose(const struct graph *g, int value)
{
    int wide, x = match_flat_transpose(g, value, &wide);
    const struct shape *to = &g->values[value].shape, *from = x < 0 ? NULL : &g->values[x].shape;
    int more = x < 0 ? 0 : from->rank - 4;
    int fits = x >= 0 && (more == 0 || (more == 1 && from->dims[0] == 1));
    for (int i = 0; i < 4 && fits; i++)
        fits = to->dims[i] == from->dims[more + (i < 2 ? i : 5 - i)];
    return fits ? x : -1;
}

/* The Transposes that make the value, as one permutation of four axes. */
static int strip_transposes(const struct graph *g, int value, int64_t perm[4])
{
    for (int i = 0; i < 4; i++)
        perm[i] = i;
    int flat = strip_flat_transpose(g, value);
    if (flat >= 0) {
        memcpy(perm, (const int64_t[]){0, 1, 3, 2}, 4 * sizeof *perm);
        value = flat;
    }
    for (int node; (node = match_inner(g, value, "Transpose")) >= 0;) {
        const struct node *n = &g->nodes[node];
        if (n->a.axis_count != 4)
            break;
        for (int i = 0; i < 4; i++)
            perm[i] = n->a.axes[perm[i]];
        value = n->inputs[0];
    }
    return value;
}

static int is_perm(const int64_t perm[4], int64_t a, int64_t b, int64_t c, int64_t d)
{
    return perm[0] == a && perm[1] == b && perm[2] == c && perm[3] == d;
}

/* value = Transpose(Reshape(x)) with x [B, S, H * D] seen as heads; x or -1. keys: D before S. */
static int heads_of(const struct graph *g, int value, int keys, struct found *f)
{
    int64_t perm[4];
    value = match_scaled(g, value, &f->scale);
    value = strip_transposes(g, value, perm);
    if (keys ? !is_perm(perm, 0, 2, 3, 1) : !is_perm(perm, 0, 2, 1, 3))
        return -1;
    value = match_scaled(g, value, &f->scale);
    int reshape = match_inner(g, value, "Reshape");
    if (reshape < 0)
        return -1;
    int x = match_scaled(g, g->nodes[reshape].inputs[0], &f->scale);
    const struct shape *from = &g->values[x].shape, *to = &g->values[value].shape;
    if (from->rank != 3 || to->rank != 4 || from->dims[0] != to->dims[0] ||
        from->dims[1] != to->dims[1] || (f->heads && f->heads != to->dims[2]) ||
        (f->depth && f->depth != to->dims[3]) || graph_single_user(g, x) < 0)
        return -1;
    f->heads = to->dims[2];
    f->depth = to->dims[3];
    return x;
}

/* The index of the slice of T that the value is, along T's first axis: by a Gather, a Slice or a
 * Split. -1 when it is none. T goes to *from. */
static int slice_of(const struct graph *g, int value, int *from)
{
    int node = g->values[value].producer;
    double index = -1;
    if (node >= 0 && g->nodes[node].op->copy == OP_RESHAPES)
        node = g->values[value = g->nodes[node].inputs[0]].producer;
    if (node < 0)
        return -1;
    const struct node *n = &g->nodes[node];
    const struct shape *s = &g->values[value].shape;
    *from = n->inputs[0];
    if (match_is(g, node, "Gather")) {
        const struct value *at = &g->values[n->inputs[1]];
        if (n->a.axis == 0 && at->constant && shape_elements(&at->shape) == 1)
            load_real(at->type, at->constant, 0, 1, 1, &index);
        return (int)index;
    }
    const struct shape *t = &g->values[*from].shape;
    int one = s->rank == 5 && t->rank == 5 && s->dims[0] == 1;
    for (int i = 1; i < 5 && one; i++)
        one = s->dims[i] == t->dims[i];
    if (one && match_slice(g, node))
        return (int)n->a.starts[0];
    for (int i = 0; i < n->output_count && one && match_is(g, node, "Split"); i++)
        if (n->outputs[i] == value)
            return i;
    return -1;
}

/* The value is that part of a [B, S, 3, H, D] with heads in front of places: the value [B, S, 3HD]
 * it is made from, or -1. keys: D before S. */
static int packed_heads(const struct graph *g, int value, int keys, enum part part,
                        struct found *f)
{
    static const int64_t apart[5] = {2, 0, 3, 1, 4};
    int64_t perm[4];
    int from = -1;
    value = strip_transposes(g, match_scaled(g, value, &f->scale), perm);
    if (keys ? !is_perm(perm, 0, 1, 3, 2) : !is_perm(perm, 0, 1, 2, 3))
        return -1;
    value = match_scaled(g, value, &f->scale);
    if (graph_single_user(g, value) < 0 || slice_of(g, value, &from) != (int)part)
        return -1;
    int turn = match_producer(g, from, "Transpose");
    int wide = turn < 0 ? -1 : match_producer(g, g->nodes[turn].inputs[0], "Reshape");
    if (wide < 0 || g->nodes[turn].a.axis_count != 5 ||
        memcmp(g->nodes[turn].a.axes, apart, sizeof apart) != 0)
        return -1;
    int x = g->nodes[wide].inputs[0];
    const struct shape *s = &g->values[x].shape, *w = &g->values[g->nodes[turn].inputs[0]].shape;
    if (s->rank != 3 || s->dims[0] != w->dims[0] || s->dims[1] != w->dims[1] || w->dims[2] != 3 ||
        (f->heads && (f->heads != w->dims[3] || f->depth != w->dims[4])))
        return -1;
    f->heads = w->dims[3];
    f->depth = w->dims[4];
    f->packed |= 1u << part;
    return x;
}

static int source_of(const struct graph *g, int value, int keys, enum part part, struct found *f)
{
    double before = f->scale;
    int x = heads_of(g, value, keys, f);
    if (x >= 0)
        return x;
    f->scale = before;
    return packed_heads(g, value, keys, part, f);
}

/* Behind the node: heads side by side again. */
static int match_merge(const struct graph *g, int node, struct found *f)
{
    static const int64_t back[4] = {0, 2, 1, 3};
    int transpose = match_user(g, node, "Transpose");
    if (transpose < 0 || memcmp(g->nodes[transpose].a.axes, back, sizeof back) != 0)
        return 0;
    f->last = match_user(g, transpose, "Reshape");
    const struct shape *v = &g->values[f->v].shape;
    const struct shape y = {3, {v->dims[0], v->dims[1], f->heads * f->depth}};
    return f->last >= 0 && shape_equal(&g->values[g->nodes[f->last].outputs[0]].shape, &y);
}

/* Behind the Softmax: times v. */
static int match_context(const struct graph *g, int softmax, struct found *f)
{
    int product = match_user(g, softmax, "MatMul");
    if (product < 0 || g->nodes[product].inputs[0] != g->nodes[softmax].outputs[0])
        return 0;
    double before = f->scale;
    f->v = source_of(g, g->nodes[product].inputs[1], 0, V, f);
    if (f->v < 0 || f->scale != before)
        return 0; /* a scaled v is not a scaled score */
    return match_merge(g, product, f);
}

/* In front of it: q times k, scaled, and a mask added. */
static int match_scores(const struct graph *g, int softmax, struct found *f)
{
    int value = g->nodes[softmax].inputs[0], add = match_inner(g, value, "Add");
    f->mask = NO_VALUE;
    f->scale = 1;
    if (add >= 0) {
        int first = g->nodes[add].inputs[0], second = g->nodes[add].inputs[1];
        double ignored = 1;
        int is_first = match_inner(g, match_scaled(g, first, &ignored), "MatMul") >= 0;
        int scores = is_first ? first : second;
        f->mask = match_other(g, add, scores);
        if (!match_is_f32(g, f->mask) ||
            !shape_equal(&g->values[scores].shape, &g->values[value].shape))
            return 0;
        value = scores;
    }
    value = match_scaled(g, value, &f->scale);
    int product = match_inner(g, value, "MatMul");
    if (product < 0)
        return 0;
    f->q = source_of(g, g->nodes[product].inputs[0], 0, Q, f);
    f->k = source_of(g, g->nodes[product].inputs[1], 1, K, f);
    return f->q >= 0 && f->k >= 0;
}

/* q, k and v have one shape, [B, S, H * D], or are the parts of one value. */
static int fit_together(const struct graph *g, const struct found *f)
{
    const struct shape *q = &g->values[f->q].shape;
    if (f->packed)
        return f->packed == ALL_PACKED && f->q == f->k && f->q == f->v &&
               q->dims[2] == 3 * f->heads * f->depth;
    return q->rank == 3 && q->dims[2] == f->heads * f->depth &&
           shape_equal(q, &g->values[f->k].shape) && shape_equal(q, &g->values[f->v].shape);
}

static int match_softmax(const struct graph *g, int softmax, struct found *f)
{
    const struct node *n = &g->nodes[softmax];
    *f = (struct found){0};
    if (!match_is(g, softmax, "Softmax") || !match_is_f32(g, n->inputs[0]) ||
        g->values[n->inputs[0]].shape.rank != 4 || n->a.axis != 3 || n->a.axis_count != 1)
        return 0;
    return match_scores(g, softmax, f) && match_context(g, softmax, f) && fit_together(g, f);
}

/* 0 where a query sees a key, else -inf: later keys are hidden. */
static int causal_mask(struct graph *g, int64_t size)
{
    float *data = graph_memory(g, (size_t)(size * size) * sizeof *data);
    for (int64_t i = 0; data && i < size * size; i++)
        data[i] = i % size > i / size ? -INFINITY : 0;
    return data ? graph_add_constant(g, "causal", DTYPE_F32, &(struct shape){2, {size, size}}, data)
                : -1;
}

/* The operator of opset 23, as PyTorch's exporter writes it. */
static int match_operator(struct graph *g, int node, struct found *f)
{
    enum { MASK = V + 1 };
    if (!match_is(g, node, "Attention"))
        return 0;
    const struct node n = g->nodes[node];
    int mask = n.input_count > MASK ? n.inputs[MASK] : NO_VALUE;
    int causal = n.a.mode;
    for (int i = 1; i < n.output_count; i++)
        if (n.outputs[i] != NO_VALUE)
            return 0;
    if (n.a.alpha != 0 || n.input_count > MASK + 1 || (causal && mask != NO_VALUE) ||
        (mask != NO_VALUE && !match_is_f32(g, mask)))
        return 0;
    *f = (struct found){.scale = (double)n.a.scale, .mask = mask};
    f->q = source_of(g, n.inputs[Q], 0, Q, f);
    f->k = f->q < 0 ? -1 : source_of(g, n.inputs[K], 0, K, f);
    double before = f->scale;
    f->v = f->k < 0 ? -1 : source_of(g, n.inputs[V], 0, V, f);
    if (f->v < 0 || f->scale != before || !match_merge(g, node, f) || !fit_together(g, f))
        return 0;
    if (mask != NO_VALUE && g->values[mask].shape.dims[g->values[mask].shape.rank - 1] !=
                                g->values[f->q].shape.dims[1])
        return 0; /* one that is to be filled up */
    if (causal)
        f->mask = causal_mask(g, g->values[f->q].shape.dims[1]);
    return !causal || f->mask >= 0;
}

/* q, k and v are thirds of one value, in this order: that value, or -1. */
static int split_source(const struct graph *g, const struct found *f)
{
    int split = g->values[f->q].producer;
    if (f->packed)
        return f->q;
    if (split < 0 || !match_is(g, split, "Split"))
        return -1;
    const struct node *n = &g->nodes[split];
    int in_order = n->output_count == 3 && n->outputs[0] == f->q && n->outputs[1] == f->k &&
                   n->outputs[2] == f->v;
    return in_order && n->a.axis == 2 ? n->inputs[0] : -1;
}

/* The Linears that make q, k and v; 0 unless they differ in their weights only. */
static int linear_sources(const struct graph *g, const struct found *f, int linears[3])
{
    const int values[3] = {f->q, f->k, f->v};
    for (int i = 0; i < 3; i++) {
        linears[i] = g->values[values[i]].producer;
        if (linears[i] < 0)
            return 0;
        const struct node *n = &g->nodes[linears[i]], *first = &g->nodes[linears[0]];
        if (n->op != &op_linear || n->inputs[0] != first->inputs[0] || n->a.has_residual ||
            n->a.activation != ACT_NONE || n->a.trans_b != first->a.trans_b ||
            n->a.has_bias != first->a.has_bias ||
            !shape_equal(&g->values[n->inputs[1]].shape, &g->values[first->inputs[1]].shape))
            return 0;
    }
    return linears[0] != linears[1] && linears[1] != linears[2] && linears[0] != linears[2];
}

/* Input `index` of the three, side by side along the outputs. */
static int merge_constants(struct graph *g, const int linears[3], int index, int side_by_side,
                           int64_t width)
{
    const struct value v = g->values[g->nodes[linears[0]].inputs[index]];
    int64_t n = shape_elements(&v.shape), rows = side_by_side && width ? n / width : 1;
    int64_t each = side_by_side ? width : n;
    struct shape shape = v.shape;
    shape.dims[side_by_side ? shape.rank - 1 : 0] *= 3;
    float *to = graph_memory(g, 3 * (size_t)n * sizeof *to);
    for (int i = 0; i < 3 && to; i++) {
        const float *from = match_f32(g, g->nodes[linears[i]].inputs[index]);
        for (int64_t r = 0; r < rows; r++)
            memcpy(to + (r * 3 + i) * each, from + r * each, (size_t)each * sizeof *to);
    }
    return to ? graph_add_constant(g, v.name, DTYPE_F32, &shape, to) : -1;
}

/* One Linear in the earliest slot of the three. Its output's value, or -1 without memory. */
static int merge_linears(struct graph *g, const struct found *f, const int linears[3], int *slot,
                         struct node *merged)
{
    const struct node first = g->nodes[linears[0]];
    struct shape y = g->values[f->q].shape;
    int64_t width = y.dims[2];
    y.dims[2] *= 3;
    int w = merge_constants(g, linears, 1, !first.a.trans_b, width);
    int bias = first.a.has_bias ? merge_constants(g, linears, 2, 1, width) : NO_VALUE;
    const char *name = arena_format(&g->arena, "%s.qkv", first.name);
    if (w < 0 || (first.a.has_bias && bias < 0) || !name)
        return -1;
    *slot = linears[0];
    for (int i = 1; i < 3; i++)
        *slot = linears[i] < *slot ? linears[i] : *slot;
    *merged = first;
    merged->inputs[1] = w;
    if (first.a.has_bias)
        merged->inputs[2] = bias;
    return graph_add_value(g, name, DTYPE_F32, &y);
}

/* Puts the merged Linear into a slot whose own node is gone. */
static void place_linear(struct graph *g, int slot, const struct node *merged, int output)
{
    struct node *n = graph_rewrite(g, slot, &op_linear, "MatMul+Add (q, k, v)");
    n->dead = 0;
    n->a = merged->a;
    n->name = merged->name;
    n->output_count = 0;
    for (int i = 0; i < merged->input_count; i++)
        graph_read(g, slot, merged->inputs[i]);
    graph_write(g, slot, output);
}

static void place_attention(struct graph *g, const struct found *f, int qkv)
{
    int before = g->nodes[f->last].inputs[0];
    struct node *n = graph_rewrite(g, f->last, &op_attention, "Attention");
    n->a.heads = f->heads;
    n->a.scale = (float)f->scale;
    graph_read(g, f->last, qkv);
    if (f->mask != NO_VALUE)
        graph_read(g, f->last, f->mask);
    fuse_prune(g, before);
}

static void fuse(struct graph *g, const struct found *f)
{
    int linears[3], slot = -1, qkv = split_source(g, f);
    struct node merged;
    if (qkv >= 0) {
        place_attention(g, f, qkv);
        return;
    }
    if (!linear_sources(g, f, linears))
        return;
    qkv = merge_linears(g, f, linears, &slot, &merged);
    if (qkv < 0)
        return;
    place_attention(g, f, qkv);
    for (int i = 0; i < 3; i++) {
        int old = g->nodes[linears[i]].inputs[1];
        graph_kill(g, linears[i]);
        graph_forget(g, old);
    }
    place_linear(g, slot, &merged, qkv);
}

int pass_attention(struct graph *g, struct error *e)
{
    (void)e;
    for (int i = 0; i < g->node_count; i++) {
        struct found f;
        if (match_softmax(g, i, &f) || match_operator(g, i, &f))
            fuse(g, &f);
    }
    return 0;
}
