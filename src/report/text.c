#include "report/format.h"

#include "base/text.h"

#include <langinfo.h>
#include <libsmartcols.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* On narrower terminals the CPU column gives way; the other outputs have it. */
enum { INDENT = 10, LINE_SIZE = 2048, CPU_COLUMN_WIDTH = 90, RUNTIME_LEAST = 14,
       PROVIDER_LEAST = 8, RUNTIME_GOOD = 18, NAME_SIZE = 192 };

struct report_style report_style_of(FILE *out)
{
    struct report_style style = {.utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8"), .width = 100};
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM"), *columns = getenv("COLUMNS");
    int terminal = isatty(fileno(out));
    style.color = terminal && !(no_color && *no_color) && term && strcmp(term, "dumb");
    struct winsize window;
    if (terminal && !ioctl(fileno(out), TIOCGWINSZ, &window) && window.ws_col > 0)
        style.width = window.ws_col;
    int64_t wanted;
    if (columns && !text_to_int(columns, "COLUMNS", 1, INT32_MAX, &wanted, NULL))
        style.width = (int)wanted;
    style.width = style.width < 80 ? 80 : style.width > 200 ? 200 : style.width;
    return style;
}

/* --- lines ------------------------------------------------------------------------------------ */

static size_t columns_of(const char *text, size_t bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++)
        n += ((unsigned char)text[i] & 0xc0) != 0x80;
    return n;
}

/* Prints text broken at blanks, every line but the first indented. `column` is where it starts. */
static void print_wrapped(FILE *out, const struct report_style *style, const char *text,
                          size_t column, size_t indent)
{
    size_t width = (size_t)style->width;
    while (*text) {
        size_t blanks = strspn(text, " "), bytes = strcspn(text + blanks, " ");
        size_t word = columns_of(text + blanks, bytes);
        if (column > indent && column + blanks + word > width) {
            fprintf(out, "\n%*s", (int)indent, "");
            column = indent;
            text += blanks;
            blanks = 0;
        }
        fwrite(text, 1, blanks + bytes, out);
        column += blanks + word;
        text += blanks + bytes;
    }
    fputc('\n', out);
}

/* "head      text", wrapped under the text. */
static void print_headed(FILE *out, const struct report_style *style, const char *head,
                         const char *text)
{
    char clean[LINE_SIZE];
    format_line(text, style->utf8, clean, sizeof clean);
    fprintf(out, "%-*s", INDENT, head);
    print_wrapped(out, style, clean, INDENT, INDENT);
}

static void print_plain(FILE *out, const struct report_style *style, const char *text)
{
    char clean[LINE_SIZE];
    print_wrapped(out, style, format_line(text, style->utf8, clean, sizeof clean), 0, 0);
}

static void print_title(const struct report *r, const struct summary_group *g, FILE *out,
                        const struct report_style *style)
{
    char title[LINE_SIZE], facts[LINE_SIZE], clean[LINE_SIZE];
    format_title(r, g, title, sizeof title);
    format_facts(r, g, facts, sizeof facts);
    format_line(title, style->utf8, clean, sizeof clean);
    size_t used = columns_of(clean, strlen(clean));
    if (used + 6 + strlen(facts) <= (size_t)style->width) {
        fprintf(out, "%s      %s\n", clean, facts);
        return;
    }
    print_wrapped(out, style, clean, 0, INDENT);
    print_headed(out, style, "", facts);
}

/* --- the table -------------------------------------------------------------------------------- */

enum column { RUNTIME, PROVIDER, FORM, P50, TAIL, RATE, CPU, ENERGY, RATIO, VERDICT, COLUMNS };

struct tail {
    const char *title;
    double (*value)(const struct summary *);
};

static double p90(const struct summary *s)
{
    return s->p90_ms;
}

static double p95(const struct summary *s)
{
    return s->p95_ms;
}

static double p99(const struct summary *s)
{
    return s->p99_ms;
}

/* The highest percentile for which every completed row has samples enough. */
static struct tail choose_tail(const struct report *r, const struct summary_group *g)
{
    static const struct tail tails[] = {{"p99", p99}, {"p95", p95}, {"p90", p90}};
    for (size_t t = 0; t < 3; t++) {
        size_t have = 0, rows = 0;
        for (size_t i = g->begin; i < g->end; i++) {
            rows += r->rows[i].first != NULL;
            have += !isnan(tails[t].value(&r->rows[i]));
        }
        if (rows && have == rows)
            return tails[t];
    }
    return tails[0];
}

