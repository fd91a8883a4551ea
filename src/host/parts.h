/* parts.h: what a host's description is made of. Each leaves "" or -1 for what it cannot find. */
#ifndef WATTLE_HOST_PARTS_H
#define WATTLE_HOST_PARTS_H

#include <jansson.h>
#include <stdint.h>

struct host_cpu {
    char model[96], vendor[32], microcode[24], isa[32], governor[32], driver[32];
    int family, number, stepping;       /* as the vendor counts them; -1 unknown */
    int hypervisor;                     /* the CPU says that it is a virtual one */
    int packages, cores, threads;       /* online */
    int allowed;                        /* logical CPUs this process may use */
    int turbo, smt;                     /* 1, 0, -1 unknown */
    double max_mhz;                     /* NaN unknown */
};
/* Nonzero only without memory. */
int host_cpu_read(struct host_cpu *cpu, const char *sysroot);
/* [{"level":1,"type":"Data","size":"32K","shared":"0-1"}, ...] of CPU 0; NULL without memory. */
json_t *host_caches(const char *sysroot);

struct host_place {
    char hypervisor[24], container[24]; /* "kvm", "docker"; "" none seen */
    double cpu_limit;                   /* CPUs that the control group grants; NaN no limit */
    int64_t memory_limit_bytes;         /* -1 no limit */
};
void host_place_read(struct host_place *place, const char *sysroot, int hypervisor_flag);

/* 1 on mains, 0 on battery, -1 not known (servers). */
int host_mains(const char *sysroot);

#endif
