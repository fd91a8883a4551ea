#!/usr/bin/env bash
# Formats, forms and what is made before it can be measured, with a shell script in the place of
# PyTorch's Python: no PyTorch is needed, and none of its rows completes.
. "$(dirname "$0")/lib.sh"
cd "$dir" || exit 1

# An installation whose Python does what is in the file "mode".
site=$dir/venv/lib/python3.11/site-packages
mkdir -p "$site/torch/lib" "$site/torch-2.13.0.dist-info" "$dir/venv/bin"
printf 'Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0\n' >"$site/torch-2.13.0.dist-info/METADATA"
cp /bin/true "$site/torch/lib/libtorch_cpu.so"
cat >"$dir/venv/bin/python3.11" <<'P'
#!/bin/sh
cd "$(dirname "$0")/../.."
echo run >>runs
cp "$4" request
result=$(sed -n 's/^ *"result": "\(.*\)".*/\1/p' "$4")
paths=$(sed -n 's/^ *"path": "\(.*\)".*/\1/p' "$4")
echo step one
. ./mode
P
chmod +x "$dir/venv/bin/python3.11"
ln -s python3.11 "$dir/venv/bin/python3"
mkdir -p "$WATTLE_HOME"
good='for p in $paths; do echo made >"$p"; done
echo '\''{"form": "converted", "how": "fake 1.0", "depends": []}'\'' >"$result"'
echo "$good" >mode
expect 0 "$wattle" runtimes link pytorch "$dir/venv"
expect 0 "$wattle" runtimes
in_out "    variants: "
run() { "$wattle" run --blocks 2 --duration 50ms --warmup 20ms --sysroot "$quiet" "$@"; }
"$here/make_onnx.py" m.onnx x=Nx3 n=int64:4

# Which cells there are.
expect 0 run resnet50 -r pytorch,pytorch:eager,builtin --form native,converted -t 1 --dry-run
[ "$(grep -c '^cell' out)" -eq 5 ] || fail "not 5 cells"
in_out "resnet50 native on pytorch:aoti 2.13.0:cpu"; in_out "resnet50 converted on pytorch:eager 2.13.0:cpu"
expect 0 run resnet50 -r pytorch,builtin -t 1 --dry-run
[ "$(grep -c '^cell' out)" -eq 2 ] || fail "not 2 cells"
in_out "resnet50 native on pytorch:aoti"
expect 0 run m.onnx -r pytorch:compile --range n=0..3 -t 1 --dry-run
in_out "m converted on pytorch:compile"
expect 0 run m.onnx -r pytorch --form native,converted --range n=0..3 -t 1 --dry-run
[ "$(grep -c '^cell' out)" -eq 1 ] || fail "a file has a native form"
expect 2 run m.onnx -r pytorch --form native --range n=0..3 --dry-run
in_err "no native form"
expect 2 run m.onnx -r builtin --form converted --range n=0..3 --dry-run
in_err "chooses nothing here"
expect 2 run m.onnx --form nativ --dry-run
in_err "native, converted"
expect 2 run resnet50 -r pytorch:eagr --dry-run

