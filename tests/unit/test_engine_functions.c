/* Functions of the file: walked in place of the nodes that name them. */
#include "engine_model.h"

#define FIXTURES "tests/fixtures/onnx/"

static const float two[] = {-1, 2};

/* A model with functions of domain "f"; the body is another model's nodes. */
struct functions {
    struct model_builder *b;
    struct model_builder *bodies[20];
    struct onnx_function list[20];
};

static void begin(struct functions *f)
{
    *f = (struct functions){.b = model_x(17, 1, 2)};
    f->b->model.functions = f->list;
}

/* Names in the order of the alphabet. Nodes are added to what is returned. */
static struct model_builder *add(struct functions *f, const char *name, const char *inputs,
                                 const char *outputs)
{
    size_t i = f->b->model.function_count++;
    struct model_builder *body = f->bodies[i] = model_new(17);
    f->list[i] = (struct onnx_function){.domain = "f", .name = name, .overload = "",
                                        .nodes = body->nodes};
    f->list[i].inputs = model_names(body, inputs, &f->list[i].input_count);
    f->list[i].outputs = model_names(body, outputs, &f->list[i].output_count);
    return body;
}

static struct onnx_node *call(struct model_builder *b, const char *name, const char *inputs,
                              const char *outputs)
{
    struct onnx_node *n = model_node(b, name, inputs, outputs);
    n->domain = "f";
    return n;
}

static void close_bodies(struct functions *f)
{
    for (size_t i = 0; i < f->b->model.function_count; i++)
        f->list[i].node_count = f->bodies[i]->model.node_count;
}

static void gives(struct functions *f, int count, const float *want)
{
    close_bodies(f);
    model_gives(f->b, two, count, want);
}

static void refuses(struct functions *f, enum error_code code, const char *text)
{
    close_bodies(f);
    model_refused(f->b, (int)code, text);
}

static void refer(struct model_builder *b, const char *name, int type, const char *to)
{
    model_attribute(b, name, type)->ref = to;
}

/* The same names inside and outside, two calls, and no node of a call left in the graph. */
static void test_call(void **state)
{
    (void)state;
    struct functions f;
    begin(&f);
    struct model_builder *body = add(&f, "Twice", "a", "y");
    model_node(body, "Add", "a a", "x");
    model_node(body, "Neg", "x", "y");
    call(f.b, "Twice", "x", "z");
    call(f.b, "Twice", "z", "y");
    model_output(f.b, "y");
    gives(&f, 2, (const float[]){-4, 8});
    const struct graph *g = model_build(f.b);
    graph_is(g, "Add Neg Add Neg");
    assert_string_equal(graph_output(g, 0)->name, "y");
}

static void test_scope(void **state)
{
    (void)state;
    struct functions f;
    begin(&f);
    model_node(add(&f, "Outer", "a", "y"), "Add", "a x", "y");
    call(f.b, "Outer", "x", "y");
    model_output(f.b, "y");
    refuses(&f, ERROR_FORMAT, "input 'x' is made by no node before this one");
}

/* From the call, by default, and left out altogether. */
static void test_attributes(void **state)
{
    (void)state;
    struct functions f;
    const struct onnx_attribute slope = {.name = "slope", .type = ONNX_FLOAT, .f = 0.5f};
    begin(&f);
    struct model_builder *body = add(&f, "Leak", "a", "y");
    model_node(body, "LeakyRelu", "a", "y");
    refer(body, "alpha", ONNX_FLOAT, "slope");
    call(f.b, "Leak", "x", "y");
    model_float(f.b, "slope", 0.25f);
    model_output(f.b, "y");
    gives(&f, 2, (const float[]){-0.25f, 2});
    f.b->nodes[0].attribute_count = 0;
    gives(&f, 2, (const float[]){-0.01f, 2});
    f.list[0].defaults = &slope;
    f.list[0].default_count = 1;
    gives(&f, 2, (const float[]){-0.5f, 2});
    model_int(f.b, "slope", 1);
    refuses(&f, ERROR_FORMAT, "attribute 'alpha' is of another type than 'slope'");
}

