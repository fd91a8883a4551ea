/* measure.h: one block: a fresh worker, meters, host checks, one record. */
#ifndef WATTLE_MEASURE_MEASURE_H
#define WATTLE_MEASURE_MEASURE_H

#include "measure/record.h"
#include "model/data.h"
#include "model/onnx.h"
#include "plan/plan.h"

struct measure_range {         /* --range NAME=LOW..HIGH: how to make up an input */
    char name[PLAN_NAME_MAX];
    double low, high;
};

struct measure_options {
    uint64_t duration_ns;      /* window at least this long ... */
    uint64_t min_runs;         /* ... and at least this many runs (default 10) */
    uint64_t max_ns;           /* ... but cut here: 0 is 10 x duration, at least 60 s */
    uint64_t warmup_min_ns;    /* warm-up lasts this long and 3 runs, then until no slope is left */
    uint64_t warmup_max_ns;    /* ... or this long: "no steady state", SUSPECT */
    uint64_t timeout_ns;       /* a load or an inference that takes longer is killed */
    uint64_t seed;             /* of the inputs */
    int batch_is_asked;        /* -b: a file that fixes another is refused, not labelled with it */
    int input_sets;            /* distinct buffers the window goes through, default 4 */
    const char *sysroot;
    double tdp_w;
    int require_measured;      /* an estimate is no figure: a block without a counter's fails */
    const struct measure_range *ranges;
    size_t range_count;
    const struct data *data;   /* --input: tensors for some or all inputs; NULL: all are made up */
    /* Called when a phase begins: "load", "warm-up", "window"; for progress. NULL: nobody asks. */
    void (*phase)(void *context, const char *name);
    void *phase_context;
};
void measure_defaults(struct measure_options *o);

/* Checks before anything is started that the cell's inputs can be made up, and fills in a batch of
 * 0: what --dim, --shape, the data or the file make it. A file with quantised operators or weights
 * makes the precision "quantised", and one of which that cannot be told "unknown", so that no row
 * of it is called f32. */
int measure_check(struct cell *c, const struct measure_options *o, struct error *e);
/* The precision that a runtime is asked for: of whatever the file leaves open. */
const char *measure_precision(const struct cell *c);

/* prepare.c: what the worker loads where the runtime does not read the model's file as it is
 * (runtime/prepare.h). */
struct measure_watch {
    int (*interrupted)(void);  /* asked all the while */
    void (*tell)(void *context, const char *line); /* what goes on; NULL: nobody listens */
    void *context;
};
int measure_prepare_needed(const struct cell *c);
/* Whether one made for a serves b too. */
int measure_prepared_alike(const struct cell *a, const struct cell *b);
/* Makes it, which may take minutes, or finds it made (*made is 0); sets artifact and how. sha256 is
 * the model file's, "" when it is not known. */
int measure_prepare(struct cell *c, const struct measure_options *o, const char *sha256,
                    const struct measure_watch *watch, int *made, struct error *e);

/* The batch that the model was made for, where the file is to tell and is no ONNX file. */
int64_t measure_own_batch(const struct cell *c);

/* A block that failed before it could be begun. */
void measure_failed(const struct error *failure, int number, struct record *r);

/* Always fills *r (record_release it). A block that failed is a record with r->error set; the
 * return value is nonzero only for ERROR_INTERRUPTED and ERROR_MEMORY of this process. */
int measure_block(const struct cell *c, int number, const struct measure_options *o,
                  struct record *r, struct error *e);

/* The outputs of one inference on input set 0 in a fresh worker, not timed. */
struct measure_outputs {
    size_t count;
    struct measure_output {
        char name[128];
        struct tensor tensor;  /* owned */
    } *outputs;
};
int measure_outputs(const struct cell *c, const struct measure_options *o,
                    struct measure_outputs *out, struct error *e);
void measure_outputs_release(struct measure_outputs *out);

/* The relative error that is accepted between runtimes, and between two runs of one. float32
 * runtimes that agree do so to 1e-6; a wrong layout or weight shows as 1e-2 and more. */
#define MEASURE_TOLERANCE 1e-4

/* The same between runtimes of which the model rounds to 8 bits at every layer: sums that differ in
 * the last place of float32 are then rounded to one step or the next, and the layers that follow
 * make more of it. Computed in float32 and in integers, networks of 12 to 50 layers differ
 * by 0.03 to 0.09 of an output's root mean square, and by up to 0.15 of its largest value in one
 * element; with a layer's kernel transposed or its channels in another order by 0.19 to 1.4, and
 * 0.2 to 1.7. An element may be far off where all others are right, so there is a limit to both. */
#define MEASURE_QUANTISED_ELEMENT 0.2
#define MEASURE_QUANTISED_RMS 0.12

struct measure_limits {
    double element;   /* the largest error of an element, relative to the output's largest value */
    double rms;       /* root mean square of an output's errors, relative to its own; may be
                         infinite */
    int has_steps;    /* outputs of 8- and 16-bit integers are rounded numbers, not exact ones */
};
/* By the cell's precision. */
struct measure_limits measure_limits_of(const struct cell *c);

/* Compares outputs by position. Relative error of element i: |x_i - r_i| / max |r| over the output:
 * relative to the output's scale, so that values near 0 do not decide. Agrees up to `tolerance`
 * (1e-4 for float32; for 16-bit floats at least what they resolve; exact for integers and bool).
 * NaN against a number differs. */
void measure_agree(const struct measure_outputs *reference, const struct measure_outputs *x,
                   double tolerance, struct agreement *out);
/* The same within other limits. */
void measure_agree_within(const struct measure_outputs *reference, const struct measure_outputs *x,
                          const struct measure_limits *limits, struct agreement *out);

/* Outputs against those of --expect, found by name or position, as measure_agree does. An expected
 * tensor that no output is left for is a difference. */
void measure_expect(const struct data *expected, const struct measure_outputs *x,
                    const struct measure_limits *limits, struct agreement *out);

/* The largest and the mean error, relative as above, of two tensors of one type and shape. */
void measure_difference(const struct tensor *reference, const struct tensor *x, double *max,
                        double *mean);

/* How many elements are NaN or infinite. */
size_t measure_not_finite(const struct tensor *x);

#endif
