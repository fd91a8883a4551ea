/* runtimes.c: `wattle runtimes`: what is known, found and usable; install, remove, link. */
#include "cmd/cmd.h"

#include "base/buffer.h"
#include "base/log.h"
#include "base/text.h"
#include "runtime/found.h"
#include "runtime/install.h"
#include "runtime/nvml.h"
#include "worker/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIP_ARGUMENT_MAX = 48, INDENT = 4, GPU_TEXT_MAX = 1024, WAYS_MAX = 16, REASON_MAX = 320 };

/* --- list ------------------------------------------------------------------------------------- */

static void print_providers(const struct found *f)
{
    size_t i = 0;
    for (; i < f->provider_count && !f->absent[i]; i++)
        printf("%s%s", i ? "," : "", f->providers[i]);
    if (i == f->provider_count)
        return;
    printf("%s", i ? " (" : "- (");
    for (size_t first = i; i < f->provider_count; i++)
        printf("%s%s", i > first ? "," : "", f->providers[i]);
    printf(": no device)");
}

static void print_devices(const struct found *f)
{
    char text[FOUND_DEVICES_MAX], line[FOUND_DEVICES_MAX];
    if (found_devices(f, text))
        printf("%*sdevices: %s\n", INDENT, "", text_utf8(text, 1, line, sizeof line));
}

struct way {
    enum adapter_ready ready;
    char reason[REASON_MAX];
};

/* Variants from i on that are as ready as that one, and why: "eager, compile (no python3)". */
static void print_ways_like(const struct found *f, const struct way *ways, size_t count, size_t i)
{
    const char *before = ways[i].ready != ADAPTER_UNABLE ? i ? "; " : "" : i ? "; not " : "not ";
    char line[REASON_MAX];
    int listed = 0;
    for (size_t k = 0; k < count; k++) {
        int alike = ways[k].ready == ways[i].ready && !strcmp(ways[k].reason, ways[i].reason);
        if (alike && k < i)
            return; /* told already */
        if (alike)
            printf("%s%s", listed++ ? ", " : before, f->adapter->variants[k]);
    }
    if (ways[i].reason[0])
        printf(" (%s)", text_utf8(ways[i].reason, 1, line, sizeof line));
}

/* The ways in which the runtime runs models, and why some do not work. */
static void print_ways(const struct found *f)
{
    struct way ways[WAYS_MAX];
    size_t count = 0;
    const char *const *v = f->usable ? f->adapter->variants : NULL;
    for (; v && *v && count < WAYS_MAX; v++, count++) {
        ways[count] = (struct way){.ready = ADAPTER_READY};
        if (f->adapter->ready)
            ways[count].ready = f->adapter->ready(f->library, *v, ways[count].reason, REASON_MAX);
    }
    if (count)
        printf("%*svariants: ", INDENT, "");
    for (size_t i = 0; i < count; i++)
        print_ways_like(f, ways, count, i);
    if (count)
        putchar('\n');
}

static int has_providers_of(const struct found *f, const struct found *other)
{
    size_t had = 0;
    for (size_t i = 0; i < other->provider_count; i++)
        for (size_t k = 0; k < f->provider_count; k++)
            had += !strcmp(f->providers[k], other->providers[i]);
    return had == other->provider_count;
}

/* -r can name only the first one of a version, unless that lacks a provider. */
static int is_hidden(const struct found_list *list, const struct found *f)
{
    for (const struct found *g = list->items; g < f; g++)
        if (*f->package && g->usable && !strcmp(g->package, f->package) &&
            !strcmp(g->version, f->version) && has_providers_of(g, f))
            return 1;
    return 0;
}

