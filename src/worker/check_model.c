/* check_model.c: the rules of hello, load, inputs, first and outputs. */
#include "worker/check_parts.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { ALIGNMENT = 64, NO_PROTOCOL = 999 };
#define TENSOR_BYTES_MAX ((uint64_t)1 << 34)
#define OUTPUT_LIMIT_BYTES ((int64_t)1 << 32)

static uint64_t align(uint64_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

int check_hello(struct check *c)
{
    static const char rule[] = "hello";
    json_t *other = json_pack("{s:s,s:i}", "op", "hello", "protocol", NO_PROTOCOL);
    if (!check_refused(c, "hello with protocol 999 is refused", other, "unsupported",
                       "compare \"protocol\" with 1"))
        return 0;
    json_t *hello = json_pack("{s:s,s:i}", "op", "hello", "protocol", WATTLE_PROTOCOL);
    json_t *reply = check_ask(c, rule, hello, 0);
    if (!reply)
        return 0;
    const char *name = json_string_value(json_object_get(reply, "worker"));
    check_that(c, name && name[0], rule, "name the program and its version",
               "expected \"worker\", a text; came none");
    json_decref(reply);
    return check_refused(c, "an unknown command is refused", json_pack("{s:s}", "op", "dance"),
                         "unsupported", "answer \"ok\":false and go on");
}

/* --- tensors ---------------------------------------------------------------------------------- */

static size_t element_bytes(const char *type)
{
    static const struct {
        const char *name;
        size_t bytes;
    } types[] = {{"float32", 4}, {"float64", 8}, {"float16", 2}, {"bfloat16", 2}, {"int8", 1},
                 {"int16", 2},   {"int32", 4},   {"int64", 8},   {"uint8", 1},    {"uint16", 2},
                 {"uint32", 4},  {"uint64", 8},  {"bool", 1}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strcmp(types[i].name, type))
            return types[i].bytes;
    return 0;
}

static int read_dims(json_t *shape, int is_output, struct check_tensor *t)
{
    if (!json_is_array(shape) || json_array_size(shape) > CHECK_RANK_MAX)
        return 0;
    t->rank = (int)json_array_size(shape);
    t->bytes = t->element_bytes;
    for (int i = 0; i < t->rank; i++) {
        json_t *size = json_array_get(shape, (size_t)i);
        int64_t n = json_is_integer(size) ? json_integer_value(size) : -1;
        if (n < 0 || (n && t->bytes > TENSOR_BYTES_MAX / (uint64_t)n))
            return 0;
        t->dims[i] = n;
        t->bytes *= (uint64_t)n;
    }
    return is_output || t->bytes <= TENSOR_BYTES_MAX;
}

int check_read_tensor(json_t *item, int is_output, struct check_tensor *t, char why[128])
{
    const char *name = json_string_value(json_object_get(item, "name"));
    const char *type = json_string_value(json_object_get(item, "type"));
    *t = (struct check_tensor){0};
    if (!name || !name[0] || strlen(name) >= sizeof t->name) {
        snprintf(why, 128, "a tensor without a name");
        return 0;
    }
    snprintf(t->name, sizeof t->name, "%s", name);
    t->element_bytes = type ? element_bytes(type) : 0;
    if (!t->element_bytes) {
        snprintf(why, 128, "'%.60s' has the type '%.20s'", name, type ? type : "");
        return 0;
    }
    snprintf(t->type, sizeof t->type, "%s", type);
    t->low = json_number_value(json_array_get(json_object_get(item, "range"), 0));
    if (read_dims(json_object_get(item, "shape"), is_output, t))
        return 1;
    snprintf(why, 128, "'%.60s' has no shape of up to %d whole sizes", name, CHECK_RANK_MAX);
    return 0;
}

static int read_tensors(struct check *c, const char *rule, json_t *list, int are_outputs,
                        struct check_tensor *tensors, size_t *count)
{
    static const char advice[] = "describe each as {\"name\":\"x\",\"type\":\"float32\",\"shape\":"
                                 "[1,3]}, with the names of types that numpy has";
    char why[128] = "";
    *count = json_array_size(list);
    int sound = json_is_array(list) && *count <= CHECK_TENSOR_MAX;
    if (!sound)
        snprintf(why, sizeof why, "something else");
    for (size_t i = 0; sound && i < *count; i++)
        sound = check_read_tensor(json_array_get(list, i), are_outputs, &tensors[i], why);
    return check_that(c, sound, rule, advice, "expected an array of at most %d tensors; came %s",
                      CHECK_TENSOR_MAX, why);
}

/* --- load ------------------------------------------------------------------------------------- */

/* As a measurement sends it to a worker of which its user has said nothing more. */
static json_t *load_command(const struct check *c)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:i,s:s,s:[],s:i,s:i,s:s,s:s,s:{},s:{},s:{},s:{}}", "op",
                     "load", "runtime", "worker", "variant", "", "library", "", "provider_library",
                     "", "require_provider", 0, "model", c->options->model, "devices", "threads", 1,
                     "batch", 1, "precision", "f32", "spin", "short", "dims", "shapes", "types",
                     "options");
}

