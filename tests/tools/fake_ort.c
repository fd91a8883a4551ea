/* fake_ort.c: a library that looks like ONNX Runtime to a program that only knows its table, for
 * tests of what a real one cannot be made to do. It holds one model: output y[2][3] is twice input
 * x[2][3]. Behaviour comes from the environment, read each time the table is asked for:
 *
 *     FAKE_ORT_VERSION   what GetVersionString says (1.32.0); "null" gives NULL
 *     FAKE_ORT_BASE      "null": OrtGetApiBase gives nothing; "no_table": GetApi gives nothing
 *     FAKE_ORT_EMPTY     a slot that holds NULL
 *     FAKE_ORT_FAIL      a slot whose function fails, after telling the log why
 *     FAKE_ORT_TYPE      element type of x (1)      FAKE_ORT_KIND   1 tensor, 2 sequence, ...
 *     FAKE_ORT_RANK      rank of x (2)              FAKE_ORT_DIM    first size of x (2)
 *     FAKE_ORT_NODES     "openvino:3,cpu:2": nodes by provider (-DNODES, or "cpu:1")
 *     FAKE_ORT_DEVICES   devices that a registered plug-in brings (0)
 *
 * fake_ort_live() is the number of objects that were made and not released.
 *
 *     cc -shared -fPIC -o libonnxruntime.so fake_ort.c
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef NODES
#define NODES "cpu:1"
#endif

enum { SLOTS = 512, SIZE = 3, ROWS = 2, ELEMENTS = ROWS * SIZE, GRAPHS_MAX = 4 };

typedef void logger(void *, int, const char *, const char *, const char *, const char *);

struct base {
    const void *const *(*get_api)(uint32_t version);
    const char *(*get_version)(void);
};
struct status {
    char text[64];
};
struct value {
    float *data;
};
struct binding {
    struct value *x, *y;
};
struct graph {
    char provider[48];
    size_t nodes;
};

const struct base *OrtGetApiBase(void);
int fake_ort_live(void);
int fake_ort_copies(void);

static const void *table[SLOTS];
static int live, copies;
static logger *log_to;
static void *log_context;
static struct graph graphs[GRAPHS_MAX];
static const struct graph *graph_list[GRAPHS_MAX];
static size_t graph_count;
static int registered;

static int number(const char *name, int fallback)
{
    const char *text = getenv(name);
    return text ? (int)strtol(text, NULL, 10) : fallback;
}

int fake_ort_live(void)
{
    return live;
}

int fake_ort_copies(void)
{
    return copies;
}

static struct status *failed(const char *text)
{
    struct status *s = malloc(sizeof *s);
    live++;
    snprintf(s->text, sizeof s->text, "%s", text);
    return s;
}

static struct status *fail(void)
{
    if (log_to)
        log_to(log_context, 3, "c", "i", "fake.cc:1", "the real reason\nis in the log");
    return failed("failed as asked");
}

static void *succeed(void)
{
    return NULL;
}

static int status_code(const struct status *s)
{
    (void)s;
    return 1;
}

static const char *status_text(const struct status *s)
{
    return s->text;
}

static void *make(size_t size)
{
    live++;
    return calloc(1, size);
}

static void drop(void *object)
{
    live--;
    free(object);
}

static struct status *create_env(logger *write, void *context, int level, const char *id, void **o)
{
    (void)level;
    (void)id;
    log_to = write;
    log_context = context;
    *o = make(1);
    return NULL;
}

static void release_env(void *env)
{
    log_to = NULL;
    drop(env);
}

static struct status *create_session(const void *env, const char *path, const void *so, void **o)
{
    (void)env;
    (void)so;
    if (!path[0])
        return failed("no file");
    *o = make(1);
    return NULL;
}

static struct status *create_1(void **o)
{
    *o = make(1);
    return NULL;
}

static struct status *count_one(const void *session, size_t *count)
{
    (void)session;
    *count = 1;
    return NULL;
}

static struct status *type_of(const void *session, size_t i, void **o)
{
    (void)session;
    (void)i;
    *o = make(1);
    return NULL;
}

static struct status *name_of(size_t i, const char *text, char **o)
{
    (void)i;
    *o = make(8);
    snprintf(*o, 8, "%s", text);
    return NULL;
}

static struct status *input_name(const void *session, size_t i, void *allocator, char **o)
{
    (void)session;
    (void)allocator;
    return name_of(i, "x", o);
}

static struct status *output_name(const void *session, size_t i, void *allocator, char **o)
{
    (void)session;
    (void)allocator;
    return name_of(i, "y", o);
}

static struct status *create_tensor(const void *info, void *data, size_t bytes,
                                    const int64_t *dims, size_t rank, int type, void **o)
{
    (void)info;
    (void)dims;
    (void)rank;
    (void)type;
    if (bytes < ELEMENTS * sizeof(float))
        return failed("too few bytes");
    struct value *v = make(sizeof *v);
    v->data = data;
    *o = v;
    return NULL;
}

static struct status *is_tensor(const void *value, int *o)
{
    (void)value;
    *o = 1;
    return NULL;
}

static struct status *tensor_data(struct value *v, void **o)
{
    *o = v->data;
    return NULL;
}

static struct status *cast(const void *type, const void **o)
{
    *o = type;
    return NULL;
}

static struct status *kind(const void *type, int *o)
{
    (void)type;
    *o = number("FAKE_ORT_KIND", 1);
    return NULL;
}

static struct status *element_type(const void *info, int *o)
{
    (void)info;
    *o = number("FAKE_ORT_TYPE", 1);
    return NULL;
}

static struct status *rank(const void *info, size_t *o)
{
    (void)info;
    *o = (size_t)number("FAKE_ORT_RANK", 2);
    return NULL;
}

static struct status *dims(const void *info, int64_t *o, size_t count)
{
    (void)info;
    for (size_t i = 0; i < count; i++)
        o[i] = i ? SIZE : number("FAKE_ORT_DIM", ROWS);
    return NULL;
}

static struct status *symbols(const void *info, const char **o, size_t count)
{
    (void)info;
    for (size_t i = 0; i < count; i++)
        o[i] = "";
    return NULL;
}

static struct status *tensor_info(const void *value, void **o)
{
    (void)value;
    *o = make(1);
    return NULL;
}

static struct status *create_memory(const char *name, int kind_, int id, int use, void **o)
{
    (void)name;
    (void)kind_;
    (void)id;
    (void)use;
    *o = make(1);
    return NULL;
}

static struct status *allocator_free(void *allocator, void *p)
{
    (void)allocator;
    drop(p);
    return NULL;
}

static struct status *default_allocator(void **o)
{
    *o = table; /* nobody looks */
    return NULL;
}

