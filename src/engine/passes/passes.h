/* passes.h: what the passes share: looking at the graph around a node, and moving nodes together.
 *
 * A pattern's inner values must have no readers but the pattern, and a graph output is never
 * swallowed. The fused node takes the slot of the pattern's last node: everything it reads comes
 * earlier there. */
#ifndef WATTLE_ENGINE_PASSES_H
#define WATTLE_ENGINE_PASSES_H

#include "engine/graph.h"
#include "engine/op.h"

int pass_einsum(struct graph *g, struct error *e);
int pass_activation(struct graph *g, struct error *e);
int pass_pad(struct graph *g, struct error *e);
int pass_batchnorm(struct graph *g, struct error *e);
int pass_conv(struct graph *g, struct error *e);
int pass_channels(struct graph *g, struct error *e);
int pass_layernorm(struct graph *g, struct error *e);
int pass_rmsnorm(struct graph *g, struct error *e);
int pass_groupnorm(struct graph *g, struct error *e);
int pass_rotary(struct graph *g, struct error *e);
int pass_gelu(struct graph *g, struct error *e);
int pass_linear(struct graph *g, struct error *e);
int pass_masks(struct graph *g, struct error *e);
int pass_attention(struct graph *g, struct error *e);
int pass_heads(struct graph *g, struct error *e);

/* The node is this ONNX operator. */
int match_is(const struct graph *g, int node, const char *name);
/* The node of that operator which makes the value, or -1. */
int match_producer(const struct graph *g, int value, const char *name);
/* The same, and nothing but one node reads the value. */
int match_inner(const struct graph *g, int value, const char *name);
/* The only reader of the node's output if it is that operator, or -1. */
int match_user(const struct graph *g, int node, const char *name);
/* The input of a node with two which is not `value`; NO_VALUE if neither or both are. */
int match_other(const struct graph *g, int node, int value);
/* An f32 constant of one element. */
int match_scalar(const struct graph *g, int value, double *out);
/* One of a node's two inputs is a scalar: 0 if so, with the other input's value. For operators
 * that do not commute, only the second input counts. */
int match_with_scalar(const struct graph *g, int node, int commutes, double *scalar, int *other);
/* Within a relative distance of 1e-5: constants are written down with few digits at times. */
int match_near(double a, double b);
int match_is_f32(const struct graph *g, int value);
const float *match_f32(const struct graph *g, int value); /* data of a constant, or NULL */
/* What the value is a power of, or the square of (written as a product too); or -1. */
int match_power(const struct graph *g, int value, double exponent);
int match_square(const struct graph *g, int value);
/* The node is a Slice that takes every element of a range, in order, along each axis. */
int match_slice(const struct graph *g, int node);
/* The node takes the mean over the last axis, kept. */
int match_last_mean(const struct graph *g, int node);
/* A constant with one number for each place on x's last axis, as a vector. -1 when it is not. */
int match_row(struct graph *g, int value, int x);
/* A constant of one element, or of one per channel: 1, C, 1... against N, C, spatial. *step: 0
 * or 1. */
const float *match_per_channel(const struct graph *g, int value, const struct shape *y, int *step);
/* Scalars multiplied into the value on its way; what is behind them. */
int match_scaled(const struct graph *g, int value, double *scale);
/* A transpose of the last two of four axes, written over three with the first two as one: what goes
 * in, of any shape, or -1. *wide: the last Reshape. */
int match_flat_transpose(const struct graph *g, int value, int *wide);

/* What `from` computes is computed in the slot of `to` from now on, under to's output; `suffix` is
 * added to its name for the profile. */
int fuse_into(struct graph *g, int from, int to, const char *suffix, struct error *e);
/* Sets input `index`, with NO_VALUE in those before that are not there. */
void fuse_input(struct graph *g, int node, int index, int value);
/* The node becomes a function of x alone; what it read before and nobody else does goes. */
void fuse_function(struct graph *g, int node, const struct op *op, const char *fused, int x);
/* Makes the node an internal operator with the same inputs and attributes. */
void fuse_internal(struct graph *g, int index, const struct op *op);
/* Takes the activation that follows an internal operator into its epilogue; *node moves on to its
 * slot. */
int fuse_activation(struct graph *g, int *node, struct error *e);
/* Takes an Add of an equally shaped value, then an activation, that follow an internal Conv or
 * Linear into its epilogue. *node moves on to the slot of the last one taken. */
int fuse_epilogue(struct graph *g, int *node, struct error *e);
/* Drops the nodes that made a value nobody reads any more. */
void fuse_prune(struct graph *g, int value);

#endif
