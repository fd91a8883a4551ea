/* The figures of a row, worked out by hand. */
#include "report_samples.h"

static void near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-9 * fmax(1, fabs(want))))
        fail_msg("got %.12g, want %.12g", got, want);
}

static const struct summary *find(const struct report *r, const char *label)
{
    for (size_t i = 0; i < r->row_count; i++)
        if (!strcmp(r->rows[i].label, label))
            return &r->rows[i];
    fail_msg("no row %s", label);
    return NULL;
}

static int has_reason(const struct summary *s, const char *text)
{
    for (size_t i = 0; s->reasons[i]; i++)
        if (strstr(s->reasons[i], text))
            return 1;
    return 0;
}

static void make(struct report *r, const struct store_campaign *c)
{
    if (report_make(r, c, &err))
        fail_msg("report_make: %s", err.text);
}

static void times_are_pooled_over_blocks(void **context)
{
    (void)context;
    struct store_campaign c;
    struct report r;
    make_estimated(&c);
    make(&r, &c);
    const struct summary *s = find(&r, "builtin");
    assert_int_equal(s->n, 640);
    assert_true(s->blocks_ok == 2 && s->blocks_failed == 0 && !s->failure);
    /* 0..99 us over 32.5 ms: of 640 latencies, each of 0..19 us 8 times, the others 6 times */
    near(s->min_ms, 32.5);
    near(s->p50_ms, 32.5 + 0.046); /* the 320th: 160 up to 19 us, then 160 / 6 -> 19 + 27 */
    near(s->p99_ms, 32.5 + 0.098); /* the 634th */
    assert_null(s->percentile_reason);
    near(s->load_ms, 400);
    near(s->first_ms, 50);
    near(s->throughput_per_s, 1 / 0.0325);
    near(s->cpu_s, 0.0647);
    near(s->cpu_user_s, 0.0647 * 0.875);
    near(s->cpu_percent, 100 * 0.0647 / 0.0325);
    near(s->context_switches, 3);
    near(s->page_faults, 0.5);
    near(s->rss_peak_bytes, 3e8);
    assert_true(isnan(s->ci95_low_ms) && strstr(s->ci95_reason, "6 completed blocks"));
    report_release(&r);
    store_campaign_release(&c);
}

/* The largest of the blocks that know; a reason only where none does. */
static void device_memory(void **context)
{
    (void)context;
    struct store_campaign c;
    struct report r;
    make_campaign(&c, 1);
    struct store_cell *cell = add_cell(&c, "some", "cuda");
    strcpy(add_done(cell, 10, 10, 0.01)->device_memory_reason, "not told");
    add_done(cell, 10, 10, 0.01)->device_memory_peak_bytes = 500;
    add_done(cell, 10, 10, 0.01)->device_memory_peak_bytes = 700;
    strcpy(add_done(cell, 10, 10, 0.01)->device_memory_reason, "not told");
    cell = add_cell(&c, "none", "cuda");
    add_done(cell, 10, 10, 0.01);
    strcpy(add_done(cell, 10, 10, 0.01)->device_memory_reason, "first reason");
    strcpy(add_done(cell, 10, 10, 0.01)->device_memory_reason, "second reason");
    add_done(add_cell(&c, "builtin", "cpu"), 10, 10, 0.01);
    make(&r, &c);
    near(find(&r, "some")->device_memory_peak_bytes, 700);
    assert_null(find(&r, "some")->device_memory_reason);
    assert_true(isnan(find(&r, "none")->device_memory_peak_bytes));
    assert_string_equal(find(&r, "none")->device_memory_reason, "first reason");
    assert_true(isnan(find(&r, "builtin")->device_memory_peak_bytes));
    assert_null(find(&r, "builtin")->device_memory_reason);
    report_release(&r);
    store_campaign_release(&c);
}

static void throughput_counts_samples(void **context)
{
    (void)context;
    struct store_campaign c;
    struct report r;
    make_campaign(&c, 1);
    struct store_cell *cell = add_cell(&c, "builtin", "cpu");
    cell->cell.batch = 64;
    add_done(cell, 100, 500, 1);
    make(&r, &c);
    near(r.rows[0].throughput_per_s, 128);
    near(r.rows[0].cpu_s, 1); /* an inference is one run of the batch */
    report_release(&r);
    store_campaign_release(&c);
}

