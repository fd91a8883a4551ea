/* engine_model.h: ONNX models made in memory for the engine's tests, and what is expected of them.
 *
 *   struct model_builder *b = model_x(17, 3, 2, 3, 4);  opset; the input x of floats: rank, sizes
 *   model_random(b, "w", 2, 4, 5);                    f32 in -1..1, from a seed
 *   model_node(b, "MatMul", "x w", "y");              names apart by spaces; "-" is one left out
 *   model_int(b, "axis", 1);                          attributes of the node before
 *   model_output(b, "y");
 *   model_gives(b, x, 2, (const float[]){1, 2});      or _near, _refused, _nodes
 *
 * Models, and the graphs and results made of them, live until models_free, the group's teardown.
 */
#ifndef TEST_ENGINE_MODEL_H
#define TEST_ENGINE_MODEL_H

#include "base/arena.h"
#include "engine/graph.h"
#include "engine/interpret.h"
#include "engine/op.h"
#include "model/onnx.h"

#include "test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MODEL_ITEMS = 512, MODEL_PORTS = 16, MODEL_MEMORY = 512 << 20 };

/* A graph that was built, and what it was given and gave. */
struct model_run {
    struct graph g;
    void *inputs[MODEL_PORTS], *outputs[MODEL_PORTS];
    struct model_run *next;
};

struct model_builder {
    struct onnx_model model;
    struct arena arena;
    struct onnx_value inputs[MODEL_PORTS], outputs[MODEL_PORTS];
    struct onnx_node nodes[MODEL_ITEMS];
    struct onnx_initializer initializers[MODEL_ITEMS];
    uint64_t seed;
    struct model_run *runs;
    struct model_builder *next;
};

static struct model_builder *models;

static inline void model_run_free(struct model_run *r)
{
    for (int i = 0; i < MODEL_PORTS; i++) {
        free(r->inputs[i]);
        free(r->outputs[i]);
    }
    graph_release(&r->g);
    free(r);
}

static inline int models_free(void **state)
{
    (void)state;
    for (struct model_builder *b = models, *next; b; b = next) {
        next = b->next;
        for (struct model_run *r = b->runs, *after; r; r = after) {
            after = r->next;
            model_run_free(r);
        }
        arena_release(&b->arena);
        free(b);
    }
    models = NULL;
    return 0;
}

/* ---- what a model is made of ---- */

static inline struct model_builder *model_new(int64_t opset)
{
    struct model_builder *b = calloc(1, sizeof *b);
    assert_non_null(b);
    arena_init(&b->arena, SIZE_MAX / 2);
    b->model = (struct onnx_model){.path = "memory.onnx", .ir_version = 8, .opset = opset,
                                   .inputs = b->inputs, .outputs = b->outputs, .nodes = b->nodes,
                                   .initializers = b->initializers, .producer = ""};
    b->seed = 1;
    b->next = models;
    models = b;
    return b;
}

/* Text that lives as long as the model: names that are put together. */
__attribute__((format(printf, 2, 3)))
static inline char *model_text(struct model_builder *b, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return arena_text(&b->arena, text, strlen(text));
}

/* -1..1 */
static inline float model_next(struct model_builder *b)
{
    b->seed = b->seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(b->seed >> 40) / (1 << 23) - 1);
}

static inline void model_input_list(struct model_builder *b, const char *name, enum dtype type,
                                    int rank, va_list dims)
{
    struct onnx_value *v = &b->inputs[b->model.input_count++];
    *v = (struct onnx_value){.name = model_text(b, "%s", name), .type = type, .rank = rank};
    for (int i = 0; i < rank; i++) {
        int64_t dim = va_arg(dims, int);
        v->dims[i] = (struct onnx_dim){dim, dim < 0 ? "N" : NULL};
    }
}

/* Rank, then sizes; -1 is the symbol "N". */
static inline void model_input(struct model_builder *b, const char *name, enum dtype type, int rank,
                               ...)
{
    va_list dims;
    va_start(dims, rank);
    model_input_list(b, name, type, rank, dims);
    va_end(dims);
}

