/* Einsum of one or two tensors becomes what is fast: Transposes and Reshapes around a MatMul or a
 * Mul. Labels of both tensors that are kept are the batch, those of both that are summed the inner
 * dimension, those of one are its rows or columns. Diagonals, sums within one tensor and a third
 * one stay with the reference. */
#include "engine/ops/ops.h"
#include "engine/passes/passes.h"

#include <string.h>

enum kind { BATCH, ROWS, COLUMNS, SUMMED, KINDS };
enum { NODES_EACH = 10, DOTS_MIN = 1024 };

struct insertion {
    int *before; /* the node that each appended one is for */
    int count;
};

struct job {
    const struct einsum *s;
    struct insertion *in;
    int node;
    int kind[EINSUM_LABELS]; /* -1 for a label of size 1, which nobody misses */
    int count[KINDS];
    int64_t size[KINDS];
};

/* Each operand has an element for each combination of its labels: no diagonal. */
static int is_whole(const struct graph *g, const struct job *j, int operand)
{
    int64_t elements = 1;
    for (int i = 0; i < j->s->total; i++)
        elements *= j->s->strides[operand][i] ? j->s->size[i] : 1;
    return elements == shape_elements(&g->values[g->nodes[j->node].inputs[operand]].shape);
}

/* 0 when a label is summed within one tensor. */
static int sort_labels(struct job *j)
{
    const struct einsum *s = j->s;
    for (int k = 0; k < KINDS; k++)
        j->size[k] = 1;
    for (int i = 0; i < s->total; i++) {
        int a = s->strides[0][i] != 0, b = s->operands > 1 && s->strides[1][i] != 0;
        j->kind[i] = -1;
        if (s->size[i] == 1)
            continue;
        if (s->size[i] == 0 || (i >= s->kept && !(a && b)) || (!a && !b))
            return 0;
        j->kind[i] = i >= s->kept ? SUMMED : a && b ? BATCH : a ? ROWS : COLUMNS;
        j->count[j->kind[i]]++;
        j->size[j->kind[i]] *= s->size[i];
    }
    return j->count[BATCH] + 2 <= RANK_MAX &&
           j->count[BATCH] + j->count[ROWS] + j->count[COLUMNS] <= RANK_MAX;
}

/* Many short dot products are no matrix product. */
static int is_worth_it(const struct job *j)
{
    return j->count[SUMMED] == 0 || j->size[ROWS] * j->size[COLUMNS] > 1 ||
           j->size[BATCH] == 1 || j->size[SUMMED] >= DOTS_MIN;
}

/* A new node in front of the Einsum; its output, or -1 without memory. w may be NO_VALUE. */
static int append(struct graph *g, struct job *j, const char *op, int x, int w,
                  const struct shape *shape)
{
    const struct op *found = op_find("", op, 17, NULL);
    const char *name = g->nodes[j->node].name;
    int value = graph_add_value(g, name, DTYPE_F32, shape);
    int node = !found || value < 0 ? -1 : graph_add_node(g, found, name);
    if (node < 0)
        return -1;
    graph_read(g, node, x);
    if (w != NO_VALUE)
        graph_read(g, node, w);
    graph_write(g, node, value);
    j->in->before[j->in->count++] = j->node;
    return value;
}

static int reshape(struct graph *g, struct job *j, int value, const struct shape *shape)
{
    const struct value v = g->values[value];
    if (shape_equal(&v.shape, shape))
        return value;
    return v.constant ? graph_add_constant(g, v.name, DTYPE_F32, shape, v.constant)
                      : append(g, j, "Reshape", value, NO_VALUE, shape);
}

/* Constants are turned now: a product with constant weights is faster. */
static int transpose_constant(struct graph *g, int value, const struct shape *shape,
                              const struct node *turn)
{
    const struct value v = g->values[value];
    float *data = graph_memory(g, (size_t)shape_bytes(shape, DTYPE_F32));
    struct tensor in = {DTYPE_F32, v.shape, (void *)(uintptr_t)v.constant};
    struct tensor out = {DTYPE_F32, *shape, data};
    if (!data || turn->op->reference(turn, &in, &out, NULL))
        return -1;
    return graph_add_constant(g, v.name, DTYPE_F32, shape, data);
}

static int transpose(struct graph *g, struct job *j, int value, const int *perm)
{
    const struct shape from = g->values[value].shape;
    struct node turn = {.op = op_find("", "Transpose", 17, NULL), .a.axis_count = from.rank};
    struct shape to = from;
    int same = 1;
    for (int i = 0; i < from.rank; i++) {
        turn.a.axes[i] = perm[i];
        to.dims[i] = from.dims[perm[i]];
        same &= perm[i] == i;
    }
    if (same || !turn.op)
        return same ? value : -1;
    if (g->values[value].constant)
        return transpose_constant(g, value, &to, &turn);
    value = append(g, j, "Transpose", value, NO_VALUE, &to);
    if (value >= 0)
        g->nodes[g->values[value].producer].a = turn.a;
    return value;
}

