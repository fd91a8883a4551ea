"""From a model file to a PyTorch module that can be run: build_module(REQUEST).

REQUEST is a dict: "model" (path; for "python" FILE.py:FUNCTION), "format" ("onnx", "exported" or
"python"), "zoo" (the built-in model it is, with form "native"; ""), "form", "provider" ("cpu",
"cuda"), "precision", "batch" and "inputs", [{"name", "type", "shape", "range"}] as far as known; of
an ONNX file maybe also "dims", {name of a size: size}.
"""
from __future__ import annotations

import importlib.util
import inspect
import json
import logging
import os
import re
import sys
import traceback
from pathlib import Path
from typing import Any, Callable, NamedTuple

import torch
from torch import nn
from torch.utils import _pytree as pytree

TYPES = {"float32": torch.float32, "float64": torch.float64, "float16": torch.float16,
         "bfloat16": torch.bfloat16, "int8": torch.int8, "uint8": torch.uint8,
         "int16": torch.int16, "uint16": torch.uint16, "int32": torch.int32,
         "uint32": torch.uint32, "int64": torch.int64, "uint64": torch.uint64,
         "bool": torch.bool}
TYPE_NAMES = {value: key for key, value in TYPES.items()}


class Refused(Exception):
    """What cannot be done: a code of wattle's errors, one line, what to do about it."""

    def __init__(self, code: str, text: str, hint: str = ""):
        super().__init__(text)
        self.code, self.hint = code, hint


class Built(NamedTuple):
    module: Callable       # takes the examples; gives a tensor or a tuple of tensors
    examples: tuple        # one tensor an input, seeded
    inputs: list[dict]     # name, type, shape, maybe range: in the order of forward
    outputs: list[dict]    # name, type, shape, of a first run
    form: str
    how: str
    depends: list[str]     # other files that were read: weights, imported modules
    program: Any = None    # the exported program that the module is of
    arrange: Callable = lambda run: run # of what takes inputs as the program does: by position


def build_module(request: dict) -> tuple[Callable, tuple, str]:
    """The module on its device, inputs for it, and how it was made."""
    built = build(request)
    return built.module, built.examples, built.how


def build(request: dict) -> Built:
    builders = {"onnx": build_onnx, "exported": build_exported, "python": build_python}
    builder = builders.get(request["format"])
    if not builder:
        raise Refused("unsupported", f"PyTorch makes no module of a model of format "
                                     f"'{request['format']}'")
    if request.get("precision", "f32") != "f32":
        raise Refused("unsupported", f"precision '{request['precision']}' cannot be prepared")
    built = builder(request)
    device = device_of(request)
    if device.type != "cpu":
        built = built._replace(module=move(built.module, device),
                               examples=tuple(x.to(device) for x in built.examples))
    if request["format"] != "python":
        return first_run(built)
    return call(request["model"].rpartition(":")[0], first_run, built)


def device_of(request: dict) -> torch.device:
    provider = request.get("provider") or "cpu"
    if provider == "cuda" and not torch.cuda.is_available():
        raise Refused("unsupported", "this PyTorch sees no CUDA device")
    return torch.device(provider)


def move(module: Callable, device: torch.device) -> Callable:
    if not isinstance(module, nn.Module):
        raise Refused("unsupported", f"the module cannot be moved to '{device}'")
    return module.to(device)


# --- outputs -----------------------------------------------------------------------------------


class Wrapper(nn.Module):
    """Of a module that is ready for inference; an exported program's refuses to be told so."""

    def __init__(self, module: Callable):
        super().__init__()
        self.module = module
        self.training = False


class Flat(Wrapper):
    """A module whose outputs are a dict, nested or partly None, with a tuple of tensors instead."""

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return flat(self.module(*inputs))


