#include "base/error.h"

#ifdef __clang_analyzer__
#undef error_set
#undef error_errno
#undef error_context
#undef error_hint
#undef error_memory
#endif

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int set(struct error *e, enum error_code code, const char *format, va_list args)
{
    if (e) {
        e->code = code;
        e->hint[0] = '\0';
        vsnprintf(e->text, sizeof e->text, format, args);
    }
    return (int)code;
}

int error_set(struct error *e, enum error_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set(e, code, format, args);
    va_end(args);
    return (int)code;
}

static enum error_code code_of_errno(int errno_value)
{
    switch (errno_value) {
    case EACCES:
    case EPERM:
        return ERROR_PERMISSION;
    case ENOMEM:
        return ERROR_MEMORY;
    default:
        return ERROR_IO;
    }
}

int error_errno(struct error *e, int errno_value, const char *format, ...)
{
    enum error_code code = code_of_errno(errno_value);
    if (!e)
        return (int)code;
    va_list args;
    va_start(args, format);
    set(e, code, format, args);
    va_end(args);
    size_t n = strlen(e->text);
    snprintf(e->text + n, sizeof e->text - n, ": %s", strerror(errno_value));
    return (int)code;
}

int error_context(struct error *e, const char *format, ...)
{
    if (!e)
        return ERROR_IO;
    char old[sizeof e->text];
    memcpy(old, e->text, sizeof old);
    va_list args;
    va_start(args, format);
    vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    size_t n = strlen(e->text);
    snprintf(e->text + n, sizeof e->text - n, ": %s", old);
    return (int)e->code;
}

int error_hint(struct error *e, const char *format, ...)
{
    if (!e)
        return ERROR_IO;
    va_list args;
    va_start(args, format);
    vsnprintf(e->hint, sizeof e->hint, format, args);
    va_end(args);
    return (int)e->code;
}

int error_memory(struct error *e)
{
    return error_set(e, ERROR_MEMORY, "out of memory");
}

const char *error_code_name(enum error_code code)
{
    static const char *const names[] = {
        [ERROR_NONE] = "none",
        [ERROR_USAGE] = "usage",
        [ERROR_IO] = "io",
        [ERROR_MEMORY] = "memory",
        [ERROR_FORMAT] = "format",
        [ERROR_UNSUPPORTED] = "unsupported",
        [ERROR_PERMISSION] = "permission",
        [ERROR_TIMEOUT] = "timeout",
        [ERROR_CRASH] = "crash",
        [ERROR_MISMATCH] = "mismatch",
        [ERROR_INTERRUPTED] = "interrupted",
    };
    unsigned i = (unsigned)code;
    return i < sizeof names / sizeof *names ? names[i] : "unknown";
}
