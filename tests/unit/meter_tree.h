/* meter_tree.h: system trees that tests build, and counters with known joules in them. */
#ifndef WATTLE_METER_TREE_H
#define WATTLE_METER_TREE_H

#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <wattle/meter.h>

#define TREE_POWERCAP "/sys/class/powercap/"
#define TREE_INTEL_NJ 61035ull
#define TREE_AMD_NJ 15258ull
#define TREE_DRAM_NJ 15300ull
#define TREE_PSYS_NJ 1000000000ull

static char tree_root[64];

/* A fresh folder; in memory where that is possible, for files written while they are read. */
static int tree_begin(void **state)
{
    (void)state;
    strcpy(tree_root, "/dev/shm/wattle-test-XXXXXX");
    if (mkdtemp(tree_root))
        return 0;
    strcpy(tree_root, "/tmp/wattle-test-XXXXXX");
    return mkdtemp(tree_root) ? 0 : -1;
}

static int tree_end(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "chmod -R u+rwx %s; rm -rf %s", tree_root, tree_root);
    return system(command);
}

static inline const char *tree_path(const char *path)
{
    static char full[4][512];
    static unsigned next;
    char *p = full[next++ % 4];
    snprintf(p, sizeof full[0], "%s%s", tree_root, path);
    return p;
}

static inline void tree_folder(const char *path)
{
    char *full = strdup(tree_path(path));
    size_t root = strlen(tree_root);
    for (char *p = full + root; *p; p++) {
        if (*p != '/' || p == full + root)
            continue;
        *p = '\0';
        mkdir(full, 0755);
        *p = '/';
    }
    mkdir(full, 0755);
    free(full);
}

/* Writes in place: a reader keeps its descriptor, as it does in sysfs. */
static inline void tree_bytes(const char *path, const void *bytes, size_t size)
{
    char folder[512];
    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = '\0';
    tree_folder(folder);
    int fd = open(tree_path(path), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
        abort();
    close(fd);
}

__attribute__((format(printf, 2, 3)))
static inline void tree_write(const char *path, const char *format, ...)
{
    char text[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    tree_bytes(path, text, strlen(text));
}

/* A counter as the kernel shows it: 32 bits of the unit, in whole uJ. */
struct tree_counter {
    char path[96];    /* of energy_uj */
    uint64_t unit_nj;
    double units;     /* since the machine started; fractions wait for the next update */
};

static inline uint64_t tree_raw_uj(uint64_t unit_nj, double units)
{
    return ((uint64_t)units & 0xffffffffull) * unit_nj / 1000;
}

static inline void tree_store(const struct tree_counter *c)
{
    tree_write(c->path, "%llu\n", (unsigned long long)tree_raw_uj(c->unit_nj, c->units));
}

static inline void tree_joules(struct tree_counter *c, double joules)
{
    c->units += joules * 1e9 / (double)c->unit_nj;
    tree_store(c);
}

/* A zone with a counter that stands at start_j. */
static inline struct tree_counter tree_zone(const char *id, const char *name, uint64_t unit_nj,
                                            double start_j)
{
    char path[96];
    struct tree_counter c = {.unit_nj = unit_nj, .units = start_j * 1e9 / (double)unit_nj};
    snprintf(path, sizeof path, TREE_POWERCAP "%s/name", id);
    tree_write(path, "%s\n", name);
    snprintf(path, sizeof path, TREE_POWERCAP "%s/max_energy_range_uj", id);
    tree_write(path, "%llu\n", 4294967295ull * unit_nj / 1000);
    snprintf(c.path, sizeof c.path, TREE_POWERCAP "%s/energy_uj", id);
    tree_store(&c);
    return c;
}

static inline void tree_cpuinfo(const char *vendor, int family, int model, const char *flags)
{
    tree_write("/proc/cpuinfo",
               "processor\t: 0\nvendor_id\t: %s\ncpu family\t: %d\nmodel\t\t: %d\n"
               "model name\t: test\nsiblings\t: 4\ncpu cores\t: 2\nflags\t\t: fpu %s sse2\n\n"
               "processor\t: 1\n\nprocessor\t: 2\n\nprocessor\t: 3\n",
               vendor, family, model, flags);
}

/* A clock that moves when the test says so. */
static uint64_t tree_now_ns = 1000000000000ull;

static inline uint64_t tree_clock(void *context)
{
    (void)context;
    return tree_now_ns;
}

static inline struct wattle_meter *tree_open(const char *name)
{
    struct wattle_meter_options options = {.size = sizeof options, .sysroot = tree_root,
                                           .now_ns = tree_clock};
    struct wattle_meter *meter = NULL;
    return wattle_meter_open(name, &options, &meter, NULL) ? NULL : meter;
}

/* The index of a domain, or -1. */
static inline int tree_domain(const struct wattle_meter *meter, const char *name)
{
    for (size_t i = 0; i < wattle_meter_domain_count(meter); i++)
        if (!strcmp(wattle_meter_domain(meter, i)->name, name))
            return (int)i;
    return -1;
}

#endif
