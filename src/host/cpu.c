#include "host/parts.h"
#include "host/source.h"

#include "base/error.h"
#include "base/text.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CPUINFO_BYTES (1u << 20)
#define CPU_DIR "/sys/devices/system/cpu"

static int number_field(const char *text, const char *key)
{
    char value[24];
    int64_t n;
    if (!source_field(text, key, ':', value, sizeof value) ||
        text_to_int(value, key, 0, 1 << 30, &n, NULL))
        return -1;
    return (int)n;
}

/* The widest first: a CPU with the first has the rest. */
static void widest_isa(const char *flags, char isa[32])
{
    static const char *const extensions[] = {
        "amx_int8", "avx512_vnni", "avx512f", "avx_vnni", "avx2", "avx", "sse4_2", "sse2", /* x86 */
        "sve2", "sve", "asimd",                                                            /* Arm */
    };
    for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++)
        if (source_word(flags, extensions[i])) {
            snprintf(isa, 32, "%s", extensions[i]);
            return;
        }
}

static void describe(struct host_cpu *cpu, const char *info)
{
    static char *const names[] = {"model name", "Processor", "cpu", "Hardware"};
    char flags[4096];
    for (size_t i = 0; i < 4 && !cpu->model[0]; i++)
        source_field(info, names[i], ':', cpu->model, sizeof cpu->model);
    source_field(info, "vendor_id", ':', cpu->vendor, sizeof cpu->vendor);
    source_field(info, "microcode", ':', cpu->microcode, sizeof cpu->microcode);
    if (!source_field(info, "flags", ':', flags, sizeof flags))
        source_field(info, "Features", ':', flags, sizeof flags);
    widest_isa(flags, cpu->isa);
    cpu->hypervisor = source_word(flags, "hypervisor");
    cpu->family = number_field(info, "cpu family");
    cpu->number = number_field(info, "model");
    cpu->stepping = number_field(info, "stepping");
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Counts the different packages and (package, core) pairs; ids holds package << 32 | core. */
static void count_unique(struct host_cpu *cpu, uint64_t *ids, int count)
{
    cpu->packages = cpu->cores = 0;
    qsort(ids, (size_t)count, sizeof *ids, compare);
    for (int i = 0; i < count; i++) {
        cpu->cores += i == 0 || ids[i] != ids[i - 1];
        cpu->packages += i == 0 || ids[i] >> 32 != ids[i - 1] >> 32;
    }
}

static void topology(struct host_cpu *cpu, const char *sysroot, const unsigned char *online,
                     uint64_t *ids)
{
    int count = 0;
    for (int i = 0; i < SOURCE_CPU_MAX; i++) {
        if (!online[i])
            continue;
        int64_t package = source_number(sysroot, CPU_DIR "/cpu%d/topology/physical_package_id", i);
        int64_t core = source_number(sysroot, CPU_DIR "/cpu%d/topology/core_id", i);
        if (core < 0)
            core = 0x10000 + i; /* unknown: a core of its own */
        ids[count++] = (uint64_t)(package < 0 ? 0 : package & 0xffff) << 32 |
                       (uint64_t)(core & 0xffffffff);
    }
    cpu->threads = count;
    count_unique(cpu, ids, count);
}

/* Without sysfs: the same out of cpuinfo, one paragraph a logical CPU. */
static void topology_of_cpuinfo(struct host_cpu *cpu, char *info, uint64_t *ids)
{
    int count = 0;
    for (char *p = info; p && *p && count < SOURCE_CPU_MAX;) {
        char *end = strstr(p, "\n\n");
        if (end)
            *end = '\0';
        if (number_field(p, "processor") >= 0) {
            int package = number_field(p, "physical id"), core = number_field(p, "core id");
            ids[count] = (uint64_t)(package < 0 ? 0 : package) << 32 |
                         (uint64_t)(core < 0 ? 0x10000 + count : core);
            count++;
        }
        p = end ? end + 2 : NULL;
    }
    cpu->threads = count;
    count_unique(cpu, ids, count);
}

/* A recorded tree has it in the status file. */
static int allowed_in_tree(const char *sysroot, int threads)
{
    char text[8192], list[512];
    unsigned char cpus[SOURCE_CPU_MAX];
    source_text(sysroot, text, sizeof text, "/proc/self/status");
    if (!source_field(text, "Cpus_allowed_list", ':', list, sizeof list))
        return threads;
    int count = source_cpu_list(list, cpus);
    return count ? count : threads;
}

/* What runs, runs here: a recorded tree can only take away of what this machine's scheduler gives. */
static int allowed(const char *sysroot, int threads)
{
    cpu_set_t set;
    int here = sched_getaffinity(0, sizeof set, &set) ? 0 : CPU_COUNT(&set);
    if (!*sysroot && here)
        return here;
    int there = allowed_in_tree(sysroot, threads);
    return here && here < there ? here : there;
}

/* The same on all CPUs, or "mixed". */
static void governor(struct host_cpu *cpu, const char *sysroot, const unsigned char *online)
{
    for (int i = 0; i < SOURCE_CPU_MAX; i++) {
        char name[32];
        if (!online[i] || source_line(sysroot, name, sizeof name,
                                      CPU_DIR "/cpu%d/cpufreq/scaling_governor", i))
            continue;
        if (!cpu->governor[0])
            snprintf(cpu->governor, sizeof cpu->governor, "%s", name);
        else if (strcmp(cpu->governor, name))
            snprintf(cpu->governor, sizeof cpu->governor, "mixed");
    }
}

static int flag(int64_t value, int64_t on)
{
    return value < 0 ? -1 : value == on;
}

static void clocks(struct host_cpu *cpu, const char *sysroot)
{
    source_line(sysroot, cpu->driver, sizeof cpu->driver, CPU_DIR "/cpu0/cpufreq/scaling_driver");
    int64_t no_turbo = source_number(sysroot, CPU_DIR "/intel_pstate/no_turbo");
    cpu->turbo = no_turbo >= 0 ? flag(no_turbo, 0)
                               : flag(source_number(sysroot, CPU_DIR "/cpufreq/boost"), 1);
    cpu->smt = flag(source_number(sysroot, CPU_DIR "/smt/active"), 1);
    int64_t khz = source_number(sysroot, CPU_DIR "/cpu0/cpufreq/cpuinfo_max_freq");
    cpu->max_mhz = khz < 0 ? NAN : (double)khz / 1000;
}

int host_cpu_read(struct host_cpu *cpu, const char *sysroot)
{
    *cpu = (struct host_cpu){.family = -1};
    char list[4096];
    unsigned char online[SOURCE_CPU_MAX];
    uint64_t *ids = malloc(SOURCE_CPU_MAX * sizeof *ids);
    char *info = malloc(CPUINFO_BYTES);
    if (ids && info) {
        source_text(sysroot, info, CPUINFO_BYTES, "/proc/cpuinfo");
        describe(cpu, info);
        source_line(sysroot, list, sizeof list, CPU_DIR "/online");
        if (source_cpu_list(list, online))
            topology(cpu, sysroot, online, ids);
        else
            topology_of_cpuinfo(cpu, info, ids);
        governor(cpu, sysroot, online);
        clocks(cpu, sysroot);
        cpu->allowed = allowed(sysroot, cpu->threads);
    }
    int result = ids && info ? 0 : ERROR_MEMORY;
    free(ids);
    free(info);
    return result;
}

json_t *host_caches(const char *sysroot)
{
    json_t *list = json_array();
    for (int i = 0; list && i < 16; i++) {
        char type[16], size[16], shared[64];
        int64_t level = source_number(sysroot, CPU_DIR "/cpu0/cache/index%d/level", i);
        if (level < 0)
            break;
        source_line(sysroot, type, sizeof type, CPU_DIR "/cpu0/cache/index%d/type", i);
        source_line(sysroot, size, sizeof size, CPU_DIR "/cpu0/cache/index%d/size", i);
        source_line(sysroot, shared, sizeof shared, CPU_DIR "/cpu0/cache/index%d/shared_cpu_list",
                    i);
        json_t *cache = json_pack("{s:I, s:s, s:s, s:s}", "level", (json_int_t)level, "type", type,
                                  "size", size, "shared", shared);
        if (!cache || json_array_append_new(list, cache)) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}
