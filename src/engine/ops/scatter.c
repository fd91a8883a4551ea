/* Operators that pick or put elements by indices, and by position: GatherND, ScatterND,
 * ScatterElements, OneHot, Trilu, CumSum, TopK. */
#include "engine/ops/ops.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static int read_index(const struct tensor *indices, int64_t i, int64_t size, int64_t *out,
                      struct error *e)
{
    load_int(indices->type, indices->data, i, 1, 1, out);
    if (*out < -size || *out >= size)
        return error_set(e, ERROR_FORMAT, "index %" PRId64 " is outside a dimension of %" PRId64,
                         *out, size);
    if (*out < 0)
        *out += size;
    return 0;
}

static int64_t product(const struct shape *s, int first, int last)
{
    int64_t n = 1;
    for (int i = first; i < last; i++)
        n *= s->dims[i];
    return n;
}

static void *element(const struct tensor *t, int64_t i)
{
    return (char *)t->data + i * (int64_t)dtype_size(t->type);
}

static void copy_elements(struct tensor *to, int64_t at, const struct tensor *from, int64_t first,
                          int64_t n)
{
    if (n)
        memcpy(element(to, at), element(from, first), (size_t)n * dtype_size(from->type));
}

/* GatherND: a.axis is batch_dims; the last dimension of the indices is one index tuple. */
static int infer_gather_nd(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0), *at = infer_input(c, 1);
    struct attributes *a = &c->node->a;
    int code = infer_type(c, 0, TYPES_ANY, e);
    if (!code)
        code = infer_type(c, 1, TYPE_BIT(DTYPE_I64), e);
    if (!code)
        code = infer_attribute_int(c, "batch_dims", 0, &a->axis, e);
    if (code)
        return code;
    int r = x->shape.rank, q = at->shape.rank, b = (int)a->axis;
    int fits = a->axis >= 0 && r >= 1 && q >= 1 && a->axis < q && a->axis < r;
    int64_t tuple = fits ? at->shape.dims[q - 1] : 0;
    for (int i = 0; i < b && fits; i++)
        fits = x->shape.dims[i] == at->shape.dims[i];
    if (!fits || tuple < 1 || tuple > r - b) {
        char s[96], t[96];
        return infer_fail(c, e, "indices %s do not fit %s", shape_text(&at->shape, s, sizeof s),
                          shape_text(&x->shape, t, sizeof t));
    }
    struct shape out = {.rank = q - 1};
    memcpy(out.dims, at->shape.dims, (size_t)(q - 1) * sizeof *out.dims);
    for (int i = b + (int)tuple; i < r; i++) {
        if (out.rank == RANK_MAX)
            return infer_unsupported(c, e, "an output of more than %d dimensions", RANK_MAX);
        out.dims[out.rank++] = x->shape.dims[i];
    }
    return infer_output(c, 0, x->type, &out, e);
}

/* Where index tuple i of `tuple` numbers points, over dimensions first.. of s, in elements. */
static int tuple_offset(const struct tensor *indices, int64_t i, int64_t tuple,
                        const struct shape *s, int first, int64_t *offset, struct error *e)
{
    int64_t strides[RANK_MAX];
    shape_strides(s, strides);
    for (int64_t k = 0; k < tuple; k++) {
        int64_t index;
        int code = read_index(indices, i * tuple + k, s->dims[first + k], &index, e);
        if (code)
            return code;
        *offset += index * strides[first + k];
    }
    return 0;
}

static int run_gather_nd(const struct node *n, const struct tensor *in, struct tensor *out,
                         struct error *e)
{
    const struct shape *x = &in[0].shape, *at = &in[1].shape;
    int b = (int)n->a.axis, q = at->rank;
    int64_t tuple = at->dims[q - 1], each = product(x, b + (int)tuple, x->rank);
    int64_t batch = product(x, b, x->rank), per_batch = product(at, b, q - 1);
    int64_t total = product(at, 0, q - 1);
    for (int64_t i = 0; i < total; i++) {
        int64_t from = i / per_batch * batch;
        int code = tuple_offset(&in[1], i, tuple, x, b, &from, e);
        if (code)
            return code;
        copy_elements(out, i * each, &in[0], from, each);
    }
    return 0;
}

