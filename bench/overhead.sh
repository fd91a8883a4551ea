#!/usr/bin/env bash
# bench/overhead.sh: what wattle adds to a measured latency. The p50 that `wattle run` reports beside
# that of a bare C loop over the engine (bench/engine_loop.c) with the same environment and as many
# input sets (one set alone stays in the cache, which is worth 1 % of MobileNetV2), in turns; the
# medians over the rounds are compared. To be within 0.5 % or 2 us.
#
#   BUILD=DIR (default build)  ROUNDS=N (7)  SECONDS_EACH=S (3)  THREADS=1  MODELS="mobilenet_v2 ..."
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build} rounds=${ROUNDS:-7} seconds=${SECONDS_EACH:-3} threads=${THREADS:-1}
home=${WATTLE_HOME:-${XDG_DATA_HOME:-$HOME/.local/share}/wattle}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

make -s -j2 BUILD="$build" all
${CC:-cc} -O2 -std=gnu17 -Iinclude bench/engine_loop.c -o "$work/loop" "$build/libwattle-engine.a" \
    -fopenmp -ldnnl -lprotobuf-c -lcrypto -lm

dims() { [ "$1" != bert_base ] || echo "-d S=128"; }

run_wattle() { # model: prints p50 in ms, and keeps the worker's environment for the loop
    "$build/wattle" run "$1" -q -r builtin -t "$threads" --blocks 1 --duration "${seconds}s" \
        --store "$work/store.db" --json "$work/out.json" >/dev/null || [ $? -eq 3 ]
    jq -r '.cells[0].environment | to_entries[] | select(.key | test("^(OMP|GOMP)")) |
        "\(.key)=\(.value)"' "$work/out.json" >"$work/environment"
    jq -r '.cells[0].latency_ms.p50' "$work/out.json"
}

run_loop() {
    # shellcheck disable=SC2046
    env $(cat "$work/environment") "$work/loop" "$home/models/$1.onnx" -t "$threads" -s "$seconds" -i 4 \
        $(dims "$1") | awk '{ print $2 }'
}

median() { sort -n "$1" | awk '{ x[NR] = $1 } END { print x[int((NR + 1) / 2)] }'; }

printf '%-14s %8s %10s %10s %10s %8s\n' MODEL THREADS 'wattle ms' 'loop ms' 'diff us' 'diff %'
for model in ${MODELS:-mobilenet_v2 resnet50 bert_base}; do
    "$build/wattle" models build "$model" >/dev/null 2>&1
    : >"$work/w" && : >"$work/l"
    for _ in $(seq "$rounds"); do
        run_wattle "$model" >>"$work/w"
        run_loop "$model" >>"$work/l"
    done
    awk -v m="$model" -v t="$threads" -v w="$(median "$work/w")" -v l="$(median "$work/l")" 'BEGIN {
        printf "%-14s %8d %10.4f %10.4f %10.1f %8.2f\n", m, t, w, l, (w - l) * 1000, (w / l - 1) * 100
    }'
done
