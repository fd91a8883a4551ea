#include "host/source.h"

#include "base/file.h"
#include "base/text.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int join(char out[PATH_MAX], const char *sysroot, const char *path, va_list args)
{
    size_t used = (size_t)snprintf(out, PATH_MAX, "%s", sysroot);
    if (used >= PATH_MAX)
        return -ENAMETOOLONG;
    int n = vsnprintf(out + used, PATH_MAX - used, path, args);
    return n < 0 || (size_t)n >= PATH_MAX - used ? -ENAMETOOLONG : 0;
}

static int read_text(const char *sysroot, char *text, size_t size, const char *path, va_list args)
{
    char full[PATH_MAX];
    struct stat st;
    text[0] = '\0';
    int code = join(full, sysroot, path, args);
    if (!code)
        code = stat(full, &st) ? -errno : S_ISREG(st.st_mode) ? 0 : -EINVAL;
    if (!code)
        code = file_read_text(full, text, size);
    if (code)
        text[0] = '\0';
    for (char *p = text; *p; p++)
        if (*p == '\t')
            *p = ' ';
        else if ((*p < ' ' || *p > '~') && *p != '\n')
            *p = '?';
    return code;
}

int source_text(const char *sysroot, char *text, size_t size, const char *path, ...)
{
    va_list args;
    va_start(args, path);
    int code = read_text(sysroot, text, size, path, args);
    va_end(args);
    return code;
}

/* Also makes runs of blanks one. */
static void trim(char *line)
{
    size_t used = 0;
    for (const char *p = line; *p && *p != '\n'; p++)
        if (*p != ' ' || (used && line[used - 1] != ' '))
            line[used++] = *p;
    if (used && line[used - 1] == ' ')
        used--;
    line[used] = '\0';
}

int source_line(const char *sysroot, char *line, size_t size, const char *path, ...)
{
    va_list args;
    va_start(args, path);
    int code = read_text(sysroot, line, size, path, args);
    va_end(args);
    trim(line);
    return code;
}

int64_t source_number(const char *sysroot, const char *path, ...)
{
    char text[64];
    int64_t value;
    va_list args;
    va_start(args, path);
    int code = read_text(sysroot, text, sizeof text, path, args);
    va_end(args);
    trim(text);
    return code || text_to_int(text, path, 0, INT64_MAX, &value, NULL) ? -1 : value;
}

int source_exists(const char *sysroot, const char *path)
{
    char full[PATH_MAX];
    struct stat st;
    return (size_t)snprintf(full, sizeof full, "%s%s", sysroot, path) < sizeof full &&
           !stat(full, &st);
}

static const char *after_key(const char *line, const char *key, char separator)
{
    size_t n = strlen(key);
    if (strncmp(line, key, n))
        return NULL;
    line += n;
    while (*line == ' ' && separator != ' ')
        line++;
    return *line == separator ? line + 1 : NULL;
}

int source_field(const char *text, const char *key, char separator, char *value, size_t size)
{
    value[0] = '\0';
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        const char *p = after_key(line, key, separator);
        if (!p)
            continue;
        size_t n = strcspn(p, "\n");
        snprintf(value, size, "%.*s", (int)(n < size ? n : size - 1), p);
        trim(value);
        return 1;
    }
    return 0;
}

int source_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = text; (p = strstr(p, word)); p += n) {
        int starts = p == text || p[-1] == ' ' || p[-1] == '\n';
        if (starts && (p[n] == '\0' || p[n] == ' ' || p[n] == '\n'))
            return 1;
    }
    return 0;
}

static const char *small_number(const char *p, long *out)
{
    long value = 0;
    const char *start = p;
    for (; *p >= '0' && *p <= '9'; p++)
        value = value < SOURCE_CPU_MAX ? value * 10 + (*p - '0') : value;
    *out = value;
    return p == start ? NULL : p;
}

int source_cpu_list(const char *text, unsigned char cpus[SOURCE_CPU_MAX])
{
    int count = 0;
    memset(cpus, 0, SOURCE_CPU_MAX);
    for (const char *p = text; *p;) {
        long first, last;
        if (!(p = small_number(p, &first)))
            return 0;
        last = first;
        if (*p == '-' && !(p = small_number(p + 1, &last)))
            return 0;
        for (long i = first; i <= last && i < SOURCE_CPU_MAX; i++) {
            count += !cpus[i];
            cpus[i] = 1;
        }
        if (*p == ',')
            p++;
        else if (*p)
            return 0;
    }
    return count;
}
