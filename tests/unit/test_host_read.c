/* The description of a machine, from recorded trees, nothing, and rubbish. The trees are found from
 * the folder make runs in. */
#include "host/host.h"

#include "host/parts.h"
#include "host/source.h"

#include "test.h"
#include "meter_tree.h"

#include <math.h>
#include <sched.h>

#define FIXTURES "tests/fixtures/sysroot/"

static struct host read_host(const char *sysroot)
{
    struct host h;
    struct error e = {0};
    assert_int_equal(host_read(&h, sysroot, &e), 0);
    assert_non_null(h.fingerprint);
    return h;
}

static const char *text_of(const struct host *h, const char *key)
{
    const char *text = json_string_value(json_object_get(h->fingerprint, key));
    return text ? text : "(none)";
}

static long long number_of(const struct host *h, const char *key)
{
    json_t *value = json_object_get(h->fingerprint, key);
    return json_is_integer(value) ? json_integer_value(value) : -1;
}

/* Every title here is of a tree, which it says at its end. */
static void expect_title(const struct host *h, const char *expected)
{
    char title[256], whole[256];
    host_title(h, title, sizeof title);
    snprintf(whole, sizeof whole, "%s; simulated: /sys and /proc of %s", expected, h->sysroot);
    assert_string_equal(title, whole);
    assert_true(h->sysroot[0]);
}

/* What a tree allows, as far as this machine allows it. */
static int here(int threads)
{
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    return CPU_COUNT(&set) < threads ? CPU_COUNT(&set) : threads;
}

static void expect_title_threads(const struct host *h, const char *start, int cores, int threads)
{
    char text[160], more[32] = "";
    if (threads != cores)
        snprintf(more, sizeof more, ", %d thread%s", threads, threads == 1 ? "" : "s");
    snprintf(text, sizeof text, "%s, %d cores%s", start, cores, more);
    expect_title(h, text);
}

static void test_virtual_machine(void **state)
{
    (void)state;
    struct host h = read_host(FIXTURES "vm");
    expect_title_threads(&h, "AMD EPYC (virtual, kvm, docker)", 2, here(2));
    assert_string_equal(h.cpu, "AMD EPYC");
    assert_string_equal(h.virtualization, "kvm, docker");
    assert_int_equal(h.packages, 1);
    assert_int_equal(h.cores, 2);
    assert_int_equal(h.threads, here(2));
    assert_true(h.memory_bytes == 24683656ull * 1024);
    assert_string_equal(h.kernel, "6.18.44");
    assert_string_equal(h.os, "Debian GNU/Linux 12 (bookworm)");
    assert_string_equal(h.governor, "");
    assert_int_equal(h.turbo, -1);
    assert_string_equal(h.isa, "avx2");
    assert_string_equal(text_of(&h, "microcode"), "0x1000065");
    assert_string_equal(text_of(&h, "huge_pages"), "madvise");
    assert_string_equal(text_of(&h, "hypervisor"), "kvm");
    assert_string_equal(text_of(&h, "container"), "docker");
    assert_int_equal(number_of(&h, "family"), 25);
    assert_int_equal(number_of(&h, "swap_bytes"), 0);
    assert_int_equal(json_array_size(json_object_get(h.fingerprint, "caches")), 4);
    assert_true(json_is_null(json_object_get(h.fingerprint, "cpu_limit"))); /* -1 is no limit */
    assert_true(json_is_null(json_object_get(h.fingerprint, "governor")));
    host_release(&h);
    host_release(&h);
}

static void test_two_sockets(void **state)
{
    (void)state;
    struct host h = read_host(FIXTURES "intel-2s");
    expect_title_threads(&h, "2 x Intel Xeon Platinum 8380", 4, here(6));
    assert_string_equal(h.virtualization, "");
    assert_int_equal(h.packages, 2);
    assert_int_equal(h.cores, 4);
    assert_int_equal(h.threads, here(6)); /* of 8: the process is bound */
    assert_string_equal(h.governor, "performance");
    assert_int_equal(h.turbo, 0);
    assert_string_equal(h.isa, "avx512_vnni");
    assert_int_equal(number_of(&h, "threads"), 8);
    assert_int_equal(number_of(&h, "threads_allowed"), here(6));
    assert_int_equal(number_of(&h, "numa_nodes"), 2);
    assert_true(json_is_true(json_object_get(h.fingerprint, "smt")));
    assert_true(json_real_value(json_object_get(h.fingerprint, "cpu_limit")) == 3.5);
    assert_true(number_of(&h, "memory_limit_bytes") == 68719476736ll);
    assert_true(json_real_value(json_object_get(h.fingerprint, "frequency_max_mhz")) == 3400);
    json_t *last = json_array_get(json_object_get(h.fingerprint, "caches"), 3);
    assert_string_equal(json_string_value(json_object_get(last, "size")), "61440K");
    host_release(&h);
}

