/* memory.h: the engine's few large blocks, and giving back pages that have been read. */
#ifndef WATTLE_ENGINE_MEMORY_H
#define WATTLE_ENGINE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* Zeroed pages in one stretch, 2 MiB aligned and advised to be huge. */
struct memory_block {
    char *data;
    void *mapping; /* what munmap needs: alignment is cut from a larger mapping */
    size_t mapped;
};
int memory_block_map(struct memory_block *b, size_t bytes); /* 0, or -1 without memory */
void memory_block_unmap(struct memory_block *b);

/* Blocks handed out piece by piece and freed together: packed weights. */
struct memory_pool {
    struct memory_block *blocks;
    size_t count;
    size_t used, size;   /* of the last block */
    size_t total;        /* bytes handed out */
    uint64_t limit;      /* of total */
};
/* 64-byte aligned; NULL without memory or beyond the limit. */
void *memory_pool_take(struct memory_pool *p, size_t bytes);
void memory_pool_release(struct memory_pool *p);

/* The whole pages of [data, data + bytes) leave this process's memory. A file's pages come back
 * when touched, other memory comes back as zeros: only for data that nobody reads again. */
void memory_forget(const void *data, size_t bytes);

#endif
