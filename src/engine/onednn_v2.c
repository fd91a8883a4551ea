#include "engine/onednn.h"

#include "base/arena.h"

#include <dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if DNNL_VERSION_MAJOR != 2
#error "onednn_v2.c is for oneDNN 2.x"
#endif

struct onednn {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    struct arena arena; /* of layouts */
};

struct layout {
    dnnl_memory_desc_t desc;
};

struct primitive {
    struct onednn *owner;
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t handle;
    const struct layout *layouts[OPERAND_COUNT];
    dnnl_memory_t memories[OPERAND_COUNT];
    dnnl_exec_arg_t args[OPERAND_COUNT];
    int arg_count;
};

enum { LAYOUT_MEMORY_MAX = 256 << 20 };

static int fail(struct error *e, dnnl_status_t status, const char *what)
{
    if (status == dnnl_out_of_memory)
        return error_memory(e);
    if (status == dnnl_unimplemented || status == dnnl_invalid_arguments)
        return error_set(e, ERROR_UNSUPPORTED, "oneDNN has no kernel for this %s", what);
    return error_set(e, ERROR_UNSUPPORTED, "oneDNN: %s failed with status %d", what, (int)status);
}

int onednn_open(struct onednn **out, struct error *e)
{
    *out = NULL;
    struct onednn *d = calloc(1, sizeof *d);
    if (!d)
        return error_memory(e);
    arena_init(&d->arena, LAYOUT_MEMORY_MAX);
    dnnl_status_t status = dnnl_engine_create(&d->engine, dnnl_cpu, 0);
    if (status == dnnl_success)
        status = dnnl_stream_create(&d->stream, d->engine, dnnl_stream_default_flags);
    if (status != dnnl_success) {
        onednn_close(d);
        return fail(e, status, "processor");
    }
    *out = d;
    return 0;
}

void onednn_close(struct onednn *d)
{
    if (!d)
        return;
    if (d->stream)
        dnnl_stream_destroy(d->stream);
    if (d->engine)
        dnnl_engine_destroy(d->engine);
    arena_release(&d->arena);
    free(d);
}

static const char *isa_name(dnnl_cpu_isa_t isa)
{
    static const struct {
        dnnl_cpu_isa_t isa;
        const char *name;
    } names[] = {
        {dnnl_cpu_isa_avx512_core_amx, "avx512_core_amx"},
        {dnnl_cpu_isa_avx512_core_bf16, "avx512_core_bf16"},
        {dnnl_cpu_isa_avx512_core_vnni, "avx512_core_vnni"},
        {dnnl_cpu_isa_avx512_core, "avx512_core"},
        {dnnl_cpu_isa_avx2_vnni, "avx2_vnni"},
        {dnnl_cpu_isa_avx2, "avx2"},
        {dnnl_cpu_isa_avx, "avx"},
        {dnnl_cpu_isa_sse41, "sse41"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].isa == isa)
            return names[i].name;
    return "generic";
}

void onednn_describe(char text[64])
{
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, 64, "oneDNN %d.%d.%d (%s)", v->major, v->minor, v->patch,
             isa_name(dnnl_get_effective_cpu_isa()));
}

