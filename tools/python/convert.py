"""Writes a PyTorch model as ONNX, or an ONNX model as an exported program: convert.py REQUEST.json

The request has, beside what pytorch_module.py reads of it: "to" ("onnx" or "pytorch"), "output"
(the path of the file to make), "exporter" ("dynamo" or "torchscript"), "opset", "dynamic_batch",
"dynamic" ([{"input", "axis", "name"}]), "dims" ({symbol of an ONNX file: size}), "external_data",
"seed", "source" (name and SHA-256 of the file), "result", "scratch", "site".
It makes the file and, for who compares, inputs and the outputs that PyTorch gave for them:
"cases", [{"inputs": FILE.npz, "outputs": FILE.npz, "what", "batch"}].

With "finish" instead, {"output", "notes"}, the notes of the comparison are put into the file.
Progress goes to stdout, a line a step. What the tools print themselves goes nowhere.
"""
from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import sys
from typing import Any, Callable

# Run in isolation, a script does not see its neighbours.
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import free_axes
from free_axes import BATCH, EXPORT_SIZE, batch_of
from prepare import add_note, as_tuple, causes, explain, max_rel_error, set_up, take_streams, told

SEEDED_SETS = 3
EMBEDDED_MAX = 1_900_000_000  # bytes of weights; a file of protobuf ends at 2 GiB
OUTSIDE_MIN = 64              # bytes of a weight that is kept outside of the file
PAGE = 4096                   # where weights begin there, so that they can be mapped
SAME = 1e-5                   # sums may be taken in another order, but no more
DATA_ENDING = ".data"


