/* The Attention operator on queries, keys and values that come apart: two batched matrix products,
 * and between them a softmax that scales and hides keys. Several heads of queries that share one of
 * keys are rows of one matrix. */
#include "engine/kernel.h"
#include "engine/op.h"
#include "engine/rows.h"

#include <math.h>
#include <string.h>

enum { IN_Q, IN_K, IN_V, IN_MASK, IN_PAST };
enum { SLOT_SCORES, SLOT_MASK };
enum { PARALLEL_MIN = 32 * 1024 };

struct heads {
    int64_t batch, heads, shared, queries, keys, depth, width; /* shared: heads of queries to one of
                                                                  keys; width: of a value */
    int64_t mask_strides[4]; /* 0 where it broadcasts */
    int mask_is_bool, causal;
    float scale;
};

static int fit_mask(const struct shape *mask, struct heads *a, struct error *e)
{
    const int64_t full[4] = {a->batch, a->heads, a->queries, a->keys};
    int64_t stride = 1;
    for (int i = 3; i >= 0; i--) {
        int from = i - (4 - mask->rank);
        int64_t dim = from < 0 ? 1 : mask->dims[from];
        if ((dim != 1 || i == 3) && dim != full[i])
            return error_set(e, ERROR_UNSUPPORTED, "the mask does not cover rows");
        a->mask_strides[i] = dim == 1 ? 0 : stride;
        stride *= dim;
    }
    return 0;
}

static int describe(const struct builder *b, const struct node *n, struct heads *a,
                    struct error *e)
{
    const struct value *v = b->graph->values;
    const struct shape *q = &v[n->inputs[IN_Q]].shape, *k = &v[n->inputs[IN_K]].shape;
    const struct shape *x = &v[n->inputs[IN_V]].shape;
    int masked = n->input_count > IN_MASK && n->inputs[IN_MASK] != NO_VALUE;
    for (int i = IN_PAST; i < n->input_count; i++)
        if (n->inputs[i] != NO_VALUE)
            return error_set(e, ERROR_UNSUPPORTED, "earlier keys and values");
    for (int i = 1; i < n->output_count; i++)
        if (n->outputs[i] != NO_VALUE)
            return error_set(e, ERROR_UNSUPPORTED, "keys and values are handed out");
    if (q->rank != 4 || k->rank != 4 || x->rank != 4 || n->a.alpha != 0 || !(n->a.scale > 0))
        return error_set(e, ERROR_UNSUPPORTED, "not heads of rank 4, or an unusual scale");
    *a = (struct heads){.batch = q->dims[0], .heads = q->dims[1],
                        .shared = q->dims[1] / k->dims[1], .queries = q->dims[2],
                        .keys = k->dims[2], .depth = q->dims[3], .width = x->dims[3],
                        .causal = n->a.mode, .scale = n->a.scale};
    if (!masked)
        return 0;
    a->mask_is_bool = v[n->inputs[IN_MASK]].type == DTYPE_BOOL;
    return fit_mask(&v[n->inputs[IN_MASK]].shape, a, e);
}

/* A query that sees no key gets zeros. */
static void soften(const struct heads *a, float *row, const float *mask, int64_t keys)
{
    if (keys > 0)
        row_softmax(row, a->scale, mask, row, keys);
    if (keys > 0 && isnan(row[0])) {
        int hidden = 1;
        for (int64_t j = 0; j < keys && hidden && mask; j++)
            hidden = mask[j] == -INFINITY;
        if (hidden && mask)
            keys = 0;
    }
    memset(row + keys, 0, (size_t)(a->keys - keys) * sizeof *row);
}

/* Keys that are hidden get no weight: the softmax is over a row with them at -inf. */
static void soften_seen(const struct heads *a, float *row, const uint8_t *seen, int64_t keys)
{
    int any = 0;
    for (int64_t j = 0; j < keys; j++) {
        any |= seen[j];
        row[j] = seen[j] ? row[j] : -INFINITY;
    }
    if (any)
        row_softmax(row, a->scale, NULL, row, keys);
    for (int64_t j = 0; j < a->keys; j++)
        if (j >= keys || !seen[j])
            row[j] = 0;
}

