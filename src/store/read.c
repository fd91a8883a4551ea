#include "store/pack.h"
#include "store/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What one campaign may cost in memory: a store is input like any other. */
enum { LOAD_BYTES_MAX = 0x7fffffff, BLOCKS_MAX = 100000 };

struct loader {
    sqlite3 *db;
    struct error *error;
    size_t left; /* bytes */
};

static int too_much(struct loader *l)
{
    return error_set(l->error, ERROR_MEMORY, "the campaign holds more than %d MiB of raw data",
                     LOAD_BYTES_MAX >> 20);
}

static int take(struct loader *l, size_t count, size_t size)
{
    if (size && count > l->left / size)
        return too_much(l);
    l->left -= count * size;
    return 0;
}

static int take_array(struct loader *l, size_t count, size_t size, void **out)
{
    *out = NULL;
    int result = take(l, count, size);
    if (result || count == 0)
        return result;
    *out = calloc(count, size);
    return *out ? 0 : error_memory(l->error);
}

static const char *provenance(int i)
{
    return wattle_provenance_name((enum wattle_provenance)i);
}

static const char *status(int i)
{
    return wattle_status_name((enum wattle_status)i);
}

static const char *code(int i)
{
    return error_code_name((enum error_code)i);
}

static const char *verdict(int i)
{
    return verdict_name((enum verdict)i);
}

static void get_domain(struct sql *q, struct wattle_domain *d)
{
    sql_get_text(q, d->name, sizeof d->name);
    sql_get_text(q, d->scope, sizeof d->scope);
    sql_get_text(q, d->path, sizeof d->path);
    d->provenance = (enum wattle_provenance)sql_get_name(q, provenance, WATTLE_ESTIMATED + 1);
    d->in_total = (int)sql_get_int(q, 0, 1);
    d->status = (enum wattle_status)sql_get_name(q, status, WATTLE_ERROR + 1);
    sql_get_text(q, d->text, sizeof d->text);
    d->resolution_uj = sql_get_double(q);
    d->period_ns = sql_get_u64(q);
    d->gain_uncertainty = sql_get_double(q);
    d->wrap_uj = sql_get_u64(q);
}

static int read_domains(struct loader *l, int64_t meter_id, struct record_meter *m)
{
    void *memory;
    int result = take_array(l, m->domain_count, sizeof *m->domains, &memory);
    if (result)
        return result;
    m->domains = memory;
    struct sql q;
    sql_open(&q, l->db, "domain",
             "SELECT " DOMAIN_COLUMNS " FROM domain WHERE meter_id = ? ORDER BY position",
             l->error);
    sql_put_int(&q, meter_id);
    size_t n = 0;
    while (n <= m->domain_count && sql_row(&q)) {
        if (n < m->domain_count)
            get_domain(&q, &m->domains[n]);
        n++;
    }
    result = sql_close(&q);
    if (!result && n != m->domain_count)
        return error_set(l->error, ERROR_FORMAT, "damaged store: meter %s has not its %zu domains",
                         m->name, m->domain_count);
    return result;
}

static int get_readings(struct loader *l, struct sql *q, struct record_meter *m)
{
    size_t size, count = m->sample_count * m->domain_count;
    const void *frame = sql_get_blob(q, &size);
    if (q->result)
        return 0;
    int result = take(l, count, sizeof *m->samples + PACK_READING_BYTES);
    return result ? result : unpack_readings(frame, size, count, &m->samples, l->error);
}

static int get_meter(struct loader *l, struct sql *q, struct record_meter *m)
{
    sql_get_text(q, m->name, sizeof m->name);
    m->box.a_low_w = sql_get_double(q);
    m->box.a_high_w = sql_get_double(q);
    m->box.b_low_w = sql_get_double(q);
    m->box.b_high_w = sql_get_double(q);
    sql_get_text(q, m->box.source, sizeof m->box.source);
    m->energy.provenance =
        (enum wattle_provenance)sql_get_name(q, provenance, WATTLE_ESTIMATED + 1);
    m->energy.j = sql_get_double(q);
    m->energy.low_j = sql_get_double(q);
    m->energy.high_j = sql_get_double(q);
    m->energy.seconds = sql_get_double(q);
    sql_get_text(q, m->energy.reason, sizeof m->energy.reason);
    m->domain_count = (size_t)sql_get_int(q, 0, WATTLE_DOMAIN_MAX);
    m->sample_count = (size_t)sql_get_int(q, 0, STORE_SAMPLE_MAX);
    return get_readings(l, q, m);
}

