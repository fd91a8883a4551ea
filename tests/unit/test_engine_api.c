/* The engine as its users see it: the built-in models against the reference provider, small models
 * for the corners, and everything that can be wrong with what it is given. */
#include <wattle/engine.h>

#include "engine/graph.h"
#include "engine/op.h"
#include "model/zoo.h"

#include "model_files.h"

#include <math.h>
#include <pthread.h>

static char error[WATTLE_ERROR_MAX];

static int make_home(void **state)
{
    return make_folder(state) ? -1 : setenv("WATTLE_HOME", folder, 1);
}

/* The file of a built-in model, written once. */
static const char *zoo_file(const char *name)
{
    static char path[PATH_MAX];
    const struct zoo_model *m = zoo_find(name);
    assert_non_null(m);
    if (zoo_cached(m) ? zoo_path(m, path, &err) : zoo_build(m, path, &err))
        fail_msg("%s", err.text);
    return path;
}

/* ---- loading and feeding ---- */

struct request {
    const char *provider;
    int threads, flags;
    int64_t n, s; /* sizes of N and S; 0 leaves them out */
};

static struct wattle_engine *load(const char *path, struct request r)
{
    struct wattle_engine *e = NULL;
    struct wattle_dim dims[2];
    struct wattle_engine_options o = {.size = sizeof o, .threads = r.threads,
                                      .provider = r.provider, .dims = dims, .flags = r.flags};
    if (r.n)
        dims[o.dim_count++] = (struct wattle_dim){"N", r.n};
    if (r.s)
        dims[o.dim_count++] = (struct wattle_dim){"S", r.s};
    if (wattle_engine_load(path, &o, &e, error))
        fail_msg("%s", error);
    return e;
}

static uint32_t next_random(uint32_t *random)
{
    *random = *random * 1664525u + 1013904223u;
    return *random >> 8;
}

/* Row `row` of each input is the same whatever the batch. */
static void fill_row(const struct wattle_tensor_info *info, void *data, int64_t row, uint32_t seed)
{
    uint32_t random = seed * 77 + (uint32_t)row * 1315423911u + (uint32_t)strlen(info->name);
    size_t size = info->type == DTYPE_I64 ? 8 : 4;
    size_t count = info->bytes / size / (size_t)info->dims[0];
    for (size_t i = 0; i < count; i++) {
        uint32_t r = next_random(&random);
        size_t at = (size_t)row * count + i;
        if (info->type == DTYPE_F32)
            ((float *)data)[at] = (float)r / 4194304.0f - 2;
        else if (strstr(info->name, "mask"))
            ((int64_t *)data)[at] = i < count - count / 4;
        else
            ((int64_t *)data)[at] = r % (strstr(info->name, "type") ? 2 : 30522);
    }
}

static void fill(struct wattle_engine *e, uint32_t seed)
{
    for (size_t i = 0; i < wattle_engine_input_count(e); i++) {
        const struct wattle_tensor_info *info = wattle_engine_input(e, i);
        for (int64_t row = 0; row < info->dims[0]; row++)
            fill_row(info, wattle_engine_input_data(e, i), row, seed);
    }
}

static void run(struct wattle_engine *e)
{
    if (wattle_engine_run(e, error))
        fail_msg("%s", error);
}

/* got[i] against want[i], to `tolerance` of the largest value. */
static void compare(const char *what, const float *got, const float *want, size_t n,
                    double tolerance)
{
    double scale = 0, worst = 0;
    for (size_t i = 0; i < n; i++) {
        scale = fmax(scale, fabs((double)want[i]));
        double difference = fabs((double)got[i] - (double)want[i]);
        if (!(difference <= worst))
            worst = difference;
    }
    assert_true(scale > 0);
    if (!(worst <= tolerance * scale))
        fail_msg("%s: off by %g of %g", what, worst, scale);
}

static void compare_outputs(struct wattle_engine *got, struct wattle_engine *want, double tolerance)
{
    for (size_t i = 0; i < wattle_engine_output_count(want); i++) {
        const struct wattle_tensor_info *info = wattle_engine_output(want, i);
        assert_int_equal(wattle_engine_output(got, i)->bytes, info->bytes);
        compare(info->name, wattle_engine_output_data(got, i), wattle_engine_output_data(want, i),
                info->bytes / sizeof(float), tolerance);
    }
}

