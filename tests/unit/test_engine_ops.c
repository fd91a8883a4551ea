/* Reference kernels against straightforward definitions in double, on random shapes; and what the
 * recorded node tests do not cover: types, limits, and independence of the number of threads. */
#include "engine_model.h"

#include "engine/ops/ops.h"

#include <omp.h>

static int dice(struct model_builder *b, int low, int high)
{
    return low + (int)((model_next(b) + 1) / 2 * (float)(high - low + 1)) % (high - low + 1);
}

static const struct shape *shape_of(const struct model_run *r, int output)
{
    return &graph_output(&r->g, output)->shape;
}

struct conv_case {
    int spatial, group, x[3], k[3], stride[3], dilation[3], begin[3], end[3];
    int images, in, out; /* channels of one group */
};

static void conv_random(struct model_builder *b, struct conv_case *c)
{
    *c = (struct conv_case){.spatial = dice(b, 1, 3), .group = dice(b, 1, 3),
                            .images = dice(b, 1, 2), .in = dice(b, 1, 3), .out = dice(b, 1, 6)};
    for (int i = 0; i < 3; i++) {
        int used = i >= 3 - c->spatial;
        c->k[i] = used ? dice(b, 1, 3) : 1;
        c->stride[i] = used ? dice(b, 1, 3) : 1;
        c->dilation[i] = used ? dice(b, 1, 2) : 1;
        c->begin[i] = used ? dice(b, 0, 2) : 0;
        c->end[i] = used ? dice(b, 0, 2) : 0;
        c->x[i] = used ? dice(b, 5, 9) : 1;
    }
}

static struct model_builder *conv_model(struct model_builder *b, const struct conv_case *c)
{
    int n = c->spatial, first = 3 - n, channels = c->in * c->group;
    const int *x = c->x + first, *k = c->k + first;
    model_input(b, "x", DTYPE_F32, 2 + n, c->images, channels, x[0], x[n > 1], x[n > 2 ? 2 : 0]);
    model_random(b, "w", 2 + n, c->out * c->group, c->in, k[0], k[n > 1], k[n > 2 ? 2 : 0]);
    model_random(b, "b", 1, c->out * c->group);
    model_node(b, "Conv", "x w b", "y");
    model_int(b, "group", c->group);
    const int *s = c->stride + first, *d = c->dilation + first, *p = c->begin + first,
              *q = c->end + first;
    int64_t *pads = arena_array(&b->arena, 6, sizeof *pads);
    for (int i = 0; i < n; i++) {
        pads[i] = p[i];
        pads[n + i] = q[i];
    }
    model_ints(b, "strides", n, s[0], s[n > 1], s[n > 2 ? 2 : 0]);
    model_ints(b, "dilations", n, d[0], d[n > 1], d[n > 2 ? 2 : 0]);
    model_list(b, "pads", 2 * n, pads);
    model_output(b, "y");
    return b;
}

static double conv_at(const struct conv_case *c, const float *x, const float *w, int image, int o,
                      const int y[3])
{
    double sum = 0;
    int group = o / c->out;
    for (int i = 0; i < c->in; i++)
        for (int kd = 0; kd < c->k[0]; kd++)
            for (int kh = 0; kh < c->k[1]; kh++)
                for (int kw = 0; kw < c->k[2]; kw++) {
                    int k[3] = {kd, kh, kw}, at[3], inside = 1;
                    for (int d = 0; d < 3; d++) {
                        at[d] = y[d] * c->stride[d] + k[d] * c->dilation[d] - c->begin[d];
                        inside &= at[d] >= 0 && at[d] < c->x[d];
                    }
                    int channel = (image * c->group + group) * c->in + i;
                    int from = ((channel * c->x[0] + at[0]) * c->x[1] + at[1]) * c->x[2] + at[2];
                    int tap = (((o * c->in + i) * c->k[0] + kd) * c->k[1] + kh) * c->k[2] + kw;
                    sum += inside ? (double)x[from] * (double)w[tap] : 0;
                }
    return sum;
}

