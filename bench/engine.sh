#!/usr/bin/env bash
# bench/engine.sh: the built-in engine beside ONNX Runtime, where $PYTHON has it, on the built-in
# models at batch 1. Separate processes take turns, so that a busy machine slows both; compare the
# ratios of the minima, and read the medians for what a busy machine makes of them.
#
#   BUILD=DIR    the build folder (default build)      PYTHON=PROGRAM  (default python3)
#   ROUNDS=N     turns for each (default 5)            SECONDS_EACH=S  of each turn (default 2)
#   THREADS="1 2"  MODELS="resnet50 mobilenet_v2 bert_base"
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build} python=${PYTHON:-python3} rounds=${ROUNDS:-5} seconds=${SECONDS_EACH:-2}
home=${WATTLE_HOME:-${XDG_DATA_HOME:-$HOME/.local/share}/wattle}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

make -s -j2 BUILD="$build" "$build/libwattle-engine.a"
${CC:-cc} -O2 -std=gnu17 -Iinclude bench/engine_loop.c -o "$work/loop" "$build/libwattle-engine.a" \
    -fopenmp -ldnnl -lprotobuf-c -lcrypto -lm
has_ort=
"$python" -c 'import onnxruntime' 2>/dev/null && has_ort=1

symbols() { [ "$1" != bert_base ] || echo S=128; }

engine_turn() { # model threads
    local sizes=()
    for s in $(symbols "$1"); do sizes+=(-d "$s"); done
    "$work/loop" "$home/models/$1.onnx" -t "$2" -s "$seconds" "${sizes[@]}"
}

ort_turn() {
    # shellcheck disable=SC2046
    "$python" bench/ort_loop.py "$home/models/$1.onnx" "$2" "$seconds" $(symbols "$1")
}

# Least of the minima, median of the medians, least load and CPU times, largest memory.
summary() { # file
    sort -n "$1" | awk '{
        if (NR == 1 || $1 < min) min = $1
        if (NR == 1 || $5 < load) load = $5
        if (NR == 1 || $6 < cpu) cpu = $6
        if ($7 > rss) rss = $7
        medians[NR] = $2
    } END {
        n = asort_copy(medians, NR)
        print min, medians[int((NR + 1) / 2)], load, cpu, rss
    }
    function asort_copy(a, n,   i, j, t) {
        for (i = 2; i <= n; i++)
            for (j = i; j > 1 && a[j - 1] > a[j]; j--) { t = a[j]; a[j] = a[j - 1]; a[j - 1] = t }
        return n
    }'
}

row() { # model threads name summary reference_min reference_median
    # shellcheck disable=SC2086
    set -- "$1" "$2" "$3" $4 "${5:-}" "${6:-}"
    local ratio='      -      -'
    [ -z "${9:-}" ] || ratio=$(awk -v a="$4" -v b="$5" -v c="$9" -v d="${10}" \
        'BEGIN { printf "%7.2f%7.2f", a / c, b / d }')
    printf '%-13s %7s  %-12s %9.2f %9.2f %s %8.0f %9.2f %8.0f\n' "$1" "$2" "$3" "$4" "$5" "$ratio" \
        "$6" "$7" "$8"
}

echo "load $(cut -d' ' -f1-3 /proc/loadavg), $(nproc) processors, $(awk -F': ' '/model name/ {
    print $2; exit }' /proc/cpuinfo)"
printf '%-13s %7s  %-12s %9s %9s %14s %8s %9s %8s\n' model threads runtime min_ms median_ms \
    'ratio min/med' load_ms cpu_ms rss_mib
for model in ${MODELS:-resnet50 mobilenet_v2 bert_base}; do
    if [ ! -f "$home/models/$model.onnx" ]; then
        echo "$model: not in $home/models; build it with: wattle models build $model" >&2
        continue
    fi
    for threads in ${THREADS:-1 2}; do
        : >"$work/engine" >"$work/ort"
        for ((i = 0; i < rounds; i++)); do
            engine_turn "$model" "$threads" >>"$work/engine"
            [ -z "$has_ort" ] || ort_turn "$model" "$threads" >>"$work/ort"
        done
        engine=$(summary "$work/engine")
        if [ -n "$has_ort" ]; then
            ort=$(summary "$work/ort")
            # shellcheck disable=SC2086
            set -- $ort
            row "$model" "$threads" onnxruntime "$ort"
            row "$model" "$threads" wattle "$engine" "$1" "$2"
        else
            row "$model" "$threads" wattle "$engine"
        fi
    done
done
