/* json.c: schema wattle/1 (docs/wattle-1.schema.json). A number that is missing is null, and the
 * reason stands beside it. */
#include "report/format.h"

#include "base/clock.h"
#include "base/text.h"

#include <math.h>
#include <string.h>

/* Every setter takes the value's reference, also when it is NULL for want of memory: the object
 * then lacks the key, `failed` is set and no half document is given out. */
struct object {
    json_t *value;
    int *failed;
};

static void set(struct object o, const char *key, json_t *value)
{
    if (!value || json_object_set_new(o.value, key, value))
        *o.failed = 1;
}

static void set_number(struct object o, const char *key, double x)
{
    set(o, key, isfinite(x) ? json_real(x) : json_null());
}

/* Bytes come as double because missing is NaN; beyond 2^53 there are none. */
static void set_bytes(struct object o, const char *key, double x)
{
    set(o, key, x >= 0 && x < 0x1p53 ? json_integer((json_int_t)x) : json_null());
}

static void set_int(struct object o, const char *key, int64_t n)
{
    set(o, key, json_integer((json_int_t)n));
}

/* Counts are at most 2^63 - 1 in JSON libraries; beyond it is not a count but damage. */
static void set_u64(struct object o, const char *key, uint64_t n)
{
    set(o, key, n <= INT64_MAX ? json_integer((json_int_t)n) : json_null());
}

/* NULL and "" are null. */
static void set_text(struct object o, const char *key, const char *text)
{
    char clean[5000];
    if (!text || !*text)
        set(o, key, json_null());
    else
        set(o, key, json_string(text_utf8(text, 0, clean, sizeof clean)));
}

static void set_time(struct object o, const char *key, uint64_t realtime_ns)
{
    char text[21];
    clock_iso8601(realtime_ns, text);
    set_text(o, key, realtime_ns ? text : NULL);
}

static void set_pair(struct object o, const char *key, double low, double high)
{
    if (isfinite(low) && isfinite(high))
        set(o, key, json_pack("[f,f]", low, high));
    else
        set(o, key, json_null());
}

static void set_copy(struct object o, const char *key, json_t *value)
{
    set(o, key, value ? json_incref(value) : json_object());
}

static struct object child(struct object o, const char *key)
{
    json_t *value = json_object();
    set(o, key, value);
    return (struct object){value, o.failed};
}

static json_t *array_of(struct object o, const char *key)
{
    json_t *value = json_array();
    set(o, key, value);
    return value;
}

static struct object element(struct object o, json_t *array)
{
    json_t *value = json_object();
    if (!value || json_array_append_new(array, value))
        *o.failed = 1;
    return (struct object){value, o.failed};
}

static void set_texts(struct object o, const char *key, const char *const *texts)
{
    json_t *array = array_of(o, key);
    char clean[1024];
    for (size_t i = 0; texts[i]; i++)
        if (json_array_append_new(array,
                                  json_string(text_utf8(texts[i], 0, clean, sizeof clean))))
            *o.failed = 1;
}

/* --- parts of a cell -------------------------------------------------------------------------- */

static void set_error(struct object o, const struct record *r, const char *text)
{
    if (!text) {
        set(o, "error", json_null());
        return;
    }
    struct object error = child(o, "error");
    set_text(error, "code", r ? error_code_name(r->error.code) : "interrupted");
    set_text(error, "text", text);
    set_text(error, "hint", r ? r->error.hint : NULL);
    set_text(error, "log", r ? r->log : NULL);
}

static void set_model(struct object o, const struct store_model *m, const struct cell *c)
{
    struct object model = child(o, "model");
    set_text(model, "name", m->name);
    set_text(model, "format", m->format);
    set_text(model, "sha256", m->sha256);
    set_text(model, "form", c->form);
    set_text(model, "how", c->how);
    set_number(model, "parameters", NAN);
    if (m->parameters >= 0)
        set_int(model, "parameters", m->parameters);
    set_number(model, "macs", NAN);
    if (m->macs >= 0)
        set_int(model, "macs", m->macs);
}

