/* ResNet-50 v1.5 (He et al. 2015, arXiv 1512.03385; the stride sits in the 3x3 convolution, as in
 * torchvision). Names are torchvision's parameter names. */
#include "model/zoo_layers.h"
#include "model/zoo_models.h"

#include <stdio.h>

struct block {
    const char *name; /* "layer1.0" */
    const char *input;
    int64_t in, width, out, stride;
    float variance; /* of the input's deviation from its mean, which batch norms are told */
};

static const char *join(char out[ZOO_NAME], const char *prefix, const char *suffix)
{
    snprintf(out, ZOO_NAME, "%s.%s", prefix, suffix);
    return out;
}

static void conv_bn(struct zoo_builder *b, const char *conv_name, const char *bn_name,
                    const char *input, const struct zoo_conv *conv, float variance, float gain)
{
    zoo_conv(b, conv_name, input, conv);
    zoo_batch_norm(b, bn_name, conv_name, conv->out, variance, gain);
}

/* Writes conv<i>, bn<i> and, but for the last, relu<i> of a block; result is the last name. */
static void step(struct zoo_builder *b, const struct block *k, int i, char name[ZOO_NAME],
                 const struct zoo_conv *conv, float variance, float gain)
{
    char conv_name[ZOO_NAME], bn_name[ZOO_NAME], input[ZOO_NAME];
    snprintf(input, sizeof input, "%s", name);
    snprintf(conv_name, sizeof conv_name, "%s.conv%d", k->name, i);
    snprintf(bn_name, sizeof bn_name, "%s.bn%d", k->name, i);
    conv_bn(b, conv_name, bn_name, input, conv, variance, gain);
    snprintf(name, ZOO_NAME, "%s", bn_name);
    if (i == 3)
        return;
    snprintf(name, ZOO_NAME, "%s.relu%d", k->name, i);
    zoo_node(b, "Relu", name, ZOO_NAMES(bn_name));
}

/* The identity branch; a 1x1 convolution where size or channels change. */
static void shortcut(struct zoo_builder *b, const struct block *k, char name[ZOO_NAME])
{
    char conv_name[ZOO_NAME];
    snprintf(name, ZOO_NAME, "%s", k->input);
    if (k->in == k->out)
        return;
    join(conv_name, k->name, "downsample.0");
    join(name, k->name, "downsample.1");
    conv_bn(b, conv_name, name, k->input,
            &(struct zoo_conv){k->in, k->out, 1, k->stride, 1}, k->variance, 1.0f);
}

static void bottleneck(struct zoo_builder *b, const struct block *k, char out[ZOO_NAME])
{
    char branch[ZOO_NAME], identity[ZOO_NAME], sum[ZOO_NAME];
    snprintf(branch, sizeof branch, "%s", k->input);
    step(b, k, 1, branch, &(struct zoo_conv){k->in, k->width, 1, 1, 1}, k->variance, 1.0f);
    step(b, k, 2, branch, &(struct zoo_conv){k->width, k->width, 3, k->stride, 1}, 0.7f, 1.0f);
    step(b, k, 3, branch, &(struct zoo_conv){k->width, k->out, 1, 1, 1}, 0.7f, 0.4f);
    shortcut(b, k, identity);
    zoo_node(b, "Add", join(sum, k->name, "add"), ZOO_NAMES(branch, identity));
    zoo_node(b, "Relu", join(out, k->name, "relu3"), ZOO_NAMES(sum));
}

static void stem(struct zoo_builder *b)
{
    conv_bn(b, "conv1", "bn1", "input", &(struct zoo_conv){3, 64, 7, 2, 1}, 2.0f, 1.0f);
    zoo_node(b, "Relu", "relu", ZOO_NAMES("bn1"));
    zoo_node(b, "MaxPool", "maxpool", ZOO_NAMES("relu"));
    onnx_writer_int(b->writer, "ceil_mode", 0);
    onnx_writer_ints(b->writer, "kernel_shape", (const int64_t[]){3, 3}, 2);
    onnx_writer_ints(b->writer, "pads", (const int64_t[]){1, 1, 1, 1}, 4);
    onnx_writer_ints(b->writer, "strides", (const int64_t[]){2, 2}, 2);
}

int zoo_write_resnet50(const struct zoo_model *m, void *onnx_writer, struct error *e)
{
    static const struct {
        int64_t width, blocks, stride;
    } stages[] = {{64, 3, 1}, {128, 4, 2}, {256, 6, 2}, {512, 3, 2}};
    struct zoo_builder b = {onnx_writer, m->seed};
    char value[ZOO_NAME] = "maxpool", next[ZOO_NAME], name[ZOO_NAME];
    int64_t channels = 64;
    (void)e;
    zoo_image_interface(&b);
    stem(&b);
    for (int s = 0; s < 4; s++)
        for (int64_t i = 0; i < stages[s].blocks; i++) {
            snprintf(name, sizeof name, "layer%d.%d", s + 1, (int)i);
            struct block k = {name, value, channels, stages[s].width, 4 * stages[s].width,
                              i ? 1 : stages[s].stride, 1.0f + (float)i * 0.15625f}; /* exact */
            bottleneck(&b, &k, next);
            snprintf(value, sizeof value, "%s", next);
            channels = k.out;
        }
    zoo_classifier(&b, "fc", value, channels, 0.08f);
    return 0;
}
