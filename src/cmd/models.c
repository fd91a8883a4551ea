/* models.c: `wattle models`: the built-in models, as ONNX files and in formats of runtimes. */
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "cmd/cmd.h"
#include "model/zoo.h"
#include "runtime/found.h"
#include "runtime/prepare.h"
#include "worker/worker.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void print_model(const struct zoo_model *m)
{
    char path[PATH_MAX], size[16] = "not built";
    struct stat st;
    if (zoo_cached(m) && !zoo_path(m, path, NULL) && !stat(path, &st))
        text_bytes((uint64_t)st.st_size, size);
    printf("%-14s %10.2f M %9.2f  %-10s  %s\n", m->name, (double)m->parameters / 1e6,
           (double)m->macs / 1e9, size, m->title);
}

/* "<model>-pytorch", or "<model>-pytorch-b8" with another batch than 1, beside the ONNX file. */
static int format_folder(const struct zoo_model *m, const char *tail, char out[PATH_MAX],
                         struct error *e)
{
    char path[PATH_MAX], name[160];
    int result = zoo_path(m, path, e);
    if (result)
        return result;
    *strrchr(path, '/') = '\0';
    snprintf(name, sizeof name, "%s-pytorch%s", m->name, tail);
    return file_join(out, path, name, e);
}

static void print_file(const char *folder, const char *file)
{
    char path[PATH_MAX], size[16];
    struct stat st;
    if (file_join(path, folder, file, NULL) || stat(path, &st))
        return;
    text_bytes((uint64_t)st.st_size, size);
    printf("%-10s  %s\n", size, path);
}

static void print_formats(const struct zoo_model *m, int *shown)
{
    char folder[PATH_MAX], pattern[2 * PATH_MAX], tail[160];
    glob_t found;
    if (zoo_path(m, folder, NULL))
        return;
    *strrchr(folder, '/') = '\0';
    snprintf(tail, sizeof tail, "%s-pytorch*", m->name);
    if (!file_pattern(folder, tail, pattern, sizeof pattern) || glob(pattern, 0, NULL, &found))
        return;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        if (!(*shown)++)
            printf("\nin formats of runtimes\n");
        for (const char *const *file = prepare_files; *file; file++)
            print_file(found.gl_pathv[i], *file);
    }
    globfree(&found);
}

static int list(void)
{
    size_t count;
    int shown = 0;
    const struct zoo_model *zoo = zoo_models(&count);
    printf("%-14s %12s %9s  %-10s  %s\n", "MODEL", "PARAMETERS", "GMAC", "FILE", "ARCHITECTURE");
    for (size_t i = 0; i < count; i++)
        print_model(&zoo[i]);
    for (size_t i = 0; i < count; i++)
        print_formats(&zoo[i], &shown);
    return 0;
}

static int unknown(const char *name, struct error *e)
{
    const char *names[16], *nearest;
    size_t count, n = 0;
    const struct zoo_model *zoo = zoo_models(&count);
    for (; n < count && n < sizeof names / sizeof *names; n++)
        names[n] = zoo[n].name;
    nearest = text_nearest(name, names, n);
    error_set(e, ERROR_USAGE, "no built-in model '%s'", name);
    if (nearest)
        return error_hint(e, "did you mean '%s'?", nearest);
    return error_hint(e, "wattle models lists them");
}

static int build_onnx(const struct zoo_model *m, char path[PATH_MAX], struct error *e)
{
    uint64_t begin_ns = clock_monotonic_ns();
    int result = zoo_build_until(m, worker_interrupted, path, e);
    if (!result)
        log_note("%s written in %.1f s, sha256 %s", m->name,
                 (double)(clock_monotonic_ns() - begin_ns) / 1e9, m->sha256);
    return result;
}

/* --- in PyTorch's formats --------------------------------------------------------------------- */

static void tell(void *context, const char *line)
{
    (void)context;
    log_note("%s", line);
}

static void print_made(const char *folder)
{
    char path[PATH_MAX], size[16];
    struct stat st;
    for (const char *const *file = prepare_files; *file; file++) {
        if (file_join(path, folder, *file, NULL) || stat(path, &st))
            continue;
        text_bytes((uint64_t)st.st_size, size);
        log_note("%s: %s", *file, size);
        printf("%s\n", path);
    }
}

