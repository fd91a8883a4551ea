/* fake_nvml.c: a library that looks like NVIDIA's management library, for tests of what a machine
 * without a GPU, or with a sound one, cannot be made to do. Behaviour comes from the environment:
 *
 *     FAKE_NVML_INIT       what nvmlInit_v2 returns (0); 18 is the driver's mismatch
 *     FAKE_NVML_COUNT      GPUs (2)            FAKE_NVML_COUNT_STATUS  of the count (0)
 *     FAKE_NVML_HANDLE     status of every handle (0)
 *     FAKE_NVML_TEXT       status of name and UUID (0)
 *     FAKE_NVML_LIST       status of the process lists (0); 7 for ever: "too small" each time
 *     FAKE_NVML_MEMORY     "I:BYTES,I:BYTES": memory of the calling process on GPU I; -1 is "not
 *                          available"; absent: it is on none
 *     FAKE_NVML_OTHERS     other processes on each GPU, listed first (1)
 *     FAKE_NVML_LIE        1: more processes are reported than fit the list
 *
 * -DNO_V3 leaves out version 3 of the process list, -DNO_LIST both, -DNO_INIT nvmlInit_v2 and
 * -DNO_TEXTS the names and the errors' texts; -DMEMORY is used where FAKE_NVML_MEMORY is not set,
 * as in a worker. fake_nvml_live() is starts minus shutdowns.
 *
 *     cc -shared -fPIC -Wl,-soname,libnvidia-ml.so.1 -o libnvidia-ml.so.1 fake_nvml.c
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef MEMORY
#define MEMORY ""
#endif

enum { SUCCESS = 0, UNINITIALIZED = 1, INSUFFICIENT_SIZE = 7, PROCESSES_MAX = 4096 };

struct process {
    unsigned pid;
    unsigned long long used_bytes;
    unsigned gpu_instance, compute_instance;
};

int nvmlInit_v2(void);
int nvmlShutdown(void);
int nvmlDeviceGetCount_v2(unsigned *count);
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device);
int nvmlDeviceGetUUID(void *device, char *text, unsigned size);
int nvmlDeviceGetName(void *device, char *text, unsigned size);
int nvmlDeviceGetComputeRunningProcesses_v2(void *device, unsigned *count, struct process *list);
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, struct process *list);
const char *nvmlErrorString(int status);
int fake_nvml_live(void);

static int live;
static char devices[64]; /* a handle is the address of one */

static int number(const char *name, int fallback)
{
    const char *text = getenv(name);
    return text ? (int)strtol(text, NULL, 10) : fallback;
}

int fake_nvml_live(void)
{
    return live;
}

#ifndef NO_INIT
int nvmlInit_v2(void)
{
    int status = number("FAKE_NVML_INIT", SUCCESS);
    live += status == SUCCESS;
    return status;
}
#endif

int nvmlShutdown(void)
{
    live--;
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count)
{
    *count = (unsigned)number("FAKE_NVML_COUNT", 2);
    return live > 0 ? number("FAKE_NVML_COUNT_STATUS", SUCCESS) : UNINITIALIZED;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device)
{
    *device = &devices[index];
    return number("FAKE_NVML_HANDLE", SUCCESS);
}

#ifndef NO_TEXTS
int nvmlDeviceGetUUID(void *device, char *text, unsigned size)
{
    snprintf(text, size, "GPU-fake-%d", (int)((char *)device - devices));
    return number("FAKE_NVML_TEXT", SUCCESS);
}

int nvmlDeviceGetName(void *device, char *text, unsigned size)
{
    snprintf(text, size, "Fake GPU %d", (int)((char *)device - devices));
    return number("FAKE_NVML_TEXT", SUCCESS);
}

const char *nvmlErrorString(int status)
{
    switch (status) {
    case 9:  return "Driver Not Loaded";
    case 15: return "GPU is lost";
    case 18: return "Driver/library version mismatch";
    default: return "Unknown Error";
    }
}
#endif

#ifndef NO_LIST
/* Bytes of the calling process on a GPU, once for each mention. */
static unsigned own(int gpu, struct process list[PROCESSES_MAX], unsigned n)
{
    const char *text = getenv("FAKE_NVML_MEMORY"), *at = text ? text : MEMORY;
    while (at && *at) {
        char *end;
        long index = strtol(at, &end, 10);
        unsigned long long bytes = strtoull(end + 1, &end, 10);
        if (index == gpu)
            list[n++] = (struct process){(unsigned)getpid(), bytes, 0xffffffff, 0xffffffff};
        at = *end ? end + 1 : end;
    }
    return n;
}

static int list_processes(void *device, unsigned *count, struct process *list)
{
    static struct process all[PROCESSES_MAX];
    int status = number("FAKE_NVML_LIST", SUCCESS);
    unsigned n = 0, others = (unsigned)number("FAKE_NVML_OTHERS", 1), room = *count;
    while (n < others && n < PROCESSES_MAX - 64)
        all[n++] = (struct process){(unsigned)getppid(), 99000000, 0, 0};
    n = own((int)((char *)device - devices), all, n);
    *count = number("FAKE_NVML_LIE", 0) ? room + 1 : n;
    if (status != SUCCESS)
        return status;
    if (n > room)
        return INSUFFICIENT_SIZE;
    memcpy(list, all, n * sizeof *all);
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v2(void *device, unsigned *count, struct process *list)
{
    return list_processes(device, count, list);
}

#ifndef NO_V3
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, struct process *list)
{
    return list_processes(device, count, list);
}
#endif
#endif
