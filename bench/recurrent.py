"""recurrent.py FOLDER: recurrent layers as ONNX files, by PyTorch, to be measured:

python3 bench/recurrent.py /tmp/layers
wattle run /tmp/layers/*.onnx -r builtin,onnxruntime -t 1,2 --verify
"""

import sys

import torch
from torch import nn

STEPS = 64
# kind, layers, hidden (and input) size, batch, both ways
LAYERS = (
    (nn.LSTM, 2, 512, 1, False),
    (nn.LSTM, 2, 512, 16, False),
    (nn.GRU, 2, 512, 1, False),
    (nn.GRU, 2, 512, 16, False),
    (nn.LSTM, 2, 256, 1, False),
    (nn.LSTM, 2, 256, 1, True),
    (nn.LSTM, 2, 128, 4, False),
    (nn.LSTM, 1, 32, 1, False),
    (nn.GRU, 1, 32, 1, False),
    (nn.RNN, 1, 256, 1, False),
)


class Outputs(nn.Module):
    """The layer without its last state."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)[0]


def main() -> None:
    for kind, layers, size, batch, both in LAYERS:
        torch.manual_seed(1)
        module = Outputs(kind(size, size, layers, bidirectional=both)).eval()
        name = f"{kind.__name__.lower()}{size}x{layers}{'both' if both else ''}_b{batch}"
        torch.onnx.export(module, (torch.randn(STEPS, batch, size),), f"{sys.argv[1]}/{name}.onnx",
                          input_names=["x"], output_names=["y"], opset_version=17, dynamo=False)


if __name__ == "__main__":
    main()
