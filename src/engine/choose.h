/* choose.h: taking the fastest of several kernels that compute the same. */
#ifndef WATTLE_ENGINE_CHOOSE_H
#define WATTLE_ENGINE_CHOOSE_H

#include "engine/builder.h"

struct choice {
    const void *job; /* the kernel's own description of the node */
    uint64_t key;    /* tuner_key over all that decides the candidates' speed */
    /* oneDNN's candidates 0 .. count - 1, the usually fastest first: the first `rivals` are
     * compared, the others stand in where none of those exists or is fast. extra_ns: what else a
     * candidate costs, such as reorders in front of it; NULL: nothing. */
    int count, rivals;
    int (*make)(struct builder *b, const void *job, int candidate, struct primitive **out,
                struct error *e);
    uint64_t (*extra_ns)(struct builder *b, const void *job, const struct primitive *p);
    /* Kernels of our own, candidates count .. count + own_count - 1, which come before oneDNN's:
     * whether each can do the job, and what it costs in all, or UINT64_MAX. */
    int own_count;
    int (*own_exists)(struct builder *b, const void *job, int own);
    uint64_t (*own_ns)(struct builder *b, const void *job, int own);
};

/* The first that exists, unless the tuner has time left and finds a clearly faster one;
 * ERROR_UNSUPPORTED when there is none. *out is NULL when the candidate is one of our own. */
int choose(struct builder *b, const struct choice *c, struct primitive **out, int *candidate,
           struct error *e);
uint64_t choose_reorder_ns(struct builder *b, const struct layout *from, const struct layout *to);

#endif
