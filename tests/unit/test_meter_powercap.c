/* powercap against trees with known joules, under a clock that the test moves. */
#include "meter/meter.h"

#include "test.h"
#include "meter_tree.h"

#include <math.h>
#include <signal.h>
#include <sys/wait.h>

static struct wattle_reading begin[WATTLE_DOMAIN_MAX], end[WATTLE_DOMAIN_MAX];

/* Two packages at `power` W for `seconds`, read every 10 s; start_j sets how near a wrap is. Every
 * zone of counters[] is advanced. bad_at: before that second package 0 shows `bad` instead. */
static struct wattle_energy replay(struct tree_counter *counters, size_t count, double power_w,
                                   int seconds, int bad_at, const char *bad)
{
    struct wattle_energy energy = {0};
    struct wattle_meter *meter = tree_open("powercap");
    assert_non_null(meter);
    assert_int_equal(wattle_meter_usable(meter), 1);
    wattle_meter_read(meter, begin);
    for (int s = 1; s <= seconds; s++) {
        tree_now_ns += 1000000000;
        for (size_t i = 0; i < count; i++)
            tree_joules(&counters[i], power_w);
        if (s == bad_at)
            tree_write(counters[0].path, "%s", bad);
        if (s % 10 == 0 || s == seconds)
            wattle_meter_read(meter, end);
        if (s == bad_at)
            assert_int_equal(end[0].status, WATTLE_ERROR);
    }
    wattle_meter_energy(meter, begin, end, &energy);
    wattle_meter_close(meter);
    return energy;
}

/* One step of either counter is all that may be missing. */
static void assert_joules(const struct wattle_energy *energy, double expected_j)
{
    if (energy->provenance != WATTLE_MEASURED)
        print_message("reason: %s\n", energy->reason);
    assert_int_equal(energy->provenance, WATTLE_MEASURED);
    print_message("%.6f J, truth %.6f J: %+.7f %%\n", energy->j, expected_j,
                  100 * (energy->j / expected_j - 1));
    assert_true(fabs(energy->j - expected_j) < 2e-4);
    assert_true(energy->low_j <= energy->j && energy->j <= energy->high_j);
}

static void amd_tree(struct tree_counter counters[2], double start_j)
{
    tree_cpuinfo("AuthenticAMD", 25, 1, "");
    counters[0] = tree_zone("intel-rapl:0", "package-0", TREE_AMD_NJ, start_j);
    counters[1] = tree_zone("intel-rapl:1", "package-1", TREE_AMD_NJ, start_j / 2);
}

/* 2 x 280 W for 600 s: each package wraps three times. */
static void test_truth_two_packages(void **state)
{
    (void)state;
    struct tree_counter counters[2];
    amd_tree(counters, 65000);
    struct wattle_energy energy = replay(counters, 2, 280, 600, 0, "");
    assert_joules(&energy, 2 * 280.0 * 600);
    assert_int_equal(end[0].wraps, 3);
    assert_int_equal(end[1].wraps, 3);
    assert_int_equal(end[0].gaps + end[1].gaps, 0);
    assert_true(fabs(energy.seconds - 600) < 1e-9);
}

/* 2 x 150 W for 60 s across one wrap. */
static void test_truth_one_wrap(void **state)
{
    (void)state;
    struct tree_counter counters[2];
    amd_tree(counters, 65500);
    struct wattle_energy energy = replay(counters, 2, 150, 60, 0, "");
    assert_joules(&energy, 2 * 150.0 * 60);
    assert_int_equal(end[0].wraps, 1);
}

static void test_truth_intel_wrap(void **state)
{
    (void)state;
    tree_cpuinfo("GenuineIntel", 6, 106, "");
    struct tree_counter one = tree_zone("intel-rapl:0", "package-0", TREE_INTEL_NJ, 262100);
    struct wattle_energy energy = replay(&one, 1, 150, 60, 0, "");
    assert_joules(&energy, 150.0 * 60);
    assert_int_equal(end[0].wraps, 1);
}

