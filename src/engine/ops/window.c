/* Sliding windows: what convolutions and pools share. */
#include "engine/ops/ops.h"

#include <inttypes.h>
#include <string.h>

/* Bounds every number of a window, so that sums of a few and products of two fit int64. */
static const int64_t window_max = (int64_t)1 << 30;

static int read_positive(const struct infer_context *c, const char *name, int spatial,
                         int64_t out[3], struct error *e)
{
    const int64_t *given;
    size_t count;
    int code = infer_attribute_ints(c, name, (size_t)spatial, (size_t)spatial, &given, &count, e);
    if (code)
        return code;
    for (int i = 0; i < spatial; i++) {
        if (given && (given[i] < 1 || given[i] > window_max))
            return infer_fail(c, e, "attribute '%s' has the entry %" PRId64, name, given[i]);
        out[i] = given ? given[i] : 1;
    }
    return 0;
}

static int read_pads(const struct infer_context *c, int spatial, struct error *e)
{
    struct attributes *a = &c->node->a;
    const int64_t *given;
    size_t count, expected = 2 * (size_t)spatial;
    int code = infer_attribute_ints(c, "pads", expected, expected, &given, &count, e);
    if (code || !given)
        return code;
    for (size_t i = 0; i < count; i++)
        if (given[i] < 0 || given[i] > window_max)
            return infer_fail(c, e, "attribute 'pads' has the entry %" PRId64, given[i]);
    memcpy(a->pads_begin, given, (size_t)spatial * sizeof *given);
    memcpy(a->pads_end, given + spatial, (size_t)spatial * sizeof *given);
    return 0;
}

enum auto_pad { PAD_NOTSET, PAD_SAME_UPPER, PAD_SAME_LOWER, PAD_VALID };
static const char *const auto_pad_names[] = {"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", NULL};

/* SAME: as many outputs as strides fit the input, the padding shared out evenly. */
static int64_t same_size(struct attributes *a, int i, int64_t x, int64_t extent, int lower)
{
    int64_t y = (x + a->strides[i] - 1) / a->strides[i];
    int64_t total = y > 0 ? (y - 1) * a->strides[i] + extent - x : 0;
    if (total < 0)
        total = 0;
    a->pads_begin[i] = lower ? total - total / 2 : total / 2;
    a->pads_end[i] = total - a->pads_begin[i];
    return y;
}

static int64_t plain_size(const struct attributes *a, int i, int64_t x, int64_t extent)
{
    int64_t room = x + a->pads_begin[i] + a->pads_end[i] - extent;
    if (room < 0)
        return -1;
    int64_t y = (a->ceil_mode ? (room + a->strides[i] - 1) / a->strides[i] : room / a->strides[i]);
    /* With ceil_mode a last window that would start in the padding behind is left out. */
    if (a->ceil_mode && y * a->strides[i] >= x + a->pads_begin[i])
        y--;
    return y + 1;
}

static int read_window(const struct infer_context *c, const int64_t *kernel, int *auto_pad,
                       struct error *e)
{
    struct attributes *a = &c->node->a;
    if (kernel) {
        infer_ignore(c, "kernel_shape");
        memcpy(a->kernel, kernel, (size_t)a->spatial * sizeof *kernel);
    } else if (!infer_attribute(c, "kernel_shape")) {
        return infer_fail(c, e, "attribute 'kernel_shape' is missing");
    }
    int code = kernel ? 0 : read_positive(c, "kernel_shape", a->spatial, a->kernel, e);
    if (!code)
        code = read_positive(c, "strides", a->spatial, a->strides, e);
    if (!code)
        code = read_positive(c, "dilations", a->spatial, a->dilations, e);
    if (!code)
        code = infer_attribute_name(c, "auto_pad", auto_pad_names, PAD_NOTSET, auto_pad, e);
    if (!code && *auto_pad == PAD_NOTSET)
        return read_pads(c, a->spatial, e);
    infer_ignore(c, "pads");
    return code;
}

static int check_kernel(const struct infer_context *c, const int64_t *kernel, struct error *e)
{
    const int64_t *given;
    size_t count;
    int spatial = c->node->a.spatial;
    int code = infer_attribute_ints(c, "kernel_shape", (size_t)spatial, (size_t)spatial, &given,
                                    &count, e);
    for (int i = 0; i < spatial && !code; i++) {
        if (kernel[i] < 1 || kernel[i] > window_max)
            code = infer_fail(c, e, "the weight has a window of size %" PRId64, kernel[i]);
        else if (given && given[i] != kernel[i])
            code = infer_fail(c, e, "attribute 'kernel_shape' has %" PRId64 " where the weight "
                              "has %" PRId64, given[i], kernel[i]);
    }
    return code;
}

int window_infer(const struct infer_context *c, const struct shape *x, const int64_t *kernel,
                 struct shape *out, struct error *e)
{
    struct attributes *a = &c->node->a;
    int auto_pad = PAD_NOTSET;
    a->spatial = x->rank - 2;
    if (a->spatial < 1 || a->spatial > 3)
        return infer_unsupported(c, e, "an input of rank %d; 3 to 5 are supported", x->rank);
    int code = kernel ? check_kernel(c, kernel, e) : 0;
    if (!code)
        code = read_window(c, kernel, &auto_pad, e);
    out->rank = x->rank;
    for (int i = 0; i < a->spatial && !code; i++) {
        int64_t size = x->dims[2 + i], extent;
        if (size > (int64_t)1 << 60 || a->kernel[i] > window_max)
            return infer_unsupported(c, e, "a dimension of %" PRId64, size);
        extent = (a->kernel[i] - 1) * a->dilations[i] + 1;
        int same = auto_pad == PAD_SAME_UPPER || auto_pad == PAD_SAME_LOWER;
        out->dims[2 + i] = same ? same_size(a, i, size, extent, auto_pad == PAD_SAME_LOWER)
                                : plain_size(a, i, size, extent);
        if (out->dims[2 + i] < 0)
            code = infer_fail(c, e, "a window of %" PRId64 " does not fit %" PRId64 " padded by "
                              "%" PRId64 " and %" PRId64, extent, size, a->pads_begin[i],
                              a->pads_end[i]);
    }
    return code;
}

void window_make(const struct node *n, const struct shape *x, const struct shape *y,
                 struct window *w)
{
    const struct attributes *a = &n->a;
    *w = (struct window){{1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}};
    for (int i = 0; i < a->spatial; i++) {
        int d = 3 - a->spatial + i;
        w->x[d] = x->dims[2 + i];
        w->y[d] = y->dims[2 + i];
        w->kernel[d] = a->kernel[i];
        w->stride[d] = a->strides[i];
        w->dilation[d] = a->dilations[i];
        w->pad[d] = a->pads_begin[i];
    }
}
