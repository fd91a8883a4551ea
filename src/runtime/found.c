#include "runtime/found.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/text.h"
#include "runtime/locate.h"
#include "runtime/packages.h"
#include "runtime/record.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_MAX_SHOWN = 60, DAMAGE_MAX = 256 };

/* --- one installation ------------------------------------------------------------------------- */

static int has_provider(const struct found *f, const char *name)
{
    for (size_t i = 0; i < f->provider_count; i++)
        if (!strcmp(f->providers[i], name))
            return 1;
    return 0;
}

static void add_provider(struct found *f, const char *name, int absent)
{
    if (f->provider_count == FOUND_PROVIDER_MAX || has_provider(f, name))
        return;
    f->absent[f->provider_count] = absent;
    snprintf(f->providers[f->provider_count++], sizeof f->providers[0], "%s", name);
}

static int file_beside(const struct found *f, const char *name)
{
    char path[PATH_MAX];
    const char *slash = strrchr(f->library, '/');
    int n = snprintf(path, sizeof path, "%.*s%s", (int)(slash ? slash + 1 - f->library : 0),
                     f->library, name);
    return n > 0 && n < PATH_MAX && !access(path, F_OK);
}

static int provides(const struct found *f, const struct package_provider *p)
{
    if (p->own_build)
        return !strstr(f->library, "/site-packages/") && strcmp(f->origin, "private") != 0;
    return !p->file || file_beside(f, p->file);
}

static int lacks_device(const struct package_provider *p)
{
    for (const char *list = p->devices; list && *list; list += strcspn(list, " "),
                    list += *list == ' ') {
        char pattern[64];
        struct locate_paths paths;
        snprintf(pattern, sizeof pattern, "%.*s", (int)strcspn(list, " "), list + 1);
        int failed = locate_glob("", pattern, &paths, NULL), there = paths.count > 0;
        locate_free(&paths);
        if (failed || there)
            return 0;
    }
    return p->devices != NULL;
}

/* The package's own provider first, and last those whose device is not here. */
static void find_providers(struct found *f, const struct package *p)
{
    enum { OWN, OTHER, ABSENT, PASSES };
    for (int pass = OWN; pass < PASSES; pass++)
        for (const struct package_provider *v = p->providers; v->name; v++) {
            int absent = lacks_device(v), own = p->provider && !strcmp(v->name, p->provider);
            if (provides(f, v) && (absent ? ABSENT : own ? OWN : OTHER) == pass)
                add_provider(f, v->name, absent);
        }
    f->default_count = f->provider_count > 0 && !f->absent[0];
}

static int add(struct found_list *list, const struct found *f, struct error *e)
{
    for (size_t i = 0; i < list->count && f->library[0]; i++)
        if (!strcmp(list->items[i].library, f->library))
            return 0; /* the place that was searched first names it */
    struct found *more = realloc(list->items, (list->count + 1) * sizeof *more);
    if (!more)
        return error_memory(e);
    list->items = more;
    more[list->count++] = *f;
    return 0;
}

/* damage: what is known to be wrong with it; "": nothing. */
static int add_located(struct found_list *list, const struct package *p, const struct located *l,
                       const char *origin, uint64_t bytes, const char *damage, struct error *e)
{
    struct found f = {.adapter = adapter_find(p->adapter), .bytes = bytes};
    snprintf(f.package, sizeof f.package, "%s", p->name);
    snprintf(f.version, sizeof f.version, "%s", l->version);
    snprintf(f.library, sizeof f.library, "%s", l->library);
    snprintf(f.origin, sizeof f.origin, "%s", origin);
    find_providers(&f, p);
    f.usable = !*damage && !locate_check(f.library, f.reason, sizeof f.reason);
    if (*damage)
        snprintf(f.reason, sizeof f.reason, "%s", damage);
    if (f.usable && p->plugin) {
        f.usable = 0;
        snprintf(f.reason, sizeof f.reason, "a plug-in for %s: --provider-library %s", p->adapter,
                 p->name);
    }
    return f.adapter ? add(list, &f, e) : 0;
}

