#!/usr/bin/env bash
# Networks that use what people export, written to ONNX by both of PyTorch's exporters: the built-in
# engine gives PyTorch's own outputs, fused (cpu) and by the plain-C kernels (reference). Needs an
# installed PyTorch.
#
# NETWORKS=all takes every network, of which some are known not to run (docs/onnx.md). EXPORTS and
# RUNTIMES say what else to try: EXPORTS='dynamo:18,23 torchscript:17' RUNTIMES='builtin onnxruntime'.
# EXPORTED=FOLDER keeps what was exported there, and takes what is there already.
. "$(dirname "$0")/lib.sh"

use_installed
python=$(torch_python) && "$python" -c 'import onnx, onnxscript' 2>/dev/null ||
    { echo "skipped: no Python with torch, onnx and onnxscript"; exit 77; }

networks=(conv_bn_acts lstm_two_ways scatters joins einsums bert_dynamic unet mobilenet_v3)
[ "${NETWORKS:-}" = all ] && networks=()
runtimes=${RUNTIMES:-builtin}
folder=${EXPORTED:-$dir}

# Into FOLDER/EXPORTER, each file's own inputs and outputs beside it.
export_all() {
    local exporter=$1 opsets=$2
    [ -d "$folder/$exporter" ] && [ -n "${EXPORTED:-}" ] && return
    mkdir -p "$folder/$exporter"
    "$python" "$root/tests/tools/export_models.py" "$folder/$exporter" "$exporter" "$opsets" \
        "${networks[@]}" >"$dir/out" 2>"$dir/err" || [ ${#networks[@]} -eq 0 ] ||
        fail "$exporter, opset $opsets"
}

# Whether the file runs with PyTorch's outputs; else why not, in a line.
runs() {
    local file=$1 runtime=$2 name code inputs
    local -a providers=()
    name=${file##*/}
    name=${file%/*}/${name%%.*}
    inputs=$name.in.npz
    [ -e "$file.in.npz" ] && inputs=$file.in.npz
    [ "$runtime" = builtin ] && providers=(--provider cpu,reference)
    "$wattle" run "$file" -r "$runtime" "${providers[@]}" --input "$inputs" \
        --expect "$name.out.npz" -t 1 --blocks 1 --duration 20ms --warmup 20ms --min-runs 1 -q \
        --sysroot "$quiet" >"$dir/out" 2>"$dir/err"
    code=$?
    { [ $code -eq 0 ] || [ $code -eq 3 ]; } && grep -q '^outputs agree' "$dir/out" && return
    echo "${file##*/}: $runtime: exit $code: $(cat "$dir/err") $(grep -h '^outputs' "$dir/out")"
    return 1
}

# One exporter and opset on all runtimes.
sweep() {
    local exporter=$1 opset=$2 runtime file good bad=0 count=0
    for file in "$folder/$exporter"/*."$opset".onnx; do
        [ -e "$file" ] && count=$((count + 1))
    done
    [ $count -gt 0 ] || fail "$exporter wrote nothing in opset $opset"
    for runtime in $runtimes; do
        good=0
        for file in "$folder/$exporter"/*."$opset".onnx; do
            runs "$file" "$runtime" && good=$((good + 1))
        done
        [ ${#networks[@]} -gt 0 ] || echo "$exporter $opset: $runtime runs $good of $count"
        [ $good -eq $count ] || bad=1
    done
    return $bad
}

failed=0
for item in ${EXPORTS:-torchscript:17 dynamo:23}; do
    exporter=${item%%:*}
    export_all "$exporter" "${item#*:}"
    for opset in $(echo "${item#*:}" | tr , ' '); do
        sweep "$exporter" "$opset" || failed=1
    done
done
[ $failed -eq 0 ] || fail "not everything that was exported runs"
