#include "worker/parent.h"
#include "worker/printable.h"

#include "base/clock.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A worker that does not even read a command of a few hundred bytes in this time is stuck. */
#define SEND_TIMEOUT_NS (10 * NS_PER_S)
/* How long after closing its reply pipe a worker may take to end on its own. */
#define LAST_BREATH_NS NS_PER_S
enum { CHUNK = 64 * 1024, LAST_WORDS_MAX = 200, LAST_LINES = 3 };

/* Each "worker broke the protocol" ends the worker: what it says next could only be misread. */
static int violation(struct worker *w, struct error *e, const char *what)
{
    ending_kill(w, 0, what);
    return error_set(e, ERROR_FORMAT, "worker broke the protocol: %s", what);
}

/* The end of its log on one line. */
static void last_words(const struct worker *w, char text[LAST_WORDS_MAX + 1])
{
    size_t size = strlen(w->log_text), from = size;
    while (size && w->log_text[size - 1] == '\n')
        from = --size;
    for (int lines = 0; from && size - from < LAST_WORDS_MAX; from--)
        if (w->log_text[from - 1] == '\n' && ++lines == LAST_LINES)
            break;
    while (from < size && (w->log_text[from] & 0xc0) == 0x80)
        from++;
    memcpy(text, w->log_text + from, size - from);
    text[size - from] = '\0';
    for (char *p = text; *p; p++)
        if (*p == '\n')
            *p = '|';
}

static int crash(struct worker *w, struct error *e)
{
    char words[LAST_WORDS_MAX + 1];
    if (!ending_reap(w, wait_deadline(LAST_BREATH_NS)))
        ending_kill(w, 0, "it closed its reply pipe");
    last_words(w, words);
    return error_set(e, ERROR_CRASH, "worker ended during '%s': %s%s%s", w->op, w->exit.reason,
                     words[0] ? "; its log ends: " : "", words);
}

/* write() without SIGPIPE, which the program that uses us may not ignore. */
static ssize_t write_quietly(int fd, const char *bytes, size_t size)
{
    sigset_t pipe_set, old;
    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_set, &old);
    ssize_t n = write(fd, bytes, size);
    int saved = errno;
    if (n < 0 && saved == EPIPE && !sigismember(&old, SIGPIPE))
        sigtimedwait(&pipe_set, NULL, &(struct timespec){0});
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    errno = saved;
    return n;
}

static int interrupted(struct error *e)
{
    return error_set(e, ERROR_INTERRUPTED, "interrupted");
}

static int send_line(struct worker *w, const char *line, size_t size, struct error *e)
{
    uint64_t until_ns = wait_deadline(SEND_TIMEOUT_NS);
    while (size) {
        ssize_t n = write_quietly(w->commands, line, size);
        if (n > 0) {
            line += n;
            size -= (size_t)n;
            continue;
        }
        if (n < 0 && errno == EPIPE)
            return crash(w, e);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return error_errno(e, errno, "cannot write to a worker");
        int set = wait_for(w, WAIT_WRITE | WAIT_EXIT | WAIT_INTERRUPT, until_ns);
        if (set & WAIT_EXIT)
            return crash(w, e);
        if (set & WAIT_INTERRUPT)
            return interrupted(e);
        if (set & WAIT_TIME) {
            ending_kill(w, 1, "it did not read a command");
            return error_set(e, ERROR_TIMEOUT, "worker did not read '%s' within %g s", w->op,
                             (double)SEND_TIMEOUT_NS / 1e9);
        }
    }
    return 0;
}

/* One read; what does not fit the buffer is seen by receive(). */
static void read_replies(struct worker *w)
{
    char chunk[CHUNK];
    ssize_t n = read(w->replies, chunk, sizeof chunk);
    if (n > 0)
        buffer_append(&w->line, chunk, (size_t)n);
    if (n != 0)
        return;
    close(w->replies);
    w->replies = -1;
}

/* Nothing may have come that was not asked for. */
static int check_silence(struct worker *w, struct error *e)
{
    if (wait_for(w, WAIT_REPLY, 0) & WAIT_REPLY)
        read_replies(w);
    if (w->line.size)
        return violation(w, e, "it sent a reply that was not asked for");
    return 0;
}

