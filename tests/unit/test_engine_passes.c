/* Each pass: the nodes it leaves, and that the rewritten graph computes what the original does, on
 * the reference kernels. */
#include "engine_model.h"

#include "engine/pass.h"

/* Runs original and rewritten graph on the same random inputs. */
static void compare(struct model_builder *b, const struct graph *before, const struct graph *after,
                    double tolerance)
{
    void *inputs[16] = {0}, *x[16] = {0}, *y[16] = {0};
    struct error e;
    model_feed(b, before, 2, inputs);
    if (interpret(before, (const void *const *)inputs, x, &e) ||
        interpret(after, (const void *const *)inputs, y, &e))
        fail_msg("%s", e.text);
    assert_int_equal(before->output_count, after->output_count);
    for (int o = 0; o < before->output_count; o++) {
        const struct value *v = &before->values[before->outputs[o]];
        const struct value *w = &after->values[after->outputs[o]];
        double largest = 0, error = 0;
        assert_true(shape_equal(&v->shape, &w->shape));
        assert_string_equal(v->name, w->name);
        assert_true(w->is_output);
        for (int64_t i = 0; i < shape_elements(&v->shape) && v->type == DTYPE_F32; i++) {
            double want = (double)((float *)x[o])[i], have = (double)((float *)y[o])[i];
            largest = fmax(largest, fabs(want));
            error = fmax(error, fabs(want - have));
            assert_false(isnan(have));
        }
        if (error > tolerance * (largest + 1e-3))
            fail_msg("output %d differs by %g of %g", o, error, largest);
        assert_true(largest > 0);
    }
    for (int i = 0; i < 16; i++) {
        free(inputs[i]);
        free(x[i]);
        free(y[i]);
    }
}

/* Every internal node passes its own infer, reads only what comes before it, and the counts of
 * readers are right. */
static void check_graph(struct graph *g)
{
    int *uses = calloc((size_t)g->value_count + 1, sizeof *uses);
    assert_non_null(uses);
    for (int i = 0; i < g->node_count; i++) {
        struct node *n = &g->nodes[i];
        struct infer_context c = {g, n, NULL, 17, NULL, NULL};
        struct error e;
        assert_false(n->dead);
        if (*n->op->domain && n->op->infer(&c, &e))
            fail_msg("%s: %s", n->name, e.text);
        for (int k = 0; k < n->input_count; k++) {
            if (n->inputs[k] == NO_VALUE)
                continue;
            const struct value *v = &g->values[n->inputs[k]];
            uses[n->inputs[k]]++;
            assert_true(v->constant || v->is_input || (v->producer >= 0 && v->producer < i));
        }
        for (int k = 0; k < n->output_count; k++)
            if (n->outputs[k] != NO_VALUE)
                assert_int_equal(g->values[n->outputs[k]].producer, i);
    }
    for (int i = 0; i < g->output_count; i++)
        uses[g->outputs[i]]++;
    for (int i = 0; i < g->value_count; i++)
        assert_int_equal(uses[i], graph_uses(g, i));
    free(uses);
}

/* Builds the model, runs the passes, expects these nodes and the same outputs. */
static void expect(struct model_builder *b, const char *nodes, double tolerance)
{
    struct graph before, after;
    struct error e;
    char text[4096];
    model_build(b, &before);
    model_build(b, &after);
    int64_t macs = graph_macs(&before);
    if (pass_run(&after, &e))
        fail_msg("%s", e.text);
    assert_string_equal(model_list(&after, text, sizeof text), nodes);
    assert_int_equal(graph_macs(&after), macs);
    check_graph(&after);
    compare(b, &before, &after, tolerance);
    graph_release(&before);
    graph_release(&after);
    model_free(b);
}

/* Positive variances. */
static void add_batch_norm(struct model_builder *b, const char *name, const char *x, const char *y,
                           int channels)
{
    char list[256], part[64];
    snprintf(list, sizeof list, "%s %s.s %s.b %s.m %s.v", x, name, name, name, name);
    static const char suffixes[] = "sbmv";
    for (int i = 0; i < 4; i++) {
        snprintf(part, sizeof part, "%s.%c", name, suffixes[i]);
        float *data = model_random(b, part, 1, channels);
        for (int c = 0; c < channels; c++)
            data[c] = suffixes[i] == 'v' ? 0.5f + fabsf(data[c]) : data[c];
    }
    model_node(b, "BatchNormalization", list, y);
}

static void add_conv(struct model_builder *b, const char *x, const char *y, int in, int out,
                     int kernel, int stride, int group)
{
    char weight[64], list[128];
    snprintf(weight, sizeof weight, "%s.w", y);
    snprintf(list, sizeof list, "%s %s", x, weight);
    model_random(b, weight, 4, out, in / group, kernel, kernel);
    model_node(b, "Conv", list, y);
    model_int(b, "group", group);
    model_ints(b, "kernel_shape", 2, kernel, kernel);
    model_ints(b, "strides", 2, stride, stride);
    model_ints(b, "pads", 4, kernel / 2, kernel / 2, kernel / 2, kernel / 2);
}

static void test_batchnorm(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    model_input(b, "x", DTYPE_F32, 4, 2, 3, 7, 6);
    add_conv(b, "x", "c", 3, 5, 3, 1, 1);
    add_batch_norm(b, "n", "c", "y", 5);
    model_output(b, "y");
    expect(b, "Conv+BatchNormalization", 1e-5);
}

static void test_scale_and_shift(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    model_input(b, "x", DTYPE_F32, 4, 2, 3, 5, 6);
    add_conv(b, "x", "c", 3, 4, 3, 1, 1);
    model_random(b, "m", 3, 4, 1, 1);
    model_random(b, "a", 4, 1, 4, 1, 1);
    model_scalar(b, "two", 2);
    model_node(b, "Mul", "m c", "c1");
    model_node(b, "Add", "c1 a", "c2");
    model_node(b, "Mul", "c2 two", "c3");
    add_batch_norm(b, "n", "c3", "c4", 4);
    model_node(b, "Relu", "c4", "y");
    model_output(b, "y");
    expect(b, "Conv+Mul+Add+Mul+BatchNormalization+Relu", 1e-5);
}

/* A constant along the width is not one per channel; a value read twice is not swallowed. */
static void test_no_scale(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    model_input(b, "x", DTYPE_F32, 4, 2, 3, 6, 6);
    add_conv(b, "x", "c", 3, 6, 1, 1, 1);
    model_random(b, "m", 1, 6);
    model_node(b, "Mul", "c m", "d");
    add_conv(b, "x", "p", 3, 4, 1, 1, 1);
    add_batch_norm(b, "n", "p", "q", 4);
    model_node(b, "Relu", "p", "r");
    model_output(b, "d");
    model_output(b, "q");
    model_output(b, "r");
    expect(b, "Conv Mul Conv BatchNormalization Relu", 1e-5);
}