/* ---- built-in models ---- */

static void agrees_with_reference(const char *name, int64_t n, int64_t s)
{
    const char *path = zoo_file(name);
    struct wattle_engine *want = load(path, (struct request){"reference", 2, 0, n, s});
    struct wattle_engine_info info;
    fill(want, 1);
    run(want);
    wattle_engine_info(want, &info);
    assert_int_equal(info.steps_reference, info.steps);
    assert_string_equal(info.provider, "reference");
    for (int threads = 1; threads <= 2; threads++) {
        struct wattle_engine *got = load(path, (struct request){"cpu", threads, 0, n, s});
        fill(got, 1);
        for (int i = 0; i < 2; i++)
            run(got);
        compare_outputs(got, want, 1e-4);
        wattle_engine_info(got, &info);
        assert_int_equal(info.threads, threads);
        assert_true(info.steps_reference <= 5); /* BERT's gathers and mask arithmetic */
        assert_true(n != 1 || s || info.macs == zoo_find(name)->macs);
        wattle_engine_free(got);
    }
    wattle_engine_free(want);
}

static void resnet50_agrees(void **state)
{
    (void)state;
    agrees_with_reference("resnet50", 1, 0);
}

static void mobilenet_v2_agrees(void **state)
{
    (void)state;
    agrees_with_reference("mobilenet_v2", 1, 0);
    agrees_with_reference("mobilenet_v2", 3, 0);
}

static void bert_base_agrees(void **state)
{
    (void)state;
    agrees_with_reference("bert_base", 1, 37);
    agrees_with_reference("bert_base", 2, 7);
}

/* With the masked tail of a longer sequence, the head gives what it gives alone. */
static void bert_base_ignores_masked_tokens(void **state)
{
    (void)state;
    const char *path = zoo_file("bert_base");
    struct wattle_engine *e = load(path, (struct request){NULL, 1, 0, 1, 16});
    fill(e, 3);
    run(e);
    float *first = malloc(wattle_engine_output(e, 1)->bytes);
    memcpy(first, wattle_engine_output_data(e, 1), wattle_engine_output(e, 1)->bytes);
    int64_t *ids = wattle_engine_input_data(e, 0), *mask = wattle_engine_input_data(e, 1);
    for (int i = 12; i < 16; i++) {
        assert_int_equal(mask[i], 0);
        ids[i] = (ids[i] + 1000) % 30522;
    }
    run(e);
    compare("pooled", wattle_engine_output_data(e, 1), first, 768, 1e-5);
    ids[3] = (ids[3] + 1000) % 30522;
    run(e);
    double change = 0;
    for (int i = 0; i < 768; i++)
        change = fmax(change, fabs((double)((const float *)wattle_engine_output_data(e, 1))[i] -
                                   (double)first[i]));
    assert_true(change > 1e-3);
    free(first);
    wattle_engine_free(e);
}

/* Batches of 3 and 8 give row by row what batch 1 gives. */
static void rows_agree(const char *name, int64_t s)
{
    const char *path = zoo_file(name);
    struct wattle_engine *one = load(path, (struct request){NULL, 1, 0, 1, s});
    for (int64_t n = 3; n <= 8; n += 5) {
        struct wattle_engine *many = load(path, (struct request){NULL, n == 3 ? 2 : 1, 0, n, s});
        fill(many, 9);
        run(many);
        for (int64_t row = 0; row < n; row += n - 1) {
            for (size_t i = 0; i < wattle_engine_input_count(one); i++) {
                size_t bytes = wattle_engine_input(one, i)->bytes;
                memcpy(wattle_engine_input_data(one, i),
                       (char *)wattle_engine_input_data(many, i) + (size_t)row * bytes, bytes);
            }
            run(one);
            for (size_t i = 0; i < wattle_engine_output_count(one); i++) {
                size_t count = wattle_engine_output(one, i)->bytes / sizeof(float);
                compare(name, (const float *)wattle_engine_output_data(many, i) +
                        (size_t)row * count, wattle_engine_output_data(one, i), count, 1e-4);
            }
        }
        wattle_engine_free(many);
    }
    wattle_engine_free(one);
}

