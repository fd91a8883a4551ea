/* pt_api.h: the part of PyTorch's C interface that wattle uses, declared by us and resolved from
 * the libtorch_cpu.so a user has: no header of PyTorch is needed to build wattle. A result of
 * int32_t is a status unless the comment says otherwise, and 0 is success.
 *
 * Threads have no C function, so four functions of C++ are called by their mangled names; none
 * takes or gives more than an int, and none of them throws as they are used here.
 */
#ifndef WATTLE_RUNTIME_PT_API_H
#define WATTLE_RUNTIME_PT_API_H

#include "base/error.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(result, member, symbol, parameters) */
#define PT_FUNCTIONS(X)                                                                            \
    X(uint64_t, abi_version, aoti_torch_abi_version, (void))                                       \
    X(int32_t, device_cpu, aoti_torch_device_type_cpu, (void)) /* a number */                      \
    X(int32_t, device_cuda, aoti_torch_device_type_cuda, (void)) /* a number */                    \
    X(void, set_grad, aoti_torch_grad_mode_set_enabled, (bool on))                                 \
    X(bool, has_grad, aoti_torch_grad_mode_is_enabled, (void))                                     \
    X(int32_t, from_blob, aoti_torch_create_tensor_from_blob,                                      \
      (void *data, int64_t rank, const int64_t *dims, const int64_t *strides, int64_t offset,      \
       int32_t type, int32_t device, int32_t index, void **out))                                   \
    X(int32_t, empty, aoti_torch_empty_strided,                                                    \
      (int64_t rank, const int64_t *dims, const int64_t *strides, int32_t type, int32_t device,    \
       int32_t index, void **out))                                                                 \
    X(int32_t, free_tensor, aoti_torch_delete_tensor_object, (void *tensor))                       \
    X(int32_t, data_ptr, aoti_torch_get_data_ptr, (void *tensor, void **out))                      \
    X(int32_t, rank_of, aoti_torch_get_dim, (void *tensor, int64_t *out))                          \
    X(int32_t, dims_of, aoti_torch_get_sizes, (void *tensor, int64_t **borrowed))                  \
    X(int32_t, type_of, aoti_torch_get_dtype, (void *tensor, int32_t *out))                        \
    X(int32_t, is_contiguous, aoti_torch_is_contiguous, (void *tensor, bool *out))                 \
    X(int32_t, copy, aoti_torch_copy_, (void *to, void *from, int32_t non_blocking))               \
    X(void, set_threads, _ZN2at15set_num_threadsEi, (int count))                                   \
    X(int, threads, _ZN2at15get_num_threadsEv, (void)) /* a number */                              \
    X(void, set_interop, _ZN2at23set_num_interop_threadsEi, (int count))                           \
    X(int, interop, _ZN2at23get_num_interop_threadsEv, (void)) /* a number */

struct pt_api {
#define PT_MEMBER(result, member, symbol, parameters) result(*member) parameters;
    PT_FUNCTIONS(PT_MEMBER)
#undef PT_MEMBER
    const char *(*what)(void); /* the last failure of this thread; NULL before 2.13 */
    int32_t (*synchronize)(void *stream, int32_t device); /* NULL in a build for the CPU */
    int major, minor;
    char version[32];
};

struct pt_type {
    const char *name; /* "float32", as wattle and PyTorch both call it */
    size_t bytes;
};

/* Loads the library, and with `cuda` the one for CUDA beside it. ERROR_UNSUPPORTED with a
 * reason. */
int pt_api_open(struct pt_api *api, const char *library, int cuda, struct error *e);

/* "<format>: <PyTorch's own words>"; extra is what else it said, or NULL. Returns the code. */
int pt_api_error(const struct pt_api *api, const char *extra, struct error *e, const char *format,
                 ...) __attribute__((format(printf, 4, 5)));

/* PyTorch's number for an element type; -1 when this one has none of that name. */
int32_t pt_type_number(const char *name);
/* NULL for a number that is none of ours. */
const struct pt_type *pt_type_find(int32_t number);
const struct pt_type *pt_type_named(const char *name);

#ifdef __clang_analyzer__ /* it does not look into other files: tell it that this is never 0 */
#define pt_api_error(...) ((pt_api_error)(__VA_ARGS__), (int)ERROR_UNSUPPORTED)
#endif

#endif
