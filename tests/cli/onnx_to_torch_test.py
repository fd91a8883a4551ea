"""onnx_to_torch_test.py FOLDER: small ONNX graphs converted by tools/python/onnx_to_torch.py, run,
and held against ONNX's own reference; also exported, with what is free left free."""
import itertools
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/python"))

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper, reference

from onnx_to_torch import ConversionError, onnx_to_torch

FLOAT, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
generator = np.random.default_rng(5)


def model(nodes, inputs, outputs, weights=(), opset=20):
    graph = helper.make_graph(
        nodes, "test", [helper.make_tensor_value_info(n, t, s) for n, t, s in inputs],
        [helper.make_tensor_value_info(n, t, s) for n, t, s in outputs],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def values(inputs, sizes):
    made = []
    for _, type_, shape in inputs:
        shape = [sizes.get(d, d) for d in shape]
        if type_ == FLOAT:
            made.append(generator.standard_normal(shape).astype(np.float32))
        else:
            made.append(generator.integers(0, 2, shape).astype(bool if type_ == BOOL else np.int64))
    return made


def compare(run, proto, arrays, name):
    names = [i.name for i in proto.graph.input]
    wanted = reference.ReferenceEvaluator(proto).run(None, dict(zip(names, arrays)))
    with torch.no_grad():
        got = run(*[torch.from_numpy(a) for a in arrays])
    got = got if isinstance(got, (tuple, list)) else (got,)
    assert len(got) == len(wanted), f"{name}: {len(got)} outputs, not {len(wanted)}"
    for x, y in zip(got, wanted):
        y = np.asarray(y)
        assert tuple(x.shape) == y.shape, f"{name}: {tuple(x.shape)}, not {y.shape}"
        assert x.numpy().dtype == y.dtype, f"{name}: {x.dtype}, not {y.dtype}"
        np.testing.assert_allclose(x.numpy(), y, rtol=1e-5, atol=1e-5, err_msg=name)


def check(name, proto, inputs, path, exported=True):
    onnx.save_model(proto, path)
    module, how = onnx_to_torch(path)
    assert how.startswith("onnx2torch "), how
    assert module.onnx_inputs == [i[0] for i in inputs]
    free = sorted({d for _, _, s in inputs for d in s if isinstance(d, str)})
    batches = (2, 5) if free else (0,)
    for batch in batches:
        compare(module, proto, values(inputs, {d: batch + i for i, d in enumerate(free)}), name)
    if not exported:
        return
    dims = {d: torch.export.Dim(d) for d in free}
    shapes = tuple({k: dims[d] for k, d in enumerate(s) if isinstance(d, str)}
                   for _, _, s in inputs)
    example = values(inputs, {d: 2 + i for i, d in enumerate(free)})
    program = torch.export.export(module, tuple(map(torch.from_numpy, example)),
                                  dynamic_shapes=shapes if free else None).module()
    for batch in batches:
        compare(program, proto, values(inputs, {d: batch + i for i, d in enumerate(free)}), name)


X = [("x", FLOAT, [2, 3, 4, 5])]
IMAGE = [("x", FLOAT, [2, 4, 6, 6])]


def one(op, inputs=X, weights=(), opset=20, outputs="y", **attributes):
    """One node whose inputs are those of the graph and then the weights."""
    names = " ".join([i[0] for i in inputs] + [w[0] for w in weights])
    proto = model([node(op, names, outputs, **attributes)], inputs,
                  [(n, 0, None) for n in outputs.split()], weights, opset)
    for output in proto.graph.output: # their types are inferred
        output.type.ClearField("value")
    return proto, inputs


def ints(name, *numbers):
    return name, np.array(numbers, dtype=np.int64)


def single_nodes():
    f = np.float32
    yield "Reshape", one("Reshape", weights=[ints("s", 0, -1, 5)])
    yield "Expand", one("Expand", [("x", FLOAT, [3, 1])], [ints("s", 2, 1, 4)])
    for step in (1, 2, -1, -2):
        yield f"Slice {step}", one("Slice", weights=[
            ints("b", *([4, 1] if step < 0 else [0, -4])),
            ints("e", *([-9, -(2 ** 62)] if step < 0 else [3, 2 ** 62])), ints("a", 2, -1),
            ints("t", step, step)])
    yield "Tile", one("Tile", weights=[ints("r", 1, 2, 1, 3)])
    yield "Unsqueeze", one("Unsqueeze", weights=[ints("a", -1, 0)])
    yield "Squeeze", one("Squeeze", [("x", FLOAT, [1, 3, 1])], [ints("a", -1)])
    yield "Squeeze all", one("Squeeze", [("x", FLOAT, [1, 3, 1])])
    yield "Split", one("Split", weights=[ints("p", 1, 3)], outputs="y z", axis=2)
    yield "Split even", one("Split", outputs="y z", axis=3, num_outputs=2)
    yield "Split one", one("Split", weights=[ints("p", 4)], outputs="y", axis=2)
    for mode in ("constant", "reflect", "edge", "wrap"):
        yield f"Pad {mode}", one("Pad", weights=[ints("p", 1, 2, 1, 0), ("v", f(3)),
                                                 ints("a", 2, 3)], mode=mode)
    yield "TopK", one("TopK", weights=[ints("k", 2)], outputs="y z", axis=1, largest=0)
    values_only = one("TopK", weights=[ints("k", 2)], outputs="y z", axis=1)
    del values_only[0].graph.output[1]
    yield "TopK without places", values_only
    for more in itertools.product((0, 1), (0, 1)):
        yield f"CumSum {more}", one("CumSum", weights=[("a", np.int64(1))], exclusive=more[0],
                                    reverse=more[1])
    yield "OneHot", one("OneHot", [("x", INT, [2, 3])], [
        ("d", np.int64(4)), ("v", np.array([2, 7], f))], axis=1)
    for op in ("Mean", "Sum", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSumExp"):
        for opset, weights, more in ((13, [], {"axes": [1, -1]}), (18, [ints("a", 1, -1)], {}),
                                     (18, [], {"keepdims": 0})):
            if op == "Sum" and opset == 13:
                weights, more = [ints("a", 1, -1)], {}
            yield f"Reduce{op} {opset}", one("Reduce" + op, weights=weights, opset=opset, **more)
    yield "Reduce none", one("ReduceMean", weights=[("a", np.zeros(0, np.int64))],
                             noop_with_empty_axes=1)
    for place in (0, -1):
        yield f"Gather {place}", one("Gather", weights=[("i", np.int64(place))], axis=1)
    yield "Transpose of heads", one("Transpose", perm=[0, 2, 3, 1])
    for op in ("Add", "Sub", "Mul", "Div"):
        yield f"{op} by a number", one(op, weights=[("n", f(3))])
        yield f"{op} of a number", (model([node(op, "n x", "y")], X, [("y", FLOAT, [2, 3, 4, 5])],
                                          [("n", f(3))]), X)
    for approximate in ("none", "tanh"):
        yield f"Gelu {approximate}", one("Gelu", approximate=approximate)
    for axis in (-1, 2):
        size = [5] if axis == -1 else [4, 5]
        weights = [("s", generator.standard_normal(size).astype(f)),
                   ("b", generator.standard_normal(size).astype(f))]
        yield f"LayerNormalization {axis}", one("LayerNormalization", weights=weights, axis=axis,
                                                epsilon=1e-3)
    yield "RMSNormalization", one("RMSNormalization", weights=[("s", np.full(5, 2, f))], opset=23)
    yield "GroupNormalization", one("GroupNormalization", IMAGE, [
        ("s", np.arange(4, dtype=f)), ("b", np.ones(4, f))], opset=21, num_groups=2)
    for upper in (0, 1):
        yield f"Trilu {upper}", one("Trilu", weights=[("k", np.int64(-1))], upper=upper)
    for reduction in ("none", "add", "max"):
        yield f"ScatterElements {reduction}", one("ScatterElements", [("x", FLOAT, [3, 4])], [
            ("i", np.array([[0, -1, 2, 1]])), ("u", np.array([[5, 6, 7, 8]], f))],
            axis=0, reduction=reduction)
    yield "SpaceToDepth", one("SpaceToDepth", IMAGE, blocksize=2)
    yield "GlobalMaxPool", one("GlobalMaxPool", IMAGE)
    yield "Mish", one("Mish")
    for op in ("Sinh", "Cosh", "Asinh"):
        yield op, one(op)
    yield "ThresholdedRelu", one("ThresholdedRelu", alpha=0.3)
    yield "Shrink", one("Shrink", lambd=0.4, bias=0.1)
    yield "Resize linear", one("Resize", IMAGE, [("r", np.zeros(0, f)), ("s", np.array(
        [1, 1, 2, 1.5], f))], mode="linear")
    yield "Resize nearest", one("Resize", IMAGE, [("r", np.zeros(0, f)), ("s", np.array(
        [1, 1, 2, 2], f))], mode="nearest", coordinate_transformation_mode="asymmetric",
        nearest_mode="floor")
    # What onnx2torch has for an older opset, and means the same.
    for opset in (17, 19, 21, 22, 23):
        yield f"Relu {opset}", one("Relu", opset=opset)
        yield f"Transpose {opset}", one("Transpose", opset=opset, perm=[0, 2, 1, 3])
        yield f"MaxPool {opset}", one("MaxPool", IMAGE, opset=opset, kernel_shape=[2, 2])
        yield f"Softmax {opset}", one("Softmax", opset=opset, axis=1)
        yield f"Cast {opset}", one("Cast", opset=opset, to=INT)


def shaped(x, y, nodes, weights=(), opset=20):
    inputs = [("x", FLOAT, x)]
    return model(nodes, inputs, [("y", FLOAT, y)], weights, opset), inputs


def sized_graphs():
    """Sizes computed in the graph, of free axes: as exporters write them."""
    yield "heads", shaped(["N", "S", 8], ["N", "S", 8], [
        node("Shape", "x", "shape"), node("Gather", "shape zero", "n", axis=0),
        node("Gather", "shape one", "s", axis=0), node("Unsqueeze", "n first", "n1"),
        node("Unsqueeze", "s first", "s1"), node("Concat", "n1 s1 two minus", "to", axis=0),
        node("Reshape", "x to", "r"), node("Transpose", "r", "t", perm=[0, 2, 1, 3]),
        node("Transpose", "t", "u", perm=[0, 2, 1, 3]),
        node("Concat", "n1 s1 minus", "back", axis=0),
        node("Reshape", "u back", "y")],
        [("zero", np.int64(0)), ("one", np.int64(1)), ints("first", 0), ints("two", 2),
         ints("minus", -1)])
    yield "arithmetic", shaped(["N", 6], [None, None], [
        node("Shape", "x", "shape"), node("Slice", "shape b e", "n"), node("Mul", "n two", "n2"),
        node("Div", "six two", "three"), node("Concat", "n2 three", "to", axis=0),
        node("Reshape", "x to", "y")],
        [ints("b", 0), ints("e", 1), ints("two", 2), ints("six", 6)])
    yield "mask", shaped(["N", 4], ["N", 4], [
        node("Shape", "x", "shape"), node("ConstantOfShape", "shape", "zeros"),
        node("Add", "zeros x", "y")])
    yield "positions", shaped(["N", "S"], ["N", "S"], [
        node("Shape", "x", "s", start=1), node("Squeeze", "s", "n"),
        node("Range", "zero n one", "positions"), node("Cast", "positions", "p", to=FLOAT),
        node("Add", "x p", "y")], [("zero", np.int64(0)), ("one", np.int64(1))])
    yield "scale", shaped(["N", 9], ["N", 9], [
        node("Shape", "x", "shape"), node("Gather", "shape one", "d", axis=0),
        node("Cast", "d", "f", to=FLOAT), node("Sqrt", "f", "r"), node("Div", "x r", "y")],
        [("one", np.int64(1))])
    yield "count", shaped(["N", 3], ["N", 3], [
        node("Size", "x", "n"), node("Cast", "n", "f", to=FLOAT), node("Div", "x f", "y")])
    yield "expand", shaped(["N", 1], ["N", 4], [
        node("Shape", "x", "shape"), node("Mul", "shape all", "to"), node("Expand", "x to", "y")],
        [ints("all", 1, 4)])
    yield "where", shaped(["N", 1], ["N", 4], [
        node("Shape", "x", "n", end=1), node("Concat", "n minus", "a", axis=0),
        node("Equal", "a minus", "c"), node("Where", "c four a", "to"),
        node("Expand", "x to", "y")], [ints("minus", -1), ints("four", 4)])


def whole_graphs():
    x = [("x", FLOAT, [2, 3])]
    out = lambda *names: [(n, FLOAT, [2, 3]) for n in names]
    yield "twice an output", (model([node("Relu", "x", "y"), node("Identity", "y", "z")], x,
                                    out("y", "z")), x)
    yield "an input as output", (model([node("Relu", "x", "y")], x, out("y", "x")), x)
    yield "a weight as output", (model([node("Relu", "x", "y")], x, out("y", "w"),
                                       [("w", np.ones((2, 3), np.float32))]), x)
    weight = ("w", generator.standard_normal((3, 3)).astype(np.float32))
    yield "shared weight", (model([node("MatMul", "x w", "a"), node("MatMul", "a w", "y")], x,
                                  out("y"), [weight]), x)
    for size in (1, 3): # as an exporter writes squeeze(): what it does hangs on a size
        wide = [("x", FLOAT, [2, size])]
        branches = [helper.make_graph(
            [node(op, *names)], op, [],
            [helper.make_tensor_value_info(names[1], FLOAT, None)],
            [numpy_helper.from_array(np.array([1]), "axis")] * (op == "Squeeze"))
            for op, names in (("Squeeze", ("x axis", "s")), ("Identity", ("x", "i")))]
        yield f"a branch, {size}", (model([
            node("Shape", "x", "shape"), node("Gather", "shape one", "n", axis=0),
            node("Equal", "n one", "is_one"),
            node("If", "is_one", "z", then_branch=branches[0], else_branch=branches[1]),
            node("Relu", "z", "y")], wide, [("y", FLOAT, None)], [("one", np.int64(1))]), wide)
    names = [("in.put:0", FLOAT, [2, 3])]
    yield "odd names", (model([helper.make_node("Relu", ["in.put:0"], ["a/b.c"], name="n.o/d:e"),
                               helper.make_node("Tanh", ["a/b.c"], ["y"], name="n.o/d:e")], names,
                              out("y")), names)
    masked = [("x", FLOAT, ["N", 2, 4, 8]), ("m", BOOL, [4, 4])]
    yield "attention", (model([node("Attention", "x x x m", "y")], masked,
                              [("y", FLOAT, ["N", 2, 4, 8])], opset=23), masked)


GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def layer_weights(op, directions=1, bias=True):
    """For inputs of 5 and a state of 3."""
    rows = GATES[op] * 3
    shapes = {"w": (directions, rows, 5), "r": (directions, rows, 3), "b": (directions, 2 * rows)}
    return [(name, generator.standard_normal(shape).astype(np.float32))
            for name, shape in shapes.items() if bias or name != "b"]


def layer(op, weights, inputs=(("x", FLOAT, [4, 2, 5]),), opset=20, **attributes):
    """One recurrent layer, its weights initializers or, of inputs that are named so, inputs."""
    states = " ".join([""] + [i[0] for i in inputs[1:]])
    names = "x w r" + (" b" if len(weights) > 2 else "")
    given = names.split() + ([] if not states else [""] * (5 - len(names.split())) + states.split())
    outputs = ["y", "yh"] + (["yc"] if op == "LSTM" else [])
    made = helper.make_node(op, given, outputs, hidden_size=3, **attributes)
    return model([made], list(inputs), [(n, FLOAT, None) for n in outputs], weights, opset)


def recurrent_layers():
    """What ONNX's reference knows: one direction, which is forward."""
    x, free = [("x", FLOAT, [4, 2, 5])], [("x", FLOAT, [4, "N", 5])]
    for op in GATES:
        yield op, (layer(op, layer_weights(op)), x)
        yield f"{op} 14", (layer(op, layer_weights(op), opset=14), x)
        yield f"{op} without bias", (layer(op, layer_weights(op, bias=False)), x)
        yield f"{op} of any batch", (layer(op, layer_weights(op), free), free)
        states = x + [("h", FLOAT, [1, 2, 3])] + [("c", FLOAT, [1, 2, 3])] * (op == "LSTM")
        yield f"{op} with states", (layer(op, layer_weights(op), states), states)
        last = layer(op, layer_weights(op))
        last.graph.node[0].output[0] = "" # the last state only
        del last.graph.output[0]
        while len(last.graph.output) > 1:
            del last.graph.output[-1]
        yield f"{op} last", (last, x)
    yield "GRU reset behind", (layer("GRU", layer_weights("GRU"), linear_before_reset=1), x)
    moved = layer("LSTM", layer_weights("LSTM")[1:]) # weights that the graph puts together
    halves = [("w1", np.ones((1, 6, 5), np.float32)), ("w2", np.full((1, 6, 5), -1, np.float32))]
    moved.graph.node.insert(0, node("Concat", "w1 w2", "w", axis=1))
    moved.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in halves)
    moved.graph.node[1].input[:] = ["x", "w", "r", "b"]
    yield "LSTM of parts", (moved, x)


def converted(proto, path):
    onnx.save_model(proto, path)
    return onnx_to_torch(path)[0]


def check_directions(folder):
    """Backwards is forwards over the reversed steps; both are the two side by side."""
    path = os.path.join(folder, "layer.onnx")
    x = generator.standard_normal((4, 2, 5)).astype(np.float32)
    for op, reset in (("LSTM", {}), ("RNN", {}), ("RNN", {"activations": ["Relu"]}), ("GRU", {}),
                      ("GRU", {"linear_before_reset": 1})):
        weights = layer_weights(op, 2)
        wanted = []
        for i, steps in enumerate((x, x[::-1])):
            one = [(name, value[i:i + 1]) for name, value in weights]
            proto = layer(op, one, **reset)
            if "activations" in reset: # the reference wants them to be tanh
                wanted.append([t.numpy() for t in converted(proto, path)(torch.from_numpy(
                    steps.copy()))])
            else:
                wanted.append(reference.ReferenceEvaluator(proto).run(None, {"x": steps}))
            if i == 1:
                got = converted(layer(op, one, direction="reverse", **reset), path)(
                    torch.from_numpy(x))
                np.testing.assert_allclose(got[0], wanted[1][0][::-1], atol=1e-5, err_msg=op)
                np.testing.assert_allclose(got[1], wanted[1][1], atol=1e-5, err_msg=op)
        more = {k: v * 2 if k == "activations" else v for k, v in reset.items()}
        got = converted(layer(op, weights, direction="bidirectional", **more), path)(
            torch.from_numpy(x))
        wanted[1][0] = wanted[1][0][::-1]
        for i, (a, b) in enumerate(zip(*wanted)):
            both = np.concatenate([a, b], 1 if i == 0 else 0)
            np.testing.assert_allclose(got[i], both, atol=1e-5, err_msg=f"{op} both, output {i}")


def layers_refused():
    """What PyTorch's layers have not, and the word that tells it."""
    x, lengths = ("x", FLOAT, [4, 2, 5]), ("n", TensorProto.INT32, [2])
    weights = layer_weights("LSTM")
    padded = layer("LSTM", weights, (x, lengths))
    padded.graph.node[0].input[:] = ["x", "w", "r", "b", "n"]
    yield "sequence_lens", padded
    yield "clip", layer("LSTM", weights, clip=1.0)
    yield "activations sigmoid, relu, tanh", layer("LSTM", weights,
                                                   activations=["Sigmoid", "Relu", "Tanh"])
    peepholes = layer("LSTM", weights + [("p", np.zeros((1, 9), np.float32))])
    peepholes.graph.node[0].input[:] = ["x", "w", "r", "b", "", "", "", "p"]
    yield "peepholes", peepholes


def refused(folder):
    x = [("x", FLOAT, [2, 4, 6, 6])]
    cases = {
        "Unique": model([node("Unique", "x", "y")], x, [("y", FLOAT, [None])]),
        "com.example.Odd": model([helper.make_node("Odd", ["x"], ["y"], domain="com.example",
                                                   name="here")], x, [("y", FLOAT, None)]),
        "tf_crop_and_resize": one("Resize", x, [
            ("r", np.zeros(8, np.float32)), ("s", np.array([1, 1, 2, 2], np.float32))],
            mode="linear", coordinate_transformation_mode="tf_crop_and_resize")[0]}
    cases |= dict(layers_refused())
    cases["com.example.Odd"].opset_import.append(helper.make_opsetid("com.example", 1))
    path = os.path.join(folder, "refused.onnx")
    for word, proto in cases.items():
        onnx.save_model(proto, path)
        try:
            onnx_to_torch(path)
        except ConversionError as error:
            assert word in str(error), f"{word} is not in: {error}"
            assert error.hint, f"no hint: {error}"
        else:
            raise AssertionError(f"{word} was converted")
    for content in (b"", b"\x08", os.urandom(64), b"no model"):
        with open(path, "wb") as file:
            file.write(content)
        try:
            onnx_to_torch(path)
        except ConversionError:
            continue
        raise AssertionError(f"{content!r} was converted")


def main(folder):
    path = os.path.join(folder, "graph.onnx")
    failed = 0
    for name, (proto, inputs) in itertools.chain(single_nodes(), sized_graphs(), whole_graphs(),
                                                  recurrent_layers()):
        try:
            check(name, proto, inputs, path)
        except Exception as error:
            failed += 1
            print(f"{name}: {type(error).__name__}: {str(error).strip()[:400]}")
    refused(folder)
    check_directions(folder)
    onnx.save_model(dict(whole_graphs())["shared weight"][0], path)
    buffers = dict(onnx_to_torch(path)[0].named_buffers())
    assert len(buffers) == 1, f"one weight became {sorted(buffers)}"
    onnx.save_model(dict(single_nodes())["Mul by a number"][0], path)
    buffers = dict(onnx_to_torch(path)[0].named_buffers())
    assert not buffers, f"a number became {sorted(buffers)}: attention would not be compiled"
    sys.exit(1 if failed else 0)


main(sys.argv[1])