/* Not json_dumps: where memory ends it can return a text with holes. */
static int command_text(json_t *command, char **line, size_t *size, struct error *e)
{
    *size = json_dumpb(command, NULL, 0, JSON_COMPACT);
    if (*size >= WATTLE_LINE_MAX)
        return error_set(e, ERROR_USAGE, "a command of %zu bytes is longer than the worker "
                         "protocol's %d", *size, WATTLE_LINE_MAX);
    *line = malloc(*size + 1);
    if (!*line || !*size || json_dumpb(command, *line, *size, JSON_COMPACT) != *size) {
        free(*line);
        *line = NULL;
        return error_memory(e);
    }
    (*line)[(*size)++] = '\n';
    return 0;
}

static int send(struct worker *w, json_t *command, struct error *e)
{
    const char *op = json_string_value(json_object_get(command, "op"));
    char *line = NULL;
    size_t size = 0;
    if (!command)
        return error_memory(e); /* json_pack had none */
    if (!op || strlen(op) >= sizeof w->op)
        return error_set(e, ERROR_USAGE, "a worker command needs a short \"op\"");
    if (w->exit.ended || w->commands < 0)
        return error_set(e, ERROR_CRASH, "worker is gone: %s",
                         w->exit.ended ? w->exit.reason : "stopped");
    if (w->op[0])
        return error_set(e, ERROR_USAGE, "'%s' sent before '%s' was answered", op, w->op);
    int code = check_silence(w, e);
    if (!code)
        code = command_text(command, &line, &size, e);
    if (!line)
        return code;
    if (!strcmp(op, "warmup") || !strcmp(op, "go"))
        memory_restart(w);
    snprintf(w->op, sizeof w->op, "%s", op);
    code = send_line(w, line, size, e);
    free(line);
    return code;
}

int worker_send(struct worker *w, json_t *command, struct error *e)
{
    int code = send(w, command, e);
    json_decref(command);
    return code;
}

static enum error_code code_named(const char *name)
{
    for (int i = ERROR_USAGE; name && i <= ERROR_MISMATCH; i++)
        if (!strcmp(error_code_name((enum error_code)i), name))
            return (enum error_code)i;
    return ERROR_IO; /* a failure of a kind we do not know is still one */
}

/* Foreign text, cut to fit, as a part of a message. */
static void one_line(const char *text, size_t size, char *out)
{
    size_t n = strlen(text);
    printable(text, n < size ? n : size - 1, out);
    for (char *p = out; *p; p++)
        if (*p == '\n' || *p == '\t')
            *p = ' ';
}

static void copy_text(json_t *json, char *out, size_t size)
{
    const char *text = json_string_value(json);
    one_line(text ? text : "", size, out);
}

static int refused(json_t *reply, const char *op, struct error *e)
{
    char text[sizeof e->text - 64], hint[sizeof e->hint];
    copy_text(json_object_get(reply, "error"), text, sizeof text);
    copy_text(json_object_get(reply, "hint"), hint, sizeof hint);
    enum error_code code = code_named(json_string_value(json_object_get(reply, "code")));
    if (text[0])
        error_set(e, code, "%s", text);
    else
        error_set(e, code, "worker refused '%s' and gave no reason", op);
    error_hint(e, "%s", hint);
    return (int)code;
}

static const char *wrong_state(json_t *reply, const char *op)
{
    const char *want = !strcmp(op, "window") ? "ready" : !strcmp(op, "go") ? "done" : NULL;
    const char *state = json_string_value(json_object_get(reply, "state"));
    if (want && (!state || strcmp(state, want) != 0))
        return want[0] == 'r' ? "its reply to 'window' lacks \"state\":\"ready\""
                              : "its reply to 'go' lacks \"state\":\"done\"";
    json_t *protocol = json_object_get(reply, "protocol");
    if (!strcmp(op, "hello") && json_integer_value(protocol) != WATTLE_PROTOCOL)
        return "its reply to 'hello' lacks \"protocol\":1";
    return NULL;
}

/* Judges a reply: 0 and *out, or an error; takes the reference. */
static int judge(struct worker *w, json_t *reply, json_t **out, struct error *e)
{
    json_t *ok = json_object_get(reply, "ok");
    char op[WORKER_OP_MAX], what[64 + sizeof w->not_json];
    memcpy(op, w->op, sizeof op);
    w->op[0] = '\0';
    snprintf(what, sizeof what, "a reply that is not JSON (%s)", w->not_json);
    int code;
    const char *wrong;
    if (!json_is_boolean(ok))
        code = violation(w, e, reply ? "a reply without \"ok\"" : what);
    else if (json_is_false(ok))
        code = refused(reply, op, e);
    else if ((wrong = wrong_state(reply, op)))
        code = violation(w, e, wrong);
    else if ((code = memory_take(w, reply, e)))
        ending_kill(w, 0, "latencies_ns that are none");
    if (code) {
        json_decref(reply);
        return code;
    }
    *out = reply;
    return 0;
}

