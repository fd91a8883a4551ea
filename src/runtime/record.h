/* record.h: what the folder of an installation says of itself. wattle.json: what it is, how it was
 * made, and the sizes of the library and of what lies beside it, cheap to compare before each use.
 * wattle.sha256: every file, as `sha256sum --check` reads it; its own hash is in wattle.json.
 * Private to this folder. */
#ifndef WATTLE_RUNTIME_RECORD_H
#define WATTLE_RUNTIME_RECORD_H

#include "base/error.h"
#include "runtime/packages.h"

#include <jansson.h>

/* The note of an installation or of a link; `library` relative to the folder when it is inside. */
json_t *record_begin(const struct package *p, const char *version, const char *library, int linked);
/* Hashes all files below root, of which the note's library is one, into wattle.sha256 and the
 * note. */
int record_files(const char *root, json_t *note, struct error *e);
int record_write(json_t *note, const char *folder, struct error *e);
/* NULL when there is none or it is not one. */
json_t *record_read(const char *folder);
/* A member of it that is text, else "". */
const char *record_text(json_t *note, const char *name);

/* 0 when every file is there and as it was, 1 when not, with what is wrong in `why`; -1 with *e
 * when interrupted. */
int record_verify(const struct package *p, const char *folder, int (*interrupted)(void), char *why,
                  size_t size, struct error *e);
/* By sizes only: the library (a path) and the files beside it. 0 when they are as recorded, or
 * nothing was. */
int record_compare_sizes(json_t *note, const char *library, char *why, size_t size);

#endif
