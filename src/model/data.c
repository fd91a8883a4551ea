#include "model/data.h"

#include "base/file.h"
#include "base/text.h"
#include "model/onnx_read.h"

#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zip.h>

enum { INFLATE_MAX = 1100 }; /* deflate cannot do better than 1032 to 1 */

static int is_folder(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

/* Room for one more tensor, whose data is at most as large as what the list may still hold. */
static int grow(struct data *d, struct data_item **out, struct error *e)
{
    if (d->count == DATA_ITEM_MAX)
        return error_set(e, ERROR_MEMORY, "more than %d tensors", DATA_ITEM_MAX);
    struct data_item *more = realloc(d->items, (d->count + 1) * sizeof *more);
    if (!more)
        return error_memory(e);
    d->items = more;
    *out = &more[d->count];
    **out = (struct data_item){.position = d->count};
    return 0;
}

static int check_bytes(const struct data *d, uint64_t bytes, struct error *e)
{
    if (bytes <= DATA_BYTES_MAX - d->bytes)
        return 0;
    return error_set(e, ERROR_MEMORY, "%llu bytes are more than the %zu MiB that are taken",
                     (unsigned long long)bytes, DATA_BYTES_MAX >> 20);
}

/* The list takes the tensor over, whose data is malloc'd. */
static int keep(struct data *d, struct data_item *item, struct error *e)
{
    size_t bytes = (size_t)shape_bytes(&item->tensor.shape, item->tensor.type);
    uint8_t *data = item->tensor.data;
    for (size_t i = 0; item->tensor.type == DTYPE_BOOL && i < bytes; i++)
        data[i] = data[i] != 0;
    for (size_t i = 0; i < d->count; i++)
        if (item->name[0] && !strcmp(d->items[i].name, item->name)) {
            free(data);
            return error_set(e, ERROR_USAGE, "there are two tensors named '%s'", item->name);
        }
    d->bytes += bytes;
    d->count++;
    return 0;
}

static void name_item(struct data_item *item, const char *name, size_t size, int strict)
{
    snprintf(item->name, sizeof item->name, "%.*s", (int)(size < DATA_NAME_MAX ? size : 0), name);
    item->strict = strict;
}

/* --- one file --------------------------------------------------------------------------------- */

static int copy_tensor(struct data *d, struct data_item *item, const void *from, struct error *e)
{
    size_t bytes = (size_t)shape_bytes(&item->tensor.shape, item->tensor.type);
    int result = check_bytes(d, bytes, e);
    if (result)
        return result;
    item->tensor.data = malloc(bytes ? bytes : 1);
    if (!item->tensor.data)
        return error_memory(e);
    if (bytes)
        memcpy(item->tensor.data, from, bytes);
    return keep(d, item, e);
}

static int read_npy(struct data *d, const char *path, const char *name, struct error *e)
{
    struct file_map map;
    struct data_item *item;
    size_t begin;
    int result = file_map_open(path, &map, e);
    if (result)
        return result;
    result = grow(d, &item, e);
    if (!result)
        result = npy_parse(map.data, map.size, &item->tensor, &begin, e);
    if (!result) {
        name_item(item, name, strlen(name), name[0] != '\0');
        result = copy_tensor(d, item, map.data + begin, e);
    }
    file_map_close(&map);
    return result;
}

/* The reader of model files, used on a tensor that stands alone. */
static int read_proto(struct data *d, const char *path, const char *name, size_t position,
                      struct error *e)
{
    struct onnx_file f = {.model.path = path};
    struct data_item *item;
    const char *own = "";
    int result = file_map_open(path, &f.map, e);
    if (result)
        return result;
    arena_init(&f.arena, 2 * DATA_BYTES_MAX);
    result = grow(d, &item, e);
    if (!result)
        result = onnx_read_tensor(&f, f.map.data, f.map.size, 1, &own, &item->tensor, e);
    if (!result && shape_bytes(&item->tensor.shape, item->tensor.type) < 0)
        result = error_set(e, ERROR_UNSUPPORTED, "elements of type %s are not supported",
                           dtype_name(item->tensor.type));
    if (!result) {
        const char *chosen = name[0] ? name : own;
        name_item(item, chosen, strlen(chosen), name[0] != '\0');
        item->position = position;
        result = copy_tensor(d, item, item->tensor.data, e);
    }
    onnx_external_close(&f);
    file_map_close(&f.map);
    arena_release(&f.arena);
    return result;
}

/* --- .npz ------------------------------------------------------------------------------------- */

static int zip_failure(const char *reason, struct error *e)
{
    return error_set(e, ERROR_FORMAT, "it is not a sound .npz file: %s", reason);
}

static int read_all(zip_file_t *member, uint8_t *out, size_t size, struct error *e)
{
    size_t done = 0;
    uint8_t beyond;
    while (done < size) {
        zip_int64_t n = zip_fread(member, out + done, size - done);
        if (n < 0)
            return zip_failure(zip_file_strerror(member), e);
        if (n == 0)
            return zip_failure("a member is shorter than it claims", e);
        done += (size_t)n;
    }
    /* The checksum is looked at when the end is reached. */
    zip_int64_t n = zip_fread(member, &beyond, 1);
    return n == 0 ? 0 : zip_failure(n < 0 ? zip_file_strerror(member)
                                          : "a member is longer than it claims", e);
}

static int check_member(const struct data *d, const zip_stat_t *st, struct error *e)
{
    const zip_uint64_t needed = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE;
    if ((st->valid & needed) != needed)
        return zip_failure("a member has no name or size", e);
    if (st->size / INFLATE_MAX > st->comp_size + 64)
        return zip_failure("a member claims to be larger than it can be", e);
    return check_bytes(d, st->size, e);
}

/* Takes the bytes over, freeing them on failure. */
static int keep_member(struct data *d, const char *key, uint8_t *bytes, size_t size,
                       struct error *e)
{
    struct data_item *item = NULL;
    size_t begin = 0, length = strlen(key) - (text_ends(key, ".npy") ? 4 : 0);
    int64_t position;
    char name[DATA_NAME_MAX];
    int result = length < sizeof name ? grow(d, &item, e)
                                      : error_set(e, ERROR_UNSUPPORTED, "a key is too long");
    if (!result)
        result = npy_parse(bytes, size, &item->tensor, &begin, e);
    if (result) {
        free(bytes);
        return result;
    }
    snprintf(name, sizeof name, "%.*s", (int)length, key);
    int numbered = text_starts(name, "arr_") &&
                   !text_to_int(name + 4, name, 0, DATA_ITEM_MAX, &position, NULL);
    name_item(item, name, length, !numbered);
    if (numbered)
        item->position = (size_t)position;
    memmove(bytes, bytes + begin, size - begin);
    item->tensor.data = bytes;
    return keep(d, item, e);
}

static int read_member(struct data *d, zip_t *archive, zip_uint64_t index, struct error *e)
{
    zip_stat_t st;
    zip_stat_init(&st);
    if (zip_stat_index(archive, index, 0, &st))
        return zip_failure(zip_strerror(archive), e);
    int result = check_member(d, &st, e);
    if (result)
        return result;
    zip_file_t *member = zip_fopen_index(archive, index, 0);
    if (!member)
        return zip_failure(zip_strerror(archive), e);
    uint8_t *bytes = malloc(st.size ? (size_t)st.size : 1);
    result = bytes ? read_all(member, bytes, (size_t)st.size, e) : error_memory(e);
    zip_fclose(member);
    if (result) {
        free(bytes);
        return result;
    }
    result = keep_member(d, st.name, bytes, (size_t)st.size, e);
    return result ? error_context(e, "'%.60s'", st.name) : 0;
}

static int read_npz(struct data *d, const char *path, struct error *e)
{
    int code = 0;
    zip_t *archive = zip_open(path, ZIP_RDONLY, &code);
    if (!archive) {
        zip_error_t why;
        zip_error_init_with_code(&why, code);
        int result = zip_failure(zip_error_strerror(&why), e);
        zip_error_fini(&why);
        return result;
    }
    zip_int64_t count = zip_get_num_entries(archive, 0);
    int result = count < 1 ? zip_failure("it holds nothing", e) : 0;
    if (count > DATA_ITEM_MAX)
        result = error_set(e, ERROR_MEMORY, "it holds %lld arrays, at most %d are taken",
                           (long long)count, DATA_ITEM_MAX);
    for (zip_int64_t i = 0; i < count && !result; i++)
        result = read_member(d, archive, (zip_uint64_t)i, e);
    zip_discard(archive);
    return result;
}

/* --- folders ---------------------------------------------------------------------------------- */

static int read_numbered(struct data *d, const char *folder, const char *role, struct error *e)
{
    int result = 0;
    for (size_t i = 0; i <= DATA_ITEM_MAX && !result; i++) {
        char path[PATH_MAX], name[64];
        struct stat st;
        snprintf(name, sizeof name, "%.40s_%zu.pb", role, i);
        result = file_join(path, folder, name, e);
        if (!result && stat(path, &st))
            break;
        if (!result)
            result = read_proto(d, path, "", i, e);
        if (result)
            return error_context(e, "'%s'", name);
    }
    return result;
}

static int read_named(struct data *d, const char *folder, struct error *e)
{
    char pattern[2 * PATH_MAX];
    glob_t found;
    int result = 0;
    if (!file_pattern(folder, "*.npy", pattern, sizeof pattern))
        return error_set(e, ERROR_USAGE, "its path is too long");
    if (glob(pattern, 0, NULL, &found))
        return 0;
    for (size_t i = 0; i < found.gl_pathc && !result; i++) {
        const char *path = found.gl_pathv[i], *base = strrchr(path, '/') + 1;
        char name[DATA_NAME_MAX];
        size_t size = strlen(base) - 4;
        if (size >= sizeof name)
            result = error_set(e, ERROR_UNSUPPORTED, "a file name is too long");
        snprintf(name, sizeof name, "%.*s", (int)size, base);
        if (!result && (result = read_npy(d, path, name, e)))
            error_context(e, "'%s'", base);
    }
    globfree(&found);
    return result;
}

static int read_folder(struct data *d, const char *path, const char *role, struct error *e)
{
    size_t before = d->count;
    int result = read_numbered(d, path, role, e);
    if (!result && d->count == before)
        result = read_named(d, path, e);
    if (!result && d->count == before) {
        error_set(e, ERROR_USAGE, "the folder holds neither %s_0.pb nor NAME.npy files", role);
        return error_hint(e, "ONNX test data lies in folders named test_data_set_0");
    }
    return result;
}

/* --- all -------------------------------------------------------------------------------------- */

static void shrink(struct data *d, size_t count, size_t bytes)
{
    while (d->count > count)
        free(d->items[--d->count].tensor.data);
    d->bytes = bytes;
}

/* "NAME=PATH" apart, unless the whole is a file. */
static const char *split_name(const char *text, char name[DATA_NAME_MAX])
{
    struct stat st;
    const char *equals = strchr(text, '=');
    size_t size = equals ? (size_t)(equals - text) : 0;
    name[0] = '\0';
    if (size == 0 || size >= DATA_NAME_MAX || !stat(text, &st))
        return text;
    memcpy(name, text, size);
    name[size] = '\0';
    return equals + 1;
}

static int read_path(struct data *d, const char *path, const char *name, const char *role,
                     struct error *e)
{
    struct stat st;
    if (stat(path, &st))
        return errno == ENOENT ? error_set(e, ERROR_USAGE, "it is not there")
                               : error_errno(e, errno, "it cannot be read");
    if (is_folder(path) && !name[0])
        return read_folder(d, path, role, e);
    if (!S_ISREG(st.st_mode))
        return error_set(e, ERROR_USAGE, "it is not a file");
    if (text_ends(path, ".npy"))
        return read_npy(d, path, name, e);
    if (text_ends(path, ".npz") && !name[0])
        return read_npz(d, path, e);
    if (text_ends(path, ".pb"))
        return read_proto(d, path, name, d->count, e);
    if (text_ends(path, ".npz"))
        return error_set(e, ERROR_USAGE, "an .npz file has names of its own");
    return error_set(e, ERROR_USAGE, "it is neither .npy, .npz, .pb nor a folder of such");
}

int data_read(struct data *d, const char *text, const char *role, struct error *e)
{
    char name[DATA_NAME_MAX];
    size_t count = d->count, bytes = d->bytes;
    const char *path = split_name(text, name);
    int result = read_path(d, path, name, role, e);
    if (!result)
        return 0;
    shrink(d, count, bytes);
    return error_context(e, "%s '%.200s'", role, path);
}

void data_release(struct data *d)
{
    shrink(d, 0, 0);
    free(d->items);
    *d = (struct data){0};
}

const struct data_item *data_find(const struct data *d, const char *name, size_t position)
{
    for (size_t i = 0; i < d->count; i++)
        if (!strcmp(d->items[i].name, name))
            return &d->items[i];
    for (size_t i = 0; i < d->count; i++)
        if (!d->items[i].strict && d->items[i].position == position)
            return &d->items[i];
    return NULL;
}
