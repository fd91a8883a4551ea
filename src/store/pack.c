#include "store/pack.h"

#include <stdlib.h>
#include <zstd.h>

static uint8_t *put(uint8_t *p, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        *p++ = (uint8_t)(value >> (8 * i));
    return p;
}

static uint64_t get(const uint8_t **p, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)*(*p)++ << (8 * i);
    return value;
}

/* Level 3: latencies are noise, a higher one costs much time and saves little. */
static size_t compress_into(void *out, size_t capacity, const void *raw, size_t size)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    if (!context)
        return 0;
    ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, 3);
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    size_t used = ZSTD_compress2(context, out, capacity, raw, size);
    ZSTD_freeCCtx(context);
    return ZSTD_isError(used) ? 0 : used;
}

static int compress(const void *raw, size_t raw_size, void **out, size_t *size, struct error *e)
{
    size_t bound = ZSTD_compressBound(raw_size);
    void *frame = malloc(bound);
    size_t used = frame ? compress_into(frame, bound, raw, raw_size) : 0;
    if (used == 0) {
        free(frame);
        return error_memory(e);
    }
    *out = frame;
    *size = used;
    return 0;
}

static int check_count(size_t count, size_t item, struct error *e)
{
    if (count <= PACK_BYTES_MAX / item)
        return 0;
    return error_set(e, ERROR_MEMORY, "%zu values are more than one block may hold (%zu)", count,
                     PACK_BYTES_MAX / item);
}

int pack_latencies(const uint64_t *ns, size_t count, void **out, size_t *size, struct error *e)
{
    *out = NULL;
    *size = 0;
    int result = check_count(count, PACK_LATENCY_BYTES, e);
    if (result || count == 0)
        return result;
    uint8_t *raw = malloc(count * PACK_LATENCY_BYTES);
    if (!raw)
        return error_memory(e);
    uint8_t *p = raw;
    for (size_t i = 0; i < count; i++)
        p = put(p, ns[i], 8);
    result = compress(raw, (size_t)(p - raw), out, size, e);
    free(raw);
    return result;
}

static uint8_t *put_reading(uint8_t *p, const struct wattle_reading *r)
{
    p = put(p, r->time_ns, 8);
    p = put(p, r->total_uj, 8);
    p = put(p, r->low_uj, 8);
    p = put(p, r->high_uj, 8);
    p = put(p, (uint64_t)r->status, 4);
    p = put(p, r->wraps, 4);
    return put(p, r->gaps, 4);
}

int pack_readings(const struct wattle_reading *readings, size_t count, void **out, size_t *size,
                  struct error *e)
{
    *out = NULL;
    *size = 0;
    int result = check_count(count, PACK_READING_BYTES, e);
    if (result || count == 0)
        return result;
    uint8_t *raw = malloc(count * PACK_READING_BYTES);
    if (!raw)
        return error_memory(e);
    uint8_t *p = raw;
    for (size_t i = 0; i < count; i++)
        p = put_reading(p, &readings[i]);
    result = compress(raw, (size_t)(p - raw), out, size, e);
    free(raw);
    return result;
}

static int decompress(const void *frame, size_t size, size_t count, size_t item, uint8_t **out,
                      struct error *e)
{
    *out = NULL;
    if (count > PACK_BYTES_MAX / item)
        return error_set(e, ERROR_FORMAT, "damaged store: an array of %zu values", count);
    size_t raw_size = count * item;
    if (!frame || ZSTD_getFrameContentSize(frame, size) != raw_size)
        return error_set(e, ERROR_FORMAT, "damaged store: an array has not its %zu values", count);
    uint8_t *raw = malloc(raw_size);
    if (!raw)
        return error_memory(e);
    if (ZSTD_decompress(raw, raw_size, frame, size) != raw_size) {
        free(raw);
        return error_set(e, ERROR_FORMAT, "damaged store: an array of %zu values is corrupt",
                         count);
    }
    *out = raw;
    return 0;
}

int unpack_latencies(const void *frame, size_t size, size_t count, uint64_t **out,
                     struct error *e)
{
    *out = NULL;
    if (count == 0)
        return 0;
    uint8_t *raw;
    int result = decompress(frame, size, count, PACK_LATENCY_BYTES, &raw, e);
    if (result)
        return result;
    uint64_t *ns = malloc(count * sizeof *ns);
    const uint8_t *p = raw;
    for (size_t i = 0; ns && i < count; i++)
        ns[i] = get(&p, 8);
    free(raw);
    *out = ns;
    return ns ? 0 : error_memory(e);
}

static int get_reading(const uint8_t **p, struct wattle_reading *r)
{
    r->time_ns = get(p, 8);
    r->total_uj = get(p, 8);
    r->low_uj = get(p, 8);
    r->high_uj = get(p, 8);
    uint64_t status = get(p, 4);
    r->status = (enum wattle_status)status;
    r->wraps = (uint32_t)get(p, 4);
    r->gaps = (uint32_t)get(p, 4);
    return status <= WATTLE_ERROR;
}

int unpack_readings(const void *frame, size_t size, size_t count, struct wattle_reading **out,
                    struct error *e)
{
    *out = NULL;
    if (count == 0)
        return 0;
    uint8_t *raw;
    int result = decompress(frame, size, count, PACK_READING_BYTES, &raw, e);
    if (result)
        return result;
    struct wattle_reading *readings = calloc(count, sizeof *readings);
    const uint8_t *p = raw;
    int sane = 1;
    for (size_t i = 0; readings && i < count; i++)
        sane &= get_reading(&p, &readings[i]);
    free(raw);
    if (readings && sane) {
        *out = readings;
        return 0;
    }
    free(readings);
    return !sane ? error_set(e, ERROR_FORMAT, "damaged store: an unknown meter status")
                    : error_memory(e);
}
