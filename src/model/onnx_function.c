/* Functions of the file: operators that it defines itself, as nodes. */
#include "model/onnx_read.h"

#include <string.h>

/* Field numbers of FunctionProto. Attributes without a default (field 6) need no reading: what a
 * call does not give is left out. */
enum {
    FUNCTION_NAME = 1, FUNCTION_INPUT = 4, FUNCTION_OUTPUT = 5, FUNCTION_NODE = 7,
    FUNCTION_OPSET = 9, FUNCTION_DOMAIN = 10, FUNCTION_DEFAULT = 11, FUNCTION_OVERLOAD = 13,
};

/* The arrays under construction; the function's own pointers to them are const. */
struct filling {
    struct onnx_function *function;
    const char **inputs, **outputs;
    struct onnx_node *nodes;
    struct onnx_attribute *defaults;
};

struct counts {
    size_t inputs, outputs, nodes, defaults;
};

static int count(const struct wire_field *function, struct counts *n, struct error *e)
{
    struct wire w = wire_of(function->bytes, function->size);
    struct wire_field field;
    int more;
    while ((more = wire_next(&w, &field)) > 0) {
        n->inputs += field.number == FUNCTION_INPUT;
        n->outputs += field.number == FUNCTION_OUTPUT;
        n->nodes += field.number == FUNCTION_NODE;
        n->defaults += field.number == FUNCTION_DEFAULT;
    }
    return more < 0 ? onnx_malformed(e) : 0;
}

static int make_room(struct onnx_file *f, const struct counts *n, struct filling *a,
                     struct error *e)
{
    a->inputs = arena_array(&f->arena, n->inputs, sizeof *a->inputs);
    a->outputs = arena_array(&f->arena, n->outputs, sizeof *a->outputs);
    a->nodes = arena_array(&f->arena, n->nodes, sizeof *a->nodes);
    a->defaults = arena_array(&f->arena, n->defaults, sizeof *a->defaults);
    if (!a->inputs || !a->outputs || !a->nodes || !a->defaults)
        return error_memory(e);
    a->function->inputs = a->inputs;
    a->function->outputs = a->outputs;
    a->function->nodes = a->nodes;
    a->function->defaults = a->defaults;
    return 0;
}

static int take_text(struct onnx_file *f, const struct wire_field *field, const char **out,
                     struct error *e)
{
    if (field->type != WIRE_BYTES)
        return onnx_malformed(e);
    *out = field->size ? arena_text(&f->arena, (const char *)field->bytes, field->size) : "";
    return *out ? 0 : error_memory(e);
}

/* The name of an input or output. */
static int take_name(struct onnx_file *f, const struct wire_field *field, const char **list,
                     size_t *n, struct error *e)
{
    int result = take_text(f, field, &list[*n], e);
    if (!result && !*list[*n])
        result = error_set(e, ERROR_FORMAT, "an input or output has no name");
    (*n)++;
    return result;
}

static int take_opset(const struct wire_field *field, struct onnx_function *out, struct error *e)
{
    int is_default = 0;
    int64_t version = 0;
    int result = onnx_unpack_opset(field, &is_default, &version, e);
    if (result || !is_default)
        return result;
    if (version < ONNX_OPSET_MIN || version > ONNX_OPSET_MAX)
        return error_set(e, ERROR_UNSUPPORTED, "uses opset %lld; %d to %d are supported",
                         (long long)version, ONNX_OPSET_MIN, ONNX_OPSET_MAX);
    out->opset = version;
    return 0;
}

static int take_node(struct onnx_file *f, const struct wire_field *field, struct onnx_node *node,
                     struct error *e)
{
    struct onnx_quote name;
    if (!onnx_unpack_node(f, field, node, e))
        return 0;
    return error_context(e, "node '%s'", onnx_quote(&name, node->name ? node->name : ""));
}

static int take_field(struct onnx_file *f, const struct wire_field *field, struct filling *a,
                      struct error *e)
{
    struct onnx_function *out = a->function;
    switch (field->number) {
    case FUNCTION_NAME: return take_text(f, field, &out->name, e);
    case FUNCTION_DOMAIN: return take_text(f, field, &out->domain, e);
    case FUNCTION_OVERLOAD: return take_text(f, field, &out->overload, e);
    case FUNCTION_INPUT: return take_name(f, field, a->inputs, &out->input_count, e);
    case FUNCTION_OUTPUT: return take_name(f, field, a->outputs, &out->output_count, e);
    case FUNCTION_NODE: return take_node(f, field, &a->nodes[out->node_count++], e);
    case FUNCTION_DEFAULT:
        return onnx_unpack_attribute(f, field, &a->defaults[out->default_count++], e);
    case FUNCTION_OPSET: return take_opset(field, out, e);
    default: return 0;
    }
}

int onnx_read_function(struct onnx_file *f, const struct wire_field *field,
                       struct onnx_function *out, struct error *e)
{
    struct counts n = {0};
    struct filling a = {.function = out};
    struct wire w;
    struct wire_field inner;
    struct onnx_quote q;
    *out = (struct onnx_function){.domain = "", .name = "", .overload = ""};
    int result = field->type == WIRE_BYTES ? count(field, &n, e) : onnx_malformed(e);
    if (!result)
        result = make_room(f, &n, &a, e);
    for (w = wire_of(field->bytes, field->size); !result && wire_next(&w, &inner) > 0;)
        result = take_field(f, &inner, &a, e);
    if (!result && !*out->name)
        result = error_set(e, ERROR_FORMAT, "has no name");
    if (out->domain && !strcmp(out->domain, "ai.onnx"))
        out->domain = "";
    return result ? error_context(e, "function '%s'", onnx_quote(&q, out->name ? out->name : ""))
                  : 0;
}
