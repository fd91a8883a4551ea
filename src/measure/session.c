#include "measure/session.h"

#include "runtime/adapter.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

static size_t align(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

int reply_u64(json_t *reply, const char *name, uint64_t *out, struct error *e)
{
    json_t *value = json_object_get(reply, name);
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return error_set(e, ERROR_FORMAT, "worker's reply has no whole number '%s'", name);
    *out = (uint64_t)json_integer_value(value);
    return 0;
}

static int reply_shape(json_t *dims, struct shape *shape)
{
    size_t rank = json_array_size(dims);
    if (!json_is_array(dims) || rank > RANK_MAX)
        return -1;
    *shape = (struct shape){.rank = (int)rank};
    for (size_t i = 0; i < rank; i++) {
        json_t *dim = json_array_get(dims, i);
        shape->dims[i] = json_is_integer(dim) ? json_integer_value(dim) : -1;
    }
    return shape_elements(shape) < 0 ? -1 : 0;
}

int reply_tensor(json_t *value, const char **name, enum dtype *type, struct shape *shape,
                 struct error *e)
{
    const char *type_name = json_string_value(json_object_get(value, "type"));
    *name = json_string_value(json_object_get(value, "name"));
    *type = type_name ? dtype_from_name(type_name) : DTYPE_NONE;
    if (!*name || *type == DTYPE_NONE || reply_shape(json_object_get(value, "shape"), shape) ||
        shape_bytes(shape, *type) < 0)
        return error_set(e, ERROR_FORMAT, "worker describes a tensor without name, type or shape");
    return 0;
}

int session_call(struct session *s, json_t *command, uint64_t extra_ns, json_t **reply,
                 struct error *e)
{
    json_t *ignored = NULL;
    uint64_t timeout_ns = s->options->timeout_ns + extra_ns;
    int result = worker_call(s->worker, command, timeout_ns, reply ? reply : &ignored, e);
    json_decref(ignored);
    return result;
}

static json_t *dims_json(const struct input_plan *p)
{
    json_t *dims = json_object();
    for (size_t i = 0; i < p->dim_count; i++)
        json_object_set_new(dims, p->dims[i].symbol, json_integer(p->dims[i].value));
    return dims;
}

static json_t *shapes_json(const struct input_plan *p)
{
    json_t *shapes = json_object();
    for (size_t i = 0; i < p->rule_count; i++) {
        const struct input_rule *r = &p->rules[i];
        if (r->shape.rank < 0)
            continue;
        json_t *sizes = json_array();
        for (int axis = 0; axis < r->shape.rank; axis++)
            json_array_append_new(sizes, json_integer(r->shape.dims[axis]));
        json_object_set_new(shapes, r->name, sizes);
    }
    return shapes;
}

static json_t *types_json(const struct input_plan *p)
{
    json_t *types = json_object();
    for (size_t i = 0; i < p->rule_count; i++)
        if (p->rules[i].type != DTYPE_NONE)
            json_object_set_new(types, p->rules[i].name,
                                json_string(dtype_name(p->rules[i].type)));
    return types;
}

/* "0+1" as ["0","1"]. */
static json_t *devices_json(const struct cell *c)
{
    json_t *devices = json_array();
    for (const char *at = c->devices; *at; at += *at == '+') {
        size_t size = strcspn(at, "+");
        json_array_append_new(devices, json_stringn(at, size));
        at += size;
    }
    return devices;
}

static const char *model_path(const struct cell *c)
{
    return c->artifact[0] ? c->artifact : c->path;
}

static int start_worker(struct session *s, const struct adapter_command *command,
                        json_t *environment, struct error *e)
{
    const char *argv[ADAPTER_ARGUMENT_MAX + 1] = {NULL};
    for (size_t i = 0; i < command->count; i++)
        argv[i] = command->arguments[i];
    struct worker_spec spec = {.argv = command->count ? argv : NULL, .environment = environment};
    return worker_start(&spec, &s->worker, e);
}

/* The user's own program. */
static int own_command(const char *typed, struct adapter_command *command, struct error *e)
{
    snprintf(command->arguments[0], sizeof command->arguments[0], "sh");
    snprintf(command->arguments[1], sizeof command->arguments[1], "-c");
    command->count = 3;
    return worker_shell(typed, command->arguments[2], sizeof command->arguments[2], e);
}

static int start(struct session *s, struct error *e)
{
    const struct cell *c = s->cell;
    /* Somebody's own program gets the same word on OpenMP's threads as the built-in engine. */
    const struct adapter *adapter = adapter_find(c->command[0] ? "builtin" : c->runtime);
    if (!adapter)
        return error_set(e, ERROR_USAGE, "unknown runtime '%s'", c->runtime);
    struct adapter_request request = {.model = model_path(c), .variant = c->variant,
                                      .library = c->library, .version = c->version,
                                      .provider = c->provider,
                                      .provider_library = c->provider_library,
                                      .require_provider = c->require_provider,
                                      .precision = measure_precision(c), .spin = c->spin,
                                      .threads = c->threads, .batch = c->batch};
    struct adapter_environment environment = {.variables = json_object()};
    struct adapter_command *command = calloc(1, sizeof *command);
    int result = environment.variables && command ? 0 : error_memory(e);
    if (!result && adapter->environment)
        result = adapter->environment(&request, &environment, e);
    if (!result && c->command[0])
        result = own_command(c->command, command, e);
    else if (!result && adapter->command)
        result = adapter->command(&request, command, e);
    if (!result)
        result = start_worker(s, command, environment.variables, e);
    json_decref(environment.variables);
    free(command);
    return result;
}

static int load(struct session *s, struct error *e)
{
    const struct cell *c = s->cell;
    json_t *options = json_loads(c->options[0] ? c->options : "{}", 0, NULL);
    json_t *command = json_pack(
        "{s:s, s:s, s:s, s:s, s:s*, s:s, s:i, s:s, s:o, s:i, s:I, s:s, s:s, s:o, s:o, s:o, s:o}",
        "op", "load", "runtime", c->runtime, "variant", c->variant, "library", c->library,
        "provider", c->provider[0] ? c->provider : NULL, "provider_library", c->provider_library,
        "require_provider", c->require_provider, "model", model_path(c), "devices", devices_json(c),
        "threads", c->threads, "batch", (json_int_t)c->batch, "precision",
        measure_precision(c),
        "spin", c->spin, "dims", dims_json(&s->plan), "shapes", shapes_json(&s->plan), "types",
        types_json(&s->plan), "options", options);
    if (!command)
        return error_memory(e);
    return session_call(s, command, 0, &s->loaded, e);
}

int session_open(struct session *s, const struct cell *c, const struct measure_options *o,
                 struct error *e)
{
    *s = (struct session){.cell = c, .options = o};
    int result = input_plan_make(&s->plan, c, o, e);
    if (!result)
        result = start(s, e);
    if (!result) {
        json_t *hello = json_pack("{s:s, s:i}", "op", "hello", "protocol", 1);
        result = hello ? session_call(s, hello, 0, NULL, e) : error_memory(e);
    }
    return result ? result : load(s, e);
}

void session_close(struct session *s)
{
    worker_free(s->worker);
    json_decref(s->loaded);
    input_plan_release(&s->plan);
    *s = (struct session){0};
}

/* The layout of one input set: [{"offset","bytes"},...] in the order of the worker's inputs. */
static int lay_out(json_t *inputs, json_t *tensors, size_t *set_bytes, struct error *e)
{
    size_t offset = 0, i;
    json_t *input;
    json_array_foreach(inputs, i, input) {
        const char *name;
        enum dtype type;
        struct shape shape;
        int result = reply_tensor(input, &name, &type, &shape, e);
        if (result)
            return result;
        size_t bytes = (size_t)shape_bytes(&shape, type);
        if (bytes > ((size_t)1 << 36) || offset > ((size_t)1 << 36))
            return error_set(e, ERROR_MEMORY, "input '%s' would take %zu bytes", name, bytes);
        json_array_append_new(tensors, json_pack("{s:I, s:I}", "offset", (json_int_t)offset,
                                                 "bytes", (json_int_t)bytes));
        offset = align(offset + bytes);
    }
    *set_bytes = offset;
    return 0;
}

static json_t *find_input(json_t *inputs, const char *name)
{
    size_t i;
    json_t *input;
    json_array_foreach(inputs, i, input) {
        const char *text = json_string_value(json_object_get(input, "name"));
        if (text && !strcmp(text, name))
            return input;
    }
    return NULL;
}

/* A worker that forgot the names of an ONNX file's inputs, but has as many of the same types and
 * sizes, is fed in their order. */
static int is_by_position(const struct session *s, json_t *inputs)
{
    const struct input_plan *p = &s->plan;
    if (strcmp(s->cell->format, "onnx") || json_array_size(inputs) != p->rule_count)
        return 0;
    for (size_t i = 0; i < p->rule_count; i++) {
        const struct input_rule *r = &p->rules[i];
        const char *name;
        enum dtype type;
        struct shape shape;
        if (find_input(inputs, r->name) ||
            reply_tensor(json_array_get(inputs, i), &name, &type, &shape, NULL) ||
            type != r->type || (r->shape.rank >= 0 && !shape_equal(&shape, &r->shape)))
            return 0;
    }
    return 1;
}

static int fill_sets(struct session *s, json_t *inputs, json_t *tensors, int sets, size_t set_bytes,
                     struct error *e)
{
    uint8_t *data;
    int by_position = is_by_position(s, inputs);
    int result = worker_tensors(s->worker, s->tensor_bytes, &data, e);
    for (int set = 0; set < sets && !result; set++) {
        for (size_t i = 0; i < json_array_size(inputs) && !result; i++) {
            const char *name;
            enum dtype type;
            struct shape shape;
            result = reply_tensor(json_array_get(inputs, i), &name, &type, &shape, e);
            if (result)
                break;
            if (by_position)
                name = s->plan.rules[i].name;
            json_t *place = json_array_get(tensors, i);
            size_t offset = (size_t)json_integer_value(json_object_get(place, "offset"));
            result = input_fill(&s->plan, name, type, s->options->seed, set,
                                data + (size_t)set * set_bytes + offset,
                                (size_t)shape_elements(&shape), e);
        }
    }
    return result;
}

static int check_type(const struct input_rule *r, json_t *input, struct error *e)
{
    const char *type = json_string_value(json_object_get(input, "type"));
    if (r->type == DTYPE_NONE || !type || dtype_from_name(type) == r->type)
        return 0;
    return error_set(e, ERROR_USAGE, "input '%s' is to be of type %s, the runtime takes %.20s",
                     r->name, dtype_name(r->type), type);
}

/* What the model's inputs are is known without the worker. */
static int is_read_here(const struct cell *c)
{
    return !strcmp(c->format, "onnx") || (!c->format[0] && !c->command[0]);
}

/* For a file that only the runtime can read, what the user says of inputs is checked now. */
static int check_names(const struct session *s, json_t *inputs, struct error *e)
{
    int read = is_read_here(s->cell), result = 0;
    for (size_t i = 0; i < s->plan.rule_count && !result && !read; i++) {
        const struct input_rule *r = &s->plan.rules[i];
        json_t *input = find_input(inputs, r->name);
        result = input ? check_type(r, input, e)
                       : error_set(e, ERROR_USAGE, "model '%s' has no input '%s'", s->cell->model,
                                   r->name);
    }
    return result;
}

/* Adapters cannot tell a batch of 1 that was asked for from one that nobody asked for. */
static int check_batch(const struct session *s, json_t *inputs, struct error *e)
{
    const struct cell *c = s->cell;
    size_t i, axis;
    json_t *input, *size;
    if (!s->options->batch_is_asked || is_read_here(c) || c->command[0])
        return 0;
    int64_t loaded = record_loaded_batch(inputs);
    json_array_foreach(inputs, i, input)
        json_array_foreach(json_object_get(input, "shape"), axis, size)
            if (json_integer_value(size) == c->batch)
                return 0;
    if (loaded == 1)
        return 0;
    error_set(e, ERROR_USAGE, "batch %lld: model '%s' fixes the batch at %lld",
              (long long)c->batch, c->model, (long long)loaded);
    return error_hint(e, "use -b %lld or none", (long long)loaded);
}

/* The worker's own ranges. */
static int take_ranges(struct session *s, json_t *inputs, struct error *e)
{
    size_t i;
    json_t *input;
    json_array_foreach(inputs, i, input) {
        const char *name = json_string_value(json_object_get(input, "name"));
        json_t *range = json_object_get(input, "range");
        json_t *low = json_array_get(range, 0), *high = json_array_get(range, 1);
        if (!name || !range)
            continue;
        if (json_array_size(range) != 2 || !json_is_number(low) || !json_is_number(high))
            return error_set(e, ERROR_FORMAT, "worker gives input '%s' a range that is not "
                             "[LOW,HIGH]", name);
        int result = input_plan_range(&s->plan, name, json_number_value(low),
                                      json_number_value(high), e);
        if (result)
            return result;
    }
    return 0;
}

int session_inputs(struct session *s, int sets, struct error *e)
{
    json_t *inputs = json_object_get(s->loaded, "inputs");
    json_t *tensors = json_array();
    size_t set_bytes = 0;
    int result = tensors ? check_names(s, inputs, e) : error_memory(e);
    if (!result)
        result = check_batch(s, inputs, e);
    if (!result)
        result = take_ranges(s, inputs, e);
    if (!result)
        result = lay_out(inputs, tensors, &set_bytes, e);
    if (!result) {
        s->tensor_bytes = (size_t)sets * set_bytes;
        result = fill_sets(s, inputs, tensors, sets, set_bytes, e);
    }
    if (result) {
        json_decref(tensors);
        return result;
    }
    json_t *command = json_pack("{s:s, s:i, s:I, s:o}", "op", "inputs", "sets", sets, "set_bytes",
                                (json_int_t)set_bytes, "tensors", tensors);
    return command ? session_call(s, command, 0, NULL, e) : error_memory(e);
}
