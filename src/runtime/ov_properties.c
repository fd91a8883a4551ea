#include "runtime/ov_properties.h"

#include "base/buffer.h"
#include "base/text.h"
#include "runtime/adapters.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CPU = 1, GPU = 2, NPU = 4, ANY = CPU | GPU | NPU, STREAMS_MAX = 1024, VALUE_MAX = 1024 };

struct word {
    const char *ours, *theirs;
};

static const struct word on_off[] = {{"on", "YES"}, {"off", "NO"}, {NULL, NULL}};
static const struct word hints[] = {
    {"latency", "LATENCY"}, {"throughput", "THROUGHPUT"}, {NULL, NULL}};
static const struct word modes[] = {
    {"performance", "PERFORMANCE"}, {"accuracy", "ACCURACY"}, {NULL, NULL}};
static const struct word denormals[] = {{"kept", "NO"}, {"zero", "YES"}, {NULL, NULL}};

/* Pinning is off where OpenVINO would have it on: no other runtime pins its threads when it is
 * given a number of them, OpenVINO pins the thread that asks as well, and whoever wants affinity
 * sets it for the whole worker, the same for every runtime. */
static const struct property {
    const char *key, *option; /* option NULL: from the request itself */
    const char *value;        /* the default; NULL: not set */
    int devices;
    const struct word *words; /* NULL: a number or a text */
} table[] = {
    {"INFERENCE_PRECISION_HINT", NULL, NULL, ANY, NULL},
    {"INFERENCE_NUM_THREADS", NULL, NULL, CPU, NULL},
    {"PERFORMANCE_HINT", "performance_hint", "LATENCY", ANY, hints},
    {"NUM_STREAMS", "streams", "1", CPU | GPU, NULL},
    {"EXECUTION_MODE_HINT", "execution_mode", "PERFORMANCE", CPU | GPU, modes},
    {"ENABLE_CPU_PINNING", "pinning", "NO", CPU, on_off},
    {"CPU_DENORMALS_OPTIMIZATION", "denormals", "NO", CPU, denormals},
    {"CACHE_DIR", "cache_dir", NULL, ANY, NULL},
    /* The precision hint does not cover these two, which make 8-bit integers of what is f32: of the
     * activations beside compressed weights, and of the keys and values a decoder keeps. */
    {"DYNAMIC_QUANTIZATION_GROUP_SIZE", NULL, "0", CPU, NULL},
    {"KV_CACHE_PRECISION", NULL, "f32", CPU, NULL},
};
/* Others that could lower the precision behind its back. */
static const char *const less_precise[] = {"KEY_CACHE_PRECISION", "VALUE_CACHE_PRECISION",
                                           "LP_TRANSFORMS_MODE"};
enum { ROWS = sizeof table / sizeof *table, PRECISION = 0, THREADS = 1, CACHE = 7 };
_Static_assert((int)ROWS <= (int)OV_PROPERTY_MAX, "more properties than room for their values");

/* --- what is asked for ------------------------------------------------------------------------ */

static int device_bit(const char *device)
{
    return text_starts(device, "CPU") ? CPU : text_starts(device, "GPU") ? GPU : NPU;
}

static int unknown_word(size_t row, const char *value, struct error *e)
{
    struct buffer list;
    buffer_init(&list, VALUE_MAX);
    for (const struct word *w = table[row].words; w->ours; w++)
        buffer_format(&list, "%s%s", list.size ? " or " : "", w->ours);
    error_set(e, ERROR_USAGE, "option %s of runtime 'openvino' is %s, not '%.60s'",
              table[row].option, buffer_string(&list), value);
    buffer_release(&list);
    return ERROR_USAGE;
}

static int choose_word(struct ov_properties *p, size_t row, const char *value, struct error *e)
{
    for (const struct word *w = table[row].words; w->ours; w++)
        if (!strcmp(w->ours, value)) {
            p->values[row] = w->theirs;
            return 0;
        }
    return unknown_word(row, value, e);
}

