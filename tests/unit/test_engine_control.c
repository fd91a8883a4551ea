/* Branches, loops and sequences: walked in place when what decides is known, refused when not. */
#include "engine_model.h"

/* For x = 1, 2, 3... */
static void gives(struct model_builder *b, int count, const float *want)
{
    static const float x[] = {1, 2, 3, 4, 5, 6};
    model_gives(b, x, count, want);
}

static struct model_builder *branch(const char *op, const char *inputs, const char *output)
{
    struct model_builder *b = model_new(17);
    model_node(b, op, inputs, output);
    model_output(b, output);
    return b;
}

/* The rank of x decides. Both branches name their output alike, and read x from around them. */
static void branch_of_a_shape(int rank, const float *want)
{
    struct model_builder *b = model_new(17), *yes = branch("Neg", "x", "r"),
                         *no = branch("Add", "x x", "r");
    model_input(b, "x", DTYPE_F32, rank, 1, 2);
    model_longs(b, "two", 1, 2);
    model_node(b, "Shape", "x", "s");
    model_node(b, "Shape", "s", "rank");
    model_node(b, "Equal", "rank two", "c");
    model_node(b, "If", "c", "y");
    model_graph(b, "then_branch", yes);
    model_graph(b, "else_branch", no);
    model_output(b, "y");
    gives(b, rank, want);
}

static void test_if(void **state)
{
    (void)state;
    branch_of_a_shape(2, (const float[]){-1, -2});
    branch_of_a_shape(1, (const float[]){2});
}

static void test_if_on_data(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17), *yes = branch("Neg", "x", "r");
    model_input(b, "x", DTYPE_F32, 1, 1);
    model_scalar(b, "zero", 0);
    model_node(b, "Greater", "x zero", "c");
    model_node(b, "If", "c", "y");
    model_graph(b, "then_branch", yes);
    model_graph(b, "else_branch", yes);
    model_output(b, "y");
    model_refused(b, ERROR_UNSUPPORTED, "the condition ('c') is computed at run time");
}

/* x is doubled in every turn, and each turn's number and value are collected. */
static struct model_builder *loop_body(const char *condition)
{
    struct model_builder *b = model_new(17);
    model_input(b, "i", DTYPE_I64, 0);
    model_input(b, "go", DTYPE_BOOL, 0);
    model_input(b, "v", DTYPE_F32, 1, 1);
    model_node(b, "Add", "v v", "w");
    model_node(b, "Identity", "w", "kept");
    model_scalar(b, "three", 3);
    model_node(b, "Cast", "i", "turn");
    model_int(b, "to", DTYPE_F32);
    model_node(b, "Less", "turn three", "less");
    model_output(b, condition);
    model_output(b, "w");
    model_output(b, "kept");
    return b;
}

static struct model_builder *loop_model(const struct model_builder *body, int turns,
                                        const char *inputs, const char *output)
{
    struct model_builder *b = model_new(17);
    const uint8_t yes = 1;
    model_input(b, "x", DTYPE_F32, 1, 1);
    model_long(b, "turns", turns);
    model_constant(b, "yes", DTYPE_BOOL, &(struct shape){0}, &yes);
    model_node(b, "Loop", inputs, turns ? "last all" : "last -");
    model_graph(b, "body", body);
    model_output(b, output);
    return b;
}

static void test_loop(void **state)
{
    (void)state;
    float all[70];
    struct model_builder *body = loop_body("go"), *b = loop_model(body, 3, "turns yes x", "last");
    gives(b, 1, (const float[]){8});
    b = loop_model(body, 70, "turns yes x", "all"); /* more than one Concat takes */
    for (int i = 0; i < 70; i++)
        all[i] = ldexpf(2, i);
    gives(b, 70, all);
    b = loop_model(body, 0, "turns yes x", "last");
    gives(b, 1, (const float[]){1});
    body = loop_body("less"); /* its own condition ends it: turns 0 to 3 */
    b = loop_model(body, 70, "turns yes x", "last");
    gives(b, 1, (const float[]){16});
    b = loop_model(body, 70, "- - x", "last");
    gives(b, 1, (const float[]){16});
}

static void test_endless_loop(void **state)
{
    (void)state;
    struct model_builder *body = loop_body("go"), *b = loop_model(body, 1, "- yes x", "last");
    model_refused(b, ERROR_UNSUPPORTED, "nodes in branches, loops and calls");
}

static void test_nothing_collected(void **state)
{
    (void)state;
    struct model_builder *body = loop_body("go"), *b = loop_model(body, 0, "turns yes x", "last");
    struct onnx_node *loop = model_maker(b, "last");
    loop->outputs = model_names(b, "last all", &loop->output_count);
    model_refused(b, ERROR_UNSUPPORTED, "a sequence of no tensors");
}