/* Handed on from function to function; also to a node in a branch. */
static void test_attributes_through(void **state)
{
    (void)state;
    struct functions f;
    begin(&f);
    struct model_builder *yes = model_new(17), *inner = add(&f, "Inner", "a", "y");
    model_node(yes, "LeakyRelu", "a", "r");
    refer(yes, "alpha", ONNX_FLOAT, "slope");
    model_output(yes, "r");
    model_node(inner, "Constant", "", "c");
    model_tensor(inner, "value", DTYPE_BOOL, &(struct shape){0}, "\1");
    model_node(inner, "If", "c", "y");
    model_graph(inner, "then_branch", yes);
    struct model_builder *outer = add(&f, "Outer", "a", "y");
    call(outer, "Inner", "a", "y");
    refer(outer, "slope", ONNX_FLOAT, "by");
    call(f.b, "Outer", "x", "y");
    model_float(f.b, "by", 3);
    model_output(f.b, "y");
    gives(&f, 2, (const float[]){-3, 2});
}

static void test_attribute_outside(void **state)
{
    (void)state;
    struct functions f;
    begin(&f);
    model_node(f.b, "LeakyRelu", "x", "y");
    refer(f.b, "alpha", ONNX_FLOAT, "slope");
    model_output(f.b, "y");
    refuses(&f, ERROR_FORMAT, "refers to 'slope' of a function, but is in none");
}

/* An input that the call leaves out is left out of the nodes inside. */
static void test_left_out(void **state)
{
    (void)state;
    struct functions f;
    begin(&f);
    model_scalar(f.b, "one", 1);
    struct model_builder *body = add(&f, "Limit", "a low high", "y");
    model_node(body, "Clip", "a low high", "y");
    call(f.b, "Limit", "x - one", "y");
    model_output(f.b, "y");
    gives(&f, 2, (const float[]){-1, 1});
    f.b->nodes[0].input_count = 1;
    gives(&f, 2, (const float[]){-1, 2});
    model_node(body, "Relu", "low", "z");
    refuses(&f, ERROR_FORMAT, "0 inputs where 1 to 1 are expected");
    body->model.node_count--;
    f.list[0].outputs = model_names(body, "low", &f.list[0].output_count);
    refuses(&f, ERROR_FORMAT, "output 'low' is made by no node");
}

static void test_too_many(void **state)
{
    (void)state;
    struct functions f;
    begin(&f);
    model_node(add(&f, "One", "a", "y"), "Relu", "a", "y");
    call(f.b, "One", "x x", "y");
    model_output(f.b, "y");
    refuses(&f, ERROR_FORMAT, "2 inputs and 1 outputs of a function with 1 and 1");
    struct onnx_node *n = model_reads(f.b, "y", "x");
    n->outputs = model_names(f.b, "y z", &n->output_count);
    refuses(&f, ERROR_FORMAT, "1 inputs and 2 outputs of a function with 1 and 1");
}

/* Each function in its own opset: ReduceSum's axes were an attribute before opset 13. */
static void test_opset(void **state)
{
    (void)state;
    struct functions f;
    begin(&f);
    struct model_builder *body = add(&f, "Sum", "a", "y");
    model_node(body, "ReduceSum", "a", "y");
    model_ints(body, "axes", 1, 0);
    f.list[0].opset = 11;
    call(f.b, "Sum", "x", "y");
    model_output(f.b, "y");
    gives(&f, 1, (const float[]){1});
    f.list[0].opset = 0;
    refuses(&f, ERROR_UNSUPPORTED, "attribute 'axes' is not known");
}

static void test_recursion(void **state)
{
    (void)state;
    struct functions f;
    begin(&f);
    call(add(&f, "A", "a", "y"), "B", "a", "y");
    call(add(&f, "B", "a", "y"), "A", "a", "y");
    call(f.b, "A", "x", "y");
    model_output(f.b, "y");
    refuses(&f, ERROR_FORMAT, "the function calls itself");
}

static void test_depth(void **state)
{
    (void)state;
    static const char *const names[] = {"A", "B", "C", "D", "E", "F", "G", "H", "I", "J",
                                        "K", "L", "M", "N", "O", "P", "Q"};
    struct functions f;
    begin(&f);
    for (int i = 0; i < 17; i++) {
        struct model_builder *body = add(&f, names[i], "a", "y");
        if (i < 16)
            call(body, names[i + 1], "a", "y");
        else
            model_node(body, "Neg", "a", "y");
    }
    struct onnx_node *first = call(f.b, "B", "x", "y");
    model_output(f.b, "y");
    gives(&f, 2, (const float[]){1, -2});
    first->op_type = "A";
    refuses(&f, ERROR_UNSUPPORTED, "functions call each other deeper than 16");
}

