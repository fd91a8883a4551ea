/* Every fast kernel against the plain-C reference of the same node, on shapes drawn at random and
 * on the awkward ones, with each way to run it, on one thread and on two. */
#include "engine/activation.h"
#include "engine/builder.h"
#include "engine/exp.h"
#include "engine/op.h"
#include "engine/rows.h"
#include "engine/winograd.h"

#include "test.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMORY_LIMIT (1ull << 32)

/* ---- a small graph of one or two nodes ---- */

struct sample {
    struct graph g;
    uint32_t random;
    void **data; /* of each value, for the reference */
    int fast_only; /* fail where a node would run its reference */
    int reorders; /* fail with more than these; -1: any number */
    int forget;    /* let packed constants go: they can be built from once */
    int opset;     /* 17 when 0 */
};

static uint32_t draw(struct sample *s, uint32_t below)
{
    s->random = s->random * 1664525u + 1013904223u;
    return (s->random >> 8) % below;
}

static float draw_float(struct sample *s)
{
    return (float)draw(s, 20001) / 10000.0f - 1.0f;
}

static void fill(struct sample *s, float *data, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        data[i] = draw_float(s);
}

static void begin(struct sample *s, uint32_t seed)
{
    *s = (struct sample){.g.memory_limit = MEMORY_LIMIT, .random = seed * 7919 + 1, .fast_only = 1,
                         .reorders = -1};
    arena_init(&s->g.arena, SIZE_MAX / 2);
    s->g.inputs = arena_array(&s->g.arena, 16, sizeof(int));
    s->g.outputs = arena_array(&s->g.arena, 16, sizeof(int));
}

static struct shape make_shape(int rank, const int64_t *dims)
{
    struct shape s = {.rank = rank};
    memcpy(s.dims, dims, (size_t)rank * sizeof *dims);
    return s;
}
#define SHAPE(...) make_shape((int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), \
                              (int64_t[]){__VA_ARGS__})

static int add_input(struct sample *s, struct shape shape)
{
    int v = graph_add_value(&s->g, "x", DTYPE_F32, &shape);
    s->g.values[v].is_input = 1;
    s->g.inputs[s->g.input_count++] = v;
    return v;
}

static int add_constant(struct sample *s, struct shape shape)
{
    int64_t n = shape_elements(&shape);
    float *data = graph_memory(&s->g, (size_t)n * sizeof *data);
    fill(s, data, n);
    return graph_add_constant(&s->g, "c", DTYPE_F32, &shape, data);
}

/* Inferred by the operator itself; source holds an ONNX node's attributes. */
static int add_node(struct sample *s, const struct op *op, struct attributes a,
                    const struct onnx_node *source, int count, const int *inputs)
{
    struct error e;
    uint64_t read = 0;
    int index = graph_add_node(&s->g, op, "node");
    int out = graph_add_value(&s->g, "y", DTYPE_NONE, &(struct shape){0});
    for (int i = 0; i < count; i++)
        graph_read(&s->g, index, inputs[i]);
    graph_write(&s->g, index, out);
    s->g.nodes[index].a = a;
    struct infer_context c = {&s->g, &s->g.nodes[index], source, s->opset ? s->opset : 17, &read,
                              NULL};
    if (op->infer(&c, &e))
        fail_msg("%s", e.text);
    return out;
}
#define NODE(s, op, a, ...) add_node(s, op, a, NULL, \
    (int)(sizeof((int[]){__VA_ARGS__}) / sizeof(int)), (int[]){__VA_ARGS__})

static void add_output(struct sample *s, int value)
{
    s->g.outputs[s->g.output_count++] = value;
    s->g.values[value].is_output = 1;
    s->g.values[value].uses++;
}

/* ---- both ways ---- */

static void run_reference(struct sample *s)
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

static void compare(const struct sample *s, const float *got, int value, double tolerance)
{
    const float *want = s->data[value];
    int64_t n = shape_elements(&s->g.values[value].shape);
    double scale = 1e-30, worst = 0;
    int64_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        if (fabs((double)want[i]) > scale)
            scale = fabs((double)want[i]);
        double difference = fabs((double)got[i] - (double)want[i]);
        if (!(difference <= worst)) {
            worst = difference;
            at = i;
        }
    }
    char shape[96];
    if (!(worst <= tolerance * scale))
        fail_msg("%s: element %lld of %s is %g, not %g (scale %g)",
                 s->g.nodes[s->g.node_count - 1].op->name, (long long)at,
                 shape_text(&s->g.values[value].shape, shape, sizeof shape), (double)got[at],
                 (double)want[at], scale);
}

static void build(struct sample *s, struct program *p, struct builder *b, int *outputs)
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
static void run_and_compare(struct sample *s, struct program *p, const struct builder *b,
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

static int count_reorders(const struct program *p)
{
    int count = 0;
    for (int i = 0; i < p->step_count; i++)
        count += p->steps[i].is_reorder;
    return count;
}

/* forced: 0 for the first choice, else 1 + the candidate. */
static void try_one(struct sample *s, struct onednn *d, int threads, int forced, double tolerance)
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
    run_and_compare(s, &p, &b, outputs, tolerance);
    builder_release(&b);
    program_release(&p);
}

static void finish(struct sample *s)
{
    for (int i = 0; i < s->g.value_count; i++)
        free(s->data[i]);
    free(s->data);
    graph_release(&s->g);
}

static void check(struct sample *s, int candidates, double tolerance)
{
    struct onednn *d;
    struct error e;
    run_reference(s);
    assert_int_equal(onednn_open(&d, &e), 0);
    for (int threads = 1; threads <= 2; threads++)
        for (int forced = 0; forced <= candidates; forced++)
            try_one(s, d, threads, forced, tolerance);
    onednn_close(d);
    finish(s);
}

/* ---- convolutions ---- */

enum { CONV_WAYS = 6, LINEAR_WAYS = 3 };

struct conv_case {
    int64_t n, c, h, w, o, kh, kw, sh, sw, dh, dw, pt, pl, pb, pr, group;
    int bias, residual;
    enum activation activation;
};

static void check_conv(struct conv_case c, uint32_t seed)
{
    struct sample s;
    begin(&s, seed);
    struct attributes a = {.spatial = 2, .kernel = {c.kh, c.kw}, .strides = {c.sh, c.sw},
                           .dilations = {c.dh, c.dw}, .pads_begin = {c.pt, c.pl},
                           .pads_end = {c.pb, c.pr}, .group = c.group,
                           .activation = c.activation, .low = -0.5f, .high = 0.75f,
                           .has_bias = c.bias, .has_residual = c.residual};
    int64_t ho = (c.h + c.pt + c.pb - (c.kh - 1) * c.dh - 1) / c.sh + 1;
    int64_t wo = (c.w + c.pl + c.pr - (c.kw - 1) * c.dw - 1) / c.sw + 1;
    int x = add_input(&s, SHAPE(c.n, c.c, c.h, c.w));
    int w = add_constant(&s, SHAPE(c.o, c.c / c.group, c.kh, c.kw));
    int bias = c.bias ? add_constant(&s, SHAPE(c.o)) : NO_VALUE;
    int residual = c.residual ? add_input(&s, SHAPE(c.n, c.o, ho, wo)) : NO_VALUE;
    add_output(&s, NODE(&s, &op_fused_conv, a, x, w, bias, residual));
    check(&s, CONV_WAYS, 2e-5);
}

