/* Passes on products: MatMul, Gemm and Einsum become a Linear or a plain product. */
#include "engine_passes.h"

static void test_linear(void **state)
{
    (void)state;
    static const char *const activations[] = {"Relu", "Tanh", "Sigmoid"};
    for (int i = 0; i < 3; i++) {
        struct model_builder *b = model_x(17, 3, 2, 5, 7);
        model_input(b, "r", DTYPE_F32, 3, 2, 5, 9);
        model_random(b, "w", 2, 7, 9);
        model_random(b, "c", 3, 1, 1, 9);
        model_node(b, "MatMul", "x w", "p");
        model_node(b, "Add", "c p", "q");
        model_node(b, "Add", "r q", "s");
        model_node(b, activations[i], "s", "y");
        model_output(b, "y");
        passes_give(b, model_text(b, "MatMul+Add+Add+%s", activations[i]), 1e-5);
    }
}

/* alpha and beta go into the constants; a C that is a column stays with Gemm. */
static void test_gemm(void **state)
{
    (void)state;
    for (int column = 0; column < 2; column++) {
        struct model_builder *b = model_x(17, 2, 4, 6);
        model_random(b, "w", 2, 6, 5);
        model_random(b, "c", 2, column ? 4 : 1, column ? 1 : 5);
        model_node(b, "Gemm", "x w c", "p");
        model_float(b, "alpha", 0.5f);
        model_float(b, "beta", -2);
        model_node(b, "Relu", "p", "y");
        model_output(b, "y");
        passes_give(b, column ? "Gemm Relu" : "Gemm+Relu", 1e-5);
    }
}

/* An Add that broadcasts the product is no bias. */
static void test_no_bias(void **state)
{
    (void)state;
    struct model_builder *b = model_x(17, 2, 1, 6);
    model_random(b, "w", 2, 6, 5);
    model_random(b, "c", 2, 4, 5);
    model_random(b, "d", 3, 1, 1, 5);
    model_node(b, "MatMul", "x w", "p");
    model_node(b, "Add", "p c", "y");
    model_node(b, "MatMul", "x w", "q");
    model_node(b, "Add", "q d", "z");
    model_output(b, "y");
    model_output(b, "z");
    passes_give(b, "MatMul Add MatMul Add", 1e-5);
}

