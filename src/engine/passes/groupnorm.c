/* GroupNorm as exporters write it: groups of channels become the channels of an
 * InstanceNormalization, between two Reshapes; a Mul and an Add scale and shift each channel. */
#include "engine/passes/passes.h"

struct found {
    int x, last;
    int64_t groups;
    float *scale, *bias; /* of each channel */
    float epsilon;
};

static int is_reshape(const struct graph *g, int node)
{
    return node >= 0 && !g->nodes[node].dead && g->nodes[node].op->copy == OP_RESHAPES;
}

/* In front of the norm and behind it: x's channels as groups, and back. */
static int match_shapes(const struct graph *g, int norm, struct found *f)
{
    const struct node *n = &g->nodes[norm];
    int before = g->values[n->inputs[0]].producer;
    int after = graph_single_user(g, n->outputs[0]);
    if (!is_reshape(g, before) || !is_reshape(g, after))
        return 0;
    f->x = g->nodes[before].inputs[0];
    f->last = after;
    const struct shape *x = &g->values[f->x].shape, *s = &g->values[n->inputs[0]].shape;
    f->groups = s->dims[1];
    f->epsilon = n->a.epsilon;
    return x->rank >= 3 && x->dims[0] == s->dims[0] && f->groups > 0 &&
           x->dims[1] % f->groups == 0 &&
           shape_equal(x, &g->values[g->nodes[after].outputs[0]].shape);
}

/* Each channel's numbers from those of its group. */
static int spread(struct graph *g, int norm, struct found *f)
{
    const struct node *n = &g->nodes[norm];
    const float *scale = match_f32(g, n->inputs[1]), *bias = match_f32(g, n->inputs[2]);
    int64_t channels = g->values[f->x].shape.dims[1], each = channels / f->groups;
    if (!scale || !bias)
        return 0;
    f->scale = graph_memory(g, (size_t)channels * sizeof *f->scale);
    f->bias = graph_memory(g, (size_t)channels * sizeof *f->bias);
    for (int64_t c = 0; f->scale && f->bias && c < channels; c++) {
        f->scale[c] = scale[c / each];
        f->bias[c] = bias[c / each];
    }
    return f->scale && f->bias;
}

/* A Mul or Add of a constant for each channel behind what was found; 0 when there is none. */
static int take_affine(const struct graph *g, struct found *f)
{
    int value = g->nodes[f->last].outputs[0], step;
    int user = graph_single_user(g, value), is_add = user >= 0 && match_is(g, user, "Add");
    const struct shape *x = &g->values[f->x].shape;
    if (user < 0 || (!is_add && !match_is(g, user, "Mul")) ||
        !shape_equal(x, &g->values[g->nodes[user].outputs[0]].shape))
        return 0;
    const float *data = match_per_channel(g, match_other(g, user, value), x, &step);
    if (!data)
        return 0;
    for (int64_t c = 0; c < x->dims[1]; c++) {
        f->scale[c] *= is_add ? 1 : data[c * step];
        f->bias[c] = is_add ? f->bias[c] + data[c * step] : f->bias[c] * data[c * step];
    }
    f->last = user;
    return 1;
}

static void replace(struct graph *g, const struct found *f)
{
    const struct shape row = {1, {g->values[f->x].shape.dims[1]}};
    int scale = graph_add_constant(g, "scale", DTYPE_F32, &row, f->scale);
    int bias = graph_add_constant(g, "bias", DTYPE_F32, &row, f->bias);
    if (scale < 0 || bias < 0)
        return;
    int before[2] = {g->nodes[f->last].inputs[0], NO_VALUE};
    if (g->nodes[f->last].input_count > 1)
        before[1] = g->nodes[f->last].inputs[1];
    struct node *n = graph_rewrite(g, f->last, &op_group_norm, "GroupNorm");
    n->a.group = f->groups;
    n->a.epsilon = f->epsilon;
    graph_read(g, f->last, f->x);
    graph_read(g, f->last, scale);
    graph_read(g, f->last, bias);
    for (int i = 0; i < 2; i++)
        fuse_prune(g, before[i]);
}

int pass_groupnorm(struct graph *g, struct error *e)
{
    (void)e;
    for (int i = 0; i < g->node_count; i++) {
        struct found f = {0};
        if (!match_is(g, i, "InstanceNormalization") || !match_shapes(g, i, &f) ||
            !spread(g, i, &f))
            continue;
        for (int k = 0; k < 4 && take_affine(g, &f); k++)
            continue;
        replace(g, &f);
    }
    return 0;
}
