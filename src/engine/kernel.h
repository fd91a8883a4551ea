/* kernel.h: the fast kernels. A kernel turns one node into steps; a new one is one function and one
 * entry in the table of kernel.c. Nodes that no kernel takes run their plain-C reference. */
#ifndef WATTLE_ENGINE_KERNEL_H
#define WATTLE_ENGINE_KERNEL_H

#include "engine/builder.h"

struct kernel {
    const char *domain, *op;
    /* ERROR_UNSUPPORTED, with no step added, when it cannot take this node: the next is asked. */
    int (*prepare)(struct builder *b, const struct node *n, struct error *e);
};

int kernel_prepare(struct builder *b, const struct node *n, struct error *e);
int kernel_reference(struct builder *b, const struct node *n, struct error *e);

/* kernels/FAMILY.c */
int kernel_conv(struct builder *b, const struct node *n, struct error *e);
int kernel_conv_transpose(struct builder *b, const struct node *n, struct error *e);
int kernel_linear(struct builder *b, const struct node *n, struct error *e);
int kernel_matmul(struct builder *b, const struct node *n, struct error *e);
int kernel_attention(struct builder *b, const struct node *n, struct error *e);
int kernel_max_pool(struct builder *b, const struct node *n, struct error *e);
int kernel_average_pool(struct builder *b, const struct node *n, struct error *e);
int kernel_global_average_pool(struct builder *b, const struct node *n, struct error *e);
int kernel_reduce_mean(struct builder *b, const struct node *n, struct error *e);
int kernel_mean(struct builder *b, const struct node *n, struct error *e);
int kernel_channels(struct builder *b, const struct node *n, struct error *e);
int kernel_batch_norm(struct builder *b, const struct node *n, struct error *e);
int kernel_split(struct builder *b, const struct node *n, struct error *e);
int kernel_resize(struct builder *b, const struct node *n, struct error *e);
int kernel_heads(struct builder *b, const struct node *n, struct error *e);
int kernel_layer_norm(struct builder *b, const struct node *n, struct error *e);
int kernel_rms_norm(struct builder *b, const struct node *n, struct error *e);
int kernel_group_norm(struct builder *b, const struct node *n, struct error *e);
int kernel_rotary(struct builder *b, const struct node *n, struct error *e);
int kernel_rotary_embedding(struct builder *b, const struct node *n, struct error *e);
int kernel_grid(struct builder *b, const struct node *n, struct error *e);
int kernel_transpose(struct builder *b, const struct node *n, struct error *e);
int kernel_softmax(struct builder *b, const struct node *n, struct error *e);
int kernel_softmax_columns(struct builder *b, const struct node *n, struct error *e);
int kernel_binary(struct builder *b, const struct node *n, struct error *e);
int kernel_activation(struct builder *b, const struct node *n, struct error *e);
int kernel_join(struct builder *b, const struct node *n, struct error *e);
int kernel_concat(struct builder *b, const struct node *n, struct error *e);
int kernel_recurrent(struct builder *b, const struct node *n, struct error *e);

#endif
