#include "model/onnx_read.h"

#include <string.h>

/* Field numbers of TensorProto. */
enum {
    DIMS = 1, DATA_TYPE = 2, SEGMENT = 3, FLOAT_DATA = 4, INT32_DATA = 5, STRING_DATA = 6,
    INT64_DATA = 7, NAME = 8, RAW_DATA = 9, DOUBLE_DATA = 10, UINT64_DATA = 11, EXTERNAL_DATA = 13,
    DATA_LOCATION = 14,
};

enum {
    LOCATION_EXTERNAL = 1,
    TYPED_FIELDS = 1 << FLOAT_DATA | 1 << INT32_DATA | 1 << STRING_DATA | 1 << INT64_DATA |
                   1 << DOUBLE_DATA | 1 << UINT64_DATA,
};

struct source {
    const uint8_t *bytes; /* the whole message */
    size_t size;
    uint64_t type;
    int64_t dims[RANK_MAX];
    int rank;
    const uint8_t *raw;
    size_t raw_size;
    uint32_t seen; /* bit n: field n occurred with data in it */
    uint64_t location;
    struct onnx_external external;
};

static int add_dim(struct source *s, uint64_t value, struct error *e)
{
    int64_t dim = (int64_t)value;
    if (s->rank == RANK_MAX)
        return error_set(e, ERROR_UNSUPPORTED, "has more than %d dimensions", RANK_MAX);
    if (dim < 0)
        return error_set(e, ERROR_FORMAT, "dimension %d is %lld", s->rank, (long long)dim);
    s->dims[s->rank++] = dim;
    return 0;
}

static int add_dims(struct source *s, const struct wire_field *field, struct error *e)
{
    if (field->type == WIRE_VARINT)
        return add_dim(s, field->value, e);
    struct wire w = wire_of(field->bytes, field->size);
    int result = 0;
    while (!result && w.at != w.end) {
        uint64_t value;
        result = wire_varint(&w, &value) ? onnx_malformed(e) : add_dim(s, value, e);
    }
    return result;
}

static int collect(struct onnx_file *f, struct source *s, const struct wire_field *field,
                   struct error *e)
{
    if (field->number < 32 && (field->type != WIRE_BYTES || field->size))
        s->seen |= 1u << field->number;
    switch (field->number) {
    case DIMS:
        return add_dims(s, field, e);
    case DATA_TYPE:
        s->type = field->value;
        return 0;
    case RAW_DATA:
        s->raw = field->bytes;
        s->raw_size = field->size;
        return 0;
    case EXTERNAL_DATA:
        return onnx_external_entry(f, field, &s->external, e);
    case DATA_LOCATION:
        s->location = field->value;
        return 0;
    default:
        return 0;
    }
}

/* Whether the fields we look at have the wire type they must have; others are not looked at. */
static int right_wire_type(const struct wire_field *field)
{
    switch (field->number) {
    case DATA_TYPE:
    case DATA_LOCATION:
        return field->type == WIRE_VARINT;
    case NAME:
    case RAW_DATA:
    case EXTERNAL_DATA:
    case STRING_DATA:
        return field->type == WIRE_BYTES;
    case FLOAT_DATA:
        return field->type == WIRE_BYTES || field->type == WIRE_FIXED32;
    case DOUBLE_DATA:
        return field->type == WIRE_BYTES || field->type == WIRE_FIXED64;
    case DIMS:
    case INT32_DATA:
    case INT64_DATA:
    case UINT64_DATA:
        return field->type == WIRE_BYTES || field->type == WIRE_VARINT;
    default:
        return 1;
    }
}

static int scan(struct onnx_file *f, struct source *s, struct error *e)
{
    struct wire w = wire_of(s->bytes, s->size);
    struct wire_field field;
    int more, result = 0;
    while (!result && (more = wire_next(&w, &field))) {
        if (more < 0 || !right_wire_type(&field))
            return onnx_malformed(e);
        result = collect(f, s, &field, e);
    }
    return result;
}

