/* found.h: the installations of runtimes on this machine, and which one a name means.
 *
 * A runtime is named -r RUNTIME[:VARIANT][@VERSION] everywhere. Installations are found, without
 * loading anything, in this order: private prefixes and links under $WATTLE_HOME/runtimes, the
 * site-packages of $PATH's python3, the system's library folders. What is compiled in (builtin,
 * fake) is an installation with an empty library.
 */
#ifndef WATTLE_RUNTIME_FOUND_H
#define WATTLE_RUNTIME_FOUND_H

#include "base/error.h"
#include "runtime/adapter.h"

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

enum { FOUND_PROVIDER_MAX = 16, FOUND_DEVICES_MAX = 512 };

struct found {
    const struct adapter *adapter;
    char package[64];          /* "onnxruntime-openvino"; "" when built in */
    char version[32];          /* "1.24.1" */
    char library[PATH_MAX];
    char origin[16];           /* "built in", "private", "linked", "python", "system" */
    char providers[FOUND_PROVIDER_MAX][24]; /* by the files beside the library, those that
                                               can be used first */
    int absent[FOUND_PROVIDER_MAX];         /* 1: it needs a device that is not here */
    size_t provider_count;
    size_t default_count;      /* the first ones: measured when no --provider is given */
    uint64_t bytes;            /* of the prefix; 0 unknown */
    int usable;
    char reason[256];          /* when not */
};

struct found_list {
    struct found *items;       /* newest version of a package first */
    size_t count;
};

int found_search(struct found_list *list, struct error *e);
void found_release(struct found_list *list);

/* "onnxruntime:variant@1.31.1" taken apart; parts that are not given are "". ERROR_USAGE. */
struct runtime_name {
    char runtime[32], variant[32], version[32];
};
int runtime_name_parse(const char *text, struct runtime_name *name, struct error *e);

/* VARIANT is what the package's name has after the runtime's ("openvino" of onnxruntime-openvino),
 * or a way in which the runtime runs models ("eager" of pytorch), or else the name of a provider,
 * so that a row's label can be typed. VERSION may be the beginning of one: 1.31 is any 1.31.x. */
const char *found_variant(const struct found *f);
/* Whether it is one of the ways in which the runtime itself runs models ("eager" of pytorch). */
int found_has_variant(const struct found *f, const char *variant);
/* Whether it is usable and the name can mean it. */
int found_matches(const struct found *f, const struct runtime_name *name);

/* The newest usable installation of that name that has the provider ("" any). NULL, and *e says
 * whether the runtime is unknown, not installed (hint: wattle runtimes install NAME), not in that
 * version (which ones are there), or without that provider. */
const struct found *found_pick(const struct found_list *list, const struct runtime_name *name,
                               const char *provider, struct error *e);

/* The interpreter of the Python installation that the library is part of (a virtual environment, a
 * system's Python): its own, with site "", or else one of $PATH, that needs site on PYTHONPATH.
 * ERROR_UNSUPPORTED when the library is not part of one or there is no Python. */
int found_python(const char *library, char python[PATH_MAX], char site[PATH_MAX], struct error *e);

/* The devices that its library finds, on one line for people, or why they are not known; the
 * library is asked in a short-lived process. 0 when there is nothing to ask. */
int found_devices(const struct found *f, char text[FOUND_DEVICES_MAX]);
/* What it takes on the disk, in bytes: its folder, or its package in a site-packages folder, or its
 * library; 0 when built in or not there. */
uint64_t found_bytes(const struct found *f);

#endif
