#include "model/onnx_read.h"
#include "onnx.pb-c.h"

#include <stdlib.h>
#include <string.h>

/* What protobuf-c may take for one message: it copies strings and makes structs that are larger
 * than the few bytes that ask for them. Freed again after each message. */
struct budget {
    size_t left;
    int refused;
};

enum { BUDGET_BASE_BYTES = 1 << 20, BUDGET_FACTOR = 32 };

static void *budget_alloc(void *data, size_t size)
{
    struct budget *b = data;
    void *p = size <= b->left ? malloc(size ? size : 1) : NULL;
    if (p)
        b->left -= size;
    else
        b->refused = 1;
    return p;
}

static void budget_free(void *data, void *p)
{
    (void)data;
    free(p);
}

struct unpacker {
    struct budget budget;
    ProtobufCAllocator allocator;
    ProtobufCMessage *message;
};

static int unpack(struct unpacker *u, const ProtobufCMessageDescriptor *descriptor,
                  const struct wire_field *field, struct error *e)
{
    *u = (struct unpacker){.allocator = {.alloc = budget_alloc, .free = budget_free}};
    u->allocator.allocator_data = &u->budget;
    if (field->type != WIRE_BYTES) {
        onnx_malformed(e);
        return ERROR_FORMAT;
    }
    u->budget.left = BUDGET_BASE_BYTES;
    if (__builtin_add_overflow(u->budget.left, field->size * BUDGET_FACTOR, &u->budget.left))
        u->budget.left = SIZE_MAX;
    const uint8_t *bytes = field->size ? field->bytes : (const uint8_t *)"";
    u->message = protobuf_c_message_unpack(descriptor, &u->allocator, field->size, bytes);
    if (u->message)
        return 0;
    if (u->budget.refused)
        return error_memory(e);
    onnx_malformed(e);
    return ERROR_FORMAT;
}

static void release(struct unpacker *u)
{
    protobuf_c_message_free_unpacked(u->message, &u->allocator);
}

static const char *copy_text(struct onnx_file *f, const char *text)
{
    return text && *text ? arena_text(&f->arena, text, strlen(text)) : "";
}

static const char *const *copy_texts(struct onnx_file *f, char **texts, size_t count)
{
    const char **list = arena_array(&f->arena, count, sizeof *list);
    for (size_t i = 0; list && i < count; i++)
        if (!(list[i] = copy_text(f, texts[i])))
            return NULL;
    return list;
}

static const void *copy_array(struct onnx_file *f, const void *from, size_t count, size_t size)
{
    void *to = arena_array(&f->arena, count, size);
    if (to && count)
        memcpy(to, from, count * size);
    return to;
}

static const char *const *copy_byte_strings(struct onnx_file *f, const ProtobufCBinaryData *from,
                                            size_t count)
{
    const char **list = arena_array(&f->arena, count, sizeof *list);
    for (size_t i = 0; list && i < count; i++)
        if (!(list[i] = arena_text(&f->arena, (const char *)from[i].data, from[i].len)))
            return NULL;
    return list;
}

/* A list attribute keeps one of the three; count is of whichever the type names. */
static int read_lists(struct onnx_file *f, const Onnx__AttributeProto *from,
                      struct onnx_attribute *out, struct error *e)
{
    if (out->type == ONNX_FLOATS) {
        out->count = from->n_floats;
        out->floats = copy_array(f, from->floats, out->count, sizeof *out->floats);
        return out->floats ? 0 : error_memory(e);
    }
    if (out->type == ONNX_INTS) {
        out->count = from->n_ints;
        out->ints = copy_array(f, from->ints, out->count, sizeof *out->ints);
        return out->ints ? 0 : error_memory(e);
    }
    if (out->type == ONNX_STRINGS) {
        out->count = from->n_strings;
        out->strings = copy_byte_strings(f, from->strings, out->count);
        return out->strings ? 0 : error_memory(e);
    }
    return 0;
}

