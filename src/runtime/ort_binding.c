/* ort_binding.c: inputs and outputs bound ahead of the run.
 *
 * The worker goes round a few sets of inputs. Each set gets, when it is first seen (before the
 * window), values over the caller's memory and a binding of its own, with the same outputs; later
 * bind() only finds it again, comparing pointers, and first looks where the round would go next.
 *
 * On a device the library copies an input when it is bound, so there each bind() binds again: the
 * copy is outside the latency, and the memory may hold new numbers. Outputs stay there until they
 * are asked for, which repeats the run with outputs in the CPU's memory; the library cannot copy an
 * output by itself. With outputs=host they are bound in the CPU's memory, so that the difference to
 * a run without is what copying them costs.
 */
#include "runtime/ort.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64, SETS_MAX = 4096 };

struct ort_input_set {
    struct ort_binding *binding;
    struct ort_value **values; /* [input_count] */
    const void **data;         /* [input_count]: where the values lie */
};

/* --- outputs ---------------------------------------------------------------------------------- */

static int stays_on_device(const struct ort *o)
{
    return o->device && !o->options.host_outputs;
}

static const struct ort_memory_info *output_memory(const struct ort *o)
{
    return stays_on_device(o) ? o->device : o->cpu;
}

static int is_dynamic(const struct ort *o, size_t i)
{
    return !o->output_types[i];
}

static int create_value(struct ort *o, const struct adapter_tensor *t, int type, const void *data,
                        struct ort_value **out, struct error *e)
{
    struct ort_api *a = &o->api;
    void *writable; /* the interface has one pointer for what is read and what is written */
    memcpy(&writable, &data, sizeof writable);
    return ort_check(a, a->create_tensor(o->cpu, writable, t->bytes, t->dims, (size_t)t->rank,
                                         type, out), e, "cannot wrap '%.60s'", t->name);
}

static int prepare_output(struct ort *o, size_t i, struct error *e)
{
    const struct adapter_tensor *t = &o->outputs[i];
    size_t size = (t->bytes + ALIGNMENT) / ALIGNMENT * ALIGNMENT; /* some, also for none */
    o->memory[i] = aligned_alloc(ALIGNMENT, size);
    if (!o->memory[i])
        return error_set(e, ERROR_MEMORY, "cannot allocate output '%.100s' of %zu bytes", t->name,
                         t->bytes);
    memset(o->memory[i], 0, size);
    return create_value(o, t, o->output_types[i], o->memory[i], &o->prepared[i], e);
}

int ort_outputs_prepare(struct ort *o, struct error *e)
{
    int code = 0;
    for (size_t i = 0; !code && !stays_on_device(o) && i < o->output_count; i++)
        if (!is_dynamic(o, i))
            code = prepare_output(o, i, e);
    return code;
}

static int bind_output(struct ort *o, struct ort_binding *binding, size_t i,
                       const struct ort_memory_info *where, struct error *e)
{
    struct ort_api *a = &o->api;
    const char *name = o->outputs[i].name;
    struct ort_status *status = o->prepared[i] ? a->bind_output(binding, name, o->prepared[i])
                                               : a->bind_output_device(binding, name, where);
    return ort_check(a, status, e, "cannot bind output '%.60s'", name);
}

static int bind_outputs(struct ort *o, struct ort_binding *binding,
                        const struct ort_memory_info *where, struct error *e)
{
    int code = 0;
    for (size_t i = 0; !code && i < o->output_count; i++)
        code = bind_output(o, binding, i, where, e);
    return code;
}

/* --- input sets ------------------------------------------------------------------------------- */

static void release_set(struct ort *o, struct ort_input_set *s)
{
    if (s->binding)
        o->api.release_binding(s->binding);
    for (size_t i = 0; s->values && i < o->input_count; i++)
        if (s->values[i])
            o->api.release_value(s->values[i]);
    free(s->values);
    free(s->data);
    *s = (struct ort_input_set){0};
}

