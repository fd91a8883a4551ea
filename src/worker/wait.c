#include "worker/parent.h"
#include "worker/printable.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Where there is no pidfd a child's end is looked for this often while we wait. */
#define LOOK_NS (20 * NS_PER_MS)
/* At most this much log is read at a time, so that a worker that writes without end cannot keep us
 * from the clock. */
enum { LOG_READ_MAX = 256 * 1024, CHUNK = 16 * 1024 };

uint64_t wait_deadline(uint64_t timeout_ns)
{
    uint64_t now = clock_monotonic_ns();
    return timeout_ns > UINT64_MAX - now ? UINT64_MAX : now + timeout_ns;
}

static void keep_log(struct worker *w, const char *bytes, size_t size)
{
    if (size > WORKER_LOG_MAX) {
        bytes += size - WORKER_LOG_MAX;
        size = WORKER_LOG_MAX;
    }
    size_t kept = w->log_size;
    if (kept > WORKER_LOG_MAX - size)
        kept = WORKER_LOG_MAX - size;
    memmove(w->log_bytes, w->log_bytes + w->log_size - kept, kept);
    memcpy(w->log_bytes + kept, bytes, size);
    w->log_size = kept + size;
}

/* Where old bytes were dropped the text may begin inside a character. */
static size_t continuation_bytes(const struct worker *w)
{
    size_t n = 0;
    while (w->log_size == WORKER_LOG_MAX && n < 3 && (w->log_bytes[n] & 0xc0) == 0x80)
        n++;
    return n;
}

void wait_drain_log(struct worker *w)
{
    char chunk[CHUNK];
    size_t total = 0;
    while (w->log >= 0 && total < LOG_READ_MAX) {
        ssize_t n = read(w->log, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0) {
            close(w->log);
            w->log = -1;
            break;
        }
        keep_log(w, chunk, (size_t)n);
        total += (size_t)n;
    }
    size_t skip = continuation_bytes(w);
    if (total)
        printable(w->log_bytes + skip, w->log_size - skip, w->log_text);
}

static int has_ended(const struct worker *w)
{
    siginfo_t info = {0};
    int failed = waitid(P_PID, (id_t)w->pid, &info, WEXITED | WNOHANG | WNOWAIT);
    return (failed && errno == ECHILD) || (!failed && info.si_pid == w->pid);
}

static struct timespec span(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
}

enum { FD_REPLIES, FD_COMMANDS, FD_PID, FD_INTERRUPT, FD_LOG, FD_COUNT };

/* What poll found, as a set of enum wait_for. */
static int found(struct worker *w, const struct pollfd *fds, int wanted)
{
    int set = 0;
    set |= fds[FD_REPLIES].revents ? WAIT_REPLY : 0;
    set |= fds[FD_COMMANDS].revents ? WAIT_WRITE : 0;
    set |= fds[FD_PID].revents ? WAIT_EXIT : 0;
    set |= fds[FD_INTERRUPT].revents ? WAIT_INTERRUPT : 0;
    if (fds[FD_LOG].revents)
        wait_drain_log(w);
    if ((wanted & WAIT_EXIT) && w->pid_fd < 0 && has_ended(w))
        set |= WAIT_EXIT;
    return set;
}

int wait_for(struct worker *w, int wanted, uint64_t until_ns)
{
    struct pollfd fds[FD_COUNT] = {
        [FD_REPLIES] = {.fd = wanted & WAIT_REPLY ? w->replies : -1, .events = POLLIN},
        [FD_COMMANDS] = {.fd = wanted & WAIT_WRITE ? w->commands : -1, .events = POLLOUT},
        [FD_PID] = {.fd = wanted & WAIT_EXIT ? w->pid_fd : -1, .events = POLLIN},
        [FD_INTERRUPT] = {.fd = wanted & WAIT_INTERRUPT ? interrupt_fd() : -1, .events = POLLIN},
    };
    for (;;) {
        fds[FD_LOG] = (struct pollfd){.fd = w->log, .events = POLLIN};
        uint64_t now = clock_monotonic_ns();
        uint64_t left = until_ns > now ? until_ns - now : 0;
        if (w->pid_fd < 0 && left > LOOK_NS)
            left = LOOK_NS;
        struct timespec timeout = span(left < NS_PER_S * 3600 ? left : NS_PER_S * 3600);
        int n = ppoll(fds, FD_COUNT, &timeout, NULL);
        for (int i = 0; n < 0 && i < FD_COUNT; i++)
            fds[i].revents = 0;
        int set = found(w, fds, wanted);
        if (set)
            return set;
        if (clock_monotonic_ns() >= until_ns)
            return WAIT_TIME;
    }
}
