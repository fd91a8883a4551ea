/* Assignments through a mask: a Where when that is proven to be the same, else refused by name. */
#include "engine_model.h"

enum { ROWS = 2, COLUMNS = 3, TOTAL = ROWS * COLUMNS };
static const float x[TOTAL] = {0.5f, 2, -1, 3, 1, 1.5f};

/* One row of indices for each element that the mask selects. */
static void add_places(struct model_builder *b, const char *mask, const char *places)
{
    char *at = model_text(b, "%s.at", places);
    model_node(b, "NonZero", mask, at);
    model_node(b, "Transpose", at, places);
    model_ints(b, "perm", 2, 1, 0);
}

/* "mask" is x > 1, "places" are where it selects, "many" is how many. */
static struct model_builder *masked_model(void)
{
    struct model_builder *b = model_x(18, 2, ROWS, COLUMNS);
    model_scalar(b, "one", 1);
    model_longs(b, "minus", 1, -1);
    model_node(b, "Greater", "x one", "mask");
    add_places(b, "mask", "places");
    model_node(b, "Reshape", "mask minus", "flat");
    model_node(b, "Cast", "flat", "ones");
    model_int(b, "to", DTYPE_I64);
    model_node(b, "ReduceSum", "ones", "many");
    model_int(b, "keepdims", 1);
    return b;
}

static void gives(struct model_builder *b, const float *want)
{
    model_output(b, "y");
    model_gives(b, x, TOTAL, want);
    const struct graph *g = model_build(b);
    assert_int_equal(graph_count(g, "", "ScatterND"), 0);
    assert_int_equal(graph_count(g, "", "ReduceSum"), 0);
}

/* x[mask] = 7 */
static void test_number(void **state)
{
    (void)state;
    struct model_builder *b = masked_model();
    model_scalar(b, "v", 7);
    model_node(b, "Expand", "v many", "u");
    model_node(b, "Reshape", "u minus", "w");
    model_node(b, "ScatterND", "x places w", "y");
    model_string(b, "reduction", "none");
    gives(b, (const float[TOTAL]){0.5f, 7, -1, 7, 1, 7});
}

/* The same with the number of places taken from the indices themselves. */
static void test_number_by_shape(void **state)
{
    (void)state;
    struct model_builder *b = masked_model();
    model_scalar(b, "v", 7);
    model_longs(b, "zero", 1, 0);
    model_node(b, "Shape", "places", "s");
    model_node(b, "Gather", "s zero", "n");
    model_node(b, "Expand", "v n", "u");
    model_node(b, "ScatterND", "x places u", "y");
    gives(b, (const float[TOTAL]){0.5f, 7, -1, 7, 1, 7});
}

/* x[mask] = x[mask] * 10 - other[mask], with other = -x */
static void test_chosen_elements(void **state)
{
    (void)state;
    struct model_builder *b = masked_model();
    model_scalar(b, "ten", 10);
    model_node(b, "Neg", "x", "other");
    model_node(b, "GatherND", "x places", "p");
    model_node(b, "GatherND", "other places", "q");
    model_int(b, "batch_dims", 0);
    model_node(b, "Mul", "p ten", "r");
    model_node(b, "Sub", "r q", "u");
    model_node(b, "Expand", "u many", "v");
    model_node(b, "Reshape", "v minus", "w");
    model_node(b, "ScatterND", "x places w", "y");
    gives(b, (const float[TOTAL]){0.5f, 22, -1, 33, 1, 16.5f});
}

