/* doctor.c: read-only: what this machine is, what it can measure, what it can run. */
#include "base/text.h"
#include "cmd/cmd.h"
#include "host/host.h"
#include "model/zoo.h"
#include "runtime/found.h"

#include <wattle/meter.h>

#include <string.h>
#include <sys/stat.h>

static void print_host(const struct host *h)
{
    char title[192], memory[16];
    host_title(h, title, sizeof title);
    text_bytes(h->memory_bytes, memory);
    printf("host      %s, %s memory\n", title, memory);
    printf("          %s, %s\n", h->os[0] ? h->os : "unknown system", h->kernel);
    printf("          vector extension %s, governor %s, turbo %s\n", h->isa[0] ? h->isa : "unknown",
           h->governor[0] ? h->governor : "unknown",
           h->turbo < 0 ? "unknown" : h->turbo ? "on" : "off");
}

static void print_domain(const char *meter, const struct wattle_domain *d)
{
    printf("  %-10s %-14s %-7s %-10s%s", meter, d->name, wattle_status_name(d->status),
           wattle_provenance_name(d->provenance), d->scope[0] ? "\n             " : "");
    options_wrap(d->scope, 13, stdout);
    if (d->text[0]) {
        printf("%13s", "");
        options_wrap(d->text, 13, stdout);
    }
}

/* Returns 1 when the meter gives measured joules. */
static int print_meter(const char *name, const struct wattle_meter_options *options)
{
    struct wattle_meter *meter;
    char error[WATTLE_ERROR_MAX];
    if (wattle_meter_open(name, options, &meter, error)) {
        printf("  %-10s %s\n", name, error);
        return 0;
    }
    int measured = 0;
    size_t count = wattle_meter_domain_count(meter);
    for (size_t i = 0; i < count; i++) {
        const struct wattle_domain *d = wattle_meter_domain(meter, i);
        print_domain(name, d);
        measured |= d->provenance == WATTLE_MEASURED;
    }
    measured &= wattle_meter_usable(meter);
    struct wattle_estimate_box box;
    if (!wattle_meter_estimate_box(meter, &box))
        printf("%13sJ = a x wall + b x CPU-seconds, a %g..%g W, b %g..%g W\n", "", box.a_low_w,
               box.a_high_w, box.b_low_w, box.b_high_w);
    wattle_meter_close(meter);
    return measured;
}

static void print_meters(const struct wattle_meter_options *options)
{
    int measured = 0;
    printf("\nenergy\n");
    for (const char *const *name = wattle_meter_names(); *name; name++)
        measured |= print_meter(*name, options);
    printf("  %s\n", measured ? "energy is measured here"
                              : "no energy counter: joules are estimates, ratios between cells of "
                                "this machine are not");
}

static int print_runtimes(struct error *e)
{
    struct found_list list;
    int result = found_search(&list, e);
    if (result)
        return result;
    printf("\nruntimes\n");
    runtimes_print_found(&list);
    runtimes_print_gpus();
    found_release(&list);
    return 0;
}

static void print_models(void)
{
    size_t count;
    const struct zoo_model *zoo = zoo_models(&count);
    printf("\nmodels\n");
    for (size_t i = 0; i < count; i++)
        printf("  %-14s %s\n", zoo[i].name,
               zoo_cached(&zoo[i]) ? "built" : "built when first used");
}

int cmd_doctor(const struct option_list *options, struct error *e)
{
    struct wattle_meter_options meter = {.size = sizeof meter,
                                         .sysroot = options_last(options, OPTION_SYSROOT, "")};
    const char *tdp = options_last(options, OPTION_TDP, NULL);
    struct host host;
    struct stat st;
    if (options->operand_count)
        return error_set(e, ERROR_USAGE, "doctor takes no operand '%s'", options->operands[0]), 0;
    if (*meter.sysroot && (stat(meter.sysroot, &st) || !S_ISDIR(st.st_mode)))
        return error_set(e, ERROR_USAGE, "sysroot '%s' is not a folder", meter.sysroot), 0;
    if (tdp && text_to_double(tdp, "tdp", 0.1, 100000, &meter.tdp_w, e))
        return 0;
    if (host_read(&host, meter.sysroot, e))
        return 0;
    print_host(&host);
    print_meters(&meter);
    if (!print_runtimes(e))
        print_models();
    host_release(&host);
    return 0;
}
