#include "engine/passes/passes.h"
#include "engine/activation.h"
#include "engine/ops/ops.h"

#include <math.h>
#include <string.h>

int match_is(const struct graph *g, int node, const char *name)
{
    const struct node *n = &g->nodes[node];
    return !n->dead && !*n->op->domain && !strcmp(n->op->name, name);
}

int match_producer(const struct graph *g, int value, const char *name)
{
    if (value == NO_VALUE || g->values[value].producer < 0)
        return -1;
    int node = g->values[value].producer;
    return match_is(g, node, name) && g->nodes[node].outputs[0] == value ? node : -1;
}

int match_inner(const struct graph *g, int value, const char *name)
{
    if (value == NO_VALUE || graph_single_user(g, value) < 0)
        return -1;
    return match_producer(g, value, name);
}

int match_user(const struct graph *g, int node, const char *name)
{
    int user = graph_single_user(g, g->nodes[node].outputs[0]);
    return user >= 0 && match_is(g, user, name) ? user : -1;
}

int match_other(const struct graph *g, int node, int value)
{
    const struct node *n = &g->nodes[node];
    if (n->input_count != 2 || (n->inputs[0] == value) == (n->inputs[1] == value))
        return NO_VALUE;
    return n->inputs[n->inputs[0] == value];
}

int match_is_f32(const struct graph *g, int value)
{
    return value != NO_VALUE && g->values[value].type == DTYPE_F32;
}

const float *match_f32(const struct graph *g, int value)
{
    return match_is_f32(g, value) ? g->values[value].constant : NULL;
}

int match_scalar(const struct graph *g, int value, double *out)
{
    const float *data = match_f32(g, value);
    if (!data || shape_elements(&g->values[value].shape) != 1)
        return -1;
    *out = (double)*data;
    return 0;
}

int match_with_scalar(const struct graph *g, int node, int commutes, double *scalar, int *other)
{
    const struct node *n = &g->nodes[node];
    for (int i = 1; i >= !commutes; i--) {
        int value = n->inputs[1 - i];
        /* A scalar of a higher rank than the other input would change the output's shape. */
        if (n->input_count == 2 && !match_scalar(g, n->inputs[i], scalar) &&
            shape_equal(&g->values[value].shape, &g->values[n->outputs[0]].shape)) {
            *other = value;
            return 0;
        }
    }
    return -1;
}

int match_near(double a, double b)
{
    return fabs(a - b) <= 1e-5 * fabs(b);
}

/* Exponents come as integers too. */
static int match_exponent(const struct graph *g, int value, double *out)
{
    const struct value *v = value == NO_VALUE ? NULL : &g->values[value];
    if (!v || !v->constant || shape_elements(&v->shape) != 1 ||
        (!type_is_real(v->type) && v->type != DTYPE_I64 && v->type != DTYPE_I32))
        return -1;
    load_real(v->type, v->constant, 0, 1, 1, out);
    return 0;
}

int match_power(const struct graph *g, int value, double exponent)
{
    double is;
    int node = match_inner(g, value, "Pow");
    return node >= 0 && !match_exponent(g, g->nodes[node].inputs[1], &is) && is == exponent
               ? g->nodes[node].inputs[0] : -1;
}

int match_square(const struct graph *g, int value)
{
    int node = match_inner(g, value, "Mul");
    return node >= 0 && g->nodes[node].inputs[0] == g->nodes[node].inputs[1]
               ? g->nodes[node].inputs[0] : match_power(g, value, 2);
}

int match_slice(const struct graph *g, int node)
{
    const struct node *n = &g->nodes[node];
    int in_order = match_is(g, node, "Slice");
    for (int i = 0; in_order && i < g->values[n->inputs[0]].shape.rank; i++)
        in_order = n->a.steps[i] == 1;
    return in_order;
}

int match_last_mean(const struct graph *g, int node)
{
    if (node < 0)
        return 0;
    const struct node *n = &g->nodes[node];
    return n->a.keepdims && n->a.axis_count == 1 &&
           n->a.axes[0] == g->values[n->inputs[0]].shape.rank - 1;
}

int match_row(struct graph *g, int value, int x)
{
    const float *data = match_f32(g, value);
    const struct shape *s = &g->values[x].shape;
    if (!data || s->rank < 1)
        return -1;
    const struct value v = g->values[value];
    int64_t n = s->dims[s->rank - 1];
    if (v.shape.rank < 1 || v.shape.rank > s->rank || v.shape.dims[v.shape.rank - 1] != n ||
        shape_elements(&v.shape) != n)
        return -1;
    if (v.shape.rank == 1)
        return value;
    return graph_add_constant(g, v.name, DTYPE_F32, &(struct shape){1, {n}}, data);
}

