/* folder.h: folders that are made beside their place and renamed when all is well. */
#ifndef WATTLE_RUNTIME_FOLDER_H
#define WATTLE_RUNTIME_FOLDER_H

#include "base/error.h"

/* Makes the folder and takes its lock, which is gone with the descriptor, however that ends. Asks
 * interrupted (may be NULL) while it waits; tells once that it does. */
struct folder_wait {
    int (*interrupted)(void);
    void (*tell)(void *context, const char *line);
    void *context;
    const char *line; /* what is told */
};
int folder_lock(const char *folder, const struct folder_wait *wait, int *fd, struct error *e);

/* rm -r; what is not there is fine. */
int folder_remove(const char *path, struct error *e);

/* Renames made to path; what was there goes out of sight first, and then away. */
int folder_replace(const char *made, const char *path, struct error *e);

#endif
