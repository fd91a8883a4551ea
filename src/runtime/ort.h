/* ort.h: what the files of the ONNX Runtime adapter share: onnxruntime.c (the adapter itself),
 * ort_options.c, ort_provider.c, ort_tensor.c, ort_binding.c and ort_settings.c. */
#ifndef WATTLE_RUNTIME_ORT_H
#define WATTLE_RUNTIME_ORT_H

#include "base/arena.h"
#include "runtime/adapter.h"
#include "runtime/ort_api.h"

enum { ORT_PAIRS_MAX = 64 };

struct ort_pairs {
    const char *keys[ORT_PAIRS_MAX], *values[ORT_PAIRS_MAX];
    size_t count;
};

/* A request's options, understood (ort_options.c). */
struct ort_options {
    int inter_op_threads;
    int is_parallel, no_arena, no_pattern, is_deterministic, dynamic_outputs,
        host_outputs;
    const char *optimization;
    int device_index;          /* of the plug-in's devices of that kind, from 0 */
    int plugin_device;         /* 0 CPU, 1 GPU, 2 NPU as the library numbers them; -1 any */
    struct ort_pairs entries;  /* the session's configuration, by the library's own keys */
    struct ort_pairs provider; /* for the execution provider */
};

struct ort;

/* How one execution provider is asked for (ort_provider.c). */
struct ort_provider {
    const char *name;        /* ours, also what the library's name is without "ExecutionProvider" */
    const char *known;       /* " key key ": the options it takes; NULL: it says so itself */
    const char *const *reduced; /* options that lower the precision below f32, NULL-terminated */
    const char *device;      /* the memory its tensors live in, NULL for the CPU's */
    int own_threads;         /* it has threads of its own: the session's pool is the caller alone */
    int (*append)(struct ort *o, const struct adapter_request *r, struct error *e);
};

struct ort_input_set;

/* One loaded model. */
struct ort {
    struct ort_api api;
    const struct ort_provider *provider;
    struct ort_options options;
    struct arena texts; /* names of tensors, and option texts we make */

    struct ort_env *env;
    struct ort_session_options *session_options;
    struct ort_session *session;
    struct ort_run_options *run_options;
    struct ort_memory_info *cpu, *device; /* device: NULL when tensors live in the CPU's memory */
    struct ort_allocator *allocator;      /* the library's own */
    int is_registered;                    /* the plug-in's library */
    int is_unpinned;                      /* a provider with threads of its own was told so */
    int threads;                          /* of the session's pool, with the caller */
    int started_threads;                  /* seen in /proc after minus before the session; or -1 */

    struct adapter_tensor inputs[ADAPTER_TENSOR_MAX], outputs[ADAPTER_TENSOR_MAX];
    int input_types[ADAPTER_TENSOR_MAX], output_types[ADAPTER_TENSOR_MAX];
    size_t input_count, output_count;

    struct ort_value *prepared[ADAPTER_TENSOR_MAX]; /* outputs over memory of ours; NULL: dynamic */
    void *memory[ADAPTER_TENSOR_MAX];               /* of the prepared ones */
    size_t dynamic_count;

    struct ort_input_set *sets, *set; /* ort_binding.c: all, and the one bound last */
    size_t set_count, set_capacity;
    struct ort_value **fetched;       /* the last run's dynamic outputs, once asked for */
    size_t fetched_count;
    struct ort_binding *fetch;        /* the run that brings outputs from a device */

    uint64_t copy_in_ns;              /* one transfer of all inputs to the device; 0 without one */
    json_t *nodes;                    /* provider -> count; NULL when the library cannot say */
    char runs_on[64];                 /* "openvino+cpu" */
    json_t *settings;
};

/* ort_options.c. Texts live in the request or in o->texts. */
int ort_options_read(struct ort *o, const struct adapter_request *r, struct error *e);
int ort_options_apply(struct ort *o, const struct adapter_request *r, struct error *e);
int ort_spin_check(const char *spin, int64_t *us, struct error *e); /* -1 default, 0 off */
int ort_pairs_add(struct ort_pairs *p, const char *key, const char *value, struct error *e);
const char *ort_pairs_find(const struct ort_pairs *p, const char *key); /* NULL when not there */

/* ort_provider.c */
extern const char *const ort_provider_names[]; /* NULL-terminated, for the adapter */
/* With a provider library it is "plugin", under whatever name. */
const struct ort_provider *ort_provider_find(const struct adapter_request *r);
/* "f32" means f32: refuses options that would compute with less, and those that need a device where
 * there is none. */
int ort_provider_check(const struct ort *o, struct error *e);
/* Asks for the providers in front of the CPU's own. A failure is an error with the real reason. */
int ort_provider_append(struct ort *o, const struct adapter_request *r, struct error *e);
/* Counts nodes by provider once the session is made; with require_provider, others are an error. */
int ort_provider_place(struct ort *o, const struct adapter_request *r, struct error *e);

/* Forgets a plug-in's library; once the session is gone. */
void ort_provider_release(struct ort *o);

/* ort_tensor.c */
const char *ort_type_name(int type);   /* "float32"; NULL for what we do not pass */
size_t ort_type_size(int type);
/* Names, types and shapes of the model's inputs and outputs; free dimensions by the request. */
int ort_tensors_read(struct ort *o, const struct adapter_request *r, struct error *e);
/* Type and shape of a value the library made; refuses what we do not pass. */
int ort_value_describe(struct ort *o, const struct ort_value *value, struct adapter_tensor *t,
                       struct error *e);

/* ort_binding.c */
int ort_outputs_prepare(struct ort *o, struct error *e);
int ort_measure_copy(struct ort *o, struct error *e);
int ort_bind(struct ort *o, const void *const *data, struct error *e);
int ort_run(struct ort *o, struct error *e);
const void *ort_output(struct ort *o, size_t index, struct adapter_tensor *tensor);
void ort_bindings_release(struct ort *o);

/* ort_settings.c: the effective settings, read back where the library can tell. */
int ort_settings_make(struct ort *o, const struct adapter_request *r, struct error *e);

/* ort_environment.c */
int ort_environment(const struct adapter_request *r, struct adapter_environment *out,
                    struct error *e);
int ort_telemetry_off(struct error *e); /* for a process whose environment was not made by us */

#endif
