#include "runtime/python.h"

#include "base/file.h"
#include "runtime/command.h"
#include "runtime/found.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { RESULT_MAX = 1 << 20 };

static int write_json(json_t *value, const char *path, struct error *e)
{
    struct file_atomic f;
    int result = value ? file_atomic_open(&f, path, e) : error_memory(e);
    if (result)
        return result;
    if (json_dumpf(value, f.stream, JSON_INDENT(1)) || fputc('\n', f.stream) == EOF) {
        file_atomic_abort(&f);
        return error_errno(e, errno ? errno : EIO, "cannot write '%s'", path);
    }
    return file_atomic_commit(&f, e);
}

json_t *python_result(const char *folder)
{
    char path[PATH_MAX];
    struct stat st;
    if (file_join(path, folder, "result.json", NULL) || stat(path, &st) || st.st_size > RESULT_MAX)
        return NULL;
    json_t *value = json_load_file(path, 0, NULL);
    if (value && !json_is_object(value)) {
        json_decref(value);
        return NULL;
    }
    return value;
}

const char *python_word(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static enum error_code code_of(const char *name)
{
    for (enum error_code c = ERROR_USAGE; c <= ERROR_INTERRUPTED; c++)
        if (!strcmp(error_code_name(c), name))
            return c;
    return ERROR_UNSUPPORTED;
}

/* The last line that is not empty. */
static const char *last_line(char *text)
{
    size_t size = strlen(text);
    while (size && text[size - 1] == '\n')
        text[--size] = '\0';
    const char *begin = strrchr(text, '\n');
    return begin ? begin + 1 : text;
}

/* The script tells what failed in a file; when it could not even do that, its last words are all
 * there is. */
static int explain(const struct python_job *j, struct command_output *out, struct error *e)
{
    if (e->code == ERROR_INTERRUPTED || e->code == ERROR_UNSUPPORTED)
        return (int)e->code;
    json_t *result = python_result(j->folder);
    const char *text = python_word(result, "text"), *words = last_line(out->tail);
    if (*text) {
        error_set(e, code_of(python_word(result, "error")), "%s", text);
        if (*python_word(result, "hint"))
            error_hint(e, "%s", python_word(result, "hint"));
    } else if (strstr(e->text, "signal 9")) {
        error_hint(e, "most likely memory ran out; close other programs or take a smaller batch");
    } else {
        char how[200];
        snprintf(how, sizeof how, "%s", e->text);
        if (*words)
            error_set(e, ERROR_CRASH, "%s; its last words: %.250s", how, words);
        error_hint(e, "most likely by code of the model, or of an extension that it loads");
    }
    json_decref(result);
    return (int)e->code;
}

/* Code of the model that ends the process leaves no trace but this. */
static int check_result(const struct python_job *j, const char *python, struct command_output *out,
                        struct error *e)
{
    json_t *result = python_result(j->folder);
    if (result) {
        json_decref(result);
        return 0;
    }
    error_set(e, ERROR_CRASH, "%.200s ended with exit status 0 before its work was done", python);
    return explain(j, out, e);
}

static int fill(json_t *request, const char *folder, const char *site, struct error *e)
{
    json_t *result = json_sprintf("%s/result.json", folder);
    return json_object_set_new(request, "site", json_string(site)) ||
           json_object_set_new(request, "result", result) ? error_memory(e) : 0;
}

int python_run(const struct python_job *j, json_t *request, struct error *e)
{
    char python[PATH_MAX], site[PATH_MAX], path[PATH_MAX];
    struct command_output out = {""};
    const struct install_options options = {
        .interrupted = j->interrupted, .tell = j->tell, .context = j->context};
    int result = found_python(j->library, python, site, e);
    if (!result)
        result = file_join(path, j->folder, "request.json", e);
    if (!result)
        result = fill(request, j->folder, site, e);
    if (!result)
        result = write_json(request, path, e);
    if (result)
        return result;
    /* Isolated, so that neither the user's variables nor packages decide; no files of its own
     * beside the scripts. */
    const char *const argv[] = {python, "-I", "-B", j->script, path, NULL};
    result = command_run_locked(argv, &options, j->lock > 0 ? j->lock : -1, &out, e);
    return result ? explain(j, &out, e) : check_result(j, python, &out, e);
}
