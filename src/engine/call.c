/* Functions of the file: a node that names one is replaced by the function's nodes, walked in a
 * scope of their own. */
#include "engine/build.h"

#include <inttypes.h>
#include <string.h>

enum { CALL_DEPTH_MAX = 16, ATTRIBUTES_PER_NODE = 16 };

/* ---- what a node in a function takes from the call ---- */

static const struct onnx_attribute *find(const struct onnx_attribute *list, size_t count,
                                         const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(list[i].name, name))
            return &list[i];
    return NULL;
}

/* The attribute that `a` stands for; *out is NULL when the call leaves it out. */
static int referred(const struct build *b, const struct onnx_attribute *a,
                    const struct onnx_attribute **out, struct error *e)
{
    *out = NULL;
    if (!b->call)
        return error_set(e, ERROR_FORMAT, "attribute '%.80s' refers to '%.80s' of a function, but "
                         "is in none", a->name, a->ref);
    const struct onnx_function *f = b->call->function;
    *out = onnx_attribute_find(b->call->node, a->ref);
    if (!*out)
        *out = find(f->defaults, f->default_count, a->ref);
    if (!*out)
        return 0;
    if ((*out)->ref || (a->type && a->type != (*out)->type))
        return error_set(e, ERROR_FORMAT, "attribute '%.80s' is of another type than '%.80s', which "
                         "it refers to", a->name, a->ref);
    if ((*out)->graph) /* its names are those of the caller */
        return error_set(e, ERROR_UNSUPPORTED, "attribute '%.80s': a graph is handed to a function",
                         a->name);
    return 0;
}

static int is_left_out(const struct build *b, const char *input)
{
    const struct name *n = *input ? build_find(b, input) : NULL;
    return n && n->value == NO_VALUE && !n->sequence && !n->deferred;
}

static int needs_copy(const struct build *b, const struct onnx_node *n)
{
    for (size_t i = 0; i < n->attribute_count; i++)
        if (n->attributes[i].ref)
            return 1;
    for (size_t i = 0; b->call && i < n->input_count; i++)
        if (is_left_out(b, n->inputs[i]))
            return 1;
    return 0;
}

static int copy_attributes(struct build *b, const struct onnx_node *from, struct onnx_node *to,
                           struct error *e)
{
    struct onnx_attribute *list = arena_array(&b->g->arena, from->attribute_count, sizeof *list);
    if (!list)
        return error_memory(e);
    to->attributes = list;
    to->attribute_count = 0;
    for (size_t i = 0; i < from->attribute_count; i++) {
        const struct onnx_attribute *a = &from->attributes[i], *value = a;
        int code = a->ref ? referred(b, a, &value, e) : 0;
        if (code)
            return code;
        if (!value)
            continue;
        list[to->attribute_count] = *value;
        list[to->attribute_count++].name = a->name;
    }
    return 0;
}

static int copy_inputs(struct build *b, const struct onnx_node *from, struct onnx_node *to,
                       struct error *e)
{
    const char **list = arena_array(&b->g->arena, from->input_count, sizeof *list);
    if (!list)
        return error_memory(e);
    for (size_t i = 0; i < from->input_count; i++)
        list[i] = is_left_out(b, from->inputs[i]) ? "" : from->inputs[i];
    to->inputs = list;
    return 0;
}

int call_resolve(struct build *b, const struct onnx_node *source, const struct onnx_node **out,
                 struct error *e)
{
    *out = source;
    if (!needs_copy(b, source))
        return 0;
    int code = build_count(b, source->attribute_count / ATTRIBUTES_PER_NODE +
                                  source->input_count / COPIES_PER_NODE, e);
    /* The graph's constants may point into attributes: the copy lives as long as the graph. */
    struct onnx_node *copy = code ? NULL : arena_alloc(&b->g->arena, sizeof *copy);
    if (!copy)
        return code ? code : error_memory(e);
    *copy = *source;
    code = copy_attributes(b, source, copy, e);
    if (!code)
        code = copy_inputs(b, source, copy, e);
    *out = copy;
    return code;
}

