#!/usr/bin/env bash
# What a machine without a GPU says of it, and a whole run on CUDA where the driver's library and ONNX
# Runtime are stubs: device memory goes from the worker through the store to the reports, and the
# check for real GPUs refuses results that are not what they should be.
. "$(dirname "$0")/lib.sh"
unset LD_LIBRARY_PATH
cd "$root" || exit 1
stub() { # FILE SOURCE FLAG...
    local file=$1 source=$2
    shift 2
    mkdir -p "$(dirname "$file")"
    cc -std=c17 -D_GNU_SOURCE -shared -fPIC "$@" -o "$file" "tests/tools/$source" || fail "cannot build $source"
}
nvml() { stub "$dir/$1/libnvidia-ml.so.1" fake_nvml.c "${@:2}"; }
nvml two '-DMEMORY="1:734003200"'
nvml unknown '-DMEMORY="1:-1"'

# One line, whatever there is.
expect 0 "$wattle" runtimes
[ "$(grep -c '^GPUs (NVIDIA): .' "$dir/out")" -eq 1 ] || fail "not one line on GPUs"
expect 0 env LD_LIBRARY_PATH="$dir/two" "$wattle" runtimes
in_out "GPUs (NVIDIA): 2: Fake GPU 0 (GPU-fake-0), Fake GPU 1 (GPU-fake-1)"
expect 0 env LD_LIBRARY_PATH="$dir/two" FAKE_NVML_INIT=18 "$wattle" doctor
in_out "GPUs (NVIDIA): none: NVIDIA's library cannot start: Driver/library version mismatch (18)"

# The check for GPUs says what is missing, and that is no failure.
check=tests/gpu/check.sh
expect 0 env BUILD="$build" LD_LIBRARY_PATH="$dir/two" FAKE_NVML_COUNT=0 $check
in_out "skipped: the NVIDIA driver sees no GPU"
expect 0 env BUILD="$build" LD_LIBRARY_PATH="$dir/two" $check
in_out "skipped: no ONNX Runtime for GPUs"
in_out "skipped: no PyTorch for CUDA"

# The run: y = x + x, as the stub of ONNX Runtime computes.
python3 - "$dir/twice.onnx" <<'PY'
import sys
def field(number, value):
    if isinstance(value, int):
        return bytes([number << 3, value])
    value = value.encode() if isinstance(value, str) else b"".join(value) if isinstance(value, list) else value
    return bytes([number << 3 | 2, len(value)]) + value
def tensor(name): # float32 [2,3]
    dims = [field(1, [field(1, n)]) for n in (2, 3)]
    return [field(1, name), field(2, [field(1, [field(1, 1), field(2, dims)])])]
node = [field(1, "x"), field(1, "x"), field(2, "y"), field(4, "Add")]
graph = [field(1, node), field(2, "g"), field(11, tensor("x")), field(12, tensor("y"))]
open(sys.argv[1], "wb").write(field(1, 8) + field(7, graph) + field(8, [field(2, 13)]))
PY
prefix=$WATTLE_HOME/runtimes/onnxruntime-gpu-1.31.1 capi=lib/python3.11/site-packages/onnxruntime/capi
stub "$prefix/$capi/libonnxruntime.so.1.31.1" fake_ort.c '-DNODES="cuda:7"'
touch "$prefix/$capi/libonnxruntime_providers_cuda.so"
cat >"$prefix/wattle.json" <<NOTE
{"package":"onnxruntime-gpu","version":"1.31.1","bytes":1000,"linked":false,
 "library":"$capi/libonnxruntime.so.1.31.1"}
NOTE
run() { # FOLDER ARGUMENT...
    LD_LIBRARY_PATH=$dir/$1 "$wattle" run "$dir/twice.onnx" -b 2 -t 1 --blocks 2 --duration 20ms --warmup 10ms \
        --sysroot "$quiet" -r builtin,onnxruntime:cuda --require-provider "${@:2}"
}
run two --json "$dir/a.json" --csv "$dir/a.csv" >"$dir/out" 2>"$dir/err" || [ $? -eq 3 ] || fail "the run"
json "$dir/a.json" '[.cells[] | {(.runtime.name): [.device_memory_peak_bytes, .gpu_reason]}] | add
    | .onnxruntime == [734003200, "the load of a GPU is not measured by this version"]
    and .builtin == [null, "the runtime reports no accelerator to measure"]'
grep -q ',734003200,,' "$dir/a.csv" || fail "CSV: $(cat "$dir/a.csv")"
expect 0 $check --verify "$dir/a.json" onnxruntime cuda
in_out "700 MiB on the device"

run unknown --json "$dir/u.json" --csv "$dir/u.csv" >"$dir/out" 2>"$dir/err" || [ $? -eq 3 ] || fail "the run"
json "$dir/u.json" '[.cells[] | select(.runtime.name == "onnxruntime")] | length == 1 and
    (.[0] | .device_memory_peak_bytes == null and (.gpu_reason | test("does not tell the memory of process")))'
grep -q 'does not tell the memory' "$dir/u.csv" || fail "CSV: $(cat "$dir/u.csv")"
"$here/validate_json.py" "$root/docs/wattle-1.schema.json" "$dir"/[au].json >"$dir/out" 2>"$dir/err" ||
    [ $? -eq 77 ] || fail "not wattle/1"

# A result that is wrong in one place is refused for that.
refuse() { # MESSAGE FILTER
    jq "(.cells[] | select(.runtime.name == \"onnxruntime\")) |= ($2)" "$dir/a.json" >"$dir/bad.json"
    expect 1 $check --verify "$dir/bad.json" onnxruntime cuda
    in_err "$1"
}
refuse "it ran elsewhere" '.provider = "cpu"'
refuse "it ran elsewhere" '.provider = "cuda+cpu"'
refuse "nodes were placed elsewhere" '.settings.nodes = {"cuda": 3, "cpu": 1}'
refuse "nodes were placed elsewhere" '.settings.nodes = null'
refuse "TF32 is not off" '.settings.tf32 = "unknown"'
refuse "may use TF32" '.settings.provider_options.use_tf32 = "1"'
refuse "outputs differ" '.agreement.ok = false'
refuse "by more than 1e-3" '.agreement.max_rel_error = 0.002'
refuse "memory is not known" '.device_memory_peak_bytes = null'
refuse "a row failed" '.error = {"text": "x"}'
expect 1 $check --verify "$dir/a.json" onnxruntime tensorrt

# PyTorch has no nodes of its own to place.
jq '(.cells[] | select(.runtime.name == "onnxruntime")) |= (.runtime.name = "pytorch" | .runtime.variant = "eager" | del(.settings.nodes))' \
    "$dir/a.json" >"$dir/pytorch.json"
expect 0 $check --verify "$dir/pytorch.json" pytorch cuda
in_out "pytorch eager, cuda: "
jq '.cells[].settings.tf32 = "on"' "$dir/pytorch.json" >"$dir/bad.json"
expect 1 $check --verify "$dir/bad.json" pytorch cuda
in_err "TF32 is not off"
expect 1 $check --verify "$dir/a.json" pytorch cuda
in_err "not one row of it"
