/* If, Loop, Scan and sequences, all resolved while the graph is built: a branch or a body whose
 * condition or number of turns is known at load is walked in place, as often as it runs. Exporters
 * write them where a shape decides, and shapes are known here. */
#include "engine/build.h"
#include "engine/ops/ops.h"

#include <inttypes.h>
#include <string.h>

/* Nodes that branches and loops may bring in: a small file must not become an endless graph. */
enum { UNROLLED_MAX = 50 * 1000 };

static const struct name *input_of(const struct build *b, const struct onnx_node *n, size_t i)
{
    return i < n->input_count && *n->inputs[i] ? build_find(b, n->inputs[i]) : NULL;
}

static int need(const struct build *b, const struct onnx_node *n, size_t i, int sequence,
                const struct name **out, struct error *e)
{
    *out = input_of(b, n, i);
    if (!*out)
        return error_set(e, ERROR_FORMAT, "input %zu is missing or made by no node before this one",
                         i);
    if (!(*out)->sequence != !sequence)
        return error_set(e, ERROR_FORMAT, "input '%.80s' is %sa sequence of tensors", (*out)->text,
                         sequence ? "not " : "");
    return 0;
}

/* The one number that a value holds, which must be known now. */
static int known_number(const struct build *b, const struct name *name, const char *what,
                        int64_t *out, struct error *e)
{
    const struct value *v = &b->g->values[name->value];
    if ((v->type != DTYPE_I64 && v->type != DTYPE_I32 && v->type != DTYPE_BOOL) ||
        shape_elements(&v->shape) != 1)
        return error_set(e, ERROR_FORMAT, "%s '%.80s' is not one whole number", what, name->text);
    if (!v->constant)
        return error_set(e, ERROR_UNSUPPORTED, "%s ('%.60s') is computed at run time; only one "
                         "known when the model is loaded is supported", what, name->text);
    load_int(v->type, v->constant, 0, 1, 1, out);
    return 0;
}

static const struct onnx_attribute *attribute(const struct onnx_node *n, const char *name, int type)
{
    const struct onnx_attribute *a = onnx_attribute_find(n, name);
    return a && a->type == type ? a : NULL;
}

static int64_t int_attribute(const struct onnx_node *n, const char *name, int64_t fallback)
{
    const struct onnx_attribute *a = attribute(n, name, ONNX_INT);
    return a ? a->i : fallback;
}

/* ---- nodes made here ---- */

int build_count(struct build *b, size_t more, struct error *e)
{
    if (more > UNROLLED_MAX || (b->unrolled += (int64_t)more) > UNROLLED_MAX)
        return error_set(e, ERROR_UNSUPPORTED, "more than %d nodes in branches, loops and calls",
                         UNROLLED_MAX);
    return 0;
}

int build_make_node(struct build *b, const char *op, const char *const *inputs, size_t count,
                    const char *output, const struct onnx_attribute *attributes,
                    size_t attribute_count, struct error *e)
{
    const char *outputs[] = {output};
    const struct onnx_node n = {.name = output, .op_type = op, .domain = "", .inputs = inputs,
                                .input_count = count, .outputs = outputs, .output_count = 1,
                                .attributes = attributes, .attribute_count = attribute_count};
    int code = build_count(b, 1, e);
    return code ? code : build_add_node(b, &n, 0, e);
}

/* A name for a value that has none in reach. */
static int alias(struct build *b, const char *base, int64_t i, int value, const char **out,
                 struct error *e)
{
    *out = arena_format(&b->g->arena, "%s/wattle.%" PRId64, base, i);
    return *out ? build_bind(b, *out, value, NULL, e) : error_memory(e);
}

int build_hand_out(struct build *b, const char *output, const struct binding *from, struct error *e)
{
    const char *name;
    if (!*output)
        return 0;
    if (from->sequence)
        return build_bind(b, output, NO_VALUE, from->sequence, e);
    int code = alias(b, output, 0, from->value, &name, e);
    return code ? code : build_make_node(b, "Identity", &name, 1, output, NULL, 0, e);
}

/* ---- graphs in graphs ---- */

static int walk_graph(struct build *b, const struct onnx_graph *g, struct error *e)
{
    int code = build_count(b, g->node_count + 1, e); /* 1: one without nodes takes turns too */
    for (size_t i = 0; i < g->initializer_count && !code; i++)
        code = build_add_constant(b, g->initializers[i].name, &g->initializers[i].tensor, e);
    for (size_t i = 0; i < g->node_count && !code; i++)
        code = build_add_node(b, &g->nodes[i], i, e);
    return code;
}

