/* QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear: to and from 8- and 16-bit integers. */
#include "engine/ops/ops.h"
#include "model/half.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define TYPES_BYTE (TYPE_BIT(DTYPE_U8) | TYPE_BIT(DTYPE_I8))
#define TYPES_QUANT (TYPES_BYTE | TYPE_BIT(DTYPE_U16) | TYPE_BIT(DTYPE_I16))
#define TYPES_SCALE (TYPES_F32 | TYPE_BIT(DTYPE_F16) | TYPE_BIT(DTYPE_BF16))

/* Which scale and zero point belong to an element: a.mode. */
enum spread { ONE, ALONG_AXIS /* a.axis */, IN_BLOCKS /* a.axis; of a.group elements */ };

/* ceil(x / block) without overflow. */
static int64_t blocks_of(int64_t x, int64_t block)
{
    return x / block + (x % block != 0);
}

static int fits_blocks(const struct shape *x, const struct shape *scale, int axis, int64_t block)
{
    if (scale->rank != x->rank || block < 1)
        return 0;
    for (int i = 0; i < x->rank; i++)
        if (scale->dims[i] != (i == axis ? blocks_of(x->dims[i], block) : x->dims[i]))
            return 0;
    return 1;
}

/* Reads axis and block_size, and decides how scale and zero point (inputs 1 and 2) spread. */
static int read_spread(const struct infer_context *c, struct error *e)
{
    const struct shape *x = &infer_input(c, 0)->shape, *scale = &infer_input(c, 1)->shape;
    const struct value *zero = infer_input(c, 2);
    struct attributes *a = &c->node->a;
    int64_t axis = 1, block = 0;
    int code = c->opset >= 13 ? infer_attribute_int(c, "axis", 1, &axis, e) : 0;
    if (!code && c->opset >= 21)
        code = infer_attribute_int(c, "block_size", 0, &block, e);
    if (code)
        return code;
    int one = scale->rank <= 1 && shape_elements(scale) == 1;
    if (!one) {
        code = infer_axis(c, "attribute 'axis'", axis, x->rank, &a->axis, e);
        if (code)
            return code;
    }
    a->mode = one ? ONE : scale->rank == 1 && !block ? ALONG_AXIS : IN_BLOCKS;
    a->group = block;
    int fits = a->mode == ONE ||
               (a->mode == ALONG_AXIS ? scale->dims[0] == x->dims[a->axis]
                                      : fits_blocks(x, scale, (int)a->axis, block));
    if (zero)
        fits &= one ? shape_elements(&zero->shape) == 1 : shape_equal(&zero->shape, scale);
    char s[96], t[96];
    return fits ? 0 : infer_fail(c, e, "scale %s and its zero point do not fit %s",
                                 shape_text(scale, s, sizeof s), shape_text(x, t, sizeof t));
}

/* Elements [at, at + count) of a row lie side by side and have the same place along the axis. */
struct row {
    int64_t at, count;
    int64_t scale, step; /* the first one's scale, and how far it is to the next one's */
};

struct rows {
    int64_t size, inner, block; /* along the axis, behind it */
    int64_t pieces;             /* of a row, CHUNK elements each */
    int64_t total;
    int mode;
};

static struct rows rows_of(const struct node *n, const struct shape *x)
{
    struct rows r = {.size = 1, .inner = shape_elements(x), .block = n->a.group, .mode = n->a.mode};
    int64_t elements = r.inner;
    if (r.mode != ONE && elements) {
        r.size = x->dims[n->a.axis];
        r.inner = 1;
        for (int i = (int)n->a.axis + 1; i < x->rank; i++)
            r.inner *= x->dims[i];
    }
    r.pieces = (r.inner + CHUNK - 1) / CHUNK;
    r.total = elements ? elements / r.inner * r.pieces : 0;
    return r;
}

