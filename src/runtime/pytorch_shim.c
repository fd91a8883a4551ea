#include "runtime/pytorch_shim.h"

#include "base/file.h"
#include "base/text.h"
#include "runtime/command.h"
#include "runtime/folder.h"
#include "runtime/scripts.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HASH_SHOWN = 12, VERSION_MAX = 32, WORDS_MAX = 300 };
#define SOURCE "shim/pytorch.cpp"
#define TIMEOUT_S "600"

/* .../torch/lib/libtorch_cpu.so is of the PyTorch in .../torch. */
static int torch_folder(const char *library, char out[PATH_MAX], struct error *e)
{
    char real[PATH_MAX];
    if (!realpath(library, real))
        return error_errno(e, errno, "cannot find '%.300s'", library);
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(real, '/');
        if (slash)
            *slash = '\0';
    }
    snprintf(out, PATH_MAX, "%s", real);
    return 0;
}

/* "2.13.0+cpu" of the line __version__ = '2.13.0+cpu'. */
static void read_version(const char *torch, char out[VERSION_MAX])
{
    char path[PATH_MAX], text[4096];
    snprintf(out, VERSION_MAX, "unknown");
    if (file_join(path, torch, "version.py", NULL) || file_read_text(path, text, sizeof text))
        return;
    const char *at = strstr(text, "__version__ = '");
    at = at ? at + strlen("__version__ = '") : NULL;
    size_t size = at ? strspn(at, "0123456789abcdefghijklmnopqrstuvwxyz.+") : 0;
    if (size && size < VERSION_MAX)
        snprintf(out, VERSION_MAX, "%.*s", (int)size, at);
}

/* A library that was replaced in its place is another one. */
static int hash(const char *library, const char *torch, char hex[HASH_SHOWN + 1], struct error *e)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    struct stat st;
    size_t size;
    const char *source = script_text(SOURCE, &size);
    if (!source)
        return error_set(e, ERROR_UNSUPPORTED, "this wattle has no " SOURCE);
    if (stat(library, &st))
        return error_errno(e, errno, "cannot inspect '%.300s'", library);
    const long long file[] = {(long long)st.st_size, (long long)st.st_mtime};
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int sound = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) &&
                EVP_DigestUpdate(context, torch, strlen(torch) + 1) &&
                EVP_DigestUpdate(context, file, sizeof file) &&
                EVP_DigestUpdate(context, source, size) &&
                EVP_DigestFinal_ex(context, digest, NULL);
    EVP_MD_CTX_free(context);
    for (size_t i = 0; sound && i < HASH_SHOWN / 2; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return sound ? 0 : error_memory(e);
}

int pytorch_shim_path(const char *library, char path[PATH_MAX], struct error *e)
{
    char torch[PATH_MAX], home[PATH_MAX], folder[PATH_MAX], version[VERSION_MAX];
    char name[VERSION_MAX + HASH_SHOWN + 8], hex[HASH_SHOWN + 1];
    int code = torch_folder(library, torch, e);
    if (!code)
        code = hash(library, torch, hex, e);
    if (!code)
        code = file_home(home, e);
    if (!code)
        code = file_join(folder, home, "shims", e);
    if (code)
        return code;
    read_version(torch, version);
    snprintf(name, sizeof name, "%s-%s.so", version, hex);
    return file_join(path, folder, name, e);
}

/* --- compiling -------------------------------------------------------------------------------- */

static int check_compiler(const struct install_options *o, struct error *e)
{
    struct command_output *output = malloc(sizeof *output);
    if (!output)
        return error_memory(e);
    struct install_options silent = {.interrupted = o->interrupted};
    int code = command_run((const char *const[]){"g++", "--version", NULL}, &silent, output, e);
    free(output);
    if (!code || code == ERROR_INTERRUPTED || code == ERROR_MEMORY)
        return code;
    error_set(e, ERROR_UNSUPPORTED, "TorchScript needs g++, to compile its C interface once");
    return error_hint(e, "apt-get install g++");
}

/* The compiler's first complaint, without the path in front of it. */
static const char *first_complaint(const char *tail, char out[WORDS_MAX])
{
    const char *at = strstr(tail, "error: ");
    at = at ? at : tail;
    snprintf(out, WORDS_MAX, "%.*s", (int)strcspn(at, "\n"), at);
    return *out ? out : "the compiler gives no reason";
}

