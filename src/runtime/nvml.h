/* nvml.h: NVIDIA's management library, without its headers: which GPUs there are, and how much of
 * their memory a process holds. It comes with the driver, so it is looked for when asked and never
 * needed. What it lacks or refuses is a reason, not an error: nothing here stops a measurement.
 */
#ifndef WATTLE_RUNTIME_NVML_H
#define WATTLE_RUNTIME_NVML_H

#include <stddef.h>
#include <stdint.h>

#define NVML_LIBRARY "libnvidia-ml.so.1"
enum { NVML_DEVICE_MAX = 64, NVML_TEXT_MAX = 96, NVML_REASON_MAX = 192 };

struct nvml_device {
    void *handle;
    char name[NVML_TEXT_MAX], uuid[NVML_TEXT_MAX]; /* "" when the library does not tell */
};

struct nvml;

/* Opens the library (a name or a path) and looks for GPUs. Returns 0 with at least one; otherwise
 * -1, *out is NULL and reason says why there is none to see. */
int nvml_open(const char *library, struct nvml **out, char reason[NVML_REASON_MAX]);
void nvml_close(struct nvml *n); /* NULL is fine */

size_t nvml_device_count(const struct nvml *n);
const struct nvml_device *nvml_device(const struct nvml *n, size_t i);

/* The memory that a process holds now, on all GPUs together: the order in which CUDA counts GPUs is
 * not this library's, and a worker uses those it was told to. Returns -1 with a reason when the
 * library does not say, or lists no such process: inside a container it may know the process by
 * another number. */
int nvml_process_memory(const struct nvml *n, uint32_t pid, uint64_t *bytes,
                        char reason[NVML_REASON_MAX]);

/* Opens, asks for this process, closes. */
int nvml_own_memory(uint64_t *bytes, char reason[NVML_REASON_MAX]);

/* One line for people: the GPUs that are seen, or "none: why". */
void nvml_describe(char *text, size_t size);

#endif