def leaves(value: Any, name: str = "") -> list[tuple[str, torch.Tensor]]:
    """Names and tensors of what a forward returns."""
    if isinstance(value, torch.Tensor):
        return [(name, value)]
    if value is None:
        return []
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, (tuple, list)):
        names = getattr(value, "_fields", range(len(value)))
        parts = zip(names, value)
    else:
        raise Refused("unsupported", f"the module returns a {type(value).__name__}, not tensors")
    return [leaf for key, part in parts
            for leaf in leaves(part, f"{name}.{key}" if name else str(key))]


def is_plain(value: Any) -> bool:
    """Whether it is what runs compare: a tensor or a tuple of them."""
    return isinstance(value, torch.Tensor) or (
        type(value) is tuple and all(isinstance(part, torch.Tensor) for part in value))


def first_run(built: Built) -> Built:
    """Runs it once, which tells the outputs, and that the examples fit."""
    with torch.no_grad():
        value = built.module(*copies(built.examples))
    found = leaves(value)
    if not found:
        raise Refused("unsupported", "the module has no outputs")
    module = built.module if is_plain(value) else Flat(built.module)
    names = [entry["name"] for entry in built.outputs]
    if names and len(names) != len(found):
        raise Refused("format", f"the module has {len(found)} outputs, the model file "
                                f"{len(names)}")
    names = names or [output_name(name, len(found)) for name, _ in found]
    outputs = [describe(name, tensor) for name, (_, tensor) in zip(names, found)]
    return built._replace(module=module, outputs=outputs)


def output_name(name: str, count: int) -> str:
    if name.isdigit():
        return f"output{name}"
    return name or ("output" if count == 1 else "output0")


def describe(name: str, tensor: torch.Tensor) -> dict:
    kind = TYPE_NAMES.get(tensor.dtype)
    if not kind:
        raise Refused("unsupported", f"'{name}' is of type {tensor.dtype}, which is not measured")
    return {"name": name, "type": kind, "shape": list(tensor.shape)}


def with_range(entry: dict, value: Any) -> dict:
    """Of integers and truth values also from the least to the greatest of the example: all that
    is known of which ones a model takes (rows of a table, marks of what counts)."""
    if (not isinstance(value, torch.Tensor) or value.is_floating_point() or value.is_complex()
            or not value.numel()):
        return entry
    return entry | {"range": [int(value.min()), int(value.max())]}


def flat(value: Any) -> tuple[torch.Tensor, ...]:
    return tuple(tensor for _, tensor in leaves(value))


# --- inputs ------------------------------------------------------------------------------------


def example(entry: dict, seed: int) -> torch.Tensor:
    """Normal numbers, integers of the range, or else 0 and 1, which every embedding has."""
    kind = TYPES.get(entry["type"])
    if kind is None:
        raise Refused("unsupported", f"input '{entry['name']}' is of type '{entry['type']}', which "
                                     f"PyTorch does not take")
    generator = torch.Generator().manual_seed(seed)
    if kind.is_floating_point:
        return torch.randn(entry["shape"], generator=generator).to(kind)
    low, high = entry.get("range") or (0, 1)
    return torch.randint(int(low), int(high) + 1, entry["shape"], generator=generator).to(kind)


def copies(values: tuple) -> tuple[torch.Tensor, ...]:
    """A module may write into its inputs."""
    return tuple(value.clone() for value in values)


def first_changed(before: tuple, after: tuple) -> int:
    """Which of the tensors has other values now; -1: none."""
    for i, (one, other) in enumerate(zip(before, after)):
        if one.shape != other.shape or not torch.equal(one.nan_to_num(), other.nan_to_num()):
            return i
    return -1


def make_examples(inputs: list[dict]) -> tuple[torch.Tensor, ...]:
    return tuple(example(entry, 1 + i) for i, entry in enumerate(inputs))


def merge(known: list[dict], request: dict) -> list[dict]:
    """What the file says of its inputs, with the sizes that the request has for them."""
    wanted = {entry["name"]: entry for entry in request.get("inputs") or []}
    for name in wanted.keys() - {entry["name"] for entry in known}:
        names = ", ".join(entry["name"] for entry in known)
        raise Refused("usage", f"the model has no input '{name}'; it has {names}")
    return [merge_one(entry, wanted.get(entry["name"], {})) for entry in known]


