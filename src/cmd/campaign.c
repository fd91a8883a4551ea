#include "cmd/campaign.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "cmd/progress.h"
#include "report/report.h"
#include "model/zoo.h"
#include "worker/worker.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- plan ------------------------------------------------------------------------------------- */

/* The file whose bytes stand for the model. */
static int hashed_file(const struct cell *model, char path[PATH_MAX], struct error *e)
{
    if (!strcmp(model->format, "savedmodel"))
        return file_join(path, model->path, "saved_model.pb", e);
    snprintf(path, PATH_MAX, "%s", model->path);
    if (!strcmp(model->format, "python"))
        *strrchr(path, ':') = '\0'; /* FILE.py:FUNCTION */
    return 0;
}

static int describe_model(const struct cell *model, struct store_model *out, struct error *e)
{
    *out = (struct store_model){.parameters = -1, .macs = -1};
    snprintf(out->name, sizeof out->name, "%s", model->model);
    snprintf(out->path, sizeof out->path, "%s", model->path);
    snprintf(out->format, sizeof out->format, "%s", model->format);
    if (!model->path[0])
        return 0;
    char path[PATH_MAX];
    int result = hashed_file(model, path, e);
    if (!result)
        result = file_sha256(path, out->sha256, e);
    const struct zoo_model *zoo = zoo_find(model->model);
    if (!result && zoo && !strcmp(zoo->sha256, out->sha256)) {
        out->parameters = zoo->parameters;
        out->macs = zoo->macs;
    }
    return result;
}

/* A cached built-in model whose bytes are no longer those of the table is written anew: measured
 * under its name it would be another model. */
static int mend_model(const struct cell *model, struct store_model *out, struct error *e)
{
    const struct zoo_model *zoo = zoo_find(model->model);
    char path[PATH_MAX];
    if (!zoo || zoo_path(zoo, path, NULL) || strcmp(path, model->path) ||
        !strcmp(zoo->sha256, out->sha256))
        return 0;
    log_warning("%s was damaged and is written anew", path);
    int result = zoo_build_until(zoo, worker_interrupted, path, e);
    return result ? result : describe_model(model, out, e);
}

static int plan_models(struct campaign *c, const char *const *models, size_t model_count, int build,
                       struct cell **cells, size_t *cell_count, struct error *e)
{
    c->stored.models = calloc(model_count, sizeof *c->stored.models);
    if (!c->stored.models)
        return error_memory(e);
    int own = c->request->target_count == 0; /* and so there are workers */
    for (size_t i = 0; i < model_count; i++) {
        struct cell model;
        int result = own ? request_own_model(models[i], build, &model, e)
                         : request_model(models[i], build, &model, e);
        if (!result)
            result = request_cells(c->request, &model, cells, cell_count, e);
        struct store_model *described = &c->stored.models[c->stored.model_count];
        c->stored.model_count += build != 0;
        if (!result && build)
            result = describe_model(&model, described, e);
        if (!result && build)
            result = mend_model(&model, described, e);
        if (result)
            return result;
    }
    return 0;
}

static size_t model_of(const struct campaign *c, const struct cell *cell)
{
    size_t i = 0;
    while (i + 1 < c->stored.model_count && strcmp(c->stored.models[i].path, cell->path))
        i++;
    return i;
}

static int describe_cells(struct campaign *c, struct error *e)
{
    const struct request *r = c->request;
    size_t count = c->plan.cell_count;
    c->stored.cells = calloc(count, sizeof *c->stored.cells);
    c->agreements = calloc(count, sizeof *c->agreements);
    c->hopeless = calloc(count, sizeof *c->hopeless);
    c->failures = calloc(count, sizeof *c->failures);
    if (!c->stored.cells || !c->agreements || !c->hopeless || !c->failures)
        return error_memory(e);
    c->stored.cell_count = count;
    for (size_t i = 0; i < count; i++) {
        c->stored.cells[i].cell = c->plan.cells[i];
        c->stored.cells[i].model = model_of(c, &c->plan.cells[i]);
        c->agreements[i] = (struct agreement){.max_rel_error = NAN, .ok = -1};
        c->stored.cells[i].agreement = c->agreements[i];
    }
    snprintf(c->stored.version, sizeof c->stored.version, "%s", WATTLE_VERSION);
    c->stored.started_ns = clock_realtime_ns();
    c->stored.seed = r->measure.seed;
    c->stored.duration_s = (double)r->measure.duration_ns / 1e9;
    c->stored.blocks = r->blocks;
    c->stored.host = json_incref(r->host.fingerprint);
    host_title(&r->host, c->stored.host_title, sizeof c->stored.host_title);
    return 0;
}

