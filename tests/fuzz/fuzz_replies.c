/* Lines that a worker sends to wattle: to a whole block, to a comparison of outputs (the bytes begin with
 * "o") or to the checker of the protocol (with "c"). tests/tools/worker_of_lines.c says them. */
#include "fuzz.h"

#include "base/clock.h"
#include "measure/measure.h"
#include "worker/check.h"

#define TOOL "../tools/worker_of_lines"

/* This program is BUILD/tests/x or BUILD/fuzz/x. */
static const char *tool(void)
{
    static char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - sizeof TOOL);
    FUZZ_NEED(n > 0);
    path[n] = '\0';
    strcpy(strrchr(path, '/') + 1, TOOL);
    FUZZ_NEED(!access(path, X_OK));
    return path;
}

static void set_cell(struct cell *c, const char *lines)
{
    *c = (struct cell){.model = "none", .runtime = "worker", .provider = "", .precision = "f32",
                       .spin = "short", .batch = 1, .threads = 1, .instances = 1};
    FUZZ_NEED((size_t)snprintf(c->command, sizeof c->command, "%s %s", tool(), lines) <
              sizeof c->command);
}

static void set_options(struct measure_options *o)
{
    measure_defaults(o);
    o->duration_ns = NS_PER_MS;
    o->min_runs = 1;
    o->warmup_min_ns = NS_PER_MS;
    o->warmup_max_ns = 10 * NS_PER_MS;
    o->timeout_ns = NS_PER_S;
    o->input_sets = 2;
    o->sysroot = fuzz_path("nothing"); /* no counters: what they say is another target's */
}

static void block(const struct cell *c, const struct measure_options *o)
{
    struct record r;
    struct error e = {0};
    fuzz_check_error(measure_block(c, 1, o, &r, &e), e.text);
    fuzz_check_error((int)r.error.code, r.error.text);
    record_release(&r);
}

static void outputs(const struct cell *c, const struct measure_options *o)
{
    struct measure_outputs out;
    struct agreement agreement;
    struct error e = {0};
    int code = measure_outputs(c, o, &out, &e);
    fuzz_check_error(code, e.text);
    if (!code)
        measure_agree(&out, &out, MEASURE_TOLERANCE, &agreement);
    measure_outputs_release(&out);
}

static void check_line(void *context, enum check_result result, const char *text)
{
    (void)context;
    fuzz_check_error((int)result + 1, text);
}

static void check(const char *lines)
{
    const char *const argv[] = {tool(), lines, NULL};
    const struct check_options o = {
        .argv = argv, .model = "", .timeout_ns = NS_PER_S / 2, .tell = check_line};
    struct check_summary summary;
    struct error e = {0};
    fuzz_check_error(check_worker(&o, &summary, &e), e.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct cell c;
    struct measure_options o;
    char what = size ? (char)data[0] : 'b';
    int skip = what == 'o' || what == 'c';
    const char *lines = fuzz_path("lines");
    fuzz_write(lines, data + skip, size - (size_t)skip);
    set_cell(&c, lines);
    set_options(&o);
    if (what == 'c')
        check(lines);
    else if (what == 'o')
        outputs(&c, &o);
    else
        block(&c, &o);
    return 0;
}
