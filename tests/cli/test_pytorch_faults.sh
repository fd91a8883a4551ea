#!/usr/bin/env bash
# Models for PyTorch that are wrong, damaged or malicious: each is a row with a reason, and ends.
. "$(dirname "$0")/lib.sh"
use_installed
"$wattle" runtimes | grep -q '^pytorch ' || { echo "skipped: PyTorch is not installed"; exit 77; }
torch=$(torch_python) || { echo "skipped: no Python of PyTorch's"; exit 77; }
cd "$dir" || exit 1
run() { "$wattle" run -t 1 --blocks 2 --duration 100ms --warmup 50ms --sysroot "$quiet" "$@"; }

# --- Python -----------------------------------------------------------------------------------

cat >net.py <<'P'
import os, sys, time
import torch
from torch.nn import functional

class Net(torch.nn.Module):
    def __init__(self, forward):
        super().__init__()
        self.call = forward

    def forward(self, x):
        return self.call(x)

calls = 0

def ends_later(x):
    global calls
    calls += 1
    if calls > 1:
        os._exit(0)
    return x + 1

def prints(x):
    for _ in range(2000):
        print('{"ok": true, "first_ns": 1}' * 20)
        os.write(2, b"noise " * 50)
    return x + 1

def ends(): return Net(lambda x: os._exit(0))
def ends_in_a_run(): return Net(ends_later)
def draws(): return Net(lambda x: functional.dropout(x, 0.5, training=True))
def noisy(): return Net(prints)
def example_inputs(): return torch.ones(4, 8)
P
eager() { run "$@" -r pytorch:eager --json out.json; }
expect 3 eager net.py:ends
in_err "ended with exit status 0 before its work was done"; in_err "code of the model"
expect 3 eager net.py:ends_in_a_run
in_err "worker ended during 'first': exit status 0"; in_err "hint: code of the runtime or of the model"
expect 0 eager net.py:draws
json out.json '.cells[0].reasons | any(test("different outputs"))'
expect 0 eager net.py:noisy
json out.json '.cells[0].reasons | any(test("different outputs")) | not'

echo 'raise ValueError("no weights")' >raises.py
expect 3 eager raises.py:make
in_err "raises.py:1: ValueError: no weights"
# What it prints while the model is read is kept nowhere: it would fill the disk.
cat >prints.py <<'P'
import os
for _ in range(200):
    os.write(1, bytes(100000)); os.write(2, b"x" * 100000)
with open(os.environ["WATTLE_HOME"] + "/kept", "a") as file:
    for folder, _, names in os.walk(os.environ["WATTLE_HOME"] + "/prepared"):
        print(sum(os.path.getsize(os.path.join(folder, name)) for name in names), file=file)
from net import draws, example_inputs
P
expect 0 eager prints.py:draws
[ "$(awk '{ n += $1 } END { print n < 1000000 }' "$WATTLE_HOME/kept")" = 1 ] || fail "it is kept: $(cat "$WATTLE_HOME/kept")"
printf 'while True:\n    try:\n        while True: pass\n    except BaseException: pass\n' >loops.py
expect 3 eager loops.py:make --timeout 8s # no exception ends it
in_err "reading the model took longer than 8 s"; in_err "--timeout gives it longer"
set -m
"$wattle" run loops.py:make -r pytorch:eager >out 2>err </dev/null &
pid=$!
for _ in $(seq 300); do grep -q reading err && break; sleep 0.1; done
kill -INT $pid
wait $pid
[ $? -eq 130 ] || fail "Ctrl-C does not end a model that loops"
! pgrep -f "$dir/home/prepared" >/dev/null || fail "its Python runs on"

expect 2 eager net.py:draws --provider cuda
in_err "has no provider 'cuda'"
expect 2 eager net.py:draws -d cuda:3
in_err "pytorch:cpu takes no device 'cuda:3'"; in_err "hint: --provider cuda -d 3"

# --- TorchScript ------------------------------------------------------------------------------

command -v g++ >/dev/null || { echo "skipped: no g++"; exit 77; }
cat >make.py <<'P'
import io, os, warnings, zipfile
from typing import Dict, List, Optional, Tuple
import torch
warnings.filterwarnings("ignore")

class Writes(torch.nn.Module):
    def forward(self, x):
        return x.add_(1) * 2

class Raises(torch.nn.Module):
    def forward(self, x):
        if float(x.sum()) > -1e9:
            raise ValueError("not today")
        return x

class Nested(torch.nn.Module):
    def forward(self, x, y: Optional[torch.Tensor] = None):
        return (x + 1, (x + 2, None)), {"three": x + 3}

class Text(torch.nn.Module):
    def forward(self, x):
        return x, "text"

class Counts(torch.nn.Module):
    def forward(self, x, n: int, mode: str):
        return x * n

class Defaults(torch.nn.Module):
    def forward(self, x, n: int = 2, mode: str = "fast"):
        return x * n

class OnCuda(torch.nn.Module):
    def forward(self, x):
        return x + torch.ones([8], device="cuda")

