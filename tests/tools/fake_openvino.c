/* fake_openvino.c: a library with the functions of OpenVINO's C interface that wattle uses, and one
 * model, y = x. What else it is and where it fails is in the environment, so that a test reaches
 * what a real one does only on other machines or in other versions:
 *
 *   FAKE_OV_VERSION  build number             FAKE_OV_FIRST      number of the type "dynamic"
 *   FAKE_OV_FAIL     function that fails      FAKE_OV_TYPE       type of x, counted from "dynamic"
 *   FAKE_OV_SHAPE    of x, "-1,4"             FAKE_OV_UNSIZED    y's sizes are known after a run
 *   FAKE_OV_DEVICES  "CPU,GPU.0"              FAKE_OV_SAYS_<KEY> value read back for a property
 *
 * fake_ov_objects counts what was made and not freed, fake_ov_bindings how often inputs were bound.
 * Built with -DOMIT it lacks ov_tensor_data.
 */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))

enum { RANK = 8, PROPERTIES = 32, DYNAMIC_TYPE = 0, FLOAT32 = 4 };

struct shape {
    int64_t rank, *dims;
};
struct dimension {
    int64_t low, high;
};
struct partial_shape {
    struct dimension rank, *dims;
};
struct tensor {
    int type, own;
    int64_t rank, dims[RANK];
    void *data;
};
struct version {
    char *build, *description;
};
struct devices {
    char **names;
    size_t count;
};

API long fake_ov_objects, fake_ov_bindings;

static const int bits[] = {0, 8, 16, 16, 32, 64, 4,  8, 16, 32, 64, 1, 2, 3,
                           4, 6, 8,  16, 32, 64, 4, 8, 8,  64, 4,  8};
static char keys[PROPERTIES][64], values[PROPERTIES][64];
static int property_count;
static int64_t model_dims[RANK];
static int model_rank;
static struct tensor bound, *input, *output;
static const char *message = "";

static const char *setting(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value ? value : otherwise;
}

static int first(void)
{
    return atoi(setting("FAKE_OV_FIRST", "0"));
}

static int fails(const char *function)
{
    if (strcmp(setting("FAKE_OV_FAIL", ""), function))
        return 0;
    message = "Exception from src/somewhere.cpp:12:\nmade to fail \n\nand told in two lines\n";
    return -1;
}

static void *object(size_t size)
{
    fake_ov_objects++;
    return calloc(1, size ? size : 1);
}

static void release(const void *p)
{
    fake_ov_objects -= p != NULL;
    free((void *)(uintptr_t)p);
}

static char *text(const char *value)
{
    char *copy = object(strlen(value) + 1);
    return strcpy(copy, value);
}

API int ov_get_openvino_version(struct version *v)
{
    if (fails("get_openvino_version"))
        return -1;
    v->build = text(setting("FAKE_OV_VERSION", "2026.4.1-1-fake"));
    v->description = text("fake");
    return 0;
}

API void ov_version_free(struct version *v)
{
    release(v->build);
    release(v->description);
}

API const char *ov_get_last_err_msg(void)
{
    return message;
}

API const char *ov_get_error_info(int status)
{
    return status ? "general error" : "success";
}

API void ov_free(const char *p)
{
    release(p);
}

API int ov_core_create(void **out)
{
    property_count = model_rank = 0;
    input = output = NULL;
    return fails("core_create") ? -1 : !(*out = object(1));
}

API void ov_core_free(void *p)
{
    release(p);
}

static int has_device(const char *name)
{
    return strstr(setting("FAKE_OV_DEVICES", "CPU"), name) != NULL;
}

API int ov_core_get_available_devices(const void *core, struct devices *d)
{
    char list[128], *rest = NULL;
    (void)core;
    if (fails("core_get_available_devices"))
        return -1;
    snprintf(list, sizeof list, "%s", setting("FAKE_OV_DEVICES", "CPU"));
    if (!strcmp(list, "crash"))
        abort();
    while (!strcmp(list, "hang"))
        pause();
    d->names = object(8 * sizeof *d->names);
    for (char *p = strtok_r(list, ",", &rest); p; p = strtok_r(NULL, ",", &rest))
        d->names[d->count++] = text(p);
    return 0;
}

API void ov_available_devices_free(struct devices *d)
{
    for (size_t i = 0; i < d->count; i++)
        release(d->names[i]);
    release(d->names);
}

API int ov_core_get_property(const void *core, const char *device, const char *key, char **out)
{
    (void)core;
    (void)key;
    if (fails("core_get_property"))
        return -1;
    if (!has_device(device)) {
        message = "no driver";
        return -1;
    }
    *out = text("fake device");
    return 0;
}

