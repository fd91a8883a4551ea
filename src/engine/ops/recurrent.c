/* RNN, GRU and LSTM. A workspace for each sequence and direction (gates, and the state) is one more
 * output of the node: kernels get no other memory. */
#include "engine/ops/ops.h"
#include "engine/ops/recurrent.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { FUNCTIONS = 3 };

struct cell {
    int gates, functions;
    int peepholes; /* an input holds them */
    int states;    /* 2: Y_h and Y_c */
    int defaults[FUNCTIONS];
};

static const char *const function_names[] = {"sigmoid", "tanh", "relu", "softsign", "softplus"};

static double apply(int64_t function, double x)
{
    switch (function) {
    case SIGMOID: return 1 / (1 + exp(-x));
    case TANH: return tanh(x);
    case RELU: return x < 0 ? 0 : x;
    case SOFTSIGN: return x / (1 + fabs(x));
    default: return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
    }
}

static const struct cell *cell_of(const struct node *n)
{
    return n->op->detail;
}

static int read_functions(const struct infer_context *c, int directions, struct error *e)
{
    const struct cell *cell = cell_of(c->node);
    const struct onnx_attribute *a = infer_attribute(c, "activations");
    size_t count = (size_t)cell->functions * (size_t)directions;
    for (size_t i = 0; i < count; i++)
        c->node->a.axes[i] = cell->defaults[i % (size_t)cell->functions];
    if (infer_attribute(c, "activation_alpha") || infer_attribute(c, "activation_beta"))
        return infer_unsupported(c, e, "activation_alpha or activation_beta");
    if (!a)
        return 0;
    if (a->type != ONNX_STRINGS || a->count != count)
        return infer_fail(c, e, "attribute 'activations' does not name %zu functions", count);
    for (size_t i = 0; i < count; i++) {
        int f = 0;
        while (f < FUNCTION_COUNT && strcasecmp(function_names[f], a->strings[i]) != 0)
            f++;
        if (f == FUNCTION_COUNT)
            return infer_unsupported(c, e, "activation '%.40s'", a->strings[i]);
        c->node->a.axes[i] = f;
    }
    return 0;
}

static int read_settings(const struct infer_context *c, struct error *e)
{
    static const char *const directions[] = {"forward", "reverse", "bidirectional", NULL};
    const struct cell *cell = cell_of(c->node);
    struct attributes *a = &c->node->a;
    int64_t layout = 0, flag = 0;
    int code = infer_attribute_name(c, "direction", directions, FORWARD, &a->mode, e);
    if (!code && c->opset >= 14)
        code = infer_attribute_int(c, "layout", 0, &layout, e);
    if (!code)
        code = infer_attribute_float(c, "clip", 0, &a->alpha, e);
    if (!code && cell->gates == 3)
        code = infer_attribute_int(c, "linear_before_reset", 0, &flag, e);
    if (!code && cell->gates == 4)
        code = infer_attribute_int(c, "input_forget", 0, &flag, e);
    a->trans_a = layout != 0;
    a->trans_b = flag != 0;
    return code ? code : read_functions(c, a->mode == BOTH ? 2 : 1, e);
}

/* Input `index`, when it is there, has exactly this shape. */
static int check_shape(const struct infer_context *c, int index, struct shape want,
                       struct error *e)
{
    const struct value *v = infer_input(c, index);
    char s[96], t[96];
    if (!v || shape_equal(&v->shape, &want))
        return 0;
    return infer_fail(c, e, "input %d has shape %s where %s is expected", index,
                      shape_text(&v->shape, s, sizeof s), shape_text(&want, t, sizeof t));
}

struct sizes {
    int64_t steps, batch, in, hidden, directions, gates;
};

