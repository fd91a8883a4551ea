/* prose.c: the sentences around a table, for text and Markdown alike. */
#include "report/format.h"

#include <math.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Appends, cutting what does not fit. */
__attribute__((format(printf, 3, 4)))
static void add(char *out, size_t size, const char *format, ...)
{
    size_t n = strlen(out);
    va_list args;
    va_start(args, format);
    if (n < size)
        vsnprintf(out + n, size - n, format, args);
    va_end(args);
}

static const struct store_model *model_of(const struct report *r, const struct summary_group *g)
{
    return &r->campaign->models[r->rows[g->begin].cell->model];
}

void format_title(const struct report *r, const struct summary_group *g, char *out, size_t size)
{
    const struct cell *c = &r->rows[g->begin].cell->cell;
    *out = '\0';
    add(out, size, "%s  batch %lld  threads %d  %s", model_of(r, g)->name, (long long)c->batch,
        c->threads, c->precision);
    for (size_t i = 0; i < c->dim_count; i++)
        add(out, size, "  %s=%lld", c->dims[i].symbol, (long long)c->dims[i].value);
}

static void add_shape(const json_t *tensor, char *out, size_t size)
{
    size_t i;
    json_t *dim, *shape = json_object_get(tensor, "shape");
    if (json_array_size(shape) == 0)
        add(out, size, "scalar");
    json_array_foreach(shape, i, dim)
        add(out, size, "%s%lld", i ? "x" : "", (long long)json_integer_value(dim));
}

/* "input 1x3x224x224", "3 inputs 1x128", "inputs 1x3, 1x5" */
static void add_inputs(const struct record *first, char *out, size_t size)
{
    const json_t *inputs = first ? json_object_get(first->shapes, "inputs") : NULL;
    size_t n = json_array_size(inputs), alike = 1;
    if (n == 0)
        return;
    const json_t *shape = json_object_get(json_array_get(inputs, 0), "shape");
    while (alike < n &&
           json_equal(shape, json_object_get(json_array_get(inputs, alike), "shape")))
        alike++;
    if (n == 1)
        add(out, size, ", input ");
    else if (alike == n)
        add(out, size, ", %zu inputs ", n);
    else
        add(out, size, ", inputs ");
    for (size_t i = 0; i < (alike == n ? 1 : n < 4 ? n : 4); i++) {
        add(out, size, "%s", i ? ", " : "");
        add_shape(json_array_get(inputs, i), out, size);
    }
    if (alike < n && n > 4)
        add(out, size, ", ...");
}

void format_facts(const struct report *r, const struct summary_group *g, char *out, size_t size)
{
    const struct store_model *m = model_of(r, g);
    const struct store_campaign *c = r->campaign;
    char text[FORMAT_SIZE];
    *out = '\0';
    if (m->parameters >= 0)
        add(out, size, ", %s parameters", format_count(m->parameters, text));
    if (m->macs >= 0)
        add(out, size, ", %sMAC", m->macs < 1000 ? "" : format_count(m->macs, text));
    add_inputs(r->rows[g->begin].first, out, size);
    add(out, size, ", seed %llu, %d block%s x %g s", (unsigned long long)c->seed, c->blocks,
        c->blocks == 1 ? "" : "s", c->duration_s);
    uint64_t gap_ns = r->rows[g->begin].cell->cell.gap_ns;
    if (gap_ns)
        add(out, size, ", %g ms asleep between requests", (double)gap_ns / 1e6);
    memmove(out, out + 2, strlen(out + 2) + 1);
}

/* The first row whose energy has that provenance, NULL without one. */
static const struct summary *row_with(const struct report *r, enum wattle_provenance provenance)
{
    for (size_t i = 0; i < r->row_count; i++)
        if (r->rows[i].first && r->rows[i].provenance == provenance)
            return &r->rows[i];
    return NULL;
}

void format_host(const struct report *r, char *out, size_t size)
{
    const struct summary *measured = row_with(r, WATTLE_MEASURED);
    const struct summary *integrated = row_with(r, WATTLE_INTEGRATED);
    const struct summary *estimated = row_with(r, WATTLE_ESTIMATED);
    const struct summary *none = row_with(r, WATTLE_NONE);
    *out = '\0';
    add(out, size, "%s", r->campaign->host_title);
    if (measured)
        add(out, size, "; energy measured by %s%s%s", measured->meter,
            measured->energy_reason ? ", " : "",
            measured->energy_reason ? measured->energy_reason : "");
    if (integrated)
        add(out, size, "; power of %s integrated (i)", integrated->meter);
    if (estimated)
        add(out, size, "; %sjoules are estimates (e) from wall and CPU time%s%s%s, their ratios "
                       "hold for the whole range; `wattle doctor` says why",
            measured || integrated ? "some " : "no energy counter: ",
            estimated->box && estimated->box->source[0] ? " (" : "",
            estimated->box ? estimated->box->source : "",
            estimated->box && estimated->box->source[0] ? ")" : "");
    if (none)
        add(out, size, "; no energy figure%s: %s", measured || integrated || estimated
            ? " for some rows" : "", none->energy_reason);
}

