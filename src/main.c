#include "base/buffer.h"
#include "base/log.h"
#include "base/text.h"
#include "cmd/cmd.h"
#include "worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* "wattle run resnet50 -b 1", for the record; cut to fit. */
static void join_arguments(const struct command *c, int argc, char **argv, struct buffer *b)
{
    buffer_format(b, "wattle %s", c->name);
    for (int i = 0; i < argc; i++)
        buffer_format(b, " %s", argv[i]);
}

static int run_command(const struct command *c, int argc, char **argv, struct error *e)
{
    struct option_spec specs[COMMAND_OPTION_MAX];
    struct option_list options;
    struct buffer typed;
    size_t count = command_options(c, specs);
    if (options_parse(specs, count, argc, argv, 0, &options, e))
        return 0;
    if (command_check_lists(&options, e)) {
        options_release(&options);
        return 0;
    }
    buffer_init(&typed, 4096);
    join_arguments(c, argc, argv, &typed);
    options.command = buffer_string(&typed);
    if (options_given(&options, OPTION_QUIET))
        log_set_level(LOG_QUIET);
    else if (options_given(&options, OPTION_VERBOSE))
        log_set_level(LOG_VERBOSE);
    int code = 0;
    if (options_given(&options, OPTION_HELP))
        command_help(c, stdout);
    else
        code = c->run(&options, e);
    options_release(&options);
    buffer_release(&typed);
    return code;
}

static int unknown_command(const char *name, struct error *e)
{
    size_t count, n = 0;
    const char *names[32];
    const struct command *all = command_all(&count);
    for (size_t i = 0; i < count; i++)
        if (!all[i].hidden)
            names[n++] = all[i].name;
    const char *nearest = text_nearest(name, names, n);
    error_set(e, ERROR_USAGE, "unknown command '%s'", name);
    if (nearest)
        return error_hint(e, "did you mean 'wattle %s'?", nearest);
    return error_hint(e, "wattle --help lists the commands");
}

static void help_of(const char *name, struct error *e)
{
    const struct command *c = command_find(name);
    if (c)
        command_help(c, stdout);
    else
        unknown_command(name, e);
}

static int dispatch(int argc, char **argv, struct error *e)
{
    const char *name = argc > 1 ? argv[1] : "doctor";
    const struct command *c = command_find(name);
    if (c)
        return run_command(c, argc > 1 ? argc - 2 : 0, argv + 2, e);
    if (!strcmp(name, "--version"))
        puts("wattle " WATTLE_VERSION);
    else if (!strcmp(name, "help") && argc > 2)
        help_of(argv[2], e);
    else if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help"))
        command_overview(stdout);
    else if (name[0] == '-') /* options of the default command: wattle --sysroot DIR */
        return run_command(command_find("doctor"), argc - 1, argv + 1, e);
    else
        unknown_command(name, e);
    return 0;
}

/* Whether the reader of stdout is gone, as head and true are. What could not be written is in no
 * buffer any more, so that the last error may be none. */
static int is_reader_gone(int number)
{
    struct pollfd out = {.fd = STDOUT_FILENO};
    return number == EPIPE || (!number && poll(&out, 1, 0) == 1 && (out.revents & POLLERR));
}

/* A result that did not reach stdout must not look like success. Without a reader the end is that
 * of any program in a pipe: SIGPIPE, unless its starter had that ignored. */
static int check_stdout(int code, void (*on_pipe)(int), struct error *e)
{
    errno = 0;
    if (!fflush(stdout) && !ferror(stdout))
        return code;
    int number = errno, is_gone = is_reader_gone(number);
    if (is_gone && code)
        return code; /* a failure that was told */
    if (is_gone && on_pipe == SIG_DFL) {
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
    error_errno(e, is_gone ? EPIPE : number ? number : EIO, "cannot write to stdout");
    log_error(e);
    return 1;
}

/* What is opened later must not become stderr by accident, where messages would go into it. */
static void open_if_closed(int fd)
{
    if (fcntl(fd, F_GETFD) >= 0)
        return;
    int null = open("/dev/null", O_RDWR);
    if (null >= 0 && null != fd) {
        dup2(null, fd);
        close(null);
    }
}

int main(int argc, char **argv)
{
    struct error e = {0};
    setlocale(LC_CTYPE, ""); /* for the table's characters; numbers keep the C locale */
    open_if_closed(STDIN_FILENO);
    if (fcntl(STDOUT_FILENO, F_GETFD) < 0) {
        error_set(&e, ERROR_IO, "stdout is closed: there is nowhere to put the result");
        log_error(&e);
        return 1;
    }
    open_if_closed(STDERR_FILENO);
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is then an error like a full disk */
    struct sigaction on_pipe = {.sa_handler = SIG_DFL};
    sigaction(SIGPIPE, NULL, &on_pipe);
    worker_catch_interrupts();
    int code = dispatch(argc, argv, &e);
    if (e.code) {
        log_error(&e);
        if (!code)
            code = exit_code_of(&e);
    }
    return check_stdout(code, on_pipe.sa_handler, &e);
}

int exit_code_of(const struct error *e)
{
    switch (e->code) {
    case ERROR_NONE: return 0;
    case ERROR_USAGE: return 2;
    case ERROR_MISMATCH: return 5;
    case ERROR_INTERRUPTED: return 130;
    default: return 1;
    }
}
