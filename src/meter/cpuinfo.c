#include "meter/meter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* 4096 CPUs with 2 KiB of flags each. */
#define CPUINFO_MAX (8u << 20)

static int is_field(const char *line, const char *name, const char **value)
{
    size_t n = strlen(name);
    if (strncmp(line, name, n))
        return 0;
    const char *p = line + n;
    while (*p == ' ' || *p == '\t')
        p++;
    if (*p != ':')
        return 0;
    *value = p + 1;
    return 1;
}

static int number(const char *value, int low, int high)
{
    long n = strtol(value, NULL, 10);
    return n < low ? low : n > high ? high : (int)n;
}

static void take_line(struct meter_cpu *cpu, const char *line, int *siblings, int *cores)
{
    const char *value;
    if (is_field(line, "processor", &value)) {
        cpu->threads++;
    } else if (is_field(line, "vendor_id", &value)) {
        cpu->amd = strstr(value, "AuthenticAMD") || strstr(value, "HygonGenuine");
        cpu->intel = strstr(value, "GenuineIntel") != NULL;
    } else if (is_field(line, "cpu family", &value)) {
        cpu->family = number(value, 0, 0xffff);
    } else if (is_field(line, "model", &value)) {
        cpu->model = number(value, 0, 0xffff);
    } else if (is_field(line, "siblings", &value)) {
        *siblings = number(value, 1, 4096);
    } else if (is_field(line, "cpu cores", &value)) {
        *cores = number(value, 1, 4096);
    } else if (is_field(line, "flags", &value)) {
        cpu->hypervisor = strstr(value, " hypervisor") != NULL;
    }
}

void meter_cpu_read(struct meter_cpu *cpu, const char *sysroot)
{
    *cpu = (struct meter_cpu){.threads = 0};
    int siblings = 1, cores = 1;
    char path[PATH_MAX], line[8192];
    int fd = meter_path(path, sysroot, "/proc/cpuinfo") ? -1 : meter_file_open(path);
    FILE *stream = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (!stream && fd >= 0)
        close(fd);
    if (stream) {
        cpu->present = 1;
        for (size_t used = 0; used < CPUINFO_MAX && fgets(line, sizeof line, stream);
             used += strlen(line) + 1)
            take_line(cpu, line, &siblings, &cores);
        fclose(stream);
    }
    if (cpu->threads < 1)
        cpu->threads = 1;
    /* siblings and cores are of one package; their ratio is the threads of a core. */
    cpu->cores = (int)((long)cpu->threads * cores / siblings);
    if (cpu->cores < 1 || cpu->cores > cpu->threads)
        cpu->cores = cpu->threads;
}