static int read_meters(struct loader *l, int64_t block_id, struct record *r)
{
    struct sql q;
    int result = 0;
    sql_open(&q, l->db, "meter",
             "SELECT " METER_COLUMNS ", id FROM meter WHERE block_id = ? ORDER BY position",
             l->error);
    sql_put_int(&q, block_id);
    while (!result && sql_row(&q)) {
        if (r->meter_count == RECORD_METER_MAX) {
            result = error_set(l->error, ERROR_FORMAT, "damaged store: a block of more than %d "
                               "meters", RECORD_METER_MAX);
            break;
        }
        struct record_meter *m = &r->meters[r->meter_count++];
        result = get_meter(l, &q, m);
        int64_t id = result ? 0 : sql_get_int(&q, INT64_MIN, INT64_MAX);
        if (!result && !q.result)
            result = read_domains(l, id, m);
    }
    int failed = sql_close(&q);
    if (!result && !failed && r->energy_meter >= (int)r->meter_count)
        return error_set(l->error, ERROR_FORMAT, "damaged store: block.energy_meter is %d of %zu",
                         r->energy_meter, r->meter_count);
    return result ? result : failed;
}

static void get_noise(struct sql *q, struct host_noise *n)
{
    n->time_ns = sql_get_u64(q);
    n->boottime_ns = sql_get_u64(q);
    n->busy_ns = sql_get_u64(q);
    n->idle_ns = sql_get_u64(q);
    n->steal_ns = sql_get_u64(q);
    n->swap_in_pages = sql_get_u64(q);
    n->swap_out_pages = sql_get_u64(q);
    n->throttle_count = sql_get_u64(q);
    n->load_1min = sql_get_double(q);
    n->frequency_mhz = sql_get_double(q);
    n->temperature_c = sql_get_double(q);
}

static int read_noise(struct loader *l, int64_t block_id, struct record *r)
{
    struct sql q;
    sql_open(&q, l->db, "noise",
             "SELECT " NOISE_COLUMNS ", moment FROM noise WHERE block_id = ?", l->error);
    sql_put_int(&q, block_id);
    int seen = 0;
    while (sql_row(&q)) {
        struct host_noise n;
        get_noise(&q, &n);
        int moment = (int)sql_get_int(&q, 0, 1);
        *(moment ? &r->noise_after : &r->noise_before) = n;
        seen |= 1 << moment;
    }
    int result = sql_close(&q);
    if (!result && seen != 3)
        return error_set(l->error, ERROR_FORMAT, "damaged store: a block lacks its noise rows");
    return result;
}

static void replace_json(struct sql *q, json_t **slot, json_type type)
{
    json_t *value = sql_get_json(q, type);
    if (!value)
        return;
    json_decref(*slot);
    *slot = value;
}

static void get_block_texts(struct sql *q, struct record *r)
{
    r->error.code = (enum error_code)sql_get_name(q, code, ERROR_INTERRUPTED + 1);
    sql_get_text(q, r->error.text, sizeof r->error.text);
    sql_get_text(q, r->error.hint, sizeof r->error.hint);
    sql_get_text(q, r->log, sizeof r->log);
    sql_get_text(q, r->runtime_version, sizeof r->runtime_version);
    sql_get_text(q, r->library, sizeof r->library);
    sql_get_text(q, r->provider, sizeof r->provider);
    replace_json(q, &r->settings, JSON_OBJECT);
    replace_json(q, &r->environment, JSON_OBJECT);
    replace_json(q, &r->shapes, JSON_OBJECT);
}

