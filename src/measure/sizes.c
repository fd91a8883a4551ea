#include "measure/sizes.h"

#include "base/text.h"

#include <string.h>

static const struct plan_dim *find_dim(const struct plan_dim *dims, size_t count,
                                       const char *symbol)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(dims[i].symbol, symbol))
            return &dims[i];
    return NULL;
}

static const struct plan_dim *given_dim(const struct sizes *s, const char *symbol)
{
    return find_dim(s->cell->dims, s->cell->dim_count, symbol);
}

static int is_named(const struct onnx_dim *d)
{
    return d->value < 0 && d->symbol && *d->symbol;
}

static int same_symbol(const char *a, const char *b)
{
    return a && b && !strcmp(a, b);
}

/* --- the batch -------------------------------------------------------------------------------- */

/* What exporters and people call it; not an expression with it. */
static int says_batch(const char *symbol)
{
    return strcasestr(symbol, "batch") && !strpbrk(symbol, "*+/() ");
}

static int is_short_for_batch(const char *symbol)
{
    return !strcasecmp(symbol, "n") || !strcasecmp(symbol, "b");
}

static int means_sequence(const char *symbol)
{
    static const char *const parts[] = {"seq", "time", "len", "step", "frame"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strcasestr(symbol, parts[i]))
            return 1;
    return strlen(symbol) == 1 && strchr("STLstl", *symbol);
}

/* The one symbol of those looked at: different ones are none. */
struct only {
    const char *symbol;
    int differ;
};

static void note_symbol(struct only *o, const char *symbol)
{
    if (!o->symbol)
        o->symbol = symbol;
    o->differ |= strcmp(o->symbol, symbol) != 0;
}

/* The names that the inputs' dimensions have. */
struct symbols {
    struct only first;    /* of first sizes */
    struct only batch;    /* called batch, or, as a first size, in short */
    struct only elsewhere;  /* called so in short, further back */
    int has_sequence;     /* a first size is called like one */
};

static void note_dim(struct symbols *all, const char *symbol, int axis)
{
    int is_short = is_short_for_batch(symbol);
    if (axis == 0) {
        note_symbol(&all->first, symbol);
        all->has_sequence |= means_sequence(symbol);
    }
    if (says_batch(symbol) || (axis == 0 && is_short))
        note_symbol(&all->batch, symbol);
    else if (is_short)
        note_symbol(&all->elsewhere, symbol);
}

/* The only dimension that is named like a batch (behind a sequence, "N" is one too), or else the
 * symbol that all first sizes share. */
static const char *find_batch_symbol(const struct onnx_model *m)
{
    struct symbols all = {0};
    for (size_t i = 0; i < m->input_count; i++)
        for (int axis = 0; axis < m->inputs[i].rank; axis++)
            if (is_named(&m->inputs[i].dims[axis]))
                note_dim(&all, m->inputs[i].dims[axis].symbol, axis);
    const struct only *named = all.batch.symbol || !all.has_sequence ? &all.batch : &all.elsewhere;
    if (named->symbol && !named->differ)
        return named->symbol;
    return all.first.differ ? NULL : all.first.symbol;
}

/* A first size is the batch unless it has a name and another dimension is known to be it. */
static int is_batch_axis(const struct sizes *s, const struct onnx_dim *d, int axis)
{
    if (d->value >= 0)
        return 0;
    if (!is_named(d))
        return axis == 0;
    if (same_symbol(d->symbol, s->batch_symbol))
        return 1;
    return axis == 0 && !s->batch_symbol && !given_dim(s, d->symbol);
}

/* The size that --shape or --input give to that axis; -1: none. */
static int64_t asked_size(const struct sizes *s, size_t index, int axis)
{
    const struct onnx_value *input = &s->model->inputs[index];
    json_t *sizes = sizes_entry(s->shapes, input->name);
    const struct data_item *item = s->data ? data_find(s->data, input->name, index) : NULL;
    if (sizes && (size_t)axis < json_array_size(sizes))
        return json_integer_value(json_array_get(sizes, (size_t)axis));
    return item && axis < item->tensor.shape.rank ? item->tensor.shape.dims[axis] : -1;
}

/* By the file or by --dim; -1: neither. */
static int64_t known_size(const struct sizes *s, const struct onnx_dim *d)
{
    const struct plan_dim *given = is_named(d) ? given_dim(s, d->symbol) : NULL;
    return given ? given->value : d->value;
}

