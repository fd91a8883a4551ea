#include "cmd/progress.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BAR_CELLS = 20 };

void progress_begin(struct progress *p, size_t blocks, double guess_s)
{
    *p = (struct progress){.shown = log_shows(LOG_NORMAL),
                           .terminal = isatty(STDERR_FILENO),
                           .count = blocks,
                           .begin_ns = clock_monotonic_ns(),
                           .guess_s = guess_s};
}

/* Seconds left, from the blocks done so far. */
static double remaining_s(const struct progress *p)
{
    double spent_s = (double)(clock_monotonic_ns() - p->begin_ns) / 1e9;
    double block_s = p->done ? spent_s / (double)p->done : p->guess_s;
    return block_s * (double)(p->count - p->done);
}

static void eta_text(const struct progress *p, char *text, size_t size)
{
    unsigned left = (unsigned)(remaining_s(p) + 0.5);
    snprintf(text, size, "ETA %u:%02u", left / 60, left % 60);
}

void progress_block(struct progress *p, size_t index, const struct cell *c)
{
    p->done = index;
    snprintf(p->label, sizeof p->label, "%.24s %.16s:%.16s b%lld t%d", c->model, c->runtime,
             c->provider, (long long)c->batch, c->threads);
    if (!p->shown || p->terminal)
        return;
    char eta[32];
    eta_text(p, eta, sizeof eta);
    fprintf(stderr, "block %zu of %zu: %s, %s\n", index + 1, p->count, p->label, eta);
}

void progress_phase(void *progress, const char *phase)
{
    struct progress *p = progress;
    if (!p->shown || !p->terminal)
        return;
    char bar[BAR_CELLS + 1], eta[32];
    size_t full = p->done * BAR_CELLS / p->count;
    memset(bar, '-', BAR_CELLS);
    memset(bar, '#', full);
    bar[BAR_CELLS] = '\0';
    eta_text(p, eta, sizeof eta);
    fprintf(stderr, "\r\033[K[%s] %zu/%zu %s, %s: %s", bar, p->done + 1, p->count, eta, p->label,
            phase);
}

void progress_end(struct progress *p)
{
    if (p->shown && p->terminal)
        fprintf(stderr, "\r\033[K");
}
