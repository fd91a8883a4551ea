/* Pools, Resize and GridSample. */
#include "engine_kernels.h"

static int random_pool(struct sample *s, const char *op, int x)
{
    int64_t kernel[3], strides[3], pads[6], dilations[3];
    int is_max = strcmp(op, "MaxPool") == 0, spatial = shape_at(s, x)->rank - 2;
    int ceil = (int)draw(s, 2), dilated = draw(s, 3) == 0 && is_max;
    for (int i = 0; i < spatial; i++) {
        kernel[i] = between(s, 1, 4);
        strides[i] = between(s, 1, 3);
        dilations[i] = dilated ? between(s, 1, 2) : 1;
        pads[i] = between(s, 0, kernel[i] - 1);
        pads[spatial + i] = between(s, 0, kernel[i] - 1);
    }
    with_ints(s, "kernel_shape", (size_t)spatial, kernel);
    with_ints(s, "strides", (size_t)spatial, strides);
    with_ints(s, "pads", 2 * (size_t)spatial, pads);
    with_int(s, "ceil_mode", ceil);
    if (is_max)
        with_ints(s, "dilations", (size_t)spatial, dilations);
    else
        with_int(s, "count_include_pad", draw(s, 2));
    return ONNX(s, op, x);
}

static void pools_of_any_shape(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 60; i++) {
        struct sample s;
        begin(&s, i);
        s.fast_only = i % 3; /* averages of windows beyond the padding are the reference's */
        int64_t n = between(&s, 1, 2), c = between(&s, 1, 20);
        int x = add_input(&s, i % 6 == 5 ? SHAPE(n, c, between(&s, 8, 20))
                                         : SHAPE(n, c, between(&s, 8, 20), between(&s, 8, 20)));
        if (i % 2 && i % 6 != 5)
            x = convolved(&s, x);
        add_output(&s, random_pool(&s, i % 3 ? "MaxPool" : "AveragePool", x));
        check(&s, 0, 1e-5);
    }
}

static void global_average_after_a_convolution(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 6; i++) {
        struct sample s;
        begin(&s, i);
        int64_t c = i % 2 ? 16 : 13;
        int x = add_input(&s, SHAPE(2, c, 7, between(&s, 1, 9)));
        int y = NODE(&s, &op_fused_conv, pointwise(ACT_RELU), x,
                     add_constant(&s, SHAPE(c, c, 1, 1)));
        if (i % 3) {
            with_ints(&s, "axes", 2, (int64_t[]){2, 3});
            with_int(&s, "keepdims", i % 3 == 1);
        }
        y = ONNX(&s, i % 3 ? "ReduceMean" : "GlobalAveragePool", y);
        if (i % 3 != 2)
            y = ONNX(&s, "Flatten", y);
        add_output(&s, NODE(&s, &op_linear, ((struct attributes){0}), y,
                            add_constant(&s, SHAPE(c, 10))));
        check(&s, LINEAR_WAYS, 1e-5);
    }
}

struct resize_case {
    const char *mode, *transformation, *nearest;
    int64_t c, height, width;
    float scale_h, scale_w;
    enum { ROW_MAJOR, CONVOLVED, CHANNELS_LAST } lies;
    int fast;
};

