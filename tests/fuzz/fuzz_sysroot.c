/* A machine's /proc and /sys: read as a host, as energy counters and twice as a noisy one. The bytes are
 * text: "== PATH" begins a file, "== PATH/" makes a folder, "==" alone is a reading of what is there so
 * far. */
#include "fuzz.h"

#include "base/file.h"
#include "base/clock.h"
#include "host/host.h"
#include "meter/meter.h"

enum { PATH_SIZE = 160, READINGS_MAX = 8, FILES_MAX = 256 };

static char root[PATH_MAX];
static uint64_t now_ns;

static uint64_t clock_ns(void *context)
{
    (void)context;
    return now_ns += 30 * NS_PER_MS;
}

/* ---- the tree ---- */

/* Nothing outside of the tree. */
static int is_path(const char *path)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "_.:-/";
    return path[0] && path[0] != '/' && path[strspn(path, allowed)] == '\0' && !strstr(path, "..");
}

static void put(const char *path, const uint8_t *bytes, size_t size)
{
    char full[PATH_MAX + PATH_SIZE];
    struct error e;
    if (!is_path(path))
        return;
    snprintf(full, sizeof full, "%s/%s", root, path);
    char *slash = strrchr(full, '/');
    *slash = '\0';
    if (file_make_folder(full, &e) || !slash[1])
        return;
    *slash = '/';
    int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) /* a folder is there */
        return;
    FUZZ_NEED(size == 0 || write(fd, bytes, size) == (ssize_t)size);
    close(fd);
}

struct text {
    const uint8_t *at, *end;
};

static const uint8_t *line_end(const struct text *t)
{
    const uint8_t *end = t->at < t->end ? memchr(t->at, '\n', (size_t)(t->end - t->at)) : NULL;
    return end ? end : t->end;
}

static int is_mark(const struct text *t)
{
    return t->end - t->at >= 2 && t->at[0] == '=' && t->at[1] == '=';
}

/* The rest of a line that is a mark. */
static void take_mark(struct text *t, char path[PATH_SIZE])
{
    const uint8_t *end = line_end(t);
    size_t size = (size_t)(end - t->at - 2);
    const uint8_t *from = t->at + 2;
    if (size && *from == ' ') {
        from++;
        size--;
    }
    snprintf(path, PATH_SIZE, "%.*s", (int)(size < PATH_SIZE ? size : 0), (const char *)from);
    t->at = end < t->end ? end + 1 : end;
}

/* Writes the files up to the next reading; 0 at the end of the text. */
static int fill(struct text *t)
{
    for (int files = 0; t->at < t->end && files < FILES_MAX; files++) {
        char path[PATH_SIZE] = "";
        if (is_mark(t)) {
            take_mark(t, path);
            if (!path[0])
                return 1;
        }
        const uint8_t *begin = t->at;
        while (t->at < t->end && !is_mark(t))
            t->at = line_end(t) < t->end ? line_end(t) + 1 : t->end;
        put(path, begin, (size_t)(t->at - begin));
    }
    return 0;
}

/* ---- what reads it ---- */

static void read_host(void)
{
    struct host host;
    struct error e = {0};
    char title[256];
    int code = host_read(&host, root, &e);
    fuzz_check_error(code, e.text);
    if (!code) {
        host_title(&host, title, sizeof title);
        if (strchr(title, '\n'))
            abort();
        char *text = json_dumps(host.fingerprint, 0);
        if (!text)
            abort();
        free(text);
    }
    host_release(&host);
}

struct state {
    struct wattle_meter *meters[2];
    struct wattle_reading before[2][WATTLE_DOMAIN_MAX], after[2][WATTLE_DOMAIN_MAX];
    struct host_noise noise_before, noise_after;
};

static void open_meters(struct state *s)
{
    static const char *const names[] = {"powercap", "estimate"};
    const struct wattle_meter_options options = {
        .size = sizeof options, .sysroot = root, .tdp_w = 65, .cpu_ns = NULL, .now_ns = clock_ns};
    for (int i = 0; i < 2; i++) {
        char error[WATTLE_ERROR_MAX] = "";
        fuzz_check_error(wattle_meter_open(names[i], &options, &s->meters[i], error), error);
        if (s->meters[i])
            wattle_meter_read(s->meters[i], s->before[i]);
    }
    host_noise_read(&s->noise_before, root);
}

static void judge(struct state *s)
{
    json_t *reasons = json_array();
    host_noise_read(&s->noise_after, root);
    host_noise_judge(&s->noise_before, &s->noise_after, 1000, reasons);
    host_noise_judge(&s->noise_before, &s->noise_after, UINT64_MAX, reasons);
    json_decref(reasons);
    for (int i = 0; i < 2; i++) {
        struct wattle_energy energy;
        if (!s->meters[i])
            continue;
        wattle_meter_read(s->meters[i], s->after[i]);
        wattle_meter_energy(s->meters[i], s->before[i], s->after[i], &energy);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text t = {data, data + size};
    struct state *s = calloc(1, sizeof *s);
    FUZZ_NEED(s);
    snprintf(root, sizeof root, "%s", fuzz_path("tree"));
    mkdir(root, 0755);
    now_ns = NS_PER_S;
    int more = fill(&t);
    read_host();
    open_meters(s);
    for (int i = 0; more && i < READINGS_MAX; i++) {
        more = fill(&t);
        judge(s);
    }
    judge(s);
    for (int i = 0; i < 2; i++)
        wattle_meter_close(s->meters[i]);
    free(s);
    fuzz_remove(root);
    return 0;
}
