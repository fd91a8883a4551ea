#include "measure/sizes.h"

#include "model/half.h"
#include "runtime/adapter.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- rules for the data ----------------------------------------------------------------------- */

static int rule_from_range(struct input_rule *r, const struct measure_options *o)
{
    for (size_t i = 0; i < o->range_count; i++) {
        if (strcmp(o->ranges[i].name, r->name))
            continue;
        r->kind = INPUT_UNIFORM;
        r->a = o->ranges[i].low;
        r->b = o->ranges[i].high;
        return 1;
    }
    return 0;
}

/* Exactly `count` finite numbers, each after one space; 1 when they are there. */
static int parse_numbers(const char *text, int count, double *first, double *second)
{
    double *out[] = {first, second};
    for (int i = 0; i < count && i < 2; i++) {
        char *end = NULL;
        if (!text || *text != ' ')
            return 0;
        *out[i] = strtod(text + 1, &end);
        if (!end || end == text + 1 || !isfinite(*out[i]))
            return 0;
        text = end;
    }
    return text && !*text;
}

static int rule_from_metadata(struct input_rule *r, const struct onnx_model *m)
{
    static const char *const kinds[] = {[INPUT_NORMAL] = "normal", [INPUT_UNIFORM] = "uniform",
                                        [INPUT_CONSTANT] = "constant"};
    char key[192];
    snprintf(key, sizeof key, "wattle.input.%s", r->name);
    const char *text = onnx_metadata_find(m, key);
    for (int k = INPUT_NORMAL; text && k <= INPUT_CONSTANT; k++) {
        size_t size = strlen(kinds[k]);
        if (strncmp(text, kinds[k], size) || text[size] != ' ')
            continue;
        r->kind = (enum input_kind)k;
        return parse_numbers(text + size, k == INPUT_CONSTANT ? 1 : 2, &r->a, &r->b);
    }
    return 0;
}

/* An input used as indices into a table must stay within it. */
static int rule_from_gather(struct input_rule *r, const struct onnx_model *m)
{
    int64_t bound = 0;
    for (size_t i = 0; i < m->node_count; i++) {
        const struct onnx_node *n = &m->nodes[i];
        if (strcmp(n->op_type, "Gather") || n->input_count < 2 || strcmp(n->inputs[1], r->name))
            continue;
        const struct onnx_initializer *table = onnx_initializer_find(m, n->inputs[0]);
        const struct onnx_attribute *axis = onnx_attribute_find(n, "axis");
        int64_t at = axis && axis->type == ONNX_INT ? axis->i : 0;
        if (!table || at < 0 || at >= table->tensor.shape.rank)
            continue;
        int64_t rows = table->tensor.shape.dims[at];
        bound = !bound || rows < bound ? rows : bound;
    }
    r->kind = INPUT_UNIFORM;
    r->a = 0;
    r->b = (double)(bound - 1);
    return bound > 0;
}

static int is_float(enum dtype type)
{
    return type == DTYPE_F32 || type == DTYPE_F64 || type == DTYPE_F16 || type == DTYPE_BF16;
}

static int is_integer(enum dtype type)
{
    return (type >= DTYPE_U8 && type <= DTYPE_I64) || type == DTYPE_U32 || type == DTYPE_U64;
}

/* The largest magnitude each way that still converts exactly; integers beyond 2^53 do not. */
static int rule_fits(const struct input_rule *r, enum dtype type)
{
    static const struct {
        enum dtype type;
        double low, high;
    } limits[] = {
        {DTYPE_F32, -3e38, 3e38},        {DTYPE_F64, -1e300, 1e300},
        {DTYPE_F16, -65504, 65504},      {DTYPE_BF16, -3e38, 3e38},
        {DTYPE_I64, -0x1p53, 0x1p53},    {DTYPE_U64, 0, 0x1p53},
        {DTYPE_I32, -0x1p31, 0x1p31 - 1}, {DTYPE_U32, 0, 0x1p32 - 1},
        {DTYPE_I16, -0x1p15, 0x1p15 - 1}, {DTYPE_U16, 0, 0x1p16 - 1},
        {DTYPE_I8, -128, 127},           {DTYPE_U8, 0, 255},
        {DTYPE_BOOL, 0, 1},
    };
    if (r->kind == INPUT_NORMAL)
        return is_float(type) && r->b >= 0;
    double high = r->kind == INPUT_UNIFORM ? r->b : r->a;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        if (limits[i].type == type)
            return r->a <= high && r->a >= limits[i].low && high <= limits[i].high;
    return 0;
}