static void convolutions_that_models_use(void **state)
{
    (void)state;
    static const struct conv_case cases[] = {
        {1, 3, 23, 23, 16, 7, 7, 2, 2, 1, 1, 3, 3, 3, 3, 1, 1, 0, ACT_RELU},
        {1, 3, 20, 20, 32, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 0, ACT_CLIP},
        {1, 64, 14, 14, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, ACT_RELU},
        {2, 16, 9, 11, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, ACT_RELU},
        {1, 16, 7, 7, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, ACT_CLIP},
        {1, 24, 8, 8, 16, 3, 3, 1, 1, 1, 1, 0, 1, 2, 0, 1, 1, 0, ACT_NONE},
        {1, 64, 7, 7, 256, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, ACT_RELU},
        {2, 32, 14, 14, 64, 1, 1, 2, 2, 1, 1, 0, 0, 0, 0, 1, 1, 0, ACT_NONE},
        {1, 48, 15, 15, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 48, 1, 0, ACT_CLIP},
        {1, 48, 15, 15, 48, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 48, 1, 0, ACT_CLIP},
        {1, 32, 9, 9, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 4, 1, 0, ACT_RELU},
        {3, 16, 1, 1, 24, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, ACT_SIGMOID},
        {1, 3, 20, 20, 32, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 0, ACT_SWISH},
        {1, 48, 15, 15, 48, 5, 5, 2, 2, 1, 1, 2, 2, 2, 2, 48, 1, 0, ACT_SWISH},
        {1, 48, 15, 15, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 48, 1, 0, ACT_HARD_SWISH},
        {1, 40, 7, 7, 96, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, ACT_SWISH},
        {1, 40, 1, 1, 96, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, ACT_HARD_SIGMOID},
        {1, 32, 14, 14, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, ACT_SWISH},
        {1, 32, 13, 11, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, ACT_MISH},
        {1, 32, 9, 9, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, ACT_LEAKY_RELU},
        {1, 20, 9, 9, 28, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 4, 1, 0, ACT_SWISH},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_conv(cases[i], (uint32_t)i);
}

static int64_t between(struct sample *s, int64_t low, int64_t high)
{
    return low + draw(s, (uint32_t)(high - low + 1));
}

static struct conv_case random_conv(struct sample *r)
{
    struct conv_case c = {.n = between(r, 1, 2), .h = between(r, 5, 17), .w = between(r, 5, 17),
                          .kh = between(r, 1, 5), .kw = between(r, 1, 5), .sh = between(r, 1, 2),
                          .sw = between(r, 1, 2), .dh = between(r, 1, 2), .dw = between(r, 1, 2),
                          .group = 1, .bias = (int)draw(r, 2), .residual = draw(r, 4) == 0,
                          .activation = (enum activation)draw(r, ACT_FUSED_LAST + 1)};
    int64_t *pads[] = {&c.pt, &c.pl, &c.pb, &c.pr};
    for (int i = 0; i < 4; i++)
        *pads[i] = between(r, 0, i % 2 ? c.kw : c.kh) ? between(r, 0, 2) : 0;
    c.c = between(r, 1, 20);
    c.o = between(r, 1, 40);
    if (draw(r, 3) == 0) { /* grouped, often depthwise */
        c.group = between(r, 2, 9);
        c.c = c.group * between(r, 1, 3);
        c.o = c.group * between(r, 1, 3);
    }
    if ((c.kh - 1) * c.dh + 1 > c.h + c.pt + c.pb)
        c.kh = c.dh = 1;
    if ((c.kw - 1) * c.dw + 1 > c.w + c.pl + c.pr)
        c.kw = c.dw = 1;
    return c;
}

static void convolutions_of_any_shape(void **state)
{
    (void)state;
    struct sample random = {.random = 11};
    for (uint32_t i = 0; i < 40; i++)
        check_conv(random_conv(&random), i);
}

/* The residual is also an output: it must survive the addition. */
static void convolution_keeps_a_residual_others_need(void **state)
{
    (void)state;
    struct sample s;
    begin(&s, 5);
    struct attributes a = {.spatial = 2, .kernel = {3, 3}, .strides = {1, 1}, .dilations = {1, 1},
                           .pads_begin = {1, 1}, .pads_end = {1, 1}, .group = 1};
    int x = add_input(&s, SHAPE(1, 16, 8, 8)), w = add_constant(&s, SHAPE(16, 16, 3, 3));
    int first = NODE(&s, &op_fused_conv, a, x, w);
    a.has_residual = 1;
    int second = NODE(&s, &op_fused_conv, a, first, w, NO_VALUE, first);
    add_output(&s, NODE(&s, &op_fused_conv, a, second, w, NO_VALUE, first));
    add_output(&s, first);
    check(&s, CONV_WAYS, 2e-5);
}

static void convolutions_in_1d_and_3d(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        struct sample s;
        begin(&s, i);
        struct attributes a = {.spatial = i % 2 ? 3 : 1, .kernel = {3, 3, 3}, .strides = {1, 1, 1},
                               .dilations = {1, 1, 1}, .pads_begin = {1, 1, 1},
                               .pads_end = {1, 0, 1}, .group = i < 2 ? 1 : 2};
        int x = add_input(&s, i % 2 ? SHAPE(1, 8, 6, 7, 5) : SHAPE(2, 8, 19));
        int64_t per_group = 8 / a.group;
        int w = add_constant(&s, i % 2 ? SHAPE(12, per_group, 3, 3, 3) : SHAPE(12, per_group, 3));
        add_output(&s, NODE(&s, &op_fused_conv, a, x, w));
        check(&s, CONV_WAYS, 2e-5);
    }
}

/* Its results are small beside those that it is given, and rounded as those are. */
static int is_bounded(enum activation a)
{
    return a == ACT_TANH || a == ACT_SIGMOID || a == ACT_HARD_SIGMOID;
}

/* Both tile sizes and both layouts directly, whatever the tuner would choose. */
static void check_winograd(int m, int channels_last, struct conv_case c, uint32_t seed)
{
    struct sample s;
    begin(&s, seed);
    int64_t ho = c.h + c.pt + c.pb - 2, wo = c.w + c.pl + c.pr - 2;
    struct attributes a = {.spatial = 2, .kernel = {3, 3}, .strides = {1, 1}, .dilations = {1, 1},
                           .pads_begin = {c.pt, c.pl}, .pads_end = {c.pb, c.pr}, .group = 1,
                           .activation = c.activation, .low = -2.0f, .high = 3.0f};
    int x = add_input(&s, SHAPE(c.n, c.c, c.h, c.w)), w = add_constant(&s, SHAPE(c.o, c.c, 3, 3));
    int y = NODE(&s, &op_fused_conv, a, x, w);
    add_output(&s, y);
    run_reference(&s);
    struct winograd win = {.m = m, .batch = c.n, .channels = c.c, .outputs = c.o,
                           .in_height = c.h, .in_width = c.w, .out_height = ho, .out_width = wo,
                           .pad_top = c.pt, .pad_left = c.pl, .activation = c.activation,
                           .low = -2.0f, .high = 3.0f};
    win.in = channels_last ? (struct winograd_view){c.c * c.h * c.w, 8, c.c * c.w, c.c}
                           : (struct winograd_view){c.c * c.h * c.w, 8 * c.h * c.w, 8 * c.w, 8};
    win.out = channels_last ? (struct winograd_view){c.o * ho * wo, 8, c.o * wo, c.o}
                            : (struct winograd_view){c.o * ho * wo, 8 * ho * wo, 8 * wo, 8};
    if (!winograd_possible(&win)) {
        finish(&s);
        return;
    }
    winograd_prepare(&win);
    const float *plain = s.data[x];
    float *in = malloc((size_t)(c.n * c.c * c.h * c.w) * 4);
    float *packed = malloc(winograd_weight_bytes(&win));
    float *scratch = malloc(winograd_scratch_bytes(&win));
    float *out = malloc((size_t)(c.n * c.o * ho * wo) * 4);
    float *rows = malloc((size_t)(c.n * c.o * ho * wo) * 4);
    for (int64_t n = 0; n < c.n; n++)
        for (int64_t k = 0; k < c.c; k++)
            for (int64_t i = 0; i < c.h; i++)
                for (int64_t j = 0; j < c.w; j++)
                    in[n * win.in.image + k / 8 * win.in.channels8 + i * win.in.row +
                       j * win.in.pixel + k % 8] = plain[((n * c.c + k) * c.h + i) * c.w + j];
    winograd_pack(&win, s.g.values[w].constant, packed);
    for (int threads = 1; threads <= 2; threads++) {
        omp_set_num_threads(threads);
        memset(scratch, 0xff, winograd_scratch_bytes(&win));
        winograd_run(&win, in, packed, NULL, NULL, out, scratch);
        for (int64_t n = 0; n < c.n; n++)
            for (int64_t k = 0; k < c.o; k++)
                for (int64_t i = 0; i < ho; i++)
                    for (int64_t j = 0; j < wo; j++)
                        rows[((n * c.o + k) * ho + i) * wo + j] =
                            out[n * win.out.image + k / 8 * win.out.channels8 + i * win.out.row +
                                j * win.out.pixel + k % 8];
        compare(&s, rows, y, (m == 2 ? 5e-6 : 5e-5) * (is_bounded(c.activation) ? 40 : 1));
    }
    free(in);
    free(packed);
    free(scratch);
    free(out);
    free(rows);
    finish(&s);
}

static void winograd_of_any_shape(void **state)
{
    (void)state;
    struct sample random = {.random = 3};
    for (uint32_t i = 0; i < 24; i++) {
        struct conv_case c = {.n = between(&random, 1, 3), .c = 8 * between(&random, 1, 9),
                              .o = 16 * between(&random, 1, 5), .h = between(&random, 3, 30),
                              .w = between(&random, 3, 30), .pt = between(&random, 0, 2),
                              .pl = between(&random, 0, 2), .pb = between(&random, 0, 2),
                              .pr = between(&random, 0, 2),
                              .activation = (enum activation)draw(&random, ACT_FUSED_LAST + 1)};
        check_winograd(i % 2 ? 2 : 4, i / 2 % 2, c, i);
    }
}

/* ---- products ---- */

static void check_linear(struct sample *s, struct shape x_shape, int64_t n, struct attributes a)
{
    int64_t k = x_shape.dims[x_shape.rank - 1];
    struct shape y = x_shape;
    y.dims[y.rank - 1] = n;
    int x = add_input(s, x_shape);
    int w = add_constant(s, a.trans_b ? SHAPE(n, k) : SHAPE(k, n));
    int bias = a.has_bias ? add_constant(s, SHAPE(n)) : NO_VALUE;
    int residual = a.has_residual ? add_input(s, y) : NO_VALUE;
    add_output(s, NODE(s, &op_linear, a, x, w, bias, residual));
    check(s, LINEAR_WAYS, 2e-5);
}

