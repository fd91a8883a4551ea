/* Table, Markdown and CSV against kept outputs (tests/fixtures/report; UPDATE_GOLDEN=1 rewrites
 * them: read the difference before you commit it), and what hostile names do to them. */
#include "report_samples.h"

#include "base/text.h"
#include "report/format.h"

#include <locale.h>

static struct report_style style;

static int text(const struct report *r, FILE *out)
{
    return report_text(r, out, &style, &err);
}

static int markdown(const struct report *r, FILE *out)
{
    return report_markdown(r, out, &err);
}

static int csv(const struct report *r, FILE *out)
{
    return report_csv(r, out, &err);
}

static char *render(void (*make)(struct store_campaign *),
                    int (*write)(const struct report *, FILE *))
{
    struct store_campaign c;
    struct report r;
    make(&c);
    assert_int_equal(report_make(&r, &c, &err), 0);
    char *out = written(write, &r);
    report_release(&r);
    store_campaign_release(&c);
    return out;
}

static void same_as_kept(const char *name, const char *got)
{
    char path[128], kept[20000];
    snprintf(path, sizeof path, "tests/fixtures/report/%s", name);
    if (getenv("UPDATE_GOLDEN")) {
        FILE *f = fopen(path, "wb");
        assert_non_null(f);
        fputs(got, f);
        assert_int_equal(fclose(f), 0);
    }
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("cannot open %s (run from the top of the repository)", path);
    size_t n = fread(kept, 1, sizeof kept - 1, f);
    kept[n] = '\0';
    fclose(f);
    if (strcmp(kept, got))
        fail_msg("%s differs; got:\n%s", path, got);
}

static void check(const char *name, void (*make)(struct store_campaign *),
                  int (*write)(const struct report *, FILE *))
{
    char *out = render(make, write);
    same_as_kept(name, out);
    free(out);
}

static void kept_outputs(void **context)
{
    (void)context;
    style = (struct report_style){.utf8 = 1, .width = 100};
    check("estimated.txt", make_estimated, text);
    check("measured.txt", make_measured, text);
    check("none.txt", make_none, text);
    check("estimated.md", make_estimated, markdown);
    check("measured.md", make_measured, markdown);
    check("none.md", make_none, markdown);
    check("estimated.csv", make_estimated, csv);
    check("measured.csv", make_measured, csv);
    check("none.csv", make_none, csv);
    check("forms.txt", make_forms, text);
    check("forms.md", make_forms, markdown);
    check("forms.csv", make_forms, csv);
}

static void ascii_is_ascii(void **context)
{
    (void)context;
    style = (struct report_style){.utf8 = 0, .width = 100};
    char *out = render(make_measured, text);
    for (const char *p = out; *p; p++)
        assert_true((unsigned char)*p < 0x80);
    assert_non_null(strstr(out, "+-"));
    free(out);
}

static void colors_only_where_asked(void **context)
{
    (void)context;
    style = (struct report_style){.utf8 = 1, .width = 100};
    char *plain = render(make_estimated, text);
    assert_null(strchr(plain, 27));
    style.color = 1;
    char *colored = render(make_estimated, text);
    assert_non_null(strchr(colored, 27));
    free(plain);
    free(colored);
}

static void the_style_follows_the_environment(void **context)
{
    (void)context;
    unsetenv("COLUMNS");
    FILE *f = tmpfile();
    struct report_style s = report_style_of(f);
    assert_true(s.color == 0 && s.width == 100);
    setenv("COLUMNS", "120", 1);
    assert_int_equal(report_style_of(f).width, 120);
    setenv("COLUMNS", "20", 1);
    assert_int_equal(report_style_of(f).width, 80);
    setenv("COLUMNS", "99999", 1);
    assert_int_equal(report_style_of(f).width, 200);
    fclose(f);
    unsetenv("COLUMNS");
    FILE *terminal = fopen("/dev/ptmx", "r+");
    if (!terminal)
        return;
    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    assert_int_equal(report_style_of(terminal).color, 1);
    setenv("NO_COLOR", "1", 1);
    assert_int_equal(report_style_of(terminal).color, 0);
    setenv("NO_COLOR", "", 1); /* set but empty does not count */
    assert_int_equal(report_style_of(terminal).color, 1);
    setenv("TERM", "dumb", 1);
    assert_int_equal(report_style_of(terminal).color, 0);
    unsetenv("NO_COLOR");
    fclose(terminal);
}

