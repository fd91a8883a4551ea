/* Lines that a parent sends to wattle's own worker. What a parent may rightly ask for, but no machine
 * could do thousands of times (windows of years, a crash of the fake runtime), is made small first. */
#include "fuzz.h"

#include "worker/worker.h"

#include <wattle/worker.h>

#include <sys/mman.h>

enum { RING_CAPACITY = 64, TENSOR_BYTES = 1 << 16, NS_MAX = 200 * 1000, RUNS_MAX = 100,
       THREADS_MAX = 2, BATCH_MAX = 1000 };

/* ---- making it small ---- */

static void limit(json_t *command, const char *name, json_int_t high)
{
    json_t *value = json_object_get(command, name);
    if (json_is_integer(value) && json_integer_value(value) > high)
        json_object_set_new(command, name, json_integer(high));
}

static void tame(json_t *command)
{
    static const char *const misdeeds[] = {
        "crash_at_run", "hang_at_run", "kill_at_run", "exit_at_run", "spoil_at_run", "grow_bytes",
        "load_us",      "log",         "log_bytes",   "latency_us",  "slow_first_us"};
    json_t *options = json_object_get(command, "options");
    const char *runtime = json_string_value(json_object_get(command, "runtime"));
    for (size_t i = 0; i < sizeof misdeeds / sizeof *misdeeds; i++)
        json_object_del(options, misdeeds[i]);
    if (runtime && !strcmp(runtime, "fake")) /* in a time of its own */
        json_object_set_new(options, "work", json_string("none"));
    limit(command, "min_ns", NS_MAX);
    limit(command, "max_ns", NS_MAX);
    limit(command, "gap_ns", 1000);
    limit(command, "min_runs", RUNS_MAX);
    limit(command, "threads", THREADS_MAX);
    limit(command, "batch", BATCH_MAX);
}

/* One line as it is, or tamed where the worker could read it. */
static void write_line(FILE *to, const char *line, size_t size)
{
    json_t *command = json_loadb(line, size, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(command)) {
        tame(command);
        json_dumpf(command, to, JSON_COMPACT);
    } else {
        fwrite(line, 1, size, to);
    }
    json_decref(command);
}

static void write_commands(const uint8_t *data, size_t size)
{
    FILE *to = fopen(fuzz_path("commands"), "we");
    FUZZ_NEED(to);
    while (size) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t length = end ? (size_t)(end - data) : size;
        write_line(to, (const char *)data, length);
        if (end)
            fputc('\n', to);
        data += length + (end != NULL);
        size -= length + (end != NULL);
    }
    fclose(to);
}

/* ---- the worker's four descriptors ---- */

static void put_at(int fd, int place)
{
    FUZZ_NEED(fd >= 0 && dup2(fd, place) == place);
    if (fd != place)
        close(fd);
}

/* Opened low and moved to its place: none of the four may be in the way of another. */
static void open_at(const char *path, int flags, int place)
{
    int fd = open(path, flags, 0644);
    FUZZ_NEED(fd >= 0);
    int high = fcntl(fd, F_DUPFD, 64);
    close(fd);
    put_at(high, place);
}

static void write_memory(void)
{
    static const struct wattle_ring ring = {
        .magic = WATTLE_RING_MAGIC, .version = WATTLE_PROTOCOL, .capacity = RING_CAPACITY};
    fuzz_write(fuzz_path("ring"), &ring, sizeof ring);
    FUZZ_NEED(!truncate(fuzz_path("ring"), sizeof ring + RING_CAPACITY * sizeof(uint64_t)));
    fuzz_write(fuzz_path("tensors"), "", 0);
    FUZZ_NEED(!truncate(fuzz_path("tensors"), TENSOR_BYTES));
}

/* Each reply is one JSON object with "ok". */
static void check_replies(void)
{
    FILE *f = fopen(fuzz_path("replies"), "re");
    char *line = NULL;
    size_t capacity = 0;
    FUZZ_NEED(f);
    while (getline(&line, &capacity, f) > 0) {
        json_t *reply = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        if (!json_is_boolean(json_object_get(reply, "ok")))
            abort();
        json_decref(reply);
    }
    free(line);
    fclose(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    write_commands(data, size);
    write_memory();
    open_at(fuzz_path("commands"), O_RDONLY, WATTLE_FD_COMMANDS);
    open_at(fuzz_path("replies"), O_WRONLY | O_CREAT | O_TRUNC, WATTLE_FD_REPLIES);
    open_at(fuzz_path("ring"), O_RDWR, WATTLE_FD_RING);
    open_at(fuzz_path("tensors"), O_RDWR, WATTLE_FD_TENSORS);
    worker_child_main();
    check_replies();
    return 0;
}
