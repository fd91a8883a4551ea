/* locate.h: where a package's library lies below a folder, and of what version it is, without
 * loading it. Private to this folder. */
#ifndef WATTLE_RUNTIME_LOCATE_H
#define WATTLE_RUNTIME_LOCATE_H

#include "base/error.h"
#include "runtime/packages.h"

#include <limits.h>
#include <stddef.h>

enum { LOCATE_VERSION_MAX = 32, LOCATE_FOLDER_MAX = 64 };

/* Paths that match folder/tail, tail being a glob; sorted. Call locate_free in any case. */
struct locate_paths {
    char **paths;
    size_t count;
};
int locate_glob(const char *folder, const char *tail, struct locate_paths *out, struct error *e);
void locate_free(struct locate_paths *p);

struct located {
    char library[PATH_MAX];             /* resolved */
    char version[LOCATE_VERSION_MAX];   /* "unknown" when nothing tells it */
};

/* In a site-packages folder, where pip's own notes must name the package: 1 when it is there. */
int locate_in_site(const struct package *p, const char *site, struct located *out, struct error *e);
/* In whatever a user has: a virtual environment, a site-packages folder, an unpacked archive, the
 * folder of a build, a library folder. 1 when found, 0, or -1 with *e. */
int locate_anywhere(const struct package *p, const char *folder, struct located *out,
                    struct error *e);
/* Only libraries right in the folder. */
int locate_in_folder(const struct package *p, const char *folder, struct located *out,
                     struct error *e);

/* The folders where $PATH's python3 looks for packages, and those of the system's libraries
 * ($WATTLE_LIBRARY_PATH, separated by colons, replaces the latter). */
int locate_sites(struct locate_paths *out, struct error *e);
int locate_system(struct locate_paths *out, struct error *e);

/* The first program of that name in $PATH, by its absolute path; 0 when there is none. */
int locate_program(const char *name, char out[PATH_MAX]);

/* $WATTLE_HOME/runtimes */
int locate_home(char out[PATH_MAX], struct error *e);

/* A word that can be part of a path and of an argument: letters, digits and ._+- */
int locate_is_word(const char *text);
/* Less than, equal to or greater than 0, by the numbers in it: 1.9 < 1.31; "unknown" is least. */
int locate_compare(const char *a, const char *b);
/* Whether `wanted` is the version or the beginning of it: 1.31 is 1.31.0 and not 1.310; 2.13.0 is
 * 2.13.0+cpu. */
int locate_is_version(const char *version, const char *wanted);
/* Whether pip would take the one for the other: 1.31.0 for 1.31, 2.13.0+cpu for 2.13.0. */
int locate_is_same_version(const char *version, const char *wanted);
/* 0 when this program could load the file, else a reason in text. */
int locate_check(const char *library, char *text, size_t size);

#endif
