/* prepare.c: makes what the cells of a campaign load, each once, before anything is measured. */
#include "cmd/campaign.h"

#include "base/clock.h"
#include "base/log.h"
#include "cmd/progress.h"
#include "report/report.h"
#include "worker/worker.h"

#include <math.h>
#include <string.h>

#define REDRAW_NS (NS_PER_S / 2)

/* What is being made. */
struct making {
    const struct cell *cell;
    uint64_t begin_ns, drawn_ns;
    char step[128];
};

/* The one under way: who asks whether it was interrupted hands no context on. */
static struct making *under_way;

static double elapsed_s(const struct making *m)
{
    return (double)(clock_monotonic_ns() - m->begin_ns) / 1e9;
}

static void describe(const struct making *m, char *text, size_t size)
{
    char runtime[REPORT_RUNTIME_MAX];
    snprintf(text, size, "making %.60s%s%s for %s", m->cell->model, m->cell->form[0] ? " " : "",
             m->cell->form, report_runtime(m->cell, runtime));
}

static void draw(struct making *m, int is_news)
{
    char what[256], line[400];
    describe(m, what, sizeof what);
    snprintf(line, sizeof line, "%s, %.0f s%s%s", what, elapsed_s(m), m->step[0] ? ": " : "",
             m->step);
    progress_line(line, is_news);
    m->drawn_ns = clock_monotonic_ns();
}

static int interrupted(void)
{
    if (under_way && clock_monotonic_ns() - under_way->drawn_ns > REDRAW_NS)
        draw(under_way, 0);
    return worker_interrupted();
}

static void tell(void *making, const char *line)
{
    struct making *m = making;
    snprintf(m->step, sizeof m->step, "%s", line);
    draw(m, 1);
}

static int make(struct campaign *c, size_t i, struct error *e)
{
    struct cell *cell = &c->plan.cells[i];
    struct making m = {.cell = cell, .begin_ns = clock_monotonic_ns()};
    const struct measure_watch watch = {.interrupted = interrupted, .tell = tell, .context = &m};
    char what[256];
    int made = 0;
    under_way = &m;
    draw(&m, 1);
    const struct store_model *model = &c->stored.models[c->stored.cells[i].model];
    int result = measure_prepare(cell, &c->request->measure, model->sha256, &watch, &made, e);
    under_way = NULL;
    progress_wipe();
    describe(&m, what, sizeof what);
    if (!result && made)
        log_note("%s took %.0f s", what, elapsed_s(&m));
    return result;
}

/* A cell before it for which the same was, or could not be, made; else its own index. */
static size_t find_alike(const struct campaign *c, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (measure_prepare_needed(&c->plan.cells[k]) &&
            measure_prepared_alike(&c->plan.cells[k], &c->plan.cells[i]))
            return k;
    return i;
}

/* Outputs that are not the model's are told as such, whatever they would be compared with later. */
static void note_mismatch(struct campaign *c, size_t i)
{
    struct agreement *a = &c->agreements[i];
    const struct error *failure = &c->failures[i];
    if (failure->code != ERROR_MISMATCH)
        return;
    *a = (struct agreement){.max_rel_error = NAN, .ok = 0};
    snprintf(a->reference, sizeof a->reference, "file:%.100s", c->plan.cells[i].model);
    snprintf(a->detail, sizeof a->detail, "%.190s", failure->text);
}

static int prepare_cell(struct campaign *c, size_t i, struct error *e)
{
    struct cell *cell = &c->plan.cells[i];
    size_t k = find_alike(c, i);
    if (k == i) {
        int result = make(c, i, &c->failures[i]);
        if (result == ERROR_INTERRUPTED || result == ERROR_MEMORY) {
            *e = c->failures[i];
            return result;
        }
    } else {
        c->failures[i] = c->failures[k];
        memcpy(cell->artifact, c->plan.cells[k].artifact, sizeof cell->artifact);
        memcpy(cell->how, c->plan.cells[k].how, sizeof cell->how);
    }
    note_mismatch(c, i);
    return 0;
}

int campaign_prepare(struct campaign *c, struct error *e)
{
    int result = 0;
    for (size_t i = 0; i < c->plan.cell_count && !result; i++)
        if (measure_prepare_needed(&c->plan.cells[i]))
            result = prepare_cell(c, i, e);
    for (size_t i = 0; i < c->plan.cell_count && !result; i++) {
        struct cell *cell = &c->plan.cells[i];
        if (!cell->batch)
            cell->batch = measure_own_batch(cell);
        c->stored.cells[i].cell = *cell;
        c->stored.cells[i].agreement = c->agreements[i];
    }
    return result;
}
