/* onednn.h: the few things the engine needs from oneDNN, and the only file that knows them is
 * onednn_v2.c (oneDNN 2.x; a 3.x twin would implement this same header).
 *
 * All data is float32. Layouts are immutable and belong to the struct onednn they came from, which
 * is why nothing here frees one. Where memory is short a function that makes a layout returns
 * NULL, and every function that takes layouts answers a NULL one with ERROR_MEMORY, so a caller
 * may chain them and check once.
 */
#ifndef WATTLE_ENGINE_ONEDNN_H
#define WATTLE_ENGINE_ONEDNN_H

#include "base/error.h"
#include "engine/graph.h"
#include "model/tensor.h"

#include <stddef.h>
#include <stdint.h>

struct onednn;    /* a CPU engine and its stream */
struct layout;    /* the order in which a tensor's elements lie in memory */
struct primitive; /* one kernel, generated for its shapes, with places for its operands */

int onednn_open(struct onednn **out, struct error *e);
void onednn_close(struct onednn *d); /* after its primitives; NULL is fine */
/* "oneDNN 2.6.3 (avx2)" */
void onednn_describe(char text[64]);
int onednn_has_avx512(void);

/* Row-major. A scalar counts as one dimension of 1. */
const struct layout *layout_plain(struct onednn *d, const struct shape *s);
const struct layout *layout_strided(struct onednn *d, const struct shape *s,
                                    const int64_t *strides);
/* Rank 3 to 5, channels (dimension 1) innermost. */
const struct layout *layout_channels_last(struct onednn *d, const struct shape *s);
/* Rank 3 to 5, channels in blocks of 8 or 16: N, C/8, spatial..., 8. */
const struct layout *layout_blocked(struct onednn *d, const struct shape *s, int block);
/* Row-major weights of a convolution, O x C/group x kernel, as primitive_conv reads them. */
const struct layout *layout_weights(struct onednn *d, const struct shape *weights, int64_t group);
/* Those of a ConvTranspose, I x O/group x kernel. */
const struct layout *layout_weights_transposed(struct onednn *d, const struct shape *weights,
                                               int64_t group);
/* The kernel may choose; primitive_layout then says what it chose. */
const struct layout *layout_any(struct onednn *d, const struct shape *s);
/* Elements from one place of a dimension to the next; -1 where a dimension is split into blocks. */
int layout_strides(const struct layout *l, int64_t strides[RANK_MAX]);
int layout_equal(const struct layout *a, const struct layout *b);
/* Every element has the same place in both, so that one's memory can be read as the other's: a
 * vector of channels is the same in blocks, last or first. */
int layout_same_places(const struct layout *a, const struct layout *b);
size_t layout_bytes(const struct layout *l); /* with padding, if the layout has any */

/* What happens to a result before it is stored. */
struct epilogue {
    int sum; /* adds what the destination holds */
    enum activation activation;
    float low, high; /* the activation's numbers */
};

enum conv_method { CONV_DIRECT, CONV_WINOGRAD };
enum pool_kind { POOL_MAX, POOL_AVERAGE, POOL_AVERAGE_WITH_PADDING };
enum binary_kind { BINARY_ADD, BINARY_SUB, BINARY_MUL, BINARY_DIV, BINARY_MAX, BINARY_MIN };

/* Each fails with ERROR_UNSUPPORTED when oneDNN has no kernel for the combination. A primitive
 * belongs to the caller. a: strides, dilations, pads, group and kernel; the weights' layout is the
 * kernel's choice. bias says whether there is one; epilogue may be NULL. */
int primitive_conv(struct onednn *d, const struct attributes *a, enum conv_method method,
                   const struct layout *src, const struct shape *weights, int bias,
                   const struct layout *dst, const struct epilogue *epilogue,
                   struct primitive **out, struct error *e);
/* The same turned around; a.pads_end may be negative, where the output reaches further. */
int primitive_conv_transpose(struct onednn *d, const struct attributes *a, const struct layout *src,
                             const struct shape *weights, int bias, const struct layout *dst,
                             struct primitive **out, struct error *e);
int primitive_pool(struct onednn *d, const struct attributes *a, enum pool_kind kind,
                   const struct layout *src, const struct layout *dst, struct primitive **out,
                   struct error *e);
/* dst[M, N] = src[M, K] * weights[N, K]^T + bias[N] */
int primitive_inner_product(struct onednn *d, const struct layout *src,
                            const struct layout *weights, int bias, const struct layout *dst,
                            const struct epilogue *epilogue, struct primitive **out,
                            struct error *e);
/* dst = src * weights over the last two dimensions, batched over the others. */
int primitive_matmul(struct onednn *d, const struct layout *src, const struct layout *weights,
                     int bias, const struct layout *dst, const struct epilogue *epilogue,
                     struct primitive **out, struct error *e);
/* src may be dst; src1 broadcasts where its dimension is 1. */
int primitive_binary(struct onednn *d, enum binary_kind kind, const struct layout *src,
                     const struct layout *src1, const struct layout *dst, struct primitive **out,
                     struct error *e);
int primitive_eltwise(struct onednn *d, const struct epilogue *what, const struct layout *both,
                      struct primitive **out, struct error *e);
int primitive_concat(struct onednn *d, int axis, int count, const struct layout *const *src,
                     const struct layout *dst, struct primitive **out, struct error *e);
int primitive_reorder(struct onednn *d, const struct layout *from, const struct layout *to,
                      struct primitive **out, struct error *e);
void primitive_free(struct primitive *p); /* NULL is fine */

enum operand {
    OPERAND_SRC,
    OPERAND_WEIGHTS, /* src1 of a binary */
    OPERAND_BIAS,
    OPERAND_DST,
    OPERAND_SCRATCH,
    OPERAND_SOURCES, /* the second and further sources of a concat follow from here */
    OPERAND_COUNT = OPERAND_SOURCES + NODE_INPUT_MAX - 1,
};

/* NULL when the primitive has no such operand. */
const struct layout *primitive_layout(const struct primitive *p, enum operand operand);
/* "jit_1x1:avx2"; lives as long as the primitive. */
const char *primitive_kernel(const struct primitive *p);
/* Whether it is one of oneDNN's slow general-purpose fallbacks. */
int primitive_is_slow(const struct primitive *p);

void primitive_bind(struct primitive *p, enum operand operand, void *data);
/* All operands must be bound. Neither allocates nor blocks. */
int primitive_run(struct primitive *p, struct error *e);

#endif