/* Running sums of the elements of x. */
static struct model_builder *scan_body(int rank)
{
    struct model_builder *b = model_new(17);
    model_input(b, "s", DTYPE_F32, rank, 2);
    model_input(b, "e", DTYPE_F32, rank, 2);
    model_node(b, "Add", "s e", "sum");
    model_node(b, "Identity", "sum", "kept");
    model_output(b, "sum");
    model_output(b, "kept");
    return b;
}

static struct model_builder *scan_model(const struct model_builder *body, const char *output)
{
    struct model_builder *b = model_x(17, 1, 3);
    model_scalar(b, "zero", 0);
    model_node(b, "Scan", "zero x", "last all");
    model_graph(b, "body", body);
    model_int(b, "num_scan_inputs", 1);
    model_output(b, output);
    return b;
}

static void test_scan(void **state)
{
    (void)state;
    struct model_builder *body = scan_body(0), *b = scan_model(body, "last");
    gives(b, 1, (const float[]){6});
    b = scan_model(body, "all");
    gives(b, 3, (const float[]){1, 3, 6});
    model_ints(b, "scan_input_directions", 1, 1);
    gives(b, 3, (const float[]){3, 5, 6});
    model_ints(b, "scan_output_directions", 1, 1);
    gives(b, 3, (const float[]){6, 5, 3});
    b->model.opset = 9;
    gives(b, 3, (const float[]){6, 5, 3});
}

/* Columns in, and columns out. */
static void test_scan_axes(void **state)
{
    (void)state;
    struct model_builder *body = scan_body(1), *b = model_x(17, 2, 2, 3);
    model_floats(b, "zero", 2, 0.0, 0.0);
    model_node(b, "Scan", "zero x", "last all");
    model_graph(b, "body", body);
    model_int(b, "num_scan_inputs", 1);
    model_ints(b, "scan_input_axes", 1, -1);
    model_ints(b, "scan_output_axes", 1, 1);
    model_output(b, "all");
    gives(b, 6, (const float[]){1, 3, 6, 4, 9, 15});
}

static void test_scan_errors(void **state)
{
    (void)state;
    struct model_builder *body = scan_body(0), *b = scan_model(body, "all");
    model_ints(b, "scan_input_axes", 1, 1);
    model_refused(b, ERROR_FORMAT, "axis 1 of an input of rank 1");
    b->nodes[0].attribute_count = 2;
    model_ints(b, "scan_output_axes", 2, 0, 0);
    model_refused(b, ERROR_FORMAT, "attribute 'scan_output_axes' is not a list of 1 numbers");
    b->nodes[0].attribute_count = 1;
    model_int(b, "num_scan_inputs", 3);
    model_refused(b, ERROR_FORMAT, "does not fit inputs and outputs");
    b->nodes[0].attribute_count = 1;
    model_int(b, "num_scan_inputs", 2);
    model_refused(b, ERROR_FORMAT, "axis 0 of an input of rank 0");
    b->nodes[0].attribute_count = 1;
    model_int(b, "num_scan_inputs", 1);
    b->model.opset = 8;
    model_refused(b, ERROR_UNSUPPORTED, "Scan of opset 8");
    b->model.opset = 17;
    b->inputs[0].dims[0].value = 1 << 20;
    model_refused(b, ERROR_UNSUPPORTED, "nodes in branches, loops and calls");
    b->inputs[0].dims[0].value = 0;
    model_refused(b, ERROR_UNSUPPORTED, "a sequence of no tensors");
}

/* Before opset 13 what is squeezed was an attribute: elements keep their other dimension of 1. */
static void test_old_scan(void **state)
{
    (void)state;
    struct model_builder *b = model_x(9, 2, 3, 1), *body = scan_body(1);
    model_floats(b, "zero", 1, 0.0);
    model_node(b, "Scan", "zero x", "last all");
    model_graph(b, "body", body);
    model_int(b, "num_scan_inputs", 1);
    model_output(b, "all");
    gives(b, 3, (const float[]){1, 3, 6});
    assert_int_equal(graph_output(model_build(b), 0)->shape.rank, 2);
}

/* Inputs that are taken apart together are as long as each other. */
static void test_scan_lengths(void **state)
{
    (void)state;
    struct model_builder *b = model_x(17, 1, 3), *body = scan_body(0);
    model_random(b, "more", 1, 4);
    model_node(b, "Scan", "more x", "last all");
    model_graph(b, "body", body);
    model_int(b, "num_scan_inputs", 2);
    model_output(b, "all");
    model_refused(b, ERROR_FORMAT, "inputs of lengths 4 and 3");
}

