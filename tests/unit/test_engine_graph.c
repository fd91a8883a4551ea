/* graph_build: names, shapes, folding, what it refuses; and the editing of graphs. */
#include "engine_model.h"

static const struct value *output_of(const struct graph *g, int i)
{
    return &g->values[g->outputs[i]];
}

static void expect_shape(const struct value *v, int rank, ...)
{
    va_list args;
    va_start(args, rank);
    assert_int_equal(v->shape.rank, rank);
    for (int i = 0; i < rank; i++)
        assert_int_equal(v->shape.dims[i], va_arg(args, int));
    va_end(args);
}

/* Builds, expects these nodes, releases everything. */
static void expect_nodes(struct model_builder *b, const char *nodes)
{
    struct graph g;
    char text[512];
    model_build(b, &g);
    assert_string_equal(model_list(&g, text, sizeof text), nodes);
    graph_release(&g);
    model_free(b);
}

static void refuse(struct model_builder *b, int code, const char *part)
{
    model_refused(b, code, part);
    model_free(b);
}

static void test_order_and_names(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    model_input(b, "x", DTYPE_F32, 1, 3);
    model_node(b, "Relu", "late", "y")->name = "a\nb\033";
    model_node(b, "Neg", "x", "late");
    model_output(b, "y");
    refuse(b, ERROR_FORMAT, "memory.onnx: node 'a?b?' (Relu): input 'late' is made by no node "
                            "before");
    b = model_new(17);
    model_input(b, "x", DTYPE_F32, 1, 3);
    model_node(b, "Relu", "x", "y");
    model_node(b, "Neg", "x", "y");
    refuse(b, ERROR_FORMAT, "the name 'y' is given to two values");
    b = model_new(17);
    model_input(b, "x", DTYPE_F32, 1, 3);
    model_node(b, "Relu", "x", "x");
    refuse(b, ERROR_FORMAT, "two values");
    b = model_new(17);
    model_input(b, "x", DTYPE_F32, 1, 3);
    model_scalar(b, "x", 1);
    refuse(b, ERROR_FORMAT, "two values");
    b = model_new(17);
    model_input(b, "x", DTYPE_F32, 1, 3);
    model_output(b, "nothing");
    refuse(b, ERROR_FORMAT, "output 'nothing' is made by no node");
    b = model_new(17);
    model_input(b, "x", DTYPE_F32, 1, 3);
    model_output(b, "x");
    model_output(b, "x");
    refuse(b, ERROR_FORMAT, "two values");
}

static void test_operators_and_attributes(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    model_input(b, "x", DTYPE_F32, 1, 3);
    model_node(b, "Frobnicate", "x", "y");
    refuse(b, ERROR_UNSUPPORTED, "operator 'Frobnicate' of domain 'ai.onnx' is not supported; "
                                 "opset 17");
    b = model_new(17);
    model_input(b, "x", DTYPE_F32, 1, 3);
    model_node(b, "Linear", "x x", "y")->domain = "wattle";
    refuse(b, ERROR_UNSUPPORTED, "domain 'wattle'");
    b = model_new(17);
    model_input(b, "x", DTYPE_F32, 1, 3);
    model_node(b, "Gelu", "x", "y");
    refuse(b, ERROR_UNSUPPORTED, "is supported, but not in opset 17");
    b = model_new(17);
    model_input(b, "x", DTYPE_F32, 1, 3);
    model_node(b, "Relu", "x", "y");
    model_int(b, "surprise", 1);
    refuse(b, ERROR_UNSUPPORTED, "attribute 'surprise' is not known");
    b = model_new(17);
    model_input(b, "x", DTYPE_F32, 1, 3);
    model_node(b, "Softmax", "x", "y");
    model_float(b, "axis", 1);
    refuse(b, ERROR_FORMAT, "attribute 'axis' holds a float where an int is expected");
    b = model_new(17);
    model_input(b, "x", DTYPE_F32, 1, 3);
    model_node(b, "Softmax", "x", "y");
    model_int(b, "axis", 1);
    refuse(b, ERROR_FORMAT, "attribute 'axis' 1 is outside a tensor of rank 1");
    b = model_new(17);
    model_input(b, "x", DTYPE_F32, 1, 3);
    model_node(b, "Add", "x", "y");
    refuse(b, ERROR_FORMAT, "1 inputs where 2 to 2 are expected");
    b = model_new(17);
    model_input(b, "x", DTYPE_F32, 1, 3);
    model_node(b, "Add", "- x", "y");
    refuse(b, ERROR_FORMAT, "input 0 is left out but required");
    b = model_new(17);
    model_input(b, "x", DTYPE_I64, 1, 3);
    model_node(b, "Tanh", "x", "y");
    refuse(b, ERROR_UNSUPPORTED, "input 0 ('x') of type int64");
    b = model_new(17);
    model_input(b, "x", DTYPE_F32, 2, 3, 4);
    model_input(b, "z", DTYPE_F32, 2, 5, 4);
    model_node(b, "Add", "x z", "y")->name = "sum";
    refuse(b, ERROR_FORMAT, "node 'sum' (Add): shapes 3x4 and 5x4 do not broadcast");
}

