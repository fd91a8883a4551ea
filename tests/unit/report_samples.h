/* report_samples.h: hand-made campaigns for the tests of report. */
#ifndef WATTLE_TESTS_REPORT_SAMPLES_H
#define WATTLE_TESTS_REPORT_SAMPLES_H

#include "report/report.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Not every test uses all of it. */
#pragma GCC diagnostic ignored "-Wunused-function"

static struct error err;

enum { CELLS_MAX = 16 };

static void make_campaign(struct store_campaign *c, int blocks)
{
    *c = (struct store_campaign){.id = 12, .started_ns = 1700000000000000000ull,
                                 .finished_ns = 1700000100000000000ull, .seed = 1,
                                 .duration_s = 10, .blocks = blocks};
    strcpy(c->uuid, "0f0e0d0c-0b0a-4908-8706-050403020100");
    strcpy(c->version, "0.1.0");
    strcpy(c->command, "wattle run resnet50 -t 2");
    strcpy(c->host_title, "AMD EPYC (virtual, kvm), 2 cores");
    c->host = json_pack("{s:s,s:i}", "cpu", "AMD EPYC", "cores", 2);
    c->models = calloc(2, sizeof *c->models);
    c->cells = calloc(CELLS_MAX, sizeof *c->cells);
    assert_true(c->models && c->cells && c->host);
    c->model_count = 2;
    c->models[0] = (struct store_model){"resnet50", "/m/resnet50.onnx", "onnx", "", 25557032,
                                        4089184256};
    memset(c->models[0].sha256, 'a', 64);
    c->models[1] = (struct store_model){"mine", "/m/mine.onnx", "onnx", "", -1, -1};
}

static struct store_cell *add_cell(struct store_campaign *c, const char *runtime,
                                   const char *provider)
{
    assert_true(c->cell_count < CELLS_MAX);
    struct store_cell *cell = &c->cells[c->cell_count++];
    *cell = (struct store_cell){.agreement = {.max_rel_error = NAN, .ok = -1}};
    strcpy(cell->cell.model, "resnet50");
    strcpy(cell->cell.path, "/m/resnet50.onnx");
    strcpy(cell->cell.format, "onnx");
    snprintf(cell->cell.runtime, sizeof cell->cell.runtime, "%s", runtime);
    snprintf(cell->cell.provider, sizeof cell->cell.provider, "%s", provider);
    strcpy(cell->cell.precision, "f32");
    strcpy(cell->cell.spin, "off");
    cell->cell.batch = 1;
    cell->cell.threads = 2;
    cell->cell.instances = 1;
    return cell;
}

static struct record *add_block(struct store_cell *cell)
{
    cell->blocks = realloc(cell->blocks, (cell->block_count + 1) * sizeof *cell->blocks);
    assert_non_null(cell->blocks);
    struct record *r = &cell->blocks[cell->block_count++];
    record_init(r);
    r->number = (int64_t)cell->block_count;
    r->started_ns = 1700000001000000000ull;
    return r;
}

/* A completed block: `runs` inferences of `ms` each, the i-th one i % 100 microseconds longer. */
static struct record *add_done(struct store_cell *cell, uint64_t runs, double ms, double cpu_s)
{
    struct record *r = add_block(cell);
    strcpy(r->runtime_version, "0.1.0");
    strcpy(r->library, "libx.so");
    strcpy(r->provider, cell->cell.provider);
    json_object_set_new(r->settings, "threads", json_integer(2));
    json_object_set_new(r->shapes, "inputs", json_pack("[{s:s,s:s,s:[i,i,i,i]}]", "name", "input",
                                                       "type", "float32", "shape", 1, 3, 224, 224));
    r->load_ms = 400;
    r->first_ms = 50;
    r->warmup_runs = 31;
    r->warmup_s = 1;
    r->warmup_stable = 1;
    r->runs = runs;
    r->wall_s = (double)runs * ms / 1e3;
    r->user_s = cpu_s * (double)runs * 0.875;
    r->system_s = cpu_s * (double)runs * 0.125;
    r->minor_faults = runs / 2;
    r->voluntary_switches = 3 * runs;
    r->rss_peak_bytes = 300000000;
    r->latency_count = (size_t)runs;
    r->latency_ns = calloc(runs, sizeof *r->latency_ns);
    assert_non_null(r->latency_ns);
    for (uint64_t i = 0; i < runs; i++)
        r->latency_ns[i] = (uint64_t)(ms * 1e6) + i % 100 * 1000;
    strcpy(r->energy_reason, "MASKED: /sys/class/powercap is empty: hidden by a container");
    return r;
}

