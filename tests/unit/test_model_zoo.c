/* The built-in models: published sizes counted from the files themselves (shapes are followed here,
 * by a few rules independent of the engine), the same bytes everywhere, and builds that fail. */
#include "base/file.h"
#include "model_files.h"
#include "model/zoo.h"
#include "model/zoo_layers.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <utime.h>

/* --- counting --------------------------------------------------------------------------------- */

enum { VALUES_MAX = 2000, TOKENS = 128 };

static struct {
    const char *name;
    struct shape shape;
} values[VALUES_MAX];
static size_t value_count;

static struct shape shape_of(const struct onnx_model *m, const char *name)
{
    const struct onnx_initializer *init = onnx_initializer_find(m, name);
    if (init)
        return init->tensor.shape;
    for (size_t i = 0; i < value_count; i++)
        if (!strcmp(values[i].name, name))
            return values[i].shape;
    fail_msg("no shape of '%s'", name);
    return (struct shape){0};
}

static void set_shape(const char *name, struct shape shape)
{
    assert_true(value_count < VALUES_MAX);
    values[value_count].name = name;
    values[value_count++].shape = shape;
}

static int64_t int_of(const struct onnx_node *n, const char *name, size_t i)
{
    const struct onnx_attribute *a = onnx_attribute_find(n, name);
    assert_non_null(a);
    assert_true(a->type == ONNX_INT || i < a->count);
    return a->type == ONNX_INT ? a->i : a->ints[i];
}

static int is(const struct onnx_node *n, const char *op_type)
{
    return !strcmp(n->op_type, op_type);
}

static struct shape window(const struct onnx_node *n, struct shape x)
{
    for (int d = 0; d < 2; d++) {
        int64_t pads = int_of(n, "pads", (size_t)d) + int_of(n, "pads", (size_t)d + 2);
        int64_t kernel = int_of(n, "kernel_shape", (size_t)d);
        x.dims[2 + d] = (x.dims[2 + d] + pads - kernel) / int_of(n, "strides", (size_t)d) + 1;
    }
    return x;
}

static struct shape broadcast(struct shape a, struct shape b)
{
    struct shape out = a.rank >= b.rank ? a : b, other = a.rank >= b.rank ? b : a;
    int lead = out.rank - other.rank;
    for (int i = 0; i < other.rank; i++) {
        int64_t p = out.dims[lead + i], q = other.dims[i];
        assert_true(p == q || p == 1 || q == 1);
        out.dims[lead + i] = p > q ? p : q;
    }
    return out;
}

static struct shape reshaped(const struct onnx_model *m, const struct onnx_node *n, struct shape x)
{
    const struct onnx_initializer *target = onnx_initializer_find(m, n->inputs[1]);
    assert_non_null(target);
    struct shape out = {.rank = (int)target->tensor.shape.dims[0]};
    for (int i = 0; i < out.rank; i++) {
        int64_t dim = ((const int64_t *)target->tensor.data)[i];
        out.dims[i] = dim ? dim : x.dims[i];
    }
    assert_int_equal(shape_elements(&out), shape_elements(&x));
    return out;
}

static struct shape gathered(struct shape x, struct shape indices, int64_t axis)
{
    struct shape out = {.rank = x.rank - 1 + indices.rank};
    for (int i = 0; i < out.rank; i++)
        out.dims[i] = i < axis                  ? x.dims[i]
                      : i < axis + indices.rank ? indices.dims[i - axis]
                                                : x.dims[i - indices.rank + 1];
    return out;
}

