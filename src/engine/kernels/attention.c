/* Attention over q, k and v that lie side by side in one matrix: two batched matrix products whose
 * strides pick the heads out of it, and a softmax between them that scales and masks. */
#include "engine/kernel.h"
#include "engine/rows.h"

enum { SLOT_SCORES, SLOT_MASK };
enum { PARALLEL_MIN = 32 * 1024 };

struct attention {
    int64_t batch, heads, size, width; /* size: of the sequence; width: of a head */
    int64_t mask_strides[3];           /* over batch, head and row; 0 where it broadcasts */
    float scale;
};

/* The mask's strides, when its rows are whole rows. */
static int fit_mask(const struct shape *mask, struct attention *a, struct error *e)
{
    const int64_t full[4] = {a->batch, a->heads, a->size, a->size};
    int64_t stride = 1;
    for (int i = 3; i >= 0; i--) {
        int from = i - (4 - mask->rank);
        int64_t dim = from < 0 ? 1 : mask->dims[from];
        if ((dim != 1 && dim != full[i]) || (i == 3 && dim != full[3]))
            return error_set(e, ERROR_UNSUPPORTED, "the mask does not cover rows");
        if (i < 3)
            a->mask_strides[i] = dim == 1 ? 0 : stride;
        stride *= dim;
    }
    return 0;
}

static int describe(const struct builder *b, const struct node *n, struct attention *a,
                    struct error *e)
{
    const struct value *x = &b->graph->values[n->inputs[0]];
    int masked = n->input_count > 1 && n->inputs[1] != NO_VALUE;
    if (x->type != DTYPE_F32 || x->shape.rank != 3 || n->a.heads < 1 ||
        x->shape.dims[2] % (3 * n->a.heads) != 0 || shape_elements(&x->shape) == 0)
        return error_set(e, ERROR_UNSUPPORTED, "not q, k and v side by side");
    *a = (struct attention){.batch = x->shape.dims[0], .heads = n->a.heads,
                            .size = x->shape.dims[1],
                            .width = x->shape.dims[2] / 3 / n->a.heads, .scale = n->a.scale};
    if (!masked)
        return 0;
    const struct value *mask = &b->graph->values[n->inputs[1]];
    if (mask->type != DTYPE_F32 || mask->shape.rank > 4)
        return error_set(e, ERROR_UNSUPPORTED, "the mask is not float32 of rank 4 or less");
    return fit_mask(&mask->shape, a, e);
}

static int run_softmax(struct step *s, struct error *e)
{
    (void)e;
    const struct attention *a = s->state;
    float *scores = s->data[SLOT_SCORES];
    const float *mask = s->data[SLOT_MASK];
    int64_t rows = a->batch * a->heads * a->size;
#pragma omp parallel for schedule(static) if (rows * a->size >= PARALLEL_MIN)
    for (int64_t row = 0; row < rows; row++) {
        int64_t head = row / a->size, image = head / a->heads;
        const float *m = !mask ? NULL
                               : mask + image * a->mask_strides[0] +
                                     head % a->heads * a->mask_strides[1] +
                                     row % a->size * a->mask_strides[2];
        row_softmax(scores + row * a->size, a->scale, m, scores + row * a->size, a->size);
    }
    return 0;
}

/* ---- layouts: batch x head x rows x columns ---- */

static const struct layout *view(struct builder *b, const struct attention *a, int64_t rows,
                                 int64_t columns, int64_t head, int64_t row, int64_t column,
                                 int64_t image)
{
    struct shape s = {.rank = 4, .dims = {a->batch, a->heads, rows, columns}};
    return layout_strided(b->onednn, &s, (int64_t[]){image, head, row, column});
}

static int make_products(struct builder *b, const struct attention *a, struct primitive **scores,
                         struct primitive **mix, struct error *e)
{
    int64_t s = a->size, d = a->width, hidden = a->heads * d, line = 3 * hidden;
    const struct layout *q = view(b, a, s, d, d, line, 1, s * line);
    const struct layout *k_transposed = view(b, a, d, s, d, 1, line, s * line);
    const struct layout *matrix = view(b, a, s, s, s * s, s, 1, a->heads * s * s);
    const struct layout *out = view(b, a, s, d, d, hidden, 1, s * hidden);
    *scores = *mix = NULL;
    int code = primitive_matmul(b->onednn, q, k_transposed, 0, matrix, NULL, scores, e);
    if (!code)
        code = primitive_matmul(b->onednn, matrix, q, 0, out, NULL, mix, e);
    if (!code && (primitive_is_slow(*scores) || primitive_is_slow(*mix)))
        code = error_set(e, ERROR_UNSUPPORTED, "only slow kernels");
    return code;
}

/* ---- the three steps ---- */

/* part: 0 for q, 1 for k, 2 for v. */
static size_t part_bytes(const struct attention *a, int part)
{
    return (size_t)(part * a->heads * a->width) * sizeof(float);
}

static struct step *last_step(struct builder *b)
{
    return &b->program->steps[b->program->step_count - 1];
}

static int add_softmax(struct builder *b, const struct attention *a, int scores, int mask,
                       struct error *e)
{
    struct step *s;
    int code = builder_step_with(b, run_softmax, "rows:softmax", a, sizeof *a, &s, e);
    if (code)
        return code;
    s->slots[SLOT_SCORES] = scores;
    s->slots[SLOT_MASK] = mask;
    return 0;
}

/* Takes over both primitives. */
static int add_steps(struct builder *b, const struct attention *a, struct primitive *scores,
                     struct primitive *mix, const int slots[4], struct error *e)
{
    int qkv = slots[0], mask = slots[1], matrix = slots[2], out = slots[3];
    int code = builder_primitive(b, scores, (int[]){qkv, qkv, NO_SLOT, matrix}, e);
    if (!code) {
        last_step(b)->shift[OPERAND_WEIGHTS] = part_bytes(a, 1);
        code = add_softmax(b, a, matrix, mask, e);
    }
    if (code) {
        primitive_free(mix);
        return code;
    }
    code = builder_primitive(b, mix, (int[]){matrix, qkv, NO_SLOT, out}, e);
    if (!code)
        last_step(b)->shift[OPERAND_WEIGHTS] = part_bytes(a, 2);
    return code;
}

int kernel_attention(struct builder *b, const struct node *n, struct error *e)
{
    struct attention a;
    struct primitive *scores, *mix;
    int slots[4] = {NO_SLOT, NO_SLOT, NO_SLOT, NO_SLOT};
    int code = describe(b, n, &a, e);
    if (code)
        return code;
    code = make_products(b, &a, &scores, &mix, e);
    if (!code)
        code = builder_read_plain(b, n->inputs[0], &slots[0], e);
    if (!code && n->input_count > 1 && n->inputs[1] != NO_VALUE)
        code = builder_read_plain(b, n->inputs[1], &slots[1], e);
    if (!code)
        code = builder_scratch(b, layout_bytes(primitive_layout(scores, OPERAND_DST)), &slots[2],
                               e);
    if (!code)
        code = builder_write(b, n->outputs[0], NULL, &slots[3], e);
    if (code) {
        primitive_free(scores);
        primitive_free(mix);
        return code;
    }
    return add_steps(b, &a, scores, mix, slots, e);
}
