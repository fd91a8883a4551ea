/* LSTM, GRU and RNN. */
#include "engine_kernels.h"

#include "engine/exp.h"

struct recurrent_case {
    const char *op;
    int64_t steps, batch, in, hidden;
    int mode, bias, states; /* the latter two: 1 constant, 2 inputs */
    int batch_first, flag, relu; /* relu: 1 everywhere, 2 in the second direction */
    int lengths; /* 1: they differ */
    int peepholes;
    float clip;
    unsigned wanted; /* bit i: output i */
};

/* Small weights: large ones make the network chaotic, and any rounding counts. */
static int add_weights(struct sample *s, struct shape shape, int64_t fan)
{
    int v = add_constant(s, shape);
    float *data = constant_data(s, v);
    for (int64_t i = 0; i < shape_elements(&shape); i++)
        data[i] /= sqrtf((float)fan);
    return v;
}

static int add_lengths(struct sample *s, int64_t batch, int64_t steps)
{
    int32_t *data = graph_memory(&s->g, (size_t)batch * sizeof *data);
    for (int64_t i = 0; i < batch; i++)
        data[i] = (int32_t)between(s, -1, steps + 1); /* those beyond either end are cut */
    struct shape shape = SHAPE(batch);
    return graph_add_constant(&s->g, "lengths", DTYPE_I32, &shape, data);
}

static void with_settings(struct sample *s, const struct recurrent_case *c, int64_t gates)
{
    static const char *const directions[] = {"forward", "reverse", "bidirectional"};
    static const char *const relu[] = {"Relu", "Relu"}, *const mixed[] = {"Tanh", "Relu"};
    with_string(s, "direction", directions[c->mode]);
    with_int(s, "layout", c->batch_first);
    if (gates > 1)
        with_int(s, gates == 3 ? "linear_before_reset" : "input_forget", c->flag);
    if (c->relu) {
        struct onnx_attribute *a = with_attribute(s, "activations", ONNX_STRINGS);
        a->strings = c->relu == 1 ? relu : mixed;
        a->count = c->mode == 2 ? 2 : 1;
    }
    if (c->clip > 0)
        with_float(s, "clip", c->clip);
}

static void check_recurrent(struct sample *s, const struct recurrent_case *c)
{
    int64_t gates = strcmp(c->op, "RNN") == 0 ? 1 : strcmp(c->op, "GRU") == 0 ? 3 : 4;
    int64_t d = c->mode == 2 ? 2 : 1, h = c->hidden, b = c->batch;
    struct shape state = c->batch_first ? SHAPE(b, d, h) : SHAPE(d, b, h);
    int in[8] = {add_input(s, c->batch_first ? SHAPE(b, c->steps, c->in)
                                             : SHAPE(c->steps, b, c->in)),
                 add_weights(s, SHAPE(d, gates * h, c->in), c->in),
                 add_weights(s, SHAPE(d, gates * h, h), h), NO_VALUE, NO_VALUE, NO_VALUE,
                 NO_VALUE, NO_VALUE};
    if (c->bias)
        in[3] = c->bias == 1 ? add_constant(s, SHAPE(d, 2 * gates * h))
                             : add_input(s, SHAPE(d, 2 * gates * h));
    if (c->lengths)
        in[4] = add_lengths(s, b, c->steps);
    for (int i = 5; c->states && i < 5 + (gates == 4 ? 2 : 1); i++)
        in[i] = c->states == 1 ? add_constant(s, state) : add_input(s, state);
    if (c->peepholes)
        in[7] = add_constant(s, SHAPE(d, 3 * h));
    with_settings(s, c, gates);
    int index = onnx_outputs(s, c->op, gates == 4 ? 8 : 6, in, c->wanted);
    for (int i = 0; i < 3; i++)
        if (c->wanted >> i & 1)
            add_output(s, s->g.nodes[index].outputs[i]);
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
            .wanted = (unsigned)between(&s, 1, i % 3 ? 3 : 7)};
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
        {"LSTM", 4, 3, 5, 18, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7},
        {"GRU", 4, 3, 5, 18, 2, 1, 1, 0, 1, 0, 1, 0, 0.3f, 3},
        {"RNN", 4, 3, 5, 18, 2, 1, 0, 0, 0, 2, 0, 0, 0, 3},
    };
    for (uint32_t i = 0; i < COUNT_OF(cases); i++) {
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recurrent_layers_of_any_shape),
        cmocka_unit_test(recurrent_layers_with_rare_settings),
        cmocka_unit_test(gates_are_accurate_near_and_far),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
