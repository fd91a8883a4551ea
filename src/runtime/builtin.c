/* builtin.c: the built-in engine, through nothing but its public header. */
#include "runtime/adapters.h"

#include "base/text.h"
#include "runtime/openmp.h"

#include <wattle/engine.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct builtin {
    struct wattle_engine *engine;
    struct wattle_engine_info info;
    size_t input_count;
    json_t *settings;
};

struct builtin_options {
    int flags;
    uint64_t memory_limit_bytes;
};

static int set_tuning(void *target, const char *name, const char *value, struct error *e)
{
    struct builtin_options *o = target;
    if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
        return error_set(e, ERROR_USAGE, "option %s of runtime 'builtin' is on or off, not '%.60s'",
                         name, value);
    if (!strcmp(value, "off"))
        o->flags |= WATTLE_ENGINE_NO_TUNING;
    return 0;
}

static int set_memory_limit(void *target, const char *name, const char *value, struct error *e)
{
    int64_t bytes;
    int code = text_to_int(value, name, 1, INT64_MAX, &bytes, e);
    if (!code)
        ((struct builtin_options *)target)->memory_limit_bytes = (uint64_t)bytes;
    return code;
}

static const struct adapter_option known[] = {
    {"tuning", set_tuning},
    {"memory_limit_bytes", set_memory_limit},
};

static void probe(struct adapter_probe *out)
{
    *out = (struct adapter_probe){.usable = 1};
    snprintf(out->version, sizeof out->version, "%s", WATTLE_VERSION);
    snprintf(out->library, sizeof out->library, "%s", "built in");
}

static int environment(const struct adapter_request *r, struct adapter_environment *out,
                       struct error *e)
{
    return openmp_environment(r, out->variables, e);
}

static void unload(void *state)
{
    struct builtin *b = state;
    if (!b)
        return;
    wattle_engine_free(b->engine);
    json_decref(b->settings);
    free(b);
}

static const char *type_name(int type)
{
    static const char *const names[] = {
        [1] = "float32", [2] = "uint8",   [3] = "int8",    [4] = "uint16",
        [5] = "int16",   [6] = "int32",   [7] = "int64",   [8] = "string",
        [9] = "bool",    [10] = "float16", [11] = "float64", [12] = "uint32",
        [13] = "uint64", [16] = "bfloat16",
    };
    size_t count = sizeof names / sizeof *names;
    const char *name = type > 0 && (size_t)type < count ? names[type] : NULL;
    return name ? name : "unknown";
}

static void describe_tensor(const struct wattle_tensor_info *from, struct adapter_tensor *to)
{
    to->name = from->name;
    to->type = type_name(from->type);
    to->rank = from->rank;
    for (int i = 0; i < from->rank && i < ADAPTER_RANK_MAX; i++)
        to->dims[i] = from->dims[i];
    to->bytes = from->bytes;
}

static json_t *settings(const struct wattle_engine_info *info, const struct builtin_options *o)
{
    json_t *s = json_pack(
        "{s:i,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:s,s:s}", "threads", info->threads, "provider",
        info->provider, "kernels", info->kernels, "nodes_in_file", (json_int_t)info->nodes_in_file,
        "steps", (json_int_t)info->steps, "steps_reference", (json_int_t)info->steps_reference,
        "reorders", (json_int_t)info->reorders, "macs", (json_int_t)info->macs, "arena_bytes",
        (json_int_t)info->arena_bytes, "weight_bytes", (json_int_t)info->weight_bytes, "tuning",
        o->flags & WATTLE_ENGINE_NO_TUNING ? "off" : "on", "denormals", "kept");
    if (s && openmp_settings(s, NULL)) {
        json_decref(s);
        s = NULL;
    }
    return s;
}

static int describe(struct builtin *b, const struct builtin_options *o, struct adapter_loaded *out,
                    struct error *e)
{
    size_t inputs = wattle_engine_input_count(b->engine);
    size_t outputs = wattle_engine_output_count(b->engine);
    if (inputs > ADAPTER_TENSOR_MAX || outputs > ADAPTER_TENSOR_MAX)
        return error_set(e, ERROR_UNSUPPORTED, "model has %zu inputs and %zu outputs, at most %d "
                         "of each are taken", inputs, outputs, ADAPTER_TENSOR_MAX);
    b->input_count = out->input_count = inputs;
    out->output_count = outputs;
    for (size_t i = 0; i < inputs; i++)
        describe_tensor(wattle_engine_input(b->engine, i), &out->inputs[i]);
    for (size_t i = 0; i < outputs; i++)
        describe_tensor(wattle_engine_output(b->engine, i), &out->outputs[i]);
    wattle_engine_info(b->engine, &b->info);
    b->settings = settings(&b->info, o);
    if (!b->settings)
        return error_memory(e);
    out->version = WATTLE_VERSION;
    out->library = b->info.kernels;
    out->provider = b->info.provider;
    out->settings = b->settings;
    return 0;
}

