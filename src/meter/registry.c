#include "meter/meter.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The two clocks are read one after the other: a smaller difference is the time between. */
#define SUSPEND_NS (100 * NS_PER_MS)

#define METER_NAME(id) #id,
#define METER_DRIVER(id) &meter_##id,

static const char *const names[] = {METERS(METER_NAME) NULL};
static const struct meter_driver *const drivers[] = {METERS(METER_DRIVER)
                                                         METERS_UNLISTED(METER_DRIVER)};

const char *const *wattle_meter_names(void)
{
    return names;
}

const char *wattle_status_name(enum wattle_status status)
{
    static const char *const texts[] = {
        [WATTLE_OK] = "OK",         [WATTLE_PERM] = "PERM",   [WATTLE_ABSENT] = "ABSENT",
        [WATTLE_MASKED] = "MASKED", [WATTLE_STUCK] = "STUCK", [WATTLE_RESET] = "RESET",
        [WATTLE_ERROR] = "ERROR",
    };
    unsigned i = (unsigned)status;
    return i < sizeof texts / sizeof *texts ? texts[i] : "UNKNOWN";
}

const char *wattle_provenance_name(enum wattle_provenance provenance)
{
    static const char *const texts[] = {
        [WATTLE_NONE] = "none",
        [WATTLE_MEASURED] = "measured",
        [WATTLE_INTEGRATED] = "integrated",
        [WATTLE_ESTIMATED] = "estimated",
    };
    unsigned i = (unsigned)provenance;
    return i < sizeof texts / sizeof *texts ? texts[i] : "unknown";
}

uint64_t meter_now_ns(const struct wattle_meter *meter)
{
    return meter->options.now_ns ? meter->options.now_ns(meter->options.now_context)
                                 : clock_monotonic_ns();
}

struct wattle_domain *meter_add(struct wattle_meter *meter, const char *name)
{
    if (meter->count == WATTLE_DOMAIN_MAX)
        return NULL;
    struct wattle_domain *domain = &meter->domains[meter->count++];
    *domain = (struct wattle_domain){.status = WATTLE_OK, .in_total = 1};
    snprintf(domain->name, sizeof domain->name, "%s", name);
    return domain;
}

void meter_text(struct wattle_domain *domain, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(domain->text, sizeof domain->text, format, args);
    va_end(args);
}

void meter_add_missing(struct wattle_meter *meter, const char *path, enum wattle_status status,
                       const char *format, ...)
{
    struct wattle_domain *domain = meter_add(meter, meter->driver->name);
    if (!domain)
        return;
    domain->status = status;
    snprintf(domain->path, sizeof domain->path, "%s", path);
    va_list args;
    va_start(args, format);
    vsnprintf(domain->text, sizeof domain->text, format, args);
    va_end(args);
}

__attribute__((format(printf, 3, 4)))
static int fail(char *error, int code, const char *format, ...)
{
    if (error) {
        va_list args;
        va_start(args, format);
        vsnprintf(error, WATTLE_ERROR_MAX, format, args);
        va_end(args);
    }
    return code;
}

static const struct meter_driver *find(const char *name)
{
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++)
        if (!strcmp(drivers[i]->name, name))
            return drivers[i];
    return NULL;
}

/* Later versions append to the struct: a caller older than us gave a prefix, a newer one must not
 * have set what we do not know. */
static int take_options(struct wattle_meter_options *to, const struct wattle_meter_options *from)
{
    *to = (struct wattle_meter_options){.size = sizeof *to};
    if (!from)
        return 0;
    if (from->size < offsetof(struct wattle_meter_options, tdp_w))
        return -1;
    const unsigned char *bytes = (const unsigned char *)from;
    for (size_t i = sizeof *to; i < from->size; i++)
        if (bytes[i])
            return -1;
    memcpy(to, from, from->size < sizeof *to ? from->size : sizeof *to);
    to->size = sizeof *to;
    return 0;
}

/* CLOCK_BOOTTIME runs on while the machine sleeps, CLOCK_MONOTONIC does not. */
static uint64_t suspended_ns(const struct wattle_meter *meter)
{
    uint64_t now_ns = meter_now_ns(meter);
    uint64_t boot_ns = meter->boot_ns ? meter->boot_ns() : now_ns;
    return boot_ns > now_ns ? boot_ns - now_ns : 0;
}

static int build(struct wattle_meter *meter, const struct wattle_meter_options *options)
{
    meter->sysroot = strdup(options->sysroot ? options->sysroot : "");
    if (!meter->sysroot)
        return ERROR_MEMORY;
    meter->options = *options;
    meter->options.sysroot = meter->sysroot;
    meter->boot_ns = options->now_ns ? NULL : clock_boottime_ns;
    meter->suspended_ns = suspended_ns(meter);
    return meter->driver->open(meter);
}

static void list_names(char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; names[i] && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "", names[i]);
}

int wattle_meter_open(const char *name, const struct wattle_meter_options *options,
                      struct wattle_meter **out, char *error)
{
    *out = NULL;
    const struct meter_driver *driver = find(name);
    if (!driver) {
        char known_names[128];
        list_names(known_names, sizeof known_names);
        return fail(error, ERROR_USAGE, "unknown meter '%.60s': known are %s", name, known_names);
    }
    struct wattle_meter_options known;
    if (take_options(&known, options))
        return fail(error, ERROR_USAGE, "meter options have size %zu and fields this version (%zu) "
                                   "does not know", options->size, sizeof known);
    struct wattle_meter *meter = calloc(1, sizeof *meter);
    if (!meter)
        return fail(error, ERROR_MEMORY, "cannot open meter '%s': out of memory", name);
    meter->driver = driver;
    int code = build(meter, &known);
    if (code) {
        wattle_meter_close(meter);
        return fail(error, code, "cannot open meter '%s': out of memory", name);
    }
    *out = meter;
    return 0;
}

void wattle_meter_close(struct wattle_meter *meter)
{
    if (!meter)
        return;
    meter->driver->close(meter);
    free(meter->sysroot);
    free(meter);
}

const char *wattle_meter_name(const struct wattle_meter *meter)
{
    return meter->driver->name;
}

size_t wattle_meter_domain_count(const struct wattle_meter *meter)
{
    return meter->count;
}

const struct wattle_domain *wattle_meter_domain(const struct wattle_meter *meter, size_t index)
{
    return index < meter->count ? &meter->domains[index] : NULL;
}

int wattle_meter_usable(const struct wattle_meter *meter)
{
    int in_total = 0;
    for (size_t i = 0; i < meter->count; i++) {
        if (!meter->domains[i].in_total)
            continue;
        in_total = 1;
        if (meter->domains[i].status != WATTLE_OK)
            return 0;
    }
    return in_total;
}

/* A counter may have lost its value in a suspend, or counted energy that no clock saw. */
static void check_suspend(struct wattle_meter *meter)
{
    uint64_t now_suspended_ns = suspended_ns(meter);
    if (now_suspended_ns > meter->suspended_ns + SUSPEND_NS)
        for (size_t i = 0; i < meter->count; i++)
            if (meter->counters[i].primed)
                counter_interrupt(&meter->counters[i], COUNTER_GAP_SUSPEND);
    meter->suspended_ns = now_suspended_ns;
}

void wattle_meter_read(struct wattle_meter *meter, struct wattle_reading *out)
{
    if (meter->boot_ns)
        check_suspend(meter);
    meter->driver->read(meter, out);
}

uint64_t wattle_meter_poll_ns(const struct wattle_meter *meter)
{
    return meter->poll_ns;
}
