#include "worker/child.h"
#include "worker/field.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SETS_MAX = 4096, INPUT_ALIGNMENT = 8, OUTPUT_ALIGNMENT = 64 };
#define BYTES_MAX (1ll << 46)

/* Where the inputs lie, as the command says and as we have checked. */
struct layout {
    int64_t sets, set_bytes;
    int64_t offsets[ADAPTER_TENSOR_MAX];
};

static int read_tensor(json_t *item, const struct adapter_tensor *t, const struct layout *l,
                       int64_t *offset, struct error *e)
{
    int64_t bytes;
    int code = json_is_object(item) ? 0 : error_set(e, ERROR_USAGE, "is not an object");
    if (!code)
        code = field_integer(item, "offset", 0, l->set_bytes, offset, e);
    if (!code)
        code = field_integer(item, "bytes", 0, l->set_bytes - *offset, &bytes, e);
    if (!code && (uint64_t)bytes != t->bytes)
        code = error_set(e, ERROR_USAGE, "has %lld bytes, the model takes %zu", (long long)bytes,
                         t->bytes);
    if (!code && *offset % INPUT_ALIGNMENT)
        code = error_set(e, ERROR_USAGE, "\"offset\" %lld is not a multiple of %d",
                         (long long)*offset, INPUT_ALIGNMENT);
    return code ? error_context(e, "input '%s'", t->name) : 0;
}

static int read_layout(const struct adapter_loaded *loaded, json_t *command, struct layout *l,
                       struct error *e)
{
    json_t *tensors;
    int code = field_integer(command, "sets", 1, SETS_MAX, &l->sets, e);
    if (!code)
        code = field_integer(command, "set_bytes", 0, BYTES_MAX, &l->set_bytes, e);
    if (!code)
        code = field_array(command, "tensors", &tensors, e);
    if (!code && l->set_bytes % INPUT_ALIGNMENT)
        code = error_set(e, ERROR_USAGE, "\"set_bytes\" is not a multiple of %d", INPUT_ALIGNMENT);
    if (!code && json_array_size(tensors) != loaded->input_count)
        code = error_set(e, ERROR_USAGE, "\"tensors\" has %zu items, the model takes %zu inputs",
                         json_array_size(tensors), loaded->input_count);
    for (size_t i = 0; !code && i < loaded->input_count; i++)
        code = read_tensor(json_array_get(tensors, i), &loaded->inputs[i], l, &l->offsets[i], e);
    return code;
}

/* MAP_POPULATE: no page of an input is to be touched for the first time inside the window. */
static int map_inputs(size_t bytes, uint8_t **out, struct error *e)
{
    struct stat st;
    if (fstat(WATTLE_FD_TENSORS, &st))
        return error_errno(e, errno, "cannot inspect the tensor memory");
    if ((uint64_t)st.st_size < bytes)
        return error_set(e, ERROR_USAGE, "inputs of %zu bytes in a tensor memory of %lld", bytes,
                         (long long)st.st_size);
    void *p = bytes ? mmap(NULL, bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, WATTLE_FD_TENSORS, 0)
                    : NULL;
    if (p == MAP_FAILED)
        return error_errno(e, errno, "cannot map %zu bytes of inputs", bytes);
    *out = p;
    return 0;
}

/* Shows the runtime each set once, so that what an adapter makes for memory it has not seen before
 * (a tensor object) is not made inside the window. */
static int bind_each_set(struct child *c, struct error *e)
{
    int code = 0;
    for (uint64_t set = 0; !code && set < c->sets; set++)
        code = c->adapter->bind(c->state, c->data + (size_t)set * c->loaded.input_count, e);
    return code;
}

int child_inputs(struct child *c, json_t *command, json_t *reply, struct error *e)
{
    (void)reply;
    struct layout l = {0};
    uint8_t *tensors = NULL;
    if (!c->adapter)
        return error_set(e, ERROR_USAGE, "\"inputs\" before \"load\"");
    int code = read_layout(&c->loaded, command, &l, e);
    if (code)
        return code;
    size_t count = c->loaded.input_count;
    size_t set_bytes = (size_t)l.set_bytes, bytes = (size_t)l.sets * set_bytes;
    const void **data = calloc((size_t)l.sets * count + 1, sizeof *data);
    if (!data)
        return error_memory(e);
    code = map_inputs(bytes, &tensors, e);
    if (code) {
        free(data);
        return code;
    }
    child_release_data(c); /* only now: refused inputs leave the old ones */
    const uint8_t *base = tensors ? tensors : (const uint8_t *)data; /* empty inputs lie anywhere */
    for (size_t set = 0; set < (size_t)l.sets; set++)
        for (size_t i = 0; i < count; i++)
            data[set * count + i] = base + set * set_bytes + l.offsets[i];
    c->tensors = tensors;
    c->tensor_bytes = bytes;
    c->inputs_end = bytes;
    c->data = data;
    c->sets = (uint64_t)l.sets;
    child_guard_inputs(tensors, bytes);
    return bind_each_set(c, e);
}

