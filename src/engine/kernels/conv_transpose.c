/* ConvTranspose by oneDNN, which runs it as a convolution's backward pass. */
#include "engine/kernel.h"

/* What the last window reaches beyond the output is cut off; where output_padding makes the output
 * reach further, this is negative. */
static void set_ends(struct attributes *a, const struct shape *x, const struct shape *y)
{
    for (int i = 0; i < a->spatial; i++) {
        int64_t window = (a->kernel[i] - 1) * a->dilations[i] + 1;
        int64_t full = (x->dims[2 + i] - 1) * a->strides[i] + window;
        a->pads_end[i] = full - a->pads_begin[i] - y->dims[2 + i];
    }
}

static int make(struct builder *b, const struct node *n, struct primitive **out, struct error *e)
{
    const struct value *v = b->graph->values, *x = &v[n->inputs[0]], *w = &v[n->inputs[1]];
    const struct shape *y = &v[n->outputs[0]].shape;
    struct attributes a = n->a;
    if (!w->constant || x->type != DTYPE_F32 || !shape_elements(y) ||
        (a.has_bias && !v[n->inputs[2]].constant))
        return error_set(e, ERROR_UNSUPPORTED, "weights are not constant");
    set_ends(&a, &x->shape, y);
    return primitive_conv_transpose(b->onednn, &a, layout_any(b->onednn, &x->shape), &w->shape,
                                    a.has_bias, layout_any(b->onednn, y), out, e);
}

static int connect(struct builder *b, const struct node *n, const struct primitive *p, int *slots,
                   struct error *e)
{
    const struct value *w = &b->graph->values[n->inputs[1]];
    int code = builder_read(b, n->inputs[0], primitive_layout(p, OPERAND_SRC), &slots[OPERAND_SRC],
                            e);
    if (!code)
        code = builder_pack(b, w->constant,
                            layout_weights_transposed(b->onednn, &w->shape, n->a.group),
                            primitive_layout(p, OPERAND_WEIGHTS), &slots[OPERAND_WEIGHTS], e);
    if (!code && n->a.has_bias)
        code = builder_read_plain(b, n->inputs[2], &slots[OPERAND_BIAS], e);
    if (!code)
        code = builder_write(b, n->outputs[0], primitive_layout(p, OPERAND_DST),
                             &slots[OPERAND_DST], e);
    return code;
}

int kernel_conv_transpose(struct builder *b, const struct node *n, struct error *e)
{
    struct primitive *p;
    int slots[OPERAND_SCRATCH] = {NO_SLOT, NO_SLOT, NO_SLOT, NO_SLOT};
    int code = make(b, n, &p, e);
    if (code)
        return code;
    code = connect(b, n, p, slots, e);
    if (code) {
        primitive_free(p);
        return code;
    }
    return builder_primitive(b, p, slots, e);
}
