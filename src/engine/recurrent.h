/* recurrent.h: RNN, GRU and LSTM once the inputs' share of their gates is known: step by step the
 * state is multiplied with the recurrent weights, and the gates make the next state of it.
 *
 * Units are taken in blocks of 16, batches in groups of up to 6 rows: a thread has the sums of all
 * gates of one block and group at hand when it makes their states, and waits for the others once a
 * step. Weights are packed in the order in which they are read, and every other step reads them
 * backwards, so that what the cache still holds is used again.
 */
#ifndef WATTLE_ENGINE_RECURRENT_H
#define WATTLE_ENGINE_RECURRENT_H

#include <stddef.h>
#include <stdint.h>

enum recurrent_cell {
    RECURRENT_TANH,
    RECURRENT_RELU,
    RECURRENT_GRU_RESET_FIRST, /* the reset gate before the product with the weights */
    RECURRENT_GRU,
    RECURRENT_LSTM,
};

struct recurrent {
    enum recurrent_cell cell;
    int64_t steps, batch, hidden, directions;
    int reverse;     /* the first direction runs from the end; the second always does */
    int batch_first; /* layout 1 of ONNX */
};

/* Memory that a run reads and writes. */
struct recurrent_data {
    const float *projected; /* the inputs' share with the biases: a row of directions x gates x
                               hidden for each input */
    const float *weights;   /* packed */
    const float *bias;      /* directions x hidden: GRU's, of the new gate's product */
    const int32_t *lengths; /* steps of each sequence; NULL when all are whole */
    const float *h, *c;     /* initial; NULL for zeros */
    float *y, *last_h, *last_c; /* NULL where nobody wants them */
    float *scratch;
};

int recurrent_gates(enum recurrent_cell cell);
size_t recurrent_weight_bytes(const struct recurrent *r);
size_t recurrent_scratch_bytes(const struct recurrent *r);
/* weights: directions x gates x hidden rows of hidden. packed: zeroed. */
void recurrent_pack(const struct recurrent *r, const float *weights, float *packed);
void recurrent_run(const struct recurrent *r, const struct recurrent_data *d);

#endif
