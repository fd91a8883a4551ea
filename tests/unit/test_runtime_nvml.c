/* NVIDIA's management library as tests/tools/fake_nvml.c plays it: GPUs seen, memory of this
 * process, and a reason for each way in which there is none. Nothing stays open. */
#include "test.h"

#include "runtime/nvml.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WHOLE, NO_V3, NO_LIST, NO_INIT, NO_TEXTS, LIBRARIES };
static char folder[64], libraries[LIBRARIES][128], garbage[128];

#define assert_in(text, part)                                                                      \
    do {                                                                                           \
        if (!strstr(text, part))                                                                   \
            fail_msg("'%s' is not in '%s'", part, text);                                           \
    } while (0)

static int live(const char *library)
{
    int (*count)(void);
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL); /* stays, and so does the number */
    assert_non_null(handle);
    void *symbol = dlsym(handle, "fake_nvml_live");
    memcpy(&count, &symbol, sizeof count);
    return count();
}

static void no_gpu(const char *library, const char *part)
{
    struct nvml *n = (struct nvml *)folder; /* must not stay so */
    char reason[NVML_REASON_MAX];
    assert_int_equal(nvml_open(library, &n, reason), -1);
    assert_null(n);
    assert_in(reason, part);
}

static void no_gpu_when(const char *name, const char *value, const char *part)
{
    setenv(name, value, 1);
    no_gpu(libraries[WHOLE], part);
    unsetenv(name);
    assert_int_equal(live(libraries[WHOLE]), 0);
}

/* The memory of this process, or 0 and the reason. */
static uint64_t memory(const char *library, const char *environment, char reason[NVML_REASON_MAX])
{
    struct nvml *n;
    uint64_t bytes = 12345;
    reason[0] = '\0';
    setenv("FAKE_NVML_MEMORY", environment, 1);
    assert_int_equal(nvml_open(library, &n, reason), 0);
    int result = nvml_process_memory(n, (uint32_t)getpid(), &bytes, reason);
    nvml_close(n);
    unsetenv("FAKE_NVML_MEMORY");
    assert_int_equal(live(library), 0);
    if (!result)
        return bytes;
    assert_int_equal(bytes, 12345); /* untouched */
    assert_true(reason[0]);
    return 0;
}

static void unknown(const char *library, const char *environment, const char *part)
{
    char reason[NVML_REASON_MAX];
    assert_int_equal(memory(library, environment, reason), 0);
    assert_in(reason, part);
}

static void devices_are_seen(void **context)
{
    (void)context;
    struct nvml *n;
    char reason[NVML_REASON_MAX];
    assert_int_equal(nvml_open(libraries[WHOLE], &n, reason), 0);
    assert_int_equal(nvml_device_count(n), 2);
    assert_string_equal(nvml_device(n, 0)->name, "Fake GPU 0");
    assert_string_equal(nvml_device(n, 1)->uuid, "GPU-fake-1");
    assert_ptr_not_equal(nvml_device(n, 0)->handle, nvml_device(n, 1)->handle);
    nvml_close(n);
    nvml_close(NULL);
    setenv("FAKE_NVML_TEXT", "3", 1);
    assert_int_equal(nvml_open(libraries[WHOLE], &n, reason), 0);
    unsetenv("FAKE_NVML_TEXT");
    assert_string_equal(nvml_device(n, 0)->name, "");
    assert_string_equal(nvml_device(n, 0)->uuid, "");
    nvml_close(n);
    assert_int_equal(live(libraries[WHOLE]), 0);
}

static void why_there_is_none(void **context)
{
    (void)context;
    no_gpu("/no/such/place/libnvidia-ml.so.1", "no NVIDIA driver: libnvidia-ml.so.1 is not there");
    no_gpu(garbage, "cannot load NVIDIA's library: ");
    no_gpu(libraries[NO_INIT], "has no function nvmlInit_v2");
    no_gpu_when("FAKE_NVML_INIT", "18", "cannot start: Driver/library version mismatch (18)");
    no_gpu_when("FAKE_NVML_INIT", "9", "cannot start: Driver Not Loaded (9)");
    no_gpu_when("FAKE_NVML_COUNT", "0", "the NVIDIA driver sees no GPU");
    no_gpu_when("FAKE_NVML_COUNT", "1000000", "reports 1000000 GPUs");
    no_gpu_when("FAKE_NVML_COUNT_STATUS", "999", "cannot count GPUs: Unknown Error (999)");
    no_gpu_when("FAKE_NVML_HANDLE", "15", "GPU 0 of 2 does not answer: GPU is lost (15)");
}

