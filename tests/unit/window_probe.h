/* window_probe.h: builds tests/tools/window_probe.c and reads what it counted. */
#ifndef WATTLE_TEST_WINDOW_PROBE_H
#define WATTLE_TEST_WINDOW_PROBE_H

#include "test.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct probe_counts {
    unsigned long long allocations, cxx_allocations, maps, reads, writes;
};

static char probe_folder[64], probe_library[128], probe_file[128];

static inline int probe_setup(void **context)
{
    (void)context;
    char command[512];
    snprintf(probe_folder, sizeof probe_folder, "/tmp/wattle-probe-XXXXXX");
    if (!mkdtemp(probe_folder))
        return -1;
    snprintf(probe_library, sizeof probe_library, "%s/probe.so", probe_folder);
    snprintf(probe_file, sizeof probe_file, "%s/counts", probe_folder);
    snprintf(command, sizeof command, "cc -shared -fPIC -O2 -o %s tests/tools/window_probe.c",
             probe_library);
    return system(command);
}

static inline int probe_teardown(void **context)
{
    (void)context;
    unlink(probe_library);
    unlink(probe_file);
    return rmdir(probe_folder);
}

/* Variables for a worker that is to be watched. */
static inline json_t *probe_environment(void)
{
    return json_pack("{s:s,s:s}", "LD_PRELOAD", probe_library, "WINDOW_PROBE", probe_file);
}

/* What the one window since the last call counted. */
static inline struct probe_counts probe_take(void)
{
    struct probe_counts c;
    char rest[2];
    FILE *f = fopen(probe_file, "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%llu %llu %llu %llu %llu %1s", &c.allocations,
                            &c.cxx_allocations, &c.maps, &c.reads, &c.writes, rest), 5);
    fclose(f);
    unlink(probe_file);
    return c;
}

#endif
