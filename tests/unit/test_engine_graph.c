/* graph_build: names, shapes, folding, what it refuses; and the editing of graphs. */
#include "engine_model.h"

static void expect_shape(const struct value *v, int rank, ...)
{
    va_list args;
    va_start(args, rank);
    assert_int_equal(v->shape.rank, rank);
    for (int i = 0; i < rank; i++)
        assert_int_equal(v->shape.dims[i], va_arg(args, int));
    va_end(args);
}

static void test_order_and_names(void **state)
{
    (void)state;
    struct model_builder *b = model_x(17, 1, 3);
    model_node(b, "Relu", "late", "y")->name = "a\nb\033";
    model_node(b, "Neg", "x", "late");
    model_output(b, "y");
    model_refused(b, ERROR_FORMAT, "memory.onnx: node 'a?b?' (Relu): input 'late' is made by no "
                                   "node before");
    b = model_x(17, 1, 3);
    model_node(b, "Relu", "x", "y");
    model_node(b, "Neg", "x", "y");
    model_refused(b, ERROR_FORMAT, "the name 'y' is given to two values");
    b = model_x(17, 1, 3);
    model_node(b, "Relu", "x", "x");
    model_refused(b, ERROR_FORMAT, "two values");
    b = model_x(17, 1, 3);
    model_scalar(b, "x", 1);
    model_refused(b, ERROR_FORMAT, "two values");
    b = model_x(17, 1, 3);
    model_output(b, "nothing");
    model_refused(b, ERROR_FORMAT, "output 'nothing' is made by no node");
    b = model_x(17, 1, 3);
    model_output(b, "x");
    model_output(b, "x");
    model_refused(b, ERROR_FORMAT, "two values");
}

static void test_operators_and_attributes(void **state)
{
    (void)state;
    struct model_builder *b = model_x(17, 1, 3);
    model_node(b, "Frobnicate", "x", "y");
    model_refused(b, ERROR_UNSUPPORTED, "operator 'Frobnicate' of domain 'ai.onnx' is not "
                                        "supported; opset 17");
    b = model_x(17, 1, 3);
    model_node(b, "Linear", "x x", "y")->domain = "wattle";
    model_refused(b, ERROR_UNSUPPORTED, "domain 'wattle'");
    b = model_x(17, 1, 3);
    model_node(b, "Gelu", "x", "y");
    model_refused(b, ERROR_UNSUPPORTED, "is supported, but not in opset 17");
    b = model_x(17, 1, 3);
    model_node(b, "Relu", "x", "y");
    model_int(b, "surprise", 1);
    model_refused(b, ERROR_UNSUPPORTED, "attribute 'surprise' is not known");
    b = model_x(17, 1, 3);
    model_node(b, "Softmax", "x", "y");
    model_float(b, "axis", 1);
    model_refused(b, ERROR_FORMAT, "attribute 'axis' holds a float where an int is expected");
    b = model_x(17, 1, 3);
    model_node(b, "Softmax", "x", "y");
    model_int(b, "axis", 1);
    model_refused(b, ERROR_FORMAT, "attribute 'axis' 1 is outside a tensor of rank 1");
    b = model_x(17, 1, 3);
    model_node(b, "Add", "x", "y");
    model_refused(b, ERROR_FORMAT, "1 inputs where 2 to 2 are expected");
    b = model_x(17, 1, 3);
    model_node(b, "Add", "- x", "y");
    model_refused(b, ERROR_FORMAT, "input 0 is left out but required");
    b = model_new(17);
    model_input(b, "x", DTYPE_I64, 1, 3);
    model_node(b, "Tanh", "x", "y");
    model_refused(b, ERROR_UNSUPPORTED, "input 0 ('x') of type int64");
    b = model_x(17, 2, 3, 4);
    model_input(b, "z", DTYPE_F32, 2, 5, 4);
    model_node(b, "Add", "x z", "y")->name = "sum";
    model_refused(b, ERROR_FORMAT, "node 'sum' (Add): shapes 3x4 and 5x4 do not broadcast");
}