static void conv_check(const struct conv_case *c, const struct model_run *r, const float *w,
                       const float *bias)
{
    const float *have = r->outputs[0];
    int size[3], n = c->spatial;
    for (int d = 0; d < 3; d++)
        size[d] = d < 3 - n ? 1 : (int)shape_of(r, 0)->dims[2 + d - (3 - n)];
    for (int image = 0, i = 0; image < c->images; image++)
        for (int o = 0; o < c->out * c->group; o++)
            for (int p = 0; p < size[0] * size[1] * size[2]; p++, i++) {
                int y[3] = {p / size[2] / size[1], p / size[2] % size[1], p % size[2]};
                double want = conv_at(c, r->inputs[0], w, image, o, y) + (double)bias[o];
                assert_true(fabs(want - (double)have[i]) < 1e-5);
            }
}

static void test_conv(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (int i = 0; i < 60; i++) {
        struct model_builder *b = model_new(17);
        struct conv_case c;
        b->seed = seed;
        conv_random(b, &c);
        seed = b->seed;
        conv_model(b, &c);
        const struct model_run *r = model_runs(b, NULL);
        conv_check(&c, r, b->initializers[0].tensor.data, b->initializers[1].tensor.data);
    }
}

static void gemm_check(const struct model_builder *b, const struct model_run *r, int m, int n,
                       int k, int ta, int tb, double alpha, double beta)
{
    const float *x = r->inputs[0], *w = b->initializers[0].tensor.data,
                *c = b->initializers[1].tensor.data, *y = r->outputs[0];
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            double sum = 0;
            for (int p = 0; p < k; p++)
                sum += (double)x[ta ? p * m + i : i * k + p] *
                       (double)w[tb ? j * k + p : p * n + j];
            sum = alpha * sum + beta * (double)c[j];
            assert_true(fabs(sum - (double)y[i * n + j]) < 2e-5 * sqrt(k));
        }
}

static void test_gemm(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) {
        struct model_builder *b = model_new(17);
        b->seed = (uint64_t)i + 1;
        int m = dice(b, 1, 9), n = dice(b, 1, i % 5 ? 20 : 300), k = dice(b, 1, 40), ta = i & 1,
            tb = i >> 1 & 1;
        model_input(b, "x", DTYPE_F32, 2, ta ? k : m, ta ? m : k);
        model_random(b, "w", 2, tb ? n : k, tb ? k : n);
        model_random(b, "c", 1, n);
        model_node(b, "Gemm", "x w c", "y");
        model_int(b, "transA", ta);
        model_int(b, "transB", tb);
        model_float(b, "alpha", 0.5f);
        model_float(b, "beta", 2);
        model_output(b, "y");
        const struct model_run *r = model_runs(b, NULL);
        gemm_check(b, r, m, n, k, ta, tb, 0.5, 2);
    }
}

