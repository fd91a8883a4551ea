/* Convolutions, Winograd and transposed convolutions. */
#include "engine_kernels.h"

#include "engine/winograd.h"

struct conv_case {
    int64_t n, c, h, w, o, kh, kw, sh, sw, dh, dw, pt, pl, pb, pr, group;
    int bias, residual;
    enum activation activation;
};

static void check_conv(struct conv_case c, uint32_t seed)
{
    struct sample s;
    begin(&s, seed);
    struct attributes a = {.spatial = 2, .kernel = {c.kh, c.kw}, .strides = {c.sh, c.sw},
                           .dilations = {c.dh, c.dw}, .pads_begin = {c.pt, c.pl},
                           .pads_end = {c.pb, c.pr}, .group = c.group,
                           .activation = c.activation, .low = -2.0f, .high = 3.0f,
                           .has_bias = c.bias, .has_residual = c.residual};
    int64_t ho = (c.h + c.pt + c.pb - (c.kh - 1) * c.dh - 1) / c.sh + 1;
    int64_t wo = (c.w + c.pl + c.pr - (c.kw - 1) * c.dw - 1) / c.sw + 1;
    int x = add_input(&s, SHAPE(c.n, c.c, c.h, c.w));
    int w = add_constant(&s, SHAPE(c.o, c.c / c.group, c.kh, c.kw));
    int bias = c.bias ? add_constant(&s, SHAPE(c.o)) : NO_VALUE;
    int residual = c.residual ? add_input(&s, SHAPE(c.n, c.o, ho, wo)) : NO_VALUE;
    add_output(&s, NODE(&s, &op_fused_conv, a, x, w, bias, residual));
    check(&s, CONV_WAYS, 2e-5);
}