static void test_opsets(void **state)
{
    (void)state;
    /* Squeeze: an attribute until 12, an input since. */
    for (int64_t opset = 12; opset <= 13; opset++) {
        struct model_builder *b = model_x(opset, 3, 1, 3, 1);
        model_longs(b, "axes", 1, -1);
        model_node(b, "Squeeze", opset < 13 ? "x" : "x axes", "y");
        if (opset < 13)
            model_ints(b, "axes", 1, -1);
        model_output(b, "y");
        expect_shape(graph_output(model_build(b), 0), 2, 1, 3);
    }
    struct model_builder *b = model_x(13, 3, 1, 3, 1);
    model_node(b, "Squeeze", "x", "y");
    model_ints(b, "axes", 1, -1);
    model_refused(b, ERROR_UNSUPPORTED, "attribute 'axes' is not known");
    b = model_x(17, 2, 2, 3);
    for (int i = 0; i < 4; i++)
        model_random(b, (const char *const[]){"s", "b", "m", "v"}[i], 1, 3);
    model_node(b, "BatchNormalization", "x s b m v", "y");
    model_int(b, "training_mode", 1);
    model_refused(b, ERROR_UNSUPPORTED, "'training_mode' is 1");
}

static void test_dimensions(void **state)
{
    (void)state;
    struct graph g;
    struct error e;
    const struct graph_dim eight = {"N", 8}, wrong = {"M", 2}, less = {"N", -1};
    struct model_builder *b = model_x(17, 2, -1, 3);
    model_node(b, "Relu", "x", "y");
    model_output(b, "y");
    expect_shape(graph_output(model_build(b), 0), 2, 1, 3);
    assert_int_equal(graph_build(&g, &b->model, &eight, 1, MODEL_MEMORY, &e), 0);
    expect_shape(graph_output(&g, 0), 2, 8, 3);
    graph_release(&g);
    assert_int_equal(graph_build(&g, &b->model, &wrong, 1, MODEL_MEMORY, &e), ERROR_USAGE);
    assert_non_null(strstr(e.text, "'M'"));
    assert_int_equal(graph_build(&g, &b->model, &less, 1, MODEL_MEMORY, &e), ERROR_USAGE);
    assert_int_equal(graph_build(&g, &b->model, &eight, 1, 90, &e), ERROR_MEMORY);
    assert_non_null(strstr(e.text, "input 'x' of shape 8x3 is larger than the memory limit"));
    model_refused(model_x(17, -1), ERROR_UNSUPPORTED, "input 'x': its shape is not given");
}

/* What exporters write to keep a batch size: Shape, Gather, Unsqueeze, Concat, Reshape. */
static void test_shape_chain(void **state)
{
    (void)state;
    struct model_builder *b = model_x(13, 4, 2, 3, 4, 5);
    model_long(b, "zero", 0);
    model_longs(b, "axis", 1, 0);
    model_longs(b, "rest", 1, -1);
    model_node(b, "Relu", "x", "r");
    model_node(b, "Shape", "r", "s");
    model_node(b, "Gather", "s zero", "n");
    model_node(b, "Unsqueeze", "n axis", "n1");
    model_node(b, "Concat", "n1 rest", "to");
    model_int(b, "axis", 0);
    model_node(b, "Reshape", "r to", "y");
    model_output(b, "y");
    struct graph *g = model_build(b);
    expect_shape(graph_output(g, 0), 2, 2, 60);
    graph_is(g, "Relu Reshape");
}

static void test_folding(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    float values[] = {1, -2, 3};
    model_constant(b, "c", DTYPE_F32, &(struct shape){1, {3}}, values);
    model_node(b, "Constant", "", "d");
    model_tensor(b, "value", DTYPE_F32, &(struct shape){1, {3}}, values);
    model_node(b, "Add", "c d", "s");
    model_node(b, "Abs", "s", "y");
    model_output(b, "y");
    struct graph *g = model_build(b);
    assert_int_equal(g->node_count, 0);
    const struct value *y = graph_output(g, 0);
    assert_non_null(y->constant);
    assert_string_equal(y->name, "y");
    assert_true(((const float *)y->constant)[1] == 4);
}

/* More work than loading may cost is left for run time. */
static void test_fold_budget(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    model_longs(b, "s", 2, 4000, 4000);
    model_node(b, "ConstantOfShape", "s", "a");
    model_node(b, "MatMul", "a a", "p");
    model_output(b, "p");
    graph_is(model_build(b), "MatMul");
}

