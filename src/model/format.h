/* format.h: what files hold that are no ONNX files, as far as that is told without running them. */
#ifndef WATTLE_MODEL_FORMAT_H
#define WATTLE_MODEL_FORMAT_H

#include "base/error.h"

/* Of a ZIP container by the names of its members, never by running or unpickling anything:
 * "aoti" (an AOTInductor package), "exported" (of torch.export.save) or "torchscript" (of
 * torch.jit.save). ERROR_UNSUPPORTED for pickled weights or modules, ERROR_FORMAT for anything
 * else; *format points to a constant. */
int format_of_torch(const char *path, const char **format, struct error *e);

/* Of a file that only its runtime reads ("ir", "tflite", "tfgraph", "savedmodel"): 1 when its
 * structure has operators that quantise, or weights of few bits; -1 when that cannot be told.
 * 0 for any other format. */
int format_is_quantised(const char *path, const char *format);

#endif