/* Walks the graph in a scope of its own with its inputs bound; fills out with its outputs. */
static int enter(struct build *b, const struct onnx_graph *g, const struct binding *in,
                 struct binding *out, struct error *e)
{
    struct scope own = {.parent = b->scope};
    int code = 0;
    b->scope = &own;
    for (size_t i = 0; i < g->input_count && !code; i++)
        code = build_bind(b, g->inputs[i].name, in[i].value, in[i].sequence, e);
    if (!code)
        code = walk_graph(b, g, e);
    for (size_t i = 0; i < g->output_count && !code; i++)
        code = build_result(b, g->outputs[i].name, &out[i], e);
    b->scope = own.parent;
    build_forget_names(&own.names);
    return code;
}

static int add_if(struct build *b, const struct onnx_node *n, struct error *e)
{
    const struct name *condition;
    int64_t yes = 0;
    int code = need(b, n, 0, 0, &condition, e);
    if (!code)
        code = known_number(b, condition, "the condition", &yes, e);
    if (code)
        return code;
    const struct onnx_attribute *a = attribute(n, yes ? "then_branch" : "else_branch", ONNX_GRAPH);
    if (!a || a->graph->input_count || a->graph->output_count != n->output_count)
        return error_set(e, ERROR_FORMAT, "the branch is missing or does not fit the outputs");
    struct binding *out = arena_array(&b->g->arena, n->output_count + 1, sizeof *out);
    code = out ? enter(b, a->graph, NULL, out, e) : error_memory(e);
    for (size_t i = 0; i < n->output_count && !code; i++)
        code = build_hand_out(b, n->outputs[i], &out[i], e);
    return code;
}

/* ---- Concat of any number of values ---- */

struct pieces {
    const char **names;
    int64_t count;
};

static int name_pieces(struct build *b, const char *base, const int *values, int64_t count,
                       struct pieces *p, struct error *e)
{
    int code = 0;
    p->count = count;
    p->names = arena_array(&b->g->arena, (size_t)count + 1, sizeof *p->names);
    if (!p->names)
        return error_memory(e);
    for (int64_t i = 0; i < count && !code; i++)
        code = alias(b, base, i + 1, values[i], &p->names[i], e);
    return code;
}

/* Each gets a new dimension in front of `axis`. */
static int unsqueeze_pieces(struct build *b, const char *base, struct pieces *p, int64_t axis,
                            struct error *e)
{
    int64_t *data = arena_alloc(&b->g->arena, sizeof *data);
    const char *axes = arena_format(&b->g->arena, "%s/axes", base);
    if (!data || !axes)
        return error_memory(e);
    *data = axis;
    const struct tensor t = {DTYPE_I64, {1, {1}}, data};
    const struct onnx_attribute old = {.name = "axes", .type = ONNX_INTS, .ints = data, .count = 1};
    int by_input = b->opset >= 13, code = build_add_constant(b, axes, &t, e);
    for (int64_t i = 0; i < p->count && !code; i++) {
        const char *in[] = {p->names[i], axes};
        p->names[i] = arena_format(&b->g->arena, "%s/u%" PRId64, base, i);
        code = !p->names[i] ? error_memory(e)
                            : build_make_node(b, "Unsqueeze", in, by_input ? 2 : 1, p->names[i],
                                              &old, by_input ? 0 : 1, e);
    }
    return code;
}

/* A node takes a limited number of inputs: groups first, then the groups' results. */
static int concat_pieces(struct build *b, const char *output, struct pieces *p, int64_t axis,
                         struct error *e)
{
    const struct onnx_attribute a = {.name = "axis", .type = ONNX_INT, .i = axis};
    int code = 0;
    for (int round = 0; p->count > NODE_INPUT_MAX && !code; round++) {
        int64_t groups = 0;
        for (int64_t i = 0; i < p->count && !code; i += NODE_INPUT_MAX, groups++) {
            int64_t left = p->count - i;
            const char *to = arena_format(&b->g->arena, "%s/c%d.%" PRId64, output, round, groups);
            code = !to ? error_memory(e)
                       : build_make_node(b, "Concat", p->names + i,
                                         (size_t)(left < NODE_INPUT_MAX ? left : NODE_INPUT_MAX),
                                         to, &a, 1, e);
            p->names[groups] = to;
        }
        p->count = groups;
    }
    return code ? code : build_make_node(b, "Concat", p->names, (size_t)p->count, output, &a, 1, e);
}