/* By plain C an Einsum takes much longer than what it reads and writes: 30 s for the budget's number. */
static void test_fold_budget_of_einsum(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    model_longs(b, "s", 2, 100, 100);
    model_node(b, "ConstantOfShape", "s", "a");
    model_node(b, "Einsum", "a a", "p");
    model_string(b, "equation", "ij,kl->ijkl");
    model_node(b, "ReduceMax", "p", "y");
    model_output(b, "y");
    graph_is(model_build(b), "Einsum ReduceMax");
}

static void test_copies(void **state)
{
    (void)state;
    struct model_builder *b = model_x(17, 2, 2, 3);
    model_node(b, "Identity", "x", "a");
    model_node(b, "Relu", "a", "b");
    model_node(b, "Dropout", "b", "c");
    model_node(b, "Cast", "c", "d");
    model_int(b, "to", DTYPE_F32);
    model_longs(b, "same", 2, 0, 3);
    model_node(b, "Reshape", "d same", "e");
    model_node(b, "Identity", "e", "y");
    model_output(b, "y");
    struct graph *g = model_build(b);
    graph_is(g, "Relu");
    assert_string_equal(graph_output(g, 0)->name, "y");
}

/* A Dropout whose mask is read stays. */
static void test_dropout_mask(void **state)
{
    (void)state;
    const float x[3] = {1, 2, 3};
    struct model_builder *b = model_x(17, 1, 3);
    model_node(b, "Dropout", "x", "y mask");
    model_output(b, "y");
    model_output(b, "mask");
    const struct model_run *r = model_runs(b, x);
    assert_memory_equal(r->outputs[0], x, sizeof x);
    assert_memory_equal(r->outputs[1], "\1\1\1", 3);
}

/* Outputs keep their names and their own memory, wherever they come from. */
static void test_outputs(void **state)
{
    (void)state;
    static const char *const names[] = {"x", "c", "c2", "n1", "n2", "x3"};
    const float x[2] = {1, 2}, minus[2] = {-1, -2}, c[2] = {5, 6};
    const void *want[6] = {x, c, c, minus, minus, x};
    struct model_builder *b = model_x(17, 1, 2);
    model_floats(b, "c", 2, 5.0, 6.0);
    model_node(b, "Identity", "x", "x3");
    model_node(b, "Identity", "c", "c2");
    model_node(b, "Neg", "x", "n");
    model_node(b, "Identity", "n", "n1");
    model_node(b, "Identity", "n", "n2");
    for (int i = 0; i < 6; i++)
        model_output(b, names[i]);
    const struct model_run *r = model_runs(b, x);
    graph_is(&r->g, "Identity Neg Identity");
    for (int i = 0; i < 6; i++) {
        assert_string_equal(graph_output(&r->g, i)->name, names[i]);
        assert_true(graph_output(&r->g, i)->is_output);
        assert_memory_equal(r->outputs[i], want[i], sizeof x);
    }
}

/* The copy of an input does not give the input its name. */
static void test_copied_input(void **state)
{
    (void)state;
    struct model_builder *b = model_x(17, 1, 2);
    model_node(b, "Identity", "x", "y");
    model_output(b, "y");
    const struct graph *g = model_build(b);
    graph_is(g, "Identity");
    assert_string_equal(g->values[g->inputs[0]].name, "x");
    assert_string_equal(graph_output(g, 0)->name, "y");
}

static void test_reshape_chain(void **state)
{
    (void)state;
    struct model_builder *b = model_x(17, 3, 2, 3, 4);
    model_longs(b, "a", 1, 24);
    model_longs(b, "b", 2, -1, 4);
    model_node(b, "Relu", "x", "r");
    model_node(b, "Flatten", "r", "r1");
    model_node(b, "Reshape", "r1 a", "r2");
    model_node(b, "Reshape", "r2 b", "y");
    model_output(b, "y");
    graph_is(model_build(b), "Relu Reshape");
}

static void test_unread_nodes(void **state)
{
    (void)state;
    struct model_builder *b = model_x(17, 1, 2);
    model_node(b, "Neg", "x", "a");
    model_node(b, "Exp", "a", "b");
    model_node(b, "Relu", "x", "y");
    model_output(b, "y");
    graph_is(model_build(b), "Relu");
}

