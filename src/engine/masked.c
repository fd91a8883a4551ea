/* Assignments through a mask, x[mask] = v. In a file they are NonZero (where the mask is set), an
 * Expand of v to as many elements, and a ScatterND: shapes that depend on data, which a graph cannot
 * have. Such nodes are put off until it is known what becomes of them. A ScatterND that writes, at
 * the places where a mask of x's own shape is set, what depends on nothing but the place, is a Where
 * of that mask; whatever else uses them is refused.
 *
 * What proves that the two are equal: NonZero lists the places in row-major order, and ScatterND
 * demands as many updates as places. So wherever the file's nodes run at all, update k belongs to
 * the k-th place: one number for all, the same row for every place of a mask that is constant along
 * rows, or what GatherND took from the same places of a tensor of the same shape.
 */
#include "engine/build.h"
#include "engine/ops/ops.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 64 };

struct operand {
    int value;                 /* NO_VALUE: left out, or put off */
    struct deferred *deferred; /* NULL: a value */
};

struct deferred {
    struct onnx_node node; /* a copy; its input names may be out of reach when it is looked at */
    const char *name;
    const struct deferred *root; /* the first whose shape depends on data */
    struct operand *inputs;
    int depth;
    struct shape of; /* once it is worked out: for which target, and what this was before the */
    int mask, full;  /* mask chose from it (full_of) */
};

/* A ScatterND that may be a Where. */
struct target {
    struct shape shape; /* of what is written to */
    int mask;           /* value; of the target's first dimensions */
    int rank;           /* of the mask */
};

static const struct value *value_of(const struct build *b, int value)
{
    return &b->g->values[value];
}

static int is_op(const struct onnx_node *n, const char *name)
{
    return !*n->domain && !strcmp(n->op_type, name);
}

/* ---- putting off ---- */

static struct deferred *deferred_input(const struct build *b, const struct onnx_node *n)
{
    for (size_t i = 0; i < n->input_count; i++) {
        const struct name *found = *n->inputs[i] ? build_find(b, n->inputs[i]) : NULL;
        if (found && found->deferred)
            return found->deferred;
    }
    return NULL;
}

/* Input i is there, a value, and not known at load. */
static int at_run_time(const struct build *b, const struct onnx_node *n, size_t i)
{
    const struct name *found = i < n->input_count ? build_find(b, n->inputs[i]) : NULL;
    return found && found->value != NO_VALUE && !value_of(b, found->value)->constant;
}

static int begins(const struct build *b, const struct onnx_node *n)
{
    return (is_op(n, "NonZero") && at_run_time(b, n, 0)) ||
           (is_op(n, "Expand") && at_run_time(b, n, 1));
}

int masked_is(const struct build *b, const struct onnx_node *source)
{
    return begins(b, source) || deferred_input(b, source);
}

int masked_refuse(const struct deferred *d, struct error *e)
{
    return error_set(e, ERROR_UNSUPPORTED, "node '%.60s' (%.20s) makes a tensor whose shape depends "
                     "on data of run time; that is supported only where a mask chooses what an "
                     "assignment writes", d->root->name, d->root->node.op_type);
}

/* Sorted. The first few only rearrange or count; the others go element by element. */
static const char *const movers[] = {"Cast", "Concat", "Expand", "Gather", "GatherND", "NonZero",
                                     "Reshape", "Shape", "Slice", "Squeeze", "Transpose",
                                     "Unsqueeze"};
static const char *const elementwise[] = {
    "Abs", "Add", "Cast", "Ceil", "Clip", "Cos", "Div", "Elu", "Erf", "Exp", "Floor", "Gelu",
    "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Max", "Min", "Mul", "Neg", "Pow",
    "Reciprocal", "Relu", "Round", "Sigmoid", "Sin", "Softplus", "Sqrt", "Sub", "Tanh"};
#define COUNT(list) (sizeof(list) / sizeof *(list))

static int compare(const void *name, const void *entry)
{
    return strcmp(name, *(const char *const *)entry);
}

static int is_in(const struct onnx_node *n, const char *const *list, size_t count)
{
    return !*n->domain && bsearch(n->op_type, list, count, sizeof *list, compare);
}

