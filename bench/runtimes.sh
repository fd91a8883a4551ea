#!/usr/bin/env bash
# bench/runtimes.sh FOLDER: the built-in models on all runtimes, PyTorch's variants among them, native
# and converted, at batch 1 and 64 and 1 and 2 threads; FOLDER gets JSON and Markdown. A quiet machine
# and most of an hour are needed; interleaved, so that ratios hold. BERT at batch 64 has 32 tokens.
set -euo pipefail
cd "$(dirname "$0")/.."
wattle=${BUILD:-build}/wattle
out=${1:?folder for the results}
mkdir -p "$out"
base=builtin,onnxruntime@1.32.0,openvino
models=(resnet50 mobilenet_v2 bert_base)

run() { # NAME ARGUMENT...
    local name=$1
    shift
    "$wattle" run "$@" --blocks 1 --store "$out/$name.db" --json "$out/$name.json" \
        --markdown "$out/$name.md" | tee "$out/$name.txt" || [ "${PIPESTATUS[0]}" -eq 3 ]
}

short=(--duration "${DURATION:-3s}" --warmup 3s)
long=(--duration 1s --warmup 2s --min-runs 3)
run batch1 "${models[@]}" -b 1 -t 1,2 "${short[@]}" \
    -r "$base,pytorch:aoti,pytorch:torchscript-optimized,pytorch:eager,pytorch:compile"
run batch1-converted "${models[@]}" -b 1 -t 1,2 "${short[@]}" --form native,converted \
    -r builtin,pytorch:aoti,pytorch:eager
run batch64 resnet50 mobilenet_v2 -b 64 -t 1,2 "${long[@]}" \
    -r "$base,pytorch:aoti,pytorch:torchscript-optimized,pytorch:eager"
run batch64-bert bert_base --dim S=32 -b 64 -t 1,2 "${long[@]}" \
    -r "$base,pytorch:aoti,pytorch:torchscript-optimized,pytorch:eager"
