/* schema.h: the tables of the store, and how an older database becomes today's. */
#ifndef WATTLE_STORE_SCHEMA_H
#define WATTLE_STORE_SCHEMA_H

#include "base/error.h"

#include <sqlite3.h>

enum {
    SCHEMA_APPLICATION = 0x5754544c, /* "WTTL" */
};

/* The scripts that lead from version i to version i + 1; an empty database has version 0. */
extern const char *const schema_scripts[];
extern const int schema_version;

/* Brings db to version `version` by running scripts[from..version) in one transaction. Refuses
 * with ERROR_FORMAT, before anything is changed, a database that is not ours or is of a newer
 * version. */
int schema_migrate(sqlite3 *db, const char *path, const char *const *scripts, int version,
                   struct error *e);

#endif
