#include "runtime/prepare.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runtime/folder.h"
#include "runtime/pt_package.h"
#include "runtime/python.h"
#include "runtime/pytorch_shim.h"
#include "runtime/scripts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { KEY_SHOWN = 32, KEY_TEXT_MAX = 1 << 20, UNUSED_DAYS = 30 };

/* One file to be made: what tools/python/prepare.py calls it, and the file's name. */
struct item {
    const char *what, *file;
};

/* What one call works on. */
struct job {
    const struct prepare_request *r;
    const struct item *items;
    size_t item_count;
    char model[PATH_MAX];               /* the file itself, without ":FUNCTION" */
    const char *function;               /* ":FUNCTION", or "" */
    char root[PATH_MAX];                /* where folder lies, with the lock */
    char folder[PATH_MAX], partial[PATH_MAX];
    int lock;                           /* -1 unless held */
};

static int is_interrupted(const struct job *j)
{
    return j->r->interrupted && j->r->interrupted();
}

/* --- what a variant reads --------------------------------------------------------------------- */

static const struct {
    const char *variant;
    const char *format; /* that it reads as it is; "": none */
    struct item item;
} variants[] = {
    {"aoti", "aoti", {"aoti", "model.pt2"}},
    {"torchscript", "torchscript", {"torchscript", "model.pt"}},
    {"torchscript-frozen", "torchscript", {"torchscript", "model.pt"}},
    {"torchscript-optimized", "torchscript", {"torchscript", "model.pt"}},
    {"eager", "", {"module", "model.json"}},
    {"compile", "", {"module", "model.json"}},
};

enum { VARIANT_COUNT = sizeof variants / sizeof *variants };

static size_t find_variant(const char *variant)
{
    size_t i = 0;
    while (i < VARIANT_COUNT && strcmp(variants[i].variant, variant))
        i++;
    return i;
}

int prepare_needed(const char *runtime, const char *variant, const char *format)
{
    size_t i = find_variant(variant);
    return !strcmp(runtime, "pytorch") && i < VARIANT_COUNT && strcmp(variants[i].format, format);
}

int prepare_compiles(const char *runtime, const char *variant)
{
    return !strcmp(runtime, "pytorch") && !strcmp(variant, "aoti");
}

/* TorchScript and compiled packages hold no module that another variant could be made of. */
static int check_format(const struct prepare_request *r, struct error *e)
{
    static const char *const sources[] = {"onnx", "exported", "python"};
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
        if (!strcmp(r->format, sources[i]))
            return 0;
    error_set(e, ERROR_UNSUPPORTED, "%s:%s cannot run a model of format '%s'", r->runtime,
              r->variant, r->format);
    return error_hint(e, "it takes an ONNX file, an exported program (torch.export.save) or "
                         "FILE.py:FUNCTION");
}

/* --- the key ---------------------------------------------------------------------------------- */

/* The instructions that this CPU has: code compiled for it runs on another one with the same. */
static void add_instructions(struct buffer *text)
{
    char *line = NULL;
    size_t capacity = 0;
    FILE *f = fopen("/proc/cpuinfo", "re");
    while (f && getline(&line, &capacity, f) > 0)
        if (text_starts(line, "flags") || text_starts(line, "Features")) {
            buffer_text(text, line);
            break;
        }
    free(line);
    if (f)
        fclose(f);
}