static void print_found(const struct found_list *list, const struct found *f)
{
    char name[72], size[16] = "-";
    const char *variant = found_variant(f);
    const struct package *p = package_find(f->package);
    uint64_t bytes = found_bytes(f);
    if (p && p->plugin)
        snprintf(name, sizeof name, "%s", p->name);
    else
        snprintf(name, sizeof name, "%s%s%s", f->adapter->name, *variant ? ":" : "", variant);
    if (bytes)
        text_bytes(bytes, size);
    printf("%-22s %-12s %-9s %10s  ", name, f->version, f->origin, size);
    if (f->usable)
        print_providers(f);
    else
        printf("%s: %s", p && p->plugin ? "-" : "not usable", f->reason);
    puts(is_hidden(list, f) ? "  never chosen: the one above is of the same version" : "");
    if (f->library[0])
        printf("%*s%s\n", INDENT, "", f->library);
    print_ways(f);
    print_devices(f);
}

void runtimes_print_found(const struct found_list *list)
{
    printf("%-22s %-12s %-9s %10s  %s\n", "RUNTIME", "VERSION", "FROM", "SIZE", "PROVIDERS");
    for (size_t i = 0; i < list->count; i++)
        if (!list->items[i].adapter->hidden) {
            print_found(list, &list->items[i]);
            fflush(stdout); /* a device may make the next one wait */
        }
}

void runtimes_print_gpus(void)
{
    char text[GPU_TEXT_MAX], line[GPU_TEXT_MAX];
    nvml_describe(text, sizeof text);
    printf("\nGPUs (NVIDIA): %s\n", text_utf8(text, 1, line, sizeof line));
}

static int is_found(const struct found_list *list, const struct package *p)
{
    for (size_t i = 0; i < list->count; i++)
        if (!strcmp(list->items[i].package, p->name))
            return 1;
    return 0;
}

static void print_known(const struct found_list *list)
{
    size_t count, shown = 0;
    const struct package *all = package_all(&count);
    for (size_t i = 0; i < count; i++) {
        if (is_found(list, &all[i]))
            continue;
        if (!shown++)
            printf("\nnot here; wattle runtimes install NAME fetches\n");
        printf("  %-36s %-9s %s\n", all[i].name, all[i].version, all[i].title);
    }
}

static int print_list(struct error *e)
{
    struct found_list list;
    int result = found_search(&list, e);
    if (result)
        return result;
    runtimes_print_found(&list);
    runtimes_print_gpus();
    print_known(&list);
    found_release(&list);
    return 0;
}

/* --- actions ---------------------------------------------------------------------------------- */

/* pip's words are talk, dry commands are the result. */
static void tell(void *context, const char *line)
{
    const struct install_options *o = context;
    if (o->dry_run)
        printf("%s\n", line);
    else
        log_note("%s", line);
}

/* "NAME=VERSION" or "NAME==VERSION" apart. */
static const struct package *find_package(const char *text, const char **version, struct error *e)
{
    char name[64];
    const char *names[32];
    size_t size = strcspn(text, "="), count;
    const struct package *all = package_all(&count);
    snprintf(name, sizeof name, "%.*s", (int)(size < sizeof name ? size : 0), text);
    *version = text[size] ? text + size + 1 + (text[size + 1] == '=') : "";
    const struct package *p = package_find(name);
    if (p && (!text[size] || **version))
        return p;
    for (size_t i = 0; i < count; i++)
        names[i] = all[i].name;
    const char *nearest = text_nearest(name, names, count);
    error_set(e, ERROR_USAGE, "'%.60s' does not name a package of a runtime", text);
    if (nearest)
        error_hint(e, "did you mean '%s'?", nearest);
    else
        error_hint(e, "wattle runtimes lists the names");
    return NULL;
}

static int install(const char *text, const struct install_options *o, struct error *e)
{
    char prefix[PATH_MAX];
    static const char *const words[] = {[INSTALL_NONE] = "was there already",
                                        [INSTALL_NEW] = "installed",
                                        [INSTALL_REPAIRED] = "was damaged, installed anew"};
    const char *version;
    enum install_change change;
    const struct package *p = find_package(text, &version, e);
    if (!p)
        return (int)e->code;
    int result = install_package(p, version, o, prefix, &change, e);
    if (!result && !o->dry_run)
        printf("%s: %s\n", prefix, words[change]);
    return result;
}

