/* Einsum of one to three tensors: labels become dimensions of two walks, one over the labels that
 * the output has and one over those summed away. */
#include "engine/ops/ops.h"

#include <ctype.h>
#include <string.h>

enum { OPERANDS_MAX = EINSUM_OPERANDS, LABELS_MAX = EINSUM_LABELS, ELLIPSIS_BASE = 128 };

/* One label of each dimension of each operand; the dimensions of an ellipsis, counted from its end,
 * have labels of their own, so that they line up and broadcast. */
struct labels {
    int count;
    int label[RANK_MAX];
};

/* "bij" or "b...ij" of an operand of that rank; -1 when it does not fit. *end: behind it. */
static int read_labels(const char **text, int rank, struct labels *out)
{
    const char *p = *text;
    int letters = 0, ellipsis = 0;
    for (const char *q = p; *q && *q != ',' && strncmp(q, "->", 2); q++)
        letters += isalpha((unsigned char)*q) != 0;
    out->count = 0;
    for (; *p && *p != ',' && strncmp(p, "->", 2); p++) {
        if (isspace((unsigned char)*p))
            continue;
        if (!strncmp(p, "...", 3) && !ellipsis && rank >= letters) {
            ellipsis = 1;
            p += 2;
            for (int i = rank - letters; i > 0; i--)
                out->label[out->count++] = ELLIPSIS_BASE + i;
        } else if (isalpha((unsigned char)*p) && out->count < RANK_MAX) {
            out->label[out->count++] = (unsigned char)*p;
        } else {
            return -1;
        }
    }
    *text = p;
    return out->count == rank && letters <= rank ? 0 : -1;
}

static int find(const struct einsum *s, int label)
{
    for (int i = 0; i < s->total; i++)
        if (s->label[i] == label)
            return i;
    return -1;
}

static int add_label(struct einsum *s, int label)
{
    if (s->total >= LABELS_MAX)
        return -1;
    s->label[s->total] = label;
    s->size[s->total] = 1;
    return s->total++;
}

/* The operand's dimensions into the table: a label twice in one operand is its diagonal. */
static int take_operand(const struct infer_context *c, struct einsum *s, int operand,
                        const struct labels *l, struct error *e)
{
    const struct shape *x = &infer_input(c, operand)->shape;
    int64_t strides[RANK_MAX];
    shape_strides(x, strides);
    for (int i = 0; i < x->rank; i++) {
        int at = find(s, l->label[i]);
        if (at < 0)
            at = add_label(s, l->label[i]);
        if (at < 0)
            return infer_unsupported(c, e, "an equation with more than %d labels", LABELS_MAX);
        if (x->dims[i] != 1 && s->size[at] != 1 && s->size[at] != x->dims[i])
            return infer_fail(c, e, "a label stands for sizes %lld and %lld",
                              (long long)s->size[at], (long long)x->dims[i]);
        if (x->dims[i] != 1)
            s->size[at] = x->dims[i];
        s->strides[operand][at] += x->dims[i] == 1 ? 0 : strides[i];
    }
    return 0;
}

/* Without "->": the ellipsis, then every letter that occurs once, in alphabetical order. */
static void implied_output(const struct labels *l, int operands, struct labels *out)
{
    int used[ELLIPSIS_BASE + RANK_MAX + 1] = {0};
    for (int o = 0; o < operands; o++)
        for (int i = 0; i < l[o].count; i++)
            used[l[o].label[i]]++;
    out->count = 0;
    for (int k = ELLIPSIS_BASE + RANK_MAX; k >= ELLIPSIS_BASE; k--)
        if (used[k] && out->count < RANK_MAX)
            out->label[out->count++] = k;
    for (int k = 0; k < ELLIPSIS_BASE; k++)
        if (used[k] == 1 && out->count < RANK_MAX)
            out->label[out->count++] = k;
}

/* The rank that "...ij" of the output stands for. */
static int output_rank(const char *text, const struct labels *l, int operands)
{
    int letters = 0, most = 0;
    for (const char *p = text; *p; p++)
        letters += isalpha((unsigned char)*p) != 0;
    for (int o = 0; o < operands && strstr(text, "..."); o++)
        for (int i = 0; i < l[o].count; i++)
            if (l[o].label[i] - ELLIPSIS_BASE > most)
                most = l[o].label[i] - ELLIPSIS_BASE;
    return letters + most;
}

static int parse(const struct infer_context *c, const char *text, struct labels *l,
                 struct labels *out, struct error *e)
{
    int n = c->node->input_count;
    const char *p = text;
    for (int o = 0; o < n; o++) {
        if (read_labels(&p, infer_input(c, o)->shape.rank, &l[o]) || (o < n - 1 && *p != ','))
            return infer_fail(c, e, "the equation '%.60s' does not fit input %d", text, o);
        p += o < n - 1;
    }
    if (!*p) {
        implied_output(l, n, out);
        return 0;
    }
    p += 2;
    int rank = strncmp(p - 2, "->", 2) ? -1 : output_rank(p, l, n);
    if (rank < 0 || rank > RANK_MAX || read_labels(&p, rank, out) || *p)
        return infer_fail(c, e, "the equation '%.60s' has no well-formed output", text);
    return 0;
}

