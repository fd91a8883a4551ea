"""prepare_test.py FOLDER: what tools/python/prepare.py makes of users' files, what it refuses."""
import contextlib
import io
import json
import os
import subprocess
import sys
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOOLS = os.path.join(HERE, "../../tools")
sys.path.insert(0, os.path.join(TOOLS, "python"))

import prepare
import torch
from pytorch_module import build_module, load_sibling

FOLDER = sys.argv[1]

SOURCE = '''
import torch
from torch import nn
from beside import SCALE

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 4)
    def forward(self, ids, mask=None, *, shift=None, **others):
        y = self.linear(ids) * SCALE
        y = y if shift is None else y + shift
        return {"logits": y, "hidden": [y + 1, None], "best": y.argmax(-1)}

class Moody(nn.Module):
    def forward(self, x):
        return x + 1 if int(x.sum().item()) > 3 else x.nonzero()

class Writes(nn.Module):
    def forward(self, x):
        return x.add_(1) * 2

class Random(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)

class Broken(nn.Module):
    def forward(self, x):
        return x @ x @ x

def make(): return Net()
def moody(): return Moody()
def random(): return Random()
def writes(): return Writes()
def broken(): return Broken()
def number(): return 3
def fails(): raise ValueError("no weights")
def ends(): raise SystemExit("bye")
'''
BY_NAME = """
def example_inputs(batch): return {'shift': torch.ones(batch, 1), 'ids': torch.randn(batch, 8)}"""
FIXED = "def example_inputs(): return (torch.ones(2, 8),)"


