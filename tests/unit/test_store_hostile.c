/* Databases that are not ours, damaged, newer or older; disks that are full. */
#include "store_samples.h"

#include "store/pack.h"
#include "store/private.h"
#include "store/schema.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <zstd.h>

static void run_sql(const char *text)
{
    sqlite3 *db;
    char *message = NULL;
    assert_int_equal(sqlite3_open(sample_path, &db), SQLITE_OK);
    if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %.300s", message, text);
    sqlite3_close(db);
}

static void write_file(const void *data, size_t size)
{
    FILE *f = fopen(sample_path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static char *read_file(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("cannot open %s (run from the top of the repository)", path);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *size = (size_t)ftell(f);
    rewind(f);
    char *data = malloc(*size + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *size, f), *size);
    data[*size] = '\0';
    fclose(f);
    return data;
}

static void refused(enum error_code code, const char *text, const char *hint)
{
    struct store *s = (struct store *)1;
    err = (struct error){0};
    assert_int_equal(store_open(sample_path, &s, &err), code);
    assert_null(s);
    if (!strstr(err.text, text) || !strstr(err.hint, hint))
        fail_msg("'%s' / '%s' lack '%s' / '%s'", err.text, err.hint, text, hint);
}

static void a_file_that_is_no_database(void **context)
{
    (void)context;
    char text[5000];
    memset(text, 'x', sizeof text);
    write_file(text, sizeof text);
    refused(ERROR_FORMAT, "is damaged or not a database", "--store");
    size_t size;
    char *after = read_file(sample_path, &size);
    assert_int_equal(size, sizeof text);
    assert_memory_equal(after, text, size); /* left as it was */
    free(after);
}

static void another_programs_database(void **context)
{
    (void)context;
    run_sql("CREATE TABLE t (x); INSERT INTO t VALUES (1)");
    refused(ERROR_FORMAT, "another program", "--store");
    run_sql("DROP TABLE t; PRAGMA application_id=1; PRAGMA user_version=1");
    refused(ERROR_FORMAT, "another program", "--store");
    run_sql("PRAGMA application_id=0x5754544c; PRAGMA user_version=-5");
    refused(ERROR_FORMAT, "another program", "--store");
}

static void a_newer_database(void **context)
{
    (void)context;
    struct store *s;
    OK(store_open(sample_path, &s, &err));
    store_close(s);
    run_sql("PRAGMA user_version=3");
    refused(ERROR_FORMAT, "newer wattle (store version 3, this one knows 2)", "update wattle");
}

static void paths_that_cannot_be(void **context)
{
    (void)context;
    struct store *s;
    assert_int_equal(store_open("", &s, &err), ERROR_USAGE);
    assert_int_equal(store_open("postgresql://host/x", &s, &err), ERROR_UNSUPPORTED);
    char longest[PATH_MAX + 10];
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(store_open(longest, &s, &err), ERROR_USAGE);
    assert_int_not_equal(store_open("/dev/null/x/s.db", &s, &err), 0);
    assert_int_not_equal(store_open(sample_folder, &s, &err), 0); /* a folder */
    assert_non_null(strstr(err.text, sample_folder));
}

static void folders_are_made_and_home_is_the_default(void **context)
{
    (void)context;
    struct store *s;
    char home[128];
    snprintf(home, sizeof home, "%s/a/b", sample_folder);
    setenv("WATTLE_HOME", home, 1);
    OK(store_open(NULL, &s, &err));
    assert_non_null(strstr(store_path(s), "/a/b/wattle.db"));
    assert_int_equal(access(store_path(s), R_OK), 0);
    store_close(s);
    unsetenv("WATTLE_HOME");
}

/* --- migrations ------------------------------------------------------------------------------- */

/* A frozen store, brought to today's version and read. */
static struct store *load_frozen(const char *dump_path, struct store_campaign *c)
{
    size_t size;
    char *dump = read_file(dump_path, &size);
    run_sql(dump);
    free(dump);
    struct store *s;
    OK(store_open(sample_path, &s, &err));
    OK(store_load(s, 0, c, &err));
    return s;
}

static void version_1_is_read(void **context)
{
    (void)context;
    struct store_campaign c;
    struct store *s = load_frozen("tests/fixtures/store/version-1.sql", &c);
    assert_string_equal(c.command, "wattle run a");
    assert_true(c.finished_ns == 1700000060000000000ull && c.seed == 7);
    assert_int_equal(c.cell_count, 1);
    assert_int_equal(c.cells[0].block_count, 1);
    const struct cell *cell = &c.cells[0].cell; /* what version 1 did not know is empty */
    assert_true(!*cell->form && !*cell->how && !*cell->artifact && !*cell->devices &&
                !*cell->command);
    const struct record *r = &c.cells[0].blocks[0];
    assert_int_equal(r->latency_count, 4);
    assert_true(r->latency_ns[0] == 32500000 && r->latency_ns[3] == 32800000);
    assert_int_equal(r->meter_count, 1);
    assert_true(r->meters[0].samples[1].total_uj == 9000000);
    assert_true(r->wall_s == 0.13 && isnan(r->noise_before.frequency_mhz));
    store_campaign_release(&c);
    store_close(s);
}

static void version_2_is_read(void **context)
{
    (void)context;
    struct store_campaign c;
    struct store *s = load_frozen("tests/fixtures/store/version-2.sql", &c);
    assert_int_equal(c.cell_count, 2);
    assert_string_equal(c.cells[0].cell.form, "native");
    assert_string_equal(c.cells[0].cell.devices, "0+1");
    assert_string_equal(c.cells[0].cell.artifact, "/home/prepared/k/model.pt2");
    assert_string_equal(c.cells[0].cell.how, "torch.export 2.13.0, AOTInductor with freezing");
    assert_int_equal(c.cells[0].block_count, 1);
    assert_string_equal(c.cells[1].cell.command, "python3 infer.py");
    store_campaign_release(&c);
    store_close(s);
}

static void scripts_run_from_where_the_database_is(void **context)
{
    (void)context;
    static const char *const scripts[] = {"CREATE TABLE a (x)", "ALTER TABLE a ADD COLUMN y",
                                          "INSERT INTO a VALUES (1, 2); CREATE TABLE broken ("};
    sqlite3 *db;
    int64_t n;
    assert_int_equal(sqlite3_open(sample_path, &db), SQLITE_OK);
    OK(schema_migrate(db, "s", scripts, 1, &err));
    OK(schema_migrate(db, "s", scripts, 2, &err));
    OK(sql_integer(db, "SELECT count(*) FROM pragma_table_info('a')", &n, &err));
    assert_int_equal(n, 2);
    /* a script that fails leaves the version before it, whole */
    assert_int_not_equal(schema_migrate(db, "s", scripts, 3, &err), 0);
    OK(sql_integer(db, "PRAGMA user_version", &n, &err));
    assert_int_equal(n, 2);
    OK(sql_integer(db, "SELECT count(*) FROM a", &n, &err));
    assert_int_equal(n, 0);
    assert_int_equal(schema_migrate(db, "s", scripts, 1, &err), ERROR_FORMAT);
    sqlite3_close(db);
}

/* --- damage ----------------------------------------------------------------------------------- */

/* A store with one block, its constraints removed so that anything can be written. */
static void make_victim(void)
{
    struct store *s;
    struct store_campaign c;
    struct record r;
    sample_campaign(&c);
    sample_record(&r, 1, 100, 3);
    OK(store_open(sample_path, &s, &err));
    OK(store_begin(s, &c, &err));
    OK(store_put_block(s, c.id, 0, &r, &err));
    store_close(s);
    store_campaign_release(&c);
    record_release(&r);
}

static void drop_constraints(void)
{
    static const char *const tables[] = {"host", "campaign", "model", "cell", "cell_dim",
                                         "block", "noise", "meter", "domain"};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        char text[256];
        snprintf(text, sizeof text,
                 "PRAGMA foreign_keys=OFF; CREATE TABLE x AS SELECT * FROM %s; DROP TABLE %s;"
                 "ALTER TABLE x RENAME TO %s", tables[i], tables[i], tables[i]);
        run_sql(text);
    }
}

