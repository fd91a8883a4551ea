#include "runtime/adapters.h"

#include <string.h>

/* One line for each runtime, in the order `wattle doctor` shows them. */
static const struct adapter *const adapters[] = {
    &adapter_builtin,
    &adapter_onnxruntime,
    &adapter_openvino,
    &adapter_pytorch,
    &adapter_fake,
    NULL,
};

const struct adapter *const *adapter_all(size_t *count)
{
    *count = 0;
    while (adapters[*count])
        (*count)++;
    return adapters;
}

const struct adapter *adapter_find(const char *name)
{
    for (size_t i = 0; adapters[i]; i++)
        if (!strcmp(adapters[i]->name, name))
            return adapters[i];
    return NULL;
}
