#include "worker/printable.h"

#include "base/text.h"

#include <string.h>

static char plain(char c)
{
    if (c == '\r')
        return '\n';
    return text_is_control(&c, 1) && c != '\n' && c != '\t' ? '?' : c;
}

void printable(const char *bytes, size_t size, char *text)
{
    for (size_t i = 0; i < size;) {
        size_t n = text_utf8_size(bytes + i, size - i);
        if (n > 1 && !text_is_control(bytes + i, n)) {
            memcpy(text + i, bytes + i, n);
            i += n;
        } else {
            text[i] = n == 1 ? plain(bytes[i]) : '?';
            i++;
        }
    }
    text[size] = '\0';
}