static int join(struct build *b, const char *output, const int *values, int64_t count,
                int64_t axis, int new_axis, struct error *e)
{
    struct pieces p;
    if (!*output)
        return 0;
    if (count < 1)
        return error_set(e, ERROR_UNSUPPORTED, "nothing to put together: a sequence of no tensors");
    int code = name_pieces(b, output, values, count, &p, e);
    if (!code && new_axis)
        code = unsqueeze_pieces(b, output, &p, axis, e);
    return code ? code : concat_pieces(b, output, &p, axis, e);
}

/* ---- Loop ---- */

struct loop {
    const struct onnx_node *node;
    const struct onnx_graph *body;
    size_t first;               /* of the body's outputs: the condition comes before it */
    size_t carried, scans;      /* values from turn to turn; values collected from every turn */
    int64_t limit, turns;
    struct binding *in, *out;   /* of the body */
    int *collected;             /* scans of the first turn, of the second... */
    int64_t capacity;
};

static int open_loop(struct build *b, const struct onnx_node *n, struct loop *l, struct error *e)
{
    const struct onnx_attribute *a = attribute(n, "body", ONNX_GRAPH);
    const struct name *limit = input_of(b, n, 0);
    int code = 0;
    *l = (struct loop){.node = n, .body = a ? a->graph : NULL, .first = 1, .limit = INT64_MAX};
    if (!l->body || l->body->input_count < 2 || n->input_count != l->body->input_count ||
        l->body->output_count < l->body->input_count - 1 ||
        l->body->output_count - 1 != n->output_count)
        return error_set(e, ERROR_FORMAT, "the body is missing or does not fit inputs and outputs");
    l->carried = l->body->input_count - 2;
    l->scans = n->output_count - l->carried;
    l->in = arena_array(&b->g->arena, l->body->input_count, sizeof *l->in);
    l->out = arena_array(&b->g->arena, l->body->output_count, sizeof *l->out);
    if (!l->in || !l->out)
        return error_memory(e);
    if (limit)
        code = known_number(b, limit, "the number of turns", &l->limit, e);
    for (size_t i = 0; i < l->carried && !code; i++) {
        const struct name *v = input_of(b, n, 2 + i);
        if (!v)
            return error_set(e, ERROR_FORMAT, "input %zu is missing", 2 + i);
        l->in[2 + i] = (struct binding){v->value, v->sequence};
    }
    return code;
}

/* Whether the loop takes one more turn; the condition becomes the body's second input. */
static int goes_on(struct build *b, struct loop *l, int *yes, struct error *e)
{
    static const uint8_t truth = 1;
    const struct name *first = input_of(b, l->node, 1);
    struct name now = {"", l->turns ? l->out[0].value : first ? first->value : NO_VALUE,
                       l->turns ? l->out[0].sequence : first ? first->sequence : NULL, NULL};
    int64_t value = 1;
    int code = 0;
    now.text = l->body->outputs[0].name;
    if (now.sequence)
        return error_set(e, ERROR_FORMAT, "the condition is a sequence");
    if (now.value != NO_VALUE)
        code = known_number(b, &now, "the condition", &value, e);
    else
        now.value = graph_add_constant(b->g, "true", DTYPE_BOOL, &(struct shape){0}, &truth);
    *yes = !code && value && l->turns < l->limit;
    l->in[1].value = now.value;
    return !code && now.value < 0 ? error_memory(e) : code;
}

static int collect(struct build *b, struct loop *l, struct error *e)
{
    int64_t per = (int64_t)l->scans, used = l->turns * per;
    int code = build_count(b, l->scans / COPIES_PER_NODE, e);
    if (code)
        return code;
    if (used + per > l->capacity) {
        int64_t capacity = 2 * (used + per) + 16;
        int *larger = arena_array(&b->g->arena, (size_t)capacity, sizeof *larger);
        if (!larger)
            return error_memory(e);
        if (used)
            memcpy(larger, l->collected, (size_t)used * sizeof *larger);
        l->collected = larger;
        l->capacity = capacity;
    }
    for (int64_t i = 0; i < per; i++) {
        const struct binding *v = &l->out[l->first + l->carried + (size_t)i];
        if (v->sequence)
            return error_set(e, ERROR_UNSUPPORTED, "a sequence is collected from every turn");
        l->collected[used + i] = v->value;
    }
    return 0;
}

