/* found_devices.c: the devices that an installation can use. Its library is asked, in a process of
 * its own: loading one may crash, hang or start threads, and stays for as long as its process. */
#include "runtime/found.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_MS = 5000 };

/* Silent, without a core dump, gone with its parent. */
static void set_up_child(void)
{
    const struct rlimit none = {0, 0};
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3 && null >= 0; fd++)
        dup2(null, fd);
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static void child(const struct found *f, int fd)
{
    char text[FOUND_DEVICES_MAX];
    struct error e = {0};
    set_up_child();
    if (f->adapter->devices(f->library, text, sizeof text, &e))
        snprintf(text, sizeof text, "not known: %.*s", FOUND_DEVICES_MAX - 16, e.text);
    ssize_t n = write(fd, text, strlen(text));
    _exit(n < 0);
}

/* Until the other end is closed; -1 when that takes too long. */
static int read_all(int fd, char *text, size_t size)
{
    size_t used = 0;
    uint64_t until_ns = clock_monotonic_ns() + PATIENCE_MS * NS_PER_MS;
    for (;;) {
        uint64_t now_ns = clock_monotonic_ns();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (now_ns >= until_ns)
            return -1;
        if (poll(&p, 1, (int)((until_ns - now_ns) / NS_PER_MS) + 1) <= 0)
            continue;
        ssize_t n = read(fd, text + used, size - 1 - used);
        if (n <= 0 && errno != EINTR)
            break;
        used += n > 0 ? (size_t)n : 0;
    }
    text[used] = '\0';
    return 0;
}

static void ask(const struct found *f, char text[FOUND_DEVICES_MAX])
{
    int fds[2], status = 0, late = 0;
    pid_t pid = pipe2(fds, O_CLOEXEC) ? -2 : fork();
    if (pid == 0)
        child(f, fds[1]);
    if (pid != -2)
        close(fds[1]);
    if (pid > 0) {
        late = read_all(fds[0], text, FOUND_DEVICES_MAX);
        kill(pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            continue;
    }
    if (pid != -2)
        close(fds[0]);
    if (pid < 0)
        snprintf(text, FOUND_DEVICES_MAX, "not known: its library cannot be asked");
    else if (late)
        snprintf(text, FOUND_DEVICES_MAX, "not known: its library does not answer");
    else if (!*text)
        snprintf(text, FOUND_DEVICES_MAX, "not known: its library crashes when it is asked");
}

int found_devices(const struct found *f, char text[FOUND_DEVICES_MAX])
{
    text[0] = '\0';
    if (!f->usable || !f->adapter->devices)
        return 0;
    ask(f, text);
    return 1;
}