/* Shape of a node's output; *macs grows by its multiply-adds. */
static struct shape follow(const struct onnx_model *m, const struct onnx_node *n, int64_t *macs)
{
    struct shape x = shape_of(m, n->inputs[0]), out = x;
    struct shape w = n->input_count > 1 && *n->inputs[1] ? shape_of(m, n->inputs[1]) : x;
    if (is(n, "Conv")) {
        out = window(n, x);
        assert_int_equal(x.dims[1], w.dims[1] * int_of(n, "group", 0));
        out.dims[1] = w.dims[0];
        *macs += shape_elements(&out) * w.dims[1] * w.dims[2] * w.dims[3];
    } else if (is(n, "MaxPool")) {
        out = window(n, x);
    } else if (is(n, "GlobalAveragePool")) {
        out.dims[2] = out.dims[3] = 1;
    } else if (is(n, "Flatten")) {
        out = (struct shape){.rank = 2, .dims = {x.dims[0], shape_elements(&x) / x.dims[0]}};
    } else if (is(n, "Gemm")) {
        assert_int_equal(int_of(n, "transB", 0), 1);
        assert_int_equal(x.dims[1], w.dims[1]);
        out.dims[1] = w.dims[0];
        *macs += shape_elements(&out) * x.dims[1];
    } else if (is(n, "MatMul")) {
        assert_int_equal(x.dims[x.rank - 1], w.dims[w.rank - 2]);
        out.dims[out.rank - 1] = w.dims[w.rank - 1];
        *macs += shape_elements(&out) * x.dims[x.rank - 1];
    } else if (is(n, "Transpose")) {
        for (int i = 0; i < x.rank; i++)
            out.dims[i] = x.dims[int_of(n, "perm", (size_t)i)];
    } else if (is(n, "Reshape")) {
        out = reshaped(m, n, x);
    } else if (is(n, "Gather")) {
        out = gathered(x, w, int_of(n, "axis", 0));
    } else if (is(n, "Shape")) {
        out = (struct shape){.rank = 1, .dims = {1}};
    } else if (is(n, "Slice")) {
        out.dims[1] = TOKENS;
    } else if (is(n, "Unsqueeze")) {
        out = (struct shape){.rank = 4, .dims = {x.dims[0], 1, 1, x.dims[1]}};
    } else if (is(n, "Add") || is(n, "Sub") || is(n, "Mul") || is(n, "Div")) {
        out = broadcast(x, w);
    }
    return out;
}

static int64_t count_macs(const struct onnx_model *m)
{
    int64_t macs = 0;
    value_count = 0;
    for (size_t i = 0; i < m->input_count; i++) {
        struct shape shape = {.rank = m->inputs[i].rank};
        for (int d = 0; d < shape.rank; d++)
            shape.dims[d] = m->inputs[i].dims[d].value;
        assert_string_equal(m->inputs[i].dims[0].symbol, "N");
        shape.dims[0] = 1;
        if (shape.dims[1] < 0)
            shape.dims[1] = TOKENS;
        set_shape(m->inputs[i].name, shape);
    }
    for (size_t i = 0; i < m->node_count; i++) {
        assert_string_equal(m->nodes[i].domain, "");
        set_shape(m->nodes[i].outputs[0], follow(m, &m->nodes[i], &macs));
    }
    return macs;
}

/* As PyTorch counts: what training changes, so not batch norm's statistics. */
static int64_t count_parameters(const struct onnx_model *m)
{
    int64_t sum = 0;
    for (size_t i = 0; i < m->initializer_count; i++) {
        const struct onnx_initializer *init = &m->initializers[i];
        if (init->tensor.type == DTYPE_F32 && init->tensor.shape.rank > 0 &&
            !strstr(init->name, ".running_"))
            sum += shape_elements(&init->tensor.shape);
    }
    return sum;
}

/* --- the files -------------------------------------------------------------------------------- */

static struct onnx_model *built[3];

static int build_all(void **state)
{
    size_t count;
    const struct zoo_model *models = zoo_models(&count);
    char path[PATH_MAX];
    if (make_folder(state) || count != 3)
        return -1;
    setenv("WATTLE_HOME", folder, 1);
    for (size_t i = 0; i < count; i++) {
        if (zoo_build(&models[i], path, &err) || onnx_open(path, &built[i], &err)) {
            fprintf(stderr, "%s\n", err.text);
            return -1;
        }
    }
    return 0;
}

static int close_all(void **state)
{
    for (int i = 0; i < 3; i++)
        onnx_close(built[i]);
    return remove_folder(state);
}

static void sizes_are_the_published_ones(void **state)
{
    (void)state;
    static const int64_t parameters[] = {25557032, 3504872, 109482240};
    static const double gmac[] = {4.09, 0.30, 11.17};
    size_t count;
    const struct zoo_model *models = zoo_models(&count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(count_parameters(built[i]), parameters[i]);
        assert_int_equal(models[i].parameters, parameters[i]);
        int64_t macs = count_macs(built[i]);
        assert_int_equal(models[i].macs, macs);
        assert_true(fabs((double)macs / 1e9 - gmac[i]) < 0.005);
        assert_int_equal(models[i].file_bytes, built[i]->file_bytes);
        assert_int_equal(built[i]->opset, 17);
        assert_int_equal(built[i]->ir_version, 8);
    }
}

