#!/usr/bin/env bash
# bench/gap.sh [MODEL [THREADS]]: CPU-seconds per inference when requests come with pauses of 20 ms,
# for --spin default and --spin off, against no pause at all. Threads that wait by spinning use CPU
# time (and energy) in the pause, which no benchmark without pauses shows.
set -euo pipefail
cd "$(dirname "$0")/.."
wattle=${BUILD:-build}/wattle
model=${1:-mobilenet_v2} threads=${2:-$(nproc)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

runtimes=builtin
for name in onnxruntime openvino; do
    "$wattle" run "$model" -r $name --dry-run >/dev/null 2>&1 && runtimes+=,$name:cpu
done
printf '%-24s %-8s %8s %14s %10s %10s\n' RUNTIME SPIN GAP CPU-ms/INFER. p50-ms VERDICT
for spin in default short off; do
    for gap in 0 20ms; do
        "$wattle" run "$model" -r "$runtimes" -t "$threads" --spin $spin --gap $gap -q \
            --blocks "${BLOCKS:-2}" --duration "${DURATION:-3s}" --warmup 2s \
            --store "$work/x.db" --json "$work/x.json" >/dev/null || [ $? -eq 3 ]
        jq -r '.cells[] | [.runtime.name + " " + (.runtime.version // "-"),
            (.cpu_s_per_inference // 0) * 1000, .latency_ms.p50 // "-", .verdict] | @tsv' "$work/x.json" |
            while IFS=$'\t' read -r name cpu p50 verdict; do
                printf '%-24s %-8s %8s %14.2f %10.2f %10s\n' "$name" $spin $gap "$cpu" "$p50" "$verdict"
            done
    done
done
