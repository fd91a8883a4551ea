/* Both providers on every model that comes with ONNX's tests (Debian: libonnx-testdata): what the
 * reference can load the fast one must load, and on the same made-up inputs they must agree. */
#include <wattle/engine.h>

#include "model/tensor.h"

#include "test.h"

#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char root[] = "/usr/share/libonnx-testdata/data";
static const char *const suites[] = {"node", "pytorch-converted", "pytorch-operator", "simple"};

/* How many agreed when this was last looked at: fewer means that something broke. */
enum { AGREED_MIN = 561 };

struct counts {
    int agreed, refused, failed;
};

static void fill(struct wattle_engine *e)
{
    for (size_t i = 0; i < wattle_engine_input_count(e); i++) {
        const struct wattle_tensor_info *info = wattle_engine_input(e, i);
        size_t size = dtype_size((enum dtype)info->type);
        uint32_t random = (uint32_t)i + 7;
        unsigned char *data = wattle_engine_input_data(e, i);
        for (size_t k = 0; k < info->bytes / size; k++) {
            random = random * 1664525u + 1013904223u;
            memset(data + k * size, 0, size);
            if (info->type == DTYPE_F32)
                ((float *)(void *)data)[k] = (float)(random >> 8) / 4194304.0f - 2;
            else if (info->type == DTYPE_F64)
                ((double *)(void *)data)[k] = (double)(random >> 8) / 4194304.0 - 2;
            else if (info->type != DTYPE_F16 && info->type != DTYPE_BF16)
                data[k * size] = (random >> 20) % 2;
        }
    }
}

static int same_floats(const float *a, const float *b, size_t n)
{
    double scale = 0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(b[i]))
            scale = fmax(scale, fabs((double)b[i]));
    for (size_t i = 0; i < n; i++) {
        if (isnan(a[i]) && isnan(b[i]))
            continue;
        if (a[i] != b[i] && !(fabs((double)a[i] - (double)b[i]) <= 1e-5 * scale))
            return 0;
    }
    return 1;
}

static int outputs_agree(const struct wattle_engine *fast, const struct wattle_engine *slow)
{
    for (size_t i = 0; i < wattle_engine_output_count(slow); i++) {
        const struct wattle_tensor_info *info = wattle_engine_output(slow, i);
        const void *a = wattle_engine_output_data((struct wattle_engine *)(uintptr_t)fast, i);
        const void *b = wattle_engine_output_data((struct wattle_engine *)(uintptr_t)slow, i);
        if (info->type == DTYPE_F32 ? !same_floats(a, b, info->bytes / 4)
                                    : memcmp(a, b, info->bytes) != 0)
            return 0;
    }
    return 1;
}

/* Models of the sequence operators and the like are refused, by both alike. */
static void compare_providers(const char *path, struct counts *c)
{
    struct wattle_engine_options o = {.size = sizeof o, .threads = 2};
    struct wattle_engine *fast = NULL, *slow = NULL;
    char error[WATTLE_ERROR_MAX] = "outputs differ", other[WATTLE_ERROR_MAX];
    o.provider = "reference";
    if (wattle_engine_load(path, &o, &slow, error)) {
        o.provider = "cpu";
        c->refused++;
        if (!wattle_engine_load(path, &o, &fast, error))
            fail_msg("%s: only the fast provider loads it", path);
        return;
    }
    o.provider = "cpu";
    int code = wattle_engine_load(path, &o, &fast, error);
    if (!code) {
        fill(fast);
        fill(slow);
        int slow_code = wattle_engine_run(slow, other);
        code = wattle_engine_run(fast, error) != slow_code ||
               (!slow_code && !outputs_agree(fast, slow));
    }
    if (code)
        fprintf(stderr, "%s: %s\n", path, error);
    *(code ? &c->failed : &c->agreed) += 1;
    wattle_engine_free(fast);
    wattle_engine_free(slow);
}

static void compare_suite(const char *suite, struct counts *c)
{
    char folder[PATH_MAX], path[PATH_MAX + 300];
    snprintf(folder, sizeof folder, "%s/%s", root, suite);
    DIR *d = opendir(folder);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        snprintf(path, sizeof path, "%s/%.255s/model.onnx", folder, entry->d_name);
        if (entry->d_name[0] != '.' && !access(path, R_OK))
            compare_providers(path, c);
    }
    if (d)
        closedir(d);
}

static void providers_agree(void **state)
{
    (void)state;
    struct counts c = {0};
    for (size_t i = 0; i < sizeof suites / sizeof *suites; i++)
        compare_suite(suites[i], &c);
    printf("%d agreed, %d refused, %d failed\n", c.agreed, c.refused, c.failed);
    assert_int_equal(c.failed, 0);
    assert_true(c.agreed >= AGREED_MIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(providers_agree)};
    if (access(root, R_OK)) {
        printf("libonnx-testdata is not installed\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
