/* request.h: the options of `wattle run` as typed values, checked before anything is started. */
#ifndef WATTLE_CMD_REQUEST_H
#define WATTLE_CMD_REQUEST_H

#include "cmd/cmd.h"
#include "host/host.h"
#include "measure/measure.h"
#include "plan/plan.h"
#include "runtime/found.h"

enum { REQUEST_LIST_MAX = 64, REQUEST_WORKER_MAX = 16, REQUEST_RANGE_MAX = 256 };

/* What -r and --provider come to: an installation, a way to run it and one of its providers. */
struct request_target {
    const struct found *found;
    const char *variant;         /* found_variant, or one of the adapter's */
    int variant_named;           /* -r said so: no other will do */
    const char *provider;
    char options[512];           /* of --provider-option, a JSON object */
};

/* One --worker: a command that speaks the worker protocol. */
struct request_worker {
    const char *command;         /* as typed */
    char name[32];               /* "infer.py", for labels; no two have the same */
    char options[512];           /* of --provider-option, a JSON object */
};

struct request {
    struct host host;
    struct found_list found;     /* every installation on this machine */
    struct request_target targets[REQUEST_LIST_MAX];
    size_t target_count;
    struct request_worker workers[REQUEST_WORKER_MAX];
    size_t worker_count;
    char devices[REQUEST_LIST_MAX][64]; /* of -d: ids joined by '+', one item a cell */
    size_t device_count;         /* 0: the providers' own choice */
    struct runtime_name *names;  /* of -r; NULL: everything */
    size_t name_count;
    char **providers;            /* as typed; NULL: the installations' own choice */
    size_t provider_count;
    char provider_library[PATH_MAX]; /* resolved; "" */
    int require_provider;
    struct data input, expect;   /* of --input and --expect */
    char expect_name[64];        /* for the report: the last part of --expect's path */
    char shapes[PLAN_SHAPES_MAX]; /* JSON object */
    uint64_t gap_ns;
    int64_t batches[REQUEST_LIST_MAX];
    size_t batch_count;
    int threads[REQUEST_LIST_MAX];
    size_t thread_count;
    struct plan_dim dims[PLAN_DIM_MAX];
    size_t dim_count;
    struct measure_range ranges[REQUEST_RANGE_MAX];
    const char *precision, *spin;
    int form_native, form_converted; /* of --form; neither: the model's own choice */
    int blocks, verify, require_measured;
    struct measure_options measure;
};

int request_parse(struct request *r, const struct option_list *options, struct error *e);
void request_release(struct request *r);

/* Whether a list that ends with NULL (or is NULL) has the name. */
int request_has_name(const char *const *names, const char *name);

/* provider_options.c. Each target's options, refused where its adapter can tell; the last step of
 * request_parse. */
int provider_options_parse(struct request *r, const struct option_list *options, struct error *e);

/* operand.c. Finds a model: a built-in name (written to disk when missing and build is set), a file
 * or FILE.py:FUNCTION. Fills name, path and format of the cell, and form with "native" when it is
 * built in: then it can be had in the idiom of other runtimes. */
int request_model(const char *operand, int build, struct cell *model, struct error *e);
/* The same for those who bring all workers themselves: any file will do, and "" for none. */
int request_own_model(const char *operand, int build, struct cell *model, struct error *e);

/* own.c */
int own_add_worker(struct request *r, const char *command, struct error *e);
int own_parse_devices(struct request *r, const char *text, struct error *e);

/* cells.c. The cells of one model: target x form x batch x threads, added to *cells (realloc'd). */
int request_cells(const struct request *r, const struct cell *model, struct cell **cells,
                  size_t *count, struct error *e);

#endif
