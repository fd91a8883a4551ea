#include "model/write.h"
#include "base/arena.h"
#include "base/buffer.h"
#include "model/onnx.h"
#include "model/wire_write.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum {
    STRUCTURE_BYTES_MAX = 64 << 20,
    PIECE_BYTES = 256 << 10, /* of an initializer, made, hashed and written while in cache */
    PADDING_MAX = ONNX_WRITE_ALIGNMENT + 6, /* reaches every remainder, whatever lengths do */
};

/* One initializer: the fields of its TensorProto up to the padding, and how to make its data. */
struct entry {
    struct entry *next;
    const char *fields;
    size_t fields_size;
    uint64_t data_size; /* 0: no raw_data field (external) */
    size_t element;
    onnx_fill *fill;
    const void *context;
    size_t padding;     /* bytes of a doc_string field; set by layout */
    uint64_t body_size; /* of the whole TensorProto */
};

struct onnx_writer {
    struct arena arena;
    struct buffer nodes, tail; /* GraphProto fields before and after the initializers */
    struct buffer metadata;
    struct buffer node, attribute, scratch; /* under construction */
    int in_node, failed;
    int (*stop)(void);
    struct entry *first, **last;
};

struct onnx_writer *onnx_writer_new(const char *graph_name)
{
    struct onnx_writer *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    arena_init(&w->arena, STRUCTURE_BYTES_MAX);
    struct buffer *all[] = {&w->nodes, &w->tail,      &w->metadata,
                            &w->node,  &w->attribute, &w->scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        buffer_init(all[i], STRUCTURE_BYTES_MAX);
    w->last = &w->first;
    wire_put_text(&w->tail, 2, graph_name);
    return w;
}

void onnx_writer_free(struct onnx_writer *w)
{
    if (!w)
        return;
    struct buffer *all[] = {&w->nodes, &w->tail,      &w->metadata,
                            &w->node,  &w->attribute, &w->scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        buffer_release(all[i]);
    arena_release(&w->arena);
    free(w);
}

/* Appends child to parent as one field and empties it; a failure anywhere is kept. */
static void put_message(struct onnx_writer *w, struct buffer *parent, uint32_t field,
                        struct buffer *child)
{
    w->failed |= child->failed;
    wire_put_bytes(parent, field, buffer_string(child), child->size);
    buffer_clear(child);
}

static void put_dim(struct buffer *b, const char *dim)
{
    char *end;
    long long value = strtoll(dim, &end, 10);
    if (*dim && !*end)
        wire_put_uint(b, 1, (uint64_t)value);
    else
        wire_put_text(b, 2, dim);
}

/* ValueInfoProto{name, TypeProto{Tensor{elem_type, shape{dim...}}}}, built from the inside. */
static void put_value(struct onnx_writer *w, uint32_t field, const char *name, enum dtype type,
                      const char *const *dims)
{
    struct buffer dim, shape, tensor;
    buffer_init(&dim, STRUCTURE_BYTES_MAX);
    buffer_init(&shape, STRUCTURE_BYTES_MAX);
    buffer_init(&tensor, STRUCTURE_BYTES_MAX);
    for (; *dims; dims++) {
        put_dim(&dim, *dims);
        put_message(w, &shape, 1, &dim);
    }
    wire_put_uint(&tensor, 1, type);
    put_message(w, &tensor, 2, &shape);
    put_message(w, &w->attribute, 1, &tensor);
    wire_put_text(&w->scratch, 1, name);
    put_message(w, &w->scratch, 2, &w->attribute);
    put_message(w, &w->tail, field, &w->scratch);
    buffer_release(&dim);
    buffer_release(&shape);
    buffer_release(&tensor);
}

static void end_node(struct onnx_writer *w)
{
    if (w->in_node)
        put_message(w, &w->nodes, 1, &w->node);
    w->in_node = 0;
}

void onnx_writer_input(struct onnx_writer *w, const char *name, enum dtype type,
                       const char *const *dims)
{
    put_value(w, 11, name, type, dims);
}

void onnx_writer_output(struct onnx_writer *w, const char *name, enum dtype type,
                        const char *const *dims)
{
    put_value(w, 12, name, type, dims);
}

void onnx_writer_metadata(struct onnx_writer *w, const char *key, const char *value)
{
    wire_put_text(&w->scratch, 1, key);
    wire_put_text(&w->scratch, 2, value);
    put_message(w, &w->metadata, 14, &w->scratch);
}

void onnx_writer_node(struct onnx_writer *w, const char *op_type, const char *name,
                      const char *const *inputs, const char *output)
{
    end_node(w);
    w->in_node = 1;
    for (; *inputs; inputs++)
        wire_put_text(&w->node, 1, *inputs);
    wire_put_text(&w->node, 2, output);
    wire_put_text(&w->node, 3, name);
    wire_put_text(&w->node, 4, op_type);
}

static void end_attribute(struct onnx_writer *w, enum onnx_attribute_type type)
{
    wire_put_uint(&w->attribute, 20, type);
    put_message(w, &w->node, 5, &w->attribute);
}

void onnx_writer_int(struct onnx_writer *w, const char *attribute, int64_t value)
{
    wire_put_text(&w->attribute, 1, attribute);
    wire_put_uint(&w->attribute, 3, (uint64_t)value);
    end_attribute(w, ONNX_INT);
}

void onnx_writer_ints(struct onnx_writer *w, const char *attribute, const int64_t *values,
                      size_t count)
{
    wire_put_text(&w->attribute, 1, attribute);
    for (size_t i = 0; i < count; i++)
        wire_put_uint(&w->attribute, 8, (uint64_t)values[i]);
    end_attribute(w, ONNX_INTS);
}

void onnx_writer_float(struct onnx_writer *w, const char *attribute, float value)
{
    wire_put_text(&w->attribute, 1, attribute);
    wire_put_float(&w->attribute, 2, value);
    end_attribute(w, ONNX_FLOAT);
}

void onnx_writer_string(struct onnx_writer *w, const char *attribute, const char *value)
{
    wire_put_text(&w->attribute, 1, attribute);
    wire_put_text(&w->attribute, 4, value);
    end_attribute(w, ONNX_STRING);
}

/* Takes the TensorProto fields in scratch as a new entry. */
static struct entry *add_entry(struct onnx_writer *w)
{
    struct entry *entry = arena_alloc(&w->arena, sizeof *entry);
    const char *fields = arena_text(&w->arena, buffer_string(&w->scratch), w->scratch.size);
    w->failed |= w->scratch.failed || !entry || !fields;
    if (!w->failed) {
        entry->fields = fields;
        entry->fields_size = w->scratch.size;
        *w->last = entry;
        w->last = &entry->next;
    }
    buffer_clear(&w->scratch);
    return w->failed ? NULL : entry;
}

static void put_tensor_head(struct onnx_writer *w, const char *name, enum dtype type,
                            const struct shape *shape)
{
    for (int i = 0; i < shape->rank; i++)
        wire_put_uint(&w->scratch, 1, (uint64_t)shape->dims[i]);
    wire_put_uint(&w->scratch, 2, type);
    wire_put_text(&w->scratch, 8, name);
}

void onnx_writer_initializer(struct onnx_writer *w, const char *name, enum dtype type,
                             const struct shape *shape, onnx_fill *fill, const void *context,
                             size_t size)
{
    put_tensor_head(w, name, type, shape);
    struct entry *entry = add_entry(w);
    void *copy = arena_alloc(&w->arena, size);
    int64_t bytes = shape_bytes(shape, type);
    w->failed |= !copy || bytes < 0;
    if (!entry || w->failed)
        return;
    if (size)
        memcpy(copy, context, size);
    entry->context = copy;
    entry->fill = fill;
    entry->element = dtype_size(type);
    entry->data_size = (uint64_t)bytes;
}

struct constant {
    size_t element;
    unsigned char data[];
};

static void fill_constant(const void *context, uint64_t first, size_t count, void *out)
{
    const struct constant *c = context;
    memcpy(out, c->data + first * c->element, count * c->element);
}

void onnx_writer_constant(struct onnx_writer *w, const char *name, enum dtype type,
                          const struct shape *shape, const void *data)
{
    int64_t bytes = shape_bytes(shape, type);
    struct constant *c = bytes < 0 ? NULL : arena_alloc(&w->arena, sizeof *c + (size_t)bytes);
    if (!c) {
        w->failed = 1;
        return;
    }
    c->element = dtype_size(type);
    if (bytes)
        memcpy(c->data, data, (size_t)bytes);
    onnx_writer_initializer(w, name, type, shape, fill_constant, c, sizeof *c + (size_t)bytes);
}

static void put_entry_text(struct buffer *b, const char *key, const char *value)
{
    size_t size = 2 + wire_varint_size(strlen(key)) + wire_varint_size(strlen(value)) +
                  strlen(key) + strlen(value);
    if (!*value)
        return;
    wire_put_head(b, 13, size);
    wire_put_text(b, 1, key);
    wire_put_text(b, 2, value);
}

void onnx_writer_external(struct onnx_writer *w, const char *name, enum dtype type,
                          const struct shape *shape, const char *location, const char *offset,
                          const char *length)
{
    put_tensor_head(w, name, type, shape);
    put_entry_text(&w->scratch, "location", location);
    put_entry_text(&w->scratch, "offset", offset);
    put_entry_text(&w->scratch, "length", length);
    wire_put_uint(&w->scratch, 14, 1);
    add_entry(w);
}

/* Sizes of an entry when its TensorProto has p bytes of padding; p is never 1, as a field of one
 * byte cannot be. */
static uint64_t body_size(const struct entry *entry, size_t padding)
{
    uint64_t data = entry->data_size;
    return entry->fields_size + padding + (data ? 1 + wire_varint_size(data) + data : 0);
}

/* Chooses the padding that puts the data of an entry, whose tag is at `offset` in the file, on a
 * multiple of the alignment; returns where the entry ends. */
static uint64_t place(struct entry *entry, uint64_t offset)
{
    size_t padding = 0;
    uint64_t end = 0;
    for (; padding < PADDING_MAX; padding += padding ? 1 : 2) {
        uint64_t body = body_size(entry, padding);
        end = offset + 1 + wire_varint_size(body) + body;
        if (!entry->data_size || (end - entry->data_size) % ONNX_WRITE_ALIGNMENT == 0)
            break;
    }
    entry->padding = padding;
    entry->body_size = body_size(entry, padding);
    return offset + 1 + wire_varint_size(entry->body_size) + entry->body_size;
}

static void put_model_head(struct buffer *b)
{
    wire_put_uint(b, 1, ONNX_WRITE_IR);
    wire_put_text(b, 2, "wattle");
}

static void put_model_tail(struct onnx_writer *w, struct buffer *b)
{
    struct buffer opset;
    buffer_init(&opset, STRUCTURE_BYTES_MAX);
    wire_put_text(&opset, 1, "");
    wire_put_uint(&opset, 2, ONNX_WRITE_OPSET);
    put_message(w, b, 8, &opset);
    buffer_append(b, buffer_string(&w->metadata), w->metadata.size);
    buffer_release(&opset);
}

/* Decides where everything goes. The graph's length stands before it and its own size moves what
 * comes after, so sizes of that number are tried until one is right. Returns the graph's length. */
static uint64_t layout(struct onnx_writer *w, size_t head)
{
    for (size_t digits = 1; digits <= 10; digits++) {
        uint64_t start = head + 1 + digits, at = start + w->nodes.size;
        for (struct entry *entry = w->first; entry; entry = entry->next)
            at = place(entry, at);
        uint64_t size = at + w->tail.size - start;
        if (wire_varint_size(size) == digits)
            return size;
    }
    return 0;
}

/* Where the bytes go: to the file and into the digest, counted. */
struct sink {
    FILE *file;
    int (*stop)(void);
    EVP_MD_CTX *digest;
    uint64_t written;
    int bad, stopped;
    int saved_errno;
};

static void sink_put(struct sink *s, const void *bytes, size_t size)
{
    if (!size || s->bad)
        return;
    errno = 0;
    if (fwrite(bytes, 1, size, s->file) != size) {
        s->bad = 1;
        s->saved_errno = errno ? errno : EIO;
    } else if (EVP_DigestUpdate(s->digest, bytes, size) != 1) {
        s->bad = 1;
        s->saved_errno = ENOMEM;
    }
    s->written += size;
}

static void sink_put_buffer(struct sink *s, struct buffer *b)
{
    sink_put(s, b->data, b->size);
    buffer_clear(b);
}

static void put_padding(struct buffer *b, size_t padding)
{
    char spaces[PADDING_MAX];
    if (!padding)
        return;
    memset(spaces, ' ', sizeof spaces);
    wire_put_bytes(b, 12, spaces, padding - 2); /* doc_string */
}

static void put_data(struct sink *s, const struct entry *entry, void *piece)
{
    uint64_t total = entry->data_size / entry->element, done = 0;
    while (done < total && !s->bad) {
        if (s->stop && s->stop()) {
            s->bad = s->stopped = 1;
            return;
        }
        uint64_t left = total - done, most = PIECE_BYTES / entry->element;
        size_t count = (size_t)(left < most ? left : most);
        entry->fill(entry->context, done, count, piece);
        sink_put(s, piece, count * entry->element);
        done += count;
    }
}

static void put_initializers(struct onnx_writer *w, struct sink *s, void *piece)
{
    for (const struct entry *entry = w->first; entry && !s->bad; entry = entry->next) {
        wire_put_head(&w->scratch, 5, entry->body_size);
        buffer_append(&w->scratch, entry->fields, entry->fields_size);
        put_padding(&w->scratch, entry->padding);
        if (entry->data_size)
            wire_put_head(&w->scratch, 9, entry->data_size);
        w->failed |= w->scratch.failed;
        sink_put_buffer(s, &w->scratch);
        if (entry->data_size)
            put_data(s, entry, piece);
    }
}

static void put_all(struct onnx_writer *w, struct sink *s, void *piece)
{
    put_model_head(&w->scratch);
    uint64_t graph = layout(w, w->scratch.size);
    wire_put_head(&w->scratch, 7, graph);
    w->failed |= w->scratch.failed;
    sink_put_buffer(s, &w->scratch);
    sink_put(s, w->nodes.data, w->nodes.size);
    put_initializers(w, s, piece);
    sink_put(s, w->tail.data, w->tail.size);
    put_model_tail(w, &w->scratch);
    w->failed |= w->scratch.failed;
    sink_put_buffer(s, &w->scratch);
}

static int broken(struct onnx_writer *w)
{
    end_node(w);
    return w->failed || w->nodes.failed || w->tail.failed || w->metadata.failed ||
           w->scratch.failed || w->attribute.failed || w->node.failed;
}

uint64_t onnx_writer_bytes(struct onnx_writer *w)
{
    if (broken(w))
        return 0;
    put_model_head(&w->scratch);
    uint64_t head = w->scratch.size, graph = layout(w, w->scratch.size);
    buffer_clear(&w->scratch);
    put_model_tail(w, &w->scratch);
    uint64_t tail = w->scratch.size;
    w->failed |= w->scratch.failed;
    buffer_clear(&w->scratch);
    return broken(w) ? 0 : head + 1 + wire_varint_size(graph) + graph + tail;
}

static int write_hashed(struct onnx_writer *w, struct sink *s, void *piece, char hex[65],
                        struct error *e)
{
    unsigned char digest[32];
    if (EVP_DigestInit_ex(s->digest, EVP_sha256(), NULL) != 1)
        return error_memory(e);
    put_all(w, s, piece);
    if (w->failed)
        return error_memory(e);
    if (s->stopped)
        return error_set(e, ERROR_INTERRUPTED, "interrupted");
    if (s->bad)
        return error_errno(e, s->saved_errno, "cannot write the model");
    if (EVP_DigestFinal_ex(s->digest, digest, NULL) != 1)
        return error_memory(e);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return 0;
}

void onnx_writer_stop(struct onnx_writer *w, int (*stop)(void))
{
    w->stop = stop;
}

int onnx_writer_finish(struct onnx_writer *w, FILE *file, char hex[65], struct error *e)
{
    if (broken(w))
        return error_memory(e);
    struct sink s = {.file = file, .stop = w->stop, .digest = EVP_MD_CTX_new()};
    void *piece = malloc(PIECE_BYTES);
    int result = s.digest && piece ? write_hashed(w, &s, piece, hex, e) : error_memory(e);
    free(piece);
    EVP_MD_CTX_free(s.digest);
    return result;
}
