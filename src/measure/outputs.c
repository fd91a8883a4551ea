/* outputs.c: the outputs of one inference. */
#include "measure/measure.h"

#include "measure/session.h"

#include <stdlib.h>
#include <string.h>

#define OUTPUT_LIMIT_BYTES ((uint64_t)1 << 32)

/* Copies one output out of the shared tensor memory. */
static int take_output(struct session *s, json_t *value, struct measure_output *out,
                       struct error *e)
{
    const char *name;
    uint64_t offset, bytes;
    struct tensor *t = &out->tensor;
    int result = reply_tensor(value, &name, &t->type, &t->shape, e);
    if (!result)
        result = reply_u64(value, "offset", &offset, e);
    if (!result)
        result = reply_u64(value, "bytes", &bytes, e);
    if (result)
        return result;
    if (bytes != (uint64_t)shape_bytes(&t->shape, t->type) || offset > OUTPUT_LIMIT_BYTES * 2 ||
        bytes > OUTPUT_LIMIT_BYTES)
        return error_set(e, ERROR_FORMAT, "worker's output '%s' is misplaced", name);
    snprintf(out->name, sizeof out->name, "%s", name);
    uint8_t *data;
    result = worker_tensors(s->worker, offset + bytes, &data, e);
    if (result)
        return result;
    t->data = malloc(bytes ? bytes : 1);
    if (!t->data)
        return error_memory(e);
    memcpy(t->data, data + offset, bytes);
    return 0;
}

/* Together they stay within the limit that the worker was given. */
static int check_list(json_t *list, uint64_t limit_bytes, struct error *e)
{
    size_t i, count = json_array_size(list);
    uint64_t sum = 0, bytes;
    json_t *output;
    if (count == 0 || count > RECORD_OUTPUT_MAX)
        return error_set(e, ERROR_FORMAT, "worker reports %zu outputs", count);
    json_array_foreach(list, i, output) {
        int result = reply_u64(output, "bytes", &bytes, e);
        if (result)
            return result;
        if (bytes > limit_bytes - sum)
            return error_set(e, ERROR_FORMAT, "worker's outputs go beyond the limit of %llu bytes",
                             (unsigned long long)limit_bytes);
        sum += bytes;
    }
    return 0;
}

static int take_outputs(struct session *s, json_t *list, uint64_t limit_bytes,
                        struct measure_outputs *out, struct error *e)
{
    size_t count = json_array_size(list);
    int result = check_list(list, limit_bytes, e);
    if (result)
        return result;
    out->outputs = calloc(count, sizeof *out->outputs);
    if (!out->outputs)
        return error_memory(e);
    out->count = count;
    for (size_t i = 0; i < count && !result; i++)
        result = take_output(s, json_array_get(list, i), &out->outputs[i], e);
    return result;
}

int session_outputs(struct session *s, uint64_t limit_bytes, struct measure_outputs *out,
                    struct error *e)
{
    json_t *reply = NULL;
    *out = (struct measure_outputs){0};
    json_t *command = json_pack("{s:s, s:i, s:I, s:I}", "op", "outputs", "set", 0, "offset",
                                (json_int_t)s->tensor_bytes, "limit", (json_int_t)limit_bytes);
    int result = command ? session_call(s, command, 0, &reply, e) : error_memory(e);
    if (!result)
        result = take_outputs(s, json_object_get(reply, "outputs"), limit_bytes, out, e);
    json_decref(reply);
    if (result)
        measure_outputs_release(out);
    return result;
}

int measure_outputs(const struct cell *c, const struct measure_options *o,
                    struct measure_outputs *out, struct error *e)
{
    struct session s = {0};
    *out = (struct measure_outputs){0};
    int result = session_open(&s, c, o, e);
    if (!result)
        result = session_inputs(&s, 1, e);
    if (!result)
        result = session_outputs(&s, OUTPUT_LIMIT_BYTES, out, e);
    session_close(&s);
    return result;
}

void measure_outputs_release(struct measure_outputs *out)
{
    for (size_t i = 0; i < out->count; i++)
        free(out->outputs[i].tensor.data);
    free(out->outputs);
    *out = (struct measure_outputs){0};
}
