/* The estimate: joules where no counter is, as an interval and never as a measurement.
 *
 *     E = a x wall + b x cpu      a in W for as long as the machine is up,
 *                                 b in W for each core that is busy
 *
 * (a, b) is a box. It is a stated range, not a confidence interval: nobody has drawn machines at
 * random. Public load-to-power models miss published counter readings by 28 to 51 % in the median
 * and by -81 to +531 % at worst, which is why one number would be a pretence. The box comes from:
 *
 *  b  Thermal design power over cores, from the makers' data sheets: 3.5 W (EPYC 7742, 225/64),
 *     4.4 W (EPYC 7763, 280/64), 6.3 W (Xeon 8480+, 350/56), 6.8 W (Xeon 8380, 270/40), 7.5 W
 *     (Xeon 6248, 150/20), 8.6 W (Xeon E5-2680 v4, 120/14), 13 W (Ryzen 7700X, 105/8; its power
 *     limit of 142 W makes 17.8). That is the power with all cores busy and includes what a
 *     counts, so the lowest figures are a little high for b; one core busy alone clocks higher
 *     and takes more than its share. Hence 5 to 17 W: server cores at the lower end, a desktop
 *     core at its limit at the upper.
 *
 *  a  A package with idle cores still runs its caches, fabric and memory controllers: 2 to 5 W in
 *     laptops, some 10 to 30 W in desktops, and a fifth to two fifths of the design power, 50 to
 *     100 W, in servers: about 1 to 1.5 W for each of their cores. A small virtual machine is
 *     charged a share of that. Hence 2 to 15 W, and 1.5 W a core at the upper end from 10 cores.
 *     These idle figures are orders of magnitude from experience, not data-sheet values.
 *
 *  With --tdp P for N cores the same reasoning is scaled: a from 0.05 P (deep idle of a laptop)
 *  to 0.4 P (a server's idle share); b from 0.4 P/N (the rest being a's) to 2.5 P/N (one core busy
 *  alone at its highest clock), but above 17 W only where 1.3 P/N (limits above the TDP) is.
 *
 * Memory, disks, fans and power supplies are not in it.
 */
#include "meter/meter.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct estimate {
    struct wattle_estimate_box box;
    int stat_fd;        /* /proc/stat, or -1 with a caller's cpu_ns */
    double tick_ns;     /* of /proc/stat */
    uint64_t last_wall_ns, last_cpu_ns;
    uint64_t wall_ns, cpu_ns; /* since open; only ever grow */
    uint32_t gaps;
};

static double least(double x, double y)
{
    return x < y ? x : y;
}

static double most(double x, double y)
{
    return x > y ? x : y;
}

static struct wattle_estimate_box make_box(double tdp_w, int cores)
{
    struct wattle_estimate_box box = {.a_low_w = 2, .a_high_w = most(15, 1.5 * cores),
                                      .b_low_w = 5, .b_high_w = 17};
    if (tdp_w > 0) {
        double share_w = tdp_w / cores;
        box.a_low_w = 0.05 * tdp_w;
        box.a_high_w = 0.4 * tdp_w;
        box.b_low_w = 0.4 * share_w;
        box.b_high_w = least(2.5 * share_w, most(17, 1.3 * share_w));
        snprintf(box.source, sizeof box.source, "--tdp %g over %d core%s", tdp_w, cores,
                 cores == 1 ? "" : "s");
    } else {
        snprintf(box.source, sizeof box.source,
                 "generic range (no counter, no --tdp): %g-%g W + %g-%g W per busy core",
                 box.a_low_w, box.a_high_w, box.b_low_w, box.b_high_w);
    }
    return box;
}

/* "cpu  user nice system idle iowait irq softirq steal ...": busy is all but idle, iowait (nothing
 * ran) and steal (something else ran). Guest time is part of user. */
static int parse_busy(const char *text, uint64_t *ticks)
{
    static const int busy[] = {1, 1, 1, 0, 0, 1, 1};
    if (strncmp(text, "cpu ", 4))
        return -EBADMSG;
    const char *p = text + 4;
    *ticks = 0;
    for (size_t i = 0; i < sizeof busy / sizeof *busy; i++) {
        p += strspn(p, " ");
        size_t digits = strspn(p, "0123456789");
        uint64_t value;
        if (meter_parse_value(p, digits, &value))
            return i >= 3 && !digits ? 0 : -EBADMSG; /* ancient kernels end after idle */
        *ticks += busy[i] ? value : 0;
        p += digits;
    }
    return 0;
}

