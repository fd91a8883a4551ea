/* The node tests that come with ONNX (Debian: libonnx-testdata): every case whose operators are
 * supported is built and run on the reference kernels and compared with the recorded outputs. */
#include "engine/graph.h"
#include "engine/interpret.h"
#include "engine/op.h"
#include "engine/ops/ops.h"
#include "model/onnx_read.h"

#include "test.h"

#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TENSORS_MAX = 16, MEMORY = 256 << 20 };

static const char *const suites[] = {"node", "pytorch-converted", "pytorch-operator", "simple"};
/* WATTLE_ONNX_NODES names another folder, such as one that tests/tools/onnx_nodes.py wrote. */
static const char *root = "/usr/share/libonnx-testdata/data";

/* What passed when this was last looked at: fewer means that something broke. */
enum { PASSED_MIN = 749 };

struct test_case {
    char folder[PATH_MAX];
    struct onnx_model *model;
    struct onnx_file files[2 * TENSORS_MAX]; /* arenas of the tensors */
    int file_count;
    struct tensor inputs[TENSORS_MAX], outputs[TENSORS_MAX];
    int input_count, output_count;
};

enum verdict { PASSED, UNSUPPORTED, FAILED };

static int read_tensors(struct test_case *t, const char *kind, struct tensor *out)
{
    int n = 0;
    for (; n < TENSORS_MAX; n++) {
        char path[PATH_MAX + 64];
        struct onnx_file *f = &t->files[t->file_count];
        struct error e;
        const char *name;
        snprintf(path, sizeof path, "%s/test_data_set_0/%s_%d.pb", t->folder, kind, n);
        if (access(path, R_OK))
            return n;
        *f = (struct onnx_file){0};
        arena_init(&f->arena, MEMORY);
        t->file_count++;
        if (file_map_open(path, &f->map, &e) ||
            onnx_read_tensor(f, f->map.data, f->map.size, 0, &name, &out[n], &e))
            return -1;
    }
    return -1;
}

static void release(struct test_case *t)
{
    for (int i = 0; i < t->file_count; i++) {
        file_map_close(&t->files[i].map);
        arena_release(&t->files[i].arena);
    }
    onnx_close(t->model);
}

/* Distance allowed between the recorded and the computed value, as in ONNX's own backend test;
 * half precision carries its rounding. */
static int near(enum dtype type, double want, double have)
{
    double relative = type == DTYPE_F16 ? 2e-3 : type == DTYPE_BF16 ? 2e-2 : 1e-3;
    if (isnan(want) || isnan(have))
        return isnan(want) && isnan(have);
    return want == have || fabs(want - have) <= 1e-7 + relative * fabs(want);
}

static int compare(const struct tensor *want, const struct value *v, const void *have, char *why)
{
    char s[64], t[64];
    enum dtype type = want->type == DTYPE_U16 && v->type == DTYPE_BF16 ? v->type : want->type;
    if (type != v->type || !shape_equal(&want->shape, &v->shape)) {
        snprintf(why, 256, "output is %s %s, not %s %s", dtype_name(v->type),
                 shape_text(&v->shape, s, sizeof s), dtype_name(want->type),
                 shape_text(&want->shape, t, sizeof t));
        return -1;
    }
    for (int64_t i = 0; i < shape_elements(&want->shape); i++) {
        double x, y;
        load_real(type, want->data, i, 1, 1, &x);
        load_real(type, have, i, 1, 1, &y);
        if (!near(type, x, y)) {
            snprintf(why, 256, "element %lld is %.9g, not %.9g", (long long)i, y, x);
            return -1;
        }
    }
    return 0;
}

static enum verdict compare_all(const struct test_case *t, const struct graph *g, void **have,
                                char *why)
{
    for (int i = 0; i < t->output_count; i++)
        if (compare(&t->outputs[i], &g->values[g->outputs[i]], have[i], why))
            return FAILED;
    return PASSED;
}

