/* Attention and RotaryEmbedding of opset 23. */
#include "engine/ops/ops.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* q, k, v, mask, past keys, past values; y, present keys, present values, scores. */
enum { IN_Q, IN_K, IN_V, IN_MASK, IN_PAST_K, IN_PAST_V };
enum { OUT_Y, OUT_K, OUT_V };

/* Of an input, whether it comes as heads (rank 4) or as rows with the heads side by side. */
struct heads {
    int64_t batch, heads, length, depth;
};

static int heads_of(const struct infer_context *c, int index, int64_t heads, struct heads *h,
                    struct error *e)
{
    const struct shape *s = &infer_input(c, index)->shape;
    if (s->rank == 4) {
        *h = (struct heads){s->dims[0], s->dims[1], s->dims[2], s->dims[3]};
        return 0;
    }
    if (s->rank != 3 || heads < 1 || s->dims[2] % heads)
        return infer_fail(c, e, "input %d is neither of rank 4 nor rows of %" PRId64 " heads", index,
                          heads);
    *h = (struct heads){s->dims[0], heads, s->dims[1], s->dims[2] / heads};
    return 0;
}

static int read_settings(const struct infer_context *c, int64_t *q_heads, int64_t *kv_heads,
                         struct error *e)
{
    struct attributes *a = &c->node->a;
    int64_t causal = 0;
    int code = infer_attribute_int(c, "is_causal", 0, &causal, e);
    if (!code)
        code = infer_attribute_int(c, "q_num_heads", 0, q_heads, e);
    if (!code)
        code = infer_attribute_int(c, "kv_num_heads", 0, kv_heads, e);
    if (!code)
        code = infer_attribute_float(c, "scale", NAN, &a->scale, e);
    if (!code)
        code = infer_attribute_float(c, "softcap", 0, &a->alpha, e);
    infer_ignore(c, "softmax_precision");
    infer_ignore(c, "qk_matmul_output_mode"); /* of an output that is not supported */
    a->mode = causal != 0;
    return code;
}

static int check_mask(const struct infer_context *c, const struct heads *q, int64_t length,
                      struct error *e)
{
    const struct value *mask = infer_input(c, IN_MASK);
    const int64_t full[4] = {q->batch, q->heads, q->length, length};
    int code = mask ? infer_type(c, IN_MASK, TYPES_F32 | TYPES_BOOL, e) : 0;
    for (int i = 1; mask && i <= mask->shape.rank && !code; i++) {
        int64_t dim = i > 4 ? -1 : mask->shape.dims[mask->shape.rank - i];
        /* A row that is too short is filled up with what hides a key. */
        int fits = i == 1 ? dim <= length && (dim > 1 || length <= 1) : dim == 1 ||
                                                                            dim == full[4 - i];
        if (i > 4 || !fits)
            code = infer_unsupported(c, e, "a mask that does not broadcast to the scores");
    }
    if (!code && mask && mask->shape.rank < 1)
        code = infer_unsupported(c, e, "a mask of rank 0");
    return code;
}

/* The keys and values before these, as heads. */
static int check_past(const struct infer_context *c, int index, const struct heads *now,
                      int64_t *length, struct error *e)
{
    const struct value *v = infer_input(c, index);
    *length = v ? v->shape.rank == 4 ? v->shape.dims[2] : -1 : 0;
    const struct shape want = {4, {now->batch, now->heads, *length, now->depth}};
    if (!v || shape_equal(&v->shape, &want))
        return 0;
    return infer_fail(c, e, "input %d does not fit the keys or values", index);
}

static int set_outputs(const struct infer_context *c, const struct heads *q, const struct heads *k,
                       const struct heads *v, int64_t length, struct error *e)
{
    struct shape y = {4, {q->batch, q->heads, q->length, v->depth}};
    if (infer_input(c, IN_Q)->shape.rank == 3)
        y = (struct shape){3, {q->batch, q->length, q->heads * v->depth}};
    const struct shape keys = {4, {k->batch, k->heads, length, k->depth}};
    const struct shape values = {4, {v->batch, v->heads, length, v->depth}};
    int code = infer_output(c, OUT_Y, DTYPE_F32, &y, e);
    if (!code)
        code = infer_output(c, OUT_K, DTYPE_F32, &keys, e);
    return code ? code : infer_output(c, OUT_V, DTYPE_F32, &values, e);
}

