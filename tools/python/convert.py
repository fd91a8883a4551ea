"""Writes a PyTorch model as ONNX, or an ONNX model as an exported program: convert.py REQUEST.json

The request has, beside what pytorch_module.py reads of it: "to" ("onnx" or "pytorch"), "output"
(the path of the file to make), "exporter" ("dynamo" or "torchscript"), "opset", "dynamic_batch",
"external_data", "seed", "source" (name and SHA-256 of the file), "result", "scratch", "site".
It makes the file and, for who compares, inputs and the outputs that PyTorch gave for them:
"cases", [{"inputs": FILE.npz, "outputs": FILE.npz, "what", "batch"}].

With "finish" instead, {"output", "notes"}, the notes of the comparison are put into the file.
Progress goes to stdout, a line a step. What the tools print themselves goes to SCRATCH/log.
"""
from __future__ import annotations

import importlib.metadata
import json
import os
import re
import sys
from typing import Any, Callable

# Run in isolation, a script does not see its neighbours.
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from prepare import add_note, as_tuple, causes, explain, max_rel_error, set_up, take_streams, told

EXPORT_BATCH = 2              # 1 would be taken for a size that is never another
SEEDED_SETS = 3
OTHER_BATCHES = (1, 3)        # compared too when the batch is free
EMBEDDED_MAX = 1_900_000_000  # bytes of weights; a file of protobuf ends at 2 GiB
SAME = 1e-5                   # sums may be taken in another order, but no more
DATA_ENDING = ".data"


class Converter:
    def __init__(self, request: dict, shown: Any):
        self.request, self.shown = request, shown
        self.built: Any = None
        self.free = False     # the batch is
        self.free_outputs: list[bool] = []
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
            self.free = self.batch_is_free()
            cases = self.cases()
            self.free_outputs = self.find_free_outputs()
            self.write()
            cases = [self.save_case(i, *case) for i, case in enumerate(cases)]
        return self.made | {
            "torch": torch.__version__, "how": self.built.how, "cases": cases,
            "inputs": self.shown_shapes("inputs"), "outputs": self.shown_shapes("outputs")}

    # --- what is converted

    def build(self) -> Any:
        import pytorch_module as module

        kind = self.request["format"]
        if kind == "torchscript":
            built = module.first_run(build_torchscript(self.request))
        else:
            request = dict(self.request)
            if kind == "exported":
                request["batch"] = EXPORT_BATCH if exported_is_free(request["model"]) else 0
            if kind == "onnx":
                request["batch"] = self.onnx_batch()
            built = module.build(request)
        if not built.examples:
            raise module.Refused("unsupported", "the model has no inputs that are tensors")
        return self.deterministic(built)

    def onnx_batch(self) -> int:
        """0 where the file says it itself."""
        from pytorch_module import Refused

        sizes = onnx_batches(self.request["model"])
        if 0 in sizes:
            return EXPORT_BATCH if self.request.get("dynamic_batch") else 1
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

    def batch_is_free(self) -> bool:
        """Asked for, or what an exported program has by itself."""
        from pytorch_module import Refused

        wanted = bool(self.request.get("dynamic_batch"))
        if self.request["format"] != "exported":
            return wanted
        sizes = placeholder_shapes(self.built.program)
        free = any(shape and not isinstance(shape[0], int) for shape in sizes)
        if wanted and not free:
            raise Refused("usage", "the batch of this exported program is fixed at "
                          f"{sizes[0][0] if sizes[0] else 1}",
                          "export it with dynamic_shapes, or convert the module's own code")
        return free

    def examples(self) -> tuple:
        """For the export."""
        values = self.built.examples
        if self.free and batch_of(values) == 1:
            return other_batch(values, EXPORT_BATCH)
        return values

    def find_free_outputs(self) -> list[bool]:
        """Which outputs' first axis follows the batch."""
        from pytorch_module import Refused, first_line

        values = self.examples()
        if not self.free:
            return [False] * len(self.built.outputs)
        more = other_batch(values, batch_of(values) + 1)
        try:
            pairs = zip(as_tuple(self.built.module(*copies(values))),
                        as_tuple(self.built.module(*copies(more))))
        except Exception as error:
            raise Refused("unsupported", f"the module does not take any batch: {first_line(error)}",
                          "convert it without --dynamic-batch") from error
        return [a.dim() > 0 and a.shape[0] != b.shape[0] for a, b in pairs]

    def shown_shapes(self, which: str) -> list[dict]:
        free = self.free_outputs if which == "outputs" else [
            bool(self.axes(value, "batch")) for value in self.examples()]
        return [entry | ({"shape": [None] + entry["shape"][1:]} if self.free and is_free else {})
                for entry, is_free in zip(getattr(self.built, which), free)
                if entry["name"] not in self.unused]

    # --- what is compared

    def cases(self) -> list[tuple]:
        """Inputs and the original's outputs: the examples, seeded ones, other batches."""
        given = self.built.examples
        sets = [("example inputs", given)]
        sets += [(f"seeded inputs {i}", self.seeded(given, i)) for i in range(1, SEEDED_SETS + 1)]
        for batch in OTHER_BATCHES if self.free else ():
            if batch != batch_of(given):
                sets.append((f"seeded inputs, batch {batch}",
                             self.seeded(other_batch(given, batch), 100 + batch)))
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

    def axes(self, value: Any, symbol: Any) -> dict | None:
        """The batch is the first axis of the tensors that have that size there."""
        has_batch = value.dim() > 0 and value.shape[0] == batch_of(self.examples())
        return {0: symbol} if has_batch else None

    def free_shapes(self) -> tuple | None:
        import torch

        if not self.free:
            return None
        batch = torch.export.Dim("batch")
        shapes = tuple(self.axes(value, batch) for value in self.examples())
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
        values = self.examples()
        axes = {}
        if self.free:
            axes = {name: {0: "batch"} for name, value in zip(inputs, values)
                    if self.axes(value, "batch")}
            axes |= {name: {0: "batch"} for name, is_free in zip(outputs, self.free_outputs)
                     if is_free}
        module = self.built.module
        if self.built.program is not None:
            module = still(module)
        torch.onnx.export(
            module, values, path, dynamo=False, input_names=inputs, output_names=outputs,
            opset_version=self.request["opset"], dynamic_axes=axes or None)

    def tidy(self, raw: str) -> str:
        """The file without traces of this machine, its weights inside or beside it."""
        import onnx
        from pytorch_module import Refused

        model = onnx.load(raw)
        written = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
        if written != self.request["opset"]:
            raise Refused("unsupported", f"the exporter wrote opset {written}, not "
                          f"{self.request['opset']}, as its own conversion between opsets failed",
                          f"--opset {written} is what this exporter can do for this model")
        self.check_interface(model)
        clean(model)
        inputs, _ = self.names()
        rename_batch(model, inputs if self.free else [])
        self.note(model)
        return self.save(model)

    def note(self, model: Any) -> None:
        """How the file was made, and how its inputs are made up where it is measured."""
        notes = {f"wattle.input.{entry['name']}": rule for entry, value in
                 zip(self.built.inputs, self.built.examples)
                 if entry["name"] not in self.unused and (rule := rule_of(entry, value))}
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
        if not self.request.get("external_data") and size <= EMBEDDED_MAX:
            onnx.save_model(model, output)
            return ""
        data = os.path.basename(self.request["final"]) + DATA_ENDING
        onnx.save_model(model, output, save_as_external_data=True, all_tensors_to_one_file=True,
                        location=data, size_threshold=1024)
        path = os.path.join(os.path.dirname(output), data)
        return data if os.path.exists(path) else "" # no tensor was large enough


