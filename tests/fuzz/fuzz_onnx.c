/* An ONNX file: read, loaded by the engine in both ways, and run where it isn't large. */
#include "fuzz.h"
#include "protobuf.h"

#include <wattle/engine.h>

/* Small, so that what a file claims is refused before it takes long. */
#define MEMORY_LIMIT ((uint64_t)8 << 20)
/* Of one run: what is larger is no fault of the engine's, it only takes its time. */
#define MACS_MAX (1 << 24)
#define MEMORY_STEPS_MAX ((uint64_t)1 << 28)

static int is_quick(const struct wattle_engine *engine)
{
    struct wattle_engine_info info;
    wattle_engine_info(engine, &info);
    return info.macs >= 0 && info.macs <= MACS_MAX &&
           (uint64_t)info.arena_bytes * info.steps <= MEMORY_STEPS_MAX;
}

static void fill_inputs(struct wattle_engine *engine, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < wattle_engine_input_count(engine); i++) {
        uint8_t *to = wattle_engine_input_data(engine, i);
        size_t bytes = wattle_engine_input(engine, i)->bytes;
        for (size_t k = 0; k < bytes; k++)
            to[k] = data[k % size];
    }
}

static void run(struct wattle_engine *engine)
{
    char error[WATTLE_ERROR_MAX] = "";
    fuzz_check_error(wattle_engine_run(engine, error), error);
    for (size_t i = 0; i < wattle_engine_output_count(engine); i++)
        fuzz_touch(wattle_engine_output_data(engine, i), wattle_engine_output(engine, i)->bytes);
}

/* Once on zeros, which fit most operators, and once on whatever bytes. */
static void load_and_run(const char *path, const char *provider, const uint8_t *data, size_t size)
{
    const struct wattle_engine_options options = {
        .size = sizeof options, .provider = provider, .memory_limit_bytes = MEMORY_LIMIT,
        .flags = WATTLE_ENGINE_NO_TUNING};
    struct wattle_engine *engine;
    char error[WATTLE_ERROR_MAX] = "";
    int code = wattle_engine_load(path, &options, &engine, error);
    fuzz_check_error(code, error);
    if (!code && is_quick(engine)) {
        run(engine);
        fill_inputs(engine, data, size);
        run(engine);
    }
    wattle_engine_free(engine);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_path("model.onnx");
    if (!size)
        return 0;
    fuzz_write(path, data, size);
    load_and_run(path, "cpu", data, size);
    load_and_run(path, "reference", data, size);
    return 0;
}
