#include "runtime/locate.h"

#include "base/file.h"
#include "base/text.h"

#include <ctype.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined __x86_64__
enum { OWN_MACHINE = EM_X86_64 };
#elif defined __aarch64__
enum { OWN_MACHINE = EM_AARCH64 };
#else
enum { OWN_MACHINE = EM_NONE }; /* unknown: loading will tell */
#endif

static const char SITES[] = "lib*/python3*/site-packages";

/* --- paths ------------------------------------------------------------------------------------ */

static int add_path(struct locate_paths *p, const char *path, struct error *e)
{
    for (size_t i = 0; i < p->count; i++)
        if (!strcmp(p->paths[i], path))
            return 0;
    char **more = realloc(p->paths, (p->count + 1) * sizeof *more);
    if (!more)
        return error_memory(e);
    p->paths = more;
    more[p->count] = strdup(path);
    return more[p->count] ? (p->count++, 0) : error_memory(e);
}

void locate_free(struct locate_paths *p)
{
    for (size_t i = 0; i < p->count; i++)
        free(p->paths[i]);
    free(p->paths);
    *p = (struct locate_paths){0};
}

static int add_matches(struct locate_paths *p, const char *folder, const char *tail,
                       struct error *e)
{
    char pattern[2 * PATH_MAX];
    glob_t found;
    if (!file_pattern(folder, tail, pattern, sizeof pattern))
        return 0; /* too long to exist */
    int failed = glob(pattern, 0, NULL, &found), result = 0;
    if (failed)
        return failed == GLOB_NOSPACE ? error_memory(e) : 0;
    for (size_t i = 0; i < found.gl_pathc && !result; i++)
        if (strlen(found.gl_pathv[i]) < PATH_MAX)
            result = add_path(p, found.gl_pathv[i], e);
    globfree(&found);
    return result;
}

int locate_glob(const char *folder, const char *tail, struct locate_paths *out, struct error *e)
{
    *out = (struct locate_paths){0};
    return add_matches(out, folder, tail, e);
}

int locate_home(char out[PATH_MAX], struct error *e)
{
    char home[PATH_MAX];
    int result = file_home(home, e);
    return result ? result : file_join(out, home, "runtimes", e);
}

/* --- words and versions ----------------------------------------------------------------------- */

int locate_is_word(const char *text)
{
    if (!isalnum((unsigned char)*text))
        return 0;
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && !strchr("._+-", *text))
            return 0;
    return 1;
}

int locate_compare(const char *a, const char *b)
{
    int known_a = isdigit((unsigned char)*a) != 0, known_b = isdigit((unsigned char)*b) != 0;
    return known_a != known_b ? known_a - known_b : strverscmp(a, b);
}

/* libopenvino_c.so.2641 is 2026.4.1: the soname has year, release and patch in one number. */
static void decode_version(char version[LOCATE_VERSION_MAX])
{
    if (strlen(version) != 4 || strspn(version, "0123456789") != 4 || strcmp(version, "2000") < 0)
        return;
    char digits[5];
    memcpy(digits, version, sizeof digits);
    snprintf(version, LOCATE_VERSION_MAX, "20%.2s.%c.%c", digits, digits[2], digits[3]);
}

static int is_end(char c)
{
    return !c || c == '.' || c == '+';
}

int locate_is_version(const char *version, const char *wanted)
{
    size_t size = strlen(wanted);
    return !strncmp(version, wanted, size) && is_end(version[size]);
}

/* Without the ".0" at the end of it, and without "+cpu". */
static size_t release_size(const char *version)
{
    size_t size = strcspn(version, "+");
    while (size > 2 && !strncmp(version + size - 2, ".0", 2))
        size -= 2;
    return size;
}

int locate_is_same_version(const char *version, const char *wanted)
{
    size_t size = release_size(wanted);
    const char *build = strchr(wanted, '+'), *own = strchr(version, '+');
    return size == release_size(version) && !strncmp(version, wanted, size) &&
           (!build || (own && !strcmp(own, build)));
}

/* What follows ".so." in the name of the file. */
static void version_of_file(const char *path, char version[LOCATE_VERSION_MAX])
{
    const char *base = strrchr(path, '/'), *so = base ? strstr(base, ".so.") : NULL;
    const char *text = so ? so + 4 : "";
    int sound = isdigit((unsigned char)*text) && locate_is_word(text) &&
                strlen(text) < LOCATE_VERSION_MAX;
    snprintf(version, LOCATE_VERSION_MAX, "%.31s", sound ? text : "unknown");
    if (sound)
        decode_version(version);
}