/* What happens to an element that is put: a.mode. */
enum reduction { REPLACE, ADD, MULTIPLY, LARGEST, SMALLEST };
static const char *const reductions[] = {"none", "add", "mul", "max", "min", NULL};

static void put(struct tensor *y, int64_t at, const struct tensor *x, int64_t from, int mode)
{
    double p, q;
    int64_t i, j;
    if (mode == REPLACE) {
        copy_elements(y, at, x, from, 1);
    } else if (type_is_real(y->type)) {
        load_real(y->type, y->data, at, 1, 1, &p);
        load_real(x->type, x->data, from, 1, 1, &q);
        p = mode == ADD ? p + q : mode == MULTIPLY ? p * q : mode == LARGEST ? fmax(p, q)
                                                                            : fmin(p, q);
        store_real(y->type, y->data, at, 1, &p);
    } else {
        load_int(y->type, y->data, at, 1, 1, &i);
        load_int(x->type, x->data, from, 1, 1, &j);
        uint64_t sum = (uint64_t)i + (uint64_t)j, times = (uint64_t)i * (uint64_t)j;
        int64_t larger = i > j ? i : j, smaller = i > j ? j : i;
        i = mode == ADD ? (int64_t)sum : mode == MULTIPLY ? (int64_t)times
            : mode == LARGEST ? larger : smaller;
        store_int(y->type, y->data, at, 1, &i);
    }
}

/* Types, index type and reduction of both Scatters; the output is the first input's shape. */
static int infer_scatter(const struct infer_context *c, unsigned index_types, struct error *e)
{
    const struct value *x = infer_input(c, 0), *updates = infer_input(c, 2);
    int code = infer_type(c, 0, TYPES_ANY & ~TYPE_BIT(DTYPE_U64), e);
    if (!code)
        code = infer_type(c, 1, index_types, e);
    if (!code && x->type != updates->type)
        code = infer_fail(c, e, "updates of type %s for %s", dtype_name(updates->type),
                          dtype_name(x->type));
    if (!code && c->opset >= 16)
        code = infer_attribute_name(c, "reduction", reductions, REPLACE, &c->node->a.mode, e);
    return code ? code : infer_output(c, 0, x->type, &x->shape, e);
}

static int fail_scatter(const struct infer_context *c, struct error *e)
{
    char s[96], t[96], u[96];
    return infer_fail(c, e, "indices %s and updates %s do not fit %s",
                      shape_text(&infer_input(c, 1)->shape, s, sizeof s),
                      shape_text(&infer_input(c, 2)->shape, t, sizeof t),
                      shape_text(&infer_input(c, 0)->shape, u, sizeof u));
}

static int infer_scatter_nd(const struct infer_context *c, struct error *e)
{
    const struct shape *x = &infer_input(c, 0)->shape, *at = &infer_input(c, 1)->shape;
    const struct shape *updates = &infer_input(c, 2)->shape;
    if (at->rank < 1 || at->dims[at->rank - 1] < 1 || at->dims[at->rank - 1] > x->rank)
        return fail_scatter(c, e);
    int tuple = (int)at->dims[at->rank - 1], lead = at->rank - 1;
    int fits = updates->rank == lead + x->rank - tuple;
    for (int i = 0; i < updates->rank && fits; i++)
        fits = updates->dims[i] == (i < lead ? at->dims[i] : x->dims[tuple + i - lead]);
    return fits ? infer_scatter(c, TYPE_BIT(DTYPE_I64), e) : fail_scatter(c, e);
}

static int run_scatter_nd(const struct node *n, const struct tensor *in, struct tensor *out,
                          struct error *e)
{
    const struct shape *x = &in[0].shape, *at = &in[1].shape;
    int64_t tuple = at->dims[at->rank - 1], each = product(x, (int)tuple, x->rank);
    int64_t total = product(at, 0, at->rank - 1);
    copy_elements(out, 0, &in[0], 0, shape_elements(x));
    for (int64_t i = 0; i < total; i++) {
        int64_t to = 0;
        int code = tuple_offset(&in[1], i, tuple, x, 0, &to, e);
        if (code)
            return code;
        for (int64_t k = 0; k < each; k++)
            put(out, to + k, &in[2], i * each + k, n->a.mode);
    }
    return 0;
}

