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

# So are files that only their runtime reads, by what their structure says.
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
