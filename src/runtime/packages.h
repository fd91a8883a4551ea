/* packages.h: the packages that hold runtimes, in one table: what to install, and how to recognise
 * what is installed. */
#ifndef WATTLE_RUNTIME_PACKAGES_H
#define WATTLE_RUNTIME_PACKAGES_H

#include <stddef.h>

struct package_provider {
    const char *name;
    const char *file; /* glob, beside the library; NULL: part of every build */
    int own_build;    /* only the library itself tells, so only builds other than wheels count */
    const char *devices; /* globs, any of which must be there for it to be of use; NULL: none */
};

struct package {
    const char *name;              /* "onnxruntime-openvino" */
    const char *distribution;      /* its name for pip, when that is another one */
    const char *const *requirements; /* installed with it, for pip; NULL-terminated, or NULL */
    const char *const *bare;       /* and these, without what they require themselves */
    const char *variant;           /* in -r RUNTIME:VARIANT; "" */
    const char *version;           /* installed unless another is asked for */
    const char *adapter;           /* the runtime it is for */
    const char *title;
    const char *formats;           /* of models that it reads, separated by blanks */
    const char *const *arguments;  /* of pip install, NULL-terminated */
    const char *wheel;             /* glob of the library, relative to site-packages */
    const char *library;           /* glob of its name in any other folder; NULL: never there */
    const char *version_file;      /* relative to the library's folder, when its name has none */
    const char *provider;          /* measured when none is asked for; NULL for a plug-in */
    const struct package_provider *providers; /* NULL name at the end */
    int plugin;                    /* a provider for an installation of another package */
    int named_only;                /* never measured unless -r names it */
    int needs_python;              /* its Python modules are used, not only the library */
};

const struct package *package_all(size_t *count);
const struct package *package_find(const char *name);                 /* NULL when unknown */
const char *package_distribution(const struct package *p);            /* its name for pip */
/* Whether the runtime reads models of that format ("onnx", "ir", ...). */
int package_reads(const char *adapter, const char *format);
const struct package *package_of(const char *adapter, const char *variant); /* NULL when none */

#endif
