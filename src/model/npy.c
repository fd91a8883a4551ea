/* npy.c: NumPy's array files, versions 1 to 3: a magic, the size of a header, and the header as the
 * text of a Python dictionary with exactly three keys. */
#include "model/data.h"

#include <string.h>

enum { MAGIC_BYTES = 8, HEADER_MAX = 64 * 1024 };

struct text {
    const char *at, *end;
};

struct header {
    struct tensor tensor;
    int has_type, has_order, has_shape, column_major;
};

static void skip_blanks(struct text *t)
{
    while (t->at < t->end && (*t->at == ' ' || *t->at == '\n' || *t->at == '\t'))
        t->at++;
}

/* Takes one character after blanks; 1 when it was there. */
static int take(struct text *t, char c)
{
    skip_blanks(t);
    if (t->at == t->end || *t->at != c)
        return 0;
    t->at++;
    return 1;
}

static int take_word(struct text *t, const char *word)
{
    size_t size = strlen(word);
    skip_blanks(t);
    if ((size_t)(t->end - t->at) < size || memcmp(t->at, word, size) != 0)
        return 0;
    t->at += size;
    return 1;
}

/* 'text' or "text" without escapes, into a small field; 0 when it is not that. */
static int take_string(struct text *t, char *out, size_t size)
{
    char quote = take(t, '\'') ? '\'' : '"';
    if (quote == '"' && !take(t, '"'))
        return 0;
    size_t n = 0;
    while (t->at < t->end && *t->at != quote && *t->at != '\\' && n + 1 < size)
        out[n++] = *t->at++;
    out[n] = '\0';
    return t->at < t->end && *t->at++ == quote;
}

static int take_number(struct text *t, int64_t *value)
{
    const char *begin = t->at;
    *value = 0;
    for (; t->at < t->end && *t->at >= '0' && *t->at <= '9'; t->at++)
        if (__builtin_mul_overflow(*value, 10, value) ||
            __builtin_add_overflow(*value, *t->at - '0', value))
            return 0;
    (void)(t->at < t->end && *t->at == 'L' && t->at++); /* files of Python 2 */
    return t->at > begin;
}

static int malformed(struct error *e)
{
    return error_set(e, ERROR_FORMAT, "its header is not that of an .npy file");
}

/* "<f4": byte order, kind, bytes of an element. */
static int set_type(struct header *h, const char *descr, struct error *e)
{
    static const struct {
        const char *descr;
        enum dtype type;
    } types[] = {
        {"f2", DTYPE_F16}, {"f4", DTYPE_F32}, {"f8", DTYPE_F64}, {"i1", DTYPE_I8},
        {"i2", DTYPE_I16}, {"i4", DTYPE_I32}, {"i8", DTYPE_I64}, {"u1", DTYPE_U8},
        {"u2", DTYPE_U16}, {"u4", DTYPE_U32}, {"u8", DTYPE_U64}, {"b1", DTYPE_BOOL},
    };
    if (descr[0] == '>') {
        error_set(e, ERROR_UNSUPPORTED, "its elements are big-endian ('%s')", descr);
        return error_hint(e, "in Python: x.astype(x.dtype.newbyteorder('<'))");
    }
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(descr + 1, types[i].descr) != 0)
            continue;
        h->tensor.type = types[i].type;
        if (descr[0] == '<' || (descr[0] == '|' && dtype_size(h->tensor.type) == 1))
            return 0;
    }
    return error_set(e, ERROR_UNSUPPORTED, "its element type '%s' is not supported", descr);
}

static int read_type(struct text *t, struct header *h, struct error *e)
{
    char descr[16];
    skip_blanks(t);
    if (t->at < t->end && *t->at == '[')
        return error_set(e, ERROR_UNSUPPORTED, "its elements are records");
    h->has_type++;
    return take_string(t, descr, sizeof descr) && descr[0] ? set_type(h, descr, e) : malformed(e);
}

