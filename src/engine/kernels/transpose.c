/* Transpose: no step at all. What lies with strides is the output already, with the strides in
 * another order; who cannot step through memory that way has a copy made, once. */
#include "engine/kernel.h"
#include "engine/op.h"

/* How the output lies when the input has these strides. Row-major is told as such, whatever the
 * strides of dimensions of 1. */
static const struct layout *turned(struct builder *b, const struct node *n,
                                   const int64_t strides[RANK_MAX])
{
    const struct shape *y = &b->graph->values[n->outputs[0]].shape;
    int64_t steps[RANK_MAX], row_major = 1;
    int plain = 1;
    for (int i = y->rank - 1; i >= 0; i--) {
        steps[i] = y->dims[i] > 1 ? strides[n->a.axes[i]] : row_major;
        plain &= steps[i] == row_major;
        row_major *= y->dims[i];
    }
    return plain ? builder_plain(b, n->outputs[0]) : layout_strided(b->onednn, y, steps);
}

/* How the input must lie for the output to be row-major. */
static const struct layout *to_be_turned(struct builder *b, const struct node *n)
{
    const struct value *v = b->graph->values;
    const struct shape *y = &v[n->outputs[0]].shape;
    int64_t steps[RANK_MAX], row_major = 1;
    for (int i = y->rank - 1; i >= 0; i--) {
        steps[n->a.axes[i]] = row_major;
        row_major *= y->dims[i];
    }
    return layout_strided(b->onednn, &v[n->inputs[0]].shape, steps);
}

int kernel_transpose(struct builder *b, const struct node *n, struct error *e)
{
    const struct value *x = &b->graph->values[n->inputs[0]];
    int64_t strides[RANK_MAX];
    if (x->type != DTYPE_F32 || x->constant || x->shape.rank < 1)
        return error_set(e, ERROR_UNSUPPORTED, "not computed float32 values");
    const struct layout *from = builder_layout(b, n->inputs[0]);
    if (!from)
        return error_memory(e);
    if (!layout_strides(from, strides))
        return builder_view(b, n->outputs[0], n->inputs[0], from, turned(b, n, strides), e);
    return builder_view(b, n->outputs[0], n->inputs[0], to_be_turned(b, n),
                        builder_plain(b, n->outputs[0]), e);
}
