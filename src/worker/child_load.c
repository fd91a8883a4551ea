#include "worker/child.h"
#include "worker/field.h"

#include "base/clock.h"
#include "base/text.h"

#include <string.h>

enum { THREADS_MAX = 4096, BATCH_MAX = INT32_MAX, DIM_VALUE_MAX = INT32_MAX };

static int find_adapter(const char *name, const struct adapter **out, struct error *e)
{
    *out = adapter_find(name);
    if (*out)
        return 0;
    const char *names[ADAPTER_TENSOR_MAX];
    size_t count, shown = 0;
    const struct adapter *const *all = adapter_all(&count);
    for (size_t i = 0; i < count && shown < ADAPTER_TENSOR_MAX; i++)
        if (!all[i]->hidden)
            names[shown++] = all[i]->name;
    const char *near = text_nearest(name, names, shown);
    error_set(e, ERROR_USAGE, "unknown runtime '%.60s'", name);
    return near ? error_hint(e, "did you mean '%s'?", near) : ERROR_USAGE;
}

static int check_listed(const char *value, const char *const *list, const char *what,
                        const char *runtime, struct error *e)
{
    for (size_t i = 0; list[i]; i++)
        if (!strcmp(list[i], value))
            return 0;
    return error_set(e, ERROR_USAGE, "runtime '%s' has no %s '%.60s'", runtime, what, value);
}

static int read_dims(struct child *c, json_t *dims, struct adapter_request *r, struct error *e)
{
    const char *symbol;
    json_t *value;
    if (json_object_size(dims) > ADAPTER_DIM_MAX)
        return error_set(e, ERROR_USAGE, "\"dims\" has more than %d members", ADAPTER_DIM_MAX);
    json_object_foreach(dims, symbol, value) {
        int64_t size;
        int code = field_integer(dims, symbol, 0, DIM_VALUE_MAX, &size, e);
        if (code)
            return code;
        c->dims[r->dim_count++] = (struct adapter_dim){symbol, size};
    }
    r->dims = c->dims;
    return 0;
}

static int read_shape(const char *name, json_t *sizes, struct adapter_shape *shape, struct error *e)
{
    size_t i;
    json_t *size;
    if (!json_is_array(sizes) || json_array_size(sizes) > ADAPTER_RANK_MAX)
        return error_set(e, ERROR_USAGE, "shape of '%.60s' is not an array of at most %d sizes",
                         name, ADAPTER_RANK_MAX);
    *shape = (struct adapter_shape){.name = name, .type = "",
                                    .rank = (int)json_array_size(sizes)};
    json_array_foreach(sizes, i, size) {
        int64_t value = json_is_integer(size) ? json_integer_value(size) : -1;
        if (value < 0 || value > DIM_VALUE_MAX)
            return error_set(e, ERROR_USAGE, "shape of '%.60s': size %zu is not within 0..%d",
                             name, i, DIM_VALUE_MAX);
        shape->dims[i] = value;
    }
    return 0;
}

static int read_shapes(struct child *c, json_t *command, struct adapter_request *r,
                       struct error *e)
{
    json_t *shapes, *types, *sizes;
    const char *name;
    int code = field_object(command, "shapes", &shapes, e);
    if (!code)
        code = field_object(command, "types", &types, e);
    if (code)
        return code;
    if (json_object_size(shapes) > ADAPTER_TENSOR_MAX)
        return error_set(e, ERROR_USAGE, "\"shapes\" has more than %d members",
                         ADAPTER_TENSOR_MAX);
    json_object_foreach(shapes, name, sizes) {
        struct adapter_shape *shape = &c->shapes[r->shape_count++];
        code = read_shape(name, sizes, shape, e);
        if (!code && types)
            code = field_text(types, name, "", &shape->type, e);
        if (code)
            return code;
    }
    r->shapes = c->shapes;
    return 0;
}

/* The installation and the plug-in that the parent chose; both "" for what is built in. */
static int read_installation(json_t *command, struct adapter_request *r, struct error *e)
{
    int64_t require = 0;
    int code = field_text(command, "library", "", &r->library, e);
    if (!code)
        code = field_text(command, "provider_library", "", &r->provider_library, e);
    if (!code)
        code = field_integer_or(command, "require_provider", 0, 1, 0, &require, e);
    r->require_provider = (int)require;
    return code;
}

static int read_names(json_t *command, const struct adapter *a, struct adapter_request *r,
                      struct error *e)
{
    int code = field_text(command, "model", NULL, &r->model, e);
    if (!code)
        code = field_text(command, "variant", "", &r->variant, e);
    if (!code)
        code = field_text(command, "provider", a->providers[0], &r->provider, e);
    if (!code)
        code = field_text(command, "precision", a->precisions[0], &r->precision, e);
    if (!code)
        code = field_text(command, "spin", "off", &r->spin, e);
    if (!code)
        code = check_listed(r->provider, a->providers, "provider", a->name, e);
    if (!code)
        code = check_listed(r->precision, a->precisions, "precision", a->name, e);
    if (!code && a->variants)
        code = check_listed(r->variant, a->variants, "variant", a->name, e);
    return code;
}

