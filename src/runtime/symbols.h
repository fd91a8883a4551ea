/* symbols.h: functions of a library by name, into pointers to them. Private to this folder. */
#ifndef WATTLE_RUNTIME_SYMBOLS_H
#define WATTLE_RUNTIME_SYMBOLS_H

#include <stddef.h>

struct symbol {
    const char *name;
    void *slot; /* address of the pointer that is set */
};

/* 1 when it is there; else *slot stays as it is. */
int symbol_take(void *handle, const struct symbol *s);
/* All of them: the name of the first that is not there, or NULL. */
const char *symbols_take(void *handle, const struct symbol *list, size_t count);

#endif