int onednn_has_avx512(void)
{
    return (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core;
}

/* ---- layouts ---- */

static const struct layout *keep(struct onednn *d, const dnnl_memory_desc_t *desc)
{
    struct layout *l = arena_alloc(&d->arena, sizeof *l);
    if (l)
        l->desc = *desc;
    return l;
}

static int to_dims(const struct shape *s, dnnl_dims_t dims)
{
    if (s->rank == 0) {
        dims[0] = 1;
        return 1;
    }
    for (int i = 0; i < s->rank; i++)
        dims[i] = s->dims[i];
    return s->rank;
}

const struct layout *layout_strided(struct onednn *d, const struct shape *s, const int64_t *strides)
{
    dnnl_dims_t dims, steps = {1};
    int rank = to_dims(s, dims);
    for (int i = 0; i < s->rank; i++)
        steps[i] = strides[i];
    dnnl_memory_desc_t desc;
    if (dnnl_memory_desc_init_by_strides(&desc, rank, dims, dnnl_f32, steps) != dnnl_success)
        return NULL;
    return keep(d, &desc);
}

const struct layout *layout_plain(struct onednn *d, const struct shape *s)
{
    int64_t strides[RANK_MAX], stride = 1;
    for (int i = s->rank - 1; i >= 0; i--) {
        strides[i] = stride;
        stride *= s->dims[i] > 1 ? s->dims[i] : 1;
    }
    return layout_strided(d, s, strides);
}

static const struct layout *tagged(struct onednn *d, const struct shape *s, dnnl_format_tag_t tag)
{
    dnnl_dims_t dims;
    int rank = to_dims(s, dims);
    dnnl_memory_desc_t desc;
    if (dnnl_memory_desc_init_by_tag(&desc, rank, dims, dnnl_f32, tag) != dnnl_success)
        return NULL;
    return keep(d, &desc);
}

const struct layout *layout_channels_last(struct onednn *d, const struct shape *s)
{
    switch (s->rank) {
    case 3:
        return tagged(d, s, dnnl_nwc);
    case 4:
        return tagged(d, s, dnnl_nhwc);
    case 5:
        return tagged(d, s, dnnl_ndhwc);
    default:
        return NULL;
    }
}

const struct layout *layout_blocked(struct onednn *d, const struct shape *s, int block)
{
    switch (s->rank) {
    case 3:
        return tagged(d, s, block == 8 ? dnnl_nCw8c : dnnl_nCw16c);
    case 4:
        return tagged(d, s, block == 8 ? dnnl_nChw8c : dnnl_nChw16c);
    case 5:
        return tagged(d, s, block == 8 ? dnnl_nCdhw8c : dnnl_nCdhw16c);
    default:
        return NULL;
    }
}

const struct layout *layout_any(struct onednn *d, const struct shape *s)
{
    return tagged(d, s, dnnl_format_tag_any);
}

int layout_strides(const struct layout *l, int64_t strides[RANK_MAX])
{
    const dnnl_memory_desc_t *m = &l->desc;
    if (m->format_kind != dnnl_blocked || m->format_desc.blocking.inner_nblks > 0 ||
        m->ndims > RANK_MAX)
        return -1;
    for (int i = 0; i < m->ndims; i++)
        strides[i] = m->format_desc.blocking.strides[i];
    return 0;
}

int layout_equal(const struct layout *a, const struct layout *b)
{
    return a && b && (a == b || dnnl_memory_desc_equal(&a->desc, &b->desc));
}

/* Floats from an index to the next in each dimension, 0 where there is only one. -1 when blocks or
 * padding make that no single number. */
static int single_strides(const dnnl_memory_desc_t *m, int64_t *strides)
{
    const dnnl_blocking_desc_t *b = &m->format_desc.blocking;
    if (m->format_kind != dnnl_blocked || b->inner_nblks > 1 || m->offset0 != 0)
        return -1;
    for (int i = 0; i < m->ndims; i++) {
        if (m->dims[i] != m->padded_dims[i])
            return -1;
        strides[i] = m->dims[i] == 1 ? 0 : b->strides[i];
    }
    if (b->inner_nblks == 0)
        return 0;
    dnnl_dim_t block = b->inner_blks[0], blocked = b->inner_idxs[0];
    if (m->dims[blocked] > block && b->strides[blocked] != block)
        return -1;
    strides[blocked] = m->dims[blocked] == 1 ? 0 : 1;
    return 0;
}

int layout_same_places(const struct layout *a, const struct layout *b)
{
    int64_t x[DNNL_MAX_NDIMS], y[DNNL_MAX_NDIMS];
    if (layout_equal(a, b))
        return 1;
    if (!a || !b || a->desc.ndims != b->desc.ndims || single_strides(&a->desc, x) ||
        single_strides(&b->desc, y))
        return 0;
    for (int i = 0; i < a->desc.ndims; i++)
        if (a->desc.dims[i] != b->desc.dims[i] || x[i] != y[i])
            return 0;
    return 1;
}

size_t layout_bytes(const struct layout *l)
{
    return dnnl_memory_desc_get_size(&l->desc);
}

/* ---- primitives ---- */

struct query {
    enum operand operand;
    dnnl_query_t query;
    int index;
    int arg;
};

static const struct query queries[] = {
    {OPERAND_SRC, dnnl_query_src_md, 0, DNNL_ARG_SRC},
    {OPERAND_WEIGHTS, dnnl_query_weights_md, 0, DNNL_ARG_WEIGHTS},
    {OPERAND_BIAS, dnnl_query_weights_md, 1, DNNL_ARG_BIAS},
    {OPERAND_DST, dnnl_query_dst_md, 0, DNNL_ARG_DST},
    {OPERAND_SCRATCH, dnnl_query_scratchpad_md, 0, DNNL_ARG_SCRATCHPAD},
};

static int add_operand(struct primitive *p, enum operand operand, int arg,
                       const dnnl_memory_desc_t *desc)
{
    if (!desc || desc->ndims == 0 || dnnl_memory_desc_get_size(desc) == 0)
        return 0;
    p->layouts[operand] = keep(p->owner, desc);
    if (!p->layouts[operand] || dnnl_memory_create(&p->memories[operand], desc, p->owner->engine,
                                                   DNNL_MEMORY_NONE) != dnnl_success)
        return -1;
    p->args[p->arg_count++] = (dnnl_exec_arg_t){arg, p->memories[operand]};
    return 0;
}

static int add_operands(struct primitive *p)
{
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        const struct query *q = &queries[i];
        const dnnl_memory_desc_t *desc = dnnl_primitive_desc_query_md(p->desc, q->query, q->index);
        if (add_operand(p, q->operand, q->arg, desc))
            return -1;
    }
    return 0;
}

