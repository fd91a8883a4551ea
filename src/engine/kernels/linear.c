/* A matrix product with constant weights, three ways: as a 1x1 convolution over rows (fastest where
 * oneDNN's matrix product is not blocked, as on AVX2), as a matrix product, as an inner product. */
#include "engine/choose.h"
#include "engine/kernel.h"
#include "engine/kernels/linear.h"

enum form_of_linear { AS_CONV, AS_MATMUL, AS_INNER_PRODUCT, FORM_COUNT };

struct linear_job {
    struct linear_product p;
    int x, w, bias, residual, y;
    enum form_of_linear forms[FORM_COUNT];
};

static int optional_input(const struct node *n, int index)
{
    return index < n->input_count ? n->inputs[index] : NO_VALUE;
}

static int is_f32(const struct builder *b, int value)
{
    return value == NO_VALUE || b->graph->values[value].type == DTYPE_F32;
}

static int64_t product(const struct shape *s, int count)
{
    int64_t n = 1;
    for (int i = 0; i < count; i++)
        n *= s->dims[i];
    return n;
}

/* Gemm's C may have any shape that broadcasts; only a row of N is a bias here. */
static int bias_fits(const struct builder *b, int bias, int64_t n)
{
    if (bias == NO_VALUE)
        return 1;
    const struct value *v = &b->graph->values[bias];
    return v->constant && v->type == DTYPE_F32 && shape_elements(&v->shape) == n &&
           (n == 1 || v->shape.dims[v->shape.rank - 1] == n);
}

static int describe(const struct builder *b, const struct node *n, struct linear_job *job,
                    struct error *e)
{
    const struct value *x = &b->graph->values[n->inputs[0]], *w = &b->graph->values[n->inputs[1]];
    int last = x->shape.rank - 1;
    *job = (struct linear_job){
        .x = n->inputs[0], .w = n->inputs[1], .y = n->outputs[0], .bias = optional_input(n, 2),
        .residual = n->a.has_residual ? optional_input(n, 3) : NO_VALUE};
    if (!w->constant || w->shape.rank != 2 || last < 0 || n->a.trans_a || !is_f32(b, job->x) ||
        !is_f32(b, job->w) || !is_f32(b, job->residual))
        return error_set(e, ERROR_UNSUPPORTED, "not a product with a constant matrix");
    struct linear_product *p = &job->p;
    *p = (struct linear_product){.m = product(&x->shape, last), .k = x->shape.dims[last],
                                 .n = w->shape.dims[n->a.trans_b ? 0 : 1], .weights = w->constant,
                                 .w_is_nk = n->a.trans_b, .has_bias = job->bias != NO_VALUE};
    if (!bias_fits(b, job->bias, p->n) || p->m * p->k * p->n == 0)
        return error_set(e, ERROR_UNSUPPORTED, "not a row of biases");
    p->epilogue = (struct epilogue){.sum = job->residual != NO_VALUE,
                                    .activation = (enum activation)n->a.activation,
                                    .low = n->a.low, .high = n->a.high};
    return 0;
}

/* ---- the three forms ---- */

static struct shape shape2(int64_t a, int64_t b)
{
    return (struct shape){.rank = 2, .dims = {a, b}};
}

static struct shape shape4(int64_t a, int64_t b, int64_t c, int64_t d)
{
    return (struct shape){.rank = 4, .dims = {a, b, c, d}};
}

/* How the weights lie in the file, in the dimensions the form gives them. */
static const struct layout *weights_from(struct builder *b, const struct linear_product *p,
                                         enum form_of_linear form)
{
    int64_t along_n = p->w_is_nk ? p->k : 1, along_k = p->w_is_nk ? 1 : p->n;
    struct shape nk = shape2(p->n, p->k), kn = shape2(p->k, p->n);
    struct shape conv = shape4(p->n, p->k, 1, 1);
    switch (form) {
    case AS_CONV:
        return layout_strided(b->onednn, &conv, (int64_t[]){along_n, along_k, 1, 1});
    case AS_MATMUL:
        return layout_strided(b->onednn, &kn, (int64_t[]){along_k, along_n});
    default:
        return layout_strided(b->onednn, &nk, (int64_t[]){along_n, along_k});
    }
}

/* Rows become pixels: row-major M x K is one image of M pixels with K channels, channels last. */
static int make_conv(struct builder *b, const struct linear_product *p, struct primitive **out,
                     struct error *e)
{
    const struct attributes a = {.spatial = 2, .group = 1, .kernel = {1, 1}, .strides = {1, 1},
                                 .dilations = {1, 1}};
    struct shape x = shape4(1, p->k, p->m, 1), y = shape4(1, p->n, p->m, 1);
    struct shape w = shape4(p->n, p->k, 1, 1);
    return primitive_conv(b->onednn, &a, CONV_DIRECT, layout_channels_last(b->onednn, &x), &w,
                          p->has_bias, layout_channels_last(b->onednn, &y),
                          &p->epilogue, out, e);
}

