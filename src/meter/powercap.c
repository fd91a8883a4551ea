/* RAPL through Linux powercap: /sys/class/powercap/intel-rapl:*, on Intel and AMD.
 *
 * Zones are told apart by their `name` file: the index in the id (hexadecimal) says nothing. The
 * sum is packages + drams. core and uncore lie inside a package and psys around it, so these are
 * information. */
#include "meter/meter.h"

#include "base/clock.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOT "/sys/class/powercap"

/* RAPL refreshes its counters about every millisecond. */
#define PERIOD_NS NS_PER_MS
/* However long a counter takes to wrap: this often, so that a reset is seen as one. */
#define POLL_NS (10 * NS_PER_S)
/* No real counter wraps earlier; the smallest range known is 65 kJ. */
#define LEAST_RANGE_UJ 1000000000ull
#define RAW_MAX 4294967295ull /* counters are 32 bits of the unit */

enum { ZONE_MAX = 256, ID_SIZE = 40, NAME_SIZE = 48 };

enum kind { KIND_PACKAGE, KIND_DRAM, KIND_UNKNOWN, KIND_PSYS, KIND_CORE, KIND_UNCORE, KIND_OTHER };

struct zone {
    char id[ID_SIZE];     /* "intel-rapl:a:0" */
    char name[NAME_SIZE]; /* as read: "package-10", "dram" */
    enum kind kind;
    int mmio;
    int code;             /* why the name could not be read */
    int package, die;     /* of the zone or its parent; die -1 none */
};

/* Two dies of one AMD package, which show one socket's counter twice. */
struct mirror {
    size_t keep, twin;
    int running;          /* a window has begun */
    uint64_t keep_uj, twin_uj, begin_ns;
    int windows, equal;
};
enum { MIRROR_WINDOWS = 3 };
#define MIRROR_WINDOW_NS (50 * NS_PER_MS)
/* Both dies are read within microseconds but may differ by an update (1 ms of 50) at either end.
 * Only AMD's dies are compared: there the register is known to be the socket's. */
#define MIRROR_TOLERANCE 0.05

struct powercap {
    struct meter_cpu cpu;
    size_t zone_count;
    struct zone zones[ZONE_MAX];
    int fds[WATTLE_DOMAIN_MAX];
    int fd_count;
    uint64_t unit_nj[WATTLE_DOMAIN_MAX]; /* 0 unknown */
    uint64_t scale[WATTLE_DOMAIN_MAX];   /* the unit in nJ that should have been taken, 0 none */
    struct mirror mirrors[WATTLE_DOMAIN_MAX];
    size_t mirror_count;
};

/* intel-rapl(-mmio)?(:[0-9a-f]+){1,2}; returns the number of parts after the type, 0 for no. */
static int id_level(const char *id, int *mmio)
{
    static const char msr[] = "intel-rapl", with_mmio[] = "intel-rapl-mmio";
    *mmio = !strncmp(id, with_mmio, sizeof with_mmio - 1);
    if (!*mmio && strncmp(id, msr, sizeof msr - 1))
        return 0;
    const char *p = id + (*mmio ? sizeof with_mmio : sizeof msr) - 1;
    int level = 0;
    while (*p == ':') {
        size_t digits = strspn(++p, "0123456789abcdef");
        if (!digits)
            return 0;
        p += digits;
        level++;
    }
    return *p || level > 2 || strlen(id) >= ID_SIZE ? 0 : level;
}

static const char *small_number(const char *p, int *out)
{
    int value = 0, digits = 0;
    for (; isdigit((unsigned char)*p) && digits < 5; digits++)
        value = value * 10 + (*p++ - '0');
    *out = value;
    return digits ? p : "?";
}

/* "package-0", "package-1-die-3" */
static int parse_package(const char *name, int *package, int *die)
{
    *die = -1;
    if (strncmp(name, "package-", 8))
        return 0;
    const char *p = small_number(name + 8, package);
    if (!strncmp(p, "-die-", 5))
        p = small_number(p + 5, die);
    return *p == '\0';
}

