#include "measure/meters.h"

#include "base/clock.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Samples kept for one window; at one a second that is over an hour. Beyond it the meters are still
 * polled, so no wrap is lost, and the last sample is replaced. */
enum { SAMPLE_MAX = 4096 };

#define EDGE_TIMEOUT_NS (50 * NS_PER_MS)

static int open_one(struct meter_set *m, const char *name,
                    const struct wattle_meter_options *options, struct error *e)
{
    struct wattle_meter *meter;
    char text[WATTLE_ERROR_MAX];
    int code = wattle_meter_open(name, options, &meter, text);
    if (code)
        return error_set(e, (enum error_code)code, "meter %s: %s", name, text);
    struct record_meter *rm = &m->record->meters[m->count];
    m->meters[m->count++] = meter;
    m->record->meter_count = m->count;
    *rm = (struct record_meter){.energy = {.j = NAN, .low_j = NAN, .high_j = NAN}};
    snprintf(rm->name, sizeof rm->name, "%s", name);
    size_t domains = wattle_meter_domain_count(meter);
    rm->domains = calloc(domains ? domains : 1, sizeof *rm->domains);
    rm->samples = calloc(SAMPLE_MAX * (domains ? domains : 1), sizeof *rm->samples);
    if (!rm->domains || !rm->samples)
        return error_memory(e);
    rm->domain_count = domains;
    for (size_t i = 0; i < domains; i++)
        rm->domains[i] = *wattle_meter_domain(meter, i);
    m->counts[m->count - 1] = wattle_meter_usable(meter) && domains &&
                              rm->domains[0].provenance != WATTLE_ESTIMATED;
    wattle_meter_estimate_box(meter, &rm->box);
    uint64_t poll_ns = wattle_meter_poll_ns(meter);
    if (poll_ns && poll_ns / 2 < m->tick_ns)
        m->tick_ns = poll_ns / 2;
    return 0;
}

int meters_open(struct meter_set *m, const struct measure_options *o, struct worker *w,
                struct record *r, struct error *e)
{
    *m = (struct meter_set){.record = r, .tick_ns = NS_PER_S,
                            .require_measured = o->require_measured};
    struct wattle_meter_options options = {.size = sizeof options,
                                           .sysroot = o->sysroot,
                                           .tdp_w = o->tdp_w,
                                           .cpu_ns = worker_cpu_ns,
                                           .cpu_context = w};
    for (const char *const *name = wattle_meter_names(); *name; name++) {
        if (m->count == RECORD_METER_MAX)
            break;
        int result = open_one(m, *name, &options, e);
        if (result)
            return result;
    }
    return 0;
}

/* Where the next sample goes; the last slot is used over and over once all are taken. */
static struct wattle_reading *next_sample(struct record_meter *rm)
{
    if (rm->sample_count < SAMPLE_MAX)
        rm->sample_count++;
    return rm->samples + (rm->sample_count - 1) * rm->domain_count;
}

void meters_begin(struct meter_set *m)
{
    size_t edge = 0;
    while (edge < m->count && (!wattle_meter_usable(m->meters[edge]) ||
                               wattle_meter_domain(m->meters[edge], 0)->period_ns == 0))
        edge++;
    for (size_t i = 0; i < m->count; i++)
        if (i != edge)
            wattle_meter_read(m->meters[i], next_sample(&m->record->meters[i]));
    if (edge < m->count)
        wattle_meter_edge(m->meters[edge], EDGE_TIMEOUT_NS, next_sample(&m->record->meters[edge]));
}

void meters_sample(void *meter_set)
{
    struct meter_set *m = meter_set;
    for (size_t i = 0; i < m->count; i++)
        wattle_meter_read(m->meters[i], next_sample(&m->record->meters[i]));
}

static int has_figure(const struct meter_set *m, const struct record_meter *rm)
{
    return rm->energy.provenance != WATTLE_NONE &&
           !(m->require_measured && rm->energy.provenance == WATTLE_ESTIMATED);
}

/* A counter worked when the block began and gave no figure: another meter's is not the same. */
static void lost_counter(struct record *r, const struct record_meter *rm)
{
    char text[400];
    snprintf(text, sizeof text, "the counter %s was lost in the window: %s", rm->name,
             rm->energy.reason);
    json_array_append_new(r->reasons, json_string(text));
    if (r->verdict < VERDICT_SUSPECT)
        r->verdict = VERDICT_SUSPECT;
}

static int no_figure(const struct meter_set *m, struct error *e)
{
    struct record *r = m->record;
    snprintf(r->energy_reason, sizeof r->energy_reason, "%.190s",
             m->count ? r->meters[0].energy.reason : "no meter is compiled in");
    if (!m->require_measured)
        return 0;
    return error_set(e, ERROR_UNSUPPORTED, "energy was not measured: %s", r->energy_reason);
}

int meters_end(struct meter_set *m, struct error *e)
{
    struct record *r = m->record;
    meters_sample(m);
    r->energy_meter = -1;
    for (size_t i = 0; i < m->count; i++) {
        struct record_meter *rm = &r->meters[i];
        wattle_meter_energy(m->meters[i], rm->samples,
                            rm->samples + (rm->sample_count - 1) * rm->domain_count, &rm->energy);
        if (r->energy_meter >= 0)
            continue;
        if (has_figure(m, rm))
            r->energy_meter = (int)i;
        else if (m->counts[i])
            lost_counter(r, rm);
    }
    return r->energy_meter < 0 ? no_figure(m, e) : 0;
}

/* Gives back what the samples did not need. */
static void shrink(struct record_meter *rm)
{
    size_t bytes = rm->sample_count * rm->domain_count * sizeof *rm->samples;
    struct wattle_reading *fit = bytes ? realloc(rm->samples, bytes) : NULL;
    if (fit)
        rm->samples = fit;
}

void meters_close(struct meter_set *m)
{
    for (size_t i = 0; i < m->count; i++) {
        wattle_meter_close(m->meters[i]);
        shrink(&m->record->meters[i]);
    }
    m->count = 0;
}
