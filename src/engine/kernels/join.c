/* Concat of row-major values whose pieces are long: copies, where oneDNN would go element by element
 * through pieces of different lengths. */
#include "engine/kernel.h"
#include "engine/op.h"

#include <string.h>

enum { PIECE_MIN = 1024, PARALLEL_MIN = 32 * 1024 };

/* Slot i is input i, slot `count` the output. */
struct join {
    int count;
    int64_t pieces;                /* of each input */
    int64_t size[NODE_INPUT_MAX];  /* of an input's piece, in elements */
    int64_t at[NODE_INPUT_MAX];    /* where it lies in the output's */
    int64_t total;
};

static int run_join(struct step *s, struct error *e)
{
    (void)e;
    const struct join *j = s->state;
    int64_t jobs = j->pieces * j->count;
#pragma omp parallel for schedule(static) if (j->pieces * j->total >= PARALLEL_MIN)
    for (int64_t job = 0; job < jobs; job++) {
        int64_t piece = job / j->count, i = job % j->count;
        memcpy((float *)s->data[j->count] + piece * j->total + j->at[i],
               (const float *)s->data[i] + piece * j->size[i], (size_t)j->size[i] * sizeof(float));
    }
    return 0;
}

static int describe(struct builder *b, const struct node *n, struct join *j, struct error *e)
{
    const struct value *v = b->graph->values;
    *j = (struct join){.count = n->input_count, .pieces = 1};
    for (int k = 0; k < n->a.axis; k++)
        j->pieces *= v[n->outputs[0]].shape.dims[k];
    for (int i = 0; i < n->input_count; i++) {
        const struct value *x = &v[n->inputs[i]];
        if (x->type != DTYPE_F32 || !layout_equal(builder_layout(b, n->inputs[i]),
                                                  builder_plain(b, n->inputs[i])))
            return error_set(e, ERROR_UNSUPPORTED, "not all row-major float32");
        j->size[i] = shape_elements(&x->shape) / j->pieces;
        j->at[i] = j->total;
        j->total += j->size[i];
    }
    return j->total >= PIECE_MIN * j->count
               ? 0 : error_set(e, ERROR_UNSUPPORTED, "short pieces");
}

int kernel_join(struct builder *b, const struct node *n, struct error *e)
{
    struct join j;
    struct step *s;
    int slots[NODE_INPUT_MAX + 1];
    int code = describe(b, n, &j, e);
    for (int i = 0; i < n->input_count && !code; i++)
        code = builder_read_plain(b, n->inputs[i], &slots[i], e);
    if (!code)
        code = builder_write(b, n->outputs[0], NULL, &slots[j.count], e);
    if (!code)
        code = builder_step_with(b, run_join, "rows:join", &j, sizeof j, &s, e);
    if (!code)
        memcpy(s->slots, slots, (size_t)(j.count + 1) * sizeof *slots);
    return code;
}
