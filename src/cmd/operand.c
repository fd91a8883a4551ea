/* operand.c: what MODEL on the command line means: a built-in model, a file and its format. */
#include "cmd/request.h"

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "model/format.h"
#include "model/zoo.h"
#include "worker/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* What the ending of a file says of its format; NULL when it says nothing. */
static const char *ending_of(const char *operand, const char **format)
{
    static const struct {
        const char *ending, *format;
    } formats[] = {
        {".onnx", "onnx"}, {".xml", "ir"},   {".tflite", "tflite"}, {".pb", "tfgraph"},
        {".pt2", "torch"}, {".pt", "torch"}, {".pth", "torch"},     {".ts", "torch"},
    };
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (text_ends(operand, formats[i].ending)) {
            *format = formats[i].format;
            return formats[i].ending;
        }
    return NULL;
}

static int unknown_model(const char *operand, struct error *e)
{
    const char *names[REQUEST_LIST_MAX], *format;
    size_t count;
    const struct zoo_model *zoo = zoo_models(&count);
    for (size_t i = 0; i < count; i++)
        names[i] = zoo[i].name;
    if (strchr(operand, '/') || ending_of(operand, &format))
        return error_set(e, ERROR_USAGE, "model file '%s' is not there", operand);
    const char *nearest = text_nearest(operand, names, count);
    error_set(e, ERROR_USAGE, "unknown model '%s': neither built in nor a file", operand);
    if (nearest)
        return error_hint(e, "did you mean '%s'?", nearest);
    return error_hint(e, "wattle models lists what is built in");
}

static int zoo_model_file(const struct zoo_model *zoo, int build, struct cell *model,
                          struct error *e)
{
    snprintf(model->form, sizeof model->form, "native"); /* it can be had in that form */
    if (zoo_cached(zoo) || !build)
        return zoo_path(zoo, model->path, e);
    log_note("writing built-in model %s", zoo->name);
    return zoo_build_until(zoo, worker_interrupted, model->path, e);
}

/* Name and format, both by the last part of the path. */
static void name_model(const char *operand, struct cell *model)
{
    const char *format, *ending = ending_of(operand, &format);
    size_t size = strlen(operand);
    while (size > 1 && operand[size - 1] == '/')
        size--;
    size_t begin = size;
    while (begin > 0 && operand[begin - 1] != '/')
        begin--;
    if (ending) {
        size -= strlen(ending);
        snprintf(model->format, sizeof model->format, "%s", format);
    }
    if (size - begin >= sizeof model->model) { /* cut, but not within a character */
        size = begin + sizeof model->model - 1;
        while (size > begin && ((unsigned char)operand[size] & 0xc0) == 0x80)
            size--;
    }
    snprintf(model->model, sizeof model->model, "%.*s", (int)(size - begin), operand + begin);
}

/* Names and paths go into JSON, to the worker and into the result. */
static int check_utf8(const char *text, const char *what, struct error *e)
{
    json_t *object = json_object(), *value = json_string(text);
    int bad = object && !value; /* else memory is short, which the next call will find */
    json_decref(value);
    json_decref(object);
    if (!bad)
        return 0;
    error_set(e, ERROR_USAGE, "a model's %s is not UTF-8", what);
    return error_hint(e, "rename it");
}

static int folder_model(struct cell *model, struct error *e)
{
    char path[PATH_MAX];
    struct stat st;
    snprintf(model->format, sizeof model->format, "savedmodel");
    int result = file_join(path, model->path, "saved_model.pb", e);
    if (result || !stat(path, &st))
        return result;
    return error_set(e, ERROR_IO, "model '%.200s' is not a regular file, nor the folder of a "
                     "SavedModel", model->path);
}

/* Several formats share PyTorch's endings. */
static int torch_model(struct cell *model, struct error *e)
{
    const char *format;
    int result = format_of_torch(model->path, &format, e);
    if (!result)
        snprintf(model->format, sizeof model->format, "%s", format);
    return result;
}

static int is_identifier(const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    size_t size = strlen(text);
    return size > 0 && strchr(letters, *text) &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") == size;
}

/* "FILE.py:FUNCTION": where FUNCTION begins, NULL when it is nothing of the kind. */
static const char *python_function(const char *operand)
{
    const char *colon = strrchr(operand, ':');
    return colon && colon - operand > 3 && !strncmp(colon - 3, ".py", 3) ? colon + 1 : NULL;
}