static int read_operands(const struct build *b, const struct onnx_node *n, struct deferred *d)
{
    for (size_t i = 0; i < n->input_count; i++) {
        const struct name *found = *n->inputs[i] ? build_find(b, n->inputs[i]) : NULL;
        if (*n->inputs[i] && (!found || found->sequence))
            return -1;
        d->inputs[i] = (struct operand){found ? found->value : NO_VALUE,
                                        found ? found->deferred : NULL};
        const struct deferred *from = d->inputs[i].deferred;
        if (from && from->depth >= d->depth)
            d->depth = from->depth + 1;
        if (from && !d->root)
            d->root = from->root;
    }
    return d->depth > DEPTH_MAX ? -1 : 0;
}

static int put_off(struct build *b, const struct onnx_node *n, const char *name, struct error *e)
{
    int code = build_count(b, 1 + n->input_count / COPIES_PER_NODE, e);
    if (code)
        return code;
    struct deferred *d = arena_alloc(&b->g->arena, sizeof *d);
    struct operand *inputs = arena_array(&b->g->arena, n->input_count, sizeof *inputs);
    if (!d || !inputs)
        return error_memory(e);
    *d = (struct deferred){.node = *n, .name = name, .inputs = inputs, .full = NO_VALUE,
                           .mask = NO_VALUE};
    code = read_operands(b, n, d);
    if (!d->root)
        d->root = d;
    if (code || n->output_count != 1)
        return masked_refuse(d, e);
    return build_bind_name(b, &(struct name){n->outputs[0], NO_VALUE, NULL, d}, e);
}

/* ---- what was put off ---- */

/* The mask whose places these indices are: one row for each. NO_VALUE when they are not. */
static int mask_of(const struct deferred *d)
{
    const struct onnx_attribute *perm = d ? onnx_attribute_find(&d->node, "perm") : NULL;
    if (!d || !is_op(&d->node, "Transpose") || d->node.input_count != 1 ||
        (perm && (perm->type != ONNX_INTS || perm->count != 2 || perm->ints[0] != 1 ||
                  perm->ints[1] != 0)))
        return NO_VALUE;
    const struct deferred *places = d->inputs[0].deferred;
    return places && is_op(&places->node, "NonZero") ? places->inputs[0].value : NO_VALUE;
}

static int is_single(const struct build *b, int value)
{
    return value != NO_VALUE && shape_elements(&value_of(b, value)->shape) == 1;
}

/* Dimension i, counted from the end; 1 in front of the first. */
static int64_t dim_from_end(const struct shape *s, int i)
{
    return i < s->rank ? s->dims[s->rank - 1 - i] : 1;
}

/* The mask does not change along the target's last `rows` dimensions: there are none in it, or it
 * was expanded along them. */
static int is_constant_along(const struct build *b, const struct target *t, int rows)
{
    const struct value *mask = value_of(b, t->mask);
    const struct node *n = mask->producer >= 0 ? &b->g->nodes[mask->producer] : NULL;
    const struct shape *from = n && !strcmp(n->op->name, "Expand")
                                   ? &value_of(b, n->inputs[0])->shape : &mask->shape;
    int missing = t->shape.rank - t->rank;
    for (int i = missing; i < rows; i++)
        if (dim_from_end(from, i - missing) != 1)
            return 0;
    return 1;
}

/* The shape that an update was expanded to is one number and then the target's last dimensions:
 * their count, or -1. */
static int rows_of(const struct build *b, const struct target *t, int shape)
{
    const struct value *v = shape == NO_VALUE ? NULL : value_of(b, shape);
    const struct node *n = v && v->producer >= 0 ? &b->g->nodes[v->producer] : NULL;
    if (!n || strcmp(n->op->name, "Concat") || n->input_count != 2 || !is_single(b, n->inputs[0]))
        return -1;
    const struct value *rest = value_of(b, n->inputs[1]);
    int64_t rows = rest->shape.dims[0], size;
    if (!rest->constant || rest->shape.rank != 1 || rows >= t->shape.rank)
        return -1;
    for (int64_t i = 0; i < rows; i++) {
        load_int(rest->type, rest->constant, i, 1, 1, &size);
        if (size != dim_from_end(&t->shape, (int)(rows - 1 - i)))
            return -1;
    }
    return (int)rows;
}