/* One read in the middle fails (an empty text): nothing is lost, nothing counted twice. */
static void test_truth_failed_read(void **state)
{
    (void)state;
    struct tree_counter counters[2];
    amd_tree(counters, 65500); /* and the wrap is right there */
    struct wattle_energy energy = replay(counters, 2, 150, 60, 30, "");
    assert_joules(&energy, 2 * 150.0 * 60);
    assert_int_equal(end[0].gaps, 0);
}

/* 20 W for 25 s, then 200 W for 5 s: a meter that averages power misses the burst. */
static void test_truth_burst(void **state)
{
    (void)state;
    struct tree_counter c = tree_zone("intel-rapl:0", "package-0", TREE_INTEL_NJ, 100);
    struct wattle_meter *meter = tree_open("powercap");
    wattle_meter_read(meter, begin);
    for (int s = 0; s < 30; s++) {
        tree_now_ns += 1000000000;
        tree_joules(&c, s < 25 ? 20 : 200);
        if (s % 10 == 9)
            wattle_meter_read(meter, end);
    }
    struct wattle_energy energy;
    wattle_meter_energy(meter, begin, end, &energy);
    assert_joules(&energy, 25 * 20 + 5 * 200);
    wattle_meter_close(meter);
}

/* psys at any index, children, memory, hexadecimal ids, and the MMIO copy. */
static void test_server_tree(void **state)
{
    (void)state;
    tree_cpuinfo("GenuineIntel", 6, 106, "");
    struct tree_counter c[] = {
        tree_zone("intel-rapl:0", "package-1", TREE_INTEL_NJ, 10),
        tree_zone("intel-rapl:1", "psys", TREE_PSYS_NJ, 99),
        tree_zone("intel-rapl:a", "package-0", TREE_INTEL_NJ, 7),
        tree_zone("intel-rapl:a:0", "dram", TREE_DRAM_NJ, 3),
        tree_zone("intel-rapl:a:1", "core", TREE_INTEL_NJ, 3),
        tree_zone("intel-rapl:0:0", "dram", TREE_DRAM_NJ, 3),
        tree_zone("intel-rapl:0:f", "uncore", TREE_INTEL_NJ, 3),
        tree_zone("intel-rapl-mmio:0", "package-0", TREE_INTEL_NJ, 7),
        tree_zone("intel-rapl-mmio:0:0", "dram", TREE_DRAM_NJ, 3),
    };
    tree_folder(TREE_POWERCAP "intel-rapl"); /* the control type is no zone */
    tree_folder(TREE_POWERCAP "dtpm");
    struct wattle_energy energy = replay(c, sizeof c / sizeof *c, 100, 20, 0, "");
    assert_joules(&energy, 4 * 100.0 * 20); /* 2 packages and 2 drams */
    assert_string_equal(energy.reason, "");

    struct wattle_meter *meter = tree_open("powercap");
    static const char *const names[] = {"package-0", "package-1", "dram-0", "dram-1",
                                        "psys", "core-0", "uncore-1"};
    assert_int_equal(wattle_meter_domain_count(meter), 7);
    for (size_t i = 0; i < 7; i++) {
        const struct wattle_domain *d = wattle_meter_domain(meter, i);
        assert_string_equal(d->name, names[i]);
        assert_int_equal(d->in_total, i < 4);
        assert_int_equal(d->provenance, WATTLE_MEASURED);
        assert_int_equal(d->status, WATTLE_OK);
    }
    const struct wattle_domain *dram = wattle_meter_domain(meter, 2);
    assert_non_null(strstr(dram->path, "intel-rapl:a:0/energy_uj"));
    assert_int_equal(dram->wrap_uj, 65712999613);
    assert_true(fabs(dram->resolution_uj - 15.3) < 1e-9);
    assert_true(fabs(wattle_meter_domain(meter, 4)->resolution_uj - 1e6) < 1e-3);
    assert_int_equal(wattle_meter_poll_ns(meter), 10000000000);
    wattle_meter_close(meter);
}

