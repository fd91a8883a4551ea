/* tuner.h: timing alternatives while a model is loaded, within a bounded time. */
#ifndef WATTLE_ENGINE_TUNER_H
#define WATTLE_ENGINE_TUNER_H

#include "engine/memory.h"
#include "engine/onednn.h"

#include <stdint.h>

struct tuner_choice {
    uint64_t key;
    int choice;
};

struct tuner {
    uint64_t budget_ns; /* 0: never time anything */
    uint64_t spent_ns;
    int forced; /* 1 + the candidate to take wherever it exists; 0: none. For tests. */
    struct memory_block workspace;
    size_t workspace_bytes;
    struct tuner_choice *choices;
    int count, capacity;
};

void tuner_release(struct tuner *t);

/* Whether there is time left to compare alternatives. */
int tuner_open(const struct tuner *t);
/* The best time of a few runs on made-up data; UINT64_MAX when it cannot be had. */
uint64_t tuner_time(struct tuner *t, struct primitive *p);
/* The same for anything that runs and returns 0. */
uint64_t tuner_measure(struct tuner *t, int (*run)(void *context), void *context);
/* Memory to time in, full of ones, valid until the next call. NULL without memory, and for more
 * than a few MiB: it would add to the process's peak and take long to time. */
void *tuner_memory(struct tuner *t, size_t bytes);

/* What was chosen for an equal problem before, or -1. A key is a hash of all that matters. */
uint64_t tuner_key(uint64_t seed, const void *data, size_t size);
int tuner_recall(const struct tuner *t, uint64_t key);
void tuner_remember(struct tuner *t, uint64_t key, int choice);

#endif
