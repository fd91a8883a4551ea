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

/* plain: dst is row-major, and the output of a shape that has fewer ones. */
static int add_pool(struct builder *b, const struct node *n, const struct attributes *a,
                    enum pool_kind kind, const struct layout *dst, int plain, struct error *e)
{
    const struct layout *src = builder_layout(b, n->inputs[0]);
    int slots[OPERAND_SCRATCH] = {NO_SLOT, NO_SLOT, NO_SLOT, NO_SLOT};
    struct primitive *p;
    int code = primitive_pool(b->onednn, a, kind, src, dst, &p, e);
    if (!code && primitive_is_slow(p) && !layout_equal(src, builder_plain(b, n->inputs[0]))) {
        primitive_free(p); /* an odd order of dimensions */
        src = builder_plain(b, n->inputs[0]);
        code = primitive_pool(b->onednn, a, kind, src, dst, &p, e);
    }
    if (code)
        return code;
    code = builder_read(b, n->inputs[0], src, &slots[OPERAND_SRC], e);
    if (!code)
        code = builder_write(b, n->outputs[0], plain ? NULL : primitive_layout(p, OPERAND_DST),
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
    const struct layout *dst = layout_any(b->onednn, &b->graph->values[n->outputs[0]].shape);
    return add_pool(b, n, &a, kind, dst, 0, e);
}

int kernel_max_pool(struct builder *b, const struct node *n, struct error *e)
{
    return prepare(b, n, POOL_MAX, e);
}

int kernel_average_pool(struct builder *b, const struct node *n, struct error *e)
{
    return prepare(b, n, n->a.count_include_pad ? POOL_AVERAGE_WITH_PADDING : POOL_AVERAGE, e);
}

static int average_all(struct builder *b, const struct node *n, int plain, struct error *e)
{
    const struct shape *x = &b->graph->values[n->inputs[0]].shape;
    struct attributes a = {.spatial = x->rank - 2};
    struct shape y = {x->rank, {x->dims[0], x->dims[1], 1, 1, 1}};
    if (!is_f32_only(b, n) || a.spatial < 1 || a.spatial > 3)
        return error_set(e, ERROR_UNSUPPORTED, "not 1 to 3 spatial dimensions of float32");
    for (int i = 0; i < a.spatial; i++) {
        a.kernel[i] = x->dims[i + 2];
        a.strides[i] = a.dilations[i] = 1;
    }
    const struct layout *dst = plain ? layout_plain(b->onednn, &y) : layout_any(b->onednn, &y);
    return add_pool(b, n, &a, POOL_AVERAGE, dst, plain, e);
}

int kernel_global_average_pool(struct builder *b, const struct node *n, struct error *e)
{
    return average_all(b, n, 0, e);
}

/* How exporters write it as well; the dimensions of 1 may be left out. */
int kernel_reduce_mean(struct builder *b, const struct node *n, struct error *e)
{
    int rank = b->graph->values[n->inputs[0]].shape.rank;
    if (rank < 3 || n->a.axis_count != rank - 2 || n->a.axes[0] != 2)
        return error_set(e, ERROR_UNSUPPORTED, "not over all of the spatial dimensions");
    return average_all(b, n, !n->a.keepdims, e);
}
