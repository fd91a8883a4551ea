/* pytorch.c: PyTorch. Ahead-of-time packages and TorchScript run in wattle's own worker; eager and
 * torch.compile are Python, so there the worker is tools/python/pytorch_worker.py. */
#include "runtime/adapters.h"

static const char *const providers[] = {"cpu", "cuda", NULL};
static const char *const precisions[] = {"f32", NULL};
static const char *const variants[] = {
    "aoti", "torchscript", "torchscript-frozen", "torchscript-optimized", "eager", "compile", NULL};

static void probe(struct adapter_probe *out)
{
    *out = (struct adapter_probe){0};
    snprintf(out->reason, sizeof out->reason, "not installed");
}

static int load(const struct adapter_request *r, void **state, struct adapter_loaded *out,
                struct error *e)
{
    (void)state;
    (void)out;
    return error_set(e, ERROR_UNSUPPORTED, "pytorch:%s cannot be run by this build", r->variant);
}

const struct adapter adapter_pytorch = {
    .name = "pytorch",
    .title = "PyTorch: ahead-of-time compiled, TorchScript, eager, torch.compile",
    .providers = providers,
    .precisions = precisions,
    .variants = variants,
    .probe = probe,
    .load = load,
};
