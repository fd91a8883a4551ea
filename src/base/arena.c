#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 64 * 1024, ALIGNMENT = 16 };

struct arena_block {
    struct arena_block *next;
    size_t size;
    size_t used;
    size_t reserved; /* keeps data 16-byte aligned */
    char data[];
};

void arena_init(struct arena *a, size_t maximum)
{
    *a = (struct arena){.maximum = maximum};
}

void arena_release(struct arena *a)
{
    while (a->blocks) {
        struct arena_block *next = a->blocks->next;
        free(a->blocks);
        a->blocks = next;
    }
    a->used = 0;
}

static struct arena_block *add_block(struct arena *a, size_t size)
{
    size_t bytes = size > BLOCK_BYTES ? size : BLOCK_BYTES;
    struct arena_block *block = calloc(1, sizeof *block + bytes);
    if (!block)
        return NULL;
    block->size = bytes;
    block->next = a->blocks;
    a->blocks = block;
    return block;
}

void *arena_alloc(struct arena *a, size_t size)
{
    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (size > a->maximum - a->used)
        return NULL;
    struct arena_block *block = a->blocks;
    if (!block || size > block->size - block->used)
        block = add_block(a, size);
    if (!block)
        return NULL;
    void *p = block->data + block->used;
    block->used += size;
    a->used += size;
    return p;
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size)
        return NULL;
    return arena_alloc(a, count * size);
}

char *arena_text(struct arena *a, const char *text, size_t size)
{
    char *copy = size < SIZE_MAX ? arena_alloc(a, size + 1) : NULL;
    if (copy && size)
        memcpy(copy, text, size);
    return copy;
}

char *arena_format(struct arena *a, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (!text)
        return NULL;
    va_start(args, format);
    vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    return text;
}

int arena_owns(const struct arena *a, const void *p)
{
    uintptr_t at = (uintptr_t)p;
    for (const struct arena_block *b = a->blocks; b; b = b->next)
        if (at >= (uintptr_t)b->data && at < (uintptr_t)b->data + b->size)
            return 1;
    return 0;
}
