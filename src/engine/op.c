#include "engine/op.h"
#include "engine/ops/ops.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const struct op_family *const families[] = {
    &family_conv,   &family_pool,   &family_norm,   &family_matmul,  &family_unary,
    &family_binary, &family_select, &family_shape,  &family_move,    &family_pad,
    &family_reduce, &family_gather, &family_softmax, &family_constant,
    &family_scatter, &family_conv_transpose, &family_resize, &family_einsum, &family_grid,
    &family_recurrent, &family_fold, &family_norm_more, &family_attention,
    &family_quantize, &family_integer, &family_roi, &family_spectral,
};

static const struct op *const internal[] = {&op_fused_conv, &op_linear,     &op_layer_norm,
                                            &op_gelu,       &op_attention,  &op_rms_norm,
                                            &op_group_norm, &op_rotary,     &op_swish,
                                            &op_batch_norm};

enum { OPS_MAX = 512 };
static const struct op *sorted[OPS_MAX];
static size_t sorted_count;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int compare(const void *a, const void *b)
{
    const struct op *x = *(const struct op *const *)a, *y = *(const struct op *const *)b;
    int order = strcmp(x->name, y->name);
    if (!order)
        order = strcmp(x->domain, y->domain);
    return order ? order : x->since - y->since;
}

static void sort_ops(void)
{
    for (size_t f = 0; f < sizeof families / sizeof *families; f++)
        for (size_t i = 0; i < families[f]->count && sorted_count < OPS_MAX - 8; i++)
            sorted[sorted_count++] = &families[f]->ops[i];
    for (size_t i = 0; i < sizeof internal / sizeof *internal; i++)
        sorted[sorted_count++] = internal[i];
    qsort(sorted, sorted_count, sizeof *sorted, compare);
}

const struct op *const *op_all(size_t *count)
{
    pthread_once(&once, sort_ops);
    *count = sorted_count;
    return sorted;
}

/* The first entry that is not before (name, domain, any opset). */
static size_t lower_bound(const char *domain, const char *name)
{
    const struct op key = {.name = name, .domain = domain, .since = 0}, *p = &key;
    size_t low = 0, high = sorted_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (compare(&sorted[middle], &p) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct op *op_find(const char *domain, const char *name, int64_t opset, int *known)
{
    pthread_once(&once, sort_ops);
    if (known)
        *known = 0;
    for (size_t i = lower_bound(domain, name); i < sorted_count; i++) {
        const struct op *op = sorted[i];
        if (strcmp(op->name, name) || strcmp(op->domain, domain))
            break;
        if (known)
            *known = 1;
        if (opset >= op->since && opset <= op->until)
            return op;
    }
    return NULL;
}
