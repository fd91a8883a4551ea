/* convert.c: `wattle convert`: a model of one framework as a file of another, accepted only when it
 * computes the same. */
#include "cmd/convert.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "cmd/progress.h"
#include "model/zoo.h"
#include "runtime/folder.h"
#include "runtime/pt_package.h"
#include "runtime/python.h"
#include "runtime/scripts.h"
#include "worker/worker.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPSET_MIN = 17, OPSET_MAX = 23, DYNAMO_OPSET_MIN = 18 };
#define REDRAW_NS (NS_PER_S / 2)

struct conversion {
    struct request request;
    struct cell model;           /* what is converted */
    int to_onnx;
    const char *exporter, *opset_text;
    int64_t opset;
    int dynamic_batch, external_data;
    double tolerance;
    const struct found *pytorch;
    struct convert_output output;
    char sha256[65];             /* of the source */
    json_t *dynamic;             /* [{"input", "axis", "name"}] of --dynamic */
    json_t *result;              /* of the script */
    struct comparison comparison;
};

/* --- what is asked for ----------------------------------------------------------------------- */

static int parse_target(struct conversion *c, const struct option_list *options, struct error *e)
{
    const char *to = options_last(options, OPTION_TO, NULL);
    const char *output = options_last(options, OPTION_OUTPUT, NULL);
    if (!output || !*output) {
        error_set(e, ERROR_USAGE, "no file to write to");
        return error_hint(e, "-o model.onnx, or -o model.pt2 for PyTorch");
    }
    if (!to && (text_ends(output, ".onnx") || text_ends(output, ".pt2")))
        to = text_ends(output, ".onnx") ? "onnx" : "pytorch";
    c->to_onnx = to && !strcmp(to, "onnx");
    if (to && (c->to_onnx || !strcmp(to, "pytorch")))
        return 0;
    if (to)
        error_set(e, ERROR_USAGE, "nothing is converted to '%.60s'", to);
    else
        error_set(e, ERROR_USAGE, "'%.200s' does not tell what to make", output);
    return error_hint(e, "--to takes onnx and pytorch");
}

static int parse_exporter(struct conversion *c, const struct option_list *options, struct error *e)
{
    int traced = !strcmp(c->model.format, "torchscript");
    c->exporter = options_last(options, OPTION_EXPORTER, traced ? "torchscript" : "dynamo");
    int is_dynamo = !strcmp(c->exporter, "dynamo");
    if (!is_dynamo && strcmp(c->exporter, "torchscript")) {
        error_set(e, ERROR_USAGE, "there is no exporter '%.60s'", c->exporter);
        return error_hint(e, "--exporter takes dynamo and torchscript");
    }
    if (is_dynamo && traced) {
        error_set(e, ERROR_USAGE, "the dynamo exporter does not take TorchScript");
        return error_hint(e, "leave out --exporter, or convert the module's own code");
    }
    const char *opset = options_last(options, OPTION_OPSET, "20");
    int result = text_to_int(opset, "opset", OPSET_MIN, OPSET_MAX, &c->opset, e);
    if (result || !is_dynamo || c->opset >= DYNAMO_OPSET_MIN)
        return result;
    error_set(e, ERROR_USAGE, "the dynamo exporter does not write opset %lld", (long long)c->opset);
    return error_hint(e, "it writes %d and more; --exporter torchscript writes %d",
                      DYNAMO_OPSET_MIN, OPSET_MIN);
}

/* Options that only the other direction has would be silently without effect. */
static int check_direction(const struct conversion *c, const struct option_list *options,
                           struct error *e)
{
    static const struct {
        int id;
        const char *name;
    } only_onnx[] = {{OPTION_EXPORTER, "exporter"}, {OPTION_OPSET, "opset"},
                     {OPTION_EXTERNAL_DATA, "external-data"}};
    for (size_t i = 0; !c->to_onnx && i < sizeof only_onnx / sizeof *only_onnx; i++)
        if (options_given(options, only_onnx[i].id))
            return error_set(e, ERROR_USAGE, "--%s is of conversions to ONNX", only_onnx[i].name);
    return 0;
}

