/* Files that are wrong: each known fault gives its one line, and no fault anywhere crashes, hangs
 * or takes memory out of proportion. */
#include "model_files.h"

#include <fcntl.h>

static void expect_line(enum error_code code, const char *part, const char *where)
{
    if (err.code != code || !strstr(err.text, part) || strchr(err.text, '\n'))
        fail_msg("%s: wanted %s with '%s', got %s: %s", where, error_code_name(code), part,
                 error_code_name(err.code), err.text);
}

static void refused(const char *path, enum error_code code, const char *part)
{
    struct onnx_model *m = NULL;
    err = (struct error){0};
    assert_int_equal(onnx_open(path, &m, &err), code);
    assert_null(m);
    expect_line(code, part, path);
    expect_line(code, path, path);
}

/* Opens it if it can be; true when it could. */
static int survives(const char *path)
{
    struct onnx_model *m = NULL;
    err = (struct error){0};
    int result = onnx_open(path, &m, &err);
    onnx_close(m);
    if (result && (err.code != (enum error_code)result || !err.text[0] || strchr(err.text, '\n')))
        fail_msg("%s: %d with '%s'", path, result, err.text);
    return !result;
}

static void fixtures_are_refused(void **state)
{
    (void)state;
    refused(FIXTURES "bad_sparse.onnx", ERROR_UNSUPPORTED, "sparse initializers");
    refused(FIXTURES "bad_strings.onnx", ERROR_UNSUPPORTED,
            "initializer 0 's': has element type 8 (string)");
    refused(FIXTURES "bad_rank.onnx", ERROR_UNSUPPORTED, "graph input 0 'x': has 9 dimensions");
    refused(FIXTURES "bad_opset.onnx", ERROR_UNSUPPORTED, "opset 24; 7 to 23");
    refused(FIXTURES "bad_ir.onnx", ERROR_UNSUPPORTED, "ir_version 14; 3 to 13");
}

/* Models put together field by field. */
struct parts {
    struct buffer model, graph, item, inner;
};

static void parts_init(struct parts *p)
{
    buffer_init(&p->model, 1 << 20);
    buffer_init(&p->graph, 1 << 20);
    buffer_init(&p->item, 1 << 20);
    buffer_init(&p->inner, 1 << 20);
}

static void put(struct buffer *parent, uint32_t field, struct buffer *child)
{
    wire_put_bytes(parent, field, buffer_string(child), child->size);
    buffer_clear(child);
}

static void put_header(struct parts *p, uint64_t ir, uint64_t opset)
{
    wire_put_uint(&p->model, 1, ir);
    wire_put_uint(&p->inner, 2, opset);
    put(&p->model, 8, &p->inner);
}

/* Writes what is in p (header 8/17 unless there is one) and expects the refusal. */
static void parts_refused(struct parts *p, enum error_code code, const char *part)
{
    if (!p->model.size) {
        put_header(p, 8, 17);
        put(&p->model, 7, &p->graph);
    }
    write_bytes("bad.onnx", buffer_string(&p->model), p->model.size);
    buffer_release(&p->model);
    buffer_release(&p->graph);
    buffer_release(&p->item);
    buffer_release(&p->inner);
    refused(path_of("bad.onnx"), code, part);
}

/* A graph of one If whose branch is a graph of one If, and so on; the innermost has a bad node. */
static void put_nested(struct parts *p, int depth)
{
    wire_put_text(&p->item, 4, "If"); /* the node in the middle */
    put(&p->graph, 1, &p->item);
    for (int i = 0; i < depth; i++) {
        wire_put_text(&p->inner, 1, "then_branch");
        wire_put_uint(&p->inner, 20, 5);
        put(&p->inner, 6, &p->graph);
        wire_put_text(&p->item, 4, "If");
        put(&p->item, 5, &p->inner);
        put(&p->graph, 1, &p->item);
    }
}

static void nested_graphs_are_bounded(void **state)
{
    (void)state;
    struct parts p;
    parts_init(&p);
    put_nested(&p, 9);
    parts_refused(&p, ERROR_UNSUPPORTED, "has graphs nested deeper than 8");
    parts_init(&p);
    wire_put_text(&p.inner, 1, "body");
    wire_put_uint(&p.inner, 20, 5);
    put(&p.item, 5, &p.inner);
    wire_put_text(&p.item, 4, "Loop");
    put(&p.graph, 1, &p.item);
    parts_refused(&p, ERROR_FORMAT, "has no graph");
    parts_init(&p);
    wire_put_text(&p.inner, 1, "body");
    wire_put_uint(&p.inner, 20, 5);
    wire_put_text(&p.inner, 6, "\x0a\x7f");
    put(&p.item, 5, &p.inner);
    wire_put_text(&p.item, 4, "Loop");
    put(&p.graph, 1, &p.item);
    parts_refused(&p, ERROR_FORMAT, "its graph: is truncated or not protobuf");
}

