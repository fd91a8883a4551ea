/* LayerNorm, RMSNorm and GroupNorm that a model spells out, and what only looks like them. */
#include "engine_passes.h"

static void add_layer_norm(struct model_builder *b, int squares, int twice)
{
    model_scalar(b, "two", 2);
    model_scalar(b, "epsilon", 1e-5f);
    model_random(b, "scale", 1, 20);
    model_random(b, "bias", 2, 1, 20);
    model_node(b, "ReduceMean", "x", "m");
    model_ints(b, "axes", 1, -1);
    model_int(b, "keepdims", 1);
    model_node(b, "Sub", "x m", "d");
    if (twice)
        model_node(b, "Sub", "x m", "d2");
    model_node(b, squares ? "Mul" : "Pow", squares ? "d d" : "d two", "s");
    model_node(b, "ReduceMean", "s", "v");
    model_ints(b, "axes", 1, b->inputs[0].rank - 1);
    model_int(b, "keepdims", 1);
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
        struct model_builder *b = model_x(13, 3, 2, 3, 20);
        add_layer_norm(b, form & 1, form >> 1);
        passes_give(b, "LayerNorm", 1e-5);
    }
    struct model_builder *b = model_x(17, 3, 2, 3, 20);
    model_random(b, "scale", 1, 20);
    model_node(b, "LayerNormalization", "x scale", "y");
    model_output(b, "y");
    passes_give(b, "LayerNorm", 1e-6);
    b = model_x(17, 3, 2, 3, 4);
    model_random(b, "scale", 2, 3, 4);
    model_node(b, "LayerNormalization", "x scale", "y");
    model_int(b, "axis", 1);
    model_output(b, "y");
    passes_give(b, "LayerNormalization", 1e-6);
}

static void test_no_layernorm(void **state)
{
    (void)state;
    struct model_builder *b = model_x(13, 3, 2, 20, 20);
    add_layer_norm(b, 0, 0);
    /* what is left is an RMSNorm of what another axis centred */
    model_attribute_of(b, "m", "axes")->ints = (const int64_t[]){1};
    passes_give(b, "ReduceMean Sub RmsNorm Add", 1e-5);
}

/* Other means and other values; parts that are read elsewhere; shapes that grow. */
static void test_nearly_layernorm(void **state)
{
    (void)state;
    static const struct change changes[] = {
        {.maker = "m", .inputs = "z"},   {.maker = "d", .inputs = "z mz"},
        {.maker = "d", .inputs = "m x"}, {.maker = "d", .inputs = "x mz"},
        {.maker = "n", .inputs = "v2 d"}, {.maker = "s", .inputs = "x two"},
        {.also = "m"},                   {.also = "d"},
        {.also = "v"},                   {.constant = "two", .value = 4},
    };
    for (size_t i = 0; i < 2 * sizeof changes / sizeof *changes; i++) {
        struct model_builder *b = model_x(13, 3, 2, 3, 20);
        model_input(b, "z", DTYPE_F32, 3, 2, 3, 20);
        model_node(b, "ReduceMean", "z", "mz");
        model_ints(b, "axes", 1, -1);
        add_layer_norm(b, 0, i % 2);
        passed_changed(b, &changes[i / 2], 1e-5);
    }
    struct model_builder *b = model_x(13, 3, 2, 3, 20);
    add_layer_norm(b, 1, 0);
    model_node(b, "Neg", "d", "w");
    model_output(b, "w");
    passes_give(b, "ReduceMean Sub RmsNorm Add Neg", 1e-5);
    b = model_x(13, 1, 20); /* the bias makes it a matrix */
    add_layer_norm(b, 0, 0);
    passed(b, 1e-5);
    b = model_x(13, 2, 20, 20); /* means along the rows are taken from the columns */
    add_layer_norm(b, 0, 0);
    model_attribute_of(b, "m", "keepdims")->i = model_attribute_of(b, "v", "keepdims")->i = 0;
    passed(b, 1e-5);
    b = model_x(17, 2, 3, 20);
    model_random(b, "scale", 1, 20);
    model_node(b, "LayerNormalization", "x scale", "y mean");
    model_output(b, "y");
    model_output(b, "mean");
    passes_give(b, "LayerNormalization", 1e-5);
}

enum rms_form { RECIPROCAL, DIVIDED, INVERSE, POWER, RMS_FORMS };

