#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int text_to_int(const char *text, const char *what, int64_t low, int64_t high, int64_t *out,
                struct error *e)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    int plain = isdigit((unsigned char)text[0]) ||
                (text[0] == '-' && isdigit((unsigned char)text[1]));
    if (!plain || *end)
        return error_set(e, ERROR_USAGE, "%s '%.60s' is not a whole number", what, text);
    if (errno == ERANGE || value < low || value > high)
        return error_set(e, ERROR_USAGE, "%s %.60s is outside %lld..%lld", what, text,
                         (long long)low, (long long)high);
    *out = value;
    return 0;
}

static int is_number_start(const char *text)
{
    if (*text == '-')
        text++;
    if (*text == '.')
        text++;
    return isdigit((unsigned char)*text) && !(text[0] == '0' && (text[1] == 'x' || text[1] == 'X'));
}

int text_to_double(const char *text, const char *what, double low, double high, double *out,
                   struct error *e)
{
    char *end = NULL;
    double value = is_number_start(text) ? strtod(text, &end) : NAN;
    if (!end || *end || isnan(value))
        return error_set(e, ERROR_USAGE, "%s '%.60s' is not a number", what, text);
    if (value < low || value > high)
        return error_set(e, ERROR_USAGE, "%s %.60s is outside %g..%g", what, text, low, high);
    *out = value;
    return 0;
}

int text_to_ns(const char *text, const char *what, uint64_t low_ns, uint64_t high_ns, uint64_t *out,
               struct error *e)
{
    static const struct {
        const char *suffix;
        double ns;
    } units[] = {{"", 1e9}, {"s", 1e9}, {"ms", 1e6}, {"us", 1e3}, {"m", 60e9}, {"h", 3600e9}};
    char *end = NULL;
    double value = is_number_start(text) && *text != '-' ? strtod(text, &end) : NAN;
    double ns = NAN;
    for (size_t i = 0; end && i < sizeof units / sizeof *units; i++)
        if (!strcmp(end, units[i].suffix))
            ns = value * units[i].ns;
    if (isnan(ns))
        return error_set(e, ERROR_USAGE, "%s '%.60s' is not a duration such as 10s, 20ms or 1m",
                         what, text);
    if (ns < (double)low_ns || ns > (double)high_ns)
        return error_set(e, ERROR_USAGE, "%s %.60s is outside %gs..%gs", what, text,
                         (double)low_ns / 1e9, (double)high_ns / 1e9);
    *out = (uint64_t)llround(ns);
    return 0;
}

int text_split(const char *text, const char *what, size_t maximum, char ***out, size_t *count,
               struct error *e)
{
    size_t items = 1, size = strlen(text) + 1;
    for (const char *p = text; *p; p++)
        items += *p == ',';
    if (items > maximum)
        return error_set(e, ERROR_USAGE, "%s lists %zu items, at most %zu are taken", what, items,
                         maximum);
    char **list = calloc(1, (items + 1) * sizeof *list + size);
    if (!list)
        return error_memory(e);
    char *copy = (char *)(list + items + 1);
    memcpy(copy, text, size);
    for (size_t i = 0; i < items; i++) {
        char *comma = strchr(copy, ',');
        if (comma)
            *comma = '\0';
        if (!*copy) {
            free(list);
            return error_set(e, ERROR_USAGE, "%s '%.60s' has an empty item", what, text);
        }
        list[i] = copy;
        copy += strlen(copy) + 1;
    }
    *out = list;
    *count = items;
    return 0;
}

enum { NEAREST_LENGTH = 40 };

static unsigned edit_distance(const char *a, const char *b)
{
    size_t n = strlen(b);
    if (strlen(a) > NEAREST_LENGTH || n > NEAREST_LENGTH)
        return UINT_MAX; /* near nothing */
    unsigned row[NEAREST_LENGTH + 1];
    for (size_t j = 0; j <= n; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; a[i - 1]; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= n; j++) {
            unsigned best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n];
}

const char *text_nearest(const char *text, const char *const *candidates, size_t count)
{
    const char *nearest = NULL;
    unsigned best = 1 + (unsigned)strlen(text) / 3;
    for (size_t i = 0; i < count; i++) {
        unsigned d = edit_distance(text, candidates[i]);
        if (d <= best && (!nearest || d < best)) {
            nearest = candidates[i];
            best = d;
        }
    }
    return nearest;
}

int text_starts(const char *text, const char *prefix)
{
    return !strncmp(text, prefix, strlen(prefix));
}

int text_ends(const char *text, const char *suffix)
{
    size_t n = strlen(text), m = strlen(suffix);
    return n >= m && !strcmp(text + n - m, suffix);
}

void text_bytes(uint64_t bytes, char s[16])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < sizeof units / sizeof *units) {
        value /= 1024;
        unit++;
    }
    snprintf(s, 16, unit && value < 100 ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

size_t text_utf8_size(const char *text, size_t left)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3
             : p[0] < 0xf5 ? 4 : 0;
    if (n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    int bad = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
              (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f);
    return n > 1 && bad ? 0 : n;
}

int text_is_control(const char *text, size_t size)
{
    const unsigned char *p = (const unsigned char *)text;
    return (size == 1 && (p[0] < 0x20 || p[0] == 0x7f)) ||
           (size == 2 && p[0] == 0xc2 && p[1] < 0xa0);
}

const char *text_utf8(const char *in, int line, char *out, size_t size)
{
    size_t used = 0;
    for (const char *p = in; *p;) {
        size_t n = text_utf8_size(p, SIZE_MAX), bytes = n ? n : 1;
        if (used + bytes >= size)
            break;
        if (n == 0 || (line && text_is_control(p, n)))
            out[used++] = n ? ' ' : '?';
        else {
            memcpy(out + used, p, n);
            used += n;
        }
        p += bytes;
    }
    out[used] = '\0';
    return out;
}
