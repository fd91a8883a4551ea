/* Operators that only move elements: each is one or more walks over strides. */
#include "engine/ops/ops.h"

#include <inttypes.h>
#include <string.h>

static int infer_transpose(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    struct attributes *a = &c->node->a;
    struct shape out = {.rank = x->shape.rank};
    const int64_t *perm;
    size_t count, rank = (size_t)out.rank;
    unsigned seen = 0;
    int code = infer_type(c, 0, TYPES_ANY, e);
    if (!code)
        code = infer_attribute_ints(c, "perm", rank, rank, &perm, &count, e);
    if (code)
        return code;
    a->axis_count = out.rank;
    for (int i = 0; i < out.rank; i++) {
        int64_t from = perm ? perm[i] : out.rank - 1 - i;
        if (from < 0 || from >= out.rank || (seen >> from & 1))
            return infer_fail(c, e, "attribute 'perm' is not a permutation of %d axes", out.rank);
        seen |= 1u << from;
        a->axes[i] = from;
        out.dims[i] = x->shape.dims[from];
    }
    return infer_output(c, 0, x->type, &out, e);
}

static int run_transpose(const struct node *n, const struct tensor *in, struct tensor *out,
                         struct error *e)
{
    (void)e;
    int64_t strides[RANK_MAX];
    struct walk w;
    shape_strides(&in->shape, strides);
    walk_init(&w, &out->shape);
    walk_operand(&w, &out->shape);
    w.operands = 2;
    for (int i = 0; i < out->shape.rank; i++)
        w.strides[1][i] = strides[n->a.axes[i]];
    copy_walk(&w, out->data, in->data, dtype_size(in->type));
    return 0;
}

static int infer_concat(const struct infer_context *c, struct error *e)
{
    const struct value *first = infer_input(c, 0);
    struct attributes *a = &c->node->a;
    struct shape out = first->shape;
    int64_t axis;
    if (!infer_attribute(c, "axis"))
        return infer_fail(c, e, "attribute 'axis' is missing");
    int code = infer_type(c, 0, TYPES_ANY, e);
    if (!code)
        code = infer_attribute_int(c, "axis", 0, &axis, e);
    if (!code)
        code = infer_axis(c, "attribute 'axis'", axis, first->shape.rank, &a->axis, e);
    for (int i = 1; i < c->node->input_count && !code; i++) {
        const struct value *v = infer_input(c, i);
        struct shape other = v ? v->shape : (struct shape){.rank = -1};
        int64_t along = other.dims[a->axis];
        other.dims[a->axis] = first->shape.dims[a->axis];
        char s[96], t[96];
        if (!v || v->type != first->type)
            code = infer_fail(c, e, "input %d is missing or of another type than the first", i);
        else if (!shape_equal(&other, &first->shape))
            code = infer_fail(c, e, "shapes %s and %s do not line up along axis %" PRId64,
                              shape_text(&first->shape, s, sizeof s),
                              shape_text(&v->shape, t, sizeof t), a->axis);
        else if (__builtin_add_overflow(out.dims[a->axis], along, &out.dims[a->axis]))
            code = infer_fail(c, e, "the output is too large");
    }
    return code ? code : infer_output(c, 0, first->type, &out, e);
}

/* Walks over `part`, which lies in `whole` from `at` on along the axis; part is operand 1 - place. */
static void walk_part(struct walk *w, const struct shape *whole, const struct shape *part,
                      int64_t axis, int64_t at, int place)
{
    int64_t strides[RANK_MAX];
    shape_strides(whole, strides);
    walk_init(w, part);
    w->operands = 2;
    shape_strides(part, w->strides[1 - place]);
    memcpy(w->strides[place], strides, sizeof strides);
    w->offset[place] = at * strides[axis];
}

static int run_concat(const struct node *n, const struct tensor *in, struct tensor *out,
                      struct error *e)
{
    (void)e;
    int64_t at = 0;
    for (int i = 0; i < n->input_count; i++) {
        struct walk w;
        walk_part(&w, &out->shape, &in[i].shape, n->a.axis, at, 0);
        copy_walk(&w, out->data, in[i].data, dtype_size(out->type));
        at += in[i].shape.dims[n->a.axis];
    }
    return 0;
}

