/* install.h: packages put into folders of their own below $WATTLE_HOME/runtimes by Python's venv
 * and pip, taken away again, and links to what a user has.
 *
 * A prefix NAME-VERSION is a virtual environment without pip in it, with pip's own report, a record
 * of what it is and how it was made (wattle.json) and a SHA-256 of each file (wattle.sha256). It is
 * made in a hidden folder beside and renamed when all is well; found_search does not see hidden
 * folders. One lock file keeps two programs from working at once; pip holds it too, so what a
 * killed wattle has left is taken away only when nobody writes there any more.
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

enum install_change { INSTALL_NONE, INSTALL_NEW, INSTALL_REPAIRED };

/* version "" is the pinned one. What is there already is compared with what was recorded, and
 * installed anew when it differs. prefix is where it is. */
int install_package(const struct package *p, const char *version, const struct install_options *o,
                    char prefix[PATH_MAX], enum install_change *change, struct error *e);
/* version "" is the only one there is; links 1: only of what is linked. */
int install_remove(const struct package *p, const char *version, int links,
                   const struct install_options *o, char prefix[PATH_MAX], struct error *e);
/* Notes where the library is; the folder itself is left as it is. */
int install_link(const struct package *p, const char *folder, const struct install_options *o,
                 char library[PATH_MAX], struct error *e);

#endif
