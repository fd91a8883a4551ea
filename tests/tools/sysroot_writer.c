/* sysroot_writer ROOT ZONE=WATTS...: a powercap tree whose counters advance in real time, for
 * tests that run the whole program with --sysroot ROOT. A zone is ID/NAME, for instance
 *
 *     sysroot_writer /tmp/tree intel-rapl:0/package-0=40 intel-rapl:0:0/dram=3.5
 *
 * Every millisecond each energy_uj becomes WATTS x the time since the start, from a value near the
 * end of its range (it wraps 100 J after the start). Prints "ready" and runs until it is killed or
 * its standard input is closed. */
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define UNIT_NJ 61035ull
#define RAW_MAX 4294967295ull
#define START_UNITS (RAW_MAX - 100 * 1000000000ull / UNIT_NJ)

enum { ZONES = 16, PATH = 512 };

static struct zone {
    int fd, length;
    double watts;
} zones[ZONES];

static int fail(const char *what)
{
    perror(what);
    exit(1);
}

/* Creates the folders that path names. */
static void make_folders(char *path)
{
    for (char *p = path + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        mkdir(path, 0755);
        *p = '/';
    }
}

static int create(const char *folder, const char *name, const char *text)
{
    char path[PATH];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= PATH)
        fail(folder);
    make_folders(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        fail(path);
    return fd;
}

static void add(struct zone *z, const char *root, char *argument)
{
    char folder[PATH], text[64];
    char *name = strchr(argument, '/'), *watts = name ? strchr(name, '=') : NULL;
    if (!watts) {
        fprintf(stderr, "'%s' is not ID/NAME=WATTS\n", argument);
        exit(2);
    }
    *name++ = *watts++ = '\0';
    if (snprintf(folder, sizeof folder, "%s/sys/class/powercap/%s", root, argument) >= PATH)
        fail(root);
    snprintf(text, sizeof text, "%s\n", name);
    close(create(folder, "name", text));
    snprintf(text, sizeof text, "%llu\n", RAW_MAX * UNIT_NJ / 1000);
    close(create(folder, "max_energy_range_uj", text));
    z->fd = create(folder, "energy_uj", "");
    z->watts = strtod(watts, NULL);
}

/* In place, as readers keep the file open; emptied first where the text gets shorter (a wrap). */
static void store(struct zone *z, double seconds)
{
    uint64_t units = START_UNITS + (uint64_t)(z->watts * seconds * 1e9 / UNIT_NJ);
    char text[32];
    int n = snprintf(text, sizeof text, "%llu\n",
                     (unsigned long long)((units & RAW_MAX) * UNIT_NJ / 1000));
    if ((n < z->length && ftruncate(z->fd, 0)) || pwrite(z->fd, text, (size_t)n, 0) != n)
        fail("energy_uj");
    z->length = n;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    int count = argc - 2;
    if (count < 1 || count > ZONES)
        return fprintf(stderr, "usage: sysroot_writer ROOT ID/NAME=WATTS...\n"), 2;
    for (int i = 0; i < count; i++)
        add(&zones[i], argv[1], argv[i + 2]);
    double start_s = now_s();
    struct pollfd input = {.fd = 0, .events = POLLIN};
    for (int ready = 0;; ready = 1) {
        double seconds = now_s() - start_s;
        for (int i = 0; i < count; i++)
            store(&zones[i], seconds);
        if (!ready && (puts("ready") < 0 || fflush(stdout)))
            return 1;
        char byte;
        if (poll(&input, 1, 1) > 0 && read(0, &byte, 1) <= 0)
            return 0;
    }
}