static int take_turn(struct build *b, struct loop *l, struct error *e)
{
    int64_t *turn = arena_alloc(&b->g->arena, sizeof *turn);
    if (!turn)
        return error_memory(e);
    *turn = l->turns;
    l->in[0].value = graph_add_constant(b->g, "turn", DTYPE_I64, &(struct shape){0}, turn);
    if (l->in[0].value < 0)
        return error_memory(e);
    int code = enter(b, l->body, l->in, l->out, e);
    if (!code)
        code = collect(b, l, e);
    for (size_t i = 0; i < l->carried && !code; i++)
        l->in[2 + i] = l->out[1 + i];
    l->turns++;
    return code;
}

static int close_loop(struct build *b, const struct loop *l, struct error *e)
{
    int code = 0;
    int *values = arena_array(&b->g->arena, (size_t)l->turns + 1, sizeof *values);
    if (!values)
        return error_memory(e);
    for (size_t i = 0; i < l->carried && !code; i++)
        code = build_hand_out(b, l->node->outputs[i], &l->in[2 + i], e);
    for (size_t i = 0; i < l->scans && !code; i++) {
        for (int64_t k = 0; k < l->turns; k++)
            values[k] = l->collected[(size_t)k * l->scans + i];
        code = join(b, l->node->outputs[l->carried + i], values, l->turns, 0, 1, e);
    }
    return code;
}

static int add_loop(struct build *b, const struct onnx_node *n, struct error *e)
{
    struct loop l;
    int code = open_loop(b, n, &l, e), more = 0;
    if (!code)
        code = goes_on(b, &l, &more, e);
    while (!code && more) {
        code = take_turn(b, &l, e);
        if (!code)
            code = goes_on(b, &l, &more, e);
    }
    return code ? code : close_loop(b, &l, e);
}

/* ---- sequences ---- */

static struct sequence *new_sequence(struct build *b, size_t count, int **values)
{
    struct sequence *s = arena_alloc(&b->g->arena, sizeof *s);
    *values = arena_array(&b->g->arena, count + 1, sizeof **values);
    if (!s || !*values)
        return NULL;
    *s = (struct sequence){(int)count, *values};
    return s;
}

/* A copy with room for one more. Copies in a loop count, too. */
static int copy_sequence(struct build *b, const struct sequence *from, struct sequence **to,
                         int **values, struct error *e)
{
    int code = build_count(b, (size_t)from->count / COPIES_PER_NODE + 1, e);
    if (code)
        return code;
    *to = new_sequence(b, (size_t)from->count, values);
    if (!*to)
        return error_memory(e);
    if (from->count)
        memcpy(*values, from->values, (size_t)from->count * sizeof **values);
    return 0;
}

static int sequence_construct(struct build *b, const struct onnx_node *n, struct error *e)
{
    int *values, code = 0;
    struct sequence *s = new_sequence(b, n->input_count, &values);
    if (!s)
        return error_memory(e);
    for (size_t i = 0; i < n->input_count && !code; i++) {
        const struct name *v;
        code = need(b, n, i, 0, &v, e);
        values[i] = code ? 0 : v->value;
    }
    return code ? code : build_bind(b, n->outputs[0], NO_VALUE, s, e);
}

/* The place that input `index` names, counted from the end when negative; count when left out. */
static int place_of(struct build *b, const struct onnx_node *n, size_t index, int64_t count,
                    int64_t most, int64_t *out, struct error *e)
{
    const struct name *at = input_of(b, n, index);
    *out = most;
    int code = at && !at->sequence ? known_number(b, at, "the place", out, e) : 0;
    if (!code && *out < 0)
        *out += count;
    if (!code && (*out < 0 || *out > most))
        code = error_set(e, ERROR_FORMAT, "place %" PRId64 " of a sequence of %" PRId64, *out,
                         count);
    return code;
}

static int sequence_at(struct build *b, const struct onnx_node *n, struct error *e)
{
    const struct name *s;
    int64_t at;
    int code = need(b, n, 0, 1, &s, e);
    if (!code)
        code = place_of(b, n, 1, s->sequence->count, s->sequence->count - 1, &at, e);
    const struct binding one = {code ? NO_VALUE : s->sequence->values[at], NULL};
    return code ? code : build_hand_out(b, n->outputs[0], &one, e);
}

