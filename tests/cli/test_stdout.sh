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