static enum kind kind_of(const struct zone *z, int level)
{
    static const struct {
        const char *name;
        enum kind kind;
    } children[] = {{"dram", KIND_DRAM}, {"core", KIND_CORE}, {"uncore", KIND_UNCORE}};
    int package, die;
    if (level == 1)
        return parse_package(z->name, &package, &die) ? KIND_PACKAGE
               : !strcmp(z->name, "psys")             ? KIND_PSYS
                                                      : KIND_OTHER;
    for (size_t i = 0; i < sizeof children / sizeof *children; i++)
        if (!strcmp(z->name, children[i].name))
            return children[i].kind;
    return KIND_OTHER;
}

static int zone_path(char out[PATH_MAX], const char *sysroot, const char *id, const char *file)
{
    int n = snprintf(out, PATH_MAX, "%s" ROOT "/%s%s%s", sysroot, id, file ? "/" : "",
                     file ? file : "");
    return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static int read_name(const char *sysroot, const char *id, char name[NAME_SIZE])
{
    char path[PATH_MAX];
    int code = zone_path(path, sysroot, id, "name");
    return code ? code : meter_path_line(path, name, NAME_SIZE);
}

static void identify(const char *sysroot, struct zone *z)
{
    int level = id_level(z->id, &z->mmio);
    z->die = -1;
    z->code = read_name(sysroot, z->id, z->name);
    z->kind = z->code ? KIND_UNKNOWN : kind_of(z, level);
    if (z->kind == KIND_PACKAGE)
        parse_package(z->name, &z->package, &z->die);
    if (z->kind != KIND_DRAM && z->kind != KIND_CORE && z->kind != KIND_UNCORE)
        return;
    char parent[ID_SIZE], name[NAME_SIZE];
    snprintf(parent, sizeof parent, "%s", z->id);
    *strrchr(parent, ':') = '\0';
    z->code = read_name(sysroot, parent, name);
    if (!z->code && parse_package(name, &z->package, &z->die))
        return;
    /* Memory of nobody knows what must not be left out of the sum in silence. */
    z->kind = z->kind == KIND_DRAM ? KIND_UNKNOWN : KIND_OTHER;
    z->code = z->code ? z->code : -EBADMSG;
}

/* Returns 0, or the negative errno of the folder; *entries counts whatever is in it. */
static int scan(struct powercap *p, const char *root, int *entries)
{
    *entries = 0;
    DIR *folder = opendir(root);
    if (!folder)
        return -errno;
    int code = 0, mmio;
    const struct dirent *entry;
    while (!code && (entry = readdir(folder))) {
        *entries += entry->d_name[0] != '.';
        if (!id_level(entry->d_name, &mmio))
            continue;
        if (p->zone_count == ZONE_MAX)
            code = -E2BIG;
        else
            snprintf(p->zones[p->zone_count++].id, ID_SIZE, "%.*s", ID_SIZE - 1, entry->d_name);
    }
    closedir(folder);
    return code;
}

/* Links that lead nowhere: containers mask the folder behind them. */
static int all_hidden(const struct powercap *p, const char *sysroot)
{
    for (size_t i = 0; i < p->zone_count; i++) {
        char path[PATH_MAX];
        struct stat st;
        if (zone_path(path, sysroot, p->zones[i].id, NULL) || !stat(path, &st) || errno != ENOENT)
            return 0;
    }
    return 1;
}

static int compare(const void *left, const void *right)
{
    const struct zone *a = left, *b = right;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->package != b->package)
        return a->package < b->package ? -1 : 1;
    if (a->die != b->die)
        return a->die < b->die ? -1 : 1;
    if (a->mmio != b->mmio)
        return a->mmio - b->mmio;
    return strcmp(a->id, b->id);
}