static void headers_are_checked(void **state)
{
    (void)state;
    struct parts p;
    write_bytes("bad.onnx", "", 0);
    refused(path_of("bad.onnx"), ERROR_FORMAT, "is empty");
    write_bytes("bad.onnx", "not a model at all", 18);
    refused(path_of("bad.onnx"), ERROR_FORMAT, "not protobuf");
    write_bytes("bad.onnx", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 11);
    refused(path_of("bad.onnx"), ERROR_FORMAT, "not protobuf");
    write_bytes("bad.onnx", "\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10);
    refused(path_of("bad.onnx"), ERROR_FORMAT, "not protobuf");
    parts_init(&p);
    wire_put_text(&p.model, 2, "producer");
    parts_refused(&p, ERROR_FORMAT, "has no ir_version");
    parts_init(&p);
    put_header(&p, 8, 17);
    parts_refused(&p, ERROR_FORMAT, "has no graph");
    parts_init(&p);
    put_header(&p, 8, 17);
    wire_put_text(&p.model, 7, "");
    wire_put_text(&p.model, 7, "");
    parts_refused(&p, ERROR_FORMAT, "has 2 graphs");
    parts_init(&p);
    wire_put_uint(&p.model, 1, 8);
    wire_put_text(&p.model, 7, "");
    parts_refused(&p, ERROR_FORMAT, "no opset");
    parts_init(&p);
    put_header(&p, 8, 6);
    wire_put_text(&p.model, 7, "");
    parts_refused(&p, ERROR_UNSUPPORTED, "uses opset 6; 7 to 23");
    parts_init(&p);
    put_header(&p, 2, 17);
    wire_put_text(&p.model, 7, "");
    parts_refused(&p, ERROR_UNSUPPORTED, "ir_version 2");
    parts_init(&p);
    put_header(&p, 8, 17);
    put_header(&p, 8, 18);
    wire_put_text(&p.model, 7, "");
    parts_refused(&p, ERROR_FORMAT, "imports opset 17 and opset 18");
}

/* A function of these fields, in a model without nodes. */
static void function_refused(void (*fill)(struct buffer *function), int twice, enum error_code code,
                             const char *text)
{
    struct parts p;
    parts_init(&p);
    put_header(&p, 8, 17);
    for (int i = 0; i <= twice; i++) {
        fill(&p.item);
        put(&p.model, 25, &p.item);
    }
    put(&p.model, 7, &p.graph);
    parts_refused(&p, code, text);
}

static void nothing(struct buffer *f)
{
    (void)f;
}

static void just_a_name(struct buffer *f)
{
    wire_put_text(f, 1, "F");
}

static void a_broken_node(struct buffer *f)
{
    just_a_name(f);
    wire_put_text(f, 7, "\x0a\x7f");
}

static void a_nameless_input(struct buffer *f)
{
    just_a_name(f);
    wire_put_text(f, 4, "");
}

static void a_number_for_a_name(struct buffer *f)
{
    wire_put_uint(f, 1, 7);
}

static void a_broken_default(struct buffer *f)
{
    just_a_name(f);
    wire_put_text(f, 11, "\x0a\x01" "a");
}

static void another_opset(struct buffer *f)
{
    just_a_name(f);
    wire_put_text(f, 9, "\x10\x18");
}

static void functions_are_checked(void **state)
{
    (void)state;
    function_refused(nothing, 0, ERROR_FORMAT, "function '': has no name");
    function_refused(just_a_name, 1, ERROR_FORMAT, "function 'F' is defined twice");
    function_refused(a_broken_node, 0, ERROR_FORMAT, "function 'F': node '': is truncated");
    function_refused(a_nameless_input, 0, ERROR_FORMAT, "function 'F': an input or output has no");
    function_refused(a_number_for_a_name, 0, ERROR_FORMAT, "is truncated or not protobuf");
    function_refused(a_broken_default, 0, ERROR_FORMAT, "attribute 'a': has no type");
    function_refused(another_opset, 0, ERROR_UNSUPPORTED, "function 'F': uses opset 24; 7 to 23");
}

static void nodes_are_checked(void **state)
{
    (void)state;
    struct parts p;
    parts_init(&p);
    wire_put_text(&p.item, 3, "first\nline");
    put(&p.graph, 1, &p.item);
    parts_refused(&p, ERROR_FORMAT, "node 0 'first?line' (): has no op_type");
    parts_init(&p);
    wire_put_text(&p.item, 4, "Conv");
    wire_put_text(&p.inner, 1, "pads");
    put(&p.item, 5, &p.inner);
    put(&p.graph, 1, &p.item);
    parts_refused(&p, ERROR_FORMAT, "node 0 '' (Conv): attribute 'pads': has no type");
    parts_init(&p);
    wire_put_text(&p.item, 4, "Conv");
    wire_put_uint(&p.inner, 20, ONNX_INT);
    put(&p.item, 5, &p.inner);
    put(&p.graph, 1, &p.item);
    parts_refused(&p, ERROR_FORMAT, "an attribute has no name");
    parts_init(&p);
    wire_put_text(&p.item, 4, "Constant");
    wire_put_text(&p.inner, 1, "value");
    wire_put_uint(&p.inner, 20, ONNX_TENSOR);
    put(&p.item, 5, &p.inner);
    put(&p.graph, 1, &p.item);
    parts_refused(&p, ERROR_FORMAT, "attribute 'value': has no tensor");
    parts_init(&p);
    wire_put_text(&p.item, 4, "Conv");
    for (int i = 0; i < 2; i++) {
        wire_put_text(&p.inner, 1, "group");
        wire_put_uint(&p.inner, 20, ONNX_INT);
        put(&p.item, 5, &p.inner);
    }
    put(&p.graph, 1, &p.item);
    parts_refused(&p, ERROR_FORMAT, "has attribute 'group' twice");
    parts_init(&p);
    wire_put_text(&p.graph, 1, "\x22\x7f");
    parts_refused(&p, ERROR_FORMAT, "node 0 '' (): is truncated");
    parts_init(&p);
    wire_put_uint(&p.graph, 1, 5);
    parts_refused(&p, ERROR_FORMAT, "node 0 '' (): is truncated");
}

static void put_node(struct parts *p, const char *output)
{
    wire_put_text(&p->item, 4, "Relu");
    wire_put_text(&p->item, 2, output);
    put(&p->graph, 1, &p->item);
}

static void put_empty(struct parts *p, const char *name)
{
    wire_put_uint(&p->item, 1, 0);
    wire_put_uint(&p->item, 2, DTYPE_F32);
    wire_put_text(&p->item, 8, name);
    put(&p->graph, 5, &p->item);
}

static void names_are_unique(void **state)
{
    (void)state;
    struct parts p;
    parts_init(&p);
    put_node(&p, "y");
    put_node(&p, "y");
    parts_refused(&p, ERROR_FORMAT, "value 'y' is defined twice");
    parts_init(&p);
    put_empty(&p, "w");
    put_node(&p, "w");
    parts_refused(&p, ERROR_FORMAT, "value 'w' is defined twice");
    parts_init(&p);
    put_empty(&p, "w");
    put_empty(&p, "w");
    parts_refused(&p, ERROR_FORMAT, "value 'w' is defined twice");
    for (uint32_t field = 11; field <= 12; field++) {
        parts_init(&p);
        for (int i = 0; i < 2; i++) {
            wire_put_text(&p.item, 1, "x");
            put(&p.graph, field, &p.item);
        }
        parts_refused(&p, ERROR_FORMAT, "'x' is defined twice");
    }
    parts_init(&p);
    put_empty(&p, "");
    parts_refused(&p, ERROR_FORMAT, "initializer 0 '': has no name");
    parts_init(&p);
    wire_put_text(&p.graph, 12, "");
    parts_refused(&p, ERROR_FORMAT, "graph output 0 '': has no name");
}

/* One initializer 'w' of this type and dims, and one field more. */
static void put_tensor(struct parts *p, uint64_t type, int64_t a, int64_t b)
{
    parts_init(p);
    wire_put_uint(&p->item, 1, (uint64_t)a);
    wire_put_uint(&p->item, 1, (uint64_t)b);
    wire_put_uint(&p->item, 2, type);
    wire_put_text(&p->item, 8, "w");
}

static void tensor_refused(struct parts *p, enum error_code code, const char *part)
{
    char text[200];
    snprintf(text, sizeof text, "initializer 0 'w': %s", part);
    put(&p->graph, 5, &p->item);
    parts_refused(p, code, text);
}

static void tensors_are_checked(void **state)
{
    (void)state;
    struct parts p;
    put_tensor(&p, DTYPE_F32, 2, -3);
    tensor_refused(&p, ERROR_FORMAT, "dimension 1 is -3");
    put_tensor(&p, DTYPE_F32, 2, 3);
    tensor_refused(&p, ERROR_FORMAT, "has 0 values, but shape 2x3 of float32 needs 6");
    put_tensor(&p, DTYPE_F32, 2, 3);
    wire_put_text(&p.item, 9, "12345678");
    tensor_refused(&p, ERROR_FORMAT, "has 8 bytes of data, but shape 2x3 of float32 needs 24");
    put_tensor(&p, DTYPE_I64, (int64_t)1 << 40, (int64_t)1 << 40);
    tensor_refused(&p, ERROR_FORMAT, "is too large");
    put_tensor(&p, DTYPE_I64, (int64_t)1 << 30, (int64_t)1 << 20);
    tensor_refused(&p, ERROR_FORMAT, "has 0 values");
    put_tensor(&p, 17, 1, 1);
    tensor_refused(&p, ERROR_UNSUPPORTED, "has element type 17 (unknown)");
    put_tensor(&p, 0, 1, 1);
    tensor_refused(&p, ERROR_FORMAT, "has no element type");
    put_tensor(&p, DTYPE_F32, 1, 2);
    wire_put_text(&p.item, 4, "1234567");
    tensor_refused(&p, ERROR_FORMAT, "is truncated");
    put_tensor(&p, DTYPE_F32, 1, 1);
    wire_put_text(&p.item, 7, "\x01");
    tensor_refused(&p, ERROR_FORMAT, "has data in a field that is not for float32");
    put_tensor(&p, DTYPE_F32, 1, 1);
    wire_put_text(&p.item, 4, "1234");
    wire_put_text(&p.item, 9, "1234");
    tensor_refused(&p, ERROR_FORMAT, "has both raw and typed data");
    put_tensor(&p, DTYPE_U8, 1, 1);
    wire_put_uint(&p.item, 5, 256);
    tensor_refused(&p, ERROR_FORMAT, "value 256 of element 0 does not fit");
    put_tensor(&p, DTYPE_I8, 1, 1);
    wire_put_uint(&p.item, 5, (uint64_t)-129);
    tensor_refused(&p, ERROR_FORMAT, "value -129 of element 0 does not fit");
    put_tensor(&p, DTYPE_F32, 1, 1);
    wire_put_text(&p.item, 3, "\x08\x01");
    tensor_refused(&p, ERROR_UNSUPPORTED, "is stored in segments");
    put_tensor(&p, DTYPE_F32, 1, 1);
    wire_put_uint(&p.item, 14, 2);
    tensor_refused(&p, ERROR_FORMAT, "has data location 2");
    put_tensor(&p, DTYPE_F32, 1, 1);
    for (int i = 0; i < 7; i++)
        wire_put_uint(&p.item, 1, 1);
    tensor_refused(&p, ERROR_UNSUPPORTED, "has more than 8 dimensions");
}

static void values_in_single_fields_are_read(void **state)
{
    (void)state;
    struct parts p;
    struct onnx_model *m = NULL;
    put_tensor(&p, DTYPE_F32, 1, 3); /* one value alone, then two packed */
    wire_put_float(&p.item, 4, 1);
    wire_put_bytes(&p.item, 4, (float[]){2, 3}, 8);
    put(&p.graph, 5, &p.item);
    wire_put_bytes(&p.item, 1, "\x02\x00", 2); /* packed dims, no data */
    wire_put_uint(&p.item, 2, DTYPE_I32);
    wire_put_text(&p.item, 8, "empty");
    put(&p.graph, 5, &p.item);
    put_header(&p, 8, 17);
    put(&p.model, 7, &p.graph);
    write_bytes("good.onnx", buffer_string(&p.model), p.model.size);
    buffer_release(&p.model);
    buffer_release(&p.graph);
    buffer_release(&p.item);
    buffer_release(&p.inner);
    assert_int_equal(onnx_open(path_of("good.onnx"), &m, &err), 0);
    assert_memory_equal(onnx_initializer_find(m, "w")->tensor.data, ((float[]){1, 2, 3}), 12);
    assert_int_equal(onnx_initializer_find(m, "empty")->tensor.shape.rank, 2);
    assert_null(onnx_initializer_find(m, "empty")->tensor.data);
    onnx_close(m);
}

static void external(const char *location, const char *offset, const char *length)
{
    struct shape shape = {.rank = 1, .dims = {2}};
    struct onnx_writer *w = onnx_writer_new("g");
    onnx_writer_external(w, "w", DTYPE_F32, &shape, location, offset, length);
    finish(w, "inside/external.onnx");
}

static void external_refused(const char *location, const char *offset, const char *length,
                             enum error_code code, const char *part)
{
    external(location, offset, length);
    refused(path_of("inside/external.onnx"), code, part);
    expect_line(code, "initializer 0 'w': ", location);
}

static void external_data_stays_inside(void **state)
{
    (void)state;
    char target[PATH_MAX], link_path[PATH_MAX];
    assert_int_equal(mkdir(path_of("inside"), 0755), 0);
    assert_int_equal(mkdir(path_of("inside/sub"), 0755), 0);
    write_bytes("outside.bin", "12345678", 8);
    write_bytes("inside/data.bin", "12345678", 8);
    write_bytes("inside/sub/..data", "12345678", 8);
    snprintf(target, sizeof target, "%s", path_of("outside.bin"));
    snprintf(link_path, sizeof link_path, "%s", path_of("inside/link.bin"));
    assert_int_equal(symlink(target, link_path), 0);
    snprintf(link_path, sizeof link_path, "%s", path_of("inside/folder"));
    assert_int_equal(symlink("..", link_path), 0);
    snprintf(link_path, sizeof link_path, "%s", path_of("inside/good"));
    assert_int_equal(symlink("data.bin", link_path), 0);

    external_refused(target, "0", "8", ERROR_FORMAT, "is an absolute path");
    external_refused("../outside.bin", "0", "8", ERROR_FORMAT, "leaves the model's folder");
    external_refused("sub/../../outside.bin", "0", "8", ERROR_FORMAT, "leaves the model's folder");
    external_refused("sub/../data.bin", "0", "8", ERROR_FORMAT, "leaves the model's folder");
    external_refused("link.bin", "0", "8", ERROR_FORMAT, "is a link that leaves");
    external_refused("folder/outside.bin", "0", "8", ERROR_FORMAT, "is a link that leaves");
    external_refused("absent.bin", "0", "8", ERROR_IO, "cannot open external data 'absent.bin'");
    external_refused("sub", "0", "8", ERROR_IO, "not a regular file");
    external_refused("", "0", "8", ERROR_FORMAT, "without a location");
    external_refused("data.bin", "1", "8", ERROR_FORMAT, "beyond the end");
    external_refused("data.bin", "9223372036854775807", "8", ERROR_FORMAT, "beyond the end");
    external_refused("data.bin", "0", "9", ERROR_FORMAT, "has length 9");
    external_refused("data.bin", "-4", "8", ERROR_FORMAT, "has offset '-4'");
    external_refused("data.bin", "99999999999999999999", "8", ERROR_FORMAT, "has offset");
    external_refused("data.bin", "0", "8 ", ERROR_FORMAT, "has length '8 '");

    static const char *const good[] = {"data.bin", "./data.bin", "good", "sub/..data"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        external(good[i], "", "");
        assert_true(survives(path_of("inside/external.onnx")));
    }
}

/* Every file here, and every file it becomes by one fault. */
static const char *const subjects[] = {
    FIXTURES "typed.onnx",     FIXTURES "attributes.onnx",    FIXTURES "ir3.onnx",
    FIXTURES "external.onnx",  FIXTURES "sequence.onnx",      FIXTURES "functions.onnx",
    FIXTURES "bad_sparse.onnx", FIXTURES "bad_strings.onnx",  FIXTURES "bad_rank.onnx",
    "small.onnx",
};
enum { SUBJECTS = sizeof subjects / sizeof *subjects };

static char *subject(size_t i, size_t *size)
{
    if (strchr(subjects[i], '/'))
        return read_bytes(subjects[i], size);
    finish(small_model(), subjects[i]);
    return read_bytes(path_of(subjects[i]), size);
}

static void truncation_anywhere_is_survived(void **state)
{
    (void)state;
    for (size_t i = 0; i < SUBJECTS; i++) {
        size_t size, good = 0;
        char *bytes = subject(i, &size);
        for (size_t n = 0; n < size; n++) {
            write_bytes("cut.onnx", bytes, n);
            good += (size_t)survives(path_of("cut.onnx"));
        }
        /* Whole again only where trailing metadata, functions or nothing needed is cut off. */
        assert_true(good <= 4);
        free(bytes);
    }
}

static void any_wrong_byte_is_survived(void **state)
{
    (void)state;
    static const unsigned char masks[] = {0x01, 0x02, 0x04, 0x08, 0x10,
                                          0x20, 0x40, 0x80, 0x7f, 0xff};
    for (size_t i = 0; i < SUBJECTS; i++) {
        size_t size;
        char *bytes = subject(i, &size);
        write_bytes("flip.onnx", bytes, size);
        int fd = open(path_of("flip.onnx"), O_WRONLY);
        for (size_t n = 0; n < size; n++) {
            for (size_t k = 0; k < sizeof masks; k++) {
                char wrong = (char)(bytes[n] ^ masks[k]);
                assert_int_equal(pwrite(fd, &wrong, 1, (off_t)n), 1);
                survives(path_of("flip.onnx"));
            }
            assert_int_equal(pwrite(fd, &bytes[n], 1, (off_t)n), 1);
        }
        close(fd);
        free(bytes);
    }
}

static void bytes_taken_out_or_doubled_are_survived(void **state)
{
    (void)state;
    for (size_t i = 0; i < SUBJECTS; i++) {
        size_t size;
        char *bytes = subject(i, &size), *other = malloc(size + 1);
        for (size_t n = 0; n < size; n++) {
            memcpy(other, bytes, n);
            memcpy(other + n, bytes + n + 1, size - n - 1);
            write_bytes("out.onnx", other, size - 1);
            survives(path_of("out.onnx"));
            memcpy(other + n, bytes + n, 1);
            memcpy(other + n + 1, bytes + n, size - n);
            write_bytes("out.onnx", other, size + 1);
            survives(path_of("out.onnx"));
        }
        free(other);
        free(bytes);
    }
}

/* Many of the smallest messages there can be: what they become is larger, but by a bounded factor,
 * and reading them takes no more than a moment. */
static void many_small_messages_are_bounded(void **state)
{
    (void)state;
    static const uint32_t fields[] = {1, 5, 11, 12, 13};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        struct parts p;
        parts_init(&p);
        while (p.graph.size < 500000)
            wire_put_text(&p.graph, fields[i], "");
        put_header(&p, 8, 17);
        put(&p.model, 7, &p.graph);
        write_bytes("many.onnx", buffer_string(&p.model), p.model.size);
        assert_false(survives(path_of("many.onnx")));
        buffer_release(&p.model);
        buffer_release(&p.graph);
        buffer_release(&p.item);
        buffer_release(&p.inner);
    }
}

