/* notes.h: what makes no figure wrong, but whoever reads a row should know. A note is one of the
 * record's reasons, without a verdict. */
#ifndef WATTLE_MEASURE_NOTES_H
#define WATTLE_MEASURE_NOTES_H

#include "measure/record.h"
#include "measure/session.h"

/* Infers twice on the same inputs: where only one row is measured, nothing else would tell of a
 * model that draws lots (dropout that is left on, a sampler); nor, with all rows alike, of outputs
 * without a finite number. For after the window; whatever goes wrong now is none of the block's
 * business. */
void note_outputs(struct session *s, struct record *r);

/* Memory that the worker's process holds; 0 when unknown. */
uint64_t note_memory(const struct worker *w);
/* Whether it has grown within the window by more than comes and goes. */
void note_growth(uint64_t before_bytes, uint64_t after_bytes, struct record *r);

#endif
