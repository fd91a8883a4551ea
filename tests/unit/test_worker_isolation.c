/* What a worker gets of its starter (the recorded environment and seven descriptors) and what it
 * does not; that it ends when its starter ends; interrupts. */
#include "worker_help.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static json_t *quick(void)
{
    return json_pack("{s:s,s:s}", "work", "none", "latency_us", "10");
}

static size_t read_proc(pid_t pid, const char *file, char *text, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(text, 1, size - 1, f);
    fclose(f);
    text[n] = '\0';
    return n;
}

static void environment_is_the_recorded_one(void **context)
{
    (void)context;
    setenv("OMP_NUM_THREADS", "99", 1);
    setenv("WATTLE_STRAY", "1", 1);
    setenv("LC_TIME", "C", 1);
    setenv("LC_NAME", "bad \xff byte", 1);
    setenv("TMPDIR", "/somewhere", 1);
    setenv("CUDA_VISIBLE_DEVICES", "1", 1);
    setenv("CUDA_LAUNCH_BLOCKING", "1", 1);
    struct worker *w = start(NULL, json_pack("{s:s,s:s,s:s}", "OMP_WAIT_POLICY", "passive",
                                             "TMPDIR", "/else=where", "EMPTY", ""), 0);
    hello(w);
    json_t *record = worker_environment(w);
    static char text[1 << 16];
    size_t size = read_proc(worker_pid(w), "environ", text, sizeof text), count = 0;
    for (char *p = text; p < text + size; p += strlen(p) + 1) {
        char *equals = strchr(p, '=');
        assert_non_null(equals);
        *equals = '\0';
        const char *value = json_string_value(json_object_get(record, p));
        assert_non_null(value);
        assert_string_equal(value, strcmp(p, "LC_NAME") ? equals + 1 : "bad ? byte");
        p = equals + 1;
        count++;
    }
    assert_int_equal(count, json_object_size(record));
    assert_null(json_object_get(record, "OMP_NUM_THREADS"));
    assert_null(json_object_get(record, "WATTLE_STRAY"));
    assert_null(json_object_get(record, "CUDA_LAUNCH_BLOCKING"));
    assert_string_equal(json_string_value(json_object_get(record, "CUDA_VISIBLE_DEVICES")), "1");
    assert_string_equal(json_string_value(json_object_get(record, "TMPDIR")), "/else=where");
    assert_string_equal(json_string_value(json_object_get(record, "OMP_WAIT_POLICY")), "passive");
    assert_string_equal(json_string_value(json_object_get(record, "LC_TIME")), "C");
    assert_string_equal(json_string_value(json_object_get(record, "WATTLE_FD_RING")), "5");
    assert_non_null(json_object_get(record, "PATH"));
    worker_free(w);
    unsetenv("LC_NAME");
    unsetenv("CUDA_VISIBLE_DEVICES");
    unsetenv("CUDA_LAUNCH_BLOCKING");
}

static void environment_must_be_texts(void **context)
{
    (void)context;
    json_t *bad[] = {json_pack("{s:i}", "X", 1), json_pack("{s:s}", "A=B", "1"),
                     json_pack("{s:s}", "", "1"), json_pack("{s:o}", "X", json_stringn("a\0b", 3))};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct worker *w;
        struct worker_spec spec = {.environment = bad[i]};
        assert_non_null(bad[i]);
        assert_code(worker_start(&spec, &w, &err), ERROR_USAGE);
        assert_null(w);
        json_decref(bad[i]);
    }
}

static void link_of(pid_t pid, int fd, char text[256])
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, fd);
    ssize_t n = readlink(path, text, 255);
    assert_true(n > 0);
    text[n] = '\0';
}

static void only_seven_descriptors(void **context)
{
    (void)context;
    int stray[] = {dup2(STDERR_FILENO, 7), dup2(STDERR_FILENO, 40), dup2(STDERR_FILENO, 200)};
    struct worker *other = start_fake(quick(), NULL, 0);
    struct worker *w = start(NULL, NULL, 0);
    hello(w);
    char path[64], text[256], again[256];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)worker_pid(w));
    DIR *d = opendir(path);
    assert_non_null(d);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(d));)
        if (entry->d_name[0] != '.') {
            assert_in_range(strtol(entry->d_name, NULL, 10), 0, 6);
            count++;
        }
    closedir(d);
    assert_int_equal(count, 7);
    link_of(worker_pid(w), 0, text);
    assert_string_equal(text, "/dev/null");
    link_of(worker_pid(w), 1, text);
    link_of(worker_pid(w), 2, again);
    assert_string_equal(text, again);
    assert_in(text, "pipe:");
    link_of(worker_pid(w), 5, text);
    assert_in(text, "wattle-ring");
    worker_free(w);
    worker_free(other);
    for (size_t i = 0; i < sizeof stray / sizeof *stray; i++)
        close(stray[i]);
}

static int open_descriptors(void)
{
    int count = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d))
        count++;
    closedir(d);
    return count;
}

static void nothing_is_left_open(void **context)
{
    (void)context;
    int before = open_descriptors();
    for (int i = 0; i < 5; i++) {
        struct worker *w;
        struct worker_spec missing = {.argv = (const char *const[]){"./missing", NULL}};
        assert_code(worker_start(&missing, &w, &err), ERROR_IO);
        w = start_fake(json_pack("{s:s}", "crash_at_run", i % 2 ? "1" : "0"), NULL, 0);
        json_t *reply = NULL;
        worker_call(w, op("first"), PATIENCE_NS, &reply, &err);
        json_decref(reply);
        worker_free(w);
    }
    assert_int_equal(open_descriptors(), before);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombies either */
    assert_int_equal(errno, ECHILD);
}

