/* engine_kernels.h: fast kernels held against the plain-C reference of the same nodes, with each
 * way to run them, on one thread and on two.
 *
 *   struct sample s;
 *   begin(&s, seed);
 *   int x = add_input(&s, SHAPE(2, between(&s, 1, 20), 7));   random, as all constants are
 *   with_int(&s, "axis", 1);                          attributes of the ONNX node that follows
 *   int y = ONNX(&s, "Softmax", x);                   or NODE for an internal operator
 *   add_output(&s, y);
 *   check(&s, 0, 1e-5);
 */
#ifndef TEST_ENGINE_KERNELS_H
#define TEST_ENGINE_KERNELS_H

#include "engine/builder.h"
#include "engine/op.h"

#include "test.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_LIMIT (1ull << 32)
#define COUNT_OF(list) (sizeof(list) / sizeof *(list))

/* How many candidates the tuner may have, each of which is forced once. */
enum { CONV_WAYS = 6, LINEAR_WAYS = 3 };

enum { SAMPLE_ATTRIBUTES = 8 };

struct sample {
    struct graph g;
    uint32_t random;
    void **data;   /* of each value, for the reference */
    int fast_only; /* fail where a node would run its reference */
    int reorders;  /* fail with more than these; -1: any number */
    const char *kernel; /* fail unless a step has this one */
    int forget;    /* let packed constants go: they can be built from once */
    int opset;
    struct onnx_node source; /* the attributes of the ONNX node that follows */
    struct onnx_attribute attributes[SAMPLE_ATTRIBUTES];
    int64_t ints[SAMPLE_ATTRIBUTES][RANK_MAX];
};

/* ---- numbers ---- */

static inline uint32_t draw(struct sample *s, uint32_t below)
{
    s->random = s->random * 1664525u + 1013904223u;
    return (s->random >> 8) % below;
}

static inline int64_t between(struct sample *s, int64_t low, int64_t high)
{
    return low + draw(s, (uint32_t)(high - low + 1));
}

/* -1..1 */
static inline void fill(struct sample *s, float *data, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        data[i] = (float)draw(s, 20001) / 10000.0f - 1.0f;
}

static inline struct shape make_shape(int rank, const int64_t *dims)
{
    struct shape s = {.rank = rank};
    memcpy(s.dims, dims, (size_t)rank * sizeof *dims);
    return s;
}
#define SHAPE(...) make_shape((int)COUNT_OF(((int64_t[]){__VA_ARGS__})), (int64_t[]){__VA_ARGS__})

/* ---- a small graph ---- */

static inline void begin(struct sample *s, uint32_t seed)
{
    *s = (struct sample){.g.memory_limit = MEMORY_LIMIT, .random = seed * 7919 + 1, .fast_only = 1,
                         .reorders = -1, .opset = 17};
    arena_init(&s->g.arena, SIZE_MAX / 2);
    s->g.inputs = arena_array(&s->g.arena, 16, sizeof(int));
    s->g.outputs = arena_array(&s->g.arena, 16, sizeof(int));
}

static inline const struct shape *shape_at(const struct sample *s, int value)
{
    return &s->g.values[value].shape;
}

static inline int add_input(struct sample *s, struct shape shape)
{
    int v = graph_add_value(&s->g, "x", DTYPE_F32, &shape);
    s->g.values[v].is_input = 1;
    s->g.inputs[s->g.input_count++] = v;
    return v;
}

static inline void add_output(struct sample *s, int value)
{
    s->g.outputs[s->g.output_count++] = value;
    s->g.values[value].is_output = 1;
    s->g.values[value].uses++;
}

static inline int add_constant(struct sample *s, struct shape shape)
{
    int64_t n = shape_elements(&shape);
    float *data = graph_memory(&s->g, (size_t)n * sizeof *data);
    fill(s, data, n);
    return graph_add_constant(&s->g, "c", DTYPE_F32, &shape, data);
}

