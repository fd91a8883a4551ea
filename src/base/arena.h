/* arena.h: many small objects with one lifetime, freed together. */
#ifndef WATTLE_BASE_ARENA_H
#define WATTLE_BASE_ARENA_H

#include <stddef.h>

struct arena {
    struct arena_block *blocks;
    size_t used;    /* bytes handed out over all blocks */
    size_t maximum; /* arena_alloc beyond it returns NULL: a bound on what hostile input can cost */
};

void arena_init(struct arena *a, size_t maximum);
void arena_release(struct arena *a);

/* Zeroed, 16-byte aligned; NULL when memory or the maximum is reached. Size 0 is allowed. */
void *arena_alloc(struct arena *a, size_t size);
/* As arena_alloc(count * size), NULL on overflow. */
void *arena_array(struct arena *a, size_t count, size_t size);
/* NUL-terminated copy of size bytes. */
char *arena_text(struct arena *a, const char *text, size_t size);
char *arena_format(struct arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Whether the arena handed out this memory. */
int arena_owns(const struct arena *a, const void *p);

#endif
