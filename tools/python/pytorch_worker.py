"""The worker of pytorch:eager and pytorch:compile: a module made by pytorch_module, run by Python.

What it reads is the description that prepare.py writes for these variants, or a model file itself.
Everything about CUDA follows PyTorch's documentation; it has not been run on a GPU yet.
"""
from __future__ import annotations

import ctypes
import json
import os
import statistics
import time
import traceback
from pathlib import Path
from typing import Any, Callable

# Before torch is imported: helpers that stay would be part of what is measured.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

import numpy # noqa: F401  the inputs come as its arrays
import torch

import prepare
import pytorch_module
import wattle_worker
from wattle_worker import Refused

VARIANTS = ("eager", "compile")
MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
FORMATS = {".onnx": "onnx", ".pt2": "exported"}
COPIES = 5 # of which the median is told


class Options:
    """Texts of --provider-option, each with its first value as the default."""

    def __init__(self, request: dict):
        self.taken = request["options"]
        self.denormals = self.take("denormals", ("kept", "zero"))
        self.memory_format = self.take("memory_format", ("contiguous", "channels_last"))
        self.mode, self.freezing = "", ""
        if request["variant"] == "compile":
            self.mode = self.take("mode", MODES)
            self.freezing = self.take("freezing", ("off", "on"))

    def take(self, name: str, values: tuple[str, ...]) -> str:
        value = self.taken.pop(name, values[0])
        if value not in values:
            raise Refused(f"option {name} of runtime 'pytorch' is {', '.join(values[:-1])} or "
                          f"{values[-1]}, not '{value}'", "usage")
        return value


class Replica:
    """The module on one device, for its part of the batch."""

    def __init__(self, built: pytorch_module.Built, device: torch.device, batch: int):
        self.built, self.device, self.batch, self.run = built, device, batch, built.module
        self.inputs: list[torch.Tensor] = [] # on the device; on a CPU it uses wattle's memory


