/* progress.h: how far a campaign is, on stderr: one line rewritten on a terminal, one line a block
 * elsewhere, nothing with -q. */
#ifndef WATTLE_CMD_PROGRESS_H
#define WATTLE_CMD_PROGRESS_H

#include "plan/plan.h"

struct progress {
    int shown;           /* not quiet */
    int terminal;        /* stderr is one */
    size_t count, done;  /* blocks */
    uint64_t begin_ns;
    double guess_s;      /* of one block, until one was measured */
    char label[128];
};

void progress_begin(struct progress *p, size_t blocks, double guess_s);
void progress_block(struct progress *p, size_t index, const struct cell *c);
void progress_phase(void *progress, const char *phase); /* fits measure_options.phase */
void progress_end(struct progress *p);

#endif
