/* What a model is fed: sizes for its symbols, rules for its data, and the data itself. */
#include "measure/inputs.h"
#include "model/half.h"
#include "model/write.h"

#include "test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[64];
static struct cell cell;
static struct measure_options options;
static struct input_plan plan;
static struct error e;

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

static struct onnx_writer *begin(void)
{
    cell = (struct cell){.model = "m", .batch = 1};
    measure_defaults(&options);
    return onnx_writer_new("g");
}

/* Writes the model and plans its inputs. */
static int make(struct onnx_writer *w)
{
    char hex[65];
    strcpy(path, "/tmp/wattle-test-XXXXXX");
    FILE *f = fdopen(mkstemp(path), "wb");
    assert_int_equal(onnx_writer_finish(w, f, hex, &e), 0);
    fclose(f);
    onnx_writer_free(w);
    strcpy(cell.path, path);
    int result = input_plan_make(&plan, &cell, &options, &e);
    unlink(path);
    return result;
}

static struct onnx_writer *relu_model(const char *const *dims, enum dtype type)
{
    struct onnx_writer *w = begin();
    onnx_writer_input(w, "x", type, dims);
    onnx_writer_node(w, "Relu", "relu", NAMES("x"), "y");
    onnx_writer_output(w, "y", type, dims);
    return w;
}

static void the_first_symbol_is_the_batch(void **state)
{
    (void)state;
    struct onnx_writer *w = relu_model(NAMES("N", "8"), DTYPE_F32);
    cell.batch = 64;
    assert_int_equal(make(w), 0);
    assert_int_equal(plan.dim_count, 1);
    assert_string_equal(plan.dims[0].symbol, "N");
    assert_int_equal(plan.dims[0].value, 64);
    assert_int_equal(plan.rules[0].kind, INPUT_NORMAL);
    input_plan_release(&plan);
}

static void other_symbols_need_a_size(void **state)
{
    (void)state;
    assert_int_equal(make(relu_model(NAMES("N", "T"), DTYPE_F32)), ERROR_USAGE);
    assert_string_equal(e.text, "model 'm': dimension 'T' of input 'x' has no size");
    assert_string_equal(e.hint, "give it one: --dim T=SIZE");

    struct onnx_writer *w = relu_model(NAMES("N", "T"), DTYPE_F32);
    cell.dims[0] = (struct plan_dim){"T", 5};
    cell.dim_count = 1;
    assert_int_equal(make(w), 0);
    assert_int_equal(plan.dims[1].value, 5);
    input_plan_release(&plan);

    w = relu_model(NAMES("N", "T"), DTYPE_F32);
    onnx_writer_metadata(w, "wattle.dim.T", "7");
    assert_int_equal(make(w), 0);
    assert_int_equal(plan.dims[1].value, 7);
    input_plan_release(&plan);

    w = relu_model(NAMES("N", "8"), DTYPE_F32);
    cell.dims[0] = (struct plan_dim){"Q", 5};
    cell.dim_count = 1;
    assert_int_equal(make(w), ERROR_USAGE);
    assert_string_equal(e.text, "model 'm' has no symbolic dimension 'Q'");
}

static void a_fixed_batch_cannot_be_changed(void **state)
{
    (void)state;
    struct onnx_writer *w = relu_model(NAMES("4", "8"), DTYPE_F32);
    cell.batch = 64;
    assert_int_equal(make(w), ERROR_USAGE);
    assert_string_equal(e.text, "batch 64: model 'm' fixes the batch of input 'x' at 4");
    w = relu_model(NAMES("4", "8"), DTYPE_F32);
    cell.batch = 4;
    assert_int_equal(make(w), 0);
    input_plan_release(&plan);
}

