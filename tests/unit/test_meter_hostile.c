/* System files that are not what they should be: a status and a text, never a crash, a hang or a
 * number made up. */
#include "meter/fake.h"
#include "meter/meter.h"

#include "test.h"
#include "meter_tree.h"

#include <errno.h>
#include <math.h>
#include <sys/syscall.h>

/* Takes the C library's place: reads fail with this errno while it is not 0. */
static int pread_errno;

ssize_t pread(int fd, void *buffer, size_t size, off_t offset)
{
    if (pread_errno) {
        errno = pread_errno;
        return -1;
    }
    return syscall(SYS_pread64, fd, buffer, size, offset);
}

static struct wattle_reading begin[WATTLE_DOMAIN_MAX], end[WATTLE_DOMAIN_MAX];

#define ENERGY TREE_POWERCAP "intel-rapl:0/energy_uj"

/* Opens the tree, reads, and says how its first domain stands. */
static enum wattle_status status_of_tree(void)
{
    struct wattle_meter *meter = tree_open("powercap");
    assert_non_null(meter);
    wattle_meter_read(meter, begin);
    tree_now_ns += 1000000;
    wattle_meter_read(meter, end);
    struct wattle_energy energy;
    wattle_meter_energy(meter, begin, end, &energy);
    enum wattle_status status = wattle_meter_domain(meter, 0)->status;
    if (status != WATTLE_OK) {
        assert_true(wattle_meter_domain(meter, 0)->text[0]);
        assert_int_equal(wattle_meter_usable(meter), 0);
        assert_int_equal(energy.provenance, WATTLE_NONE);
        assert_true(energy.reason[0]);
    }
    wattle_meter_close(meter);
    return status;
}

static void test_values(void **state)
{
    (void)state;
    static char large[1 << 20];
    memset(large, '7', sizeof large);
    static const struct {
        const char *bytes;
        size_t size;
    } bad[] = {
        {"", 0}, {"\n", 1}, {"-5\n", 3}, {"+5\n", 3}, {" 5\n", 3}, {"5 \n", 3}, {"5\n\n", 3},
        {"12a\n", 4}, {"0x10\n", 5}, {"1e9\n", 4}, {"1.5\n", 4}, {"nan\n", 4}, {"5\0\n", 3},
        {"\xff\xfe\x00\x01", 4}, {"99999999999999999999\n", 21}, {"18446744073709551617\n", 21},
        {"1000000000000000001\n", 20}, {"262143328851\n", 13}, {large, sizeof large},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tree_zone("intel-rapl:0", "package-0", TREE_INTEL_NJ, 5);
        tree_bytes(ENERGY, bad[i].bytes, bad[i].size);
        assert_int_equal(status_of_tree(), WATTLE_ERROR);
    }
    static const char *const good[] = {"0\n", "5", "262143328850\n"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        tree_write(ENERGY, "%s", good[i]);
        assert_int_equal(status_of_tree(), WATTLE_OK);
    }
}

static void test_no_regular_file(void **state)
{
    (void)state;
    tree_zone("intel-rapl:0", "package-0", TREE_INTEL_NJ, 5);
    const char *path = tree_path(ENERGY);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(status_of_tree(), WATTLE_ABSENT);
    assert_int_equal(mkfifo(path, 0644), 0);
    assert_int_equal(status_of_tree(), WATTLE_ERROR);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(status_of_tree(), WATTLE_ERROR);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(symlink("energy_uj", path), 0);
    assert_int_equal(status_of_tree(), WATTLE_ERROR);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/dev/zero", path), 0);
    assert_int_equal(status_of_tree(), WATTLE_ERROR);
}

