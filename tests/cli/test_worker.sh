#!/usr/bin/env bash
# Workers of other people: the examples keep to the protocol; who does not is told what is wrong. The
# examples that need a package of Python are in test_worker_numpy.sh and test_worker_pytorch.sh.
. "$(dirname "$0")/lib.sh"
take_examples
cmp -s wattle_worker.py "$root/tools/python/wattle_worker.py" || fail "not the helper"
gcc -std=c17 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -I"$root/include" -o worker worker.c ||
    fail "the C example"

passes 'sh shell.sh'
passes './worker'
passes './worker 2000'
us=$(sed -nE 's/^note   a run takes ([0-9]+)[.0-9]* us.*/\1/p' out)
[ "$us" -ge 2000 ] && [ "$us" -lt 50000 ] || fail "a run that sleeps 2 ms takes $us us"

# The numbers of a whole run: a sleep of 2 ms is one, takes hardly any CPU time, and batches work.
expect 0 "$wattle" run --worker './worker 2000' -b 2 --blocks 1 --duration 200ms --warmup 50ms -t 1 \
    --sysroot "$quiet" --json "$dir/run.json"
json "$dir/run.json" '.cells[0] | .latency_ms.p50 >= 2 and .latency_ms.p50 < 50
    and .cpu_s_per_inference < 0.001 and .runtime.version == "1"'
expect 0 "$wattle" run --worker 'sh shell.sh' --blocks 1 --duration 200ms --warmup 50ms -t 1 \
    --sysroot "$quiet"
in_out 'worker:shell.sh'
# The checker loads a worker as a measurement does.
sed "s|^    \\*'\"op\":\"load\"'\\*)|&\n        printf '%s' \"\$command\" >load.json|" shell.sh >told.sh
passes 'sh told.sh'
jq -c keys load.json >checked
expect 0 "$wattle" run --worker 'sh told.sh' --blocks 1 --duration 100ms --warmup 50ms -t 1 \
    --sysroot "$quiet"
jq -c keys load.json >measured
cmp checked measured >out || fail "the checker's load has other fields than a measurement's"

# The helper's own part of a run: a few microseconds at most, also where the machine is busy.
cat >empty.py <<'P'
import wattle_worker
wattle_worker.run(lambda: {}, lambda inputs: None)
P
passes 'python3 empty.py'
us=$(sed -nE 's/^note   a run takes .*, of which ([0-9]+)[.0-9]* us.*/\1/p' out)
[ "$us" -lt 5 ] || fail "the helper takes $us us a run"

# wrong WORKER TEXT...: the checker says so, and ends in time.
wrong() {
    expect 1 timeout 60 "$wattle" worker --timeout 1s --check "$1"
    shift
    for text; do grep '^WRONG' out | grep -qF -- "$text" || fail "no WRONG line has: $text"; done
}
# broken FROM TO [FROM TO...] -- TEXT...: the shell example with these changes.
broken() {
    cp shell.sh broken.sh
    while [ "$1" != -- ]; do
        from=$1 to=$2 awk 'BEGIN { from = ENVIRON["from"] } { i = index($0, from)
            print i ? substr($0, 1, i - 1) ENVIRON["to"] substr($0, i + length(from)) : $0
            found += i > 0 } END { exit !found }' broken.sh >changed.sh || fail "no place for: $1"
        mv changed.sh broken.sh
        shift 2
    done
    shift
    wrong 'sh broken.sh' "$@"
}
loaded='"settings":{},"inputs":[],"outputs":[]' first='reply "{\"ok\":true,\"first_ns\":$list}"'
# What is wrong here does not keep the rest from being checked.
broken '= 1 ] || {' '!= 0 ] || {' \
    '*) refuse unsupported "unknown command"' "*) reply '{\"ok\":true}'" \
    '"provider":"cpu",' '' "$loaded" '"inputs":[],"outputs":[]' '"load_ns":0' '"load_ns":"0"' \
    'first_ns\":$list' 'first_ns\":0' '$((stop - start))' '$(((stop - start) / 1000))' \
    'rest "$4"' '' 'exit 0 ;;' 'exit 3 ;;' \
    '\"begin_ns\":$begin,\' "\\\"begin_ns\\\":$(date +%s%N),\\" -- \
    'hello with protocol 999 is refused: expected "ok":false' 'an unknown command is refused: exp' \
    'came no "provider"' '"settings", an object; came none' 'expected "load_ns", a whole number' \
    'first, with' 'came 0.000000 s' 'warmup: latencies are plausible' 'go: latencies are plausi' \
    'CLOCK_MONOTONIC' 'rests for gap_ns between two runs: expected 0.060 s' 'came: exit status 3'
broken "$loaded" '"settings":{},"inputs":[],"outputs":[{"name":"y","type":"bool","shape":[1]}]' \
    '"load_ns":0' '"load_ns":7000000000000' '$((stop - start))' '$(((stop - start) * 3))' \
    'exit 0 ;;' ';;' 'exit 1' 'exec sleep 60' '#!/bin/sh' "trap '' TERM" \
    '[ "$wall" -ge "$2" ] && [ "$runs"' '[ "$runs"' -- \
    'expected at most the 0.0' 'beyond the limit' "expected 1, 'y' first; came 0 outputs" \
    'latencies are plausible' 'lasts at least min_ns' 'go runs on for' 'nothing within 5 s' \
    'the end of the command pipe ends the worker' 'during a window' 'SIGTERM ends the worker'