/* What the inputs say: where the batch is free, what is asked for there, what is fixed. */
static int64_t look_at_inputs(struct sizes *s)
{
    int64_t asked = -1, fixed = -1;
    for (size_t i = 0; i < s->model->input_count; i++) {
        const struct onnx_value *input = &s->model->inputs[i];
        for (int axis = 0; axis < input->rank; axis++) {
            if (!is_batch_axis(s, &input->dims[axis], axis))
                continue;
            s->has_free_batch = 1;
            s->batch_comes_first |= axis == 0;
            asked = asked < 0 ? asked_size(s, i, axis) : asked;
        }
        int64_t first = input->rank > 1 ? known_size(s, &input->dims[0]) : -1;
        if (first >= 0)
            fixed = fixed < 0 || fixed == first ? first : 0;
    }
    for (size_t i = 0; i < s->model->input_count && !s->has_free_batch && asked < 0; i++)
        if (s->model->inputs[i].rank < 0) /* the file says nothing of it */
            asked = asked_size(s, i, 0);
    s->fixed_batch = fixed > 0 && fixed <= INT32_MAX ? fixed : 0;
    return asked;
}

int sizes_batch(struct sizes *s, struct error *e)
{
    const struct cell *c = s->cell;
    s->batch_symbol = find_batch_symbol(s->model);
    int64_t asked = look_at_inputs(s);
    const struct plan_dim *given = s->batch_symbol ? given_dim(s, s->batch_symbol) : NULL;
    if (given && c->batch && c->batch != given->value) {
        error_set(e, ERROR_USAGE, "model '%s': the batch is %lld by -b and %lld by --dim %s",
                  c->model, (long long)c->batch, (long long)given->value, given->symbol);
        return error_hint(e, "%s is the batch of this model: give it one size", given->symbol);
    }
    int64_t fixed = !s->has_free_batch && s->fixed_batch ? s->fixed_batch : 1;
    s->plan->batch = c->batch ? c->batch : given ? given->value : asked >= 0 ? asked : fixed;
    if (s->plan->batch > 0)
        return 0;
    return error_set(e, ERROR_USAGE, "model '%s': the batch cannot be 0", c->model);
}

/* --- sizes ------------------------------------------------------------------------------------ */

static int add_dim(struct input_plan *p, const char *symbol, int64_t value, struct error *e)
{
    const struct plan_dim *known = find_dim(p->dims, p->dim_count, symbol);
    if (known && known->value != value)
        return error_set(e, ERROR_USAGE, "dimension '%s' is %lld in one place and %lld in another",
                         symbol, (long long)known->value, (long long)value);
    if (known)
        return 0;
    if (p->dim_count == PLAN_DIM_MAX || strlen(symbol) >= PLAN_NAME_MAX)
        return error_set(e, ERROR_UNSUPPORTED, "symbolic dimension '%.60s' is one too many",
                         symbol);
    struct plan_dim *d = &p->dims[p->dim_count++];
    snprintf(d->symbol, sizeof d->symbol, "%s", symbol);
    d->value = value;
    return 0;
}

/* What the file's own metadata suggests for a symbol; -1 when it says nothing usable. */
static int64_t suggested_size(const struct onnx_model *m, const char *symbol)
{
    char key[32 + PLAN_NAME_MAX];
    snprintf(key, sizeof key, "wattle.dim.%.60s", symbol);
    const char *text = onnx_metadata_find(m, key);
    int64_t value;
    return text && !text_to_int(text, key, 0, INT32_MAX, &value, NULL) ? value : -1;
}

/* A size that was asked for, against the one that something else says. */
static int check_wanted(const struct input_rule *r, int axis, int64_t wanted, int64_t value,
                        const char *says, struct error *e)
{
    if (wanted < 0 || wanted == value)
        return 0;
    return error_set(e, ERROR_USAGE, "input '%s': size %d is to be %lld, but %s %lld", r->name,
                     axis, (long long)wanted, says, (long long)value);
}

static int size_batch(const struct sizes *s, const struct input_rule *r, const char *symbol,
                      int axis, int64_t wanted, int64_t *out, struct error *e)
{
    *out = s->plan->batch;
    if (!check_wanted(r, axis, wanted, *out, "the batch is", e))
        return 0;
    if (symbol && !s->batch_symbol)
        return error_hint(e, "use -b %lld, or --dim %s=%lld where it is not the batch",
                          (long long)wanted, symbol, (long long)wanted);
    return wanted > 0 ? error_hint(e, "use -b %lld", (long long)wanted) : (int)e->code;
}

static int size_symbol(struct sizes *s, const struct input_rule *r, const struct onnx_dim *dim,
                       int axis, int64_t wanted, int64_t *out, struct error *e)
{
    const char *symbol = dim->symbol;
    const struct plan_dim *given = given_dim(s, symbol);
    if (given) {
        *out = given->value;
        return check_wanted(r, axis, wanted, given->value, "--dim says", e);
    }
    if (is_batch_axis(s, dim, axis))
        return size_batch(s, r, symbol, axis, wanted, out, e);
    const struct plan_dim *known = find_dim(s->plan->dims, s->plan->dim_count, symbol);
    *out = wanted >= 0 ? wanted : known ? known->value : suggested_size(s->model, symbol);
    if (*out < 0 && axis == 0 && s->batch_comes_first && !means_sequence(symbol))
        *out = s->plan->batch; /* exporters name each input's batch anew */
    if (*out >= 0)
        return 0;
    error_set(e, ERROR_USAGE, "model '%s': dimension '%s' of input '%s' has no size",
              s->cell->model, symbol, r->name);
    return error_hint(e, "give it one: --dim %s=SIZE", symbol);
}