/* Only the MMIO tree exists: then it is used. */
static void test_mmio_alone(void **state)
{
    (void)state;
    struct tree_counter c = tree_zone("intel-rapl-mmio:0", "package-0", TREE_INTEL_NJ, 7);
    struct wattle_energy energy = replay(&c, 1, 30, 10, 0, "");
    assert_joules(&energy, 300);
}

static void test_memory_not_measured(void **state)
{
    (void)state;
    struct tree_counter counters[2];
    amd_tree(counters, 0);
    struct wattle_energy energy = replay(counters, 2, 30, 10, 0, "");
    assert_non_null(strstr(energy.reason, "memory of 2 of 2 packages not measured"));
    struct wattle_meter *meter = tree_open("powercap");
    assert_non_null(strstr(wattle_meter_domain(meter, 1)->scope, "memory not measured"));
    wattle_meter_close(meter);
}

/* A counter that starts anew: the interval is dropped, and what follows counts again. */
static void test_reset(void **state)
{
    (void)state;
    struct tree_counter c = tree_zone("intel-rapl:0", "package-0", TREE_INTEL_NJ, 5000);
    struct wattle_meter *meter = tree_open("powercap");
    wattle_meter_read(meter, begin);
    tree_now_ns += 10000000000;
    c.units = 0;
    tree_joules(&c, 50);
    wattle_meter_read(meter, end);
    assert_int_equal(end[0].status, WATTLE_RESET);
    assert_int_equal(end[0].gaps, 1);
    assert_int_equal(end[0].total_uj, 0);
    struct wattle_energy energy;
    wattle_meter_energy(meter, begin, end, &energy);
    assert_int_equal(energy.provenance, WATTLE_NONE);
    assert_true(isnan(energy.j) && isnan(energy.low_j) && isnan(energy.high_j));
    assert_non_null(strstr(energy.reason, "RESET"));
    assert_non_null(strstr(energy.reason, "went back"));

    struct wattle_reading after = end[0];
    tree_now_ns += 10000000000;
    tree_joules(&c, 500);
    wattle_meter_read(meter, end);
    assert_int_equal(end[0].status, WATTLE_OK);
    wattle_meter_energy(meter, &after, end, &energy);
    assert_joules(&energy, 500);
    wattle_meter_close(meter);
}

static void test_jump_forward(void **state)
{
    (void)state;
    struct tree_counter c = tree_zone("intel-rapl:0", "package-0", TREE_INTEL_NJ, 5000);
    struct wattle_meter *meter = tree_open("powercap");
    wattle_meter_read(meter, begin);
    tree_now_ns += 1000000000;
    tree_joules(&c, 2201); /* 2 kW for 1.1 s is the most */
    wattle_meter_read(meter, end);
    assert_int_equal(end[0].status, WATTLE_RESET);
    tree_now_ns += 1000000000;
    tree_joules(&c, 2199);
    wattle_meter_read(meter, end);
    assert_int_equal(end[0].status, WATTLE_OK);
    assert_true(llabs((long long)end[0].total_uj - 2199000000) < 100);
    wattle_meter_close(meter);
}

/* Not read for longer than a wrap at 2 kW: what happened meanwhile is not known. */
static void test_read_too_late(void **state)
{
    (void)state;
    struct tree_counter counters[2];
    amd_tree(counters, 100);
    struct wattle_meter *meter = tree_open("powercap");
    wattle_meter_read(meter, begin);
    tree_now_ns += 33000000000; /* 65.5 kJ / 2 kW is 32.8 s */
    tree_joules(&counters[0], 10);
    wattle_meter_read(meter, end);
    assert_int_equal(end[0].status, WATTLE_RESET);
    struct wattle_energy energy;
    wattle_meter_energy(meter, begin, end, &energy);
    assert_non_null(strstr(energy.reason, "not read for so long"));
    wattle_meter_close(meter);
}