def merge_one(entry: dict, wanted: dict) -> dict:
    shape = wanted.get("shape") or entry["shape"]
    if len(shape) != len(entry["shape"]):
        raise Refused("usage", f"input '{entry['name']}' has {len(entry['shape'])} dimensions, not "
                               f"{len(shape)}")
    merged = []
    for size, own, guess in zip(shape, entry["shape"], entry.get("guess", shape)):
        if size is not None and own is not None and size != own:
            raise Refused("usage", f"input '{entry['name']}' is {entry['shape']} in the model, not "
                                   f"{shape}")
        known = own if size is None else size
        merged.append(guess if known is None else known)
    if None in merged:
        raise Refused("usage", f"the shape of input '{entry['name']}' is not known: {merged}",
                      f"give it: --shape {entry['name']}=AxBxC")
    result = {"name": entry["name"], "type": entry["type"], "shape": merged}
    known_range = wanted.get("range") or entry.get("range")
    return result | ({"range": known_range} if known_range else {})


def check_batch(whose: str, inputs: list[dict], request: dict, advice: str) -> None:
    """A batch that was asked for is not silently another one."""
    batch = request.get("batch") or 0
    first = [entry["shape"][0] for entry in inputs if entry["shape"]]
    if batch > 0 and first and batch not in first:
        raise Refused("usage", f"{whose} batch {first[0]}, not {batch}", f"-b {first[0]}, {advice}")


# --- ONNX --------------------------------------------------------------------------------------


def onnx_sizes(value: Any, dims: dict[str, int]) -> list[int | None]:
    """The fixed ones, and those that the request has for their names."""
    return [dim.dim_value if dim.HasField("dim_value") else dims.get(dim.dim_param)
            for dim in value.type.tensor_type.shape.dim]


def check_dims(values: list, dims: dict[str, int]) -> None:
    known = {dim.dim_param for value in values for dim in value.type.tensor_type.shape.dim}
    for name in dims.keys() - known:
        names = ", ".join(sorted(known - {""})) or "none"
        raise Refused("usage", f"the model has no dimension '{name}'; it has {names}")


def onnx_guesses(value: Any, metadata: dict[str, str], batch: int) -> list[int | None]:
    """What free sizes are unless the request tells: by the file's metadata, or the batch."""
    texts = [metadata.get(f"wattle.dim.{dim.dim_param}", "")
             for dim in value.type.tensor_type.shape.dim]
    return [int(text) if text.isdigit() else batch if axis == 0 and batch > 0 else None
            for axis, text in enumerate(texts)]


def onnx_range(graph: Any, name: str, metadata: dict[str, str]) -> list[int] | None:
    """Of integers: what the metadata says, or the rows of the table that they look up."""
    rule = metadata.get(f"wattle.input.{name}", "").split()
    if len(rule) == 3 and rule[0] == "uniform":
        return [int(float(rule[1])), int(float(rule[2]))]
    if len(rule) == 2 and rule[0] == "constant":
        return [int(float(rule[1]))] * 2
    rows = {tensor.name: tensor.dims[0] for tensor in graph.initializer if len(tensor.dims) > 1}
    limits = [rows[node.input[0]] for node in graph.node
              if node.op_type == "Gather" and node.input[1] == name and node.input[0] in rows]
    return [0, min(limits) - 1] if limits else None


