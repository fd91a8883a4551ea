#!/usr/bin/env bash
# tests/cli/real_install.sh: with the real Python and pip, installs what this machine can run into
# $WATTLE_HOME (kept: a second time nothing is fetched), and checks that each installation is whole
# and gives the outputs of the built-in engine. Needs a package index; ends with 77 when there is no
# python3. It is called by CI, not by make check.
set -euo pipefail
cd "$(dirname "$0")/../.."
wattle=${BUILD:-build}/wattle
export WATTLE_HOME=${WATTLE_HOME:-${XDG_DATA_HOME:-$HOME/.local/share}/wattle}
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed() { echo "FAIL: $*" >&2; exit 1; }

packages=(onnxruntime onnxruntime=1.31.1 onnxruntime-openvino openvino pytorch)
"$wattle" runtimes install "${packages[@]}" | tee "$work/first"
"$wattle" runtimes install "${packages[@]}" >"$work/second"
[ "$(grep -c 'was there already' "$work/second")" -eq ${#packages[@]} ] || failed "a second time it installs again"

for note in "$WATTLE_HOME"/runtimes/*/wattle.json; do
    [ "$(jq -r .linked "$note")" = false ] || continue
    (cd "$(dirname "$note")" && sha256sum --check --strict --quiet wattle.sha256) || failed "$note: files have changed"
done
[ -z "$(find "$WATTLE_HOME/runtimes" -maxdepth 1 -name '.*.partial')" ] || failed "something half-installed"

# Python's part of PyTorch works from where it was moved to.
for prefix in "$WATTLE_HOME"/runtimes/pytorch-*/bin; do
    "$prefix/python3" -c 'import torch, numpy, onnx, onnxscript; print("torch", torch.__version__, torch.ones(2).sum().item())' ||
        failed "PyTorch cannot be imported"
done

"$wattle" runtimes | tee "$work/list"
for name in onnxruntime onnxruntime:openvino openvino pytorch; do
    grep -q "^$name .*private" "$work/list" || failed "$name is not listed"
done
! grep -q 'not usable' "$work/list" || failed "an installation cannot be used"

# Every one of them on one model; verdicts on a CI machine are not the question.
"$wattle" run tests/fixtures/onnx/ir3.onnx -b 2 -t 1 --blocks 1 --duration 200ms --warmup 100ms -q \
    -r builtin,onnxruntime@1.31.1,onnxruntime@1.32.0,onnxruntime:openvino,openvino \
    --store "$work/run.db" --json "$work/run.json" || [ $? -eq 3 ] || failed "a run with all of them"
jq -e '[.cells[] | select(.error == null)] | length == 5' "$work/run.json" >/dev/null ||
    failed "not five runtimes: $(jq -c '[.cells[] | [.runtime.name, .runtime.version, .error]]' "$work/run.json")"
jq -e '[.cells[].agreement.ok] | all(. != false)' "$work/run.json" >/dev/null || failed "outputs differ"
jq -e '[.cells[].runtime.version] | index("1.31.1") and index("1.32.0") and index("1.24.1")' \
    "$work/run.json" >/dev/null || failed "a version was not the one asked for"

# What only OpenVINO reads is measured on it alone.
for model in relu relu.tflite relu.xml; do
    "$wattle" run "tests/fixtures/openvino/$model" -t 1 --blocks 1 --duration 50ms --warmup 50ms -q \
        --json "$work/run.json" >/dev/null || [ $? -eq 3 ] || failed "$model"
    jq -e '[.cells[] | [.runtime.name, .error]] == [["openvino", null]]' "$work/run.json" >/dev/null ||
        failed "$model: $(jq -c '[.cells[] | [.runtime.name, .error]]' "$work/run.json")"
done
"$wattle" run tests/fixtures/openvino/relu.xml -t 1 --blocks 1 -q --range y=0..1 >"$work/out" && failed "a wrong name"
grep -q "no input 'y'" "$work/out" || failed "$(cat "$work/out")"

# One that no index has: a clear error, and nothing half-installed.
! "$wattle" runtimes install onnxruntime=0.0.1 -q 2>"$work/err" || failed "a version that does not exist"
grep -q "does not exist for this Python and machine\|cannot reach a package index" "$work/err" ||
    failed "$(cat "$work/err")"
[ ! -e "$WATTLE_HOME/runtimes/onnxruntime-0.0.1" ] || failed "a version that does not exist is there"
echo "all installations work"
