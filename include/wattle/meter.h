/* wattle/meter.h: energy sources of this machine, read honestly.
 *
 * A meter (powercap, estimate, ...) has domains (package-0, dram, psys, ...). Opening finds the
 * domains that exist; each read gives every domain a monotonic 64-bit total since open, or a
 * status that says why not and text that says what would fix it. Joules that were not measured
 * are never reported as measured: provenance says which, and the estimate gives an interval.
 *
 *     struct wattle_meter *meter;
 *     char error[WATTLE_ERROR_MAX];
 *     struct wattle_meter_options options = {.size = sizeof options};
 *     if (!wattle_meter_open("powercap", &options, &meter, error)) {
 *         struct wattle_reading a[WATTLE_DOMAIN_MAX], b[WATTLE_DOMAIN_MAX];
 *         wattle_meter_read(meter, a);
 *         work();
 *         wattle_meter_read(meter, b);
 *         struct wattle_energy energy;
 *         wattle_meter_energy(meter, a, b, &energy);   // sum of packages and drams, error bound
 *         wattle_meter_close(meter);
 *     }
 */
#ifndef WATTLE_METER_H
#define WATTLE_METER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef WATTLE_ERROR_MAX
#define WATTLE_ERROR_MAX 512
#endif

struct wattle_meter;

enum { WATTLE_DOMAIN_MAX = 64 };

enum wattle_status {
    WATTLE_OK,
    WATTLE_PERM,   /* there, but not readable by this user */
    WATTLE_ABSENT, /* this machine has no such source */
    WATTLE_MASKED, /* the folder is there but empty: hidden by a container */
    WATTLE_STUCK,  /* did not advance over >= 100 ms while the CPU worked: never reported as 0 J */
    WATTLE_RESET,  /* went back by more than a plausible wrap: the interval is dropped */
    WATTLE_ERROR,  /* EIO, ENODATA, text that is not a number, ... */
};
const char *wattle_status_name(enum wattle_status status); /* "OK", "PERM", ... */

enum wattle_provenance {
    WATTLE_NONE,       /* no figure */
    WATTLE_MEASURED,   /* an energy counter */
    WATTLE_INTEGRATED, /* power samples only, integrated */
    WATTLE_ESTIMATED,  /* a model of time and CPU-seconds */
};
const char *wattle_provenance_name(enum wattle_provenance provenance); /* "measured", ... */

struct wattle_meter_options {
    size_t size;          /* sizeof this struct: later versions append */
    const char *sysroot;  /* prefix of every /sys, /proc and /dev path; NULL or "" is none */
    double tdp_w;         /* for the estimate: thermal design power of all packages; 0 unknown */
    uint64_t (*cpu_ns)(void *context); /* for the estimate: CPU time of what is measured; NULL is
                                          the busy time of the whole machine (/proc/stat) */
    void *cpu_context;
    uint64_t (*now_ns)(void *context); /* NULL is CLOCK_MONOTONIC; tests bring their own clock */
    void *now_context;
};

struct wattle_domain {
    char name[48];            /* "package-0", "dram-0", "psys", "estimate" */
    char scope[96];           /* what it covers, for people: "CPU package 0 with its cores" */
    char path[256];           /* the file or device it is read from */
    enum wattle_provenance provenance;
    int in_total;             /* 1 when part of the machine's sum (packages and drams), else 0 */
    enum wattle_status status; /* as found at open */
    char text[192];           /* when not OK: the reason, and what fixes it */
    double resolution_uj;     /* smallest step of the counter; 0 unknown */
    uint64_t period_ns;       /* time between updates; 0 continuous or unknown */
    double gain_uncertainty;  /* relative, e.g. 0.05; 0 unknown */
    uint64_t wrap_uj;         /* range of the raw counter; 0 does not wrap */
};

struct wattle_reading {
    enum wattle_status status;
    uint64_t time_ns;  /* CLOCK_MONOTONIC, middle of the read */
    uint64_t total_uj; /* since open, wraps folded in; for an estimate its central value */
    uint64_t low_uj;   /* bounds of the total: equal to it for a counter */
    uint64_t high_uj;
    uint32_t wraps;    /* since open */
    uint32_t gaps;     /* intervals dropped since open: resets, suspends, reads too far apart. A
                          failed read drops nothing: the next carries on from the last good one */
};

struct wattle_energy {
    enum wattle_provenance provenance; /* WATTLE_NONE when any domain of the sum has no figure */
    double j, low_j, high_j; /* NaN when NONE; low/high hold resolution, timing and model bounds */
    double seconds;
    char reason[192];        /* why NONE, or what weakens the figure; "" else */
};

/* The names of the compiled-in meters in order of preference; NULL-terminated, static. */
const char *const *wattle_meter_names(void);

/* ABSENT, MASKED and PERM are not failures of open: the meter is returned with its domains (or one
 * placeholder domain) carrying the status. Fails (positive code) for an unknown name or no memory.
 * With the real clock it waits until each counter has moved: about 1 ms, 100 ms for one that is
 * STUCK, 150 ms for AMD packages with several dies, whose counters may be one shown twice. */
int wattle_meter_open(const char *name, const struct wattle_meter_options *options,
                      struct wattle_meter **out, char *error);
void wattle_meter_close(struct wattle_meter *meter); /* NULL is fine */

const char *wattle_meter_name(const struct wattle_meter *meter);
size_t wattle_meter_domain_count(const struct wattle_meter *meter);
const struct wattle_domain *wattle_meter_domain(const struct wattle_meter *meter, size_t index);
/* 1 when every domain of the sum is OK: this meter can give a figure. */
int wattle_meter_usable(const struct wattle_meter *meter);

/* One reading per domain into out[domain_count]. About 1 us a domain. Must be called at least
 * every wattle_meter_poll_ns so that no wrap is missed. Never fails as a whole. */
void wattle_meter_read(struct wattle_meter *meter, struct wattle_reading *out);
/* The longest time between reads that is safe: 0 when there is no limit. */
uint64_t wattle_meter_poll_ns(const struct wattle_meter *meter);

/* Sleeps (never spins) until a counter has just advanced, at most timeout_ns, so that the start of
 * a window falls on an edge; fills out like wattle_meter_read. Returns 1 when an edge was seen; 0
 * at once where there is none to see (the estimate, a meter that cannot be read). */
int wattle_meter_edge(struct wattle_meter *meter, uint64_t timeout_ns, struct wattle_reading *out);

/* Energy between two readings of this meter: sum over in_total domains. A window in which a
 * counter did not move gives NONE (with reason STUCK from 100 ms on), as does one with a gap. The
 * bounds take the window's mean power for the power at its ends. */
void wattle_meter_energy(const struct wattle_meter *meter, const struct wattle_reading *begin,
                         const struct wattle_reading *end, struct wattle_energy *out);

/* The estimate's model: E = a x wall + b x cpu, with a and b anywhere in the box. */
struct wattle_estimate_box {
    double a_low_w, a_high_w; /* W while the machine is up, charged by the wall clock */
    double b_low_w, b_high_w; /* W of one busy core, charged by CPU time */
    char source[128];         /* where the box came from: "generic range", "--tdp 65" */
};
/* 0 on success; nonzero when the meter is not the estimate. */
int wattle_meter_estimate_box(const struct wattle_meter *meter, struct wattle_estimate_box *out);

#ifdef __cplusplus
}
#endif
#endif
