#include "worker/printable.h"

#include <stdint.h>

/* Bytes of the UTF-8 sequence at p (1..4), or 0 when it is none. */
static size_t sequence(const unsigned char *p, size_t left)
{
    if (p[0] < 0x80)
        return 1;
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || n > left)
        return 0;
    uint32_t code = p[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3fu);
    }
    static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
    int bad = code < lowest[n] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) ||
              (code >= 0x80 && code < 0xa0);
    return bad ? 0 : n;
}

static char plain(unsigned char c)
{
    if (c == '\r')
        return '\n';
    return (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f ? '?' : (char)c;
}

void printable(const char *bytes, size_t size, char *text)
{
    const unsigned char *p = (const unsigned char *)bytes;
    size_t i = 0;
    while (i < size) {
        size_t n = sequence(p + i, size - i);
        if (n <= 1) {
            text[i] = n ? plain(p[i]) : '?';
            i++;
        } else {
            for (size_t end = i + n; i < end; i++)
                text[i] = bytes[i];
        }
    }
    text[size] = '\0';
}
