/* A block from hello to quit, with latencies known to the nanosecond; and a worker that stays up
 * whatever it is told. */
#include "worker_help.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static json_t *exact(const char *latency_us)
{
    return json_pack("{s:s,s:s}", "work", "none", "latency_us", latency_us);
}

static void whole_block(void **context)
{
    (void)context;
    struct worker *w = start(NULL, NULL, 0);
    json_t *r = call(w, json_pack("{s:s,s:i}", "op", "hello", "protocol", 1));
    assert_in(json_string_value(json_object_get(r, "worker")), "wattle ");
    json_decref(r);
    r = call(w, load_command(json_pack("{s:s,s:s}", "work", "none", "load_us", "20000")));
    assert_in_range(number(r, "load_ns"), MS(20), 10 * NS_PER_S);
    json_t *x = json_array_get(json_object_get(r, "inputs"), 0);
    assert_string_equal(json_string_value(json_object_get(x, "type")), "float32");
    assert_int_equal(json_integer_value(json_array_get(json_object_get(x, "shape"), 0)), BATCH);
    assert_true(json_is_object(json_object_get(r, "settings")));
    json_decref(r);
    give_inputs(w);
    r = call(w, op("first"));
    assert_int_equal(number(r, "first_ns"), MS(1));
    json_decref(r);
    r = call(w, span_command("warmup", 3, MS(10), MS(1000)));
    assert_int_equal(number(r, "runs"), 10);
    assert_int_equal(number(r, "wall_ns"), MS(10));
    json_decref(r);
    done(w, span_command("window", 5, MS(200), MS(1000)));
    r = call(w, op("go"));
    assert_int_equal(number(r, "runs"), 200);
    assert_int_equal(number(r, "end_ns") - number(r, "begin_ns"), MS(200));
    assert_in_range(number(r, "rss_peak_bytes"), 1 << 20, 1u << 30);
    assert_true(number(r, "user_ns") + number(r, "system_ns") < NS_PER_S);
    json_decref(r);
    uint64_t latency[300], runs;
    assert_int_equal(worker_latencies(w, latency, 300, &runs), 200);
    assert_int_equal(runs, 200);
    for (int i = 0; i < 200; i++)
        assert_int_equal(latency[i], MS(1));
    struct worker_exit end;
    worker_stop(w, &end);
    assert_true(end.ended);
    assert_int_equal(end.status, 0);
    assert_int_equal(end.signal, 0);
    assert_string_equal(end.reason, "exit status 0");
    assert_string_equal(worker_log(w), "");
    worker_free(w);
}

/* The last reply of a whole block whose runtime tells this of a device. */
static json_t *go_with_device(const char *device_bytes)
{
    struct worker *w = start_fake(json_pack("{s:s,s:s}", "work", "none", "device_bytes",
                                            device_bytes), NULL, 0);
    done(w, span_command("window", 1, MS(10), MS(1000)));
    json_t *r = call(w, op("go"));
    worker_free(w);
    return r;
}

/* A number, or why there is none, or neither: never a number that means nothing. */
static void device_memory(void **context)
{
    (void)context;
    json_t *r = go_with_device("734003200");
    assert_int_equal(number(r, "device_memory_peak_bytes"), 734003200);
    assert_null(json_object_get(r, "device_memory_reason"));
    json_decref(r);
    r = go_with_device("-1");
    assert_null(json_object_get(r, "device_memory_peak_bytes"));
    assert_string_equal(json_string_value(json_object_get(r, "device_memory_reason")),
                        "the fake device does not tell: ?");
    json_decref(r);
    r = go_with_device("0");
    assert_null(json_object_get(r, "device_memory_peak_bytes"));
    assert_null(json_object_get(r, "device_memory_reason"));
    json_decref(r);
}

