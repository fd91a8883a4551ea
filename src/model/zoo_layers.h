/* zoo_layers.h: what the built-in models are made of. Private to this folder.
 *
 * Weights come from a counter: element i of an initializer depends on the seed, its name and i, and
 * on nothing else. The arithmetic is that of integers, and of float operations that IEEE 754 rounds
 * exactly (one conversion, one multiply, division, square root), so every machine gets the same
 * bytes. Distributions are near normal (the sum of four uniform numbers, cut at 3.46 deviations).
 */
#ifndef WATTLE_MODEL_ZOO_LAYERS_H
#define WATTLE_MODEL_ZOO_LAYERS_H

#include "model/tensor.h"
#include "model/write.h"

#include <stdint.h>

enum { ZOO_NAME = 128 };

struct zoo_builder {
    struct onnx_writer *writer;
    uint64_t seed;
};

struct shape zoo_shape(int rank, const int64_t *dims);
#define ZOO_SHAPE(...)                                                                             \
    zoo_shape((int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__})
#define ZOO_NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

/* An initializer drawn near normal(mean, sd). With row > 1, each run of `row` elements is shifted
 * to sum to zero (but for rounding): a filter that ignores the mean of its input, without which
 * deep stacks of random ReLU layers answer nearly the same to every input. */
void zoo_normal(struct zoo_builder *b, const char *name, struct shape shape, float mean, float sd,
                uint32_t row);
/* "<prefix>.<suffix>" as one more initializer. */
void zoo_parameter(struct zoo_builder *b, const char *prefix, const char *suffix,
                   struct shape shape, float mean, float sd);
void zoo_scalar(struct zoo_builder *b, const char *name, float value);
void zoo_int64s(struct zoo_builder *b, const char *name, const int64_t *values, size_t count);

/* A node whose output has the node's own name. */
void zoo_node(struct zoo_builder *b, const char *op_type, const char *name,
              const char *const *inputs);

struct zoo_conv {
    int64_t in, out, kernel, stride, groups;
};
/* Conv without bias, padded to keep the size at stride 1; output and weights named after `name`. */
void zoo_conv(struct zoo_builder *b, const char *name, const char *input,
              const struct zoo_conv *conv);
/* BatchNormalization that expects its input's variance near `variance` and gives it gain^2. */
void zoo_batch_norm(struct zoo_builder *b, const char *name, const char *input, int64_t channels,
                    float variance, float gain);
/* GlobalAveragePool, Flatten and a Gemm to 1000 classes named `name`, whose output is "logits". */
void zoo_classifier(struct zoo_builder *b, const char *name, const char *input, int64_t channels,
                    float sd);
/* The input "input", N x 3 x 224 x 224, standard normal; the output "logits", N x 1000. */
void zoo_image_interface(struct zoo_builder *b);

#endif