static void fill(char *text, size_t size, const char *piece)
{
    size_t n = strlen(piece);
    for (size_t i = 0; i + 1 < size; i++)
        text[i] = piece[i % n];
    text[size - 1] = '\0';
}

/* Every text as long as it can be, of letters, escapes and broken UTF-8. */
static void make_hostile(struct store_campaign *c)
{
    static const char piece[] = "a|b\x1b[31m\n\r\t\"<x>`*_,\xff\xc3\xa9\xe2\x82\xac 12";
    make_estimated(c);
    fill(c->host_title, sizeof c->host_title, piece);
    fill(c->command, sizeof c->command, piece);
    fill(c->models[0].name, sizeof c->models[0].name, piece);
    for (size_t i = 0; i < c->cell_count; i++) {
        struct store_cell *cell = &c->cells[i];
        fill(cell->cell.runtime, sizeof cell->cell.runtime, piece + i);
        fill(cell->cell.provider, sizeof cell->cell.provider, piece);
        fill(cell->agreement.reference, sizeof cell->agreement.reference, piece);
        fill(cell->agreement.detail, sizeof cell->agreement.detail, piece);
        for (size_t j = 0; j < cell->block_count; j++) {
            struct record *r = &cell->blocks[j];
            fill(r->runtime_version, sizeof r->runtime_version, piece);
            fill(r->library, sizeof r->library, piece);
            fill(r->provider, sizeof r->provider, piece);
            if (r->error.code)
                fill(r->error.text, sizeof r->error.text, piece);
            for (size_t k = 0; k < r->meter_count; k++)
                fill(r->meters[k].box.source, sizeof r->meters[k].box.source, piece);
        }
    }
}

static void make_huge(struct store_campaign *c)
{
    make_measured(c);
    for (size_t i = 0; i < c->cell_count; i++)
        for (size_t j = 0; j < c->cells[i].block_count; j++) {
            struct record *r = &c->cells[i].blocks[j];
            r->meters[0].energy.j *= 1e12;
            r->meters[0].energy.low_j = -1e300;
            r->meters[0].energy.high_j = 1e300;
            r->wall_s *= 1e9;
            r->user_s *= 1e12;
        }
}

static size_t widest(const char *out)
{
    size_t widest = 0, n = 0;
    for (const char *p = out; *p; p++) {
        n = *p == '\n' ? 0 : n + (((unsigned char)*p & 0xc0) != 0x80);
        widest = n > widest ? n : widest;
    }
    return widest;
}

static void names_are_cut_and_cleaned(void **context)
{
    (void)context;
    static void (*const makers[])(struct store_campaign *) = {make_estimated, make_measured,
                                                              make_none, make_hostile, make_huge};
    for (int utf8 = 0; utf8 < 2; utf8++)
        for (size_t i = 0; i < sizeof makers / sizeof *makers; i++)
            for (int width = 100; width <= 140; width += 20) {
                style = (struct report_style){.utf8 = utf8, .width = width};
                char *out = render(makers[i], text), clean[30000];
                /* one word may be longer than a line */
                if (makers[i] != make_hostile && widest(out) > (size_t)width)
                    fail_msg("%zu columns of %d:\n%s", widest(out), width, out);
                for (const char *line = strstr(out, "RUNTIME"); line && *line && *line != '\n';) {
                    size_t n = strcspn(line, "\n");
                    char row[2000];
                    snprintf(row, sizeof row, "%.*s", (int)n, line);
                    if (widest(row) > (size_t)width)
                        fail_msg("%zu columns of %d: %s\n%s", widest(row), width, row, out);
                    line += n + (line[n] == '\n');
                    if (!strncmp(line, "notes", 5))
                        break;
                }
                for (const char *p = out; *p; p++)
                    assert_true(*p == '\n' || (unsigned char)*p >= 0x20);
                assert_string_equal(text_utf8(out, 0, clean, sizeof clean), out);
                free(out);
            }
}

