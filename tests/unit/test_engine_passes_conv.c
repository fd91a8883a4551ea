/* Passes on convolutions: what is multiplied into their weights and what becomes their epilogue. */
#include "engine_passes.h"

static void test_batchnorm(void **state)
{
    (void)state;
    struct model_builder *b = model_x(17, 4, 2, 3, 7, 6);
    add_conv(b, "x", "c", 3, 5, 3, 1, 1);
    add_batch_norm(b, "n", "c", "y", 5);
    model_output(b, "y");
    passes_give(b, "Conv+BatchNormalization", 1e-5);
}

static void test_scale_and_shift(void **state)
{
    (void)state;
    struct model_builder *b = model_x(17, 4, 2, 3, 5, 6);
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
    passes_give(b, "Conv+Mul+Add+Mul+BatchNormalization+Relu", 1e-5);
}

/* A constant along the width is not one per channel; a value read twice is not swallowed. */
static void test_no_scale(void **state)
{
    (void)state;
    struct model_builder *b = model_x(17, 4, 2, 3, 6, 6);
    add_conv(b, "x", "c", 3, 6, 1, 1, 1);
    model_random(b, "m", 1, 6);
    model_node(b, "Mul", "c m", "d");
    add_conv(b, "x", "p", 3, 4, 1, 1, 1);
    add_batch_norm(b, "n", "p", "q", 4);
    model_node(b, "Relu", "p", "r");
    model_output(b, "d");
    model_output(b, "q");
    model_output(b, "r");
    passes_give(b, "Conv Mul Conv BatchNormalization Relu", 1e-5);
}

static void add_conv_norm(struct model_builder *b, const char *x, const char *y, int in, int out,
                          int kernel, int stride)
{
    add_conv(b, x, model_text(b, "%s.c", y), in, out, kernel, stride, 1);
    add_batch_norm(b, model_text(b, "%s.n", y), model_text(b, "%s.c", y), y, out);
}

static void add_bottleneck(struct model_builder *b, const char *x, const char *y, int in,
                           int middle, int stride, int project)
{
    const char *first = model_text(b, "%s.1", y), *second = model_text(b, "%s.2", y);
    const char *third = model_text(b, "%s.3", y), *shortcut = x;
    add_conv_norm(b, x, first, in, middle, 1, 1);
    model_node(b, "Relu", first, model_text(b, "%s.r", first));
    add_conv_norm(b, model_text(b, "%s.r", first), second, middle, middle, 3, stride);
    model_node(b, "Relu", second, model_text(b, "%s.r", second));
    add_conv_norm(b, model_text(b, "%s.r", second), third, middle, 4 * middle, 1, 1);
    if (project) {
        shortcut = model_text(b, "%s.p", y);
        add_conv_norm(b, x, shortcut, in, 4 * middle, 1, stride);
    }
    model_node(b, "Add", model_text(b, "%s %s", third, shortcut), model_text(b, "%s.sum", y));
    model_node(b, "Relu", model_text(b, "%s.sum", y), y);
}

/* Two bottlenecks of ResNet, the first with a projection, and the end. */
static void test_resnet(void **state)
{
    (void)state;
    struct model_builder *b = model_x(17, 4, -1, 3, 32, 32);
    add_conv_norm(b, "x", "a1", 3, 8, 7, 2);
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
    passes_give(b, "Conv+BatchNormalization+Relu MaxPool "
                   "Conv+BatchNormalization+Relu Conv+BatchNormalization+Relu "
                   "Conv+BatchNormalization "
                   "Conv+BatchNormalization+Add+Relu "
                   "Conv+BatchNormalization+Relu Conv+BatchNormalization+Relu "
                   "Conv+BatchNormalization+Add+Relu "
                   "GlobalAveragePool Flatten Gemm", 1e-4);
}

/* Clip at 6: its bounds were attributes before opset 11. */
static void add_relu6(struct model_builder *b, const char *x, const char *y)
{
    int attributes = b->model.opset < 11;
    model_node(b, "Clip", attributes ? x : model_text(b, "%s zero six", x), y);
    if (attributes) {
        model_float(b, "min", 0);
        model_float(b, "max", 6);
    }
}