/* "0+1" as ["0","1"]. */
static void set_devices(struct object o, const char *devices)
{
    json_t *array = array_of(o, "devices");
    char id[sizeof ((struct cell *)0)->devices], clean[sizeof id];
    for (const char *at = devices; *at; at += *at == '+') {
        size_t size = strcspn(at, "+");
        snprintf(id, sizeof id, "%.*s", (int)size, at);
        if (json_array_append_new(array, json_string(text_utf8(id, 1, clean, sizeof clean))))
            *o.failed = 1;
        at += size;
    }
}

static void set_setup(struct object o, const struct summary *s)
{
    const struct cell *c = &s->cell->cell;
    const struct record *first = s->first;
    struct object runtime = child(o, "runtime");
    set_text(runtime, "name", c->runtime);
    set_text(runtime, "variant", c->variant[0] ? c->variant : NULL);
    set_text(runtime, "version", first ? first->runtime_version
                                       : c->version[0] ? c->version : NULL);
    set_text(runtime, "library", first ? first->library : c->library[0] ? c->library : NULL);
    set_text(runtime, "command", c->command);
    set_text(o, "provider", first && first->provider[0] ? first->provider : c->provider);
    set_devices(o, c->devices);
    set_int(o, "batch", c->batch);
    set_int(o, "threads", c->threads);
    set_int(o, "instances", c->instances);
    set_text(o, "precision", c->precision);
    set_number(o, "gap_s", (double)c->gap_ns / 1e9);
    struct object dims = child(o, "dims");
    char symbol[2 * PLAN_NAME_MAX];
    for (size_t i = 0; i < c->dim_count; i++)
        set_int(dims, text_utf8(c->dims[i].symbol, 0, symbol, sizeof symbol), c->dims[i].value);
    set_copy(o, "settings", first ? first->settings : NULL);
    set_copy(o, "environment", first ? first->environment : NULL);
    set_copy(o, "shapes", first ? first->shapes : NULL);
}

static void set_latency(struct object o, const struct summary *s)
{
    struct object latency = child(o, "latency_ms");
    set_u64(latency, "n", s->n);
    set_number(latency, "min", s->min_ms);
    set_number(latency, "p50", s->p50_ms);
    set_number(latency, "p90", s->p90_ms);
    set_number(latency, "p95", s->p95_ms);
    set_number(latency, "p99", s->p99_ms);
    set_text(latency, "percentile_reason", s->percentile_reason);
    set_pair(latency, "ci95", s->ci95_low_ms, s->ci95_high_ms);
    set_text(latency, "ci95_reason", s->ci95_reason);
}

/* One reason for two numbers; the load is never there. */
static void set_gpu(struct object o, const struct summary *s)
{
    const char *reason = s->device_memory_reason;
    set(o, "gpu_percent", json_null());
    set_bytes(o, "device_memory_peak_bytes", s->device_memory_peak_bytes);
    if (isfinite(s->device_memory_peak_bytes))
        reason = "the load of a GPU is not measured by this version";
    set_text(o, "gpu_reason", reason ? reason : "the runtime reports no accelerator to measure");
}

static void set_rates(struct object o, const struct summary *s)
{
    set_number(o, "throughput_per_s", s->throughput_per_s);
    set_number(o, "cpu_s_per_inference", s->cpu_s);
    set_number(o, "cpu_user_s_per_inference", s->cpu_user_s);
    set_number(o, "cpu_system_s_per_inference", s->cpu_system_s);
    set_number(o, "cpu_percent", s->cpu_percent);
    set_bytes(o, "rss_peak_bytes", s->rss_peak_bytes);
    set_number(o, "context_switches_per_inference", s->context_switches);
    set_number(o, "page_faults_per_inference", s->page_faults);
    set_gpu(o, s);
}

/* Joules of a domain between the first and the last reading of a block's window. */
static double domain_j(const struct record_meter *m, size_t domain)
{
    if (m->sample_count < 2 || !m->samples)
        return NAN;
    const struct wattle_reading *begin = &m->samples[domain];
    const struct wattle_reading *end = begin + (m->sample_count - 1) * m->domain_count;
    if (begin->status != WATTLE_OK || end->status != WATTLE_OK || end->gaps != begin->gaps ||
        end->total_uj < begin->total_uj)
        return NAN;
    return (double)(end->total_uj - begin->total_uj) / 1e6;
}