static void linear_of_any_shape(void **state)
{
    (void)state;
    struct sample s;
    for (uint32_t i = 0; i < 40; i++) {
        begin(&s, i);
        struct attributes a = {.trans_b = (int)draw(&s, 2), .has_bias = (int)draw(&s, 2),
                               .has_residual = draw(&s, 3) == 0, .low = -0.25f, .high = 0.5f,
                               .activation = (enum activation)draw(&s, ACT_FUSED_LAST + 1)};
        int64_t m = between(&s, 1, 70), k = between(&s, 1, 130), n = between(&s, 1, 130);
        check_linear(&s, i % 3 ? SHAPE(m, k) : SHAPE(2, m, k), n, a);
    }
}

static void products_of_computed_values(void **state)
{
    (void)state;
    int known;
    const struct op *op = op_find("", "MatMul", 17, &known);
    struct sample s;
    for (uint32_t i = 0; i < 12; i++) {
        begin(&s, i);
        int64_t m = between(&s, 1, 40), k = between(&s, 1, 40), n = between(&s, 1, 40);
        int x = add_input(&s, i % 2 ? SHAPE(2, 3, m, k) : SHAPE(m, k));
        int w = add_input(&s, i % 3 ? SHAPE(k, n) : SHAPE(3, k, n));
        add_output(&s, NODE(&s, op, (struct attributes){0}, x, w));
        check(&s, 0, 2e-5);
    }
}

/* ---- attention ---- */

static void check_attention(uint32_t seed, int64_t batch, int64_t length, int64_t heads,
                            int64_t width, int mask_kind)
{
    struct sample s;
    begin(&s, seed);
    const struct shape masks[] = {SHAPE(length), SHAPE(batch, 1, 1, length),
                                  SHAPE(1, heads, length, length), SHAPE(length, length),
                                  SHAPE(batch, heads, 1, length)};
    struct attributes a = {.heads = heads, .scale = 0.7f};
    int x = add_input(&s, SHAPE(batch, length, 3 * heads * width)), y;
    if (mask_kind < 0)
        y = NODE(&s, &op_attention, a, x);
    else
        y = NODE(&s, &op_attention, a, x, add_input(&s, masks[mask_kind]));
    add_output(&s, y);
    check(&s, 0, 2e-5);
}

static void attention_of_any_shape(void **state)
{
    (void)state;
    struct sample random = {.random = 1};
    for (uint32_t i = 0; i < 24; i++)
        check_attention(i, between(&random, 1, 3), between(&random, 1, 40), between(&random, 1, 5),
                        between(&random, 1, 33), (int)draw(&random, 6) - 1);
    check_attention(99, 1, 128, 4, 64, 1);
}

/* ---- rows ---- */

static void layer_norm_of_any_width(void **state)
{
    (void)state;
    struct sample s;
    for (uint32_t i = 0; i < 20; i++) {
        begin(&s, i);
        int64_t rows = between(&s, 1, 80), size = i < 3 ? 768 : between(&s, 1, 200);
        int x = add_input(&s, SHAPE(2, rows, size));
        int scale = add_constant(&s, SHAPE(size)), bias = add_constant(&s, SHAPE(size));
        add_output(&s, NODE(&s, &op_layer_norm, ((struct attributes){.epsilon = 1e-5f}), x, scale,
                            bias));
        check(&s, 0, 1e-5);
    }
}

/* An ONNX node with attributes, for operators that read them. */
struct source {
    struct onnx_node node;
    struct onnx_attribute attributes[8];
    int64_t ints[8][8];
};

static void set_ints(struct source *s, const char *name, size_t count, const int64_t *ints)
{
    size_t i = s->node.attribute_count++;
    memcpy(s->ints[i], ints, count * sizeof *ints);
    s->attributes[i] = (struct onnx_attribute){.name = name, .type = ONNX_INTS, .ints = s->ints[i],
                                               .count = count};
    s->node.attributes = s->attributes;
}

static void set_int(struct source *s, const char *name, int64_t value)
{
    s->attributes[s->node.attribute_count++] =
        (struct onnx_attribute){.name = name, .type = ONNX_INT, .i = value};
    s->node.attributes = s->attributes;
}

static void set_string(struct source *s, const char *name, const char *value)
{
    s->attributes[s->node.attribute_count++] = (struct onnx_attribute){
        .name = name, .type = ONNX_STRING, .s = value, .s_size = strlen(value)};
    s->node.attributes = s->attributes;
}

static void start_source(struct source *s, const char *op)
{
    static const char *const no_names[] = {NULL};
    memset(s, 0, sizeof *s);
    s->node = (struct onnx_node){.name = "", .op_type = op, .domain = "", .inputs = no_names,
                                 .outputs = no_names, .attributes = s->attributes};
}

static int source_node(struct sample *s, struct source *source, int count, const int *inputs)
{
    int known;
    const struct op *op = op_find("", source->node.op_type, s->opset ? s->opset : 17, &known);
    assert_non_null(op);
    return add_node(s, op, (struct attributes){0}, &source->node, count, inputs);
}

static void softmax_of_any_width(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 20; i++) {
        struct sample s;
        struct source source;
        begin(&s, i);
        start_source(&source, "Softmax");
        set_int(&source, "axis", i % 5 == 4 ? 1 : -1);
        int x = add_input(&s, SHAPE(between(&s, 1, 50), i < 10 ? 7 : 70, between(&s, 1, 300)));
        add_output(&s, source_node(&s, &source, 1, &x));
        check(&s, 0, 1e-5);
    }
}

static void softmax_survives_extremes(void **state)
{
    (void)state;
    float x[5] = {1e30f, -1e30f, 3.0f, -INFINITY, 1e30f}, y[5];
    row_softmax(x, 1.0f, NULL, y, 5);
    const float want[5] = {0.5f, 0, 0, 0, 0.5f};
    for (int i = 0; i < 5; i++)
        assert_float_equal(y[i], want[i], 1e-7);
    float mask[3] = {0, -3.4028235e38f, 0}, z[3] = {0, 100, 0};
    row_softmax(z, 2.0f, mask, z, 3);
    assert_float_equal(z[0], 0.5, 1e-6);
    assert_float_equal(z[1], 0, 1e-6);
    for (int i = 0; i < 5; i++)
        x[i] = -80.0f * (float)i;
    row_softmax(x, 1.0f, NULL, y, 5);
    assert_float_equal(y[0], 1, 1e-6);
    assert_true(y[1] > 0 && y[1] < 2e-35f);
}

/* Queries, keys and values apart, several heads of queries to one of keys, masks of all kinds. */
static void attention_operator_of_any_shape(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 30; i++) {
        struct sample s;
        struct source source;
        begin(&s, i);
        s.opset = 23;
        start_source(&source, "Attention");
        set_int(&source, "is_causal", i % 3 == 2);
        int64_t n = between(&s, 1, 2), groups = between(&s, 1, 3), each = between(&s, 1, 3);
        int64_t rows = between(&s, 1, 20), keys = between(&s, 2, 30), depth = between(&s, 1, 20);
        int in[4] = {add_input(&s, SHAPE(n, groups * each, rows, depth)),
                     add_input(&s, SHAPE(n, groups, keys, depth)),
                     add_input(&s, SHAPE(n, groups, keys, between(&s, 1, 20))), NO_VALUE};
        if (i % 4)
            in[3] = i % 4 == 1 ? add_input(&s, SHAPE(rows, keys))
                               : add_input(&s, SHAPE(n, i % 4 == 2 ? 1 : groups * each, 1, keys));
        add_output(&s, source_node(&s, &source, i % 4 ? 4 : 3, in));
        check(&s, 0, 2e-5);
    }
}

/* ---- recurrent layers ---- */

struct recurrent_case {
    const char *op;
    int64_t steps, batch, in, hidden;
    int mode, bias, states, batch_first, flag, relu; /* states: 1 constant, 2 inputs */
    int lengths; /* 1: they differ */
    int peepholes;
    float clip;
    int wanted; /* bit i: output i */
};

/* Small weights: large ones make the network chaotic, and any rounding counts. */
static int add_weights(struct sample *s, struct shape shape, int64_t fan)
{
    int v = add_constant(s, shape);
    float *data = (float *)(uintptr_t)s->g.values[v].constant;
    for (int64_t i = 0; i < shape_elements(&shape); i++)
        data[i] /= sqrtf((float)fan);
    return v;
}

static int add_lengths(struct sample *s, int64_t batch, int64_t steps)
{
    int32_t *data = graph_memory(&s->g, (size_t)batch * sizeof *data);
    for (int64_t i = 0; i < batch; i++)
        data[i] = (int32_t)between(s, 0, steps);
    struct shape shape = SHAPE(batch);
    return graph_add_constant(&s->g, "lengths", DTYPE_I32, &shape, data);
}

