"""blocks.py FOLDER [NAME...]: the building blocks of bench/SPEED.md as ONNX files, by PyTorch:

python3 bench/blocks.py /tmp/blocks
wattle run /tmp/blocks/*.onnx -r builtin,onnxruntime -t 1,2 --verify
"""

import os
import sys

import torch
import torch.nn.functional as F
from torch import nn

BLOCKS = {}
STEPS = 64  # of the recurrent layers


def block(name: str, *shapes: tuple):
    """Registers a function that makes the module; its inputs are random, of these shapes."""

    def register(make):
        BLOCKS[name] = make, shapes
        return make

    return register


class Function(nn.Module):
    """A function of the inputs, or of these modules and the inputs."""

    def __init__(self, function, *parts: nn.Module):
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, *inputs):
        return self.function(*self.parts, *inputs)


# ---- recurrent layers ----


def recurrent(kind, layers: int, size: int, batch: int, both: bool = False) -> None:
    name = f"{kind.__name__.lower()}{size}x{layers}{'both' if both else ''}_b{batch}"
    BLOCKS[name] = (
        lambda: Function(lambda layer, x: layer(x)[0], kind(size, size, layers, bidirectional=both)),
        ((STEPS, batch, size),))


for kind in nn.LSTM, nn.GRU:
    recurrent(kind, 2, 512, 1)
    recurrent(kind, 2, 512, 16)
    recurrent(kind, 1, 32, 1)
recurrent(nn.LSTM, 2, 256, 1)
recurrent(nn.LSTM, 2, 256, 1, both=True)
recurrent(nn.LSTM, 2, 128, 4)
recurrent(nn.RNN, 1, 256, 1)


# ---- transformers ----


def rms(x, weight):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * weight


def rotate(x, angles):
    half = x.shape[-1] // 2
    return x * angles.cos() + torch.cat((-x[..., half:], x[..., :half]), -1) * angles.sin()


def angles(places: int, size: int) -> torch.Tensor:
    rates = 10000.0 ** (-torch.arange(0, size, 2) / size)
    return torch.cat([torch.arange(places)[:, None] * rates] * 2, -1)


