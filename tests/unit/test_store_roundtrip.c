/* What is stored comes back bit for bit. */
#include "store_samples.h"

#include "base/clock.h"

#include <sqlite3.h>
#include <sys/wait.h>

static struct store *open_store(void)
{
    struct store *s = NULL;
    if (store_open(sample_path, &s, &err))
        fail_msg("store_open: %s", err.text);
    return s;
}


static void a_campaign_comes_back(void **context)
{
    (void)context;
    struct store *s = open_store();
    struct store_campaign in, out;
    sample_campaign(&in);
    OK(store_begin(s, &in, &err));
    assert_true(in.id > 0);
    assert_int_equal(strlen(in.uuid), 36);
    assert_true(in.uuid[14] == '4' && strchr("89ab", in.uuid[19]));
    store_close(s);

    s = open_store();
    OK(store_load(s, 0, &out, &err));
    SAME(&in, &out, id);
    SAME_TEXT(&in, &out, uuid);
    SAME_TEXT(&in, &out, version);
    SAME_TEXT(&in, &out, command);
    SAME_TEXT(&in, &out, host_title);
    SAME(&in, &out, started_ns);
    SAME(&in, &out, seed);
    SAME_DOUBLE(&in, &out, duration_s);
    SAME(&in, &out, blocks);
    assert_true(out.finished_ns == 0);
    assert_true(json_equal(in.host, out.host));
    assert_int_equal(out.model_count, 2);
    for (size_t i = 0; i < 2; i++) {
        SAME_TEXT(&in, &out, models[i].name);
        SAME_TEXT(&in, &out, models[i].path);
        SAME_TEXT(&in, &out, models[i].format);
        SAME_TEXT(&in, &out, models[i].sha256);
        SAME(&in, &out, models[i].parameters);
        SAME(&in, &out, models[i].macs);
    }
    assert_int_equal(out.cell_count, 3);
    for (size_t i = 0; i < 3; i++) {
        same_cell(&in.cells[i].cell, &out.cells[i].cell);
        SAME(&in, &out, cells[i].model);
        assert_int_equal(out.cells[i].block_count, 0);
        assert_int_equal(out.cells[i].agreement.ok, -1);
        assert_true(isnan(out.cells[i].agreement.max_rel_error));
    }
    store_campaign_release(&in);
    store_campaign_release(&out);
    store_close(s);
}

static void round_trip(struct record *r)
{
    struct store *s = open_store();
    struct store_campaign c, out;
    sample_campaign(&c);
    OK(store_begin(s, &c, &err));
    OK(store_put_block(s, c.id, 1, r, &err));
    store_close(s);
    s = open_store();
    OK(store_load(s, c.id, &out, &err));
    assert_int_equal(out.cells[0].block_count, 0);
    assert_int_equal(out.cells[1].block_count, 1);
    same_record(r, &out.cells[1].blocks[0]);
    store_campaign_release(&c);
    store_campaign_release(&out);
    store_close(s);
    record_release(r);
}

static void a_fresh_record_comes_back(void **context)
{
    (void)context;
    struct record r;
    record_init(&r);
    round_trip(&r);
}

static void a_record_without_json_comes_back_empty(void **context)
{
    (void)context;
    struct record r;
    record_init(&r);
    record_release(&r);
    assert_null(r.settings);
    struct store *s = open_store();
    struct store_campaign c, out;
    sample_campaign(&c);
    OK(store_begin(s, &c, &err));
    OK(store_put_block(s, c.id, 0, &r, &err));
    OK(store_load(s, c.id, &out, &err));
    assert_int_equal(json_object_size(out.cells[0].blocks[0].settings), 0);
    assert_true(json_is_array(out.cells[0].blocks[0].reasons));
    store_campaign_release(&c);
    store_campaign_release(&out);
    store_close(s);
}

static void full_records_come_back(void **context)
{
    (void)context;
    static const size_t latencies[] = {0, 1, 5000};
    for (size_t i = 0; i < 3; i++) {
        struct record r;
        sample_record(&r, 1 + (int64_t)i, latencies[i], i == 0 ? 0 : i == 1 ? RECORD_METER_MAX : 3);
        round_trip(&r);
    }
}

