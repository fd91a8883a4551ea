#include "model/format.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <zip.h>

/* What the members' names show. */
struct seen {
    int aoti, exported, code, pickle;
};

static int ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), n = strlen(end);
    return size >= n && !strcmp(text + size - n, end);
}

/* Members lie in one root folder, named after the file when it was written. */
static void look(const char *name, struct seen *s)
{
    const char *member = strchr(name, '/');
    member = member ? member + 1 : name;
    s->aoti |= !strncmp(member, "data/aotinductor/", 17);
    s->exported |= (!strncmp(member, "models/", 7) && ends_with(member, ".json")) ||
                   !strcmp(name, "serialized_exported_program.json");
    s->code |= !strncmp(member, "code/", 5);
    s->pickle |= !strcmp(member, "data.pkl");
}

static int is_pickle(const char *path)
{
    unsigned char first[2] = {0};
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(first, 1, sizeof first, f) : 0;
    if (f)
        fclose(f);
    return n == 2 && first[0] == 0x80 && first[1] >= 2 && first[1] <= 5;
}

static int refuse_pickle(const char *path, struct error *e)
{
    error_set(e, ERROR_UNSUPPORTED, "'%.200s' holds pickled weights or a pickled module, not a "
              "program: what to compute is in Python code that it only names", path);
    return error_hint(e, "name a function that makes the model with its weights, FILE.py:FUNCTION, "
                      "or save it by torch.export.save");
}

static int not_a_container(const char *path, const char *reason, struct error *e)
{
    if (is_pickle(path))
        return refuse_pickle(path, e);
    error_set(e, ERROR_FORMAT, "'%.200s' is no file that PyTorch writes: %s", path, reason);
    return error_hint(e, "torch.export.save writes .pt2, torch.jit.save writes .pt");
}

static int open_failed(const char *path, int code, struct error *e)
{
    zip_error_t why;
    zip_error_init_with_code(&why, code);
    int result = code == ZIP_ER_MEMORY ? error_memory(e)
                 : code == ZIP_ER_OPEN ? error_errno(e, errno, "cannot open '%.200s'", path)
                                       : not_a_container(path, zip_error_strerror(&why), e);
    zip_error_fini(&why);
    return result;
}

static int judge(const char *path, const struct seen *s, const char **format, struct error *e)
{
    *format = s->aoti ? "aoti" : s->exported ? "exported" : s->code ? "torchscript" : NULL;
    if (*format)
        return 0;
    return s->pickle ? refuse_pickle(path, e)
                     : not_a_container(path, "a ZIP file without a model", e);
}

int format_of_torch(const char *path, const char **format, struct error *e)
{
    int code = 0;
    struct seen seen = {0};
    *format = NULL;
    zip_t *archive = zip_open(path, ZIP_RDONLY, &code);
    if (!archive)
        return open_failed(path, code, e);
    zip_int64_t count = zip_get_num_entries(archive, 0);
    for (zip_int64_t i = 0; i < count; i++) {
        const char *name = zip_get_name(archive, (zip_uint64_t)i, ZIP_FL_ENC_RAW);
        if (name)
            look(name, &seen);
    }
    zip_discard(archive);
    return judge(path, &seen, format, e);
}