/* min_ns AND min_runs, or max_ns. */
static void window_ends_where_it_should(void **context)
{
    (void)context;
    const struct {
        uint64_t min_runs, min_ns, max_ns, runs;
    } cases[] = {{5, MS(20), MS(100), 20}, {50, MS(20), MS(100), 50}, {500, MS(20), MS(100), 100},
                 {0, 0, MS(100), 1},       {1, MS(500), MS(7), 7}};
    struct worker *w = start_fake(exact("1000"), NULL, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        done(w, span_command("window", cases[i].min_runs, cases[i].min_ns, cases[i].max_ns));
        json_t *r = call(w, op("go"));
        assert_int_equal(number(r, "runs"), cases[i].runs);
        json_decref(r);
    }
    worker_free(w);
}

static void drift_and_slow_first(void **context)
{
    (void)context;
    struct worker *w = start_fake(json_pack("{s:s,s:s,s:s,s:s}", "work", "none", "latency_us",
                                            "100", "drift_us", "7", "slow_first_us", "9000"),
                                  NULL, 0);
    json_t *r = call(w, op("first"));
    assert_int_equal(number(r, "first_ns"), MS(9));
    json_decref(r);
    done(w, span_command("warmup", 4, 0, MS(1000)));
    uint64_t latency[4], runs;
    assert_int_equal(worker_latencies(w, latency, 4, &runs), 4);
    for (uint64_t i = 0; i < 4; i++)
        assert_int_equal(latency[i], 100000 + 7000 * (i + 1));
    worker_free(w);
}

/* A ring of 8 keeps the newest 8 of 100, oldest first; a small buffer gets the newest of those. */
static void ring_overflow_keeps_the_newest(void **context)
{
    (void)context;
    struct worker *w = start_fake(json_pack("{s:s,s:s,s:s}", "work", "none", "latency_us", "10",
                                            "drift_us", "1"), NULL, 8);
    done(w, span_command("window", 100, 0, NS_PER_S));
    done(w, op("go"));
    uint64_t latency[20], runs;
    assert_int_equal(worker_latencies(w, latency, 20, &runs), 8);
    assert_int_equal(runs, 100);
    for (uint64_t i = 0; i < 8; i++)
        assert_int_equal(latency[i], 10000 + 1000 * (92 + i));
    assert_int_equal(worker_latencies(w, latency, 3, &runs), 3);
    for (uint64_t i = 0; i < 3; i++)
        assert_int_equal(latency[i], 10000 + 1000 * (97 + i));
    worker_free(w);
}

static void gap_is_slept(void **context)
{
    (void)context;
    struct worker *w = start_fake(json_pack("{s:s,s:s}", "work", "sleep", "latency_us", "1000"),
                                  NULL, 0);
    done(w, json_pack("{s:s,s:i,s:i,s:I,s:I}", "op", "window", "min_runs", 5, "min_ns", 0, "max_ns",
                      (json_int_t)NS_PER_S * 10, "gap_ns", (json_int_t)MS(10)));
    json_t *r = call(w, op("go"));
    assert_int_equal(number(r, "runs"), 5);
    assert_true(number(r, "end_ns") - number(r, "begin_ns") >= MS(45));
    assert_true(number(r, "voluntary_switches") >= 9);
    json_decref(r);
    uint64_t latency[5], runs;
    worker_latencies(w, latency, 5, &runs);
    for (int i = 0; i < 5; i++)
        assert_int_equal(latency[i], MS(1));
    worker_free(w);
}

static void outputs_of_each_set(void **context)
{
    (void)context;
    struct worker *w = start_fake(exact("10"), NULL, 0);
    for (int set = 0; set < SETS; set++) {
        json_t *r = call(w, json_pack("{s:s,s:i,s:i,s:i}", "op", "outputs", "set", set, "offset",
                                      SETS * (int)SET_BYTES + 4, "limit", 4096));
        json_t *y = json_array_get(json_object_get(r, "outputs"), 0);
        size_t offset = number(y, "offset"), bytes = number(y, "bytes");
        assert_int_equal(offset % 64, 0);
        assert_true(offset >= (size_t)SETS * SET_BYTES);
        assert_int_equal(bytes, SET_BYTES);
        uint8_t *data;
        assert_ok(worker_tensors(w, offset + bytes, &data, &err));
        const float *values = (const float *)(void *)(data + offset);
        for (int i = 0; i < BATCH * WIDTH; i++)
            assert_true(values[i] == (float)(2 * (100 * set + i) + 1));
        json_decref(r);
    }
    json_t *reply;
    assert_code(worker_call(w, json_pack("{s:s,s:i,s:i,s:i}", "op", "outputs", "set", 0, "offset",
                                         SETS * (int)SET_BYTES, "limit", 10), PATIENCE_NS, &reply,
                            &err), ERROR_MEMORY);
    worker_free(w);
}