class Model:
    """One module, or one for each of several devices that share a batch."""

    def __init__(self) -> None:
        self.replicas: list[Replica] = []
        self.whole: list[dict] = [] # inputs of the whole batch
        self.is_cuda = False
        self.options: Any = None
        self.settings: dict[str, Any] = {}
        self.guard = torch.inference_mode() # ends when it is freed

    # --- loading ---

    def load(self, request: dict) -> dict:
        try:
            return self.load_model(request)
        except Refused:
            raise
        except Exception as why: # known causes, a missing compiler among them, in wattle's words
            if not isinstance(why, pytorch_module.Refused):
                traceback.print_exc()
            told = prepare.explain(why)
            raise Refused(told["text"], told["error"], told["hint"]) from why

    def load_model(self, request: dict) -> dict:
        request["variant"] = request.get("variant") or VARIANTS[0]
        check_request(request)
        self.options = Options(request)
        self.is_cuda = request.get("provider") == "cuda"
        set_threads(request["threads"])
        set_arithmetic(self.options)
        spec = read_spec(request)
        self.replicas = [build_replica(part, device) for part, device in split(spec, request)]
        self.whole = self.replicas[0].built.inputs if len(self.replicas) == 1 else spec["inputs"]
        if not torch.is_inference_mode_enabled():
            self.guard.__enter__() # for good: entering it for each run would cost time
        self.lay_out()
        if request["variant"] == "compile":
            self.compile()
        self.record(request)
        functions = {} if self.is_cuda else {"infer": self.infer_one, "bind": None}
        for replica in self.replicas: # memory that a run does not need
            replica.built = replica.built._replace(examples=())
            replica.inputs = replica.inputs if self.is_cuda else []
        return functions | {
            "inputs": self.whole, "outputs": self.outputs(), "runtime": "pytorch",
            "version": torch.__version__, "library": library(),
            "provider": request.get("provider") or "cpu", "settings": self.settings}

    def lay_out(self) -> None:
        """Copies made here are of inference mode, as inputs of runs are: shown others, torch.compile
        would compile anew for those."""
        for replica in self.replicas:
            if self.options.memory_format == "channels_last":
                replica.run = move_channels_last(replica.run)
            replica.inputs = [self.format(x.clone()) for x in replica.built.examples]

    def format(self, tensor: torch.Tensor) -> torch.Tensor:
        if self.options.memory_format == "channels_last" and tensor.dim() == 4:
            return tensor.contiguous(memory_format=torch.channels_last)
        return tensor.contiguous()

    def compile(self) -> None:
        """Compiling is done at the first call, which is made here, so that it is told apart."""
        import torch._inductor.config as inductor

        inductor.freezing = self.options.freezing == "on"
        begin = time.monotonic()
        for replica in self.replicas:
            replica.run = torch.compile(replica.run, mode=self.options.mode, dynamic=False)
            replica.run(*replica.inputs)
        self.synchronize()
        self.settings["compile_s"] = round(time.monotonic() - begin, 3)
        self.settings["compile_mode"] = self.options.mode
        self.settings["freezing"] = self.options.freezing
        counters = torch._dynamo.utils.counters
        self.settings["graphs"] = counters["stats"]["unique_graphs"]
        self.settings["graph_breaks"] = sum(counters["graph_break"].values())
        hits = counters["inductor"]["fxgraph_cache_hit"] + \
            counters["aot_autograd"]["autograd_cache_hit"]
        self.settings["compile_cache"] = "hit" if hits else "miss"
        if not self.settings["graphs"]:
            raise Refused("torch.compile found nothing in this model that it can compile",
                          hint="measure pytorch:eager")

    def sizes(self) -> list[int]:
        return [replica.batch for replica in self.replicas]

    def outputs(self) -> list[dict]:
        """Of the whole batch."""
        entries = [replica.built.outputs for replica in self.replicas]
        if len(entries) == 1:
            return entries[0]
        joined = []
        for parts in zip(*entries):
            if [part["shape"][:1] for part in parts] != [[size] for size in self.sizes()]:
                raise Refused(f"output '{parts[0]['name']}' has no batch that devices could share")
            joined.append(parts[0] | {"shape": [sum(self.sizes())] + parts[0]["shape"][1:]})
        return joined

    def record(self, request: dict) -> None:
        built = self.replicas[0].built
        self.settings |= {
            "model_how": built.how, "model_form": built.form, "variant": request["variant"],
            "threads": torch.get_num_threads(),
            "inter_op_threads": torch.get_num_interop_threads(),
            "spin": request.get("spin", ""), "precision": request.get("precision") or "f32",
            "denormals": denormals(), "gradients": torch.is_grad_enabled(),
            "inference_mode": torch.is_inference_mode_enabled(),
            "memory_format": self.options.memory_format,
            "capability": torch.backends.cpu.get_cpu_capability(),
            "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY"),
            "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT")}
        if self.is_cuda:
            self.record_devices()

    def record_devices(self) -> None:
        examples = [[x.cpu() for x in replica.built.examples] for replica in self.replicas]
        outputs = self.infer(self.inputs())
        self.settings |= {
            "tf32": "on" if torch.backends.cuda.matmul.allow_tf32 or
                    torch.backends.cudnn.allow_tf32 else "off",
            "devices": [f"{r.device} {torch.cuda.get_device_name(r.device)}"
                        for r in self.replicas],
            "copies": "inputs before each run, outside the latency; outputs after the window",
            "copy_in_ns": median_ns(lambda: self.bind(examples)),
            "copy_out_ns": median_ns(lambda: self.collect(outputs))}

    # --- running ---

    def prepare(self, arrays: list) -> list[list[torch.Tensor]]:
        """A set as tensors on wattle's memory, split among the devices."""
        tensors = [from_array(a, entry) for a, entry in zip(arrays, self.whole)]
        sizes = self.sizes()
        if len(sizes) == 1:
            return [[self.format(x) for x in tensors]]
        parts = [x.split(sizes) if x.shape[:1] == (sum(sizes),) else [x] * len(sizes)
                 for x in tensors]
        return [[self.format(x) for x in part] for part in zip(*parts)]

    def bind(self, parts: list[list[torch.Tensor]]) -> list[list[torch.Tensor]]:
        """To the devices, where there are some: always to the same place."""
        for replica, tensors in zip(self.replicas, parts):
            for place, tensor in zip(replica.inputs, tensors):
                place.copy_(tensor, non_blocking=True)
        self.synchronize()
        return self.inputs()

    def inputs(self) -> list[list[torch.Tensor]]:
        return [replica.inputs for replica in self.replicas]

    def infer_one(self, parts: list[list[torch.Tensor]]) -> list[Any]:
        return [self.replicas[0].run(*parts[0])]

    def infer(self, parts: list[list[torch.Tensor]]) -> list[Any]:
        """Calls only start the work of a device: all are at work before the first is waited for."""
        values = [replica.run(*tensors) for replica, tensors in zip(self.replicas, parts)]
        self.synchronize()
        return values

    def synchronize(self) -> None:
        if self.is_cuda:
            for replica in self.replicas:
                torch.cuda.synchronize(replica.device)

    def collect(self, values: list[Any]) -> list:
        """Arrays of the whole batch."""
        found = [[tensor for _, tensor in pytorch_module.leaves(value)] for value in values]
        return [to_array([part.cpu() for part in parts]) for parts in zip(*found)]

    def device_memory(self) -> Any:
        return nvml_own_memory() if self.is_cuda else None


