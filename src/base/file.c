#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int file_map_open(const char *path, struct file_map *map, struct error *e)
{
    *map = (struct file_map){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not make us wait */
    if (fd < 0)
        return error_errno(e, errno, "cannot open '%s'", path);
    struct stat st;
    int result = 0;
    if (fstat(fd, &st))
        result = error_errno(e, errno, "cannot inspect '%s'", path);
    else if (!S_ISREG(st.st_mode))
        result = error_set(e, ERROR_IO, "'%s' is not a regular file", path);
    else if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
            result = error_errno(e, errno, "cannot map '%s'", path);
        else
            *map = (struct file_map){.data = p, .size = (size_t)st.st_size};
    }
    close(fd);
    return result;
}

void file_map_close(struct file_map *map)
{
    if (map->data)
        munmap((void *)(uintptr_t)map->data, map->size);
    *map = (struct file_map){0};
}

int file_read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    size_t used = 0;
    ssize_t n = 0;
    while (used + 1 < size && (n = read(fd, text + used, size - 1 - used)) > 0)
        used += (size_t)n;
    int result = n < 0 ? -errno : 0;
    close(fd);
    if (used && text[used - 1] == '\n')
        used--;
    text[used] = '\0';
    return result;
}

/* A device or a pipe: it must stay what it is, and must not make us wait. */
static int open_directly(struct file_atomic *f, const char *path, mode_t mode, struct error *e)
{
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 && errno == ENXIO && S_ISFIFO(mode)) {
        error_set(e, ERROR_IO, "cannot write '%s': nobody reads this pipe", path);
        return error_hint(e, "start its reader first");
    }
    int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);
    if (flags >= 0 && !fcntl(fd, F_SETFL, flags & ~O_NONBLOCK))
        f->stream = fdopen(fd, "wb");
    if (f->stream)
        return 0;
    int saved = errno;
    if (fd >= 0)
        close(fd);
    return error_errno(e, saved, "cannot write '%s'", path);
}