/* Looked for first, as it usually stands after what may be wrong and belongs into the error. */
static int find_name(struct onnx_file *f, const struct source *s, const char **name,
                     struct error *e)
{
    struct wire w = wire_of(s->bytes, s->size);
    struct wire_field field, last = {0};
    while (wire_next(&w, &field) > 0)
        if (field.number == NAME && field.type == WIRE_BYTES)
            last = field;
    *name = last.size ? arena_text(&f->arena, (const char *)last.bytes, last.size) : "";
    if (*name)
        return 0;
    *name = "";
    return error_memory(e);
}

static uint32_t typed_field(enum dtype type)
{
    switch (type) {
    case DTYPE_F32:
        return FLOAT_DATA;
    case DTYPE_F64:
        return DOUBLE_DATA;
    case DTYPE_I64:
        return INT64_DATA;
    case DTYPE_U32:
    case DTYPE_U64:
        return UINT64_DATA;
    default:
        return INT32_DATA;
    }
}

struct decoder {
    uint8_t *out; /* NULL: only count */
    size_t element;
    int64_t count;
    int64_t lowest, highest; /* what fits the element; a half float's bits may come either way */
};

static void decoder_init(struct decoder *d, enum dtype type, uint32_t field)
{
    *d = (struct decoder){.element = dtype_size(type), .lowest = INT64_MIN, .highest = INT64_MAX};
    if (field == INT32_DATA) {
        unsigned bits = (unsigned)d->element * 8;
        d->lowest = type == DTYPE_U8 || type == DTYPE_U16 || type == DTYPE_BOOL
                        ? 0 : -((int64_t)1 << (bits - 1));
        d->highest = type == DTYPE_BOOL ? 1 : ((int64_t)1 << bits) - 1;
        if (type == DTYPE_I8 || type == DTYPE_I16 || type == DTYPE_I32)
            d->highest = ((int64_t)1 << (bits - 1)) - 1;
    } else if (type == DTYPE_U32) {
        d->lowest = 0;
        d->highest = UINT32_MAX;
    }
}

static int decode_value(struct decoder *d, uint64_t value, struct error *e)
{
    int64_t number = (int64_t)value;
    if (number < d->lowest || number > d->highest)
        return error_set(e, ERROR_FORMAT, "value %lld of element %lld does not fit its type",
                         (long long)number, (long long)d->count);
    if (d->out)
        memcpy(d->out + (size_t)d->count * d->element, &value, d->element);
    d->count++;
    return 0;
}

static int decode_field(struct decoder *d, const struct wire_field *field, struct error *e)
{
    if (field->type != WIRE_BYTES)
        return decode_value(d, field->value, e);
    struct wire w = wire_of(field->bytes, field->size);
    size_t fixed = field->number == FLOAT_DATA ? 4 : field->number == DOUBLE_DATA ? 8 : 0;
    int result = 0;
    while (!result && w.at != w.end) {
        uint64_t value;
        int bad = fixed ? wire_fixed(&w, fixed, &value) : wire_varint(&w, &value);
        result = bad ? onnx_malformed(e) : decode_value(d, value, e);
    }
    return result;
}

static int decode_all(struct decoder *d, const struct source *s, uint32_t number, struct error *e)
{
    struct wire w = wire_of(s->bytes, s->size);
    struct wire_field field;
    int result = 0;
    while (!result && wire_next(&w, &field) > 0)
        if (field.number == number)
            result = decode_field(d, &field, e);
    return result;
}

static int wrong_size(const struct tensor *t, int64_t has, const char *unit, int64_t needs,
                      struct error *e)
{
    char text[80];
    return error_set(e, ERROR_FORMAT, "has %lld %s, but shape %s of %s needs %lld", (long long)has,
                     unit, shape_text(&t->shape, text, sizeof text), dtype_name(t->type),
                     (long long)needs);
}

