"""Makes of a model file what a variant of PyTorch reads: prepare.py REQUEST.json

The request has, beside what pytorch_module.py reads of it: "make", [{"what", "path"}] with "aoti"
(compiled for this CPU), "aoti-portable" (for any of its kind with AVX2), "torchscript", "exported"
or "module" (a description that build_module takes); "result", the path of what is to be told;
"scratch", a folder for what is needed on the way; "site", a folder of packages to look in, or "";
"timeout_s", after which reading the model is ended by SIGALRM, or 0.
Progress goes to stdout, a line a step. What the tools print themselves goes nowhere.
"""
from __future__ import annotations

import json
import os
import platform
import signal
import sys
import time
import zipfile
from pathlib import Path
from typing import Any, Callable

TOLERANCE = 1e-3
# Frozen weights let convolutions and linear layers be folded, fused and laid out for oneDNN.
FREEZING = {"freezing": True}
LINEAR = ("aten.linear", "aten.addmm", "aten.mm")
# AVX2, because a package that holds AVX-512 kills a CPU without. The heavy work is oneDNN's, which
# chooses by the CPU it runs on.
PORTABLE = {"x86_64": {"cpp.march": "x86-64-v3", "cpp.simdlen": 256}}


def set_up(request: dict) -> None:
    """Before torch is imported: it reads these then."""
    scratch = request["scratch"]
    for name in ("inductor", "tmp"):
        os.makedirs(os.path.join(scratch, name), exist_ok=True)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.path.join(scratch, "inductor")
    os.environ["TMPDIR"] = os.path.join(scratch, "tmp")
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1" # no helpers that outlive an interruption
    here = str(Path(__file__).resolve().parent)
    sys.path[:0] = [here] + ([request["site"]] if request.get("site") else [])


def take_streams() -> Any:
    """What torch, compilers and code of the model print goes nowhere, as nobody would read it, and
    a file of it could fill the disk; returns the user's stdout."""
    shown = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    return shown