static int same_name(const struct zone *a, const struct zone *b)
{
    return a->kind == b->kind && a->kind != KIND_OTHER && a->kind != KIND_UNKNOWN &&
           a->package == b->package && a->die == b->die;
}

static void domain_name(const struct zone *z, char name[NAME_SIZE])
{
    static const char *const texts[] = {[KIND_PACKAGE] = "package", [KIND_DRAM] = "dram",
                                        [KIND_CORE] = "core", [KIND_UNCORE] = "uncore"};
    if (z->kind == KIND_PSYS)
        snprintf(name, NAME_SIZE, "psys");
    else if (z->kind == KIND_UNKNOWN || z->kind == KIND_OTHER)
        snprintf(name, NAME_SIZE, "%s", z->id);
    else if (z->die < 0)
        snprintf(name, NAME_SIZE, "%s-%d", texts[z->kind], z->package);
    else
        snprintf(name, NAME_SIZE, "%s-%d-die-%d", texts[z->kind], z->package, z->die);
}

static void domain_scope(const struct zone *z, struct wattle_domain *d)
{
    static const char *const formats[] = {
        [KIND_PACKAGE] = "CPU package %d with its cores",
        [KIND_DRAM] = "memory of CPU package %d",
        [KIND_UNKNOWN] = "unknown",
        [KIND_PSYS] = "whole platform; information, not in the sum",
        [KIND_CORE] = "cores of CPU package %d; inside the package",
        [KIND_UNCORE] = "uncore (often the GPU) of CPU package %d; inside the package",
        [KIND_OTHER] = "unknown; not in the sum",
    };
    char *end = d->scope;
    const char *format = formats[z->kind], *number = strstr(format, "%d");
    size_t size = sizeof d->scope;
    if (!number)
        snprintf(end, size, "%s", format);
    else
        snprintf(end, size, "%.*s%d%s", (int)(number - format), format, z->package, number + 2);
}

/* The unit in nJ of a 32-bit counter with this range, 0 when the range is not of that kind. */
static uint64_t unit_of(uint64_t range_uj)
{
    double unit_nj = round((double)range_uj * 1000 / (double)RAW_MAX);
    double back_uj = unit_nj * (double)RAW_MAX / 1000;
    return unit_nj >= 1 && fabs(back_uj - (double)range_uj) <= 1.5 ? (uint64_t)unit_nj : 0;
}

static uint64_t read_range(const char *sysroot, const char *id)
{
    char path[PATH_MAX];
    uint64_t range_uj;
    if (zone_path(path, sysroot, id, "max_energy_range_uj") || meter_path_value(path, &range_uj))
        return 0;
    return range_uj >= LEAST_RANGE_UJ ? range_uj : 0;
}

/* On Sapphire Rapids and its successors the memory counter has the package's unit, but kernels
 * without commit 80275ca9e525 take the 15.3 uJ of older servers: a factor of about 4 too low. */
static uint64_t wrong_dram_unit(const struct meter_cpu *cpu, const struct zone *z, uint64_t unit_nj)
{
    static const int models[] = {0x8f, 0xcf, 0xad, 0xae, 0xaf}; /* SPR, EMR, GNR, GNR-D, SRF */
    if (z->kind != KIND_DRAM || unit_nj != 15300 || !cpu->intel || cpu->family != 6)
        return 0;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        if (cpu->model == models[i])
            return 61035;
    return 0;
}

