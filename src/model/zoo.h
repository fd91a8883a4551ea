/* zoo.h: the built-in models, written as ONNX files that are the same bytes on every machine.
 *
 * Metadata the files carry and src/measure reads (any user's file may carry them too):
 *   wattle.dim.<SYMBOL> = <default size>          value of a symbolic dimension when none is given
 *   wattle.input.<NAME> = normal <mean> <sd> | uniform <low> <high> | constant <value>
 *                         how to make up an input; integers for integer types, both ends included
 *
 * Initializers carry the parameter names of torchvision and HuggingFace, so that tools in other
 * languages can build the same network from the same numbers. Layouts are those of PyTorch but for
 * one: a weight that feeds a MatMul is [in, out], so PyTorch's Linear takes its transpose. (One
 * that feeds a Gemm with transB is [out, in] as there.)
 */
#ifndef WATTLE_MODEL_ZOO_H
#define WATTLE_MODEL_ZOO_H

#include "base/error.h"

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

struct zoo_model {
    const char *name;       /* "resnet50" */
    const char *title;      /* one line: architecture and its source */
    int64_t parameters;     /* 25557032 */
    int64_t macs;           /* multiply-adds of Conv, Gemm and MatMul at batch 1 */
    uint64_t seed;
    uint64_t file_bytes;
    const char *sha256;     /* of the file; zoo_build refuses to commit anything else */
    int (*write)(const struct zoo_model *m, void *onnx_writer, struct error *e);
};

/* The table of built-in models, in the order they are listed. */
const struct zoo_model *zoo_models(size_t *count);
const struct zoo_model *zoo_find(const char *name); /* NULL when unknown */

/* <home>/models/<name>.onnx */
int zoo_path(const struct zoo_model *m, char path[PATH_MAX], struct error *e);
/* 1 when the file is there (size checked, not hashed), else 0. */
int zoo_cached(const struct zoo_model *m);
/* Writes the file atomically (temporary file, fsync, rename) into a folder it makes; verifies
 * SHA-256. */
int zoo_build(const struct zoo_model *m, char path[PATH_MAX], struct error *e);
/* The same, but ends with ERROR_INTERRUPTED, and no file, soon after stop() is not 0. */
int zoo_build_until(const struct zoo_model *m, int (*stop)(void), char path[PATH_MAX],
                    struct error *e);

#endif
