#include "runtime/openmp.h"

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libgomp's idle threads look GOMP_SPINCOUNT times for work before they sleep. Without any spinning
 * each of the 50 or so parallel regions of one inference pays for waking a thread; with the default
 * a core stays busy for milliseconds after a request. "short" is this many looks, about 0.25 ms:
 * they bridge the serial part between two layers and are over before the next request.
 * bench/SPEED.md has figures. Threads are not bound to CPUs (OMP_PROC_BIND), because no other
 * runtime's are by default. */
#define SPIN_COUNT_BETWEEN_LAYERS "10000"
/* One look (a load and a pause instruction) takes 10 to 40 ns on the x86 cores of the last years,
 * 25 measured on an AMD Zen 3: it turns a wish in microseconds into a count, which is recorded. */
enum { SPIN_LOOK_NS = 25, SPIN_MAX_US = 1000000 };

/* "default" -> none set, microseconds -> that many looks. */
static int spin_count(const char *spin, char text[24], struct error *e)
{
    int64_t us;
    text[0] = '\0';
    if (!strcmp(spin, "short") || !strcmp(spin, "off")) {
        snprintf(text, 24, "%s", *spin == 's' ? SPIN_COUNT_BETWEEN_LAYERS : "0");
        return 0;
    }
    if (!strcmp(spin, "default"))
        return 0;
    int code = text_to_int(spin, "spin (short, off, default or microseconds)", 0, SPIN_MAX_US,
                           &us, e);
    if (!code)
        snprintf(text, 24, "%lld", (long long)us * 1000 / SPIN_LOOK_NS);
    return code;
}

int openmp_check_spin(const char *spin, struct error *e)
{
    char text[24];
    return spin_count(spin, text, e);
}

int openmp_variable(json_t *variables, const char *name, const char *value, struct error *e)
{
    return json_object_set_new(variables, name, json_string(value)) ? error_memory(e) : 0;
}

int openmp_environment(const struct adapter_request *r, json_t *variables, struct error *e)
{
    char threads[16], spin[24];
    snprintf(threads, sizeof threads, "%d", r->threads);
    int code = spin_count(r->spin, spin, e);
    if (!code)
        code = openmp_variable(variables, "OMP_NUM_THREADS", threads, e);
    if (!code)
        code = openmp_variable(variables, "OMP_DYNAMIC", "false", e);
    if (!code && spin[0])
        code = openmp_variable(variables, "OMP_WAIT_POLICY", "passive", e);
    if (!code && spin[0])
        code = openmp_variable(variables, "GOMP_SPINCOUNT", spin, e);
    return code;
}

int openmp_settings(json_t *settings, struct error *e)
{
    static const char *const names[] = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (json_object_set_new(settings, names[i], value ? json_string(value) : json_null()))
            return error_memory(e);
    }
    return 0;
}