/* One digit: "7e-7", "0.3", "0". */
static const char *short_power(double x, char text[FORMAT_SIZE])
{
    snprintf(text, FORMAT_SIZE, "%.1g", x);
    char *zero = strstr(text, "e-0");
    if (zero)
        memmove(zero + 2, zero + 3, strlen(zero + 3) + 1);
    return text;
}

void format_agreement(const struct report *r, const struct summary_group *g, char *out,
                      size_t size)
{
    double largest = NAN;
    const char *reference = NULL;
    const struct summary *open = NULL, *differs = NULL;
    *out = '\0';
    for (size_t i = g->begin; i < g->end; i++) {
        const struct agreement *a = &r->rows[i].cell->agreement;
        if (a->ok > 0) {
            largest = fmax(largest, a->max_rel_error);
            reference = a->reference;
        } else if (a->ok == 0)
            differs = &r->rows[i];
        else if (r->rows[i].first && a->detail[0])
            open = &r->rows[i];
    }
    if (differs)
        add(out, size, "outputs DIFFER: %s against %s: %s", differs->label,
            differs->cell->agreement.reference, differs->cell->agreement.detail);
    char text[FORMAT_SIZE];
    if (reference)
        add(out, size, "%soutputs agree%s with %s (max relative error %s)", *out ? "; " : "",
            differs ? " in other rows" : "", reference, short_power(largest, text));
    if (open)
        add(out, size, "%soutputs of %s not compared: %s", *out ? "; " : "", open->label,
            open->cell->agreement.detail);
}

/* --- how models were made --------------------------------------------------------------------- */

int format_has_forms(const struct report *r, const struct summary_group *g)
{
    for (size_t i = g->begin; i < g->end; i++)
        if (r->rows[i].cell->cell.form[0])
            return 1;
    return 0;
}

static int same_how(const struct cell *a, const struct cell *b)
{
    return !strcmp(a->how, b->how) && !strcmp(a->form, b->form);
}

/* Is there a row before this one that was made in the same way (and, with name, of that name)? */
static int how_told(const struct report *r, const struct summary_group *g, size_t row,
                    const char *name)
{
    const struct cell *c = &r->rows[row].cell->cell;
    char other[REPORT_RUNTIME_MAX];
    for (size_t i = g->begin; i < row; i++) {
        const struct cell *before = &r->rows[i].cell->cell;
        if (same_how(before, c) && (!name || !strcmp(report_runtime(before, other), name)))
            return 1;
    }
    return 0;
}

/* "pytorch:aoti, pytorch:compile native: torch.export 2.13.0" */
int format_how(const struct report *r, const struct summary_group *g, size_t index, char *out,
               size_t size)
{
    size_t row = g->begin;
    char name[REPORT_RUNTIME_MAX];
    while (row < g->end &&
           (!r->rows[row].cell->cell.how[0] || how_told(r, g, row, NULL) || index--))
        row++;
    *out = '\0';
    if (row == g->end)
        return 0;
    const struct cell *c = &r->rows[row].cell->cell;
    for (size_t i = row; i < g->end; i++) {
        const struct cell *other = &r->rows[i].cell->cell;
        if (same_how(other, c) && !how_told(r, g, i, report_runtime(other, name)))
            add(out, size, "%s%s", *out ? ", " : "", name);
    }
    add(out, size, "%s%s: %s", c->form[0] ? " " : "", c->form, c->how);
    return 1;
}

/* --- notes ------------------------------------------------------------------------------------ */

/* Reasons that differ only from the first digit on are the same finding with other figures. */
static int alike(const char *a, const char *b)
{
    while (*a && *a == *b && !isdigit((unsigned char)*a)) {
        a++;
        b++;
    }
    return *a == *b || (isdigit((unsigned char)*a) && isdigit((unsigned char)*b));
}

static const char *alike_reason(const struct summary *s, const char *text, size_t limit)
{
    for (size_t i = 0; s->reasons[i] && i < limit; i++)
        if (alike(s->reasons[i], text))
            return s->reasons[i];
    return NULL;
}

/* Whether a row before this one, or this row before its reason k, has said it already. */
static int is_repeated(const struct report *r, const struct summary_group *g, size_t row, size_t k)
{
    const char *text = r->rows[row].reasons[k];
    for (size_t i = g->begin; i < row; i++)
        if (alike_reason(&r->rows[i], text, SIZE_MAX))
            return 1;
    return alike_reason(&r->rows[row], text, k) != NULL;
}

static void write_note(const struct report *r, const struct summary_group *g, const char *text,
                       char *out, size_t size)
{
    size_t rows = 0;
    *out = '\0';
    for (size_t i = g->begin; i < g->end; i++)
        rows += alike_reason(&r->rows[i], text, SIZE_MAX) != NULL;
    for (size_t i = g->begin; i < g->end && (rows < g->end - g->begin || rows == 1); i++)
        if (alike_reason(&r->rows[i], text, SIZE_MAX))
            add(out, size, "%s%s", *out ? ", " : "", r->rows[i].label);
    add(out, size, "%s%s", *out ? ": " : "", text);
}

