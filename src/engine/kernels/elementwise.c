/* Activations, binary operations and Concat, in the layout their input comes in. */
#include "engine/activation.h"
#include "engine/kernel.h"
#include "engine/op.h"

#include <string.h>

static int is_f32(const struct builder *b, int value)
{
    return b->graph->values[value].type == DTYPE_F32;
}

/* ---- activations ---- */

struct row_job {
    struct epilogue what;
    int64_t count;
};

static int run_rows(struct step *s, struct error *e)
{
    enum { PART = 4096 };
    const struct row_job *job = s->state;
    const float *x = s->data[OPERAND_SRC];
    float *y = s->data[OPERAND_DST];
    (void)e;
#pragma omp parallel for schedule(static) if (job->count > PART)
    for (int64_t i = 0; i < job->count; i += PART)
        activation_row(&job->what, x + i, y + i, job->count - i < PART ? job->count - i : PART);
    return 0;
}

/* Without padding the order of the elements does not matter. */
static int is_dense(const struct builder *b, int value, const struct layout *layout)
{
    const struct value *v = &b->graph->values[value];
    return layout && layout_bytes(layout) == (size_t)shape_bytes(&v->shape, v->type);
}

static int own_activation(struct builder *b, const struct node *n, const struct epilogue *what,
                          const struct layout *layout, struct error *e)
{
    const struct row_job job = {*what, shape_elements(&b->graph->values[n->inputs[0]].shape)};
    struct step *s;
    int source, slot;
    int code = builder_read(b, n->inputs[0], layout, &source, e);
    if (!code)
        code = builder_reuse(b, n->outputs[0], n->inputs[0], source, layout, &slot, e);
    if (!code)
        code = builder_step_with(b, run_rows, "rows:activation", &job, sizeof job, &s, e);
    if (code)
        return code;
    s->slots[OPERAND_SRC] = source;
    s->slots[OPERAND_DST] = slot;
    return 0;
}

static int onednn_activation(struct builder *b, const struct node *n, const struct epilogue *what,
                             const struct layout *layout, struct error *e)
{
    struct primitive *p;
    int slots[OPERAND_SCRATCH] = {NO_SLOT, NO_SLOT, NO_SLOT, NO_SLOT};
    int code = primitive_eltwise(b->onednn, what, layout, &p, e);
    if (code)
        return code;
    code = builder_read(b, n->inputs[0], layout, &slots[OPERAND_SRC], e);
    if (!code)
        code = builder_reuse(b, n->outputs[0], n->inputs[0], slots[OPERAND_SRC], layout,
                                  &slots[OPERAND_DST], e);
    if (code) {
        primitive_free(p);
        return code;
    }
    return builder_primitive(b, p, slots, e);
}

/* oneDNN where there is padding to keep at zero. */
int kernel_activation(struct builder *b, const struct node *n, struct error *e)
{
    struct epilogue what;
    int x = n->inputs[0];
    if (activation_of(b->graph, n, &what))
        return error_set(e, ERROR_UNSUPPORTED, "not an activation of known numbers");
    const struct layout *layout = builder_layout(b, x);
    if (is_dense(b, x, layout))
        return own_activation(b, n, &what, layout, e);
    int code = onednn_activation(b, n, &what, layout, e);
    return code == ERROR_UNSUPPORTED ? own_activation(b, n, &what, builder_plain(b, x), e) : code;
}

/* ---- binary ---- */

static int kind_of(const struct node *n)
{
    static const char *const names[] = {
        [BINARY_ADD] = "Add", [BINARY_SUB] = "Sub", [BINARY_MUL] = "Mul", [BINARY_DIV] = "Div",
    };
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (strcmp(names[i], n->op->name) == 0)
            return i;
    return -1;
}

struct binary_job {
    int kind;
    int x, other, y; /* x has y's shape */
    const struct layout *x_layout, *other_layout;
};

/* The row-major layout of value with ones in front up to rank. */
static const struct layout *plain_of_rank(struct builder *b, int value, int rank)
{
    struct shape s = b->graph->values[value].shape;
    int missing = rank - s.rank;
    memmove(s.dims + missing, s.dims, (size_t)s.rank * sizeof *s.dims);
    for (int i = 0; i < missing; i++)
        s.dims[i] = 1;
    s.rank = rank;
    return layout_plain(b->onednn, &s);
}

