#include "store/sql.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int out_of_space(sqlite3 *db, int code)
{
    int number = sqlite3_system_errno(db);
    return code == SQLITE_FULL ||
           (code == SQLITE_IOERR && (number == ENOSPC || number == EFBIG || number == EDQUOT));
}

int sql_error(sqlite3 *db, struct error *e)
{
    int code = sqlite3_errcode(db) & 0xff;
    const char *file = sqlite3_db_filename(db, "main");
    if (!file || !*file)
        file = "the store";
    if (out_of_space(db, code)) {
        error_set(e, ERROR_IO, "cannot write '%s': the disk is full", file);
        return error_hint(e, "free some space, or name a file elsewhere with --store");
    }
    switch (code) {
    case SQLITE_NOMEM:
        return error_memory(e);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        error_set(e, ERROR_TIMEOUT, "'%s' is locked by another process", file);
        return error_hint(e, "end the program that holds it, or name another file with --store");
    case SQLITE_READONLY:
    case SQLITE_PERM:
        error_set(e, ERROR_PERMISSION, "cannot write '%s': %s", file, sqlite3_errmsg(db));
        return error_hint(e, "make file and folder writable, or name another with --store");
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        error_set(e, ERROR_FORMAT, "'%s' is damaged or not a database: %s", file,
                  sqlite3_errmsg(db));
        return error_hint(e, "name another file with --store");
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
        /* Of the WAL file SQLite does not keep the errno. */
        if (sqlite3_extended_errcode(db) == SQLITE_IOERR_WRITE && !sqlite3_system_errno(db)) {
            error_set(e, ERROR_IO, "cannot write '%s': the disk is full, failing, or a limit on "
                                   "file sizes is reached", file);
            return error_hint(e, "free some space, or name a file elsewhere with --store");
        }
        if (sqlite3_system_errno(db))
            return error_errno(e, sqlite3_system_errno(db), "store '%s'", file);
        return error_set(e, ERROR_IO, "store '%s': %s", file, sqlite3_errmsg(db));
    default:
        return error_set(e, ERROR_FORMAT, "store '%s': %s", file, sqlite3_errmsg(db));
    }
}

int sql_run(sqlite3 *db, const char *text, struct error *e)
{
    return sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK ? 0 : sql_error(db, e);
}

int sql_integer(sqlite3 *db, const char *query, int64_t *out, struct error *e)
{
    struct sql s;
    sql_open(&s, db, "pragma", query, e);
    *out = 0;
    if (sql_row(&s))
        *out = sql_get_int(&s, INT64_MIN, INT64_MAX);
    return sql_close(&s);
}

void sql_open(struct sql *s, sqlite3 *db, const char *table, const char *text, struct error *e)
{
    *s = (struct sql){.db = db, .table = table, .error = e};
    if (sqlite3_prepare_v2(db, text, -1, &s->statement, NULL) != SQLITE_OK)
        s->result = sql_error(db, e);
}

int sql_close(struct sql *s)
{
    sqlite3_finalize(s->statement);
    s->statement = NULL;
    return s->result;
}

static void bound(struct sql *s, int code)
{
    if (code != SQLITE_OK)
        s->result = sql_error(s->db, s->error);
}

void sql_put_int(struct sql *s, int64_t value)
{
    if (!s->result)
        bound(s, sqlite3_bind_int64(s->statement, ++s->column, value));
}

void sql_put_u64(struct sql *s, uint64_t value)
{
    sql_put_int(s, (int64_t)value);
}

void sql_put_double(struct sql *s, double value)
{
    if (!s->result)
        bound(s, sqlite3_bind_double(s->statement, ++s->column, value));
}

void sql_put_text(struct sql *s, const char *value)
{
    if (!s->result)
        bound(s, sqlite3_bind_text(s->statement, ++s->column, value, -1, SQLITE_TRANSIENT));
}

void sql_put_json(struct sql *s, const json_t *value, const char *otherwise)
{
    if (s->result)
        return;
    if (!value) {
        sql_put_text(s, otherwise);
        return;
    }
    /* 17 significant digits bring every double back as it was. */
    char *text = json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(17));
    if (text)
        bound(s, sqlite3_bind_text(s->statement, ++s->column, text, -1, SQLITE_TRANSIENT));
    else
        s->result = error_memory(s->error);
    free(text);
}