static void batches_agree_row_by_row(void **state)
{
    (void)state;
    rows_agree("mobilenet_v2", 0);
    rows_agree("resnet50", 0);
    rows_agree("bert_base", 11);
}

/* ---- activations stay in range to the last layer ---- */

struct spread {
    double sd, largest;
};

static struct spread spread_of(const float *x, int64_t n)
{
    double sum = 0, squares = 0, largest = 0;
    for (int64_t i = 0; i < n; i++) {
        assert_true(isfinite(x[i]));
        sum += (double)x[i];
        squares += (double)x[i] * (double)x[i];
        largest = fmax(largest, fabs((double)x[i]));
    }
    double mean = sum / (double)n;
    return (struct spread){sqrt(fmax(squares / (double)n - mean * mean, 0)), largest};
}

static void make_data(const struct graph *g, void **data)
{
    for (int i = 0; i < g->value_count; i++) {
        const struct value *v = &g->values[i];
        if (v->constant)
            continue;
        data[i] = calloc(1, (size_t)shape_bytes(&v->shape, v->type) + 1);
        assert_non_null(data[i]);
        struct wattle_tensor_info info = {.name = v->name, .type = (int)v->type, .dims = {1},
                                          .bytes = (size_t)shape_bytes(&v->shape, v->type)};
        if (v->is_input)
            fill_row(&info, data[i], 0, 1);
    }
}

static int is_large_layer(const struct graph *g, const struct node *n)
{
    const char *op = n->op->name;
    return g->values[n->outputs[0]].type == DTYPE_F32 &&
           (!strcmp(op, "Conv") || !strcmp(op, "Gemm") || !strcmp(op, "MatMul") ||
            !strcmp(op, "BatchNormalization") || !strcmp(op, "LayerNormalization"));
}

static void stays_in_range(const char *name, int64_t s, int layers)
{
    struct onnx_model *model;
    struct graph g;
    const struct graph_dim dims = {"S", s};
    if (onnx_open(zoo_file(name), &model, &err) ||
        graph_build(&g, model, &dims, s > 0, 1ull << 32, &err))
        fail_msg("%s", err.text);
    void **data = calloc((size_t)g.value_count, sizeof *data);
    make_data(&g, data);
    int seen = 0;
    for (int i = 0; i < g.node_count; i++) {
        const struct node *n = &g.nodes[i];
        if (graph_run_node(&g, n, data, &err))
            fail_msg("%s", err.text);
        if (!is_large_layer(&g, n))
            continue;
        const struct value *v = &g.values[n->outputs[0]];
        struct spread d = spread_of(data[n->outputs[0]], shape_elements(&v->shape));
        seen++;
        if (getenv("SHOW_RANGES"))
            printf("%-60s sd %.3g largest %.3g\n", n->name, d.sd, d.largest);
        if (!(d.sd > 0.02 && d.sd < 20 && d.largest < 150))
            fail_msg("%s: sd %g, largest %g", n->name, d.sd, d.largest);
    }
    assert_true(seen >= layers);
    for (int i = 0; i < g.value_count; i++)
        free(data[i]);
    free(data);
    graph_release(&g);
    onnx_close(model);
}

static void activations_stay_in_range(void **state)
{
    (void)state;
    stays_in_range("resnet50", 0, 107);
    stays_in_range("mobilenet_v2", 0, 105);
    stays_in_range("bert_base", 24, 100);
}

/* ---- small models ---- */

enum { WIDTH = 8 };