/* One line in a file beside or above the library. */
static void version_beside(const struct package *p, struct located *l)
{
    char path[2 * PATH_MAX], line[LOCATE_VERSION_MAX];
    const char *slash = strrchr(l->library, '/');
    if (!p->version_file || !slash)
        return;
    snprintf(path, sizeof path, "%.*s/%s", (int)(slash - l->library), l->library, p->version_file);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
    if (fd >= 0)
        close(fd);
    line[n > 0 ? n : 0] = '\0';
    line[strcspn(line, " \r\n")] = '\0';
    if (isdigit((unsigned char)*line) && locate_is_word(line))
        memcpy(l->version, line, sizeof line);
}

/* The newest of the matches that is a file; symbolic links are resolved, so that libx.so,
 * libx.so.1 and libx.so.1.2 are one. `version` "" takes any. */
static void newest(const struct locate_paths *matches, const char *version, struct located *out)
{
    for (size_t i = 0; i < matches->count; i++) {
        struct located one;
        if (!realpath(matches->paths[i], one.library))
            continue;
        version_of_file(one.library, one.version);
        if (version[0] && strcmp(one.version, version) != 0)
            continue;
        if (!out->library[0] || locate_compare(one.version, out->version) > 0)
            *out = one;
    }
}

/* --- places ----------------------------------------------------------------------------------- */

/* "onnxruntime_gpu-1.31.1.dist-info" is pip's note: the package, whatever its files are called. */
static int noted_version(const struct package *p, const char *site,
                         char version[LOCATE_VERSION_MAX], struct error *e)
{
    char tail[160];
    struct locate_paths notes;
    const char *name = package_distribution(p);
    snprintf(tail, sizeof tail, "%s-*.dist-info", name);
    for (char *c = tail; *c && *c != '*'; c++) /* the last '-' stays */
        if (*c == '-' && c[1] != '*')
            *c = '_';
    version[0] = '\0';
    int result = locate_glob(site, tail, &notes, e);
    for (size_t i = 0; i < notes.count; i++) {
        char text[LOCATE_VERSION_MAX];
        const char *begin = strrchr(notes.paths[i], '/') + 1 + strlen(name) + 1;
        size_t size = strlen(begin) - strlen(".dist-info");
        if (size >= sizeof text)
            continue;
        snprintf(text, sizeof text, "%.*s", (int)size, begin);
        if (locate_is_word(text) && (!version[0] || locate_compare(text, version) > 0))
            memcpy(version, text, sizeof text);
    }
    locate_free(&notes);
    return result;
}

int locate_in_site(const struct package *p, const char *site, struct located *out, struct error *e)
{
    char version[LOCATE_VERSION_MAX];
    struct locate_paths matches = {0};
    *out = (struct located){0};
    int result = noted_version(p, site, version, e);
    if (!result && version[0])
        result = locate_glob(site, p->wheel, &matches, e);
    /* Two packages may have put their libraries into one folder: the note tells which is whose. */
    newest(&matches, version, out);
    if (!out->library[0] && matches.count == 1)
        newest(&matches, "", out);
    locate_free(&matches);
    if (out->library[0])
        snprintf(out->version, sizeof out->version, "%s", version);
    return result ? -1 : out->library[0] != '\0';
}

int locate_in_folder(const struct package *p, const char *folder, struct located *out,
                     struct error *e)
{
    struct locate_paths matches = {0};
    *out = (struct located){0};
    int result = p->library ? locate_glob(folder, p->library, &matches, e) : 0;
    newest(&matches, "", out);
    locate_free(&matches);
    if (out->library[0] && !isdigit((unsigned char)*out->version))
        version_beside(p, out);
    return result ? -1 : out->library[0] != '\0';
}

/* A folder inside a site-packages folder: pip's note is further up. */
static int in_site_above(const struct package *p, const char *folder, struct located *out,
                         struct error *e)
{
    static const char *const names[] = {"/site-packages/", "/dist-packages/"};
    char site[PATH_MAX];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *at = strstr(folder, names[i]);
        size_t size = at ? (size_t)(at - folder) + strlen(names[i]) - 1 : 0;
        if (!at || size >= sizeof site)
            continue;
        snprintf(site, sizeof site, "%.*s", (int)size, folder);
        return locate_in_site(p, site, out, e);
    }
    return 0;
}

static int in_sites(const struct package *p, const char *folder, struct located *out,
                    struct error *e)
{
    struct locate_paths sites;
    int result = locate_glob(folder, SITES, &sites, e);
    if (!result)
        result = add_path(&sites, folder, e);
    int found = result ? -1 : 0;
    for (size_t i = 0; i < sites.count && !found; i++)
        found = locate_in_site(p, sites.paths[i], out, e);
    locate_free(&sites);
    return found;
}

static int in_matching(const struct package *p, const char *folder, const char *tail,
                       struct located *out, struct error *e)
{
    struct locate_paths matches = {0};
    int result = locate_glob(folder, tail, &matches, e), found = result ? -1 : 0;
    for (size_t i = 0; i < matches.count && !found; i++)
        found = locate_in_folder(p, matches.paths[i], out, e);
    locate_free(&matches);
    return found;
}

