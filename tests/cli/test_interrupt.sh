#!/usr/bin/env bash
# Ctrl-C keeps what is done (exit 130), prints it, and leaves nothing running.
. "$(dirname "$0")/lib.sh"

set -m # a process group of its own, as a terminal gives
"${fake[@]}" --blocks 50 --duration 300ms --json "$dir/part.json" >"$dir/out" 2>"$dir/err" </dev/null &
pid=$!
for _ in $(seq 100); do
    [ "$(grep -c '^block' "$dir/err")" -ge 3 ] && break
    sleep 0.1
done
kill -INT -- "-$pid"
sleep 0.02 # a key that is held down: one wish
kill -INT -- "-$pid" 2>/dev/null
wait "$pid"
code=$?
[ "$code" -eq 130 ] || fail "exit $code instead of 130"
json "$dir/part.json" '.cells[0].blocks | length >= 2 and length < 50'
json "$dir/part.json" '.campaign.finished == null'
in_out "fake"; in_err "interrupted"
nothing_runs

# A model half written: no file, no remains; nothing follows it.
for signal in INT HUP; do
    rm -rf "$WATTLE_HOME/models"
    "$wattle" models build bert_base mobilenet_v2 >"$dir/out" 2>"$dir/err" </dev/null &
    pid=$!
    for _ in $(seq 100); do
        ls -l "/proc/$pid/fd" 2>/dev/null | grep -qF "$WATTLE_HOME/models/" && break
        sleep 0.02
    done
    kill "-$signal" "$pid"
    wait "$pid"
    code=$?
    [ "$code" -eq 130 ] || fail "$signal: exit $code instead of 130 while writing a model"
    in_err "interrupted"; no_out
    [ -z "$(ls "$WATTLE_HOME/models")" ] || fail "$signal: left: $(ls "$WATTLE_HOME/models")"
done

# Under nohup a hangup is nothing.
(trap '' HUP; exec "${fake[@]}" --blocks 3 --duration 300ms) >"$dir/out" 2>"$dir/err" </dev/null &
pid=$!
for _ in $(seq 100); do
    grep -q '^block' "$dir/err" && break
    sleep 0.1
done
kill -HUP "$pid"
wait "$pid"
code=$?
[ "$code" -eq 0 ] || fail "exit $code instead of 0 with SIGHUP ignored"
nothing_runs

# Killed, or interrupted twice, it leaves nothing of the files it was to write, where the file system
# has files without a name.
nameless() {
    python3 -c 'import os, sys; os.open(sys.argv[1], os.O_TMPFILE | os.O_WRONLY)' "$1" 2>/dev/null
}
set +m
if mkdir "$dir/written" && nameless "$dir/written"; then
    for signals in KILL 'INT INT'; do
        "${fake[@]}" --duration 20s --json "$dir/written/out.json" --csv "$dir/written/out.csv" \
            --provider-option hang_at_run=3 --timeout 1h >"$dir/out" 2>"$dir/err" </dev/null &
        pid=$!
        for _ in $(seq 100); do
            grep -q '^block' "$dir/err" && break
            sleep 0.1
        done
        for signal in $signals; do
            kill "-$signal" "$pid" 2>/dev/null
            sleep 1.1
        done
        wait "$pid" 2>/dev/null
        [ -z "$(ls "$dir/written" | grep -v '^out\.\(json\|csv\)$')" ] ||
            fail "$signals: left: $(ls "$dir/written")"
    done
fi
