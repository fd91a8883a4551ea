/* Laying slots into one block: the largest first, each at the lowest offset where it meets no slot
 * that is alive at the same time. Low offsets are used again and again, and stay in the cache. */
#include "engine/program.h"

#include <limits.h>
#include <stdlib.h>

enum { ALIGNMENT = 64 };

static size_t room(const struct slot *s)
{
    size_t bytes = s->bytes ? s->bytes : 1;
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static int by_size(const void *a, const void *b)
{
    const struct slot *x = *(struct slot *const *)a, *y = *(struct slot *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->first != y->first ? (x->first > y->first) - (x->first < y->first)
                                : (x > y) - (x < y);
}

static int begin(const struct slot *s)
{
    return s->from_start ? -1 : s->first;
}

static int end(const struct slot *s)
{
    return s->to_end ? INT_MAX : s->last;
}

static int meet(const struct slot *a, const struct slot *b)
{
    return begin(a) <= end(b) && begin(b) <= end(a);
}

/* placed is sorted by offset, and stays so. */
static void place(struct slot *s, struct slot **placed, int count)
{
    size_t offset = 0;
    for (int i = 0; i < count; i++) {
        if (!meet(s, placed[i]))
            continue;
        if (placed[i]->offset >= offset + room(s))
            break;
        size_t above = placed[i]->offset + room(placed[i]);
        if (above > offset)
            offset = above;
    }
    s->offset = offset;
    int at = count;
    for (; at > 0 && placed[at - 1]->offset > offset; at--)
        placed[at] = placed[at - 1];
    placed[at] = s;
}

/* Without memory for the two lists, every slot gets a place of its own. */
static size_t place_apart(struct slot *slots, int count)
{
    size_t total = 0;
    for (int i = 0; i < count; i++) {
        slots[i].offset = total;
        total += slots[i].fixed ? 0 : room(&slots[i]);
    }
    return total;
}

size_t plan_offsets(struct slot *slots, int count)
{
    struct slot **order = malloc(((size_t)count + 1) * 2 * sizeof(struct slot *));
    if (!order)
        return place_apart(slots, count);
    struct slot **placed = order + count;
    int used = 0;
    for (int i = 0; i < count; i++)
        if (!slots[i].fixed && (slots[i].first >= 0 || slots[i].from_start))
            order[used++] = &slots[i];
    qsort(order, (size_t)used, sizeof *order, by_size);
    size_t total = 0;
    for (int i = 0; i < used; i++) {
        place(order[i], placed, i);
        size_t above = order[i]->offset + room(order[i]);
        total = above > total ? above : total;
    }
    free(order);
    return total;
}