/* Takes over desc. */
static int finish(struct onednn *d, dnnl_primitive_desc_t desc, const char *what,
                  struct primitive **out, struct error *e)
{
    struct primitive *p = calloc(1, sizeof *p);
    if (!p) {
        dnnl_primitive_desc_destroy(desc);
        return error_memory(e);
    }
    p->owner = d;
    p->desc = desc;
    dnnl_status_t status = dnnl_primitive_create(&p->handle, desc);
    if (status == dnnl_success && add_operands(p))
        status = dnnl_out_of_memory;
    if (status != dnnl_success) {
        primitive_free(p);
        return fail(e, status, what);
    }
    *out = p;
    return 0;
}

/* What oneDNN calls it; dnnl_alg_kind_undef when it has no such function. */
static dnnl_alg_kind_t function_of(enum activation a)
{
    switch (a) {
    case ACT_RELU:
    case ACT_LEAKY_RELU:
        return dnnl_eltwise_relu;
    case ACT_CLIP:
        return dnnl_eltwise_clip;
    case ACT_GELU_ERF:
        return dnnl_eltwise_gelu_erf;
    case ACT_TANH:
        return dnnl_eltwise_tanh;
    case ACT_SIGMOID:
        return dnnl_eltwise_logistic;
    case ACT_ELU:
        return dnnl_eltwise_elu;
    case ACT_SWISH:
        return dnnl_eltwise_swish;
    case ACT_HARD_SWISH:
        return dnnl_eltwise_hardswish;
    case ACT_MISH:
        return dnnl_eltwise_mish;
    case ACT_GELU_TANH:
        return dnnl_eltwise_gelu_tanh;
    default:
        return dnnl_alg_kind_undef;
    }
}

/* Relu and LeakyRelu are one function there, told apart by the slope below 0. */
static float alpha_of(const struct epilogue *ep)
{
    return ep->activation == ACT_RELU ? 0.0f : ep->low;
}