static int sequence_insert(struct build *b, const struct onnx_node *n, struct error *e)
{
    const struct name *s, *v = NULL;
    struct sequence *to;
    int64_t at;
    int *values, code = need(b, n, 0, 1, &s, e);
    if (!code)
        code = need(b, n, 1, 0, &v, e);
    if (!code)
        code = place_of(b, n, 2, s->sequence->count, s->sequence->count, &at, e);
    if (!code)
        code = copy_sequence(b, s->sequence, &to, &values, e);
    if (code)
        return code;
    memmove(values + at + 1, values + at, (size_t)(to->count - at) * sizeof *values);
    values[at] = v->value;
    to->count++;
    return build_bind(b, n->outputs[0], NO_VALUE, to, e);
}

static int sequence_erase(struct build *b, const struct onnx_node *n, struct error *e)
{
    const struct name *s;
    int64_t at;
    int *values, code = need(b, n, 0, 1, &s, e);
    if (!code)
        code = place_of(b, n, 1, s->sequence->count, s->sequence->count - 1, &at, e);
    struct sequence *to;
    if (!code)
        code = copy_sequence(b, s->sequence, &to, &values, e);
    if (code)
        return code;
    to->count--;
    memmove(values + at, values + at + 1, (size_t)(to->count - at) * sizeof *values);
    return build_bind(b, n->outputs[0], NO_VALUE, to, e);
}

static int sequence_length(struct build *b, const struct onnx_node *n, struct error *e)
{
    const struct name *s = NULL;
    int64_t *data = arena_alloc(&b->g->arena, sizeof *data);
    int code = data ? need(b, n, 0, 1, &s, e) : error_memory(e);
    if (code)
        return code;
    *data = s->sequence->count;
    int v = graph_add_constant(b->g, n->outputs[0], DTYPE_I64, &(struct shape){0}, data);
    const struct binding number = {v, NULL};
    return v < 0 ? error_memory(e) : build_hand_out(b, n->outputs[0], &number, e);
}

static int concat_from_sequence(struct build *b, const struct onnx_node *n, struct error *e)
{
    const struct name *s;
    int code = need(b, n, 0, 1, &s, e);
    if (!code && !attribute(n, "axis", ONNX_INT))
        code = error_set(e, ERROR_FORMAT, "attribute 'axis' is missing");
    return code ? code : join(b, n->outputs[0], s->sequence->values, s->sequence->count,
                              int_attribute(n, "axis", 0), int_attribute(n, "new_axis", 0) != 0, e);
}

/* A Slice and, to squeeze, a Squeeze, with names that begin with `base`. */
static int slice(struct build *b, const char *base, const char *input, const int64_t range[2],
                 int64_t axis, int squeeze, int *value, struct error *e)
{
    const char *in[4] = {input};
    int64_t *data = base ? arena_array(&b->g->arena, 3, sizeof *data) : NULL;
    if (!data)
        return error_memory(e);
    memcpy(data, (int64_t[]){range[0], range[1], axis}, 3 * sizeof *data);
    const struct onnx_attribute old[] = { /* as it was before opset 10, and Squeeze before 13 */
        {.name = "starts", .type = ONNX_INTS, .ints = &data[0], .count = 1},
        {.name = "ends", .type = ONNX_INTS, .ints = &data[1], .count = 1},
        {.name = "axes", .type = ONNX_INTS, .ints = &data[2], .count = 1}};
    int by_input = b->opset >= 10;
    int code = 0;
    for (int k = 0; k < 3 && !code; k++) {
        const struct tensor t = {DTYPE_I64, {1, {1}}, &data[k]};
        in[1 + k] = arena_format(&b->g->arena, "%s.%d", base, k);
        code = in[1 + k] ? build_add_constant(b, in[1 + k], &t, e) : error_memory(e);
    }
    if (!code)
        code = build_make_node(b, "Slice", in, by_input ? 4 : 1, base, old, by_input ? 0 : 3, e);
    if (!code && squeeze) {
        const char *both[] = {base, in[3]};
        by_input = b->opset >= 13;
        base = arena_format(&b->g->arena, "%s.q", base);
        code = base ? build_make_node(b, "Squeeze", both, by_input ? 2 : 1, base, &old[2],
                                      by_input ? 0 : 1, e)
                    : error_memory(e);
    }
    if (!code)
        *value = build_find(b, base)->value;
    return code;
}