void sql_put_blob(struct sql *s, const void *data, size_t size)
{
    if (s->result)
        return;
    if (size == 0)
        bound(s, sqlite3_bind_null(s->statement, ++s->column));
    else
        bound(s, sqlite3_bind_blob64(s->statement, ++s->column, data, size, SQLITE_STATIC));
}

void sql_put_null(struct sql *s)
{
    sql_put_blob(s, NULL, 0);
}

static int step(struct sql *s)
{
    if (s->result)
        return 0;
    int code = sqlite3_step(s->statement);
    s->column = 0;
    if (code == SQLITE_ROW)
        return 1;
    if (code != SQLITE_DONE)
        s->result = sql_error(s->db, s->error);
    return 0;
}

void sql_done(struct sql *s)
{
    (void)step(s);
    if (!s->result)
        sqlite3_reset(s->statement);
}

int sql_row(struct sql *s)
{
    return step(s);
}

static void bad(struct sql *s, const char *what)
{
    if (s->result)
        return;
    s->result = error_set(s->error, ERROR_FORMAT, "damaged store: %s.%s %s", s->table,
                          sqlite3_column_name(s->statement, s->column - 1), what);
}

/* The next column, or -1 when it is not of the type. */
static int next(struct sql *s, int type)
{
    if (s->result)
        return -1;
    int column = s->column++;
    int found = sqlite3_column_type(s->statement, column);
    if (found == type)
        return column;
    bad(s, found == SQLITE_NULL ? "is missing" : "has the wrong type");
    return -1;
}

static int is_null(struct sql *s)
{
    return !s->result && sqlite3_column_type(s->statement, s->column) == SQLITE_NULL;
}

int64_t sql_get_int(struct sql *s, int64_t low, int64_t high)
{
    int column = next(s, SQLITE_INTEGER);
    if (column < 0)
        return low;
    int64_t value = sqlite3_column_int64(s->statement, column);
    if (value >= low && value <= high)
        return value;
    bad(s, "is out of range");
    return low;
}

int64_t sql_get_optional(struct sql *s, int64_t low, int64_t high, int64_t otherwise)
{
    if (!is_null(s))
        return sql_get_int(s, low, high);
    s->column++;
    return otherwise;
}

uint64_t sql_get_u64(struct sql *s)
{
    int column = next(s, SQLITE_INTEGER);
    return column < 0 ? 0 : (uint64_t)sqlite3_column_int64(s->statement, column);
}

double sql_get_double(struct sql *s)
{
    if (is_null(s)) {
        s->column++;
        return __builtin_nan("");
    }
    int column = next(s, SQLITE_FLOAT);
    return column < 0 ? __builtin_nan("") : sqlite3_column_double(s->statement, column);
}

void sql_get_text(struct sql *s, char *text, size_t size)
{
    text[0] = '\0';
    int column = next(s, SQLITE_TEXT);
    if (column < 0)
        return;
    const unsigned char *value = sqlite3_column_text(s->statement, column);
    size_t length = (size_t)sqlite3_column_bytes(s->statement, column);
    if (!value)
        s->result = error_memory(s->error);
    else if (length >= size || memchr(value, 0, length))
        bad(s, "is too long");
    else
        memcpy(text, value, length + 1);
}

json_t *sql_get_json(struct sql *s, json_type type)
{
    int column = next(s, SQLITE_TEXT);
    if (column < 0)
        return NULL;
    const char *text = (const char *)sqlite3_column_text(s->statement, column);
    size_t length = (size_t)sqlite3_column_bytes(s->statement, column);
    json_t *value = text ? json_loadb(text, length, 0, NULL) : NULL;
    if (value && json_typeof(value) == type)
        return value;
    json_decref(value);
    bad(s, "is not the JSON it should be");
    return NULL;
}

const void *sql_get_blob(struct sql *s, size_t *size)
{
    *size = 0;
    if (is_null(s)) {
        s->column++;
        return NULL;
    }
    int column = next(s, SQLITE_BLOB);
    if (column < 0)
        return NULL;
    const void *data = sqlite3_column_blob(s->statement, column);
    *size = (size_t)sqlite3_column_bytes(s->statement, column);
    return data;
}

int sql_get_name(struct sql *s, const char *(*name)(int), int count)
{
    int column = next(s, SQLITE_TEXT);
    if (column < 0)
        return 0;
    const char *text = (const char *)sqlite3_column_text(s->statement, column);
    for (int i = 0; text && i < count; i++)
        if (!strcmp(text, name(i)))
            return i;
    bad(s, "is not a name known here");
    return 0;
}
