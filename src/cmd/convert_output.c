/* convert_output.c: where a converted model goes: made in a hidden folder beside it, then renamed,
 * and its weights with it where they are a file of their own. */
#include "cmd/convert.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int check_free(const struct convert_output *o, const char *path, struct error *e)
{
    struct stat st;
    if (stat(path, &st)) /* of a link what it leads to */
        return 0;
    if (!S_ISREG(st.st_mode))
        return error_set(e, ERROR_USAGE, "'%.300s' is not a file that can be replaced", path);
    if (o->force)
        return 0;
    error_set(e, ERROR_USAGE, "'%.300s' is there already", path);
    return error_hint(e, "--force replaces it");
}

int convert_output_data(const struct convert_output *o, char path[PATH_MAX], struct error *e)
{
    if (snprintf(path, PATH_MAX, "%s" CONVERT_DATA_ENDING, o->path) < PATH_MAX)
        return 0;
    return error_set(e, ERROR_USAGE, "path '%.60s...' is too long", o->path);
}

static int check_data_free(const struct convert_output *o, struct error *e)
{
    char path[PATH_MAX];
    int result = convert_output_data(o, path, e);
    return result ? result : check_free(o, path, e);
}

static int make_folder(struct convert_output *o, const char *parent, const char *name,
                       struct error *e)
{
    int result = 0;
    if ((size_t)snprintf(o->folder, sizeof o->folder, "%s/.%.60s.XXXXXX", parent, name) >=
        sizeof o->folder)
        result = error_set(e, ERROR_USAGE, "path '%.60s...' is too long", parent);
    else if (!mkdtemp(o->folder))
        result = error_errno(e, errno, "cannot write to folder '%.300s'", parent);
    if (result)
        o->folder[0] = '\0';
    return result ? result : file_join(o->made, o->folder, name, e);
}

int convert_output_prepare(struct convert_output *o, const char *output, const char *model,
                           int has_data, struct error *e)
{
    char folder[PATH_MAX], source[PATH_MAX], typed[PATH_MAX];
    const char *slash = strrchr(output, '/'), *name = slash ? slash + 1 : output;
    int size = slash ? (int)(slash - output) + (slash == output) : 1;
    if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
        return error_set(e, ERROR_USAGE, "'%.200s' is the name of a folder", output);
    if ((size_t)snprintf(typed, sizeof typed, "%.*s", size, slash ? output : ".") >= sizeof typed)
        return error_set(e, ERROR_USAGE, "path '%.60s...' is too long", output);
    if (!realpath(typed, folder))
        return error_errno(e, errno, "cannot write to folder '%.300s'", typed);
    int result = file_join(o->path, folder, name, e);
    if (!result)
        result = check_free(o, o->path, e);
    if (!result && has_data)
        result = check_data_free(o, e);
    if (!result && realpath(o->path, source) && !strcmp(source, model))
        result = error_set(e, ERROR_USAGE, "'%.200s' is the model to convert", output);
    return result ? result : make_folder(o, folder, name, e);
}

static int flush(const char *path, struct error *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int failed = fd < 0 || fsync(fd) ? errno : 0;
    if (fd >= 0)
        close(fd);
    return failed ? error_errno(e, failed, "cannot write '%.300s'", path) : 0;
}

static int rename_into_place(const char *from, const char *to, struct error *e)
{
    return rename(from, to) ? error_errno(e, errno, "cannot write '%.300s'", to) : 0;
}

/* All is on the disk before the first of the two files gets its name, so that hardly anything can
 * come between them; and weights whose model got none are of no use to anybody. */
static int commit_both(const struct convert_output *o, const char *data, struct error *e)
{
    char from[PATH_MAX], to[PATH_MAX];
    int result = file_join(from, o->folder, data, e);
    if (!result)
        result = convert_output_data(o, to, e);
    if (!result)
        result = check_free(o, to, e);
    if (!result)
        result = flush(from, e);
    if (!result)
        result = flush(o->made, e);
    if (!result)
        result = rename_into_place(from, to, e);
    if (result)
        return result;
    result = rename_into_place(o->made, o->path, e);
    if (result)
        unlink(to);
    return result;
}

int convert_output_commit(const struct convert_output *o, const char *data, struct error *e)
{
    if (*data)
        return commit_both(o, data, e);
    int result = flush(o->made, e);
    return result ? result : rename_into_place(o->made, o->path, e);
}
