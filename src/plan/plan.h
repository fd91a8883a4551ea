/* plan.h: from what the user asked to a seeded, interleaved list of blocks. */
#ifndef WATTLE_PLAN_PLAN_H
#define WATTLE_PLAN_PLAN_H

#include "base/error.h"

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

enum { PLAN_DIM_MAX = 64, PLAN_NAME_MAX = 64, PLAN_CELL_MAX = 4096,
       PLAN_COMMAND_MAX = 1024, PLAN_SHAPES_MAX = 16384 };

struct plan_dim {
    char symbol[PLAN_NAME_MAX];
    int64_t value;
};

/* One model x runtime x provider x devices x batch x threads x instances x precision. */
struct cell {
    char model[PLAN_NAME_MAX];   /* "resnet50", or the file's name without folder and ".onnx" */
    char path[PATH_MAX];
    char format[16];             /* "onnx" */
    char runtime[PLAN_NAME_MAX]; /* "builtin" */
    char variant[32];            /* "openvino" of onnxruntime-openvino, "aoti" of pytorch; "" */
    char version[32];            /* of the installation that was chosen */
    char library[PATH_MAX];      /* of it; "" when built in */
    char command[PLAN_COMMAND_MAX]; /* of --worker: then the runtime is "worker"; "" */
    char provider[PLAN_NAME_MAX];
    char devices[64];            /* ids of the provider's devices, joined by '+': "0+1"; "" */
    char provider_library[PATH_MAX]; /* plug-in provider to register; "" */
    int require_provider;        /* nodes on another provider are an error */
    char precision[16];          /* "f32"; "quantised" when operators or weights of the file are (the
                                    rest is f32), "unknown" when that cannot be told */
    char spin[16];
    int64_t batch;               /* 0: left to the file, until measure_check has read it
                                    or, of PyTorch's formats, it is prepared */
    int threads, instances;
    struct plan_dim dims[PLAN_DIM_MAX]; /* the user's --dim */
    size_t dim_count;
    char options[512];           /* provider options as a JSON object, "{}" when none */
    char shapes[PLAN_SHAPES_MAX]; /* the user's --shape, "{}" when none: JSON object of NAME ->
                                    [sizes] or, with a type, {"type":"int64","dims":[sizes]} */
    char form[16];               /* "native": the network in the runtime's own idiom, same weights;
                                    "converted": made from the file by a converter; "": the file */
    char artifact[PATH_MAX];     /* what is loaded in place of path (runtime/prepare.h); "" */
    char how[256];               /* it was made: converters and versions; "" */
    uint64_t gap_ns;             /* the worker sleeps this long between two requests */
};

struct plan_block {
    size_t cell;   /* index into cells */
    int number;    /* 1.. of that cell */
};

/* blocks[] visits every cell once per round; each round is a fresh seeded permutation, so that
 * drift of the machine falls on all cells alike. */
struct plan {
    struct cell *cells;
    size_t cell_count;
    struct plan_block *blocks;
    size_t block_count;
    uint64_t seed;
};

/* Takes ownership of cells (malloc'd) on success. */
int plan_make(struct plan *p, struct cell *cells, size_t cell_count, int blocks, uint64_t seed,
              struct error *e);
void plan_release(struct plan *p);

#endif