static int infer_scatter_elements(const struct infer_context *c, struct error *e)
{
    const struct shape *x = &infer_input(c, 0)->shape, *at = &infer_input(c, 1)->shape;
    int64_t axis;
    int code = infer_attribute_int(c, "axis", 0, &axis, e);
    if (!code)
        code = infer_axis(c, "attribute 'axis'", axis, x->rank, &c->node->a.axis, e);
    if (code)
        return code;
    int fits = at->rank == x->rank && shape_equal(at, &infer_input(c, 2)->shape);
    for (int i = 0; i < x->rank && fits; i++)
        fits = i == c->node->a.axis || at->dims[i] <= x->dims[i];
    return fits ? infer_scatter(c, TYPES_INDEX, e) : fail_scatter(c, e);
}

static int run_scatter_elements(const struct node *n, const struct tensor *in, struct tensor *out,
                                struct error *e)
{
    const struct shape *x = &in[0].shape, *at = &in[1].shape;
    int64_t strides[RANK_MAX], total = shape_elements(at);
    shape_strides(x, strides);
    copy_elements(out, 0, &in[0], 0, shape_elements(x));
    for (int64_t i = 0; i < total; i++) {
        int64_t rest = i, to = 0, index;
        int code = read_index(&in[1], i, x->dims[n->a.axis], &index, e);
        if (code)
            return code;
        for (int d = at->rank - 1; d >= 0; d--) {
            to += (d == n->a.axis ? index : rest % at->dims[d]) * strides[d];
            rest /= at->dims[d];
        }
        put(out, to, &in[2], i, n->a.mode);
    }
    return 0;
}

/* OneHot: indices, depth, values (off, on). */
static int infer_one_hot(const struct infer_context *c, struct error *e)
{
    const struct value *at = infer_input(c, 0), *depth = infer_input(c, 1),
                       *values = infer_input(c, 2);
    double size;
    int64_t axis;
    int code = infer_type(c, 0, TYPES_NUMBER, e);
    if (!code)
        code = infer_type(c, 1, TYPES_NUMBER, e);
    if (!code)
        code = infer_type(c, 2, TYPES_ANY, e);
    if (!code)
        code = infer_attribute_int(c, "axis", -1, &axis, e);
    if (!code)
        code = infer_axis(c, "attribute 'axis'", axis, at->shape.rank + 1, &c->node->a.axis, e);
    if (code)
        return code;
    if (!depth->constant || shape_elements(&depth->shape) != 1)
        return infer_unsupported(c, e, "input 'depth' is not one number known at load");
    load_real(depth->type, depth->constant, 0, 1, 1, &size);
    if (!(size >= 0 && size < 1e15) || shape_elements(&values->shape) != 2 ||
        at->shape.rank == RANK_MAX)
        return infer_fail(c, e, "a depth of %g, or values that are not two", size);
    struct shape out = {.rank = at->shape.rank + 1};
    for (int i = 0, from = 0; i < out.rank; i++)
        out.dims[i] = i == c->node->a.axis ? (int64_t)size : at->shape.dims[from++];
    return infer_output(c, 0, values->type, &out, e);
}

static int run_one_hot(const struct node *n, const struct tensor *in, struct tensor *out,
                       struct error *e)
{
    (void)e;
    int64_t depth = out->shape.dims[n->a.axis];
    int64_t inner = product(&out->shape, (int)n->a.axis + 1, out->shape.rank);
    int64_t total = shape_elements(&out->shape);
    for (int64_t i = 0; i < total; i++) {
        double index;
        int64_t position = i / inner % depth;
        load_real(in[0].type, in[0].data, i / inner / depth * inner + i % inner, 1, 1, &index);
        index = trunc(index);
        copy_elements(out, i, &in[2], (double)position == (index < 0 ? index + (double)depth : index),
                      1);
    }
    return 0;
}