/* Which rows share a finding is searched anew for each note: that is for people, who read some. */
enum { NOTES_MAX = 40, NOTE_ROWS_MAX = 64 };

int format_note(const struct report *r, const struct summary_group *g, size_t index, char *out,
                size_t size)
{
    size_t left = index, rows = g->end - g->begin, end = g->begin + NOTE_ROWS_MAX;
    for (size_t row = g->begin; row < g->end && row < end; row++)
        for (size_t k = 0; r->rows[row].reasons[k] && index < NOTES_MAX; k++)
            if (!is_repeated(r, g, row, k) && left-- == 0) {
                write_note(r, g, r->rows[row].reasons[k], out, size);
                return 1;
            }
    /* left is 0 at the first index beyond the last note */
    if (index > NOTES_MAX || (index < NOTES_MAX && (left || rows <= NOTE_ROWS_MAX)))
        return 0;
    *out = '\0';
    add(out, size, "there is more: --json has the reasons of each row");
    return 1;
}

/* --- the answer ------------------------------------------------------------------------------- */

/* "0.9 J/inference (estimated 0.3..1.6)", "0.808 ±0.004 J/inference (measured)" */
static void add_energy(const struct summary *s, int utf8, char *out, size_t size)
{
    char text[2 * FORMAT_SIZE];
    double unit = format_unit_of(s->j);
    const char *name = format_unit_name(unit);
    if (s->provenance == WATTLE_NONE) {
        add(out, size, "no energy figure");
        return;
    }
    format_energy(s, unit, utf8, text);
    char *low = strstr(text, " ["), *high = strstr(text, "] e");
    if (low && high) {
        *low = *high = '\0';
        add(out, size, "%s %s/inference (estimated %s)", text, name, low + 2);
        return;
    }
    char *mark = strpbrk(text, "ie"); /* spelled out behind instead */
    if (mark && mark > text)
        mark[-1] = '\0';
    add(out, size, "%s %s/inference (%s)", text, name, wattle_provenance_name(s->provenance));
}

static void answer_one(const struct summary *s, int utf8, char *out, size_t size)
{
    char text[FORMAT_SIZE];
    add(out, size, "%s: ", s->label);
    add_energy(s, utf8, out, size);
    int is_short = s->p50_ms < 1; /* as in the table */
    if (!isnan(s->p50_ms))
        add(out, size, ", %s %s p50", format_number(s->p50_ms * (is_short ? 1e3 : 1), 3, text),
            is_short ? "us" : "ms");
}

static void answer_time(const struct summary *a, const struct summary *b, char *out, size_t size)
{
    char text[FORMAT_SIZE];
    add(out, size, "%s takes %s %% less time than the next, %s (p50; there is no energy figure to "
                   "rank by)", a->label, format_number(100 * (1 - 1 / b->ratio), 2, text),
        b->label);
}

static const char *certainty(const struct summary *s)
{
    return s->provenance == WATTLE_ESTIMATED
               ? "over the estimate's whole range; the spread between blocks is not tested"
               : "beyond the meter's error; the spread between blocks is not tested";
}

static void answer_energy(const struct summary *a, const struct summary *b, char *out, size_t size)
{
    char low[FORMAT_SIZE], high[FORMAT_SIZE], text[FORMAT_SIZE];
    if (b->ratio_low > 1)
        add(out, size, "%s uses %s %% less energy than the next, %s (%s)", a->label,
            format_number(100 * (1 - 1 / b->ratio), 2, text), b->label, certainty(b));
    else
        add(out, size, "%s and %s are not distinguishable by energy (ratio %s..%s)", a->label,
            b->label, format_number(b->ratio_low, 3, low), format_number(b->ratio_high, 3, high));
}

static void answer_none(const struct report *r, const struct summary_group *g, char *out,
                        size_t size)
{
    const struct summary *s = &r->rows[g->begin];
    if (!s->first)
        add(out, size, "no result: %s: %s", s->label, s->failure);
    else
        add(out, size, "no answer: %s: %s", s->label, s->rank_reason ? s->rank_reason : "");
}

void format_answer(const struct report *r, const struct summary_group *g, int utf8, char *out,
                   size_t size)
{
    const struct summary *a = &r->rows[g->begin], *b = a + 1;
    *out = '\0';
    if (g->ranked == 0)
        answer_none(r, g, out, size);
    else if (g->ranked == 1)
        answer_one(a, utf8, out, size);
    else if (g->by_time)
        answer_time(a, b, out, size);
    else
        answer_energy(a, b, out, size);
    if (g->ranked && a->verdict == VERDICT_SUSPECT)
        add(out, size, " (SUSPECT: see the notes)");
}