static void check_resize(struct resize_case r, uint32_t seed)
{
    struct sample s;
    begin(&s, seed);
    s.opset = 18;
    s.fast_only = r.fast;
    int vector = r.height == 0;
    struct shape shape = vector ? SHAPE(2, r.c, r.width) : SHAPE(2, r.c, r.height, r.width);
    int x = r.lies == CHANNELS_LAST ? channels_last(&s, shape) : add_input(&s, shape);
    if (r.lies == CONVOLVED)
        x = convolved(&s, x);
    float *scales = graph_memory(&s.g, 16);
    scales[0] = scales[1] = 1;
    scales[2] = vector ? r.scale_w : r.scale_h;
    scales[3] = r.scale_w;
    int list = graph_add_constant(&s.g, "scales", DTYPE_F32, &(struct shape){1, {vector ? 3 : 4}},
                                  scales);
    with_string(&s, "mode", r.mode);
    with_string(&s, "coordinate_transformation_mode", r.transformation);
    with_string(&s, "nearest_mode", r.nearest);
    if (!r.fast)
        with_int(&s, "antialias", 1);
    int y = ONNX(&s, "Resize", x, NO_VALUE, list);
    add_output(&s, y);
    if (r.lies == CONVOLVED)
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
        {"nearest", "asymmetric", "floor", 3, 4, 3, 1, 1.67f, 0, 1},
        {"nearest", "half_pixel", "floor", 12, 5, 6, 2, 3, 2, 1},
        {"linear", "half_pixel", "floor", 12, 5, 6, 2, 1, 2, 1},
        {"linear", "align_corners", "floor", 5, 5, 6, 3, 2, 2, 1},
        {"linear", "half_pixel", "floor", 8, 12, 12, 0.3f, 0.3f, 1, 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check_resize(cases[i], (uint32_t)i);
}

/* Channels or images are doubled: not a matter of rows and columns. */
static void resize_of_channels_is_the_reference(void **state)
{
    (void)state;
    static const float doubled[2][4] = {{1, 2, 1, 2}, {2, 1, 1, 2}};
    for (uint32_t i = 0; i < 2; i++) {
        struct sample s;
        begin(&s, 1);
        s.opset = 18;
        s.fast_only = 0;
        int list = graph_add_constant(&s.g, "scales", DTYPE_F32, &(struct shape){1, {4}},
                                      doubled[i]);
        add_output(&s, ONNX(&s, "Resize", add_input(&s, SHAPE(1, 4, 3, 3)), NO_VALUE, list));
        check(&s, 0, 1e-6);
    }
}

/* Places inside, on the border, and outside. */
static void grid_samples_of_any_kind(void **state)
{
    (void)state;
    static const char *const modes[] = {"linear", "nearest"};
    static const char *const paddings[] = {"zeros", "border", "reflection"};
    for (uint32_t i = 0; i < 36; i++) {
        struct sample s;
        begin(&s, i);
        s.opset = 20;
        struct shape shape = SHAPE(2, between(&s, 1, 9), between(&s, 1, 20), between(&s, 1, 20));
        int x = i % 5 ? add_input(&s, shape) : add_constant(&s, shape);
        if (i % 5 == 0)
            constant_data(&s, x)[0] = NAN; /* only those see it who give it a weight */
        int grid = add_input(&s, SHAPE(2, between(&s, 1, 40), between(&s, 1, 30), 2));
        grid = ONNX(&s, "Mul", grid, add_number(&s, 1.5f));
        with_string(&s, "mode", modes[i % 2]);
        with_string(&s, "padding_mode", paddings[i / 2 % 3]);
        with_int(&s, "align_corners", i / 6 % 2);
        add_output(&s, ONNX(&s, "GridSample", x, grid));
        check(&s, 0, 1e-5);
    }
}

/* Cubic, and over volumes: the reference's. */
static void grid_samples_with_rare_settings(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        struct sample s;
        begin(&s, i);
        s.opset = 20;
        s.fast_only = 0;
        int x = add_input(&s, i ? SHAPE(2, 3, 4, 5, 6) : SHAPE(2, 3, 5, 6));
        int grid = add_input(&s, i ? SHAPE(2, 3, 2, 4, 3) : SHAPE(2, 3, 4, 2));
        with_string(&s, "mode", i ? "linear" : "cubic");
        add_output(&s, ONNX(&s, "GridSample", x, grid));
        check(&s, 0, 1e-5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pools_of_any_shape),
        cmocka_unit_test(global_average_after_a_convolution),
        cmocka_unit_test(resize_in_any_layout),
        cmocka_unit_test(resize_of_channels_is_the_reference),
        cmocka_unit_test(grid_samples_of_any_kind),
        cmocka_unit_test(grid_samples_with_rare_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
