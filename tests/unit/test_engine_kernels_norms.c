/* Norms over rows, groups of channels and channels. */
#include "engine_kernels.h"

#include "engine/rows.h"

static void layer_norm_of_any_width(void **state)
{
    (void)state;
    struct sample s;
    for (uint32_t i = 0; i < 20; i++) {
        begin(&s, i);
        int64_t rows = between(&s, 1, 80), size = i < 3 ? 768 : between(&s, 1, 200);
        int x = add_input(&s, SHAPE(2, rows, size));
        int scale = add_constant(&s, SHAPE(size)), bias = add_constant(&s, SHAPE(size));
        if (i % 2) { /* over two dimensions, and without a bias */
            with_int(&s, "axis", 1);
            with_float(&s, "epsilon", 0.3f);
            x = ONNX(&s, "LayerNormalization", x, add_constant(&s, SHAPE(rows, size)));
        }
        add_output(&s, NODE(&s, &op_layer_norm, ((struct attributes){.epsilon = 0.1f}), x, scale,
                            bias));
        check(&s, 0, 1e-5);
    }
}

/* The reference's. */
static void layer_norm_with_its_mean(void **state)
{
    (void)state;
    struct sample s;
    begin(&s, 1);
    s.fast_only = 0;
    const int in[2] = {add_input(&s, SHAPE(2, 5, 7)), add_constant(&s, SHAPE(7))};
    int node = onnx_outputs(&s, "LayerNormalization", 2, in, 3);
    add_output(&s, s.g.nodes[node].outputs[0]);
    add_output(&s, s.g.nodes[node].outputs[1]);
    check(&s, 0, 1e-5);
}

static void rms_norm_of_any_width(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 20; i++) {
        struct sample s;
        begin(&s, i);
        s.opset = 23;
        int64_t rows = between(&s, 1, 80), size = i < 3 ? 768 : between(&s, 1, 200);
        int x = add_input(&s, SHAPE(2, rows, size)), scale = add_constant(&s, SHAPE(size));
        struct attributes a = {.epsilon = 0.1f};
        if (i % 2) {
            x = ONNX(&s, "RMSNormalization", x, scale);
            with_int(&s, "axis", 1);
            x = ONNX(&s, "RMSNormalization", x, add_constant(&s, SHAPE(rows, size)));
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
        begin(&s, i);
        int64_t c = channels[draw(&s, 8)], g = groups[draw(&s, 6)];
        g = c % g ? 1 : g;
        s.opset = i % 3 ? 21 : 18;
        int x = add_input(&s, i % 7 == 6 ? SHAPE(2, c, between(&s, 1, 50))
                                         : SHAPE(2, c, between(&s, 1, 40), between(&s, 1, 40)));
        if (i % 2 && shape_at(&s, x)->rank == 4)
            x = convolved(&s, x);
        int64_t numbers = i % 4 && i % 3 == 0 ? g : c;
        int scale = add_constant(&s, SHAPE(numbers)), bias = add_constant(&s, SHAPE(numbers)), y;
        if (i % 4 == 0) {
            y = NODE(&s, &op_group_norm, ((struct attributes){.group = g, .epsilon = 0.1f}), x,
                     scale, bias);
        } else if (i % 4 == 1 && numbers == c) {
            with_float(&s, "epsilon", 0.2f);
            y = ONNX(&s, "InstanceNormalization", x, scale, bias);
        } else {
            with_int(&s, "num_groups", g);
            y = ONNX(&s, "GroupNormalization", x, scale, bias);
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
    assert_true(one.count == 8 * 5000 && fabs(one.spread / 40000 - 1) < 1e-3 &&
                fabs(one.mean - 10000) < 1e-2);
    for (int i = 0; i < 8; i++)
        assert_true(eight[i].count == 5000 && fabs(eight[i].spread / 5000 - 1) < 1e-3);
    for (int i = 0; i < 1000; i++) /* their mean is no float */
        x[i] = 1e7f + (float)(i % 2);
    row_moments(x, 1000, &one);
    assert_true(fabs(one.mean - 10000000.5) < 1e-3 && fabs(one.spread / 250 - 1) < 1e-3);
}

static void batch_norm_without_a_convolution(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 6; i++) {
        struct sample s;
        begin(&s, i);
        int64_t c = i % 3 == 2 ? 11 : 24;
        int x = add_input(&s, SHAPE(2, c, 9, 7)), in[5];
        in[0] = i % 3 ? convolved(&s, x) : x;
        for (int k = 1; k < 5; k++)
            in[k] = add_constant(&s, SHAPE(c));
        for (int64_t k = 0; k < c; k++)
            constant_data(&s, in[4])[k] += 1.5f; /* variances are positive */
        add_output(&s, onnx_value(&s, "BatchNormalization", 5, in));
        struct attributes a = {.epsilon = 1e-3f, .low = -0.5f, .high = 0.75f,
                               .activation = (enum activation)(i * 2 % (ACT_FUSED_LAST + 1))};
        add_output(&s, internal_node(&s, &op_batch_norm, a, 5, in));
        check(&s, 0, 1e-5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layer_norm_of_any_width),
        cmocka_unit_test(layer_norm_with_its_mean),
        cmocka_unit_test(rms_norm_of_any_width),
        cmocka_unit_test(group_norms_of_any_shape),
        cmocka_unit_test(moments_far_from_zero),
        cmocka_unit_test(batch_norm_without_a_convolution),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