static void test_desktop(void **state)
{
    (void)state;
    struct host h = read_host(FIXTURES "amd-desktop");
    expect_title_threads(&h, "AMD Ryzen 7 7700X 8-Core", 7, here(14));
    assert_string_equal(h.os, "Arch Linux");
    assert_string_equal(h.governor, "mixed");
    assert_int_equal(h.turbo, 1);
    assert_true(json_is_false(json_object_get(h.fingerprint, "mains_power")));
    host_release(&h);
}

static void test_empty_tree(void **state)
{
    (void)state;
    struct host h = read_host(tree_root);
    expect_title(&h, "unknown CPU");
    assert_int_equal(h.packages + h.cores + h.threads, 0);
    assert_int_equal(h.memory_bytes, 0);
    assert_int_equal(h.turbo, -1);
    assert_true(json_is_null(json_object_get(h.fingerprint, "cpu")));
    assert_true(json_is_null(json_object_get(h.fingerprint, "swap_bytes")));
    host_release(&h);
    h = read_host("/nowhere/at/all");
    host_release(&h);
    static char longest[5000];
    memset(longest, 'x', sizeof longest - 1);
    h = read_host(longest);
    host_release(&h);
}

/* The machine the test runs on, whatever it is. */
static void test_this_machine(void **state)
{
    (void)state;
    struct host h = read_host("");
    char title[192];
    host_title(&h, title, sizeof title);
    print_message("%s; %s; %s\n", title, h.os, h.kernel);
    assert_true(h.packages >= 1 && h.cores >= h.packages && h.threads >= 1);
    assert_true(h.memory_bytes > 1 << 20);
    assert_true(h.kernel[0]);
    assert_null(strstr(title, "simulated"));
    host_release(&h);
}

/* Only cpuinfo, as where sysfs is not mounted. */
static void test_topology_of_cpuinfo(void **state)
{
    (void)state;
    tree_write("/proc/cpuinfo", "processor : 0\nphysical id : 0\ncore id : 0\n\n"
                                "processor : 1\nphysical id : 0\ncore id : 0\n\n"
                                "processor : 2\nphysical id : 1\ncore id : 0\n\n"
                                "processor : 3\nphysical id : 1\ncore id : 4\n");
    struct host h = read_host(tree_root);
    assert_int_equal(h.packages, 2);
    assert_int_equal(h.cores, 3);
    assert_int_equal(h.threads, here(4));
    host_release(&h);
    tree_write("/proc/cpuinfo", "processor : 0\nFeatures : fp asimd sve\n\nprocessor : 1\n");
    h = read_host(tree_root);
    assert_int_equal(h.packages, 1);
    assert_int_equal(h.cores, 2);
    assert_string_equal(h.isa, "sve");
    host_release(&h);
}

static void test_virtualization(void **state)
{
    (void)state;
    struct host_place place;
    host_place_read(&place, tree_root, 1);
    assert_string_equal(place.hypervisor, "unknown");
    tree_write("/sys/class/dmi/id/product_name", "Virtual Machine\n");
    host_place_read(&place, tree_root, 1);
    assert_string_equal(place.hypervisor, "hyperv");
    tree_write("/sys/class/dmi/id/sys_vendor", "VMware, Inc.\n");
    host_place_read(&place, tree_root, 1);
    assert_string_equal(place.hypervisor, "vmware");
    assert_string_equal(place.container, "");
    tree_write("/proc/1/cgroup", "0::/kubepods/besteffort/pod1/abc\n");
    host_place_read(&place, tree_root, 1);
    assert_string_equal(place.container, "kubernetes");
    tree_write("/run/systemd/container", "lxc\n");
    host_place_read(&place, tree_root, 1);
    assert_string_equal(place.container, "lxc");
    tree_write("/run/.containerenv", "%s", "");
    host_place_read(&place, tree_root, 1);
    assert_string_equal(place.container, "podman");
    struct host h = read_host(tree_root);
    expect_title(&h, "unknown CPU (virtual, vmware, podman)");
    host_release(&h);
}

static void test_container_title(void **state)
{
    (void)state;
    tree_write("/.dockerenv", "%s", "");
    tree_write("/proc/cpuinfo", "processor : 0\nmodel name : Some CPU\n");
    struct host h = read_host(tree_root);
    expect_title(&h, "Some CPU (container, docker), 1 core");
    host_release(&h);
}

