/* store_samples.h: made-up campaigns and records for the tests of store, and their comparison. */
#ifndef WATTLE_TESTS_STORE_SAMPLES_H
#define WATTLE_TESTS_STORE_SAMPLES_H

#include "store/store.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* Not every test uses all of it. */
#pragma GCC diagnostic ignored "-Wunused-function"

static uint64_t sample_state = 88172645463325252ull;

static uint64_t sample_u64(void)
{
    sample_state ^= sample_state << 13;
    sample_state ^= sample_state >> 7;
    sample_state ^= sample_state << 17;
    return sample_state;
}

static double sample_double(void)
{
    return ldexp((double)(sample_u64() >> 11), (int)(sample_u64() % 60) - 80);
}

/* Letters, quotes and UTF-8, nearly filling the field. */
static void sample_text(char *text, size_t size)
{
    static const char letters[] = "abc XYZ'\"%,;|\n\t{}[]\\0123";
    size_t length = size - 1 - sample_u64() % (size / 2);
    for (size_t i = 0; i < length; i++)
        text[i] = letters[sample_u64() % (sizeof letters - 1)];
    text[length] = '\0';
    if (length > 4)
        memcpy(text, "\xc3\xa9", 2);
}

static void sample_noise(struct host_noise *n)
{
    n->time_ns = sample_u64();
    n->boottime_ns = sample_u64();
    n->busy_ns = sample_u64();
    n->idle_ns = UINT64_MAX;
    n->steal_ns = 0;
    n->swap_in_pages = sample_u64();
    n->swap_out_pages = sample_u64();
    n->throttle_count = sample_u64();
    n->load_1min = sample_double();
    n->frequency_mhz = NAN;
    n->temperature_c = sample_double();
}

static void sample_domain(struct wattle_domain *d)
{
    sample_text(d->name, sizeof d->name);
    sample_text(d->scope, sizeof d->scope);
    sample_text(d->path, sizeof d->path);
    sample_text(d->text, sizeof d->text);
    d->provenance = (enum wattle_provenance)(sample_u64() % (WATTLE_ESTIMATED + 1));
    d->in_total = (int)(sample_u64() % 2);
    d->status = (enum wattle_status)(sample_u64() % (WATTLE_ERROR + 1));
    d->resolution_uj = sample_double();
    d->period_ns = sample_u64();
    d->gain_uncertainty = sample_double();
    d->wrap_uj = sample_u64();
}

static void sample_meter(struct record_meter *m, size_t domains, size_t samples)
{
    sample_text(m->name, sizeof m->name);
    m->domain_count = domains;
    m->sample_count = samples;
    if (domains)
        m->domains = calloc(domains, sizeof *m->domains);
    if (domains && samples)
        m->samples = calloc(domains * samples, sizeof *m->samples);
    for (size_t i = 0; i < domains; i++)
        sample_domain(&m->domains[i]);
    for (size_t i = 0; i < domains * samples; i++)
        m->samples[i] = (struct wattle_reading){
            (enum wattle_status)(sample_u64() % (WATTLE_ERROR + 1)),
            sample_u64(),
            sample_u64(),
            sample_u64(),
            sample_u64(),
            (uint32_t)sample_u64(),
            (uint32_t)sample_u64(),
        };
    m->box = (struct wattle_estimate_box){.a_low_w = sample_double(), .a_high_w = sample_double(),
                                          .b_low_w = 0.1, .b_high_w = 1e300};
    sample_text(m->box.source, sizeof m->box.source);
    m->energy.provenance = (enum wattle_provenance)(sample_u64() % (WATTLE_ESTIMATED + 1));
    m->energy.j = sample_double();
    m->energy.low_j = NAN;
    m->energy.high_j = INFINITY;
    m->energy.seconds = 5e-324;
    sample_text(m->energy.reason, sizeof m->energy.reason);
}

static void sample_texts(struct record *r)
{
    sample_text(r->log, sizeof r->log);
    sample_text(r->runtime_version, sizeof r->runtime_version);
    sample_text(r->library, sizeof r->library);
    sample_text(r->provider, sizeof r->provider);
    sample_text(r->energy_reason, sizeof r->energy_reason);
    json_object_set_new(r->settings, "threads", json_integer(2));
    json_object_set_new(r->settings, "tolerance", json_real(0.1 + 0.2));
    json_object_set_new(r->environment, "OMP_WAIT_POLICY", json_string("passive"));
    json_object_set_new(r->shapes, "inputs", json_pack("[{s:s,s:[i,i]}]", "name", "x\xc3\xa9",
                                                       "shape", 1, 224));
    json_array_append_new(r->reasons, json_string("stolen \"time\": 3 %"));
}

