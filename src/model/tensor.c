#include "model/tensor.h"

#include <stdio.h>
#include <string.h>

static const struct {
    enum dtype type;
    size_t size;
    const char *name;
} types[] = {
    {DTYPE_F32, 4, "float32"},  {DTYPE_U8, 1, "uint8"},      {DTYPE_I8, 1, "int8"},
    {DTYPE_U16, 2, "uint16"},   {DTYPE_I16, 2, "int16"},     {DTYPE_I32, 4, "int32"},
    {DTYPE_I64, 8, "int64"},    {DTYPE_STRING, 0, "string"}, {DTYPE_BOOL, 1, "bool"},
    {DTYPE_F16, 2, "float16"},  {DTYPE_F64, 8, "float64"},   {DTYPE_U32, 4, "uint32"},
    {DTYPE_U64, 8, "uint64"},   {DTYPE_BF16, 2, "bfloat16"},
};

enum { TYPES = sizeof types / sizeof *types };

size_t dtype_size(enum dtype type)
{
    for (size_t i = 0; i < TYPES; i++)
        if (types[i].type == type)
            return types[i].size;
    return 0;
}

const char *dtype_name(enum dtype type)
{
    for (size_t i = 0; i < TYPES; i++)
        if (types[i].type == type)
            return types[i].name;
    return "unknown";
}

enum dtype dtype_from_name(const char *name)
{
    for (size_t i = 0; i < TYPES; i++)
        if (!strcmp(types[i].name, name))
            return types[i].type;
    return DTYPE_NONE;
}

int64_t shape_elements(const struct shape *s)
{
    int64_t product = 1;
    int empty = 0;
    for (int i = 0; i < s->rank; i++) {
        if (s->dims[i] < 0)
            return -1;
        empty |= s->dims[i] == 0;
    }
    /* An overflow before a later 0 would be no overflow at all. */
    for (int i = 0; i < s->rank && !empty; i++)
        if (__builtin_mul_overflow(product, s->dims[i], &product))
            return -1;
    return empty ? 0 : product;
}

int64_t shape_bytes(const struct shape *s, enum dtype type)
{
    int64_t elements = shape_elements(s), bytes;
    size_t size = dtype_size(type);
    if (elements < 0 || !size || __builtin_mul_overflow(elements, (int64_t)size, &bytes))
        return -1;
    return bytes > PTRDIFF_MAX ? -1 : bytes;
}

int shape_equal(const struct shape *a, const struct shape *b)
{
    if (a->rank != b->rank)
        return 0;
    for (int i = 0; i < a->rank; i++)
        if (a->dims[i] != b->dims[i])
            return 0;
    return 1;
}

const char *shape_text(const struct shape *s, char *text, size_t size)
{
    if (!size)
        return text;
    snprintf(text, size, "%s", s->rank ? "" : "scalar");
    size_t used = strlen(text);
    for (int i = 0; i < s->rank && used + 1 < size; i++) {
        snprintf(text + used, size - used, "%s%lld", i ? "x" : "", (long long)s->dims[i]);
        used += strlen(text + used);
    }
    return text;
}
