#!/usr/bin/env bash
# bench/overhead.sh: what wattle adds to a measured latency. The p50 that `wattle run` reports beside
# that of a bare C loop over the same library (bench/engine_loop.c over the engine, bench/ort_loop_c.c
# over ONNX Runtime) with the same environment and settings and as many input sets (one set alone
# stays in the cache, which is worth 1 % of MobileNetV2), in turns; the ratios of the rounds
# are compared. To be within 0.5 % or 2 us.
#
#   BUILD=DIR (default build)  ROUNDS=N (7)  SECONDS_EACH=S (3)  THREADS=1  MODELS="mobilenet_v2 ..."
#   (or files: the fixture that is the default's first takes 1 us, so that it shows the cost of a call)
#   RUNTIMES="builtin onnxruntime" (those that are here)  PAIRS=FILE (gets each round's two figures)
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

file() { # of a model that is a file, or a built-in one
    case $1 in *.onnx) echo "$1" ;; *) echo "$home/models/$1.onnx" ;; esac
}

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
    env $(cat "$work/environment") "$work/$1" "${library[@]}" "$(file "$2")" -t "$threads" \
        -s "$seconds" -i 4 $(dims "$2") $([ "$1" = builtin ] || cat "$work/entries") | awk '{ print $2 }'
}

# Of the rounds' ratios wattle/loop: the median and, by order statistics, an interval that holds the
# true median at 95 % or more (Conover, Practical Nonparametric Statistics, 3.2: the binomial's tails).
summary() { # runtime model: reads pairs "wattle loop" in ms
    awk '{ print $1 / $2, $1, $2 }' "$1" | sort -n | awk -v r="$2" -v m="$(basename "$3")" -v t="$threads" '
        { ratio[NR] = $1; w[NR] = $2; l[NR] = $3 }
        function median(x, n,   i, j, v) {
            for (i = 2; i <= n; i++) {
                v = x[i]
                for (j = i - 1; j && x[j] > v; j--) x[j + 1] = x[j]
                x[j + 1] = v
            }
            return n % 2 ? x[(n + 1) / 2] : (x[n / 2] + x[n / 2 + 1]) / 2
        }
        END {
            term = 0.5 ^ NR
            for (k = 0; tail + term <= 0.025; k++) {
                tail += term
                term *= (NR - k) / (k + 1)
            }
            interval = k ? sprintf("%+.2f to %+.2f", (ratio[k] - 1) * 100, (ratio[NR - k + 1] - 1) * 100) : "-"
            middle = median(ratio, NR)
            loop = median(l, NR)
            printf "%-12s %-14s %8d %10.6f %10.6f %10.2f %8.2f %18s\n", r, m, t, median(w, NR), loop,
                (middle - 1) * loop * 1000, (middle - 1) * 100, interval
        }'
}

printf '%-12s %-14s %8s %10s %10s %10s %8s %18s\n' RUNTIME MODEL THREADS 'wattle ms' 'loop ms' \
    'diff us' 'diff %' '95 % interval'
for runtime in $RUNTIMES; do
    for model in ${MODELS:-tests/fixtures/onnx/external.onnx mobilenet_v2 resnet50 bert_base}; do
        [ -e "$(file "$model")" ] || "$build/wattle" models build "$model" >/dev/null 2>&1
        : >"$work/pairs"
        for round in $(seq "$rounds"); do # the first of a pair is the other one each time
            if [ $((round % 2)) -eq 1 ]; then
                w=$(run_wattle "$runtime" "$model")
                l=$(run_loop "$runtime" "$model")
            else
                l=$(run_loop "$runtime" "$model")
                w=$(run_wattle "$runtime" "$model")
            fi
            echo "$w $l" | tee -a "${PAIRS:-/dev/null}" >>"$work/pairs"
        done
        summary "$work/pairs" "$runtime" "$model"
    done
done
