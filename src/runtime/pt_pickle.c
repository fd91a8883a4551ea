#include "runtime/pt_pickle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A pickle is a program for a stack. Of its values only those are followed that a storage is named
 * by; all others are alike. */
enum kind { OTHER, MARK, NUMBER, TEXT, TUPLE, TYPE, STORAGE };

struct value {
    enum kind kind;
    uint32_t element_bytes;  /* of a TYPE or STORAGE; 0: not known, or less than one */
    uint64_t at;             /* of a TEXT in the pickle; of a TUPLE's first one in `items` */
    uint64_t n;              /* the NUMBER, the size of a TEXT or TUPLE, bytes of a STORAGE */
};

struct values {
    struct value *items;
    size_t count, capacity;
};

struct reader {
    const unsigned char *bytes;
    size_t size, at;
    struct values stack, memo;
    struct values items;     /* of tuples */
    int stopped;
    pt_claim *claim;
    void *target;
};

enum { VALUES_MAX = 1 << 24, KEY_MAX = 64, NAME_MAX_BYTES = 256 };

static int bad(const struct reader *r, const char *what, struct error *e)
{
    return error_set(e, ERROR_FORMAT, "not a pickle of TorchScript's: %s at byte %zu", what, r->at);
}

/* --- values ----------------------------------------------------------------------------------- */

static int append(struct values *v, struct value value, struct error *e)
{
    if (v->count == v->capacity) {
        size_t capacity = v->capacity ? 2 * v->capacity : 256;
        struct value *items = capacity <= VALUES_MAX
                                  ? realloc(v->items, capacity * sizeof *items) : NULL;
        if (!items)
            return error_memory(e);
        v->items = items;
        v->capacity = capacity;
    }
    v->items[v->count++] = value;
    return 0;
}

static int push(struct reader *r, struct value value, struct error *e)
{
    return append(&r->stack, value, e);
}

/* NULL when there are not so many above the last mark. */
static struct value *top(struct reader *r, size_t count)
{
    struct values *s = &r->stack;
    if (!count || count > s->count)
        return NULL;
    for (size_t i = s->count - count; i < s->count; i++)
        if (s->items[i].kind == MARK)
            return NULL;
    return s->items + s->count - count;
}

/* How many there are above the last mark; -1: there is none. */
static int64_t above_mark(const struct reader *r)
{
    size_t count = 0;
    while (count < r->stack.count && r->stack.items[r->stack.count - 1 - count].kind != MARK)
        count++;
    return count < r->stack.count ? (int64_t)count : -1;
}

/* --- what follows an opcode ------------------------------------------------------------------- */

static const unsigned char *take(struct reader *r, uint64_t size)
{
    if (size > r->size - r->at)
        return NULL;
    const unsigned char *bytes = r->bytes + r->at;
    r->at += (size_t)size;
    return bytes;
}

static int take_unsigned(struct reader *r, int size, uint64_t *out, struct error *e)
{
    const unsigned char *bytes = take(r, (uint64_t)size);
    *out = 0;
    if (!bytes)
        return bad(r, "it is cut", e);
    for (int i = size; i-- > 0;)
        *out = *out << 8 | bytes[i];
    return 0;
}

/* To the end of the line, as `text` without it. */
static int take_line(struct reader *r, char *text, size_t size, struct error *e)
{
    const unsigned char *end = memchr(r->bytes + r->at, '\n', r->size - r->at);
    size_t length = end ? (size_t)(end - r->bytes) - r->at : size;
    if (length >= size)
        return bad(r, "a name without an end", e);
    memcpy(text, r->bytes + r->at, length);
    text[length] = '\0';
    r->at += length + 1;
    return 0;
}

/* --- storages and tensors --------------------------------------------------------------------- */

static const struct {
    const char *storage;
    uint32_t bytes;
} types[] = {
    {"DoubleStorage", 8},       {"FloatStorage", 4},         {"HalfStorage", 2},
    {"BFloat16Storage", 2},     {"LongStorage", 8},          {"IntStorage", 4},
    {"ShortStorage", 2},        {"CharStorage", 1},          {"ByteStorage", 1},
    {"BoolStorage", 1},         {"ComplexHalfStorage", 4},   {"ComplexFloatStorage", 8},
    {"ComplexDoubleStorage", 16}, {"QInt8Storage", 1},       {"QUInt8Storage", 1},
    {"QInt32Storage", 4},       {"UInt16Storage", 2},        {"UInt32Storage", 4},
    {"UInt64Storage", 8},
};

static struct value type_named(const char *name)
{
    struct value type = {.kind = TYPE};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strcmp(types[i].storage, name))
            type.element_bytes = types[i].bytes;
    return type;
}

