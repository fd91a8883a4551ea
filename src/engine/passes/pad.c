/* Zeros that a Pad puts around a Conv's input become the Conv's own. */
#include "engine/passes/passes.h"

static int pads_with_zeros(const struct graph *g, const struct node *pad)
{
    double fill = (double)pad->a.alpha;
    int given = pad->input_count > 2 ? pad->inputs[2] : NO_VALUE;
    return pad->a.mode == PAD_CONSTANT && (given == NO_VALUE || !match_scalar(g, given, &fill)) &&
           fill == 0 && match_is_f32(g, pad->inputs[0]);
}

/* What the Pad adds in front of and behind each spatial dimension; -1 when it cuts, or changes
 * batch or channels. */
static int spatial_pads(const struct graph *g, const struct node *pad, int64_t *begin, int64_t *end)
{
    const struct shape *x = &g->values[pad->inputs[0]].shape;
    const struct shape *y = &g->values[pad->outputs[0]].shape;
    for (int i = 0; i < x->rank; i++) {
        int64_t front = pad->a.starts[i], behind = y->dims[i] - x->dims[i] - front;
        if (front < 0 || behind < 0 || (i < 2 && front + behind > 0))
            return -1;
        if (i >= 2) {
            begin[i - 2] = front;
            end[i - 2] = behind;
        }
    }
    return 0;
}

static void take_pad(struct graph *g, int conv)
{
    int64_t begin[RANK_MAX] = {0}, end[RANK_MAX] = {0};
    struct node *n = &g->nodes[conv];
    int padded = n->inputs[0], pad = match_inner(g, padded, "Pad");
    if (pad < 0 || !pads_with_zeros(g, &g->nodes[pad]) ||
        spatial_pads(g, &g->nodes[pad], begin, end))
        return;
    for (int i = 0; i < n->a.spatial; i++) {
        n->a.pads_begin[i] += begin[i];
        n->a.pads_end[i] += end[i];
    }
    graph_set_input(g, conv, 0, g->nodes[pad].inputs[0]);
    fuse_prune(g, padded);
}

int pass_pad(struct graph *g, struct error *e)
{
    (void)e;
    for (int i = 0; i < g->node_count; i++)
        if (match_is(g, i, "Conv"))
            take_pad(g, i);
    return 0;
}