static int add_inputs(struct buffer *text, const json_t *inputs, struct error *e)
{
    char *dump = inputs ? json_dumps(inputs, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    if (inputs && !dump)
        return error_memory(e);
    buffer_format(text, "inputs %s\n", dump ? dump : "[]");
    free(dump);
    return 0;
}

static int describe(const struct job *j, const char *script, struct buffer *text, struct error *e)
{
    const struct prepare_request *r = j->r;
    const char *what = j->items[0].what;
    char hex[65];
    snprintf(hex, sizeof hex, "%s", r->sha256 ? r->sha256 : "");
    int result = hex[0] ? 0 : file_sha256(j->model, hex, e);
    if (result)
        return result;
    buffer_format(text, "what %s\nscripts %s\nmodel %s%s\nformat %s\nzoo %s\nform %s\n", what,
                  script, hex, j->function, r->format, r->zoo, r->form);
    buffer_format(text, "runtime %s %s %s\nprovider %s\nprecision %s\nbatch %lld\n", r->runtime,
                  r->version, r->library, r->provider, r->precision, (long long)r->batch);
    if (!strcmp(what, "module")) /* a description, which says where the file is */
        buffer_format(text, "path %s\n", j->model);
    if (prepare_compiles(r->runtime, r->variant)) {
        buffer_format(text, "threads %d\n", r->threads);
        add_instructions(text);
    }
    result = add_inputs(text, r->inputs, e);
    return !result && text->failed ? error_memory(e) : result;
}

static int hash_text(const struct buffer *text, char hex[KEY_SHOWN + 1], struct error *e)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    if (!EVP_Digest(buffer_string(text), text->size, digest, NULL, EVP_sha256(), NULL))
        return error_memory(e);
    for (size_t i = 0; i < KEY_SHOWN / 2; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return 0;
}

static int make_key(const struct job *j, const char *script, char key[KEY_SHOWN + 1],
                    struct error *e)
{
    struct buffer text;
    buffer_init(&text, KEY_TEXT_MAX);
    int result = describe(j, script, &text, e);
    if (!result)
        result = hash_text(&text, key, e);
    buffer_release(&text);
    return result;
}

/* --- the job ---------------------------------------------------------------------------------- */

/* "FILE.py:FUNCTION" apart; of the file the whole path, as the work is done elsewhere. */
static int find_model(struct job *j, struct error *e)
{
    const char *colon = strcmp(j->r->format, "python") ? NULL : strrchr(j->r->model, ':');
    char path[PATH_MAX];
    j->function = colon ? colon : "";
    snprintf(path, sizeof path, "%.*s", (int)(strlen(j->r->model) - strlen(j->function)),
             j->r->model);
    if (!realpath(path, j->model))
        return error_errno(e, errno, "cannot open '%.300s'", path);
    return 0;
}

static int set_folder(struct job *j, const char *root, const char *name, struct error *e)
{
    char hidden[NAME_MAX];
    snprintf(j->root, sizeof j->root, "%s", root);
    snprintf(hidden, sizeof hidden, ".%.200s.partial", name);
    int result = file_join(j->folder, root, name, e);
    return result ? result : file_join(j->partial, root, hidden, e);
}

static int take_lock(struct job *j, struct error *e)
{
    const struct folder_wait wait = {j->r->interrupted, j->r->tell, j->r->context,
                                     "waiting for another wattle that prepares a model"};
    return folder_lock(j->root, &wait, &j->lock, e);
}

static void finish(struct job *j)
{
    if (j->lock >= 0)
        close(j->lock);
}

/* --- the script ------------------------------------------------------------------------------- */

static json_t *list_items(const struct job *j)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < j->item_count; i++)
        json_array_append_new(list, json_pack("{s:s, s:s++}", "what", j->items[i].what, "path",
                                              j->partial, "/", j->items[i].file));
    return list;
}

static int timeout_s(const struct prepare_request *r)
{
    uint64_t s = (r->timeout_ns + NS_PER_S - 1) / NS_PER_S;
    return s < INT_MAX ? (int)s : INT_MAX;
}

static json_t *make_request(const struct job *j)
{
    const struct prepare_request *r = j->r;
    json_t *request = json_pack(
        "{s:i, s:s+, s:s, s:s, s:s, s:s, s:s, s:I, s:i, s:i, s:s+, s:o*}", "schema", 1, "model",
        j->model, j->function, "format", r->format, "zoo", r->zoo, "form", r->form, "provider",
        r->provider, "precision", r->precision, "batch", (json_int_t)r->batch, "threads",
        r->threads, "timeout_s", timeout_s(r), "scratch", j->partial, "/scratch", "make",
        list_items(j));
    json_t *inputs = r->inputs ? json_deep_copy(r->inputs) : json_array();
    if (request && json_object_set_new(request, "inputs", inputs)) {
        json_decref(request);
        return NULL;
    }
    return request;
}

