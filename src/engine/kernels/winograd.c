/* Convolutions by our own Winograd kernels, in whichever of their two layouts the input is near. */
#include "engine/choose.h"
#include "engine/kernels/conv.h"
#include "engine/winograd.h"

#include <string.h>

enum { SLOT_X, SLOT_WEIGHTS, SLOT_BIAS, SLOT_RESIDUAL, SLOT_Y, SLOT_SCRATCH };

/* Transformed weights are 16/9 or 4 times as large: not where they would fill memory and have to be
 * streamed in each run. With few channels the transforms outweigh what they save. */
enum { WEIGHTS_MAX = 8 << 20, LARGE_TILE_WEIGHTS_MAX = 4 << 20, CHANNELS_MIN = 32 };

struct plan {
    struct winograd winograd;
    const struct layout *src, *dst;
};

static struct winograd_view view_of(const struct shape *s, int channels_last)
{
    int64_t c = s->dims[1], h = s->dims[2], w = s->dims[3];
    if (channels_last)
        return (struct winograd_view){c * h * w, 8, c * w, c};
    return (struct winograd_view){c * h * w, 8 * h * w, 8 * w, 8};
}

/* With AVX-512 oneDNN's own kernels are faster. */
static int is_worth_it(const struct conv_job *job)
{
    return !onednn_has_avx512() && job->weights.dims[0] >= CHANNELS_MIN &&
           job->weights.dims[1] >= CHANNELS_MIN;
}

static int is_3x3(const struct conv_job *job)
{
    const struct attributes *a = &job->a;
    return a->spatial == 2 && a->group == 1 && job->weights.dims[2] == 3 &&
           job->weights.dims[3] == 3 && a->strides[0] == 1 && a->strides[1] == 1 &&
           a->dilations[0] == 1 && a->dilations[1] == 1;
}

/* 0 when this kernel can do the job. */
static int make_plan(struct builder *b, const struct conv_job *job, int number, struct plan *p)
{
    const struct shape *x = &b->graph->values[job->x].shape, *y = &b->graph->values[job->y].shape;
    if (!is_3x3(job))
        return -1;
    const struct layout *last = layout_channels_last(b->onednn, x);
    int channels_last = layout_equal(job->incoming, last);
    struct winograd *w = &p->winograd;
    *w = (struct winograd){
        .m = number ? 2 : 4, .batch = x->dims[0], .channels = x->dims[1], .outputs = y->dims[1],
        .in_height = x->dims[2], .in_width = x->dims[3], .out_height = y->dims[2],
        .out_width = y->dims[3], .pad_top = job->a.pads_begin[0], .pad_left = job->a.pads_begin[1],
        .in = view_of(x, channels_last), .out = view_of(y, channels_last),
        .activation = job->epilogue.activation, .low = job->epilogue.low,
        .high = job->epilogue.high};
    if (!winograd_possible(w) || shape_elements(y) == 0)
        return -1;
    p->src = channels_last ? last : layout_blocked(b->onednn, x, 8);
    p->dst = channels_last ? layout_channels_last(b->onednn, y) : layout_blocked(b->onednn, y, 8);
    winograd_prepare(w);
    if (winograd_weight_bytes(w) > (w->m == 4 ? LARGE_TILE_WEIGHTS_MAX : WEIGHTS_MAX))
        return -1;
    return p->src && p->dst ? 0 : -1;
}

int winograd_fits(struct builder *b, const void *job, int number)
{
    struct plan p;
    return is_worth_it(job) && make_plan(b, job, number, &p) == 0;
}

/* ---- timing ---- */

struct trial {
    const struct winograd *winograd;
    float *x, *weights, *y, *scratch;
};

static int run_trial(void *context)
{
    const struct trial *t = context;
    winograd_run(t->winograd, t->x, t->weights, NULL, NULL, t->y, t->scratch);
    return 0;
}

