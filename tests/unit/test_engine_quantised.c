/* Quantised operators beyond what ONNX's own node tests hold: rounding, saturation, where scales
 * belong, and products against the same thing said with QuantizeLinear and DequantizeLinear. */
#include "engine_model.h"

static void bytes(struct model_builder *b, const char *name, enum dtype type, int count, ...)
{
    uint8_t values[32];
    va_list args;
    va_start(args, count);
    for (int i = 0; i < count; i++)
        values[i] = (uint8_t)va_arg(args, int);
    va_end(args);
    model_constant(b, name, type, &(struct shape){1, {count}}, values);
}

/* The integers of "q" are the output, as floats. */
static void output(struct model_builder *b)
{
    model_node(b, "Cast", "q", "y");
    model_int(b, "to", DTYPE_F32);
    model_output(b, "y");
}

static void test_rounding(void **state)
{
    (void)state;
    const float x[] = {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 1000, -1000, NAN};
    struct model_builder *b = model_x(13, 2, 2, 4);
    model_floats(b, "one", 1, 1.0);
    bytes(b, "zero", DTYPE_I8, 1, 0);
    model_node(b, "QuantizeLinear", "x one zero", "q");
    output(b);
    model_gives(b, x, 8, (const float[]){0, 2, 2, 0, -2, 127, -128, -128});
    b = model_x(13, 2, 2, 4); /* without a zero point: uint8 */
    model_floats(b, "one", 1, 1.0);
    model_node(b, "QuantizeLinear", "x one", "q");
    output(b);
    model_gives(b, x, 8, (const float[]){0, 2, 2, 0, 0, 255, 0, 0});
    b = model_x(13, 2, 2, 4); /* moved after it is rounded, not before */
    model_floats(b, "one", 1, 1.0);
    bytes(b, "zero", DTYPE_U8, 1, 3);
    model_node(b, "QuantizeLinear", "x one zero", "q");
    output(b);
    model_gives(b, x, 8, (const float[]){3, 5, 5, 3, 1, 255, 0, 0});
}

static void test_along_axis(void **state)
{
    (void)state;
    const float x[] = {1, 2, 3, 4, 5, 6};
    for (int axis = -2; axis < 2; axis++) {
        int rows = axis % 2 == 0;
        struct model_builder *b = model_x(13, 2, 2, 3);
        if (rows)
            model_floats(b, "s", 2, 1.0, 0.5);
        else
            model_floats(b, "s", 3, 1.0, 0.5, 0.25);
        bytes(b, "z", DTYPE_I8, rows ? 2 : 3, 0, 10, 20);
        model_node(b, "QuantizeLinear", "x s z", "q");
        model_int(b, "axis", axis);
        output(b);
        model_gives(b, x, 6, rows ? (const float[]){1, 2, 3, 18, 20, 22}
                                  : (const float[]){1, 14, 32, 4, 20, 44});
        b->model.node_count--;
        b->model.output_count = 0;
        model_node(b, "DequantizeLinear", "q s z", "y");
        model_int(b, "axis", axis);
        model_output(b, "y");
        model_gives(b, x, 6, x);
    }
}

/* Blocks of 2 along the columns; the last one of a row is half empty. */
static void test_blocks(void **state)
{
    (void)state;
    const float x[] = {1, 2, 3, 4, 5, 6}, scales[] = {1, 2, 4, 8};
    struct model_builder *b = model_x(21, 2, 2, 3);
    model_floats(b, "one", 1, 1.0);
    model_constant(b, "s", DTYPE_F32, &(struct shape){2, {2, 2}}, scales);
    model_node(b, "QuantizeLinear", "x one", "q");
    model_node(b, "DequantizeLinear", "q s", "y");
    model_int(b, "axis", 1);
    model_int(b, "block_size", 2);
    model_output(b, "y");
    model_gives(b, x, 6, (const float[]){1, 2, 6, 16, 20, 48});
    model_attribute_of(b, "y", "block_size")->i = 1;
    model_refused(b, ERROR_FORMAT, "scale 2x2 and its zero point do not fit 2x3");
    model_attribute_of(b, "y", "block_size")->i = INT64_MIN;
    model_refused(b, ERROR_FORMAT, "do not fit");
    model_attribute_of(b, "y", "axis")->i = 2;
    model_refused(b, ERROR_FORMAT, "attribute 'axis' 2 is outside a tensor of rank 2");
}

