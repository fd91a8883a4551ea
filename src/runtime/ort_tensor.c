/* ort_tensor.c: element types and shapes between ONNX Runtime and the worker's protocol. */
#include "runtime/ort.h"

#include <string.h>

enum { KIND_TENSOR = 1, TYPE_STRING = 8 };

/* The library numbers element types as ONNX files do. */
static const struct {
    const char *name;
    size_t size;
} types[] = {
    [1] = {"float32", 4},  [2] = {"uint8", 1},  [3] = {"int8", 1},    [4] = {"uint16", 2},
    [5] = {"int16", 2},    [6] = {"int32", 4},  [7] = {"int64", 8},   [9] = {"bool", 1},
    [10] = {"float16", 2}, [11] = {"float64", 8}, [12] = {"uint32", 4}, [13] = {"uint64", 8},
    [16] = {"bfloat16", 2},
};

static int is_known(int type)
{
    return type > 0 && (size_t)type < sizeof types / sizeof *types && types[type].name;
}

const char *ort_type_name(int type)
{
    return is_known(type) ? types[type].name : NULL;
}

size_t ort_type_size(int type)
{
    return is_known(type) ? types[type].size : 0;
}

/* What one input or output is, for messages too. */
struct place {
    const char *what; /* "input" */
    int is_input;
    struct adapter_tensor *tensor;
    int *type;
    int *is_dynamic;
};

static int refuse_type(const struct place *p, int type, struct error *e)
{
    if (type == TYPE_STRING) {
        error_set(e, ERROR_UNSUPPORTED, "%s '%.100s' holds strings, which a worker does not pass",
                  p->what, p->tensor->name);
        return error_hint(e, "cut the model behind its text processing");
    }
    return error_set(e, ERROR_UNSUPPORTED, "%s '%.100s' holds elements of ONNX type %d, which a "
                     "worker does not pass", p->what, p->tensor->name, type);
}

static int refuse_dim(const struct place *p, int i, const char *symbol, struct error *e)
{
    const char *name = p->tensor->name;
    if (!symbol || !symbol[0]) {
        error_set(e, ERROR_USAGE, "input '%.100s' has no size and no name for dimension %d", name,
                  i);
        return error_hint(e, "the file must name the dimension to be given a size");
    }
    error_set(e, ERROR_USAGE, "input '%.100s' has no size for dimension %d, '%.60s'", name, i,
              symbol);
    return error_hint(e, "--dim %.60s=N gives it one", symbol);
}

static const struct adapter_shape *asked_shape(const struct adapter_request *r,
                                               const struct adapter_tensor *t)
{
    for (size_t i = 0; i < r->shape_count; i++)
        if (!strcmp(r->shapes[i].name, t->name))
            return &r->shapes[i];
    return NULL;
}

/* A size the model fixes otherwise would be an error of every run. */
static int check_shape(const struct adapter_request *r, const struct adapter_tensor *t,
                       struct error *e)
{
    const struct adapter_shape *s = asked_shape(r, t);
    if (s && s->rank != t->rank)
        return error_set(e, ERROR_USAGE, "input '%.100s' has %d dimensions, not %d", t->name,
                         t->rank, s->rank);
    for (int i = 0; s && i < t->rank; i++)
        if (t->dims[i] != s->dims[i])
            return error_set(e, ERROR_USAGE, "input '%.100s' has size %lld in dimension %d, not "
                             "%lld", t->name, (long long)t->dims[i], i, (long long)s->dims[i]);
    return 0;
}

/* By the dimension's name, by the input's whole shape; a free first dimension is the batch. */
static int64_t asked_dim(const struct adapter_request *r, const struct adapter_tensor *t, int i,
                         const char *symbol)
{
    const struct adapter_shape *s = asked_shape(r, t);
    for (size_t k = 0; symbol && k < r->dim_count; k++)
        if (!strcmp(r->dims[k].symbol, symbol))
            return r->dims[k].value;
    if (s && i < s->rank)
        return s->dims[i];
    return i ? -1 : r->batch;
}