static struct record_meter *add_meter(struct record *r, const char *name,
                                      enum wattle_provenance provenance)
{
    struct record_meter *m = &r->meters[r->meter_count++];
    snprintf(m->name, sizeof m->name, "%s", name);
    m->domain_count = 1;
    m->sample_count = 2;
    m->domains = calloc(1, sizeof *m->domains);
    m->samples = calloc(2, sizeof *m->samples);
    assert_true(m->domains && m->samples);
    strcpy(m->domains[0].name, provenance == WATTLE_ESTIMATED ? "estimate" : "package-0");
    strcpy(m->domains[0].scope, "CPU package 0 with its cores");
    m->domains[0].provenance = provenance;
    m->domains[0].in_total = 1;
    m->energy.provenance = provenance;
    m->energy.seconds = r->wall_s;
    r->energy_meter = (int)r->meter_count - 1;
    r->energy_reason[0] = '\0';
    return m;
}

static void measured(struct record *r, double j, double error)
{
    struct record_meter *m = add_meter(r, "powercap", WATTLE_MEASURED);
    m->energy.j = j;
    m->energy.low_j = j - error;
    m->energy.high_j = j + error;
    m->samples[1].total_uj = m->samples[1].low_uj = m->samples[1].high_uj = (uint64_t)(j * 1e6);
}

/* a 5..25 W, b 2..12 W: the centre is 15 and 7. */
static void estimated(struct record *r)
{
    struct record_meter *m = add_meter(r, "estimate", WATTLE_ESTIMATED);
    double cpu = r->user_s + r->system_s;
    m->box = (struct wattle_estimate_box){5, 25, 2, 12, "generic range"};
    m->energy.j = 15 * r->wall_s + 7 * cpu;
    m->energy.low_j = 5 * r->wall_s + 2 * cpu;
    m->energy.high_j = 25 * r->wall_s + 12 * cpu;
    strcpy(m->energy.reason, "generic range");
    m->samples[1].total_uj = (uint64_t)(m->energy.j * 1e6);
}

static void agree(struct store_cell *c, int ok)
{
    strcpy(c->agreement.reference, "builtin:reference");
    c->agreement.ok = ok;
    c->agreement.max_rel_error = ok ? 7e-7 : 0.26;
    if (!ok)
        strcpy(c->agreement.detail, "output[0,17] is 0.31, the reference has 0.42");
}

static void crash(struct store_cell *c)
{
    struct record *r = add_block(c);
    error_set(&r->error, ERROR_CRASH, "worker was killed by signal 11 (Segmentation fault)");
    error_hint(&r->error, "run it with -v");
    strcpy(r->log, "libfoo: cannot \xff allocate\nbye");
    r->verdict = VERDICT_INVALID;
}

/* Two runtimes that compete, one that crashed, one whose outputs differ; all joules estimated. */
static void make_estimated(struct store_campaign *c)
{
    make_campaign(c, 2);
    struct store_cell *b = add_cell(c, "mxnet", "cpu");
    struct store_cell *a = add_cell(c, "builtin", "cpu");
    struct store_cell *d = add_cell(c, "onnxruntime", "cpu");
    struct store_cell *x = add_cell(c, "openvino", "cpu");
    for (int i = 0; i < 2; i++) {
        estimated(add_done(a, 320, 32.5, 0.0647));
        estimated(add_done(b, 300, 36.2, 0.0721));
        estimated(add_done(d, 300, 30.0, 0.0600));
    }
    agree(a, 1);
    agree(b, 1);
    agree(d, 0);
    crash(x);
    b->blocks[0].verdict = VERDICT_SUSPECT;
    json_array_append_new(b->blocks[0].reasons,
                          json_string("CPU time stolen by the hypervisor: 3.1 % of the window: run "
                                      "on a quieter machine"));
    b->blocks[1].verdict = VERDICT_SUSPECT;
    json_array_append_new(b->blocks[1].reasons,
                          json_string("CPU time stolen by the hypervisor: 2.4 % of the window: run "
                                      "on a quieter machine"));
}

