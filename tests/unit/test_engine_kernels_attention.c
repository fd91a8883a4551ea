/* Attention, Softmax and rotary embeddings. */
#include "engine_kernels.h"

#include "engine/rows.h"

static void check_attention(uint32_t seed, int64_t batch, int64_t length, int64_t heads,
                            int64_t width, int mask_kind)
{
    struct sample s;
    begin(&s, seed);
    const struct shape masks[] = {SHAPE(length), SHAPE(batch, 1, 1, length),
                                  SHAPE(1, heads, length, length), SHAPE(length, length),
                                  SHAPE(batch, heads, 1, length), SHAPE(length, 1)};
    struct attributes a = {.heads = heads, .scale = 0.7f};
    s.fast_only = mask_kind < 5; /* a mask without rows is the reference's */
    int x = add_input(&s, SHAPE(batch, length, 3 * heads * width)), y;
    if (mask_kind < 0)
        y = NODE(&s, &op_attention, a, x);
    else
        y = NODE(&s, &op_attention, a, x, add_input(&s, masks[mask_kind]));
    add_output(&s, y);
    check(&s, 0, 2e-5);
}

static void attention_of_any_shape(void **state)
{
    (void)state;
    struct sample random = {.random = 1};
    for (uint32_t i = 0; i < 24; i++)
        check_attention(i, between(&random, 1, 3), between(&random, 1, 40), between(&random, 1, 5),
                        between(&random, 1, 33), (int)draw(&random, 7) - 1);
    check_attention(99, 1, 128, 4, 64, 1);
}

/* Queries, keys and values apart, several heads of queries to one of keys, masks of all kinds. */
static void attention_operator_of_any_shape(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 30; i++) {
        struct sample s;
        begin(&s, i);
        s.opset = 23;
        with_int(&s, "is_causal", i % 3 == 2);
        int64_t n = between(&s, 1, 2), groups = between(&s, 1, 3), each = between(&s, 1, 3);
        int64_t rows = between(&s, 1, 20), keys = between(&s, 2, 30), depth = between(&s, 1, 20);
        int in[4] = {add_input(&s, SHAPE(n, groups * each, rows, depth)),
                     add_input(&s, SHAPE(n, groups, keys, depth)),
                     add_input(&s, SHAPE(n, groups, keys, between(&s, 1, 20))), NO_VALUE};
        if (i % 4)
            in[3] = i % 4 == 1 ? add_input(&s, SHAPE(rows, keys))
                               : add_input(&s, SHAPE(n, i % 4 == 2 ? 1 : groups * each, 1, keys));
        add_output(&s, onnx_value(&s, "Attention", i % 4 ? 4 : 3, in));
        check(&s, 0, 2e-5);
    }
}

/* Masks that hide: some keys, all but one, all, none. What is not a number stays so. */
static void attention_operator_hides_keys(void **state)
{
    (void)state;
    enum { ROWS = 5, KEYS = 7 };
    for (uint32_t i = 0; i < 4; i++) {
        struct sample s;
        begin(&s, i);
        s.opset = 23;
        int in[4] = {add_constant(&s, SHAPE(1, 2, ROWS, 4)), add_input(&s, SHAPE(1, 2, KEYS, 4)),
                     add_input(&s, SHAPE(1, 2, KEYS, 3)), NO_VALUE};
        float *mask = graph_memory(&s.g, ROWS * KEYS * sizeof *mask);
        uint8_t *seen = graph_memory(&s.g, ROWS * KEYS);
        for (int k = 0; k < ROWS * KEYS; k++) {
            int row = k / KEYS, column = k % KEYS;
            seen[k] = row < 2 ? column == 0 : row == 2 ? 0 : row == 3 ? 1 : (uint8_t)draw(&s, 2);
            mask[k] = seen[k] ? 0.5f : -INFINITY;
        }
        constant_data(&s, in[0])[0] = NAN;
        const struct shape shape = SHAPE(ROWS, KEYS);
        in[3] = i % 2 ? graph_add_constant(&s.g, "seen", DTYPE_BOOL, &shape, seen)
                      : graph_add_constant(&s.g, "mask", DTYPE_F32, &shape, mask);
        with_int(&s, "is_causal", i / 2);
        add_output(&s, onnx_value(&s, "Attention", 4, in));
        check(&s, 0, 2e-5);
    }
}