static void test_opsets(void **state)
{
    (void)state;
    /* Squeeze: an attribute until 12, an input since. */
    for (int64_t opset = 12; opset <= 13; opset++) {
        struct model_builder *b = model_new(opset);
        struct graph g;
        model_input(b, "x", DTYPE_F32, 3, 1, 3, 1);
        model_longs(b, "axes", 1, -1);
        model_node(b, "Squeeze", opset < 13 ? "x" : "x axes", "y");
        if (opset < 13)
            model_ints(b, "axes", 1, -1);
        model_output(b, "y");
        model_build(b, &g);
        expect_shape(output_of(&g, 0), 2, 1, 3);
        graph_release(&g);
        model_free(b);
    }
    struct model_builder *b = model_new(13);
    model_input(b, "x", DTYPE_F32, 3, 1, 3, 1);
    model_node(b, "Squeeze", "x", "y");
    model_ints(b, "axes", 1, -1);
    refuse(b, ERROR_UNSUPPORTED, "attribute 'axes' is not known");
    b = model_new(17);
    model_input(b, "x", DTYPE_F32, 2, 2, 3);
    for (int i = 0; i < 4; i++)
        model_random(b, (const char *const[]){"s", "b", "m", "v"}[i], 1, 3);
    model_node(b, "BatchNormalization", "x s b m v", "y");
    model_int(b, "training_mode", 1);
    refuse(b, ERROR_UNSUPPORTED, "'training_mode' is 1");
}

static void test_dimensions(void **state)
{
    (void)state;
    struct graph g;
    struct error e;
    const struct graph_dim eight = {"N", 8}, wrong = {"M", 2}, less = {"N", -1};
    struct model_builder *b = model_new(17);
    model_input(b, "x", DTYPE_F32, 2, -1, 3);
    model_node(b, "Relu", "x", "y");
    model_output(b, "y");
    model_build(b, &g);
    expect_shape(output_of(&g, 0), 2, 1, 3);
    graph_release(&g);
    assert_int_equal(graph_build(&g, &b->model, &eight, 1, MODEL_MEMORY, &e), 0);
    expect_shape(output_of(&g, 0), 2, 8, 3);
    graph_release(&g);
    assert_int_equal(graph_build(&g, &b->model, &wrong, 1, MODEL_MEMORY, &e), ERROR_USAGE);
    assert_non_null(strstr(e.text, "'M'"));
    assert_int_equal(graph_build(&g, &b->model, &less, 1, MODEL_MEMORY, &e), ERROR_USAGE);
    assert_int_equal(graph_build(&g, &b->model, &eight, 1, 90, &e), ERROR_MEMORY);
    model_free(b);
    b = model_new(17);
    model_input(b, "x", DTYPE_F32, -1);
    refuse(b, ERROR_UNSUPPORTED, "input 'x': its shape is not given");
}

/* What exporters write to keep a batch size: Shape, Gather, Unsqueeze, Concat, Reshape. */
static void test_shape_chain(void **state)
{
    (void)state;
    struct model_builder *b = model_new(13);
    model_input(b, "x", DTYPE_F32, 4, 2, 3, 4, 5);
    int64_t zero = 0;
    model_constant(b, "zero", DTYPE_I64, &(struct shape){0}, &zero);
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
    struct graph g;
    char text[256];
    model_build(b, &g);
    expect_shape(output_of(&g, 0), 2, 2, 60);
    assert_string_equal(model_list(&g, text, sizeof text), "Relu Reshape");
    graph_release(&g);
    model_free(b);
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
    struct graph g;
    model_build(b, &g);
    assert_int_equal(g.node_count, 0);
    const struct value *y = output_of(&g, 0);
    assert_non_null(y->constant);
    assert_string_equal(y->name, "y");
    assert_true(((const float *)y->constant)[1] == 4);
    graph_release(&g);
    model_free(b);
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
    expect_nodes(b, "MatMul");
}