static void set_recurrent(struct source *source, const struct recurrent_case *c, int64_t gates)
{
    static const char *const directions[] = {"forward", "reverse", "bidirectional"};
    static const char *const relu[] = {"Relu", "Relu"};
    start_source(source, c->op);
    struct onnx_attribute *a = &source->attributes[source->node.attribute_count++];
    *a = (struct onnx_attribute){.name = "direction", .type = ONNX_STRING,
                                 .s = directions[c->mode], .s_size = strlen(directions[c->mode])};
    set_int(source, "layout", c->batch_first);
    if (gates > 1)
        set_int(source, gates == 3 ? "linear_before_reset" : "input_forget", c->flag);
    if (c->relu)
        source->attributes[source->node.attribute_count++] = (struct onnx_attribute){
            .name = "activations", .type = ONNX_STRINGS, .strings = relu,
            .count = c->mode == 2 ? 2 : 1};
    if (c->clip > 0)
        source->attributes[source->node.attribute_count++] =
            (struct onnx_attribute){.name = "clip", .type = ONNX_FLOAT, .f = c->clip};
}

static void recurrent_outputs(struct sample *s, const struct source *source, int index, int wanted)
{
    struct error e;
    uint64_t read = 0;
    for (int i = 0; i < 3; i++)
        graph_write(&s->g, index, wanted >> i & 1
                    ? graph_add_value(&s->g, "y", DTYPE_NONE, &(struct shape){0}) : NO_VALUE);
    struct infer_context context = {.graph = &s->g, .node = &s->g.nodes[index],
                                    .source = &source->node, .opset = 17,
                                    .attributes_read = &read};
    if (s->g.nodes[index].op->infer(&context, &e))
        fail_msg("%s", e.text);
    for (int i = 0; i < 3; i++)
        if (wanted >> i & 1)
            add_output(s, s->g.nodes[index].outputs[i]);
}

static void check_recurrent(struct sample *s, const struct recurrent_case *c)
{
    struct source source;
    int known;
    int64_t gates = strcmp(c->op, "RNN") == 0 ? 1 : strcmp(c->op, "GRU") == 0 ? 3 : 4;
    int64_t d = c->mode == 2 ? 2 : 1, h = c->hidden, b = c->batch;
    struct shape state = c->batch_first ? SHAPE(b, d, h) : SHAPE(d, b, h);
    int in[8] = {add_input(s, c->batch_first ? SHAPE(b, c->steps, c->in)
                                             : SHAPE(c->steps, b, c->in)),
                 add_weights(s, SHAPE(d, gates * h, c->in), c->in),
                 add_weights(s, SHAPE(d, gates * h, h), h), NO_VALUE, NO_VALUE, NO_VALUE,
                 NO_VALUE, NO_VALUE};
    if (c->bias)
        in[3] = add_constant(s, SHAPE(d, 2 * gates * h));
    if (c->lengths)
        in[4] = add_lengths(s, b, c->steps);
    for (int i = 5; c->states && i < 5 + (gates == 4 ? 2 : 1); i++)
        in[i] = c->states == 1 ? add_constant(s, state) : add_input(s, state);
    if (c->peepholes)
        in[7] = add_constant(s, SHAPE(d, 3 * h));
    set_recurrent(&source, c, gates);
    int index = graph_add_node(&s->g, op_find("", c->op, 17, &known), "node");
    for (int i = 0; i < (gates == 4 ? 8 : 6); i++)
        graph_read(&s->g, index, in[i]);
    recurrent_outputs(s, &source, index, c->wanted);
    check(s, LINEAR_WAYS, 5e-6);
}

static void recurrent_layers_of_any_shape(void **state)
{
    (void)state;
    static const char *const ops[] = {"LSTM", "GRU", "RNN"};
    for (uint32_t i = 0; i < 90; i++) {
        struct sample s;
        begin(&s, i);
        struct recurrent_case c = {
            .op = ops[i % 3], .steps = between(&s, 1, 6), .batch = between(&s, 1, i % 2 ? 3 : 20),
            .in = between(&s, 1, 20), .hidden = i % 5 ? between(&s, 1, 40) : 16 * between(&s, 1, 9),
            .mode = (int)draw(&s, 3), .bias = (int)draw(&s, 3) > 0, .states = (int)draw(&s, 3),
            .batch_first = (int)draw(&s, 2), .flag = i % 3 == 1 && draw(&s, 2),
            .relu = i % 3 == 2 && draw(&s, 2), .lengths = draw(&s, 3) == 0,
            .wanted = (int)between(&s, 1, i % 3 ? 3 : 7)};
        check_recurrent(&s, &c);
    }
}

/* What the fast kernel does not do, the reference does. */
static void recurrent_layers_with_rare_settings(void **state)
{
    (void)state;
    static const struct recurrent_case cases[] = {
        {"LSTM", 4, 3, 5, 18, 2, 1, 2, 0, 0, 0, 0, 1, 0, 7},
        {"LSTM", 4, 3, 5, 18, 0, 1, 0, 0, 0, 0, 0, 0, 0.2f, 7},
        {"LSTM", 4, 3, 5, 18, 0, 1, 0, 0, 1, 0, 0, 0, 0, 7},
        {"GRU", 4, 3, 5, 18, 2, 1, 1, 0, 1, 0, 1, 0, 0.3f, 3},
    };
    for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sample s;
        begin(&s, i);
        s.fast_only = 0;
        check_recurrent(&s, &cases[i]);
    }
}

static void gates_are_accurate_near_and_far(void **state)
{
    (void)state;
    for (int i = -4000; i <= 4000; i++) {
        float x = i % 2 ? (float)i / 40 : (float)i * fabsf((float)i) * 1e-9f;
        double t = tanh((double)x), s = 1 / (1 + exp(-(double)x));
        assert_true(fabs((double)exp_tanh(x) - t) <= 5e-7 * fabs(t));
        assert_true(x < -80 || fabs((double)exp_sigmoid(x) - s) <= 5e-7 * s);
    }
    assert_true(isnan(exp_tanh(NAN)) && isnan(exp_sigmoid(NAN)));
    assert_true(exp_tanh(INFINITY) == 1 && exp_tanh(-INFINITY) == -1);
    assert_true(exp_sigmoid(INFINITY) == 1 && exp_sigmoid(-INFINITY) < 2e-38f);
}

/* ---- pools ---- */

static int random_pool(struct sample *s, struct source *source, const char *op, int x, int spatial)
{
    int64_t kernel[3], strides[3], pads[6], dilations[3];
    int ceil = (int)draw(s, 2), dilated = draw(s, 3) == 0 && strcmp(op, "MaxPool") == 0;
    start_source(source, op);
    for (int i = 0; i < spatial; i++) {
        kernel[i] = between(s, 1, 4);
        strides[i] = between(s, 1, 3);
        dilations[i] = dilated ? between(s, 1, 2) : 1;
        pads[i] = between(s, 0, kernel[i] - 1);
        pads[spatial + i] = between(s, 0, kernel[i] - 1);
    }
    set_ints(source, "kernel_shape", (size_t)spatial, kernel);
    set_ints(source, "strides", (size_t)spatial, strides);
    set_ints(source, "pads", 2 * (size_t)spatial, pads);
    set_int(source, "ceil_mode", ceil);
    if (strcmp(op, "MaxPool") == 0)
        set_ints(source, "dilations", (size_t)spatial, dilations);
    else
        set_int(source, "count_include_pad", draw(s, 2));
    return source_node(s, source, 1, &x);
}

static void pools_of_any_shape(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 60; i++) {
        struct sample s;
        struct source source;
        begin(&s, i);
        s.fast_only = 0; /* a window beyond the padding is the reference's */
        int64_t n = between(&s, 1, 2), c = between(&s, 1, 20);
        int x = add_input(&s, i % 6 == 5 ? SHAPE(n, c, between(&s, 8, 20))
                                         : SHAPE(n, c, between(&s, 8, 20), between(&s, 8, 20)));
        int spatial = s.g.values[x].shape.rank - 2;
        if (i % 2 && spatial == 2) { /* in the layout a convolution leaves */
            struct attributes a = {.spatial = 2, .kernel = {1, 1}, .strides = {1, 1},
                                   .dilations = {1, 1}, .group = 1};
            x = NODE(&s, &op_fused_conv, a, x, add_constant(&s, SHAPE(c + 3, c, 1, 1)));
        }
        add_output(&s, random_pool(&s, &source, i % 3 ? "MaxPool" : "AveragePool", x, spatial));
        check(&s, 0, 1e-5);
    }
}

static void global_average_after_a_convolution(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 6; i++) {
        struct sample s;
        struct source source, flat;
        begin(&s, i);
        int64_t c = i % 2 ? 16 : 13;
        struct attributes a = {.spatial = 2, .kernel = {1, 1}, .strides = {1, 1},
                               .dilations = {1, 1}, .group = 1, .activation = ACT_RELU};
        int x = add_input(&s, SHAPE(2, c, 7, between(&s, 1, 9)));
        int y = NODE(&s, &op_fused_conv, a, x, add_constant(&s, SHAPE(c, c, 1, 1)));
        start_source(&source, i % 3 ? "ReduceMean" : "GlobalAveragePool");
        if (i % 3)
            set_ints(&source, "axes", 2, (int64_t[]){2, 3});
        if (i % 3)
            set_int(&source, "keepdims", i % 3 == 1);
        start_source(&flat, "Flatten");
        s.fast_only = 1;
        y = source_node(&s, &source, 1, &y);
        if (i % 3 != 2)
            y = source_node(&s, &flat, 1, &y);
        add_output(&s, NODE(&s, &op_linear, ((struct attributes){0}), y,
                            add_constant(&s, SHAPE(c, 10))));
        check(&s, LINEAR_WAYS, 1e-5);
    }
}

