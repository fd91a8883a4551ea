#include "engine/memory.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Blocks are large: what is not touched takes no memory, but the end of each wastes a huge page. */
enum { HUGE_PAGE = 2 << 20, POOL_BLOCK = 128 << 20, ALIGNMENT = 64 };

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

int memory_block_map(struct memory_block *b, size_t bytes)
{
    *b = (struct memory_block){0};
    if (bytes > SIZE_MAX / 2)
        return -1;
    size_t mapped = round_up(bytes ? bytes : 1, HUGE_PAGE) + HUGE_PAGE;
    void *p = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return -1;
    b->mapping = p;
    b->mapped = mapped;
    b->data = (char *)round_up((uintptr_t)p, HUGE_PAGE);
    madvise(b->data, mapped - HUGE_PAGE, MADV_HUGEPAGE); /* a wish: kernels without it are fine */
    return 0;
}

void memory_block_unmap(struct memory_block *b)
{
    if (b->mapping)
        munmap(b->mapping, b->mapped);
    *b = (struct memory_block){0};
}

static int add_block(struct memory_pool *p, size_t bytes)
{
    struct memory_block *blocks = realloc(p->blocks, (p->count + 1) * sizeof *blocks);
    if (!blocks)
        return -1;
    p->blocks = blocks;
    size_t size = bytes > POOL_BLOCK ? bytes : POOL_BLOCK;
    if (memory_block_map(&blocks[p->count], size))
        return -1;
    p->count++;
    p->size = round_up(size, HUGE_PAGE);
    p->used = 0;
    return 0;
}

void *memory_pool_take(struct memory_pool *p, size_t bytes)
{
    if (bytes > SIZE_MAX / 2 || bytes > p->limit || p->total > p->limit - bytes)
        return NULL;
    bytes = round_up(bytes ? bytes : 1, ALIGNMENT);
    if ((!p->count || bytes > p->size - p->used) && add_block(p, bytes))
        return NULL;
    void *data = p->blocks[p->count - 1].data + p->used;
    p->used += bytes;
    p->total += bytes;
    return data;
}

void memory_pool_release(struct memory_pool *p)
{
    for (size_t i = 0; i < p->count; i++)
        memory_block_unmap(&p->blocks[i]);
    free(p->blocks);
    *p = (struct memory_pool){.limit = p->limit};
}

void memory_forget(const void *data, size_t bytes)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)data + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)data + bytes) / page * page;
    if (begin < end)
        madvise((void *)begin, end - begin, MADV_DONTNEED);
}
