/* Workers that lie: what they claim costs neither the machine's memory nor more time than the user
 * gives. The program is its own worker, whose second argument says what it does. */
#include "worker_help.h"

#include "measure/measure.h"
#include "measure/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LIMIT_BYTES = 1 << 20, TEST_SECONDS = 30 };

/* ---- the worker ---- */

static void say(const char *text)
{
    ssize_t n = write(WATTLE_FD_REPLIES, text, strlen(text));
    (void)n;
}

static void say_loaded(const char *input)
{
    char text[512];
    snprintf(text, sizeof text, "{\"ok\":true,\"load_ns\":1,\"runtime\":\"\",\"version\":\"\","
             "\"library\":\"\",\"provider\":\"\",\"settings\":{},\"inputs\":[%s],"
             "\"outputs\":[]}\n", input);
    say(text);
}

/* An input a little larger than half of the memory that is there. */
static void say_huge_input(void)
{
    char text[128];
    long kib = sysconf(_SC_PHYS_PAGES) / 1024 * sysconf(_SC_PAGESIZE);
    snprintf(text, sizeof text, "{\"name\":\"x\",\"type\":\"uint8\",\"shape\":[%ld,600],"
             "\"range\":[0,1]}", kib);
    say_loaded(text);
}

/* Two that fit one by one. */
static void say_large_outputs(void)
{
    say("{\"ok\":true,\"outputs\":["
        "{\"name\":\"a\",\"type\":\"uint8\",\"shape\":[600000],\"offset\":0,\"bytes\":600000},"
        "{\"name\":\"b\",\"type\":\"uint8\",\"shape\":[600000],\"offset\":0,\"bytes\":600000}]}\n");
}

/* Ever slower, and yet no time goes by. */
static void say_warmup(void)
{
    say("{\"ok\":true,\"runs\":8,\"wall_ns\":0,\"latencies_ns\":[1,2,3,4,5,6,7,8]}\n");
}

static int lie(const char *how)
{
    char line[4096];
    FILE *commands = fdopen(WATTLE_FD_COMMANDS, "r");
    while (commands && fgets(line, sizeof line, commands)) {
        if (strstr(line, "\"op\":\"load\""))
            strcmp(how, "inputs") ? say_loaded("") : say_huge_input();
        else if (strstr(line, "\"op\":\"first\""))
            say("{\"ok\":true,\"first_ns\":1}\n");
        else if (strstr(line, "\"op\":\"outputs\""))
            say_large_outputs();
        else if (strstr(line, "\"op\":\"warmup\""))
            say_warmup();
        else if (strstr(line, "\"op\":\"window\""))
            say("{\"ok\":false,\"code\":\"io\",\"error\":\"enough\"}\n");
        else if (strstr(line, "\"op\":\"quit\""))
            return 0;
        else
            say("{\"ok\":true,\"protocol\":1}\n");
    }
    return 0;
}

/* ---- the tests ---- */

static void set_up(struct cell *cell, const char *how, struct measure_options *o)
{
    char own[512];
    ssize_t n = readlink("/proc/self/exe", own, sizeof own - 1);
    assert_true(n > 0);
    own[n] = '\0';
    *cell = (struct cell){.model = "none", .runtime = "worker", .precision = "f32",
                          .spin = "short", .batch = 1, .threads = 1, .instances = 1};
    snprintf(cell->command, sizeof cell->command, "%s lie %s", own, how);
    measure_defaults(o);
    o->warmup_min_ns = MS(1);
    o->warmup_max_ns = MS(100);
    o->timeout_ns = PATIENCE_NS;
    o->sysroot = "tests/fixtures/sysroot/vm";
    alarm(TEST_SECONDS); /* instead of for ever */
}

static void inputs_beyond_memory_are_not_made(void **context)
{
    (void)context;
    struct cell cell;
    struct measure_options o;
    struct measure_outputs out;
    if (sysconf(_SC_PHYS_PAGES) > (100ll << 30) / sysconf(_SC_PAGESIZE))
        skip(); /* there the limit of one input comes first */
    set_up(&cell, "inputs", &o);
    assert_code(measure_outputs(&cell, &o, &out, &err), ERROR_MEMORY);
    assert_in(err.text, "more than half of this machine's memory");
    assert_in(err.hint, "-b");
}

static void outputs_stay_within_their_limit_together(void **context)
{
    (void)context;
    struct cell cell;
    struct measure_options o;
    struct measure_outputs out;
    struct session s;
    set_up(&cell, "outputs", &o);
    assert_ok(session_open(&s, &cell, &o, &err));
    assert_ok(session_inputs(&s, 1, &err));
    assert_ok(session_outputs(&s, 2 * LIMIT_BYTES, &out, &err));
    assert_int_equal(out.count, 2);
    measure_outputs_release(&out);
    assert_code(session_outputs(&s, LIMIT_BYTES, &out, &err), ERROR_FORMAT);
    assert_in(err.text, "beyond the limit of 1048576 bytes");
    assert_int_equal(out.count, 0);
    session_close(&s);
}

static void a_warm_up_ends_by_our_clock(void **context)
{
    (void)context;
    struct cell cell;
    struct measure_options o;
    struct record r;
    set_up(&cell, "warmup", &o);
    assert_ok(measure_block(&cell, 1, &o, &r, &err));
    assert_string_equal(r.error.text, "enough");
    assert_int_equal(r.warmup_stable, 0);
    assert_true(r.warmup_runs > 0);
    record_release(&r);
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "lie"))
        return lie(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inputs_beyond_memory_are_not_made),
        cmocka_unit_test(outputs_stay_within_their_limit_together),
        cmocka_unit_test(a_warm_up_ends_by_our_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
