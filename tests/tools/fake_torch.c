/* fake_torch.c: what wattle calls of PyTorch, for tests of what a real one cannot be made to do.
 * Built four ways:
 *
 *     cc -shared -fPIC -Wl,-soname,libtorch_cpu.so   the library
 *     ... -DPROGRAM libtorch_cpu.so                   a package's program: y = 2 x, z = x + 1
 *     ... -DSHIM libtorch_cpu.so                      the interface to TorchScript, the same model
 *     ... -DCUDA                                      libtorch_cuda.so
 *
 * and with -DOMIT each lacks a function. What it does is in the environment, read at each call:
 *
 *     FAKE_TORCH_FAIL      function that fails            FAKE_TORCH_VERSION  of the interface
 *     FAKE_TORCH_THREADS   what set_num_threads makes     FAKE_TORCH_TYPE     number of y's type
 *     FAKE_TORCH_STRIDED   y is not in rows               FAKE_TORCH_OUTPUTS  how many (2)
 *     FAKE_TORCH_WEIGHTS   how many are missing           FAKE_TORCH_BLOB     bytes wanted of them
 *     FAKE_TORCH_FAULT     an illegal instruction         FAKE_TORCH_UNTOLD   outputs not counted
 *
 * fake_torch_live counts tensors and models that were made and not freed, fake_torch_copies copies.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API __attribute__((visibility("default")))

enum { RANK = 8, FLOAT32 = 6, INT64 = 4, CPU = 0, CUDA_DEVICE = 1 };

struct tensor {
    int32_t type, device;
    int64_t rank, dims[RANK], strides[RANK];
    void *data;
    int own;
};

static const char *setting(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value ? value : otherwise;
}

static int fails(const char *function)
{
    return !strcmp(setting("FAKE_TORCH_FAIL", ""), function);
}

#if defined CUDA

#ifndef OMIT
API int32_t torch_cuda_stream_synchronize(void *stream, int32_t device)
{
    (void)stream;
    (void)device;
    return fails("torch_cuda_stream_synchronize");
}
#endif

#elif !defined PROGRAM && !defined SHIM

API long fake_torch_live, fake_torch_copies;
static bool grad = true;
static int thread_count = 2, interop_count = 2;

API uint64_t aoti_torch_abi_version(void)
{
    return strtoull(setting("FAKE_TORCH_VERSION", "0x020d000000000000"), NULL, 0);
}

API const char *torch_exception_get_what_without_backtrace(void)
{
    return "made to fail\nException raised from somewhere\n";
}

API int32_t aoti_torch_device_type_cpu(void) { return CPU; }
API int32_t aoti_torch_device_type_cuda(void) { return CUDA_DEVICE; }
API int32_t aoti_torch_dtype_float32(void) { return FLOAT32; }
API int32_t aoti_torch_dtype_float64(void) { return 7; }
API int32_t aoti_torch_dtype_float16(void) { return 5; }
API int32_t aoti_torch_dtype_bfloat16(void) { return 15; }
API int32_t aoti_torch_dtype_int8(void) { return 1; }
API int32_t aoti_torch_dtype_int16(void) { return 2; }
API int32_t aoti_torch_dtype_int32(void) { return 3; }
API int32_t aoti_torch_dtype_int64(void) { return INT64; }
API int32_t aoti_torch_dtype_uint8(void) { return 0; }
API int32_t aoti_torch_dtype_bool(void) { return 11; }
API void aoti_torch_grad_mode_set_enabled(bool on) { grad = on; }
API bool aoti_torch_grad_mode_is_enabled(void) { return grad; }

API int32_t aoti_torch_create_tensor_from_blob(void *data, int64_t rank, const int64_t *dims,
                                               const int64_t *strides, int64_t offset, int32_t type,
                                               int32_t device, int32_t index, void **out)
{
    (void)index;
    if (fails("aoti_torch_create_tensor_from_blob") || offset || rank > RANK)
        return 1;
    struct tensor *t = calloc(1, sizeof *t);
    *t = (struct tensor){.type = type, .device = device, .rank = rank, .data = data};
    memcpy(t->dims, dims, (size_t)rank * sizeof *dims);
    memcpy(t->strides, strides, (size_t)rank * sizeof *strides);
    fake_torch_live++;
    *out = t;
    return 0;
}

API int32_t aoti_torch_empty_strided(int64_t rank, const int64_t *dims, const int64_t *strides,
                                     int32_t type, int32_t device, int32_t index, void **out)
{
    size_t count = 1;
    if (fails("aoti_torch_empty_strided"))
        return 1;
    for (int64_t i = 0; i < rank; i++)
        count *= (size_t)dims[i];
    void *data = calloc(count + 1, 8);
    if (aoti_torch_create_tensor_from_blob(data, rank, dims, strides, 0, type, device, index,
                                           out)) {
        free(data);
        return 1;
    }
    ((struct tensor *)*out)->own = 1;
    return 0;
}

API int32_t aoti_torch_delete_tensor_object(void *tensor)
{
    struct tensor *t = tensor;
    if (t->own)
        free(t->data);
    free(t);
    fake_torch_live--;
    return 0;
}

API int32_t aoti_torch_get_data_ptr(void *tensor, void **out)
{
    *out = ((struct tensor *)tensor)->data;
    return fails("aoti_torch_get_data_ptr");
}

API int32_t aoti_torch_get_dim(void *tensor, int64_t *out)
{
    *out = ((struct tensor *)tensor)->rank;
    return fails("aoti_torch_get_dim");
}

API int32_t aoti_torch_get_sizes(void *tensor, int64_t **out)
{
    *out = ((struct tensor *)tensor)->dims;
    return fails("aoti_torch_get_sizes");
}

API int32_t aoti_torch_get_dtype(void *tensor, int32_t *out)
{
    *out = ((struct tensor *)tensor)->type;
    return fails("aoti_torch_get_dtype");
}

API int32_t aoti_torch_is_contiguous(void *tensor, bool *out)
{
    const struct tensor *t = tensor;
    int64_t stride = 1;
    *out = true;
    for (int64_t i = t->rank - 1; i >= 0; stride *= t->dims[i--])
        *out &= t->strides[i] == stride;
    return fails("aoti_torch_is_contiguous");
}

/* Two dimensions are enough here. */
#ifndef OMIT
API int32_t aoti_torch_copy_(void *to, void *from, int32_t non_blocking)
{
    const struct tensor *a = to, *b = from;
    (void)non_blocking;
    fake_torch_copies++;
    for (int64_t i = 0; i < b->dims[0]; i++)
        for (int64_t k = 0; k < b->dims[1]; k++)
            ((float *)a->data)[i * a->strides[0] + k * a->strides[1]] =
                ((float *)b->data)[i * b->strides[0] + k * b->strides[1]];
    return fails("aoti_torch_copy_");
}
#endif