static void set_range(struct powercap *p, struct wattle_meter *m, size_t i, const struct zone *z)
{
    uint64_t range_uj = read_range(m->sysroot, z->id), unit_nj = unit_of(range_uj);
    struct wattle_domain *d = &m->domains[i];
    p->unit_nj[i] = unit_nj;
    p->scale[i] = wrong_dram_unit(&p->cpu, z, unit_nj);
    if (p->scale[i]) {
        unit_nj = p->scale[i];
        range_uj = RAW_MAX * unit_nj / 1000;
        meter_text(d, "scaled by 61035/15300: this kernel takes the wrong unit for this memory "
                      "counter (mended by Linux commit 80275ca9e525)");
    } else if (!range_uj) {
        meter_text(d, "the counter's range is not known: an interval with a wrap is dropped");
    }
    counter_init(&m->counters[i], range_uj, (double)unit_nj / 1000,
                 z->kind == KIND_PSYS ? COUNTER_PLATFORM_LIMIT_W : COUNTER_ZONE_LIMIT_W);
    /* An idle GPU or a core asleep may draw nothing; a package, memory or a platform cannot. */
    if (z->kind != KIND_PACKAGE && z->kind != KIND_DRAM && z->kind != KIND_PSYS)
        m->counters[i].stuck_ns = 0;
    d->resolution_uj = (double)unit_nj / 1000;
    d->wrap_uj = range_uj;
}

static void set_missing(struct wattle_domain *d, int code)
{
    if (code == -EACCES || code == -EPERM) {
        d->status = WATTLE_PERM;
        meter_text(d, "only root may read it since CVE-2020-8694 (PLATYPUS). Run as root, or "
                      "sudo chmod a+r " ROOT "/*/energy_uj (opens that side channel to all users)");
    } else if (code == -ENOENT) {
        d->status = WATTLE_ABSENT;
        meter_text(d, "%s has no energy_uj: this zone limits power but measures none",
                   d->name);
    } else {
        d->status = WATTLE_ERROR;
        meter_text(d, "energy_uj of %s: %s", d->name, meter_reason(code));
    }
}

static void open_energy(struct powercap *p, struct wattle_meter *m, size_t i, const struct zone *z)
{
    struct wattle_domain *d = &m->domains[i];
    char path[PATH_MAX];
    int code = zone_path(path, m->sysroot, z->id, "energy_uj");
    snprintf(d->path, sizeof d->path, "%.*s", (int)sizeof d->path - 1, path);
    if (!code)
        code = p->fds[i] = meter_file_open(path);
    if (code < 0)
        set_missing(d, code);
}

/* A second zone of the same name would be counted twice. */
static void add_zone(struct powercap *p, struct wattle_meter *m, const struct zone *z,
                     const struct zone *before)
{
    char name[NAME_SIZE];
    domain_name(z, name);
    size_t i = m->count;
    struct wattle_domain *d = meter_add(m, name);
    if (!d)
        return;
    p->fd_count = (int)m->count;
    p->fds[i] = -1;
    d->in_total = z->kind == KIND_PACKAGE || z->kind == KIND_DRAM || z->kind == KIND_UNKNOWN;
    d->provenance = WATTLE_MEASURED;
    d->period_ns = PERIOD_NS;
    domain_scope(z, d);
    set_range(p, m, i, z);
    if (z->kind == KIND_UNKNOWN) {
        d->status = WATTLE_ERROR;
        meter_text(d, "zone %s cannot be identified (%s): the sum may lack a part", z->id,
                   meter_reason(z->code));
        return;
    }
    open_energy(p, m, i, z);
    if (before && same_name(before, z)) {
        d->in_total = 0;
        meter_text(d, "a second zone with this name: not counted twice");
    }
}

static void add_zones(struct powercap *p, struct wattle_meter *m)
{
    qsort(p->zones, p->zone_count, sizeof *p->zones, compare);
    for (size_t i = 0; i < p->zone_count; i++) {
        const struct zone *z = &p->zones[i], *before = i ? z - 1 : NULL;
        /* MMIO shows the counters of MSR a second time: only where it is the only one. */
        if (z->mmio && before && same_name(before, z) && !before->mmio)
            continue;
        if (m->count < WATTLE_DOMAIN_MAX) {
            add_zone(p, m, z, before);
        } else if (z->kind <= KIND_UNKNOWN) {
            struct wattle_domain *last = &m->domains[WATTLE_DOMAIN_MAX - 1];
            last->status = WATTLE_ERROR;
            last->in_total = 1;
            meter_text(last, "more than %d zones: the sum would lack a part",
                       WATTLE_DOMAIN_MAX);
        }
    }
}