/* A size that has no name in the file. */
static int size_unnamed(const struct sizes *s, const struct input_rule *r, int axis, int64_t wanted,
                        int64_t *out, struct error *e)
{
    if (axis == 0)
        return size_batch(s, r, NULL, axis, wanted, out, e);
    *out = wanted;
    if (wanted >= 0)
        return 0;
    error_set(e, ERROR_USAGE, "model '%s': size %d of input '%s' is free and has no name",
              s->cell->model, axis, r->name);
    return error_hint(e, "give the whole shape: --shape %s=1x3x224x224", r->name);
}

/* Where the batch is free elsewhere, a fixed first size is something else: a table, one item. */
static int size_fixed(const struct sizes *s, const struct input_rule *r, int axis, int64_t wanted,
                      int64_t fixed, struct error *e)
{
    int64_t batch = s->plan->batch;
    if (check_wanted(r, axis, wanted, fixed, "the model fixes it at", e))
        return (int)e->code;
    if (axis != 0 || r->shape.rank <= 1 || s->has_free_batch || fixed == batch ||
        (batch == 1 && !s->fixed_batch))
        return 0;
    error_set(e, ERROR_USAGE, "batch %lld: model '%s' fixes the batch of input '%s' at %lld",
              (long long)batch, s->cell->model, r->name, (long long)fixed);
    return error_hint(e, "use -b %lld or none, or export the model with a symbolic batch",
                      (long long)fixed);
}

static int size_axis(struct sizes *s, const struct onnx_dim *dim, struct input_rule *r, int axis,
                     int64_t wanted, struct error *e)
{
    int64_t *out = &r->shape.dims[axis];
    if (dim->value >= 0) {
        *out = dim->value;
        return size_fixed(s, r, axis, wanted, dim->value, e);
    }
    if (!is_named(dim))
        return size_unnamed(s, r, axis, wanted, out, e);
    int result = size_symbol(s, r, dim, axis, wanted, out, e);
    return result ? result : add_dim(s->plan, dim->symbol, *out, e);
}

json_t *sizes_entry(json_t *shapes, const char *name)
{
    json_t *entry = json_object_get(shapes, name);
    return json_is_object(entry) ? json_object_get(entry, "dims") : entry;
}

int sizes_wanted(const struct cell *c, const struct input_rule *r, json_t *shapes,
                 struct shape *out, struct error *e)
{
    size_t i;
    json_t *sizes = sizes_entry(shapes, r->name), *size;
    *out = (struct shape){.rank = sizes ? (int)json_array_size(sizes) : -1};
    if (out->rank > RANK_MAX)
        return error_set(e, ERROR_USAGE, "input '%s' is to have more than %d dimensions", r->name,
                         RANK_MAX);
    json_array_foreach(sizes, i, size)
        out->dims[i] = json_integer_value(size);
    if (!r->given || (sizes && shape_equal(out, &r->given->shape)))
        return 0;
    if (sizes)
        return error_set(e, ERROR_USAGE, "model '%s': --shape and --input differ in the shape of "
                         "input '%s'", c->model, r->name);
    *out = r->given->shape;
    return 0;
}

/* The file gives it no shape at all. */
static int size_unknown(const struct sizes *s, struct input_rule *r, const struct shape *wanted,
                        struct error *e)
{
    r->shape = *wanted;
    if (wanted->rank >= 0)
        return 0;
    error_set(e, ERROR_USAGE, "model '%s' gives input '%s' no shape", s->cell->model, r->name);
    return error_hint(e, "give it one: --shape %s=1x3x224x224", r->name);
}

int sizes_input(struct sizes *s, const struct onnx_value *input, struct input_rule *r,
                struct error *e)
{
    struct shape wanted;
    int result = sizes_wanted(s->cell, r, s->shapes, &wanted, e);
    if (result)
        return result;
    if (input->rank < 0)
        return size_unknown(s, r, &wanted, e);
    if (wanted.rank >= 0 && wanted.rank != input->rank)
        return error_set(e, ERROR_USAGE, "input '%s' is to have %d dimensions, the model gives it "
                         "%d", r->name, wanted.rank, input->rank);
    r->shape = (struct shape){.rank = input->rank};
    for (int axis = 0; axis < input->rank && !result; axis++)
        result = size_axis(s, &input->dims[axis], r, axis,
                           wanted.rank < 0 ? -1 : wanted.dims[axis], e);
    return result;
}

int sizes_check_dims(const struct sizes *s, struct error *e)
{
    const struct cell *c = s->cell;
    for (size_t i = 0; i < c->dim_count; i++)
        if (!find_dim(s->plan->dims, s->plan->dim_count, c->dims[i].symbol))
            return error_set(e, ERROR_USAGE, "model '%s' has no symbolic dimension '%s'", c->model,
                             c->dims[i].symbol);
    return 0;
}