void child_release_data(struct child *c)
{
    child_guard_inputs(NULL, 0);
    if (c->tensors)
        munmap(c->tensors, c->tensor_bytes);
    free(c->data);
    c->tensors = NULL;
    c->data = NULL;
    c->sets = 0;
    c->window_ready = 0;
}

static int write_at(const uint8_t *bytes, size_t size, int64_t offset, struct error *e)
{
    while (size) {
        ssize_t n = pwrite(WATTLE_FD_TENSORS, bytes, size, offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return error_errno(e, n ? errno : EIO, "cannot write outputs");
        bytes += n;
        size -= (size_t)n;
        offset += n;
    }
    return 0;
}

static json_t *output_json(const struct adapter_tensor *t, int64_t offset)
{
    json_t *shape = json_array();
    json_t *item = json_pack("{s:s,s:s,s:o,s:I,s:I}", "name", t->name, "type", t->type, "shape",
                             shape, "offset", (json_int_t)offset, "bytes", (json_int_t)t->bytes);
    for (int i = 0; item && i < t->rank; i++)
        if (json_array_append_new(shape, json_integer(t->dims[i]))) {
            json_decref(item);
            item = NULL;
        }
    return item;
}

static int grow(int64_t size, struct error *e)
{
    struct stat st;
    if (fstat(WATTLE_FD_TENSORS, &st))
        return error_errno(e, errno, "cannot inspect the tensor memory");
    if (st.st_size < size && ftruncate(WATTLE_FD_TENSORS, size))
        return error_errno(e, errno, "cannot grow the tensor memory to %lld bytes",
                           (long long)size);
    return 0;
}

/* Writes output i at *offset and moves *offset behind it. */
static int write_output(struct child *c, size_t i, int64_t *offset, int64_t end, json_t *list,
                        struct error *e)
{
    struct adapter_tensor t = c->loaded.outputs[i];
    const void *bytes = c->adapter->output(c->state, i, &t);
    *offset = (*offset + OUTPUT_ALIGNMENT - 1) / OUTPUT_ALIGNMENT * OUTPUT_ALIGNMENT;
    if (!bytes)
        return error_set(e, ERROR_UNSUPPORTED, "output '%s' has no data", t.name);
    if (t.bytes > BYTES_MAX || *offset + (int64_t)t.bytes > end)
        return error_set(e, ERROR_MEMORY, "output '%s' of %zu bytes goes beyond the limit", t.name,
                         t.bytes);
    int code = grow(*offset + (int64_t)t.bytes, e);
    if (!code)
        code = write_at(bytes, t.bytes, *offset, e);
    if (!code && json_array_append_new(list, output_json(&t, *offset)))
        code = error_memory(e);
    *offset += (int64_t)t.bytes;
    return code;
}

int child_outputs(struct child *c, json_t *command, json_t *reply, struct error *e)
{
    int64_t set, offset, limit;
    if (!c->sets)
        return error_set(e, ERROR_USAGE, "\"outputs\" before \"inputs\"");
    int code = field_integer(command, "set", 0, (int64_t)c->sets - 1, &set, e);
    if (!code)
        code = field_integer(command, "offset", (int64_t)c->inputs_end, BYTES_MAX, &offset, e);
    if (!code)
        code = field_integer(command, "limit", 0, BYTES_MAX, &limit, e);
    json_t *list = json_array();
    if (code)
        json_decref(list);
    else
        code = child_put(reply, "outputs", list, e);
    if (!code)
        code = c->adapter->bind(c->state, c->data + (size_t)set * c->loaded.input_count, e);
    if (!code)
        code = c->adapter->run(c->state, e);
    int64_t end = code ? 0 : offset + limit;
    for (size_t i = 0; !code && i < c->loaded.output_count; i++)
        code = write_output(c, i, &offset, end, list, e);
    return code;
}
