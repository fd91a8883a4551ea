/* Softmax over dimensions that are not the last: many columns side by side, as segmentation and
 * detection heads have them. */
#include "engine/exp.h"
#include "engine/kernel.h"
#include "engine/simd.h"

enum { COLUMNS = 64, WORTH_THREADS = 4096 };

/* `count` rows, `stride` apart, of n <= COLUMNS columns; y may be x. */
SIMD_CLONES
static void softmax_columns(const float *x, float *y, int64_t count, int64_t stride, int64_t n)
{
    float most[COLUMNS], sum[COLUMNS];
    for (int64_t k = 0; k < n; k++) {
        most[k] = x[k];
        sum[k] = 0;
    }
    for (int64_t i = 1; i < count; i++)
#pragma omp simd
        for (int64_t k = 0; k < n; k++)
            most[k] = x[i * stride + k] > most[k] ? x[i * stride + k] : most[k];
    for (int64_t i = 0; i < count; i++)
#pragma omp simd
        for (int64_t k = 0; k < n; k++) {
            float e = exp_negative(x[i * stride + k] - most[k]);
            y[i * stride + k] = e;
            sum[k] += e;
        }
    for (int64_t k = 0; k < n; k++)
        sum[k] = 1.0f / sum[k];
    for (int64_t i = 0; i < count; i++)
#pragma omp simd
        for (int64_t k = 0; k < n; k++)
            y[i * stride + k] *= sum[k];
}

struct columns_job {
    int64_t outer, count, inner;
};

static int run_columns(struct step *s, struct error *e)
{
    const struct columns_job *j = s->state;
    const float *x = s->data[0];
    float *y = s->data[1];
    int64_t blocks = (j->inner + COLUMNS - 1) / COLUMNS;
    (void)e;
#pragma omp parallel for schedule(static) if (j->outer * j->count * j->inner > WORTH_THREADS)
    for (int64_t i = 0; i < j->outer * blocks; i++) {
        int64_t first = i % blocks * COLUMNS, left = j->inner - first;
        int64_t at = i / blocks * j->count * j->inner + first;
        softmax_columns(x + at, y + at, j->count, j->inner, left < COLUMNS ? left : COLUMNS);
    }
    return 0;
}

int kernel_softmax_columns(struct builder *b, const struct node *n, struct error *e)
{
    const struct value *x = &b->graph->values[n->inputs[0]];
    struct columns_job job = {1, 1, 1};
    struct step *s;
    int source, slot, end = (int)n->a.axis + n->a.axis_count;
    if (x->type != DTYPE_F32)
        return error_set(e, ERROR_UNSUPPORTED, "not float32");
    for (int i = 0; i < x->shape.rank; i++) {
        int64_t *part = i < n->a.axis ? &job.outer : i < end ? &job.count : &job.inner;
        *part *= x->shape.dims[i];
    }
    int code = builder_read_plain(b, n->inputs[0], &source, e);
    if (!code)
        code = builder_reuse(b, n->outputs[0], n->inputs[0], source,
                             builder_plain(b, n->outputs[0]), &slot, e);
    if (!code)
        code = builder_step_with(b, run_columns, "rows:softmax_columns", &job, sizeof job, &s, e);
    if (code)
        return code;
    s->slots[0] = source;
    s->slots[1] = slot;
    return 0;
}
