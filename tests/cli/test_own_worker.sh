#!/usr/bin/env bash
# --worker: anybody's program that speaks the protocol is a row like the others.
. "$(dirname "$0")/lib.sh"

cp "$root/examples/shell.sh" "$dir/gzip.sh"
cd "$dir" || exit 1
own() { "$wattle" run --blocks 1 --duration 100ms --min-runs 3 --warmup 50ms -t 1 --sysroot "$quiet" "$@"; }

# Without a model; its name, version and command are told.
expect 0 own --worker 'WHO=me sh gzip.sh' --json "$dir/a.json" --csv "$dir/a.csv"
in_out "worker:gzip.sh 1"
json "$dir/a.json" '.cells[0].runtime | .name == "worker" and .variant == "gzip.sh" and .version == "1"
    and .command == "WHO=me sh gzip.sh"'
json "$dir/a.json" '.cells[0] | .model.name == "worker" and .provider == "cpu" and .latency_ms.n >= 3'
json "$dir/a.json" '.cells[0] | .cpu_s_per_inference == null and .energy.interval_j[0] < .energy.interval_j[1]'
json "$dir/a.json" '.cells[0].environment.OMP_NUM_THREADS == "1"'
json "$dir/a.json" '.cells[0].environment.GOMP_SPINCOUNT != null'

# Several, beside a runtime, on devices and batches; two of the same name are told apart.
expect 0 own --worker 'sh gzip.sh' --worker 'sh ./gzip.sh' -b 1,2 -d 0,0+1 --provider cpu,gpu --dry-run
[ "$(grep -c '^cell' "$dir/out")" -eq 16 ] || fail "not 16 cells"
in_out "worker:gzip.sh:gpu 0+1, batch 2"
in_out "worker:gzip.sh-2:cpu 0, batch 1"
expect 0 own fake -r fake --worker 'sh gzip.sh' --json "$dir/b.json"
json "$dir/b.json" '[.cells[].runtime.name] | sort == ["fake", "worker"]'
json "$dir/b.json" '[.cells[] | select(.runtime.name == "fake")][0].agreement.ok != false'
expect 0 own --worker 'sh gzip.sh' -d 0+1 --json "$dir/c.json"
json "$dir/c.json" '.cells[0].devices == ["0", "1"]'

# Any file may be its model, also what no runtime of ours reads; it must be there.
echo x >weights.bin
expect 0 own weights.bin --worker 'sh gzip.sh' --json "$dir/d.json" --dim N=4
json "$dir/d.json" '.cells[0].model | .name == "weights.bin" and (.sha256 | length) == 64'
expect 2 own nothing.bin --worker 'sh gzip.sh'
in_err "neither built in nor a file"

for input in '--shape x=1x3' '--range x=0..1'; do
    expect 3 own $input --worker 'sh gzip.sh'
    in_err "has no input 'x'"
done

# With a model that wattle reads, the worker is fed and compared like a runtime, in the order of the
# file's inputs where it calls them otherwise.
"$wattle" worker --python-helper >wattle_worker.py
cat >copy.py <<'P'
import sys
import wattle_worker

shift = int(sys.argv[1])

def load(request):
    assert request["model"].endswith("/two.onnx"), request
    assert request["shapes"] == {"x": [2, 3], "n": [4]}, request
    return {"inputs": [("a", "float32", [2, 3]), ("b", "int64", [4])],
            "outputs": [("c", "float32", [2, 3]), ("d", "int64", [4])], "provider": "python"}

def infer(inputs):
    return [memoryview(bytes(inputs[0])).cast("f"),
            memoryview(bytes(inputs[1]) if not shift else bytes(32)).cast("q")]

wattle_worker.run(load, infer)
P
"$here/make_onnx.py" two.onnx x=2x3 n=int64:4
expect 0 own two.onnx -r builtin --range n=1..9 --worker 'python3 copy.py 0' --json "$dir/f.json"
json "$dir/f.json" '[.cells[] | select(.runtime.name == "worker")][0] | .agreement.ok == true and
    .agreement.reference == "builtin:cpu" and .cpu_s_per_inference > 0'
expect 5 own two.onnx -r builtin --range n=1..9 --worker 'python3 copy.py 1'
in_out "worker:copy.py"; in_out "DIFFER"

# What breaks the protocol is a row with the reason.
for broken in 'nosuchprogram --x' 'false' 'cat <&3 >&4' "$wattle worker"; do
    expect 3 own --worker "$broken" --json "$dir/e.json"
    json "$dir/e.json" '.cells[0] | .verdict == "INVALID" and (.error.text | length) > 5'
done
expect 3 own --worker false
in_err "wattle worker --check 'false'"

# So are times that do not fit into the window: too long, or of too many runs.
sed 's/\$((stop - start))/$(((stop - start) * 1000))/' gzip.sh >slow.sh
sed 's/\(\\"done\\",\\"runs\\":\)\$runs/\1${runs}000/' gzip.sh >many.sh
for lie in slow many; do
    expect 3 own --worker "sh $lie.sh" --json "$dir/l.json"
    json "$dir/l.json" '.cells[0] | .verdict == "INVALID" and
        ([.reasons[] | select(test("do not fit into its window"))] | length) == 1'
    expect 1 "$wattle" worker --check "sh $lie.sh"
    in_out "WRONG  go: latencies are plausible"
done

expect 2 own --worker ''
in_err "empty"
expect 2 "$wattle" run
in_err "no model given"
for devices in , 0+ 0++1 '0 1' 0/1; do
    expect 2 own --worker 'sh gzip.sh' -d "$devices"
done
expect 2 "$wattle" run resnet50 -r builtin -d 0
in_err "builtin:cpu takes no device '0'"

"$here/validate_json.py" "$root/docs/wattle-1.schema.json" "$dir"/[a-f].json >"$dir/out" 2>"$dir/err" ||
    [ $? -eq 77 ] || fail "not wattle/1"
