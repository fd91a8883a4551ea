#!/usr/bin/env bash
# Wrong input: what, the value, what to do; the right exit code; nothing left behind.
. "$(dirname "$0")/lib.sh"

expect 2 "$wattle" run resnet51
in_err "unknown model 'resnet51'"; in_err "did you mean 'resnet50'?"; no_out
expect 2 "$wattle" run ./nowhere.onnx
in_err "model file './nowhere.onnx' is not there"
expect 2 "$wattle" run nowhere.pt2
in_err "model file 'nowhere.pt2' is not there"
ln -s loop.onnx "$dir/loop.onnx"
expect 1 "$wattle" run "$dir/loop.onnx"
in_err "cannot read model '$dir/loop.onnx': Too many levels of symbolic links"
rm "$dir/loop.onnx"
expect 1 "$wattle" run "$(printf 'x%.0s' $(seq 300)).onnx"
in_err "File name too long"
expect 2 "$wattle" run
in_err "no model given"
expect 2 "$wattle" run fake -r torchh
in_err "unknown runtime 'torchh'"
expect 2 "$wattle" run fake -r fake -b 0
in_err "batch 0 is outside 1..65536"
expect 2 "$wattle" run fake -r fake -b 1,x
in_err "batch 'x' is not a whole number"
expect 2 "$wattle" run fake -r fake -t 100000
in_err "threads 100000 is outside"; in_err "this process may use"
expect 2 "$wattle" run fake -r fake --provider gpu
in_err "runtime fake 1 has no provider 'gpu'"
expect 2 "$wattle" run fake -r fake -d 0
in_err "fake:cpu takes no device '0'"; in_err "name one with --provider"
expect 2 "$wattle" run fake -r fake -d wrong:3
in_err "fake:cpu takes no device 'wrong:3'"; in_err "hint: --provider wrong -d 3"
expect 2 "$wattle" run fake -r fake -d cpu,wrong
in_err "takes no device 'cpu'"; in_err "hint: --provider cpu"
[ "$(wc -l <"$dir/err")" -eq 2 ] || fail "not one line and a hint"
expect 2 "$wattle" run fake -r fake --precision int3
in_err "precision 'int3'"
expect 2 "$wattle" run fake -r fake --duration ten
in_err "duration 'ten' is not a duration such as 10s"
expect 2 "$wattle" run fake -r fake --blocks 0
in_err "blocks 0 is outside"
expect 2 "$wattle" run fake -r fake --spin hard
in_err "--spin takes short, off, default or microseconds"
expect 2 "$wattle" run fake -r fake --require estimated
in_err "--require 'estimated' is not known"
expect 2 "$wattle" run fake -r fake --json - --csv -
in_err "only one of"
expect 2 "$wattle" run fake -r fake --jsn x
in_err "did you mean --json?"
expect 2 "$wattle" rnu
in_err "did you mean 'wattle run'?"
expect 2 "$wattle" models build resnet
in_err "no built-in model 'resnet'"; in_err "did you mean 'resnet50'?"
expect 2 "$wattle" models destroy
in_err "no action 'destroy'"
expect 2 "$wattle" help rnu
in_err "unknown command 'rnu'"; no_out
expect 2 "$wattle" doctor --sysroot /nonexistent
in_err "sysroot '/nonexistent' is not a folder"

cp "$root/tests/cli/lib.sh" "$dir/$(printf 'odd\377').onnx"
expect 2 "$wattle" run "$dir/$(printf 'odd\377').onnx" -r builtin
in_err "name is not UTF-8"
rm "$dir/"odd*
long=$(printf 'x%.0s' $(seq 62))$(printf '\303\244').onnx # cut in the middle of a character
cp "$root/tests/fixtures/onnx/ir3.onnx" "$dir/$long"
expect 0 "$wattle" run "$dir/$long" -r builtin --dry-run
iconv -f UTF-8 -t UTF-8 "$dir/out" >"$dir/copy" || fail "a name is cut within a character"
rm "$dir/$long" "$dir/copy"

