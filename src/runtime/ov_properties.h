/* ov_properties.h: OpenVINO's properties: what a request asks for, and what the compiled model says
 * it got. */
#ifndef WATTLE_RUNTIME_OV_PROPERTIES_H
#define WATTLE_RUNTIME_OV_PROPERTIES_H

#include "runtime/adapter.h"
#include "runtime/ov_api.h"

enum { OV_PROPERTY_MAX = 16, OV_DEVICE_MAX = 32 };

/* What is set, in order. Strings are the request's or live here. */
struct ov_properties {
    char device[OV_DEVICE_MAX];        /* "CPU", "GPU", "GPU.1", "NPU" */
    char threads[16];
    const char *values[OV_PROPERTY_MAX]; /* by the table in ov_properties.c; NULL: OpenVINO's own */
    json_t *others;                    /* object: from options ov.KEY=VALUE, set as they are */
};

/* From the request's provider, precision, threads, spin and options. */
int ov_properties_choose(struct ov_properties *p, const struct adapter_request *r,
                         struct error *e);
void ov_properties_release(struct ov_properties *p);

/* Sets them on the core, as the device's defaults for what it compiles. */
int ov_properties_set(const struct ov_properties *p, const struct ov_api *api, const void *core,
                      struct error *e);

/* The effective settings, all read back. A precision other than the one asked for is an error. */
int ov_properties_read(const struct ov_properties *p, const struct ov_api *api, const void *core,
                       const void *compiled, const struct adapter_request *r, json_t **settings,
                       struct error *e);

#endif
