#!/usr/bin/env bash
# One network on several ways of a real PyTorch, and an ONNX file converted for it; outputs agree.
. "$(dirname "$0")/lib.sh"
use_installed
"$wattle" runtimes | grep -q '^pytorch ' || { echo "skipped: PyTorch is not installed"; exit 77; }
command -v g++ >/dev/null || { echo "skipped: no g++"; exit 77; }
cd "$dir" || exit 1
run() { "$wattle" run -t 1 --blocks 1 --duration 100ms --warmup 50ms --sysroot "$quiet" "$@"; }

cat >net.py <<'P'
import torch

def make():
    return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))

def example_inputs():
    return (torch.randn(3, 8),)
P
expect 0 run net.py:make -r pytorch:aoti,pytorch:torchscript-frozen,pytorch:eager --json a.json
json a.json '[.cells[] | .batch] == [3, 3, 3]' # that of example_inputs
json a.json '[.cells[] | .agreement.ok] | sort == [null, true, true]'
json a.json '[.cells[] | .model] | all(.format == "python" and .form == null and (.how | length) > 0)'
json a.json '[.cells[] | .runtime.variant] | sort == ["aoti", "eager", "torchscript-frozen"]'
json a.json '[.cells[] | .settings.threads] == [1, 1, 1]'
in_out "pytorch:eager"; in_out "made "

# Integers are made up as example_inputs has them: a module that looks up a table needs no --range.
cat >lookup.py <<'P'
import torch

def make():
    return torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.Linear(4, 2))

def example_inputs():
    return torch.tensor([[2, 8, 5]])
P
expect 0 run lookup.py:make -r pytorch:eager,pytorch:torchscript --json c.json
json c.json '[.cells[] | .agreement.ok] | sort == [null, true]'

"$here/make_onnx.py" m.onnx x=Nx3 n=int64:4
expect 0 run m.onnx -r builtin,pytorch:torchscript,pytorch:eager --range n=0..3 -b 2 --json b.json
json b.json '[.cells[] | select(.runtime.name == "pytorch") | .agreement.ok, .model.form] ==
    [true, "converted", true, "converted"]'
in_out "FORM"; in_out "onnx2torch"

"$here/validate_json.py" "$root/docs/wattle-1.schema.json" [abc].json >out 2>err ||
    [ $? -eq 77 ] || fail "not wattle/1"
