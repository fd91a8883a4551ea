/* What is prepared of a model, with a shell script in Python's place: kept, used again, made anew,
 * and nothing left of what failed. */
#include "runtime/prepare.h"

#include "base/clock.h"
#include "base/file.h"
#include "runtime/pytorch_shim.h"
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64], library[256], model[256], python_model[256];
static struct error e;
static struct prepared prepared;
static int calls_until_interrupted; /* 0: never */
static char told[4096];

/* What it does is in the file `mode` of the test's folder. */
static const char FAKE[] =
    "#!/bin/sh\n"
    "cd \"$(dirname \"$0\")/../..\"\n"
    "[ \"$1 $2\" = '-I -B' ] && [ -f \"$3\" ] || exit 9\n"
    "[ -e /proc/$$/fd/3 ] || exit 8\n" /* the lock, which lives as long as it does */
    "echo run >>runs\n"
    "cp \"$4\" request\n"
    "result=$(sed -n 's/^ *\"result\": \"\\(.*\\)\".*/\\1/p' \"$4\")\n"
    "paths=$(sed -n 's/^ *\"path\": \"\\(.*\\)\".*/\\1/p' \"$4\")\n"
    "echo step one\n"
    "good() {\n"
    "    for p in $paths; do echo made >\"$p\"; done\n"
    "    echo '{\"form\": \"native\", \"how\": \"fake 1.0\", \"depends\": ['\"$1\"']}' >\"$result\"\n"
    "}\n"
    ". ./mode\n";