/* at::set_num_threads and its like */
API void _ZN2at15set_num_threadsEi(int count)
{
    thread_count = atoi(setting("FAKE_TORCH_THREADS", "0"));
    thread_count = thread_count ? thread_count : count;
}
API int _ZN2at15get_num_threadsEv(void) { return thread_count; }
API int _ZN2at23get_num_interop_threadsEv(void) { return interop_count; }

/* The real one ends the process when it is called twice. */
API void _ZN2at23set_num_interop_threadsEi(int count)
{
    static int called;
    if (called++)
        abort();
    interop_count = count;
}

#else /* PROGRAM or SHIM: the model */

extern long fake_torch_live;
int32_t aoti_torch_empty_strided(int64_t rank, const int64_t *dims, const int64_t *strides,
                                 int32_t type, int32_t device, int32_t index, void **out);
int32_t aoti_torch_delete_tensor_object(void *tensor);

static const char *message = "";

static int failing(const char *function)
{
    message = fails(function) ? "made to fail\nException raised from somewhere" : message;
    return fails(function);
}

static int output_count(void)
{
    return atoi(setting("FAKE_TORCH_OUTPUTS", "2"));
}

static int32_t result(const struct tensor *x, int which, void **out)
{
    int64_t strides[RANK] = {x->dims[1], 1};
    if (which == 0 && *setting("FAKE_TORCH_STRIDED", "")) {
        strides[0] = 1;
        strides[1] = x->dims[0];
    }
    if (aoti_torch_empty_strided(x->rank, x->dims, strides, FLOAT32, x->device, 0, out))
        return 1;
    struct tensor *y = *out;
    for (int64_t i = 0; i < x->dims[0]; i++)
        for (int64_t k = 0; k < x->dims[1]; k++) {
            float v = ((const float *)x->data)[i * x->strides[0] + k * x->strides[1]];
            ((float *)y->data)[i * strides[0] + k * strides[1]] = which ? v + 1 : 2 * v;
        }
    if (which == 0)
        y->type = atoi(setting("FAKE_TORCH_TYPE", "6"));
    return 0;
}

static int32_t infer(const char *name, void **inputs, void **outputs, size_t count)
{
    const struct tensor *x = inputs[0];
    if (*setting("FAKE_TORCH_FAULT", ""))
        __builtin_trap();
    int32_t code = failing(name);
    for (size_t i = 0; !code && i < count; i++)
        code = result(x, (int)i, &outputs[i]);
    aoti_torch_delete_tensor_object(inputs[0]);
    return code;
}

