/* choose.h: taking the fastest of several kernels that compute the same. */
#ifndef WATTLE_ENGINE_CHOOSE_H
#define WATTLE_ENGINE_CHOOSE_H

#include "engine/builder.h"

struct choice {
    const void *job; /* the kernel's own description of the node */
    int count;       /* candidates 0 .. count - 1, the one to take without tuning first */
    uint64_t key;    /* tuner_key over all that decides the candidates' speed */
    int (*make)(struct builder *b, const void *job, int candidate, struct primitive **out,
                struct error *e);
    /* What else the candidate costs: reorders in front of it. NULL: nothing. */
    uint64_t (*extra_ns)(struct builder *b, const void *job, const struct primitive *p);
    /* Kernels of our own, candidates count .. count + own_count - 1: whether each can do the job,
     * and what it costs, or UINT64_MAX. They are taken only when timed. */
    int own_count;
    int (*own_exists)(struct builder *b, const void *job, int own);
    uint64_t (*own_ns)(struct builder *b, const void *job, int own);
};

/* Timed while the tuner's budget lasts, else the first that exists; ERROR_UNSUPPORTED when none
 * does. *out is NULL when the candidate is one of our own. */
int choose(struct builder *b, const struct choice *c, struct primitive **out, int *candidate,
           struct error *e);
uint64_t choose_reorder_ns(struct builder *b, const struct layout *from, const struct layout *to);

#endif