static unsigned long long signal_set(const char *status, const char *name)
{
    const char *line = strstr(status, name);
    assert_non_null(line);
    return strtoull(line + strlen(name), NULL, 16);
}

static void signals_and_group_are_fresh(void **context)
{
    (void)context;
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, &old);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    struct worker *w = start(NULL, NULL, 0);
    hello(w);
    char status[8192];
    read_proc(worker_pid(w), "status", status, sizeof status);
    assert_int_equal(signal_set(status, "SigBlk:"), 0);
    unsigned long long internal = 3ull << 31; /* 32 and 33: the C library's own, for threads */
    assert_int_equal(signal_set(status, "SigIgn:") & ~internal, 0);
    assert_int_equal(getpgid(worker_pid(w)), worker_pid(w));
    worker_free(w);
    signal(SIGHUP, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &old, NULL);
}

/* --- a starter that dies ---------------------------------------------------------------------- */

/* In a process of its own: starts a worker, sends it into a run, tells its pid and sleeps. */
static pid_t starter(const char *const *argv, pid_t *worker)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct worker *w = argv ? start(argv, NULL, 0)
                                : start_fake(json_pack("{s:s}", "hang_at_run", "1"), NULL, 0);
        pid_t started = worker_pid(w);
        json_t *reply;
        if (argv)
            worker_call(w, op("first"), PATIENCE_NS, &reply, &err);
        else
            worker_send(w, op("first"), &err);
        ssize_t n = write(fds[1], &started, sizeof started);
        pause();
        _exit(n < 0);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], worker, sizeof *worker), sizeof *worker);
    close(fds[0]);
    return pid;
}

/* The wait status of the orphan, which comes to us as the subreaper. */
static int orphan_status(pid_t pid)
{
    int status;
    for (int i = 0; i < 500; i++) {
        if (waitpid(pid, &status, WNOHANG) == pid)
            return status;
        usleep(10000);
    }
    fail_msg("worker %d outlived its starter", (int)pid);
    return -1;
}

static void worker_dies_with_its_starter(void **context)
{
    (void)context;
    pid_t worker, pid = starter(NULL, &worker);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    int status = orphan_status(worker);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void others_see_the_pipe_end(void **context)
{
    (void)context;
    const char *argv[] = {"sh", "-c", "read -r line <&3; echo '{\"ok\":true}' >&4;"
                          "read -r line <&3 || exit 9", NULL};
    pid_t worker, pid = starter(argv, &worker);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    int status = orphan_status(worker);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 9);
}

static void not_started_by_wattle(void **context)
{
    (void)context;
    pid_t pid = fork();
    if (pid == 0) {
        for (int fd = 3; fd < 30; fd++)
            close(fd);
        dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
        close(3);
        _exit(worker_child_main());
    }
    int status;
    waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 2);
}

/* --- interrupts ------------------------------------------------------------------------------- */

static void interrupt(void *context)
{
    (void)context;
    kill(getpid(), SIGINT);
}

/* The last interrupt ends the process; one soon after the first is the same wish. */
static void interrupted_starter(void)
{
    worker_catch_interrupts();
    worker_catch_interrupts();
    if (worker_interrupted())
        _exit(1);
    struct worker *w = start_fake(json_pack("{s:s}", "hang_at_run", "1"), NULL, 0);
    json_t *reply;
    if (worker_send(w, op("first"), &err))
        _exit(2);
    if (worker_receive(w, PATIENCE_NS, MS(20), interrupt, NULL, &reply, &err) != ERROR_INTERRUPTED)
        _exit(3);
    if (!worker_interrupted() || err.code != ERROR_INTERRUPTED)
        _exit(4);
    uint64_t begin = clock_monotonic_ns();
    kill(getpid(), SIGINT);
    struct worker_exit end;
    worker_stop(w, &end);
    if (!end.ended || clock_monotonic_ns() - begin > NS_PER_S)
        _exit(5);
    worker_free(w);
    kill(getpid(), SIGINT);
    clock_sleep_until_ns(begin + NS_PER_S + MS(200));
    kill(getpid(), SIGINT);
    _exit(6);
}

static void interrupts(void **context)
{
    (void)context;
    uint64_t begin = clock_monotonic_ns();
    pid_t pid = fork();
    if (pid == 0)
        interrupted_starter();
    int status;
    waitpid(pid, &status, 0);
    if (WIFEXITED(status))
        fail_msg("step %d failed", WEXITSTATUS(status));
    assert_int_equal(WTERMSIG(status), SIGINT);
    assert_true(clock_monotonic_ns() - begin < 5 * NS_PER_S);
}

int main(int argc, char **argv)
{
    WORKER_MAIN
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(environment_is_the_recorded_one),
        cmocka_unit_test(environment_must_be_texts),
        cmocka_unit_test(only_seven_descriptors),
        cmocka_unit_test(nothing_is_left_open),
        cmocka_unit_test(signals_and_group_are_fresh),
        cmocka_unit_test(worker_dies_with_its_starter),
        cmocka_unit_test(others_see_the_pipe_end),
        cmocka_unit_test(not_started_by_wattle),
        cmocka_unit_test(interrupts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
