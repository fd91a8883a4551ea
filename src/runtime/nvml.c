#include "runtime/nvml.h"

#include "runtime/symbols.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Numbers of the library's interface. */
enum { SUCCESS = 0, INSUFFICIENT_SIZE = 7 };

/* "Not available" is all ones; no other number so large means bytes either. */
#define BYTES_MAX (UINT64_MAX / 4)

enum { PROCESSES_FIRST = 32, PROCESSES_MAX = 1 << 16, ATTEMPTS = 4 };

/* Versions 2 and 3 of the function below fill the same structure; an older one is shorter, and
 * reading its array with this stride would be wrong. */
struct process {
    unsigned pid;
    unsigned long long used_bytes;
    unsigned gpu_instance, compute_instance;
};

typedef int list_processes(void *device, unsigned *count, struct process *list);

struct nvml {
    void *library;
    int is_started;
    int (*init)(void);
    int (*shutdown)(void);
    int (*get_count)(unsigned *count);
    int (*get_handle)(unsigned index, void **device);
    int (*get_uuid)(void *device, char *text, unsigned size);  /* these may be NULL */
    int (*get_name)(void *device, char *text, unsigned size);
    list_processes *list;
    const char *(*error_text)(int status);
    size_t count;
    struct nvml_device devices[NVML_DEVICE_MAX];
};

__attribute__((format(printf, 2, 3)))
static int because(char reason[NVML_REASON_MAX], const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, NVML_REASON_MAX, format, arguments);
    va_end(arguments);
    return -1;
}

#ifdef __clang_analyzer__ /* it does not follow variable arguments: tell it that this is never 0 */
#define because(...) ((because)(__VA_ARGS__), -1)
#endif

/* "NVIDIA's library cannot start: Driver/library version mismatch (18)" */
static int refused(const struct nvml *n, int status, char reason[NVML_REASON_MAX], const char *what)
{
    const char *text = n->error_text ? n->error_text(status) : NULL;
    return because(reason, "%s: %.100s (%d)", what, text && *text ? text : "error", status);
}

static int load_library(struct nvml *n, const char *library, char reason[NVML_REASON_MAX])
{
    n->library = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (n->library)
        return 0;
    const char *why = dlerror();
    const char *slash = strrchr(library, '/');
    if (why && !strncmp(why, library, strlen(library)) &&
        strstr(why, "cannot open shared object file: No such file"))
        return because(reason, "no NVIDIA driver: %.100s is not there",
                       slash ? slash + 1 : library);
    return because(reason, "cannot load NVIDIA's library: %.140s", why ? why : library);
}

/* The name of a function that is missing though nothing works without it; NULL. */
static const char *find_functions(struct nvml *n)
{
    const struct {
        struct symbol symbol;
        int needed;
    } functions[] = {
        {{"nvmlInit_v2", &n->init}, 1},
        {{"nvmlShutdown", &n->shutdown}, 1},
        {{"nvmlDeviceGetCount_v2", &n->get_count}, 1},
        {{"nvmlDeviceGetHandleByIndex_v2", &n->get_handle}, 1},
        {{"nvmlDeviceGetUUID", &n->get_uuid}, 0},
        {{"nvmlDeviceGetName", &n->get_name}, 0},
        {{"nvmlDeviceGetComputeRunningProcesses_v2", &n->list}, 0},
        {{"nvmlDeviceGetComputeRunningProcesses_v3", &n->list}, 0}, /* last: the newer one wins */
        {{"nvmlErrorString", &n->error_text}, 0},
    };
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (!symbol_take(n->library, &functions[i].symbol) && functions[i].needed)
            return functions[i].symbol.name;
    return NULL;
}

/* A name the library could not give is empty; it ends in any case. */
static void read_text(int (*get)(void *, char *, unsigned), void *device, char text[NVML_TEXT_MAX])
{
    if (!get || get(device, text, NVML_TEXT_MAX) != SUCCESS)
        text[0] = '\0';
    text[NVML_TEXT_MAX - 1] = '\0';
}

static int find_devices(struct nvml *n, char reason[NVML_REASON_MAX])
{
    unsigned count = 0;
    int status = n->get_count(&count);
    if (status != SUCCESS)
        return refused(n, status, reason, "NVIDIA's library cannot count GPUs");
    if (!count)
        return because(reason, "the NVIDIA driver sees no GPU");
    if (count > NVML_DEVICE_MAX)
        return because(reason, "NVIDIA's library reports %u GPUs", count);
    for (unsigned i = 0; i < count; i++) {
        struct nvml_device *d = &n->devices[i];
        status = n->get_handle(i, &d->handle);
        if (status != SUCCESS) {
            char what[64];
            snprintf(what, sizeof what, "GPU %u of %u does not answer", i, count);
            return refused(n, status, reason, what);
        }
        read_text(n->get_name, d->handle, d->name);
        read_text(n->get_uuid, d->handle, d->uuid);
    }
    n->count = count;
    return 0;
}

