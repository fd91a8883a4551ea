"""Operators of ONNX in PyTorch that onnx2torch lacks, or that it computes from tensors of sizes.

A size that is read from a tensor cannot be exported ahead of time, so shapes, axes and the like are
Python numbers here: constants, or what an earlier step computed from the sizes of an input.

Each function takes the inputs in ONNX's order, None for one that is not given, and the attributes.
"""

import math
import operator

import torch
import torch.nn.functional as F

import onnx_recurrent as recurrent

TYPES = {1: torch.float32, 2: torch.uint8, 3: torch.int8, 5: torch.int16, 6: torch.int32,
         7: torch.int64, 9: torch.bool, 10: torch.float16, 11: torch.float64, 16: torch.bfloat16}


def each(function):
    """Of one or two lists, element by element; a number stands for a list of its repetitions."""
    def apply(args, attributes):
        size = max((len(x) for x in args if isinstance(x, list)), default=None)
        if size is None:
            return function(*args)
        spread = [x * size if isinstance(x, list) and len(x) == 1 else
                  x if isinstance(x, list) else [x] * size for x in args]
        return [function(*row) for row in zip(*spread)]
    return apply


def divide(a, b):
    """Rounds to zero as ONNX does; sizes are not negative, and then no sign need be asked for."""
    if isinstance(a, int) and isinstance(b, int) and (a < 0) != (b < 0):
        return -(-a // b)
    return a // b


def modulo(a, b):
    return a % b


# ---- sizes: Python numbers and lists of them

def shape(args, attributes):
    return list(args[0].shape)[attributes.get("start", 0):attributes.get("end", None)]


def size(args, attributes):
    return math.prod(args[0].shape)


def sizes_gather(args, attributes):
    values, index = args
    return [values[i] for i in index] if isinstance(index, list) else values[index]


def sizes_slice(args, attributes):
    values, starts, ends, _, steps = args + [None] * (5 - len(args))
    step = steps[0] if steps else 1
    if step < 0:
        values, step = values[::-1], -step
        return values[-starts[0] - 1:-ends[0] - 1:step]
    return values[starts[0]:ends[0]:step]


def sizes_concat(args, attributes):
    return [x for part in args for x in part]


def sizes_same(args, attributes):
    return args[0]


def sizes_reshape(args, attributes):
    values, to = args
    if to == []:
        return values[0] if isinstance(values, list) else values
    return values if isinstance(values, list) else [values]


def sizes_unsqueeze(args, attributes):
    return [args[0]]


def sizes_squeeze(args, attributes):
    return args[0][0]


def sizes_product(args, attributes):
    product = math.prod(args[0])
    return [product] if attributes.get("keepdims", 1) else product


def sizes_sum(args, attributes):
    total = sum(args[0])
    return [total] if attributes.get("keepdims", 1) else total


def sizes_filled(args, attributes):
    return [attributes.get("value", 0)] * args[0][0]


def sizes_expand(args, attributes):
    values, to = args
    return (values if isinstance(values, list) else [values]) * to[0]


SIZES = {
    "Add": each(lambda a, b: a + b), "Sub": each(lambda a, b: a - b),
    "Mul": each(lambda a, b: a * b), "Div": each(divide), "Mod": each(modulo),
    "Neg": each(lambda a: -a), "Min": each(min), "Max": each(max),
    "Equal": each(lambda a, b: a == b), "Where": each(lambda c, a, b: a if c else b),
    "Gather": sizes_gather, "Slice": sizes_slice, "Concat": sizes_concat,
    "Cast": sizes_same, "Identity": sizes_same, "Reshape": sizes_reshape,
    "Unsqueeze": sizes_unsqueeze, "Squeeze": sizes_squeeze, "ReduceProd": sizes_product,
    "ReduceSum": sizes_sum, "ConstantOfShape": sizes_filled, "Expand": sizes_expand,
}


# ---- tensors whose sizes are numbers

def reshape(args, attributes):
    x, to = args
    if not attributes.get("allowzero", 0):
        to = [x.shape[i] if isinstance(s, int) and s == 0 else s for i, s in enumerate(to)]
    return x.reshape(to)


def expand(args, attributes):
    x, to = args
    # ONNX lets either side be 1; expand() lets only the tensor's.
    have = [1] * (len(to) - x.dim()) + list(x.shape)
    skip = len(have) - len(to)
    return x.expand(have[:skip] + [h if isinstance(t, int) and t == 1 else t
                                   for h, t in zip(have[skip:], to)])


def constant_of_shape(args, attributes):
    to, at = args
    return torch.full(to, attributes.get("value", 0.0), dtype=TYPES[attributes.get("dtype", 1)],
                      device=at.device)


def arange(args, attributes):
    start, limit, delta, at = args
    return torch.arange(start, limit, delta, dtype=TYPES[attributes["dtype"]], device=at.device)


def to_tensor(args, attributes):
    values, at = args
    return torch.tensor(values, dtype=TYPES[attributes["dtype"]], device=at.device)


def slice_(args, attributes):
    x, starts, ends, axes, steps = args + [None] * (5 - len(args))
    for i, (start, end) in enumerate(zip(starts, ends)):
        axis = axes[i] if axes is not None else i
        axis = axis + x.dim() if axis < 0 else axis
        step = steps[i] if steps is not None else 1
        if step < 0:
            x, start, end, step = x.flip(axis), -start - 1, -end - 1, -step
        x = x[(slice(None),) * axis + (slice(start, end, step),)]
    return x


def tile(args, attributes):
    return args[0].repeat(args[1])


def unsqueeze(args, attributes):
    x, axes = args
    rank = x.dim() + len(axes)
    for axis in sorted(a + rank if a < 0 else a for a in axes):
        x = x.unsqueeze(axis)
    return x


def squeeze(args, attributes):
    x, axes = args + [None] * (2 - len(args))
    if axes is None:
        return x.squeeze()
    return x.squeeze([a + x.dim() if a < 0 else a for a in axes])


def split(args, attributes):
    x, parts = args + [None] * (2 - len(args))
    axis = attributes.get("axis", 0)
    if parts is None:
        count = attributes.get("num_outputs", attributes["outputs"])
        parts = -(-x.shape[axis] // count)
    return torch.split(x, parts, dim=axis)


PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def pad(args, attributes):
    x, pads, value, axes = args + [None] * (4 - len(args))
    mode = PAD_MODES[attributes.get("mode", b"constant").decode()]
    axes = list(range(x.dim())) if axes is None else [a + x.dim() if a < 0 else a for a in axes]
    sides = [(0, 0)] * x.dim()
    for i, axis in enumerate(axes):
        sides[axis] = (pads[i], pads[i + len(axes)])
    if mode == "constant":
        return F.pad(x, [p for side in reversed(sides) for p in side], value=value or 0)
    while len(sides) > 1 and sides[0] == (0, 0):
        sides = sides[1:] # these modes take the last axes only
    return F.pad(x, [p for side in reversed(sides) for p in side], mode=mode)


def topk(args, attributes):
    k = args[1][0] if isinstance(args[1], list) else args[1]
    found = torch.topk(args[0], k, attributes.get("axis", -1), bool(attributes.get("largest", 1)),
                       bool(attributes.get("sorted", 1)))
    return found.values, found.indices


def cumsum(args, attributes):
    x, axis = args
    axis = axis[0] if isinstance(axis, list) else axis
    x = x.flip(axis) if attributes.get("reverse", 0) else x
    total = torch.cumsum(x, axis)
    total = total - x if attributes.get("exclusive", 0) else total
    return total.flip(axis) if attributes.get("reverse", 0) else total


def one_hot(args, attributes):
    index, depth, values = args
    depth = depth[0] if isinstance(depth, list) else depth
    axis = attributes.get("axis", -1)
    where = torch.arange(depth, device=index.device)
    rank = index.dim() + 1
    axis = axis + rank if axis < 0 else axis
    where = where.reshape([-1 if i == axis else 1 for i in range(rank)])
    return torch.where(index.remainder(depth).unsqueeze(axis) == where, values[1], values[0])


RESIZE_CENTRED = ("half_pixel", "pytorch_half_pixel")


def resize(args, attributes):
    x, _, scales, to = args + [None] * (4 - len(args))
    mode = attributes.get("mode", b"nearest").decode()
    where = attributes.get("coordinate_transformation_mode", b"half_pixel").decode()
    mode = {"nearest": "nearest", "cubic": "bicubic",
            "linear": {3: "linear", 4: "bilinear", 5: "trilinear"}[x.dim()]}[mode]
    axes = attributes.get("axes", range(x.dim()))
    keys = {"size": spatial(to, axes, x.shape), "scale_factor": None}
    if to is None or len(to) == 0:
        keys = {"size": None, "scale_factor": spatial(scales, axes, [1] * x.dim())}
    if mode != "nearest":
        keys["align_corners"] = where == "align_corners"
        keys["antialias"] = bool(attributes.get("antialias", 0))
    return F.interpolate(x, mode=mode, **keys)


def spatial(values, axes, default):
    """The values of the axes behind batch and channels, which interpolate() leaves as they are."""
    if values is None or len(values) == 0:
        return None
    given = dict(zip(axes, values))
    return [given.get(i, default[i]) for i in range(2, len(default))]


def resize_refusal(attributes):
    """What PyTorch's interpolate() computes otherwise, or None."""
    mode = attributes.get("mode", b"nearest").decode()
    where = attributes.get("coordinate_transformation_mode", b"half_pixel").decode()
    if mode == "nearest":
        near = attributes.get("nearest_mode", b"round_prefer_floor").decode()
        return None if (where, near) == ("asymmetric", "floor") else f"nearest, {where}, {near}"
    if where not in RESIZE_CENTRED + ("align_corners",):
        return f"{mode}, {where}"
    if attributes.get("exclude_outside", 0) or attributes.get("keep_aspect_ratio_policy",
                                                              b"stretch") != b"stretch":
        return "exclude_outside or keep_aspect_ratio_policy"
    if mode == "cubic" and abs(attributes.get("cubic_coeff_a", -0.75) + 0.75) > 1e-6:
        return "cubic_coeff_a"
    return None


def reduce(function):
    def apply(args, attributes):
        x, axes = args + [None] * (2 - len(args))
        axes = attributes.get("axes", None) if axes is None else axes
        if not axes:
            if attributes.get("noop_with_empty_axes", 0):
                return x
            axes = range(x.dim())
        return function(x, list(axes), bool(attributes.get("keepdims", 1)))
    return apply


def product(x, axes, keep):
    for axis in sorted((a + x.dim() if a < 0 else a for a in axes), reverse=True):
        x = torch.prod(x, axis, keepdim=keep)
    return x


REDUCTIONS = {
    "ReduceMean": lambda x, a, k: torch.mean(x, a, keepdim=k),
    "ReduceSum": lambda x, a, k: torch.sum(x, a, keepdim=k, dtype=x.dtype),
    "ReduceMax": lambda x, a, k: torch.amax(x, a, keepdim=k),
    "ReduceMin": lambda x, a, k: torch.amin(x, a, keepdim=k),
    "ReduceProd": product,
    "ReduceL1": lambda x, a, k: torch.sum(torch.abs(x), a, keepdim=k, dtype=x.dtype),
    "ReduceL2": lambda x, a, k: torch.sqrt(torch.sum(x * x, a, keepdim=k)),
    "ReduceSumSquare": lambda x, a, k: torch.sum(x * x, a, keepdim=k, dtype=x.dtype),
    "ReduceLogSum": lambda x, a, k: torch.log(torch.sum(x, a, keepdim=k)),
    "ReduceLogSumExp": lambda x, a, k: torch.logsumexp(x, a, keepdim=k),
}


# ---- tensors

def layer_norm(args, attributes):
    x, scale, bias = args + [None] * (3 - len(args))
    sizes = list(x.shape)[attributes.get("axis", -1):]
    if list(scale.shape) != sizes:
        return F.layer_norm(x, sizes, eps=attributes.get("epsilon", 1e-5)) * scale + (
            0 if bias is None else bias)
    return F.layer_norm(x, sizes, scale, bias, attributes.get("epsilon", 1e-5))


def rms_norm(args, attributes):
    x, scale = args
    sizes = list(x.shape)[attributes.get("axis", -1):]
    return F.rms_norm(x, sizes, eps=attributes.get("epsilon", 1e-5)) * scale


def group_norm(args, attributes):
    x, scale, bias = args
    groups = attributes["num_groups"]
    if scale.shape[0] == groups and groups != x.shape[1]: # opset 18: one of each group
        scale, bias = (t.repeat_interleave(x.shape[1] // groups) for t in (scale, bias))
    return F.group_norm(x, groups, scale, bias, attributes.get("epsilon", 1e-5))


def gelu(args, attributes):
    return F.gelu(args[0], approximate=attributes.get("approximate", b"none").decode())


def heads(x, count):
    return x.reshape(x.shape[0], x.shape[1], count, -1).transpose(1, 2)


def attention_refusal(attributes):
    if attributes.get("softcap", 0.0) or attributes.get("softmax_precision", 1) != 1:
        return "softcap or softmax_precision"
    return "a cache of keys and values" if attributes["outputs"] > 1 else None


def attention(args, attributes):
    query, key, value, mask = args + [None] * (4 - len(args))
    flat = query.dim() == 3
    if flat:
        query = heads(query, attributes["q_num_heads"])
        key, value = (heads(x, attributes["kv_num_heads"]) for x in (key, value))
    y = F.scaled_dot_product_attention(
        query, key, value, mask, is_causal=bool(attributes.get("is_causal", 0)),
        scale=attributes.get("scale", None), enable_gqa=query.shape[1] != key.shape[1])
    return y.transpose(1, 2).reshape(y.shape[0], y.shape[2], -1) if flat else y


def trilu(args, attributes):
    x, k = args + [None] * (2 - len(args))
    k = k[0] if isinstance(k, list) else k or 0
    return torch.triu(x, k) if attributes.get("upper", 1) else torch.tril(x, k)


SCATTER = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def scatter_elements(args, attributes):
    x, index, updates = args
    axis = attributes.get("axis", 0)
    how = attributes.get("reduction", b"none").decode()
    index = torch.where(index < 0, index + x.shape[axis], index)
    if how == "none":
        return x.scatter(axis, index, updates)
    return x.scatter_reduce(axis, index, updates, SCATTER[how], include_self=True)


def grid_sample(args, attributes):
    mode = attributes.get("mode", b"linear").decode()
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    return F.grid_sample(args[0], args[1], mode=mode,
                         padding_mode=attributes.get("padding_mode", b"zeros").decode(),
                         align_corners=bool(attributes.get("align_corners", 0)))


def clip(args, attributes):
    x, low, high = args + [None] * (3 - len(args))
    return torch.clamp(x, low, high)


def space_to_depth(args, attributes):
    block = attributes["blocksize"]
    n, c, h, w = args[0].shape
    x = args[0].reshape(n, c, h // block, block, w // block, block).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(n, c * block * block, h // block, w // block)


def global_max_pool(args, attributes):
    return torch.amax(args[0], list(range(2, args[0].dim())), keepdim=True)


def cast_like(args, attributes):
    return args[0].to(args[1].dtype)


def one(function):
    return lambda args, attributes: function(args[0])


def two(function):
    return lambda args, attributes: function(args[0], args[1])


# of one number and a tensor, in either order
ARITHMETIC = {"Add": operator.add, "Sub": operator.sub, "Mul": operator.mul,
              "Div": operator.truediv}

# name: (function, places of the inputs that must be Python numbers)
TENSORS = {
    "Reshape": (reshape, {1}), "Expand": (expand, {1}), "Slice": (slice_, {1, 2, 3, 4}),
    "Tile": (tile, {1}), "Unsqueeze": (unsqueeze, {1}), "Squeeze": (squeeze, {1}),
    "Split": (split, {1}), "Pad": (pad, {1, 2, 3}), "TopK": (topk, {1}), "CumSum": (cumsum, {1}),
    "OneHot": (one_hot, {1}), "Resize": (resize, {1, 2, 3}), "Trilu": (trilu, {1}),
    "Clip": (clip, set()),
    "LayerNormalization": (layer_norm, set()), "RMSNormalization": (rms_norm, set()),
    "GroupNormalization": (group_norm, set()), "Gelu": (gelu, set()),
    "Attention": (attention, set()), "ScatterElements": (scatter_elements, set()),
    "GridSample": (grid_sample, set()), "SpaceToDepth": (space_to_depth, set()),
    "GlobalMaxPool": (global_max_pool, set()), "CastLike": (cast_like, set()),
    "Mish": (one(F.mish), set()),
    "Sinh": (one(torch.sinh), set()), "Cosh": (one(torch.cosh), set()),
    "Asinh": (one(torch.asinh), set()), "Acosh": (one(torch.acosh), set()),
    "Atanh": (one(torch.atanh), set()),
    "ThresholdedRelu": (lambda a, k: torch.where(a[0] > k.get("alpha", 1.0), a[0], 0), set()),
    "Shrink": (lambda a, k: torch.where(
        a[0] < -k.get("lambd", 0.5), a[0] + k.get("bias", 0.0),
        torch.where(a[0] > k.get("lambd", 0.5), a[0] - k.get("bias", 0.0), 0)), set()),
    "BitwiseAnd": (lambda a, k: a[0] & a[1], set()), "BitwiseOr": (lambda a, k: a[0] | a[1], set()),
    "BitwiseXor": (lambda a, k: a[0] ^ a[1], set()), "BitwiseNot": (one(torch.bitwise_not), set()),
}
TENSORS["Select"] = (lambda a, k: a[0].select(k.get("axis", 0), int(a[1])), set())
TENSORS.update({"Scalar" + name: (two(function), set()) for name, function in ARITHMETIC.items()})
TENSORS.update({name: (reduce(function), {1}) for name, function in REDUCTIONS.items()})
TENSORS.update({op: (recurrent.recurrent(op), set()) for op in recurrent.ORDER})

# with one more input behind: an empty tensor, which tells on what device the module is
PLACED = {"ConstantOfShape": (constant_of_shape, {0}), "Range": (arange, {0, 1, 2}),
          "ToTensor": (to_tensor, {0})}

# what a node may ask for that the function above does not do: the reason, or None
REFUSALS = {"Resize": resize_refusal, "Attention": attention_refusal}
REFUSALS.update({op: recurrent.refusal(op) for op in recurrent.ORDER})