static void get_block_counts(struct sql *q, struct record *r)
{
    r->load_ms = sql_get_double(q);
    r->first_ms = sql_get_double(q);
    r->warmup_runs = sql_get_u64(q);
    r->warmup_s = sql_get_double(q);
    r->warmup_stable = (int)sql_get_int(q, INT32_MIN, INT32_MAX);
    r->runs = sql_get_u64(q);
    r->wall_s = sql_get_double(q);
    r->user_s = sql_get_double(q);
    r->system_s = sql_get_double(q);
    r->minor_faults = sql_get_u64(q);
    r->major_faults = sql_get_u64(q);
    r->voluntary_switches = sql_get_u64(q);
    r->involuntary_switches = sql_get_u64(q);
    r->rss_peak_bytes = sql_get_u64(q);
    r->device_memory_peak_bytes = sql_get_u64(q);
    sql_get_text(q, r->device_memory_reason, sizeof r->device_memory_reason);
}

static int get_latencies(struct loader *l, struct sql *q, struct record *r)
{
    size_t count = (size_t)sql_get_int(q, 0, PACK_BYTES_MAX / PACK_LATENCY_BYTES), size;
    const void *frame = sql_get_blob(q, &size);
    if (q->result)
        return 0;
    int result = take(l, count, 2 * PACK_LATENCY_BYTES);
    if (!result)
        result = unpack_latencies(frame, size, count, &r->latency_ns, l->error);
    if (!result)
        r->latency_count = count;
    return result;
}

static int get_block(struct loader *l, struct sql *q, struct record *r)
{
    r->number = sql_get_int(q, INT64_MIN, INT64_MAX);
    r->started_ns = sql_get_u64(q);
    get_block_texts(q, r);
    get_block_counts(q, r);
    r->energy_meter = (int)sql_get_optional(q, 0, RECORD_METER_MAX - 1, -1);
    sql_get_text(q, r->energy_reason, sizeof r->energy_reason);
    r->verdict = (enum verdict)sql_get_name(q, verdict, VERDICT_INVALID + 1);
    replace_json(q, &r->reasons, JSON_ARRAY);
    int result = get_latencies(l, q, r);
    if (result || q->result)
        return result;
    int64_t id = sql_get_int(q, INT64_MIN, INT64_MAX);
    result = q->result ? 0 : read_noise(l, id, r);
    return result || q->result ? result : read_meters(l, id, r);
}

static int count_rows(struct loader *l, const char *query, int64_t of, int64_t maximum,
                      const char *table, size_t *count)
{
    struct sql q;
    sql_open(&q, l->db, table, query, l->error);
    sql_put_int(&q, of);
    if (sql_row(&q))
        *count = (size_t)sql_get_int(&q, 0, maximum);
    return sql_close(&q);
}

static int read_blocks(struct loader *l, int64_t cell_id, struct store_cell *cell)
{
    size_t count = 0;
    int result = count_rows(l, "SELECT count(*) FROM block WHERE cell_id = ?", cell_id, BLOCKS_MAX,
                            "block", &count);
    void *memory = NULL;
    if (!result)
        result = take_array(l, count, sizeof *cell->blocks, &memory);
    if (result)
        return result;
    cell->blocks = memory;
    struct sql q;
    sql_open(&q, l->db, "block",
             "SELECT " BLOCK_COLUMNS ", id FROM block WHERE cell_id = ? ORDER BY id", l->error);
    sql_put_int(&q, cell_id);
    while (!result && cell->block_count < count && sql_row(&q)) {
        struct record *r = &cell->blocks[cell->block_count++];
        record_init(r);
        result = get_block(l, &q, r);
    }
    int failed = sql_close(&q);
    return result ? result : failed;
}

