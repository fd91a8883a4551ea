/* pip.c: what a package's folder is filled with, by Python's venv and pip. */
#include "runtime/command.h"
#include "runtime/install_job.h"

#include "base/file.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

enum { ARGUMENT_MAX = 64 };

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

static int note_command(struct install_job *j, const struct arguments *a, struct error *e)
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

/* What failed is in the words of Python and pip; what to do about it is not. Each returns 0 when
 * the words are not its. */
static int explain_space(const struct install_job *j, const struct command_output *out,
                         const char *words, struct error *e)
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

static int explain_index(const struct install_job *j, const struct command_output *out,
                         struct error *e)
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

static int explain(const struct install_job *j, const struct command_output *out, struct error *e)
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
static int command(struct install_job *j, const struct arguments *a, struct command_output *out,
                   struct error *e)
{
    if (a->failed)
        return error_set(e, ERROR_USAGE, "more than %d arguments for pip", ARGUMENT_MAX);
    if (j->options->dry_run) {
        install_tell_command(j->options, a->list);
        return 0;
    }
    int result = note_command(j, a, e);
    return result ? result : command_run_locked(a->list, j->options, j->lock, out, e);
}

static int make_environment(struct install_job *j, struct error *e)
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

static int run_pip(struct install_job *j, const struct order *o, struct command_output *out,
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

static int carry_out(struct install_job *j, struct order o, struct error *e)
{
    struct command_output out = {""};
    int result = run_pip(j, &o, &out, e);
    if (result && !j->options->dry_run && has(&out, "no such option: --report")) {
        o.report = NULL; /* pip before 22.2 */
        result = run_pip(j, &o, &out, e);
    }
    return result ? explain(j, &out, e) : 0;
}

static int run_installer(struct install_job *j, struct error *e)
{
    const struct package *p = j->package;
    char wanted[128];
    snprintf(wanted, sizeof wanted, "%s==%s", package_distribution(p), j->version);
    struct order first = {p->requirements, wanted, "pip-report.json", 0};
    struct order bare = {p->bare, NULL, "pip-report-bare.json", 1};
    int result = carry_out(j, first, e);
    return result || !p->bare ? result : carry_out(j, bare, e);
}

int pip_fill(struct install_job *j, struct error *e)
{
    int result = make_environment(j, e);
    return result ? result : run_installer(j, e);
}