static void test_names(void **state)
{
    (void)state;
    static char large[1 << 20];
    memset(large, 'p', sizeof large);
    static const struct {
        const char *bytes;
        size_t size;
        enum wattle_status status;
    } names[] = {
        {"", 0, WATTLE_ERROR},        {"package-0\0x\n", 12, WATTLE_ERROR},
        {"pack\x1b[31m\n", 9, WATTLE_ERROR}, {large, sizeof large, WATTLE_ERROR},
        {"package-\n", 9, WATTLE_OK}, {"package-0-die-\n", 15, WATTLE_OK},
        {"package-999999999999\n", 21, WATTLE_OK}, {"dram\n", 5, WATTLE_OK},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        tree_zone("intel-rapl:0", "x", TREE_INTEL_NJ, 5);
        tree_bytes(TREE_POWERCAP "intel-rapl:0/name", names[i].bytes, names[i].size);
        assert_int_equal(status_of_tree(), names[i].status);
        struct wattle_meter *meter = tree_open("powercap");
        assert_int_equal(wattle_meter_usable(meter), 0); /* unknown names are never summed */
        wattle_meter_close(meter);
    }
}

/* A zone that may be a package but cannot be named must not be left out in silence. */
static void test_unnamed_zone_beside_a_good_one(void **state)
{
    (void)state;
    tree_zone("intel-rapl:0", "package-0", TREE_INTEL_NJ, 5);
    tree_zone("intel-rapl:1", "package-1", TREE_INTEL_NJ, 5);
    assert_int_equal(unlink(tree_path(TREE_POWERCAP "intel-rapl:1/name")), 0);
    struct wattle_meter *meter = tree_open("powercap");
    assert_int_equal(wattle_meter_domain_count(meter), 2);
    assert_int_equal(wattle_meter_usable(meter), 0);
    assert_non_null(strstr(wattle_meter_domain(meter, 1)->text, "cannot be identified"));
    wattle_meter_close(meter);

    /* Memory of a parent that is no package: whose it is cannot be said. */
    tree_zone("intel-rapl:1", "board", TREE_INTEL_NJ, 5);
    tree_zone("intel-rapl:1:0", "dram", TREE_INTEL_NJ, 5);
    meter = tree_open("powercap");
    assert_int_equal(wattle_meter_domain_count(meter), 3);
    assert_int_equal(wattle_meter_usable(meter), 0);
    wattle_meter_close(meter);
    assert_int_equal(unlink(tree_path(TREE_POWERCAP "intel-rapl:1:0/name")), 0);
    assert_int_equal(unlink(tree_path(TREE_POWERCAP "intel-rapl:1:0/energy_uj")), 0);
    assert_int_equal(unlink(tree_path(TREE_POWERCAP "intel-rapl:1:0/max_energy_range_uj")), 0);
    assert_int_equal(rmdir(tree_path(TREE_POWERCAP "intel-rapl:1:0")), 0);

    tree_zone("intel-rapl:1", "package-0", TREE_INTEL_NJ, 5); /* and the same name twice */
    meter = tree_open("powercap");
    assert_int_equal(wattle_meter_usable(meter), 1);
    assert_int_equal(wattle_meter_domain(meter, 1)->in_total, 0);
    wattle_meter_close(meter);
}

static void test_ids(void **state)
{
    (void)state;
    static const char *const ids[] = {
        "intel-rapl", "intel-rapl:", "intel-rapl:g", "intel-rapl:0:", "intel-rapl:0:1:2",
        "intel-rapl-mmio", "intel-raplx:0", "intel-rapl:0 ", "xintel-rapl:0", "intel-rapl:A",
        "intel-rapl:00000000000000000000000000000000000000000000000000000000000000",
    };
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        tree_zone(ids[i], "package-0", TREE_INTEL_NJ, 5);
    assert_int_equal(status_of_tree(), WATTLE_ABSENT);
}

static void test_many_zones(void **state)
{
    (void)state;
    char id[32], name[32];
    for (int i = 0; i < 70; i++) {
        snprintf(id, sizeof id, "intel-rapl:%x", i);
        snprintf(name, sizeof name, "package-%d", i);
        tree_zone(id, name, TREE_INTEL_NJ, 5);
    }
    struct wattle_meter *meter = tree_open("powercap");
    assert_int_equal(wattle_meter_domain_count(meter), WATTLE_DOMAIN_MAX);
    assert_int_equal(wattle_meter_usable(meter), 0); /* rather none than a part of the sum */
    wattle_meter_close(meter);
    for (int i = 0; i < 260; i++) {
        snprintf(id, sizeof id, "intel-rapl:0:%x", i);
        tree_zone(id, "core", TREE_INTEL_NJ, 5);
    }
    assert_int_equal(status_of_tree(), WATTLE_ERROR);
}