static void memory_of_this_process(void **context)
{
    (void)context;
    char reason[NVML_REASON_MAX];
    assert_int_equal(memory(libraries[WHOLE], "0:500000000", reason), 500000000);
    assert_int_equal(memory(libraries[WHOLE], "1:7", reason), 7);
    assert_int_equal(memory(libraries[WHOLE], "0:100,1:20", reason), 120); /* on two GPUs */
    assert_int_equal(memory(libraries[WHOLE], "1:100,1:20", reason), 120); /* on parts of one */
    assert_int_equal(memory(libraries[NO_V3], "1:300", reason), 300);
    assert_int_equal(memory(libraries[NO_TEXTS], "1:300", reason), 300);
}

static void memory_that_is_unknown(void **context)
{
    (void)context;
    char process[64];
    snprintf(process, sizeof process, "lists no process %d on any GPU", (int)getpid());
    unknown(libraries[WHOLE], "", process);
    unknown(libraries[WHOLE], "5:100", process); /* a GPU that is not there */
    unknown(libraries[WHOLE], "0:-1", "does not tell the memory of process");
    unknown(libraries[WHOLE], "0:100,1:-1", "does not tell the memory"); /* half is not a sum */
    unknown(libraries[WHOLE], "0:0", "no memory at all");
    unknown(libraries[WHOLE], "0:9223372036854775807,1:9223372036854775807", "does not tell");
    unknown(libraries[NO_LIST], "0:100", "no function for it that wattle knows");
    setenv("FAKE_NVML_LIST", "15", 1);
    unknown(libraries[WHOLE], "0:100", "cannot list processes: GPU is lost (15)");
    unknown(libraries[NO_TEXTS], "0:100", "cannot list processes: error (15)");
    setenv("FAKE_NVML_LIST", "7", 1); /* never enough room: gives up */
    unknown(libraries[WHOLE], "0:100", "cannot list processes: Unknown Error (7)");
    unsetenv("FAKE_NVML_LIST");
    setenv("FAKE_NVML_LIE", "1", 1);
    unknown(libraries[WHOLE], "0:100", "processes where 32 have room");
    unsetenv("FAKE_NVML_LIE");
}

/* We are the last of them. */
static void many_processes(void **context)
{
    (void)context;
    char reason[NVML_REASON_MAX];
    const char *const others[] = {"0", "31", "32", "33", "1000", "4000"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        setenv("FAKE_NVML_OTHERS", others[i], 1);
        assert_int_equal(memory(libraries[WHOLE], "1:4096", reason), 4096);
    }
    unsetenv("FAKE_NVML_OTHERS");
}

/* Last, because the name then is that of the library which is loaded already. */
static void by_its_name(void **context)
{
    (void)context;
    char text[256], reason[NVML_REASON_MAX];
    uint64_t bytes = 0;
    assert_int_equal(live(libraries[WHOLE]), 0);
    setenv("FAKE_NVML_MEMORY", "0:64", 1);
    assert_int_equal(nvml_own_memory(&bytes, reason), 0);
    assert_int_equal(bytes, 64);
    nvml_describe(text, sizeof text);
    assert_string_equal(text, "2: Fake GPU 0 (GPU-fake-0), Fake GPU 1 (GPU-fake-1)");
    nvml_describe(text, 12); /* cut, not overrun */
    assert_string_equal(text, "2: Fake GPU");
    setenv("FAKE_NVML_INIT", "18", 1);
    assert_int_equal(nvml_own_memory(&bytes, reason), -1);
    nvml_describe(text, sizeof text);
    assert_in(text, "none: NVIDIA's library cannot start");
    unsetenv("FAKE_NVML_INIT");
    unsetenv("FAKE_NVML_MEMORY");
}

static int build(int which, const char *name, const char *flags)
{
    char command[512];
    snprintf(libraries[which], sizeof libraries[which], "%s/%s", folder, name);
    snprintf(command, sizeof command, "cc -std=c17 -D_GNU_SOURCE -shared -fPIC %s -o %s "
             "tests/tools/fake_nvml.c", flags, libraries[which]);
    return system(command);
}

static int setup(void **context)
{
    (void)context;
    snprintf(folder, sizeof folder, "/tmp/wattle-nvml-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(garbage, sizeof garbage, "%s/garbage.so", folder);
    FILE *file = fopen(garbage, "w");
    if (!file || fputs("not a library", file) < 0 || fclose(file))
        return -1;
    return build(WHOLE, "libnvidia-ml.so.1", "-Wl,-soname,libnvidia-ml.so.1") ||
           build(NO_V3, "no_v3.so", "-DNO_V3") || build(NO_LIST, "no_list.so", "-DNO_LIST") ||
           build(NO_INIT, "no_init.so", "-DNO_INIT") || build(NO_TEXTS, "no_texts.so", "-DNO_TEXTS");
}

static int teardown(void **context)
{
    (void)context;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices_are_seen),
        cmocka_unit_test(why_there_is_none),
        cmocka_unit_test(memory_of_this_process),
        cmocka_unit_test(memory_that_is_unknown),
        cmocka_unit_test(many_processes),
        cmocka_unit_test(by_its_name),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