static void set_domain(struct object o, const struct record_meter *m, size_t i, uint64_t runs)
{
    const struct wattle_domain *d = &m->domains[i];
    double j = domain_j(m, i);
    char reason[300] = "";
    if (isnan(j))
        snprintf(reason, sizeof reason, "%s: %s", wattle_status_name(d->status),
                 d->text[0] ? d->text : "no reading at begin or end of the window");
    set_text(o, "meter", m->name);
    set_text(o, "name", d->name);
    set_text(o, "scope", d->scope);
    set_text(o, "provenance", wattle_provenance_name(d->provenance));
    set_text(o, "status", wattle_status_name(d->status));
    set(o, "in_total", json_boolean(d->in_total));
    set_number(o, "j_per_inference", j / (double)runs);
    set_text(o, "reason", reason);
}

/* The domains of the first completed block: all blocks of a campaign see the same ones. */
static void set_domains(struct object o, const struct record *first)
{
    json_t *domains = array_of(o, "domains");
    for (size_t i = 0; first && i < first->meter_count; i++)
        for (size_t d = 0; d < first->meters[i].domain_count; d++)
            set_domain(element(o, domains), &first->meters[i], d, first->runs);
}

static void set_box(struct object o, const struct wattle_estimate_box *box)
{
    if (!box) {
        set(o, "estimate", json_null());
        return;
    }
    struct object estimate = child(o, "estimate");
    set_pair(estimate, "wall_w", box->a_low_w, box->a_high_w);
    set_pair(estimate, "cpu_w", box->b_low_w, box->b_high_w);
    set_text(estimate, "source", box->source);
}

static void set_energy(struct object o, const struct summary *s)
{
    struct object energy = child(o, "energy");
    set_text(energy, "provenance", wattle_provenance_name(s->provenance));
    set_text(energy, "meter", s->meter);
    set_number(energy, "j_per_inference", s->j);
    set_pair(energy, "interval_j", s->j_low, s->j_high);
    set(energy, "net_j_per_inference", json_null());
    set_text(energy, "net_reason", "the idle machine is not measured by this version");
    set_box(energy, s->box);
    set_domains(energy, s->first);
    set_text(energy, "reason", s->energy_reason);
}

static void set_agreement(struct object o, const struct summary *s)
{
    const struct agreement *a = &s->cell->agreement;
    struct object agreement = child(o, "agreement");
    set_text(agreement, "reference", a->reference);
    set_number(agreement, "max_rel_error", a->ok < 0 ? NAN : a->max_rel_error);
    set(agreement, "ok", a->ok < 0 ? json_null() : json_boolean(a->ok));
    set_text(agreement, "detail", format_agreement_detail(s));
}

static void set_rank(struct object o, const struct summary *s, int by_time)
{
    set(o, "rank", s->rank ? json_integer(s->rank) : json_null());
    set_text(o, "rank_reason", s->rank_reason);
    if (!s->rank) {
        set(o, "vs_best", json_null());
        return;
    }
    struct object best = child(o, "vs_best");
    set_text(best, "by", by_time ? "time" : "energy");
    set_number(best, "ratio", s->ratio);
    set_pair(best, "interval", s->ratio_low, s->ratio_high);
}

/* --- blocks ----------------------------------------------------------------------------------- */

static void set_block_energy(struct object o, const struct record *r)
{
    struct object energy = child(o, "energy");
    int have = r->energy_meter >= 0 && (size_t)r->energy_meter < r->meter_count;
    const struct record_meter *m = have ? &r->meters[r->energy_meter] : NULL;
    const char *reason = r->error.code ? r->error.text : r->energy_reason;
    set_text(energy, "provenance", wattle_provenance_name(m ? m->energy.provenance : WATTLE_NONE));
    set_text(energy, "meter", m ? m->name : NULL);
    set_number(energy, "j", m ? m->energy.j : NAN);
    set_pair(energy, "interval_j", m ? m->energy.low_j : NAN, m ? m->energy.high_j : NAN);
    if (m)
        reason = m->energy.reason;
    set_text(energy, "reason", m || (reason && *reason) ? reason : "no meter");
}

