#include "engine/kernel.h"

#include "engine/op.h"

#include <string.h>

static const struct kernel kernels[] = {
    {"wattle", "Conv", kernel_conv},
    {"", "Conv", kernel_conv},
    {"", "ConvTranspose", kernel_conv_transpose},
    {"wattle", "Linear", kernel_linear},
    {"", "Gemm", kernel_linear},
    {"", "MatMul", kernel_linear},
    {"", "MatMul", kernel_matmul},
    {"wattle", "Attention", kernel_attention},
    {"", "MaxPool", kernel_max_pool},
    {"", "AveragePool", kernel_average_pool},
    {"", "GlobalAveragePool", kernel_mean},
    {"", "GlobalAveragePool", kernel_global_average_pool},
    {"", "ReduceMean", kernel_mean},
    {"", "ReduceMean", kernel_reduce_mean},
    {"", "Attention", kernel_heads},
    {"", "Transpose", kernel_transpose},
    {"wattle", "LayerNorm", kernel_layer_norm},
    {"", "LayerNormalization", kernel_layer_norm},
    {"wattle", "RmsNorm", kernel_rms_norm},
    {"", "RMSNormalization", kernel_rms_norm},
    {"wattle", "GroupNorm", kernel_group_norm},
    {"", "GroupNormalization", kernel_group_norm},
    {"", "InstanceNormalization", kernel_group_norm},
    {"wattle", "Rotary", kernel_rotary},
    {"", "RotaryEmbedding", kernel_rotary_embedding},
    {"", "GridSample", kernel_grid},
    {"", "Softmax", kernel_softmax},
    {"", "Softmax", kernel_softmax_columns},
    {"", "Add", kernel_channels},
    {"", "Add", kernel_binary},
    {"", "Sub", kernel_binary},
    {"", "Mul", kernel_channels},
    {"", "Mul", kernel_binary},
    {"", "Div", kernel_binary},
    {"wattle", "Gelu", kernel_activation},
    {"wattle", "Swish", kernel_activation},
    {"", "Gelu", kernel_activation},
    {"", "Relu", kernel_activation},
    {"", "Clip", kernel_activation},
    {"", "Tanh", kernel_activation},
    {"", "Sigmoid", kernel_activation},
    {"", "Concat", kernel_join},
    {"", "LeakyRelu", kernel_activation},
    {"", "PRelu", kernel_activation},
    {"", "PRelu", kernel_channels},
    {"", "Elu", kernel_activation},
    {"", "HardSwish", kernel_activation},
    {"", "HardSigmoid", kernel_activation},
    {"", "Mish", kernel_activation},
    {"", "Swish", kernel_activation},
    {"", "Selu", kernel_activation},
    {"", "Celu", kernel_activation},
    {"", "Softplus", kernel_activation},
    {"", "Softsign", kernel_activation},
    {"", "ThresholdedRelu", kernel_activation},
    {"wattle", "BatchNorm", kernel_batch_norm},
    {"", "BatchNormalization", kernel_batch_norm},
    {"", "Resize", kernel_resize},
    {"", "Upsample", kernel_resize},
    {"", "Split", kernel_split},
    {"", "Concat", kernel_concat},
    {"", "RNN", kernel_recurrent},
    {"", "GRU", kernel_recurrent},
    {"", "LSTM", kernel_recurrent},
};

/* oneDNN does nothing at all for these, even where a bias or a zero should be written. */
static int is_empty(const struct builder *b, const struct node *n)
{
    const struct value *v = b->graph->values;
    for (int i = 0; i < n->input_count; i++)
        if (n->inputs[i] != NO_VALUE && shape_elements(&v[n->inputs[i]].shape) == 0)
            return 1;
    return 0;
}

int kernel_prepare(struct builder *b, const struct node *n, struct error *e)
{
    if (n->op->copy == OP_RESHAPES)
        return builder_alias(b, n->outputs[0], n->inputs[0], e);
    for (size_t i = 0; !is_empty(b, n) && i < sizeof kernels / sizeof *kernels; i++) {
        if (strcmp(kernels[i].op, n->op->name) != 0 ||
            strcmp(kernels[i].domain, n->op->domain) != 0)
            continue;
        int code = kernels[i].prepare(b, n, e);
        if (code != ERROR_UNSUPPORTED)
            return code;
    }
    return kernel_reference(b, n, e);
}

/* ---- any node by its plain-C reference ---- */

struct reference_state {
    struct tensor inputs[NODE_INPUT_MAX];
    struct tensor outputs[NODE_OUTPUT_MAX];
};

/* Slot i is input i, slot NODE_INPUT_MAX + i is output i. */
static int run_reference(struct step *s, struct error *e)
{
    struct reference_state *state = s->state;
    for (int i = 0; i < s->node->input_count; i++)
        state->inputs[i].data = s->data[i];
    for (int i = 0; i < s->node->output_count; i++)
        state->outputs[i].data = s->data[NODE_INPUT_MAX + i];
    int code = s->node->op->reference(s->node, state->inputs, state->outputs, e);
    return code ? error_context(e, "node '%s' (%s)", s->node->name, s->node->op->name) : 0;
}

static struct tensor tensor_of(const struct builder *b, int value)
{
    const struct value *v = &b->graph->values[value];
    return (struct tensor){.type = v->type, .shape = v->shape};
}

static int bind_reference(struct builder *b, const struct node *n, int *slots,
                          struct reference_state *state, struct error *e)
{
    int code = 0;
    for (int i = 0; !code && i < n->input_count; i++) {
        if (n->inputs[i] == NO_VALUE)
            continue;
        state->inputs[i] = tensor_of(b, n->inputs[i]);
        code = builder_read_plain(b, n->inputs[i], &slots[i], e);
    }
    for (int i = 0; !code && i < n->output_count; i++) {
        if (n->outputs[i] == NO_VALUE)
            continue;
        state->outputs[i] = tensor_of(b, n->outputs[i]);
        code = builder_write(b, n->outputs[i], NULL, &slots[NODE_INPUT_MAX + i], e);
    }
    return code;
}

int kernel_reference(struct builder *b, const struct node *n, struct error *e)
{
    struct reference_state *state = arena_alloc(&b->program->arena, sizeof *state);
    if (!state)
        return error_memory(e);
    int slots[STEP_SLOTS];
    for (int i = 0; i < STEP_SLOTS; i++)
        slots[i] = NO_SLOT;
    int code = bind_reference(b, n, slots, state, e);
    if (code)
        return code;
    struct step *s;
    code = builder_step(b, run_reference, "reference", &s, e);
    if (code)
        return code;
    memcpy(s->slots, slots, sizeof slots);
    s->state = state;
    s->is_reference = s->computes = 1;
    return 0;
}