enum rare_attention { SHORT_MASK, CAPPED, HANDED_OUT, WITH_PAST, SIDE_BY_SIDE, RARE_ATTENTIONS };

/* The reference's: a mask for the first keys only, a cap on scores, keys and values as
 * outputs, earlier ones as inputs, and heads of rank 3. */
static void attention_operator_with_rare_settings(void **state)
{
    (void)state;
    for (uint32_t kind = 0; kind < RARE_ATTENTIONS; kind++) {
        struct sample s;
        begin(&s, kind);
        s.opset = 23;
        s.fast_only = 0;
        int in[6] = {NO_VALUE, NO_VALUE, NO_VALUE, NO_VALUE, NO_VALUE, NO_VALUE};
        for (int i = 0; i < 3; i++)
            in[i] = add_input(&s, kind == SIDE_BY_SIDE ? SHAPE(2, 5, 8) : SHAPE(2, 2, 5, 4));
        if (kind == SHORT_MASK)
            in[3] = add_input(&s, SHAPE(5, 3));
        if (kind == CAPPED)
            with_float(&s, "softcap", 0.5f);
        for (int i = 4; kind == WITH_PAST && i < 6; i++)
            in[i] = add_input(&s, SHAPE(2, 2, 3, 4));
        if (kind == SIDE_BY_SIDE) {
            with_int(&s, "q_num_heads", 2);
            with_int(&s, "kv_num_heads", 2);
        }
        int all = kind == HANDED_OUT || kind == WITH_PAST;
        int node = onnx_outputs(&s, "Attention", kind == WITH_PAST ? 6 : 4, in, all ? 7 : 1);
        for (int i = 0; i < (all ? 3 : 1); i++)
            add_output(&s, s.g.nodes[node].outputs[i]);
        check(&s, 0, 2e-5);
    }
}

/* Heads beside one another before and after, as models have them. */
static void attention_operator_between_transposes(void **state)
{
    (void)state;
    static const int64_t apart[4] = {0, 2, 1, 3};
    for (uint32_t i = 0; i < 24; i++) {
        struct sample s;
        begin(&s, i);
        s.opset = 23;
        int64_t n = between(&s, 1, 2), groups = between(&s, 1, 3), each = i % 3 ? 1 : 2;
        int64_t rows = between(&s, 1, 20), keys = between(&s, 2, 30), depth = between(&s, 1, 20);
        int in[3] = {transposed(&s, add_input(&s, SHAPE(n, rows, groups * each, depth)), apart),
                     transposed(&s, add_input(&s, SHAPE(n, keys, groups, depth)), apart),
                     transposed(&s, add_input(&s, SHAPE(n, keys, groups, 8)), apart)};
        with_int(&s, "is_causal", i % 2);
        int y = onnx_value(&s, "Attention", 3, in);
        add_output(&s, i % 4 ? transposed(&s, y, apart) : y);
        if (i % 4 == 2)
            add_output(&s, y);
        check(&s, 0, 2e-5);
    }
}

static void softmax_of_any_width(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 20; i++) {
        struct sample s;
        begin(&s, i);
        with_int(&s, "axis", i % 5 == 4 ? 1 : -1);
        int64_t width = between(&s, i % 5 == 4 ? 65 : 1, 300);
        int x = add_input(&s, SHAPE(between(&s, 1, 50), i < 10 ? 7 : 70, width));
        add_output(&s, ONNX(&s, "Softmax", x));
        check(&s, 0, 1e-5);
    }
}

static void softmax_survives_extremes(void **state)
{
    (void)state;
    float x[5] = {1e30f, -1e30f, 3.0f, -INFINITY, 1e30f}, y[5];
    row_softmax(x, 1.0f, NULL, y, 5);
    const float want[5] = {0.5f, 0, 0, 0, 0.5f};
    for (int i = 0; i < 5; i++)
        assert_float_equal(y[i], want[i], 1e-7);
    float mask[3] = {0, -3.4028235e38f, 0}, z[3] = {0, 100, 0};
    row_softmax(z, 2.0f, mask, z, 3);
    assert_float_equal(z[0], 0.5, 1e-6);
    assert_float_equal(z[1], 0, 1e-6);
    for (int i = 0; i < 5; i++)
        x[i] = -80.0f * (float)i;
    row_softmax(x, 1.0f, NULL, y, 5);
    assert_float_equal(y[0], 1, 1e-6);
    assert_true(y[1] > 0 && y[1] < 2e-35f);
}

