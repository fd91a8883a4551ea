#!/usr/bin/env bash
# wattle convert: what is refused; then, where PyTorch is installed, both of its exporters, outputs
# that differ, an interruption, and that nothing is left of what failed.
. "$(dirname "$0")/lib.sh"

model=$root/tests/fixtures/pytorch/model.py
typed=$root/tests/fixtures/onnx/typed.onnx
convert() { "$wattle" convert "$@"; }

expect 2 convert
in_err "takes one model, not 0"
expect 2 convert "$model:make_model" other -o "$dir/m.onnx"
in_err "takes one model, not 2"
expect 2 convert "$model:make_model"
in_err "no file to write to"
expect 2 convert "$model:make_model" -o "$dir/m.bin"
in_err "does not tell what to make"
expect 2 convert "$model:make_model" --to tflite -o "$dir/m.tflite"
in_err "nothing is converted to 'tflite'"
expect 2 convert "$model" -o "$dir/m.onnx"
in_err "which of its functions makes the model"
expect 2 convert "$dir/none.py:make_model" -o "$dir/m.onnx"
in_err "is not there"
expect 2 convert "$typed" -o "$dir/m.onnx"
in_err "is ONNX already"
expect 2 convert "$model:make_model" -o "$dir/m.pt2"
in_err "is PyTorch's already"
expect 2 convert resnet50 -o "$dir/m.onnx"
in_err "wattle models build resnet50"
expect 2 convert "$typed" --form native -o "$dir/m.pt2"
in_err "is of built-in models"
expect 2 convert "$model:make_model" --exporter onnx -o "$dir/m.onnx"
in_err "--exporter takes dynamo and torchscript"
expect 2 convert "$model:make_model" --opset 17 -o "$dir/m.onnx"
in_err "does not write opset 17"
in_err "--exporter torchscript writes 17"
for opset in 16 24 x; do
    expect 2 convert "$model:make_model" --opset $opset -o "$dir/m.onnx"
    in_err "opset"
done
expect 2 convert "$typed" --opset 20 -o "$dir/m.pt2"
in_err "--opset is of conversions to ONNX"
expect 2 convert "$model:make_model" --tolerance -1 -o "$dir/m.onnx"
in_err "tolerance"
expect 2 convert "$model:make_model" -r builtin -o "$dir/m.onnx"
in_err "runtime 'builtin' does not convert"
expect 2 convert "$model:make_model" --dim S=9 -o "$dir/m.onnx"
in_err "only ONNX files have names for their sizes"
for wrong in image image:1 :1=S image=S image:x=S image:8=S image:-1=S; do
    expect 2 convert "$model:make_model" --dynamic "$wrong" -o "$dir/m.onnx"
done
in_err "axis"
for wrong in '' 2S a-b; do
    expect 2 convert "$model:make_model" --dynamic "image:1=$wrong" -o "$dir/m.onnx"
    in_err "is no name for a size"
done
printf 'weights' >"$dir/weights.pt"
expect 1 convert "$dir/weights.pt" -o "$dir/m.onnx"
mkdir "$dir/empty"
expect 1 env PATH="$dir/empty" "$wattle" convert "$model:make_model" -o "$dir/m.onnx"
in_err "wattle runtimes install pytorch"
[ "$(ls -A "$dir")" = "$(printf 'empty\nerr\nhome\nout\nweights.pt')" ] || fail "left: $(ls -A "$dir")"

use_installed
library=$("$wattle" runtimes | sed -n '/^pytorch /,/^[a-z]/s/^ *\(\/.*libtorch_cpu.so\)$/\1/p' | head -1)
[ -n "$library" ] || { echo "skipped: PyTorch is not installed"; exit 77; }
python=${library%%/lib/python*}/bin/python3

# --- PyTorch to ONNX

clean() { [ -z "$(ls -A "$dir/new" | grep -v "$1")" ] || fail "left: $(ls -A "$dir/new")"; }
mkdir "$dir/new"
new=$dir/new
expect 0 convert "$model:make_model" --dynamic-batch -o "$new/m.onnx"
in_out "opset 20, torch.onnx.export, dynamo, torch"
in_out "[batch,3,8,8]"
in_out "error: max"
in_out "on 5 sets of inputs"
in_err "comparing outputs for seeded inputs, batch 3"
clean '^m.onnx$'
cp "$new/m.onnx" "$dir/kept.onnx"