static struct status *create_binding(void *session, void **o)
{
    (void)session;
    *o = make(sizeof(struct binding));
    return NULL;
}

static struct status *bind_input(struct binding *b, const char *name, struct value *v)
{
    (void)name;
    copies++;
    b->x = v;
    return NULL;
}

static struct status *bind_output(struct binding *b, const char *name, struct value *v)
{
    (void)name;
    b->y = v;
    return NULL;
}

/* Outputs of its own lie in one place that is enough for a single model. */
static float own_output[ELEMENTS];

static struct status *run(void *session, const void *options, const struct binding *b)
{
    (void)session;
    (void)options;
    float *y = b->y ? b->y->data : own_output;
    for (int i = 0; i < ELEMENTS; i++)
        y[i] = 2 * b->x->data[i];
    return NULL;
}

static struct status *bound_values(const void *b, void *allocator, struct value ***o, size_t *n)
{
    (void)b;
    (void)allocator;
    *o = make(sizeof **o);
    **o = make(sizeof ***o);
    (**o)->data = own_output;
    *n = 1;
    return NULL;
}

static struct status *get_entry(const void *so, const char *key, char *value, size_t *size)
{
    (void)so;
    (void)key;
    *size = (size_t)snprintf(value, *size, "fake") + 1;
    return NULL;
}

static struct status *register_library(void *env, const char *name, const char *path)
{
    (void)env;
    (void)name;
    (void)path;
    registered = 1;
    return NULL;
}

static struct status *unregister_library(void *env, const char *name)
{
    (void)env;
    (void)name;
    registered = 0;
    return NULL;
}

static struct status *ep_devices(const void *env, const void *const **o, size_t *n)
{
    static const void *const devices[4] = {table, table, table, table};
    (void)env;
    *o = devices;
    *n = registered ? 1 + (size_t)number("FAKE_ORT_DEVICES", 0) : 1;
    return NULL;
}

static int device_type(const void *device)
{
    (void)device;
    return 1;
}

static const char *ep_device_name(const void *device)
{
    (void)device;
    return "WebGpuExecutionProvider";
}