/* ---- element by element ---- */

static int convolved(struct sample *s, int x)
{
    int64_t c = s->g.values[x].shape.dims[1];
    struct attributes a = {.spatial = 2, .kernel = {1, 1}, .strides = {1, 1}, .dilations = {1, 1},
                           .group = 1};
    return NODE(s, &op_fused_conv, a, x, add_constant(s, SHAPE(c, c, 1, 1)));
}

static void binary_with_broadcast(void **state)
{
    (void)state;
    static const char *const names[] = {"Add", "Sub", "Mul", "Div"};
    for (uint32_t i = 0; i < 48; i++) {
        struct sample s;
        struct source source;
        begin(&s, i);
        s.fast_only = 0;
        int64_t c = i % 5 == 0 ? 16 : 11;
        const struct shape others[] = {SHAPE(2, c, 6, 5), SHAPE(1), SHAPE(c, 1, 1),
                                       SHAPE(2, c, 1, 1), SHAPE(6, 5), SHAPE(2, 1, 6, 1)};
        int x = convolved(&s, add_input(&s, SHAPE(2, c, 6, 5)));
        struct shape other_shape = others[draw(&s, 6)];
        int divides = i % 4 == 3;
        int other = divides || draw(&s, 2) ? add_constant(&s, other_shape)
                                           : add_input(&s, other_shape);
        for (int64_t k = 0; divides && k < shape_elements(&other_shape); k++)
            ((float *)(uintptr_t)s.g.values[other].constant)[k] += 1.5f;
        if (other_shape.rank == 4 && !s.g.values[other].constant && draw(&s, 2))
            other = convolved(&s, other);
        start_source(&source, names[i % 4]);
        int swap = !divides && draw(&s, 3) == 0;
        int inputs[2] = {swap ? other : x, swap ? x : other};
        int y = source_node(&s, &source, 2, inputs);
        add_output(&s, y);
        if (i % 3 == 0)
            add_output(&s, x); /* must not be written over */
        check(&s, 0, 1e-4);
    }
}

static void adding_a_value_to_itself(void **state)
{
    (void)state;
    struct sample s;
    struct source source;
    begin(&s, 1);
    int x = convolved(&s, add_input(&s, SHAPE(1, 8, 4, 4)));
    start_source(&source, "Add");
    add_output(&s, source_node(&s, &source, 2, (int[]){x, x}));
    check(&s, 0, 1e-5);
}

static const char *const activation_names[] = {
    "Relu", "Tanh", "Sigmoid", "Clip", "LeakyRelu", "Elu", "HardSwish", "HardSigmoid", "Mish",
    "Selu", "Celu", "Softplus", "Softsign", "ThresholdedRelu", "PRelu", "Gelu"};

static int activation_node(struct sample *s, const char *name, int x)
{
    struct source source;
    static const float bounds[2] = {-0.25f, 0.5f};
    int low = graph_add_constant(&s->g, "low", DTYPE_F32, &(struct shape){0}, &bounds[0]);
    int high = graph_add_constant(&s->g, "high", DTYPE_F32, &(struct shape){0}, &bounds[1]);
    int inputs = !strcmp(name, "Clip") ? 3 : !strcmp(name, "PRelu") ? 2 : 1;
    start_source(&source, name);
    s->opset = 20;
    if (!strcmp(name, "Gelu"))
        set_string(&source, "approximate", "tanh");
    return source_node(s, &source, inputs, (int[]){x, low, high});
}

/* Row-major, blocked, and blocked with padding, which must stay zero. */
static void activations_in_any_layout(void **state)
{
    (void)state;
    uint32_t count = sizeof activation_names / sizeof *activation_names;
    for (uint32_t i = 0; i < 3 * count; i++) {
        struct sample s;
        begin(&s, i);
        int x = add_input(&s, SHAPE(2, i % 3 == 2 ? 9 : 16, 5, 6));
        if (i % 3)
            x = convolved(&s, x);
        int y = activation_node(&s, activation_names[i / 3], x);
        add_output(&s, y);
        add_output(&s, convolved(&s, NODE(&s, &op_gelu, ((struct attributes){0}), y)));
        add_output(&s, NODE(&s, &op_swish, ((struct attributes){.alpha = 1.702f}), y));
        check(&s, 0, 1e-5);
    }
}

static void compare_rows(const char *name, const struct epilogue *what, const struct node *n,
                         float *x, int64_t count)
{
    float *want = malloc((size_t)count * sizeof *want), *got = malloc((size_t)count * sizeof *got);
    struct tensor in[3] = {{DTYPE_F32, {1, {count}}, x}}, out = {DTYPE_F32, {1, {count}}, want};
    float low = what->low, high = what->high;
    in[1] = (struct tensor){DTYPE_F32, {0}, &low};
    in[2] = (struct tensor){DTYPE_F32, {0}, &high};
    struct error e;
    assert_int_equal(n->op->reference(n, in, &out, &e), 0);
    activation_row(what, x, got, count);
    for (int64_t i = 0; i < count; i++) {
        double difference = fabs((double)got[i] - (double)want[i]);
        if (!(difference <= 2e-6 * fabs((double)want[i]) + 1e-7))
            fail_msg("%s(%g) is %g, not %g", name, (double)x[i], (double)got[i], (double)want[i]);
    }
    free(want);
    free(got);
}

/* From where exponentials vanish to where they overflow, and densely around zero. */
static void activations_over_their_range(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    float *x = malloc(COUNT * sizeof *x);
    for (int i = 0; i < COUNT; i++)
        x[i] = i % 2 ? (float)(i - COUNT / 2) * 0.0123f : (float)(i - COUNT / 2) * 1e-6f;
    const float ends[] = {0, -0.0f, 1e30f, -1e30f, 3e38f, -3e38f, 1e-38f, -1e-38f, 88.8f, -88.8f};
    memcpy(x, ends, sizeof ends);
    for (size_t i = 0; i < sizeof activation_names / sizeof *activation_names; i++) {
        struct sample s;
        struct epilogue what;
        begin(&s, 1);
        activation_node(&s, activation_names[i], add_input(&s, SHAPE(COUNT)));
        assert_int_equal(activation_of(&s.g, &s.g.nodes[0], &what), 0);
        compare_rows(activation_names[i], &what, &s.g.nodes[0], x, COUNT);
        graph_release(&s.g);
    }
    free(x);
}

static int pooled(struct sample *s, int x)
{
    struct source source;
    start_source(&source, "GlobalAveragePool");
    return source_node(s, &source, 1, &x);
}

static int multiplied(struct sample *s, int a, int b)
{
    struct source source;
    start_source(&source, "Mul");
    return source_node(s, &source, 2, (int[]){a, b});
}

/* In the layout of the convolutions around it: one reorder for the input, one for the output. */
static void squeeze_and_excitation(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 8; i++) {
        struct sample s;
        begin(&s, i);
        struct attributes a = {.spatial = 2, .kernel = {1, 1}, .strides = {1, 1},
                               .dilations = {1, 1}, .group = 1};
        int64_t c = i % 4 == 3 ? 13 : 24, height = i % 2 ? 7 : 40;
        s.reorders = c == 24 ? 2 : -1;
        int x = convolved(&s, add_input(&s, SHAPE(i / 4 + 1, c, height, 9)));
        a.activation = ACT_RELU;
        int g = NODE(&s, &op_fused_conv, a, pooled(&s, x), add_constant(&s, SHAPE(8, c, 1, 1)));
        a.activation = i % 2 ? ACT_SIGMOID : ACT_HARD_SIGMOID;
        a.low = 0.2f;
        a.high = 0.5f;
        g = NODE(&s, &op_fused_conv, a, g, add_constant(&s, SHAPE(c, 8, 1, 1)));
        int y = i % 2 ? multiplied(&s, g, x) : multiplied(&s, x, g);
        add_output(&s, convolved(&s, y));
        check(&s, 0, 1e-5);
    }
}

/* Slopes and sums with a number for each channel, large enough to be shared among threads. */
static void a_number_for_each_channel(void **state)
{
    (void)state;
    static const char *const names[] = {"PRelu", "Mul", "Add"};
    for (uint32_t i = 0; i < 18; i++) {
        struct sample s;
        struct source source;
        begin(&s, i);
        int64_t c = i / 3 % 2 ? 32 : 5, size = i < 6 ? 50 : 3;
        int x = add_input(&s, i % 2 ? SHAPE(2, c, size, size) : SHAPE(2, c, size));
        if (i / 6 == 1 && i % 2)
            x = convolved(&s, x);
        int other = add_constant(&s, i % 2 ? SHAPE(c, 1, 1) : SHAPE(1, c, 1));
        start_source(&source, names[i % 3]);
        add_output(&s, source_node(&s, &source, 2, (int[]){x, other}));
        add_output(&s, x);
        check(&s, 0, 1e-5);
    }
}

