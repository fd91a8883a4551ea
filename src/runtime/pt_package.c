#include "runtime/pt_package.h"

#include "base/text.h"
#include "runtime/pt_pickle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MEMBERS_MAX = 1 << 20, JSON_MAX_BYTES = 1 << 20, CHUNK = 1 << 20, MODEL_MAX = 64,
       UNPACKED_MAX_BYTES = 256 << 20 };

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

static int bad(const char *reason, struct error *e)
{
    return error_set(e, ERROR_FORMAT, "not a sound container of PyTorch: %s", reason);
}

/* --- opening ---------------------------------------------------------------------------------- */

static zip_t *open_archive(int fd, struct error *e)
{
    int code = 0;
    zip_t *archive = zip_fdopen(fd, 0, &code); /* it is the archive's from now on */
    if (!archive) {
        zip_error_t why;
        zip_error_init_with_code(&why, code);
        bad(zip_error_strerror(&why), e);
        zip_error_fini(&why);
    }
    return archive;
}

static int open_file(struct pt_package *p, const char *path, struct error *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_errno(e, errno, "cannot open");
    int code = fstat(fd, &st) ? error_errno(e, errno, "cannot inspect") : 0;
    if (!code && !S_ISREG(st.st_mode))
        code = error_set(e, ERROR_USAGE, "not a file");
    if (!code) {
        p->bytes = (uint64_t)st.st_size;
        p->archive = open_archive(fd, e);
        code = p->archive ? 0 : ERROR_FORMAT;
    }
    if (code)
        close(fd);
    return code;
}

/* The folder that all members are in is called as the file was when it was written. */
static int find_root(struct pt_package *p, struct error *e)
{
    zip_int64_t count = zip_get_num_entries(p->archive, 0);
    if (count > MEMBERS_MAX)
        return error_set(e, ERROR_MEMORY, "%lld members, at most %d are taken", (long long)count,
                         MEMBERS_MAX);
    const char *name = count > 0 ? zip_get_name(p->archive, 0, 0) : NULL;
    const char *slash = name ? strchr(name, '/') : NULL;
    if (!slash || slash == name || (size_t)(slash - name) + 2 > sizeof p->root)
        return bad("its members are in no folder", e);
    snprintf(p->root, sizeof p->root, "%.*s", (int)(slash - name) + 1, name);
    return 0;
}

static zip_int64_t find(const struct pt_package *p, const char *name)
{
    char full[sizeof p->root + 128];
    snprintf(full, sizeof full, "%s%s", p->root, name);
    return zip_name_locate(p->archive, full, 0);
}

int pt_package_open(struct pt_package *p, const char *path, struct error *e)
{
    *p = (struct pt_package){0};
    int code = open_file(p, path, e);
    if (!code)
        code = find_root(p, e);
    zip_int64_t index = code ? -1 : find(p, "extra/wattle.json");
    if (index >= 0)
        code = pt_package_json(p, index, &p->description, e);
    return code ? error_context(e, "model '%.200s'", path) : 0;
}

void pt_package_close(struct pt_package *p)
{
    if (p->archive)
        zip_discard(p->archive);
    json_decref(p->description);
    *p = (struct pt_package){0};
}

/* --- members ---------------------------------------------------------------------------------- */

static int inspect(const struct pt_package *p, int64_t index, zip_stat_t *st, struct error *e)
{
    const zip_uint64_t needed = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE |
                                ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    zip_stat_init(st);
    if (zip_stat_index(p->archive, (zip_uint64_t)index, 0, st))
        return bad(zip_strerror(p->archive), e);
    if ((st->valid & needed) != needed)
        return bad("a member has no name or size", e);
    if (st->encryption_method != ZIP_EM_NONE)
        return error_set(e, ERROR_UNSUPPORTED, "member '%.100s' is encrypted", st->name);
    return 0;
}

static int too_large(const struct pt_package *p, const zip_stat_t *st, struct error *e)
{
    return error_set(e, ERROR_FORMAT, "member '%.100s' claims %llu bytes of a file of %llu",
                     st->name, (unsigned long long)st->size, (unsigned long long)p->bytes);
}

