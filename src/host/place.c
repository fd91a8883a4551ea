/* Where the program runs: which hypervisor, which container, and what they grant. */
#include "host/parts.h"
#include "host/source.h"

#include "base/text.h"

#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

struct sign {
    const char *path, *text, *name;
};

static int matches(const char *sysroot, const struct sign *sign, char *text, size_t size)
{
    return !source_text(sysroot, text, size, "%s", sign->path) && strstr(text, sign->text);
}

/* Firmware names first, as these are exact; what the guest's clock says after. */
static void find_hypervisor(char name[24], const char *sysroot, int hypervisor_flag)
{
#define DMI "/sys/class/dmi/id/"
#define CLOCKS "/sys/devices/system/clocksource/clocksource0/available_clocksource"
    static const struct sign signs[] = {
        {DMI "sys_vendor", "VMware", "vmware"},
        {DMI "sys_vendor", "innotek", "virtualbox"},
        {DMI "sys_vendor", "Xen", "xen"},
        {DMI "sys_vendor", "Parallels", "parallels"},
        {DMI "sys_vendor", "QEMU", "kvm"},
        {DMI "product_name", "KVM", "kvm"},
        {DMI "product_name", "Google Compute Engine", "kvm"},
        {DMI "product_name", "Virtual Machine", "hyperv"},
        {"/sys/hypervisor/type", "xen", "xen"},
        {"/proc/device-tree/hypervisor/compatible", "kvm", "kvm"},
        {CLOCKS, "kvm-clock", "kvm"},
        {CLOCKS, "hyperv_clocksource", "hyperv"},
        {CLOCKS, "xen", "xen"},
    };
    char text[256];
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (matches(sysroot, &signs[i], text, sizeof text)) {
            snprintf(name, 24, "%s", signs[i].name);
            return;
        }
    if (hypervisor_flag)
        snprintf(name, 24, "unknown");
}

static void find_container(char name[24], const char *sysroot)
{
    static const struct sign groups[] = {
        {"/proc/1/cgroup", "kubepods", "kubernetes"},
        {"/proc/self/cgroup", "kubepods", "kubernetes"},
        {"/proc/1/cgroup", "docker", "docker"},
        {"/proc/1/cgroup", "lxc", "lxc"},
    };
    char text[2048];
    if (source_exists(sysroot, "/.dockerenv")) {
        snprintf(name, 24, "docker");
        return;
    }
    if (source_exists(sysroot, "/run/.containerenv")) {
        snprintf(name, 24, "podman");
        return;
    }
    if (!source_line(sysroot, text, 24, "/run/systemd/container") && text[0]) {
        snprintf(name, 24, "%s", text);
        return;
    }
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        if (matches(sysroot, &groups[i], text, sizeof text)) {
            snprintf(name, 24, "%s", groups[i].name);
            return;
        }
}

/* "max 100000" or "150000 100000" (v2); the two v1 files hold -1 for no limit. */
static double quota_at(const char *sysroot, int version, const char *group)
{
    char text[64];
    int64_t quota, period;
    if (version == 2) {
        if (source_line(sysroot, text, sizeof text, "/sys/fs/cgroup%s/cpu.max", group))
            return NAN;
        char *space = strchr(text, ' ');
        if (!space)
            return NAN;
        *space = '\0';
        if (text_to_int(text, "quota", 1, INT64_MAX, &quota, NULL) ||
            text_to_int(space + 1, "period", 1, INT64_MAX, &period, NULL))
            return NAN;
    } else {
        quota = source_number(sysroot, "/sys/fs/cgroup/cpu%s/cpu.cfs_quota_us", group);
        period = source_number(sysroot, "/sys/fs/cgroup/cpu%s/cpu.cfs_period_us", group);
        if (quota <= 0 || period <= 0)
            return NAN;
    }
    return (double)quota / (double)period;
}

/* A limit of more than this is how "none" is written in v1. */
#define NO_MEMORY_LIMIT (INT64_C(1) << 60)

static int64_t memory_at(const char *sysroot, int version, const char *group)
{
    int64_t bytes = version == 2
                        ? source_number(sysroot, "/sys/fs/cgroup%s/memory.max", group)
                        : source_number(sysroot, "/sys/fs/cgroup/memory%s/memory.limit_in_bytes",
                                        group);
    return bytes >= NO_MEMORY_LIMIT ? -1 : bytes;
}

/* The group's path in the hierarchy with this prefix of its line ("0::", ":cpu:", ":memory:"). */
static void group_path(const char *text, const char *mark, char group[512])
{
    group[0] = '\0';
    const char *p = strstr(text, mark);
    if (!p)
        return;
    p += strlen(mark);
    size_t n = strcspn(p, "\n");
    if (n < 512 && *p == '/')
        snprintf(group, 512, "%.*s", (int)n, p);
    /* The root, or a group outside of what this namespace shows. */
    if (!strcmp(group, "/") || strstr(group, ".."))
        group[0] = '\0';
}

/* A limit anywhere above binds too: the least on the way to the root. */
static void limits(struct host_place *place, const char *sysroot, int version, char group[512],
                   int cpu, int memory)
{
    for (;;) {
        double quota = cpu ? quota_at(sysroot, version, group) : NAN;
        int64_t bytes = memory ? memory_at(sysroot, version, group) : -1;
        place->cpu_limit = fmin(place->cpu_limit, quota); /* ignores a NaN */
        if (bytes >= 0 && (place->memory_limit_bytes < 0 || bytes < place->memory_limit_bytes))
            place->memory_limit_bytes = bytes;
        char *slash = strrchr(group, '/');
        if (!slash)
            return;
        *slash = '\0';
    }
}

void host_place_read(struct host_place *place, const char *sysroot, int hypervisor_flag)
{
    *place = (struct host_place){.cpu_limit = NAN, .memory_limit_bytes = -1};
    find_hypervisor(place->hypervisor, sysroot, hypervisor_flag);
    find_container(place->container, sysroot);
    char text[4096], group[512];
    source_text(sysroot, text, sizeof text, "/proc/self/cgroup");
    group_path(text, "0::", group);
    limits(place, sysroot, 2, group, 1, 1);
    group_path(text, ":cpu,cpuacct:", group);
    if (!group[0])
        group_path(text, ":cpu:", group);
    limits(place, sysroot, 1, group, 1, 0);
    group_path(text, ":memory:", group);
    limits(place, sysroot, 1, group, 0, 1);
}

int host_mains(const char *sysroot)
{
    char path[PATH_MAX], type[16];
    int mains = -1;
    if ((size_t)snprintf(path, sizeof path, "%s/sys/class/power_supply", sysroot) >= sizeof path)
        return -1;
    DIR *folder = opendir(path);
    const struct dirent *entry;
    for (int n = 0; folder && n < 64 && (entry = readdir(folder)); n++) {
        if (source_line(sysroot, type, sizeof type, "/sys/class/power_supply/%s/type",
                        entry->d_name))
            continue;
        int64_t online = source_number(sysroot, "/sys/class/power_supply/%s/online", entry->d_name);
        if ((!strcmp(type, "Mains") || !strcmp(type, "USB")) && online >= 0 && mains != 1)
            mains = online > 0;
    }
    if (folder)
        closedir(folder);
    return mains;
}
