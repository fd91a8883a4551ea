/* outputs.c: the outputs of one inference, and whether two of them agree. */
#include "measure/measure.h"

#include "measure/session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define OUTPUT_LIMIT_BYTES ((json_int_t)1 << 32)

/* Copies one output out of the shared tensor memory. */
static int take_output(struct session *s, json_t *value, struct measure_output *out, struct error *e)
{
    const char *name;
    uint64_t offset, bytes;
    struct tensor *t = &out->tensor;
    int result = reply_tensor(value, &name, &t->type, &t->shape, e);
    if (!result)
        result = reply_u64(value, "offset", &offset, e);
    if (!result)
        result = reply_u64(value, "bytes", &bytes, e);
    if (result)
        return result;
    if (bytes != (uint64_t)shape_bytes(&t->shape, t->type) || offset > OUTPUT_LIMIT_BYTES * 2 ||
        bytes > OUTPUT_LIMIT_BYTES)
        return error_set(e, ERROR_FORMAT, "worker's output '%s' is misplaced", name);
    snprintf(out->name, sizeof out->name, "%s", name);
    uint8_t *data;
    result = worker_tensors(s->worker, offset + bytes, &data, e);
    if (result)
        return result;
    t->data = malloc(bytes ? bytes : 1);
    if (!t->data)
        return error_memory(e);
    memcpy(t->data, data + offset, bytes);
    return 0;
}

static int take_outputs(struct session *s, json_t *list, struct measure_outputs *out,
                        struct error *e)
{
    size_t count = json_array_size(list);
    if (count == 0 || count > RECORD_OUTPUT_MAX)
        return error_set(e, ERROR_FORMAT, "worker reports %zu outputs", count);
    out->outputs = calloc(count, sizeof *out->outputs);
    if (!out->outputs)
        return error_memory(e);
    out->count = count;
    for (size_t i = 0; i < count; i++) {
        int result = take_output(s, json_array_get(list, i), &out->outputs[i], e);
        if (result)
            return result;
    }
    return 0;
}

int measure_outputs(const struct cell *c, const struct measure_options *o,
                    struct measure_outputs *out, struct error *e)
{
    struct session s = {0};
    json_t *reply = NULL;
    *out = (struct measure_outputs){0};
    int result = session_open(&s, c, o, e);
    if (!result)
        result = session_inputs(&s, 1, e);
    if (!result) {
        json_t *command =
            json_pack("{s:s, s:i, s:I, s:I}", "op", "outputs", "set", 0, "offset",
                      (json_int_t)s.tensor_bytes, "limit", OUTPUT_LIMIT_BYTES);
        result = command ? session_call(&s, command, 0, &reply, e) : error_memory(e);
    }
    if (!result)
        result = take_outputs(&s, json_object_get(reply, "outputs"), out, e);
    json_decref(reply);
    session_close(&s);
    if (result)
        measure_outputs_release(out);
    return result;
}

void measure_outputs_release(struct measure_outputs *out)
{
    for (size_t i = 0; i < out->count; i++)
        free(out->outputs[i].tensor.data);
    free(out->outputs);
    *out = (struct measure_outputs){0};
}

/* --- agreement -------------------------------------------------------------------------------- */

static double element(const struct tensor *t, size_t i)
{
    switch (t->type) {
    case DTYPE_F32: return (double)((const float *)t->data)[i];
    case DTYPE_F64: return ((const double *)t->data)[i];
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

/* The first element beyond tolerance is named; the largest error is kept over all of them. */
static void compare(const struct measure_output *r, const struct measure_output *x, double tolerance,
                    struct agreement *out)
{
    size_t n = (size_t)shape_elements(&r->tensor.shape);
    int exact = r->tensor.type != DTYPE_F32 && r->tensor.type != DTYPE_F64;
    double scale = scale_of(&r->tensor, n), limit = exact ? 0 : tolerance;
    size_t size = dtype_size(r->tensor.type);
    if (exact && !memcmp(r->tensor.data, x->tensor.data, n * size))
        return; /* also where a double would not tell two int64 apart */
    for (size_t i = 0; i < n; i++) {
        double a = element(&r->tensor, i), b = element(&x->tensor, i), d = difference(a, b, scale);
        if (d > out->max_rel_error)
            out->max_rel_error = d;
        if (d <= limit || !out->ok)
            continue;
        char at[64];
        index_text(&r->tensor.shape, i, at, sizeof at);
        out->ok = 0;
        snprintf(out->detail, sizeof out->detail, "%.40s%s is %.7g, the reference has %.7g", r->name,
                 at, b, a);
    }
}

void measure_agree(const struct measure_outputs *reference, const struct measure_outputs *x,
                   double tolerance, struct agreement *out)
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
            compare(a, b, tolerance, out);
            continue;
        }
        char sa[64], sb[64];
        out->ok = 0;
        out->max_rel_error = NAN;
        snprintf(out->detail, sizeof out->detail, "%.40s is %s %s, the reference has %s %s", b->name,
                 dtype_name(b->tensor.type), shape_text(&b->tensor.shape, sb, sizeof sb),
                 dtype_name(a->tensor.type), shape_text(&a->tensor.shape, sa, sizeof sa));
        return;
    }
}
