/* write.h: ONNX files written as a stream. Private to this folder and its tests.
 *
 *   struct onnx_writer *w = onnx_writer_new("name of graph");
 *   onnx_writer_input(w, "x", DTYPE_F32, (const char *const[]){"N", "8", NULL});
 *   onnx_writer_node(w, "Relu", "relu", (const char *const[]){"x", NULL}, "y");
 *   onnx_writer_output(w, "y", DTYPE_F32, (const char *const[]){"N", "8", NULL});
 *   onnx_writer_finish(w, file, hex, &e);
 *   onnx_writer_free(w);
 *
 * Structure is kept in memory; initializers are only described, and their bytes made when they are
 * written, a piece at a time, so that a 438 MB model takes a few hundred KiB. All lengths are known
 * before the first byte is written: the result is one ordinary ModelProto. Errors are sticky: only
 * onnx_writer_finish reports them.
 */
#ifndef WATTLE_MODEL_WRITE_H
#define WATTLE_MODEL_WRITE_H

#include "base/error.h"
#include "model/tensor.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
    ONNX_WRITE_IR = 8,
    ONNX_WRITE_OPSET = 17,
    ONNX_WRITE_ALIGNMENT = 64, /* of initializers in the file: a cache line */
};

/* Makes elements first .. first + count - 1 of an initializer. */
typedef void onnx_fill(const void *context, uint64_t first, size_t count, void *out);

struct onnx_writer;
struct onnx_writer *onnx_writer_new(const char *graph_name); /* NULL: out of memory */
void onnx_writer_free(struct onnx_writer *w);                /* NULL is fine */

/* dims: NULL-terminated; a decimal number is a fixed size, anything else a symbol. */
void onnx_writer_input(struct onnx_writer *w, const char *name, enum dtype type,
                       const char *const *dims);
void onnx_writer_output(struct onnx_writer *w, const char *name, enum dtype type,
                        const char *const *dims);
void onnx_writer_metadata(struct onnx_writer *w, const char *key, const char *value);

/* inputs: NULL-terminated. The attribute calls that follow belong to this node. */
void onnx_writer_node(struct onnx_writer *w, const char *op_type, const char *name,
                      const char *const *inputs, const char *output);
void onnx_writer_int(struct onnx_writer *w, const char *attribute, int64_t value);
void onnx_writer_ints(struct onnx_writer *w, const char *attribute, const int64_t *values,
                      size_t count);
void onnx_writer_float(struct onnx_writer *w, const char *attribute, float value);
void onnx_writer_string(struct onnx_writer *w, const char *attribute, const char *value);

/* context is copied (size bytes of it). */
void onnx_writer_initializer(struct onnx_writer *w, const char *name, enum dtype type,
                             const struct shape *shape, onnx_fill *fill, const void *context,
                             size_t size);
/* An initializer with these values, copied. */
void onnx_writer_constant(struct onnx_writer *w, const char *name, enum dtype type,
                          const struct shape *shape, const void *data);
/* An initializer whose bytes lie in another file. */
void onnx_writer_external(struct onnx_writer *w, const char *name, enum dtype type,
                          const struct shape *shape, const char *location, const char *offset,
                          const char *length);

/* Size of the file to come; 0 when something went wrong before. */
uint64_t onnx_writer_bytes(struct onnx_writer *w);
/* Asked while initializers are written: not 0 ends onnx_writer_finish with ERROR_INTERRUPTED. NULL:
 * nobody is asked. */
void onnx_writer_stop(struct onnx_writer *w, int (*stop)(void));
/* Writes everything; hex receives the SHA-256 of what was written. Does not flush or close. */
int onnx_writer_finish(struct onnx_writer *w, FILE *file, char hex[65], struct error *e);

#endif
