/* wire_write.h: protobuf fields appended to a buffer. */
#ifndef WATTLE_MODEL_WIRE_WRITE_H
#define WATTLE_MODEL_WIRE_WRITE_H

#include "base/buffer.h"

#include <stdint.h>

size_t wire_varint_size(uint64_t value);
void wire_put_varint(struct buffer *b, uint64_t value);
void wire_put_uint(struct buffer *b, uint32_t field, uint64_t value);
void wire_put_float(struct buffer *b, uint32_t field, float value);
void wire_put_bytes(struct buffer *b, uint32_t field, const void *bytes, size_t size);
void wire_put_text(struct buffer *b, uint32_t field, const char *text);
/* The tag and length of a field whose bytes come later. */
void wire_put_head(struct buffer *b, uint32_t field, uint64_t size);

#endif
