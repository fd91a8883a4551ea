/* MatMul and Gemm. */
#include "engine/ops/ops.h"
#include "engine/simd.h"

#include <inttypes.h>
#include <string.h>

/* Rows and columns done together: 4 accumulator rows of 1 KiB stay in the first cache. */
enum { ROWS = 4, COLUMNS = 256, LANES = 8 };

/* A block of C with B row-major: the compiler vectorises over j. */
SIMD_CLONES
static void block_rows(int64_t rows, int64_t columns, int64_t k, const float *a, int64_t a_row,
                       int64_t a_step, const float *restrict b, int64_t b_step, float *restrict c,
                       int64_t c_step)
{
    float sum[ROWS][COLUMNS];
    memset(sum, 0, sizeof sum);
    for (int64_t i = 0; i < k; i++) {
        const float *restrict line = b + i * b_step;
        float a0 = a[i * a_step], a1 = rows > 1 ? a[a_row + i * a_step] : 0;
        float a2 = rows > 2 ? a[2 * a_row + i * a_step] : 0;
        float a3 = rows > 3 ? a[3 * a_row + i * a_step] : 0;
        for (int64_t j = 0; j < columns; j++) {
            sum[0][j] += a0 * line[j];
            sum[1][j] += a1 * line[j];
            sum[2][j] += a2 * line[j];
            sum[3][j] += a3 * line[j];
        }
    }
    for (int64_t r = 0; r < rows; r++)
        memcpy(c + r * c_step, sum[r], (size_t)columns * sizeof *c);
}

/* A dot product in LANES partial sums, always in the same order. */
SIMD_CLONES
static float dot(int64_t k, const float *a, int64_t a_step, const float *b)
{
    float lanes[LANES] = {0}, sum = 0;
    int64_t i = 0;
    if (a_step == 1)
        for (; i + LANES <= k; i += LANES)
            for (int l = 0; l < LANES; l++)
                lanes[l] += a[i + l] * b[i + l];
    for (; i < k; i++)
        lanes[i % LANES] += a[i * a_step] * b[i];
    for (int l = 0; l < LANES; l++)
        sum += lanes[l];
    return sum;
}

void gemm_f32(int64_t m, int64_t n, int64_t k, const float *a, int trans_a, const float *b,
              int trans_b, float *c)
{
    int64_t a_row = trans_a ? 1 : k, a_step = trans_a ? m : 1;
    int64_t width = trans_b ? LANES : COLUMNS;
    int64_t down = (m + ROWS - 1) / ROWS, across = (n + width - 1) / width;
    /* Columns outermost: a panel of B is used for all rows before the next one is read. */
#pragma omp parallel for schedule(static)
    for (int64_t job = 0; job < down * across; job++) {
        int64_t i = job % down * ROWS, j = job / down * width;
        int64_t rows = m - i < ROWS ? m - i : ROWS, columns = n - j < width ? n - j : width;
        if (!trans_b) {
            block_rows(rows, columns, k, a + i * a_row, a_row, a_step, b + j, n, c + i * n + j, n);
            continue;
        }
        for (int64_t r = i; r < i + rows; r++)
            for (int64_t s = j; s < j + columns; s++)
                c[r * n + s] = dot(k, a + r * a_row, a_step, b + s * k);
    }
}

static void split_shape(const struct shape *s, int vector_rows, struct shape *batch, int64_t *rows,
                        int64_t *columns)
{
    *batch = (struct shape){0};
    if (s->rank == 1) {
        *rows = vector_rows ? 1 : s->dims[0];
        *columns = vector_rows ? s->dims[0] : 1;
        return;
    }
    batch->rank = s->rank - 2;
    memcpy(batch->dims, s->dims, (size_t)batch->rank * sizeof *s->dims);
    *rows = s->dims[s->rank - 2];
    *columns = s->dims[s->rank - 1];
}

static int64_t larger(int64_t a, int64_t b)
{
    return a == 1 ? b : a;
}

