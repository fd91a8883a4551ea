#!/usr/bin/env bash
# wattle convert from ONNX to PyTorch and back; the operators, against ONNX's own reference.
. "$(dirname "$0")/lib.sh"

use_installed
library=$("$wattle" runtimes | sed -n '/^pytorch /,/^[a-z]/s/^ *\(\/.*libtorch_cpu.so\)$/\1/p' | head -1)
[ -n "$library" ] || { echo "skipped: PyTorch is not installed"; exit 77; }
python=${library%%/lib/python*}/bin/python3
mkdir "$dir/new"
new=$dir/new
clean() { [ -z "$(ls -A "$dir/new" | grep -v "$1")" ] || fail "left: $(ls -A "$dir/new")"; }
convert() { "$wattle" convert "$@"; }

expect 0 "$python" -W ignore "$here/onnx_to_torch_test.py" "$new"
rm -f "$new"/*
expect 0 convert "$root/tests/fixtures/pytorch/model.py:make_model" --dynamic-batch -q -o "$dir/kept.onnx"
expect 0 convert "$dir/kept.onnx" -q -o "$new/m.pt2"
in_out "image                    float32 [1,3,8,8]"
expect 0 convert "$dir/kept.onnx" --dynamic-batch -f -q -o "$new/m.pt2"
in_out "onnx2torch"
in_out "[batch,3,8,8]"
"$python" - "$new/m.pt2" >"$dir/note.json" 2>"$dir/err" <<'PY' || fail "not an exported program"
import sys, torch
notes = {"wattle.json": ""}
program = torch.export.load(sys.argv[1], extra_files=notes)
outputs = program.module()(torch.zeros(7, 3, 8, 8), torch.zeros(7, 6, dtype=torch.int64))
assert [tuple(x.shape) for x in outputs] == [(7, 5), (7,)]
print(notes["wattle.json"])
PY
json "$dir/note.json" '.form == "converted" and .max_rel_error < 1e-5 and
    (.how | startswith("onnx2torch ")) and .outputs[1] ==
    {"name": "total", "type": "float32", "shape": [null]} and .inputs[1].name == "ids"'
expect 2 convert "$root/tests/fixtures/onnx/bad_rank.onnx" --dynamic-batch -o "$new/s.pt2"
in_err "the batch of this file is fixed at"
expect 0 convert "$new/m.pt2" --opset 18 --external-data -q -o "$new/back.onnx"
in_out "[batch,3,8,8]"
expect 2 convert "$new/m.pt2" -o "$new/m.pt2" -f
in_err "is PyTorch's already"
expect 1 convert "$root/tests/fixtures/onnx/sequence.onnx" -o "$new/s.pt2"
in_err "of the ONNX file is no tensor"

# Recurrent layers, of both exporters: there and back, and run as they are.
for exporter in torchscript dynamo; do
    layers=$dir/layers.onnx
    expect 0 convert "$root/tests/fixtures/pytorch/tokens.py:make_layers" --exporter $exporter -f -q -o "$layers"
    expect 0 convert "$layers" -f -q -o "$new/l.pt2"
    in_out "own: "
done
rm "$new"/l.pt2 "$new"/back.*
expect 0 "$wattle" run "$layers" -r builtin,pytorch:eager --blocks 1 --duration 50ms --warmup 20ms \
    --min-runs 1 -t 1 -q --sysroot "$quiet"
in_out "outputs agree"
clean '^m.pt2$'

# Attention in single operators, the keys' heads transposed in one go: compiled ahead of time as
# attention, which PyTorch 2.13's patterns get wrong when they see it as it is; and one row of it.
cat >"$dir/heads.py" <<'PY'
import torch

class Heads(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = torch.nn.ModuleList(torch.nn.Linear(64, 64) for _ in range(3))

    def forward(self, x, mask):
        q, k, v = (part(x).reshape(2, 32, 4, 16) for part in self.parts)
        scores = torch.matmul(q.permute(0, 2, 1, 3), k.permute(0, 2, 3, 1)) / 4.0 + mask
        return torch.matmul(scores.softmax(-1), v.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)[:, 0]

def make_model():
    return Heads()

def example_inputs():
    return torch.randn(2, 32, 64), torch.randn(2, 1, 1, 32)
PY
expect 0 convert "$dir/heads.py:make_model" --exporter torchscript -q -o "$dir/heads.onnx"
expect 0 "$wattle" run "$dir/heads.onnx" -r builtin,pytorch:aoti -t 1 --blocks 1 --duration 100ms \
    --warmup 50ms --json "$dir/heads.json" --sysroot "$quiet"
json "$dir/heads.json" '.cells | length == 2 and all(.error == null and .agreement.ok != false)'
