/* A Conv followed by something that scales and shifts each channel by constants (a
 * BatchNormalization, or a Mul or Add) becomes a Conv with other weights. */
#include "engine/passes/passes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* y = x * scale[c] + shift[c] */
struct affine {
    double *scale, *shift;
    int64_t channels;
};

static int affine_init(struct affine *a, int64_t channels, struct error *e)
{
    a->channels = channels;
    a->scale = calloc((size_t)channels + 1, sizeof *a->scale);
    a->shift = calloc((size_t)channels + 1, sizeof *a->shift);
    for (int64_t c = 0; a->scale && c < channels; c++)
        a->scale[c] = 1;
    return a->scale && a->shift ? 0 : error_memory(e);
}

static void affine_release(struct affine *a)
{
    free(a->scale);
    free(a->shift);
}

/* 1 when the node is a BatchNormalization over constants. */
static int read_batch_norm(const struct graph *g, int node, struct affine *a)
{
    const struct node *n = &g->nodes[node];
    const float *p[4];
    if (!match_is(g, node, "BatchNormalization"))
        return 0;
    for (int i = 0; i < 4; i++)
        if (!(p[i] = match_f32(g, n->inputs[1 + i])))
            return 0;
    for (int64_t c = 0; c < a->channels; c++) {
        a->scale[c] = p[0][c] / sqrt((double)p[3][c] + (double)n->a.epsilon);
        a->shift[c] = p[1][c] - p[2][c] * a->scale[c];
    }
    return 1;
}

/* 1 when the node adds to or multiplies `value` by a constant. */
static int read_binary(const struct graph *g, int node, int value, struct affine *a)
{
    int is_add = match_is(g, node, "Add"), step;
    if (!is_add && !match_is(g, node, "Mul"))
        return 0;
    const struct shape *y = &g->values[value].shape;
    const float *data = match_per_channel(g, match_other(g, node, value), y, &step);
    if (!data)
        return 0;
    for (int64_t c = 0; c < a->channels; c++)
        *(is_add ? &a->shift[c] : &a->scale[c]) = (double)data[c * step];
    return 1;
}

/* New weights and biases; 0 when the memory limit does not allow them. */
static int scaled_weights(struct graph *g, int conv, const struct affine *a, int *w, int *bias)
{
    const struct node *n = &g->nodes[conv];
    struct value old = g->values[n->inputs[1]];
    int64_t total = shape_elements(&old.shape), each = a->channels ? total / a->channels : 0;
    const float *from = old.constant, *old_bias = n->a.has_bias ? match_f32(g, n->inputs[2]) : NULL;
    float *to = graph_memory(g, (size_t)total * sizeof *to);
    float *to_bias = graph_memory(g, (size_t)a->channels * sizeof *to_bias);
    if (!to || !to_bias)
        return 0;
    for (int64_t c = 0; c < a->channels; c++) {
        for (int64_t i = 0; i < each; i++)
            to[c * each + i] = (float)(from[c * each + i] * a->scale[c]);
        to_bias[c] = (float)((old_bias ? (double)old_bias[c] : 0) * a->scale[c] + a->shift[c]);
    }
    *w = graph_add_constant(g, old.name, DTYPE_F32, &old.shape, to);
    *bias = graph_add_constant(g, "bias", DTYPE_F32, &(struct shape){1, {a->channels}}, to_bias);
    return *w >= 0 && *bias >= 0;
}

static int has_constant_weights(const struct graph *g, int conv)
{
    const struct node *n = &g->nodes[conv];
    return match_f32(g, n->inputs[1]) && (!n->a.has_bias || match_f32(g, n->inputs[2]));
}

/* Folds the Conv's reader into it; *conv moves to the reader's slot. 1 when it did. */
static int fold_reader(struct graph *g, int *conv, struct affine *a, struct error *e, int *code)
{
    int value = g->nodes[*conv].outputs[0], user = graph_single_user(g, value), w, bias;
    int old = g->nodes[*conv].inputs[1];
    if (user < 0)
        return 0;
    if (!read_batch_norm(g, user, a) && !read_binary(g, user, value, a))
        return 0;
    if (!scaled_weights(g, *conv, a, &w, &bias))
        return 0;
    *code = fuse_into(g, *conv, user, g->nodes[user].op->name, e);
    if (*code)
        return 0;
    fuse_input(g, user, 1, w);
    fuse_input(g, user, 2, bias);
    graph_forget(g, old);
    g->nodes[user].a.has_bias = 1;
    *conv = user;
    return 1;
}

int pass_batchnorm(struct graph *g, struct error *e)
{
    int code = 0;
    for (int i = 0; i < g->node_count && !code; i++) {
        int conv = i, folded = 1;
        if (!match_is(g, i, "Conv") || !has_constant_weights(g, i))
            continue;
        while (folded && !code) {
            struct affine a = {0};
            code = affine_init(&a, g->values[g->nodes[conv].inputs[1]].shape.dims[0], e);
            folded = !code && fold_reader(g, &conv, &a, e, &code);
            affine_release(&a);
        }
    }
    return code;
}
