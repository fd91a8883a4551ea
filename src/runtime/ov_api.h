/* ov_api.h: the part of OpenVINO's C interface that openvino.c uses, declared by us and resolved
 * from the library a user has: no header of OpenVINO is needed to build wattle.
 *
 * Only functions that 2024.2 and everything since have with the same signature are here. Properties
 * are set on the core, one at a time, because the list form for compiling came with 2026.0 and the
 * older form takes variadic arguments, whose number cannot be chosen at run time.
 */
#ifndef WATTLE_RUNTIME_OV_API_H
#define WATTLE_RUNTIME_OV_API_H

#include "base/error.h"
#include "runtime/ov_types.h"

#include <stddef.h>
#include <stdint.h>

struct ov_dimension {
    int64_t low, high; /* high -1: no bound */
};

struct ov_partial_shape {
    struct ov_dimension rank;
    struct ov_dimension *dims; /* NULL when the rank is dynamic */
};

struct ov_shape {
    int64_t rank;
    int64_t *dims;
};

struct ov_version {
    const char *build, *description;
};

struct ov_devices {
    char **names;
    size_t count;
};

/* X(result, name without "ov_", parameters). Objects are opaque; a result of int is a status, and 0
 * is fine. */
#define OV_FUNCTIONS(X)                                                                            \
    X(int, get_openvino_version, (struct ov_version *))                                            \
    X(void, version_free, (struct ov_version *))                                                   \
    X(const char *, get_last_err_msg, (void))                                                      \
    X(const char *, get_error_info, (int))                                                         \
    X(void, free, (const char *))                                                                  \
    X(int, core_create, (void **))                                                                 \
    X(void, core_free, (void *))                                                                   \
    X(int, core_get_available_devices, (const void *, struct ov_devices *))                        \
    X(void, available_devices_free, (struct ov_devices *))                                         \
    X(int, core_get_property, (const void *, const char *device, const char *key, char **))        \
    X(int, core_set_property, (const void *, const char *device, ...))                             \
    X(int, core_read_model, (const void *, const char *path, const char *weights, void **))        \
    X(int, core_compile_model,                                                                     \
      (const void *, const void *model, const char *device, size_t, void **, ...))                 \
    X(void, model_free, (void *))                                                                  \
    X(int, model_inputs_size, (const void *, size_t *))                                            \
    X(int, model_const_input_by_index, (const void *, size_t, void **))                            \
    X(int, model_const_input_by_name, (const void *, const char *, void **))                       \
    X(int, model_const_output_by_index, (const void *, size_t, void **))                           \
    X(int, model_reshape_by_port_indexes,                                                          \
      (const void *, const size_t *, const struct ov_partial_shape *, size_t))                     \
    X(int, port_get_any_name, (const void *, char **))                                             \
    X(int, port_get_element_type, (const void *, int *))                                           \
    X(int, port_get_partial_shape, (const void *, struct ov_partial_shape *))                      \
    X(void, partial_shape_free, (struct ov_partial_shape *))                                       \
    X(void, output_const_port_free, (void *))                                                      \
    X(void, compiled_model_free, (void *))                                                         \
    X(int, compiled_model_inputs_size, (const void *, size_t *))                                   \
    X(int, compiled_model_outputs_size, (const void *, size_t *))                                  \
    X(int, compiled_model_input_by_index, (const void *, size_t, void **))                         \
    X(int, compiled_model_output_by_index, (const void *, size_t, void **))                        \
    X(int, compiled_model_get_property, (const void *, const char *key, char **))                  \
    X(int, compiled_model_create_infer_request, (const void *, void **))                           \
    X(void, infer_request_free, (void *))                                                          \
    X(int, infer_request_set_input_tensor_by_index, (void *, size_t, const void *))                \
    X(int, infer_request_set_output_tensor_by_index, (void *, size_t, const void *))               \
    X(int, infer_request_get_output_tensor_by_index, (const void *, size_t, void **))              \
    X(int, infer_request_infer, (void *))                                                          \
    X(int, tensor_create, (int type, struct ov_shape, void **))                                    \
    X(int, tensor_create_from_host_ptr, (int type, struct ov_shape, void *, void **))              \
    X(int, tensor_get_byte_size, (const void *, size_t *))                                         \
    X(int, tensor_get_shape, (const void *, struct ov_shape *))                                    \
    X(int, shape_free, (struct ov_shape *))                                                        \
    X(int, tensor_data, (const void *, void **))                                                   \
    X(void, tensor_free, (void *))

struct ov_api {
#define OV_MEMBER(result, name, parameters) result(*name) parameters;
    OV_FUNCTIONS(OV_MEMBER)
#undef OV_MEMBER
    char version[32];              /* "2026.4.1" */
    char build[128];               /* as the library says it */
    const struct ov_types *types;  /* checked against the library */
};

/* Loads the library, which then stays loaded until the process ends: its threads cannot be told to
 * go. */
int ov_api_open(struct ov_api *api, const char *library, struct error *e);

/* *e from a status that is not 0: the words given, then OpenVINO's own, on one line. */
int ov_api_error(const struct ov_api *api, int status, struct error *e, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Opens the library and lists the devices, for people: "CPU (AMD EPYC 7763)". To be called in a
 * process that ends soon. */
int ov_devices(const char *library, char *text, size_t size, struct error *e);

#endif