# It says how it was made, and nothing of where.
"$python" - "$new/m.onnx" "$(sha256sum "$model" | cut -d' ' -f1)" >"$dir/out" 2>"$dir/err" <<'PY' || fail notes
import sys, onnx
model = onnx.load(sys.argv[1])
onnx.checker.check_model(model)
notes = {entry.key: entry.value for entry in model.metadata_props}
assert notes["wattle.convert.source"] == "model.py:make_model", notes
assert notes["wattle.convert.sha256"] == sys.argv[2], notes
assert "onnxscript" in notes["wattle.convert.versions"], notes
assert 0 <= float(notes["wattle.convert.max_rel_error"]) < 1e-5, notes
assert notes["wattle.convert.error.score"].startswith("max "), notes
assert notes["wattle.input.ids"] == "uniform 1 9", notes
assert model.opset_import[0].version == 20
assert [value.name for value in model.graph.input] == ["image", "ids"]
assert [value.name for value in model.graph.output] == ["score", "total"]
assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
assert b"/" + b"fixtures" not in open(sys.argv[1], "rb").read()
PY
expect 0 "$wattle" run "$new/m.onnx" -r builtin --blocks 1 --duration 50ms --warmup 20ms -b 2 --dry-run

# What is there is not lost.
expect 2 convert "$model:make_model" -o "$new/m.onnx"
in_err "is there already"
in_err "--force"
cmp -s "$new/m.onnx" "$dir/kept.onnx" || fail "the file was touched"
expect 0 convert "$model:make_model" -f --exporter torchscript --opset 17 -q -o "$new/m.onnx"
in_out "opset 17, torch.onnx.export, TorchScript"
cmp -s "$new/m.onnx" "$dir/kept.onnx" && fail "the file was not replaced"
clean '^m.onnx$'

# Traced, it goes one way for ever; and a random one has no outputs to agree with.
expect 5 convert "$model:make_sign" --exporter torchscript -o "$new/s.onnx"
in_err "outputs differ for"
in_err "the reference has"
in_err "input ids has no effect"
expect 5 convert "$model:make_sometimes" --exporter torchscript -o "$new/s.onnx"
in_err "outputs differ for"
in_err "is nan"
expect 5 convert "$model:make_random" -o "$new/s.onnx"
in_err "gives other outputs for the same inputs"
no_out
clean '^m.onnx$'

# NaN on both sides agrees, but shows nothing.
expect 0 convert "$model:make_odd" --external-data -o "$new/odd.onnx"
in_err "output 'output0' is NaN or infinite throughout"
in_err "has no weights that are worth a file"
in_out "; 768 of 768 numbers are not finite"
grep -q "output1.* numbers are not finite" "$dir/out" || fail "nothing is said of the other output"
grep -q "'output1' is NaN" "$dir/err" && fail "an output with finite numbers is warned of"
rm "$new/odd.onnx"
clean '^m.onnx$'

# Other axes than the batch, by both exporters, at several lengths.
tokens=$root/tests/fixtures/pytorch/tokens.py
long=(--dynamic ids:1=S --dynamic mask:1=S)
for exporter in dynamo torchscript; do
    expect 0 convert "$tokens:make_tokens" --exporter $exporter --dynamic-batch "${long[@]}" -f -o "$new/t.onnx"
    in_out "[batch,S]"
    in_out "[batch,S,8]"
    in_out "on 8 sets of inputs"
    for set in "S 3" "S 7" "batch 1" "batch 3"; do
        in_err "comparing outputs for seeded inputs, $set"
    done
    for sizes in "" "--dim S=11 -b 4" "--shape ids=3x5 --shape mask=3x5"; do
        expect 0 "$wattle" run "$new/t.onnx" -r builtin --dry-run $sizes
    done
    expect 0 convert "$new/t.onnx" --dim S=9 -f -q -o "$new/t.pt2"
    in_out "[1,9,8]"