/* Labels of the operand in the order they lie. */
static int lying_order(const struct job *j, int operand, int *labels)
{
    const int64_t *strides = j->s->strides[operand];
    int count = 0;
    for (int i = 0; i < j->s->total; i++) {
        if (j->kind[i] < 0 || !strides[i])
            continue;
        int at = count++;
        for (; at > 0 && strides[labels[at - 1]] < strides[i]; at--)
            labels[at] = labels[at - 1];
        labels[at] = i;
    }
    return count;
}

/* Labels of these kinds, kind by kind. */
static int by_kind(const struct job *j, const enum kind *kinds, int count, int *labels)
{
    int n = 0;
    for (int k = 0; k < count; k++)
        for (int i = 0; i < j->s->total; i++)
            if (j->kind[i] == (int)kinds[k])
                labels[n++] = i;
    return n;
}

static struct shape shape_of(const struct job *j, const int *labels, int count)
{
    struct shape s = {.rank = count};
    for (int i = 0; i < count; i++)
        s.dims[i] = j->s->size[labels[i]];
    return s;
}

/* The value, which has the labels `from`, with the same labels in another order. */
static int order(struct graph *g, struct job *j, int value, const int *from, const int *to,
                 int count)
{
    int perm[EINSUM_LABELS] = {0};
    for (int i = 0; i < count; i++)
        for (int k = 0; k < count; k++)
            if (from[k] == to[i])
                perm[i] = k;
    return transpose(g, j, value, perm);
}

/* The operand as matrices: batch..., one dimension of each of two kinds. */
static int matrices(struct graph *g, struct job *j, int operand, enum kind down, enum kind across)
{
    int lie[EINSUM_LABELS] = {0}, wanted[EINSUM_LABELS] = {0};
    const enum kind kinds[] = {BATCH, down, across};
    int count = lying_order(j, operand, lie), value = g->nodes[j->node].inputs[operand];
    struct shape s = shape_of(j, lie, count);
    by_kind(j, kinds, 3, wanted);
    value = reshape(g, j, value, &s);
    if (value >= 0)
        value = order(g, j, value, lie, wanted, count);
    s = shape_of(j, wanted, j->count[BATCH]);
    s.dims[s.rank++] = j->size[down];
    s.dims[s.rank++] = j->size[across];
    return value < 0 ? -1 : reshape(g, j, value, &s);
}

static int multiply(struct graph *g, struct job *j)
{
    int x = matrices(g, j, 0, ROWS, SUMMED), w = x < 0 ? -1 : matrices(g, j, 1, SUMMED, COLUMNS);
    if (w < 0)
        return -1;
    struct shape y = g->values[x].shape;
    y.dims[y.rank - 1] = j->size[COLUMNS];
    int outer = j->size[ROWS] > 1 && j->size[COLUMNS] > 1;
    return append(g, j, j->count[SUMMED] || outer ? "MatMul" : "Mul", x, w, &y);
}

/* What the Einsum computes, in the order of the output. */
static int rewrite(struct graph *g, struct job *j)
{
    static const enum kind kinds[] = {BATCH, ROWS, COLUMNS};
    int lie[EINSUM_LABELS] = {0}, wanted[EINSUM_LABELS], count = 0, value;
    for (int i = 0; i < j->s->kept; i++)
        if (j->kind[i] >= 0)
            wanted[count++] = i;
    if (j->s->operands == 1) {
        lying_order(j, 0, lie);
        value = g->nodes[j->node].inputs[0];
    } else {
        by_kind(j, kinds, 3, lie);
        value = multiply(g, j);
    }
    struct shape s = shape_of(j, lie, count);
    if (value < 0 || memcmp(lie, wanted, (size_t)count * sizeof *lie) == 0)
        return value;
    value = reshape(g, j, value, &s);
    return value < 0 ? -1 : order(g, j, value, lie, wanted, count);
}

/* An Einsum that cannot be rewritten stays as it is; nobody reads what was appended for it. */
static void take(struct graph *g, int node, struct insertion *in)
{
    const struct node *n = &g->nodes[node];
    struct job j = {.s = n->a.plan, .node = node, .in = in};
    const struct op *op = op_find("", "Reshape", 17, NULL);
    for (int i = 0; i < n->input_count; i++)
        if (j.s->operands > 2 || !match_is_f32(g, n->inputs[i]) || !is_whole(g, &j, i))
            return;
    if (!op || shape_elements(&g->values[n->outputs[0]].shape) == 0 || !sort_labels(&j) ||
        !is_worth_it(&j))
        return;
    int value = rewrite(g, &j);
    if (value < 0)
        return;
    graph_rewrite(g, node, op, "Einsum");
    graph_read(g, node, value);
}

int pass_einsum(struct graph *g, struct error *e)
{
    int first = g->node_count, einsums = 0;
    for (int i = 0; i < first; i++)
        einsums += match_is(g, i, "Einsum");
    struct insertion in = {0};
    in.before = arena_array(&g->arena, (size_t)einsums * NODES_EACH + 1, sizeof *in.before);
    if (!in.before)
        return error_memory(e);
    for (int i = 0; i < first && einsums; i++)
        if (match_is(g, i, "Einsum"))
            take(g, i, &in);
    return in.count && graph_place(g, first, in.before) ? error_memory(e) : 0;
}
