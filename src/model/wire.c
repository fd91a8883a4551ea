#include "model/wire.h"

#include <string.h>

struct wire wire_of(const uint8_t *bytes, size_t size)
{
    return size ? (struct wire){bytes, bytes + size} : (struct wire){NULL, NULL};
}

int wire_varint(struct wire *w, uint64_t *value)
{
    uint64_t result = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (w->at == w->end)
            return -1;
        uint8_t byte = *w->at++;
        if (shift == 63 && byte > 1)
            return -1;
        result |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *value = result;
            return 0;
        }
    }
    return -1;
}

int wire_fixed(struct wire *w, size_t size, uint64_t *value)
{
    if ((size_t)(w->end - w->at) < size)
        return -1;
    *value = 0;
    memcpy(value, w->at, size);
    w->at += size;
    return 0;
}

static int take_bytes(struct wire *w, struct wire_field *f)
{
    uint64_t size;
    if (wire_varint(w, &size) || size > (uint64_t)(w->end - w->at))
        return -1;
    f->bytes = w->at;
    f->size = (size_t)size;
    w->at += size;
    return 0;
}

int wire_next(struct wire *w, struct wire_field *f)
{
    uint64_t tag;
    if (w->at == w->end)
        return 0;
    if (wire_varint(w, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
        return -1;
    *f = (struct wire_field){.number = (uint32_t)(tag >> 3), .type = (enum wire_type)(tag & 7)};
    int bad;
    switch (f->type) {
    case WIRE_VARINT:
        bad = wire_varint(w, &f->value);
        break;
    case WIRE_FIXED64:
        bad = wire_fixed(w, 8, &f->value);
        break;
    case WIRE_BYTES:
        bad = take_bytes(w, f);
        break;
    case WIRE_FIXED32:
        bad = wire_fixed(w, 4, &f->value);
        break;
    default: /* groups, which ONNX never had */
        bad = -1;
    }
    return bad ? -1 : 1;
}