static int check_rule(const struct input_rule *r, enum dtype type, const struct cell *c,
                      struct error *e)
{
    if (rule_fits(r, type))
        return 0;
    return error_set(e, ERROR_USAGE, "model '%s': input '%s' of type %s cannot take values %g..%g",
                     c->model, r->name, dtype_name(type), r->a, r->b);
}

/* The data of --input, taken as it is: nothing is converted behind anybody's back. */
static int rule_from_data(struct input_rule *r, const struct onnx_value *input, size_t position,
                          const struct cell *c, const struct measure_options *o, struct error *e)
{
    const struct data_item *item = o->data ? data_find(o->data, r->name, position) : NULL;
    if (!item)
        return 0;
    r->kind = INPUT_GIVEN;
    r->given = &item->tensor;
    if (item->tensor.type == input->type)
        return 0;
    error_set(e, ERROR_USAGE, "model '%s': input '%s' is of type %s, the given data of type %s",
              c->model, r->name, dtype_name(input->type), dtype_name(item->tensor.type));
    return error_hint(e, "in Python: x.astype('%s')", dtype_name(input->type));
}

static int is_fed(enum dtype type)
{
    return is_float(type) || is_integer(type) || type == DTYPE_BOOL;
}

static int type_hint(struct error *e)
{
    return error_hint(e, "export the model with inputs of a common type, such as float32");
}

static int make_rule(struct input_rule *r, const struct onnx_value *input,
                     const struct onnx_model *m, const struct cell *c,
                     const struct measure_options *o, struct error *e)
{
    if (r->given)
        return 0;
    if (input->type == DTYPE_STRING)
        return error_set(e, ERROR_UNSUPPORTED, "model '%s': input '%s' takes strings, which are "
                         "not fed", c->model, r->name);
    if (!is_fed(input->type)) {
        error_set(e, ERROR_UNSUPPORTED, "model '%s': cannot make up input '%s' of type %s",
                  c->model, r->name, dtype_name(input->type));
        return type_hint(e);
    }
    if (rule_from_range(r, o) || rule_from_metadata(r, m))
        return check_rule(r, input->type, c, e);
    if (is_float(input->type)) {
        r->kind = INPUT_NORMAL;
        r->b = 1;
        return 0;
    }
    if (input->type == DTYPE_BOOL) {
        r->kind = INPUT_UNIFORM;
        r->b = 1;
        return 0;
    }
    if (rule_from_gather(r, m))
        return 0;
    error_set(e, ERROR_USAGE, "model '%s': cannot make up input '%s' (%s): its range is unknown",
              c->model, r->name, dtype_name(input->type));
    return error_hint(e, "give it one: --range %s=LOW..HIGH", r->name);
}

static int check_given_ranges(const struct input_plan *p, const struct cell *c,
                              const struct measure_options *o, struct error *e)
{
    for (size_t i = 0; i < o->range_count; i++) {
        size_t k = 0;
        while (k < p->rule_count && strcmp(p->rules[k].name, o->ranges[i].name))
            k++;
        if (k == p->rule_count)
            return error_set(e, ERROR_USAGE, "model '%s' has no input '%s'", c->model,
                             o->ranges[i].name);
    }
    return 0;
}

/* Each tensor of --input must be somebody's, and only one's. */
static int check_given_data(const struct input_plan *p, const struct cell *c,
                            const struct measure_options *o, struct error *e)
{
    for (size_t i = 0; o->data && i < o->data->count; i++) {
        size_t uses = 0;
        for (size_t k = 0; k < p->rule_count; k++)
            uses += p->rules[k].given == &o->data->items[i].tensor;
        if (uses == 1)
            continue;
        const struct data_item *item = &o->data->items[i];
        return error_set(e, ERROR_USAGE, "model '%s' has %s input for tensor %zu ('%s') of --input",
                         c->model, uses ? "more than one" : "no", i, item->name);
    }
    return 0;
}

/* The element type of --shape, which must be the file's or the data's where those are known. */
static int wanted_type(const struct cell *c, struct input_rule *r, json_t *shapes, struct error *e)
{
    const char *name = json_string_value(json_object_get(json_object_get(shapes, r->name), "type"));
    enum dtype wanted = name ? dtype_from_name(name) : DTYPE_NONE;
    if (wanted == DTYPE_NONE || wanted == r->type)
        return 0;
    if (r->type != DTYPE_NONE)
        return error_set(e, ERROR_USAGE, "model '%s': --shape gives input '%s' the type %s, it is "
                         "of type %s", c->model, r->name, name, dtype_name(r->type));
    r->type = wanted;
    return 0;
}

