#include "worker/worker.h"

#include <stdio.h>
#include <string.h>

int worker_shell(const char *command, char *text, size_t size, struct error *e)
{
    if (!command[strspn(command, " \t\n")])
        return error_set(e, ERROR_USAGE, "a worker's command is empty");
    /* More than one command needs a shell that stays; the CPU time of its children is not seen. */
    const char *prefix = strpbrk(command, ";|&\n") ? "" : "exec env ";
    int length = snprintf(text, size, "%s%s", prefix, command);
    if (length < 0 || (size_t)length >= size)
        return error_set(e, ERROR_USAGE, "a worker's command of %zu bytes is too long",
                         strlen(command));
    return 0;
}
