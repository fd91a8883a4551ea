#include "base/log.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>

enum { LOG_LINE_MAX = 16 * 1024 };

static enum log_level current = LOG_NORMAL;

void log_set_level(enum log_level level)
{
    current = level;
}

int log_shows(enum log_level level)
{
    return current >= level;
}

/* At once, so that lines of several processes stay whole. */
static void write_line(const char *mark, const char *text)
{
    char clean[LOG_LINE_MAX];
    fprintf(stderr, "%s%s\n", mark, text_utf8(text, 1, clean, sizeof clean));
}

void log_error(const struct error *e)
{
    write_line("wattle: ", e->text);
    if (e->hint[0])
        write_line("  hint: ", e->hint);
}

#define DEFINE(name, lowest, mark)                                                                 \
    void name(const char *format, ...)                                                             \
    {                                                                                              \
        char text[LOG_LINE_MAX];                                                                   \
        if (current < (lowest))                                                                    \
            return;                                                                                \
        va_list args;                                                                              \
        va_start(args, format);                                                                    \
        vsnprintf(text, sizeof text, format, args);                                                \
        va_end(args);                                                                              \
        write_line(mark, text);                                                                    \
    }

DEFINE(log_warning, LOG_NORMAL, "wattle: warning: ")
DEFINE(log_note, LOG_NORMAL, "wattle: ")
DEFINE(log_detail, LOG_VERBOSE, "wattle: ")