/* A counter; one block of builtin could not be read. */
static void make_measured(struct store_campaign *c)
{
    make_campaign(c, 2);
    strcpy(c->host_title, "Intel Xeon, 16 cores");
    struct store_cell *a = add_cell(c, "builtin", "cpu");
    struct store_cell *b = add_cell(c, "builtin", "reference");
    measured(add_done(a, 500, 20.0, 0.04), 400, 2);
    measured(add_done(a, 500, 20.2, 0.04), 408, 2);
    measured(add_done(b, 50, 210.0, 0.41), 4100, 20);
    measured(add_done(b, 50, 210.0, 0.41), 4120, 20);
    agree(a, 1);
    strcpy(a->blocks[0].meters[0].energy.reason, "memory not measured (no dram zone)");
}

/* No energy at all, short windows, one block that failed. */
static void make_none(struct store_campaign *c)
{
    make_campaign(c, 2);
    c->duration_s = 2;
    struct store_cell *b = add_cell(c, "onnxruntime", "cpu");
    struct store_cell *a = add_cell(c, "builtin", "cpu");
    add_done(a, 60, 32.5, 0.0647);
    crash(a);
    add_done(b, 50, 36.2, 0.0721);
    add_done(b, 50, 36.4, 0.0721);
}

static struct store_cell *add_pytorch(struct store_campaign *c, const char *variant,
                                      const char *form, const char *how)
{
    struct store_cell *cell = add_cell(c, "pytorch", "cpu");
    strcpy(cell->cell.variant, variant);
    strcpy(cell->cell.version, "2.13.0");
    strcpy(cell->cell.form, form);
    strcpy(cell->cell.how, how);
    strcpy(add_done(cell, 400, 25 + (double)c->cell_count, 0.05)->runtime_version, "2.13.0+cpu");
    estimated(&cell->blocks[0]);
    agree(cell, 1);
    return cell;
}

/* One runtime in several ways and forms, beside one without, and somebody's own worker. */
static void make_forms(struct store_campaign *c)
{
    make_campaign(c, 1);
    struct store_cell *a = add_cell(c, "builtin", "cpu");
    estimated(add_done(a, 320, 25, 0.05));
    add_pytorch(c, "aoti", "native", "torch.export 2.13.0, AOTInductor with freezing");
    add_pytorch(c, "aoti", "converted", "onnx2torch 1.5.15, AOTInductor with freezing");
    add_pytorch(c, "eager", "native", "torch.export 2.13.0");
    add_pytorch(c, "compile", "native", "torch.export 2.13.0");
    struct store_cell *g = add_pytorch(c, "aoti", "native", "torch.export 2.13.0, for CUDA");
    strcpy(g->cell.provider, "cuda");
    strcpy(g->blocks[0].provider, "cuda");
    strcpy(g->cell.devices, "0+1");
    struct store_cell *w = add_cell(c, "worker", "");
    strcpy(w->cell.variant, "infer.py");
    strcpy(w->cell.command, "python3 infer.py --fast");
    estimated(add_done(w, 100, 90, 0.1));
}

/* Variants whose names begin alike, without forms; numbers long enough to cut them. */
static void make_variants(struct store_campaign *c)
{
    static const char *const variants[] = {"torchscript", "torchscript-frozen",
                                           "torchscript-optimized", "eager",
                                           "compiled-with-great-care-1",
                                           "compiled-with-great-care-2"};
    make_campaign(c, 1);
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++)
        add_pytorch(c, variants[i], "", "");
}

static char *written(int (*write)(const struct report *, FILE *), const struct report *r)
{
    static char *text; /* static: gcc does not see that the stream sets it */
    static size_t size;
    FILE *f = open_memstream(&text, &size);
    assert_non_null(f);
    assert_int_equal(write(r, f), 0);
    assert_int_equal(fclose(f), 0);
    return text;
}

#endif
