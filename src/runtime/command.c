#include "runtime/command.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LINE_MAX_SHOWN = 400, POLL_MS = 200, GRACE_MS = 3000, LOCK_FD = 3 };

extern char **environ;

struct command {
    pid_t pid;
    int fd;                    /* its stdout and stderr */
    int lock;                  /* handed to it; -1: none */
    char line[LINE_MAX_SHOWN]; /* not ended yet */
    size_t used;
    struct command_output *out;
    const struct install_options *options;
};

static void keep_tail(struct command_output *out, const char *line)
{
    size_t used = strlen(out->tail), size = strlen(line) + 1;
    if (used + size >= sizeof out->tail) {
        size_t drop = used + size + 1 - sizeof out->tail;
        drop = drop > used ? used : drop;
        memmove(out->tail, out->tail + drop, used - drop + 1);
        used -= drop;
    }
    snprintf(out->tail + used, sizeof out->tail - used, "%s\n", line);
}

static void end_line(struct command *c)
{
    c->line[c->used] = '\0';
    if (c->used > 0) {
        keep_tail(c->out, c->line);
        if (c->options->tell)
            c->options->tell(c->options->context, c->line);
    }
    c->used = 0;
}

/* A terminal must not obey what a program on the network's word prints. */
static void take_bytes(struct command *c, const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char b = (unsigned char)bytes[i];
        if (b == '\n' || b == '\r')
            end_line(c);
        else if (c->used + 1 < sizeof c->line)
            c->line[c->used++] = b < 0x20 || b == 0x7f ? ' ' : (char)b;
    }
}

static int set_up(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes, int fd,
                  int lock)
{
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    int failed = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    failed = failed ? failed : posix_spawn_file_actions_adddup2(actions, fd, STDOUT_FILENO);
    failed = failed ? failed : posix_spawn_file_actions_adddup2(actions, fd, STDERR_FILENO);
    if (!failed && lock >= 0)
        failed = posix_spawn_file_actions_adddup2(actions, lock, LOCK_FD);
    failed = failed ? failed
                    : posix_spawn_file_actions_addclosefrom_np(actions, LOCK_FD + (lock >= 0));
    failed = failed ? failed : posix_spawnattr_setsigdefault(attributes, &all);
    failed = failed ? failed : posix_spawnattr_setsigmask(attributes, &none);
    failed = failed ? failed : posix_spawnattr_setpgroup(attributes, 0);
    return failed ? failed
                  : posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGDEF |
                                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
}

/* Settings of the user's own Python that would put packages elsewhere, or take them from there. */
static int is_foreign(const char *variable)
{
    static const char *const names[] = {"PYTHONPATH=", "PYTHONHOME=", "PIP_TARGET=", "PIP_PREFIX=",
                                        "PIP_USER=", "PIP_ROOT="};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strncmp(variable, names[i], strlen(names[i])))
            return 1;
    return 0;
}

/* This process's environment without those; NULL without memory. The strings are borrowed. */
static char **own_environment(void)
{
    size_t count = 0, kept = 0;
    while (environ[count])
        count++;
    char **list = calloc(count + 1, sizeof *list);
    for (size_t i = 0; list && i < count; i++)
        if (!is_foreign(environ[i]))
            list[kept++] = environ[i];
    return list;
}

static int spawn(struct command *c, const char *const *argv, int fd, struct error *e)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    if (posix_spawn_file_actions_init(&actions))
        return error_memory(e);
    if (posix_spawnattr_init(&attributes)) {
        posix_spawn_file_actions_destroy(&actions);
        return error_memory(e);
    }
    char **variables = own_environment();
    int failed = variables ? set_up(&actions, &attributes, fd, c->lock) : ENOMEM;
    if (!failed)
        failed = posix_spawnp(&c->pid, argv[0], &actions, &attributes, (char *const *)argv,
                              variables);
    free(variables);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (failed == ENOENT)
        return error_set(e, ERROR_UNSUPPORTED, "there is no program '%.200s'", argv[0]);
    return failed ? error_errno(e, failed, "cannot start '%.200s'", argv[0]) : 0;
}

/* First as Ctrl-C would, so that it can tidy up; then for good, with everything in its group. */
static void put_down(struct command *c)
{
    uint64_t until_ns = clock_monotonic_ns() + GRACE_MS * NS_PER_MS;
    int status;
    kill(-c->pid, SIGINT);
    while (waitpid(c->pid, &status, WNOHANG) == 0 && clock_monotonic_ns() < until_ns)
        clock_sleep_until_ns(clock_monotonic_ns() + 20 * NS_PER_MS);
    kill(-c->pid, SIGKILL);
    waitpid(c->pid, &status, 0);
}

static int is_interrupted(const struct command *c)
{
    return c->options->interrupted && c->options->interrupted();
}

/* Reads until the other end is closed; -1 when interrupted. */
static int relay(struct command *c)
{
    char bytes[4096];
    for (;;) {
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        int ready = poll(&p, 1, POLL_MS);
        if (is_interrupted(c))
            return -1;
        if (ready <= 0)
            continue;
        ssize_t n = read(c->fd, bytes, sizeof bytes);
        if (n > 0)
            take_bytes(c, bytes, (size_t)n);
        else if (n == 0 || (errno != EINTR && errno != EAGAIN))
            break;
    }
    end_line(c);
    return 0;
}

static int judge(int status, const char *program, struct error *e)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (WIFSIGNALED(status))
        return error_set(e, ERROR_CRASH, "%.200s was killed by signal %d (%s)", program,
                         WTERMSIG(status), strsignal(WTERMSIG(status)));
    return error_set(e, ERROR_CRASH, "%.200s failed with exit status %d", program,
                     WEXITSTATUS(status));
}

int command_run(const char *const *argv, const struct install_options *o,
                struct command_output *out, struct error *e)
{
    return command_run_locked(argv, o, -1, out, e);
}

int command_run_locked(const char *const *argv, const struct install_options *o, int lock,
                       struct command_output *out, struct error *e)
{
    struct command c = {.out = out, .options = o, .lock = lock};
    int fds[2], status = 0;
    out->tail[0] = '\0';
    if (pipe2(fds, O_CLOEXEC))
        return error_errno(e, errno, "cannot make a pipe");
    c.fd = fds[0];
    int result = spawn(&c, argv, fds[1], e);
    close(fds[1]);
    if (!result && relay(&c)) {
        put_down(&c);
        result = error_set(e, ERROR_INTERRUPTED, "interrupted");
    } else if (!result) {
        while (waitpid(c.pid, &status, 0) < 0 && errno == EINTR)
            continue;
        result = judge(status, argv[0], e);
    }
    close(c.fd);
    return result;
}