static dnnl_status_t append_activation(dnnl_post_ops_t ops, const struct epilogue *ep)
{
    dnnl_alg_kind_t function = function_of(ep->activation);
    if (ep->activation == ACT_NONE)
        return dnnl_success;
    if (ep->activation == ACT_HARD_SIGMOID) {
        dnnl_status_t status = dnnl_post_ops_append_eltwise(ops, 1.0f, dnnl_eltwise_linear, ep->low,
                                                            ep->high);
        return status != dnnl_success
                   ? status
                   : dnnl_post_ops_append_eltwise(ops, 1.0f, dnnl_eltwise_clip, 0.0f, 1.0f);
    }
    if (function == dnnl_alg_kind_undef)
        return dnnl_unimplemented;
    return dnnl_post_ops_append_eltwise(ops, 1.0f, function, alpha_of(ep), ep->high);
}

/* Scratch memory is the caller's: it lies in the engine's arena and costs no allocation. */
static dnnl_status_t make_attributes(const struct epilogue *ep, dnnl_primitive_attr_t *out)
{
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(out);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_scratchpad_mode(*out, dnnl_scratchpad_mode_user);
    if (status != dnnl_success || !ep)
        return status;
    status = dnnl_post_ops_create(&ops);
    if (status == dnnl_success && ep->sum)
        status = dnnl_post_ops_append_sum(ops, 1.0f);
    if (status == dnnl_success)
        status = append_activation(ops, ep);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_post_ops(*out, ops);
    if (ops)
        dnnl_post_ops_destroy(ops);
    return status;
}

/* From an operation descriptor (any of dnnl_*_desc_t) to a primitive. */
static int from_operation(struct onednn *d, const void *operation, const struct epilogue *ep,
                          const char *what, struct primitive **out, struct error *e)
{
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_status_t status = make_attributes(ep, &attributes);
    if (status == dnnl_success)
        status = dnnl_primitive_desc_create(&desc, operation, attributes, d->engine, NULL);
    if (attributes)
        dnnl_primitive_attr_destroy(attributes);
    if (status != dnnl_success)
        return fail(e, status, what);
    return finish(d, desc, what, out, e);
}

static void to_spatial(const struct attributes *a, dnnl_dims_t strides, dnnl_dims_t dilations,
                       dnnl_dims_t begin, dnnl_dims_t end)
{
    for (int i = 0; i < a->spatial; i++) {
        strides[i] = a->strides[i];
        dilations[i] = a->dilations[i] - 1;
        begin[i] = a->pads_begin[i];
        end[i] = a->pads_end[i];
    }
}

/* oneDNN gives grouped weights a dimension of their own in front. */
static dnnl_status_t weights_desc(dnnl_memory_desc_t *desc, const struct shape *w, int64_t group,
                                  dnnl_format_tag_t tag)
{
    dnnl_dims_t dims;
    int rank = 0;
    if (group > 1)
        dims[rank++] = group;
    dims[rank++] = w->dims[0] / group;
    for (int i = 1; i < w->rank; i++)
        dims[rank++] = w->dims[i];
    if (tag != dnnl_format_tag_any) /* row-major */
        tag = rank == 3 ? dnnl_abc : rank == 4 ? dnnl_abcd : rank == 5 ? dnnl_abcde : dnnl_abcdef;
    return dnnl_memory_desc_init_by_tag(desc, rank, dims, dnnl_f32, tag);
}

static void bias_desc(dnnl_memory_desc_t *desc, int64_t size)
{
    dnnl_dims_t dims = {size};
    dnnl_memory_desc_init_by_tag(desc, 1, dims, dnnl_f32, dnnl_a);
}

