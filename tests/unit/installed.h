/* installed.h: the library of the newest installation of a package, for tests with a real one. */
#ifndef WATTLE_TESTS_INSTALLED_H
#define WATTLE_TESTS_INSTALLED_H

#include "runtime/found.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* $variable names it, else it is what `wattle runtimes install` or `link` made; "" when there is
 * none. */
static inline void installed_library(const char *variable, const char *package, char out[PATH_MAX])
{
    struct error e;
    struct found_list list;
    const char *given = getenv(variable);
    snprintf(out, PATH_MAX, "%s", given ? given : "");
    if (given || found_search(&list, &e))
        return;
    for (size_t i = 0; i < list.count && !*out; i++) {
        const struct found *f = &list.items[i];
        if (f->usable && !strcmp(f->package, package) &&
            (!strcmp(f->origin, "private") || !strcmp(f->origin, "linked")))
            snprintf(out, PATH_MAX, "%s", f->library);
    }
    found_release(&list);
}

#endif
