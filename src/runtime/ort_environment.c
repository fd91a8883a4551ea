/* ort_environment.c: what must be in the environment before ONNX Runtime is loaded.
 *
 * Official builds since 1.29 start a thread, write files below the user's cache folder and carry an
 * address to upload to as soon as an environment object is made; its own switch comes too late. A
 * variable that is read before turns all of that off, and is set for every worker.
 */
#include "runtime/ort.h"

#include "base/buffer.h"
#include "runtime/locate.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TELEMETRY "ORT_DISABLE_TELEMETRY"
enum { PATHS_MAX = 16 * 1024 };

int ort_telemetry_off(struct error *e)
{
    const char *value = getenv(TELEMETRY);
    if (value && !strcmp(value, "1"))
        return 0;
    return setenv(TELEMETRY, "1", 1) ? error_errno(e, errno, "cannot set " TELEMETRY) : 0;
}

static int set(json_t *variables, const char *name, const char *value, struct error *e)
{
    return json_object_set_new(variables, name, json_string(value)) ? error_memory(e) : 0;
}

static void add_path(struct buffer *paths, const char *path, size_t size)
{
    if (size)
        buffer_format(paths, "%s%.*s", paths->size ? ":" : "", (int)size, path);
}

static void add_folder(struct buffer *paths, const char *file)
{
    const char *slash = file ? strrchr(file, '/') : NULL;
    if (slash)
        add_path(paths, file, (size_t)(slash - file));
}

/* CUDA's libraries as Python packages, in the site-packages the library itself lies in:
 * <site>/onnxruntime/capi/libonnxruntime.so.1.N.M and <site>/nvidia/cublas/lib. */
static void add_packages(struct buffer *paths, const char *library)
{
    static const char *const tails[] = {"../../nvidia/*/lib", "../../tensorrt_libs"};
    char folder[PATH_MAX];
    const char *slash = library ? strrchr(library, '/') : NULL;
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - library) : 0,
             slash ? library : "");
    for (size_t i = 0; slash && i < sizeof tails / sizeof *tails; i++) {
        struct locate_paths found;
        if (!locate_glob(folder, tails[i], &found, NULL))
            for (size_t k = 0; k < found.count; k++)
                add_path(paths, found.paths[k], strlen(found.paths[k]));
        locate_free(&found);
    }
}

/* Some plug-ins do not say where the libraries beside them are. */
static int set_paths(const struct adapter_request *r, json_t *variables, struct error *e)
{
    struct buffer paths;
    const char *had = getenv("LD_LIBRARY_PATH");
    buffer_init(&paths, PATHS_MAX);
    add_folder(&paths, r->provider_library);
    if (ort_provider_find(r)->device)
        add_packages(&paths, r->library);
    int code = 0;
    if (paths.size) {
        add_path(&paths, had ? had : "", had ? strlen(had) : 0);
        code = paths.failed ? error_set(e, ERROR_MEMORY, "too many folders for LD_LIBRARY_PATH")
                            : set(variables, "LD_LIBRARY_PATH", buffer_string(&paths), e);
    }
    buffer_release(&paths);
    return code;
}

/* A plug-in may be CUDA's or TensorRT's. */
static int is_nvidia(const struct ort_provider *p)
{
    return p && (p->device || !strcmp(p->name, "plugin"));
}

int ort_environment(const struct adapter_request *r, struct adapter_environment *out,
                    struct error *e)
{
    int64_t us;
    const struct ort_provider *provider = ort_provider_find(r);
    int code = ort_spin_check(r->spin, &us, e);
    if (!code)
        code = set(out->variables, TELEMETRY, "1", e);
    if (!code && is_nvidia(provider))
        code = set(out->variables, "NVIDIA_TF32_OVERRIDE", "0", e);
    if (!code && provider)
        code = set_paths(r, out->variables, e);
    return code;
}
