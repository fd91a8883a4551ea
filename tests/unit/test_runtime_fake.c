/* The fake runtime does what its script says; the registry finds it; unknown options are named. */
#include "test.h"

#include "base/clock.h"
#include "runtime/adapters.h"

#include <string.h>

static const char *const no_names[] = {"none", NULL};
const struct adapter adapter_builtin = {
    .name = "builtin", .providers = no_names, .precisions = no_names};

static struct error err;
static const float input[8] = {0, 1, 2, 3, 4, 5, 6, 7};
static const void *const inputs[] = {input};

static int load_with(json_t *options, void **state, struct adapter_loaded *loaded)
{
    struct adapter_request r = {.model = "", .provider = "cpu", .precision = "f32", .spin = "off",
                                .threads = 1, .batch = 1, .options = options};
    memset(loaded, 0, sizeof *loaded);
    int code = adapter_fake.load(&r, state, loaded, &err);
    json_decref(options);
    return code;
}

static void *fake(json_t *options)
{
    void *state;
    struct adapter_loaded loaded;
    assert_int_equal(load_with(options, &state, &loaded), 0);
    assert_int_equal(adapter_fake.bind(state, inputs, &err), 0);
    return state;
}

static uint64_t timed_run(void *state)
{
    uint64_t begin = adapter_fake.now_ns(state);
    assert_int_equal(adapter_fake.run(state, &err), 0);
    return adapter_fake.now_ns(state) - begin;
}

static void registry_knows_all(void **context)
{
    (void)context;
    size_t count;
    const struct adapter *const *all = adapter_all(&count);
    assert_ptr_equal(all[count - 1], &adapter_fake);
    for (size_t i = 0; i < count; i++)
        assert_ptr_equal(adapter_find(all[i]->name), all[i]);
    assert_ptr_equal(adapter_find("fake"), &adapter_fake);
    assert_true(adapter_fake.hidden);
    assert_null(adapter_find("fak"));
    assert_null(adapter_find(""));
}

static void latencies_are_exact(void **context)
{
    (void)context;
    void *state = fake(json_pack("{s:s,s:s,s:s,s:s}", "work", "none", "latency_us", "1000",
                                 "drift_us", "5", "slow_first_us", "70000"));
    assert_int_equal(timed_run(state), 70000000);
    assert_int_equal(timed_run(state), 1005000);
    assert_int_equal(timed_run(state), 1010000);
    adapter_fake.unload(state);
}

static void real_work_takes_its_time(void **context)
{
    (void)context;
    const char *const kinds[] = {"sleep", "burn"};
    for (size_t i = 0; i < 2; i++) {
        void *state = fake(json_pack("{s:s,s:s}", "work", kinds[i], "latency_us", "3000"));
        for (int run = 0; run < 3; run++) {
            uint64_t begin = clock_monotonic_ns();
            assert_int_equal(timed_run(state), 3000000);
            assert_true(clock_monotonic_ns() - begin >= 3000000);
        }
        adapter_fake.unload(state);
    }
}

static void drift_down_stops_at_a_microsecond(void **context)
{
    (void)context;
    void *state = fake(json_pack("{s:s,s:s,s:s}", "work", "none", "latency_us", "10", "drift_us",
                                 "-6"));
    assert_int_equal(timed_run(state), 10000);
    assert_int_equal(timed_run(state), 4000);
    assert_int_equal(timed_run(state), 1000);
    adapter_fake.unload(state);
}

static void jitter_is_bounded_and_seeded(void **context)
{
    (void)context;
    uint64_t first[50], different = 0;
    for (int round = 0; round < 2; round++) {
        void *state = fake(json_pack("{s:s,s:s,s:s}", "work", "none", "latency_us", "100",
                                     "jitter_us", "10"));
        for (int i = 0; i < 50; i++) {
            uint64_t ns = timed_run(state);
            assert_in_range(ns, 100000, 110000);
            if (round)
                assert_int_equal(ns, first[i]);
            first[i] = ns;
            different += i && ns != first[i - 1];
        }
        adapter_fake.unload(state);
    }
    assert_true(different > 80);
}