API int ov_core_set_property(const void *core, const char *device, ...)
{
    va_list args;
    (void)core;
    (void)device;
    if (fails("core_set_property") || property_count == PROPERTIES)
        return -1;
    va_start(args, device);
    snprintf(keys[property_count], sizeof *keys, "%s", va_arg(args, char *));
    snprintf(values[property_count++], sizeof *values, "%s", va_arg(args, char *));
    va_end(args);
    return 0;
}

API int ov_core_read_model(const void *core, const char *path, const char *weights, void **out)
{
    char list[128], *rest = NULL;
    (void)core;
    (void)path;
    (void)weights;
    if (fails("core_read_model"))
        return -1;
    snprintf(list, sizeof list, "%s", setting("FAKE_OV_SHAPE", "-1,4"));
    for (char *p = strtok_r(list, ",", &rest); p; p = strtok_r(NULL, ",", &rest))
        model_dims[model_rank++] = atol(p);
    *out = object(1);
    return 0;
}

API int ov_core_compile_model(const void *core, const void *model, const char *device, size_t count,
                              void **out, ...)
{
    (void)core;
    (void)model;
    if (fails("core_compile_model") || !has_device(device) || count)
        return -1;
    *out = object(1);
    return 0;
}

API void ov_model_free(void *p)
{
    release(p);
}

API int ov_model_inputs_size(const void *model, size_t *size)
{
    (void)model;
    *size = 1;
    return fails("model_inputs_size");
}

/* A port is 1 of x, 2 of y, and 3 of y as a compiled model calls it. */
static int port(const char *function, char which, void **out)
{
    if (fails(function))
        return -1;
    *out = object(1);
    *(char *)*out = which;
    return 0;
}

API int ov_model_const_input_by_index(const void *model, size_t i, void **out)
{
    (void)model;
    (void)i;
    return port("model_const_input_by_index", 1, out);
}

API int ov_model_const_input_by_name(const void *model, const char *name, void **out)
{
    (void)model;
    return strcmp(name, "alias") ? -1 : port("model_const_input_by_name", 1, out);
}

API int ov_model_const_output_by_index(const void *model, size_t i, void **out)
{
    (void)model;
    (void)i;
    return port("model_const_output_by_index", 2, out);
}

API int ov_model_reshape_by_port_indexes(const void *model, const size_t *indexes,
                                         const struct partial_shape *shapes, size_t count)
{
    (void)model;
    (void)indexes;
    if (fails("model_reshape_by_port_indexes") || count != 1)
        return -1;
    model_rank = (int)shapes->rank.low;
    for (int i = 0; i < model_rank; i++)
        model_dims[i] = shapes->dims[i].low;
    return 0;
}

API int ov_port_get_any_name(const void *p, char **out)
{
    if (fails("port_get_any_name"))
        return -1;
    *out = text(*(const char *)p == 1 ? "x" : *(const char *)p == 2 ? "y" : "fused");
    return 0;
}

API int ov_port_get_element_type(const void *p, int *type)
{
    (void)p;
    *type = first() + atoi(setting("FAKE_OV_TYPE", "4"));
    return fails("port_get_element_type");
}

API int ov_port_get_partial_shape(const void *p, struct partial_shape *s)
{
    int unsized = *(const char *)p != 1 && getenv("FAKE_OV_UNSIZED");
    if (fails("port_get_partial_shape"))
        return -1;
    s->rank = (struct dimension){model_rank, model_rank};
    s->dims = object(RANK * sizeof *s->dims);
    for (int i = 0; i < model_rank; i++) {
        int64_t size = unsized && i == 0 ? -1 : model_dims[i];
        s->dims[i] = (struct dimension){size < 0 ? 0 : size, size};
    }
    return 0;
}

API void ov_partial_shape_free(struct partial_shape *s)
{
    release(s->dims);
}

API void ov_output_const_port_free(void *p)
{
    release(p);
}

API void ov_compiled_model_free(void *p)
{
    release(p);
}

API int ov_compiled_model_inputs_size(const void *m, size_t *size)
{
    (void)m;
    *size = 1;
    return fails("compiled_model_inputs_size");
}

API int ov_compiled_model_outputs_size(const void *m, size_t *size)
{
    (void)m;
    *size = 1;
    return fails("compiled_model_outputs_size");
}

API int ov_compiled_model_input_by_index(const void *m, size_t i, void **out)
{
    (void)m;
    (void)i;
    return port("compiled_model_input_by_index", 1, out);
}

API int ov_compiled_model_output_by_index(const void *m, size_t i, void **out)
{
    (void)m;
    (void)i;
    return port("compiled_model_output_by_index", 3, out);
}

