#include "cmd/campaign.h"

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "report/report.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- exports: opened before anything is measured, so that a bad path fails at once ------------ */

struct export {
    int option;
    int (*write)(const struct report *, FILE *, struct error *);
    const char *path;          /* NULL: not asked for */
    struct file_atomic file;   /* unless path is "-" */
};

static int is_stdout(const struct export *x)
{
    return x->path && !strcmp(x->path, "-");
}

/* Where the file will be, whatever its name on the command line. */
static void final_path(const struct export *x, char path[PATH_MAX])
{
    const char *given = x->file.path, *slash = strrchr(given, '/');
    char folder[PATH_MAX], real[PATH_MAX];
    file_folder_of(given, folder);
    if (realpath(given, path)) /* it is there already */
        return;
    if (!realpath(folder, real) || file_join(path, real, slash ? slash + 1 : given, NULL))
        snprintf(path, PATH_MAX, "%s", given);
}

static int same_file(const struct export *a, const struct export *b)
{
    char first[PATH_MAX], second[PATH_MAX];
    if (!a->file.stream || !b->file.stream)
        return 0;
    final_path(a, first);
    final_path(b, second);
    return !strcmp(first, second);
}

static int exports_distinct(const struct export *exports, size_t count, struct error *e)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < i; k++)
            if (same_file(&exports[i], &exports[k]))
                return error_set(e, ERROR_USAGE, "two of --json, --csv and --markdown would be "
                                 "written to '%s'", exports[i].path);
    return 0;
}

/* /dev/stdout, or the file that stdout was sent to: to write it twice would garble it. */
static const char *export_path(const char *path)
{
    struct stat given, out;
    if (path && !stat(path, &given) && !fstat(STDOUT_FILENO, &out) && !S_ISCHR(out.st_mode) &&
        given.st_dev == out.st_dev && given.st_ino == out.st_ino)
        return "-";
    return path;
}

static int exports_open(struct export *exports, size_t count, const struct option_list *options,
                        struct error *e)
{
    size_t to_stdout = 0;
    for (size_t i = 0; i < count; i++) {
        exports[i].path = export_path(options_last(options, exports[i].option, NULL));
        to_stdout += is_stdout(&exports[i]);
    }
    if (to_stdout > 1)
        return error_set(e, ERROR_USAGE, "only one of --json, --csv and --markdown can go to "
                         "stdout");
    int result = 0;
    for (size_t i = 0; i < count && !result; i++)
        if (exports[i].path && !is_stdout(&exports[i]))
            result = file_atomic_open(&exports[i].file, exports[i].path, e);
    return result ? result : exports_distinct(exports, count, e);
}

static int export_write(struct export *x, const struct report *report, struct error *e)
{
    if (is_stdout(x))
        return x->write(report, stdout, e);
    int result = x->write(report, x->file.stream, e);
    return result ? result : file_atomic_commit(&x->file, e);
}

/* An export that fails takes nothing else with it: the rest is written, the table is printed, and
 * the first failure is what is reported. */
static int exports_write(struct export *exports, size_t count, const struct report *report,
                         struct error *e)
{
    int result = 0, table = 1;
    struct error later;
    for (size_t i = 0; i < count; i++) {
        if (!exports[i].path)
            continue;
        int failed = export_write(&exports[i], report, result ? &later : e);
        table &= !is_stdout(&exports[i]);
        result = result ? result : failed;
    }
    if (!table)
        return result;
    struct report_style style = report_style_of(stdout);
    int failed = report_text(report, stdout, &style, result ? &later : e);
    return result ? result : failed;
}

static void exports_abort(struct export *exports, size_t count)
{
    for (size_t i = 0; i < count; i++)
        file_atomic_abort(&exports[i].file);
}

/* --- the command ------------------------------------------------------------------------------ */

static int store_file(const struct option_list *options, char path[PATH_MAX], struct error *e)
{
    const char *given = options_last(options, OPTION_STORE, NULL);
    char home[PATH_MAX];
    if (given) {
        if ((size_t)snprintf(path, PATH_MAX, "%s", given) >= PATH_MAX)
            return error_set(e, ERROR_USAGE, "path '%.60s...' is too long", given);
        return 0;
    }
    int result = file_home(home, e);
    return result ? result : file_join(path, home, "wattle.db", e);
}

/* With --require measured: is there a counter that gives joules? */
static int require_counter(const struct request *r, struct error *e)
{
    char why[512] = "no meter is compiled in", text[WATTLE_ERROR_MAX];
    struct wattle_meter_options options = {.size = sizeof options, .sysroot = r->measure.sysroot};
    for (const char *const *name = wattle_meter_names(); *name; name++) {
        struct wattle_meter *meter;
        if (wattle_meter_open(*name, &options, &meter, text))
            continue;
        const struct wattle_domain *domain = wattle_meter_domain(meter, 0);
        int counts = wattle_meter_usable(meter) && domain->provenance != WATTLE_ESTIMATED;
        if (domain && domain->provenance != WATTLE_ESTIMATED)
            snprintf(why, sizeof why, "%s: %s", *name, domain->text);
        wattle_meter_close(meter);
        if (counts)
            return 0;
    }
    error_set(e, ERROR_UNSUPPORTED, "energy cannot be measured here (%s)", why);
    return error_hint(e, "leave out --require measured to get an estimate, marked as one");
}

