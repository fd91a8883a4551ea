#!/usr/bin/env bash
# bench/overhead.sh: what wattle adds to a measured latency. The p50 that `wattle run` reports beside
# that of a bare C loop over the same library (bench/engine_loop.c over the engine, bench/ort_loop_c.c
# over ONNX Runtime) with the same environment and settings and as many input sets (one set alone
# stays in the cache, which is worth 1 % of MobileNetV2), in turns; the medians over the rounds are
# compared. To be within 0.5 % or 2 us.
#
#   BUILD=DIR (default build)  ROUNDS=N (7)  SECONDS_EACH=S (3)  THREADS=1  MODELS="mobilenet_v2 ..."
#   RUNTIMES="builtin onnxruntime" (those that are here)
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build} rounds=${ROUNDS:-7} seconds=${SECONDS_EACH:-3} threads=${THREADS:-1}
home=${WATTLE_HOME:-${XDG_DATA_HOME:-$HOME/.local/share}/wattle}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

make -s -j2 BUILD="$build" all
compile() { ${CC:-cc} -O2 -std=gnu17 -Iinclude -Isrc "$@"; }
compile bench/engine_loop.c -o "$work/builtin" "$build/libwattle-engine.a" -fopenmp -ldnnl -lprotobuf-c \
    -lcrypto -lm
compile bench/ort_loop_c.c -o "$work/onnxruntime" "$build/lib/runtime.a" "$build/lib/base.a" -lcrypto \
    -lm
if [ -z "${RUNTIMES:-}" ]; then
    RUNTIMES=builtin
    ! "$build/wattle" run resnet50 -r onnxruntime --provider cpu --dry-run >"$work/plan" 2>&1 ||
        RUNTIMES="builtin onnxruntime"
fi

dims() { [ "$1" != bert_base ] || echo "-d S=128"; }

run_wattle() { # runtime model: prints p50 in ms, and keeps what the loop needs to do the same
    "$build/wattle" run "$2" -q -r "$1" --provider cpu -t "$threads" --blocks 1 --duration "${seconds}s" \
        --store "$work/store.db" --json "$work/out.json" >/dev/null || [ $? -eq 3 ]
    jq -r '.cells[0].environment | to_entries[] | select(.key | test("^(OMP|GOMP|ORT)")) |
        "\(.key)=\(.value)"' "$work/out.json" >"$work/environment"
    jq -r '.cells[0].settings.session_entries // {} | to_entries[] | "-e", "\(.key)=\(.value)"' \
        "$work/out.json" >"$work/entries"
    jq -r '.cells[0].runtime.library // ""' "$work/out.json" >"$work/library"
    jq -r '.cells[0].latency_ms.p50' "$work/out.json"
}

run_loop() { # runtime model
    local library=()
    [ "$1" = builtin ] || library=("$(cat "$work/library")")
    # shellcheck disable=SC2046
    env $(cat "$work/environment") "$work/$1" "${library[@]}" "$home/models/$2.onnx" -t "$threads" \
        -s "$seconds" -i 4 $(dims "$2") $([ "$1" = builtin ] || cat "$work/entries") | awk '{ print $2 }'
}

median() { sort -n "$1" | awk '{ x[NR] = $1 } END { print x[int((NR + 1) / 2)] }'; }

printf '%-12s %-14s %8s %10s %10s %10s %8s\n' RUNTIME MODEL THREADS 'wattle ms' 'loop ms' 'diff us' 'diff %'
for runtime in $RUNTIMES; do
    for model in ${MODELS:-mobilenet_v2 resnet50 bert_base}; do
        "$build/wattle" models build "$model" >/dev/null 2>&1
        : >"$work/w" && : >"$work/l"
        for _ in $(seq "$rounds"); do
            run_wattle "$runtime" "$model" >>"$work/w"
            run_loop "$runtime" "$model" >>"$work/l"
        done
        awk -v r="$runtime" -v m="$model" -v t="$threads" -v w="$(median "$work/w")" \
            -v l="$(median "$work/l")" 'BEGIN { printf "%-12s %-14s %8d %10.4f %10.4f %10.1f %8.2f\n",
                r, m, t, w, l, (w - l) * 1000, (w / l - 1) * 100 }'
    done
done
