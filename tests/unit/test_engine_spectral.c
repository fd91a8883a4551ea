/* Transforms beyond what ONNX's own node tests hold: there and back, frames against single
 * transforms, and lengths that a file must not get away with. RoiAlign on impossible data. */
#include "engine_model.h"

enum { LENGTH = 300 }; /* more than one block of the loops, and no power of two */

static void samples(float *x, int n)
{
    for (int i = 0; i < n; i++)
        x[i] = sinf((float)i * 0.37f) + 0.25f * cosf((float)(i * i) * 0.01f);
}

/* The inverse gives back what was transformed, along an axis that is not the last. */
static void test_there_and_back(void **state)
{
    (void)state;
    float x[LENGTH * 4];
    struct model_builder *b = model_new(20);
    samples(x, LENGTH * 4);
    model_input(b, "x", DTYPE_F32, 3, LENGTH, 2, 2);
    model_long(b, "axis", 0);
    model_node(b, "DFT", "x - axis", "t");
    model_node(b, "DFT", "t - axis", "y");
    model_int(b, "inverse", 1);
    model_output(b, "y");
    model_near(b, x, LENGTH * 4, x, 1e-4f);
}

/* One side of a padded transform is the first half of the whole; frames are transforms. */
static void test_frames(void **state)
{
    (void)state;
    enum { FRAME = 260, STEP = 20, FRAMES = 3, BINS = FRAME / 2 + 1 };
    float x[LENGTH], zeros[FRAMES * BINS * 2] = {0};
    struct model_builder *b = model_new(17);
    samples(x, LENGTH);
    model_input(b, "x", DTYPE_F32, 2, 1, LENGTH);
    model_longs(b, "step", 1, STEP);
    model_longs(b, "size", 1, FRAME);
    model_node(b, "HannWindow", "size", "window");
    model_node(b, "STFT", "x step window", "y");
    model_longs(b, "one", 1, 1);
    model_longs(b, "shape", 3, 1, FRAME, 1);
    for (int i = 0; i < FRAMES; i++) {
        model_longs(b, model_text(b, "from%d", i), 1, i * STEP);
        model_longs(b, model_text(b, "to%d", i), 1, i * STEP + FRAME);
        model_node(b, "Slice", model_text(b, "x from%d to%d one", i, i), model_text(b, "f%d", i));
        model_node(b, "Mul", model_text(b, "f%d window", i), model_text(b, "p%d", i));
        model_node(b, "Reshape", model_text(b, "p%d shape", i), model_text(b, "t%d", i));
        model_node(b, "DFT", model_text(b, "t%d", i), model_text(b, "d%d", i));
        model_int(b, "onesided", 1);
    }
    model_node(b, "Concat", "d0 d1 d2", "all");
    model_int(b, "axis", 0);
    model_longs(b, "like", 4, 1, FRAMES, BINS, 2);
    model_node(b, "Reshape", "all like", "want");
    model_node(b, "Sub", "y want", "difference");
    model_output(b, "difference");
    model_near(b, x, FRAMES * BINS * 2, zeros, 1e-4f);
}

static void test_bad_lengths(void **state)
{
    (void)state;
    struct model_builder *b = model_x(17, 3, 1, 8, 1);
    int64_t *n = model_longs(b, "n", 1, 1 << 30);
    model_node(b, "DFT", "x n", "y");
    model_output(b, "y");
    model_refused(b, ERROR_UNSUPPORTED, "takes too much memory or time");
    *n = 0;
    model_refused(b, ERROR_FORMAT, "a transform of length 0");
    *n = INT64_MIN;
    model_refused(b, ERROR_FORMAT, "a transform of length -9223372036854775808");
    *n = 8;
    model_int(b, "axis", 2);
    model_refused(b, ERROR_FORMAT, "the one of the parts of a number");
    b->nodes[0].attribute_count = 0;
    model_int(b, "inverse", 1);
    model_int(b, "onesided", 1);
    model_refused(b, ERROR_UNSUPPORTED, "an inverse transform of one side");
    b->nodes[0].attribute_count = 0;
    b->nodes[0].op_type = "STFT";
    *n = 0;
    model_refused(b, ERROR_FORMAT, "frames of 8 samples every");
    *n = 9;
    model_reads(b, "y", "x n - n");
    model_refused(b, ERROR_FORMAT, "frames of 9 samples every 9 of a signal of 8");
    *n = -1;
    model_reads(b, "y", "n")->op_type = "HannWindow";
    model_refused(b, ERROR_FORMAT, "a window of size -1");
    *n = INT64_MAX;
    model_refused(b, ERROR_MEMORY, "memory limit");
}

/* ---- RoiAlign ---- */

static struct model_builder *roi_model(const float roi[4], int64_t image)
{
    struct model_builder *b = model_x(16, 4, 1, 1, 2, 2);
    model_constant(b, "roi", DTYPE_F32, &(struct shape){2, {1, 4}}, roi);
    model_constant(b, "image", DTYPE_I64, &(struct shape){1, {1}}, &image);
    model_node(b, "RoiAlign", "x roi image", "y");
    model_output(b, "y");
    return b;
}

static void roi_refused(const float roi[4], int64_t image, const char *text)
{
    const float x[4] = {1, 2, 3, 4};
    model_run_refused(roi_model(roi, image), x, ERROR_FORMAT, text);
}

static void test_regions(void **state)
{
    (void)state;
    const float x[4] = {1, 2, 3, 4};
    struct model_builder *b = roi_model((const float[]){0, 0, 2, 2}, 0);
    model_gives(b, x, 1, (const float[]){2.5f});
    model_int(b, "sampling_ratio", 1 << 30);
    model_refused(b, ERROR_FORMAT, "from 1073741824 samples across");
    b->nodes[0].attribute_count = 0;
    model_int(b, "output_height", INT64_MAX);
    model_refused(b, ERROR_FORMAT, "outputs of 9223372036854775807x1");
    b = roi_model((const float[]){NAN, 0, 2, 2}, 0);
    model_gives(b, x, 1, (const float[]){0});
    roi_refused((const float[]){0, 0, 2, 2}, 1, "region 0 is of image 1; there are 1");
    roi_refused((const float[]){0, 0, 2, 2}, -1, "region 0 is of image -1");
    roi_refused((const float[]){0, 0, 2, 1e9f}, 0, "more than 1024 times as large");
    roi_refused((const float[]){0, 0, INFINITY, 2}, 0, "more than 1024 times as large");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_there_and_back), cmocka_unit_test(test_frames),
    cmocka_unit_test(test_bad_lengths),    cmocka_unit_test(test_regions),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, models_free);
}
