/* sql.h: SQLite with this program's errors: statements that are bound and read in column order, the
 * first failure sticking, so that a row reads as one list of fields. */
#ifndef WATTLE_STORE_SQL_H
#define WATTLE_STORE_SQL_H

#include "base/error.h"

#include <jansson.h>
#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

/* Turns SQLite's last failure on db into *e, with what it was about and what helps. */
int sql_error(sqlite3 *db, struct error *e);
int sql_run(sqlite3 *db, const char *text, struct error *e);
int sql_integer(sqlite3 *db, const char *query, int64_t *out, struct error *e);

struct sql {
    sqlite3 *db;
    sqlite3_stmt *statement;
    int column;        /* of the next bind or get */
    int result;        /* the first failure; later calls do nothing */
    const char *table; /* named in errors */
    struct error *error;
};

/* Always to be followed by sql_close, also when it failed. */
void sql_open(struct sql *s, sqlite3 *db, const char *table, const char *text, struct error *e);
int sql_close(struct sql *s); /* the first failure */

/* NaN is stored as NULL, u64 as the signed integer of the same bits. */
void sql_put_int(struct sql *s, int64_t value);
void sql_put_u64(struct sql *s, uint64_t value);
void sql_put_double(struct sql *s, double value);
void sql_put_text(struct sql *s, const char *value);
void sql_put_json(struct sql *s, const json_t *value, const char *otherwise);
void sql_put_blob(struct sql *s, const void *data, size_t size); /* size 0: NULL */
void sql_put_null(struct sql *s);
/* Runs a statement that gives no rows. */
void sql_done(struct sql *s);

/* 1 when there is a row, whose fields are then got in order. */
int sql_row(struct sql *s);
int64_t sql_get_int(struct sql *s, int64_t low, int64_t high); /* outside: ERROR_FORMAT */
int64_t sql_get_optional(struct sql *s, int64_t low, int64_t high, int64_t otherwise);
uint64_t sql_get_u64(struct sql *s);
double sql_get_double(struct sql *s);                           /* NULL: NaN */
void sql_get_text(struct sql *s, char *text, size_t size);      /* too long: ERROR_FORMAT */
/* An object or array, as `type` says; NULL after a failure. */
json_t *sql_get_json(struct sql *s, json_type type);
const void *sql_get_blob(struct sql *s, size_t *size);          /* until the next row */
/* The index of a text among names[count]; not among them: ERROR_FORMAT. */
int sql_get_name(struct sql *s, const char *(*name)(int), int count);

#endif