/* Vectors, and batches that broadcast both ways. */
static void test_matmul_shapes(void **state)
{
    (void)state;
    static const struct {
        struct shape a, b, y;
    } cases[] = {
        {{1, {4}}, {1, {4}}, {0, {0}}},
        {{1, {4}}, {2, {4, 3}}, {1, {3}}},
        {{2, {5, 4}}, {1, {4}}, {1, {5}}},
        {{4, {2, 1, 5, 4}}, {3, {3, 4, 6}}, {4, {2, 3, 5, 6}}},
        {{3, {1, 5, 4}}, {4, {2, 3, 4, 6}}, {4, {2, 3, 5, 6}}},
        {{1, {4}}, {3, {2, 4, 3}}, {2, {2, 3}}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model_builder *b = model_new(17);
        const struct shape *p = &cases[i].a, *q = &cases[i].b;
        model_input(b, "a", DTYPE_F32, p->rank, (int)p->dims[0], (int)p->dims[1], (int)p->dims[2],
                    (int)p->dims[3]);
        model_input(b, "b", DTYPE_F32, q->rank, (int)q->dims[0], (int)q->dims[1], (int)q->dims[2],
                    (int)q->dims[3]);
        model_node(b, "MatMul", "a b", "y");
        model_output(b, "y");
        const struct model_run *r = model_runs(b, NULL);
        assert_true(shape_equal(shape_of(r, 0), &cases[i].y));
        /* The last element of each is the last row times the last column. */
        int64_t n = q->rank > 1 ? q->dims[q->rank - 1] : 1, k = 4;
        const float *x = r->inputs[0], *w = r->inputs[1], *y = r->outputs[0];
        int64_t last = shape_elements(shape_of(r, 0)) - 1;
        x += shape_elements(p) - k;
        w += shape_elements(q) - 1 - (k - 1) * n;
        double sum = 0;
        for (int64_t j = 0; j < k; j++)
            sum += (double)x[j] * (double)w[j * n];
        assert_true(fabs(sum - (double)y[last]) < 1e-5);
    }
    struct model_builder *b = model_new(17);
    model_input(b, "a", DTYPE_F32, 3, 2, 5, 4);
    model_input(b, "b", DTYPE_F32, 3, 3, 4, 6);
    model_node(b, "MatMul", "a b", "y");
    model_refused(b, ERROR_FORMAT, "float32 2x5x4 and float32 3x4x6 cannot be multiplied");
}

/* Attention is Softmax(q k^T scale + mask) v for each head; long enough for more than a block. */
static void test_attention(void **state)
{
    (void)state;
    enum { S = 300, H = 2, D = 3, W = H * D };
    float *x = calloc(S * 3 * W, sizeof *x), *mask = calloc(S * S, sizeof *mask), y[S * W];
    struct model_builder *b = model_new(17);
    for (int i = 0; i < S * 3 * W; i++)
        x[i] = 3 * model_next(b);
    for (int i = 0; i < S * S; i++)
        mask[i] = i % 7 == 0 ? -INFINITY : model_next(b);
    const struct tensor in[2] = {{DTYPE_F32, {3, {1, S, 3 * W}}, x},
                                 {DTYPE_F32, {2, {S, S}}, mask}};
    struct tensor out = {DTYPE_F32, {3, {1, S, W}}, y};
    struct node n = {.op = &op_attention, .input_count = 2, .a = {.heads = H, .scale = 0.7f}};
    assert_int_equal(op_attention.reference(&n, in, &out, NULL), 0);
    for (int h = 0; h < H; h++)
        for (int s = 0; s < S; s += 37) {
            double weights[S], sum = 0;
            for (int t = 0; t < S; t++) {
                double score = 0;
                for (int d = 0; d < D; d++)
                    score += (double)x[s * 3 * W + h * D + d] *
                             (double)x[t * 3 * W + W + h * D + d];
                sum += weights[t] = exp(score * 0.7 + (double)mask[s * S + t]);
            }
            for (int d = 0; d < D; d++) {
                double want = 0;
                for (int t = 0; t < S; t++)
                    want += weights[t] / sum * (double)x[t * 3 * W + 2 * W + h * D + d];
                assert_true(fabs(want - (double)y[s * W + h * D + d]) < 1e-5);
            }
        }
    free(x);
    free(mask);
}

static const float *bits_on_threads(struct model_builder *b, int threads)
{
    omp_set_num_threads(threads);
    b->seed = 5;
    return model_runs(b, NULL)->outputs[0];
}

/* The same bits, however many threads. */
static void test_threads(void **state)
{
    (void)state;
    struct model_builder *b = model_new(17);
    int before = omp_get_max_threads();
    model_input(b, "x", DTYPE_F32, 4, 2, 6, 11, 13);
    model_random(b, "w", 4, 10, 6, 3, 3);
    model_random(b, "m", 2, 9, 70);
    model_node(b, "Conv", "x w", "c");
    model_node(b, "AveragePool", "c", "p");
    model_ints(b, "kernel_shape", 2, 1, 3);
    model_node(b, "MatMul", "p m", "t");
    model_node(b, "Softmax", "t", "s");
    model_node(b, "Tanh", "s", "y");
    model_output(b, "y");
    const float *one = bits_on_threads(b, 1), *three = bits_on_threads(b, 3);
    omp_set_num_threads(before);
    enum { BYTES = 2 * 10 * 9 * 70 * 4 };
    assert_memory_equal(one, three, BYTES);
}

/* Every half float survives double and back; ties go to even; too much becomes infinite. */
static void test_half(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 65536; i++) {
        uint16_t h = (uint16_t)i, back;
        double x;
        load_real(DTYPE_F16, &h, 0, 1, 1, &x);
        store_real(DTYPE_F16, &back, 0, 1, &x);
        if ((h & 0x7c00) == 0x7c00 && (h & 0x3ff))
            assert_true(isnan(x));
        else
            assert_int_equal(back, h);
    }
    static const struct {
        double x;
        uint16_t bits;
    } cases[] = {{1 + 0x1p-11, 0x3c00}, {1 + 3 * 0x1p-11, 0x3c02}, {65519, 0x7bff},
                 {65520, 0x7c00}, {0x1p-25, 0}, {0x1.8p-24, 2}, {0x1.ffep-15, 0x0400},
                 {-2, 0xc000}, {-0.0, 0x8000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint16_t bits;
        store_real(DTYPE_F16, &bits, 0, 1, &cases[i].x);
        assert_int_equal(bits, cases[i].bits);
    }
}

static void test_saturation(void **state)
{
    (void)state;
    const double in[] = {NAN, 1e300, -1e300, -1.9, 255.9};
    int8_t i8[5];
    uint8_t u8[5];
    int64_t i64[5];
    uint64_t u64[5];
    store_real(DTYPE_I8, i8, 0, 5, in);
    store_real(DTYPE_U8, u8, 0, 5, in);
    store_real(DTYPE_I64, i64, 0, 5, in);
    store_real(DTYPE_U64, u64, 0, 5, in);
    assert_memory_equal(i8, ((int8_t[]){0, 127, -128, -1, 127}), sizeof i8);
    assert_memory_equal(u8, ((uint8_t[]){0, 255, 0, 0, 255}), sizeof u8);
    assert_true(i64[1] > INT64_MAX - 2048 && i64[2] == INT64_MIN);
    assert_true(u64[1] > UINT64_MAX - 4096 && u64[2] == 0);
}

/* One operator over two constants, folded when built: its int64 result. */
static void int_pair(const char *op, enum dtype type, int64_t a, int64_t c, int64_t want)
{
    struct model_builder *b = model_new(17);
    int64_t have;
    model_constant(b, "a", type, &(struct shape){0}, &a);
    model_constant(b, "c", type, &(struct shape){0}, &c);
    model_node(b, op, "a c", "y");
    model_output(b, "y");
    const struct value *y = graph_output(model_build(b), 0);
    load_int(y->type, y->constant, 0, 1, 1, &have);
    assert_int_equal(have, want);
}

static void test_integers(void **state)
{
    (void)state;
    int_pair("Div", DTYPE_I64, 7, 0, 0);
    int_pair("Div", DTYPE_I64, INT64_MIN, -1, INT64_MIN);
    int_pair("Div", DTYPE_I64, -7, 2, -3);
    int_pair("Mod", DTYPE_I64, -7, 3, 2);
    int_pair("Mod", DTYPE_I64, 7, -3, -2);
    int_pair("Mod", DTYPE_I64, INT64_MIN, -1, 0);
    int_pair("Mod", DTYPE_I64, 5, 0, 0);
    int_pair("Add", DTYPE_I64, INT64_MAX, 1, INT64_MIN);
    int_pair("Mul", DTYPE_I64, INT64_MAX, 2, -2);
    int_pair("Pow", DTYPE_I64, 3, 5, 243);
    int_pair("Pow", DTYPE_I64, 2, -1, 0);
    int_pair("Pow", DTYPE_I64, -1, -3, -1);
    int_pair("Div", DTYPE_U64, -2, 2, INT64_MAX);
    int_pair("Max", DTYPE_U64, -1, 5, -1);
    int_pair("Less", DTYPE_U64, 5, -1, 1);
    int_pair("Less", DTYPE_I64, 5, -1, 0);
    int_pair("Min", DTYPE_I64, (int64_t)1 << 62, ((int64_t)1 << 62) + 1, (int64_t)1 << 62);
}

/* Slices with the ends numbers can have. */
static void slice(int64_t start, int64_t end, int64_t step, int count, int64_t first)
{
    struct model_builder *b = model_new(17);
    const int64_t data[5] = {0, 1, 2, 3, 4};
    const struct shape one = {1, {1}};
    model_constant(b, "x", DTYPE_I64, &(struct shape){1, {5}}, data);
    model_constant(b, "s", DTYPE_I64, &one, &start);
    model_constant(b, "e", DTYPE_I64, &one, &end);
    model_constant(b, "t", DTYPE_I64, &one, &step);
    model_node(b, "Slice", "x s e - t", "y");
    model_output(b, "y");
    const struct value *y = graph_output(model_build(b), 0);
    assert_int_equal(y->shape.dims[0], count);
    for (int i = 0; i < count; i++)
        assert_int_equal(((const int64_t *)y->constant)[i], first + i * step);
}

static void test_slices(void **state)
{
    (void)state;
    slice(0, INT64_MAX, 1, 5, 0);
    slice(INT64_MIN, INT64_MAX, 2, 3, 0);
    slice(-1, INT64_MIN, -1, 5, 4);
    slice(INT64_MAX, INT64_MIN, -2, 3, 4);
    slice(3, 1, 1, 0, 0);
    slice(1, -1, 1, 3, 1);
    slice(2, INT64_MAX, INT64_MAX, 1, 2);
    slice(4, INT64_MIN, INT64_MIN, 1, 4);
    slice(7, 9, 1, 0, 0);
}

/* Transpose, Expand and Concat against index arithmetic, on random ranks. */
static void test_transposes(void **state)
{
    (void)state;
    for (int round = 0; round < 30; round++) {
        struct model_builder *b = model_new(17);
        b->seed = (uint64_t)round + 3;
        int d[4], p[4] = {0, 1, 2, 3};
        for (int i = 0; i < 4; i++) {
            d[i] = dice(b, 1, 4);
            int j = dice(b, 0, 3), t = p[i];
            p[i] = p[j];
            p[j] = t;
        }
        model_input(b, "x", DTYPE_F32, 4, d[0], d[1], d[2], d[3]);
        model_node(b, "Transpose", "x", "y");
        model_ints(b, "perm", 4, p[0], p[1], p[2], p[3]);
        model_output(b, "y");
        const struct model_run *r = model_runs(b, NULL);
        const struct shape *s = shape_of(r, 0);
        for (int64_t i = 0; i < shape_elements(s); i++) {
            int64_t at[4], rest = i, from = 0;
            for (int k = 3; k >= 0; k--) {
                at[p[k]] = rest % s->dims[k];
                rest /= s->dims[k];
            }
            for (int k = 0; k < 4; k++)
                from = from * d[k] + at[k];
            assert_true(((float *)r->outputs[0])[i] == ((float *)r->inputs[0])[from]);
        }
    }
}

/* Before opset 13 all dimensions from the axis on are one. */
static void test_old_softmax(void **state)
{
    (void)state;
    for (int64_t opset = 12; opset <= 13; opset++) {
        struct model_builder *b = model_x(opset, 3, 2, 3, 4);
        model_node(b, "Softmax", "x", "y");
        if (opset == 13)
            model_int(b, "axis", 1);
        model_output(b, "y");
        const struct model_run *r = model_runs(b, NULL);
        const float *y = r->outputs[0];
        double all = 0, column = 0;
        for (int i = 0; i < 12; i++)
            all += (double)y[i];
        for (int i = 0; i < 3; i++)
            column += (double)y[i * 4];
        assert_true(opset == 12 ? fabs(all - 1) < 1e-6 : fabs(column - 1) < 1e-6);
        assert_false(opset == 12 ? fabs(column - 1) < 1e-2 : fabs(all - 1) < 1e-2);
    }
}

/* Entries are found by name, domain and opset; each has what it needs. */
static void test_table(void **state)
{
    (void)state;
    size_t count;
    int known;
    const struct op *const *ops = op_all(&count);
    assert_true(count > 100);
    for (size_t i = 0; i < count; i++) {
        assert_true(ops[i]->infer && ops[i]->reference && ops[i]->since <= ops[i]->until);
        assert_true(ops[i]->inputs_max <= NODE_INPUT_MAX && ops[i]->outputs_max >= 1);
        assert_ptr_equal(op_find(ops[i]->domain, ops[i]->name, ops[i]->since, &known), ops[i]);
        if (i && !strcmp(ops[i]->name, ops[i - 1]->name) &&
            !strcmp(ops[i]->domain, ops[i - 1]->domain))
            assert_true(ops[i]->since > ops[i - 1]->until);
    }
    assert_ptr_equal(op_find("wattle", "Conv", 17, NULL), &op_fused_conv);
    assert_null(op_find("", "Linear", 17, &known));
    assert_int_equal(known, 0);
    assert_null(op_find("", "Gelu", 19, &known));
    assert_int_equal(known, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv),         cmocka_unit_test(test_gemm),
        cmocka_unit_test(test_matmul_shapes), cmocka_unit_test(test_attention),
        cmocka_unit_test(test_threads),      cmocka_unit_test(test_half),
        cmocka_unit_test(test_saturation),   cmocka_unit_test(test_integers),
        cmocka_unit_test(test_slices),       cmocka_unit_test(test_transposes),
        cmocka_unit_test(test_old_softmax),  cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, models_free);
}