/* Which packages have no memory zone, in the scope and beside every figure. */
static void note_memory(struct wattle_meter *m)
{
    int packages = 0, with_memory = 0;
    for (size_t i = 0; i < m->count; i++) {
        struct wattle_domain *d = &m->domains[i], *e;
        if (!d->in_total || strncmp(d->name, "package-", 8))
            continue;
        int found = 0;
        for (e = m->domains; e < m->domains + m->count; e++)
            found |= e->in_total && !strncmp(e->name, "dram-", 5) &&
                     !strcmp(e->name + 5, d->name + 8);
        packages++;
        with_memory += found;
        if (!found && !strstr(d->scope, "memory"))
            snprintf(d->scope + strlen(d->scope), sizeof d->scope - strlen(d->scope),
                     "; memory not measured");
    }
    if (packages > with_memory)
        snprintf(m->note, sizeof m->note, "memory of %d of %d packages not measured (no dram zone)",
                 packages - with_memory, packages);
}

static void find_mirrors(struct powercap *p, struct wattle_meter *m)
{
    if (!p->cpu.amd)
        return;
    for (size_t i = 0; i < m->count; i++) {
        int package, die, first_package, first_die;
        if (!m->domains[i].in_total || p->fds[i] < 0 ||
            !parse_package(m->domains[i].name, &package, &die))
            continue;
        for (size_t k = 0; k < i; k++)
            if (p->fds[k] >= 0 && parse_package(m->domains[k].name, &first_package, &first_die) &&
                first_package == package) {
                p->mirrors[p->mirror_count++] = (struct mirror){.keep = k, .twin = i};
                snprintf(m->doubt, sizeof m->doubt,
                         "dies of package %d not yet told apart: read %d times, 50 ms apart",
                         package, MIRROR_WINDOWS + 1);
                break;
            }
    }
}

static void begin_mirror(struct mirror *x, const struct wattle_reading *out)
{
    const struct wattle_reading *keep = &out[x->keep], *twin = &out[x->twin];
    x->running = keep->status == WATTLE_OK && twin->status == WATTLE_OK;
    x->keep_uj = keep->total_uj;
    x->twin_uj = twin->total_uj;
    x->begin_ns = keep->time_ns;
}

static void judge_mirror(struct wattle_meter *m, struct mirror *x, const struct wattle_reading *out)
{
    if (!x->running || out[x->keep].status != WATTLE_OK || out[x->twin].status != WATTLE_OK) {
        begin_mirror(x, out);
        return;
    }
    if (out[x->keep].time_ns - x->begin_ns < MIRROR_WINDOW_NS)
        return;
    double keep = (double)(out[x->keep].total_uj - x->keep_uj);
    double twin = (double)(out[x->twin].total_uj - x->twin_uj);
    double step = m->domains[x->keep].resolution_uj;
    begin_mirror(x, out);
    if (keep <= 0 && twin <= 0)
        return;
    x->windows++;
    x->equal += fabs(keep - twin) <= MIRROR_TOLERANCE * fmax(keep, twin) + 2 * step;
    if (x->equal < MIRROR_WINDOWS)
        return;
    struct wattle_domain *d = &m->domains[x->twin];
    d->in_total = 0;
    meter_text(d, "shows the counter of %s once more (equal over %d windows): not counted twice",
               m->domains[x->keep].name, MIRROR_WINDOWS);
}

