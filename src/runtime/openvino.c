/* openvino.c: OpenVINO, by its C interface and without its headers (ov_api.h). It reads ONNX, its
 * own IR (.xml), TensorFlow SavedModel folders and .tflite files by itself.
 *
 * Inputs are used where they lie: a tensor object is made for each address the first time bind sees
 * it (the worker shows every input set before the window) and found again later. Outputs of known
 * size lie in memory of ours; those whose size depends on the data stay OpenVINO's.
 */
#include "runtime/adapters.h"

#include "base/buffer.h"
#include "runtime/ov_api.h"
#include "runtime/ov_properties.h"
#include "runtime/ov_reshape.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME_BYTES = 256, ALIGNMENT = 64, BOUND_FIRST = 8, BOUND_MAX = 1 << 13, LIST_MAX = 200 };
#define BYTES_MAX ((uint64_t)1 << 46)

/* One address an input was bound to. */
struct bound {
    const void *data;
    void *tensor;
};

struct port {
    char name[NAME_BYTES];
    const struct ov_type *type;
    int number;             /* of the type, OpenVINO's */
    int is_static;          /* dims and bytes are known */
    int rank;
    int64_t dims[ADAPTER_RANK_MAX];
    size_t bytes;

    struct bound *bound;    /* inputs */
    size_t bound_count, bound_capacity, next;
    void *tensor;           /* what the request has now; an output's is owned */
    void *memory;           /* outputs: ours, when is_static */
};

struct openvino {
    struct ov_api api;
    struct ov_properties properties;
    void *core, *model, *compiled, *request;
    struct port inputs[ADAPTER_TENSOR_MAX], outputs[ADAPTER_TENSOR_MAX];
    size_t input_count, output_count;
    const char *names[ADAPTER_TENSOR_MAX]; /* of inputs, the request's; NULL: OpenVINO's */
    char library[PATH_MAX];
    json_t *settings;
};

/* Which libraries there are, found.h knows; this one may not be loaded here to ask it. */
static void probe(struct adapter_probe *out)
{
    *out = (struct adapter_probe){.usable = 0};
    snprintf(out->reason, sizeof out->reason, "no installation chosen");
}

static void forget_bound(struct openvino *v, struct port *p)
{
    for (size_t i = 0; i < p->bound_count; i++)
        v->api.tensor_free(p->bound[i].tensor);
    p->bound_count = p->next = 0;
    p->tensor = NULL; /* the request keeps its own; the next object may get the same address */
}

static void unload(void *state)
{
    struct openvino *v = state;
    if (!v)
        return;
    if (v->request)
        v->api.infer_request_free(v->request);
    for (size_t i = 0; i < v->input_count; i++) {
        forget_bound(v, &v->inputs[i]);
        free(v->inputs[i].bound);
    }
    for (size_t i = 0; i < v->output_count; i++) {
        if (v->outputs[i].tensor)
            v->api.tensor_free(v->outputs[i].tensor);
        free(v->outputs[i].memory);
    }
    if (v->compiled)
        v->api.compiled_model_free(v->compiled);
    if (v->model)
        v->api.model_free(v->model);
    if (v->core)
        v->api.core_free(v->core);
    ov_properties_release(&v->properties);
    json_decref(v->settings);
    free(v);
}

/* --- devices ---------------------------------------------------------------------------------- */

/* The names of all, for people, and whether the one asked for is among them. */
static int list_devices(const struct openvino *v, struct buffer *list, int *found, struct error *e)
{
    struct ov_devices devices = {0};
    size_t size = strlen(v->properties.device);
    int status = v->api.core_get_available_devices(v->core, &devices);
    if (status)
        return ov_api_error(&v->api, status, e, "OpenVINO cannot list its devices");
    *found = 0;
    for (size_t i = 0; i < devices.count; i++) {
        const char *name = devices.names[i];
        *found |= !strncmp(name, v->properties.device, size) && (!name[size] || name[size] == '.');
        buffer_format(list, "%s%s", i ? ", " : "", name);
    }
    v->api.available_devices_free(&devices);
    return 0;
}

