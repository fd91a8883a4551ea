#include "runtime/pt_api.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/text.h"
#include "runtime/symbols.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { TEXT_MAX = 4096, WORDS_MAX = 360, MAJOR = 2 };

static const struct pt_type types[] = {
    {"float32", 4}, {"float64", 8}, {"float16", 2}, {"bfloat16", 2}, {"int8", 1},
    {"int16", 2},   {"int32", 4},   {"int64", 8},   {"uint8", 1},    {"uint16", 2},
    {"uint32", 4},  {"uint64", 8},  {"bool", 1},
};
enum { TYPES = sizeof types / sizeof *types };

/* Of the library that was loaded: there is only one in a process. */
static int32_t numbers[TYPES];

const struct pt_type *pt_type_named(const char *name)
{
    for (size_t i = 0; i < TYPES; i++)
        if (!strcmp(types[i].name, name))
            return &types[i];
    return NULL;
}

int32_t pt_type_number(const char *name)
{
    const struct pt_type *type = pt_type_named(name);
    return type ? numbers[type - types] : -1;
}

const struct pt_type *pt_type_find(int32_t number)
{
    for (size_t i = 0; i < TYPES; i++)
        if (numbers[i] == number && number >= 0)
            return &types[i];
    return NULL;
}

static void number_types(void *handle)
{
    for (size_t i = 0; i < TYPES; i++) {
        char name[64];
        int32_t (*number)(void);
        snprintf(name, sizeof name, "aoti_torch_dtype_%s", types[i].name);
        numbers[i] = symbol_take(handle, &(struct symbol){name, &number}) ? number() : -1;
    }
}

static int load_symbols(struct pt_api *api, void *handle, const char *library, struct error *e)
{
    const struct symbol symbols[] = {
#define PT_SYMBOL(result, member, symbol, parameters) {#symbol, &api->member},
        PT_FUNCTIONS(PT_SYMBOL)
#undef PT_SYMBOL
    };
    const char *missing = symbols_take(handle, symbols, sizeof symbols / sizeof *symbols);
    if (missing) {
        error_set(e, ERROR_UNSUPPORTED, "'%s' has no function %s", library, missing);
        return error_hint(e, "wattle takes PyTorch 2.13; older releases lack parts of its C "
                          "interface");
    }
    symbol_take(handle, &(struct symbol){"torch_exception_get_what_without_backtrace", &api->what});
    return 0;
}

/* The library tells no more than 2.13.0; which build of it this is ("2.13.0+cpu") stands in the
 * version.py of the package that it is part of. */
static void read_build(struct pt_api *api, const char *library)
{
    char path[PATH_MAX], text[4096], version[32];
    const char *slash = strrchr(library, '/');
    int n = snprintf(path, sizeof path, "%.*s../version.py", (int)(slash ? slash + 1 - library : 0),
                     library);
    if (n < 0 || n >= PATH_MAX || file_read_text(path, text, sizeof text))
        return;
    char quote = 0;
    const char *line = strstr(text, "\n__version__ = '");
    if (line && sscanf(line, "\n__version__ = '%31[0-9A-Za-z.+-]%c", version, &quote) == 2 &&
        quote == '\'' && text_starts(version, api->version))
        snprintf(api->version, sizeof api->version, "%s", version);
}

/* 0x020d000000000000 is 2.13.0: a byte for each part. */
static int read_version(struct pt_api *api, const char *library, struct error *e)
{
    uint64_t v = api->abi_version();
    api->major = (int)(v >> 56);
    api->minor = (int)(v >> 48 & 0xff);
    snprintf(api->version, sizeof api->version, "%d.%d.%d", api->major, api->minor,
             (int)(v >> 40 & 0xff));
    if (api->major == MAJOR) {
        read_build(api, library);
        return 0;
    }
    error_set(e, ERROR_UNSUPPORTED, "'%s' is of PyTorch %s, whose C interface wattle does not know",
              library, api->version);
    return error_hint(e, "wattle takes PyTorch 2");
}