static int plan(const struct infer_context *c, const char *text, struct einsum *s, struct shape *y,
                struct error *e)
{
    struct labels l[OPERANDS_MAX] = {0}, out = {0};
    int code = parse(c, text, l, &out, e);
    s->operands = c->node->input_count;
    for (int i = 0; i < out.count && !code; i++)
        if (find(s, out.label[i]) >= 0 || add_label(s, out.label[i]) < 0)
            code = infer_fail(c, e, "the output of '%.60s' has a label twice", text);
    s->kept = s->total;
    for (int o = 0; o < s->operands && !code; o++)
        code = take_operand(c, s, o, &l[o], e);
    *y = (struct shape){.rank = out.count};
    for (int i = 0; i < out.count && !code; i++) {
        int known = 0;
        for (int o = 0; o < s->operands; o++)
            for (int k = 0; k < l[o].count; k++)
                known |= l[o].label[k] == out.label[i];
        if (!known)
            code = infer_fail(c, e, "the output of '%.60s' has a label that no input has", text);
        y->dims[i] = s->size[i];
    }
    return code;
}

static int infer_einsum(const struct infer_context *c, struct error *e)
{
    const struct onnx_attribute *equation = infer_attribute(c, "equation");
    enum dtype type = infer_input(c, 0)->type;
    int code = 0;
    if (!equation || equation->type != ONNX_STRING)
        return infer_fail(c, e, "attribute 'equation' is missing");
    for (int i = 0; i < c->node->input_count && !code; i++) {
        code = infer_input(c, i) ? infer_type(c, i, TYPES_NUMBER, e)
                                 : infer_fail(c, e, "input %d is missing", i);
        if (!code && infer_input(c, i)->type != type)
            code = infer_fail(c, e, "inputs of different types");
    }
    struct einsum *s = code ? NULL : arena_alloc(&c->graph->arena, sizeof *s);
    if (!s)
        return code ? code : error_memory(e);
    memset(s, 0, sizeof *s);
    struct shape y;
    code = plan(c, equation->s, s, &y, e);
    c->node->a.plan = s;
    return code ? code : infer_output(c, 0, type, &y, e);
}

static int64_t macs_einsum(const struct graph *g, const struct node *n)
{
    (void)g;
    const struct einsum *s = n->a.plan;
    int64_t total = 1;
    for (int i = 0; i < s->total; i++)
        if (__builtin_mul_overflow(total, s->size[i], &total))
            return -1;
    return total;
}

static void walk_labels(const struct einsum *s, int first, int last, struct walk *w)
{
    *w = (struct walk){.operands = s->operands, .rank = last - first};
    for (int i = first; i < last; i++) {
        w->dims[i - first] = s->size[i];
        for (int o = 0; o < s->operands; o++)
            w->strides[o][i - first] = s->strides[o][i];
    }
}

/* One output element: the products along the summed labels. */
static void sum_real(const struct walk *w, const struct tensor *in, double *sum)
{
    double product[CHUNK], factor[CHUNK];
    for (int64_t i = 0; i < w->count; i += CHUNK) {
        int64_t n = w->count - i < CHUNK ? w->count - i : CHUNK;
        for (int64_t k = 0; k < n; k++)
            product[k] = 1;
        for (int o = 0; o < w->operands; o++) {
            load_real(in[o].type, in[o].data, w->offset[o] + i * w->step[o], w->step[o], n, factor);
            for (int64_t k = 0; k < n; k++)
                product[k] *= factor[k];
        }
        for (int64_t k = 0; k < n; k++)
            *sum += product[k];
    }
}

static void sum_int(const struct walk *w, const struct tensor *in, uint64_t *sum)
{
    for (int64_t i = 0; i < w->count; i++) {
        uint64_t product = 1;
        for (int o = 0; o < w->operands; o++) {
            int64_t factor;
            load_int(in[o].type, in[o].data, w->offset[o] + i * w->step[o], 1, 1, &factor);
            product *= (uint64_t)factor;
        }
        *sum += product;
    }
}

static void element(const struct walk *inner, int any, const int64_t *from,
                    const struct tensor *in, struct tensor *out, int64_t to)
{
    struct walk w = *inner;
    double real = 0;
    uint64_t whole = 0;
    memcpy(w.offset, from, sizeof w.offset);
    for (int more = any; more; more = walk_next(&w))
        if (type_is_real(out->type))
            sum_real(&w, in, &real);
        else
            sum_int(&w, in, &whole);
    if (type_is_real(out->type))
        store_real(out->type, out->data, to, 1, &real);
    else
        store_int(out->type, out->data, to, 1, &(int64_t){(int64_t)whole});
}

static int run_einsum(const struct node *n, const struct tensor *in, struct tensor *out,
                      struct error *e)
{
    (void)e;
    const struct einsum *s = n->a.plan;
    struct walk outer, inner;
    int64_t to = 0;
    walk_labels(s, 0, s->kept, &outer);
    walk_labels(s, s->kept, s->total, &inner);
    int any = walk_begin(&inner);
    /* The output is row-major in the order of the outer walk. */
    for (int more = walk_begin(&outer); more; more = walk_next(&outer))
        for (int64_t i = 0; i < outer.count; i++) {
            int64_t from[WALK_OPERANDS] = {0};
            for (int o = 0; o < s->operands; o++)
                from[o] = outer.offset[o] + i * outer.step[o];
            element(&inner, any, from, in, out, to++);
        }
    return 0;
}

static const struct op ops[] = {
    {OP_SINCE(12, 99, "Einsum", 1, OPERANDS_MAX, 1, infer_einsum, run_einsum),
     .macs = macs_einsum, .mac_price = 16},
};
const struct op_family family_einsum = OP_FAMILY(ops);
