#include "runtime/ort_api.h"

#include "base/text.h"
#include "runtime/symbols.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEVERITY_ERROR = 3, WHAT_MAX = 192, REASON_MAX = 400 };

struct api_base {
    const void *const *(*get_api)(uint32_t version);
    const char *(*get_version)(void);
};

#define ENTRY(slot, since, result, name, parameters)                                               \
    {slot, since, offsetof(struct ort_api, name)},

static const struct {
    uint16_t slot, since;
    size_t offset;
} entries[] = {ORT_FUNCTIONS(ENTRY)};

int ort_release_of(const char *version)
{
    char *end;
    if (!version || strncmp(version, "1.", 2) || version[2] < '0' || version[2] > '9')
        return -1;
    long n = strtol(version + 2, &end, 10);
    return (*end == '.' || !*end) && n < 10000 ? (int)n : -1;
}

static int refuse_version(const char *library, const char *version, struct error *e)
{
    error_set(e, ERROR_UNSUPPORTED, "'%.200s' is ONNX Runtime %.40s", library,
              version ? version : "without a version");
    return error_hint(e, "versions 1.%d and later are known", ORT_MINIMUM);
}

static int find_base(void *handle, const char *library, const struct api_base **base,
                     struct error *e)
{
    const struct api_base *(*get_base)(void) = NULL;
    symbol_take(handle, &(struct symbol){"OrtGetApiBase", &get_base});
    *base = get_base ? get_base() : NULL;
    if (*base)
        return 0;
    return error_set(e, ERROR_UNSUPPORTED, "'%.200s' is not ONNX Runtime: %s", library,
                     get_base ? "OrtGetApiBase gives nothing" : "it has no OrtGetApiBase");
}

/* The table is copied as far as this release reaches: beyond lies other memory of the library. */
static int fill(struct ort_api *api, const void *const *slots, const char *library,
                struct error *e)
{
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        if (api->release < entries[i].since)
            continue;
        const void *function = slots[entries[i].slot];
        if (!function)
            return error_set(e, ERROR_UNSUPPORTED, "'%.200s': ONNX Runtime %.40s has nothing in "
                             "slot %d of its table", library, api->version, entries[i].slot);
        memcpy((char *)api + entries[i].offset, &function, sizeof function);
    }
    return 0;
}

int ort_api_open(struct ort_api *api, const char *library, struct error *e)
{
    const struct api_base *base;
    *api = (struct ort_api){.log.lock = PTHREAD_MUTEX_INITIALIZER};
    api->handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!api->handle) {
        const char *reason = dlerror();
        return error_set(e, ERROR_IO, "cannot load ONNX Runtime: %s", reason ? reason : library);
    }
    int code = find_base(api->handle, library, &base, e);
    if (code)
        return code;
    api->version = base->get_version ? base->get_version() : NULL;
    api->release = ort_release_of(api->version);
    if (api->release < ORT_MINIMUM)
        return refuse_version(library, api->version, e);
    const void *const *slots = base->get_api ? base->get_api((uint32_t)api->release) : NULL;
    if (!slots)
        return error_set(e, ERROR_UNSUPPORTED, "'%.200s': ONNX Runtime %.40s gives no functions "
                         "for version %d", library, api->version, api->release);
    return fill(api, slots, library, e);
}

/* One line of printable text: statuses hold line breaks, and paths of the builder's machine. */
static void copy_line(char *to, size_t size, const char *from)
{
    size_t n = 0;
    for (; *from && n + 1 < size; from++) {
        char c = *from == '\n' || *from == '\r' || *from == '\t' ? ' ' : *from;
        if (c != ' ' || (n && to[n - 1] != ' '))
            to[n++] = c;
    }
    while (n && to[n - 1] == ' ')
        n--;
    to[n] = '\0';
}

/* Behind the bracketed group that begins here; at the end when it is never closed. */
static const char *behind_group(const char *at)
{
    int depth = 0;
    do {
        depth += (*at == '(') - (*at == ')');
        at++;
    } while (*at && depth);
    return at;
}