def onnx_interface(request: dict) -> tuple[list[dict], list[dict], list[str]]:
    """Inputs and outputs as the graph has them, and the files that hold its weights."""
    import onnx
    from onnx import helper
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    path = request["model"]
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error: # protobuf's own kinds
        raise Refused("format", f"cannot read '{path}': {error}") from error
    graph = model.graph
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    weights = {tensor.name for tensor in graph.initializer}
    values = [value for value in graph.input if value.name not in weights]
    dims = request.get("dims") or {}
    check_dims(values, dims)
    inputs = []
    for value in values:
        if not value.type.tensor_type.elem_type:
            raise Refused("unsupported", f"input '{value.name}' of the ONNX file is no tensor",
                          "run the ONNX file itself with another runtime")
        kind = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name
        entry = {"name": value.name, "type": kind,
                 "shape": onnx_sizes(value, dims),
                 "guess": onnx_guesses(value, metadata, request.get("batch") or 0)}
        is_integer = kind.startswith(("int", "uint"))
        limits = onnx_range(graph, value.name, metadata) if is_integer else None
        inputs.append(entry | ({"range": limits} if limits else {}))
    external = {ExternalDataInfo(t).location for t in graph.initializer if uses_external_data(t)}
    folder = Path(path).parent
    return (inputs, [{"name": value.name} for value in graph.output],
            [str(folder / name) for name in sorted(external)])


def load_sibling(folder: str, name: str) -> Any:
    """A script of wattle's that lies in another of its folders."""
    path = Path(__file__).resolve().parent.parent / folder / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"wattle_{folder}_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build_onnx(request: dict) -> Built:
    known, outputs, depends = onnx_interface(request)
    inputs = merge(known, request)
    if request.get("zoo") and request.get("form") == "native":
        zoo = load_sibling("zoo", "pytorch")
        try:
            module = zoo.build(request["zoo"], request["model"])
        except zoo.ZooError as error:
            raise Refused("format", str(error)) from error
        how, form = "plain modules with the file's weights", "native"
    else:
        module, how = convert_onnx(request["model"])
        form = "converted"
    return Built(module, make_examples(inputs), inputs, outputs, form, how, depends)


def convert_onnx(path: str) -> tuple[nn.Module, str]:
    from onnx_to_torch import ConversionError, onnx_to_torch

    try:
        module, how = onnx_to_torch(path)
    except ConversionError as error:
        raise Refused("unsupported", str(error), error.hint) from error
    return module.eval().requires_grad_(False), how


# --- exported programs -------------------------------------------------------------------------


def guard_storages() -> None:
    """PyTorch makes a storage as long as a pickle says it is, of a record of any length: what lies
    beyond is other memory."""
    reader = torch._C.PyTorchFileReader
    if getattr(reader, "wattle_guards", False):
        return
    take = reader.get_storage_from_record

    def checked(self: Any, name: str, count: int, kind: Any) -> Any:
        wanted = count * (kind.itemsize if isinstance(kind, torch.dtype) else 1)
        size = len(self.get_record(name))
        if size < wanted:
            raise Refused("format", f"record '{name}' has {size} bytes, by its pickle it has "
                                    f"{wanted}")
        return take(self, name, count, kind)

    reader.get_storage_from_record, reader.wattle_guards = checked, True


class LastLogged(logging.Handler):
    """Of what fails, torch.export.load raises but "an error": it logs which."""
    error: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1]:
            self.error = record.exc_info[1]


def load_exported(path: str, notes: dict) -> torch.export.ExportedProgram:
    logged, logger = LastLogged(), logging.getLogger("torch.export")
    logger.addHandler(logged)
    try:
        return torch.export.load(path, extra_files=notes)
    except Exception as error:
        reason = logged.error or error
        if isinstance(reason, Refused):
            raise Refused(reason.code, f"model '{path}': {reason}") from error
        text = re.sub(r"\[enforce fail at [^]]*\][ .]*", "", first_line(reason))
        raise Refused("format", f"cannot read '{path}' as an exported program: {text}",
                      "if another PyTorch wrote it: -r pytorch@VERSION, or export it with torch "
                      f"{torch.__version__}") from error
    finally:
        logger.removeHandler(logged)


