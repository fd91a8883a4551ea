/* convert_compare.c: the ONNX side of a conversion run on the inputs that PyTorch was run on. */
#include "cmd/convert.h"

#include "base/log.h"
#include "cmd/progress.h"

#include <math.h>
#include <string.h>

enum { RUNTIME_COUNT = 2 };

/* One runtime at work on one file. */
struct checker {
    const struct request *request;
    const struct found *found;
    const char *onnx;
    double tolerance;
    struct comparison *out;
};

static void make_cell(const struct checker *c, int64_t batch, struct cell *cell)
{
    const struct found *f = c->found;
    *cell = (struct cell){.format = "onnx", .precision = "f32", .options = "{}", .shapes = "{}",
                          .spin = "short", .batch = batch, .instances = 1,
                          .threads = c->request->threads[0]};
    const char *slash = strrchr(c->onnx, '/');
    snprintf(cell->model, sizeof cell->model, "%.60s", slash ? slash + 1 : c->onnx);
    snprintf(cell->path, sizeof cell->path, "%s", c->onnx);
    snprintf(cell->runtime, sizeof cell->runtime, "%s", f->adapter->name);
    snprintf(cell->version, sizeof cell->version, "%s", f->version);
    snprintf(cell->library, sizeof cell->library, "%s", f->library);
    snprintf(cell->provider, sizeof cell->provider, "cpu");
}

/* The expected outputs by position, under the names that the file has. They are borrowed. */
static int expect(const struct data *expected, const struct measure_outputs *got,
                  struct measure_output *items, struct measure_outputs *out, struct error *e)
{
    if (expected->count != got->count || got->count > RECORD_OUTPUT_MAX)
        return error_set(e, ERROR_MISMATCH, "the ONNX file has %zu outputs, the module %zu",
                         got->count, expected->count);
    for (size_t i = 0; i < got->count; i++) {
        items[i].tensor = expected->items[i].tensor;
        memcpy(items[i].name, got->outputs[i].name, sizeof items[i].name);
    }
    *out = (struct measure_outputs){got->count, items};
    return 0;
}

static void keep(const struct checker *c, const struct measure_outputs *reference,
                 const struct measure_outputs *got)
{
    struct comparison *out = c->out;
    out->output_count = got->count;
    for (size_t i = 0; i < got->count; i++) {
        struct compared_output *o = &out->outputs[i];
        double max, mean;
        measure_difference(&reference->outputs[i].tensor, &got->outputs[i].tensor, &max, &mean);
        if (out->set_count == 0) {
            snprintf(o->name, sizeof o->name, "%s", got->outputs[i].name);
            shape_text(&got->outputs[i].tensor.shape, o->shape, sizeof o->shape);
            o->max_error = o->mean_error = 0;
            o->count = o->odd_count = 0;
        }
        o->max_error = max > o->max_error || isnan(max) ? max : o->max_error;
        o->mean_error = mean > o->mean_error || isnan(mean) ? mean : o->mean_error;
        o->count += (size_t)shape_elements(&got->outputs[i].tensor.shape);
        o->odd_count += measure_not_finite(&got->outputs[i].tensor);
        out->max_error = o->max_error > out->max_error ? o->max_error : out->max_error;
    }
    out->set_count++;
}

static int judge(const struct checker *c, const char *what, const struct data *expected,
                 const struct measure_outputs *got, struct error *e)
{
    struct measure_output items[RECORD_OUTPUT_MAX];
    struct measure_outputs reference;
    struct agreement agreement;
    int result = expect(expected, got, items, &reference, e);
    if (result)
        return result;
    measure_agree(&reference, got, c->tolerance, &agreement);
    if (agreement.ok) {
        keep(c, &reference, got);
        return 0;
    }
    error_set(e, ERROR_MISMATCH, "outputs differ for %.60s: %.190s (largest error %.2g, limit %g)",
              what, agreement.detail, agreement.max_rel_error, c->tolerance);
    return error_hint(e, "PyTorch is the reference, %.40s ran the ONNX file; no file was written",
                      c->found->adapter->name);
}

static const char *word(json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static int check_case(const struct checker *c, json_t *item, struct error *e)
{
    struct data inputs = {0}, expected = {0};
    struct measure_outputs outputs = {0};
    struct measure_options options = c->request->measure;
    struct cell cell;
    int result = data_read(&inputs, word(item, "inputs"), "input", e);
    if (!result)
        result = data_read(&expected, word(item, "outputs"), "output", e);
    options.data = &inputs;
    options.range_count = 0;
    make_cell(c, json_integer_value(json_object_get(item, "batch")), &cell);
    if (!result)
        result = measure_outputs(&cell, &options, &outputs, e);
    if (!result)
        result = judge(c, word(item, "what"), &expected, &outputs, e);
    measure_outputs_release(&outputs);
    data_release(&inputs);
    data_release(&expected);
    return result;
}

static int check_cases(const struct checker *c, json_t *cases, struct error *e)
{
    size_t i;
    json_t *item;
    c->out->set_count = c->out->output_count = 0;
    c->out->max_error = 0;
    snprintf(c->out->runtime, sizeof c->out->runtime, "%s %s", c->found->adapter->name,
             c->found->version);
    json_array_foreach(cases, i, item) {
        char line[200];
        snprintf(line, sizeof line, "comparing outputs for %.60s (%.60s)", word(item, "what"),
                 c->out->runtime);
        progress_line(line, 1);
        int result = check_case(c, item, e);
        if (result)
            return result;
    }
    return 0;
}

/* NaN agrees with NaN; an output that is nothing else shows nothing. */
static void tell_of_odd_numbers(const struct comparison *x)
{
    for (size_t i = 0; i < x->output_count; i++)
        if (x->outputs[i].count && x->outputs[i].odd_count == x->outputs[i].count)
            log_warning("output '%s' is NaN or infinite throughout, on both sides and for all %zu "
                        "sets of inputs: that it agrees says little", x->outputs[i].name,
                        x->set_count);
}

/* A runtime that cannot run the file says nothing about it. */
static int is_verdict(int result)
{
    return result == 0 || result == ERROR_MISMATCH || result == ERROR_INTERRUPTED ||
           result == ERROR_MEMORY;
}

int convert_compare(const struct request *r, const char *onnx, json_t *cases, double tolerance,
                    struct comparison *out, struct error *e)
{
    static const struct runtime_name names[RUNTIME_COUNT] = {{"onnxruntime", "", ""},
                                                             {"builtin", "", ""}};
    struct error missing;
    int result = error_set(e, ERROR_UNSUPPORTED, "there is no runtime to compare with");
    for (size_t i = 0; i < RUNTIME_COUNT; i++) {
        const struct found *f = found_pick(&r->found, &names[i], "cpu", &missing);
        const struct checker c = {r, f, onnx, tolerance, out};
        if (!f)
            continue;
        result = check_cases(&c, cases, e);
        progress_wipe();
        if (!result) {
            *e = (struct error){0};
            tell_of_odd_numbers(out);
        }
        if (is_verdict(result))
            return result;
        log_warning("%s %s cannot run the ONNX file: %s", f->adapter->name, f->version, e->text);
    }
    error_context(e, "nothing that runs ONNX files here runs this one");
    return (int)e->code;
}
