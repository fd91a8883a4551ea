#include "cmd/progress.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "report/report.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BAR_CELLS = 20 };

void progress_begin(struct progress *p, size_t blocks, double guess_s)
{
    *p = (struct progress){.shown = log_shows(LOG_NORMAL),
                           .terminal = isatty(STDERR_FILENO),
                           .count = blocks,
                           .begin_ns = clock_monotonic_ns(),
                           .block_ns = clock_monotonic_ns(),
                           .guess_s = guess_s};
}

/* Seconds left, from the blocks done so far; the one under way counts by its own time. */
static double remaining_s(const struct progress *p)
{
    uint64_t now_ns = clock_monotonic_ns();
    double block_s = p->done ? (double)(p->block_ns - p->begin_ns) / 1e9 / (double)p->done
                             : p->guess_s;
    double left_s = block_s * (double)(p->count - p->done) - (double)(now_ns - p->block_ns) / 1e9;
    return left_s > 0 ? left_s : 0;
}

static void eta_text(const struct progress *p, char *text, size_t size)
{
    unsigned left = (unsigned)(remaining_s(p) + 0.5);
    snprintf(text, size, "ETA %u:%02u", left / 60, left % 60);
}

void progress_block(struct progress *p, size_t index, const struct cell *c)
{
    p->done = index;
    p->block_ns = clock_monotonic_ns();
    char runtime[REPORT_RUNTIME_MAX], label[sizeof p->label];
    snprintf(label, sizeof label, "%.24s%s%s %.40s%s%.16s b%lld t%d", c->model,
             c->form[0] ? " " : "", c->form, report_runtime(c, runtime), c->provider[0] ? ":" : "",
             c->provider, (long long)c->batch, c->threads);
    text_utf8(label, 1, p->label, sizeof p->label);
    if (!p->shown || p->terminal)
        return;
    char eta[32];
    eta_text(p, eta, sizeof eta);
    fprintf(stderr, "block %zu of %zu: %s, %s\n", index + 1, p->count, p->label, eta);
}

/* Columns of the terminal that a line may take without being wrapped. */
static int line_columns(void)
{
    struct winsize window;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &window) || window.ws_col < 20)
        return 79;
    return window.ws_col - 1;
}

/* In place of what the terminal shows there. */
static void rewrite(const char *line)
{
    fprintf(stderr, "\r\033[K%.*s", line_columns(), line);
}

void progress_phase(void *progress, const char *phase)
{
    struct progress *p = progress;
    if (!p->shown || !p->terminal)
        return;
    char bar[BAR_CELLS + 1], eta[32], line[256];
    size_t full = p->done * BAR_CELLS / p->count;
    memset(bar, '-', BAR_CELLS);
    memset(bar, '#', full);
    bar[BAR_CELLS] = '\0';
    eta_text(p, eta, sizeof eta);
    snprintf(line, sizeof line, "[%s] %zu/%zu %s, %s: %s", bar, p->done + 1, p->count, eta, phase,
             p->label);
    rewrite(line);
}

void progress_line(const char *line, int is_news)
{
    char clean[512];
    if (!log_shows(LOG_NORMAL))
        return;
    text_utf8(line, 1, clean, sizeof clean);
    if (isatty(STDERR_FILENO))
        rewrite(clean);
    else if (is_news)
        fprintf(stderr, "%s\n", clean);
}

void progress_say(const char *what, const struct cell *c)
{
    char line[256], runtime[REPORT_RUNTIME_MAX];
    snprintf(line, sizeof line, "%s: %.60s%s%s on %.40s%s%.20s", what, c->model,
             c->form[0] ? " " : "", c->form, report_runtime(c, runtime), c->provider[0] ? ":" : "",
             c->provider);
    progress_line(line, 1);
}

void progress_wipe(void)
{
    if (log_shows(LOG_NORMAL) && isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
}

void progress_clear(const struct progress *p)
{
    if (p->shown && p->terminal)
        fprintf(stderr, "\r\033[K");
}
