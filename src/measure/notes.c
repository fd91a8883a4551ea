#include "measure/notes.h"

#include "base/file.h"
#include "measure/measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Two times this and more is not held for a note. */
#define OUTPUTS_MAX_BYTES ((uint64_t)1 << 28)
/* What allocators keep and give back between two runs is less than one of these. */
#define GROWTH_BYTES ((uint64_t)64 << 20)
enum { GROWTH_PART = 10, TEXT_MAX = 256 };

static void add(struct record *r, const char *text)
{
    json_array_append_new(r->reasons, json_string(text));
}

/* The detail goes on with the two numbers, which differ from block to block and are of no use. */
static void tell_difference(const struct agreement *a, struct record *r)
{
    char text[TEXT_MAX];
    const char *end = strstr(a->detail, " is ");
    snprintf(text, sizeof text, "two runs on the same inputs gave different outputs%s%.*s: the "
             "model draws random numbers, or keeps a state", end ? ", first in " : "",
             end ? (int)(end - a->detail) : 0, a->detail);
    add(r, text);
}

/* NaN agrees with NaN, so no comparison tells of it. */
static void tell_nothing_finite(const struct measure_outputs *x, struct record *r)
{
    char text[TEXT_MAX], more[40] = "";
    const char *name = NULL;
    size_t count = 0;
    for (size_t i = 0; i < x->count; i++) {
        size_t elements = (size_t)shape_elements(&x->outputs[i].tensor.shape);
        if (!elements || measure_not_finite(&x->outputs[i].tensor) < elements)
            continue;
        name = name ? name : x->outputs[i].name;
        count++;
    }
    if (count > 1)
        snprintf(more, sizeof more, ", and of %zu more,", count - 1);
    snprintf(text, sizeof text, "outputs of '%.100s'%s hold no finite number: what is computed is "
             "NaN or infinite throughout", name ? name : "", more);
    if (name)
        add(r, text);
}

void note_outputs(struct session *s, struct record *r)
{
    struct measure_outputs once = {0}, again = {0};
    struct agreement agreement;
    struct error ignored;
    if (!session_outputs(s, OUTPUTS_MAX_BYTES, &once, &ignored))
        tell_nothing_finite(&once, r);
    if (once.count && !session_outputs(s, OUTPUTS_MAX_BYTES, &again, &ignored)) {
        measure_agree(&once, &again, MEASURE_TOLERANCE, &agreement);
        if (!agreement.ok)
            tell_difference(&agreement, r);
    }
    measure_outputs_release(&once);
    measure_outputs_release(&again);
}

uint64_t note_memory(const struct worker *w)
{
    char path[32], text[128];
    long page = sysconf(_SC_PAGESIZE);
    snprintf(path, sizeof path, "/proc/%d/statm", (int)worker_pid(w));
    if (page <= 0 || file_read_text(path, text, sizeof text))
        return 0;
    const char *resident = strchr(text, ' '); /* behind the size of all that is mapped */
    return resident ? strtoull(resident, NULL, 10) * (uint64_t)page : 0;
}

void note_growth(uint64_t before_bytes, uint64_t after_bytes, struct record *r)
{
    char text[TEXT_MAX];
    if (!before_bytes || after_bytes < before_bytes + GROWTH_BYTES ||
        after_bytes < before_bytes + before_bytes / GROWTH_PART)
        return;
    snprintf(text, sizeof text, "the worker's memory grew by %.0f MB within the window: the model "
             "may keep something of every run", (double)(after_bytes - before_bytes) / 1e6);
    add(r, text);
}
