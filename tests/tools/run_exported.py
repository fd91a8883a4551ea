"""Runs what export_models.py wrote with a runtime's own Python package, and compares the outputs.

usage: run_exported.py FOLDER onnxruntime|openvino

A line for each file that does not run or gives other outputs than PyTorch, and at the end how many
do of each exporter and opset. It is for the table in docs/onnx.md: hundreds of files in minutes,
where `wattle run` for each takes an hour. Each file has a process of its own all the same: some may
crash.
"""
import collections
import glob
import os
import re
import signal
import sys

import numpy

TOLERANCE = 1e-4
LIMIT_S = 60
LEAST = {"float16": 2.0 ** -9} # what the type can tell apart


def run_onnxruntime(path: str, arrays: dict) -> list:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    values = list(arrays.values())
    return session.run(None, {x.name: arrays.get(x.name, values[min(i, len(values) - 1)])
                              for i, x in enumerate(session.get_inputs())})


def run_openvino(path: str, arrays: dict) -> list:
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    names = [(x.get_any_name(), x) for x in model.inputs]
    values = list(arrays.values())
    given = {name: arrays.get(name, values[min(i, len(values) - 1)])
             for i, (name, _) in enumerate(names)}
    if any(x.get_partial_shape().is_dynamic for _, x in names):
        model.reshape({name: openvino.PartialShape(list(value.shape))
                       for name, value in given.items()})
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32",
                                                 "INFERENCE_NUM_THREADS": 1})
    result = compiled(given)
    return [result[x] for x in compiled.outputs]


def difference(got: list, wanted: list) -> str:
    """"" where they agree as wattle has it: relative to an output's largest value."""
    if len(got) != len(wanted):
        return f"{len(got)} outputs, not {len(wanted)}"
    for i, (x, y) in enumerate(zip(got, wanted)):
        x = numpy.asarray(x)
        if x.shape != y.shape or x.dtype != y.dtype:
            return f"output {i} is {x.dtype} {x.shape}, not {y.dtype} {y.shape}"
        if y.dtype.kind != "f":
            if not numpy.array_equal(x, y):
                return f"output {i}: other {y.dtype} numbers"
            continue
        limit = max(TOLERANCE, LEAST.get(y.dtype.name, 0))
        x, y = x.astype(float), y.astype(float)
        finite = numpy.isfinite(y)
        scale = numpy.abs(y[finite]).max() if finite.any() else 0
        same = (x == y) | (numpy.isnan(x) & numpy.isnan(y))
        with numpy.errstate(invalid="ignore"):
            error = numpy.where(same, 0, numpy.abs(x - y)).max(initial=0) / (scale or 1)
        if not error <= limit:
            return f"output {i}: error {error:.2g}"
    return ""


def judge(run, path: str) -> str:
    name = f"{os.path.dirname(path)}/{os.path.basename(path).split('.')[0]}"
    with numpy.load(f"{name}.in.npz") as inputs, numpy.load(f"{name}.out.npz") as outputs:
        try:
            got = run(path, dict(inputs))
        except Exception as error: # whatever the runtime throws is its answer
            return "refused: " + " ".join(str(error).split())[:300]
        return difference(got, list(outputs.values()))


def apart(run, path: str) -> str:
    """The verdict from a process of its own; "" where all is well."""
    there, here = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(LIMIT_S)
        os.write(here, judge(run, path).encode() or b"ok")
        os._exit(0)
    os.close(here)
    with os.fdopen(there, "rb") as file:
        text = file.read().decode()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return f"ended by signal {os.WTERMSIG(status)}"
    return "" if text == "ok" else text or "no answer"


def main() -> int:
    folder, name = sys.argv[1:]
    run = {"onnxruntime": run_onnxruntime, "openvino": run_openvino}[name]
    module = __import__(name)
    good, all_of = collections.Counter(), collections.Counter()
    for path in sorted(glob.glob(f"{folder}/*.onnx")):
        which = re.search(r"\.(\w+)\.(\d+)\.onnx$", path).groups()
        why = apart(run, path)
        all_of[which] += 1
        good[which] += not why
        if why:
            print(f"{os.path.basename(path)}: {why}", flush=True)
    for which in sorted(all_of):
        print(f"{' '.join(which)}: {name} {module.__version__} runs {good[which]} of "
              f"{all_of[which]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