static inline int add_longs(struct sample *s, struct shape shape, const int64_t *numbers)
{
    size_t bytes = (size_t)shape_bytes(&shape, DTYPE_I64);
    return graph_add_constant(&s->g, "longs", DTYPE_I64, &shape,
                              memcpy(graph_memory(&s->g, bytes), numbers, bytes));
}

static inline int add_number(struct sample *s, float number)
{
    float *data = graph_memory(&s->g, sizeof *data);
    *data = number;
    return graph_add_constant(&s->g, "number", DTYPE_F32, &(struct shape){0}, data);
}

/* A constant's numbers, for those that must be of some kind. */
static inline float *constant_data(const struct sample *s, int value)
{
    return (float *)(uintptr_t)s->g.values[value].constant;
}

/* Inferred by the operator itself. Bit i of wanted: output i. The node's index. */
static inline int add_node(struct sample *s, const struct op *op, const struct onnx_node *source,
                           struct attributes a, int count, const int *inputs, unsigned wanted)
{
    struct error e;
    uint64_t read = 0;
    int index = graph_add_node(&s->g, op, "node");
    for (int i = 0; i < count; i++)
        graph_read(&s->g, index, inputs[i]);
    for (int i = 0; wanted >> i; i++)
        graph_write(&s->g, index, wanted >> i & 1
                    ? graph_add_value(&s->g, "y", DTYPE_NONE, &(struct shape){0}) : NO_VALUE);
    s->g.nodes[index].a = a;
    struct infer_context c = {&s->g, &s->g.nodes[index], source, s->opset, &read, NULL};
    if (op->infer(&c, &e))
        fail_msg("%s", e.text);
    return index;
}

static inline int internal_node(struct sample *s, const struct op *op, struct attributes a,
                                int count, const int *inputs)
{
    int index = add_node(s, op, NULL, a, count, inputs, 1);
    return s->g.nodes[index].outputs[0];
}
#define NODE(s, op, a, ...) internal_node(s, op, a, (int)COUNT_OF(((int[]){__VA_ARGS__})), \
                                          (int[]){__VA_ARGS__})

static inline struct onnx_attribute *with_attribute(struct sample *s, const char *name, int type)
{
    struct onnx_attribute *a = &s->attributes[s->source.attribute_count++];
    *a = (struct onnx_attribute){.name = name, .type = type};
    return a;
}

static inline void with_int(struct sample *s, const char *name, int64_t value)
{
    with_attribute(s, name, ONNX_INT)->i = value;
}

static inline void with_float(struct sample *s, const char *name, float value)
{
    with_attribute(s, name, ONNX_FLOAT)->f = value;
}

static inline void with_string(struct sample *s, const char *name, const char *value)
{
    struct onnx_attribute *a = with_attribute(s, name, ONNX_STRING);
    a->s = value;
    a->s_size = strlen(value);
}

static inline void with_ints(struct sample *s, const char *name, size_t count, const int64_t *ints)
{
    int64_t *kept = s->ints[s->source.attribute_count];
    struct onnx_attribute *a = with_attribute(s, name, ONNX_INTS);
    a->ints = memcpy(kept, ints, count * sizeof *ints);
    a->count = count;
}

/* Several outputs: the node's index. */
static inline int onnx_outputs(struct sample *s, const char *name, int count, const int *inputs,
                               unsigned wanted)
{
    static const char *const no_names[] = {NULL};
    int known;
    const struct op *op = op_find("", name, s->opset, &known);
    assert_non_null(op);
    s->source = (struct onnx_node){.name = "", .op_type = name, .domain = "", .inputs = no_names,
                                   .outputs = no_names, .attributes = s->attributes,
                                   .attribute_count = s->source.attribute_count};
    int index = add_node(s, op, &s->source, (struct attributes){0}, count, inputs, wanted);
    s->source.attribute_count = 0;
    return index;
}

