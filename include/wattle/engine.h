/* wattle/engine.h: run an ONNX model on this machine's CPU, fast and without spinning.
 *
 * The shortest useful program:
 *
 *     #include <wattle/engine.h>
 *     #include <stdio.h>
 *
 *     int main(int argc, char **argv)
 *     {
 *         struct wattle_engine *engine;
 *         char error[WATTLE_ERROR_MAX];
 *         if (argc < 2 || wattle_engine_load(argv[1], NULL, &engine, error))
 *             return fprintf(stderr, "%s\n", argc < 2 ? "usage: shortest MODEL.onnx" : error), 1;
 *         float *input = wattle_engine_input_data(engine, 0);
 *         for (size_t i = 0; i < wattle_engine_input(engine, 0)->bytes / sizeof *input; i++)
 *             input[i] = 0.5f;
 *         if (wattle_engine_run(engine, error))
 *             return fprintf(stderr, "%s\n", error), 1;
 *         const float *output = wattle_engine_output_data(engine, 0);
 *         printf("%s[0] = %g\n", wattle_engine_output(engine, 0)->name, (double)output[0]);
 *         wattle_engine_free(engine);
 *         return 0;
 *     }
 *
 *     cc shortest.c -lwattle-engine -fopenmp -ldnnl -lprotobuf-c -lcrypto -lm
 *
 * Shapes are fixed when the model is loaded: that is what lets the engine fold constants, plan one
 * arena and choose kernels. Load again for another batch. An engine is used by one thread at a
 * time; different engines are independent. Errors are text in the caller's buffer: what failed,
 * where in the file, why; nothing is printed and the process is never ended.
 */
#ifndef WATTLE_ENGINE_H
#define WATTLE_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef WATTLE_ERROR_MAX
#define WATTLE_ERROR_MAX 512
#endif

struct wattle_engine;

/* A size for a symbolic dimension of the model's inputs, e.g. {"N", 8}. */
struct wattle_dim {
    const char *symbol;
    int64_t value;
};

/* Zero, and a NULL pointer for the whole struct, mean the default. */
struct wattle_engine_options {
    size_t size;             /* sizeof(struct wattle_engine_options): later versions append */
    int threads;             /* OpenMP threads for each operator; default 1 */
    const char *provider;    /* "cpu" (oneDNN and own kernels, default) or "reference" (plain C,
                                no fusion: slow, for checking) */
    const struct wattle_dim *dims;
    size_t dim_count;        /* a symbol without a size is 1 */
    uint64_t memory_limit_bytes; /* of arena and packed weights; default: half of physical memory */
    int flags;               /* enum wattle_engine_flag */
};

enum wattle_engine_flag {
    WATTLE_ENGINE_NO_TUNING = 1, /* take what is usually fastest instead of timing alternatives */
};

struct wattle_tensor_info {
    const char *name;
    int type;         /* ONNX TensorProto.DataType: 1 float32, 7 int64, ... */
    int rank;
    int64_t dims[8];
    size_t bytes;
};

/* What was really chosen. */
struct wattle_engine_info {
    const char *provider;      /* "cpu" or "reference" */
    const char *kernels;       /* "oneDNN 2.6.3 (avx2)" */
    int threads;
    size_t nodes_in_file;
    size_t steps;              /* kernels executed by one run, after fusion */
    size_t steps_reference;    /* of those, by plain-C reference kernels */
    size_t reorders;           /* of those, layout changes */
    int64_t macs;              /* multiply-adds of convolutions and matrix products in one run */
    size_t arena_bytes;        /* activations and scratch, one block */
    size_t weight_bytes;       /* packed copies beside the mapped file */
};

/* Loads the file at path. On success *out is the caller's, to be given to wattle_engine_free; on
 * failure it is NULL, error holds one line, and a positive code (src/base/error.h) is returned.
 * Takes about 0.1 to 0.5 s; *error may be NULL. */
int wattle_engine_load(const char *path, const struct wattle_engine_options *options,
                       struct wattle_engine **out, char *error);
void wattle_engine_free(struct wattle_engine *engine); /* NULL is fine */

size_t wattle_engine_input_count(const struct wattle_engine *engine);
size_t wattle_engine_output_count(const struct wattle_engine *engine);
/* Owned by the engine, as are the strings in it; NULL when index is out of range. */
const struct wattle_tensor_info *wattle_engine_input(const struct wattle_engine *engine,
                                                     size_t index);
const struct wattle_tensor_info *wattle_engine_output(const struct wattle_engine *engine,
                                                      size_t index);

/* The engine's own buffers, 64-byte aligned, valid until free. Outputs hold the last run's
 * result. */
void *wattle_engine_input_data(struct wattle_engine *engine, size_t index);
const void *wattle_engine_output_data(const struct wattle_engine *engine, size_t index);

/* Reads input `index` from the caller's memory instead (no copy; at least .bytes, kept valid and
 * unchanged during runs); NULL returns to the engine's own buffer. Cheap: may be called before
 * every run. Data aligned to 64 bytes is fastest. */
int wattle_engine_bind_input(struct wattle_engine *engine, size_t index, const void *data,
                             char *error);

/* One inference, synchronous: outputs are complete when it returns. The engine neither allocates
 * nor does I/O (oneDNN 2.x makes a few small allocations for each of its kernels and frees them at
 * once). Indices out of range in the data (Gather) are an error, not a crash. */
int wattle_engine_run(struct wattle_engine *engine, char *error);

void wattle_engine_info(const struct wattle_engine *engine, struct wattle_engine_info *info);

/* For profiling, never inside an energy window: runs once and times every step. */
struct wattle_step_time {
    const char *node;   /* the file's name of the (first) node this step came from */
    const char *op;     /* "Conv+Add+Relu" */
    const char *kernel; /* "brgconv:avx2", "jit_wino", "reference" */
    uint64_t ns;
    int64_t macs;
};
/* Fills up to capacity entries; *count is the number of steps. */
int wattle_engine_profile(struct wattle_engine *engine, struct wattle_step_time *times,
                          size_t capacity, size_t *count, char *error);

#ifdef __cplusplus
}
#endif
#endif