static int run_softmax(struct step *s, struct error *e)
{
    (void)e;
    const struct heads *a = s->state;
    float *scores = s->data[SLOT_SCORES];
    const char *mask = s->data[SLOT_MASK];
    int64_t rows = a->batch * a->heads * a->queries;
#pragma omp parallel for schedule(static) if (rows * a->keys >= PARALLEL_MIN)
    for (int64_t row = 0; row < rows; row++) {
        int64_t query = row % a->queries, head = row / a->queries % a->heads;
        int64_t image = row / a->queries / a->heads;
        int64_t keys = a->causal && query + 1 < a->keys ? query + 1 : a->keys;
        int64_t at = image * a->mask_strides[0] + head * a->mask_strides[1] +
                     query * a->mask_strides[2];
        float *x = scores + row * a->keys;
        if (mask && a->mask_is_bool)
            soften_seen(a, x, (const uint8_t *)mask + at, keys);
        else
            soften(a, x, mask ? (const float *)mask + at : NULL, keys);
    }
    return 0;
}

/* ---- how queries, keys, values and the result lie ---- */

struct lying {
    const struct layout *q, *k, *v, *y; /* as the products see them; k turned */
    int own[3];                         /* q, k, v are read as they lie, else row-major */
    const struct layout *out;           /* as others see the result; NULL: row-major */
};

/* batch x heads of keys x rows x columns, row-major. */
static const struct layout *plain(struct builder *b, const struct heads *a, int64_t rows,
                                  int64_t columns)
{
    return layout_plain(b->onednn, &(struct shape){4, {a->batch, a->heads / a->shared, rows,
                                                       columns}});
}

static const struct layout *turned(struct builder *b, const struct heads *a,
                                   const int64_t strides[RANK_MAX])
{
    const struct shape s = {4, {a->batch, a->heads / a->shared, a->depth, a->keys}};
    return layout_strided(b->onednn, &s,
                          (int64_t[]){strides[0], strides[1], strides[3], strides[2]});
}

static void lie_plain(struct builder *b, const struct heads *a, struct lying *l)
{
    int64_t rows = a->queries * a->shared, head = a->keys * a->depth;
    *l = (struct lying){.q = plain(b, a, rows, a->depth), .v = plain(b, a, a->keys, a->width),
                        .y = plain(b, a, rows, a->width)};
    l->k = turned(b, a, (int64_t[RANK_MAX]){a->heads / a->shared * head, head, a->depth, 1});
}

/* Whether a product can step through the value as it lies: its rows or columns are whole. */
static int lies_well(struct builder *b, int value, int64_t strides[RANK_MAX])
{
    const struct layout *l = builder_layout(b, value);
    return l && !layout_strides(l, strides) && (strides[2] == 1 || strides[3] == 1);
}

/* The Transpose that puts the heads side by side again is the only reader. */
static int is_merged(const struct builder *b, int value)
{
    static const int64_t back[4] = {0, 2, 1, 3};
    int user = graph_single_user(b->graph, value);
    const struct node *n = user < 0 ? NULL : &b->graph->nodes[user];
    return n && strcmp(n->op->name, "Transpose") == 0 && !memcmp(n->a.axes, back, sizeof back);
}