static void convolutions_that_models_use(void **state)
{
    (void)state;
    static const struct conv_case cases[] = {
        {1, 3, 23, 23, 16, 7, 7, 2, 2, 1, 1, 3, 3, 3, 3, 1, 1, 0, ACT_RELU},
        {1, 3, 20, 20, 32, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 0, ACT_CLIP},
        {1, 64, 14, 14, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, ACT_RELU},
        {2, 16, 9, 11, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, ACT_RELU},
        {1, 16, 7, 7, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, ACT_CLIP},
        {1, 24, 8, 8, 16, 3, 3, 1, 1, 1, 1, 0, 1, 2, 0, 1, 1, 0, ACT_NONE},
        {1, 64, 7, 7, 256, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, ACT_RELU},
        {2, 32, 14, 14, 64, 1, 1, 2, 2, 1, 1, 0, 0, 0, 0, 1, 1, 0, ACT_NONE},
        {1, 48, 15, 15, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 48, 1, 0, ACT_CLIP},
        {1, 48, 15, 15, 48, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 48, 1, 0, ACT_CLIP},
        {1, 32, 9, 9, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 4, 1, 0, ACT_RELU},
        {3, 16, 1, 1, 24, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, ACT_SIGMOID},
        {1, 3, 20, 20, 32, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 0, ACT_SWISH},
        {1, 48, 15, 15, 48, 5, 5, 2, 2, 1, 1, 2, 2, 2, 2, 48, 1, 0, ACT_SWISH},
        {1, 48, 15, 15, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 48, 1, 0, ACT_HARD_SWISH},
        {1, 40, 7, 7, 96, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, ACT_SWISH},
        {1, 40, 1, 1, 96, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, ACT_HARD_SIGMOID},
        {1, 32, 14, 14, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, ACT_SWISH},
        {1, 32, 13, 11, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, ACT_MISH},
        {1, 32, 9, 9, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, ACT_LEAKY_RELU},
        {1, 20, 9, 9, 28, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 4, 1, 0, ACT_SWISH},
        /* nearly what Winograd is for, and at its edges */
        {1, 32, 9, 11, 32, 3, 3, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 0, ACT_RELU},
        {1, 32, 9, 11, 32, 3, 3, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 0, ACT_NONE},
        {1, 64, 9, 9, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 0, ACT_RELU},
        {2, 32, 9, 10, 48, 3, 3, 1, 1, 1, 1, 2, 0, 1, 1, 1, 1, 1, ACT_CLIP},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check_conv(cases[i], (uint32_t)i);
}

static struct conv_case random_conv(struct sample *r)
{
    struct conv_case c = {.n = between(r, 1, 2), .h = between(r, 5, 17), .w = between(r, 5, 17),
                          .kh = between(r, 1, 5), .kw = between(r, 1, 5), .sh = between(r, 1, 2),
                          .sw = between(r, 1, 2), .dh = between(r, 1, 2), .dw = between(r, 1, 2),
                          .group = 1, .bias = (int)draw(r, 2), .residual = draw(r, 4) == 0,
                          .activation = (enum activation)draw(r, ACT_FUSED_LAST + 1)};
    int64_t *pads[] = {&c.pt, &c.pl, &c.pb, &c.pr};
    for (int i = 0; i < 4; i++)
        *pads[i] = between(r, 0, i % 2 ? c.kw : c.kh) ? between(r, 0, 2) : 0;
    c.c = between(r, 1, 20);
    c.o = between(r, 1, 40);
    if (draw(r, 3) == 0) { /* grouped, often depthwise */
        c.group = between(r, 2, 9);
        c.c = c.group * between(r, 1, 3);
        c.o = c.group * between(r, 1, 3);
    }
    if ((c.kh - 1) * c.dh + 1 > c.h + c.pt + c.pb)
        c.kh = c.dh = 1;
    if ((c.kw - 1) * c.dw + 1 > c.w + c.pl + c.pr)
        c.kw = c.dw = 1;
    return c;
}

static void convolutions_of_any_shape(void **state)
{
    (void)state;
    struct sample random = {.random = 11};
    for (uint32_t i = 0; i < 40; i++)
        check_conv(random_conv(&random), i);
}

/* The residual is also an output: it must survive the addition. */
static void convolution_keeps_a_residual_others_need(void **state)
{
    (void)state;
    struct sample s;
    begin(&s, 5);
    struct attributes a = {.spatial = 2, .kernel = {3, 3}, .strides = {1, 1}, .dilations = {1, 1},
                           .pads_begin = {1, 1}, .pads_end = {1, 1}, .group = 1};
    int x = add_input(&s, SHAPE(1, 32, 8, 8)), w = add_constant(&s, SHAPE(32, 32, 3, 3));
    int first = NODE(&s, &op_fused_conv, a, x, w);
    a.has_residual = 1;
    int second = NODE(&s, &op_fused_conv, a, first, w, NO_VALUE, first);
    add_output(&s, NODE(&s, &op_fused_conv, a, second, w, NO_VALUE, first));
    add_output(&s, first);
    check(&s, CONV_WAYS, 2e-5);
}

static void convolutions_in_1d_and_3d(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        struct sample s;
        begin(&s, i);
        struct attributes a = {.spatial = i % 2 ? 3 : 1, .kernel = {3, 3, 3}, .strides = {1, 1, 1},
                               .dilations = {1, 1, 1}, .pads_begin = {1, 1, 1},
                               .pads_end = {1, 0, 1}, .group = i < 2 ? 1 : 2};
        int x = add_input(&s, i % 2 ? SHAPE(1, 8, 6, 7, 5) : SHAPE(2, 8, 19));
        int64_t per_group = 8 / a.group;
        int w = add_constant(&s, i % 2 ? SHAPE(12, per_group, 3, 3, 3) : SHAPE(12, per_group, 3));
        add_output(&s, NODE(&s, &op_fused_conv, a, x, w));
        check(&s, CONV_WAYS, 2e-5);
    }
}