static int infer_attention(const struct infer_context *c, struct error *e)
{
    struct attributes *a = &c->node->a;
    int64_t q_heads, kv_heads, past = 0, past_v = 0;
    struct heads q = {0}, k = {0}, v = {0};
    int code = read_settings(c, &q_heads, &kv_heads, e);
    for (int i = 0; i < c->node->input_count && !code; i++)
        code = i == IN_MASK ? 0 : infer_type(c, i, TYPES_F32, e);
    if (!code)
        code = heads_of(c, IN_Q, q_heads, &q, e);
    if (!code)
        code = heads_of(c, IN_K, kv_heads, &k, e);
    if (!code)
        code = heads_of(c, IN_V, kv_heads, &v, e);
    if (!code)
        code = check_past(c, IN_PAST_K, &k, &past, e);
    if (!code)
        code = check_past(c, IN_PAST_V, &v, &past_v, e);
    if (code)
        return code;
    if (q.batch != k.batch || k.batch != v.batch || k.heads != v.heads || k.length != v.length ||
        q.depth != k.depth || k.heads < 1 || q.heads % k.heads || past != past_v)
        return infer_fail(c, e, "queries, keys and values do not fit each other");
    if (isnan(a->scale))
        a->scale = (float)(1 / sqrt((double)q.depth));
    a->heads = q.heads;
    a->axes[0] = k.heads;
    code = check_mask(c, &q, past + k.length, e);
    return code ? code : set_outputs(c, &q, &k, &v, past + k.length, e);
}

static int64_t macs_attention(const struct graph *g, const struct node *n)
{
    const struct shape *q = &g->values[n->inputs[IN_Q]].shape;
    const struct shape *k = &g->values[n->inputs[IN_K]].shape;
    int64_t y = shape_elements(&g->values[n->outputs[OUT_Y]].shape), total, more;
    int64_t length = k->dims[k->rank == 4 ? 2 : 1];
    if (n->input_count > IN_PAST_K && n->inputs[IN_PAST_K] != NO_VALUE)
        length += g->values[n->inputs[IN_PAST_K]].shape.dims[2];
    if (__builtin_mul_overflow(shape_elements(q), length, &total) ||
        __builtin_mul_overflow(y, length, &more) || __builtin_add_overflow(total, more, &total))
        return -1;
    return total;
}

/* Where the row of a head's place lies. */
struct rows {
    const float *data;
    int64_t heads, length, depth;
    int side_by_side;
};

static struct rows rows_of(const struct tensor *t, int64_t heads)
{
    const int64_t *d = t->shape.dims;
    if (t->shape.rank == 4)
        return (struct rows){t->data, d[1], d[2], d[3], 0};
    return (struct rows){t->data, heads, d[1], heads ? d[2] / heads : 0, 1};
}

static int64_t row_offset(const struct rows *r, int64_t image, int64_t head, int64_t place)
{
    return r->side_by_side ? ((image * r->length + place) * r->heads + head) * r->depth
                           : ((image * r->heads + head) * r->length + place) * r->depth;
}

static const float *row_at(const struct rows *past, const struct rows *now, int64_t image,
                           int64_t head, int64_t place)
{
    if (past->data && place < past->length)
        return past->data + row_offset(past, image, head, place);
    return now->data + row_offset(now, image, head, place - (past->data ? past->length : 0));
}

struct query {
    const struct node *node;
    struct rows q, k, v, past_k, past_v;
    const struct tensor *mask;
    int64_t image, head, place, keys, past; /* keys: of all, past ones included */
};