int matmul_shape(const struct shape *a, const struct shape *b, struct matmul_shape *s)
{
    split_shape(a, 1, &s->a_batch, &s->m, &s->k);
    split_shape(b, 0, &s->b_batch, &s->k_of_b, &s->n);
    const struct shape *p = &s->a_batch, *q = &s->b_batch;
    s->batch = (struct shape){.rank = p->rank > q->rank ? p->rank : q->rank};
    for (int i = 1; i <= s->batch.rank; i++) {
        int64_t x = i <= p->rank ? p->dims[p->rank - i] : 1;
        int64_t y = i <= q->rank ? q->dims[q->rank - i] : 1;
        if (x != y && x != 1 && y != 1)
            return -1;
        s->batch.dims[s->batch.rank - i] = larger(x, y);
    }
    return s->k == s->k_of_b ? 0 : -1;
}

void matmul_walk(const struct matmul_shape *s, struct walk *w)
{
    walk_init(w, &s->batch);
    walk_operand(w, &s->batch);
    walk_operand(w, &s->a_batch);
    walk_operand(w, &s->b_batch);
}

void matmul_output(const struct shape *a, const struct shape *b, const struct matmul_shape *s,
                   struct shape *out)
{
    *out = s->batch;
    if (a->rank > 1)
        out->dims[out->rank++] = s->m;
    if (b->rank > 1)
        out->dims[out->rank++] = s->n;
}

static int infer_matmul(const struct infer_context *c, struct error *e)
{
    const struct value *a = infer_input(c, 0), *b = infer_input(c, 1);
    unsigned types = TYPES_REAL | TYPES_INDEX;
    struct matmul_shape s;
    int code = infer_type(c, 0, types, e);
    if (!code)
        code = infer_type(c, 1, types, e);
    if (code)
        return code;
    if (a->type != b->type || a->shape.rank < 1 || b->shape.rank < 1 ||
        matmul_shape(&a->shape, &b->shape, &s)) {
        char t[96], u[96];
        return infer_fail(c, e, "%s %s and %s %s cannot be multiplied", dtype_name(a->type),
                          shape_text(&a->shape, t, sizeof t), dtype_name(b->type),
                          shape_text(&b->shape, u, sizeof u));
    }
    struct shape out;
    matmul_output(&a->shape, &b->shape, &s, &out);
    return infer_output(c, 0, a->type, &out, e);
}

static int64_t product(const struct shape *y, int64_t k)
{
    int64_t n = shape_elements(y);
    return n < 0 || __builtin_mul_overflow(n, k, &n) ? -1 : n;
}

static int64_t macs_matmul(const struct graph *g, const struct node *n)
{
    const struct shape *a = &g->values[n->inputs[0]].shape;
    return product(&g->values[n->outputs[0]].shape, a->dims[a->rank - 1]);
}

/* The types nobody is in a hurry for: one element of C in double or in int64. */
static void multiply_element(const struct tensor *a, const struct tensor *b, int64_t a_at,
                             int64_t b_at, int64_t k, int64_t n, struct tensor *c, int64_t c_at)
{
    double sum = 0, x, y;
    int64_t whole = 0, p, q;
    for (int64_t i = 0; i < k; i++) {
        if (type_is_real(a->type)) {
            load_real(a->type, a->data, a_at + i, 1, 1, &x);
            load_real(b->type, b->data, b_at + i * n, 1, 1, &y);
            sum += x * y;
        } else {
            load_int(a->type, a->data, a_at + i, 1, 1, &p);
            load_int(b->type, b->data, b_at + i * n, 1, 1, &q);
            whole = (int64_t)((uint64_t)whole + (uint64_t)p * (uint64_t)q);
        }
    }
    if (type_is_real(a->type))
        store_real(c->type, c->data, c_at, 1, &sum);
    else
        store_int(c->type, c->data, c_at, 1, &whole);
}

static void multiply(const struct matmul_shape *s, const struct tensor *a, const struct tensor *b,
                     struct tensor *c, const int64_t at[3])
{
    if (a->type == DTYPE_F32) {
        gemm_f32(s->m, s->n, s->k, (const float *)a->data + at[1], 0,
                 (const float *)b->data + at[2], 0, (float *)c->data + at[0]);
        return;
    }
    for (int64_t i = 0; i < s->m; i++)
        for (int64_t j = 0; j < s->n; j++)
            multiply_element(a, b, at[1] + i * s->k, at[2] + j, s->k, s->n, c,
                             at[0] + i * s->n + j);
}