/* Microseconds where every row is below 0.1 ms: "0.000491" would push names out of the table. */
static double time_unit_ms(const struct report *r, const struct summary_group *g)
{
    double largest = NAN;
    for (size_t i = g->begin; i < g->end; i++)
        largest = fmax(largest, r->rows[i].p50_ms);
    return largest < 0.1 ? 1e-3 : 1;
}

struct table {
    struct libscols_table *scols;
    const struct report_style *style;
    double unit;    /* of energy: J, mJ or uJ in J */
    double time_ms; /* of latency and CPU time: ms or us in ms */
    struct tail tail;
    const char *rate; /* its heading */
    int forms;      /* a row has one */
    size_t widths[COLUMNS]; /* of the longest text */
    int failed;
};

static void add_columns(struct table *t)
{
    const char *time = t->time_ms < 1 ? "us" : "ms";
    char p50[16], tail[16], cpu[16], energy[32];
    snprintf(p50, sizeof p50, "p50 %s", time);
    snprintf(tail, sizeof tail, "%s %s", t->tail.title, time);
    snprintf(cpu, sizeof cpu, "CPU-%s", time);
    snprintf(energy, sizeof energy, "%s/inference", format_unit_name(t->unit));
    const struct {
        const char *title;
        double hint;
        int flags;
    } columns[COLUMNS] = {
        [RUNTIME] = {"RUNTIME", 0, SCOLS_FL_TRUNC},
        [PROVIDER] = {"PROVIDER", 0, SCOLS_FL_TRUNC},
        [FORM] = {"FORM", 0, t->forms ? 0 : SCOLS_FL_HIDDEN},
        [P50] = {p50, 0, SCOLS_FL_RIGHT},
        [TAIL] = {tail, 0, SCOLS_FL_RIGHT},
        [RATE] = {t->rate, 0, SCOLS_FL_RIGHT},
        [CPU] = {cpu, 0,
                 SCOLS_FL_RIGHT | (t->style->width < CPU_COLUMN_WIDTH ? SCOLS_FL_HIDDEN : 0)},
        [ENERGY] = {energy, 0, SCOLS_FL_RIGHT},
        [RATIO] = {"vs best", 0, 0},
        [VERDICT] = {"VERDICT", 0, 0},
    };
    for (size_t i = 0; i < COLUMNS; i++)
        t->widths[i] = strlen(columns[i].title);
    for (size_t i = 0; i < COLUMNS; i++)
        if (!scols_table_new_column(t->scols, columns[i].title, columns[i].hint, columns[i].flags))
            t->failed = 1;
}

static void set(struct table *t, struct libscols_line *line, enum column c, const char *text)
{
    size_t width = columns_of(text, strlen(text));
    t->widths[c] = width > t->widths[c] ? width : t->widths[c];
    t->failed |= scols_line_set_data(line, c, text) != 0;
}

static void set_number(struct table *t, struct libscols_line *line, enum column c, double x)
{
    char text[FORMAT_SIZE];
    set(t, line, c, format_number(x, 3, text));
}

static void set_verdict(struct table *t, struct libscols_line *line, const struct summary *s)
{
    static const char *const colors[] = {"green", "yellow", "red"};
    set(t, line, VERDICT, format_verdict(s));
    struct libscols_cell *cell = scols_line_get_cell(line, VERDICT);
    if (t->style->color && cell)
        scols_cell_set_color(cell, colors[s->verdict]);
}

static void set_name(struct table *t, struct libscols_line *line, enum column c, const char *name,
                     const char *version, int instances)
{
    char text[NAME_SIZE], clean[NAME_SIZE];
    size_t n = (size_t)snprintf(text, sizeof text, "%s%s%s", name, *version ? " " : "", version);
    if (instances > 1 && n < sizeof text)
        snprintf(text + n, sizeof text - n, " x%d", instances);
    set(t, line, c, format_line(text, t->style->utf8, clean, sizeof clean));
}

