/* pack.h: arrays of numbers as zstd frames (with checksum), the same bytes on every machine. */
#ifndef WATTLE_STORE_PACK_H
#define WATTLE_STORE_PACK_H

#include "base/error.h"

#include <wattle/meter.h>

#include <stddef.h>
#include <stdint.h>

enum {
    PACK_LATENCY_BYTES = 8,
    /* little-endian: time_ns 8, total_uj 8, low_uj 8, high_uj 8, status 4, wraps 4, gaps 4 */
    PACK_READING_BYTES = 44,
    PACK_BYTES_MAX = 1 << 26, /* of one array before it is compressed: 8 million latencies */
};

/* *out is malloc'd; an empty array gives NULL and 0. */
int pack_latencies(const uint64_t *ns, size_t count, void **out, size_t *size, struct error *e);
int pack_readings(const struct wattle_reading *readings, size_t count, void **out, size_t *size,
                  struct error *e);

/* The array of exactly `count` items, malloc'd (NULL for 0). A frame that holds anything else is
 * ERROR_FORMAT, found before memory is taken for it. */
int unpack_latencies(const void *frame, size_t size, size_t count, uint64_t **out,
                     struct error *e);
int unpack_readings(const void *frame, size_t size, size_t count, struct wattle_reading **out,
                    struct error *e);

#endif
