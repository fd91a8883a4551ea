#include "runtime/record.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NOTE_MAX = 64 << 20, WALK_FDS = 16, HEX = 64 };

static const char NOTE[] = "wattle.json", HASHES[] = "wattle.sha256";

/* --- the note --------------------------------------------------------------------------------- */

json_t *record_begin(const struct package *p, const char *version, const char *library, int linked)
{
    char now[21];
    clock_iso8601(clock_realtime_ns(), now);
    return json_pack("{s:i, s:s, s:s, s:s, s:b, s:s, s:s}", "schema", 1, "package", p->name,
                     "version", version, "library", library, "linked", linked, "made", now, "by",
                     "wattle " WATTLE_VERSION);
}

const char *record_text(json_t *note, const char *name)
{
    const char *text = json_string_value(json_object_get(note, name));
    return text ? text : "";
}

int record_write(json_t *note, const char *folder, struct error *e)
{
    char path[PATH_MAX];
    struct file_atomic f;
    int result = file_join(path, folder, NOTE, e);
    if (!result)
        result = file_atomic_open(&f, path, e);
    if (result)
        return result;
    if (json_dumpf(note, f.stream, JSON_INDENT(1)) || fputc('\n', f.stream) == EOF) {
        file_atomic_abort(&f);
        return error_errno(e, errno ? errno : EIO, "cannot write '%s'", path);
    }
    return file_atomic_commit(&f, e);
}

json_t *record_read(const char *folder)
{
    char path[PATH_MAX];
    struct stat st;
    if (file_join(path, folder, NOTE, NULL) || stat(path, &st) || !S_ISREG(st.st_mode) ||
        st.st_size > NOTE_MAX)
        return NULL;
    json_t *note = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(note))
        return note;
    json_decref(note);
    return NULL;
}

/* --- made ------------------------------------------------------------------------------------- */

/* nftw has no context. One installation is made at a time, by the lock. */
static struct {
    FILE *list;
    json_t *beside;
    const char *folder; /* of the library, relative to the root, with its last slash */
    size_t folder_size, root_size;
    uint64_t bytes, count;
    struct error *error;
} walk;

static int is_beside(const char *name)
{
    return !strncmp(name, walk.folder, walk.folder_size) && !strchr(name + walk.folder_size, '/');
}

static int hash_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    char hex[HEX + 1];
    const char *name = path + walk.root_size + 1;
    (void)at;
    if (kind != FTW_F || !S_ISREG(st->st_mode))
        return 0;
    if (strchr(name, '\n'))
        return error_set(walk.error, ERROR_FORMAT, "a line break in the name of a file");
    if (file_sha256(path, hex, walk.error))
        return -1;
    walk.bytes += (uint64_t)st->st_size;
    walk.count++;
    json_t *size = is_beside(name) ? json_integer((json_int_t)st->st_size) : NULL;
    if (size && json_object_set_new(walk.beside, name + walk.folder_size, size))
        return error_memory(walk.error);
    if (fprintf(walk.list, "%s  %s\n", hex, name) < 0)
        return error_memory(walk.error);
    return 0;
}

static int walk_files(const char *root, const char *library, FILE *list, json_t *beside,
                      struct error *e)
{
    const char *slash = strrchr(library, '/');
    memset(&walk, 0, sizeof walk);
    walk.list = list;
    walk.beside = beside;
    walk.folder = library;
    walk.folder_size = slash ? (size_t)(slash + 1 - library) : 0;
    walk.root_size = strlen(root);
    walk.error = e;
    e->code = ERROR_NONE;
    if (nftw(root, hash_one, WALK_FDS, FTW_PHYS) && !e->code)
        error_errno(e, errno, "cannot list '%s'", root);
    return (int)e->code;
}

static int write_hashes(const char *root, const char *text, size_t size, json_t *note,
                        struct error *e)
{
    char path[PATH_MAX], hex[HEX + 1];
    struct file_atomic f;
    int result = file_join(path, root, HASHES, e);
    if (!result)
        result = file_atomic_open(&f, path, e);
    if (result)
        return result;
    if (fwrite(text, 1, size, f.stream) != size) {
        file_atomic_abort(&f);
        return error_errno(e, errno, "cannot write '%s'", path);
    }
    result = file_atomic_commit(&f, e);
    if (!result)
        result = file_sha256(path, hex, e);
    if (!result && json_object_set_new(note, "hashes_sha256", json_string(hex)))
        result = error_memory(e);
    return result;
}