/* Two bottlenecks of ResNet, the first with a projection, and the end. */
static void add_bottleneck(struct model_builder *b, const char *x, const char *y, int in, int middle,
                           int stride, int project)
{
    char n[9][64];
    for (int i = 0; i < 9; i++)
        snprintf(n[i], sizeof n[i], "%s.%d", y, i);
    int out = 4 * middle;
    const char *shortcut = x;
    add_conv(b, x, n[0], in, middle, 1, 1, 1);
    add_batch_norm(b, n[0], n[0], n[1], middle);
    model_node(b, "Relu", n[1], n[2]);
    add_conv(b, n[2], n[3], middle, middle, 3, stride, 1);
    add_batch_norm(b, n[3], n[3], n[4], middle);
    model_node(b, "Relu", n[4], n[5]);
    add_conv(b, n[5], n[6], middle, out, 1, 1, 1);
    add_batch_norm(b, n[6], n[6], n[7], out);
    if (project) {
        char c[64], d[64];
        snprintf(c, sizeof c, "%s.p", y);
        snprintf(d, sizeof d, "%s.q", y);
        add_conv(b, x, c, in, out, 1, stride, 1);
        add_batch_norm(b, c, c, d, out);
        shortcut = model_text(b, d);
    }
    char list[160], sum[64];
    snprintf(list, sizeof list, "%s %s", n[7], shortcut);
    snprintf(sum, sizeof sum, "%s.sum", y);
    model_node(b, "Add", list, sum);
    model_node(b, "Relu", sum, y);
}

static void test_resnet(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    model_input(b, "x", DTYPE_F32, 4, -1, 3, 32, 32);
    add_conv(b, "x", "a", 3, 8, 7, 2, 1);
    add_batch_norm(b, "an", "a", "a1", 8);
    model_node(b, "Relu", "a1", "a2");
    model_node(b, "MaxPool", "a2", "a3");
    model_ints(b, "kernel_shape", 2, 3, 3);
    model_ints(b, "strides", 2, 2, 2);
    model_ints(b, "pads", 4, 1, 1, 1, 1);
    add_bottleneck(b, "a3", "b", 8, 4, 2, 1);
    add_bottleneck(b, "b", "c", 16, 4, 1, 0);
    model_node(b, "GlobalAveragePool", "c", "p");
    model_node(b, "Flatten", "p", "f");
    model_random(b, "fc.w", 2, 10, 16);
    model_random(b, "fc.b", 1, 10);
    model_node(b, "Gemm", "f fc.w fc.b", "y");
    model_int(b, "transB", 1);
    model_output(b, "y");
    expect(b, "Conv+BatchNormalization+Relu MaxPool "
              "Conv+BatchNormalization+Relu Conv+BatchNormalization+Relu "
              "Conv+BatchNormalization "
              "Conv+BatchNormalization+Add+Relu "
              "Conv+BatchNormalization+Relu Conv+BatchNormalization+Relu "
              "Conv+BatchNormalization+Add+Relu "
              "GlobalAveragePool Flatten Gemm", 1e-4);
}

/* An inverted residual: expand, depthwise, project, with Clip at 6 and without an activation. */
static void mobilenet(int64_t opset)
{
    struct model_builder *b = model_new(opset);
    model_input(b, "x", DTYPE_F32, 4, 1, 8, 9, 9);
    model_scalar(b, "zero", 0);
    model_scalar(b, "six", 6);
    add_conv(b, "x", "a", 8, 24, 1, 1, 1);
    add_batch_norm(b, "an", "a", "a1", 24);
    model_node(b, "Clip", opset < 11 ? "a1" : "a1 zero six", "a2");
    if (opset < 11) {
        model_float(b, "min", 0);
        model_float(b, "max", 6);
    }
    add_conv(b, "a2", "d", 24, 24, 3, 1, 24);
    add_batch_norm(b, "dn", "d", "d1", 24);
    model_node(b, "Clip", opset < 11 ? "d1" : "d1 zero six", "d2");
    if (opset < 11) {
        model_float(b, "min", 0);
        model_float(b, "max", 6);
    }
    add_conv(b, "d2", "p", 24, 8, 1, 1, 1);
    add_batch_norm(b, "pn", "p", "p1", 8);
    model_node(b, "Add", "x p1", "y");
    model_output(b, "y");
    expect(b, "Conv+BatchNormalization+Clip Conv+BatchNormalization+Clip "
              "Conv+BatchNormalization+Add", 1e-5);
}

static void test_mobilenet(void **state)
{
    (void)state;
    mobilenet(10);
    mobilenet(17);
}

/* A bound that is computed cannot become part of the node. */
static void test_runtime_clip(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    model_input(b, "x", DTYPE_F32, 4, 1, 2, 5, 5);
    model_input(b, "high", DTYPE_F32, 0);
    add_conv(b, "x", "c", 2, 3, 1, 1, 1);
    model_node(b, "Clip", "c - high", "y");
    model_output(b, "y");
    expect(b, "Conv Clip", 1e-6);
}

static void test_conv_output(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    model_input(b, "x", DTYPE_F32, 4, 1, 2, 5, 5);
    add_conv(b, "x", "c", 2, 3, 1, 1, 1);
    model_node(b, "Relu", "c", "y");
    model_node(b, "Add", "y y", "z");
    model_output(b, "c");
    model_output(b, "z");
    expect(b, "Conv Relu Add", 1e-6);
}

static void test_linear(void **state)
{
    (void)state;
    static const char *const activations[] = {"Relu", "Tanh", "Sigmoid"};
    for (int i = 0; i < 3; i++) {
        char nodes[128];
        struct model_builder *b = model_new(17);
        model_input(b, "x", DTYPE_F32, 3, 2, 5, 7);
        model_input(b, "r", DTYPE_F32, 3, 2, 5, 9);
        model_random(b, "w", 2, 7, 9);
        model_random(b, "c", 3, 1, 1, 9);
        model_node(b, "MatMul", "x w", "p");
        model_node(b, "Add", "c p", "q");
        model_node(b, "Add", "r q", "s");
        model_node(b, activations[i], "s", "y");
        model_output(b, "y");
        snprintf(nodes, sizeof nodes, "MatMul+Add+Add+%s", activations[i]);
        expect(b, nodes, 1e-5);
    }
}

/* alpha and beta go into the constants; a C that is a column stays with Gemm. */
static void test_gemm(void **state)
{
    (void)state;
    for (int column = 0; column < 2; column++) {
        struct model_builder *b = model_new(17);
        model_input(b, "x", DTYPE_F32, 2, 4, 6);
        model_random(b, "w", 2, 6, 5);
        model_random(b, "c", 2, column ? 4 : 1, column ? 1 : 5);
        model_node(b, "Gemm", "x w c", "p");
        model_float(b, "alpha", 0.5f);
        model_float(b, "beta", -2);
        model_node(b, "Relu", "p", "y");
        model_output(b, "y");
        expect(b, column ? "Gemm Relu" : "Gemm+Relu", 1e-5);
    }
}

/* An Add that broadcasts the product is no bias. */
static void test_no_bias(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    model_input(b, "x", DTYPE_F32, 2, 1, 6);
    model_random(b, "w", 2, 6, 5);
    model_random(b, "c", 2, 4, 5);
    model_random(b, "d", 3, 1, 1, 5);
    model_node(b, "MatMul", "x w", "p");
    model_node(b, "Add", "p c", "y");
    model_node(b, "MatMul", "x w", "q");
    model_node(b, "Add", "q d", "z");
    model_output(b, "y");
    model_output(b, "z");
    expect(b, "MatMul Add MatMul Add", 1e-5);
}

