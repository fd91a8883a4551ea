/* A pickle out of a container of PyTorch's, by itself: within one, a wrong checksum would hide it. */
#include "fuzz.h"

#include "runtime/pt_pickle.h"

static int take(void *target, const char *key, uint64_t bytes, struct error *e)
{
    (void)e;
    *(uint64_t *)target += bytes;
    fuzz_touch(key, strlen(key));
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error e = {0};
    uint64_t sum = 0;
    fuzz_check_error(pt_pickle_claims(data, size, take, &sum, &e), e.text);
    return 0;
}