/* How many pieces: a list says so itself, one size goes on to the end. */
static int count_pieces(struct build *b, const struct name *split, int64_t size, int64_t *each,
                        int64_t *count, struct error *e)
{
    const struct value *v = split && !split->sequence ? &b->g->values[split->value] : NULL;
    *each = 1;
    *count = size;
    if (!split)
        return 0;
    if (!v || (v->type != DTYPE_I64 && v->type != DTYPE_I32) || v->shape.rank > 1)
        return error_set(e, ERROR_FORMAT, "input 'split' is not a list of whole numbers");
    if (!v->constant)
        return error_set(e, ERROR_UNSUPPORTED, "input 'split' is computed at run time");
    *count = v->shape.dims[0];
    *each = 0;
    if (v->shape.rank == 1)
        return 0;
    load_int(v->type, v->constant, 0, 1, 1, each);
    if (*each < 1)
        return error_set(e, ERROR_FORMAT, "pieces of size %" PRId64, *each);
    *count = size / *each + (size % *each != 0);
    return 0;
}

static int split_pieces(struct build *b, const struct onnx_node *n, const struct name *split,
                        int64_t size, int64_t axis, int64_t each, int64_t count, int *values,
                        struct error *e)
{
    int squeeze = !split && !int_attribute(n, "keepdims", 1), code = 0;
    int64_t at = 0;
    for (int64_t i = 0; i < count && !code; i++) {
        int64_t piece = each < size - at ? each : size - at;
        if (!each) {
            const struct value *v = &b->g->values[split->value];
            load_int(v->type, v->constant, i, 1, 1, &piece);
        }
        if (piece < 0 || piece > size - at)
            return error_set(e, ERROR_FORMAT, "the pieces do not add up to the dimension");
        code = slice(b, arena_format(&b->g->arena, "%s/s%" PRId64, n->outputs[0], i), n->inputs[0],
                     (int64_t[]){at, at + piece}, axis, squeeze, &values[i], e);
        at += piece;
    }
    if (!code && at != size)
        code = error_set(e, ERROR_FORMAT, "the pieces do not add up to the dimension");
    return code;
}

static int split_to_sequence(struct build *b, const struct onnx_node *n, struct error *e)
{
    const struct name *x, *split = input_of(b, n, 1);
    int64_t axis = int_attribute(n, "axis", 0), each = 1, count = 0;
    int *values, code = need(b, n, 0, 0, &x, e);
    const struct shape shape = code ? (struct shape){0} : b->g->values[x->value].shape;
    if (!code && (axis < -shape.rank || axis >= shape.rank))
        code = error_set(e, ERROR_FORMAT, "attribute 'axis' is %" PRId64, axis);
    if (code)
        return code;
    axis += axis < 0 ? shape.rank : 0;
    code = count_pieces(b, split, shape.dims[axis], &each, &count, e);
    if (!code)
        code = build_count(b, (size_t)count, e);
    struct sequence *s = code ? NULL : new_sequence(b, (size_t)count, &values);
    if (!s)
        return code ? code : error_memory(e);
    code = split_pieces(b, n, split, shape.dims[axis], axis, each, count, values, e);
    return code ? code : build_bind(b, n->outputs[0], NO_VALUE, s, e);
}

/* The body once for each element of the first sequence; other sequences go in step. */
static int map_one(struct build *b, const struct onnx_node *n, const struct onnx_graph *body,
                   int64_t i, struct binding *in, struct binding *out, struct error *e)
{
    for (size_t k = 0; k < n->input_count; k++) {
        const struct name *v = input_of(b, n, k);
        if (!v || (v->sequence && i >= v->sequence->count))
            return error_set(e, ERROR_FORMAT, "input %zu is missing or too short", k);
        in[k] = (struct binding){v->sequence ? v->sequence->values[i] : v->value, NULL};
    }
    int code = enter(b, body, in, out, e);
    for (size_t k = 0; k < n->output_count && !code; k++)
        if (out[k].sequence)
            code = error_set(e, ERROR_UNSUPPORTED, "a sequence of sequences");
    return code;
}