/* v, expanded to [places, last dimensions...], is the same for all places. */
static int is_row(const struct build *b, const struct target *t, int v, int shape)
{
    const struct shape *s = &value_of(b, v)->shape;
    int rows = rows_of(b, t, shape);
    if (rows < t->shape.rank - t->rank || !is_constant_along(b, t, rows))
        return 0;
    for (int i = 0; i < s->rank; i++) {
        int64_t size = dim_from_end(s, i);
        if (size != 1 && (i >= rows || size != dim_from_end(&t->shape, i)))
            return 0;
    }
    return s->rank <= t->shape.rank;
}

static const char *fresh(struct build *b)
{
    return arena_format(&b->g->arena, "wattle.masked.%" PRId64, b->fresh++);
}

static int bind_fresh(struct build *b, int value, const char **name, struct error *e)
{
    *name = fresh(b);
    return *name ? build_bind(b, *name, value, NULL, e) : error_memory(e);
}

static int full_of(struct build *b, const struct target *t, struct deferred *d, int *full,
                   struct error *e);

/* The operands of an operation on all elements in place of the chosen ones; *fits is cleared when
 * one is not known for all. */
static int widen_operands(struct build *b, const struct target *t, const struct deferred *d,
                          const char **names, int *fits, struct error *e)
{
    int code = 0;
    for (size_t i = 0; i < d->node.input_count && !code && *fits; i++) {
        const struct operand *in = &d->inputs[i];
        int value = in->value, left_out = value == NO_VALUE && !in->deferred;
        names[i] = "";
        if (in->deferred)
            code = full_of(b, t, in->deferred, &value, e);
        if (code || left_out)
            continue;
        *fits = value != NO_VALUE && value_of(b, value)->shape.rank <= t->shape.rank &&
                (in->deferred || (is_single(b, value) && value_of(b, value)->shape.rank <= 1));
        if (*fits)
            code = bind_fresh(b, value, &names[i], e);
    }
    return code;
}

/* An operation on chosen elements is the choice from the operation on all of them. */
static int widen(struct build *b, const struct target *t, const struct deferred *d, int *full,
                 struct error *e)
{
    const struct onnx_node *n = &d->node;
    const char *names[NODE_INPUT_MAX], *output = fresh(b);
    int fits = n->input_count <= NODE_INPUT_MAX && t->rank == t->shape.rank;
    int code = !output ? error_memory(e) : fits ? widen_operands(b, t, d, names, &fits, e) : 0;
    if (code || !fits)
        return code;
    code = build_make_node(b, n->op_type, names, n->input_count, output, n->attributes,
                           n->attribute_count, e);
    if (!code)
        *full = build_find(b, output)->value;
    return code;
}

/* The value from whose elements, at the mask's places, the updates come, or one that broadcasts to
 * it. NO_VALUE (and no error) when that is not proven. */
static int make_full(struct build *b, const struct target *t, struct deferred *d, int *full,
                     struct error *e)
{
    const struct operand *in = d->inputs;
    size_t count = d->node.input_count;
    const struct onnx_attribute *batch = onnx_attribute_find(&d->node, "batch_dims");
    if (is_op(&d->node, "GatherND") && count == 2) {
        if (in[0].value != NO_VALUE && mask_of(in[1].deferred) == t->mask &&
            (!batch || (batch->type == ONNX_INT && !batch->i)) &&
            shape_equal(&value_of(b, in[0].value)->shape, &t->shape))
            *full = in[0].value;
        return 0;
    }
    if (is_op(&d->node, "Expand") && count == 2 && in[0].value != NO_VALUE) {
        int shape = in[1].deferred ? NO_VALUE : in[1].value;
        if (is_single(b, in[0].value) || is_row(b, t, in[0].value, shape))
            *full = in[0].value;
        return 0;
    }
    /* What is left as it is in row-major order; expanded, a list of as many updates as places can
     * only stay what it is. */
    if ((is_op(&d->node, "Reshape") || is_op(&d->node, "Squeeze") || is_op(&d->node, "Unsqueeze") ||
         (is_op(&d->node, "Expand") && t->rank == t->shape.rank)) && count >= 1 && in[0].deferred)
        return full_of(b, t, in[0].deferred, full, e);
    return is_in(&d->node, elementwise, COUNT(elementwise)) ? widen(b, t, d, full, e) : 0;
}