/* One of the table's options; that it is of no use for the device is said, not ignored. */
static int set_row(void *target, const char *name, const char *value, struct error *e)
{
    struct ov_properties *p = target;
    size_t row = 0;
    int64_t number;
    while (!table[row].option || strcmp(table[row].option, name))
        row++;
    p->values[row] = NULL;
    if (!(table[row].devices & device_bit(p->device)))
        return error_set(e, ERROR_USAGE, "option %s of runtime 'openvino' does not apply to device "
                         "%s", name, p->device);
    if (table[row].words)
        return choose_word(p, row, value, e);
    p->values[row] = value;
    return row == CACHE ? 0 : text_to_int(value, name, 1, STREAMS_MAX, &number, e);
}

/* "GPU.1" of provider gpu. */
static int set_device(void *target, const char *name, const char *value, struct error *e)
{
    struct ov_properties *p = target;
    size_t size = strlen(p->device);
    if (strncmp(value, p->device, size) || strlen(value) >= sizeof p->device ||
        (value[size] && value[size] != '.'))
        return error_set(e, ERROR_USAGE, "option %s of runtime 'openvino': '%.60s' is not one of "
                         "provider %s's", name, value, p->device);
    snprintf(p->device, sizeof p->device, "%s", value);
    return 0;
}

/* Only so that the list of options names the form; real ones were taken out before. */
static int set_other(void *target, const char *name, const char *value, struct error *e)
{
    (void)target;
    return error_set(e, ERROR_USAGE, "option %s=%.60s of runtime 'openvino': PROPERTY stands for "
                     "the name of one", name, value);
}

static const struct adapter_option known[] = {
    {"pinning", set_row},   {"performance_hint", set_row}, {"execution_mode", set_row},
    {"streams", set_row},   {"denormals", set_row},        {"cache_dir", set_row},
    {"device", set_device}, {"ov.PROPERTY", set_other},
};

static int is_ours(size_t row, const char *key, struct error *e)
{
    const char *option = table[row].option;
    error_set(e, ERROR_USAGE, "option ov.%s of runtime 'openvino': wattle sets it itself", key);
    return error_hint(e, "use %s%s", option ? "option " : "",
                      option ? option : row == THREADS ? "--threads" : "--precision");
}

/* ov.KEY=VALUE goes to OpenVINO as it is, but not around what wattle promises itself. */
static int take_other(struct ov_properties *p, const char *key, json_t *value, struct error *e)
{
    for (size_t row = 0; row < ROWS; row++)
        if (!strcmp(table[row].key, key))
            return is_ours(row, key, e);
    for (size_t i = 0; i < sizeof less_precise / sizeof *less_precise; i++)
        if (!strcmp(less_precise[i], key))
            return error_set(e, ERROR_USAGE, "option ov.%s of runtime 'openvino' could lower the "
                             "precision asked for", key);
    if (!json_is_string(value))
        return error_set(e, ERROR_USAGE, "option 'ov.%.60s' of runtime 'openvino' is not a text",
                         key);
    return json_object_set(p->others, key, value) ? error_memory(e) : 0;
}

static int read_options(struct ov_properties *p, json_t *options, struct error *e)
{
    const char *name;
    json_t *value;
    json_t *ours = json_object();
    p->others = json_object();
    int code = ours && p->others ? 0 : error_memory(e);
    json_object_foreach(options, name, value) {
        int other = text_starts(name, "ov.") && strcmp(name, "ov.PROPERTY") != 0;
        if (!code && other)
            code = take_other(p, name + 3, value, e);
        else if (!code && json_object_set(ours, name, value))
            code = error_memory(e);
    }
    if (!code)
        code = adapter_options("openvino", ours, known, sizeof known / sizeof *known, p, e);
    json_decref(ours);
    return code;
}

static int check_spin(const char *spin, struct error *e)
{
    if (!strcmp(spin, "short") || !strcmp(spin, "off") || !strcmp(spin, "default"))
        return 0;
    error_set(e, ERROR_UNSUPPORTED, "spin '%.20s': the threads of OpenVINO (TBB) have no spin time "
              "to set", spin);
    return error_hint(e, "use --spin short, off or default, which are the same for it");
}

