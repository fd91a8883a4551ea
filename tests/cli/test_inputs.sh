#!/usr/bin/env bash
# --shape, --input, --expect and --gap with the built-in engine: real data reaches the model, its
# outputs are compared with files, and what does not fit is refused before anything is measured.
. "$(dirname "$0")/lib.sh"

cd "$dir" || exit 1
model=$root/tests/fixtures/onnx/ir3.onnx # y[N,2] = x[N,2] + [1,2]
run() { "$wattle" run "$model" -r builtin -t 1 --blocks 1 --duration 30ms --warmup 20ms --sysroot "$quiet" "$@"; }

python3 - <<'PY'
import struct, zipfile
def npy(shape, values, kind="f4", code="f", order="<", fortran=False):
    head = "{'descr': '%s%s', 'fortran_order': %s, 'shape': %s, }" % (order, kind, fortran, shape)
    head += " " * (-(10 + len(head) + 1) % 64) + "\n"
    data = struct.pack("%s%d%s" % (">" if order == ">" else "<", len(values), code), *values)
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + data
def save(name, *a, **k):
    open(name, "wb").write(npy(*a, **k))
save("x.npy", (2, 2), [1, 2, 3, 4])
save("y.npy", (2, 2), [2, 4, 4, 6])
save("wrong.npy", (2, 2), [2, 4, 4, 6.5])
save("near.npy", (2, 2), [2, 4, 4, 6.00001])
save("f64.npy", (2, 2), [1, 2, 3, 4], "f8", "d")
save("big.npy", (2, 2), [1, 2, 3, 4], order=">")
save("columns.npy", (2, 2), [1, 2, 3, 4], fortran=True)
save("flat.npy", (4,), [1, 2, 3, 4])
save("nan.npy", (2, 2), [float("nan"), float("inf"), float("nan"), float("-inf")])
save("one.npy", (2, 2), [float("nan"), 2, float("nan"), float("-inf")])
save("three.npy", (2, 3), [1, 2, 3, 4, 5, 6])
for name, kind in ("in.npz", zipfile.ZIP_DEFLATED), ("out.npz", zipfile.ZIP_STORED):
    with zipfile.ZipFile(name, "w", kind) as z:
        z.writestr("x.npy" if name == "in.npz" else "y.npy", open("x.npy" if name == "in.npz" else "y.npy", "rb").read())
with zipfile.ZipFile("other.npz", "w") as z:
    z.writestr("nothing.npy", open("x.npy", "rb").read())
open("cut.npy", "wb").write(open("x.npy", "rb").read()[:-3])
PY

# What goes in decides what comes out: right, near enough, wrong.
expect 0 run -b 2 --input x.npy --expect y.npy --json a.json
json a.json '.cells[0].agreement | .ok == true and .reference == "file:y.npy" and .max_rel_error == 0'
json a.json '.cells[0].shapes.inputs[0].shape == [2,2]'
expect 0 run -b 2 --input x=x.npy --expect y=near.npy
expect 5 run -b 2 --input x.npy --expect wrong.npy --json w.json
json w.json '.cells[0].agreement | .ok == false and (.detail | test("y\\[1,1\\] is 6"))'
in_out "DIFFER"
expect 5 run -b 2 --expect y.npy # made-up input gives something else
expect 0 run -b 2 --input in.npz --expect out.npz
expect 5 run -b 2 --input x.npy --expect f64.npy --json t.json
json t.json '.cells[0].agreement.detail | test("float64")'
expect 5 run -b 2 --input x.npy --expect z=y.npy
in_out "no output matches the expected 'z'"
mkdir named && cp x.npy named/x.npy
expect 0 run -b 2 --input named --expect y.npy --provider cpu,reference --json two.json
json two.json '[.cells[].agreement.ok] == [true, true]'
# NaN and infinity agree with the same, so that nothing but a note tells of them.
expect 0 run -b 2 --input nan.npy --provider cpu,reference --json nan.json
json nan.json '[.cells[] | .agreement.ok != false and
    any(.reasons[]; startswith("outputs of '"'y'"' hold no finite number"))] | all'