static void test_output_type(void **state)
{
    (void)state;
    const float x[] = {70000, -70000, 300, 1};
    struct model_builder *b = model_x(21, 2, 2, 2);
    model_floats(b, "one", 1, 1.0);
    model_node(b, "QuantizeLinear", "x one", "q");
    model_int(b, "output_dtype", DTYPE_I16);
    output(b);
    model_gives(b, x, 4, (const float[]){32767, -32768, 300, 1});
    model_attribute_of(b, "q", "output_dtype")->i = 17; /* an 8-bit float */
    model_refused(b, ERROR_UNSUPPORTED, "8- and 16-bit integers are supported");
    model_attribute_of(b, "q", "output_dtype")->i = INT64_MAX;
    model_refused(b, ERROR_UNSUPPORTED, "8- and 16-bit integers are supported");
}

/* ---- products ---- */

enum { SIZE = 24 };

/* Multiples of 1/8 from -8 to 8, so that nothing is rounded but where it should be. */
static void random_x(struct model_builder *b, float x[SIZE * SIZE])
{
    for (int i = 0; i < SIZE * SIZE; i++)
        x[i] = rintf(model_next(b) * 64) / 8;
}

static void random_bytes(struct model_builder *b, const char *name, enum dtype type, int count,
                         int64_t rows, int64_t columns)
{
    uint8_t values[SIZE * SIZE];
    for (int i = 0; i < count; i++)
        values[i] = (uint8_t)(int)(model_next(b) * 127 + 128);
    model_constant(b, name, type, &(struct shape){2, {rows, columns}}, values);
}

static void random_list(struct model_builder *b, const char *name, enum dtype type, int count)
{
    uint8_t values[SIZE];
    float scales[SIZE];
    for (int i = 0; i < count; i++) {
        values[i] = (uint8_t)(int)(model_next(b) * 10 + (type == DTYPE_I8 ? 0 : 128));
        scales[i] = ldexpf(1, (int)(model_next(b) * 3) - 4);
    }
    const struct shape s = {1, {count}};
    model_constant(b, name, type, &s, type == DTYPE_F32 ? (void *)scales : values);
}

/* The outputs "q" and "r" are the same. */
static void same(struct model_builder *b, const float *x, int64_t count)
{
    model_output(b, "q");
    model_output(b, "r");
    const struct model_run *r = model_runs(b, x);
    const uint8_t *q = r->outputs[0];
    assert_int_equal(shape_elements(&graph_output(&r->g, 0)->shape), count);
    assert_memory_equal(q, r->outputs[1], (size_t)count);
    int differ = 0;
    for (int64_t i = 1; i < count; i++)
        differ |= q[i] != q[0];
    assert_true(differ); /* not everything is saturated */
}

static void product(enum dtype a, enum dtype w, int rows, int columns)
{
    float x[SIZE * SIZE];
    struct model_builder *b = model_x(21, 2, 5, SIZE);
    random_x(b, x);
    random_list(b, "xs", DTYPE_F32, rows ? 5 : 1);
    random_list(b, "xz", a, rows ? 5 : 1);
    random_bytes(b, "w", w, SIZE * 7, SIZE, 7);
    random_list(b, "ws", DTYPE_F32, columns ? 7 : 1);
    random_list(b, "wz", w, columns ? 7 : 1);
    model_floats(b, "ys", 1, 4.0);
    bytes(b, "yz", a, 1, a == DTYPE_I8 ? 3 : 120);
    model_node(b, "QuantizeLinear", "x xs xz", "xq");
    model_int(b, "axis", 0);
    model_node(b, "QLinearMatMul", "xq xs xz w ws wz ys yz", "q");
    model_node(b, "DequantizeLinear", "xq xs xz", "xd");
    model_int(b, "axis", 0);
    model_node(b, "DequantizeLinear", "w ws wz", "wd");
    model_int(b, "axis", 1);
    model_node(b, "MatMul", "xd wd", "y");
    model_node(b, "QuantizeLinear", "y ys yz", "r");
    same(b, x, 35);
}

static void test_products(void **state)
{
    (void)state;
    product(DTYPE_U8, DTYPE_I8, 0, 0);
    product(DTYPE_U8, DTYPE_I8, 0, 1);
    product(DTYPE_I8, DTYPE_U8, 1, 0);
    product(DTYPE_I8, DTYPE_I8, 1, 1);
}

