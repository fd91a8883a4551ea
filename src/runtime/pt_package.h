/* pt_package.h: PyTorch's containers: ZIP files with one folder, everything in it stored as it is.
 * Nothing here trusts a file, and nothing of it is written to a file system: what must be a file is
 * one in memory, which ends with the process.
 */
#ifndef WATTLE_RUNTIME_PT_PACKAGE_H
#define WATTLE_RUNTIME_PT_PACKAGE_H

#include "base/error.h"

#include <jansson.h>
#include <stdint.h>
#include <zip.h>

struct pt_package {
    zip_t *archive;
    uint64_t bytes;       /* of the file */
    char root[256];       /* its one folder, with a slash */
    json_t *description;  /* extra/wattle.json, see prepare.h; NULL: made by somebody else */
};

/* What a package of ahead-of-time compiled code holds for one model. */
struct pt_members {
    int64_t program;      /* *.so */
    int64_t weights;      /* *_weights.blob; -1: in the program */
    int64_t metadata;     /* *.wrapper_metadata.json; -1 */
    int pickled_weights;  /* data/weights/...: only Python reads those */
    int kernels;          /* *.cubin beside the program */
};

/* PyTorch believes what a container says: that a member is as long as it claims, and its bytes as
 * they were written. So every member is read here first, which takes as long as the file is large:
 * ERROR_FORMAT when one is cut, damaged, or claims more than the file can hold, or when a pickle of
 * TorchScript's says that its storages are longer than they are. */
int pt_package_verify(const char *path, struct error *e);

int pt_package_open(struct pt_package *p, const char *path, struct error *e);
void pt_package_close(struct pt_package *p); /* {0} is fine */

/* ERROR_UNSUPPORTED when there is none, saying what the file is instead. */
int pt_package_members(const struct pt_package *p, const char *path, struct pt_members *out,
                       struct error *e);
/* A small member parsed; at most 1 MiB. */
int pt_package_json(const struct pt_package *p, int64_t index, json_t **out, struct error *e);
/* A file in memory with the member's bytes; the caller closes it. */
int pt_package_extract(const struct pt_package *p, int64_t index, int *fd, uint64_t *bytes,
                       struct error *e);

#endif