/* The reason is what OpenVINO says when it is asked about the device all the same. */
static int absent_device(const struct openvino *v, const char *others, struct error *e)
{
    char *name = NULL;
    const char *device = v->properties.device;
    int status = v->api.core_get_property(v->core, device, "FULL_DEVICE_NAME", &name);
    v->api.free(name);
    ov_api_error(&v->api, status, e, "OpenVINO finds no device %s (it finds: %s)", device,
                 *others ? others : "none");
    return error_hint(e, "a GPU or NPU needs its driver: Level Zero, for a GPU OpenCL as well");
}

/* Listing loads the plug-ins of all devices, so the CPU, which is always there, is not looked
 * for. */
static int check_device(const struct openvino *v, struct error *e)
{
    struct buffer list;
    int found = 0;
    if (!strcmp(v->properties.device, "CPU"))
        return 0;
    buffer_init(&list, LIST_MAX);
    int code = list_devices(v, &list, &found, e);
    if (!code && !found)
        code = absent_device(v, buffer_string(&list), e);
    buffer_release(&list);
    return code;
}

/* --- loading ---------------------------------------------------------------------------------- */

static int open_library(struct openvino *v, const struct adapter_request *r, struct error *e)
{
    if (!r->library || !*r->library) {
        error_set(e, ERROR_USAGE, "no library of OpenVINO is given");
        return error_hint(e, "wattle runtimes install openvino");
    }
    if (r->provider_library && *r->provider_library)
        return error_set(e, ERROR_USAGE, "runtime 'openvino' takes no provider library");
    if (snprintf(v->library, sizeof v->library, "%s", r->library) >= (int)sizeof v->library)
        return error_set(e, ERROR_USAGE, "path of the library is longer than %d bytes", PATH_MAX);
    int code = ov_api_open(&v->api, r->library, e);
    if (code)
        return code;
    int status = v->api.core_create(&v->core);
    return status ? ov_api_error(&v->api, status, e, "cannot start OpenVINO") : 0;
}

static int read_model(struct openvino *v, const struct adapter_request *r, struct error *e)
{
    if (access(r->model, R_OK))
        return error_errno(e, errno, "cannot read model '%s'", r->model);
    int status = v->api.core_read_model(v->core, r->model, NULL, &v->model);
    if (status)
        return ov_api_error(&v->api, status, e, "OpenVINO cannot read '%s'", r->model);
    return ov_reshape(&v->api, v->model, r, v->names, e);
}

static int compile(struct openvino *v, const struct adapter_request *r, struct error *e)
{
    int code = check_device(v, e);
    if (!code)
        code = ov_properties_set(&v->properties, &v->api, v->core, e);
    if (code)
        return code;
    int status = v->api.core_compile_model(v->core, v->model, v->properties.device, 0,
                                           &v->compiled);
    if (status)
        return ov_api_error(&v->api, status, e, "OpenVINO cannot compile '%s' for device %s",
                            r->model, v->properties.device);
    status = v->api.compiled_model_create_infer_request(v->compiled, &v->request);
    return status ? ov_api_error(&v->api, status, e, "OpenVINO cannot make a request") : 0;
}

/* --- ports ------------------------------------------------------------------------------------ */

/* More than a worker's tensor memory may have is a mistake of the file's. */
static int count_bytes(struct port *p, struct error *e)
{
    p->bytes = p->type->bytes;
    for (int i = 0; i < p->rank; i++)
        if (__builtin_mul_overflow(p->bytes, (uint64_t)p->dims[i], &p->bytes) ||
            p->bytes > BYTES_MAX)
            return error_set(e, ERROR_MEMORY, "'%s' has more bytes than there can be", p->name);
    return 0;
}

