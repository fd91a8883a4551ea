#include "worker/parent.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_STOP_NS (5 * NS_PER_S)
/* After SIGKILL only the kernel can hold a process up (a device, a network file system). */
#define KILLED_NS (5 * NS_PER_S)

/* The system's count of processes it killed for memory: of all control groups, so that it also
 * tells when the group's own file is hidden in a container. 0 when it cannot be read. */
uint64_t ending_oom_kills(void)
{
    uint64_t kills = 0;
    char line[128];
    FILE *f = fopen("/proc/vmstat", "re");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "oom_kill ", 9))
            kills = strtoull(line + 9, NULL, 10);
    if (f)
        fclose(f);
    return kills;
}

void ending_reason(int status, uint64_t oom_kills_before, uint64_t oom_kills_after,
                   const char *kill_reason, struct worker_exit *exit)
{
    exit->ended = 1;
    exit->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    exit->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (kill_reason[0])
        snprintf(exit->reason, sizeof exit->reason, "killed by wattle: %s", kill_reason);
    else if (WIFEXITED(status))
        snprintf(exit->reason, sizeof exit->reason, "exit status %d", exit->status);
    else if (exit->signal == SIGKILL && oom_kills_after > oom_kills_before)
        snprintf(exit->reason, sizeof exit->reason,
                 "killed by signal 9 (Killed): the system killed processes for want of memory");
    else
        snprintf(exit->reason, sizeof exit->reason, "killed by signal %d (%s)", exit->signal,
                 strsignal(exit->signal));
}

static uint64_t time_ns(struct timeval t)
{
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_usec * NS_PER_US;
}

/* What is left of its process group ends with it: the number cannot be another group's, since the
 * dead leader still holds it. */
static void reap(struct worker *w)
{
    int status;
    struct rusage usage;
    kill(-w->pid, SIGKILL);
    pid_t pid;
    do
        pid = wait4(w->pid, &status, 0, &usage);
    while (pid < 0 && errno == EINTR);
    wait_drain_log(w);
    if (pid != w->pid) {
        w->exit.ended = 1;
        w->exit.status = -1;
        snprintf(w->exit.reason, sizeof w->exit.reason, "ended, its exit status is lost: %s",
                 strerror(errno));
        return;
    }
    w->exit.user_ns = time_ns(usage.ru_utime);
    w->exit.system_ns = time_ns(usage.ru_stime);
    ending_reason(status, w->oom_kills, WIFSIGNALED(status) ? ending_oom_kills() : 0,
                  w->kill_reason, &w->exit);
}

/* A worker that still writes replies must not be held up by a full pipe while it is to end. */
static void discard_replies(struct worker *w)
{
    char chunk[4096];
    ssize_t n;
    do
        n = read(w->replies, chunk, sizeof chunk);
    while (n > 0 || (n < 0 && errno == EINTR));
    if (n == 0) {
        close(w->replies);
        w->replies = -1;
    }
}

int ending_reap(struct worker *w, uint64_t until_ns)
{
    while (!w->exit.ended) {
        int set = wait_for(w, WAIT_EXIT | WAIT_REPLY, until_ns);
        if (set & WAIT_REPLY)
            discard_replies(w);
        if (set & WAIT_EXIT)
            reap(w);
        else if (set & WAIT_TIME)
            break;
    }
    return w->exit.ended;
}

void ending_kill(struct worker *w, int timed_out, const char *why)
{
    if (w->exit.ended)
        return;
    snprintf(w->kill_reason, sizeof w->kill_reason, "%s", why);
    w->exit.timed_out = timed_out;
    kill(-w->pid, SIGKILL);
    if (!ending_reap(w, wait_deadline(KILLED_NS)))
        snprintf(w->exit.reason, sizeof w->exit.reason,
                 "does not end after SIGKILL: the kernel holds process %d", (int)w->pid);
}

static void close_commands(struct worker *w)
{
    if (w->commands >= 0)
        close(w->commands);
    w->commands = -1;
}

/* A worker that owes a reply is at work and would read "quit" only after it. */
static void ask_to_quit(struct worker *w, uint64_t until_ns)
{
    struct error ignored;
    if (w->op[0] || w->commands < 0 || worker_send(w, json_pack("{s:s}", "op", "quit"), &ignored))
        return;
    ending_reap(w, until_ns);
}

void worker_stop(struct worker *w, struct worker_exit *exit)
{
    uint64_t half_ns = (w->stop_timeout_ns ? w->stop_timeout_ns : DEFAULT_STOP_NS) / 2;
    if (!w->exit.ended)
        ask_to_quit(w, wait_deadline(half_ns));
    close_commands(w);
    if (!w->exit.ended) {
        kill(-w->pid, SIGTERM);
        ending_reap(w, wait_deadline(half_ns));
    }
    char why[64];
    snprintf(why, sizeof why, "did not stop within %.3g s", (double)(2 * half_ns) / 1e9);
    ending_kill(w, 1, why);
    if (exit)
        *exit = w->exit;
}

void worker_free(struct worker *w)
{
    if (!w)
        return;
    if (w->pid > 0)
        worker_stop(w, NULL);
    close_commands(w);
    int fds[] = {w->replies, w->log, w->pid_fd};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    memory_close(w);
    json_decref(w->environment);
    buffer_release(&w->line);
    free(w);
}
