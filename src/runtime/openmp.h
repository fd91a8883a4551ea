/* openmp.h: the OpenMP threads (GNU's libgomp) of the runtimes that have them: how many there are
 * and how long they spin is in the environment, before the runtime is loaded. */
#ifndef WATTLE_RUNTIME_OPENMP_H
#define WATTLE_RUNTIME_OPENMP_H

#include "base/error.h"
#include "runtime/adapter.h"

#include <jansson.h>

/* Whether that is a --spin, and one that can be had. */
int openmp_check_spin(const char *spin, struct error *e);

/* The variables for a request's threads and spinning. */
int openmp_environment(const struct adapter_request *r, json_t *variables, struct error *e);
int openmp_variable(json_t *variables, const char *name, const char *value, struct error *e);

/* The environment's word on the threads as the process sees it, not as it was meant. */
int openmp_settings(json_t *settings, struct error *e);

#endif
