"""The built-in models as plain PyTorch modules, their weights read by name from the ONNX file.

Module names are those of torchvision and HuggingFace, and so are the file's. Only one thing differs
between the two: a weight that feeds a MatMul is stored [in, out], and PyTorch's Linear keeps it
[out, in]. Each weight of the file is used exactly once, or there is an error.
"""
from __future__ import annotations

import numpy
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import nn


class ZooError(Exception):
    """The file's weights are not those of the network."""


# --- ResNet-50 ---------------------------------------------------------------------------------


class Bottleneck(nn.Module):
    """1x1, 3x3 (which has the stride: v1.5) and 1x1 convolution around a shortcut."""

    def __init__(self, channels: int, width: int, stride: int):
        super().__init__()
        out = 4 * width
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False),
                                            nn.BatchNorm2d(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        x += shortcut
        return self.relu(x)


class ResNet50(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        self.layer1 = self.stage(64, 64, 3, 1)
        self.layer2 = self.stage(256, 128, 4, 2)
        self.layer3 = self.stage(512, 256, 6, 2)
        self.layer4 = self.stage(1024, 512, 3, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2048, 1000)

    @staticmethod
    def stage(channels: int, width: int, blocks: int, stride: int) -> nn.Sequential:
        first = Bottleneck(channels, width, stride)
        return nn.Sequential(first, *(Bottleneck(4 * width, width, 1) for _ in range(1, blocks)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


# --- MobileNetV2 -------------------------------------------------------------------------------


def conv_bn_relu6(channels: int, out: int, kernel: int, stride: int, groups: int = 1):
    conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    """Widen, filter each channel by itself, narrow; added to the input where the shapes allow."""

    def __init__(self, channels: int, out: int, stride: int, expand: int):
        super().__init__()
        hidden = channels * expand
        layers = [conv_bn_relu6(channels, hidden, 1, 1)] if expand > 1 else []
        self.conv = nn.Sequential(*layers, conv_bn_relu6(hidden, hidden, 3, stride, hidden),
                                  nn.Conv2d(hidden, out, 1, bias=False), nn.BatchNorm2d(out))
        self.adds = stride == 1 and channels == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x) if self.adds else self.conv(x)


class MobileNetV2(nn.Module):
    #         expand, channels, blocks, stride of the first
    STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
              (6, 160, 3, 2), (6, 320, 1, 1))

    def __init__(self):
        super().__init__()
        channels, features = 32, [conv_bn_relu6(3, 32, 3, 2)]
        for expand, out, blocks, stride in self.STAGES:
            for i in range(blocks):
                features.append(InvertedResidual(channels, out, 1 if i else stride, expand))
                channels = out
        features.append(conv_bn_relu6(channels, 1280, 1, 1))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.adaptive_avg_pool2d(self.features(x), 1)
        return self.classifier(torch.flatten(x, 1))


# --- BERT-base ---------------------------------------------------------------------------------

WIDTH, HEADS, INNER, LAYERS, VOCABULARY, POSITIONS = 768, 12, 3072, 12, 30522, 512
EPSILON = 1e-12


class Group(nn.Module):
    """Modules under one name, so that parameters are called as in HuggingFace's BERT."""

    def __init__(self, /, **modules: nn.Module):
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)


class Embeddings(nn.Module):
    def __init__(self):
        super().__init__()
        self.word_embeddings = nn.Embedding(VOCABULARY, WIDTH)
        self.position_embeddings = nn.Embedding(POSITIONS, WIDTH)
        self.token_type_embeddings = nn.Embedding(2, WIDTH)
        self.LayerNorm = nn.LayerNorm(WIDTH, eps=EPSILON)
        self.register_buffer("position_ids", torch.arange(POSITIONS).unsqueeze(0))

    def forward(self, input_ids: torch.Tensor, token_type_ids: torch.Tensor) -> torch.Tensor:
        positions = self.position_ids[:, :input_ids.shape[1]]
        x = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids)
        return self.LayerNorm(x + self.position_embeddings(positions))


class SelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH)

    @staticmethod
    def heads(x: torch.Tensor) -> torch.Tensor:
        return x.view(x.shape[0], x.shape[1], HEADS, WIDTH // HEADS).transpose(1, 2)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        q, k, v = self.heads(self.query(x)), self.heads(self.key(x)), self.heads(self.value(x))
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return x.transpose(1, 2).reshape(x.shape[0], -1, WIDTH)


class DenseResidual(nn.Module):
    def __init__(self, inputs: int):
        super().__init__()
        self.dense = nn.Linear(inputs, WIDTH)
        self.LayerNorm = nn.LayerNorm(WIDTH, eps=EPSILON)

    def forward(self, x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        return self.LayerNorm(self.dense(x) + residual)


class EncoderLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = Group(self=SelfAttention(), output=DenseResidual(WIDTH))
        self.intermediate = Group(dense=nn.Linear(WIDTH, INNER))
        self.output = DenseResidual(INNER)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x = self.attention.output(self.attention.self(x, mask), x)
        return self.output(F.gelu(self.intermediate.dense(x)), x)


class BertBase(nn.Module):
    def __init__(self):
        super().__init__()
        self.embeddings = Embeddings()
        self.encoder = Group(layer=nn.ModuleList(EncoderLayer() for _ in range(LAYERS)))
        self.pooler = Group(dense=nn.Linear(WIDTH, WIDTH))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor,
                token_type_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.embeddings(input_ids, token_type_ids)
        # Added to the scores, as in the ONNX file: -10000 is enough for a weight of exactly 0.
        mask = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * -10000.0
        for layer in self.encoder.layer:
            x = layer(x, mask)
        return x, torch.tanh(self.pooler.dense(x[:, 0]))


# --- weights -----------------------------------------------------------------------------------

MODELS = {"resnet50": ResNet50, "mobilenet_v2": MobileNetV2, "bert_base": BertBase}


def read_weights(path: str) -> dict[str, torch.Tensor]:
    """By PyTorch's layout. Numbers of the graph itself (scalars, shapes) are no weights."""
    graph = onnx.load(path).graph
    products = {node.input[1] for node in graph.node if node.op_type == "MatMul"}
    weights = {}
    for tensor in graph.initializer:
        is_weight = len(tensor.dims) > 0 and tensor.data_type == onnx.TensorProto.FLOAT
        if not is_weight and not tensor.name.endswith("position_ids"):
            continue
        if tensor.name in weights:
            raise ZooError(f"'{path}' has weight '{tensor.name}' twice")
        array = numpy_helper.to_array(tensor)
        array = array.T if tensor.name in products else array
        # A copy, in order, that may be written to; the message is freed as a whole.
        weights[tensor.name] = torch.from_numpy(numpy.array(array, order="C", copy=True))
    return weights


def check(wanted: dict[str, torch.Tensor], weights: dict[str, torch.Tensor], path: str):
    missing, unused = sorted(wanted.keys() - weights.keys()), sorted(weights.keys() - wanted.keys())
    if missing:
        raise ZooError(f"'{path}' lacks weight '{missing[0]}' ({len(missing)} are missing)")
    if unused:
        raise ZooError(f"the network has no use for weight '{unused[0]}' of '{path}' "
                       f"({len(unused)} are left)")
    for name, tensor in wanted.items():
        if tensor.shape != weights[name].shape or tensor.dtype != weights[name].dtype:
            raise ZooError(f"weight '{name}' of '{path}' is {list(weights[name].shape)}, not "
                           f"{list(tensor.shape)}")


def build(name: str, path: str) -> nn.Module:
    """The network `name` with the weights of the ONNX file, ready for inference."""
    if name not in MODELS:
        raise ZooError(f"there is no PyTorch module for '{name}'")
    with torch.device("meta"): # no memory, no random numbers: all is replaced
        module = MODELS[name]()
    weights = read_weights(path)
    # How many batches a normalisation has seen in training: of no use here, and in no file.
    counters = {key: torch.tensor(0) for key in module.state_dict() if key.endswith("_tracked")}
    check({key: value for key, value in module.state_dict().items() if key not in counters},
          weights, path)
    module.load_state_dict(weights | counters, assign=True)
    return module.eval().requires_grad_(False)