static int run_script(struct job *j, const char *script, struct error *e)
{
    const struct python_job job = {j->r->library, script, j->partial, j->r->interrupted, j->r->tell,
                                   j->r->context, j->lock};
    json_t *request = make_request(j);
    int result = request ? python_run(&job, request, e) : error_memory(e);
    json_decref(request);
    if (result == ERROR_CRASH && strstr(e->text, "signal 14")) { /* the script's own alarm */
        error_set(e, ERROR_TIMEOUT, "reading the model took longer than %d s", timeout_s(j->r));
        return error_hint(e, "does its Python ever come back? --timeout gives it longer");
    }
    return result;
}

/* --- making ----------------------------------------------------------------------------------- */

static int check_made(const struct job *j, struct error *e)
{
    for (size_t i = 0; i < j->item_count; i++) {
        char path[PATH_MAX];
        int result = file_join(path, j->partial, j->items[i].file, e);
        if (!result && access(path, R_OK))
            result = error_errno(e, errno, "'%s' was not made", path);
        if (result)
            return result;
    }
    return 0;
}

/* What was only needed on the way; of files for people also the note. */
static int strip(const struct job *j, struct error *e)
{
    static const char *const names[] = {"scratch", "request.json", "result.json"};
    size_t count = j->item_count > 1 ? 3 : 2;
    int result = 0;
    for (size_t i = 0; i < count && !result; i++) {
        char path[PATH_MAX];
        result = file_join(path, j->partial, names[i], e);
        if (!result)
            result = folder_remove(path, e);
    }
    return result;
}

static int fill_partial(struct job *j, const char *script, struct error *e)
{
    char scratch[PATH_MAX];
    int result = file_join(scratch, j->partial, "scratch", e);
    if (!result)
        result = file_make_folder(scratch, e);
    if (!result)
        result = run_script(j, script, e);
    if (!result)
        result = check_made(j, e);
    if (!result)
        result = strip(j, e);
    if (!result && is_interrupted(j))
        result = error_set(e, ERROR_INTERRUPTED, "interrupted");
    return result;
}

static int make(struct job *j, const char *script, struct error *e)
{
    struct error ignored;
    int result = folder_remove(j->partial, e); /* of one that was killed */
    if (!result)
        result = fill_partial(j, script, e);
    if (!result)
        result = folder_replace(j->partial, j->folder, e);
    if (result)
        folder_remove(j->partial, &ignored);
    return result;
}

/* --- what is kept ----------------------------------------------------------------------------- */

/* Whether the other files that were read, weights or modules, are as they were. */
static int is_current(const json_t *note)
{
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(note, "depends"), i, entry) {
        struct stat st;
        json_int_t time_ns = json_integer_value(json_object_get(entry, "mtime_ns"));
        if (stat(python_word(entry, "path"), &st) ||
            st.st_size != json_integer_value(json_object_get(entry, "size")) ||
            (json_int_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec != time_ns)
            return 0;
    }
    return 1;
}

/* 1 when it is there and of use. Its time is that of its last use. */
static int find_prepared(const struct job *j, struct prepared *out)
{
    json_t *note = python_result(j->folder);
    int there = note && is_current(note) &&
                !file_join(out->path, j->folder, j->items[0].file, NULL) &&
                !access(out->path, R_OK);
    snprintf(out->form, sizeof out->form, "%s", python_word(note, "form"));
    snprintf(out->how, sizeof out->how, "%s", python_word(note, "how"));
    json_decref(note);
    if (there)
        utimensat(AT_FDCWD, j->folder, NULL, 0);
    return there;
}

static int is_old(int folder, const char *name, int is_partial)
{
    struct stat st;
    return is_partial || (!fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) && S_ISDIR(st.st_mode) &&
                          st.st_mtime + (time_t)UNUSED_DAYS * 24 * 3600 < time(NULL));
}

/* What a killed wattle left, and what nobody has used for long: models in all shapes add up. Only
 * folders that are named like keys are touched. */