/* Zeros around the image are the Conv's own; other fillings, cuts and padded channels are not. */
static void test_pad(void **state)
{
    (void)state;
    static const struct {
        int pads[8];
        const char *mode;
        float fill;
        int fused;
    } cases[] = {
        {{0, 0, 1, 0, 0, 0, 2, 1}, "constant", 0, 1},  {{0, 0, 1, 0, 0, 0, 2, 1}, "constant", 1, 0},
        {{0, 0, 1, 1, 0, 0, 1, 1}, "reflect", 0, 0},   {{0, 0, 1, -1, 0, 0, 1, 1}, "constant", 0, 0},
        {{0, 1, 1, 1, 0, 0, 1, 1}, "constant", 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int *p = cases[i].pads;
        struct model_builder *b = model_new(17);
        model_input(b, "x", DTYPE_F32, 4, 2, p[1] ? 2 : 3, 7, 6);
        model_longs(b, "pads", 8, p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]);
        model_scalar(b, "fill", cases[i].fill);
        model_node(b, "Pad", "x pads fill", "p");
        model_string(b, "mode", cases[i].mode);
        add_conv(b, "p", "c", 3, 5, 3, 2, 1);
        model_node(b, "Relu", "c", "y");
        model_output(b, "y");
        expect(b, cases[i].fused ? "Conv+Relu" : "Pad Conv+Relu", 1e-5);
    }
}

/* As in DenseNet, where it comes before the convolution. */
static void test_batchnorm_first(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    model_input(b, "x", DTYPE_F32, 4, 2, 6, 5, 4);
    add_batch_norm(b, "n", "x", "n1", 6);
    model_node(b, "Relu", "n1", "r");
    add_conv(b, "r", "c", 6, 4, 3, 1, 1);
    model_output(b, "c");
    expect(b, "BatchNormalization+Relu Conv", 1e-5);
}

enum spelled {
    SILU, SILU_TURNED, QUICK_GELU, HARD_SIGMOID, HARD_SWISH, HARD_SWISH_LATE, HARD_SWISH_SIXTH,
    HARD_SWISH_NODE, MISH, SPELLED
};

/* Of "x", into "y". */
static void add_spelled(struct model_builder *b, enum spelled form)
{
    model_scalar(b, "three", 3);
    model_scalar(b, "none", 0);
    model_scalar(b, "six", 6);
    model_scalar(b, "sixth", 1.0f / 6);
    model_scalar(b, "factor", 1.702f);
    if (form == QUICK_GELU)
        model_node(b, "Mul", "factor x", "x1");
    if (form <= QUICK_GELU) {
        model_node(b, "Sigmoid", form == QUICK_GELU ? "x1" : "x", "s");
        model_node(b, "Mul", form == SILU ? "x s" : "s x", "y");
    } else if (form == HARD_SWISH_NODE) {
        model_node(b, "HardSigmoid", "x", "s");
        model_float(b, "alpha", 0.16666667f);
        model_node(b, "Mul", "x s", "y");
    } else if (form == MISH) {
        model_node(b, "Softplus", "x", "p");
        model_node(b, "Tanh", "p", "t");
        model_node(b, "Mul", "x t", "y");
    } else {
        int sixth = form == HARD_SWISH_SIXTH, late = form == HARD_SWISH_LATE;
        model_node(b, "Add", sixth ? "three x" : "x three", "a");
        model_node(b, "Clip", "a none six", "c");
        if (late)
            model_node(b, "Mul", "x c", "m");
        model_node(b, sixth ? "Mul" : "Div", sixth ? "sixth c" : late ? "m six" : "c six",
                   form == HARD_SIGMOID || late ? "y" : "d");
        if (form == HARD_SWISH || sixth)
            model_node(b, "Mul", sixth ? "d x" : "x d", "y");
    }
    model_output(b, "y");
}

static const char *spelled_name(enum spelled form)
{
    return form <= QUICK_GELU ? "Swish" : form == HARD_SIGMOID ? "HardSigmoid"
           : form == MISH ? "Mish" : "HardSwish";
}

static void test_spelled_activations(void **state)
{
    (void)state;
    for (enum spelled form = SILU; form < SPELLED; form++) {
        char nodes[64];
        struct model_builder *b = model_new(13);
        model_input(b, "x", DTYPE_F32, 2, 3, 50);
        add_spelled(b, form);
        expect(b, spelled_name(form), 1e-6);
        b = model_new(13);
        model_input(b, "i", DTYPE_F32, 4, 1, 3, 9, 9);
        add_conv(b, "i", "k", 3, 8, 3, 1, 1);
        add_batch_norm(b, "n", "k", "x", 8);
        add_spelled(b, form);
        snprintf(nodes, sizeof nodes, "Conv+BatchNormalization+%s", spelled_name(form));
        expect(b, nodes, 1e-5);
    }
}

/* Part of the pattern is read elsewhere, or its numbers are others. */
static void test_no_spelled_activation(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    model_input(b, "x", DTYPE_F32, 1, 50);
    add_spelled(b, SILU);
    model_output(b, "s");
    expect(b, "Sigmoid Mul", 1e-6);
    b = model_new(17);
    model_input(b, "x", DTYPE_F32, 1, 50);
    model_input(b, "z", DTYPE_F32, 1, 50);
    model_node(b, "Sigmoid", "x", "s");
    model_node(b, "Mul", "z s", "y");
    model_output(b, "y");
    expect(b, "Sigmoid Mul", 1e-6);
    b = model_new(17);
    model_input(b, "x", DTYPE_F32, 1, 50);
    model_node(b, "HardSigmoid", "x", "s");
    model_node(b, "Mul", "x s", "y");
    model_output(b, "y");
    expect(b, "HardSigmoid Mul", 1e-6);
    b = model_new(17);
    model_input(b, "x", DTYPE_F32, 1, 50);
    add_spelled(b, HARD_SWISH_LATE);
    *(float *)b->initializers[2].tensor.data = 5; /* both the upper bound and the divisor */
    expect(b, "Add Clip Mul Div", 1e-6);
}

/* Every activation that is an epilogue, behind a Conv and behind a Linear. */
static void test_activations_are_fused(void **state)
{
    (void)state;
    static const char *const names[] = {"Relu", "Tanh", "Sigmoid", "LeakyRelu", "Elu", "HardSwish",
                                        "HardSigmoid", "Mish", "Gelu", "PRelu"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char nodes[64];
        struct model_builder *b = model_new(20);
        model_input(b, "x", DTYPE_F32, 4, 1, 3, 5, 6);
        model_input(b, "r", DTYPE_F32, 2, 4, 6);
        model_scalar(b, "slope", 0.2f);
        model_random(b, "w", 2, 6, 5);
        add_conv(b, "x", "c", 3, 4, 3, 1, 1);
        model_node(b, names[i], strcmp(names[i], "PRelu") ? "c" : "c slope", "y");
        model_node(b, "MatMul", "r w", "m");
        model_node(b, names[i], strcmp(names[i], "PRelu") ? "m" : "m slope", "z");
        if (!strcmp(names[i], "Gelu"))
            model_string(b, "approximate", "tanh");
        model_output(b, "y");
        model_output(b, "z");
        snprintf(nodes, sizeof nodes, "Conv+%s MatMul+%s", names[i], names[i]);
        expect(b, nodes, 1e-5);
    }
}

/* A slope for each channel, and what is no epilogue, stay behind. */
static void test_activations_not_fused(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    model_input(b, "x", DTYPE_F32, 4, 1, 3, 5, 6);
    model_random(b, "slopes", 3, 4, 1, 1);
    add_conv(b, "x", "c", 3, 4, 3, 1, 1);
    model_node(b, "PRelu", "c slopes", "d");
    add_conv(b, "d", "e", 4, 4, 1, 1, 1);
    model_node(b, "Selu", "e", "y");
    model_output(b, "y");
    expect(b, "Conv PRelu Conv Selu", 1e-5);
}

