"""Tests tools/python/wattle_worker.py as wattle meets it: a process with four descriptors."""
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
HELPER = os.path.join(HERE, "..", "..", "tools", "python")
CAPACITY = 8

try:
    import numpy
except ImportError:
    numpy = None


class Worker:
    """A script that uses the helper, and wattle's side of the protocol."""

    def __init__(self, body, capacity=CAPACITY):
        self.ring = os.memfd_create("ring")
        self.tensors = os.memfd_create("tensors")
        header = struct.pack("<QIIQQ", 0x676E697265747477, 1, 0, capacity, 0)
        os.write(self.ring, header + bytes(8 * capacity))
        command_end, self.commands = os.pipe()
        self.replies, reply_end = os.pipe()
        places = ((command_end, 3), (reply_end, 4), (self.ring, 5), (self.tensors, 6))

        def place():
            copies = [os.dup2(fd, 200 + to) for fd, to in places]
            for copy, (_, to) in zip(copies, places):
                os.dup2(copy, to)

        self.log = tempfile.TemporaryFile()
        names = {"WATTLE_FD_COMMANDS": "3", "WATTLE_FD_REPLIES": "4", "WATTLE_FD_RING": "5",
                 "WATTLE_FD_TENSORS": "6", "PYTHONPATH": HELPER, "PYTHONDONTWRITEBYTECODE": "1",
                 "PATH": os.environ["PATH"]}
        script = tempfile.NamedTemporaryFile("w", suffix=".py")
        script.write("import wattle_worker\n" + body)
        script.flush()
        self.script = script
        self.process = subprocess.Popen([sys.executable, script.name], stdout=self.log,
                                        stderr=self.log, preexec_fn=place, close_fds=False,
                                        env=names)
        os.close(command_end)
        os.close(reply_end)
        self.text = b""

    def send(self, command):
        line = command if isinstance(command, bytes) else json.dumps(command).encode()
        os.write(self.commands, line + b"\n")

    def receive(self):
        while b"\n" not in self.text:
            chunk = os.read(self.replies, 65536)
            if not chunk:
                raise EOFError(self.words())
            self.text += chunk
        line, self.text = self.text.split(b"\n", 1)
        return json.loads(line)

    def ask(self, op, **members):
        self.send({"op": op, **members})
        return self.receive()

    def words(self):
        self.log.seek(0)
        return self.log.read().decode()

    def latencies(self):
        data = os.pread(self.ring, 8 * (4 + CAPACITY), 0)
        words = struct.unpack(f"<{4 + CAPACITY}Q", data)
        return words[3], words[4:]

    def give(self, *tensors, sets=1):
        """Each an input's bytes, the same in all sets; a set begins at a multiple of 64."""
        places, data = [], b""
        for bytes_ in tensors:
            data += bytes(-len(data) % 64)
            places.append({"offset": len(data), "bytes": len(bytes_)})
            data += bytes_
        data += bytes(-len(data) % 64)
        os.pwrite(self.tensors, data * sets, 0)
        self.end = len(data) * sets
        return self.ask("inputs", sets=sets, set_bytes=len(data), tensors=places)

    def outputs(self, limit=1 << 20, set_=0):
        reply = self.ask("outputs", set=set_, offset=self.end, limit=limit)
        if not reply["ok"]:
            return reply
        return [(o["name"], o["type"], o["shape"],
                 os.pread(self.tensors, o["bytes"], o["offset"])) for o in reply["outputs"]]

    def close(self):
        if self.commands >= 0:
            os.close(self.commands)
            self.commands = -1
        status = self.process.wait(20)
        for fd in (self.replies, self.ring, self.tensors):
            os.close(fd)
        self.log.close()
        self.script.close()
        return status


PLAIN = """
def load(request):
    print("to the log")
    return {"inputs": [("x", "float32", [2, 2])], "outputs": [("y", "float32", [2, 2])],
            "settings": {"mode": request["options"].pop("mode", "none")}}

def infer(inputs):
    return [2 * value for value in inputs[0]]

wattle_worker.run(load, infer, name="plain 1")
"""
FOUR = struct.pack("<4f", 1, 2, 3, 4)


