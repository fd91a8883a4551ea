/* pt.h: what the files of the PyTorch adapter share: pytorch.c (the adapter itself), pt_load.c,
 * pt_aoti.c (ahead-of-time compiled packages), pt_script.c (TorchScript), pt_tensor.c, pt_run.c and
 * pt_settings.c. */
#ifndef WATTLE_RUNTIME_PT_H
#define WATTLE_RUNTIME_PT_H

#include "base/arena.h"
#include "runtime/adapter.h"
#include "runtime/pt_api.h"
#include "runtime/pt_package.h"

/* One inference, as the programs in packages have it, and our shim for TorchScript too: takes the
 * input tensors over, gives new output tensors. 0 is success. */
typedef int32_t pt_inference(void *model, void **inputs, size_t input_count, void **outputs,
                             size_t output_count, void *stream, void *proxy);

/* What is the same of all inputs and outputs, told to PyTorch at every run. */
struct pt_port {
    int32_t type;                        /* PyTorch's number */
    int64_t strides[ADAPTER_RANK_MAX];
    void *device;                        /* an input's tensor on the device; NULL without one */
    void *device_data;
};

/* The program of a package (pt_aoti.c). */
struct pt_aoti {
    int fd;                              /* of the program, in memory; -1 */
    void *program;                       /* handle of dlopen */
    int32_t (*release)(void *model);
    int32_t (*last_error)(const char **text); /* NULL before 2.13 */
    char isa[64];                        /* what the package says it was built for */
    const char *checked;                 /* see pt_isa_check_code */
    const char *weights;                 /* "in the program", "apart" */
    int has_checks;                      /* it looks at shapes by itself */
};

/* TorchScript through the shim (pt_script.c). */
struct pt_script {
    void (*release)(void *model);
    const char *(*last_error)(void);
    char shim[PATH_MAX];
};

/* One loaded model. */
struct pt {
    struct pt_api api;
    struct arena texts;
    json_t *description;                 /* of the package; NULL */
    const char *variant, *provider;
    int is_cuda, device;                 /* device: its number */
    int wants_zero;                      /* denormals */
    int tried;                           /* run once while it was loaded, to see its outputs */

    void *model;
    pt_inference *infer;
    struct pt_aoti aoti;
    struct pt_script script;

    struct adapter_tensor inputs[ADAPTER_TENSOR_MAX], outputs[ADAPTER_TENSOR_MAX];
    double ranges[ADAPTER_TENSOR_MAX][2]; /* of inputs, where the description tells */
    struct pt_port in[ADAPTER_TENSOR_MAX];
    size_t input_count, output_count;

    const void *data[ADAPTER_TENSOR_MAX];    /* bound */
    void *handles[ADAPTER_TENSOR_MAX];       /* of one run's inputs */
    void *results[ADAPTER_TENSOR_MAX];       /* of the last run */
    void *fetched[ADAPTER_TENSOR_MAX];       /* those copied to be read */

    uint64_t copy_in_ns;                     /* of all inputs to the device */
    json_t *settings;
};

/* pt_load.c */
int pt_load(struct pt *p, const struct adapter_request *r, struct error *e);
void pt_unload(struct pt *p);

/* pt_aoti.c: what a package is and was built for, before PyTorch is loaded; then its model. */
int pt_aoti_check(struct pt *p, const struct adapter_request *r, const struct pt_package *package,
                  struct pt_members *m, struct error *e);
int pt_aoti_load(struct pt *p, const struct adapter_request *r, const struct pt_package *package,
                 const struct pt_members *m, struct error *e);
void pt_aoti_release(struct pt *p);

/* pt_script.c */
int pt_script_load(struct pt *p, const struct adapter_request *r, struct error *e);
void pt_script_release(struct pt *p);

/* pt_tensor.c: adds a name to the model's inputs or outputs, before they are described. */
int pt_tensor_name(struct pt *p, struct adapter_tensor *list, size_t *count, const char *role,
                   const char *name, struct error *e);
/* Names, types and shapes: by the description, or else by the request. */
int pt_tensors_describe(struct pt *p, const struct adapter_request *r, struct error *e);
/* Type and shape of a tensor of PyTorch's; returns -1 for one that we do not pass. */
int pt_tensor_read(const struct pt *p, void *tensor, struct adapter_tensor *t, struct error *e);
/* Row-major ones. */
void pt_tensor_strides(const struct adapter_tensor *t, int64_t strides[ADAPTER_RANK_MAX]);

/* pt_run.c */
int pt_run_prepare(struct pt *p, struct error *e); /* memory on the device; a trial where needed */
int pt_run_bind(struct pt *p, const void *const *data, struct error *e);
int pt_run(struct pt *p, struct error *e);
const void *pt_run_output(struct pt *p, size_t index, struct adapter_tensor *tensor);
void pt_run_release(struct pt *p);

/* pt_settings.c: threads, denormals and gradients set before the model is loaded; and what is
 * really set, read back. */
int pt_settings_apply(struct pt *p, const struct adapter_request *r, struct error *e);
int pt_settings_make(struct pt *p, const struct adapter_request *r, struct error *e);

#endif