static int load(void)
{
    struct store *s;
    struct store_campaign c;
    err = (struct error){0};
    int result = store_open(sample_path, &s, &err);
    if (result)
        return result;
    result = store_load(s, 0, &c, &err);
    assert_true(!result || (err.code && err.text[0] && c.cells == NULL && c.host == NULL));
    if (!result)
        store_campaign_release(&c);
    store_close(s);
    return result;
}

static void damaged_values_are_errors(void **context)
{
    (void)context;
    static const char *const damages[] = {
        "UPDATE block SET latencies_zstd = NULL",
        "UPDATE block SET latencies_zstd = x''",
        "UPDATE block SET latencies_zstd = x'28b52ffd'",
        "UPDATE block SET latencies_zstd = zeroblob(5000)",
        "UPDATE block SET latencies_zstd = 'text'",
        "UPDATE block SET latencies_zstd = substr(latencies_zstd, 1, length(latencies_zstd) - 5)",
        "UPDATE block SET latency_count = 99",
        "UPDATE block SET latency_count = 101",
        "UPDATE block SET latency_count = -1",
        "UPDATE block SET latency_count = 1 << 40",
        "UPDATE block SET latency_count = NULL",
        "UPDATE block SET latency_count = 'many'",
        "UPDATE block SET latency_count = 1e3",
        "UPDATE block SET wall_s = 'long'",
        "UPDATE block SET runs = NULL",
        "UPDATE block SET number = NULL",
        "UPDATE block SET error_code = 'strange'",
        "UPDATE block SET error_code = NULL",
        "UPDATE block SET error_text = printf('%.*c', 600, 'x')",
        "UPDATE block SET log = x'0102'",
        "UPDATE block SET log = 'a' || char(0) || 'b'",
        "UPDATE block SET settings = '[1]'",
        "UPDATE block SET settings = '{\"a\":'",
        "UPDATE block SET settings = NULL",
        "UPDATE block SET shapes = printf('{\"a\":%.*c', 100000, '[')",
        "UPDATE block SET reasons = '{}'",
        "UPDATE block SET verdict = 'FINE'",
        "UPDATE block SET energy_meter = 3",
        "UPDATE block SET energy_meter = 8",
        "UPDATE block SET energy_meter = -1",
        "UPDATE block SET id = NULL",
        "DELETE FROM noise WHERE moment = 1",
        "UPDATE noise SET moment = 2",
        "UPDATE noise SET busy_ns = NULL",
        "UPDATE meter SET domain_count = 4 WHERE position = 0",
        "UPDATE meter SET domain_count = 65 WHERE position = 0",
        "UPDATE meter SET sample_count = 99 WHERE position = 0",
        "UPDATE meter SET sample_count = 1 << 50 WHERE position = 0",
        "UPDATE meter SET readings_zstd = zeroblob(9) WHERE position = 0",
        "UPDATE meter SET readings_zstd = NULL WHERE position = 0",
        "UPDATE meter SET name = printf('%.*c', 40, 'x')",
        "UPDATE meter SET energy_provenance = 'guessed'",
        "UPDATE meter SET box_source = NULL",
        "INSERT INTO meter SELECT * FROM meter; INSERT INTO meter SELECT * FROM meter;"
        "INSERT INTO meter SELECT * FROM meter",
        "DELETE FROM domain WHERE position = 2",
        "UPDATE domain SET status = 'GREAT'",
        "UPDATE domain SET in_total = 2",
        "UPDATE domain SET period_ns = 1.5",
        "UPDATE cell SET model_position = 2",
        "UPDATE cell SET model_position = -1",
        "UPDATE cell SET model = NULL",
        "UPDATE cell SET runtime = printf('%.*c', 64, 'x')",
        "UPDATE cell SET threads = 1 << 40",
        "UPDATE cell SET batch = 'all'",
        "UPDATE cell SET agreement_ok = 2",
        "UPDATE cell SET agreement_detail = NULL",
        "UPDATE cell_dim SET symbol = NULL",
        "INSERT INTO cell_dim SELECT cell_id, 99, 'x', 1 FROM cell_dim LIMIT 1",
        "UPDATE model SET name = NULL",
        "UPDATE model SET macs = 'lots'",
        "UPDATE model SET parameters = -5",
        "DELETE FROM model",
        "UPDATE host SET fingerprint = 'x'",
        "DELETE FROM host",
        "UPDATE campaign SET uuid = 'x' || uuid",
        "UPDATE campaign SET started_ns = NULL",
        "UPDATE campaign SET blocks = 1 << 33",
        "UPDATE campaign SET duration_s = 'long'",
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
        " INSERT INTO cell SELECT c.* FROM cell c, n",
        "DROP TABLE domain",
        "ALTER TABLE block DROP COLUMN wall_s",
        "DROP TABLE noise; CREATE VIEW noise AS SELECT 1 AS block_id, 2 AS moment",
    };
    make_victim();
    drop_constraints();
    assert_int_equal(load(), 0); /* as it is it can be read */
    size_t size;
    char *good = read_file(sample_path, &size);
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        write_file(good, size);
        run_sql(damages[i]);
        if (load() == 0)
            fail_msg("read as if it were good: %s", damages[i]);
    }
    free(good);
}