# A name that breaks lines and moves the cursor does neither; one of 255 bytes is a name.
odd=$(printf 'two\nlines \033[31mred\r\302\233.onnx')
cp "$root/tests/fixtures/onnx/ir3.onnx" "$dir/$odd"
quick=(-r builtin -t 1 --blocks 1 --duration 20ms --warmup 10ms --sysroot "$quiet")
no_control() { ! LC_ALL=C grep -q "$(printf '[\001-\010\013-\037\177]')" "$dir/out" "$dir/err" || fail "control characters"; }
expect 0 "$wattle" run "$dir/$odd" "${quick[@]}" --dry-run
[ "$(wc -l <"$dir/out")" -eq 2 ] || fail "a name breaks a line"
in_out "two lines  [31mred"; no_control
expect 0 "$wattle" run "$dir/$odd" "${quick[@]}" --json "$dir/odd.json" --markdown "$dir/odd.md"
in_out "two lines"; in_err "two lines"; no_control
json "$dir/odd.json" '.cells[0].model.name | startswith("two\nlines \u001b[31mred")'
expect 2 "$wattle" run "$dir/$odd" --input "$dir/$odd.npy" "${quick[@]}"
[ "$(wc -l <"$dir/err")" -eq 1 ] || fail "a name breaks a message"
no_control
rm "$dir/$odd" "$dir/"odd.*
long=$(printf 'x%.0s' $(seq 250)).onnx
cp "$root/tests/fixtures/onnx/ir3.onnx" "$dir/$long"
expect 0 "$wattle" run "$dir/$long" "${quick[@]}"
rm "$dir/$long"

# A list that is given twice would lose its first half in silence.
for option in "-r builtin" "--runtime=fake" "--provider cpu" "-d 0" "-b 2" "-t 1" "--form native"; do
    name=${option%%[ =]*} argument=${option##*[ =]}
    expect 2 "$wattle" run fake "$name" "$argument" "$name" "$argument" --dry-run
    in_err "is given 2 times"; in_err "it takes a list, as in"; no_out
done

expect 2 "$wattle" run "$root/tests/fixtures/onnx/ir3.onnx" -r builtin --range x=1..0
in_err "range 'x=1..0' ends below its beginning"
for options in "--dim N=1 --dim N=2" "--range x=0..1 --range x=0..2" "--shape x=1x2 --shape x=2x2"; do
    # shellcheck disable=SC2086
    expect 2 "$wattle" run "$root/tests/fixtures/onnx/ir3.onnx" -r builtin $options
    in_err "is given twice for"; no_out
done

# What is asked for twice is measured once.
expect 0 fake --dry-run
[ "$(grep -c '^cell' "$dir/out")" -eq 1 ] || fail "not one cell"
expect 0 "$wattle" run fake fake -r fake,fake -t 1,1 -b 1,2,1 --provider cpu,cpu --dry-run
[ "$(grep -c '^cell' "$dir/out")" -eq 2 ] || fail "a cell is there twice"
in_out "batch 2"

# Paths that cannot be written fail before anything is measured.
expect 2 fake --json ""
in_err "is empty"
expect 1 fake --json "$dir"
in_err "cannot write '$dir': Is a directory"
! grep -q '^block' "$dir/err" || fail "measured before noticing the folder"
expect 2 fake --json "$dir/same" --csv "$dir/../$(basename "$dir")/same"
in_err "two of --json"
mkfifo "$dir/pipe"
expect 1 timeout 20 "${fake[@]}" --json "$dir/pipe"
in_err "nobody reads this pipe"
expect 1 fake --store "$dir"
in_err "store '$dir' is a folder"
[ "$(grep -c "is a folder\|Is a directory" "$dir/err")" -eq 1 ] || fail "said twice"
expect 1 fake --json /nonexistent-folder/out.json
in_err "cannot write '/nonexistent-folder/out.json'"
! grep -q '^block' "$dir/err" || fail "measured before noticing the bad path"
expect 1 fake --store /proc/x.db
in_err "/proc/x.db"
! grep -q '^block' "$dir/err" || fail "measured before noticing the bad store"
expect 1 fake --store "$0"
in_err "$0"

# Model files that are not models.
head -c 100 /dev/urandom >"$dir/noise.onnx"
expect 1 "$wattle" run "$dir/noise.onnx" -r builtin
in_err "noise.onnx"; no_out
: >"$dir/empty.onnx"
expect 1 "$wattle" run "$dir/empty.onnx" -r builtin
in_err "empty.onnx"
expect 1 "$wattle" run "$dir" -r builtin
in_err "not a regular file"

[ -z "$(find "$dir" -name '*.json*')" ] || fail "partial files were left"
nothing_runs