static int check_source(struct conversion *c, const char *operand, const char *form,
                        struct error *e)
{
    const char *format = c->model.format;
    int is_zoo = zoo_find(operand) != NULL, is_native = is_zoo && !strcmp(form, "native");
    int is_onnx = !strcmp(format, "onnx") && *c->model.path && !is_native;
    int is_torch = is_native || !strcmp(format, "python") || !strcmp(format, "exported") ||
                   !strcmp(format, "torchscript");
    if (c->to_onnx ? is_torch : is_onnx)
        return 0;
    if (c->to_onnx && is_onnx && is_zoo) {
        error_set(e, ERROR_USAGE, "the built-in model '%s' is ONNX already", operand);
        return error_hint(e, "wattle models build %s writes it; --form native exports PyTorch's",
                          operand);
    }
    if (is_onnx || is_torch)
        return error_set(e, ERROR_USAGE, "'%.200s' is %s already", operand,
                         is_onnx ? "ONNX" : "PyTorch's");
    error_set(e, ERROR_USAGE, "'%.200s' of format '%s' is not converted", operand, format);
    return error_hint(e, "FILE.py:FUNCTION, .pt2 and .pt become ONNX; .onnx becomes PyTorch's");
}

static int parse_form(struct conversion *c, const char *operand, const char *form, struct error *e)
{
    if (!*form)
        c->model.form[0] = '\0';
    else if (strcmp(form, "native"))
        return error_set(e, ERROR_USAGE, "there is no form '%.60s' to convert", form);
    else if (!zoo_find(operand))
        return error_set(e, ERROR_USAGE, "--form native is of built-in models, not of '%.200s'",
                         operand);
    return check_source(c, operand, form, e);
}

/* What torch.export and expressions of sizes take for a name. */
static int is_size_name(const char *text)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
    size_t size = strlen(text);
    return size > 0 && size < PLAN_NAME_MAX && strchr(letters, *text) &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789") == size;
}

/* "INPUT:AXIS=NAME"; names of inputs may have colons. */
static int parse_dynamic(json_t *list, const char *text, struct error *e)
{
    char input[PLAN_NAME_MAX * 2];
    const char *name = strrchr(text, '=');
    size_t size = name ? (size_t)(name - text) : 0;
    snprintf(input, sizeof input, "%.*s", (int)(size < sizeof input ? size : 0), text);
    char *axis_text = strrchr(input, ':');
    int64_t axis;
    if (!axis_text || axis_text == input) {
        error_set(e, ERROR_USAGE, "'%.100s' is not INPUT:AXIS=NAME", text);
        return error_hint(e, "as in --dynamic ids:1=S");
    }
    *axis_text++ = '\0';
    if (!is_size_name(++name)) {
        error_set(e, ERROR_USAGE, "'%.60s' is no name for a size", name);
        return error_hint(e, "letters, digits and _, such as --dynamic %.60s:%.10s=S", input,
                          axis_text);
    }
    int result = text_to_int(axis_text, "axis", 0, RANK_MAX - 1, &axis, e);
    if (!result && json_array_append_new(list, json_pack("{s:s, s:I, s:s}", "input", input, "axis",
                                                         (json_int_t)axis, "name", name)))
        result = error_memory(e);
    return result;
}

static int parse_sizes(struct conversion *c, const struct option_list *options, struct error *e)
{
    c->dynamic = json_array();
    int result = c->dynamic ? 0 : error_memory(e);
    for (size_t i = 0; i < options->option_count && !result; i++)
        if (options->options[i].id == OPTION_DYNAMIC)
            result = parse_dynamic(c->dynamic, options->options[i].value, e);
    if (result || c->request.dim_count == 0 || !strcmp(c->model.format, "onnx"))
        return result;
    error_set(e, ERROR_USAGE, "--dim %s: only ONNX files have names for their sizes",
              c->request.dims[0].symbol);
    return error_hint(e, "--shape INPUT=1x128, or example_inputs() that gives other inputs");
}

static int find_pytorch(struct conversion *c, struct error *e)
{
    const struct request *r = &c->request;
    struct runtime_name name = {"pytorch", "", ""};
    if (r->name_count > 1)
        return error_set(e, ERROR_USAGE, "one PyTorch converts, not %zu runtimes", r->name_count);
    if (r->name_count == 1)
        name = r->names[0];
    if (strcmp(name.runtime, "pytorch")) {
        error_set(e, ERROR_USAGE, "runtime '%s' does not convert", name.runtime);
        return error_hint(e, "-r pytorch@VERSION");
    }
    c->pytorch = found_pick(&r->found, &name, "cpu", e);
    return c->pytorch ? 0 : (int)e->code;
}