/* Takes a whole line off the buffer: 1 and the reply (NULL when it is no JSON object; jansson does
 * not tell that from having no memory for it). */
static int take_line(struct worker *w, json_t **reply)
{
    char *end = w->line.size ? memchr(w->line.data, '\n', w->line.size) : NULL;
    if (!end)
        return 0;
    size_t size = (size_t)(end - w->line.data);
    json_error_t why;
    *reply = json_loadb(w->line.data, size, JSON_REJECT_DUPLICATES, &why);
    one_line(*reply ? "not an object" : why.text[0] ? why.text : "no memory to read it",
             sizeof w->not_json, w->not_json);
    if (*reply && !json_is_object(*reply)) {
        json_decref(*reply);
        *reply = NULL;
    }
    w->line.size -= size + 1;
    memmove(w->line.data, end + 1, w->line.size);
    return 1;
}

static int is_oversized(const struct worker *w)
{
    const char *end = w->line.size ? memchr(w->line.data, '\n', w->line.size) : NULL;
    return w->line.failed || (end ? (size_t)(end - w->line.data) : w->line.size) >= WATTLE_LINE_MAX;
}

static int silent(struct worker *w, uint64_t timeout_ns, struct error *e)
{
    char words[LAST_WORDS_MAX + 1], why[96];
    snprintf(why, sizeof why, "no answer to '%s' within %.3g s", w->op, (double)timeout_ns / 1e9);
    ending_kill(w, 1, why);
    last_words(w, words);
    return error_set(e, ERROR_TIMEOUT,
                     "worker did not answer '%s' within %.3g s and was killed%s%s", w->op,
                      (double)timeout_ns / 1e9, words[0] ? "; its log ends: " : "", words);
}

struct ticker {
    uint64_t every_ns, next_ns;
    void (*call)(void *context);
    void *context;
};

static void tick_if_due(struct ticker *t)
{
    uint64_t now = clock_monotonic_ns();
    if (now < t->next_ns)
        return;
    t->call(t->context);
    t->next_ns += t->every_ns;
    if (t->next_ns < now) /* we were late: no burst of ticks to catch up */
        t->next_ns = now + t->every_ns;
}

/* Waits for and judges one reply. */
static int receive(struct worker *w, uint64_t timeout_ns, struct ticker *t, json_t **out,
                   struct error *e)
{
    uint64_t until_ns = wait_deadline(timeout_ns);
    for (;;) {
        json_t *reply;
        if (w->line.failed && w->line.size < WATTLE_LINE_MAX)
            return error_memory(e);
        if (is_oversized(w))
            return violation(w, e, "a reply longer than 1 MiB");
        if (take_line(w, &reply))
            return judge(w, reply, out, e);
        if (w->replies < 0)
            return crash(w, e);
        int set = wait_for(w, WAIT_REPLY | WAIT_EXIT | WAIT_INTERRUPT,
                           until_ns < t->next_ns ? until_ns : t->next_ns);
        if (set & WAIT_INTERRUPT)
            return interrupted(e);
        if (set & WAIT_REPLY)
            read_replies(w);
        else if (set & WAIT_EXIT)
            return crash(w, e);
        else if (clock_monotonic_ns() >= until_ns)
            return silent(w, timeout_ns, e);
        tick_if_due(t);
    }
}

int worker_receive(struct worker *w, uint64_t timeout_ns, uint64_t tick_ns,
                   void (*tick)(void *context), void *context, json_t **reply, struct error *e)
{
    *reply = NULL;
    if (!w->op[0])
        return error_set(e, ERROR_USAGE, "waiting for a reply to no command");
    if (w->exit.ended)
        return error_set(e, ERROR_CRASH, "worker is gone: %s", w->exit.reason);
    struct ticker t = {.next_ns = UINT64_MAX};
    if (tick && tick_ns)
        t = (struct ticker){tick_ns, wait_deadline(tick_ns), tick, context};
    return receive(w, timeout_ns, &t, reply, e);
}

int worker_call(struct worker *w, json_t *command, uint64_t timeout_ns, json_t **reply,
                struct error *e)
{
    *reply = NULL;
    int code = worker_send(w, command, e);
    return code ? code : worker_receive(w, timeout_ns, 0, NULL, NULL, reply, e);
}
