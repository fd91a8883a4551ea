#include "engine/pass.h"
#include "engine/passes/passes.h"

/* What comes later builds on what comes earlier: an activation that was spelled out becomes part of
 * a Conv or Linear, weights that took in a BatchNormalization of a fused Conv, three Linears one of
 * an Attention. Activations come early: their constants must not be taken for a Conv's. What comes
 * as an Einsum may be any of these. */
static const struct pass passes[] = {
    {"einsum", pass_einsum},       {"activation", pass_activation}, {"gelu", pass_gelu},
    {"pad", pass_pad},             {"batchnorm", pass_batchnorm},   {"conv", pass_conv},
    {"channels", pass_channels},   {"layernorm", pass_layernorm},   {"rmsnorm", pass_rmsnorm},
    {"groupnorm", pass_groupnorm}, {"rotary", pass_rotary},         {"linear", pass_linear},
    {"masks", pass_masks},         {"attention", pass_attention},   {"heads", pass_heads},
};

const struct pass *pass_all(size_t *count)
{
    *count = sizeof passes / sizeof *passes;
    return passes;
}

int pass_run(struct graph *g, struct error *e)
{
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++) {
        int code = passes[i].run(g, e);
        if (code)
            return error_context(e, "pass '%s'", passes[i].name);
        graph_sweep(g);
    }
    return 0;
}
