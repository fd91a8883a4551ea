/* Activations that are spelled out become one node, which a Conv or Linear before it can take in:
 *     x * Sigmoid(x), x * Sigmoid(a x)                        Swish
 *     Clip(x + 3, 0, 6) / 6                                   HardSigmoid
 *     x * HardSigmoid(x), x * Clip(x + 3, 0, 6) / 6           HardSwish
 *     x * Tanh(Softplus(x))                                   Mish */
#include "engine/passes/passes.h"

/* The node's input, when nothing but `user` reads what an operator of that name makes of it. */
static int inner_of(const struct graph *g, int value, const char *name, int *node)
{
    *node = match_inner(g, value, name);
    return *node < 0 ? NO_VALUE : g->nodes[*node].inputs[0];
}

/* value is x times a scalar, or x itself. */
static int is_scaled(const struct graph *g, int value, int x, double *scalar)
{
    int mul = match_inner(g, value, "Mul"), other;
    *scalar = 1;
    if (value == x)
        return 1;
    return mul >= 0 && !match_with_scalar(g, mul, 1, scalar, &other) && other == x;
}

/* value is Clip(x + 3, 0, 6); x or NO_VALUE. */
static int clipped(const struct graph *g, int value)
{
    int clip, add, x;
    double three;
    int sum = inner_of(g, value, "Clip", &clip);
    if (sum == NO_VALUE || g->nodes[clip].a.low != 0 || g->nodes[clip].a.high != 6)
        return NO_VALUE;
    for (int i = 1; i < g->nodes[clip].input_count; i++)
        if (!match_f32(g, g->nodes[clip].inputs[i]))
            return NO_VALUE;
    add = match_inner(g, sum, "Add");
    return add >= 0 && !match_with_scalar(g, add, 1, &three, &x) && three == 3 ? x : NO_VALUE;
}

static void become(struct graph *g, int node, const char *name, int x)
{
    const struct op *op = op_find("", name, 99, NULL);
    if (op)
        fuse_function(g, node, op, name, x);
}

static void become_swish(struct graph *g, int node, int x, double factor)
{
    fuse_function(g, node, &op_swish, "Swish", x);
    g->nodes[node].a.alpha = (float)factor;
}

/* x * f, where f may be something of x. 1 when it was. */
static int match_gate(struct graph *g, int mul, int x, int f)
{
    int node;
    double factor;
    int inner = inner_of(g, f, "Sigmoid", &node);
    if (inner != NO_VALUE && is_scaled(g, inner, x, &factor)) {
        become_swish(g, mul, x, factor);
        return 1;
    }
    inner = inner_of(g, f, "HardSigmoid", &node);
    if (inner == x && match_near((double)g->nodes[node].a.alpha, 1.0 / 6) &&
        match_near((double)g->nodes[node].a.beta, 0.5)) {
        become(g, mul, "HardSwish", x);
        return 1;
    }
    inner = inner_of(g, f, "Tanh", &node);
    if (inner != NO_VALUE && inner_of(g, inner, "Softplus", &node) == x) {
        become(g, mul, "Mish", x);
        return 1;
    }
    return 0;
}

/* What is divided by six may be a Clip, or that times x. */
static void match_sixth(struct graph *g, int node, int value)
{
    int x = clipped(g, value), mul = match_inner(g, value, "Mul");
    if (x != NO_VALUE && match_is_f32(g, x)) {
        become(g, node, "HardSigmoid", x);
        g->nodes[node].a.alpha = 1.0f / 6;
        g->nodes[node].a.beta = 0.5f;
        return;
    }
    for (int i = 0; i < 2 && mul >= 0; i++) {
        x = g->nodes[mul].inputs[i];
        if (match_is_f32(g, x) && clipped(g, g->nodes[mul].inputs[!i]) == x) {
            become(g, node, "HardSwish", x);
            return;
        }
    }
}

static void match_mul(struct graph *g, int mul)
{
    const struct node *n = &g->nodes[mul];
    double scalar;
    int value;
    for (int i = 0; i < 2; i++)
        if (match_is_f32(g, n->inputs[i]) && match_gate(g, mul, n->inputs[i], n->inputs[!i]))
            return;
    if (!match_with_scalar(g, mul, 1, &scalar, &value) && match_near(scalar, 1.0 / 6))
        match_sixth(g, mul, value);
}

int pass_activation(struct graph *g, struct error *e)
{
    double scalar;
    int value;
    (void)e;
    for (int i = 0; i < g->node_count; i++) {
        if (match_is(g, i, "Mul"))
            match_mul(g, i);
        else if (match_is(g, i, "Div") && !match_with_scalar(g, i, 0, &scalar, &value) &&
                 scalar == 6)
            match_sixth(g, i, value);
    }
    return 0;
}