/* Counts first, so that memory is asked for values that are there and not for what dims claim. */
static int read_typed(struct onnx_file *f, const struct source *s, struct tensor *t,
                      struct error *e)
{
    uint32_t number = typed_field(t->type);
    if (s->seen & TYPED_FIELDS & ~(1u << number))
        return error_set(e, ERROR_FORMAT, "has data in a field that is not for %s",
                         dtype_name(t->type));
    struct decoder d;
    decoder_init(&d, t->type, number);
    int result = decode_all(&d, s, number, e);
    if (result)
        return result;
    int64_t elements = shape_elements(&t->shape);
    if (d.count != elements)
        return wrong_size(t, d.count, "values", elements, e);
    if (!elements)
        return 0;
    t->data = d.out = arena_array(&f->arena, (size_t)elements, d.element);
    d.count = 0;
    return d.out ? decode_all(&d, s, number, e) : error_memory(e);
}

int onnx_place_data(struct onnx_file *f, const uint8_t *bytes, int in_place, struct tensor *t,
                    struct error *e)
{
    size_t size = (size_t)shape_bytes(&t->shape, t->type);
    if (!size)
        return 0;
    if (in_place && (uintptr_t)bytes % dtype_size(t->type) == 0) {
        t->data = (void *)(uintptr_t)bytes;
        return 0;
    }
    t->data = arena_alloc(&f->arena, size);
    if (!t->data)
        return error_memory(e);
    memcpy(t->data, bytes, size);
    return 0;
}

static int set_type(const struct source *s, struct tensor *t, struct error *e)
{
    t->type = s->type <= DTYPE_BF16 ? (enum dtype)s->type : DTYPE_NONE;
    if (!s->type)
        return error_set(e, ERROR_FORMAT, "has no element type");
    if (!dtype_size(t->type))
        return error_set(e, ERROR_UNSUPPORTED, "has element type %llu (%s), which is not supported",
                         (unsigned long long)s->type, dtype_name(t->type));
    t->shape.rank = s->rank;
    memcpy(t->shape.dims, s->dims, sizeof s->dims);
    if (shape_bytes(&t->shape, t->type) < 0) {
        char text[80];
        return error_set(e, ERROR_FORMAT, "is too large: %s",
                         shape_text(&t->shape, text, sizeof text));
    }
    return 0;
}

static int read_raw(struct onnx_file *f, const struct source *s, int in_place, struct tensor *t,
                    struct error *e)
{
    int64_t needs = shape_bytes(&t->shape, t->type);
    if (s->seen & TYPED_FIELDS)
        return error_set(e, ERROR_FORMAT, "has both raw and typed data");
    if ((uint64_t)needs != s->raw_size)
        return wrong_size(t, (int64_t)s->raw_size, "bytes of data", needs, e);
    return onnx_place_data(f, s->raw, in_place, t, e);
}

int onnx_read_tensor(struct onnx_file *f, const uint8_t *bytes, size_t size, int in_place,
                     const char **name, struct tensor *out, struct error *e)
{
    struct source s = {.bytes = bytes, .size = size, .external.length = -1};
    *out = (struct tensor){0};
    int result = name ? find_name(f, &s, name, e) : 0;
    if (!result)
        result = scan(f, &s, e);
    if (!result)
        result = set_type(&s, out, e);
    if (result)
        return result;
    if (s.seen & 1u << SEGMENT)
        return error_set(e, ERROR_UNSUPPORTED, "is stored in segments, which is not supported");
    if (s.location > LOCATION_EXTERNAL)
        return error_set(e, ERROR_FORMAT, "has data location %llu",
                         (unsigned long long)s.location);
    if (s.location == LOCATION_EXTERNAL)
        return onnx_external_data(f, &s.external, out, e);
    if (s.seen & 1u << RAW_DATA)
        return read_raw(f, &s, in_place, out, e);
    return read_typed(f, &s, out, e);
}
