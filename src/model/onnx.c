#include "model/onnx.h"
#include "model/onnx_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Field numbers of ModelProto. */
enum {
    MODEL_IR_VERSION = 1, MODEL_PRODUCER = 2, MODEL_GRAPH = 7, MODEL_OPSET = 8, MODEL_METADATA = 14,
    MODEL_FUNCTIONS = 25,
};

/* What reading may cost: our structs are a few dozen times larger than the fewest bytes a file can
 * ask for one with. */
enum { MEMORY_BASE_BYTES = 64 << 20, MEMORY_FACTOR = 40 };

/* The arrays under construction; the model's own pointers to them are const. */
struct filling {
    struct onnx_value *inputs, *outputs, *values;
    struct onnx_node *nodes;
    struct onnx_initializer *initializers;
    struct onnx_metadata *metadata;
};

const char *onnx_quote(struct onnx_quote *q, const char *name)
{
    snprintf(q->text, sizeof q->text, "%.80s%s", name, strlen(name) > 80 ? "..." : "");
    for (char *p = q->text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?';
    return q->text;
}

int onnx_malformed(struct error *e)
{
    return error_set(e, ERROR_FORMAT, "is truncated or not protobuf");
}

int onnx_count_graph(const uint8_t *bytes, size_t size, struct onnx_counts *n, struct error *e)
{
    struct wire w = wire_of(bytes, size);
    struct wire_field field;
    int more = 0;
    while (!n->sparse && (more = wire_next(&w, &field)) > 0) {
        n->nodes += field.number == GRAPH_NODE;
        n->initializers += field.number == GRAPH_INITIALIZER;
        n->inputs += field.number == GRAPH_INPUT;
        n->outputs += field.number == GRAPH_OUTPUT;
        n->values += field.number == GRAPH_VALUE;
        n->sparse = field.number == GRAPH_SPARSE_INITIALIZER;
    }
    return more < 0 ? onnx_malformed(e) : 0;
}

static int count_graph(const struct wire_field *graph, struct onnx_counts *n, struct error *e)
{
    if (onnx_count_graph(graph->bytes, graph->size, n, e))
        return error_context(e, "the graph");
    if (!n->sparse)
        return 0;
    return error_set(e, ERROR_UNSUPPORTED,
                     "the graph has sparse initializers, which are not supported");
}

static int make_room(struct onnx_file *f, const struct onnx_counts *n, struct filling *a,
                     struct error *e)
{
    a->nodes = arena_array(&f->arena, n->nodes, sizeof *a->nodes);
    a->initializers = arena_array(&f->arena, n->initializers, sizeof *a->initializers);
    a->inputs = arena_array(&f->arena, n->inputs, sizeof *a->inputs);
    a->outputs = arena_array(&f->arena, n->outputs, sizeof *a->outputs);
    a->values = arena_array(&f->arena, n->values, sizeof *a->values);
    f->by_name = arena_array(&f->arena, n->initializers, sizeof *f->by_name);
    if (!a->nodes || !a->initializers || !a->inputs || !a->outputs || !a->values || !f->by_name)
        return error_memory(e);
    f->model.nodes = a->nodes;
    f->model.initializers = a->initializers;
    f->model.inputs = a->inputs;
    f->model.outputs = a->outputs;
    f->model.values = a->values;
    return 0;
}

static int add_node(struct onnx_file *f, const struct wire_field *field, struct filling *a,
                    struct error *e)
{
    size_t i = f->model.node_count++;
    struct onnx_node *node = &a->nodes[i];
    if (!onnx_unpack_node(f, field, node, e))
        return 0;
    struct onnx_quote name, op;
    onnx_quote(&name, node->name ? node->name : "");
    onnx_quote(&op, node->op_type ? node->op_type : "");
    return error_context(e, "node %zu '%s' (%s)", i, name.text, op.text);
}

static int add_initializer(struct onnx_file *f, const struct wire_field *field, struct filling *a,
                           struct error *e)
{
    size_t i = f->model.initializer_count++;
    struct onnx_initializer *init = &a->initializers[i];
    struct onnx_quote q;
    init->name = "";
    int result = field->type == WIRE_BYTES ? onnx_read_tensor(f, field->bytes, field->size, 1,
                                                              &init->name, &init->tensor, e)
                                           : onnx_malformed(e);
    if (!result && !*init->name)
        result = error_set(e, ERROR_FORMAT, "has no name");
    if (result)
        error_context(e, "initializer %zu '%s'", i, onnx_quote(&q, init->name));
    f->by_name[i] = init;
    return result;
}

static int add_value(struct onnx_file *f, const struct wire_field *field, struct onnx_value *list,
                     size_t *count, const char *what, struct error *e)
{
    size_t i = (*count)++;
    if (!onnx_unpack_value(f, field, &list[i], e))
        return 0;
    struct onnx_quote q;
    return error_context(e, "%s %zu '%s'", what, i,
                         onnx_quote(&q, list[i].name ? list[i].name : ""));
}

static int fill_graph(struct onnx_file *f, const struct wire_field *graph, struct filling *a,
                      struct error *e)
{
    struct onnx_model *m = &f->model;
    struct wire w = wire_of(graph->bytes, graph->size);
    struct wire_field field;
    int result = 0;
    while (!result && wire_next(&w, &field) > 0) {
        if (field.number == GRAPH_NODE)
            result = add_node(f, &field, a, e);
        else if (field.number == GRAPH_INITIALIZER)
            result = add_initializer(f, &field, a, e);
        else if (field.number == GRAPH_INPUT)
            result = add_value(f, &field, a->inputs, &m->input_count, "graph input", e);
        else if (field.number == GRAPH_OUTPUT)
            result = add_value(f, &field, a->outputs, &m->output_count, "graph output", e);
        else if (field.number == GRAPH_VALUE)
            result = add_value(f, &field, a->values, &m->value_count, "value", e);
    }
    return result;
}

static int by_initializer_name(const void *a, const void *b)
{
    const struct onnx_initializer *x = *(const struct onnx_initializer *const *)a;
    const struct onnx_initializer *y = *(const struct onnx_initializer *const *)b;
    return strcmp(x->name, y->name);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Before IR 4 every initializer was listed as an input too. */
static void drop_inputs_with_data(struct onnx_file *f, struct onnx_value *inputs)
{
    size_t kept = 0;
    for (size_t i = 0; i < f->model.input_count; i++)
        if (!onnx_initializer_find(&f->model, inputs[i].name))
            inputs[kept++] = inputs[i];
    f->model.input_count = kept;
}

static int refuse_twins(const char **names, size_t count, const char *what, struct error *e)
{
    struct onnx_quote q;
    if (count)
        qsort(names, count, sizeof *names, by_text);
    for (size_t i = 1; i < count; i++)
        if (!strcmp(names[i - 1], names[i]))
            return error_set(e, ERROR_FORMAT, "%s '%s' is defined twice", what,
                             onnx_quote(&q, names[i]));
    return 0;
}

/* Every value has one origin: an initializer, an input, or one output of one node. */
static int check_names(struct onnx_file *f, struct error *e)
{
    const struct onnx_model *m = &f->model;
    size_t most = m->initializer_count + m->input_count, n = 0;
    for (size_t i = 0; i < m->node_count; i++)
        most += m->nodes[i].output_count;
    most = most > m->output_count ? most : m->output_count;
    const char **names = malloc((most + 1) * sizeof *names);
    if (!names)
        return error_memory(e);
    for (size_t i = 0; i < m->output_count; i++)
        names[n++] = m->outputs[i].name;
    int result = refuse_twins(names, n, "graph output", e);
    n = 0;
    for (size_t i = 0; i < m->initializer_count; i++)
        names[n++] = m->initializers[i].name;
    for (size_t i = 0; i < m->input_count; i++)
        names[n++] = m->inputs[i].name;
    for (size_t i = 0; i < m->node_count; i++)
        for (size_t k = 0; k < m->nodes[i].output_count; k++)
            if (*m->nodes[i].outputs[k])
                names[n++] = m->nodes[i].outputs[k];
    if (!result)
        result = refuse_twins(names, n, "value", e);
    free(names);
    return result;
}

static int read_graph(struct onnx_file *f, const struct wire_field *graph, struct error *e)
{
    struct onnx_counts n = {0};
    struct filling a = {0};
    int result = count_graph(graph, &n, e);
    if (!result)
        result = make_room(f, &n, &a, e);
    if (!result)
        result = fill_graph(f, graph, &a, e);
    if (result)
        return result;
    if (n.initializers)
        qsort(f->by_name, n.initializers, sizeof *f->by_name, by_initializer_name);
    drop_inputs_with_data(f, a.inputs);
    return check_names(f, e);
}

struct header {
    struct wire_field graph;
    size_t graphs, metadata, functions;
    int has_ir, has_opset;
};

static int add_opset(struct onnx_file *f, const struct wire_field *field, struct header *h,
                     struct error *e)
{
    int is_default = 0;
    int64_t version = 0;
    if (onnx_unpack_opset(field, &is_default, &version, e))
        return error_context(e, "opset import");
    if (!is_default)
        return 0;
    if (h->has_opset && version != f->model.opset)
        return error_set(e, ERROR_FORMAT, "imports opset %lld and opset %lld",
                         (long long)f->model.opset, (long long)version);
    f->model.opset = version;
    h->has_opset = 1;
    return 0;
}

static int take_header_field(struct onnx_file *f, const struct wire_field *field, struct header *h,
                             struct error *e)
{
    switch (field->number) {
    case MODEL_IR_VERSION:
        f->model.ir_version = (int64_t)field->value;
        h->has_ir = 1;
        return field->type == WIRE_VARINT ? 0 : onnx_malformed(e);
    case MODEL_PRODUCER:
        if (field->type != WIRE_BYTES)
            return onnx_malformed(e);
        f->model.producer = arena_text(&f->arena, (const char *)field->bytes, field->size);
        return f->model.producer ? 0 : error_memory(e);
    case MODEL_GRAPH:
        h->graph = *field;
        h->graphs++;
        return field->type == WIRE_BYTES ? 0 : onnx_malformed(e);
    case MODEL_OPSET:
        return add_opset(f, field, h, e);
    case MODEL_METADATA:
        h->metadata++;
        return 0;
    case MODEL_FUNCTIONS:
        h->functions++;
        return 0;
    default:
        return 0;
    }
}

static int check_header(const struct onnx_file *f, const struct header *h, struct error *e)
{
    const struct onnx_model *m = &f->model;
    if (!h->has_ir)
        return error_set(e, ERROR_FORMAT, "has no ir_version: not an ONNX model");
    if (m->ir_version < ONNX_IR_MIN || m->ir_version > ONNX_IR_MAX)
        return error_set(e, ERROR_UNSUPPORTED, "has ir_version %lld; %d to %d are supported",
                         (long long)m->ir_version, ONNX_IR_MIN, ONNX_IR_MAX);
    if (!h->graphs)
        return error_set(e, ERROR_FORMAT, "has no graph");
    if (h->graphs > 1)
        return error_set(e, ERROR_FORMAT, "has %zu graphs", h->graphs);
    if (!h->has_opset)
        return error_set(e, ERROR_FORMAT, "imports no opset of the default domain");
    if (m->opset < ONNX_OPSET_MIN || m->opset > ONNX_OPSET_MAX)
        return error_set(e, ERROR_UNSUPPORTED, "uses opset %lld; %d to %d are supported",
                         (long long)m->opset, ONNX_OPSET_MIN, ONNX_OPSET_MAX);
    return 0;
}

static int read_metadata(struct onnx_file *f, size_t count, struct error *e)
{
    struct onnx_metadata *list = arena_array(&f->arena, count, sizeof *list);
    struct wire w = wire_of(f->map.data, f->map.size);
    struct wire_field field;
    if (!list)
        return error_memory(e);
    f->model.metadata = list;
    while (wire_next(&w, &field) > 0) {
        if (field.number != MODEL_METADATA)
            continue;
        size_t i = f->model.metadata_count++;
        if (onnx_unpack_metadata(f, &field, &list[i], e))
            return error_context(e, "metadata entry %zu", i);
    }
    return 0;
}

static int by_function_name(const void *a, const void *b)
{
    const struct onnx_function *x = a, *y = b;
    int order = strcmp(x->domain, y->domain);
    if (!order)
        order = strcmp(x->name, y->name);
    return order ? order : strcmp(x->overload, y->overload);
}

static int sort_functions(struct onnx_function *list, size_t count, struct error *e)
{
    struct onnx_quote q;
    if (count)
        qsort(list, count, sizeof *list, by_function_name);
    for (size_t i = 1; i < count; i++)
        if (!by_function_name(&list[i - 1], &list[i]))
            return error_set(e, ERROR_FORMAT, "function '%s' is defined twice",
                             onnx_quote(&q, list[i].name));
    return 0;
}

static int read_functions(struct onnx_file *f, size_t count, struct error *e)
{
    struct onnx_function *list = arena_array(&f->arena, count, sizeof *list);
    struct wire w = wire_of(f->map.data, f->map.size);
    struct wire_field field;
    int result = list ? 0 : error_memory(e);
    f->model.functions = list;
    while (!result && wire_next(&w, &field) > 0)
        if (field.number == MODEL_FUNCTIONS)
            result = onnx_read_function(f, &field, &list[f->model.function_count++], e);
    return result ? result : sort_functions(list, count, e);
}

static int read_model(struct onnx_file *f, struct error *e)
{
    struct header h = {0};
    struct wire w = wire_of(f->map.data, f->map.size);
    struct wire_field field;
    int more, result = 0;
    if (!f->map.size)
        return error_set(e, ERROR_FORMAT, "is empty");
    while (!result && (more = wire_next(&w, &field)))
        result = more < 0 ? onnx_malformed(e) : take_header_field(f, &field, &h, e);
    if (!result)
        result = check_header(f, &h, e);
    if (!result)
        result = read_metadata(f, h.metadata, e);
    if (!result)
        result = read_functions(f, h.functions, e);
    if (!result)
        result = read_graph(f, &h.graph, e);
    return result;
}

static int set_up(struct onnx_file *f, const char *path, struct error *e)
{
    int result = file_map_open(path, &f->map, e);
    if (result)
        return result;
    size_t limit;
    if (__builtin_mul_overflow(f->map.size, (size_t)MEMORY_FACTOR, &limit) ||
        __builtin_add_overflow(limit, (size_t)MEMORY_BASE_BYTES, &limit))
        limit = SIZE_MAX / 2;
    arena_init(&f->arena, limit);
    f->model.producer = "";
    f->model.file_bytes = f->map.size;
    f->model.map = f->map.data;
    f->model.map_bytes = f->map.size;
    f->model.path = arena_text(&f->arena, path, strlen(path));
    return f->model.path ? 0 : error_memory(e);
}

int onnx_open(const char *path, struct onnx_model **out, struct error *e)
{
    *out = NULL;
    struct onnx_file *f = calloc(1, sizeof *f);
    if (!f)
        return error_memory(e);
    int result = set_up(f, path, e);
    if (!result) {
        result = read_model(f, e);
        if (result)
            error_context(e, "'%.200s'", path);
    }
    if (result) {
        onnx_close(&f->model);
        return result;
    }
    *out = &f->model;
    return 0;
}

void onnx_close(struct onnx_model *m)
{
    if (!m)
        return;
    struct onnx_file *f = (struct onnx_file *)m;
    onnx_external_close(f);
    file_map_close(&f->map);
    arena_release(&f->arena);
    free(f);
}

const char *onnx_metadata_find(const struct onnx_model *m, const char *key)
{
    for (size_t i = 0; i < m->metadata_count; i++)
        if (!strcmp(m->metadata[i].key, key))
            return m->metadata[i].value;
    return NULL;
}

static int name_against_initializer(const void *name, const void *element)
{
    return strcmp(name, (*(const struct onnx_initializer *const *)element)->name);
}

const struct onnx_initializer *onnx_initializer_find(const struct onnx_model *m, const char *name)
{
    const struct onnx_file *f = (const struct onnx_file *)m;
    if (!m->initializer_count)
        return NULL;
    const struct onnx_initializer *const *found =
        bsearch(name, f->by_name, m->initializer_count, sizeof *f->by_name,
                name_against_initializer);
    return found ? *found : NULL;
}

const struct onnx_function *onnx_function_find(const struct onnx_model *m, const char *domain,
                                               const char *name, const char *overload)
{
    const struct onnx_function key = {.domain = domain, .name = name,
                                      .overload = overload ? overload : ""};
    return m->function_count ? bsearch(&key, m->functions, m->function_count, sizeof key,
                                       by_function_name)
                             : NULL;
}

const struct onnx_attribute *onnx_attribute_find(const struct onnx_node *n, const char *name)
{
    for (size_t i = 0; i < n->attribute_count; i++)
        if (!strcmp(n->attributes[i].name, name))
            return &n->attributes[i];
    return NULL;
}
