#!/usr/bin/env bash
# A result that cannot be written is an error, not silence.
. "$(dirname "$0")/lib.sh"

: >"$dir/out"
"$wattle" models >/dev/full 2>"$dir/err"
[ $? -eq 1 ] || fail "a full stdout went unnoticed"
in_err "cannot write to stdout"
"$wattle" models >&- 2>"$dir/err"
[ $? -eq 1 ] || fail "a closed stdout went unnoticed"
in_err "stdout is closed"
fake >/dev/full 2>"$dir/err"
[ $? -eq 1 ] || fail "run did not notice the full stdout"
# Everything that talks goes to stderr: with --json - stdout is JSON and nothing else.
expect 0 fake --json -
json "$dir/out" '.schema == "wattle/1"'
expect 0 fake -q --json -
[ ! -s "$dir/err" ] || fail "-q still talks"

# A reader that has left: the end of any program in a pipe, without a word; a failure stays what it is.
without_reader() { # COMMAND...: leaves its exit code in $code
    { sleep 0.2; exec "$@" 2>"$dir/err"; } | :
    code=${PIPESTATUS[0]}
}
: >"$dir/out"
for command in models runtimes 'run --help' 'worker --python-helper'; do
    # shellcheck disable=SC2086
    without_reader "$wattle" $command
    [ "$code" -eq 141 ] || fail "$command: exit $code instead of 141 (SIGPIPE) without a reader"
    [ ! -s "$dir/err" ] || fail "$command: a reader that has left is complained of"
done
without_reader "${fake[@]}" -q --json -
[ "$code" -eq 141 ] || fail "run: exit $code instead of 141"
without_reader "${fake[@]}" -q --provider-option crash_at_run=1
[ "$code" -eq 3 ] || fail "a failed run: exit $code instead of 3"
# Who has started it with SIGPIPE ignored gets a line, as from other programs.
trap '' PIPE
without_reader "$wattle" models
trap - PIPE
[ "$code" -eq 1 ] || fail "with SIGPIPE ignored: exit $code instead of 1"
in_err "cannot write to stdout: Broken pipe"