static int parse(struct conversion *c, const struct option_list *options, struct error *e)
{
    const char *form = options_last(options, OPTION_FORM, "");
    const char *tolerance = options_last(options, OPTION_TOLERANCE, "1e-4");
    if (options->operand_count != 1) {
        error_set(e, ERROR_USAGE, "convert takes one model, not %zu", options->operand_count);
        return error_hint(e, "wattle convert FILE.py:make_model -o model.onnx");
    }
    const char *operand = options->operands[0];
    int result = parse_target(c, options, e);
    if (!result)
        result = request_model(operand, 1, &c->model, e);
    if (!result)
        result = parse_form(c, operand, form, e);
    if (!result)
        result = check_direction(c, options, e);
    if (!result)
        result = parse_exporter(c, options, e);
    if (!result)
        result = parse_sizes(c, options, e);
    if (!result)
        result = text_to_double(tolerance, "tolerance", 0, 1, &c->tolerance, e);
    c->dynamic_batch = options_given(options, OPTION_DYNAMIC_BATCH);
    c->external_data = options_given(options, OPTION_EXTERNAL_DATA);
    c->output.force = options_given(options, OPTION_FORCE);
    return result ? result : find_pytorch(c, e);
}

/* --- the script ------------------------------------------------------------------------------ */

static uint64_t begun_ns, drawn_ns;
static char step[160];

static void draw(int is_news)
{
    char line[256];
    uint64_t now_ns = clock_monotonic_ns();
    snprintf(line, sizeof line, "%s, %.0f s", step, (double)(now_ns - begun_ns) / 1e9);
    progress_line(line, is_news);
    drawn_ns = now_ns;
}

static int interrupted(void)
{
    if (clock_monotonic_ns() - drawn_ns > REDRAW_NS)
        draw(0);
    return worker_interrupted();
}

static void tell(void *context, const char *line)
{
    (void)context;
    snprintf(step, sizeof step, "%s", line);
    draw(1);
}

/* [{"name", "type", "shape", "range"}] of --shape and --range. */
static json_t *list_inputs(const struct request *r)
{
    json_t *shapes = json_loads(r->shapes, 0, NULL), *list = json_array(), *value;
    const char *name;
    json_object_foreach(shapes, name, value) {
        const char *type = json_string_value(json_object_get(value, "type"));
        json_t *sizes = json_is_array(value) ? value : json_object_get(value, "dims");
        json_t *entry = json_pack("{s:s, s:s, s:O}", "name", name, "type", type ? type : "float32",
                                  "shape", sizes);
        for (size_t i = 0; entry && i < r->measure.range_count; i++)
            if (!strcmp(r->ranges[i].name, name))
                json_object_set_new(entry, "range", json_pack("[f, f]", r->ranges[i].low,
                                                              r->ranges[i].high));
        json_array_append_new(list, entry);
    }
    json_decref(shapes);
    return list;
}

/* {NAME: size} of --dim. */
static json_t *list_dims(const struct request *r)
{
    json_t *dims = json_object();
    for (size_t i = 0; i < r->dim_count; i++)
        json_object_set_new(dims, r->dims[i].symbol, json_integer(r->dims[i].value));
    return dims;
}

static json_t *make_request(const struct conversion *c)
{
    const struct cell *m = &c->model;
    const char *slash = strrchr(m->path, '/');
    return json_pack(
        "{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:o, s:s, s:s, s:s, s:s, s:I, s:b, s:b, s:I, "
        "s:s, s:s, s:s, s:s, s:O, s:o}",
        "schema", 1, "model", m->path, "format", m->format, "zoo",
        !strcmp(m->form, "native") ? m->model : "", "form", m->form, "provider", "cpu", "precision",
        "f32", "batch", 0, "inputs", list_inputs(&c->request), "to",
        c->to_onnx ? "onnx" : "pytorch", "output", c->output.made, "final", c->output.path,
        "exporter", c->exporter, "opset", (json_int_t)c->opset, "dynamic_batch",
        c->dynamic_batch, "external_data", c->external_data, "seed",
        (json_int_t)c->request.measure.seed, "source", slash ? slash + 1 : m->path, "sha256",
        c->sha256, "wattle", WATTLE_VERSION, "scratch", c->output.folder, "dynamic", c->dynamic,
        "dims", list_dims(&c->request));
}

