/* How workers go wrong: each way becomes an error with a reason, in bounded time, and nothing of
 * the worker is left. */
#include "worker_help.h"

#include "worker/parent.h"
#include "worker/printable.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static json_t *script(const char *name, const char *value)
{
    return json_pack("{s:s,s:s,s:s,s:s}", "work", "none", "latency_us", "10", "log", "last words",
                     name, value);
}

/* After a stop neither the process nor its group exists: its orphans, which come to us (see main),
 * all end soon. */
static void assert_gone(struct worker *w)
{
    pid_t pid = worker_pid(w), orphan = 0;
    worker_stop(w, NULL);
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(errno, ESRCH);
    for (int i = 0; orphan >= 0 && i < 500; i++)
        if ((orphan = waitpid(-pid, NULL, WNOHANG)) == 0)
            usleep(10000);
    assert_int_equal(orphan, -1);
    assert_int_equal(errno, ECHILD);
    assert_int_equal(kill(-pid, 0), -1);
    worker_free(w);
}

static struct worker_exit fail_in_window(struct worker *w, uint64_t timeout_ns, int code)
{
    json_t *reply;
    struct worker_exit end;
    done(w, span_command("window", 50, 0, NS_PER_S));
    assert_code(worker_call(w, op("go"), timeout_ns, &reply, &err), code);
    assert_null(reply);
    worker_stop(w, &end);
    assert_true(end.ended);
    return end;
}

static void crash_in_the_window(void **context)
{
    (void)context;
    struct worker *w = start_fake(script("crash_at_run", "7"), NULL, 0);
    struct worker_exit end = fail_in_window(w, PATIENCE_NS, ERROR_CRASH);
    assert_int_equal(end.signal, SIGSEGV);
    assert_int_equal(end.status, -1);
    assert_false(end.timed_out);
    assert_in(end.reason, "killed by signal 11 (Segmentation fault)");
    assert_in(err.text, "'go'");
    assert_in(err.text, "Segmentation fault");
    assert_in(err.text, "last words");
    assert_string_equal(worker_log(w), "last words\n");
    uint64_t latency[9], runs; /* what was measured before the crash is still there */
    assert_int_equal(worker_latencies(w, latency, 9, &runs), 6);
    json_t *reply;
    assert_code(worker_call(w, op("first"), PATIENCE_NS, &reply, &err), ERROR_CRASH);
    assert_in(err.text, "gone");
    assert_gone(w);
}

static void abort_exit_and_kill(void **context)
{
    (void)context;
    struct worker *w = start_fake(json_pack("{s:s,s:s,s:s}", "work", "none", "crash_at_run", "1",
                                            "crash", "abort"), NULL, 0);
    assert_int_equal(fail_in_window(w, PATIENCE_NS, ERROR_CRASH).signal, SIGABRT);
    worker_free(w);
    w = start_fake(script("exit_at_run", "3"), NULL, 0);
    struct worker_exit end = fail_in_window(w, PATIENCE_NS, ERROR_CRASH);
    assert_int_equal(end.status, 3);
    assert_string_equal(end.reason, "exit status 3");
    worker_free(w);
    w = start_fake(script("kill_at_run", "3"), NULL, 0);
    end = fail_in_window(w, PATIENCE_NS, ERROR_CRASH);
    assert_int_equal(end.signal, SIGKILL);
    assert_false(end.timed_out);
    assert_in(end.reason, "signal 9 (Killed)");
    assert_gone(w);
}

static void hang_is_ended(void **context)
{
    (void)context;
    struct worker *w = start_fake(script("hang_at_run", "2"), NULL, 0);
    uint64_t begin = clock_monotonic_ns();
    struct worker_exit end = fail_in_window(w, MS(100), ERROR_TIMEOUT);
    assert_in_range(clock_monotonic_ns() - begin, MS(100), 5 * NS_PER_S);
    assert_true(end.timed_out);
    assert_int_equal(end.signal, SIGKILL);
    assert_in(end.reason, "killed by wattle");
    assert_in(err.text, "'go' within 0.1 s");
    assert_gone(w);
}

static void out_of_memory_is_an_answer(void **context)
{
    (void)context;
    struct worker *w = start_fake(json_pack("{s:s}", "oom", "run"), NULL, 0);
    json_t *reply;
    assert_code(worker_call(w, op("first"), PATIENCE_NS, &reply, &err), ERROR_MEMORY);
    assert_in(err.text, "out of memory in run 1");
    assert_gone(w);
}

