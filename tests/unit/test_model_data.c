/* Tensors out of .npy, .npz and .pb files: right ones, wrong ones, and each cut short. */
#include "data_files.h"

#include "model/half.h"

#include <math.h>

static struct data data;

static int read_data(const char *name)
{
    char text[512];
    snprintf(text, sizeof text, "%s", path_of(name));
    err = (struct error){0};
    return data_read(&data, text, "input", &err);
}

static void check_six(size_t i, const char *name)
{
    assert_true(i < data.count);
    assert_string_equal(data.items[i].name, name);
    assert_int_equal(data.items[i].tensor.type, DTYPE_F32);
    assert_int_equal(data.items[i].tensor.shape.rank, 2);
    assert_int_equal(data.items[i].tensor.shape.dims[0], 2);
    assert_int_equal(data.items[i].tensor.shape.dims[1], 3);
    assert_memory_equal(data.items[i].tensor.data, six, sizeof six);
}

static void arrays(void **state)
{
    unsigned char bytes[512];
    char text[600];
    (void)state;
    write_bytes("x.npy", bytes, small_npy(bytes));
    assert_int_equal(read_data("x.npy"), 0);
    check_six(0, "");
    snprintf(text, sizeof text, "tokens=%s", path_of("x.npy"));
    assert_int_equal(data_read(&data, text, "input", &err), 0);
    check_six(1, "tokens");
    assert_ptr_equal(data_find(&data, "tokens", 0), &data.items[1]);
    assert_ptr_equal(data_find(&data, "anything", 0), &data.items[0]);
    assert_null(data_find(&data, "anything", 1)); /* a name that was given is meant */
    assert_int_equal(data_read(&data, text, "input", &err), ERROR_USAGE);
    assert_non_null(strstr(err.text, "two tensors named 'tokens'"));
    assert_int_equal(data.count, 2);
    data_release(&data);
}

static void archives(void **state)
{
    (void)state;
    write_npz("s.npz");
    assert_int_equal(read_data("s.npz"), 0);
    assert_int_equal(data.count, 2);
    check_six(0, "a");
    check_six(1, "b");
    assert_null(data_find(&data, "c", 0));
    data_release(&data);

    unsigned char bytes[512];
    size_t size = small_npy(bytes);
    int code;
    zip_t *zip = zip_open(path_of("p.npz"), ZIP_CREATE, &code);
    add_member(zip, "arr_1.npy", bytes, size, 1);
    add_member(zip, "arr_0.npy", bytes, size, 1);
    assert_int_equal(zip_close(zip), 0);
    assert_int_equal(read_data("p.npz"), 0);
    assert_ptr_equal(data_find(&data, "x", 0), &data.items[1]);
    assert_ptr_equal(data_find(&data, "y", 1), &data.items[0]);
    data_release(&data);
}

static void protos_and_folders(void **state)
{
    unsigned char bytes[512];
    size_t size = small_proto(bytes);
    (void)state;
    write_bytes("t.pb", bytes, size);
    assert_int_equal(read_data("t.pb"), 0);
    check_six(0, "x");
    assert_ptr_equal(data_find(&data, "other", 0), &data.items[0]);
    data_release(&data);

    mkdir(path_of("set"), 0777);
    assert_int_equal(read_data("set"), ERROR_USAGE);
    write_bytes("set/input_1.pb", bytes, size);
    assert_int_equal(read_data("set"), ERROR_USAGE); /* they begin with 0 */
    bytes[8] = 'y';
    write_bytes("set/input_0.pb", bytes, size);
    write_bytes("set/output_0.pb", bytes, size);
    assert_int_equal(read_data("set"), 0);
    assert_int_equal(data.count, 2);
    assert_string_equal(data.items[0].name, "y");
    assert_int_equal(data.items[1].position, 1);
    data_release(&data);

    mkdir(path_of("nam[ed]"), 0777);
    size = small_npy(bytes);
    write_bytes("nam[ed]/b.npy", bytes, size);
    write_bytes("nam[ed]/a.npy", bytes, size);
    assert_int_equal(read_data("nam[ed]"), 0);
    check_six(0, "a");
    check_six(1, "b");
    data_release(&data);
}

/* --- .npy headers ------------------------------------------------------------------------------ */

static int parse(const char *header, size_t data_bytes)
{
    static unsigned char bytes[4096];
    static const unsigned char zeros[1024];
    struct tensor t;
    size_t begin;
    err = (struct error){0};
    size_t size = make_npy(bytes, header, zeros, data_bytes);
    return npy_parse(bytes, size, &t, &begin, &err);
}

static void headers_that_are_fine(void **state)
{
    (void)state;
    assert_int_equal(parse(NPY("<f4", "(2, 3)"), 24), 0);
    assert_int_equal(parse(NPY("<i8", "()"), 8), 0);
    assert_int_equal(parse(NPY("|b1", "(5,)"), 5), 0);
    assert_int_equal(parse(NPY("|u1", "(0, 7)"), 0), 0);
    assert_int_equal(parse(NPY("<f2", "(1,1,1,1,1,1,1,2)"), 4), 0);
    assert_int_equal(parse(NPY("<i4", "(2L, 1L)"), 8), 0);
    assert_int_equal(parse("{'shape': (2,), 'descr': \"<f8\", 'fortran_order': False}", 16), 0);
    assert_int_equal(parse("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 3), }", 12), 0);
}

