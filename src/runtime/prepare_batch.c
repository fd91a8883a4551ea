/* prepare_batch.c: the batch that a model of PyTorch was made for, where the file tells it. */
#include "runtime/prepare.h"

#include "base/text.h"
#include "runtime/pt_package.h"

/* The first size of the first input that has one. */
static int64_t first_size(json_t *description)
{
    size_t i;
    json_t *input;
    json_array_foreach(json_object_get(description, "inputs"), i, input) {
        json_t *size = json_array_get(json_object_get(input, "shape"), 0);
        if (json_is_integer(size))
            return json_integer_value(size) > 0 ? json_integer_value(size) : 0;
    }
    return 0;
}

static int64_t batch_of_description(const char *path)
{
    json_t *description = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    int64_t batch = first_size(description);
    json_decref(description);
    return batch;
}

int64_t prepare_batch(const char *path)
{
    struct pt_package package = {0};
    struct error e = {0};
    if (text_ends(path, ".json"))
        return batch_of_description(path);
    int64_t batch = pt_package_open(&package, path, &e) ? 0 : first_size(package.description);
    pt_package_close(&package);
    return batch;
}