/* The list is kept in memory until the walk is over, which would find it otherwise. */
int record_files(const char *root, json_t *note, struct error *e)
{
    char *text = NULL;
    size_t size = 0;
    FILE *list = open_memstream(&text, &size);
    json_t *beside = json_object();
    int result = list && beside ? walk_files(root, record_text(note, "library"), list, beside, e)
                                : error_memory(e);
    if (list && fclose(list) && !result)
        result = error_memory(e);
    if (!result)
        result = write_hashes(root, text, size, note, e);
    free(text);
    json_object_set_new(note, "bytes", json_integer((json_int_t)walk.bytes));
    json_object_set_new(note, "file_count", json_integer((json_int_t)walk.count));
    if (json_object_set_new(note, "libraries", beside) && !result)
        result = error_memory(e);
    return result;
}

/* --- compared --------------------------------------------------------------------------------- */

/* Names of files come from whoever made the package: a terminal must not obey them. */
static void make_plain(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}

static int is_regular(const char *path)
{
    struct stat st;
    return !lstat(path, &st) && S_ISREG(st.st_mode);
}

/* 1 and why when the file is not as `hex` says. */
static int differs(const char *folder, const char *name, const char *hex, char *why, size_t size)
{
    char path[PATH_MAX], own[HEX + 1];
    struct error e;
    if (file_join(path, folder, name, NULL) || !is_regular(path))
        snprintf(why, size, "%s is missing", name);
    else if (file_sha256(path, own, &e))
        snprintf(why, size, "%s cannot be read", name);
    else if (strcmp(own, hex) != 0)
        snprintf(why, size, "%s has changed", name);
    else
        return 0;
    return 1;
}

/* "HASH  NAME\n" taken apart in place; 0 when it is not that. */
static int take_line(char *line, const char **hex, const char **name)
{
    size_t size = strlen(line);
    if (size < HEX + 4 || line[size - 1] != '\n' || strspn(line, "0123456789abcdef") != HEX ||
        memcmp(line + HEX, "  ", 2) != 0)
        return 0;
    line[size - 1] = line[HEX] = '\0';
    *hex = line;
    *name = line + HEX + 2;
    return 1;
}

static int verify_list(FILE *list, const char *folder, int (*interrupted)(void), char *why,
                       size_t size, struct error *e)
{
    char line[HEX + PATH_MAX];
    while (fgets(line, sizeof line, list)) {
        const char *hex, *name;
        if (interrupted && interrupted()) {
            error_set(e, ERROR_INTERRUPTED, "interrupted");
            return -1;
        }
        if (!take_line(line, &hex, &name)) {
            snprintf(why, size, "%s is not what was written", HASHES);
            return 1;
        }
        if (differs(folder, name, hex, why, size))
            return 1;
    }
    return 0;
}

/* Links are not hashed: of them only Python's own matters. */
static int lacks_python(const struct package *p, const char *folder)
{
    char path[PATH_MAX];
    return p->needs_python && (file_join(path, folder, "bin/python3", NULL) || access(path, X_OK));
}

int record_verify(const struct package *p, const char *folder, int (*interrupted)(void), char *why,
                  size_t size, struct error *e)
{
    char path[PATH_MAX];
    json_t *note = record_read(folder);
    const char *hashes = record_text(note, "hashes_sha256");
    int wrong = 1;
    FILE *list = NULL;
    if (!note)
        snprintf(why, size, "%s is missing or cannot be read", NOTE);
    else if (!*hashes)
        snprintf(why, size, "%s does not tell what the files were", NOTE);
    else if (lacks_python(p, folder))
        snprintf(why, size, "bin/python3 leads to no program");
    else if (!differs(folder, HASHES, hashes, why, size) &&
             !file_join(path, folder, HASHES, NULL) && (list = fopen(path, "re")))
        wrong = verify_list(list, folder, interrupted, why, size, e);
    if (wrong > 0)
        make_plain(why);
    if (list)
        fclose(list);
    json_decref(note);
    return wrong;
}

/* 1 and why when the file beside the library is not there or not of that size. */
static int differs_in_size(const char *library, const char *name, json_int_t bytes, char *why,
                           size_t size)
{
    char path[2 * PATH_MAX];
    struct stat st;
    const char *slash = strrchr(library, '/');
    snprintf(path, sizeof path, "%.*s%s", (int)(slash ? slash + 1 - library : 0), library, name);
    if (stat(path, &st))
        snprintf(why, size, "%s is missing", name);
    else if (st.st_size != bytes)
        snprintf(why, size, "%s has %lld bytes, recorded are %lld", name, (long long)st.st_size,
                 (long long)bytes);
    else
        return 0;
    make_plain(why);
    return 1;
}

int record_compare_sizes(json_t *note, const char *library, char *why, size_t size)
{
    const char *name;
    json_t *bytes;
    json_object_foreach(json_object_get(note, "libraries"), name, bytes) {
        if (differs_in_size(library, name, json_integer_value(bytes), why, size))
            return 1;
    }
    return 0;
}