static int print_plan(const struct campaign *c)
{
    for (size_t i = 0; i < c->plan.cell_count; i++) {
        const struct cell *cell = &c->plan.cells[i];
        char runtime[REPORT_RUNTIME_MAX];
        int versioned = cell->library[0] && cell->version[0]; /* not what is built in */
        char batch[24] = "of the file", name[sizeof cell->model];
        if (cell->batch)
            snprintf(batch, sizeof batch, "%lld", (long long)cell->batch);
        printf("cell %zu: %s%s%s on %s%s%s%s%s%s%s, batch %s, threads %d, %s\n", i + 1,
               text_utf8(cell->model, 1, name, sizeof name), cell->form[0] ? " " : "", cell->form,
               report_runtime(cell, runtime),
               versioned ? " " : "", versioned ? cell->version : "", cell->provider[0] ? ":" : "",
               cell->provider, cell->devices[0] ? " " : "", cell->devices, batch, cell->threads,
               cell->precision);
    }
    double seconds = (double)c->plan.block_count * (c->stored.duration_s + 3);
    printf("%zu blocks of %g s, about %.0f min in all\n", c->plan.block_count, c->stored.duration_s,
           seconds / 60 + 0.5);
    return 0;
}

/* Reads the campaign back from the store: what is printed is what is kept. */
static int print_result(struct campaign *c, struct export *exports, size_t count, struct error *e)
{
    struct store_campaign stored;
    struct report report;
    int result = store_load(c->store, c->stored.id, &stored, e);
    if (result)
        return result;
    int code = 0;
    result = report_make(&report, &stored, e);
    if (!result) {
        code = report.exit_code;
        result = exports_write(exports, count, &report, e);
        report_release(&report);
    }
    store_campaign_release(&stored);
    return result ? 0 : code;
}

/* What ended the campaign decides; that its results could not be written either is said before. */
static int fail_with(const struct error *failure, struct error *e)
{
    if (e->code)
        log_error(e);
    *e = *failure;
    return 0;
}

static int execute(struct campaign *c, const struct option_list *options, struct error *e)
{
    struct export exports[] = {{.option = OPTION_JSON, .write = report_json},
                               {.option = OPTION_CSV, .write = report_csv},
                               {.option = OPTION_MARKDOWN, .write = report_markdown}};
    const size_t count = sizeof exports / sizeof *exports;
    char path[PATH_MAX];
    struct error failure = {0};
    int code = 0;
    if (!exports_open(exports, count, options, e) && !store_file(options, path, e)) {
        int result = campaign_execute(c, path, &failure);
        if (c->stored.id && (!result || result == ERROR_INTERRUPTED || c->kept > 0))
            code = print_result(c, exports, count, e);
        if (result)
            code = fail_with(&failure, e);
    }
    exports_abort(exports, count);
    return code;
}

/* Each model once, in the order given; NULL when memory is short. */
static const char **distinct(const char *const *names, size_t count, size_t *kept)
{
    const char **out = calloc(count, sizeof *out);
    *kept = 0;
    for (size_t i = 0; out && i < count; i++) {
        size_t k = 0;
        while (k < *kept && strcmp(out[k], names[i]))
            k++;
        if (k == *kept)
            out[(*kept)++] = names[i];
    }
    return out;
}

static int plan_and_execute(const struct request *r, const struct option_list *options,
                            struct error *e)
{
    struct campaign c;
    int dry = options_given(options, OPTION_DRY_RUN), code = 0;
    size_t count;
    static const char *const none[] = {""};
    const char **models = options->operand_count
                              ? distinct(options->operands, options->operand_count, &count)
                              : distinct(none, 1, &count);
    int result = models ? campaign_plan(&c, r, models, count, !dry, e) : error_memory(e);
    free(models);
    if (result)
        return 0;
    snprintf(c.stored.command, sizeof c.stored.command, "%s", options->command);
    code = dry ? print_plan(&c) : execute(&c, options, e);
    campaign_release(&c);
    return code;
}

int cmd_run(const struct option_list *options, struct error *e)
{
    struct request request;
    if (options->operand_count == 0 && !options_given(options, OPTION_WORKER)) {
        error_set(e, ERROR_USAGE, "no model given");
        error_hint(e, "wattle run resnet50; wattle models lists what is built in");
        return 0;
    }
    if (request_parse(&request, options, e))
        return 0;
    int code = 0;
    if (!request.require_measured || !require_counter(&request, e))
        code = plan_and_execute(&request, options, e);
    request_release(&request);
    return code;
}
