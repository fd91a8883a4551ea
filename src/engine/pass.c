#include "engine/pass.h"
#include "engine/passes/passes.h"

/* What comes later builds on what comes earlier: weights that took in a BatchNormalization become
 * part of a fused Conv, a Gelu the activation of a Linear, three Linears one of an Attention. What
 * comes as an Einsum may be any of these. */
static const struct pass passes[] = {
    {"einsum", pass_einsum},       {"batchnorm", pass_batchnorm}, {"conv", pass_conv},
    {"layernorm", pass_layernorm}, {"rmsnorm", pass_rmsnorm},     {"groupnorm", pass_groupnorm},
    {"rotary", pass_rotary},       {"gelu", pass_gelu},           {"linear", pass_linear},
    {"masks", pass_masks},         {"attention", pass_attention}, {"heads", pass_heads},
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