#ifdef PROGRAM

#define FUNCTION(name) API int32_t AOTInductor##name

struct entry {
    const char *name;
    void *tensor;
};

FUNCTION(GetLastError)(const char **text)
{
    *text = message;
    return 0;
}

FUNCTION(ModelContainerCreateWithDevice)(void **model, size_t models, const char *device,
                                         const char *kernels)
{
    if (failing("CreateWithDevice") || models != 1 || kernels || !*device)
        return 1;
    *model = malloc(1);
    fake_torch_live++;
    return 0;
}

FUNCTION(ModelContainerDelete)(void *model)
{
    free(model);
    fake_torch_live--;
    return 0;
}

FUNCTION(ModelContainerGetNumInputs)(void *model, size_t *count)
{
    (void)model;
    *count = 1;
    return failing("GetNumInputs");
}

FUNCTION(ModelContainerGetNumOutputs)(void *model, size_t *count)
{
    (void)model;
    *count = (size_t)output_count();
    return failing("GetNumOutputs");
}

FUNCTION(ModelContainerGetInputName)(void *model, size_t index, const char **name)
{
    (void)model;
    (void)index;
    *name = "arg0_1";
    return failing("GetInputName");
}

FUNCTION(ModelContainerGetOutputName)(void *model, size_t index, const char **name)
{
    (void)model;
    *name = index ? "output1" : "output0";
    return failing("GetOutputName");
}

/* Three, of which the last is made of the others. */
FUNCTION(ModelContainerGetNumConstants)(void *model, size_t *count)
{
    (void)model;
    *count = 3;
    return failing("GetNumConstants");
}

FUNCTION(ModelContainerGetConstantFromFolded)(void *model, size_t index, bool *folded)
{
    (void)model;
    *folded = index == 2;
    return failing("GetConstantFromFolded");
}

FUNCTION(ModelContainerExtractConstantsMapEntries)(void *model, const struct entry **entries,
                                                   size_t *count, bool inactive)
{
    static const struct entry none[2];
    (void)model;
    (void)inactive;
    *entries = none;
    *count = 2 - (size_t)atoi(setting("FAKE_TORCH_WEIGHTS", "0"));
    return failing("ExtractConstantsMapEntries");
}

FUNCTION(ModelContainerGetConstantsBlobSize)(void *model, uint64_t *bytes)
{
    (void)model;
    *bytes = strtoull(setting("FAKE_TORCH_BLOB", "64"), NULL, 10);
    return failing("GetConstantsBlobSize");
}

FUNCTION(ModelUpdateConstantsFromBlob)(void *model, const uint8_t *blob)
{
    (void)model;
    return failing("UpdateConstantsFromBlob") || blob[0] != 'w' || blob[63] != 'w';
}

#ifndef OMIT
FUNCTION(ModelContainerRun)(void *model, void **inputs, size_t input_count, void **outputs,
                            size_t count, void *stream, void *proxy)
{
    (void)model;
    return input_count != 1 || stream || proxy ? 1 : infer("Run", inputs, outputs, count);
}
#endif

#else /* SHIM */

static int mode_loaded;

API const char *wattle_pt_error(void)
{
    return message;
}

API int32_t wattle_pt_load(const char *path, const char *device, int mode, void **out)
{
    if (failing("load") || !*path || !*device)
        return 1;
    mode_loaded = mode;
    *out = malloc(1);
    fake_torch_live++;
    return 0;
}

API void wattle_pt_free(void *model)
{
    free(model);
    fake_torch_live--;
}

API void wattle_pt_counts(void *model, size_t *inputs, size_t *required, int64_t *outputs)
{
    (void)model;
    *inputs = 2;
    *required = 1;
    *outputs = *setting("FAKE_TORCH_UNTOLD", "") ? -1 : output_count();
}

API const char *wattle_pt_input(void *model, size_t index)
{
    (void)model;
    return index ? "mask" : "x";
}

API const char *wattle_pt_output(void *model, size_t index)
{
    static const char *const names[][2] = {{"plain", "z"}, {"frozen", "z"}, {"optimized", "z"}};
    (void)model;
    return index < 2 && !*setting("FAKE_TORCH_UNTOLD", "") ? names[mode_loaded][index] : NULL;
}

#ifndef OMIT
API int32_t wattle_pt_run(void *model, void **inputs, size_t input_count, void **outputs,
                          size_t count, void *stream, void *proxy)
{
    (void)model;
    (void)stream;
    (void)proxy;
    return input_count != 1 ? 1 : infer("run", inputs, outputs, count);
}
#endif

#endif
#endif
