/* ov_reshape.h: gives every input of a model that OpenVINO has read concrete sizes.
 *
 * OpenVINO keeps that a dimension is dynamic and forgets its symbol, so a request's `dims` cannot
 * be used here. In this order: the request's `shapes` by the input's name; the size the file fixes;
 * the batch for a dynamic first axis. Any other dynamic axis is an error that says which.
 */
#ifndef WATTLE_RUNTIME_OV_RESHAPE_H
#define WATTLE_RUNTIME_OV_RESHAPE_H

#include "runtime/adapter.h"
#include "runtime/ov_api.h"

/* names[i] becomes the request's name of input i, NULL where it has none: a tensor of OpenVINO's
 * may have several names, of which it tells one. */
int ov_reshape(const struct ov_api *api, void *model, const struct adapter_request *r,
               const char *names[ADAPTER_TENSOR_MAX], struct error *e);

/* The port's name, or `role` and the index where it has none (IR files may lack them), "" without a
 * role. */
void ov_port_name(const struct ov_api *api, const void *port, const char *role, size_t index,
                  char *name, size_t size);

#endif
