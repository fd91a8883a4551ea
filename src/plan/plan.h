/* plan.h: from what the user asked to a seeded, interleaved list of blocks. */
#ifndef WATTLE_PLAN_PLAN_H
#define WATTLE_PLAN_PLAN_H

#include "base/error.h"

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

enum { PLAN_DIM_MAX = 16, PLAN_NAME_MAX = 64, PLAN_CELL_MAX = 4096 };

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
    char variant[32];            /* of the installation: "openvino" of onnxruntime-openvino; "" */
    char version[32];            /* of the installation that was chosen */
    char library[PATH_MAX];      /* of it; "" when built in */
    char provider[PLAN_NAME_MAX];
    char provider_library[PATH_MAX]; /* plug-in provider to register; "" */
    int require_provider;        /* nodes on another provider are an error */
    char precision[16];
    char spin[16];
    int64_t batch;
    int threads, instances;
    struct plan_dim dims[PLAN_DIM_MAX]; /* the user's --dim; the batch is not among them */
    size_t dim_count;
    char options[512];           /* provider options as a JSON object, "{}" when none */
    char shapes[512];            /* the user's --shape: JSON object NAME -> [sizes], "{}" when none */
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