const float *match_per_channel(const struct graph *g, int value, const struct shape *y, int *step)
{
    const float *data = match_f32(g, value);
    if (!data)
        return NULL;
    const struct shape *s = &g->values[value].shape;
    *step = 0;
    if (s->rank > y->rank)
        return NULL;
    for (int i = 1; i <= s->rank; i++) {
        int64_t dim = s->dims[s->rank - i];
        if (dim != 1 && (y->rank - i != 1 || dim != y->dims[1]))
            return NULL;
        *step |= dim != 1;
    }
    return data;
}

int fuse_into(struct graph *g, int from, int to, const char *suffix, struct error *e)
{
    struct node old = g->nodes[from];
    /* A name that goes on growing would cost the square of the chain's length. */
    const char *fused = strlen(old.fused) > 64 ? old.fused
                                               : arena_format(&g->arena, "%s+%s", old.fused, suffix);
    if (!fused)
        return error_memory(e);
    graph_kill(g, from);
    struct node *n = graph_rewrite(g, to, old.op, fused);
    n->a = old.a;
    n->name = old.name;
    for (int i = 0; i < old.input_count; i++)
        graph_read(g, to, old.inputs[i]);
    return 0;
}

void fuse_internal(struct graph *g, int index, const struct op *op)
{
    struct node old = g->nodes[index];
    struct node *n = graph_rewrite(g, index, op, old.fused);
    n->a = old.a;
    for (int i = 0; i < old.input_count; i++)
        graph_read(g, index, old.inputs[i]);
}

void fuse_input(struct graph *g, int node, int index, int value)
{
    while (g->nodes[node].input_count <= index)
        graph_read(g, node, NO_VALUE);
    graph_set_input(g, node, index, value);
}

void fuse_function(struct graph *g, int node, const struct op *op, const char *fused, int x)
{
    int before[NODE_INPUT_MAX], count = g->nodes[node].input_count;
    memcpy(before, g->nodes[node].inputs, sizeof before);
    graph_rewrite(g, node, op, fused);
    graph_read(g, node, x);
    for (int i = 0; i < count; i++)
        fuse_prune(g, before[i]);
}

static int fuse_residual(struct graph *g, int *node, struct error *e)
{
    int add = match_user(g, *node, "Add"), value = g->nodes[*node].outputs[0];
    int other = add < 0 ? NO_VALUE : match_other(g, add, value);
    if (!match_is_f32(g, other) ||
        !shape_equal(&g->values[other].shape, &g->values[value].shape))
        return 0;
    int code = fuse_into(g, *node, add, "Add", e);
    if (code)
        return code;
    fuse_input(g, add, 3, other);
    g->nodes[add].a.has_residual = 1;
    *node = add;
    return 0;
}

int fuse_activation(struct graph *g, int *node, struct error *e)
{
    int value = g->nodes[*node].outputs[0], user = graph_single_user(g, value);
    struct epilogue what;
    if (user < 0 || g->nodes[user].inputs[0] != value ||
        activation_of(g, &g->nodes[user], &what) || what.activation > ACT_FUSED_LAST)
        return 0;
    int code = fuse_into(g, *node, user, g->nodes[user].op->name, e);
    if (code)
        return code;
    g->nodes[user].a.activation = what.activation;
    g->nodes[user].a.low = what.low;
    g->nodes[user].a.high = what.high;
    *node = user;
    return 0;
}

int fuse_epilogue(struct graph *g, int *node, struct error *e)
{
    int code = fuse_residual(g, node, e);
    return code ? code : fuse_activation(g, node, e);
}

void fuse_prune(struct graph *g, int value)
{
    int pending[64] = {value}, count = 1;
    while (count > 0) {
        value = pending[--count];
        if (value == NO_VALUE || g->values[value].uses || g->values[value].producer < 0)
            continue;
        int producer = g->values[value].producer;
        const struct node n = g->nodes[producer];
        int used = n.dead;
        for (int i = 0; i < n.output_count; i++)
            used |= n.outputs[i] != NO_VALUE && g->values[n.outputs[i]].uses > 0;
        if (used)
            continue;
        graph_kill(g, producer);
        /* More than fit stay for the sweep that follows every pass. */
        for (int i = 0; i < n.input_count && count < 64; i++)
            pending[count++] = n.inputs[i];
    }
}