/* Behind "/builder/file.cc:123 type function(types) ", a lambda's and a const function's too. */
static const char *behind_location(const char *text)
{
    const char *line = *text == '/' ? strstr(text, ".cc:") : NULL;
    const char *at = line ? strchr(line, '(') : NULL;
    if (!at || at[-1] == ' ') /* not a function's brackets */
        return text;
    at = behind_group(at);
    while (text_starts(at, "::<lambda("))
        at = behind_group(at + strlen("::<lambda"));
    at += *at == '>';
    at += text_starts(at, " const ") ? strlen(" const") : 0;
    return *at == ' ' ? at + 1 : text;
}

/* Behind "[ONNXRuntimeError] : 1 : FAIL : ". */
static const char *behind_code(const char *text)
{
    static const char start[] = "[ONNXRuntimeError] : ";
    if (!text_starts(text, start))
        return text;
    const char *number = strstr(text + sizeof start - 1, " : ");
    const char *name = number ? strstr(number + 3, " : ") : NULL;
    return name ? name + 3 : text;
}

/* Many texts begin with both, several times over, which would fill the line before the reason. */
static const char *reason_in(const char *text)
{
    for (;;) {
        const char *next = behind_code(behind_location(text));
        if (next == text)
            return text;
        text = next;
    }
}

void ort_log_write(void *context, int severity, const char *category, const char *id,
                   const char *location, const char *message)
{
    struct ort_log *log = context;
    (void)category;
    (void)id;
    if (severity < SEVERITY_ERROR || !message)
        return;
    pthread_mutex_lock(&log->lock);
    char *line = log->lines[log->count++ % ORT_LOG_LINES];
    copy_line(line, ORT_LOG_LINE_MAX, reason_in(message));
    fprintf(stderr, "onnxruntime: %s: %s\n", location ? location : "?", line);
    pthread_mutex_unlock(&log->lock);
}

void ort_log_clear(struct ort_log *log)
{
    pthread_mutex_lock(&log->lock);
    log->count = 0;
    pthread_mutex_unlock(&log->lock);
}

/* The newest logged errors that say more than the status does, oldest first. */
static void add_logged(struct ort_log *log, const char *status, char *text, size_t size)
{
    pthread_mutex_lock(&log->lock);
    uint64_t first = log->count > ORT_LOG_LINES ? log->count - ORT_LOG_LINES : 0;
    for (uint64_t i = first; i < log->count; i++) {
        const char *line = log->lines[i % ORT_LOG_LINES];
        size_t used = strlen(text);
        if (!strstr(status, line) && !strstr(text, line))
            snprintf(text + used, size - used, "%s; ", line);
    }
    pthread_mutex_unlock(&log->lock);
}

static enum error_code code_of(int status_code, const char *text)
{
    if (strstr(text, "Failed to allocate memory") || strstr(text, "bad_alloc") ||
        strstr(text, "out of memory"))
        return ERROR_MEMORY;
    switch (status_code) {
    case 3: /* no such file */
        return ERROR_IO;
    case 4: /* no model */
    case 7: /* not the wire format */
    case 10: /* not a valid graph */
        return ERROR_FORMAT;
    default:
        return ERROR_UNSUPPORTED;
    }
}

int ort_check(struct ort_api *api, struct ort_status *status, struct error *e, const char *format,
              ...)
{
    char what[WHAT_MAX], text[REASON_MAX], logged[REASON_MAX] = "";
    va_list arguments;
    if (!status)
        return 0;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    const char *said = api->status_text(status);
    copy_line(text, sizeof text, said ? reason_in(said) : "no reason given");
    enum error_code code = code_of(api->status_code(status), text);
    add_logged(&api->log, text, logged, sizeof logged);
    ort_log_clear(&api->log);
    api->release_status(status);
    return error_set(e, code, "ONNX Runtime: %s: %s%s", what, logged, text);
}