/* Dims that are not known, of an output, stay 0. */
static int describe_shape(struct port *p, const struct ov_partial_shape *s, struct error *e)
{
    p->is_static = s->rank.low == s->rank.high;
    if (p->is_static && s->rank.low > ADAPTER_RANK_MAX)
        return error_set(e, ERROR_UNSUPPORTED, "'%s' has rank %lld, more than %d", p->name,
                         (long long)s->rank.low, ADAPTER_RANK_MAX);
    p->rank = p->is_static ? (int)s->rank.low : 0;
    for (int i = 0; i < p->rank; i++) {
        int known = s->dims[i].low == s->dims[i].high;
        p->dims[i] = known ? s->dims[i].low : 0;
        p->is_static &= known;
    }
    return p->is_static ? count_bytes(p, e) : 0;
}

static int describe_port(struct openvino *v, const void *port, const char *role, size_t index,
                         struct port *p, struct error *e)
{
    struct ov_partial_shape shape = {0};
    ov_port_name(&v->api, port, role, index, p->name, sizeof p->name);
    int status = v->api.port_get_element_type(port, &p->number);
    if (status)
        return ov_api_error(&v->api, status, e, "cannot tell the type of '%s'", p->name);
    p->type = ov_types_find(v->api.types, p->number);
    if (!p->type->bytes)
        return error_set(e, ERROR_UNSUPPORTED, "%s '%s' has element type %s (%d), which is not "
                         "taken", role, p->name, p->type->name, p->number);
    status = v->api.port_get_partial_shape(port, &shape);
    if (status)
        return ov_api_error(&v->api, status, e, "cannot tell the shape of '%s'", p->name);
    int code = describe_shape(p, &shape, e);
    v->api.partial_shape_free(&shape);
    return code;
}

typedef int port_getter(const void *model, size_t index, void **port);

/* Compiling gives outputs the names of nodes that were fused into them as well, and any of them may
 * be told: what the model's author wrote is told by the model as it was read. */
static void take_name(struct openvino *v, port_getter *get, size_t index, struct port *p)
{
    void *port = NULL;
    char name[NAME_BYTES];
    if (get(v->model, index, &port))
        return;
    ov_port_name(&v->api, port, NULL, index, name, sizeof name);
    if (name[0])
        snprintf(p->name, sizeof p->name, "%s", name);
    v->api.output_const_port_free(port);
}

static int describe_ports(struct openvino *v, const char *role, port_getter *get,
                          port_getter *get_read, struct port *ports, size_t count, struct error *e)
{
    int code = 0;
    if (count > ADAPTER_TENSOR_MAX)
        return error_set(e, ERROR_UNSUPPORTED, "model has %zu %ss, at most %d are taken", count,
                         role, ADAPTER_TENSOR_MAX);
    for (size_t i = 0; !code && i < count; i++) {
        void *port = NULL;
        int status = get(v->compiled, i, &port);
        code = status ? ov_api_error(&v->api, status, e, "cannot inspect %s %zu", role, i)
                      : describe_port(v, port, role, i, &ports[i], e);
        v->api.output_const_port_free(port);
        if (!code)
            take_name(v, get_read, i, &ports[i]);
    }
    return code;
}

static struct ov_shape shape_of(struct port *p)
{
    return (struct ov_shape){p->rank, p->dims};
}

/* Touched here, so that the window finds its pages there. */
static int give_memory(struct openvino *v, size_t index, struct error *e)
{
    struct port *p = &v->outputs[index];
    size_t room = (p->bytes / ALIGNMENT + 1) * ALIGNMENT;
    p->memory = aligned_alloc(ALIGNMENT, room);
    if (!p->memory)
        return error_set(e, ERROR_MEMORY, "no memory for output '%s' of %zu bytes", p->name,
                         p->bytes);
    memset(p->memory, 0, room);
    int status = v->api.tensor_create_from_host_ptr(p->number, shape_of(p), p->memory, &p->tensor);
    if (!status)
        status = v->api.infer_request_set_output_tensor_by_index(v->request, index, p->tensor);
    return status ? ov_api_error(&v->api, status, e, "OpenVINO takes no memory for output '%s'",
                                 p->name)
                  : 0;
}

