#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buffer_init(struct buffer *b, size_t maximum)
{
    *b = (struct buffer){.maximum = maximum};
}

void buffer_release(struct buffer *b)
{
    free(b->data);
    buffer_init(b, b->maximum);
}

void buffer_clear(struct buffer *b)
{
    b->size = 0;
    b->failed = 0;
    if (b->data)
        b->data[0] = '\0';
}

static int reserve(struct buffer *b, size_t extra)
{
    if (b->failed || extra > b->maximum - b->size) {
        b->failed = 1;
        return -1;
    }
    size_t need = b->size + extra + 1;
    if (need <= b->capacity)
        return 0;
    size_t capacity = b->capacity < 64 ? 64 : b->capacity;
    while (capacity < need)
        capacity += capacity / 2;
    char *data = realloc(b->data, capacity);
    if (!data) {
        b->failed = 1;
        return -1;
    }
    b->data = data;
    b->capacity = capacity;
    return 0;
}

int buffer_append(struct buffer *b, const void *bytes, size_t size)
{
    if (reserve(b, size))
        return -1;
    if (size)
        memcpy(b->data + b->size, bytes, size);
    b->size += size;
    b->data[b->size] = '\0';
    return 0;
}

int buffer_text(struct buffer *b, const char *text)
{
    return buffer_append(b, text, strlen(text));
}

int buffer_format(struct buffer *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0 || reserve(b, (size_t)n))
        return -1;
    va_start(args, format);
    vsnprintf(b->data + b->size, (size_t)n + 1, format, args);
    va_end(args);
    b->size += (size_t)n;
    return 0;
}

const char *buffer_string(const struct buffer *b)
{
    return b->data ? b->data : "";
}