static struct row row_of(const struct rows *r, int64_t job)
{
    int64_t line = job / r->pieces, first = job % r->pieces * CHUNK;
    int64_t place = line % r->size, blocks = r->mode == IN_BLOCKS ? blocks_of(r->size, r->block) : 0;
    struct row row = {.at = line * r->inner + first,
                      .count = r->inner - first < CHUNK ? r->inner - first : CHUNK};
    if (r->mode == ALONG_AXIS)
        row.scale = place;
    else if (r->mode == IN_BLOCKS) {
        row.scale = (line / r->size * blocks + place / r->block) * r->inner + first;
        row.step = 1;
    }
    return row;
}

/* As a number of that type would be. */
static double rounded(enum dtype type, double x)
{
    return type == DTYPE_F16    ? half_to_double(half_from_double(x))
           : type == DTYPE_BF16 ? bfloat_to_double(bfloat_from_double(x))
                                : (double)(float)x;
}

static double lowest_of(enum dtype type)
{
    return type == DTYPE_I8 ? INT8_MIN : type == DTYPE_I16 ? INT16_MIN : 0;
}

static double highest_of(enum dtype type)
{
    return type == DTYPE_I8    ? INT8_MAX
           : type == DTYPE_I16 ? INT16_MAX
           : type == DTYPE_U8  ? UINT8_MAX
                               : UINT16_MAX;
}

double quantized(enum dtype type, double x, double zero)
{
    double y = nearbyint(x) + zero, low = lowest_of(type), high = highest_of(type);
    return isnan(y) ? low : y < low ? low : y > high ? high : y;
}

/* The numbers of a row, and the scale and the zero point of each. */
static void load_row(const struct tensor *in, const struct row *row, double *x, double *scale,
                     double *zero)
{
    load_real(in[0].type, in[0].data, row->at, 1, row->count, x);
    load_real(in[1].type, in[1].data, row->scale, row->step, row->count, scale);
    if (in[2].data)
        load_real(in[2].type, in[2].data, row->scale, row->step, row->count, zero);
    else
        memset(zero, 0, (size_t)row->count * sizeof *zero);
}

/* ---- QuantizeLinear ---- */

/* The zero point's type, or output_dtype, or uint8. */
static int quantized_type(const struct infer_context *c, enum dtype *type, struct error *e)
{
    const struct value *zero = infer_input(c, 2);
    int64_t given = 0;
    int code = c->opset >= 21 ? infer_attribute_int(c, "output_dtype", 0, &given, e) : 0;
    if (code)
        return code;
    *type = zero ? zero->type : given ? (enum dtype)given : DTYPE_U8;
    if (given < 0 || given >= 32 || *type >= 32 || !(TYPES_QUANT & TYPE_BIT(*type)))
        return infer_unsupported(c, e, "an output of type %s; 8- and 16-bit integers are supported",
                                 dtype_name(*type));
    if (zero && given && given != (int64_t)zero->type)
        return infer_fail(c, e, "attribute 'output_dtype' is not the zero point's type");
    return 0;
}

static int infer_quantize(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0), *scale = infer_input(c, 1);
    enum dtype type = DTYPE_U8;
    int64_t precision = 0;
    int code = infer_type(c, 0, TYPES_SCALE | TYPE_BIT(DTYPE_I32), e);
    if (!code)
        code = infer_type(c, 1, TYPES_SCALE, e);
    if (!code && x->type != scale->type && x->type != DTYPE_I32 && c->opset < 23)
        code = infer_fail(c, e, "input and scale of types %s and %s", dtype_name(x->type),
                          dtype_name(scale->type));
    infer_ignore(c, "saturate"); /* of 8-bit floats only */
    if (!code && c->opset >= 23)
        code = infer_attribute_int(c, "precision", 0, &precision, e);
    if (!code && precision && (precision < 0 || precision >= 32 ||
                               !(TYPES_SCALE & TYPE_BIT(precision))))
        code = infer_unsupported(c, e, "attribute 'precision' is %" PRId64, precision);
    if (!code)
        code = quantized_type(c, &type, e);
    if (!code)
        code = read_spread(c, e);
    c->node->a.to = precision ? (enum dtype)precision : scale->type;
    return code ? code : infer_output(c, 0, type, &x->shape, e);
}

