/* The worker of docs/worker-protocol.md, a shell script, does a whole block; and the page shows
 * that script and no other. Runs in the root of the repository. */
#include "worker_help.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SCRIPT "examples/shell.sh"

static const char *const script[] = {"sh", SCRIPT, NULL};

static void a_block_in_shell(void **context)
{
    (void)context;
    struct worker *w = start(script, NULL, 64);
    hello(w);
    json_t *r = call(w, load_command(json_object()));
    assert_int_equal(json_array_size(json_object_get(r, "inputs")), 0);
    json_decref(r);
    done(w, json_pack("{s:s,s:i,s:i,s:[]}", "op", "inputs", "sets", 1, "set_bytes", 0, "tensors"));
    r = call(w, op("first"));
    assert_in_range(number(r, "first_ns"), 1, 20 * NS_PER_S);
    json_decref(r);
    done(w, span_command("warmup", 2, 0, 20 * NS_PER_S));
    uint64_t latency[64], runs;
    assert_int_equal(worker_latencies(w, latency, 64, &runs), 2);
    assert_int_equal(runs, 2);
    done(w, span_command("window", 3, MS(100), 20 * NS_PER_S));
    uint64_t before = clock_monotonic_ns();
    r = call(w, op("go"));
    uint64_t wall = number(r, "end_ns") - number(r, "begin_ns");
    assert_in_range(wall, MS(100), clock_monotonic_ns() - before + MS(20));
    size_t n = worker_latencies(w, latency, 64, &runs);
    assert_int_equal(runs, number(r, "runs"));
    assert_true(runs >= 3);
    assert_int_equal(n, runs < 64 ? runs : 64);
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += latency[i];
    assert_true(sum > 0 && sum < 20 * NS_PER_S);
    json_decref(r);
    json_t *reply;
    assert_code(worker_call(w, op("dance"), PATIENCE_NS, &reply, &err), ERROR_UNSUPPORTED);
    struct worker_exit end;
    worker_stop(w, &end);
    assert_int_equal(end.status, 0);
    assert_string_equal(worker_log(w), "");
    worker_free(w);
}

/* Its own CPU time and that of the commands it has run: each gzip takes some milliseconds. */
static void children_count_as_its_cpu_time(void **context)
{
    (void)context;
    struct worker *w = start(script, NULL, 64);
    hello(w);
    done(w, span_command("warmup", 20, 0, 20 * NS_PER_S));
    clockid_t clock;
    struct timespec own;
    assert_int_equal(clock_getcpuclockid(worker_pid(w), &clock), 0);
    assert_int_equal(clock_gettime(clock, &own), 0);
    uint64_t own_ns = (uint64_t)own.tv_sec * NS_PER_S + (uint64_t)own.tv_nsec;
    assert_in_range(worker_cpu_ns(w), own_ns + MS(20), own_ns + 20 * NS_PER_S);
    worker_free(w);
}

static void failing_command_is_told(void **context)
{
    (void)context;
    struct worker *w = start(script, json_pack("{s:s}", "PATH", "/nowhere"), 64);
    hello(w);
    json_t *reply;
    assert_code(worker_call(w, op("first"), PATIENCE_NS, &reply, &err), ERROR_IO);
    assert_in(err.text, "gzip failed");
    worker_free(w);
}

/* As typed by a user: quotes, a variable before the program, and no shell in between. */
static void a_command_line_is_a_worker(void **context)
{
    (void)context;
    char text[256];
    assert_ok(worker_shell("TOOL='a b' sh " SCRIPT, text, sizeof text, &err));
    const char *const argv[] = {"sh", "-c", text, NULL};
    struct worker *w = start(argv, NULL, 64);
    hello(w);
    char path[64], variables[8192] = "";
    snprintf(path, sizeof path, "/proc/%d/environ", (int)worker_pid(w));
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(variables, 1, sizeof variables - 1, f);
    fclose(f);
    assert_non_null(memmem(variables, n, "TOOL=a b", sizeof "TOOL=a b"));
    worker_free(w);
    assert_ok(worker_shell("cd / && sh x", text, sizeof text, &err)); /* needs a shell that stays */
    assert_string_equal(text, "cd / && sh x");
    assert_code(worker_shell(" \t", text, sizeof text, &err), ERROR_USAGE);
    assert_code(worker_shell("sh " SCRIPT, text, 16, &err), ERROR_USAGE);
    assert_in(err.text, "too long");
}

static char *text_of(const char *path)
{
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("%s: run this in the root of the repository", path);
    char *text = calloc(1, 1 << 16);
    size_t n = fread(text, 1, (1 << 16) - 1, f);
    assert_true(n > 0 && n < (1 << 16) - 1);
    fclose(f);
    return text;
}

static void the_page_shows_it(void **context)
{
    (void)context;
    char *page = text_of("docs/worker-protocol.md"), *text = text_of(SCRIPT);
    char *shown = strstr(page, "```sh\n#!/bin/sh\n");
    assert_non_null(shown);
    shown += strlen("```sh\n");
    assert_memory_equal(shown, text, strlen(text));
    assert_int_equal(strncmp(shown + strlen(text), "```\n", 4), 0);
    free(page);
    free(text);
}

int main(int argc, char **argv)
{
    WORKER_MAIN
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_in_shell),
        cmocka_unit_test(children_count_as_its_cpu_time),
        cmocka_unit_test(failing_command_is_told),
        cmocka_unit_test(a_command_line_is_a_worker),
        cmocka_unit_test(the_page_shows_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