/* The inputs of each cell can be made up, and its batch is known from here on. A built-in model
 * that a dry run found unwritten has nothing to be read. */
static int check_cells(const struct request *r, struct cell *cells, size_t count, struct error *e)
{
    int result = 0;
    for (size_t i = 0; i < count && !result; i++) {
        if (!cells[i].path[0] || strcmp(cells[i].format, "onnx") || !access(cells[i].path, F_OK))
            result = measure_check(&cells[i], &r->measure, e);
        else if (!cells[i].batch)
            cells[i].batch = 1;
    }
    return result;
}

/* An option that chooses nothing is a misunderstanding. */
static int check_forms(const struct request *r, const struct cell *cells, size_t count,
                       struct error *e)
{
    if (!r->form_native && !r->form_converted)
        return 0;
    for (size_t i = 0; i < count; i++)
        if (cells[i].form[0])
            return 0;
    error_set(e, ERROR_USAGE, "--form chooses nothing here: no model is given to a chosen runtime "
              "in a form of its own");
    return error_hint(e, "it is for -r pytorch with a built-in model or an ONNX file");
}

int campaign_plan(struct campaign *c, const struct request *r, const char *const *models,
                  size_t model_count, int build, struct error *e)
{
    *c = (struct campaign){.request = r};
    struct cell *cells = NULL;
    size_t count = 0;
    int result = plan_models(c, models, model_count, build, &cells, &count, e);
    if (!result)
        result = check_forms(r, cells, count, e);
    if (!result)
        result = check_cells(r, cells, count, e);
    if (!result)
        result = plan_make(&c->plan, cells, count, r->blocks, r->measure.seed, e);
    if (result)
        free(cells);
    if (!result)
        result = describe_cells(c, e);
    if (result)
        campaign_release(c);
    return result;
}

void campaign_release(struct campaign *c)
{
    store_close(c->store);
    store_campaign_release(&c->stored);
    plan_release(&c->plan);
    free(c->agreements);
    free(c->hopeless);
    free(c->failures);
    *c = (struct campaign){0};
}

/* --- agreement -------------------------------------------------------------------------------- */

static int same_inputs(const struct cell *a, const struct cell *b)
{
    return !strcmp(a->path, b->path) && !strcmp(a->model, b->model) && a->batch == b->batch;
}

static int is_reference(const struct cell *c)
{
    return !strcmp(c->runtime, "builtin") && !strcmp(c->provider, "reference");
}

/* The reference kernels know ONNX files only. */
static int is_verified(const struct campaign *c, const struct cell *cell)
{
    return c->request->verify && cell->path[0] && !strcmp(cell->format, "onnx");
}

/* What cell i is compared with: the plain-C reference where it is among the cells or asked for with
 * --verify, else the first cell of the same model and batch. */
static struct cell reference_for(const struct campaign *c, size_t i)
{
    const struct cell *cells = c->plan.cells;
    size_t first = c->plan.cell_count;
    for (size_t k = 0; k < c->plan.cell_count; k++) {
        if (c->failures[k].code || !same_inputs(&cells[k], &cells[i]))
            continue;
        if (is_reference(&cells[k]))
            return cells[k];
        first = k < first ? k : first;
    }
    struct cell reference = cells[first];
    if (is_verified(c, &cells[i])) {
        snprintf(reference.runtime, sizeof reference.runtime, "builtin");
        snprintf(reference.provider, sizeof reference.provider, "reference");
        snprintf(reference.options, sizeof reference.options, "{}");
        reference.variant[0] = reference.library[0] = reference.provider_library[0] = '\0';
        reference.form[0] = reference.artifact[0] = reference.devices[0] = '\0';
        reference.command[0] = '\0';
        snprintf(reference.version, sizeof reference.version, "%s", WATTLE_VERSION);
    }
    return reference;
}

static int same_cell(const struct cell *a, const struct cell *b)
{
    return same_inputs(a, b) && !strcmp(a->runtime, b->runtime) &&
           !strcmp(a->variant, b->variant) && !strcmp(a->form, b->form) &&
           !strcmp(a->command, b->command) && !strcmp(a->devices, b->devices) &&
           !strcmp(a->library, b->library) && !strcmp(a->provider, b->provider) &&
           !strcmp(a->provider_library, b->provider_library) && a->threads == b->threads &&
           !strcmp(a->precision, b->precision);
}

static void name_reference(const struct cell *reference, struct agreement *a)
{
    int versioned = reference->library[0] && reference->version[0]; /* not what is built in */
    char runtime[REPORT_RUNTIME_MAX];
    snprintf(a->reference, sizeof a->reference, "%s%s%s%s%s%s%s",
             report_runtime(reference, runtime), reference->provider[0] ? ":" : "",
             reference->provider, versioned ? "@" : "", versioned ? reference->version : "",
             reference->form[0] ? " " : "", reference->form);
}

