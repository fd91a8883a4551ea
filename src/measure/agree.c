/* agree.c: whether the outputs of two cells are the same. */
#include "measure/measure.h"

#include "model/half.h"

#include <math.h>
#include <string.h>

static double element(const struct tensor *t, size_t i)
{
    switch (t->type) {
    case DTYPE_F32: return (double)((const float *)t->data)[i];
    case DTYPE_F64: return ((const double *)t->data)[i];
    case DTYPE_F16: return half_to_double(((const uint16_t *)t->data)[i]);
    case DTYPE_BF16: return bfloat_to_double(((const uint16_t *)t->data)[i]);
    case DTYPE_I64: return (double)((const int64_t *)t->data)[i];
    case DTYPE_I32: return ((const int32_t *)t->data)[i];
    case DTYPE_I16: return ((const int16_t *)t->data)[i];
    case DTYPE_I8: return ((const int8_t *)t->data)[i];
    case DTYPE_U64: return (double)((const uint64_t *)t->data)[i];
    case DTYPE_U32: return ((const uint32_t *)t->data)[i];
    case DTYPE_U16: return ((const uint16_t *)t->data)[i];
    case DTYPE_U8:
    case DTYPE_BOOL: return ((const uint8_t *)t->data)[i];
    default: return NAN;
    }
}

/* Largest finite magnitude of the reference: what errors are relative to. */
static double scale_of(const struct tensor *t, size_t n)
{
    double scale = 0;
    for (size_t i = 0; i < n; i++) {
        double x = fabs(element(t, i));
        if (isfinite(x) && x > scale)
            scale = x;
    }
    return scale > 0 ? scale : 1;
}

/* 0 for equal elements (also both NaN, or the same infinity); infinite when only one is finite. */
static double difference(double r, double x, double scale)
{
    if (r == x || (isnan(r) && isnan(x)))
        return 0;
    double d = fabs(x - r) / scale;
    return isfinite(d) ? d : INFINITY;
}

/* "[0,17]" */
static void index_text(const struct shape *s, size_t flat, char *text, size_t size)
{
    int64_t index[RANK_MAX];
    for (int i = s->rank; i-- > 0;) {
        index[i] = (int64_t)flat % s->dims[i];
        flat /= (size_t)s->dims[i];
    }
    size_t n = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < s->rank && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, i ? ",%lld" : "%lld", (long long)index[i]);
    if (n < size)
        snprintf(text + n, size - n, "]");
}

/* Integers and bool agree only bit by bit: as double two int64 could look the same. */
static int same_bits(const struct tensor *a, const struct tensor *b, size_t i)
{
    size_t size = dtype_size(a->type);
    return !memcmp((const char *)a->data + i * size, (const char *)b->data + i * size, size);
}

/* What a type can tell apart: a unit in the last place, and one more for the order of sums. */
static double tolerance_of(enum dtype type, double tolerance)
{
    double least = type == DTYPE_F16 ? 0x1p-9 : type == DTYPE_BF16 ? 0x1p-6 : 0;
    return tolerance > least ? tolerance : least;
}

static int is_float(enum dtype type)
{
    return type == DTYPE_F32 || type == DTYPE_F64 || type == DTYPE_F16 || type == DTYPE_BF16;
}

/* Other integers are numbers of something, or truth. */
static int is_step(enum dtype type)
{
    return type == DTYPE_I8 || type == DTYPE_U8 || type == DTYPE_I16 || type == DTYPE_U16;
}

static void name_element(const struct measure_output *r, size_t i, double b, struct agreement *out)
{
    char at[64];
    index_text(&r->tensor.shape, i, at, sizeof at);
    out->ok = 0;
    snprintf(out->detail, sizeof out->detail, "%.40s%s is %.7g, the reference has %.7g", r->name,
             at, b, element(&r->tensor, i));
}

/* Both are roots of sums of squares. */
static void judge_sum(const struct measure_output *r, double error, double size, double limit,
                      struct agreement *out)
{
    if (isinf(limit) || error <= limit * size)
        return;
    out->ok = 0;
    snprintf(out->detail, sizeof out->detail, "%.40s is off by %.3g of its root mean square, "
             "more than rounding makes (%g)", r->name, error / size, limit);
}

/* The first element beyond tolerance is named; the largest error is kept over all of them. */
static void compare(const struct measure_output *r, const struct measure_output *x,
                    const struct measure_limits *limits, struct agreement *out)
{
    enum dtype type = r->tensor.type;
    size_t n = (size_t)shape_elements(&r->tensor.shape);
    int exact = !is_float(type) && !(limits->has_steps && is_step(type));
    double tolerance = tolerance_of(type, limits->element), scale = scale_of(&r->tensor, n);
    double errors = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        double a = element(&r->tensor, i), b = element(&x->tensor, i), d = difference(a, b, scale);
        if (d > out->max_rel_error)
            out->max_rel_error = d;
        errors += d * d;
        squares += isfinite(a) ? (a / scale) * (a / scale) : 0;
        int agrees = exact ? same_bits(&r->tensor, &x->tensor, i) : d <= tolerance;
        if (!agrees && out->ok)
            name_element(r, i, b, out);
    }
    if (out->ok)
        judge_sum(r, sqrt(errors), sqrt(squares), limits->rms, out);
}

void measure_agree(const struct measure_outputs *reference, const struct measure_outputs *x,
                   double tolerance, struct agreement *out)
{
    const struct measure_limits limits = {tolerance, INFINITY, 0};
    measure_agree_within(reference, x, &limits, out);
}

void measure_agree_within(const struct measure_outputs *reference, const struct measure_outputs *x,
                          const struct measure_limits *limits, struct agreement *out)
{
    out->ok = 1;
    out->max_rel_error = 0;
    out->detail[0] = '\0';
    if (reference->count != x->count) {
        out->ok = 0;
        out->max_rel_error = NAN;
        snprintf(out->detail, sizeof out->detail, "%zu outputs, the reference has %zu", x->count,
                 reference->count);
        return;
    }
    for (size_t i = 0; i < x->count; i++) {
        const struct measure_output *a = &reference->outputs[i], *b = &x->outputs[i];
        if (a->tensor.type == b->tensor.type && shape_equal(&a->tensor.shape, &b->tensor.shape)) {
            compare(a, b, limits, out);
            continue;
        }
        char sa[64], sb[64];
        out->ok = 0;
        out->max_rel_error = NAN;
        snprintf(out->detail, sizeof out->detail, "%.40s is %s %s, the reference has %s %s",
                 b->name, dtype_name(b->tensor.type), shape_text(&b->tensor.shape, sb, sizeof sb),
                 dtype_name(a->tensor.type), shape_text(&a->tensor.shape, sa, sizeof sa));
        return;
    }
}

void measure_difference(const struct tensor *reference, const struct tensor *x, double *max,
                        double *mean)
{
    size_t n = (size_t)shape_elements(&reference->shape);
    double scale = scale_of(reference, n), sum = 0;
    *max = 0;
    for (size_t i = 0; i < n; i++) {
        double d = difference(element(reference, i), element(x, i), scale);
        *max = d > *max ? d : *max;
        sum += d;
    }
    *mean = n ? sum / (double)n : 0;
}

size_t measure_not_finite(const struct tensor *x)
{
    size_t n = (size_t)shape_elements(&x->shape), count = 0;
    for (size_t i = 0; is_float(x->type) && i < n; i++)
        count += !isfinite(element(x, i));
    return count;
}
