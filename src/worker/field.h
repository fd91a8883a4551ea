/* field.h: members of a command, with their types and ranges checked. */
#ifndef WATTLE_WORKER_FIELD_H
#define WATTLE_WORKER_FIELD_H

#include "base/error.h"

#include <jansson.h>
#include <stdint.h>

/* Missing is an error, unless `fallback` (of field_integer_or) covers it. */
int field_integer(json_t *command, const char *name, int64_t low, int64_t high, int64_t *out,
                  struct error *e);
int field_integer_or(json_t *command, const char *name, int64_t low, int64_t high,
                     int64_t fallback, int64_t *out, struct error *e);
/* Borrowed from the command; a NULL fallback means that it must be there. */
int field_text(json_t *command, const char *name, const char *fallback, const char **out,
               struct error *e);
/* Borrowed; NULL in *out when it is missing. */
int field_array(json_t *command, const char *name, json_t **out, struct error *e);
int field_object(json_t *command, const char *name, json_t **out, struct error *e);

#endif