static int read_cpu_ns(const struct wattle_meter *m, const struct estimate *s, uint64_t *cpu_ns)
{
    if (m->options.cpu_ns) {
        *cpu_ns = m->options.cpu_ns(m->options.cpu_context);
        return 0;
    }
    char text[256];
    uint64_t ticks = 0;
    int code = meter_file_pread(s->stat_fd, text, sizeof text);
    if (code >= 0)
        code = parse_busy(text, &ticks);
    *cpu_ns = (uint64_t)((double)ticks * s->tick_ns);
    return code;
}

/* W x ns is nJ. */
static uint64_t energy_uj(const struct estimate *s, double a_w, double b_w)
{
    return (uint64_t)((a_w * (double)s->wall_ns + b_w * (double)s->cpu_ns) / 1000);
}

static void estimate_read(struct wattle_meter *m, struct wattle_reading *out)
{
    struct estimate *s = m->state;
    uint64_t now_ns = meter_now_ns(m), cpu_ns;
    *out = (struct wattle_reading){.status = m->domains[0].status, .time_ns = now_ns};
    if (out->status != WATTLE_OK)
        return;
    if (read_cpu_ns(m, s, &cpu_ns)) {
        out->status = WATTLE_ERROR; /* the totals wait for the next good read, which catches up */
    } else {
        s->wall_ns += now_ns > s->last_wall_ns ? now_ns - s->last_wall_ns : 0;
        s->cpu_ns += cpu_ns > s->last_cpu_ns ? cpu_ns - s->last_cpu_ns : 0;
        if (cpu_ns < s->last_cpu_ns) { /* another process, or a CPU taken away */
            s->gaps++;
            m->counters[0].gap = COUNTER_GAP_BACK;
        }
        s->last_wall_ns = now_ns;
        s->last_cpu_ns = cpu_ns;
    }
    const struct wattle_estimate_box *b = &s->box;
    out->low_uj = energy_uj(s, b->a_low_w, b->b_low_w);
    out->high_uj = energy_uj(s, b->a_high_w, b->b_high_w);
    out->total_uj = energy_uj(s, (b->a_low_w + b->a_high_w) / 2, (b->b_low_w + b->b_high_w) / 2);
    out->gaps = s->gaps;
}

static void open_stat(struct wattle_meter *m, struct estimate *s, struct wattle_domain *d)
{
    char path[PATH_MAX];
    int code = meter_path(path, m->sysroot, "/proc/stat");
    snprintf(d->path, sizeof d->path, "%.*s", (int)sizeof d->path - 1, path);
    if (!code)
        code = s->stat_fd = meter_file_open(path);
    uint64_t cpu_ns;
    if (code >= 0)
        code = read_cpu_ns(m, s, &cpu_ns);
    if (code >= 0)
        return;
    d->status = code == -ENOENT ? WATTLE_ABSENT : WATTLE_ERROR;
    meter_text(d, "no CPU time to estimate from: /proc/stat: %s", meter_reason(code));
}

static int estimate_open(struct wattle_meter *m)
{
    struct estimate *s = m->state = calloc(1, sizeof *s);
    if (!s)
        return ERROR_MEMORY;
    struct meter_cpu cpu;
    meter_cpu_read(&cpu, m->sysroot);
    double tdp_w = m->options.tdp_w;
    s->box = make_box(tdp_w > 0 && tdp_w < 1e6 ? tdp_w : 0, cpu.cores);
    s->stat_fd = -1;
    s->tick_ns = 1e9 / (double)sysconf(_SC_CLK_TCK);
    struct wattle_domain *d = meter_add(m, "estimate");
    d->provenance = WATTLE_ESTIMATED;
    snprintf(d->scope, sizeof d->scope, "CPU packages, modelled from time and CPU time%s",
             m->options.cpu_ns ? " of the worker" : " of the whole machine");
    if (!m->options.cpu_ns) {
        d->resolution_uj = s->box.b_high_w * s->tick_ns / 1000; /* one tick of one core */
        open_stat(m, s, d);
    }
    snprintf(m->note, sizeof m->note, "%.*s", (int)sizeof m->note - 1, s->box.source);
    s->last_wall_ns = meter_now_ns(m);
    if (d->status == WATTLE_OK && read_cpu_ns(m, s, &s->last_cpu_ns))
        d->status = WATTLE_ERROR;
    return 0;
}

static void estimate_close(struct wattle_meter *m)
{
    struct estimate *s = m->state;
    if (s && s->stat_fd >= 0)
        close(s->stat_fd);
    free(s);
}

int wattle_meter_estimate_box(const struct wattle_meter *meter, struct wattle_estimate_box *out)
{
    if (meter->driver != &meter_estimate)
        return ENOENT;
    *out = ((const struct estimate *)meter->state)->box;
    return 0;
}

const struct meter_driver meter_estimate = {
    .name = "estimate",
    .open = estimate_open,
    .read = estimate_read,
    .close = estimate_close,
};