static void add_row(struct table *t, const struct summary *s)
{
    struct libscols_line *line = scols_table_new_line(t->scols, NULL);
    char text[2 * FORMAT_SIZE], runtime[REPORT_RUNTIME_MAX];
    if (!line) {
        t->failed = 1;
        return;
    }
    const struct cell *c = &s->cell->cell;
    set_name(t, line, RUNTIME, report_runtime(c, runtime),
             s->first ? s->first->runtime_version : "", c->instances);
    set_name(t, line, PROVIDER, s->first && s->first->provider[0] ? s->first->provider
                                                                  : c->provider, c->devices, 1);
    set_name(t, line, FORM, c->form, "", 1);
    set_number(t, line, P50, s->p50_ms / t->time_ms);
    set_number(t, line, TAIL, t->tail.value(s) / t->time_ms);
    set_number(t, line, RATE, s->throughput_per_s);
    set_number(t, line, CPU, 1e3 * s->cpu_s / t->time_ms);
    set(t, line, ENERGY, format_energy(s, t->unit, t->style->utf8, text));
    set(t, line, RATIO, format_ratio(s, t->style->utf8, text));
    set_verdict(t, line, s);
}

static int is_shown(const struct table *t, enum column c)
{
    struct libscols_column *column = scols_table_get_column(t->scols, c);
    return column && !(scols_column_get_flags(column) & SCOLS_FL_HIDDEN);
}

static size_t needed_width(const struct table *t)
{
    size_t width = 0, shown = 0;
    for (size_t i = 0; i < COLUMNS; i++)
        if (is_shown(t, (enum column)i)) {
            width += t->widths[i];
            shown++;
        }
    return width + 2 * (shown - 1);
}

/* As many bytes as the first `columns` take. */
static size_t bytes_of(const char *text, size_t columns)
{
    size_t bytes = 0;
    for (size_t i = 0; i < columns && text[bytes]; i++)
        for (bytes++; ((unsigned char)text[bytes] & 0xc0) == 0x80;)
            bytes++;
    return bytes;
}

/* Cut where one sees it: a version without its end is another one. A name that is cut itself goes
 * without its version and keeps its end, by which the variants of a runtime differ. */
static void shorten(const char *whole, size_t limit, char text[NAME_SIZE])
{
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(whole, " "), whole);
    size_t columns = columns_of(name, strlen(name)), tail = limit / 2;
    if (columns_of(whole, strlen(whole)) <= limit)
        snprintf(text, NAME_SIZE, "%s", whole);
    else if (columns + 2 <= limit)
        snprintf(text, NAME_SIZE, "%.*s..", (int)bytes_of(whole, limit - 2), whole);
    else if (columns <= limit)
        snprintf(text, NAME_SIZE, "%s", name);
    else
        snprintf(text, NAME_SIZE, "%.*s..%s", (int)bytes_of(name, limit - 2 - tail), name,
                 name + bytes_of(name, columns - tail));
}

/* Columns for names, when what is too wide is taken from them. */
static size_t name_limit(const struct table *t, enum column c, size_t least)
{
    size_t needed = needed_width(t), width = (size_t)t->style->width;
    if (needed <= width || t->widths[c] <= least)
        return t->widths[c];
    size_t more = needed - width, most = t->widths[c] - least;
    return t->widths[c] - (more < most ? more : most);
}

static const char *text_at(const struct table *t, size_t row, enum column c)
{
    struct libscols_line *line = scols_table_get_line(t->scols, row);
    struct libscols_cell *cell = line ? scols_line_get_cell(line, c) : NULL;
    const char *text = cell ? scols_cell_get_data(cell) : NULL;
    return text ? text : "";
}

/* Two versions may differ beyond the limit only. */
static int names_look_alike(const struct table *t)
{
    char cut[NAME_SIZE], other[NAME_SIZE];
    size_t limit = name_limit(t, RUNTIME, RUNTIME_LEAST), rows = scols_table_get_nlines(t->scols);
    for (size_t i = 0; i < rows; i++) {
        shorten(text_at(t, i, RUNTIME), limit, cut);
        for (size_t k = 0; k < i; k++) {
            shorten(text_at(t, k, RUNTIME), limit, other);
            if (!strcmp(cut, other) && strcmp(text_at(t, i, RUNTIME), text_at(t, k, RUNTIME)))
                return 1;
        }
    }
    return 0;
}

/* Names that are cut a little still tell the rows apart. */
static int names_can_be_cut(const struct table *t)
{
    size_t spare = t->widths[RUNTIME] > RUNTIME_GOOD ? t->widths[RUNTIME] - RUNTIME_GOOD : 0;
    return !t->forms && needed_width(t) <= (size_t)t->style->width + spare && !names_look_alike(t);
}