/* What is added to the score of key j: -inf hides it. */
static double bias_of(const struct query *s, int64_t j)
{
    const struct shape *m = &s->mask->shape;
    const int64_t at[4] = {s->image, s->head, s->place, j};
    int64_t offset = 0, stride = 1;
    if (s->node->a.mode && j > s->place + s->past)
        return -INFINITY;
    if (!s->mask->data)
        return 0;
    if (j >= m->dims[m->rank - 1])
        return -INFINITY;
    for (int i = 1; i <= m->rank; i++) {
        offset += m->dims[m->rank - i] == 1 ? 0 : at[4 - i] * stride;
        stride *= m->dims[m->rank - i];
    }
    if (s->mask->type == DTYPE_BOOL)
        return ((const uint8_t *)s->mask->data)[offset] ? 0 : -INFINITY;
    return (double)((const float *)s->mask->data)[offset];
}

static double score(const struct query *s, int64_t j)
{
    int64_t kv = s->head / (s->q.heads / s->k.heads);
    const float *q = s->q.data + row_offset(&s->q, s->image, s->head, s->place);
    const float *k = row_at(&s->past_k, &s->k, s->image, kv, j);
    double sum = 0, cap = (double)s->node->a.alpha;
    for (int64_t d = 0; d < s->q.depth; d++)
        sum += (double)q[d] * (double)k[d];
    sum *= (double)s->node->a.scale;
    return bias_of(s, j) + (cap > 0 ? cap * tanh(sum / cap) : sum);
}

/* Keys in order; what was summed up is rescaled when a larger score turns up. A query that sees no
 * key gets zeros. */
static void attend(const struct query *s, float *y)
{
    int64_t kv = s->head / (s->q.heads / s->k.heads);
    double best = -INFINITY, sum = 0;
    memset(y, 0, (size_t)s->v.depth * sizeof *y);
    for (int64_t j = 0; j < s->keys; j++) {
        double x = score(s, j);
        const float *v = row_at(&s->past_v, &s->v, s->image, kv, j);
        if (x > best) {
            double factor = exp(best - x);
            sum *= factor;
            for (int64_t d = 0; d < s->v.depth; d++)
                y[d] = (float)((double)y[d] * factor);
            best = x;
        }
        double weight = best == -INFINITY ? 0 : exp(x - best);
        sum += weight;
        for (int64_t d = 0; d < s->v.depth && weight > 0; d++)
            y[d] = (float)((double)y[d] + weight * (double)v[d]);
        if (isnan(x))
            sum = NAN;
    }
    for (int64_t d = 0; d < s->v.depth; d++)
        y[d] = (float)((double)y[d] / (sum == 0 ? 1 : sum));
}

/* Past and new rows one behind the other. */
static void join(const struct rows *past, const struct rows *now, struct tensor *out)
{
    const int64_t *d = out->shape.dims;
    float *to = out->data;
    for (int64_t i = 0; to && i < d[0] * d[1] * d[2]; i++)
        memcpy(to + i * d[3], row_at(past, now, i / d[2] / d[1], i / d[2] % d[1], i % d[2]),
               (size_t)d[3] * sizeof *to);
}

static int run_attention(const struct node *n, const struct tensor *in, struct tensor *out,
                         struct error *e)
{
    (void)e;
    struct query s = {.node = n, .mask = &in[IN_MASK], .q = rows_of(&in[IN_Q], n->a.heads),
                      .k = rows_of(&in[IN_K], n->a.axes[0]), .v = rows_of(&in[IN_V], n->a.axes[0]),
                      .past_k = rows_of(&in[IN_PAST_K], 0), .past_v = rows_of(&in[IN_PAST_V], 0)};
    s.past = in[IN_PAST_K].data ? s.past_k.length : 0;
    s.keys = s.past + s.k.length;
    struct rows y = rows_of(&out[OUT_Y], n->a.heads);
    int64_t jobs = in[IN_Q].shape.dims[0] * s.q.heads * s.q.length;
#pragma omp parallel for schedule(static)
    for (int64_t job = 0; job < jobs; job++) {
        struct query own = s;
        own.image = job / s.q.length / s.q.heads;
        own.head = job / s.q.length % s.q.heads;
        own.place = job % s.q.length;
        attend(&own, (float *)out[OUT_Y].data + row_offset(&y, own.image, own.head, own.place));
    }
    join(&s.past_k, &s.k, &out[OUT_K]);
    join(&s.past_v, &s.v, &out[OUT_V]);
    return 0;
}