static void check_texts(struct check *c, json_t *reply)
{
    static const char *const names[] = {"runtime", "version", "library", "provider"};
    const char *missing = NULL;
    for (size_t i = 0; !missing && i < sizeof names / sizeof *names; i++)
        if (!json_is_string(json_object_get(reply, names[i])))
            missing = names[i];
    check_that(c, !missing, "load tells runtime, version, library and provider",
               "say what will really run the model", "expected texts; came no \"%s\"",
               missing ? missing : "");
    check_that(c, json_is_object(json_object_get(reply, "settings")),
               "load tells the effective settings", "send {} when there are none",
               "expected \"settings\", an object; came none");
}

int check_load(struct check *c)
{
    static const char rule[] = "load";
    uint64_t begin_ns = clock_monotonic_ns(), load_ns = 0;
    json_t *reply = check_ask(c, rule, load_command(c), 0);
    uint64_t took_ns = clock_monotonic_ns() - begin_ns;
    if (!reply)
        return 0;
    if (check_number(c, rule, reply, "load_ns", &load_ns))
        check_that(c, load_ns <= took_ns + CHECK_SLACK_NS, rule, "count nanoseconds",
                   "expected at most the %.3f s that it took; came %.3f s", (double)took_ns / 1e9,
                   (double)load_ns / 1e9);
    check_texts(c, reply);
    int sound = read_tensors(c, "load describes the inputs", json_object_get(reply, "inputs"), 0,
                             c->inputs, &c->input_count);
    sound &= read_tensors(c, "load describes the outputs", json_object_get(reply, "outputs"), 1,
                          c->outputs, &c->output_count);
    json_decref(reply);
    return sound;
}

/* --- inputs ----------------------------------------------------------------------------------- */

/* Values that any model can take: fractions, and the least of an integer's range. */
static void fill(const struct check_tensor *t, int set, uint8_t *data)
{
    memset(data, 0, t->bytes);
    for (uint64_t i = 0; i < t->bytes / t->element_bytes; i++) {
        uint8_t *at = data + i * t->element_bytes;
        if (!strcmp(t->type, "float32")) {
            float value = (float)t->low + (float)((i + (uint64_t)set) % 17) / 17;
            memcpy(at, &value, sizeof value);
        } else if (!strcmp(t->type, "float64")) {
            double value = t->low + (double)((i + (uint64_t)set) % 17) / 17;
            memcpy(at, &value, sizeof value);
        } else if (t->low > 0 && t->low < 127 && t->type[0] != 'f' && t->type[0] != 'b') {
            *at = (uint8_t)t->low; /* little-endian */
        }
    }
}

static json_t *lay_out(struct check *c)
{
    json_t *tensors = json_array();
    uint64_t offset = 0;
    for (size_t i = 0; i < c->input_count; i++) {
        json_array_append_new(tensors, json_pack("{s:I,s:I}", "offset", (json_int_t)offset, "bytes",
                                                 (json_int_t)c->inputs[i].bytes));
        offset = align(offset + c->inputs[i].bytes);
    }
    c->set_bytes = offset;
    return json_pack("{s:s,s:i,s:I,s:o}", "op", "inputs", "sets", CHECK_SETS, "set_bytes",
                     (json_int_t)offset, "tensors", tensors);
}

static uint8_t *input_memory(struct check *c)
{
    uint8_t *data = NULL;
    if (worker_tensors(c->w, CHECK_SETS * c->set_bytes, &data, &c->stop))
        return NULL;
    return data;
}

int check_inputs(struct check *c)
{
    json_t *command = lay_out(c);
    uint8_t *data = input_memory(c);
    if (!data) {
        json_decref(command);
        return 0;
    }
    for (int set = 0; set < CHECK_SETS; set++)
        for (size_t i = 0, offset = 0; i < c->input_count; i++) {
            fill(&c->inputs[i], set, data + (size_t)set * c->set_bytes + offset);
            offset = align(offset + c->inputs[i].bytes);
        }
    json_t *reply = check_ask(c, "inputs", command, 0);
    json_decref(reply);
    if (reply)
        check_say(c, CHECK_OK, "inputs");
    return reply != NULL;
}

int check_first(struct check *c)
{
    static const char rule[] = "first, with a field that nobody knows, tells its time";
    uint64_t begin_ns = clock_monotonic_ns(), first_ns;
    json_t *command = json_pack("{s:s,s:[i]}", "op", "first", "x-future", 1);
    json_t *reply = check_ask(c, rule, command, 0);
    uint64_t took_ns = clock_monotonic_ns() - begin_ns;
    if (reply && check_number(c, rule, reply, "first_ns", &first_ns))
        check_that(c, first_ns > 0 && first_ns <= took_ns + CHECK_SLACK_NS, rule,
                   "take the time of one inference in nanoseconds",
                   "expected more than 0 and at most %.6f s; came %.6f s", (double)took_ns / 1e9,
                   (double)first_ns / 1e9);
    json_decref(reply);
    return reply != NULL;
}

/* --- outputs ---------------------------------------------------------------------------------- */

