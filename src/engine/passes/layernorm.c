/* LayerNormalization over the last axis, as one operator or spelled out. */
#include "engine/passes/passes.h"

#include <math.h>
#include <string.h>

struct found {
    int x, scale, bias;
    double epsilon;
};

static int zeros(struct graph *g, int x)
{
    const struct shape *s = &g->values[x].shape;
    int64_t n = s->dims[s->rank - 1];
    const void *data = graph_memory(g, (size_t)n * sizeof(float));
    return data ? graph_add_constant(g, "zeros", DTYPE_F32, &(struct shape){1, {n}}, data) : -1;
}

static void replace(struct graph *g, int node, const struct found *f)
{
    int before[NODE_INPUT_MAX], count = g->nodes[node].input_count;
    memcpy(before, g->nodes[node].inputs, sizeof before);
    struct node *n = graph_rewrite(g, node, &op_layer_norm, "LayerNorm");
    n->a.epsilon = (float)f->epsilon;
    n->output_count = 1;
    graph_read(g, node, f->x);
    graph_read(g, node, f->scale);
    graph_read(g, node, f->bias);
    for (int i = 0; i < count; i++)
        fuse_prune(g, before[i]);
}

/* The operator; its second and third output are for training. */
static int match_operator(struct graph *g, int node, struct found *f)
{
    const struct node *n = &g->nodes[node];
    if (!match_is(g, node, "LayerNormalization"))
        return 0;
    for (int i = 1; i < n->output_count; i++)
        if (n->outputs[i] != NO_VALUE && g->values[n->outputs[i]].uses)
            return 0;
    if (n->a.axis != g->values[n->inputs[0]].shape.rank - 1)
        return 0;
    int bias = n->input_count > 2 ? n->inputs[2] : NO_VALUE;
    *f = (struct found){.x = n->inputs[0], .epsilon = (double)n->a.epsilon};
    f->scale = match_row(g, n->inputs[1], f->x);
    f->bias = bias == NO_VALUE ? zeros(g, f->x) : match_row(g, bias, f->x);
    return f->scale >= 0 && f->bias >= 0;
}

/* value = x - mean(x); x goes to *x. Exporters write it once or once for each use. */
static int is_centred(const struct graph *g, int value, int *x)
{
    int sub = match_producer(g, value, "Sub");
    if (sub < 0 || g->values[value].is_output)
        return 0;
    int mean = match_producer(g, g->nodes[sub].inputs[1], "ReduceMean");
    *x = g->nodes[sub].inputs[0];
    return match_last_mean(g, mean) && g->nodes[mean].inputs[0] == *x &&
           !g->values[g->nodes[sub].inputs[1]].is_output;
}

/* value = sqrt(mean(square of x - mean(x)) + epsilon) */
static int is_deviation(const struct graph *g, int value, int *x, double *epsilon)
{
    int root = match_inner(g, value, "Sqrt"), sum_of;
    int add = root < 0 ? -1 : match_inner(g, g->nodes[root].inputs[0], "Add");
    if (add < 0 || match_with_scalar(g, add, 1, epsilon, &sum_of))
        return 0;
    int mean = match_inner(g, sum_of, "ReduceMean");
    int centred = match_last_mean(g, mean) ? match_square(g, g->nodes[mean].inputs[0]) : -1;
    return centred >= 0 && is_centred(g, centred, x);
}

/* How often the pattern itself reads a value: others must not, or the work is done twice. */
static int readers_fit(const struct graph *g, int div)
{
    int centred = g->nodes[div].inputs[0];
    const struct node *sub = &g->nodes[g->values[centred].producer];
    int mean = sub->inputs[1];
    /* Read by Pow (or twice by Mul) and Div, or by Div alone where the other has its own Sub. */
    return g->values[centred].uses <= 3 && g->values[mean].uses <= 2;
}

/* Starts at the Div; the Mul and Add behind it end the pattern. */
static int match_chain(struct graph *g, int div, struct found *f, int *last)
{
    int x, y;
    if (!match_is(g, div, "Div") || !is_centred(g, g->nodes[div].inputs[0], &x) ||
        !is_deviation(g, g->nodes[div].inputs[1], &y, &f->epsilon) || x != y ||
        !match_is_f32(g, x) || !readers_fit(g, div))
        return 0;
    int mul = match_user(g, div, "Mul");
    int add = mul < 0 ? -1 : match_user(g, mul, "Add");
    if (add < 0)
        return 0;
    int scale = match_other(g, mul, g->nodes[div].outputs[0]);
    int bias = match_other(g, add, g->nodes[mul].outputs[0]);
    f->x = x;
    f->scale = match_row(g, scale, x);
    f->bias = match_row(g, bias, x);
    *last = add;
    return f->scale >= 0 && f->bias >= 0;
}

int pass_layernorm(struct graph *g, struct error *e)
{
    (void)e;
    for (int i = 0; i < g->node_count; i++) {
        struct found f = {0};
        int last = i;
        if (match_operator(g, i, &f) || match_chain(g, i, &f, &last))
            replace(g, last, &f);
    }
    return 0;
}