static int hash_source(struct conversion *c, struct error *e)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", c->model.path);
    if (!strcmp(c->model.format, "python"))
        *strrchr(path, ':') = '\0';
    return file_sha256(path, c->sha256, e);
}

static int run_script(struct conversion *c, json_t *request, struct error *e)
{
    char script[PATH_MAX];
    const struct python_job job = {.library = c->pytorch->library, .script = script,
                                   .folder = c->output.folder, .interrupted = interrupted,
                                   .tell = tell};
    int result = request ? script_path("python/convert.py", script, e) : error_memory(e);
    if (!result)
        result = python_run(&job, request, e);
    progress_wipe();
    return result;
}

static int make(struct conversion *c, struct error *e)
{
    begun_ns = drawn_ns = clock_monotonic_ns();
    snprintf(step, sizeof step, "starting PyTorch %s", c->pytorch->version);
    draw(1);
    const char *format = c->model.format;
    int result = hash_source(c, e);
    if (!result && (!strcmp(format, "exported") || !strcmp(format, "torchscript")))
        result = pt_package_verify(c->model.path, e);
    if (result)
        return result;
    json_t *request = make_request(c);
    result = run_script(c, request, e);
    json_decref(request);
    if (result)
        return result;
    c->result = python_result(c->output.folder);
    return c->result ? 0 : error_set(e, ERROR_FORMAT, "the converter left no result");
}

/* --- what the comparison showed, into the file ----------------------------------------------- */

static json_t *note_error(const struct compared_output *o)
{
    if (!o->odd_count)
        return json_sprintf("max %.3g mean %.3g", o->max_error, o->mean_error);
    return json_sprintf("max %.3g mean %.3g, %zu of %zu not finite", o->max_error, o->mean_error,
                        o->odd_count, o->count);
}

static json_t *onnx_notes(const struct conversion *c)
{
    const struct comparison *x = &c->comparison;
    json_t *notes = json_pack("{s:o, s:o}", "wattle.convert.compared",
                              json_sprintf("%s, %zu sets of inputs", x->runtime, x->set_count),
                              "wattle.convert.max_rel_error", json_sprintf("%.3g", x->max_error));
    for (size_t i = 0; notes && i < x->output_count; i++) {
        char key[192];
        snprintf(key, sizeof key, "wattle.convert.error.%s", x->outputs[i].name);
        json_object_set_new(notes, key, note_error(&x->outputs[i]));
    }
    return notes;
}

/* As in prepare.h. */
static json_t *pytorch_notes(const struct conversion *c)
{
    const struct comparison *x = &c->comparison;
    const char *slash = strrchr(c->model.path, '/');
    return json_pack("{s:i, s:s, s:o, s:s, s:s, s:O, s:O, s:f, s:s, s:s, s:s}", "schema", 1, "form",
                     "converted", "how",
                     json_sprintf("%s, torch.export", python_word(c->result, "how")), "torch",
                     python_word(c->result, "torch"), "variant", "", "inputs",
                     json_object_get(c->result, "inputs"), "outputs",
                     json_object_get(c->result, "outputs"), "max_rel_error", x->max_error,
                     "compared", x->runtime, "source", slash ? slash + 1 : c->model.path, "sha256",
                     c->sha256);
}

static int put_notes(struct conversion *c, struct error *e)
{
    json_t *notes = c->to_onnx ? onnx_notes(c) : pytorch_notes(c);
    json_t *request = json_pack("{s:b, s:s, s:s, s:o}", "finish", 1, "to",
                                c->to_onnx ? "onnx" : "pytorch", "output", c->output.made, "notes",
                                notes);
    snprintf(step, sizeof step, "noting how it was made");
    int result = run_script(c, request, e);
    json_decref(request);
    return result;
}

/* --- command --------------------------------------------------------------------------------- */