static int check_inputs(const struct infer_context *c, const struct sizes *z, struct error *e)
{
    int64_t d = z->directions, h = z->hidden, gh = z->gates * h;
    struct shape state = {3, {d, z->batch, h}};
    if (c->node->a.trans_a)
        state = (struct shape){3, {z->batch, d, h}};
    int code = check_shape(c, IN_W, (struct shape){3, {d, gh, z->in}}, e);
    if (!code)
        code = check_shape(c, IN_R, (struct shape){3, {d, gh, h}}, e);
    if (!code)
        code = check_shape(c, IN_B, (struct shape){2, {d, 2 * gh}}, e);
    if (!code)
        code = check_shape(c, IN_LENGTHS, (struct shape){1, {z->batch}}, e);
    for (int i = IN_H; i <= IN_C && !code; i++)
        code = check_shape(c, i, state, e);
    return code ? code : check_shape(c, IN_P, (struct shape){2, {d, 3 * h}}, e);
}

/* Appends the output that is the workspace. */
static int add_workspace(const struct infer_context *c, const struct sizes *z, struct error *e)
{
    int64_t size = (2 * z->gates + 2) * z->hidden;
    const struct shape work = {3, {z->directions, z->batch, size}};
    int64_t bytes = shape_is_sane(&work) ? shape_bytes(&work, DTYPE_F32) : -1;
    if (bytes < 0 || (uint64_t)bytes > c->graph->memory_limit)
        return error_memory(e);
    int value = graph_add_value(c->graph, "workspace", DTYPE_F32, &work);
    if (value < 0)
        return error_memory(e);
    int index = (int)(c->node - c->graph->nodes);
    while (c->node->output_count < OUT_WORK)
        graph_write(c->graph, index, NO_VALUE);
    graph_write(c->graph, index, value);
    return 0;
}

static int set_outputs(const struct infer_context *c, const struct sizes *z, struct error *e)
{
    struct shape y = {4, {z->steps, z->directions, z->batch, z->hidden}};
    struct shape last = {3, {z->directions, z->batch, z->hidden}};
    if (c->node->a.trans_a) {
        y = (struct shape){4, {z->batch, z->steps, z->directions, z->hidden}};
        last = (struct shape){3, {z->batch, z->directions, z->hidden}};
    }
    int code = infer_output(c, OUT_Y, DTYPE_F32, &y, e);
    for (int i = OUT_H; i <= OUT_C && !code; i++)
        code = infer_output(c, i, DTYPE_F32, &last, e);
    return code ? code : add_workspace(c, z, e);
}

static int infer_recurrent(const struct infer_context *c, struct error *e)
{
    const struct value *x = infer_input(c, IN_X), *r = infer_input(c, IN_R);
    struct attributes *a = &c->node->a;
    int64_t hidden;
    int code = read_settings(c, e);
    for (int i = 0; i < c->node->input_count && !code; i++)
        code = infer_type(c, i, i == IN_LENGTHS ? TYPE_BIT(DTYPE_I32) : TYPES_F32, e);
    if (!code && (x->shape.rank != 3 || r->shape.rank != 3))
        code = infer_fail(c, e, "inputs X and R are not of rank 3");
    if (!code)
        code = infer_attribute_int(c, "hidden_size", r->shape.dims[2], &hidden, e);
    if (!code && (hidden < 1 || hidden != r->shape.dims[2]))
        code = infer_fail(c, e, "attribute 'hidden_size' is %" PRId64 " but R has %" PRId64, hidden,
                          r->shape.dims[2]);
    if (code)
        return code;
    a->axis = hidden;
    struct sizes z = {x->shape.dims[a->trans_a], x->shape.dims[!a->trans_a], x->shape.dims[2],
                      hidden, a->mode == BOTH ? 2 : 1, cell_of(c->node)->gates};
    if (hidden > INT32_MAX)
        return infer_unsupported(c, e, "a hidden size of %" PRId64, hidden);
    code = check_inputs(c, &z, e);
    return code ? code : set_outputs(c, &z, e);
}

static int64_t macs_recurrent(const struct graph *g, const struct node *n)
{
    const struct shape *x = &g->values[n->inputs[IN_X]].shape;
    int64_t total = shape_elements(&g->values[n->inputs[IN_W]].shape), recurrent;
    recurrent = shape_elements(&g->values[n->inputs[IN_R]].shape);
    if (__builtin_add_overflow(total, recurrent, &total) ||
        __builtin_mul_overflow(total, x->dims[0], &total) ||
        __builtin_mul_overflow(total, x->dims[1], &total))
        return -1;
    return total;
}

