/* pt_aoti.c: a package of ahead-of-time compiled code, called through the C functions its program
 * exports. A package is a program: whoever measures one runs what is in it. */
#include "runtime/pt.h"

#include "runtime/pt_isa.h"
#include "runtime/symbols.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* X(member, parameters): all give a status. */
#define PROGRAM_FUNCTIONS(X)                                                                       \
    X(ModelContainerCreateWithDevice,                                                              \
      (void **model, size_t models, const char *device, const char *kernels))                      \
    X(ModelContainerDelete, (void *model))                                                         \
    X(ModelContainerRun, (void *model, void **inputs, size_t input_count, void **outputs,          \
                          size_t output_count, void *stream, void *proxy))                         \
    X(ModelContainerGetNumInputs, (void *model, size_t *count))                                    \
    X(ModelContainerGetNumOutputs, (void *model, size_t *count))                                   \
    X(ModelContainerGetInputName, (void *model, size_t index, const char **name))                  \
    X(ModelContainerGetOutputName, (void *model, size_t index, const char **name))                 \
    X(ModelContainerGetNumConstants, (void *model, size_t *count))                                 \
    X(ModelContainerGetConstantFromFolded, (void *model, size_t index, bool *folded))

struct program {
#define MEMBER(name, parameters) int32_t(*name) parameters;
    PROGRAM_FUNCTIONS(MEMBER)
#undef MEMBER
    /* These came with 2.13. */
    int32_t (*blob_size)(void *model, uint64_t *bytes);
    int32_t (*update_from_blob)(void *model, const uint8_t *blob);
    int32_t (*list_constants)(void *model, const void **entries, size_t *count, bool inactive);
};

static int load_symbols(struct pt *p, struct program *f, struct error *e)
{
    const struct symbol needed[] = {
#define SYMBOL(name, parameters) {"AOTInductor" #name, &f->name},
        PROGRAM_FUNCTIONS(SYMBOL)
#undef SYMBOL
    };
    const struct symbol optional[] = {
        {"AOTInductorModelContainerGetConstantsBlobSize", &f->blob_size},
        {"AOTInductorModelUpdateConstantsFromBlob", &f->update_from_blob},
        {"AOTInductorModelContainerExtractConstantsMapEntries", &f->list_constants},
        {"AOTInductorGetLastError", &p->aoti.last_error},
    };
    void *handle = p->aoti.program;
    const char *missing = symbols_take(handle, needed, sizeof needed / sizeof *needed);
    if (missing)
        return error_set(e, ERROR_UNSUPPORTED, "the package's program has no function %s", missing);
    for (size_t i = 0; i < sizeof optional / sizeof *optional; i++)
        symbol_take(handle, &optional[i]);
    p->aoti.release = f->ModelContainerDelete;
    p->infer = f->ModelContainerRun;
    return 0;
}

static int failed(const struct pt *p, struct error *e, const char *what)
{
    const char *text = NULL;
    if (p->aoti.last_error && p->aoti.last_error(&text))
        text = NULL;
    return pt_api_error(&p->api, text, e, "%s", what);
}

/* --- before anything of it runs --------------------------------------------------------------- */

static int check_metadata(struct pt *p, const struct pt_package *package,
                          const struct pt_members *m, struct error *e)
{
    json_t *metadata = NULL;
    if (m->metadata < 0)
        return error_set(e, ERROR_FORMAT, "the package does not say what it was built for (no "
                         "wrapper_metadata.json)");
    int code = pt_package_json(package, m->metadata, &metadata, e);
    if (!code)
        code = pt_isa_check(metadata, p->provider, e);
    const char *isa = json_string_value(json_object_get(metadata, "AOTI_CPU_ISA"));
    snprintf(p->aoti.isa, sizeof p->aoti.isa, "%s", isa ? isa : "");
    json_decref(metadata);
    return code;
}

static int check_members(const struct pt_members *m, struct error *e)
{
    if (m->pickled_weights) {
        error_set(e, ERROR_UNSUPPORTED, "the package keeps its weights as Python objects, which "
                  "only Python reads");
        return error_hint(e, "leave out package_constants_on_disk_format, or make it "
                          "\"binary_blob\"");
    }
    if (!m->kernels)
        return 0;
    error_set(e, ERROR_UNSUPPORTED, "the package keeps its GPU kernels in files of their own");
    return error_hint(e, "export it with {\"aot_inductor.embed_kernel_binary\": True}");
}

/* --- loading ---------------------------------------------------------------------------------- */

static int open_program(struct pt *p, const struct pt_package *package, const struct pt_members *m,
                        const struct adapter_request *r, struct error *e)
{
    uint64_t bytes;
    char path[64];
    int code = pt_package_extract(package, m->program, &p->aoti.fd, &bytes, e);
    if (!code)
        code = pt_isa_check_code(p->aoti.fd, bytes, p->aoti.isa, &p->aoti.checked, e);
    if (code)
        return code;
    pt_isa_explain_faults(r->model, p->aoti.isa);
    snprintf(path, sizeof path, "/proc/self/fd/%d", p->aoti.fd);
    p->aoti.program = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (p->aoti.program)
        return 0;
    error_set(e, ERROR_UNSUPPORTED, "cannot load the package's program: %s", dlerror());
    return error_hint(e, "a package works with the PyTorch it was made with; this one is %s",
                      p->api.version);
}