static void test_stuck(void **state)
{
    (void)state;
    tree_zone("intel-rapl:0", "package-0", TREE_INTEL_NJ, 5000);
    struct tree_counter core = tree_zone("intel-rapl:0:0", "core", TREE_INTEL_NJ, 5000);
    struct wattle_meter *meter = tree_open("powercap");
    wattle_meter_read(meter, begin);
    assert_int_equal(begin[0].status, WATTLE_OK);
    tree_now_ns += 99000000;
    wattle_meter_read(meter, end);
    assert_int_equal(end[0].status, WATTLE_OK);
    struct wattle_energy energy;
    wattle_meter_energy(meter, begin, end, &energy);
    assert_int_equal(energy.provenance, WATTLE_NONE); /* never 0 J */
    tree_now_ns += 1000000;
    wattle_meter_read(meter, end);
    assert_int_equal(end[0].status, WATTLE_STUCK);
    assert_int_equal(end[1].status, WATTLE_OK); /* cores may sleep */
    wattle_meter_energy(meter, begin, end, &energy);
    assert_int_equal(energy.provenance, WATTLE_NONE);
    assert_non_null(strstr(energy.reason, "STUCK"));
    tree_joules(&core, 1);
    wattle_meter_close(meter);
}

/* psys with steps of 1 J is not stuck because it waits for the next joule. */
static void test_coarse_psys(void **state)
{
    (void)state;
    tree_zone("intel-rapl:0", "psys", TREE_PSYS_NJ, 5000);
    struct wattle_meter *meter = tree_open("powercap");
    tree_now_ns += 1500000000;
    wattle_meter_read(meter, end);
    assert_int_equal(end[0].status, WATTLE_OK);
    tree_now_ns += 1500000000;
    wattle_meter_read(meter, end);
    assert_int_equal(end[0].status, WATTLE_STUCK);
    assert_int_equal(wattle_meter_usable(meter), 0); /* information is no sum */
    struct wattle_energy energy;
    wattle_meter_energy(meter, end, end, &energy);
    assert_int_equal(energy.provenance, WATTLE_NONE);
    assert_non_null(strstr(energy.reason, "no part"));
    wattle_meter_close(meter);
}

static uint64_t slept_ns;

static uint64_t boot_clock(void)
{
    return tree_now_ns + slept_ns;
}

static void test_suspend(void **state)
{
    (void)state;
    struct tree_counter c = tree_zone("intel-rapl:0", "package-0", TREE_INTEL_NJ, 5000);
    struct wattle_meter *meter = tree_open("powercap");
    meter->boot_ns = boot_clock;
    wattle_meter_read(meter, begin);
    slept_ns = 3600000000000;
    tree_now_ns += 1000000000;
    tree_joules(&c, 10);
    wattle_meter_read(meter, end);
    assert_int_equal(end[0].gaps, 1);
    struct wattle_energy energy;
    wattle_meter_energy(meter, begin, end, &energy);
    assert_non_null(strstr(energy.reason, "suspended"));
    wattle_meter_close(meter);
}

/* Zen 1 and 2: both dies show the socket's counter; a second socket has its own. */
static struct wattle_energy dies(const char *vendor, double other_die_w,
                                 struct wattle_energy *early)
{
    tree_cpuinfo(vendor, 23, 1, "");
    struct tree_counter c[] = {
        tree_zone("intel-rapl:0", "package-0-die-0", TREE_AMD_NJ, 70),
        tree_zone("intel-rapl:1", "package-0-die-1", TREE_AMD_NJ, 70),
        tree_zone("intel-rapl:2", "package-1-die-2", TREE_AMD_NJ, 40),
    };
    struct wattle_meter *meter = tree_open("powercap");
    wattle_meter_read(meter, begin);
    for (int s = 0; s < 10; s++) {
        tree_now_ns += 1000000000;
        tree_joules(&c[0], 100);
        tree_joules(&c[1], other_die_w);
        tree_joules(&c[2], 80);
        wattle_meter_read(meter, end);
        if (s == 0)
            wattle_meter_energy(meter, begin, end, early);
    }
    struct wattle_energy energy;
    wattle_meter_energy(meter, begin, end, &energy);
    const struct wattle_domain *twin = wattle_meter_domain(meter, 1);
    if (!twin->in_total)
        assert_non_null(strstr(twin->text, "package-0-die-0"));
    wattle_meter_close(meter);
    return energy;
}

