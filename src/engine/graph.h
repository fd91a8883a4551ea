/* graph.h: a model as the engine works on it: values and nodes with concrete shapes.
 *
 * Life of a graph: graph_build makes it from an ONNX file with sizes for the symbolic dimensions.
 * It walks the nodes in order; for each it infers concrete output shapes and types, and a node
 * whose inputs are all known at load is evaluated at once by its reference kernel, so constants,
 * Shape chains and the like are folded as they come. Identity and Dropout vanish. What is left is a
 * list of nodes over values with fixed shapes. The "reference" provider runs that list as it is; for
 * "cpu" the passes (pass.h) rewrite it with the fused operators and the kernels of kernel.h run it.
 */
#ifndef WATTLE_ENGINE_GRAPH_H
#define WATTLE_ENGINE_GRAPH_H

#include "base/arena.h"
#include "base/error.h"
#include "model/onnx.h"
#include "model/tensor.h"

#include <stddef.h>
#include <stdint.h>

struct op;

/* 64: DenseNet's Concat nodes have some fifty inputs. */
enum { NODE_INPUT_MAX = 64, NODE_OUTPUT_MAX = 16, NO_VALUE = -1 };

struct value {
    const char *name;
    enum dtype type;
    struct shape shape;  /* concrete */
    const void *constant; /* known at load: in the file's map or in the graph's memory; else NULL */
    int producer;        /* node, or -1 for graph inputs and constants */
    int is_input, is_output; /* of the graph; both, when the file passes an input straight out; an
                                output may be a constant too */
    /* Kept by the functions below: readers (a node that reads twice counts twice, being a graph
     * output counts one), and the reading nodes' numbers XORed, which is the reader when there is
     * one. */
    int uses, user_mix;
};

/* Attributes of every operator, read once and checked when the node is built; op->infer fills
 * defaults, so that kernels see final numbers only. One struct on purpose: passes copy and extend
 * it. */
struct attributes {
    /* Conv, pools: spatial only, up to 3-D */
    int spatial;
    int64_t kernel[3], strides[3], dilations[3], pads_begin[3], pads_end[3];
    int64_t group;
    int ceil_mode, count_include_pad;
    /* Gemm, MatMul */
    float alpha, beta;
    int trans_a, trans_b;
    /* axes, permutations and the rest */
    int64_t axis;             /* Softmax, LogSoftmax: the first of axis_count axes taken as one */
    int keepdims;
    int mode;                 /* Pad: enum pad_mode; Gelu: 1 for the tanh form; Mod: fmod; Cast and
                                 MaxPool: saturate and storage_order */
    int axis_count;
    int64_t axes[RANK_MAX];   /* normalised to >= 0; also Transpose perm */
    int64_t starts[RANK_MAX], steps[RANK_MAX]; /* Slice: of every dimension; Pad: starts are the
                                                  pads in front of every dimension */
    float epsilon;            /* BatchNormalization, LayerNormalization */
    float low, high;          /* Clip bounds, when its bounds are attributes or constant inputs; alpha
                                 and beta of other fused activations */
    float scale;              /* Attention: of the scores */
    enum dtype to;            /* Cast */
    /* fused epilogue of Conv and Linear (internal operators) */
    int activation;           /* enum activation */
    int has_bias;             /* an input holds the bias */
    int has_residual;         /* an input of the output's shape is added before the activation */
    /* Attention (internal): q, k, v interleaved in one input */
    int64_t heads;
    const void *plan;         /* what else an operator worked out; in the graph's arena */
};

enum pad_mode { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP };

/* The numbers of one are `low` and `high`: a Clip's bounds, and of the others alpha and beta. */
enum activation {
    ACT_NONE, ACT_RELU, ACT_CLIP, ACT_GELU_ERF, ACT_TANH, ACT_SIGMOID, ACT_LEAKY_RELU, ACT_ELU,
    ACT_SWISH /* x * sigmoid(low x) */, ACT_HARD_SWISH, ACT_HARD_SIGMOID, ACT_MISH, ACT_GELU_TANH,
    ACT_FUSED_LAST = ACT_GELU_TANH, /* up to here Conv and Linear take it as their epilogue */
    ACT_SELU, ACT_CELU, ACT_SOFTPLUS, ACT_SOFTSIGN, ACT_THRESHOLDED_RELU
};

