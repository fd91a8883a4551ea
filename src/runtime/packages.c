#include "runtime/packages.h"

#include <string.h>

/* Inside WSL all GPUs and NPUs are behind one device. */
#define NVIDIA "/dev/nvidiactl /dev/dxg"
#define RENDER "/dev/dri/renderD* /dev/dxg"
#define ACCEL "/dev/accel/accel* /dev/dxg"

static const struct package_provider onnxruntime_providers[] = {
    {"cpu", NULL, 0, NULL},
    {"openvino", "libonnxruntime_providers_openvino.so", 0, NULL},
    {"cuda", "libonnxruntime_providers_cuda.so", 0, NVIDIA},
    {"tensorrt", "libonnxruntime_providers_tensorrt.so", 0, NVIDIA},
    {"dnnl", "libonnxruntime_providers_dnnl.so", 0, NULL},
    {"xnnpack", NULL, 1, NULL},
    {NULL, NULL, 0, NULL},
};

static const struct package_provider openvino_providers[] = {
    {"cpu", NULL, 0, NULL},
    {"gpu", "libopenvino_intel_gpu_plugin.so", 0, RENDER},
    {"npu", "libopenvino_intel_npu_plugin.so", 0, ACCEL},
    {NULL, NULL, 0, NULL},
};

static const struct package_provider pytorch_providers[] = {
    {"cpu", NULL, 0, NULL},
    {"cuda", "libtorch_cuda.so", 0, NVIDIA},
    {NULL, NULL, 0, NULL},
};

static const struct package_provider no_providers[] = {{NULL, NULL, 0, NULL}};

/* These libraries stand alone: what their Python modules want besides is left out. */
static const char *const alone[] = {"--no-deps", NULL};

/* What exporting and converting needs besides. NumPy is whatever fits this Python. */
static const char *const pytorch_requirements[] = {"numpy", "onnx==1.23.2", "onnxscript==0.7.2",
                                                   NULL};
/* It requires torchvision, of which only a build for the very same PyTorch can be imported. */
static const char *const pytorch_bare[] = {"onnx2torch==1.5.15", NULL};

#define ONNXRUNTIME                                                                                \
    .adapter = "onnxruntime", .wheel = "onnxruntime/capi/libonnxruntime.so.*",                     \
    .providers = onnxruntime_providers, .arguments = alone, .formats = "onnx"
#define PLUGIN                                                                                     \
    .adapter = "onnxruntime", .providers = no_providers, .arguments = alone, .plugin = 1,          \
    .formats = ""

static const struct package all[] = {
    {.name = "onnxruntime", .variant = "", .version = "1.32.0", .provider = "cpu",
     .title = "ONNX Runtime for CPUs", .library = "libonnxruntime.so*", ONNXRUNTIME},
    {.name = "onnxruntime-openvino", .variant = "openvino", .version = "1.24.1",
     .provider = "openvino", .title = "ONNX Runtime with Intel's OpenVINO provider", ONNXRUNTIME},
    {.name = "onnxruntime-gpu", .variant = "gpu", .version = "1.31.1", .provider = "cuda",
     .title = "ONNX Runtime with NVIDIA's CUDA and TensorRT providers", .named_only = 1,
     ONNXRUNTIME},
    {.name = "openvino", .variant = "", .version = "2026.4.1", .adapter = "openvino",
     .provider = "cpu", .title = "Intel's OpenVINO", .arguments = alone,
     .wheel = "openvino/libs/libopenvino_c.so.*", .library = "libopenvino_c.so*",
     .providers = openvino_providers, .formats = "onnx ir tflite savedmodel tfgraph"},
    {.name = "pytorch", .distribution = "torch", .variant = "", .version = "2.13.0",
     .adapter = "pytorch", .provider = "cpu",
     .title = "PyTorch, and what converts to and from ONNX",
     .requirements = pytorch_requirements, .bare = pytorch_bare,
     .wheel = "torch/lib/libtorch_cpu.so", .library = "libtorch_cpu.so*",
     .version_file = "../build-version", .providers = pytorch_providers,
     .formats = "onnx aoti exported torchscript python", .needs_python = 1},
    {.name = "onnxruntime-ep-openvino", .variant = "ep-openvino", .version = "1.8.1",
     .title = "plug-in provider: OpenVINO (Intel hardware only)",
     .wheel = "onnxruntime_ep_openvino/libonnxruntime_providers_openvino_plugin.so", PLUGIN},
    {.name = "onnxruntime-ep-webgpu", .variant = "ep-webgpu", .version = "0.4.0",
     .title = "plug-in provider: WebGPU",
     .wheel = "onnxruntime_ep_webgpu/libonnxruntime_providers_webgpu.so", PLUGIN},
    {.name = "onnxruntime-ep-nv-tensorrt-rtx-cu13", .variant = "ep-nv-tensorrt-rtx-cu13",
     .version = "0.5.0", .title = "plug-in provider: NVIDIA TensorRT for RTX",
     .wheel = "onnxruntime_ep_nv_tensorrt_rtx*/libonnxruntime_providers_nv_tensorrt_rtx.so",
     PLUGIN},
};

const struct package *package_all(size_t *count)
{
    *count = sizeof all / sizeof *all;
    return all;
}

const struct package *package_find(const char *name)
{
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(all[i].name, name))
            return &all[i];
    return NULL;
}

const char *package_distribution(const struct package *p)
{
    return p->distribution ? p->distribution : p->name;
}

static int has_word(const char *list, const char *word)
{
    size_t size = strlen(word);
    for (; *list; list += strcspn(list, " "), list += *list == ' ')
        if (strcspn(list, " ") == size && !strncmp(list, word, size))
            return 1;
    return 0;
}

int package_reads(const char *adapter, const char *format)
{
    const struct package *p = package_of(adapter, "");
    return has_word(p ? p->formats : "onnx", format); /* what is built in reads ONNX */
}

const struct package *package_of(const char *adapter, const char *variant)
{
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(all[i].adapter, adapter) && !strcmp(all[i].variant, variant))
            return &all[i];
    return NULL;
}
