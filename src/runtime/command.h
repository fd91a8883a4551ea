/* command.h: one command run to its end, its output handed on by lines. Private to this folder. */
#ifndef WATTLE_RUNTIME_COMMAND_H
#define WATTLE_RUNTIME_COMMAND_H

#include "runtime/install.h"

enum { COMMAND_TAIL_MAX = 8192 };

/* The last of what it wrote. */
struct command_output {
    char tail[COMMAND_TAIL_MAX];
};

/* Runs argv (looked up in $PATH) in a process group of its own, stdin empty. 0 when it exits with
 * 0; ERROR_UNSUPPORTED when there is no such program, ERROR_CRASH when it fails otherwise,
 * ERROR_INTERRUPTED when o->interrupted says so: then it is ended, with all it has started. */
int command_run(const char *const *argv, const struct install_options *o,
                struct command_output *out, struct error *e);
/* The same; the command gets the descriptor `lock` too, so that what this locks stays locked as
 * long as the command lives, also when this process does not. */
int command_run_locked(const char *const *argv, const struct install_options *o, int lock,
                       struct command_output *out, struct error *e);

#endif
