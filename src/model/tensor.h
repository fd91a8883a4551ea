/* tensor.h: element types, shapes and tensors. Sizes are checked against overflow here and nowhere
 * else: whoever needs a byte count asks shape_bytes. */
#ifndef WATTLE_MODEL_TENSOR_H
#define WATTLE_MODEL_TENSOR_H

#include <stddef.h>
#include <stdint.h>

/* Numbers are those of ONNX TensorProto.DataType (onnx.proto), so a file's number casts. */
enum dtype {
    DTYPE_NONE = 0,
    DTYPE_F32 = 1,
    DTYPE_U8 = 2,
    DTYPE_I8 = 3,
    DTYPE_U16 = 4,
    DTYPE_I16 = 5,
    DTYPE_I32 = 6,
    DTYPE_I64 = 7,
    DTYPE_STRING = 8,
    DTYPE_BOOL = 9,
    DTYPE_F16 = 10,
    DTYPE_F64 = 11,
    DTYPE_U32 = 12,
    DTYPE_U64 = 13,
    DTYPE_BF16 = 16,
};

size_t dtype_size(enum dtype type);          /* bytes of one element; 0 for NONE and STRING */
const char *dtype_name(enum dtype type);     /* "float32", "int64", ..., "unknown" */
enum dtype dtype_from_name(const char *name); /* DTYPE_NONE when unknown */

enum { RANK_MAX = 8 };

struct shape {
    int rank;                /* 0 (scalar) .. RANK_MAX */
    int64_t dims[RANK_MAX];  /* each >= 0 once concrete; entries past rank are 0 */
};

/* Product of the dims, 1 for a scalar; -1 when a dim is negative or the product overflows int64. */
int64_t shape_elements(const struct shape *s);
/* elements x dtype_size; -1 on overflow, unknown type or more than PTRDIFF_MAX. */
int64_t shape_bytes(const struct shape *s, enum dtype type);
int shape_equal(const struct shape *a, const struct shape *b);
/* "1x3x224x224", "scalar"; cut to fit. Returns text. */
const char *shape_text(const struct shape *s, char *text, size_t size);

/* A dense row-major tensor; whoever made it says who owns data. */
struct tensor {
    enum dtype type;
    struct shape shape;
    void *data; /* little-endian elements; NULL only when there are 0 bytes */
};

#endif