# --- what is asked for ---------------------------------------------------------------------------


def check_request(request: dict) -> None:
    provider = request.get("provider") or "cpu"
    if request["variant"] not in VARIANTS:
        raise Refused(f"this worker runs pytorch:eager and pytorch:compile, not "
                      f"'{request['variant']}'", "usage")
    if provider not in ("cpu", "cuda"):
        raise Refused(f"runtime 'pytorch' has no provider '{provider}'", "usage")
    if (request.get("precision") or "f32") != "f32":
        raise Refused(f"runtime 'pytorch' has no precision '{request['precision']}'", "usage")
    if request.get("provider_library"):
        raise Refused("runtime 'pytorch' takes no provider library", "usage")
    if provider == "cpu" and len(request.get("devices") or []) > 1:
        raise Refused("pytorch:cpu runs on one device")
    wanted = request.get("library")
    if wanted and not os.path.samefile(wanted, library()):
        raise Refused(f"this Python's PyTorch is '{library()}', not '{wanted}'",
                      hint="wattle runtimes install pytorch makes one with its own Python")


def library() -> str:
    return str(Path(torch.__file__).resolve().parent / "lib" / "libtorch_cpu.so")


def set_threads(threads: int) -> None:
    torch.set_num_threads(threads)
    if torch.get_num_interop_threads() != 1:
        torch.set_num_interop_threads(1)
    if torch.get_num_threads() != threads or torch.get_num_interop_threads() != 1:
        raise Refused(f"PyTorch took {torch.get_num_threads()} threads, not {threads}")


