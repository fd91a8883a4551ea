/* Each allocation of the search for installations failing in turn: an error or an installation
 * less, no crash, no leak. */
#include "runtime/found.h"

#include "base/file.h"
#include "test.h"
#include "failing_alloc.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64];

static void make_file(const char *name)
{
    char path[512];
    struct error e;
    snprintf(path, sizeof path, "%s/%s", root, name);
    *strrchr(path, '/') = '\0';
    assert_int_equal(file_make_folder(path, &e), 0);
    path[strlen(path)] = '/';
    assert_int_equal(symlink("/proc/self/exe", path), 0);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static void searching_may_run_out_of_memory(void **state)
{
    char path[512];
    (void)state;
    strcpy(root, "/tmp/wattle-found-XXXXXX");
    assert_non_null(mkdtemp(root));
    make_file("system/libopenvino_c.so.2641");
    make_file("python/bin/python3");
    make_file("python/lib/python3.11/site-packages/onnxruntime/capi/libonnxruntime.so.1.32.0");
    make_file("python/lib/python3.11/site-packages/onnxruntime-1.32.0.dist-info/METADATA");
    setenv("WATTLE_HOME", root, 1);
    snprintf(path, sizeof path, "%s/python/bin", root);
    setenv("PATH", path, 1);
    snprintf(path, sizeof path, "%s/system", root);
    setenv("WATTLE_LIBRARY_PATH", path, 1);
    int result = 1;
    long n = 0;
    for (; result; n++) {
        struct found_list list;
        struct error e = {0};
        until_failure = n;
        result = found_search(&list, &e);
        until_failure = -1;
        if (result && (result != ERROR_MEMORY || e.code != ERROR_MEMORY || list.items))
            fail_msg("allocation %ld: %d, %s", n, result, e.text);
        assert_true(result || list.count >= 3);
        found_release(&list);
        assert_true(n < 1000);
    }
    assert_true(n > 10);
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(searching_may_run_out_of_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
