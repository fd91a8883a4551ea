/* Elements of any type, and walks over arrays with strides. */
#include "engine/ops/ops.h"

#include <math.h>
#include <string.h>

static float from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint32_t to_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static double half_to_real(uint16_t h)
{
    int exponent = h >> 10 & 31, fraction = h & 1023;
    double magnitude;
    if (exponent == 31)
        magnitude = fraction ? NAN : INFINITY;
    else if (exponent)
        magnitude = ldexp(1024 + fraction, exponent - 25);
    else
        magnitude = ldexp(fraction, -24);
    return h & 0x8000 ? -magnitude : magnitude;
}

/* Rounds to nearest, ties to even: rint does that, in units of the last place kept. */
static uint16_t real_to_half(double x)
{
    uint16_t sign = signbit(x) ? 0x8000 : 0;
    double magnitude = fabs(x);
    if (isnan(x))
        return sign | 0x7e00;
    if (magnitude >= 65520)
        return sign | 0x7c00;
    int exponent;
    frexp(magnitude, &exponent);
    if (exponent < -13 || magnitude == 0)
        exponent = -13; /* smaller numbers share the smallest exponent */
    int units = (int)rint(ldexp(magnitude, 11 - exponent));
    return (uint16_t)(sign | (units + ((exponent + 13) << 10)));
}