/* Trilu: a.mode is upper; the diagonal may be an input of run time. */
static int infer_trilu(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0), *k = infer_input(c, 1);
    int64_t upper;
    int code = infer_type(c, 0, TYPES_ANY, e);
    if (!code)
        code = infer_type(c, 1, TYPE_BIT(DTYPE_I64), e);
    if (!code)
        code = infer_attribute_int(c, "upper", 1, &upper, e);
    if (!code && (x->shape.rank < 2 || (k && shape_elements(&k->shape) != 1)))
        code = infer_fail(c, e, "not a matrix, or a diagonal that is not one number");
    c->node->a.mode = !code && upper;
    return code ? code : infer_output(c, 0, x->type, &x->shape, e);
}

static int run_trilu(const struct node *n, const struct tensor *in, struct tensor *out,
                     struct error *e)
{
    (void)e;
    int64_t columns = in->shape.dims[in->shape.rank - 1], rows = in->shape.dims[in->shape.rank - 2];
    int64_t total = shape_elements(&in->shape), k = in[1].data ? *(const int64_t *)in[1].data : 0;
    size_t size = dtype_size(in->type);
    k = k < -rows ? -rows : k > columns ? columns : k;
    copy_elements(out, 0, in, 0, total);
    for (int64_t i = 0; i < total; i++) {
        int64_t row = i / columns % rows, column = i % columns;
        if (n->a.mode ? column < row + k : column > row + k)
            memset(element(out, i), 0, size);
    }
    return 0;
}

/* CumSum: the axis is an input; a.mode is exclusive, a.keepdims reverse. */
static int infer_cum_sum(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    struct attributes *a = &c->node->a;
    int64_t exclusive, reverse, axis;
    size_t count;
    int code = infer_type(c, 0, TYPES_NUMBER, e);
    if (!code)
        code = infer_attribute_int(c, "exclusive", 0, &exclusive, e);
    if (!code)
        code = infer_attribute_int(c, "reverse", 0, &reverse, e);
    if (!code)
        code = infer_constant_ints(c, 1, "axis", &axis, 1, &count, e);
    if (!code && count != 1)
        code = infer_fail(c, e, "input 'axis' is empty");
    if (!code)
        code = infer_axis(c, "axis", axis, x->shape.rank, &a->axis, e);
    if (code)
        return code;
    a->mode = exclusive != 0;
    a->keepdims = reverse != 0;
    return infer_output(c, 0, x->type, &x->shape, e);
}

static void sum_line(const struct node *n, const struct tensor *x, struct tensor *y, int64_t first,
                     int64_t size, int64_t stride)
{
    double sum = 0, value;
    int64_t whole = 0, integer = 0;
    int real = type_is_real(x->type);
    for (int64_t i = 0; i < size; i++) {
        int64_t at = first + (n->a.keepdims ? size - 1 - i : i) * stride;
        if (real)
            load_real(x->type, x->data, at, 1, 1, &value);
        else
            load_int(x->type, x->data, at, 1, 1, &integer);
        double sum_before = sum;
        int64_t whole_before = whole;
        sum = real ? sum + value : 0;
        whole = (int64_t)((uint64_t)whole + (uint64_t)integer);
        if (real)
            store_real(y->type, y->data, at, 1, n->a.mode ? &sum_before : &sum);
        else
            store_int(y->type, y->data, at, 1, n->a.mode ? &whole_before : &whole);
    }
}

static int run_cum_sum(const struct node *n, const struct tensor *in, struct tensor *out,
                       struct error *e)
{
    (void)e;
    int64_t size = in->shape.dims[n->a.axis];
    int64_t inner = product(&in->shape, (int)n->a.axis + 1, in->shape.rank);
    int64_t lines = size ? shape_elements(&in->shape) / size : 0;
    for (int64_t i = 0; i < lines; i++)
        sum_line(n, in, out, i / inner * inner * size + i % inner, size, inner);
    return 0;
}

