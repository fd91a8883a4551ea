#!/usr/bin/env bash
# Real models on the built-in engine, as a user runs them, only shorter.
. "$(dirname "$0")/lib.sh"

expect 0 "$wattle" models
in_out "not built"; in_out "25.56 M"; in_out "109.48 M"
# The folder may be called anything.
mkdir -p "$dir/a[b]*/models/resnet50-pytorch" && echo x >"$dir/a[b]*/models/resnet50-pytorch/exported.pt2"
WATTLE_HOME="$dir/a[b]*" expect 0 "$wattle" models list
in_out "$dir/a[b]*/models/resnet50-pytorch/exported.pt2"
expect 0 "$wattle" models build mobilenet_v2
in_out "$WATTLE_HOME/models/mobilenet_v2.onnx"
expect 0 "$wattle" models
grep -q '^mobilenet_v2.*MiB' "$dir/out" || fail "the built model is not listed with its size"
[ "$(ls "$WATTLE_HOME/models")" = mobilenet_v2.onnx ] || fail "more than the model was left"

# A disk that is full: one line, no partial file.
(ulimit -f 2000; expect 1 "$wattle" models build resnet50) || exit 1
in_err "resnet50"
[ "$(ls "$WATTLE_HOME/models")" = mobilenet_v2.onnx ] || fail "a partial file was left"

quick=(--blocks 1 --duration 200ms --min-runs 3 --warmup 300ms --sysroot "$quiet")
expect 0 "$wattle" run mobilenet_v2 -r builtin -t 1 --provider cpu,reference "${quick[@]}" \
    --json "$dir/a.json"
json "$dir/a.json" '.cells | length == 2'
json "$dir/a.json" '[.cells[] | select(.provider == "cpu") | .agreement][0]
    | .ok == true and .reference == "builtin:reference" and .max_rel_error < 1e-4'
json "$dir/a.json" '.cells[0] | .provider == "cpu" and .rank == 1' # the reference cannot win
json "$dir/a.json" '.cells[0].settings | .threads == 1 and (.kernels | test("oneDNN"))'
json "$dir/a.json" '.cells[0].environment.OMP_NUM_THREADS == "1"'
json "$dir/a.json" '.cells[0].environment | has("OMP_WAIT_POLICY") and has("GOMP_SPINCOUNT")'
json "$dir/a.json" '.cells[0] | .load_ms > 0 and .first_ms > 0 and .latency_ms.p50 > 0'
json "$dir/a.json" '.cells[0].model | .parameters == 3504872 and (.sha256 | length == 64)'
in_out "outputs agree with builtin:reference"

# A cached file that is damaged is not measured under the model's name.
printf 'xx' | dd of="$WATTLE_HOME/models/mobilenet_v2.onnx" bs=1 seek=5000000 conv=notrunc status=none
expect 0 "$wattle" run mobilenet_v2 -r builtin -t 1 "${quick[@]}" --json "$dir/d.json"
in_err "was damaged and is written anew"
json "$dir/d.json" '.cells[0].model.parameters == 3504872'

# The same file under another name is the same model; --verify compares with the reference.
cp "$WATTLE_HOME/models/mobilenet_v2.onnx" "$dir/mine.onnx"
expect 0 "$wattle" run "$dir/mine.onnx" -r builtin -b 2 "${quick[@]}" --verify --json -
json "$dir/out" '.cells[0] | .model.name == "mine" and .batch == 2 and .agreement.ok == true'

# BERT: several inputs, a second symbolic dimension, its size from the file or from --dim.
expect 0 "$wattle" run bert_base -r builtin --dim S=16 "${quick[@]}" --json -
json "$dir/out" '.cells[0].shapes.inputs | length == 3 and .[0].shape == [1, 16]'
expect 2 "$wattle" run bert_base -r builtin --dim T=16 "${quick[@]}"
in_err "no symbolic dimension 'T'"
expect 0 "$wattle" run bert_base -r builtin --dry-run
in_out "cell 1: bert_base on builtin:cpu"
nothing_runs