class Maker:
    def __init__(self, request: dict, shown: Any):
        self.request, self.shown = request, shown
        self.built: Any = None
        self.program: Any = None
        self.step = "" # the tool at work, for when it fails

    def say(self, line: str, step: str = "") -> None:
        self.step = step
        print(line, file=self.shown, flush=True)

    def run(self) -> dict:
        import torch

        # A compiler that sees one thread writes code that is serial for ever, and frozen weights are
        # laid out for as many threads as it sees: with others oneDNN converts some at every run.
        torch.set_num_threads(self.request.get("threads") or max(2, len(os.sched_getaffinity(0))))
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        self.say(f"reading {os.path.basename(self.request['model'])} (torch {torch.__version__})")
        with torch.no_grad(): # else weights are not frozen, without a word
            self.build()
            made = [self.make(item) for item in self.request["make"]]
        return {"made": made, "form": self.built.form, "how": self.how(made),
                "depends": depends(self.built.depends), "torch": torch.__version__}

    def build(self) -> None:
        """Code of the user's may never come back: then SIGALRM ends this process."""
        from pytorch_module import build

        signal.alarm(self.request.get("timeout_s") or 0)
        try:
            self.built = build(self.request)
        finally:
            signal.alarm(0)

    def how(self, made: list[dict]) -> str:
        return made[0]["how"] if len(made) == 1 else self.built.how

    def make(self, item: dict) -> dict:
        makers: dict[str, Callable] = {
            "aoti": self.make_aoti, "aoti-portable": self.make_aoti, "exported": self.make_exported,
            "torchscript": self.make_torchscript, "module": self.make_module}
        begin = time.monotonic()
        note = makers[item["what"]](item["what"], item["path"])
        self.say(f"{os.path.basename(item['path'])} made in {time.monotonic() - begin:.1f} s")
        return note

    def note(self, variant: str, how: str, **more: Any) -> dict:
        import torch

        parts = [part for part in (self.built.how, how) if part]
        return {"schema": 1, "form": self.built.form, "how": ", ".join(parts),
                "torch": torch.__version__, "variant": variant, "inputs": self.built.inputs,
                "outputs": self.built.outputs} | more

    def export(self) -> Any:
        import torch

        if self.program is None and self.built.program is not None:
            self.program = self.built.program
        if self.program is None:
            self.say("exporting the module (torch.export)", "torch.export")
            self.program = torch.export.export(self.built.module, self.built.examples)
        return self.program

    def compare(self, name: str, run: Callable) -> float:
        """With the module on the same inputs: the greatest difference, by the greatest number."""
        from pytorch_module import Refused, copies, flat

        self.say(f"comparing outputs of the {name} with the module's")
        error = max_rel_error(flat(run(*copies(self.built.examples))),
                              flat(self.built.module(*copies(self.built.examples))))
        if not error <= TOLERANCE:
            raise Refused("mismatch", f"outputs of the {name} differ from the module's by "
                                      f"{error:.2g} of the greatest (limit {TOLERANCE:g})")
        return error

    def refuse_writes(self) -> None:
        """Workers' inputs cannot be written: compiled code that does would end its worker."""
        from pytorch_module import Refused, copies, first_changed

        inputs = copies(self.built.examples)
        self.built.module(*inputs)
        changed = first_changed(self.built.examples, inputs)
        if changed >= 0:
            name = self.built.inputs[changed]["name"]
            raise Refused("unsupported", f"forward() writes to its input '{name}': later runs "
                                         f"would get other values", "let it work on a clone()")

    def make_exported(self, what: str, path: str) -> dict:
        import torch

        program = self.export()
        torch.export.save(program, path)
        loaded = self.built.arrange(torch.export.load(path).module())
        error = self.compare("exported program", loaded)
        note = self.note("", "torch.export", max_rel_error=error)
        add_note(path, note)
        return note

    def make_torchscript(self, what: str, path: str) -> dict:
        import torch
        from pytorch_module import copies

        self.refuse_writes()
        self.say("tracing the module (torch.jit.trace)", "torch.jit.trace")
        traced = torch.jit.trace(self.built.module, copies(self.built.examples),
                                 check_trace=False)
        error = self.compare("traced module", traced)
        note = self.note("torchscript", "torch.jit.trace", max_rel_error=error)
        torch.jit.save(traced, path, _extra_files={"wattle.json": json.dumps(note)})
        return note

    def make_aoti(self, what: str, path: str) -> dict:
        import torch
        import torch._inductor

        self.refuse_writes()
        program = self.export()
        portable = PORTABLE.get(platform.machine(), {}) if what == "aoti-portable" else {}
        packed = packs_weights(program, bool(portable))
        self.say("compiling ahead of time (AOTInductor) for "
                 + ("any CPU with AVX2" if portable else "this CPU") + "; this takes a while",
                 "AOTInductor")
        torch._inductor.aoti_compile_and_package(
            program, package_path=path, inductor_configs=FREEZING | portable |
            {"cpp.weight_prepack": packed, "aot_inductor.precompile_headers": False})
        how = f"AOTInductor (frozen weights{'' if packed else ', linear layers by MKL'})"
        note = self.note("aoti", how if self.built.program is not None else f"torch.export, {how}",
                         isa=isa_of(path))
        runs_here = not portable or torch.backends.cpu.get_cpu_capability() != "DEFAULT"
        if runs_here: # it does not without AVX2
            package = self.built.arrange(torch._inductor.aoti_load_package(path))
            note["max_rel_error"] = self.compare("ahead-of-time package", package)
        add_note(path, note)
        return note

    def make_module(self, what: str, path: str) -> dict:
        """Nothing but what build_module needs to do the same again."""
        kept = ("model", "format", "zoo", "form", "provider", "precision", "batch")
        request = {key: self.request[key] for key in kept if key in self.request}
        note = self.note("", "", request=request | {"inputs": self.built.inputs})
        with open(path, "w", encoding="utf-8") as file:
            json.dump(note, file, indent=1)
        return note


def packs_weights(program: Any, portable: bool) -> bool:
    """Whether convolutions and linear layers go to oneDNN, fused with what follows.

    Convolutions gain by it everywhere. Linear layers would else be MKL's, and without AVX-512 those
    of oneDNN are much slower (BERT-base on a Zen 3: 0.41 s of CPU time instead of 0.29 s).
    """
    import torch

    if platform.machine() != "x86_64" or not torch.backends.mkl.is_available():
        return True
    if not portable and torch.backends.cpu.get_cpu_capability() == "AVX512":
        return True
    targets = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    convolutions = sum("conv" in target for target in targets)
    return convolutions >= sum(target.startswith(LINEAR) for target in targets)