/* ---- running one sequence in one direction ---- */

struct sequence {
    const struct node *node;
    int64_t in, hidden;
    const float *w, *r, *wb, *rb, *p; /* of this direction; biases and peepholes may be NULL */
    const int64_t *functions;
    float *gates, *recurrent, *h, *c; /* workspace */
};

static double clipped(const struct sequence *s, double x)
{
    double clip = (double)s->node->a.alpha;
    return clip > 0 ? fmax(-clip, fmin(clip, x)) : x;
}

static double activate(const struct sequence *s, int function, double x)
{
    return apply(s->functions[function], clipped(s, x));
}

static double dot(const float *a, const float *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* gates = W x + wb; recurrent = R h + rb */
static void project(const struct sequence *s, const float *x)
{
    int64_t count = cell_of(s->node)->gates * s->hidden;
    for (int64_t i = 0; i < count; i++) {
        double bias = s->wb ? (double)s->wb[i] : 0, again = s->rb ? (double)s->rb[i] : 0;
        s->gates[i] = (float)(dot(s->w + i * s->in, x, s->in) + bias);
        s->recurrent[i] = (float)(dot(s->r + i * s->hidden, s->h, s->hidden) + again);
    }
}

static void step_rnn(const struct sequence *s)
{
    for (int64_t i = 0; i < s->hidden; i++)
        s->h[i] = (float)activate(s, 0, (double)s->gates[i] + (double)s->recurrent[i]);
}

/* Gates in the order update, reset, new. */
static void step_gru(const struct sequence *s)
{
    int64_t n = s->hidden;
    float *z = s->gates, *reset = z + n, *fresh = z + 2 * n, *again = s->recurrent;
    for (int64_t i = 0; i < 2 * n; i++)
        z[i] = (float)activate(s, 0, (double)z[i] + (double)again[i]);
    if (!s->node->a.trans_b) { /* the reset gate comes before the product */
        for (int64_t i = 0; i < n; i++)
            again[i] = reset[i] * s->h[i];
        for (int64_t i = 0; i < n; i++) {
            double bias = s->rb ? (double)s->rb[2 * n + i] : 0;
            again[2 * n + i] = (float)(dot(s->r + (2 * n + i) * n, again, n) + bias);
        }
    }
    for (int64_t i = 0; i < n; i++) {
        double factor = s->node->a.trans_b ? (double)reset[i] : 1;
        double x = activate(s, 1, (double)fresh[i] + factor * (double)again[2 * n + i]);
        s->h[i] = (float)((1 - (double)z[i]) * x + (double)z[i] * (double)s->h[i]);
    }
}

/* Gates in the order input, output, forget, cell; peepholes in the order input, output, forget. */
static void step_lstm(const struct sequence *s)
{
    int64_t n = s->hidden;
    for (int64_t i = 0; i < n; i++) {
        double g[4], c = (double)s->c[i], hole[3] = {0};
        for (int k = 0; k < 4; k++)
            g[k] = (double)s->gates[k * n + i] + (double)s->recurrent[k * n + i];
        for (int k = 0; k < 3 && s->p; k++)
            hole[k] = (double)s->p[k * n + i];
        double input = activate(s, 0, g[0] + hole[0] * c);
        double forget = s->node->a.trans_b ? 1 - input : activate(s, 0, g[2] + hole[2] * c);
        c = forget * c + input * activate(s, 1, g[3]);
        double output = activate(s, 0, g[1] + hole[1] * c);
        s->c[i] = (float)c;
        s->h[i] = (float)(output * apply(s->functions[2], c));
    }
}

static void step(const struct sequence *s, const float *x)
{
    project(s, x);
    switch (cell_of(s->node)->gates) {
    case 1: step_rnn(s); break;
    case 3: step_gru(s); break;
    default: step_lstm(s); break;
    }
}

static const float *part(const struct tensor *t, int64_t offset)
{
    return t->data ? (const float *)t->data + offset : NULL;
}

static void load_state(const struct tensor *from, int64_t at, int64_t n, float *to)
{
    memset(to, 0, (size_t)n * sizeof *to);
    if (from->data)
        memcpy(to, (const float *)from->data + at, (size_t)n * sizeof *to);
}

static void store_state(const struct tensor *to, int64_t at, int64_t n, const float *from)
{
    if (to->data)
        memcpy((float *)to->data + at, from, (size_t)n * sizeof *from);
}

static struct sequence sequence_of(const struct node *n, const struct tensor *in,
                                   const struct tensor *out, const struct sizes *z, int64_t d,
                                   int64_t b)
{
    int64_t gh = z->gates * z->hidden;
    const float *bias = part(&in[IN_B], d * 2 * gh);
    struct sequence s = {.node = n, .in = z->in, .hidden = z->hidden,
                         .w = (const float *)in[IN_W].data + d * gh * z->in,
                         .r = (const float *)in[IN_R].data + d * gh * z->hidden, .wb = bias,
                         .rb = bias ? bias + gh : NULL, .p = part(&in[IN_P], d * 3 * z->hidden),
                         .functions = n->a.axes + d * cell_of(n)->functions};
    s.gates = (float *)out[OUT_WORK].data + (d * z->batch + b) * (2 * gh + 2 * z->hidden);
    s.recurrent = s.gates + gh;
    s.h = s.recurrent + gh;
    s.c = s.h + z->hidden;
    return s;
}

static void run_sequence(const struct node *n, const struct tensor *in, const struct tensor *out,
                         const struct sizes *z, int64_t d, int64_t b)
{
    struct sequence s = sequence_of(n, in, out, z, d, b);
    int batch_first = n->a.trans_a, back = n->a.mode == REVERSE || d == 1;
    int64_t state = (batch_first ? b * z->directions + d : d * z->batch + b) * z->hidden;
    int64_t length = in[IN_LENGTHS].data ? ((const int32_t *)in[IN_LENGTHS].data)[b] : z->steps;
    length = length < 0 ? 0 : length > z->steps ? z->steps : length;
    load_state(&in[IN_H], state, z->hidden, s.h);
    load_state(&in[IN_C], state, z->hidden, s.c);
    for (int64_t k = 0; k < z->steps; k++) {
        int64_t t = back && k < length ? length - 1 - k : k;
        int64_t x = batch_first ? b * z->steps + t : t * z->batch + b;
        int64_t y = batch_first ? x * z->directions + d
                                : (t * z->directions + d) * z->batch + b;
        if (k < length) {
            step(&s, (const float *)in[IN_X].data + x * z->in);
            store_state(&out[OUT_Y], y * z->hidden, z->hidden, s.h);
        } else if (out[OUT_Y].data) { /* behind the sequence's end */
            memset((float *)out[OUT_Y].data + y * z->hidden, 0, (size_t)z->hidden * sizeof(float));
        }
    }
    store_state(&out[OUT_H], state, z->hidden, s.h);
    store_state(&out[OUT_C], state, z->hidden, s.c);
}

static int run_recurrent(const struct node *n, const struct tensor *in, struct tensor *out,
                         struct error *e)
{
    (void)e;
    const int64_t *x = in[IN_X].shape.dims;
    struct sizes z = {x[n->a.trans_a], x[!n->a.trans_a], x[2], n->a.axis,
                      n->a.mode == BOTH ? 2 : 1, cell_of(n)->gates};
#pragma omp parallel for schedule(static)
    for (int64_t job = 0; job < z.directions * z.batch; job++)
        run_sequence(n, in, out, &z, job / z.batch, job % z.batch);
    return 0;
}

#define CELL(...) .macs = macs_recurrent, .heavy = 1, .detail = &(const struct cell){__VA_ARGS__}

static const struct op ops[] = {
    {OP("RNN", 3, 6, 2, infer_recurrent, run_recurrent), CELL(1, 1, 0, 1, {TANH})},
    {OP("GRU", 3, 6, 2, infer_recurrent, run_recurrent), CELL(3, 2, 0, 1, {SIGMOID, TANH})},
    {OP("LSTM", 3, 8, 3, infer_recurrent, run_recurrent), CELL(4, 3, 1, 2, {SIGMOID, TANH, TANH})},
};
const struct op_family family_recurrent = OP_FAMILY(ops);