/* ("storage", type, key, device, count of elements) */
static int open_storage(struct reader *r, int unused, struct error *e)
{
    (void)unused;
    struct value *id = top(r, 1);
    int is_id = id && id->kind == TUPLE && id->n >= 5;
    const struct value *part = is_id ? r->items.items + id->at : NULL;
    if (!part || part[0].kind != TEXT || part[1].kind != TYPE || part[2].kind != TEXT ||
        part[4].kind != NUMBER || part[2].n >= KEY_MAX)
        return bad(r, "a storage that is named by something else", e);
    char key[KEY_MAX];
    uint32_t element_bytes = part[1].element_bytes;
    uint64_t bytes;
    snprintf(key, sizeof key, "%.*s", (int)part[2].n, (const char *)r->bytes + part[2].at);
    if ((int64_t)part[4].n < 0 ||
        __builtin_mul_overflow(part[4].n, element_bytes ? element_bytes : 1, &bytes))
        return bad(r, "a storage of no size", e);
    *id = (struct value){STORAGE, element_bytes, 0, bytes};
    return r->claim(r->target, key, bytes, e);
}

/* Bytes that a tensor reaches to; UINT64_MAX: beyond all memory. */
static uint64_t extent(const struct reader *r, const struct value *tensor)
{
    const struct value *sizes = r->items.items + tensor[2].at;
    const struct value *strides = r->items.items + tensor[3].at;
    uint64_t end = tensor[1].n, step;
    for (uint64_t i = 0; i < tensor[2].n; i++) {
        if (sizes[i].kind != NUMBER || strides[i].kind != NUMBER || (int64_t)sizes[i].n < 0 ||
            (int64_t)strides[i].n < 0)
            return UINT64_MAX;
        if (!sizes[i].n)
            return 0;
        if (__builtin_mul_overflow(sizes[i].n - 1, strides[i].n, &step) ||
            __builtin_add_overflow(end, step, &end))
            return UINT64_MAX;
    }
    return __builtin_add_overflow(end, 1, &end) ||
                   __builtin_mul_overflow(end, tensor[0].element_bytes, &end) ? UINT64_MAX : end;
}

/* Of a tensor that is made anew the arguments are (storage, offset, sizes, strides, ...). */
static int check_tensor(const struct reader *r, const struct value *arguments, struct error *e)
{
    if (arguments->kind != TUPLE || arguments->n < 4)
        return 0;
    const struct value *part = r->items.items + arguments->at;
    if (part[0].kind != STORAGE || !part[0].element_bytes)
        return 0;
    if (part[1].kind != NUMBER || (int64_t)part[1].n < 0 || part[2].kind != TUPLE ||
        part[3].kind != TUPLE || part[2].n != part[3].n)
        return bad(r, "a tensor of no shape", e);
    if (extent(r, part) <= part[0].n)
        return 0;
    return error_set(e, ERROR_FORMAT, "a tensor reaches beyond its storage of %llu bytes (at byte "
                     "%zu)", (unsigned long long)part[0].n, r->at);
}

/* --- opcodes ---------------------------------------------------------------------------------- */

static int push_other(struct reader *r, int skipped, struct error *e)
{
    return take(r, (uint64_t)skipped) ? push(r, (struct value){0}, e) : bad(r, "it is cut", e);
}

static int push_mark(struct reader *r, int unused, struct error *e)
{
    (void)unused;
    return push(r, (struct value){.kind = MARK}, e);
}

/* The sign is that of BININT only. */
static int push_number(struct reader *r, int size, struct error *e)
{
    uint64_t n;
    int result = take_unsigned(r, size, &n, e);
    if (size == 4)
        n = (uint64_t)(int64_t)(int32_t)n;
    return result ? result : push(r, (struct value){.kind = NUMBER, .n = n}, e);
}

/* As many bytes as the first one says; no bytes are 0. */
static int push_long(struct reader *r, int unused, struct error *e)
{
    (void)unused;
    uint64_t size, n;
    int result = take_unsigned(r, 1, &size, e);
    if (!result && size > 8)
        return bad(r, "a number of more than 64 bits", e);
    if (!result)
        result = take_unsigned(r, (int)size, &n, e);
    if (result)
        return result;
    int unused_bits = size ? 64 - 8 * (int)size : 0;
    n = (uint64_t)((int64_t)(n << unused_bits) >> unused_bits);
    return push(r, (struct value){.kind = NUMBER, .n = n}, e);
}

static int push_text(struct reader *r, int size_bytes, struct error *e)
{
    uint64_t size;
    int result = take_unsigned(r, size_bytes, &size, e);
    if (result)
        return result;
    struct value text = {.kind = TEXT, .at = r->at, .n = size};
    return take(r, size) ? push(r, text, e) : bad(r, "it is cut", e);
}

/* A function or class by its name; only those of storages tell something. */
static int push_global(struct reader *r, int unused, struct error *e)
{
    (void)unused;
    char module[NAME_MAX_BYTES], name[NAME_MAX_BYTES];
    int result = take_line(r, module, sizeof module, e);
    if (!result)
        result = take_line(r, name, sizeof name, e);
    return result ? result : push(r, type_named(name), e);
}