static void add_gelu(struct model_builder *b, int order)
{
    model_scalar(b, "root", sqrtf(2));
    model_scalar(b, "inverse", 0.70710677f);
    model_scalar(b, "one", 1);
    model_scalar(b, "half", 0.5f);
    model_node(b, order % 2 ? "Mul" : "Div", order % 2 ? "inverse x" : "x root", "a");
    model_node(b, "Erf", "a", "b");
    model_node(b, "Add", order % 2 ? "one b" : "b one", "c");
    switch (order / 2) {
    case 0:
        model_node(b, "Mul", "x c", "d");
        model_node(b, "Mul", "d half", "y");
        break;
    case 1:
        model_node(b, "Mul", "half x", "d");
        model_node(b, "Mul", "d c", "y");
        break;
    default:
        model_node(b, "Mul", "c half", "d");
        model_node(b, "Mul", "x d", "y");
    }
    model_output(b, "y");
}

static void test_gelu(void **state)
{
    (void)state;
    for (int order = 0; order < 6; order++) {
        struct model_builder *b = model_new(17);
        model_input(b, "x", DTYPE_F32, 2, 3, 50);
        add_gelu(b, order);
        expect(b, "Gelu", 1e-6);
    }
    struct model_builder *b = model_new(20);
    model_input(b, "x", DTYPE_F32, 1, 50);
    model_node(b, "Gelu", "x", "z");
    model_string(b, "approximate", "tanh");
    model_node(b, "Gelu", "z", "y");
    model_output(b, "y");
    struct graph g;
    struct error e;
    model_build(b, &g);
    assert_int_equal(pass_run(&g, &e), 0);
    assert_int_equal(model_count(&g, "wattle", "Gelu"), 1);
    assert_int_equal(model_count(&g, "", "Gelu"), 1);
    graph_release(&g);
    model_free(b);
}

/* Looks like Gelu, but a constant is another, or a value is read elsewhere. */
static void test_no_gelu(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    model_input(b, "x", DTYPE_F32, 1, 50);
    add_gelu(b, 0);
    float *root = b->initializers[0].tensor.data;
    *root = 1.4f;
    expect(b, "Div Erf Add Mul Mul", 1e-6);
    b = model_new(17);
    model_input(b, "x", DTYPE_F32, 1, 50);
    add_gelu(b, 0);
    model_output(b, "c");
    expect(b, "Div Erf Add Mul Mul", 1e-6);
}

static void add_layer_norm(struct model_builder *b, int squares, int twice)
{
    model_scalar(b, "two", 2);
    model_scalar(b, "epsilon", 1e-5f);
    model_random(b, "scale", 1, 20);
    model_random(b, "bias", 2, 1, 20);
    model_node(b, "ReduceMean", "x", "m");
    model_ints(b, "axes", 1, -1);
    model_node(b, "Sub", "x m", "d");
    if (twice)
        model_node(b, "Sub", "x m", "d2");
    model_node(b, squares ? "Mul" : "Pow", squares ? "d d" : "d two", "s");
    model_node(b, "ReduceMean", "s", "v");
    model_ints(b, "axes", 1, 2);
    model_node(b, "Add", "epsilon v", "v1");
    model_node(b, "Sqrt", "v1", "v2");
    model_node(b, "Div", twice ? "d2 v2" : "d v2", "n");
    model_node(b, "Mul", "n scale", "n1");
    model_node(b, "Add", "bias n1", "y");
    model_output(b, "y");
}

static void test_layernorm(void **state)
{
    (void)state;
    for (int form = 0; form < 4; form++) {
        struct model_builder *b = model_new(13);
        model_input(b, "x", DTYPE_F32, 3, 2, 3, 20);
        add_layer_norm(b, form & 1, form >> 1);
        expect(b, "LayerNorm", 1e-5);
    }
    struct model_builder *b = model_new(17);
    model_input(b, "x", DTYPE_F32, 3, 2, 3, 20);
    model_random(b, "scale", 1, 20);
    model_node(b, "LayerNormalization", "x scale", "y");
    model_output(b, "y");
    expect(b, "LayerNorm", 1e-6);
    b = model_new(17);
    model_input(b, "x", DTYPE_F32, 3, 2, 3, 4);
    model_random(b, "scale", 2, 3, 4);
    model_node(b, "LayerNormalization", "x scale", "y");
    model_int(b, "axis", 1);
    model_output(b, "y");
    expect(b, "LayerNormalization", 1e-6);
}

static void test_no_layernorm(void **state)
{
    (void)state;
    struct model_builder *b = model_new(13);
    model_input(b, "x", DTYPE_F32, 3, 2, 20, 20);
    add_layer_norm(b, 0, 0);
    int64_t *axes = (int64_t *)(uintptr_t)b->nodes[0].attributes[0].ints;
    axes[0] = 1; /* what is left is an RMSNorm of what another axis centred */
    expect(b, "ReduceMean Sub RmsNorm Add", 1e-5);
}

enum rms_form { RECIPROCAL, DIVIDED, INVERSE, POWER, RMS_FORMS };

static void add_rms_norm(struct model_builder *b, enum rms_form form, int squares, int scaled)
{
    static const int64_t two = 2;
    model_constant(b, "two", DTYPE_I64, &(struct shape){0}, &two);
    model_scalar(b, "one", 1);
    model_scalar(b, "half", -0.5f);
    model_scalar(b, "epsilon", 1e-5f);
    model_random(b, "scale", 1, 20);
    model_node(b, squares ? "Mul" : "Pow", squares ? "x x" : "x two", "s");
    model_node(b, "ReduceMean", "s", "m");
    model_ints(b, "axes", 1, -1);
    model_node(b, "Add", squares ? "epsilon m" : "m epsilon", "a");
    if (form == POWER)
        model_node(b, "Pow", "a half", "i");
    else
        model_node(b, "Sqrt", "a", "r");
    if (form == RECIPROCAL)
        model_node(b, "Reciprocal", "r", "i");
    if (form == INVERSE)
        model_node(b, "Div", "one r", "i");
    if (form == DIVIDED)
        model_node(b, "Div", "x r", scaled ? "n" : "y");
    else
        model_node(b, "Mul", squares ? "i x" : "x i", scaled ? "n" : "y");
    if (scaled)
        model_node(b, "Mul", squares ? "scale n" : "n scale", "y");
    model_output(b, "y");
}

static void test_rmsnorm(void **state)
{
    (void)state;
    for (int i = 0; i < 4 * RMS_FORMS; i++) {
        struct model_builder *b = model_new(17);
        model_input(b, "x", DTYPE_F32, 3, 2, 3, 20);
        add_rms_norm(b, (enum rms_form)(i / 4), i & 1, i >> 1 & 1);
        expect(b, "RmsNorm", 1e-5);
    }
}

