/* Each allocation of reader, writer and zoo failing in turn: an error, no crash, no leak (the
 * sanitized build looks for those), no file left. */
#include "model_files.h"
#include "model/zoo.h"
#include "model/zoo_layers.h"
#include "failing_alloc.h"

#include <dirent.h>

/* Runs `subject` with its first, second, ... allocation failing until it succeeds. */
static void fail_each(int (*subject)(const char *path), const char *path, long least)
{
    int result = 1;
    long n = 0;
    for (; result; n++) {
        err = (struct error){0};
        until_failure = n;
        result = subject(path);
        until_failure = -1;
        if (result && (result != ERROR_MEMORY || err.code != ERROR_MEMORY))
            fail_msg("%s, allocation %ld: %d, %s", path, n, result, err.text);
        assert_true(n < 20000);
    }
    assert_true(n > least);
}

static int read_it(const char *path)
{
    struct onnx_model *m = NULL;
    int result = onnx_open(path, &m, &err);
    assert_true((m == NULL) == (result != 0));
    onnx_close(m);
    return result;
}

static void reading_may_run_out_of_memory(void **state)
{
    (void)state;
    fail_each(read_it, FIXTURES "attributes.onnx", 30);
    fail_each(read_it, FIXTURES "typed.onnx", 3);
    fail_each(read_it, FIXTURES "external.onnx", 3);
    fail_each(read_it, FIXTURES "functions.onnx", 20);
    finish(small_model(), "small.onnx");
    fail_each(read_it, path_of("small.onnx"), 10);
}

static int tiny(const struct zoo_model *m, void *onnx_writer, struct error *e)
{
    (void)e;
    struct zoo_builder b = {onnx_writer, m->seed};
    zoo_image_interface(&b);
    zoo_conv(&b, "conv", "input", &(struct zoo_conv){3, 8, 3, 2, 1});
    zoo_batch_norm(&b, "bn", "conv", 8, 1, 1);
    zoo_classifier(&b, "fc", "bn", 8, 1);
    return 0;
}

static char hash[65];

static size_t files_in_models(void)
{
    size_t n = 0;
    DIR *dir = opendir(path_of("models"));
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return n;
}

static int build_it(const char *name)
{
    char path[PATH_MAX];
    struct zoo_model m = {.name = name, .seed = 1, .sha256 = hash, .write = tiny};
    int result = zoo_build(&m, path, &err);
    long failing = until_failure;
    until_failure = -1;
    assert_int_equal(files_in_models(), result == 0);
    until_failure = failing;
    return result;
}

static void find_hash(void)
{
    struct zoo_model m = {.seed = 1};
    struct onnx_writer *w = onnx_writer_new("tiny");
    FILE *f = fopen("/dev/null", "wb");
    assert_non_null(w);
    assert_non_null(f);
    tiny(&m, w, &err);
    assert_int_equal(onnx_writer_finish(w, f, hash, &err), 0);
    fclose(f);
    onnx_writer_free(w);
}

static void building_may_run_out_of_memory(void **state)
{
    (void)state;
    find_hash();
    setenv("WATTLE_HOME", folder, 1);
    fail_each(build_it, "tiny", 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading_may_run_out_of_memory),
        cmocka_unit_test(building_may_run_out_of_memory),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
