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
        struct infer_context c = {g, n, NULL, 17, NULL};
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
    axes[0] = 1;
    expect(b, "ReduceMean Sub Pow ReduceMean Add Sqrt Div Mul Add", 1e-5);
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
        cmocka_unit_test(test_layernorm),    cmocka_unit_test(test_no_layernorm),
        cmocka_unit_test(test_attention),    cmocka_unit_test(test_no_attention),
        cmocka_unit_test(test_nearly_attention),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
