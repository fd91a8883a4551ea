/* pt_run.c: one inference. An input tensor over the caller's memory is made for each run, because a
 * run takes it over; outputs are PyTorch's own, freed when the next run begins, as in a program
 * that keeps the last result. What makes an output readable (a copy off the device, or into rows)
 * happens when it is asked for.
 *
 * On a device an input is copied when it is bound, outside the latency but inside the energy.
 */
#include "runtime/pt.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

enum { NO_OFFSET = 0, BLOCKING = 0 };

static const char *last_words(const struct pt *p)
{
    const char *text = NULL;
    if (p->aoti.last_error && !p->aoti.last_error(&text))
        return text;
    return p->script.last_error ? p->script.last_error() : NULL;
}

/* PyTorch has one pointer for what is read and what is written; an input is only read. */
static int wrap(const struct pt *p, size_t i, const void *data, int on_device, void **out)
{
    const struct adapter_tensor *t = &p->inputs[i];
    return p->api.from_blob((void *)(uintptr_t)data, t->rank, t->dims, p->in[i].strides, NO_OFFSET,
                            p->in[i].type, on_device ? p->api.device_cuda() : p->api.device_cpu(),
                            on_device ? p->device : 0, out);
}

static void free_tensors(const struct pt *p, void **tensors, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (tensors[i])
            p->api.free_tensor(tensors[i]);
        tensors[i] = NULL;
    }
}

static void forget_results(struct pt *p)
{
    free_tensors(p, p->fetched, p->output_count);
    free_tensors(p, p->results, p->output_count);
}

static int failed_run(struct pt *p, struct error *e)
{
    /* Whether a run that failed took its inputs over is not told; a leak is better than a crash. */
    memset(p->handles, 0, sizeof p->handles);
    return pt_api_error(&p->api, last_words(p), e, "the run failed");
}

int pt_run(struct pt *p, struct error *e)
{
    forget_results(p);
    for (size_t i = 0; i < p->input_count; i++)
        if (wrap(p, i, p->is_cuda ? p->in[i].device_data : p->data[i], p->is_cuda,
                 &p->handles[i])) {
            free_tensors(p, p->handles, i);
            return pt_api_error(&p->api, NULL, e, "PyTorch takes no memory for input '%.100s'",
                                p->inputs[i].name);
        }
    if (p->infer(p->model, p->handles, p->input_count, p->results, p->output_count, NULL, NULL))
        return failed_run(p, e);
    if (p->is_cuda && p->api.synchronize(NULL, p->device))
        return pt_api_error(&p->api, NULL, e, "the device failed");
    return 0;
}

/* --- to the device and back ------------------------------------------------------------------- */

static int copy_in(struct pt *p, size_t i, struct error *e)
{
    void *host = NULL;
    int failed = wrap(p, i, p->data[i], 0, &host) || p->api.copy(p->in[i].device, host, BLOCKING);
    if (host)
        p->api.free_tensor(host);
    return failed ? pt_api_error(&p->api, NULL, e, "cannot copy input '%.100s' to the device",
                                 p->inputs[i].name)
                  : 0;
}

int pt_run_bind(struct pt *p, const void *const *data, struct error *e)
{
    memcpy(p->data, data, p->input_count * sizeof *data);
    int code = 0;
    for (size_t i = 0; !code && p->is_cuda && i < p->input_count; i++)
        code = copy_in(p, i, e);
    return code;
}

/* In the CPU's memory, row by row. */
static int fetch(struct pt *p, size_t index, const struct adapter_tensor *t)
{
    const struct pt_api *a = &p->api;
    int64_t strides[ADAPTER_RANK_MAX];
    pt_tensor_strides(t, strides);
    if (p->fetched[index])
        return 0;
    return a->empty(t->rank, t->dims, strides, pt_type_number(t->type), a->device_cpu(), 0,
                    &p->fetched[index]) ||
           a->copy(p->fetched[index], p->results[index], BLOCKING);
}

const void *pt_run_output(struct pt *p, size_t index, struct adapter_tensor *tensor)
{
    bool in_rows = false;
    void *data = NULL;
    if (index >= p->output_count || !p->results[index])
        return NULL;
    *tensor = p->outputs[index];
    if (pt_tensor_read(p, p->results[index], tensor, NULL) ||
        p->api.is_contiguous(p->results[index], &in_rows))
        return NULL;
    int lies_here = in_rows && !p->is_cuda;
    if (!lies_here && fetch(p, index, tensor))
        return NULL;
    if (p->api.data_ptr(lies_here ? p->results[index] : p->fetched[index], &data))
        return NULL;
    return data || tensor->bytes ? data : (const void *)tensor; /* nothing lies anywhere */
}

/* --- before and after ------------------------------------------------------------------------- */

static int make_device_tensors(struct pt *p, struct error *e)
{
    const struct pt_api *a = &p->api;
    for (size_t i = 0; i < p->input_count; i++) {
        const struct adapter_tensor *t = &p->inputs[i];
        struct pt_port *port = &p->in[i];
        if (a->empty(t->rank, t->dims, port->strides, port->type, a->device_cuda(), p->device,
                     &port->device) ||
            a->data_ptr(port->device, &port->device_data))
            return pt_api_error(a, NULL, e, "no memory on device %d for input '%.100s'", p->device,
                                t->name);
    }
    return 0;
}

static size_t largest_input(const struct pt *p)
{
    size_t bytes = 1;
    for (size_t i = 0; i < p->input_count; i++)
        bytes = p->inputs[i].bytes > bytes ? p->inputs[i].bytes : bytes;
    return bytes;
}

/* Zeros, copied twice: the first time PyTorch makes what it needs. */
static int time_copy(struct pt *p, const void *const *zeros, struct error *e)
{
    int code = pt_run_bind(p, zeros, e);
    uint64_t begin_ns = clock_monotonic_ns();
    if (!code)
        code = pt_run_bind(p, zeros, e);
    p->copy_in_ns = clock_monotonic_ns() - begin_ns;
    return code;
}

/* A model without a description is run once, on zeros, to see what comes out. */
static int try_out(struct pt *p, const void *const *zeros, struct error *e)
{
    int code = pt_run_bind(p, zeros, e);
    if (!code)
        code = pt_run(p, e);
    for (size_t i = 0; !code && i < p->output_count; i++)
        code = pt_tensor_read(p, p->results[i], &p->outputs[i], e);
    p->tried = !code;
    return code;
}

int pt_run_prepare(struct pt *p, struct error *e)
{
    const void *data[ADAPTER_TENSOR_MAX];
    int code = p->is_cuda ? make_device_tensors(p, e) : 0;
    if (code || (p->description && !p->is_cuda))
        return code;
    void *zeros = calloc(1, largest_input(p));
    if (!zeros)
        return error_memory(e);
    for (size_t i = 0; i < p->input_count; i++)
        data[i] = zeros;
    if (p->is_cuda)
        code = time_copy(p, data, e);
    if (!code && !p->description)
        code = try_out(p, data, e);
    forget_results(p);
    free(zeros);
    return code;
}

void pt_run_release(struct pt *p)
{
    if (!p->api.free_tensor)
        return;
    forget_results(p);
    for (size_t i = 0; i < p->input_count; i++)
        free_tensors(p, &p->in[i].device, 1);
}
