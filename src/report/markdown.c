#include "report/format.h"

#include <math.h>
#include <string.h>

enum { LINE_SIZE = 2048 };

/* Names and reasons are foreign text: what Markdown or HTML would take as markup is escaped. */
static void print_escaped(FILE *out, const char *text)
{
    char clean[LINE_SIZE];
    for (const char *p = format_line(text, 1, clean, sizeof clean); *p; p++) {
        if (*p == '<')
            fputs("&lt;", out);
        else if (*p == '&')
            fputs("&amp;", out);
        else {
            if (strchr("\\|*_[]#~", *p))
                fputc('\\', out);
            fputc(*p, out);
        }
    }
}

static void print_cell(FILE *out, const char *text)
{
    fputs(" ", out);
    print_escaped(out, text);
    fputs(" |", out);
}

static void print_number(FILE *out, double x)
{
    char text[FORMAT_SIZE];
    print_cell(out, format_number(x, 3, text));
}

static void print_row(const struct summary *s, double unit, FILE *out)
{
    char text[2 * FORMAT_SIZE], name[192];
    const struct record *first = s->first;
    snprintf(name, sizeof name, "%s%s%s", s->cell->cell.runtime,
             first && first->runtime_version[0] ? " " : "", first ? first->runtime_version : "");
    fputs("|", out);
    print_cell(out, name);
    print_cell(out, first && first->provider[0] ? first->provider : s->cell->cell.provider);
    print_number(out, s->p50_ms);
    print_number(out, s->p90_ms);
    print_number(out, s->p99_ms);
    print_number(out, s->throughput_per_s);
    print_number(out, 1e3 * s->cpu_s);
    print_cell(out, format_energy(s, unit, 1, text));
    print_cell(out, format_ratio(s, 1, text));
    print_cell(out, format_verdict(s));
    fputs("\n", out);
}

static void print_table(const struct report *r, const struct summary_group *g, FILE *out)
{
    double unit = format_unit(r, g);
    fprintf(out,
            "| runtime | provider | p50 ms | p90 ms | p99 ms | per s | CPU-ms | %s/inference "
            "| vs best | verdict |\n"
            "|---|---|--:|--:|--:|--:|--:|--:|---|---|\n", format_unit_name(unit));
    for (size_t i = g->begin; i < g->end; i++)
        print_row(&r->rows[i], unit, out);
}

static void print_group(const struct report *r, const struct summary_group *g, FILE *out)
{
    char text[LINE_SIZE];
    format_title(r, g, text, sizeof text);
    fputs("### ", out);
    print_escaped(out, text);
    fputs("\n\n", out);
    format_facts(r, g, text, sizeof text);
    print_escaped(out, text);
    fputs("  \nhost: ", out);
    format_host(r, text, sizeof text);
    print_escaped(out, text);
    fputs("\n\n", out);
    print_table(r, g, out);
    for (size_t i = 0; format_note(r, g, i, text, sizeof text); i++) {
        fputs(i ? "- " : "\n- ", out);
        print_escaped(out, text);
        fputc('\n', out);
    }
    format_agreement(r, g, text, sizeof text);
    if (*text) {
        fputc('\n', out);
        print_escaped(out, text);
        fputc('\n', out);
    }
    format_answer(r, g, 1, text, sizeof text);
    fputs("\n**", out);
    print_escaped(out, text);
    fputs("**\n", out);
}

int report_markdown(const struct report *r, FILE *out, struct error *e)
{
    (void)e;
    for (size_t i = 0; i < r->group_count; i++) {
        if (i)
            fputc('\n', out);
        print_group(r, &r->groups[i], out);
    }
    return 0;
}
