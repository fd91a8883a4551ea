/* buffer.h: growable bytes with a mandatory maximum, kept NUL-terminated for use as text. */
#ifndef WATTLE_BASE_BUFFER_H
#define WATTLE_BASE_BUFFER_H

#include <stddef.h>

struct buffer {
    char *data;      /* NULL until the first append; data[size] is NUL */
    size_t size;
    size_t capacity;
    size_t maximum;  /* appends beyond it fail */
    int failed;      /* sticky: 1 after any append that failed; check once at the end */
};

void buffer_init(struct buffer *b, size_t maximum);
void buffer_release(struct buffer *b); /* frees the contents; b may be used again */
void buffer_clear(struct buffer *b);   /* size 0, memory kept, failed reset */

/* Each returns 0, or -1 with b->failed set and the contents as they were. */
int buffer_append(struct buffer *b, const void *bytes, size_t size);
int buffer_text(struct buffer *b, const char *text);
int buffer_format(struct buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Never NULL: "" for an empty buffer. */
const char *buffer_string(const struct buffer *b);

#endif
