/* host.h: what machine this is, and whether it was quiet enough. */
#ifndef WATTLE_HOST_HOST_H
#define WATTLE_HOST_HOST_H

#include "base/error.h"

#include <jansson.h>
#include <stdint.h>

/* The facts that identify a machine and its state, for the store; also drives `wattle doctor`. */
struct host {
    char cpu[96];           /* "AMD EPYC" */
    char virtualization[32]; /* "kvm", "docker", "kvm, docker", "" when none is seen */
    int packages, cores, threads; /* online; threads = logical CPUs this process may use;
                                     0 unknown */
    uint64_t memory_bytes;        /* 0 unknown */
    char kernel[96], os[96], governor[32];
    int turbo;              /* 1 on, 0 off, -1 unknown */
    char isa[32];           /* widest vector extension: "avx512_vnni", "avx2", ... */
    char sysroot[96];       /* the tree that all of this is read from; "" the machine itself */
    json_t *fingerprint;    /* object: all of it and more (microcode, caches, limits); owned */
};

/* sysroot: prefix of every /proc and /sys path; "" is the machine itself. Missing files give empty
 * fields, never a failure; fails only without memory. */
int host_read(struct host *h, const char *sysroot, struct error *e);
void host_release(struct host *h);
/* "AMD EPYC (virtual, kvm), 2 cores"; of a tree: "...; simulated: /sys and /proc of DIR" */
void host_title(const struct host *h, char *text, size_t size);

/* A snapshot before and after a window. */
struct host_noise {
    uint64_t time_ns, boottime_ns; /* their difference shows a suspend */
    uint64_t busy_ns, idle_ns, steal_ns; /* of all CPUs, /proc/stat */
    uint64_t swap_in_pages, swap_out_pages;
    uint64_t throttle_count;       /* sum over CPUs; 0 when unknown */
    double load_1min;              /* NaN unknown */
    double frequency_mhz;          /* mean of the CPUs; NaN unknown */
    double temperature_c;          /* highest; NaN unknown */
    int on_battery;                /* 1 only when known to be */
};
void host_noise_read(struct host_noise *n, const char *sysroot);

enum verdict { VERDICT_VALID, VERDICT_SUSPECT, VERDICT_INVALID };
const char *verdict_name(enum verdict v); /* "VALID", "SUSPECT", "INVALID" */

/* Judges the time between two snapshots in which the worker itself used worker_cpu_ns. Appends one
 * text per finding to the JSON array reasons ("CPU time stolen by the hypervisor: 3.1 % ...: run on
 * a quieter machine"); returns the verdict. The thresholds are constants in noise.c. */
enum verdict host_noise_judge(const struct host_noise *before, const struct host_noise *after,
                              uint64_t worker_cpu_ns, json_t *reasons);

#endif
