/* own.c: the user's own workers (--worker) and the devices (-d) that cells are given. */
#include "cmd/request.h"

#include "base/text.h"
#include "worker/worker.h"

#include <stdlib.h>
#include <string.h>

/* --- names ------------------------------------------------------------------------------------ */

/* Programs that run another one, whose name says more. */
static int is_launcher(const char *name)
{
    static const char *const names[] = {"env", "sh", "bash", "dash", "zsh", "perl", "ruby", "node",
                                        "java", "julia", "Rscript", "nice", "taskset", "numactl"};
    if (text_starts(name, "python"))
        return 1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i]))
            return 1;
    return 0;
}

/* The next word of a command line, as far as a name needs it: quotes are left out. */
static const char *take_word(const char *at, char *word, size_t size)
{
    at += strspn(at, " \t\n");
    size_t n = strcspn(at, " \t\n"), used = 0;
    for (size_t i = 0; i < n && used + 1 < size; i++)
        if (at[i] != '\'' && at[i] != '"')
            word[used++] = at[i];
    word[used] = '\0';
    return at + n;
}

/* "infer.py" of "CUDA_VISIBLE_DEVICES=0 python3 -u ~/code/infer.py --fast". */
static void name_of_command(const char *command, char *name, size_t size)
{
    char word[PLAN_COMMAND_MAX];
    snprintf(name, size, "worker");
    for (const char *at = command; at = take_word(at, word, sizeof word), *word;) {
        const char *slash = strrchr(word, '/'), *base = slash ? slash + 1 : word;
        if (*word == '-' || !*base || (!slash && strchr(word, '=')))
            continue;
        snprintf(name, size, "%s", base);
        if (!is_launcher(base))
            break;
    }
    for (char *p = name; *p; p++) /* part of a label, in which ':' and '@' have a meaning */
        if ((unsigned char)*p <= ' ' || strchr(":@,;|&", *p) || (unsigned char)*p >= 0x7f)
            *p = '_';
}

static int is_named(const struct request *r, const char *name)
{
    for (size_t i = 0; i < r->worker_count; i++)
        if (!strcmp(r->workers[i].name, name))
            return 1;
    return 0;
}

/* Two commands that would be called alike are numbered. */
static void set_name(const struct request *r, struct request_worker *w)
{
    char base[sizeof w->name - 4];
    name_of_command(w->command, base, sizeof base);
    snprintf(w->name, sizeof w->name, "%s", base);
    for (int i = 2; is_named(r, w->name) && i <= REQUEST_WORKER_MAX; i++)
        snprintf(w->name, sizeof w->name, "%s-%d", base, i);
}

int own_add_worker(struct request *r, const char *command, struct error *e)
{
    char text[PATH_MAX];
    for (size_t i = 0; i < r->worker_count; i++)
        if (!strcmp(r->workers[i].command, command))
            return 0;
    if (r->worker_count == REQUEST_WORKER_MAX)
        return error_set(e, ERROR_USAGE, "more than %d workers", REQUEST_WORKER_MAX);
    if (strlen(command) >= PLAN_COMMAND_MAX)
        return error_set(e, ERROR_USAGE, "a worker's command of %zu bytes is too long",
                         strlen(command));
    int result = worker_shell(command, text, sizeof text, e);
    if (result)
        return error_hint(e, "as in --worker 'python3 infer.py'");
    struct request_worker w = {.command = command};
    set_name(r, &w);
    r->workers[r->worker_count++] = w;
    return 0;
}

/* --- devices ---------------------------------------------------------------------------------- */

static int check_devices(const char *text, struct error *e)
{
    static const char known[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789._:-";
    const char *at = text;
    for (;;) {
        size_t size = strspn(at, known);
        at += size;
        if (size && !*at)
            return 0;
        if (!size || *at != '+')
            break;
        at++;
    }
    error_set(e, ERROR_USAGE, "'%.60s' names no devices", text);
    return error_hint(e, "-d 0,1 measures on device 0 and on device 1, -d 0+1 on both together");
}

int own_parse_devices(struct request *r, const char *text, struct error *e)
{
    char **items;
    int result = text ? text_split(text, "device", REQUEST_LIST_MAX, &items, &r->device_count, e)
                      : 0;
    if (!text || result)
        return result;
    for (size_t i = 0; i < r->device_count && !result; i++) {
        if (strlen(items[i]) >= sizeof r->devices[0])
            result = error_set(e, ERROR_USAGE, "devices '%.60s...' are too many", items[i]);
        else
            result = check_devices(items[i], e);
        if (!result)
            snprintf(r->devices[i], sizeof r->devices[0], "%s", items[i]);
    }
    free(items);
    return result;
}