int primitive_conv(struct onednn *d, const struct attributes *a, enum conv_method method,
                   const struct layout *src, const struct shape *weights, int bias,
                   const struct layout *dst, const struct epilogue *epilogue,
                   struct primitive **out, struct error *e)
{
    if (!src || !dst)
        return error_memory(e);
    dnnl_memory_desc_t w, b;
    dnnl_dims_t strides, dilations, begin, end;
    to_spatial(a, strides, dilations, begin, end);
    bias_desc(&b, weights->dims[0]);
    dnnl_convolution_desc_t op;
    dnnl_status_t status = weights_desc(&w, weights, a->group, dnnl_format_tag_any);
    if (status == dnnl_success)
        status = dnnl_dilated_convolution_forward_desc_init(
            &op, dnnl_forward_inference,
            method == CONV_WINOGRAD ? dnnl_convolution_winograd : dnnl_convolution_direct,
            &src->desc, &w, bias ? &b : NULL, &dst->desc, strides, dilations, begin, end);
    if (status != dnnl_success)
        return fail(e, status, "convolution");
    return from_operation(d, &op, epilogue, "convolution", out, e);
}

const struct layout *layout_weights(struct onednn *d, const struct shape *weights, int64_t group)
{
    dnnl_memory_desc_t desc;
    if (weights_desc(&desc, weights, group, dnnl_format_tag_undef) != dnnl_success)
        return NULL;
    return keep(d, &desc);
}

/* ConvTranspose's weights lie input by input: I x O/group x kernel. */
const struct layout *layout_weights_transposed(struct onednn *d, const struct shape *weights,
                                               int64_t group)
{
    dnnl_dims_t dims, strides;
    int64_t taps = 1, each = weights->dims[0] / group, outputs = weights->dims[1];
    int rank = 0;
    for (int i = 2; i < weights->rank; i++)
        taps *= weights->dims[i];
    if (group > 1) {
        dims[rank] = group;
        strides[rank++] = each * outputs * taps;
    }
    dims[rank] = outputs;
    strides[rank++] = taps;
    dims[rank] = each;
    strides[rank++] = outputs * taps;
    for (int i = 2; i < weights->rank; i++) {
        taps /= weights->dims[i];
        dims[rank] = weights->dims[i];
        strides[rank++] = taps;
    }
    dnnl_memory_desc_t desc;
    if (dnnl_memory_desc_init_by_strides(&desc, rank, dims, dnnl_f32, strides) != dnnl_success)
        return NULL;
    return keep(d, &desc);
}

int primitive_conv_transpose(struct onednn *d, const struct attributes *a, const struct layout *src,
                             const struct shape *weights, int bias, const struct layout *dst,
                             struct primitive **out, struct error *e)
{
    if (!src || !dst)
        return error_memory(e);
    dnnl_memory_desc_t w, b;
    dnnl_dims_t strides, dilations, begin, end;
    struct shape turned = *weights;
    turned.dims[0] = weights->dims[1] * a->group;
    turned.dims[1] = weights->dims[0] / a->group;
    to_spatial(a, strides, dilations, begin, end);
    bias_desc(&b, turned.dims[0]);
    dnnl_deconvolution_desc_t op;
    dnnl_status_t status = weights_desc(&w, &turned, a->group, dnnl_format_tag_any);
    if (status == dnnl_success)
        status = dnnl_dilated_deconvolution_forward_desc_init(
            &op, dnnl_forward_inference, dnnl_deconvolution_direct, &src->desc, &w,
            bias ? &b : NULL, &dst->desc, strides, dilations, begin, end);
    if (status != dnnl_success)
        return fail(e, status, "transposed convolution");
    return from_operation(d, &op, NULL, "transposed convolution", out, e);
}

int primitive_pool(struct onednn *d, const struct attributes *a, enum pool_kind kind,
                   const struct layout *src, const struct layout *dst, struct primitive **out,
                   struct error *e)
{
    static const dnnl_alg_kind_t algorithms[] = {
        [POOL_MAX] = dnnl_pooling_max,
        [POOL_AVERAGE] = dnnl_pooling_avg_exclude_padding,
        [POOL_AVERAGE_WITH_PADDING] = dnnl_pooling_avg_include_padding,
    };
    if (!src || !dst)
        return error_memory(e);
    dnnl_dims_t strides, dilations, begin, end, kernel;
    to_spatial(a, strides, dilations, begin, end);
    for (int i = 0; i < a->spatial; i++)
        kernel[i] = a->kernel[i];
    dnnl_pooling_v2_desc_t op;
    dnnl_status_t status =
        dnnl_pooling_v2_forward_desc_init(&op, dnnl_forward_inference, algorithms[kind], &src->desc,
                                          &dst->desc, strides, kernel, dilations, begin, end);
    if (status != dnnl_success)
        return fail(e, status, "pooling");
    return from_operation(d, &op, NULL, "pooling", out, e);
}

