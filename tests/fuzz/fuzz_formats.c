/* A model file that only its runtime reads: what it is, and whether it computes with few bits. */
#include "fuzz.h"

#include "model/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const formats[] = {"ir", "tflite", "tfgraph"};
    const char *path = fuzz_path("model"), *format;
    struct error e = {0};
    fuzz_write(path, data, size);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        format_is_quantised(path, formats[i]);
    fuzz_check_error(format_of_torch(path, &format, &e), e.text);
    return 0;
}
