#include "model/zoo_layers.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Standard deviation of the sum of four uniform 16-bit integers: sqrt((2^32 - 1) / 3). */
#define UNIT 37837.0f

struct shape zoo_shape(int rank, const int64_t *dims)
{
    struct shape s = {.rank = rank};
    memcpy(s.dims, dims, (size_t)rank * sizeof *dims);
    return s;
}

struct normal {
    uint64_t key;
    float scale;
    int32_t offset; /* the mean in units of scale: added while still an integer, so exactly */
    uint32_t row;
};

/* splitmix64's mixing function on a Weyl sequence: any element without those before it. */
static inline uint64_t draw(uint64_t key, uint64_t i)
{
    uint64_t x = key + i * 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static inline int32_t draw_normal(uint64_t key, uint64_t i)
{
    uint64_t x = draw(key, i);
    uint32_t sum = (uint32_t)(x & 0xffff) + (uint32_t)(x >> 16 & 0xffff) +
                   (uint32_t)(x >> 32 & 0xffff) + (uint32_t)(x >> 48);
    return (int32_t)sum - 2 * 0xffff;
}

static void fill_plain(const struct normal *n, uint64_t first, size_t count, int32_t shift,
                       float *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (float)(draw_normal(n->key, first + i) + shift) * n->scale;
}

static int32_t row_mean(const struct normal *n, uint64_t row)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < n->row; i++)
        sum += draw_normal(n->key, row * n->row + i);
    return (int32_t)(sum / (int64_t)n->row);
}

static void fill_normal(const void *context, uint64_t first, size_t count, void *out)
{
    const struct normal *n = context;
    float *to = out;
    while (n->row > 1 && count) {
        uint64_t row = first / n->row, left = (row + 1) * n->row - first;
        size_t take = count < left ? count : (size_t)left;
        fill_plain(n, first, take, n->offset - row_mean(n, row), to);
        first += take;
        to += take;
        count -= take;
    }
    fill_plain(n, first, count, n->offset, to);
}

/* FNV-1a, so that the numbers of an initializer do not depend on where in the file it comes. */
static uint64_t key_of(uint64_t seed, const char *name)
{
    uint64_t h = 0xcbf29ce484222325u ^ draw(seed, 1);
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 0x100000001b3u;
    return draw(h, 1);
}

void zoo_normal(struct zoo_builder *b, const char *name, struct shape shape, float mean, float sd,
                uint32_t row)
{
    struct normal n = {.key = key_of(b->seed, name), .scale = sd / UNIT, .row = row};
    if (sd > 0)
        n.offset = (int32_t)(mean / n.scale);
    onnx_writer_initializer(b->writer, name, DTYPE_F32, &shape, fill_normal, &n, sizeof n);
}

void zoo_parameter(struct zoo_builder *b, const char *prefix, const char *suffix,
                   struct shape shape, float mean, float sd)
{
    char name[ZOO_NAME];
    snprintf(name, sizeof name, "%s.%s", prefix, suffix);
    zoo_normal(b, name, shape, mean, sd, 0);
}

void zoo_scalar(struct zoo_builder *b, const char *name, float value)
{
    onnx_writer_constant(b->writer, name, DTYPE_F32, &(struct shape){0}, &value);
}

void zoo_int64s(struct zoo_builder *b, const char *name, const int64_t *values, size_t count)
{
    struct shape shape = ZOO_SHAPE((int64_t)count);
    onnx_writer_constant(b->writer, name, DTYPE_I64, &shape, values);
}

void zoo_node(struct zoo_builder *b, const char *op_type, const char *name,
              const char *const *inputs)
{
    onnx_writer_node(b->writer, op_type, name, inputs, name);
}

static void ints(struct zoo_builder *b, const char *attribute, int64_t value, size_t count)
{
    int64_t values[4] = {value, value, value, value};
    onnx_writer_ints(b->writer, attribute, values, count);
}

/* He's variance: after ReLU halves the second moment, the next layer doubles it. */
static float conv_sd(const struct zoo_conv *conv)
{
    float fan_in = (float)(conv->in / conv->groups * conv->kernel * conv->kernel);
    return sqrtf(2.0f / fan_in);
}

void zoo_conv(struct zoo_builder *b, const char *name, const char *input,
              const struct zoo_conv *conv)
{
    char weight[ZOO_NAME];
    int64_t group_in = conv->in / conv->groups;
    snprintf(weight, sizeof weight, "%s.weight", name);
    zoo_node(b, "Conv", name, ZOO_NAMES(input, weight));
    ints(b, "dilations", 1, 2);
    onnx_writer_int(b->writer, "group", conv->groups);
    ints(b, "kernel_shape", conv->kernel, 2);
    ints(b, "pads", conv->kernel / 2, 4);
    ints(b, "strides", conv->stride, 2);
    /* A depthwise filter has no other channels to balance against: centred, it would only see
     * edges. */
    uint32_t row = group_in > 1 ? (uint32_t)(group_in * conv->kernel * conv->kernel) : 0;
    zoo_normal(b, weight, ZOO_SHAPE(conv->out, group_in, conv->kernel, conv->kernel), 0.0f,
               conv_sd(conv), row);
}

void zoo_batch_norm(struct zoo_builder *b, const char *name, const char *input, int64_t channels,
                    float variance, float gain)
{
    static const char *const suffixes[] = {"weight", "bias", "running_mean", "running_var"};
    char names[4][ZOO_NAME];
    struct shape shape = ZOO_SHAPE(channels);
    for (int i = 0; i < 4; i++)
        snprintf(names[i], sizeof names[i], "%s.%s", name, suffixes[i]);
    zoo_node(b, "BatchNormalization", name,
             ZOO_NAMES(input, names[0], names[1], names[2], names[3]));
    onnx_writer_float(b->writer, "epsilon", 1e-5f);
    onnx_writer_float(b->writer, "momentum", 0.9f);
    onnx_writer_int(b->writer, "training_mode", 0);
    zoo_normal(b, names[0], shape, gain, 0.1f * gain, 0);
    zoo_normal(b, names[1], shape, 0.0f, 0.1f, 0);
    zoo_normal(b, names[2], shape, 0.0f, 0.1f, 0);
    zoo_normal(b, names[3], shape, variance, 0.2f * variance, 0);
}

void zoo_classifier(struct zoo_builder *b, const char *name, const char *input, int64_t channels,
                    float sd)
{
    char weight[ZOO_NAME], bias[ZOO_NAME];
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    zoo_node(b, "GlobalAveragePool", "avgpool", ZOO_NAMES(input));
    zoo_node(b, "Flatten", "flatten", ZOO_NAMES("avgpool"));
    onnx_writer_int(b->writer, "axis", 1);
    onnx_writer_node(b->writer, "Gemm", name, ZOO_NAMES("flatten", weight, bias), "logits");
    onnx_writer_float(b->writer, "alpha", 1.0f);
    onnx_writer_float(b->writer, "beta", 1.0f);
    onnx_writer_int(b->writer, "transB", 1);
    zoo_normal(b, weight, ZOO_SHAPE(1000, channels), 0.0f, sd, (uint32_t)channels);
    zoo_normal(b, bias, ZOO_SHAPE(1000), 0.0f, 0.02f, 0);
}

void zoo_image_interface(struct zoo_builder *b)
{
    onnx_writer_input(b->writer, "input", DTYPE_F32, ZOO_NAMES("N", "3", "224", "224"));
    onnx_writer_output(b->writer, "logits", DTYPE_F32, ZOO_NAMES("N", "1000"));
    onnx_writer_metadata(b->writer, "wattle.input.input", "normal 0 1");
}
