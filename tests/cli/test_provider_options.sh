#!/usr/bin/env bash
# --provider-option and --spin: what a runtime would refuse is refused before anything is measured, and
# an option can be for one of several runtimes. The fake runtime and the built-in engine are enough.
. "$(dirname "$0")/lib.sh"

cd "$dir" || exit 1
run() { "$wattle" run -t 1 --blocks 1 --duration 20ms --warmup 10ms --sysroot "$quiet" "$@"; }
model=$root/tests/fixtures/onnx/ir3.onnx
both=(-r builtin,fake "$model")

# A key or a value that a chosen runtime does not take, with the way to give it to the other.
expect 2 run -r fake fake --provider-option latency=5
in_err "runtime 'fake' has no option 'latency'"; in_err "it knows: latency_us"; no_out
expect 2 run -r fake fake --provider-option latency_us=x
in_err "latency_us 'x' is not a whole number"
expect 2 run "${both[@]}" --provider-option latency_us=5
in_err "runtime 'builtin' has no option 'latency_us'"
in_err "for fake alone: --provider-option fake.latency_us=5"
expect 2 run "${both[@]}" --provider-option nonsense=5
in_err "it knows: tuning"
expect 2 run "${both[@]}" --provider-option fake.tuning=off
in_err "runtime 'fake' has no option 'tuning'"
! grep -q 'block' "$dir/err" || fail "measured before noticing"

# Each has its own (fake's outputs are not the model's); the one that names the runtime wins.
expect 5 run "${both[@]}" --provider-option builtin.tuning=off --provider-option fake.latency_us=700 --json j.json
json j.json '[.cells[] | select(.runtime.name == "builtin").settings.tuning] == ["off"]'
json j.json '[.cells[] | select(.runtime.name == "fake").latency_ms.p50] == [0.7]'
expect 0 run fake -r fake --provider-option fake.latency_us=700 --provider-option latency_us=900 --json j.json
json j.json '.cells[0].latency_ms.p50 == 0.7'
expect 0 run fake -r fake --provider cpu,wrong --provider-option fake:wrong.wrong_output=-0.5 \
    --provider-option fake:cpu.latency_us=700 --json j.json # 0.5 less than that provider's 0.5 more
json j.json '[.cells[].agreement.ok] | all(. != false)'

# Scopes that nobody is, and what is no option.
expect 2 run "$model" -r builtin --provider-option fake.latency_us=5
in_err "no chosen runtime is 'fake'"
expect 2 run fake -r fake --provider-option fake:gpu.latency_us=5
in_err "no chosen runtime is 'fake:gpu'"
for option in '' '=' 'x' '=5' 'fake.' 'fake.=5'; do
    expect 2 run fake -r fake --provider-option "$option"
    in_err "is not [RUNTIME.]KEY=VALUE"
done
expect 2 run fake -r fake --provider-option "$(printf 'log=\377')"
in_err "is not UTF-8"

# Workers of one's own get what is for all and what is for them.
sed "s|^    \\*'\"op\":\"load\"'\\*)|&\n        printf '%s' \"\$command\" >load.json|" "$root/examples/shell.sh" >own.sh
expect 0 run --worker 'sh own.sh' --provider-option a=1 --provider-option worker.b=2 --provider-option b=3
json load.json '.options == {"a": "1", "b": "2"}'
expect 2 run fake -r fake --provider-option worker.b=2
in_err "no chosen runtime is 'worker'"

# Files that are no plug-ins.
expect 2 run "$model" --provider-library /nowhere.so
in_err "neither a file nor an installed package"
expect 2 run "$model" --provider-library "$here/lib.sh"
in_err "is not a shared library"
expect 2 run "$model" --provider-library "$(ldd "$wattle" | awk '/libm\.so/ {print $3}')"
in_err "is not a plug-in of ONNX Runtime: it has no CreateEpFactories"; in_err "--provider"; no_out

# A spin time beyond what the engine can count.
expect 2 run "$model" -r builtin --spin 9000000
in_err "spin"; no_out

# A typing error is a typing error, also where a provider of the same runtime takes what it does not know.
use_installed onnxruntime
if "$wattle" runtimes | grep -q '^onnxruntime:openvino .*openvino'; then
    expect 2 run "$model" -r onnxruntime --provider-option memory_aren=off
    in_err "has no option 'memory_aren' (if it is openvino's: onnxruntime:openvino.memory_aren=off)"
    in_err "it knows: inter_op_threads"
fi

# Installed runtimes that cannot limit spinning, or know the key only once they are loaded.
use_installed openvino
if "$wattle" runtimes | grep -q '^openvino .*cpu'; then
    expect 2 run "$model" -r builtin,openvino --spin 100
    in_err "OpenVINO (TBB) have no spin time"; no_out
    expect 3 run "$model" -r openvino --provider-option ov.NOPE=1
    in_err "OpenVINO takes no NOPE=1"
    expect 2 run "$model" -r builtin,openvino --provider-option streams=2
    in_err "for openvino alone: --provider-option openvino.streams=2"
fi