/* Every field set; meters with 0, 1 and 5 domains. */
static void sample_record(struct record *r, int64_t number, size_t latencies, size_t meters)
{
    record_init(r);
    r->number = number;
    r->started_ns = 1700000000123456789ull + (uint64_t)number;
    error_set(&r->error, ERROR_TIMEOUT, "no answer for 300 s");
    error_hint(&r->error, "raise the limit");
    sample_texts(r);
    r->load_ms = sample_double();
    r->first_ms = 3.0; /* a real that SQLite would like to keep as an integer */
    r->warmup_runs = sample_u64();
    r->warmup_s = sample_double();
    r->warmup_stable = 1;
    r->runs = sample_u64();
    r->wall_s = sample_double();
    r->user_s = sample_double();
    r->system_s = 0;
    r->minor_faults = sample_u64();
    r->major_faults = sample_u64();
    r->voluntary_switches = sample_u64();
    r->involuntary_switches = sample_u64();
    r->rss_peak_bytes = sample_u64();
    r->device_memory_peak_bytes = sample_u64();
    snprintf(r->device_memory_reason, sizeof r->device_memory_reason, "not \"told\" \xc3\xa9");
    r->latency_count = latencies;
    if (latencies)
        r->latency_ns = malloc(latencies * sizeof *r->latency_ns);
    for (size_t i = 0; i < latencies; i++)
        r->latency_ns[i] = i % 1000 ? 30000000 + sample_u64() % 100000 : sample_u64();
    r->meter_count = meters;
    for (size_t i = 0; i < meters; i++)
        sample_meter(&r->meters[i], i == 0 ? 5 : i == 1 ? 0 : 1, i == 0 ? 100 : i);
    r->energy_meter = (int)meters - 1;
    sample_noise(&r->noise_before);
    sample_noise(&r->noise_after);
    r->verdict = VERDICT_SUSPECT;
}

static void sample_cell(struct store_cell *c, const char *runtime, size_t model)
{
    *c = (struct store_cell){.model = model, .agreement = {.max_rel_error = NAN, .ok = -1}};
    struct cell *cell = &c->cell;
    snprintf(cell->model, sizeof cell->model, "%s", model ? "b" : "a");
    snprintf(cell->path, sizeof cell->path, "/models/%s.onnx", cell->model);
    snprintf(cell->format, sizeof cell->format, "onnx");
    snprintf(cell->runtime, sizeof cell->runtime, "%s", runtime);
    snprintf(cell->variant, sizeof cell->variant, "openvino");
    snprintf(cell->version, sizeof cell->version, "1.24.1");
    snprintf(cell->library, sizeof cell->library, "/lib/lib%s.so.1.24.1", runtime);
    snprintf(cell->provider, sizeof cell->provider, "cpu");
    snprintf(cell->provider_library, sizeof cell->provider_library, "/lib/plugin.so");
    snprintf(cell->shapes, sizeof cell->shapes, "{\"x\":[1,8]}");
    cell->require_provider = model == 0;
    cell->gap_ns = 20000000;
    sample_text(cell->command, sizeof cell->command);
    snprintf(cell->devices, sizeof cell->devices, "0+1");
    snprintf(cell->form, sizeof cell->form, "converted");
    sample_text(cell->artifact, sizeof cell->artifact);
    sample_text(cell->how, sizeof cell->how);
    snprintf(cell->precision, sizeof cell->precision, "f32");
    snprintf(cell->spin, sizeof cell->spin, "off");
    snprintf(cell->options, sizeof cell->options, "{\"tuning\":\"off\"}");
    cell->batch = 64;
    cell->threads = 2;
    cell->instances = 1;
}