int locate_anywhere(const struct package *p, const char *folder, struct located *out,
                    struct error *e)
{
    static const char *const tails[] = {".",          "lib",  "lib64", "lib/*-linux-*",
                                        "capi",       "libs", "runtime/lib/intel64",
                                        "build/Linux/*", "*/capi", "*/libs", NULL};
    int found = in_sites(p, folder, out, e);
    if (!found)
        found = in_site_above(p, folder, out, e);
    for (const char *const *tail = tails; *tail && !found; tail++)
        found = in_matching(p, folder, *tail, out, e);
    return found;
}

int locate_program(const char *name, char out[PATH_MAX])
{
    const char *path = getenv("PATH");
    for (path = path ? path : ""; *path;) {
        size_t size = strcspn(path, ":");
        int n = snprintf(out, PATH_MAX, "%.*s/%s", (int)(size < PATH_MAX ? size : 0), path, name);
        int sound = *path == '/' && size < PATH_MAX && n < PATH_MAX;
        path += size + (path[size] == ':');
        if (sound && !access(out, X_OK))
            return 1;
    }
    return 0;
}

/* The folder of the first python3 in $PATH, without bin; 0 when there is none. */
static int find_python(char prefix[PATH_MAX])
{
    if (!locate_program("python3", prefix))
        return 0;
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(prefix, '/');
        if (!slash)
            return 0;
        *slash = '\0';
    }
    return 1;
}

int locate_sites(struct locate_paths *out, struct error *e)
{
    static const char *const tails[] = {"lib*/python3*/site-packages", "lib/python3/dist-packages",
                                        "local/lib/python3*/dist-packages", NULL};
    char prefix[PATH_MAX], note[PATH_MAX];
    int result = 0;
    *out = (struct locate_paths){0};
    if (!find_python(prefix))
        return 0;
    for (const char *const *tail = tails; *tail && !result; tail++)
        result = add_matches(out, prefix, *tail, e);
    const char *home = getenv("HOME");
    int isolated = !file_join(note, prefix, "pyvenv.cfg", NULL) && !access(note, F_OK);
    if (!result && home && *home == '/' && !isolated)
        result = add_matches(out, home, ".local/lib/python3*/site-packages", e);
    if (result)
        locate_free(out);
    return result;
}

int locate_system(struct locate_paths *out, struct error *e)
{
    const char *given = getenv("WATTLE_LIBRARY_PATH");
    const char *list = given ? given : "/usr/local/lib:/usr/local/lib64:/usr/lib:/usr/lib64";
    int result = 0;
    *out = (struct locate_paths){0};
    while (*list && !result) {
        char folder[PATH_MAX];
        size_t size = strcspn(list, ":");
        snprintf(folder, sizeof folder, "%.*s", (int)(size < PATH_MAX ? size : 0), list);
        if (size > 0 && size < PATH_MAX)
            result = add_path(out, folder, e);
        list += size + (list[size] == ':');
    }
    if (!given && !result)
        result = add_matches(out, "/usr/lib", "*-linux-*", e);
    if (result)
        locate_free(out);
    return result;
}

/* --- the file --------------------------------------------------------------------------------- */

/* Whether a segment would be mapped that the file does not have: touching it would be a SIGBUS. */
static int is_cut(int fd, const Elf64_Ehdr *header)
{
    struct stat st;
    if (fstat(fd, &st) || header->e_phentsize != sizeof(Elf64_Phdr))
        return 1;
    uint64_t size = (uint64_t)st.st_size;
    for (unsigned i = 0; i < header->e_phnum; i++) {
        Elf64_Phdr segment;
        uint64_t at = header->e_phoff + i * sizeof segment;
        if (at > size || pread(fd, &segment, sizeof segment, (off_t)at) != (ssize_t)sizeof segment)
            return 1;
        if (segment.p_type == PT_LOAD &&
            (segment.p_offset > size || segment.p_filesz > size - segment.p_offset))
            return 1;
    }
    return 0;
}

static const char *find_fault(int fd)
{
    Elf64_Ehdr header = {0};
    if (pread(fd, &header, sizeof header, 0) != (ssize_t)sizeof header ||
        memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
        return "its library is not a shared object";
    if (header.e_ident[EI_CLASS] != ELFCLASS64 ||
        (OWN_MACHINE != EM_NONE && header.e_machine != OWN_MACHINE))
        return "its library is for another kind of machine";
    return is_cut(fd, &header) ? "its library is cut off: the end of the file is missing" : NULL;
}

int locate_check(const char *library, char *text, size_t size)
{
    int fd = open(library, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        snprintf(text, size, "its library cannot be read: %s", strerror(errno));
        return -1;
    }
    const char *fault = find_fault(fd);
    close(fd);
    snprintf(text, size, "%s", fault ? fault : "");
    return fault ? -1 : 0;
}
