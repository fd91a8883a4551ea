/* pt_load.c: a model from its file to what can be run. Everything that can be refused is refused
 * before PyTorch is loaded, and before code of the model runs. */
#include "runtime/pt.h"

#include "base/text.h"
#include "runtime/adapters.h"

#include <stdlib.h>
#include <string.h>

enum { TEXTS_MAX = 1 << 20, DEVICE_MAX = 255 };

static int set_denormals(void *target, const char *name, const char *value, struct error *e)
{
    struct pt *p = target;
    p->wants_zero = !strcmp(value, "zero");
    if (p->wants_zero || !strcmp(value, "kept"))
        return 0;
    return error_set(e, ERROR_USAGE, "option %s of runtime 'pytorch' is kept or zero, not '%.60s'",
                     name, value);
}

static const struct adapter_option known[] = {{"denormals", set_denormals}};

static int read_device(struct pt *p, const struct adapter_request *r, struct error *e)
{
    int64_t device = 0;
    p->is_cuda = !strcmp(r->provider, "cuda");
    if (r->device_count > 1)
        return error_set(e, ERROR_UNSUPPORTED, "pytorch:%s runs on one device, not on %zu",
                         r->variant, r->device_count);
    int code = r->device_count && p->is_cuda
                   ? text_to_int(r->devices[0], "device", 0, DEVICE_MAX, &device, e)
                   : 0;
    p->device = (int)device;
    return code;
}

static int read_request(struct pt *p, const struct adapter_request *r, struct error *e)
{
    if (!r->library || !*r->library) {
        error_set(e, ERROR_USAGE, "runtime 'pytorch' needs an installation");
        return error_hint(e, "wattle runtimes install pytorch");
    }
    if (r->provider_library && *r->provider_library)
        return error_set(e, ERROR_USAGE, "runtime 'pytorch' takes no provider library");
    p->variant = r->variant;
    p->provider = r->provider;
    int code = adapter_options("pytorch", r->options, known, sizeof known / sizeof *known, p, e);
    return code ? code : read_device(p, r, e);
}

static int is_aoti(const struct pt *p)
{
    return !strcmp(p->variant, "aoti");
}

static int load_model(struct pt *p, const struct adapter_request *r,
                      const struct pt_package *package, struct error *e)
{
    struct pt_members members = {0};
    int code = is_aoti(p) ? pt_aoti_check(p, r, package, &members, e) : 0;
    if (!code)
        code = pt_api_open(&p->api, r->library, p->is_cuda, e);
    if (!code)
        code = pt_settings_apply(p, r, e);
    if (code)
        return code;
    return is_aoti(p) ? pt_aoti_load(p, r, package, &members, e) : pt_script_load(p, r, e);
}

int pt_load(struct pt *p, const struct adapter_request *r, struct error *e)
{
    struct pt_package package;
    arena_init(&p->texts, TEXTS_MAX);
    p->aoti.fd = -1;
    int code = read_request(p, r, e);
    if (code)
        return code;
    code = pt_package_open(&package, r->model, e);
    p->description = json_incref(package.description);
    if (!code)
        code = load_model(p, r, &package, e);
    pt_package_close(&package);
    if (!code)
        code = pt_tensors_describe(p, r, e);
    if (!code)
        code = pt_run_prepare(p, e);
    return code ? code : pt_settings_make(p, r, e);
}

void pt_unload(struct pt *p)
{
    if (!p)
        return;
    pt_run_release(p);
    pt_aoti_release(p);
    pt_script_release(p);
    json_decref(p->description);
    json_decref(p->settings);
    arena_release(&p->texts);
    free(p);
}