static json_t *outputs_command(int set, int64_t offset, int64_t limit)
{
    return json_pack("{s:s,s:i,s:I,s:I}", "op", "outputs", "set", set, "offset", (json_int_t)offset,
                     "limit", (json_int_t)limit);
}

static int same_tensor(const struct check_tensor *said, const struct check_tensor *t)
{
    int same = said->rank == t->rank && !strcmp(said->name, t->name) &&
               !strcmp(said->type, t->type);
    for (int i = 0; same && i < t->rank; i++)
        same = said->dims[i] == 0 || said->dims[i] == t->dims[i];
    return same;
}

/* Where output i lies: aligned, behind what comes before, within the limit and the file. */
static int place_is_right(struct check *c, json_t *item, const struct check_tensor *t,
                          uint64_t *free_from, uint64_t limit, char why[128])
{
    struct stat st;
    uint64_t offset = (uint64_t)json_integer_value(json_object_get(item, "offset"));
    uint64_t bytes = (uint64_t)json_integer_value(json_object_get(item, "bytes"));
    uint64_t size = fstat(c->w->tensor_fd, &st) ? 0 : (uint64_t)st.st_size;
    if (bytes != t->bytes)
        snprintf(why, 128, "'%.40s' of %llu bytes, its shape takes %llu", t->name,
                 (unsigned long long)bytes, (unsigned long long)t->bytes);
    else if (offset % ALIGNMENT || offset < *free_from || offset > limit || bytes > limit - offset)
        snprintf(why, 128, "'%.40s' at %llu, free from %llu to %llu", t->name,
                 (unsigned long long)offset, (unsigned long long)*free_from,
                 (unsigned long long)limit);
    else if (offset + bytes > size)
        snprintf(why, 128, "'%.40s' ends at %llu, the file at %llu: ftruncate it", t->name,
                 (unsigned long long)offset + bytes, (unsigned long long)size);
    else
        *free_from = offset + bytes;
    return !why[0];
}

static void check_output_list(struct check *c, json_t *list, uint64_t offset)
{
    struct check_tensor t = {0};
    char why[128] = "", what[128] = "";
    uint64_t free_from = offset, limit = offset + (uint64_t)OUTPUT_LIMIT_BYTES;
    size_t count = json_array_size(list);
    int same = json_is_array(list) && count == c->output_count, placed = 1;
    snprintf(what, sizeof what, "%zu outputs", count);
    for (size_t i = 0; same && placed && i < count; i++) {
        json_t *item = json_array_get(list, i);
        same = check_read_tensor(item, 1, &t, what) && same_tensor(&c->outputs[i], &t);
        if (same)
            placed = place_is_right(c, item, &t, &free_from, limit, why);
        else
            snprintf(what, sizeof what, "'%.40s' of type %s and rank %d", t.name, t.type, t.rank);
    }
    check_that(c, same, "outputs are those that load told",
               "give the same names, types and order; a size that only a run can tell is 0 in load",
               "expected %zu, '%.40s' first; came %s", c->output_count,
               c->output_count ? c->outputs[0].name : "", what);
    check_that(c, placed, "outputs lie where they may",
               "start at \"offset\", round each offset up to a multiple of 64",
               "expected multiples of 64 from %llu on and sizes as of the shapes; came %s",
               (unsigned long long)offset, why);
}

/* The smallest limit must refuse, unless all outputs are empty. */
static int check_limit(struct check *c, int64_t offset)
{
    int empty = 1;
    for (size_t i = 0; i < c->output_count; i++)
        empty &= c->outputs[i].bytes == 0;
    return empty || check_refused(c, "outputs beyond the limit are refused",
                                  outputs_command(0, offset, 0), "memory",
                                  "do not write beyond \"offset\" + \"limit\"");
}

static int inputs_are_whole(struct check *c)
{
    uint8_t wanted[64];
    const uint8_t *data = input_memory(c);
    int whole = data != NULL;
    size_t offset = 0;
    for (size_t i = 0; whole && i < c->input_count; i++) {
        struct check_tensor head = c->inputs[i];
        if (head.bytes > sizeof wanted)
            head.bytes = sizeof wanted;
        fill(&head, 0, wanted);
        whole = !memcmp(wanted, data + offset, head.bytes);
        offset = align(offset + c->inputs[i].bytes);
    }
    return whole;
}

int check_outputs(struct check *c)
{
    uint64_t offset = CHECK_SETS * c->set_bytes;
    if (!check_limit(c, (int64_t)offset))
        return 0;
    for (int set = 0; set < CHECK_SETS; set++) {
        json_t *reply = check_ask(c, "outputs",
                                  outputs_command(set, (int64_t)offset, OUTPUT_LIMIT_BYTES), 0);
        if (!reply)
            return 0;
        if (set == 0)
            check_output_list(c, json_object_get(reply, "outputs"), offset);
        json_decref(reply);
    }
    check_that(c, inputs_are_whole(c), "inputs are left as they were",
               "write outputs from \"offset\" on, and never into inputs",
               "expected what wattle wrote; came other bytes");
    return !c->stop.code;
}
