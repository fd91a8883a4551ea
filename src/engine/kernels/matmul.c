/* MatMul of two computed values, batched. */
#include "engine/kernel.h"

#include <string.h>

/* Row-major with ones in front: oneDNN wants all of one rank, and broadcasts ones. */
static const struct layout *of_rank(struct builder *b, int value, int rank)
{
    struct shape s = b->graph->values[value].shape;
    int missing = rank - s.rank;
    memmove(s.dims + missing, s.dims, (size_t)s.rank * sizeof *s.dims);
    for (int i = 0; i < missing; i++)
        s.dims[i] = 1;
    s.rank = rank;
    return layout_plain(b->onednn, &s);
}

static int check(const struct builder *b, const struct node *n, struct error *e)
{
    const struct value *v = b->graph->values;
    const struct value *x = &v[n->inputs[0]], *w = &v[n->inputs[1]], *y = &v[n->outputs[0]];
    if (n->input_count != 2 || x->type != DTYPE_F32 || w->type != DTYPE_F32 || x->shape.rank < 2 ||
        w->shape.rank < 2 || shape_elements(&y->shape) == 0 || shape_elements(&x->shape) == 0)
        return error_set(e, ERROR_UNSUPPORTED, "not a product of float32 matrices");
    return 0;
}

int kernel_matmul(struct builder *b, const struct node *n, struct error *e)
{
    int slots[OPERAND_SCRATCH] = {NO_SLOT, NO_SLOT, NO_SLOT, NO_SLOT};
    struct primitive *p;
    int code = check(b, n, e);
    if (code)
        return code;
    int rank = b->graph->values[n->outputs[0]].shape.rank;
    code = primitive_matmul(b->onednn, of_rank(b, n->inputs[0], rank),
                            of_rank(b, n->inputs[1], rank), 0, of_rank(b, n->outputs[0], rank),
                            NULL, &p, e);
    if (code)
        return code;
    code = builder_read_plain(b, n->inputs[0], &slots[OPERAND_SRC], e);
    if (!code)
        code = builder_read_plain(b, n->inputs[1], &slots[OPERAND_WEIGHTS], e);
    if (!code)
        code = builder_write(b, n->outputs[0], NULL, &slots[OPERAND_DST], e);
    if (code) {
        primitive_free(p);
        return code;
    }
    return builder_primitive(b, p, slots, e);
}
