/* Graphs inside of attributes: the branches of If, the body of Loop. */
#include "model/onnx_read.h"

/* The arrays under construction; the graph's own pointers to them are const. */
struct filling {
    struct onnx_graph *graph;
    struct onnx_node *nodes;
    struct onnx_initializer *initializers;
    struct onnx_value *inputs, *outputs;
};

static int make_room(struct onnx_file *f, const struct onnx_counts *n, struct filling *a,
                     struct error *e)
{
    a->graph = arena_array(&f->arena, 1, sizeof *a->graph);
    a->nodes = arena_array(&f->arena, n->nodes, sizeof *a->nodes);
    a->initializers = arena_array(&f->arena, n->initializers, sizeof *a->initializers);
    a->inputs = arena_array(&f->arena, n->inputs, sizeof *a->inputs);
    a->outputs = arena_array(&f->arena, n->outputs, sizeof *a->outputs);
    if (!a->graph || !a->nodes || !a->initializers || !a->inputs || !a->outputs)
        return error_memory(e);
    *a->graph = (struct onnx_graph){.nodes = a->nodes, .initializers = a->initializers,
                                    .inputs = a->inputs, .outputs = a->outputs};
    return 0;
}

/* The bytes are a copy that does not last, so nothing may point into them. */
static int add_initializer(struct onnx_file *f, const struct wire_field *field,
                           struct onnx_initializer *out, struct error *e)
{
    out->name = "";
    int result = field->type == WIRE_BYTES ? onnx_read_tensor(f, field->bytes, field->size, 0,
                                                              &out->name, &out->tensor, e)
                                           : onnx_malformed(e);
    if (!result && !*out->name)
        result = error_set(e, ERROR_FORMAT, "an initializer has no name");
    return result;
}

static int fill(struct onnx_file *f, const uint8_t *bytes, size_t size, struct filling *a,
                struct error *e)
{
    struct onnx_graph *g = a->graph;
    struct wire w = wire_of(bytes, size);
    struct wire_field field;
    int result = 0;
    while (!result && wire_next(&w, &field) > 0) {
        if (field.number == GRAPH_NODE)
            result = onnx_unpack_node(f, &field, &a->nodes[g->node_count++], e);
        else if (field.number == GRAPH_INITIALIZER)
            result = add_initializer(f, &field, &a->initializers[g->initializer_count++], e);
        else if (field.number == GRAPH_INPUT)
            result = onnx_unpack_value(f, &field, &a->inputs[g->input_count++], e);
        else if (field.number == GRAPH_OUTPUT)
            result = onnx_unpack_value(f, &field, &a->outputs[g->output_count++], e);
    }
    return result;
}

int onnx_read_graph(struct onnx_file *f, const uint8_t *bytes, size_t size,
                    const struct onnx_graph **out, struct error *e)
{
    struct onnx_counts n = {0};
    struct filling a = {0};
    *out = NULL;
    if (!bytes)
        return error_set(e, ERROR_FORMAT, "has no graph");
    if (f->depth >= ONNX_DEPTH_MAX)
        return error_set(e, ERROR_UNSUPPORTED, "has graphs nested deeper than %d", ONNX_DEPTH_MAX);
    int result = onnx_count_graph(bytes, size, &n, e);
    if (!result && n.sparse)
        result = error_set(e, ERROR_UNSUPPORTED, "has sparse initializers");
    if (!result)
        result = make_room(f, &n, &a, e);
    f->depth++;
    if (!result)
        result = fill(f, bytes, size, &a, e);
    f->depth--;
    *out = a.graph;
    return result ? error_context(e, "its graph") : 0;
}
