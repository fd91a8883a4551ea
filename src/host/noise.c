/* Was the machine quiet? Two snapshots around a window, and what lies between them. */
#include "host/host.h"

#include "host/parts.h"
#include "host/source.h"

#include "base/clock.h"
#include "base/text.h"

#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- thresholds and their reasons ------------------------------------------------------------- */

/* Steal is time in which our CPUs were ready and the hypervisor ran others, as a share of the time
 * we wanted. Up to 1 % disappears in the spread of blocks; 10 % is a tenth of every latency. */
#define STEAL_SUSPECT 0.01
#define STEAL_INVALID 0.10

/* Work of others, as a share of all busy CPU time: a counter of the package charges their joules to
 * us, and the shared cache and memory slow us. 5 % is as much as many a comparison is about; with
 * 30 % the window is as much about them. */
#define FOREIGN_SUSPECT 0.05
#define FOREIGN_INVALID 0.30
/* ... but only from this many cores on, so that a large machine that serves one thread is not
 * blamed for its housekeeping: 0.1 core is 5 % of the smallest machine (2 cores), 0.5 a quarter. */
#define FOREIGN_SUSPECT_CORES 0.1
#define FOREIGN_INVALID_CORES 0.5

/* A few pages come and go unnoticed; a MiB is hundreds of page faults of milliseconds each. A
 * quarter of a GiB is a model that does not fit. */
#define SWAP_SUSPECT_BYTES (1024.0 * 1024)
#define SWAP_INVALID_BYTES (256.0 * 1024 * 1024)

/* Any throttling makes the window unlike the next, yet it is what the machine did: not INVALID. */
#define THROTTLE_SUSPECT 1

/* The clocks' readings are microseconds apart; a suspend lasts longer than this. */
#define SUSPEND_NS (100 * NS_PER_MS)

/* A clock that fell by 5 % is 5 % of every latency. Idle CPUs lower their clocks of themselves, so
 * the mean is judged only where at least half of the CPU time was busy. */
#define FREQUENCY_SUSPECT 0.05
#define FREQUENCY_BUSY 0.5

/* CPUs throttle from 95 to 105 degrees: at 95 the next block may. */
#define TEMPERATURE_SUSPECT_C 95.0

/* /proc/stat counts in steps of 10 ms: two of them are not evidence. */
#define TICKS_DOUBT_NS (2.0 * 1e7)

/* --- snapshot --------------------------------------------------------------------------------- */

enum { CPUS_READ_MAX = 256, ENTRIES_MAX = 256 };

/* "cpu  user nice system idle iowait irq softirq steal": guest time is part of user. */
static void read_stat(struct host_noise *n, const char *sysroot)
{
    enum { USER, NICE, SYSTEM, IDLE, IOWAIT, IRQ, SOFTIRQ, STEAL, COUNT };
    char text[256];
    uint64_t ticks[COUNT] = {0}, tick_ns = NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK);
    if (source_line(sysroot, text, sizeof text, "/proc/stat") || !text_starts(text, "cpu "))
        return;
    const char *p = text + 4;
    for (int i = 0; i < COUNT && *p >= '0' && *p <= '9'; i++) {
        char *end;
        ticks[i] = strtoull(p, &end, 10);
        if (ticks[i] > UINT64_MAX / 16 / tick_ns)
            return; /* more than any uptime: not a number of ticks */
        p = end + (*end == ' ');
    }
    uint64_t kernel = ticks[SYSTEM] + ticks[IRQ] + ticks[SOFTIRQ];
    n->busy_ns = (ticks[USER] + ticks[NICE] + kernel) * tick_ns;
    n->idle_ns = (ticks[IDLE] + ticks[IOWAIT]) * tick_ns;
    n->steal_ns = ticks[STEAL] * tick_ns;
}

static uint64_t vmstat(const char *text, const char *key)
{
    char value[32];
    int64_t pages;
    if (!source_field(text, key, ' ', value, sizeof value) ||
        text_to_int(value, key, 0, INT64_MAX, &pages, NULL))
        return 0;
    return (uint64_t)pages;
}

static void read_swap(struct host_noise *n, const char *sysroot)
{
    char text[16 * 1024];
    source_text(sysroot, text, sizeof text, "/proc/vmstat");
    n->swap_in_pages = vmstat(text, "pswpin");
    n->swap_out_pages = vmstat(text, "pswpout");
}

#define CPU_DIR "/sys/devices/system/cpu"
#define THROTTLE CPU_DIR "/cpu%d/thermal_throttle"

