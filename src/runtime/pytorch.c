/* pytorch.c: PyTorch. Ahead-of-time packages and TorchScript run in wattle's own worker; eager and
 * torch.compile are Python, so there the worker is tools/python/pytorch_worker.py. */
#include "runtime/adapters.h"

#include "base/file.h"
#include "runtime/found.h"
#include "runtime/nvml.h"
#include "runtime/openmp.h"
#include "runtime/pt.h"
#include "runtime/pytorch_shim.h"
#include "runtime/scripts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const providers[] = {"cpu", "cuda", NULL};
static const char *const precisions[] = {"f32", NULL};
static const char *const variants[] = {
    "aoti", "torchscript", "torchscript-frozen", "torchscript-optimized", "eager", "compile", NULL};

static int is_python(const struct adapter_request *r)
{
    return !strcmp(r->variant, "eager") || !strcmp(r->variant, "compile");
}

static int is_script(const struct adapter_request *r)
{
    return !strncmp(r->variant, "torchscript", strlen("torchscript"));
}

/* Loading the library is not for this process; installations are looked for elsewhere. */
static void probe(struct adapter_probe *out)
{
    *out = (struct adapter_probe){0};
    snprintf(out->reason, sizeof out->reason, "no installation known");
}

/* --- before the worker ------------------------------------------------------------------------ */

static int set_python(const struct adapter_request *r, json_t *variables, struct error *e)
{
    char python[PATH_MAX], site[PATH_MAX], home[PATH_MAX], cache[PATH_MAX];
    int code = found_python(r->library, python, site, e);
    if (!code)
        code = file_home(home, e);
    if (!code)
        code = file_join(cache, home, "cache/inductor", e);
    if (!code)
        code = openmp_variable(variables, "TORCHINDUCTOR_CACHE_DIR", cache, e);
    if (!code)
        code = openmp_variable(variables, "PYTHONHASHSEED", "0", e);
    if (!code)
        code = openmp_variable(variables, "PYTHONDONTWRITEBYTECODE", "1", e);
    if (!code && site[0])
        code = openmp_variable(variables, "PYTHONPATH", site, e);
    return code;
}

static int check(const struct adapter_request *r, struct error *e)
{
    return openmp_check_spin(r->spin, e);
}

static int environment(const struct adapter_request *r, struct adapter_environment *out,
                       struct error *e)
{
    char threads[16];
    snprintf(threads, sizeof threads, "%d", r->threads);
    int code = openmp_environment(r, out->variables, e);
    if (!code)
        code = openmp_variable(out->variables, "MKL_NUM_THREADS", threads, e);
    if (!code && !strcmp(r->provider, "cuda"))
        code = openmp_variable(out->variables, "NVIDIA_TF32_OVERRIDE", "0", e);
    return !code && is_python(r) ? set_python(r, out->variables, e) : code;
}

/* The shim is compiled here at the latest, so that no load is timed with a compiler in it. Nor with a
 * look through the whole file. */
static int command(const struct adapter_request *r, struct adapter_command *out, struct error *e)
{
    char path[PATH_MAX];
    out->count = 0;
    if (is_script(r)) {
        int code = pt_package_verify(r->model, e);
        return code ? code : pytorch_shim(r->library, path, NULL, NULL, NULL, e);
    }
    if (!is_python(r))
        return 0;
    int code = found_python(r->library, out->arguments[0], path, e);
    if (!code)
        code = script_path("python/pytorch_worker.py", out->arguments[1], e);
    out->count = code ? 0 : 2;
    return code;
}

/* --- in the worker ---------------------------------------------------------------------------- */

static void unload(void *state)
{
    pt_unload(state);
}

static void describe(const struct pt *p, const struct adapter_request *r,
                     struct adapter_loaded *out)
{
    out->version = p->api.version;
    out->library = r->library;
    out->provider = p->provider;
    out->settings = p->settings;
    out->input_count = p->input_count;
    out->output_count = p->output_count;
    memcpy(out->inputs, p->inputs, sizeof p->inputs);
    memcpy(out->outputs, p->outputs, sizeof p->outputs);
}

static int load(const struct adapter_request *r, void **state, struct adapter_loaded *out,
                struct error *e)
{
    if (is_python(r))
        return error_set(e, ERROR_UNSUPPORTED, "pytorch:%s runs in a worker of its own",
                         r->variant);
    struct pt *p = calloc(1, sizeof *p);
    if (!p)
        return error_memory(e);
    int code = pt_load(p, r, e);
    if (code) {
        pt_unload(p);
        return code;
    }
    describe(p, r, out);
    *state = p;
    return 0;
}

static int bind(void *state, const void *const *data, struct error *e)
{
    return pt_run_bind(state, data, e);
}

static int run(void *state, struct error *e)
{
    return pt_run(state, e);
}

static const void *output(void *state, size_t index, struct adapter_tensor *tensor)
{
    return pt_run_output(state, index, tensor);
}

_Static_assert((int)ADAPTER_REASON_MAX >= (int)NVML_REASON_MAX, "reasons fit");

static int device_memory(void *state, uint64_t *bytes, char reason[ADAPTER_REASON_MAX])
{
    const struct pt *p = state;
    reason[0] = '\0';
    return p->is_cuda ? nvml_own_memory(bytes, reason) : -1;
}

const struct adapter adapter_pytorch = {
    .name = "pytorch",
    .title = "PyTorch: ahead-of-time compiled, TorchScript, eager, torch.compile",
    .providers = providers,
    .precisions = precisions,
    .variants = variants,
    .ready = pytorch_ready,
    .takes_devices = 1,
    .probe = probe,
    .check = check,
    .environment = environment,
    .command = command,
    .load = load,
    .bind = bind,
    .run = run,
    .output = output,
    .unload = unload,
    .device_memory = device_memory,
};
