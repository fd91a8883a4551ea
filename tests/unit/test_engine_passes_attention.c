/* Attention in the ways models write it, with its rotary embeddings, heads and masks. */
#include "engine_passes.h"

static void add_transpose(struct model_builder *b, const char *x, const char *y, int rank, ...)
{
    int64_t *perm = arena_array(&b->arena, 8, sizeof *perm);
    va_list args;
    va_start(args, rank);
    for (int i = 0; i < rank; i++)
        perm[i] = va_arg(args, int);
    va_end(args);
    model_node(b, "Transpose", x, y);
    model_list(b, "perm", rank, perm);
}

static void add_rotary(struct model_builder *b, int split)
{
    model_random(b, "cos", 2, 5, 8);
    model_random(b, "sin", 3, 1, 5, 8);
    model_longs(b, "none", 1, 0);
    model_longs(b, "half", 1, 4);
    model_longs(b, "end", 1, 1 << 30);
    model_longs(b, "axis", 1, -1);
    if (split) {
        model_node(b, "Split", "x", "first second");
        model_int(b, "axis", -1);
    } else {
        model_node(b, "Slice", "x none half axis", "first");
        model_node(b, "Slice", "x half end axis", "second");
    }
    model_node(b, "Neg", "second", "minus");
    model_node(b, "Concat", "minus first", "turned");
    model_int(b, "axis", -1);
    model_node(b, "Mul", split ? "cos x" : "x cos", "a");
    model_node(b, "Mul", split ? "sin turned" : "turned sin", "b");
    model_node(b, "Add", split ? "b a" : "a b", "y");
    model_output(b, "y");
}

/* Half by half, with tables that serve both. */
static void add_rotary_halves(struct model_builder *b, const char *last)
{
    model_random(b, "cos", 2, 5, 4);
    model_random(b, "sin", 4, 1, 1, 5, 4);
    model_node(b, "Split", "x", "first second");
    model_int(b, "axis", -1);
    model_node(b, "Mul", "first cos", "a");
    model_node(b, "Mul", "sin second", "b");
    model_node(b, "Sub", "a b", "c");
    model_node(b, "Mul", "second cos", "d");
    model_node(b, "Mul", last, "e");
    model_node(b, "Add", "e d", "f");
    model_node(b, "Concat", "c f", "y");
    model_int(b, "axis", 3);
    model_output(b, "y");
}

/* The Slice that makes the value turns another axis around besides. */
static void add_turning_slice(struct model_builder *b, const char *value, int from, int to,
                              int axis, int turned)
{
    model_longs(b, model_text(b, "%s.from", value), 2, from, -1);
    model_longs(b, model_text(b, "%s.to", value), 2, to, -(1 << 30));
    model_longs(b, model_text(b, "%s.axes", value), 2, axis, turned);
    model_longs(b, model_text(b, "%s.steps", value), 2, 1, -1);
    model_reads(b, value, model_text(b, "%s %s.from %s.to %s.axes %s.steps",
                                     model_maker(b, value)->inputs[0], value, value, value,
                                     value));
}

static void test_rotary(void **state)
{
    (void)state;
    for (int split = 0; split < 2; split++) {
        struct model_builder *b = model_x(17, 4, 2, 3, 5, 8);
        add_rotary(b, split);
        passes_give(b, "Rotary", 1e-6);
    }
    struct model_builder *b = model_x(17, 4, 2, 3, 5, 8);
    add_rotary_halves(b, "first sin");
    passes_give(b, "Rotary", 1e-6);
    b = model_x(17, 4, 2, 3, 5, 8);
    add_rotary_halves(b, "first cos");
    passes_give(b, "Split Mul Mul Sub Mul Mul Add Concat", 1e-6);
    b = model_x(17, 4, 2, 3, 5, 8); /* the halves keep their places */
    add_rotary(b, 0);
    model_reads(b, "first", "x half end axis");
    passes_give(b, "Slice Slice Neg Concat Mul Mul Add", 1e-6);
    b = model_x(17, 4, 2, 3, 5, 8); /* halves of what is turned around along the heads */
    add_rotary(b, 0);
    add_turning_slice(b, "first", 0, 4, 3, 1);
    add_turning_slice(b, "second", 4, 8, 3, 1);
    passes_give(b, "Slice Slice Neg Concat Mul Mul Add", 1e-6);
}