/* "GPU.1" for device 1. */
static int set_index(struct ov_properties *p, const struct adapter_request *r, struct error *e)
{
    int64_t index;
    if (r->device_count == 0)
        return 0;
    if (r->device_count > 1) {
        error_set(e, ERROR_UNSUPPORTED, "OpenVINO is run on one device, not on %zu",
                  r->device_count);
        return error_hint(e, "-d 0,1 measures them one after the other");
    }
    if (device_bit(p->device) == CPU)
        return error_set(e, ERROR_USAGE, "provider 'cpu' of OpenVINO takes no device");
    int code = text_to_int(r->devices[0], "device", 0, 1023, &index, e);
    size_t used = strlen(p->device);
    if (!code)
        snprintf(p->device + used, sizeof p->device - used, ".%d", (int)index);
    return code;
}

int ov_properties_choose(struct ov_properties *p, const struct adapter_request *r, struct error *e)
{
    *p = (struct ov_properties){0};
    for (size_t i = 0; r->provider[i] && i + 1 < sizeof p->device; i++)
        p->device[i] = (char)toupper((unsigned char)r->provider[i]);
    int bit = device_bit(p->device);
    for (size_t row = 0; row < ROWS; row++)
        p->values[row] = table[row].devices & bit ? table[row].value : NULL;
    snprintf(p->threads, sizeof p->threads, "%d", r->threads);
    p->values[PRECISION] = r->precision;
    p->values[THREADS] = bit == CPU ? p->threads : NULL;
    int code = check_spin(r->spin, e);
    if (!code)
        code = set_index(p, r, e);
    return code ? code : read_options(p, r->options, e);
}

void ov_properties_release(struct ov_properties *p)
{
    json_decref(p->others);
    p->others = NULL;
}

static int set_one(const struct ov_properties *p, const struct ov_api *api, const void *core,
                   const char *key, const char *value, struct error *e)
{
    int status = api->core_set_property(core, p->device, key, value);
    return status ? ov_api_error(api, status, e, "OpenVINO takes no %s=%.60s for device %s", key,
                                 value, p->device)
                  : 0;
}

/* Asking the device for its name loads its plug-in, which from then on refuses a wrong property
 * when it is set, and not only, less clearly, when a model is compiled. */
int ov_properties_set(const struct ov_properties *p, const struct ov_api *api, const void *core,
                      struct error *e)
{
    const char *key;
    json_t *value;
    char *name = NULL;
    int status = api->core_get_property(core, p->device, "FULL_DEVICE_NAME", &name);
    int code = 0;
    if (status)
        code = ov_api_error(api, status, e, "OpenVINO cannot use device %s", p->device);
    api->free(name);
    for (size_t row = 0; !code && row < ROWS; row++)
        if (p->values[row])
            code = set_one(p, api, core, table[row].key, p->values[row], e);
    json_object_foreach(p->others, key, value)
        if (!code)
            code = set_one(p, api, core, key, json_string_value(value), e);
    return code;
}

/* --- what it got ------------------------------------------------------------------------------ */

struct readback {
    const struct ov_api *api;
    const void *compiled;
    json_t *all; /* object: every property that can be read, as OpenVINO writes it */
};

/* NULL is out of memory; what JSON could not carry is null. */
static json_t *plain_text(const char *text)
{
    for (const char *c = text; *c; c++)
        if (*c < ' ' || *c > '~')
            return json_null();
    return strlen(text) < VALUE_MAX ? json_string(text) : json_null();
}

/* Properties that the compiled model lists but cannot tell are left out. */
static int read_property(struct readback *b, const char *key, struct error *e)
{
    char *value = NULL;
    if (b->api->compiled_model_get_property(b->compiled, key, &value) || !value)
        return 0;
    json_t *text = plain_text(value);
    b->api->free(value);
    return json_object_set_new(b->all, key, text) ? error_memory(e) : 0;
}

static int read_all(struct readback *b, struct error *e)
{
    char *list = NULL, *rest = NULL;
    int code = 0;
    for (size_t row = 0; !code && row < ROWS; row++)
        code = read_property(b, table[row].key, e);
    if (!code)
        code = read_property(b, "EXECUTION_DEVICES", e);
    if (code || b->api->compiled_model_get_property(b->compiled, "SUPPORTED_PROPERTIES", &list) ||
        !list)
        return code;
    for (char *key = strtok_r(list, " ", &rest); !code && key; key = strtok_r(NULL, " ", &rest))
        if (strcmp(key, "SUPPORTED_PROPERTIES") != 0)
            code = read_property(b, key, e);
    b->api->free(list);
    return code;
}

