/* What graph and passes make of the built-in models. */
#include "engine_model.h"

#include "engine/pass.h"
#include "model/zoo.h"

#include <limits.h>
#include <unistd.h>

static char home[64];

static int make_home(void **state)
{
    (void)state;
    strcpy(home, "/tmp/wattle-test-XXXXXX");
    return mkdtemp(home) ? setenv("WATTLE_HOME", home, 1) : -1;
}

static int remove_home(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", home);
    return system(command);
}

struct zoo {
    struct onnx_model *model;
    struct graph plain, fused;
};

static void zoo_start(struct zoo *z, const char *name)
{
    const struct zoo_model *m = zoo_find(name);
    const struct graph_dim length = {"S", 128};
    size_t dims = !strcmp(name, "bert_base");
    char path[PATH_MAX];
    struct error e;
    assert_non_null(m);
    if (zoo_build(m, path, &e) || onnx_open(path, &z->model, &e) ||
        graph_build(&z->plain, z->model, &length, dims, UINT64_C(4) << 30, &e) ||
        graph_build(&z->fused, z->model, &length, dims, UINT64_C(4) << 30, &e) ||
        pass_run(&z->fused, &e))
        fail_msg("%s", e.text);
    unlink(path); /* the map keeps it */
    assert_int_equal(graph_macs(&z->plain), m->macs);
    assert_int_equal(graph_macs(&z->fused), m->macs);
}

static void zoo_end(struct zoo *z)
{
    graph_release(&z->plain);
    graph_release(&z->fused);
    onnx_close(z->model);
}

static int count_fused(const struct graph *g, const char *fused)
{
    int count = 0;
    for (int i = 0; i < g->node_count; i++)
        count += *g->nodes[i].op->domain && !strcmp(g->nodes[i].fused, fused);
    return count;
}

static void test_resnet50(void **state)
{
    (void)state;
    struct zoo z;
    zoo_start(&z, "resnet50");
    const struct graph *g = &z.fused;
    assert_int_equal(count_fused(g, "Conv+BatchNormalization+Relu"), 33);
    assert_int_equal(count_fused(g, "Conv+BatchNormalization"), 4);
    assert_int_equal(count_fused(g, "Conv+BatchNormalization+Add+Relu"), 16);
    assert_int_equal(count_fused(g, "Gemm"), 1);
    assert_int_equal(graph_count(g, "", "MaxPool"), 1);
    assert_int_equal(graph_count(g, "", "GlobalAveragePool"), 1);
    assert_int_equal(graph_count(g, "", "Flatten"), 1);
    assert_int_equal(g->node_count, 57);
    zoo_end(&z);
}

static void test_mobilenet_v2(void **state)
{
    (void)state;
    struct zoo z;
    struct error e;
    zoo_start(&z, "mobilenet_v2");
    const struct graph *g = &z.fused;
    assert_int_equal(count_fused(g, "Conv+BatchNormalization+Clip"), 35);
    assert_int_equal(count_fused(g, "Conv+BatchNormalization"), 7);
    assert_int_equal(count_fused(g, "Conv+BatchNormalization+Add"), 10);
    assert_int_equal(g->node_count, 55);
    struct model_builder *b = model_new(17);
    void *inputs[1], *x[1], *y[1];
    model_feed(b, g, 1, inputs);
    assert_int_equal(interpret(&z.plain, (const void *const *)inputs, x, &e), 0);
    assert_int_equal(interpret(&z.fused, (const void *const *)inputs, y, &e), 0);
    for (int i = 0; i < 1000; i++)
        assert_true(fabs((double)((float *)x[0])[i] - (double)((float *)y[0])[i]) < 1e-4);
    free(inputs[0]);
    free(x[0]);
    free(y[0]);
    models_free(NULL);
    zoo_end(&z);
}

static void test_bert_base(void **state)
{
    (void)state;
    struct zoo z;
    zoo_start(&z, "bert_base");
    const struct graph *g = &z.fused;
    assert_int_equal(count_fused(g, "Attention"), 12);
    assert_int_equal(count_fused(g, "MatMul+Add (q, k, v)"), 12);
    assert_int_equal(count_fused(g, "MatMul+Add+Add"), 24);
    assert_int_equal(count_fused(g, "MatMul+Add+Gelu"), 12);
    assert_int_equal(count_fused(g, "Gemm+Tanh"), 1);
    assert_int_equal(count_fused(g, "LayerNorm"), 25);
    assert_int_equal(graph_count(g, "", "Gather"), 3);
    assert_int_equal(g->node_count, 12 + 49 + 25 + 3 + 6); /* and the mask's 4, and 2 Adds */
    zoo_end(&z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resnet50),
        cmocka_unit_test(test_mobilenet_v2),
        cmocka_unit_test(test_bert_base),
    };
    return cmocka_run_group_tests(tests, make_home, remove_home);
}
