#include "report/format.h"

#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

int format_decimals(double x, int digits)
{
    if (!(fabs(x) > 0) || !isfinite(x))
        return 0;
    int magnitude = (int)floor(log10(fabs(x)));
    /* 9.996 with 3 digits is 10.0 and not 10.00 */
    double step = pow(10, magnitude - digits + 1);
    if (round(fabs(x) / step) * step >= pow(10, magnitude + 1) * (1 - 1e-12))
        magnitude++;
    int decimals = digits - 1 - magnitude;
    return decimals < 0 ? 0 : decimals > 9 ? 9 : decimals;
}

const char *format_number(double x, int digits, char text[FORMAT_SIZE])
{
    if (isnan(x))
        snprintf(text, FORMAT_SIZE, "-");
    else if (x != 0 && !(fabs(x) >= 1e-9 && fabs(x) < 1e15))
        snprintf(text, FORMAT_SIZE, "%.*g", digits, x);
    else
        snprintf(text, FORMAT_SIZE, "%.*f", format_decimals(x, digits), x);
    return text;
}

const char *format_count(int64_t n, char text[FORMAT_SIZE])
{
    static const char *const units[] = {"", " k", " M", " G", " T", " P"};
    double value = (double)n;
    size_t unit = 0;
    while (fabs(value) >= 1000 && unit + 1 < sizeof units / sizeof *units) {
        value /= 1000;
        unit++;
    }
    snprintf(text, FORMAT_SIZE, unit ? "%.2f%s" : "%.0f%s", value, units[unit]);
    return text;
}

const char *format_line(const char *in, int utf8, char *out, size_t size)
{
    text_utf8(in, 1, out, size);
    if (utf8)
        return out;
    char *to = out;
    for (const char *p = out; *p; p++)
        if (((unsigned char)*p & 0xc0) != 0x80) /* one '?' for each character */
            *to++ = (unsigned char)*p < 0x80 ? *p : '?';
    *to = '\0';
    return out;
}

static const char *plus_minus(int utf8)
{
    return utf8 ? "\xc2\xb1" : "+-";
}

/* Half an interval beside a value of `decimals`, rounded up: never narrower than it is. */
static void append_half(char *text, double half, int decimals, int utf8)
{
    double step = pow(10, -decimals);
    size_t n = strlen(text);
    snprintf(text + n, 2 * FORMAT_SIZE - n, " %s%.*f", plus_minus(utf8), decimals,
             ceil(half / step - 1e-9) * step);
}

/* An estimate has no more digits than two of its upper bound. */
static void write_estimate(double j, double low, double high, char *text)
{
    int decimals = format_decimals(high, 2);
    snprintf(text, 2 * FORMAT_SIZE, "%.*f [%.*f..%.*f] e", decimals, j, decimals, low, decimals,
             high);
}

static const char *format_missing(char text[2 * FORMAT_SIZE])
{
    snprintf(text, 2 * FORMAT_SIZE, "-");
    return text;
}

const char *format_energy(const struct summary *s, double unit, int utf8,
                          char text[2 * FORMAT_SIZE])
{
    double j = s->j / unit, low = s->j_low / unit, high = s->j_high / unit;
    if (s->provenance == WATTLE_NONE || !(fabs(j) < 1e15))
        return format_missing(text);
    if (s->provenance == WATTLE_ESTIMATED && fabs(low) < 1e15 && fabs(high) < 1e15) {
        write_estimate(j, low, high, text);
        return text;
    }
    int decimals = format_decimals(j, 3);
    snprintf(text, 2 * FORMAT_SIZE, "%.*f", decimals, j);
    if (high - low < 1e15)
        append_half(text, (high - low) / 2, decimals, utf8);
    size_t n = strlen(text);
    if (s->provenance != WATTLE_MEASURED)
        snprintf(text + n, 2 * FORMAT_SIZE - n,
                 s->provenance == WATTLE_INTEGRATED ? " i" : " e");
    return text;
}

const char *format_ratio(const struct summary *s, int utf8, char text[2 * FORMAT_SIZE])
{
    if (!s->rank || !(s->ratio < 1e6))
        return format_missing(text);
    int decimals = format_decimals(s->ratio, 3);
    snprintf(text, 2 * FORMAT_SIZE, "%.*f", decimals, s->ratio);
    double half = fmax(s->ratio_high - s->ratio, s->ratio - s->ratio_low);
    if (s->rank > 1 && half < 1e6) /* not for NaN: a ratio of times has no bounds */
        append_half(text, half, decimals, utf8);
    return text;
}

double format_unit_of(double j)
{
    return j < 0.5e-3 ? 1e-6 : j < 0.5 ? 1e-3 : 1;
}

const char *format_unit_name(double unit)
{
    return unit < 1e-4 ? "uJ" : unit < 1 ? "mJ" : "J";
}

double format_unit(const struct report *r, const struct summary_group *g)
{
    double largest = NAN;
    for (size_t i = g->begin; i < g->end; i++)
        largest = fmax(largest, r->rows[i].j);
    return format_unit_of(largest);
}

const char *format_rate_name(const struct report *r, const struct summary_group *g)
{
    return r->rows[g->begin].cell->cell.batch > 1 ? "items/s" : "per s";
}

const char *format_verdict(const struct summary *s)
{
    return s->first ? verdict_name(s->verdict) : s->blocks_failed ? "FAILED" : "-";
}

const char *format_agreement_detail(const struct summary *s)
{
    const struct agreement *a = &s->cell->agreement;
    if (!s->first && !a->detail[0])
        return "not compared: no block completed";
    if (a->ok < 0 && !a->detail[0])
        return "not compared: the only cell of its model and batch, or the reference itself";
    return a->detail;
}