/* Rows of one name would be of no use, whatever the width. */
static void cut_names_stay_apart(void **context)
{
    (void)context;
    enum { ROWS = 6 };
    for (int width = 80; width <= 100; width += 20) {
        style = (struct report_style){.utf8 = 1, .width = width};
        char *out = render(make_variants, text), names[ROWS][64];
        size_t rows = 0;
        for (const char *line = out; (line = strstr(line, "\npytorch")) && rows < ROWS; rows++) {
            line++;
            snprintf(names[rows], sizeof names[rows], "%.*s", (int)strcspn(line, " "), line);
            for (size_t i = 0; i < rows; i++)
                assert_string_not_equal(names[i], names[rows]);
        }
        assert_int_equal(rows, ROWS);
        assert_non_null(strstr(out, "care-2"));
        assert_true(widest(out) <= (size_t)width);
        free(out);
    }
}

static void markdown_and_csv_stay_whole(void **context)
{
    (void)context;
    char *out = render(make_hostile, markdown);
    size_t rows = 0;
    for (const char *line = out; *line; line += strcspn(line, "\n") + 1) {
        size_t n = strcspn(line, "\n"), bars = 0;
        if (*line != '|')
            continue;
        for (size_t i = 0; i < n; i++)
            bars += line[i] == '|' && (i == 0 || line[i - 1] != '\\');
        assert_int_equal(bars, 11);
        rows++;
    }
    assert_int_equal(rows, 6);
    assert_null(strstr(out, "<x>"));
    free(out);
    out = render(make_hostile, csv);
    size_t fields = 0, records = 0;
    int quoted = 0;
    for (const char *p = out; *p; p++) {
        quoted ^= *p == '"';
        fields += *p == ',' && !quoted;
        if (quoted || *p != '\n')
            continue;
        assert_int_equal(p[-1], '\r');
        assert_int_equal(fields, 63);
        fields = 0;
        records++;
    }
    assert_int_equal(quoted, 0);
    assert_int_equal(records, 5);
    free(out);
}

static void groups_get_a_table_each(void **context)
{
    (void)context;
    struct store_campaign c;
    struct report r;
    style = (struct report_style){.utf8 = 1, .width = 100};
    make_measured(&c);
    struct store_cell *cell = add_cell(&c, "builtin", "cpu");
    cell->model = 1;
    cell->cell.batch = 64;
    measured(add_done(cell, 1000, 10, 0.02), 20, 1);
    assert_int_equal(report_make(&r, &c, &err), 0);
    char *out = written(text, &r);
    assert_non_null(strstr(out, "\nmine  batch 64  threads 2  f32 "));
    const char *second = strstr(strstr(out, "RUNTIME") + 1, "RUNTIME");
    assert_non_null(second);
    assert_non_null(strstr(second, "mJ/inference")); /* 20 mJ: the unit follows the figures */
    assert_null(strstr(second, "host "));
    free(out);
    report_release(&r);
    store_campaign_release(&c);
}

/* 70 rows with 30 findings each of their own: a few are told, and that there are more. */
static void make_talkative(struct store_campaign *c)
{
    make_campaign(c, 1);
    free(c->cells);
    c->cells = calloc(70, sizeof *c->cells);
    assert_non_null(c->cells);
    for (int i = 0; i < 70; i++) {
        char name[16], reason[32];
        snprintf(name, sizeof name, "r%d", i);
        c->cell_count = 0; /* add_cell has a limit of its own */
        struct store_cell *cell = add_cell(c, name, "cpu");
        struct record *r = add_done(cell, 1000, 11, 0.02);
        for (int k = 0; k < 30; k++) {
            snprintf(reason, sizeof reason, "%c%c%c reason", 'a' + i / 10,
                     'a' + i % 10, 'a' + k % 26);
            json_array_append_new(r->reasons, json_string(reason));
        }
        c->cells[69 - i] = *cell;
    }
    c->cell_count = 70;
}