static int ticks;

static void count_tick(void *context)
{
    assert_ptr_equal(context, &ticks);
    ticks++;
}

static void ticks_while_waiting(void **context)
{
    (void)context;
    struct worker *w = start_fake(json_pack("{s:s,s:s,s:s}", "work", "sleep", "latency_us",
                                            "300000", "wrong_output", "0"), NULL, 0);
    json_t *reply;
    assert_ok(worker_send(w, op("first"), &err));
    assert_ok(worker_receive(w, PATIENCE_NS, MS(10), count_tick, &ticks, &reply, &err));
    json_decref(reply);
    assert_in_range(ticks, 5, 31);
    worker_free(w);
}

/* The parent sleeps while it waits: next to no CPU time of its own, and the worker's is told. */
static void cpu_time_of_both(void **context)
{
    (void)context;
    struct worker *w = start_fake(json_pack("{s:s,s:s}", "work", "burn", "latency_us", "20000"),
                                  NULL, 0);
    uint64_t before = worker_cpu_ns(w);
    assert_true(before > 0);
    struct timespec a, b;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    done(w, span_command("window", 10, 0, NS_PER_S * 10));
    json_t *r = call(w, op("go"));
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    double own_s = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
    assert_true(own_s < 0.02);
    assert_true(number(r, "user_ns") + number(r, "system_ns") > MS(20));
    assert_true(worker_cpu_ns(w) - before > MS(20));
    json_decref(r);
    worker_stop(w, NULL);
    assert_int_equal(worker_cpu_ns(w), 0);
    worker_free(w);
}