/* y = Relu(x W + b), N x 8 -> N x 4; also z = x, and c, a constant. */
static const char *linear_model(const char *name)
{
    struct onnx_writer *w = onnx_writer_new("small");
    float weights[WIDTH * 4], bias[4] = {0.5f, -0.5f, 0, 1};
    for (int i = 0; i < WIDTH * 4; i++)
        weights[i] = (float)(i % 7) - 3;
    onnx_writer_input(w, "x", DTYPE_F32, NAMES("N", "8"));
    onnx_writer_constant(w, "w", DTYPE_F32, &(struct shape){2, {WIDTH, 4}}, weights);
    onnx_writer_constant(w, "b", DTYPE_F32, &(struct shape){1, {4}}, bias);
    onnx_writer_node(w, "MatMul", "product", NAMES("x", "w"), "xw");
    onnx_writer_node(w, "Add", "sum", NAMES("xw", "b"), "s");
    onnx_writer_node(w, "Relu", "cut", NAMES("s"), "y");
    onnx_writer_node(w, "Identity", "same", NAMES("x"), "z");
    onnx_writer_node(w, "Identity", "fixed", NAMES("b"), "c");
    onnx_writer_output(w, "y", DTYPE_F32, NAMES("N", "4"));
    onnx_writer_output(w, "z", DTYPE_F32, NAMES("N", "8"));
    onnx_writer_output(w, "c", DTYPE_F32, NAMES("4"));
    finish(w, name);
    return path_of(name);
}

static void check_small(struct wattle_engine *e, const float *x)
{
    const float *y = wattle_engine_output_data(e, 0), *z = wattle_engine_output_data(e, 1);
    const float *c = wattle_engine_output_data(e, 2), bias[4] = {0.5f, -0.5f, 0, 1};
    for (int o = 0; o < 4; o++) {
        double sum = (double)bias[o];
        for (int i = 0; i < WIDTH; i++)
            sum += (double)x[i] * ((i * 4 + o) % 7 - 3);
        assert_float_equal(y[o], fmax(sum, 0), 1e-4);
        assert_float_equal(c[o], bias[o], 0);
    }
    for (int i = 0; i < WIDTH; i++)
        assert_float_equal(z[i], x[i], 0);
}

static void inputs_are_bound_and_unbound(void **state)
{
    (void)state;
    const char *path = linear_model("small.onnx");
    for (int reference = 0; reference < 2; reference++) {
        struct wattle_engine *e =
            load(path, (struct request){reference ? "reference" : "cpu", 1, 0, 0, 0});
        float own[WIDTH] = {1, 2, 3, 4, 5, 6, 7, 8}, other[WIDTH] = {-1, 0, 4, 0, 1, 0, -2, 3};
        float unaligned[WIDTH + 1] = {0, 9, 8, 7, 6, 5, 4, 3, 2};
        assert_int_equal(wattle_engine_input_count(e), 1);
        assert_int_equal(wattle_engine_output_count(e), 3);
        assert_string_equal(wattle_engine_input(e, 0)->name, "x");
        assert_int_equal(wattle_engine_input(e, 0)->bytes, sizeof own);
        assert_int_equal(wattle_engine_input(e, 0)->dims[0], 1);
        assert_int_equal(wattle_engine_input(e, 0)->type, 1);
        memcpy(wattle_engine_input_data(e, 0), own, sizeof own);
        run(e);
        memset(wattle_engine_input_data(e, 0), 0, sizeof own); /* outputs are apart from inputs */
        check_small(e, own);
        memcpy(wattle_engine_input_data(e, 0), own, sizeof own);
        assert_int_equal(wattle_engine_bind_input(e, 0, other, error), 0);
        run(e);
        check_small(e, other);
        assert_int_equal(wattle_engine_bind_input(e, 0, unaligned + 1, error), 0);
        run(e);
        check_small(e, unaligned + 1);
        assert_int_equal(wattle_engine_bind_input(e, 0, NULL, error), 0);
        run(e);
        check_small(e, own);
        assert_int_equal(wattle_engine_bind_input(e, 1, other, error), ERROR_USAGE);
        assert_non_null(strstr(error, "no input 1"));
        assert_null(wattle_engine_input(e, 1));
        assert_null(wattle_engine_output(e, 3));
        assert_null(wattle_engine_input_data(e, 7));
        assert_null(wattle_engine_output_data(e, 7));
        assert_int_equal((uintptr_t)wattle_engine_input_data(e, 0) % 64, 0);
        assert_int_equal((uintptr_t)wattle_engine_output_data(e, 0) % 64, 0);
        wattle_engine_free(e);
    }
}