static void test_nearly_rotary(void **state)
{
    (void)state;
    static const struct {
        int halves;
        struct change change;
    } cases[] = {
        {0, {.maker = "a", .inputs = "x column"}},   {0, {.maker = "b", .inputs = "turned column"}},
        {0, {.maker = "a", .inputs = "z cos"}},      {0, {.maker = "minus", .inputs = "first"}},
        {0, {.maker = "turned", .inputs = "minus second"}},
        {0, {.maker = "turned", .inputs = "first minus"}},
        {0, {.also = "turned"}},                     {0, {.also = "second"}},
        {1, {.maker = "d", .inputs = "second sin"}}, {1, {.maker = "e", .inputs = "second sin"}},
        {1, {.maker = "c", .inputs = "b a"}},        {1, {.maker = "a", .inputs = "second cos"}},
        {1, {.maker = "a", .inputs = "first column"}}, {1, {.also = "second"}},
        {1, {.also = "c"}},
    };
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        struct model_builder *b = model_x(17, 4, 2, 3, 5, 8);
        model_input(b, "z", DTYPE_F32, 4, 2, 3, 5, 8);
        model_random(b, "column", 2, 5, 1);
        if (cases[i / 2].halves)
            add_rotary_halves(b, "first sin");
        else
            add_rotary(b, i % 2);
        passed_changed(b, &cases[i / 2].change, 1e-6);
    }
}

enum { TURNED = 1, REPEATED = 2, MASKED = 4, FLAT = 8 };

/* Heads of their own shapes: attention that is no block of one model. */
static void add_spelled_attention(struct model_builder *b, int form)
{
    int turned = form & TURNED, repeated = form & REPEATED, masked = form & MASKED;
    model_input(b, "q", DTYPE_F32, 4, 2, 4, 5, 8);
    if (turned)
        model_input(b, "k", DTYPE_F32, 4, 2, 6, 4, 8); /* keys before heads */
    else
        model_input(b, "k", DTYPE_F32, 4, 2, repeated ? 2 : 4, 6, 8);
    model_input(b, "v", DTYPE_F32, 4, 2, repeated ? 2 : 4, 6, 3);
    model_random(b, "mask", 2, 5, 6);
    model_scalar(b, "scale", 0.35f);
    model_longs(b, "apart", 5, 2, 2, 1, 6, -1);
    model_longs(b, "many", 5, 1, 1, 2, 1, 1);
    model_longs(b, "joined", 4, 2, 4, 6, -1);
    for (const char *name = "kv"; repeated && *name; name++) {
        model_node(b, "Reshape", model_text(b, "%c apart", *name), model_text(b, "%c5", *name));
        model_node(b, "Expand", model_text(b, "%c5 many", *name), model_text(b, "%c10", *name));
        model_node(b, "Reshape", model_text(b, "%c10 joined", *name), model_text(b, "%cr", *name));
    }
    model_longs(b, "three", 3, 8, 6, 8);
    model_longs(b, "four", 4, 2, 4, 8, 6);
    if (form & FLAT) {
        model_node(b, "Reshape", repeated ? "kr three" : "k three", "k3");
        add_transpose(b, "k3", "k3t", 3, 0, 2, 1);
        model_node(b, "Reshape", "k3t four", "kt");
    } else {
        model_node(b, "Transpose", repeated ? "kr" : "k", "kt");
        model_ints(b, "perm", 4, 0, turned ? 2 : 1, 3, turned ? 1 : 2);
    }
    model_node(b, "Mul", "q scale", "qs");
    model_node(b, "MatMul", "qs kt", "s");
    if (masked)
        model_node(b, "Add", "mask s", "sm");
    model_node(b, "Softmax", masked ? "sm" : "s", "p");
    model_node(b, "MatMul", repeated ? "p vr" : "p v", "y");
    model_output(b, "y");
}

