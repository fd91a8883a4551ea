/* Element by element, in any layout: activations, and operators of two values. */
#include "engine_kernels.h"

#include "engine/activation.h"

static void binary_with_broadcast(void **state)
{
    (void)state;
    static const char *const names[] = {"Add", "Sub", "Mul", "Div"};
    for (uint32_t i = 0; i < 48; i++) {
        struct sample s;
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
            constant_data(&s, other)[k] += 1.5f;
        if (other_shape.rank == 4 && !s.g.values[other].constant && draw(&s, 2))
            other = convolved(&s, other);
        int swap = !divides && draw(&s, 3) == 0;
        int inputs[2] = {swap ? other : x, swap ? x : other};
        int y = onnx_value(&s, names[i % 4], 2, inputs);
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
    begin(&s, 1);
    int x = convolved(&s, add_input(&s, SHAPE(1, 8, 4, 4)));
    add_output(&s, ONNX(&s, "Add", x, x));
    check(&s, 0, 1e-5);
}

/* Slopes and sums with a number for each channel, large enough to be shared among threads. */
static void a_number_for_each_channel(void **state)
{
    (void)state;
    static const char *const names[] = {"PRelu", "Mul", "Add"};
    for (uint32_t i = 0; i < 18; i++) {
        struct sample s;
        begin(&s, i);
        int64_t c = i / 3 % 2 ? 32 : 5, size = i < 6 ? 50 : 3;
        struct shape shape = i % 2 ? SHAPE(2, c, size, size) : SHAPE(2, c, size);
        int x = i / 6 == 2 && i % 2 ? channels_last(&s, shape) : add_input(&s, shape);
        if (i / 6 == 1 && i % 2)
            x = convolved(&s, x);
        int other = add_constant(&s, i % 2 ? SHAPE(c, 1, 1) : SHAPE(1, c, 1));
        add_output(&s, ONNX(&s, names[i % 3], x, other));
        add_output(&s, x);
        check(&s, 0, 1e-5);
    }
}

static const char *const activation_names[] = {
    "Relu", "Tanh", "Sigmoid", "Clip", "LeakyRelu", "Elu", "HardSwish", "HardSigmoid", "Mish",
    "Selu", "Celu", "Softplus", "Softsign", "ThresholdedRelu", "PRelu", "Gelu"};

static int activation_node(struct sample *s, const char *name, int x)
{
    const int in[3] = {x, add_number(s, -0.25f), add_number(s, 0.5f)};
    int inputs = !strcmp(name, "Clip") ? 3 : !strcmp(name, "PRelu") ? 2 : 1;
    s->opset = 20;
    if (!strcmp(name, "Gelu"))
        with_string(s, "approximate", "tanh");
    return onnx_value(s, name, inputs, in);
}

/* Row-major, blocked, and blocked with padding, which must stay zero. */
static void activations_in_any_layout(void **state)
{
    (void)state;
    uint32_t count = COUNT_OF(activation_names);
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
    const float ends[] = {0, -0.0f, 1e30f, -1e30f, 3e38f, -3e38f, 1e-38f, -1e-38f, 88.8f, -88.8f,
                          1, -1, 3, -3, 0.5f, -0.25f}; /* the latter: where some bend */
    memcpy(x, ends, sizeof ends);
    for (size_t i = 0; i < COUNT_OF(activation_names); i++) {
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

/* In the layout of the convolutions around it: one reorder for the input, one for the output. */
static void squeeze_and_excitation(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 8; i++) {
        struct sample s;
        begin(&s, i);
        int64_t c = i % 4 == 3 ? 13 : 24, height = i % 2 ? 7 : 40;
        s.reorders = c == 24 ? 2 : -1;
        int x = convolved(&s, add_input(&s, SHAPE(i / 4 + 1, c, height, 9)));
        int g = NODE(&s, &op_fused_conv, pointwise(ACT_RELU), ONNX(&s, "GlobalAveragePool", x),
                     add_constant(&s, SHAPE(8, c, 1, 1)));
        struct attributes gate = pointwise(i % 2 ? ACT_SIGMOID : ACT_HARD_SIGMOID);
        gate.low = 0.2f;
        gate.high = 0.5f;
        g = NODE(&s, &op_fused_conv, gate, g, add_constant(&s, SHAPE(c, 8, 1, 1)));
        int y = i % 2 ? ONNX(&s, "Mul", g, x) : ONNX(&s, "Mul", x, g);
        add_output(&s, convolved(&s, y));
        check(&s, 0, 1e-5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(binary_with_broadcast),
        cmocka_unit_test(adding_a_value_to_itself),
        cmocka_unit_test(a_number_for_each_channel),
        cmocka_unit_test(activations_in_any_layout),
        cmocka_unit_test(activations_over_their_range),
        cmocka_unit_test(squeeze_and_excitation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
