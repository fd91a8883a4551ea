#include "model/wire_write.h"
#include "model/wire.h"

#include <string.h>

size_t wire_varint_size(uint64_t value)
{
    size_t size = 1;
    while (value >>= 7)
        size++;
    return size;
}

void wire_put_varint(struct buffer *b, uint64_t value)
{
    uint8_t bytes[10];
    size_t n = 0;
    do {
        bytes[n++] = (uint8_t)(value & 0x7f) | (value > 0x7f ? 0x80 : 0);
        value >>= 7;
    } while (value);
    buffer_append(b, bytes, n);
}

static void put_tag(struct buffer *b, uint32_t field, enum wire_type type)
{
    wire_put_varint(b, (uint64_t)field << 3 | type);
}

void wire_put_uint(struct buffer *b, uint32_t field, uint64_t value)
{
    put_tag(b, field, WIRE_VARINT);
    wire_put_varint(b, value);
}

void wire_put_float(struct buffer *b, uint32_t field, float value)
{
    put_tag(b, field, WIRE_FIXED32);
    buffer_append(b, &value, sizeof value);
}

void wire_put_head(struct buffer *b, uint32_t field, uint64_t size)
{
    put_tag(b, field, WIRE_BYTES);
    wire_put_varint(b, size);
}

void wire_put_bytes(struct buffer *b, uint32_t field, const void *bytes, size_t size)
{
    wire_put_head(b, field, size);
    buffer_append(b, bytes, size);
}

void wire_put_text(struct buffer *b, uint32_t field, const char *text)
{
    wire_put_bytes(b, field, text, strlen(text));
}
