#include "base/clock.h"
#include "store/pack.h"
#include "store/private.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Each change is one transaction: begin, then end, which commits when result is 0. */
static int begin(struct store *s, struct error *e)
{
    return sql_run(s->db, "BEGIN IMMEDIATE", e);
}

static int end(struct store *s, int result, struct error *e)
{
    if (!result)
        result = sql_run(s->db, "COMMIT", e);
    if (result && !sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return result;
}

/* Version 4 of RFC 9562. */
static int make_uuid(char out[37], struct error *e)
{
    uint8_t b[16];
    if (getrandom(b, sizeof b, 0) != (ssize_t)sizeof b)
        return error_errno(e, errno, "cannot get random bytes");
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    char *p = out;
    for (int i = 0; i < 16; i++)
        p += snprintf(p, 4, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", b[i]);
    return 0;
}

static int hash_text(const char *text, char hex[65], struct error *e)
{
    unsigned char digest[32];
    unsigned size = sizeof digest;
    if (!EVP_Digest(text, strlen(text), digest, &size, EVP_sha256(), NULL))
        return error_memory(e);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return 0;
}

/* The same machine in the same state is one row for all its campaigns. */
static int put_host_text(sqlite3 *db, const char *fingerprint, int64_t *id, struct error *e)
{
    char hex[65];
    int result = hash_text(fingerprint, hex, e);
    if (result)
        return result;
    struct sql q;
    sql_open(&q, db, "host",
             "INSERT INTO host (sha256, fingerprint) VALUES (?, ?) ON CONFLICT DO NOTHING", e);
    sql_put_text(&q, hex);
    sql_put_text(&q, fingerprint);
    sql_done(&q);
    result = sql_close(&q);
    if (result)
        return result;
    sql_open(&q, db, "host", "SELECT id FROM host WHERE sha256 = ?", e);
    sql_put_text(&q, hex);
    if (sql_row(&q))
        *id = sql_get_int(&q, INT64_MIN, INT64_MAX);
    return sql_close(&q);
}

static int put_host(sqlite3 *db, const json_t *host, int64_t *id, struct error *e)
{
    char *text = host ? json_dumps(host, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    if (host && !text)
        return error_memory(e);
    int result = put_host_text(db, text ? text : "{}", id, e);
    free(text);
    return result;
}

static int put_campaign(sqlite3 *db, struct store_campaign *c, struct error *e)
{
    int64_t host = 0;
    int result = put_host(db, c->host, &host, e);
    if (result)
        return result;
    struct sql q;
    sql_open(&q, db, "campaign",
             "INSERT INTO campaign (" CAMPAIGN_COLUMNS ", host_id)"
             " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", e);
    sql_put_text(&q, c->uuid);
    sql_put_text(&q, c->host_title);
    sql_put_text(&q, c->version);
    sql_put_u64(&q, c->started_ns);
    sql_put_text(&q, c->command);
    sql_put_u64(&q, c->seed);
    sql_put_double(&q, c->duration_s);
    sql_put_int(&q, c->blocks);
    sql_put_int(&q, host);
    sql_done(&q);
    result = sql_close(&q);
    c->id = sqlite3_last_insert_rowid(db);
    return result;
}

static void put_optional(struct sql *q, int64_t value)
{
    if (value < 0)
        sql_put_null(q);
    else
        sql_put_int(q, value);
}

static int put_models(sqlite3 *db, const struct store_campaign *c, struct error *e)
{
    struct sql q;
    sql_open(&q, db, "model",
             "INSERT INTO model (campaign_id, position, " MODEL_COLUMNS ")"
             " VALUES (?, ?, ?, ?, ?, ?, ?, ?)", e);
    for (size_t i = 0; i < c->model_count; i++) {
        const struct store_model *m = &c->models[i];
        sql_put_int(&q, c->id);
        sql_put_int(&q, (int64_t)i);
        sql_put_text(&q, m->name);
        sql_put_text(&q, m->path);
        sql_put_text(&q, m->format);
        sql_put_text(&q, m->sha256);
        put_optional(&q, m->parameters);
        put_optional(&q, m->macs);
        sql_done(&q);
    }
    return sql_close(&q);
}

static int put_dims(sqlite3 *db, int64_t cell_id, const struct cell *c, struct error *e)
{
    struct sql q;
    sql_open(&q, db, "cell_dim", "INSERT INTO cell_dim VALUES (?, ?, ?, ?)", e);
    for (size_t i = 0; i < c->dim_count; i++) {
        sql_put_int(&q, cell_id);
        sql_put_int(&q, (int64_t)i);
        sql_put_text(&q, c->dims[i].symbol);
        sql_put_int(&q, c->dims[i].value);
        sql_done(&q);
    }
    return sql_close(&q);
}

static void put_agreement(struct sql *q, const struct agreement *a)
{
    sql_put_text(q, a->reference);
    sql_put_double(q, a->max_rel_error);
    put_optional(q, a->ok);
    sql_put_text(q, a->detail);
}

static void put_runtime(struct sql *q, const struct cell *cell)
{
    sql_put_text(q, cell->runtime);
    sql_put_text(q, cell->variant);
    sql_put_text(q, cell->version);
    sql_put_text(q, cell->library);
    sql_put_text(q, cell->provider);
    sql_put_text(q, cell->provider_library);
    sql_put_int(q, cell->require_provider);
}

static void put_made(struct sql *q, const struct cell *cell)
{
    sql_put_text(q, cell->command);
    sql_put_text(q, cell->devices);
    sql_put_text(q, cell->form);
    sql_put_text(q, cell->artifact);
    sql_put_text(q, cell->how);
}

static int put_cell(sqlite3 *db, const struct store_campaign *c, size_t index, struct error *e)
{
    const struct cell *cell = &c->cells[index].cell;
    struct sql q;
    sql_open(&q, db, "cell",
             "INSERT INTO cell (campaign_id, position, " CELL_COLUMNS ", " AGREEMENT_COLUMNS ")"
             " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
             " ?, ?, ?, ?, ?, ?, ?, ?, ?)", e);
    sql_put_int(&q, c->id);
    sql_put_int(&q, (int64_t)index);
    sql_put_int(&q, (int64_t)c->cells[index].model);
    sql_put_text(&q, cell->model);
    sql_put_text(&q, cell->path);
    sql_put_text(&q, cell->format);
    put_runtime(&q, cell);
    sql_put_text(&q, cell->precision);
    sql_put_text(&q, cell->spin);
    sql_put_text(&q, cell->options);
    sql_put_text(&q, cell->shapes);
    sql_put_int(&q, cell->batch);
    sql_put_int(&q, cell->threads);
    sql_put_int(&q, cell->instances);
    sql_put_u64(&q, cell->gap_ns);
    put_made(&q, cell);
    put_agreement(&q, &c->cells[index].agreement);
    sql_done(&q);
    int result = sql_close(&q);
    return result ? result : put_dims(db, sqlite3_last_insert_rowid(db), cell, e);
}

int store_begin(struct store *s, struct store_campaign *c, struct error *e)
{
    int result = make_uuid(c->uuid, e);
    if (!result)
        result = begin(s, e);
    if (result)
        return result;
    result = put_campaign(s->db, c, e);
    if (!result)
        result = put_models(s->db, c, e);
    for (size_t i = 0; i < c->cell_count && !result; i++)
        result = put_cell(s->db, c, i, e);
    return end(s, result, e);
}

static int find_cell(sqlite3 *db, int64_t campaign, size_t cell, int64_t *id, struct error *e)
{
    struct sql q;
    int found = 0;
    sql_open(&q, db, "cell", "SELECT id FROM cell WHERE campaign_id = ? AND position = ?", e);
    sql_put_int(&q, campaign);
    sql_put_int(&q, (int64_t)cell);
    if (sql_row(&q)) {
        *id = sql_get_int(&q, INT64_MIN, INT64_MAX);
        found = 1;
    }
    int result = sql_close(&q);
    if (!result && !found)
        return error_set(e, ERROR_USAGE, "no cell %zu in campaign %lld", cell,
                         (long long)campaign);
    return result;
}

static void put_block_texts(struct sql *q, const struct record *r)
{
    sql_put_text(q, error_code_name(r->error.code));
    sql_put_text(q, r->error.text);
    sql_put_text(q, r->error.hint);
    sql_put_text(q, r->log);
    sql_put_text(q, r->runtime_version);
    sql_put_text(q, r->library);
    sql_put_text(q, r->provider);
    sql_put_json(q, r->settings, "{}");
    sql_put_json(q, r->environment, "{}");
    sql_put_json(q, r->shapes, "{}");
}

static void put_block_counts(struct sql *q, const struct record *r)
{
    sql_put_double(q, r->load_ms);
    sql_put_double(q, r->first_ms);
    sql_put_u64(q, r->warmup_runs);
    sql_put_double(q, r->warmup_s);
    sql_put_int(q, r->warmup_stable);
    sql_put_u64(q, r->runs);
    sql_put_double(q, r->wall_s);
    sql_put_double(q, r->user_s);
    sql_put_double(q, r->system_s);
    sql_put_u64(q, r->minor_faults);
    sql_put_u64(q, r->major_faults);
    sql_put_u64(q, r->voluntary_switches);
    sql_put_u64(q, r->involuntary_switches);
    sql_put_u64(q, r->rss_peak_bytes);
    sql_put_u64(q, r->device_memory_peak_bytes);
    sql_put_text(q, r->device_memory_reason);
}

static int put_block_row(sqlite3 *db, int64_t cell_id, const struct record *r, const void *frame,
                         size_t frame_size, struct error *e)
{
    struct sql q;
    sql_open(&q, db, "block",
             "INSERT INTO block (cell_id, " BLOCK_COLUMNS ")"
             " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
             " ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", e);
    sql_put_int(&q, cell_id);
    sql_put_int(&q, r->number);
    sql_put_u64(&q, r->started_ns);
    put_block_texts(&q, r);
    put_block_counts(&q, r);
    put_optional(&q, r->energy_meter);
    sql_put_text(&q, r->energy_reason);
    sql_put_text(&q, verdict_name(r->verdict));
    sql_put_json(&q, r->reasons, "[]");
    sql_put_u64(&q, r->latency_count);
    sql_put_blob(&q, frame, frame_size);
    sql_done(&q);
    return sql_close(&q);
}

static int put_noise(sqlite3 *db, int64_t block, const struct record *r, struct error *e)
{
    struct sql q;
    sql_open(&q, db, "noise",
             "INSERT INTO noise (block_id, moment, " NOISE_COLUMNS ")"
             " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", e);
    for (int moment = 0; moment < 2; moment++) {
        const struct host_noise *n = moment ? &r->noise_after : &r->noise_before;
        sql_put_int(&q, block);
        sql_put_int(&q, moment);
        sql_put_u64(&q, n->time_ns);
        sql_put_u64(&q, n->boottime_ns);
        sql_put_u64(&q, n->busy_ns);
        sql_put_u64(&q, n->idle_ns);
        sql_put_u64(&q, n->steal_ns);
        sql_put_u64(&q, n->swap_in_pages);
        sql_put_u64(&q, n->swap_out_pages);
        sql_put_u64(&q, n->throttle_count);
        sql_put_double(&q, n->load_1min);
        sql_put_double(&q, n->frequency_mhz);
        sql_put_double(&q, n->temperature_c);
        sql_done(&q);
    }
    return sql_close(&q);
}

static void put_meter_texts(struct sql *q, const struct record_meter *m)
{
    sql_put_text(q, m->name);
    sql_put_double(q, m->box.a_low_w);
    sql_put_double(q, m->box.a_high_w);
    sql_put_double(q, m->box.b_low_w);
    sql_put_double(q, m->box.b_high_w);
    sql_put_text(q, m->box.source);
    sql_put_text(q, wattle_provenance_name(m->energy.provenance));
    sql_put_double(q, m->energy.j);
    sql_put_double(q, m->energy.low_j);
    sql_put_double(q, m->energy.high_j);
    sql_put_double(q, m->energy.seconds);
    sql_put_text(q, m->energy.reason);
}

static int put_meter_row(sqlite3 *db, int64_t block, size_t position, const struct record_meter *m,
                         struct error *e)
{
    if (m->domain_count > WATTLE_DOMAIN_MAX || m->sample_count > STORE_SAMPLE_MAX)
        return error_set(e, ERROR_MEMORY, "meter %s has too many readings to store (%zu x %zu)",
                         m->name, m->sample_count, m->domain_count);
    void *frame;
    size_t size;
    int result = pack_readings(m->samples, m->sample_count * m->domain_count, &frame, &size, e);
    if (result)
        return result;
    struct sql q;
    sql_open(&q, db, "meter",
             "INSERT INTO meter (block_id, position, " METER_COLUMNS ")"
             " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", e);
    sql_put_int(&q, block);
    sql_put_int(&q, (int64_t)position);
    put_meter_texts(&q, m);
    sql_put_u64(&q, m->domain_count);
    sql_put_u64(&q, m->sample_count);
    sql_put_blob(&q, frame, size);
    sql_done(&q);
    result = sql_close(&q);
    free(frame);
    return result;
}

static int put_domains(sqlite3 *db, int64_t meter, const struct record_meter *m, struct error *e)
{
    struct sql q;
    sql_open(&q, db, "domain",
             "INSERT INTO domain (meter_id, position, " DOMAIN_COLUMNS ")"
             " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", e);
    for (size_t i = 0; i < m->domain_count; i++) {
        const struct wattle_domain *d = &m->domains[i];
        sql_put_int(&q, meter);
        sql_put_int(&q, (int64_t)i);
        sql_put_text(&q, d->name);
        sql_put_text(&q, d->scope);
        sql_put_text(&q, d->path);
        sql_put_text(&q, wattle_provenance_name(d->provenance));
        sql_put_int(&q, d->in_total);
        sql_put_text(&q, wattle_status_name(d->status));
        sql_put_text(&q, d->text);
        sql_put_double(&q, d->resolution_uj);
        sql_put_u64(&q, d->period_ns);
        sql_put_double(&q, d->gain_uncertainty);
        sql_put_u64(&q, d->wrap_uj);
        sql_done(&q);
    }
    return sql_close(&q);
}

static int put_block(sqlite3 *db, int64_t cell_id, const struct record *r, const void *frame,
                     size_t frame_size, struct error *e)
{
    int result = put_block_row(db, cell_id, r, frame, frame_size, e);
    int64_t block = sqlite3_last_insert_rowid(db);
    if (!result)
        result = put_noise(db, block, r, e);
    for (size_t i = 0; i < r->meter_count && !result; i++) {
        result = put_meter_row(db, block, i, &r->meters[i], e);
        if (!result)
            result = put_domains(db, sqlite3_last_insert_rowid(db), &r->meters[i], e);
    }
    return result;
}

int store_put_block(struct store *s, int64_t campaign, size_t cell, const struct record *r,
                    struct error *e)
{
    /* Compressed before the lock is taken: other writers need not wait for it. */
    void *frame = NULL;
    size_t frame_size = 0;
    int64_t cell_id = 0;
    int result = pack_latencies(r->latency_ns, r->latency_count, &frame, &frame_size, e);
    if (!result)
        result = begin(s, e);
    if (!result) {
        result = find_cell(s->db, campaign, cell, &cell_id, e);
        if (!result)
            result = put_block(s->db, cell_id, r, frame, frame_size, e);
        result = end(s, result, e);
    }
    free(frame);
    return result;
}

int store_put_agreement(struct store *s, int64_t campaign, size_t cell, const struct agreement *a,
                        struct error *e)
{
    int64_t cell_id;
    int result = begin(s, e);
    if (result)
        return result;
    result = find_cell(s->db, campaign, cell, &cell_id, e);
    if (!result) {
        struct sql q;
        sql_open(&q, s->db, "cell",
                 "UPDATE cell SET (" AGREEMENT_COLUMNS ") = (?, ?, ?, ?) WHERE id = ?", e);
        put_agreement(&q, a);
        sql_put_int(&q, cell_id);
        sql_done(&q);
        result = sql_close(&q);
    }
    return end(s, result, e);
}

int store_put_batch(struct store *s, int64_t campaign, size_t cell, int64_t batch, struct error *e)
{
    int64_t cell_id;
    int result = begin(s, e);
    if (result)
        return result;
    result = find_cell(s->db, campaign, cell, &cell_id, e);
    if (!result) {
        struct sql q;
        sql_open(&q, s->db, "cell", "UPDATE cell SET batch = ? WHERE id = ?", e);
        sql_put_int(&q, batch);
        sql_put_int(&q, cell_id);
        sql_done(&q);
        result = sql_close(&q);
    }
    return end(s, result, e);
}

int store_finish(struct store *s, int64_t campaign, struct error *e)
{
    int result = begin(s, e);
    if (result)
        return result;
    struct sql q;
    sql_open(&q, s->db, "campaign", "UPDATE campaign SET finished_ns = ? WHERE id = ?", e);
    sql_put_u64(&q, clock_realtime_ns());
    sql_put_int(&q, campaign);
    sql_done(&q);
    result = sql_close(&q);
    if (!result && sqlite3_changes(s->db) != 1)
        result = error_set(e, ERROR_USAGE, "no campaign %lld in '%s'", (long long)campaign,
                           s->path);
    return end(s, result, e);
}
