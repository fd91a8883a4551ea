/* op.h: the one table of operators. A new operator is one entry in its family's file under ops/
 * and, if there is a faster way to run it, one kernel (kernel.h).
 */
#ifndef WATTLE_ENGINE_OP_H
#define WATTLE_ENGINE_OP_H

#include "engine/graph.h"

/* What infer may look at: the node, its inputs with types, shapes and known data. */
struct infer_context {
    struct graph *graph;
    struct node *node;
    const struct onnx_node *source; /* attributes as in the file; NULL for internal operators */
    int64_t opset;
    uint64_t *attributes_read; /* bit i: source->attributes[i] was asked for; others are errors */
    int64_t *budget; /* what loading may still cost, in elements; NULL: any amount */
};

/* Helpers for infer functions; errors name node, attribute and reason. */
const struct value *infer_input(const struct infer_context *c, int index); /* NULL when left out */
int infer_attribute_int(const struct infer_context *c, const char *name, int64_t fallback,
                        int64_t *out, struct error *e);
int infer_attribute_float(const struct infer_context *c, const char *name, float fallback,
                          float *out, struct error *e);
int infer_attribute_ints(const struct infer_context *c, const char *name, size_t minimum,
                         size_t maximum, const int64_t **out, size_t *count, struct error *e);
/* *out is one of the names (NULL-terminated), by number; fallback when there is no attribute. */
int infer_attribute_name(const struct infer_context *c, const char *name,
                         const char *const *names, int fallback, int *out, struct error *e);
const struct onnx_attribute *infer_attribute(const struct infer_context *c, const char *name);
/* Attributes that change nothing for inference ("momentum"). */
void infer_ignore(const struct infer_context *c, const char *name);
/* Axis in [-rank, rank - 1], normalised to >= 0. */
int infer_axis(const struct infer_context *c, const char *name, int64_t axis, int rank,
               int64_t *out, struct error *e);
/* Axes from attribute `name` (before opset `since`) or input `index`; sorted, distinct, a.axes. */
int infer_axes(const struct infer_context *c, const char *name, int64_t since, int index, int rank,
               int *given, struct error *e);
/* Integers of an input that must be known at load (rank 0 or 1). */
int infer_constant_ints(const struct infer_context *c, int index, const char *what,
                        int64_t *out, size_t maximum, size_t *count, struct error *e);
/* Input `index` has a type in the set (TYPES_...). */
int infer_type(const struct infer_context *c, int index, unsigned types, struct error *e);
/* Inputs first..count-1 broadcast together, as numpy does. */
int infer_broadcast(const struct infer_context *c, int first, int count, struct shape *out,
                    struct error *e);
/* Work of infer's own, in elements: not 0 when it would make loading slow without bound. */
int infer_spend(const struct infer_context *c, int64_t elements);
/* Well formed, but not something the engine does. */
int infer_unsupported(const struct infer_context *c, struct error *e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Sets type and shape of output `index`; one left out is fine. */
int infer_output(const struct infer_context *c, int index, enum dtype type,
                 const struct shape *shape, struct error *e);
int infer_fail(const struct infer_context *c, struct error *e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define TYPE_BIT(t) (1u << (t))
#define TYPES_F32 TYPE_BIT(DTYPE_F32)
#define TYPES_REAL (TYPES_F32 | TYPE_BIT(DTYPE_F64) | TYPE_BIT(DTYPE_F16) | TYPE_BIT(DTYPE_BF16))
#define TYPES_SIGNED (TYPE_BIT(DTYPE_I8) | TYPE_BIT(DTYPE_I16) | TYPE_BIT(DTYPE_I32) | \
                      TYPE_BIT(DTYPE_I64))
#define TYPES_UNSIGNED (TYPE_BIT(DTYPE_U8) | TYPE_BIT(DTYPE_U16) | TYPE_BIT(DTYPE_U32) | \
                        TYPE_BIT(DTYPE_U64))
#define TYPES_BOOL TYPE_BIT(DTYPE_BOOL)
#define TYPES_INDEX (TYPE_BIT(DTYPE_I32) | TYPE_BIT(DTYPE_I64))
#define TYPES_NUMBER (TYPES_REAL | TYPES_SIGNED | TYPES_UNSIGNED)
#define TYPES_ANY (TYPES_NUMBER | TYPES_BOOL)

/* Whether output 0 is input 0 again. The graph drops nodes that only copy. */
enum op_copy {
    OP_COMPUTES,
    OP_COPIES,      /* always: Identity, Dropout */
    OP_COPIES_SAME, /* when the output's type and shape are the input's: Cast, Expand, Tile */
    OP_RESHAPES,    /* the same bytes in another shape: Reshape, Flatten, Squeeze, Unsqueeze */
};

struct op {
    const char *name;   /* "Conv"; internal operators: "Linear", "Attention", "Gelu", ... */
    const char *domain; /* "" for ONNX, "wattle" for internal ones */
    int since, until;   /* opsets this entry is for, inclusive; several entries may share a name */
    int inputs_min, inputs_max, outputs_max;
    /* Checks types and attributes, fills node->a, sets the outputs' types and shapes. */
    int (*infer)(const struct infer_context *c, struct error *e);
    /* Plain C, row-major, exact shapes as inferred; in[i].data NULL for an input left out. in and
     * out never overlap. Returns 0, or an error for bad data (index out of range). No allocation:
     * what it needs beyond in and out it must do without. */
    int (*reference)(const struct node *node, const struct tensor *in, struct tensor *out,
                     struct error *e);
    enum op_copy copy;
    int64_t (*macs)(const struct graph *g, const struct node *n); /* NULL: none */
    int heavy; /* its work is not in proportion to its elements, nor told by macs: never folded, so
                  that a file cannot make loading slow */
    int mac_price; /* of one multiply-add of its reference kernel, in elements copied; 0: 1 */
    const void *detail; /* the family's own: which row of its table */
};

/* NULL when there is none; *known is then set to 1 if another opset of it exists. */
const struct op *op_find(const char *domain, const char *name, int64_t opset, int *known);
/* All entries, for docs and tests. */
const struct op *const *op_all(size_t *count);

/* The internal operators that passes produce (ops/fused.c). Inputs, in order:
 *   Conv (wattle):     x, w, [bias], [residual]            a: as Conv, plus the epilogue
 *   (bias is input 2 and residual input 3 always; NO_VALUE, or beyond the last, when there is none)
 *   Linear:            x[..., K], w[K, N] (or [N, K] with trans_b), [bias N], [residual]
 *   LayerNorm:         x, scale, bias; over the last axis  a.epsilon
 *   RmsNorm:           x, scale; over the last axis        a.epsilon
 *   GroupNorm:         x, scale, bias, each of the channels  a.group, a.epsilon
 *   Rotary:            x[..., D], cos, sin; halves of D    x * cos + (-second, first) * sin
 *   Gelu:              x                                   x * 0.5 * (1 + erf(x / sqrt 2))
 *   Swish:             x                                   x / (1 + e^(-a.alpha x))
 *   BatchNorm:         as BatchNormalization               a.epsilon and the activation
 *   Attention:         qkv[B, S, 3*H*D], [mask broadcastable to B,H,S,S, added]   a.heads, a.scale
 *                      -> [B, S, H*D]
 */
extern const struct op op_fused_conv, op_linear, op_layer_norm, op_gelu, op_attention, op_rms_norm,
    op_group_norm, op_rotary, op_swish, op_batch_norm;

#endif
