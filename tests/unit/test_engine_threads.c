/* Engines in threads of their own, loaded and run at the same time, give what one alone gives; under
 * ThreadSanitizer (make check-tsan) also without sharing anything that is written. Runs in the root of
 * the repository. */
#include "test.h"

#include <wattle/engine.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODELS "tests/fuzz/corpus/onnx/"

enum { THREADS = 4, ROUNDS = 3, OUTPUT_BYTES = 4096 };

static const char *const models[] = {"conv", "conv2", "attn", "gelu", "lstm", "loop", "einsum",
                                     "shape"};
enum { MODEL_COUNT = sizeof models / sizeof *models };

/* Of each model, by one engine alone. */
static uint8_t wanted[MODEL_COUNT][OUTPUT_BYTES];

static void fill(struct wattle_engine *engine)
{
    for (size_t i = 0; i < wattle_engine_input_count(engine); i++) {
        float *x = wattle_engine_input_data(engine, i);
        for (size_t k = 0; k < wattle_engine_input(engine, i)->bytes / sizeof *x; k++)
            x[k] = (float)(k % 7) / 7;
    }
}

/* Loads, runs and frees; what is wrong, or NULL. */
static const char *once(size_t model, const char *provider, uint8_t output[OUTPUT_BYTES])
{
    char path[128];
    const struct wattle_engine_options o = {
        .size = sizeof o, .provider = provider, .flags = WATTLE_ENGINE_NO_TUNING};
    struct wattle_engine *engine;
    snprintf(path, sizeof path, MODELS "%s", models[model]);
    if (wattle_engine_load(path, &o, &engine, NULL))
        return "it cannot be loaded";
    fill(engine);
    int failed = wattle_engine_run(engine, NULL);
    size_t bytes = wattle_engine_output(engine, 0)->bytes;
    memset(output, 0, OUTPUT_BYTES);
    if (!failed && bytes <= OUTPUT_BYTES)
        memcpy(output, wattle_engine_output_data(engine, 0), bytes);
    wattle_engine_free(engine);
    return failed ? "it cannot be run" : bytes > OUTPUT_BYTES ? "its output is large" : NULL;
}

/* Each begins with another model. */
static void *many(void *number)
{
    uint8_t output[OUTPUT_BYTES];
    for (size_t i = 0; i < ROUNDS * MODEL_COUNT; i++) {
        size_t model = (i + *(size_t *)number) % MODEL_COUNT;
        if (once(model, "cpu", output) || memcmp(output, wanted[model], OUTPUT_BYTES) != 0)
            return (void *)(uintptr_t)models[model];
    }
    return NULL;
}

static void engines_share_nothing(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    size_t numbers[THREADS];
    for (size_t i = 0; i < MODEL_COUNT; i++) {
        const char *wrong = once(i, "cpu", wanted[i]);
        if (wrong)
            fail_msg("%s: %s", models[i], wrong);
    }
    for (size_t i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, many, &numbers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        void *model;
        pthread_join(threads[i], &model);
        if (model)
            fail_msg("%s: another output among threads than alone", (const char *)model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(engines_share_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