static int check_given_shapes(const struct input_plan *p, const struct cell *c, json_t *shapes,
                              struct error *e)
{
    const char *name;
    json_t *sizes;
    json_object_foreach(shapes, name, sizes) {
        size_t k = 0;
        while (k < p->rule_count && strcmp(p->rules[k].name, name))
            k++;
        if (k == p->rule_count)
            return error_set(e, ERROR_USAGE, "model '%s' has no input '%s' to give a --shape",
                             c->model, name);
    }
    return 0;
}

static int plan_input(struct sizes *s, size_t i, const struct measure_options *o, struct error *e)
{
    struct input_plan *p = s->plan;
    const struct onnx_value *input = &s->model->inputs[i];
    struct input_rule *r = &p->rules[p->rule_count++];
    if (strlen(input->name) >= sizeof r->name)
        return error_set(e, ERROR_UNSUPPORTED, "input name '%.40s...' is too long", input->name);
    snprintf(r->name, sizeof r->name, "%s", input->name);
    r->type = input->type;
    int result = wanted_type(s->cell, r, s->shapes, e);
    if (!result)
        result = rule_from_data(r, input, i, s->cell, o, e);
    if (!result)
        result = sizes_input(s, input, r, e);
    return result ? result : make_rule(r, input, s->model, s->cell, o, e);
}

static int check_given(const struct sizes *s, const struct measure_options *o, struct error *e)
{
    int result = sizes_check_dims(s, e);
    if (!result)
        result = check_given_ranges(s->plan, s->cell, o, e);
    if (!result)
        result = check_given_data(s->plan, s->cell, o, e);
    return result ? result : check_given_shapes(s->plan, s->cell, s->shapes, e);
}

static json_t *cell_shapes(const struct cell *c)
{
    return json_loads(c->shapes[0] ? c->shapes : "{}", 0, NULL);
}

static int plan_inputs(struct input_plan *p, const struct cell *c, const struct measure_options *o,
                       const struct onnx_model *m, struct error *e)
{
    if (m->input_count > ADAPTER_TENSOR_MAX)
        return error_set(e, ERROR_UNSUPPORTED, "model '%s' has %zu inputs, at most %d are taken",
                         c->model, m->input_count, ADAPTER_TENSOR_MAX);
    struct sizes s = {
        .plan = p, .cell = c, .model = m, .shapes = cell_shapes(c), .data = o->data};
    p->rules = calloc(m->input_count ? m->input_count : 1, sizeof *p->rules);
    int result = p->rules && s.shapes ? sizes_batch(&s, e) : error_memory(e);
    for (size_t i = 0; i < m->input_count && !result; i++)
        result = plan_input(&s, i, o, e);
    if (!result)
        result = check_given(&s, o, e);
    json_decref(s.shapes);
    return result;
}

/* Without a reader for the file, what is known of its inputs is what the user says of them. */
static struct input_rule *named_rule(struct input_plan *p, const char *name)
{
    for (size_t i = 0; i < p->rule_count; i++)
        if (!strcmp(p->rules[i].name, name))
            return &p->rules[i];
    struct input_rule *more = realloc(p->rules, (p->rule_count + 1) * sizeof *more);
    if (!more)
        return NULL;
    p->rules = more;
    struct input_rule *r = &more[p->rule_count++];
    *r = (struct input_rule){.kind = INPUT_UNKNOWN, .shape.rank = -1};
    snprintf(r->name, sizeof r->name, "%s", name);
    return r;
}

static int name_shapes(struct input_plan *p, const struct cell *c, struct error *e)
{
    const char *name;
    json_t *shapes = cell_shapes(c), *sizes;
    int result = shapes ? 0 : error_memory(e);
    json_object_foreach(shapes, name, sizes) {
        struct input_rule *r = named_rule(p, name);
        if (!r) {
            result = error_memory(e);
            break;
        }
        result = wanted_type(c, r, shapes, e);
        if (!result)
            result = sizes_wanted(c, r, shapes, &r->shape, e);
        if (result)
            break;
    }
    json_decref(shapes);
    return result;
}

