/* install_job.h: what one call of install, remove or link works on. Private to this folder. */
#ifndef WATTLE_RUNTIME_INSTALL_JOB_H
#define WATTLE_RUNTIME_INSTALL_JOB_H

#include "runtime/install.h"
#include "runtime/locate.h"

#include <jansson.h>

struct install_job {
    const struct package *package;
    const struct install_options *options;
    char version[LOCATE_VERSION_MAX];
    char home[PATH_MAX];               /* $WATTLE_HOME/runtimes */
    char prefix[PATH_MAX], partial[PATH_MAX];
    int lock;                          /* -1 unless held */
    json_t *commands;                  /* that were run */
};

void install_tell(const struct install_options *o, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A command as one would type it; NULL-terminated. */
void install_tell_command(const struct install_options *o, const char *const *words);

/* pip.c: makes a virtual environment in j->partial and has pip install the package there; with
 * dry_run the commands are told. Failures are explained, with what to do. */
int pip_fill(struct install_job *j, struct error *e);

#endif