# PyTorch's own formats, told by what the file holds.
archive() { python3 -c 'import sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w") as z:
    for name in sys.argv[2:]: z.writestr(name, "x")' "$@"; }
archive aoti.pt2 m/archive_format m/data/aotinductor/model/x.wrapper.so
archive exported.pt2 m/archive_format m/models/model.json
archive script.pt m/data.pkl m/code/__torch__.py
archive weights.pth m/data.pkl m/data/0
echo 'def make(): pass' >net.py
expect 0 run net.py:make -r pytorch:eager,builtin -t 1 --dry-run
in_err "builtin is left out for net.py:make: it reads no model of format python"
expect 0 run script.pt -r pytorch:eager,pytorch:torchscript -t 1 --dry-run
in_err "pytorch:eager is left out for script"
expect 2 run net.py:make -r pytorch --form native -t 1 --dry-run
in_err "chooses nothing here"
expect 0 run aoti.pt2 exported.pt2 script.pt net.py:make -t 1 --dry-run
in_out "aoti on pytorch:aoti"; in_out "exported on pytorch:aoti"
in_out "script on pytorch:torchscript"; in_out "net.py:make on pytorch:aoti"
expect 0 run exported.pt2 net.py:make -r pytorch:eager,pytorch:torchscript-frozen -t 1 --dry-run
[ "$(grep -c '^cell' out)" -eq 4 ] || fail "not 4 cells"
expect 1 run weights.pth; in_err "pickled"; in_err "FILE.py:FUNCTION"
expect 1 run script.pt -r pytorch:eager; in_err "format torchscript"; in_err "pytorch:torchscript"
expect 1 run aoti.pt2 -r builtin; in_err "format aoti"; in_err "pytorch:aoti"
expect 2 run net.py; in_err "net.py:make_model"
expect 2 run net.py:1x; in_err "no name of a function"
expect 2 run nothing.py:make; in_err "is not there"
echo junk >junk.pt2
expect 1 run junk.pt2; in_err "no file that PyTorch writes"
WATTLE_HOME=$dir/none expect 1 run exported.pt2; in_err "wattle runtimes install pytorch"

# Compiled once for each number of threads, told, and kept with how it was made.
expect 3 run m.onnx -r builtin,pytorch --range n=0..3 -b 2 -t 1,2 --json a.json
[ "$(wc -l <runs)" -eq 2 ] || fail "made $(wc -l <runs) times"
in_err "making m converted for pytorch:aoti"; in_err "step one"
in_out "pytorch:aoti converted: fake 1.0"
json a.json '[.cells[] | select(.runtime.variant == "aoti") | .model | [.form, .how]] | unique ==
    [["converted", "fake 1.0"]]'
json a.json '[.cells[] | select(.runtime.name == "builtin") | .model | [.form, .how]] | unique == [[null, null]]'
grep -q '"batch": 2' request || fail "the batch is not handed on"
python3 - <<'P' || fail "the inputs are not handed on: $(cat request)"
import json
inputs = json.load(open("request"))["inputs"]
assert inputs == [{"name": "x", "type": "float32", "shape": [2, 3]},
                  {"name": "n", "type": "int64", "shape": [4], "range": [0, 3]}], inputs
P
expect 3 run m.onnx -r pytorch --range n=0..3 -b 2 -t 1
[ "$(wc -l <runs)" -eq 2 ] || fail "not used again"
expect 3 run m.onnx -r pytorch --range n=0..3 -b 4 -t 1
[ "$(wc -l <runs)" -eq 3 ] || fail "one batch's is used for another"

# Without -b the batch is the one that the model was made for.
cat >mode <<'P'
for p in $paths; do
    echo '{"schema": 1, "inputs": [{"name": "x", "type": "float32", "shape": [7, 3]}], "outputs": []}' >"$p"
done
echo '{"form": "", "how": "fake 1.0", "depends": []}' >"$result"
P
expect 0 run net.py:make -r pytorch:eager -t 1 --dry-run
in_out "batch of the file"
expect 3 run net.py:make -r pytorch:eager -t 1 --json d.json
grep -q '"batch": 0' request || fail "a batch is asked for"
json d.json '.cells[0] | .batch == 7 and .model.form == null and .model.how == "fake 1.0"'
expect 3 run net.py:make -r pytorch:eager -t 1 --shape x=5x3 --json d.json
grep -q '"batch": 5' request || fail "the batch of --shape is not asked for"
json d.json '.cells[0].batch == 5'
rm -f runs && touch runs

# What cannot be made is that cell's failure, told once; the others are measured.
echo "echo '{\"error\": \"unsupported\", \"text\": \"no such operator\", \"hint\": \"write it\"}' >\"\$result\"; exit 1" >mode
expect 3 run m.onnx -r builtin,pytorch --range n=0..3 -b 3 -t 1,2 --json b.json
[ "$(wc -l <runs)" -eq 2 ] || fail "tried more than once for a number of threads"
in_err "no such operator"; in_err "write it"
json b.json '[.cells[] | select(.runtime.name == "builtin") | .error] == [null, null]'
json b.json '[.cells[] | select(.runtime.variant == "aoti") | .error.text] | length == 2 and
    all(test("no such operator"))'

# Outputs that are not the model's: exit code 5.
echo "echo '{\"error\": \"mismatch\", \"text\": \"outputs differ by 0.5\"}' >\"\$result\"; exit 1" >mode
expect 5 run m.onnx -r builtin,pytorch --range n=0..3 -b 5 -t 1 --json c.json
in_out "DIFFER"; in_out "outputs differ by 0.5"
json c.json '[.cells[] | select(.runtime.variant == "aoti") | .agreement.ok, .verdict] == [false, "INVALID"]'

# Interrupted while it is made: nothing was measured, nothing is kept, nothing runs on.
echo 'echo $$ >pid; exec sleep 60' >mode
set -m
run m.onnx -r pytorch --range n=0..3 -b 6 -t 1 >out 2>err </dev/null &
pid=$!
for _ in $(seq 100); do [ -s pid ] && break; sleep 0.1; done
kill -INT -- "-$pid"
wait "$pid"
[ $? -eq 130 ] || fail "interrupted, but not 130"
sleep 0.3
kill -0 "$(cat pid)" 2>/dev/null && fail "what was started runs on"
no_out

"$here/validate_json.py" "$root/docs/wattle-1.schema.json" "$dir"/[abcd].json >out 2>err ||
    [ $? -eq 77 ] || fail "not wattle/1"