/* With what another cell gave, or (NULL) with --expect. A failure to get outputs is not the end:
 * the cell's blocks will fail with the same reason. */
static int compare_cell(const struct campaign *c, const struct measure_outputs *reference, size_t i,
                        struct error *e)
{
    struct measure_outputs outputs;
    struct error why = {0};
    struct agreement *a = &c->agreements[i];
    progress_say("comparing outputs", &c->plan.cells[i]);
    const struct measure_limits limits = measure_limits_of(&c->plan.cells[i]);
    int result = measure_outputs(&c->plan.cells[i], &c->request->measure, &outputs, &why);
    if (result == ERROR_INTERRUPTED) {
        *e = why;
        return result;
    }
    if (result)
        snprintf(a->detail, sizeof a->detail, "no outputs: %.170s", why.text);
    else if (reference)
        measure_agree_within(reference, &outputs, &limits, a);
    else
        measure_expect(&c->request->expect, &outputs, &limits, a);
    measure_outputs_release(&outputs);
    return 0;
}

/* Is it among those that are compared with each other, the first of which is `first`? */
static int in_group(const struct campaign *c, size_t i, size_t first)
{
    return i >= first && !c->failures[i].code &&
           same_inputs(&c->plan.cells[i], &c->plan.cells[first]);
}

static int fetch(const struct campaign *c, const struct cell *cell, struct measure_outputs *out,
                 struct error *why)
{
    progress_say("computing reference outputs", cell);
    return measure_outputs(cell, &c->request->measure, out, why);
}

/* The outputs that the others of a group are compared with: those of reference_for, or, unless it
 * was asked for with --verify, of the first cell that gives any. *why is about the first try. */
static int find_reference(const struct campaign *c, size_t first, struct cell *reference,
                          struct measure_outputs *out, struct error *why)
{
    struct error later;
    int missing = fetch(c, reference, out, why);
    struct cell tried = *reference;
    for (size_t i = first; missing && i < c->plan.cell_count && !is_verified(c, reference); i++) {
        if (missing == ERROR_INTERRUPTED)
            break;
        if (!in_group(c, i, first) || same_cell(&tried, &c->plan.cells[i]))
            continue;
        *reference = c->plan.cells[i];
        missing = fetch(c, reference, out, &later);
    }
    return missing;
}

/* Is there a cell of the group to compare with the reference? */
static int has_others(const struct campaign *c, size_t first, const struct cell *reference)
{
    for (size_t i = first; i < c->plan.cell_count; i++)
        if (in_group(c, i, first) && !same_cell(reference, &c->plan.cells[i]))
            return 1;
    return 0;
}

/* All cells of the model and batch of cell `first`, which is the first of them. */
static int compare_group(struct campaign *c, size_t first, int *done, struct error *e)
{
    struct cell reference = reference_for(c, first);
    struct measure_outputs outputs = {0};
    struct error why = {0};
    int missing = 0, result = 0;
    if (has_others(c, first, &reference))
        missing = find_reference(c, first, &reference, &outputs, &why);
    if (missing == ERROR_INTERRUPTED)
        result = error_set(e, ERROR_INTERRUPTED, "interrupted while outputs were compared");
    for (size_t i = first; i < c->plan.cell_count && !result; i++) {
        if (!in_group(c, i, first))
            continue;
        done[i] = 1;
        if (same_cell(&reference, &c->plan.cells[i]))
            continue;
        name_reference(&reference, &c->agreements[i]);
        if (missing)
            snprintf(c->agreements[i].detail, sizeof c->agreements[i].detail,
                     "the reference gave no outputs: %.150s", why.text);
        else
            result = compare_cell(c, &outputs, i, e);
    }
    measure_outputs_release(&outputs);
    return result;
}

static int compare_expected(const struct campaign *c, size_t i, struct error *e)
{
    snprintf(c->agreements[i].reference, sizeof c->agreements[i].reference, "file:%s",
             c->request->expect_name);
    return compare_cell(c, NULL, i, e);
}

static void warn_unverified(const struct campaign *c)
{
    for (size_t i = 0; i < c->plan.cell_count; i++) {
        const struct cell *cell = &c->plan.cells[i];
        if (!c->request->verify || is_verified(c, cell))
            continue;
        log_warning("--verify: '%s' is no ONNX file, which is all that the reference kernels read; "
                    "its cells are compared with each other", cell->model);
        return;
    }
}