static int sequence_map(struct build *b, const struct onnx_node *n, struct error *e)
{
    const struct onnx_attribute *a = attribute(n, "body", ONNX_GRAPH);
    const struct name *first;
    int code = need(b, n, 0, 1, &first, e), **values;
    if (!code && (!a || a->graph->input_count != n->input_count ||
                  a->graph->output_count != n->output_count))
        code = error_set(e, ERROR_FORMAT, "the body is missing or does not fit");
    if (code)
        return code;
    struct binding *in = arena_array(&b->g->arena, n->input_count + 1, sizeof *in);
    struct binding *out = arena_array(&b->g->arena, n->output_count + 1, sizeof *out);
    struct sequence **made = arena_array(&b->g->arena, n->output_count + 1, sizeof *made);
    values = arena_array(&b->g->arena, n->output_count + 1, sizeof *values);
    if (!in || !out || !made || !values)
        return error_memory(e);
    for (size_t k = 0; k < n->output_count; k++)
        if (!(made[k] = new_sequence(b, (size_t)first->sequence->count, &values[k])))
            return error_memory(e);
    for (int64_t i = 0; i < first->sequence->count && !code; i++) {
        code = map_one(b, n, a->graph, i, in, out, e);
        for (size_t k = 0; k < n->output_count && !code; k++)
            values[k][i] = out[k].value;
    }
    for (size_t k = 0; k < n->output_count && !code; k++)
        code = *n->outputs[k] ? build_bind(b, n->outputs[k], NO_VALUE, made[k], e) : 0;
    return code;
}

/* ---- Scan ---- */

struct scan {
    struct loop loop;                 /* without a condition */
    size_t taken;                     /* inputs that are taken apart: the last ones */
    const int64_t *axes, *directions; /* of those; NULL: all 0 */
    const int64_t *out_axes, *out_directions;
};

static int read_list(const struct onnx_node *n, const char *name, size_t count,
                     const int64_t **out, struct error *e)
{
    const struct onnx_attribute *a = onnx_attribute_find(n, name);
    *out = a ? a->ints : NULL;
    if (a && (a->type != ONNX_INTS || a->count != count))
        return error_set(e, ERROR_FORMAT, "attribute '%s' is not a list of %zu numbers", name,
                         count);
    return 0;
}

static int open_scan(const struct build *b, const struct onnx_node *n, struct scan *s,
                     struct error *e)
{
    const struct onnx_attribute *a = attribute(n, "body", ONNX_GRAPH);
    int64_t taken = int_attribute(n, "num_scan_inputs", 0);
    struct loop *l = &s->loop;
    *s = (struct scan){.loop = {.node = n, .body = a ? a->graph : NULL, .limit = -1}};
    if (b->opset < 9)
        return error_set(e, ERROR_UNSUPPORTED, "Scan of opset 8, which has a batch");
    if (!l->body || taken < 1 || (uint64_t)taken > n->input_count ||
        l->body->input_count != n->input_count || l->body->output_count != n->output_count ||
        n->input_count - (size_t)taken > n->output_count)
        return error_set(e, ERROR_FORMAT, "the body is missing or does not fit inputs and outputs");
    s->taken = (size_t)taken;
    l->carried = n->input_count - s->taken;
    l->scans = n->output_count - l->carried;
    int code = read_list(n, "scan_input_axes", s->taken, &s->axes, e);
    if (!code)
        code = read_list(n, "scan_input_directions", s->taken, &s->directions, e);
    if (!code)
        code = read_list(n, "scan_output_axes", l->scans, &s->out_axes, e);
    return code ? code : read_list(n, "scan_output_directions", l->scans, &s->out_directions, e);
}

/* The axis of input i that is taken apart, which is as long as all the others'. */
static int scan_axis(struct build *b, struct scan *s, size_t i, int64_t *axis, struct error *e)
{
    const struct name *v;
    int code = need(b, s->loop.node, s->loop.carried + i, 0, &v, e);
    if (code)
        return code;
    const struct shape *shape = &b->g->values[v->value].shape;
    *axis = s->axes ? s->axes[i] : 0;
    if (*axis < -shape->rank || *axis >= shape->rank)
        return error_set(e, ERROR_FORMAT, "axis %" PRId64 " of an input of rank %d", *axis,
                         shape->rank);
    *axis += *axis < 0 ? shape->rank : 0;
    if (s->loop.limit >= 0 && shape->dims[*axis] != s->loop.limit)
        return error_set(e, ERROR_FORMAT, "inputs of lengths %" PRId64 " and %" PRId64,
                         s->loop.limit, shape->dims[*axis]);
    s->loop.limit = shape->dims[*axis];
    return 0;
}

static int begin_scan(struct build *b, struct scan *s, struct error *e)
{
    struct loop *l = &s->loop;
    int64_t axis;
    int code = 0;
    l->in = arena_array(&b->g->arena, l->node->input_count, sizeof *l->in);
    l->out = arena_array(&b->g->arena, l->node->output_count, sizeof *l->out);
    if (!l->in || !l->out)
        return error_memory(e);
    for (size_t i = 0; i < l->carried && !code; i++) {
        const struct name *v;
        code = need(b, l->node, i, 0, &v, e);
        l->in[i].value = code ? NO_VALUE : v->value;
    }
    for (size_t i = 0; i < s->taken && !code; i++)
        code = scan_axis(b, s, i, &axis, e);
    return code;
}