/* TopK: a.mode is largest. k is an input since opset 10. */
static int infer_top_k(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    struct attributes *a = &c->node->a;
    int64_t axis, k, largest = 1, sorted = 1;
    size_t count = 1;
    int code = infer_type(c, 0, TYPES_NUMBER & ~TYPE_BIT(DTYPE_U64), e);
    if (!code)
        code = infer_attribute_int(c, "axis", -1, &axis, e);
    if (!code && c->opset >= 11)
        code = infer_attribute_int(c, "largest", 1, &largest, e);
    if (!code && c->opset >= 11)
        code = infer_attribute_int(c, "sorted", 1, &sorted, e);
    if (!code)
        code = c->opset < 10 ? infer_attribute_int(c, "k", -1, &k, e)
                             : infer_constant_ints(c, 1, "K", &k, 1, &count, e);
    if (!code)
        code = infer_axis(c, "attribute 'axis'", axis, x->shape.rank, &a->axis, e);
    if (!code && (count != 1 || k < 0 || k > x->shape.dims[a->axis]))
        code = infer_fail(c, e, "k is not between 0 and the axis' size");
    if (code)
        return code;
    a->mode = largest != 0;
    struct shape out = x->shape;
    out.dims[a->axis] = k;
    code = infer_output(c, 0, x->type, &out, e);
    return code ? code : infer_output(c, 1, DTYPE_I64, &out, e);
}

/* a stands before b: larger (or smaller), and among equals the one with the lower index. */
static int before(double a, int64_t i, double b, int64_t j, int largest)
{
    if (a == b || (isnan(a) && isnan(b)))
        return i < j;
    if (isnan(a) || isnan(b))
        return isnan(a) == largest;
    return largest ? a > b : a < b;
}

/* The next best after the one before, k times: no memory is needed. */
static void top_line(const struct node *n, const struct tensor *x, struct tensor *out,
                     int64_t first, int64_t size, int64_t to, int64_t k, int64_t stride)
{
    double last = 0, value;
    int64_t last_index = -1;
    for (int64_t r = 0; r < k; r++) {
        int64_t best_index = -1;
        double best = 0;
        for (int64_t i = 0; i < size; i++) {
            load_real(x->type, x->data, first + i * stride, 1, 1, &value);
            if (last_index >= 0 && !before(last, last_index, value, i, n->a.mode))
                continue;
            if (best_index < 0 || before(value, i, best, best_index, n->a.mode)) {
                best = value;
                best_index = i;
            }
        }
        last = best;
        last_index = best_index;
        if (out[0].data)
            copy_elements(&out[0], to + r * stride, x, first + best_index * stride, 1);
        if (out[1].data)
            ((int64_t *)out[1].data)[to + r * stride] = best_index;
    }
}

static int run_top_k(const struct node *n, const struct tensor *in, struct tensor *out,
                     struct error *e)
{
    (void)e;
    const struct shape *y = out[0].data ? &out[0].shape : &out[1].shape;
    int64_t size = in->shape.dims[n->a.axis], k = y->dims[n->a.axis];
    int64_t inner = product(&in->shape, (int)n->a.axis + 1, in->shape.rank);
    int64_t lines = size ? shape_elements(&in->shape) / size : 0;
    for (int64_t i = 0; i < lines; i++) {
        int64_t row = i / inner, column = i % inner;
        top_line(n, in, out, row * inner * size + column, size, row * inner * k + column, k, inner);
    }
    return 0;
}

static const struct op ops[] = {
    {OP_SINCE(11, 99, "GatherND", 2, 2, 1, infer_gather_nd, run_gather_nd)},
    {OP_SINCE(11, 99, "ScatterND", 3, 3, 1, infer_scatter_nd, run_scatter_nd)},
    {OP_SINCE(11, 99, "ScatterElements", 3, 3, 1, infer_scatter_elements, run_scatter_elements)},
    {OP_SINCE(9, 10, "Scatter", 3, 3, 1, infer_scatter_elements, run_scatter_elements)},
    {OP_SINCE(9, 99, "OneHot", 3, 3, 1, infer_one_hot, run_one_hot)},
    {OP_SINCE(14, 99, "Trilu", 1, 2, 1, infer_trilu, run_trilu)},
    {OP_SINCE(11, 99, "CumSum", 2, 2, 1, infer_cum_sum, run_cum_sum)},
    {OP_SINCE(1, 9, "TopK", 1, 1, 2, infer_top_k, run_top_k), .heavy = 1},
    {OP_SINCE(10, 99, "TopK", 2, 2, 2, infer_top_k, run_top_k), .heavy = 1},
};
const struct op_family family_scatter = OP_FAMILY(ops);
