/* Pools over windows, and over all of the spatial dimensions. */
#include "engine/ops/ops.h"

#include <math.h>

#define TYPES_POOL (TYPES_REAL | TYPE_BIT(DTYPE_I8) | TYPE_BIT(DTYPE_U8))

static int infer_pool(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    struct attributes *a = &c->node->a;
    struct shape out = x->shape;
    int64_t value;
    int code = infer_type(c, 0, TYPES_POOL, e);
    if (!code)
        code = infer_attribute_int(c, "ceil_mode", 0, &value, e);
    if (!code) {
        a->ceil_mode = value != 0;
        code = window_infer(c, &x->shape, NULL, &out, e);
    }
    return code ? code : infer_output(c, 0, x->type, &out, e);
}

static int infer_max_pool(const struct infer_context *c, struct error *e)
{
    int64_t order;
    int code = infer_attribute_int(c, "storage_order", 0, &order, e);
    if (!code)
        code = infer_pool(c, e);
    if (code)
        return code;
    c->node->a.mode = order != 0;
    const struct value *y = &c->graph->values[c->node->outputs[0]];
    return infer_output(c, 1, DTYPE_I64, &y->shape, e);
}

static int infer_average_pool(const struct infer_context *c, struct error *e)
{
    int64_t value;
    int code = infer_attribute_int(c, "count_include_pad", 0, &value, e);
    if (code)
        return code;
    c->node->a.count_include_pad = value != 0;
    return infer_pool(c, e);
}

/* The window of one output: where it starts, and its taps [low, high) that lie inside the input. */
struct place {
    int64_t start[3], low[3], high[3];
};

static void place_window(const struct window *w, int64_t at, struct place *p)
{
    for (int i = 2; i >= 0; i--) {
        int64_t y = at % w->y[i], d = w->dilation[i];
        at /= w->y[i];
        p->start[i] = y * w->stride[i] - w->pad[i];
        p->low[i] = p->start[i] < 0 ? (-p->start[i] + d - 1) / d : 0;
        p->high[i] = p->start[i] >= w->x[i] ? 0 : (w->x[i] - p->start[i] + d - 1) / d;
        if (p->high[i] > w->kernel[i])
            p->high[i] = w->kernel[i];
    }
}

static double pick(const struct tensor *x, int64_t index)
{
    double value;
    if (x->type == DTYPE_F32)
        return ((const float *)x->data)[index];
    load_real(x->type, x->data, index, 1, 1, &value);
    return value;
}

static int64_t tap(const struct window *w, const struct place *p, int64_t d, int64_t h, int64_t k)
{
    return ((p->start[0] + d * w->dilation[0]) * w->x[1] + p->start[1] + h * w->dilation[1]) *
               w->x[2] + p->start[2] + k * w->dilation[2];
}

/* The largest element and its place inside the plane; -1 for a window all in the padding. */
static double window_max(const struct window *w, const struct place *p, const struct tensor *x,
                         int64_t plane, int64_t *where)
{
    double best = -INFINITY;
    *where = -1;
    for (int64_t d = p->low[0]; d < p->high[0]; d++)
        for (int64_t h = p->low[1]; h < p->high[1]; h++)
            for (int64_t k = p->low[2]; k < p->high[2]; k++) {
                int64_t i = tap(w, p, d, h, k);
                double value = pick(x, plane + i);
                if (*where < 0 || value > best || (isnan(value) && !isnan(best))) {
                    best = value;
                    *where = i;
                }
            }
    return best;
}

/* Places in the indices output count columns first when storage_order is 1. */
static int64_t reorder(const struct window *w, int64_t i, int column_major)
{
    if (!column_major || i < 0)
        return i;
    int64_t k = i % w->x[2], h = i / w->x[2] % w->x[1], d = i / w->x[2] / w->x[1];
    return (k * w->x[1] + h) * w->x[0] + d;
}