static void test_sequences(void **state)
{
    (void)state;
    struct model_builder *b = model_x(17, 2, 2, 3);
    model_long(b, "minus", -1);
    model_longs(b, "sizes", 2, 1, 2);
    model_node(b, "SplitToSequence", "x sizes", "s"); /* 1 4 | 2 3 5 6 */
    model_int(b, "axis", 1);
    model_node(b, "SequenceAt", "s minus", "t");
    model_node(b, "Neg", "t", "u");
    model_node(b, "SequenceInsert", "s u", "s1");
    model_node(b, "SequenceErase", "s1 minus", "s2");
    model_node(b, "SequenceInsert", "s2 u minus", "s3");
    model_node(b, "ConcatFromSequence", "s3", "y");
    model_int(b, "axis", 1);
    model_output(b, "y");
    gives(b, 10, (const float[]){1, -2, -3, 2, 3, 4, -5, -6, 5, 6});
}

/* Pieces of one size, the last one smaller; keepdims is for those of size 1 only. */
static void test_pieces(void **state)
{
    (void)state;
    struct model_builder *b = model_x(17, 2, 2, 3);
    model_long(b, "two", 2);
    model_long(b, "minus", -1);
    model_node(b, "SplitToSequence", "x two", "s"); /* 1 2 4 5 | 3 6 */
    model_int(b, "axis", 1);
    model_int(b, "keepdims", 0);
    model_node(b, "SequenceAt", "s minus", "t");
    model_node(b, "SequenceInsert", "s t", "s1");
    model_node(b, "ConcatFromSequence", "s1", "y");
    model_int(b, "axis", 1);
    model_output(b, "y");
    gives(b, 8, (const float[]){1, 2, 3, 3, 4, 5, 6, 6});
    static const int sizes[][2] = {{2, 2}, {1, 1}, {4, -1}, {-1, 4}};
    for (int i = 0; i < 4; i++) {
        b = model_x(17, 1, 3);
        model_longs(b, "sizes", 2, sizes[i][0], sizes[i][1]);
        model_node(b, "SplitToSequence", "x sizes", "s");
        model_node(b, "ConcatFromSequence", "s", "y");
        model_int(b, "axis", 0);
        model_output(b, "y");
        model_refused(b, ERROR_FORMAT, "the pieces do not add up to the dimension");
    }
}

static void test_map_in_step(void **state)
{
    (void)state;
    struct model_builder *b = model_x(17, 1, 1), *body = model_new(17);
    model_input(body, "e", DTYPE_F32, 1, 1);
    model_input(body, "f", DTYPE_F32, 1, 1);
    model_node(body, "Add", "e f", "g");
    model_output(body, "g");
    model_node(b, "SequenceConstruct", "x x", "two");
    model_node(b, "SequenceConstruct", "x x x", "three");
    model_node(b, "SequenceMap", "two three", "s");
    model_graph(b, "body", body);
    model_node(b, "ConcatFromSequence", "s", "y");
    model_int(b, "axis", 0);
    model_output(b, "y");
    gives(b, 2, (const float[]){2, 2});
    model_reads(b, "s", "three two");
    model_refused(b, ERROR_FORMAT, "input 1 is missing or too short");
}

static void test_sequence_errors(void **state)
{
    (void)state;
    struct model_builder *b = model_x(17, 1, 3);
    model_node(b, "SequenceConstruct", "x x", "s");
    model_output(b, "s");
    model_refused(b, ERROR_UNSUPPORTED, "output 's' is a sequence of tensors");
    model_node(b, "Relu", "s", "y");
    model_refused(b, ERROR_UNSUPPORTED, "input 's' is a sequence of tensors");
    b->model.node_count--;
    model_longs(b, "two", 1, 2);
    model_node(b, "SequenceAt", "s two", "y");
    model_refused(b, ERROR_FORMAT, "place 2 of a sequence of 2");
    b->model.node_count--;
    model_node(b, "SequenceLength", "x", "y");
    model_refused(b, ERROR_FORMAT, "input 'x' is not a sequence");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_if),           cmocka_unit_test(test_if_on_data),
    cmocka_unit_test(test_loop),         cmocka_unit_test(test_endless_loop),
    cmocka_unit_test(test_nothing_collected),
    cmocka_unit_test(test_scan),         cmocka_unit_test(test_scan_axes),
    cmocka_unit_test(test_scan_errors),  cmocka_unit_test(test_old_scan),
    cmocka_unit_test(test_scan_lengths), cmocka_unit_test(test_pieces),
    cmocka_unit_test(test_map_in_step),
    cmocka_unit_test(test_sequences),    cmocka_unit_test(test_sequence_errors),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, models_free);
}
