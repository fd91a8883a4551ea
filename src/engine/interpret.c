#include "engine/interpret.h"
#include "engine/op.h"

#include <stdlib.h>
#include <string.h>

/* At least one byte, so that NULL only means no memory. */
static void *allocate(const struct value *v)
{
    int64_t bytes = shape_bytes(&v->shape, v->type);
    return bytes < 0 ? NULL : malloc(bytes > 0 ? (size_t)bytes : 1);
}

static void copy(const struct value *v, void *to, const void *from)
{
    int64_t bytes = shape_bytes(&v->shape, v->type);
    if (bytes > 0)
        memcpy(to, from, (size_t)bytes);
}

static int set_inputs(const struct graph *g, const void *const *inputs, void **data)
{
    for (int i = 0; i < g->input_count; i++) {
        const struct value *v = &g->values[g->inputs[i]];
        if (!(data[g->inputs[i]] = allocate(v)))
            return -1;
        copy(v, data[g->inputs[i]], inputs[i]);
    }
    return 0;
}

static int run_all(const struct graph *g, void **data, struct error *e)
{
    int code = 0;
    for (int i = 0; i < g->node_count && !code; i++) {
        const struct node *n = &g->nodes[i];
        if (n->dead)
            continue;
        for (int k = 0; k < n->output_count; k++)
            if (n->outputs[k] != NO_VALUE && !(data[n->outputs[k]] = allocate(
                                                   &g->values[n->outputs[k]])))
                return error_memory(e);
        code = graph_run_node(g, n, data, e);
    }
    return code;
}

static int copy_outputs(const struct graph *g, void *const *data, void **outputs)
{
    for (int i = 0; i < g->output_count; i++) {
        const struct value *v = &g->values[g->outputs[i]];
        const void *from = v->constant ? v->constant : data[g->outputs[i]];
        if (!(outputs[i] = allocate(v)))
            return -1;
        copy(v, outputs[i], from);
    }
    return 0;
}

int interpret(const struct graph *g, const void *const *inputs, void **outputs, struct error *e)
{
    void **data = calloc((size_t)g->value_count + 1, sizeof *data);
    memset(outputs, 0, (size_t)g->output_count * sizeof *outputs);
    int code = !data || set_inputs(g, inputs, data) ? error_memory(e) : run_all(g, data, e);
    if (!code && copy_outputs(g, data, outputs))
        code = error_memory(e);
    for (int i = 0; code && i < g->output_count; i++) {
        free(outputs[i]);
        outputs[i] = NULL;
    }
    for (int i = 0; data && i < g->value_count; i++)
        free(data[i]);
    free(data);
    return code;
}
