/* session.h: a worker with its model loaded and its inputs in place: what a measured block and an
 * output check both begin with. */
#ifndef WATTLE_MEASURE_SESSION_H
#define WATTLE_MEASURE_SESSION_H

#include "measure/inputs.h"
#include "worker/worker.h"

struct measure_outputs;

struct session {
    const struct cell *cell;
    const struct measure_options *options;
    struct input_plan plan;
    struct worker *worker;
    json_t *loaded;       /* the worker's reply to "load" */
    size_t tensor_bytes;  /* of all input sets: outputs begin there */
};

/* Starts the worker, says hello, loads the model. On failure the session is as far as it got, so
 * that its log can be read: session_close it in either case. */
int session_open(struct session *s, const struct cell *c, const struct measure_options *o,
                 struct error *e);
/* Makes up `sets` input sets and gives them to the worker. */
int session_inputs(struct session *s, int sets, struct error *e);
/* One command, with the options' timeout plus extra_ns. */
int session_call(struct session *s, json_t *command, uint64_t extra_ns, json_t **reply,
                 struct error *e);
void session_close(struct session *s);
/* The outputs of one inference on input set 0, not timed; refused beyond the limit. */
int session_outputs(struct session *s, uint64_t limit_bytes, struct measure_outputs *out,
                    struct error *e);

/* Reading replies strictly: a missing or wrong field is ERROR_FORMAT naming the field. */
int reply_u64(json_t *reply, const char *name, uint64_t *out, struct error *e);
/* A tensor of a reply ({"name","type","shape"}); *name is borrowed from it. */
int reply_tensor(json_t *value, const char **name, enum dtype *type, struct shape *shape,
                 struct error *e);

#endif