/* What is no row of biases or factors, and a second row. */
static void test_nearly_linear(void **state)
{
    (void)state;
    static const struct shape row = {1, {5}}, column = {2, {5, 1}}, deep = {3, {1, 1, 5}};
    static const struct {
        const char *op;
        const struct shape *shape;
        const char *nodes;
    } cases[] = {
        {"Add", &row, "Gemm Add"},    {"Add", &column, "Gemm Add"}, {"Add", &deep, "Gemm Add"},
        {"Mul", &column, "Gemm Mul"}, {"Mul", &deep, "Gemm Mul"},   {"Mul", &row, "Gemm+Mul"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model_builder *b = model_x(17, 2, 5, 6);
        model_random(b, "w", 2, 6, 5);
        model_random(b, "c", 1, 5);
        float *d = model_constant(b, "d", DTYPE_F32, cases[i].shape, NULL);
        for (int k = 0; k < 5; k++)
            d[k] = model_next(b);
        model_node(b, "Gemm", "x w c", "p");
        model_node(b, cases[i].op, "p d", "y");
        model_output(b, "y");
        passes_give(b, cases[i].nodes, 1e-5);
    }
    for (int i = 0; i < 3; i++) { /* turned; C a column as long as a row; both computed */
        struct model_builder *b = model_x(17, 2, 5, 5);
        if (i == 2)
            model_input(b, "c", DTYPE_F32, 1, 5);
        else
            model_random(b, "c", 2, i ? 5 : 1, i ? 1 : 5);
        model_random(b, "w", 2, 5, 5);
        model_node(b, "Gemm", "x w c", "y");
        model_int(b, "transA", i == 0);
        model_output(b, "y");
        graph_is(passed(b, 1e-5), "Gemm");
    }
}

/* Equation, shapes and what is left of it. A third tensor, a diagonal and a sum within one tensor
 * are left to the operator. */
static void test_einsum(void **state)
{
    (void)state;
    static const struct {
        const char *equation, *nodes;
        int x[4], w[4];
    } cases[] = {
        {"bik,bjk->bij", "Transpose MatMul Reshape", {2, 3, 4}, {2, 5, 4}},
        {"bihd,bjhd->bhij", "Transpose Transpose MatMul Reshape", {2, 3, 4, 5}, {2, 6, 4, 5}},
        {"bhij,bjhd->bihd", "Transpose MatMul Transpose Reshape", {2, 3, 4, 5}, {2, 5, 3, 6}},
        {"...ij,jk", "Reshape MatMul Reshape", {2, 3, 4, 5}, {5, 6}},
        {"bsd,hdk->bhsk", "Reshape Transpose Reshape MatMul Reshape Transpose Reshape",
         {2, 3, 4}, {5, 4, 6}},
        {"bij,bij->bij", "Reshape Reshape Mul Reshape", {2, 3, 4}, {2, 3, 4}},
        {"i,j->ij", "Reshape Reshape MatMul Reshape", {3}, {4}},
        {"ij,ij->", "Reshape Reshape MatMul Reshape", {3, 4}, {3, 4}},
        {"ij,ji->j", "Einsum", {3, 4}, {4, 3}},
        {"ii,ij->j", "Einsum", {3, 3}, {3, 4}},
        {"ij,jk->k", "Einsum", {3, 4}, {4, 5}},
        {"bij->bji", "Transpose Reshape", {2, 3, 4}, {0}},
        {"bij->b", "Einsum", {2, 3, 4}, {0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model_builder *b = model_new(17);
        const int *shapes[2] = {cases[i].x, cases[i].w};
        for (int o = 0; o < 2 && shapes[o][0]; o++) {
            const int *d = shapes[o];
            int rank = d[1] == 0 ? 1 : d[2] == 0 ? 2 : d[3] == 0 ? 3 : 4;
            model_input(b, o ? "w" : "x", DTYPE_F32, rank, d[0], d[1], d[2], d[3]);
        }
        model_node(b, "Einsum", *cases[i].w ? "x w" : "x", "y");
        model_string(b, "equation", cases[i].equation);
        model_output(b, "y");
        graph_is(passed(b, 1e-5), cases[i].nodes);
    }
}

/* A constant matrix becomes a Linear's weights, turned at load. */
static void test_einsum_weights(void **state)
{
    (void)state;
    struct model_builder *b = model_x(17, 3, 2, 5, 6);
    model_random(b, "w", 2, 7, 6);
    model_node(b, "Einsum", "x w", "y");
    model_string(b, "equation", "bsd,kd->bsk");
    model_node(b, "Relu", "y", "z");
    model_output(b, "z");
    passes_give(b, "Reshape MatMul Reshape Relu", 1e-5);
}

/* Three tensors; more labels than a product has dimensions. */
static void test_einsum_left_alone(void **state)
{
    (void)state;
    for (int adds_label = 0; adds_label < 2; adds_label++) {
        struct model_builder *b = model_x(17, 2, 3, 4);
        model_input(b, "w", DTYPE_F32, 2, 4, 5);
        model_input(b, "v", DTYPE_F32, 2, adds_label ? 5 : 3, adds_label ? 2 : 5);
        model_node(b, "Einsum", "x w v", "y");
        model_string(b, "equation", adds_label ? "ij,jk,kl->il" : "ij,jk,ik->ik");
        model_output(b, "y");
        graph_is(passed(b, 1e-5), "Einsum");
    }
    struct model_builder *b = model_x(17, 8, 2, 2, 2, 2, 2, 2, 2, 1024);
    model_input(b, "w", DTYPE_F32, 8, 2, 2, 2, 2, 2, 2, 2, 1024);
    model_node(b, "Einsum", "x w", "y");
    model_string(b, "equation", "abcdefgk,abcdefgk->abcdefg");
    model_output(b, "y");
    graph_is(passed(b, 1e-4), "Einsum");
}

static void test_layer_scale(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct model_builder *b = model_x(17, 2, 5, 7);
        model_input(b, "r", DTYPE_F32, 2, 5, 9);
        model_random(b, "w", 2, i & 1 ? 9 : 7, i & 1 ? 7 : 9);
        model_random(b, "c", 1, 9);
        model_random(b, "s", 1, 9);
        model_node(b, i & 1 ? "Gemm" : "MatMul", i & 1 && i & 2 ? "x w c" : "x w", "p");
        if (i & 1)
            model_int(b, "transB", 1);
        if (i == 2)
            model_node(b, "Add", "p c", "q");
        model_node(b, "Mul", i == 2 ? "s q" : "p s", "t");
        model_node(b, "Add", "t r", "y");
        model_output(b, "y");
        passes_give(b, i == 2  ? "MatMul+Add+Mul+Add"
                       : i & 1 ? "Gemm+Mul+Add"
                               : "MatMul+Mul+Add", 1e-5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_gemm),
        cmocka_unit_test(test_no_bias),
        cmocka_unit_test(test_nearly_linear),
        cmocka_unit_test(test_einsum),
        cmocka_unit_test(test_einsum_weights),
        cmocka_unit_test(test_einsum_left_alone),
        cmocka_unit_test(test_layer_scale),
    };
    return cmocka_run_group_tests(tests, NULL, models_free);
}