done
expect 0 convert "$new/t.onnx" "${long[@]}" --dim S=9 --dim batch=3 -f -q -o "$new/t.pt2"
in_out "[3,S,8]"
expect 0 convert "$new/t.pt2" -f -o "$new/t.onnx" --dynamic ids:1=LENGTH
in_out "LENGTH]"
in_err "LENGTH 4"
expect 2 convert "$new/t.onnx" --dim T=9 -o "$new/u.pt2"
in_err "has no dimension 'T'; it has LENGTH"
expect 2 convert "$new/t.onnx" --dim LENGTH=9 --shape ids=3x8 -o "$new/u.pt2"
expect 2 convert "$tokens:make_tokens" --dynamic none:1=S -o "$new/u.onnx"
in_err "the model has no input 'none'; it has ids, mask"
expect 2 convert "$tokens:make_tokens" --dynamic ids:2=S -o "$new/u.onnx"
in_err "has 2 axes"
expect 2 convert "$tokens:make_tokens" --dynamic-batch --dynamic ids:0=N -o "$new/u.onnx"
in_err "two names, batch and N"
expect 2 convert "$tokens:make_tokens" --dynamic ids:0=S --dynamic mask:1=S -o "$new/u.onnx"
in_err "'S' would be 2 in one input and 6 in another"
expect 1 convert "$tokens:make_tokens" --dynamic ids:1=S -o "$new/u.onnx"
in_err "the module does not take any size of 'S'"
rm "$new"/t.*
clean '^m.onnx$'

# In words: with the place in the user's file, or what to do.
expect 1 convert "$model:make_sign" -o "$new/s.onnx"
in_err "decides by the values of its inputs, at model.py:28"
in_err "--exporter torchscript"
expect 1 convert "$model:make_singular" -o "$new/s.onnx"
in_err "ONNX has nothing for operator aten."
expect 1 convert "$model:make_fixed" --dynamic-batch -o "$new/s.onnx"
in_err "does not take any batch"
in_err "without --dynamic-batch"
expect 1 convert "$model:make_failing" -o "$new/s.onnx"
in_err "model.py:52: RuntimeError"
expect 1 convert "$model:make_error" -o "$new/s.onnx"
in_err "model.py:102: ValueError: no weights here"
expect 1 convert "$model:make_model" -o "$dir/none/s.onnx"
in_err "cannot write to folder"
clean '^m.onnx$'

# Weights beside the file: both are moved, missed, kept and replaced together.
mkdir "$dir/far"
expect 0 convert "$model:make_model" --external-data -q -o "$new/w.onnx"
in_out "w.onnx.data"
in_out "weights, which the file above needs beside it"
[ "$(stat -c %s "$new/w.onnx.data")" -gt 600 ] || fail "the weights are not there"
data=$(sha256sum <"$new/w.onnx.data")
mv "$new/w.onnx" "$dir/far/other.onnx"
expect 2 convert "$model:make_model" --external-data -q -o "$new/w.onnx"
in_err "w.onnx.data' is there already"
mv "$new/w.onnx.data" "$dir/far/"
quick=(-r builtin --blocks 1 --duration 20ms --warmup 20ms --min-runs 1 -t 1 -q --sysroot "$quiet")
expect 0 "$wattle" run "$dir/far/other.onnx" "${quick[@]}"
rm "$dir/far/w.onnx.data"
expect 1 "$wattle" run "$dir/far/other.onnx" "${quick[@]}"
in_err "w.onnx.data"
expect 0 convert "$model:make_model" --external-data -q -o "$new/w.onnx"
(cd "$new" && expect 0 convert "$model:make_model" --external-data -f -q -o w.onnx) || exit 1
[ "$(sha256sum <"$new/w.onnx.data")" = "$data" ] || fail "other weights"
expect 0 convert "$model:make_model" --external-data --exporter torchscript -f -q -o "$new/w.onnx"
expect 0 convert "$model:make_model" -f -o "$new/w.onnx"
in_err "w.onnx.data' is of another model"
rm "$new"/w.*
clean '^m.onnx$'

# Interrupted, nothing is left.
set -m
"$wattle" convert "$model:make_model" --external-data -o "$new/s.onnx" >"$dir/out" 2>"$dir/err" </dev/null &
pid=$!
until grep -q 'exporting' "$dir/err"; do sleep 0.1; kill -0 $pid 2>/dev/null || fail "ended"; done
kill -INT $pid
wait $pid
[ $? -eq 130 ] || fail "interrupted, but not 130"
no_out
clean '^m.onnx$'