static void set_block_reasons(struct object o, json_t *reasons)
{
    json_t *array = array_of(o, "reasons"), *item;
    size_t i;
    json_array_foreach(reasons, i, item)
        if (json_is_string(item) && json_array_append(array, item))
            *o.failed = 1;
}

static void set_block(struct object o, const struct record *r)
{
    int done = r->error.code == ERROR_NONE && r->runs > 0;
    set_int(o, "number", r->number);
    set_time(o, "started", r->started_ns);
    set_number(o, "load_ms", r->load_ms);
    set_number(o, "first_ms", r->first_ms);
    struct object warmup = child(o, "warmup");
    set_u64(warmup, "runs", r->warmup_runs);
    set_number(warmup, "s", r->warmup_s);
    set(warmup, "stable", json_boolean(r->warmup_stable));
    set_u64(o, "runs", r->runs);
    set_number(o, "wall_s", r->wall_s);
    set_number(o, "user_s", r->user_s);
    set_number(o, "system_s", r->system_s);
    set_bytes(o, "rss_peak_bytes", r->rss_peak_bytes ? (double)r->rss_peak_bytes : NAN);
    set_block_energy(o, r);
    set_text(o, "verdict", verdict_name(r->verdict));
    set_block_reasons(o, r->reasons);
    const char *text = r->error.text[0] ? r->error.text : "no inference was timed";
    set_error(o, r, done ? NULL : text);
}

static void set_cell(struct object o, const struct report *r, const struct summary *s, int by_time)
{
    set_model(o, &r->campaign->models[s->cell->model], &s->cell->cell);
    set_setup(o, s);
    set_error(o, s->failed, s->first ? NULL : s->failure);
    set_number(o, "load_ms", s->load_ms);
    set_number(o, "first_ms", s->first_ms);
    set_latency(o, s);
    set_rates(o, s);
    set_energy(o, s);
    set_agreement(o, s);
    set_rank(o, s, by_time);
    set_text(o, "verdict", verdict_name(s->verdict));
    set_texts(o, "reasons", s->reasons);
    json_t *blocks = array_of(o, "blocks");
    for (size_t i = 0; i < s->cell->block_count; i++)
        set_block(element(o, blocks), &s->cell->blocks[i]);
}

/* --- the document ----------------------------------------------------------------------------- */

static void set_campaign(struct object o, const struct store_campaign *c)
{
    struct object campaign = child(o, "campaign");
    char seed[24];
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)c->seed);
    set_int(campaign, "id", c->id);
    set_text(campaign, "uuid", c->uuid);
    set_time(campaign, "started", c->started_ns);
    set_time(campaign, "finished", c->finished_ns);
    set_text(campaign, "finished_reason", c->finished_ns ? NULL : "cut short");
    set_text(campaign, "command", c->command);
    if (c->seed <= INT64_MAX)
        set_int(campaign, "seed", (int64_t)c->seed);
    else
        set_text(campaign, "seed", seed);
    set_number(campaign, "duration_s", c->duration_s);
    set_int(campaign, "blocks", c->blocks);
}

json_t *report_json_value(const struct report *r)
{
    int failed = 0;
    struct object top = {json_object(), &failed};
    set_text(top, "schema", "wattle/1");
    set_text(top, "version", r->campaign->version);
    set_campaign(top, r->campaign);
    struct object host = child(top, "host");
    set_text(host, "title", r->campaign->host_title);
    set_copy(host, "fingerprint", r->campaign->host);
    json_t *cells = array_of(top, "cells");
    for (size_t i = 0; i < r->group_count; i++)
        for (size_t j = r->groups[i].begin; j < r->groups[i].end; j++)
            set_cell(element(top, cells), r, &r->rows[j], r->groups[i].by_time);
    if (!failed)
        return top.value;
    json_decref(top.value);
    return NULL;
}

int report_json(const struct report *r, FILE *out, struct error *e)
{
    json_t *value = report_json_value(r);
    if (!value)
        return error_memory(e);
    /* 15 digits: what a double holds for sure, without the noise of 17. */
    int bad = json_dumpf(value, out, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    fputc('\n', out);
    json_decref(value);
    (void)bad; /* a stream that failed is the caller's to see */
    return 0;
}