/* Children beyond the table are left out before anything of the sum is. */
static void test_many_children(void **state)
{
    (void)state;
    char id[32];
    tree_zone("intel-rapl:0", "package-0", TREE_INTEL_NJ, 5);
    tree_zone("intel-rapl:ff", "package-1", TREE_INTEL_NJ, 5);
    for (int i = 0; i < 100; i++) {
        snprintf(id, sizeof id, "intel-rapl:0:%x", i);
        tree_zone(id, i % 2 ? "core" : "uncore", TREE_INTEL_NJ, 5);
    }
    struct wattle_meter *meter = tree_open("powercap");
    assert_int_equal(wattle_meter_usable(meter), 1);
    assert_true(tree_domain(meter, "package-1") == 1);
    wattle_meter_close(meter);
}

static void test_ranges(void **state)
{
    (void)state;
    static const char *const ranges[] = {"", "0\n", "1\n", "garbage\n", "-1\n"};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        struct tree_counter c = tree_zone("intel-rapl:0", "package-0", TREE_INTEL_NJ, 262100);
        tree_write(TREE_POWERCAP "intel-rapl:0/max_energy_range_uj", "%s", ranges[i]);
        struct wattle_meter *meter = tree_open("powercap");
        const struct wattle_domain *d = wattle_meter_domain(meter, 0);
        assert_int_equal(d->status, WATTLE_OK);
        assert_int_equal(d->wrap_uj, 0);
        assert_non_null(strstr(d->text, "range is not known"));
        wattle_meter_read(meter, begin);
        tree_now_ns += 1000000000;
        tree_joules(&c, 100); /* a wrap, which cannot be told from a reset */
        wattle_meter_read(meter, end);
        assert_int_equal(end[0].status, WATTLE_RESET);
        wattle_meter_close(meter);
    }
    tree_zone("intel-rapl:0", "package-0", TREE_INTEL_NJ, 5);
    tree_write(TREE_POWERCAP "intel-rapl:0/max_energy_range_uj", "1000000000000000000\n");
    assert_int_equal(status_of_tree(), WATTLE_OK);
}

static void test_folder_is_a_file(void **state)
{
    (void)state;
    tree_write("/sys/class/powercap", "x");
    assert_int_equal(status_of_tree(), WATTLE_ERROR);
}

static void test_zone_loop(void **state)
{
    (void)state;
    tree_folder("/sys/class/powercap");
    assert_int_equal(symlink("intel-rapl:0", tree_path(TREE_POWERCAP "intel-rapl:0")), 0);
    assert_int_equal(status_of_tree(), WATTLE_ERROR);
}

static void test_long_sysroot(void **state)
{
    (void)state;
    static char root[PATH_MAX + 100];
    memset(root, 'x', sizeof root - 1);
    static const char *const names[] = {"powercap", "estimate"};
    for (size_t i = 0; i < 2; i++) {
        struct wattle_meter_options options = {.size = sizeof options, .sysroot = root};
        struct wattle_meter *meter;
        assert_int_equal(wattle_meter_open(names[i], &options, &meter, NULL), 0);
        assert_int_equal(wattle_meter_domain(meter, 0)->status, WATTLE_ERROR);
        assert_int_equal(wattle_meter_usable(meter), 0);
        wattle_meter_close(meter);
    }
}