static void test_copies(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    model_input(b, "x", DTYPE_F32, 2, 2, 3);
    model_node(b, "Identity", "x", "a");
    model_node(b, "Relu", "a", "b");
    model_node(b, "Dropout", "b", "c");
    model_node(b, "Cast", "c", "d");
    model_int(b, "to", DTYPE_F32);
    model_longs(b, "same", 2, 0, 3);
    model_node(b, "Reshape", "d same", "e");
    model_node(b, "Identity", "e", "y");
    model_output(b, "y");
    struct graph g;
    char text[256];
    model_build(b, &g);
    assert_string_equal(model_list(&g, text, sizeof text), "Relu");
    assert_string_equal(output_of(&g, 0)->name, "y");
    graph_release(&g);
    model_free(b);
}

/* A Dropout whose mask is read stays. */
static void test_dropout_mask(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    model_input(b, "x", DTYPE_F32, 1, 3);
    model_node(b, "Dropout", "x", "y mask");
    model_output(b, "y");
    model_output(b, "mask");
    struct graph g;
    struct error e;
    const float x[3] = {1, 2, 3};
    const void *in[1] = {x};
    void *out[2];
    model_build(b, &g);
    assert_int_equal(interpret(&g, in, out, &e), 0);
    assert_memory_equal(out[0], x, sizeof x);
    assert_memory_equal(out[1], "\1\1\1", 3);
    free(out[0]);
    free(out[1]);
    graph_release(&g);
    model_free(b);
}

/* Outputs keep their names and their own memory, wherever they come from. */
static void test_outputs(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    float c[2] = {5, 6};
    model_input(b, "x", DTYPE_F32, 1, 2);
    model_constant(b, "c", DTYPE_F32, &(struct shape){1, {2}}, c);
    model_node(b, "Identity", "x", "x3");
    model_node(b, "Identity", "c", "c2");
    model_node(b, "Neg", "x", "n");
    model_node(b, "Identity", "n", "n1");
    model_node(b, "Identity", "n", "n2");
    static const char *const names[] = {"x", "c", "c2", "n1", "n2", "x3"};
    for (int i = 0; i < 6; i++)
        model_output(b, names[i]);
    struct graph g;
    struct error e;
    char text[128];
    model_build(b, &g);
    assert_string_equal(model_list(&g, text, sizeof text), "Identity Neg Identity");
    const float x[2] = {1, 2}, minus[2] = {-1, -2};
    const void *in[1] = {x};
    void *out[6];
    const void *want[6] = {x, c, c, minus, minus, x};
    assert_int_equal(interpret(&g, in, out, &e), 0);
    for (int i = 0; i < 6; i++) {
        assert_string_equal(output_of(&g, i)->name, b->outputs[i].name);
        assert_true(output_of(&g, i)->is_output);
        assert_memory_equal(out[i], want[i], sizeof x);
        free(out[i]);
    }
    graph_release(&g);
    model_free(b);
}

static void test_reshape_chain(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    model_input(b, "x", DTYPE_F32, 3, 2, 3, 4);
    model_longs(b, "a", 1, 24);
    model_longs(b, "b", 2, -1, 4);
    model_node(b, "Relu", "x", "r");
    model_node(b, "Flatten", "r", "r1");
    model_node(b, "Reshape", "r1 a", "r2");
    model_node(b, "Reshape", "r2 b", "y");
    model_output(b, "y");
    expect_nodes(b, "Relu Reshape");
}

static void test_unread_nodes(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    model_input(b, "x", DTYPE_F32, 1, 2);
    model_node(b, "Neg", "x", "a");
    model_node(b, "Exp", "a", "b");
    model_node(b, "Relu", "x", "y");
    model_output(b, "y");
    expect_nodes(b, "Relu");
}

/* Small files that ask for a lot. */
static struct model_builder *giant(const char *op, const char *inputs)
{
    struct model_builder *b = model_new(17);
    int64_t sizes[4] = {1 << 20, 1 << 20, 1 << 20, 1 << 20};
    int64_t one = 1, zero = 0, far = INT64_MAX;
    model_input(b, "x", DTYPE_F32, 4, 1, 1, 1, 1);
    model_constant(b, "sizes", DTYPE_I64, &(struct shape){1, {4}}, sizes);
    model_constant(b, "three", DTYPE_I64, &(struct shape){1, {3}}, sizes);
    model_constant(b, "zero", DTYPE_I64, &(struct shape){0}, &zero);
    model_constant(b, "one", DTYPE_I64, &(struct shape){0}, &one);
    model_constant(b, "far", DTYPE_I64, &(struct shape){0}, &far);
    model_node(b, op, inputs, "y");
    model_output(b, "y");
    return b;
}

