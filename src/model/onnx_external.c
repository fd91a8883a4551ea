#include "model/onnx_read.h"
#include "base/text.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static int read_number(const char *key, const char *text, int64_t *out, struct error *e)
{
    struct error inner;
    if (text_to_int(text, key, 0, INT64_MAX, out, &inner)) {
        struct onnx_quote q;
        return error_set(e, ERROR_FORMAT, "external data has %s '%s'", key, onnx_quote(&q, text));
    }
    return 0;
}

/* One key and value of TensorProto.external_data. */
int onnx_external_entry(struct onnx_file *f, const struct wire_field *field,
                        struct onnx_external *x, struct error *e)
{
    struct onnx_metadata entry;
    int result = onnx_unpack_metadata(f, field, &entry, e);
    if (result)
        return result;
    if (!strcmp(entry.key, "location"))
        x->location = entry.value;
    else if (!strcmp(entry.key, "offset"))
        result = read_number("offset", entry.value, &x->offset, e);
    else if (!strcmp(entry.key, "length"))
        result = read_number("length", entry.value, &x->length, e);
    return result; /* "checksum" and what may come later are not needed to read the data */
}

/* The folder that holds the model file, without symbolic links. */
static int find_folder(struct onnx_file *f, struct error *e)
{
    if (f->folder)
        return 0;
    char folder[PATH_MAX], resolved[PATH_MAX];
    const char *slash = strrchr(f->model.path, '/');
    size_t n = slash ? (size_t)(slash - f->model.path) + 1 : 0;
    if (n >= sizeof folder)
        return error_set(e, ERROR_IO, "path is too long");
    memcpy(folder, n ? f->model.path : ".", n ? n : 1);
    folder[n ? n : 1] = '\0';
    if (!realpath(folder, resolved))
        return error_errno(e, errno, "cannot find the model's folder");
    f->folder = arena_text(&f->arena, resolved, strlen(resolved));
    return f->folder ? 0 : error_memory(e);
}

static int has_parent_step(const char *location)
{
    for (const char *p = location; p; p = strchr(p, '/')) {
        p += *p == '/';
        if (!strncmp(p, "..", 2) && (p[2] == '/' || !p[2]))
            return 1;
    }
    return 0;
}

static int refuse(const char *location, const char *reason, struct error *e)
{
    struct onnx_quote q;
    error_set(e, ERROR_FORMAT, "external data '%s' %s", onnx_quote(&q, location), reason);
    return error_hint(e, "data files must lie in the folder of the model");
}

/* Resolves location to a path inside the model's folder. A file that another process swaps for a
 * link between this look and the open is not what this guards against: the model's author is. */
static int resolve(struct onnx_file *f, const char *location, char path[PATH_MAX],
                   struct error *e)
{
    char joined[PATH_MAX];
    struct onnx_quote q;
    if (!location || !*location)
        return error_set(e, ERROR_FORMAT, "has external data without a location");
    if (*location == '/')
        return refuse(location, "is an absolute path", e);
    if (has_parent_step(location))
        return refuse(location, "leaves the model's folder", e);
    int result = find_folder(f, e);
    if (!result)
        result = file_join(joined, f->folder, location, e);
    if (result)
        return result;
    if (!realpath(joined, path))
        return error_errno(e, errno, "cannot open external data '%s'", onnx_quote(&q, location));
    size_t n = strlen(f->folder);
    n -= n == 1; /* of "/" */
    if (strncmp(path, f->folder, n) || path[n] != '/')
        return refuse(location, "is a link that leaves the model's folder", e);
    return 0;
}

static int grow(struct onnx_file *f, struct error *e)
{
    if (f->external_count < f->external_capacity)
        return 0;
    if (f->external_count == ONNX_EXTERNAL_FILES_MAX)
        return error_set(e, ERROR_UNSUPPORTED, "more than %d external data files",
                         ONNX_EXTERNAL_FILES_MAX);
    size_t capacity = f->external_capacity ? 2 * f->external_capacity : 4;
    struct onnx_external_file *list = realloc(f->externals, capacity * sizeof *list);
    if (!list)
        return error_memory(e);
    f->externals = list;
    f->external_capacity = capacity;
    return 0;
}

static int open_file(struct onnx_file *f, const char *path, const struct file_map **out,
                     struct error *e)
{
    for (size_t i = f->external_count; i-- > 0;)
        if (!strcmp(f->externals[i].path, path)) {
            *out = &f->externals[i].map;
            return 0;
        }
    int result = grow(f, e);
    if (result)
        return result;
    struct onnx_external_file *file = &f->externals[f->external_count];
    file->path = arena_text(&f->arena, path, strlen(path));
    if (!file->path)
        return error_memory(e);
    result = file_map_open(path, &file->map, e);
    if (result)
        return result;
    f->external_count++;
    f->model.file_bytes += file->map.size;
    f->arena.maximum += file->map.size; /* for copies of what is not aligned */
    *out = &file->map;
    return 0;
}

int onnx_external_data(struct onnx_file *f, const struct onnx_external *x, struct tensor *t,
                       struct error *e)
{
    char path[PATH_MAX];
    const struct file_map *map = NULL;
    struct onnx_quote q;
    int result = resolve(f, x->location, path, e);
    if (!result)
        result = open_file(f, path, &map, e);
    if (result)
        return result;
    uint64_t needs = (uint64_t)shape_bytes(&t->shape, t->type);
    if (x->length >= 0 && (uint64_t)x->length != needs)
        return error_set(e, ERROR_FORMAT, "external data has length %lld, but the shape needs %llu",
                         (long long)x->length, (unsigned long long)needs);
    if ((uint64_t)x->offset > map->size || needs > map->size - (uint64_t)x->offset)
        return error_set(e, ERROR_FORMAT,
                         "external data at %lld of %llu bytes is beyond the end of '%s' (%zu)",
                         (long long)x->offset, (unsigned long long)needs,
                         onnx_quote(&q, x->location), map->size);
    return needs ? onnx_place_data(f, map->data + x->offset, 1, t, e) : 0;
}

void onnx_external_close(struct onnx_file *f)
{
    for (size_t i = 0; i < f->external_count; i++)
        file_map_close(&f->externals[i].map);
    free(f->externals);
}
