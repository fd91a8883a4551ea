/* MatMul of two computed values, batched, which may lie transposed. */
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

/* As the value lies, with ones in front; NULL where a product cannot step through that: one of the
 * matrix's dimensions must be contiguous. */
static const struct layout *as_it_lies(struct builder *b, int value, int rank)
{
    const struct shape *own = &b->graph->values[value].shape;
    const struct layout *l = builder_layout(b, value);
    int64_t strides[RANK_MAX], steps[RANK_MAX];
    struct shape s = {.rank = rank};
    int missing = rank - own->rank;
    if (!l || layout_strides(l, strides) ||
        (strides[own->rank - 1] != 1 && strides[own->rank - 2] != 1))
        return NULL;
    for (int i = 0; i < rank; i++) {
        s.dims[i] = i < missing ? 1 : own->dims[i - missing];
        steps[i] = i < missing ? strides[0] * own->dims[0] : strides[i - missing];
    }
    return layout_strided(b->onednn, &s, steps);
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

struct product {
    struct primitive *primitive;
    int lies[2]; /* the factor is read as it lies, else row-major */
};

/* As the factors lie, unless only a general-purpose kernel does that. */
static int make(struct builder *b, const struct node *n, struct product *p, struct error *e)
{
    int rank = b->graph->values[n->outputs[0]].shape.rank;
    const struct layout *y = of_rank(b, n->outputs[0], rank), *own[2], *factors[2];
    for (int i = 0; i < 2; i++) {
        own[i] = of_rank(b, n->inputs[i], rank);
        factors[i] = as_it_lies(b, n->inputs[i], rank);
        p->lies[i] = factors[i] && !layout_equal(factors[i], own[i]);
        factors[i] = p->lies[i] ? factors[i] : own[i];
    }
    int code = primitive_matmul(b->onednn, factors[0], factors[1], 0, y, NULL, &p->primitive, e);
    if ((!code && !primitive_is_slow(p->primitive)) || (!p->lies[0] && !p->lies[1]))
        return code;
    if (!code)
        primitive_free(p->primitive);
    p->lies[0] = p->lies[1] = 0;
    return primitive_matmul(b->onednn, own[0], own[1], 0, y, NULL, &p->primitive, e);
}

int kernel_matmul(struct builder *b, const struct node *n, struct error *e)
{
    int slots[OPERAND_SCRATCH] = {NO_SLOT, NO_SLOT, NO_SLOT, NO_SLOT};
    struct product p;
    int code = check(b, n, e);
    if (!code)
        code = make(b, n, &p, e);
    if (code)
        return code;
    for (int i = 0; i < 2 && !code; i++) {
        const struct layout *l = p.lies[i] ? builder_layout(b, n->inputs[i])
                                           : builder_plain(b, n->inputs[i]);
        code = builder_read(b, n->inputs[i], l, &slots[i ? OPERAND_WEIGHTS : OPERAND_SRC], e);
    }
    if (!code)
        code = builder_write(b, n->outputs[0], NULL, &slots[OPERAND_DST], e);
    if (code) {
        primitive_free(p.primitive);
        return code;
    }
    return builder_primitive(b, p.primitive, slots, e);
}
