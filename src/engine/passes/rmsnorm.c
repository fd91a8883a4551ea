/* x / sqrt(mean(x * x) + epsilon), times a scale for each place on the last axis, spelled out. */
#include "engine/passes/passes.h"

#include <string.h>

struct found {
    int x, scale;
    double epsilon;
};

static int ones(struct graph *g, int x)
{
    const struct shape *s = &g->values[x].shape;
    int64_t n = s->dims[s->rank - 1];
    float *data = graph_memory(g, (size_t)n * sizeof *data);
    for (int64_t i = 0; data && i < n; i++)
        data[i] = 1;
    return data ? graph_add_constant(g, "ones", DTYPE_F32, &(struct shape){1, {n}}, data) : -1;
}

/* The value is mean(x * x) + epsilon, and is x's inverse scale before the root. */
static int match_mean_square(const struct graph *g, int add, struct found *f)
{
    int mean_of;
    if (!match_is(g, add, "Add") || match_with_scalar(g, add, 1, &f->epsilon, &mean_of))
        return 0;
    int mean = match_inner(g, mean_of, "ReduceMean");
    if (!match_last_mean(g, mean))
        return 0;
    f->x = match_square(g, g->nodes[mean].inputs[0]);
    return f->x >= 0 && match_is_f32(g, f->x);
}

/* The product of x and the node's output, or -1. */
static int times_x(const struct graph *g, int node, const struct found *f)
{
    int mul = node < 0 ? -1 : match_user(g, node, "Mul");
    return mul >= 0 && match_other(g, mul, g->nodes[node].outputs[0]) == f->x ? mul : -1;
}

/* The node behind which x is divided by the root of what `add` makes, in one of the ways to write
 * that; or -1. */
static int match_division(const struct graph *g, int add, const struct found *f)
{
    double one;
    int root = match_user(g, add, "Sqrt"), power = match_user(g, add, "Pow");
    if (power >= 0)
        return match_power(g, g->nodes[power].outputs[0], -0.5) < 0 ? -1 : times_x(g, power, f);
    int div = root < 0 ? -1 : match_user(g, root, "Div");
    if (root < 0 || div < 0)
        return root < 0 ? -1 : times_x(g, match_user(g, root, "Reciprocal"), f);
    if (g->nodes[div].inputs[1] != g->nodes[root].outputs[0])
        return -1;
    if (g->nodes[div].inputs[0] == f->x)
        return div;
    return !match_scalar(g, g->nodes[div].inputs[0], &one) && one == 1 ? times_x(g, div, f) : -1;
}

/* A Mul by a constant row behind the node, if there is one: the node moves on to it. */
static void take_scale(struct graph *g, int *node, struct found *f)
{
    int value = g->nodes[*node].outputs[0], mul = match_user(g, *node, "Mul");
    int row = mul < 0 ? -1 : match_row(g, match_other(g, mul, value), f->x);
    if (row < 0)
        return;
    f->scale = row;
    *node = mul;
}

static void replace(struct graph *g, int node, const struct found *f)
{
    int before[NODE_INPUT_MAX], count = g->nodes[node].input_count;
    memcpy(before, g->nodes[node].inputs, sizeof before);
    struct node *n = graph_rewrite(g, node, &op_rms_norm, "RmsNorm");
    n->a.epsilon = (float)f->epsilon;
    graph_read(g, node, f->x);
    graph_read(g, node, f->scale);
    for (int i = 0; i < count; i++)
        fuse_prune(g, before[i]);
}

static void match(struct graph *g, int add)
{
    struct found f = {.scale = -1};
    if (!match_mean_square(g, add, &f))
        return;
    int last = match_division(g, add, &f);
    if (last < 0 || !shape_equal(&g->values[g->nodes[last].outputs[0]].shape,
                                 &g->values[f.x].shape))
        return;
    take_scale(g, &last, &f);
    if (f.scale < 0 && (f.scale = ones(g, f.x)) < 0)
        return;
    replace(g, last, &f);
}

int pass_rmsnorm(struct graph *g, struct error *e)
{
    (void)e;
    for (int i = 0; i < g->node_count; i++)
        if (match_is(g, i, "Add"))
            match(g, i);
    return 0;
}
