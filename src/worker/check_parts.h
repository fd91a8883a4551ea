/* check_parts.h: what the files of the conformance checker share. */
#ifndef WATTLE_WORKER_CHECK_PARTS_H
#define WATTLE_WORKER_CHECK_PARTS_H

#include "worker/check.h"
#include "worker/parent.h"

#include "base/clock.h"

enum { CHECK_TENSOR_MAX = 256, CHECK_RANK_MAX = 8, CHECK_SETS = 2, CHECK_NAME_MAX = 128 };

/* What shells and other coarse clocks may be off. */
#define CHECK_SLACK_NS (20 * NS_PER_MS)

struct check_tensor {
    char name[CHECK_NAME_MAX], type[16];
    size_t element_bytes;
    int rank;
    int64_t dims[CHECK_RANK_MAX];
    uint64_t bytes;
    double low;             /* the least value an input takes */
};

struct check {
    const struct check_options *options;
    struct check_summary *summary;
    struct worker *w;
    struct check_tensor inputs[CHECK_TENSOR_MAX], outputs[CHECK_TENSOR_MAX];
    size_t input_count, output_count;
    size_t set_bytes;
    int quiet;              /* what holds was told already */
    int answered;           /* this worker has, to anything */
    struct error stop;      /* an interrupt or no memory: ends the whole check */
};

/* One line. A rule that holds is told by its name alone. Both return whether it holds. */
void check_say(struct check *c, enum check_result result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The format tells what was expected and what came. */
int check_that(struct check *c, int holds, const char *rule, const char *advice, const char *format,
               ...) __attribute__((format(printf, 5, 6)));

/* Sends a command (reference taken); a reply that is no "ok":true is told as wrong: NULL. */
json_t *check_ask(struct check *c, const char *rule, json_t *command, uint64_t extra_ns);
/* It must be refused, and the worker must stay. 1 when it did. */
int check_refused(struct check *c, const char *rule, json_t *command, const char *code,
                  const char *advice);
/* A number of a reply that must be there; told as wrong otherwise. */
int check_number(struct check *c, const char *rule, json_t *reply, const char *name, uint64_t *out);

json_t *check_window(const char *op, uint64_t min_runs, uint64_t min_ns, uint64_t max_ns,
                     uint64_t gap_ns);

/* check_model.c: each returns 1 when the next can be tried. */
int check_hello(struct check *c);
int check_load(struct check *c);
int check_inputs(struct check *c);
int check_first(struct check *c);
int check_outputs(struct check *c);
/* check_time.c */
int check_warmup(struct check *c);
int check_go(struct check *c);
int check_gap(struct check *c);
int check_ring_wraps(struct check *c);

/* check_model.c: reads a tensor of a reply; 0 and a reason in `why` when it is none. */
int check_read_tensor(json_t *item, int is_output, struct check_tensor *t, char why[128]);

#endif
