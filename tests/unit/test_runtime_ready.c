/* Which ways of PyTorch work is told by what lies on the disk: an installation of empty files. */
#include "test.h"

#include "base/file.h"
#include "runtime/adapters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/wattle-test-XXXXXX";
static char library[128];

static void touch(const char *name)
{
    char path[256], parent[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    snprintf(parent, sizeof parent, "%s", path);
    *strrchr(parent, '/') = '\0';
    assert_int_equal(file_make_folder(parent, NULL), 0);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
    assert_int_equal(chmod(path, 0755), 0);
}

static void remove_file(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(unlink(path), 0);
}

static void is(const char *variant, enum adapter_ready ready, const char *part)
{
    char reason[320] = "?";
    assert_int_equal(pytorch_ready(library, variant, reason, sizeof reason), ready);
    if (!*part)
        assert_string_equal(reason, "");
    else if (!strstr(reason, part))
        fail_msg("'%s' is not in '%s'", part, reason);
}

#define SITE "venv/lib/python3.11/site-packages/"
#define HEADER SITE "torch/include/torch/csrc/jit/api/module.h"

static int set_up(void **context)
{
    char path[128];
    (void)context;
    if (!mkdtemp(folder))
        return -1;
    snprintf(library, sizeof library, "%s/" SITE "torch/lib/libtorch_cpu.so", folder);
    snprintf(path, sizeof path, "%s/tools", folder);
    setenv("PATH", path, 1);
    setenv("WATTLE_HOME", folder, 1);
    touch(SITE "torch/lib/libtorch_cpu.so");
    touch(HEADER);
    touch("venv/bin/python3.11");
    touch("tools/g++");
    return 0;
}

static void everything_is_there(void **context)
{
    (void)context;
    for (const char *const *v = adapter_pytorch.variants; *v; v++)
        is(*v, ADAPTER_READY, "");
}

static void without_a_compiler(void **context)
{
    (void)context;
    remove_file("tools/g++");
    is("aoti", ADAPTER_PARTLY, "g++");
    is("torchscript-frozen", ADAPTER_UNABLE, "g++ is missing");
    is("eager", ADAPTER_READY, "");
    is("compile", ADAPTER_UNABLE, "g++ is missing");
    touch("tools/g++");
}

static void without_headers(void **context)
{
    (void)context;
    remove_file(HEADER);
    is("torchscript", ADAPTER_UNABLE, "headers are missing");
    is("aoti", ADAPTER_READY, "");
    touch(HEADER);
}

static void without_python(void **context)
{
    (void)context;
    remove_file("venv/bin/python3.11");
    is("aoti", ADAPTER_PARTLY, "compiled packages only: there is no Python");
    is("torchscript", ADAPTER_PARTLY, "TorchScript files only: there is no Python");
    is("eager", ADAPTER_UNABLE, "there is no Python");
    is("compile", ADAPTER_UNABLE, "there is no Python");
    touch("venv/bin/python3.11");
}

static int tear_down(void **context)
{
    (void)context;
    char command[64];
    setenv("PATH", "/usr/bin:/bin", 1);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_there),
        cmocka_unit_test(without_a_compiler),
        cmocka_unit_test(without_headers),
        cmocka_unit_test(without_python),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