/* --- private prefixes and links --------------------------------------------------------------- */

/* The package and version of a folder by its name, NAME-VERSION or NAME-VERSION.link; NULL when it
 * is not one of ours. */
static const struct package *package_of_folder(const char *folder, char version[32], int *linked)
{
    static const char link[] = ".link";
    const char *base = strrchr(folder, '/') + 1;
    size_t count;
    const struct package *all = package_all(&count);
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(all[i].name);
        if (strncmp(base, all[i].name, size) != 0 || base[size] != '-')
            continue;
        size_t rest = strlen(base + size + 1);
        *linked = text_ends(base, link);
        rest -= *linked ? strlen(link) : 0;
        snprintf(version, 32, "%.*s", (int)(rest < 32 ? rest : 0), base + size + 1);
        if (isdigit((unsigned char)*version) && locate_is_word(version))
            return &all[i];
    }
    return NULL;
}

/* What is wrong, and what to do about it. */
static void say_damage(char text[DAMAGE_MAX], const char *why, const struct package *p,
                       const char *version, int linked)
{
    snprintf(text, DAMAGE_MAX, "damaged: %s; wattle runtimes %s %s=%s %s", why,
             linked ? "unlink" : "install", p->name, version, linked ? "forgets it" : "repairs");
}

/* Without a note that can be read: shown, so that its user learns why it is not used. */
static int add_damaged(struct found_list *list, const char *folder, struct error *e)
{
    struct located l;
    char text[DAMAGE_MAX];
    int linked;
    struct stat st;
    const struct package *p = package_of_folder(folder, l.version, &linked);
    if (!p || stat(folder, &st) || !S_ISDIR(st.st_mode))
        return 0;
    if (file_join(l.library, folder, "wattle.json", NULL))
        return 0;
    say_damage(text, "wattle.json is missing or cannot be read", p, l.version, linked);
    return add_located(list, p, &l, linked ? "linked" : "private", 0, text, e);
}

/* A library beside the note is named without its folder, so that $WATTLE_HOME may move. */
static int library_of(json_t *note, const char *folder, char out[PATH_MAX])
{
    const char *library = record_text(note, "library");
    char path[PATH_MAX];
    if (!*library || strlen(library) >= PATH_MAX)
        return -1;
    if (*library == '/')
        snprintf(path, sizeof path, "%s", library);
    else if (file_join(path, folder, library, NULL))
        return -1;
    if (!realpath(path, out))
        snprintf(out, PATH_MAX, "%s", path); /* shown as what is missing */
    return 0;
}

static int add_note(struct found_list *list, json_t *note, const struct package *p,
                    const char *folder, struct error *e)
{
    struct located l;
    char why[128], text[DAMAGE_MAX] = "";
    const char *version = record_text(note, "version");
    json_int_t bytes = json_integer_value(json_object_get(note, "bytes"));
    int linked = json_is_true(json_object_get(note, "linked"));
    if (!locate_is_word(version) || strlen(version) >= sizeof l.version ||
        library_of(note, folder, l.library))
        return add_damaged(list, folder, e);
    snprintf(l.version, sizeof l.version, "%s", version);
    int wrong = !linked && record_compare_sizes(note, l.library, why, sizeof why);
    if (!wrong && access(l.library, R_OK)) {
        wrong = 1;
        snprintf(why, sizeof why, "its library cannot be read: %.60s", strerror(errno));
    }
    if (wrong)
        say_damage(text, why, p, version, linked);
    return add_located(list, p, &l, linked ? "linked" : "private",
                       bytes > 0 ? (uint64_t)bytes : 0, text, e);
}

static int add_folder(struct found_list *list, const char *folder, struct error *e)
{
    json_t *note = record_read(folder);
    const struct package *p = package_find(record_text(note, "package"));
    int result = p ? add_note(list, note, p, folder, e) : add_damaged(list, folder, e);
    json_decref(note);
    return result;
}

