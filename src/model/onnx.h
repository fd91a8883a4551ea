/* onnx.h: an ONNX file as read-only structure.
 *
 * The file is mapped; structure (nodes, attributes, value infos) is unpacked by protobuf-c from a
 * schema of our own (onnx.proto in this folder), initializers are left where they lie in the map
 * and only pointed at. External data is mapped from files inside the model's own folder only.
 * Everything below is owned by the onnx_model and lives until onnx_close. Nothing here trusts the
 * file: counts, offsets and sizes are checked, and nothing is allocated in proportion to a number
 * the file merely claims.
 */
#ifndef WATTLE_MODEL_ONNX_H
#define WATTLE_MODEL_ONNX_H

#include "base/error.h"
#include "model/tensor.h"

#include <stddef.h>
#include <stdint.h>

struct onnx_dim {
    int64_t value;      /* >= 0 when fixed, -1 when symbolic or unknown */
    const char *symbol; /* "N"; "" when unnamed; NULL when fixed */
};

/* A graph input, output or value_info. */
struct onnx_value {
    const char *name;
    enum dtype type; /* DTYPE_NONE when the file does not say */
    int rank;        /* -1 when the file does not say */
    struct onnx_dim dims[RANK_MAX];
};

enum onnx_attribute_type { /* numbers of AttributeProto.AttributeType */
    ONNX_FLOAT = 1, ONNX_INT = 2, ONNX_STRING = 3, ONNX_TENSOR = 4, ONNX_GRAPH = 5,
    ONNX_FLOATS = 6, ONNX_INTS = 7, ONNX_STRINGS = 8, /* others are kept with their number */
};

struct onnx_graph;

struct onnx_attribute {
    const char *name;
    int type; /* enum onnx_attribute_type, or another number: present, not readable */
    float f;
    int64_t i;
    const char *s; /* NUL-terminated copy; s_size may be longer if it holds NULs */
    size_t s_size;
    const float *floats;
    const int64_t *ints;
    const char *const *strings;
    size_t count; /* of floats, ints or strings */
    struct tensor tensor;
    const struct onnx_graph *graph;
    const char *ref; /* in a function: the function's attribute that it stands for; else NULL */
};

struct onnx_node {
    const char *name;    /* "" when the file gives none */
    const char *op_type; /* "Conv" */
    const char *domain;  /* "" is the default domain ("ai.onnx" is read as "") */
    const char *overload; /* of a function of the file; "" or NULL: none */
    const char *const *inputs; /* "" marks an optional input left out */
    size_t input_count;
    const char *const *outputs;
    size_t output_count;
    const struct onnx_attribute *attributes;
    size_t attribute_count;
};

struct onnx_initializer {
    const char *name;
    struct tensor tensor; /* data aligned to dtype_size; points into a map where the file allows */
};

/* The body of an If or Loop. Names are not checked against each other here. */
struct onnx_graph {
    const struct onnx_value *inputs;
    size_t input_count;
    const struct onnx_value *outputs;
    size_t output_count;
    const struct onnx_node *nodes;
    size_t node_count;
    const struct onnx_initializer *initializers;
    size_t initializer_count;
};

/* An operator that the file itself defines. Its nodes see no names but its own. */
struct onnx_function {
    const char *domain, *name, *overload;
    int64_t opset; /* version of the default domain in its body; 0 when the file does not say */
    const char *const *inputs;
    size_t input_count;
    const char *const *outputs;
    size_t output_count;
    const struct onnx_attribute *defaults; /* attributes of a call that may be left out */
    size_t default_count;
    const struct onnx_node *nodes;
    size_t node_count;
};

struct onnx_metadata {
    const char *key, *value;
};

struct onnx_model {
    const char *path;
    int64_t ir_version;
    int64_t opset; /* version of the default domain */
    const char *producer;
    uint64_t file_bytes; /* with external data files */
    const void *map; /* the file in memory: pages that are given back come back when touched */
    size_t map_bytes;
    const struct onnx_value *inputs; /* those without an initializer: what a caller must feed */
    size_t input_count;
    const struct onnx_value *outputs;
    size_t output_count;
    const struct onnx_value *values; /* value_info */
    size_t value_count;
    const struct onnx_node *nodes; /* in file order; the spec demands topological order */
    size_t node_count;
    const struct onnx_initializer *initializers;
    size_t initializer_count;
    const struct onnx_metadata *metadata; /* metadata_props */
    size_t metadata_count;
    const struct onnx_function *functions; /* sorted by domain, name and overload */
    size_t function_count;
};

/* Errors name file, then node or initializer, then the reason: ERROR_IO when it cannot be read,
 * ERROR_FORMAT when it is truncated or inconsistent, ERROR_UNSUPPORTED for IR > 13, opset outside
 * 7..23, sparse initializers, or a rank over RANK_MAX. */
int onnx_open(const char *path, struct onnx_model **out, struct error *e);
void onnx_close(struct onnx_model *m); /* NULL is fine */

/* NULL when absent. */
const char *onnx_metadata_find(const struct onnx_model *m, const char *key);
const struct onnx_initializer *onnx_initializer_find(const struct onnx_model *m, const char *name);
const struct onnx_attribute *onnx_attribute_find(const struct onnx_node *n, const char *name);
const struct onnx_function *onnx_function_find(const struct onnx_model *m, const char *domain,
                                               const char *name, const char *overload);
/* Whether numbers of few bits are computed with, by the names of the operators (of any domain). */
int onnx_is_quantised(const struct onnx_model *m);

#endif
