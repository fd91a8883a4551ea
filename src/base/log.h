/* log.h: talk for people, on stderr. Results never go through here. */
#ifndef WATTLE_BASE_LOG_H
#define WATTLE_BASE_LOG_H

#include "base/error.h"

enum log_level { LOG_QUIET = -1, LOG_NORMAL = 0, LOG_VERBOSE = 1 };

void log_set_level(enum log_level level); /* -q and -v */
int log_shows(enum log_level level);      /* 1 when talk of that level is printed */

/* Each prints one line, "wattle: " in front and control characters in names as blanks. Errors are
 * printed at every level, warnings and notes unless quiet, details when verbose. */
void log_error(const struct error *e); /* text, then the hint on a line of its own */
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_detail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