/* PyTorch stores what wattle reads as it is, so a member that is larger than the file is a lie. */
static int check_member(const struct pt_package *p, int64_t index, zip_stat_t *st, struct error *e)
{
    int code = inspect(p, index, st, e);
    if (code)
        return code;
    if (st->comp_method != ZIP_CM_STORE)
        return error_set(e, ERROR_UNSUPPORTED, "member '%.100s' is compressed, which PyTorch's "
                         "containers never are", st->name);
    return st->size != st->comp_size || st->size > p->bytes ? too_large(p, st, e) : 0;
}

/* Each chunk goes to `take`; the checksum is looked at when the end is reached. */
static int read_member(const struct pt_package *p, int64_t index, const zip_stat_t *st,
                       int (*take)(void *target, const char *bytes, size_t size, struct error *e),
                       void *target, struct error *e)
{
    zip_file_t *file = zip_fopen_index(p->archive, (zip_uint64_t)index, 0);
    char *chunk = malloc(CHUNK);
    int code = !file ? bad(zip_strerror(p->archive), e) : chunk ? 0 : error_memory(e);
    zip_uint64_t done = 0;
    while (!code) {
        zip_int64_t n = zip_fread(file, chunk, CHUNK);
        if (n < 0)
            code = bad(zip_file_strerror(file), e);
        if (n <= 0)
            break;
        done += (zip_uint64_t)n;
        code = done > st->size ? bad("a member is longer than it claims", e)
                               : take(target, chunk, (size_t)n, e);
    }
    if (!code && done != st->size)
        code = bad("a member is shorter than it claims", e);
    free(chunk);
    if (file)
        zip_fclose(file);
    return code ? error_context(e, "member '%.100s'", st->name) : 0;
}

struct text {
    char *bytes;
    size_t size;
};

static int take_text(void *target, const char *bytes, size_t size, struct error *e)
{
    (void)e;
    struct text *text = target;
    memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
    return 0;
}

static int parse(const struct text *text, const char *name, json_t **out, struct error *e)
{
    json_error_t where;
    *out = json_loadb(text->bytes, text->size, JSON_REJECT_DUPLICATES, &where);
    if (!*out && !where.text[0]) /* jansson says nothing when it has no memory */
        return error_memory(e);
    if (json_is_object(*out))
        return 0;
    int code = error_set(e, ERROR_FORMAT, "member '%.100s' is not a JSON object%s%s", name,
                         *out ? "" : ": ", *out ? "" : where.text);
    json_decref(*out);
    *out = NULL;
    return code;
}

int pt_package_json(const struct pt_package *p, int64_t index, json_t **out, struct error *e)
{
    zip_stat_t st;
    struct text text = {0};
    int code = check_member(p, index, &st, e);
    if (!code && st.size > JSON_MAX_BYTES)
        code = error_set(e, ERROR_MEMORY, "member '%.100s' of %llu bytes, at most %d are taken",
                         st.name, (unsigned long long)st.size, JSON_MAX_BYTES);
    if (code)
        return code;
    text.bytes = malloc((size_t)st.size + 1);
    code = text.bytes ? read_member(p, index, &st, take_text, &text, e) : error_memory(e);
    if (!code)
        code = parse(&text, st.name, out, e);
    free(text.bytes);
    return code;
}

