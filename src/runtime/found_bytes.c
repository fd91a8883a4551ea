/* found_bytes.c: what an installation takes on the disk. */
#include "runtime/found.h"

#include "runtime/packages.h"

#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { WALK_FDS = 16 };

static uint64_t walked_bytes; /* nftw has no context */

static int add_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)path;
    (void)at;
    if (kind == FTW_F && S_ISREG(st->st_mode))
        walked_bytes += (uint64_t)st->st_size;
    return 0;
}

/* "…/site-packages/onnxruntime" of a library that lies below it as the package's wheel puts it. */
static int find_module(const struct found *f, const struct package *p, char out[PATH_MAX])
{
    static const char *const sites[] = {"/site-packages/", "/dist-packages/"};
    for (size_t i = 0; i < sizeof sites / sizeof *sites; i++) {
        const char *at = strstr(f->library, sites[i]);
        size_t module = strcspn(p->wheel, "/*");
        const char *name = at ? at + strlen(sites[i]) : NULL;
        if (!name || strncmp(name, p->wheel, module) != 0 || name[module] != '/')
            continue;
        snprintf(out, PATH_MAX, "%.*s", (int)(name - f->library + (ptrdiff_t)module), f->library);
        return 1;
    }
    return 0;
}

uint64_t found_bytes(const struct found *f)
{
    char module[PATH_MAX];
    struct stat st;
    const struct package *p = package_find(f->package);
    if (f->bytes)
        return f->bytes;
    walked_bytes = 0;
    if (p && find_module(f, p, module))
        nftw(module, add_one, WALK_FDS, FTW_PHYS);
    else if (f->library[0] && !stat(f->library, &st))
        walked_bytes = (uint64_t)st.st_size;
    return walked_bytes;
}
