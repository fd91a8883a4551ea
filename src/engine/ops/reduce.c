/* Reductions: a table of loops that add a chunk to a running total. */
#include "engine/ops/ops.h"

#include <inttypes.h>
#include <math.h>

struct total {
    double real, largest; /* largest: of LogSumExp, whose sum is relative to it */
    int64_t integer;      /* uint64: its bits */
    int64_t count;
};

struct reduction {
    double first;         /* what a total starts from */
    int64_t first_integer;
    void (*real)(struct total *t, const double *x, int64_t n);
    void (*integer)(struct total *t, const int64_t *x, int64_t n); /* NULL: refused */
    void (*finish)(struct total *t);
    int64_t axes_since;   /* the opset whose axes are an input */
};

#define REAL(name, statement) \
    static void name(struct total *t, const double *values, int64_t n) \
    { \
        for (int64_t i = 0; i < n; i++) { \
            double x = values[i]; \
            statement; \
        } \
    }
#define INTEGER(name, expression) \
    static void name(struct total *t, const int64_t *values, int64_t n) \
    { \
        for (int64_t i = 0; i < n; i++) { \
            int64_t x = values[i]; \
            uint64_t sum = (uint64_t)t->integer, u = (uint64_t)x; \
            t->integer = (int64_t)(expression); \
            (void)sum, (void)u; \
        } \
    }

REAL(real_sum, t->real += x)
REAL(real_absolute, t->real += fabs(x))
REAL(real_square, t->real += x * x)
REAL(real_product, t->real *= x)
REAL(real_max, if (x > t->real || isnan(x)) t->real = x)
REAL(real_min, if (x < t->real || isnan(x)) t->real = x)
INTEGER(int_sum, sum + u)
INTEGER(int_absolute, sum + (x < 0 ? 0 - u : u))
INTEGER(int_square, sum + u * u)
INTEGER(int_product, sum * u)
INTEGER(int_max, x > t->integer ? x : t->integer)
INTEGER(int_min, x < t->integer ? x : t->integer)

static void real_log_sum_exp(struct total *t, const double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (x[i] > t->largest) {
            t->real = t->real > 0 ? t->real * exp(t->largest - x[i]) : 0;
            t->largest = x[i];
        }
        t->real += isinf(x[i]) && x[i] < 0 ? 0 : exp(x[i] - t->largest);
    }
}

static void as_is(struct total *t)
{
    (void)t;
}

static void mean(struct total *t)
{
    t->real /= (double)t->count;
    t->integer = t->count ? t->integer / t->count : 0;
}

static void root(struct total *t)
{
    t->real = sqrt(t->real);
    t->integer = (int64_t)sqrt((double)t->integer);
}

static void logarithm(struct total *t)
{
    t->real = log(t->real);
}

static void log_sum_exp(struct total *t)
{
    t->real = t->real > 0 ? log(t->real) + t->largest : -INFINITY;
}

static const struct reduction *row_of(const struct op *op)
{
    return op->detail;
}

static int infer_reduce(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    const struct reduction *r = row_of(c->node->op);
    struct attributes *a = &c->node->a;
    unsigned integers = TYPES_SIGNED | (TYPES_UNSIGNED & ~TYPE_BIT(DTYPE_U64));
    int64_t keep, noop = 0;
    int given, code = infer_type(c, 0, TYPES_REAL | (r->integer ? integers : 0), e);
    if (!code)
        code = infer_attribute_int(c, "keepdims", 1, &keep, e);
    if (!code && c->opset >= r->axes_since)
        code = infer_attribute_int(c, "noop_with_empty_axes", 0, &noop, e);
    if (!code)
        code = infer_axes(c, "axes", r->axes_since, 1, x->shape.rank, &given, e);
    if (code)
        return code;
    a->keepdims = keep != 0;
    if (a->axis_count == 0 && !noop)
        for (; a->axis_count < x->shape.rank; a->axis_count++)
            a->axes[a->axis_count] = a->axis_count;
    struct shape out = {0};
    for (int i = 0, next = 0; i < x->shape.rank; i++) {
        int reduced = next < a->axis_count && a->axes[next] == i;
        next += reduced;
        if (!reduced || keep)
            out.dims[out.rank++] = reduced ? 1 : x->shape.dims[i];
    }
    return infer_output(c, 0, x->type, &out, e);
}

/* Divides x's dimensions into kept (walked together with the output) and reduced ones. */
static void split_walks(const struct node *n, const struct shape *x, struct walk *kept,
                        struct walk *reduced)
{
    int64_t strides[RANK_MAX], stride = 1;
    shape_strides(x, strides);
    *kept = (struct walk){.operands = 2};
    *reduced = (struct walk){.operands = 1};
    for (int i = 0, next = 0; i < x->rank; i++) {
        int is_reduced = next < n->a.axis_count && n->a.axes[next] == i;
        struct walk *w = is_reduced ? reduced : kept;
        next += is_reduced;
        w->strides[is_reduced ? 0 : 1][w->rank] = strides[i];
        w->dims[w->rank++] = x->dims[i];
    }
    for (int i = kept->rank - 1; i >= 0; i--) {
        kept->strides[0][i] = stride;
        stride *= kept->dims[i];
    }
}

