"""Small networks that between them use what people export from PyTorch.

NETWORKS maps a name to a function that returns (module, example inputs). Weights and inputs are made
after one manual_seed, so each is the same everywhere. A network's name with a "_dynamic" at its end
is exported with symbolic sizes: DYNAMIC says which dimensions of which input.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

NETWORKS = {}
DYNAMIC = {}


def network(f):
    NETWORKS[f.__name__] = f
    return f


class Function(nn.Module):
    """A function of the inputs, with the modules that it uses."""

    def __init__(self, function, *modules):
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(modules)

    def forward(self, *inputs):
        return self.function(*self.parts, *inputs)


def simple(name, function, *shapes, parts=lambda: ()):
    """A network from a function of (parts..., inputs...); a shape may also be a ready tensor."""

    def make():
        inputs = tuple(s() if callable(s) else torch.randn(s) for s in shapes)
        return Function(function, *parts()), inputs

    NETWORKS[name] = make


def ints(high, *shape):
    return lambda: torch.randint(0, high, shape)


IMAGE = (2, 8, 12, 12)
ROWS = (2, 6, 16)

# ---- element by element ----

simple(
    "relu_family",
    lambda x: (F.relu(x), F.relu6(x), F.leaky_relu(x, 0.1), F.elu(x), F.selu(x), F.celu(x, 1.3)),
    IMAGE,
)
simple(
    "smooth_activations",
    lambda x: (
        F.gelu(x),
        F.gelu(x, approximate="tanh"),
        F.silu(x),
        F.mish(x),
        F.softplus(x),
        F.softsign(x),
        F.logsigmoid(x),
        torch.tanh(x),
        torch.sigmoid(x),
    ),
    IMAGE,
)
simple(
    "hard_activations",
    lambda x: (
        F.hardswish(x),
        F.hardsigmoid(x),
        F.hardtanh(x, -0.5, 0.7),
        F.hardshrink(x),
        F.softshrink(x),
        F.tanhshrink(x),
    ),
    IMAGE,
)
simple("threshold", lambda x: F.threshold(x, 0.1, 20.0), IMAGE)
simple("softplus_beta", lambda x: F.softplus(x, 2, 3), IMAGE)
simple("prelu", lambda a, b, x: (a(x), b(x)), IMAGE, parts=lambda: (nn.PReLU(), nn.PReLU(8)))
simple("gated", lambda x: (F.glu(x, 1), F.silu(x[..., :6]) * x[..., 6:]), IMAGE)
simple(
    "arithmetic",
    lambda x, y: (
        x + y,
        x - 2 * y,
        x * y,
        x / (y.abs() + 1),
        x**2,
        x.abs() ** 1.5,
        2**x,
        torch.rsqrt(x.abs() + 1),
        torch.floor(x),
        torch.ceil(x),
        torch.round(x),
        torch.sign(x),
        torch.reciprocal(y.abs() + 1),
        torch.maximum(x, y),
        torch.minimum(x, y),
    ),
    IMAGE,
    IMAGE,
)
simple(
    "transcendental",
    lambda x: (
        torch.exp(x),
        torch.log(x.abs() + 1),
        torch.log2(x.abs() + 1),
        torch.log10(x.abs() + 1),
        torch.log1p(x.abs()),
        torch.sin(x),
        torch.cos(x),
        torch.tan(x),
        torch.atan(x),
        torch.erf(x),
        torch.sinh(x),
        torch.cosh(x),
        torch.asin(x.clamp(-0.9, 0.9)),
        torch.acos(x.clamp(-0.9, 0.9)),
    ),
    ROWS,
)
simple("expm1", lambda x: torch.expm1(x), ROWS)
simple(
    "integer_arithmetic",
    lambda x, y: (
        x // y,
        x % y,
        torch.remainder(-x, y),
        x * y - 3,
        torch.fmod(-x, y),
        torch.div(x, y, rounding_mode="floor"),
        torch.div(x, y, rounding_mode="trunc"),
    ),
    ints(100, 4, 6),
    lambda: torch.randint(1, 9, (4, 6)),
)
simple(
    "float_remainders",
    lambda x, y: (torch.remainder(x, y.abs() + 1), torch.fmod(x, y.abs() + 1), torch.atan2(x, y)),
    ROWS,
    ROWS,
)
simple("floor_divide", lambda x, y: torch.floor_divide(x, y.abs() + 1), ROWS, ROWS)
simple(
    "bits", lambda x, y: (x & y, x | y, x ^ y, ~x, x << 2, x >> 1), ints(64, 4, 6), ints(64, 4, 6)
)
simple(
    "compare",
    lambda x, y: (
        (x > y).float(),
        (x >= y).int(),
        (x < y),
        (x <= y),
        (x == y),
        (x != y),
        (x > 0) & (y > 0),
        (x > 0) | (y > 0),
        (x > 0) ^ (y > 0),
        ~(x > 0),
    ),
    ROWS,
    ROWS,
)
simple(
    "clamp",
    lambda x, y: (
        x.clamp(-0.5),
        x.clamp(max=0.5),
        x.clamp(-1, 1),
        torch.clamp(x, y - 1, y),
        torch.nan_to_num(x),
        torch.isnan(x),
        torch.isinf(x),
    ),
    ROWS,
    ROWS,
)
simple(
    "casts",
    lambda x, i: (
        x.long(),
        x.int(),
        x.double() * 2,
        x.bool(),
        i.float() / 3,
        i.to(x.dtype),
        x.half().float(),
        x.bfloat16().float(),
        i.bool().float(),
    ),
    ROWS,
    ints(5, 2, 6, 16),
)
simple(
    "half_inside",
    lambda l, x: l(x.half().float()).half().float() + 1,
    ROWS,
    parts=lambda: (nn.Linear(16, 8),),
)

# ---- convolutions ----

CONVOLUTIONS = {
    "conv_kinds": lambda: (
        nn.Conv2d(8, 8, 3, padding=2, dilation=2),
        nn.Conv2d(8, 16, 3, 2, groups=4),
        nn.Conv2d(16, 16, 5, padding=2, groups=16, bias=False),
        nn.Conv2d(16, 4, 1),
    ),
    "conv_same": lambda: (
        nn.Conv2d(8, 8, 4, padding="same"),
        nn.Conv2d(8, 6, (3, 5), padding="same"),
        nn.Conv2d(6, 6, 3, padding="valid"),
    ),
    "conv_padding_modes": lambda: (
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(8, 8, 3, padding=2, padding_mode="circular"),
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="replicate"),
    ),
    "conv_bn_acts": lambda: (
        nn.Conv2d(8, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.SiLU(),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.BatchNorm2d(16),
        nn.ReLU6(),
        nn.Conv2d(16, 8, 1),
        nn.BatchNorm2d(8, affine=False),
        nn.Hardswish(),
    ),
    "transposed": lambda: (
        nn.ConvTranspose2d(8, 6, 3, 2, 1, output_padding=1),
        nn.ConvTranspose2d(6, 12, 4, 2, 1, groups=2),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.ConvTranspose2d(12, 4, 3, dilation=2, bias=False),
    ),
}
for key, layers in CONVOLUTIONS.items():
    NETWORKS[key] = lambda layers=layers: (nn.Sequential(*layers()), (torch.randn(IMAGE),))

simple(
    "conv_1d",
    lambda a, b, c, x: c(b(a(x))),
    (2, 8, 30),
    parts=lambda: (
        nn.Conv1d(8, 16, 5, 2, 2),
        nn.BatchNorm1d(16),
        nn.ConvTranspose1d(16, 4, 4, 2, 1),
    ),
)
simple(
    "conv_3d",
    lambda a, b, c, x: F.avg_pool3d(F.max_pool3d(c(b(a(x))), 2), 2),
    (1, 2, 8, 8, 8),
    parts=lambda: (
        nn.Conv3d(2, 4, 3, padding=1),
        nn.BatchNorm3d(4),
        nn.ConvTranspose3d(4, 2, 2, 2),
    ),
)
simple(
    "conv_weight_input",
    lambda x, w: (F.conv2d(x, w, padding=1), F.conv_transpose2d(x, w.transpose(0, 1))),
    IMAGE,
    (4, 8, 3, 3),
)
simple(
    "modulated_conv",
    lambda l, x, s: F.conv2d(
        x.reshape(1, 16, 12, 12),
        (l.weight[None] * s[:, None, :, None, None]).reshape(8, 8, 3, 3),
        padding=1,
        groups=2,
    ),
    IMAGE,
    (2, 8),
    parts=lambda: (nn.Conv2d(8, 4, 3),),
)
simple(
    "unfold_fold",
    lambda x: (F.unfold(x, 3, padding=1), F.fold(F.unfold(x, 2, stride=2), (12, 12), 2, stride=2)),
    IMAGE,
)
simple("pixel_shuffle", lambda x: (F.pixel_shuffle(x, 2), F.pixel_unshuffle(x, 3)), IMAGE)
simple("channel_shuffle", lambda x: F.channel_shuffle(x, 4), IMAGE)
simple(
    "weight_norm",
    lambda l, x: l(x),
    IMAGE,
    parts=lambda: (nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 4, 3)),),
)

# ---- pools and sizes ----

simple(
    "max_pools",
    lambda x: (
        F.max_pool2d(x, 3, 2, 1),
        F.max_pool2d(x, 3, 2, ceil_mode=True),
        F.max_pool2d(x, 2, dilation=2),
        F.max_pool2d(x, (3, 1), (2, 1), (1, 0)),
    ),
    IMAGE,
)
simple("max_pool_indices", lambda x: F.max_pool2d(x, 2, return_indices=True), IMAGE)
simple(
    "average_pools",
    lambda x: (
        F.avg_pool2d(x, 3, 2, 1),
        F.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
        F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        F.avg_pool2d(x, 5, 3, 1, True, False),
    ),
    IMAGE,
)
simple(
    "adaptive_pools",
    lambda x: (
        F.adaptive_avg_pool2d(x, 1),
        F.adaptive_avg_pool2d(x, (3, 4)),
        F.adaptive_max_pool2d(x, (2, 3)),
        F.adaptive_avg_pool2d(x, (None, 6)),
        F.adaptive_max_pool2d(x, 1),
    ),
    IMAGE,
)
simple(
    "pools_1d",
    lambda x: (
        F.max_pool1d(x, 2),
        F.avg_pool1d(x, 3, 2),
        F.adaptive_avg_pool1d(x, 5),
        F.adaptive_max_pool1d(x, 1),
    ),
    (2, 8, 30),
)
simple("lp_pool", lambda x: F.lp_pool2d(x.abs() + 0.1, 2, 3, 2), IMAGE)
simple(
    "global_pools",
    lambda x: (
        x.mean((2, 3)),
        x.amax((2, 3)),
        x.mean((-2, -1), keepdim=True),
        F.avg_pool2d(x, x.shape[2:]).flatten(1),
    ),
    IMAGE,
)
simple(
    "upsample_nearest",
    lambda x: (
        F.interpolate(x, scale_factor=2),
        F.interpolate(x, size=(18, 7)),
        F.interpolate(x, scale_factor=(1.5, 3)),
    ),
    IMAGE,
)
simple("nearest_exact", lambda x: F.interpolate(x, size=(18, 7), mode="nearest-exact"), IMAGE)
simple(
    "upsample_linear",
    lambda x: tuple(
        F.interpolate(x, size=s, mode="bilinear", align_corners=a)
        for s in ((24, 24), (18, 7))
        for a in (False, True)
    ),
    IMAGE,
)
simple(
    "upsample_cubic",
    lambda x: tuple(
        F.interpolate(x, scale_factor=2.5, mode="bicubic", align_corners=a) for a in (False, True)
    ),
    IMAGE,
)
simple(
    "upsample_other_ranks",
    lambda x, y: (
        F.interpolate(x, scale_factor=2, mode="linear"),
        F.interpolate(y, scale_factor=2, mode="trilinear"),
        F.interpolate(x, size=7),
    ),
    (2, 3, 9),
    (1, 2, 3, 4, 5),
)
simple("antialias", lambda x: F.interpolate(x, size=(5, 7), mode="bilinear", antialias=True), IMAGE)
simple("area", lambda x: F.interpolate(x, size=(6, 4), mode="area"), IMAGE)
simple(
    "pads",
    lambda x: (
        F.pad(x, (1, 2, 0, 1)),
        F.pad(x, (2, 1, 1, 2), "reflect"),
        F.pad(x, (1, 1, 2, 2), "replicate"),
        F.pad(x, (1, 2, 3, 1), "circular"),
        F.pad(x, (1, 1), value=3.5),
        F.pad(x, (-1, -2, 1, -3)),
    ),
    IMAGE,
)
simple(
    "grid_sample",
    lambda x, g: (
        F.grid_sample(x, torch.tanh(g), align_corners=False),
        F.grid_sample(x, g, "nearest", "border", align_corners=True),
        F.grid_sample(x, g, "bilinear", "reflection", align_corners=False),
    ),
    IMAGE,
    (2, 5, 6, 2),
)
simple(
    "spatial_transformer",
    lambda l, x: F.grid_sample(
        x,
        F.affine_grid(l(x.mean((2, 3))).view(2, 2, 3), x.shape, align_corners=False),
        align_corners=False,
    ),
    IMAGE,
    parts=lambda: (nn.Linear(8, 6),),
)

# ---- norms ----

simple(
    "norms_2d",
    lambda a, b, c, d, e, x: (a(x), b(x), c(x), d(x), e(x)),
    IMAGE,
    parts=lambda: (
        nn.GroupNorm(4, 8),
        nn.GroupNorm(1, 8, affine=False),
        nn.InstanceNorm2d(8),
        nn.InstanceNorm2d(8, affine=True),
        nn.InstanceNorm2d(8, track_running_stats=True),
    ),
)
simple(
    "rms_norm",
    lambda a, b, x: (a(x), b(x)),
    ROWS,
    parts=lambda: (nn.RMSNorm(16), nn.RMSNorm((6, 16), elementwise_affine=False)),
)
simple(
    "norms_rows",
    lambda a, b, c, d, x: (a(x), b(x), c(x), d(x)),
    ROWS,
    parts=lambda: (
        nn.LayerNorm(16),
        nn.LayerNorm((6, 16)),
        nn.LayerNorm(16, elementwise_affine=False),
        nn.LayerNorm(16, bias=False),
    ),
)
simple(
    "norm_channels_first",
    lambda l, x: l(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
    IMAGE,
    parts=lambda: (nn.LayerNorm(8),),
)
simple(
    "rms_by_hand",
    lambda l, x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * l.weight,
    ROWS,
    parts=lambda: (nn.RMSNorm(16),),
)
simple(
    "batch_norm_rows",
    lambda a, b, x: b(a(x)),
    (4, 16),
    parts=lambda: (nn.Linear(16, 8), nn.BatchNorm1d(8)),
)
simple("local_response", lambda x: F.local_response_norm(x, 3), IMAGE)
simple(
    "vector_norms",
    lambda x: (
        F.normalize(x, dim=1),
        x.norm(dim=-1),
        torch.linalg.vector_norm(x, 1, -1),
        F.cosine_similarity(x[:, :3], x[:, 3:], -1),
        torch.linalg.norm(x),
    ),
    ROWS,
)

# ---- reductions, orders ----

simple(
    "reductions",
    lambda x: (
        x.sum(),
        x.sum(1),
        x.mean((0, 2)),
        x.amax(1),
        x.amin((0, 1), keepdim=True),
        x.prod(1),
        x.std(-1),
        x.var(1, unbiased=False),
        torch.logsumexp(x, 1),
        x.max(),
        x.min(2).values,
        x.max(1).values,
        x.max(1).indices,
        x.argmax(-1),
        x.argmin(1, keepdim=True),
        (x > 0).any(1),
        (x > -9).all(),
        x.argmax(),
    ),
    ROWS,
)
simple(
    "softmaxes",
    lambda x: (
        x.softmax(-1),
        x.softmax(1),
        x.log_softmax(-1),
        F.softmin(x, 0),
        x.softmax(-1, dtype=torch.float64),
    ),
    ROWS,
)
simple(
    "ordering",
    lambda x: (
        *x.topk(3),
        *x.topk(2, 1, largest=False),
        *x.sort(-1),
        x.argsort(1, descending=True),
        *x.max(-1, keepdim=True),
    ),
    ROWS,
)
simple("running", lambda x: (x.cumsum(1), x.cumsum(-1).flip(1), (x * 0.1).cumsum(0).exp()), ROWS)

# ---- shapes and indices ----

simple(
    "joins",
    lambda x, y: (
        torch.cat((x, y, x), 1),
        torch.stack((x, y), 2),
        *x.chunk(3, 1),
        *y.split((5, 11), -1),
        *x.unbind(0),
        torch.hstack((x, y)),
        torch.cat((x, torch.ones_like(y)), -1),
    ),
    ROWS,
    ROWS,
)
simple(
    "slices",
    lambda x: (
        x[:, 1:4],
        x[:, ::2, 3:-1],
        x[:, -1],
        x[..., None],
        x[0],
        x.narrow(2, 3, 4),
        x.flip(1),
        x.flip((1, 2)),
        x.roll(2, 1),
        x.roll((1, 3), (1, 2)),
        x[:, [0, 2, 5]],
        x[:, :, torch.tensor([3, 1])],
        x.diagonal(0, 1, 2),
    ),
    ROWS,
)
simple(
    "shapes",
    lambda x: (
        x.reshape(2, -1),
        x.view(2, 3, 2, 16),
        x.transpose(1, 2),
        x.permute(2, 0, 1),
        x.flatten(),
        x.unflatten(2, (4, 4)),
        x.unsqueeze(0).squeeze(),
        x.expand(3, 2, 6, 16),
        x.repeat(1, 2, 1),
        x.repeat_interleave(2, 1),
        x.tile((1, 1, 2)),
        x.movedim(0, -1),
    ),
    ROWS,
)
simple(
    "gathers",
    lambda x, i: (
        x.gather(1, i),
        x.index_select(1, i[0, :, 0]),
        x[0][i[0, :, 0]],
        x[torch.arange(2), i[:, 0, 0]],
        x[:, i[0, 0, :4], i[0, 1, :4]],
    ),
    ROWS,
    ints(6, 2, 6, 16),
)
simple(
    "scatters",
    lambda x, i, y: (
        x.scatter(1, i, y),
        x.scatter_add(1, i, y),
        x.scatter(2, i, 2.0),
        x.index_fill(1, i[0, :2, 0], 7.0),
        x.scatter_reduce(1, i, y, "amax"),
    ),
    ROWS,
    ints(6, 2, 6, 16),
    ROWS,
)
simple(
    "index_add",
    lambda x, i, y: torch.zeros_like(x).index_add(1, i, y),
    ROWS,
    lambda: torch.randperm(6),
    ROWS,
)
simple(
    "masks",
    lambda x, y: (
        torch.where(x > 0, x, y),
        x.masked_fill(x < 0, -1e9).softmax(-1),
        torch.tril(x),
        torch.triu(x, 1),
        torch.where(x > 0, 1.0, 0.0),
        x * (y > 0),
        torch.where(y > 1, torch.tensor(float("-inf")), x).exp(),
    ),
    ROWS,
    ROWS,
)
simple(
    "created",
    lambda x: (
        torch.arange(x.shape[1]) + x[0, :, 0],
        torch.zeros(x.shape) + x,
        torch.full((2, 1, 1), 2.5) * x,
        torch.eye(16) + x[:, :1],
        torch.linspace(0, 1, 16) * x,
        F.one_hot(x.argmax(-1), 16),
        torch.cat(torch.meshgrid(torch.arange(3.0), torch.arange(4.0), indexing="ij")) + x[0, 0, 0],
    ),
    ROWS,
)
simple("assignments", lambda x, y: (assign(x.clone(), y), assign_row(x.clone(), y)), ROWS, ROWS)
simple("assigned_mask", lambda x: assign_mask(x.clone()), ROWS)
simple(
    "assigned_chosen",
    lambda x, y: (assign_rows(x.clone(), y[0, 0]), assign_chosen(x.clone(), y)),
    ROWS,
    ROWS,
)
simple(
    "einsums",
    lambda x, y: (
        torch.einsum("bik,bjk->bij", x, y),
        torch.einsum("bij,bij->b", x, y),
        torch.einsum("bij->bji", x),
        torch.einsum("bi,bj->bij", x[..., 0], y[:, 0]),
        torch.einsum("bihd,bjhd->bhij", x.view(2, 6, 4, 4), y.view(2, 6, 4, 4)),
    ),
    ROWS,
    ROWS,
)
simple(
    "products",
    lambda x, y: (
        x @ y.transpose(1, 2),
        torch.bmm(x, y.transpose(1, 2)),
        torch.baddbmm(x[:, :, :6], x, y.transpose(1, 2), beta=0.5, alpha=2),
        x @ y[0, 0],
        torch.outer(x[0, 0], y[0, 0]),
        torch.dot(x[0, 0], y[0, 0]),
        torch.addmm(x[0, :, :6], x[0], y[0].t()),
        x[0, 0] @ y.transpose(1, 2),
        torch.kron(x[0, :2, :2], y[0, :2, :2]),
    ),
    ROWS,
    ROWS,
)
simple("bilinear", lambda b, x, y: b(x, y), ROWS, ROWS, parts=lambda: (nn.Bilinear(16, 16, 4),))
simple(
    "embedding",
    lambda e, i: (e(i), F.embedding(i, e.weight, padding_idx=0).mean(1)),
    ints(20, 3, 7),
    parts=lambda: (nn.Embedding(20, 8),),
)
simple(
    "embedding_bag",
    lambda b, i: b(i),
    ints(20, 3, 7),
    parts=lambda: (nn.EmbeddingBag(20, 8, mode="mean"),),
)
simple("passed_through", lambda x, unused: (x, x + 1, torch.ones(3), x[0, 0, 0]), ROWS, (3,))
simple(
    "scalars",
    lambda x: (x.sum() * x.shape[1], x.mean() + math.pi, torch.tensor(3) * x.shape[0]),
    ROWS,
)


def assign(x, y):
    x[:, 1:3] = y[:, :2]
    x[:, :, 0] = 5
    return x


def assign_row(x, y):
    x[torch.arange(2), torch.tensor([3, 1])] = y[:, 0]
    return x


def assign_mask(x):
    x[x > 1] = 1
    return x


def assign_rows(x, row):
    x[x[:, :, 0] > 0] = row
    return x


def assign_chosen(x, y):
    mask = x > 0.5
    x[mask] = y[mask] * 2 - 1
    return x


simple(
    "spectrogram",
    lambda x: torch.view_as_real(
        torch.stft(x, 32, 8, window=torch.hann_window(32), center=False, return_complex=True)
    ),
    (2, 100),
)

# ---- recurrent ----


def recurrent(name, make, shape, state=None):
    simple(
        name,
        lambda r, x, *s: r(x, *s),
        shape,
        *((state,) if state else ()),
        parts=lambda: (make(),)
    )


recurrent("lstm", lambda: nn.LSTM(16, 10, batch_first=True), ROWS)
recurrent("lstm_two_ways", lambda: nn.LSTM(16, 10, 2, bidirectional=True), ROWS)
recurrent("lstm_no_bias", lambda: nn.LSTM(16, 10, bias=False), ROWS)
recurrent("lstm_projected", lambda: nn.LSTM(16, 10, proj_size=4), ROWS)
recurrent("gru", lambda: nn.GRU(16, 10, batch_first=True), ROWS, (1, 2, 10))
recurrent("gru_two_ways", lambda: nn.GRU(16, 10, 2, bidirectional=True), ROWS)
recurrent("rnn", lambda: nn.RNN(16, 10, nonlinearity="relu"), ROWS)
recurrent("rnn_two_ways", lambda: nn.RNN(16, 10, 2, bidirectional=True), ROWS)
simple(
    "lstm_state",
    lambda r, x, h, c: r(x, (h, c)),
    ROWS,
    (1, 6, 10),
    (1, 6, 10),
    parts=lambda: (nn.LSTM(16, 10),),
)
simple(
    "cells",
    lambda a, b, x: steps(a, b, x),
    ROWS,
    parts=lambda: (nn.LSTMCell(16, 10), nn.GRUCell(10, 10)),
)


def steps(a, b, x):
    h, c = torch.zeros(2, 10), torch.zeros(2, 10)
    for i in range(3):
        h, c = a(x[:, i], (h, c))
        h = b(h, h)
    return h, c


# ---- attention ----


class Attention(nn.Module):
    """Heads by hand; how = the way the scores are made."""

    def __init__(self, width, heads, how):
        super().__init__()
        self.heads, self.how = heads, how
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x, mask=None):
        b, s, w = x.shape
        q, k, v = self.qkv(x).view(b, s, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if self.how == "rotary":
            q, k = rotate(q), rotate(k)
        if self.how in ("causal", "rotary"):
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        elif self.how == "sdpa":
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        else:
            scores = q @ k.transpose(-2, -1) * (q.shape[-1] ** -0.5)
            if self.how == "tril":
                scores = scores.masked_fill(torch.tril(torch.ones(s, s)) == 0, float("-inf"))
            elif mask is not None:
                scores = scores + mask
            y = scores.softmax(-1) @ v
        return self.out(y.transpose(1, 2).reshape(b, s, w))


def rotate(x):
    s, d = x.shape[-2:]
    angle = torch.arange(s, dtype=torch.float32)[:, None] * 10000.0 ** (-torch.arange(0, d, 2) / d)
    sin, cos = angle.sin().repeat(1, 2), angle.cos().repeat(1, 2)
    half = torch.cat((-x[..., d // 2 :], x[..., : d // 2]), -1)
    return x * cos + half * sin


class Block(nn.Module):
    def __init__(self, width, heads, how, norm=nn.LayerNorm, act=F.gelu, gated=False):
        super().__init__()
        self.a, self.b = norm(width), norm(width)
        self.attention = Attention(width, heads, how)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gate = nn.Linear(width, 4 * width) if gated else None
        self.act = act

    def forward(self, x, mask=None):
        x = x + self.attention(self.a(x), mask)
        y = self.b(x)
        up = self.act(self.up(y))
        return x + self.down(up * self.gate(y) if self.gate else up)


class Decoder(nn.Module):
    """Token and position embeddings, blocks, tied output."""

    def __init__(self, block, positions=True):
        super().__init__()
        self.tokens = nn.Embedding(50, 32)
        self.positions = nn.Embedding(64, 32) if positions else None
        self.blocks = nn.ModuleList(block() for _ in range(2))
        self.norm = nn.LayerNorm(32)

    def forward(self, ids):
        x = self.tokens(ids)
        if self.positions is not None:
            x = x + self.positions(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            x = block(x)
        return self.norm(x) @ self.tokens.weight.t()


@network
def gpt_causal():
    return Decoder(lambda: Block(32, 4, "causal", act=lambda x: F.gelu(x, approximate="tanh"))), (
        ints(50, 2, 9)(),
    )


@network
def gpt_tril():
    return Decoder(lambda: Block(32, 4, "tril")), (ints(50, 2, 9)(),)


@network
def llama():
    return Decoder(lambda: Block(32, 4, "rotary", nn.RMSNorm, F.silu, True), False), (
        ints(50, 2, 9)(),
    )


NETWORKS["gpt_dynamic"] = gpt_causal
NETWORKS["llama_dynamic"] = llama
DYNAMIC["gpt_dynamic"] = DYNAMIC["llama_dynamic"] = ({0: "N", 1: "S"},)

simple(
    "sdpa_masks",
    lambda q, k, v, m: (
        F.scaled_dot_product_attention(q, k, v),
        F.scaled_dot_product_attention(q, k, v, m),
        F.scaled_dot_product_attention(q, k, v, m > -1),
        F.scaled_dot_product_attention(q, k, v, scale=0.3),
        F.scaled_dot_product_attention(q, k, v, is_causal=True),
    ),
    (2, 4, 7, 8),
    (2, 4, 7, 8),
    (2, 4, 7, 8),
    (2, 1, 7, 7),
)
simple(
    "sdpa_cross",
    lambda q, k, v: F.scaled_dot_product_attention(q, k, v),
    (2, 4, 5, 8),
    (2, 4, 9, 8),
    (2, 4, 9, 6),
)
simple(
    "sdpa_grouped",
    lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True),
    (2, 8, 7, 8),
    (2, 2, 7, 8),
    (2, 2, 7, 8),
)
simple(
    "multihead",
    lambda m, x: m(x, x, x),
    ROWS,
    parts=lambda: (nn.MultiheadAttention(16, 4, batch_first=True),),
)
simple(
    "multihead_masked",
    lambda m, q, k: m(
        q, k, k, need_weights=False, attn_mask=torch.triu(torch.ones(6, 6), 1).bool()
    )[0],
    ROWS,
    ROWS,
    parts=lambda: (nn.MultiheadAttention(16, 4, batch_first=True),),
)
simple(
    "encoder_layer",
    lambda m, x: m(x),
    ROWS,
    parts=lambda: (
        nn.TransformerEncoder(
            nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2, enable_nested_tensor=False
        ),
    ),
)
simple(
    "decoder_layer",
    lambda m, x, y: m(x, y),
    ROWS,
    (2, 5, 16),
    parts=lambda: (
        nn.TransformerDecoderLayer(16, 4, 32, batch_first=True, norm_first=True, activation="gelu"),
    ),
)


class T5Attention(nn.Module):
    """Scores with a learnt bias for each bucket of distance."""

    def __init__(self):
        super().__init__()
        self.inner = Attention(32, 4, "added")
        self.bias = nn.Embedding(8, 4)

    def forward(self, x):
        n = torch.arange(x.shape[1])
        distance = n[None] - n[:, None]
        near = distance.abs()
        far = 2 + (torch.log(near.clamp(min=1).float() / 2) / math.log(8) * 2).long().clamp(max=1)
        bucket = torch.where(near < 2, near, far) + (distance > 0).long() * 4
        return self.inner(x, self.bias(bucket).permute(2, 0, 1)[None])


NETWORKS["t5_bias"] = lambda: (T5Attention(), (torch.randn(2, 9, 32),))
NETWORKS["t5_dynamic"] = NETWORKS["t5_bias"]
DYNAMIC["t5_dynamic"] = ({0: "N", 1: "S"},)


class Bert(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.word, self.kind = nn.Embedding(50, 32), nn.Embedding(2, 32)
        self.place = nn.Embedding(64, 32)
        self.register_buffer("ids", torch.arange(64)[None], persistent=False)
        self.norm = nn.LayerNorm(32, eps=1e-12)
        self.blocks = nn.ModuleList(Block(32, 4, how) for _ in range(2))
        self.pool = nn.Linear(32, 32)

    def forward(self, ids, mask, kind):
        x = self.norm(self.word(ids) + self.place(self.ids[:, : ids.shape[1]]) + self.kind(kind))
        added = (1.0 - mask[:, None, None, :].to(x.dtype)) * -10000.0
        for block in self.blocks:
            x = block(x, added)
        return x, torch.tanh(self.pool(x[:, 0]))


def bert_inputs():
    return (
        torch.randint(0, 50, (2, 9)),
        (torch.arange(9) < 7).long().repeat(2, 1),
        torch.randint(0, 2, (2, 9)),
    )


NETWORKS["bert"] = lambda: (Bert("added"), bert_inputs())
NETWORKS["bert_sdpa"] = lambda: (Bert("sdpa"), bert_inputs())
NETWORKS["bert_dynamic"] = NETWORKS["bert_sdpa"]
DYNAMIC["bert_dynamic"] = ({0: "N", 1: "S"},) * 3


class ViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 32, 4, 4)
        self.first = nn.Parameter(torch.randn(1, 1, 32))
        self.place = nn.Parameter(torch.randn(1, 17, 32))
        self.blocks = nn.Sequential(Block(32, 4, "sdpa"), Block(32, 4, "plain"))
        self.head = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 10))

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.first.expand(x.shape[0], -1, -1), x), 1) + self.place
        return self.head(self.blocks(x)[:, 0])


NETWORKS["vit"] = lambda: (ViT(), (torch.randn(2, 3, 16, 16),))
NETWORKS["vit_dynamic"] = NETWORKS["vit"]
DYNAMIC["vit_dynamic"] = ({0: "N"},)


class Swin(nn.Module):
    """Attention in shifted windows of 4 x 4."""

    def __init__(self):
        super().__init__()
        self.block = Block(32, 4, "plain")

    def forward(self, x):
        b, h, w, c = x.shape
        x = x.roll((-2, -2), (1, 2)).view(b, h // 4, 4, w // 4, 4, c).permute(0, 1, 3, 2, 4, 5)
        x = self.block(x.reshape(-1, 16, c)).view(b, h // 4, w // 4, 4, 4, c)
        return x.permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c).roll((2, 2), (1, 2))


NETWORKS["swin"] = lambda: (Swin(), (torch.randn(2, 8, 8, 32),))

# ---- whole convolutional networks ----


def conv_norm(i, o, k=3, s=1, g=1, act=nn.ReLU):
    return nn.Sequential(
        nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=False), nn.BatchNorm2d(o), act()
    )


class Residual(nn.Module):
    def __init__(self, *layers, act=nn.Identity):
        super().__init__()
        self.body, self.act = nn.Sequential(*layers), act()

    def forward(self, x):
        return self.act(self.body(x) + x)


class Squeeze(nn.Module):
    def __init__(self, width, act=nn.Sigmoid):
        super().__init__()
        self.body = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, width // 4, 1),
            nn.ReLU(),
            nn.Conv2d(width // 4, width, 1),
            act(),
        )

    def forward(self, x):
        return x * self.body(x)


class Parallel(nn.Module):
    """Branches side by side."""

    def __init__(self, *branches):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        return torch.cat([b(x) for b in self.branches], 1)


def head(width, classes=10):
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(width, classes)


def picture(make, size=32):
    return lambda: (make(), (torch.randn(2, 3, size, size),))


NETWORKS["resnext"] = picture(
    lambda: nn.Sequential(
        conv_norm(3, 16, 7, 2),
        nn.MaxPool2d(3, 2, 1),
        Residual(
            conv_norm(16, 16, 1),
            conv_norm(16, 16, g=8),
            conv_norm(16, 16, 1, act=nn.Identity),
            act=nn.ReLU,
        ),
        *head(16)
    )
)
NETWORKS["mobilenet_v3"] = picture(
    lambda: nn.Sequential(
        conv_norm(3, 16, 3, 2, act=nn.Hardswish),
        Residual(
            conv_norm(16, 32, 1, act=nn.Hardswish),
            conv_norm(32, 32, 5, g=32, act=nn.Hardswish),
            Squeeze(32, nn.Hardsigmoid),
            conv_norm(32, 16, 1, act=nn.Identity),
        ),
        *head(16)
    )
)
NETWORKS["efficientnet"] = picture(
    lambda: nn.Sequential(
        conv_norm(3, 16, 3, 2, act=nn.SiLU),
        Residual(
            conv_norm(16, 64, 1, act=nn.SiLU),
            conv_norm(64, 64, 3, g=64, act=nn.SiLU),
            Squeeze(64),
            conv_norm(64, 16, 1, act=nn.Identity),
        ),
        *head(16)
    )
)
NETWORKS["inception"] = picture(
    lambda: nn.Sequential(
        conv_norm(3, 8),
        Parallel(
            conv_norm(8, 4, 1),
            conv_norm(8, 8),
            conv_norm(8, 4, 5),
            nn.Sequential(nn.MaxPool2d(3, 1, 1), conv_norm(8, 4, 1)),
        ),
        *head(20)
    )
)
NETWORKS["densenet"] = picture(
    lambda: nn.Sequential(
        nn.Conv2d(3, 8, 3),
        Parallel(
            nn.Identity(),
            nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)),
        ),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 8, 1),
        nn.AvgPool2d(2),
        *head(8)
    )
)
NETWORKS["resnet_dynamic"] = NETWORKS["resnext"]
DYNAMIC["resnet_dynamic"] = ({0: "N"},)


class ConvNeXt(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.depth = nn.Conv2d(3, 16, 4, 4), nn.Conv2d(16, 16, 7, padding=3, groups=16)
        self.norm, self.up, self.down = nn.LayerNorm(16, 1e-6), nn.Linear(16, 64), nn.Linear(64, 16)
        self.scale = nn.Parameter(torch.rand(16))

    def forward(self, x):
        x = self.stem(x)
        y = self.down(F.gelu(self.up(self.norm(self.depth(x).permute(0, 2, 3, 1)))))
        return x + (self.scale * y).permute(0, 3, 1, 2)


NETWORKS["convnext"] = picture(ConvNeXt)


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList((conv_norm(3, 8), conv_norm(8, 16), conv_norm(16, 16)))
        self.up = nn.ConvTranspose2d(16, 16, 2, 2)
        self.merge = nn.ModuleList((conv_norm(32, 16), conv_norm(24, 8)))
        self.out = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        a = self.down[0](x)
        b = self.down[1](F.max_pool2d(a, 2))
        c = self.down[2](F.max_pool2d(b, 2))
        d = self.merge[0](torch.cat((self.up(c), b), 1))
        d = F.interpolate(d, size=a.shape[-2:], mode="bilinear", align_corners=True)
        return self.out(self.merge[1](torch.cat((d, a), 1)))


NETWORKS["unet"] = picture(UNet)
NETWORKS["unet_dynamic"] = NETWORKS["unet"]
DYNAMIC["unet_dynamic"] = ({0: "N"},)


class Aspp(nn.Module):
    """Dilated branches and a pooled one, scaled back up."""

    def __init__(self):
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(3, 8, 3, padding=d, dilation=d) for d in (1, 2, 4))
        self.pooled, self.out = nn.Conv2d(3, 8, 1), nn.Conv2d(32, 4, 1)

    def forward(self, x):
        parts = [F.relu(b(x)) for b in self.branches]
        pooled = F.relu(self.pooled(F.adaptive_avg_pool2d(x, 1)))
        parts.append(F.interpolate(pooled, size=x.shape[-2:], mode="bilinear", align_corners=False))
        return self.out(torch.cat(parts, 1))


NETWORKS["deeplab"] = picture(Aspp, 16)


class Pyramid(nn.Module):
    """Features of two scales added, then boxes decoded on a grid."""

    def __init__(self):
        super().__init__()
        self.low, self.high = conv_norm(3, 8, 3, 2, act=nn.SiLU), conv_norm(8, 8, 3, 2, act=nn.SiLU)
        self.boxes = nn.Conv2d(8, 3 * 6, 1)
        self.register_buffer("anchors", torch.rand(3, 2))

    def forward(self, x):
        a = self.low(x)
        a = a + F.interpolate(self.high(a), scale_factor=2, mode="nearest")
        b, _, h, w = a.shape
        y = self.boxes(a).view(b, 3, 6, h, w).permute(0, 1, 3, 4, 2).sigmoid()
        yv, xv = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        grid = torch.stack((xv, yv), 2).view(1, 1, h, w, 2).float()
        xy = (y[..., :2] * 2 - 0.5 + grid) * 2
        wh = (y[..., 2:4] * 2) ** 2 * self.anchors.view(1, 3, 1, 1, 2)
        return torch.cat((xy, wh, y[..., 4:]), -1).view(b, -1, 6)


NETWORKS["detector"] = picture(Pyramid)


class Crnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(
            conv_norm(3, 8), nn.MaxPool2d(2), conv_norm(8, 8), nn.MaxPool2d((4, 1))
        )
        self.rnn, self.out = nn.LSTM(32, 12, bidirectional=True), nn.Linear(24, 11)

    def forward(self, x):
        x = self.conv(x).flatten(1, 2).permute(2, 0, 1)
        return self.out(self.rnn(x)[0]).log_softmax(-1)


NETWORKS["crnn"] = picture(Crnn)
NETWORKS["style"] = picture(
    lambda: nn.Sequential(
        nn.ReflectionPad2d(2),
        nn.Conv2d(3, 8, 5),
        nn.InstanceNorm2d(8, affine=True),
        nn.ReLU(),
        Residual(nn.ReflectionPad2d(1), nn.Conv2d(8, 8, 3), nn.InstanceNorm2d(8, affine=True)),
        nn.Upsample(scale_factor=2),
        nn.ReflectionPad2d(1),
        nn.Conv2d(8, 3, 3),
        nn.Tanh(),
    )
)
NETWORKS["generator"] = lambda: (
    nn.Sequential(
        nn.Unflatten(1, (16, 1, 1)),
        nn.ConvTranspose2d(16, 8, 4),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 3, 4, 2, 1),
        nn.Tanh(),
    ),
    (torch.randn(2, 16),),
)
NETWORKS["mlp"] = lambda: (
    nn.Sequential(
        nn.Linear(16, 32),
        nn.LayerNorm(32),
        nn.GELU(),
        nn.Linear(32, 32, bias=False),
        nn.ELU(),
        nn.Linear(32, 4),
        nn.Softmax(-1),
    ),
    (torch.randn(ROWS),),
)
NETWORKS["mlp_dynamic"] = NETWORKS["mlp"]
DYNAMIC["mlp_dynamic"] = ({0: "N"},)


class Mixer(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.LayerNorm(16), nn.LayerNorm(16)
        self.tokens = nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.Linear(12, 6))
        self.channels = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))

    def forward(self, x):
        x = x + self.tokens(self.a(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.b(x))


NETWORKS["mixer"] = lambda: (Mixer(), (torch.randn(ROWS),))
simple(
    "two_towers",
    lambda a, b, t, x, y: torch.exp(t.weight[0, 0])
    * F.normalize(a(x), dim=-1)
    @ F.normalize(b(y), dim=-1).t(),
    (4, 16),
    (3, 8),
    parts=lambda: (nn.Linear(16, 8), nn.Linear(8, 8), nn.Linear(1, 1)),
)
simple(
    "points",
    lambda a, b, x: b(
        torch.cat((F.relu(a(x)), F.relu(a(x)).max(2, keepdim=True).values.expand(-1, -1, 20)), 1)
    ),
    (2, 3, 20),
    parts=lambda: (nn.Conv1d(3, 8, 1), nn.Conv1d(16, 4, 1)),
)
simple(
    "wavenet",
    lambda a, b, x: F.pad(x, (2, 0)).mean()
    + torch.tanh(a(F.pad(x, (2, 0)))) * torch.sigmoid(b(F.pad(x, (4, 0)))),
    (2, 8, 20),
    parts=lambda: (nn.Conv1d(8, 8, 3), nn.Conv1d(8, 8, 3, dilation=2)),
)
simple(
    "graph_layer",
    lambda l, x, s, t: F.relu(torch.zeros(6, 16).index_add(0, t, l(x[s])) + x),
    (6, 16),
    ints(6, 12),
    ints(6, 12),
    parts=lambda: (nn.Linear(16, 16),),
)
