/* pytorch_ready.c: which ways of an installation of PyTorch work, by what lies on the disk. */
#include "runtime/adapters.h"

#include "runtime/found.h"
#include "runtime/locate.h"
#include "runtime/pytorch_shim.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int has_compiler(void)
{
    char path[PATH_MAX];
    return locate_program("g++", path);
}

/* A file of the installation, by its place relative to the library's folder. */
static int has_file(const char *library, const char *tail)
{
    char path[PATH_MAX];
    const char *slash = strrchr(library, '/');
    int n = snprintf(path, sizeof path, "%.*s/%s", (int)(slash ? slash - library : 0), library,
                     tail);
    return n > 0 && n < PATH_MAX && !access(path, F_OK);
}

static enum adapter_ready compiled(const char *no_python, char *reason, size_t size)
{
    if (*no_python)
        snprintf(reason, size, "compiled packages only: %s", no_python);
    else if (!has_compiler())
        snprintf(reason, size, "compiled packages only: making them needs g++");
    return *reason ? ADAPTER_PARTLY : ADAPTER_READY;
}

static enum adapter_ready script(const char *library, const char *no_python, char *reason,
                                 size_t size)
{
    char shim[PATH_MAX];
    int is_there = !pytorch_shim_path(library, shim, NULL) && !access(shim, R_OK);
    if (!is_there && !has_file(library, "../include/torch/csrc/jit/api/module.h"))
        snprintf(reason, size, "its interface cannot be compiled: PyTorch's headers are missing");
    else if (!is_there && !has_compiler())
        snprintf(reason, size, "its interface cannot be compiled: g++ is missing");
    if (*reason)
        return ADAPTER_UNABLE;
    if (*no_python)
        snprintf(reason, size, "TorchScript files only: %s", no_python);
    return *reason ? ADAPTER_PARTLY : ADAPTER_READY;
}

static enum adapter_ready python(const char *variant, const char *no_python, char *reason,
                                 size_t size)
{
    if (*no_python)
        snprintf(reason, size, "%s", no_python);
    else if (!strcmp(variant, "compile") && !has_compiler())
        snprintf(reason, size, "g++ is missing");
    return *reason ? ADAPTER_UNABLE : ADAPTER_READY;
}

enum adapter_ready pytorch_ready(const char *library, const char *variant, char *reason,
                                 size_t size)
{
    char interpreter[PATH_MAX], site[PATH_MAX];
    struct error e = {0};
    found_python(library, interpreter, site, &e);
    reason[0] = '\0';
    if (!strcmp(variant, "aoti"))
        return compiled(e.text, reason, size);
    if (!strncmp(variant, "torchscript", strlen("torchscript")))
        return script(library, e.text, reason, size);
    return python(variant, e.text, reason, size);
}
