/* A product with a constant matrix, its bias, a residual Add and an activation become one node. */
#include "engine/passes/passes.h"

/* A constant that is the same for each row of `width`: as a vector of `width`, scaled. -1 when it
 * is not, or when there is no memory. */
static int as_bias(struct graph *g, int value, int64_t width, double factor)
{
    const float *from = match_f32(g, value);
    if (!from)
        return -1;
    const struct value v = g->values[value];
    int64_t n = shape_elements(&v.shape);
    if (n != 1 && (n != width || v.shape.dims[v.shape.rank - 1] != width))
        return -1;
    const struct shape row = {1, {width}};
    if (n == width && factor == 1)
        return v.shape.rank == 1 ? value : graph_add_constant(g, v.name, DTYPE_F32, &row, from);
    float *to = graph_memory(g, (size_t)width * sizeof *to);
    for (int64_t i = 0; to && i < width; i++)
        to[i] = (float)(factor * from[n == 1 ? 0 : i]);
    return to ? graph_add_constant(g, v.name, DTYPE_F32, &row, to) : -1;
}

static int scaled(struct graph *g, int value, double factor)
{
    const struct value v = g->values[value];
    const float *from = v.constant;
    int64_t n = shape_elements(&v.shape);
    if (factor == 1)
        return value;
    float *to = graph_memory(g, (size_t)n * sizeof *to);
    for (int64_t i = 0; to && i < n; i++)
        to[i] = (float)(factor * from[i]);
    return to ? graph_add_constant(g, v.name, DTYPE_F32, &v.shape, to) : -1;
}

static void convert(struct graph *g, int index, int w, int bias, int trans_b, const char *fused)
{
    int x = g->nodes[index].inputs[0];
    struct node *n = graph_rewrite(g, index, &op_linear, fused);
    n->a.trans_b = trans_b;
    n->a.has_bias = bias >= 0;
    graph_read(g, index, x);
    graph_read(g, index, w);
    if (bias >= 0)
        graph_read(g, index, bias);
}

/* 1 when the MatMul is a Linear now. */
static int take_matmul(struct graph *g, int index)
{
    const struct node *n = &g->nodes[index];
    if (!match_is_f32(g, n->inputs[0]) || !match_f32(g, n->inputs[1]) ||
        g->values[n->inputs[1]].shape.rank != 2 || g->values[n->inputs[0]].constant)
        return 0;
    convert(g, index, n->inputs[1], -1, 0, "MatMul");
    return 1;
}

static int take_gemm(struct graph *g, int index)
{
    const struct node *n = &g->nodes[index];
    const struct attributes a = n->a;
    if (a.trans_a || !match_f32(g, n->inputs[1]))
        return 0;
    int64_t width = g->values[n->outputs[0]].shape.dims[1];
    int w = n->inputs[1], has_bias = a.has_bias && a.beta != 0, bias = -1;
    if (has_bias && (bias = as_bias(g, n->inputs[2], width, (double)a.beta)) < 0)
        return 0;
    if ((w = scaled(g, w, (double)a.alpha)) < 0)
        return 0;
    convert(g, index, w, bias, a.trans_b, "Gemm");
    return 1;
}

/* An Add of a constant row behind a Linear that has no bias yet. */
static int take_bias(struct graph *g, int *node, struct error *e)
{
    int value = g->nodes[*node].outputs[0], add = match_user(g, *node, "Add");
    int other = add < 0 ? NO_VALUE : match_other(g, add, value);
    if (g->nodes[*node].a.has_bias || other == NO_VALUE)
        return 0;
    const struct shape s = g->values[value].shape;
    if (!shape_equal(&s, &g->values[g->nodes[add].outputs[0]].shape))
        return 0;
    int bias = as_bias(g, other, s.dims[s.rank - 1], 1);
    if (bias < 0)
        return 0;
    int code = fuse_into(g, *node, add, "Add", e);
    if (code)
        return code;
    fuse_input(g, add, 2, bias);
    g->nodes[add].a.has_bias = 1;
    *node = add;
    return 0;
}

/* The product's weights or bias with each of the outputs scaled. -1 without memory. */
static int scaled_outputs(struct graph *g, int value, const float *factors, int64_t width,
                          int trans)
{
    const struct value v = g->values[value];
    const float *from = v.constant;
    int64_t n = shape_elements(&v.shape), each = trans ? n / width : 1;
    float *to = graph_memory(g, (size_t)n * sizeof *to);
    for (int64_t i = 0; to && i < n; i++)
        to[i] = from[i] * factors[i / each % width];
    return to ? graph_add_constant(g, v.name, DTYPE_F32, &v.shape, to) : -1;
}

/* A Mul by a constant row behind a Linear (what is called a layer scale) goes into its weights. */
static int take_scale(struct graph *g, int *node, struct error *e)
{
    const struct node n = g->nodes[*node];
    int value = n.outputs[0], mul = match_user(g, *node, "Mul");
    int other = mul < 0 ? NO_VALUE : match_other(g, mul, value);
    const struct shape s = g->values[value].shape;
    int64_t width = s.dims[s.rank - 1];
    if (other == NO_VALUE || width < 2 || as_bias(g, other, width, 1) < 0 ||
        shape_elements(&g->values[other].shape) != width ||
        !shape_equal(&s, &g->values[g->nodes[mul].outputs[0]].shape))
        return 0;
    const float *factors = match_f32(g, other);
    int w = scaled_outputs(g, n.inputs[1], factors, width, n.a.trans_b), bias = NO_VALUE;
    if (w >= 0 && n.a.has_bias)
        bias = scaled_outputs(g, n.inputs[2], factors, width, 0);
    if (w < 0 || (n.a.has_bias && bias < 0))
        return 0;
    int code = fuse_into(g, *node, mul, "Mul", e);
    if (code)
        return code;
    fuse_input(g, mul, 1, w);
    if (n.a.has_bias)
        fuse_input(g, mul, 2, bias);
    graph_forget(g, n.inputs[1]);
    *node = mul;
    return 0;
}

int pass_linear(struct graph *g, struct error *e)
{
    int code = 0;
    for (int i = 0; i < g->node_count && !code; i++) {
        int node = i;
        if (!(match_is(g, i, "MatMul") && take_matmul(g, i)) &&
            !(match_is(g, i, "Gemm") && take_gemm(g, i)))
            continue;
        code = take_bias(g, &node, e);
        if (!code)
            code = take_scale(g, &node, e);
        if (!code)
            code = fuse_epilogue(g, &node, e);
    }
    return code;
}