/* Numbers too small to be normal are numbers, in every thread, as in the reference. */
static void small_numbers_are_kept(void **state)
{
    (void)state;
    enum { ROWS = 4096 };
    static const char *const names[] = {"cpu", "reference"};
    const float small = 1e-40f, negative = -1e-40f;
    struct onnx_writer *w = onnx_writer_new("tiny");
    onnx_writer_input(w, "x", DTYPE_F32, NAMES("N", "8"));
    onnx_writer_node(w, "Relu", "cut", NAMES("x"), "r");
    onnx_writer_node(w, "Neg", "turned", NAMES("x"), "n");
    onnx_writer_output(w, "r", DTYPE_F32, NAMES("N", "8"));
    onnx_writer_output(w, "n", DTYPE_F32, NAMES("N", "8"));
    finish(w, "tiny.onnx");
    for (size_t p = 0; p < 2; p++) {
        struct request two = {names[p], 2, 0, ROWS, 0};
        struct wattle_engine *e = load(path_of("tiny.onnx"), two);
        float *x = wattle_engine_input_data(e, 0);
        for (size_t i = 0; i < ROWS * WIDTH; i++)
            memcpy(&x[i], &small, sizeof small);
        run(e);
        const float *r = wattle_engine_output_data(e, 0), *n = wattle_engine_output_data(e, 1);
        for (size_t i = 0; i < ROWS * WIDTH; i++) { /* bytes: == may take it for zero */
            assert_memory_equal(&r[i], &small, sizeof small);
            assert_memory_equal(&n[i], &negative, sizeof negative);
        }
        wattle_engine_free(e);
    }
}

/* Outputs hold the last run's result while the next input is written, and runs repeat exactly. */
static void runs_repeat_exactly(void **state)
{
    (void)state;
    const char *path = zoo_file("mobilenet_v2");
    struct wattle_engine *e = load(path, (struct request){NULL, 2, 0, 1, 0});
    float first[1000];
    fill(e, 5);
    run(e);
    memcpy(first, wattle_engine_output_data(e, 0), sizeof first);
    fill(e, 6);
    assert_memory_equal(first, wattle_engine_output_data(e, 0), sizeof first);
    run(e);
    assert_memory_not_equal(first, wattle_engine_output_data(e, 0), sizeof first);
    fill(e, 5);
    run(e);
    assert_memory_equal(first, wattle_engine_output_data(e, 0), sizeof first);
    wattle_engine_free(e);
}

static void *run_some(void *e)
{
    for (int i = 0; i < 3; i++)
        if (wattle_engine_run(e, NULL))
            return e;
    return NULL;
}

/* Several engines at once, each in a thread of its own, agree with one alone. */
static void engines_are_independent(void **state)
{
    (void)state;
    const char *path = zoo_file("mobilenet_v2");
    struct wattle_engine *alone = load(path, (struct request){NULL, 1, 0, 1, 0}), *many[3];
    pthread_t threads[3];
    fill(alone, 2);
    run(alone);
    for (int i = 0; i < 3; i++) {
        many[i] = load(path, (struct request){NULL, 1 + i % 2, 0, 1, 0});
        fill(many[i], 2);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_some, many[i]), 0);
    for (int i = 0; i < 3; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
        compare_outputs(many[i], alone, 1e-4);
        wattle_engine_free(many[i]);
    }
    wattle_engine_free(alone);
}

static void profile_tells_the_truth(void **state)
{
    (void)state;
    struct wattle_engine *e = load(zoo_file("mobilenet_v2"), (struct request){NULL, 1, 0, 1, 0});
    struct wattle_engine_info info;
    struct wattle_step_time times[200];
    size_t count = 0;
    int64_t macs = 0;
    wattle_engine_info(e, &info);
    fill(e, 1);
    assert_int_equal(wattle_engine_profile(e, times, 200, &count, error), 0);
    assert_int_equal(count, info.steps);
    assert_int_equal(info.nodes_in_file, 152);
    assert_string_equal(info.provider, "cpu");
    assert_non_null(strstr(info.kernels, "oneDNN "));
    assert_true(info.arena_bytes > 1 << 20 && info.weight_bytes > 13 << 20);
    for (size_t i = 0; i < count; i++) {
        assert_true(times[i].ns > 0);
        assert_true(*times[i].kernel && *times[i].op && times[i].node);
        macs += times[i].macs;
    }
    assert_int_equal(macs, info.macs);
    struct wattle_step_time one;
    assert_int_equal(wattle_engine_profile(e, &one, 1, &count, error), 0);
    assert_int_equal(count, info.steps);
    wattle_engine_free(e);
}