/* The sizes as given: attribute before opset 13, input since; or equal parts. */
static int split_sizes(const struct infer_context *c, int64_t total, int64_t *sizes,
                       struct error *e)
{
    size_t count = 0, parts = (size_t)c->node->output_count;
    const int64_t *given = NULL;
    int64_t wanted;
    int code = c->opset < 13 ? infer_attribute_ints(c, "split", parts, parts, &given, &count, e) : 0;
    if (given)
        memcpy(sizes, given, parts * sizeof *sizes);
    if (!code && c->opset >= 13 && infer_input(c, 1))
        code = infer_constant_ints(c, 1, "split", sizes, NODE_OUTPUT_MAX, &count, e);
    if (!code && c->opset >= 18)
        code = infer_attribute_int(c, "num_outputs", (int64_t)parts, &wanted, e);
    else
        wanted = (int64_t)parts;
    if (code)
        return code;
    if (wanted != (int64_t)parts || (count && count != parts))
        return infer_fail(c, e, "%zu outputs for %zu parts", parts,
                          count ? count : (size_t)wanted);
    if (count)
        return 0;
    if (c->opset < 18 && total % wanted)
        return infer_fail(c, e, "%" PRId64 " is not divisible into %zu parts", total, parts);
    int64_t each = (total + wanted - 1) / wanted;
    for (size_t i = 0; i < parts; i++) {
        int64_t left = total - each * (int64_t)i;
        sizes[i] = left < 0 ? 0 : left < each ? left : each;
    }
    return 0;
}

static int infer_split(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    struct attributes *a = &c->node->a;
    int64_t axis, sizes[NODE_OUTPUT_MAX] = {0}, left = 0;
    int code = infer_type(c, 0, TYPES_ANY, e);
    if (!code)
        code = infer_attribute_int(c, "axis", 0, &axis, e);
    if (!code)
        code = infer_axis(c, "attribute 'axis'", axis, x->shape.rank, &a->axis, e);
    if (!code)
        code = split_sizes(c, left = x->shape.dims[a->axis], sizes, e);
    struct shape out = x->shape;
    for (int i = 0; i < c->node->output_count && !code; i++) {
        if (sizes[i] < 0 || sizes[i] > left)
            return infer_fail(c, e, "part %d of size %" PRId64 " does not fit", i, sizes[i]);
        left -= sizes[i];
        out.dims[a->axis] = sizes[i];
        if (c->node->outputs[i] == NO_VALUE)
            return infer_unsupported(c, e, "output %d left out", i);
        code = infer_output(c, i, x->type, &out, e);
    }
    return !code && left ? infer_fail(c, e, "the parts leave %" PRId64 " over", left) : code;
}

static int run_split(const struct node *n, const struct tensor *in, struct tensor *out,
                     struct error *e)
{
    (void)e;
    int64_t at = 0;
    for (int i = 0; i < n->output_count; i++) {
        struct walk w;
        walk_part(&w, &in->shape, &out[i].shape, n->a.axis, at, 1);
        copy_walk(&w, out[i].data, in->data, dtype_size(in->type));
        at += out[i].shape.dims[n->a.axis];
    }
    return 0;
}

struct bounds {
    int64_t starts[RANK_MAX], ends[RANK_MAX], axes[RANK_MAX], steps[RANK_MAX];
    size_t count;
};

/* One list of a Slice: attribute before opset 10, input since. */
static int read_list(const struct infer_context *c, const char *name, int input, int64_t *list,
                     size_t *count, struct error *e)
{
    if (c->opset >= 10) {
        *count = 0;
        return infer_input(c, input) ? infer_constant_ints(c, input, name, list, RANK_MAX, count, e)
                                     : 0;
    }
    const int64_t *given;
    int code = infer_attribute_ints(c, name, 0, RANK_MAX, &given, count, e);
    if (!code && given)
        memcpy(list, given, *count * sizeof *list);
    return code;
}

static int read_bounds(const struct infer_context *c, struct bounds *b, struct error *e)
{
    size_t ends, axes, steps = 0;
    int code = read_list(c, "starts", 1, b->starts, &b->count, e);
    if (!code)
        code = read_list(c, "ends", 2, b->ends, &ends, e);
    if (!code)
        code = read_list(c, "axes", 3, b->axes, &axes, e);
    if (!code && c->opset >= 10)
        code = read_list(c, "steps", 4, b->steps, &steps, e);
    if (code)
        return code;
    if (ends != b->count || (axes && axes != b->count) || (steps && steps != b->count))
        return infer_fail(c, e, "%zu starts, %zu ends, %zu axes, %zu steps", b->count, ends, axes,
                          steps);
    for (size_t i = 0; i < b->count; i++) {
        b->axes[i] = axes ? b->axes[i] : (int64_t)i;
        b->steps[i] = steps ? b->steps[i] : 1;
    }
    return 0;
}

static int64_t limit(int64_t index, int64_t size, int64_t low, int64_t high)
{
    index = index < 0 ? index + size : index;
    return index < low ? low : index > high ? high : index;
}

/* Elements of start, start + step, ... before end; INT64_MIN has no negative to count with. */
static int64_t slice_count(int64_t start, int64_t end, int64_t step)
{
    int64_t span = step > 0 ? end - start : start - end;
    if (span <= 0)
        return 0;
    if (step == INT64_MIN)
        return 1;
    return (span - 1) / (step > 0 ? step : -step) + 1;
}

