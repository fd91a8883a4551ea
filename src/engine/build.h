/* build.h: what build.c and control.c share. Private to src/engine.
 *
 * Names are looked up in the scope of the graph being walked and then in those around it. A name
 * stands for a value or, until the graph is built, for a sequence of values: sequences, branches
 * and loops exist only while the graph is built, and nothing of them is left in it.
 */
#ifndef WATTLE_ENGINE_BUILD_H
#define WATTLE_ENGINE_BUILD_H

#include "engine/graph.h"
#include "engine/op.h"

struct sequence {
    int count;
    const int *values;
};

struct name {
    const char *text;
    int value;
    const struct sequence *sequence; /* NULL for a value */
};

/* The trees (search.h) are balanced: names chosen to collide cost nothing extra. */
struct scope {
    void *names; /* struct name */
    struct scope *parent;
};

struct build {
    struct graph *g;
    const struct onnx_model *model;
    struct scope *scope;
    void *outputs; /* struct name: the graph's outputs */
    const struct graph_dim *dims;
    size_t dim_count;
    char *dim_used;
    const struct graph_feed *feeds;
    size_t feed_count;
    int64_t budget;
    int64_t unrolled; /* nodes that branches and loops brought in */
};

void build_forget_names(void **tree);
/* NULL when neither this scope nor one around it has the name. */
struct name *build_find(const struct build *b, const char *text);
/* ERROR_FORMAT when the scope has the name already. */
int build_bind(struct build *b, const char *text, int value, const struct sequence *sequence,
               struct error *e);
int build_add_constant(struct build *b, const char *name, const struct tensor *t, struct error *e);
/* Walks one node: infers, folds, and appends it if anything is left to do at run time. */
int build_add_node(struct build *b, const struct onnx_node *source, size_t index, struct error *e);

/* control.c: If, Loop and the operators on sequences. */
int control_is(const struct onnx_node *source);
int control_add(struct build *b, const struct onnx_node *source, struct error *e);

#endif