/* Without tuning every load chooses the same. */
static void untuned_loads_are_alike(void **state)
{
    (void)state;
    struct wattle_step_time times[2][200];
    size_t count[2];
    for (int i = 0; i < 2; i++) {
        struct wattle_engine *e = load(zoo_file("mobilenet_v2"),
                                       (struct request){NULL, 1, WATTLE_ENGINE_NO_TUNING, 1, 0});
        assert_int_equal(wattle_engine_profile(e, times[i], 200, &count[i], error), 0);
        for (size_t k = 0; k < count[i]; k++)
            times[i][k].kernel = strdup(times[i][k].kernel);
        wattle_engine_free(e);
    }
    assert_int_equal(count[0], count[1]);
    for (size_t k = 0; k < count[0]; k++) {
        assert_string_equal(times[0][k].kernel, times[1][k].kernel);
        free((void *)(uintptr_t)times[0][k].kernel);
        free((void *)(uintptr_t)times[1][k].kernel);
    }
}

/* ---- wrong input ---- */

static void fails(const char *path, const struct wattle_engine_options *o, int code,
                  const char *text)
{
    struct wattle_engine *e = (struct wattle_engine *)(uintptr_t)1;
    memset(error, 'x', sizeof error);
    int got = wattle_engine_load(path, o, &e, error);
    if (got != code || !strstr(error, text))
        fail_msg("code %d instead of %d, '%s' instead of '%s'", got, code, error, text);
    assert_null(e);
    assert_null(strchr(error, '\n'));
    assert_int_equal(wattle_engine_load(path, o, &e, NULL), code);
}

static void files_that_cannot_be_loaded(void **state)
{
    (void)state;
    size_t size;
    fails("/nonexistent/model.onnx", NULL, ERROR_IO, "/nonexistent/model.onnx");
    char *bytes = read_bytes(zoo_file("mobilenet_v2"), &size);
    write_bytes("short.onnx", bytes, size / 2);
    fails(path_of("short.onnx"), NULL, ERROR_FORMAT, "short.onnx");
    write_bytes("tiny.onnx", bytes, 10);
    fails(path_of("tiny.onnx"), NULL, ERROR_FORMAT, "tiny.onnx");
    free(bytes);

    struct onnx_writer *w = onnx_writer_new("odd");
    onnx_writer_input(w, "x", DTYPE_F32, NAMES("4"));
    onnx_writer_node(w, "Frobnicate", "odd node", NAMES("x"), "y");
    onnx_writer_output(w, "y", DTYPE_F32, NAMES("4"));
    finish(w, "odd.onnx");
    fails(path_of("odd.onnx"), NULL, ERROR_UNSUPPORTED, "Frobnicate");
    fails(path_of("odd.onnx"), NULL, ERROR_UNSUPPORTED, "odd node");

    w = onnx_writer_new("misfit");
    onnx_writer_input(w, "x", DTYPE_F32, NAMES("2", "3"));
    onnx_writer_input(w, "z", DTYPE_F32, NAMES("4", "5"));
    onnx_writer_node(w, "MatMul", "misfit", NAMES("x", "z"), "y");
    onnx_writer_output(w, "y", DTYPE_F32, NAMES("2", "5"));
    finish(w, "misfit.onnx");
    fails(path_of("misfit.onnx"), NULL, ERROR_FORMAT, "misfit");
}

