#include "runtime/symbols.h"

#include <dlfcn.h>
#include <string.h>

int symbol_take(void *handle, const struct symbol *s)
{
    void *symbol = dlsym(handle, s->name);
    if (symbol) /* ISO C has no cast from void * to a function */
        memcpy(s->slot, &symbol, sizeof symbol);
    return symbol != NULL;
}

const char *symbols_take(void *handle, const struct symbol *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!symbol_take(handle, &list[i]))
            return list[i].name;
    return NULL;
}
