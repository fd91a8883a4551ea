#!/usr/bin/env bash
# tests/gpu/check.sh: the GPU providers of ONNX Runtime on a real NVIDIA GPU: where the nodes went,
# that f32 is f32, that the outputs are those of the built-in engine, and that the device's memory is
# known. Installs nothing; where something is missing it says what, and ends with 0.
#
#     check.sh                        the whole check
#     check.sh --verify JSON PROVIDER only looks at what a run wrote
set -euo pipefail
cd "$(dirname "$0")/../.."
failed() { echo "FAIL: $*" >&2; exit 1; }
skipped() { echo "skipped: $*"; exit 0; }
command -v jq >/dev/null || skipped "no jq to read results with"

# holds JSON PROVIDER WHAT FILTER: of the cell on the GPU, $c, and of the document.
holds() {
    jq -e --arg p "$2" '(.cells[] | select(.runtime.name == "onnxruntime")) as $c | '"$4" "$1" >/dev/null ||
        failed "$2: $3: $(jq -c '.cells[] | {runtime, provider, error, agreement, settings,
            device_memory_peak_bytes, gpu_reason}' "$1")"
}

verify() { # JSON PROVIDER
    jq -e '[.cells[].runtime.name] | sort == ["builtin", "onnxruntime"]' "$1" >/dev/null ||
        failed "$2: not one row of each runtime: $(jq -c '[.cells[].runtime.name]' "$1")"
    holds "$1" "$2" "a row failed" '[.cells[].error] == [null, null]'
    # what TensorRT does not take may go to CUDA, but nothing to the CPU
    holds "$1" "$2" "it ran elsewhere" '$c.provider | split("+") | index($p) and (index("cpu") | not)'
    holds "$1" "$2" "nodes were placed elsewhere" \
        '$c.settings.nodes | .[$p] > 0 and (has("cpu") | not)'
    holds "$1" "$2" "TF32 is not off" '$c.settings.tf32 == "off"'
    [ "$2" != cuda ] ||
        holds "$1" "$2" "the provider may use TF32" '$c.settings.provider_options.use_tf32 == "0"'
    holds "$1" "$2" "the copy was not timed" '$c.settings.copy_in_ns > 0'
    holds "$1" "$2" "outputs differ from the built-in engine's" \
        '[.cells[].agreement.ok] | all(. != false) and any(. == true)'
    holds "$1" "$2" "outputs differ by more than 1e-3" \
        '[.cells[].agreement.max_rel_error | select(. != null)] | length > 0 and max <= 1e-3'
    holds "$1" "$2" "the device's memory is not known" '$c.device_memory_peak_bytes > 0'
    echo "$2: $(jq -r '.cells[] | select(.runtime.name == "onnxruntime") |
        "\(.latency_ms.p50) ms, \(.device_memory_peak_bytes / 1048576 | floor) MiB on the device, nodes \(.settings.nodes)"' "$1")"
}

if [ "${1:-}" = --verify ]; then
    [ $# -eq 3 ] || failed "--verify takes a file and a provider"
    verify "$2" "$3"
    exit 0
fi

wattle=${BUILD:-build}/wattle
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$wattle" runtimes >"$work/list"
gpus=$(sed -n 's/^GPUs (NVIDIA): //p' "$work/list")
case $gpus in
none:*) skipped "${gpus#none: }" ;;
'') failed "wattle runtimes says nothing of GPUs" ;;
esac
echo "GPUs: $gpus"
row=$(grep '^onnxruntime:gpu ' "$work/list" | head -1) ||
    skipped "no ONNX Runtime for GPUs; \`wattle runtimes install onnxruntime-gpu\` makes one"
case $row in
*'not usable'*) failed "$row" ;;
esac

for provider in cuda tensorrt; do
    case $row in
    *"$provider"*) ;;
    *) echo "skipped: $provider: this installation does not have it"; continue ;;
    esac
    code=0 required=(--require-provider)
    [ "$provider" != tensorrt ] || required=() # its rest on CUDA is seen to below
    "$wattle" run mobilenet_v2 -r "builtin,onnxruntime:$provider" "${required[@]}" --blocks 1 \
        --duration 2s --json "$work/$provider.json" >"$work/out" 2>&1 || code=$?
    [ -s "$work/$provider.json" ] || failed "$provider: exit $code: $(cat "$work/out")"
    # TensorRT's own libraries are no part of the package.
    if [ "$provider" = tensorrt ] && missing=$(jq -er '.cells[].error.text // empty |
        capture("(?<l>libnvinfer[^: ]*): cannot open shared object file").l' "$work/$provider.json"); then
        echo "skipped: $provider: $missing is not there"
        continue
    fi
    verify "$work/$provider.json" "$provider"
done
