#include "host/host.h"

#include "host/parts.h"
#include "host/source.h"

#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* -1 unknown: 0 bytes of swap are a fact. */
static int64_t meminfo_bytes(const char *sysroot, const char *key)
{
    char text[4096], value[32];
    int64_t kib;
    source_text(sysroot, text, sizeof text, "/proc/meminfo");
    if (!source_field(text, key, ':', value, sizeof value))
        return -1;
    value[strcspn(value, " ")] = '\0';
    return text_to_int(value, key, 0, INT64_MAX / 1024, &kib, NULL) ? -1 : kib * 1024;
}

static void read_os(char os[96], const char *sysroot)
{
    char text[4096], name[96];
    if (source_text(sysroot, text, sizeof text, "/etc/os-release"))
        source_text(sysroot, text, sizeof text, "/usr/lib/os-release");
    source_field(text, "PRETTY_NAME", '=', name, sizeof name);
    size_t n = strlen(name), quoted = n >= 2 && name[0] == '"' && name[n - 1] == '"';
    snprintf(os, 96, "%.*s", (int)(n - 2 * quoted), name + quoted);
}

/* "always [madvise] never" */
static void read_huge_pages(char mode[16], const char *sysroot)
{
    char text[64];
    mode[0] = '\0';
    source_line(sysroot, text, sizeof text, "/sys/kernel/mm/transparent_hugepage/enabled");
    const char *open = strchr(text, '['), *close = open ? strchr(open, ']') : NULL;
    if (close)
        snprintf(mode, 16, "%.*s", (int)(close - open - 1), open + 1);
}

/* A missing fact is null. */
static json_t *text_or_null(const char *text)
{
    return *text ? json_string(text) : json_null();
}

static json_t *number_or_null(int64_t value)
{
    return value >= 0 ? json_integer(value) : json_null();
}

static json_t *real_or_null(double value)
{
    return isnan(value) ? json_null() : json_real(value);
}

static json_t *flag_or_null(int value)
{
    return value < 0 ? json_null() : json_boolean(value);
}

static int numa_nodes(const char *sysroot)
{
    char list[256];
    unsigned char nodes[SOURCE_CPU_MAX];
    source_line(sysroot, list, sizeof list, "/sys/devices/system/node/online");
    int count = source_cpu_list(list, nodes);
    return count ? count : -1;
}

/* Only what stays the same while the machine is in the same state: runs on it are grouped by it. */
static int fingerprint(struct host *h, const char *sysroot, const struct host_cpu *cpu,
                       const struct host_place *place)
{
    char clocksource[32], huge_pages[16];
    source_line(sysroot, clocksource, sizeof clocksource,
                "/sys/devices/system/clocksource/clocksource0/current_clocksource");
    read_huge_pages(huge_pages, sysroot);
    struct {
        const char *key;
        json_t *value;
    } facts[] = {
        {"cpu", text_or_null(cpu->model)},
        {"vendor", text_or_null(cpu->vendor)},
        {"family", number_or_null(cpu->family)},
        {"model", number_or_null(cpu->number)},
        {"stepping", number_or_null(cpu->stepping)},
        {"microcode", text_or_null(cpu->microcode)},
        {"isa", text_or_null(cpu->isa)},
        {"packages", number_or_null(cpu->packages ? cpu->packages : -1)},
        {"cores", number_or_null(cpu->cores ? cpu->cores : -1)},
        {"threads", number_or_null(cpu->threads ? cpu->threads : -1)},
        {"threads_allowed", number_or_null(cpu->allowed ? cpu->allowed : -1)},
        {"smt", flag_or_null(cpu->smt)},
        {"numa_nodes", number_or_null(numa_nodes(sysroot))},
        {"caches", host_caches(sysroot)},
        {"cpu_limit", real_or_null(place->cpu_limit)},
        {"memory_bytes", number_or_null(h->memory_bytes ? (int64_t)h->memory_bytes : -1)},
        {"memory_limit_bytes", number_or_null(place->memory_limit_bytes)},
        {"swap_bytes", number_or_null(meminfo_bytes(sysroot, "SwapTotal"))},
        {"huge_pages", text_or_null(huge_pages)},
        {"kernel", text_or_null(h->kernel)},
        {"os", text_or_null(h->os)},
        {"governor", text_or_null(cpu->governor)},
        {"frequency_driver", text_or_null(cpu->driver)},
        {"frequency_max_mhz", real_or_null(cpu->max_mhz)},
        {"turbo", flag_or_null(cpu->turbo)},
        {"clocksource", text_or_null(clocksource)},
        {"hypervisor", text_or_null(place->hypervisor)},
        {"container", text_or_null(place->container)},
        {"mains_power", flag_or_null(host_mains(sysroot))},
    };
    int failed = 0;
    h->fingerprint = json_object();
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        failed |= json_object_set_new(h->fingerprint, facts[i].key, facts[i].value);
    return failed;
}

