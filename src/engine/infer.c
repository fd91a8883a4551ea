/* What the operators' infer functions ask of a node: attributes, known inputs, outputs. */
#include "engine/op.h"
#include "engine/ops/ops.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int fail(enum error_code code, struct error *e, const char *format, va_list args)
{
    char text[400];
    vsnprintf(text, sizeof text, format, args);
    return error_set(e, code, "%s", text);
}

int infer_fail(const struct infer_context *c, struct error *e, const char *format, ...)
{
    (void)c; /* graph_build puts file and node in front */
    va_list args;
    va_start(args, format);
    int code = fail(ERROR_FORMAT, e, format, args);
    va_end(args);
    return code;
}

int infer_unsupported(const struct infer_context *c, struct error *e, const char *format, ...)
{
    (void)c;
    va_list args;
    va_start(args, format);
    int code = fail(ERROR_UNSUPPORTED, e, format, args);
    va_end(args);
    return code;
}

const struct value *infer_input(const struct infer_context *c, int index)
{
    if (index >= c->node->input_count || c->node->inputs[index] == NO_VALUE)
        return NULL;
    return &c->graph->values[c->node->inputs[index]];
}

const struct onnx_attribute *infer_attribute(const struct infer_context *c, const char *name)
{
    if (!c->source)
        return NULL;
    for (size_t i = 0; i < c->source->attribute_count; i++) {
        if (strcmp(c->source->attributes[i].name, name))
            continue;
        if (c->attributes_read && i < 64)
            *c->attributes_read |= (uint64_t)1 << i;
        return &c->source->attributes[i];
    }
    return NULL;
}

void infer_ignore(const struct infer_context *c, const char *name)
{
    infer_attribute(c, name);
}

static const char *type_name(int type)
{
    static const char *const names[] = {"nothing", "a float", "an int", "a string", "a tensor",
                                        "a graph", "floats", "ints", "strings"};
    return type >= 0 && type < (int)(sizeof names / sizeof *names) ? names[type] : "something else";
}

static int check_kind(const struct infer_context *c, const struct onnx_attribute *a, int type,
                      struct error *e)
{
    if (a->type == type)
        return 0;
    return infer_fail(c, e, "attribute '%s' holds %s where %s is expected", a->name,
                      type_name(a->type), type_name(type));
}

int infer_attribute_int(const struct infer_context *c, const char *name, int64_t fallback,
                        int64_t *out, struct error *e)
{
    const struct onnx_attribute *a = infer_attribute(c, name);
    *out = fallback;
    if (!a)
        return 0;
    int code = check_kind(c, a, ONNX_INT, e);
    if (!code)
        *out = a->i;
    return code;
}

int infer_attribute_float(const struct infer_context *c, const char *name, float fallback,
                          float *out, struct error *e)
{
    const struct onnx_attribute *a = infer_attribute(c, name);
    *out = fallback;
    if (!a)
        return 0;
    int code = check_kind(c, a, ONNX_FLOAT, e);
    if (!code)
        *out = a->f;
    return code;
}

int infer_attribute_ints(const struct infer_context *c, const char *name, size_t minimum,
                         size_t maximum, const int64_t **out, size_t *count, struct error *e)
{
    const struct onnx_attribute *a = infer_attribute(c, name);
    *out = NULL;
    *count = 0;
    if (!a)
        return 0;
    int code = check_kind(c, a, ONNX_INTS, e);
    if (code)
        return code;
    if (a->count < minimum || a->count > maximum)
        return infer_fail(c, e, "attribute '%s' has %zu entries where %zu%s are expected", name,
                          a->count, maximum > minimum && a->count > maximum ? maximum : minimum,
                          maximum > minimum ? (a->count > maximum ? " at most" : " or more") : "");
    *out = a->ints;
    *count = a->count;
    return 0;
}

int infer_attribute_name(const struct infer_context *c, const char *name,
                         const char *const *names, int fallback, int *out, struct error *e)
{
    const struct onnx_attribute *a = infer_attribute(c, name);
    *out = fallback;
    if (!a)
        return 0;
    int code = check_kind(c, a, ONNX_STRING, e);
    if (code)
        return code;
    for (int i = 0; names[i]; i++)
        if (!strcmp(names[i], a->s)) {
            *out = i;
            return 0;
        }
    return infer_fail(c, e, "attribute '%s' has the unknown value '%.40s'", name, a->s);
}

int infer_spend(const struct infer_context *c, int64_t elements)
{
    if (c->budget && elements > *c->budget)
        return -1;
    if (c->budget)
        *c->budget -= elements;
    return 0;
}

int infer_axis(const struct infer_context *c, const char *name, int64_t axis, int rank,
               int64_t *out, struct error *e)
{
    if (axis < -rank || axis >= rank)
        return infer_fail(c, e, "%s %" PRId64 " is outside a tensor of rank %d", name, axis, rank);
    *out = axis < 0 ? axis + rank : axis;
    return 0;
}

/* Sorted by insertion, and a repetition refused. */
static int add_axis(const struct infer_context *c, int64_t axis, struct error *e)
{
    struct attributes *a = &c->node->a;
    int at = a->axis_count;
    while (at > 0 && a->axes[at - 1] > axis)
        at--;
    if (at > 0 && a->axes[at - 1] == axis)
        return infer_fail(c, e, "axis %" PRId64 " is given twice", axis);
    memmove(a->axes + at + 1, a->axes + at, (size_t)(a->axis_count - at) * sizeof *a->axes);
    a->axes[at] = axis;
    a->axis_count++;
    return 0;
}

