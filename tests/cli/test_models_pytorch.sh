#!/usr/bin/env bash
# Built-in models in PyTorch's formats. What needs PyTorch itself is skipped where it is not installed.
. "$(dirname "$0")/lib.sh"

expect 2 "$wattle" models build mobilenet_v2 --format pytroch
in_err "not built in format 'pytroch'"
in_err "onnx and pytorch"
expect 2 "$wattle" models build mobilenet --format pytorch
in_err "did you mean 'mobilenet_v2'"
expect 2 "$wattle" models build mobilenet_v2 --batch 2
in_err "--batch without --format pytorch"
for batch in 0 x 1,,2 99999 2,x; do
    expect 2 "$wattle" models build mobilenet_v2 --format pytorch --batch "$batch"
    in_err "batch"
done
mkdir "$dir/empty"
expect 1 env PATH="$dir/empty" "$wattle" models build mobilenet_v2 --format pytorch
in_err "wattle runtimes install pytorch"
no_out

use_installed
"$wattle" runtimes | grep -q '^pytorch ' || { echo "skipped: PyTorch is not installed"; exit 77; }

# The plain module and the built-in engine give the same answers.
"$wattle" run mobilenet_v2 -r builtin,pytorch:eager -b 2 -t 1 --blocks 1 --duration 100ms --warmup 100ms \
    --json "$dir/run.json" >"$dir/out" 2>"$dir/err" || [ $? -eq 3 ] || fail "a run beside the built-in engine"
json "$dir/run.json" '[.cells[].agreement | select(.reference == "builtin:cpu") | .max_rel_error] |
    length == 1 and .[0] < 1e-5'
command -v g++ >/dev/null || { echo "skipped: no g++"; exit 77; }

# Interrupted, nothing is left of it.
expect 0 "$wattle" models build mobilenet_v2
set -m
"$wattle" models build mobilenet_v2 --format pytorch >"$dir/out" 2>"$dir/err" </dev/null &
pid=$!
until grep -q 'exporting\|compiling' "$dir/err"; do sleep 0.1; kill -0 $pid 2>/dev/null || fail "ended"; done
kill -INT $pid
wait $pid
[ $? -eq 130 ] || fail "interrupted, but not 130"
no_out
[ "$(ls -A "$WATTLE_HOME/models" | tr '\n' ' ')" = ".lock mobilenet_v2.onnx " ] ||
    fail "left: $(ls -A "$WATTLE_HOME/models")"

expect 0 "$wattle" models build mobilenet_v2 --format pytorch --batch 2
folder=$WATTLE_HOME/models/mobilenet_v2-pytorch-b2
[ "$(ls "$folder" | tr '\n' ' ')" = "aoti-native.pt2 aoti.pt2 exported.pt2 torchscript.pt " ] ||
    fail "files: $(ls "$folder")"
for file in aoti-native.pt2 aoti.pt2 exported.pt2 torchscript.pt; do
    in_out "$folder/$file"
    python3 - "$folder/$file" >"$dir/note.json" <<'PY' || fail "no note in $file"
import sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
roots = {name.split("/")[0] for name in archive.namelist()}
assert len(roots) == 1 and archive.testzip() is None
print(archive.read(roots.pop() + "/extra/wattle.json").decode())
PY
    json "$dir/note.json" '.form == "native" and .max_rel_error < 1e-5 and
        .inputs == [{"name": "input", "type": "float32", "shape": [2, 3, 224, 224]}] and
        .outputs == [{"name": "logits", "type": "float32", "shape": [2, 1000]}]'
    case $file in
    aoti.pt2) json "$dir/note.json" '.variant == "aoti" and .isa != "" and
                                     (.isa | contains("AVX512") | not)' ;;
    aoti-native.pt2) json "$dir/note.json" '.variant == "aoti" and .isa != ""' ;;
    torchscript.pt) json "$dir/note.json" '.variant == "torchscript"' ;;
    esac
done
expect 0 "$wattle" models
in_out "$folder/aoti.pt2"