/* Worked out once: nodes put off may share what they are made of. */
static int full_of(struct build *b, const struct target *t, struct deferred *d, int *full,
                   struct error *e)
{
    if (d->mask != t->mask || !shape_equal(&d->of, &t->shape)) {
        int made = NO_VALUE, code = make_full(b, t, d, &made, e);
        if (code)
            return code;
        d->of = t->shape;
        d->mask = t->mask;
        d->full = made;
    }
    *full = d->full;
    return 0;
}

/* ---- the assignment ---- */

static int find_target(const struct build *b, const struct onnx_node *n, struct target *t,
                       struct deferred **updates)
{
    const struct name *in[3];
    const struct onnx_attribute *reduction = onnx_attribute_find(n, "reduction");
    if (n->input_count != 3 || n->output_count != 1 || n->attribute_count != (reduction != NULL) ||
        (reduction && (reduction->type != ONNX_STRING || strcmp(reduction->s, "none") != 0)))
        return 0;
    for (int i = 0; i < 3; i++)
        if (!*n->inputs[i] || !(in[i] = build_find(b, n->inputs[i])))
            return 0;
    int mask = in[1]->deferred ? mask_of(in[1]->deferred) : NO_VALUE;
    if (in[0]->value == NO_VALUE || mask == NO_VALUE || !in[2]->deferred)
        return 0;
    const struct value *m = value_of(b, mask);
    *t = (struct target){value_of(b, in[0]->value)->shape, mask, m->shape.rank};
    *updates = in[2]->deferred;
    for (int i = 0; i < t->rank; i++)
        if (t->rank > t->shape.rank || m->shape.dims[i] != t->shape.dims[i])
            return 0;
    return m->type == DTYPE_BOOL && t->rank > 0;
}

/* The mask with a dimension of 1 for each of the target's that it lacks. */
static int spread_mask(struct build *b, const struct target *t, const char **name, struct error *e)
{
    struct shape shape = {.rank = t->shape.rank};
    int64_t *dims = arena_array(&b->g->arena, RANK_MAX, sizeof *dims);
    const char *in[2], *out = fresh(b);
    int code = bind_fresh(b, t->mask, &in[0], e);
    *name = in[0];
    if (code || t->rank == t->shape.rank)
        return code;
    in[1] = fresh(b);
    if (!dims || !out || !in[1])
        return error_memory(e);
    for (int i = 0; i < shape.rank; i++)
        dims[i] = i < t->rank ? t->shape.dims[i] : 1;
    *name = out;
    code = build_add_constant(b, in[1], &(struct tensor){DTYPE_I64, {1, {shape.rank}}, dims}, e);
    return code ? code : build_make_node(b, "Reshape", in, 2, out, NULL, 0, e);
}

static int add_where(struct build *b, const struct onnx_node *n, const struct target *t, int full,
                     struct error *e)
{
    const char *in[3] = {NULL, NULL, n->inputs[0]};
    int code = spread_mask(b, t, &in[0], e);
    if (!code)
        code = bind_fresh(b, full, &in[1], e);
    return code ? code : build_make_node(b, "Where", in, 3, n->outputs[0], NULL, 0, e);
}

int masked_add(struct build *b, const struct onnx_node *source, const char *name, struct error *e)
{
    struct target t;
    struct deferred *updates = NULL, *cause = deferred_input(b, source);
    int full = NO_VALUE;
    if (is_op(source, "ScatterND") && find_target(b, source, &t, &updates)) {
        int code = full_of(b, &t, updates, &full, e);
        if (code)
            return code;
        if (full != NO_VALUE && value_of(b, full)->shape.rank <= t.shape.rank)
            return add_where(b, source, &t, full, e);
    }
    if (!cause || is_in(source, movers, COUNT(movers)) ||
        is_in(source, elementwise, COUNT(elementwise)))
        return put_off(b, source, name, e);
    return masked_refuse(cause, e);
}