in_out "hold no finite number"
expect 0 run -b 2 --input one.npy --json one.json
json one.json '.cells[0].reasons | any(test("finite")) | not'
"$here/validate_json.py" "$root/docs/wattle-1.schema.json" "$dir"/*.json >"$dir/out" 2>"$dir/err" ||
    [ $? -eq 77 ] || fail "not wattle/1"

# ONNX's own test data: named and numbered files.
data=/usr/share/libonnx-testdata/data/node
if [ -d "$data/test_matmul_2d" ]; then
    for name in test_relu test_matmul_2d test_gather_0; do
        expect 0 "$wattle" run "$data/$name/model.onnx" -r builtin -t 1 --blocks 1 --duration 30ms \
            --warmup 20ms --sysroot "$quiet" --input "$data/$name/test_data_set_0" \
            --expect "$data/$name/test_data_set_0/" --json n.json
        json n.json '.cells[0].agreement | .ok == true and .reference == "file:test_data_set_0"'
    done
fi

# Refused, with the reason and what to do; nothing is measured.
no() { # TEXT ARGUMENTS...
    local text=$1
    shift
    expect 2 run "$@"
    in_err "$text"; no_out
}
no "the batch is 1" -b 1 --input x.npy; in_err "use -b 2"
no "is of type float32, the given data of type float64" -b 2 --input f64.npy; in_err "astype('float32')"
no "is to have 1 dimensions, the model gives it 2" --input flat.npy
no "size 1 is to be 3, but the model fixes it at 2" -b 2 --input three.npy
no "has no input for tensor 0 ('nothing')" -b 2 --input other.npz
no "has no input for tensor 0 ('z')" -b 2 --input z=x.npy
no "has no input for tensor 1" -b 2 --input x.npy --input y.npy
no "'nowhere.npy': it is not there" --input nowhere.npy
no "neither .npy, .npz, .pb nor a folder" --input "$here/lib.sh"
no "give one of them" -b 2 --expect y.npy --verify
no "--shape and --input differ" -b 2 --input x.npy --shape x=2x3
expect 1 run -b 2 --input big.npy; in_err "big-endian"; in_err "newbyteorder"
expect 1 run -b 2 --input columns.npy; in_err "Fortran"; in_err "ascontiguousarray"
expect 1 run -b 2 --input cut.npy; in_err "cut.npy"
expect 1 run -b 2 --expect cut.npy; in_err "output 'cut.npy'"

# --shape says what -b and --dim say, or what nothing else can.
expect 0 run -b 3 --shape x=3x2 --json s.json
json s.json '.cells[0].shapes.inputs[0].shape == [3,2]'
no "the batch is 1" -b 1 --shape x=3x2
no "the model fixes it at 2" --shape x=1x3
no "has no input 'z'" --shape z=1x2
for shape in x x= =1 x=1x x=x1 x=1xx2 x=1,2 x=-1x2 x=1.5 x=99999999999 x=1x1x1x1x1x1x1x1x1; do
    no "shape '" --shape "$shape"
done
free=$root/tests/fixtures/onnx/free.onnx # x[?,?,2]
expect 2 "$wattle" run "$free" -r builtin
in_err "size 1 of input 'x' is free and has no name"; in_err "--shape x="
expect 0 "$wattle" run "$free" -r builtin --shape x=1x3x2 --dry-run
# The built-in engine knows sizes by name only: a failed row, not a measurement of something else.
expect 3 "$wattle" run "$free" -r builtin --shape x=1x3x2 -t 1 --blocks 1 --sysroot "$quiet"
in_err "the file gives its free sizes no names"

# Files of other formats are for runtimes that read them.
expect 1 "$wattle" run "$root/tests/fixtures/openvino/relu.tflite" -r builtin
in_err "no chosen runtime reads 'relu', a model of format tflite"

# --gap: requests come one after the other with a pause, which the report tells.
expect 0 run --gap 10ms --duration 300ms --min-runs 3 --json g.json
json g.json '.cells[0].gap_s == 0.01'
json g.json '.cells[0].blocks[0] | .runs >= 10 and .runs <= 31 and .wall_s >= 0.3'
in_out "10 ms asleep between requests"
expect 0 run --json h.json
json h.json '.cells[0].gap_s == 0 and .cells[0].blocks[0].runs > 100'
expect 2 run --gap 2h
in_err "gap"