static void percentiles_need_samples(void **context)
{
    (void)context;
    static const struct {
        uint64_t runs;
        const char *reason;
    } table[] = {
        {458, "p99 needs 459 inferences; 458 were timed"},
        {89, "p95 needs 90, p99 needs 459 inferences; 89 were timed"},
        {43, "p90 needs 44, p95 needs 90, p99 needs 459 inferences; 43 were timed"},
        {6, "p50 needs 7, p90 needs 44, p95 needs 90, p99 needs 459 inferences; 6 were timed"},
    };
    for (size_t i = 0; i < 4; i++) {
        struct store_campaign c;
        struct report r;
        make_campaign(&c, 1);
        add_done(add_cell(&c, "builtin", "cpu"), table[i].runs, 30, 0.06);
        make(&r, &c);
        const struct summary *s = &r.rows[0];
        assert_string_equal(s->percentile_reason, table[i].reason);
        assert_true(isnan(s->p99_ms) && isnan(s->p95_ms) == (i > 0) && isnan(s->p90_ms) == (i > 1));
        assert_true(isnan(s->p50_ms) == (i > 2));
        report_release(&r);
        store_campaign_release(&c);
    }
}

static void interval_is_over_blocks(void **context)
{
    (void)context;
    struct store_campaign c;
    struct report r;
    make_campaign(&c, 6);
    struct store_cell *cell = add_cell(&c, "builtin", "cpu");
    static const double ms[] = {33, 31, 36, 32, 35, 34};
    for (int i = 0; i < 6; i++)
        add_done(cell, 1, ms[i], 0.06);
    make(&r, &c);
    near(r.rows[0].ci95_low_ms, 31); /* 6 blocks: the smallest and the largest */
    near(r.rows[0].ci95_high_ms, 36);
    assert_null(r.rows[0].ci95_reason);
    report_release(&r);
    store_campaign_release(&c);
}

static void estimates_rank_over_the_same_box(void **context)
{
    (void)context;
    struct store_campaign c;
    struct report r;
    make_estimated(&c);
    make(&r, &c);
    assert_int_equal(r.group_count, 1);
    assert_int_equal(r.groups[0].ranked, 2);
    assert_int_equal(r.groups[0].by_time, 0);
    const struct summary *a = &r.rows[0], *b = &r.rows[1];
    assert_string_equal(a->label, "builtin");
    assert_string_equal(b->label, "mxnet");
    assert_true(a->rank == 1 && b->rank == 2 && a->provenance == WATTLE_ESTIMATED);
    near(a->j, 15 * 0.0325 + 7 * 0.0647);
    near(a->j_low, 5 * 0.0325 + 2 * 0.0647);
    near(a->j_high, 25 * 0.0325 + 12 * 0.0647);
    near(a->ratio, 1);
    near(b->ratio, (15 * 0.0362 + 7 * 0.0721) / (15 * 0.0325 + 7 * 0.0647));
    /* the wall ratio is 1.1138 and the CPU ratio 1.1144: bounds at (5, 12) and (25, 2) */
    near(b->ratio_low, (25 * 0.0362 + 2 * 0.0721) / (25 * 0.0325 + 2 * 0.0647));
    near(b->ratio_high, (5 * 0.0362 + 12 * 0.0721) / (5 * 0.0325 + 12 * 0.0647));
    /* the mismatch uses least, but is not ranked; the crash comes last */
    assert_string_equal(r.rows[2].label, "onnxruntime");
    assert_true(r.rows[2].rank == 0 && r.rows[2].verdict == VERDICT_INVALID);
    assert_string_equal(r.rows[2].rank_reason, "its outputs differ");
    assert_true(isnan(r.rows[2].ratio));
    assert_string_equal(r.rows[3].label, "openvino");
    assert_string_equal(r.rows[3].rank_reason, "failed");
    assert_non_null(strstr(r.rows[3].failure, "signal 11"));
    assert_true(isnan(r.rows[3].p50_ms) && isnan(r.rows[3].j) && isnan(r.rows[3].cpu_s));
    assert_int_equal(r.exit_code, 5);
    report_release(&r);
    store_campaign_release(&c);
}

static void measured_joules_are_means_of_blocks(void **context)
{
    (void)context;
    struct store_campaign c;
    struct report r;
    make_measured(&c);
    make(&r, &c);
    const struct summary *a = find(&r, "builtin:cpu"), *b = find(&r, "builtin:reference");
    near(a->j, (400 / 500.0 + 408 / 500.0) / 2);
    near(a->j_low, (398 / 500.0 + 406 / 500.0) / 2);
    near(a->j_high, (402 / 500.0 + 410 / 500.0) / 2);
    near(b->j, 82.2);
    near(b->ratio, 82.2 / 0.808);
    near(b->ratio_low, 81.8 / 0.812);
    near(b->ratio_high, 82.6 / 0.804);
    assert_string_equal(a->meter, "powercap");
    assert_string_equal(a->energy_reason, "memory not measured (no dram zone)");
    assert_int_equal(r.exit_code, 0);
    assert_true(a->verdict == VERDICT_VALID && !a->reasons[0]);
    report_release(&r);
    store_campaign_release(&c);
}

