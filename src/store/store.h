/* store.h: campaigns and blocks in SQLite (WAL, application_id, user_version with migrations).
 * One transaction a block; every number that is printed can be recomputed from what is kept. */
#ifndef WATTLE_STORE_STORE_H
#define WATTLE_STORE_STORE_H

#include "base/error.h"
#include "measure/record.h"
#include "plan/plan.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct store;

/* What is known of a model, kept once per campaign. */
struct store_model {
    char name[PLAN_NAME_MAX];
    char path[PATH_MAX];
    char format[16];
    char sha256[65];
    int64_t parameters, macs;  /* at batch 1; -1 unknown */
};

/* A campaign as read back: the only thing report sees. */
struct store_cell {
    struct cell cell;
    size_t model;              /* index into models */
    struct agreement agreement;
    struct record *blocks;     /* [block_count] in order of execution */
    size_t block_count;
};

struct store_campaign {
    int64_t id;
    char uuid[37];
    char version[32];          /* of wattle */
    uint64_t started_ns, finished_ns; /* realtime; finished 0 when it was cut short */
    char command[1024];        /* as typed */
    uint64_t seed;
    double duration_s;         /* window asked for */
    int blocks;                /* asked for, per cell */
    json_t *host;              /* fingerprint */
    char host_title[160];
    struct store_model *models;
    size_t model_count;
    struct store_cell *cells;
    size_t cell_count;
};
void store_campaign_release(struct store_campaign *c);

/* Default path: $WATTLE_HOME/wattle.db. Creates file and folder. Refuses (ERROR_FORMAT) a database
 * that is not ours or of a newer version. */
int store_open(const char *path, struct store **out, struct error *e);
void store_close(struct store *s); /* NULL is fine */
const char *store_path(const struct store *s);

/* Inserts campaign, models and cells of *c (blocks ignored); sets c->id and c->uuid. */
int store_begin(struct store *s, struct store_campaign *c, struct error *e);
/* One block of cell index `cell`, in one transaction. */
int store_put_block(struct store *s, int64_t campaign, size_t cell, const struct record *r,
                    struct error *e);
int store_put_agreement(struct store *s, int64_t campaign, size_t cell, const struct agreement *a,
                        struct error *e);
/* What only the runtime could tell, once it has. */
int store_put_batch(struct store *s, int64_t campaign, size_t cell, int64_t batch, struct error *e);
int store_finish(struct store *s, int64_t campaign, struct error *e);

/* Reads a campaign back whole; id 0 is the latest. */
int store_load(struct store *s, int64_t id, struct store_campaign *out, struct error *e);

#endif