static int bind_inputs(struct ort *o, struct ort_binding *binding, const struct ort_input_set *s,
                       struct error *e)
{
    struct ort_api *a = &o->api;
    int code = 0;
    for (size_t i = 0; !code && i < o->input_count; i++)
        code = ort_check(a, a->bind_input(binding, o->inputs[i].name, s->values[i]), e,
                         "cannot bind input '%.60s'", o->inputs[i].name);
    if (!code && o->device)
        code = ort_check(a, a->sync_inputs(binding), e, "cannot copy inputs to the device");
    return code;
}

static int fill_set(struct ort *o, struct ort_input_set *s, const void *const *data,
                    struct error *e)
{
    struct ort_api *a = &o->api;
    s->values = calloc(o->input_count + 1, sizeof *s->values);
    s->data = calloc(o->input_count + 1, sizeof *s->data);
    int code = s->values && s->data ? 0 : error_memory(e);
    for (size_t i = 0; !code && i < o->input_count; i++) {
        s->data[i] = data[i];
        code = create_value(o, &o->inputs[i], o->input_types[i], data[i], &s->values[i], e);
    }
    if (!code)
        code = ort_check(a, a->create_binding(o->session, &s->binding), e,
                         "cannot make a binding");
    if (!code)
        code = bind_inputs(o, s->binding, s, e);
    return code ? code : bind_outputs(o, s->binding, output_memory(o), e);
}

static void release_sets(struct ort *o)
{
    for (size_t i = 0; i < o->set_count; i++)
        release_set(o, &o->sets[i]);
    o->set_count = 0;
    o->set = NULL;
}

static int grow_sets(struct ort *o, struct error *e)
{
    if (o->set_count == SETS_MAX)
        release_sets(o); /* of inputs given earlier */
    if (o->sets && o->set_count < o->set_capacity)
        return 0;
    size_t capacity = o->set_capacity ? 2 * o->set_capacity : 8;
    struct ort_input_set *sets = realloc(o->sets, capacity * sizeof *sets);
    if (!sets)
        return error_memory(e);
    o->sets = sets;
    o->set_capacity = capacity;
    return 0;
}

static int add_set(struct ort *o, const void *const *data, struct error *e)
{
    o->set = NULL;
    int code = grow_sets(o, e);
    if (code)
        return code;
    struct ort_input_set *s = &o->sets[o->set_count];
    *s = (struct ort_input_set){0};
    code = fill_set(o, s, data, e);
    if (code) {
        release_set(o, s);
        return code;
    }
    o->set_count++;
    o->set = s;
    return 0;
}

static int is_set(const struct ort *o, const struct ort_input_set *s, const void *const *data)
{
    for (size_t i = 0; i < o->input_count; i++)
        if (s->data[i] != data[i])
            return 0;
    return 1;
}

static struct ort_input_set *find_set(const struct ort *o, const void *const *data)
{
    size_t at = o->set ? (size_t)(o->set - o->sets) : 0;
    for (size_t n = 0; n < o->set_count; n++) {
        at = at + 1 < o->set_count ? at + 1 : 0;
        if (is_set(o, &o->sets[at], data))
            return &o->sets[at];
    }
    return NULL;
}

static void forget_fetched(struct ort *o)
{
    for (size_t i = 0; i < o->fetched_count; i++)
        o->api.release_value(o->fetched[i]);
    if (o->fetched)
        ort_check(&o->api, o->api.allocator_free(o->allocator, o->fetched), NULL, "free");
    if (o->fetch)
        o->api.release_binding(o->fetch);
    o->fetched = NULL;
    o->fetched_count = 0;
    o->fetch = NULL;
}

/* Outputs whose shape is not known keep the last run's memory, and the library would take it for
 * the next run's: let go of it, as the next may be of another shape. */
static int renew(struct ort *o, struct error *e)
{
    int code = 0;
    for (size_t i = 0; !code && i < o->output_count; i++)
        if (!o->prepared[i])
            code = bind_output(o, o->set->binding, i, output_memory(o), e);
    if (!code && o->device)
        code = bind_inputs(o, o->set->binding, o->set, e);
    return code;
}

