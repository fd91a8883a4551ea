/* x * 0.5 * (1 + erf(x / sqrt 2)), in the orders it is written, becomes Gelu. */
#include "engine/passes/passes.h"

/* The Erf's input is x / sqrt 2; x or -1. */
static int scaled_input(const struct graph *g, int erf)
{
    const double root = 1.41421356237309504880;
    int value = g->nodes[erf].inputs[0], x;
    double scalar;
    int div = match_inner(g, value, "Div"), mul = match_inner(g, value, "Mul");
    if (div >= 0 && !match_with_scalar(g, div, 0, &scalar, &x) && match_near(scalar, root))
        return x;
    if (mul >= 0 && !match_with_scalar(g, mul, 1, &scalar, &x) && match_near(scalar, 1 / root))
        return x;
    return -1;
}

static int is_half_of(const struct graph *g, int value, int x)
{
    int mul = match_inner(g, value, "Mul"), other;
    double scalar;
    return mul >= 0 && !match_with_scalar(g, mul, 1, &scalar, &other) && scalar == 0.5 &&
           other == x;
}

/* The node behind which 1 + erf(...), made by `add`, has been multiplied by x and 0.5; or -1. */
static int last_product(const struct graph *g, int add, int x)
{
    int sum = g->nodes[add].outputs[0], mul = match_user(g, add, "Mul"), other;
    double scalar;
    if (mul < 0)
        return -1;
    other = match_other(g, mul, sum);
    if (other != NO_VALUE && is_half_of(g, other, x))
        return mul;
    int next = match_user(g, mul, "Mul"), product = g->nodes[mul].outputs[0];
    if (next < 0)
        return -1;
    if (other == x)
        return !match_with_scalar(g, next, 1, &scalar, &other) && scalar == 0.5 ? next : -1;
    if (!match_with_scalar(g, mul, 1, &scalar, &other) && scalar == 0.5)
        return match_other(g, next, product) == x ? next : -1;
    return -1;
}

static void match(struct graph *g, int erf)
{
    int x = scaled_input(g, erf), add = match_user(g, erf, "Add"), other;
    double one;
    if (x < 0 || add < 0 || !match_is_f32(g, x) || match_with_scalar(g, add, 1, &one, &other) ||
        one != 1)
        return;
    int last = last_product(g, add, x);
    if (last >= 0)
        fuse_function(g, last, &op_gelu, "Gelu", x);
}

int pass_gelu(struct graph *g, struct error *e)
{
    (void)e;
    for (int i = 0; i < g->node_count; i++) {
        if (match_is(g, i, "Erf"))
            match(g, i);
        else if (match_is(g, i, "Gelu") && !g->nodes[i].a.mode &&
                 match_is_f32(g, g->nodes[i].inputs[0]))
            fuse_function(g, i, &op_gelu, "Gelu", g->nodes[i].inputs[0]);
    }
    return 0;
}