static int run_max_pool(const struct node *n, const struct tensor *in, struct tensor *out,
                        struct error *e)
{
    (void)e;
    struct window w;
    window_make(n, &in->shape, &out->shape, &w);
    int64_t planes = in->shape.dims[0] * in->shape.dims[1];
    int64_t x_plane = w.x[0] * w.x[1] * w.x[2], y_plane = w.y[0] * w.y[1] * w.y[2];
#pragma omp parallel for schedule(static)
    for (int64_t c = 0; c < planes; c++)
        for (int64_t i = 0; i < y_plane; i++) {
            struct place p;
            int64_t where;
            place_window(&w, i, &p);
            double value = window_max(&w, &p, in, c * x_plane, &where);
            store_real(out->type, out->data, c * y_plane + i, 1, &value);
            if (out[1].data)
                ((int64_t *)out[1].data)[c * y_plane + i] =
                    c * x_plane + reorder(&w, where, n->a.mode);
        }
    return 0;
}

static double window_sum(const struct window *w, const struct place *p, const struct tensor *x,
                         int64_t plane)
{
    double sum = 0;
    for (int64_t d = p->low[0]; d < p->high[0]; d++)
        for (int64_t h = p->low[1]; h < p->high[1]; h++)
            for (int64_t k = p->low[2]; k < p->high[2]; k++)
                sum += pick(x, plane + tap(w, p, d, h, k));
    return sum;
}

/* Elements the mean is over: those inside the input, or inside the padded input as well. */
static double divisor(const struct node *n, const struct window *w, const struct place *p)
{
    double count = 1;
    for (int i = 0; i < 3; i++) {
        int64_t taps = p->high[i] > p->low[i] ? p->high[i] - p->low[i] : 0;
        int axis = i - (3 - n->a.spatial);
        if (n->a.count_include_pad && axis >= 0) {
            int64_t end = w->x[i] + n->a.pads_end[axis] - p->start[i];
            taps = (end + w->dilation[i] - 1) / w->dilation[i];
            taps = taps > w->kernel[i] ? w->kernel[i] : taps;
        }
        count *= (double)taps;
    }
    return count;
}

static int run_average_pool(const struct node *n, const struct tensor *in, struct tensor *out,
                            struct error *e)
{
    (void)e;
    struct window w;
    window_make(n, &in->shape, &out->shape, &w);
    int64_t planes = in->shape.dims[0] * in->shape.dims[1];
    int64_t x_plane = w.x[0] * w.x[1] * w.x[2], y_plane = w.y[0] * w.y[1] * w.y[2];
#pragma omp parallel for schedule(static)
    for (int64_t c = 0; c < planes; c++)
        for (int64_t i = 0; i < y_plane; i++) {
            struct place p;
            place_window(&w, i, &p);
            double count = divisor(n, &w, &p);
            double value = count > 0 ? window_sum(&w, &p, in, c * x_plane) / count : 0;
            store_real(out->type, out->data, c * y_plane + i, 1, &value);
        }
    return 0;
}

static int infer_global(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    struct shape out = x->shape;
    if (x->shape.rank < 3)
        return infer_fail(c, e, "an input of rank %d; 3 or more are expected", x->shape.rank);
    for (int i = 2; i < out.rank; i++)
        out.dims[i] = 1;
    int code = infer_type(c, 0, TYPES_REAL, e);
    return code ? code : infer_output(c, 0, x->type, &out, e);
}

static double row_sum(const struct tensor *x, int64_t first, int64_t count)
{
    double chunk[CHUNK], sum = 0;
    for (int64_t i = 0; i < count; i += CHUNK) {
        int64_t n = count - i < CHUNK ? count - i : CHUNK;
        load_real(x->type, x->data, first + i, 1, n, chunk);
        for (int64_t k = 0; k < n; k++)
            sum += chunk[k];
    }
    return sum;
}

static double row_max(const struct tensor *x, int64_t first, int64_t count)
{
    double best = -INFINITY;
    for (int64_t i = 0; i < count; i++) {
        double value = pick(x, first + i);
        if (value > best || isnan(value))
            best = value;
    }
    return best;
}