static void reasons(void **context)
{
    (void)context;
    struct worker_exit end = {0};
    ending_reason(SIGKILL, 4, 5, "", &end);
    assert_in(end.reason, "want of memory");
    ending_reason(SIGKILL, 5, 5, "", &end);
    assert_string_equal(end.reason, "killed by signal 9 (Killed)");
    ending_reason(SIGSEGV, 4, 5, "", &end);
    assert_in(end.reason, "Segmentation");
    ending_reason(SIGKILL, 4, 5, "silence", &end);
    assert_string_equal(end.reason, "killed by wattle: silence");
    ending_reason(7 << 8, 0, 0, "", &end);
    assert_int_equal(end.status, 7);
}

static void no_program(void **context)
{
    (void)context;
    struct worker *w;
    const struct {
        const char *program;
        int code;
        const char *text;
    } cases[] = {{"./no-such-program", ERROR_IO, "No such file"},
                 {"no-such-program-in-path", ERROR_IO, "No such file"},
                 {"/etc", ERROR_PERMISSION, "Permission denied"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct worker_spec spec = {.argv = (const char *const[]){cases[i].program, "x", NULL}};
        assert_code(worker_start(&spec, &w, &err), cases[i].code);
        assert_null(w);
        assert_in(err.text, cases[i].program);
        assert_in(err.text, cases[i].text);
    }
    struct worker_spec empty = {.argv = (const char *const[]){NULL}};
    assert_code(worker_start(&empty, &w, &err), ERROR_USAGE);
    struct worker_spec large = {.ring_capacity = UINT64_MAX};
    assert_code(worker_start(&large, &w, &err), ERROR_USAGE);
}

/* A shell that reads one command and then answers with what `body` writes to descriptor 4. */
static struct worker *shell(const char *body)
{
    static char text[512];
    snprintf(text, sizeof text, "read -r line <&3; %s", body);
    static const char *argv[] = {"sh", "-c", text, NULL};
    return start(argv, NULL, 0);
}

static void answer_is(const char *body, const char *command, int code, const char *part)
{
    struct worker *w = shell(body);
    json_t *reply;
    struct worker_exit end;
    int got = worker_call(w, op(command), 10 * NS_PER_S, &reply, &err);
    if (got != code)
        fail_msg("%s: %s: %s", body, error_code_name((enum error_code)got), err.text);
    assert_in(err.text, part);
    assert_null(reply);
    if (code == ERROR_FORMAT) {
        worker_stop(w, &end);
        assert_in(end.reason, "killed by wattle");
        assert_int_equal(end.signal, SIGKILL);
    }
    assert_gone(w);
}

static void garbage(void **context)
{
    (void)context;
#define THEN_SLEEP "; sleep 60"
    answer_is("echo nonsense >&4" THEN_SLEEP, "first", ERROR_FORMAT, "not JSON");
    answer_is("echo >&4" THEN_SLEEP, "first", ERROR_FORMAT, "not JSON");
    answer_is("echo '[true]' >&4" THEN_SLEEP, "first", ERROR_FORMAT, "not JSON (not an object)");
    answer_is("echo '{\"ok\":true,\"ok\":false}' >&4" THEN_SLEEP, "first", ERROR_FORMAT, "JSON");
    answer_is("printf '{\"ok\":true,\"x\":\"\\377\"}\\n' >&4" THEN_SLEEP, "first", ERROR_FORMAT,
              "JSON (unable to decode byte 0xff");
    answer_is("echo '{\"ok\":true,\"first_ns\":99999999999999999999}' >&4" THEN_SLEEP, "first",
              ERROR_FORMAT, "JSON (too big integer");
    answer_is("printf '\\0\\0\\0\\n' >&4" THEN_SLEEP, "first", ERROR_FORMAT, "JSON");
    answer_is("echo '{}' >&4" THEN_SLEEP, "first", ERROR_FORMAT, "\"ok\"");
    answer_is("echo '{\"ok\":1}' >&4" THEN_SLEEP, "first", ERROR_FORMAT, "\"ok\"");
    answer_is("echo '{\"ok\":true}' >&4" THEN_SLEEP, "hello", ERROR_FORMAT, "protocol");
    answer_is("echo '{\"ok\":true,\"state\":\"done\"}' >&4" THEN_SLEEP, "window", ERROR_FORMAT, "ready");
    answer_is("echo '{\"ok\":true}' >&4" THEN_SLEEP, "go", ERROR_FORMAT, "done");
    answer_is("echo '{\"ok\":true,\"latencies_ns\":[1],\"runs\":0}' >&4" THEN_SLEEP, "warmup",
              ERROR_FORMAT, "latencies_ns");
    answer_is("echo '{\"ok\":true,\"latencies_ns\":[-1],\"runs\":1}' >&4" THEN_SLEEP, "warmup",
              ERROR_FORMAT, "latencies_ns[0]");
    answer_is("echo '{\"ok\":true,\"latencies_ns\":{},\"runs\":1}' >&4" THEN_SLEEP, "warmup",
              ERROR_FORMAT, "latencies_ns");
}

static void oversized(void **context)
{
    (void)context;
    answer_is("head -c 1100000 /dev/zero | tr '\\0' x >&4" THEN_SLEEP, "first", ERROR_FORMAT, "1 MiB");
    answer_is("yes >&4", "first", ERROR_FORMAT, "not JSON");
    answer_is("tr '\\0' x </dev/zero >&4", "first", ERROR_FORMAT, "1 MiB");
}

static void early_ends(void **context)
{
    (void)context;
    answer_is("exit 5", "first", ERROR_CRASH, "exit status 5");
    answer_is("printf '{\"ok\":true' >&4; exit 0", "first", ERROR_CRASH, "exit status 0");
    answer_is("echo goodbye >&2; kill -TERM $$", "first", ERROR_CRASH, "goodbye");
    answer_is("exec 4>&-; sleep 60", "first", ERROR_CRASH, "closed its reply pipe");
    answer_is("sleep 60 & exit 6", "first", ERROR_CRASH, "exit status 6"); /* pipes stay open */
}

static void refusals(void **context)
{
    (void)context;
    answer_is("printf '%s\\n' '{\"ok\":false,\"code\":\"unsupported\",\"error\":\"no\\nnever\"}' >&4", "load",
              ERROR_UNSUPPORTED, "no never");
    answer_is("printf '%s\\n' '{\"ok\":false,\"code\":\"interrupted\",\"error\":\"%s%n\"}' >&4", "load",
              ERROR_IO, "%s%n");
    answer_is("printf '%s\\n' '{\"ok\":false,\"code\":3}' >&4", "load", ERROR_IO, "gave no reason");
}

static void unasked_reply(void **context)
{
    (void)context;
    struct worker *w = shell("echo '{\"ok\":true}' >&4; echo '{\"ok\":true}' >&4; sleep 60");
    done(w, op("first"));
    usleep(50000);
    json_t *reply;
    assert_code(worker_call(w, op("first"), PATIENCE_NS, &reply, &err), ERROR_FORMAT);
    assert_in(err.text, "not asked for");
    assert_gone(w);
}

/* Inputs cannot be written. Who tries is told so, where else there would be a signal and no more. */
static void inputs_that_are_written_to(void **context)
{
    (void)context;
    struct worker *w = start_fake(script("spoil_at_run", "1"), NULL, 0);
    json_t *reply;
    assert_code(worker_call(w, op("first"), PATIENCE_NS, &reply, &err), ERROR_MISMATCH);
    assert_in(err.text, "the model writes to its inputs");
    assert_in(err.hint, "copy");
    assert_gone(w);
    w = start_fake(script("spoil_at_run", "7"), NULL, 0);
    assert_int_equal(fail_in_window(w, PATIENCE_NS, ERROR_MISMATCH).status, 1);
    assert_gone(w);
}

/* A write elsewhere is the crash that it would be without the watch on inputs. */
static void stray_writes(void **context)
{
    (void)context;
    struct worker *w = start_fake(json_pack("{s:s,s:s,s:s}", "work", "none", "crash", "stray",
                                            "crash_at_run", "7"), NULL, 0);
    struct worker_exit end = fail_in_window(w, PATIENCE_NS, ERROR_CRASH);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_int_equal(end.signal, SIGSEGV);
#endif
    (void)end;
    assert_gone(w);
}

/* Also one that another process sends. */
static void sent_fault(void **context)
{
    (void)context;
    struct worker *w = start_fake(script("hang_at_run", "1"), NULL, 0);
    json_t *reply;
    assert_ok(worker_send(w, op("first"), &err));
    usleep(50000);
    kill(worker_pid(w), SIGSEGV);
    assert_code(worker_receive(w, PATIENCE_NS, 0, NULL, NULL, &reply, &err), ERROR_CRASH);
    assert_gone(w);
}

/* A worker that ends without reading its command: no SIGPIPE for us. */
static void ended_before_the_command(void **context)
{
    (void)context;
    const char *argv[] = {"sh", "-c", "exec 3<&-; echo gone; exit 2", NULL};
    struct worker *w = start(argv, NULL, 0);
    usleep(100000);
    json_t *reply;
    assert_code(worker_call(w, op("first"), PATIENCE_NS, &reply, &err), ERROR_CRASH);
    assert_in(err.text, "exit status 2");
    assert_in(err.text, "gone");
    assert_gone(w);
}

/* Far more log than a pipe holds: the worker never waits for us, and the newest 4 KiB are kept. */
static void chatty_log(void **context)
{
    (void)context;
    struct worker *w = shell("head -c 3000000 /dev/zero | tr '\\0' a; printf '\\nthe \\377 end\\n';"
                             "echo '{\"ok\":true}' >&4; read -r line <&3");
    done(w, op("first"));
    worker_stop(w, NULL);
    const char *log = worker_log(w);
    assert_int_equal(strlen(log), 4096);
    assert_int_equal(log[0], 'a');
    assert_string_equal(log + 4096 - 11, "\nthe ? end\n");
    assert_gone(w);
    w = start_fake(json_pack("{s:s,s:s}", "work", "none", "log_bytes", "100000"), NULL, 0);
    done(w, span_command("window", 30, 0, NS_PER_S));
    done(w, op("go"));
    assert_int_equal(strlen(worker_log(w)), 4096);
    assert_gone(w);
}

static void printable_text(void **context)
{
    (void)context;
    const struct {
        const char *in, *out;
    } cases[] = {{"plain\ttext\n", "plain\ttext\n"},
                 {"50 %\r100 %\r\n", "50 %\n100 %\n\n"},
                 {"\x1b[31mred", "?[31mred"},
                 {"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
                 {"\xc3", "?"},
                 {"\xc0\xaf", "??"},          /* overlong */
                 {"\xed\xa0\x80", "???"},     /* surrogate */
                 {"\xf5\x80\x80\x80", "????"}, /* beyond U+10FFFF */
                 {"\xc2\x9b" "2J", "??2J"},   /* C1 control */
                 {"\xe2\x82", "??"},
                 {"\x7f", "?"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[64];
        printable(cases[i].in, strlen(cases[i].in), out);
        assert_string_equal(out, cases[i].out);
    }
}

/* A worker that ignores both "quit" and SIGTERM, with children of its own. */
static void stubborn_worker_is_killed(void **context)
{
    (void)context;
    const char *argv[] = {"sh", "-c", "trap '' TERM; sleep 60 & while :; do sleep 1; done", NULL};
    struct worker *w;
    struct worker_spec spec = {.argv = argv, .stop_timeout_ns = MS(200)};
    assert_ok(worker_start(&spec, &w, &err));
    usleep(50000);
    uint64_t begin = clock_monotonic_ns();
    struct worker_exit end;
    worker_stop(w, &end);
    assert_true(clock_monotonic_ns() - begin < 3 * NS_PER_S);
    assert_true(end.timed_out);
    assert_int_equal(end.signal, SIGKILL);
    assert_in(end.reason, "did not stop within 0.2 s");
    assert_gone(w);
}

/* One that is at work is not waited for. */
static void busy_worker_stops_at_once(void **context)
{
    (void)context;
    struct worker *w = start_fake(script("hang_at_run", "1"), NULL, 0);
    assert_ok(worker_send(w, op("first"), &err));
    uint64_t begin = clock_monotonic_ns();
    struct worker_exit end;
    worker_stop(w, &end);
    assert_true(clock_monotonic_ns() - begin < NS_PER_S / 2);
    assert_int_equal(end.signal, SIGTERM);
    assert_gone(w);
}

/* A worker cannot end us by shrinking what we have mapped. */
static void memory_cannot_be_shrunk(void **context)
{
    (void)context;
    const char *argv[] = {"sh", "-c", "true >/proc/self/fd/5; true >/proc/self/fd/6; read -r line <&3;"
                          "echo '{\"ok\":true}' >&4; read -r line <&3", NULL};
    struct worker *w = start(argv, NULL, 64);
    uint8_t *data;
    uint64_t latency[64], runs;
    assert_ok(worker_tensors(w, 100000, &data, &err));
    done(w, op("first"));
    data[99999] = 1;
    assert_int_equal(worker_latencies(w, latency, 64, &runs), 0);
    assert_gone(w);
}

int main(int argc, char **argv)
{
    WORKER_MAIN
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crash_in_the_window),
        cmocka_unit_test(abort_exit_and_kill),
        cmocka_unit_test(hang_is_ended),
        cmocka_unit_test(out_of_memory_is_an_answer),
        cmocka_unit_test(reasons),
        cmocka_unit_test(no_program),
        cmocka_unit_test(garbage),
        cmocka_unit_test(oversized),
        cmocka_unit_test(early_ends),
        cmocka_unit_test(refusals),
        cmocka_unit_test(unasked_reply),
        cmocka_unit_test(ended_before_the_command),
        cmocka_unit_test(inputs_that_are_written_to),
        cmocka_unit_test(stray_writes),
        cmocka_unit_test(sent_fault),
        cmocka_unit_test(chatty_log),
        cmocka_unit_test(printable_text),
        cmocka_unit_test(stubborn_worker_is_killed),
        cmocka_unit_test(busy_worker_stops_at_once),
        cmocka_unit_test(memory_cannot_be_shrunk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
