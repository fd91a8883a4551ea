#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

static enum log_level current = LOG_NORMAL;

void log_set_level(enum log_level level)
{
    current = level;
}

int log_shows(enum log_level level)
{
    return current >= level;
}

static void line(const char *mark, const char *format, va_list args)
{
    flockfile(stderr);
    fprintf(stderr, "wattle: %s", mark);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    funlockfile(stderr);
}

void log_error(const struct error *e)
{
    fprintf(stderr, "wattle: %s\n", e->text);
    if (e->hint[0])
        fprintf(stderr, "  hint: %s\n", e->hint);
}

#define DEFINE(name, lowest, mark)                                                                 \
    void name(const char *format, ...)                                                             \
    {                                                                                              \
        if (current < (lowest))                                                                    \
            return;                                                                                \
        va_list args;                                                                              \
        va_start(args, format);                                                                    \
        line(mark, format, args);                                                                  \
        va_end(args);                                                                              \
    }

DEFINE(log_warning, LOG_NORMAL, "warning: ")
DEFINE(log_note, LOG_NORMAL, "")
DEFINE(log_detail, LOG_VERBOSE, "")
