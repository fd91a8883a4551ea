/* Convolution by oneDNN. Candidates differ in layout and method; where tuning is on they are timed
 * together with the reorders they would need, else the first that exists is taken. */
#include "engine/choose.h"
#include "engine/kernel.h"
#include "engine/kernels/conv.h"

#include <string.h>

static int optional_input(const struct node *n, int index)
{
    return index < n->input_count ? n->inputs[index] : NO_VALUE;
}

static int describe(struct builder *b, const struct node *n, struct conv_job *job, struct error *e)
{
    const struct value *values = b->graph->values;
    const struct value *w = &values[n->inputs[1]];
    if (!w->constant || w->type != DTYPE_F32 || values[n->inputs[0]].type != DTYPE_F32)
        return error_set(e, ERROR_UNSUPPORTED, "weights are not constant float32");
    *job = (struct conv_job){.node = n, .a = n->a, .x = n->inputs[0], .w = n->inputs[1],
                             .y = n->outputs[0], .bias = optional_input(n, 2),
                             .residual = NO_VALUE, .weights = w->shape};
    if (n->a.has_residual)
        job->residual = optional_input(n, 3);
    job->epilogue = (struct epilogue){.sum = job->residual != NO_VALUE,
                                      .activation = (enum activation)n->a.activation,
                                      .low = n->a.low, .high = n->a.high};
    job->incoming = builder_layout(b, job->x);
    return 0;
}

/* Channels-last was never clearly faster than the layout oneDNN asks for: it and the incoming
 * layout only stand in for kernels that would be slow. */
static int candidates(struct builder *b, const struct conv_job *job, struct conv_candidate *list)
{
    const struct shape *x = &b->graph->values[job->x].shape;
    const struct shape *y = &b->graph->values[job->y].shape;
    const struct layout *any_x = layout_any(b->onednn, x), *any_y = layout_any(b->onednn, y);
    const struct layout *last_x = layout_channels_last(b->onednn, x);
    const struct layout *last_y = layout_channels_last(b->onednn, y);
    int n = 0;
    list[n++] = (struct conv_candidate){CONV_DIRECT, any_x, any_y};
    list[n++] = (struct conv_candidate){CONV_WINOGRAD, any_x, any_y};
    list[n++] = (struct conv_candidate){CONV_DIRECT, last_x, last_y};
    list[n++] = (struct conv_candidate){CONV_DIRECT, job->incoming, any_y};
    return n;
}

static int make(struct builder *b, const void *job_, int candidate, struct primitive **out,
                struct error *e)
{
    const struct conv_job *job = job_;
    const struct conv_candidate *c = &job->candidates[candidate];
    return primitive_conv(b->onednn, &job->a, c->method, c->src, &job->weights,
                          job->bias != NO_VALUE, c->dst, &job->epilogue, out, e);
}

/* Reorders in front of it. */
static uint64_t extra_ns(struct builder *b, const void *job_, const struct primitive *p)
{
    const struct conv_job *job = job_;
    uint64_t ns = choose_reorder_ns(b, job->incoming, primitive_layout(p, OPERAND_SRC));
    if (job->residual != NO_VALUE)
        ns += choose_reorder_ns(b, builder_layout(b, job->residual),
                                primitive_layout(p, OPERAND_DST));
    return ns;
}

/* All that decides how fast a candidate is. */
static uint64_t key_of(struct builder *b, const struct conv_job *job, int incoming)
{
    const struct value *values = b->graph->values;
    struct {
        int64_t x[RANK_MAX], w[RANK_MAX], y[RANK_MAX];
        int64_t strides[3], dilations[3], pads[3], group, sum, activation, incoming;
    } key = {.group = job->a.group, .sum = job->epilogue.sum,
             .activation = job->epilogue.activation, .incoming = incoming};
    memcpy(key.x, values[job->x].shape.dims, sizeof key.x);
    memcpy(key.y, values[job->y].shape.dims, sizeof key.y);
    memcpy(key.w, job->weights.dims, sizeof key.w);
    memcpy(key.strides, job->a.strides, sizeof key.strides);
    memcpy(key.dilations, job->a.dilations, sizeof key.dilations);
    memcpy(key.pads, job->a.pads_begin, sizeof key.pads);
    return tuner_key(0, &key, sizeof key);
}

/* Our own kernels are numbered after oneDNN's candidates; *p is NULL for those. */
static int pick(struct builder *b, struct conv_job *job, struct primitive **p, int *candidate,
                struct error *e)
{
    int plain = layout_equal(job->incoming, builder_plain(b, job->x));
    job->candidate_count = candidates(b, job, job->candidates);
    int last = layout_equal(job->incoming, job->candidates[2].src);
    struct choice c = {.job = job, .count = job->candidate_count, .rivals = 2, .make = make,
                       .extra_ns = extra_ns, .key = key_of(b, job, plain ? 0 : last ? 1 : 2),
                       .own_count = WINOGRAD_CANDIDATES, .own_exists = winograd_fits,
                       .own_ns = winograd_ns};
    return choose(b, &c, p, candidate, e);
}

/* The step adds to what its destination holds. Where the residual is still needed by others, a copy
 * of it is the destination. */
static int residual_slot(struct builder *b, const struct conv_job *job, const struct layout *dst,
                         int *slot, struct error *e)
{
    int source;
    int code = builder_read(b, job->residual, dst, &source, e);
    if (code)
        return code;
    if (builder_may_overwrite(b, job->residual)) {
        *slot = source;
        builder_write_over(b, job->y, dst, source);
        return 0;
    }
    return builder_copy(b, source, job->y, dst, slot, e);
}

static int connect(struct builder *b, const struct conv_job *job, const struct primitive *p,
                   int *slots, struct error *e)
{
    const struct layout *dst = primitive_layout(p, OPERAND_DST);
    const struct layout *from = layout_weights(b->onednn, &job->weights, job->a.group);
    int code = builder_read(b, job->x, primitive_layout(p, OPERAND_SRC), &slots[OPERAND_SRC], e);
    if (!code)
        code = builder_pack(b, b->graph->values[job->w].constant, from,
                            primitive_layout(p, OPERAND_WEIGHTS), &slots[OPERAND_WEIGHTS], e);
    if (!code && job->bias != NO_VALUE)
        code = builder_read_plain(b, job->bias, &slots[OPERAND_BIAS], e);
    if (code)
        return code;
    return job->residual != NO_VALUE ? residual_slot(b, job, dst, &slots[OPERAND_DST], e)
                                     : builder_write(b, job->y, dst, &slots[OPERAND_DST], e);
}

int kernel_conv(struct builder *b, const struct node *n, struct error *e)
{
    struct conv_job job;
    struct primitive *p;
    int candidate, code = describe(b, n, &job, e);
    if (!code)
        code = pick(b, &job, &p, &candidate, e);
    if (code)
        return code;
    if (!p)
        return winograd_step(b, &job, candidate - job.candidate_count, e);
    int slots[OPERAND_SCRATCH] = {NO_SLOT, NO_SLOT, NO_SLOT, NO_SLOT};
    code = connect(b, &job, p, slots, e);
    if (code) {
        primitive_free(p);
        return code;
    }
    return builder_primitive(b, p, slots, e);
}
