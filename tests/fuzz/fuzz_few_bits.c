/* Files that only their runtime reads, as far as they are looked through for numbers of few bits. */
#include "fuzz.h"

#include "model/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const formats[] = {"ir", "tflite", "tfgraph"};
    const char *path = fuzz_path("model");
    fuzz_write(path, data, size);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        int answer = format_is_quantised(path, formats[i]);
        if (answer < -1 || answer > 1)
            abort();
    }
    return 0;
}
