/* A BatchNormalization that no Conv could take in takes in the activation behind it. */
#include "engine/passes/passes.h"

static int is_known(const struct graph *g, const struct node *n)
{
    for (int i = 1; i < 5; i++)
        if (!match_f32(g, n->inputs[i]))
            return 0;
    return match_is_f32(g, n->inputs[0]);
}

int pass_channels(struct graph *g, struct error *e)
{
    int code = 0;
    for (int i = 0; i < g->node_count && !code; i++) {
        int node = i;
        if (!match_is(g, i, "BatchNormalization") || !is_known(g, &g->nodes[i]))
            continue;
        fuse_internal(g, i, &op_batch_norm);
        code = fuse_activation(g, &node, e);
    }
    return code;
}