/* ---- RotaryEmbedding: a.heads, a.mode interleaved, a.axis the turned part of each head ---- */

static int check_rotary(const struct infer_context *c, const struct heads *h, struct error *e)
{
    const struct value *cosine = infer_input(c, 1), *sine = infer_input(c, 2);
    const struct value *places = infer_input(c, 3);
    const struct shape rows = {3, {h->batch, h->length, c->node->a.axis / 2}};
    const struct shape ids = {2, {h->batch, h->length}};
    int fits = shape_equal(&cosine->shape, &sine->shape);
    if (places)
        fits = fits && shape_equal(&places->shape, &ids) && cosine->shape.rank == 2 &&
               cosine->shape.dims[1] == rows.dims[2];
    else
        fits = fits && shape_equal(&cosine->shape, &rows);
    return fits ? 0 : infer_fail(c, e, "the tables of cosines and sines do not fit the input");
}

static int infer_rotary(const struct infer_context *c, struct error *e)
{
    struct attributes *a = &c->node->a;
    int64_t interleaved = 0, heads = 0;
    struct heads h = {0};
    int code = infer_attribute_int(c, "interleaved", 0, &interleaved, e);
    if (!code)
        code = infer_attribute_int(c, "num_heads", 0, &heads, e);
    if (!code)
        code = infer_attribute_int(c, "rotary_embedding_dim", 0, &a->axis, e);
    for (int i = 0; i < 3 && !code; i++)
        code = infer_type(c, i, TYPES_F32, e);
    if (!code)
        code = infer_type(c, 3, TYPES_INDEX, e);
    if (!code)
        code = heads_of(c, 0, heads, &h, e);
    if (code)
        return code;
    a->axis = a->axis ? a->axis : h.depth;
    a->mode = interleaved != 0;
    a->heads = h.heads;
    if (a->axis < 2 || a->axis % 2 || a->axis > h.depth)
        return infer_fail(c, e, "%" PRId64 " of %" PRId64 " elements of a head are to be turned",
                          a->axis, h.depth);
    code = check_rotary(c, &h, e);
    return code ? code : infer_output(c, 0, DTYPE_F32, &infer_input(c, 0)->shape, e);
}

static void turn(const struct node *n, const float *x, const float *cosine, const float *sine,
                 float *y)
{
    int64_t half = n->a.axis / 2;
    for (int64_t i = 0; i < half; i++) {
        int64_t p = n->a.mode ? 2 * i : i, q = n->a.mode ? 2 * i + 1 : half + i;
        float a = x[p], b = x[q];
        y[p] = a * cosine[i] - b * sine[i];
        y[q] = a * sine[i] + b * cosine[i];
    }
}

static int run_rotary(const struct node *n, const struct tensor *in, struct tensor *out,
                      struct error *e)
{
    struct rows x = rows_of(in, n->a.heads);
    int64_t half = n->a.axis / 2, rows = in[1].shape.dims[0];
    memcpy(out->data, in->data, (size_t)shape_bytes(&in->shape, DTYPE_F32));
    for (int64_t i = 0; i < in->shape.dims[0] * x.length; i++) {
        int64_t at = i;
        if (in[3].data)
            load_int(in[3].type, in[3].data, i, 1, 1, &at);
        if (in[3].data && (at < 0 || at >= rows))
            return error_set(e, ERROR_FORMAT, "position %" PRId64 " in a table of %" PRId64, at,
                             rows);
        for (int64_t h = 0; h < x.heads; h++) {
            int64_t offset = row_offset(&x, i / x.length, h, i % x.length);
            turn(n, x.data + offset, (const float *)in[1].data + at * half,
                 (const float *)in[2].data + at * half, (float *)out->data + offset);
        }
    }
    return 0;
}

static const struct op ops[] = {
    {OP_SINCE(23, 23, "Attention", 3, 6, 3, infer_attention, run_attention),
     .macs = macs_attention},
    {OP_SINCE(23, 99, "RotaryEmbedding", 3, 4, 1, infer_rotary, run_rotary)},
};
const struct op_family family_attention = OP_FAMILY(ops);