static void add_row(const struct reduction *r, struct total *t, const struct tensor *x,
                    const struct walk *w)
{
    double reals[CHUNK];
    int64_t integers[CHUNK];
    for (int64_t i = 0; i < w->count; i += CHUNK) {
        int64_t n = w->count - i < CHUNK ? w->count - i : CHUNK;
        int64_t at = w->offset[0] + i * w->step[0];
        if (type_is_real(x->type)) {
            load_real(x->type, x->data, at, w->step[0], n, reals);
            r->real(t, reals, n);
        } else {
            load_int(x->type, x->data, at, w->step[0], n, integers);
            r->integer(t, integers, n);
        }
        t->count += n;
    }
}

static void reduce_one(const struct reduction *r, const struct tensor *x, struct walk inner,
                       int any, int64_t from, struct tensor *y, int64_t to)
{
    struct total t = {r->first, -INFINITY, r->first_integer, 0};
    inner.offset[0] = from;
    for (int more = any; more; more = walk_next(&inner))
        add_row(r, &t, x, &inner);
    r->finish(&t);
    if (type_is_real(y->type))
        store_real(y->type, y->data, to, 1, &t.real);
    else
        store_int(y->type, y->data, to, 1, &t.integer);
}

static int run_reduce(const struct node *n, const struct tensor *in, struct tensor *out,
                      struct error *e)
{
    (void)e;
    struct walk kept, reduced;
    split_walks(n, &in->shape, &kept, &reduced);
    int any = walk_begin(&reduced);
    for (int more = walk_begin(&kept); more; more = walk_next(&kept))
        for (int64_t i = 0; i < kept.count; i++)
            reduce_one(row_of(n->op), in, reduced, any, kept.offset[1] + i * kept.step[1], out,
                       kept.offset[0] + i * kept.step[0]);
    return 0;
}

/* ArgMax, ArgMin: a.mode is select_last_index. */
static int infer_arg(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    struct attributes *a = &c->node->a;
    int64_t axis, keep, last = 0;
    int code = infer_type(c, 0, TYPES_NUMBER & ~TYPE_BIT(DTYPE_U64), e);
    if (!code)
        code = infer_attribute_int(c, "axis", 0, &axis, e);
    if (!code)
        code = infer_attribute_int(c, "keepdims", 1, &keep, e);
    if (!code)
        code = infer_attribute_int(c, "select_last_index", 0, &last, e);
    if (!code)
        code = infer_axis(c, "attribute 'axis'", axis, x->shape.rank, &a->axis, e);
    if (code)
        return code;
    a->mode = last != 0;
    struct shape out = {0};
    for (int i = 0; i < x->shape.rank; i++)
        if (i != a->axis || keep)
            out.dims[out.rank++] = i == a->axis ? 1 : x->shape.dims[i];
    if (x->shape.dims[a->axis] == 0)
        return infer_fail(c, e, "axis %" PRId64 " has no elements", a->axis);
    return infer_output(c, 0, DTYPE_I64, &out, e);
}

static int run_arg(const struct node *n, const struct tensor *in, struct tensor *out, int sign)
{
    int64_t strides[RANK_MAX], size = in->shape.dims[n->a.axis];
    shape_strides(&in->shape, strides);
    int64_t inner = strides[n->a.axis], total = shape_elements(&out->shape);
    for (int64_t i = 0; i < total; i++) {
        int64_t base = i / inner * inner * size + i % inner, where = 0;
        double best = NAN, value;
        for (int64_t k = 0; k < size; k++) {
            load_real(in->type, in->data, base + k * inner, 1, 1, &value);
            value *= sign;
            if (k == 0 || value > best || (n->a.mode && value == best)) {
                best = value;
                where = k;
            }
        }
        ((int64_t *)out->data)[i] = where;
    }
    return 0;
}

static int run_arg_max(const struct node *n, const struct tensor *in, struct tensor *out,
                       struct error *e)
{
    (void)e;
    return run_arg(n, in, out, 1);
}

static int run_arg_min(const struct node *n, const struct tensor *in, struct tensor *out,
                       struct error *e)
{
    (void)e;
    return run_arg(n, in, out, -1);
}

#define REDUCE(name, ...) \
    {OP(name, 1, 2, 1, infer_reduce, run_reduce), .detail = &(const struct reduction){__VA_ARGS__}}

static const struct op ops[] = {
    REDUCE("ReduceSum", 0, 0, real_sum, int_sum, as_is, 13),
    REDUCE("ReduceMean", 0, 0, real_sum, int_sum, mean, 18),
    REDUCE("ReduceMax", -INFINITY, INT64_MIN, real_max, int_max, as_is, 18),
    REDUCE("ReduceMin", INFINITY, INT64_MAX, real_min, int_min, as_is, 18),
    REDUCE("ReduceProd", 1, 1, real_product, int_product, as_is, 18),
    REDUCE("ReduceL1", 0, 0, real_absolute, int_absolute, as_is, 18),
    REDUCE("ReduceL2", 0, 0, real_square, int_square, root, 18),
    REDUCE("ReduceSumSquare", 0, 0, real_square, int_square, as_is, 18),
    REDUCE("ReduceLogSum", 0, 0, real_sum, NULL, logarithm, 18),
    REDUCE("ReduceLogSumExp", 0, 0, real_log_sum_exp, NULL, log_sum_exp, 18),
    {OP("ArgMax", 1, 1, 1, infer_arg, run_arg_max)},
    {OP("ArgMin", 1, 1, 1, infer_arg, run_arg_min)},
};
const struct op_family family_reduce = OP_FAMILY(ops);
