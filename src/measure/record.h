/* record.h: what one block gave: the row that measure makes, store keeps and report reads.
 * A missing number is NaN (or 0 runs), and `error`, `energy.reason` or `reasons` says why. */
#ifndef WATTLE_MEASURE_RECORD_H
#define WATTLE_MEASURE_RECORD_H

#include "base/error.h"
#include "host/host.h"

#include <wattle/meter.h>

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

enum { RECORD_METER_MAX = 8, RECORD_OUTPUT_MAX = 256 };

/* One meter over one window: its domains and all readings, enough to recompute the joules. */
struct record_meter {
    char name[32];
    size_t domain_count;
    struct wattle_domain *domains;     /* [domain_count] */
    size_t sample_count;               /* the first is the window's begin, the last its end */
    struct wattle_reading *samples;    /* [sample_count][domain_count] */
    struct wattle_estimate_box box;    /* of the estimate; zero otherwise */
    struct wattle_energy energy;       /* of the window */
};

#define RECORD_UNKNOWN UINT64_MAX /* a count that the worker did not give */

struct record {
    int64_t number;            /* block of its cell, 1.. */
    uint64_t started_ns;       /* CLOCK_REALTIME: a date */
    struct error error;        /* code 0: the block completed */
    char log[4096];            /* the worker's last words when it failed */

    char runtime_version[64], library[256], provider[64]; /* as the worker reported */
    json_t *settings;          /* effective, object */
    json_t *environment;       /* object */
    json_t *shapes;            /* {"inputs":[...],"outputs":[...]} as the worker reported */

    double load_ms, first_ms;
    uint64_t warmup_runs;
    double warmup_s;
    int warmup_stable;

    uint64_t runs;             /* inferences (of one batch) in the window */
    double wall_s;             /* of the window */
    double user_s, system_s;   /* CPU time of the worker in the window; NaN: it gave none */
    /* Each RECORD_UNKNOWN where the worker gave none. */
    uint64_t minor_faults, major_faults, voluntary_switches, involuntary_switches;
    uint64_t rss_peak_bytes;   /* 0 unknown */
    uint64_t device_memory_peak_bytes; /* held on accelerators after the window; 0 not known */
    char device_memory_reason[192];    /* why not known; "" where no accelerator is used */
    uint64_t *latency_ns;      /* [latency_count], in order; the newest if the ring overflowed */
    size_t latency_count;

    struct record_meter meters[RECORD_METER_MAX];
    size_t meter_count;
    int energy_meter;          /* index of the one whose energy is the row's; -1 none */
    char energy_reason[192];   /* why none */

    struct host_noise noise_before, noise_after;
    enum verdict verdict;
    json_t *reasons;           /* array of strings */
};

void record_init(struct record *r);    /* NaNs, empty JSON */
void record_release(struct record *r); /* frees what it owns; fine after record_init */

/* The first size that all loaded inputs of two sizes and more share: what the batch is where
 * neither the user nor a file that wattle reads tells it. 1 when they differ. */
int64_t record_loaded_batch(json_t *inputs);

/* Agreement of one cell's outputs with the reference cell's, on the same inputs. */
struct agreement {
    char reference[192];       /* "builtin:reference"; "" when nothing was compared */
    double max_rel_error;      /* NaN when not compared */
    int ok;                    /* -1 not compared, 0 differs, 1 agrees */
    char detail[192];          /* "output[0,17]: 0.31 against 0.42", or why not compared */
};

#endif