class Llama(nn.Module):
    def __init__(self, hidden=512, heads=8, groups=2, inner=1376):
        super().__init__()
        self.heads, self.groups, self.size = heads, groups, hidden // heads
        self.norms = nn.ParameterList(torch.rand(hidden) + 0.5 for _ in range(2))
        self.q, self.out = (nn.Linear(hidden, hidden, bias=False) for _ in range(2))
        self.k, self.v = (nn.Linear(hidden, groups * self.size, bias=False) for _ in range(2))
        self.gate, self.up = (nn.Linear(hidden, inner, bias=False) for _ in range(2))
        self.down = nn.Linear(inner, hidden, bias=False)

    def attend(self, x):
        n, s, _ = x.shape
        turn = angles(s, self.size)
        q = rotate(self.q(x).view(n, s, self.heads, self.size).transpose(1, 2), turn)
        k = rotate(self.k(x).view(n, s, self.groups, self.size).transpose(1, 2), turn)
        v = self.v(x).view(n, s, self.groups, self.size).transpose(1, 2)
        k, v = (t.repeat_interleave(self.heads // self.groups, 1) for t in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(n, s, -1))

    def forward(self, x):
        x = x + self.attend(rms(x, self.norms[0]))
        y = rms(x, self.norms[1])
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Encoder(nn.Module):
    """As in ViT and GPT-2: LayerNorm first, q, k, v from one product."""

    def __init__(self, hidden: int, heads: int, act: nn.Module, causal: bool, scale: bool):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.first, self.second = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.qkv, self.out = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.mlp = nn.Sequential(nn.Linear(hidden, 4 * hidden), act, nn.Linear(4 * hidden, hidden))
        self.gamma = nn.Parameter(torch.rand(2, hidden)) if scale else None

    def attend(self, x):
        n, s, c = x.shape
        q, k, v = self.qkv(x).view(n, s, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(y.transpose(1, 2).reshape(n, s, c))

    def scaled(self, i: int, x):
        return x if self.gamma is None else x * self.gamma[i]

    def forward(self, x):
        x = x + self.scaled(0, self.attend(self.first(x)))
        return x + self.scaled(1, self.mlp(self.second(x)))


block("llama_s128", (1, 128, 512))(Llama)
block("vit_s197", (1, 197, 384))(lambda: Encoder(384, 6, nn.GELU(), False, True))
block("gpt2_s128", (1, 128, 512))(lambda: Encoder(512, 8, nn.GELU("tanh"), True, False))
block("rms_norm_128x2048", (128, 2048), (2048,))(lambda: Function(rms))
block("rotary_32x128x64", (1, 32, 128, 64))(
    lambda: Function(lambda x: rotate(x, angles(128, 64))))
block("einsum_scores", (1, 128, 8, 64), (1, 128, 8, 64))(
    lambda: Function(lambda q, k: torch.einsum("bihd,bjhd->bhij", q, k)))


# ---- images ----


class Residual(nn.Module):
    """A U-Net's block as diffusion models have it."""

    def __init__(self, i: int, o: int):
        super().__init__()
        self.norms = nn.ModuleList((nn.GroupNorm(32, i), nn.GroupNorm(32, o)))
        self.convs = nn.ModuleList((nn.Conv2d(i, o, 3, padding=1), nn.Conv2d(o, o, 3, padding=1)))
        self.skip = nn.Conv2d(i, o, 1)

    def forward(self, x):
        y = self.convs[0](F.silu(self.norms[0](x)))
        return self.skip(x) + self.convs[1](F.silu(self.norms[1](y)))


class ConvNeXt(nn.Module):
    def __init__(self, c: int):
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(c, c, 7, padding=3, groups=c), nn.LayerNorm(c)
        self.mlp = nn.Sequential(nn.Linear(c, 4 * c), nn.GELU(), nn.Linear(4 * c, c))

    def forward(self, x):
        y = self.mlp(self.norm(self.depthwise(x).permute(0, 2, 3, 1)))
        return x + y.permute(0, 3, 1, 2)


class Inverted(nn.Module):
    """EfficientNet's and MobileNetV3's block: expansion, depthwise, squeeze and excitation."""

    def __init__(self, c: int, inner: int, act):
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(c, inner, 1, bias=False), nn.BatchNorm2d(inner), act())
        self.depthwise = nn.Sequential(
            nn.Conv2d(inner, inner, 5, padding=2, groups=inner, bias=False), nn.BatchNorm2d(inner),
            act())
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(inner, inner // 4, 1),
                                     act(), nn.Conv2d(inner // 4, inner, 1), nn.Sigmoid())
        self.project = nn.Sequential(nn.Conv2d(inner, c, 1, bias=False), nn.BatchNorm2d(c))

    def forward(self, x):
        y = self.depthwise(self.expand(x))
        return x + self.project(y * self.squeeze(y))


def upscale(resize: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(32, 64, 3, padding=1), nn.LeakyReLU(0.1), resize,
                         nn.Conv2d(64, 32, 3, padding=1), nn.LeakyReLU(0.1))


block("unet_320_32x32", (1, 160, 32, 32))(lambda: Residual(160, 320))
block("convnext_96_56x56", (1, 96, 56, 56))(lambda: ConvNeXt(96))
block("efficientnet_80_14x14", (1, 80, 14, 14))(lambda: Inverted(80, 480, nn.SiLU))
block("mobilenet_v3_80_14x14", (1, 80, 14, 14))(lambda: Inverted(80, 480, nn.Hardswish))
block("bilinear_64x64", (1, 32, 64, 64))(
    lambda: upscale(nn.Upsample(scale_factor=2, mode="bilinear")))
block("conv_transpose_64x64", (1, 32, 64, 64))(
    lambda: upscale(nn.ConvTranspose2d(64, 64, 2, stride=2)))
block("grid_bilinear_56x56", (1, 64, 56, 56), (1, 56, 56, 2))(
    lambda: Function(lambda x, grid: F.grid_sample(x, grid, align_corners=False)))


def main() -> None:
    folder, *names = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    for name in names or BLOCKS:
        make, shapes = BLOCKS[name]
        torch.manual_seed(1)
        module, inputs = make().eval(), tuple(torch.randn(shape) for shape in shapes)
        torch.onnx.export(module, inputs, f"{folder}/{name}.onnx", output_names=["y"],
                          input_names=[f"x{i}" for i in range(len(inputs))],
                          opset_version=20, dynamo=True, verbose=False)


if __name__ == "__main__":
    main()
