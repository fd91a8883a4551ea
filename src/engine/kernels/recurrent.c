/* RNN, GRU and LSTM in two steps: the inputs' share of all gates of all steps is one matrix
 * product, the rest goes step by step (recurrent.h). Rare settings are left to the reference. */
#include "engine/recurrent.h"
#include "engine/kernel.h"
#include "engine/kernels/linear.h"
#include "engine/op.h"
#include "engine/ops/recurrent.h"

#include <string.h>

enum { SLOT_PROJECTED, SLOT_WEIGHTS, SLOT_BIAS, SLOT_LENGTHS, SLOT_H, SLOT_C, SLOT_Y,
       SLOT_LAST_H, SLOT_LAST_C, SLOT_SCRATCH, SLOTS };

/* The inputs' share is all gates of all outputs: what needs more than this stays with the
 * reference, which needs none of it. */
enum { PROJECTED_MAX = 1 << 30 };

/* What the fast kernel does of each operator. flag: linear_before_reset, or input_forget. */
static const struct known {
    const char *op;
    int flag, functions;
    int64_t function[3];
    enum recurrent_cell cell;
} known[] = {
    {"RNN", 0, 1, {TANH}, RECURRENT_TANH},
    {"RNN", 0, 1, {RELU}, RECURRENT_RELU},
    {"GRU", 0, 2, {SIGMOID, TANH}, RECURRENT_GRU_RESET_FIRST},
    {"GRU", 1, 2, {SIGMOID, TANH}, RECURRENT_GRU},
    {"LSTM", 0, 3, {SIGMOID, TANH, TANH}, RECURRENT_LSTM},
};

static const struct value *input_of(const struct builder *b, const struct node *n, int index)
{
    if (index >= n->input_count || n->inputs[index] == NO_VALUE)
        return NULL;
    return &b->graph->values[n->inputs[index]];
}

static int is_known(const struct node *n, const struct known *k)
{
    int count = k->functions * (n->a.mode == BOTH ? 2 : 1);
    if (strcmp(n->op->name, k->op) != 0 || n->a.trans_b != k->flag)
        return 0;
    for (int i = 0; i < count; i++)
        if (n->a.axes[i] != k->function[i % k->functions])
            return 0;
    return 1;
}

static int find_cell(const struct node *n, enum recurrent_cell *cell)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (is_known(n, &known[i])) {
            *cell = known[i].cell;
            return 1;
        }
    return 0;
}

static int describe(const struct builder *b, const struct node *n, struct recurrent *r,
                    struct linear_product *p, struct error *e)
{
    const struct value *v = b->graph->values, *bias = input_of(b, n, IN_B);
    const struct value *w = &v[n->inputs[IN_W]];
    const int64_t *x = v[n->inputs[IN_X]].shape.dims;
    *r = (struct recurrent){.steps = x[n->a.trans_a], .batch = x[!n->a.trans_a],
                            .hidden = n->a.axis, .directions = n->a.mode == BOTH ? 2 : 1,
                            .reverse = n->a.mode == REVERSE, .batch_first = n->a.trans_a};
    if (!find_cell(n, &r->cell) || n->a.alpha > 0 || input_of(b, n, IN_P))
        return error_set(e, ERROR_UNSUPPORTED, "settings that the fast kernel does not have");
    if (!w->constant || !v[n->inputs[IN_R]].constant || (bias && !bias->constant))
        return error_set(e, ERROR_UNSUPPORTED, "weights that are not constant");
    *p = (struct linear_product){
        .m = r->steps * r->batch, .k = x[2], .weights = w->constant, .w_is_nk = 1,
        .n = r->directions * recurrent_gates(r->cell) * r->hidden, .has_bias = bias != NULL};
    if (p->m > PROJECTED_MAX / (int64_t)sizeof(float) / p->n)
        return error_set(e, ERROR_UNSUPPORTED, "more than the fast kernel has memory for");
    return 0;
}

/* ---- what is made at load ---- */

static int take(struct builder *b, size_t bytes, float **out, int *slot, struct error *e)
{
    *out = memory_pool_take(&b->program->weights, bytes);
    if (!*out)
        return error_set(e, ERROR_MEMORY, "packed weights are beyond the memory limit");
    return builder_fixed(b, *out, bytes, slot, e);
}