/* A batch of 0 is the user's silence. */
static void an_open_batch_is_found(void **state)
{
    (void)state;
    static const struct {
        const char *x[4], *y[4];      /* sizes of two inputs */
        const char *dims, *shapes;    /* "S" of size 5, ... */
        int64_t batch;
    } cases[] = {
        {{"N", "3"}, {"N", "4"}, "", "", 1},
        {{"N", "3"}, {"N", "4"}, "N", "", 5},
        {{"N", "3"}, {"N", "4"}, "", "{\"y\":[6,4]}", 6},
        {{"8", "3"}, {"8", "4"}, "", "", 8},
        {{"8", "3"}, {"9", "4"}, "", "", 1},
        {{"8", "3"}, {"7"}, "", "", 8},
        {{"8", "3"}, {"N", "4"}, "N", "", 5},
        {{"S", "N", "3"}, {"N", "S"}, "S", "", 1},
        {{"S", "batch", "3"}, {"S", "4"}, "S", "", 1},
        {{"S", "batch", "3"}, {"S", "4"}, "S", "{\"x\":[5,7,3]}", 7},
        {{"S", "M", "3"}, {"S", "4"}, "SM", "", 5},
        {{"M", "K"}, {"K", "N"}, "MKN", "", 5}, /* a product of matrices: all sizes are alike */
        {{"S", "N", "3"}, {"S", "4"}, "S", "", 1},
        {{"seq", "B", "3"}, {"seq", "4"}, "", "{\"x\":[7,2,3],\"y\":[7,4]}", 2},
        {{"M", "N"}, {"M", "4"}, "N", "{\"y\":[2,4]}", 2},
        {{"batch*heads", "3"}, {"batch*heads", "4"}, "", "", 1},
        {{"batch", "3"}, {"batch*heads", "4"}, "", "{\"x\":[2,3],\"y\":[8,4]}", 2},
        {{"batch", "3"}, {"unk__5", "4"}, "", "{\"x\":[2,3]}", 2},
        {{"P", "3"}, {"Q", "4"}, "", "{\"y\":[6,4]}", 6},
        {{"P", "3"}, {"Q", "4"}, "P", "", 1},
        {{"P", "3"}, {"Q", "4"}, "PQ", "", 5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct onnx_writer *w = begin();
        onnx_writer_input(w, "x", DTYPE_F32, cases[i].x);
        onnx_writer_input(w, "y", DTYPE_F32, cases[i].y);
        onnx_writer_node(w, "Relu", "relu", NAMES("x"), "z");
        onnx_writer_output(w, "z", DTYPE_F32, cases[i].x);
        cell.batch = 0;
        strcpy(cell.shapes, cases[i].shapes);
        for (const char *symbol = cases[i].dims; *symbol; symbol++) {
            cell.dims[cell.dim_count].symbol[0] = *symbol;
            cell.dims[cell.dim_count++].value = 5;
        }
        assert_int_equal(make(w), 0);
        assert_int_equal(plan.batch, cases[i].batch);
        input_plan_release(&plan);
    }
    cell = (struct cell){.model = "m", .path = "/nonexistent", .format = "ir"};
    strcpy(cell.shapes, "{\"x\":[3,2],\"y\":[3],\"scalar\":[]}");
    assert_int_equal(input_plan_make(&plan, &cell, &options, &e), 0);
    assert_int_equal(plan.batch, 3);
    input_plan_release(&plan);
}

static void integers_need_a_range(void **state)
{
    (void)state;
    assert_int_equal(make(relu_model(NAMES("N", "8"), DTYPE_I64)), ERROR_USAGE);
    assert_string_equal(e.hint, "give it one: --range x=LOW..HIGH");

    struct onnx_writer *w = relu_model(NAMES("N", "8"), DTYPE_I64);
    struct measure_range range = {"x", 3, 9};
    options.ranges = &range;
    options.range_count = 1;
    assert_int_equal(make(w), 0);
    int64_t data[1000];
    assert_int_equal(input_fill(&plan, "x", DTYPE_I64, 1, 0, data, 1000, &e), 0);
    int seen[10] = {0};
    for (int i = 0; i < 1000; i++) {
        assert_in_range(data[i], 3, 9);
        seen[data[i]]++;
    }
    for (int i = 3; i <= 9; i++)
        assert_true(seen[i] > 90); /* 143 expected, sd 11 */
    input_plan_release(&plan);

    w = relu_model(NAMES("N", "8"), DTYPE_U8);
    range = (struct measure_range){"x", 0, 256};
    options.ranges = &range;
    options.range_count = 1;
    assert_int_equal(make(w), ERROR_USAGE);
    w = relu_model(NAMES("N", "8"), DTYPE_F32);
    range = (struct measure_range){"z", 0, 1};
    options.ranges = &range;
    options.range_count = 1;
    assert_int_equal(make(w), ERROR_USAGE);
    assert_string_equal(e.text, "model 'm' has no input 'z'");
}

static void a_type_nobody_feeds_has_a_hint(void **state)
{
    (void)state;
    const enum dtype complex64 = 14; /* as ONNX numbers it */
    assert_int_equal(make(relu_model(NAMES("N", "8"), complex64)), ERROR_UNSUPPORTED);
    assert_non_null(strstr(e.text, "cannot make up input 'x' of type unknown"));
    assert_non_null(strstr(e.hint, "export the model"));
    double data[8];
    assert_int_equal(make(relu_model(NAMES("N", "8"), DTYPE_F32)), 0);
    assert_int_equal(input_fill(&plan, "x", complex64, 1, 0, data, 8, &e), ERROR_UNSUPPORTED);
    assert_non_null(strstr(e.hint, "export the model"));
    assert_int_equal(input_fill(&plan, "z", DTYPE_I64, 1, 0, data, 8, &e), ERROR_UNSUPPORTED);
    assert_non_null(strstr(e.hint, "--range z="));
    input_plan_release(&plan);
}

static void indices_stay_within_their_table(void **state)
{
    (void)state;
    float table[6 * 2] = {0};
    struct onnx_writer *w = begin();
    onnx_writer_input(w, "ids", DTYPE_I64, NAMES("N", "4"));
    onnx_writer_constant(w, "table", DTYPE_F32, &(struct shape){2, {6, 2}}, table);
    onnx_writer_node(w, "Gather", "embed", NAMES("table", "ids"), "y");
    onnx_writer_output(w, "y", DTYPE_F32, NAMES("N", "4", "2"));
    assert_int_equal(make(w), 0);
    assert_true(plan.rules[0].a == 0 && plan.rules[0].b == 5);
    input_plan_release(&plan);
}

static void metadata_rules(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int ok;
    } cases[] = {{"uniform 0 30521", 1}, {"constant 1", 1},   {"uniform 5 1", 0},
                 {"uniform nan inf", 0}, {"normal 0 1", 0},   {"zipf 1 2", 0},
                 {"constant", 0},        {"uniform 0 1e99", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct onnx_writer *w = relu_model(NAMES("N", "8"), DTYPE_I64);
        onnx_writer_metadata(w, "wattle.input.x", cases[i].text);
        int result = make(w);
        assert_int_equal(result == 0, cases[i].ok);
        if (!result)
            input_plan_release(&plan);
    }
}

static void data_depends_on_seed_set_and_name_only(void **state)
{
    (void)state;
    assert_int_equal(make(relu_model(NAMES("N", "8"), DTYPE_F32)), 0);
    enum { COUNT = 20000 };
    static float a[COUNT], b[COUNT];
    assert_int_equal(input_fill(&plan, "x", DTYPE_F32, 1, 0, a, COUNT, &e), 0);
    input_fill(&plan, "x", DTYPE_F32, 1, 0, b, COUNT, &e);
    assert_memory_equal(a, b, sizeof a);
    input_fill(&plan, "x", DTYPE_F32, 1, 0, b, 10, &e); /* a prefix is a prefix */
    assert_memory_equal(a, b, 10 * sizeof *a);
    double sum = 0, squares = 0;
    for (int i = 0; i < COUNT; i++) {
        sum += (double)a[i];
        squares += (double)a[i] * (double)a[i];
    }
    assert_true(fabs(sum / COUNT) < 0.03 && fabs(squares / COUNT - 1) < 0.05);
    input_fill(&plan, "x", DTYPE_F32, 2, 0, b, COUNT, &e);
    assert_memory_not_equal(a, b, sizeof a);
    input_fill(&plan, "x", DTYPE_F32, 1, 1, b, COUNT, &e);
    assert_memory_not_equal(a, b, sizeof a);
    assert_int_equal(input_fill(&plan, "unknown", DTYPE_I64, 1, 0, b, 1, &e), ERROR_UNSUPPORTED);
    input_plan_release(&plan);
}

/* The same bytes on every machine and compiler; the numbers come from a separate implementation. */
static void data_is_the_same_everywhere(void **state)
{
    (void)state;
    struct input_plan none = {0};
    float x[4];
    uint32_t bits[4];
    assert_int_equal(input_fill(&none, "input", DTYPE_F32, 1, 0, x, 4, &e), 0);
    memcpy(bits, x, sizeof bits);
    const uint32_t recorded[4] = {0xbe1ec400, 0xbeb14000, 0x3f9ce000, 0xbd7c2000};
    assert_memory_equal(bits, recorded, sizeof bits);
}

static void shapes_give_every_free_size(void **state)
{
    (void)state;
    struct onnx_writer *w = relu_model(NAMES("N", "T", "3"), DTYPE_F32);
    cell.batch = 2;
    strcpy(cell.shapes, "{\"x\":[2,7,3]}");
    assert_int_equal(make(w), 0);
    assert_int_equal(plan.dims[1].value, 7);
    assert_int_equal(plan.rules[0].shape.rank, 3);
    assert_int_equal(plan.rules[0].shape.dims[1], 7);
    input_plan_release(&plan);

    static const struct {
        const char *shapes, *text;
    } cases[] = {
        {"{\"x\":[1,7,4]}", "input 'x': size 2 is to be 4, but the model fixes it at 3"},
        {"{\"x\":[5,7,3]}", "input 'x': size 0 is to be 5, but the batch is 1"},
        {"{\"x\":[7,3]}", "input 'x' is to have 2 dimensions, the model gives it 3"},
        {"{\"z\":[1,7,3]}", "model 'm': dimension 'T' of input 'x' has no size"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        w = relu_model(NAMES("N", "T", "3"), DTYPE_F32);
        strcpy(cell.shapes, cases[i].shapes);
        assert_int_equal(make(w), ERROR_USAGE);
        assert_string_equal(e.text, cases[i].text);
    }
    w = relu_model(NAMES("N", "T", "3"), DTYPE_F32);
    cell.dims[0] = (struct plan_dim){"T", 5};
    cell.dim_count = 1;
    strcpy(cell.shapes, "{\"x\":[1,7,3]}");
    assert_int_equal(make(w), ERROR_USAGE);
    assert_string_equal(e.text, "input 'x': size 1 is to be 7, but --dim says 5");
}

static void given_data_is_fed_as_it_is(void **state)
{
    (void)state;
    int64_t tokens[6] = {5, 4, 3, 2, 1, 0}, fed[6] = {0};
    struct data_item item = {.tensor = {DTYPE_I64, {2, {2, 3}}, tokens}};
    const struct data data = {.items = &item, .count = 1};
    struct onnx_writer *w = relu_model(NAMES("N", "T"), DTYPE_I64); /* no range is needed */
    cell.batch = 2;
    options.data = &data;
    assert_int_equal(make(w), 0);
    assert_int_equal(plan.dims[1].value, 3);
    assert_int_equal(input_fill(&plan, "x", DTYPE_I64, 1, 3, fed, 6, &e), 0);
    assert_memory_equal(fed, tokens, sizeof fed);
    assert_int_equal(input_fill(&plan, "x", DTYPE_I64, 1, 3, fed, 5, &e), ERROR_USAGE);
    assert_int_equal(input_fill(&plan, "x", DTYPE_I32, 1, 3, fed, 6, &e), ERROR_USAGE);
    input_plan_release(&plan);

    w = relu_model(NAMES("N", "T"), DTYPE_F32);
    cell.batch = 2;
    options.data = &data;
    assert_int_equal(make(w), ERROR_USAGE);
    assert_string_equal(e.text, "model 'm': input 'x' is of type float32, the given data of type "
                                "int64");
    item.position = 1;
    w = relu_model(NAMES("N", "3"), DTYPE_F32);
    options.data = &data;
    assert_int_equal(make(w), ERROR_USAGE);
    assert_string_equal(e.text, "model 'm' has no input for tensor 0 ('') of --input");
}

static void sixteen_bit_floats_are_made_up(void **state)
{
    (void)state;
    static const enum dtype types[] = {DTYPE_F16, DTYPE_BF16};
    float wide[64];
    assert_int_equal(make(relu_model(NAMES("N", "64"), DTYPE_F32)), 0);
    assert_int_equal(input_fill(&plan, "x", DTYPE_F32, 1, 0, wide, 64, &e), 0);
    input_plan_release(&plan);
    for (size_t t = 0; t < 2; t++) {
        uint16_t narrow[64];
        assert_int_equal(make(relu_model(NAMES("N", "64"), types[t])), 0);
        assert_int_equal(input_fill(&plan, "x", types[t], 1, 0, narrow, 64, &e), 0);
        for (size_t i = 0; i < 64; i++) {
            double x = t ? bfloat_to_double(narrow[i]) : half_to_double(narrow[i]);
            assert_true(fabs(x - (double)wide[i]) <= fabs((double)wide[i]) / 256 + 1e-6);
        }
        input_plan_release(&plan);
    }
}

/* A file that only the runtime reads: the user's word is all there is. */
static void other_formats_are_not_opened(void **state)
{
    (void)state;
    const struct measure_range range = {"n", 0, 9};
    float x[2] = {1, 2};
    int64_t n[4];
    struct data_item item = {.name = "x", .tensor = {DTYPE_F32, {1, {2}}, x}};
    const struct data data = {.items = &item, .count = 1};
    cell = (struct cell){.model = "m", .path = "/nonexistent", .format = "ir", .batch = 1};
    measure_defaults(&options);
    options.ranges = &range;
    options.range_count = 1;
    options.data = &data;
    assert_int_equal(input_plan_make(&plan, &cell, &options, &e), 0);
    assert_int_equal(plan.rule_count, 2);
    assert_int_equal(plan.rules[0].shape.dims[0], 2);
    assert_int_equal(plan.rules[1].shape.rank, -1);
    assert_int_equal(input_fill(&plan, "n", DTYPE_I64, 1, 0, n, 4, &e), 0);
    assert_true(n[0] >= 0 && n[0] <= 9);
    assert_int_equal(input_fill(&plan, "n", DTYPE_BOOL, 1, 0, n, 4, &e), ERROR_USAGE);
    assert_int_equal(input_fill(&plan, "other", DTYPE_I64, 1, 0, n, 4, &e), ERROR_UNSUPPORTED);
    input_plan_release(&plan);

    strcpy(cell.shapes, "{\"x\":[3]}");
    assert_int_equal(input_plan_make(&plan, &cell, &options, &e), ERROR_USAGE);
    assert_string_equal(e.text, "model 'm': --shape and --input differ in the shape of input 'x'");
    item.name[0] = '\0';
    assert_int_equal(input_plan_make(&plan, &cell, &options, &e), ERROR_USAGE);
    assert_string_equal(e.text, "model 'm': tensor 0 of --input has no name");
}

/* What a worker says of an input counts where nobody else does. */
static void workers_may_tell_ranges(void **state)
{
    (void)state;
    const struct measure_range range = {"n", 0, 9};
    int64_t n[64];
    cell = (struct cell){.model = "m", .path = "/nonexistent", .format = "ir", .batch = 1};
    measure_defaults(&options);
    options.ranges = &range;
    options.range_count = 1;
    strcpy(cell.shapes, "{\"ids\":{\"type\":\"int64\",\"dims\":[2,3]}}");
    assert_int_equal(input_plan_make(&plan, &cell, &options, &e), 0);
    assert_int_equal(input_plan_range(&plan, "ids", 100, 101, &e), 0);
    assert_int_equal(input_plan_range(&plan, "n", 100, 101, &e), 0);
    assert_int_equal(input_plan_range(&plan, "new", 7, 7, &e), 0);
    assert_int_equal(input_fill(&plan, "ids", DTYPE_I64, 1, 0, n, 64, &e), 0);
    assert_true(n[0] == 100 || n[0] == 101);
    assert_int_equal(input_fill(&plan, "n", DTYPE_I64, 1, 0, n, 64, &e), 0);
    assert_true(n[0] >= 0 && n[0] <= 9);
    assert_int_equal(input_fill(&plan, "new", DTYPE_I64, 1, 0, n, 64, &e), 0);
    assert_int_equal(n[63], 7);
    assert_int_equal(input_plan_range(&plan, "x", 2, 1, &e), ERROR_FORMAT);
    assert_int_equal(input_plan_range(&plan, "x", 0, (double)NAN, &e), ERROR_FORMAT);
    assert_int_equal(input_plan_range(&plan, "bytes", 0, 256, &e), 0);
    assert_int_equal(input_fill(&plan, "bytes", DTYPE_U8, 1, 0, n, 64, &e), ERROR_USAGE);
    input_plan_release(&plan);
}

static void shapes_may_give_types(void **state)
{
    (void)state;
    float x[2] = {1, 2};
    struct data_item item = {.name = "x", .tensor = {DTYPE_F32, {1, {2}}, x}};
    const struct data data = {.items = &item, .count = 1};
    cell = (struct cell){.model = "m", .path = "/nonexistent", .format = "ir", .batch = 1};
    measure_defaults(&options);
    strcpy(cell.shapes, "{\"ids\":{\"type\":\"int64\",\"dims\":[2,3]},\"x\":[2]}");
    assert_int_equal(input_plan_make(&plan, &cell, &options, &e), 0);
    assert_int_equal(plan.rules[0].type, DTYPE_I64);
    assert_int_equal(plan.rules[0].shape.rank, 2);
    assert_int_equal(plan.rules[0].shape.dims[1], 3);
    assert_int_equal(plan.rules[1].type, DTYPE_NONE);
    input_plan_release(&plan);
    options.data = &data; /* data has a type of its own */
    strcpy(cell.shapes, "{\"x\":{\"type\":\"int64\",\"dims\":[2]}}");
    assert_int_equal(input_plan_make(&plan, &cell, &options, &e), ERROR_USAGE);
    assert_string_equal(e.text, "model 'm': --shape gives input 'x' the type int64, --input the "
                                "type float32");

    struct onnx_writer *w = relu_model(NAMES("N", "T"), DTYPE_F32);
    strcpy(cell.shapes, "{\"x\":{\"type\":\"float32\",\"dims\":[1,3]}}");
    assert_int_equal(make(w), 0);
    assert_int_equal(plan.rules[0].shape.dims[1], 3);
    input_plan_release(&plan);
    w = relu_model(NAMES("N", "T"), DTYPE_F32);
    strcpy(cell.shapes, "{\"x\":{\"type\":\"int64\",\"dims\":[1,3]}}");
    assert_int_equal(make(w), ERROR_USAGE);
    assert_string_equal(e.text, "model 'm': --shape gives input 'x' the type int64, it is of type "
                                "float32");
}

static void strings_are_refused(void **state)
{
    (void)state;
    assert_int_equal(make(relu_model(NAMES("N"), DTYPE_STRING)), ERROR_UNSUPPORTED);
    assert_non_null(strstr(e.text, "takes strings"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_symbol_is_the_batch),
        cmocka_unit_test(other_symbols_need_a_size),
        cmocka_unit_test(a_fixed_batch_cannot_be_changed),
        cmocka_unit_test(an_open_batch_is_found),
        cmocka_unit_test(integers_need_a_range),
        cmocka_unit_test(a_type_nobody_feeds_has_a_hint),
        cmocka_unit_test(indices_stay_within_their_table),
        cmocka_unit_test(metadata_rules),
        cmocka_unit_test(data_depends_on_seed_set_and_name_only),
        cmocka_unit_test(data_is_the_same_everywhere),
        cmocka_unit_test(shapes_give_every_free_size),
        cmocka_unit_test(given_data_is_fed_as_it_is),
        cmocka_unit_test(sixteen_bit_floats_are_made_up),
        cmocka_unit_test(workers_may_tell_ranges),
        cmocka_unit_test(shapes_may_give_types),
        cmocka_unit_test(strings_are_refused),
        cmocka_unit_test(other_formats_are_not_opened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