static int read_devices(struct child *c, json_t *devices, const struct adapter *a,
                        struct adapter_request *r, struct error *e)
{
    size_t i;
    json_t *device;
    if (json_array_size(devices) && !a->takes_devices)
        return error_set(e, ERROR_UNSUPPORTED, "runtime %s takes no \"devices\"", a->name);
    if (json_array_size(devices) > CHILD_DEVICE_MAX)
        return error_set(e, ERROR_USAGE, "\"devices\" has more than %d members", CHILD_DEVICE_MAX);
    json_array_foreach(devices, i, device) {
        c->devices[i] = json_string_value(device);
        if (!c->devices[i])
            return error_set(e, ERROR_USAGE, "\"devices\" must be an array of strings");
    }
    r->devices = c->devices;
    r->device_count = json_array_size(devices);
    return 0;
}

static int read_numbers(struct child *c, json_t *command, const struct adapter *a,
                        struct adapter_request *r, struct error *e)
{
    int64_t threads = 1;
    json_t *dims, *devices;
    int code = field_integer_or(command, "threads", 1, THREADS_MAX, 1, &threads, e);
    r->threads = (int)threads;
    if (!code)
        code = field_integer_or(command, "batch", 1, BATCH_MAX, 1, &r->batch, e);
    if (!code)
        code = field_object(command, "dims", &dims, e);
    if (!code)
        code = read_dims(c, dims, r, e);
    if (!code)
        code = read_shapes(c, command, r, e);
    if (!code)
        code = field_object(command, "options", &r->options, e);
    if (!code)
        code = field_array(command, "devices", &devices, e);
    return code ? code : read_devices(c, devices, a, r, e);
}

static json_t *tensor_json(const struct adapter_tensor *t)
{
    json_t *shape = json_array();
    for (int i = 0; shape && i < t->rank; i++)
        if (json_array_append_new(shape, json_integer(t->dims[i]))) {
            json_decref(shape);
            shape = NULL;
        }
    json_t *range = shape && t->range ? json_pack("[f,f]", t->range[0], t->range[1]) : NULL;
    return shape ? json_pack("{s:s,s:s,s:o,s:o*}", "name", t->name, "type", t->type, "shape", shape,
                             "range", range)
                 : NULL;
}

static int put_tensors(json_t *reply, const char *name, const struct adapter_tensor *tensors,
                       size_t count, struct error *e)
{
    json_t *list = json_array();
    int code = child_put(reply, name, list, e);
    for (size_t i = 0; !code && i < count; i++)
        if (json_array_append_new(list, tensor_json(&tensors[i])))
            code = error_memory(e);
    return code;
}

static int put_loaded(json_t *reply, const struct adapter *a, const struct adapter_loaded *l,
                      uint64_t load_ns, struct error *e)
{
    int code = child_put(reply, "load_ns", json_integer((json_int_t)load_ns), e);
    if (!code)
        code = child_put(reply, "runtime", json_string(a->name), e);
    if (!code)
        code = child_put(reply, "version", json_string(l->version), e);
    if (!code)
        code = child_put(reply, "library", json_string(l->library), e);
    if (!code)
        code = child_put(reply, "provider", json_string(l->provider), e);
    if (!code)
        code = child_put(reply, "settings", json_incref(l->settings), e);
    if (!code)
        code = put_tensors(reply, "inputs", l->inputs, l->input_count, e);
    if (!code)
        code = put_tensors(reply, "outputs", l->outputs, l->output_count, e);
    return code;
}

int child_load(struct child *c, json_t *command, json_t *reply, struct error *e)
{
    struct adapter_request r = {0};
    const char *runtime;
    const struct adapter *a = NULL;
    if (c->adapter)
        return error_set(e, ERROR_USAGE, "a model is already loaded: one for each process");
    int code = field_text(command, "runtime", NULL, &runtime, e);
    if (!code)
        code = find_adapter(runtime, &a, e);
    if (!code)
        code = read_names(command, a, &r, e);
    if (!code)
        code = read_installation(command, &r, e);
    if (!code)
        code = read_numbers(c, command, a, &r, e);
    if (code)
        return code;
    uint64_t begin_ns = clock_monotonic_ns();
    code = a->load(&r, &c->state, &c->loaded, e);
    uint64_t load_ns = clock_monotonic_ns() - begin_ns;
    if (code)
        return code;
    c->adapter = a;
    c->request = json_incref(command);
    return put_loaded(reply, a, &c->loaded, load_ns, e);
}