static inline int onnx_value(struct sample *s, const char *name, int count, const int *inputs)
{
    int index = onnx_outputs(s, name, count, inputs, 1);
    return s->g.nodes[index].outputs[0];
}
#define ONNX(s, name, ...) onnx_value(s, name, (int)COUNT_OF(((int[]){__VA_ARGS__})), \
                                      (int[]){__VA_ARGS__})

/* An input whose channels, the second dimension, lie side by side. */
static inline int channels_last(struct sample *s, struct shape shape)
{
    struct shape lying = shape;
    int64_t perm[RANK_MAX] = {0, shape.rank - 1};
    for (int i = 2; i < shape.rank; i++)
        perm[i] = i - 1;
    for (int i = 0; i < shape.rank; i++)
        lying.dims[perm[i]] = shape.dims[i];
    int x = add_input(s, lying);
    with_ints(s, "perm", (size_t)shape.rank, perm);
    return ONNX(s, "Transpose", x);
}

/* A 1x1 convolution: its output lies as convolutions leave it. */
static inline struct attributes pointwise(enum activation activation)
{
    return (struct attributes){.spatial = 2, .kernel = {1, 1}, .strides = {1, 1},
                               .dilations = {1, 1}, .group = 1, .activation = activation};
}

static inline int convolved(struct sample *s, int x)
{
    int64_t c = shape_at(s, x)->dims[1];
    return NODE(s, &op_fused_conv, pointwise(ACT_NONE), x, add_constant(s, SHAPE(c, c, 1, 1)));
}

static inline int transposed(struct sample *s, int x, const int64_t *perm)
{
    with_ints(s, "perm", (size_t)shape_at(s, x)->rank, perm);
    return ONNX(s, "Transpose", x);
}

static inline void random_order(struct sample *s, int64_t *perm, int rank)
{
    for (int i = 0; i < rank; i++)
        perm[i] = i;
    for (int i = rank - 1; i > 0; i--) {
        int64_t k = draw(s, (uint32_t)i + 1), swap = perm[i];
        perm[i] = perm[k];
        perm[k] = swap;
    }
}

/* ---- both ways ---- */

static inline void run_reference(struct sample *s)
{
    struct error e;
    s->data = calloc((size_t)s->g.value_count, sizeof *s->data);
    for (int i = 0; i < s->g.value_count; i++) {
        const struct value *v = &s->g.values[i];
        if (v->constant)
            continue;
        s->data[i] = calloc(1, (size_t)shape_bytes(&v->shape, v->type) + 64);
        if (v->is_input)
            fill(s, s->data[i], shape_elements(&v->shape));
    }
    for (int i = 0; i < s->g.node_count; i++)
        if (graph_run_node(&s->g, &s->g.nodes[i], s->data, &e))
            fail_msg("%s", e.text);
}

/* Never NaN, which the next element would make forget. */
static inline double apart(float got, float want)
{
    if (isnan(got) || isnan(want))
        return isnan(got) && isnan(want) ? 0 : INFINITY;
    return got == want ? 0 : fabs((double)got - (double)want);
}

static inline void compare(const struct sample *s, const float *got, int value, double tolerance)
{
    const void *known = s->g.values[value].constant;
    const float *want = known ? known : s->data[value];
    int64_t n = shape_elements(shape_at(s, value)), at = 0;
    double scale = 1e-30, worst = 0;
    char shape[96];
    for (int64_t i = 0; i < n; i++) {
        double difference = apart(got[i], want[i]);
        scale = fabs((double)want[i]) > scale ? fabs((double)want[i]) : scale;
        if (difference > worst) {
            worst = difference;
            at = i;
        }
    }
    if (!(worst <= tolerance * scale))
        fail_msg("%s: element %lld of %s is %g, not %g (scale %g)",
                 s->g.nodes[s->g.node_count - 1].op->name, (long long)at,
                 shape_text(shape_at(s, value), shape, sizeof shape), (double)got[at],
                 (double)want[at], scale);
}

