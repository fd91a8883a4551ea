#include "runtime/install.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runtime/command.h"
#include "runtime/locate.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ARGUMENT_MAX = 64, WAIT_MS = 200, WALK_FDS = 16 };

/* What one call works on. */
struct job {
    const struct package *package;
    const struct install_options *options;
    char version[LOCATE_VERSION_MAX];
    char home[PATH_MAX];               /* $WATTLE_HOME/runtimes */
    char prefix[PATH_MAX], partial[PATH_MAX];
    int lock;                          /* -1 unless held */
    json_t *commands;                  /* that were run */
};

static void tell(const struct install_options *o, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void tell(const struct install_options *o, const char *format, ...)
{
    char line[2 * PATH_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (o->tell)
        o->tell(o->context, line);
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

static int begin(struct job *j, const struct package *p, const char *version,
                 const struct install_options *o, struct error *e)
{
    char name[256];
    *j = (struct job){.package = p, .options = o, .lock = -1};
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

static void finish(struct job *j)
{
    if (j->lock >= 0)
        close(j->lock);
    json_decref(j->commands);
}

/* Held by the open file, so it is gone when this process is, however that ends. */
static int take_lock(struct job *j, struct error *e)
{
    char path[PATH_MAX];
    int result = file_make_folder(j->home, e), told = 0;
    if (!result)
        result = file_join(path, j->home, ".lock", e);
    if (result)
        return result;
    j->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (j->lock < 0)
        return error_errno(e, errno, "cannot open '%s'", path);
    while (flock(j->lock, LOCK_EX | LOCK_NB)) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_errno(e, errno, "cannot lock '%s'", path);
        if (is_interrupted(j->options))
            return error_set(e, ERROR_INTERRUPTED, "interrupted");
        if (!told++)
            tell(j->options, "waiting for another wattle that installs or removes");
        clock_sleep_until_ns(clock_monotonic_ns() + WAIT_MS * NS_PER_MS);
    }
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)at;
    return kind == FTW_DP || kind == FTW_DNR ? rmdir(path) : unlink(path);
}

/* rm -r; what is not there is fine. */
static int remove_tree(const char *path, struct error *e)
{
    if (!nftw(path, remove_one, WALK_FDS, FTW_DEPTH | FTW_PHYS) || errno == ENOENT)
        return 0;
    return error_errno(e, errno, "cannot remove '%s'", path);
}

/* --- pip -------------------------------------------------------------------------------------- */

struct arguments {
    const char *list[ARGUMENT_MAX + 1];
    size_t count;
    int failed;
};

static void add(struct arguments *a, const char *argument)
{
    if (a->count == ARGUMENT_MAX)
        a->failed = 1;
    else
        a->list[a->count++] = argument;
}

static void add_all(struct arguments *a, const char *const *list)
{
    for (; list && *list; list++)
        add(a, *list);
}

/* Whether a shell takes it as it is. */
static int is_plain(const char *text)
{
    size_t n = 0;
    while (isalnum((unsigned char)text[n]) || (text[n] && strchr("_@%+=:,./-", text[n])))
        n++;
    return n > 0 && !text[n];
}

/* As one would type it. */
static void tell_command(const struct job *j, const struct arguments *a)
{
    char line[2 * PATH_MAX] = "";
    size_t used = 0;
    for (size_t i = 0; i < a->count && used < sizeof line; i++) {
        const char *text = a->list[i];
        int plain = is_plain(text);
        used += (size_t)snprintf(line + used, sizeof line - used, "%s%s%s%s", i ? " " : "",
                                 plain ? "" : "'", text, plain ? "" : "'");
    }
    tell(j->options, "%s", line);
}

/* "https://user:secret@host/x" without "user:secret", which is nothing to keep in a file. */
static json_t *without_credentials(const char *word)
{
    const char *scheme = strstr(word, "://");
    size_t host = scheme ? strcspn(scheme + 3, "/") : 0;
    const char *at = scheme ? memrchr(scheme + 3, '@', host) : NULL;
    if (!at)
        return json_string(word);
    return json_sprintf("%.*s***%s", (int)(scheme + 3 - word), word, at);
}

static int note_command(struct job *j, const struct arguments *a, struct error *e)
{
    json_t *words = json_array();
    for (size_t i = 0; i < a->count; i++)
        json_array_append_new(words, without_credentials(a->list[i]));
    return json_array_append_new(j->commands, words) ? error_memory(e) : 0;
}

static int has(const struct command_output *out, const char *text)
{
    return strstr(out->tail, text) != NULL;
}

static int has_any(const struct command_output *out, const char *const *texts)
{
    for (; *texts; texts++)
        if (has(out, *texts))
            return 1;
    return 0;
}

/* The last line that pip marks as an error (then 1), else the last line. */
static int last_words(const struct command_output *out, char *text, size_t size)
{
    const char *best = NULL, *last = "";
    for (const char *line = out->tail; *line;) {
        size_t n = strcspn(line, "\n");
        if (text_starts(line, "ERROR: "))
            best = line + strlen("ERROR: ");
        last = n ? line : last;
        line += n + (line[n] == '\n');
    }
    const char *chosen = best ? best : last;
    snprintf(text, size, "%.*s", (int)strcspn(chosen, "\n"), chosen);
    return best != NULL;
}

/* What failed is in the words of Python and pip; what to do about it is not. Each returns 0 when the
 * words are not its. */
static int explain_space(const struct job *j, const struct command_output *out, const char *words,
                         struct error *e)
{
    static const char *const signs[] = {"No space left on device", "Disk quota exceeded",
                                        "File too large", NULL};
    if (!has_any(out, signs))
        return 0;
    error_set(e, ERROR_IO, "no space for %s %s: %.200s", j->package->name, j->version, words);
    return error_hint(e, "make room below '%.180s' and run it again", j->home);
}

static int explain_python(const struct command_output *out, struct error *e)
{
    static const char *const signs[] = {"ensurepip", "No module named venv", NULL};
    if (!has_any(out, signs))
        return 0;
    error_set(e, ERROR_UNSUPPORTED, "Python here cannot make virtual environments");
    return error_hint(e, "on Debian and Ubuntu: apt-get install python3-venv");
}

static int explain_index(const struct job *j, const struct command_output *out, struct error *e)
{
    static const char *const network[] = {
        "NewConnectionError", "Temporary failure in name resolution", "Network is unreachable",
        "Name or service not known", "Connection refused", "ProxyError", "ReadTimeoutError",
        "ConnectTimeoutError", NULL};
    static const char *const wheels[] = {"No matching distribution", "is not a supported wheel",
                                         NULL};
    const char *name = j->package->name;
    if (has_any(out, network)) {
        error_set(e, ERROR_IO, "cannot reach a package index for %s %s", name, j->version);
        return error_hint(e, "--pip-args passes an index or a proxy on; wattle runtimes link takes "
                             "what is already on this machine");
    }
    if (!has_any(out, wheels))
        return 0;
    error_set(e, ERROR_UNSUPPORTED, "%s %s does not exist for this Python and machine", name,
              j->version);
    return error_hint(e, "choose another: wattle runtimes install %s=VERSION", name);
}

static int explain(const struct job *j, const struct command_output *out, struct error *e)
{
    char words[256], how[200];
    if (e->code != ERROR_CRASH)
        return (int)e->code;
    int marked = last_words(out, words, sizeof words);
    snprintf(how, sizeof how, "%s", e->text);
    int result = explain_space(j, out, words, e);
    if (!result)
        result = explain_python(out, e);
    if (!result)
        result = explain_index(j, out, e);
    if (result)
        return result;
    if (marked)
        return error_set(e, ERROR_CRASH, "cannot install %s %s: %s", j->package->name, j->version,
                         words);
    return error_set(e, ERROR_CRASH, "%s%s%s", how, words[0] ? "; its last words: " : "", words);
}

/* Runs it, or with --dry-run tells it. */
static int command(struct job *j, const struct arguments *a, struct command_output *out,
                   struct error *e)
{
    if (a->failed)
        return error_set(e, ERROR_USAGE, "more than %d arguments for pip", ARGUMENT_MAX);
    if (j->options->dry_run) {
        tell_command(j, a);
        return 0;
    }
    int result = note_command(j, a, e);
    return result ? result : command_run(a->list, j->options, out, e);
}

static int make_environment(struct job *j, struct error *e)
{
    struct command_output out = {""};
    struct arguments a = {{"python3", "-m", "venv", j->partial}, 4, 0};
    int result = command(j, &a, &out, e);
    if (result == ERROR_UNSUPPORTED)
        return error_hint(e, "on Debian and Ubuntu: apt-get install python3 python3-venv");
    return result ? explain(j, &out, e) : 0;
}

/* What one call of pip installs. */
struct order {
    const char *const *requirements; /* NULL-terminated, or NULL */
    const char *first;               /* before them; NULL: none */
    const char *report;              /* name of the file for pip's own report; NULL: none */
    int bare;                        /* without what these require themselves */
};

static int run_pip(struct job *j, const struct order *o, struct command_output *out,
                   struct error *e)
{
    static const char *const no_deps[] = {"--no-deps", NULL};
    char python[PATH_MAX], report[PATH_MAX];
    struct arguments a = {{python, "-m", "pip", "install", "--no-input",
                           "--disable-pip-version-check"}, 6, 0};
    int result = file_join(python, j->partial, "bin/python", e);
    if (!result && o->report)
        result = file_join(report, j->partial, o->report, e);
    if (result)
        return result;
    if (o->report) {
        add(&a, "--report");
        add(&a, report);
    }
    if (!j->package->needs_python)
        add(&a, "--no-compile");
    add_all(&a, o->bare ? no_deps : j->package->arguments);
    add_all(&a, j->options->arguments);
    if (o->first)
        add(&a, o->first);
    add_all(&a, o->requirements);
    return command(j, &a, out, e);
}

static int carry_out(struct job *j, struct order o, struct error *e)
{
    struct command_output out = {""};
    int result = run_pip(j, &o, &out, e);
    if (result && !j->options->dry_run && has(&out, "no such option: --report")) {
        o.report = NULL; /* pip before 22.2 */
        result = run_pip(j, &o, &out, e);
    }
    return result ? explain(j, &out, e) : 0;
}

static int run_installer(struct job *j, struct error *e)
{
    const struct package *p = j->package;
    char wanted[128];
    snprintf(wanted, sizeof wanted, "%s==%s", package_distribution(p), j->version);
    struct order first = {p->requirements, wanted, "pip-report.json", 0};
    struct order bare = {p->bare, NULL, "pip-report-bare.json", 1};
    int result = carry_out(j, first, e);
    return result || !p->bare ? result : carry_out(j, bare, e);
}

/* --- the note --------------------------------------------------------------------------------- */

/* nftw has no context. One job runs at a time, by the lock. */
static struct {
    json_t *files;
    size_t root_size;
    uint64_t bytes;
    struct error *error;
} walk;

static int hash_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    char hex[65];
    (void)at;
    if (kind != FTW_F || !S_ISREG(st->st_mode))
        return 0;
    walk.bytes += (uint64_t)st->st_size;
    if (file_sha256(path, hex, walk.error))
        return -1;
    return json_object_set_new(walk.files, path + walk.root_size + 1, json_string(hex))
               ? error_memory(walk.error)
               : 0;
}

static int hash_files(const char *root, json_t *note, struct error *e)
{
    walk.files = json_object();
    walk.root_size = strlen(root);
    walk.bytes = 0;
    walk.error = e;
    if (!walk.files)
        return error_memory(e);
    e->code = ERROR_NONE;
    if (nftw(root, hash_one, WALK_FDS, FTW_PHYS) && !e->code)
        error_errno(e, errno, "cannot list '%s'", root);
    json_object_set_new(note, "bytes", json_integer((json_int_t)walk.bytes));
    json_object_set_new(note, "files", walk.files);
    return (int)e->code;
}

static int write_note(json_t *note, const char *folder, struct error *e)
{
    char path[PATH_MAX];
    struct file_atomic f;
    int result = file_join(path, folder, "wattle.json", e);
    if (!result)
        result = file_atomic_open(&f, path, e);
    if (result)
        return result;
    if (json_dumpf(note, f.stream, JSON_INDENT(1)) || fputc('\n', f.stream) == EOF) {
        file_atomic_abort(&f);
        return error_errno(e, errno ? errno : EIO, "cannot write '%s'", path);
    }
    return file_atomic_commit(&f, e);
}

static json_t *begin_note(const struct package *p, const char *version, const char *library,
                          int linked)
{
    char now[21];
    clock_iso8601(clock_realtime_ns(), now);
    return json_pack("{s:i, s:s, s:s, s:s, s:b, s:s, s:s}", "schema", 1, "package", p->name,
                     "version", version, "library", library, "linked", linked, "made", now, "by",
                     "wattle " WATTLE_VERSION);
}

/* --- install ---------------------------------------------------------------------------------- */

static int remove_matches(const char *root, const char *const *tails, struct error *e)
{
    int result = 0;
    for (; *tails && !result; tails++) {
        struct locate_paths paths;
        result = locate_glob(root, *tails, &paths, e);
        for (size_t i = 0; i < paths.count && !result; i++)
            result = remove_tree(paths.paths[i], e);
        locate_free(&paths);
    }
    return result;
}

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

static int find_installed(const struct job *j, struct located *l, struct error *e)
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
static int take_version(struct job *j, const char *version, struct error *e)
{
    char name[256];
    snprintf(j->version, sizeof j->version, "%s", version);
    snprintf(name, sizeof name, "%s-%s", j->package->name, version);
    return file_join(j->prefix, j->home, name, e);
}

static int describe(struct job *j, struct error *e)
{
    struct located l;
    int result = find_installed(j, &l, e);
    if (!result)
        result = take_version(j, l.version, e);
    if (result)
        return result;
    json_t *note = begin_note(j->package, j->version, l.library, 0);
    if (!note || json_object_set(note, "commands", j->commands)) {
        json_decref(note);
        return error_memory(e);
    }
    result = hash_files(j->partial, note, e);
    if (!result)
        result = write_note(note, j->partial, e);
    json_decref(note);
    return result;
}

static int fill_partial(struct job *j, struct error *e)
{
    int result = make_environment(j, e);
    if (!result)
        result = run_installer(j, e);
    if (!result)
        result = strip(j->package, j->partial, e);
    if (!result)
        result = describe(j, e);
    if (!result && is_interrupted(j->options))
        result = error_set(e, ERROR_INTERRUPTED, "interrupted");
    return result;
}

static int is_there(const char *prefix)
{
    char note[PATH_MAX];
    return !file_join(note, prefix, "wattle.json", NULL) && !access(note, F_OK);
}

/* Of a path that matches NAME-*. */
static const char *version_of(const char *path, const struct package *p)
{
    return strrchr(path, '/') + 1 + strlen(p->name) + 1;
}

/* 1 and its folder in j->prefix when that version is installed, maybe under a longer name; -1. */
static int find_there(struct job *j, struct error *e)
{
    struct locate_paths all;
    char tail[160];
    int found = 0;
    snprintf(tail, sizeof tail, "%s-*", j->package->name);
    if (locate_glob(j->home, tail, &all, e)) {
        locate_free(&all);
        return -1;
    }
    for (size_t i = 0; i < all.count && !found; i++) {
        const char *version = version_of(all.paths[i], j->package);
        found = !text_ends(version, ".link") && is_there(all.paths[i]) &&
                locate_is_same_version(version, j->version);
        if (found)
            snprintf(j->prefix, sizeof j->prefix, "%s", all.paths[i]);
    }
    locate_free(&all);
    return found;
}

/* The new one takes the place of what is there, which is nothing that works. */
static int put_in_place(struct job *j, struct error *e)
{
    int result = remove_tree(j->prefix, e);
    if (!result && rename(j->partial, j->prefix))
        result = error_errno(e, errno, "cannot rename '%s'", j->partial);
    return result;
}

static int install(struct job *j, int *changed, struct error *e)
{
    struct error ignored;
    int result = take_lock(j, e), there = result ? 0 : find_there(j, e);
    if (result || there)
        return there < 0 ? (int)e->code : result;
    tell(j->options, "installing %s %s", j->package->name, j->version);
    result = remove_tree(j->partial, e); /* of one that was killed */
    if (!result)
        result = fill_partial(j, e);
    if (!result)
        result = put_in_place(j, e);
    if (result)
        remove_tree(j->partial, &ignored);
    else
        *changed = 1;
    return result;
}

static int tell_all(struct job *j, struct error *e)
{
    tell(j->options, "mkdir -p %s", j->home);
    int result = make_environment(j, e);
    if (!result)
        result = run_installer(j, e);
    if (!result)
        tell(j->options, "mv %s %s", j->partial, j->prefix);
    return result;
}

int install_package(const struct package *p, const char *version, const struct install_options *o,
                    char prefix[PATH_MAX], int *changed, struct error *e)
{
    struct job j;
    *changed = 0;
    int result = begin(&j, p, *version ? version : p->version, o, e);
    if (!result)
        result = o->dry_run ? tell_all(&j, e) : install(&j, changed, e);
    snprintf(prefix, PATH_MAX, "%s", j.prefix);
    finish(&j);
    return result;
}

/* --- remove ----------------------------------------------------------------------------------- */

/* "openvino-*" would also match another package's name that begins like it: a version begins with a
 * digit, or is "unknown". */
static int is_of(const char *path, const struct package *p, const char *version)
{
    const char *tail = version_of(path, p);
    char own[LOCATE_VERSION_MAX + 8];
    if (!*version)
        return (*tail >= '0' && *tail <= '9') || text_starts(tail, "unknown");
    snprintf(own, sizeof own, "%.*s", (int)strlen(tail) - (text_ends(tail, ".link") ? 5 : 0), tail);
    return locate_is_same_version(own, version);
}

static int choose(const struct locate_paths *all, const struct package *p, const char *version,
                  const char **out, struct error *e)
{
    size_t n = 0;
    char names[200] = "";
    for (size_t i = 0; i < all->count; i++) {
        if (!is_of(all->paths[i], p, version))
            continue;
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", n++ ? ", " : "",
                 version_of(all->paths[i], p));
        *out = all->paths[i];
    }
    if (n == 1)
        return 0;
    if (n == 0)
        error_set(e, ERROR_USAGE, "%s%s%s is not installed or linked by wattle", p->name,
                  *version ? " " : "", version);
    else if (*version) /* installed and linked: the link goes first */
        return 0;
    else
        error_set(e, ERROR_USAGE, "%s is there in several versions: %s", p->name, names);
    return n ? error_hint(e, "name one: wattle runtimes remove %s=VERSION", p->name)
             : error_hint(e, "wattle runtimes lists what is");
}