static int explain(int code, const struct command_output *output, struct error *e)
{
    char words[WORDS_MAX];
    if (code != ERROR_CRASH)
        return code;
    if (strstr(e->text, "exit status 124"))
        return error_set(e, ERROR_TIMEOUT, "compiling the interface to TorchScript took longer "
                         "than " TIMEOUT_S " s");
    return error_set(e, ERROR_UNSUPPORTED, "cannot compile the interface to TorchScript against "
                     "this PyTorch: %s", first_complaint(output->tail, words));
}

struct flags {
    char include[PATH_MAX + 8], api[PATH_MAX + 64], link[PATH_MAX + 8], run_path[PATH_MAX + 24];
};

static int run_compiler(const char *torch, const char *source, const char *out,
                        const struct install_options *o, int lock, struct error *e)
{
    struct flags *f = malloc(sizeof *f);
    struct command_output *output = calloc(1, sizeof *output);
    int code = f && output ? 0 : error_memory(e);
    if (!code) {
        snprintf(f->include, sizeof f->include, "-I%s/include", torch);
        snprintf(f->api, sizeof f->api, "-I%s/include/torch/csrc/api/include", torch);
        snprintf(f->link, sizeof f->link, "-L%s/lib", torch);
        snprintf(f->run_path, sizeof f->run_path, "-Wl,-rpath,%s/lib", torch);
        const char *const argv[] = {"timeout", "-k", "5", TIMEOUT_S, "g++", "-std=c++20", "-O2",
                                    "-shared", "-fPIC", "-w", "-Wfatal-errors", source, "-o",
                                    out, f->include, f->api, f->link, "-ltorch_cpu", "-lc10",
                                    f->run_path, NULL};
        struct install_options silent = {.interrupted = o->interrupted};
        code = explain(command_run_locked(argv, &silent, lock, output, e), output, e);
    }
    free(output);
    free(f);
    return code;
}

static int check_headers(const char *torch, struct error *e)
{
    char path[PATH_MAX];
    int code = file_join(path, torch, "include/torch/script.h", e);
    if (code || !access(path, R_OK))
        return code;
    error_set(e, ERROR_UNSUPPORTED, "TorchScript needs PyTorch's headers: there is no '%.300s'",
              path);
    return error_hint(e, "the packages for Python have them: wattle runtimes install pytorch");
}

/* Into a file of its own name, then renamed: what is there is whole. */
static int compile(const char *library, const char *path, const struct install_options *o, int lock,
                   struct error *e)
{
    char torch[PATH_MAX], source[PATH_MAX], partial[PATH_MAX];
    int code = torch_folder(library, torch, e);
    if (!code)
        code = check_headers(torch, e);
    if (!code)
        code = check_compiler(o, e);
    if (!code)
        code = script_path(SOURCE, source, e);
    if (!code && snprintf(partial, sizeof partial, "%s.partial", path) >= (int)sizeof partial)
        code = error_set(e, ERROR_USAGE, "path is too long: '%.300s'", path);
    if (code)
        return code;
    if (o->tell)
        o->tell(o->context, "compiling the interface to TorchScript (once for this PyTorch)");
    code = run_compiler(torch, source, partial, o, lock, e);
    if (!code && rename(partial, path))
        code = error_errno(e, errno, "cannot rename '%.300s'", partial);
    if (code)
        unlink(partial);
    return code;
}

int pytorch_shim(const char *library, char path[PATH_MAX],
                 void (*tell)(void *context, const char *line), void *context,
                 int (*interrupted)(void), struct error *e)
{
    const struct install_options o = {.interrupted = interrupted, .tell = tell, .context = context};
    char folder[PATH_MAX];
    int lock = -1;
    int code = pytorch_shim_path(library, path, e);
    if (code || !access(path, R_OK))
        return code;
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    const struct folder_wait wait = {interrupted, tell, context,
                                     "waiting for another wattle that compiles the same"};
    code = folder_lock(folder, &wait, &lock, e);
    if (!code && access(path, R_OK))
        code = compile(library, path, &o, lock, e);
    if (lock >= 0)
        close(lock);
    return code;
}