/* Two models, three cells, no blocks. */
static void sample_campaign(struct store_campaign *c)
{
    *c = (struct store_campaign){.started_ns = 1700000000000000001ull, .seed = UINT64_MAX - 1,
                                 .duration_s = 0.1, .blocks = 6};
    snprintf(c->version, sizeof c->version, "0.1.0");
    snprintf(c->command, sizeof c->command, "wattle run a b -r 'x y'");
    snprintf(c->host_title, sizeof c->host_title, "AMD EPYC, 2 cores");
    c->host = json_pack("{s:s,s:i}", "cpu", "AMD EPYC", "cores", 2);
    c->model_count = 2;
    c->models = calloc(2, sizeof *c->models);
    c->models[0] = (struct store_model){"a", "/models/a.onnx", "onnx", "00ff", 25557032,
                                        4089184256};
    c->models[1] = (struct store_model){"b", "/models/b.onnx", "onnx", "", -1, -1};
    c->cell_count = 3;
    c->cells = calloc(3, sizeof *c->cells);
    sample_cell(&c->cells[0], "builtin", 0);
    sample_cell(&c->cells[1], "onnxruntime", 0);
    sample_cell(&c->cells[2], "builtin", 1);
    struct cell *last = &c->cells[2].cell;
    last->dim_count = PLAN_DIM_MAX;
    for (size_t i = 0; i < PLAN_DIM_MAX; i++) {
        snprintf(last->dims[i].symbol, PLAN_NAME_MAX, "S%zu", i);
        last->dims[i].value = (int64_t)i - 3;
    }
}

/* Bit for bit, but any NaN is as good as any other. */
static int same_double(double a, double b)
{
    return (isnan(a) && isnan(b)) || !memcmp(&a, &b, sizeof a);
}

#define SAME(a, b, field) assert_true((a)->field == (b)->field)
#define SAME_DOUBLE(a, b, field) assert_true(same_double((a)->field, (b)->field))
#define SAME_TEXT(a, b, field) assert_string_equal((a)->field, (b)->field)

static void same_noise(const struct host_noise *a, const struct host_noise *b)
{
    SAME(a, b, time_ns);
    SAME(a, b, boottime_ns);
    SAME(a, b, busy_ns);
    SAME(a, b, idle_ns);
    SAME(a, b, steal_ns);
    SAME(a, b, swap_in_pages);
    SAME(a, b, swap_out_pages);
    SAME(a, b, throttle_count);
    SAME_DOUBLE(a, b, load_1min);
    SAME_DOUBLE(a, b, frequency_mhz);
    SAME_DOUBLE(a, b, temperature_c);
}

static void same_domain(const struct wattle_domain *a, const struct wattle_domain *b)
{
    SAME_TEXT(a, b, name);
    SAME_TEXT(a, b, scope);
    SAME_TEXT(a, b, path);
    SAME(a, b, provenance);
    SAME(a, b, in_total);
    SAME(a, b, status);
    SAME_TEXT(a, b, text);
    SAME_DOUBLE(a, b, resolution_uj);
    SAME(a, b, period_ns);
    SAME_DOUBLE(a, b, gain_uncertainty);
    SAME(a, b, wrap_uj);
}

static void same_meter(const struct record_meter *a, const struct record_meter *b)
{
    SAME_TEXT(a, b, name);
    SAME(a, b, domain_count);
    SAME(a, b, sample_count);
    for (size_t i = 0; i < a->domain_count; i++)
        same_domain(&a->domains[i], &b->domains[i]);
    for (size_t i = 0; i < a->domain_count * a->sample_count; i++) {
        const struct wattle_reading *x = &a->samples[i], *y = &b->samples[i];
        SAME(x, y, status);
        SAME(x, y, time_ns);
        SAME(x, y, total_uj);
        SAME(x, y, low_uj);
        SAME(x, y, high_uj);
        SAME(x, y, wraps);
        SAME(x, y, gaps);
    }
    SAME_DOUBLE(a, b, box.a_low_w);
    SAME_DOUBLE(a, b, box.a_high_w);
    SAME_DOUBLE(a, b, box.b_low_w);
    SAME_DOUBLE(a, b, box.b_high_w);
    SAME_TEXT(a, b, box.source);
    SAME(a, b, energy.provenance);
    SAME_DOUBLE(a, b, energy.j);
    SAME_DOUBLE(a, b, energy.low_j);
    SAME_DOUBLE(a, b, energy.high_j);
    SAME_DOUBLE(a, b, energy.seconds);
    SAME_TEXT(a, b, energy.reason);
}