static int infer_slice(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    struct attributes *a = &c->node->a;
    struct shape out = x->shape;
    struct bounds b = {0};
    int code = infer_type(c, 0, TYPES_ANY, e);
    if (!code)
        code = read_bounds(c, &b, e);
    for (int i = 0; i < out.rank; i++) {
        a->starts[i] = 0;
        a->steps[i] = 1;
    }
    for (size_t i = 0; i < b.count && !code; i++) {
        int64_t axis = 0, step = b.steps[i];
        code = infer_axis(c, "axis", b.axes[i], out.rank, &axis, e);
        if (code)
            break;
        if (!step)
            return infer_fail(c, e, "a step of 0");
        int64_t size = x->shape.dims[axis];
        int64_t start = step > 0 ? limit(b.starts[i], size, 0, size)
                                 : limit(b.starts[i], size, 0, size - 1);
        int64_t end = step > 0 ? limit(b.ends[i], size, 0, size)
                               : limit(b.ends[i], size, -1, size - 1);
        out.dims[axis] = slice_count(start, end, step);
        a->starts[axis] = start;
        a->steps[axis] = out.dims[axis] > 1 ? step : 1;
    }
    return code ? code : infer_output(c, 0, x->type, &out, e);
}

static int run_slice(const struct node *n, const struct tensor *in, struct tensor *out,
                     struct error *e)
{
    (void)e;
    int64_t strides[RANK_MAX];
    struct walk w;
    if (shape_elements(&out->shape) == 0)
        return 0;
    shape_strides(&in->shape, strides);
    walk_init(&w, &out->shape);
    walk_operand(&w, &out->shape);
    w.operands = 2;
    for (int i = 0; i < out->shape.rank; i++) {
        w.strides[1][i] = strides[i] * n->a.steps[i];
        w.offset[1] += strides[i] * n->a.starts[i];
    }
    copy_walk(&w, out->data, in->data, dtype_size(in->type));
    return 0;
}

static int infer_expand(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    struct shape want = {0}, out = {0};
    size_t count;
    int code = infer_type(c, 0, TYPES_ANY, e);
    if (!code)
        code = infer_constant_ints(c, 1, "shape", want.dims, RANK_MAX, &count, e);
    if (code)
        return code;
    want.rank = (int)count;
    out.rank = want.rank > x->shape.rank ? want.rank : x->shape.rank;
    for (int i = 1; i <= out.rank; i++) {
        int64_t p = i <= want.rank ? want.dims[want.rank - i] : 1;
        int64_t q = i <= x->shape.rank ? x->shape.dims[x->shape.rank - i] : 1;
        if (p < 0 || (p != q && p != 1 && q != 1)) {
            char s[96], t[96];
            return infer_fail(c, e, "shape %s does not expand to %s",
                              shape_text(&x->shape, s, sizeof s), shape_text(&want, t, sizeof t));
        }
        out.dims[out.rank - i] = p == 1 ? q : p;
    }
    return infer_output(c, 0, x->type, &out, e);
}

static int run_expand(const struct node *n, const struct tensor *in, struct tensor *out,
                      struct error *e)
{
    (void)n, (void)e;
    struct walk w;
    walk_init(&w, &out->shape);
    walk_operand(&w, &out->shape);
    walk_operand(&w, &in->shape);
    copy_walk(&w, out->data, in->data, dtype_size(in->type));
    return 0;
}

static int infer_tile(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0);
    struct shape out = x->shape;
    int64_t repeats[RANK_MAX];
    size_t count;
    int code = infer_type(c, 0, TYPES_ANY, e);
    if (!code)
        code = infer_constant_ints(c, 1, "repeats", repeats, RANK_MAX, &count, e);
    if (!code && count != (size_t)out.rank)
        code = infer_fail(c, e, "%zu repeats for a tensor of rank %d", count, out.rank);
    for (int i = 0; i < out.rank && !code; i++)
        if (repeats[i] < 0 || __builtin_mul_overflow(out.dims[i], repeats[i], &out.dims[i]))
            code = infer_fail(c, e, "repeats of %" PRId64, repeats[i]);
    return code ? code : infer_output(c, 0, x->type, &out, e);
}

static int run_tile(const struct node *n, const struct tensor *in, struct tensor *out,
                    struct error *e)
{
    (void)n, (void)e;
    int64_t x_strides[RANK_MAX], y_strides[RANK_MAX];
    struct walk w = {.rank = 2 * in->shape.rank, .operands = 2};
    if (shape_elements(&out->shape) == 0)
        return 0;
    shape_strides(&in->shape, x_strides);
    shape_strides(&out->shape, y_strides);
    for (int i = 0; i < in->shape.rank; i++) {
        w.dims[2 * i] = out->shape.dims[i] / in->shape.dims[i];
        w.dims[2 * i + 1] = in->shape.dims[i];
        w.strides[0][2 * i] = y_strides[i] * in->shape.dims[i];
        w.strides[0][2 * i + 1] = y_strides[i];
        w.strides[1][2 * i + 1] = x_strides[i];
    }
    copy_walk(&w, out->data, in->data, dtype_size(in->type));
    return 0;
}

