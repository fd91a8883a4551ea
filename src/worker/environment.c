#include "worker/parent.h"
#include "worker/printable.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a program needs to be found, to find its files, and to speak the user's language, and which
 * GPUs it may see, in which order: that is the user's choice of a device. All else of the user's
 * environment (OMP_*, MKL_*, LD_PRELOAD, ...) could change a measurement without being asked for,
 * so it must come through the worker's own, recorded, variables. */
static int is_base(const char *entry)
{
    static const char *const names[] = {
        "PATH=",   "HOME=",        "LANG=",            "LC_",
        "TMPDIR=", "WATTLE_HOME=", "LD_LIBRARY_PATH=", "CUDA_VISIBLE_DEVICES=",
        "CUDA_DEVICE_ORDER="};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (text_starts(entry, names[i]))
            return 1;
    return 0;
}

static json_t *text_json(struct arena *arena, const char *value)
{
    json_t *json = json_string(value);
    size_t size = strlen(value);
    char *copy = json ? NULL : arena_alloc(arena, size + 1);
    if (!copy)
        return json;
    printable(value, size, copy); /* not UTF-8: the record shows it as well as JSON can */
    return json_string(copy);
}

struct list {
    struct arena *arena;
    char **entries;
    size_t count;
    json_t *record;
};

static int same_name(const char *entry, const char *name, size_t size)
{
    return !strncmp(entry, name, size) && entry[size] == '=';
}

/* Adds NAME=VALUE, in place of an entry of the same name. */
static int put(struct list *l, const char *name, size_t name_size, const char *value,
               struct error *e)
{
    size_t i = 0;
    while (i < l->count && !same_name(l->entries[i], name, name_size))
        i++;
    char *entry = arena_format(l->arena, "%.*s=%s", (int)name_size, name, value);
    char *key = arena_text(l->arena, name, name_size);
    if (!entry || !key || json_object_set_new(l->record, key, text_json(l->arena, value)))
        return error_memory(e);
    l->entries[i] = entry;
    l->count += i == l->count;
    return 0;
}

static int put_base(struct list *l, struct error *e)
{
    for (char **p = environ; *p; p++) {
        const char *equals = strchr(*p, '=');
        if (!equals || !is_base(*p))
            continue;
        int code = put(l, *p, (size_t)(equals - *p), equals + 1, e);
        if (code)
            return code;
    }
    return 0;
}

static int put_extra(struct list *l, json_t *extra, struct error *e)
{
    const char *name;
    json_t *value;
    json_object_foreach(extra, name, value) {
        const char *text = json_string_value(value);
        if (!text || strlen(text) != json_string_length(value) || !*name || strchr(name, '='))
            return error_set(e, ERROR_USAGE, "environment variable '%.60s' of a worker is not a "
                             "name and a text", name);
        int code = put(l, name, strlen(name), text, e);
        if (code)
            return code;
    }
    return 0;
}

static int put_descriptors(struct list *l, struct error *e)
{
    static const struct {
        const char *name;
        int fd;
    } fds[] = {{"WATTLE_FD_COMMANDS", WATTLE_FD_COMMANDS},
               {"WATTLE_FD_REPLIES", WATTLE_FD_REPLIES},
               {"WATTLE_FD_RING", WATTLE_FD_RING},
               {"WATTLE_FD_TENSORS", WATTLE_FD_TENSORS}};
    int code = 0;
    for (size_t i = 0; !code && i < sizeof fds / sizeof *fds; i++) {
        char number[2] = {(char)('0' + fds[i].fd), '\0'};
        code = put(l, fds[i].name, strlen(fds[i].name), number, e);
    }
    return code;
}

static size_t count_entries(json_t *extra)
{
    size_t count = json_object_size(extra) + 5; /* four descriptors and the final NULL */
    for (char **p = environ; *p; p++)
        count++;
    return count;
}

int environment_make(json_t *extra, struct arena *arena, char ***envp, json_t **record,
                     struct error *e)
{
    struct list l = {.arena = arena, .record = json_object()};
    l.entries = arena_array(arena, count_entries(extra), sizeof *l.entries);
    if (!l.record || !l.entries) {
        json_decref(l.record);
        return error_memory(e);
    }
    int code = put_base(&l, e);
    if (!code)
        code = put_extra(&l, extra, e);
    if (!code)
        code = put_descriptors(&l, e);
    if (code) {
        json_decref(l.record);
        return code;
    }
    *envp = l.entries;
    *record = l.record;
    return 0;
}