static void without_energy_time_ranks(void **context)
{
    (void)context;
    struct store_campaign c;
    struct report r;
    make_none(&c);
    make(&r, &c);
    assert_int_equal(r.groups[0].by_time, 1);
    assert_string_equal(r.rows[0].label, "builtin");
    near(r.rows[1].ratio, r.rows[1].p50_ms / r.rows[0].p50_ms);
    assert_true(isnan(r.rows[1].ratio_low) && isnan(r.rows[0].j));
    assert_non_null(strstr(r.rows[0].energy_reason, "MASKED"));
    assert_int_equal(r.rows[0].verdict, VERDICT_SUSPECT);
    assert_true(has_reason(&r.rows[0], "1 of 2 blocks failed: worker was killed by signal 11"));
    assert_true(has_reason(&r.rows[1], "window of 1.8 s is shorter than 10 s"));
    assert_int_equal(r.exit_code, 3); /* for the failed block */
    report_release(&r);
    store_campaign_release(&c);
}

static void provenances_do_not_mix(void **context)
{
    (void)context;
    struct store_campaign c;
    struct report r;
    make_campaign(&c, 1);
    struct store_cell *a = add_cell(&c, "a", "cpu"), *b = add_cell(&c, "b", "cpu");
    struct store_cell *d = add_cell(&c, "d", "cpu"), *e = add_cell(&c, "e", "cpu");
    estimated(add_done(a, 1000, 11, 0.02)); /* least, but estimated */
    measured(add_done(b, 1000, 12, 0.02), 9000, 1);
    add_done(d, 1000, 10, 0.02);
    measured(add_done(e, 1000, 14, 0.02), 8000, 1);
    make(&r, &c);
    assert_int_equal(r.groups[0].ranked, 2);
    assert_string_equal(r.rows[0].label, "e");
    assert_string_equal(r.rows[1].label, "b");
    assert_string_equal(find(&r, "a")->rank_reason,
                        "energy is estimated where others' is measured");
    assert_string_equal(find(&r, "d")->rank_reason, "energy is none where others' is measured");
    report_release(&r);
    store_campaign_release(&c);
}

static void a_block_without_joules_is_left_out_and_told(void **context)
{
    (void)context;
    struct store_campaign c;
    struct report r;
    make_campaign(&c, 3);
    struct store_cell *a = add_cell(&c, "a", "cpu");
    measured(add_done(a, 1000, 11, 0.02), 1000, 1);
    struct record *stuck = add_done(a, 1000, 11, 0.02);
    add_meter(stuck, "powercap", WATTLE_NONE)->energy.j = NAN;
    stuck->energy_meter = -1;
    strcpy(stuck->energy_reason, "STUCK: package-0 did not move");
    measured(add_done(a, 1000, 11, 0.02), 2000, 1);
    make(&r, &c);
    near(r.rows[0].j, 1.5);
    assert_int_equal(r.rows[0].verdict, VERDICT_SUSPECT);
    assert_true(has_reason(&r.rows[0], "energy is that of 2 of 3 blocks: STUCK"));
    report_release(&r);
    store_campaign_release(&c);
}

static void invalid_rows_are_not_ranked(void **context)
{
    (void)context;
    struct store_campaign c;
    struct report r;
    make_campaign(&c, 1);
    struct store_cell *a = add_cell(&c, "a", "cpu"), *b = add_cell(&c, "b", "cpu");
    measured(add_done(a, 1000, 11, 0.02), 1000, 1);
    measured(add_done(b, 1000, 11, 0.02), 3000, 1);
    a->blocks[0].verdict = VERDICT_INVALID;
    make(&r, &c);
    assert_string_equal(r.rows[0].label, "b");
    assert_string_equal(r.rows[1].rank_reason, "INVALID");
    assert_int_equal(r.exit_code, 3);
    report_release(&r);
    store_campaign_release(&c);
}

static void another_provider_than_asked_is_told(void **context)
{
    (void)context;
    struct store_campaign c;
    struct report r;
    make_campaign(&c, 1);
    struct record *record = add_done(add_cell(&c, "a", "cuda"), 1000, 11, 0.02);
    strcpy(record->provider, "cpu");
    make(&r, &c);
    assert_int_equal(r.rows[0].verdict, VERDICT_SUSPECT);
    assert_true(has_reason(&r.rows[0], "cpu ran it instead of cuda"));
    report_release(&r);
    store_campaign_release(&c);
}