static int python_model(const char *operand, const char *function, struct cell *model,
                        struct error *e)
{
    char file[PATH_MAX];
    struct stat st;
    snprintf(model->format, sizeof model->format, "python");
    if (!is_identifier(function)) {
        error_set(e, ERROR_USAGE, "'%.60s' is no name of a function", function);
        return error_hint(e, "FILE.py:FUNCTION, where FUNCTION() gives a torch.nn.Module");
    }
    if ((size_t)snprintf(file, sizeof file, "%.*s", (int)(function - 1 - operand), operand) >=
        sizeof file)
        return error_set(e, ERROR_USAGE, "path '%.60s...' is too long", operand);
    if (!realpath(file, model->path) || stat(model->path, &st) || !S_ISREG(st.st_mode))
        return error_set(e, ERROR_USAGE, "model file '%.200s' is not there", file);
    size_t used = strlen(model->path), room = sizeof model->path - used;
    if ((size_t)snprintf(model->path + used, room, ":%s", function) >= room)
        return error_set(e, ERROR_USAGE, "path '%.60s...' is too long", operand);
    return 0;
}

/* Where it is. *is_folder is -1 for FILE.py:FUNCTION, of which nothing is left to find out. */
static int find_model(const char *operand, struct cell *model, int *is_folder, struct error *e)
{
    const char *function = python_function(operand);
    struct stat st;
    *is_folder = -1;
    int failed = stat(operand, &st) ? errno : 0;
    if (failed && function)
        return python_model(operand, function, model, e);
    if (failed == ENOENT || failed == ENOTDIR)
        return unknown_model(operand, e);
    if (failed)
        return error_errno(e, failed, "cannot read model '%.300s'", operand);
    *is_folder = S_ISDIR(st.st_mode);
    if (realpath(operand, model->path))
        return 0;
    return error_set(e, ERROR_USAGE, "model file '%s' cannot be resolved", operand);
}

static int file_model(const char *operand, struct cell *model, struct error *e)
{
    int is_folder, result = find_model(operand, model, &is_folder, e);
    if (result || is_folder < 0)
        return result;
    if (is_folder)
        return folder_model(model, e);
    if (text_ends(operand, ".py")) {
        error_set(e, ERROR_USAGE, "'%.200s' is code: which of its functions makes the model?",
                  operand);
        return error_hint(e, "as in %.100s:make_model; a program that measures itself goes by "
                          "--worker", operand);
    }
    return strcmp(model->format, "torch") ? 0 : torch_model(model, e);
}

static int open_model(const char *operand, int build, struct cell *model,
                      int (*open_file)(const char *, struct cell *, struct error *),
                      struct error *e)
{
    *model = (struct cell){.format = "onnx", .instances = 1};
    const struct zoo_model *zoo = zoo_find(operand);
    name_model(operand, model);
    if (check_utf8(operand, "name", e))
        return (int)e->code;
    if (zoo)
        return zoo_model_file(zoo, build, model, e);
    int result = open_file(operand, model, e);
    return result ? result : check_utf8(model->path, "path", e);
}

int request_model(const char *operand, int build, struct cell *model, struct error *e)
{
    const struct adapter *own = adapter_find(operand);
    if (!own || !own->hidden)
        return open_model(operand, build, model, file_model, e);
    *model = (struct cell){.format = "onnx", .instances = 1};
    name_model(operand, model); /* the fake runtime brings its own model: no file */
    return 0;
}

/* A worker may read what it likes: the name tells the format, or nothing does. */
static int opaque_model(const char *operand, struct cell *model, struct error *e)
{
    int is_folder, result = find_model(operand, model, &is_folder, e);
    if (result || is_folder < 0)
        return result;
    if (is_folder)
        snprintf(model->format, sizeof model->format, "folder");
    else if (!strcmp(model->format, "onnx") && !text_ends(operand, ".onnx"))
        snprintf(model->format, sizeof model->format, "other");
    return 0;
}

int request_own_model(const char *operand, int build, struct cell *model, struct error *e)
{
    if (*operand)
        return open_model(operand, build, model, opaque_model, e);
    *model = (struct cell){.model = "worker", .instances = 1};
    return 0;
}