int ort_bind(struct ort *o, const void *const *data, struct error *e)
{
    struct ort_input_set *s = find_set(o, data);
    if (!s)
        return add_set(o, data, e);
    o->set = s;
    return o->dynamic_count || o->device ? renew(o, e) : 0;
}

/* --- the run and its outputs ------------------------------------------------------------------ */

int ort_run(struct ort *o, struct error *e)
{
    struct ort_api *a = &o->api;
    if (o->fetched_count)
        forget_fetched(o);
    struct ort_status *status = a->run_binding(o->session, o->run_options, o->set->binding);
    if (!status && o->device)
        status = a->sync_outputs(o->set->binding);
    return status ? ort_check(a, status, e, "the run failed") : 0;
}

/* The same run again, with its outputs in the CPU's memory. */
static int run_to_cpu(struct ort *o, struct error *e)
{
    struct ort_api *a = &o->api;
    int code = ort_check(a, a->create_binding(o->session, &o->fetch), e, "cannot make a binding");
    if (!code)
        code = bind_inputs(o, o->fetch, o->set, e);
    if (!code)
        code = bind_outputs(o, o->fetch, o->cpu, e);
    if (!code)
        code = ort_check(a, a->run_binding(o->session, o->run_options, o->fetch), e,
                         "the run failed");
    return code;
}

static int fetch(struct ort *o, struct error *e)
{
    struct ort_api *a = &o->api;
    int code = stays_on_device(o) ? run_to_cpu(o, e) : 0;
    const struct ort_binding *from = stays_on_device(o) ? o->fetch : o->set->binding;
    if (!code)
        code = ort_check(a, a->bound_values(from, o->allocator, &o->fetched, &o->fetched_count), e,
                         "cannot take the outputs");
    if (!code && o->fetched_count != o->output_count)
        code = error_set(e, ERROR_UNSUPPORTED, "the run gave %zu outputs, not %zu",
                         o->fetched_count, o->output_count);
    return code;
}

const void *ort_output(struct ort *o, size_t index, struct adapter_tensor *tensor)
{
    void *data = NULL;
    struct error ignored;
    if (index >= o->output_count || !o->set)
        return NULL;
    *tensor = o->outputs[index];
    if (o->prepared[index])
        return o->memory[index];
    int code = o->fetched_count ? 0 : fetch(o, &ignored);
    if (!code)
        code = ort_value_describe(o, o->fetched[index], tensor, &ignored);
    if (!code)
        code = ort_check(&o->api, o->api.tensor_data(o->fetched[index], &data), &ignored,
                         "cannot read an output");
    if (code)
        return NULL;
    return data || tensor->bytes ? data : (const void *)tensor; /* nothing lies anywhere */
}

void ort_bindings_release(struct ort *o)
{
    forget_fetched(o);
    release_sets(o);
    free(o->sets);
    for (size_t i = 0; i < o->output_count; i++) {
        if (o->prepared[i])
            o->api.release_value(o->prepared[i]);
        free(o->memory[i]);
    }
    o->sets = NULL;
    o->set_capacity = 0;
}

/* --- what a copy costs ------------------------------------------------------------------------ */

static size_t largest_input(const struct ort *o)
{
    size_t bytes = 1;
    for (size_t i = 0; i < o->input_count; i++)
        if (o->inputs[i].bytes > bytes)
            bytes = o->inputs[i].bytes;
    return bytes;
}

/* Zeros, bound twice: the first time the library allocates on the device. */
int ort_measure_copy(struct ort *o, struct error *e)
{
    const void *data[ADAPTER_TENSOR_MAX] = {0};
    struct ort_input_set s = {0};
    if (!o->device)
        return 0;
    void *zeros = calloc(1, largest_input(o));
    if (!zeros)
        return error_memory(e);
    for (size_t i = 0; i < o->input_count; i++)
        data[i] = zeros;
    int code = fill_set(o, &s, data, e);
    uint64_t begin_ns = clock_monotonic_ns();
    if (!code)
        code = bind_inputs(o, s.binding, &s, e);
    o->copy_in_ns = clock_monotonic_ns() - begin_ns;
    release_set(o, &s);
    free(zeros);
    return code;
}
