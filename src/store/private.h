/* private.h: what store.c, write.c and read.c share. */
#ifndef WATTLE_STORE_PRIVATE_H
#define WATTLE_STORE_PRIVATE_H

#include "store/sql.h"
#include "store/store.h"

struct store {
    sqlite3 *db;
    char path[PATH_MAX];
};

/* Columns that are written and read in the same order. */
#define CAMPAIGN_COLUMNS "uuid, host_title, version, started_ns, command, seed, duration_s, blocks"
#define MODEL_COLUMNS "name, path, format, sha256, parameters, macs"
#define CELL_COLUMNS                                                                               \
    "model_position, model, path, format, runtime, variant, version, library, provider, "          \
    "provider_library, require_provider, precision, spin, options, shapes, batch, threads, "       \
    "instances, gap_ns, command, devices, form, artifact, how"
#define AGREEMENT_COLUMNS                                                                          \
    "agreement_reference, agreement_max_rel_error, agreement_ok, agreement_detail"
#define BLOCK_COLUMNS                                                                              \
    "number, started_ns, error_code, error_text, error_hint, log, runtime_version, library, "      \
    "provider, settings, environment, shapes, load_ms, first_ms, warmup_runs, warmup_s, "          \
    "warmup_stable, runs, wall_s, user_s, system_s, minor_faults, major_faults, "                  \
    "voluntary_switches, involuntary_switches, rss_peak_bytes, device_memory_peak_bytes, "         \
    "device_memory_reason, energy_meter, energy_reason, verdict, reasons, latency_count, "         \
    "latencies_zstd"
#define NOISE_COLUMNS                                                                              \
    "time_ns, boottime_ns, busy_ns, idle_ns, steal_ns, swap_in_pages, swap_out_pages, "            \
    "throttle_count, load_1min, frequency_mhz, temperature_c"
#define METER_COLUMNS                                                                              \
    "name, box_a_low_w, box_a_high_w, box_b_low_w, box_b_high_w, box_source, energy_provenance, "  \
    "energy_j, energy_low_j, energy_high_j, energy_s, energy_reason, domain_count, sample_count, " \
    "readings_zstd"
#define DOMAIN_COLUMNS                                                                             \
    "name, scope, path, provenance, in_total, status, text, resolution_uj, period_ns, "            \
    "gain_uncertainty, wrap_uj"

enum { STORE_SAMPLE_MAX = 1 << 24 }; /* readings of one meter over one window */

#endif
