/* Activations that a model spells out in several nodes, and where they are fused. */
#include "engine_passes.h"

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
        struct model_builder *b = model_x(13, 2, 3, 50);
        add_spelled(b, form);
        passes_give(b, spelled_name(form), 1e-6);
        b = model_new(13);
        model_input(b, "i", DTYPE_F32, 4, 1, 3, 9, 9);
        add_conv(b, "i", "k", 3, 8, 3, 1, 1);
        add_batch_norm(b, "n", "k", "x", 8);
        add_spelled(b, form);
        passes_give(b, model_text(b, "Conv+BatchNormalization+%s", spelled_name(form)), 1e-5);
    }
}

/* Part of the pattern is read elsewhere, or its numbers are others. */
static void test_no_spelled_activation(void **state)
{
    (void)state;
    struct model_builder *b = model_x(17, 1, 50);
    add_spelled(b, SILU);
    model_output(b, "s");
    passes_give(b, "Sigmoid Mul", 1e-6);
    b = model_x(17, 1, 50);
    model_input(b, "z", DTYPE_F32, 1, 50);
    model_node(b, "Sigmoid", "x", "s");
    model_node(b, "Mul", "z s", "y");
    model_output(b, "y");
    passes_give(b, "Sigmoid Mul", 1e-6);
    b = model_x(17, 1, 50);
    model_node(b, "HardSigmoid", "x", "s");
    model_node(b, "Mul", "x s", "y");
    model_output(b, "y");
    passes_give(b, "HardSigmoid Mul", 1e-6);
    b = model_x(17, 1, 50);
    add_spelled(b, HARD_SWISH_LATE);
    *(float *)model_data(b, "six") = 5; /* both the upper bound and the divisor */
    passes_give(b, "Add Clip Mul Div", 1e-6);
}

