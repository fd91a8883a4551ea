/* pt_tensor.c: what goes in and comes out. Compiled packages and TorchScript tell neither types nor
 * shapes, and a package not even the names its author used: what wattle prepared carries a
 * description (prepare.h); of what others made, the user tells the inputs, and a run the
 * outputs. */
#include "runtime/adapters.h"
#include "runtime/pt.h"

#include "base/buffer.h"

#include <string.h>

enum { LIST_MAX = 200, NAME_MAX_BYTES = 255 };
#define BYTES_MAX ((uint64_t)1 << 46)

int pt_tensor_name(struct pt *p, struct adapter_tensor *list, size_t *count, const char *role,
                   const char *name, struct error *e)
{
    if (*count == ADAPTER_TENSOR_MAX)
        return error_set(e, ERROR_UNSUPPORTED, "model has more than %d %ss", ADAPTER_TENSOR_MAX,
                         role);
    size_t size = name ? strlen(name) : 0;
    if (!size || size > NAME_MAX_BYTES)
        return error_set(e, ERROR_UNSUPPORTED, "%s %zu has no name of 1 to %d bytes", role, *count,
                         NAME_MAX_BYTES);
    list[*count].name = arena_text(&p->texts, name, size);
    return list[(*count)++].name ? 0 : error_memory(e);
}

void pt_tensor_strides(const struct adapter_tensor *t, int64_t strides[ADAPTER_RANK_MAX])
{
    int64_t stride = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        strides[i] = stride;
        stride *= t->dims[i] ? t->dims[i] : 1;
    }
}

/* More than a worker's tensor memory may have is a mistake. */
static int count_bytes(struct adapter_tensor *t, struct error *e)
{
    uint64_t bytes = pt_type_named(t->type)->bytes;
    for (int i = 0; i < t->rank; i++)
        if (t->dims[i] < 0 || __builtin_mul_overflow(bytes, (uint64_t)t->dims[i], &bytes) ||
            bytes > BYTES_MAX)
            return error_set(e, ERROR_MEMORY, "'%.100s' has more bytes than there can be", t->name);
    t->bytes = bytes;
    return 0;
}

static int set_type(struct adapter_tensor *t, const char *name, struct error *e)
{
    const struct pt_type *type = pt_type_named(name);
    if (!type || pt_type_number(name) < 0)
        return error_set(e, ERROR_UNSUPPORTED, "'%.100s' has element type '%.40s', which is not "
                         "taken", t->name, name);
    t->type = type->name;
    return 0;
}

/* --- by the description ----------------------------------------------------------------------- */

static int wrong(const char *role, size_t index, const char *why, struct error *e)
{
    return error_set(e, ERROR_FORMAT, "extra/wattle.json of the model: %s %zu %s", role, index,
                     why);
}

/* Sizes that are not fixed become -1. */
static int read_sizes(json_t *shape, struct adapter_tensor *t, const char *role, size_t index,
                      struct error *e)
{
    size_t rank = json_array_size(shape);
    if (!json_is_array(shape) || rank > ADAPTER_RANK_MAX)
        return wrong(role, index, "has no shape of at most 8 sizes", e);
    t->rank = (int)rank;
    for (size_t i = 0; i < rank; i++) {
        json_t *size = json_array_get(shape, i);
        int64_t value = json_is_integer(size) ? json_integer_value(size) : -1;
        if ((value < 0 && !json_is_null(size)) || value > INT32_MAX)
            return wrong(role, index, "has a size that is none", e);
        t->dims[i] = value;
    }
    return 0;
}

/* What an input may be made up of: embeddings do not take any integer. */
static int read_range(json_t *range, double out[2], struct adapter_tensor *t, size_t index,
                      struct error *e)
{
    if (!range || json_is_null(range))
        return 0;
    json_t *low = json_array_get(range, 0), *high = json_array_get(range, 1);
    if (json_array_size(range) != 2 || !json_is_number(low) || !json_is_number(high) ||
        json_number_value(low) > json_number_value(high))
        return wrong("input", index, "has a range that is not [LOW, HIGH]", e);
    out[0] = json_number_value(low);
    out[1] = json_number_value(high);
    t->range = out;
    return 0;
}

static int read_item(struct pt *p, json_t *item, struct adapter_tensor *t, const char *role,
                     size_t index, struct error *e)
{
    const char *name = json_string_value(json_object_get(item, "name"));
    const char *type = json_string_value(json_object_get(item, "type"));
    if (!name || !*name || strlen(name) > NAME_MAX_BYTES || !type)
        return wrong(role, index, "has no name or type", e);
    t->name = arena_text(&p->texts, name, strlen(name));
    int code = t->name ? set_type(t, type, e) : error_memory(e);
    return code ? code : read_sizes(json_object_get(item, "shape"), t, role, index, e);
}

static int read_list(struct pt *p, const char *role, const char *member,
                     struct adapter_tensor *list, size_t count, struct error *e)
{
    json_t *items = json_object_get(p->description, member);
    if (!json_is_array(items) || json_array_size(items) != count)
        return error_set(e, ERROR_FORMAT, "extra/wattle.json of the model tells of %zu %ss, its "
                         "code has %zu", json_array_size(items), role, count);
    int code = 0;
    for (size_t i = 0; !code && i < count; i++)
        code = read_item(p, json_array_get(items, i), &list[i], role, i, e);
    return code;
}

/* --- by the request --------------------------------------------------------------------------- */

static const struct adapter_shape *asked(const struct adapter_request *r, const char *name)
{
    for (size_t i = 0; i < r->shape_count; i++)
        if (!strcmp(r->shapes[i].name, name))
            return &r->shapes[i];
    return NULL;
}