def as_tuple(value: Any) -> tuple:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def max_rel_error(values: tuple, wanted: tuple) -> float:
    """Numbers that are equal, and those that are not numbers in the same places, differ by 0."""
    import torch

    if len(values) != len(wanted):
        return float("inf")
    worst = 0.0
    for value, reference in zip(values, wanted):
        if value.shape != reference.shape or value.dtype != reference.dtype:
            return float("inf")
        a, b = value.double(), reference.double()
        same = (a == b) | (a.isnan() & b.isnan())
        if bool(same.all()):
            continue
        scale = b[b.isfinite()].abs().max().item() if bool(b.isfinite().any()) else 0.0
        error = (a - b)[~same].abs().max().item() / scale if scale > 0 else float("inf")
        worst = max(worst, error) if error == error else float("inf")
    return worst


def add_note(path: str, note: dict) -> None:
    """As the archive's extra/wattle.json, below its root folder."""
    with zipfile.ZipFile(path, "a") as archive:
        root = archive.namelist()[0].split("/")[0]
        archive.writestr(f"{root}/extra/wattle.json", json.dumps(note, indent=1))


def isa_of(path: str) -> str:
    """What the compiler was told, by the package's own words."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith("wrapper_metadata.json"):
                return json.loads(archive.read(name)).get("AOTI_CPU_ISA", "")
    return ""


def depends(paths: list[str]) -> list[dict]:
    entries = []
    for path in paths:
        st = os.stat(path)
        entries.append({"path": os.path.abspath(path), "size": st.st_size,
                        "mtime_ns": st.st_mtime_ns})
    return entries


# --- what went wrong ---------------------------------------------------------------------------


def causes(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def last_words(text: str) -> str:
    """A compiler's first error, else the first line, which is where torch says the reason."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line]
    return (errors or lines or [""])[0]


def explain(error: BaseException, step: str = "") -> dict:
    """Known causes in words of wattle's, others in their own: {"error", "text", "hint"}."""
    from pytorch_module import Refused

    for cause in causes(error):
        if isinstance(cause, Refused):
            return told(cause.code, str(cause), cause.hint)
    text = "\n".join(str(cause) for cause in causes(error))
    if isinstance(error, MemoryError) or any(sign in text for sign in (
            "not enough memory", "can't allocate memory", "CUDA out of memory",
            "virtual memory exhausted", "Cannot allocate memory", "Killed signal")):
        return told("memory", f"not enough memory to prepare the model: {last_words(text)}",
                    "close other programs, or take a smaller batch")
    if "No space left on device" in text or "Disk quota exceeded" in text:
        return told("io", f"no space left: {last_words(text)}", "make room below $WATTLE_HOME")
    if "No working C++ compiler" in text or "InvalidCxxCompiler" in text:
        return told("unsupported", "there is no C++ compiler, which ahead-of-time packages need",
                    "on Debian and Ubuntu: apt-get install g++")
    for cause in causes(error):
        if isinstance(cause, ModuleNotFoundError):
            return told("unsupported", f"this Python has no package '{cause.name}'",
                        "wattle runtimes install pytorch makes one that has all that is needed")
    words = f"{type(error).__name__}: {last_words(str(error)) or last_words(text)}"
    return told("unsupported", f"{step} failed: {words}" if step else words,
                "-r pytorch:eager runs it as it is" if step else "")


def told(code: str, text: str, hint: str) -> dict:
    return {"error": code, "text": text, "hint": hint}


def work(request: dict, shown: Any) -> dict:
    maker = Maker(request, shown)
    try:
        return maker.run()
    except KeyboardInterrupt:
        return told("interrupted", "interrupted", "")
    except ModuleNotFoundError as error:
        if error.name in ("torch", "numpy"):
            return told("unsupported", f"{sys.executable} has no package '{error.name}'",
                        "wattle runtimes install pytorch")
        return explain(error, maker.step)
    except BaseException as error: # whatever it is, it becomes a line
        import traceback

        traceback.print_exc()
        return explain(error, maker.step)


def main() -> int:
    with open(sys.argv[1], encoding="utf-8") as file:
        request = json.load(file)
    set_up(request)
    shown = take_streams()
    result = work(request, shown)
    with open(request["result"], "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)
    return 1 if "error" in result else 0


if __name__ == "__main__":
    sys.exit(main())