static void outputs_have_the_published_shapes(void **state)
{
    (void)state;
    char text[64];
    for (int i = 0; i < 2; i++) {
        count_macs(built[i]);
        struct shape logits = shape_of(built[i], "logits");
        assert_string_equal(shape_text(&logits, text, sizeof text), "1x1000");
    }
    count_macs(built[2]);
    struct shape hidden = shape_of(built[2], "last_hidden_state");
    struct shape pooled = shape_of(built[2], "pooled");
    assert_string_equal(shape_text(&hidden, text, sizeof text), "1x128x768");
    assert_string_equal(shape_text(&pooled, text, sizeof text), "1x768");
    assert_int_equal(built[2]->output_count, 2);
    assert_string_equal(built[2]->outputs[0].name, "last_hidden_state");
    assert_string_equal(built[2]->outputs[1].name, "pooled");
}

static void files_say_how_to_feed_them(void **state)
{
    (void)state;
    static const char *const bert[][2] = {{"input_ids", "uniform 0 30521"},
                                          {"attention_mask", "constant 1"},
                                          {"token_type_ids", "uniform 0 1"}};
    char key[80];
    for (int i = 0; i < 2; i++)
        assert_string_equal(onnx_metadata_find(built[i], "wattle.input.input"), "normal 0 1");
    assert_string_equal(onnx_metadata_find(built[2], "wattle.dim.S"), "128");
    assert_int_equal(built[2]->input_count, 3);
    for (size_t i = 0; i < 3; i++) {
        snprintf(key, sizeof key, "wattle.input.%s", bert[i][0]);
        assert_string_equal(built[2]->inputs[i].name, bert[i][0]);
        assert_int_equal(built[2]->inputs[i].type, DTYPE_I64);
        assert_string_equal(built[2]->inputs[i].dims[1].symbol, "S");
        assert_string_equal(onnx_metadata_find(built[2], key), bert[i][1]);
    }
}

static void expect_shape(int model, const char *name, const char *shape)
{
    char text[64];
    const struct onnx_initializer *init = onnx_initializer_find(built[model], name);
    if (!init)
        fail_msg("no '%s'", name);
    assert_string_equal(shape_text(&init->tensor.shape, text, sizeof text), shape);
}

static void weights_have_their_usual_names(void **state)
{
    (void)state;
    expect_shape(0, "conv1.weight", "64x3x7x7");
    expect_shape(0, "layer1.0.downsample.0.weight", "256x64x1x1");
    expect_shape(0, "layer4.2.bn3.running_var", "2048");
    expect_shape(0, "fc.weight", "1000x2048");
    expect_shape(1, "features.0.0.weight", "32x3x3x3");
    expect_shape(1, "features.1.conv.1.weight", "16x32x1x1");
    expect_shape(1, "features.17.conv.3.running_mean", "320");
    expect_shape(1, "features.18.1.bias", "1280");
    expect_shape(1, "classifier.1.bias", "1000");
    expect_shape(2, "embeddings.word_embeddings.weight", "30522x768");
    expect_shape(2, "embeddings.LayerNorm.weight", "768");
    expect_shape(2, "encoder.layer.11.attention.self.query.bias", "768");
    expect_shape(2, "encoder.layer.0.intermediate.dense.weight", "768x3072");
    expect_shape(2, "pooler.dense.weight", "768x768");
}

/* torchvision's v1.5: the stride is in the 3x3. */
static void the_stride_is_in_the_3x3(void **state)
{
    (void)state;
    for (size_t i = 0; i < built[0]->node_count; i++) {
        const struct onnx_node *n = &built[0]->nodes[i];
        if (!strcmp(n->name, "layer2.0.conv1"))
            assert_int_equal(int_of(n, "strides", 0), 1);
        if (!strcmp(n->name, "layer2.0.conv2"))
            assert_int_equal(int_of(n, "strides", 0), 2);
    }
}

struct moments {
    double mean, sd, lowest;
};

static struct moments moments_of(int model, const char *name)
{
    const struct onnx_initializer *init = onnx_initializer_find(built[model], name);
    assert_non_null(init);
    const float *x = init->tensor.data;
    int64_t n = shape_elements(&init->tensor.shape);
    struct moments r = {.lowest = INFINITY};
    double squares = 0;
    for (int64_t i = 0; i < n; i++) {
        r.mean += x[i];
        squares += (double)x[i] * x[i];
        r.lowest = fmin(r.lowest, x[i]);
    }
    r.mean /= (double)n;
    r.sd = sqrt(squares / (double)n - r.mean * r.mean);
    return r;
}

