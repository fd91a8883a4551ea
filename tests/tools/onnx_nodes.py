"""Writes ONNX's node tests, made by the installed onnx package, as folders that test_engine_nodes
reads.

usage: onnx_nodes.py FOLDER [OPSET]

A case whose model imports a later opset than OPSET (default 23) is written with that one: most
operators did not change, and one that cannot be so is refused by onnx's checker and left out.
"""
import os
import sys
import warnings

import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases


def fit_opset(model: onnx.ModelProto, opset: int) -> bool:
    for entry in model.opset_import:
        if not entry.domain and entry.version > opset:
            entry.version = opset
            model.ir_version = min(model.ir_version, 11)
    try:
        onnx.checker.check_model(model)
        return True
    except Exception:  # the checker throws several kinds
        return False


def proto(value, name: str) -> bytes:
    tensor = value if isinstance(value, onnx.TensorProto) else numpy_helper.from_array(value, name)
    return tensor.SerializeToString()


def write(case, folder: str) -> None:
    data = os.path.join(folder, case.name, "test_data_set_0")
    os.makedirs(data, exist_ok=True)
    for kind, values in zip(("input", "output"), case.data_sets[0]):
        for i, value in enumerate(values):
            with open(os.path.join(data, f"{kind}_{i}.pb"), "wb") as file:
                file.write(proto(value, f"{kind}_{i}"))
    onnx.save(case.model, os.path.join(folder, case.name, "model.onnx"))


def main() -> int:
    warnings.simplefilter("ignore")
    folder, opset = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 23
    written = 0
    for case in collect_testcases():
        # Only opset 28 gave fmod=0 a meaning for floating-point numbers.
        if case.model is None or "fmod_0" in case.name or not fit_opset(case.model, opset):
            continue
        try:
            write(case, folder)
            written += 1
        except (TypeError, ValueError, AttributeError, NotImplementedError):
            pass  # sequences, maps and optionals: no such files
    print(f"{written} cases")
    return 0


if __name__ == "__main__":
    sys.exit(main())