static int read_dims(struct loader *l, int64_t cell_id, struct cell *c)
{
    struct sql q;
    sql_open(&q, l->db, "cell_dim",
             "SELECT symbol, value FROM cell_dim WHERE cell_id = ? ORDER BY position LIMIT ?",
             l->error);
    sql_put_int(&q, cell_id);
    sql_put_int(&q, PLAN_DIM_MAX + 1);
    int many = 0;
    while (sql_row(&q)) {
        if (c->dim_count == PLAN_DIM_MAX) {
            many = 1;
            break;
        }
        struct plan_dim *d = &c->dims[c->dim_count++];
        sql_get_text(&q, d->symbol, sizeof d->symbol);
        d->value = sql_get_int(&q, INT64_MIN, INT64_MAX);
    }
    int result = sql_close(&q);
    if (!result && many)
        return error_set(l->error, ERROR_FORMAT, "damaged store: a cell has more than %d dims",
                         PLAN_DIM_MAX);
    return result;
}

static void get_made(struct sql *q, struct cell *c)
{
    sql_get_text(q, c->command, sizeof c->command);
    sql_get_text(q, c->devices, sizeof c->devices);
    sql_get_text(q, c->form, sizeof c->form);
    sql_get_text(q, c->artifact, sizeof c->artifact);
    sql_get_text(q, c->how, sizeof c->how);
}

static void get_cell(struct sql *q, struct store_cell *cell, size_t model_count)
{
    struct cell *c = &cell->cell;
    cell->model = (size_t)sql_get_int(q, 0, (int64_t)model_count - 1);
    sql_get_text(q, c->model, sizeof c->model);
    sql_get_text(q, c->path, sizeof c->path);
    sql_get_text(q, c->format, sizeof c->format);
    sql_get_text(q, c->runtime, sizeof c->runtime);
    sql_get_text(q, c->variant, sizeof c->variant);
    sql_get_text(q, c->version, sizeof c->version);
    sql_get_text(q, c->library, sizeof c->library);
    sql_get_text(q, c->provider, sizeof c->provider);
    sql_get_text(q, c->provider_library, sizeof c->provider_library);
    c->require_provider = (int)sql_get_int(q, 0, 1);
    sql_get_text(q, c->precision, sizeof c->precision);
    sql_get_text(q, c->spin, sizeof c->spin);
    sql_get_text(q, c->options, sizeof c->options);
    sql_get_text(q, c->shapes, sizeof c->shapes);
    c->batch = sql_get_int(q, INT64_MIN, INT64_MAX);
    c->threads = (int)sql_get_int(q, INT32_MIN, INT32_MAX);
    c->instances = (int)sql_get_int(q, INT32_MIN, INT32_MAX);
    c->gap_ns = sql_get_u64(q);
    get_made(q, c);
    struct agreement *a = &cell->agreement;
    sql_get_text(q, a->reference, sizeof a->reference);
    a->max_rel_error = sql_get_double(q);
    a->ok = (int)sql_get_optional(q, 0, 1, -1);
    sql_get_text(q, a->detail, sizeof a->detail);
}

static int read_cells(struct loader *l, struct store_campaign *out)
{
    size_t count = 0;
    int result = count_rows(l, "SELECT count(*) FROM cell WHERE campaign_id = ?", out->id,
                            PLAN_CELL_MAX, "cell", &count);
    void *memory = NULL;
    if (!result)
        result = take_array(l, count, sizeof *out->cells, &memory);
    if (result)
        return result;
    out->cells = memory;
    struct sql q;
    sql_open(&q, l->db, "cell",
             "SELECT " CELL_COLUMNS ", " AGREEMENT_COLUMNS ", id FROM cell"
             " WHERE campaign_id = ? ORDER BY position", l->error);
    sql_put_int(&q, out->id);
    while (!result && out->cell_count < count && sql_row(&q)) {
        struct store_cell *cell = &out->cells[out->cell_count++];
        get_cell(&q, cell, out->model_count);
        int64_t id = sql_get_int(&q, INT64_MIN, INT64_MAX);
        if (!q.result)
            result = read_dims(l, id, &cell->cell);
        if (!q.result && !result)
            result = read_blocks(l, id, cell);
    }
    int failed = sql_close(&q);
    return result ? result : failed;
}

static void get_model(struct sql *q, struct store_model *m)
{
    sql_get_text(q, m->name, sizeof m->name);
    sql_get_text(q, m->path, sizeof m->path);
    sql_get_text(q, m->format, sizeof m->format);
    sql_get_text(q, m->sha256, sizeof m->sha256);
    m->parameters = sql_get_optional(q, 0, INT64_MAX, -1);
    m->macs = sql_get_optional(q, 0, INT64_MAX, -1);
}

