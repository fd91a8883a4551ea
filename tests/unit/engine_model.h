/* engine_model.h: models made in memory for the engine's tests, without a file.
 *
 *   struct model_builder *b = model_new(17);
 *   model_input(b, "x", DTYPE_F32, 2, 3, 4);          rank, then sizes; -1 is the symbol "N"
 *   model_random(b, "w", 2, 4, 5);                    f32 in -1..1, from a seed
 *   model_node(b, "MatMul", "x w", "y");              names apart by spaces; "-" is one left out
 *   model_int(b, "axis", 1);                          attributes of the node before
 *   model_output(b, "y");
 */
#ifndef TEST_ENGINE_MODEL_H
#define TEST_ENGINE_MODEL_H

#include "base/arena.h"
#include "engine/graph.h"
#include "engine/interpret.h"
#include "engine/op.h"
#include "model/onnx.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MODEL_ITEMS = 512, MODEL_MEMORY = 512 << 20 };

struct model_builder {
    struct onnx_model model;
    struct arena arena;
    struct onnx_value inputs[16], outputs[16];
    struct onnx_node nodes[MODEL_ITEMS];
    struct onnx_initializer initializers[MODEL_ITEMS];
    uint64_t seed;
};

static inline struct model_builder *model_new(int64_t opset)
{
    struct model_builder *b = calloc(1, sizeof *b);
    assert_non_null(b);
    arena_init(&b->arena, SIZE_MAX / 2);
    b->model = (struct onnx_model){.path = "memory.onnx", .ir_version = 8, .opset = opset,
                                   .inputs = b->inputs, .outputs = b->outputs, .nodes = b->nodes,
                                   .initializers = b->initializers, .producer = ""};
    b->seed = 1;
    return b;
}

static inline void model_free(struct model_builder *b)
{
    arena_release(&b->arena);
    free(b);
}

static inline char *model_text(struct model_builder *b, const char *text)
{
    return arena_text(&b->arena, text, strlen(text));
}

/* -1..1 */
static inline float model_next(struct model_builder *b)
{
    b->seed = b->seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(b->seed >> 40) / (1 << 23) - 1);
}

static inline void model_input(struct model_builder *b, const char *name, enum dtype type, int rank,
                               ...)
{
    struct onnx_value *v = &b->inputs[b->model.input_count++];
    va_list args;
    *v = (struct onnx_value){.name = model_text(b, name), .type = type, .rank = rank};
    va_start(args, rank);
    for (int i = 0; i < rank; i++) {
        int64_t dim = va_arg(args, int);
        v->dims[i] = (struct onnx_dim){dim, dim < 0 ? "N" : NULL};
    }
    va_end(args);
}

static inline void model_output(struct model_builder *b, const char *name)
{
    b->outputs[b->model.output_count++] = (struct onnx_value){.name = model_text(b, name),
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
        model_text(b, name), {type, *shape, bytes ? copy : NULL}};
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

static inline void model_longs(struct model_builder *b, const char *name, int count, ...)
{
    int64_t values[16];
    va_list args;
    va_start(args, count);
    for (int i = 0; i < count; i++)
        values[i] = va_arg(args, int);
    va_end(args);
    model_constant(b, name, DTYPE_I64, &(struct shape){1, {count}}, values);
}

static inline const char *const *model_names(struct model_builder *b, const char *list,
                                             size_t *count)
{
    const char **names = arena_array(&b->arena, 80, sizeof *names);
    char *text = model_text(b, list), *rest;
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

static inline struct onnx_attribute *model_attribute(struct model_builder *b, const char *name,
                                                     int type)
{
    struct onnx_node *n = &b->nodes[b->model.node_count - 1];
    struct onnx_attribute *a = (struct onnx_attribute *)(uintptr_t)&n->attributes[n->attribute_count++];
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

static inline void model_ints(struct model_builder *b, const char *name, int count, ...)
{
    int64_t *values = arena_array(&b->arena, 16, sizeof *values);
    struct onnx_attribute *a = model_attribute(b, name, ONNX_INTS);
    va_list args;
    va_start(args, count);
    for (int i = 0; i < count; i++)
        values[i] = va_arg(args, int);
    va_end(args);
    a->ints = values;
    a->count = (size_t)count;
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

/* Builds, and fails the test with the error's text if that fails. */
static inline void model_build(const struct model_builder *b, struct graph *g)
{
    struct error e;
    if (graph_build(g, &b->model, NULL, 0, MODEL_MEMORY, &e))
        fail_msg("graph_build: %s", e.text);
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

/* Builds, runs on the input x of floats, and expects these for the first output. */
static inline void model_gives(const struct model_builder *b, const float *x, int count,
                               const float *want)
{
    struct graph g;
    struct error e;
    const void *inputs[] = {x};
    void *outputs[16];
    model_build(b, &g);
    if (interpret(&g, inputs, outputs, &e))
        fail_msg("%s", e.text);
    assert_int_equal(shape_elements(&g.values[g.outputs[0]].shape), count);
    for (int i = 0; i < count; i++)
        if (!(((float *)outputs[0])[i] == want[i]))
            fail_msg("element %d is %g, not %g", i, (double)((float *)outputs[0])[i],
                     (double)want[i]);
    for (int i = 0; i < g.output_count; i++)
        free(outputs[i]);
    graph_release(&g);
}

/* "Conv Relu Add": the live nodes' operators, fused ones by their `fused` text. */
static inline const char *model_list(const struct graph *g, char *text, size_t size)
{
    size_t n = 0;
    text[0] = '\0';
    for (int i = 0; i < g->node_count && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, "%s%s", i ? " " : "",
                              *g->nodes[i].op->domain ? g->nodes[i].fused : g->nodes[i].op->name);
    return text;
}

static inline int model_count(const struct graph *g, const char *domain, const char *op)
{
    int count = 0;
    for (int i = 0; i < g->node_count; i++)
        count += !strcmp(g->nodes[i].op->name, op) && !strcmp(g->nodes[i].op->domain, domain);
    return count;
}

#endif