static void outputs_are_two_x_plus_one(void **context)
{
    (void)context;
    struct adapter_tensor t;
    memset(&t, 0, sizeof t);
    void *state = fake(json_pack("{s:s}", "work", "none"));
    assert_int_equal(adapter_fake.run(state, &err), 0);
    const float *y = adapter_fake.output(state, 0, &t);
    for (int i = 0; i < 8; i++)
        assert_true(y[i] == 2 * (float)i + 1);
    assert_int_equal(t.bytes, sizeof input);
    adapter_fake.unload(state);
    state = fake(json_pack("{s:s,s:s}", "work", "none", "wrong_output", "0.25"));
    assert_int_equal(adapter_fake.run(state, &err), 0);
    y = adapter_fake.output(state, 0, &t);
    assert_true(y[6] == 13);
    assert_true(y[7] == 15.25f);
    adapter_fake.unload(state);
}

static void refusals_are_named(void **context)
{
    (void)context;
    void *state;
    struct adapter_loaded loaded;
    assert_int_equal(load_with(json_pack("{s:s}", "latncy_us", "3"), &state, &loaded), ERROR_USAGE);
    assert_non_null(strstr(err.text, "latncy_us"));
    assert_non_null(strstr(err.hint, "latency_us, drift_us"));
    assert_non_null(strstr(err.hint, "kill_at_run"));
    const char *const bad[][2] = {{"latency_us", "fast"}, {"latency_us", "-1"}, {"work", "hard"},
                                  {"work", "o"},          {"oom", "none"},      {"wrong_output", "nan"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(load_with(json_pack("{s:s}", bad[i][0], bad[i][1]), &state, &loaded),
                         ERROR_USAGE);
        assert_non_null(strstr(err.text, bad[i][0]));
    }
    assert_int_equal(load_with(json_pack("{s:i}", "latency_us", 3), &state, &loaded), ERROR_USAGE);
    assert_int_equal(load_with(json_pack("{s:s}", "oom", "load"), &state, &loaded), ERROR_MEMORY);
}

static void failures_come_on_their_run(void **context)
{
    (void)context;
    void *state = fake(json_pack("{s:s,s:s}", "work", "none", "fail_at_run", "2"));
    assert_int_equal(adapter_fake.run(state, &err), 0);
    assert_int_equal(adapter_fake.run(state, &err), ERROR_UNSUPPORTED);
    assert_int_equal(adapter_fake.run(state, &err), 0);
    adapter_fake.unload(state);
    state = fake(json_pack("{s:s,s:s}", "work", "none", "oom", "run"));
    assert_int_equal(adapter_fake.run(state, &err), ERROR_MEMORY);
    adapter_fake.unload(state);
    adapter_fake.unload(NULL);
}

static void shapes_follow_batch_and_options(void **context)
{
    (void)context;
    void *state;
    struct adapter_loaded loaded;
    assert_int_equal(load_with(json_pack("{s:s}", "int_input", "1"), &state, &loaded), 0);
    assert_int_equal(loaded.input_count, 2);
    assert_string_equal(loaded.inputs[0].type, "float32");
    assert_string_equal(loaded.inputs[1].type, "int64");
    assert_int_equal(loaded.inputs[1].bytes, 8);
    assert_int_equal(loaded.outputs[0].dims[1], 8);
    adapter_fake.unload(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registry_knows_all),
        cmocka_unit_test(latencies_are_exact),
        cmocka_unit_test(real_work_takes_its_time),
        cmocka_unit_test(drift_down_stops_at_a_microsecond),
        cmocka_unit_test(jitter_is_bounded_and_seeded),
        cmocka_unit_test(outputs_are_two_x_plus_one),
        cmocka_unit_test(refusals_are_named),
        cmocka_unit_test(failures_come_on_their_run),
        cmocka_unit_test(shapes_follow_batch_and_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