static int describe(const struct builder *b, const struct node *n, struct binary_job *job,
                    struct error *e)
{
    const struct value *v = b->graph->values;
    const struct shape *y = &v[n->outputs[0]].shape;
    *job = (struct binary_job){.kind = kind_of(n), .x = n->inputs[0], .other = n->inputs[1],
                               .y = n->outputs[0]};
    int commutes = job->kind == BINARY_ADD || job->kind == BINARY_MUL;
    if (commutes && (!shape_equal(&v[job->x].shape, y) || v[job->x].constant)) {
        job->x = n->inputs[1];
        job->other = n->inputs[0];
    }
    if (job->kind < 0 || !is_f32(b, job->x) || !is_f32(b, job->other) || y->rank < 1 ||
        !shape_equal(&v[job->x].shape, y) || shape_elements(y) == 0)
        return error_set(e, ERROR_UNSUPPORTED, "not a float32 operation that broadcasts input 1");
    return 0;
}

/* First in the layout that x has, then row-major. */
static int make_binary(struct builder *b, struct binary_job *job, struct primitive **out,
                       struct error *e)
{
    const struct value *v = b->graph->values;
    int same = shape_equal(&v[job->x].shape, &v[job->other].shape);
    job->x_layout = builder_layout(b, job->x);
    job->other_layout =
        same ? job->x_layout : plain_of_rank(b, job->other, v[job->x].shape.rank);
    int code = primitive_binary(b->onednn, (enum binary_kind)job->kind, job->x_layout,
                                job->other_layout, job->x_layout, out, e);
    if (!code && !primitive_is_slow(*out))
        return 0;
    if (!code)
        primitive_free(*out);
    job->x_layout = builder_plain(b, job->x);
    job->other_layout = plain_of_rank(b, job->other, v[job->x].shape.rank);
    return primitive_binary(b->onednn, (enum binary_kind)job->kind, job->x_layout,
                            job->other_layout, job->x_layout, out, e);
}

static int connect(struct builder *b, const struct binary_job *job, int *slots, struct error *e)
{
    const struct value *v = b->graph->values;
    int same = shape_equal(&v[job->x].shape, &v[job->other].shape);
    int code = builder_read(b, job->x, job->x_layout, &slots[OPERAND_SRC], e);
    if (!code)
        code = same ? builder_read(b, job->other, job->x_layout, &slots[OPERAND_WEIGHTS], e)
                    : builder_read_plain(b, job->other, &slots[OPERAND_WEIGHTS], e);
    if (code)
        return code;
    return builder_reuse(b, job->y, job->x, slots[OPERAND_SRC], job->x_layout,
                              &slots[OPERAND_DST], e);
}

int kernel_binary(struct builder *b, const struct node *n, struct error *e)
{
    struct binary_job job;
    struct primitive *p;
    int slots[OPERAND_SCRATCH] = {NO_SLOT, NO_SLOT, NO_SLOT, NO_SLOT};
    int code = describe(b, n, &job, e);
    if (!code)
        code = make_binary(b, &job, &p, e);
    if (code)
        return code;
    code = connect(b, &job, slots, e);
    if (code) {
        primitive_free(p);
        return code;
    }
    return builder_primitive(b, p, slots, e);
}

/* ---- Concat ---- */

static int source_operand(int input)
{
    return input ? OPERAND_SOURCES + input - 1 : OPERAND_SRC;
}

static int connect_concat(struct builder *b, const struct node *n, const struct layout *const *src,
                          const struct primitive *p, int *slots, struct error *e)
{
    int code = 0;
    for (int i = 0; !code && i < n->input_count; i++)
        code = builder_read(b, n->inputs[i], src[i], &slots[source_operand(i)], e);
    return code ? code : builder_write(b, n->outputs[0], primitive_layout(p, OPERAND_DST),
                                       &slots[OPERAND_DST], e);
}

int kernel_concat(struct builder *b, const struct node *n, struct error *e)
{
    const struct layout *src[NODE_INPUT_MAX];
    int slots[OPERAND_COUNT];
    struct primitive *p;
    for (int i = 0; i < n->input_count; i++) {
        if (!is_f32(b, n->inputs[i]) || shape_elements(&b->graph->values[n->inputs[i]].shape) == 0)
            return error_set(e, ERROR_UNSUPPORTED, "not all float32");
        src[i] = builder_layout(b, n->inputs[i]);
    }
    for (int i = 0; i < OPERAND_COUNT; i++)
        slots[i] = NO_SLOT;
    const struct shape *y = &b->graph->values[n->outputs[0]].shape;
    int code = primitive_concat(b->onednn, (int)n->a.axis, n->input_count, src,
                                layout_any(b->onednn, y), &p, e);
    if (code)
        return code;
    code = connect_concat(b, n, src, p, slots, e);
    if (code) {
        primitive_free(p);
        return code;
    }
    code = builder_primitive(b, p, slots, e);
    for (int i = 1; !code && i < n->input_count; i++)
        b->program->steps[b->program->step_count - 1].slots[source_operand(i)] =
            slots[source_operand(i)];
    return code;
}