static int name_data(struct input_plan *p, const struct cell *c, const struct data *data,
                     struct error *e)
{
    for (size_t i = 0; data && i < data->count; i++) {
        const struct data_item *item = &data->items[i];
        if (!item->name[0]) {
            error_set(e, ERROR_USAGE, "model '%s': tensor %zu of --input has no name", c->model, i);
            return error_hint(e, "for this format name it: --input NAME=FILE");
        }
        struct input_rule *r = named_rule(p, item->name);
        if (!r)
            return error_memory(e);
        r->kind = INPUT_GIVEN;
        r->given = &item->tensor;
        if (r->shape.rank >= 0 && !shape_equal(&r->shape, &item->tensor.shape))
            return error_set(e, ERROR_USAGE, "model '%s': --shape and --input differ in the shape "
                             "of input '%s'", c->model, r->name);
        if (r->type != DTYPE_NONE && r->type != item->tensor.type)
            return error_set(e, ERROR_USAGE, "model '%s': --shape gives input '%s' the type %s, "
                             "--input the type %s", c->model, r->name, dtype_name(r->type),
                             dtype_name(item->tensor.type));
        r->shape = item->tensor.shape;
        r->type = item->tensor.type;
    }
    return 0;
}

/* Of these it is known only once they are prepared. */
static int has_own_batch(const struct cell *c)
{
    static const char *const formats[] = {"aoti", "exported", "python", "torchscript"};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (!strcmp(c->format, formats[i]))
            return !c->command[0];
    return 0;
}

/* The first size of all shapes that the user gives; 1 when they differ, or there is none. */
static int64_t common_first_size(const struct input_plan *p)
{
    int64_t common = -1;
    for (size_t i = 0; i < p->rule_count; i++) {
        const struct shape *s = &p->rules[i].shape;
        if (s->rank > 0)
            common = common < 0 || common == s->dims[0] ? s->dims[0] : 0;
    }
    return common > 0 ? common : 1;
}

/* A worker may know what to do with names that we know nothing of. */
static void hand_on_dims(struct input_plan *p, const struct cell *c)
{
    memcpy(p->dims, c->dims, c->dim_count * sizeof *c->dims);
    p->dim_count = c->dim_count;
}

static int plan_unread(struct input_plan *p, const struct cell *c, const struct measure_options *o,
                       struct error *e)
{
    int result = name_shapes(p, c, e);
    if (!result)
        result = name_data(p, c, o->data, e);
    for (size_t i = 0; i < o->range_count && !result; i++) {
        struct input_rule *r = named_rule(p, o->ranges[i].name);
        if (!r)
            result = error_memory(e);
        else if (!r->given)
            rule_from_range(r, o);
    }
    if (!result && c->command[0])
        hand_on_dims(p, c);
    else if (!result && c->dim_count > 0)
        result = error_set(e, ERROR_USAGE, "model '%s': sizes of this format go by --shape, not by "
                           "--dim", c->model);
    if (!c->batch && (p->rule_count > 0 || !has_own_batch(c)))
        p->batch = common_first_size(p);
    else
        p->batch = c->batch;
    if (result)
        input_plan_release(p);
    return result;
}

int input_plan_make(struct input_plan *p, const struct cell *c, const struct measure_options *o,
                    struct error *e)
{
    *p = (struct input_plan){.batch = c->batch ? c->batch : 1};
    if (!c->path[0] && !c->command[0])
        return 0;
    if (!c->path[0] || (c->format[0] && strcmp(c->format, "onnx") != 0))
        return plan_unread(p, c, o, e);
    struct onnx_model *m;
    int result = onnx_open(c->path, &m, e);
    if (result)
        return result;
    result = plan_inputs(p, c, o, m, e);
    p->quantised = onnx_is_quantised(m);
    onnx_close(m);
    if (result)
        input_plan_release(p);
    return result;
}

void input_plan_release(struct input_plan *p)
{
    free(p->rules);
    *p = (struct input_plan){0};
}

int input_plan_range(struct input_plan *p, const char *name, double low, double high,
                     struct error *e)
{
    if (!isfinite(low) || !isfinite(high) || low > high)
        return error_set(e, ERROR_FORMAT, "worker gives input '%s' the range %g..%g", name, low,
                         high);
    struct input_rule *r = named_rule(p, name);
    if (!r)
        return error_memory(e);
    if (r->kind != INPUT_UNKNOWN)
        return 0;
    r->kind = INPUT_UNIFORM;
    r->a = low;
    r->b = high;
    return 0;
}

/* --- data ------------------------------------------------------------------------------------- */

/* splitmix64's output function: a counter-based generator, so that element i needs no state. */
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t stream_of(const char *name, uint64_t seed, int set)
{
    uint64_t h = mix(seed + 0x9e3779b97f4a7c15u * (uint64_t)(set + 1));
    for (; *name; name++)
        h = mix(h ^ (unsigned char)*name);
    return h;
}

