/* The public interface: loading a model and running it. */
#include <wattle/engine.h>

#include "engine/engine.h"
#include "engine/pass.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS_MAX = 1024 };
#define TUNING_NS (120 * 1000 * 1000ull)

/* ---- errors ---- */

static void append(char *text, const char *more)
{
    size_t used = strlen(text);
    while (*more && used < WATTLE_ERROR_MAX - 1)
        text[used++] = *more++;
    text[used] = '\0';
}

int engine_report(const struct error *e, int code, char *text)
{
    if (!text || !code)
        return code;
    text[0] = '\0';
    append(text, e->text);
    if (e->hint[0]) {
        append(text, "; ");
        append(text, e->hint);
    }
    return code;
}

/* ---- options ---- */

static uint64_t half_of_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page / 2 : UINT64_MAX / 4;
}

/* A program built against an older header has a shorter struct, one built against a newer header a
 * longer one, which is fine as long as it leaves what we don't know at zero. */
static int copy_options(const struct wattle_engine_options *from,
                        struct wattle_engine_options *to, struct error *e)
{
    *to = (struct wattle_engine_options){.size = sizeof *to};
    if (from) {
        size_t size = from->size ? from->size : sizeof *from;
        for (size_t i = sizeof *to; i < size; i++)
            if (((const char *)from)[i])
                return error_set(e, ERROR_USAGE, "options of %zu bytes are newer than this library",
                                 size);
        memcpy(to, from, size < sizeof *to ? size : sizeof *to);
    }
    if (!to->threads)
        to->threads = 1;
    if (!to->provider)
        to->provider = "cpu";
    if (!to->memory_limit_bytes)
        to->memory_limit_bytes = half_of_memory();
    return 0;
}

static int check_options(const struct wattle_engine_options *o, int *reference, struct error *e)
{
    if (o->threads < 1 || o->threads > THREADS_MAX)
        return error_set(e, ERROR_USAGE, "threads is %d; it must be 1 to %d", o->threads,
                         THREADS_MAX);
    *reference = strcmp(o->provider, "reference") == 0;
    if (!*reference && strcmp(o->provider, "cpu") != 0) {
        error_set(e, ERROR_USAGE, "no provider '%s' in this engine", o->provider);
        return error_hint(e, "it has cpu and reference");
    }
    if (o->dim_count && !o->dims)
        return error_set(e, ERROR_USAGE, "dim_count is %zu but dims is NULL", o->dim_count);
    for (size_t i = 0; i < o->dim_count; i++)
        if (!o->dims[i].symbol)
            return error_set(e, ERROR_USAGE, "dims[%zu] has no symbol", i);
    return 0;
}

/* ---- loading ---- */

static int build_graph(struct wattle_engine *g, const struct wattle_engine_options *o,
                       struct error *e)
{
    struct graph_dim *dims = calloc(o->dim_count + 1, sizeof *dims);
    if (!dims)
        return error_memory(e);
    for (size_t i = 0; i < o->dim_count; i++)
        dims[i] = (struct graph_dim){o->dims[i].symbol, o->dims[i].value};
    int code = graph_build(&g->graph, g->model, dims, o->dim_count, o->memory_limit_bytes, e);
    free(dims);
    if (code)
        return code;
    g->has_graph = 1;
    return g->reference ? 0 : pass_run(&g->graph, e);
}

static void describe_port(const struct value *v, struct engine_port *port)
{
    port->info = (struct wattle_tensor_info){.name = v->name, .type = (int)v->type,
                                             .rank = v->shape.rank,
                                             .bytes = (size_t)shape_bytes(&v->shape, v->type)};
    memcpy(port->info.dims, v->shape.dims, sizeof port->info.dims);
}

static int make_ports(struct wattle_engine *g, struct builder *b, struct error *e)
{
    const struct graph *graph = &g->graph;
    g->inputs = calloc((size_t)graph->input_count + 1, sizeof *g->inputs);
    g->outputs = calloc((size_t)graph->output_count + 1, sizeof *g->outputs);
    if (!g->inputs || !g->outputs)
        return error_memory(e);
    for (int i = 0; i < graph->input_count; i++) {
        describe_port(&graph->values[graph->inputs[i]], &g->inputs[i]);
        g->inputs[i].slot = builder_input(b, graph->inputs[i]);
    }
    int code = 0;
    for (int i = 0; !code && i < graph->output_count; i++) {
        describe_port(&graph->values[graph->outputs[i]], &g->outputs[i]);
        code = builder_output(b, graph->outputs[i], &g->outputs[i].slot, e);
    }
    return code;
}

