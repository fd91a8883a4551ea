/* A container of PyTorch's (.pt2, .pt), as far as it is looked into before PyTorch itself is asked. */
#include "fuzz.h"

#include "model/format.h"
#include "runtime/prepare.h"
#include "runtime/pt_package.h"

static void extract(const struct pt_package *package, int64_t index)
{
    struct error e = {0};
    int fd;
    uint64_t bytes;
    if (index < 0)
        return;
    int code = pt_package_extract(package, index, &fd, &bytes, &e);
    fuzz_check_error(code, e.text);
    if (!code)
        close(fd);
}

static void look_into(const struct pt_package *package, const char *path)
{
    struct pt_members members;
    struct error e = {0};
    json_t *metadata = NULL;
    int code = pt_package_members(package, path, &members, &e);
    fuzz_check_error(code, e.text);
    if (code)
        return;
    extract(package, members.program);
    extract(package, members.weights);
    if (members.metadata >= 0)
        fuzz_check_error(pt_package_json(package, members.metadata, &metadata, &e), e.text);
    json_decref(metadata);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_path("model.pt2"), *format;
    struct pt_package package;
    struct error e = {0};
    fuzz_write(path, data, size);
    fuzz_check_error(format_of_torch(path, &format, &e), e.text);
    prepare_batch(path);
    fuzz_check_error(pt_package_verify(path, &e), e.text);
    int code = pt_package_open(&package, path, &e);
    fuzz_check_error(code, e.text);
    if (!code)
        look_into(&package, path);
    pt_package_close(&package);
    return 0;
}
