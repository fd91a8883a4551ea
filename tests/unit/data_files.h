/* data_files.h: .npy, .npz and .pb files made by tests, in a fresh folder. */
#ifndef WATTLE_TESTS_DATA_FILES_H
#define WATTLE_TESTS_DATA_FILES_H

#include "model/data.h"

#include "test.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

#pragma GCC diagnostic ignored "-Wunused-function"

static char folder[64];
static struct error err;

static const char *path_of(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/wattle-data-XXXXXX");
    assert_non_null(mkdtemp(folder));
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static void write_bytes(const char *name, const void *bytes, size_t size)
{
    FILE *f = fopen(path_of(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    fclose(f);
}

/* An .npy file of version 1 with that header text; returns its size. */
static size_t make_npy(unsigned char *out, const char *header, const void *data, size_t size)
{
    size_t length = strlen(header);
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    out[8] = (unsigned char)length;
    out[9] = (unsigned char)(length >> 8);
    memcpy(out + 10, header, length);
    memcpy(out + 10 + length, data, size);
    return 10 + length + size;
}

#define NPY(type, shape) "{'descr': '" type "', 'fortran_order': False, 'shape': " shape ", }  \n"

static const float six[6] = {0, 1, 2, 3, 4, 5};

static size_t small_npy(unsigned char *out)
{
    return make_npy(out, NPY("<f4", "(2, 3)"), six, sizeof six);
}

static void add_member(zip_t *zip, const char *name, const void *bytes, size_t size, int deflate)
{
    zip_source_t *source = zip_source_buffer(zip, bytes, size, 0);
    zip_int64_t index = zip_file_add(zip, name, source, ZIP_FL_ENC_UTF_8);
    assert_true(index >= 0);
    assert_int_equal(zip_set_file_compression(zip, (zip_uint64_t)index,
                                              deflate ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0), 0);
}

/* small.npz with a (stored) and b (deflated). */
static void write_npz(const char *name)
{
    unsigned char bytes[512];
    size_t size = small_npy(bytes);
    int code;
    zip_t *zip = zip_open(path_of(name), ZIP_CREATE | ZIP_TRUNCATE, &code);
    assert_non_null(zip);
    add_member(zip, "a.npy", bytes, size, 0);
    add_member(zip, "b.npy", bytes, size, 1);
    assert_int_equal(zip_close(zip), 0);
}

/* TensorProto: dims 2 and 3, float32, name "x", raw data. */
static size_t small_proto(unsigned char *out)
{
    static const unsigned char head[] = {0x08, 2, 0x08, 3, 0x10, 1, 0x42, 1, 'x', 0x4a, 24};
    memcpy(out, head, sizeof head);
    memcpy(out + sizeof head, six, sizeof six);
    return sizeof head + sizeof six;
}

#endif
