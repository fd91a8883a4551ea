/* recurrent.h: what the reference and the fast kernel of RNN, GRU and LSTM both know.
 *
 * In struct attributes: axis is the hidden size, mode the direction, trans_a the layout, trans_b
 * linear_before_reset or input_forget, alpha the clip (0: none), axes the activation functions. */
#ifndef WATTLE_ENGINE_OPS_RECURRENT_H
#define WATTLE_ENGINE_OPS_RECURRENT_H

enum { FORWARD, REVERSE, BOTH };
enum { SIGMOID, TANH, RELU, SOFTSIGN, SOFTPLUS, FUNCTION_COUNT };

/* x, w, r, then b, lengths, initial h, initial c and peepholes where the file has them. */
enum { IN_X, IN_W, IN_R, IN_B, IN_LENGTHS, IN_H, IN_C, IN_P };
enum { OUT_Y, OUT_H, OUT_C, OUT_WORK };

#endif
