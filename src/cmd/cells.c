/* cells.c: what is measured of one model: its cells on every chosen target. */
#include "cmd/request.h"

#include "base/log.h"
#include "runtime/packages.h"
#include "runtime/prepare.h"

#include <stdlib.h>
#include <string.h>

/* One cell but for batch and threads. */
struct choice {
    const struct request_target *target; /* NULL: a worker's */
    const struct request_worker *worker; /* NULL: a target's */
    const char *provider;
    const char *variant;
    const char *form;
    const char *devices;
};

struct list {
    const struct request *request;
    const struct cell *model;
    struct cell **cells;
    size_t *count;
};

static void fill_runtime(const struct request *r, const struct request_target *t, struct cell *c)
{
    const struct found *f = t->found;
    snprintf(c->options, sizeof c->options, "%s", t->options);
    snprintf(c->runtime, sizeof c->runtime, "%s", f->adapter->name);
    snprintf(c->version, sizeof c->version, "%s", f->version);
    snprintf(c->library, sizeof c->library, "%s", f->library);
    snprintf(c->provider_library, sizeof c->provider_library, "%s", r->provider_library);
    c->require_provider = r->require_provider;
}

static void fill_cell(const struct request *r, const struct choice *choice, struct cell *c)
{
    if (choice->target)
        fill_runtime(r, choice->target, c);
    else {
        snprintf(c->runtime, sizeof c->runtime, "worker");
        snprintf(c->command, sizeof c->command, "%s", choice->worker->command);
        snprintf(c->options, sizeof c->options, "%s", choice->worker->options);
    }
    snprintf(c->variant, sizeof c->variant, "%s", choice->variant);
    snprintf(c->form, sizeof c->form, "%s", choice->form);
    snprintf(c->provider, sizeof c->provider, "%s", choice->provider);
    snprintf(c->devices, sizeof c->devices, "%s", choice->devices);
    snprintf(c->precision, sizeof c->precision, "%s", r->precision);
    snprintf(c->spin, sizeof c->spin, "%s", r->spin);
    snprintf(c->shapes, sizeof c->shapes, "%s", r->shapes);
    c->gap_ns = r->gap_ns;
    memcpy(c->dims, r->dims, sizeof c->dims);
    c->dim_count = r->dim_count;
}

static int same_cell(const struct cell *a, const struct cell *b)
{
    return a->batch == b->batch && a->threads == b->threads && !strcmp(a->path, b->path) &&
           (*a->path || !strcmp(a->model, b->model)) && !strcmp(a->runtime, b->runtime) &&
           !strcmp(a->variant, b->variant) && !strcmp(a->form, b->form) &&
           !strcmp(a->version, b->version) && !strcmp(a->library, b->library) &&
           !strcmp(a->command, b->command) && !strcmp(a->devices, b->devices) &&
           !strcmp(a->provider, b->provider);
}

/* A cell asked for twice is measured once. */
static int add_cell(const struct list *l, const struct choice *choice, int64_t batch, int threads,
                    struct error *e)
{
    struct cell *more = *l->count < PLAN_CELL_MAX
                            ? realloc(*l->cells, (*l->count + 1) * sizeof *more) : NULL;
    if (!more)
        return error_set(e, ERROR_MEMORY, "too many cells: %zu", *l->count + 1);
    *l->cells = more;
    struct cell *c = &more[*l->count];
    *c = *l->model;
    fill_cell(l->request, choice, c);
    c->batch = batch;
    c->threads = threads;
    for (size_t i = 0; i < *l->count; i++)
        if (same_cell(&more[i], c))
            return 0;
    ++*l->count;
    return 0;
}

static int add_sizes(const struct list *l, const struct choice *choice, struct error *e)
{
    const struct request *r = l->request;
    int result = 0;
    for (size_t b = 0; b < r->batch_count; b++)
        for (size_t t = 0; t < r->thread_count && !result; t++)
            result = add_cell(l, choice, r->batches[b], r->threads[t], e);
    return result;
}

static int takes_devices(const struct choice *choice)
{
    static const char *const none[] = {"cpu", "reference", "openvino", "dnnl", "xnnpack", NULL};
    return choice->worker || (choice->target->found->adapter->takes_devices &&
                              !request_has_name(none, choice->provider));
}

/* How much of "cuda" or "cuda:3", which are PyTorch's words, is the name of a provider; 0: none. */
static size_t names_provider(const struct adapter *a, const char *text)
{
    size_t size = strcspn(text, ":");
    for (const char *const *p = a->providers; *p; p++)
        if (strlen(*p) == size && !strncmp(*p, text, size))
            return size;
    return 0;
}

static int refuse_device(const struct choice *choice, const char *device, struct error *e)
{
    const struct adapter *a = choice->target->found->adapter;
    size_t size = names_provider(a, device);
    error_set(e, ERROR_USAGE, "%s:%s takes no device '%s'", a->name, choice->provider, device);
    if (!size)
        return error_hint(e, "-d is for accelerators: name one with --provider");
    return error_hint(e, "--provider %.*s%s%s", (int)size, device, device[size] ? " -d " : "",
                      device[size] ? device + size + 1 : "");
}

