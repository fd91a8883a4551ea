/* The reader and the writer on good files: each other's, and those of the reference library. */
#include "model_files.h"

#include <errno.h>

static struct onnx_model *open_model(const char *path)
{
    struct onnx_model *m = NULL;
    if (onnx_open(path, &m, &err))
        fail_msg("%s", err.text);
    return m;
}

static void expect_data(const struct onnx_model *m, const char *name, enum dtype type,
                        const void *data, size_t size)
{
    const struct onnx_initializer *init = onnx_initializer_find(m, name);
    assert_non_null(init);
    assert_int_equal(init->tensor.type, type);
    assert_int_equal(shape_bytes(&init->tensor.shape, type), size);
    assert_int_equal((uintptr_t)init->tensor.data % dtype_size(type), 0);
    assert_memory_equal(init->tensor.data, data, size);
}

#define EXPECT(m, name, type, ...)                                                                 \
    expect_data(m, name, type, __VA_ARGS__, sizeof(__VA_ARGS__))

static void typed_data_is_decoded(void **state)
{
    (void)state;
    struct onnx_model *m = open_model(FIXTURES "typed.onnx");
    EXPECT(m, "f32", DTYPE_F32, (float[]){1.5f, -2});
    EXPECT(m, "f64", DTYPE_F64, (double[]){1.5, -2});
    EXPECT(m, "i8", DTYPE_I8, (int8_t[]){-3, 4});
    EXPECT(m, "u8", DTYPE_U8, (uint8_t[]){3, 255});
    EXPECT(m, "i16", DTYPE_I16, (int16_t[]){-3, 4});
    EXPECT(m, "u16", DTYPE_U16, (uint16_t[]){3, 65535});
    EXPECT(m, "i32", DTYPE_I32, (int32_t[]){-3, 4});
    EXPECT(m, "i64", DTYPE_I64, (int64_t[]){-3, (int64_t)1 << 40});
    EXPECT(m, "u32", DTYPE_U32, (uint32_t[]){3, UINT32_MAX});
    EXPECT(m, "u64", DTYPE_U64, (uint64_t[]){3, (uint64_t)1 << 63});
    EXPECT(m, "bool", DTYPE_BOOL, (uint8_t[]){1, 0});
    EXPECT(m, "f16", DTYPE_F16, (uint16_t[]){0x3e00, 0xc000});
    EXPECT(m, "bf16", DTYPE_BF16, (uint16_t[]){0x3fc0, 0xc000});
    assert_int_equal(m->initializer_count, 13);
    assert_null(onnx_initializer_find(m, "f3"));
    onnx_close(m);
}

static void attributes_are_read(void **state)
{
    (void)state;
    struct onnx_model *m = open_model(FIXTURES "attributes.onnx");
    const struct onnx_node *n = &m->nodes[0];
    assert_string_equal(m->producer, "onnx");
    assert_int_equal(m->opset, 17);
    assert_int_equal(m->node_count, 2);
    assert_string_equal(n->name, "odd");
    assert_string_equal(n->domain, "com.example");
    assert_int_equal(n->input_count, 3);
    assert_string_equal(n->inputs[1], "");
    assert_true(onnx_attribute_find(n, "f")->f == 0.5f);
    assert_int_equal(onnx_attribute_find(n, "i")->i, -7);
    assert_string_equal(onnx_attribute_find(n, "s")->s, "text");
    assert_int_equal(onnx_attribute_find(n, "s")->s_size, 4);
    assert_int_equal(onnx_attribute_find(n, "fs")->count, 2);
    assert_true(onnx_attribute_find(n, "fs")->floats[1] == 2.5f);
    assert_int_equal(onnx_attribute_find(n, "is_")->count, 3);
    assert_int_equal(onnx_attribute_find(n, "is_")->ints[1], -4);
    assert_int_equal(onnx_attribute_find(n, "ss")->count, 2);
    assert_string_equal(onnx_attribute_find(n, "ss")->strings[1], "bc");
    assert_int_equal(onnx_attribute_find(n, "g")->type, ONNX_GRAPH);
    assert_null(onnx_attribute_find(n, "none"));
    const struct tensor *t = &onnx_attribute_find(n, "t")->tensor;
    assert_int_equal(t->type, DTYPE_I64);
    assert_memory_equal(t->data, ((int64_t[]){7, 8, 9}), 24);
    assert_string_equal(m->nodes[1].domain, "");
    assert_string_equal(m->nodes[1].name, "");
    assert_int_equal(m->inputs[0].rank, 3);
    assert_string_equal(m->inputs[0].dims[0].symbol, "N");
    assert_int_equal(m->inputs[0].dims[0].value, -1);
    assert_int_equal(m->inputs[0].dims[1].value, 3);
    assert_null(m->inputs[0].dims[1].symbol);
    assert_string_equal(m->inputs[0].dims[2].symbol, "");
    onnx_close(m);
}