/* EIO and ENODATA in the middle of a window, and at its ends. */
static void test_failing_reads(void **state)
{
    (void)state;
    static const struct {
        int code;
        enum wattle_status status;
    } cases[] = {{EIO, WATTLE_ERROR}, {ENODATA, WATTLE_ERROR}, {EACCES, WATTLE_PERM}};
    for (size_t i = 0; i < 3; i++) {
        struct tree_counter c = tree_zone("intel-rapl:0", "package-0", TREE_INTEL_NJ, 262140);
        struct wattle_meter *meter = tree_open("powercap");
        wattle_meter_read(meter, begin);
        tree_now_ns += 1000000000;
        tree_joules(&c, 100);
        pread_errno = cases[i].code;
        struct wattle_reading bad[WATTLE_DOMAIN_MAX];
        wattle_meter_read(meter, bad);
        pread_errno = 0;
        assert_int_equal(bad[0].status, cases[i].status);
        assert_int_equal(bad[0].total_uj, begin[0].total_uj);
        tree_now_ns += 1000000000;
        tree_joules(&c, 100);
        wattle_meter_read(meter, end);
        struct wattle_energy energy;
        wattle_meter_energy(meter, begin, end, &energy);
        assert_int_equal(energy.provenance, WATTLE_MEASURED);
        assert_true(fabs(energy.j - 200) < 2e-4);
        wattle_meter_energy(meter, begin, bad, &energy);
        assert_int_equal(energy.provenance, WATTLE_NONE);
        assert_non_null(strstr(energy.reason, "end of the window"));
        wattle_meter_energy(meter, bad, end, &energy);
        assert_int_equal(energy.provenance, WATTLE_NONE);
        wattle_meter_close(meter);
    }
}

/* Unreadable at open, readable later: the lost beginning is a gap. */
static void test_first_read_fails(void **state)
{
    (void)state;
    struct tree_counter c = tree_zone("intel-rapl:0", "package-0", TREE_INTEL_NJ, 5);
    pread_errno = 0;
    tree_write(c.path, "broken\n");
    struct wattle_meter *meter = tree_open("powercap");
    assert_int_equal(wattle_meter_domain(meter, 0)->status, WATTLE_ERROR);
    wattle_meter_read(meter, begin);
    assert_int_equal(begin[0].status, WATTLE_ERROR);
    tree_joules(&c, 1);
    wattle_meter_read(meter, begin);
    assert_int_equal(begin[0].status, WATTLE_RESET);
    assert_int_equal(begin[0].gaps, 1);
    tree_now_ns += 1000000000;
    tree_joules(&c, 50);
    wattle_meter_read(meter, end);
    assert_int_equal(end[0].status, WATTLE_OK);
    struct wattle_energy energy;
    wattle_meter_energy(meter, begin, end, &energy);
    assert_true(fabs(energy.j - 50) < 2e-4);
    wattle_meter_close(meter);
}

static void test_cpuinfo(void **state)
{
    (void)state;
    static char large[1 << 20];
    struct meter_cpu cpu;
    memset(large, 'f', sizeof large);
    memcpy(large, "flags\t: ", 8);
    tree_bytes("/proc/cpuinfo", large, sizeof large);
    meter_cpu_read(&cpu, tree_root);
    assert_int_equal(cpu.cores, 1);
    tree_write("/proc/cpuinfo", "processor : 0\nsiblings : -7\ncpu cores : 99999999999999\n"
                                "cpu family : 99999999999999999999\nmodel :\nmodel");
    meter_cpu_read(&cpu, tree_root);
    assert_int_equal(cpu.threads, 1);
    assert_int_equal(cpu.cores, 1);
    assert_int_equal(unlink(tree_path("/proc/cpuinfo")), 0);
    assert_int_equal(mkfifo(tree_path("/proc/cpuinfo"), 0644), 0);
    meter_cpu_read(&cpu, tree_root);
    assert_int_equal(cpu.present, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, tree_begin, tree_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_values), TEST(test_no_regular_file), TEST(test_names),
        TEST(test_unnamed_zone_beside_a_good_one), TEST(test_ids), TEST(test_many_zones),
        TEST(test_many_children), TEST(test_ranges), TEST(test_folder_is_a_file),
        TEST(test_zone_loop), TEST(test_long_sysroot), TEST(test_failing_reads),
        TEST(test_first_read_fails), TEST(test_cpuinfo),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
