#include "worker/parent.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

/* The one place with state of the whole process: signals are of the whole process too. The pipe is
 * written once and never read, so every wait that looks at it wakes from then on. */
static int pipe_fds[2] = {-1, -1};
static volatile sig_atomic_t caught;
static volatile uint64_t caught_ns;

/* A key that is held, or pressed twice, is one wish: to end and to tell what was done. */
#define AS_ONE_NS NS_PER_S

static void on_signal(int number)
{
    int saved = errno;
    if (caught && clock_monotonic_ns() - caught_ns > AS_ONE_NS) {
        signal(number, SIG_DFL); /* the user means it: die of the signal as if never caught */
        raise(number);
        return;
    }
    if (!caught) {
        caught_ns = clock_monotonic_ns();
        caught = 1;
        ssize_t n = write(pipe_fds[1], "", 1);
        (void)n;
    }
    errno = saved;
}

void worker_catch_interrupts(void)
{
    if (pipe_fds[0] >= 0 || pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK))
        return;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    struct sigaction old; /* nohup has it ignored: so it stays */
    if (!sigaction(SIGHUP, NULL, &old) && old.sa_handler != SIG_IGN)
        sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int worker_interrupted(void)
{
    return caught != 0;
}

int interrupt_fd(void)
{
    return pipe_fds[0];
}