API int ov_compiled_model_get_property(const void *m, const char *key, char **out)
{
    char name[128];
    (void)m;
    if (fails("compiled_model_get_property"))
        return -1;
    snprintf(name, sizeof name, "FAKE_OV_SAYS_%s", key);
    const char *value = getenv(name);
    for (int i = 0; !value && i < property_count; i++)
        if (!strcmp(keys[i], key))
            value = values[i];
    if (!value && strcmp(key, "SUPPORTED_PROPERTIES"))
        return -1;
    *out = text(value ? value : "INFERENCE_PRECISION_HINT OTHER CANNOT_BE_READ");
    return 0;
}

API int ov_compiled_model_create_infer_request(const void *m, void **out)
{
    (void)m;
    if (fails("compiled_model_create_infer_request"))
        return -1;
    *out = object(1);
    return 0;
}

API void ov_infer_request_free(void *p)
{
    release(p);
}

API int ov_infer_request_set_input_tensor_by_index(void *r, size_t i, const void *t)
{
    (void)r;
    (void)i;
    fake_ov_bindings++;
    bound = *(const struct tensor *)t; /* a request keeps what a tensor was, not the object */
    input = &bound;
    return fails("infer_request_set_input_tensor_by_index");
}

API int ov_infer_request_set_output_tensor_by_index(void *r, size_t i, const void *t)
{
    (void)r;
    (void)i;
    output = (struct tensor *)(uintptr_t)t;
    return fails("infer_request_set_output_tensor_by_index");
}

static size_t byte_size(const struct tensor *t)
{
    size_t n = (size_t)bits[t->type - first()];
    for (int i = 0; i < t->rank; i++)
        n *= (size_t)t->dims[i];
    return n / 8;
}

API int ov_infer_request_infer(void *r)
{
    (void)r;
    if (fails("infer_request_infer") || !input)
        return -1;
    if (output)
        memcpy(output->data, input->data, byte_size(input));
    return 0;
}

/* The last one freed is the next one made, so that whoever compares old addresses is found out. */
static struct tensor *spare;

static struct tensor *tensor(int type, struct shape s, void *data)
{
    int entry = type - first();
    if (entry <= DYNAMIC_TYPE || entry >= (int)(sizeof bits / sizeof *bits) || s.rank > RANK)
        return NULL;
    struct tensor *t = spare ? spare : calloc(1, sizeof *t);
    spare = NULL;
    fake_ov_objects++;
    t->type = type;
    t->rank = s.rank;
    memcpy(t->dims, s.dims, (size_t)s.rank * sizeof *t->dims);
    t->own = !data;
    t->data = data ? data : calloc(1, byte_size(t) + 1);
    return t;
}

API int ov_tensor_create(int type, struct shape s, void **out)
{
    return fails("tensor_create") || !(*out = tensor(type, s, NULL)) ? -1 : 0;
}

API int ov_tensor_create_from_host_ptr(int type, struct shape s, void *data, void **out)
{
    return fails("tensor_create_from_host_ptr") || !(*out = tensor(type, s, data)) ? -1 : 0;
}

/* What a run of unknown output size left: a copy of the input, of two rows. */
API int ov_infer_request_get_output_tensor_by_index(const void *r, size_t i, void **out)
{
    (void)r;
    (void)i;
    int64_t dims[2] = {2, 4};
    if (fails("infer_request_get_output_tensor_by_index"))
        return -1;
    struct tensor *t = tensor(input->type, (struct shape){2, dims}, NULL);
    memcpy(t->data, input->data, byte_size(t));
    *out = t;
    return 0;
}

API int ov_tensor_get_byte_size(const void *t, size_t *size)
{
    *size = byte_size(t);
    return fails("tensor_get_byte_size");
}

API int ov_tensor_get_shape(const void *p, struct shape *s)
{
    const struct tensor *t = p;
    if (fails("tensor_get_shape"))
        return -1;
    s->rank = t->rank;
    s->dims = object(RANK * sizeof *s->dims);
    memcpy(s->dims, t->dims, sizeof t->dims);
    return 0;
}

API int ov_shape_free(struct shape *s)
{
    release(s->dims);
    return 0;
}

#ifndef OMIT
API int ov_tensor_data(const void *t, void **out)
{
    *out = ((const struct tensor *)t)->data;
    return fails("tensor_data");
}
#endif

API void ov_tensor_free(void *p)
{
    struct tensor *t = p;
    if (!t)
        return;
    if (t->own)
        free(t->data);
    free(spare);
    spare = t;
    fake_ov_objects--;
}