static int create(struct pt *p, const struct program *f, struct error *e)
{
    char device[32] = "cpu";
    if (p->is_cuda)
        snprintf(device, sizeof device, "cuda:%d", p->device);
    return f->ModelContainerCreateWithDevice(&p->model, 1, device, NULL)
               ? failed(p, e, "cannot make the package's model")
               : 0;
}

static int load_blob(struct pt *p, const struct program *f, const struct pt_package *package,
                     int64_t index, struct error *e)
{
    uint64_t wanted = 0, bytes = 0;
    int fd = -1;
    if (!f->blob_size || !f->update_from_blob)
        return error_set(e, ERROR_UNSUPPORTED, "the package keeps its weights apart, and has no "
                         "function to load them");
    if (f->blob_size(p->model, &wanted))
        return failed(p, e, "cannot tell the size of the weights");
    int code = pt_package_extract(package, index, &fd, &bytes, e);
    if (code)
        return code;
    void *blob = MAP_FAILED;
    if (bytes != wanted)
        code = error_set(e, ERROR_FORMAT, "the package's weights have %llu bytes, its program "
                         "wants %llu", (unsigned long long)bytes, (unsigned long long)wanted);
    else if (bytes && (blob = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0)) == MAP_FAILED)
        code = error_memory(e);
    if (!code && bytes && f->update_from_blob(p->model, blob)) /* copies them */
        code = failed(p, e, "cannot load the package's weights");
    if (blob != MAP_FAILED)
        munmap(blob, bytes);
    close(fd);
    return code;
}

/* A run without its weights would crash. */
static int check_constants(struct pt *p, const struct program *f, struct error *e)
{
    size_t count = 0, needed = 0, there = 0;
    const void *entries;
    bool folded;
    if (!f->list_constants)
        return 0;
    if (f->ModelContainerGetNumConstants(p->model, &count) ||
        f->list_constants(p->model, &entries, &there, false))
        return failed(p, e, "cannot count the package's weights");
    for (size_t i = 0; i < count; i++) {
        if (f->ModelContainerGetConstantFromFolded(p->model, i, &folded))
            return failed(p, e, "cannot count the package's weights");
        needed += !folded;
    }
    if (there >= needed)
        return 0;
    error_set(e, ERROR_UNSUPPORTED, "the package has %zu of its program's %zu weights", there,
              needed);
    return error_hint(e, "export it without {\"aot_inductor.package_constants_in_so\": False}");
}

static int load_weights(struct pt *p, const struct program *f, const struct pt_package *package,
                        const struct pt_members *m, struct error *e)
{
    p->aoti.weights = m->weights < 0 ? "in the program" : "apart";
    int code = m->weights < 0 ? 0 : load_blob(p, f, package, m->weights, e);
    return code ? code : check_constants(p, f, e);
}

static int read_names(struct pt *p, const struct program *f, struct error *e)
{
    size_t inputs = 0, outputs = 0;
    const char *name;
    if (f->ModelContainerGetNumInputs(p->model, &inputs) ||
        f->ModelContainerGetNumOutputs(p->model, &outputs))
        return failed(p, e, "cannot count inputs and outputs");
    int code = 0;
    for (size_t i = 0; !code && i < inputs; i++)
        code = f->ModelContainerGetInputName(p->model, i, &name)
                   ? failed(p, e, "cannot tell an input's name")
                   : pt_tensor_name(p, p->inputs, &p->input_count, "input", name, e);
    for (size_t i = 0; !code && i < outputs; i++)
        code = f->ModelContainerGetOutputName(p->model, i, &name)
                   ? failed(p, e, "cannot tell an output's name")
                   : pt_tensor_name(p, p->outputs, &p->output_count, "output", name, e);
    return code;
}

int pt_aoti_check(struct pt *p, const struct adapter_request *r, const struct pt_package *package,
                  struct pt_members *m, struct error *e)
{
    int code = pt_package_members(package, r->model, m, e);
    if (!code)
        code = check_members(m, e);
    return code ? code : check_metadata(p, package, m, e);
}

/* A package's program looks at the shapes it is given only when it is told to, before its first
 * run; then it also looks at what each operator gives, in every run. Where the description says
 * what the shapes are, they were compared with it, and the runs are left as they are. */
static int set_checks(struct pt *p, struct error *e)
{
    p->aoti.has_checks = !p->description;
    return setenv("AOTI_RUNTIME_CHECK_INPUTS", p->aoti.has_checks ? "1" : "0", 1)
               ? error_errno(e, errno, "cannot set AOTI_RUNTIME_CHECK_INPUTS")
               : 0;
}

int pt_aoti_load(struct pt *p, const struct adapter_request *r, const struct pt_package *package,
                 const struct pt_members *m, struct error *e)
{
    struct program f = {0};
    int code = set_checks(p, e);
    if (!code)
        code = open_program(p, package, m, r, e);
    if (!code)
        code = load_symbols(p, &f, e);
    if (!code)
        code = create(p, &f, e);
    if (!code)
        code = load_weights(p, &f, package, m, e);
    return code ? code : read_names(p, &f, e);
}

void pt_aoti_release(struct pt *p)
{
    if (p->model && p->aoti.release)
        p->aoti.release(p->model);
    if (p->aoti.program)
        dlclose(p->aoti.program);
    if (p->aoti.fd >= 0)
        close(p->aoti.fd);
    pt_isa_forget_faults();
}