static void headers_that_are_refused(void **state)
{
    static const struct {
        const char *header;
        size_t data_bytes;
        int code;
        const char *why;
    } cases[] = {
        {NPY(">f4", "(2, 3)"), 24, ERROR_UNSUPPORTED, "big-endian"},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", 24, ERROR_UNSUPPORTED,
         "Fortran"},
        {NPY("<U4", "(2,)"), 32, ERROR_UNSUPPORTED, "'<U4'"},
        {NPY("|O", "(2,)"), 16, ERROR_UNSUPPORTED, "'|O'"},
        {NPY("<c8", "(2,)"), 16, ERROR_UNSUPPORTED, "'<c8'"},
        {NPY("|f4", "(2,)"), 8, ERROR_UNSUPPORTED, "'|f4'"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", 8,
         ERROR_UNSUPPORTED, "records"},
        {NPY("<f4", "(2, 3)"), 23, ERROR_FORMAT, "do not take the 23 bytes"},
        {NPY("<f4", "(2, 3)"), 25, ERROR_FORMAT, "do not take the 25 bytes"},
        {NPY("<f4", "(4294967296, 4294967296)"), 24, ERROR_FORMAT, "bytes"},
        {NPY("<f8", "(1152921504606846976, 4)"), 24, ERROR_FORMAT, "bytes"},
        {NPY("<f4", "(99999999999999999999,)"), 24, ERROR_FORMAT, "header"},
        {NPY("<f4", "(-6,)"), 24, ERROR_FORMAT, "header"},
        {NPY("<f4", "(6)"), 24, ERROR_FORMAT, "header"},
        {NPY("<f4", "(6,,)"), 24, ERROR_FORMAT, "header"},
        {NPY("<f4", "(6,"), 24, ERROR_FORMAT, "header"},
        {NPY("<f4", "6"), 24, ERROR_FORMAT, "header"},
        {NPY("<f4", "(1,1,1,1,1,1,1,1,6)"), 24, ERROR_UNSUPPORTED, "8 dimensions"},
        {NPY("", "(6,)"), 24, ERROR_FORMAT, "header"},
        {NPY("<f4<f4<f4<f4<f4<f4", "(6,)"), 24, ERROR_FORMAT, "header"},
        {"", 24, ERROR_FORMAT, "header"},
        {"{}", 24, ERROR_FORMAT, "header"},
        {"{'descr': '<f4', 'fortran_order': False}", 24, ERROR_FORMAT, "header"},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (6,)}", 24,
         ERROR_FORMAT, "header"},
        {"{'descr': '<f4', 'fortran_order': 1, 'shape': (6,)}", 24, ERROR_FORMAT, "header"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'more': 1}", 24, ERROR_FORMAT,
         "header"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,)} x", 24, ERROR_FORMAT, "header"},
        {"{'descr': '<f4\\n', 'fortran_order': False, 'shape': (6,)}", 24, ERROR_FORMAT, "header"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (parse(cases[i].header, cases[i].data_bytes) != cases[i].code ||
            !strstr(err.text, cases[i].why))
            fail_msg("%s: %s", cases[i].header, err.text);
}

static void lengths_that_lie(void **state)
{
    unsigned char bytes[512];
    struct tensor t;
    size_t begin, size = small_npy(bytes);
    (void)state;
    bytes[8] = bytes[9] = 0xff;
    assert_int_equal(npy_parse(bytes, size, &t, &begin, &err), ERROR_FORMAT);
    bytes[6] = 2; /* four bytes of length */
    bytes[10] = bytes[11] = 0xff;
    assert_int_equal(npy_parse(bytes, size, &t, &begin, &err), ERROR_FORMAT);
    bytes[6] = 4;
    assert_int_equal(npy_parse(bytes, size, &t, &begin, &err), ERROR_UNSUPPORTED);
    bytes[1] = 'x';
    assert_int_equal(npy_parse(bytes, size, &t, &begin, &err), ERROR_FORMAT);
}

/* --- damaged files ------------------------------------------------------------------------------ */

static size_t read_whole(const char *name, unsigned char *bytes, size_t maximum)
{
    FILE *f = fopen(path_of(name), "rb");
    assert_non_null(f);
    size_t size = fread(bytes, 1, maximum, f);
    fclose(f);
    return size;
}

/* Cut at every byte: an error each time, nothing kept. */
static void cut_everywhere(const char *name, const unsigned char *bytes, size_t size)
{
    for (size_t n = 0; n < size; n++) {
        write_bytes(name, bytes, n);
        if (read_data(name) == 0)
            fail_msg("%s cut at %zu of %zu was taken", name, n, size);
        assert_int_equal(data.count, 0);
    }
    data_release(&data);
}