static void batch_norm_without_a_convolution(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 6; i++) {
        struct sample s;
        struct source source;
        begin(&s, i);
        int64_t c = i % 3 == 2 ? 11 : 24;
        int x = add_input(&s, SHAPE(2, c, 9, 7)), in[5];
        in[0] = i % 3 ? convolved(&s, x) : x;
        for (int k = 1; k < 5; k++)
            in[k] = add_constant(&s, SHAPE(c));
        for (int64_t k = 0; k < c; k++)
            ((float *)(uintptr_t)s.g.values[in[4]].constant)[k] += 1.5f;
        start_source(&source, "BatchNormalization");
        add_output(&s, source_node(&s, &source, 5, in));
        struct attributes a = {.epsilon = 1e-3f, .low = -0.5f, .high = 0.75f,
                               .activation = (enum activation)(i * 2 % (ACT_FUSED_LAST + 1))};
        add_output(&s, add_node(&s, &op_batch_norm, a, NULL, 5, in));
        check(&s, 0, 1e-5);
    }
}

static int split_node(struct sample *s, int x, int64_t first)
{
    struct error e;
    uint64_t read = 0;
    int known, index = graph_add_node(&s->g, op_find("", "Split", 17, &known), "split");
    struct source source;
    const int64_t sizes[2] = {first, s->g.values[x].shape.dims[1] - first};
    graph_read(&s->g, index, x);
    graph_read(&s->g, index, graph_add_constant(&s->g, "sizes", DTYPE_I64, &(struct shape){1, {2}},
                                                memcpy(graph_memory(&s->g, 16), sizes, 16)));
    for (int i = 0; i < 2; i++)
        graph_write(&s->g, index, graph_add_value(&s->g, "part", DTYPE_NONE, &(struct shape){0}));
    start_source(&source, "Split");
    set_int(&source, "axis", 1);
    struct infer_context c = {&s->g, &s->g.nodes[index], &source.node, 17, &read, NULL};
    if (s->g.nodes[index].op->infer(&c, &e))
        fail_msg("%s", e.text);
    return index;
}

/* Where a part cuts through a block the reference takes over. */
static void split_into_channels(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 8; i++) {
        struct sample s;
        begin(&s, i);
        int64_t first = i % 4 == 3 ? 5 : 8;
        s.fast_only = first == 8;
        int x = add_input(&s, SHAPE(i / 4 + 1, 24, 5, 7));
        if (i % 2)
            x = convolved(&s, x);
        int index = split_node(&s, x, first);
        int parts[2] = {s.g.nodes[index].outputs[0], s.g.nodes[index].outputs[1]};
        add_output(&s, convolved(&s, parts[0]));
        add_output(&s, parts[1]);
        check(&s, 0, 1e-5);
    }
}

struct resize_case {
    const char *mode, *transformation, *nearest;
    int64_t c, height, width;
    float scale_h, scale_w;
    int convolved, fast;
};

static void check_resize(struct resize_case r, uint32_t seed)
{
    struct sample s;
    struct source source;
    begin(&s, seed);
    s.opset = 18;
    s.fast_only = r.fast;
    int vector = r.height == 0;
    int x = add_input(&s, vector ? SHAPE(2, r.c, r.width) : SHAPE(2, r.c, r.height, r.width));
    if (r.convolved)
        x = convolved(&s, x);
    float *scales = graph_memory(&s.g, 16);
    scales[0] = scales[1] = 1;
    scales[2] = vector ? r.scale_w : r.scale_h;
    scales[3] = r.scale_w;
    int list = graph_add_constant(&s.g, "scales", DTYPE_F32, &(struct shape){1, {vector ? 3 : 4}},
                                  scales);
    start_source(&source, "Resize");
    set_string(&source, "mode", r.mode);
    set_string(&source, "coordinate_transformation_mode", r.transformation);
    set_string(&source, "nearest_mode", r.nearest);
    if (!r.fast)
        set_int(&source, "antialias", 1);
    int y = source_node(&s, &source, 3, (int[]){x, NO_VALUE, list});
    add_output(&s, y);
    if (r.convolved)
        add_output(&s, convolved(&s, y));
    check(&s, 0, 1e-5);
}