static void watch_mirrors(struct powercap *p, struct wattle_meter *m,
                          const struct wattle_reading *out)
{
    int open = 0;
    for (size_t i = 0; i < p->mirror_count; i++) {
        struct mirror *x = &p->mirrors[i];
        if (x->windows < MIRROR_WINDOWS)
            judge_mirror(m, x, out);
        open |= x->windows < MIRROR_WINDOWS;
    }
    if (!open)
        m->doubt[0] = '\0';
}

static enum wattle_status status_of(int code)
{
    return code == -EACCES || code == -EPERM ? WATTLE_PERM : WATTLE_ERROR;
}

static int read_raw(const struct powercap *p, size_t i, uint64_t *raw_uj)
{
    int code = meter_file_value(p->fds[i], raw_uj);
    if (code || !p->scale[i])
        return code;
    if (*raw_uj > RAW_MAX * p->unit_nj[i] / 1000)
        return -EBADMSG;
    /* Through the count of units, which fits 32 bits, so that no product overflows. */
    uint64_t count = (*raw_uj * 1000 + p->unit_nj[i] / 2) / p->unit_nj[i];
    *raw_uj = count * p->scale[i] / 1000;
    return 0;
}

static void powercap_read(struct wattle_meter *m, struct wattle_reading *out)
{
    struct powercap *p = m->state;
    uint64_t before_ns = meter_now_ns(m);
    for (size_t i = 0; i < m->count; i++) {
        if (!p->fd_count || p->fds[i] < 0) {
            counter_fail(&m->counters[i], before_ns, m->domains[i].status, &out[i]);
            continue;
        }
        uint64_t raw_uj;
        int code = read_raw(p, i, &raw_uj);
        uint64_t after_ns = meter_now_ns(m), now_ns = before_ns + (after_ns - before_ns) / 2;
        before_ns = after_ns;
        if (code)
            counter_fail(&m->counters[i], now_ns, status_of(code), &out[i]);
        else
            counter_read(&m->counters[i], now_ns, raw_uj, &out[i]);
    }
    if (m->doubt[0])
        watch_mirrors(p, m, out);
}

/* The first read: sets the base of every counter and says which cannot be read at all. */
static void first_read(struct powercap *p, struct wattle_meter *m, struct wattle_reading *out)
{
    powercap_read(m, out);
    for (size_t i = 0; i < m->count; i++) {
        struct wattle_domain *d = &m->domains[i];
        if (p->fds[i] < 0 || out[i].status == WATTLE_OK)
            continue;
        uint64_t raw_uj;
        int code = read_raw(p, i, &raw_uj);
        if (code)
            set_missing(d, code);
        else
            meter_text(d, "energy_uj of %s: its value lies beyond its range", d->name);
        d->status = out[i].status;
        counter_interrupt(&m->counters[i], COUNTER_GAP_UNREAD);
    }
}

static int still_waiting(const struct wattle_meter *m, const struct wattle_reading *out)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->domains[i].in_total && m->domains[i].status == WATTLE_OK &&
            !m->counters[i].moves && out[i].status == WATTLE_OK)
            return 1;
    return 0;
}

static void mark_stuck(const struct powercap *p, struct wattle_meter *m,
                       const struct wattle_reading *out)
{
    for (size_t i = 0; i < m->count; i++) {
        struct wattle_domain *d = &m->domains[i];
        if (d->status != WATTLE_OK || out[i].status != WATTLE_STUCK)
            continue;
        d->status = WATTLE_STUCK;
        meter_text(d, "did not advance in %.0f ms: %s",
                   (double)m->counters[i].stuck_ns / 1e6,
                   p->cpu.hypervisor ? "this virtual machine shows a counter that is not connected"
                                     : "the firmware may have switched it off");
        /* The packages still give a figure; that memory is missing is said beside it. */
        if (!strncmp(d->name, "dram-", 5))
            d->in_total = 0;
    }
}

/* Real counters move every millisecond: wait until each has, or is found stuck. A caller with a
 * clock of its own does its own waiting. */