class Converter:
    def __init__(self, request: dict, shown: Any):
        self.request, self.shown = request, shown
        self.built: Any = None
        self.axes: free_axes.Axes = []        # of inputs
        self.output_axes: free_axes.Axes = []
        self.unused: list = [] # names of inputs that the file does not have
        self.made: dict = {}

    def say(self, line: str) -> None:
        print(line, file=self.shown, flush=True)

    def run(self) -> dict:
        import torch

        torch.set_num_threads(max(1, len(os.sched_getaffinity(0))))
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        self.say(f"reading {os.path.basename(self.request['model'])} (torch {torch.__version__})")
        with torch.no_grad():
            self.built = self.build()
            self.axes = free_axes.find(self.request, self.built, self.source_shapes())
            self.output_axes = self.follow_axes()
            cases = self.cases()
            self.write()
            cases = [self.save_case(i, *case) for i, case in enumerate(cases)]
        return self.made | {
            "torch": torch.__version__, "how": self.built.how, "cases": cases,
            "inputs": self.entries("inputs", False), "outputs": self.entries("outputs", False),
            "shown": {which: self.entries(which, True) for which in ("inputs", "outputs")}}

    # --- what is converted

    def build(self) -> Any:
        import pytorch_module as module

        kind = self.request["format"]
        if kind == "torchscript":
            built = module.first_run(build_torchscript(self.request))
        else:
            request = dict(self.request)
            if kind == "exported":
                request["batch"] = EXPORT_SIZE if exported_is_free(request["model"]) else 0
            if kind == "onnx":
                request["batch"] = self.onnx_batch()
            built = module.build(request)
        if not built.examples:
            raise module.Refused("unsupported", "the model has no inputs that are tensors")
        return self.deterministic(built)

    def onnx_batch(self) -> int:
        """0 where the file says it itself."""
        from pytorch_module import Refused

        sizes = [shape[0] for shape in onnx_shapes(self.request["model"]).values() if shape]
        if not all(isinstance(size, int) for size in sizes):
            return EXPORT_SIZE if self.request.get("dynamic_batch") else 1
        if self.request.get("dynamic_batch") and sizes:
            raise Refused("usage", f"the batch of this file is fixed at {sizes[0]}",
                          "leave out --dynamic-batch")
        return 0

    def deterministic(self, built: Any) -> Any:
        from pytorch_module import Refused

        first, again = (as_tuple(built.module(*copies(built.examples))) for _ in range(2))
        if not max_rel_error(again, first) <= SAME:
            raise Refused("mismatch", "the module gives other outputs for the same inputs when it "
                          "runs again: it is random, or keeps what it saw",
                          "its forward() may use dropout or rand() although eval() was called")
        return built

    def source_shapes(self) -> list[list]:
        """Of each input what the source says of its sizes: a number, a symbol or nothing (None)."""
        kind = self.request["format"]
        if kind == "exported":
            return [[size if isinstance(size, int) else str(size) for size in shape]
                    for shape in placeholder_shapes(self.built.program)]
        known = onnx_shapes(self.request["model"]) if kind == "onnx" else {}
        return [known.get(entry["name"], [None] * value.dim())
                for entry, value in zip(self.built.inputs, self.built.examples)]

    def examples(self) -> tuple:
        """For the export."""
        return free_axes.for_export(self.axes, self.built.examples)

    def follow_axes(self) -> free_axes.Axes:
        def run(values: tuple) -> tuple:
            return as_tuple(self.built.module(*copies(values)))

        return free_axes.follow(self.axes, self.built.examples, self.built.outputs, run,
                                self.request["format"] == "exported")

    def entries(self, which: str, named: bool) -> list[dict]:
        """Inputs or outputs of the file; in the place of a free size its name, or null."""
        axes = self.axes if which == "inputs" else self.output_axes
        made = []
        for entry, names in zip(getattr(self.built, which), axes):
            shape = [(names[axis] if named else None) if axis in names else size
                     for axis, size in enumerate(entry["shape"])]
            if entry["name"] not in self.unused:
                made.append(entry | {"shape": shape})
        return made

    # --- what is compared

    def cases(self) -> list[tuple]:
        """Inputs and the original's outputs: the examples, seeded ones, other sizes."""
        given = self.built.examples
        sets = [("example inputs", given)]
        sets += [(f"seeded inputs {i}", self.seeded(given, i)) for i in range(1, SEEDED_SETS + 1)]
        for i, (name, size) in enumerate(free_axes.other_sizes(self.axes, given)):
            values = free_axes.resized(self.axes, given, {name: size})
            sets.append((f"seeded inputs, {name} {size}", self.seeded(values, 100 + i)))
        return [(what, values, outputs) for i, (what, values) in enumerate(sets)
                if (outputs := self.outputs(i, what, values))]

    def seeded(self, values: tuple, more: int) -> tuple:
        """Numbers distributed as the examples are; integers are examples' own, in another order."""
        import torch

        generator = torch.Generator().manual_seed(int(self.request.get("seed", 1)) + more)
        made = []
        for value in values:
            if value.is_floating_point() and value.numel() > 1:
                noise = torch.randn(value.shape, generator=generator, dtype=torch.float64)
                spread = value.double().std() or 1.0
                made.append((noise * spread + value.double().mean()).to(value.dtype))
            else:
                order = torch.randperm(value.numel(), generator=generator)
                made.append(value.flatten()[order].reshape(value.shape))
        return tuple(made)

    def outputs(self, number: int, what: str, values: tuple) -> tuple | None:
        try:
            return as_tuple(self.built.module(*copies(values)))
        except Exception: # a check of the module's own that made-up inputs do not pass
            if number == 0:
                raise
            self.say(f"the module does not take {what}: not compared")
            return None

    def save_case(self, number: int, what: str, values: tuple, outputs: tuple) -> dict:
        folder = self.request["scratch"]
        names = {key: os.path.join(folder, f"{key}_{number}.npz") for key in ("inputs", "outputs")}
        save(names["inputs"], [value for value, entry in zip(values, self.built.inputs)
                               if entry["name"] not in self.unused])
        save(names["outputs"], outputs)
        return names | {"what": what, "batch": batch_of(values)}

    # --- what is made

    def write(self) -> None:
        if self.request["to"] == "pytorch":
            self.write_exported()
        else:
            self.write_onnx()

    def write_exported(self) -> None:
        import torch

        self.say("exporting the module (torch.export)")
        program = torch.export.export(self.built.module, self.examples(),
                                      dynamic_shapes=self.free_shapes())
        torch.export.save(program, self.request["output"])
        self.made = {"exporter": "torch.export"}

    def write_onnx(self) -> None:
        exporter, opset = self.request["exporter"], self.request["opset"]
        raw = os.path.join(self.request["scratch"], "raw", "model.onnx")
        os.makedirs(os.path.dirname(raw))
        self.say(f"exporting to ONNX opset {opset} ({EXPORTERS[exporter]})")
        {"dynamo": self.export_dynamo, "torchscript": self.export_torchscript}[exporter](raw)
        self.say("writing the ONNX file")
        self.made = {"exporter": EXPORTERS[exporter], "opset": opset, "data": self.tidy(raw),
                     "versions": versions(exporter)}

    def names(self) -> tuple[list[str], list[str]]:
        """Of inputs and outputs, which share one space in ONNX."""
        inputs = [entry["name"] for entry in self.built.inputs]
        outputs = [entry["name"] for entry in self.built.outputs]
        return inputs, [name + "_out" if name in inputs else name for name in outputs]

    def free_shapes(self) -> tuple | None:
        import torch

        if not any(self.axes):
            return None
        batch = torch.export.Dim(BATCH)
        dynamic = torch.export.Dim.DYNAMIC # finds by itself up to which size the module goes
        shapes = tuple({axis: batch if name == BATCH else dynamic for axis, name in names.items()}
                       or None for names in self.axes)
        return (shapes,) if takes_many(self.built.module) else shapes

    def export_dynamo(self, path: str) -> None:
        import torch

        inputs, outputs = self.names()
        program = self.built.program
        torch.onnx.export(
            self.built.module if program is None else program, self.examples(), path, dynamo=True,
            input_names=inputs, output_names=outputs, opset_version=self.request["opset"],
            dynamic_shapes=self.free_shapes() if program is None else None, external_data=True,
            verbose=False)

    def export_torchscript(self, path: str) -> None:
        import torch

        inputs, outputs = self.names()
        axes = {name: names for name, names in zip(inputs + outputs, self.axes + self.output_axes)
                if names}
        module = self.built.module
        if self.built.program is not None:
            module = still(module)
        torch.onnx.export(
            module, self.examples(), path, dynamo=False, input_names=inputs, output_names=outputs,
            opset_version=self.request["opset"], dynamic_axes=axes or None)

    def tidy(self, raw: str) -> str:
        """The file without traces of this machine, its weights inside or beside it."""
        import onnx
        from pytorch_module import Refused

        model = onnx.load(raw)
        shutil.rmtree(os.path.dirname(raw)) # gigabytes, of which there will be another copy
        written = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
        if written != self.request["opset"]:
            raise Refused("unsupported", f"the exporter wrote opset {written}, not "
                          f"{self.request['opset']}, as its own conversion between opsets failed",
                          f"--opset {written} is what this exporter can do for this model")
        self.check_interface(model)
        clean(model)
        inputs, _ = self.names()
        rename_axes(model, dict(zip(inputs, self.axes)))
        self.note(model)
        return self.save(model)

    def note(self, model: Any) -> None:
        """How the file was made, and how its inputs are made up where it is measured."""
        notes = {f"wattle.input.{entry['name']}": rule for entry, value in
                 zip(self.built.inputs, self.built.examples)
                 if entry["name"] not in self.unused and (rule := rule_of(entry, value))}
        sizes = free_axes.sizes_of(self.axes, self.built.examples)
        notes |= {f"wattle.dim.{name}": str(size) for name, size in sizes.items() if name != BATCH}
        notes |= {"wattle.convert.exporter": EXPORTERS[self.request["exporter"]],
                  "wattle.convert.versions": versions(self.request["exporter"])}
        notes |= {f"wattle.convert.{key}": self.request[key]
                  for key in ("source", "sha256", "wattle") if self.request.get(key)}
        for key, value in notes.items():
            model.metadata_props.add(key=key, value=value)

    def check_interface(self, model: Any) -> None:
        """A tracer leaves out what has no effect on the outputs."""
        from pytorch_module import Refused

        inputs, outputs = self.names()
        found = [[v.name for v in values] for values in (model.graph.input, model.graph.output)]
        self.unused = [name for name in inputs if name not in found[0]]
        if found != [[name for name in inputs if name not in self.unused], outputs]:
            raise Refused("unsupported", f"the exporter wrote inputs {', '.join(found[0])} and "
                          f"outputs {', '.join(found[1])}; the module has {', '.join(inputs)} "
                          f"and {', '.join(outputs)}")
        if self.unused:
            self.say(f"input {', '.join(self.unused)} has no effect and is not in the file")

    def save(self, model: Any) -> str:
        import onnx

        output = self.request["output"]
        size = sum(len(t.raw_data) for t in model.graph.initializer)
        wanted = self.request.get("external_data") or size > EMBEDDED_MAX
        weights = outside_weights(model) if wanted else []
        name = os.path.basename(self.request["final"]) + DATA_ENDING
        if weights:
            put_outside(weights, os.path.dirname(output), name)
        onnx.save_model(model, output)
        return name if weights else ""


