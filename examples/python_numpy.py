"""A network in numpy: one convolution, ReLU, mean over the image, two dense layers, softmax.

    wattle worker --python-helper >wattle_worker.py
    wattle run --worker 'python3 python_numpy.py' -b 1,8
"""
import numpy as np
import wattle_worker

CHANNELS, SIZE, FILTERS, HIDDEN, CLASSES = 3, 32, 16, 64, 10


def load(request):
    global kernel, dense1, dense2
    random = np.random.default_rng(1)
    kernel = random.standard_normal((CHANNELS * 9, FILTERS), "float32") / 5
    dense1 = random.standard_normal((FILTERS, HIDDEN), "float32") / 4
    dense2 = random.standard_normal((HIDDEN, CLASSES), "float32") / 8
    batch = request["batch"]
    return {"inputs": [("image", "float32", [batch, CHANNELS, SIZE, SIZE])],
            "outputs": [("probability", "float32", [batch, CLASSES])]}


def infer(inputs):
    patches = np.lib.stride_tricks.sliding_window_view(inputs[0], (3, 3), axis=(2, 3))
    columns = patches.transpose(0, 2, 3, 1, 4, 5).reshape(len(inputs[0]), -1, CHANNELS * 9)
    features = np.maximum(columns @ kernel, 0).mean(axis=1)
    scores = np.maximum(features @ dense1, 0) @ dense2
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


wattle_worker.run(load, infer)
