/* few_bits.c: whether a file that only its runtime reads holds numbers of few bits. Its structure
 * is looked through, never its weights; nothing in it is believed. */
#include "model/format.h"

#include "base/file.h"

#include <string.h>

/* --- OpenVINO's IR: XML ----------------------------------------------------------------------- */

/* From behind '<' to '>'. */
struct tag {
    const char *begin, *end;
};

/* The end of the tag that begins at p; attributes in quotes may hold a '>'. */
static const char *tag_end(const char *p, const char *end)
{
    char quote = '\0';
    for (; p < end && (quote || *p != '>'); p++)
        if (quote ? *p == quote : *p == '"' || *p == '\'')
            quote = quote ? '\0' : *p;
    return p;
}

static int next_tag(const char **at, const char *end, struct tag *t)
{
    const char *p = memchr(*at, '<', (size_t)(end - *at));
    while (p && end - p > 4 && !memcmp(p, "<!--", 4)) {
        p = memmem(p, (size_t)(end - p), "-->", 3);
        p = p ? memchr(p, '<', (size_t)(end - p)) : NULL;
    }
    if (!p)
        return 0;
    *t = (struct tag){p + 1, tag_end(p + 1, end)};
    *at = t->end;
    return t->end < end;
}

static int is_tag(const struct tag *t, const char *name)
{
    size_t size = strlen(name);
    return (size_t)(t->end - t->begin) > size && !memcmp(t->begin, name, size) &&
           strchr(" \t\r\n", t->begin[size]);
}

/* "" where there is none, or it is too long to be of interest. */
static void attribute(const struct tag *t, const char *name, char value[32])
{
    size_t size = strlen(name);
    const char *p = t->begin;
    value[0] = '\0';
    while ((p = memmem(p, (size_t)(t->end - p), name, size))) {
        const char *begin = p + size;
        if (strchr(" \t\r\n", p[-1]) && t->end - begin > 2 && begin[0] == '=' && begin[1] == '"') {
            const char *end = memchr(begin + 2, '"', (size_t)(t->end - begin - 2));
            if (end && end - begin - 2 < 32) {
                memcpy(value, begin + 2, (size_t)(end - begin - 2));
                value[end - begin - 2] = '\0';
            }
            return;
        }
        p = begin;
    }
}

static int is_one_of(const char *text, const char *const *list)
{
    while (*list && strcmp(*list, text))
        list++;
    return *list != NULL;
}

/* Weights are constants; an input of bytes that are made floats at once is none. */
static int ir_is_quantised(const char *at, const char *end)
{
    static const char *const operators[] = {"FakeQuantize", "FakeConvert", NULL};
    static const char *const types[] = {"i8", "u8", "i4", "u4", "i2", "u2", "u1", "u3", "u6", "nf4",
                                        "f4e2m1", "f8e4m3", "f8e5m2", NULL};
    struct tag t;
    int is_net = 0, is_constant = 0;
    while (next_tag(&at, end, &t)) {
        char text[32];
        is_net |= is_tag(&t, "net");
        if (is_net && is_tag(&t, "layer")) {
            attribute(&t, "type", text);
            if (is_one_of(text, operators))
                return 1;
            is_constant = !strcmp(text, "Const");
        } else if (is_constant && is_tag(&t, "data")) {
            attribute(&t, "element_type", text);
            if (is_one_of(text, types))
                return 1;
        }
    }
    return is_net ? 0 : -1;
}

/* --- TFLite: a flatbuffer --------------------------------------------------------------------- */

/* Places are offsets into the file; 0 is a field that is not there. */
struct flat {
    const uint8_t *bytes;
    size_t size;
    int is_bad;
};

static uint32_t number_at(struct flat *f, uint64_t at, uint32_t size)
{
    uint32_t value = 0;
    if (at > f->size || f->size - at < size) {
        f->is_bad = 1;
        return 0;
    }
    for (uint32_t i = size; i-- > 0;)
        value = value << 8 | f->bytes[at + i];
    return value;
}

