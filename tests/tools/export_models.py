"""Exports the networks of export_networks.py to ONNX, with inputs and PyTorch's own outputs beside.

usage: export_models.py FOLDER dynamo|torchscript OPSET[,OPSET...] [NAME...]

Each network becomes FOLDER/NAME.EXPORTER.OPSET.onnx, with NAME.in.npz and NAME.out.npz (or, where
the outputs have no stable names, in the model's order: output_0 and so on). Where an exporter leaves
out inputs that have no effect, FILE.in.npz has the others. One line a network tells how it went: "ok
NAME", or "no NAME: why" when this exporter or opset cannot do it.
"""
import os
import sys
import warnings

import numpy
import onnx
import torch

from export_networks import DYNAMIC, NETWORKS


def make(name: str):
    torch.manual_seed(sum(map(ord, name)))
    torch.backends.mha.set_fastpath_enabled(False)  # one exporter does not know its operators
    module, inputs = NETWORKS[name]()
    for part in module.modules():
        if getattr(part, "running_var", None) is not None:
            torch.nn.init.uniform_(part.running_var, 0.5, 1.5)
            torch.nn.init.normal_(part.running_mean)
    return module.eval(), inputs


def flatten(outputs) -> list:
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    return [t for part in outputs for t in flatten(part)]


def arrays(prefix: str, tensors) -> dict:
    return {f"{prefix}_{i}": t.detach().numpy() for i, t in enumerate(tensors)}


def captured(name: str, module, inputs):
    """What the newer exporter starts from, made once for all opsets."""
    sizes = DYNAMIC.get(name)
    dims = {s: torch.export.Dim(s, min=1, max=64) for shape in sizes or () for s in shape.values()}
    shapes = sizes and tuple({i: dims[s] for i, s in shape.items()} for shape in sizes)
    with torch.no_grad():
        return torch.export.export(module, inputs, dynamic_shapes=shapes, strict=False)


def export(name: str, path: str, exporter: str, opset: int, module, inputs, outputs) -> None:
    options = {"opset_version": opset, "input_names": list(arrays("input", inputs)),
               "output_names": list(arrays("output", outputs)), "dynamo": exporter == "dynamo"}
    if exporter == "dynamo":
        options["verbose"] = False
    elif name in DYNAMIC:
        options["dynamic_axes"] = dict(zip(options["input_names"], DYNAMIC[name]))
    with torch.no_grad():
        torch.onnx.export(module, inputs, path, **options)
    known = [v.name for v in onnx.load(path, load_external_data=False).graph.input]
    given = arrays("input", inputs)
    if len(known) < len(given):
        numpy.savez(f"{path}.in.npz", **{name: given[name] for name in known})


def main() -> int:
    folder, exporter, opsets, *names = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    warnings.simplefilter("ignore")
    failed = 0
    for name in names or NETWORKS:
        module, inputs = make(name)
        with torch.no_grad():
            outputs = flatten(module(*inputs))
        numpy.savez(f"{folder}/{name}.in.npz", **arrays("input", inputs))
        numpy.savez(f"{folder}/{name}.out.npz", **arrays("output", outputs))
        if exporter == "dynamo":
            module = captured(name, module, inputs)
        for opset in opsets.split(","):
            path = f"{folder}/{name}.{exporter}.{opset}.onnx"
            try:
                export(name, path, exporter, int(opset), module, inputs, outputs)
                print(f"ok {name} {opset}", flush=True)
            except Exception as error:  # whatever an exporter throws is its answer
                failed += 1
                print(f"no {name} {opset}: {type(error).__name__}: "
                      + " ".join(str(error).split())[:300], flush=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