static void probe(struct powercap *p, struct wattle_meter *m, struct wattle_reading *out)
{
    uint64_t start_ns = clock_monotonic_ns();
    while (still_waiting(m, out) || m->doubt[0]) {
        if (clock_monotonic_ns() > start_ns + NS_PER_S)
            break;
        clock_sleep_until_ns(clock_monotonic_ns() + NS_PER_MS);
        powercap_read(m, out);
        if (!still_waiting(m, out) && m->doubt[0] && out[p->mirrors[0].keep].status != WATTLE_OK)
            break;
    }
    mark_stuck(p, m, out);
}

static void set_poll(struct wattle_meter *m)
{
    m->poll_ns = POLL_NS;
    for (size_t i = 0; i < m->count; i++) {
        uint64_t safe_ns = counter_safe_ns(&m->counters[i]) / 2;
        if (safe_ns && safe_ns < m->poll_ns)
            m->poll_ns = safe_ns;
    }
}

static void report_folder(const struct powercap *p, struct wattle_meter *m, const char *root,
                          int code, int entries)
{
    if (code == -EACCES)
        meter_add_missing(m, root, WATTLE_PERM, "this user may not list %.60s", ROOT);
    else if (code == -E2BIG)
        meter_add_missing(m, root, WATTLE_ERROR, "more than %d zones in " ROOT, ZONE_MAX);
    else if (code && code != -ENOENT)
        meter_add_missing(m, root, WATTLE_ERROR, "" ROOT ": %s", meter_reason(code));
    else if (p->cpu.hypervisor && (code || (entries && !p->zone_count)))
        meter_add_missing(m, root, WATTLE_ABSENT,
                          "a virtual machine (hypervisor flag in /proc/cpuinfo): the host "
                          "does not show it an energy counter; measure on the host, or estimate");
    else if (!code && (p->zone_count || !entries))
        meter_add_missing(m, root, WATTLE_MASKED,
                          "powercap is there but empty: a container hides it (docker, "
                          "podman: --security-opt systempaths=unconfined)%s",
                          p->cpu.hypervisor ? "; or the virtual machine has none" : "");
    else if (p->cpu.amd || p->cpu.intel || !p->cpu.present)
        meter_add_missing(m, root, WATTLE_ABSENT,
                          "no RAPL zone in " ROOT ": load the driver as root: modprobe "
                          "intel_rapl_msr (for Intel and AMD; AMD needs Linux 5.11)");
    else
        meter_add_missing(m, root, WATTLE_ABSENT,
                          "RAPL is a counter of Intel and AMD CPUs; this is another kind");
}

static int powercap_open(struct wattle_meter *m)
{
    struct powercap *p = m->state = calloc(1, sizeof *p);
    if (!p)
        return ERROR_MEMORY;
    meter_cpu_read(&p->cpu, m->sysroot);
    char root[PATH_MAX];
    int entries = 0, code = meter_path(root, m->sysroot, ROOT);
    if (!code)
        code = scan(p, root, &entries);
    if (code || !p->zone_count || all_hidden(p, m->sysroot)) {
        report_folder(p, m, root, code, entries);
        return 0;
    }
    for (size_t i = 0; i < p->zone_count; i++)
        identify(m->sysroot, &p->zones[i]);
    add_zones(p, m);
    find_mirrors(p, m);
    set_poll(m);
    struct wattle_reading out[WATTLE_DOMAIN_MAX];
    first_read(p, m, out);
    if (!m->options.now_ns)
        probe(p, m, out);
    note_memory(m);
    return 0;
}

static void powercap_close(struct wattle_meter *m)
{
    struct powercap *p = m->state;
    for (int i = 0; p && i < p->fd_count; i++)
        if (p->fds[i] >= 0)
            close(p->fds[i]);
    free(p);
}

const struct meter_driver meter_powercap = {
    .name = "powercap",
    .open = powercap_open,
    .read = powercap_read,
    .close = powercap_close,
};