static int read_value_of(struct onnx_file *f, const Onnx__AttributeProto *from,
                         struct onnx_attribute *out, struct error *e)
{
    if (from->ref_attr_name && *from->ref_attr_name) {
        out->type = from->has_type ? from->type : 0;
        out->ref = copy_text(f, from->ref_attr_name);
        return out->ref ? 0 : error_memory(e);
    }
    if (!from->has_type || !from->type)
        return error_set(e, ERROR_FORMAT, "has no type");
    out->type = from->type;
    out->f = from->f;
    out->i = from->i;
    if (out->type == ONNX_STRING) {
        out->s_size = from->s.len;
        out->s = arena_text(&f->arena, (const char *)from->s.data, from->s.len);
        return out->s ? 0 : error_memory(e);
    }
    if (out->type == ONNX_TENSOR) {
        if (!from->has_t)
            return error_set(e, ERROR_FORMAT, "has no tensor");
        return onnx_read_tensor(f, from->t.data, from->t.len, 0, NULL, &out->tensor, e);
    }
    if (out->type == ONNX_GRAPH)
        return onnx_read_graph(f, from->g.data, from->g.len, &out->graph, e);
    return read_lists(f, from, out, e);
}

static int read_attribute(struct onnx_file *f, const Onnx__AttributeProto *from,
                          struct onnx_attribute *out, struct error *e)
{
    struct onnx_quote q;
    out->name = copy_text(f, from->name);
    if (!out->name)
        return error_memory(e);
    if (!*out->name)
        return error_set(e, ERROR_FORMAT, "an attribute has no name");
    if (read_value_of(f, from, out, e))
        return error_context(e, "attribute '%s'", onnx_quote(&q, out->name));
    return 0;
}

int onnx_unpack_attribute(struct onnx_file *f, const struct wire_field *field,
                          struct onnx_attribute *out, struct error *e)
{
    struct unpacker u;
    *out = (struct onnx_attribute){.name = ""};
    int result = unpack(&u, &onnx__attribute_proto__descriptor, field, e);
    if (!result)
        result = read_attribute(f, (const Onnx__AttributeProto *)u.message, out, e);
    release(&u);
    return result;
}

static int read_attributes(struct onnx_file *f, const Onnx__NodeProto *from, struct onnx_node *out,
                           struct error *e)
{
    struct onnx_quote q;
    if (from->n_attribute > ONNX_ATTRIBUTES_MAX)
        return error_set(e, ERROR_UNSUPPORTED, "has %zu attributes, at most %d are read",
                         from->n_attribute, ONNX_ATTRIBUTES_MAX);
    struct onnx_attribute *list = arena_array(&f->arena, from->n_attribute, sizeof *list);
    if (!list)
        return error_memory(e);
    out->attributes = list;
    for (size_t i = 0; i < from->n_attribute; i++) {
        int result = read_attribute(f, from->attribute[i], &list[i], e);
        if (result)
            return result;
        if (onnx_attribute_find(out, list[i].name))
            return error_set(e, ERROR_FORMAT, "has attribute '%s' twice",
                             onnx_quote(&q, list[i].name));
        out->attribute_count++;
    }
    return 0;
}

static int read_node(struct onnx_file *f, const Onnx__NodeProto *from, struct onnx_node *out,
                     struct error *e)
{
    const char *domain = from->domain && strcmp(from->domain, "ai.onnx") ? from->domain : "";
    out->name = copy_text(f, from->name);
    out->op_type = copy_text(f, from->op_type);
    out->domain = copy_text(f, domain);
    out->overload = copy_text(f, from->overload);
    out->inputs = copy_texts(f, from->input, from->n_input);
    out->outputs = copy_texts(f, from->output, from->n_output);
    if (!out->name || !out->op_type || !out->domain || !out->overload || !out->inputs ||
        !out->outputs)
        return error_memory(e);
    out->input_count = from->n_input;
    out->output_count = from->n_output;
    if (!*out->op_type)
        return error_set(e, ERROR_FORMAT, "has no op_type");
    return read_attributes(f, from, out, e);
}