static int search_private(struct found_list *list, struct error *e)
{
    char home[PATH_MAX];
    struct locate_paths folders;
    if (locate_home(home, NULL)) /* without a home there is nothing in it */
        return 0;
    int result = locate_glob(home, "*", &folders, e); /* "*" leaves out hidden, unfinished ones */
    for (size_t i = 0; i < folders.count && !result; i++)
        result = add_folder(list, folders.paths[i], e);
    locate_free(&folders);
    return result;
}

/* --- python, system, built in ----------------------------------------------------------------- */

static int search_folders(struct found_list *list, const struct locate_paths *folders,
                          int (*locate)(const struct package *, const char *, struct located *,
                                        struct error *),
                          const char *origin, struct error *e)
{
    size_t count;
    int result = 0;
    const struct package *packages = package_all(&count);
    for (size_t i = 0; i < folders->count; i++)
        for (size_t k = 0; k < count && !result; k++) {
            struct located l;
            int found = locate(&packages[k], folders->paths[i], &l, e);
            if (found < 0)
                return e ? (int)e->code : ERROR_MEMORY;
            if (found)
                result = add_located(list, &packages[k], &l, origin, 0, "", e);
        }
    return result;
}

static int search_python(struct found_list *list, struct error *e)
{
    struct locate_paths sites;
    int result = locate_sites(&sites, e);
    if (!result)
        result = search_folders(list, &sites, locate_in_site, "python", e);
    locate_free(&sites);
    return result;
}

static int search_system(struct found_list *list, struct error *e)
{
    struct locate_paths folders;
    int result = locate_system(&folders, e);
    if (!result)
        result = search_folders(list, &folders, locate_in_folder, "system", e);
    locate_free(&folders);
    return result;
}

/* What no package holds is part of this program. */
static int search_built_in(struct found_list *list, struct error *e)
{
    size_t count;
    int result = 0;
    const struct adapter *const *all = adapter_all(&count);
    for (size_t i = 0; i < count && !result; i++) {
        struct adapter_probe probe = {0};
        struct found f = {.adapter = all[i], .origin = "built in", .default_count = 1};
        if (package_of(all[i]->name, ""))
            continue;
        all[i]->probe(&probe);
        f.usable = probe.usable;
        snprintf(f.version, sizeof f.version, "%s", probe.version);
        snprintf(f.reason, sizeof f.reason, "%s", probe.reason);
        for (const char *const *p = all[i]->providers; *p; p++)
            add_provider(&f, *p, 0);
        result = add(list, &f, e);
    }
    return result;
}

/* --- all, in order ---------------------------------------------------------------------------- */

static size_t rank_of(const struct found *f)
{
    size_t adapters, packages, rank = 0;
    const struct adapter *const *all = adapter_all(&adapters);
    const struct package *table = package_all(&packages);
    while (rank < adapters && all[rank] != f->adapter)
        rank++;
    rank *= packages + 1;
    for (size_t i = 0; i < packages && f->package[0]; i++)
        if (!strcmp(table[i].name, f->package))
            rank += i;
    return rank;
}

static int goes_before(const struct found *a, const struct found *b)
{
    size_t x = rank_of(a), y = rank_of(b);
    if (x != y)
        return x < y;
    int newer = locate_compare(a->version, b->version);
    return newer ? newer > 0 : !strcmp(a->origin, "linked") && strcmp(b->origin, "linked") != 0;
}

/* Insertion: stable, so that equal versions stay in the order of the search. */
static void sort(struct found_list *list)
{
    for (size_t i = 1; i < list->count; i++) {
        struct found f = list->items[i];
        size_t j = i;
        for (; j > 0 && goes_before(&f, &list->items[j - 1]); j--)
            list->items[j] = list->items[j - 1];
        list->items[j] = f;
    }
}

int found_search(struct found_list *list, struct error *e)
{
    *list = (struct found_list){0};
    int result = search_built_in(list, e);
    if (!result)
        result = search_private(list, e);
    if (!result)
        result = search_python(list, e);
    if (!result)
        result = search_system(list, e);
    if (result)
        found_release(list);
    else
        sort(list);
    return result;
}

