/* campaign.h: a plan carried out: outputs compared, blocks measured, everything stored. */
#ifndef WATTLE_CMD_CAMPAIGN_H
#define WATTLE_CMD_CAMPAIGN_H

#include "cmd/request.h"
#include "store/store.h"

struct campaign {
    const struct request *request;
    struct plan plan;
    struct store_campaign stored;   /* models, cells and host as they go into the store */
    struct agreement *agreements;   /* one a cell */
    struct error *failures;         /* one a cell: why its model was not made; code 0: it was */
    int *hopeless;                  /* one a cell: its model was refused: no further block is run */
    struct store *store;
    size_t kept;                    /* blocks in the store */
};

/* Resolves models, makes cells and plan, checks that inputs can be made up. Starts nothing. */
int campaign_plan(struct campaign *c, const struct request *r, const char *const *models,
                  size_t model_count, int build, struct error *e);
/* prepare.c: makes what the cells load. Only interruption and lack of memory end it; what else
 * fails is a failed row. */
int campaign_prepare(struct campaign *c, struct error *e);
/* Opens the store and carries out the plan. ERROR_INTERRUPTED leaves what is done in the store, as
 * any failure does; `kept` tells how much that is. */
int campaign_execute(struct campaign *c, const char *store_file, struct error *e);
void campaign_release(struct campaign *c);

#endif
