/* worker.h: start, talk to and end a worker process (parent side); the child loop of wattle's own
 * worker. The protocol itself is include/wattle/worker.h.
 */
#ifndef WATTLE_WORKER_WORKER_H
#define WATTLE_WORKER_WORKER_H

#include "base/error.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct worker;

struct worker_spec {
    const char *const *argv;   /* NULL: this program's own hidden `worker` command */
    json_t *environment;       /* object NAME -> VALUE added to the clean base environment */
    uint64_t ring_capacity;    /* latencies kept; 0 is 1 << 20 */
    uint64_t stop_timeout_ns;  /* between "quit" and SIGKILL; 0 is 5 s */
};

/* How a worker ended: data for a row, not a message. */
struct worker_exit {
    int ended;                 /* 1 once reaped */
    int status;                /* exit status, or -1 when killed by a signal */
    int signal;                /* 0 when it exited */
    int timed_out;             /* wattle killed it: it was silent or did not stop */
    uint64_t user_ns, system_ns; /* CPU time of its whole life */
    char reason[192];          /* "exit status 3", "killed by signal 11 (Segmentation fault)" */
};

/* What a user's command line becomes: the text for argv {"sh", "-c", text, NULL}, so that its words
 * are split and its quotes and ~ understood as its author is used to, NAME=VALUE may stand before
 * the program, and no shell stays between us and the worker unless it has operators (; | &). */
int worker_shell(const char *command, char *text, size_t size, struct error *e);

/* The child gets reset signals, closed descriptors but the protocol's, /dev/null as stdin, a new
 * process group, and dies with its parent (wattle's own worker by a signal when the THREAD that
 * started it ends; others by end of file on the command pipe). argv[0] without a slash is looked up
 * in PATH. An exec failure is reported here with its errno. */
int worker_start(const struct worker_spec *spec, struct worker **out, struct error *e);

/* The environment the worker really got, object NAME -> VALUE; borrowed. */
json_t *worker_environment(const struct worker *w);
pid_t worker_pid(const struct worker *w);
/* CPU time (ns) the worker, and what it started and waited for, used so far; 0 when it is gone.
 * Signature fits wattle_meter_options. */
uint64_t worker_cpu_ns(void *worker);

/* One command at a time: each must be answered before the next is sent.
 * Sends a command (reference stolen, also on failure) and waits for its reply, sleeping. "ok":false
 * becomes *e with the worker's own code and text. A child that ends gives ERROR_CRASH with the
 * reason and the last lines of its log; one that is silent for timeout_ns is killed: ERROR_TIMEOUT.
 * SIGINT, SIGTERM or SIGHUP of this process (see worker_interrupted): ERROR_INTERRUPTED.
 * Replies are held against the protocol (one JSON object of at most WATTLE_LINE_MAX bytes with
 * "ok", the right "state" and "protocol", nothing more): else ERROR_FORMAT, and the worker is
 * killed.
 * *reply is the caller's, NULL on failure. */
int worker_call(struct worker *w, json_t *command, uint64_t timeout_ns, json_t **reply,
                struct error *e);
/* The two halves of worker_call; receive may call tick every tick_ns while it waits (0: never). */
int worker_send(struct worker *w, json_t *command, struct error *e);
int worker_receive(struct worker *w, uint64_t timeout_ns, uint64_t tick_ns,
                   void (*tick)(void *context), void *context, json_t **reply, struct error *e);

/* The tensor memory shared with the worker: grown to at least bytes (never shrunk), mapped read and
 * write. The pointer is invalid after the next call. */
int worker_tensors(struct worker *w, size_t bytes, uint8_t **data, struct error *e);
/* Latencies since the last "warmup" or "go", oldest first, at most `capacity` newest ones;
 * *runs is how many there were. Returns how many were copied. */
size_t worker_latencies(const struct worker *w, uint64_t *latency_ns, size_t capacity,
                        uint64_t *runs);
/* The last 4 KiB of what it wrote to stdout and stderr; "" if nothing. */
const char *worker_log(const struct worker *w);

/* Quit (unless it owes a reply), then SIGTERM, then SIGKILL to its process group; reaps. Never
 * hangs, also after an interrupt. exit may be NULL; called again, it tells the same. */
void worker_stop(struct worker *w, struct worker_exit *exit);
void worker_free(struct worker *w); /* stops it first; NULL is fine */

/* Installs handlers for SIGINT, SIGTERM and SIGHUP (unless ignored, as under nohup) that make
 * waiting calls return ERROR_INTERRUPTED, and ignores SIGPIPE. Call once in main. A signal that
 * comes more than a second after the first ends the process at once. */
void worker_catch_interrupts(void);
int worker_interrupted(void);

/* The child: runs the protocol on the four descriptors with an adapter of src/runtime; returns the
 * exit status. */
int worker_child_main(void);

#endif