void found_release(struct found_list *list)
{
    free(list->items);
    *list = (struct found_list){0};
}

/* --- names ------------------------------------------------------------------------------------ */

static int bad_name(const char *text, struct error *e)
{
    error_set(e, ERROR_USAGE, "'%.*s' does not name a runtime", NAME_MAX_SHOWN, text);
    return error_hint(e, "it is RUNTIME[:VARIANT][@VERSION], as in onnxruntime:openvino@1.24.1");
}

/* One part up to any of `ends`; 0 when it is not a word that fits. */
static int take_part(const char **text, const char *ends, char *out, size_t size)
{
    size_t n = strcspn(*text, ends);
    if (n == 0 || n >= size)
        return 0;
    memcpy(out, *text, n);
    out[n] = '\0';
    *text += n;
    return locate_is_word(out);
}

int runtime_name_parse(const char *text, struct runtime_name *name, struct error *e)
{
    const char *at = text;
    *name = (struct runtime_name){0};
    int sound = take_part(&at, ":@", name->runtime, sizeof name->runtime);
    if (sound && *at == ':') {
        at++;
        sound = take_part(&at, ":@", name->variant, sizeof name->variant);
    }
    if (sound && *at == '@') {
        at++;
        sound = take_part(&at, ":@", name->version, sizeof name->version);
    }
    return sound && !*at ? 0 : bad_name(text, e);
}

/* --- choice ----------------------------------------------------------------------------------- */

const char *found_variant(const struct found *f)
{
    const struct package *p = package_find(f->package);
    return p ? p->variant : "";
}

int found_has_variant(const struct found *f, const char *variant)
{
    for (const char *const *v = f->adapter->variants; v && *v; v++)
        if (!strcmp(*v, variant))
            return 1;
    return 0;
}

static int is_runtime(const struct found *f, const struct runtime_name *name)
{
    const struct package *p = package_find(f->package);
    return !strcmp(f->adapter->name, name->runtime) && !(p && p->plugin);
}

static int is_version(const struct found *f, const char *version)
{
    return !*version || locate_is_version(f->version, version);
}

static int is_variant(const struct found *f, const char *variant, int by_provider)
{
    if (!*variant)
        return 1;
    if (by_provider)
        return has_provider(f, variant);
    return !strcmp(found_variant(f), variant) || found_has_variant(f, variant);
}

int found_matches(const struct found *f, const struct runtime_name *name)
{
    return f->usable && is_runtime(f, name) && is_version(f, name->version) &&
           (is_variant(f, name->variant, 0) || is_variant(f, name->variant, 1));
}

static int unknown_runtime(const struct runtime_name *name, struct error *e)
{
    const char *names[32];
    size_t count, n = 0;
    const struct adapter *const *all = adapter_all(&count);
    for (size_t i = 0; i < count && n < 32; i++)
        if (!all[i]->hidden)
            names[n++] = all[i]->name;
    const struct package *p = package_find(name->runtime);
    const char *nearest = text_nearest(name->runtime, names, n);
    error_set(e, ERROR_USAGE, "unknown runtime '%s'", name->runtime);
    if (p && !p->plugin)
        return error_hint(e, "did you mean '%s:%s'?", p->adapter, p->variant);
    if (nearest)
        return error_hint(e, "did you mean '%s'?", nearest);
    return error_hint(e, "wattle runtimes lists them");
}

/* Versions of that runtime and variant, newest first. */
static size_t list_versions(const struct found_list *list, const struct runtime_name *name,
                            struct buffer *out)
{
    size_t n = 0;
    for (size_t i = 0; i < list->count; i++) {
        const struct found *f = &list->items[i];
        if (is_runtime(f, name) && is_variant(f, name->variant, 0))
            buffer_format(out, "%s%s", n++ ? ", " : "", f->version);
    }
    return n;
}