static void same_record(const struct record *a, const struct record *b)
{
    SAME(a, b, number);
    SAME(a, b, started_ns);
    SAME(a, b, error.code);
    SAME_TEXT(a, b, error.text);
    SAME_TEXT(a, b, error.hint);
    SAME_TEXT(a, b, log);
    SAME_TEXT(a, b, runtime_version);
    SAME_TEXT(a, b, library);
    SAME_TEXT(a, b, provider);
    assert_true(json_equal(a->settings, b->settings));
    assert_true(json_equal(a->environment, b->environment));
    assert_true(json_equal(a->shapes, b->shapes));
    SAME_DOUBLE(a, b, load_ms);
    SAME_DOUBLE(a, b, first_ms);
    SAME(a, b, warmup_runs);
    SAME_DOUBLE(a, b, warmup_s);
    SAME(a, b, warmup_stable);
    SAME(a, b, runs);
    SAME_DOUBLE(a, b, wall_s);
    SAME_DOUBLE(a, b, user_s);
    SAME_DOUBLE(a, b, system_s);
    SAME(a, b, minor_faults);
    SAME(a, b, major_faults);
    SAME(a, b, voluntary_switches);
    SAME(a, b, involuntary_switches);
    SAME(a, b, rss_peak_bytes);
    SAME(a, b, device_memory_peak_bytes);
    SAME_TEXT(a, b, device_memory_reason);
    SAME(a, b, latency_count);
    if (a->latency_count)
        assert_memory_equal(a->latency_ns, b->latency_ns, a->latency_count * sizeof(uint64_t));
    SAME(a, b, meter_count);
    for (size_t i = 0; i < a->meter_count; i++)
        same_meter(&a->meters[i], &b->meters[i]);
    SAME(a, b, energy_meter);
    SAME_TEXT(a, b, energy_reason);
    same_noise(&a->noise_before, &b->noise_before);
    same_noise(&a->noise_after, &b->noise_after);
    SAME(a, b, verdict);
    assert_true(json_equal(a->reasons, b->reasons));
}

static void same_cell(const struct cell *a, const struct cell *b)
{
    SAME_TEXT(a, b, model);
    SAME_TEXT(a, b, path);
    SAME_TEXT(a, b, format);
    SAME_TEXT(a, b, runtime);
    SAME_TEXT(a, b, variant);
    SAME_TEXT(a, b, version);
    SAME_TEXT(a, b, library);
    SAME_TEXT(a, b, provider);
    SAME_TEXT(a, b, provider_library);
    SAME(a, b, require_provider);
    SAME_TEXT(a, b, precision);
    SAME_TEXT(a, b, spin);
    SAME_TEXT(a, b, options);
    SAME_TEXT(a, b, shapes);
    SAME(a, b, gap_ns);
    SAME_TEXT(a, b, command);
    SAME_TEXT(a, b, devices);
    SAME_TEXT(a, b, form);
    SAME_TEXT(a, b, artifact);
    SAME_TEXT(a, b, how);
    SAME(a, b, batch);
    SAME(a, b, threads);
    SAME(a, b, instances);
    SAME(a, b, dim_count);
    for (size_t i = 0; i < a->dim_count; i++) {
        SAME_TEXT(a, b, dims[i].symbol);
        SAME(a, b, dims[i].value);
    }
}

static struct error err;

#define OK(call)                                                                                   \
    do {                                                                                           \
        err = (struct error){0};                                                                   \
        if ((call))                                                                                \
            fail_msg("%s: %s (%s)", #call, err.text, err.hint);                                    \
    } while (0)

static char sample_folder[64], sample_path[96];

/* A fresh folder for each test, and the path of a store in it. */
static int sample_setup(void **context)
{
    (void)context;
    snprintf(sample_folder, sizeof sample_folder, "/tmp/wattle-store-XXXXXX");
    if (!mkdtemp(sample_folder))
        return -1;
    snprintf(sample_path, sizeof sample_path, "%s/s.db", sample_folder);
    return 0;
}

static int sample_teardown(void **context)
{
    (void)context;
    char command[128];
    snprintf(command, sizeof command, "chmod -R u+w '%s'; rm -rf '%s'", sample_folder,
             sample_folder);
    return system(command);
}

#endif