uint64_t winograd_ns(struct builder *b, const void *job_, int number)
{
    const struct conv_job *job = job_;
    struct plan p;
    if (make_plan(b, job, number, &p))
        return UINT64_MAX;
    size_t x = layout_bytes(p.src), y = layout_bytes(p.dst);
    size_t weights = winograd_weight_bytes(&p.winograd);
    char *memory = tuner_memory(&b->tuner, x + y + weights + winograd_scratch_bytes(&p.winograd));
    if (!memory)
        return UINT64_MAX;
    void *at[] = {memory, memory + x, memory + x + y, memory + x + y + weights};
    struct trial t = {&p.winograd, at[0], at[2], at[1], at[3]};
    uint64_t ns = tuner_measure(&b->tuner, run_trial, &t);
    if (ns == UINT64_MAX)
        return ns;
    ns += choose_reorder_ns(b, job->incoming, p.src);
    if (job->residual != NO_VALUE)
        ns += choose_reorder_ns(b, builder_layout(b, job->residual), p.dst);
    return ns;
}

/* ---- the step ---- */

static int run_winograd(struct step *s, struct error *e)
{
    (void)e;
    winograd_run(s->state, s->data[SLOT_X], s->data[SLOT_WEIGHTS], s->data[SLOT_BIAS],
                 s->data[SLOT_RESIDUAL], s->data[SLOT_Y], s->data[SLOT_SCRATCH]);
    return 0;
}

static int pack(struct builder *b, const struct conv_job *job, const struct winograd *w, int *slot,
                struct error *e)
{
    size_t bytes = winograd_weight_bytes(w);
    float *packed = memory_pool_take(&b->program->weights, bytes);
    if (!packed)
        return error_set(e, ERROR_MEMORY, "packed weights are beyond the memory limit");
    winograd_pack(w, b->graph->values[job->w].constant, packed);
    return builder_fixed(b, packed, bytes, slot, e);
}

/* The result takes the residual's memory where nobody else reads that. */
static int read_residual(struct builder *b, const struct conv_job *job, const struct layout *dst,
                         int *slots, struct error *e)
{
    int code = builder_read(b, job->residual, dst, &slots[SLOT_RESIDUAL], e);
    if (!code && builder_may_overwrite(b, job->residual)) {
        slots[SLOT_Y] = slots[SLOT_RESIDUAL];
        builder_write_over(b, job->y, dst, slots[SLOT_Y]);
    }
    return code;
}

static int connect(struct builder *b, const struct conv_job *job, const struct plan *p, int *slots,
                   struct error *e)
{
    int code = builder_read(b, job->x, p->src, &slots[SLOT_X], e);
    if (!code)
        code = pack(b, job, &p->winograd, &slots[SLOT_WEIGHTS], e);
    if (!code && job->bias != NO_VALUE)
        code = builder_read_plain(b, job->bias, &slots[SLOT_BIAS], e);
    if (!code && job->residual != NO_VALUE)
        code = read_residual(b, job, p->dst, slots, e);
    if (!code && slots[SLOT_Y] == NO_SLOT)
        code = builder_write(b, job->y, p->dst, &slots[SLOT_Y], e);
    if (!code)
        code = builder_scratch(b, winograd_scratch_bytes(&p->winograd), &slots[SLOT_SCRATCH], e);
    return code;
}

static const char *kernel_name(const struct winograd *w)
{
    return w->m == 4 ? "winograd:4x4:avx2" : "winograd:2x2:avx2";
}

int winograd_step(struct builder *b, const struct conv_job *job, int number, struct error *e)
{
    struct plan p;
    struct step *s;
    int slots[] = {NO_SLOT, NO_SLOT, NO_SLOT, NO_SLOT, NO_SLOT, NO_SLOT};
    if (make_plan(b, job, number, &p))
        return error_memory(e);
    int code = connect(b, job, &p, slots, e);
    if (!code)
        code = builder_step_with(b, run_winograd, kernel_name(&p.winograd), &p.winograd,
                                 sizeof p.winograd, &s, e);
    if (code)
        return code;
    s->computes = 1;
    memcpy(s->slots, slots, sizeof slots);
    return 0;
}
