/* error.h: one error value, filled by whoever fails, printed only by src/cmd.
 *
 * A function that can fail returns 0 or one of enum error_code (never 0 on failure) and fills the
 * struct error its caller passed. The text says what failed first, quotes the value, has no
 * capital and no full stop; the hint says what to do. Library code never prints and never exits.
 */
#ifndef WATTLE_BASE_ERROR_H
#define WATTLE_BASE_ERROR_H

enum error_code {
    ERROR_NONE = 0,
    ERROR_USAGE,       /* the caller asked for something that cannot be: exit 2 */
    ERROR_IO,          /* a system call failed */
    ERROR_MEMORY,      /* allocation refused, or a stated limit reached */
    ERROR_FORMAT,      /* input is truncated, corrupt or inconsistent */
    ERROR_UNSUPPORTED, /* well formed, but not something we do */
    ERROR_PERMISSION,  /* the system says no; the hint says what would change that */
    ERROR_TIMEOUT,
    ERROR_CRASH,       /* a child died */
    ERROR_MISMATCH,    /* outputs differ: exit 5 */
    ERROR_INTERRUPTED, /* SIGINT, SIGTERM or SIGHUP: exit 130 */
};

struct error {
    enum error_code code;
    char text[512];
    char hint[256];
};

/* Overwrites *e (which may be NULL) and returns code, so that `return error_set(...)` reads well.
 * Text that does not fit is cut. The hint becomes empty. */
int error_set(struct error *e, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As error_set, with ": <strerror(errno_value)>" at the end; EACCES and EPERM become
 * ERROR_PERMISSION, ENOMEM becomes ERROR_MEMORY, the rest ERROR_IO. */
int error_errno(struct error *e, int errno_value, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "<text>: " in front of the text of an error already set; returns its code. */
int error_context(struct error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Sets the hint; returns the code. */
int error_hint(struct error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Short for the most common failure. */
int error_memory(struct error *e);

/* "usage", "io", ...: stored with failed rows. Never NULL. */
const char *error_code_name(enum error_code code);

#ifdef __clang_analyzer__
/* The analyzer does not look into other files: tell it that a failure is never 0. */
#define error_set(e, code, ...) ((error_set)(e, code, __VA_ARGS__), (int)(code))
#define error_errno(...) ((error_errno)(__VA_ARGS__), (int)ERROR_IO)
#define error_context(...) ((error_context)(__VA_ARGS__), (int)ERROR_IO)
#define error_hint(...) ((error_hint)(__VA_ARGS__), (int)ERROR_IO)
#define error_memory(e) ((error_memory)(e), (int)ERROR_MEMORY)
#endif

#endif