static void test_heads(void **state)
{
    (void)state;
    static const int forms[] = {0, 1, 2, 4, 5, 6, 8, 12, 14};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct model_builder *b = model_new(17);
        add_spelled_attention(b, forms[i]);
        passes_give(b, forms[i] & TURNED                        ? "Transpose Attention"
                       : (forms[i] & (FLAT | REPEATED)) == FLAT ? "Reshape Attention"
                                                                : "Attention", 1e-5);
    }
    struct model_builder *b = model_new(17);
    add_spelled_attention(b, 4);
    model_output(b, "s");
    passes_give(b, "Transpose Mul MatMul Add Softmax MatMul", 1e-5);
}

/* q, k and v of any shape, a mask, and Softmax over the axis. NULL: no mask. */
static struct model_builder *plain_attention(const struct shape *q, const struct shape *k,
                                             const struct shape *v, const struct shape *mask,
                                             int axis)
{
    static const char *const names[] = {"q", "k", "v", "mask"};
    const struct shape *const shapes[] = {q, k, v, mask};
    struct model_builder *b = model_new(17);
    for (int i = 0; i < 4 && shapes[i]; i++) {
        const int64_t *d = shapes[i]->dims;
        model_input(b, names[i], DTYPE_F32, shapes[i]->rank, (int)d[0], (int)d[1], (int)d[2],
                    (int)d[3], (int)d[4]);
    }
    add_transpose(b, "k", "kt", 4, 0, 1, 3, 2);
    model_node(b, "MatMul", "q kt", "s");
    if (mask)
        model_node(b, "Add", "s mask", "sm");
    model_node(b, "Softmax", mask ? "sm" : "s", "p");
    model_int(b, "axis", axis);
    model_node(b, "MatMul", "p v", "y");
    model_output(b, "y");
    return b;
}