static int take_away(const char *text, int links, const struct install_options *o,
                     struct error *e)
{
    char prefix[PATH_MAX];
    const char *version;
    const struct package *p = find_package(text, &version, e);
    if (!p)
        return (int)e->code;
    int result = install_remove(p, version, links, o, prefix, e);
    if (!result && !o->dry_run)
        printf("%s: removed\n", prefix);
    return result;
}

static int remove_any(const char *text, const struct install_options *o, struct error *e)
{
    return take_away(text, 0, o, e);
}

static int remove_link(const char *text, const struct install_options *o, struct error *e)
{
    return take_away(text, 1, o, e);
}

static int make_link(const struct option_list *options, const struct install_options *o,
                     struct error *e)
{
    char library[PATH_MAX];
    const char *version;
    if (options->operand_count != 3)
        return error_set(e, ERROR_USAGE, "link takes a name and a folder");
    const struct package *p = find_package(options->operands[1], &version, e);
    if (!p)
        return (int)e->code;
    if (*version)
        return error_set(e, ERROR_USAGE, "link finds out the version by itself");
    int result = install_link(p, options->operands[2], o, library, e);
    if (!result && !o->dry_run)
        printf("%s: linked\n", library);
    return result;
}

static int for_each(const struct option_list *options, const struct install_options *o,
                    int (*action)(const char *, const struct install_options *, struct error *),
                    struct error *e)
{
    if (options->operand_count < 2)
        return error_set(e, ERROR_USAGE, "%s needs the name of a package", options->operands[0]);
    int result = 0;
    for (size_t i = 1; i < options->operand_count && !result; i++)
        result = action(options->operands[i], o, e);
    return result;
}

static int act(const struct option_list *options, const struct install_options *o, struct error *e)
{
    const char *action = options->operands[0];
    if (!strcmp(action, "install"))
        return for_each(options, o, install, e);
    if (!strcmp(action, "remove"))
        return for_each(options, o, remove_any, e);
    if (!strcmp(action, "unlink"))
        return for_each(options, o, remove_link, e);
    if (!strcmp(action, "link"))
        return make_link(options, o, e);
    return error_set(e, ERROR_USAGE, "runtimes has no action '%.60s'; it has: install, remove, "
                     "link, unlink, list", action);
}

/* All --pip-args, split at blanks, into one allocation behind list. */
static int split_arguments(const struct option_list *options, const char **list, char **text,
                           struct error *e)
{
    struct buffer all;
    size_t count = 0;
    buffer_init(&all, 16384);
    for (size_t i = 0; i < options->option_count; i++)
        if (options->options[i].id == OPTION_PIP_ARGS)
            buffer_format(&all, "%s ", options->options[i].value);
    *text = strdup(buffer_string(&all));
    int failed = all.failed || !*text;
    buffer_release(&all);
    if (failed)
        return error_memory(e);
    char *rest = NULL;
    for (char *word = *text; (word = strtok_r(word, " \t\n", &rest)); word = NULL) {
        if (count == PIP_ARGUMENT_MAX)
            return error_set(e, ERROR_USAGE, "more than %d words in --pip-args", PIP_ARGUMENT_MAX);
        list[count++] = word;
    }
    list[count] = NULL;
    return 0;
}

int cmd_runtimes(const struct option_list *options, struct error *e)
{
    const char *arguments[PIP_ARGUMENT_MAX + 1];
    char *text = NULL;
    int is_list = options->operand_count == 1 && !strcmp(options->operands[0], "list");
    if (options->operand_count == 0 || is_list) {
        print_list(e);
        return 0;
    }
    struct install_options o = {.dry_run = options_given(options, OPTION_DRY_RUN),
                                .arguments = arguments,
                                .interrupted = worker_interrupted,
                                .tell = tell};
    o.context = &o;
    if (!split_arguments(options, arguments, &text, e))
        act(options, &o, e);
    free(text);
    return 0;
}