int primitive_inner_product(struct onednn *d, const struct layout *src,
                            const struct layout *weights, int bias, const struct layout *dst,
                            const struct epilogue *epilogue, struct primitive **out,
                            struct error *e)
{
    if (!src || !weights || !dst)
        return error_memory(e);
    dnnl_memory_desc_t b;
    bias_desc(&b, dst->desc.dims[1]);
    dnnl_inner_product_desc_t op;
    dnnl_status_t status =
        dnnl_inner_product_forward_desc_init(&op, dnnl_forward_inference, &src->desc,
                                             &weights->desc, bias ? &b : NULL, &dst->desc);
    if (status != dnnl_success)
        return fail(e, status, "inner product");
    return from_operation(d, &op, epilogue, "inner product", out, e);
}

int primitive_matmul(struct onednn *d, const struct layout *src, const struct layout *weights,
                     int bias, const struct layout *dst, const struct epilogue *epilogue,
                     struct primitive **out, struct error *e)
{
    if (!src || !weights || !dst)
        return error_memory(e);
    dnnl_dims_t dims;
    int rank = dst->desc.ndims;
    for (int i = 0; i < rank; i++)
        dims[i] = i == rank - 1 ? dst->desc.dims[i] : 1;
    dnnl_memory_desc_t b;
    dnnl_matmul_desc_t op;
    dnnl_status_t status = dnnl_success;
    if (bias) {
        static const dnnl_format_tag_t tags[] = {dnnl_a, dnnl_ab, dnnl_abc, dnnl_abcd, dnnl_abcde,
                                                 dnnl_abcdef};
        status = rank > 6 ? dnnl_unimplemented
                          : dnnl_memory_desc_init_by_tag(&b, rank, dims, dnnl_f32, tags[rank - 1]);
    }
    if (status == dnnl_success)
        status = dnnl_matmul_desc_init(&op, &src->desc, &weights->desc, bias ? &b : NULL,
                                       &dst->desc);
    if (status != dnnl_success)
        return fail(e, status, "matrix product");
    return from_operation(d, &op, epilogue, "matrix product", out, e);
}

int primitive_binary(struct onednn *d, enum binary_kind kind, const struct layout *src,
                     const struct layout *src1, const struct layout *dst, struct primitive **out,
                     struct error *e)
{
    static const dnnl_alg_kind_t algorithms[] = {
        [BINARY_ADD] = dnnl_binary_add, [BINARY_SUB] = dnnl_binary_sub,
        [BINARY_MUL] = dnnl_binary_mul, [BINARY_DIV] = dnnl_binary_div,
        [BINARY_MAX] = dnnl_binary_max, [BINARY_MIN] = dnnl_binary_min,
    };
    if (!src || !src1 || !dst)
        return error_memory(e);
    dnnl_binary_desc_t op;
    dnnl_status_t status =
        dnnl_binary_desc_init(&op, algorithms[kind], &src->desc, &src1->desc, &dst->desc);
    if (status != dnnl_success)
        return fail(e, status, "element-wise operation");
    int code = from_operation(d, &op, NULL, "element-wise operation", out, e);
    if (code)
        return code;
    if (add_operand(*out, OPERAND_WEIGHTS, DNNL_ARG_SRC_1, &src1->desc)) {
        primitive_free(*out);
        *out = NULL;
        return error_memory(e);
    }
    return 0;
}