/* ---- the call ---- */

const struct onnx_function *call_function(const struct build *b, const struct onnx_node *source)
{
    if (!b->model->function_count || build_knows(b, source))
        return NULL; /* of two definitions of a standard operator the engine's is taken */
    return onnx_function_find(b->model, source->domain, source->op_type, source->overload);
}

static int check_call(const struct build *b, const struct onnx_function *f,
                      const struct onnx_node *n, struct error *e)
{
    if (n->input_count > f->input_count || n->output_count > f->output_count)
        return error_set(e, ERROR_FORMAT, "%zu inputs and %zu outputs of a function with %zu and "
                         "%zu", n->input_count, n->output_count, f->input_count, f->output_count);
    if (b->call && b->call->depth >= CALL_DEPTH_MAX)
        return error_set(e, ERROR_UNSUPPORTED, "functions call each other deeper than %d",
                         CALL_DEPTH_MAX);
    for (const struct call *c = b->call; c; c = c->parent)
        if (c->function == f)
            return error_set(e, ERROR_FORMAT, "the function calls itself");
    return 0;
}

static int find_inputs(const struct build *b, const struct onnx_node *n, struct binding *in,
                       struct error *e)
{
    for (size_t i = 0; i < n->input_count; i++) {
        const struct name *name = *n->inputs[i] ? build_find(b, n->inputs[i]) : NULL;
        if (!name && *n->inputs[i])
            return error_set(e, ERROR_FORMAT, "input '%.80s' is made by no node before this one",
                             n->inputs[i]);
        if (name)
            in[i] = (struct binding){name->value, name->sequence};
    }
    return 0;
}

static int walk(struct build *b, const struct onnx_function *f, const struct binding *in,
                struct binding *out, size_t out_count, struct error *e)
{
    int code = 0;
    for (size_t i = 0; i < f->input_count && !code; i++)
        code = build_bind(b, f->inputs[i], in[i].value, in[i].sequence, e);
    for (size_t i = 0; i < f->node_count && !code; i++)
        code = build_add_node(b, &f->nodes[i], i, e);
    for (size_t i = 0; i < out_count && !code; i++)
        code = build_result(b, f->outputs[i], &out[i], e);
    return code;
}

/* The body knows neither names nor attributes of the caller. */
static int enter(struct build *b, const struct onnx_function *f, const struct onnx_node *n,
                 const struct binding *in, struct binding *out, struct error *e)
{
    struct scope scope = {0}, *outer = b->scope;
    const struct call call = {f, n, b->call, b->call ? b->call->depth + 1 : 1};
    int64_t opset = b->opset;
    b->scope = &scope;
    b->call = &call;
    b->opset = f->opset ? f->opset : opset;
    int code = walk(b, f, in, out, n->output_count, e);
    b->opset = opset;
    b->call = call.parent;
    b->scope = outer;
    build_forget_names(&scope.names);
    return code;
}

int call_add(struct build *b, const struct onnx_function *f, const struct onnx_node *n,
             struct error *e)
{
    int code = check_call(b, f, n, e);
    if (!code)
        code = build_count(b, 1 + f->node_count + (f->input_count + n->output_count) /
                                                      COPIES_PER_NODE, e);
    if (code)
        return code;
    struct binding *in = arena_array(&b->g->arena, f->input_count, sizeof *in);
    struct binding *out = arena_array(&b->g->arena, n->output_count, sizeof *out);
    if (!in || !out)
        return error_memory(e);
    for (size_t i = 0; i < f->input_count; i++)
        in[i].value = NO_VALUE;
    code = find_inputs(b, n, in, e);
    if (!code)
        code = enter(b, f, n, in, out, e);
    for (size_t i = 0; i < n->output_count && !code; i++)
        code = build_hand_out(b, n->outputs[i], &out[i], e);
    return code;
}