/* Sum of twelve 16-bit uniforms: mean 0, variance 1, and the same bits on every machine, which
 * log and cos of Box-Muller would not promise. */
static double normal_at(uint64_t stream, uint64_t index)
{
    int64_t sum = 0;
    for (uint64_t k = 0; k < 3; k++) {
        uint64_t z = mix(stream + (3 * index + k) * 0x9e3779b97f4a7c15u);
        sum += (int64_t)((z & 0xffff) + (z >> 16 & 0xffff) + (z >> 32 & 0xffff) + (z >> 48));
    }
    return ((double)sum - 12 * 32767.5) / 65536.0;
}

static double element_at(const struct input_rule *r, uint64_t stream, uint64_t index, int integer)
{
    if (r->kind == INPUT_CONSTANT)
        return r->a;
    if (r->kind == INPUT_NORMAL)
        return r->a + r->b * normal_at(stream, index);
    uint64_t z = mix(stream + index * 0x9e3779b97f4a7c15u);
    if (!integer)
        return r->a + (r->b - r->a) * ((double)(z >> 11) * 0x1p-53);
    uint64_t span = (uint64_t)(r->b - r->a) + 1;
    return r->a + (double)(z % span);
}

static void store_element(enum dtype type, void *data, size_t i, double x)
{
    switch (type) {
    case DTYPE_F32: ((float *)data)[i] = (float)x; break;
    case DTYPE_F64: ((double *)data)[i] = x; break;
    case DTYPE_F16: ((uint16_t *)data)[i] = half_from_double(x); break;
    case DTYPE_BF16: ((uint16_t *)data)[i] = bfloat_from_double(x); break;
    case DTYPE_I64: ((int64_t *)data)[i] = (int64_t)x; break;
    case DTYPE_I32: ((int32_t *)data)[i] = (int32_t)x; break;
    case DTYPE_I16: ((int16_t *)data)[i] = (int16_t)x; break;
    case DTYPE_I8: ((int8_t *)data)[i] = (int8_t)x; break;
    case DTYPE_U64: ((uint64_t *)data)[i] = (uint64_t)x; break;
    case DTYPE_U32: ((uint32_t *)data)[i] = (uint32_t)x; break;
    case DTYPE_U16: ((uint16_t *)data)[i] = (uint16_t)x; break;
    case DTYPE_U8: ((uint8_t *)data)[i] = (uint8_t)x; break;
    default: ((uint8_t *)data)[i] = x != 0; break; /* bool */
    }
}

static int copy_given(const struct input_rule *r, enum dtype type, void *data, size_t elements,
                      struct error *e)
{
    if (type != r->given->type || (int64_t)elements != shape_elements(&r->given->shape))
        return error_set(e, ERROR_USAGE, "input '%s': the runtime wants %zu elements of %s, the "
                         "given data has %lld of %s", r->name, elements, dtype_name(type),
                         (long long)shape_elements(&r->given->shape), dtype_name(r->given->type));
    if (elements)
        memcpy(data, r->given->data, elements * dtype_size(type));
    return 0;
}

int input_fill(const struct input_plan *p, const char *name, enum dtype type, uint64_t seed,
               int set, void *data, size_t elements, struct error *e)
{
    static const struct input_rule standard = {.kind = INPUT_NORMAL, .b = 1};
    const struct input_rule *rule = is_float(type) ? &standard : NULL;
    for (size_t i = 0; i < p->rule_count; i++)
        if (!strcmp(p->rules[i].name, name))
            rule = &p->rules[i];
    if (rule && rule->given)
        return copy_given(rule, type, data, elements, e);
    if (rule && rule->kind == INPUT_UNKNOWN)
        rule = is_float(type) ? &standard : NULL;
    if (!rule || !is_fed(type)) {
        error_set(e, ERROR_UNSUPPORTED, "cannot make up input '%s' of type %s", name,
                  dtype_name(type));
        return is_fed(type) ? error_hint(e, "give it a range: --range %s=LOW..HIGH", name)
                            : type_hint(e);
    }
    if (!rule_fits(rule, type))
        return error_set(e, ERROR_USAGE, "input '%s' of type %s cannot take values %g..%g", name,
                         dtype_name(type), rule->a, rule->b);
    uint64_t stream = stream_of(name, seed, set);
    for (size_t i = 0; i < elements; i++)
        store_element(type, data, i, element_at(rule, stream, i, !is_float(type)));
    return 0;
}
