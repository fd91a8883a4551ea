/* The graph as a data structure; build.c makes one from a file. */
#include "engine/graph.h"
#include "engine/op.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void graph_release(struct graph *g)
{
    arena_release(&g->arena);
    *g = (struct graph){0};
}

/* Doubles an array that lives in the arena; the old one stays there until the graph's end. */
static void *grow(struct graph *g, void *old, int count, int *capacity, size_t size)
{
    if (count < *capacity)
        return old;
    int larger = *capacity < 32 ? 64 : *capacity > INT32_MAX / 2 ? 0 : *capacity * 2;
    void *p = larger ? arena_array(&g->arena, (size_t)larger, size) : NULL;
    if (!p)
        return NULL;
    if (count)
        memcpy(p, old, (size_t)count * size);
    *capacity = larger;
    return p;
}

int graph_add_value(struct graph *g, const char *name, enum dtype type, const struct shape *shape)
{
    struct value *values = grow(g, g->values, g->value_count, &g->value_capacity, sizeof *values);
    if (!values)
        return -1;
    g->values = values;
    values[g->value_count] =
        (struct value){.name = name, .type = type, .shape = *shape, .producer = -1};
    return g->value_count++;
}

int graph_add_constant(struct graph *g, const char *name, enum dtype type,
                       const struct shape *shape, const void *data)
{
    static const double nothing; /* where a constant without elements points */
    int v = graph_add_value(g, name, type, shape);
    if (v >= 0)
        g->values[v].constant = data ? data : &nothing;
    return v;
}

int graph_add_node(struct graph *g, const struct op *op, const char *name)
{
    struct node *nodes = grow(g, g->nodes, g->node_count, &g->node_capacity, sizeof *nodes);
    if (!nodes)
        return -1;
    g->nodes = nodes;
    nodes[g->node_count] = (struct node){.op = op, .name = name, .fused = op->name};
    return g->node_count++;
}

void *graph_memory(struct graph *g, size_t bytes)
{
    enum { ALIGN = 64 };
    if (g->memory_used > g->memory_limit || bytes > g->memory_limit - g->memory_used ||
        bytes > SIZE_MAX - ALIGN)
        return NULL;
    uintptr_t p = (uintptr_t)arena_alloc(&g->arena, bytes + ALIGN);
    if (!p)
        return NULL;
    g->memory_used += bytes;
    return (void *)((p + ALIGN - 1) & ~(uintptr_t)(ALIGN - 1));
}

static void add_use(struct graph *g, int value, int node)
{
    if (value != NO_VALUE) {
        g->values[value].uses++;
        g->values[value].user_mix ^= node;
    }
}

static void drop_use(struct graph *g, int value, int node)
{
    if (value != NO_VALUE) {
        g->values[value].uses--;
        g->values[value].user_mix ^= node;
    }
}

static void drop_reads(struct graph *g, int index)
{
    struct node *n = &g->nodes[index];
    for (int i = 0; i < n->input_count; i++)
        drop_use(g, n->inputs[i], index);
    n->input_count = 0;
}

struct node *graph_rewrite(struct graph *g, int index, const struct op *op, const char *fused)
{
    struct node *n = &g->nodes[index];
    drop_reads(g, index);
    n->op = op;
    n->fused = fused;
    n->a = (struct attributes){0};
    return n;
}

int graph_read(struct graph *g, int node, int value)
{
    struct node *n = &g->nodes[node];
    if (n->input_count >= NODE_INPUT_MAX)
        return -1;
    n->inputs[n->input_count++] = value;
    add_use(g, value, node);
    return 0;
}

void graph_set_input(struct graph *g, int node, int index, int value)
{
    struct node *n = &g->nodes[node];
    drop_use(g, n->inputs[index], node);
    n->inputs[index] = value;
    add_use(g, value, node);
}

void graph_write(struct graph *g, int node, int value)
{
    struct node *n = &g->nodes[node];
    if (n->output_count >= NODE_OUTPUT_MAX)
        return;
    n->outputs[n->output_count++] = value;
    if (value != NO_VALUE)
        g->values[value].producer = node;
}

void graph_kill(struct graph *g, int node)
{
    drop_reads(g, node);
    g->nodes[node].dead = 1;
}

