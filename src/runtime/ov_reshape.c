#include "runtime/ov_reshape.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = 256 };

/* Everything for one call of OpenVINO: what changes does so at once, or shapes between would clash.
 * The rest is left out, not least because scalars do not survive being named in that call. */
struct plan {
    const struct ov_api *api;
    const struct adapter_request *request;
    const char **names;
    size_t changed;                     /* entries of the arrays */
    char used[ADAPTER_TENSOR_MAX];      /* by the request's shapes */
    size_t indexes[ADAPTER_TENSOR_MAX];
    struct ov_partial_shape shapes[ADAPTER_TENSOR_MAX];
    struct ov_dimension dims[ADAPTER_TENSOR_MAX][ADAPTER_RANK_MAX];
};

struct input {
    size_t index;
    char name[NAME_MAX_BYTES];
    struct ov_partial_shape shape;
    const struct adapter_shape *given; /* NULL: the request has none for it */
};

void ov_port_name(const struct ov_api *api, const void *port, const char *role, size_t index,
                  char *name, size_t size)
{
    char *text = NULL;
    if (!api->port_get_any_name(port, &text) && text && *text)
        snprintf(name, size, "%s", text);
    else if (role)
        snprintf(name, size, "%s_%zu", role, index);
    else
        name[0] = '\0';
    api->free(text);
}

/* Whether the model's input with the name `alias` is the one that OpenVINO calls `name`. */
static int is_alias(const struct plan *p, const void *model, const char *alias, const char *name)
{
    void *port = NULL;
    char other[NAME_MAX_BYTES];
    if (p->api->model_const_input_by_name(model, alias, &port) || !port)
        return 0;
    ov_port_name(p->api, port, NULL, 0, other, sizeof other);
    p->api->output_const_port_free(port);
    return !strcmp(other, name);
}

static const struct adapter_shape *given_for(struct plan *p, const void *model, const char *name)
{
    for (size_t i = 0; i < p->request->shape_count; i++) {
        const struct adapter_shape *shape = &p->request->shapes[i];
        if (!strcmp(shape->name, name) || is_alias(p, model, shape->name, name)) {
            p->used[i] = 1;
            return shape;
        }
    }
    return NULL;
}

static int no_size(const struct input *in, int64_t axis, struct error *e)
{
    if (axis < 0)
        error_set(e, ERROR_USAGE, "input '%s' has neither rank nor sizes", in->name);
    else
        error_set(e, ERROR_USAGE, "input '%s' has no size for axis %lld", in->name,
                  (long long)axis);
    return error_hint(e, "give its whole shape: --shape %.60s=1x3x224x224 (OpenVINO forgets the "
                      "names of dimensions)", in->name);
}

/* The size of one axis: what is asked for must be within what the file allows. */
static int size_axis(const struct plan *p, const struct input *in, int64_t axis, int64_t *size,
                     struct error *e)
{
    struct ov_dimension d = in->shape.dims[axis];
    int fixed = d.low == d.high && d.low >= 0;
    if (in->given)
        *size = in->given->dims[axis];
    else if (fixed)
        *size = d.low;
    else if (axis == 0)
        *size = p->request->batch;
    else
        return no_size(in, axis, e);
    if (*size >= d.low && (d.high < 0 || *size <= d.high))
        return 0;
    return error_set(e, ERROR_USAGE, "input '%s': size %lld of axis %lld is not within the file's "
                     "%lld..%lld", in->name, (long long)*size, (long long)axis, (long long)d.low,
                     (long long)d.high);
}