def build_exported(request: dict) -> Built:
    path, notes = request["model"], {"wattle.json": ""}
    guard_storages()
    program = load_exported(path, notes)
    note = json.loads(notes["wattle.json"] or "{}")
    inputs = merge(exported_inputs(program, note, request.get("batch") or 1), request)
    check_batch(f"'{path}' has", inputs, request, "or export it with a dynamic batch")
    outputs = [{"name": entry["name"]} for entry in note.get("outputs", [])]

    def arrange(run: Callable) -> Callable:
        return Arranged(run, program.call_spec.in_spec)

    module = program.module()
    if has_structure(program):
        module = arrange(module)
    else:
        arrange = Built._field_defaults["arrange"]
    return Built(module, make_examples(inputs), inputs, outputs, request.get("form", ""),
                 "exported program", [], program, arrange)


class Arranged(Wrapper):
    """Takes by position what a program takes by name or in lists and dicts."""

    def __init__(self, module: Callable, spec: Any):
        super().__init__(module)
        self.spec = spec

    def forward(self, *inputs: torch.Tensor) -> Any:
        positional, named = pytree.tree_unflatten(list(inputs), self.spec)
        return self.module(*positional, **named)


def has_structure(program: Any) -> bool:
    positional, named = pytree.tree_unflatten(list(program.graph_signature.user_inputs),
                                              program.call_spec.in_spec)
    return bool(named) or not all(isinstance(name, str) for name in positional)


def exported_guesses(value: torch.Tensor, saved: Any, batch: int | None) -> list[int | None]:
    """What free sizes are unless the request tells: as in the export, where that is kept."""
    same = isinstance(saved, torch.Tensor) and saved.dim() == value.dim()
    sizes = list(saved.shape) if same else [None] * value.dim()
    return [batch] + sizes[1:] if sizes else []


def exported_inputs(program: Any, note: dict, batch: int | None = None) -> list[dict]:
    wanted = program.graph_signature.user_inputs
    nodes = [node for node in program.graph.nodes
             if node.op == "placeholder" and node.name in wanted]
    if len(nodes) != len(wanted) or not all("val" in node.meta for node in nodes):
        raise Refused("unsupported", "the exported program has inputs that are not tensors")
    noted = note.get("inputs", [])
    if len(noted) != len(nodes):
        noted = [{}] * len(nodes)
    examples = pytree.tree_leaves(program.example_inputs) # what it was exported with, if kept
    if len(examples) != len(nodes):
        examples = [None] * len(nodes)
    inputs = []
    for node, extra, saved in zip(nodes, noted, examples):
        value = node.meta["val"]
        if not isinstance(value, torch.Tensor):
            raise Refused("unsupported", f"input '{node.name}' of the exported program is no "
                                         f"tensor")
        entry = {"name": extra.get("name", node.name), "type": TYPE_NAMES.get(value.dtype, "?"),
                 "shape": [size if isinstance(size, int) else None for size in value.shape],
                 "guess": exported_guesses(value, saved, batch)}
        inputs.append(entry | {"range": extra["range"]} if extra.get("range")
                      else with_range(entry, saved))
    return inputs


# --- a user's Python ---------------------------------------------------------------------------


def first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def in_file(path: str, error: BaseException) -> str:
    """What failed, with the line of the user's file that it failed in."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__)
             if os.path.realpath(frame.filename) == os.path.realpath(path)]
    if isinstance(error, SyntaxError) and error.lineno:
        lines = [error.lineno]
    return f"{path}:{lines[-1]}: {first_line(error)}" if lines else f"{path}: {first_line(error)}"


def import_file(path: str) -> Any:
    """The user's file, which finds its neighbours as if it were run by itself."""
    if not os.path.isfile(path):
        raise Refused("io", f"there is no file '{path}'")
    folder = os.path.dirname(os.path.abspath(path))
    sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if not spec:
        raise Refused("usage", f"'{path}' is not a Python file", "as in FILE.py:FUNCTION")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    call(path, spec.loader.exec_module, module)
    return module