static int start(struct nvml *n, const char *library, char reason[NVML_REASON_MAX])
{
    if (load_library(n, library, reason))
        return -1;
    const char *missing = find_functions(n);
    if (missing)
        return because(reason, "NVIDIA's library has no function %s", missing);
    int status = n->init();
    if (status != SUCCESS)
        return refused(n, status, reason, "NVIDIA's library cannot start");
    n->is_started = 1;
    return find_devices(n, reason);
}

int nvml_open(const char *library, struct nvml **out, char reason[NVML_REASON_MAX])
{
    struct nvml *n = calloc(1, sizeof *n);
    *out = NULL;
    if (!n)
        return because(reason, "out of memory");
    if (start(n, library, reason)) {
        nvml_close(n);
        return -1;
    }
    *out = n;
    return 0;
}

void nvml_close(struct nvml *n)
{
    if (!n)
        return;
    if (n->is_started)
        n->shutdown();
    if (n->library)
        dlclose(n->library);
    free(n);
}

size_t nvml_device_count(const struct nvml *n)
{
    return n->count;
}

const struct nvml_device *nvml_device(const struct nvml *n, size_t i)
{
    return &n->devices[i];
}

/* --- memory of a process ---------------------------------------------------------------------- */

/* Half as many again as it asked for: some may start before the next attempt. */
static unsigned next_room(unsigned room, unsigned wanted)
{
    unsigned next = room + PROCESSES_FIRST;
    if (wanted > room && wanted <= PROCESSES_MAX)
        next = wanted + wanted / 2;
    return next < PROCESSES_MAX ? next : PROCESSES_MAX;
}

/* The processes of one GPU, malloc'd. The list may grow between being measured and being read. */
static int list_device(const struct nvml *n, size_t i, struct process **out, unsigned *count,
                       char reason[NVML_REASON_MAX])
{
    unsigned room = 0;
    int status = INSUFFICIENT_SIZE;
    struct process *list = NULL;
    for (int attempt = 0; attempt < ATTEMPTS && status == INSUFFICIENT_SIZE; attempt++) {
        room = next_room(room, *count);
        struct process *more = realloc(list, room * sizeof *list);
        if (!more) {
            free(list);
            return because(reason, "out of memory");
        }
        list = more;
        *count = room;
        status = n->list(n->devices[i].handle, count, list);
    }
    if (status == SUCCESS && *count <= room) {
        *out = list;
        return 0;
    }
    free(list);
    if (status == SUCCESS)
        return because(reason, "NVIDIA's library lists %u processes where %u have room", *count,
                       room);
    return refused(n, status, reason, "NVIDIA's library cannot list processes");
}

/* A process is listed once for each part of a divided GPU. */
static int add_device(const struct nvml *n, size_t i, uint32_t pid, uint64_t *bytes, int *seen,
                      char reason[NVML_REASON_MAX])
{
    struct process *list = NULL;
    unsigned count = 0;
    if (list_device(n, i, &list, &count, reason))
        return -1;
    int result = 0;
    for (unsigned k = 0; k < count && !result; k++) {
        if (list[k].pid != pid)
            continue;
        *seen = 1;
        if (list[k].used_bytes > BYTES_MAX - *bytes)
            result = because(reason, "NVIDIA's library does not tell the memory of process %u",
                             (unsigned)pid);
        else
            *bytes += list[k].used_bytes;
    }
    free(list);
    return result;
}

int nvml_process_memory(const struct nvml *n, uint32_t pid, uint64_t *bytes,
                        char reason[NVML_REASON_MAX])
{
    uint64_t sum = 0;
    int seen = 0;
    if (!n->list)
        return because(reason, "NVIDIA's library cannot list processes: this version has no "
                       "function for it that wattle knows");
    for (size_t i = 0; i < n->count; i++)
        if (add_device(n, i, pid, &sum, &seen, reason))
            return -1;
    if (!seen)
        return because(reason, "NVIDIA's library lists no process %u on any GPU; in a container "
                       "it may know it by another number", (unsigned)pid);
    if (!sum)
        return because(reason, "NVIDIA's library gives process %u no memory at all", (unsigned)pid);
    *bytes = sum;
    return 0;
}

int nvml_own_memory(uint64_t *bytes, char reason[NVML_REASON_MAX])
{
    struct nvml *n;
    if (nvml_open(NVML_LIBRARY, &n, reason))
        return -1;
    int result = nvml_process_memory(n, (uint32_t)getpid(), bytes, reason);
    nvml_close(n);
    return result;
}

void nvml_describe(char *text, size_t size)
{
    struct nvml *n;
    char reason[NVML_REASON_MAX];
    if (nvml_open(NVML_LIBRARY, &n, reason)) {
        snprintf(text, size, "none: %s", reason);
        return;
    }
    size_t used = (size_t)snprintf(text, size, "%zu", n->count);
    for (size_t i = 0; i < n->count && used < size; i++) {
        const struct nvml_device *d = &n->devices[i];
        used += (size_t)snprintf(text + used, size - used, "%s %s%s%s%s", i ? "," : ":",
                                 d->name[0] ? d->name : "GPU without a name",
                                 d->uuid[0] ? " (" : "", d->uuid, d->uuid[0] ? ")" : "");
    }
    nvml_close(n);
}
