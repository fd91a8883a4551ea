/* install.h: packages put into folders of their own below $WATTLE_HOME/runtimes by Python's venv and
 * pip, taken away again, and links to what a user has.
 *
 * A prefix NAME-VERSION is a virtual environment without pip in it, with wattle.json (what it is, how
 * it was made, a SHA-256 of each file) and pip's own report. It is made in a hidden folder beside
 * and renamed when all is well; found_search does not see hidden folders. One lock file keeps two
 * programs from working at once.
 */
#ifndef WATTLE_RUNTIME_INSTALL_H
#define WATTLE_RUNTIME_INSTALL_H

#include "base/error.h"
#include "runtime/packages.h"

#include <limits.h>

struct install_options {
    int dry_run;                          /* tell the commands and do nothing */
    const char *const *arguments;         /* for pip install, NULL-terminated; NULL: none */
    int (*interrupted)(void);             /* asked five times a second; NULL: never */
    void (*tell)(void *context, const char *line); /* progress and dry commands */
    void *context;
};

/* version "" is the pinned one. *changed is 0 when it was there already; prefix is where it is. */
int install_package(const struct package *p, const char *version, const struct install_options *o,
                    char prefix[PATH_MAX], int *changed, struct error *e);
/* version "" is the only one there is. */
int install_remove(const struct package *p, const char *version, const struct install_options *o,
                   char prefix[PATH_MAX], struct error *e);
/* Notes where the library is; the folder itself is left as it is. */
int install_link(const struct package *p, const char *folder, const struct install_options *o,
                 char library[PATH_MAX], struct error *e);

#endif
