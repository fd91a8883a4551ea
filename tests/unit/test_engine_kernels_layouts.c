/* Where values lie: Concat, Split and Transpose, and what outputs and constants may be. */
#include "engine_kernels.h"

#include <sys/mman.h>
#include <unistd.h>

static void concat_in_any_layout(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 10; i++) {
        struct sample s;
        begin(&s, i);
        int64_t c = i % 2 ? 8 : 5;
        int x = add_input(&s, SHAPE(1, c, 4, 5)), y = add_input(&s, SHAPE(1, c, 4, 5));
        if (i % 3)
            x = convolved(&s, x);
        with_int(&s, "axis", i % 4 ? 1 : 3);
        int z = ONNX(&s, "Concat", x, y, x);
        if (i % 4)
            z = convolved(&s, z);
        add_output(&s, z);
        check(&s, 0, 1e-5);
    }
}

static void concat_of_long_pieces(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 6; i++) {
        struct sample s;
        begin(&s, i);
        int64_t axis = i % 3, long_side = 600 + i;
        int x = add_input(&s, SHAPE(3, 4, long_side));
        int y = add_input(&s, SHAPE(axis ? 3 : 1, axis == 1 ? 9 : 4, axis == 2 ? 2000 : long_side));
        with_int(&s, "axis", axis);
        add_output(&s, ONNX(&s, "Concat", x, y, x));
        s.kernel = "rows:join";
        check(&s, 0, 0);
    }
}

/* Whole numbers, in long and in short pieces: the reference's. */
static void concat_of_whole_numbers(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        struct sample s;
        begin(&s, i);
        s.fast_only = 0;
        int x = add_input(&s, i ? SHAPE(2, 3) : SHAPE(2, 2000));
        int y = add_input(&s, i ? SHAPE(2, 5) : SHAPE(2, 3000));
        s.g.values[x].type = s.g.values[y].type = DTYPE_I64;
        with_int(&s, "axis", 1);
        add_output(&s, ONNX(&s, "Concat", x, y));
        check(&s, 0, 0);
    }
}

static void split(struct sample *s, int x, int64_t axis, int64_t first, int parts[2])
{
    const int64_t sizes[2] = {first, shape_at(s, x)->dims[axis] - first};
    const int in[2] = {x, add_longs(s, SHAPE(2), sizes)};
    with_int(s, "axis", axis);
    int index = onnx_outputs(s, "Split", 2, in, 3);
    memcpy(parts, s->g.nodes[index].outputs, 2 * sizeof *parts);
}

/* Where a part cuts through a block the reference takes over. */
static void split_into_channels(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 8; i++) {
        struct sample s;
        begin(&s, i);
        int64_t first = i % 4 == 3 ? 5 : 8;
        s.fast_only = first == 8;
        int x = add_input(&s, SHAPE(i / 4 + 1, 24, 5, 7));
        if (i % 2)
            x = convolved(&s, x);
        int parts[2];
        split(&s, x, 1, first, parts);
        add_output(&s, convolved(&s, parts[0]));
        add_output(&s, parts[1]);
        check(&s, 0, 1e-5);
    }
}

/* Rows are the reference's, and so is a part without channels. */
static void split_into_others(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        struct sample s;
        int parts[2];
        begin(&s, i);
        s.fast_only = 0;
        int x = add_input(&s, SHAPE(2, 8, 5, 7));
        if (i % 2)
            x = convolved(&s, x);
        split(&s, x, i < 2 ? 2 : 1, i < 2 ? 2 : 0, parts);
        add_output(&s, parts[0]);
        add_output(&s, parts[1]);
        check(&s, 0, 1e-5);
    }
}

/* Of what is row-major, blocked or transposed already; read by those who step through it, by those
 * who don't, and by nobody. */
static void transposes_in_any_order(void **state)
{
    (void)state;
    static const char *const readers[] = {"", "Relu", "MaxPool", "Softmax", "Add", "Flatten"};
    for (uint32_t i = 0; i < 72; i++) {
        struct sample s;
        int64_t perm[4];
        begin(&s, i);
        const char *reader = readers[i % 6];
        s.fast_only = 0;
        struct shape shape = SHAPE(between(&s, 1, 2), i % 4 ? 16 : 7, between(&s, 1, 6), 5);
        int x = i % 11 ? add_input(&s, shape) : add_constant(&s, shape);
        int y = i / 6 % 2 ? convolved(&s, x) : x;
        for (uint32_t k = 0; k < 1 + i / 12 % 2; k++) {
            random_order(&s, perm, 4);
            y = transposed(&s, y, perm);
        }
        int z = y;
        if (!strcmp(reader, "MaxPool"))
            with_ints(&s, "kernel_shape", 2, (int64_t[]){1, 1});
        if (!strcmp(reader, "Add"))
            z = ONNX(&s, "Add", y, add_input(&s, *shape_at(&s, y)));
        else if (*reader)
            z = ONNX(&s, reader, y);
        add_output(&s, z);
        if (i % 5 == 0)
            add_output(&s, x);
        if (i % 7 == 0 && z != y)
            add_output(&s, y);
        check(&s, 0, 1e-5);
    }
}