static int make_product(struct builder *b, const struct linear_product *p,
                        enum form_of_linear form, struct primitive **out, struct error *e)
{
    struct shape x = shape2(p->m, p->k), y = shape2(p->m, p->n);
    struct shape w = form == AS_MATMUL ? shape2(p->k, p->n) : shape2(p->n, p->k);
    return (form == AS_MATMUL ? primitive_matmul : primitive_inner_product)(
        b->onednn, layout_plain(b->onednn, &x), layout_any(b->onednn, &w), p->has_bias,
        layout_plain(b->onednn, &y), &p->epilogue, out, e);
}

static int make(struct builder *b, const void *job_, int candidate, struct primitive **out,
                struct error *e)
{
    const struct linear_job *job = job_;
    enum form_of_linear form = job->forms[candidate];
    return form == AS_CONV ? make_conv(b, &job->p, out, e)
                           : make_product(b, &job->p, form, out, e);
}

static int pick(struct builder *b, struct linear_job *job, struct primitive **out,
                enum form_of_linear *form, struct error *e)
{
    int blocked_matmul = onednn_has_avx512(), candidate;
    job->forms[0] = blocked_matmul ? AS_MATMUL : AS_CONV;
    job->forms[1] = blocked_matmul ? AS_CONV : AS_MATMUL;
    job->forms[2] = AS_INNER_PRODUCT;
    const struct linear_product *p = &job->p;
    const int64_t key[] = {p->m, p->k, p->n, p->epilogue.sum, p->epilogue.activation, p->has_bias};
    struct choice c = {.job = job, .count = FORM_COUNT, .rivals = FORM_COUNT, .make = make,
                       .key = tuner_key(1, key, sizeof key)};
    int code = choose(b, &c, out, &candidate, e);
    if (!code)
        *form = job->forms[candidate];
    return code;
}

/* ---- the step ---- */

/* The product adds to its destination: the residual's own memory, or a copy of it. */
static int residual_slot(struct builder *b, const struct linear_job *job, int *slot,
                         struct error *e)
{
    int source;
    const struct layout *plain = builder_plain(b, job->y);
    int code = builder_read_plain(b, job->residual, &source, e);
    if (code)
        return code;
    if (!builder_may_overwrite(b, job->residual))
        return builder_copy(b, source, job->y, plain, slot, e);
    *slot = source;
    builder_write_over(b, job->y, plain, source);
    return 0;
}

/* The source and the weights. */
static int connect(struct builder *b, const struct linear_job *job, const struct primitive *p,
                   enum form_of_linear form, int *slots, struct error *e)
{
    int code = builder_read_plain(b, job->x, &slots[OPERAND_SRC], e);
    return code ? code
                : builder_pack(b, job->p.weights, weights_from(b, &job->p, form),
                               primitive_layout(p, OPERAND_WEIGHTS), &slots[OPERAND_WEIGHTS], e);
}

/* The bias and the destination of a node. */
static int connect_node(struct builder *b, const struct linear_job *job, int *slots,
                        struct error *e)
{
    int code = 0;
    if (job->bias != NO_VALUE)
        code = builder_read_plain(b, job->bias, &slots[OPERAND_BIAS], e);
    if (code)
        return code;
    return job->residual != NO_VALUE ? residual_slot(b, job, &slots[OPERAND_DST], e)
                                     : builder_write(b, job->y, NULL, &slots[OPERAND_DST], e);
}

/* Bias and destination are the node's unless their slots are given. */
static int add_step(struct builder *b, struct linear_job *job, int *slots, struct error *e)
{
    struct primitive *p;
    enum form_of_linear form;
    int code = pick(b, job, &p, &form, e);
    if (code)
        return code;
    code = connect(b, job, p, form, slots, e);
    if (!code && slots[OPERAND_DST] == NO_SLOT)
        code = connect_node(b, job, slots, e);
    if (code) {
        primitive_free(p);
        return code;
    }
    return builder_primitive(b, p, slots, e);
}

int linear_step(struct builder *b, const struct linear_product *p, int x, int bias, int y,
                struct error *e)
{
    struct linear_job job = {.p = *p, .x = x};
    return add_step(b, &job, (int[]){NO_SLOT, NO_SLOT, bias, y}, e);
}

int kernel_linear(struct builder *b, const struct node *n, struct error *e)
{
    struct linear_job job;
    int code = describe(b, n, &job, e);
    return code ? code : add_step(b, &job, (int[]){NO_SLOT, NO_SLOT, NO_SLOT, NO_SLOT}, e);
}