/* Its results are small beside those that it is given, and rounded as those are. */
static int is_bounded(enum activation a)
{
    return a == ACT_TANH || a == ACT_SIGMOID || a == ACT_HARD_SIGMOID;
}

static int64_t place(const struct winograd_view *v, int64_t n, int64_t c, int64_t i, int64_t j)
{
    return n * v->image + c / 8 * v->channels8 + i * v->row + j * v->pixel + c % 8;
}

/* Channels last, or blocks of eight channels. */
static struct winograd_view view_of(int channels_last, const struct shape *s)
{
    int64_t c = s->dims[1], h = s->dims[2], w = s->dims[3];
    if (channels_last)
        return (struct winograd_view){c * h * w, 8, c * w, c};
    return (struct winograd_view){c * h * w, 8 * h * w, 8 * w, 8};
}

/* From plain order into the layout, or back. */
static void rearrange(const struct winograd_view *v, const struct shape *s, float *viewed,
                      float *plain, int back)
{
    for (int64_t n = 0; n < s->dims[0]; n++)
        for (int64_t c = 0; c < s->dims[1]; c++)
            for (int64_t i = 0; i < s->dims[2]; i++)
                for (int64_t j = 0; j < s->dims[3]; j++) {
                    float *there = &viewed[place(v, n, c, i, j)];
                    if (back)
                        *plain++ = *there;
                    else
                        *there = *plain++;
                }
}

static void run_winograd(struct sample *s, struct winograd *win, int x, const float *weights, int y,
                         double tolerance)
{
    const struct shape *from = shape_at(s, x), *to = shape_at(s, y);
    size_t out_bytes = (size_t)shape_bytes(to, DTYPE_F32);
    float *in = malloc((size_t)shape_bytes(from, DTYPE_F32)), *out = malloc(out_bytes);
    float *packed = malloc(winograd_weight_bytes(win)), *plain = malloc(out_bytes);
    float *scratch = malloc(winograd_scratch_bytes(win));
    rearrange(&win->in, from, in, s->data[x], 0);
    winograd_pack(win, weights, packed);
    for (int threads = 1; threads <= 2; threads++) {
        omp_set_num_threads(threads);
        memset(scratch, 0xff, winograd_scratch_bytes(win));
        winograd_run(win, in, packed, NULL, NULL, out, scratch);
        rearrange(&win->out, to, out, plain, 1);
        compare(s, plain, y, tolerance);
    }
    free(in);
    free(out);
    free(packed);
    free(plain);
    free(scratch);
}

/* Both tile sizes and both layouts directly, whatever the tuner would choose. */
static void check_winograd(int m, int channels_last, struct conv_case c, uint32_t seed)
{
    struct sample s;
    begin(&s, seed);
    struct attributes a = {.spatial = 2, .kernel = {3, 3}, .strides = {1, 1}, .dilations = {1, 1},
                           .pads_begin = {c.pt, c.pl}, .pads_end = {c.pb, c.pr}, .group = 1,
                           .activation = c.activation, .low = -2.0f, .high = 3.0f};
    int x = add_input(&s, SHAPE(c.n, c.c, c.h, c.w)), w = add_constant(&s, SHAPE(c.o, c.c, 3, 3));
    int y = NODE(&s, &op_fused_conv, a, x, w);
    add_output(&s, y);
    run_reference(&s);
    const struct shape *out = shape_at(&s, y);
    struct winograd win = {.m = m, .batch = c.n, .channels = c.c, .outputs = c.o,
                           .in_height = c.h, .in_width = c.w, .out_height = out->dims[2],
                           .out_width = out->dims[3], .pad_top = c.pt, .pad_left = c.pl,
                           .in = view_of(channels_last, shape_at(&s, x)),
                           .out = view_of(channels_last, out), .activation = c.activation,
                           .low = -2.0f, .high = 3.0f};
    if (winograd_possible(&win)) {
        winograd_prepare(&win);
        run_winograd(&s, &win, x, s.g.values[w].constant, y,
                     (m == 2 ? 5e-6 : 5e-5) * (is_bounded(c.activation) ? 40 : 1));
    }
    finish(&s);
}

