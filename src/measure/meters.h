/* meters.h: every meter of this machine over one window. */
#ifndef WATTLE_MEASURE_METERS_H
#define WATTLE_MEASURE_METERS_H

#include "measure/measure.h"
#include "worker/worker.h"

struct meter_set {
    struct wattle_meter *meters[RECORD_METER_MAX];
    struct record *record;  /* r->meters[i] belongs to meters[i] */
    unsigned char counts[RECORD_METER_MAX]; /* it was a working counter when it was opened */
    size_t count;
    int require_measured;   /* estimates are not chosen */
    uint64_t tick_ns;       /* how often meters_sample must be called inside the window */
};

/* Opens all meters of wattle_meter_names(); copies their domains into r->meters. */
int meters_open(struct meter_set *m, const struct measure_options *o, struct worker *w,
                struct record *r, struct error *e);
/* First sample; begins on an edge of the first usable counter, if one shows within 50 ms. */
void meters_begin(struct meter_set *m);
/* Signature of worker_receive's tick. */
void meters_sample(void *meter_set);
/* Last sample; sets r->energy_meter: the first meter in order of preference with a figure. A
 * counter before it that worked at the start makes the block suspect. ERROR_UNSUPPORTED: a measured
 * figure was required, and there is none. */
int meters_end(struct meter_set *m, struct error *e);
void meters_close(struct meter_set *m);

#endif
