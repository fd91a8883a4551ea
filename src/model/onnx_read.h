/* onnx_read.h: what the files that together make the reader share. Private to this folder.
 *
 * onnx.c walks the model and the graph, onnx_unpack.c turns small messages into structs through
 * protobuf-c, onnx_graph.c and onnx_function.c read what holds nodes of its own, onnx_tensor.c
 * decodes tensors, onnx_external.c finds data in other files. Inner
 * functions give the reason of an error; whoever knows the name of the thing puts it in front.
 */
#ifndef WATTLE_MODEL_ONNX_READ_H
#define WATTLE_MODEL_ONNX_READ_H

#include "base/arena.h"
#include "base/error.h"
#include "base/file.h"
#include "model/onnx.h"
#include "model/wire.h"

enum {
    ONNX_IR_MIN = 3, /* the first with opset imports */
    ONNX_IR_MAX = 13,
    ONNX_OPSET_MIN = 7,
    ONNX_OPSET_MAX = 23,
    ONNX_EXTERNAL_FILES_MAX = 4096,
    ONNX_ATTRIBUTES_MAX = 100, /* of one node; the most in any operator is about 20 */
    ONNX_DEPTH_MAX = 8,        /* graphs within graphs */
};

/* Field numbers of GraphProto. */
enum {
    GRAPH_NODE = 1, GRAPH_INITIALIZER = 5, GRAPH_INPUT = 11, GRAPH_OUTPUT = 12, GRAPH_VALUE = 13,
    GRAPH_SPARSE_INITIALIZER = 15,
};

struct onnx_external_file {
    const char *path; /* resolved */
    struct file_map map;
};

struct onnx_file {
    struct onnx_model model; /* first, so that one pointer is both */
    struct arena arena;      /* its maximum grows with the bytes really there */
    struct file_map map;
    struct onnx_external_file *externals;
    size_t external_count, external_capacity;
    const char *folder; /* resolved; NULL until external data is asked for */
    const struct onnx_initializer **by_name; /* sorted */
    int depth; /* of the graph being read */
};

/* A name out of a file made fit for one line of text: cut, control characters replaced. */
struct onnx_quote {
    char text[84];
};
const char *onnx_quote(struct onnx_quote *q, const char *name);

/* "truncated or not protobuf", for whoever walks. */
int onnx_malformed(struct error *e);

/* onnx.c: how many of each a graph's message has; up to the first sparse initializer, which nobody
 * reads. */
struct onnx_counts {
    size_t nodes, initializers, inputs, outputs, values;
    int sparse;
};
int onnx_count_graph(const uint8_t *bytes, size_t size, struct onnx_counts *n, struct error *e);

/* onnx_unpack.c: each fills *out with copies in the arena. */
int onnx_unpack_node(struct onnx_file *f, const struct wire_field *field, struct onnx_node *out,
                     struct error *e);
int onnx_unpack_value(struct onnx_file *f, const struct wire_field *field, struct onnx_value *out,
                      struct error *e);
int onnx_unpack_opset(const struct wire_field *field, int *is_default, int64_t *version,
                      struct error *e);
int onnx_unpack_attribute(struct onnx_file *f, const struct wire_field *field,
                          struct onnx_attribute *out, struct error *e);
int onnx_unpack_metadata(struct onnx_file *f, const struct wire_field *field,
                         struct onnx_metadata *out, struct error *e);

/* onnx_graph.c: a graph that is an attribute. */
int onnx_read_graph(struct onnx_file *f, const uint8_t *bytes, size_t size,
                    const struct onnx_graph **out, struct error *e);

/* onnx_function.c: one function of the model. */
int onnx_read_function(struct onnx_file *f, const struct wire_field *field,
                       struct onnx_function *out, struct error *e);

/* onnx_tensor.c: decodes a TensorProto. With in_place, data may point into bytes. *name, where
 * wanted, becomes "" if there is none, and is set even on failure. */
int onnx_read_tensor(struct onnx_file *f, const uint8_t *bytes, size_t size, int in_place,
                     const char **name, struct tensor *out, struct error *e);
/* Points t->data at bytes, or at an aligned copy. */
int onnx_place_data(struct onnx_file *f, const uint8_t *bytes, int in_place, struct tensor *t,
                    struct error *e);

/* onnx_external.c */
struct onnx_external {
    const char *location; /* NULL when the file gives none */
    int64_t offset;
    int64_t length; /* -1 when the file does not say */
};
int onnx_external_entry(struct onnx_file *f, const struct wire_field *field,
                        struct onnx_external *x, struct error *e);
int onnx_external_data(struct onnx_file *f, const struct onnx_external *x, struct tensor *t,
                       struct error *e);
void onnx_external_close(struct onnx_file *f);

#endif