/* Events and clocks of the first CPUS_READ_MAX CPUs that are there. */
static void read_cpus(struct host_noise *n, const char *sysroot)
{
    double khz_sum = 0;
    int khz_count = 0;
    for (int i = 0; i < CPUS_READ_MAX; i++) {
        int64_t khz = source_number(sysroot, CPU_DIR "/cpu%d/cpufreq/scaling_cur_freq", i);
        int64_t core = source_number(sysroot, THROTTLE "/core_throttle_count", i);
        int64_t package = source_number(sysroot, THROTTLE "/package_throttle_count", i);
        n->throttle_count += core > 0 ? (uint64_t)core : 0;
        n->throttle_count += package > 0 ? (uint64_t)package : 0;
        khz_sum += khz > 0 ? (double)khz : 0;
        khz_count += khz > 0;
        /* Systems without these files need not be asked 256 times; CPU 0 may lack some. */
        if (i == 1 && !khz_count && core < 0)
            return;
    }
    if (khz_count)
        n->frequency_mhz = khz_sum / khz_count / 1000;
}

static int is_cpu_sensor(const char *name)
{
    static const char *const names[] = {"coretemp", "k10temp", "zenpower", "cpu_thermal"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i]))
            return 1;
    return 0;
}

/* The highest of the CPU's sensors, which are in thousandths of a degree. */
static void read_temperature(struct host_noise *n, const char *sysroot)
{
    char path[PATH_MAX], name[32];
    if ((size_t)snprintf(path, sizeof path, "%s/sys/class/hwmon", sysroot) >= sizeof path)
        return;
    DIR *folder = opendir(path);
    const struct dirent *entry;
    for (int i = 0; folder && i < ENTRIES_MAX && (entry = readdir(folder)); i++) {
        source_line(sysroot, name, sizeof name, "/sys/class/hwmon/%s/name", entry->d_name);
        for (int k = 1; is_cpu_sensor(name) && k <= 16; k++) {
            int64_t value = source_number(sysroot, "/sys/class/hwmon/%s/temp%d_input",
                                          entry->d_name, k);
            if (value > 0 && value < 200000)
                n->temperature_c = fmax(n->temperature_c, (double)value / 1000);
        }
    }
    if (folder)
        closedir(folder);
}

static void read_load(struct host_noise *n, const char *sysroot)
{
    char text[64];
    source_line(sysroot, text, sizeof text, "/proc/loadavg");
    text[strcspn(text, " ")] = '\0';
    if (text_to_double(text, "load", 0, 1e6, &n->load_1min, NULL))
        n->load_1min = NAN;
}

void host_noise_read(struct host_noise *n, const char *sysroot)
{
    *n = (struct host_noise){.frequency_mhz = NAN, .temperature_c = NAN, .load_1min = NAN};
    n->on_battery = host_mains(sysroot) == 0;
    read_load(n, sysroot);
    read_swap(n, sysroot);
    read_cpus(n, sysroot);
    read_temperature(n, sysroot);
    read_stat(n, sysroot);
    n->time_ns = clock_monotonic_ns();
    n->boottime_ns = clock_boottime_ns();
}

/* --- judgement -------------------------------------------------------------------------------- */

const char *verdict_name(enum verdict v)
{
    return v == VERDICT_VALID ? "VALID" : v == VERDICT_SUSPECT ? "SUSPECT" : "INVALID";
}

struct judgement {
    enum verdict verdict;
    json_t *reasons;
};

__attribute__((format(printf, 3, 4)))
static void find(struct judgement *j, enum verdict verdict, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    json_array_append_new(j->reasons, json_string(text));
    if (verdict > j->verdict)
        j->verdict = verdict;
}

static double grown(uint64_t before, uint64_t after)
{
    return after > before ? (double)(after - before) : 0;
}

static void judge_suspend(struct judgement *j, const struct host_noise *a,
                          const struct host_noise *b)
{
    double before_ns = (double)a->boottime_ns - (double)a->time_ns;
    double slept_ns = (double)b->boottime_ns - (double)b->time_ns - before_ns;
    if (slept_ns > SUSPEND_NS)
        find(j, VERDICT_INVALID, "the machine was suspended for %.1f s (limit 0.1 s): switch off "
             "suspend, for instance with systemd-inhibit", slept_ns / 1e9);
}

static void judge_steal(struct judgement *j, double busy_ns, double steal_ns)
{
    double wanted_ns = busy_ns + steal_ns;
    double share = wanted_ns > 0 ? steal_ns / wanted_ns : 0;
    int invalid = share > STEAL_INVALID;
    if (share > STEAL_SUSPECT && steal_ns > TICKS_DOUBT_NS)
        find(j, invalid ? VERDICT_INVALID : VERDICT_SUSPECT, "CPU time stolen by the hypervisor: "
             "%.1f %% of what was wanted (limit %.0f %%): run on a quieter or dedicated machine",
             100 * share, 100 * (invalid ? STEAL_INVALID : STEAL_SUSPECT));
}