/* Heads that share keys are rows of one matrix only where they lie row by row. */
static void lie_as_they_do(struct builder *b, const struct node *n, const struct heads *a,
                           struct lying *l)
{
    int64_t strides[RANK_MAX];
    lie_plain(b, a, l);
    if (a->shared == 1 && lies_well(b, n->inputs[IN_Q], strides)) {
        l->q = builder_layout(b, n->inputs[IN_Q]);
        l->own[IN_Q] = 1;
    }
    if (lies_well(b, n->inputs[IN_K], strides)) {
        l->k = turned(b, a, strides);
        l->own[IN_K] = 1;
    }
    if (lies_well(b, n->inputs[IN_V], strides)) {
        l->v = builder_layout(b, n->inputs[IN_V]);
        l->own[IN_V] = 1;
    }
    if (a->shared == 1 && is_merged(b, n->outputs[0])) {
        const struct shape y = {4, {a->batch, a->heads, a->queries, a->width}};
        int64_t row = a->heads * a->width;
        l->out = l->y = layout_strided(b->onednn, &y,
                                       (int64_t[]){a->queries * row, a->width, row, 1});
    }
}

static int make_products(struct builder *b, const struct heads *a, const struct lying *l,
                         struct primitive **scores, struct primitive **mix, struct error *e)
{
    const struct layout *matrix = plain(b, a, a->queries * a->shared, a->keys);
    *scores = *mix = NULL;
    int code = primitive_matmul(b->onednn, l->q, l->k, 0, matrix, NULL, scores, e);
    if (!code)
        code = primitive_matmul(b->onednn, matrix, l->v, 0, l->y, NULL, mix, e);
    return code;
}

/* As things lie, unless only general-purpose kernels do that. */
static int choose_products(struct builder *b, const struct node *n, const struct heads *a,
                           struct lying *l, struct primitive **scores, struct primitive **mix,
                           struct error *e)
{
    lie_as_they_do(b, n, a, l);
    int code = make_products(b, a, l, scores, mix, e);
    if (!code && !primitive_is_slow(*scores) && !primitive_is_slow(*mix))
        return 0;
    primitive_free(*scores);
    primitive_free(*mix);
    lie_plain(b, a, l);
    return make_products(b, a, l, scores, mix, e);
}

static int add_softmax(struct builder *b, const struct heads *a, int scores, int mask,
                       struct error *e)
{
    struct step *s;
    int code = builder_step_with(b, run_softmax, "rows:softmax", a, sizeof *a, &s, e);
    if (code)
        return code;
    s->slots[SLOT_SCORES] = scores;
    s->slots[SLOT_MASK] = mask;
    return 0;
}

static int take_slots(struct builder *b, const struct node *n, const struct lying *l,
                      const struct primitive *scores, int slots[6], struct error *e)
{
    int code = 0;
    for (int i = 0; i < n->input_count && i <= IN_MASK && !code; i++) {
        if (n->inputs[i] == NO_VALUE)
            continue;
        code = i < IN_MASK && l->own[i]
                   ? builder_read(b, n->inputs[i], builder_layout(b, n->inputs[i]), &slots[i], e)
                   : builder_read_plain(b, n->inputs[i], &slots[i], e);
    }
    if (!code)
        code = builder_scratch(b, layout_bytes(primitive_layout(scores, OPERAND_DST)), &slots[4],
                               e);
    return code ? code : builder_write(b, n->outputs[0], l->out, &slots[5], e);
}

int kernel_heads(struct builder *b, const struct node *n, struct error *e)
{
    struct heads a;
    struct lying lying;
    struct primitive *scores = NULL, *mix = NULL;
    int slots[6] = {NO_SLOT, NO_SLOT, NO_SLOT, NO_SLOT, NO_SLOT, NO_SLOT};
    int code = describe(b, n, &a, e);
    if (!code)
        code = choose_products(b, n, &a, &lying, &scores, &mix, e);
    if (!code)
        code = take_slots(b, n, &lying, scores, slots, e);
    if (!code) {
        code = builder_primitive(b, scores, (int[]){slots[0], slots[1], NO_SLOT, slots[4]}, e);
        scores = NULL;
    }
    if (!code)
        code = add_softmax(b, &a, slots[4], slots[3], e);
    if (!code) {
        code = builder_primitive(b, mix, (int[]){slots[4], slots[2], NO_SLOT, slots[5]}, e);
        mix = NULL;
    }
    primitive_free(scores);
    primitive_free(mix);
    return code;
}