static int make_ports(struct openvino *v, struct error *e)
{
    size_t inputs = 0, outputs = 0;
    int status = v->api.compiled_model_inputs_size(v->compiled, &inputs);
    if (!status)
        status = v->api.compiled_model_outputs_size(v->compiled, &outputs);
    if (status)
        return ov_api_error(&v->api, status, e, "cannot count inputs and outputs");
    int code = describe_ports(v, "input", v->api.compiled_model_input_by_index,
                              v->api.model_const_input_by_index, v->inputs, inputs, e);
    if (!code)
        code = describe_ports(v, "output", v->api.compiled_model_output_by_index,
                              v->api.model_const_output_by_index, v->outputs, outputs, e);
    if (code)
        return code;
    for (size_t i = 0; i < inputs; i++)
        if (v->names[i])
            snprintf(v->inputs[i].name, sizeof v->inputs[i].name, "%s", v->names[i]);
    v->input_count = inputs;
    v->output_count = outputs;
    for (size_t i = 0; !code && i < outputs; i++)
        if (v->outputs[i].is_static)
            code = give_memory(v, i, e);
    return code;
}

static void tell_port(const struct port *p, struct adapter_tensor *t)
{
    t->name = p->name;
    t->type = p->type->name;
    t->rank = p->rank;
    memcpy(t->dims, p->dims, sizeof p->dims);
    t->bytes = p->bytes;
}

static void tell(struct openvino *v, const struct adapter_request *r, struct adapter_loaded *out)
{
    out->version = v->api.version;
    out->library = v->library;
    out->provider = r->provider;
    out->settings = v->settings;
    out->input_count = v->input_count;
    out->output_count = v->output_count;
    for (size_t i = 0; i < v->input_count; i++)
        tell_port(&v->inputs[i], &out->inputs[i]);
    for (size_t i = 0; i < v->output_count; i++)
        tell_port(&v->outputs[i], &out->outputs[i]);
}

/* What ov.PROPERTY means only OpenVINO knows. */
static int check(const struct adapter_request *r, struct error *e)
{
    struct ov_properties p;
    int code = ov_properties_choose(&p, r, e);
    ov_properties_release(&p);
    return code;
}

static int load(const struct adapter_request *r, void **state, struct adapter_loaded *out,
                struct error *e)
{
    struct openvino *v = calloc(1, sizeof *v);
    if (!v)
        return error_memory(e);
    int code = ov_properties_choose(&v->properties, r, e);
    if (!code)
        code = open_library(v, r, e);
    if (!code)
        code = read_model(v, r, e);
    if (!code)
        code = compile(v, r, e);
    if (!code)
        code = make_ports(v, e);
    if (!code)
        code = ov_properties_read(&v->properties, &v->api, v->core, v->compiled, r, &v->settings,
                                  e);
    if (!code) {
        tell(v, r, out);
        code = adapter_check_batch(r->batch, out->inputs, out->input_count, e);
    }
    if (code) {
        unload(v);
        return code;
    }
    *state = v;
    return 0;
}

/* --- running ---------------------------------------------------------------------------------- */

static int make_room(struct port *p, struct error *e)
{
    size_t capacity = p->bound_capacity ? 2 * p->bound_capacity : BOUND_FIRST;
    struct bound *bound = realloc(p->bound, capacity * sizeof *bound);
    if (!bound)
        return error_memory(e);
    p->bound = bound;
    p->bound_capacity = capacity;
    return 0;
}