/* pytorch:eager is a way of pytorch, whatever package brings it. */
static int is_way(const struct runtime_name *name)
{
    struct found f = {.adapter = adapter_find(name->runtime)};
    return f.adapter && found_has_variant(&f, name->variant);
}

static int unknown_variant(const struct runtime_name *name, struct error *e)
{
    const struct adapter *a = adapter_find(name->runtime);
    const char *const *all = a ? a->variants : NULL;
    size_t count = 0;
    struct buffer names;
    buffer_init(&names, 300);
    for (; all && all[count]; count++)
        buffer_format(&names, "%s%s", count ? ", " : "", all[count]);
    const char *nearest = text_nearest(name->variant, all, count);
    error_set(e, ERROR_USAGE, "runtime %s has neither a variant nor a provider '%s'", name->runtime,
              name->variant);
    if (nearest)
        error_hint(e, "did you mean '%s:%s'?", name->runtime, nearest);
    else if (count)
        error_hint(e, "its variants are %s; wattle runtimes lists providers",
                   buffer_string(&names));
    else
        error_hint(e, "wattle runtimes lists what is here");
    buffer_release(&names);
    return ERROR_USAGE;
}

static int not_installed(const struct found_list *list, const struct runtime_name *name,
                         struct error *e)
{
    const struct package *p = package_of(name->runtime, name->variant);
    if (!p && is_way(name))
        p = package_of(name->runtime, "");
    struct buffer versions;
    buffer_init(&versions, 300);
    size_t n = list_versions(list, name, &versions);
    const char *colon = name->variant[0] ? ":" : "";
    if (!(n && name->version[0]) && name->variant[0] && !p) {
        buffer_release(&versions);
        return unknown_variant(name, e);
    }
    if (n && name->version[0])
        error_set(e, ERROR_UNSUPPORTED, "runtime %s%s%s is not here in version %s, but in %s",
                  name->runtime, colon, name->variant, name->version, buffer_string(&versions));
    else
        error_set(e, ERROR_UNSUPPORTED, "runtime %s%s%s is not installed", name->runtime, colon,
                  name->variant);
    buffer_release(&versions);
    if (!p || p->plugin)
        return error_hint(e, "wattle runtimes lists what is here");
    return error_hint(e, "wattle runtimes install %s%s%s", p->name, name->version[0] ? "=" : "",
                      name->version);
}

static int without_provider(const struct found *f, const char *provider, struct error *e)
{
    struct buffer names;
    buffer_init(&names, 200);
    for (size_t i = 0; i < f->provider_count; i++)
        buffer_format(&names, "%s%s", i ? ", " : "", f->providers[i]);
    error_set(e, ERROR_USAGE, "runtime %s %s has no provider '%.60s'", f->adapter->name, f->version,
              provider);
    int code = error_hint(e, "it has %s; wattle runtimes lists all", buffer_string(&names));
    buffer_release(&names);
    return code;
}

const struct found *found_pick(const struct found_list *list, const struct runtime_name *name,
                               const char *provider, struct error *e)
{
    const struct found *unusable = NULL, *lacking = NULL;
    if (!adapter_find(name->runtime)) {
        unknown_runtime(name, e);
        return NULL;
    }
    for (int by_provider = 0; by_provider < (name->variant[0] ? 2 : 1); by_provider++)
        for (size_t i = 0; i < list->count; i++) {
            const struct found *f = &list->items[i];
            if (!is_runtime(f, name) || !is_version(f, name->version) ||
                !is_variant(f, name->variant, by_provider))
                continue;
            if (!f->usable)
                unusable = unusable ? unusable : f;
            else if (*provider && !has_provider(f, provider))
                lacking = lacking ? lacking : f;
            else
                return f;
        }
    if (lacking)
        without_provider(lacking, provider, e);
    else if (unusable)
        error_set(e, ERROR_UNSUPPORTED, "runtime %s %s cannot be used: %s", name->runtime,
                  unusable->version, unusable->reason);
    else
        not_installed(list, name, e);
    return NULL;
}