/* Over another axis; of another value than is divided; where the root is read elsewhere. */
static void test_no_rmsnorm(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    model_input(b, "x", DTYPE_F32, 3, 2, 3, 20);
    add_rms_norm(b, RECIPROCAL, 0, 1);
    ((int64_t *)(uintptr_t)b->nodes[1].attributes[0].ints)[0] = 1;
    expect(b, "Pow ReduceMean Add Sqrt Reciprocal Mul Mul", 1e-5);
    b = model_new(17);
    model_input(b, "x", DTYPE_F32, 3, 2, 3, 20);
    model_input(b, "z", DTYPE_F32, 3, 2, 3, 20);
    add_rms_norm(b, RECIPROCAL, 0, 1);
    b->nodes[5].inputs = model_names(b, "z i", &b->nodes[5].input_count);
    expect(b, "Pow ReduceMean Add Sqrt Reciprocal Mul Mul", 1e-5);
    b = model_new(17);
    model_input(b, "x", DTYPE_F32, 3, 2, 3, 20);
    add_rms_norm(b, DIVIDED, 0, 1);
    model_output(b, "r");
    expect(b, "Pow ReduceMean Add Sqrt Div Mul", 1e-5);
}

/* As both exporters write it; without scale and shift; where it only looks like it. */
static void add_group_norm(struct model_builder *b, int64_t last, int affine)
{
    model_longs(b, "grouped", 3, 0, 4, -1);
    model_longs(b, "back", 4, 2, 12, 5, (int)last);
    model_random(b, "gs", 1, 4);
    model_random(b, "gb", 1, 4);
    model_random(b, "scale", 3, 12, 1, 1);
    model_random(b, "bias", 4, 1, 12, 1, 1);
    model_node(b, "Reshape", "x grouped", "g");
    model_node(b, "InstanceNormalization", "g gs gb", "n");
    model_node(b, "Reshape", "n back", affine ? "u" : "y");
    if (affine)
        model_node(b, "Mul", "scale u", "v");
    if (affine)
        model_node(b, "Add", "v bias", "y");
    model_output(b, "y");
}

static void test_groupnorm(void **state)
{
    (void)state;
    for (int affine = 0; affine < 2; affine++) {
        struct model_builder *b = model_new(17);
        model_input(b, "x", DTYPE_F32, 4, 2, 12, 5, 6);
        add_group_norm(b, 6, affine);
        expect(b, "GroupNorm", 1e-5);
    }
    struct model_builder *b = model_new(17);
    model_input(b, "x", DTYPE_F32, 4, 2, 12, 6, 5); /* not x's shape again */
    add_group_norm(b, 6, 1);
    expect(b, "Reshape InstanceNormalization Reshape Mul Add", 1e-5);
    b = model_new(17);
    model_input(b, "x", DTYPE_F32, 4, 2, 12, 5, 6);
    add_group_norm(b, 6, 1);
    model_output(b, "u");
    expect(b, "GroupNorm Mul Add", 1e-5);
}

static void add_rotary(struct model_builder *b, int split)
{
    model_random(b, "cos", 2, 5, 8);
    model_random(b, "sin", 3, 1, 5, 8);
    model_longs(b, "none", 1, 0);
    model_longs(b, "half", 1, 4);
    model_longs(b, "end", 1, 1 << 30);
    model_longs(b, "axis", 1, -1);
    if (split) {
        model_node(b, "Split", "x", "first second");
        model_int(b, "axis", -1);
    } else {
        model_node(b, "Slice", "x none half axis", "first");
        model_node(b, "Slice", "x half end axis", "second");
    }
    model_node(b, "Neg", "second", "minus");
    model_node(b, "Concat", "minus first", "turned");
    model_int(b, "axis", -1);
    model_node(b, "Mul", split ? "cos x" : "x cos", "a");
    model_node(b, "Mul", split ? "sin turned" : "turned sin", "b");
    model_node(b, "Add", split ? "b a" : "a b", "y");
    model_output(b, "y");
}

/* Half by half, with tables that serve both. */
static void add_rotary_halves(struct model_builder *b, const char *last)
{
    model_random(b, "cos", 2, 5, 4);
    model_random(b, "sin", 4, 1, 1, 5, 4);
    model_node(b, "Split", "x", "first second");
    model_int(b, "axis", -1);
    model_node(b, "Mul", "first cos", "a");
    model_node(b, "Mul", "sin second", "b");
    model_node(b, "Sub", "a b", "c");
    model_node(b, "Mul", "second cos", "d");
    model_node(b, "Mul", last, "e");
    model_node(b, "Add", "e d", "f");
    model_node(b, "Concat", "c f", "y");
    model_int(b, "axis", 3);
    model_output(b, "y");
}

static void test_rotary(void **state)
{
    (void)state;
    for (int split = 0; split < 2; split++) {
        struct model_builder *b = model_new(17);
        model_input(b, "x", DTYPE_F32, 4, 2, 3, 5, 8);
        add_rotary(b, split);
        expect(b, "Rotary", 1e-6);
    }
    struct model_builder *b = model_new(17);
    model_input(b, "x", DTYPE_F32, 4, 2, 3, 5, 8);
    add_rotary_halves(b, "first sin");
    expect(b, "Rotary", 1e-6);
    b = model_new(17);
    model_input(b, "x", DTYPE_F32, 4, 2, 3, 5, 8);
    add_rotary_halves(b, "first cos");
    expect(b, "Split Mul Mul Sub Mul Mul Add Concat", 1e-6);
    b = model_new(17); /* the halves keep their places */
    model_input(b, "x", DTYPE_F32, 4, 2, 3, 5, 8);
    add_rotary(b, 0);
    b->nodes[0].inputs = model_names(b, "x half end axis", &b->nodes[0].input_count);
    expect(b, "Slice Slice Neg Concat Mul Mul Add", 1e-6);
}

/* Equation, shapes and what is left of it. A third tensor, a diagonal and a sum within one tensor
 * are left to the operator. */