/* A grouped convolution, padded, strided and dilated, with a bias. */
static void convolution(enum dtype a, enum dtype w)
{
    float x[SIZE * SIZE];
    int32_t bias[6] = {0, 100, -200, 300, -400, 500};
    struct model_builder *b = model_x(21, 2, SIZE, SIZE);
    random_x(b, x);
    model_longs(b, "image", 4, 2, 4, 9, 8);
    model_longs(b, "kernels", 4, 6, 2, 3, 2);
    random_list(b, "xs", DTYPE_F32, 1);
    random_list(b, "xz", a, 1);
    random_bytes(b, "wf", w, 6 * 12, 6, 12);
    random_list(b, "ws", DTYPE_F32, 6);
    random_list(b, "wz", w, 6);
    model_constant(b, "bias", DTYPE_I32, &(struct shape){1, {6}}, bias);
    model_floats(b, "ys", 1, 2.0);
    bytes(b, "yz", a, 1, a == DTYPE_I8 ? -5 : 130);
    model_node(b, "Reshape", "x image", "xi");
    model_node(b, "Reshape", "wf kernels", "w");
    model_node(b, "QuantizeLinear", "xi xs xz", "xq");
    model_node(b, "QLinearConv", "xq xs xz w ws wz ys yz bias", "q");
    for (int i = 0; i < 2; i++) {
        if (i) {
            model_node(b, "DequantizeLinear", "xq xs xz", "xd");
            model_node(b, "DequantizeLinear", "w ws wz", "wd");
            model_int(b, "axis", 0);
            model_node(b, "Mul", "xs ws", "bs");
            model_node(b, "Cast", "bias", "bf");
            model_int(b, "to", DTYPE_F32);
            model_node(b, "Mul", "bf bs", "bd");
            model_node(b, "Conv", "xd wd bd", "y");
        }
        model_int(b, "group", 2);
        model_ints(b, "pads", 4, 1, 2, 0, 1);
        model_ints(b, "strides", 2, 2, 1);
        model_ints(b, "dilations", 2, 1, 2);
    }
    model_node(b, "QuantizeLinear", "y ys yz", "r");
    same(b, x, 2 * 6 * 4 * 9);
}

static void test_convolutions(void **state)
{
    (void)state;
    convolution(DTYPE_U8, DTYPE_I8);
    convolution(DTYPE_I8, DTYPE_I8);
    convolution(DTYPE_U8, DTYPE_U8);
}

static void test_misfits(void **state)
{
    (void)state;
    struct model_builder *b = model_x(21, 2, 2, 3);
    model_floats(b, "s", 1, 1.0);
    model_floats(b, "s2", 2, 1.0, 1.0);
    bytes(b, "z", DTYPE_U8, 1, 0);
    bytes(b, "zi", DTYPE_I8, 1, 0);
    bytes(b, "z2", DTYPE_U8, 2, 0, 0);
    random_bytes(b, "w", DTYPE_U8, 12, 3, 4);
    model_node(b, "QuantizeLinear", "x s z", "a");
    model_node(b, "MatMulInteger", "a w z z2", "q");
    output(b);
    model_refused(b, ERROR_FORMAT, "input 3 of shape 2 fits neither the whole nor 4 parts");
    model_reads(b, "q", "a w zi");
    model_refused(b, ERROR_FORMAT, "a zero point of another type");
    model_reads(b, "q", "a a");
    model_refused(b, ERROR_FORMAT, "2x3 and 2x3 cannot be multiplied");
    model_reads(b, "q", "x w");
    model_refused(b, ERROR_UNSUPPORTED, "input 0 ('x') of type float32");
    model_reads(b, "q", "a s z w s z s2 z")->op_type = "QLinearMatMul";
    model_refused(b, ERROR_FORMAT, "input 6 is not one number");
    model_reads(b, "q", "a w")->op_type = "ConvInteger";
    model_refused(b, ERROR_FORMAT, "input 2x3 does not fit weight 3x4");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_rounding),    cmocka_unit_test(test_along_axis),
    cmocka_unit_test(test_blocks),      cmocka_unit_test(test_output_type),
    cmocka_unit_test(test_products),    cmocka_unit_test(test_convolutions),
    cmocka_unit_test(test_misfits),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, models_free);
}