static void truncated_files(void **state)
{
    unsigned char bytes[2048];
    (void)state;
    cut_everywhere("x.npy", bytes, small_npy(bytes));
    write_npz("s.npz");
    size_t size = read_whole("s.npz", bytes, sizeof bytes);
    cut_everywhere("c.npz", bytes, size);
    cut_everywhere("t.pb", bytes, small_proto(bytes));
}

/* Each byte changed in turn: taken or refused, but no crash and nothing else. */
static void changed_bytes(void **state)
{
    unsigned char bytes[2048];
    (void)state;
    write_npz("s.npz");
    size_t size = read_whole("s.npz", bytes, sizeof bytes);
    for (size_t i = 0; i < 2 * size; i++) {
        unsigned char kept = bytes[i / 2];
        bytes[i / 2] = i % 2 ? 0xff : (unsigned char)(kept ^ 1);
        write_bytes("d.npz", bytes, size);
        read_data("d.npz");
        data_release(&data);
        bytes[i / 2] = kept;
    }
    size = small_proto(bytes);
    for (size_t i = 0; i < 2 * size; i++) {
        unsigned char kept = bytes[i / 2];
        bytes[i / 2] = i % 2 ? 0xff : (unsigned char)(kept ^ 1);
        write_bytes("d.pb", bytes, size);
        read_data("d.pb");
        data_release(&data);
        bytes[i / 2] = kept;
    }
}

/* Data that does not match its checksum is not fed to anything. */
static void damaged_data(void **state)
{
    unsigned char bytes[2048];
    (void)state;
    write_npz("s.npz");
    size_t size = read_whole("s.npz", bytes, sizeof bytes), hits = 0;
    for (size_t i = 0; i + sizeof six <= size; i++)
        if (!memcmp(bytes + i, six, sizeof six)) {
            bytes[i + 4] ^= 1;
            hits++;
        }
    assert_int_equal(hits, 1); /* the stored one */
    write_bytes("d.npz", bytes, size);
    assert_int_equal(read_data("d.npz"), ERROR_FORMAT);
    data_release(&data);
}

static void files_that_are_none(void **state)
{
    (void)state;
    assert_int_equal(read_data("nowhere.npy"), ERROR_USAGE);
    assert_non_null(strstr(err.text, "nowhere.npy': it is not there"));
    write_bytes("x.txt", "hello", 5);
    assert_int_equal(read_data("x.txt"), ERROR_USAGE);
    write_bytes("x.npz", "hello", 5);
    assert_int_equal(read_data("x.npz"), ERROR_FORMAT);
    write_bytes("e.npy", "", 0);
    assert_int_equal(read_data("e.npy"), ERROR_FORMAT);
    write_bytes("e.npz", "", 0);
    assert_int_equal(read_data("e.npz"), ERROR_FORMAT);
    write_bytes("e.pb", "", 0);
    assert_true(read_data("e.pb") != 0);
    mkfifo(path_of("f.npy"), 0600);
    assert_int_equal(read_data("f.npy"), ERROR_USAGE);
    data_release(&data);
}

/* --- 16-bit floats ------------------------------------------------------------------------------ */

static void half_floats(void **state)
{
    (void)state;
    assert_int_equal(half_from_double(1), 0x3c00);
    assert_int_equal(half_from_double(-2), 0xc000);
    assert_int_equal(half_from_double(65504), 0x7bff);
    assert_int_equal(half_from_double(65520), 0x7c00);
    assert_int_equal(half_from_double(0x1p-24), 1);
    assert_int_equal(half_from_double(0x1p-14), 0x0400);
    assert_int_equal(half_from_double(1 + 0x1p-11), 0x3c00); /* a tie, to even */
    assert_int_equal(half_from_double(1 + 3 * 0x1p-11), 0x3c02);
    assert_int_equal(bfloat_from_double(1), 0x3f80);
    assert_int_equal(bfloat_from_double(-0.0), 0x8000);
    assert_true(half_to_double(0x0001) == 0x1p-24);
    assert_true(isinf(half_to_double(0xfc00)) && half_to_double(0xfc00) < 0);
    for (unsigned bits = 0; bits < 0x10000; bits++) {
        double h = half_to_double((uint16_t)bits), b = bfloat_to_double((uint16_t)bits);
        assert_true(isnan(h) ? isnan(half_to_double(half_from_double(h)))
                             : half_from_double(h) == bits);
        assert_true(isnan(b) ? isnan(bfloat_to_double(bfloat_from_double(b)))
                             : bfloat_from_double(b) == bits);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(arrays),          TEST(archives),      TEST(protos_and_folders),
        cmocka_unit_test(headers_that_are_fine),    cmocka_unit_test(headers_that_are_refused),
        cmocka_unit_test(lengths_that_lie),         TEST(truncated_files),
        TEST(changed_bytes),   TEST(damaged_data),  TEST(files_that_are_none),
        cmocka_unit_test(half_floats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