static void notes_are_bounded(void **context)
{
    (void)context;
    style = (struct report_style){.utf8 = 1, .width = 100};
    char *out = render(make_talkative, text);
    size_t notes = 0;
    for (const char *p = out; (p = strstr(p, " reason\n")); p++)
        notes++;
    assert_int_equal(notes, 40);
    assert_non_null(strstr(out, "there is more: --json"));
    free(out);
    out = render(make_estimated, text);
    assert_null(strstr(out, "there is more"));
    free(out);
}

static void answers(void **context)
{
    (void)context;
    static const struct {
        double j, error, ms;
        const char *answer;
    } table[] = {
        {1250, 1, 11, "a uses 20 % less energy than the next, b (beyond the meter's error"},
        {1001, 5, 11, "a and b are not distinguishable by energy (ratio 0.991..1.01)"},
        {0, 0, 11, "a: 1.00 +-0.01 J/inference (measured), 11.0 ms p50"},
        {0, 0, 0.011, "a: 1.00 +-0.01 J/inference (measured), 60.0 us p50"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct store_campaign c;
        struct report r;
        char answer[1000];
        make_campaign(&c, 1);
        measured(add_done(add_cell(&c, "a", "cpu"), 1000, table[i].ms, 0.02), 1000,
                 table[i].error + 0.5);
        if (table[i].j > 0)
            measured(add_done(add_cell(&c, "b", "cpu"), 1000, 11, 0.02), table[i].j,
                     table[i].error);
        assert_int_equal(report_make(&r, &c, &err), 0);
        format_answer(&r, &r.groups[0], 0, answer, sizeof answer);
        if (strncmp(answer, table[i].answer, strlen(table[i].answer)))
            fail_msg("got '%s', want '%s'", answer, table[i].answer);
        report_release(&r);
        store_campaign_release(&c);
    }
}

static void numbers(void **context)
{
    (void)context;
    static const struct {
        double x;
        int digits;
        const char *text;
    } table[] = {
        {32.54, 3, "32.5"},  {3.254, 3, "3.25"},   {0.03254, 3, "0.0325"}, {325.4, 3, "325"},
        {32540, 3, "32540"}, {9.996, 3, "10.0"},   {99.96, 3, "100"},      {0.9996, 3, "1.00"},
        {0, 3, "0"},         {NAN, 3, "-"},        {0.91, 2, "0.91"},      {1e20, 3, "1e+20"},
        {1e-12, 3, "1e-12"}, {INFINITY, 3, "inf"}, {-1.5, 3, "-1.50"},     {1, 1, "1"},
    };
    char out[FORMAT_SIZE];
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        assert_string_equal(format_number(table[i].x, table[i].digits, out), table[i].text);
    assert_string_equal(format_count(25557032, out), "25.56 M");
    assert_string_equal(format_count(4089184256, out), "4.09 G");
    assert_string_equal(format_count(999, out), "999");
    assert_string_equal(format_count(INT64_MAX, out), "9223.37 P");
}

static void foreign_bytes(void **context)
{
    (void)context;
    char out[32];
    assert_string_equal(text_utf8("a\xc3\xa9\xff\xc3", 0, out, sizeof out), "a\xc3\xa9??");
    assert_string_equal(text_utf8("\xed\xa0\x80\xc0\x80\xf5", 0, out, sizeof out), "??????");
    assert_string_equal(text_utf8("a\x1b[0m\n\xc2\x9b" "b", 1, out, sizeof out), "a [0m  b");
    assert_string_equal(format_line("\xe2\x82\xac \xc3\xa9", 0, out, sizeof out), "? ?");
    assert_string_equal(text_utf8("abc\xe2\x82\xac", 0, out, 6), "abc"); /* no half character */
}

int main(void)
{
    setlocale(LC_CTYPE, "C.UTF-8");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_outputs),
        cmocka_unit_test(ascii_is_ascii),
        cmocka_unit_test(colors_only_where_asked),
        cmocka_unit_test(the_style_follows_the_environment),
        cmocka_unit_test(names_are_cut_and_cleaned),
        cmocka_unit_test(cut_names_stay_apart),
        cmocka_unit_test(markdown_and_csv_stay_whole),
        cmocka_unit_test(groups_get_a_table_each),
        cmocka_unit_test(notes_are_bounded),
        cmocka_unit_test(answers),
        cmocka_unit_test(numbers),
        cmocka_unit_test(foreign_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
