/* csv.c: RFC 4180, one row a cell; missing numbers are empty, their reason is a column beside. */
#include "report/format.h"

#include "base/clock.h"
#include "base/text.h"

#include <math.h>
#include <string.h>

struct row {
    const struct report *report;
    const struct summary *summary;
    FILE *out;
    int column;
};

static void separate(struct row *w)
{
    if (w->column++)
        fputc(',', w->out);
}

static void put_text(struct row *w, const char *text)
{
    char clean[2048];
    separate(w);
    text_utf8(text ? text : "", 0, clean, sizeof clean);
    if (!strpbrk(clean, ",\"\r\n")) {
        fputs(clean, w->out);
        return;
    }
    fputc('"', w->out);
    for (const char *p = clean; *p; p++) {
        if (*p == '"')
            fputc('"', w->out);
        fputc(*p, w->out);
    }
    fputc('"', w->out);
}

static void put_int(struct row *w, long long value)
{
    separate(w);
    fprintf(w->out, "%lld", value);
}

/* Nine digits: more than any clock or counter is good for. */
static void put_number(struct row *w, double x)
{
    separate(w);
    if (isfinite(x))
        fprintf(w->out, "%.9g", x);
}

static const char columns[] =
    "campaign,started,wattle,host,command,seed,duration_s,model,model_sha256,"
    "model_form,model_how,runtime,runtime_variant,runtime_version,runtime_command,provider,devices,"
    "batch,threads,instances,precision,gap_s,blocks_ok,"
    "blocks_failed,failure,"
    "load_ms,first_ms,latency_count,latency_min_ms,latency_p50_ms,latency_p90_ms,latency_p95_ms,"
    "latency_p99_ms,percentile_reason,latency_ci95_low_ms,latency_ci95_high_ms,ci95_reason,"
    "throughput_per_s,cpu_s_per_inference,cpu_user_s_per_inference,cpu_system_s_per_inference,"
    "cpu_percent,rss_peak_bytes,device_memory_peak_bytes,device_memory_reason,"
    "context_switches_per_inference,page_faults_per_inference,"
    "energy_provenance,energy_meter,energy_j_per_inference,energy_low_j_per_inference,"
    "energy_high_j_per_inference,energy_reason,rank,rank_reason,ratio,ratio_low,ratio_high,"
    "agreement_ok,agreement_reference,agreement_max_rel_error,agreement_detail,verdict,"
    "verdict_reasons";

static void put_identity(struct row *w)
{
    const struct store_campaign *campaign = w->report->campaign;
    const struct store_cell *cell = w->summary->cell;
    const struct record *first = w->summary->first;
    char started[21];
    clock_iso8601(campaign->started_ns, started);
    put_int(w, campaign->id);
    put_text(w, started);
    put_text(w, campaign->version);
    put_text(w, campaign->host_title);
    put_text(w, campaign->command);
    separate(w);
    fprintf(w->out, "%llu", (unsigned long long)campaign->seed);
    put_number(w, campaign->duration_s);
    put_text(w, campaign->models[cell->model].name);
    put_text(w, campaign->models[cell->model].sha256);
    put_text(w, cell->cell.form);
    put_text(w, cell->cell.how);
    put_text(w, cell->cell.runtime);
    put_text(w, cell->cell.variant);
    put_text(w, first ? first->runtime_version : cell->cell.version);
    put_text(w, cell->cell.command);
    put_text(w, first && first->provider[0] ? first->provider : cell->cell.provider);
    put_text(w, cell->cell.devices);
    put_int(w, cell->cell.batch);
    put_int(w, cell->cell.threads);
    put_int(w, cell->cell.instances);
    put_text(w, cell->cell.precision);
    put_number(w, (double)cell->cell.gap_ns / 1e9);
}

static void put_times(struct row *w)
{
    const struct summary *s = w->summary;
    put_int(w, (long long)s->blocks_ok);
    put_int(w, (long long)s->blocks_failed);
    put_text(w, s->failure);
    put_number(w, s->load_ms);
    put_number(w, s->first_ms);
    put_int(w, (long long)s->n);
    put_number(w, s->min_ms);
    put_number(w, s->p50_ms);
    put_number(w, s->p90_ms);
    put_number(w, s->p95_ms);
    put_number(w, s->p99_ms);
    put_text(w, s->percentile_reason);
    put_number(w, s->ci95_low_ms);
    put_number(w, s->ci95_high_ms);
    put_text(w, s->ci95_reason);
    put_number(w, s->throughput_per_s);
    put_number(w, s->cpu_s);
    put_number(w, s->cpu_user_s);
    put_number(w, s->cpu_system_s);
    put_number(w, s->cpu_percent);
    put_number(w, s->rss_peak_bytes);
    put_number(w, s->device_memory_peak_bytes);
    put_text(w, s->device_memory_reason);
    put_number(w, s->context_switches);
    put_number(w, s->page_faults);
}

static void put_energy(struct row *w)
{
    const struct summary *s = w->summary;
    put_text(w, wattle_provenance_name(s->provenance));
    put_text(w, s->meter);
    put_number(w, s->j);
    put_number(w, s->j_low);
    put_number(w, s->j_high);
    put_text(w, s->energy_reason);
    put_number(w, s->rank ? s->rank : NAN);
    put_text(w, s->rank_reason);
    put_number(w, s->ratio);
    put_number(w, s->ratio_low);
    put_number(w, s->ratio_high);
}

static void put_agreement(struct row *w)
{
    const struct agreement *a = &w->summary->cell->agreement;
    put_text(w, a->ok < 0 ? "" : a->ok ? "true" : "false");
    put_text(w, a->reference);
    put_number(w, a->ok < 0 ? NAN : a->max_rel_error);
    put_text(w, format_agreement_detail(w->summary));
}

static void put_verdict(struct row *w)
{
    char reasons[2048] = "";
    size_t used = 0;
    put_text(w, verdict_name(w->summary->verdict));
    for (size_t i = 0; w->summary->reasons[i] && used < sizeof reasons; i++)
        used += (size_t)snprintf(reasons + used, sizeof reasons - used, "%s%s", i ? "; " : "",
                                 w->summary->reasons[i]);
    put_text(w, reasons);
}

int report_csv(const struct report *r, FILE *out, struct error *e)
{
    (void)e;
    fprintf(out, "%s\r\n", columns);
    for (size_t i = 0; i < r->row_count; i++) {
        struct row w = {.report = r, .summary = &r->rows[i], .out = out};
        put_identity(&w);
        put_times(&w);
        put_energy(&w);
        put_agreement(&w);
        put_verdict(&w);
        fputs("\r\n", out);
    }
    return 0;
}
