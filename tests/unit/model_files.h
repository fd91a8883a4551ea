/* model_files.h: what the tests of src/model share: a fresh folder, files in it, a small model. */
#ifndef WATTLE_TEST_MODEL_FILES_H
#define WATTLE_TEST_MODEL_FILES_H

#include "base/buffer.h"
#include "model/onnx.h"
#include "model/wire_write.h"
#include "model/write.h"

#include "test.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIXTURES "tests/fixtures/onnx/"
#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

static char folder[64];
static struct error err;

static inline int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/wattle-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static inline int remove_folder(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "chmod -R u+w %s; rm -rf %s", folder, folder);
    return system(command);
}

static inline const char *path_of(const char *name)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static inline void write_bytes(const char *name, const void *bytes, size_t size)
{
    FILE *f = fopen(path_of(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static inline char *read_bytes(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &st), 0);
    char *bytes = malloc((size_t)st.st_size + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, (size_t)st.st_size, f), st.st_size);
    fclose(f);
    *size = (size_t)st.st_size;
    return bytes;
}

static inline void finish(struct onnx_writer *w, const char *name)
{
    char hex[65];
    FILE *f = fopen(path_of(name), "wb");
    assert_non_null(f);
    int result = onnx_writer_finish(w, f, hex, &err);
    if (result)
        fail_msg("%s", err.text);
    assert_int_equal(fclose(f), 0);
    onnx_writer_free(w);
}

/* Conv (every kind of attribute the writer knows) and Clip, with aligned initializers. */
static inline struct onnx_writer *small_model(void)
{
    static const float weights[] = {1, 2, 3, 4, 5, 6}, six = 6;
    struct shape w_shape = {.rank = 4, .dims = {2, 3, 1, 1}}, scalar = {0};
    struct onnx_writer *w = onnx_writer_new("small");
    assert_non_null(w);
    onnx_writer_input(w, "x", DTYPE_F32, NAMES("N", "3", "4", "4"));
    onnx_writer_node(w, "Conv", "c", NAMES("x", "w"), "y");
    onnx_writer_ints(w, "strides", (const int64_t[]){1, 1}, 2);
    onnx_writer_int(w, "group", 1);
    onnx_writer_string(w, "auto_pad", "NOTSET");
    onnx_writer_node(w, "Clip", "clip", NAMES("y", "", "six"), "z");
    onnx_writer_float(w, "ignored", 0.25f);
    onnx_writer_output(w, "z", DTYPE_F32, NAMES("N", "2", "4", "4"));
    onnx_writer_constant(w, "w", DTYPE_F32, &w_shape, weights);
    onnx_writer_constant(w, "six", DTYPE_F32, &scalar, &six);
    onnx_writer_metadata(w, "wattle.dim.N", "1");
    return w;
}

#endif