static void resize_in_any_layout(void **state)
{
    (void)state;
    static const struct resize_case cases[] = {
        {"nearest", "asymmetric", "floor", 16, 7, 9, 2, 2, 1, 1},
        {"nearest", "asymmetric", "floor", 5, 7, 9, 2, 2, 0, 1},
        {"nearest", "asymmetric", "floor", 5, 7, 9, 3, 2, 0, 1},
        {"nearest", "half_pixel", "round_prefer_floor", 8, 7, 9, 1.7f, 0.6f, 1, 1},
        {"nearest", "half_pixel", "round_prefer_ceil", 3, 7, 9, 0.4f, 2.5f, 0, 1},
        {"nearest", "half_pixel", "ceil", 24, 5, 5, 1, 4, 1, 1},
        {"linear", "half_pixel", "floor", 16, 7, 9, 2, 2, 1, 1},
        {"linear", "align_corners", "floor", 16, 7, 9, 2, 3, 1, 1},
        {"linear", "align_corners", "floor", 3, 7, 9, 2, 3, 0, 1},
        {"linear", "pytorch_half_pixel", "floor", 13, 1, 9, 4, 0.5f, 1, 1},
        {"linear", "half_pixel", "floor", 8, 6, 9, 1, 2, 1, 1},
        {"linear", "half_pixel", "floor", 4, 0, 9, 1, 2.2f, 0, 1},
        {"linear", "half_pixel", "floor", 8, 0, 9, 1, 2.2f, 0, 1},
        {"cubic", "half_pixel", "floor", 8, 6, 9, 2, 2, 1, 1},
        {"cubic", "half_pixel", "floor", 3, 6, 9, 1.5f, 0.7f, 0, 1},
        {"linear", "half_pixel", "floor", 8, 40, 40, 2, 2, 1, 1},
        {"linear", "half_pixel", "floor", 8, 12, 12, 0.3f, 0.3f, 1, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_resize(cases[i], (uint32_t)i);
}

/* The channels are doubled: not a matter of rows and columns. */
static void resize_of_channels_is_the_reference(void **state)
{
    (void)state;
    struct sample s;
    struct source source;
    begin(&s, 1);
    s.opset = 18;
    s.fast_only = 0;
    static const float doubled[4] = {1, 2, 1, 2};
    int list = graph_add_constant(&s.g, "scales", DTYPE_F32, &(struct shape){1, {4}}, doubled);
    start_source(&source, "Resize");
    add_output(&s, source_node(&s, &source, 3,
                               (int[]){add_input(&s, SHAPE(1, 4, 3, 3)), NO_VALUE, list}));
    check(&s, 0, 1e-6);
}

static void check_conv_transpose(struct conv_case c, const int64_t *extra, uint32_t seed)
{
    struct sample s;
    struct source source;
    begin(&s, seed);
    int x = add_input(&s, SHAPE(c.n, c.c, c.h, c.w));
    int w = add_constant(&s, SHAPE(c.c, c.o / c.group, c.kh, c.kw));
    int bias = add_constant(&s, SHAPE(c.o));
    start_source(&source, "ConvTranspose");
    set_ints(&source, "strides", 2, (int64_t[]){c.sh, c.sw});
    set_ints(&source, "dilations", 2, (int64_t[]){c.dh, c.dw});
    set_ints(&source, "pads", 4, (int64_t[]){c.pt, c.pl, c.pb, c.pr});
    set_ints(&source, "output_padding", 2, extra);
    set_int(&source, "group", c.group);
    int y = source_node(&s, &source, c.bias ? 3 : 2, (int[]){x, w, bias});
    add_output(&s, y);
    add_output(&s, convolved(&s, y));
    check(&s, 0, 2e-5);
}

static void transposed_convolutions(void **state)
{
    (void)state;
    static const struct conv_case cases[] = {
        {1, 32, 7, 9, 16, 2, 2, 2, 2, 1, 1, 0, 0, 0, 0, 1, 1, 0, ACT_NONE},
        {2, 16, 5, 5, 24, 4, 4, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 0, ACT_NONE},
        {1, 8, 6, 7, 8, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 0, 0, ACT_NONE},
        {1, 5, 6, 7, 3, 3, 2, 2, 1, 1, 2, 1, 0, 0, 1, 1, 1, 0, ACT_NONE},
        {1, 16, 6, 6, 16, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 16, 1, 0, ACT_NONE},
        {1, 16, 6, 6, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 4, 0, 0, ACT_NONE},
        {1, 32, 1, 1, 64, 4, 4, 1, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0, ACT_NONE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int64_t extra[2] = {i % 3 == 2, i % 3 == 2};
        check_conv_transpose(cases[i], extra, (uint32_t)i);
    }
}

static void concat_in_any_layout(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 10; i++) {
        struct sample s;
        struct source source;
        begin(&s, i);
        int64_t c = i % 2 ? 8 : 5;
        int x = add_input(&s, SHAPE(1, c, 4, 5)), y = add_input(&s, SHAPE(1, c, 4, 5));
        if (i % 3)
            x = convolved(&s, x);
        start_source(&source, "Concat");
        set_int(&source, "axis", i % 4 ? 1 : 3);
        int z = source_node(&s, &source, 3, (int[]){x, y, x});
        if (i % 4)
            z = convolved(&s, z);
        add_output(&s, z);
        check(&s, 0, 1e-5);
    }
}

static void concat_of_long_pieces(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 6; i++) {
        struct sample s;
        struct source source;
        begin(&s, i);
        int64_t axis = i % 3, long_side = 600 + i;
        int x = add_input(&s, SHAPE(3, 4, long_side));
        int y = add_input(&s, SHAPE(axis ? 3 : 1, axis == 1 ? 9 : 4, axis == 2 ? 2000 : long_side));
        start_source(&source, "Concat");
        set_int(&source, "axis", axis);
        add_output(&s, source_node(&s, &source, 3, (int[]){x, y, x}));
        check(&s, 0, 0);
    }
}

/* ---- orders of dimensions ---- */

static int transposed(struct sample *s, int x, const int64_t *perm)
{
    struct source source;
    start_source(&source, "Transpose");
    set_ints(&source, "perm", (size_t)s->g.values[x].shape.rank, perm);
    return source_node(s, &source, 1, &x);
}

static void random_order(struct sample *s, int64_t *perm, int rank)
{
    for (int i = 0; i < rank; i++)
        perm[i] = i;
    for (int i = rank - 1; i > 0; i--) {
        int64_t k = draw(s, (uint32_t)i + 1), swap = perm[i];
        perm[i] = perm[k];
        perm[k] = swap;
    }
}

/* Of what is row-major, blocked or transposed already; read by those who step through it, by those
 * who don't, and by nobody. */
static void transposes_in_any_order(void **state)
{
    (void)state;
    static const char *const readers[] = {"", "Relu", "MaxPool", "Softmax", "Add", "Flatten"};
    for (uint32_t i = 0; i < 72; i++) {
        struct sample s;
        struct source source;
        int64_t perm[4];
        begin(&s, i);
        const char *reader = readers[i % 6];
        s.fast_only = 0;
        int x = add_input(&s, SHAPE(between(&s, 1, 2), i % 4 ? 16 : 7, between(&s, 1, 6), 5));
        int y = i / 6 % 2 ? convolved(&s, x) : x;
        for (uint32_t k = 0; k < 1 + i / 12 % 2; k++) {
            random_order(&s, perm, 4);
            y = transposed(&s, y, perm);
        }
        int z = y;
        start_source(&source, reader);
        if (!strcmp(reader, "MaxPool"))
            set_ints(&source, "kernel_shape", 2, (int64_t[]){1, 1});
        if (!strcmp(reader, "Add"))
            z = source_node(&s, &source, 2, (int[]){y, add_input(&s, s.g.values[y].shape)});
        else if (*reader)
            z = source_node(&s, &source, 1, &y);
        add_output(&s, z);
        if (i % 5 == 0)
            add_output(&s, x);
        if (i % 7 == 0 && z != y)
            add_output(&s, y);
        check(&s, 0, 1e-5);
    }
}

static void transposes_need_no_step(void **state)
{
    (void)state;
    struct sample s;
    struct onednn *d;
    struct error e;
    begin(&s, 1);
    int x = add_input(&s, SHAPE(2, 5, 3, 4));
    int q = transposed(&s, x, (int64_t[]){0, 2, 1, 3});
    int k = transposed(&s, x, (int64_t[]){0, 2, 3, 1});
    struct source source;
    start_source(&source, "MatMul");
    add_output(&s, source_node(&s, &source, 2, (int[]){q, k}));
    run_reference(&s);
    assert_int_equal(onednn_open(&d, &e), 0);
    struct program p;
    int outputs[16];
    struct builder b = {.graph = &s.g, .program = &p, .onednn = d, .limit = MEMORY_LIMIT,
                        .keep_constants = 1};
    build(&s, &p, &b, outputs);
    assert_int_equal(p.step_count, 1);
    run_and_compare(&s, &p, &b, outputs, 1e-5);
    builder_release(&b);
    program_release(&p);
    onednn_close(d);
    finish(&s);
}

static void products_of_transposed_values(void **state)
{
    (void)state;
    int known;
    const struct op *op = op_find("", "MatMul", 17, &known);
    for (uint32_t i = 0; i < 24; i++) {
        struct sample s;
        int64_t perm[4];
        begin(&s, i);
        int64_t dims[4] = {2, 3, between(&s, 1, 30), between(&s, 1, 30)}, n = between(&s, 1, 30);
        random_order(&s, perm, 4);
        struct shape from = {.rank = 4};
        for (int k = 0; k < 4; k++)
            from.dims[perm[k]] = dims[k];
        int x = transposed(&s, add_input(&s, from), perm);
        int w = i % 2 ? add_input(&s, SHAPE(dims[3], n))
                      : transposed(&s, add_input(&s, SHAPE(n, dims[3])), (int64_t[]){1, 0});
        add_output(&s, NODE(&s, op, (struct attributes){0}, x, w));
        check(&s, 0, 2e-5);
    }
}

/* Heads beside one another before and after, as models have them. */
static void attention_operator_between_transposes(void **state)
{
    (void)state;
    static const int64_t apart[4] = {0, 2, 1, 3};
    for (uint32_t i = 0; i < 24; i++) {
        struct sample s;
        struct source source;
        begin(&s, i);
        s.opset = 23;
        int64_t n = between(&s, 1, 2), groups = between(&s, 1, 3), each = i % 3 ? 1 : 2;
        int64_t rows = between(&s, 1, 20), keys = between(&s, 2, 30), depth = between(&s, 1, 20);
        int in[3] = {transposed(&s, add_input(&s, SHAPE(n, rows, groups * each, depth)), apart),
                     transposed(&s, add_input(&s, SHAPE(n, keys, groups, depth)), apart),
                     transposed(&s, add_input(&s, SHAPE(n, keys, groups, 8)), apart)};
        start_source(&source, "Attention");
        set_int(&source, "is_causal", i % 2);
        int y = source_node(&s, &source, 3, in), merged = y;
        if (i % 4)
            merged = transposed(&s, y, apart);
        add_output(&s, merged);
        if (i % 4 == 2)
            add_output(&s, y);
        check(&s, 0, 2e-5);
    }
}

static void rms_norm_of_any_width(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 20; i++) {
        struct sample s;
        struct source source;
        begin(&s, i);
        s.opset = 23;
        int64_t rows = between(&s, 1, 80), size = i < 3 ? 768 : between(&s, 1, 200);
        int x = add_input(&s, SHAPE(2, rows, size)), scale = add_constant(&s, SHAPE(size));
        struct attributes a = {.epsilon = 1e-5f};
        start_source(&source, "RMSNormalization");
        if (i % 2) {
            x = source_node(&s, &source, 2, (int[]){x, scale});
            set_int(&source, "axis", 1);
            x = source_node(&s, &source, 2, (int[]){x, add_constant(&s, SHAPE(rows, size))});
        }
        add_output(&s, NODE(&s, &op_rms_norm, a, x, scale));
        check(&s, 0, 1e-5);
    }
}

/* Row-major and in the layout a convolution leaves; groups that end inside a block of channels. */
static void group_norms_of_any_shape(void **state)
{
    (void)state;
    static const int64_t channels[] = {8, 16, 24, 40, 80, 7, 12, 64};
    static const int64_t groups[] = {1, 2, 4, 8, 3, 20};
    for (uint32_t i = 0; i < 60; i++) {
        struct sample s;
        struct source source;
        begin(&s, i);
        int64_t c = channels[draw(&s, 8)], g = groups[draw(&s, 6)];
        g = c % g ? 1 : g;
        s.opset = i % 3 ? 21 : 18;
        int x = add_input(&s, i % 7 == 6 ? SHAPE(2, c, between(&s, 1, 50))
                                         : SHAPE(2, c, between(&s, 1, 40), between(&s, 1, 40)));
        if (i % 2 && s.g.values[x].shape.rank == 4)
            x = convolved(&s, x);
        int64_t numbers = i % 4 && i % 3 == 0 ? g : c;
        int scale = add_constant(&s, SHAPE(numbers)), bias = add_constant(&s, SHAPE(numbers)), y;
        if (i % 4 == 0) {
            y = NODE(&s, &op_group_norm, ((struct attributes){.group = g, .epsilon = 1e-5f}), x,
                     scale, bias);
        } else {
            start_source(&source, i % 4 == 1 && numbers == c ? "InstanceNormalization"
                                                            : "GroupNormalization");
            if (source.node.op_type[0] == 'G')
                set_int(&source, "num_groups", g);
            y = source_node(&s, &source, 3, (int[]){x, scale, bias});
        }
        add_output(&s, y);
        if (i % 5 == 0)
            add_output(&s, x); /* must not be written over */
        check(&s, 0, 2e-5);
    }
}

/* A mean far from zero must not drown the spread. */
static void moments_far_from_zero(void **state)
{
    (void)state;
    float x[8 * 5000];
    struct moments one, eight[8];
    for (int i = 0; i < 8 * 5000; i++)
        x[i] = 10000.0f + (float)(i / 8 % 2 ? 1 : -1);
    row_moments(x, 8 * 5000, &one);
    row_moments8(x, 5000, eight);
    assert_true(fabs(one.spread / 40000 - 1) < 1e-3 && fabs(one.mean - 10000) < 1e-2);
    for (int i = 0; i < 8; i++)
        assert_true(eight[i].count == 5000 && fabs(eight[i].spread / 5000 - 1) < 1e-3);
}