static void test_amd_dies_mirror(void **state)
{
    (void)state;
    struct wattle_energy early, energy = dies("AuthenticAMD", 100.2, &early);
    /* Not known yet: no figure rather than a double one. */
    assert_int_equal(early.provenance, WATTLE_NONE);
    assert_non_null(strstr(early.reason, "not yet told apart"));
    assert_joules(&energy, 1800);
}

static void test_real_dies_are_summed(void **state)
{
    (void)state;
    struct wattle_energy early, energy = dies("AuthenticAMD", 60, &early);
    assert_joules(&energy, 2400);
    energy = dies("GenuineIntel", 100, &early); /* Intel's dies have counters of their own */
    assert_joules(&early, 280);
    assert_joules(&energy, 2800);
}

/* Sapphire Rapids under a kernel that takes 15.3 uJ for its memory. */
static void test_wrong_dram_unit(void **state)
{
    (void)state;
    tree_cpuinfo("GenuineIntel", 6, 143, "");
    struct tree_counter package = tree_zone("intel-rapl:0", "package-0", TREE_INTEL_NJ, 5);
    struct tree_counter dram = tree_zone("intel-rapl:0:0", "dram", TREE_DRAM_NJ, 65712);
    struct wattle_meter *meter = tree_open("powercap");
    wattle_meter_read(meter, begin);
    tree_now_ns += 10000000000;
    tree_joules(&package, 100);
    tree_joules(&dram, 40 * 15300.0 / 61035); /* 40 J shown too low, across a wrap */
    wattle_meter_read(meter, end);
    struct wattle_energy energy;
    wattle_meter_energy(meter, begin, end, &energy);
    assert_joules(&energy, 140);
    assert_int_equal(end[1].wraps, 1);
    assert_non_null(strstr(wattle_meter_domain(meter, 1)->text, "61035/15300"));
    wattle_meter_close(meter);
}

static void expect_missing(enum wattle_status status, const char *text)
{
    struct wattle_meter *meter = tree_open("powercap");
    assert_non_null(meter);
    const struct wattle_domain *d = wattle_meter_domain(meter, 0);
    print_message("%s: %s\n", wattle_status_name(d->status), d->text);
    assert_int_equal(wattle_meter_usable(meter), 0);
    assert_int_equal(d->status, status);
    assert_non_null(strstr(d->text, text));
    assert_true(strlen(d->text) < sizeof d->text - 1); /* not cut */
    wattle_meter_read(meter, begin);
    tree_now_ns += 1000000;
    wattle_meter_read(meter, end);
    assert_int_equal(end[0].status, status);
    struct wattle_energy energy;
    wattle_meter_energy(meter, begin, end, &energy);
    assert_int_equal(energy.provenance, WATTLE_NONE);
    assert_true(isnan(energy.j));
    assert_true(!strncmp(energy.reason, wattle_status_name(status), 4));
    assert_int_equal(wattle_meter_edge(meter, 1000000000, end), 0); /* at once */
    wattle_meter_close(meter);
}

static void test_absent(void **state)
{
    (void)state;
    expect_missing(WATTLE_ABSENT, "modprobe intel_rapl_msr");
    tree_cpuinfo("AuthenticAMD", 25, 1, "hypervisor");
    expect_missing(WATTLE_ABSENT, "virtual machine");
    tree_cpuinfo("GenuineIntel", 6, 1, "");
    tree_folder(TREE_POWERCAP "dtpm");
    expect_missing(WATTLE_ABSENT, "modprobe intel_rapl_msr");
    tree_write("/proc/cpuinfo", "processor\t: 0\nBogoMIPS\t: 50.00\n");
    expect_missing(WATTLE_ABSENT, "another kind");
}

static void test_masked(void **state)
{
    (void)state;
    tree_folder("/sys/class/powercap");
    expect_missing(WATTLE_MASKED, "systempaths=unconfined");
    tree_cpuinfo("AuthenticAMD", 25, 1, "hypervisor");
    expect_missing(WATTLE_MASKED, "virtual machine has none");
}

