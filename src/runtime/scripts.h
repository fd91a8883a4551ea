/* scripts.h: the Python and C++ sources that wattle brings (tools/python, tools/zoo, tools/shim),
 * compiled into the program so that it works from anywhere. */
#ifndef WATTLE_RUNTIME_SCRIPTS_H
#define WATTLE_RUNTIME_SCRIPTS_H

#include "base/error.h"

#include <limits.h>
#include <stddef.h>

/* The text of "python/wattle_worker.py", as in tools/; NULL when there is none of that name. Not
 * ended by a zero byte. */
const char *script_text(const char *name, size_t *size);

/* The path of a script of that name, all of them being written where they are not yet there: to
 * $WATTLE_HOME/scripts/HASH, HASH being that of their contents, so that versions never mix and two
 * processes may do it at once. */
int script_path(const char *name, char out[PATH_MAX], struct error *e);

#endif
