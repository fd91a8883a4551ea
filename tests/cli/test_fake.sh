#!/usr/bin/env bash
# A whole run on the fake runtime, whose latencies are exact: what goes in must come out.
. "$(dirname "$0")/lib.sh"

expect 0 fake --provider-option latency_us=1000 --json "$dir/a.json" --csv "$dir/a.csv" \
    --markdown "$dir/a.md" --blocks 2
json "$dir/a.json" '.schema == "wattle/1"'
json "$dir/a.json" '.cells | length == 1'
json "$dir/a.json" '.cells[0].latency_ms | .min == 1 and .p50 == 1'
json "$dir/a.json" '.cells[0].blocks | length == 2'
json "$dir/a.json" '.cells[0].energy.provenance == "estimated" and .cells[0].energy.j_per_inference > 0'
json "$dir/a.json" '.cells[0].energy.interval_j | .[0] < .[1]'
json "$dir/a.json" '.cells[0].energy | .interval_j[0] <= .j_per_inference and .j_per_inference <= .interval_j[1]'
in_out "fake"; in_out "J/inference"
[ "$(wc -l <"$dir/a.csv")" -eq 2 ] || fail "CSV has not a header and one row"
grep -q '^|' "$dir/a.md" || fail "Markdown has no table"

# 99 % needs 459 samples; with 50 runs it is null, not a guess.
expect 0 fake --provider-option latency_us=1000 --json -
json "$dir/out" '.cells[0].latency_ms | .n < 459 and .p99 == null'

# Failures are rows with their reason, and the campaign goes on.
expect 3 fake --provider-option crash_at_run=2 --json "$dir/b.json" --blocks 2
json "$dir/b.json" '.cells[0].blocks | length == 2'
json "$dir/b.json" '[.cells[0].blocks[].error] | all(.code == "crash" and (.text | test("signal")))'
json "$dir/b.json" '.cells[0].verdict == "INVALID" and .cells[0].latency_ms.p50 == null'
in_out "signal"
expect 3 fake --provider-option hang_at_run=3 --timeout 500ms
in_err "failed"
expect 3 fake --provider-option oom=load
in_err "memory"
expect 3 fake --provider-option kill_at_run=1
in_err "signal 9"
expect 3 fake --provider-option exit_at_run=1
nothing_runs

# Joules are those of an inference, which is a whole batch; the rate counts items, and says so.
expect 0 fake -b 4 --store "$dir/gap.db" --markdown "$dir/b4.md" --json "$dir/b4.json"
in_out "items/s"; grep -qF '| items/s |' "$dir/b4.md" || fail "Markdown does not say what is counted"
json "$dir/b4.json" '.cells[0] | .throughput_per_s / (1000 / .latency_ms.p50) | . > 2 and . < 4.5'
expect 0 fake --store "$dir/gap.db"
in_out "per s"

# Pauses are in the warm-up as in the window, and no time limit counts them.
gap() { fake --store "$dir/gap.db" --json "$dir/g.json" "$@"; }
expect 0 gap --gap 50ms --warmup 200ms --duration 200ms --min-runs 2
json "$dir/g.json" '.cells[0].blocks[0] | .warmup.runs <= 12 and .warmup.runs >= 3 and .runs <= 6'
expect 0 gap --gap 1s --warmup 100ms --timeout 300ms --duration 100ms --min-runs 2
expect 2 gap --gap 20
in_err "gap '20' has no unit"; in_err "--gap 20ms"
expect 0 gap --gap 0

# Outputs that differ: exit 5, the first differing element is named, and the row is not ranked.
expect 5 fake --provider cpu,wrong --json "$dir/w.json"
in_out "DIFFER"; in_out "y[0,7]"
json "$dir/w.json" '[.cells[] | {(.provider): [.agreement.ok, .rank]}] | add
    | .wrong == [false, null] and .cpu[1] == 1'

# A reference that gives no outputs is not the end of comparing: the others have each other.
expect 5 fake --provider broken,cpu,wrong --blocks 3 --json "$dir/w2.json"
json "$dir/w2.json" '[.cells[] | {(.provider): .agreement.ok}] | add
    | .wrong == false and .broken == null'
json "$dir/w2.json" '[.cells[] | select(.provider == "broken") | .blocks | length] == [1]' # not tried again
[ "$(grep -c 'broken failed' "$dir/err")" -eq 1 ] || fail "a refused model is reported more than once"

# A model that is refused in its first run is not tried in every block.
expect 3 fake --provider-option fail_at_run=1 --blocks 3 --store "$dir/n.db"
[ "$(grep -c 'run 1 failed' "$dir/err")" -eq 1 ] || fail "tried more than once"
expect 3 fake --provider-option spoil_at_run=1 --blocks 3 --store "$dir/n.db" --json "$dir/n.json"
in_err "the model writes to its inputs"; in_err "hint: let it work on a copy"
json "$dir/n.json" '[.cells[0].blocks[].error.code] == ["mismatch"]'

# A crash says at least what to try.
expect 3 fake --provider-option crash_at_run=1 --provider-option crash=stray --store "$dir/n.db"
in_err "signal 11"; in_err "hint: code of the runtime or of the model ended the process"

# Outputs that are others in each run, and memory that grows, are no error, but are told.
note() { jq -r '.cells[0].reasons[]' "$dir/n.json" | grep -q -- "$1"; }
noted() { fake --store "$dir/n.db" --json "$dir/n.json" "$@"; }
expect 0 noted --provider-option moody_output=1
note 'different outputs, first in y\[0,7\]' || fail "no note of outputs that differ"
in_out "different outputs"
expect 0 noted --provider-option grow_bytes=20000000
note 'memory grew by [0-9]* MB' || fail "no note of memory that grows"
expect 0 noted
! note 'different outputs' && ! note 'memory grew' || fail "a note without a reason"

# What is written holds to the published schema.
"$here/validate_json.py" "$root/docs/wattle-1.schema.json" "$dir"/[abw].json >"$dir/out" 2>"$dir/err" ||
    [ $? -eq 77 ] || fail "not wattle/1"

# The store has kept every campaign.
kept=$(python3 -c 'import sqlite3, sys
print(sqlite3.connect(sys.argv[1]).execute("select count(*) from campaign").fetchone()[0])' \
    "$WATTLE_HOME/wattle.db")
[ "$kept" -eq 9 ] || fail "the store has $kept campaigns instead of 9"