EXPORTERS = {"dynamo": "torch.onnx.export, dynamo", "torchscript": "torch.onnx.export, TorchScript"}


def versions(exporter: str) -> str:
    names = ["torch", "onnx"] + (["onnxscript"] if exporter == "dynamo" else [])
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)


# --- tensors ------------------------------------------------------------------------------------


def copies(values: tuple) -> tuple:
    """A module that writes into its inputs must not change what others are given."""
    return tuple(value.clone() for value in values)


def rule_of(entry: dict, value: Any) -> str:
    """Of integers: from the least to the greatest that is known to be taken."""
    if value.is_floating_point() or value.dtype.is_complex or not value.numel():
        return ""
    low, high = entry.get("range") or (int(value.min()), int(value.max()))
    return f"constant {low}" if low == high else f"uniform {low} {high}"


def save(path: str, values: Any) -> None:
    import numpy

    numpy.savez(path, *[value.detach().cpu().contiguous().numpy() for value in values])


def takes_many(module: Any) -> bool:
    """forward(*inputs), of which torch.export wants the shapes as one tuple."""
    import inspect

    parameters = list(inspect.signature(module.forward).parameters.values())
    return len(parameters) == 1 and parameters[0].kind is inspect.Parameter.VAR_POSITIONAL


def still(module: Any) -> Any:
    """An exported program's module cannot be told to train or to evaluate, as the exporter does."""
    from torch import nn

    class Still(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = module
            self.training = False

        def forward(self, *inputs):
            return self.module(*inputs)

        def train(self, mode=True):
            return self

    return Still()


# --- files --------------------------------------------------------------------------------------


def build_torchscript(request: dict) -> Any:
    import torch
    import pytorch_module as module

    path, notes = request["model"], {"wattle.json": ""}
    try:
        script = torch.jit.load(path, map_location="cpu", _extra_files=notes).eval()
    except Exception as error:
        raise module.Refused("format", f"cannot read '{path}' as TorchScript: "
                                       f"{module.first_line(error)}") from error
    note = json.loads(notes["wattle.json"] or "{}")
    names = [a.name for a in script._c._get_method("forward").schema.arguments[1:]]
    inputs = request.get("inputs") or note.get("inputs") or []
    known = {entry["name"]: entry for entry in inputs}
    lacking = [name for name in names if name not in known]
    if not note and (lacking or not inputs):
        raise module.Refused("usage", f"TorchScript does not tell the shape of input "
                             f"'{lacking[0] if lacking else names[0]}'",
                             f"give each: --shape {(lacking or names)[0]}=1x3x224x224")
    if not note:
        unknown = [name for name in known if name not in names]
        if unknown:
            raise module.Refused("usage", f"forward() has no input '{unknown[0]}'; it has "
                                          f"{', '.join(names)}")
        inputs = [known[name] for name in names]
    outputs = [{"name": entry["name"]} for entry in note.get("outputs", [])]
    entries = [{"type": "float32"} | entry for entry in inputs]
    return module.Built(script, module.make_examples(entries), entries, outputs, "", "TorchScript",
                        [])


def placeholder_shapes(program: Any) -> list[list]:
    wanted = program.graph_signature.user_inputs
    return [list(node.meta["val"].shape) for node in program.graph.nodes
            if node.op == "placeholder" and node.name in wanted
            and hasattr(node.meta.get("val"), "shape")]


def exported_is_free(path: str) -> bool:
    """Whether an exported program takes any batch."""
    import torch
    from pytorch_module import guard_storages

    guard_storages()
    try:
        sizes = placeholder_shapes(torch.export.load(path))
    except Exception: # which build() tells
        return False
    return any(shape and not isinstance(shape[0], int) for shape in sizes)


def onnx_shapes(path: str) -> dict[str, list]:
    """Of each input its sizes: a number, a symbol, or None where there is neither."""
    import onnx

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except Exception: # which build() tells
        return {}
    weights = {tensor.name for tensor in graph.initializer}
    return {value.name: [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None
                         for dim in value.type.tensor_type.shape.dim]
            for value in graph.input if value.name not in weights}


def clean(model: Any) -> None:
    """Exporters note where in whose source each node comes from: paths and lines of code."""
    del model.metadata_props[:]
    for values in (model.graph.node, model.graph.value_info, model.graph.input, model.graph.output,
                   model.graph.initializer):
        for value in values:
            del value.metadata_props[:]
    for node in model.graph.node:
        node.ClearField("doc_string")
    del model.graph.metadata_props[:]


def rename_axes(model: Any, axes: dict[str, dict[int, str]]) -> None:
    """Free sizes by their names, whatever the exporter called them."""
    names: dict[str, str] = {}
    for value in model.graph.input:
        for axis, name in axes.get(value.name, {}).items():
            symbol = value.type.tensor_type.shape.dim[axis].dim_param
            if symbol:
                names.setdefault(symbol, name)
    if all(symbol == name for symbol, name in names.items()):
        return
    word = re.compile(r"\b(" + "|".join(map(re.escape, names)) + r")\b")
    for values in (model.graph.input, model.graph.output, model.graph.value_info):
        for value in values:
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_param:
                    dim.dim_param = word.sub(lambda found: names[found[1]], dim.dim_param)


def outside_weights(model: Any) -> list:
    """What is worth it. Small integers stay: they are shapes and axes, which who reads a model
    wants to know before there are weights."""
    from onnx import TensorProto

    least = {TensorProto.INT64: 1024, TensorProto.INT32: 1024}
    return [tensor for tensor in model.graph.initializer
            if len(tensor.raw_data) >= least.get(tensor.data_type, OUTSIDE_MIN)]


def put_outside(weights: list, folder: str, name: str) -> None:
    from onnx.external_data_helper import set_external_data

    with open(os.path.join(folder, name), "wb") as file:
        for tensor in weights:
            file.seek(-(-file.tell() // PAGE) * PAGE)
            set_external_data(tensor, name, file.tell(), len(tensor.raw_data))
            file.write(tensor.raw_data)
            tensor.ClearField("raw_data")


# --- notes --------------------------------------------------------------------------------------


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7f:
        out.append(number & 0x7f | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def finish(request: dict) -> dict:
    """ONNX: more metadata_props (field 14 of the model), which may follow all else in the file."""
    notes = request["notes"]
    if request["to"] == "pytorch":
        add_note(request["output"], notes)
        return {}
    with open(request["output"], "ab") as file:
        for key, value in notes.items():
            file.write(field(14, field(1, key.encode()) + field(2, str(value).encode())))
    return {}


# --- what went wrong ----------------------------------------------------------------------------

TRY_OTHER = {
    "dynamo": "--exporter torchscript traces the module instead; what depends on the values of its "
              "inputs is then fixed, which the comparison may show",
    "torchscript": "--exporter dynamo is the newer exporter and may know it",
}


def explained(error: BaseException) -> dict:
    plain = explain(error, "")
    if plain["error"] == "io":
        plain["hint"] = "make room where the file goes"
    return plain


def explain_export(error: BaseException, request: dict) -> dict:
    from pytorch_module import Refused

    chain = causes(error)
    text = "\n".join(str(cause) for cause in chain)
    if any(isinstance(cause, Refused) for cause in chain) or request["to"] != "onnx":
        return explained(error)
    names = {type(cause).__name__ for cause in chain}
    hint = TRY_OTHER[request["exporter"]]
    operator = re.search(r"No ONNX function found for <OpOverload\(op='([^']+)'", text) or (
        re.search(r"Exporting the operator '([^']+)'", text))
    if operator:
        return told("unsupported", f"ONNX has nothing for operator {operator[1]} (opset "
                    f"{request['opset']})", hint)
    if "GuardOnDataDependentSymNode" in names:
        at = place(request, chain)
        return told("unsupported", f"the module decides by the values of its inputs{at}", hint)
    if "ConstraintViolationError" in text or "specialized" in text:
        return told("unsupported", f"the module does not take any {free_words(request)}: "
                    + short(reason_of(text)), f"convert it without {free_option(request)}")
    told_plainly = explained(error)
    if told_plainly["error"] == "unsupported":
        deepest = chain[-1]
        told_plainly["text"] = short(f"{type(deepest).__name__}: {first_of(str(deepest))}")
        told_plainly["hint"] = told_plainly["hint"] or hint
    return told_plainly


def free_words(request: dict) -> str:
    return "size of a free axis" if request.get("dynamic") else "batch"


def free_option(request: dict) -> str:
    return "--dynamic" if request.get("dynamic") else "--dynamic-batch"


def place(request: dict, chain: list[BaseException]) -> str:
    """Where in the user's file, if it is one."""
    import traceback

    path = request["model"].rpartition(":")[0]
    lines = [frame.lineno for cause in chain for frame in traceback.extract_tb(cause.__traceback__)
             if path and os.path.realpath(frame.filename) == os.path.realpath(path)]
    return f", at {os.path.basename(path)}:{lines[-1]}" if lines else ""


def reason_of(text: str) -> str:
    lines = [line.strip(" -") for line in text.splitlines() if "specialized" in line]
    return lines[0] if lines else first_of(text)


def first_of(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def short(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)[:300]


def work(request: dict, shown: Any) -> dict:
    try:
        return Converter(request, shown).run()
    except KeyboardInterrupt:
        return told("interrupted", "interrupted", "")
    except BaseException as error: # whatever it is, it becomes a line
        import traceback

        traceback.print_exc()
        if "pytorch_module" in sys.modules:
            return explain_export(error, request)
        return explained(error)


def main() -> int:
    with open(sys.argv[1], encoding="utf-8") as file:
        request = json.load(file)
    shown = sys.stdout
    if request.get("finish"):
        result = finish(request)
    else:
        set_up(request)
        shown = take_streams()
        result = work(request, shown)
    try:
        with open(request["result"], "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
    except OSError as error: # no room for this either: it becomes the last words
        print(result.get("text") or str(error), file=shown, flush=True)
        return 1
    return 1 if "error" in result else 0


if __name__ == "__main__":
    sys.exit(main())
