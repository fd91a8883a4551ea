/* wire.h: the protobuf wire format, read field by field without copying. For the outer messages of
 * an ONNX file, whose bulk must stay where it is; inner ones go to protobuf-c. */
#ifndef WATTLE_MODEL_WIRE_H
#define WATTLE_MODEL_WIRE_H

#include <stddef.h>
#include <stdint.h>

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

struct wire {
    const uint8_t *at, *end;
};

struct wire_field {
    uint32_t number;
    enum wire_type type;
    uint64_t value;       /* of a varint or fixed field */
    const uint8_t *bytes; /* of WIRE_BYTES; points into what the walk began with */
    size_t size;
};

/* Starts a walk over a message, or over the packed values in a field. */
struct wire wire_of(const uint8_t *bytes, size_t size);
/* 1 with the next field, 0 at the end, -1 when the bytes are truncated or not protobuf. */
int wire_next(struct wire *w, struct wire_field *f);
/* One bare varint: 0, or -1 when it is cut off or longer than 64 bits. */
int wire_varint(struct wire *w, uint64_t *value);
/* Little-endian value of 4 or 8 bytes: 0, or -1 when fewer are left. */
int wire_fixed(struct wire *w, size_t size, uint64_t *value);

#endif