/* Small files that ask for a lot. */
static struct model_builder *giant(const char *op, const char *inputs)
{
    struct model_builder *b = model_x(17, 4, 1, 1, 1, 1);
    model_longs(b, "sizes", 4, 1 << 20, 1 << 20, 1 << 20, 1 << 20);
    model_longs(b, "three", 3, 1 << 20, 1 << 20, 1 << 20);
    model_long(b, "zero", 0);
    model_long(b, "one", 1);
    model_long(b, "far", INT64_MAX);
    model_node(b, op, inputs, "y");
    model_output(b, "y");
    return b;
}

static void test_giants(void **state)
{
    (void)state;
    model_refused(giant("Expand", "x sizes"), ERROR_MEMORY, "memory limit");
    model_refused(giant("Tile", "x sizes"), ERROR_MEMORY, "memory limit");
    model_refused(giant("ConstantOfShape", "sizes"), ERROR_MEMORY, "memory limit");
    model_refused(giant("ConstantOfShape", "three"), ERROR_MEMORY, "memory limit");
    model_refused(giant("Range", "zero far one"), ERROR_MEMORY, "memory limit");
    struct model_builder *b = model_x(17, 4, 1, 1, 1, 1);
    int64_t *pads = model_longs(b, "p", 8, 0, 0, 0, 0, 0, 0, 0, 0);
    model_node(b, "Pad", "x p", "y");
    pads[0] = pads[4] = INT64_MAX;
    model_refused(b, ERROR_FORMAT, "pads 9223372036854775807");
    pads[0] = 1 << 30;
    pads[4] = 0;
    model_refused(b, ERROR_MEMORY, "memory limit");
}

/* Each constant is within the limit, all of them are not. */
static void test_many_constants(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    model_longs(b, "s", 2, 1 << 12, 1 << 13);
    for (int i = 0; i < 6; i++)
        model_node(b, "ConstantOfShape", "s", model_text(b, "c%d", i));
    model_refused(b, ERROR_MEMORY, "constants computed at load exceed the memory limit");
}