/* Out of sight at once, then away: whoever looks meanwhile sees all of it or nothing. */
static int take_away(const struct job *j, const char *path, struct error *e)
{
    char hidden[PATH_MAX];
    int result = file_join(hidden, j->home, ".removed", e);
    if (!result)
        result = remove_tree(hidden, e);
    if (!result && rename(path, hidden))
        result = error_errno(e, errno, "cannot remove '%s'", path);
    return result ? result : remove_tree(hidden, e);
}

int install_remove(const struct package *p, const char *version, const struct install_options *o,
                   char prefix[PATH_MAX], struct error *e)
{
    struct job j;
    struct locate_paths all = {0};
    char tail[160];
    const char *path = NULL;
    prefix[0] = '\0';
    snprintf(tail, sizeof tail, "%s-*", p->name);
    int result = begin(&j, p, *version ? version : p->version, o, e);
    if (!result)
        result = take_lock(&j, e);
    if (!result)
        result = locate_glob(j.home, tail, &all, e);
    if (!result)
        result = choose(&all, p, version, &path, e);
    if (!result)
        snprintf(prefix, PATH_MAX, "%s", path);
    if (!result && o->dry_run)
        tell(o, "rm -r %s", path);
    else if (!result)
        result = take_away(&j, path, e);
    locate_free(&all);
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
        return error_hint(e, "looked for %s and %s", p->wheel, p->library ? p->library : p->wheel);
    }
    if (locate_check(l->library, reason, sizeof reason))
        return error_set(e, ERROR_UNSUPPORTED, "'%.200s': %s", l->library, reason);
    return 0;
}

static int write_link(struct job *j, const char *library, struct error *e)
{
    char folder[PATH_MAX], name[256];
    json_t *note = begin_note(j->package, j->version, library, 1);
    int result = note ? 0 : error_memory(e);
    snprintf(name, sizeof name, "%s-%s.link", j->package->name, j->version);
    if (!result)
        result = file_join(folder, j->home, name, e);
    if (!result)
        result = file_make_folder(folder, e);
    if (!result)
        result = write_note(note, folder, e);
    json_decref(note);
    return result;
}

int install_link(const struct package *p, const char *folder, const struct install_options *o,
                 char library[PATH_MAX], struct error *e)
{
    struct located l;
    struct job j;
    int result = find_linked(p, folder, &l, e);
    if (result)
        return result;
    snprintf(library, PATH_MAX, "%s", l.library);
    result = begin(&j, p, l.version, o, e);
    if (!result && o->dry_run)
        tell(o, "link %s %s to %s", p->name, l.version, l.library);
    else if (!result)
        result = take_lock(&j, e);
    if (!result && !o->dry_run)
        result = write_link(&j, l.library, e);
    finish(&j);
    return result;
}
