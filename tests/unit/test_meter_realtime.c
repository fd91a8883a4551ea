/* powercap against a process that advances the counters every millisecond, in real time. */
#include "test.h"
#include "meter_tree.h"

#include <math.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

/* What the writer has put in, in units of each counter; shared with the test. */
struct written {
    volatile double units[4];
    volatile int stop;
};

static struct written *written;
static struct tree_counter counters[4];
static size_t counter_count;
static pid_t writer;

static void nap_ns(long ns)
{
    struct timespec t = {.tv_nsec = ns};
    nanosleep(&t, NULL);
}

/* In place. Numbers get shorter only at a wrap: the file is empty for a moment then, which the
 * meter sees as one failed read. */
static void store(const struct tree_counter *c, int fd, int *length)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%llu\n",
                     (unsigned long long)tree_raw_uj(c->unit_nj, c->units));
    if ((n < *length && ftruncate(fd, 0)) || pwrite(fd, text, (size_t)n, 0) != n)
        _exit(2);
    *length = n;
}

static void write_counters(double power_w)
{
    int fds[4], lengths[4] = {24, 24, 24, 24};
    for (size_t i = 0; i < counter_count; i++)
        fds[i] = open(tree_path(counters[i].path), O_WRONLY);
    while (!written->stop) {
        for (size_t i = 0; i < counter_count; i++) {
            counters[i].units += power_w * 1e-3 * 1e9 / (double)counters[i].unit_nj;
            store(&counters[i], fds[i], &lengths[i]);
            written->units[i] = counters[i].units;
        }
        nap_ns(900000);
    }
    _exit(0);
}

static void start_writer(size_t count, double power_w)
{
    counter_count = count;
    written = mmap(NULL, sizeof *written, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                   0);
    assert_true(written != MAP_FAILED);
    for (size_t i = 0; i < count; i++)
        written->units[i] = counters[i].units;
    writer = fork();
    assert_true(writer >= 0);
    if (writer == 0)
        write_counters(power_w);
}

static void stop_writer(void)
{
    written->stop = 1;
    int status;
    assert_int_equal(waitpid(writer, &status, 0), writer);
    assert_int_equal(status, 0);
}

static struct wattle_meter *open_real(void)
{
    struct wattle_meter_options options = {.size = sizeof options, .sysroot = tree_root};
    struct wattle_meter *meter;
    assert_int_equal(wattle_meter_open("powercap", &options, &meter, NULL), 0);
    return meter;
}

/* Every joule the writer puts in comes out, over reads at odd moments. */
static void test_every_joule(void **state)
{
    (void)state;
    counters[0] = tree_zone("intel-rapl:0", "package-0", TREE_INTEL_NJ, 262113);
    counters[1] = tree_zone("intel-rapl:0:0", "dram", TREE_DRAM_NJ, 10000);
    counters[2] = tree_zone("intel-rapl:1", "psys", TREE_PSYS_NJ, 10000);
    double first[2] = {counters[0].units, counters[1].units};
    struct wattle_reading begin[4], end[4];
    start_writer(3, 150);
    struct wattle_meter *meter = open_real();
    assert_int_equal(wattle_meter_usable(meter), 1);
    assert_int_equal(wattle_meter_edge(meter, 1000000000, begin), 1);
    for (int i = 0; i < 60; i++) {
        nap_ns(7000000 + i * 13000);
        wattle_meter_read(meter, end);
    }
    stop_writer();
    wattle_meter_read(meter, end);
    /* The total since open, plus what was there before it, is what was written. */
    for (int i = 0; i < 2; i++) {
        double put_uj = (written->units[i] - first[i]) * (double)counters[i].unit_nj / 1000;
        double at_open_uj = put_uj - (double)end[i].total_uj;
        assert_int_equal(end[i].gaps, 0);
        assert_true(at_open_uj >= -100 && at_open_uj < 0.25 * put_uj);
    }
    assert_true(end[0].wraps == (written->units[0] >= 4294967296.0));
    struct wattle_energy energy;
    wattle_meter_energy(meter, begin, end, &energy);
    assert_int_equal(energy.provenance, WATTLE_MEASURED);
    /* Between two states of the files nothing is lost: exact but for a step of each counter. */
    double j = (double)(end[0].total_uj - begin[0].total_uj + end[1].total_uj - begin[1].total_uj);
    assert_true(fabs(energy.j - j / 1e6) < 1e-9);
    print_message("%.3f J in %.3f s, wraps %u\n", energy.j, energy.seconds, end[0].wraps);
    wattle_meter_close(meter);
}

