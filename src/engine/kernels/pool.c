/* Pools by oneDNN, in the layout their input comes in. */
#include "engine/kernel.h"

static int is_f32_only(const struct builder *b, const struct node *n)
{
    for (int i = 1; i < n->output_count; i++)
        if (n->outputs[i] != NO_VALUE)
            return 0;
    return b->graph->values[n->inputs[0]].type == DTYPE_F32;
}

/* With ceil_mode the last window may reach beyond the padding: make the padding reach it. Returns
 * whether any does. */
static int stretch(struct attributes *a, const struct shape *x, const struct shape *y)
{
    int stretched = 0;
    for (int i = 0; i < a->spatial; i++) {
        int64_t window = (a->kernel[i] - 1) * a->dilations[i] + 1;
        int64_t reach = (y->dims[i + 2] - 1) * a->strides[i] + window;
        int64_t pad = reach - x->dims[i + 2] - a->pads_begin[i];
        stretched |= pad > a->pads_end[i];
        a->pads_end[i] = pad;
    }
    return stretched;
}

static int add_pool(struct builder *b, const struct node *n, const struct attributes *a,
                    enum pool_kind kind, struct error *e)
{
    const struct layout *src = builder_layout(b, n->inputs[0]);
    const struct layout *dst = layout_any(b->onednn, &b->graph->values[n->outputs[0]].shape);
    int slots[OPERAND_SCRATCH] = {NO_SLOT, NO_SLOT, NO_SLOT, NO_SLOT};
    struct primitive *p;
    int code = primitive_pool(b->onednn, a, kind, src, dst, &p, e);
    if (code)
        return code;
    code = builder_read(b, n->inputs[0], src, &slots[OPERAND_SRC], e);
    if (!code)
        code = builder_write(b, n->outputs[0], primitive_layout(p, OPERAND_DST),
                             &slots[OPERAND_DST], e);
    if (code) {
        primitive_free(p);
        return code;
    }
    return builder_primitive(b, p, slots, e);
}

static int prepare(struct builder *b, const struct node *n, enum pool_kind kind, struct error *e)
{
    struct attributes a = n->a;
    if (!is_f32_only(b, n))
        return error_set(e, ERROR_UNSUPPORTED, "not one float32 output");
    int stretched = stretch(&a, &b->graph->values[n->inputs[0]].shape,
                            &b->graph->values[n->outputs[0]].shape);
    if (stretched && kind == POOL_AVERAGE_WITH_PADDING) /* it would count what is not padding */
        return error_set(e, ERROR_UNSUPPORTED, "a window beyond the padding");
    return add_pool(b, n, &a, kind, e);
}

int kernel_max_pool(struct builder *b, const struct node *n, struct error *e)
{
    return prepare(b, n, POOL_MAX, e);
}

int kernel_average_pool(struct builder *b, const struct node *n, struct error *e)
{
    return prepare(b, n, n->a.count_include_pad ? POOL_AVERAGE_WITH_PADDING : POOL_AVERAGE, e);
}

int kernel_global_average_pool(struct builder *b, const struct node *n, struct error *e)
{
    const struct shape *x = &b->graph->values[n->inputs[0]].shape;
    struct attributes a = {.spatial = x->rank - 2};
    if (!is_f32_only(b, n) || a.spatial < 1 || a.spatial > 3)
        return error_set(e, ERROR_UNSUPPORTED, "not 1 to 3 spatial dimensions of float32");
    for (int i = 0; i < a.spatial; i++) {
        a.kernel[i] = x->dims[i + 2];
        a.strides[i] = a.dilations[i] = 1;
    }
    return add_pool(b, n, &a, POOL_AVERAGE, e);
}
