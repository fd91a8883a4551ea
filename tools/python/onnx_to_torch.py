"""ONNX file to PyTorch module: by onnx2torch, told more operators through its registry.

    module, how = onnx_to_torch("model.onnx")

The module takes the inputs in the file's order and returns a tensor, or a tuple of them in the
order of the outputs; its attributes onnx_inputs and onnx_outputs are their names. It can be run,
traced, compiled and exported, for other batches too where the file allows them.
"""

import contextlib
import importlib
import importlib.metadata
import os
import sys
import types

import numpy as np
import onnx
import onnx.inliner
import onnx.version_converter
import torch
from onnx import defs, helper, numpy_helper, reference

import onnx_operators as operators
import onnx_recurrent as recurrent

OWN = "wattle"       # domain of the operators that we register
SMALL = 4096         # elements of a tensor that may be computed beforehand
MOVED = 2 ** 26      # and where they are only put together otherwise: weights of recurrent layers
MOVES = ("Concat", "Slice", "Split", "Squeeze", "Unsqueeze")
PYTHON_MAX = 256     # elements of a tensor that may be Python numbers
CONVERTED_MIN = 9    # opset below which files are brought up to UP_TO
UP_TO = 17


class ConversionError(Exception):
    """The file cannot be converted: what it lacks, and what to do."""

    def __init__(self, text, hint=""):
        super().__init__(text)
        self.hint = hint


# ---- onnx2torch

