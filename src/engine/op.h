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
};

/* Helpers for infer functions; errors name node, attribute and reason. */
const struct value *infer_input(const struct infer_context *c, int index); /* NULL when left out */
int infer_attribute_int(const struct infer_context *c, const char *name, int64_t fallback,
                        int64_t *out, struct error *e);
int infer_attribute_float(const struct infer_context *c, const char *name, float fallback,
                          float *out, struct error *e);
int infer_attribute_ints(const struct infer_context *c, const char *name, size_t minimum,
                         size_t maximum, const int64_t **out, size_t *count, struct error *e);
/* Sets type and shape of output `index`. */
int infer_output(const struct infer_context *c, int index, enum dtype type,
                 const struct shape *shape, struct error *e);
int infer_fail(const struct infer_context *c, struct error *e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

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
};

/* NULL when there is none; *known is then set to 1 if another opset of it exists. */
const struct op *op_find(const char *domain, const char *name, int64_t opset, int *known);
/* All entries, for docs and tests. */
const struct op *const *op_all(size_t *count);

/* The internal operators that passes produce (ops/fused.c). Inputs, in order:
 *   Conv (wattle):     x, w, [bias], [residual]            a: as Conv, plus the epilogue
 *   Linear:            x[..., K], w[K, N] (or [N, K] with trans_b), [bias N], [residual]
 *   LayerNorm:         x, scale, bias; over the last axis  a.epsilon
 *   Gelu:              x                                   x * 0.5 * (1 + erf(x / sqrt 2))
 *   Attention:         qkv[B, S, 3*H*D], [mask broadcastable to B,H,S,S, added]   a.heads, a.scale
 *                      -> [B, S, H*D]
 */
extern const struct op op_fused_conv, op_linear, op_layer_norm, op_gelu, op_attention;

#endif