class Plain(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(8, 8)
    def forward(self, x):
        return self.linear(x)

for kind in (Writes, Raises, Nested, Text, Counts, Defaults, OnCuda, Plain):
    torch.jit.save(torch.jit.script(kind()), kind.__name__.lower() + ".pt")

def again(name, change, compression=zipfile.ZIP_STORED):
    """plain.pt with other bytes in some members."""
    with zipfile.ZipFile("plain.pt") as old, zipfile.ZipFile(name, "w") as new:
        for entry in old.infolist():
            data = change(entry.filename.split("/", 1)[1], old.read(entry))
            if data is not None:
                new.writestr(entry.filename, data, compression)

def move(name, data): # its storages say that they were on a GPU
    return data.replace(b"X\3\0\0\0cpu", b"X\6\0\0\0cuda:0") if name == "data.pkl" else data

again("moved.pt", move)
again("bomb.pt", lambda name, data: bytes(300 << 20) if name == "data/0" else data,
      zipfile.ZIP_DEFLATED)
again("codeless.pt", lambda name, data: data if not name.endswith("Plain.py") and
      "__torch__" not in name else b"def forward(self")
again("weightless.pt", lambda name, data: None if name.startswith("data/") else data)
again("short.pt", lambda name, data: data[:100] if name == "data/0" else data)
again("long.pt", lambda name, data: data + bytes(100) if name == "data/0" else data)
again("beyond.pt", lambda name, data: data.replace(b"K\10K\10t", b"K\10K\11t")
      if name == "data.pkl" else data)
again("pickle.pt", lambda name, data: data[:len(data) // 2] if name == "data.pkl" else data)
whole = open("plain.pt", "rb").read()
open("cut.pt", "wb").write(whole[:len(whole) // 2])
weights = whole.index(b"data/0") + 200
open("flipped.pt", "wb").write(whole[:weights] + bytes([whole[weights] ^ 255]) + whole[weights + 1:])
torch.save(torch.nn.Linear(8, 8), "pickled.pt")

def shorter(path, changes):
    """A container with shorter members, also in a container that is a member."""
    made = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(made, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith(".pt") and data[:2] == b"PK":
                data = shorter(io.BytesIO(data), changes)
            change = next((n for end, n in changes.items() if entry.filename.endswith(end)), None)
            new.writestr(entry.filename, data[:change])
    return made.getvalue()

torch.export.save(torch.export.export(Plain(), (torch.ones(4, 8),)), "plain.pt2")
open("short.pt2", "wb").write(shorter("plain.pt2", {"/data/0": 100}))
open("light.pt2", "wb").write(shorter("plain.pt2", {"/weight_0": 100}))
with zipfile.ZipFile("bomb.pt2", "w", zipfile.ZIP_DEFLATED) as new:
    new.writestr("bomb/archive_format", "pt2")
    new.writestr("bomb/models/model.json", bytes(300 << 20))
P
expect 0 "$torch" make.py
script() { run "$@" -r pytorch:torchscript --shape x=float32:4x8 --json out.json; }
expect 0 script plain.pt
expect 0 script defaults.pt
expect 0 script nested.pt
json out.json '[.cells[0].shapes.outputs[].name] == ["output0", "output1", "three"]'
expect 0 script moved.pt # weights that were on a GPU are moved
refused() { # FILE CODE TEXT...
    local file=$1 code=$2 text
    shift 2
    expect "$code" script "$file"
    for text; do in_err "$text"; done
    ! grep -q 'signal 11' err || fail "a signal"
}
refused writes.pt 3 "the model writes to its inputs" "hint: let it work on a copy"
refused raises.pt 3 "not today"
refused text.pt 3 "how many outputs"
refused counts.pt 3 "input 'n' of its forward is no tensor but int"
refused oncuda.pt 3 "cuda" "hint: the model's own code names the device cuda"
refused bomb.pt 3 "claims 314572800 bytes"
refused codeless.pt 3 "cannot load"
refused short.pt 3 "member 'plain/data/0' has 100 bytes, by data.pkl it has 256"
refused beyond.pt 3 "a tensor reaches beyond its storage of 256 bytes"
refused weightless.pt 3 "cannot load"
refused pickle.pt 3 "data.pkl" "not a pickle"
expect 0 script long.pt # as padding is
refused cut.pt 1 "is no file that PyTorch writes"
refused flipped.pt 3 "CRC"
refused pickled.pt 1 "holds pickled weights or a pickled module"
expect 3 run bomb.pt2 -r pytorch:eager
in_err "claims 314572800 bytes"
expect 0 run plain.pt2 -r pytorch:eager
expect 3 run short.pt2 -r pytorch:eager
in_err "short.pt2': record 'data/0' has 100 bytes, by its pickle it has 128"
expect 3 run light.pt2 -r pytorch:eager
in_err "light.pt2' as an exported program"
for file in short.pt short.pt2; do
    expect 1 "$wattle" convert "$file" -o out.onnx --shape x=float32:4x8
    in_err "has 100 bytes, by"
done
nothing_runs
