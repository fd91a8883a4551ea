/* child.h: what the files of wattle's own worker process share. */
#ifndef WATTLE_WORKER_CHILD_H
#define WATTLE_WORKER_CHILD_H

#include "runtime/adapter.h"

#include <wattle/worker.h>

enum { CHILD_DEVICE_MAX = 16 };

struct window {
    uint64_t min_runs, min_ns, max_ns, gap_ns;
};

struct child {
    const struct adapter *adapter;   /* NULL before "load" */
    void *state;
    json_t *request;                 /* the "load" command: the adapter's strings live in it */
    struct adapter_dim dims[ADAPTER_DIM_MAX];
    struct adapter_shape shapes[ADAPTER_TENSOR_MAX];
    const char *devices[CHILD_DEVICE_MAX];
    struct adapter_loaded loaded;

    struct wattle_ring *ring;
    size_t ring_bytes;
    uint64_t ring_capacity;

    uint8_t *tensors;                /* the inputs, read-only; NULL before "inputs" */
    size_t tensor_bytes;
    uint64_t inputs_end;             /* of the tensor memory: outputs lie behind it */
    const void **data;               /* [sets][input_count] */
    uint64_t sets;                   /* 0 before "inputs" */

    struct window window;
    int window_ready;                /* "window" was answered, "go" may come */
    void (*hook)(int inside);        /* tests only: see child_window.c */
    int quit;
};

/* Each carries out one command and adds to the reply. */
int child_load(struct child *c, json_t *command, json_t *reply, struct error *e);
int child_inputs(struct child *c, json_t *command, json_t *reply, struct error *e);
int child_outputs(struct child *c, json_t *command, json_t *reply, struct error *e);
int child_first(struct child *c, json_t *command, json_t *reply, struct error *e);
int child_warmup(struct child *c, json_t *command, json_t *reply, struct error *e);
int child_window(struct child *c, json_t *command, json_t *reply, struct error *e);
int child_go(struct child *c, json_t *command, json_t *reply, struct error *e);

int child_map_ring(struct child *c, struct error *e);
void child_find_hook(struct child *c);
void child_release_data(struct child *c);

/* child_fault.c: from now on a write to these bytes is a refusal, then the end of the process; 0
 * bytes: none are inputs any more. */
void child_guard_inputs(const uint8_t *inputs, size_t bytes);

/* Sets a member of the reply, taking the value's reference (NULL is out of memory). */
int child_put(json_t *reply, const char *name, json_t *value, struct error *e);

#endif