static void functions_are_read(void **state)
{
    (void)state;
    struct onnx_model *m = open_model(FIXTURES "functions.onnx");
    assert_int_equal(m->function_count, 3);
    const struct onnx_function *f = onnx_function_find(m, "f", "Leak", NULL);
    assert_non_null(f);
    assert_ptr_equal(f, onnx_function_find(m, "f", "Leak", ""));
    assert_int_equal(f->opset, 17);
    assert_int_equal(f->input_count, 2);
    assert_string_equal(f->inputs[1], "bias");
    assert_int_equal(f->output_count, 1);
    assert_string_equal(f->outputs[0], "y");
    assert_int_equal(f->node_count, 2);
    assert_int_equal(f->default_count, 1);
    assert_string_equal(f->defaults[0].name, "slope");
    assert_true(f->defaults[0].f == 0.5f);
    const struct onnx_attribute *alpha = onnx_attribute_find(&f->nodes[0], "alpha");
    assert_string_equal(alpha->ref, "slope");
    assert_int_equal(alpha->type, ONNX_FLOAT);
    assert_null(onnx_attribute_find(&f->nodes[1], "transB")->ref);
    assert_string_equal(onnx_function_find(m, "f", "Leak", "other")->overload, "other");
    assert_int_equal(onnx_function_find(m, "f", "Twice", NULL)->opset, 18);
    assert_null(onnx_function_find(m, "f", "Leak", "none"));
    assert_null(onnx_function_find(m, "", "Leak", NULL));
    onnx_close(m);
}

static void inputs_with_data_are_not_inputs(void **state)
{
    (void)state;
    struct onnx_model *m = open_model(FIXTURES "ir3.onnx");
    assert_int_equal(m->ir_version, 3);
    assert_int_equal(m->opset, 7);
    assert_int_equal(m->input_count, 1);
    assert_string_equal(m->inputs[0].name, "x");
    onnx_close(m);
}

static void other_types_are_unknown(void **state)
{
    (void)state;
    struct onnx_model *m = open_model(FIXTURES "sequence.onnx");
    assert_int_equal(m->inputs[0].type, DTYPE_NONE);
    assert_int_equal(m->inputs[0].rank, -1);
    assert_int_equal(m->inputs[1].type, DTYPE_I64);
    assert_int_equal(m->inputs[1].rank, 0);
    onnx_close(m);
}

static void external_data_is_mapped(void **state)
{
    (void)state;
    struct onnx_model *m = open_model(FIXTURES "external.onnx");
    EXPECT(m, "a", DTYPE_F32, (float[]){1, 2});
    EXPECT(m, "b", DTYPE_F32, (float[]){3, 4});
    assert_int_equal(m->file_bytes, 179 + 17);
    onnx_close(m);
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    finish(small_model(), "small.onnx");
    struct onnx_model *m = open_model(path_of("small.onnx"));
    assert_string_equal(m->path, path_of("small.onnx"));
    assert_string_equal(m->producer, "wattle");
    assert_int_equal(m->ir_version, 8);
    assert_int_equal(m->opset, 17);
    assert_int_equal(m->node_count, 2);
    assert_string_equal(m->nodes[0].op_type, "Conv");
    assert_string_equal(m->nodes[0].outputs[0], "y");
    assert_int_equal(m->nodes[0].attribute_count, 3);
    assert_int_equal(onnx_attribute_find(&m->nodes[0], "strides")->count, 2);
    assert_string_equal(onnx_attribute_find(&m->nodes[0], "auto_pad")->s, "NOTSET");
    assert_string_equal(m->nodes[1].inputs[1], "");
    assert_true(onnx_attribute_find(&m->nodes[1], "ignored")->f == 0.25f);
    EXPECT(m, "w", DTYPE_F32, (float[]){1, 2, 3, 4, 5, 6});
    EXPECT(m, "six", DTYPE_F32, (float[]){6});
    assert_string_equal(onnx_metadata_find(m, "wattle.dim.N"), "1");
    assert_null(onnx_metadata_find(m, "wattle.dim"));
    assert_int_equal(m->outputs[0].dims[1].value, 2);
    onnx_close(m);
}

static void fill_count(const void *context, uint64_t first, size_t count, void *out)
{
    uint64_t *to = out, start = *(const uint64_t *)context;
    for (size_t i = 0; i < count; i++)
        to[i] = start + first + i;
}

/* Sizes around the places where a length takes one more byte, and around a piece of the stream:
 * the size foretold is the size written, data is aligned and as it was filled. */