/* What Docker really leaves: links into a folder that an empty one covers. */
static void test_masked_links(void **state)
{
    (void)state;
    tree_folder("/sys/class/powercap");
    tree_folder("/sys/devices/virtual/powercap");
    tree_cpuinfo("AuthenticAMD", 25, 1, "hypervisor");
    for (int i = 0; i < 2; i++) {
        char target[96], link[96];
        const char *id = i ? "intel-rapl:0" : "intel-rapl";
        snprintf(target, sizeof target, "../../devices/virtual/powercap/intel-rapl/%s", id);
        snprintf(link, sizeof link, TREE_POWERCAP "%s", id);
        assert_int_equal(symlink(target, tree_path(link)), 0);
    }
    expect_missing(WATTLE_MASKED, "systempaths=unconfined");
}

/* The normal case of a user who is not root, in a child that is nobody. */
static void test_permission(void **state)
{
    (void)state;
    struct tree_counter c = tree_zone("intel-rapl:0", "package-0", TREE_INTEL_NJ, 5);
    assert_int_equal(chmod(tree_path(c.path), 0400), 0);
    assert_int_equal(chmod(tree_root, 0755), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (getuid() == 0 && setuid(65534))
            _exit(9);
        if (getuid() != 65534) /* not root before: then the file is ours, and this makes it not */
            chmod(tree_path(c.path), 0);
        struct wattle_meter *meter = tree_open("powercap");
        const struct wattle_domain *d = wattle_meter_domain(meter, 0);
        wattle_meter_read(meter, begin);
        tree_now_ns += 1000000000;
        wattle_meter_read(meter, end);
        struct wattle_energy energy;
        wattle_meter_energy(meter, begin, end, &energy);
        int good = d->status == WATTLE_PERM && end[0].status == WATTLE_PERM &&
                   !wattle_meter_usable(meter) && strstr(d->text, "CVE-2020-8694") &&
                   strstr(d->text, "chmod") && strlen(d->text) < sizeof d->text - 1 &&
                   energy.provenance == WATTLE_NONE && isnan(energy.j) &&
                   strstr(energy.reason, "PERM") && !strcmp(d->name, "package-0");
        wattle_meter_close(meter);
        _exit(good ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void test_open_errors(void **state)
{
    (void)state;
    struct wattle_meter *meter;
    char error[WATTLE_ERROR_MAX];
    struct wattle_meter_options options = {.size = sizeof options};
    assert_true(wattle_meter_open("powrcap", &options, &meter, error) > 0);
    assert_null(meter);
    assert_string_equal(error, "unknown meter 'powrcap': known are powercap, estimate");
    assert_string_equal(wattle_meter_names()[0], "powercap");
    assert_string_equal(wattle_meter_names()[1], "estimate");
    assert_null(wattle_meter_names()[2]);

    struct {
        struct wattle_meter_options known;
        uint64_t later;
    } newer = {.known = {.size = sizeof newer, .sysroot = tree_root}};
    assert_int_equal(wattle_meter_open("powercap", &newer.known, &meter, error), 0);
    wattle_meter_close(meter);
    newer.later = 1;
    assert_true(wattle_meter_open("powercap", &newer.known, &meter, error) > 0);
    newer.known.size = 0;
    assert_true(wattle_meter_open("powercap", &newer.known, &meter, error) > 0);
    wattle_meter_close(NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, tree_begin, tree_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_truth_two_packages), TEST(test_truth_one_wrap),  TEST(test_truth_intel_wrap),
        TEST(test_truth_failed_read),  TEST(test_truth_burst),     TEST(test_server_tree),
        TEST(test_mmio_alone),         TEST(test_memory_not_measured),
        TEST(test_reset),              TEST(test_jump_forward),    TEST(test_read_too_late),
        TEST(test_stuck),              TEST(test_coarse_psys),     TEST(test_suspend),
        TEST(test_amd_dies_mirror),    TEST(test_real_dies_are_summed),
        TEST(test_wrong_dram_unit),    TEST(test_absent),          TEST(test_masked),
        TEST(test_masked_links),       TEST(test_permission),      TEST(test_open_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