static int run_matmul(const struct node *node, const struct tensor *in, struct tensor *out,
                      struct error *e)
{
    (void)node, (void)e;
    struct matmul_shape s;
    struct walk w;
    if (shape_elements(&out->shape) == 0)
        return 0;
    matmul_shape(&in[0].shape, &in[1].shape, &s);
    matmul_walk(&s, &w);
    for (int more = walk_begin(&w); more; more = walk_next(&w))
        for (int64_t i = 0; i < w.count; i++) {
            int64_t at[3] = {(w.offset[0] + i * w.step[0]) * s.m * s.n,
                             (w.offset[1] + i * w.step[1]) * s.m * s.k,
                             (w.offset[2] + i * w.step[2]) * s.k * s.n};
            multiply(&s, &in[0], &in[1], out, at);
        }
    return 0;
}

static int infer_gemm(const struct infer_context *c, struct error *e)
{
    const struct value *a = infer_input(c, 0), *b = infer_input(c, 1), *bias = infer_input(c, 2);
    struct attributes *at = &c->node->a;
    int64_t ta = 0, tb = 0;
    char s[96], t[96];
    int code = 0;
    for (int i = 0; i < 3 && !code; i++)
        code = infer_type(c, i, TYPES_F32, e);
    if (!code)
        code = infer_attribute_float(c, "alpha", 1, &at->alpha, e);
    if (!code)
        code = infer_attribute_float(c, "beta", 1, &at->beta, e);
    if (!code)
        code = infer_attribute_int(c, "transA", 0, &ta, e);
    if (!code)
        code = infer_attribute_int(c, "transB", 0, &tb, e);
    if (code)
        return code;
    at->trans_a = ta != 0;
    at->trans_b = tb != 0;
    at->has_bias = bias != NULL;
    if (a->shape.rank != 2 || b->shape.rank != 2 ||
        a->shape.dims[!at->trans_a] != b->shape.dims[at->trans_b])
        return infer_fail(c, e, "%s%s and %s%s cannot be multiplied",
                          shape_text(&a->shape, s, sizeof s), ta ? " transposed" : "",
                          shape_text(&b->shape, t, sizeof t), tb ? " transposed" : "");
    struct shape out = {2, {a->shape.dims[at->trans_a], b->shape.dims[!at->trans_b]}};
    const int64_t *y = out.dims, *z = bias ? bias->shape.dims : NULL;
    int rank = bias ? bias->shape.rank : 0;
    int fits = rank <= 2;
    for (int i = 1; i <= rank && fits; i++)
        fits = z[rank - i] == 1 || z[rank - i] == y[2 - i];
    if (!fits)
        return infer_fail(c, e, "input C %s does not broadcast to %s",
                          shape_text(&bias->shape, s, sizeof s), shape_text(&out, t, sizeof t));
    return infer_output(c, 0, DTYPE_F32, &out, e);
}

static int64_t macs_gemm(const struct graph *g, const struct node *n)
{
    return product(&g->values[n->outputs[0]].shape,
                   g->values[n->inputs[0]].shape.dims[!n->a.trans_a]);
}

static int run_gemm(const struct node *n, const struct tensor *in, struct tensor *out,
                    struct error *e)
{
    (void)e;
    const struct attributes *a = &n->a;
    float *y = out->data;
    struct walk w;
    if (shape_elements(&out->shape) == 0)
        return 0;
    gemm_f32(out->shape.dims[0], out->shape.dims[1], in[0].shape.dims[!a->trans_a], in[0].data,
             a->trans_a, in[1].data, a->trans_b, y);
    walk_init(&w, &out->shape);
    walk_operand(&w, &out->shape);
    walk_operand(&w, &in[2].shape);
    const float *bias = in[2].data;
    for (int more = walk_begin(&w); more; more = walk_next(&w))
        for (int64_t i = 0; i < w.count; i++) {
            float *p = y + w.offset[0] + i * w.step[0];
            *p *= a->alpha;
            if (bias)
                *p += a->beta * bias[w.offset[1] + i * w.step[1]];
        }
    return 0;
}

static const struct op ops[] = {
    {OP("MatMul", 2, 2, 1, infer_matmul, run_matmul), .macs = macs_matmul},
    {OP("Gemm", 2, 3, 1, infer_gemm, run_gemm), .macs = macs_gemm},
};
const struct op_family family_matmul = OP_FAMILY(ops);