/* A sequence is no input that was left out. */
static void test_sequence_as_input(void **state)
{
    (void)state;
    struct functions f;
    begin(&f);
    struct model_builder *body = add(&f, "Join", "a", "y");
    model_node(body, "ConcatFromSequence", "a", "y");
    model_int(body, "axis", 0);
    model_node(f.b, "SequenceConstruct", "x x", "s");
    call(f.b, "Join", "s", "y");
    model_output(f.b, "y");
    gives(&f, 4, (const float[]){-1, 2, -1, 2});
}

static void test_graph_as_attribute(void **state)
{
    (void)state;
    struct functions f;
    begin(&f);
    struct model_builder *yes = model_new(17), *body = add(&f, "Choose", "a", "y");
    model_node(yes, "Neg", "x", "r");
    model_output(yes, "r");
    model_node(body, "Constant", "", "c");
    model_tensor(body, "value", DTYPE_BOOL, &(struct shape){0}, "\1");
    model_node(body, "If", "c", "y");
    refer(body, "then_branch", ONNX_GRAPH, "branch");
    refer(body, "else_branch", ONNX_GRAPH, "branch");
    call(f.b, "Choose", "x", "y");
    model_graph(f.b, "branch", yes);
    model_output(f.b, "y");
    refuses(&f, ERROR_UNSUPPORTED, "a graph is handed to a function");
}

/* 60 calls of a function that calls another 60 times, and so on: more nodes than there may be. */
static void test_blow_up(void **state)
{
    (void)state;
    static const char *const names[] = {"A", "B", "C", "D"};
    struct functions f;
    begin(&f);
    for (int i = 0; i < 4; i++) {
        struct model_builder *body = add(&f, names[i], "v0", "v60");
        for (int k = 0; k < 60; k++) {
            const char *from = model_text(body, "v%d", k), *to = model_text(body, "v%d", k + 1);
            if (i < 3)
                call(body, names[i + 1], from, to);
            else
                model_node(body, "Neg", from, to);
        }
    }
    call(f.b, "A", "x", "y");
    model_output(f.b, "y");
    refuses(&f, ERROR_UNSUPPORTED, "nodes in branches, loops and calls");
}

/* What the engine knows itself is not redefined; nor are the nodes that are put in by it. */
static void test_standard_operator(void **state)
{
    (void)state;
    struct functions f;
    begin(&f);
    struct model_builder *body = add(&f, "Identity", "a", "y");
    model_node(body, "Neg", "a", "y");
    f.list[0].domain = "";
    model_node(f.b, "Identity", "x", "y");
    model_output(f.b, "y");
    gives(&f, 2, two);
}

/* As the reference library wrote it, with a function in a function and two overloads. */
static void test_file(void **state)
{
    (void)state;
    struct onnx_model *m;
    struct graph g;
    struct error e;
    const void *inputs[] = {two};
    void *outputs[1];
    if (onnx_open(FIXTURES "functions.onnx", &m, &e) ||
        graph_build(&g, m, NULL, 0, MODEL_MEMORY, &e) || interpret(&g, inputs, outputs, &e))
        fail_msg("%s", e.text);
    assert_int_equal(g.values[g.outputs[0]].shape.rank, 0);
    assert_true(*(float *)outputs[0] == 4.25f); /* 0.5 * 0.5 + 2 * 2 */
    free(outputs[0]);
    graph_release(&g);
    onnx_close(m);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_call),          cmocka_unit_test(test_scope),
    cmocka_unit_test(test_attributes),    cmocka_unit_test(test_attributes_through),
    cmocka_unit_test(test_attribute_outside), cmocka_unit_test(test_left_out),
    cmocka_unit_test(test_too_many),      cmocka_unit_test(test_opset),
    cmocka_unit_test(test_depth),         cmocka_unit_test(test_sequence_as_input),
    cmocka_unit_test(test_graph_as_attribute),
    cmocka_unit_test(test_recursion),     cmocka_unit_test(test_blow_up),
    cmocka_unit_test(test_standard_operator), cmocka_unit_test(test_file),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, models_free);
}