/* Too much is refused before any of it is unpacked; what lies is caught where it is read. */
static int check_size(struct loader *l, int64_t campaign)
{
    struct sql q;
    double count = 0;
    sql_open(&q, l->db, "block",
             "SELECT total(latency_count) FROM block JOIN cell ON cell.id = cell_id"
             " WHERE campaign_id = ?", l->error);
    sql_put_int(&q, campaign);
    if (sql_row(&q))
        count = sql_get_double(&q);
    int result = sql_close(&q);
    return result || count * 2 * PACK_LATENCY_BYTES <= LOAD_BYTES_MAX ? result : too_much(l);
}

static int read_models(struct loader *l, struct store_campaign *out)
{
    size_t count = 0;
    int result = count_rows(l, "SELECT count(*) FROM model WHERE campaign_id = ?", out->id,
                            PLAN_CELL_MAX, "model", &count);
    void *memory = NULL;
    if (!result)
        result = take_array(l, count, sizeof *out->models, &memory);
    if (result)
        return result;
    out->models = memory;
    struct sql q;
    sql_open(&q, l->db, "model",
             "SELECT " MODEL_COLUMNS " FROM model WHERE campaign_id = ? ORDER BY position",
             l->error);
    sql_put_int(&q, out->id);
    while (out->model_count < count && sql_row(&q))
        get_model(&q, &out->models[out->model_count++]);
    return sql_close(&q);
}

static void get_campaign(struct sql *q, struct store_campaign *c)
{
    sql_get_text(q, c->uuid, sizeof c->uuid);
    sql_get_text(q, c->host_title, sizeof c->host_title);
    sql_get_text(q, c->version, sizeof c->version);
    c->started_ns = sql_get_u64(q);
    sql_get_text(q, c->command, sizeof c->command);
    c->seed = sql_get_u64(q);
    c->duration_s = sql_get_double(q);
    c->blocks = (int)sql_get_int(q, INT32_MIN, INT32_MAX);
    c->finished_ns = (uint64_t)sql_get_optional(q, INT64_MIN, INT64_MAX, 0);
    c->id = sql_get_int(q, INT64_MIN, INT64_MAX);
    c->host = sql_get_json(q, JSON_OBJECT);
}

static int read_campaign(struct loader *l, struct store *s, int64_t id, struct store_campaign *out)
{
    struct sql q;
    int found = 0;
    sql_open(&q, l->db, "campaign",
             "SELECT " CAMPAIGN_COLUMNS ", finished_ns, campaign.id, fingerprint"
             " FROM campaign JOIN host ON host.id = host_id"
             " WHERE campaign.id = ?1 OR ?1 = 0 ORDER BY campaign.id DESC LIMIT 1", l->error);
    sql_put_int(&q, id);
    if (sql_row(&q)) {
        get_campaign(&q, out);
        found = 1;
    }
    int result = sql_close(&q);
    if (result || found)
        return result;
    if (id == 0)
        error_set(l->error, ERROR_USAGE, "no campaign is stored in '%s'", s->path);
    else
        error_set(l->error, ERROR_USAGE, "no campaign %lld in '%s'", (long long)id, s->path);
    return error_hint(l->error, "`wattle run MODEL` makes one");
}

int store_load(struct store *s, int64_t id, struct store_campaign *out, struct error *e)
{
    struct loader l = {.db = s->db, .error = e, .left = LOAD_BYTES_MAX};
    *out = (struct store_campaign){0};
    int result = sql_run(s->db, "BEGIN", e); /* one view of the data, whoever writes meanwhile */
    if (result)
        return result;
    result = read_campaign(&l, s, id, out);
    if (!result)
        result = check_size(&l, out->id);
    if (!result)
        result = read_models(&l, out);
    if (!result)
        result = read_cells(&l, out);
    sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    if (result)
        store_campaign_release(out);
    return result;
}
