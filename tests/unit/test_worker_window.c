/* Inside the window the worker neither allocates nor reads or writes, by counting; and the counter
 * would see it if it did. */
#include "worker_help.h"

#include "window_probe.h"

enum { RUNS = 50 };

static struct probe_counts watch(json_t *options)
{
    struct worker *w = start_fake(options, probe_environment(), 0);
    done(w, op("first"));
    done(w, span_command("warmup", 3, 0, NS_PER_S));
    done(w, json_pack("{s:s,s:i,s:I,s:i}", "op", "window", "min_runs", RUNS, "max_ns",
                      (json_int_t)(20 * NS_PER_S), "gap_ns", 1000));
    json_t *r = call(w, op("go"));
    assert_int_equal(number(r, "runs"), RUNS);
    json_decref(r);
    worker_free(w);
    return probe_take();
}

static void window_is_silent(void **context)
{
    (void)context;
    const char *const kinds[] = {"none", "sleep", "burn"};
    for (size_t i = 0; i < 3; i++) {
        struct probe_counts c = watch(json_pack("{s:s,s:s}", "work", kinds[i], "latency_us", "50"));
        assert_int_equal(c.allocations, 0);
        assert_int_equal(c.cxx_allocations, 0);
        assert_int_equal(c.maps, 0);
        assert_int_equal(c.reads, 0);
        assert_int_equal(c.writes, 0);
    }
}

static void an_allocation_would_be_seen(void **context)
{
    (void)context;
    struct probe_counts c = watch(json_pack("{s:s,s:s}", "work", "none", "allocate_in_run", "1"));
    assert_int_equal(c.allocations, RUNS);
    assert_int_equal(c.writes, 0);
}

static void a_write_would_be_seen(void **context)
{
    (void)context;
    struct probe_counts c = watch(json_pack("{s:s,s:s}", "work", "none", "write_in_run", "1"));
    assert_int_equal(c.allocations, 0);
    assert_int_equal(c.reads, 0);
    assert_int_equal(c.writes, RUNS);
}

int main(int argc, char **argv)
{
    WORKER_MAIN
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    printf("the sanitizer replaces malloc itself\n");
    return 77;
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(window_is_silent),
        cmocka_unit_test(an_allocation_would_be_seen),
        cmocka_unit_test(a_write_would_be_seen),
    };
    return cmocka_run_group_tests(tests, probe_setup, probe_teardown);
}