int graph_uses(const struct graph *g, int value)
{
    return g->values[value].uses;
}

int graph_single_user(const struct graph *g, int value)
{
    const struct value *v = &g->values[value];
    return v->uses == 1 && !v->is_output ? v->user_mix : -1;
}

void graph_replace(struct graph *g, int from, int to)
{
    for (int i = 0; i < g->node_count && g->values[from].uses; i++) {
        const struct node *n = &g->nodes[i];
        for (int k = 0; k < n->input_count && !n->dead; k++)
            if (n->inputs[k] == from)
                graph_set_input(g, i, k, to);
    }
    for (int i = 0; i < g->output_count; i++) {
        if (g->outputs[i] != from)
            continue;
        g->outputs[i] = to;
        g->values[from].is_output = 0;
        g->values[from].uses--;
        g->values[to].is_output = 1;
        g->values[to].uses++;
    }
}

static int is_read(const struct graph *g, const struct node *n)
{
    for (int i = 0; i < n->output_count; i++)
        if (n->outputs[i] != NO_VALUE && g->values[n->outputs[i]].uses)
            return 1;
    return 0;
}

void graph_sweep(struct graph *g)
{
    int kept = 0;
    for (int i = g->node_count - 1; i >= 0; i--)
        if (!g->nodes[i].dead && !is_read(g, &g->nodes[i]))
            graph_kill(g, i);
    for (int i = 0; i < g->value_count; i++) {
        g->values[i].producer = -1;
        g->values[i].user_mix = 0;
    }
    for (int i = 0; i < g->node_count; i++) {
        if (g->nodes[i].dead)
            continue;
        if (kept != i)
            g->nodes[kept] = g->nodes[i];
        const struct node *n = &g->nodes[kept];
        for (int k = 0; k < n->input_count; k++)
            if (n->inputs[k] != NO_VALUE)
                g->values[n->inputs[k]].user_mix ^= kept;
        for (int k = 0; k < n->output_count; k++)
            if (n->outputs[k] != NO_VALUE)
                g->values[n->outputs[k]].producer = kept;
        kept++;
    }
    g->node_count = kept;
}

int graph_place(struct graph *g, int first, const int *before)
{
    int appended = g->node_count - first, next = 0, to = 0;
    struct node *nodes = arena_array(&g->arena, (size_t)g->node_capacity, sizeof *nodes);
    if (!nodes)
        return -1;
    for (int i = 0; i < first; i++) {
        while (next < appended && before[next] == i)
            nodes[to++] = g->nodes[first + next++];
        nodes[to++] = g->nodes[i];
    }
    g->nodes = nodes;
    graph_sweep(g);
    return 0;
}

static struct tensor tensor_of(const struct graph *g, int value, void *const *data)
{
    if (value == NO_VALUE)
        return (struct tensor){0};
    const struct value *v = &g->values[value];
    struct tensor t = {.type = v->type, .shape = v->shape};
    /* Kernels take inputs as const tensors and never write through this. */
    t.data = v->constant ? (void *)(uintptr_t)v->constant : data[value];
    return t;
}

int graph_run_node(const struct graph *g, const struct node *n, void *const *data, struct error *e)
{
    struct tensor in[NODE_INPUT_MAX] = {0}, out[NODE_OUTPUT_MAX] = {0};
    for (int i = 0; i < n->input_count; i++)
        in[i] = tensor_of(g, n->inputs[i], data);
    for (int i = 0; i < n->output_count; i++) {
        out[i] = tensor_of(g, n->outputs[i], data);
        if (n->outputs[i] != NO_VALUE)
            out[i].data = data[n->outputs[i]];
    }
    int code = n->op->reference(n, in, out, e);
    if (code)
        return error_context(e, "%s: node '%.80s' (%s)", g->model ? g->model->path : "graph",
                             n->name, n->op->name);
    return 0;
}

int64_t graph_macs(const struct graph *g)
{
    int64_t total = 0, macs;
    for (int i = 0; i < g->node_count; i++) {
        const struct node *n = &g->nodes[i];
        macs = n->dead || !n->op->macs ? 0 : n->op->macs(g, n);
        if (macs < 0 || __builtin_add_overflow(total, macs, &total))
            return INT64_MAX;
    }
    return total;
}
