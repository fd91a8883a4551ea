/* parent.h: what the files of the parent's side share. */
#ifndef WATTLE_WORKER_PARENT_H
#define WATTLE_WORKER_PARENT_H

#include "base/arena.h"
#include "base/buffer.h"
#include "worker/worker.h"

#include <wattle/worker.h>

enum { WORKER_LOG_MAX = 4096, WORKER_OP_MAX = 16 };

struct worker {
    pid_t pid;
    int pid_fd;               /* -1 where the kernel has none: then its end is polled for */
    int commands;             /* our ends of the pipes, -1 when closed */
    int replies;
    int log;
    int ring_fd, tensor_fd;
    struct wattle_ring *ring;
    size_t ring_bytes;
    uint64_t ring_capacity;   /* our own copy: the one in shared memory is the worker's to spoil */
    uint64_t stored;          /* latencies of the last command that are in the ring at most */
    uint8_t *tensors;
    size_t tensor_bytes;
    json_t *environment;
    uint64_t stop_timeout_ns;
    struct buffer line;       /* bytes of replies not yet taken */
    char not_json[JSON_ERROR_TEXT_LENGTH]; /* what was wrong with the last line */
    char op[WORKER_OP_MAX];   /* the command that is not answered yet, "" if none */
    char log_bytes[WORKER_LOG_MAX];
    size_t log_size;
    char log_text[WORKER_LOG_MAX + 1];
    uint64_t oom_kills;       /* of the whole system when it was started */
    char kill_reason[128];    /* why wattle killed it; "" if not */
    struct worker_exit exit;
};

/* environment.c: the clean base environment with `extra` on top, as a NULL-terminated envp in the
 * arena and as the JSON object that is recorded. */
int environment_make(json_t *extra, struct arena *arena, char ***envp, json_t **record,
                     struct error *e);

/* memory.c */
int memory_open(struct worker *w, uint64_t ring_capacity, struct error *e);
void memory_close(struct worker *w);
void memory_restart(struct worker *w); /* count 0, before "warmup" and "go" */
/* Takes "latencies_ns" of a reply, if it has them, into the ring. */
int memory_take(struct worker *w, json_t *reply, struct error *e);

/* wait.c: sleeps until one of the wanted things is there or the time is over, and drains the log
 * meanwhile. Returns the set of what is there. */
enum wait_for {
    WAIT_REPLY = 1,     /* replies can be read without sleeping, or ended */
    WAIT_WRITE = 2,
    WAIT_EXIT = 4,      /* the process has ended and waits to be reaped */
    WAIT_INTERRUPT = 8,
    WAIT_TIME = 16,
};
int wait_for(struct worker *w, int wanted, uint64_t until_ns);
void wait_drain_log(struct worker *w);
uint64_t wait_deadline(uint64_t timeout_ns); /* from now, saturating */

/* ending.c */
void ending_kill(struct worker *w, int timed_out, const char *why);
int ending_reap(struct worker *w, uint64_t until_ns); /* 1 when it is reaped */
void ending_reason(int status, uint64_t oom_kills_before, uint64_t oom_kills_after,
                   const char *kill_reason, struct worker_exit *exit);
uint64_t ending_oom_kills(void);

/* interrupt.c: readable once an interrupt came; -1 before worker_catch_interrupts. */
int interrupt_fd(void);

#endif