/* x[rows] = (7, 8, 9), where a row is chosen by its first element: the mask is expanded. */
static struct model_builder *rows_model(const char *rest)
{
    struct model_builder *b = model_x(18, 2, ROWS, COLUMNS);
    model_scalar(b, "one", 1);
    model_longs(b, "minus", 1, -1);
    model_longs(b, "zero", 1, 0);
    model_longs(b, "three", 1, COLUMNS);
    model_longs(b, "two", 1, 2);
    model_constant(b, "v", DTYPE_F32, &(struct shape){1, {COLUMNS}}, (const float[]){7, 8, 9});
    model_node(b, "Gather", "x zero", "column");
    model_int(b, "axis", 1);
    model_node(b, "Greater", "column one", "rows");
    model_node(b, "Shape", "x", "shape");
    model_node(b, "Expand", "rows shape", "mask");
    add_places(b, "mask", "places");
    model_node(b, "Cast", "rows", "ones");
    model_int(b, "to", DTYPE_I64);
    model_node(b, "Reshape", "ones minus", "flat");
    model_node(b, "ReduceSum", "flat", "many");
    model_node(b, "Concat", rest, "to");
    model_int(b, "axis", 0);
    model_node(b, "Expand", "v to", "u");
    model_node(b, "Reshape", "u minus", "w");
    model_node(b, "ScatterND", "x places w", "y");
    return b;
}

static void test_row(void **state)
{
    (void)state;
    gives(rows_model("many three"), (const float[TOTAL]){0.5f, 2, -1, 7, 8, 9});
}

/* A mask of the first dimension alone, as ScatterND takes it, and a column for a row. */
static void test_short_mask(void **state)
{
    (void)state;
    struct model_builder *b = model_x(18, 2, ROWS, COLUMNS);
    model_scalar(b, "four", 4);
    model_longs(b, "one", 1, 1);
    model_longs(b, "three", 1, COLUMNS);
    model_scalar(b, "v", 7);
    model_node(b, "ReduceSum", "x one", "sums");
    model_int(b, "keepdims", 0);
    model_node(b, "Greater", "sums four", "mask");
    add_places(b, "mask", "places");
    model_node(b, "Cast", "mask", "ones");
    model_int(b, "to", DTYPE_I64);
    model_node(b, "ReduceSum", "ones", "many");
    model_int(b, "keepdims", 1);
    model_node(b, "Concat", "many three", "to");
    model_int(b, "axis", 0);
    model_node(b, "Expand", "v to", "u");
    model_node(b, "ScatterND", "x places u", "y");
    model_output(b, "y");
    model_gives(b, x, TOTAL, (const float[TOTAL]){0.5f, 2, -1, 7, 7, 7});
}

static void refuses(struct model_builder *b, const char *output)
{
    model_output(b, output);
    model_refused(b, ERROR_UNSUPPORTED, "(NonZero) makes a tensor whose shape depends on data");
}

/* Everything that is not proven. */
static void test_others(void **state)
{
    (void)state;
    struct model_builder *b = masked_model();
    refuses(b, "places");
    b = masked_model();
    model_node(b, "GatherND", "x places", "p");
    model_node(b, "ReduceSum", "p", "s");
    refuses(b, "s");
    b = masked_model(); /* one update for each place, but of another mask's */
    model_node(b, "Not", "mask", "unmask");
    add_places(b, "unmask", "places2");
    model_node(b, "GatherND", "x places2", "p");
    model_node(b, "ScatterND", "x places p", "y");
    refuses(b, "y");
    b = masked_model(); /* places backwards */
    model_longs(b, "step", 1, -1);
    model_longs(b, "end", 1, -100);
    model_longs(b, "axis", 1, 0);
    model_node(b, "Slice", "places minus end axis step", "back");
    model_node(b, "GatherND", "x places", "p");
    model_node(b, "ScatterND", "x back p", "y");
    refuses(b, "y");
    b = masked_model(); /* several updates that are known: only as many places fit */
    model_random(b, "v", 1, 3);
    model_node(b, "ScatterND", "x places v", "y");
    refuses(b, "y");
    b = masked_model();
    model_node(b, "GatherND", "x places", "p");
    model_node(b, "ScatterND", "x places p", "y");
    model_string(b, "reduction", "add");
    refuses(b, "y");
    b = masked_model(); /* a number for each place: only as many fit */
    model_random(b, "v", 1, 3);
    model_node(b, "GatherND", "x places", "p");
    model_node(b, "Mul", "p v", "r");
    model_node(b, "ScatterND", "x places r", "y");
    refuses(b, "y");
    b = masked_model(); /* places as columns */
    model_attribute_of(b, "places", "perm")->ints = (const int64_t[]){0, 1};
    model_node(b, "GatherND", "x places", "p");
    model_node(b, "ScatterND", "x places p", "y");
    refuses(b, "y");
    b = masked_model(); /* of each row's own places */
    model_node(b, "GatherND", "x places", "p");
    model_int(b, "batch_dims", 1);
    model_node(b, "ScatterND", "x places p", "y");
    refuses(b, "y");
    b = masked_model(); /* into something larger */
    model_input(b, "large", DTYPE_F32, 2, ROWS + 1, COLUMNS);
    model_scalar(b, "v", 7);
    model_node(b, "Expand", "v many", "u");
    model_node(b, "ScatterND", "large places u", "y");
    refuses(b, "y");
    b = masked_model(); /* numbers for a mask */
    add_places(b, "x", "places2");
    model_node(b, "GatherND", "x places2", "p");
    model_node(b, "ScatterND", "x places2 p", "y");
    refuses(b, "y");
}