static int64_t plane_size(const struct shape *s)
{
    int64_t size = 1;
    for (int i = 2; i < s->rank; i++)
        size *= s->dims[i];
    return size;
}

static int run_global_average(const struct node *n, const struct tensor *in, struct tensor *out,
                              struct error *e)
{
    (void)n, (void)e;
    int64_t size = plane_size(&in->shape), planes = shape_elements(&out->shape);
    for (int64_t c = 0; c < planes; c++) {
        double mean = row_sum(in, c * size, size) / (double)size;
        store_real(out->type, out->data, c, 1, &mean);
    }
    return 0;
}

static int run_global_max(const struct node *n, const struct tensor *in, struct tensor *out,
                          struct error *e)
{
    (void)n, (void)e;
    int64_t size = plane_size(&in->shape), planes = shape_elements(&out->shape);
    for (int64_t c = 0; c < planes; c++) {
        double best = row_max(in, c * size, size);
        store_real(out->type, out->data, c, 1, &best);
    }
    return 0;
}

/* LpPool: the p-th root of the sum of p-th powers; p in a.alpha. */
static int infer_lp_pool(const struct infer_context *c, struct error *e)
{
    int64_t p;
    int code = infer_attribute_int(c, "p", 2, &p, e);
    if (!code && (p < 1 || p > 1000))
        code = infer_fail(c, e, "attribute 'p' is %lld", (long long)p);
    if (code)
        return code;
    c->node->a.alpha = (float)p;
    return c->node->op->detail ? infer_global(c, e) : infer_pool(c, e);
}

static int run_lp_pool(const struct node *n, const struct tensor *in, struct tensor *out,
                       struct error *e)
{
    (void)e;
    struct window w;
    double power = (double)n->a.alpha;
    window_make(n, &in->shape, &out->shape, &w);
    int64_t x_plane = w.x[0] * w.x[1] * w.x[2], y_plane = w.y[0] * w.y[1] * w.y[2];
    int64_t total = shape_elements(&out->shape);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < total; i++) {
        struct place p;
        double sum = 0;
        place_window(&w, i % y_plane, &p);
        for (int64_t d = p.low[0]; d < p.high[0]; d++)
            for (int64_t h = p.low[1]; h < p.high[1]; h++)
                for (int64_t k = p.low[2]; k < p.high[2]; k++)
                    sum += pow(fabs(pick(in, i / y_plane * x_plane + tap(&w, &p, d, h, k))), power);
        sum = pow(sum, 1 / power);
        store_real(out->type, out->data, i, 1, &sum);
    }
    return 0;
}

static int run_global_lp(const struct node *n, const struct tensor *in, struct tensor *out,
                         struct error *e)
{
    (void)e;
    double power = (double)n->a.alpha;
    int64_t size = plane_size(&in->shape), planes = shape_elements(&out->shape);
    for (int64_t c = 0; c < planes; c++) {
        double sum = 0;
        for (int64_t i = 0; i < size; i++)
            sum += pow(fabs(pick(in, c * size + i)), power);
        sum = pow(sum, 1 / power);
        store_real(out->type, out->data, c, 1, &sum);
    }
    return 0;
}

static const struct op ops[] = {
    {OP("LpPool", 1, 1, 1, infer_lp_pool, run_lp_pool), .heavy = 1},
    {OP("GlobalLpPool", 1, 1, 1, infer_lp_pool, run_global_lp), .detail = "global"},
    {OP("MaxPool", 1, 1, 2, infer_max_pool, run_max_pool), .heavy = 1},
    {OP("AveragePool", 1, 1, 1, infer_average_pool, run_average_pool), .heavy = 1},
    {OP("GlobalAveragePool", 1, 1, 1, infer_global, run_global_average)},
    {OP("GlobalMaxPool", 1, 1, 1, infer_global, run_global_max)},
};
const struct op_family family_pool = OP_FAMILY(ops);