/* A model with the input x of floats, which most have. */
static inline struct model_builder *model_x(int64_t opset, int rank, ...)
{
    struct model_builder *b = model_new(opset);
    va_list dims;
    va_start(dims, rank);
    model_input_list(b, "x", DTYPE_F32, rank, dims);
    va_end(dims);
    return b;
}

static inline void model_output(struct model_builder *b, const char *name)
{
    b->outputs[b->model.output_count++] = (struct onnx_value){.name = model_text(b, "%s", name),
                                                              .rank = -1};
}

static inline void *model_constant(struct model_builder *b, const char *name, enum dtype type,
                                   const struct shape *shape, const void *data)
{
    size_t bytes = (size_t)shape_bytes(shape, type);
    void *copy = arena_alloc(&b->arena, bytes + 16);
    assert_non_null(copy);
    if (data)
        memcpy(copy, data, bytes);
    b->initializers[b->model.initializer_count++] = (struct onnx_initializer){
        model_text(b, "%s", name), {type, *shape, bytes ? copy : NULL}};
    return copy;
}

static inline float *model_random(struct model_builder *b, const char *name, int rank, ...)
{
    struct shape s = {.rank = rank};
    va_list args;
    va_start(args, rank);
    for (int i = 0; i < rank; i++)
        s.dims[i] = va_arg(args, int);
    va_end(args);
    float *data = model_constant(b, name, DTYPE_F32, &s, NULL);
    for (int64_t i = 0; i < shape_elements(&s); i++)
        data[i] = model_next(b);
    return data;
}

static inline void model_scalar(struct model_builder *b, const char *name, float value)
{
    model_constant(b, name, DTYPE_F32, &(struct shape){0}, &value);
}

static inline int64_t *model_long(struct model_builder *b, const char *name, int64_t value)
{
    return model_constant(b, name, DTYPE_I64, &(struct shape){0}, &value);
}

static inline int64_t *model_longs(struct model_builder *b, const char *name, int count, ...)
{
    int64_t values[16];
    va_list args;
    va_start(args, count);
    for (int i = 0; i < count; i++)
        values[i] = va_arg(args, int);
    va_end(args);
    return model_constant(b, name, DTYPE_I64, &(struct shape){1, {count}}, values);
}

static inline void model_floats(struct model_builder *b, const char *name, int count, ...)
{
    float values[32];
    va_list args;
    va_start(args, count);
    for (int i = 0; i < count; i++)
        values[i] = (float)va_arg(args, double);
    va_end(args);
    model_constant(b, name, DTYPE_F32, &(struct shape){1, {count}}, values);
}

static inline const char *const *model_names(struct model_builder *b, const char *list,
                                             size_t *count)
{
    const char **names = arena_array(&b->arena, 80, sizeof *names);
    char *text = model_text(b, "%s", list), *rest;
    *count = 0;
    for (char *p = strtok_r(text, " ", &rest); p; p = strtok_r(NULL, " ", &rest))
        names[(*count)++] = strcmp(p, "-") ? p : "";
    return names;
}

static inline struct onnx_node *model_node(struct model_builder *b, const char *op,
                                           const char *inputs, const char *outputs)
{
    struct onnx_node *n = &b->nodes[b->model.node_count++];
    *n = (struct onnx_node){.name = "", .op_type = op, .domain = ""};
    n->inputs = model_names(b, inputs, &n->input_count);
    n->outputs = model_names(b, outputs, &n->output_count);
    n->attributes = arena_array(&b->arena, 16, sizeof *n->attributes);
    return n;
}

/* ---- attributes of the node before ---- */

static inline struct onnx_attribute *model_attribute(struct model_builder *b, const char *name,
                                                     int type)
{
    struct onnx_node *n = &b->nodes[b->model.node_count - 1];
    struct onnx_attribute *a =
        (struct onnx_attribute *)(uintptr_t)&n->attributes[n->attribute_count++];
    *a = (struct onnx_attribute){.name = name, .type = type};
    return a;
}

