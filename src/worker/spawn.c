#include "worker/parent.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <time.h>
#include <unistd.h>

/* Above the places 0..6 of the child, so that putting one in its place never covers another. */
enum { FIRST_FREE_FD = 16, ENVIRONMENT_MAX = 4 << 20, READ_SLACK = 64 * 1024 };

/* The child's ends, closed here once it runs. */
struct ends {
    int commands, replies, log, null;
};

static void close_ends(struct ends *ends)
{
    int *fds[] = {&ends->commands, &ends->replies, &ends->log, &ends->null};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
}

static int raise_fd(int low)
{
    int fd = fcntl(low, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    int saved = errno;
    close(low);
    errno = saved;
    return fd;
}

/* A pipe whose end on our side (0 reads, 1 writes) does not block. */
static int open_pipe(int our_side, int *ours, int *theirs, struct error *e)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC))
        return error_errno(e, errno, "cannot make a pipe for a worker");
    *ours = raise_fd(fds[our_side]);
    *theirs = raise_fd(fds[!our_side]);
    if (*ours < 0 || *theirs < 0 || fcntl(*ours, F_SETFL, O_NONBLOCK))
        return error_errno(e, errno, "cannot make a pipe for a worker");
    return 0;
}

static int open_pipes(struct worker *w, struct ends *ends, struct error *e)
{
    int code = open_pipe(1, &w->commands, &ends->commands, e);
    if (!code)
        code = open_pipe(0, &w->replies, &ends->replies, e);
    if (!code)
        code = open_pipe(0, &w->log, &ends->log, e);
    if (code)
        return code;
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ends->null = null < 0 ? -1 : raise_fd(null);
    return ends->null < 0 ? error_errno(e, errno, "cannot open /dev/null") : 0;
}

static int place(const struct worker *w, const struct ends *ends, posix_spawn_file_actions_t *a)
{
    const struct {
        int from, to;
    } places[] = {{ends->null, STDIN_FILENO},          {ends->log, STDOUT_FILENO},
                  {ends->log, STDERR_FILENO},          {ends->commands, WATTLE_FD_COMMANDS},
                  {ends->replies, WATTLE_FD_REPLIES},  {w->ring_fd, WATTLE_FD_RING},
                  {w->tensor_fd, WATTLE_FD_TENSORS}};
    int failed = 0;
    for (size_t i = 0; !failed && i < sizeof places / sizeof *places; i++)
        failed = posix_spawn_file_actions_adddup2(a, places[i].from, places[i].to);
    return failed ? failed : posix_spawn_file_actions_addclosefrom_np(a, WATTLE_FD_TENSORS + 1);
}

static int set_attributes(posix_spawnattr_t *a)
{
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    short flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP;
    int failed = posix_spawnattr_setsigdefault(a, &all);
    failed = failed ? failed : posix_spawnattr_setsigmask(a, &none);
    failed = failed ? failed : posix_spawnattr_setpgroup(a, 0);
    return failed ? failed : posix_spawnattr_setflags(a, flags);
}

static int spawn(struct worker *w, const struct ends *ends, const char *const *argv, char **envp,
                 struct error *e)
{
    static const char *const self[] = {"wattle", "worker", NULL};
    const char *program = argv ? argv[0] : "/proc/self/exe";
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    if (posix_spawn_file_actions_init(&actions))
        return error_memory(e);
    if (posix_spawnattr_init(&attributes)) {
        posix_spawn_file_actions_destroy(&actions);
        return error_memory(e);
    }
    int failed = place(w, ends, &actions);
    failed = failed ? failed : set_attributes(&attributes);
    failed = failed ? failed
                    : posix_spawnp(&w->pid, program, &actions, &attributes,
                                   (char *const *)(argv ? argv : self), envp);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (!failed)
        return 0;
    w->pid = 0;
    return error_errno(e, failed, "cannot start worker '%.200s'", program);
}

static struct worker *blank(const struct worker_spec *spec)
{
    struct worker *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->pid_fd = w->commands = w->replies = w->log = w->ring_fd = w->tensor_fd = -1;
    w->stop_timeout_ns = spec->stop_timeout_ns;
    w->stored = UINT64_MAX;
    buffer_init(&w->line, WATTLE_LINE_MAX + READ_SLACK);
    return w;
}

static int start(struct worker *w, const struct worker_spec *spec, struct ends *ends,
                 struct error *e)
{
    struct arena arena;
    char **envp;
    arena_init(&arena, ENVIRONMENT_MAX);
    int code = environment_make(spec->environment, &arena, &envp, &w->environment, e);
    if (!code)
        code = memory_open(w, spec->ring_capacity, e);
    if (!code)
        code = open_pipes(w, ends, e);
    if (!code) {
        w->oom_kills = ending_oom_kills();
        code = spawn(w, ends, spec->argv, envp, e);
    }
    if (!code)
        w->pid_fd = pidfd_open(w->pid, 0);
    arena_release(&arena);
    return code;
}

int worker_start(const struct worker_spec *spec, struct worker **out, struct error *e)
{
    *out = NULL;
    if (spec->argv && !spec->argv[0])
        return error_set(e, ERROR_USAGE, "a worker's command is empty");
    struct worker *w = blank(spec);
    if (!w)
        return error_memory(e);
    struct ends ends = {-1, -1, -1, -1};
    int code = start(w, spec, &ends, e);
    close_ends(&ends);
    if (code) {
        worker_free(w);
        return code;
    }
    *out = w;
    return 0;
}

json_t *worker_environment(const struct worker *w)
{
    return w->environment;
}

pid_t worker_pid(const struct worker *w)
{
    return w->pid;
}

/* Of the processes that it started and has waited for, to a clock tick. */
static uint64_t children_cpu_ns(pid_t pid)
{
    enum { SKIPPED = 13 }; /* state .. stime, before cutime and cstime */
    char path[32], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        fclose(f);
    text[n] = '\0';
    const char *at = strrchr(text, ')'); /* a name may hold blanks and brackets */
    long hertz = sysconf(_SC_CLK_TCK);
    if (!at || hertz <= 0)
        return 0;
    at++;
    for (int i = 0; i < SKIPPED; i++) {
        at += strspn(at, " ");
        at += strcspn(at, " ");
    }
    char *end;
    uint64_t ticks = strtoull(at, &end, 10);
    ticks += strtoull(end, NULL, 10);
    return ticks * (NS_PER_S / (uint64_t)hertz);
}

uint64_t worker_cpu_ns(void *worker)
{
    const struct worker *w = worker;
    clockid_t clock;
    struct timespec t;
    if (w->exit.ended || clock_getcpuclockid(w->pid, &clock) || clock_gettime(clock, &t))
        return 0;
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec + children_cpu_ns(w->pid);
}

const char *worker_log(const struct worker *w)
{
    return w->log_text;
}
