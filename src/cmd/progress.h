/* progress.h: how far a campaign is, on stderr: one line rewritten on a terminal, one line a block
 * elsewhere, nothing with -q. */
#ifndef WATTLE_CMD_PROGRESS_H
#define WATTLE_CMD_PROGRESS_H

#include "plan/plan.h"

struct progress {
    int shown;           /* not quiet */
    int terminal;        /* stderr is one */
    size_t count, done;  /* blocks */
    uint64_t begin_ns;   /* of the first block */
    uint64_t block_ns;   /* of the block under way */
    double guess_s;      /* of one block, until one was measured */
    char label[128];
};

void progress_begin(struct progress *p, size_t blocks, double guess_s);
void progress_block(struct progress *p, size_t index, const struct cell *c);
void progress_phase(void *progress, const char *phase); /* fits measure_options.phase */
/* What goes on before the first block, such as comparing outputs. */
void progress_say(const char *what, const struct cell *c);
/* The same line again on a terminal; elsewhere a line of its own, if it is news. */
void progress_line(const char *line, int is_news);
void progress_wipe(void); /* takes that off */
/* Takes the line off the terminal, before another message and at the end. */
void progress_clear(const struct progress *p);

#endif
