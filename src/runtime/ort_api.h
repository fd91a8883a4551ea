/* ort_api.h: ONNX Runtime's C functions without its headers. The library hands out one table of
 * function pointers, to which each release only adds at the end; so a slot's number and the release
 * that added it are all one needs to know. What an older library lacks is NULL here.
 */
#ifndef WATTLE_RUNTIME_ORT_API_H
#define WATTLE_RUNTIME_ORT_API_H

#include "base/error.h"

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

/* The library's objects; each type is only ever pointed to. */
struct ort_status;
struct ort_env;
struct ort_session_options;
struct ort_session;
struct ort_run_options;
struct ort_binding;
struct ort_value;
struct ort_memory_info;
struct ort_allocator;
struct ort_type_info;
struct ort_tensor_info;
struct ort_provider_options;
struct ort_subgraph;
struct ort_node;
struct ort_ep_device;
struct ort_device;

/* ORT_MINIMUM is the oldest release whose table has all that is needed to load and run a model on
 * the CPU; what came later is asked for by has_... or compared with NULL. */
enum { ORT_MINIMUM = 14, ORT_SPIN_DURATION = 26 };

typedef void ort_log_function(void *context, int severity, const char *category, const char *id,
                              const char *location, const char *message);

/* F(slot, since, result, name, parameters). "since" N is release 1.N. */
#define ORT_FUNCTIONS(F)                                                                           \
    F(1, 1, int, status_code, (const struct ort_status *))                                         \
    F(2, 1, const char *, status_text, (const struct ort_status *))                                \
    F(4, 1, struct ort_status *, create_env, (ort_log_function *, void *, int, const char *,       \
                                              struct ort_env **))                                  \
    F(7, 1, struct ort_status *, create_session, (const struct ort_env *, const char *,            \
                                                  const struct ort_session_options *,              \
                                                  struct ort_session **))                          \
    F(10, 1, struct ort_status *, create_options, (struct ort_session_options **))                 \
    F(13, 1, struct ort_status *, set_execution_mode, (struct ort_session_options *, int))         \
    F(16, 1, struct ort_status *, enable_pattern, (struct ort_session_options *))                  \
    F(17, 1, struct ort_status *, disable_pattern, (struct ort_session_options *))                 \
    F(18, 1, struct ort_status *, enable_arena, (struct ort_session_options *))                    \
    F(19, 1, struct ort_status *, disable_arena, (struct ort_session_options *))                   \
    F(23, 1, struct ort_status *, set_optimization, (struct ort_session_options *, int))           \
    F(24, 1, struct ort_status *, set_intra_threads, (struct ort_session_options *, int))          \
    F(25, 1, struct ort_status *, set_inter_threads, (struct ort_session_options *, int))          \
    F(30, 1, struct ort_status *, input_count, (const struct ort_session *, size_t *))             \
    F(31, 1, struct ort_status *, output_count, (const struct ort_session *, size_t *))            \
    F(33, 1, struct ort_status *, input_type, (const struct ort_session *, size_t,                 \
                                               struct ort_type_info **))                           \
    F(34, 1, struct ort_status *, output_type, (const struct ort_session *, size_t,                \
                                                struct ort_type_info **))                          \
    F(36, 1, struct ort_status *, input_name, (const struct ort_session *, size_t,                 \
                                               struct ort_allocator *, char **))                   \
    F(37, 1, struct ort_status *, output_name, (const struct ort_session *, size_t,                \
                                                struct ort_allocator *, char **))                  \
    F(39, 1, struct ort_status *, create_run_options, (struct ort_run_options **))                 \
    F(49, 1, struct ort_status *, create_tensor, (const struct ort_memory_info *, void *, size_t,  \
                                                  const int64_t *, size_t, int,                    \
                                                  struct ort_value **))                            \
    F(50, 1, struct ort_status *, is_tensor, (const struct ort_value *, int *))                    \
    F(51, 1, struct ort_status *, tensor_data, (struct ort_value *, void **))                      \
    F(55, 1, struct ort_status *, cast_to_tensor, (const struct ort_type_info *,                   \
                                                   const struct ort_tensor_info **))               \
    F(56, 1, struct ort_status *, kind_of_type, (const struct ort_type_info *, int *))             \
    F(60, 1, struct ort_status *, element_type, (const struct ort_tensor_info *, int *))           \
    F(61, 1, struct ort_status *, rank, (const struct ort_tensor_info *, size_t *))                \
    F(62, 1, struct ort_status *, dims, (const struct ort_tensor_info *, int64_t *, size_t))       \
    F(63, 1, struct ort_status *, symbols, (const struct ort_tensor_info *, const char **,         \
                                            size_t))                                               \
    F(65, 1, struct ort_status *, tensor_info, (const struct ort_value *,                          \
                                                struct ort_tensor_info **))                        \
    F(68, 1, struct ort_status *, create_memory_info, (const char *, int, int, int,                \
                                                       struct ort_memory_info **))                 \
    F(76, 1, struct ort_status *, allocator_free, (struct ort_allocator *, void *))                \
    F(78, 1, struct ort_status *, default_allocator, (struct ort_allocator **))                    \
    F(92, 1, void, release_env, (struct ort_env *))                                                \
    F(93, 1, void, release_status, (struct ort_status *))                                          \
    F(94, 1, void, release_memory_info, (struct ort_memory_info *))                                \
    F(95, 1, void, release_session, (struct ort_session *))                                        \
    F(96, 1, void, release_value, (struct ort_value *))                                            \
    F(97, 1, void, release_run_options, (struct ort_run_options *))                                \
    F(98, 1, void, release_type_info, (struct ort_type_info *))                                    \
    F(99, 1, void, release_tensor_info, (struct ort_tensor_info *))                                \
    F(100, 1, void, release_options, (struct ort_session_options *))                               \
    F(124, 3, struct ort_status *, override_dim, (struct ort_session_options *, const char *,      \
                                                  int64_t))                                        \
    F(130, 5, struct ort_status *, add_entry, (struct ort_session_options *, const char *,         \
                                               const char *))                                      \
    F(133, 5, struct ort_status *, run_binding, (struct ort_session *,                             \
                                                 const struct ort_run_options *,                   \
                                                 const struct ort_binding *))                      \
    F(134, 5, struct ort_status *, create_binding, (struct ort_session *, struct ort_binding **))  \
    F(135, 5, void, release_binding, (struct ort_binding *))                                       \
    F(136, 5, struct ort_status *, bind_input, (struct ort_binding *, const char *,                \
                                                const struct ort_value *))                         \
    F(137, 5, struct ort_status *, bind_output, (struct ort_binding *, const char *,               \
                                                 const struct ort_value *))                        \
    F(138, 5, struct ort_status *, bind_output_device, (struct ort_binding *, const char *,        \
                                                        const struct ort_memory_info *))           \
    F(140, 5, struct ort_status *, bound_values, (const struct ort_binding *,                      \
                                                  struct ort_allocator *, struct ort_value ***,    \
                                                  size_t *))                                       \
    F(202, 10, struct ort_status *, sync_inputs, (struct ort_binding *))                           \
    F(203, 10, struct ort_status *, sync_outputs, (struct ort_binding *))                          \
    F(238, 14, struct ort_status *, get_entry, (const struct ort_session_options *, const char *,  \
                                                char *, size_t *))                                 \
    F(170, 8, struct ort_status *, append_tensorrt, (struct ort_session_options *,                 \
                                                     const struct ort_provider_options *))         \
    F(171, 8, struct ort_status *, create_tensorrt, (struct ort_provider_options **))              \
    F(172, 8, struct ort_status *, update_tensorrt, (struct ort_provider_options *,                \
                                                     const char *const *, const char *const *,     \
                                                     size_t))                                      \
    F(174, 8, void, release_tensorrt, (struct ort_provider_options *))                             \
    F(204, 11, struct ort_status *, append_cuda, (struct ort_session_options *,                    \
                                                  const struct ort_provider_options *))            \
    F(205, 11, struct ort_status *, create_cuda, (struct ort_provider_options **))                 \
    F(206, 11, struct ort_status *, update_cuda, (struct ort_provider_options *,                   \
                                                  const char *const *, const char *const *,        \
                                                  size_t))                                         \
    F(208, 11, void, release_cuda, (struct ort_provider_options *))                                \
    F(216, 12, struct ort_status *, append_named, (struct ort_session_options *, const char *,     \
                                                   const char *const *, const char *const *,       \
                                                   size_t))                                        \
    F(239, 15, struct ort_status *, append_dnnl, (struct ort_session_options *,                    \
                                                  const struct ort_provider_options *))            \
    F(240, 15, struct ort_status *, create_dnnl, (struct ort_provider_options **))                 \
    F(241, 15, struct ort_status *, update_dnnl, (struct ort_provider_options *,                   \
                                                  const char *const *, const char *const *,        \
                                                  size_t))                                         \
    F(243, 15, void, release_dnnl, (struct ort_provider_options *))                                \
    F(254, 15, const char *, build_info, (void))                                                   \
    F(273, 17, struct ort_status *, set_deterministic, (struct ort_session_options *, _Bool))      \
    F(275, 17, struct ort_status *, append_openvino, (struct ort_session_options *,                \
                                                      const char *const *, const char *const *,    \
                                                      size_t))                                     \
    F(301, 22, struct ort_status *, register_library, (struct ort_env *, const char *,             \
                                                       const char *))                              \
    F(302, 22, struct ort_status *, unregister_library, (struct ort_env *, const char *))          \
    F(303, 22, struct ort_status *, ep_devices, (const struct ort_env *,                           \
                                                 const struct ort_ep_device *const **, size_t *))  \
    F(304, 22, struct ort_status *, append_devices, (struct ort_session_options *,                 \
                                                     struct ort_env *,                             \
                                                     const struct ort_ep_device *const *, size_t,  \
                                                     const char *const *, const char *const *,     \
                                                     size_t))                                      \
    F(307, 22, int, device_type, (const struct ort_device *))                                      \
    F(312, 22, const char *, ep_device_name, (const struct ort_ep_device *))                       \
    F(316, 22, const struct ort_device *, ep_device_device, (const struct ort_ep_device *))        \
    F(407, 24, struct ort_status *, assignment, (const struct ort_session *,                       \
                                                 const struct ort_subgraph *const **, size_t *))   \
    F(408, 24, struct ort_status *, subgraph_provider, (const struct ort_subgraph *,               \
                                                        const char **))                            \
    F(409, 24, struct ort_status *, subgraph_nodes, (const struct ort_subgraph *,                  \
                                                     const struct ort_node *const **, size_t *))

