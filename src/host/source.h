/* source.h: the system's small text files, below a root that may be a recorded tree. Whatever
 * stands in them comes out as printable ASCII, so that it is safe in a table and in JSON. */
#ifndef WATTLE_HOST_SOURCE_H
#define WATTLE_HOST_SOURCE_H

#include <stddef.h>
#include <stdint.h>

/* The file's start of at most size - 1 bytes; unprintable bytes become '?', but for newlines.
 * Returns 0 or a negative errno, then with text "". path is printf-style. */
int source_text(const char *sysroot, char *text, size_t size, const char *path, ...)
    __attribute__((format(printf, 4, 5)));
/* Its first line, without blanks at either end. */
int source_line(const char *sysroot, char *line, size_t size, const char *path, ...)
    __attribute__((format(printf, 4, 5)));
/* A number of 0 or more; -1 when there is none. */
int64_t source_number(const char *sysroot, const char *path, ...)
    __attribute__((format(printf, 2, 3)));
int source_exists(const char *sysroot, const char *path);

/* Copies the value of the line "key : value", "key=value" or "key value" (whichever the separator
 * says) out of text; 1 when found. */
int source_field(const char *text, const char *key, char separator, char *value, size_t size);
/* 1 when word stands between blanks (or ends) of text. */
int source_word(const char *text, const char *word);

/* "0-3,8" as one flag a CPU; returns how many, 0 for text that is no such list. Numbers from
 * SOURCE_CPU_MAX on are left out. */
enum { SOURCE_CPU_MAX = 4096 };
int source_cpu_list(const char *text, unsigned char cpus[SOURCE_CPU_MAX]);

#endif
