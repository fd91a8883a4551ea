"""Tests tools/python/pytorch_worker.py with small modules; run by a Python that has torch."""
import os
import shutil
import struct
import sys
import tempfile
import timeit
import unittest

import helper_test

sys.path.insert(0, helper_test.HELPER)
START = f"""
import sys
sys.path.insert(0, {helper_test.HELPER!r})
import pytorch_worker
pytorch_worker.main()
"""
LOGGED = START.replace("pytorch_worker.main()",
                       "import torch._logging\ntorch._logging.set_logs(recompiles=True)\n"
                       "pytorch_worker.main()")
MODEL = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.table = torch.nn.Embedding(5, 2)

    def forward(self, image, word):
        return {"features": self.conv(image).relu().mean((2, 3)), "more": (self.table(word), None)}

class InPlace(torch.nn.Module):
    def forward(self, x):
        return x.add_(1)

def make_model():
    return Net()

def in_place():
    return InPlace()

def broken():
    raise ValueError("no weights")

def example_inputs(batch):
    return {"image": torch.zeros(batch, 3, 8, 8), "word": torch.zeros(batch, dtype=torch.int64)}
"""


class PytorchTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        cls.file = os.path.join(cls.folder, "net.py")
        with open(cls.file, "w", encoding="ascii") as file:
            file.write(MODEL)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def start(self, script=START):
        w = helper_test.Worker(script)
        self.addCleanup(w.close)
        self.assertTrue(w.ask("hello", protocol=1)["ok"])
        return w

    def load(self, w, function="make_model", **more):
        return w.ask("load", **{"runtime": "pytorch", "variant": "eager", "provider": "cpu",
                                "model": f"{self.file}:{function}", "batch": 2, "threads": 1,
                                "options": {}, **more})

    def results(self, w):
        image = struct.pack("<384f", *[(i % 7) / 7 for i in range(384)])
        self.assertEqual(w.give(image, struct.pack("<2q", 4, 1), sets=2), {"ok": True})
        self.assertTrue(w.ask("first")["ok"])
        return w.outputs()

    def refused(self, reply, code, text):
        self.assertEqual((reply["ok"], reply.get("code")), (False, code), reply)
        self.assertIn(text, reply["error"] + reply.get("hint", ""))

    def test_eager(self):
        import torch

        w = self.start()
        for code, text, more in (
                ("usage", "not 'aoti'", {"variant": "aoti"}),
                ("usage", "no provider 'rocm'", {"provider": "rocm"}),
                ("usage", "no precision 'f16'", {"precision": "f16"}),
                ("unsupported", "one device", {"devices": ["0", "1"]}),
                ("unsupported", "this Python's PyTorch", {"library": "/bin/sh"}),
                ("usage", "kept or zero, not 'flushed'", {"options": {"denormals": "flushed"}}),
                ("usage", "unknown option 'mode'", {"options": {"mode": "default"}}),
                ("format", "no model for PyTorch", {"model": "/bin/sh"}),
                ("unsupported", "net.py:", {"function": "broken"}),
                ("usage", "no function 'nothing'", {"function": "nothing"})):
            self.refused(self.load(w, **more), code, text)
        reply = self.load(w, options={"memory_format": "channels_last"})
        self.assertTrue(reply["ok"], reply)
        self.assertEqual([(t["name"], t["type"], t["shape"]) for t in reply["inputs"]],
                         [("image", "float32", [2, 3, 8, 8]), ("word", "int64", [2])])
        self.assertEqual(reply["version"], torch.__version__)
        wanted = {"threads": 1, "inter_op_threads": 1, "gradients": False, "inference_mode": True,
                  "denormals": "kept", "memory_format": "channels_last", "variant": "eager",
                  "gc": "frozen in the window"}
        self.assertEqual({key: reply["settings"][key] for key in wanted}, wanted)
        outputs = self.results(w)
        self.assertEqual([o[:3] for o in outputs],
                         [("features", "float32", [2, 4]), ("more.0", "float32", [2, 2])])
        self.check_values(outputs)
        self.assertTrue(w.ask("window", min_runs=5, max_ns=10**11)["ok"])
        self.assertEqual(w.ask("go")["runs"], 5)

    def check_values(self, outputs):
        """Against the module itself, made and run here."""
        import torch

        torch.manual_seed(0)
        names = {}
        exec(MODEL, names)
        image = torch.tensor([(i % 7) / 7 for i in range(384)]).view(2, 3, 8, 8)
        with torch.no_grad():
            values = names["make_model"]()(image, torch.tensor([4, 1]))
        for output, value in zip(outputs, (values["features"], values["more"][0])):
            got = torch.frombuffer(bytearray(output[3]), dtype=torch.float32).view(value.shape)
            self.assertLess((got - value).abs().max().item(), 1e-5)

    def test_denormals_and_inputs_in_place(self):
        w = self.start()
        self.refused(self.load(w, "in_place"), "unsupported", "unexpected keyword")
        with open(self.file, encoding="ascii") as file:
            text = file.read().split("def example_inputs")[0]
        text += "def example_inputs(batch):\n    return torch.zeros(batch, 2)\n"
        path = os.path.join(self.folder, "other.py")
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        reply = self.load(w, model=f"{path}:in_place", options={"denormals": "zero"})
        self.assertTrue(reply["ok"], reply)
        self.assertEqual(reply["settings"]["denormals"], "zero")
        w.give(struct.pack("<4f", 1, 2, 3, 4))
        self.refused(w.ask("first"), "mismatch", "writes to its inputs")

    @unittest.skipUnless(shutil.which("g++"), "no g++")
    def test_compile(self):
        w = self.start(LOGGED)
        reply = self.load(w, variant="compile", options={"mode": "default", "freezing": "on"})
        self.assertTrue(reply["ok"], reply)
        settings = reply["settings"]
        self.assertEqual((settings["compile_mode"], settings["freezing"]), ("default", "on"))
        self.assertGreaterEqual(settings["graphs"], 1)
        self.assertGreater(settings["compile_s"], 0)
        self.assertIn(settings["compile_cache"], ("hit", "miss"))
        self.check_values(self.results(w))
        self.assertTrue(w.ask("window", min_runs=5, max_ns=10**11)["ok"])
        self.assertEqual(w.ask("go")["runs"], 5)
        self.assertNotIn("Recompiling", w.words()) # all of it was done by load
        self.refused(w.ask("load"), "usage", "already")
        with open(self.file, encoding="ascii") as file:
            text = file.read().replace("def forward(self, image", "@torch.compiler.disable\n"
                                       "    def forward(self, image")
        path = os.path.join(self.folder, "opaque.py")
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        self.refused(self.load(self.start(), variant="compile", model=f"{path}:make_model"),
                     "unsupported", "nothing in this model")

    def test_what_the_worker_adds_to_a_call(self):
        """It is a part of every latency, beside the two readings of the clock."""
        import pytorch_module
        import pytorch_worker
        import torch

        tensor, cpu = torch.zeros(1), torch.device("cpu")
        module = torch.nn.Identity().eval()
        built = pytorch_module.Built(module, (tensor,), [], [], "", "", [])
        model = pytorch_worker.Model()
        model.replicas = [pytorch_worker.Replica(built, cpu, 1)]

        def fastest_s(call):
            return min(timeit.repeat(call, number=500, repeat=20)) / 500

        parts = [[tensor]]
        added_s = fastest_s(lambda: model.infer_one(parts)) - fastest_s(lambda: module(tensor))
        print(f"{added_s * 1e6:.2f} us are added to a call", file=sys.stderr)
        self.assertLess(added_s, 5e-6)

    def test_devices_share_a_batch(self):
        """Two CPUs in place of GPUs: what is split, and joined again."""
        import numpy
        import pytorch_worker
        import torch

        inputs = [{"name": "image", "type": "float32", "shape": [3, 3, 8, 8]},
                  {"name": "word", "type": "int64", "shape": [3]}]
        spec = {"model": f"{self.file}:make_model", "format": "python", "batch": 3,
                "provider": "cpu", "inputs": inputs}
        model, cpu = pytorch_worker.Model(), torch.device("cpu")
        model.options = pytorch_worker.Options({"variant": "eager", "options": {}})
        parts = [pytorch_worker.part_of(spec, 3, i, 2) for i in range(2)]
        self.assertEqual([part["batch"] for part in parts], [2, 1])
        model.replicas = [pytorch_worker.build_replica(part, cpu) for part in parts]
        model.whole = inputs
        model.lay_out()
        self.assertEqual([o["shape"] for o in model.outputs()], [[3, 4], [3, 2]])
        arrays = [numpy.random.default_rng(1).random((3, 3, 8, 8), "float32"), numpy.arange(3)]
        with torch.inference_mode():
            got = model.collect(model.infer(model.bind(model.prepare(arrays))))
            whole = pytorch_worker.build_replica(spec, cpu)
            value = whole.run(torch.from_numpy(arrays[0]), torch.from_numpy(arrays[1]))
        for array, wanted in zip(got, value):
            self.assertLess(abs(array - wanted.numpy()).max(), 1e-6)
        for batch, count, text in ((1, 2, "shared by 2"), (5, 2, "no input has a batch")):
            with self.assertRaisesRegex(Exception, text):
                pytorch_worker.part_of(spec, batch, 0, count)


if __name__ == "__main__":
    unittest.main()