#define ORT_MEMBER(slot, since, result, name, parameters) result(*name) parameters;

/* The last errors the library told its log: the status it returns often hides the reason. */
enum { ORT_LOG_LINES = 4, ORT_LOG_LINE_MAX = 256 };

struct ort_log {
    pthread_mutex_t lock; /* the library logs from its own threads too */
    uint64_t count;
    char lines[ORT_LOG_LINES][ORT_LOG_LINE_MAX];
};

struct ort_api {
    ORT_FUNCTIONS(ORT_MEMBER)
    void *handle;
    int release;              /* 32 for "1.32.0" */
    const char *version;      /* the library's own text */
    struct ort_log log;
};

/* Loads the library and fills the table. The library is never unloaded: it may have threads. */
int ort_api_open(struct ort_api *api, const char *library, struct error *e);

/* An ort_log_function whose context is a struct ort_log. Errors also go on to stderr, where the
 * library itself would have put them: in a worker that is its log. */
ort_log_function ort_log_write;
void ort_log_clear(struct ort_log *log);

/* "1.32.0" -> 32; -1 for anything that is not release 1.N. */
int ort_release_of(const char *version);

/* 0 for NULL; else *e says what failed and why, and the status is released. */
int ort_check(struct ort_api *api, struct ort_status *status, struct error *e, const char *format,
              ...) __attribute__((format(printf, 4, 5)));

#endif
