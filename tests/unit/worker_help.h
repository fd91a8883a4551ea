/* worker_help.h: a worker with the fake runtime in a few lines. Each test program that includes it
 * is its own worker: main() must begin with WORKER_MAIN. */
#ifndef WATTLE_TEST_WORKER_HELP_H
#define WATTLE_TEST_WORKER_HELP_H

#include "test.h"

#include "base/clock.h"
#include "runtime/adapters.h"
#include "worker/worker.h"

#include <wattle/worker.h>

#include <string.h>

/* The engine is not what these tests are about: leave it out of the program. */
static const char *const no_names[] = {"none", NULL};
const struct adapter adapter_builtin = {
    .name = "builtin", .providers = no_names, .precisions = no_names};

#define WORKER_MAIN                                                                                \
    if (argc == 2 && !strcmp(argv[1], "worker"))                                                   \
        return worker_child_main();

enum { BATCH = 2, WIDTH = 8, SETS = 3, SET_BYTES = BATCH * WIDTH * sizeof(float) };
#define PATIENCE_NS (20 * NS_PER_S)
#define MS(n) ((n) * NS_PER_MS)

static struct error err;

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        int code_ = (call);                                                                        \
        if (code_)                                                                                 \
            fail_msg("%s: %s: %s", #call, error_code_name((enum error_code)code_), err.text);      \
    } while (0)

#define assert_code(call, wanted)                                                                  \
    do {                                                                                           \
        int code_ = (call);                                                                        \
        if (code_ != (wanted))                                                                     \
            fail_msg("%s: %s, not %s: %s", #call, error_code_name((enum error_code)code_),         \
                     error_code_name(wanted), err.text);                                           \
    } while (0)

#define assert_in(text, part)                                                                      \
    do {                                                                                           \
        if (!strstr(text, part))                                                                   \
            fail_msg("'%s' is not in '%s'", part, text);                                           \
    } while (0)

static inline json_t *op(const char *name)
{
    return json_pack("{s:s}", "op", name);
}

static inline struct worker *start(const char *const *argv, json_t *environment, uint64_t ring)
{
    struct worker *w;
    struct worker_spec spec = {.argv = argv,
                               .environment = environment,
                               .ring_capacity = ring,
                               .stop_timeout_ns = 2 * NS_PER_S};
    assert_ok(worker_start(&spec, &w, &err));
    json_decref(environment);
    return w;
}

/* A call that must succeed; the reply is the caller's. */
static inline json_t *call(struct worker *w, json_t *command)
{
    json_t *reply;
    assert_ok(worker_call(w, command, PATIENCE_NS, &reply, &err));
    return reply;
}

static inline void done(struct worker *w, json_t *command)
{
    json_decref(call(w, command));
}

static inline json_t *load_command(json_t *options)
{
    return json_pack("{s:s,s:s,s:s,s:i,s:i,s:o}", "op", "load", "runtime", "fake", "model", "",
                     "batch", BATCH, "threads", 1, "options", options);
}

static inline void hello(struct worker *w)
{
    done(w, json_pack("{s:s,s:i}", "op", "hello", "protocol", WATTLE_PROTOCOL));
}

/* Input element i of set s is 100 s + i. */
static inline void give_inputs(struct worker *w)
{
    uint8_t *data;
    assert_ok(worker_tensors(w, (size_t)SETS * SET_BYTES, &data, &err));
    for (int i = 0; i < SETS * BATCH * WIDTH; i++)
        ((float *)(void *)data)[i] = (float)(i / (BATCH * WIDTH) * 100 + i % (BATCH * WIDTH));
    done(w, json_pack("{s:s,s:i,s:i,s:[{s:i,s:i}]}", "op", "inputs", "sets", SETS, "set_bytes",
                      (int)SET_BYTES, "tensors", "offset", 0, "bytes", (int)SET_BYTES));
}

/* Loaded, with inputs. */
static inline struct worker *start_fake(json_t *options, json_t *environment, uint64_t ring)
{
    struct worker *w = start(NULL, environment, ring);
    hello(w);
    done(w, load_command(options));
    give_inputs(w);
    return w;
}

static inline json_t *span_command(const char *name, uint64_t min_runs, uint64_t min_ns,
                                   uint64_t max_ns)
{
    return json_pack("{s:s,s:I,s:I,s:I}", "op", name, "min_runs", (json_int_t)min_runs, "min_ns",
                     (json_int_t)min_ns, "max_ns", (json_int_t)max_ns);
}

static inline uint64_t number(json_t *reply, const char *name)
{
    json_t *value = json_object_get(reply, name);
    if (!json_is_integer(value))
        fail_msg("reply has no integer %s", name);
    return (uint64_t)json_integer_value(value);
}

#endif
