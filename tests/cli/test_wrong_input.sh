#!/usr/bin/env bash
# Wrong input: what, the value, what to do; the right exit code; nothing left behind.
. "$(dirname "$0")/lib.sh"

expect 2 "$wattle" run resnet51
in_err "unknown model 'resnet51'"; in_err "did you mean 'resnet50'?"; no_out
expect 2 "$wattle" run ./nowhere.onnx
in_err "model file './nowhere.onnx' is not there"
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
in_err "no built-in model 'resnet'"
expect 2 "$wattle" models destroy
in_err "no action 'destroy'"
expect 2 "$wattle" doctor --sysroot /nonexistent
in_err "sysroot '/nonexistent' is not a folder"

# Paths that cannot be written fail before anything is measured.
expect 1 fake --json /nonexistent-folder/out.json
in_err "cannot write '/nonexistent-folder/out.json'"
! grep -q '^block' "$dir/err" || fail "measured before noticing the bad path"
expect 1 fake --store /proc/x.db
in_err "/proc/x.db"
! grep -q '^block' "$dir/err" || fail "measured before noticing the bad store"
expect 1 fake --store "$0"
in_err "$0"

# Unknown options of a runtime are refused by name; the row says so.
expect 3 fake --provider-option latency=5
in_err "latency"

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