int primitive_eltwise(struct onednn *d, const struct epilogue *what, const struct layout *both,
                      struct primitive **out, struct error *e)
{
    dnnl_alg_kind_t function = function_of(what->activation);
    if (!both)
        return error_memory(e);
    dnnl_eltwise_desc_t op;
    dnnl_status_t status =
        function == dnnl_alg_kind_undef
            ? dnnl_unimplemented
            : dnnl_eltwise_forward_desc_init(&op, dnnl_forward_inference, function, &both->desc,
                                             alpha_of(what), what->high);
    if (status != dnnl_success)
        return fail(e, status, "activation");
    return from_operation(d, &op, NULL, "activation", out, e);
}

int primitive_concat(struct onednn *d, int axis, int count, const struct layout *const *src,
                     const struct layout *dst, struct primitive **out, struct error *e)
{
    dnnl_memory_desc_t sources[NODE_INPUT_MAX];
    if (!dst || count > NODE_INPUT_MAX)
        return error_memory(e);
    for (int i = 0; i < count; i++) {
        if (!src[i])
            return error_memory(e);
        sources[i] = src[i]->desc;
    }
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_status_t status = make_attributes(NULL, &attributes);
    if (status == dnnl_success)
        status = dnnl_concat_primitive_desc_create(&desc, &dst->desc, count, axis, sources,
                                                   attributes, d->engine);
    if (attributes)
        dnnl_primitive_attr_destroy(attributes);
    if (status != dnnl_success)
        return fail(e, status, "concatenation");
    int code = finish(d, desc, "concatenation", out, e);
    if (code)
        return code;
    (*out)->args[0].arg = DNNL_ARG_MULTIPLE_SRC;
    for (int i = 1; i < count; i++)
        if (add_operand(*out, (enum operand)(OPERAND_SOURCES + i - 1), DNNL_ARG_MULTIPLE_SRC + i,
                        &sources[i])) {
            primitive_free(*out);
            *out = NULL;
            return error_memory(e);
        }
    return 0;
}

int primitive_reorder(struct onednn *d, const struct layout *from, const struct layout *to,
                      struct primitive **out, struct error *e)
{
    if (!from || !to)
        return error_memory(e);
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_status_t status = make_attributes(NULL, &attributes);
    if (status == dnnl_success)
        status = dnnl_reorder_primitive_desc_create(&desc, &from->desc, d->engine, &to->desc,
                                                    d->engine, attributes);
    if (attributes)
        dnnl_primitive_attr_destroy(attributes);
    if (status != dnnl_success)
        return fail(e, status, "change of layout");
    return finish(d, desc, "change of layout", out, e);
}

void primitive_free(struct primitive *p)
{
    if (!p)
        return;
    for (int i = 0; i < OPERAND_COUNT; i++)
        if (p->memories[i])
            dnnl_memory_destroy(p->memories[i]);
    if (p->handle)
        dnnl_primitive_destroy(p->handle);
    if (p->desc)
        dnnl_primitive_desc_destroy(p->desc);
    free(p);
}

const struct layout *primitive_layout(const struct primitive *p, enum operand operand)
{
    return p->layouts[operand];
}

const char *primitive_kernel(const struct primitive *p)
{
    const char *name = NULL;
    dnnl_primitive_desc_query(p->desc, dnnl_query_impl_info_str, 0, &name);
    return name ? name : "oneDNN";
}

int primitive_is_slow(const struct primitive *p)
{
    const char *name = primitive_kernel(p);
    return strncmp(name, "ref", 3) == 0 || strstr(name, ":ref") != NULL;
}

void primitive_bind(struct primitive *p, enum operand operand, void *data)
{
    if (p->memories[operand])
        dnnl_memory_set_data_handle(p->memories[operand], data);
}

int primitive_run(struct primitive *p, struct error *e)
{
    dnnl_status_t status =
        dnnl_primitive_execute(p->handle, p->owner->stream, p->arg_count, p->args);
    if (status == dnnl_success)
        return 0;
    return error_set(e, ERROR_MEMORY, "oneDNN kernel %s failed with status %d",
                     primitive_kernel(p), (int)status);
}