/* The least limit on the way to the root binds, in either version of control groups. */
static void test_limits(void **state)
{
    (void)state;
    struct host_place place;
    tree_write("/proc/self/cgroup", "0::/a/b\n");
    tree_write("/sys/fs/cgroup/a/b/cpu.max", "400000 100000\n");
    tree_write("/sys/fs/cgroup/a/cpu.max", "150000 100000\n");
    tree_write("/sys/fs/cgroup/memory.max", "1000\n");
    host_place_read(&place, tree_root, 0);
    assert_true(place.cpu_limit == 1.5);
    assert_int_equal(place.memory_limit_bytes, 1000);
    static const char *const bad[] = {"", "max", "x y\n", "-5 100\n", "0 0\n", "5\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tree_write("/sys/fs/cgroup/a/cpu.max", "%s", bad[i]);
        host_place_read(&place, tree_root, 0);
        assert_true(place.cpu_limit == 4);
    }
    tree_write("/proc/self/cgroup", "4:memory:/c\n2:cpu,cpuacct:/c\n0::/../../x\n");
    tree_write("/sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "50000\n");
    tree_write("/sys/fs/cgroup/cpu/c/cpu.cfs_period_us", "100000\n");
    tree_write("/sys/fs/cgroup/memory/c/memory.limit_in_bytes", "9223372036854771712\n");
    host_place_read(&place, tree_root, 0);
    assert_true(place.cpu_limit == 0.5);
    assert_int_equal(place.memory_limit_bytes, 1000);
}

/* A tree of a larger machine does not make this one larger: a process on one CPU has one. */
static void test_bound(void **state)
{
    (void)state;
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); i++)
        if (CPU_ISSET(i, &before))
            CPU_SET(i, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    struct host h = read_host(FIXTURES "intel-2s");
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_int_equal(h.threads, 1);
    assert_int_equal(number_of(&h, "threads"), 8);
    host_release(&h);
}

static void test_cpu_lists(void **state)
{
    (void)state;
    static unsigned char cpus[SOURCE_CPU_MAX];
    assert_int_equal(source_cpu_list("0", cpus), 1);
    assert_int_equal(source_cpu_list("0-3,8,10-11", cpus), 7);
    assert_true(cpus[3] && !cpus[4] && cpus[8] && cpus[11]);
    assert_int_equal(source_cpu_list("0-99999999999999999999", cpus), SOURCE_CPU_MAX);
    assert_int_equal(source_cpu_list("5-3", cpus), 0);
    static const char *const bad[] = {"", "-", "1-", "a", "1 2", "1,,2", "1-2-3", "\xff"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(source_cpu_list(bad[i], cpus), 0);
}

/* Rubbish in every file: no crash, no hang, and text that is safe to print and to store. */
static void test_hostile(void **state)
{
    (void)state;
    static char rubbish[1 << 20];
    static const char *const paths[] = {
        "/proc/cpuinfo", "/proc/meminfo", "/proc/self/status", "/proc/self/cgroup", "/proc/stat",
        "/proc/vmstat", "/proc/loadavg", "/etc/os-release", "/proc/sys/kernel/osrelease",
        "/sys/devices/system/cpu/online", "/sys/class/dmi/id/sys_vendor", "/run/systemd/container",
        "/sys/kernel/mm/transparent_hugepage/enabled",
        "/sys/devices/system/cpu/cpu0/cache/index0/level",
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "/sys/class/hwmon/hwmon0/name",
        "/sys/fs/cgroup/cpu.max", "/sys/class/power_supply/AC/type",
    };
    static const char *const starts[] = {"",   "model name : ", "cpu  ", "MemTotal: ",
                                         "0-", "PRETTY_NAME=\"", "0::/", "[", "flags : "};
    unsigned random = 1;
    for (size_t i = 0; i < sizeof rubbish; i++) {
        random = random * 1664525 + 1013904223;
        rubbish[i] = (char)(random >> 24);
    }
    for (size_t s = 0; s < sizeof starts / sizeof *starts; s++) {
        memcpy(rubbish, starts[s], strlen(starts[s]));
        for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
            tree_bytes(paths[i], rubbish, s % 2 ? 4000 : sizeof rubbish);
        struct host h = read_host(tree_root);
        struct host_noise noise;
        host_noise_read(&noise, tree_root);
        char title[192], *text = json_dumps(h.fingerprint, 0);
        host_title(&h, title, sizeof title);
        for (const char *p = title; *p; p++)
            assert_true(*p >= ' ' && *p <= '~');
        assert_non_null(text);
        free(text);
        host_release(&h);
    }
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        assert_int_equal(unlink(tree_path(paths[i])), 0);
        if (i % 3 == 0)
            assert_int_equal(mkfifo(tree_path(paths[i]), 0644), 0);
        else if (i % 3 == 1)
            assert_int_equal(mkdir(tree_path(paths[i]), 0755), 0);
        else
            assert_int_equal(symlink("/dev/zero", tree_path(paths[i])), 0);
    }
    struct host h = read_host(tree_root);
    expect_title(&h, "unknown CPU");
    host_release(&h);
    struct host_noise noise;
    host_noise_read(&noise, tree_root);
    assert_int_equal(noise.busy_ns, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, tree_begin, tree_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_virtual_machine), TEST(test_two_sockets), TEST(test_desktop),
        TEST(test_empty_tree), TEST(test_this_machine), TEST(test_topology_of_cpuinfo),
        TEST(test_virtualization), TEST(test_container_title), TEST(test_limits),
        TEST(test_bound), TEST(test_cpu_lists), TEST(test_hostile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