static int build_batch(const struct zoo_model *m, const struct found *pytorch, const char *model,
                       int64_t batch, struct error *e)
{
    char folder[PATH_MAX], tail[32] = "";
    const struct prepare_request request = {
        .model = model, .format = "onnx", .sha256 = m->sha256, .zoo = m->name, .form = "native",
        .runtime = "pytorch", .variant = "", .library = pytorch->library,
        .version = pytorch->version, .provider = "cpu", .precision = "f32", .batch = batch,
        .interrupted = worker_interrupted, .tell = tell};
    if (batch != 1)
        snprintf(tail, sizeof tail, "-b%lld", (long long)batch);
    int result = format_folder(m, tail, folder, e);
    if (!result)
        result = prepare_files_make(&request, folder, e);
    if (!result)
        print_made(folder);
    return result;
}

enum { BATCH_COUNT_MAX = 16, BATCH_MAX = 4096 };

/* All of them before the first is built. */
static int read_batches(const char *text, int64_t batches[BATCH_COUNT_MAX], size_t *count,
                        struct error *e)
{
    char **texts;
    int result = text_split(text, "batch", BATCH_COUNT_MAX, &texts, count, e);
    if (result)
        return result;
    for (size_t i = 0; i < *count && !result; i++)
        result = text_to_int(texts[i], "batch", 1, BATCH_MAX, &batches[i], e);
    free(texts);
    return result;
}

/* The newest installation; its strings are the list's. */
static int find_pytorch(struct found_list *list, const struct found **out, struct error *e)
{
    struct runtime_name name;
    int result = runtime_name_parse("pytorch", &name, e);
    if (!result)
        result = found_search(list, e);
    *out = result ? NULL : found_pick(list, &name, "cpu", e);
    return result || *out ? result : (int)e->code;
}

static int build_pytorch(const struct zoo_model *m, const char *text, struct error *e)
{
    char model[PATH_MAX];
    int64_t batches[BATCH_COUNT_MAX];
    size_t count = 0;
    struct found_list list = {0};
    const struct found *pytorch = NULL;
    int result = read_batches(text, batches, &count, e);
    if (!result)
        result = find_pytorch(&list, &pytorch, e);
    if (!result)
        result = zoo_path(m, model, e);
    if (!result && !zoo_cached(m))
        result = build_onnx(m, model, e);
    for (size_t i = 0; i < count && !result; i++)
        result = build_batch(m, pytorch, model, batches[i], e);
    found_release(&list);
    return result;
}

/* --- command ---------------------------------------------------------------------------------- */

static int build(const char *name, const struct option_list *options, struct error *e)
{
    const struct zoo_model *m = zoo_find(name);
    const char *format = options_last(options, OPTION_FORMAT, "onnx");
    char path[PATH_MAX];
    if (!m)
        return unknown(name, e);
    if (!strcmp(format, "pytorch"))
        return build_pytorch(m, options_last(options, OPTION_BATCH, "1"), e);
    int result = build_onnx(m, path, e);
    if (!result)
        printf("%s\n", path);
    return result;
}

static int check_format(const struct option_list *options, struct error *e)
{
    const char *format = options_last(options, OPTION_FORMAT, "onnx");
    if (!strcmp(format, "pytorch"))
        return 0;
    if (strcmp(format, "onnx")) {
        error_set(e, ERROR_USAGE, "models are not built in format '%.60s'", format);
        return error_hint(e, "--format takes onnx and pytorch");
    }
    if (!options_given(options, OPTION_BATCH))
        return 0;
    error_set(e, ERROR_USAGE, "--batch without --format pytorch");
    return error_hint(e, "the ONNX files run with any batch");
}

int cmd_models(const struct option_list *options, struct error *e)
{
    if (check_format(options, e))
        return 0;
    int is_list = options->operand_count == 1 && !strcmp(options->operands[0], "list");
    if (options->operand_count == 0 || is_list)
        return list();
    if (strcmp(options->operands[0], "build"))
        return error_set(e, ERROR_USAGE, "models has no action '%s'; it has: build, list",
                         options->operands[0]), 0;
    if (options->operand_count == 1)
        return error_set(e, ERROR_USAGE, "models build needs the name of a model"), 0;
    for (size_t i = 1; i < options->operand_count; i++) {
        if (build(options->operands[i], options, e))
            return 0;
        if (worker_interrupted()) /* at the end of a model */
            return error_set(e, ERROR_INTERRUPTED, "interrupted"), 0;
    }
    return 0;
}