static void endless_views_are_not_followed(void **context)
{
    (void)context;
    make_victim();
    drop_constraints();
    run_sql("DROP TABLE model; CREATE VIEW model AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL"
            " SELECT i + 1 FROM n) SELECT i AS campaign_id, i AS position FROM n");
    assert_int_not_equal(load(), 0);
}

/* A frame of few bytes that says it holds very many: refused before memory is taken. */
static void a_bomb_is_refused(void **context)
{
    (void)context;
    enum { COUNT = PACK_BYTES_MAX / PACK_LATENCY_BYTES };
    make_victim();
    drop_constraints();
    void *zeros = calloc(COUNT, PACK_LATENCY_BYTES), *frame;
    size_t bound = ZSTD_compressBound(PACK_BYTES_MAX);
    frame = malloc(bound);
    assert_true(zeros && frame);
    size_t used = ZSTD_compress(frame, bound, zeros, PACK_BYTES_MAX, 1);
    free(zeros);
    sqlite3 *db;
    sqlite3_stmt *q;
    assert_int_equal(sqlite3_open(sample_path, &db), SQLITE_OK);
    static const char update[] = "UPDATE block SET latency_count = ?, latencies_zstd = ?";
    assert_int_equal(sqlite3_prepare_v2(db, update, -1, &q, NULL), SQLITE_OK);
    sqlite3_bind_int64(q, 1, COUNT);
    sqlite3_bind_blob64(q, 2, frame, used, SQLITE_STATIC);
    assert_int_equal(sqlite3_step(q), SQLITE_DONE);
    sqlite3_finalize(q);
    /* forty such blocks: each within the limit of an array, together beyond that of a load */
    assert_int_equal(sqlite3_exec(db, "WITH RECURSIVE n (i) AS (SELECT 100 UNION ALL SELECT i + 1"
                                      " FROM n WHERE i < 140) INSERT INTO block SELECT b.* FROM"
                                      " block b, n", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    free(frame);
    assert_int_equal(load(), ERROR_MEMORY);
    assert_non_null(strstr(err.text, "MiB of raw data"));
}

static void flipped_bytes_never_crash(void **context)
{
    (void)context;
    make_victim();
    size_t size;
    char *good = read_file(sample_path, &size), *bad = malloc(size);
    assert_non_null(bad);
    int failed = 0;
    for (int trial = 0; trial < 250; trial++) {
        memcpy(bad, good, size);
        for (int i = 0; i < 1 + trial % 20; i++)
            bad[sample_u64() % size] = (char)sample_u64();
        write_file(bad, size - (trial % 10 ? 0 : sample_u64() % size));
        failed += load() != 0;
    }
    assert_true(failed > 50);
    free(good);
    free(bad);
}

/* --- full disks ------------------------------------------------------------------------------- */

static int fill(struct store *s, int64_t campaign)
{
    struct record r;
    int result = 0;
    for (int i = 0; i < 50 && !result; i++) {
        sample_record(&r, i + 1, 20000, 3);
        result = store_put_block(s, campaign, 0, &r, &err);
        record_release(&r);
    }
    return result;
}

static void a_full_database_says_so(void **context)
{
    (void)context;
    struct store *s;
    struct store_campaign c, out;
    sample_campaign(&c);
    OK(store_open(sample_path, &s, &err));
    OK(store_begin(s, &c, &err));
    OK(sql_run(s->db, "PRAGMA max_page_count=200", &err));
    assert_int_equal(fill(s, c.id), ERROR_IO);
    assert_non_null(strstr(err.text, "the disk is full"));
    assert_non_null(strstr(err.hint, "free some space"));
    OK(store_load(s, c.id, &out, &err)); /* and what was kept is whole */
    assert_true(out.cells[0].block_count > 0 && out.cells[0].block_count < 50);
    store_campaign_release(&out);
    store_campaign_release(&c);
    store_close(s);
}

static int fill_with_file_limit(int64_t campaign)
{
    struct store *s;
    struct rlimit limit = {300000, 300000};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    if (store_open(sample_path, &s, &err))
        return 2;
    int result = fill(s, campaign);
    return result == ERROR_IO && strstr(err.text, "the disk is full") ? 0 : 1;
}

static void a_file_limit_says_so(void **context)
{
    (void)context;
    struct store *s;
    struct store_campaign c;
    sample_campaign(&c);
    OK(store_open(sample_path, &s, &err));
    OK(store_begin(s, &c, &err));
    store_close(s);
    pid_t child = fork();
    if (child == 0)
        _exit(fill_with_file_limit(c.id));
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(load(), 0);
    store_campaign_release(&c);
}

static void a_locked_store_says_so(void **context)
{
    (void)context;
    struct store *s;
    struct store_campaign c;
    sqlite3 *other;
    sample_campaign(&c);
    OK(store_open(sample_path, &s, &err));
    sqlite3_busy_timeout(s->db, 50);
    assert_int_equal(sqlite3_open(sample_path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(store_begin(s, &c, &err), ERROR_TIMEOUT);
    assert_non_null(strstr(err.text, "locked by another process"));
    sqlite3_close(other);
    OK(store_begin(s, &c, &err));
    store_campaign_release(&c);
    store_close(s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, sample_setup, sample_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_that_is_no_database),
        TEST(another_programs_database),
        TEST(a_newer_database),
        TEST(paths_that_cannot_be),
        TEST(folders_are_made_and_home_is_the_default),
        TEST(version_1_is_read),
        TEST(version_2_is_read),
        TEST(scripts_run_from_where_the_database_is),
        TEST(damaged_values_are_errors),
        TEST(endless_views_are_not_followed),
        TEST(a_bomb_is_refused),
        TEST(flipped_bytes_never_crash),
        TEST(a_full_database_says_so),
        TEST(a_file_limit_says_so),
        TEST(a_locked_store_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
