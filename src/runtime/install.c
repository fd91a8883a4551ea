#include "runtime/install.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/text.h"
#include "runtime/folder.h"
#include "runtime/install_job.h"
#include "runtime/record.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WHY_MAX = 256 };

static const char LINK[] = ".link";

void install_tell(const struct install_options *o, const char *format, ...)
{
    char line[2 * PATH_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (o->tell)
        o->tell(o->context, line);
}

/* Whether a shell takes it as it is. */
static int is_plain(const char *text)
{
    size_t n = 0;
    while (isalnum((unsigned char)text[n]) || (text[n] && strchr("_@%+=:,./-", text[n])))
        n++;
    return n > 0 && !text[n];
}

void install_tell_command(const struct install_options *o, const char *const *words)
{
    struct buffer line;
    buffer_init(&line, 8 * PATH_MAX);
    for (size_t i = 0; words[i]; i++) {
        const char *quote = is_plain(words[i]) ? "" : "'";
        buffer_format(&line, "%s%s", i ? " " : "", quote);
        for (const char *c = words[i]; *c; c++)
            buffer_format(&line, *c == '\'' ? "'\\%c'" : "%c", *c);
        buffer_text(&line, quote);
    }
    if (o->tell)
        o->tell(o->context, buffer_string(&line));
    buffer_release(&line);
}

static int is_interrupted(const struct install_options *o)
{
    return o->interrupted && o->interrupted();
}

/* --- the job ---------------------------------------------------------------------------------- */

static int check_version(const struct package *p, const char *version, char out[LOCATE_VERSION_MAX],
                         struct error *e)
{
    if (!locate_is_word(version) || strlen(version) >= LOCATE_VERSION_MAX) {
        error_set(e, ERROR_USAGE, "'%.60s' is not a version of %s", version, p->name);
        return error_hint(e, "as in %s=%s", p->name, p->version);
    }
    snprintf(out, LOCATE_VERSION_MAX, "%s", version);
    return 0;
}

static int begin(struct install_job *j, const struct package *p, const char *version,
                 const struct install_options *o, struct error *e)
{
    char name[256];
    *j = (struct install_job){.package = p, .options = o, .lock = -1};
    int result = check_version(p, version, j->version, e);
    if (!result)
        result = locate_home(j->home, e);
    snprintf(name, sizeof name, "%s-%s", p->name, j->version);
    if (!result)
        result = file_join(j->prefix, j->home, name, e);
    snprintf(name, sizeof name, ".%s-%s.partial", p->name, j->version);
    if (!result)
        result = file_join(j->partial, j->home, name, e);
    j->commands = result ? NULL : json_array();
    return !result && !j->commands ? error_memory(e) : result;
}

static void finish(struct install_job *j)
{
    if (j->lock >= 0)
        close(j->lock);
    json_decref(j->commands);
}

/* It is handed to pip too, and so held until both this process and the pip it has started are gone,
 * however they end. */
static int take_lock(struct install_job *j, struct error *e)
{
    const struct folder_wait wait = {j->options->interrupted, j->options->tell, j->options->context,
                                     "waiting for another wattle that installs or removes, or the "
                                     "pip that it has left"};
    return folder_lock(j->home, &wait, &j->lock, e);
}

static int remove_matches(const char *root, const char *const *tails, struct error *e)
{
    int result = 0;
    for (; *tails && !result; tails++) {
        struct locate_paths paths;
        result = locate_glob(root, *tails, &paths, e);
        for (size_t i = 0; i < paths.count && !result; i++)
            result = folder_remove(paths.paths[i], e);
        locate_free(&paths);
    }
    return result;
}

/* The lock, and then nobody is at work on what one that was killed has left. */
static int take_over(struct install_job *j, struct error *e)
{
    static const char *const left[] = {".*.partial", ".removed*", NULL};
    int result = take_lock(j, e);
    return result ? result : remove_matches(j->home, left, e);
}

/* Out of sight at once, then away: whoever looks meanwhile sees all of it or nothing. */
static int take_away(const struct install_job *j, const char *path, struct error *e)
{
    char hidden[PATH_MAX];
    int result = file_join(hidden, j->home, ".removed", e);
    if (!result)
        result = folder_remove(hidden, e);
    if (!result && rename(path, hidden) && errno != ENOENT)
        result = error_errno(e, errno, "cannot remove '%s'", path);
    return result ? result : folder_remove(hidden, e);
}

/* Of a path that matches NAME-*, without ".link" if it has that. */
static void version_of(const char *path, const struct package *p, char out[NAME_MAX + 1])
{
    snprintf(out, NAME_MAX + 1, "%s", strrchr(path, '/') + 1 + strlen(p->name) + 1);
    if (text_ends(out, LINK))
        out[strlen(out) - strlen(LINK)] = '\0';
}

/* "openvino-*" would also match another package's name that begins like it: a version begins with a
 * digit, or is "unknown". */
static int is_of(const char *path, const struct package *p, const char *version)
{
    char own[NAME_MAX + 1];
    version_of(path, p, own);
    return *version ? locate_is_same_version(own, version)
                    : isdigit((unsigned char)*own) || !strcmp(own, "unknown");
}

static int find_all(const struct install_job *j, struct locate_paths *all, struct error *e)
{
    char tail[160];
    snprintf(tail, sizeof tail, "%s-*", j->package->name);
    return locate_glob(j->home, tail, all, e);
}

/* --- install ---------------------------------------------------------------------------------- */

/* What was only needed to install: pip itself, and scripts that name the folder's old place. */
static int strip(const struct package *p, const char *root, struct error *e)
{
    static const char *const always[] = {"lib*/python3*/site-packages/pip",
                                         "lib*/python3*/site-packages/pip-*", "bin/[!p]*",
                                         "bin/p[!y]*", NULL};
    static const char *const unused[] = {
        "lib*/python3*/site-packages/setuptools",    "lib*/python3*/site-packages/setuptools-*",
        "lib*/python3*/site-packages/pkg_resources", "lib*/python3*/site-packages/_distutils_hack",
        "lib*/python3*/site-packages/distutils-precedence.pth", NULL};
    int result = remove_matches(root, always, e);
    return result || p->needs_python ? result : remove_matches(root, unused, e);
}

static int find_installed(const struct install_job *j, struct located *l, struct error *e)
{
    struct locate_paths sites;
    char resolved[PATH_MAX];
    int result = locate_glob(j->partial, "lib*/python3*/site-packages", &sites, e), found = 0;
    for (size_t i = 0; i < sites.count && !found && !result; i++)
        found = locate_in_site(j->package, sites.paths[i], l, e);
    locate_free(&sites);
    if (result || found < 0)
        return result ? result : (int)e->code;
    if (!found || !realpath(j->partial, resolved) || !text_starts(l->library, resolved))
        return error_set(e, ERROR_FORMAT, "%s %s was installed, but the library is not in it",
                         j->package->name, j->version);
    memmove(l->library, l->library + strlen(resolved) + 1,
            strlen(l->library) - strlen(resolved));
    return 0;
}

/* pip's note may say more than was asked for: "2.13.0+cpu". */
static int take_version(struct install_job *j, const char *version, struct error *e)
{
    char name[256];
    snprintf(j->version, sizeof j->version, "%s", version);
    snprintf(name, sizeof name, "%s-%s", j->package->name, version);
    return file_join(j->prefix, j->home, name, e);
}

static int describe(struct install_job *j, struct error *e)
{
    struct located l;
    int result = find_installed(j, &l, e);
    if (!result)
        result = take_version(j, l.version, e);
    if (result)
        return result;
    json_t *note = record_begin(j->package, j->version, l.library, 0);
    if (!note || json_object_set(note, "commands", j->commands)) {
        json_decref(note);
        return error_memory(e);
    }
    result = record_files(j->partial, note, e);
    if (!result)
        result = record_write(note, j->partial, e);
    json_decref(note);
    return result;
}

static int fill_partial(struct install_job *j, struct error *e)
{
    int result = pip_fill(j, e);
    if (!result)
        result = strip(j->package, j->partial, e);
    if (!result)
        result = describe(j, e);
    if (!result && is_interrupted(j->options))
        result = error_set(e, ERROR_INTERRUPTED, "interrupted");
    return result;
}

/* 1 and its folder when that version is there, maybe under a longer name; 0; -1 with *e. */
static int find_there(const struct install_job *j, char folder[PATH_MAX], struct error *e)
{
    struct locate_paths all;
    int found = find_all(j, &all, e) ? -1 : 0;
    for (size_t i = 0; i < all.count && !found; i++) {
        found = !text_ends(all.paths[i], LINK) && is_of(all.paths[i], j->package, j->version);
        snprintf(folder, PATH_MAX, "%s", found ? all.paths[i] : "");
    }
    locate_free(&all);
    return found;
}

/* The new one takes the place of what is there, which is nothing that works. */
static int put_in_place(const struct install_job *j, const char *old, struct error *e)
{
    int result = *old ? take_away(j, old, e) : 0;
    if (!result && strcmp(old, j->prefix) != 0)
        result = take_away(j, j->prefix, e);
    if (!result && rename(j->partial, j->prefix))
        result = error_errno(e, errno, "cannot rename '%s'", j->partial);
    return result;
}

static int install_anew(struct install_job *j, const char *old, struct error *e)
{
    struct error ignored;
    install_tell(j->options, "installing %s %s", j->package->name, j->version);
    int result = fill_partial(j, e);
    if (!result)
        result = put_in_place(j, old, e);
    if (result)
        folder_remove(j->partial, &ignored);
    return result;
}

static int install(struct install_job *j, enum install_change *change, struct error *e)
{
    char old[PATH_MAX] = "", why[WHY_MAX];
    int result = take_over(j, e), there = result ? 0 : find_there(j, old, e);
    if (result || there < 0)
        return (int)e->code;
    int damaged = 0;
    if (there)
        damaged = record_verify(j->package, old, j->options->interrupted, why, sizeof why, e);
    if (damaged < 0)
        return (int)e->code;
    if (there && !damaged) {
        snprintf(j->prefix, sizeof j->prefix, "%s", old);
        return 0;
    }
    if (damaged)
        install_tell(j->options, "%s is damaged: %s", old, why);
    result = install_anew(j, old, e);
    if (!result)
        *change = damaged ? INSTALL_REPAIRED : INSTALL_NEW;
    return result;
}

static int tell_all(struct install_job *j, struct error *e)
{
    const char *const make[] = {"mkdir", "-p", j->home, NULL};
    const char *const move[] = {"mv", j->partial, j->prefix, NULL};
    install_tell_command(j->options, make);
    int result = pip_fill(j, e);
    if (!result)
        install_tell_command(j->options, move);
    return result;
}

int install_package(const struct package *p, const char *version, const struct install_options *o,
                    char prefix[PATH_MAX], enum install_change *change, struct error *e)
{
    struct install_job j;
    *change = INSTALL_NONE;
    int result = begin(&j, p, *version ? version : p->version, o, e);
    if (!result)
        result = o->dry_run ? tell_all(&j, e) : install(&j, change, e);
    snprintf(prefix, PATH_MAX, "%s", j.prefix);
    finish(&j);
    return result;
}

/* --- remove ----------------------------------------------------------------------------------- */

struct choice {
    const char *path;     /* the last one that was added */
    size_t count;
    char names[200];
};

static void add_choice(struct choice *c, const char *path, const struct package *p)
{
    char version[NAME_MAX + 1];
    size_t used = strlen(c->names);
    version_of(path, p, version);
    snprintf(c->names + used, sizeof c->names - used, "%s%s%s", c->count++ ? ", " : "", version,
             text_ends(path, LINK) ? " (linked)" : "");
    c->path = path;
}

static int refuse_choice(const struct choice *c, const struct package *p, const char *version,
                         int links, struct error *e)
{
    if (c->count == 0) {
        error_set(e, ERROR_USAGE, "%s%s%s is not %slinked by wattle", p->name, *version ? " " : "",
                  version, links ? "" : "installed or ");
        return error_hint(e, "wattle runtimes lists what is");
    }
    error_set(e, ERROR_USAGE, "%s is there more than once: %s", p->name, c->names);
    return error_hint(e, "name one: remove %s=VERSION; unlink takes what is linked", p->name);
}

/* The only one that fits. Of one version, what is installed goes before what is linked. */
static int choose(const struct locate_paths *all, const struct package *p, const char *version,
                  int links, const char **path, struct error *e)
{
    struct choice installed = {0}, linked = {0}, any = {0};
    for (size_t i = 0; i < all->count; i++) {
        int is_link = text_ends(all->paths[i], LINK);
        if (!is_of(all->paths[i], p, version))
            continue;
        add_choice(is_link ? &linked : &installed, all->paths[i], p);
        add_choice(&any, all->paths[i], p);
    }
    const struct choice *c = links ? &linked : *version && installed.count ? &installed : &any;
    *path = c->path;
    return c->count == 1 ? 0 : refuse_choice(c, p, version, links, e);
}

static int remove_chosen(struct install_job *j, const char *version, int links,
                         char prefix[PATH_MAX], struct error *e)
{
    struct locate_paths all = {0};
    const char *path = NULL;
    int result = find_all(j, &all, e);
    if (!result)
        result = choose(&all, j->package, version, links, &path, e);
    if (!result)
        snprintf(prefix, PATH_MAX, "%s", path);
    const char *const command[] = {"rm", "-r", path, NULL};
    if (!result && j->options->dry_run)
        install_tell_command(j->options, command);
    else if (!result)
        result = take_away(j, path, e);
    locate_free(&all);
    return result;
}

int install_remove(const struct package *p, const char *version, int links,
                   const struct install_options *o, char prefix[PATH_MAX], struct error *e)
{
    struct install_job j;
    prefix[0] = '\0';
    int result = begin(&j, p, *version ? version : p->version, o, e);
    if (!result && !o->dry_run)
        result = take_over(&j, e);
    if (!result)
        result = remove_chosen(&j, version, links, prefix, e);
    finish(&j);
    return result;
}

/* --- link ------------------------------------------------------------------------------------- */

static int find_linked(const struct package *p, const char *folder, struct located *l,
                       struct error *e)
{
    struct stat st;
    char resolved[PATH_MAX], reason[128];
    if (!realpath(folder, resolved) || stat(resolved, &st) || !S_ISDIR(st.st_mode))
        return error_set(e, ERROR_USAGE, "'%.200s' is not a folder", folder);
    int found = locate_anywhere(p, resolved, l, e);
    if (found < 0)
        return (int)e->code;
    if (!found) {
        error_set(e, ERROR_USAGE, "there is no library of %s below '%.200s'", p->name, folder);
        return error_hint(e, "looked for %s%s%s", p->wheel, p->library ? " and " : "",
                          p->library ? p->library : "");
    }
    if (locate_check(l->library, reason, sizeof reason))
        return error_set(e, ERROR_UNSUPPORTED, "'%.200s': %s", l->library, reason);
    return 0;
}

static int write_link(struct install_job *j, const char *library, struct error *e)
{
    char folder[PATH_MAX], name[256];
    json_t *note = record_begin(j->package, j->version, library, 1);
    int result = note ? 0 : error_memory(e);
    snprintf(name, sizeof name, "%s-%s%s", j->package->name, j->version, LINK);
    if (!result)
        result = file_join(folder, j->home, name, e);
    if (!result)
        result = file_make_folder(folder, e);
    if (!result)
        result = record_write(note, folder, e);
    json_decref(note);
    return result;
}

int install_link(const struct package *p, const char *folder, const struct install_options *o,
                 char library[PATH_MAX], struct error *e)
{
    struct located l;
    struct install_job j;
    int result = find_linked(p, folder, &l, e);
    if (result)
        return result;
    snprintf(library, PATH_MAX, "%s", l.library);
    result = begin(&j, p, l.version, o, e);
    if (!result && o->dry_run)
        install_tell(o, "link %s %s to %s", p->name, l.version, l.library);
    else if (!result)
        result = take_over(&j, e);
    if (!result && !o->dry_run)
        result = write_link(&j, l.library, e);
    if (!result && !access(j.prefix, F_OK))
        install_tell(o, "it goes before %s, which is of the same version", j.prefix);
    finish(&j);
    return result;
}