static inline void model_int(struct model_builder *b, const char *name, int64_t value)
{
    model_attribute(b, name, ONNX_INT)->i = value;
}

static inline void model_float(struct model_builder *b, const char *name, float value)
{
    model_attribute(b, name, ONNX_FLOAT)->f = value;
}

static inline void model_string(struct model_builder *b, const char *name, const char *value)
{
    struct onnx_attribute *a = model_attribute(b, name, ONNX_STRING);
    a->s = value;
    a->s_size = strlen(value);
}

/* The values as they are, which must outlive the model. */
static inline void model_list(struct model_builder *b, const char *name, int count,
                              const int64_t *values)
{
    struct onnx_attribute *a = model_attribute(b, name, ONNX_INTS);
    a->ints = values;
    a->count = (size_t)count;
}

static inline void model_ints(struct model_builder *b, const char *name, int count, ...)
{
    int64_t *values = arena_array(&b->arena, 16, sizeof *values);
    va_list args;
    va_start(args, count);
    for (int i = 0; i < count; i++)
        values[i] = va_arg(args, int);
    va_end(args);
    model_list(b, name, count, values);
}

static inline void model_tensor(struct model_builder *b, const char *name, enum dtype type,
                                const struct shape *shape, const void *data)
{
    struct onnx_attribute *a = model_attribute(b, name, ONNX_TENSOR);
    size_t bytes = (size_t)shape_bytes(shape, type);
    void *copy = arena_alloc(&b->arena, bytes + 16);
    memcpy(copy, data, bytes);
    a->tensor = (struct tensor){type, *shape, copy};
}

/* A branch or a body: the model of another builder, which may grow until it is used. */
static inline void model_graph(struct model_builder *b, const char *name,
                               const struct model_builder *inner)
{
    const struct onnx_model *m = &inner->model;
    struct onnx_graph *g = arena_alloc(&b->arena, sizeof *g);
    assert_non_null(g);
    *g = (struct onnx_graph){m->inputs, m->input_count, m->outputs, m->output_count,
                             m->nodes, m->node_count, m->initializers, m->initializer_count};
    model_attribute(b, name, ONNX_GRAPH)->graph = g;
}

/* ---- changes of a model, for another like it ---- */

/* The node that makes this value. */
static inline struct onnx_node *model_maker(struct model_builder *b, const char *output)
{
    for (size_t i = 0; i < b->model.node_count; i++)
        if (!strcmp(b->nodes[i].outputs[0], output))
            return &b->nodes[i];
    fail_msg("no node makes %s", output);
    return NULL;
}

/* Makes that node read others. */
static inline struct onnx_node *model_reads(struct model_builder *b, const char *output,
                                            const char *inputs)
{
    struct onnx_node *n = model_maker(b, output);
    n->inputs = model_names(b, inputs, &n->input_count);
    return n;
}

/* The data of a constant. */
static inline void *model_data(struct model_builder *b, const char *name)
{
    for (size_t i = 0; i < b->model.initializer_count; i++)
        if (!strcmp(b->initializers[i].name, name))
            return b->initializers[i].tensor.data;
    fail_msg("no constant %s", name);
    return NULL;
}

/* An attribute of that node. */
static inline struct onnx_attribute *model_attribute_of(struct model_builder *b, const char *output,
                                                        const char *name)
{
    const struct onnx_node *n = model_maker(b, output);
    for (size_t i = 0; i < n->attribute_count; i++)
        if (!strcmp(n->attributes[i].name, name))
            return (struct onnx_attribute *)(uintptr_t)&n->attributes[i];
    fail_msg("no attribute %s of what makes %s", name, output);
    return NULL;
}

/* ---- what becomes of it ---- */

/* Builds, and fails the test with the error's text if that fails. */
static inline struct model_run *model_start(struct model_builder *b)
{
    struct model_run *r = calloc(1, sizeof *r);
    struct error e;
    assert_non_null(r);
    if (graph_build(&r->g, &b->model, NULL, 0, MODEL_MEMORY, &e))
        fail_msg("graph_build: %s", e.text);
    r->next = b->runs;
    b->runs = r;
    return r;
}

