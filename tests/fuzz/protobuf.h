/* protobuf.h: changes to protobuf messages that keep them well-formed. Without it nearly all that
 * libFuzzer makes of a model breaks the length of some message and is refused at once. */
#ifndef WATTLE_FUZZ_PROTOBUF_H
#define WATTLE_FUZZ_PROTOBUF_H

#include "base/buffer.h"
#include "model/wire.h"
#include "model/wire_write.h"

#include <stdlib.h>
#include <string.h>

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
/* libFuzzer's own; not there in a replay, which never asks. */
__attribute__((weak)) size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

enum { PROTOBUF_DEPTH_MAX = 12, PROTOBUF_FIELDS_MAX = 4096, PROTOBUF_BYTES_MAX = 1 << 20,
       PROTOBUF_SLACK = 64 };

static inline uint64_t protobuf_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* How many fields the bytes have as a message; 0 when they are none. */
static inline size_t protobuf_count(const uint8_t *bytes, size_t size)
{
    struct wire w = wire_of(bytes, size);
    struct wire_field f;
    size_t count = 0;
    int more;
    while ((more = wire_next(&w, &f)) > 0 && count < PROTOBUF_FIELDS_MAX)
        count++;
    return more < 0 ? 0 : count;
}

static inline struct wire_field protobuf_nth(const uint8_t *bytes, size_t size, size_t n)
{
    struct wire w = wire_of(bytes, size);
    struct wire_field f = {0};
    for (size_t i = 0; i <= n; i++)
        wire_next(&w, &f);
    return f;
}

static inline void protobuf_put(struct buffer *out, const struct wire_field *f)
{
    uint32_t fixed = (uint32_t)f->value;
    switch (f->type) {
    case WIRE_VARINT: wire_put_uint(out, f->number, f->value); break;
    case WIRE_BYTES: wire_put_bytes(out, f->number, f->bytes, f->size); break;
    case WIRE_FIXED32:
        wire_put_varint(out, (uint64_t)f->number << 3 | WIRE_FIXED32);
        buffer_append(out, &fixed, sizeof fixed);
        break;
    default:
        wire_put_varint(out, (uint64_t)f->number << 3 | WIRE_FIXED64);
        buffer_append(out, &f->value, sizeof f->value);
    }
}

static inline uint64_t protobuf_number(uint64_t old, uint64_t *random)
{
    static const uint64_t telling[] = {0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 13, 16, 64, 127, 255, 1024,
                                       65535, 1 << 20, INT32_MAX, UINT32_MAX, INT64_MAX,
                                       (uint64_t)INT64_MIN, UINT64_MAX, UINT64_MAX - 1};
    switch (protobuf_random(random) % 4) {
    case 0: return old + 1;
    case 1: return old - 1;
    case 2: return old ^ (uint64_t)1 << protobuf_random(random) % 64;
    default: return telling[protobuf_random(random) % (sizeof telling / sizeof *telling)];
    }
}

/* Some field of the whole message, wherever: a name or a node of elsewhere in the file. */
static inline struct wire_field protobuf_any(const uint8_t *bytes, size_t size, uint64_t *random)
{
    struct wire_field f = {.type = WIRE_BYTES, .number = 1};
    for (int depth = 0; depth < PROTOBUF_DEPTH_MAX; depth++) {
        size_t count = protobuf_count(bytes, size);
        if (!count)
            break;
        f = protobuf_nth(bytes, size, protobuf_random(random) % count);
        if (f.type != WIRE_BYTES || protobuf_random(random) % 4 == 0)
            break;
        bytes = f.bytes;
        size = f.size;
    }
    return f;
}

/* The field's bytes as libFuzzer changes them, or those of another field. */
static inline void protobuf_change_bytes(struct buffer *out, struct wire_field f,
                                         const struct wire_field *other, uint64_t *random)
{
    uint8_t *changed = malloc(f.size + PROTOBUF_SLACK);
    if (!changed)
        return;
    if (f.size)
        memcpy(changed, f.bytes, f.size);
    if (protobuf_random(random) % 3 == 0 && other->type == WIRE_BYTES) {
        f.bytes = other->bytes;
        f.size = other->size;
    } else {
        f.size = LLVMFuzzerMutate(changed, f.size, f.size + PROTOBUF_SLACK);
        f.bytes = changed;
    }
    protobuf_put(out, &f);
    free(changed);
}

/* Writes the field as it is, twice, not at all, with another one, or changed. */
static inline void protobuf_change_field(struct buffer *out, const struct wire_field *f,
                                         const struct wire_field *other, uint64_t *random)
{
    struct wire_field changed = *f;
    switch (protobuf_random(random) % 8) {
    case 0: break;
    case 1:
        protobuf_put(out, f);
        protobuf_put(out, f);
        break;
    case 2:
        protobuf_put(out, f);
        protobuf_put(out, other);
        break;
    case 3:
        changed.number = (uint32_t)(1 + protobuf_random(random) % 26);
        protobuf_put(out, &changed);
        break;
    default:
        if (f->type == WIRE_BYTES) {
            protobuf_change_bytes(out, *f, other, random);
        } else {
            changed.value = protobuf_number(f->value, random);
            protobuf_put(out, &changed);
        }
    }
}

/* Copies a message with one change in it, at any depth. */
static inline void protobuf_change(struct buffer *out, const uint8_t *bytes, size_t size,
                                   const struct wire_field *other, uint64_t *random, int depth)
{
    size_t count = protobuf_count(bytes, size);
    size_t chosen = count ? protobuf_random(random) % count : 0;
    for (size_t i = 0; i < count; i++) {
        struct wire_field f = protobuf_nth(bytes, size, i);
        int is_message = f.type == WIRE_BYTES && protobuf_count(f.bytes, f.size) > 0;
        if (i != chosen) {
            protobuf_put(out, &f);
        } else if (is_message && depth < PROTOBUF_DEPTH_MAX && protobuf_random(random) % 8) {
            struct buffer inner;
            buffer_init(&inner, PROTOBUF_BYTES_MAX);
            protobuf_change(&inner, f.bytes, f.size, other, random, depth + 1);
            f.bytes = (const uint8_t *)buffer_string(&inner);
            f.size = inner.size;
            protobuf_put(out, &f);
            buffer_release(&inner);
        } else {
            protobuf_change_field(out, &f, other, random);
        }
    }
}

/* Now and then the bytes are changed as bytes, which breaks lengths. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    uint64_t random = (uint64_t)seed * 0x9e3779b97f4a7c15u + 1;
    struct buffer out;
    if (!protobuf_count(data, size) || protobuf_random(&random) % 32 == 0)
        return LLVMFuzzerMutate(data, size, max_size);
    buffer_init(&out, PROTOBUF_BYTES_MAX);
    struct wire_field other = protobuf_any(data, size, &random);
    protobuf_change(&out, data, size, &other, &random, 0);
    if (out.failed || out.size > max_size || !out.size)
        size = LLVMFuzzerMutate(data, size, max_size);
    else
        memcpy(data, out.data, size = out.size);
    buffer_release(&out);
    return size;
}

#endif