static void test_giants(void **state)
{
    (void)state;
    refuse(giant("Expand", "x sizes"), ERROR_MEMORY, "memory limit");
    refuse(giant("Tile", "x sizes"), ERROR_MEMORY, "memory limit");
    refuse(giant("ConstantOfShape", "sizes"), ERROR_MEMORY, "memory limit");
    refuse(giant("ConstantOfShape", "three"), ERROR_MEMORY, "memory limit");
    refuse(giant("Range", "zero far one"), ERROR_MEMORY, "memory limit");
    struct model_builder *b = model_new(17);
    int64_t pads[8] = {INT64_MAX, 0, 0, 0, INT64_MAX, 0, 0, 0};
    model_input(b, "x", DTYPE_F32, 4, 1, 1, 1, 1);
    model_constant(b, "p", DTYPE_I64, &(struct shape){1, {8}}, pads);
    model_node(b, "Pad", "x p", "y");
    refuse(b, ERROR_FORMAT, "pads 9223372036854775807");
    b = model_new(17);
    pads[0] = 1 << 30;
    pads[4] = 0;
    model_input(b, "x", DTYPE_F32, 4, 1, 1, 1, 1);
    model_constant(b, "p", DTYPE_I64, &(struct shape){1, {8}}, pads);
    model_node(b, "Pad", "x p", "y");
    refuse(b, ERROR_MEMORY, "memory limit");
}

/* Each constant is within the limit, all of them are not. */
static void test_many_constants(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    char name[16];
    model_longs(b, "s", 2, 1 << 12, 1 << 13);
    for (int i = 0; i < 6; i++) {
        snprintf(name, sizeof name, "c%d", i);
        model_node(b, "ConstantOfShape", "s", model_text(b, name));
    }
    refuse(b, ERROR_MEMORY, "constants computed at load exceed the memory limit");
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
        struct model_builder *b = model_new(17);
        model_input(b, "x", DTYPE_F32, 4, 1, 2, 5, 5);
        model_random(b, "w", 4, 4, 2, 3, 3);
        model_node(b, "Conv", "x w", "y");
        struct onnx_attribute *a = model_attribute(b, cases[i].attribute, ONNX_INTS);
        a->ints = cases[i].values;
        a->count = (size_t)cases[i].count;
        refuse(b, ERROR_FORMAT, cases[i].part);
    }
    struct model_builder *b = model_new(17);
    model_input(b, "x", DTYPE_F32, 4, 1, 3, 5, 5);
    model_random(b, "w", 4, 4, 2, 3, 3);
    model_node(b, "Conv", "x w", "y");
    refuse(b, ERROR_FORMAT, "input 1x3x5x5 does not fit weight 4x2x3x3 with group 1");
}

static void test_reshapes(void **state)
{
    (void)state;
    static const struct {
        int64_t to[3];
        int count;
    } bad[] = {{{5}, 1}, {{-1, -1}, 2}, {{-2, 3}, 2}, {{7, -1}, 2}, {{2, 3, 0}, 3}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct model_builder *b = model_new(17);
        model_input(b, "x", DTYPE_F32, 2, 2, 3);
        model_constant(b, "to", DTYPE_I64, &(struct shape){1, {bad[i].count}}, bad[i].to);
        model_node(b, "Reshape", "x to", "y");
        refuse(b, ERROR_FORMAT, "shape 2x3 cannot become");
    }
    struct model_builder *b = model_new(17);
    model_input(b, "x", DTYPE_F32, 2, 2, 3);
    model_input(b, "to", DTYPE_I64, 1, 2);
    model_node(b, "Reshape", "x to", "y");
    refuse(b, ERROR_UNSUPPORTED, "input 'shape' ('to') is computed at run time");
}

/* Dimensions of 0 with giant ones beside them: products of parts must not overflow. */
static void test_empty(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    model_input(b, "x", DTYPE_F32, 2, 0, 3);
    model_random(b, "w", 2, 3, 4);
    model_node(b, "MatMul", "x w", "p");
    model_node(b, "Relu", "p", "y");
    model_output(b, "y");
    struct graph g;
    struct error e;
    const void *in[1] = {""};
    void *out[1];
    model_build(b, &g);
    expect_shape(output_of(&g, 0), 2, 0, 4);
    assert_int_equal(interpret(&g, in, out, &e), 0);
    free(out[0]);
    graph_release(&g);
    model_free(b);
    b = model_new(17);
    int64_t sizes[3] = {0, (int64_t)1 << 40, (int64_t)1 << 40};
    model_constant(b, "s", DTYPE_I64, &(struct shape){1, {3}}, sizes);
    model_node(b, "ConstantOfShape", "s", "y");
    refuse(b, ERROR_MEMORY, "memory limit");
}

