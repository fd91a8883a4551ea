/* What a file with one of PyTorch's endings holds: by the names of its members alone. */
#include "test.h"

#include "model/format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zip.h>

static char folder[] = "/tmp/wattle-test-XXXXXX";
static char path[64];
static struct error err;

static void write_zip(const char *const *names)
{
    int code;
    unlink(path);
    zip_t *z = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &code);
    assert_non_null(z);
    for (; *names; names++) {
        zip_source_t *s = zip_source_buffer(z, "x", 1, 0);
        assert_true(zip_file_add(z, *names, s, ZIP_FL_OVERWRITE) >= 0);
    }
    assert_int_equal(zip_close(z), 0);
}

static void write_bytes(const void *bytes, size_t size)
{
    unlink(path); /* a file that is written over is flushed to the disk */
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static int read_format(const char **format)
{
    err = (struct error){0};
    int result = format_of_torch(path, format, &err);
    assert_int_equal(result, err.code);
    assert_true(result ? !*format && err.text[0] : *format != NULL);
    return result;
}

static void members_tell(void **context)
{
    (void)context;
    static const struct {
        const char *names[4], *format;
        int code;
    } table[] = {
        {{"m/data/aotinductor/model/a.wrapper.so", "m/archive_format"}, "aoti", 0},
        {{"m/data/weights/weight_0", "m/models/model.json", "m/archive_format"}, "exported", 0},
        {{"serialized_exported_program.json", "version"}, "exported", 0},
        {{"m/data.pkl", "m/code/__torch__.py", "m/version"}, "torchscript", 0},
        {{"m/data.pkl", "m/data/0", "m/version"}, NULL, ERROR_UNSUPPORTED}, /* weights */
        {{"readme", "m/x.json"}, NULL, ERROR_FORMAT},
        {{"decode/x", "m/mycode/x"}, NULL, ERROR_FORMAT},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const char *format;
        write_zip(table[i].names);
        assert_int_equal(read_format(&format), table[i].code);
        if (table[i].format)
            assert_string_equal(format, table[i].format);
        if (table[i].code == ERROR_UNSUPPORTED)
            assert_non_null(strstr(err.text, "pickled"));
    }
}

static void other_files_are_told_apart(void **context)
{
    (void)context;
    const char *format;
    write_bytes("\x80\x02\x8a\x0al\xfc\x9c", 7); /* as torch.save once wrote */
    assert_int_equal(read_format(&format), ERROR_UNSUPPORTED);
    write_bytes("hello", 5);
    assert_int_equal(read_format(&format), ERROR_FORMAT);
    write_bytes("", 0);
    assert_int_not_equal(read_format(&format), 0);
    unlink(path);
    assert_int_not_equal(read_format(&format), 0);
    assert_non_null(strstr(err.text, path));
}

static void damage_never_crashes(void **context)
{
    (void)context;
    static const char *const names[] = {"m/data.pkl", "m/code/__torch__.py", NULL};
    uint8_t whole[4096], bytes[4096];
    const char *format;
    write_zip(names);
    FILE *f = fopen(path, "rb");
    size_t size = f ? fread(whole, 1, sizeof whole, f) : 0;
    assert_true(f && size > 100 && size < sizeof whole);
    fclose(f);
    for (size_t n = 0; n < size; n += 3) {
        write_bytes(whole, n);
        read_format(&format);
    }
    for (size_t i = 0; i < size; i++) {
        memcpy(bytes, whole, size);
        bytes[i] ^= 0xff;
        write_bytes(bytes, size);
        read_format(&format);
    }
}

static int is_quantised(const char *format, const char *text)
{
    write_bytes(text, strlen(text));
    return format_is_quantised(path, format);
}

#define LAYER(type, data)                                                                         \
    "<net name=\"n\" version=\"11\"><layers><layer id=\"0\" name=\"a>b\" type=\"" type             \
    "\" version=\"opset1\"><data " data "/></layer></layers></net>"

static void few_bits_of_openvino(void **context)
{
    (void)context;
    assert_int_equal(format_is_quantised("tests/fixtures/openvino/relu.xml", "ir"), 0);
    assert_int_equal(format_is_quantised("tests/fixtures/openvino/bytes.xml", "ir"), 1);
    assert_int_equal(is_quantised("ir", LAYER("FakeQuantize", "levels=\"256\"")), 1);
    assert_int_equal(is_quantised("ir", LAYER("Const", "element_type=\"nf4\" shape=\"9\"")), 1);
    assert_int_equal(is_quantised("ir", LAYER("Const", "shape=\"9\" element_type=\"f16\"")), 0);
    assert_int_equal(is_quantised("ir", LAYER("Const", "my_element_type=\"i8\"")), 0);
    assert_int_equal(is_quantised("ir", LAYER("Parameter", "element_type=\"u8\"")), 0);
    assert_int_equal(is_quantised("ir", "<net name='n'><!-- <layer type=\"FakeQuantize\" /> -->"),
                     0);
    const char *const others[] = {"", "<", "<net", "<!--", "<html><body></body></html>",
                                  "\xff\xfe<"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(is_quantised("ir", others[i]), -1);
    assert_int_equal(format_is_quantised("/nowhere.xml", "ir"), -1);
    assert_int_equal(format_is_quantised("/nowhere.onnx", "onnx"), 0);
}

static void few_bits_of_tensorflow(void **context)
{
    (void)context;
    assert_int_equal(format_is_quantised("tests/fixtures/openvino/relu.tflite", "tflite"), 0);
    assert_int_equal(format_is_quantised("tests/fixtures/openvino/quantised.tflite", "tflite"), 1);
    assert_int_equal(format_is_quantised("tests/fixtures/openvino/relu", "savedmodel"), 0);
    assert_int_equal(format_is_quantised("/nowhere", "savedmodel"), -1);
    assert_int_equal(is_quantised("tfgraph", "\n\30FakeQuantWithMinMaxVars"), 1);
    assert_int_equal(is_quantised("tfgraph", "\n\4Relu"), 0);
}

/* Each cut, and each byte as any other: it ends, and nothing beyond the file is read. */
static void damaged_flatbuffers(void **context)
{
    (void)context;
    unsigned char whole[1024], bytes[1024];
    FILE *f = fopen("tests/fixtures/openvino/quantised.tflite", "rb");
    assert_non_null(f);
    size_t size = fread(whole, 1, sizeof whole, f);
    fclose(f);
    assert_true(size > 100 && size < sizeof whole);
    for (size_t cut = 0; cut < 40; cut++) {
        write_bytes(whole, cut);
        assert_int_equal(format_is_quantised(path, "tflite"), -1);
    }
    static const unsigned char values[] = {0, 1, 0x7f, 0x80, 0xff};
    for (size_t i = 0; i < size; i++)
        for (size_t k = 0; k < sizeof values; k++) {
            memcpy(bytes, whole, size);
            bytes[i] = values[k];
            write_bytes(bytes, size);
            format_is_quantised(path, "tflite");
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_tell),
        cmocka_unit_test(other_files_are_told_apart),
        cmocka_unit_test(few_bits_of_openvino),
        cmocka_unit_test(few_bits_of_tensorflow),
        cmocka_unit_test(damaged_flatbuffers),
        cmocka_unit_test(damage_never_crashes),
    };
    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof path, "%s/m.pt", folder);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    rmdir(folder);
    return failed;
}
