#include "runtime/ov_api.h"

#include "base/buffer.h"
#include "base/text.h"
#include "runtime/symbols.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 4096, PROBE_ELEMENTS = 8, VERSION_MAX = 9999, MINOR_MAX = 99 };

static int load_symbols(struct ov_api *api, void *handle, const char *library, struct error *e)
{
    const struct symbol symbols[] = {
#define OV_SYMBOL(result, name, parameters) {"ov_" #name, &api->name},
        OV_FUNCTIONS(OV_SYMBOL)
#undef OV_SYMBOL
    };
    const char *missing = symbols_take(handle, symbols, sizeof symbols / sizeof *symbols);
    if (!missing)
        return 0;
    error_set(e, ERROR_UNSUPPORTED, "'%s' has no function %s", library, missing);
    return error_hint(e, "wattle takes libopenvino_c.so of OpenVINO 2024.2 or later");
}

/* "2026.4.1-22982-e213a147257-releases/2026/4": the version stands before the first dash. */
static int read_version(struct ov_api *api, struct error *e)
{
    struct ov_version v = {0};
    int status = api->get_openvino_version(&v);
    if (status || !v.build)
        return ov_api_error(api, status, e, "OpenVINO does not tell its version");
    snprintf(api->build, sizeof api->build, "%s", v.build);
    snprintf(api->version, sizeof api->version, "%.*s", (int)strcspn(v.build, "-"), v.build);
    api->version_free(&v);
    char *rest;
    long major = strtol(api->version, &rest, 10);
    long minor = *rest == '.' ? strtol(rest + 1, NULL, 10) : -1;
    if (major > 0 && major <= VERSION_MAX && minor >= 0 && minor <= MINOR_MAX)
        api->types = ov_types_for((int)major, (int)minor);
    if (api->types)
        return 0;
    error_set(e, ERROR_UNSUPPORTED, "OpenVINO '%s' is not a version wattle knows", api->build);
    return error_hint(e, "wattle takes OpenVINO 2024.2 or later");
}

static int check_type(const struct ov_api *api, int number, struct error *e)
{
    const struct ov_type *type = ov_types_find(api->types, number);
    int64_t elements = PROBE_ELEMENTS;
    size_t bytes = 0;
    void *tensor = NULL;
    int status = api->tensor_create(number, (struct ov_shape){1, &elements}, &tensor);
    if (!status)
        status = api->tensor_get_byte_size(tensor, &bytes);
    api->tensor_free(tensor);
    if (!status && bytes == PROBE_ELEMENTS * type->bytes)
        return 0;
    return error_set(e, ERROR_UNSUPPORTED, "OpenVINO %s does not number its element types as those "
                     "since %s do: %d is not %s", api->version, api->types->since, number,
                     type->name);
}

/* A type read wrongly would make wrong figures, not an error; a library from the future, or from
 * somebody else, is asked for the size of each. */
static int check_types(const struct ov_api *api, struct error *e)
{
    int code = 0;
    for (int n = api->types->first; !code && n < ov_types_end(api->types); n++)
        if (ov_types_find(api->types, n)->bytes)
            code = check_type(api, n, e);
    return code;
}

int ov_api_open(struct ov_api *api, const char *library, struct error *e)
{
    *api = (struct ov_api){0};
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return error_set(e, ERROR_UNSUPPORTED, "cannot load OpenVINO: %s", dlerror());
    int code = load_symbols(api, handle, library, e);
    if (!code)
        code = read_version(api, e);
    return code ? code : check_types(api, e);
}

/* Lines that only say where in OpenVINO's source a thing was thrown are left out. */
static int says_something(const char *line, size_t size)
{
    static const char noise[] = "Exception from ";
    while (size && line[size - 1] == ' ')
        size--;
    return size && (size < sizeof noise || strncmp(line, noise, sizeof noise - 1) ||
                    line[size - 1] != ':');
}

static void one_line(const char *text, struct buffer *out)
{
    while (*text) {
        size_t size = strcspn(text, "\r\n");
        if (says_something(text, size)) {
            buffer_text(out, out->size ? "; " : "");
            buffer_append(out, text, size);
        }
        text += size;
        text += strspn(text, "\r\n");
    }
}

/* The last message is a copy that nobody says how to free; it is rare, and small. */
static void own_words(const struct ov_api *api, int status, struct buffer *out)
{
    const char *message = status ? api->get_last_err_msg() : NULL;
    if (message)
        one_line(message, out);
    const char *info = out->size || !status ? NULL : api->get_error_info(status);
    if (info)
        one_line(info, out);
}

int ov_api_error(const struct ov_api *api, int status, struct error *e, const char *format, ...)
{
    char what[256];
    struct buffer words;
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    buffer_init(&words, TEXT_MAX);
    own_words(api, status, &words);
    const char *text = buffer_string(&words);
    enum error_code code = ERROR_UNSUPPORTED;
    if (strstr(text, "bad_alloc") || strstr(text, "emory alloc") || strstr(text, "allocate mem"))
        code = ERROR_MEMORY;
    if (*text)
        error_set(e, code, "%s: %s", what, text);
    else
        error_set(e, code, "%s: status %d", what, status);
    buffer_release(&words);
    return code;
}
