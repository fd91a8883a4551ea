/* graph_build: one walk over the file's nodes that infers shapes and folds constants. */
#include "engine/build.h"
#include "engine/ops/ops.h"

#include <inttypes.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

/* Elements read and written plus multiply-adds that folding may cost in total. What exceeds it is
 * left for run time: a file cannot make loading slow without bound. */
static const int64_t fold_budget = (int64_t)1 << 30;

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

static struct name *find_name(void *const *tree, const char *text)
{
    struct name key = {.text = text};
    struct name **found = tfind(&key, tree, compare_names);
    return found ? *found : NULL;
}

/* ERROR_FORMAT when the tree has it already. */
static int add_name(struct build *b, void **tree, const struct name *name, struct error *e)
{
    struct name *n = arena_alloc(&b->g->arena, sizeof *n);
    if (!n)
        return error_memory(e);
    *n = *name;
    struct name **found = tsearch(n, tree, compare_names);
    if (!found)
        return error_memory(e);
    if (*found != n)
        return error_set(e, ERROR_FORMAT, "the name '%.80s' is given to two values", name->text);
    return 0;
}

struct name *build_find(const struct build *b, const char *text)
{
    for (const struct scope *s = b->scope; s; s = s->parent) {
        struct name *found = find_name(&s->names, text);
        if (found)
            return found;
    }
    return NULL;
}

int build_bind_name(struct build *b, const struct name *name, struct error *e)
{
    return add_name(b, &b->scope->names, name, e);
}

int build_bind(struct build *b, const char *text, int value, const struct sequence *sequence,
               struct error *e)
{
    return build_bind_name(b, &(struct name){text, value, sequence, NULL}, e);
}

int build_result(const struct build *b, const char *text, struct binding *out, struct error *e)
{
    const struct name *n = build_find(b, text);
    if (!n || (n->value == NO_VALUE && !n->sequence && !n->deferred))
        return error_set(e, ERROR_FORMAT, "output '%.80s' is made by no node", text);
    *out = (struct binding){n->value, n->sequence};
    return n->deferred ? masked_refuse(n->deferred, e) : 0;
}

static void keep(void *name)
{
    (void)name; /* the arena owns it */
}

void build_forget_names(void **tree)
{
    tdestroy(*tree, keep);
    *tree = NULL;
}

int build_add_constant(struct build *b, const char *name, const struct tensor *t, struct error *e)
{
    if (!shape_is_sane(&t->shape))
        return error_set(e, ERROR_FORMAT, "constant '%.80s' has an impossible shape", name);
    int v = graph_add_constant(b->g, name, t->type, &t->shape, t->data);
    return v < 0 ? error_memory(e) : build_bind(b, name, v, NULL, e);
}

static int add_initializers(struct build *b, struct error *e)
{
    int code = 0;
    for (size_t i = 0; i < b->model->initializer_count && !code; i++)
        code = build_add_constant(b, b->model->initializers[i].name,
                                  &b->model->initializers[i].tensor, e);
    return code;
}

static const struct graph_feed *find_feed(const struct build *b, const char *name)
{
    for (size_t i = 0; i < b->feed_count; i++)
        if (!strcmp(b->feeds[i].name, name))
            return &b->feeds[i];
    return NULL;
}

static int64_t size_of_symbol(const struct build *b, const char *symbol)
{
    for (size_t i = 0; i < b->dim_count; i++)
        if (!strcmp(b->dims[i].symbol, symbol)) {
            b->dim_used[i] = 1;
            return b->dims[i].value;
        }
    return 1;
}

static int input_shape(const struct build *b, const struct onnx_value *in, struct shape *s,
                       struct error *e)
{
    if (in->rank < 0 || in->rank > RANK_MAX || !dtype_size(in->type))
        return error_set(e, ERROR_UNSUPPORTED, "input '%.80s': its %s is not given in the file",
                         in->name, in->rank < 0 ? "shape" : "element type");
    *s = (struct shape){.rank = in->rank};
    for (int i = 0; i < in->rank; i++)
        s->dims[i] = in->dims[i].value >= 0 ? in->dims[i].value
                                            : size_of_symbol(b, in->dims[i].symbol);
    int64_t bytes = shape_is_sane(s) ? shape_bytes(s, in->type) : -1;
    if (bytes >= 0 && (uint64_t)bytes <= b->g->memory_limit)
        return 0;
    char text[96];
    return error_set(e, ERROR_MEMORY, "input '%.80s' of shape %s is larger than the memory limit "
                     "of %" PRIu64 " bytes", in->name, shape_text(s, text, sizeof text),
                     b->g->memory_limit);
}

