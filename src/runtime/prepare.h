/* prepare.h: makes of a model file what a runtime's variant reads, with the runtime's own Python
 * and the official exporters and converters (tools/python/prepare.py), and keeps it under
 * $WATTLE_HOME/prepared/KEY. KEY is a hash of all that decides the result: the file's contents, the
 * form, runtime, version, variant, provider, precision, shapes, the scripts; of ahead-of-time
 * compiled code also the CPU's instruction set. What is there is used again, as long as the other
 * files that were read (weights beside an ONNX file, modules that FILE.py imports from its own
 * folder) are as they were; it is made in a temporary folder, under a lock, and renamed. What
 * nobody has used for 30 days goes when something new is made.
 *
 * Whatever is made carries, as the member "extra/wattle.json" of its ZIP container (below the
 * archive's root folder), what the formats themselves do not tell:
 *   {"schema":1, "form":"native"|"converted"|"", "how":"torch.export, AOTInductor (freezing)",
 *    "torch":"2.13.0+cpu", "variant":"aoti", "isa":"AVX2",
 *    "inputs":[{"name":"input","type":"float32","shape":[1,3,224,224]}],   in the order of forward;
 *    "outputs":[{"name":"output","type":"float32","shape":[1,1000]}],     names as in the file
 *    "max_rel_error":1e-6}     of the conversion, against the model it was made of; may be missing
 * A size may be null where the container runs with any; an integer input may have a
 * "range":[low,high].
 *
 * For eager and compile nothing is compiled or converted into a file: what is made is a JSON file
 * of the same object, with "request", which build_module() of tools/python/pytorch_module.py takes.
 */
#ifndef WATTLE_RUNTIME_PREPARE_H
#define WATTLE_RUNTIME_PREPARE_H

#include "base/error.h"

#include <jansson.h>
#include <limits.h>
#include <stdint.h>

struct prepare_request {
    const char *model;       /* the user's file */
    const char *format;      /* of it: "onnx", "exported", "python" (FILE.py:FUNCTION),
                                "torchscript", "aoti" */
    const char *sha256;      /* of it; "" to compute */
    const char *zoo;         /* the built-in model it is, with form "native"; "" */
    const char *form;        /* "native", "converted" or "" */
    const char *runtime, *variant, *library, *version, *provider, *precision;
    json_t *inputs;          /* [{"name","type","shape"}] as far as known; borrowed */
    int64_t batch;           /* 0: the model's own */
    int threads;             /* that it will run with; compiled code is laid out for them. 0: any */
    uint64_t timeout_ns;     /* for reading the model, whose Python may never come back; 0: none */
    int (*interrupted)(void);
    void (*tell)(void *context, const char *line); /* progress; NULL: nobody listens */
    void *context;
};

struct prepared {
    char path[PATH_MAX];     /* what the worker loads */
    char form[16];
    char how[256];           /* for the report */
    int made;                /* 0: it was there already */
};

/* Whether the runtime's variant cannot read that format as it is. */
int prepare_needed(const char *runtime, const char *variant, const char *format);

/* The batch that a model of PyTorch, prepared or the user's own, was made for: the first size that
 * its description gives; 0 when it has none, or runs any. */
int64_t prepare_batch(const char *path);

/* Whether what is made for the variant holds compiled code, which is laid out for this CPU and for
 * the number of threads. */
int prepare_compiles(const char *runtime, const char *variant);

/* ERROR_MISMATCH when the result's outputs are not those of what it was made of, ERROR_UNSUPPORTED
 * with the converter's words when it cannot be made, or when a tool such as g++ is missing,
 * ERROR_INTERRUPTED. On failure nothing is kept. */
int prepare_model(const struct prepare_request *r, struct prepared *out, struct error *e);

/* The files that `wattle models build --format pytorch` makes; NULL at the end. */
extern const char *const prepare_files[];

/* All of them, of the model r->zoo, in a folder that is replaced when all are made. r->variant is
 * of no interest. */
int prepare_files_make(const struct prepare_request *r, const char *folder, struct error *e);

#endif