static int take_file(void *target, const char *bytes, size_t size, struct error *e)
{
    const int *fd = target;
    while (size) {
        ssize_t n = write(*fd, bytes, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return error_errno(e, n ? errno : EIO, "cannot keep it in memory");
        bytes += n;
        size -= (size_t)n;
    }
    return 0;
}

/* --- all members ------------------------------------------------------------------------------ */

static int take_nothing(void *target, const char *bytes, size_t size, struct error *e)
{
    (void)target;
    (void)bytes;
    (void)size;
    (void)e;
    return 0;
}

/* Of all members so far: stored ones fill the file together, and code, which is what PyTorch
 * compresses, is small. */
struct claims {
    uint64_t stored, compressed;
};

static int verify_member(const struct pt_package *p, int64_t index, struct claims *c,
                         struct error *e)
{
    zip_stat_t st;
    int code = inspect(p, index, &st, e);
    if (code)
        return code;
    int is_stored = st.comp_method == ZIP_CM_STORE;
    uint64_t *sum = is_stored ? &c->stored : &c->compressed;
    if (__builtin_add_overflow(*sum, st.size, sum) ||
        *sum > (is_stored ? p->bytes : (uint64_t)UNPACKED_MAX_BYTES))
        return too_large(p, &st, e);
    return read_member(p, index, &st, take_nothing, NULL, e);
}

/* A pickle, and the folder beside it that its storages are in. */
struct pickle {
    const struct pt_package *package;
    const char *name, *folder;
};

/* What is not there at all, PyTorch says itself. */
static int check_claim(void *target, const char *key, uint64_t bytes, struct error *e)
{
    const struct pickle *pickle = target;
    char name[128];
    zip_stat_t st;
    snprintf(name, sizeof name, "%s%s", pickle->folder, key);
    zip_int64_t index = find(pickle->package, name);
    int code = index < 0 ? 0 : inspect(pickle->package, index, &st, e);
    if (code || index < 0 || st.size >= bytes)
        return code;
    return error_set(e, ERROR_FORMAT, "member '%.100s' has %llu bytes, by %s it has %llu", st.name,
                     (unsigned long long)st.size, pickle->name, (unsigned long long)bytes);
}

static int read_pickle(struct pickle *pickle, int64_t index, struct error *e)
{
    zip_stat_t st;
    struct text text = {0};
    int code = inspect(pickle->package, index, &st, e);
    if (code)
        return code;
    text.bytes = malloc((size_t)st.size + 1); /* which no claim beyond the file has come to */
    code = text.bytes ? read_member(pickle->package, index, &st, take_text, &text, e)
                      : error_memory(e);
    if (!code) {
        const unsigned char *bytes = (const unsigned char *)text.bytes;
        code = pt_pickle_claims(bytes, text.size, check_claim, pickle, e);
        if (code)
            error_context(e, "%s", pickle->name);
    }
    free(text.bytes);
    return code;
}

/* Those of TorchScript, in a container whose members were verified. What Python reads is checked
 * in Python (pytorch_module.py). */
static int verify_pickles(struct pt_package *p, struct error *e)
{
    struct pickle pickles[] = {{p, "data.pkl", "data/"}, {p, "constants.pkl", "constants/"}};
    struct error ignored;
    int code = 0;
    if (find_root(p, &ignored)) /* of another kind */
        return 0;
    for (size_t i = 0; !code && i < sizeof pickles / sizeof *pickles; i++) {
        zip_int64_t index = find(p, pickles[i].name);
        code = index < 0 ? 0 : read_pickle(&pickles[i], index, e);
    }
    return code;
}

int pt_package_verify(const char *path, struct error *e)
{
    struct pt_package p = {0};
    struct claims claims = {0};
    int code = open_file(&p, path, e);
    zip_int64_t count = code ? 0 : zip_get_num_entries(p.archive, 0);
    if (count > MEMBERS_MAX)
        code = bad("it has more than a million members", e);
    for (zip_int64_t i = 0; !code && i < count; i++)
        code = verify_member(&p, i, &claims, e);
    if (!code)
        code = verify_pickles(&p, e);
    pt_package_close(&p);
    return code ? error_context(e, "model '%.200s'", path) : 0;
}

/* --- files in memory -------------------------------------------------------------------------- */

/* Kernels before 6.3 do not know the second flag; some later ones want it. */
static int open_memory(void)
{
    int fd = memfd_create("wattle-package", MFD_CLOEXEC | MFD_EXEC);
    return fd < 0 && errno == EINVAL ? memfd_create("wattle-package", MFD_CLOEXEC) : fd;
}

int pt_package_extract(const struct pt_package *p, int64_t index, int *fd, uint64_t *bytes,
                       struct error *e)
{
    zip_stat_t st;
    int code = check_member(p, index, &st, e);
    if (code)
        return code;
    *bytes = st.size;
    *fd = open_memory();
    if (*fd < 0)
        return error_errno(e, errno, "cannot make a file in memory");
    code = read_member(p, index, &st, take_file, fd, e);
    if (code) {
        close(*fd);
        *fd = -1;
    }
    return code;
}

/* --- ahead-of-time compiled code -------------------------------------------------------------- */

/* data/aotinductor/MODEL/FILE taken apart; 0 when it is none of that. */
static const char *file_of(const struct pt_package *p, const char *name, char model[MODEL_MAX])
{
    static const char folder[] = "data/aotinductor/";
    size_t root = strlen(p->root);
    if (strncmp(name, p->root, root) || strncmp(name + root, folder, sizeof folder - 1))
        return NULL;
    name += root + sizeof folder - 1;
    size_t size = strcspn(name, "/");
    if (!size || size >= MODEL_MAX || !name[size] || !name[size + 1] ||
        strchr(name + size + 1, '/'))
        return NULL;
    snprintf(model, MODEL_MAX, "%.*s", (int)size, name);
    return name + size + 1;
}

static int second(const char *what, struct error *e)
{
    return error_set(e, ERROR_FORMAT, "more than one %s in the package", what);
}

static int note(struct pt_members *out, const char *file, int64_t index, struct error *e)
{
    if (text_ends(file, ".so")) {
        if (out->program >= 0)
            return second("program (*.so)", e);
        out->program = index;
    } else if (text_ends(file, "_weights.blob")) {
        if (out->weights >= 0)
            return second("file of weights", e);
        out->weights = index;
    } else if (text_ends(file, ".wrapper_metadata.json")) {
        out->metadata = index;
    }
    out->kernels |= text_ends(file, ".cubin");
    return 0;
}

/* A package may hold several models; wattle runs one that is alone, or is called "model". */
static int choose_model(const struct pt_package *p, int64_t count, char chosen[MODEL_MAX],
                        struct error *e)
{
    char model[MODEL_MAX];
    int several = 0;
    chosen[0] = '\0';
    for (int64_t i = 0; i < count; i++) {
        const char *name = zip_get_name(p->archive, (zip_uint64_t)i, 0);
        if (!name || !file_of(p, name, model))
            continue;
        if (!strcmp(model, "model")) {
            snprintf(chosen, MODEL_MAX, "%s", model);
            return 0;
        }
        several |= chosen[0] && strcmp(chosen, model) != 0;
        snprintf(chosen, MODEL_MAX, "%s", model);
    }
    return several ? error_set(e, ERROR_UNSUPPORTED, "the package holds several models and none of "
                               "them is called \"model\"")
                   : 0;
}

static int absent(const struct pt_package *p, struct error *e)
{
    const char *is = NULL;
    if (find(p, "constants.pkl") >= 0)
        is = "it is TorchScript: -r pytorch:torchscript";
    else if (find(p, "models/model.json") >= 0 || find(p, "serialized_exported_program.json") >= 0)
        is = "it is an exported program, to be compiled first";
    error_set(e, ERROR_UNSUPPORTED, "no ahead-of-time compiled code is in it");
    return is ? error_hint(e, "%s", is)
              : error_hint(e, "torch._inductor.aoti_compile_and_package makes such a package");
}

int pt_package_members(const struct pt_package *p, const char *path, struct pt_members *out,
                       struct error *e)
{
    char chosen[MODEL_MAX], model[MODEL_MAX];
    *out = (struct pt_members){-1, -1, -1, 0, 0};
    zip_int64_t count = zip_get_num_entries(p->archive, 0);
    int code = choose_model(p, count, chosen, e);
    for (zip_int64_t i = 0; !code && i < count; i++) {
        const char *name = zip_get_name(p->archive, (zip_uint64_t)i, 0);
        const char *file = name ? file_of(p, name, model) : NULL;
        if (file && !strcmp(model, chosen))
            code = note(out, file, i, e);
        else if (name && text_starts(name, p->root))
            out->pickled_weights |= text_starts(name + strlen(p->root), "data/weights/");
    }
    if (!code && out->program < 0)
        code = absent(p, e);
    return code ? error_context(e, "model '%.200s'", path) : 0;
}