static int scan_turn(struct build *b, struct scan *s, struct error *e)
{
    struct loop *l = &s->loop;
    int code = build_count(b, l->node->input_count / COPIES_PER_NODE, e);
    for (size_t i = 0; i < s->taken && !code; i++) {
        int64_t axis = 0, at = l->turns;
        size_t input = l->carried + i;
        if (s->directions && s->directions[i])
            at = l->limit - 1 - l->turns;
        code = scan_axis(b, s, i, &axis, e);
        if (!code)
            code = slice(b, arena_format(&b->g->arena, "wattle.scan.%" PRId64, b->fresh++),
                         l->node->inputs[input], (int64_t[]){at, at + 1}, axis, 1,
                         &l->in[input].value, e);
    }
    if (!code)
        code = enter(b, l->body, l->in, l->out, e);
    if (!code)
        code = collect(b, l, e);
    if (!code && l->carried)
        memcpy(l->in, l->out, l->carried * sizeof *l->in);
    l->turns++;
    return code;
}

static int end_scan(struct build *b, const struct scan *s, struct error *e)
{
    const struct loop *l = &s->loop;
    int code = 0;
    int *values = arena_array(&b->g->arena, (size_t)l->turns + 1, sizeof *values);
    if (!values)
        return error_memory(e);
    for (size_t i = 0; i < l->carried && !code; i++)
        code = build_hand_out(b, l->node->outputs[i], &l->in[i], e);
    for (size_t i = 0; i < l->scans && !code; i++) {
        int back = s->out_directions && s->out_directions[i];
        for (int64_t k = 0; k < l->turns; k++)
            values[back ? l->turns - 1 - k : k] = l->collected[(size_t)k * l->scans + i];
        code = join(b, l->node->outputs[l->carried + i], values, l->turns,
                    s->out_axes ? s->out_axes[i] : 0, 1, e);
    }
    return code;
}

static int add_scan(struct build *b, const struct onnx_node *n, struct error *e)
{
    struct scan s;
    int code = open_scan(b, n, &s, e);
    if (!code)
        code = begin_scan(b, &s, e);
    while (!code && s.loop.turns < s.loop.limit)
        code = scan_turn(b, &s, e);
    return code ? code : end_scan(b, &s, e);
}

static const struct {
    const char *name;
    size_t inputs_min, inputs_max; /* outputs: 1, but for those with graphs */
    int (*add)(struct build *b, const struct onnx_node *n, struct error *e);
} operators[] = {
    {"If", 1, 1, add_if},
    {"Loop", 2, SIZE_MAX, add_loop},
    {"Scan", 1, SIZE_MAX, add_scan},
    {"SequenceMap", 1, SIZE_MAX, sequence_map},
    {"SequenceConstruct", 1, SIZE_MAX, sequence_construct},
    {"SequenceEmpty", 0, 0, sequence_construct},
    {"SequenceAt", 2, 2, sequence_at},
    {"SequenceInsert", 2, 3, sequence_insert},
    {"SequenceErase", 1, 2, sequence_erase},
    {"SequenceLength", 1, 1, sequence_length},
    {"ConcatFromSequence", 1, 1, concat_from_sequence},
    {"SplitToSequence", 1, 2, split_to_sequence},
};
enum { OPERATORS = sizeof operators / sizeof *operators };

static size_t find(const struct onnx_node *n)
{
    size_t i = 0;
    while (!*n->domain && i < OPERATORS && strcmp(operators[i].name, n->op_type) != 0)
        i++;
    return *n->domain ? OPERATORS : i;
}

int control_is(const struct onnx_node *source)
{
    return find(source) < OPERATORS;
}

int control_add(struct build *b, const struct onnx_node *source, struct error *e)
{
    size_t i = find(source);
    int single = i > 3;
    if (source->input_count < operators[i].inputs_min ||
        source->input_count > operators[i].inputs_max)
        return error_set(e, ERROR_FORMAT, "%zu inputs", source->input_count);
    if (single && (source->output_count != 1 || !*source->outputs[0]))
        return error_set(e, ERROR_FORMAT, "%zu outputs where 1 is expected", source->output_count);
    return operators[i].add(b, source, e);
}