static int put_in_memo(struct reader *r, int size, struct error *e)
{
    uint64_t index;
    const struct value *value = top(r, 1);
    int result = take_unsigned(r, size, &index, e);
    if (result)
        return result;
    if (!value || index > r->memo.count) /* both Python and TorchScript count up */
        return bad(r, "nothing to remember", e);
    if (index == r->memo.count)
        return append(&r->memo, *value, e);
    r->memo.items[index] = *value;
    return 0;
}

static int push_from_memo(struct reader *r, int size, struct error *e)
{
    uint64_t index;
    int result = take_unsigned(r, size, &index, e);
    if (!result && index >= r->memo.count)
        return bad(r, "something that was never remembered", e);
    return result ? result : push(r, r->memo.items[index], e);
}

static int fold(struct reader *r, size_t count, size_t marks, struct error *e)
{
    const struct value *values = top(r, count);
    struct value tuple = {.kind = TUPLE, .at = r->items.count, .n = count};
    int result = values || !count ? 0 : bad(r, "a tuple of nothing", e);
    for (size_t i = 0; i < count && !result; i++)
        result = append(&r->items, values[i], e);
    if (result)
        return result;
    r->stack.count -= count + marks;
    return push(r, tuple, e);
}

static int make_tuple(struct reader *r, int count, struct error *e)
{
    return fold(r, (size_t)count, 0, e);
}

static int make_marked_tuple(struct reader *r, int unused, struct error *e)
{
    (void)unused;
    int64_t count = above_mark(r);
    return count < 0 ? bad(r, "no mark", e) : fold(r, (size_t)count, 1, e);
}

/* What is above the mark goes, into what is below it or, with `makes`, into something new. */
static int drop_marked(struct reader *r, int makes, struct error *e)
{
    int64_t count = above_mark(r);
    if (count < 0)
        return bad(r, "no mark", e);
    r->stack.count -= (size_t)count + 1;
    return makes ? push(r, (struct value){0}, e) : 0;
}

static int drop(struct reader *r, int count, struct error *e)
{
    if (!top(r, (size_t)count))
        return bad(r, "too little on the stack", e);
    r->stack.count -= (size_t)count;
    return 0;
}

/* Of what is called and its arguments. */
static int call(struct reader *r, int unused, struct error *e)
{
    (void)unused;
    struct value *values = top(r, 2);
    if (!values)
        return bad(r, "nothing to call", e);
    int result = check_tensor(r, &values[1], e);
    values[0] = (struct value){0};
    r->stack.count--;
    return result;
}

static int skip(struct reader *r, int size, struct error *e)
{
    return take(r, (uint64_t)size) ? 0 : bad(r, "it is cut", e);
}

static int stop(struct reader *r, int unused, struct error *e)
{
    (void)unused;
    (void)e;
    r->stopped = 1;
    return 0;
}

struct rule {
    int (*act)(struct reader *r, int argument, struct error *e);
    int argument;
};

/* All that PyTorch's own reader knows, and short texts. */
static const struct rule rules[256] = {
    ['N'] = {push_other, 0},         [0x88] = {push_other, 0},   [0x89] = {push_other, 0},
    [']'] = {push_other, 0},         ['}'] = {push_other, 0},    ['G'] = {push_other, 8},
    [')'] = {make_tuple, 0},         [0x85] = {make_tuple, 1},   [0x86] = {make_tuple, 2},
    [0x87] = {make_tuple, 3},        ['t'] = {make_marked_tuple, 0}, ['('] = {push_mark, 0},
    ['J'] = {push_number, 4},        ['K'] = {push_number, 1},   ['M'] = {push_number, 2},
    [0x8a] = {push_long, 0},         ['X'] = {push_text, 4},     [0x8c] = {push_text, 1},
    ['c'] = {push_global, 0},        ['q'] = {put_in_memo, 1},   ['r'] = {put_in_memo, 4},
    ['h'] = {push_from_memo, 1},     ['j'] = {push_from_memo, 4}, ['l'] = {drop_marked, 1},
    ['d'] = {drop_marked, 1},        ['e'] = {drop_marked, 0},   ['u'] = {drop_marked, 0},
    ['a'] = {drop, 1},               ['s'] = {drop, 2},          ['b'] = {drop, 1},
    ['R'] = {call, 0},               [0x81] = {call, 0},         ['Q'] = {open_storage, 0},
    [0x80] = {skip, 1},              ['.'] = {stop, 0},
};

int pt_pickle_claims(const unsigned char *bytes, size_t size, pt_claim *claim, void *target,
                     struct error *e)
{
    struct reader r = {.bytes = bytes, .size = size, .claim = claim, .target = target};
    int result = 0;
    while (!result && !r.stopped) {
        const unsigned char *code = take(&r, 1);
        if (!code)
            result = bad(&r, "it is cut", e);
        else if (!rules[*code].act)
            result = bad(&r, "an operation that is unknown", e);
        else
            result = rules[*code].act(&r, rules[*code].argument, e);
    }
    free(r.stack.items);
    free(r.memo.items);
    free(r.items.items);
    return result;
}
