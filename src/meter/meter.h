/* meter.h: what the drivers and the shared code of this folder see of each other.
 *
 * A driver is one file with one struct meter_driver and one line in METERS below. Its open() adds
 * domains with meter_add(); its read() fills one reading per domain. Drivers that read a cumulative
 * counter hand raw values to counter.h, which folds wraps and judges them. A meter is used by one
 * thread at a time. This folder takes error.h, clock.h and nothing else of base, so that the
 * archive links with libc and libm alone.
 */
#ifndef WATTLE_METER_METER_H
#define WATTLE_METER_METER_H

#include "base/error.h"
#include "meter/counter.h"

#include <wattle/meter.h>

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

/* The drivers offered by wattle_meter_names(), best first: a further meter is a line here. */
#define METERS(X)                                                                                  \
    X(powercap)                                                                                    \
    X(estimate)
/* Opened by name only. */
#define METERS_UNLISTED(X) X(fake)

struct meter_driver {
    const char *name;
    /* Adds at least one domain. Nonzero (ERROR_MEMORY) only for lack of memory; close() is called
     * all the same. What the machine lacks is a domain with a status and a text. */
    int (*open)(struct wattle_meter *meter);
    void (*read)(struct wattle_meter *meter, struct wattle_reading *out);
    void (*close)(struct wattle_meter *meter); /* frees meter->state; may be half built */
};

#define METER_DECLARE(id) extern const struct meter_driver meter_##id;
METERS(METER_DECLARE)
METERS_UNLISTED(METER_DECLARE)
#undef METER_DECLARE

enum { METER_NOTE_SIZE = 104 }; /* fits wattle_energy.reason with more beside it */

struct wattle_meter {
    const struct meter_driver *driver;
    struct wattle_meter_options options; /* options.sysroot is our own copy, never NULL */
    char *sysroot;
    void *state;                         /* the driver's */
    size_t count;
    struct wattle_domain domains[WATTLE_DOMAIN_MAX];
    struct counter counters[WATTLE_DOMAIN_MAX];
    uint64_t poll_ns;
    char note[METER_NOTE_SIZE];        /* weakens every figure: "memory not measured" */
    char doubt[METER_NOTE_SIZE];       /* while not empty there is no figure, for this reason */

    /* Set by wattle_meter_edge: a reading of domain i taken at edge_ns[i] lies at most slack_ns[i]
     * behind an update of the counter. 0 when no edge was seen. */
    uint64_t edge_ns[WATTLE_DOMAIN_MAX], slack_ns[WATTLE_DOMAIN_MAX];

    /* CLOCK_BOOTTIME, to see a suspend; NULL with a caller's own clock. Tests replace it. */
    uint64_t (*boot_ns)(void);
    uint64_t suspended_ns;               /* boot - monotonic at the last read */
};

uint64_t meter_now_ns(const struct wattle_meter *meter);

/* Appends a domain, all zero but for status and in_total; NULL when there is no room. */
struct wattle_domain *meter_add(struct wattle_meter *meter, const char *name);
/* Appends one domain that stands for the meter and says why there is nothing to read. */
void meter_add_missing(struct wattle_meter *meter, const char *path, enum wattle_status status,
                       const char *format, ...) __attribute__((format(printf, 4, 5)));
void meter_text(struct wattle_domain *domain, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* files.c: system files, of which nothing is trusted. Results are 0 or a negative errno;
 * -EBADMSG is text that is not what it should be. */

/* sysroot + path; -ENAMETOOLONG when that does not fit. */
int meter_path(char out[PATH_MAX], const char *sysroot, const char *path);
/* A descriptor of a regular file (never blocks on a FIFO), or a negative errno; -EINVAL when it is
 * something else. */
int meter_file_open(const char *path);
/* The start of the file, NUL-terminated; returns the bytes read. */
int meter_file_pread(int fd, char *text, size_t size);
/* The file is one decimal number of at most METER_VALUE_MAX and a newline. */
int meter_file_value(int fd, uint64_t *value);
#define METER_VALUE_MAX 1000000000000000000ull /* 1e18 uJ: far above any counter's range */
int meter_parse_value(const char *text, size_t size, uint64_t *value);
/* Opens, reads one value or one line of printable text, closes. */
int meter_path_value(const char *path, uint64_t *value);
int meter_path_line(const char *path, char *line, size_t size);
/* For texts: "text that is not a number" for -EBADMSG, else what errno says. */
const char *meter_reason(int code);

/* cpuinfo.c: the few facts of <sysroot>/proc/cpuinfo that drivers need. */
struct meter_cpu {
    int present;    /* the file could be read */
    int hypervisor; /* this is a virtual machine */
    int amd, intel; /* AMD includes Hygon, which has the same counters */
    int family, model;
    int threads, cores; /* online; at least 1 */
};
void meter_cpu_read(struct meter_cpu *cpu, const char *sysroot);

#endif