static int read_order(struct text *t, struct header *h, struct error *e)
{
    h->has_order++;
    h->column_major = take_word(t, "True");
    return h->column_major || take_word(t, "False") ? 0 : malformed(e);
}

static int read_shape(struct text *t, struct header *h, struct error *e)
{
    struct shape *s = &h->tensor.shape;
    h->has_shape++;
    *s = (struct shape){0};
    if (!take(t, '('))
        return malformed(e);
    while (!take(t, ')')) {
        int64_t size;
        skip_blanks(t);
        if (s->rank == RANK_MAX)
            return error_set(e, ERROR_UNSUPPORTED, "it has more than %d dimensions", RANK_MAX);
        if (!take_number(t, &size))
            return malformed(e);
        s->dims[s->rank++] = size;
        if (!take(t, ',')) /* (5) is a number, (5,) a tuple */
            return s->rank > 1 && take(t, ')') ? 0 : malformed(e);
    }
    return 0;
}

static int read_header(struct text *t, struct header *h, struct error *e)
{
    char key[16];
    if (!take(t, '{'))
        return malformed(e);
    while (!take(t, '}')) {
        if (!take_string(t, key, sizeof key) || !take(t, ':'))
            return malformed(e);
        int result = !strcmp(key, "descr")           ? read_type(t, h, e)
                     : !strcmp(key, "fortran_order") ? read_order(t, h, e)
                     : !strcmp(key, "shape")         ? read_shape(t, h, e)
                                                     : malformed(e);
        if (result)
            return result;
        if (!take(t, ',')) {
            if (!take(t, '}'))
                return malformed(e);
            break;
        }
    }
    skip_blanks(t);
    int once = h->has_type == 1 && h->has_order == 1 && h->has_shape == 1;
    return once && t->at == t->end ? 0 : malformed(e);
}

/* A matrix with one column or row, or less, is the same both ways. */
static int order_matters(const struct shape *s)
{
    int long_axes = 0;
    for (int i = 0; i < s->rank; i++)
        long_axes += s->dims[i] > 1;
    return long_axes > 1;
}

static int check_data(const struct header *h, size_t size, struct error *e)
{
    int64_t bytes = shape_bytes(&h->tensor.shape, h->tensor.type);
    char text[96];
    if (h->column_major && order_matters(&h->tensor.shape)) {
        error_set(e, ERROR_UNSUPPORTED, "its elements are in column-major (Fortran) order");
        return error_hint(e, "in Python: numpy.ascontiguousarray(x)");
    }
    if (bytes >= 0 && (uint64_t)bytes == size)
        return 0;
    return error_set(e, ERROR_FORMAT, "%s elements of %s do not take the %zu bytes that are there",
                     shape_text(&h->tensor.shape, text, sizeof text), dtype_name(h->tensor.type),
                     size);
}

int npy_parse(const uint8_t *bytes, size_t size, struct tensor *out, size_t *begin, struct error *e)
{
    struct header h = {0};
    if (size < MAGIC_BYTES + 4 || memcmp(bytes, "\x93NUMPY", 6) != 0)
        return error_set(e, ERROR_FORMAT, "it does not begin as an .npy file");
    if (bytes[6] < 1 || bytes[6] > 3)
        return error_set(e, ERROR_UNSUPPORTED, "its format version is %d, not 1 to 3", bytes[6]);
    size_t length_bytes = bytes[6] == 1 ? 2 : 4, length = 0;
    for (size_t i = length_bytes; i-- > 0;)
        length = length << 8 | bytes[MAGIC_BYTES + i];
    size_t start = MAGIC_BYTES + length_bytes;
    if (length > HEADER_MAX || length > size - start)
        return error_set(e, ERROR_FORMAT, "its header claims %zu bytes, %zu are there", length,
                         size - start);
    struct text text = {(const char *)bytes + start, (const char *)bytes + start + length};
    int result = read_header(&text, &h, e);
    if (!result)
        result = check_data(&h, size - start - length, e);
    if (result)
        return result;
    *out = h.tensor;
    *begin = start + length;
    return 0;
}
