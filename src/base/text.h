/* text.h: strict reading of numbers, lists and durations out of text; locale-free. */
#ifndef WATTLE_BASE_TEXT_H
#define WATTLE_BASE_TEXT_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* The whole text must be a decimal integer within [low, high]; anything else is ERROR_USAGE with a
 * text that names `what`, the value and the range. */
int text_to_int(const char *text, const char *what, int64_t low, int64_t high, int64_t *out,
                struct error *e);
/* The same for a decimal number ("3", "0.5"); "nan", "inf" and hexadecimal are refused. */
int text_to_double(const char *text, const char *what, double low, double high, double *out,
                   struct error *e);
/* "10s", "20ms", "1m", "250us", or a bare number of seconds; ERROR_USAGE otherwise. */
int text_to_ns(const char *text, const char *what, uint64_t low_ns, uint64_t high_ns, uint64_t *out,
               struct error *e);

/* Splits at commas into a NULL-terminated array in one allocation (free() it). Empty items, and
 * more than `maximum` of them, are ERROR_USAGE. */
int text_split(const char *text, const char *what, size_t maximum, char ***out, size_t *count,
               struct error *e);

/* The candidate nearest to `text` by edit distance, or NULL if none is near: "did you mean". */
const char *text_nearest(const char *text, const char *const *candidates, size_t count);

int text_starts(const char *text, const char *prefix);
int text_ends(const char *text, const char *suffix);

/* A valid UTF-8 copy: other bytes become "?", and with `line` control characters become blanks (a
 * name must not move the cursor of a terminal or break a line). Cut to fit size. Returns out. */
const char *text_utf8(const char *in, int line, char *out, size_t size);
/* Bytes of the well-formed UTF-8 character (RFC 3629) that text begins with, 0 when there is none;
 * at most `left` (> 0) are looked at, and none behind a NUL. */
size_t text_utf8_size(const char *text, size_t left);
/* 1 when the character of `size` bytes is a control character (C0, DEL, C1). */
int text_is_control(const char *text, size_t size);

/* Prints bytes as "97.7 MiB"; s must hold 16. */
void text_bytes(uint64_t bytes, char s[16]);

#endif