/* Once with inputs fed at run time and, if that is not possible, with inputs known at load. */
static enum verdict run(struct test_case *t, int known, char *why)
{
    struct graph g;
    struct error e;
    struct graph_feed feeds[TENSORS_MAX];
    const void *inputs[TENSORS_MAX];
    void *have[TENSORS_MAX] = {0};
    for (int i = 0; i < t->input_count; i++) {
        /* The files keep bfloat16 as the uint16 of the same bits. */
        if (t->model->inputs[i].type == DTYPE_BF16 && t->inputs[i].type == DTYPE_U16)
            t->inputs[i].type = DTYPE_BF16;
        feeds[i] = (struct graph_feed){t->model->inputs[i].name, t->inputs[i]};
        inputs[i] = t->inputs[i].data;
    }
    int code = graph_build_fed(&g, t->model, NULL, 0, feeds, known ? (size_t)t->input_count : 0,
                               MEMORY, &e);
    if (code) {
        snprintf(why, 256, "%s", e.text);
        return code == ERROR_UNSUPPORTED ? UNSUPPORTED : FAILED;
    }
    enum verdict v = FAILED;
    if (g.output_count != t->output_count || g.output_count > TENSORS_MAX)
        snprintf(why, 256, "%d outputs, not %d", g.output_count, t->output_count);
    else if (interpret(&g, inputs, have, &e))
        snprintf(why, 256, "%s", e.text);
    else
        v = compare_all(t, &g, have, why);
    for (int i = 0; i < g.output_count && i < TENSORS_MAX; i++)
        free(have[i]);
    graph_release(&g);
    return v;
}

static enum verdict run_case(const char *folder, char *why)
{
    struct test_case *t = calloc(1, sizeof *t);
    struct error e;
    char path[PATH_MAX + 16];
    assert_non_null(t);
    snprintf(t->folder, sizeof t->folder, "%s", folder);
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    enum verdict v = UNSUPPORTED;
    snprintf(why, 256, "tensors that cannot be read");
    if (onnx_open(path, &t->model, &e)) {
        snprintf(why, 256, "%s", e.text);
    } else {
        t->input_count = read_tensors(t, "input", t->inputs);
        t->output_count = read_tensors(t, "output", t->outputs);
        if (t->input_count == (int)t->model->input_count && t->output_count > 0)
            v = run(t, 0, why);
        if (v == UNSUPPORTED && t->input_count == (int)t->model->input_count && t->output_count > 0)
            v = run(t, 1, why);
    }
    release(t);
    free(t);
    return v;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted, so that two runs print the same. */
static size_t list(const char *folder, char ***names)
{
    DIR *d = opendir(folder);
    size_t n = 0;
    *names = calloc(4096, sizeof **names);
    assert_non_null(*names);
    for (struct dirent *entry; d && n < 4096 && (entry = readdir(d));)
        if (entry->d_name[0] != '.')
            (*names)[n++] = strdup(entry->d_name);
    if (d)
        closedir(d);
    qsort(*names, n, sizeof **names, compare_names);
    return n;
}

static void run_suite(const char *suite, int counts[3])
{
    char folder[PATH_MAX], path[PATH_MAX + 512], why[256], **names;
    snprintf(folder, sizeof folder, "%s/%s", root, suite);
    size_t n = list(folder, &names);
    for (size_t i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        enum verdict v = run_case(path, why);
        counts[v]++;
        if (v == FAILED || (v == UNSUPPORTED && getenv("WATTLE_TEST_VERBOSE")))
            print_message("%s %s/%s: %s\n", v == FAILED ? "FAILED" : "unsupported", suite,
                          names[i], why);
        free(names[i]);
    }
    free(names);
}

static void test_recorded_cases(void **state)
{
    int counts[3] = {0};
    (void)state;
    for (size_t i = 0; i < sizeof suites / sizeof *suites; i++)
        run_suite(suites[i], counts);
    print_message("%d passed, %d unsupported, %d failed\n", counts[PASSED], counts[UNSUPPORTED],
                  counts[FAILED]);
    assert_int_equal(counts[FAILED], 0);
    assert_true(counts[PASSED] >= PASSED_MIN);
}

int main(void)
{
    if (getenv("WATTLE_ONNX_NODES"))
        root = getenv("WATTLE_ONNX_NODES");
    if (access(root, R_OK)) {
        puts("no ONNX node tests here: install libonnx-testdata");
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_recorded_cases)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