@contextlib.contextmanager
def torchvision_or_stand_in():
    """onnx2torch imports it for two operators; a build for another torch does not import."""
    try:
        importlib.import_module("torchvision")
        yield
        return
    except Exception: # a RuntimeError or an OSError of its libraries as well
        forget_torchvision()
    for name in ("torchvision", "torchvision.ops"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["torchvision"].ops = sys.modules["torchvision.ops"]
    for name in ("nms", "roi_align", "box_convert"):
        setattr(sys.modules["torchvision.ops"], name, needs_torchvision)
    try:
        yield
    finally:
        forget_torchvision() # others look for it, and what they find must be whole


def forget_torchvision():
    for name in [n for n in sys.modules if n == "torchvision" or n.startswith("torchvision.")]:
        del sys.modules[name]


def needs_torchvision(*args, **keys):
    raise ConversionError("NonMaxSuppression and RoiAlign need torchvision",
                          "install the torchvision built for this torch")


def import_onnx2torch():
    try:
        with torchvision_or_stand_in():
            return importlib.import_module("onnx2torch")
    except ImportError as e:
        raise ConversionError(f"onnx2torch cannot be imported: {e}",
                              "wattle runtimes install pytorch brings it") from e


def converter_of(name, version):
    """onnx2torch's converter, that of an older version where the newer one only allows more types
    or has attributes that are not given; None when there is none."""
    from onnx2torch.node_converters import get_converter
    try:
        return get_converter(name, version)
    except NotImplementedError:
        return None


def since(name, version):
    return defs.get_schema(name, max_inclusive_version=version).since_version


def same_but_for_types(new, old, given):
    """Whether the newer operator means the same for a node with those attributes and inputs."""
    if [i.name for i in new.inputs][:len(old.inputs)] != [i.name for i in old.inputs]:
        return False
    if given["inputs"] > len(old.inputs) and not variadic(old):
        return False
    for name, attribute in old.attributes.items():
        if name not in new.attributes:
            return False
        if str(new.attributes[name].default_value) != str(attribute.default_value):
            return False
    defaults = {n: a.default_value for n, a in new.attributes.items() if n not in old.attributes}
    return all(n not in defaults or str(helper.make_attribute(n, v)) == str(defaults[n])
               for n, v in given["attributes"].items())


def variadic(schema):
    return bool(schema.inputs) and (
        schema.inputs[-1].option == defs.OpSchema.FormalParameterOption.Variadic)


def find_converter(node, version):
    """Makes onnx2torch know the node's operator in that opset, if it knows an equal older one."""
    from onnx2torch.node_converters.registry import add_converter
    if converter_of(node.op_type, version) is not None:
        return True
    new = defs.get_schema(node.op_type, max_inclusive_version=version)
    given = {"inputs": len(node.input), "attributes": attributes_of(node)}
    older = new.since_version - 1
    while older > 0:
        try:
            old = defs.get_schema(node.op_type, max_inclusive_version=older)
        except defs.SchemaError:
            return False
        if not same_but_for_types(new, old, given):
            return False
        known = converter_of(node.op_type, older)
        if known is not None:
            add_converter(node.op_type, new.since_version)(known)
            return True
        older = old.since_version - 1
    return False


# ---- our own operators, as onnx2torch sees them

class Step(torch.nn.Module):
    """One operator: its constants are Python numbers, its inputs come from other steps."""

    def __init__(self, name, attributes, constants, slots, count, outputs):
        super().__init__()
        self.outputs = outputs
        self.name = name
        self.keys = attributes
        self.constants = constants
        self.slots = slots
        self.count = count
        self.placed = name in operators.PLACED
        if self.placed:
            self.register_buffer("at", torch.empty(0))

    def forward(self, *inputs):
        args = [None] * self.count
        for place, value in self.constants.items():
            args[place] = value
        for place, value in zip(self.slots, inputs):
            args[place] = value
        if self.placed:
            args.append(self.at)
        result = function_of(self.name)(args, self.keys)
        return result[0] if isinstance(result, tuple) and self.outputs == 1 else result


def function_of(name):
    if name.startswith("Sizes"):
        return {"SizesShape": operators.shape, "SizesSize": operators.size}.get(
            name) or operators.SIZES[name[5:]]
    return (operators.TENSORS.get(name) or operators.PLACED[name])[0]


def convert_step(node, graph):
    from onnx2torch.utils.common import OperationConverterResult, onnx_mapping_from_node
    attributes = attributes_of(node.proto)
    slots = list(attributes.pop("wattle_slots", []))
    count = attributes.pop("wattle_count")
    constants = {}
    for name in [n for n in attributes if n.startswith("wattle_arg")]:
        constants[int(name[10:])] = numpy_helper.to_array(attributes.pop(name)).tolist()
    for name, value in list(attributes.items()):
        if isinstance(value, onnx.TensorProto):
            attributes[name] = numpy_helper.to_array(value).flat[0].item()
            attributes["dtype"] = value.data_type
    outputs = len(node.output_values) # used ones
    step = Step(node.operation_type, attributes, constants, slots, count, outputs)
    return OperationConverterResult(step, onnx_mapping_from_node(node=node))


def register_steps():
    from onnx2torch.node_converters.registry import add_converter
    names = list(operators.TENSORS) + list(operators.PLACED) + ["SizesShape", "SizesSize"]
    for name in names + ["Sizes" + n for n in operators.SIZES]:
        try:
            add_converter(name, 1, domain=OWN)(convert_step)
        except ValueError:
            return # this process has done it


# ---- the graph, made ready

def attributes_of(node):
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


class Sizes:
    """What is known of a value that holds sizes: a number or a list; a run decides Unknown ones."""

    def __init__(self, value, type_):
        self.value, self.type = value, type_

    def known(self):
        return not any(isinstance(v, Unknown) for v in as_list(self.value))

    def array(self):
        return np.array(self.value, dtype=helper.tensor_dtype_to_np_dtype(self.type))


class Unknown:
    """A size that only the run tells; what is computed from one is one."""

    def same(self, *others):
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = same
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __neg__ = same

    def no(self, *others):
        raise TypeError("not known")

    __eq__ = __lt__ = __gt__ = __le__ = __ge__ = __bool__ = __index__ = __int__ = no
    __hash__ = None


def as_list(value):
    return value if isinstance(value, list) else [value]


class Rewriter:
    """Writes a graph anew: computes what is constant, makes sizes Python numbers."""

    def __init__(self, model):
        self.graph = model.graph
        self.opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
        self.constants = {t.name: t for t in self.graph.initializer}
        self.sizes = {}      # value's name: Sizes
        self.tensors = {}    # of sizes: the name of the tensor with the same values
        self.nodes = []
        self.own = set()     # names of operators that are ours
        self.missing = []    # nodes that nothing converts
        self.infos = {v.name: v for v in list(self.graph.input) + list(self.graph.value_info) +
                      list(self.graph.output)}

    # -- what is known

    def array(self, name, most=SMALL):
        """The value as numbers when it is a small constant."""
        tensor = self.constants.get(name)
        if tensor is not None and np.prod(tensor.dims, dtype=np.int64) <= most:
            return numpy_helper.to_array(tensor)
        return None

    def number(self, name):
        """The value as Python numbers when it is a small constant of rank 0 or 1, or sizes."""
        if name in self.sizes:
            return self.sizes[name].value
        array = self.array(name)
        if array is None or array.ndim > 1 or array.size > PYTHON_MAX:
            return None
        return array.tolist()

    def dims(self, name):
        info = self.infos.get(name)
        tensor = self.constants.get(name)
        if tensor is not None:
            return list(tensor.dims)
        if info is None or not info.type.tensor_type.HasField("shape"):
            return None
        return [d.dim_value if d.HasField("dim_value") else Unknown()
                for d in info.type.tensor_type.shape.dim]

    def element_type(self, name):
        if name in self.constants:
            return self.constants[name].data_type
        info = self.infos.get(name)
        return info.type.tensor_type.elem_type if info is not None else 0

    # -- what is written

    def add(self, op_type, node, inputs, numbers, attributes):
        """A step of our own: inputs by place, of which those in numbers are constants."""
        slots = [i for i, name in enumerate(inputs) if name and i not in numbers]
        new = helper.make_node(op_type, [inputs[i] for i in slots], node.output, name=node.name,
                               domain=OWN)
        attributes = dict(attributes, wattle_count=len(inputs))
        if slots:
            attributes["wattle_slots"] = slots
        for key, value in attributes.items():
            new.attribute.append(helper.make_attribute(key, value))
        for place, value in numbers.items():
            tensor = numpy_helper.from_array(np.asarray(value))
            new.attribute.append(helper.make_attribute(f"wattle_arg{place}", tensor))
        self.nodes.append(new)

    def tensor(self, name):
        """The name of the tensor with that value: sizes are written as one where one is wanted."""
        if name not in self.sizes or name in self.tensors:
            return self.tensors.get(name, name)
        known = self.sizes[name]
        made = name + "/tensor"
        node = helper.make_node("ToTensor", [name], [made], name=made)
        self.add("ToTensor", node, [name], {}, {"dtype": known.type})
        self.tensors[name] = made
        return made

    def constant(self, name, array):
        self.constants[name] = numpy_helper.from_array(np.asarray(array), name)

    # -- nodes

    def rewrite(self):
        for node in self.graph.node:
            self.node(node)
        self.outputs()
        self.write()

    def node(self, node):
        if node.op_type == "Constant" and self.standard(node):
            self.constant_node(node)
        elif self.standard(node) and any(way(node) for way in (
                self.branch, self.fold, self.of_sizes, self.scalar, self.select, self.heads,
                self.ours)):
            pass
        else:
            self.keep(node)

    def standard(self, node):
        return node.domain in ("", "ai.onnx")

    def branch(self, node):
        """Of an If whose condition is known, what is in the branch that it takes."""
        condition = self.array(node.input[0]) if node.op_type == "If" else None
        if condition is None:
            return False
        graph = attributes_of(node)["then_branch" if condition.item() else "else_branch"]
        self.constants.update({tensor.name: tensor for tensor in graph.initializer})
        self.infos.update({value.name: value for value in graph.value_info})
        for inner in graph.node:
            self.node(inner)
        for name, output in zip(node.output, graph.output):
            self.infos[name] = output
            self.node(helper.make_node("Identity", [output.name], [name], name=name))
        return True

    def constant_node(self, node):
        attribute = node.attribute[0]
        value = helper.get_attribute_value(attribute)
        if attribute.name == "value":
            self.constant(node.output[0], numpy_helper.to_array(value))
        elif attribute.name in ("value_float", "value_floats"):
            self.constant(node.output[0], np.array(value, dtype=np.float32))
        elif attribute.name in ("value_int", "value_ints"):
            self.constant(node.output[0], np.array(value, dtype=np.int64))
        else:
            self.keep(node)

    def fold(self, node):
        """Computes a node all of whose inputs are small constants, with ONNX's own reference."""
        if not node.input or any(a.type == onnx.AttributeProto.GRAPH for a in node.attribute):
            return False
        if node.op_type == "Identity" and node.input[0] in self.constants:
            self.constant(node.output[0], numpy_helper.to_array(self.constants[node.input[0]]))
            return True
        most = MOVED if node.op_type in MOVES else SMALL
        arrays = {name: self.array(name, most) for name in node.input if name}
        if any(a is None for a in arrays.values()) or node.op_type in ("Dropout", "Bernoulli") or (
                node.op_type.startswith("Random")):
            return False
        if node.op_type in ("ConstantOfShape", "Expand", "Tile", "Range", "Pad", "Resize"):
            return False if self.large(node) else self.evaluate(node, arrays)
        return self.evaluate(node, arrays)

    def large(self, node):
        dims = self.dims(node.output[0])
        return dims is None or any(isinstance(d, Unknown) for d in dims) or np.prod(dims) > SMALL

    def evaluate(self, node, arrays):
        graph = helper.make_graph(
            [node], "one", [helper.make_tensor_value_info(
                n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in arrays.items()],
            [onnx.ValueInfoProto(name=n) for n in node.output if n])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        try:
            results = reference.ReferenceEvaluator(model).run(None, arrays)
        except Exception: # it lacks some operators: the module computes it then
            return False
        for name, result in zip([n for n in node.output if n], results):
            self.constant(name, result)
        return True

    def of_sizes(self, node):
        """Writes a node whose result is computed from sizes alone."""
        if node.op_type in ("Shape", "Size"):
            return self.shape_of(node)
        function = operators.SIZES.get(node.op_type)
        if function is None or not any(n in self.sizes for n in node.input):
            return False
        args = [self.number(n) if n else None for n in node.input]
        attributes = attributes_of(node)
        if any(n and a is None for n, a in zip(node.input, args)):
            return False
        if not self.allowed(node, args, attributes):
            return False
        keep = {k: v for k, v in attributes.items() if k not in ("to", "value")}
        if "value" in attributes:
            keep["value"] = int(numpy_helper.to_array(attributes["value"]).flat[0])
        type_ = attributes.get("to", None) or (
            onnx.TensorProto.BOOL if node.op_type == "Equal" else self.type_of(node))
        result = self.compute(function, args, keep)
        if result is None:
            return False
        numbers = {i: a for i, a in enumerate(args) if node.input[i] not in self.sizes and
                   a is not None}
        self.put(node, Sizes(result, type_), lambda: self.add(
            "Sizes" + node.op_type, node, list(node.input), numbers, keep))
        return True

    def type_of(self, node):
        for name in reversed(node.input): # Where's first is a condition
            if name in self.sizes:
                return self.sizes[name].type
        return onnx.TensorProto.INT64

    def compute(self, function, args, attributes):
        try:
            return function(args, attributes)
        except TypeError: # a question that only the run answers
            return self.unknown_like(function, args)
        except (IndexError, ValueError):
            return None

    def unknown_like(self, function, args):
        if function in (operators.SIZES[n] for n in ("Equal", "Where", "Min", "Max", "Div", "Mod")):
            sizes = [len(a) for a in args if isinstance(a, list)]
            return [Unknown() for _ in range(max(sizes))] if sizes else Unknown()
        return None

    def allowed(self, node, args, attributes):
        """Whether the function of sizes does what the node does: of one axis, integers only."""
        op, types = node.op_type, (onnx.TensorProto.INT64, onnx.TensorProto.INT32)
        if not all(isinstance(v, (int, Unknown))
                   for a in args for v in as_list(a) if v is not None):
            return False
        if op == "Cast":
            return attributes["to"] in types
        if op in ("Gather", "Concat"):
            lists = args if op == "Concat" else args[:1]
            return attributes.get("axis", 0) in (0, -1) and all(isinstance(a, list) for a in lists)
        if op == "Slice":
            return all(isinstance(v, int) for a in args[1:] if a is not None for v in as_list(a))
        if op in ("Reshape", "Expand"):
            return self.allowed_shape(op, args)
        if op == "Unsqueeze":
            return not isinstance(args[0], list)
        if op == "Squeeze":
            return isinstance(args[0], list) and len(args[0]) == 1
        if op == "ConstantOfShape":
            value = attributes.get("value")
            whole = value is not None and value.data_type in types
            return whole and len(args[0]) == 1 and isinstance(args[0][0], int)
        if op in ("ReduceProd", "ReduceSum"):
            return isinstance(args[0], list)
        return True

    def allowed_shape(self, op, args):
        if not isinstance(args[1], list) or len(args[1]) > 1:
            return False
        if op == "Reshape":
            return not isinstance(args[0], list) or len(args[0]) == 1 or len(args[1]) == 1
        return len(args[1]) == 1 and isinstance(args[1][0], int) and len(as_list(args[0])) == 1

    def shape_of(self, node):
        dims = self.dims(node.input[0])
        if dims is None:
            return False
        keep = attributes_of(node)
        name = self.tensor(node.input[0])
        if node.op_type == "Shape":
            value = dims[keep.get("start", 0):keep.get("end", None)]
        else:
            value = Unknown() if any(isinstance(d, Unknown) for d in dims) else int(np.prod(dims))
        self.put(node, Sizes(value, onnx.TensorProto.INT64),
                 lambda: self.add("Sizes" + node.op_type, node, [name], {}, keep))
        return True

    def put(self, node, known, write):
        if known.known():
            self.constant(node.output[0], known.array())
        else:
            self.sizes[node.output[0]] = known
            write()

    def scalar(self, node):
        """Writes arithmetic of a tensor and a constant number with a Python number: PyTorch's compiler
        takes a scaled product for attention, and fails when the scale is a tensor."""
        if node.op_type not in operators.ARITHMETIC:
            return False
        for place, name in enumerate(node.input):
            array, other = self.array(name), node.input[1 - place]
            if (array is None or array.ndim or array.dtype.kind != "f" or other in self.constants or
                    other in self.sizes or self.element_type(other) != self.element_type(name)):
                continue
            self.add("Scalar" + node.op_type, node, list(node.input), {place: array}, {})
            return True
        return False

    def select(self, node):
        """Writes a Gather of one place that is known as a selection: onnx2torch reads the place out of
        a tensor, which PyTorch cannot compile ahead of time."""
        index = self.array(node.input[1]) if node.op_type == "Gather" else None
        if index is None or index.ndim or node.input[0] in self.sizes:
            return False
        self.add("Select", node, list(node.input), {1: index}, attributes_of(node))
        return True

    def heads(self, node):
        """Writes the way of [N, S, H, D] to the transposed heads [N, H, D, S] in two steps: the
        compiler's patterns of attention take any permutation of keys for that of the last two axes
        (PyTorch 2.13), which is the second step here."""
        if node.op_type != "Transpose" or attributes_of(node).get("perm") != [0, 2, 3, 1]:
            return False
        name = node.output[0] + "/heads"
        self.keep(helper.make_node("Transpose", node.input, [name], name=name, perm=[0, 2, 1, 3]))
        self.keep(helper.make_node("Transpose", [name], node.output, name=node.name,
                                   perm=[0, 1, 3, 2]))
        return True

    def ours(self, node):
        """Writes a node whose sizes, axes and the like are numbers as a step of ours."""
        op = node.op_type
        if op == "Reshape" and self.sizes.get(node.input[0]):
            return False
        entry = operators.TENSORS.get(op) or operators.PLACED.get(op)
        if entry is None or (not entry[1] and find_converter(node, self.opset)):
            return False
        places, numbers, inputs = entry[1], {}, []
        for i, name in enumerate(node.input):
            if i in places and name:
                value = self.number(name)
                if value is None:
                    return False
                if name not in self.sizes:
                    numbers[i] = value
                inputs.append(name)
            else:
                inputs.append(self.tensor(name))
        attributes = attributes_of(node)
        attributes["outputs"] = len(node.output)
        refuse = operators.REFUSALS.get(op)
        given = [bool(name) for name in node.input]
        why = refuse(attributes | {"given": given}) if refuse else None
        if why:
            raise ConversionError(f"operator {op} of node {label(node)}: {why} has no equal in "
                                  "PyTorch", "run the ONNX file itself with another runtime")
        if op == "Range":
            attributes["dtype"] = self.element_type(node.input[0]) or onnx.TensorProto.INT64
        if op in recurrent.ORDER:
            attributes["arranged"] = self.arrange(op, inputs)
        self.own.add(op)
        self.add(op, node, inputs, numbers, attributes)
        return True

    def arrange(self, op, inputs):
        """Constant weights and biases in PyTorch's order, in place of what inputs names."""
        places = [i for i in (1, 2, 3) if i < len(inputs) and inputs[i]]
        if any(inputs[i] not in self.constants for i in places):
            return 0
        for i in places:
            made = f"{inputs[i]}/{op}"
            if made not in self.constants: # layers may share them
                weights = torch.from_numpy(numpy_helper.to_array(self.constants[inputs[i]]).copy())
                ordered = recurrent.in_order(op, weights, 2 if i == 3 else 1)
                self.constant(made, ordered.numpy())
            inputs[i] = made
        return 1

    def keep(self, node):
        if not self.standard(node) or not find_converter(node, self.opset):
            name = node.op_type if self.standard(node) else f"{node.domain}.{node.op_type}"
            self.missing.append(f"{name} (node {label(node)})")
        new = onnx.NodeProto()
        new.CopyFrom(node)
        for i, name in enumerate(node.input):
            new.input[i] = self.tensor(name)
        self.nodes.append(new)

    # -- the whole

    def outputs(self):
        """Each output from a node of one output, as onnx2torch wants it."""
        for output in self.graph.output:
            name = self.tensor(output.name)
            made = output.name + "/output"
            self.keep(helper.make_node("Identity", [name], [made], name=made))
            output.name = made

    def write(self):
        used = {o.name for o in self.graph.output}
        kept = []
        for node in reversed(self.nodes):
            if not any(n in used for n in node.output):
                continue
            while len(node.output) > 1 and node.output[-1] not in used:
                del node.output[-1]
            used.update(n for n in node.input if n)
            kept.append(node)
        del self.graph.node[:]
        for i, node in enumerate(reversed(kept)):
            node.name = f"{node.op_type}_{i}" # of which a module's name can be made
            for place, name in enumerate(node.output): # else inputs that are not given are these
                node.output[place] = name or f"{node.name}/unused{place}"
            self.graph.node.append(node)
        del self.graph.initializer[:]
        self.graph.initializer.extend(t for n, t in self.constants.items() if n in used)


def label(node):
    return f'"{node.name or ", ".join(node.output)}"'


# ---- the whole

def load(path):
    """The model with its shapes, sizes among its values too, and its weights."""
    try:
        model = onnx.load(path, load_external_data=False)
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
        onnx.load_external_data_for_model(model, os.path.dirname(os.path.abspath(path)))
    except Exception as e: # what protobuf and onnx raise is of many kinds
        raise ConversionError(f"{path}: cannot be read as ONNX: {first_line(e)}") from e
    return model


def first_line(e):
    return (str(e).strip() or type(e).__name__).splitlines()[0]


def modernise(model):
    """Files of old opsets are brought up with ONNX's own converter."""
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset >= CONVERTED_MIN:
        return model, ""
    try:
        newer = onnx.version_converter.convert_version(model, UP_TO)
        return onnx.shape_inference.infer_shapes(newer, data_prop=True), f"opset {opset} to {UP_TO}"
    except Exception as e:
        raise ConversionError(f"opset {opset} cannot be converted to {UP_TO}: {first_line(e)}",
                              f"export the model with opset {UP_TO} or newer") from e


def prepare_graph(model):
    """Rewrites the graph for onnx2torch; returns the names of the operators that are our own."""
    rewriter = Rewriter(model)
    rewriter.rewrite()
    if rewriter.missing:
        names = rewriter.missing
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise ConversionError("no PyTorch for operator " + ", ".join(names[:3]) + more,
                              "run the ONNX file itself with another runtime, or give PyTorch the "
                              "model's own code: FILE.py:FUNCTION")
    if not any(o.domain == OWN for o in model.opset_import):
        model.opset_import.append(helper.make_opsetid(OWN, 1))
    return sorted(rewriter.own)


def share_buffers(module):
    """One buffer for a weight that several nodes read: onnx2torch makes one for each of them."""
    first = {}
    for node in module.graph.nodes:
        if node.op != "get_attr":
            continue
        tensor = member(module, node.target)
        key = (tensor.dtype, tuple(tensor.shape), tuple(tensor.flatten()[:4].tolist()))
        same = next((t for t, other in first.get(key, []) if torch.equal(tensor, other)), None)
        if same is None:
            first.setdefault(key, []).append((node.target, tensor))
        else:
            parent, _, name = node.target.rpartition(".")
            delattr(member(module, parent), name)
            node.target = same
    module.recompile()


def member(module, target):
    for part in target.split("."):
        module = getattr(module, part)
    return module


def onnx_to_torch(path):
    """The module, and how it was made, for the report."""
    onnx2torch = import_onnx2torch()
    register_steps()
    model = load(path)
    model, modernised = modernise(model)
    weights = {t.name for t in model.graph.initializer}
    inputs = [i.name for i in model.graph.input if i.name not in weights]
    outputs = [o.name for o in model.graph.output]
    own = prepare_graph(model)
    try:
        module = onnx2torch.convert(model)
    except Exception as e: # whatever its converters meet in a node
        raise ConversionError(f"onnx2torch: {first_line(e)}",
                              "run the ONNX file itself with another runtime") from e
    share_buffers(module)
    module.onnx_inputs, module.onnx_outputs = inputs, outputs
    how = "onnx2torch " + importlib.metadata.version("onnx2torch")
    if modernised:
        how += ", " + modernised
    if own:
        how += " (own: " + ", ".join(own) + ")"
    return module.eval().requires_grad_(False), how