static void winograd_of_any_shape(void **state)
{
    (void)state;
    struct sample random = {.random = 3};
    for (uint32_t i = 0; i < 24; i++) {
        struct conv_case c = {.n = between(&random, 1, 3), .c = 8 * between(&random, 1, 9),
                              .o = 16 * between(&random, 1, 5), .h = between(&random, 3, 30),
                              .w = between(&random, 3, 30), .pt = between(&random, 0, 2),
                              .pl = between(&random, 0, 2), .pb = between(&random, 0, 2),
                              .pr = between(&random, 0, 2),
                              .activation = (enum activation)draw(&random, ACT_FUSED_LAST + 1)};
        check_winograd(i % 2 ? 2 : 4, i / 2 % 2, c, i);
    }
}

static void check_conv_transpose(struct conv_case c, const int64_t *extra, uint32_t seed)
{
    struct sample s;
    begin(&s, seed);
    int x = add_input(&s, SHAPE(c.n, c.c, c.h, c.w));
    int w = add_constant(&s, SHAPE(c.c, c.o / c.group, c.kh, c.kw));
    int bias = add_constant(&s, SHAPE(c.o));
    with_ints(&s, "strides", 2, (int64_t[]){c.sh, c.sw});
    with_ints(&s, "dilations", 2, (int64_t[]){c.dh, c.dw});
    with_ints(&s, "pads", 4, (int64_t[]){c.pt, c.pl, c.pb, c.pr});
    with_ints(&s, "output_padding", 2, extra);
    with_int(&s, "group", c.group);
    int y = onnx_value(&s, "ConvTranspose", c.bias ? 3 : 2, (int[]){x, w, bias});
    add_output(&s, y);
    add_output(&s, convolved(&s, y));
    check(&s, 0, 2e-5);
}

static void transposed_convolutions(void **state)
{
    (void)state;
    static const struct conv_case cases[] = {
        {1, 32, 7, 9, 16, 2, 2, 2, 2, 1, 1, 0, 0, 0, 0, 1, 1, 0, ACT_NONE},
        {2, 16, 5, 5, 24, 4, 4, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 0, ACT_NONE},
        {1, 8, 6, 7, 8, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 0, 0, ACT_NONE},
        {1, 5, 6, 7, 3, 3, 2, 2, 1, 1, 2, 1, 0, 0, 1, 1, 1, 0, ACT_NONE},
        {1, 16, 6, 6, 16, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 16, 1, 0, ACT_NONE},
        {1, 16, 6, 6, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 4, 0, 0, ACT_NONE},
        {1, 32, 1, 1, 64, 4, 4, 1, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0, ACT_NONE},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const int64_t extra[2] = {i % 3 == 2, i % 3 == 2};
        check_conv_transpose(cases[i], extra, (uint32_t)i);
    }
}

/* Weights and bias that are computed: the reference's. */
static void transposed_convolutions_with_computed_weights(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        struct sample s;
        begin(&s, i);
        s.fast_only = 0;
        int x = add_input(&s, SHAPE(1, 8, 5, 5));
        int w = i ? add_constant(&s, SHAPE(8, 8, 3, 3)) : add_input(&s, SHAPE(8, 8, 3, 3));
        add_output(&s, ONNX(&s, "ConvTranspose", x, w, add_input(&s, SHAPE(8))));
        check(&s, 0, 2e-5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_that_models_use),
        cmocka_unit_test(convolutions_of_any_shape),
        cmocka_unit_test(convolution_keeps_a_residual_others_need),
        cmocka_unit_test(convolutions_in_1d_and_3d),
        cmocka_unit_test(winograd_of_any_shape),
        cmocka_unit_test(transposed_convolutions),
        cmocka_unit_test(transposed_convolutions_with_computed_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
