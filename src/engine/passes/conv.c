/* Conv with its bias, a residual Add and an activation becomes one node. */
#include "engine/passes/passes.h"

static int is_constant(const struct graph *g, const struct node *n, int input)
{
    return input >= n->input_count || n->inputs[input] == NO_VALUE ||
           match_f32(g, n->inputs[input]) != NULL;
}

int pass_conv(struct graph *g, struct error *e)
{
    int code = 0;
    for (int i = 0; i < g->node_count && !code; i++) {
        int node = i;
        if (!match_is(g, i, "Conv") || !is_constant(g, &g->nodes[i], 1) ||
            !is_constant(g, &g->nodes[i], 2))
            continue;
        fuse_internal(g, i, &op_fused_conv);
        code = fuse_epilogue(g, &node, e);
    }
    return code;
}