/* The engine's code is one of base/error.h; its text is one line. */
static int engine_error(int code, const char *text, struct error *e)
{
    return error_set(e, (enum error_code)code, "%s", text);
}

static int load_engine(struct builtin *b, const struct adapter_request *r,
                       const struct builtin_options *o, struct error *e)
{
    struct wattle_dim dims[ADAPTER_DIM_MAX];
    if (r->dim_count > ADAPTER_DIM_MAX)
        return error_set(e, ERROR_USAGE, "%zu dimensions named, at most %d are taken", r->dim_count,
                         ADAPTER_DIM_MAX);
    for (size_t i = 0; i < r->dim_count; i++)
        dims[i] = (struct wattle_dim){r->dims[i].symbol, r->dims[i].value};
    struct wattle_engine_options options = {
        .size = sizeof options,
        .threads = r->threads,
        .provider = r->provider,
        .dims = dims,
        .dim_count = r->dim_count,
        .memory_limit_bytes = o->memory_limit_bytes,
        .flags = o->flags,
    };
    char text[WATTLE_ERROR_MAX];
    int code = wattle_engine_load(r->model, &options, &b->engine, text);
    return code ? engine_error(code, text, e) : 0;
}

static int same_sizes(const struct adapter_tensor *t, const struct adapter_shape *s)
{
    if (t->rank != s->rank)
        return 0;
    for (int i = 0; i < t->rank; i++)
        if (t->dims[i] != s->dims[i])
            return 0;
    return 1;
}

/* The engine takes sizes by the names they have in the file: one without a name stays at 1, which
 * must not be measured as if it were what was asked for. */
static int check_shapes(const struct adapter_request *r, const struct adapter_loaded *out,
                        struct error *e)
{
    for (size_t i = 0; i < r->shape_count; i++)
        for (size_t k = 0; k < out->input_count; k++)
            if (!strcmp(r->shapes[i].name, out->inputs[k].name) &&
                !same_sizes(&out->inputs[k], &r->shapes[i]))
                return error_set(e, ERROR_UNSUPPORTED, "input '%.100s' cannot have the shape that "
                                 "was asked for: the file gives its free sizes no names",
                                 r->shapes[i].name);
    return 0;
}

static int check(const struct adapter_request *r, struct error *e)
{
    struct builtin_options o = {0};
    int code = openmp_check_spin(r->spin, e);
    return code ? code : adapter_options("builtin", r->options, known,
                                         sizeof known / sizeof *known, &o, e);
}

static int load(const struct adapter_request *r, void **state, struct adapter_loaded *out,
                struct error *e)
{
    struct builtin_options o = {0};
    struct builtin *b = calloc(1, sizeof *b);
    if (!b)
        return error_memory(e);
    int code = adapter_options("builtin", r->options, known, sizeof known / sizeof *known, &o, e);
    if (!code)
        code = load_engine(b, r, &o, e);
    if (!code)
        code = describe(b, &o, out, e);
    if (!code)
        code = check_shapes(r, out, e);
    if (!code)
        code = adapter_check_batch(r->batch, out->inputs, out->input_count, e);
    if (code) {
        unload(b);
        return code;
    }
    *state = b;
    return 0;
}

static int bind(void *state, const void *const *data, struct error *e)
{
    struct builtin *b = state;
    char text[WATTLE_ERROR_MAX];
    for (size_t i = 0; i < b->input_count; i++) {
        int code = wattle_engine_bind_input(b->engine, i, data[i], text);
        if (code)
            return engine_error(code, text, e);
    }
    return 0;
}

static int run(void *state, struct error *e)
{
    struct builtin *b = state;
    char text[WATTLE_ERROR_MAX];
    int code = wattle_engine_run(b->engine, text);
    return code ? engine_error(code, text, e) : 0;
}

static const void *output(void *state, size_t index, struct adapter_tensor *tensor)
{
    struct builtin *b = state;
    const struct wattle_tensor_info *info = wattle_engine_output(b->engine, index);
    if (!info)
        return NULL;
    describe_tensor(info, tensor);
    return wattle_engine_output_data(b->engine, index);
}

static const char *const providers[] = {"cpu", "reference", NULL};
static const char *const precisions[] = {"f32", NULL};

const struct adapter adapter_builtin = {
    .name = "builtin",
    .title = "wattle's own engine (oneDNN; \"reference\" is plain C)",
    .providers = providers,
    .precisions = precisions,
    .probe = probe,
    .check = check,
    .environment = environment,
    .load = load,
    .bind = bind,
    .run = run,
    .output = output,
    .unload = unload,
};
