/* pt_script.c: TorchScript, through the shim that is compiled against the installed PyTorch
 * (pytorch_shim.h). Its function for one inference is like that of a compiled package. */
#include "runtime/pt.h"

#include "runtime/pytorch_shim.h"
#include "runtime/symbols.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct shim {
    int32_t (*load)(const char *path, const char *device, int mode, void **out);
    void (*counts)(void *model, size_t *inputs, size_t *required, int64_t *outputs);
    const char *(*input)(void *model, size_t index);
    const char *(*output)(void *model, size_t index);
};

static int open_shim(struct pt *p, struct shim *s, const char *library, struct error *e)
{
    const struct symbol symbols[] = {
        {"wattle_pt_load", &s->load},           {"wattle_pt_counts", &s->counts},
        {"wattle_pt_input", &s->input},         {"wattle_pt_output", &s->output},
        {"wattle_pt_run", &p->infer},           {"wattle_pt_free", &p->script.release},
        {"wattle_pt_error", &p->script.last_error},
    };
    int code = pytorch_shim_path(library, p->script.shim, e);
    if (!code && access(p->script.shim, R_OK))
        code = error_set(e, ERROR_UNSUPPORTED, "the shim for TorchScript, '%.300s', is not there",
                         p->script.shim);
    if (code)
        return code;
    void *handle = dlopen(p->script.shim, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        error_set(e, ERROR_UNSUPPORTED, "cannot load the shim for TorchScript: %s", dlerror());
        return error_hint(e, "remove it: it is compiled anew");
    }
    const char *missing = symbols_take(handle, symbols, sizeof symbols / sizeof *symbols);
    if (!missing)
        return 0;
    return error_set(e, ERROR_UNSUPPORTED, "'%.300s' has no function %s", p->script.shim, missing);
}

static int mode_of(const char *variant)
{
    if (!strcmp(variant, "torchscript-frozen"))
        return 1;
    return !strcmp(variant, "torchscript-optimized") ? 2 : 0;
}

static size_t described(const struct pt *p, const char *member)
{
    return json_array_size(json_object_get(p->description, member));
}

/* Inputs with a default are given only when the description tells of them. */
static int read_names(struct pt *p, const struct shim *s, struct error *e)
{
    size_t inputs, required;
    int64_t outputs;
    int code = 0;
    s->counts(p->model, &inputs, &required, &outputs);
    size_t given = described(p, "inputs");
    if (given < required || given > inputs)
        given = required;
    for (size_t i = 0; !code && i < given; i++)
        code = pt_tensor_name(p, p->inputs, &p->input_count, "input", s->input(p->model, i), e);
    if (!code && outputs < 0 && !p->description) {
        error_set(e, ERROR_UNSUPPORTED, "the model does not tell how many outputs it has");
        return error_hint(e, "make it return a tensor or a tuple of tensors");
    }
    size_t count = outputs < 0 ? described(p, "outputs") : (size_t)outputs;
    for (size_t i = 0; !code && i < count; i++) {
        const char *name = s->output(p->model, i);
        code = pt_tensor_name(p, p->outputs, &p->output_count, "output", name ? name : "output", e);
    }
    return code;
}

int pt_script_load(struct pt *p, const struct adapter_request *r, struct error *e)
{
    struct shim s = {0};
    char device[32] = "cpu";
    int code = open_shim(p, &s, r->library, e);
    if (code)
        return code;
    if (p->is_cuda)
        snprintf(device, sizeof device, "cuda:%d", p->device);
    if (s.load(r->model, device, mode_of(r->variant), &p->model))
        return pt_api_error(&p->api, p->script.last_error(), e, "cannot load '%.150s'", r->model);
    return read_names(p, &s, e);
}

void pt_script_release(struct pt *p)
{
    if (p->model && p->script.release)
        p->script.release(p->model);
}