static void test_einsum(void **state)
{
    (void)state;
    static const struct {
        const char *equation, *nodes;
        int x[4], w[4];
    } cases[] = {
        {"bik,bjk->bij", "Transpose MatMul Reshape", {2, 3, 4}, {2, 5, 4}},
        {"bihd,bjhd->bhij", "Transpose Transpose MatMul Reshape", {2, 3, 4, 5}, {2, 6, 4, 5}},
        {"bhij,bjhd->bihd", "Transpose MatMul Transpose Reshape", {2, 3, 4, 5}, {2, 5, 3, 6}},
        {"...ij,jk", "Reshape MatMul Reshape", {2, 3, 4, 5}, {5, 6}},
        {"bsd,hdk->bhsk", "Reshape Transpose Reshape MatMul Reshape Transpose Reshape",
         {2, 3, 4}, {5, 4, 6}},
        {"bij,bij->bij", "Reshape Reshape Mul Reshape", {2, 3, 4}, {2, 3, 4}},
        {"i,j->ij", "Reshape Reshape MatMul Reshape", {3}, {4}},
        {"ij,ij->", "Reshape Reshape MatMul Reshape", {3, 4}, {3, 4}},
        {"ij,ji->j", "Einsum", {3, 4}, {4, 3}},
        {"ii,ij->j", "Einsum", {3, 3}, {3, 4}},
        {"ij,jk->k", "Einsum", {3, 4}, {4, 5}},
        {"bij->bji", "Transpose Reshape", {2, 3, 4}, {0}},
        {"bij->b", "Einsum", {2, 3, 4}, {0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model_builder *b = model_new(17);
        const int *shapes[2] = {cases[i].x, cases[i].w};
        for (int o = 0; o < 2 && shapes[o][0]; o++) {
            const int *d = shapes[o];
            int rank = d[1] == 0 ? 1 : d[2] == 0 ? 2 : d[3] == 0 ? 3 : 4;
            model_input(b, o ? "w" : "x", DTYPE_F32, rank, d[0], d[1], d[2], d[3]);
        }
        model_node(b, "Einsum", *cases[i].w ? "x w" : "x", "y");
        model_string(b, "equation", cases[i].equation);
        model_output(b, "y");
        struct graph before, after;
        struct error e;
        char text[512];
        model_build(b, &before);
        model_build(b, &after);
        assert_int_equal(pass_run(&after, &e), 0);
        assert_string_equal(model_list(&after, text, sizeof text), cases[i].nodes);
        check_graph(&after);
        compare(b, &before, &after, 1e-5);
        graph_release(&before);
        graph_release(&after);
        model_free(b);
    }
}

/* A constant matrix becomes a Linear's weights, turned at load. */
static void test_einsum_weights(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    model_input(b, "x", DTYPE_F32, 3, 2, 5, 6);
    model_random(b, "w", 2, 7, 6);
    model_node(b, "Einsum", "x w", "y");
    model_string(b, "equation", "bsd,kd->bsk");
    model_node(b, "Relu", "y", "z");
    model_output(b, "z");
    expect(b, "Reshape MatMul Reshape Relu", 1e-5);
}

static void test_layer_scale(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct model_builder *b = model_new(17);
        model_input(b, "x", DTYPE_F32, 2, 5, 7);
        model_input(b, "r", DTYPE_F32, 2, 5, 9);
        model_random(b, "w", 2, i & 1 ? 9 : 7, i & 1 ? 7 : 9);
        model_random(b, "c", 1, 9);
        model_random(b, "s", 1, 9);
        model_node(b, i & 1 ? "Gemm" : "MatMul", i & 1 && i & 2 ? "x w c" : "x w", "p");
        if (i & 1)
            model_int(b, "transB", 1);
        if (i == 2)
            model_node(b, "Add", "p c", "q");
        model_node(b, "Mul", i == 2 ? "s q" : "p s", "t");
        model_node(b, "Add", "t r", "y");
        model_output(b, "y");
        expect(b, i == 2 ? "MatMul+Add+Mul+Add" : i & 1 ? "Gemm+Mul+Add" : "MatMul+Mul+Add", 1e-5);
    }
}

enum { TURNED = 1, REPEATED = 2, MASKED = 4, FLAT = 8 };

/* Heads of their own shapes: attention that is no block of one model. */
static void add_spelled_attention(struct model_builder *b, int form)
{
    int turned = form & TURNED, repeated = form & REPEATED, masked = form & MASKED;
    model_input(b, "q", DTYPE_F32, 4, 2, 4, 5, 8);
    if (turned)
        model_input(b, "k", DTYPE_F32, 4, 2, 6, 4, 8); /* keys before heads */
    else
        model_input(b, "k", DTYPE_F32, 4, 2, repeated ? 2 : 4, 6, 8);
    model_input(b, "v", DTYPE_F32, 4, 2, repeated ? 2 : 4, 6, 3);
    model_random(b, "mask", 2, 5, 6);
    model_scalar(b, "scale", 0.35f);
    model_longs(b, "apart", 5, 2, 2, 1, 6, -1);
    model_longs(b, "many", 5, 1, 1, 2, 1, 1);
    model_longs(b, "joined", 4, 2, 4, 6, -1);
    for (int i = 0; i < 2 && repeated; i++) {
        const char *names[2][4] = {{"k", "k5", "k10", "kr"}, {"v", "v5", "v10", "vr"}};
        char list[3][32];
        snprintf(list[0], sizeof list[0], "%s apart", names[i][0]);
        snprintf(list[1], sizeof list[1], "%s many", names[i][1]);
        snprintf(list[2], sizeof list[2], "%s joined", names[i][2]);
        model_node(b, "Reshape", list[0], names[i][1]);
        model_node(b, "Expand", list[1], names[i][2]);
        model_node(b, "Reshape", list[2], names[i][3]);
    }
    model_longs(b, "three", 3, 8, 6, 8);
    model_longs(b, "four", 4, 2, 4, 8, 6);
    if (form & FLAT) {
        model_node(b, "Reshape", repeated ? "kr three" : "k three", "k3");
        model_node(b, "Transpose", "k3", "k3t");
        model_ints(b, "perm", 3, 0, 2, 1);
        model_node(b, "Reshape", "k3t four", "kt");
    } else {
        model_node(b, "Transpose", repeated ? "kr" : "k", "kt");
        model_ints(b, "perm", 4, 0, turned ? 2 : 1, 3, turned ? 1 : 2);
    }
    model_node(b, "Mul", "q scale", "qs");
    model_node(b, "MatMul", "qs kt", "s");
    if (masked)
        model_node(b, "Add", "mask s", "sm");
    model_node(b, "Softmax", masked ? "sm" : "s", "p");
    model_node(b, "MatMul", repeated ? "p vr" : "p v", "y");
    model_output(b, "y");
}

static void test_heads(void **state)
{
    (void)state;
    static const int forms[] = {0, 1, 2, 4, 5, 6, 8, 12, 14};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct model_builder *b = model_new(17);
        add_spelled_attention(b, forms[i]);
        expect(b, forms[i] & TURNED                              ? "Transpose Attention"
                  : (forms[i] & (FLAT | REPEATED)) == FLAT ? "Reshape Attention"
                                                           : "Attention",
               1e-5);
    }
    struct model_builder *b = model_new(17);
    add_spelled_attention(b, 4);
    model_output(b, "s");
    expect(b, "Transpose Mul MatMul Add Softmax MatMul", 1e-5);
}

enum { HEADS = 3, DEPTH = 4, WIDTH = HEADS * DEPTH };
enum attention_form {
    ZOO,           /* scores divided, k transposed at once */
    TWO_TRANSPOSES,
    SCALED_Q,      /* q scaled before its heads are split, k after */
    NO_MASK,
    FULL_MASK,
    GEMM_SPLIT,    /* one Linear and a Split */
    NO_BIAS,
    FLAT_TRANSPOSE, /* k transposed over three dimensions */
    OPERATOR,       /* of opset 23 */
    CAUSAL,         /* the same, later keys hidden */
    FORMS
};

enum slicing { BY_GATHER, BY_SPLIT, BY_SLICE, SLICINGS };

/* A Swin block's scores: a bias of each head, and a mask of each window behind a Reshape. q, k and
 * v are slices of one value. */
