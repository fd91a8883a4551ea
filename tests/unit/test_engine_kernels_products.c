/* Linear layers and MatMul, also of transposed values. */
#include "engine_kernels.h"

static void check_linear(struct sample *s, struct shape x_shape, int64_t n, struct attributes a)
{
    int64_t k = x_shape.dims[x_shape.rank - 1];
    struct shape y = x_shape;
    y.dims[y.rank - 1] = n;
    int x = add_input(s, x_shape);
    int w = add_constant(s, a.trans_b ? SHAPE(n, k) : SHAPE(k, n));
    int bias = a.has_bias ? add_constant(s, SHAPE(n)) : NO_VALUE;
    int residual = a.has_residual ? add_input(s, y) : NO_VALUE;
    add_output(s, NODE(s, &op_linear, a, x, w, bias, residual));
    check(s, LINEAR_WAYS, 2e-5);
}

static void linear_of_any_shape(void **state)
{
    (void)state;
    struct sample s;
    for (uint32_t i = 0; i < 40; i++) {
        begin(&s, i);
        struct attributes a = {.trans_b = (int)draw(&s, 2), .has_bias = (int)draw(&s, 2),
                               .has_residual = draw(&s, 3) == 0, .low = -0.25f, .high = 0.5f,
                               .activation = (enum activation)draw(&s, ACT_FUSED_LAST + 1)};
        int64_t m = between(&s, 1, 70), k = between(&s, 1, 130), n = between(&s, 1, 130);
        check_linear(&s, i % 3 ? SHAPE(m, k) : SHAPE(2, m, k), n, a);
    }
}

static void products_of_computed_values(void **state)
{
    (void)state;
    struct sample s;
    for (uint32_t i = 0; i < 12; i++) {
        begin(&s, i);
        int64_t m = between(&s, 1, 40), k = between(&s, 1, 40), n = between(&s, 1, 40);
        int x = add_input(&s, i % 2 ? SHAPE(2, 3, m, k) : SHAPE(m, k));
        int w = add_input(&s, i % 3 ? SHAPE(k, n) : SHAPE(3, k, n));
        add_output(&s, ONNX(&s, "MatMul", x, w));
        check(&s, 0, 2e-5);
    }
}

/* No product of matrices, or a C that is no row: the reference's. */
static void gemms_of_any_kind(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 20; i++) {
        struct sample s;
        begin(&s, i);
        s.fast_only = 0;
        int64_t k = between(&s, 1, 20), n = between(&s, 2, 20);
        const struct shape summands[] = {SHAPE(n), SHAPE(n, 1), SHAPE(n, n), SHAPE(1, n), SHAPE(1)};
        int x = add_input(&s, i % 2 ? SHAPE(k, n) : SHAPE(n, k));
        int w = add_constant(&s, i / 2 % 2 ? SHAPE(n, k) : SHAPE(k, n));
        with_int(&s, "transA", i % 2);
        with_int(&s, "transB", i / 2 % 2);
        add_output(&s, ONNX(&s, "Gemm", x, w, add_constant(&s, summands[i / 4])));
        check(&s, LINEAR_WAYS, 2e-5);
    }
}

static void products_of_vectors(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 6; i++) {
        struct sample s;
        begin(&s, i);
        s.fast_only = 0;
        const struct shape pairs[3][2] = {{SHAPE(9), SHAPE(9, 5)}, {SHAPE(4, 9), SHAPE(9)},
                                          {SHAPE(9), SHAPE(9)}};
        int x = add_input(&s, pairs[i / 2][0]);
        int w = i % 2 ? add_input(&s, pairs[i / 2][1]) : add_constant(&s, pairs[i / 2][1]);
        add_output(&s, ONNX(&s, "MatMul", x, w));
        check(&s, LINEAR_WAYS, 2e-5);
    }
}

static void products_of_transposed_values(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 24; i++) {
        struct sample s;
        int64_t perm[4];
        begin(&s, i);
        int64_t dims[4] = {2, 3, between(&s, 1, 30), between(&s, 1, 30)}, n = between(&s, 1, 30);
        random_order(&s, perm, 4);
        struct shape from = {.rank = 4};
        for (int k = 0; k < 4; k++)
            from.dims[perm[k]] = dims[k];
        int x = transposed(&s, add_input(&s, from), perm);
        int w = i % 2 ? add_input(&s, SHAPE(dims[3], n))
                      : transposed(&s, add_input(&s, SHAPE(n, dims[3])), (int64_t[]){1, 0});
        add_output(&s, ONNX(&s, "MatMul", x, w));
        check(&s, 0, 2e-5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_of_any_shape),
        cmocka_unit_test(products_of_computed_values),
        cmocka_unit_test(gemms_of_any_kind),
        cmocka_unit_test(products_of_vectors),
        cmocka_unit_test(products_of_transposed_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