static int add_input(struct build *b, const struct onnx_value *in, struct error *e)
{
    const struct graph_feed *feed = find_feed(b, in->name);
    struct shape s;
    if (feed)
        return build_add_constant(b, in->name, &feed->tensor, e);
    int code = input_shape(b, in, &s, e);
    if (code)
        return code;
    int v = graph_add_value(b->g, in->name, in->type, &s);
    if (v < 0)
        return error_memory(e);
    b->g->values[v].is_input = 1;
    b->g->inputs[b->g->input_count++] = v;
    return build_bind(b, in->name, v, NULL, e);
}

static int add_inputs(struct build *b, struct error *e)
{
    const struct onnx_model *m = b->model;
    int code = 0;
    b->g->inputs = arena_array(&b->g->arena, m->input_count + 1, sizeof *b->g->inputs);
    b->dim_used = arena_alloc(&b->g->arena, b->dim_count + 1);
    if (!b->g->inputs || !b->dim_used)
        return error_memory(e);
    for (size_t i = 0; i < b->dim_count; i++)
        if (b->dims[i].value < 0)
            return error_set(e, ERROR_USAGE, "dimension %s=%" PRId64 " must not be negative",
                             b->dims[i].symbol, b->dims[i].value);
    for (size_t i = 0; i < m->input_count && !code; i++)
        code = add_input(b, &m->inputs[i], e);
    for (size_t i = 0; i < b->dim_count && !code; i++)
        if (!b->dim_used[i])
            code = error_set(e, ERROR_USAGE, "no input has a dimension named '%.80s'",
                             b->dims[i].symbol);
    return code;
}

static int note_outputs(struct build *b, struct error *e)
{
    int code = 0;
    for (size_t i = 0; i < b->model->output_count && !code; i++)
        code = add_name(b, &b->outputs,
                        &(struct name){b->model->outputs[i].name, (int)i, NULL, NULL}, e);
    return code;
}

static int add_outputs(struct build *b, struct error *e)
{
    struct graph *g = b->g;
    g->outputs = arena_array(&g->arena, b->model->output_count + 1, sizeof *g->outputs);
    if (!g->outputs)
        return error_memory(e);
    for (size_t i = 0; i < b->model->output_count; i++) {
        const char *name = b->model->outputs[i].name;
        struct binding n = {NO_VALUE, NULL};
        int code = build_result(b, name, &n, e);
        if (code)
            return code;
        if (n.sequence)
            return error_set(e, ERROR_UNSUPPORTED, "output '%.80s' is a sequence of tensors", name);
        g->outputs[g->output_count++] = n.value;
        g->values[n.value].is_output = 1;
        g->values[n.value].uses++;
    }
    return 0;
}

static int resolve_inputs(struct build *b, int index, const struct onnx_node *source,
                          struct error *e)
{
    for (size_t i = 0; i < source->input_count; i++) {
        int value = NO_VALUE;
        if (*source->inputs[i]) {
            const struct name *n = build_find(b, source->inputs[i]);
            if (!n)
                return error_set(e, ERROR_FORMAT, "input '%.80s' is made by no node before "
                                 "this one", source->inputs[i]);
            if (n->sequence)
                return error_set(e, ERROR_UNSUPPORTED, "input '%.80s' is a sequence of tensors",
                                 source->inputs[i]);
            value = n->value;
        }
        if (graph_read(b->g, index, value))
            return error_set(e, ERROR_UNSUPPORTED, "%zu inputs, at most %d are supported",
                             source->input_count, NODE_INPUT_MAX);
    }
    return 0;
}

