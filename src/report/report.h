/* report.h: a stored campaign as table, JSON, CSV or Markdown. Reads a struct store_campaign only. */
#ifndef WATTLE_REPORT_REPORT_H
#define WATTLE_REPORT_REPORT_H

#include "base/error.h"
#include "store/store.h"

#include <stdio.h>

/* One row: a cell summed up over its completed blocks. NaN where missing. */
struct summary {
    const struct store_cell *cell;
    const struct record *first;   /* first completed block, NULL when none completed */
    size_t blocks_ok, blocks_failed;
    const char *failure;          /* text of the first failed block; NULL */
    size_t n;                     /* latencies pooled over blocks */
    double min_ms, p50_ms, p90_ms, p95_ms, p99_ms, ci95_low_ms, ci95_high_ms;
    double load_ms, first_ms;     /* medians over blocks */
    double throughput_per_s;      /* inferences x batch / wall: items a second */
    double cpu_s, cpu_user_s, cpu_system_s; /* per inference (one run of a whole batch) */
    double cpu_percent;           /* 100 = one core busy */
    double rss_peak_bytes;        /* largest */
    double context_switches, page_faults; /* per inference */
    enum wattle_provenance provenance;
    double j, j_low, j_high;      /* per inference (one run of a whole batch) */
    const char *energy_reason;    /* when NONE */
    double ratio, ratio_low, ratio_high; /* energy against the best cell of the same group; 1 for it */
    enum verdict verdict;
    const char *const *reasons;   /* distinct, NULL-terminated */
    int rank;                     /* 1 = least energy in its group; 0 = not ranked */
};

/* Cells that compete: same model, batch, threads and precision. */
struct summary_group {
    size_t begin, end;            /* rows [begin, end) */
};

struct report {
    const struct store_campaign *campaign;
    struct summary *rows;         /* sorted into groups, best first in each */
    size_t row_count;
    struct summary_group *groups;
    size_t group_count;
    int exit_code;                /* 0, 3 (INVALID or a failed block), 5 (mismatch) */
};
int report_make(struct report *r, const struct store_campaign *c, struct error *e);
void report_release(struct report *r);

struct report_style {
    int utf8;    /* else ASCII */
    int color;
    int width;   /* columns, at least 80 */
};
/* From stdout, locale, NO_COLOR and COLUMNS. */
struct report_style report_style_of(FILE *out);

/* Each writes the whole text; write errors are the caller's to see (ferror, fflush). */
int report_text(const struct report *r, FILE *out, const struct report_style *style, struct error *e);
int report_markdown(const struct report *r, FILE *out, struct error *e);
int report_csv(const struct report *r, FILE *out, struct error *e);
int report_json(const struct report *r, FILE *out, struct error *e);
/* The JSON of the report (schema wattle/1, docs/wattle-1.schema.json); the caller's. */
json_t *report_json_value(const struct report *r);

#endif