static int input_rank(const struct input *in, int64_t *rank, struct error *e)
{
    int known = in->shape.rank.low == in->shape.rank.high && in->shape.rank.low >= 0;
    if (!known && !in->given)
        return no_size(in, -1, e);
    *rank = known ? in->shape.rank.low : in->given->rank;
    if (in->given && in->given->rank != *rank)
        return error_set(e, ERROR_USAGE, "input '%s': a shape of rank %d is given, the file's has "
                         "%lld", in->name, in->given->rank, (long long)*rank);
    if (*rank > ADAPTER_RANK_MAX)
        return error_set(e, ERROR_UNSUPPORTED, "input '%s' has rank %lld, more than %d", in->name,
                         (long long)*rank, ADAPTER_RANK_MAX);
    return 0;
}

static int size_input(struct plan *p, const struct input *in, struct error *e)
{
    int64_t rank = 0, size = 0;
    struct ov_dimension *dims = p->dims[p->changed];
    int code = input_rank(in, &rank, e);
    int differs = in->shape.rank.low != in->shape.rank.high;
    if (!code && differs && rank == 0)
        return error_set(e, ERROR_UNSUPPORTED, "input '%s' has no rank in the file, and OpenVINO's "
                         "C interface cannot make it a scalar", in->name);
    for (int64_t axis = 0; !code && axis < rank; axis++) {
        if (in->shape.dims)
            code = size_axis(p, in, axis, &size, e);
        else
            size = in->given->dims[axis];
        dims[axis] = (struct ov_dimension){size, size};
        differs |= in->shape.dims && (in->shape.dims[axis].low != size ||
                                      in->shape.dims[axis].high != size);
    }
    if (code || !differs)
        return code;
    p->indexes[p->changed] = in->index;
    p->shapes[p->changed++] = (struct ov_partial_shape){.rank = {rank, rank}, .dims = dims};
    return 0;
}

static int plan_input(struct plan *p, const void *model, size_t index, struct error *e)
{
    struct input in = {.index = index};
    void *port = NULL;
    int status = p->api->model_const_input_by_index(model, index, &port);
    if (!status)
        status = p->api->port_get_partial_shape(port, &in.shape);
    int code = status ? ov_api_error(p->api, status, e, "cannot inspect input %zu", index) : 0;
    if (!code) {
        ov_port_name(p->api, port, "input", index, in.name, sizeof in.name);
        in.given = given_for(p, model, in.name);
        p->names[index] = in.given ? in.given->name : NULL;
        code = size_input(p, &in, e);
        p->api->partial_shape_free(&in.shape);
    }
    p->api->output_const_port_free(port);
    return code;
}

static int check_used(const struct plan *p, struct error *e)
{
    for (size_t i = 0; i < p->request->shape_count; i++)
        if (!p->used[i])
            return error_set(e, ERROR_USAGE, "a shape is given for '%s', which OpenVINO does not "
                             "have as an input of the model", p->request->shapes[i].name);
    return 0;
}

static int make_plan(struct plan *p, const void *model, struct error *e)
{
    size_t count = 0;
    int status = p->api->model_inputs_size(model, &count);
    if (status)
        return ov_api_error(p->api, status, e, "cannot count the model's inputs");
    if (count > ADAPTER_TENSOR_MAX)
        return error_set(e, ERROR_UNSUPPORTED, "model has %zu inputs, at most %d are taken",
                         count, ADAPTER_TENSOR_MAX);
    int code = 0;
    for (size_t i = 0; !code && i < count; i++)
        code = plan_input(p, model, i, e);
    return code ? code : check_used(p, e);
}

int ov_reshape(const struct ov_api *api, void *model, const struct adapter_request *r,
               const char *names[ADAPTER_TENSOR_MAX], struct error *e)
{
    struct plan *p = calloc(1, sizeof *p);
    if (!p)
        return error_memory(e);
    p->api = api;
    p->request = r;
    p->names = names;
    int code = make_plan(p, model, e);
    int status = 0;
    if (!code && p->changed)
        status = api->model_reshape_by_port_indexes(model, p->indexes, p->shapes, p->changed);
    if (status)
        code = ov_api_error(api, status, e, "OpenVINO cannot give the model these input sizes");
    free(p);
    return code;
}