static int refuse_input(const struct pt *p, const char *what, const char *name, struct error *e)
{
    struct buffer names;
    buffer_init(&names, LIST_MAX);
    for (size_t i = 0; i < p->input_count; i++)
        buffer_format(&names, "%s%s", i ? ", " : "", p->inputs[i].name);
    error_set(e, ERROR_USAGE, "%s '%.100s' (its inputs: %s)", what, name, buffer_string(&names));
    buffer_release(&names);
    return error_hint(e, "--shape %.60s=TYPE:1x3x224x224, as the model takes it",
                      p->input_count == 1 ? p->inputs[0].name : name);
}

/* Sizes the file leaves open are -1 here, and filled. */
static int take_shape(struct adapter_tensor *t, const struct adapter_shape *s, struct error *e)
{
    if (*s->type && strcmp(s->type, t->type) != 0)
        return error_set(e, ERROR_UNSUPPORTED, "input '%.100s' has element type %s, not %.40s",
                         t->name, t->type, s->type);
    int fits = s->rank == t->rank;
    for (int i = 0; fits && i < t->rank; i++)
        fits = t->dims[i] < 0 || t->dims[i] == s->dims[i];
    if (!fits) {
        error_set(e, ERROR_UNSUPPORTED, "input '%.100s' cannot have the shape that was asked for: "
                  "the model was made for another", t->name);
        return error_hint(e, "make it anew from its source with the shape you want");
    }
    memcpy(t->dims, s->dims, sizeof t->dims);
    return 0;
}

/* The first open size of an input is taken for its batch. */
static int close_sizes(struct adapter_tensor *t, int64_t batch, struct error *e)
{
    for (int i = 0; i < t->rank; i++) {
        if (t->dims[i] >= 0)
            continue;
        if (i)
            return error_set(e, ERROR_USAGE, "size %d of input '%.100s' is open: give its shape "
                             "(--shape)", i, t->name);
        t->dims[i] = batch;
    }
    return 0;
}

static int settle_input(struct pt *p, size_t i, const struct adapter_request *r, struct error *e)
{
    struct adapter_tensor *t = &p->inputs[i];
    const struct adapter_shape *s = asked(r, t->name);
    if (!p->description && !s)
        return refuse_input(p, "the model does not tell the type and shape of its input", t->name,
                            e);
    int code = 0;
    if (!p->description) {
        code = set_type(t, *s->type ? s->type : "float32", e);
        t->rank = s->rank;
        memcpy(t->dims, s->dims, sizeof t->dims);
    } else {
        code = s ? take_shape(t, s, e) : close_sizes(t, r->batch, e);
    }
    if (!code)
        code = count_bytes(t, e);
    if (code)
        return code;
    p->in[i].type = pt_type_number(t->type);
    pt_tensor_strides(t, p->in[i].strides);
    return 0;
}

static int check_names(const struct pt *p, const struct adapter_request *r, struct error *e)
{
    for (size_t k = 0; k < r->shape_count; k++) {
        int is_there = 0;
        for (size_t i = 0; i < p->input_count; i++)
            is_there |= !strcmp(p->inputs[i].name, r->shapes[k].name);
        if (!is_there)
            return refuse_input(p, "the model has no input", r->shapes[k].name, e);
    }
    return 0;
}

/* An output whose sizes are not all known has none before it was run. */
static int settle_output(struct adapter_tensor *t, struct error *e)
{
    int known = 1;
    for (int i = 0; i < t->rank; i++)
        known &= t->dims[i] >= 0;
    for (int i = 0; i < t->rank && !known; i++)
        t->dims[i] = t->dims[i] < 0 ? 0 : t->dims[i];
    return known ? count_bytes(t, e) : 0;
}

int pt_tensors_describe(struct pt *p, const struct adapter_request *r, struct error *e)
{
    int code = 0;
    if (p->description)
        code = read_list(p, "input", "inputs", p->inputs, p->input_count, e);
    if (!code && p->description)
        code = read_list(p, "output", "outputs", p->outputs, p->output_count, e);
    if (!code && !p->description)
        code = check_names(p, r, e);
    for (size_t i = 0; !code && i < p->input_count; i++)
        code = settle_input(p, i, r, e);
    for (size_t i = 0; !code && p->description && i < p->input_count; i++)
        code = read_range(json_object_get(json_array_get(json_object_get(p->description, "inputs"),
                                                         i), "range"),
                          p->ranges[i], &p->inputs[i], i, e);
    for (size_t i = 0; !code && p->description && i < p->output_count; i++)
        code = settle_output(&p->outputs[i], e);
    if (!code && adapter_check_batch(r->batch, p->inputs, p->input_count, e))
        code = error_hint(e, "the file was made for another batch: make it anew for this one");
    return code;
}

/* --- by a tensor ------------------------------------------------------------------------------ */

int pt_tensor_read(const struct pt *p, void *tensor, struct adapter_tensor *t, struct error *e)
{
    const struct pt_api *a = &p->api;
    int64_t rank = 0, *dims = NULL;
    int32_t type = -1;
    if (a->type_of(tensor, &type) || a->rank_of(tensor, &rank) || a->dims_of(tensor, &dims))
        return pt_api_error(a, NULL, e, "cannot inspect output '%.100s'", t->name);
    const struct pt_type *known = pt_type_find(type);
    if (!known || rank < 0 || rank > ADAPTER_RANK_MAX)
        return error_set(e, ERROR_UNSUPPORTED, "output '%.100s' has element type %d and rank %lld, "
                         "which are not taken", t->name, (int)type, (long long)rank);
    t->type = known->name;
    t->rank = (int)rank;
    for (int i = 0; i < t->rank; i++)
        t->dims[i] = dims[i];
    return count_bytes(t, e);
}
