/* convert.h: whether a converted model computes what it was made of. Private to this folder. */
#ifndef WATTLE_CMD_CONVERT_H
#define WATTLE_CMD_CONVERT_H

#include "cmd/request.h"

#include <jansson.h>

/* One output over all sets of inputs, relative to its scale as in measure_agree. */
struct compared_output {
    char name[128], shape[128]; /* of the first set */
    double max_error, mean_error;
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