broken '\"latencies_ns\":[$list]}' '\"none\":0}' -- 'warmup: one latency a run: expected 3; came 0'
# These end it.
broken "$loaded" '"settings":{},"inputs":[{"name":"x","type":"f32","shape":[1]}],"outputs":3' -- \
    "'x' has the type 'f32'" 'load describes the outputs: expected an array'
broken '"inputs":[]' '"inputs":[{"name":"x","type":"bool","shape":[-1]}]' -- "'x' has no shape"
broken '[ "$wall" -ge "$3" ] && break' '' -- 'when max_ns is reached' 'did not answer'
broken '"state":"ready"' '"state":"set"' -- 'lacks "state":"ready"'
broken "'{\"ok\":true}' ;;" "'{\"ok\":true}'; reply 1 ;;" -- 'worker broke the protocol'
broken '"outputs":[]}' '"outputs":[]' -- 'a reply that is not JSON'
broken "$first" 'head -c 1100000 /dev/zero >&4' -- 'longer than 1 MiB'
# An output whose length, place or size is not what its shape says, however large the numbers are.
y='{\"name\":\"y\",\"type\":\"float32\",\"shape\":[2]' told='{"name":"y","type":"float32","shape":[2]}'
output() { # MEMBERS TEXT
    broken "$loaded" "\"settings\":{},\"inputs\":[],\"outputs\":[$told]" \
        "reply '{\"ok\":true,\"outputs\":[]}'" "reply \"{\\\"ok\\\":true,\\\"outputs\\\":[$y,$1}]}\"" -- "$2"
}
output '\"offset\":0,\"bytes\":7' "'y' of 7 bytes, its shape takes 8"
output '\"offset\":9223372036854775744,\"bytes\":8' "'y' at 9223372036854775744, free from 0 to 4294967296"
output '\"offset\":64,\"bytes\":9223372036854775807' "'y' of 9223372036854775807 bytes, its shape takes 8"
output '\"offset\":4294967232,\"bytes\":8' 'ends at 4294967240, the file at'
broken "$loaded" '"settings":{},"inputs":[{"name":"x","type":"bool","shape":[9007199254740993,4096]}],"outputs":[]' \
    -- "'x' has no shape"
broken "$first" 'reply "{\"ok\":true,\"first_ns\":9223372036854775807}"' -- 'came 9223372036.854776 s'
broken "$first" 'reply "{\"ok\":true,\"first_ns\":99999999999999999999}"' -- 'not JSON (too big integer'
broken "$first" 'printf "{\"ok\":true,\"first_ns\":1,\"x\":\"\377\"}\n" >&4' -- 'not JSON (unable to decode byte 0xff'
broken "$first" 'printf "\0\0\n" >&4' -- 'not JSON ('
broken "$first" 'exec 4>&-; sleep 60' -- 'it closed its reply pipe'
broken "$first" 'printf "{\"ok\":true" >&4; exit 0' -- "during 'first': exit status 0"
! grep -q 'before it answered' out || fail "it has answered"
broken '"ok":true,"protocol":1' '"ok":true,"protocol":1e0' -- 'lacks "protocol":1'
broken '\"runs\":$runs,\"wall_ns\"' '\"runs\":-1,\"wall_ns\"' -- 'latencies_ns is not an array'
broken "$first" ':' -- "did not answer 'first' within 1 s"
broken "$first" 'echo oh dear >&2; kill -9 $$' -- 'signal 9' 'oh dear'
broken 'infer || return 1' 'false || return 1' -- 'it refused (io): gzip failed'
# Programs that do not start, or end at once: what is wrong is no rule of the protocol.
wrong 'sh -c "exit 5"' 'exit status 5' 'it ended before it answered anything'
wrong 'sh -c "echo no licence; exit 5"' 'its log ends: no licence; it ended before it answered'
wrong 'kill -9 $$; sleep 1' 'signal 9' 'it ended before it answered anything'
wrong "$dir/none" 'exit status 127' 'none' 'there is no such program'
wrong 'nosuchprogram --x' 'there is no such program'
echo text >text
wrong ./text 'exit status 126' 'is it executable'
! grep -q 'compare "protocol"' out || fail "advice about a protocol it never spoke"
wrong 'cat /dev/zero' 'expected'
no_worker() {
    for p in /proc/[0-9]*/environ; do
        ! grep -qzxF "WATTLE_HOME=$WATTLE_HOME" "$p" 2>/dev/null ||
            ! grep -qzxF "WATTLE_FD_RING=5" "$p" 2>/dev/null || fail "a worker runs on: $p"
    done
}
no_worker

expect 2 "$wattle" worker --check ' '
in_err "command is empty"
expect 2 "$wattle" worker model.onnx
in_err "without --check"
expect 2 "$wattle" worker --check 'sh shell.sh' --timeout never
in_err "timeout"
expect 2 "$wattle" worker --check 'sh shell.sh' a b
in_err "'b'"

"$wattle" worker --check 'sh shell.sh' >out 2>err &
pid=$!
sleep 0.5
kill -INT "$pid"
wait "$pid"
[ $? -eq 130 ] || fail "an interrupt does not end the check"
no_worker