/* Counters that stand still are those of a recorded tree; no uptime is 0 in all of them. */
static int has_stat(const struct host_noise *n)
{
    return n->busy_ns || n->idle_ns || n->steal_ns;
}

static void judge_foreign(struct judgement *j, double busy_ns, double worker_ns, double wall_ns)
{
    double foreign_ns = busy_ns - worker_ns;
    if (foreign_ns <= TICKS_DOUBT_NS || wall_ns <= 0)
        return;
    double share = foreign_ns / busy_ns, cores = foreign_ns / wall_ns;
    int invalid = share > FOREIGN_INVALID && cores > FOREIGN_INVALID_CORES;
    if (share > FOREIGN_SUSPECT && cores > FOREIGN_SUSPECT_CORES)
        find(j, invalid ? VERDICT_INVALID : VERDICT_SUSPECT, "other programs used %.1f %% of the "
             "busy CPU time, %.2f cores (limit %.0f %% and %.1f cores): stop them, or measure when "
             "they rest", 100 * share, cores, 100 * (invalid ? FOREIGN_INVALID : FOREIGN_SUSPECT),
             invalid ? FOREIGN_INVALID_CORES : FOREIGN_SUSPECT_CORES);
}

static void judge_swap(struct judgement *j, const struct host_noise *a, const struct host_noise *b)
{
    double bytes = (grown(a->swap_in_pages, b->swap_in_pages) +
                    grown(a->swap_out_pages, b->swap_out_pages)) * (double)sysconf(_SC_PAGESIZE);
    int invalid = bytes > SWAP_INVALID_BYTES;
    if (bytes > SWAP_SUSPECT_BYTES)
        find(j, invalid ? VERDICT_INVALID : VERDICT_SUSPECT, "the machine swapped %.1f MiB (limit "
             "%.0f MiB): free memory, or take a smaller model or batch", bytes / 1048576,
             (invalid ? SWAP_INVALID_BYTES : SWAP_SUSPECT_BYTES) / 1048576);
}

static void judge_heat(struct judgement *j, const struct host_noise *a, const struct host_noise *b,
                       double busy_share)
{
    double events = grown(a->throttle_count, b->throttle_count);
    double fall = 1 - b->frequency_mhz / a->frequency_mhz; /* NaN when either is unknown */
    if (events >= THROTTLE_SUSPECT)
        find(j, VERDICT_SUSPECT, "the CPU throttled %.0f times for heat (limit 0): cool it, pause "
             "between blocks, or switch turbo off", events);
    if (fall > FREQUENCY_SUSPECT && busy_share >= FREQUENCY_BUSY)
        find(j, VERDICT_SUSPECT, "the CPU clock fell by %.1f %%, from %.0f to %.0f MHz (limit %.0f "
             "%%): fix it (turbo off, governor performance), or cool the machine", 100 * fall,
             a->frequency_mhz, b->frequency_mhz, 100 * FREQUENCY_SUSPECT);
    if (b->temperature_c > TEMPERATURE_SUSPECT_C)
        find(j, VERDICT_SUSPECT, "the CPU ended at %.0f degrees C (limit %.0f): cool the machine "
             "or pause between blocks", b->temperature_c, TEMPERATURE_SUSPECT_C);
}

enum verdict host_noise_judge(const struct host_noise *before, const struct host_noise *after,
                              uint64_t worker_cpu_ns, json_t *reasons)
{
    struct judgement j = {.verdict = VERDICT_VALID, .reasons = reasons};
    double busy_ns = grown(before->busy_ns, after->busy_ns);
    double idle_ns = grown(before->idle_ns, after->idle_ns);
    double steal_ns = grown(before->steal_ns, after->steal_ns);
    double all_ns = busy_ns + idle_ns + steal_ns;
    judge_suspend(&j, before, after);
    if (!has_stat(before) || !has_stat(after))
        find(&j, VERDICT_SUSPECT, "cannot tell whether other programs ran: no /proc/stat");
    judge_steal(&j, busy_ns, steal_ns);
    judge_foreign(&j, busy_ns, (double)worker_cpu_ns, grown(before->time_ns, after->time_ns));
    judge_swap(&j, before, after);
    judge_heat(&j, before, after, all_ns > 0 ? busy_ns / all_ns : 0);
    if (before->on_battery || after->on_battery)
        find(&j, VERDICT_SUSPECT, "the machine ran on battery (limit: not at all), where clocks "
             "are held down: plug it in");
    return j.verdict;
}