static uint16_t real_to_bfloat(double x)
{
    uint32_t bits = to_bits((float)x);
    if (isnan(x))
        return 0x7fc0;
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

int type_is_real(enum dtype t)
{
    return t < 32 && (TYPES_REAL & TYPE_BIT(t)) != 0;
}

#define EACH(T, VALUE) \
    { \
        const T *p = (const T *)data + offset; \
        for (int64_t i = 0; i < n; i++, p += stride) \
            out[i] = VALUE; \
        break; \
    }

void load_real(enum dtype t, const void *data, int64_t offset, int64_t stride, int64_t n,
               double *out)
{
    switch (t) {
    case DTYPE_F32: EACH(float, *p)
    case DTYPE_F64: EACH(double, *p)
    case DTYPE_F16: EACH(uint16_t, half_to_real(*p))
    case DTYPE_BF16: EACH(uint16_t, from_bits((uint32_t)*p << 16))
    case DTYPE_I8: EACH(int8_t, *p)
    case DTYPE_I16: EACH(int16_t, *p)
    case DTYPE_I32: EACH(int32_t, *p)
    case DTYPE_I64: EACH(int64_t, (double)*p)
    case DTYPE_U8: EACH(uint8_t, *p)
    case DTYPE_U16: EACH(uint16_t, *p)
    case DTYPE_U32: EACH(uint32_t, *p)
    case DTYPE_U64: EACH(uint64_t, (double)*p)
    case DTYPE_BOOL: EACH(uint8_t, *p != 0)
    default: memset(out, 0, (size_t)n * sizeof *out); /* infer lets no other type pass */
    }
}

void load_int(enum dtype t, const void *data, int64_t offset, int64_t stride, int64_t n,
              int64_t *out)
{
    switch (t) {
    case DTYPE_I8: EACH(int8_t, *p) /* NOLINT(bugprone-signed-char-misuse): numbers */
    case DTYPE_I16: EACH(int16_t, *p)
    case DTYPE_I32: EACH(int32_t, *p)
    case DTYPE_I64: EACH(int64_t, *p)
    case DTYPE_U8: EACH(uint8_t, *p)
    case DTYPE_U16: EACH(uint16_t, *p)
    case DTYPE_U32: EACH(uint32_t, *p)
    case DTYPE_U64: EACH(uint64_t, (int64_t)*p)
    case DTYPE_BOOL: EACH(uint8_t, *p != 0)
    default: memset(out, 0, (size_t)n * sizeof *out);
    }
}

#undef EACH

/* C leaves a conversion that does not fit undefined. */
static double clamp(double x, double low, double high)
{
    return isnan(x) ? 0 : x < low ? low : x > high ? high : x;
}

#define EACH(T, VALUE) \
    { \
        T *p = (T *)data + offset; \
        for (int64_t i = 0; i < n; i++) \
            p[i] = (T)(VALUE); \
        break; \
    }

/* The largest doubles below 2^63 and 2^64. */
static const double i64_high = 9223372036854774784.0, u64_high = 18446744073709549568.0;

void store_real(enum dtype t, void *data, int64_t offset, int64_t n, const double *in)
{
    switch (t) {
    case DTYPE_F32: EACH(float, in[i])
    case DTYPE_F64: EACH(double, in[i])
    case DTYPE_F16: EACH(uint16_t, real_to_half(in[i]))
    case DTYPE_BF16: EACH(uint16_t, real_to_bfloat(in[i]))
    case DTYPE_I8: EACH(int8_t, clamp(in[i], INT8_MIN, INT8_MAX))
    case DTYPE_I16: EACH(int16_t, clamp(in[i], INT16_MIN, INT16_MAX))
    case DTYPE_I32: EACH(int32_t, clamp(in[i], INT32_MIN, INT32_MAX))
    case DTYPE_I64: EACH(int64_t, clamp(in[i], (double)INT64_MIN, i64_high))
    case DTYPE_U8: EACH(uint8_t, clamp(in[i], 0, UINT8_MAX))
    case DTYPE_U16: EACH(uint16_t, clamp(in[i], 0, UINT16_MAX))
    case DTYPE_U32: EACH(uint32_t, clamp(in[i], 0, UINT32_MAX))
    case DTYPE_U64: EACH(uint64_t, clamp(in[i], 0, u64_high))
    case DTYPE_BOOL: EACH(uint8_t, in[i] != 0)
    default: break;
    }
}

void store_int(enum dtype t, void *data, int64_t offset, int64_t n, const int64_t *in)
{
    switch (t) {
    case DTYPE_I8: EACH(int8_t, in[i])
    case DTYPE_I16: EACH(int16_t, in[i])
    case DTYPE_I32: EACH(int32_t, in[i])
    case DTYPE_I64: EACH(int64_t, in[i])
    case DTYPE_U8: EACH(uint8_t, in[i])
    case DTYPE_U16: EACH(uint16_t, in[i])
    case DTYPE_U32: EACH(uint32_t, in[i])
    case DTYPE_U64: EACH(uint64_t, in[i])
    case DTYPE_BOOL: EACH(uint8_t, in[i] != 0)
    default: break;
    }
}

#undef EACH

int shape_is_sane(const struct shape *s)
{
    int64_t product = 1;
    for (int i = 0; i < s->rank; i++)
        if (s->dims[i] < 0 ||
            __builtin_mul_overflow(product, s->dims[i] ? s->dims[i] : 1, &product) ||
            product > INT64_MAX / 16)
            return 0;
    return 1;
}

void shape_strides(const struct shape *s, int64_t strides[RANK_MAX])
{
    int64_t stride = 1;
    for (int i = s->rank - 1; i >= 0; i--) {
        strides[i] = stride;
        stride *= s->dims[i] > 0 ? s->dims[i] : 1;
    }
}

void walk_init(struct walk *w, const struct shape *dims)
{
    memset(w, 0, sizeof *w);
    w->rank = dims->rank;
    memcpy(w->dims, dims->dims, sizeof dims->dims);
}

void walk_operand(struct walk *w, const struct shape *shape)
{
    int64_t strides[RANK_MAX] = {0};
    int o = w->operands++, lead = w->rank - shape->rank;
    shape_strides(shape, strides);
    for (int i = 0; i < shape->rank; i++)
        w->strides[o][lead + i] = shape->dims[i] == 1 ? 0 : strides[i];
}

/* Dimensions i and i + 1 are one when every operand steps through them evenly. */
static int mergeable(const struct walk *w, int i, const int64_t *inner)
{
    for (int o = 0; o < w->operands; o++)
        if (w->strides[o][i] != inner[o] * w->dims[i + 1])
            return 0;
    return 1;
}

static void remove_dim(struct walk *w, int i)
{
    size_t bytes = (size_t)(w->rank - 1 - i) * sizeof *w->dims;
    memmove(w->dims + i, w->dims + i + 1, bytes);
    for (int o = 0; o < w->operands; o++)
        memmove(w->strides[o] + i, w->strides[o] + i + 1, bytes);
    w->rank--;
}

static void merge(struct walk *w)
{
    for (int i = w->rank - 1; i >= 0; i--)
        if (w->dims[i] == 1)
            remove_dim(w, i);
    for (int i = w->rank - 2; i >= 0; i--) {
        int64_t inner[WALK_OPERANDS] = {0};
        for (int o = 0; o < w->operands; o++)
            inner[o] = w->strides[o][i + 1];
        if (!mergeable(w, i, inner))
            continue;
        w->dims[i + 1] *= w->dims[i];
        remove_dim(w, i);
    }
}

int walk_begin(struct walk *w)
{
    for (int i = 0; i < w->rank; i++)
        if (w->dims[i] <= 0)
            return 0;
    merge(w);
    memset(w->index, 0, sizeof w->index);
    w->count = w->rank ? w->dims[w->rank - 1] : 1;
    for (int o = 0; o < w->operands; o++)
        w->step[o] = w->rank ? w->strides[o][w->rank - 1] : 0;
    return 1;
}

int walk_next(struct walk *w)
{
    for (int i = w->rank - 2; i >= 0; i--) {
        for (int o = 0; o < w->operands; o++)
            w->offset[o] += w->strides[o][i];
        if (++w->index[i] < w->dims[i])
            return 1;
        for (int o = 0; o < w->operands; o++)
            w->offset[o] -= w->strides[o][i] * w->dims[i];
        w->index[i] = 0;
    }
    return 0;
}

#define COPY(T) \
    { \
        T *y = (T *)to + w->offset[0]; \
        const T *x = (const T *)from + w->offset[1]; \
        for (int64_t i = 0; i < w->count; i++) \
            y[i * w->step[0]] = x[i * w->step[1]]; \
        break; \
    }

static void copy_row(const struct walk *w, void *to, const void *from, size_t size)
{
    if (w->step[0] == 1 && w->step[1] == 1) {
        memcpy((char *)to + w->offset[0] * (int64_t)size,
               (const char *)from + w->offset[1] * (int64_t)size, (size_t)w->count * size);
        return;
    }
    switch (size) {
    case 1: COPY(uint8_t)
    case 2: COPY(uint16_t)
    case 4: COPY(uint32_t)
    case 8: COPY(uint64_t)
    default: break;
    }
}

#undef COPY

void copy_walk(struct walk *w, void *to, const void *from, size_t size)
{
    for (int more = walk_begin(w); more; more = walk_next(w))
        copy_row(w, to, from, size);
}