static int open_cuda(struct pt_api *api, const char *library, struct error *e)
{
    char path[PATH_MAX];
    const char *slash = strrchr(library, '/');
    snprintf(path, sizeof path, "%.*slibtorch_cuda.so", (int)(slash ? slash + 1 - library : 0),
             library);
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        const char *why = dlerror();
        int absent = why && strstr(why, "libtorch_cuda.so: cannot open shared object file");
        if (!absent) {
            error_set(e, ERROR_UNSUPPORTED, "provider cuda: cannot load '%.200s'", path);
            return error_hint(e, "%s", why ? why : "");
        }
        error_set(e, ERROR_UNSUPPORTED, "provider cuda: this PyTorch is a build for the CPU (no "
                  "libtorch_cuda.so beside '%.200s')", library);
        return error_hint(e, "wattle runtimes link takes a virtual environment that has PyTorch "
                          "for CUDA");
    }
    const struct symbol needed = {"torch_cuda_stream_synchronize", &api->synchronize};
    if (symbol_take(handle, &needed))
        return 0;
    return error_set(e, ERROR_UNSUPPORTED, "'%s' has no function %s", path, needed.name);
}

int pt_api_open(struct pt_api *api, const char *library, int cuda, struct error *e)
{
    *api = (struct pt_api){0};
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return error_set(e, ERROR_UNSUPPORTED, "cannot load PyTorch: %s", dlerror());
    int code = load_symbols(api, handle, library, e);
    if (!code)
        code = read_version(api, library, e);
    if (code)
        return code;
    number_types(handle);
    return cuda ? open_cuda(api, library, e) : 0;
}

/* Lines that only say where in PyTorch's source a thing was thrown, or that it was, are left
 * out. */
static int says_something(const char *line, size_t size)
{
    static const char *const noise[] = {"Exception raised from", "frame #", "Error in dlopen"};
    for (size_t i = 0; i < sizeof noise / sizeof *noise; i++)
        if (!strncmp(line, noise[i], strlen(noise[i])))
            return 0;
    return size > 0;
}

/* After a traceback through a model's code comes what was wrong: PyTorch's own error, or the last line,
 * which is an exception that the code raises. */
static const char *skip_traceback(const char *text)
{
    const char *reason = strstr(text, "RuntimeError: ");
    if (reason)
        return reason + strlen("RuntimeError: ");
    if (!strstr(text, "Traceback of TorchScript"))
        return text;
    for (const char *line = reason = text; line; line = strchr(line, '\n')) {
        line += strspn(line, "\n");
        reason = *line ? line : reason;
    }
    return reason;
}

static void one_line(const char *text, struct buffer *out)
{
    text = text ? skip_traceback(text) : NULL;
    while (text && *text && out->size < WORDS_MAX) {
        text += strspn(text, " \t\r\n");
        size_t size = strcspn(text, "\r\n");
        if (says_something(text, size)) {
            buffer_text(out, out->size ? "; " : "");
            buffer_append(out, text, size);
        }
        text += size;
    }
}

int(pt_api_error)(const struct pt_api *api, const char *extra, struct error *e, const char *format,
                  ...)
{
    char what[256];
    struct buffer words;
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    buffer_init(&words, TEXT_MAX);
    one_line(extra, &words);
    if (!words.size && api->what)
        one_line(api->what(), &words);
    const char *text = buffer_string(&words);
    int memory = strstr(text, "bad_alloc") || strstr(text, "not enough memory") ||
                 strstr(text, "out of memory");
    enum error_code code = memory ? ERROR_MEMORY : ERROR_UNSUPPORTED;
    error_set(e, code, "%s: %s", what, *text ? text : "PyTorch gives no reason");
    if (strstr(text, "'CUDA' backend") || strstr(text, "support for cuda"))
        error_hint(e, "the model's own code names the device cuda: trace or script it on the CPU, or "
                   "take --provider cuda");
    buffer_release(&words);
    return code;
}