/* Where forms make the names long, or little would be left of them, what the other outputs tell as
 * well is left out first, so that the names stay whole as far as possible. */
static void give_way(struct table *t)
{
    static const enum column order[] = {RATE, TAIL};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        struct libscols_column *column = scols_table_get_column(t->scols, order[i]);
        if (needed_width(t) <= (size_t)t->style->width || names_can_be_cut(t))
            return;
        t->failed |= !column || scols_column_set_flags(column, SCOLS_FL_RIGHT | SCOLS_FL_HIDDEN);
    }
}

/* What is still too wide is taken from the longer names. */
static void cut_names(struct table *t, enum column c, size_t least)
{
    size_t limit = name_limit(t, c, least), rows = scols_table_get_nlines(t->scols);
    char text[NAME_SIZE];
    for (size_t i = 0; i < rows; i++) {
        shorten(text_at(t, i, c), limit, text);
        t->failed |= scols_line_set_data(scols_table_get_line(t->scols, i), c, text) != 0;
    }
    t->widths[c] = limit;
}

/* libsmartcols pads the last column too: the blanks are left out here. */
static void print_trimmed(FILE *out, const char *text)
{
    while (*text) {
        size_t line = strcspn(text, "\n"), used = line;
        while (used && text[used - 1] == ' ')
            used--;
        fwrite(text, 1, used, out);
        fputc('\n', out);
        text += line + (text[line] == '\n');
    }
}

static void fill_table(struct table *t, const struct report *r, const struct summary_group *g)
{
    scols_table_enable_colors(t->scols, t->style->color);
    scols_table_enable_ascii(t->scols, !t->style->utf8);
    scols_table_set_column_separator(t->scols, "  ");
    scols_table_set_termforce(t->scols, SCOLS_TERMFORCE_ALWAYS);
    scols_table_set_termwidth(t->scols, (size_t)t->style->width);
    add_columns(t);
    for (size_t i = g->begin; i < g->end && !t->failed; i++)
        add_row(t, &r->rows[i]);
    if (!t->failed)
        give_way(t);
    if (!t->failed)
        cut_names(t, RUNTIME, RUNTIME_LEAST);
    if (!t->failed)
        cut_names(t, PROVIDER, PROVIDER_LEAST);
}

static int print_table(const struct report *r, const struct summary_group *g, FILE *out,
                       const struct report_style *style, struct error *e)
{
    struct table t = {.style = style, .unit = format_unit(r, g), .time_ms = time_unit_ms(r, g),
                      .tail = choose_tail(r, g), .rate = format_rate_name(r, g),
                      .forms = format_has_forms(r, g)};
    t.scols = scols_new_table();
    if (!t.scols)
        return error_memory(e);
    fill_table(&t, r, g);
    char *text = NULL;
    if (!t.failed)
        t.failed = scols_print_table_to_string(t.scols, &text) != 0 || !text;
    if (!t.failed)
        print_trimmed(out, text);
    free(text);
    scols_unref_table(t.scols);
    return t.failed ? error_memory(e) : 0;
}

/* --- a group ---------------------------------------------------------------------------------- */

static int print_group(const struct report *r, const struct summary_group *g, FILE *out,
                       const struct report_style *style, struct error *e)
{
    char text[LINE_SIZE];
    print_title(r, g, out, style);
    if (g == r->groups) {
        format_host(r, text, sizeof text);
        print_headed(out, style, "host", text);
    }
    fputc('\n', out);
    int result = print_table(r, g, out, style, e);
    if (result)
        return result;
    for (size_t i = 0; format_how(r, g, i, text, sizeof text); i++)
        print_headed(out, style, i ? "" : "made", text);
    for (size_t i = 0; format_note(r, g, i, text, sizeof text); i++)
        print_headed(out, style, i ? "" : "notes", text);
    format_agreement(r, g, text, sizeof text);
    if (*text)
        print_plain(out, style, text);
    format_answer(r, g, style->utf8, text, sizeof text);
    print_plain(out, style, text);
    return 0;
}

int report_text(const struct report *r, FILE *out, const struct report_style *style,
                struct error *e)
{
    int result = 0;
    for (size_t i = 0; i < r->group_count && !result; i++) {
        if (i)
            fputc('\n', out);
        result = print_group(r, &r->groups[i], out, style, e);
    }
    return result;
}
