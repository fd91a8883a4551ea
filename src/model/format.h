/* format.h: what a file with the ending of a PyTorch file really holds. */
#ifndef WATTLE_MODEL_FORMAT_H
#define WATTLE_MODEL_FORMAT_H

#include "base/error.h"

/* Of a ZIP container by the names of its members, never by running or unpickling anything:
 * "aoti" (an AOTInductor package), "exported" (of torch.export.save) or "torchscript" (of
 * torch.jit.save). ERROR_UNSUPPORTED for pickled weights or modules, ERROR_FORMAT for anything
 * else; *format points to a constant. */
int format_of_torch(const char *path, const char **format, struct error *e);

#endif