/* Printed and stored: no control characters, and of a long path the beginning. */
static void name_sysroot(char *name, size_t size, const char *sysroot)
{
    snprintf(name, size, "%s", sysroot);
    for (char *p = name; *p; p++)
        if (*p < ' ' || *p > '~')
            *p = '?';
}

int host_read(struct host *h, const char *sysroot, struct error *e)
{
    *h = (struct host){.turbo = -1};
    struct host_cpu cpu;
    struct host_place place;
    if (host_cpu_read(&cpu, sysroot))
        return error_memory(e);
    host_place_read(&place, sysroot, cpu.hypervisor);
    name_sysroot(h->sysroot, sizeof h->sysroot, sysroot);
    snprintf(h->cpu, sizeof h->cpu, "%s", cpu.model);
    snprintf(h->isa, sizeof h->isa, "%s", cpu.isa);
    snprintf(h->governor, sizeof h->governor, "%s", cpu.governor);
    snprintf(h->virtualization, sizeof h->virtualization, "%.14s%s%.14s", place.hypervisor,
             place.hypervisor[0] && place.container[0] ? ", " : "", place.container);
    h->packages = cpu.packages;
    h->cores = cpu.cores;
    h->threads = cpu.allowed;
    h->turbo = cpu.turbo;
    int64_t memory_bytes = meminfo_bytes(sysroot, "MemTotal");
    h->memory_bytes = memory_bytes > 0 ? (uint64_t)memory_bytes : 0;
    source_line(sysroot, h->kernel, sizeof h->kernel, "/proc/sys/kernel/osrelease");
    read_os(h->os, sysroot);
    if (!fingerprint(h, sysroot, &cpu, &place))
        return 0;
    host_release(h);
    return error_memory(e);
}

void host_release(struct host *h)
{
    json_decref(h->fingerprint);
    h->fingerprint = NULL;
}

/* "(R)" and "CPU @ 2.30GHz" tell nobody anything. */
static void short_model(const char *model, char *text, size_t size)
{
    static const char *const noise[] = {"(R)", "(r)", "(TM)", "(tm)", " Processor"};
    size_t used = 0;
    for (const char *p = model; *p && used + 1 < size;) {
        if (text_starts(p, " CPU @ ") || text_starts(p, " @ "))
            break;
        size_t skip = 0;
        for (size_t i = 0; i < sizeof noise / sizeof *noise && !skip; i++)
            skip = text_starts(p, noise[i]) ? strlen(noise[i]) : 0;
        if (skip)
            p += skip;
        else
            text[used++] = *p++;
    }
    text[used] = '\0';
}

void host_title(const struct host *h, char *text, size_t size)
{
    char model[96], place[48] = "", packages[16] = "", threads[48] = "", simulated[160] = "";
    int virtual_machine = !json_is_null(json_object_get(h->fingerprint, "hypervisor"));
    short_model(h->cpu[0] ? h->cpu : "unknown CPU", model, sizeof model);
    if (h->virtualization[0])
        snprintf(place, sizeof place, " (%s, %s)", virtual_machine ? "virtual" : "container",
                 h->virtualization);
    if (h->packages > 1)
        snprintf(packages, sizeof packages, "%d x ", h->packages);
    if (h->threads && h->threads != h->cores)
        snprintf(threads, sizeof threads, ", %d thread%s", h->threads, h->threads == 1 ? "" : "s");
    if (h->sysroot[0])
        snprintf(simulated, sizeof simulated, "; simulated: /sys and /proc of %s", h->sysroot);
    if (h->cores)
        snprintf(text, size, "%s%s%s, %d core%s%s%s", packages, model, place, h->cores,
                 h->cores == 1 ? "" : "s", threads, simulated);
    else
        snprintf(text, size, "%s%s%s", model, place, simulated);
}