void file_folder_of(const char *path, char folder[PATH_MAX])
{
    snprintf(folder, PATH_MAX, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    else
        snprintf(folder, PATH_MAX, ".");
}

/* Not every file system has them, nor is every /proc there, which they are named by in the end. */
static int open_nameless(struct file_atomic *f)
{
    char folder[PATH_MAX];
    file_folder_of(f->path, folder);
    int fd = access("/proc/self/fd", X_OK)
                 ? -1 : open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    if (fd < 0)
        return -1;
    f->stream = fdopen(fd, "wb");
    f->nameless = f->stream != NULL;
    if (!f->stream)
        close(fd);
    return f->stream ? 0 : -1;
}

static int open_temporary(struct file_atomic *f, const char *path, struct error *e)
{
    if ((size_t)snprintf(f->temporary, sizeof f->temporary, "%s.XXXXXX", f->path) >=
        sizeof f->temporary)
        return error_set(e, ERROR_USAGE, "path '%.60s...' is too long", path);
    if (!open_nameless(f))
        return 0;
    int fd = mkostemp(f->temporary, O_CLOEXEC);
    if (fd < 0)
        return error_errno(e, errno, "cannot write '%s'", path);
    mode_t mask = umask(0);
    umask(mask);
    fchmod(fd, 0666 & ~mask);
    f->stream = fdopen(fd, "wb");
    if (f->stream)
        return 0;
    int saved = errno;
    close(fd);
    unlink(f->temporary);
    return error_errno(e, saved, "cannot write '%s'", path);
}

int file_atomic_open(struct file_atomic *f, const char *path, struct error *e)
{
    struct stat st;
    f->stream = NULL;
    f->nameless = 0;
    f->temporary[0] = '\0';
    if (!*path)
        return error_set(e, ERROR_USAGE, "the path of a file to write is empty");
    if ((size_t)snprintf(f->path, sizeof f->path, "%s", path) >= sizeof f->path)
        return error_set(e, ERROR_USAGE, "path '%.60s...' is too long", path);
    int found = !stat(path, &st);
    if (found && S_ISDIR(st.st_mode))
        return error_errno(e, EISDIR, "cannot write '%s'", path);
    if (found && !S_ISREG(st.st_mode))
        return open_directly(f, path, st.st_mode, e);
    if (!lstat(path, &st) && S_ISLNK(st.st_mode) && !realpath(path, f->path))
        return error_errno(e, errno, "cannot write '%s', a link", path);
    return open_temporary(f, path, e);
}

static void sync_folder_of(const char *path)
{
    char folder[PATH_MAX];
    file_folder_of(path, folder);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

/* From here on there is something that a kill would leave. Returns 0 or -1 with errno. */
static int give_name(struct file_atomic *f)
{
    char self[64];
    size_t tail = strlen(f->temporary) - 6; /* where mkostemp would have put its letters */
    snprintf(self, sizeof self, "/proc/self/fd/%d", fileno(f->stream));
    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t random = (uint32_t)getpid() * 2654435761U + i * 40503U;
        snprintf(f->temporary + tail, 7, "%06x", random & 0xffffff);
        if (!linkat(AT_FDCWD, self, AT_FDCWD, f->temporary, AT_SYMLINK_FOLLOW)) {
            f->nameless = 0;
            return 0;
        }
        if (errno != EEXIST)
            break;
    }
    return -1;
}

/* Whole and on the disk, but not yet at its place. */
static int write_out(struct file_atomic *f, int direct)
{
    int bad = fflush(f->stream) || ferror(f->stream) || (!direct && fsync(fileno(f->stream))) ||
              (f->nameless && give_name(f));
    int saved = errno;
    bad |= fclose(f->stream) != 0;
    f->stream = NULL;
    errno = saved;
    return bad;
}

int file_atomic_commit(struct file_atomic *f, struct error *e)
{
    int direct = !f->temporary[0]; /* pipes and most devices know no fsync */
    int bad = write_out(f, direct);
    if (!bad && !direct)
        bad = rename(f->temporary, f->path);
    int saved = errno;
    if (bad && !direct && !f->nameless)
        unlink(f->temporary);
    if (bad)
        return error_errno(e, saved ? saved : EIO, "cannot write '%s'", f->path);
    if (!direct)
        sync_folder_of(f->path);
    return 0;
}

void file_atomic_abort(struct file_atomic *f)
{
    if (!f->stream)
        return;
    fclose(f->stream);
    f->stream = NULL;
    if (f->temporary[0] && !f->nameless)
        unlink(f->temporary);
}

int file_make_folder(const char *path, struct error *e)
{
    char partial[PATH_MAX];
    if ((size_t)snprintf(partial, sizeof partial, "%s", path) >= sizeof partial)
        return error_set(e, ERROR_USAGE, "path '%.60s...' is too long", path);
    for (char *p = partial + 1;; p++) {
        char c = *p;
        if (c != '/' && c != '\0')
            continue;
        *p = '\0';
        if (mkdir(partial, 0777) && errno != EEXIST)
            return error_errno(e, errno, "cannot make folder '%s'", partial);
        if (!c)
            break;
        *p = c;
    }
    struct stat st;
    if (stat(path, &st) || !S_ISDIR(st.st_mode))
        return error_set(e, ERROR_IO, "'%s' is not a folder", path);
    return 0;
}

int file_join(char out[PATH_MAX], const char *folder, const char *name, struct error *e)
{
    size_t n = strlen(folder);
    const char *slash = n && folder[n - 1] == '/' ? "" : "/";
    if ((size_t)snprintf(out, PATH_MAX, "%s%s%s", folder, slash, name) >= PATH_MAX)
        return error_set(e, ERROR_USAGE, "path '%.60s...' is too long", folder);
    return 0;
}

int file_home(char out[PATH_MAX], struct error *e)
{
    const char *home = getenv("WATTLE_HOME");
    if (home && *home)
        return file_join(out, home, "", e);
    home = getenv("XDG_DATA_HOME");
    if (home && *home == '/')
        return file_join(out, home, "wattle", e);
    home = getenv("HOME");
    if (!home || !*home) {
        error_set(e, ERROR_USAGE, "no place for data: neither WATTLE_HOME nor HOME is set");
        return error_hint(e, "set WATTLE_HOME to a folder you can write");
    }
    return file_join(out, home, ".local/share/wattle", e);
}

int file_sha256(const char *path, char hex[65], struct error *e)
{
    struct file_map map;
    int result = file_map_open(path, &map, e);
    if (result)
        return result;
    unsigned char digest[32];
    unsigned size = sizeof digest;
    int ok = EVP_Digest(map.data ? map.data : (const void *)"", map.size, digest, &size,
                        EVP_sha256(), NULL);
    file_map_close(&map);
    if (!ok)
        return error_set(e, ERROR_IO, "cannot compute SHA-256 of '%s'", path);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return 0;
}

int file_pattern(const char *folder, const char *tail, char *out, size_t size)
{
    size_t n = 0;
    for (; *folder && n + 3 < size; folder++) {
        if (strchr("*?[]\\", *folder))
            out[n++] = '\\';
        out[n++] = *folder;
    }
    return !*folder && (size_t)snprintf(out + n, size - n, "/%s", tail) < size - n;
}
