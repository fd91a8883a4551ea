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

static void print_row(const struct summary *s, double unit, int forms, FILE *out)
{
    char text[2 * FORMAT_SIZE], name[192], runtime[REPORT_RUNTIME_MAX];
    const struct record *first = s->first;
    const struct cell *c = &s->cell->cell;
    snprintf(name, sizeof name, "%s%s%s", report_runtime(c, runtime),
             first && first->runtime_version[0] ? " " : "", first ? first->runtime_version : "");
    fputs("|", out);
    print_cell(out, name);
    snprintf(name, sizeof name, "%s%s%s",
             first && first->provider[0] ? first->provider : c->provider,
             c->devices[0] ? " " : "", c->devices);
    print_cell(out, name);
    if (forms)
        print_cell(out, c->form);
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
    int forms = format_has_forms(r, g);
    fprintf(out,
            "| runtime | provider |%s p50 ms | p90 ms | p99 ms | %s | CPU-ms | %s/inference "
            "| vs best | verdict |\n"
            "|---|---|%s--:|--:|--:|--:|--:|--:|---|---|\n", forms ? " form |" : "",
            format_rate_name(r, g), format_unit_name(unit), forms ? "---|" : "");
    for (size_t i = g->begin; i < g->end; i++)
        print_row(&r->rows[i], unit, forms, out);
}

static void print_item(FILE *out, const char *text, int is_first)
{
    fputs(is_first ? "\n- " : "- ", out);
    print_escaped(out, text);
    fputc('\n', out);
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
    int listed = 0;
    for (size_t i = 0; format_how(r, g, i, text, sizeof text); i++)
        print_item(out, text, !listed++);
    for (size_t i = 0; format_note(r, g, i, text, sizeof text); i++)
        print_item(out, text, !listed++);
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