static void transposes_need_no_step(void **state)
{
    (void)state;
    struct sample s;
    begin(&s, 1);
    int x = add_input(&s, SHAPE(2, 5, 3, 4));
    int q = transposed(&s, x, (int64_t[]){0, 2, 1, 3});
    int k = transposed(&s, x, (int64_t[]){0, 2, 3, 1});
    add_output(&s, ONNX(&s, "MatMul", q, k));
    assert_int_equal(check_steps(&s, 1e-5), 1);
    finish(&s);
    begin(&s, 2); /* only ones change places: row-major again */
    x = transposed(&s, add_input(&s, SHAPE(2, 1, 5, 3)), (int64_t[]){0, 2, 1, 3});
    add_output(&s, ONNX(&s, "Softmax", x));
    assert_int_equal(check_steps(&s, 1e-5), 1);
    finish(&s);
}

static void outputs_may_be_inputs_constants_and_shared(void **state)
{
    (void)state;
    struct sample s;
    begin(&s, 2);
    int x = add_input(&s, SHAPE(1, 16, 4, 4)), y = convolved(&s, x);
    add_output(&s, ONNX(&s, "Relu", y));
    add_output(&s, y);
    add_output(&s, ONNX(&s, "Flatten", x));
    add_output(&s, x);
    add_output(&s, add_constant(&s, SHAPE(3)));
    check(&s, 0, 1e-5);
}

static void tensors_without_elements(void **state)
{
    (void)state;
    struct sample s;
    begin(&s, 3);
    s.fast_only = 0;
    struct attributes conv = {.spatial = 2, .kernel = {3, 3}, .strides = {1, 1},
                              .dilations = {1, 1}, .group = 1};
    int x = add_input(&s, SHAPE(0, 16, 4, 4)), w = add_constant(&s, SHAPE(16, 16, 3, 3));
    add_output(&s, NODE(&s, &op_fused_conv, conv, x, w));
    struct attributes linear = {.has_bias = 1};
    int z = add_input(&s, SHAPE(3, 0)), k = add_constant(&s, SHAPE(0, 4));
    add_output(&s, NODE(&s, &op_linear, linear, z, k, add_constant(&s, SHAPE(4))));
    add_output(&s, NODE(&s, &op_gelu, ((struct attributes){0}), z));
    check(&s, LINEAR_WAYS, 1e-5);
}

static int resident(const void *data, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = 0;
    uintptr_t begin = ((uintptr_t)data + page - 1) / page * page;
    unsigned char there[1024];
    size_t count = ((uintptr_t)data + bytes - begin) / page;
    assert_true(count <= sizeof there && !mincore((void *)begin, count * page, there));
    for (size_t i = 0; i < count; i++)
        pages += there[i] & 1;
    return pages > 0;
}

/* Packed weights leave memory, but not while a later node reads them where they lie. */
static void packed_weights_are_forgotten_when_nobody_needs_them(void **state)
{
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        struct sample s;
        begin(&s, 4);
        s.forget = 1;
        int x = add_input(&s, SHAPE(256, 256)), w = add_constant(&s, SHAPE(256, 256));
        int y = NODE(&s, &op_linear, ((struct attributes){0}), x, w);
        if (shared)
            y = ONNX(&s, "Add", y, w);
        add_output(&s, y);
        assert_true(resident(s.g.values[w].constant, 256 * 256 * 4));
        check_steps(&s, 2e-5);
        assert_int_equal(resident(s.g.values[w].constant, 256 * 256 * 4), shared);
        finish(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(concat_in_any_layout),
        cmocka_unit_test(concat_of_long_pieces),
        cmocka_unit_test(concat_of_whole_numbers),
        cmocka_unit_test(split_into_channels),
        cmocka_unit_test(split_into_others),
        cmocka_unit_test(transposes_in_any_order),
        cmocka_unit_test(transposes_need_no_step),
        cmocka_unit_test(outputs_may_be_inputs_constants_and_shared),
        cmocka_unit_test(tensors_without_elements),
        cmocka_unit_test(packed_weights_are_forgotten_when_nobody_needs_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