static inline void build(struct sample *s, struct program *p, struct builder *b, int *outputs)
{
    struct error e;
    program_init(p, MEMORY_LIMIT);
    int code = builder_run(b, 0, &e);
    for (int i = 0; !code && i < s->g.output_count; i++)
        code = builder_output(b, s->g.outputs[i], &outputs[i], &e);
    if (!code)
        code = program_plan(p, MEMORY_LIMIT, &e);
    if (code)
        fail_msg("%s", e.text);
}

/* Twice, with garbage in between: nothing may depend on what memory held. */
static inline void run_and_compare(struct sample *s, struct program *p, const struct builder *b,
                                   const int *outputs, double tolerance)
{
    struct error e;
    for (int round = 0; round < 2; round++) {
        memset(p->memory.data, round ? 0xff : 0x3f, p->memory_bytes);
        for (int i = 0; i < s->g.input_count; i++) {
            const struct value *v = &s->g.values[s->g.inputs[i]];
            memcpy(program_address(p, builder_input(b, s->g.inputs[i])), s->data[s->g.inputs[i]],
                   (size_t)shape_bytes(&v->shape, v->type));
        }
        if (program_run(p, &e))
            fail_msg("%s", e.text);
        for (int i = 0; i < s->g.output_count; i++) {
            compare(s, program_address(p, outputs[i]), s->g.outputs[i], tolerance);
            for (int k = 0; k < s->g.input_count; k++)
                assert_int_not_equal(outputs[i], builder_input(b, s->g.inputs[k]));
        }
    }
}

static inline int has_kernel(const struct program *p, const char *kernel)
{
    for (int i = 0; i < p->step_count; i++)
        if (strcmp(p->steps[i].kernel, kernel) == 0)
            return 1;
    return 0;
}

static inline int count_reorders(const struct program *p)
{
    int count = 0;
    for (int i = 0; i < p->step_count; i++)
        count += p->steps[i].is_reorder;
    return count;
}

/* forced: 0 for the first choice, else 1 + the candidate. The number of steps. */
static inline int try_one(struct sample *s, struct onednn *d, int threads, int forced,
                          double tolerance)
{
    struct program p;
    int outputs[16];
    struct builder b = {.graph = &s->g, .program = &p, .onednn = d, .limit = MEMORY_LIMIT,
                        .keep_constants = !s->forget,
                        .tuner = {.budget_ns = forced ? 1 : 0, .forced = forced}};
    omp_set_num_threads(threads);
    build(s, &p, &b, outputs);
    for (int i = 0; s->fast_only && i < p.step_count; i++)
        if (p.steps[i].is_reference)
            fail_msg("%s runs its reference", p.steps[i].op);
    if (s->reorders >= 0 && count_reorders(&p) > s->reorders)
        fail_msg("%d reorders, not %d", count_reorders(&p), s->reorders);
    if (s->kernel && !has_kernel(&p, s->kernel))
        fail_msg("no step runs %s", s->kernel);
    run_and_compare(s, &p, &b, outputs, tolerance);
    int steps = p.step_count;
    builder_release(&b);
    program_release(&p);
    return steps;
}

static inline void finish(struct sample *s)
{
    for (int i = 0; i < s->g.value_count; i++)
        free(s->data[i]);
    free(s->data);
    graph_release(&s->g);
}

/* All outputs, within the tolerance times the largest element; then the sample is gone. */
static inline void check(struct sample *s, int ways, double tolerance)
{
    struct onednn *d;
    struct error e;
    run_reference(s);
    assert_int_equal(onednn_open(&d, &e), 0);
    for (int threads = 1; threads <= 2; threads++)
        for (int forced = 0; forced <= ways; forced++)
            try_one(s, d, threads, forced, tolerance);
    onednn_close(d);
    finish(s);
}

/* The first choice on one thread alone: how many steps it takes. */
static inline int check_steps(struct sample *s, double tolerance)
{
    struct onednn *d;
    struct error e;
    run_reference(s);
    assert_int_equal(onednn_open(&d, &e), 0);
    int steps = try_one(s, d, 1, 0, tolerance);
    onednn_close(d);
    return steps;
}

#endif
