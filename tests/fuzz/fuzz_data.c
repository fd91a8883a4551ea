/* A file of --input: .npy, .npz or .pb, whichever its first bytes say. */
#include "fuzz.h"

#include "model/data.h"

static const char *path_for(const uint8_t *data, size_t size)
{
    if (size >= 2 && !memcmp(data, "PK", 2))
        return fuzz_path("x.npz");
    return size >= 1 && data[0] == 0x93 ? fuzz_path("x.npy") : fuzz_path("x.pb");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct data list = {0};
    struct error e = {0};
    const char *path = path_for(data, size);
    fuzz_write(path, data, size);
    int code = data_read(&list, path, "input", &e);
    fuzz_check_error(code, e.text);
    for (size_t i = 0; i < list.count; i++) {
        const struct tensor *t = &list.items[i].tensor;
        fuzz_touch(t->data, (size_t)shape_bytes(&t->shape, t->type));
        data_find(&list, list.items[i].name, i);
    }
    data_release(&list);
    return 0;
}