/* Rows that are not the target's: expanded to another size, and a mask that differs along them. */
static void test_other_rows(void **state)
{
    (void)state;
    refuses(rows_model("many two"), "y");
    refuses(rows_model("three many"), "y");
    struct model_builder *b = rows_model("many three"); /* as many rows as places there may be */
    model_random(b, "v2", 2, ROWS, COLUMNS);
    model_reads(b, "u", "v2 to");
    refuses(b, "y");
    b = masked_model();
    model_longs(b, "three", 1, COLUMNS);
    model_random(b, "v", 1, COLUMNS);
    model_node(b, "Concat", "many three", "to");
    model_int(b, "axis", 0);
    model_node(b, "Expand", "v to", "u");
    model_node(b, "Reshape", "u minus", "w");
    model_node(b, "ScatterND", "x places w", "y");
    refuses(b, "y");
}

/* The same updates, of one mask, written to tensors of two shapes. */
static void test_two_targets(void **state)
{
    (void)state;
    struct model_builder *b = masked_model();
    model_longs(b, "last", 1, 2);
    model_node(b, "GatherND", "x places", "p");
    model_node(b, "ScatterND", "x places p", "z");
    model_node(b, "Unsqueeze", "x last", "deep");
    model_node(b, "Concat", "deep deep", "wide");
    model_int(b, "axis", 2);
    model_node(b, "ScatterND", "wide places p", "y");
    refuses(b, "y");
}

static void add_doubling(struct model_builder *b, int from, int to)
{
    for (int i = from; i < to; i++)
        model_node(b, "Max", model_text(b, "d%d d%d", i, i), model_text(b, "d%d", i + 1));
}

/* Nodes put off that use each other twice, again and again: neither slow nor deep. */
static void test_doubling(void **state)
{
    (void)state;
    struct model_builder *b = masked_model();
    model_node(b, "GatherND", "x places", "d0");
    add_doubling(b, 0, 50);
    model_node(b, "ScatterND", "x places d50", "y");
    model_output(b, "y");
    model_gives(b, x, TOTAL, x);
    add_doubling(b, 50, 100);
    model_refused(b, ERROR_UNSUPPORTED, "(NonZero) makes a tensor whose shape depends on data");
}

/* What is known at load has a known shape. */
static void test_known(void **state)
{
    (void)state;
    struct model_builder *b = model_x(18, 1, 1);
    model_constant(b, "c", DTYPE_F32, &(struct shape){2, {2, 2}}, (const float[]){0, 3, -1, 0});
    model_node(b, "NonZero", "c", "at");
    model_node(b, "Cast", "at", "f");
    model_int(b, "to", DTYPE_F32);
    model_node(b, "Add", "f x", "y");
    model_output(b, "y");
    model_gives(b, (const float[]){1}, 4, (const float[]){1, 2, 2, 1});
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_number),          cmocka_unit_test(test_number_by_shape),
    cmocka_unit_test(test_chosen_elements), cmocka_unit_test(test_row),
    cmocka_unit_test(test_short_mask),      cmocka_unit_test(test_others),
    cmocka_unit_test(test_other_rows),      cmocka_unit_test(test_two_targets),
    cmocka_unit_test(test_doubling),        cmocka_unit_test(test_known),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, models_free);
}
