#!/usr/bin/env bash
# The sizes of inputs end to end, on every runtime that is installed: sizes of 0, hundreds of inputs.
. "$(dirname "$0")/lib.sh"

cd "$dir" || exit 1
use_installed
make_onnx() { python3 "$here/make_onnx.py" "$@"; }
run() { "$wattle" run -t 1 --blocks 1 --duration 20ms --warmup 10ms --sysroot "$quiet" "$@"; }
ok() { json j.json '[.cells[].agreement.ok] | all(. != false)'; json j.json '[.cells[].error.text] | all(. == null)'; }

# A named size of 0, by its name or by the whole shape.
make_onnx zero.onnx p=1x2xPx4
for sizes in '--dim P=0' '--shape p=1x2x0x4'; do
    expect 0 run zero.onnx $sizes --json j.json
    ok; json j.json '[.cells[].shapes.inputs[0].shape == [1,2,0,4]] | all'
done
make_onnx zero2.onnx n=NxC boxes=Px4 # neither is the batch of both
expect 0 run zero2.onnx --dim P=0 --dim C=3 --json j.json
ok; json j.json '[.cells[].shapes.inputs[1].shape == [0,4]] | all'
expect 2 run zero.onnx --dim P=-1
in_err "P -1 is outside 0.."

# A type is only for files that wattle cannot read; for others it must be theirs.
make_onnx typed.onnx ids=int64:Nx4
expect 0 run typed.onnx -r builtin --shape ids=int64:1x4 --range ids=0..9
expect 2 run typed.onnx -r builtin --shape ids=int32:1x4 --range ids=0..9
in_err "gives input 'ids' the type int32, it is of type int64"
expect 2 run typed.onnx -r builtin --shape ids=int65:1x4 --range ids=0..9
in_err "there is no element type 'int65'"
expect 2 run typed.onnx -r builtin --shape ids=int64: --range ids=0..9
in_err "is not INPUT=[TYPE:]SIZE"

# A worker's own range is used unless the user gives one.
expect 3 fake --provider-option int_input=1
in_err "cannot make up input 'n' of type int64"
expect 0 fake --provider-option int_input=1 --provider-option int_high=9

# 256 inputs and outputs, all named, fed and compared.
names=$(seq -f 'x%.0f' 256)
make_onnx many.onnx $(printf '%s=Nxfree ' $names)
expect 0 run many.onnx -b 2 $(printf -- '--shape %s=2x2 ' $names) --verify --json j.json
ok; json j.json '[.cells[].shapes.outputs | length == 256] | all'
make_onnx more.onnx $(printf '%s=Nx2 ' $names one_more)
expect 1 run more.onnx -r builtin
in_err "model 'more' has 257 inputs, at most 256 are taken"