static void weights_are_distributed_as_meant(void **state)
{
    (void)state;
    struct moments words = moments_of(2, "embeddings.word_embeddings.weight");
    struct moments norm = moments_of(2, "encoder.layer.3.output.LayerNorm.weight");
    struct moments conv = moments_of(0, "layer3.1.conv2.weight");
    struct moments variance = moments_of(0, "layer4.1.bn2.running_var");
    assert_true(fabs(words.mean) < 1e-5 && fabs(words.sd / 0.02 - 1) < 1e-3);
    assert_true(fabs(norm.mean - 1) < 0.02 && fabs(norm.sd / 0.1 - 1) < 0.1);
    assert_true(fabs(conv.mean) < 1e-6 && fabs(conv.sd / sqrt(2.0 / (256 * 9)) - 1) < 0.01);
    assert_true(variance.lowest > 0.1 && variance.sd > 0.05);
}

static void hash_without_disk(const struct zoo_model *m, char hex[65])
{
    struct onnx_writer *w = onnx_writer_new(m->name);
    FILE *f = fopen("/dev/null", "wb");
    assert_non_null(w);
    assert_non_null(f);
    assert_int_equal(m->write(m, w, &err), 0);
    assert_int_equal(onnx_writer_finish(w, f, hex, &err), 0);
    fclose(f);
    onnx_writer_free(w);
}

static void the_seed_and_nothing_else_decides(void **state)
{
    (void)state;
    struct zoo_model other = *zoo_find("mobilenet_v2");
    char path[PATH_MAX], hex[65];
    hash_without_disk(&other, hex);
    assert_string_equal(hex, other.sha256);
    assert_int_equal(zoo_path(&other, path, &err), 0);
    assert_int_equal(file_sha256(path, hex, &err), 0);
    assert_string_equal(hex, other.sha256);
    other.seed++;
    hash_without_disk(&other, hex);
    assert_string_not_equal(hex, other.sha256);
}

static void models_are_found_by_name(void **state)
{
    (void)state;
    const struct zoo_model *m = zoo_find("resnet50");
    char path[PATH_MAX];
    assert_non_null(m);
    assert_null(zoo_find("resnet51"));
    assert_int_equal(zoo_path(m, path, &err), 0);
    assert_string_equal(path, path_of("models/resnet50.onnx"));
    assert_true(zoo_cached(m));
    setenv("WATTLE_HOME", path_of("elsewhere"), 1);
    assert_false(zoo_cached(m));
    assert_int_equal(mkdir(path_of("elsewhere"), 0755), 0);
    assert_int_equal(mkdir(path_of("elsewhere/models"), 0755), 0);
    write_bytes("elsewhere/models/resnet50.onnx", "half", 4);
    assert_false(zoo_cached(m));
    setenv("WATTLE_HOME", folder, 1);
}

/* --- builds that fail ------------------------------------------------------------------------- */

static int die_when_written; /* a signal, or 0 */

static void fill_or_die(const void *context, uint64_t first, size_t count, void *out)
{
    (void)context;
    if (first && die_when_written)
        raise(die_when_written);
    memset(out, 1, count * sizeof(float));
}

static int write_large(const struct zoo_model *m, void *onnx_writer, struct error *e)
{
    (void)m;
    (void)e;
    struct shape shape = {.rank = 1, .dims = {1 << 20}};
    onnx_writer_initializer(onnx_writer, "w", DTYPE_F32, &shape, fill_or_die, NULL, 0);
    return 0;
}

static struct zoo_model large = {.name = "large", .seed = 1, .write = write_large};

static int files_like(const char *prefix)
{
    DIR *dir = opendir(path_of("models"));
    assert_non_null(dir);
    int n = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        n += !strncmp(entry->d_name, prefix, strlen(prefix));
    closedir(dir);
    return n;
}

static void set_hash(void)
{
    static char hex[65];
    hash_without_disk(&large, hex);
    large.sha256 = hex;
    large.file_bytes = (uint64_t)4 << 20; /* and a little more */
}