static void add_windows(struct model_builder *b, enum slicing how)
{
    static const char *const names[] = {"q", "k", "v"};
    int by_split = how == BY_SPLIT;
    model_input(b, "x", DTYPE_F32, 3, 6, 4, 3 * WIDTH);
    model_random(b, "bias", 4, 1, HEADS, 4, 4);
    model_random(b, "mask", 5, 1, 3, 1, 4, 4);
    model_scalar(b, "scale", 0.5f);
    model_longs(b, "apart", 5, 6, 4, 3, HEADS, DEPTH);
    model_longs(b, "windows", 5, 2, 3, HEADS, 4, 4);
    model_longs(b, "flat", 4, -1, HEADS, 4, 4);
    model_longs(b, "merged", 3, 6, 4, WIDTH);
    model_longs(b, "first", 1, 0);
    model_node(b, "Reshape", "x apart", "x5");
    model_node(b, "Transpose", "x5", "t");
    model_ints(b, "perm", 5, 2, 0, 3, 1, 4);
    if (by_split) {
        model_node(b, "Split", "t", "q5 k5 v5");
        model_int(b, "num_outputs", 3);
    }
    for (int i = 0; i < 3; i++) {
        char index[8], list[32];
        int64_t at = i;
        snprintf(index, sizeof index, "at%d", i);
        snprintf(list, sizeof list, by_split ? "%s5 first" : "t %s", by_split ? names[i] : index);
        if (how == BY_SLICE) {
            char part[8], squeezed[32];
            snprintf(list, sizeof list, "t from%d to%d first", i, i);
            snprintf(part, sizeof part, "%s5", names[i]);
            snprintf(squeezed, sizeof squeezed, "%s first", part);
            snprintf(index, sizeof index, "from%d", i);
            model_longs(b, index, 1, i);
            snprintf(index, sizeof index, "to%d", i);
            model_longs(b, index, 1, i + 1);
            model_node(b, "Slice", list, part);
            model_node(b, "Squeeze", squeezed, names[i]);
            continue;
        }
        model_constant(b, index, DTYPE_I64, &(struct shape){0}, &at);
        model_node(b, by_split ? "Squeeze" : "Gather", list, names[i]);
    }
    model_node(b, "Mul", "q scale", "qs");
    model_node(b, "Transpose", "k", "kt");
    model_ints(b, "perm", 4, 0, 1, 3, 2);
    model_node(b, "MatMul", "qs kt", "s");
    model_node(b, "Add", "s bias", "sb");
    model_node(b, "Reshape", "sb windows", "sw");
    model_node(b, "Add", "mask sw", "sm");
    model_node(b, "Reshape", "sm flat", "sf");
    model_node(b, "Softmax", "sf", "p");
    model_node(b, "MatMul", "p v", "o");
    model_node(b, "Transpose", "o", "o2");
    model_ints(b, "perm", 4, 0, 2, 1, 3);
    model_node(b, "Reshape", "o2 merged", "y");
    model_output(b, "y");
}

static void test_windows(void **state)
{
    (void)state;
    for (int how = 0; how < SLICINGS; how++) {
        struct model_builder *b = model_new(18);
        add_windows(b, (enum slicing)how);
        expect(b, "Attention", 1e-5);
    }
    struct model_builder *b = model_new(18); /* keys in the place of queries */
    add_windows(b, BY_GATHER);
    b->nodes[2].inputs = model_names(b, "t at1", &b->nodes[2].input_count);
    expect(b, "Reshape Transpose Gather Gather Gather Attention Transpose Reshape", 1e-5);
}

/* A condition known at load hides scores: a mask like any other. One that is computed stays. */
static void test_hidden_scores(void **state)
{
    (void)state;
    for (int form = 0; form < 3; form++) {
        struct model_builder *b = model_new(17);
        uint8_t seen[25];
        for (int i = 0; i < 25; i++)
            seen[i] = (i % 5 <= i / 5) == (form == 0);
        model_input(b, "q", DTYPE_F32, 4, 2, 3, 5, 4);
        model_input(b, "kt", DTYPE_F32, 4, 2, 3, 4, 5);
        model_constant(b, "c", DTYPE_BOOL, &(struct shape){2, {5, 5}}, seen);
        model_scalar(b, "least", form ? -3.4028235e38f : -INFINITY);
        model_scalar(b, "few", -5);
        model_node(b, "MatMul", "q kt", "s");
        model_node(b, "Where", form == 0 ? "c s least" : form == 1 ? "c least s" : "c few s", "w");
        model_node(b, "Softmax", "w", "y");
        model_output(b, "y");
        expect(b, form < 2 ? "MatMul Add Softmax" : "MatMul Where Softmax", 1e-6);
    }
}

static void add_projection(struct model_builder *b, const char *name, enum attention_form form)
{
    char w[32], c[32], list[96], product[32];
    snprintf(w, sizeof w, "%s.w", name);
    snprintf(c, sizeof c, "%s.b", name);
    snprintf(product, sizeof product, "%s.p", name);
    snprintf(list, sizeof list, "x %s", w);
    model_random(b, w, 2, WIDTH, WIDTH);
    model_random(b, c, 1, WIDTH);
    model_node(b, "MatMul", list, form == NO_BIAS ? name : product);
    snprintf(list, sizeof list, "%s %s", c, product);
    if (form != NO_BIAS)
        model_node(b, "Add", list, name);
}

static void add_split(struct model_builder *b)
{
    model_random(b, "qkv.w", 2, WIDTH, 3 * WIDTH);
    model_random(b, "qkv.b", 1, 3 * WIDTH);
    model_node(b, "MatMul", "x qkv.w", "qkv.p");
    model_node(b, "Add", "qkv.p qkv.b", "qkv");
    model_node(b, "Split", "qkv", "q k v");
    model_int(b, "axis", -1);
}

static void add_heads(struct model_builder *b, const char *name, int keys, enum attention_form form)
{
    char in[32], out[32], list[96];
    const char *from = name;
    snprintf(in, sizeof in, "%s.4", name);
    snprintf(out, sizeof out, "%s.h", name);
    if (form == SCALED_Q && *name == 'q') {
        model_node(b, "Mul", "q root", "q.scaled");
        from = "q.scaled";
    }
    snprintf(list, sizeof list, "%s heads", from);
    model_node(b, "Reshape", list, in);
    if (keys && form == TWO_TRANSPOSES) {
        model_node(b, "Transpose", in, "k.t");
        model_ints(b, "perm", 4, 0, 2, 1, 3);
        model_node(b, "Transpose", "k.t", out);
        model_ints(b, "perm", 4, 0, 1, 3, 2);
        return;
    }
    if (keys && form == FLAT_TRANSPOSE) {
        model_node(b, "Transpose", in, "k.t");
        model_ints(b, "perm", 4, 0, 2, 1, 3);
        model_node(b, "Reshape", "k.t three", "k.3");
        model_node(b, "Transpose", "k.3", "k.3t");
        model_ints(b, "perm", 3, 0, 2, 1);
        model_node(b, "Reshape", "k.3t turned", out);
        return;
    }
    keys = keys && form < OPERATOR;
    model_node(b, "Transpose", in, form == SCALED_Q && keys ? "k.t" : out);
    model_ints(b, "perm", 4, 0, 2, keys ? 3 : 1, keys ? 1 : 3);
    if (form == SCALED_Q && keys)
        model_node(b, "Mul", "root k.t", out);
}

/* The scores in one node or spelled out; the result is "o". */
static void add_scores(struct model_builder *b, enum attention_form form)
{
    char list[64];
    if (form >= OPERATOR) {
        model_node(b, "Attention", form == CAUSAL ? "q.h k.h v.h" : "q.h k.h v.h mask", "o");
        model_int(b, "is_causal", form == CAUSAL);
        return;
    }
    model_node(b, "MatMul", "q.h k.h", "s");
    model_node(b, "Div", "s two", "s1");
    const char *scores = form == SCALED_Q ? "s" : "s1";
    snprintf(list, sizeof list, form == TWO_TRANSPOSES ? "mask %s" : "%s mask", scores);
    if (form != NO_MASK)
        model_node(b, "Add", list, "s2");
    model_node(b, "Softmax", form == NO_MASK ? scores : "s2", "p");
    model_node(b, "MatMul", "p v.h", "o");
}

