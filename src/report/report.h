/* report.h: a stored campaign as table, JSON, CSV or Markdown. Reads a struct store_campaign
 * only. */
#ifndef WATTLE_REPORT_REPORT_H
#define WATTLE_REPORT_REPORT_H

#include "base/arena.h"
#include "base/error.h"
#include "store/store.h"

#include <stdio.h>

/* One row: a cell summed up over its completed blocks. NaN where missing. */
struct summary {
    const struct store_cell *cell;
    const struct record *first;   /* first completed block, NULL when none completed */
    size_t blocks_ok, blocks_failed;
    const struct record *failed;  /* the first failed block; NULL */
    const char *failure;          /* why no, or not every, block completed; NULL */
    const char *label;            /* "builtin", or "builtin:cpu" where that is not unique */
    size_t n;                     /* latencies pooled over blocks */
    double min_ms, p50_ms, p90_ms, p95_ms, p99_ms, ci95_low_ms, ci95_high_ms;
                                  /* ci95: of the blocks' medians; needs 6 blocks */
    const char *percentile_reason; /* which percentiles are missing and why; NULL */
    const char *ci95_reason;
    double load_ms, first_ms;     /* medians over blocks */
    double wall_s;                /* of the window, per inference */
    double throughput_per_s;      /* inferences x batch / wall: items a second */
    double cpu_s, cpu_user_s, cpu_system_s; /* per inference (one run of a whole batch) */
    double cpu_percent;           /* 100 = one core busy */
    double rss_peak_bytes;        /* largest */
    double device_memory_peak_bytes; /* largest of what was held after a window; NaN */
    const char *device_memory_reason; /* why not known; NULL also where no accelerator is told of */
    double context_switches, page_faults; /* per inference */
    enum wattle_provenance provenance;
    double j, j_low, j_high;      /* per inference (one run of a whole batch) */
    const char *energy_reason;    /* why NONE, or what weakens the figure; NULL */
    const char *meter;            /* where the figure comes from; NULL */
    const struct wattle_estimate_box *box; /* of an estimate; NULL */
    double ratio, ratio_low, ratio_high; /* energy (p50 where the group ranks by time) against the
                                            best of its group; 1 for it; bounds of energy */
    enum verdict verdict;
    const char *const *reasons;   /* distinct, NULL-terminated */
    int rank;                     /* 1 = least energy in its group; 0 = not ranked */
    const char *rank_reason;      /* why it is not ranked; NULL */
};

/* Cells that compete: same model and dims, batch, threads and precision. */
struct summary_group {
    size_t begin, end;            /* rows [begin, end) */
    size_t ranked;                /* how many of them, from begin on, have a rank */
    int by_time;                  /* no energy in the whole group: ranked by p50 */
};

struct report {
    const struct store_campaign *campaign;
    struct summary *rows;         /* sorted into groups, best first in each */
    size_t row_count;
    struct summary_group *groups;
    size_t group_count;
    int exit_code;                /* 0, 3 (INVALID or a failed block), 5 (mismatch) */
    struct arena memory;          /* of rows, groups and texts */
};
enum { REPORT_RUNTIME_MAX = 112 };
/* "onnxruntime", "pytorch:eager": with the variant, unless that is the provider's name. */
const char *report_runtime(const struct cell *c, char text[REPORT_RUNTIME_MAX]);

int report_make(struct report *r, const struct store_campaign *c, struct error *e);
void report_release(struct report *r);

struct report_style {
    int utf8;    /* else ASCII */
    int color;
    int width;   /* columns, at least 80 */
};
/* From the stream, locale (LC_CTYPE; LC_NUMERIC must stay "C"), NO_COLOR and COLUMNS. */
struct report_style report_style_of(FILE *out);

/* Each writes the whole text; write errors are the caller's to see (ferror, fflush). */
int report_text(const struct report *r, FILE *out, const struct report_style *style,
                struct error *e);
int report_markdown(const struct report *r, FILE *out, struct error *e);
int report_csv(const struct report *r, FILE *out, struct error *e);
int report_json(const struct report *r, FILE *out, struct error *e);
/* The JSON of the report (schema wattle/1, docs/wattle-1.schema.json); the caller's. */
json_t *report_json_value(const struct report *r);

#endif