EXPORTERS = {"dynamo": "torch.onnx.export, dynamo", "torchscript": "torch.onnx.export, TorchScript"}


def versions(exporter: str) -> str:
    names = ["torch", "onnx"] + (["onnxscript"] if exporter == "dynamo" else [])
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)


# --- tensors ------------------------------------------------------------------------------------


def copies(values: tuple) -> tuple:
    """A module that writes into its inputs must not change what others are given."""
    return tuple(value.clone() for value in values)


def batch_of(values: tuple) -> int:
    return next((int(value.shape[0]) for value in values if value.dim()), 1)


def other_batch(values: tuple, batch: int) -> tuple:
    """Rows of the examples, repeated or left out."""
    import torch

    own = batch_of(values)
    return tuple(value[torch.arange(batch) % own].contiguous()
                 if value.dim() and value.shape[0] == own else value for value in values)


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

    try:
        sizes = placeholder_shapes(torch.export.load(path))
    except Exception: # which build() tells
        return False
    return any(shape and not isinstance(shape[0], int) for shape in sizes)


def onnx_batches(path: str) -> list[int]:
    """The first size of each input; 0 for a free one."""
    import onnx

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except Exception: # which build() tells
        return []
    weights = {tensor.name for tensor in graph.initializer}
    shapes = [value.type.tensor_type.shape.dim for value in graph.input
              if value.name not in weights]
    return [shape[0].dim_value for shape in shapes if shape]


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


def rename_batch(model: Any, inputs: list[str]) -> None:
    """The symbol of the batch is "batch", whatever the exporter called it."""
    first = next((v for v in model.graph.input if v.name in inputs
                  and v.type.tensor_type.shape.dim), None)
    symbol = first.type.tensor_type.shape.dim[0].dim_param if first is not None else ""
    if not symbol or symbol == "batch":
        return
    word = re.compile(rf"\b{re.escape(symbol)}\b")
    for values in (model.graph.input, model.graph.output, model.graph.value_info):
        for value in values:
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_param:
                    dim.dim_param = word.sub("batch", dim.dim_param)


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
        return told("unsupported", "the module does not take any batch: "
                    + short(reason_of(text)), "convert it without --dynamic-batch")
    told_plainly = explained(error)
    if told_plainly["error"] == "unsupported":
        deepest = chain[-1]
        told_plainly["text"] = short(f"{type(deepest).__name__}: {first_of(str(deepest))}")
        told_plainly["hint"] = told_plainly["hint"] or hint
    return told_plainly


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
        shown = take_streams(request)
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