/* Columns whose largest numbers are far above the others, whichever row they are in. */
static void softmax_of_columns_survives_extremes(void **state)
{
    (void)state;
    struct sample s;
    begin(&s, 1);
    int x = add_constant(&s, SHAPE(2, 5, 40));
    for (int i = 0; i < 2 * 5 * 40; i++)
        constant_data(&s, x)[i] *= 500;
    with_int(&s, "axis", 1);
    add_output(&s, ONNX(&s, "Softmax", x));
    check(&s, 0, 1e-5);
}

static void rotary_of_any_shape(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 30; i++) {
        struct sample s;
        begin(&s, i);
        int64_t n = between(&s, 1, 2), heads = between(&s, 1, 4), rows = between(&s, 1, 90);
        int64_t depth = 2 * between(&s, 1, 40);
        const struct shape lying[] = {SHAPE(n, heads, rows, depth), SHAPE(n, rows, heads, depth),
                                      SHAPE(n, heads, depth, rows)};
        static const int64_t perms[][4] = {{0, 1, 2, 3}, {0, 2, 1, 3}, {0, 1, 3, 2}};
        int x = add_input(&s, lying[i % 3]);
        if (i % 3)
            x = transposed(&s, x, perms[i % 3]);
        const struct shape tables[] = {SHAPE(rows, depth), SHAPE(n, 1, rows, depth), SHAPE(depth),
                                       SHAPE(1, 1, rows, depth), SHAPE(rows, depth / 2)};
        struct shape table = tables[draw(&s, 5)];
        int cosine = add_constant(&s, table), sine = add_input(&s, table);
        int y = NODE(&s, &op_rotary, ((struct attributes){0}), x, cosine, sine);
        add_output(&s, NODE(&s, &op_rotary, ((struct attributes){0}), y, cosine, sine));
        if (i % 5 == 0)
            add_output(&s, x);
        check(&s, 0, 1e-5);
    }
}

static void rotary_operator_of_any_shape(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 16; i++) {
        struct sample s;
        begin(&s, i);
        s.opset = 23;
        int64_t n = between(&s, 1, 2), heads = between(&s, 1, 4), rows = between(&s, 1, 70);
        int64_t half = between(&s, 1, 30);
        int x = add_input(&s, i % 2 ? SHAPE(n, rows, heads * half * 2)
                                    : SHAPE(n, heads, rows, half * 2));
        with_int(&s, "interleaved", i / 2 % 2);
        if (i % 2)
            with_int(&s, "num_heads", heads);
        int cosine = add_input(&s, SHAPE(n, rows, half));
        int sine = add_constant(&s, SHAPE(n, rows, half));
        add_output(&s, ONNX(&s, "RotaryEmbedding", x, cosine, sine));
        check(&s, 0, 1e-5);
    }
}

/* A part of each head that is turned, and places that are not in order: the reference's. */
static void rotary_operator_with_rare_settings(void **state)
{
    (void)state;
    static const int64_t places[2 * 5] = {4, 3, 2, 1, 0, 0, 2, 4, 6, 7};
    for (uint32_t i = 0; i < 2; i++) {
        struct sample s;
        begin(&s, i);
        s.opset = 23;
        s.fast_only = 0;
        int64_t half = i ? 4 : 2;
        const struct shape table = i ? SHAPE(8, half) : SHAPE(2, 5, half);
        const int in[] = {add_input(&s, SHAPE(2, 3, 5, 8)), add_constant(&s, table),
                          add_constant(&s, table), add_longs(&s, SHAPE(2, 5), places)};
        if (!i)
            with_int(&s, "rotary_embedding_dim", 2 * half);
        add_output(&s, onnx_value(&s, "RotaryEmbedding", i ? 4 : 3, in));
        check(&s, 0, 1e-5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_of_any_shape),
        cmocka_unit_test(attention_operator_of_any_shape),
        cmocka_unit_test(attention_operator_hides_keys),
        cmocka_unit_test(attention_operator_with_rare_settings),
        cmocka_unit_test(attention_operator_between_transposes),
        cmocka_unit_test(softmax_of_any_width),
        cmocka_unit_test(softmax_survives_extremes),
        cmocka_unit_test(softmax_of_columns_survives_extremes),
        cmocka_unit_test(rotary_of_any_shape),
        cmocka_unit_test(rotary_operator_of_any_shape),
        cmocka_unit_test(rotary_operator_with_rare_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
