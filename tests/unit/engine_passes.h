/* engine_passes.h: what the passes make of a model: which nodes are left, and that the rewritten
 * graph is sound and computes, on the reference kernels, what the original does.
 *
 *   struct model_builder *b = model_x(17, 4, 2, 3, 7, 6);
 *   add_conv(b, "x", "c", 3, 5, 3, 1, 1);
 *   model_node(b, "Relu", "c", "y");
 *   model_output(b, "y");
 *   passes_give(b, "Conv+Relu", 1e-5);
 */
#ifndef TEST_ENGINE_PASSES_H
#define TEST_ENGINE_PASSES_H

#include "engine_model.h"

#include "engine/pass.h"

static inline void outputs_agree(const struct model_run *before, const struct model_run *after,
                                 int output, double tolerance)
{
    const struct value *v = graph_output(&before->g, output);
    const struct value *w = graph_output(&after->g, output);
    const float *want = before->outputs[output], *have = after->outputs[output];
    double largest = 0, error = 0;
    assert_true(shape_equal(&v->shape, &w->shape));
    assert_string_equal(v->name, w->name);
    assert_true(w->is_output);
    for (int64_t i = 0; i < shape_elements(&v->shape) && v->type == DTYPE_F32; i++) {
        largest = fmax(largest, fabs((double)want[i]));
        error = fmax(error, fabs((double)want[i] - (double)have[i]));
        assert_false(isnan(have[i]));
    }
    if (error > tolerance * (largest + 1e-3))
        fail_msg("output %d differs by %g of %g", output, error, largest);
    assert_true(largest > 0);
}

/* Both graphs on the same random inputs. */
static inline void same_results(struct model_builder *b, struct model_run *before,
                                struct model_run *after, double tolerance)
{
    const void *const *inputs = (const void *const *)before->inputs;
    struct error e;
    model_feed(b, &before->g, 2, before->inputs);
    if (interpret(&before->g, inputs, before->outputs, &e) ||
        interpret(&after->g, inputs, after->outputs, &e))
        fail_msg("%s", e.text);
    assert_int_equal(before->g.output_count, after->g.output_count);
    for (int i = 0; i < before->g.output_count; i++)
        outputs_agree(before, after, i, tolerance);
}

/* Every internal node passes its own infer, reads only what comes before it, and the counts of
 * readers are right. */
static inline void graph_is_sound(struct graph *g)
{
    int *uses = calloc((size_t)g->value_count + 1, sizeof *uses);
    assert_non_null(uses);
    for (int i = 0; i < g->node_count; i++) {
        struct node *n = &g->nodes[i];
        struct infer_context c = {g, n, NULL, 17, NULL, NULL};
        struct error e;
        assert_false(n->dead);
        if (*n->op->domain && n->op->infer(&c, &e))
            fail_msg("%s: %s", n->name, e.text);
        for (int k = 0; k < n->input_count; k++) {
            if (n->inputs[k] == NO_VALUE)
                continue;
            const struct value *v = &g->values[n->inputs[k]];
            uses[n->inputs[k]]++;
            assert_true(v->constant || v->is_input || (v->producer >= 0 && v->producer < i));
        }
        for (int k = 0; k < n->output_count; k++)
            if (n->outputs[k] != NO_VALUE)
                assert_int_equal(g->values[n->outputs[k]].producer, i);
    }
    for (int i = 0; i < g->output_count; i++)
        uses[g->outputs[i]]++;
    for (int i = 0; i < g->value_count; i++)
        assert_int_equal(uses[i], graph_uses(g, i));
    free(uses);
}

/* The graph after all passes, which may take this much more memory. */
static inline const struct graph *passed_within(struct model_builder *b, uint64_t memory,
                                                double tolerance)
{
    struct model_run *before = model_start(b), *after = model_start(b);
    struct error e;
    after->g.memory_limit = after->g.memory_used + memory;
    if (pass_run(&after->g, &e))
        fail_msg("%s", e.text);
    graph_is_sound(&after->g);
    same_results(b, before, after, tolerance);
    return &after->g;
}

static inline const struct graph *passed(struct model_builder *b, double tolerance)
{
    return passed_within(b, MODEL_MEMORY, tolerance);
}

/* These nodes, which do the same work. */
static inline void passes_give(struct model_builder *b, const char *nodes, double tolerance)
{
    const struct graph *after = passed(b, tolerance);
    graph_is(after, nodes);
    assert_int_equal(graph_macs(after), graph_macs(model_build(b)));
}

/* ---- models that only look like a pattern ---- */

/* A constant's first number, what the node reads that makes a value, a value that is an output. */
struct change {
    const char *constant;
    float value;
    const char *maker, *inputs, *also;
};

/* The passes may do what they like with it, if the results stay. */
static inline void passed_changed(struct model_builder *b, const struct change *c, double tolerance)
{
    if (c->constant)
        *(float *)model_data(b, c->constant) = c->value;
    if (c->maker)
        model_reads(b, c->maker, c->inputs);
    if (c->also)
        model_output(b, c->also);
    passed(b, tolerance);
}

/* ---- layers ---- */

static inline void add_conv(struct model_builder *b, const char *x, const char *y, int in, int out,
                            int kernel, int stride, int group)
{
    model_random(b, model_text(b, "%s.w", y), 4, out, in / group, kernel, kernel);
    model_node(b, "Conv", model_text(b, "%s %s.w", x, y), y);
    model_int(b, "group", group);
    model_ints(b, "kernel_shape", 2, kernel, kernel);
    model_ints(b, "strides", 2, stride, stride);
    model_ints(b, "pads", 4, kernel / 2, kernel / 2, kernel / 2, kernel / 2);
}

/* Positive variances. */
static inline void add_batch_norm(struct model_builder *b, const char *name, const char *x,
                                  const char *y, int channels)
{
    for (const char *part = "sbmv"; *part; part++) {
        float *data = model_random(b, model_text(b, "%s.%c", name, *part), 1, channels);
        for (int c = 0; c < channels; c++)
            data[c] = *part == 'v' ? 0.5f + fabsf(data[c]) : data[c];
    }
    model_node(b, "BatchNormalization",
               model_text(b, "%s %s.s %s.b %s.m %s.v", x, name, name, name, name), y);
}

#endif