static void test_windows(void **state)
{
    (void)state;
    static const struct {
        const char *attribute;
        int64_t values[4];
        int count;
        const char *part;
    } cases[] = {
        {"strides", {0, 1}, 2, "'strides' has the entry 0"},
        {"dilations", {1, INT64_MAX}, 2, "'dilations' has the entry"},
        {"pads", {0, -1, 0, 0}, 4, "'pads' has the entry -1"},
        {"pads", {0, 0, 0}, 3, "'pads' has 3 entries where 4 are expected"},
        {"kernel_shape", {3, 2}, 2, "'kernel_shape' has 2 where the weight has 3"},
        {"dilations", {4, 4}, 2, "a window of 9 does not fit 5"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model_builder *b = model_x(17, 4, 1, 2, 5, 5);
        model_random(b, "w", 4, 4, 2, 3, 3);
        model_node(b, "Conv", "x w", "y");
        model_list(b, cases[i].attribute, cases[i].count, cases[i].values);
        model_refused(b, ERROR_FORMAT, cases[i].part);
    }
    struct model_builder *b = model_x(17, 4, 1, 3, 5, 5);
    model_random(b, "w", 4, 4, 2, 3, 3);
    model_node(b, "Conv", "x w", "y");
    model_refused(b, ERROR_FORMAT, "input 1x3x5x5 does not fit weight 4x2x3x3 with group 1");
}

static void test_reshapes(void **state)
{
    (void)state;
    static const struct {
        int64_t to[3];
        int count;
    } bad[] = {{{5}, 1}, {{-1, -1}, 2}, {{-2, 3}, 2}, {{7, -1}, 2}, {{2, 3, 0}, 3}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct model_builder *b = model_x(17, 2, 2, 3);
        model_constant(b, "to", DTYPE_I64, &(struct shape){1, {bad[i].count}}, bad[i].to);
        model_node(b, "Reshape", "x to", "y");
        model_refused(b, ERROR_FORMAT, "shape 2x3 cannot become");
    }
    struct model_builder *b = model_x(17, 2, 2, 3);
    model_input(b, "to", DTYPE_I64, 1, 2);
    model_node(b, "Reshape", "x to", "y");
    model_refused(b, ERROR_UNSUPPORTED, "input 'shape' ('to') is computed at run time");
}

/* Dimensions of 0 with giant ones beside them: products of parts must not overflow. */
static void test_empty(void **state)
{
    (void)state;
    struct model_builder *b = model_x(17, 2, 0, 3);
    model_random(b, "w", 2, 3, 4);
    model_node(b, "MatMul", "x w", "p");
    model_node(b, "Relu", "p", "y");
    model_output(b, "y");
    expect_shape(graph_output(&model_runs(b, "")->g, 0), 2, 0, 4);
    b = model_new(17);
    int64_t sizes[3] = {0, (int64_t)1 << 40, (int64_t)1 << 40};
    model_constant(b, "s", DTYPE_I64, &(struct shape){1, {3}}, sizes);
    model_node(b, "ConstantOfShape", "s", "y");
    model_refused(b, ERROR_MEMORY, "memory limit");
}

static void test_run_time_error(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    model_input(b, "i", DTYPE_I64, 1, 2);
    model_random(b, "table", 2, 4, 3);
    model_node(b, "Gather", "table i", "y")->name = "lookup";
    model_output(b, "y");
    model_runs(b, (const int64_t[]){-4, 3});
    model_run_refused(b, (const int64_t[]){-4, 4}, ERROR_FORMAT,
                      "memory.onnx: node 'lookup' (Gather): index 4 is outside a dimension of 4");
}

static void test_feeds(void **state)
{
    (void)state;
    int64_t to[2] = {3, -1};
    const struct graph_feed feed = {"to", {DTYPE_I64, {1, {2}}, to}};
    struct graph g;
    struct error e;
    struct model_builder *b = model_x(17, 2, 2, 3);
    model_input(b, "to", DTYPE_I64, 1, 2);
    model_node(b, "Reshape", "x to", "r");
    model_node(b, "Neg", "r", "y");
    model_output(b, "y");
    assert_int_equal(graph_build_fed(&g, &b->model, NULL, 0, &feed, 1, MODEL_MEMORY, &e), 0);
    assert_int_equal(g.input_count, 1);
    expect_shape(graph_output(&g, 0), 2, 3, 2);
    graph_release(&g);
}

static void test_editing(void **state)
{
    (void)state;
    struct model_builder *b = model_x(17, 1, 2);
    model_node(b, "Neg", "x", "a");
    model_node(b, "Add", "a a", "b");
    model_node(b, "Mul", "a b", "y");
    model_output(b, "y");
    struct graph *g = model_build(b);
    int a = g->nodes[0].outputs[0], sum = g->nodes[1].outputs[0], y = g->outputs[0];
    assert_int_equal(graph_uses(g, a), 3);
    assert_int_equal(graph_single_user(g, a), -1);
    assert_int_equal(graph_single_user(g, sum), 2);
    assert_int_equal(graph_single_user(g, y), -1);
    graph_replace(g, sum, a);
    assert_int_equal(graph_uses(g, sum), 0);
    assert_int_equal(graph_uses(g, a), 4);
    graph_sweep(g);
    assert_int_equal(g->node_count, 2);
    assert_int_equal(graph_uses(g, a), 2);
    assert_int_equal(g->values[y].producer, 1);
    graph_replace(g, y, a);
    graph_sweep(g);
    assert_int_equal(g->node_count, 1);
    assert_int_equal(g->outputs[0], a);
    assert_true(g->values[a].is_output && !g->values[y].is_output);
    uint8_t *p = graph_memory(g, 100);
    assert_true(p && (uintptr_t)p % 64 == 0 && !p[0] && !p[99]);
    assert_null(graph_memory(g, MODEL_MEMORY));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_names),  cmocka_unit_test(test_operators_and_attributes),
        cmocka_unit_test(test_opsets),           cmocka_unit_test(test_dimensions),
        cmocka_unit_test(test_shape_chain),      cmocka_unit_test(test_folding),
        cmocka_unit_test(test_fold_budget), cmocka_unit_test(test_fold_budget_of_einsum),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_dropout_mask),     cmocka_unit_test(test_outputs),
        cmocka_unit_test(test_copied_input),
        cmocka_unit_test(test_reshape_chain),    cmocka_unit_test(test_unread_nodes),
        cmocka_unit_test(test_giants),           cmocka_unit_test(test_many_constants),
        cmocka_unit_test(test_windows),          cmocka_unit_test(test_reshapes),
        cmocka_unit_test(test_empty),            cmocka_unit_test(test_run_time_error),
        cmocka_unit_test(test_feeds),            cmocka_unit_test(test_editing),
    };
    return cmocka_run_group_tests(tests, NULL, models_free);
}