static int set_bytes(struct adapter_tensor *t, size_t element_bytes, struct error *e)
{
    size_t bytes = element_bytes;
    for (int i = 0; i < t->rank; i++)
        if (t->dims[i] < 0 || __builtin_mul_overflow(bytes, (size_t)t->dims[i], &bytes) ||
            bytes > PTRDIFF_MAX)
            return error_set(e, ERROR_MEMORY, "tensor '%.100s' is larger than memory can be",
                             t->name);
    t->bytes = bytes;
    return 0;
}

/* The library has no sizes for a scalar and none for a shape that the file does not give: of an
 * input what is asked for decides, of an output what comes. */
static void take_unknown_shape(const struct adapter_request *r, const struct place *p)
{
    struct adapter_tensor *t = p->tensor;
    const struct adapter_shape *s = p->is_input ? asked_shape(r, t) : NULL;
    if (s) {
        t->rank = s->rank;
        memcpy(t->dims, s->dims, (size_t)s->rank * sizeof *t->dims);
    }
    *p->is_dynamic |= !p->is_input;
}

static int set_dims(struct ort *o, const struct adapter_request *r,
                    const struct ort_tensor_info *info, const struct place *p, struct error *e)
{
    struct adapter_tensor *t = p->tensor;
    const char *symbols[ADAPTER_RANK_MAX] = {0};
    size_t rank = (size_t)t->rank;
    if (!rank) {
        take_unknown_shape(r, p);
        return 0;
    }
    int code = ort_check(&o->api, o->api.dims(info, t->dims, rank), e,
                         "cannot read the shape of '%.60s'", t->name);
    if (!code)
        code = ort_check(&o->api, o->api.symbols(info, symbols, rank), e,
                         "cannot read the dimensions of '%.60s'", t->name);
    for (int i = 0; !code && i < t->rank; i++) {
        if (t->dims[i] >= 0)
            continue;
        t->dims[i] = p->is_input ? asked_dim(r, t, i, symbols[i]) : 0;
        *p->is_dynamic |= !p->is_input;
        if (t->dims[i] < 0)
            code = refuse_dim(p, i, symbols[i], e);
    }
    return code || !p->is_input ? code : check_shape(r, t, e);
}

static int read_tensor(struct ort *o, const struct adapter_request *r,
                       const struct ort_type_info *type, const struct place *p, struct error *e)
{
    const struct ort_tensor_info *info = NULL;
    int kind = 0;
    size_t rank = 0;
    int code = ort_check(&o->api, o->api.kind_of_type(type, &kind), e,
                         "cannot read the type of '%.60s'", p->tensor->name);
    if (!code && kind != KIND_TENSOR)
        code = error_set(e, ERROR_UNSUPPORTED, "%s '%.100s' is not a tensor but a sequence, map or "
                         "optional (ONNX kind %d)", p->what, p->tensor->name, kind);
    if (!code)
        code = ort_check(&o->api, o->api.cast_to_tensor(type, &info), e, "cannot read a type");
    if (!code)
        code = ort_check(&o->api, o->api.element_type(info, p->type), e, "cannot read a type");
    if (!code && !is_known(*p->type))
        code = refuse_type(p, *p->type, e);
    if (!code)
        code = ort_check(&o->api, o->api.rank(info, &rank), e, "cannot read a shape");
    if (!code && rank > ADAPTER_RANK_MAX)
        code = error_set(e, ERROR_UNSUPPORTED, "%s '%.100s' has %zu dimensions, at most %d are "
                         "passed", p->what, p->tensor->name, rank, ADAPTER_RANK_MAX);
    if (code)
        return code;
    p->tensor->type = ort_type_name(*p->type);
    p->tensor->rank = (int)rank;
    code = set_dims(o, r, info, p, e);
    return code ? code : set_bytes(p->tensor, ort_type_size(*p->type), e);
}

static int read_name(struct ort *o, size_t i, const struct place *p, struct error *e)
{
    char *name = NULL;
    int code = ort_check(&o->api,
                         p->is_input ? o->api.input_name(o->session, i, o->allocator, &name)
                                     : o->api.output_name(o->session, i, o->allocator, &name),
                         e, "cannot read the name of %s %zu", p->what, i);
    if (code || !name)
        return code ? code : error_set(e, ERROR_FORMAT, "%s %zu has no name", p->what, i);
    p->tensor->name = arena_text(&o->texts, name, strlen(name));
    code = ort_check(&o->api, o->api.allocator_free(o->allocator, name), e,
                     "cannot give back a name");
    if (!code && !p->tensor->name)
        code = error_memory(e);
    return code;
}