static void test_run_time_error(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    model_input(b, "i", DTYPE_I64, 1, 2);
    model_random(b, "table", 2, 4, 3);
    model_node(b, "Gather", "table i", "y")->name = "lookup";
    model_output(b, "y");
    struct graph g;
    struct error e;
    int64_t indices[2] = {-4, 3};
    const void *in[1] = {indices};
    void *out[1];
    model_build(b, &g);
    assert_int_equal(interpret(&g, in, out, &e), 0);
    free(out[0]);
    indices[1] = 4;
    assert_int_equal(interpret(&g, in, out, &e), ERROR_FORMAT);
    assert_null(out[0]);
    assert_string_equal(e.text, "memory.onnx: node 'lookup' (Gather): index 4 is outside a "
                                "dimension of 4");
    graph_release(&g);
    model_free(b);
}

static void test_feeds(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    model_input(b, "x", DTYPE_F32, 2, 2, 3);
    model_input(b, "to", DTYPE_I64, 1, 2);
    model_node(b, "Reshape", "x to", "r");
    model_node(b, "Neg", "r", "y");
    model_output(b, "y");
    int64_t to[2] = {3, -1};
    const struct graph_feed feed = {"to", {DTYPE_I64, {1, {2}}, to}};
    struct graph g;
    struct error e;
    assert_int_equal(graph_build_fed(&g, &b->model, NULL, 0, &feed, 1, MODEL_MEMORY, &e), 0);
    assert_int_equal(g.input_count, 1);
    expect_shape(output_of(&g, 0), 2, 3, 2);
    graph_release(&g);
    model_free(b);
}

static void test_editing(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    model_input(b, "x", DTYPE_F32, 1, 2);
    model_node(b, "Neg", "x", "a");
    model_node(b, "Add", "a a", "b");
    model_node(b, "Mul", "a b", "y");
    model_output(b, "y");
    struct graph g;
    model_build(b, &g);
    int a = g.nodes[0].outputs[0], sum = g.nodes[1].outputs[0], y = g.outputs[0];
    assert_int_equal(graph_uses(&g, a), 3);
    assert_int_equal(graph_single_user(&g, a), -1);
    assert_int_equal(graph_single_user(&g, sum), 2);
    assert_int_equal(graph_single_user(&g, y), -1);
    graph_replace(&g, sum, a);
    assert_int_equal(graph_uses(&g, sum), 0);
    assert_int_equal(graph_uses(&g, a), 4);
    graph_sweep(&g);
    assert_int_equal(g.node_count, 2);
    assert_int_equal(graph_uses(&g, a), 2);
    assert_int_equal(g.values[y].producer, 1);
    graph_replace(&g, y, a);
    graph_sweep(&g);
    assert_int_equal(g.node_count, 1);
    assert_int_equal(g.outputs[0], a);
    assert_true(g.values[a].is_output && !g.values[y].is_output);
    uint8_t *p = graph_memory(&g, 100);
    assert_true(p && (uintptr_t)p % 64 == 0 && !p[0] && !p[99]);
    assert_null(graph_memory(&g, MODEL_MEMORY));
    graph_release(&g);
    model_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_names),  cmocka_unit_test(test_operators_and_attributes),
        cmocka_unit_test(test_opsets),           cmocka_unit_test(test_dimensions),
        cmocka_unit_test(test_shape_chain),      cmocka_unit_test(test_folding),
        cmocka_unit_test(test_fold_budget),      cmocka_unit_test(test_copies),
        cmocka_unit_test(test_dropout_mask),     cmocka_unit_test(test_outputs),
        cmocka_unit_test(test_reshape_chain),    cmocka_unit_test(test_unread_nodes),
        cmocka_unit_test(test_giants),           cmocka_unit_test(test_many_constants),
        cmocka_unit_test(test_windows),          cmocka_unit_test(test_reshapes),
        cmocka_unit_test(test_empty),            cmocka_unit_test(test_run_time_error),
        cmocka_unit_test(test_feeds),            cmocka_unit_test(test_editing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
