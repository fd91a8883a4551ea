/* A whole block with the worker of docs/worker-protocol.md, which gives only what the page says is
 * required: what it cannot know is unknown, and nothing fails. Runs in the repository's root. */
#include "worker_help.h"

#include "measure/measure.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#define SCRIPT "examples/shell.sh"

static int has_reason(const struct record *r, const char *part)
{
    size_t i;
    json_t *item;
    json_array_foreach(r->reasons, i, item)
        if (strstr(json_string_value(item), part))
            return 1;
    return 0;
}

static struct record block(int require_measured)
{
    struct cell cell = {.model = "fake", .runtime = "fake", .provider = "cpu", .precision = "f32",
                        .spin = "short", .batch = 1, .threads = 1, .instances = 1};
    struct measure_options o;
    struct record r;
    measure_defaults(&o);
    o.duration_ns = MS(200);
    o.min_runs = 3;
    o.warmup_min_ns = MS(20);
    o.warmup_max_ns = MS(200);
    o.timeout_ns = PATIENCE_NS;
    o.sysroot = "tests/fixtures/sysroot/vm"; /* no counters, and others' load is not ours */
    o.require_measured = require_measured;
    assert_ok(measure_block(&cell, 0, &o, &r, &err));
    return r;
}

static void a_worker_that_knows_little(void **context)
{
    (void)context;
    struct record r = block(0);
    assert_string_equal(r.error.text, "");
    assert_true(r.runs >= 3 && r.wall_s >= 0.2);
    assert_true(isnan(r.user_s) && isnan(r.system_s));
    assert_true(r.minor_faults == RECORD_UNKNOWN && r.major_faults == RECORD_UNKNOWN);
    assert_true(r.voluntary_switches == RECORD_UNKNOWN);
    assert_true(r.involuntary_switches == RECORD_UNKNOWN);
    assert_true(r.rss_peak_bytes == 0);
    assert_true(r.verdict != VERDICT_VALID);
    assert_true(has_reason(&r, "the worker gave no CPU time"));
    assert_true(r.energy_meter >= 0);
    assert_int_equal(r.meters[r.energy_meter].energy.provenance, WATTLE_ESTIMATED);
    record_release(&r);
}

/* No counter here: with a measured figure required, the estimate is not one. */
static void an_estimate_is_not_measured(void **context)
{
    (void)context;
    struct record r = block(1);
    assert_int_equal(r.error.code, ERROR_UNSUPPORTED);
    assert_in(r.error.text, "energy was not measured: ");
    assert_true(strlen(r.error.text) > strlen("energy was not measured: "));
    assert_int_equal(r.energy_meter, -1);
    assert_int_equal(r.verdict, VERDICT_INVALID);
    record_release(&r);
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "worker")) {
        execlp("sh", "sh", SCRIPT, (char *)NULL);
        return 127;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worker_that_knows_little),
        cmocka_unit_test(an_estimate_is_not_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