static void print_shape(json_t *shape)
{
    size_t i;
    json_t *size;
    putchar('[');
    json_array_foreach(shape, i, size) {
        printf("%s", i ? "," : "");
        if (json_is_integer(size))
            printf("%lld", (long long)json_integer_value(size));
        else
            printf("%s", json_string_value(size));
    }
    putchar(']');
}

static void print_error(const struct compared_output *o)
{
    printf("  error: max %.2g, mean %.2g", o->max_error, o->mean_error);
    if (o->odd_count)
        printf("; %zu of %zu numbers are not finite", o->odd_count, o->count);
}

static void print_values(const struct conversion *c, const char *key)
{
    size_t i;
    json_t *value, *values = json_object_get(json_object_get(c->result, "shown"), key);
    json_array_foreach(values, i, value) {
        printf("%-8.*s%-24s %s ", (int)strlen(key) - 1, key, python_word(value, "name"),
               python_word(value, "type"));
        print_shape(json_object_get(value, "shape"));
        if (!strcmp(key, "outputs") && i < c->comparison.output_count)
            print_error(&c->comparison.outputs[i]);
        putchar('\n');
    }
}

static void size_text(const char *path, char size[16])
{
    struct stat st;
    size[0] = '\0';
    if (!stat(path, &st))
        text_bytes((uint64_t)st.st_size, size);
}

static void print_data(const struct conversion *c, const char *output)
{
    char path[PATH_MAX], size[16];
    struct error ignored;
    if (!*python_word(c->result, "data") || convert_output_data(&c->output, path, &ignored))
        return;
    size_text(path, size);
    printf("%s" CONVERT_DATA_ENDING "  %s  weights, which the file above needs beside it\n", output,
           size);
}

static void print_result(const struct conversion *c, const char *output)
{
    char size[16];
    size_text(c->output.path, size);
    printf("%s  %s", output, size);

    if (c->to_onnx)
        printf("  opset %lld, %s, %s\n", (long long)c->opset, python_word(c->result, "exporter"),
               python_word(c->result, "versions"));
    else
        printf("  %s, %s, torch %s\n", python_word(c->result, "how"),
               python_word(c->result, "exporter"), python_word(c->result, "torch"));
    print_data(c, output);
    print_values(c, "inputs");
    print_values(c, "outputs");
    printf("compared with %s on %zu sets of inputs; errors are relative to an output's largest "
           "value\n", c->comparison.runtime, c->comparison.set_count);
}

/* About FILE.data, where it is not as one might think. */
static void tell_of_data(const struct conversion *c)
{
    char path[PATH_MAX];
    struct error ignored;
    if (*python_word(c->result, "data"))
        return;
    if (c->external_data)
        log_note("the model has no weights that are worth a file of their own: all is in the one");
    if (c->to_onnx && !convert_output_data(&c->output, path, &ignored) && !access(path, F_OK))
        log_warning("'%s' is of another model: the weights of this one are inside of it", path);
}

static int convert(struct conversion *c, const struct option_list *options, struct error *e)
{
    int result = parse(c, options, e);
    if (!result)
        result = convert_output_prepare(&c->output, options_last(options, OPTION_OUTPUT, ""),
                                        c->model.path, c->external_data, e);
    if (!result)
        result = make(c, e);
    if (!result)
        result = convert_compare(&c->request, c->to_onnx ? c->output.made : c->model.path,
                                 json_object_get(c->result, "cases"), c->tolerance, &c->comparison,
                                 e);
    if (!result)
        result = put_notes(c, e);
    if (!result && worker_interrupted())
        result = error_set(e, ERROR_INTERRUPTED, "interrupted");
    return result ? result : convert_output_commit(&c->output, python_word(c->result, "data"), e);
}

int cmd_convert(const struct option_list *options, struct error *e)
{
    struct error ignored;
    struct conversion *c = calloc(1, sizeof *c);
    if (!c)
        return error_memory(e), 0;
    if (!request_parse(&c->request, options, e)) {
        int result = convert(c, options, e);
        if (*c->output.folder)
            folder_remove(c->output.folder, &ignored);
        if (!result) {
            print_result(c, options_last(options, OPTION_OUTPUT, ""));
            tell_of_data(c);
        }
        request_release(&c->request);
    }
    json_decref(c->dynamic);
    json_decref(c->result);
    free(c);
    return 0;
}