static void a_million_latencies_come_back(void **context)
{
    (void)context;
    struct record r;
    sample_record(&r, 1, 1000000, 1);
    round_trip(&r);
}

static void text_of_any_bytes_comes_back(void **context)
{
    (void)context;
    struct record r;
    record_init(&r);
    for (size_t i = 0; i + 1 < sizeof r.log; i++)
        r.log[i] = (char)(1 + i % 255);
    round_trip(&r);
}

static void blocks_keep_their_order_and_cell(void **context)
{
    (void)context;
    struct store *s = open_store();
    struct store_campaign c, out;
    sample_campaign(&c);
    OK(store_begin(s, &c, &err));
    static const size_t cells[] = {2, 0, 2, 1, 2, 0};
    static const int64_t numbers[] = {3, 1, 1, 1, 2, 2};
    for (size_t i = 0; i < 6; i++) {
        struct record r;
        record_init(&r);
        r.number = numbers[i];
        OK(store_put_block(s, c.id, cells[i], &r, &err));
        record_release(&r);
    }
    OK(store_load(s, c.id, &out, &err));
    assert_int_equal(out.cells[0].block_count, 2);
    assert_int_equal(out.cells[1].block_count, 1);
    assert_int_equal(out.cells[2].block_count, 3);
    assert_true(out.cells[2].blocks[0].number == 3 && out.cells[2].blocks[1].number == 1);
    store_campaign_release(&c);
    store_campaign_release(&out);
    store_close(s);
}

static void agreement_and_end_are_kept(void **context)
{
    (void)context;
    struct store *s = open_store();
    struct store_campaign c, out;
    sample_campaign(&c);
    OK(store_begin(s, &c, &err));
    struct agreement a = {.reference = "builtin:reference", .max_rel_error = 7e-7, .ok = 1,
                          .detail = "x"};
    struct agreement b = {.reference = "builtin:reference", .max_rel_error = NAN, .ok = 0,
                          .detail = "output[0,17]: 0.31 against 0.42"};
    OK(store_put_agreement(s, c.id, 0, &a, &err));
    OK(store_put_agreement(s, c.id, 1, &b, &err));
    uint64_t before_ns = clock_realtime_ns();
    OK(store_finish(s, c.id, &err));
    OK(store_load(s, c.id, &out, &err));
    assert_true(out.finished_ns >= before_ns && out.finished_ns <= clock_realtime_ns());
    SAME_TEXT(&out.cells[0].agreement, &a, reference);
    SAME_TEXT(&out.cells[0].agreement, &a, detail);
    SAME(&out.cells[0].agreement, &a, ok);
    SAME_DOUBLE(&out.cells[0].agreement, &a, max_rel_error);
    SAME_TEXT(&out.cells[1].agreement, &b, detail);
    assert_int_equal(out.cells[1].agreement.ok, 0);
    assert_int_equal(out.cells[2].agreement.ok, -1);
    store_campaign_release(&c);
    store_campaign_release(&out);
    store_close(s);
}