static void every_size_is_aligned(void **state)
{
    (void)state;
    static const int64_t sizes[] = {0, 1, 2, 7, 8, 9, 14, 15, 16, 2031, 2040, 2047, 2048, 32767,
                                    32768, 32769, 100000, 262143, 262144};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    char name[SIZES][100];
    struct onnx_writer *w = onnx_writer_new("sizes");
    for (uint64_t i = 0; i < SIZES; i++) {
        struct shape shape = {.rank = 1, .dims = {sizes[i]}};
        snprintf(name[i], sizeof name[i], "%0*d", (int)(1 + 4 * i), (int)i);
        onnx_writer_initializer(w, name[i], DTYPE_U64, &shape, fill_count, &i, sizeof i);
    }
    uint64_t foretold = onnx_writer_bytes(w);
    finish(w, "sizes.onnx");
    struct onnx_model *m = open_model(path_of("sizes.onnx"));
    assert_int_equal(m->file_bytes, foretold);
    for (uint64_t i = 0; i < SIZES; i++) {
        const struct onnx_initializer *init = onnx_initializer_find(m, name[i]);
        const uint64_t *data = init->tensor.data;
        assert_int_equal((uintptr_t)data % 64, 0);
        for (int64_t k = 0; k < sizes[i]; k++)
            if (data[k] != i + (uint64_t)k)
                fail_msg("element %lld of %s", (long long)k, name[i]);
    }
    onnx_close(m);
}

static void alignment_holds_for_every_remainder(void **state)
{
    (void)state;
    char name[201] = "";
    for (int length = 1; length <= 200; length++) {
        struct onnx_writer *w = onnx_writer_new("g");
        uint64_t zero = 0;
        memset(name, 'n', (size_t)length);
        for (int64_t elements = 1; elements < 30; elements += 7) {
            struct shape shape = {.rank = 1, .dims = {elements}};
            name[0] = (char)('a' + elements);
            onnx_writer_initializer(w, name, DTYPE_U64, &shape, fill_count, &zero, sizeof zero);
        }
        finish(w, "r.onnx");
        struct onnx_model *m = open_model(path_of("r.onnx"));
        for (size_t i = 0; i < m->initializer_count; i++)
            assert_int_equal((uintptr_t)m->initializers[i].tensor.data % 64, 0);
        onnx_close(m);
    }
}

static void unaligned_data_is_copied(void **state)
{
    (void)state;
    finish(small_model(), "small.onnx");
    size_t size;
    char *bytes = read_bytes(path_of("small.onnx"), &size);
    /* A producer name longer by one moves everything after it by one. */
    char *moved = malloc(size + 1);
    memcpy(moved, bytes, 4);
    moved[3] = (char)(bytes[3] + 1);
    moved[4] = '_';
    memcpy(moved + 5, bytes + 4, size - 4);
    write_bytes("moved.onnx", moved, size + 1);
    struct onnx_model *m = open_model(path_of("moved.onnx"));
    assert_string_equal(m->producer, "_wattle");
    EXPECT(m, "w", DTYPE_F32, (float[]){1, 2, 3, 4, 5, 6});
    onnx_close(m);
    free(bytes);
    free(moved);
}

static void a_full_disk_is_an_error(void **state)
{
    (void)state;
    char hex[65];
    uint64_t zero = 0;
    struct shape shape = {.rank = 1, .dims = {1 << 20}};
    struct onnx_writer *w = small_model();
    onnx_writer_initializer(w, "large", DTYPE_U64, &shape, fill_count, &zero, sizeof zero);
    FILE *full = fopen("/dev/full", "wb");
    if (!full)
        skip();
    assert_int_equal(onnx_writer_finish(w, full, hex, &err), ERROR_IO);
    assert_non_null(strstr(err.text, strerror(ENOSPC)));
    fclose(full);
    onnx_writer_free(w);
}

static void closing_nothing_is_fine(void **state)
{
    (void)state;
    onnx_close(NULL);
    onnx_writer_free(NULL);
    struct onnx_model *m = (void *)1;
    assert_int_equal(onnx_open(path_of("absent.onnx"), &m, &err), ERROR_IO);
    assert_null(m);
    assert_non_null(strstr(err.text, "absent.onnx"));
    assert_int_equal(onnx_open(folder, &m, &err), ERROR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(typed_data_is_decoded),
        cmocka_unit_test(attributes_are_read),
        cmocka_unit_test(functions_are_read),
        cmocka_unit_test(inputs_with_data_are_not_inputs),
        cmocka_unit_test(other_types_are_unknown),
        cmocka_unit_test(external_data_is_mapped),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(every_size_is_aligned),
        cmocka_unit_test(alignment_holds_for_every_remainder),
        cmocka_unit_test(unaligned_data_is_copied),
        cmocka_unit_test(a_full_disk_is_an_error),
        cmocka_unit_test(closing_nothing_is_fine),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