/* exec keeps the starter's peak in ru_maxrss; the worker's figure must be its own. */
static void peak_memory_is_its_own(void **context)
{
    (void)context;
    size_t size = (size_t)400 << 20;
    char *big = mmap(NULL, size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    assert_ptr_not_equal(big, MAP_FAILED);
    struct worker *w = start_fake(exact("10"), NULL, 0);
    munmap(big, size);
    done(w, span_command("window", 10, 0, NS_PER_S));
    json_t *r = call(w, op("go"));
    assert_true(number(r, "rss_peak_bytes") < (uint64_t)300 << 20);
    json_decref(r);
    worker_free(w);
}

/* --- a worker that is told nonsense ----------------------------------------------------------- */

static void refused(struct worker *w, const char *json, enum error_code code, const char *part)
{
    json_t *reply, *command = json_loads(json, 0, NULL);
    assert_non_null(command);
    int got = worker_call(w, command, PATIENCE_NS, &reply, &err);
    if (got != (int)code)
        fail_msg("%s: %s: %s", json, error_code_name((enum error_code)got), err.text);
    assert_null(reply);
    assert_in(err.text, part);
}

static void malformed_before_load(void **context)
{
    (void)context;
    struct worker *w = start(NULL, NULL, 0);
    refused(w, "{\"op\":\"dance\"}", ERROR_UNSUPPORTED, "dance");
    refused(w, "{\"op\":\"hello\",\"protocol\":2}", ERROR_UNSUPPORTED, "protocol 2");
    refused(w, "{\"op\":\"hello\"}", ERROR_USAGE, "protocol");
    refused(w, "{\"op\":\"first\"}", ERROR_USAGE, "before");
    refused(w, "{\"op\":\"warmup\"}", ERROR_USAGE, "before");
    refused(w, "{\"op\":\"window\"}", ERROR_USAGE, "before");
    refused(w, "{\"op\":\"go\"}", ERROR_USAGE, "before");
    refused(w, "{\"op\":\"outputs\"}", ERROR_USAGE, "before");
    refused(w, "{\"op\":\"inputs\",\"sets\":1}", ERROR_USAGE, "before");
    refused(w, "{\"op\":\"load\"}", ERROR_USAGE, "runtime");
    refused(w, "{\"op\":\"load\",\"runtime\":7}", ERROR_USAGE, "runtime");
    refused(w, "{\"op\":\"load\",\"runtime\":\"builtinn\"}", ERROR_USAGE, "builtinn");
    assert_in(err.hint, "builtin");
#define LOAD "{\"op\":\"load\",\"runtime\":\"fake\",\"model\":\"m\""
    refused(w, "{\"op\":\"load\",\"runtime\":\"fake\"}", ERROR_USAGE, "model");
    refused(w, LOAD ",\"threads\":0}", ERROR_USAGE, "threads");
    refused(w, LOAD ",\"threads\":1.5}", ERROR_USAGE, "threads");
    refused(w, LOAD ",\"batch\":-1}", ERROR_USAGE, "batch");
    refused(w, LOAD ",\"batch\":99999999999}", ERROR_USAGE, "batch");
    refused(w, LOAD ",\"provider\":\"gpu\"}", ERROR_USAGE, "gpu");
    refused(w, LOAD ",\"precision\":\"f8\"}", ERROR_USAGE, "f8");
    refused(w, LOAD ",\"dims\":[]}", ERROR_USAGE, "dims");
    refused(w, LOAD ",\"dims\":{\"N\":\"x\"}}", ERROR_USAGE, "N");
    refused(w, LOAD ",\"devices\":[0]}", ERROR_UNSUPPORTED, "devices");
    refused(w, LOAD ",\"options\":{\"speed\":\"x\"}}", ERROR_USAGE, "speed");
    assert_in(err.hint, "latency_us");
    refused(w, LOAD ",\"options\":{\"oom\":\"load\"}}", ERROR_MEMORY, "memory");
    done(w, load_command(exact("10"))); /* and after all this it still works */
    refused(w, LOAD "}", ERROR_USAGE, "already");
    worker_free(w);
}

static void malformed_after_load(void **context)
{
    (void)context;
    struct worker *w = start_fake(exact("10"), NULL, 0);
#define INPUTS "{\"op\":\"inputs\",\"sets\":1,\"set_bytes\":64,\"tensors\":"
    refused(w, "{\"op\":\"inputs\",\"sets\":0}", ERROR_USAGE, "sets");
    refused(w, INPUTS "[]}", ERROR_USAGE, "tensors");
    refused(w, INPUTS "[7]}", ERROR_USAGE, "input 'x'");
    refused(w, INPUTS "[{\"offset\":8,\"bytes\":64}]}", ERROR_USAGE, "bytes");
    refused(w, INPUTS "[{\"offset\":-8,\"bytes\":64}]}", ERROR_USAGE, "offset");
    refused(w, INPUTS "[{\"offset\":0,\"bytes\":60}]}", ERROR_USAGE, "60");
    refused(w, "{\"op\":\"inputs\",\"sets\":4000,\"set_bytes\":70000000000,\"tensors\":"
               "[{\"offset\":0,\"bytes\":64}]}", ERROR_USAGE, "tensor memory");
    refused(w, "{\"op\":\"inputs\",\"sets\":4000,\"set_bytes\":64000,\"tensors\":"
               "[{\"offset\":0,\"bytes\":64}]}", ERROR_USAGE, "tensor memory");
    refused(w, "{\"op\":\"warmup\"}", ERROR_USAGE, "max_ns");
    refused(w, "{\"op\":\"warmup\",\"max_ns\":0}", ERROR_USAGE, "max_ns");
    refused(w, "{\"op\":\"window\",\"max_ns\":1,\"min_runs\":-1}", ERROR_USAGE, "min_runs");
    refused(w, "{\"op\":\"go\"}", ERROR_USAGE, "window");
    refused(w, "{\"op\":\"outputs\",\"set\":3}", ERROR_USAGE, "set");
    refused(w, "{\"op\":\"outputs\",\"set\":0,\"offset\":0,\"limit\":9}", ERROR_USAGE, "offset");
    done(w, op("first"));
    worker_free(w);
}

static void inputs_beyond_the_memory(void **context)
{
    (void)context;
    struct worker *w = start(NULL, NULL, 0);
    hello(w);
    done(w, load_command(exact("10")));
    json_t *reply;
    assert_code(worker_call(w, json_pack("{s:s,s:i,s:i,s:[{s:i,s:i}]}", "op", "inputs", "sets", 9,
                                         "set_bytes", (int)SET_BYTES, "tensors", "offset", 0,
                                         "bytes", (int)SET_BYTES), PATIENCE_NS, &reply, &err),
                ERROR_USAGE);
    assert_in(err.text, "tensor memory");
    done(w, op("quit"));
    worker_free(w);
}

/* Two pages of inputs and more, given twice: the second layout counts. */
static void inputs_given_again(void **context)
{
    (void)context;
    struct worker *w = start_fake(exact("10"), NULL, 0);
    give_inputs(w);
    done(w, span_command("warmup", 7, 0, NS_PER_S));
    worker_free(w);
}

static void failing_run_is_told(void **context)
{
    (void)context;
    struct worker *w = start_fake(json_pack("{s:s,s:s}", "work", "none", "fail_at_run", "4"), NULL,
                                  0);
    done(w, span_command("window", 10, 0, NS_PER_S));
    json_t *reply;
    assert_code(worker_call(w, op("go"), PATIENCE_NS, &reply, &err), ERROR_UNSUPPORTED);
    assert_in(err.text, "run 4 failed");
    done(w, op("first"));
    worker_free(w);
}

static void callers_mistakes(void **context)
{
    (void)context;
    struct worker *w = start_fake(exact("10"), NULL, 0);
    json_t *reply;
    assert_code(worker_receive(w, 1, 0, NULL, NULL, &reply, &err), ERROR_USAGE);
    assert_code(worker_send(w, json_pack("{s:i}", "op", 3), &err), ERROR_USAGE);
    assert_code(worker_send(w, NULL, &err), ERROR_MEMORY);
    char *text = malloc(WATTLE_LINE_MAX + 1);
    memset(text, 'x', WATTLE_LINE_MAX);
    text[WATTLE_LINE_MAX] = '\0';
    assert_code(worker_send(w, json_pack("{s:s,s:s}", "op", "hello", "x", text), &err), ERROR_USAGE);
    text[WATTLE_LINE_MAX / 2] = '\0'; /* larger than a pipe, not too large */
    done(w, json_pack("{s:s,s:i,s:s}", "op", "hello", "protocol", 1, "x", text));
    free(text);
    assert_ok(worker_send(w, op("first"), &err));
    assert_code(worker_send(w, op("first"), &err), ERROR_USAGE);
    assert_ok(worker_receive(w, PATIENCE_NS, 0, NULL, NULL, &reply, &err));
    json_decref(reply);
    worker_free(w);
    worker_free(NULL);
}

int main(int argc, char **argv)
{
    WORKER_MAIN
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_block),
        cmocka_unit_test(device_memory),
        cmocka_unit_test(window_ends_where_it_should),
        cmocka_unit_test(drift_and_slow_first),
        cmocka_unit_test(ring_overflow_keeps_the_newest),
        cmocka_unit_test(gap_is_slept),
        cmocka_unit_test(outputs_of_each_set),
        cmocka_unit_test(ticks_while_waiting),
        cmocka_unit_test(cpu_time_of_both),
        cmocka_unit_test(peak_memory_is_its_own),
        cmocka_unit_test(malformed_before_load),
        cmocka_unit_test(malformed_after_load),
        cmocka_unit_test(inputs_beyond_the_memory),
        cmocka_unit_test(inputs_given_again),
        cmocka_unit_test(failing_run_is_told),
        cmocka_unit_test(callers_mistakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