static void add_rms_norm(struct model_builder *b, enum rms_form form, int squares, int scaled)
{
    model_long(b, "two", 2);
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
        struct model_builder *b = model_x(17, 3, 2, 3, 20);
        add_rms_norm(b, (enum rms_form)(i / 4), i & 1, i >> 1 & 1);
        passes_give(b, "RmsNorm", 1e-5);
    }
}

/* Over another axis; of another value than is divided; where the root is read elsewhere. */
static void test_no_rmsnorm(void **state)
{
    (void)state;
    struct model_builder *b = model_x(17, 3, 2, 3, 20);
    add_rms_norm(b, RECIPROCAL, 0, 1);
    model_attribute_of(b, "m", "axes")->ints = (const int64_t[]){1};
    passes_give(b, "Pow ReduceMean Add Sqrt Reciprocal Mul Mul", 1e-5);
    b = model_x(17, 3, 2, 3, 20);
    model_input(b, "z", DTYPE_F32, 3, 2, 3, 20);
    add_rms_norm(b, RECIPROCAL, 0, 1);
    model_reads(b, "n", "z i");
    passes_give(b, "Pow ReduceMean Add Sqrt Reciprocal Mul Mul", 1e-5);
    b = model_x(17, 3, 2, 3, 20);
    add_rms_norm(b, DIVIDED, 0, 1);
    model_output(b, "r");
    passes_give(b, "Pow ReduceMean Add Sqrt Div Mul", 1e-5);
}

static void test_nearly_rmsnorm(void **state)
{
    (void)state;
    static const struct {
        enum rms_form form;
        struct change change;
    } cases[] = {
        {DIVIDED, {.maker = "n", .inputs = "r x"}}, {INVERSE, {.constant = "one", .value = 2}},
        {POWER, {.constant = "half", .value = -1}}, {POWER, {.maker = "n", .inputs = "z i"}},
        {RECIPROCAL, {.also = "i"}},                {INVERSE, {.maker = "n", .inputs = "z i"}},
        {DIVIDED, {.maker = "n", .inputs = "z r"}},
        {DIVIDED, {.constant = "epsilon", .value = 0.3f}},
        {INVERSE, {.also = "m"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model_builder *b = model_x(17, 3, 2, 3, 20);
        model_input(b, "z", DTYPE_F32, 3, 2, 3, 20);
        add_rms_norm(b, cases[i].form, 0, 1);
        passed_changed(b, &cases[i].change, 1e-5);
    }
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
    model_float(b, "epsilon", 0.3f);
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
        struct model_builder *b = model_x(17, 4, 2, 12, 5, 6);
        add_group_norm(b, 6, affine);
        passes_give(b, "GroupNorm", 1e-5);
    }
    struct model_builder *b = model_x(17, 4, 2, 12, 6, 5); /* not x's shape again */
    add_group_norm(b, 6, 1);
    passes_give(b, "Reshape InstanceNormalization Reshape Mul Add", 1e-5);
    b = model_x(17, 4, 2, 12, 5, 6);
    add_group_norm(b, 6, 1);
    model_output(b, "u");
    passes_give(b, "GroupNorm Mul Add", 1e-5);
}

/* Groups over several images, and such as cut through channels. */
static void test_nearly_groupnorm(void **state)
{
    (void)state;
    static const int grouped[][3] = {{1, 4, 180}, {4, 4, 45}, {2, 8, 45}, {2, 4, 90}};
    for (size_t i = 0; i < sizeof grouped / sizeof *grouped; i++) {
        struct model_builder *b = model_x(17, 4, 2, 12, 5, 6);
        model_longs(b, "grouped", 3, grouped[i][0], grouped[i][1], grouped[i][2]);
        model_longs(b, "back", 4, 2, 12, 5, 6);
        model_random(b, "gs", 1, grouped[i][1]);
        model_random(b, "gb", 1, grouped[i][1]);
        model_node(b, "Reshape", "x grouped", "g");
        model_node(b, "InstanceNormalization", "g gs gb", "n");
        model_node(b, "Reshape", "n back", "y");
        model_output(b, "y");
        passes_give(b, i == 3 ? "GroupNorm" : "Reshape InstanceNormalization Reshape", 1e-5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layernorm),
        cmocka_unit_test(test_no_layernorm),
        cmocka_unit_test(test_nearly_layernorm),
        cmocka_unit_test(test_nearly_rmsnorm),
        cmocka_unit_test(test_nearly_groupnorm),
        cmocka_unit_test(test_rmsnorm),
        cmocka_unit_test(test_no_rmsnorm),
        cmocka_unit_test(test_groupnorm),
    };
    return cmocka_run_group_tests(tests, NULL, models_free);
}
