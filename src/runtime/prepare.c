#include "runtime/prepare.h"

#include <string.h>

int prepare_needed(const char *runtime, const char *variant, const char *format)
{
    if (strcmp(runtime, "pytorch"))
        return 0;
    if (!strcmp(variant, "aoti"))
        return strcmp(format, "aoti") != 0;
    if (!strncmp(variant, "torchscript", strlen("torchscript")))
        return strcmp(format, "torchscript") != 0;
    return strcmp(format, "exported") != 0 && strcmp(format, "python") != 0;
}

int prepare_model(const struct prepare_request *r, struct prepared *out, struct error *e)
{
    *out = (struct prepared){0};
    return error_set(e, ERROR_UNSUPPORTED, "this build cannot make a model for %s:%s", r->runtime,
                     r->variant);
}
