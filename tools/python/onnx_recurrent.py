"""ONNX's LSTM, GRU and RNN by PyTorch's.

ONNX has the weights of all gates of a direction in one tensor, [directions, gates * size, ...], in
another order than PyTorch. Constants are put in order once (in_order, attribute "arranged"); what
the graph computes, in every run.
"""
import torch
import torch.nn.functional as F

# of each of PyTorch's gates the place among those of ONNX: i, o, f, c of an LSTM, z, r, h of a GRU
ORDER = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
ACTIVATIONS = {"LSTM": [["sigmoid", "tanh", "tanh"]], "GRU": [["sigmoid", "tanh"]],
               "RNN": [["tanh"], ["relu"]]}
STATES = {"LSTM": 2, "GRU": 1, "RNN": 1}
LENGTHS, PEEPHOLES = 4, 7 # places of these inputs


def in_order(op, weights, repeats):
    """W or R, or the biases of both (repeats 2), with the gates as PyTorch has them."""
    gates = weights.reshape(weights.shape[0], repeats, len(ORDER[op]), -1)
    return torch.stack([gates[:, :, place] for place in ORDER[op]], 2).reshape(weights.shape)


def activations_of(attributes):
    return [name.decode().lower() for name in attributes.get("activations", [])]


def refusal(op):
    """What PyTorch's layer has not: the reason, or None."""
    def why(attributes):
        given = attributes["given"] + [False] * (PEEPHOLES + 1)
        if given[LENGTHS] or given[PEEPHOLES]:
            return "sequence_lens" if given[LENGTHS] else "peepholes"
        if "clip" in attributes or attributes.get("input_forget", 0):
            return "clip" if "clip" in attributes else "input_forget"
        names = activations_of(attributes)
        count = 2 if attributes.get("direction", b"") == b"bidirectional" else 1
        known = names in [one * count for one in ACTIVATIONS[op]]
        return None if not names or known else "activations " + ", ".join(names)
    return why


def directions(w, r, b):
    """Of each direction its weights as PyTorch's layers take them."""
    for i in range(r.shape[0]):
        yield [w[i], r[i]] + ([] if b is None else list(b[i].chunk(2)))


def layer(op, x, states, weights, attributes):
    """PyTorch's own, for one or both directions: [steps, batch, directions * size] and states."""
    flat = [tensor for one in weights for tensor in one]
    options = (len(weights[0]) == 4, 1, 0.0, False, len(weights) == 2, False)
    if op == "LSTM":
        return torch.lstm(x, states, flat, *options)
    if op == "GRU":
        return torch.gru(x, states[0], flat, *options)
    is_relu = "relu" in activations_of(attributes)
    return (torch.rnn_relu if is_relu else torch.rnn_tanh)(x, states[0], flat, *options)


def reset_first(x, h, weights):
    """The GRU whose gate resets the state before the product (linear_before_reset 0), which PyTorch
    has no layer for; one direction, step by step."""
    w, r, wb, rb = weights if len(weights) == 4 else weights + [None, None]
    outputs, from_input = [], F.linear(x, w, wb)
    size = h.shape[-1]
    r_gates, r_new = r[:2 * size], r[2 * size:]
    b_gates, b_new = (None, None) if rb is None else (rb[:2 * size], rb[2 * size:])
    for step in range(x.shape[0]):
        gates = torch.sigmoid(from_input[step, :, :2 * size] + F.linear(h, r_gates, b_gates))
        reset, update = gates.chunk(2, 1)
        new = torch.tanh(from_input[step, :, 2 * size:] + F.linear(reset * h, r_new, b_new))
        h = (1 - update) * new + update * h
        outputs.append(h)
    return torch.stack(outputs), h


def reset_first_layer(x, h, weights):
    forward, last = reset_first(x, h[0], weights[0])
    if len(weights) == 1:
        return forward, last.unsqueeze(0)
    backward, first = reset_first(x.flip(0), h[1], weights[1])
    return torch.cat([forward, backward.flip(0)], 2), torch.stack([last, first])


def recurrent(op):
    def apply(args, attributes):
        x, w, r, b, _, *states = args + [None] * (7 - len(args))
        by_batch = bool(attributes.get("layout", 0)) # [batch, steps, ...]
        if not attributes.get("arranged", 0):
            w, r = in_order(op, w, 1), in_order(op, r, 1)
            b = None if b is None else in_order(op, b, 2)
        if by_batch:
            x = x.transpose(0, 1)
            states = [None if state is None else state.transpose(0, 1).contiguous()
                      for state in states]
        backwards = attributes.get("direction", b"forward") == b"reverse"
        x = x.flip(0) if backwards else x
        count, size = r.shape[0], r.shape[2]
        states = [x.new_zeros((count, x.shape[1], size)) if state is None else state
                  for state in states[:STATES[op]]]
        weights = list(directions(w, r, b))
        if op == "GRU" and not attributes.get("linear_before_reset", 0):
            y, *last = reset_first_layer(x, states[0], weights)
        else:
            y, *last = layer(op, x, states, weights, attributes)
        y = y.flip(0) if backwards else y
        y = y.reshape(y.shape[0], y.shape[1], count, size) # [steps, batch, directions, size]
        if by_batch:
            return (y.transpose(0, 1), *(state.transpose(0, 1) for state in last))
        return (y.transpose(1, 2), *last)
    return apply