static int add_choice(const struct list *l, struct choice *choice, struct error *e)
{
    const struct request *r = l->request;
    int result = 0;
    choice->devices = "";
    if (!r->device_count)
        return add_sizes(l, choice, e);
    for (size_t i = 0; i < r->device_count && !result; i++) {
        const char *device = choice->devices = r->devices[i];
        int is_known = takes_devices(choice) &&
                       (choice->worker || !names_provider(choice->target->found->adapter, device));
        result = is_known ? add_sizes(l, choice, e) : refuse_device(choice, device, e);
    }
    return result;
}

/* --- which runtime reads what ----------------------------------------------------------------- */

/* Compiled code and TorchScript are ends: nothing else is made of them. */
static int is_final(const char *format)
{
    return !strcmp(format, "aoti") || !strcmp(format, "torchscript");
}

static int reads(const struct adapter *a, const char *variant, const char *format)
{
    return package_reads(a->name, format) &&
           (!prepare_needed(a->name, variant, format) || !is_final(format));
}

/* The way in which the target runs the model: the one that was named, or the first that can. */
static const char *way(const struct request_target *t, const char *format)
{
    const struct adapter *a = t->found->adapter;
    if (reads(a, t->variant, format))
        return t->variant;
    for (const char *const *v = a->variants; v && *v && !t->variant_named; v++)
        if (reads(a, *v, format))
            return *v;
    return NULL;
}

static int add_target(const struct list *l, const struct request_target *t, const char *variant,
                      struct error *e)
{
    const struct request *r = l->request;
    const struct cell *model = l->model;
    struct choice choice = {
        .target = t, .provider = t->provider, .variant = variant, .form = ""};
    int built_in = !strcmp(model->form, "native"); /* says request_model */
    if (strcmp(model->format, "onnx") || !prepare_needed(t->found->adapter->name, variant, "onnx"))
        return add_choice(l, &choice, e);
    if (r->form_native && !r->form_converted && !built_in) {
        error_set(e, ERROR_USAGE, "model '%s' has no native form in %s: it is not built in",
                  model->model, t->found->adapter->name);
        return error_hint(e, "--form converted; wattle models lists what is built in");
    }
    int result = 0;
    if (built_in && (r->form_native || !r->form_converted)) {
        choice.form = "native";
        result = add_choice(l, &choice, e);
    }
    if (!result && (!built_in || r->form_converted)) {
        choice.form = "converted";
        result = add_choice(l, &choice, e);
    }
    return result;
}

static int is_installed(const struct request *r, const char *format)
{
    for (size_t i = 0; i < r->found.count; i++)
        if (r->found.items[i].usable && package_reads(r->found.items[i].adapter->name, format))
            return 1;
    return 0;
}

static int unreadable(const struct request *r, const struct cell *model, struct error *e)
{
    static const struct {
        const char *format, *package, *readers;
    } table[] = {
        {"aoti", "pytorch", "-r pytorch:aoti"},
        {"exported", "pytorch", "every variant of pytorch"},
        {"python", "pytorch", "every variant of pytorch"},
        {"torchscript", "pytorch", "-r pytorch:torchscript, pytorch:torchscript-frozen and "
                                   "pytorch:torchscript-optimized"},
    };
    error_set(e, ERROR_UNSUPPORTED, "no chosen runtime reads '%s', a model of format %s",
              model->model, model->format);
    const char *package = "openvino", *readers = "openvino, ONNX files by all runtimes";
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i].format, model->format)) {
            package = table[i].package;
            readers = table[i].readers;
        }
    if (!strcmp(model->format, "onnx"))
        return error_hint(e, "wattle runtimes lists what is here");
    if (!is_installed(r, model->format))
        return error_hint(e, "it is read by %s: wattle runtimes install %s", package, package);
    return error_hint(e, "it is read by %s", readers);
}

/* A worker on each provider that was asked for, or on what it takes by itself. */
static int add_worker(const struct list *l, const struct request_worker *w, struct error *e)
{
    const struct request *r = l->request;
    int asked = r->providers && !r->names; /* else they are those of -r */
    int result = 0;
    for (size_t i = 0; i < (asked ? r->provider_count : 1) && !result; i++) {
        struct choice choice = {.worker = w, .provider = asked ? r->providers[i] : "",
                                .variant = w->name, .form = ""};
        result = add_choice(l, &choice, e);
    }
    return result;
}

/* What was asked for by name is not left out in silence. */
static void tell_left_out(const struct request *r, const struct request_target *t,
                          const struct cell *model)
{
    const char *variant = t->variant_named && t->variant ? t->variant
                                                         : found_variant(t->found);
    if (r->names)
        log_warning("%s%s%s is left out for %s: it reads no model of format %s",
                    t->found->adapter->name, *variant ? ":" : "", variant, model->model,
                    model->format);
}

int request_cells(const struct request *r, const struct cell *model, struct cell **cells,
                  size_t *count, struct error *e)
{
    const struct list l = {r, model, cells, count};
    int result = 0, readable = 0;
    for (size_t i = 0; i < r->target_count && !result; i++) {
        const struct request_target *t = &r->targets[i];
        const char *variant = way(t, model->format);
        if (!variant)
            tell_left_out(r, t, model);
        if (!variant || !request_has_name(t->found->adapter->precisions, r->precision))
            continue;
        readable = 1;
        result = add_target(&l, t, variant, e);
    }
    if (!result && r->target_count && !readable)
        result = unreadable(r, model, e);
    for (size_t i = 0; i < r->worker_count && !result; i++)
        result = add_worker(&l, &r->workers[i], e);
    return result;
}