static const char *got(const struct readback *b, const char *key)
{
    return json_string_value(json_object_get(b->all, key));
}

static const char *in_our_words(const struct word *words, const char *theirs)
{
    for (; words && words->ours; words++)
        if (!strcmp(words->theirs, theirs))
            return words->ours;
    return theirs;
}

static json_t *number_or_null(const char *text)
{
    int64_t number;
    return text && !text_to_int(text, "", INT32_MIN, INT32_MAX, &number, NULL)
               ? json_integer(number)
               : json_null();
}

static int put(json_t *object, const char *name, json_t *value, struct error *e)
{
    return json_object_set_new(object, name, value) ? error_memory(e) : 0;
}

static int put_rows(const struct ov_properties *p, const struct readback *b, json_t *s,
                    struct error *e)
{
    int code = 0;
    for (size_t row = 0; !code && row < ROWS; row++) {
        const char *value = got(b, table[row].key);
        if (!table[row].option || !(table[row].devices & device_bit(p->device)))
            continue;
        if (table[row].words || row == CACHE)
            code = put(s, table[row].option,
                       value ? json_string(in_our_words(table[row].words, value)) : json_null(), e);
        else
            code = put(s, table[row].option, number_or_null(value), e);
    }
    return code;
}

/* Threads beyond the processors the worker may use are not made; a figure with fewer threads than
 * asked for must show it. */
static int put_threads(const struct readback *b, const struct adapter_request *r, json_t *s,
                       struct error *e)
{
    json_t *threads = number_or_null(got(b, table[THREADS].key));
    int differ = json_is_integer(threads) && json_integer_value(threads) != r->threads;
    int code = put(s, "threads", threads, e);
    return code || !differ ? code : put(s, "threads_asked", json_integer(r->threads), e);
}

static json_t *device_name(const struct ov_properties *p, const struct ov_api *api,
                           const void *core)
{
    char *name = NULL;
    if (api->core_get_property(core, p->device, "FULL_DEVICE_NAME", &name) || !name)
        return json_null();
    json_t *text = plain_text(name);
    api->free(name);
    return text;
}

static int put_rest(const struct ov_properties *p, const struct readback *b, const void *core,
                    const struct adapter_request *r, json_t *s, struct error *e)
{
    const char *precision = got(b, table[PRECISION].key);
    int code = put(s, "precision", precision ? json_string(precision) : json_null(), e);
    if (!code)
        code = put(s, "provider", json_string(r->provider), e);
    if (!code)
        code = put(s, "device", device_name(p, b->api, core), e);
    if (!code)
        code = put(s, "build", json_string(b->api->build), e);
    if (!code)
        code = put(s, "element_types_since", json_string(b->api->types->since), e);
    if (!code)
        code = put(s, "spin", json_string("none to set (TBB)"), e);
    return code ? code : put(s, "properties", json_incref(b->all), e);
}

/* bf16 is the default of processors that have it: what is measured must be what was asked for. */
static int check_precision(const struct readback *b, const struct adapter_request *r,
                           struct error *e)
{
    const char *precision = got(b, table[PRECISION].key);
    if (precision && !strcmp(precision, r->precision))
        return 0;
    return error_set(e, ERROR_UNSUPPORTED, "precision %s: OpenVINO compiled the model for %s",
                     r->precision, precision ? precision : "one that it does not tell");
}

int ov_properties_read(const struct ov_properties *p, const struct ov_api *api, const void *core,
                       const void *compiled, const struct adapter_request *r, json_t **settings,
                       struct error *e)
{
    struct readback b = {api, compiled, json_object()};
    json_t *s = json_object();
    int code = b.all && s ? read_all(&b, e) : error_memory(e);
    if (!code)
        code = check_precision(&b, r, e);
    if (!code)
        code = put_threads(&b, r, s, e);
    if (!code)
        code = put_rows(p, &b, s, e);
    if (!code)
        code = put_rest(p, &b, core, r, s, e);
    json_decref(b.all);
    if (code)
        json_decref(s);
    else
        *settings = s;
    return code;
}