int infer_axes(const struct infer_context *c, const char *name, int64_t since, int index, int rank,
               int *given, struct error *e)
{
    int64_t storage[RANK_MAX];
    const int64_t *axes = storage;
    size_t count = 0;
    int code;
    c->node->a.axis_count = 0;
    if (c->opset < since) {
        code = infer_attribute_ints(c, name, 0, RANK_MAX, &axes, &count, e);
        *given = axes != NULL;
    } else {
        *given = infer_input(c, index) != NULL;
        code = *given ? infer_constant_ints(c, index, name, storage, RANK_MAX, &count, e) : 0;
    }
    if (!code && count > (size_t)rank)
        code = infer_fail(c, e, "%zu axes for a tensor of rank %d", count, rank);
    for (size_t i = 0; axes && i < count && !code; i++) {
        int64_t axis = 0;
        code = infer_axis(c, "axis", axes[i], rank, &axis, e);
        if (!code)
            code = add_axis(c, axis, e);
    }
    return code;
}

int infer_constant_ints(const struct infer_context *c, int index, const char *what,
                        int64_t *out, size_t maximum, size_t *count, struct error *e)
{
    const struct value *v = infer_input(c, index);
    *count = 0;
    if (!v)
        return infer_fail(c, e, "input '%s' is missing", what);
    if (v->type != DTYPE_I64 && v->type != DTYPE_I32)
        return infer_fail(c, e, "input '%s' is %s where integers are expected", what,
                          dtype_name(v->type));
    if (v->shape.rank > 1)
        return infer_fail(c, e, "input '%s' has rank %d where 1 is expected", what, v->shape.rank);
    if (!v->constant)
        return infer_unsupported(c, e, "input '%s' ('%.60s') is computed at run time; only one "
                                 "known when the model is loaded is supported", what, v->name);
    int64_t n = shape_elements(&v->shape);
    if (n < 0 || (uint64_t)n > maximum)
        return infer_unsupported(c, e, "input '%s' has %" PRId64 " entries, at most %zu are "
                                 "supported", what, n, maximum);
    load_int(v->type, v->constant, 0, 1, n, out);
    *count = (size_t)n;
    return 0;
}

int infer_type(const struct infer_context *c, int index, unsigned types, struct error *e)
{
    const struct value *v = infer_input(c, index);
    if (v && (v->type >= 32 || !(types & TYPE_BIT(v->type))))
        return infer_unsupported(c, e, "input %d ('%.60s') of type %s", index, v->name,
                                 dtype_name(v->type));
    return 0;
}

static int merge_shape(const struct infer_context *c, struct shape *out, const struct shape *in,
                       struct error *e)
{
    struct shape old = *out;
    int rank = old.rank > in->rank ? old.rank : in->rank;
    *out = (struct shape){.rank = rank};
    for (int i = 1; i <= rank; i++) {
        int64_t a = i <= old.rank ? old.dims[old.rank - i] : 1;
        int64_t b = i <= in->rank ? in->dims[in->rank - i] : 1;
        if (a != b && a != 1 && b != 1) {
            char s[64], t[64];
            return infer_fail(c, e, "shapes %s and %s do not broadcast",
                              shape_text(&old, s, sizeof s), shape_text(in, t, sizeof t));
        }
        out->dims[rank - i] = a == 1 ? b : a;
    }
    return 0;
}

int infer_broadcast(const struct infer_context *c, int first, int count, struct shape *out,
                    struct error *e)
{
    int code = 0;
    *out = (struct shape){0};
    for (int i = first; i < count && !code; i++) {
        const struct value *v = infer_input(c, i);
        code = v ? merge_shape(c, out, &v->shape, e) : 0;
    }
    return code;
}

int infer_output(const struct infer_context *c, int index, enum dtype type,
                 const struct shape *shape, struct error *e)
{
    if (index >= c->node->output_count || c->node->outputs[index] == NO_VALUE)
        return 0;
    struct value *v = &c->graph->values[c->node->outputs[index]];
    int64_t bytes = shape_is_sane(shape) ? shape_bytes(shape, type) : -1;
    char s[96], t[96];
    if (bytes < 0 || (uint64_t)bytes > c->graph->memory_limit) {
        error_set(e, ERROR_MEMORY, "output '%.60s' of shape %s and type %s is larger than the "
                  "memory limit of %" PRIu64 " bytes", v->name, shape_text(shape, s, sizeof s),
                  dtype_name(type), c->graph->memory_limit);
        return error_hint(e, "raise the memory limit, or give smaller sizes");
    }
    if (v->type != DTYPE_NONE && (v->type != type || !shape_equal(&v->shape, shape)))
        return infer_fail(c, e, "output '%.60s' is %s %s but would become %s %s", v->name,
                          dtype_name(v->type), shape_text(&v->shape, s, sizeof s),
                          dtype_name(type), shape_text(shape, t, sizeof t));
    v->type = type;
    v->shape = *shape;
    return 0;
}