static void rotary_of_any_shape(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 30; i++) {
        struct sample s;
        begin(&s, i);
        int64_t n = between(&s, 1, 2), heads = between(&s, 1, 4), rows = between(&s, 1, 90);
        int64_t depth = 2 * between(&s, 1, 40);
        int x = add_input(&s, i % 2 ? SHAPE(n, rows, heads, depth) : SHAPE(n, heads, rows, depth));
        if (i % 2)
            x = transposed(&s, x, (int64_t[]){0, 2, 1, 3});
        const struct shape tables[] = {SHAPE(rows, depth), SHAPE(n, 1, rows, depth), SHAPE(depth),
                                       SHAPE(1, 1, rows, depth), SHAPE(rows, depth / 2)};
        struct shape table = tables[draw(&s, 5)];
        int cosine = add_constant(&s, table), sine = add_input(&s, table);
        int y = NODE(&s, &op_rotary, ((struct attributes){0}), x, cosine, sine);
        add_output(&s, NODE(&s, &op_rotary, ((struct attributes){0}), y, cosine, sine));
        if (i % 5 == 0)
            add_output(&s, x);
        check(&s, 0, 1e-5);
    }
}

static void rotary_operator_of_any_shape(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 16; i++) {
        struct sample s;
        struct source source;
        begin(&s, i);
        s.opset = 23;
        int64_t n = between(&s, 1, 2), heads = between(&s, 1, 4), rows = between(&s, 1, 70);
        int64_t half = between(&s, 1, 30);
        int x = add_input(&s, i % 2 ? SHAPE(n, rows, heads * half * 2)
                                    : SHAPE(n, heads, rows, half * 2));
        start_source(&source, "RotaryEmbedding");
        set_int(&source, "interleaved", i / 2 % 2);
        if (i % 2)
            set_int(&source, "num_heads", heads);
        int cosine = add_input(&s, SHAPE(n, rows, half));
        int sine = add_constant(&s, SHAPE(n, rows, half));
        add_output(&s, source_node(&s, &source, 3, (int[]){x, cosine, sine}));
        check(&s, 0, 1e-5);
    }
}

static void set_text(struct source *s, const char *name, const char *text)
{
    s->attributes[s->node.attribute_count++] = (struct onnx_attribute){
        .name = name, .type = ONNX_STRING, .s = text, .s_size = strlen(text)};
}

/* Places inside, on the border, and outside. */
static void grid_samples_of_any_kind(void **state)
{
    (void)state;
    static const char *const modes[] = {"linear", "nearest"};
    static const char *const paddings[] = {"zeros", "border", "reflection"};
    for (uint32_t i = 0; i < 36; i++) {
        struct sample s;
        struct source source;
        begin(&s, i);
        s.opset = 20;
        int x = add_input(&s, SHAPE(2, between(&s, 1, 9), between(&s, 1, 20), between(&s, 1, 20)));
        int grid = add_input(&s, SHAPE(2, between(&s, 1, 40), between(&s, 1, 30), 2));
        int wide = graph_add_constant(&s.g, "wide", DTYPE_F32, &(struct shape){0},
                                      &(const float){1.5f});
        start_source(&source, "Mul");
        grid = source_node(&s, &source, 2, (int[]){grid, wide});
        start_source(&source, "GridSample");
        set_text(&source, "mode", modes[i % 2]);
        set_text(&source, "padding_mode", paddings[i / 2 % 3]);
        set_int(&source, "align_corners", i / 6 % 2);
        add_output(&s, source_node(&s, &source, 2, (int[]){x, grid}));
        check(&s, 0, 1e-5);
    }
}

/* ---- where values go ---- */

static void outputs_may_be_inputs_constants_and_shared(void **state)
{
    (void)state;
    struct sample s;
    struct source source;
    begin(&s, 2);
    int x = add_input(&s, SHAPE(1, 16, 4, 4)), c = add_constant(&s, SHAPE(3));
    start_source(&source, "Flatten");
    int flat = source_node(&s, &source, 1, &x), y = convolved(&s, x);
    start_source(&source, "Relu");
    int relu = source_node(&s, &source, 1, &y);
    add_output(&s, relu);
    add_output(&s, y);
    add_output(&s, flat);
    add_output(&s, x);
    s.data = NULL;
    check(&s, 0, 1e-5);
    (void)c;
}

static void tensors_without_elements(void **state)
{
    (void)state;
    struct sample s;
    begin(&s, 3);
    s.fast_only = 0;
    struct attributes conv = {.spatial = 2, .kernel = {3, 3}, .strides = {1, 1},
                              .dilations = {1, 1}, .group = 1};
    int x = add_input(&s, SHAPE(0, 16, 4, 4)), w = add_constant(&s, SHAPE(16, 16, 3, 3));
    add_output(&s, NODE(&s, &op_fused_conv, conv, x, w));
    struct attributes linear = {.has_bias = 1};
    int z = add_input(&s, SHAPE(3, 0)), k = add_constant(&s, SHAPE(0, 4));
    add_output(&s, NODE(&s, &op_linear, linear, z, k, add_constant(&s, SHAPE(4))));
    add_output(&s, NODE(&s, &op_gelu, ((struct attributes){0}), z));
    check(&s, LINEAR_WAYS, 1e-5);
}

static int resident(const void *data, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = 0;
    uintptr_t begin = ((uintptr_t)data + page - 1) / page * page;
    unsigned char there[1024];
    size_t count = ((uintptr_t)data + bytes - begin) / page;
    assert_true(count <= sizeof there && !mincore((void *)begin, count * page, there));
    for (size_t i = 0; i < count; i++)
        pages += there[i] & 1;
    return pages > 0;
}

/* Packed weights leave memory, but not while a later node reads them where they lie. */
static void packed_weights_are_forgotten_when_nobody_needs_them(void **state)
{
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        struct sample s;
        struct source source;
        begin(&s, 4);
        s.forget = 1;
        int x = add_input(&s, SHAPE(256, 256)), w = add_constant(&s, SHAPE(256, 256));
        int y = NODE(&s, &op_linear, ((struct attributes){0}), x, w);
        start_source(&source, "Add");
        if (shared)
            y = source_node(&s, &source, 2, (int[]){y, w});
        add_output(&s, y);
        struct onednn *d;
        struct error e;
        run_reference(&s);
        assert_int_equal(onednn_open(&d, &e), 0);
        assert_true(resident(s.g.values[w].constant, 256 * 256 * 4));
        try_one(&s, d, 1, 0, 2e-5);
        assert_int_equal(resident(s.g.values[w].constant, 256 * 256 * 4), shared);
        onednn_close(d);
        finish(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_that_models_use),
        cmocka_unit_test(convolutions_of_any_shape),
        cmocka_unit_test(convolution_keeps_a_residual_others_need),
        cmocka_unit_test(convolutions_in_1d_and_3d),
        cmocka_unit_test(winograd_of_any_shape),
        cmocka_unit_test(linear_of_any_shape),
        cmocka_unit_test(products_of_computed_values),
        cmocka_unit_test(attention_of_any_shape),
        cmocka_unit_test(attention_operator_of_any_shape),
        cmocka_unit_test(layer_norm_of_any_width),
        cmocka_unit_test(softmax_of_any_width),
        cmocka_unit_test(softmax_survives_extremes),
        cmocka_unit_test(recurrent_layers_of_any_shape),
        cmocka_unit_test(recurrent_layers_with_rare_settings),
        cmocka_unit_test(gates_are_accurate_near_and_far),
        cmocka_unit_test(pools_of_any_shape),
        cmocka_unit_test(global_average_after_a_convolution),
        cmocka_unit_test(binary_with_broadcast),
        cmocka_unit_test(adding_a_value_to_itself),
        cmocka_unit_test(activations_in_any_layout),
        cmocka_unit_test(activations_over_their_range),
        cmocka_unit_test(squeeze_and_excitation),
        cmocka_unit_test(a_number_for_each_channel),
        cmocka_unit_test(batch_norm_without_a_convolution),
        cmocka_unit_test(split_into_channels),
        cmocka_unit_test(resize_in_any_layout),
        cmocka_unit_test(resize_of_channels_is_the_reference),
        cmocka_unit_test(transposed_convolutions),
        cmocka_unit_test(concat_in_any_layout),
        cmocka_unit_test(concat_of_long_pieces),
        cmocka_unit_test(transposes_in_any_order),
        cmocka_unit_test(transposes_need_no_step),
        cmocka_unit_test(products_of_transposed_values),
        cmocka_unit_test(attention_operator_between_transposes),
        cmocka_unit_test(rms_norm_of_any_width),
        cmocka_unit_test(group_norms_of_any_shape),
        cmocka_unit_test(moments_far_from_zero),
        cmocka_unit_test(rotary_of_any_shape),
        cmocka_unit_test(rotary_operator_of_any_shape),
        cmocka_unit_test(grid_samples_of_any_kind),
        cmocka_unit_test(outputs_may_be_inputs_constants_and_shared),
        cmocka_unit_test(tensors_without_elements),
        cmocka_unit_test(packed_weights_are_forgotten_when_nobody_needs_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
