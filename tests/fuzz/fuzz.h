/* fuzz.h: what the fuzz targets share. A target is one file fuzz_NAME.c that takes any bytes as if they
 * came from outside; `make fuzz TARGET=NAME` lets libFuzzer make them up, and replay.c feeds it the
 * files of corpus/NAME in every `make check`. */
#ifndef WATTLE_FUZZ_H
#define WATTLE_FUZZ_H

#include "base/error.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char fuzz_root[64];

/* What cannot be on a working machine; not a finding. */
#define FUZZ_NEED(what)                                                                            \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            perror("the fuzz target itself: " #what);                                              \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static inline int fuzz_remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static inline void fuzz_remove(const char *path)
{
    nftw(path, fuzz_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void fuzz_end(void)
{
    fuzz_remove(fuzz_root);
}

/* A folder of this process's own, in memory: "<folder>/<name>", valid until the eighth call from now. */
static inline const char *fuzz_path(const char *name)
{
    static char paths[8][PATH_MAX];
    static unsigned next;
    if (!fuzz_root[0]) {
        strcpy(fuzz_root, "/dev/shm/wattle-fuzz-XXXXXX");
        if (!mkdtemp(fuzz_root)) {
            strcpy(fuzz_root, "/tmp/wattle-fuzz-XXXXXX");
            FUZZ_NEED(mkdtemp(fuzz_root));
        }
        atexit(fuzz_end);
    }
    char *path = paths[next++ % 8];
    FUZZ_NEED((size_t)snprintf(path, PATH_MAX, "%s/%s", fuzz_root, name) < PATH_MAX);
    return path;
}

static inline void fuzz_write(const char *path, const void *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    FUZZ_NEED(fd >= 0 && (size == 0 || write(fd, bytes, size) == (ssize_t)size));
    close(fd);
}

/* A failure has a text, and the text is one line. */
static inline void fuzz_check_error(int code, const char *text)
{
    if (code && (!text[0] || strchr(text, '\n')))
        abort();
}

/* Reads every byte, so that a sanitizer sees memory that is not there. */
static inline void fuzz_touch(const void *bytes, size_t size)
{
    static volatile uint8_t sum;
    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + ((const uint8_t *)bytes)[i]);
}

#endif