int onnx_unpack_node(struct onnx_file *f, const struct wire_field *field, struct onnx_node *out,
                     struct error *e)
{
    struct unpacker u;
    *out = (struct onnx_node){.name = "", .op_type = ""};
    int result = unpack(&u, &onnx__node_proto__descriptor, field, e);
    if (!result)
        result = read_node(f, (const Onnx__NodeProto *)u.message, out, e);
    release(&u);
    return result;
}

static int read_dim(struct onnx_file *f, const Onnx__DimensionProto *from, struct onnx_dim *out,
                    struct error *e)
{
    *out = (struct onnx_dim){.value = -1};
    if (from->has_dim_value && from->dim_value < -1)
        return error_set(e, ERROR_FORMAT, "has dimension %lld", (long long)from->dim_value);
    if (from->has_dim_value && from->dim_value >= 0)
        out->value = from->dim_value;
    else if (!(out->symbol = copy_text(f, from->dim_param)))
        return error_memory(e);
    return 0;
}

static int read_shape(struct onnx_file *f, const Onnx__TensorShapeProto *from,
                      struct onnx_value *out, struct error *e)
{
    if (from->n_dim > RANK_MAX)
        return error_set(e, ERROR_UNSUPPORTED, "has %zu dimensions, at most %d are supported",
                         from->n_dim, RANK_MAX);
    out->rank = (int)from->n_dim;
    int result = 0;
    for (int i = 0; !result && i < out->rank; i++)
        result = read_dim(f, from->dim[i], &out->dims[i], e);
    return result;
}

static int read_value(struct onnx_file *f, const Onnx__ValueInfoProto *from, struct onnx_value *out,
                      struct error *e)
{
    out->name = copy_text(f, from->name);
    if (!out->name)
        return error_memory(e);
    if (!*out->name)
        return error_set(e, ERROR_FORMAT, "has no name");
    const Onnx__TensorTypeProto *type = from->type ? from->type->tensor_type : NULL;
    if (!type)
        return 0;
    if (type->elem_type > 0 && type->elem_type <= DTYPE_BF16 &&
        strcmp(dtype_name((enum dtype)type->elem_type), "unknown"))
        out->type = (enum dtype)type->elem_type;
    return type->shape ? read_shape(f, type->shape, out, e) : 0;
}

int onnx_unpack_value(struct onnx_file *f, const struct wire_field *field, struct onnx_value *out,
                      struct error *e)
{
    struct unpacker u;
    *out = (struct onnx_value){.name = "", .rank = -1};
    int result = unpack(&u, &onnx__value_info_proto__descriptor, field, e);
    if (!result)
        result = read_value(f, (const Onnx__ValueInfoProto *)u.message, out, e);
    release(&u);
    return result;
}

int onnx_unpack_opset(const struct wire_field *field, int *is_default, int64_t *version,
                      struct error *e)
{
    struct unpacker u;
    int result = unpack(&u, &onnx__operator_set_id_proto__descriptor, field, e);
    if (!result) {
        const Onnx__OperatorSetIdProto *opset = (const Onnx__OperatorSetIdProto *)u.message;
        *is_default = !opset->domain || !*opset->domain || !strcmp(opset->domain, "ai.onnx");
        *version = opset->version;
    }
    release(&u);
    return result;
}

int onnx_unpack_metadata(struct onnx_file *f, const struct wire_field *field,
                         struct onnx_metadata *out, struct error *e)
{
    struct unpacker u;
    int result = unpack(&u, &onnx__string_string_entry_proto__descriptor, field, e);
    if (!result) {
        const Onnx__StringStringEntryProto *entry = (const Onnx__StringStringEntryProto *)u.message;
        out->key = copy_text(f, entry->key);
        out->value = copy_text(f, entry->value);
        if (!out->key || !out->value)
            result = error_memory(e);
    }
    release(&u);
    return result;
}