def write(name, text):
    path = os.path.join(FOLDER, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def request(model, kind="python", **more):
    return {"model": model, "format": kind, "zoo": "", "form": "", "provider": "cpu",
            "precision": "f32", "batch": 1, "inputs": []} | more


def make(what, model, kind="python", **more):
    """The result of the script's own work, in this process."""
    path = os.path.join(FOLDER, f"made.{what}.pt2")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    result = prepare.work(request(model, kind, **more) | {"make": [{"what": what, "path": path}]},
                          io.StringIO())
    return result | {"path": path}


def check(condition, what):
    if not condition:
        sys.exit(f"FAIL: {what}")


def refused(result, code, text):
    check(result.get("error") == code and text in result["text"],
          f"{result.get('error')}: {result.get('text')} is not {code}: {text}")


def test_users_module(path):
    note = make("module", f"{path}:make", batch=3)["made"][0]
    check([e["name"] for e in note["inputs"]] == ["ids", "shift"], note["inputs"])
    check(note["inputs"][0]["shape"] == [3, 8], note["inputs"])
    check([(e["name"], e["type"]) for e in note["outputs"]] == [
        ("logits", "float32"), ("hidden.0", "float32"), ("best", "int64")], note["outputs"])
    module, examples, how = build_module(note["request"])
    again, more, _ = build_module(note["request"])
    check(torch.equal(module(*examples)[0], again(*more)[0]), "weights differ from time to time")
    check(how == "net.py:make", how)


def test_depends(path):
    result = make("module", f"{path}:make")
    names = [os.path.basename(entry["path"]) for entry in result["depends"]]
    check(names == ["beside.py", "net.py"], names)


def test_containers(path):
    for what, variant in (("torchscript", "torchscript"), ("exported", "")):
        result = make(what, f"{path}:make", batch=3)
        check("error" not in result, result)
        with zipfile.ZipFile(result["path"]) as archive:
            check(archive.testzip() is None, "a damaged archive")
            root = archive.namelist()[0].split("/")[0]
            note = json.loads(archive.read(f"{root}/extra/wattle.json"))
        check(note["variant"] == variant and note["max_rel_error"] < 1e-6, note)
        check(note["inputs"][1] == {"name": "shift", "type": "float32", "shape": [3, 1]}, note)
    made = make("torchscript", f"{path}:make")["path"]
    check(torch.jit.load(made) is not None, "cannot be loaded")


def of_version(path, version):
    """Has the archive tell another version of its format."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, version if name.endswith("/version") else data)


def test_exported_program(path):
    batch = torch.export.Dim("batch")

    class Nested(torch.nn.Module):
        def forward(self, pair, *, more):
            return {"sum": pair["a"] + pair["b"][0] + more}

    shapes = {"pair": {"a": {0: batch}, "b": [{0: batch}]}, "more": {0: batch}}
    program = torch.export.export(
        Nested(), ({"a": torch.randn(3, 8), "b": [torch.randn(3, 8)]},),
        {"more": torch.randn(3, 8)}, dynamic_shapes=shapes)
    file = os.path.join(FOLDER, "nested.pt2")
    torch.export.save(program, file)
    for what, batch, size in (("module", 5, 5), ("torchscript", 5, 5), ("module", 0, 1)):
        note = make(what, file, "exported", batch=batch)["made"][0] # 0: not asked for
        check([e["shape"] for e in note["inputs"]] == [[size, 8]] * 3, note["inputs"])
        check([e["name"] for e in note["outputs"]] == ["sum"], note["outputs"])
    fixed = make("exported", f"{path}:make", batch=3)["path"]
    os.replace(fixed, file)
    refused(make("module", file, "exported"), "usage", "has batch 3, not 1")
    note = make("module", file, "exported", batch=3)["made"][0]
    check([e["name"] for e in note["inputs"]] == ["ids", "shift"], note["inputs"])
    check([e["name"] for e in note["outputs"]] == ["logits", "hidden.0", "best"], note["outputs"])
    refused(make("module", path, "exported"), "format", "as an exported program")
    of_version(file, b"99")
    result = make("module", file, "exported", batch=3)
    refused(result, "format", "RuntimeError: Attempted to read a PyTorch file with version 99")
    check("another PyTorch" in result["hint"], result)


def test_refusals(path):
    for name, code, text in (
            ("number", "usage", "returns a int, not a torch.nn.Module"),
            ("fails", "unsupported", f"net.py:{line(path, 'def fails')}: ValueError: no weights"),
            ("ends", "unsupported", "SystemExit: bye"),
            ("none", "usage", "has no function 'none'"),
            ("", "usage", "does not name a function")):
        refused(make("module", f"{path}:{name}"), code, text)
    refused(make("module", "/nowhere/x.py:make"), "io", "there is no file")
    refused(make("module", f"{write('wrong.py', 'def make(:')}:make"), "unsupported", "SyntaxError")
    refused(make("module", f"{path}:make", inputs=[{"name": "x"}]), "usage", "no input 'x'")
    refused(make("module", f"{path}:make", provider="cuda"), "unsupported", "CUDA") \
        if not torch.cuda.is_available() else None
    refused(make("module", f"{path}:make", precision="bf16"), "unsupported", "bf16")
    refused(make("module", path, "onnx"), "format", "cannot read")
    refused(make("module", path, "torchscript"), "unsupported", "torchscript")


def test_fixed_inputs():
    path = write("fixed.py", SOURCE + FIXED)
    refused(make("module", f"{path}:random"), "usage", "gives batch 2, not 1")
    refused(make("torchscript", f"{path}:random", batch=2), "mismatch", "differ from the module's")
    for what in ("torchscript", "aoti"):
        refused(make(what, f"{path}:writes", batch=2), "unsupported", "writes to its input 'x'")
    check("error" not in make("exported", f"{path}:writes", batch=2), "writes")
    result = make("exported", f"{path}:moody", batch=2)
    refused(result, "unsupported", "torch.export failed: ")
    check("eager" in result["hint"], result)
    refused(make("module", f"{path}:broken", batch=2), "unsupported",
            f"fixed.py:{line(path, 'x @ x')}: RuntimeError")
    plain = write("plain.py", "from torch import nn\ndef make(): return nn.Linear(8, 4)\n")
    refused(make("module", f"{plain}:make"), "usage", "no function example_inputs")
    given = [{"name": "x", "type": "float32", "shape": [2, 8]}]
    check(make("module", f"{plain}:make", inputs=given)["made"][0]["outputs"][0]["shape"] == [2, 4],
          "inputs that are given")


def test_wrong_examples():
    for body, code, text in (
            ("example_inputs = 3", "unsupported", "not a callable"),
            ("def example_inputs(): return None", "usage", "returns a NoneType, not a tuple"),
            ("def example_inputs(): return 'x'", "usage", "returns a str, not a tuple"),
            ("def example_inputs(): return (2,)", "usage", "'x' is a int, not a tensor"),
            ("def example_inputs(): return [[torch.ones(1)]]", "usage", "'x' is a list, not a"),
            ("def example_inputs(): return ()", "unsupported", "missing 1 required"),
            ("def example_inputs(): return {'z': torch.ones(1)}", "unsupported", "argument 'z'"),
            ("def example_inputs(a, b): return torch.ones(1)", "unsupported", "missing 1 required"),
            ("def example_inputs(): return torch.ones(1, dtype=torch.complex64)", "unsupported",
             "complex64, which is not measured"),
            ("def example_inputs(): return torch.quantize_per_tensor(torch.ones(1), 1., 0, "
             "torch.quint8)", "unsupported", "quint8, which is not measured"),
            ("def example_inputs(): raise ValueError('no data')", "unsupported",
             "examples.py:5: ValueError: no data")):
        path = write("examples.py", "import torch\nclass Net(torch.nn.Module):\n"
                                    "    def forward(self, x): return x + 1\n"
                                    f"def make(): return Net()\n{body}\n")
        refused(make("module", f"{path}:make"), code, text)


def line(path, text):
    with open(path, encoding="utf-8") as file:
        return 1 + next(i for i, words in enumerate(file) if text in words)


def test_ranges_of_examples():
    """Integers are made up within what the examples have, else an embedding could not be run."""
    source = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(9, 4)
    def forward(self, ids, mask, x):
        return self.table(ids).sum(1) * mask + x

def make(): return Net()
def example_inputs():
    return torch.tensor([[2, 8, 5]]), torch.tensor([True]), torch.ones(1, 4)
"""
    path = write("lookup.py", source)
    expected = [[2, 8], [1, 1], None]
    note = make("module", f"{path}:make")["made"][0]
    check([e.get("range") for e in note["inputs"]] == expected, note["inputs"])
    note = make("module", f"{path}:make", inputs=[{"name": "ids", "range": [0, 3]}])["made"][0]
    check(note["inputs"][0]["range"] == [0, 3], note["inputs"])
    program = torch.export.export(build_module(request(f"{path}:make"))[0], (
        torch.tensor([[2, 8, 5]]), torch.tensor([True]), torch.ones(1, 4)))
    file = os.path.join(FOLDER, "lookup.pt2")
    torch.export.save(program, file)
    note = make("module", file, "exported")["made"][0]
    check([e.get("range") for e in note["inputs"]] == expected, note["inputs"])


def test_weights_of_the_zoo():
    zoo = load_sibling("zoo", "pytorch")
    weights = {"a.weight": torch.zeros(2, 3), "b": torch.zeros(1)}
    zoo.check(weights, dict(weights), "f")
    for wanted, given, text in (
            (weights, {"b": torch.zeros(1)}, "lacks weight 'a.weight' (1 are"),
            ({"b": torch.zeros(1)}, weights, "no use for weight 'a.weight'"),
            (weights, weights | {"a.weight": torch.zeros(3, 2)}, "is [3, 2], not [2, 3]")):
        try:
            zoo.check(wanted, given, "f")
        except zoo.ZooError as error:
            check(text in str(error), error)
        else:
            check(False, f"taken, though {text}")
    for name in zoo.MODELS:
        with torch.device("meta"):
            module = zoo.MODELS[name]()
        count = sum(p.numel() for p in module.parameters())
        check(count == {"resnet50": 25557032, "mobilenet_v2": 3504872,
                        "bert_base": 109482240}[name],
              f"{name} has {count} parameters")


def test_differences():
    one, nan = torch.ones(2), torch.tensor([1.0, float("nan")])
    inf = float("inf")
    for a, b, wanted in (((one,), (one,), 0), ((nan,), (nan,), 0), ((one,), (nan,), inf),
                         ((one, one), (one,), inf), ((one * 1.5,), (one,), 0.5),
                         ((one,), (one * 0,), inf), ((one[:1],), (one,), inf),
                         ((one.int(),), (one,), inf), ((one * inf,), (one,), inf)):
        check(prepare.max_rel_error(a, b) == wanted, f"{a} {b}: {prepare.max_rel_error(a, b)}")


def test_known_causes():
    def explained(error):
        result = prepare.explain(error)
        return result["error"], result["text"] + result["hint"]

    for error, code, text in (
            (MemoryError(), "memory", "not enough memory"),
            (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
             "memory", "can't allocate"),
            (OSError(28, "No space left on device"), "io", "$WATTLE_HOME"),
            (RuntimeError("InvalidCxxCompiler: No working C++ compiler found"), "unsupported",
             "apt-get install g++"),
            (ModuleNotFoundError("No module named 'onnx'", name="onnx"), "unsupported",
             "no package 'onnx'"),
            (RuntimeError("line one\nx.cpp:3: error: bad thing\nmore"), "unsupported",
             "bad thing")):
        got, words = explained(error)
        check(got == code and text in words, f"{error!r}: {got}: {words}")


def test_as_a_program(path):
    """What it prints itself is all that is seen; what others print is kept nowhere."""
    scratch = os.path.join(FOLDER, "scratch")
    out = os.path.join(FOLDER, "out.json")
    os.makedirs(scratch)
    noisy = write("noisy.py", "print('noise')\n" + SOURCE + BY_NAME)
    asked = request(f"{noisy}:make") | {
        "make": [{"what": "module", "path": out}], "scratch": scratch, "site": "",
        "result": os.path.join(FOLDER, "result.json")}
    done = subprocess.run([sys.executable, "-I", "-B", os.path.join(TOOLS, "python/prepare.py"),
                           write("request.json", json.dumps(asked))],
                          capture_output=True, text=True, check=False)
    check(done.returncode == 0 and done.stderr == "", done)
    check("noise" not in done.stdout and done.stdout.startswith("reading noisy.py"), done.stdout)
    kept = sorted(os.listdir(scratch))
    check(kept == ["inductor", "tmp"], kept)


def main():
    write("beside.py", "SCALE = 2\n")
    path = write("net.py", SOURCE + BY_NAME)
    test_users_module(path)
    test_depends(path)
    test_containers(path)
    test_exported_program(path)
    test_refusals(path)
    test_fixed_inputs()
    test_wrong_examples()
    test_ranges_of_examples()
    test_weights_of_the_zoo()
    test_differences()
    test_known_causes()
    test_as_a_program(path)


main()
