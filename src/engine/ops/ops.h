/* ops.h: what the operators' files share. Private to src/engine. */
#ifndef WATTLE_ENGINE_OPS_H
#define WATTLE_ENGINE_OPS_H

#include "engine/op.h"

/* A row of a family's table: {OP("Conv", 2, 3, 1, infer_conv, run_conv), .macs = macs_conv}. The
 * numbers are inputs_min, inputs_max and outputs_max. */
#define OP_SINCE(first, last, name_, in_min, in_max, out_max, infer_, run_) \
    .name = (name_), .domain = "", .since = (first), .until = (last), .inputs_min = (in_min), \
    .inputs_max = (in_max), .outputs_max = (out_max), .infer = (infer_), .reference = (run_)
#define OP(...) OP_SINCE(1, 99, __VA_ARGS__)

struct op_family {
    const struct op *ops;
    size_t count;
};
#define OP_FAMILY(table) {table, sizeof(table) / sizeof *(table)}

extern const struct op_family family_conv, family_pool, family_norm, family_matmul, family_unary,
    family_binary, family_select, family_shape, family_move, family_pad, family_reduce,
    family_gather, family_softmax, family_constant, family_scatter,
    family_conv_transpose, family_resize, family_einsum, family_grid, family_recurrent, family_fold,
    family_norm_more, family_attention, family_quantize, family_integer, family_roi,
    family_spectral;

/* Elements of any type, a chunk at a time, as double or int64 (uint64: its bits). offset and
 * stride count elements. Stores saturate where a double does not fit; integers wrap. */
enum { CHUNK = 256 };
int type_is_real(enum dtype t);
void load_real(enum dtype t, const void *data, int64_t offset, int64_t stride, int64_t n,
               double *out);
void load_int(enum dtype t, const void *data, int64_t offset, int64_t stride, int64_t n,
              int64_t *out);
void store_real(enum dtype t, void *data, int64_t offset, int64_t n, const double *in);
void store_int(enum dtype t, void *data, int64_t offset, int64_t n, const int64_t *in);

/* Walks several arrays in step, row by row, in the order of dims. Rows are made as long as the
 * strides allow. Use: fill rank, dims, strides (elements) and offset, then
 *     for (int more = walk_begin(&w); more; more = walk_next(&w))
 *         row of w.count elements; operand o at w.offset[o] + i * w.step[o]
 */
enum { WALK_RANK = 2 * RANK_MAX, WALK_OPERANDS = 4 };
struct walk {
    int rank, operands;
    int64_t dims[WALK_RANK];
    int64_t strides[WALK_OPERANDS][WALK_RANK];
    int64_t offset[WALK_OPERANDS];
    int64_t count, step[WALK_OPERANDS];
    int64_t index[WALK_RANK]; /* private */
};
void walk_init(struct walk *w, const struct shape *dims);
/* Adds an operand of that shape, broadcast to dims. */
void walk_operand(struct walk *w, const struct shape *shape);
int walk_begin(struct walk *w);
int walk_next(struct walk *w);

/* What a file says about sizes is believed only within these bounds: no dimension is negative, and
 * the product of the dimensions that are not 0 fits, so that partial products do too. */
int shape_is_sane(const struct shape *s);

/* What the labels of an Einsum came to (node->a.plan). */
enum { EINSUM_OPERANDS = WALK_OPERANDS - 1, EINSUM_LABELS = WALK_RANK };
struct einsum {
    int operands, kept, total;  /* labels: kept ones first */
    int label[EINSUM_LABELS];
    int64_t size[EINSUM_LABELS];
    int64_t strides[EINSUM_OPERANDS][EINSUM_LABELS]; /* of inputs; 0 where one lacks the label */
};

/* Row-major strides in elements. */
void shape_strides(const struct shape *s, int64_t strides[RANK_MAX]);

/* Operand 0 of the walk takes the elements of operand 1, each `size` bytes. */
void copy_walk(struct walk *w, void *to, const void *from, size_t size);

/* Conv and pools: reads kernel_shape, strides, dilations, pads, auto_pad (and ceil_mode) for an
 * input N, C, spatial...; kernel holds the sizes when there is no kernel_shape (Conv), or is NULL.
 * Fills a and the spatial dims of out. */
int window_infer(const struct infer_context *c, const struct shape *x, const int64_t *kernel,
                 struct shape *out, struct error *e);

/* The same as three dimensions, the missing ones of size 1. */
struct window {
    int64_t x[3], y[3], kernel[3], stride[3], dilation[3], pad[3];
};
void window_make(const struct node *n, const struct shape *x, const struct shape *y,
                 struct window *w);

/* C = A B: A is m x k (or k x m with trans_a), B k x n (or n x k); float accumulators. */
void gemm_f32(int64_t m, int64_t n, int64_t k, const float *a, int trans_a, const float *b,
              int trans_b, float *c);

/* x in units of the scale as an integer of that type, saturated: rounded to the nearest, halves to
 * even, and then moved by the zero point. */
double quantized(enum dtype type, double x, double zero);

/* A product of matrices; a dimension of 1 is put in front of, or behind, a vector. */
struct matmul_shape {
    struct shape batch, a_batch, b_batch;
    int64_t m, n, k, k_of_b;
};
/* -1 when they do not fit. */
int matmul_shape(const struct shape *a, const struct shape *b, struct matmul_shape *s);
/* Over the products of a batch: operand 0 is the output, 1 and 2 are a and b. */
void matmul_walk(const struct matmul_shape *s, struct walk *w);
void matmul_output(const struct shape *a, const struct shape *b, const struct matmul_shape *s,
                   struct shape *out);

/* Reads Conv's attributes for an input and a weight, and fills out. */
int infer_conv_shape(const struct infer_context *c, const struct value *x, const struct value *w,
                     struct shape *out, struct error *e);
/* Outputs [*first, *last) of a row for which tap k falls inside the input. */
void conv_range(const struct window *w, int64_t k, int64_t *first, int64_t *last);
int infer_conv(const struct infer_context *c, struct error *e);
int run_conv(const struct node *n, const struct tensor *in, struct tensor *out, struct error *e);
int64_t macs_conv(const struct graph *g, const struct node *n);

/* GridSample: the pixels along a dimension of that size which a coordinate from -1 to 1 blends; -1
 * for one outside that counts as zero. a.mode is one of these, or cubic. */
enum grid_mode { GRID_NEAREST, GRID_LINEAR };
enum { GRID_TAPS = 4 };
struct grid_taps {
    int count;
    int64_t index[GRID_TAPS];
    double weight[GRID_TAPS];
};
void grid_choose(const struct attributes *a, double where, int64_t size, struct grid_taps *t);

/* GroupNormalization by a.group groups; scale and bias of each group or of each channel. */
int run_group_norm(const struct node *n, const struct tensor *in, struct tensor *out,
                   struct error *e);

/* y = (x - mean) / sqrt(variance + epsilon) * scale + bias over `inner` elements, `outer` times;
 * mean and inverse deviation are stored where not NULL. */
void layer_norm_f32(int64_t outer, int64_t inner, const float *x, const float *scale,
                    const float *bias, double epsilon, float *y, float *mean, float *inverse);

/* Resize: which inputs position i of an axis reads, and what each of them counts. Returns how many, or
 * 0 when they are more than capacity. */
int resize_taps(const struct attributes *a, int axis, int64_t i, int64_t in, int64_t out,
                int capacity, int64_t *from, double *weights);

int run_batch_norm(const struct node *n, const struct tensor *in, struct tensor *out,
                   struct error *e);

double gelu(double x);
double gelu_tanh(double x);
double mish(double x);

#endif
