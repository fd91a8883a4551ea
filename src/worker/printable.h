/* printable.h: foreign bytes made fit for a JSON string and a terminal. */
#ifndef WATTLE_WORKER_PRINTABLE_H
#define WATTLE_WORKER_PRINTABLE_H

#include <stddef.h>

/* Copies size bytes to text (size + 1 bytes): what is not valid UTF-8, and control characters but
 * newline and tab, become '?'; a carriage return becomes a newline. */
void printable(const char *bytes, size_t size, char *text);

#endif