/* DepthToSpace and SpaceToDepth: N, C, H, W with blocks of `axis` x `axis`; mode 1 is CRD. */
static int infer_blocks(const struct infer_context *c, int to_space, struct error *e)
{
    static const char *const modes[] = {"DCR", "CRD", NULL};
    const struct value *x = infer_input(c, 0);
    struct attributes *a = &c->node->a;
    struct shape out = x->shape;
    int code = infer_type(c, 0, TYPES_ANY, e);
    if (!code)
        code = infer_attribute_int(c, "blocksize", 0, &a->axis, e);
    if (!code && to_space)
        code = infer_attribute_name(c, "mode", modes, 0, &a->mode, e);
    if (code)
        return code;
    int64_t size = a->axis, area = 0;
    char s[96];
    int fits = out.rank == 4 && size >= 1 && size < 1 << 15;
    area = fits ? size * size : 1;
    if (!fits || (to_space ? out.dims[1] % area : out.dims[2] % size || out.dims[3] % size))
        return infer_fail(c, e, "shape %s with blocks of %" PRId64,
                          shape_text(&out, s, sizeof s), size);
    out.dims[1] = to_space ? out.dims[1] / area : out.dims[1] * area;
    for (int i = 2; i < 4; i++)
        out.dims[i] = to_space ? out.dims[i] * size : out.dims[i] / size;
    return infer_output(c, 0, x->type, &out, e);
}

static int infer_depth_to_space(const struct infer_context *c, struct error *e)
{
    return infer_blocks(c, 1, e);
}

static int infer_space_to_depth(const struct infer_context *c, struct error *e)
{
    return infer_blocks(c, 0, e);
}

/* Dimensions of the walk: N, C, block row, block column, H, W, of the small plane. */
static void run_blocks(const struct node *n, const struct tensor *deep, const struct tensor *wide,
                       int deep_operand, void *to, const void *from)
{
    int64_t size = n->a.axis, channels = wide->shape.dims[1];
    int64_t h = deep->shape.dims[2], w = deep->shape.dims[3], plane = h * w;
    int64_t channel = n->a.mode ? plane * size * size : plane;
    int64_t block = n->a.mode ? plane : plane * channels;
    struct walk walk = {
        .rank = 6, .operands = 2, .dims = {deep->shape.dims[0], channels, size, size, h, w}};
    const int64_t deep_strides[6] = {channels * size * size * plane, channel, block * size, block,
                                     w, 1};
    const int64_t wide_strides[6] = {channels * size * size * plane, size * size * plane, size * w,
                                     1, size * size * w, size};
    memcpy(walk.strides[deep_operand], deep_strides, sizeof deep_strides);
    memcpy(walk.strides[1 - deep_operand], wide_strides, sizeof wide_strides);
    copy_walk(&walk, to, from, dtype_size(deep->type));
}

static int run_depth_to_space(const struct node *n, const struct tensor *in, struct tensor *out,
                              struct error *e)
{
    (void)e;
    run_blocks(n, in, out, 1, out->data, in->data);
    return 0;
}

static int run_space_to_depth(const struct node *n, const struct tensor *in, struct tensor *out,
                              struct error *e)
{
    (void)e;
    run_blocks(n, out, in, 0, out->data, in->data);
    return 0;
}

static const struct op ops[] = {
    {OP("Transpose", 1, 1, 1, infer_transpose, run_transpose)},
    {OP("Concat", 1, NODE_INPUT_MAX, 1, infer_concat, run_concat)},
    {OP("Split", 1, 2, NODE_OUTPUT_MAX, infer_split, run_split)},
    {OP_SINCE(1, 9, "Slice", 1, 1, 1, infer_slice, run_slice)},
    {OP_SINCE(10, 99, "Slice", 3, 5, 1, infer_slice, run_slice)},
    {OP("Expand", 2, 2, 1, infer_expand, run_expand), .copy = OP_COPIES_SAME},
    {OP("Tile", 2, 2, 1, infer_tile, run_tile), .copy = OP_COPIES_SAME},
    {OP("DepthToSpace", 1, 1, 1, infer_depth_to_space, run_depth_to_space)},
    {OP("SpaceToDepth", 1, 1, 1, infer_space_to_depth, run_space_to_depth)},
};
const struct op_family family_move = OP_FAMILY(ops);
