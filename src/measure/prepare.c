/* prepare.c: what a cell's worker loads where its runtime does not read the model's file. */
#include "measure/inputs.h"

#include "runtime/prepare.h"

#include <string.h>

static json_t *sizes_json(const struct shape *s)
{
    json_t *sizes = json_array();
    for (int i = 0; sizes && i < s->rank; i++)
        if (json_array_append_new(sizes, json_integer(s->dims[i]))) {
            json_decref(sizes);
            return NULL;
        }
    return sizes;
}

/* Integers that index a table must stay within it, also when a converter tries its result. */
static int put_range(json_t *input, const struct input_rule *r)
{
    int fixed = r->kind == INPUT_CONSTANT;
    if (r->kind != INPUT_UNIFORM && !fixed)
        return 0;
    return json_object_set_new(input, "range", json_pack("[f,f]", r->a, fixed ? r->a : r->b));
}

static json_t *input_json(const struct input_rule *r)
{
    json_t *input = json_pack("{s:s}", "name", r->name);
    int failed = !input;
    if (!failed && r->type != DTYPE_NONE)
        failed = json_object_set_new(input, "type", json_string(dtype_name(r->type)));
    if (!failed && r->shape.rank >= 0)
        failed = json_object_set_new(input, "shape", sizes_json(&r->shape));
    if (!failed)
        failed = put_range(input, r);
    if (!failed)
        return input;
    json_decref(input);
    return NULL;
}

/* What is known of the inputs: all of an ONNX file's, of others what the user says. */
static int list_inputs(const struct cell *c, const struct measure_options *o, json_t **out,
                       struct error *e)
{
    struct input_plan plan;
    int result = input_plan_make(&plan, c, o, e);
    if (result)
        return result;
    *out = json_array();
    for (size_t i = 0; i < plan.rule_count; i++)
        if (json_array_append_new(*out, input_json(&plan.rules[i]))) {
            json_decref(*out);
            *out = NULL;
            break;
        }
    input_plan_release(&plan);
    return *out ? 0 : error_memory(e);
}

int measure_prepare_needed(const struct cell *c)
{
    return c->path[0] && !c->command[0] && prepare_needed(c->runtime, c->variant, c->format);
}

int measure_prepare(struct cell *c, const struct measure_options *o, const char *sha256,
                    const struct measure_watch *watch, int *made, struct error *e)
{
    struct prepared prepared;
    json_t *inputs = NULL;
    int result = list_inputs(c, o, &inputs, e);
    struct prepare_request r = {
        .model = c->path, .format = c->format, .sha256 = sha256,
        .zoo = strcmp(c->form, "native") ? "" : c->model, .form = c->form, .runtime = c->runtime,
        .variant = c->variant, .library = c->library, .version = c->version,
        .provider = c->provider, .precision = measure_precision(c), .inputs = inputs,
        .batch = c->batch, .threads = c->threads, .timeout_ns = o->timeout_ns,
        .interrupted = watch->interrupted, .tell = watch->tell, .context = watch->context};
    if (!result)
        result = prepare_model(&r, &prepared, e);
    json_decref(inputs);
    if (result)
        return result;
    snprintf(c->artifact, sizeof c->artifact, "%s", prepared.path);
    snprintf(c->how, sizeof c->how, "%s", prepared.how);
    *made = prepared.made;
    return 0;
}

int64_t measure_own_batch(const struct cell *c)
{
    int64_t batch = prepare_batch(c->artifact[0] ? c->artifact : c->path);
    return batch > 0 ? batch : 1;
}

int measure_prepared_alike(const struct cell *a, const struct cell *b)
{
    int threads = !prepare_compiles(a->runtime, a->variant) || a->threads == b->threads;
    return threads && a->batch == b->batch && a->dim_count == b->dim_count &&
           !memcmp(a->dims, b->dims, a->dim_count * sizeof *a->dims) &&
           !strcmp(a->path, b->path) && !strcmp(a->runtime, b->runtime) &&
           !strcmp(a->variant, b->variant) && !strcmp(a->form, b->form) &&
           !strcmp(a->library, b->library) && !strcmp(a->provider, b->provider) &&
           !strcmp(a->precision, b->precision) && !strcmp(a->shapes, b->shapes);
}