static inline struct graph *model_build(struct model_builder *b)
{
    return &model_start(b)->g;
}

/* Builds, expects it to fail with this code and a text that holds `part`. */
static inline void model_refused(const struct model_builder *b, int code, const char *part)
{
    struct graph g;
    struct error e = {0};
    int got = graph_build(&g, &b->model, NULL, 0, MODEL_MEMORY, &e);
    if (!got)
        graph_release(&g);
    if (got != code || !strstr(e.text, part))
        fail_msg("expected %d and '%s', got %d: %s", code, part, got, e.text);
}

/* Data for the graph's inputs: floats -1..1, integers 0..limit-1. One malloc for each. */
static inline void model_feed(struct model_builder *b, const struct graph *g, int limit,
                              void **inputs)
{
    for (int i = 0; i < g->input_count; i++) {
        const struct value *v = &g->values[g->inputs[i]];
        int64_t n = shape_elements(&v->shape);
        inputs[i] = calloc((size_t)n + 1, 8);
        assert_non_null(inputs[i]);
        for (int64_t k = 0; k < n; k++) {
            float x = model_next(b);
            if (v->type == DTYPE_F32)
                ((float *)inputs[i])[k] = x;
            else if (v->type == DTYPE_I64)
                ((int64_t *)inputs[i])[k] = (int64_t)((x + 1) / 2 * (float)limit) % limit;
        }
    }
}

/* Builds and runs on the data of the only input or, without it, on random data. */
static inline struct model_run *model_runs(struct model_builder *b, const void *x)
{
    struct model_run *r = model_start(b);
    struct error e;
    if (!x)
        model_feed(b, &r->g, 10, r->inputs);
    if (interpret(&r->g, x ? &x : (const void *const *)r->inputs, r->outputs, &e))
        fail_msg("%s", e.text);
    return r;
}

/* Builds, and expects the run on the data of the only input to fail. */
static inline void model_run_refused(struct model_builder *b, const void *x, int code,
                                     const char *part)
{
    struct model_run *r = model_start(b);
    struct error e = {0};
    int got = interpret(&r->g, &x, r->outputs, &e);
    if (got != code || !strstr(e.text, part))
        fail_msg("expected %d and '%s', got %d: %s", code, part, got, e.text);
    for (int i = 0; i < r->g.output_count; i++)
        assert_null(r->outputs[i]);
}

/* Builds, runs on the input x of floats, and expects these for the first output. */
static inline void model_near(struct model_builder *b, const float *x, int count, const float *want,
                              float tolerance)
{
    const struct model_run *r = model_runs(b, x);
    const float *have = r->outputs[0];
    assert_int_equal(shape_elements(&r->g.values[r->g.outputs[0]].shape), count);
    for (int i = 0; i < count; i++)
        if (!(have[i] == want[i] || fabsf(have[i] - want[i]) <= tolerance))
            fail_msg("element %d is %g, not %g", i, (double)have[i], (double)want[i]);
}

static inline void model_gives(struct model_builder *b, const float *x, int count,
                               const float *want)
{
    model_near(b, x, count, want, 0);
}

/* "Conv Relu Add": the live nodes' operators, fused ones by their `fused` text. */
static inline void graph_is(const struct graph *g, const char *nodes)
{
    char text[4096] = "";
    size_t n = 0;
    for (int i = 0; i < g->node_count && n < sizeof text; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", i ? " " : "",
                              *g->nodes[i].op->domain ? g->nodes[i].fused : g->nodes[i].op->name);
    assert_string_equal(text, nodes);
}

static inline int graph_count(const struct graph *g, const char *domain, const char *op)
{
    int count = 0;
    for (int i = 0; i < g->node_count; i++)
        count += !strcmp(g->nodes[i].op->name, op) && !strcmp(g->nodes[i].op->domain, domain);
    return count;
}

static inline const struct value *graph_output(const struct graph *g, int i)
{
    return &g->values[g->outputs[i]];
}

#endif
