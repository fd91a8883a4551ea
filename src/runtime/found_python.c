/* found_python.c: the Python interpreter that an installation's library belongs to. */
#include "runtime/found.h"

#include "base/file.h"
#include "base/text.h"
#include "runtime/locate.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* PREFIX/lib/python3.11/site-packages taken apart. */
struct place {
    char prefix[PATH_MAX], site[PATH_MAX];
    char name[32]; /* "python3.11", or "python3" where all versions share a folder */
};

/* The last one that begins before `end`, so that the nearest folder is found first. */
static const char *find_last(const char *text, const char *end, const char *word)
{
    size_t size = strlen(word);
    for (const char *at = end; at > text; at--)
        if (!strncmp(at - 1, word, size))
            return at - 1;
    return NULL;
}

static const char *find_site(const char *library, const char *end)
{
    const char *a = find_last(library, end, "/site-packages/");
    const char *b = find_last(library, end, "/dist-packages/");
    return a > b || !b ? a : b;
}

/* Where the last part before `end` begins, at its slash; NULL when there is none. */
static const char *parent(const char *text, const char *end)
{
    while (end > text && *--end != '/')
        continue;
    return *end == '/' ? end : NULL;
}

/* From "/site-packages" at `at`; 0 when the folders above are not those of a Python. */
static int take_apart(const char *library, const char *at, struct place *p)
{
    const char *version = parent(library, at), *lib = version ? parent(library, version) : NULL;
    size_t size = version ? (size_t)(at - version) - 1 : 0;
    if (!lib || size >= sizeof p->name || !text_starts(version, "/python3") ||
        !text_starts(lib, "/lib"))
        return 0;
    snprintf(p->name, sizeof p->name, "%.*s", (int)size, version + 1);
    snprintf(p->prefix, sizeof p->prefix, "%.*s", (int)(lib - library), library);
    snprintf(p->site, sizeof p->site, "%.*s/%s", (int)(at - library), library,
             at[1] == 's' ? "site-packages" : "dist-packages");
    return locate_is_word(p->name);
}

static int find_place(const char *library, struct place *p)
{
    if (strlen(library) >= PATH_MAX)
        return 0;
    const char *at = find_site(library, library + strlen(library));
    while (at && !take_apart(library, at, p))
        at = find_site(library, at);
    return at != NULL;
}

static int is_program(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISREG(st.st_mode) && !access(path, X_OK);
}

static int own_python(const struct place *p, char python[PATH_MAX])
{
    const char *const names[] = {p->name, "python3", "python", NULL};
    for (const char *const *name = names; *name; name++) {
        char tail[64];
        snprintf(tail, sizeof tail, "bin/%s", *name);
        if (!file_join(python, p->prefix, tail, NULL) && is_program(python))
            return 1;
    }
    return 0;
}

int found_python(const char *library, char python[PATH_MAX], char site[PATH_MAX], struct error *e)
{
    struct place p;
    python[0] = site[0] = '\0';
    if (!find_place(library, &p)) {
        error_set(e, ERROR_UNSUPPORTED, "'%.200s' is not part of a Python installation", library);
        return error_hint(e, "wattle runtimes install NAME makes one");
    }
    if (own_python(&p, python))
        return 0;
    /* One of the same version may load what was made for it, told where that is. */
    if (locate_program(p.name, python) || locate_program("python3", python)) {
        memcpy(site, p.site, sizeof p.site);
        return 0;
    }
    python[0] = '\0';
    error_set(e, ERROR_UNSUPPORTED, "there is no Python for '%.200s'", p.site);
    return error_hint(e, "neither in '%.150s/bin' nor as python3 in $PATH", p.prefix);
}