/* Exactness needs a begin that the test knows: files at rest, then a burst, then rest. */
static void test_burst_between_rests(void **state)
{
    (void)state;
    counters[0] = tree_zone("intel-rapl:0", "package-0", TREE_AMD_NJ, 65530);
    double first = counters[0].units;
    struct wattle_reading begin[4], end[4];
    start_writer(1, 280); /* while opening, where a counter at rest would be found stuck */
    struct wattle_meter *meter = open_real();
    stop_writer();
    wattle_meter_read(meter, begin);
    double rest = written->units[0];
    assert_true(rest > first);
    counters[0].units = rest;
    start_writer(1, 280);
    for (int i = 0; i < 40; i++) {
        nap_ns(5000000);
        wattle_meter_read(meter, end);
    }
    stop_writer();
    wattle_meter_read(meter, end);
    struct wattle_energy energy;
    wattle_meter_energy(meter, begin, end, &energy);
    double truth_j = (floor(written->units[0]) - floor(rest)) * TREE_AMD_NJ / 1e9;
    print_message("%.6f J, truth %.6f J, wraps %u\n", energy.j, truth_j, end[0].wraps);
    assert_int_equal(energy.provenance, WATTLE_MEASURED);
    assert_true(fabs(energy.j - truth_j) < 3e-6);
    wattle_meter_close(meter);
}

/* A counter that nobody advances is found at open, and so is memory that is not connected. */
static void test_stuck_at_open(void **state)
{
    (void)state;
    counters[0] = tree_zone("intel-rapl:0", "package-0", TREE_INTEL_NJ, 10);
    struct wattle_meter *meter = open_real();
    const struct wattle_domain *d = wattle_meter_domain(meter, 0);
    assert_int_equal(d->status, WATTLE_STUCK);
    assert_true(d->text[0]);
    assert_int_equal(wattle_meter_usable(meter), 0);
    wattle_meter_close(meter);

    tree_zone("intel-rapl:0:0", "dram", TREE_INTEL_NJ, 10);
    start_writer(1, 50);
    meter = open_real();
    assert_int_equal(wattle_meter_domain(meter, 0)->status, WATTLE_OK);
    assert_int_equal(wattle_meter_domain(meter, 1)->status, WATTLE_STUCK);
    assert_int_equal(wattle_meter_domain(meter, 1)->in_total, 0);
    assert_int_equal(wattle_meter_usable(meter), 1);
    struct wattle_reading begin[4], end[4];
    wattle_meter_read(meter, begin);
    nap_ns(30000000);
    wattle_meter_read(meter, end);
    struct wattle_energy energy;
    wattle_meter_energy(meter, begin, end, &energy);
    assert_non_null(strstr(energy.reason, "memory of 1 of 1 packages not measured"));
    stop_writer();
    wattle_meter_close(meter);
}

/* AMD's mirrored dies are told apart before open returns. */
static void test_mirrors_at_open(void **state)
{
    (void)state;
    tree_cpuinfo("AuthenticAMD", 23, 1, "");
    counters[0] = tree_zone("intel-rapl:0", "package-0-die-0", TREE_AMD_NJ, 10);
    counters[1] = tree_zone("intel-rapl:1", "package-0-die-1", TREE_AMD_NJ, 10);
    start_writer(2, 90);
    struct wattle_meter *meter = open_real();
    struct wattle_reading begin[4], end[4];
    struct wattle_energy energy;
    wattle_meter_read(meter, begin);
    nap_ns(20000000);
    wattle_meter_read(meter, end);
    wattle_meter_energy(meter, begin, end, &energy);
    stop_writer();
    assert_int_equal(energy.provenance, WATTLE_MEASURED);
    assert_int_equal(wattle_meter_domain(meter, 0)->in_total, 1);
    assert_int_equal(wattle_meter_domain(meter, 1)->in_total, 0);
    wattle_meter_close(meter);
}

static int end_all(void **state)
{
    if (writer > 0)
        kill(writer, SIGKILL); /* a failed test leaves it running */
    if (writer > 0)
        waitpid(writer, NULL, 0);
    writer = 0;
    return tree_end(state);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, tree_begin, end_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_joule), TEST(test_burst_between_rests), TEST(test_stuck_at_open),
        TEST(test_mirrors_at_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