static int build_program(struct wattle_engine *g, const struct wattle_engine_options *o,
                         struct error *e)
{
    int tuning = !(o->flags & WATTLE_ENGINE_NO_TUNING) && !g->reference;
    struct builder b = {.graph = &g->graph, .program = &g->program, .onednn = g->onednn,
                        .limit = o->memory_limit_bytes,
                        .tuner.budget_ns = tuning ? TUNING_NS : 0};
    program_init(&g->program, o->memory_limit_bytes);
    int code = builder_run(&b, g->reference, e);
    if (!code)
        code = make_ports(g, &b, e);
    if (!code)
        code = program_plan(&g->program, o->memory_limit_bytes, e);
    builder_release(&b);
    return code;
}

static int load(struct wattle_engine *g, const char *path, const struct wattle_engine_options *o,
                struct error *e)
{
    int code = onnx_open(path, &g->model, e);
    if (!code)
        code = build_graph(g, o, e);
    if (!code)
        code = onednn_open(&g->onednn, e);
    if (code)
        return code;
    if (g->reference)
        snprintf(g->kernels, sizeof g->kernels, "plain C");
    else
        onednn_describe(g->kernels);
    struct engine_thread_state before = engine_enter(g);
    code = build_program(g, o, e);
    engine_leave(before);
    return code ? error_context(e, "%s", path) : 0;
}

int wattle_engine_load(const char *path, const struct wattle_engine_options *options,
                       struct wattle_engine **out, char *error)
{
    struct error e = {0};
    struct wattle_engine_options o;
    int reference = 0;
    *out = NULL;
    int code = copy_options(options, &o, &e);
    if (!code)
        code = check_options(&o, &reference, &e);
    if (code)
        return engine_report(&e, code, error);
    struct wattle_engine *g = calloc(1, sizeof *g);
    if (!g)
        return engine_report(&e, error_memory(&e), error);
    g->threads = o.threads;
    g->reference = reference;
    code = load(g, path, &o, &e);
    if (code) {
        wattle_engine_free(g);
        return engine_report(&e, code, error);
    }
    *out = g;
    return 0;
}

void wattle_engine_free(struct wattle_engine *g)
{
    if (!g)
        return;
    program_release(&g->program);
    onednn_close(g->onednn);
    if (g->has_graph)
        graph_release(&g->graph);
    onnx_close(g->model);
    free(g->inputs);
    free(g->outputs);
    free(g);
}

/* ---- inputs and outputs ---- */

size_t wattle_engine_input_count(const struct wattle_engine *g)
{
    return (size_t)g->graph.input_count;
}

size_t wattle_engine_output_count(const struct wattle_engine *g)
{
    return (size_t)g->graph.output_count;
}

const struct wattle_tensor_info *wattle_engine_input(const struct wattle_engine *g, size_t index)
{
    return index < wattle_engine_input_count(g) ? &g->inputs[index].info : NULL;
}

const struct wattle_tensor_info *wattle_engine_output(const struct wattle_engine *g, size_t index)
{
    return index < wattle_engine_output_count(g) ? &g->outputs[index].info : NULL;
}

/* The engine's own buffer, whatever is bound. */
void *wattle_engine_input_data(struct wattle_engine *g, size_t index)
{
    if (index >= wattle_engine_input_count(g))
        return NULL;
    return g->program.memory.data + g->program.slots[g->inputs[index].slot].offset;
}

const void *wattle_engine_output_data(const struct wattle_engine *g, size_t index)
{
    if (index >= wattle_engine_output_count(g))
        return NULL;
    return program_address(&g->program, g->outputs[index].slot);
}

int wattle_engine_bind_input(struct wattle_engine *g, size_t index, const void *data, char *error)
{
    struct error e = {0};
    if (index >= wattle_engine_input_count(g))
        return engine_report(&e, error_set(&e, ERROR_USAGE, "no input %zu; the model has %zu",
                                           index, wattle_engine_input_count(g)), error);
    program_move(&g->program, g->inputs[index].slot, (void *)(uintptr_t)data);
    return 0;
}

/* ---- running ---- */

int wattle_engine_run(struct wattle_engine *g, char *error)
{
    struct error e;
    struct engine_thread_state before = engine_enter(g);
    int code = program_run(&g->program, &e);
    engine_leave(before);
    return code ? engine_report(&e, code, error) : 0;
}