static struct model_builder *attention_model(enum attention_form form)
{
    struct model_builder *b = model_new(form >= OPERATOR ? 23 : 17);
    model_input(b, "x", DTYPE_F32, 3, 2, 5, WIDTH);
    model_longs(b, "three", 3, 2 * HEADS, 5, DEPTH);
    model_longs(b, "turned", 4, 2, HEADS, DEPTH, 5);
    if (form == FULL_MASK)
        model_input(b, "mask", DTYPE_F32, 4, 2, HEADS, 5, 5);
    else if (form != NO_MASK && form != CAUSAL)
        model_input(b, "mask", DTYPE_F32, 4, 2, 1, 1, 5);
    model_longs(b, "heads", 4, 0, 0, HEADS, DEPTH);
    model_longs(b, "merge", 3, 0, 0, WIDTH);
    model_scalar(b, "two", 2);
    model_scalar(b, "root", 0.70710677f);
    static const char *const names[] = {"q", "k", "v"};
    if (form == GEMM_SPLIT)
        add_split(b);
    for (int i = 0; i < 3 && form != GEMM_SPLIT; i++)
        add_projection(b, names[i], form);
    for (int i = 0; i < 3; i++)
        add_heads(b, names[i], i == 1, form);
    add_scores(b, form);
    model_node(b, "Transpose", "o", "o1");
    model_ints(b, "perm", 4, 0, 2, 1, 3);
    model_node(b, "Reshape", "o1 merge", "o2");
    model_random(b, "out.w", 2, WIDTH, WIDTH);
    model_random(b, "out.b", 1, WIDTH);
    model_node(b, "MatMul", "o2 out.w", "o3");
    model_node(b, "Add", "o3 out.b", "o4");
    model_node(b, "Add", "o4 x", "y");
    model_output(b, "y");
    return b;
}

static void test_attention(void **state)
{
    (void)state;
    for (int form = 0; form < FORMS; form++) {
        const char *first = form == GEMM_SPLIT ? "MatMul+Add" : "MatMul+Add (q, k, v)";
        char nodes[128];
        snprintf(nodes, sizeof nodes, "%s Attention MatMul+Add+Add", first);
        expect(attention_model(form), nodes, 1e-5);
    }
}

/* The scores are an output too: they must still be computed, so nothing may be merged. */
static void test_no_attention(void **state)
{
    (void)state;
    struct model_builder *b = attention_model(ZOO);
    model_output(b, "p");
    expect(b, "MatMul+Add MatMul+Add MatMul+Add Reshape Transpose Reshape Transpose Reshape "
              "Transpose MatMul Div Add Softmax MatMul Transpose Reshape MatMul+Add+Add", 1e-5);
}

static struct onnx_node *find_node(struct model_builder *b, const char *output)
{
    for (size_t i = 0; i < b->model.node_count; i++)
        if (!strcmp(b->nodes[i].outputs[0], output))
            return &b->nodes[i];
    fail_msg("no node makes %s", output);
    return NULL;
}

static void set_inputs(struct model_builder *b, const char *output, const char *inputs)
{
    struct onnx_node *n = find_node(b, output);
    n->inputs = model_names(b, inputs, &n->input_count);
}

/* q, k and v are no products. */
static void use_activations(struct model_builder *b)
{
    static const char *const names[] = {"q", "k", "v"}, *const ops[] = {"Relu", "Neg", "Abs"};
    for (int i = 0; i < 3; i++) {
        find_node(b, names[i])->op_type = ops[i];
        set_inputs(b, names[i], "x");
    }
}

static void use_other_input(struct model_builder *b)
{
    model_input(b, "other", DTYPE_F32, 3, 2, 5, WIDTH);
    set_inputs(b, "k.p", "other k.w");
}

/* A factor of v is not one of the scores. */
static void scale_values(struct model_builder *b)
{
    struct onnx_node scaled = *find_node(b, "s1"), *reshape = find_node(b, "v.4");
    scaled.inputs = model_names(b, "v two", &scaled.input_count);
    scaled.outputs = model_names(b, "v.scaled", &scaled.output_count);
    set_inputs(b, "v.4", "v.scaled heads");
    memmove(reshape + 1, reshape,
            (size_t)(b->nodes + b->model.node_count++ - reshape) * sizeof *reshape);
    *reshape = scaled;
}

/* Attention still: what was k asks what was q. */
static void exchange(struct model_builder *b)
{
    int64_t *k = (int64_t *)(uintptr_t)find_node(b, "k.h")->attributes[0].ints;
    int64_t *q = (int64_t *)(uintptr_t)find_node(b, "q.h")->attributes[0].ints;
    k[2] = q[3] = 1;
    k[3] = q[2] = 3;
    set_inputs(b, "s", "k.h q.h");
}

static void test_nearly_attention(void **state)
{
    (void)state;
    static void (*const variants[])(struct model_builder *) = {use_activations, use_other_input,
                                                               scale_values, exchange};
    for (int i = 0; i < 4; i++) {
        struct model_builder *b = attention_model(ZOO);
        struct graph before, after;
        struct error e;
        variants[i](b);
        model_build(b, &before);
        model_build(b, &after);
        assert_int_equal(pass_run(&after, &e), 0);
        assert_int_equal(model_count(&after, "wattle", "Attention"), variants[i] == exchange);
        check_graph(&after);
        compare(b, &before, &after, 1e-5);
        graph_release(&before);
        graph_release(&after);
        model_free(b);
    }
}

/* Passes may leave their memory unused, but must not fail for want of it. */
static void test_no_memory(void **state)
{
    (void)state;
    struct model_builder *b = attention_model(ZOO);
    struct graph before, after;
    struct error e;
    model_build(b, &before);
    model_build(b, &after);
    after.memory_limit = after.memory_used + 1000; /* merged weights are larger, values are not */
    assert_int_equal(pass_run(&after, &e), 0);
    assert_int_equal(model_count(&after, "wattle", "Attention"), 0);
    check_graph(&after);
    compare(b, &before, &after, 1e-5);
    graph_release(&before);
    graph_release(&after);
    model_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batchnorm),    cmocka_unit_test(test_scale_and_shift),
        cmocka_unit_test(test_no_scale),     cmocka_unit_test(test_resnet),
        cmocka_unit_test(test_mobilenet),    cmocka_unit_test(test_runtime_clip),
        cmocka_unit_test(test_conv_output),  cmocka_unit_test(test_linear),
        cmocka_unit_test(test_gemm),         cmocka_unit_test(test_no_bias),
        cmocka_unit_test(test_gelu),         cmocka_unit_test(test_no_gelu),
        cmocka_unit_test(test_batchnorm_first),
        cmocka_unit_test(test_pad),
        cmocka_unit_test(test_spelled_activations),
        cmocka_unit_test(test_no_spelled_activation),
        cmocka_unit_test(test_activations_are_fused),
        cmocka_unit_test(test_activations_not_fused),
        cmocka_unit_test(test_layernorm),    cmocka_unit_test(test_no_layernorm),
        cmocka_unit_test(test_rmsnorm),      cmocka_unit_test(test_no_rmsnorm),
        cmocka_unit_test(test_groupnorm),    cmocka_unit_test(test_rotary),
        cmocka_unit_test(test_einsum),       cmocka_unit_test(test_einsum_weights),
        cmocka_unit_test(test_layer_scale),  cmocka_unit_test(test_heads),
        cmocka_unit_test(test_attention),    cmocka_unit_test(test_no_attention),
        cmocka_unit_test(test_nearly_attention), cmocka_unit_test(test_windows),
        cmocka_unit_test(test_hidden_scores),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
