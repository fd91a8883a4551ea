#!/usr/bin/env bash
# A file with quantised operators runs on every runtime that is installed, and none of its rows is
# called f32.
. "$(dirname "$0")/lib.sh"

cd "$dir" || exit 1
use_installed onnxruntime openvino
run() { "$wattle" run -t 1 --blocks 1 --duration 20ms --warmup 10ms --sysroot "$quiet" "$@"; }
python3 "$here/make_onnx.py" quantised.onnx x=quantised:4x64
python3 "$here/make_onnx.py" plain.onnx x=4x64

expect 0 run quantised.onnx plain.onnx --json j.json
in_out "quantised  batch 4  threads 1  quantised"
in_out "plain  batch 4  threads 1  f32"
json j.json '[.cells[].error.text] | all(. == null)'
json j.json '[.cells[] | .precision == (if .model.name == "quantised" then "quantised" else "f32" end)] | all'
json j.json '[.cells[] | select(.model.name == "quantised" and .runtime.name == "builtin")] | length == 1'
expect 0 run quantised.onnx -r builtin --dry-run
in_out "threads 1, quantised"
expect 2 run quantised.onnx -r builtin --precision int8 --dry-run
in_err "no chosen runtime computes in precision 'int8'"

# Numbers a step beside each other agree there, as they do not in f32; wrong ones do not.
python3 - <<'PY'
import struct
def save(name, values):
    head = "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 64), }"
    head += " " * (-(10 + len(head) + 1) % 64) + "\n"
    with open(name, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() +
                   struct.pack("<256f", *values))
x = [(i * 37 % 256 - 128) / 128 for i in range(256)]
save("x.npy", x)
save("step.npy", [v + (-1) ** i / 128 for i, v in enumerate(x)])
save("one.npy", [v + (i == 70) / 2 for i, v in enumerate(x)])
save("scale.npy", [v * 0.85 for v in x])
PY
expect 0 run quantised.onnx -r builtin --provider cpu,reference --input x.npy --expect step.npy --json s.json
json s.json '[.cells[].agreement | .ok and .max_rel_error > 0.003 and .max_rel_error < 0.02] | all'
expect 5 run plain.onnx -r builtin --input x.npy --expect step.npy
expect 5 run quantised.onnx -r builtin --input x.npy --expect one.npy --json s.json
json s.json '.cells[0].agreement | .ok == false and (.detail | startswith("out_x[1,6] is "))'
expect 5 run quantised.onnx -r builtin --input x.npy --expect scale.npy --json s.json
json s.json '.cells[0].agreement | .ok == false and (.detail | test("is off by 0.1.* of its root mean square"))'
in_out "DIFFER"

# Files that only their runtime reads are called so by what their structure says.
if "$wattle" runtimes | grep -q "^openvino "; then
    files=$root/tests/fixtures/openvino
    for case in bytes.xml:quantised quantised.tflite:quantised relu.xml:f32 relu.tflite:f32 relu:f32; do
        expect 0 run "$files/${case%:*}" -r openvino --json o.json
        json o.json ".cells[0].precision == \"${case#*:}\""
    done
    echo "<net" >cut.xml
    expect 3 run cut.xml -r openvino --json o.json
    json o.json '.cells[0].precision == "unknown"'
fi
echo "ok"
