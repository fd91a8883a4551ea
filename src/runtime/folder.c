#include "runtime/folder.h"

#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

enum { WAIT_MS = 200, WALK_FDS = 16 };

static int wait_for_lock(int fd, const char *path, const struct folder_wait *wait, struct error *e)
{
    int told = 0;
    while (flock(fd, LOCK_EX | LOCK_NB)) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_errno(e, errno, "cannot lock '%s'", path);
        if (wait->interrupted && wait->interrupted())
            return error_set(e, ERROR_INTERRUPTED, "interrupted");
        if (!told++ && wait->tell)
            wait->tell(wait->context, wait->line);
        clock_sleep_until_ns(clock_monotonic_ns() + WAIT_MS * NS_PER_MS);
    }
    return 0;
}

int folder_lock(const char *folder, const struct folder_wait *wait, int *fd, struct error *e)
{
    char path[PATH_MAX];
    *fd = -1;
    int result = file_make_folder(folder, e);
    if (!result)
        result = file_join(path, folder, ".lock", e);
    if (result)
        return result;
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (*fd < 0)
        return error_errno(e, errno, "cannot open '%s'", path);
    result = wait_for_lock(*fd, path, wait, e);
    if (result) {
        close(*fd);
        *fd = -1;
    }
    return result;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)at;
    return kind == FTW_DP || kind == FTW_DNR ? rmdir(path) : unlink(path);
}

int folder_remove(const char *path, struct error *e)
{
    if (!nftw(path, remove_one, WALK_FDS, FTW_DEPTH | FTW_PHYS) || errno == ENOENT)
        return 0;
    return error_errno(e, errno, "cannot remove '%s'", path);
}

int folder_replace(const char *made, const char *path, struct error *e)
{
    char old[PATH_MAX];
    if (snprintf(old, sizeof old, "%s.old", made) >= (int)sizeof old)
        return error_set(e, ERROR_USAGE, "the path '%.200s' is too long", made);
    int result = folder_remove(old, e);
    if (!result && rename(path, old) && errno != ENOENT)
        result = error_errno(e, errno, "cannot rename '%s'", path);
    if (!result && rename(made, path))
        result = error_errno(e, errno, "cannot rename '%s'", made);
    return result ? result : folder_remove(old, e);
}