static int read_one(struct ort *o, const struct adapter_request *r, size_t i,
                    const struct place *p, struct error *e)
{
    struct ort_type_info *type = NULL;
    int code = read_name(o, i, p, e);
    if (!code)
        code = ort_check(&o->api,
                         p->is_input ? o->api.input_type(o->session, i, &type)
                                     : o->api.output_type(o->session, i, &type),
                         e, "cannot read the type of %s %zu", p->what, i);
    if (!code)
        code = read_tensor(o, r, type, p, e);
    if (type)
        o->api.release_type_info(type);
    return code;
}

static int count_tensors(struct ort *o, struct error *e)
{
    int code = ort_check(&o->api, o->api.input_count(o->session, &o->input_count), e,
                         "cannot count the inputs");
    if (!code)
        code = ort_check(&o->api, o->api.output_count(o->session, &o->output_count), e,
                         "cannot count the outputs");
    if (!code && (o->input_count > ADAPTER_TENSOR_MAX || o->output_count > ADAPTER_TENSOR_MAX))
        code = error_set(e, ERROR_UNSUPPORTED, "model has %zu inputs and %zu outputs, at most %d "
                         "of each are taken", o->input_count, o->output_count,
                         ADAPTER_TENSOR_MAX);
    return code;
}

int ort_tensors_read(struct ort *o, const struct adapter_request *r, struct error *e)
{
    int code = count_tensors(o, e);
    if (code) {
        o->input_count = o->output_count = 0;
        return code;
    }
    for (size_t i = 0; !code && i < o->input_count; i++) {
        int ignored = 0;
        struct place p = {"input", 1, &o->inputs[i], &o->input_types[i], &ignored};
        code = read_one(o, r, i, &p, e);
    }
    for (size_t i = 0; !code && i < o->output_count; i++) {
        int is_dynamic = o->options.dynamic_outputs;
        struct place p = {"output", 0, &o->outputs[i], &o->output_types[i], &is_dynamic};
        code = read_one(o, r, i, &p, e);
        o->dynamic_count += (size_t)is_dynamic;
        if (is_dynamic)
            o->output_types[i] = 0; /* what it is comes with its value */
    }
    return code;
}

static int describe(struct ort *o, const struct ort_tensor_info *info, struct adapter_tensor *t,
                    struct error *e)
{
    int type = 0;
    size_t rank = 0;
    int code = ort_check(&o->api, o->api.element_type(info, &type), e, "cannot read a type");
    if (!code)
        code = ort_check(&o->api, o->api.rank(info, &rank), e, "cannot read a shape");
    if (!code && (!is_known(type) || rank > ADAPTER_RANK_MAX))
        code = error_set(e, ERROR_UNSUPPORTED, "output '%.100s' has ONNX type %d and %zu "
                         "dimensions", t->name, type, rank);
    if (!code)
        code = ort_check(&o->api, o->api.dims(info, t->dims, rank), e, "cannot read a shape");
    if (code)
        return code;
    t->type = ort_type_name(type);
    t->rank = (int)rank;
    return set_bytes(t, ort_type_size(type), e);
}

int ort_value_describe(struct ort *o, const struct ort_value *value, struct adapter_tensor *t,
                       struct error *e)
{
    struct ort_tensor_info *info = NULL;
    int is_tensor = 0;
    int code = ort_check(&o->api, o->api.is_tensor(value, &is_tensor), e, "cannot read a type");
    if (!code && !is_tensor)
        code = error_set(e, ERROR_UNSUPPORTED, "output '%.100s' is not a tensor", t->name);
    if (!code)
        code = ort_check(&o->api, o->api.tensor_info(value, &info), e, "cannot read a shape");
    if (!code)
        code = describe(o, info, t, e);
    if (info)
        o->api.release_tensor_info(info);
    return code;
}