/* One number or one input is another than in the pattern. */
static void test_nearly_spelled_activation(void **state)
{
    (void)state;
    static const struct {
        enum spelled form;
        struct change change;
    } cases[] = {
        {HARD_SIGMOID, {.constant = "none", .value = -1}},
        {HARD_SWISH, {.constant = "none", .value = -1}},
        {HARD_SIGMOID, {.constant = "three", .value = 2.5f}},
        {HARD_SWISH_LATE, {.constant = "three", .value = 2}},
        {HARD_SWISH_SIXTH, {.constant = "sixth", .value = 0.2f}},
        {HARD_SIGMOID, {.maker = "y", .inputs = "c three"}},
        {HARD_SWISH_LATE, {.maker = "y", .inputs = "m three"}},
        {HARD_SWISH_LATE, {.maker = "m", .inputs = "z c"}},
        {HARD_SWISH, {.maker = "y", .inputs = "z d"}},
        {HARD_SWISH_NODE, {.maker = "s", .inputs = "z"}},
        {QUICK_GELU, {.maker = "x1", .inputs = "factor z"}},
        {SILU, {.maker = "s", .inputs = "z"}},
        {MISH, {.maker = "p", .inputs = "z"}},
        {MISH, {.maker = "y", .inputs = "z t"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model_builder *b = model_x(17, 1, 50);
        model_input(b, "z", DTYPE_F32, 1, 50);
        add_spelled(b, cases[i].form);
        passed_changed(b, &cases[i].change, 1e-6);
    }
    struct model_builder *b = model_x(17, 1, 50);
    model_node(b, "HardSigmoid", "x", "s");
    model_float(b, "alpha", 0.16666667f);
    model_float(b, "beta", 0.4f);
    model_node(b, "Mul", "x s", "y");
    model_output(b, "y");
    passes_give(b, "HardSigmoid Mul", 1e-6);
}

/* Every activation that is an epilogue, behind a Conv and behind a Linear. */
static void test_activations_are_fused(void **state)
{
    (void)state;
    static const char *const names[] = {"Relu", "Tanh", "Sigmoid", "LeakyRelu", "Elu", "HardSwish",
                                        "HardSigmoid", "Mish", "Gelu", "PRelu"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct model_builder *b = model_x(20, 4, 1, 3, 5, 6);
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
        passes_give(b, model_text(b, "Conv+%s MatMul+%s", names[i], names[i]), 1e-5);
    }
}

/* A slope for each channel, and what is no epilogue, stay behind. */
static void test_activations_not_fused(void **state)
{
    (void)state;
    struct model_builder *b = model_x(17, 4, 1, 3, 5, 6);
    model_random(b, "slopes", 3, 4, 1, 1);
    add_conv(b, "x", "c", 3, 4, 3, 1, 1);
    model_node(b, "PRelu", "c slopes", "d");
    add_conv(b, "d", "e", 4, 4, 1, 1, 1);
    model_node(b, "Selu", "e", "y");
    model_output(b, "y");
    passes_give(b, "Conv PRelu Conv Selu", 1e-5);
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
        struct model_builder *b = model_x(17, 2, 3, 50);
        add_gelu(b, order);
        passes_give(b, "Gelu", 1e-6);
    }
    struct model_builder *b = model_x(20, 1, 50);
    model_node(b, "Gelu", "x", "z");
    model_string(b, "approximate", "tanh");
    model_node(b, "Gelu", "z", "y");
    model_output(b, "y");
    const struct graph *g = passed(b, 1e-6);
    assert_int_equal(graph_count(g, "wattle", "Gelu"), 1);
    assert_int_equal(graph_count(g, "", "Gelu"), 1);
}

/* Looks like Gelu, but a constant is another, or a value is read elsewhere. */
static void test_no_gelu(void **state)
{
    (void)state;
    struct model_builder *b = model_x(17, 1, 50);
    add_gelu(b, 0);
    *(float *)model_data(b, "root") = 1.4f;
    passes_give(b, "Div Erf Add Mul Mul", 1e-6);
    b = model_x(17, 1, 50);
    add_gelu(b, 0);
    model_output(b, "c");
    passes_give(b, "Div Erf Add Mul Mul", 1e-6);
}

static void test_nearly_gelu(void **state)
{
    (void)state;
    static const struct {
        int order; /* -1: all */
        struct change change;
    } cases[] = {
        {-1, {.constant = "root", .value = 1.4f}},     {-1, {.constant = "inverse", .value = 0.8f}},
        {-1, {.constant = "one", .value = 2}},         {-1, {.constant = "half", .value = 0.6f}},
        {-1, {.also = "b"}},                           {0, {.maker = "d", .inputs = "z c"}},
        {0, {.maker = "y", .inputs = "d wide"}},       {2, {.maker = "d", .inputs = "half z"}},
        {2, {.maker = "d", .inputs = "one x"}},        {4, {.maker = "y", .inputs = "z d"}},
        {4, {.maker = "d", .inputs = "c wide"}},
    };
    for (size_t i = 0; i < 6 * sizeof cases / sizeof *cases; i++) {
        int order = (int)(i % 6), only = cases[i / 6].order;
        if (only >= 0 && only != order - order % 2)
            continue;
        struct model_builder *b = model_x(17, 1, 50);
        model_input(b, "z", DTYPE_F32, 1, 50);
        model_constant(b, "wide", DTYPE_F32, &(struct shape){2, {1, 1}}, &(const float){0.5f});
        add_gelu(b, order);
        passed_changed(b, &cases[i / 6].change, 1e-6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spelled_activations),
        cmocka_unit_test(test_no_spelled_activation),
        cmocka_unit_test(test_nearly_spelled_activation),
        cmocka_unit_test(test_activations_are_fused),
        cmocka_unit_test(test_activations_not_fused),
        cmocka_unit_test(test_gelu),
        cmocka_unit_test(test_no_gelu),
        cmocka_unit_test(test_nearly_gelu),
    };
    return cmocka_run_group_tests(tests, NULL, models_free);
}