static void tidy(const char *root)
{
    struct error ignored;
    DIR *dir = opendir(root);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        const char *name = entry->d_name + (entry->d_name[0] == '.');
        size_t digits = strspn(name, "0123456789abcdef");
        int is_partial = name != entry->d_name && text_starts(name + digits, ".partial");
        char path[PATH_MAX];
        if (digits == KEY_SHOWN && (is_partial || !name[digits]) &&
            is_old(dirfd(dir), entry->d_name, is_partial) &&
            !file_join(path, root, entry->d_name, NULL))
            folder_remove(path, &ignored);
    }
    if (dir)
        closedir(dir);
}

static int prepare_root(char root[PATH_MAX], struct error *e)
{
    char home[PATH_MAX];
    int result = file_home(home, e);
    return result ? result : file_join(root, home, "prepared", e);
}

static int find_or_make(struct job *j, const char *script, struct prepared *out, struct error *e)
{
    if (find_prepared(j, out))
        return 0;
    int result = strcmp(j->r->format, "exported") ? 0 : pt_package_verify(j->model, e);
    if (!result)
        result = take_lock(j, e);
    if (result || find_prepared(j, out)) /* by whoever held the lock */
        return result;
    tidy(j->root);
    result = make(j, script, e);
    if (!result && !find_prepared(j, out))
        result = error_set(e, ERROR_FORMAT, "'%s' is not whole", j->folder);
    out->made = !result;
    return result;
}

/* What TorchScript needs besides the file, made here so that it is told and can be interrupted. */
static int make_shim(const struct job *j, struct error *e)
{
    const struct prepare_request *r = j->r;
    char path[PATH_MAX];
    if (strcmp(j->items[0].what, "torchscript"))
        return 0;
    return pytorch_shim(r->library, path, r->tell, r->context, r->interrupted, e);
}

int prepare_model(const struct prepare_request *r, struct prepared *out, struct error *e)
{
    char script[PATH_MAX], root[PATH_MAX], key[KEY_SHOWN + 1];
    size_t variant = find_variant(r->variant);
    struct job j = {.r = r, .item_count = 1, .lock = -1};
    memset(out, 0, sizeof *out);
    if (strcmp(r->runtime, "pytorch") || variant == VARIANT_COUNT)
        return error_set(e, ERROR_UNSUPPORTED, "nothing is prepared for %s:%s", r->runtime,
                         r->variant);
    j.items = &variants[variant].item;
    int result = check_format(r, e);
    if (!result)
        result = find_model(&j, e);
    if (!result)
        result = script_path("python/prepare.py", script, e);
    if (!result)
        result = make_key(&j, script, key, e);
    if (!result)
        result = prepare_root(root, e);
    if (!result)
        result = set_folder(&j, root, key, e);
    if (!result)
        result = find_or_make(&j, script, out, e);
    if (!result)
        result = make_shim(&j, e);
    finish(&j);
    if (result && result != ERROR_INTERRUPTED)
        return error_context(e, "cannot be prepared");
    return result;
}

/* --- files for people to take away ------------------------------------------------------------ */

static const struct item file_items[] = {
    {"exported", "exported.pt2"},
    {"aoti-portable", "aoti.pt2"},
    {"aoti", "aoti-native.pt2"},
    {"torchscript", "torchscript.pt"},
};
const char *const prepare_files[] = {"exported.pt2", "aoti.pt2", "aoti-native.pt2",
                                     "torchscript.pt", NULL};

int prepare_files_make(const struct prepare_request *r, const char *folder, struct error *e)
{
    char script[PATH_MAX], root[PATH_MAX];
    struct job j = {.r = r, .items = file_items,
                    .item_count = sizeof file_items / sizeof *file_items, .lock = -1};
    snprintf(root, sizeof root, "%s", folder);
    char *name = strrchr(root, '/');
    if (!name)
        return error_set(e, ERROR_USAGE, "'%.200s' is not an absolute path", folder);
    *name++ = '\0';
    int result = find_model(&j, e);
    if (!result)
        result = script_path("python/prepare.py", script, e);
    if (!result)
        result = set_folder(&j, root, name, e);
    if (!result)
        result = take_lock(&j, e);
    if (!result)
        result = make(&j, script, e);
    finish(&j);
    return result;
}
