#!/usr/bin/env bash
# Energy that is not that of the window must not look as if it were: a counter that stops while it is
# read, and a wattle that is stopped while its worker goes on.
. "$(dirname "$0")/lib.sh"

tree=$dir/tree
mkdir "$tree"
cp -r "$quiet/." "$tree"

# Runs COMMAND (exit CODE) and 1.2 s later, in the window of 2.5 s, ends the counter's writer.
stop_counter() {
    local code=$1 got
    shift
    rm -rf "$tree/sys/class/powercap" "$dir/writer"
    "$build/tools/sysroot_writer" "$tree" intel-rapl:0/package-0=40 < <(sleep 60) >"$dir/writer" &
    local writer=$!
    for _ in $(seq 50); do grep -q ready "$dir/writer" && break; sleep 0.1; done
    "$@" >"$dir/out" 2>"$dir/err" </dev/null &
    local run=$!
    sleep 1.2
    kill "$writer"
    wait "$writer" 2>/dev/null
    wait "$run"
    got=$?
    [ "$got" -eq "$code" ] || fail "exit $got instead of $code: $*"
}

long=("${fake[@]}" --duration 2500ms --sysroot "$tree")
stop_counter 0 "${long[@]}" --json "$dir/a.json"
json "$dir/a.json" '.cells[0].energy.provenance == "estimated"'
json "$dir/a.json" '.cells[0].blocks[0].verdict == "SUSPECT"'
json "$dir/a.json" '.cells[0].blocks[0].reasons | any(contains("counter powercap was lost"))'
stop_counter 3 "${long[@]}" --require measured --json "$dir/b.json"
json "$dir/b.json" '.cells[0].blocks[0].error.code == "unsupported"'
json "$dir/b.json" '.cells[0].blocks[0].error.text | contains("energy was not measured: ")'
json "$dir/b.json" '.cells[0].blocks[0].energy.j == null'

# The worker measures for 1 s; wattle sleeps for 2.5 s of it and after, and its meters with it.
"${fake[@]}" --duration 1s --json "$dir/c.json" >"$dir/out" 2>"$dir/err" </dev/null &
run=$!
sleep 0.6
kill -STOP "$run"
sleep 2.5
kill -CONT "$run"
wait "$run"
json "$dir/c.json" '.cells[0].blocks[0].verdict == "INVALID"'
json "$dir/c.json" '.cells[0].blocks[0].reasons | any(contains("do not stop wattle while it measures"))'
