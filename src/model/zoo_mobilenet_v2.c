/* MobileNetV2 1.0 (Sandler et al. 2018, arXiv 1801.04381). Names are torchvision's parameter names;
 * ReLU6 is a Clip, as exporters write it. */
#include "model/zoo_layers.h"
#include "model/zoo_models.h"

#include <stdio.h>

struct block {
    const char *name; /* "features.1.conv" */
    const char *input;
    int64_t in, out, stride, expand;
    float variance; /* of what the first convolution makes of the input */
};

/* Before ReLU6, GAIN as deviation: about one value in 700 is above 6, so the clip counts. The
 * variances are those a batch norm would have learned: He's filters double the second moment of
 * their input, centred ones its variance. */
static const float GAIN = 2.0f, DEPTHWISE_VARIANCE = 4.0f, PROJECT_VARIANCE = 2.7f;

/* Conv and batch norm named <name>.<conv> and <name>.<bn>; result is the batch norm's name. */
static void conv_bn(struct zoo_builder *b, const char *name, const char *conv, const char *bn,
                    char value[ZOO_NAME], const struct zoo_conv *shape, float variance, float gain)
{
    char conv_name[ZOO_NAME];
    snprintf(conv_name, sizeof conv_name, "%s.%s", name, conv);
    zoo_conv(b, conv_name, value, shape);
    snprintf(value, ZOO_NAME, "%s.%s", name, bn);
    zoo_batch_norm(b, value, conv_name, shape->out, variance, gain);
}

static void relu6(struct zoo_builder *b, char value[ZOO_NAME])
{
    char input[ZOO_NAME];
    snprintf(input, sizeof input, "%s", value);
    snprintf(value, ZOO_NAME, "%.100s.relu6", input);
    zoo_node(b, "Clip", value, ZOO_NAMES(input, "relu6.min", "relu6.max"));
}

static void inverted_residual(struct zoo_builder *b, const struct block *k, char value[ZOO_NAME])
{
    int64_t hidden = k->in * k->expand;
    char input[ZOO_NAME];
    snprintf(input, sizeof input, "%s", value);
    int i = 0;
    char conv[16], bn[16];
    if (k->expand > 1) {
        conv_bn(b, k->name, "0.0", "0.1", value, &(struct zoo_conv){k->in, hidden, 1, 1, 1},
                k->variance, GAIN);
        relu6(b, value);
        i++;
    }
    snprintf(conv, sizeof conv, "%d.0", i);
    snprintf(bn, sizeof bn, "%d.1", i);
    conv_bn(b, k->name, conv, bn, value,
            &(struct zoo_conv){hidden, hidden, 3, k->stride, hidden}, DEPTHWISE_VARIANCE, GAIN);
    relu6(b, value);
    snprintf(conv, sizeof conv, "%d", i + 1);
    snprintf(bn, sizeof bn, "%d", i + 2);
    int adds = k->stride == 1 && k->in == k->out;
    conv_bn(b, k->name, conv, bn, value, &(struct zoo_conv){hidden, k->out, 1, 1, 1},
            PROJECT_VARIANCE, adds ? 0.5f : 1.0f);
    if (!adds)
        return;
    char branch[ZOO_NAME];
    snprintf(branch, sizeof branch, "%s", value);
    snprintf(value, ZOO_NAME, "%s.add", k->name);
    zoo_node(b, "Add", value, ZOO_NAMES(input, branch));
}

int zoo_write_mobilenet_v2(const struct zoo_model *m, void *onnx_writer, struct error *e)
{
    static const struct {
        int64_t expand, out, blocks, stride;
    } stages[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                  {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
    struct zoo_builder b = {onnx_writer, m->seed};
    char value[ZOO_NAME] = "input", name[ZOO_NAME];
    int64_t channels = 32;
    int feature = 1;
    float second_moment = 1.0f; /* of value, which is not rectified */
    (void)e;
    zoo_image_interface(&b);
    zoo_scalar(&b, "relu6.min", 0.0f);
    zoo_scalar(&b, "relu6.max", 6.0f);
    conv_bn(&b, "features.0", "0", "1", value, &(struct zoo_conv){3, 32, 3, 2, 1}, 2.0f, GAIN);
    relu6(&b, value);
    for (size_t s = 0; s < sizeof stages / sizeof *stages; s++)
        for (int64_t i = 0; i < stages[s].blocks; i++) {
            snprintf(name, sizeof name, "features.%d.conv", feature++);
            struct block k = {name, value, channels, stages[s].out, i ? 1 : stages[s].stride,
                              stages[s].expand, 2.0f * second_moment};
            inverted_residual(&b, &k, value);
            channels = k.out;
            second_moment = i ? second_moment + 0.25f : 1.0f; /* each addition brings gain 0.5 */
        }
    conv_bn(&b, "features.18", "0", "1", value, &(struct zoo_conv){channels, 1280, 1, 1, 1},
            2.0f * second_moment, GAIN);
    relu6(&b, value);
    zoo_classifier(&b, "classifier.1", value, 1280, 0.05f);
    return 0;
}