static int make_outputs(struct build *b, int index, const struct onnx_node *source,
                        struct error *e)
{
    if (source->output_count > NODE_OUTPUT_MAX)
        return error_set(e, ERROR_UNSUPPORTED, "%zu outputs, at most %d are supported",
                         source->output_count, NODE_OUTPUT_MAX);
    for (size_t i = 0; i < source->output_count; i++) {
        int value = NO_VALUE;
        if (*source->outputs[i]) {
            value = graph_add_value(b->g, source->outputs[i], DTYPE_NONE, &(struct shape){0});
            int code = value < 0 ? error_memory(e)
                                 : build_bind(b, source->outputs[i], value, NULL, e);
            if (code)
                return code;
        }
        graph_write(b->g, index, value);
    }
    return 0;
}

/* The number of inputs and which of them may be left out is part of the table; attributes nobody
 * asked for could change the result, so they are refused. */
static int check_counts(const struct op *op, const struct onnx_node *source, struct error *e)
{
    size_t given = source->input_count;
    while (given > 0 && !*source->inputs[given - 1])
        given--;
    if (given < (size_t)op->inputs_min || given > (size_t)op->inputs_max)
        return error_set(e, ERROR_FORMAT, "%zu inputs where %d to %d are expected", given,
                         op->inputs_min, op->inputs_max);
    for (int i = 0; i < op->inputs_min; i++)
        if (!*source->inputs[i])
            return error_set(e, ERROR_FORMAT, "input %d is left out but required", i);
    size_t made = source->output_count;
    while (made > 0 && !*source->outputs[made - 1])
        made--;
    if (made < 1 || made > (size_t)op->outputs_max)
        return error_set(e, ERROR_UNSUPPORTED, "%zu outputs where 1 to %d are supported", made,
                         op->outputs_max);
    return 0;
}

static int check_attributes(const struct onnx_node *source, uint64_t read, struct error *e)
{
    for (size_t i = 0; i < source->attribute_count; i++)
        if (i >= 64 || !(read >> i & 1))
            return error_set(e, ERROR_UNSUPPORTED, "attribute '%.80s' is not known for this "
                             "operator", source->attributes[i].name);
    return 0;
}

static int infer(struct build *b, int index, const struct onnx_node *source, struct error *e)
{
    uint64_t read = 0;
    struct node *n = &b->g->nodes[index];
    const struct infer_context c = {b->g, n, source, b->opset, &read, &b->budget};
    int code = n->op->infer(&c, e);
    if (!code)
        code = check_attributes(source, read, e);
    for (int i = 0; i < n->output_count && !code; i++)
        if (n->outputs[i] != NO_VALUE && b->g->values[n->outputs[i]].type == DTYPE_NONE)
            code = error_set(e, ERROR_UNSUPPORTED, "output %d is not supported", i);
    return code;
}

static int64_t elements(const struct graph *g, int value)
{
    return value == NO_VALUE ? 0 : shape_elements(&g->values[value].shape);
}

static int64_t cost(const struct graph *g, const struct node *n)
{
    int64_t total = n->op->macs ? n->op->macs(g, n) : 0;
    int price = n->op->mac_price ? n->op->mac_price : 1;
    if (total < 0 || __builtin_mul_overflow(total, price, &total))
        return INT64_MAX;
    for (int i = 0; i < n->input_count; i++)
        if (__builtin_add_overflow(total, elements(g, n->inputs[i]), &total))
            return INT64_MAX;
    for (int i = 0; i < n->output_count; i++)
        if (__builtin_add_overflow(total, elements(g, n->outputs[i]), &total))
            return INT64_MAX;
    return total + 1;
}

/* Only the shape of its input matters to Shape and Size. */
static int reads_shape_only(const struct node *n)
{
    return !strcmp(n->op->name, "Shape") || !strcmp(n->op->name, "Size");
}

static int is_foldable(const struct graph *g, const struct node *n)
{
    if (n->op->heavy)
        return 0;
    for (int i = 0; i < n->input_count && !reads_shape_only(n); i++)
        if (n->inputs[i] != NO_VALUE && !g->values[n->inputs[i]].constant)
            return 0;
    return 1;
}

