/* check.c: the order of a check, and how its results are told. */
#include "worker/check_parts.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_TIMEOUT_NS (60 * NS_PER_S)
/* "At once", for a program that may have a runtime to take down. */
#define AT_ONCE_NS (5 * NS_PER_S)
enum { TEXT_MAX = 1200, SMALL_RING = 2 };

void check_say(struct check *c, enum check_result result, const char *format, ...)
{
    char text[TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (c->quiet && result != CHECK_WRONG)
        return;
    c->summary->ok += result == CHECK_OK;
    c->summary->wrong += result == CHECK_WRONG;
    c->options->tell(c->options->context, result, text);
}

int check_that(struct check *c, int holds, const char *rule, const char *advice, const char *format,
               ...)
{
    char text[TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (holds)
        check_say(c, CHECK_OK, "%s", rule);
    else
        check_say(c, CHECK_WRONG, "%s: %s; %s", rule, text, advice);
    return holds;
}

static uint64_t timeout_ns(const struct check *c)
{
    return c->options->timeout_ns ? c->options->timeout_ns : DEFAULT_TIMEOUT_NS;
}

/* Whether the failure is ours, not the worker's: then there is nothing to tell about it. */
static int stops(struct check *c, const struct error *e)
{
    int ours = e->code == ERROR_INTERRUPTED || (e->code == ERROR_MEMORY && c->w->op[0]);
    if (ours)
        c->stop = *e;
    return ours;
}

static const char *advice_for(enum error_code code)
{
    switch (code) {
    case ERROR_CRASH:
        return "answer every command: what cannot be done with \"ok\":false, \"code\" and "
               "\"error\"";
    case ERROR_TIMEOUT:
        return "answer each command once, on descriptor 4, and flush it (or give --timeout)";
    case ERROR_FORMAT:
        return "write one JSON object and a newline to descriptor 4 for each command, and "
               "nothing else: print to stdout instead";
    default: return "see docs/worker-protocol.md";
    }
}

/* The rule at hand is not what is wrong with a program that ends before it has answered anything.
 * Statuses 126 and 127 are the shell's. */
static const char *advice_after(const struct check *c, const struct error *e, const char *advice)
{
    int is_end = e->code == ERROR_CRASH && !c->w->kill_reason[0];
    if (!is_end || c->answered)
        return advice;
    if (c->w->exit.status == 127)
        return "there is no such program: give its path as you would type it in this folder";
    if (c->w->exit.status == 126)
        return "the program cannot be started: is it executable, and for this machine?";
    return "it ended before it answered anything: see what its log says, or run it by itself; it "
           "is to read commands from descriptor 3 until \"quit\" or their end";
}

json_t *check_ask(struct check *c, const char *rule, json_t *command, uint64_t extra_ns)
{
    struct error e = {0};
    json_t *reply;
    int failed = worker_call(c->w, command, timeout_ns(c) + extra_ns, &reply, &e);
    c->answered |= !c->w->exit.ended;
    if (!failed)
        return reply;
    if (stops(c, &e))
        return NULL;
    if (c->w->exit.ended)
        check_say(c, CHECK_WRONG, "%s: expected \"ok\":true; came: %s; %s", rule, e.text,
                  advice_after(c, &e, advice_for(e.code)));
    else
        check_say(c, CHECK_WRONG, "%s: expected \"ok\":true; it refused (%s): %s%s%s", rule,
                  error_code_name(e.code), e.text, e.hint[0] ? "; " : "", e.hint);
    return NULL;
}

int check_refused(struct check *c, const char *rule, json_t *command, const char *code,
                  const char *advice)
{
    struct error e = {0};
    json_t *reply = NULL;
    int failed = worker_call(c->w, command, timeout_ns(c), &reply, &e);
    c->answered |= !c->w->exit.ended;
    json_decref(reply);
    if (failed && stops(c, &e))
        return 0;
    if (c->w->exit.ended) {
        check_say(c, CHECK_WRONG, "%s: expected \"ok\":false; came: %s; %s", rule, e.text,
                  advice_after(c, &e, advice));
        return 0;
    }
    if (failed && code && strcmp(code, error_code_name(e.code)) != 0)
        check_say(c, CHECK_NOTE, "%s: refused with the code \"%s\", not \"%s\"", rule,
                  error_code_name(e.code), code);
    check_that(c, failed, rule, advice, "expected \"ok\":false; came \"ok\":true");
    return 1;
}

int check_number(struct check *c, const char *rule, json_t *reply, const char *name, uint64_t *out)
{
    json_t *value = json_object_get(reply, name);
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        *out = (uint64_t)json_integer_value(value);
        return 1;
    }
    check_say(c, CHECK_WRONG, "%s: expected \"%s\", a whole number; came %s; times are integers of "
              "nanoseconds", rule, name, value ? "something else" : "none");
    return 0;
}

json_t *check_window(const char *op, uint64_t min_runs, uint64_t min_ns, uint64_t max_ns,
                     uint64_t gap_ns)
{
    return json_pack("{s:s,s:I,s:I,s:I,s:I}", "op", op, "min_runs", (json_int_t)min_runs, "min_ns",
                     (json_int_t)min_ns, "max_ns", (json_int_t)max_ns, "gap_ns",
                     (json_int_t)gap_ns);
}

static int begin(struct check *c, uint64_t ring_capacity, struct error *e)
{
    struct worker_spec spec = {.argv = c->options->argv, .ring_capacity = ring_capacity};
    c->answered = 0;
    return worker_start(&spec, &c->w, e);
}

static void end(struct check *c)
{
    worker_free(c->w);
    c->w = NULL;
}

static void check_quit(struct check *c)
{
    static const char rule[] = "quit is answered, then the worker exits with status 0";
    json_t *reply = check_ask(c, rule, json_pack("{s:s}", "op", "quit"), 0);
    if (!reply)
        return;
    json_decref(reply);
    int ended = ending_reap(c->w, wait_deadline(AT_ONCE_NS));
    check_that(c, ended && c->w->exit.status == 0, rule,
               "leave the loop of commands after the answer and end normally",
               "expected exit status 0; came: %s",
               ended ? c->w->exit.reason : "nothing within 5 s");
}

/* A whole block, and more. Each step needs the ones before. */
static void check_block(struct check *c)
{
    static int (*const steps[])(struct check *) = {check_hello,  check_load,    check_inputs,
                                                   check_first,  check_outputs, check_warmup,
                                                   check_go,     check_gap};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (!steps[i](c)) {
            if (!c->stop.code)
                check_say(c, CHECK_NOTE, "what would have followed was not checked");
            return;
        }
    check_quit(c);
}

static void close_commands(struct check *c)
{
    close(c->w->commands);
    c->w->commands = -1;
}

static int say_hello(struct check *c)
{
    json_t *hello = json_pack("{s:s,s:i}", "op", "hello", "protocol", WATTLE_PROTOCOL);
    json_t *reply = check_ask(c, "hello", hello, 0);
    json_decref(reply);
    return reply != NULL;
}

static void check_hang_up(struct check *c)
{
    if (!say_hello(c))
        return;
    close_commands(c);
    check_that(c, ending_reap(c->w, wait_deadline(AT_ONCE_NS)),
               "the end of the command pipe ends the worker",
               "end when reading descriptor 3 gives nothing more",
               "expected that it ends at once; it ran on for 5 s");
}

static void check_terminate(struct check *c)
{
    if (!say_hello(c))
        return;
    kill(c->w->pid, SIGTERM);
    check_that(c, ending_reap(c->w, wait_deadline(AT_ONCE_NS)), "SIGTERM ends the worker",
               "leave the signal at its default", "expected that it ends; it ran on for 5 s");
}

/* A worker that cannot notice may finish the window, but no more. */
static void check_hang_up_in_window(struct check *c)
{
    static const char rule[] = "the end of the command pipe during a window ends the worker";
    struct error e = {0};
    json_t *window = check_window("window", 1, NS_PER_S, NS_PER_S, 0);
    json_t *reply = check_ask(c, rule, window, 0);
    json_decref(reply);
    if (!reply)
        return;
    if (worker_send(c->w, json_pack("{s:s}", "op", "go"), &e)) {
        check_say(c, CHECK_WRONG, "%s: it does not take \"go\": %s; read descriptor 3", rule,
                  e.text);
        return;
    }
    clock_sleep_until_ns(clock_monotonic_ns() + 50 * NS_PER_MS);
    close_commands(c);
    uint64_t closed_ns = clock_monotonic_ns();
    int ended = ending_reap(c->w, wait_deadline(timeout_ns(c)));
    double s = (double)(clock_monotonic_ns() - closed_ns) / 1e9;
    check_that(c, ended, rule, "end when reading descriptor 3 gives nothing more, at the latest "
               "after the window", "expected that it ends; it ran on for %.1f s", s);
    if (ended && s > 0.5)
        check_say(c, CHECK_NOTE, "it ended %.1f s after the end of the pipe, with its window", s);
}

static void check_with_small_ring(struct check *c)
{
    c->quiet = 1;
    int ready = check_hello(c) && check_load(c) && check_inputs(c);
    c->quiet = 0;
    if (ready && check_ring_wraps(c))
        check_hang_up_in_window(c);
}

int check_worker(const struct check_options *o, struct check_summary *out, struct error *e)
{
    static const struct {
        void (*call)(struct check *c);
        uint64_t ring_capacity;
    } sessions[] = {{check_block, 0},
                    {check_hang_up, 0},
                    {check_terminate, 0},
                    {check_with_small_ring, SMALL_RING}};
    *out = (struct check_summary){0};
    struct check *c = calloc(1, sizeof *c);
    if (!c)
        return error_memory(e);
    c->options = o;
    c->summary = out;
    int result = 0;
    for (size_t i = 0; !result && i < sizeof sessions / sizeof *sessions; i++) {
        int wrong = out->wrong;
        result = begin(c, sessions[i].ring_capacity, e);
        if (!result)
            sessions[i].call(c);
        end(c);
        if (c->stop.code) {
            *e = c->stop;
            result = (int)c->stop.code;
        }
        if (i == 0 && out->wrong > wrong && out->ok < 2)
            break; /* not even hello: the others would say the same */
    }
    free(c);
    return result;
}
