/* adapters.h: the adapters by name, for registry.c; and what several of them share. */
#ifndef WATTLE_RUNTIME_ADAPTERS_H
#define WATTLE_RUNTIME_ADAPTERS_H

#include "runtime/adapter.h"

extern const struct adapter adapter_builtin;
extern const struct adapter adapter_onnxruntime;
extern const struct adapter adapter_openvino;
extern const struct adapter adapter_pytorch;
extern const struct adapter adapter_fake;

/* pytorch_ready.c */
enum adapter_ready pytorch_ready(const char *library, const char *variant, char *reason,
                                 size_t size);

/* options.c: reads a request's options (an object of strings) against a table of known names, so
 * that a misspelt option is refused by name instead of being ignored. */
struct adapter_option {
    const char *name;
    int (*set)(void *target, const char *name, const char *value, struct error *e);
};
int adapter_options(const char *runtime, json_t *options, const struct adapter_option *known,
                    size_t count, void *target, struct error *e);
/* A batch that reached no input would be measured as if it had. */
int adapter_check_batch(int64_t batch, const struct adapter_tensor *inputs, size_t count,
                        struct error *e);

#endif