static const char *path_of(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

static void write_text(const char *name, const char *text)
{
    char folder[512];
    snprintf(folder, sizeof folder, "%s", path_of(name));
    *strrchr(folder, '/') = '\0';
    assert_int_equal(file_make_folder(folder, &e), 0);
    FILE *f = fopen(path_of(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(root, "/tmp/wattle-prepare-XXXXXX");
    assert_non_null(mkdtemp(root));
    setenv("WATTLE_HOME", path_of("home"), 1);
    write_text("python/bin/python3.11", FAKE);
    assert_int_equal(chmod(path_of("python/bin/python3.11"), 0755), 0);
    write_text("python/lib/python3.11/site-packages/torch/lib/libtorch_cpu.so", "x");
    write_text("m.onnx", "a model");
    write_text("m.py", "def make(): pass\n");
    write_text("mode", "good\n");
    snprintf(library, sizeof library, "%s",
             path_of("python/lib/python3.11/site-packages/torch/lib/libtorch_cpu.so"));
    snprintf(model, sizeof model, "%s", path_of("m.onnx"));
    snprintf(python_model, sizeof python_model, "%s:make", path_of("m.py"));
    calls_until_interrupted = 0;
    told[0] = '\0';
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static int interrupted(void)
{
    return calls_until_interrupted > 0 && --calls_until_interrupted == 0;
}

static void tell(void *context, const char *line)
{
    (void)context;
    size_t used = strlen(told);
    snprintf(told + used, sizeof told - used, "%s\n", line);
}

static struct prepare_request request(const char *variant)
{
    return (struct prepare_request){
        .model = model, .format = "onnx", .sha256 = "", .zoo = "", .form = "converted",
        .runtime = "pytorch", .variant = variant, .library = library, .version = "2.13.0",
        .provider = "cpu", .precision = "f32", .batch = 1, .timeout_ns = 1500000000,
        .interrupted = interrupted, .tell = tell};
}

static int prepare(const char *variant)
{
    struct prepare_request r = request(variant);
    int result = prepare_model(&r, &prepared, &e);
    if (result)
        print_message("%s\n", e.text);
    return result;
}

static int runs(void)
{
    char text[256];
    if (file_read_text(path_of("runs"), text, sizeof text))
        return 0;
    int n = 0;
    for (const char *at = text; (at = strstr(at, "run")); at++)
        n++;
    return n;
}

/* Entries of $WATTLE_HOME/prepared but for the lock. */
static int kept(void)
{
    int n = 0;
    DIR *dir = opendir(path_of("home/prepared"));
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        n += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") &&
             strcmp(entry->d_name, ".lock");
    if (dir)
        closedir(dir);
    return n;
}

static void sent(const char *text)
{
    char bytes[4096];
    assert_int_equal(file_read_text(path_of("request"), bytes, sizeof bytes), 0);
    assert_non_null(strstr(bytes, text));
}

/* --- what is needed --------------------------------------------------------------------------- */

static void test_needed(void **state)
{
    (void)state;
    assert_true(prepare_needed("pytorch", "aoti", "onnx"));
    assert_false(prepare_needed("pytorch", "aoti", "aoti"));
    assert_true(prepare_needed("pytorch", "torchscript-frozen", "onnx"));
    assert_false(prepare_needed("pytorch", "torchscript-optimized", "torchscript"));
    assert_true(prepare_needed("pytorch", "eager", "exported"));
    assert_true(prepare_needed("pytorch", "compile", "python"));
    assert_false(prepare_needed("onnxruntime", "", "onnx"));
    assert_false(prepare_needed("builtin", "aoti", "onnx"));
}

static void test_made_once(void **state)
{
    (void)state;
    assert_int_equal(prepare("aoti"), 0);
    assert_int_equal(prepared.made, 1);
    assert_string_equal(prepared.form, "native");
    assert_string_equal(prepared.how, "fake 1.0");
    assert_non_null(strstr(prepared.path, "/model.pt2"));
    assert_int_equal(access(prepared.path, R_OK), 0);
    assert_string_equal(told, "step one\n");
    sent("\"what\": \"aoti\"");
    sent("\"batch\": 1");
    assert_int_equal(prepare("aoti"), 0);
    assert_int_equal(prepared.made, 0);
    assert_string_equal(prepared.how, "fake 1.0");
    assert_int_equal(runs(), 1);
    assert_int_equal(kept(), 1);
}

static void test_nothing_but_the_result_is_kept(void **state)
{
    (void)state;
    write_text("mode", "echo x >\"$(dirname \"$result\")/scratch/big\"\ngood\n");
    assert_int_equal(prepare("aoti"), 0);
    char *slash = strrchr(prepared.path, '/');
    *slash = '\0';
    DIR *dir = opendir(prepared.path);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));)
        assert_true(!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
                    !strcmp(entry->d_name, "model.pt2") || !strcmp(entry->d_name, "result.json"));
    closedir(dir);
}

static void test_what_decides_the_key(void **state)
{
    (void)state;
    struct prepare_request r = request("aoti");
    assert_int_equal(prepare_model(&r, &prepared, &e), 0);
    r.batch = 8;
    assert_int_equal(prepare_model(&r, &prepared, &e), 0);
    assert_int_equal(prepared.made, 1);
    r.threads = 1;
    assert_int_equal(prepare_model(&r, &prepared, &e), 0);
    assert_int_equal(prepared.made, 1);
    sent("\"threads\": 1");
    r.form = "native";
    r.zoo = "resnet50";
    assert_int_equal(prepare_model(&r, &prepared, &e), 0);
    assert_int_equal(prepared.made, 1);
    r.version = "2.14.0";
    assert_int_equal(prepare_model(&r, &prepared, &e), 0);
    assert_int_equal(prepared.made, 1);
    r.inputs = json_pack("[{s:s, s:s, s:[i,n]}]", "name", "x", "type", "float32", "shape", 1);
    assert_int_equal(prepare_model(&r, &prepared, &e), 0);
    assert_int_equal(prepared.made, 1);
    sent("null");
    json_decref(r.inputs);
    write_text("m.onnx", "another model");
    r.inputs = NULL;
    assert_int_equal(prepare_model(&r, &prepared, &e), 0);
    assert_int_equal(prepared.made, 1);
    assert_int_equal(prepare_model(&r, &prepared, &e), 0);
    assert_int_equal(prepared.made, 0);
}

/* As if it had been compiled before. */
static void write_shim(void)
{
    char path[PATH_MAX];
    assert_int_equal(pytorch_shim_path(library, path, &e), 0);
    write_text(path + strlen(root) + 1, "a library");
}

/* The three variants of TorchScript read one file, eager and compile one description. */
static void test_variants_share(void **state)
{
    (void)state;
    write_shim();
    assert_int_equal(prepare("torchscript"), 0);
    assert_non_null(strstr(prepared.path, "/model.pt"));
    assert_int_equal(prepare("torchscript-frozen"), 0);
    assert_int_equal(prepared.made, 0);
    assert_int_equal(prepare("eager"), 0);
    assert_int_equal(prepared.made, 1);
    assert_non_null(strstr(prepared.path, "/model.json"));
    assert_int_equal(prepare("compile"), 0);
    assert_int_equal(prepared.made, 0);
    assert_int_equal(runs(), 2);
}

static void test_python_function(void **state)
{
    (void)state;
    char expected[512];
    struct prepare_request r = request("eager");
    r.model = python_model;
    r.format = "python";
    assert_int_equal(prepare_model(&r, &prepared, &e), 0);
    snprintf(expected, sizeof expected, "\"model\": \"%s\"", python_model);
    sent(expected);
    strcat(python_model, "2");
    assert_int_equal(prepare_model(&r, &prepared, &e), 0);
    assert_int_equal(prepared.made, 1); /* another function of the same file */
}

/* --- when it is made anew --------------------------------------------------------------------- */

static void test_other_files_that_were_read(void **state)
{
    (void)state;
    char mode[512];
    struct stat st;
    write_text("weights", "12345");
    assert_int_equal(stat(path_of("weights"), &st), 0);
    snprintf(mode, sizeof mode,
             "good '{\"path\": \"%s\", \"size\": 5, \"mtime_ns\": %lld%09ld}'\n",
             path_of("weights"), (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    write_text("mode", mode);
    assert_int_equal(prepare("aoti"), 0);
    assert_int_equal(prepare("aoti"), 0);
    assert_int_equal(prepared.made, 0);
    write_text("weights", "123456");
    write_text("mode", "good\n");
    assert_int_equal(prepare("aoti"), 0);
    assert_int_equal(prepared.made, 1);
    assert_int_equal(kept(), 1);
}

static void test_damaged(void **state)
{
    (void)state;
    assert_int_equal(prepare("aoti"), 0);
    assert_int_equal(unlink(prepared.path), 0);
    assert_int_equal(prepare("aoti"), 0);
    assert_int_equal(prepared.made, 1);
    strcpy(strrchr(prepared.path, '/'), "/result.json");
    FILE *f = fopen(prepared.path, "w");
    assert_non_null(f);
    fputs("{\"form\":", f);
    fclose(f);
    assert_int_equal(prepare("aoti"), 0);
    assert_int_equal(prepared.made, 1);
}

static void test_tidied(void **state)
{
    (void)state;
    const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    const char *used = "home/prepared/0123456789abcdef0123456789abcdef/model.pt2";
    const char *partial = "home/prepared/.0123456789abcdef0123456789abcde0.partial/model.pt2";
    const char *foreign = "home/prepared/mine/model.pt2", *fresh =
        "home/prepared/0123456789abcdef0123456789abcdea/model.pt2";
    const char *all[] = {used, partial, foreign, fresh};
    for (size_t i = 0; i < 4; i++)
        write_text(all[i], "x");
    utimensat(AT_FDCWD, path_of("home/prepared/0123456789abcdef0123456789abcdef"), old, 0);
    utimensat(AT_FDCWD, path_of("home/prepared/mine"), old, 0);
    assert_int_equal(prepare("aoti"), 0);
    assert_int_not_equal(access(path_of(used), F_OK), 0);
    assert_int_not_equal(access(path_of(partial), F_OK), 0);
    assert_int_equal(access(path_of(foreign), F_OK), 0);
    assert_int_equal(access(path_of(fresh), F_OK), 0);
}

/* --- failures --------------------------------------------------------------------------------- */

static void fails(const char *mode, int code, const char *text, const char *hint)
{
    write_text("mode", mode);
    assert_int_equal(prepare("aoti"), code);
    assert_int_equal(e.code, code);
    if (!strstr(e.text, text))
        fail_msg("'%s' lacks '%s'", e.text, text);
    assert_non_null(strstr(e.hint, hint));
    assert_int_equal(kept(), 0);
}

static void test_the_script_says_why(void **state)
{
    (void)state;
    fails("echo '{\"error\": \"unsupported\", \"text\": \"no operator Foo\", \"hint\": \"leave it\"}'"
          " >\"$result\"; exit 1\n", ERROR_UNSUPPORTED, "no operator Foo", "leave it");
    assert_non_null(strstr(e.text, "cannot be prepared: no operator"));
    fails("for p in $paths; do echo x >\"$p\"; done\n"
          "echo '{\"error\": \"mismatch\", \"text\": \"differ by 1\"}' >\"$result\"; exit 1\n",
          ERROR_MISMATCH, "differ by 1", "");
    fails("echo '{\"error\": \"memory\", \"text\": \"m\"}' >\"$result\"; exit 1\n", ERROR_MEMORY, "m",
          "");
    fails("echo '{\"error\": \"no such\", \"text\": \"m\"}' >\"$result\"; exit 1\n",
          ERROR_UNSUPPORTED, "m", "");
}

static void test_the_script_cannot_say_why(void **state)
{
    (void)state;
    fails("echo; echo Bad luck; exit 3\n", ERROR_CRASH, "exit status 3; its last words: Bad luck",
          "");
    fails("kill -9 $$\n", ERROR_CRASH, "signal 9", "memory");
    fails("echo 'not JSON' >\"$result\"; echo oh; exit 1\n", ERROR_CRASH, "oh", "");
    fails("echo '[]' >\"$result\"; exit 0\n", ERROR_CRASH, "before its work was done",
          "code of the model");
    fails("for p in $paths; do echo x >\"$p\"; done\n", ERROR_CRASH,
          "exit status 0 before its work was done; its last words: step one", "code of the model");
    fails("echo '{}' >\"$result\"; exit 0\n", ERROR_IO, "was not made", "");
    fails("kill -SEGV $$\n", ERROR_CRASH, "signal 11", "code of the model");
    fails("grep -q '\"timeout_s\": 2,' request && kill -ALRM $$\n", ERROR_TIMEOUT,
          "took longer than 2 s", "--timeout");
}

static void test_no_python(void **state)
{
    (void)state;
    struct prepare_request r = request("aoti");
    r.library = "/usr/lib/libtorch_cpu.so";
    assert_int_equal(prepare_model(&r, &prepared, &e), ERROR_UNSUPPORTED);
    assert_non_null(strstr(e.text, "not part of a Python installation"));
    assert_int_equal(kept(), 0);
}

static void test_wrong_requests(void **state)
{
    (void)state;
    struct prepare_request r = request("eager");
    r.format = "torchscript";
    assert_int_equal(prepare_model(&r, &prepared, &e), ERROR_UNSUPPORTED);
    assert_non_null(strstr(e.text, "pytorch:eager cannot run a model of format 'torchscript'"));
    r = request("sideways");
    assert_int_equal(prepare_model(&r, &prepared, &e), ERROR_UNSUPPORTED);
    r = request("aoti");
    r.model = path_of("none.onnx");
    assert_int_equal(prepare_model(&r, &prepared, &e), ERROR_IO);
    assert_non_null(strstr(e.text, "none.onnx"));
    assert_int_equal(runs(), 0);
}

static void test_interrupted(void **state)
{
    (void)state;
    calls_until_interrupted = 2;
    uint64_t begin_ns = clock_monotonic_ns();
    write_text("mode", "exec sleep 100\n");
    assert_int_equal(prepare("aoti"), ERROR_INTERRUPTED);
    assert_true(clock_monotonic_ns() - begin_ns < 5 * NS_PER_S);
    assert_int_equal(kept(), 0);
}

static void test_interrupted_while_another_works(void **state)
{
    (void)state;
    assert_int_equal(file_make_folder(path_of("home/prepared"), &e), 0);
    int fd = open(path_of("home/prepared/.lock"), O_RDWR | O_CREAT, 0666);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    calls_until_interrupted = 2;
    assert_int_equal(prepare("aoti"), ERROR_INTERRUPTED);
    assert_string_equal(told, "waiting for another wattle that prepares a model\n");
    assert_int_equal(runs(), 0);
    close(fd);
    assert_int_equal(prepare("aoti"), 0);
}

static void test_no_shim(void **state)
{
    (void)state;
    assert_int_equal(prepare("torchscript"), ERROR_UNSUPPORTED); /* no headers beside the library */
    assert_non_null(strstr(e.text, "cannot be prepared: "));
}

/* --- files for people ------------------------------------------------------------------------- */

static void test_files(void **state)
{
    (void)state;
    char folder[512];
    struct prepare_request r = request("");
    snprintf(folder, sizeof folder, "%s", path_of("out/m-pytorch"));
    assert_int_equal(prepare_files_make(&r, folder, &e), 0);
    int count = 0;
    for (const char *const *file = prepare_files; *file; file++, count++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/%s", folder, *file);
        assert_int_equal(access(path, R_OK), 0);
    }
    assert_int_equal(count, 4);
    assert_int_not_equal(access(path_of("out/m-pytorch/result.json"), F_OK), 0);
    write_text("out/m-pytorch/mark", "of the first time");
    write_text("mode", "exit 1\n");
    assert_int_not_equal(prepare_files_make(&r, folder, &e), 0);
    assert_int_equal(access(path_of("out/m-pytorch/mark"), F_OK), 0);
    write_text("mode", "good\n");
    assert_int_equal(prepare_files_make(&r, folder, &e), 0);
    assert_int_not_equal(access(path_of("out/m-pytorch/mark"), F_OK), 0);
    assert_int_not_equal(access(path_of("out/.m-pytorch.partial"), F_OK), 0);
    assert_int_not_equal(access(path_of("out/.m-pytorch.partial.old"), F_OK), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_needed),
        TEST(test_made_once),
        TEST(test_nothing_but_the_result_is_kept),
        TEST(test_what_decides_the_key),
        TEST(test_variants_share),
        TEST(test_python_function),
        TEST(test_other_files_that_were_read),
        TEST(test_damaged),
        TEST(test_tidied),
        TEST(test_the_script_says_why),
        TEST(test_the_script_cannot_say_why),
        TEST(test_no_python),
        TEST(test_wrong_requests),
        TEST(test_interrupted),
        TEST(test_interrupted_while_another_works),
        TEST(test_no_shim),
        TEST(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