struct node {
    const struct op *op;
    const char *name;   /* for messages: the file's node name, or "Conv #12" when it has none */
    const char *fused;  /* "Conv+Add+Relu" for the profile; op name when not fused */
    int inputs[NODE_INPUT_MAX];   /* value indices; NO_VALUE for one left out */
    int input_count;
    int outputs[NODE_OUTPUT_MAX];
    int output_count;
    struct attributes a;
    int dead;           /* removed by a pass; skipped by everyone, swept by graph_sweep */
};

struct graph {
    struct arena arena;        /* owns names, arrays and folded constants */
    const struct onnx_model *model; /* must outlive the graph */
    struct value *values;
    int value_count, value_capacity;
    struct node *nodes;        /* topological order */
    int node_count, node_capacity;
    int *inputs, *outputs;     /* value indices, in the file's order */
    int input_count, output_count;
    uint64_t memory_limit;     /* of folded constants together, and of any one value: hostile files
                                  cannot expand without bound */
    uint64_t memory_used;
};

struct graph_dim {
    const char *symbol;
    int64_t value;
};

/* Errors name file, node, attribute or input, and reason. dims without a match in the model are
 * ERROR_USAGE; a symbol without a size is 1. On failure *g is released. */
int graph_build(struct graph *g, const struct onnx_model *model, const struct graph_dim *dims,
                size_t dim_count, uint64_t memory_limit, struct error *e);
void graph_release(struct graph *g);

/* The same with some inputs known at load: they become constants and are not fed any more. For
 * tests, and for models whose shapes depend on an input's data. Data must outlive the graph. */
struct graph_feed {
    const char *name;
    struct tensor tensor;
};
int graph_build_fed(struct graph *g, const struct onnx_model *model, const struct graph_dim *dims,
                    size_t dim_count, const struct graph_feed *feeds, size_t feed_count,
                    uint64_t memory_limit, struct error *e);

/* For passes. The new value or node's index, or -1 without memory. Pointers into g->values and
 * g->nodes are invalid after either. */
int graph_add_value(struct graph *g, const char *name, enum dtype type, const struct shape *shape);
int graph_add_node(struct graph *g, const struct op *op, const char *name); /* appended */
/* Memory with the graph's lifetime, 64-byte aligned, zeroed; NULL beyond memory_limit. */
void *graph_memory(struct graph *g, size_t bytes);

/* A constant's value, over data that lives as long as the graph. -1 without memory. */
int graph_add_constant(struct graph *g, const char *name, enum dtype type,
                       const struct shape *shape, const void *data);
/* Makes node `index` another operation with the same outputs (so that the order of nodes stays
 * right); it reads nothing at first. fused: for the profile. */
struct node *graph_rewrite(struct graph *g, int index, const struct op *op, const char *fused);
/* Appends an input (NO_VALUE for one left out), sets one, or appends an output. */
int graph_read(struct graph *g, int node, int value);
void graph_set_input(struct graph *g, int node, int index, int value);
void graph_write(struct graph *g, int node, int value);
/* Nodes from `first` on, which were appended, move in front of the nodes before[0], before[1] and
 * so on, which ascend; then all is swept. -1 without memory. */
int graph_place(struct graph *g, int first, const int *before);
/* Marks a node dead and drops its reads. */
void graph_kill(struct graph *g, int node);

/* How many live nodes read the value, counting graph output as one use. */
int graph_uses(const struct graph *g, int value);
/* The only node that reads the value, or -1 when there are none or several or it is an output. */
int graph_single_user(const struct graph *g, int value);
/* Makes all readers (and graph outputs) of `from` read `to`. */
void graph_replace(struct graph *g, int from, int to);
/* Drops dead nodes and nodes whose outputs nobody reads; keeps order; fixes producers. */
void graph_sweep(struct graph *g);

/* Gives back the pages of a large constant when nobody reads its data any more: weights that were
 * rewritten or packed would otherwise count twice in what the process takes. Only for data in the
 * model's map or the graph's own memory. */
void graph_forget(const struct graph *g, int value);

/* Runs one node's reference kernel; data[v] is the memory of value v, constants excepted. */
int graph_run_node(const struct graph *g, const struct node *n, void *const *data, struct error *e);

/* multiply-adds of Conv, Gemm, MatMul and the internal Linear and Attention nodes. */
int64_t graph_macs(const struct graph *g);

#endif
