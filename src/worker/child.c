/* child.c: the command loop of wattle's own worker process. Whatever a command says, the answer is
 * one line and the loop goes on; only "quit", the end of the pipe, or a crash of the runtime end
 * it. */
#include "worker/child.h"
#include "worker/field.h"
#include "worker/printable.h"
#include "worker/worker.h"

#include "base/buffer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum { CHUNK = 64 * 1024, STATUS_ORPHAN = 1, STATUS_NO_PARENT = 2 };

int child_put(json_t *reply, const char *name, json_t *value, struct error *e)
{
    return json_object_set_new(reply, name, value) ? error_memory(e) : 0;
}

static int hello(struct child *c, json_t *command, json_t *reply, struct error *e)
{
    (void)c;
    int64_t protocol;
    int code = field_integer(command, "protocol", 0, INT64_MAX, &protocol, e);
    if (code)
        return code;
    if (protocol != WATTLE_PROTOCOL)
        return error_set(e, ERROR_UNSUPPORTED, "protocol %lld, this worker speaks %d",
                         (long long)protocol, WATTLE_PROTOCOL);
    code = child_put(reply, "protocol", json_integer(WATTLE_PROTOCOL), e);
    return code ? code : child_put(reply, "worker", json_string("wattle " WATTLE_VERSION), e);
}

static int quit(struct child *c, json_t *command, json_t *reply, struct error *e)
{
    (void)command;
    (void)reply;
    (void)e;
    c->quit = 1;
    return 0;
}

static int dispatch(struct child *c, json_t *command, json_t *reply, struct error *e)
{
    static const struct {
        const char *op;
        int (*call)(struct child *c, json_t *command, json_t *reply, struct error *e);
    } table[] = {
        {"hello", hello},         {"load", child_load},     {"inputs", child_inputs},
        {"first", child_first},   {"outputs", child_outputs}, {"warmup", child_warmup},
        {"window", child_window}, {"go", child_go},         {"quit", quit},
    };
    const char *op;
    int code = field_text(command, "op", NULL, &op, e);
    for (size_t i = 0; !code && i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i].op, op))
            return table[i].call(c, command, reply, e);
    return code ? code : error_set(e, ERROR_UNSUPPORTED, "unknown command '%.60s'", op);
}

/* "ok":false with the error, as text that is surely UTF-8. */
static json_t *failure(const struct error *e)
{
    char text[sizeof e->text], hint[sizeof e->hint];
    printable(e->text, strlen(e->text), text);
    printable(e->hint, strlen(e->hint), hint);
    json_t *reply = json_pack("{s:b,s:s,s:s}", "ok", 0, "code", error_code_name(e->code), "error",
                              text);
    if (reply && hint[0])
        json_object_set_new(reply, "hint", json_string(hint));
    return reply;
}

static json_t *answer(struct child *c, const char *line, size_t size)
{
    struct error e = {0};
    json_error_t where;
    json_t *command = json_loadb(line, size, JSON_REJECT_DUPLICATES, &where);
    json_t *reply = json_pack("{s:b}", "ok", 1);
    int code;
    if (!command)
        code = error_set(&e, ERROR_FORMAT, "command is not JSON: %s", where.text);
    else if (!json_is_object(command))
        code = error_set(&e, ERROR_FORMAT, "command is not a JSON object");
    else
        code = reply ? dispatch(c, command, reply, &e) : error_memory(&e);
    json_decref(command);
    if (!code)
        return reply;
    json_decref(reply);
    return failure(&e);
}

static int write_all(const char *bytes, size_t size)
{
    while (size) {
        ssize_t n = write(WATTLE_FD_REPLIES, bytes, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        bytes += n;
        size -= (size_t)n;
    }
    return 0;
}

/* A reply we have no memory for still must be one. */
static int send_reply(json_t *reply)
{
    static const char none[] = "{\"ok\":false,\"code\":\"memory\",\"error\":\"out of memory\"}\n";
    size_t size = reply ? json_dumpb(reply, NULL, 0, JSON_COMPACT) : 0;
    char *text = size && size < WATTLE_LINE_MAX ? malloc(size + 1) : NULL;
    fflush(stdout);
    if (!text || json_dumpb(reply, text, size, JSON_COMPACT) != size) {
        free(text);
        return write_all(none, sizeof none - 1);
    }
    text[size] = '\n';
    int failed = write_all(text, size + 1);
    free(text);
    return failed;
}

/* Commands as they come; a line that is too long is skipped to its end and answered once. */
struct reader {
    struct buffer buffer;
    int skipping;
};

static int serve_line(struct child *c, struct reader *r, const char *line, size_t size)
{
    json_t *reply;
    if (r->skipping) {
        struct error e;
        error_set(&e, ERROR_FORMAT, "command is longer than %d bytes", WATTLE_LINE_MAX);
        reply = failure(&e);
        r->skipping = 0;
    } else {
        reply = answer(c, line, size);
    }
    int failed = send_reply(reply);
    json_decref(reply);
    return failed;
}

static int serve_lines(struct child *c, struct reader *r)
{
    struct buffer *b = &r->buffer;
    char *end;
    while (!c->quit && b->size && (end = memchr(b->data, '\n', b->size))) {
        size_t size = (size_t)(end - b->data);
        if (serve_line(c, r, b->data, size))
            return -1;
        b->size -= size + 1;
        memmove(b->data, end + 1, b->size);
    }
    if (b->size >= WATTLE_LINE_MAX) {
        r->skipping = 1;
        buffer_clear(b);
    }
    return 0;
}

static int serve(struct child *c)
{
    struct reader r = {0};
    buffer_init(&r.buffer, WATTLE_LINE_MAX + CHUNK);
    char *chunk = malloc(CHUNK);
    int failed = !chunk;
    while (!failed && !c->quit) {
        ssize_t n = read(WATTLE_FD_COMMANDS, chunk, CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        failed = n <= 0 || buffer_append(&r.buffer, chunk, (size_t)n) || serve_lines(c, &r);
    }
    free(chunk);
    buffer_release(&r.buffer);
    return failed ? STATUS_ORPHAN : 0;
}

/* No leftovers of a crash in the user's folder, no life without the parent, no text lost in a
 * buffer when the runtime ends the process. */
static void settle(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    setvbuf(stdout, NULL, _IOLBF, 0);
}

int worker_child_main(void)
{
    struct error e = {0};
    for (int fd = WATTLE_FD_COMMANDS; fd <= WATTLE_FD_TENSORS; fd++)
        if (fcntl(fd, F_GETFD) < 0) {
            fprintf(stderr, "wattle: worker: without an option only wattle itself starts this "
                            "command; wattle worker --help tells more\n");
            return STATUS_NO_PARENT;
        }
    settle();
    struct child *c = calloc(1, sizeof *c);
    int status = STATUS_ORPHAN;
    if (!c || child_map_ring(c, &e)) {
        fprintf(stderr, "wattle: worker: %s\n", c ? e.text : "out of memory");
        free(c);
        return status;
    }
    child_find_hook(c);
    status = serve(c);
    if (c->adapter)
        c->adapter->unload(c->state);
    child_release_data(c);
    json_decref(c->request);
    munmap(c->ring, c->ring_bytes);
    free(c);
    return status;
}