static int add_bound(struct openvino *v, struct port *p, const void *data, struct error *e)
{
    void *tensor = NULL;
    if (p->bound_count == BOUND_MAX)
        forget_bound(v, p);
    int code = p->bound_count == p->bound_capacity ? make_room(p, e) : 0;
    if (code)
        return code;
    /* OpenVINO's tensors are writable; an input's memory is never written. */
    int status = v->api.tensor_create_from_host_ptr(p->number, shape_of(p), (void *)(uintptr_t)data,
                                                    &tensor);
    if (status)
        return ov_api_error(&v->api, status, e, "OpenVINO takes no memory for input '%s'", p->name);
    p->next = p->bound_count;
    p->bound[p->bound_count++] = (struct bound){data, tensor};
    return 0;
}

/* Sets come in turn, so the entry after the last is nearly always the one. */
static void *find_bound(struct port *p, const void *data)
{
    for (size_t tried = 0; tried < p->bound_count; tried++) {
        p->next = p->next < p->bound_count ? p->next : 0;
        if (p->bound[p->next].data == data)
            return p->bound[p->next++].tensor;
        p->next++;
    }
    return NULL;
}

static int bind_input(struct openvino *v, size_t index, const void *data, struct error *e)
{
    struct port *p = &v->inputs[index];
    void *tensor = find_bound(p, data);
    int code = tensor ? 0 : add_bound(v, p, data, e);
    if (code)
        return code;
    if (!tensor)
        tensor = find_bound(p, data);
    if (tensor == p->tensor)
        return 0;
    int status = v->api.infer_request_set_input_tensor_by_index(v->request, index, tensor);
    if (status)
        return ov_api_error(&v->api, status, e, "cannot bind input '%s'", p->name);
    p->tensor = tensor;
    return 0;
}

static int bind(void *state, const void *const *data, struct error *e)
{
    struct openvino *v = state;
    int code = 0;
    for (size_t i = 0; !code && i < v->input_count; i++)
        code = bind_input(v, i, data[i], e);
    return code;
}

static int run(void *state, struct error *e)
{
    struct openvino *v = state;
    int status = v->api.infer_request_infer(v->request);
    return status ? ov_api_error(&v->api, status, e, "OpenVINO failed in an inference") : 0;
}

/* The tensor that the last run left, and its sizes. */
static int fetch_output(struct openvino *v, size_t index, void **data)
{
    struct port *p = &v->outputs[index];
    struct ov_shape shape = {0};
    if (p->tensor)
        v->api.tensor_free(p->tensor);
    p->tensor = NULL;
    if (v->api.infer_request_get_output_tensor_by_index(v->request, index, &p->tensor) ||
        v->api.tensor_get_shape(p->tensor, &shape))
        return -1;
    int fits = shape.rank >= 0 && shape.rank <= ADAPTER_RANK_MAX;
    p->rank = fits ? (int)shape.rank : 0;
    for (int i = 0; i < p->rank; i++)
        p->dims[i] = shape.dims[i];
    v->api.shape_free(&shape);
    return fits && !count_bytes(p, NULL) ? v->api.tensor_data(p->tensor, data) : -1;
}

static const void *output(void *state, size_t index, struct adapter_tensor *tensor)
{
    struct openvino *v = state;
    if (index >= v->output_count)
        return NULL;
    struct port *p = &v->outputs[index];
    void *data = p->memory;
    if (!p->is_static && fetch_output(v, index, &data))
        return NULL;
    tell_port(p, tensor);
    return data ? data : p->dims; /* an empty tensor lies anywhere */
}

static const char *const providers[] = {"cpu", "gpu", "npu", NULL};
static const char *const precisions[] = {"f32", NULL};

/* No environment: OpenVINO reads none for its threads, they are properties. */
const struct adapter adapter_openvino = {
    .name = "openvino",
    .title = "OpenVINO",
    .providers = providers,
    .precisions = precisions,
    .takes_devices = 1,
    .probe = probe,
    .check = check,
    .load = load,
    .bind = bind,
    .run = run,
    .output = output,
    .unload = unload,
    .devices = ov_devices,
};