/* Shapes that broadcast where the operator does not; another axis; weights behind the values. */
static void test_nearly_heads(void **state)
{
    (void)state;
    static const struct shape q = {4, {2, 4, 5, 8}}, k = {4, {2, 4, 6, 8}}, v = {4, {2, 4, 6, 3}};
    static const struct shape one_q = {4, {2, 4, 1, 8}}, one_k = {4, {2, 1, 6, 8}};
    static const struct shape one_v = {4, {2, 1, 6, 3}}, first_k = {4, {1, 4, 6, 8}};
    static const struct shape column = {2, {5, 1}}, rows = {2, {5, 6}}, wide = {4, {2, 4, 1, 6}};
    static const struct shape deep = {5, {3, 2, 4, 5, 6}};
    static const struct {
        const struct shape *q, *k, *v, *mask;
        int axis;
        const char *nodes;
    } cases[] = {
        {&q, &k, &v, &rows, 3, "Attention"},
        {&q, &k, &v, &wide, 3, "Attention"},
        {&q, &one_k, &one_v, NULL, 3, "Transpose MatMul Softmax MatMul"},
        {&q, &first_k, &v, NULL, 3, "Transpose MatMul Softmax MatMul"},
        {&q, &k, &one_v, NULL, 3, "Transpose MatMul Softmax MatMul"},
        {&q, &k, &v, &column, 3, "Transpose MatMul Add Softmax MatMul"},
        {&one_q, &k, &v, &rows, 3, "Transpose MatMul Add Softmax MatMul"},
        {&q, &k, &v, &deep, 4, "Transpose MatMul Add Softmax MatMul"},
        {&q, &k, &v, NULL, 2, "Transpose MatMul Softmax MatMul"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        graph_is(passed(plain_attention(cases[i].q, cases[i].k, cases[i].v, cases[i].mask,
                                        cases[i].axis), 1e-5), cases[i].nodes);
    struct model_builder *b = plain_attention(&q, &k, &v, NULL, 3);
    model_input(b, "u", DTYPE_F32, 4, 2, 4, 3, 5);
    model_reads(b, "y", "u p");
    graph_is(passed(b, 1e-5), "Transpose MatMul Softmax MatMul");
}

/* Heads that are repeated one by one, by whole groups, along the batch, or reshaped otherwise. */
static void test_repeated_heads(void **state)
{
    (void)state;
    static const struct {
        int k[4], apart[5], many[5];
        int shared;
    } cases[] = {
        {{2, 2, 6, 8}, {2, 2, 1, 6, 8}, {1, 1, 2, 1, 1}, 1},
        {{2, 2, 6, 8}, {2, 1, 2, 6, 8}, {1, 2, 1, 1, 1}, 0},
        {{2, 6, 2, 8}, {2, 2, 1, 6, 8}, {1, 1, 2, 1, 1}, 0},
        {{1, 2, 6, 8}, {1, 2, 1, 6, 8}, {2, 1, 2, 1, 1}, 0},
        {{2, 2, 1, 8}, {2, 2, 1, 1, 8}, {1, 1, 2, 6, 1}, 0},
    };
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        const int *k = cases[i / 2].k, *apart = cases[i / 2].apart, *many = cases[i / 2].many;
        struct model_builder *b = model_new(23);
        model_input(b, "q", DTYPE_F32, 4, 2, 4, 5, 8);
        model_longs(b, "apart", 5, apart[0], apart[1], apart[2], apart[3], apart[4]);
        model_longs(b, "many", 5, many[0], many[1], many[2], many[3], many[4]);
        model_longs(b, "joined", 4, 2, 4, 6, 8);
        for (const char *name = "kv"; *name; name++) {
            model_input(b, model_text(b, "%c", *name), DTYPE_F32, 4, k[0], k[1], k[2], k[3]);
            model_node(b, "Reshape", model_text(b, "%c apart", *name), model_text(b, "%c1", *name));
            model_node(b, "Expand", model_text(b, "%c1 many", *name), model_text(b, "%c2", *name));
            model_node(b, "Reshape", model_text(b, "%c2 joined", *name),
                       model_text(b, "%c3", *name));
        }
        if (i % 2) { /* the operator, or spelled out */
            model_node(b, "Attention", "q k3 v3", "y");
        } else {
            add_transpose(b, "k3", "kt", 4, 0, 1, 3, 2);
            model_node(b, "MatMul", "q kt", "s");
            model_node(b, "Softmax", "s", "p");
            model_node(b, "MatMul", "p v3", "y");
        }
        model_output(b, "y");
        graph_is(passed(b, 1e-5), cases[i / 2].shared ? "Attention"
                                  : "Reshape Expand Reshape Reshape Expand Reshape Attention");
    }
}

enum { HEADS = 3, DEPTH = 4, WIDTH = HEADS * DEPTH };
enum attention_form {
    ZOO,           /* scores divided, k transposed at once */
    TWO_TRANSPOSES,
    SCALED_Q,      /* q scaled before its heads are split, k after */
    NO_MASK,
    FULL_MASK,
    GEMM_SPLIT,    /* one Linear and a Split */
    NO_BIAS,
    FLAT_TRANSPOSE, /* k transposed over three dimensions */
    OPERATOR,       /* of opset 23 */
    CAUSAL,         /* the same, later keys hidden */
    FORMS
};

enum slicing { BY_GATHER, BY_SPLIT, BY_SLICE, SLICINGS };

static void add_slices(struct model_builder *b, enum slicing how)
{
    static const char *const names[] = {"q", "k", "v"};
    model_longs(b, "first", 1, 0);
    if (how == BY_SPLIT) {
        model_node(b, "Split", "t", "q5 k5 v5");
        model_int(b, "num_outputs", 3);
    }
    for (int i = 0; i < 3; i++) {
        model_long(b, model_text(b, "at%d", i), i);
        model_longs(b, model_text(b, "from%d", i), 1, i);
        model_longs(b, model_text(b, "to%d", i), 1, i + 1);
        if (how == BY_GATHER)
            model_node(b, "Gather", model_text(b, "t at%d", i), names[i]);
        if (how == BY_SLICE)
            model_node(b, "Slice", model_text(b, "t from%d to%d first", i, i),
                       model_text(b, "%s5", names[i]));
        if (how != BY_GATHER)
            model_node(b, "Squeeze", model_text(b, "%s5 first", names[i]), names[i]);
    }
}

/* A Swin block's scores: a bias of each head, and a mask of each window behind a Reshape. q, k and
 * v are slices of one value. */
static void add_windows(struct model_builder *b, enum slicing how)
{
    model_input(b, "x", DTYPE_F32, 3, 6, 4, 3 * WIDTH);
    model_random(b, "bias", 4, 1, HEADS, 4, 4);
    model_random(b, "mask", 5, 1, 3, 1, 4, 4);
    model_scalar(b, "scale", 0.5f);
    model_longs(b, "apart", 5, 6, 4, 3, HEADS, DEPTH);
    model_longs(b, "windows", 5, 2, 3, HEADS, 4, 4);
    model_longs(b, "flat", 4, -1, HEADS, 4, 4);
    model_longs(b, "merged", 3, 6, 4, WIDTH);
    model_node(b, "Reshape", "x apart", "x5");
    add_transpose(b, "x5", "t", 5, 2, 0, 3, 1, 4);
    add_slices(b, how);
    model_node(b, "Mul", "q scale", "qs");
    add_transpose(b, "k", "kt", 4, 0, 1, 3, 2);
    model_node(b, "MatMul", "qs kt", "s");
    model_node(b, "Add", "s bias", "sb");
    model_node(b, "Reshape", "sb windows", "sw");
    model_node(b, "Add", "mask sw", "sm");
    model_node(b, "Reshape", "sm flat", "sf");
    model_node(b, "Softmax", "sf", "p");
    model_node(b, "MatMul", "p v", "o");
    add_transpose(b, "o", "o2", 4, 0, 2, 1, 3);
    model_node(b, "Reshape", "o2 merged", "y");
    model_output(b, "y");
}

static void test_windows(void **state)
{
    (void)state;
    for (int how = 0; how < SLICINGS; how++) {
        struct model_builder *b = model_new(18);
        add_windows(b, (enum slicing)how);
        passes_give(b, "Attention", 1e-5);
    }
    struct model_builder *b = model_new(18); /* keys in the place of queries */
    add_windows(b, BY_GATHER);
    model_reads(b, "q", "t at1");
    passes_give(b, "Reshape Transpose Gather Gather Gather Attention Transpose Reshape", 1e-5);
    b = model_new(18); /* queries of the heads in another order */
    add_windows(b, BY_SLICE);
    add_turning_slice(b, "q5", 0, 1, 0, 2);
    passes_give(b, "Reshape Transpose Slice Squeeze Slice Squeeze Slice Squeeze Attention "
                   "Transpose Reshape", 1e-5);
    b = model_new(18); /* keys of another value */
    model_input(b, "other", DTYPE_F32, 3, 6, 4, 3 * WIDTH);
    model_node(b, "Reshape", "other apart", "other5");
    add_transpose(b, "other5", "t2", 5, 2, 0, 3, 1, 4);
    add_windows(b, BY_GATHER);
    model_reads(b, "k", "t2 at1");
    passed(b, 1e-5);
    b = model_new(18); /* the result has another shape in the end */
    add_windows(b, BY_GATHER);
    memcpy(model_data(b, "merged"), (const int64_t[]){24, 1, WIDTH}, 3 * sizeof(int64_t));
    passed(b, 1e-5);
    b = model_new(18); /* a bias that is computed */
    add_windows(b, BY_GATHER);
    model_input(b, "given", DTYPE_F32, 4, 1, HEADS, 4, 4);
    model_reads(b, "sb", "s given");
    passed(b, 1e-5);
}

/* A condition known at load hides scores: a mask like any other. One that is computed stays. */
static void test_hidden_scores(void **state)
{
    (void)state;
    for (int form = 0; form < 3; form++) {
        struct model_builder *b = model_new(17);
        uint8_t seen[25];
        for (int i = 0; i < 25; i++)
            seen[i] = (i % 5 <= i / 5) == (form == 0);
        model_input(b, "q", DTYPE_F32, 4, 2, 3, 5, 4);
        model_input(b, "kt", DTYPE_F32, 4, 2, 3, 4, 5);
        model_constant(b, "c", DTYPE_BOOL, &(struct shape){2, {5, 5}}, seen);
        model_scalar(b, "least", form ? -3.4028235e38f : -INFINITY);
        model_scalar(b, "few", -5);
        model_node(b, "MatMul", "q kt", "s");
        model_node(b, "Where", form == 0 ? "c s least" : form == 1 ? "c least s" : "c few s", "w");
        model_node(b, "Softmax", "w", "y");
        model_output(b, "y");
        passes_give(b, form < 2 ? "MatMul Add Softmax" : "MatMul Where Softmax", 1e-6);
    }
    struct model_builder *b = model_new(17); /* the condition is computed */
    model_input(b, "q", DTYPE_F32, 4, 2, 3, 5, 4);
    model_input(b, "kt", DTYPE_F32, 4, 2, 3, 4, 5);
    model_scalar(b, "zero", 0);
    model_scalar(b, "least", -1e31f);
    model_node(b, "MatMul", "q kt", "s");
    model_node(b, "Less", "s zero", "c");
    model_node(b, "Where", "c s least", "w");
    model_node(b, "Softmax", "w", "y");
    model_output(b, "y");
    passes_give(b, "MatMul Less Where Softmax", 1e-6);
    b = model_new(17); /* one row is hidden in five ways: the scores grow */
    uint8_t seen[25] = {1, 0, 1, 1, 0, 1, 1};
    model_input(b, "q", DTYPE_F32, 4, 2, 3, 1, 4);
    model_input(b, "kt", DTYPE_F32, 4, 2, 3, 4, 5);
    memset(seen + 7, 1, 18);
    model_constant(b, "c", DTYPE_BOOL, &(struct shape){2, {5, 5}}, seen);
    model_scalar(b, "least", -INFINITY);
    model_node(b, "MatMul", "q kt", "s");
    model_node(b, "Where", "c s least", "w");
    model_node(b, "Softmax", "w", "y");
    model_output(b, "y");
    passes_give(b, "MatMul Where Softmax", 1e-6);
}

static void add_projection(struct model_builder *b, const char *name, enum attention_form form)
{
    const char *product = form == NO_BIAS ? name : model_text(b, "%s.p", name);
    model_random(b, model_text(b, "%s.w", name), 2, WIDTH, WIDTH);
    model_random(b, model_text(b, "%s.b", name), 1, WIDTH);
    model_node(b, "MatMul", model_text(b, "x %s.w", name), product);
    if (form != NO_BIAS)
        model_node(b, "Add", model_text(b, "%s.b %s", name, product), name);
}

static void add_split(struct model_builder *b)
{
    model_random(b, "qkv.w", 2, WIDTH, 3 * WIDTH);
    model_random(b, "qkv.b", 1, 3 * WIDTH);
    model_node(b, "MatMul", "x qkv.w", "qkv.p");
    model_node(b, "Add", "qkv.p qkv.b", "qkv");
    model_node(b, "Split", "qkv", "q k v");
    model_int(b, "axis", -1);
}

static void add_heads(struct model_builder *b, const char *name, int keys, enum attention_form form)
{
    const char *in = model_text(b, "%s.4", name), *out = model_text(b, "%s.h", name);
    const char *from = form == SCALED_Q && *name == 'q' ? "q.scaled" : name;
    if (from != name)
        model_node(b, "Mul", "q root", "q.scaled");
    model_node(b, "Reshape", model_text(b, "%s heads", from), in);
    if (keys && form == TWO_TRANSPOSES) {
        add_transpose(b, in, "k.t", 4, 0, 2, 1, 3);
        add_transpose(b, "k.t", out, 4, 0, 1, 3, 2);
    } else if (keys && form == FLAT_TRANSPOSE) {
        add_transpose(b, in, "k.t", 4, 0, 2, 1, 3);
        model_node(b, "Reshape", "k.t three", "k.3");
        add_transpose(b, "k.3", "k.3t", 3, 0, 2, 1);
        model_node(b, "Reshape", "k.3t turned", out);
    } else if (keys && form == SCALED_Q) {
        add_transpose(b, in, "k.t", 4, 0, 2, 3, 1);
        model_node(b, "Mul", "root k.t", out);
    } else if (keys && form < OPERATOR) {
        add_transpose(b, in, out, 4, 0, 2, 3, 1);
    } else {
        add_transpose(b, in, out, 4, 0, 2, 1, 3);
    }
}

/* The scores in one node or spelled out; the result is "o". */
static void add_scores(struct model_builder *b, enum attention_form form)
{
    if (form >= OPERATOR) {
        model_node(b, "Attention", form == CAUSAL ? "q.h k.h v.h" : "q.h k.h v.h mask", "o");
        model_int(b, "is_causal", form == CAUSAL);
        return;
    }
    model_node(b, "MatMul", "q.h k.h", "s");
    model_node(b, "Div", "s two", "s1");
    const char *scores = form == SCALED_Q ? "s" : "s1";
    if (form != NO_MASK)
        model_node(b, "Add", form == TWO_TRANSPOSES ? model_text(b, "mask %s", scores)
                                                    : model_text(b, "%s mask", scores), "s2");
    model_node(b, "Softmax", form == NO_MASK ? scores : "s2", "p");
    model_node(b, "MatMul", "p v.h", "o");
}

static struct model_builder *attention_model(enum attention_form form)
{
    struct model_builder *b = model_new(form >= OPERATOR ? 23 : 17);
    model_input(b, "x", DTYPE_F32, 3, 2, 5, WIDTH);
    model_longs(b, "three", 3, 2 * HEADS, 5, DEPTH);
    model_longs(b, "turned", 4, 2, HEADS, DEPTH, 5);
    if (form == FULL_MASK)
        model_input(b, "mask", DTYPE_F32, 4, 2, HEADS, 5, 5);
    else if (form != NO_MASK && form != CAUSAL)
        model_input(b, "mask", DTYPE_F32, 4, 2, 1, 1, 5);
    model_longs(b, "heads", 4, 0, 0, HEADS, DEPTH);
    model_longs(b, "merge", 3, 0, 0, WIDTH);
    model_scalar(b, "two", 2);
    model_scalar(b, "root", 0.70710677f);
    static const char *const names[] = {"q", "k", "v"};
    if (form == GEMM_SPLIT)
        add_split(b);
    for (int i = 0; i < 3 && form != GEMM_SPLIT; i++)
        add_projection(b, names[i], form);
    for (int i = 0; i < 3; i++)
        add_heads(b, names[i], i == 1, form);
    add_scores(b, form);
    add_transpose(b, "o", "o1", 4, 0, 2, 1, 3);
    model_node(b, "Reshape", "o1 merge", "o2");
    model_random(b, "out.w", 2, WIDTH, WIDTH);
    model_random(b, "out.b", 1, WIDTH);
    model_node(b, "MatMul", "o2 out.w", "o3");
    model_node(b, "Add", "o3 out.b", "o4");
    model_node(b, "Add", "o4 x", "y");
    model_output(b, "y");
    return b;
}

static void test_attention(void **state)
{
    (void)state;
    for (int form = 0; form < FORMS; form++) {
        const char *first = form == GEMM_SPLIT ? "MatMul+Add" : "MatMul+Add (q, k, v)";
        struct model_builder *b = attention_model(form);
        passes_give(b, model_text(b, "%s Attention MatMul+Add+Add", first), 1e-5);
    }
}

/* The scores are an output too: they must still be computed, so nothing may be merged. */
static void test_no_attention(void **state)
{
    (void)state;
    struct model_builder *b = attention_model(ZOO);
    model_output(b, "p");
    passes_give(b, "MatMul+Add MatMul+Add MatMul+Add Reshape Transpose Reshape Transpose "
                   "Reshape Transpose MatMul Div Add Softmax MatMul Transpose Reshape "
                   "MatMul+Add+Add", 1e-5);
}

/* q, k and v are no products. */
static void use_activations(struct model_builder *b)
{
    static const char *const names[] = {"q", "k", "v"}, *const ops[] = {"Relu", "Neg", "Abs"};
    for (int i = 0; i < 3; i++)
        model_reads(b, names[i], "x")->op_type = ops[i];
}

static void use_other_input(struct model_builder *b)
{
    model_input(b, "other", DTYPE_F32, 3, 2, 5, WIDTH);
    model_reads(b, "k.p", "other k.w");
}

/* A factor of v is not one of the scores. */
static void scale_values(struct model_builder *b)
{
    struct onnx_node scaled = *model_maker(b, "s1"), *reshape = model_maker(b, "v.4");
    scaled.inputs = model_names(b, "v two", &scaled.input_count);
    scaled.outputs = model_names(b, "v.scaled", &scaled.output_count);
    model_reads(b, "v.4", "v.scaled heads");
    memmove(reshape + 1, reshape,
            (size_t)(b->nodes + b->model.node_count++ - reshape) * sizeof *reshape);
    *reshape = scaled;
}

/* Attention still: what was k asks what was q. */
static void exchange(struct model_builder *b)
{
    static const int64_t apart[] = {0, 2, 1, 3}, turned[] = {0, 2, 3, 1};
    model_attribute_of(b, "k.h", "perm")->ints = apart;
    model_attribute_of(b, "q.h", "perm")->ints = turned;
    model_reads(b, "s", "k.h q.h");
}

/* q is read elsewhere, too. */
static void keep_query(struct model_builder *b)
{
    model_output(b, "q");
}

/* One of the three has no bias. */
static void drop_bias(struct model_builder *b)
{
    model_reads(b, "q", "q.p")->op_type = "Identity";
}

/* Activations behind the three that are not all the same. */
static void activate(struct model_builder *b)
{
    model_reads(b, "q", "q.p")->op_type = "Relu";
    model_reads(b, "k", "k.p")->op_type = "Tanh";
    model_reads(b, "v", "v.p")->op_type = "Relu";
}

/* Scores times two where they were halved: a factor, not a divisor. */
static void double_scores(struct model_builder *b)
{
    model_maker(b, "s1")->op_type = "Mul";
}

static void test_nearly_attention(void **state)
{
    (void)state;
    static void (*const variants[])(struct model_builder *) = {use_activations, use_other_input,
                                                               scale_values, keep_query, drop_bias,
                                                               activate, exchange, double_scores};
    for (int i = 0; i < 8; i++) {
        struct model_builder *b = attention_model(ZOO);
        variants[i](b);
        assert_int_equal(graph_count(passed(b, 1e-5), "wattle", "Attention"), i >= 6);
    }
}

/* A mask for the first keys, one besides the causal one, a cap on scores; thirds of rows. */
static void test_nearly_attention_operator(void **state)
{
    (void)state;
    struct model_builder *b = attention_model(OPERATOR);
    b->inputs[1].dims[3].value = 3;
    passed(b, 1e-5);
    b = attention_model(CAUSAL);
    model_input(b, "mask", DTYPE_F32, 4, 2, 1, 1, 5);
    model_reads(b, "o", "q.h k.h v.h mask");
    passed(b, 1e-5);
    b = attention_model(OPERATOR);
    struct onnx_node *last = model_maker(b, "o");
    struct onnx_attribute *cap =
        (struct onnx_attribute *)(uintptr_t)&last->attributes[last->attribute_count++];
    *cap = (struct onnx_attribute){.name = "softcap", .type = ONNX_FLOAT, .f = 0.5f};
    passed(b, 1e-5);
    b = attention_model(GEMM_SPLIT);
    model_input(b, "long", DTYPE_F32, 3, 2, 15, WIDTH);
    model_reads(b, "q", "long");
    model_attribute_of(b, "q", "axis")->i = 1;
    passed(b, 1e-5);
}

/* Passes may leave their memory unused, but must not fail for want of it. */
static void test_no_memory(void **state)
{
    (void)state;
    /* merged weights are larger, values are not */
    const struct graph *after = passed_within(attention_model(ZOO), 1000, 1e-5);
    assert_int_equal(graph_count(after, "wattle", "Attention"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rotary),
        cmocka_unit_test(test_nearly_rotary),
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_nearly_heads),
        cmocka_unit_test(test_repeated_heads),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_hidden_scores),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_no_attention),
        cmocka_unit_test(test_nearly_attention),
        cmocka_unit_test(test_nearly_attention_operator),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, models_free);
}
