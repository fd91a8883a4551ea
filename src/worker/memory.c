#include "worker/parent.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEFAULT_CAPACITY = 1 << 20, CAPACITY_MAX = 1 << 28, FIRST_FREE_FD = 16 };

/* Descriptors below FIRST_FREE_FD would collide with their places in the child. The seals keep a
 * worker from shrinking what we have mapped, which would end us with SIGBUS. */
static int open_memory(const char *name, size_t bytes, int seals, int *out, struct error *e)
{
    int low = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (low < 0)
        return error_errno(e, errno, "cannot make shared memory for a worker");
    int fd = fcntl(low, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    int saved = errno;
    close(low);
    if (fd < 0)
        return error_errno(e, saved, "cannot make shared memory for a worker");
    if (ftruncate(fd, (off_t)bytes) || fcntl(fd, F_ADD_SEALS, seals)) {
        saved = errno;
        close(fd);
        return error_errno(e, saved, "cannot size %zu bytes of shared memory", bytes);
    }
    *out = fd;
    return 0;
}

static void *map(int fd, size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return p == MAP_FAILED ? NULL : p;
}

int memory_open(struct worker *w, uint64_t ring_capacity, struct error *e)
{
    uint64_t capacity = ring_capacity ? ring_capacity : DEFAULT_CAPACITY;
    if (capacity > CAPACITY_MAX)
        return error_set(e, ERROR_USAGE, "a ring of %llu latencies is too large",
                         (unsigned long long)capacity);
    size_t bytes = sizeof(struct wattle_ring) + capacity * sizeof(uint64_t);
    int code = open_memory("wattle-ring", bytes, F_SEAL_SHRINK | F_SEAL_GROW, &w->ring_fd, e);
    if (!code)
        code = open_memory("wattle-tensors", 0, F_SEAL_SHRINK, &w->tensor_fd, e);
    if (code)
        return code;
    w->ring = map(w->ring_fd, bytes);
    if (!w->ring)
        return error_errno(e, errno, "cannot map %zu bytes of shared memory", bytes);
    w->ring_bytes = bytes;
    w->ring_capacity = capacity;
    w->ring->magic = WATTLE_RING_MAGIC;
    w->ring->version = WATTLE_PROTOCOL;
    w->ring->capacity = capacity;
    return 0;
}

void memory_close(struct worker *w)
{
    if (w->ring)
        munmap(w->ring, w->ring_bytes);
    if (w->tensors)
        munmap(w->tensors, w->tensor_bytes);
    if (w->ring_fd >= 0)
        close(w->ring_fd);
    if (w->tensor_fd >= 0)
        close(w->tensor_fd);
    w->ring = NULL;
    w->tensors = NULL;
    w->ring_fd = w->tensor_fd = -1;
}

static uint64_t *shared_count(struct worker *w)
{
    return &w->ring->count;
}

void memory_restart(struct worker *w)
{
    __atomic_store_n(shared_count(w), 0, __ATOMIC_RELEASE);
    w->stored = UINT64_MAX;
}

/* A worker that cannot map memory sends its newest latencies in the reply. */
int memory_take(struct worker *w, json_t *reply, struct error *e)
{
    json_t *list = json_object_get(reply, "latencies_ns");
    json_t *runs = json_object_get(reply, "runs");
    if (!list)
        return 0;
    uint64_t count = json_array_size(list);
    int counted = json_is_integer(runs) && json_integer_value(runs) >= (json_int_t)count;
    if (!json_is_array(list) || !counted)
        return error_set(e, ERROR_FORMAT,
                         "latencies_ns is not an array with at most \"runs\" items");
    uint64_t first = (uint64_t)json_integer_value(runs) - count;
    for (uint64_t i = 0; i < count; i++) {
        json_t *item = json_array_get(list, i);
        if (!json_is_integer(item) || json_integer_value(item) < 0)
            return error_set(e, ERROR_FORMAT, "latencies_ns[%llu] is not a number of nanoseconds",
                             (unsigned long long)i);
        w->ring->latency_ns[(first + i) % w->ring_capacity] = (uint64_t)json_integer_value(item);
    }
    __atomic_store_n(shared_count(w), first + count, __ATOMIC_RELEASE);
    w->stored = count;
    return 0;
}

size_t worker_latencies(const struct worker *w, uint64_t *latency_ns, size_t capacity,
                        uint64_t *runs)
{
    uint64_t count = __atomic_load_n(&w->ring->count, __ATOMIC_ACQUIRE);
    uint64_t n = count;
    if (n > w->ring_capacity)
        n = w->ring_capacity;
    if (n > w->stored)
        n = w->stored;
    if (n > capacity)
        n = capacity;
    for (uint64_t i = 0; i < n; i++)
        latency_ns[i] = w->ring->latency_ns[(count - n + i) % w->ring_capacity];
    *runs = count;
    return (size_t)n;
}

/* Sizes are what the worker claims: they must not take the memory that everybody needs. */
static int check_size(size_t bytes, struct error *e)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    if (pages <= 0 || page <= 0 || bytes <= (size_t)pages * (size_t)page / 2)
        return 0;
    error_set(e, ERROR_MEMORY, "inputs and outputs of %zu bytes are more than half of this machine's "
              "memory", bytes);
    return error_hint(e, "take a smaller batch (-b), or smaller inputs (--shape)");
}

/* The file's size: a worker may have grown it for its outputs. */
static int grow(int fd, size_t bytes, struct error *e)
{
    struct stat st;
    if (fstat(fd, &st))
        return error_errno(e, errno, "cannot inspect a worker's tensor memory");
    if ((uint64_t)st.st_size >= bytes)
        return 0;
    if (bytes > INT64_MAX / 2 || ftruncate(fd, (off_t)bytes))
        return error_errno(e, bytes > INT64_MAX / 2 ? ENOMEM : errno,
                           "cannot grow a worker's tensor memory to %zu bytes", bytes);
    return 0;
}

int worker_tensors(struct worker *w, size_t bytes, uint8_t **data, struct error *e)
{
    size_t wanted = bytes ? bytes : 1;
    if (wanted > w->tensor_bytes) {
        int code = check_size(wanted, e);
        if (!code)
            code = grow(w->tensor_fd, wanted, e);
        if (code)
            return code;
        void *p = map(w->tensor_fd, wanted);
        if (!p)
            return error_errno(e, errno, "cannot map %zu bytes of a worker's tensor memory",
                               wanted);
        if (w->tensors)
            munmap(w->tensors, w->tensor_bytes);
        w->tensors = p;
        w->tensor_bytes = wanted;
    }
    *data = w->tensors;
    return 0;
}
