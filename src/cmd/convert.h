/* convert.h: where a converted model goes, and whether it computes what it was made of. Private to
 * this folder. */
#ifndef WATTLE_CMD_CONVERT_H
#define WATTLE_CMD_CONVERT_H

#include "cmd/request.h"

#include <jansson.h>
#include <limits.h>

#define CONVERT_DATA_ENDING ".data"

/* convert_output.c */
struct convert_output {
    char path[PATH_MAX];   /* where the file will be */
    char folder[PATH_MAX]; /* hidden, beside it: all is made there; "" */
    char made[PATH_MAX];   /* the file in it */
    int force;             /* what is there may be replaced */
};

/* Before minutes are spent: the name is free (with has_data that of the weights too) and not that
 * of the model, and the folder can be written to, for a folder is made in it. */
int convert_output_prepare(struct convert_output *o, const char *output, const char *model,
                           int has_data, struct error *e);

/* Renames what was made; data is the name of the weights' file in the folder, or "". */
int convert_output_commit(const struct convert_output *o, const char *data, struct error *e);

/* FILE.data */
int convert_output_data(const struct convert_output *o, char path[PATH_MAX], struct error *e);

/* convert_compare.c */
/* One output over all sets of inputs, relative to its scale as in measure_agree. */
struct compared_output {
    char name[128], shape[128]; /* of the first set */
    double max_error, mean_error;
    size_t count, odd_count;     /* numbers, and those that are NaN or infinite on both sides */
};

struct comparison {
    struct compared_output outputs[RECORD_OUTPUT_MAX];
    size_t output_count;
    size_t set_count;
    char runtime[128]; /* that ran the ONNX file */
    double max_error;
};

/* Runs the ONNX file on the inputs of cases (of tools/python/convert.py) with onnxruntime, or with
 * the built-in engine where that is not there or cannot, and compares with the outputs that PyTorch
 * gave. ERROR_MISMATCH beyond tolerance. */
int convert_compare(const struct request *r, const char *onnx, json_t *cases, double tolerance,
                    struct comparison *out, struct error *e);

#endif
