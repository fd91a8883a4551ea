#!/usr/bin/env bash
# Networks that use what people export, written to ONNX by both of PyTorch's exporters: the built-in
# engine gives PyTorch's own outputs, fused (cpu) and by the plain-C kernels (reference). Needs an
# installed PyTorch; NETWORKS=all takes every network, of which some are known not to run.
. "$(dirname "$0")/lib.sh"

use_installed
python=$(torch_python) && "$python" -c 'import onnx, onnxscript' 2>/dev/null ||
    { echo "skipped: no Python with torch, onnx and onnxscript"; exit 77; }

networks=(conv_bn_acts lstm_two_ways scatters joins einsums bert_dynamic unet mobilenet_v3)
[ "${NETWORKS:-}" = all ] && networks=()

# Exports and runs; the files' own inputs and outputs are beside them.
exported() {
    local exporter=$1 opset=$2 file name code failed=0
    mkdir "$dir/$exporter"
    "$python" "$root/tests/tools/export_models.py" "$dir/$exporter" "$exporter" "$opset" "${networks[@]}" \
        >"$dir/out" 2>"$dir/err" || [ ${#networks[@]} -eq 0 ] || fail "$exporter, opset $opset"
    for file in "$dir/$exporter"/*.onnx; do
        name=${file##*/}
        name=$dir/$exporter/${name%%.*}
        "$wattle" run "$file" -r builtin --provider cpu,reference --input "$name.in.npz" --expect "$name.out.npz" -t 1 --blocks 1 \
            --duration 20ms --warmup 20ms --min-runs 1 -q --sysroot "$quiet" >"$dir/out" 2>"$dir/err"
        code=$?
        if [ $code -ne 0 ] && [ $code -ne 3 ] || ! grep -q '^outputs agree' "$dir/out"; then
            echo "${file##*/}: exit $code: $(cat "$dir/err")"
            failed=1
        fi
    done
    [ $failed -eq 0 ] || fail "what $exporter wrote in opset $opset does not run"
}

exported torchscript 17
exported dynamo 23
