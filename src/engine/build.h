/* build.h: what the files that make a graph share (build.c, control.c, call.c, masked.c). Private to
 * src/engine.
 *
 * Names are looked up in the scope of the graph being walked and then in those around it. A name
 * stands for a value or, until the graph is built, for a sequence of values or for a node that was
 * put off: sequences, branches, loops and calls exist only while the graph is built, and nothing of
 * them is left in it.
 */
#ifndef WATTLE_ENGINE_BUILD_H
#define WATTLE_ENGINE_BUILD_H

#include "engine/graph.h"
#include "engine/op.h"

struct sequence {
    int count;
    const int *values;
};

struct deferred; /* masked.c: a node whose output's shape depends on data */

struct name {
    const char *text;
    int value; /* NO_VALUE, and nothing else: an input that a call left out */
    const struct sequence *sequence; /* NULL for a value */
    struct deferred *deferred;       /* NULL for a value */
};

/* The trees (search.h) are balanced: names chosen to collide cost nothing extra. */
struct scope {
    void *names; /* struct name */
    struct scope *parent;
};

/* A function being walked, and the node whose attributes its body refers to. */
struct call {
    const struct onnx_function *function;
    const struct onnx_node *node;
    const struct call *parent;
    int depth;
};

struct build {
    struct graph *g;
    const struct onnx_model *model;
    int64_t opset; /* of the default domain, where the walk is */
    struct scope *scope, *top; /* where the walk is; the graph's own */
    const struct call *call; /* NULL outside of functions */
    void *outputs; /* struct name: the graph's outputs */
    const struct graph_dim *dims;
    size_t dim_count;
    char *dim_used;
    const struct graph_feed *feeds;
    size_t feed_count;
    int64_t budget;
    int64_t unrolled; /* nodes that branches, loops and calls brought in */
    int64_t fresh;    /* names made up */
};

/* What a name stands for, on its way into or out of another scope. */
struct binding {
    int value;
    const struct sequence *sequence;
};

/* One count of build_count pays for that many pointers copied. */
enum { COPIES_PER_NODE = 64 };

void build_forget_names(void **tree);
/* NULL when neither this scope nor one around it has the name. */
struct name *build_find(const struct build *b, const char *text);
/* ERROR_FORMAT when the scope has the name already. */
int build_bind(struct build *b, const char *text, int value, const struct sequence *sequence,
               struct error *e);
int build_bind_name(struct build *b, const struct name *name, struct error *e);
/* What the output of that name of a graph or function is: a value or a sequence, or an error. */
int build_result(const struct build *b, const char *text, struct binding *out, struct error *e);
int build_add_constant(struct build *b, const char *name, const struct tensor *t, struct error *e);
/* Walks one node: infers, folds, and appends it if anything is left to do at run time. */
int build_add_node(struct build *b, const struct onnx_node *source, size_t index, struct error *e);
/* Whether the engine has the operator itself; of the default domain only. */
int build_knows(const struct build *b, const struct onnx_node *source);

/* control.c: If, Loop, Scan and the operators on sequences. */
int control_is(const struct onnx_node *source);
int control_add(struct build *b, const struct onnx_node *source, struct error *e);
/* Bounds what branches, loops and calls bring in: a small file must not become an endless graph. */
int build_count(struct build *b, size_t more, struct error *e);
/* Adds a node that is not in the file. */
int build_make_node(struct build *b, const char *op, const char *const *inputs, size_t count,
                    const char *output, const struct onnx_attribute *attributes,
                    size_t attribute_count, struct error *e);
/* `output` becomes a name of the value or sequence; "" is fine. */
int build_hand_out(struct build *b, const char *output, const struct binding *from,
                   struct error *e);

/* call.c: functions of the file. */
/* *out is the node with what it takes from the call put in: attributes, and inputs left out. */
int call_resolve(struct build *b, const struct onnx_node *source, const struct onnx_node **out,
                 struct error *e);
/* NULL when the node is no call. */
const struct onnx_function *call_function(const struct build *b, const struct onnx_node *source);
int call_add(struct build *b, const struct onnx_function *f, const struct onnx_node *source,
             struct error *e);

/* masked.c: assignments through a mask. */
int masked_is(const struct build *b, const struct onnx_node *source);
int masked_add(struct build *b, const struct onnx_node *source, const char *name, struct error *e);
/* ERROR_UNSUPPORTED: what was put off is used by something that cannot be put off. */
int masked_refuse(const struct deferred *d, struct error *e);

#endif
