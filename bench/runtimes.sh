#!/usr/bin/env bash
# bench/runtimes.sh FOLDER: the built-in models on all runtimes, PyTorch's variants among them, native
# and converted (PyTorch's from ONNX by onnx2torch, the others' from PyTorch by its exporter), at batch
# 1 and 64 and 1 and 2 threads; FOLDER gets JSON and Markdown. A quiet machine and more than an hour are
# needed; all rows of a table are of one run, so that ratios hold. BERT at batch 64 has 32 tokens.
set -euo pipefail
cd "$(dirname "$0")/.."
wattle=${BUILD:-build}/wattle
out=${1:?folder for the results}
mkdir -p "$out"
base=builtin,onnxruntime@1.32.0,openvino
all=$base,pytorch:aoti,pytorch:torchscript-optimized,pytorch:eager,pytorch:compile

run() { # NAME ARGUMENT...
    local name=$1
    shift
    "$wattle" run "$@" --blocks 1 --store "$out/$name.db" --json "$out/$name.json" \
        --markdown "$out/$name.md" | tee "$out/$name.txt" || [ "${PIPESTATUS[0]}" -eq 3 ]
}

short=(--duration "${DURATION:-3s}" --warmup 3s)
long=(--duration 1s --warmup 2s --min-runs 3)
export_onnx() { # MODEL NAME [SHAPE...]: as PyTorch's exporter writes it
    [ -e "$out/$2.onnx" ] || "$wattle" convert "$1" --form native --dynamic-batch "${@:3}" -o "$out/$2.onnx"
}

for model in resnet50 mobilenet_v2 bert_base; do
    size=() shapes=()
    if [ "$model" = bert_base ]; then
        size=(--dim S=32)
        for input in input_ids attention_mask token_type_ids; do
            shapes+=(--shape "$input=int64:1x32")
        done
    fi
    export_onnx "$model" "$model-1"
    export_onnx "$model" "$model-64" "${shapes[@]}"
    run "$model-b1" "$model" -b 1 -t 1,2 "${short[@]}" --form native,converted -r "$all"
    run "$model-b1-exported" "$out/$model-1.onnx" -b 1 -t 1,2 "${short[@]}" -r "$base"
    run "$model-b64" "$model" "${size[@]}" -b 64 -t 1,2 "${long[@]}" --form native,converted -r "$all"
    run "$model-b64-exported" "$out/$model-64.onnx" -b 64 -t 1,2 "${long[@]}" -r "$base"
done