static const void *ep_device_device(const void *device)
{
    return device;
}

static const char *build_info(void)
{
    return "fake build";
}

static const char *get_version(void)
{
    const char *text = getenv("FAKE_ORT_VERSION");
    if (text && !strcmp(text, "null"))
        return NULL;
    return text ? text : "1.32.0";
}

static void read_graphs(void)
{
    static const char *const names[] = {"cpu", "CPUExecutionProvider", "openvino",
                                        "OpenVINOExecutionProvider", "webgpu",
                                        "WebGpuExecutionProvider", "cuda", "CUDAExecutionProvider",
                                        "tensorrt", "TensorrtExecutionProvider"};
    const char *text = getenv("FAKE_ORT_NODES");
    graph_count = 0;
    for (const char *at = text ? text : NODES; at && graph_count < GRAPHS_MAX;) {
        const char *colon = strchr(at, ':'), *comma = strchr(at, ',');
        struct graph *g = &graphs[graph_count];
        for (size_t i = 0; i < sizeof names / sizeof *names; i += 2)
            if (!strncmp(names[i], at, (size_t)(colon - at)))
                snprintf(g->provider, sizeof g->provider, "%s", names[i + 1]);
        g->nodes = strtoul(colon + 1, NULL, 10);
        graph_list[graph_count++] = g;
        at = comma ? comma + 1 : NULL;
    }
}

static struct status *assignment(const void *session, const struct graph *const **o, size_t *n)
{
    (void)session;
    read_graphs();
    *o = graph_list;
    *n = graph_count;
    return NULL;
}

static struct status *graph_provider(const struct graph *g, const char **o)
{
    *o = g->provider;
    return NULL;
}

static struct status *graph_nodes(const struct graph *g, const void *const **o, size_t *n)
{
    *o = table;
    *n = g->nodes;
    return NULL;
}

/* ISO C has no cast from a function to void *. */
#define SET(slot, function)                                                                        \
    do {                                                                                           \
        void (*f)(void) = (void (*)(void))(function);                                              \
        memcpy(&table[slot], &f, sizeof f);                                                        \
    } while (0)

static void fill(void)
{
    for (int i = 0; i < SLOTS; i++)
        SET(i, succeed);
    SET(1, status_code);
    SET(2, status_text);
    SET(4, create_env);
    SET(7, create_session);
    SET(10, create_1);
    SET(30, count_one);
    SET(31, count_one);
    SET(33, type_of);
    SET(34, type_of);
    SET(36, input_name);
    SET(37, output_name);
    SET(39, create_1);
    SET(49, create_tensor);
    SET(50, is_tensor);
    SET(51, tensor_data);
    SET(55, cast);
    SET(56, kind);
    SET(60, element_type);
    SET(61, rank);
    SET(62, dims);
    SET(63, symbols);
    SET(65, tensor_info);
    SET(68, create_memory);
    SET(76, allocator_free);
    SET(78, default_allocator);
    SET(92, release_env);
    for (int i = 93; i <= 100; i++)
        SET(i, drop);
    SET(133, run);
    SET(134, create_binding);
    SET(135, drop);
    SET(136, bind_input);
    SET(137, bind_output);
    SET(140, bound_values);
    SET(238, get_entry);
    SET(171, create_1);
    SET(174, drop);
    SET(205, create_1);
    SET(208, drop);
    SET(240, create_1);
    SET(243, drop);
    SET(254, build_info);
    SET(301, register_library);
    SET(302, unregister_library);
    SET(303, ep_devices);
    SET(307, device_type);
    SET(312, ep_device_name);
    SET(316, ep_device_device);
    SET(407, assignment);
    SET(408, graph_provider);
    SET(409, graph_nodes);
}

static const void *const *get_api(uint32_t version)
{
    const char *mode = getenv("FAKE_ORT_BASE");
    int bad = number("FAKE_ORT_FAIL", -1), empty = number("FAKE_ORT_EMPTY", -1);
    if (!version || (mode && !strcmp(mode, "no_table")))
        return NULL;
    fill();
    if (bad >= 0)
        SET(bad, fail);
    if (empty >= 0)
        table[empty] = NULL;
    return table;
}

const struct base *OrtGetApiBase(void)
{
    static const struct base base = {get_api, get_version};
    const char *mode = getenv("FAKE_ORT_BASE");
    return mode && !strcmp(mode, "null") ? NULL : &base;
}