static void other_bytes_are_not_kept(void **state)
{
    (void)state;
    char path[PATH_MAX];
    struct zoo_model wrong = large;
    wrong.sha256 = "0000";
    assert_int_equal(zoo_build(&wrong, path, &err), ERROR_FORMAT);
    assert_non_null(strstr(err.text, "has SHA-256"));
    assert_int_equal(files_like("large"), 0);
}

static void a_full_disk_leaves_nothing(void **state)
{
    (void)state;
    char path[PATH_MAX];
    struct rlimit old, limit;
    set_hash();
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = old;
    limit.rlim_cur = 1 << 20;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int result = zoo_build(&large, path, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(result, ERROR_IO);
    assert_non_null(strstr(err.text, strerror(EFBIG)));
    assert_int_equal(files_like("large"), 0);
}

static int asked;

static int at_the_third_piece(void)
{
    return ++asked >= 3;
}

static void a_build_that_is_stopped_leaves_nothing(void **state)
{
    (void)state;
    char path[PATH_MAX];
    set_hash();
    asked = 0;
    assert_int_equal(zoo_build_until(&large, at_the_third_piece, path, &err), ERROR_INTERRUPTED);
    assert_int_equal(asked, 3); /* the large model has 16 pieces */
    assert_int_equal(files_like("large"), 0);
}

static void an_unwritable_home_is_an_error(void **state)
{
    (void)state;
    char path[PATH_MAX];
    write_bytes("file", "", 0);
    setenv("WATTLE_HOME", path_of("file"), 1);
    assert_int_equal(zoo_build(&large, path, &err), ERROR_IO);
    assert_non_null(strstr(err.text, path_of("file")));
    setenv("WATTLE_HOME", path_of("closed"), 1);
    assert_int_equal(mkdir(path_of("closed"), 0555), 0);
    if (geteuid())
        assert_int_equal(zoo_build(&large, path, &err), ERROR_PERMISSION);
    setenv("WATTLE_HOME", folder, 1);
}

static void make_old(void)
{
    DIR *dir = opendir(path_of("models"));
    char name[300];
    for (struct dirent *entry; (entry = readdir(dir));)
        if (!strncmp(entry->d_name, "large.onnx.", 11)) {
            snprintf(name, sizeof name, "models/%.250s", entry->d_name);
            assert_int_equal(utime(path_of(name), &(struct utimbuf){1, 1}), 0);
        }
    closedir(dir);
}

/* Killed half way: no model. What remains where a file system has no files without a name goes with
 * the next build once it is old. */
static void an_interrupted_build_can_be_repeated(void **state)
{
    (void)state;
    char path[PATH_MAX];
    int status;
    set_hash();
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        die_when_written = SIGKILL;
        zoo_build(&large, path, &err);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(zoo_path(&large, path, &err), 0);
    assert_int_equal(access(path, F_OK), -1);
    int left = files_like("large.onnx.");
    assert_in_range(left, 0, 1);
    write_bytes("models/large.onnx.Ab3xYz", "\x08\x08\x12\x06wattle\x3a and more", 20);
    write_bytes("models/large.onnx.sha256", "0000", 4); /* not ours */
    assert_int_equal(zoo_build(&large, path, &err), 0);
    assert_int_equal(files_like("large.onnx."), left + 2); /* another process may be at it */
    make_old();
    assert_int_equal(zoo_build(&large, path, &err), 0);
    assert_int_equal(files_like("large.onnx."), 1);
    assert_int_equal(access(path_of("models/large.onnx.sha256"), F_OK), 0);
    assert_int_equal(access(path, F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_the_published_ones),
        cmocka_unit_test(outputs_have_the_published_shapes),
        cmocka_unit_test(files_say_how_to_feed_them),
        cmocka_unit_test(weights_have_their_usual_names),
        cmocka_unit_test(the_stride_is_in_the_3x3),
        cmocka_unit_test(weights_are_distributed_as_meant),
        cmocka_unit_test(the_seed_and_nothing_else_decides),
        cmocka_unit_test(models_are_found_by_name),
        cmocka_unit_test(other_bytes_are_not_kept),
        cmocka_unit_test(a_full_disk_leaves_nothing),
        cmocka_unit_test(a_build_that_is_stopped_leaves_nothing),
        cmocka_unit_test(an_unwritable_home_is_an_error),
        cmocka_unit_test(an_interrupted_build_can_be_repeated),
    };
    return cmocka_run_group_tests(tests, build_all, close_all);
}