static int run_quantize(const struct node *n, const struct tensor *in, struct tensor *out,
                        struct error *e)
{
    (void)e;
    const struct rows r = rows_of(n, &in->shape);
#pragma omp parallel for schedule(static)
    for (int64_t job = 0; job < r.total; job++) {
        const struct row row = row_of(&r, job);
        double x[CHUNK], scale[CHUNK], zero[CHUNK];
        load_row(in, &row, x, scale, zero);
        for (int64_t i = 0; i < row.count; i++)
            x[i] = quantized(out->type, rounded(n->a.to, x[i] / scale[i]), zero[i]);
        store_real(out->type, out->data, row.at, row.count, x);
    }
    return 0;
}

/* ---- DequantizeLinear ---- */

static int infer_dequantize(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, 0), *scale = infer_input(c, 1),
                       *zero = infer_input(c, 2);
    int64_t type = 0;
    int code = infer_type(c, 0, TYPES_QUANT | TYPE_BIT(DTYPE_I32), e);
    if (!code)
        code = infer_type(c, 1, TYPES_SCALE, e);
    if (!code && zero && zero->type != x->type)
        code = infer_fail(c, e, "input and zero point of types %s and %s", dtype_name(x->type),
                          dtype_name(zero->type));
    if (!code && c->opset >= 23)
        code = infer_attribute_int(c, "output_dtype", 0, &type, e);
    if (!code && type && (type < 0 || type >= 32 || !(TYPES_SCALE & TYPE_BIT(type))))
        code = infer_unsupported(c, e, "attribute 'output_dtype' is %" PRId64, type);
    if (!code)
        code = read_spread(c, e);
    return code ? code : infer_output(c, 0, type ? (enum dtype)type : scale->type, &x->shape, e);
}

static int run_dequantize(const struct node *n, const struct tensor *in, struct tensor *out,
                          struct error *e)
{
    (void)e;
    const struct rows r = rows_of(n, &in->shape);
#pragma omp parallel for schedule(static)
    for (int64_t job = 0; job < r.total; job++) {
        const struct row row = row_of(&r, job);
        double x[CHUNK], scale[CHUNK], zero[CHUNK];
        load_row(in, &row, x, scale, zero);
        for (int64_t i = 0; i < row.count; i++)
            x[i] = (double)((float)(x[i] - zero[i]) * (float)scale[i]);
        store_real(out->type, out->data, row.at, row.count, x);
    }
    return 0;
}

/* ---- DynamicQuantizeLinear ---- */

static int infer_dynamic(const struct infer_context *c, struct error *e)
{
    int code = infer_type(c, 0, TYPES_F32, e);
    if (!code)
        code = infer_output(c, 0, DTYPE_U8, &infer_input(c, 0)->shape, e);
    if (!code)
        code = infer_output(c, 1, DTYPE_F32, &(struct shape){0}, e);
    return code ? code : infer_output(c, 2, DTYPE_U8, &(struct shape){0}, e);
}

static int run_dynamic(const struct node *n, const struct tensor *in, struct tensor *out,
                       struct error *e)
{
    (void)n, (void)e;
    const float *x = in->data;
    float low = 0, high = 0;
    int64_t total = shape_elements(&in->shape);
    for (int64_t i = 0; i < total; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    float scale = (low == high ? 1 : high - low) / 255;
    double zero = quantized(DTYPE_U8, (double)(-low / scale), 0);
    if (out[1].data)
        *(float *)out[1].data = scale;
    if (out[2].data)
        *(uint8_t *)out[2].data = (uint8_t)zero;
    for (int64_t i = 0; i < total && out[0].data; i++)
        ((uint8_t *)out[0].data)[i] = (uint8_t)quantized(DTYPE_U8, (double)(x[i] / scale), zero);
    return 0;
}

static const struct op ops[] = {
    {OP_SINCE(10, 99, "QuantizeLinear", 2, 3, 1, infer_quantize, run_quantize)},
    {OP_SINCE(10, 99, "DequantizeLinear", 2, 3, 1, infer_dequantize, run_dequantize)},
    {OP_SINCE(11, 99, "DynamicQuantizeLinear", 1, 1, 3, infer_dynamic, run_dynamic)},
};
const struct op_family family_quantize = OP_FAMILY(ops);