/* The biases of both products become one, but for GRU's new gate: there only a part of the sum is
 * scaled by the reset gate. first may be NULL without biases. */
static void add_biases(const struct recurrent *r, const float *bias, float *first, float *second)
{
    int64_t gates = recurrent_gates(r->cell), n = r->hidden;
    for (int64_t d = 0; first && d < r->directions; d++)
        for (int64_t i = 0; i < gates * n; i++) {
            const float *both = bias + 2 * d * gates * n;
            int apart = r->cell == RECURRENT_GRU && i >= 2 * n;
            first[d * gates * n + i] = both[i] + (apart ? 0 : both[gates * n + i]);
            if (apart)
                second[d * n + i - 2 * n] = both[gates * n + i];
        }
}

static int pack(struct builder *b, const struct node *n, const struct recurrent *r,
                const struct linear_product *p, int *bias, int slots[SLOTS], struct error *e)
{
    const struct value *given = input_of(b, n, IN_B);
    float *packed, *first = NULL, *second = NULL;
    int code = take(b, recurrent_weight_bytes(r), &packed, &slots[SLOT_WEIGHTS], e);
    if (!code && given)
        code = take(b, (size_t)p->n * sizeof *first, &first, bias, e);
    if (!code && r->cell == RECURRENT_GRU)
        code = take(b, (size_t)(r->directions * r->hidden) * sizeof *second, &second,
                    &slots[SLOT_BIAS], e);
    if (code)
        return code;
    recurrent_pack(r, input_of(b, n, IN_R)->constant, packed);
    add_biases(r, given ? given->constant : NULL, first, second);
    return 0;
}

/* ---- the steps ---- */

static int run_recurrent(struct step *s, struct error *e)
{
    (void)e;
    void *const *at = s->data;
    recurrent_run(s->state, &(struct recurrent_data){
                                at[SLOT_PROJECTED], at[SLOT_WEIGHTS], at[SLOT_BIAS],
                                at[SLOT_LENGTHS], at[SLOT_H], at[SLOT_C], at[SLOT_Y],
                                at[SLOT_LAST_H], at[SLOT_LAST_C], at[SLOT_SCRATCH]});
    return 0;
}

static int connect(struct builder *b, const struct node *n, const struct recurrent *r,
                   int slots[SLOTS], struct error *e)
{
    int code = builder_scratch(b, recurrent_scratch_bytes(r), &slots[SLOT_SCRATCH], e);
    for (int i = 0; i < 3 && !code; i++)
        if (input_of(b, n, IN_LENGTHS + i))
            code = builder_read_plain(b, n->inputs[IN_LENGTHS + i], &slots[SLOT_LENGTHS + i], e);
    for (int i = 0; i < 3 && !code; i++)
        if (OUT_Y + i < n->output_count && n->outputs[OUT_Y + i] != NO_VALUE)
            code = builder_write(b, n->outputs[OUT_Y + i], NULL, &slots[SLOT_Y + i], e);
    return code;
}

int kernel_recurrent(struct builder *b, const struct node *n, struct error *e)
{
    struct recurrent r;
    struct linear_product p;
    struct step *s;
    int slots[SLOTS], bias = NO_SLOT;
    for (int i = 0; i < SLOTS; i++)
        slots[i] = NO_SLOT;
    int code = describe(b, n, &r, &p, e);
    if (code)
        return code;
    code = builder_scratch(b, (size_t)(p.m * p.n) * sizeof(float), &slots[SLOT_PROJECTED], e);
    if (!code)
        code = pack(b, n, &r, &p, &bias, slots, e);
    if (!code)
        code = linear_step(b, &p, n->inputs[IN_X], bias, slots[SLOT_PROJECTED], e);
    if (!code)
        code = connect(b, n, &r, slots, e);
    if (!code)
        code = builder_step_with(b, run_recurrent, "recurrent", &r, sizeof r, &s, e);
    if (code)
        return code;
    s->computes = 1;
    memcpy(s->slots, slots, sizeof slots);
    return 0;
}