static void a_node_of_empty_attributes_is_refused(void **state)
{
    (void)state;
    struct parts p;
    parts_init(&p);
    wire_put_text(&p.item, 4, "Relu");
    while (p.item.size < 500000)
        wire_put_text(&p.item, 5, "");
    put(&p.graph, 1, &p.item);
    parts_refused(&p, ERROR_MEMORY, "node 0");
    parts_init(&p);
    wire_put_text(&p.item, 4, "Relu");
    for (int i = 0; i < 101; i++)
        wire_put_text(&p.item, 5, "\x0a\x01x");
    put(&p.graph, 1, &p.item);
    parts_refused(&p, ERROR_UNSUPPORTED, "has 101 attributes, at most 100");
}

/* Tens of thousands of files: in memory where the system has such a place. */
static int make_memory_folder(void **state)
{
    strcpy(folder, "/dev/shm/wattle-test-XXXXXX");
    return mkdtemp(folder) ? 0 : make_folder(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixtures_are_refused),
        cmocka_unit_test(nested_graphs_are_bounded),
        cmocka_unit_test(headers_are_checked),
        cmocka_unit_test(functions_are_checked),
        cmocka_unit_test(nodes_are_checked),
        cmocka_unit_test(names_are_unique),
        cmocka_unit_test(tensors_are_checked),
        cmocka_unit_test(values_in_single_fields_are_read),
        cmocka_unit_test(external_data_stays_inside),
        cmocka_unit_test(truncation_anywhere_is_survived),
        cmocka_unit_test(any_wrong_byte_is_survived),
        cmocka_unit_test(bytes_taken_out_or_doubled_are_survived),
        cmocka_unit_test(many_small_messages_are_bounded),
        cmocka_unit_test(a_node_of_empty_attributes_is_refused),
    };
    return cmocka_run_group_tests(tests, make_memory_folder, remove_folder);
}
