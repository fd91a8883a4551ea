#include "base/file.h"
#include "store/private.h"
#include "store/schema.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Longer than any transaction of ours takes (some ms), also on a slow disk that another process
 * keeps busy. */
enum { BUSY_TIMEOUT_MS = 20000 };

static int default_path(char out[PATH_MAX], struct error *e)
{
    char home[PATH_MAX];
    int result = file_home(home, e);
    return result ? result : file_join(out, home, "wattle.db", e);
}

static int choose_path(const char *path, char out[PATH_MAX], struct error *e)
{
    if (!path)
        return default_path(out, e);
    if (strstr(path, "://")) {
        error_set(e, ERROR_UNSUPPORTED, "store '%.100s' is not a file", path);
        return error_hint(e, "only SQLite files are supported");
    }
    size_t size = strlen(path);
    if (size == 0)
        return error_set(e, ERROR_USAGE, "the store's path is empty");
    if (size >= PATH_MAX - 16) /* "-journal" must fit as well */
        return error_set(e, ERROR_USAGE, "path '%.60s...' is too long", path);
    memcpy(out, path, size + 1);
    return 0;
}

static int make_folder_of(const char *path, struct error *e)
{
    char folder[PATH_MAX];
    file_folder_of(path, folder);
    return file_make_folder(folder, e);
}

/* A store may come from elsewhere (--store): nothing in it is run. */
static void distrust(sqlite3 *db)
{
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
}

/* synchronous=FULL: a block costs seconds of measuring, its fsync milliseconds between windows; a
 * power cut must not lose blocks that were reported as kept. */
static int configure(sqlite3 *db, struct error *e)
{
    int result = sql_run(db, "PRAGMA foreign_keys=ON; PRAGMA synchronous=FULL;"
                             "PRAGMA cell_size_check=ON; PRAGMA secure_delete=OFF", e);
    if (result)
        return result;
    /* Two processes may make the same database at once; the switch to WAL does not always wait for
     * the lock by itself. A file system without shared memory refuses WAL: then the rollback
     * journal stays, which is as safe. */
    for (int tries = 0; tries < 100; tries++) {
        int code = sqlite3_exec(db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL) & 0xff;
        if (code != SQLITE_BUSY && code != SQLITE_LOCKED)
            return code == SQLITE_OK ? 0 : sql_error(db, e);
        usleep(50000);
    }
    return sql_error(db, e);
}

/* Why a file cannot be made in the folder; `number` when that does not tell. */
static int why_not_made(const char *path, int number)
{
    char folder[PATH_MAX];
    file_folder_of(path, folder);
    return access(folder, W_OK) ? errno : number;
}

/* SQLite does not yet know the name of a file it could not open; and where it could not be made, it
 * tells that it is not there. */
static int open_failed(const struct store *s, struct error *e)
{
    int number = sqlite3_system_errno(s->db);
    struct stat st;
    if (number == ENOENT)
        number = why_not_made(s->path, number);
    if (!stat(s->path, &st) && S_ISDIR(st.st_mode)) {
        error_set(e, ERROR_IO, "store '%s' is a folder", s->path);
        return error_hint(e, "name a file: --store %s/wattle.db", s->path);
    }
    if ((sqlite3_errcode(s->db) & 0xff) == SQLITE_CANTOPEN && number)
        return error_errno(e, number, "cannot open store '%s'", s->path);
    int result = sql_error(s->db, e);
    return result == ERROR_MEMORY ? result : error_context(e, "cannot open '%s'", s->path);
}

static int open_database(struct store *s, struct error *e)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_EXRESCODE;
    if (sqlite3_open_v2(s->path, &s->db, flags, NULL) != SQLITE_OK) {
        if (!s->db)
            return error_memory(e);
        return open_failed(s, e);
    }
    sqlite3_busy_timeout(s->db, BUSY_TIMEOUT_MS);
    distrust(s->db);
    int result = schema_migrate(s->db, s->path, schema_scripts, schema_version, e);
    return result ? result : configure(s->db, e);
}

int store_open(const char *path, struct store **out, struct error *e)
{
    *out = NULL;
    struct store *s = calloc(1, sizeof *s);
    if (!s)
        return error_memory(e);
    int result = choose_path(path, s->path, e);
    if (!result)
        result = make_folder_of(s->path, e);
    if (!result)
        result = open_database(s, e);
    if (result) {
        store_close(s);
        return result;
    }
    *out = s;
    return 0;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    sqlite3_close(s->db);
    free(s);
}

const char *store_path(const struct store *s)
{
    return s->path;
}

static void cell_release(struct store_cell *cell)
{
    for (size_t i = 0; i < cell->block_count; i++)
        record_release(&cell->blocks[i]);
    free(cell->blocks);
}

void store_campaign_release(struct store_campaign *c)
{
    for (size_t i = 0; i < c->cell_count; i++)
        cell_release(&c->cells[i]);
    free(c->cells);
    free(c->models);
    json_decref(c->host);
    *c = (struct store_campaign){0};
}
