/* format.h: numbers and foreign texts as people (or other programs) may see them. */
#ifndef WATTLE_REPORT_FORMAT_H
#define WATTLE_REPORT_FORMAT_H

#include "report/report.h"

enum { FORMAT_SIZE = 40 };

/* Decimals that show `digits` significant ones of x, at most 9. */
int format_decimals(double x, int digits);
/* x with `digits` significant digits and no exponent where 1e-9 <= x < 1e15; "-" for NaN. */
const char *format_number(double x, int digits, char text[FORMAT_SIZE]);
/* "25.56 M", "4.09 G" (1000-based) */
const char *format_count(int64_t n, char text[FORMAT_SIZE]);

/* As text_utf8 of one line, ASCII only unless utf8. */
const char *format_line(const char *in, int utf8, char *out, size_t size);

/* Energy of a row: "0.9 [0.4..1.6] e", "0.912 ±0.008", "-"; unit is J per shown 1 (1 or 1e-3). */
const char *format_energy(const struct summary *s, double unit, int utf8,
                          char text[2 * FORMAT_SIZE]);
/* Why an agreement is as it is; "" for one that agrees. */
const char *format_agreement_detail(const struct summary *s);
/* "1.11 ±0.01" */
const char *format_ratio(const struct summary *s, int utf8, char text[2 * FORMAT_SIZE]);
/* 1e-3 (mJ) below 0.5 J, where "130 [50..200]" is shorter than "0.13 [0.05..0.20]"; 1e-6 (uJ) below
 * 0.5 mJ; else 1. */
double format_unit_of(double j);
const char *format_unit_name(double unit); /* "J", "mJ", "uJ" */
/* That of the largest energy of the group. */
double format_unit(const struct report *r, const struct summary_group *g);
/* "items/s" where an inference has several, else "per s": joules are those of an inference. */
const char *format_rate_name(const struct report *r, const struct summary_group *g);
/* "VALID", "SUSPECT", "INVALID", or "FAILED" where no block completed,
 * "-" where none was begun. */
const char *format_verdict(const struct summary *s);

/* The lines of text around a table, without wrapping; size bytes each. */
void format_title(const struct report *r, const struct summary_group *g, char *out, size_t size);
void format_facts(const struct report *r, const struct summary_group *g, char *out, size_t size);
void format_host(const struct report *r, char *out, size_t size);
void format_agreement(const struct report *r, const struct summary_group *g, char *out,
                      size_t size);
void format_answer(const struct report *r, const struct summary_group *g, int utf8, char *out,
                   size_t size);

/* How what was loaded in place of the model was made, each way once: fills *out with number i (from
 * 0), returns 0 when there are no more. */
int format_how(const struct report *r, const struct summary_group *g, size_t i, char *out,
               size_t size);

/* Whether any row of the group has a form to show. */
int format_has_forms(const struct report *r, const struct summary_group *g);

/* What weakens rows of a group, alike reasons once: fills *out with note number i (from 0), returns
 * 0 when there are no more. */
int format_note(const struct report *r, const struct summary_group *g, size_t i, char *out,
                size_t size);

#endif