def call(path: str, function: Callable, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except (Refused, MemoryError, torch.OutOfMemoryError):
        raise
    except (Exception, SystemExit) as error:
        raise Refused("unsupported", in_file(path, error)) from error


def imported_from(path: str) -> list[str]:
    """Modules beside the user's file: the result depends on them too."""
    folder = os.path.dirname(os.path.abspath(path)) + os.sep
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    return sorted(file for file in files
                  if file and os.path.abspath(file).startswith(folder)
                  and "site-packages" not in file and os.path.isfile(file))


def build_python(request: dict) -> Built:
    path, separator, name = request["model"].rpartition(":")
    if not separator or not name.isidentifier():
        raise Refused("usage", f"'{request['model']}' does not name a function of a Python file",
                      "as in FILE.py:FUNCTION")
    torch.manual_seed(0) # weights that are made up are the same in every process
    source = import_file(path)
    if not callable(getattr(source, name, None)):
        raise Refused("usage", f"'{path}' has no function '{name}'")
    module = call(path, getattr(source, name))
    if not isinstance(module, nn.Module):
        raise Refused("usage", f"{name}() of '{path}' returns a {type(module).__name__}, not a "
                               f"torch.nn.Module")
    module = module.eval().requires_grad_(False)
    module, inputs, examples = python_inputs(path, source, module, request)
    return Built(module, examples, inputs, [], request.get("form", ""), f"{Path(path).name}:{name}",
                 imported_from(path))


class Named(Wrapper):
    """Takes by position what a module takes by name."""

    def __init__(self, module: nn.Module, names: list[str]):
        super().__init__(module)
        self.names = names

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.module(**dict(zip(self.names, inputs)))


def python_inputs(path: str, source: Any, module: nn.Module,
                  request: dict) -> tuple[nn.Module, list[dict], tuple]:
    """By the file's example_inputs, or else by what the request says of them."""
    if not hasattr(source, "example_inputs"):
        inputs = request.get("inputs") or []
        if not inputs or not all(entry.get("shape") and entry.get("type") for entry in inputs):
            raise Refused("usage", f"'{path}' has no function example_inputs",
                          "it returns the inputs of forward as a tuple or a dict of tensors; or "
                          "give each input: --shape NAME=1x3x224x224")
        return module, inputs, make_examples(inputs)
    values = own_examples(path, source.example_inputs, request)
    module, named = order(path, values, module)
    inputs = merge([with_range(describe(name, value), value) for name, value in named], request)
    check_batch(f"example_inputs of '{path}' gives", inputs, request,
                "or let it take the batch as its argument: def example_inputs(batch)")
    return module, inputs, tuple(value for _, value in named)


def own_examples(path: str, function: Callable, request: dict) -> Any:
    """example_inputs(batch) or example_inputs()."""
    takes_batch = bool(call(path, inspect.signature, function).parameters)
    batch = request.get("batch") or 1
    return call(path, function, batch) if takes_batch else call(path, function)


def order(path: str, values: Any,
          module: nn.Module) -> tuple[nn.Module, list[tuple[str, torch.Tensor]]]:
    """The module, by position, and names and tensors in its order."""
    kinds = inspect.Parameter
    parameters = inspect.signature(module.forward).parameters.values()
    names = [p.name for p in parameters if p.kind in (kinds.POSITIONAL_ONLY,
                                                      kinds.POSITIONAL_OR_KEYWORD)]
    if isinstance(values, torch.Tensor):
        values = (values,)
    if isinstance(values, (tuple, list)):
        named = [(names[i] if i < len(names) else f"input{i}", value)
                 for i, value in enumerate(values)]
    elif isinstance(values, dict):
        named = [(name, values[name]) for name in names if name in values]
        named += [(name, value) for name, value in values.items() if name not in names]
        by_name = [name for name, _ in named]
        if by_name != names[:len(by_name)]:
            module = Named(module, by_name)
    else:
        raise Refused("usage", f"example_inputs of '{path}' returns a {type(values).__name__}, not "
                               f"a tuple or a dict of tensors")
    for name, value in named:
        if not isinstance(value, torch.Tensor):
            raise Refused("usage", f"example_inputs of '{path}': '{name}' is a "
                                   f"{type(value).__name__}, not a tensor")
    return module, named