def set_arithmetic(options: Options) -> None:
    """Denormals are a state of the thread that later ones inherit."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    if not torch.set_flush_denormal(options.denormals == "zero") and options.denormals == "zero":
        raise Refused("this CPU cannot set numbers too small to be normal to zero")


def denormals() -> str:
    """What a multiplication does, not what was set."""
    return "kept" if (torch.full((1,), 1e-39) * 1.0).item() != 0 else "zero"


def read_spec(request: dict) -> dict:
    """What pytorch_module needs to know, as prepare.py wrote it, or of a model file itself."""
    path = request["model"]
    try:
        with open(path, encoding="utf-8") as file:
            spec = json.load(file)["request"]
    except (OSError, ValueError, KeyError, TypeError) as why:
        kind = "python" if ".py:" in path else FORMATS.get(os.path.splitext(path)[1])
        if not kind:
            raise Refused(f"'{path}' is no model for PyTorch: {why}", "format",
                          "it takes .onnx, .pt2 or FILE.py:FUNCTION") from why
        spec = {"model": path, "format": kind, "batch": request["batch"], "inputs": []}
    return spec | {"provider": request.get("provider") or "cpu", "batch": request["batch"]}


def split(spec: dict, request: dict) -> list[tuple[dict, torch.device]]:
    """A request for each device, with its part of the batch."""
    ids = [int(i) if str(i).isdigit() else None for i in request.get("devices") or []]
    if None in ids or len(set(ids)) != len(ids):
        raise Refused(f"devices of pytorch:cuda are different numbers, not {request['devices']}",
                      "usage")
    if spec["provider"] == "cpu":
        return [(spec, torch.device("cpu"))]
    if len(ids) < 2:
        return [(spec, torch.device("cuda", ids[0] if ids else 0))]
    return [(part_of(spec, request["batch"], i, len(ids)), torch.device("cuda", device))
            for i, device in enumerate(ids)]


def part_of(spec: dict, batch: int, i: int, count: int) -> dict:
    part = batch // count + (i < batch % count)
    if batch < count:
        raise Refused(f"a batch of {batch} cannot be shared by {count} devices", "usage")
    inputs = [entry | {"shape": [part] + entry["shape"][1:]} if entry["shape"][:1] == [batch]
              else entry for entry in spec.get("inputs") or []]
    if inputs == (spec.get("inputs") or []):
        raise Refused("no input has a batch that devices could share")
    return spec | {"batch": part, "inputs": inputs}


def build_replica(spec: dict, device: torch.device) -> Replica:
    if device.type == "cpu":
        return Replica(pytorch_module.build(spec), device, spec["batch"])
    if not torch.cuda.is_available():
        raise Refused("this PyTorch sees no CUDA device")
    if device.index >= torch.cuda.device_count():
        raise Refused(f"PyTorch sees {torch.cuda.device_count()} CUDA devices, none is {device}",
                      "usage")
    with torch.cuda.device(device): # "cuda" without a number is this one
        return Replica(pytorch_module.build(spec), device, spec["batch"])


# --- tensors -------------------------------------------------------------------------------------


def from_array(array: Any, entry: dict) -> torch.Tensor:
    """On the same memory, a private view; the helper looks whether a model writes to it."""
    array.flags.writeable = True
    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if entry["type"] == "bfloat16" else tensor


def to_array(parts: list[torch.Tensor]) -> Any:
    tensor = parts[0] if len(parts) == 1 else torch.cat(parts)
    tensor = tensor.contiguous()
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def move_channels_last(module: Any) -> Any:
    if not isinstance(module, torch.nn.Module):
        raise Refused("this model's weights cannot be laid out as channels_last")
    return module.to(memory_format=torch.channels_last)


def median_ns(call: Callable) -> int:
    times = []
    for _ in range(COPIES):
        begin = time.monotonic_ns()
        call()
        times.append(time.monotonic_ns() - begin)
    return int(statistics.median(times))


# --- memory of GPUs ------------------------------------------------------------------------------


class Process(ctypes.Structure):
    """nvmlProcessInfo_t of the third version."""
    _fields_ = [("pid", ctypes.c_uint), ("bytes", ctypes.c_ulonglong),
                ("gpu_instance", ctypes.c_uint), ("compute_instance", ctypes.c_uint)]


def nvml_own_memory() -> int | str:
    """Bytes that this process holds on all GPUs, as other runtimes' rows have it; or why not."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
        if nvml.nvmlInit_v2():
            return "NVML cannot be started"
        count, total = ctypes.c_uint(), 0
        nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
        for i in range(count.value):
            handle = ctypes.c_void_p()
            nvml.nvmlDeviceGetHandleByIndex_v2(i, ctypes.byref(handle))
            total += nvml_memory_on(nvml, handle)
        nvml.nvmlShutdown()
    except (OSError, AttributeError) as why:
        return f"NVML cannot be used: {why}"
    return total or "NVML does not list this process, as in a container with its own numbers"


def nvml_memory_on(nvml: Any, handle: ctypes.c_void_p) -> int:
    size = ctypes.c_uint(64)
    processes = (Process * size.value)()
    if nvml.nvmlDeviceGetComputeRunningProcesses_v3(handle, ctypes.byref(size), processes):
        return 0
    return sum(p.bytes for p in processes[:size.value]
               if p.pid == os.getpid() and p.bytes != 2**64 - 1)


def main() -> None:
    model = Model()
    wattle_worker.run(model.load, model.infer, prepare=model.prepare, bind=model.bind,
                      collect=model.collect, device_memory=model.device_memory,
                      name=f"pytorch_worker {torch.__version__}")


if __name__ == "__main__":
    main()
