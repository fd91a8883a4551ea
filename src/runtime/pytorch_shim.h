/* pytorch_shim.h: the C interface to TorchScript, tools/shim/pytorch.cpp, compiled by g++ against
 * an installation of PyTorch the first time it is needed, and kept under $WATTLE_HOME/shims. */
#ifndef WATTLE_RUNTIME_PYTORCH_SHIM_H
#define WATTLE_RUNTIME_PYTORCH_SHIM_H

#include "base/error.h"

#include <limits.h>

/* Where the shim for that libtorch_cpu.so is, once compiled: VERSION-HASH.so, the hash being of the
 * shim's source and of where the library is. */
int pytorch_shim_path(const char *library, char path[PATH_MAX], struct error *e);

/* Compiles it unless it is there. tell and interrupted may be NULL. ERROR_UNSUPPORTED when g++ or
 * PyTorch's headers are missing, or with the compiler's words; ERROR_INTERRUPTED, ERROR_TIMEOUT. */
int pytorch_shim(const char *library, char path[PATH_MAX],
                 void (*tell)(void *context, const char *line), void *context,
                 int (*interrupted)(void), struct error *e);

#endif