static int64_t count(const char *query)
{
    sqlite3 *db;
    sqlite3_stmt *q;
    assert_int_equal(sqlite3_open(sample_path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, query, -1, &q, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(q), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    sqlite3_close(db);
    return n;
}

static void campaigns_share_a_host_and_the_latest_is_found(void **context)
{
    (void)context;
    struct store *s = open_store();
    struct store_campaign a, b, out;
    sample_campaign(&a);
    sample_campaign(&b);
    OK(store_begin(s, &a, &err));
    OK(store_begin(s, &b, &err));
    assert_true(b.id > a.id && strcmp(a.uuid, b.uuid));
    OK(store_load(s, 0, &out, &err));
    assert_true(out.id == b.id);
    store_campaign_release(&out);
    OK(store_load(s, a.id, &out, &err));
    assert_string_equal(out.uuid, a.uuid);
    store_campaign_release(&out);
    store_campaign_release(&a);
    store_campaign_release(&b);
    store_close(s);
    assert_int_equal(count("SELECT count(*) FROM host"), 1);
    assert_int_equal(count("PRAGMA application_id"), 0x5754544c);
    assert_int_equal(count("PRAGMA user_version"), 2);
    assert_int_equal(count("SELECT count(*) FROM pragma_table_list WHERE schema = 'main'"
                           " AND name NOT LIKE 'sqlite%' AND NOT strict"), 0);
    assert_int_equal(count("SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
}

static void what_is_not_there_is_said(void **context)
{
    (void)context;
    struct store *s = open_store();
    struct store_campaign c, out;
    assert_int_equal(store_load(s, 0, &out, &err), ERROR_USAGE);
    assert_non_null(strstr(err.text, "no campaign is stored in"));
    sample_campaign(&c);
    OK(store_begin(s, &c, &err));
    assert_int_equal(store_load(s, 77, &out, &err), ERROR_USAGE);
    assert_non_null(strstr(err.text, "no campaign 77 in"));
    assert_int_equal(out.cell_count, 0);
    struct record r;
    record_init(&r);
    assert_int_equal(store_put_block(s, c.id, 3, &r, &err), ERROR_USAGE);
    assert_int_equal(store_finish(s, 77, &err), ERROR_USAGE);
    OK(store_put_block(s, c.id, 0, &r, &err));
    assert_int_not_equal(store_put_block(s, c.id, 0, &r, &err), 0); /* the same block twice */
    assert_non_null(strstr(err.text, "UNIQUE"));
    r.number = 2;
    OK(store_put_block(s, c.id, 0, &r, &err)); /* and no transaction is left open */
    record_release(&r);
    store_campaign_release(&c);
    store_close(s);
}

static void a_failed_block_leaves_nothing(void **context)
{
    (void)context;
    struct store *s = open_store();
    struct store_campaign c;
    struct record r;
    sample_campaign(&c);
    OK(store_begin(s, &c, &err));
    sample_record(&r, 1, 10, 3);
    r.meters[2].domain_count = WATTLE_DOMAIN_MAX + 1;
    assert_int_equal(store_put_block(s, c.id, 0, &r, &err), ERROR_MEMORY);
    r.meters[2].domain_count = 1;
    record_release(&r);
    store_campaign_release(&c);
    store_close(s);
    assert_int_equal(count("SELECT (SELECT count(*) FROM block) + (SELECT count(*) FROM meter) +"
                           " (SELECT count(*) FROM domain) + (SELECT count(*) FROM noise)"), 0);
}

static int write_blocks(int64_t campaign, size_t cell, int blocks)
{
    struct store *s;
    struct record r;
    struct error e;
    if (store_open(sample_path, &s, &e))
        return 1;
    int failed = 0;
    for (int i = 0; i < blocks && !failed; i++) {
        sample_record(&r, i + 1, 1000, 3);
        failed = store_put_block(s, campaign, cell, &r, &e);
        record_release(&r);
    }
    store_close(s);
    return failed;
}

static void two_processes_write_at_once(void **context)
{
    (void)context;
    struct store *s = open_store();
    struct store_campaign c, out;
    sample_campaign(&c);
    OK(store_begin(s, &c, &err));
    store_close(s);
    pid_t children[3];
    for (size_t i = 0; i < 3; i++) {
        children[i] = fork();
        if (children[i] == 0)
            _exit(write_blocks(c.id, i, 40));
    }
    for (size_t i = 0; i < 3; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    s = open_store();
    OK(store_load(s, c.id, &out, &err));
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(out.cells[i].block_count, 40);
    store_campaign_release(&c);
    store_campaign_release(&out);
    store_close(s);
}

static void many_processes_make_the_same_store(void **context)
{
    (void)context;
    pid_t children[8];
    for (size_t i = 0; i < 8; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            struct store *s;
            _exit(store_open(sample_path, &s, &err) != 0);
        }
    }
    for (size_t i = 0; i < 8; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, sample_setup, sample_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_campaign_comes_back),
        TEST(a_fresh_record_comes_back),
        TEST(a_record_without_json_comes_back_empty),
        TEST(full_records_come_back),
        TEST(a_million_latencies_come_back),
        TEST(text_of_any_bytes_comes_back),
        TEST(blocks_keep_their_order_and_cell),
        TEST(agreement_and_end_are_kept),
        TEST(campaigns_share_a_host_and_the_latest_is_found),
        TEST(what_is_not_there_is_said),
        TEST(a_failed_block_leaves_nothing),
        TEST(two_processes_write_at_once),
        TEST(many_processes_make_the_same_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
