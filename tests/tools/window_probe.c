/* window_probe.c: preloaded into a worker by tests. Between wattle_window_hook(1) and (0) it counts
 * allocations of the whole process (those of C++'s operator new apart: a C++ library's own) and,
 * from /proc/self/io, calls of the read and write kind; at (0) it appends the five counts as a line
 * to the file named by WINDOW_PROBE.
 *
 *     cc -shared -fPIC -O2 -o window_probe.so window_probe.c
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* glibc's own names of what is replaced here. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void wattle_window_hook(int inside);

struct io {
    unsigned long long reads, writes;
};

static atomic_int inside_window;
static atomic_ullong allocations, cxx_allocations, maps;
static uintptr_t cxx_new; /* operator new(size_t), if any: a few instructions round malloc */
enum { CXX_NEW_BYTES = 128 };
static struct io before, cost; /* cost: what one look at /proc/self/io adds to it */

static void count(atomic_ullong *counter)
{
    if (atomic_load_explicit(&inside_window, memory_order_relaxed))
        atomic_fetch_add(counter, 1);
}

void *malloc(size_t size)
{
    uintptr_t caller = (uintptr_t)__builtin_return_address(0);
    int is_cxx = cxx_new && caller >= cxx_new && caller - cxx_new < CXX_NEW_BYTES;
    count(is_cxx ? &cxx_allocations : &allocations);
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    count(&allocations);
    return __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
    count(&allocations);
    return __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size)
{
    count(&allocations);
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    *out = memalign(alignment, size);
    return *out ? 0 : 12;
}

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    count(&maps);
    return (void *)syscall(SYS_mmap, address, size, protection, flags, fd, offset);
}

static unsigned long long value_of(const char *text, const char *name)
{
    const char *line = strstr(text, name);
    if (!line)
        abort();
    return strtoull(line + strlen(name), NULL, 10);
}

static struct io look(void)
{
    char text[1024];
    int fd = open("/proc/self/io", O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        abort();
    text[n] = '\0';
    return (struct io){value_of(text, "syscr:"), value_of(text, "syscw:")};
}

static void tell(struct io after)
{
    char line[128];
    int size = snprintf(line, sizeof line, "%llu %llu %llu %llu %llu\n", allocations,
                        cxx_allocations, maps,
                        after.reads - before.reads - cost.reads,
                        after.writes - before.writes - cost.writes);
    int fd = open(getenv("WINDOW_PROBE"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (write(fd, line, (size_t)size) != size)
        abort();
    close(fd);
}

void wattle_window_hook(int inside)
{
    if (inside) {
        cxx_new = (uintptr_t)dlsym(RTLD_DEFAULT, "_Znwm");
        struct io first = look();
        before = look();
        cost = (struct io){before.reads - first.reads, before.writes - first.writes};
        allocations = cxx_allocations = maps = 0;
        inside_window = 1;
    } else {
        inside_window = 0;
        tell(look());
    }
}
