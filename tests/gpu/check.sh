#!/usr/bin/env bash
# tests/gpu/check.sh: the GPU providers of ONNX Runtime and PyTorch's variants on a real NVIDIA GPU:
# where the nodes went, that f32 is f32, that the outputs are those of the built-in engine, and that
# the device's memory is known. Installs nothing; where something is missing it says what, and ends
# with 0.
#
#     check.sh                                the whole check
#     check.sh --verify JSON RUNTIME PROVIDER only looks at what a run wrote
set -euo pipefail
cd "$(dirname "$0")/../.."
failed() { echo "FAIL: $*" >&2; exit 1; }
skipped() { echo "skipped: $*"; exit 0; }
command -v jq >/dev/null || skipped "no jq to read results with"

# holds WHAT FILTER: of the cell on the GPU, $c, and of the document $json; $p is the provider.
holds() {
    jq -e --arg p "$provider" --arg r "$runtime" '(.cells[] | select(.runtime.name == $r)) as $c | '"$2" \
        "$json" >/dev/null || failed "$runtime, $provider: $1: $(jq -c '.cells[] | {runtime, provider, error,
            agreement, settings, device_memory_peak_bytes, gpu_reason}' "$json")"
}

verify() { # JSON RUNTIME PROVIDER
    local json=$1 runtime=$2 provider=$3
    jq -e --arg r "$runtime" '[.cells[] | select(.runtime.name == $r)] | length == 1' "$json" >/dev/null ||
        failed "$runtime, $provider: not one row of it: $(jq -c '[.cells[].runtime.name]' "$json")"
    holds "a row failed" '[.cells[].error] | all(. == null)'
    # what TensorRT does not take may go to CUDA, but nothing to the CPU
    holds "it ran elsewhere" '$c.provider | split("+") | index($p) and (index("cpu") | not)'
    [ "$runtime" != onnxruntime ] ||
        holds "nodes were placed elsewhere" '$c.settings.nodes | .[$p] > 0 and (has("cpu") | not)'
    holds "TF32 is not off" '$c.settings.tf32 | startswith("off")'
    [ "$runtime,$provider" != onnxruntime,cuda ] ||
        holds "the provider may use TF32" '$c.settings.provider_options.use_tf32 == "0"'
    holds "the copy was not timed" '$c.settings.copy_in_ns > 0'
    holds "outputs differ from the built-in engine's" \
        '[.cells[].agreement.ok] | all(. != false) and any(. == true)'
    holds "outputs differ by more than 1e-3" \
        '[.cells[].agreement.max_rel_error | select(. != null)] | length > 0 and max <= 1e-3'
    holds "the device's memory is not known" '$c.device_memory_peak_bytes > 0'
    jq -r --arg p "$provider" --arg r "$runtime" '.cells[] | select(.runtime.name == $r) |
        "\($r) \(.runtime.variant // ""), \($p): \(.latency_ms.p50) ms, \(.device_memory_peak_bytes / 1048576 | floor) MiB on the device, nodes \(.settings.nodes)"' "$json"
}

if [ "${1:-}" = --verify ]; then
    [ $# -eq 4 ] || failed "--verify takes a file, a runtime and a provider"
    verify "$2" "$3" "$4"
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

# measure RUNTIME ARGUMENT...: to $work/run.json. TensorRT's own libraries are no part of its package.
measure() {
    rm -f "$work/run.json"
    "$wattle" run mobilenet_v2 -r "$@" --blocks 1 --duration 2s --json "$work/run.json" >"$work/out" 2>&1 ||
        [ -s "$work/run.json" ] || failed "$1: no results: $(cat "$work/out")"
    ! missing=$(jq -er '.cells[].error.text // empty |
        capture("(?<l>libnvinfer[^: ]*): cannot open shared object file").l' "$work/run.json") ||
        { echo "skipped: $1: $missing is not there"; return 1; }
}

check_onnxruntime() {
    local row provider required
    row=$(grep '^onnxruntime:gpu ' "$work/list" | head -1) || { echo "skipped: no ONNX Runtime for GPUs;" \
        "\`wattle runtimes install onnxruntime-gpu\` makes one"; return; }
    [[ $row != *'not usable'* ]] || failed "$row"
    for provider in cuda tensorrt; do
        [[ $row == *$provider* ]] || { echo "skipped: $provider: this installation does not have it"; continue; }
        required=(--require-provider)
        [ "$provider" != tensorrt ] || required=() # its rest on CUDA is seen to by verify
        ! measure "builtin,onnxruntime:$provider" "${required[@]}" ||
            verify "$work/run.json" onnxruntime "$provider"
    done
}

check_pytorch() {
    local variant
    grep -q '^pytorch .*cuda' "$work/list" || { echo "skipped: no PyTorch for CUDA;" \
        "\`wattle runtimes link pytorch DIR\` takes one that is there"; return; }
    for variant in aoti torchscript eager compile; do
        measure "pytorch:$variant" --provider cuda --verify
        verify "$work/run.json" pytorch cuda
    done
}

check_onnxruntime
check_pytorch