static void cut_campaigns_say_what_is_missing(void **context)
{
    (void)context;
    struct store_campaign c;
    struct report r;
    make_campaign(&c, 3);
    c.finished_ns = 0;
    struct store_cell *a = add_cell(&c, "a", "cpu");
    add_cell(&c, "b", "cpu");
    add_done(a, 1000, 11, 0.02);
    make(&r, &c);
    assert_true(has_reason(&r.rows[0], "cut short: 1 of 3 blocks"));
    assert_string_equal(r.rows[1].failure, "not measured: the campaign was cut short");
    assert_int_equal(r.exit_code, 3);
    report_release(&r);
    store_campaign_release(&c);
    make_campaign(&c, 1);
    make(&r, &c);
    assert_true(r.row_count == 0 && r.group_count == 0 && r.exit_code == 0);
    report_release(&r);
    store_campaign_release(&c);
}

static void cells_compete_with_their_like_only(void **context)
{
    (void)context;
    struct store_campaign c;
    struct report r;
    make_campaign(&c, 1);
    for (int i = 0; i < 12; i++) {
        struct store_cell *cell = add_cell(&c, i % 2 ? "x" : "y", "cpu");
        int group = i / 2;
        cell->cell.batch = group == 1 ? 64 : 1;
        cell->cell.threads = group == 2 ? 1 : 2;
        strcpy(cell->cell.precision, group == 3 ? "bf16" : "f32");
        cell->model = group == 4;
        cell->cell.dim_count = group == 5;
        cell->cell.dims[0] = (struct plan_dim){"S", 128};
        measured(add_done(cell, 1000, 11, 0.02), 1000 + i, 1);
    }
    /* the two of a group need not be neighbours */
    struct store_cell swapped = c.cells[0];
    c.cells[0] = c.cells[11];
    c.cells[11] = swapped;
    make(&r, &c);
    assert_int_equal(r.group_count, 6);
    for (size_t i = 0; i < 6; i++) {
        const struct summary_group *g = &r.groups[i];
        assert_int_equal(g->end - g->begin, 2);
        assert_string_equal(r.rows[g->begin].label, "y");
        assert_string_equal(r.rows[g->begin + 1].label, "x");
        assert_int_equal(r.rows[g->begin].cell->cell.batch, r.rows[g->begin + 1].cell->cell.batch);
    }
    report_release(&r);
    store_campaign_release(&c);
}

/* As -r takes them, no longer than is needed to tell the rows apart. */
static void labels_tell_versions_apart(void **state)
{
    static const struct {
        const char *runtime, *provider, *version, *label;
    } cells[] = {
        {"builtin", "cpu", "0.1.0", "builtin"},
        {"onnxruntime", "cpu", "1.31.1", "onnxruntime:cpu@1.31.1"},
        {"onnxruntime", "cpu", "1.32.0", "onnxruntime@1.32.0"},
        {"onnxruntime", "openvino", "1.24.1", "onnxruntime:openvino"},
        {"onnxruntime", "xnnpack", "1.31.1", "onnxruntime:xnnpack"},
    };
    struct store_campaign c;
    struct report r;
    struct error e;
    (void)state;
    make_campaign(&c, 2);
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
        struct store_cell *cell = add_cell(&c, cells[i].runtime, cells[i].provider);
        strcpy(cell->cell.version, cells[i].version);
        estimated(add_done(cell, 300, 30.0, 0.06 + 0.001 * (double)i));
    }
    assert_int_equal(report_make(&r, &c, &e), 0);
    for (size_t i = 0; i < r.row_count; i++)
        assert_string_equal(r.rows[i].label, cells[i].label);
    report_release(&r);
    store_campaign_release(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_pooled_over_blocks),
        cmocka_unit_test(device_memory),
        cmocka_unit_test(throughput_counts_samples),
        cmocka_unit_test(percentiles_need_samples),
        cmocka_unit_test(interval_is_over_blocks),
        cmocka_unit_test(estimates_rank_over_the_same_box),
        cmocka_unit_test(measured_joules_are_means_of_blocks),
        cmocka_unit_test(without_energy_time_ranks),
        cmocka_unit_test(provenances_do_not_mix),
        cmocka_unit_test(a_block_without_joules_is_left_out_and_told),
        cmocka_unit_test(invalid_rows_are_not_ranked),
        cmocka_unit_test(another_provider_than_asked_is_told),
        cmocka_unit_test(cut_campaigns_say_what_is_missing),
        cmocka_unit_test(cells_compete_with_their_like_only),
        cmocka_unit_test(labels_tell_versions_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
