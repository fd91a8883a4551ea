/* ov_devices.c: what OpenVINO finds on this machine. */
#include "runtime/ov_api.h"

#include "base/buffer.h"

#include <stdio.h>

enum { LIST_MAX = 2048 };

static void add_device(const struct ov_api *api, void *core, const char *device,
                       struct buffer *list)
{
    char *name = NULL;
    int status = api->core_get_property(core, device, "FULL_DEVICE_NAME", &name);
    buffer_format(list, "%s%s", list->size ? ", " : "", device);
    if (!status && name && *name)
        buffer_format(list, " (%s)", name);
    api->free(name);
}

static int list_all(const struct ov_api *api, void *core, struct buffer *list, struct error *e)
{
    struct ov_devices devices = {0};
    int status = api->core_get_available_devices(core, &devices);
    if (status)
        return ov_api_error(api, status, e, "OpenVINO cannot list its devices");
    for (size_t i = 0; i < devices.count; i++)
        add_device(api, core, devices.names[i], list);
    api->available_devices_free(&devices);
    return 0;
}

int ov_devices(const char *library, char *text, size_t size, struct error *e)
{
    struct ov_api api;
    struct buffer list;
    void *core = NULL;
    buffer_init(&list, LIST_MAX);
    int code = ov_api_open(&api, library, e);
    int status = code ? 0 : api.core_create(&core);
    if (status)
        code = ov_api_error(&api, status, e, "OpenVINO cannot be started");
    if (!code)
        code = list_all(&api, core, &list, e);
    if (!code)
        snprintf(text, size, "%s", list.size ? buffer_string(&list) : "none");
    if (core)
        api.core_free(core);
    buffer_release(&list);
    return code;
}
