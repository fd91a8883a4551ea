/* adapter.h: the one small interface a runtime implements: one file and one line in registry.c.
 * Adapters see this header and base/, nothing else of wattle (builtin.c also <wattle/engine.h>).
 * They run inside a worker process of their own, except probe and environment, which also run in
 * the parent and must not load the runtime's library there.
 */
#ifndef WATTLE_RUNTIME_ADAPTER_H
#define WATTLE_RUNTIME_ADAPTER_H

#include "base/error.h"

#include <jansson.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>

enum { ADAPTER_TENSOR_MAX = 256, ADAPTER_DIM_MAX = 64, ADAPTER_RANK_MAX = 8,
       ADAPTER_REASON_MAX = 192, ADAPTER_ARGUMENT_MAX = 6 };

struct adapter_dim {
    const char *symbol;
    int64_t value;
};

/* The sizes an input is to have, from whoever could read the model file: a runtime that forgets the
 * names of symbolic dimensions (OpenVINO) cannot use adapter_dim. */
struct adapter_shape {
    const char *name;
    const char *type;       /* "int64"; "" when nobody could tell */
    int rank;
    int64_t dims[ADAPTER_RANK_MAX];
};

/* What the parent asks for. Strings live as long as the adapter. */
struct adapter_request {
    const char *model;      /* path: the user's file, or what was prepared of it (prepare.h) */
    const char *variant;    /* one of the adapter's variants; "" where it has none */
    const char *library;    /* of the installation the parent chose (found.h); "" when built in */
    const char *version;    /* of it, in the parent; "" when not known */
    const char *provider;   /* one of the adapter's providers */
    const char *provider_library; /* plug-in execution provider to register; "" for none */
    const char *const *devices; /* ids of the provider's devices, "0"; none: its first one */
    size_t device_count;        /* several work together as one */
    int require_provider;   /* 1: nodes that fall back to another provider are an error */
    const char *precision;  /* "f32" */
    const char *spin;       /* "short" (at most 0.25 ms), "off", "default" or microseconds */
    int threads;
    int64_t batch;
    const struct adapter_dim *dims;
    size_t dim_count;
    const struct adapter_shape *shapes; /* of the inputs it knows, whole; may be none */
    size_t shape_count;
    json_t *options;        /* object: provider options, KEY=VALUE; unknown keys are refused */
};

struct adapter_tensor {
    const char *name;
    const char *type;       /* "float32", "int64", ... */
    int rank;
    int64_t dims[ADAPTER_RANK_MAX]; /* concrete; an output's may be 0 until it was run once */
    size_t bytes;
    const double *range;    /* lowest and highest value an input takes; NULL: not known */
};

/* What was loaded. Strings and settings are the adapter's until unload. */
struct adapter_loaded {
    const char *version;    /* of the runtime */
    const char *library;    /* path or name of its library */
    const char *provider;   /* what really runs it */
    json_t *settings;       /* object of EFFECTIVE settings, owned by the adapter */
    struct adapter_tensor inputs[ADAPTER_TENSOR_MAX], outputs[ADAPTER_TENSOR_MAX];
    size_t input_count, output_count;
};

struct adapter_probe {
    char version[64];
    char library[256];
    char reason[256];       /* when not usable */
    int usable;
};

/* Collects NAME=VALUE for the worker's environment; recorded with the block. */
struct adapter_environment {
    json_t *variables;      /* object: NAME -> VALUE */
};

/* A program that is the worker in wattle's place, found in $PATH unless it has a slash. */
struct adapter_command {
    char arguments[ADAPTER_ARGUMENT_MAX][PATH_MAX];
    size_t count;           /* 0: wattle's own worker */
};

/* Whether a variant of an installation works: by what lies on the disk, nothing being started. */
enum adapter_ready { ADAPTER_READY, ADAPTER_PARTLY, ADAPTER_UNABLE };

struct adapter {
    const char *name;                 /* "builtin" */
    const char *title;                /* one line for `wattle doctor` */
    const char *const *providers;     /* NULL-terminated; the first is the default */
    const char *const *precisions;    /* NULL-terminated; the first is the default */
    const char *const *variants;      /* ways to run a model, NULL-terminated, the first is the
                                         default; NULL when there is only one */
    /* What it can run, with a reason where that is not everything; NULL: all of them. */
    enum adapter_ready (*ready)(const char *library, const char *variant, char *reason,
                                size_t size);
    int takes_devices;                /* a request may name devices */
    int hidden;                       /* not part of "every runtime" (fake) */
    void (*probe)(struct adapter_probe *out);
    /* Refuses in the parent, without the library and the model, what it would refuse later: options
     * and spinning. NULL, or 0 where only the library can tell: then the row fails. */
    int (*check)(const struct adapter_request *r, struct error *e);
    /* The variables that must be set before the runtime is loaded: threads and spinning. */
    int (*environment)(const struct adapter_request *r, struct adapter_environment *out,
                       struct error *e);
    /* The program that speaks the worker protocol for this variant; NULL or a count of 0: wattle's
     * own worker, with the functions below. In the parent, before the worker is started. */
    int (*command)(const struct adapter_request *r, struct adapter_command *out, struct error *e);
    int (*load)(const struct adapter_request *r, void **state, struct adapter_loaded *out,
                struct error *e);
    /* data[i] is input i, valid and unchanged until the next bind. Called between runs, also inside
     * the window: cheap, no allocation. */
    int (*bind)(void *state, const void *const *data, struct error *e);
    /* One inference; returns when outputs are ready and the device is synchronised. */
    int (*run)(void *state, struct error *e);
    /* The last run's output, valid until the next run; fills *tensor's dims and bytes anew. */
    const void *(*output)(void *state, size_t index, struct adapter_tensor *tensor);
    void (*unload)(void *state);      /* NULL is fine */
    /* The memory this process holds on accelerators now; asked after the window. Returns -1 with a
     * reason when it is not known, an empty one when the model uses none. NULL: uses none, or has
     * no way to tell. */
    int (*device_memory)(void *state, uint64_t *bytes, char reason[ADAPTER_REASON_MAX]);
    /* The devices that the installation's library finds, on one line for people. Loads it: runs in
     * a process of its own that ends then (found_devices). NULL: not asked. */
    int (*devices)(const char *library, char *text, size_t size, struct error *e);
    /* The clock that times this runtime, in ns; NULL is CLOCK_MONOTONIC. Only the fake runtime has
     * its own, so that tests know every latency to the nanosecond. */
    uint64_t (*now_ns)(void *state);
};

/* registry.c; hidden ones last */
const struct adapter *const *adapter_all(size_t *count);
const struct adapter *adapter_find(const char *name); /* NULL when unknown */

#endif
