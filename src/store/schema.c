#include "store/schema.h"

#include "store/sql.h"

/* Units are in the names; times of day are CLOCK_REALTIME. 64-bit counts without a sign are kept as
 * the signed integer of the same bits. A number that is missing is NULL. Published scripts are
 * never edited: a change is one more script. */
/* Our compilers take longer strings than the 4095 characters that the language promises. */
#pragma GCC diagnostic ignored "-Woverlength-strings"
static const char version_1[] =
    "CREATE TABLE host ("
    "id INTEGER PRIMARY KEY,"
    "sha256 TEXT NOT NULL UNIQUE,"
    "fingerprint TEXT NOT NULL"
    ") STRICT;"

    "CREATE TABLE campaign ("
    "id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "uuid TEXT NOT NULL UNIQUE,"
    "host_id INTEGER NOT NULL REFERENCES host (id),"
    "host_title TEXT NOT NULL,"
    "version TEXT NOT NULL,"
    "started_ns INTEGER NOT NULL,"
    "finished_ns INTEGER,"
    "command TEXT NOT NULL,"
    "seed INTEGER NOT NULL,"
    "duration_s REAL,"
    "blocks INTEGER NOT NULL"
    ") STRICT;"

    "CREATE TABLE model ("
    "id INTEGER PRIMARY KEY,"
    "campaign_id INTEGER NOT NULL REFERENCES campaign (id) ON DELETE CASCADE,"
    "position INTEGER NOT NULL,"
    "name TEXT NOT NULL,"
    "path TEXT NOT NULL,"
    "format TEXT NOT NULL,"
    "sha256 TEXT NOT NULL,"
    "parameters INTEGER,"
    "macs INTEGER,"
    "UNIQUE (campaign_id, position)"
    ") STRICT;"

    "CREATE TABLE cell ("
    "id INTEGER PRIMARY KEY,"
    "campaign_id INTEGER NOT NULL REFERENCES campaign (id) ON DELETE CASCADE,"
    "position INTEGER NOT NULL,"
    "model_position INTEGER NOT NULL,"
    "model TEXT NOT NULL,"
    "path TEXT NOT NULL,"
    "format TEXT NOT NULL,"
    "runtime TEXT NOT NULL,"
    "variant TEXT NOT NULL,"
    "version TEXT NOT NULL,"
    "library TEXT NOT NULL," /* that was asked for; the block has the one that was loaded */
    "provider TEXT NOT NULL,"
    "provider_library TEXT NOT NULL,"
    "require_provider INTEGER NOT NULL,"
    "precision TEXT NOT NULL,"
    "spin TEXT NOT NULL,"
    "options TEXT NOT NULL," /* of the provider, a JSON object */
    "shapes TEXT NOT NULL," /* of inputs as typed, a JSON object */
    "batch INTEGER NOT NULL,"
    "threads INTEGER NOT NULL,"
    "instances INTEGER NOT NULL,"
    "gap_ns INTEGER NOT NULL,"
    "agreement_reference TEXT NOT NULL DEFAULT '',"
    "agreement_max_rel_error REAL,"
    "agreement_ok INTEGER,"
    "agreement_detail TEXT NOT NULL DEFAULT '',"
    "UNIQUE (campaign_id, position),"
    "FOREIGN KEY (campaign_id, model_position) REFERENCES model (campaign_id, position)"
    ") STRICT;"

    "CREATE TABLE cell_dim ("
    "cell_id INTEGER NOT NULL REFERENCES cell (id) ON DELETE CASCADE,"
    "position INTEGER NOT NULL,"
    "symbol TEXT NOT NULL,"
    "value INTEGER NOT NULL,"
    "PRIMARY KEY (cell_id, position)"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE block ("
    "id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "cell_id INTEGER NOT NULL REFERENCES cell (id) ON DELETE CASCADE,"
    "number INTEGER NOT NULL,"
    "started_ns INTEGER NOT NULL,"
    "error_code TEXT NOT NULL,"
    "error_text TEXT NOT NULL,"
    "error_hint TEXT NOT NULL,"
    "log TEXT NOT NULL,"
    "runtime_version TEXT NOT NULL,"
    "library TEXT NOT NULL,"
    "provider TEXT NOT NULL,"
    "settings TEXT NOT NULL,"
    "environment TEXT NOT NULL,"
    "shapes TEXT NOT NULL,"
    "load_ms REAL,"
    "first_ms REAL,"
    "warmup_runs INTEGER NOT NULL,"
    "warmup_s REAL,"
    "warmup_stable INTEGER NOT NULL,"
    "runs INTEGER NOT NULL,"
    "wall_s REAL,"
    "user_s REAL,"
    "system_s REAL,"
    "minor_faults INTEGER NOT NULL,"
    "major_faults INTEGER NOT NULL,"
    "voluntary_switches INTEGER NOT NULL,"
    "involuntary_switches INTEGER NOT NULL,"
    "rss_peak_bytes INTEGER NOT NULL,"
    "device_memory_peak_bytes INTEGER NOT NULL," /* 0: not known */
    "device_memory_reason TEXT NOT NULL,"
    "energy_meter INTEGER,"
    "energy_reason TEXT NOT NULL,"
    "verdict TEXT NOT NULL,"
    "reasons TEXT NOT NULL,"
    "latency_count INTEGER NOT NULL,"
    "latencies_zstd BLOB," /* ns, 64-bit little-endian, in order */
    "UNIQUE (cell_id, number)"
    ") STRICT;"

    "CREATE TABLE noise ("
    "block_id INTEGER NOT NULL REFERENCES block (id) ON DELETE CASCADE,"
    "moment INTEGER NOT NULL," /* 0 before the window, 1 after it */
    "time_ns INTEGER NOT NULL,"
    "boottime_ns INTEGER NOT NULL,"
    "busy_ns INTEGER NOT NULL,"
    "idle_ns INTEGER NOT NULL,"
    "steal_ns INTEGER NOT NULL,"
    "swap_in_pages INTEGER NOT NULL,"
    "swap_out_pages INTEGER NOT NULL,"
    "throttle_count INTEGER NOT NULL,"
    "load_1min REAL,"
    "frequency_mhz REAL,"
    "temperature_c REAL,"
    "PRIMARY KEY (block_id, moment)"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE meter ("
    "id INTEGER PRIMARY KEY,"
    "block_id INTEGER NOT NULL REFERENCES block (id) ON DELETE CASCADE,"
    "position INTEGER NOT NULL,"
    "name TEXT NOT NULL,"
    "box_a_low_w REAL,"
    "box_a_high_w REAL,"
    "box_b_low_w REAL,"
    "box_b_high_w REAL,"
    "box_source TEXT NOT NULL,"
    "energy_provenance TEXT NOT NULL,"
    "energy_j REAL,"
    "energy_low_j REAL,"
    "energy_high_j REAL,"
    "energy_s REAL,"
    "energy_reason TEXT NOT NULL,"
    "domain_count INTEGER NOT NULL,"
    "sample_count INTEGER NOT NULL,"
    "readings_zstd BLOB," /* per sample and domain: 44 bytes, see pack.h */
    "UNIQUE (block_id, position)"
    ") STRICT;"

    "CREATE TABLE domain ("
    "meter_id INTEGER NOT NULL REFERENCES meter (id) ON DELETE CASCADE,"
    "position INTEGER NOT NULL,"
    "name TEXT NOT NULL,"
    "scope TEXT NOT NULL,"
    "path TEXT NOT NULL,"
    "provenance TEXT NOT NULL,"
    "in_total INTEGER NOT NULL,"
    "status TEXT NOT NULL,"
    "text TEXT NOT NULL,"
    "resolution_uj REAL,"
    "period_ns INTEGER NOT NULL,"
    "gain_uncertainty REAL,"
    "wrap_uj INTEGER NOT NULL,"
    "PRIMARY KEY (meter_id, position)"
    ") STRICT, WITHOUT ROWID;";

/* What is loaded in place of the model, how it was made, and workers that users bring. */
static const char version_2[] =
    "ALTER TABLE cell ADD COLUMN command TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE cell ADD COLUMN devices TEXT NOT NULL DEFAULT '';" /* joined by '+' */
    "ALTER TABLE cell ADD COLUMN form TEXT NOT NULL DEFAULT '';" /* native, converted or '' */
    "ALTER TABLE cell ADD COLUMN artifact TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE cell ADD COLUMN how TEXT NOT NULL DEFAULT '';"; /* the artifact was made */

const char *const schema_scripts[] = {version_1, version_2};
const int schema_version = sizeof schema_scripts / sizeof *schema_scripts;

struct identity {
    int64_t application, version, objects;
};

/* The three in one transaction: another process may be making the tables just now, and half of
 * what it was before with half of what it is after looks like another program's database. */
static int identify(sqlite3 *db, const char *path, struct identity *id, struct error *e)
{
    int result = sql_run(db, "SAVEPOINT identify", e);
    if (!result)
        result = sql_integer(db, "PRAGMA application_id", &id->application, e);
    if (!result)
        result = sql_integer(db, "PRAGMA user_version", &id->version, e);
    if (!result)
        result = sql_integer(db, "SELECT count(*) FROM sqlite_schema", &id->objects, e);
    sqlite3_exec(db, "RELEASE identify", NULL, NULL, NULL); /* nothing was written */
    return result ? error_context(e, "cannot read '%s' as a store", path) : 0;
}

static int is_empty(const struct identity *id)
{
    return id->application == 0 && id->version == 0 && id->objects == 0;
}

static int refuse(const struct identity *id, const char *path, int version, struct error *e)
{
    if (is_empty(id))
        return 0;
    if (id->application != SCHEMA_APPLICATION || id->version < 1) {
        error_set(e, ERROR_FORMAT, "'%s' is a database of another program", path);
        return error_hint(e, "name another file with --store");
    }
    if (id->version > version) {
        error_set(e, ERROR_FORMAT,
                  "'%s' was written by a newer wattle (store version %lld, this one knows %d)",
                  path, (long long)id->version, version);
        return error_hint(e, "update wattle, or name another file with --store");
    }
    return 0;
}

static int run_scripts(sqlite3 *db, const char *const *scripts, int from, int version,
                       struct error *e)
{
    int result = 0;
    for (int i = from; i < version && !result; i++)
        result = sql_run(db, scripts[i], e);
    char pragmas[96];
    sqlite3_snprintf(sizeof pragmas, pragmas, "PRAGMA application_id=%d; PRAGMA user_version=%d",
                     SCHEMA_APPLICATION, version);
    return result ? result : sql_run(db, pragmas, e);
}

int schema_migrate(sqlite3 *db, const char *path, const char *const *scripts, int version,
                   struct error *e)
{
    struct identity id;
    int result = identify(db, path, &id, e);
    if (!result)
        result = refuse(&id, path, version, e);
    if (result || id.version == version)
        return result;
    /* Two processes may meet here: who gets the lock second finds the work done. */
    result = sql_run(db, "BEGIN IMMEDIATE", e);
    if (result)
        return result;
    result = identify(db, path, &id, e);
    if (!result)
        result = refuse(&id, path, version, e);
    if (!result && id.version < version)
        result = run_scripts(db, scripts, (int)id.version, version, e);
    if (!result)
        result = sql_run(db, "COMMIT", e);
    if (result)
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return result;
}