static uint64_t follow(struct flat *f, uint64_t at)
{
    return at ? at + number_at(f, at, 4) : 0;
}

static uint64_t field(struct flat *f, uint64_t table, uint32_t index)
{
    int64_t fields = (int64_t)table - (int32_t)number_at(f, table, 4);
    if (!table || fields < 0 || number_at(f, (uint64_t)fields, 2) < 4 + 2 * index + 2)
        return 0;
    uint32_t offset = number_at(f, (uint64_t)fields + 4 + 2 * index, 2);
    return offset ? table + offset : 0;
}

/* How many a vector has; as many as can be there at most. */
static uint32_t count_at(struct flat *f, uint64_t vector)
{
    uint32_t count = vector ? number_at(f, vector, 4) : 0;
    f->is_bad |= count > f->size / 4;
    return f->is_bad ? 0 : count;
}

static int tensor_is_quantised(struct flat *f, uint64_t tensor)
{
    enum { UINT8 = 3, INT16 = 7, INT8 = 9, INT4 = 17 };
    uint64_t at = field(f, tensor, 1);
    uint32_t type = at ? number_at(f, at, 1) : 0;
    if (type != UINT8 && type != INT16 && type != INT8 && type != INT4)
        return 0;
    uint64_t scales = follow(f, field(f, follow(f, field(f, tensor, 4)), 2));
    return count_at(f, scales) > 0;
}

/* Subgraphs may share their tensors, so that a small file could keep us busy for long. */
static int tflite_is_quantised(const uint8_t *bytes, size_t size)
{
    struct flat f = {bytes, size, size < 8 || memcmp(bytes + 4, "TFL3", 4)};
    uint64_t graphs = f.is_bad ? 0 : follow(&f, field(&f, number_at(&f, 0, 4), 2)), looked_at = 0;
    uint32_t graph_count = count_at(&f, graphs);
    for (uint32_t i = 0; i < graph_count && !f.is_bad; i++) {
        uint64_t graph = follow(&f, graphs + 4 + (uint64_t)4 * i);
        uint64_t tensors = follow(&f, field(&f, graph, 0));
        uint32_t count = count_at(&f, tensors);
        for (uint32_t k = 0; k < count && !f.is_bad; k++) {
            if (tensor_is_quantised(&f, follow(&f, tensors + 4 + (uint64_t)4 * k)))
                return 1;
            f.is_bad |= ++looked_at > size;
        }
    }
    return f.is_bad || !graph_count ? -1 : 0;
}

/* --- TensorFlow's graphs: names of operators in protobuf -------------------------------------- */

static int graph_is_quantised(const uint8_t *bytes, size_t size)
{
    static const char *const words[] = {"FakeQuant", "Quantize", "Dequantize"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (memmem(bytes, size, words[i], strlen(words[i])))
            return 1;
    return 0;
}

int format_is_quantised(const char *path, const char *format)
{
    int is_ir = !strcmp(format, "ir"), is_tflite = !strcmp(format, "tflite");
    int is_folder = !strcmp(format, "savedmodel"), result = -1;
    char inner[PATH_MAX];
    struct file_map map;
    struct error ignored;
    if (!is_ir && !is_tflite && !is_folder && strcmp(format, "tfgraph") != 0)
        return 0;
    if (is_folder && file_join(inner, path, "saved_model.pb", &ignored))
        return -1;
    if (file_map_open(is_folder ? inner : path, &map, &ignored))
        return -1;
    if (!map.data)
        result = -1;
    else if (is_ir)
        result = ir_is_quantised((const char *)map.data, (const char *)map.data + map.size);
    else
        result = is_tflite ? tflite_is_quantised(map.data, map.size)
                           : graph_is_quantised(map.data, map.size);
    file_map_close(&map);
    return result;
}
