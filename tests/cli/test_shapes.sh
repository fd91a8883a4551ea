#!/usr/bin/env bash
# The sizes of inputs end to end, on every runtime that is installed: sizes of 0, hundreds of inputs.
. "$(dirname "$0")/lib.sh"

cd "$dir" || exit 1
use_installed onnxruntime openvino
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

# The batch is that of -b, or of --dim where it names the batch, or of the data, or of the file.
make_onnx sym.onnx x=Nx3
make_onnx fixed.onnx x=8x3
make_onnx sequence.onnx x=SxNx4 mask=NxS
make_onnx both.onnx x=Nx3 table=5x3
make_onnx other.onnx a=unk__1x3 b=unk__2x3
batch() { # BATCH SHAPE ARGUMENTS...
    local n=$1 shape=$2
    shift 2
    expect 0 run "$@" --json j.json
    ok; json j.json "[.cells[] | .batch == $n and .shapes.inputs[0].shape == $shape] | all"
    json j.json '[.cells[] | .throughput_per_s / (([.blocks[].runs] | add) / ([.blocks[].wall_s] | add)) / .batch | . > 0.999 and . < 1.001] | all'
}
batch 4 '[4,3]' sym.onnx --dim N=4
in_out "sym  batch 4"
batch 4 '[4,3]' sym.onnx -b 4 --dim N=4
batch 5 '[5,3]' sym.onnx --shape x=5x3
batch 8 '[8,3]' fixed.onnx
batch 8 '[8,3]' fixed.onnx -b 8
batch 1 '[7,1,4]' sequence.onnx --dim S=7
batch 3 '[7,3,4]' sequence.onnx --dim S=7 -b 3
batch 2 '[7,2,4]' sequence.onnx --dim S=7 --dim N=2
batch 3 '[3,3]' both.onnx --dim N=3
batch 2 '[2,3]' other.onnx -b 2
batch 2 '[2,3]' other.onnx --dim unk__1=2 --dim unk__2=2
expect 2 run sym.onnx --dim N=4 -b 2,4
in_err "model 'sym': the batch is 2 by -b and 4 by --dim N"
expect 2 run sym.onnx --dim N=0
in_err "the batch cannot be 0"
expect 2 run fixed.onnx -b 1
in_err "model 'fixed' fixes the batch of input 'x' at 8"
expect 2 run sequence.onnx
in_err "dimension 'S' of input 'x' has no size"
expect 0 run sym.onnx fixed.onnx -r builtin --dry-run
in_out "sym on builtin:cpu, batch 1"; in_out "fixed on builtin:cpu, batch 8"
expect 2 run sym.onnx -r builtin --dim M=2 --dry-run
expect 0 run resnet50 -r builtin --dry-run # not written yet
in_out "batch 1"

# An input that the file gives no shape has what is asked for, and is not taken for a scalar.
make_onnx bare.onnx 'x=*'
expect 2 run bare.onnx
in_err "model 'bare' gives input 'x' no shape"
in_err "--shape x="
for runtime in onnxruntime openvino; do
    "$wattle" runtimes | grep -q "^$runtime .*cpu" && batch 5 '[5,3]' bare.onnx -r $runtime --shape x=5x3
done

# A file that only the runtime reads: it tells the batch once it is loaded.
if "$wattle" runtimes | grep -q '^openvino .*cpu'; then
    sed -e 's/shape="1,4"/shape="6,4"/; s|<dim>1</dim>|<dim>6</dim>|g' "$root/tests/fixtures/openvino/relu.xml" >six.xml
    batch 6 '[6,4]' six.xml -r openvino --blocks 2
    in_out "six  batch 6"
    batch 6 '[6,4]' six.xml -r openvino -b 6
    expect 3 run six.xml -r openvino -b 1
    in_out "batch 1: model 'six' fixes the batch at 6"
fi
sed 's|"inputs":\[\]|"inputs":[{"name":"x","type":"float32","shape":[3,2]}]|' "$root/examples/shell.sh" >own.sh
batch 3 '[3,2]' --worker 'sh own.sh'

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
