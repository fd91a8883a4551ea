/* data.h: tensors out of files, for what a model is fed and what it is expected to give: NumPy's
 * .npy and .npz, an ONNX TensorProto (.pb), or a folder of such. Nothing here trusts a file.
 */
#ifndef WATTLE_MODEL_DATA_H
#define WATTLE_MODEL_DATA_H

#include "base/error.h"
#include "model/tensor.h"

enum { DATA_ITEM_MAX = 256, DATA_NAME_MAX = 128 };
#define DATA_BYTES_MAX ((size_t)4 << 30) /* of all tensors of one list */

struct data_item {
    char name[DATA_NAME_MAX]; /* "" when the file tells none */
    int strict;               /* the name must be that of an input; else the position decides */
    size_t position;          /* among the inputs */
    struct tensor tensor;     /* owned; row-major, bool is 0 or 1 */
};

struct data {
    struct data_item *items;
    size_t count;
    size_t bytes;
};

/* Appends what "[NAME=]PATH" holds. A folder's files are ROLE_0.pb, ROLE_1.pb, ... ("input",
 * "output": ONNX test data), or else NAME.npy each. An .npz member is named as its key; keys arr_0,
 * arr_1, ... are positions. On failure *d is as it was, to be released in any case. Errors name the
 * file: ERROR_FORMAT, ERROR_UNSUPPORTED (big-endian, column-major, strings, other types),
 * ERROR_MEMORY beyond DATA_BYTES_MAX, ERROR_USAGE for what is none of these files. */
int data_read(struct data *d, const char *text, const char *role, struct error *e);
void data_release(struct data *d); /* {0} is fine */

/* The item for the input `name`, which is number `position`; NULL when there is none. */
const struct data_item *data_find(const struct data *d, const char *name, size_t position);

/* npy.c: type, shape and where the elements begin in the bytes of an .npy file, which must end with
 * its last element. */
int npy_parse(const uint8_t *bytes, size_t size, struct tensor *out, size_t *begin,
              struct error *e);

#endif