static void options_that_cannot_be(void **state)
{
    (void)state;
    const char *path = linear_model("options.onnx");
    struct wattle_dim dim = {"Q", 2}, less = {"N", -1};
    fails(path, &(struct wattle_engine_options){.provider = "cuda"}, ERROR_USAGE, "'cuda'");
    fails(path, &(struct wattle_engine_options){.threads = -1}, ERROR_USAGE, "-1");
    fails(path, &(struct wattle_engine_options){.threads = 100000}, ERROR_USAGE, "100000");
    fails(path, &(struct wattle_engine_options){.dims = &dim, .dim_count = 1}, ERROR_USAGE, "'Q'");
    fails(path, &(struct wattle_engine_options){.dims = &less, .dim_count = 1}, ERROR_USAGE, "N=-1");
    fails(path, &(struct wattle_engine_options){.dim_count = 1}, ERROR_USAGE, "dims");

    /* Options of another version of the header: shorter is fine, longer if the rest is zero. */
    struct {
        struct wattle_engine_options o;
        int64_t more[2];
    } longer = {.o = {.size = sizeof longer, .threads = 2}};
    struct wattle_engine *e;
    assert_int_equal(wattle_engine_load(path, &longer.o, &e, error), 0);
    wattle_engine_free(e);
    longer.more[1] = 1;
    fails(path, &longer.o, ERROR_USAGE, "newer");
    struct wattle_engine_options o = {.size = offsetof(struct wattle_engine_options, provider),
                                      .threads = 1, .provider = "no such thing"};
    assert_int_equal(wattle_engine_load(path, &o, &e, error), 0);
    wattle_engine_free(e);
    wattle_engine_free(NULL);
}

static void memory_limit_is_honoured(void **state)
{
    (void)state;
    struct wattle_engine *e;
    struct wattle_engine_options o = {.size = sizeof o, .memory_limit_bytes = 8 << 20};
    fails(zoo_file("mobilenet_v2"), &o, ERROR_MEMORY, "limit");
    o.memory_limit_bytes = 64 << 20;
    assert_int_equal(wattle_engine_load(zoo_file("mobilenet_v2"), &o, &e, error), 0);
    struct wattle_engine_info info;
    wattle_engine_info(e, &info);
    assert_true(info.arena_bytes + info.weight_bytes <= 64 << 20);
    wattle_engine_free(e);
    struct wattle_dim huge = {"N", INT64_MAX / 2};
    o.dims = &huge;
    o.dim_count = 1;
    fails(zoo_file("mobilenet_v2"), &o, ERROR_MEMORY, "");
}

/* Bad data is an error that names the node, and the engine is as good as before. */
static void tokens_out_of_range(void **state)
{
    (void)state;
    struct wattle_engine *e = load(zoo_file("bert_base"), (struct request){NULL, 1, 0, 1, 4});
    const int64_t bad[] = {30522, -30523, INT64_MAX, INT64_MIN};
    struct wattle_step_time times[4];
    size_t count;
    fill(e, 1);
    run(e);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t *ids = wattle_engine_input_data(e, 0), good = ids[2];
        ids[2] = bad[i];
        assert_int_not_equal(wattle_engine_run(e, error), 0);
        assert_non_null(strstr(error, "word_embeddings"));
        assert_int_not_equal(wattle_engine_run(e, NULL), 0);
        assert_int_not_equal(wattle_engine_profile(e, times, 4, &count, error), 0);
        ids[2] = good;
        run(e);
    }
    wattle_engine_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resnet50_agrees),
        cmocka_unit_test(mobilenet_v2_agrees),
        cmocka_unit_test(bert_base_agrees),
        cmocka_unit_test(bert_base_ignores_masked_tokens),
        cmocka_unit_test(batches_agree_row_by_row),
        cmocka_unit_test(activations_stay_in_range),
        cmocka_unit_test(inputs_are_bound_and_unbound),
        cmocka_unit_test(runs_repeat_exactly),
        cmocka_unit_test(small_numbers_are_kept),
        cmocka_unit_test(engines_are_independent),
        cmocka_unit_test(profile_tells_the_truth),
        cmocka_unit_test(untuned_loads_are_alike),
        cmocka_unit_test(files_that_cannot_be_loaded),
        cmocka_unit_test(options_that_cannot_be),
        cmocka_unit_test(memory_limit_is_honoured),
        cmocka_unit_test(tokens_out_of_range),
    };
    return cmocka_run_group_tests(tests, make_home, remove_folder);
}