/* An inverted residual: expand, depthwise, project, with Clip and without an activation. */
static void mobilenet(int64_t opset)
{
    struct model_builder *b = model_x(opset, 4, 1, 8, 9, 9);
    model_scalar(b, "zero", 0);
    model_scalar(b, "six", 6);
    add_conv_norm(b, "x", "a", 8, 24, 1, 1);
    add_relu6(b, "a", "a6");
    add_conv(b, "a6", "d", 24, 24, 3, 1, 24);
    add_batch_norm(b, "dn", "d", "d1", 24);
    add_relu6(b, "d1", "d6");
    add_conv_norm(b, "d6", "p", 24, 8, 1, 1);
    model_node(b, "Add", "x p", "y");
    model_output(b, "y");
    passes_give(b, "Conv+BatchNormalization+Clip Conv+BatchNormalization+Clip "
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
    struct model_builder *b = model_x(17, 4, 1, 2, 5, 5);
    model_input(b, "high", DTYPE_F32, 0);
    add_conv(b, "x", "c", 2, 3, 1, 1, 1);
    model_node(b, "Clip", "c - high", "y");
    model_output(b, "y");
    passes_give(b, "Conv Clip", 1e-6);
}

static void test_conv_output(void **state)
{
    (void)state;
    struct model_builder *b = model_x(17, 4, 1, 2, 5, 5);
    add_conv(b, "x", "c", 2, 3, 1, 1, 1);
    model_node(b, "Relu", "c", "y");
    model_node(b, "Add", "y y", "z");
    model_output(b, "c");
    model_output(b, "z");
    passes_give(b, "Conv Relu Add", 1e-6);
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
        {{0, 0, 1, 0, 0, 0, 2, 1}, "constant", 0, 1},
        {{0, 0, 1, 0, 0, 0, 2, 1}, "constant", 1, 0},
        {{0, 0, 1, 1, 0, 0, 1, 1}, "reflect", 0, 0},
        {{0, 0, 1, -1, 0, 0, 1, 1}, "constant", 0, 0},
        {{0, 0, 1, 1, 0, 0, 1, -1}, "constant", 0, 0},
        {{0, 1, 1, 1, 0, 0, 1, 1}, "constant", 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int *p = cases[i].pads;
        struct model_builder *b = model_x(17, 4, 2, p[1] ? 2 : 3, 7, 6);
        model_longs(b, "pads", 8, p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]);
        model_scalar(b, "fill", cases[i].fill);
        model_node(b, "Pad", "x pads fill", "p");
        model_string(b, "mode", cases[i].mode);
        add_conv(b, "p", "c", 3, 5, 3, 2, 1);
        model_node(b, "Relu", "c", "y");
        model_output(b, "y");
        passes_give(b, cases[i].fused ? "Conv+Relu" : "Pad Conv+Relu", 1e-5);
    }
}

/* As in DenseNet, where it comes before the convolution. */
static void test_batchnorm_first(void **state)
{
    (void)state;
    struct model_builder *b = model_x(17, 4, 2, 6, 5, 4);
    add_batch_norm(b, "n", "x", "n1", 6);
    model_node(b, "Relu", "n1", "r");
    add_conv(b, "r", "c", 6, 4, 3, 1, 1);
    model_output(b, "c");
    passes_give(b, "BatchNormalization+Relu Conv", 1e-5);
}

/* Numbers that are none for each channel, or that add dimensions or channels. */
static void test_nearly_scale(void **state)
{
    (void)state;
    static const struct {
        int channels;
        struct shape shape;
        const char *nodes;
    } cases[] = {
        {4, {3, {1, 1, 1}}, "Conv+Mul"},   {4, {5, {1, 1, 4, 1, 1}}, "Conv Mul"},
        {1, {3, {4, 1, 1}}, "Conv Mul"},   {4, {4, {2, 1, 1, 1}}, "Conv Mul"},
        {4, {2, {1, 4}}, "Conv Mul"},      {4, {4, {1, 4, 1, 1}}, "Conv+Mul"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model_builder *b = model_x(17, 4, 2, 3, 6, 4);
        add_conv(b, "x", "c", 3, cases[i].channels, 3, 1, 1);
        float *data = model_constant(b, "m", DTYPE_F32, &cases[i].shape, NULL);
        for (int64_t k = 0; k < shape_elements(&cases[i].shape); k++)
            data[k] = model_next(b);
        model_node(b, "Mul", "c m", "y");
        model_output(b, "y");
        passes_give(b, cases[i].nodes, 1e-5);
    }
}

/* Weights, a bias and statistics that are computed. */
static void test_computed_parameters(void **state)
{
    (void)state;
    struct model_builder *b = model_x(17, 4, 2, 3, 6, 6);
    model_input(b, "bias", DTYPE_F32, 1, 4);
    add_conv(b, "x", "c", 3, 4, 3, 1, 1);
    model_reads(b, "c", "x c.w bias");
    add_batch_norm(b, "n", "c", "n1", 4);
    model_node(b, "Relu", "n1", "y");
    model_output(b, "y");
    passes_give(b, "Conv BatchNormalization+Relu", 1e-5);
    b = model_x(17, 4, 2, 3, 6, 6);
    model_input(b, "w", DTYPE_F32, 4, 4, 3, 1, 1);
    model_node(b, "Conv", "x w", "c");
    model_node(b, "Relu", "c", "y");
    model_output(b, "y");
    passes_give(b, "Conv Relu", 1e-5);
    b = model_x(17, 4, 2, 3, 6, 6);
    model_input(b, "mean", DTYPE_F32, 1, 3);
    add_batch_norm(b, "n", "x", "n1", 3);
    model_reads(b, "n1", "x n.s n.b mean n.v");
    model_node(b, "Relu", "n1", "y");
    model_output(b, "y");
    passes_give(b, "BatchNormalization Relu", 1e-5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batchnorm),
        cmocka_unit_test(test_scale_and_shift),
        cmocka_unit_test(test_no_scale),
        cmocka_unit_test(test_resnet),
        cmocka_unit_test(test_mobilenet),
        cmocka_unit_test(test_runtime_clip),
        cmocka_unit_test(test_conv_output),
        cmocka_unit_test(test_pad),
        cmocka_unit_test(test_batchnorm_first),
        cmocka_unit_test(test_nearly_scale),
        cmocka_unit_test(test_computed_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, models_free);
}