static int allocate_outputs(struct graph *g, const struct node *n, void **data, struct error *e)
{
    for (int i = 0; i < n->output_count; i++) {
        if (n->outputs[i] == NO_VALUE)
            continue;
        struct value *v = &g->values[n->outputs[i]];
        int64_t bytes = shape_bytes(&v->shape, v->type);
        data[i] = bytes < 0 ? NULL : graph_memory(g, (size_t)bytes);
        if (!data[i])
            return error_set(e, ERROR_MEMORY, "constants computed at load exceed the memory limit "
                             "of %" PRIu64 " bytes", g->memory_limit);
    }
    return 0;
}

/* Runs the node now; its outputs are constants then. */
static int fold(struct build *b, int index, struct error *e)
{
    struct graph *g = b->g;
    struct node *n = &g->nodes[index];
    void *data[NODE_OUTPUT_MAX] = {0};
    struct tensor in[NODE_INPUT_MAX] = {0}, out[NODE_OUTPUT_MAX] = {0};
    int code = allocate_outputs(g, n, data, e);
    if (code)
        return code;
    for (int i = 0; i < n->input_count; i++)
        if (n->inputs[i] != NO_VALUE) {
            const struct value *v = &g->values[n->inputs[i]];
            in[i] = (struct tensor){v->type, v->shape, (void *)(uintptr_t)v->constant};
        }
    for (int i = 0; i < n->output_count; i++)
        if (n->outputs[i] != NO_VALUE) {
            const struct value *v = &g->values[n->outputs[i]];
            out[i] = (struct tensor){v->type, v->shape, data[i]};
        }
    code = n->op->reference(n, in, out, e);
    for (int i = 0; i < n->output_count && !code; i++)
        if (n->outputs[i] != NO_VALUE)
            g->values[n->outputs[i]].constant = data[i];
    if (!code)
        graph_kill(g, index);
    return code;
}

static int copies_input(const struct graph *g, const struct node *n)
{
    const struct value *x = &g->values[n->inputs[0]], *y = &g->values[n->outputs[0]];
    for (int i = 1; i < n->output_count; i++)
        if (n->outputs[i] != NO_VALUE)
            return 0;
    if (n->op->copy == OP_COPIES)
        return 1;
    return n->op->copy != OP_COMPUTES && x->type == y->type && shape_equal(&x->shape, &y->shape);
}

/* Whether the value goes by the name of one of the graph's outputs. Other scopes may use that name
 * for something else. */
static int is_graph_output(const struct build *b, int value)
{
    const char *name = b->g->values[value].name;
    const struct name *n = find_name(&b->outputs, name) ? find_name(&b->top->names, name) : NULL;
    return n && n->value == value;
}

/* Drops a node that only copies: its output's name becomes another name of its input. A graph
 * output keeps its own name, so there the input takes that name, or the copy stays if it cannot. */
static int drop_copy(struct build *b, int index)
{
    struct graph *g = b->g;
    struct node *n = &g->nodes[index];
    int from = n->outputs[0], to = n->inputs[0];
    struct value *x = &g->values[to];
    int is_output = is_graph_output(b, from);
    if (is_output) {
        if (x->constant || x->is_input || is_graph_output(b, to))
            return 0;
        x->name = g->values[from].name;
    }
    build_find(b, g->values[from].name)->value = to;
    graph_kill(g, index);
    return 1;
}

/* A Reshape of a Reshape needs only the first one's input. */
static void skip_reshape(struct graph *g, int index)
{
    const struct node *n = &g->nodes[index];
    int producer = g->values[n->inputs[0]].producer;
    if (n->op->copy == OP_RESHAPES && producer >= 0 &&
        g->nodes[producer].op->copy == OP_RESHAPES && !g->nodes[producer].dead)
        graph_set_input(g, index, 0, g->nodes[producer].inputs[0]);
}

static int simplify(struct build *b, int index, struct error *e)
{
    struct graph *g = b->g;
    const struct node *n = &g->nodes[index];
    if (n->outputs[0] != NO_VALUE && g->values[n->outputs[0]].constant) {
        graph_kill(g, index); /* Constant: infer had the data */
        return 0;
    }
    if (is_foldable(g, n)) {
        int64_t price = cost(g, n);
        if (price <= b->budget) {
            b->budget -= price;
            return fold(b, index, e);
        }
    }
    skip_reshape(g, index);
    if (n->op->copy != OP_COMPUTES && copies_input(g, n))
        drop_copy(b, index);
    return 0;
}