static int compare_outputs(struct campaign *c, struct error *e)
{
    warn_unverified(c);
    int *done = calloc(c->plan.cell_count, sizeof *done);
    if (!done)
        return error_memory(e);
    int result = 0;
    for (size_t i = 0; i < c->plan.cell_count && !result; i++) {
        if (c->failures[i].code)
            continue;
        if (c->request->expect.count)
            result = compare_expected(c, i, e);
        else if (!done[i])
            result = compare_group(c, i, done, e);
    }
    free(done);
    for (size_t i = 0; i < c->plan.cell_count && !result; i++)
        result = store_put_agreement(c->store, c->stored.id, i, &c->agreements[i], e);
    return result;
}

/* --- blocks ----------------------------------------------------------------------------------- */

/* A model that cannot be loaded or run once today cannot be in the next block either. */
static int is_hopeless(const struct record *r)
{
    static const enum error_code lasting[] = {ERROR_FORMAT, ERROR_UNSUPPORTED, ERROR_USAGE,
                                              ERROR_MISMATCH};
    for (size_t i = 0; i < sizeof lasting / sizeof *lasting; i++)
        if (r->error.code == lasting[i])
            return isnan(r->first_ms);
    return 0;
}

static void warn_failed(const struct cell *c, const struct record *r)
{
    char runtime[REPORT_RUNTIME_MAX];
    log_warning("%s on %s%s%s failed: %s", c->model, report_runtime(c, runtime),
                c->provider[0] ? ":" : "", c->provider, r->error.text);
    if (r->error.hint[0])
        log_note("  hint: %s", r->error.hint);
}

/* Nothing but the runtime tells the batch: no -b, no shapes, and a file that only it reads. */
static int is_batch_open(const struct campaign *c, const struct cell *cell)
{
    const struct request *r = c->request;
    return !r->batches[0] && !r->input.count && !strcmp(cell->shapes, "{}") &&
           (cell->path[0] ? strcmp(cell->format, "onnx") != 0 : cell->command[0] != '\0');
}

/* A model loaded for the first time says how large its batch is; all its cells are labelled so. */
static int learn_batch(struct campaign *c, const struct cell *cell, const struct record *record,
                       struct error *e)
{
    int64_t batch = record_loaded_batch(json_object_get(record->shapes, "inputs"));
    int result = 0;
    if (batch == cell->batch || !is_batch_open(c, cell))
        return 0;
    for (size_t i = 0; i < c->plan.cell_count && !result; i++) {
        struct cell *other = &c->plan.cells[i];
        if (strcmp(other->path, cell->path) || strcmp(other->command, cell->command))
            continue;
        other->batch = c->stored.cells[i].cell.batch = batch;
        result = store_put_batch(c->store, c->stored.id, i, batch, e);
    }
    return result;
}

static int execute_block(struct campaign *c, size_t index, struct progress *progress,
                         struct error *e)
{
    const struct plan_block *block = &c->plan.blocks[index];
    const struct cell *cell = &c->plan.cells[block->cell];
    if (c->hopeless[block->cell])
        return 0;
    struct measure_options options = c->request->measure;
    options.phase = progress_phase;
    options.phase_context = progress;
    progress_block(progress, index, cell);
    struct record record;
    int result = 0, prepared = !c->failures[block->cell].code;
    if (prepared)
        result = measure_block(cell, block->number, &options, &record, e);
    else
        measure_failed(&c->failures[block->cell], block->number, &record);
    if (!result) {
        if (record.error.code) {
            progress_clear(progress);
            warn_failed(cell, &record);
        }
        c->hopeless[block->cell] = !prepared || is_hopeless(&record);
        result = store_put_block(c->store, c->stored.id, block->cell, &record, e);
        c->kept += !result;
    }
    if (!result && !record.error.code)
        result = learn_batch(c, cell, &record, e);
    record_release(&record);
    return result;
}

static int execute_blocks(struct campaign *c, struct error *e)
{
    struct progress progress;
    int result = 0;
    progress_begin(&progress, c->plan.block_count, c->stored.duration_s + 3);
    for (size_t i = 0; i < c->plan.block_count && !result; i++)
        result = execute_block(c, i, &progress, e);
    progress_clear(&progress);
    return result;
}

int campaign_execute(struct campaign *c, const char *store_file, struct error *e)
{
    int result = store_open(store_file, &c->store, e);
    if (!result)
        result = campaign_prepare(c, e);
    if (!result)
        result = store_begin(c->store, &c->stored, e);
    if (!result && c->plan.cell_count > 0)
        result = compare_outputs(c, e);
    if (!result)
        result = execute_blocks(c, e);
    if (!result)
        result = store_finish(c->store, c->stored.id, e);
    return result;
}