class HelperTest(unittest.TestCase):
    def start(self, body, **load):
        w = Worker(body)
        self.addCleanup(self.finish, w)
        self.assertTrue(w.ask("hello", protocol=1)["ok"])
        w.loaded = w.ask("load", runtime="worker", batch=2, threads=1, **load)
        return w

    def finish(self, w):
        if w.process.poll() is None:
            self.assertEqual(w.ask("quit"), {"ok": True})
            self.assertEqual(w.process.wait(20), 0, w.words())
        w.close()

    def refused(self, reply, code, *texts):
        self.assertIs(reply["ok"], False)
        self.assertEqual(reply["code"], code, reply)
        for text in texts:
            self.assertIn(text, reply["error"] + reply.get("hint", ""))

    def test_block(self):
        w = self.start(PLAIN, options={"mode": "fast"})
        self.assertEqual(w.loaded["settings"]["mode"], "fast")
        self.assertEqual(w.loaded["settings"]["gc"], "frozen in the window")
        self.assertIn("python", w.loaded["settings"])
        self.assertEqual(w.loaded["inputs"], [{"name": "x", "type": "float32", "shape": [2, 2]}])
        self.assertEqual(w.give(FOUR, sets=2), {"ok": True})
        self.assertGreater(w.ask("first")["first_ns"], 0)
        doubled = struct.pack("<4f", 2, 4, 6, 8)
        self.assertEqual(w.outputs(set_=1), [("y", "float32", [2, 2], doubled)])
        self.refused(w.outputs(limit=15), "memory", "16 bytes", "limit")
        reply = w.ask("warmup", min_runs=11, max_ns=10**10)
        self.assertEqual((reply["runs"], w.latencies()[0]), (11, 11))
        self.assertGreaterEqual(reply["wall_ns"], sum(w.latencies()[1]))
        self.assertEqual(w.ask("window", min_runs=3, max_ns=10**10, gap_ns=10**7)["state"], "ready")
        reply = w.ask("go")
        self.assertEqual((reply["state"], reply["runs"], w.latencies()[0]), ("done", 3, 3))
        self.assertGreaterEqual(reply["end_ns"] - reply["begin_ns"], 2 * 10**7)
        self.assertLess(abs(reply["end_ns"] - time.monotonic_ns()), 10**9)
        self.assertGreater(reply["rss_peak_bytes"], 1 << 20)
        for name in ("user_ns", "system_ns", "minor_faults", "voluntary_switches"):
            self.assertGreaterEqual(reply[name], 0)
        self.refused(w.ask("go"), "usage", "before \"window\"")
        self.assertIn("to the log", w.words())

    def test_refusals(self):
        w = self.start(PLAIN, options={"speed": "1"})
        self.refused(w.loaded, "usage", "unknown option 'speed'", "pop")
        self.refused(w.ask("hello", protocol=2), "unsupported", "protocol 2")
        self.refused(w.ask("inputs", sets=1, set_bytes=0, tensors=[]), "usage", "before \"load\"")
        self.refused(w.ask("dance"), "unsupported", "dance")
        for line in (b"", b"[]", b"{", b"\xff", b"[" * 100000, b"1" * (1 << 20)):
            w.send(line)
            self.refused(w.receive(), "format")
        self.assertTrue(w.ask("load", options={})["ok"])
        self.refused(w.ask("load"), "usage", "already")
        self.refused(w.ask("first"), "usage", "before \"inputs\"")
        self.refused(w.give(FOUR[:8]), "usage", "'x'", "16")
        self.refused(w.ask("inputs", sets=0, set_bytes=64, tensors=[]), "usage", "sets")
        self.refused(w.ask("inputs", sets=1, set_bytes=64, tensors=[{"offset": 60, "bytes": 16}]),
                     "usage", "'x'")
        self.refused(w.ask("inputs", sets=9, set_bytes=1 << 20,
                           tensors=[{"offset": 0, "bytes": 16}]), "usage", "memory of")
        self.refused(w.ask("warmup", max_ns=1), "usage", "before \"inputs\"")
        w.give(FOUR)
        self.refused(w.ask("warmup"), "usage", "max_ns")
        self.refused(w.ask("window", max_ns=True), "usage", "max_ns")
        self.refused(w.ask("outputs", set=1, offset=64, limit=0), "usage", "set")

    def test_exceptions_are_answers(self):
        w = self.start("""
def load():
    return {}
def infer(inputs):
    raise ValueError("no\\nluck")
wattle_worker.run(load, infer)
""")
        w.give()
        self.refused(w.ask("first"), "crash", "'first' raised ValueError: no luck (", ".py:6)")
        self.assertIn("Traceback", w.words())
        self.refused(w.ask("go"), "usage")
        self.refused(w.ask("load"), "usage")
        for body, code, text in (
                ("raise wattle_worker.Refused('too small', 'memory', 'buy more')", "memory", "buy"),
                ("open('/none')", "io", "No such file"), ("import none", "unsupported", "none"),
                ("raise MemoryError", "memory", "MemoryError"), ("return 5", "unsupported", "dict"),
                ("return {'inputs': [('x', 'f32', [1])]}", "unsupported", "types are"),
                ("return {'inputs': [('x', 'bool', [-1])]}", "unsupported", "sizes must be known"),
                ("return {'inputs': [('x', 'bool', 1)]}", "unsupported", "whole numbers"),
                ("return {'inputs': ['x']}", "unsupported", "give (name"),
                ("return {'settings': {'a': float('nan')}}", "crash", "JSON"),
                ("return {'settings': {'a': '\\udc80'}}", "crash", "surrogates"),
                ("return {'settings': {'a': '\\0'}}", "format", "zero character"),
                ("raise ValueError('a\\0\\udc80')", "crash", "ValueError: a ?"),
                ("raise SystemExit(3)", "crash", "SystemExit: 3"),
                ("return {'settings': {'a': 'b' * (1 << 20)}}", "memory", "bytes long")):
            w = self.start(f"def load(): {body}\nwattle_worker.run(load, lambda inputs: None)\n")
            self.refused(w.loaded, code, text)

    def test_stdout_that_is_closed(self):
        w = self.start("""
import sys
def load():
    sys.stdout.close()
    return {}
wattle_worker.run(load, lambda inputs: sys.exit("enough"))
""")
        self.assertTrue(w.loaded["ok"])
        w.give()
        self.refused(w.ask("first"), "crash", "'first' raised SystemExit: enough")

    def test_much_that_is_printed(self):
        """More than a pipe takes, around each answer and on both descriptors."""
        w = self.start("""
import os, sys
def load():
    return {"outputs": [("y", "float32", [1])]}
def infer(inputs):
    for i in range(2000):
        print('{"ok": true, "first_ns": 1}')
        os.write(2, b'{"ok": false}' * 20)
    return [1.0]
wattle_worker.run(load, infer)
""")
        w.give()
        self.assertGreater(w.ask("first")["first_ns"], 1)
        self.assertEqual(w.outputs()[0][:3], ("y", "float32", [1]))

    def test_outputs_that_are_not_as_told(self):
        for result, text in (("[1.0] * 3", "shape [3]"), ("array.array('d', [1, 2])", "is float64"),
                             ("[[1.0, 2.0]] * 2", "returned 2 outputs"), ("{'z': 1}", "no 'y'")):
            w = self.start(f"""
import array
def load():
    return {{"outputs": [("y", "float32", [2])]}}
wattle_worker.run(load, lambda inputs: {result})
""")
            w.give()
            self.refused(w.outputs(), "mismatch" if "no '" not in text else "unsupported", text)

    def test_types_without_numpy(self):
        w = self.start("""
import array
def load():
    return {"inputs": [("a", "bool", [3]), ("b", "bfloat16", [2]), ("c", "int64", [])],
            "outputs": [("d", "bool", [3]), ("e", "bfloat16", [2]), ("f", "uint8", [0])]}
def infer(inputs):
    a, b, c = inputs
    assert (a.tolist(), b.tolist(), c[0]) == ([True, False, True], [16256, 16384], -5)
    return {"f": b"xyz", "d": [not v for v in a], "e": array.array("H", b)}
wattle_worker.run(load, infer)
""")
        halves = struct.pack("<2H", 16256, 16384)
        self.assertTrue(w.give(b"\1\0\1", halves, struct.pack("<q", -5))["ok"])
        self.assertEqual(w.outputs(), [("d", "bool", [3], b"\0\1\0"),
                                       ("e", "bfloat16", [2], halves),
                                       ("f", "uint8", [3], b"xyz")])

    @unittest.skipUnless(numpy, "no numpy")
    def test_numpy(self):
        w = self.start("""
import numpy as np
def load(request):
    return {"inputs": [("a", np.float32, [2, 2]), ("b", "float16", [0, 3], (0, 1))],
            "outputs": [("c", "float32", [0, 2]), ("d", "int64", [])]}
def infer(inputs):
    a, b = inputs
    assert a.shape == (2, 2) and b.shape == (0, 3) and b.dtype == np.float16
    try:
        a[0, 0] = 9
    except ValueError:
        return (a.T, np.int64(7))
wattle_worker.run(load, infer)
""")
        self.assertIn("numpy", w.loaded["settings"])
        self.assertEqual(w.loaded["inputs"][1]["range"], [0, 1])
        self.assertTrue(w.give(FOUR, b"")["ok"])
        self.assertEqual(w.outputs(), [("c", "float32", [2, 2], struct.pack("<4f", 1, 3, 2, 4)),
                                       ("d", "int64", [], struct.pack("<q", 7))])

    @unittest.skipUnless(numpy, "no numpy")
    def test_inputs_that_are_written_to(self):
        w = self.start("""
import numpy as np
def load():
    return {"inputs": [("x", "float32", [2, 2])]}
def prepare(inputs):
    inputs[0].flags.writeable = True
    return inputs
def infer(inputs):
    inputs[0] += 1
wattle_worker.run(load, infer, prepare=prepare)
""")
        self.assertTrue(w.give(FOUR)["ok"])
        self.refused(w.ask("first"), "mismatch", "writes to its inputs")
        self.assertEqual(os.pread(w.tensors, 16, 0), FOUR)

    def test_collector_rests_in_the_window(self):
        w = self.start("""
import gc
def load():
    return {}
def infer(inputs):
    assert not gc.isenabled() and gc.get_freeze_count() > 0
def memory():
    return "unknown" if gc.isenabled() else 0
wattle_worker.run(load, infer, device_memory=memory)
""")
        w.give()
        self.refused(w.ask("first"), "crash", "AssertionError") # the collector is on
        self.assertTrue(w.ask("window", min_runs=100, max_ns=10**10)["ok"])
        reply = w.ask("go")
        self.assertEqual(reply.get("runs"), 100, reply)
        self.assertEqual(reply["device_memory_reason"], "unknown")

    def test_end_of_the_pipe(self):
        w = self.start(PLAIN)
        os.close(w.commands)
        w.commands = -1
        self.assertEqual(w.process.wait(5), 1)
        w = self.start("""
import time
wattle_worker.run(lambda: {}, lambda inputs: time.sleep(30))
""")
        w.give()
        w.ask("window", max_ns=10**11)
        w.send({"op": "go"})
        time.sleep(0.2)
        os.close(w.commands)
        w.commands = -1
        self.assertLess(w.process.wait(5), 0) # by the signal, in the middle of an inference

    def test_started_by_hand(self):
        script = "import wattle_worker; wattle_worker.run(None, None)"
        done = subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": HELPER},
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("wattle worker --check", done.stderr)


if __name__ == "__main__":
    unittest.main()
