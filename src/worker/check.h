/* check.h: holds a program against the worker protocol (docs/worker-protocol.md), rule by rule, for
 * the author of a worker: what was expected, what came, what to do. */
#ifndef WATTLE_WORKER_CHECK_H
#define WATTLE_WORKER_CHECK_H

#include "base/error.h"

#include <stdint.h>

enum check_result {
    CHECK_OK,
    CHECK_WRONG,
    CHECK_NOTE,  /* allowed, but worth knowing */
};

struct check_options {
    const char *const *argv;   /* of the worker, as in worker_spec */
    const char *model;         /* for "load"; "" */
    uint64_t timeout_ns;       /* of each answer; 0 is 60 s */
    void (*tell)(void *context, enum check_result result, const char *text);
    void *context;
};

struct check_summary {
    int ok, wrong;
};

/* Starts the worker some times, as a measurement would, and tells each rule's result. Never hangs.
 * The return value is nonzero only when nothing could be checked: it cannot be started, an
 * interrupt, no memory. */
int check_worker(const struct check_options *o, struct check_summary *out, struct error *e);

#endif