static const char *node_name(struct build *b, const struct onnx_node *source, size_t i)
{
    return *source->name ? source->name
                         : arena_format(&b->g->arena, "%s #%zu", source->op_type, i);
}

static int find_op(const struct build *b, const struct onnx_node *source, const struct op **op,
                   struct error *e)
{
    int known;
    *op = op_find(source->domain, source->op_type, b->opset, &known);
    if (*op && strcmp(source->domain, "wattle"))
        return 0;
    return error_set(e, ERROR_UNSUPPORTED, "operator '%.60s' of domain '%.60s' %s opset %" PRId64,
                     source->op_type, *source->domain ? source->domain : "ai.onnx",
                     known ? "is supported, but not in" : "is not supported;", b->opset);
}

static int add_operator(struct build *b, const struct onnx_node *source, const char *name,
                        struct error *e)
{
    const struct op *op = NULL;
    int code = find_op(b, source, &op, e);
    if (!code)
        code = check_counts(op, source, e);
    int index = code ? -1 : graph_add_node(b->g, op, name);
    if (!code && index < 0)
        code = error_memory(e);
    if (!code)
        code = resolve_inputs(b, index, source, e);
    if (!code)
        code = make_outputs(b, index, source, e);
    if (!code)
        code = infer(b, index, source, e);
    return code ? code : simplify(b, index, e);
}

int build_knows(const struct build *b, const struct onnx_node *source)
{
    return !*source->domain &&
           (control_is(source) || op_find("", source->op_type, b->opset, NULL));
}

static int add_any(struct build *b, const struct onnx_node *source, const char *name,
                   struct error *e)
{
    if (masked_is(b, source))
        return masked_add(b, source, name, e);
    if (control_is(source))
        return control_add(b, source, e);
    const struct onnx_function *f = call_function(b, source);
    return f ? call_add(b, f, source, e) : add_operator(b, source, name, e);
}

int build_add_node(struct build *b, const struct onnx_node *source, size_t index, struct error *e)
{
    const struct onnx_node *node = source;
    const char *name = node_name(b, source, index);
    int code = name ? call_resolve(b, source, &node, e) : error_memory(e);
    if (!code)
        code = add_any(b, node, name, e);
    return code ? error_context(e, "node '%.80s' (%.40s)", name ? name : "", source->op_type) : 0;
}

static int add_all(struct build *b, struct error *e)
{
    int code = add_initializers(b, e);
    if (!code)
        code = add_inputs(b, e);
    if (!code)
        code = note_outputs(b, e);
    for (size_t i = 0; i < b->model->node_count && !code; i++)
        code = build_add_node(b, &b->model->nodes[i], i, e);
    if (!code)
        code = add_outputs(b, e);
    return code;
}

/* Names come from the file: one line of text must stay one, and a terminal must not obey it. */
static void clean_text(struct error *e)
{
    for (char *p = e ? e->text : ""; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?';
}

int graph_build_fed(struct graph *g, const struct onnx_model *model, const struct graph_dim *dims,
                    size_t dim_count, const struct graph_feed *feeds, size_t feed_count,
                    uint64_t memory_limit, struct error *e)
{
    *g = (struct graph){.model = model, .memory_limit = memory_limit};
    /* Structure is in proportion to what the file holds; graph_memory bounds the rest. */
    arena_init(&g->arena, SIZE_MAX / 2);
    struct scope scope = {0};
    struct build b = {.g = g, .model = model, .opset = model->opset, .scope = &scope,
                      .top = &scope, .dims = dims, .dim_count = dim_count, .feeds = feeds,
                      .feed_count = feed_count, .budget = fold_budget};
    int code = add_all(&b, e);
    build_forget_names(&scope.names);
    build_forget_names(&b.outputs);
    if (code) {
        graph_release(g);
        clean_text(e);
        return code == ERROR_USAGE ? code : error_context(e, "%s", model->path);
    }
    graph_sweep(g);
    return 0;
}

int graph_build(struct graph *g, const struct onnx_model *model, const struct graph_dim *dims,
                size_t dim_count, uint64_t memory_limit, struct error *e)
{
    return graph_build_fed(g, model, dims, dim_count, NULL, 0, memory_limit, e);
}
